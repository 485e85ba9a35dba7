"""Who is within a millisecond of compute, by each of the three official definitions.

* **C1**, centre to centre in a metro: the share of unordered pairs of centres whose optical delay is within the budget,
  in the slower direction; and the share of metros where that holds for every pair.
* **C2**, key place to compute: the share of weight whose delay towards the best compute site is within the budget.
* **C3**, terminal to server: as C2 with the air before it; the way back, from the server, is shown beside it.

Within means strictly less. One way by default; a round trip is the least, over the sites, of the way there and back.
Optical links count, unless the IP layer is asked for. Nothing above that layer is in C1 and C2; C3 adds the access and,
where one is given, the time of the service. Delays are whole ns and weights whole millionths: no sum depends on order.

Source: metro millisecond action (MIIT, 2025-10-16) for the three budgets. The denominators are published nowhere:
how the shares are computed is Karez's own definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Required, TypedDict, Unpack

import msgspec
import numpy as np

from karez.measure import kernels
from karez.measure.cells import areas_km2
from karez.measure.core import LONGEST_NS, Timed, Topology, core_layout, searched, topology_of
from karez.measure.delay import (
    AIR,
    FIGURES,
    IP_HOP,
    Access,
    Figures,
    Layer,
    LinkParts,
    constants,
    link_parts,
)
from karez.measure.kernels import FAR
from karez.twin import Twin
from karez.twin.graph import Graph
from karez.twin.memo import made_of
from karez.twin.table import Array, text
from karez.units import NS_PER_US

Definition = Literal["C1", "C2", "C3"]
Weight = Literal["access_point", "station", "place", "enterprise", "population", "area"]
Way = Literal["towards", "from"]
WAYS: tuple[Way, ...] = ("towards", "from")
# The kind of key places that are enterprises.
ENTERPRISE = b"enterprise"
# The kind of equipment that makes a site a compute site.
INFERENCE = b"edge_inference"
# Weights are kept to a millionth.
WEIGHT_SCALE = 1_000_000


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

    `down` is the way from the server to the terminal (C3 one way; else empty). `covered` says of each of the `points`
    that the weight counts (of each pair, in C1) whether it is at typical figures. `reach_us` has for each access point
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
    covered: Array
    access_points: Array
    reach_us: Array


class Points(NamedTuple):
    """What is to be covered: vertex (-1 where there is none), weight, and row in `metros`."""

    vertex: Array
    weight: Array
    metro: Array


NO_POINTS = Points(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))


class Terms(TypedDict, total=False):
    """What a coverage is of. `budget_us` is required.

    `least_chips` makes a site a compute centre only from so many chips on: the size class of centres in C1 and of
    compute in C2 and C3. `access` is the air (or line) of C3, `service_us` what its server takes.
    """

    budget_us: Required[float]
    definition: Definition
    weight: Weight
    round_trip: bool
    layer: Layer
    access: Access
    service_us: float
    least_chips: int


def circles(twin: Twin, **terms: Unpack[Terms]) -> Circles:
    """Coverage of `twin` by these terms; `weight` does not matter for C1."""
    ask = _ask(twin, terms)
    ground, access = _ground(ask, "typical"), access_points(twin)
    typical, reach_ns = _covered(ask, ground), _reach_ns(ask, ground, LONGEST_NS, access)
    low, high = (_covered(ask, _ground(ask, figures)) for figures in (FIGURES[0], FIGURES[-1]))
    found, counted = dict(zip(FIGURES, (low, typical, high), strict=True)), typical.points
    province = twin.resolve("metros", "province")[counted.metro]
    return Circles(
        definition=ask.definition,
        budget_us=ask.budget_us,
        weight=ask.weight,
        round_trip=ask.round_trip,
        total_weight=float(counted.weight.sum()),
        shares={figures: _shares(one.points, one.held, ask.definition) for figures, one in found.items()},
        down={
            figures: _shares(one.points, one.down, ask.definition) for figures, one in found.items() if len(one.down)
        },
        metros=_regions(twin, "metros", counted.metro, typical),
        provinces=_regions(twin, "provinces", province, typical),
        covered=typical.held,
        access_points=twin["sites"].ids[access],
        reach_us=_as_float(reach_ns) / NS_PER_US,
    )


def movers(twin: Twin, **terms: Unpack[Terms]) -> list[Mover]:
    """The constants of the library by how far each alone moves the pooled share, the furthest first."""
    ask = _ask(twin, terms)
    low, typical, high = (ask.constants(figures) for figures in FIGURES)
    left_out = {*(AIR if ask.definition != "C3" else ()), *((IP_HOP,) if ask.layer == "optical" else ())}
    found = [
        Mover(name, _pooled(ask, typical | {name: low[name]}), _pooled(ask, typical | {name: high[name]}))
        for name in typical
        if name not in left_out
    ]
    return sorted(found, key=lambda mover: (-mover.swing_share, mover.constant))


def delays_ns(twin: Twin, figures: Figures) -> Array:
    """The delay (int32 ns) of each access point towards its best compute site; `FAR` where nothing reaches it.

    One way over optical links, at these figures of the latency library.
    """
    ask = _ask(twin, {"budget_us": LONGEST_NS / NS_PER_US})
    return _reach_ns(ask, _ground(ask, figures), LONGEST_NS, ask.counted.vertex)


@made_of("links", "sites", "stations")
def access_points(twin: Twin) -> Array:
    """The integrated access points: rows of the aggregation sites at which access links end, ascending."""
    sites, links = twin["sites"], twin["links"]
    access = links.columns["kind"].tested(lambda kinds: kinds == b"access")
    ended = np.zeros(len(sites), bool)
    for ends in (twin.resolve("links", end) for end in ("a", "b")):
        ended[ends[access & (ends >= 0) & (ends < len(sites))]] = True
    rows: Array = np.flatnonzero(ended & (sites["kind"] == b"aggregation"))
    rows.flags.writeable = False
    return rows


def centres(twin: Twin, least_chips: int = 1) -> Array:
    """The compute centres of C1: rows of the sites that hold so many chips in all, ascending."""
    site = twin.resolve("servers", "site")
    chips = np.bincount(site[site >= 0], weights=twin["servers"]["chips"][site >= 0], minlength=len(twin["sites"]))
    return np.flatnonzero(chips >= max(least_chips, 1))


def compute_sites(twin: Twin, least_chips: int = 1) -> Array:
    """The compute resources of C2 and C3: rows of the centres and of sites with equipment for inference, ascending.

    Where more than one chip is asked for, equipment (whose chips nobody counts) is not enough.
    """
    if least_chips > 1:
        return centres(twin, least_chips)
    site = twin.resolve("equipment", "site")[twin["equipment"]["kind"] == INFERENCE]
    return np.union1d(centres(twin), site[site >= 0])


def points(twin: Twin, weight: Weight) -> Points:
    """What `weight` counts.

    Access points, stations by weight, the area that stations stand in, key places, those of them that are enterprises,
    or residents shared over a metro's access points; residents of a metro without one count, and nothing reaches them.
    """
    sites = twin["sites"]
    if weight in ("station", "area"):
        stations = twin["stations"]
        amount = stations["weight"] if weight == "station" else areas_km2(stations["lon"], stations["lat"])
        return Points(len(sites) + np.arange(len(stations)), amount, twin.resolve("stations", "metro"))
    site_metro = twin.resolve("sites", "metro")
    if weight in ("place", "enterprise"):
        places = twin["places"]
        kept = np.flatnonzero((places["kind"] == ENTERPRISE) | (weight == "place"))
        site = twin.resolve("places", "site")[kept]
        return Points(site, places["weight"][kept], site_metro[site])
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


def fixed(weight: Array) -> Array:
    """Weights as they are summed: whole millionths (int64)."""
    return np.asarray(np.rint(weight * WEIGHT_SCALE).astype(np.int64))


def optical_core(twin: Twin, values: Mapping[str, float]) -> Graph:
    """The graph of the sites and what joins them, of optical links with the constants `values`; see `core_layout`."""
    made = core_layout(topology_of(twin, "optical"), len(twin["sites"]))
    return made.graph(link_parts(twin).oneway_us(values))


@dataclass(frozen=True)
class _Ask:
    """A question about a twin, and what of its answer no constant changes."""

    twin: Twin
    topology: Topology
    parts: LinkParts
    counted: Points
    sites: Array
    budget_us: float
    definition: Definition
    weight: Weight
    round_trip: bool
    layer: Layer
    access: Access
    service_us: float

    @property
    def budget_ns(self) -> float:
        return min(self.budget_us * NS_PER_US, LONGEST_NS)

    def constants(self, figures: Figures) -> dict[str, float]:
        return constants(figures, self.access)


def _ask(twin: Twin, terms: Terms) -> _Ask:
    definition, weight = terms.get("definition", "C2"), terms.get("weight", "access_point")
    layer, least_chips = terms.get("layer", "optical"), terms.get("least_chips", 1)
    return _Ask(
        twin=twin,
        topology=topology_of(twin, layer),
        parts=link_parts(twin),
        counted=points(twin, weight) if definition != "C1" else NO_POINTS,
        sites=centres(twin, least_chips) if definition == "C1" else compute_sites(twin, least_chips),
        budget_us=terms["budget_us"],
        definition=definition,
        weight=weight,
        round_trip=terms.get("round_trip", False),
        layer=layer,
        access=terms.get("access", "5g"),
        service_us=terms.get("service_us", 0.0),
    )


class _Ways(NamedTuple):
    """A topology with its delays: towards sites, and away from them."""

    made: Mapping[Way, Topology]
    timed: Mapping[Way, Timed]


def _ways(made: Topology, oneway_ns: Array) -> _Ways:
    turned, towards = made.turned(), made.timed(oneway_ns)
    away = towards if made.is_symmetric else turned.timed(oneway_ns)
    return _Ways({"towards": made, "from": turned}, {"towards": towards, "from": away})


@made_of("links", "link_support", "sites", "stations")
def _library_ways(twin: Twin, layer: Layer, figures: Figures) -> _Ways:
    """The network of a layer at figures of the library, made once for all that is asked of it (the air is apart)."""
    return _ways(topology_of(twin, layer), link_parts(twin).oneway_ns(constants(figures), LONGEST_NS))


def _ground(ask: _Ask, figures: Figures) -> _Ground:
    return _Ground(_library_ways(ask.twin, ask.layer, figures), ask.constants(figures))


class _Ground:
    """The network of a question with some constants: searches towards sites and away from them."""

    def __init__(self, ways: _Ways, values: Mapping[str, float]) -> None:
        self.values = values
        self._made, self._timed = ways

    def core_ns(self, sites: Array, limit_ns: float, way: Way) -> Array:
        """The delay of each core vertex towards the best site, or from it (int32 ns); `FAR` from the limit on."""
        made = self._made[way]
        return searched(made, self._timed[way], made.number[sites], limit_ns)

    def at(self, core_ns: Array, vertex: Array) -> Array:
        """The delay of each vertex (int32 ns), where the core has these; `FAR` where nothing reaches it, or at -1."""
        made, timed = self._made["towards"], self._timed["towards"]
        number = np.where(vertex >= 0, made.number[vertex], -1)
        if (number >= 0).all():
            found: Array = core_ns[number]
            return found
        every, chains = np.full(len(made.number) + 1, FAR, np.int32), made.chains
        kernels.reach_members(
            core_ns, chains.bounds, chains.members, chains.first, chains.second, timed.offsets, timed.whole, every
        )
        every[:-1][made.number >= 0] = core_ns
        there: Array = every[vertex]
        there[there >= LONGEST_NS] = FAR
        return there

    def round_trip_ns(self, sites: Array, limit_ns: float, vertex: Array) -> Array:
        """The least, over the sites, of the way there and back: the best site of either way may be another one.

        A station in a chain may go by one end of it and come back by the other.
        """
        made, timed = self._made["towards"], self._timed["towards"]
        first, second = made.chains.first, made.chains.second
        core = np.full(made.vertices, 2 * int(FAR), np.int64)
        across = np.full((2, len(first)), 2 * int(FAR), np.int64)
        for site in sites:
            there, back = (self.core_ns(np.array([site]), limit_ns, way).astype(np.int64) for way in WAYS)
            np.minimum(core, there + back, out=core)
            for ends, (one, other) in zip(across, ((there, back), (back, there)), strict=True):
                np.minimum(ends, np.where(second >= 0, one[first] + other[second], 2 * int(FAR)), out=ends)
        every = np.full(len(made.number) + 1, FAR, np.int64)
        every[:-1][made.number >= 0] = core
        owner = np.repeat(np.arange(len(first)), np.diff(made.chains.bounds))
        offset, whole = timed.offsets, timed.whole[owner]
        by_first = core[first][owner] + 2 * offset
        by_second = np.where(second >= 0, core[second], 2 * int(FAR))[owner] + 2 * (whole - offset)
        by_both = across.min(axis=0)[owner] + whole
        every[made.chains.members] = np.minimum(np.minimum(by_first, by_second), by_both)
        return np.asarray(np.minimum(every, FAR)[vertex].astype(np.int32))


class _Covered(NamedTuple):
    """What was to be covered, whether it is, and whether it is on the way back (C3)."""

    points: Points
    held: Array
    down: Array


def _pooled(ask: _Ask, values: Mapping[str, float]) -> float:
    ways = _ways(ask.topology, ask.parts.oneway_ns(values, LONGEST_NS))
    found = _covered(ask, _Ground(ways, values))
    return _shares(found.points, found.held, ask.definition).pooled_share or 0.0


def _covered(ask: _Ask, ground: _Ground) -> _Covered:
    if ask.definition == "C1":
        return _pairs(ask, ground)
    up, down = (ground.values[way] * NS_PER_US if ask.definition == "C3" else 0.0 for way in AIR)
    service_ns = ask.service_us * NS_PER_US if ask.definition == "C3" else 0.0
    left_ns = ask.budget_ns - (up + down if ask.round_trip else up) - service_ns
    held = _reach_ns(ask, ground, left_ns, ask.counted.vertex) < left_ns
    if ask.definition == "C2" or ask.round_trip:
        return _Covered(ask.counted, held, np.zeros(0, bool))
    left_ns = ask.budget_ns - down
    back = ground.at(ground.core_ns(ask.sites, left_ns, "from"), ask.counted.vertex)
    return _Covered(ask.counted, held, back < left_ns)


def _as_float(delay_ns: Array) -> Array:
    """Delays with `inf` for what nothing reaches."""
    return np.where(delay_ns >= FAR, np.inf, delay_ns)


def _reach_ns(ask: _Ask, ground: _Ground, limit_ns: float, vertex: Array) -> Array:
    """The delay of each vertex to its best compute site, or there and back (int ns); may be `FAR` from the limit on."""
    if not ask.round_trip:
        return ground.at(ground.core_ns(ask.sites, limit_ns, "towards"), vertex)
    if ask.topology.is_symmetric:
        once = ground.at(ground.core_ns(ask.sites, limit_ns, "towards"), vertex).astype(np.int64)
        return np.minimum(2 * once, FAR)
    return ground.round_trip_ns(ask.sites, min(limit_ns, ask.budget_ns), vertex)


def _pairs(ask: _Ask, ground: _Ground) -> _Covered:
    """Unordered pairs of centres in one metro as what is to be covered, each of weight 1."""
    metro = ask.twin.resolve("sites", "metro")[ask.sites]
    order = np.argsort(metro, kind="stable")
    sites, metro = ask.sites[order], metro[order]
    starts, stops = (np.searchsorted(metro, metro, side) for side in ("left", "right"))
    found, homes = [], []
    for at in np.flatnonzero(stops - starts > 1):
        mine = sites[starts[at] : stops[at]]
        number = ask.topology.number[mine]
        there, back = (ground.core_ns(sites[at : at + 1], ask.budget_ns, way)[number].astype(np.int64) for way in WAYS)
        delay_ns = there + back if ask.round_trip else np.maximum(there, back)
        found.append(delay_ns[at + 1 - starts[at] :])
        homes.append(metro[at + 1 : stops[at]])
    delay_ns, home = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (found, homes))
    pairs = Points(np.full(len(home), -1), np.ones(len(home)), home)
    return _Covered(pairs, delay_ns < ask.budget_ns, np.zeros(0, bool))


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
    sums = np.zeros((2, int(region.max(initial=0)) + 1), np.int64)
    kernels.sum_by_region(region, counted.weight * WEIGHT_SCALE, held, sums)
    return sums[0] / WEIGHT_SCALE, sums[1] / WEIGHT_SCALE


def _regions(twin: Twin, table: str, region: Array, found: _Covered) -> tuple[Region, ...]:
    covered, weight = _summed(found.points, found.held, region)
    rows = np.flatnonzero(weight > 0)
    columns = zip(twin[table].ids[rows], twin[table]["name"][rows], weight[rows], covered[rows], strict=True)
    return tuple(Region(text(i), text(name), float(w), float(c / w)) for i, name, w, c in columns)
