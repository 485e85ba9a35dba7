"""What a day of jobs comes to by province: work asked for and done, energy, carbon, cost; and how much goes west."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from karez.measure import policy
from karez.plan.day.decide import Day, Run
from karez.plan.day.pools import kg_per_kwh
from karez.plan.day.scarce import chip_worth
from karez.plan.placing.check import load_shares
from karez.plan.placing.program import WHOLE
from karez.twin.table import Array, strings, text


class Flow(NamedTuple):
    """Work that runs (chip-hours), its energy (kWh) and carbon (kg), and the share of eastern work done in the west."""

    chip_h: float
    kwh: float
    kg: float
    share: float | None


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A province: work that its users ask for and that runs, work that runs there, energy, carbon, and money there.

    `price_cny_per_chip_h` is what a chip-hour there is worth on average under the prices of the plan.
    """

    province: str
    side: str
    asked_chip_h: float
    done_chip_h: float
    energy_mwh: float
    carbon_t: float
    money_cny: float
    price_cny_per_chip_h: float


class Work(NamedTuple):
    """Of each half of each run: provinces (rows) of the user and of the chips, chip-hours, kWh, kg of carbon, CNY."""

    of: Array
    there: Array
    chip_h: Array
    kwh: Array
    kg: Array
    cny: Array


def work(day: Day, rows: list[Run]) -> Work:
    """What runs, of all jobs that each run stands for."""
    at, server, chip_h = _halves(day, rows)
    kwh, kg = _energy(day, server, chip_h)
    cny = np.array([one.cny * one.number / len(one.servers) for one in rows])[at] if rows else np.zeros(0)
    return Work(*_provinces(day, rows, at, server), chip_h, kwh, kg, cny)


def _halves(day: Day, rows: list[Run]) -> tuple[Array, Array, Array]:
    """Of each half of each run: its place among rows, the server (row), and chip-hours."""
    posed = day.posed
    cls = posed.class_of([one.job for one in rows])
    found = list[tuple[int, int, float]]()
    for at, one in enumerate(rows):
        shares = load_shares(posed.program, int(cls[at]), one.start, one.hours)
        for server, chips in zip(one.servers, one.chips, strict=True):
            hours = float(np.ceil(chips * shares - WHOLE).sum())
            found.append((at, server, one.number * hours))
    rows_, servers, hours_ = np.array(found).reshape(-1, 3).T
    return rows_.astype(int), servers.astype(int), hours_


def flow_of(day: Day, done: Work) -> Flow:
    """What runs in all."""
    side = day.posed.world["provinces"]["side"]
    east = done.chip_h[side[done.of] == b"east"].sum() if len(side) else 0.0
    moved = done.chip_h[(side[done.of] == b"east") & (side[done.there] == b"west")].sum() if len(side) else 0.0
    chip_h, kwh, kg = (float(values.sum()) for values in (done.chip_h, done.kwh, done.kg))
    return Flow(chip_h, kwh, kg, float(moved / east) if east else None)


def regions(day: Day, work: Work) -> tuple[Region, ...]:
    """Each province that asks for work or does some, the one that does most first."""
    world = day.posed.world
    count = len(world["provinces"])
    asked, done, energy, carbon, money = (
        np.bincount(where, values, minlength=count)
        for where, values in (
            (work.of, work.chip_h), (work.there, work.chip_h), (work.there, work.kwh), (work.there, work.kg),
            (work.there, work.cny),
        )
    )  # fmt: skip
    worth = _worth(day)
    names, sides = world["provinces"]["name"], strings(world["provinces"]["side"])
    ids = world["provinces"].ids
    order = np.lexsort((np.arange(count), -done))
    return tuple(
        Region(
            province=text(names[row]) or text(ids[row]),
            side=sides[row],
            asked_chip_h=float(asked[row]),
            done_chip_h=float(done[row]),
            energy_mwh=float(energy[row]) / 1e3,
            carbon_t=float(carbon[row]) / 1e3,
            money_cny=float(money[row]),
            price_cny_per_chip_h=float(worth[row]),
        )
        for row in order.tolist()
        if asked[row] > 0 or done[row] > 0
    )


def between(day: Day, done: Work) -> Array:
    """Chip-hours by the province of the user (row) and that of the chips (column)."""
    found = np.zeros((len(day.posed.world["provinces"]),) * 2)
    np.add.at(found, (done.of, done.there), done.chip_h)
    return found


def _provinces(day: Day, rows: list[Run], at: Array, server: Array) -> tuple[Array, Array]:
    """The province (row) of the user and of the chips, of each half of each run."""
    twin = day.posed.world.intended
    metro = twin.resolve("jobs", "metro")[[one.job for one in rows]] if rows else np.zeros(0, int)
    return twin.resolve("metros", "province")[metro][at], policy.recipients(twin).province[server]


def _energy(day: Day, server: Array, chip_h: Array) -> tuple[Array, Array]:
    """KWh and kg of carbon dioxide of each half of each run."""
    posed = day.posed
    kw = np.zeros(len(posed.unpriced))
    kw[posed.pools] = posed.program.pools.kw
    kwh = chip_h * kw[server]
    province = policy.recipients(posed.world.intended).province[server]
    return kwh, kwh * (kg_per_kwh(posed.world)[province] if len(posed.world["provinces"]) else 0.0)


def _worth(day: Day) -> Array:
    """What a chip-hour is worth in each province: the mean of the prices of its chips, with that of their power."""
    posed, pools = day.posed, day.posed.program.pools
    each = np.add(*chip_worth(posed, day.prices)).mean(axis=1)
    province = policy.recipients(posed.world.intended).province[posed.pools]
    chips = pools.chips.mean(axis=1)
    count = len(posed.world["provinces"])
    total = np.bincount(province, chips, minlength=count)
    return np.asarray(np.bincount(province, chips * each, minlength=count) / np.maximum(total, 1.0))
