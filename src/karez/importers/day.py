"""A seeded day of jobs for a synthetic network: who trains, works off batches, and serves online, and on what data.

Assumption throughout: half of the jobs are online, a third batches, the rest training; users live where people do. A
part of the data is personal or important. Sizes are scaled so that all jobs together would fill most of the chips.

Source: distributions as in the reference instance jobs-100k; constants that shape the rest are marked in place.
"""

from __future__ import annotations

import numpy as np

from karez.twin import Table, Twin
from karez.twin.facts import library
from karez.twin.schema import Value
from karez.twin.table import Array, texts
from karez.units import S_PER_H

# The day begins at midnight of 1 January 2026 in China.
BEGINS_S = 1_767_196_800.0
HOURS = 24
KINDS, KIND_SHARES = ("online", "batch", "training"), (0.5, 0.35, 0.15)
WINDOWS = ((0, 24), (0, 8), (0, 12), (6, 18), (8, 24), (12, 24), (18, 24), (4, 10))
WINDOW_SHARES = (0.3, 0.1, 0.1, 0.15, 0.15, 0.1, 0.05, 0.05)
BATCH_H, TRAINING_H = (1, 2, 3, 4), (4, 8, 12, 16)
ALLOWED_US, ALLOWED_SHARES = (2_500.0, 5_000.0, 10_000.0, 20_000.0), (0.1, 0.25, 0.35, 0.3)
LARGEST_GANG = 512
# What all jobs would take of the chips at the speed of the chip they name.
FILLED_SHARE = 0.5
CHIP = "A100 80G SXM"
MODELS, MODEL_SHARES = ("Qwen2.5 7B", "Qwen2.5 14B", "Qwen2.5 32B", "Qwen2.5 72B"), (0.45, 0.25, 0.2, 0.1)
# Data of each province: how its grade and persons are, how much of the work is on it, and its size (GB).
CLASSES = (("general", "no", 0.65, 400.0), ("general", "personal", 0.25, 60.0), ("important", "no", 0.1, 200.0))
PURPOSES = "training service"
LOADS, LOAD_SHARES = ("even", "office", "evening"), (0.4, 0.35, 0.25)
GB_PER_CHIP_H = 2.0
# Power of a site against what its chips draw.
POWER_SHARES = (0.85, 1.15)


def with_day(twin: Twin, *, jobs: int, seed: int, owner: str) -> Twin:
    """The twin with so many jobs more, their data, prices of electricity by the hour, and power of sites."""
    rng = np.random.default_rng([seed, 8])
    data = _datasets(twin, owner, rng)
    return twin.replace(
        _tariffs(twin),
        _powered(twin, rng),
        twin["datasets"].add(data),
        twin["jobs"].add(_jobs(twin, jobs, rng)),
    )


def _tariffs(twin: Twin) -> Table:
    """Prices by the hour whose mean is that of the province."""
    factors = {side: np.zeros(HOURS) for side in ("east", "west")}
    for row in library("tariffs_cn"):
        factors[row["side"]][int(row["hour"])] = float(row["factor"])
    provinces, rows = twin["provinces"], list[tuple[str, str, int, float]]()
    for province in provinces.records():
        by_hour = factors[str(province["side"])]
        price = np.round(float(province["price_cny_per_kwh"]) * by_hour / by_hour.mean(), 4)
        rows += [
            (f"{province['id']} {hour:02d}", str(province["id"]), hour, float(price[hour])) for hour in range(HOURS)
        ]
    names = ("id", "province", "hour", "price_cny_per_kwh")
    return Table.of("tariffs", {name: [row[at] for row in rows] for at, name in enumerate(names)})


def _powered(twin: Twin, rng: np.random.Generator) -> Table:
    """Sites with chips have about the power that their chips draw with cooling."""
    servers, sites = twin["servers"], twin["sites"]
    site, chip = (twin.resolve("servers", name) for name in ("site", "chip"))
    province = twin.resolve("metros", "province")[twin.resolve("sites", "metro")[site]]
    kw = servers["chips"] * np.nan_to_num(twin["chips"]["power_w"][chip]) / 1e3 * twin["provinces"]["pue"][province]
    drawn = np.bincount(site, kw, minlength=len(sites))
    power = np.where(drawn > 0, np.round(drawn * rng.uniform(*POWER_SHARES, len(sites)), 1), np.inf)
    return sites.set(np.arange(len(sites)), power_kw=power)


def _datasets(twin: Twin, owner: str, rng: np.random.Generator) -> dict[str, list[Value]]:
    provinces = [str(row["id"]) for row in twin["provinces"].records()]
    found: dict[str, list[Value]] = {
        name: []
        for name in (
            "id",
            "domain",
            "province",
            "grade",
            "personal",
            "size_gb",
            "subjects",
            "us_bulk",
            "origin",
            "mixed",
            "purposes",
        )
    }
    for province in provinces:
        for grade, personal, _, size_gb in CLASSES:
            row: tuple[Value, ...] = (
                f"{province} {'personal' if personal == 'personal' else grade}", owner, province, grade, personal,
                float(np.round(size_gb * rng.lognormal(0.0, 0.5), 1)), 0.0, "no", "CN", "no", PURPOSES,
            )  # fmt: skip
            for name, value in zip(found, row, strict=True):
                found[name].append(value)
    return found


def _jobs(twin: Twin, count: int, rng: np.random.Generator) -> dict[str, Array | list[str]]:
    kind = rng.choice(len(KINDS), count, p=KIND_SHARES)
    online, training = kind == 0, kind == 2
    people = twin["metros"]["population"]
    metro = rng.choice(len(people), count, p=people / people.sum())
    model = rng.choice(len(MODELS), count, p=MODEL_SHARES)
    window = np.array(WINDOWS)[np.where(online, 0, rng.choice(len(WINDOWS), count, p=WINDOW_SHARES))]
    hours = np.where(online, HOURS, np.where(training, rng.choice(TRAINING_H, count), rng.choice(BATCH_H, count)))
    # Training takes a little longer than it would without failures, and has to fit in all the same.
    hours = np.minimum(hours, window[:, 1] - window[:, 0] - training)
    size = np.where(
        online,
        np.ceil(rng.pareto(1.6, count) * 3 + 0.5),
        np.where(training, 8 * 2.0 ** rng.integers(0, 7, count), np.ceil(rng.pareto(1.5, count) * 6 + 1)),
    )
    size = np.minimum(size, LARGEST_GANG)
    chips = np.maximum(np.round(size * _scale(twin, size * hours)), 1.0)
    least = np.array([1, 2, 4, 8])[model] * np.where(training, 4, 1)
    chips = np.maximum(chips, least).astype(int)
    of_class = rng.choice(len(CLASSES), count, p=[share for *_, share, _ in CLASSES])
    province = twin.resolve("metros", "province")[metro]
    names = np.array(
        [
            [f"{name.decode()} {'personal' if p == 'personal' else g}" for g, p, _, _ in CLASSES]
            for name in twin["provinces"].ids
        ]
    )
    unbound = ~online | (rng.random(count) < 0.2)
    return {
        "id": [f"j{number:06d}" for number in range(1, count + 1)],
        "kind": texts([KINDS[at] for at in kind.tolist()]),
        "model": texts([MODELS[at] for at in model.tolist()]),
        "metro": twin["metros"].ids[metro],
        "dataset": texts(names[province, of_class].tolist()),
        "chips": chips,
        "hours": hours.astype(float),
        "oneway_us": np.where(unbound, np.inf, rng.choice(ALLOWED_US, count, p=ALLOWED_SHARES)),
        "purpose": np.where(online, b"service", b"training"),
        "chip": np.full(count, CHIP.encode()),
        "opens_at_s": BEGINS_S + window[:, 0] * S_PER_H,
        "closes_at_s": BEGINS_S + window[:, 1] * S_PER_H,
        "load": np.where(
            online, np.array([name.encode() for name in LOADS])[rng.choice(len(LOADS), count, p=LOAD_SHARES)], b""
        ),
        "gb_per_chip_h": np.where(online, GB_PER_CHIP_H, 0.0),
    }


def _scale(twin: Twin, work: Array) -> float:
    """What sizes are multiplied by, so that work (chip-hours of the chip that is named) fills its share of chips."""
    servers, chip, of_chip = twin["servers"], twin.resolve("servers", "chip"), twin["chips"]
    # Chips are about as fast as their memory; those whose power nobody told are offered to nobody.
    speed = of_chip["memory_gb_per_s"] / of_chip["memory_gb_per_s"][of_chip.rows([CHIP])[0]]
    known = np.nan_to_num(speed * np.isfinite(of_chip["power_w"]))[chip]
    return FILLED_SHARE * float(servers["chips"] @ known) * HOURS / max(float(work.sum()), 1.0)
