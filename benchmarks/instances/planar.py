"""The planar benchmark of J.-F. Cordeau, F. Furini and I. Ljubic (EJOR 275, 2019), and a dense one.

Points are uniform on a square of 30 x 30, sites and customers alike; a site reaches customers within a radius, and
demand is a whole number from 1 to 100. Customers that the same sites reach are one row: that is done here, and counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from karez.plan.covering.program import Program, merged
from karez.twin.table import Array

SIDE = 30.0
LARGEST_DEMAND, DEAREST = 100, 100


class Setting(NamedTuple):
    """One line of the benchmark: customers, sites, radius; sites to choose, or the share of demand to reach."""

    name: str
    customers: int
    sites: int
    radius: float
    chosen: int = 0
    share: float = 0.0
    has_prices: bool = False


MOST_COVERED = tuple(
    Setting(f"MCLP R {radius:g} p {chosen}", 20_000_000, 100, radius, chosen=chosen)
    for radius, chosen in ((5.5, 10), (6.25, 10), (4.0, 15), (5.0, 15), (3.25, 20), (4.25, 20))
)
CHEAPEST = tuple(
    Setting(f"PSCLP n {sites} R {radius:g} {share:.0%}{' prices' * priced}", customers, sites, radius, 0, share, priced)
    for sites, customers in ((100, 20_000_000), (200, 10_000_000))
    for radius, share in ((5.5, 0.5), (4.25, 0.7))
    for priced in (False, True)
)
DENSE = (
    Setting("dense 10k x 200", 10_000, 200, 3.9, chosen=20),
    Setting("dense 100k x 500", 100_000, 500, 2.46, chosen=50),
    Setting("dense 1M x 1000", 1_000_000, 1_000, 1.74, chosen=100),
)


class Points(NamedTuple):
    """Sites and customers with their demand, and prices of sites."""

    sites: Array
    customers: Array
    demand: Array
    price: Array


def drawn(setting: Setting, seed: int) -> Points:
    """The points of a setting with this seed."""
    rng = np.random.default_rng(seed)
    sites = rng.uniform(0.0, SIDE, (setting.sites, 2))
    customers = rng.uniform(0.0, SIDE, (setting.customers, 2))
    demand = rng.integers(1, LARGEST_DEMAND + 1, setting.customers)
    price = rng.integers(1, DEAREST + 1, setting.sites) if setting.has_prices else np.ones(setting.sites, np.int64)
    return Points(sites, customers, demand, price)


def program(setting: Setting, points: Points) -> Program:
    """The covering program of a setting: this is where customers become rows."""
    words = np.random.default_rng(1).integers(1, 2**63, setting.sites, dtype=np.uint64)
    first, weight = _alike(points.sites, points.customers, points.demand, words, setting.radius)
    near = _near(points.sites, points.customers[first], setting.radius)
    size = near.sum(axis=1)
    rows, total = len(first), int(points.demand.sum())
    made = Program(
        bounds=np.concatenate([[0], np.cumsum(size)]),
        choices=np.nonzero(near)[1].astype(np.int32),
        weight=weight,
        group=np.zeros(rows, np.int64),
        need=np.ones(rows, np.int64),
        price=points.price,
        demand=np.array([int(np.ceil(setting.share * total))]),
        wanted=1,
        money=setting.chosen or None,
    )
    return merged(made)[0]


def _near(sites: Array, customers: Array, radius: float) -> Array:
    apart = customers[:, None, :] - sites[None, :, :]
    return np.asarray((apart * apart).sum(axis=2) <= radius * radius)


@njit(cache=True)
def _alike(sites: Array, customers: Array, demand: Array, words: Array, radius: float) -> tuple[Array, Array]:
    """One customer and the whole demand of those that the same sites reach; who is out of reach is left out."""
    cells = int(np.ceil(SIDE / radius))
    near_bounds, near = _by_cell(sites, cells, radius)
    slots = np.full(1 << 12, -1, np.int64)
    signature, first, weight = np.empty(1 << 12, np.uint64), np.empty(1 << 12, np.int64), np.empty(1 << 12, np.int64)
    rows = 0
    for at in range(customers.shape[0]):
        x, y = customers[at, 0], customers[at, 1]
        cell = min(int(x / radius), cells - 1) * cells + min(int(y / radius), cells - 1)
        word = np.uint64(0)
        for entry in range(near_bounds[cell], near_bounds[cell + 1]):
            site = near[entry]
            dx, dy = x - sites[site, 0], y - sites[site, 1]
            if dx * dx + dy * dy <= radius * radius:
                word += words[site]
        if word == 0:
            continue
        slot = np.int64(word >> np.uint64(20)) & (slots.size - 1)
        while slots[slot] >= 0 and signature[slots[slot]] != word:
            slot = (slot + 1) & (slots.size - 1)
        if slots[slot] < 0:
            if rows == first.size:
                signature = np.concatenate((signature, np.empty_like(signature)))
                first, weight = np.concatenate((first, first)), np.concatenate((weight, weight))
            slots[slot], signature[rows], first[rows], weight[rows] = rows, word, at, 0
            rows += 1
            if rows * 4 > slots.size:
                slots = np.full(slots.size * 4, -1, np.int64)
                for row in range(rows):
                    to = np.int64(signature[row] >> np.uint64(20)) & (slots.size - 1)
                    while slots[to] >= 0:
                        to = (to + 1) & (slots.size - 1)
                    slots[to] = row
                slot = np.int64(word >> np.uint64(20)) & (slots.size - 1)
                while signature[slots[slot]] != word:
                    slot = (slot + 1) & (slots.size - 1)
        weight[slots[slot]] += demand[at]
    return first[:rows].copy(), weight[:rows].copy()


@njit(cache=True)
def _by_cell(sites: Array, cells: int, radius: float) -> tuple[Array, Array]:
    """The sites that may be within the radius of some point of each cell of a grid of that width."""
    bounds, near = np.zeros(cells * cells + 1, np.int64), np.empty(9 * sites.shape[0], np.int64)
    size = 0
    for cell in range(cells * cells):
        for site in range(sites.shape[0]):
            a, b = min(int(sites[site, 0] / radius), cells - 1), min(int(sites[site, 1] / radius), cells - 1)
            if abs(a - cell // cells) <= 1 and abs(b - cell % cells) <= 1:
                near[size] = site
                size += 1
        bounds[cell + 1] = size
    return bounds, near[:size]
