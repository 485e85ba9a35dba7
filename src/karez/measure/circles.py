"""Who is within a millisecond of compute, by each of the three official definitions.

* **C1**, centre to centre in a metro: the share of unordered pairs of centres whose optical delay is within the budget,
  in the slower direction; and the share of metros where that holds for every pair.
* **C2**, key place to compute: the share of weight whose delay towards the best compute site is within the budget.
* **C3**, terminal to server: as C2 with the air before it; the way back, from the server, is shown beside it.

Within means strictly less. One way by default; a round trip is the least, over the sites, of the way there and back.
Only optical links count. Nothing above the optical layer is in C1 and C2, and nothing but the air is added in C3.

Source: metro millisecond action (MIIT, 2025-10-16) for the three budgets. The denominators are published nowhere:
how the shares are computed is Karez's own definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from karez.measure.core import CoreLayout, core_layout
from karez.measure.delay import FIGURES, Figures, constants, link_oneway_us_by
from karez.twin import Twin
from karez.twin.graph import Graph, Layout, delay_from_ns, delay_towards_ns, each_delay_ns, layout
from karez.twin.table import Array, text
from karez.units import NS_PER_US

Definition = Literal["C1", "C2", "C3"]
Weight = Literal["access_point", "station", "place", "population"]


class Shares(msgspec.Struct, frozen=True):
    """Shares covered: of all weight pooled, and as the mean of the metros; for C1 also of metros wholly covered.

    None where there is nothing to take a share of.
    """

    pooled_share: float | None
    mean_of_metros_share: float | None
    whole_metros_share: float | None = None


class Region(msgspec.Struct, frozen=True):
    """A metro or province: its weight (pairs, in C1) and the share of it that is covered at typical figures."""

    id: str
    name: str
    weight: float
    covered_share: float


class Mover(msgspec.Struct, frozen=True):
    """A constant of the library, and the pooled share with it alone at its low and at its high end."""

    constant: str
    at_low_share: float
    at_high_share: float

    @property
    def swing_share(self) -> float:
        """How far the constant alone moves the share."""
        return abs(self.at_low_share - self.at_high_share)


@dataclass(frozen=True)
class Circles:
    """Coverage by one definition, at the low, typical and high figures of the latency library.

    `down` is the way from the server to the terminal (C3 one way; else empty). `reach_us` has for each access point
    the typical delay towards its best compute site (there and back for a round trip), `inf` for unreachable; where
    links are not symmetric, a round trip above the budget is `inf` too.
    """

    definition: Definition
    budget_us: float
    weight: Weight
    round_trip: bool
    total_weight: float
    shares: Mapping[Figures, Shares]
    down: Mapping[Figures, Shares]
    metros: tuple[Region, ...]
    provinces: tuple[Region, ...]
    access_points: Array
    reach_us: Array


class Points(NamedTuple):
    """What is to be covered: vertex (-1 where there is none), weight, and row in `metros`."""

    vertex: Array
    weight: Array
    metro: Array


def circles(
    twin: Twin,
    *,
    definition: Definition = "C2",
    budget_us: float,
    weight: Weight = "access_point",
    round_trip: bool = False,
) -> Circles:
    """Coverage of `twin` by `definition` within `budget_us` microseconds; `weight` does not matter for C1."""
    ask = _Ask(twin, _layout(twin, definition, weight), definition, budget_us, weight, round_trip)
    delays = {figures: ask.graph(constants(figures)) for figures in FIGURES}
    found = {figures: _covered(ask, delays[figures], constants(figures)) for figures in FIGURES}
    typical = found["typical"]
    access = access_points(twin)
    province = twin.resolve("metros", "province")[typical.points.metro]
    return Circles(
        definition=definition,
        budget_us=budget_us,
        weight=weight,
        round_trip=round_trip,
        total_weight=float(typical.points.weight.sum()),
        shares={figures: _shares(one.points, one.held, definition) for figures, one in found.items()},
        down={figures: _shares(one.points, one.down, definition) for figures, one in found.items() if len(one.down)},
        metros=_regions(twin, "metros", typical.points.metro, typical),
        provinces=_regions(twin, "provinces", province, typical),
        access_points=twin["sites"].ids[access],
        reach_us=_reach_ns(ask, delays["typical"])[access] / NS_PER_US,
    )


def movers(
    twin: Twin,
    *,
    definition: Definition = "C2",
    budget_us: float,
    weight: Weight = "access_point",
    round_trip: bool = False,
) -> list[Mover]:
    """The constants of the library by how far each alone moves the pooled share, the furthest first."""
    ask = _Ask(twin, _layout(twin, definition, weight), definition, budget_us, weight, round_trip)
    low, typical, high = (constants(figures) for figures in FIGURES)
    names = [name for name in typical if definition == "C3" or not name.startswith("air")]
    found = [
        Mover(name, _pooled(ask, typical | {name: low[name]}), _pooled(ask, typical | {name: high[name]}))
        for name in names
    ]
    return sorted(found, key=lambda mover: (-mover.swing_share, mover.constant))


def access_points(twin: Twin) -> Array:
    """The integrated access points: rows of the aggregation sites at which access links end, ascending."""
    sites, links = twin["sites"], twin["links"]
    access = links["kind"] == b"access"
    ends = np.concatenate([twin.resolve("links", end)[access] for end in ("a", "b")])
    ends = np.unique(ends[(ends >= 0) & (ends < len(sites))])
    rows: Array = ends[sites["kind"][ends] == b"aggregation"]
    return rows


def centres(twin: Twin) -> Array:
    """The compute centres of C1: rows of the sites that hold servers, ascending."""
    return _sites_of(twin, "servers", twin["servers"]["chips"] > 0)


def compute_sites(twin: Twin) -> Array:
    """The compute resources of C2 and C3: rows of the sites with servers or equipment for inference, ascending."""
    equipment = _sites_of(twin, "equipment", twin["equipment"]["kind"] == b"edge_inference")
    return np.union1d(centres(twin), equipment)


def points(twin: Twin, weight: Weight) -> Points:
    """What `weight` counts: access points, stations, key places, or residents shared over a metro's access points.

    Residents of a metro without an access point count, and nothing reaches them.
    """
    sites = twin["sites"]
    if weight == "station":
        stations = twin["stations"]
        return Points(len(sites) + np.arange(len(stations)), stations["weight"], twin.resolve("stations", "metro"))
    site_metro = twin.resolve("sites", "metro")
    if weight == "place":
        site = twin.resolve("places", "site")
        return Points(site, twin["places"]["weight"], site_metro[site])
    access = access_points(twin)
    metro = site_metro[access]
    if weight == "access_point":
        return Points(access, np.ones(len(access)), metro)
    people, number = twin["metros"]["population"], np.bincount(metro, minlength=len(twin["metros"]))
    without = np.flatnonzero(number == 0)
    return Points(
        np.concatenate([access, np.full(len(without), -1)]),
        np.concatenate([people[metro] / number[metro], people[without]]),
        np.concatenate([metro, without]),
    )


def optical_core(twin: Twin, values: Mapping[str, float]) -> Graph:
    """The graph of the sites and what joins them, of optical links with the constants `values`; see `core_layout`."""
    return core_layout(twin, twin["links"]["layer"] == b"optical").graph(link_oneway_us_by(twin, values))


def optical_graph(twin: Twin, values: Mapping[str, float]) -> Graph:
    """The graph of the optical links with the constants `values` (see `karez.measure.delay.constants`)."""
    return _optical(twin).graph(link_oneway_us_by(twin, values))


class _Ask(NamedTuple):
    twin: Twin
    layout: Layout | CoreLayout
    definition: Definition
    budget_us: float
    weight: Weight
    round_trip: bool

    @property
    def budget_ns(self) -> float:
        return self.budget_us * NS_PER_US

    def graph(self, values: Mapping[str, float]) -> Graph:
        return self.layout.graph(link_oneway_us_by(self.twin, values))


def _optical(twin: Twin) -> Layout:
    return layout(twin, twin["links"]["layer"] == b"optical")


def _layout(twin: Twin, definition: Definition, weight: Weight) -> Layout | CoreLayout:
    """The optical network, whole only where stations are asked for: between sites the core is as good."""
    if weight == "station" and definition != "C1":
        return _optical(twin)
    return core_layout(twin, twin["links"]["layer"] == b"optical")


class _Covered(NamedTuple):
    """What was to be covered, whether it is, and whether it is on the way back (C3)."""

    points: Points
    held: Array
    down: Array


def _pooled(ask: _Ask, values: Mapping[str, float]) -> float:
    found = _covered(ask, ask.graph(values), values)
    return _shares(found.points, found.held, ask.definition).pooled_share or 0.0


def _covered(ask: _Ask, delays: Graph, values: Mapping[str, float]) -> _Covered:
    if ask.definition == "C1":
        return _pairs(ask, delays)
    up, down = (values[f"air {way}"] * NS_PER_US if ask.definition == "C3" else 0.0 for way in ("up", "down"))
    counted = points(ask.twin, ask.weight)
    air = up + down if ask.round_trip else up
    held = _at(_reach_ns(ask, delays, ask.budget_ns), counted.vertex) + air < ask.budget_ns
    if ask.definition == "C2" or ask.round_trip:
        return _Covered(counted, held, np.zeros(0, bool))
    back = delay_from_ns(delays, compute_sites(ask.twin), limit_ns=ask.budget_ns)
    return _Covered(counted, held, _at(back, counted.vertex) + down < ask.budget_ns)


def _at(delay_ns: Array, vertex: Array) -> Array:
    found: Array = np.concatenate([delay_ns, [np.inf]])[vertex]
    return found


def _reach_ns(ask: _Ask, delays: Graph, limit_ns: float = np.inf) -> Array:
    """The delay of every vertex towards its best compute site, or there and back, in ns."""
    targets = compute_sites(ask.twin)
    if not ask.round_trip:
        return delay_towards_ns(delays, targets, limit_ns=limit_ns)
    if delays.symmetric:
        return 2 * delay_towards_ns(delays, targets, limit_ns=limit_ns)
    return _round_trip_ns(delays, targets, ask.budget_ns)


def _round_trip_ns(delays: Graph, targets: Array, limit_ns: float) -> Array:
    """The least, over the targets, of the way there and back: the best target of either way may be another one."""
    best = np.full(delays.vertices, np.inf)
    there = each_delay_ns(delays.backward, targets, limit_ns=limit_ns)
    back = each_delay_ns(delays.forward, targets, limit_ns=limit_ns)
    for (_, towards), (_, away) in zip(there, back, strict=True):
        best = np.minimum(best, (towards + away).min(axis=0))
    return best


def _pairs(ask: _Ask, delays: Graph) -> _Covered:
    """Unordered pairs of centres in one metro as what is to be covered, each of weight 1."""
    sites = centres(ask.twin)
    metro = ask.twin.resolve("sites", "metro")[sites]
    _, group, size = np.unique(metro, return_inverse=True, return_counts=True)
    sites, metro = sites[size[group] > 1], metro[size[group] > 1]
    one, other = np.nonzero(np.triu(metro[:, None] == metro[None, :], 1))
    there = _between_ns(delays, sites, one, other, ask.budget_ns)
    back = there if delays.symmetric else _between_ns(delays, sites, other, one, ask.budget_ns)
    delay_ns = there + back if ask.round_trip else np.maximum(there, back)
    pairs = Points(np.full(len(one), -1), np.ones(len(one)), metro[one])
    return _Covered(pairs, delay_ns < ask.budget_ns, np.zeros(0, bool))


def _between_ns(delays: Graph, sites: Array, source: Array, target: Array, limit_ns: float) -> Array:
    """The delay of each pair, given as positions in `sites`, from source to target in ns."""
    found = np.full(len(source), np.inf)
    for some, block in each_delay_ns(delays.forward, sites, limit_ns=limit_ns):
        mine = np.flatnonzero((source >= some.start) & (source < some.stop))
        found[mine] = block[source[mine] - some.start, sites[target[mine]]]
    return found


def _sites_of(twin: Twin, table: str, which: Array) -> Array:
    rows = np.unique(twin.resolve(table, "site")[which])
    found: Array = rows[rows >= 0]
    return found


def _shares(counted: Points, held: Array, definition: Definition) -> Shares:
    covered, weight = _summed(counted, held, counted.metro)
    there = weight > 0
    if not there.any():
        return Shares(None, None, None)
    share = covered[there] / weight[there]
    whole = float(np.mean(covered[there] == weight[there])) if definition == "C1" else None
    return Shares(float(covered.sum() / weight.sum()), float(share.mean()), whole)


def _summed(counted: Points, held: Array, region: Array) -> tuple[Array, Array]:
    """Covered weight and weight of each region."""
    covered = np.bincount(region, weights=counted.weight * held)
    return covered, np.bincount(region, weights=counted.weight)


def _regions(twin: Twin, table: str, region: Array, found: _Covered) -> tuple[Region, ...]:
    covered, weight = _summed(found.points, found.held, region)
    rows = np.flatnonzero(weight > 0)
    columns = zip(twin[table].ids[rows], twin[table]["name"][rows], weight[rows], covered[rows], strict=True)
    return tuple(Region(text(i), text(name), float(w), float(c / w)) for i, name, w, c in columns)
