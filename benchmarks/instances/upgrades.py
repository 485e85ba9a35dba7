"""The reference instance "upgrades-1k": where upgrades of links compete with new sites.

nation-1m, 1,000 candidates, and 5,000 links that may be upgraded: those of the core, and the shortest of the backbone,
since a circle holds no long one. Half of them, at random, can get a bypass, the others a straighter duct. Some of the
candidates are open: as many, in random order, as reach a share of weight. What is wanted is the rest of the way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from karez.importers.generate import nation
from karez.measure import reach
from karez.measure.circles import points
from karez.measure.delay import FIBRE, LINK_KINDS, constants
from karez.twin import Twin
from karez.twin.table import Array
from karez.units import NS_PER_US

SEEDS = (1, 2, 3)
STATIONS, SITES, CANDIDATES, LINKS = 1_000_000, 60, 1_000, 5_000
BUDGET_US, TARGET_SHARE = 500.0, 0.75
OPEN_SHARE = 0.70
CORE_CANDIDATES_SHARE = 0.6
BYPASS_SHARE = 0.5
# What a bypass takes off a hop, and route factors: of the generator's fibre, and of a straighter duct.
BYPASS_SAVES_SHARE, ROUTE_FACTOR, STRAIGHT_ROUTE_FACTOR = 0.8, 1.4, 1.2
# In thousands, whole hundreds of them; a site that is open costs nothing.
SITE_PRICE, UPGRADE_PRICE = (50, 150), (2.0, 4.0)


class Instance(NamedTuple):
    """The network, candidates (rows of `sites`), upgrades (rows of `links`, ns saved) and prices of both (hundreds)."""

    twin: Twin
    reach: reach.Reach
    candidates: Array
    links: Array
    saving_ns: Array
    price: Array


def instance(seed: int, *, stations: int = STATIONS, candidates: int = CANDIDATES, links: int = LINKS) -> Instance:
    """The instance with this seed."""
    twin = nation(stations=stations, sites=SITES, seed=seed)
    ready = reach.typical(twin, points(twin, "station"))
    chance = np.random.default_rng([seed, 4])
    rows = _candidates(twin, candidates, chance)
    upgraded, saving_ns = _upgrades(twin, links, chance)
    price = np.concatenate([
        100 * chance.integers(SITE_PRICE[0], SITE_PRICE[1] + 1, len(rows)),
        np.rint(100 * chance.uniform(*UPGRADE_PRICE, len(upgraded))).astype(np.int64),
    ])  # fmt: skip
    price[_open(ready, rows, chance)] = 0
    return Instance(twin, ready, rows, upgraded, saving_ns, price)


def _candidates(twin: Twin, number: int, chance: np.random.Generator) -> Array:
    kind = twin["sites"]["kind"]
    core = int(number * CORE_CANDIDATES_SHARE)
    chosen = [
        chance.choice(np.flatnonzero(kind == name), size, replace=False)
        for name, size in ((b"core", core), (b"aggregation", number - core))
    ]
    return np.sort(np.concatenate(chosen))


def _upgrades(twin: Twin, number: int, chance: np.random.Generator) -> tuple[Array, Array]:
    links, figures = twin["links"], constants("typical")
    kind, km = links["kind"], links["length_km"]
    core, backbone = np.flatnonzero(kind == b"core")[:number], np.flatnonzero(kind == b"backbone")
    shortest = backbone[np.argsort(km[backbone], kind="stable")]
    rows = np.concatenate([core, shortest[: number - len(core)]])
    hops = {name.encode(): figures[f"{name} hop"] for name in LINK_KINDS}
    bypass_us = BYPASS_SAVES_SHARE * np.array([hops[name] for name in kind[rows]])
    straighter_us = figures[FIBRE] * km[rows] * (1 - STRAIGHT_ROUTE_FACTOR / ROUTE_FACTOR)
    saving_us = np.where(chance.random(len(rows)) < BYPASS_SHARE, bypass_us, straighter_us)
    return rows, np.rint(NS_PER_US * saving_us).astype(np.int64)


def _open(ready: reach.Reach, rows: Array, chance: np.random.Generator) -> Array:
    """The candidates (positions) that are open: the fewest of a random order that reach the share."""
    order, limit_ns = chance.permutation(len(rows)), round(BUDGET_US * NS_PER_US)
    wanted = OPEN_SHARE * ready.total.sum()
    low, high = 0, len(rows)
    while low < high:
        middle = (low + high) // 2
        if ready.covered(rows[order[: middle + 1]], limit_ns).sum() < wanted:
            low = middle + 1
        else:
            high = middle
    return order[: low + 1]
