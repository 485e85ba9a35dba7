"""What plans of new sites have in common: who may be one and at what price, how one is ordered, and what is sure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import numpy as np

from karez.measure.circles import ENTERPRISE, INFERENCE, Weight, compute_sites, points
from karez.measure.delay import Figures
from karez.measure.reach import Reach, at_figures
from karez.plan.kinds import RETIRABLE
from karez.plan.plan import Action, Cell, NewRow, Plan, written
from karez.twin import Twin, World
from karez.twin.facts import library
from karez.twin.memo import made_of
from karez.twin.schema import Value
from karez.twin.table import Array, text
from karez.units import FEN_PER_CNY

# What one site takes, where there is no price list. Source: library/equipment.csv.
ITEMS = ("small edge site with power and cooling", "accelerator server rack by 8 chips")
DAY_S = 86_400.0
EXPIRES_AFTER_S = 30 * DAY_S
# What rounding may have done to a bound: so much, or such a share of it.
ROUNDING, ROUNDING_SHARE = 1e-6, 1e-9


def price_of_site_cny() -> float:
    """The typical price of a new site: room with power and cooling, and a rack of 8 chips.

    Source: library/equipment.csv.
    """
    return sum(float(row["price_typical_cny"]) for row in _items())


def rack_kw() -> float:
    """The typical power of a rack of 8 chips, kW. Source: library/upkeep.csv."""
    return next(float(row["power_typical_kw"]) for row in library("upkeep") if row["item"] == ITEMS[1])


def lead_time_s() -> float:
    """Seconds from order to service: the longest lead time of what a site takes. Source: library/equipment.csv."""
    return max(float(row["lead_time_days"]) for row in _items()) * DAY_S


def _items() -> list[dict[str, str]]:
    return [row for row in library("equipment") if row["item"] in ITEMS]


def without_compute(twin: Twin) -> tuple[Array, Array]:
    """Rows of the core sites without compute, by id, and their prices by the library, in fen (int64)."""
    found = np.setdiff1d(np.flatnonzero(twin["sites"]["kind"] == b"core"), compute_sites(twin))
    return by_id(twin, found, np.full(len(found), round(price_of_site_cny() * FEN_PER_CNY), np.int64))


def by_id(twin: Twin, sites: Array, prices: Array) -> tuple[Array, Array]:
    """Rows of sites and their prices in the order of the sites' ids."""
    order = np.argsort(twin["sites"].ids[sites], kind="stable")
    return sites[order], prices[order]


@made_of("links", "link_support", "sites", "stations", "places", "metros")
def prepared(twin: Twin, weight: Weight, figures: Figures) -> Reach:
    """The network with what a weight counts, ready for questions; made once for the same tables."""
    return at_figures(twin, points(twin, weight), figures)


def point_ids(twin: Twin, weight: Weight, reach: Reach, point: Array) -> list[str]:
    """The ids of points (positions): of sites, of stations, or of key places."""
    if weight in ("place", "enterprise"):
        kept = (twin["places"]["kind"] == ENTERPRISE) | (weight == "place")
        return [text(one) for one in twin["places"].ids[kept][point]]
    vertex, sites = reach.points.vertex[point], len(twin["sites"])
    stands_in = vertex >= sites
    names = np.empty(len(vertex), object)
    names[~stands_in] = [text(one) for one in twin["sites"].ids[vertex[~stands_in]]]
    names[stands_in] = [text(one) for one in twin["stations"].ids[vertex[stands_in] - sites]]
    return list(names)


def orders(plan: Plan) -> tuple[Action, ...]:
    """Those actions of a plan that order what makes a site a compute site."""
    return tuple(action for action in plan.actions if action.kind == "order_equipment")


def device_of(world: World, site: str) -> str:
    """The id of the device that a new site gets."""
    return unused_id(world, f"edge-{site}")


def unused_id(world: World, wanted: str, table: str = "equipment", taken: Collection[str] = ()) -> str:
    """An id that no row of a table has yet, nor is taken: the one wanted, or with a number behind it."""
    name, number = wanted, 1
    while world[table].has(name) or name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def site_order(world: World, site: str, *, due_s: float, at_s: float) -> Action:
    """The order, placed at `at_s`, of what makes a site a compute site from `due_s` on."""
    values: dict[str, Value] = {"site": site, "kind": text(INFERENCE), "valid_from_s": due_s}
    return Action(
        kind="order_equipment",
        subject=site,
        adds=(NewRow("equipment", device_of(world, site), values),),
        blast_radius=(site,),
        expires_at_s=at_s + EXPIRES_AFTER_S,
        ends_at_s=due_s,
    )


def computing(intended: Twin, sites: Array) -> Iterator[tuple[str, Array]]:
    """The tables of `intended` (as it is at all times), and their rows that bring compute to these sites (ids)."""
    for table in RETIRABLE:
        rows = intended[table]
        is_compute = rows["kind"] == INFERENCE if table == "equipment" else np.ones(len(rows), bool)
        yield table, np.flatnonzero(np.isin(rows["site"], sites) & is_compute)


def closing(intended: Twin, sites: Array, *, due_s: float, at_s: float) -> Iterator[Action]:
    """The acts, decided at `at_s`, that leave these sites (ids) without compute from `due_s` on.

    What ends by itself before then is left alone; nothing may begin there later.
    """
    for table, found in computing(intended, sites):
        rows = intended[table]
        for row in found[rows["valid_to_s"][found] > due_s].tolist():
            name = text(rows.ids[row])
            yield Action(
                kind=f"retire_{table}",
                subject=name,
                sets=(Cell(table, name, "valid_to_s", written(float(rows["valid_to_s"][row])), due_s),),
                blast_radius=(text(rows["site"][row]),),
                expires_at_s=at_s + EXPIRES_AFTER_S,
                ends_at_s=due_s,
            )


def whole_units(bound: float, unit: int) -> int:
    """The least multiple of the unit that a bound leaves, and twice what rounding may have done to it.

    Once for whoever computed it, and once for whoever computes it again.
    """
    return math.ceil((bound - 2 * max(ROUNDING, ROUNDING_SHARE * abs(bound))) / unit) * unit
