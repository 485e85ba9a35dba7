"""The tiers of 1, 5 and 20 ms, and how the backbone compares with what was measured between China's hubs.

* **Tier 1**, metro: C2 within 1 ms (see `karez.measure.circles`).
* **Tier 2**, hub to surrounding cities, 5 ms: cities within 5 and 20 ms of each hub, metros within 5 ms of any.
* **Tier 3**, hub to hub, 20 ms: the delay of each pair of hubs.

A hub is the core site nearest to its cluster, a metro the core site nearest to its centre; the way from there to the
cluster or the centre is told and not counted. Within means strictly less. One way means in the slower direction, a
round trip the way there and back.

Devices: each link costs the hop of its kind, up to the figure of an OTN regeneration. A link longer than a wave
reaches costs that regeneration once more for each further reach that it has begun.

Source: tiers of NDRC 1779/2023; measured figures in library/calibration.csv. How the shares and counts are computed is
Karez's own definition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from scipy.optimize import brentq
from scipy.sparse.csgraph import dijkstra

from karez.measure.circles import Shares, circles
from karez.measure.core import core_layout, topology_of
from karez.measure.delay import FIBRE, FIGURES, LINK_KINDS, Figures, constants, link_parts
from karez.twin import Twin
from karez.twin.facts import library
from karez.twin.geo import great_circle_km
from karez.twin.graph import Graph, Layout
from karez.twin.table import Array, text
from karez.units import NS_PER_US, US_PER_MS

# The three tiers. Source: NDRC 1779/2023 (library/targets.csv, P24).
METRO_US, CITY_US, HUB_US = 1_000.0, 5_000.0, 20_000.0
# Ours: a cluster further from every core site than this is not in the network.
FARTHEST_KM = 100.0
# Source: a large city has a million residents or more (State Council, 2014, classes of city size; from memory).
CITY_PEOPLE = 1_000_000.0
REGENERATION = "regeneration"
REGENERATION_ROW = ("hop", "OTN electrical regeneration (O-E-O, FEC, mapping)")
# What IP adds to the optical layer, by the name that its measured figures have.
LAYER_ROWS = {
    "IP private": ("layer", "IP private network over optical, hub to hub"),
    "public Internet": ("layer", "public Internet over optical, hub to hub"),
}
# How rows for the other reading of the counts of cities are called: CAICT does not say which one is meant.
ROUND_TRIP = ", there and back"
LARGEST_FACTOR = 64.0
# Below is what nanoseconds leave of a fit.
DIFFERENCE_DIGITS = 6

Role = Literal["fitted", "tested", "implied"]


class Hub(msgspec.Struct, frozen=True):
    """A cluster of the library, and the core site nearest to it."""

    cluster: str
    hub: str
    side: str
    site: str
    distance_km: float


class HubCities(msgspec.Struct, frozen=True):
    """How many cities are within 5 and 20 ms of a hub, its own among them; one way, and there and back."""

    cluster: str
    hub: str
    side: str
    site: str
    distance_km: float
    cities_5ms: int
    cities_20ms: int
    cities_5ms_round_trip: int
    cities_20ms_round_trip: int


class Cities(msgspec.Struct, frozen=True):
    """Tier 2: metros and residents within 5 ms of any hub, and cities within 5 and 20 ms of a hub, mean of the hubs.

    None where there is nothing to take a share of or to count.
    """

    metros_share: float | None
    population_share: float | None
    cities_5ms: float | None
    cities_20ms: float | None


class Between(msgspec.Struct, frozen=True):
    """Tier 3: pairs of hubs within 20 ms, one way and round trip; mean and largest one-way delay of joined ones."""

    pairs_share: float
    pairs_round_trip_share: float
    mean_us: float
    max_us: float


class Pair(msgspec.Struct, frozen=True):
    """Two hubs: fibre and links of the slower way at typical figures, and its delay; `inf` where none joins them."""

    one: str
    other: str
    great_circle_km: float
    length_km: float
    route_factor: float
    links: int
    low_us: float
    typical_us: float
    high_us: float


class Check(msgspec.Struct, frozen=True):
    """A figure as CAICT measured it, and here.

    `straight_line` is what no network would give: great circles as fibre, times the factor that gives the measured
    mean. A test that it passes as well proves little. `implied`: the library's row was derived from this very figure.
    """

    element: str
    unit: str
    measured: float
    low: float
    typical: float
    high: float
    difference_share: float
    straight_line: float
    role: Role


class Route(msgspec.Struct, frozen=True):
    """A ratio over great circles: from the library, or here (least, of all pairs together, largest)."""

    element: str
    low: float
    typical: float
    high: float


@dataclass(frozen=True)
class Tied:
    """Clusters tied to the rows of core sites in `sites`, and those too far from any (`far`)."""

    near: tuple[Hub, ...]
    sites: Array
    far: tuple[Hub, ...]


class Fibre(NamedTuple):
    """Fibre of each arc: its length, how much of that is as the library has it, and what the rest says it takes."""

    length_km: Array
    solid_km: Array
    own_us: Array


@dataclass(frozen=True)
class Ways:
    """What each arc between sites is made of, whatever the constants are: fibre, and hops and regenerations.

    `links` is how many links it has; `own_hops_us` what those hops take whose links say so.
    """

    layout: Layout
    backbone: Fibre
    other: Fibre
    devices: Mapping[str, Array]
    links: Array
    own_hops_us: Array

    def length_km(self, backbone_factor: float) -> Array:
        """The fibre of each arc, with this factor on that of the backbone."""
        return np.asarray(backbone_factor * self.backbone.length_km + self.other.length_km)

    def graph(self, values: Mapping[str, float], backbone_factor: float = 1.0) -> Graph:
        """The graph with these constants, and this factor on the length of the backbone's fibre."""
        return self.layout.graph_ns(self.arc_ns(values, backbone_factor))

    def arc_ns(self, values: Mapping[str, float], backbone_factor: float = 1.0) -> Array:
        """The delay of each arc in ns.

        Source: delay = length x delay of fibre + delay of the devices that are passed.
        """
        us = values[FIBRE] * (backbone_factor * self.backbone.solid_km + self.other.solid_km)
        us = us + (backbone_factor * self.backbone.own_us + self.other.own_us + self.own_hops_us)
        for name, number in self.devices.items():
            us = us + values[name] * number
        found: Array = np.rint(us * NS_PER_US).astype(np.int64)
        return found


@dataclass(frozen=True)
class Tiers:
    """The tiers at each end of the latency library, what they are made of, and the calibration.

    `regenerated` is the number of optical links longer than a wave reaches; `cities` is how many there are in all.
    """

    metro: Mapping[Figures, Shares]
    cities: Mapping[Figures, Cities]
    cities_round_trip: Mapping[Figures, Cities]
    between: Mapping[Figures, Between]
    hubs: Mapping[Figures, tuple[HubCities, ...]]
    pairs: tuple[Pair, ...]
    checks: tuple[Check, ...]
    routes: tuple[Route, ...]
    backbone_factor: float
    city_count: int
    unjoined_pairs: int
    regenerated: int


def tied(twin: Twin) -> Tied:
    """The clusters of the library with the core site nearest to each; those with none within 100 km are `far`.

    Source: library/hubs.csv.
    """
    sites = twin["sites"]
    core = np.flatnonzero(sites["kind"] == b"core")
    found = [(row, *_nearest(twin, core, float(row["lon"]), float(row["lat"]))) for row in library("hubs")]
    hubs = [
        (Hub(row["cluster"], row["hub"], row["side"], text(sites.ids[site]) if site >= 0 else "", distance_km), site)
        for row, site, distance_km in found
    ]
    near = [(hub, site) for hub, site in hubs if hub.distance_km <= FARTHEST_KM]
    return Tied(
        near=tuple(hub for hub, _ in near),
        sites=np.array([site for _, site in near], np.int64),
        far=tuple(hub for hub, _ in hubs if hub.distance_km > FARTHEST_KM),
    )


def metro_sites(twin: Twin) -> Array:
    """The row of the core site that stands for each metro: the nearest to its centre, `-1` where it has none."""
    sites, metros = twin["sites"], twin["metros"]
    core = np.flatnonzero(sites["kind"] == b"core")
    metro = twin.resolve("sites", "metro")[core]
    core, metro = core[metro >= 0], metro[metro >= 0]
    away_km = great_circle_km(sites["lon"][core], sites["lat"][core], metros["lon"][metro], metros["lat"][metro])
    order = np.lexsort((sites.ids[core], away_km, metro))
    owner, first = np.unique(metro[order], return_index=True)
    found = np.full(len(metros), -1)
    found[owner] = core[order][first]
    return found


def ways(twin: Twin) -> Ways:
    """What the optical ways between the sites of `twin` are made of."""
    links, parts = twin["links"], link_parts(twin)
    core = core_layout(topology_of(twin, "optical"), len(twin["sites"]))
    backbone = links["kind"] == b"backbone"
    devices = {f"{kind} hop": (parts.kind == at).astype(np.int64) for at, kind in enumerate(LINK_KINDS)}
    devices[REGENERATION] = regenerations(links["length_km"])
    own_us = np.zeros((2, len(links)))
    own_us[:, parts.own.rows] = parts.own.fibre_us, parts.own.hop_us
    fibre = np.stack([links["length_km"], parts.fibre_km, own_us[0]])
    return Ways(
        layout=core.layout,
        backbone=Fibre(*(core.along(np.where(backbone, amount, 0.0)) for amount in fibre)),
        other=Fibre(*(core.along(np.where(backbone, 0.0, amount)) for amount in fibre)),
        devices={name: core.along(number) for name, number in devices.items()},
        links=core.along(np.ones(len(links), np.int64)),
        own_hops_us=core.along(own_us[1]),
    )


def regenerations(length_km: Array) -> Array:
    """How often a wave is regenerated within each link, besides at its end: once for each reach begun after the first.

    Source: library/calibration.csv, regeneration reach.
    """
    reach_km = measured()["regeneration reach"]
    number: Array = np.maximum(np.ceil(length_km / reach_km), 1.0).astype(np.int64) - 1
    return number


def measured() -> dict[str, float]:
    """The figures that the backbone is compared with, by name, each in the unit of its row.

    Source: library/calibration.csv.
    """
    return {row["element"]: float(row["value"]) for row in library("calibration")}


def all_constants(figures: Figures) -> dict[str, float]:
    """The constants of every delay, with an OTN regeneration; see `karez.measure.delay.constants`."""
    return constants(figures) | {REGENERATION: _row(REGENERATION_ROW)[figures]}


def joined(found: Ways, hubs: Array) -> bool:
    """Whether any two of `hubs` (vertices) are joined both ways."""
    delays = _slower(_delays_us(found.graph(all_constants("typical")), hubs, hubs))
    return bool(np.isfinite(_above(delays)).any())


def fitted_factor(found: Ways, hubs: Array) -> float | None:
    """The factor on the backbone's fibre with which the typical mean between hubs is as measured; None where none is.

    The ways are searched anew for each factor. Devices, regenerations among them, stay as they are.
    """
    values, goal_us = all_constants("typical"), measured()["optical mean"] * US_PER_MS

    def excess_us(factor: float) -> float:
        delays = _slower(_delays_us(found.graph(values, factor), hubs, hubs))
        return _mean(_above(delays)) - goal_us

    upper = 1.0
    while excess_us(upper) < 0:
        upper *= 2
        if upper > LARGEST_FACTOR:
            return None
    return float(brentq(excess_us, 0.0, upper, xtol=1e-9)) if excess_us(0.0) < 0 else None


def tiers(twin: Twin, hubs: Tied, found: Ways, *, backbone_factor: float = 1.0, fitted: bool = False) -> Tiers:
    """The tiers of `twin` and the calibration, with this factor on the length of the backbone's fibre.

    At least two of `hubs` must be joined both ways. `fitted` says whether the factor is `fitted_factor`'s.
    """
    ask = _Ask(twin, hubs, metro_sites(twin), twin["metros"]["population"])
    graphs = {figures: found.graph(all_constants(figures), backbone_factor) for figures in FIGURES}
    reached = {figures: _reached(ask, graph) for figures, graph in graphs.items()}
    between = {figures: _between(one) for figures, one in reached.items()}
    cities = {figures: _cities(ask, one.city_us) for figures, one in reached.items()}
    cities_round_trip = {figures: _cities(ask, one.city_round_us) for figures, one in reached.items()}
    pairs = _pairs(ask, found, reached, backbone_factor)
    metro = circles(twin, definition="C2", budget_us=METRO_US, weight="access_point")
    links = twin["links"]
    return Tiers(
        metro=metro.shares,
        cities=cities,
        cities_round_trip=cities_round_trip,
        between=between,
        hubs={figures: _hub_cities(ask, one) for figures, one in reached.items()},
        pairs=pairs,
        checks=_checks(ask, between, {"": cities, ROUND_TRIP: cities_round_trip}, fitted=fitted),
        routes=_routes(pairs),
        backbone_factor=backbone_factor,
        city_count=int(ask.is_city.sum()),
        unjoined_pairs=sum(pair.typical_us == np.inf for pair in pairs),
        regenerated=int((regenerations(links["length_km"]) > 0)[links["layer"] == b"optical"].sum()),
    )


class _Ask(NamedTuple):
    twin: Twin
    hubs: Tied
    metro_site: Array
    people: Array

    @property
    def is_city(self) -> Array:
        large: Array = self.people >= CITY_PEOPLE
        return large

    def apart_km(self, sites: Array) -> Array:
        """Great circles from each hub's site to `sites` (rows)."""
        lon, lat = self.twin["sites"]["lon"], self.twin["sites"]["lat"]
        hubs = self.hubs.sites[:, None]
        return great_circle_km(lon[hubs], lat[hubs], lon[sites], lat[sites])


class _Reached(NamedTuple):
    """Delays in us: between hubs in each direction and in the slower, and from each hub to each metro."""

    there_us: Array
    pair_us: Array
    city_us: Array
    city_round_us: Array


def _nearest(twin: Twin, core: Array, lon: float, lat: float) -> tuple[int, float]:
    """The row of the core site nearest to a position, and how far it is; -1 and `inf` where there is no core site."""
    if not len(core):
        return -1, np.inf
    sites = twin["sites"]
    away_km = great_circle_km(sites["lon"][core], sites["lat"][core], np.array(lon), np.array(lat))
    nearest = int(np.lexsort((sites.ids[core], away_km))[0])
    return int(core[nearest]), float(away_km[nearest])


def _row(key: tuple[str, str]) -> dict[Figures, float]:
    """Low, typical and high of a row of the latency library."""
    row = next(row for row in library("latency") if (row["kind"], row["element"]) == key)
    return {figures: float(row[figures]) for figures in FIGURES}


def _delays_us(graph: Graph, hubs: Array, to: Array) -> tuple[Array, Array]:
    """Delays from each hub to each of `to` (vertices), and back from there."""
    there = dijkstra(graph.forward, indices=hubs)[:, to] / NS_PER_US
    back = there if graph.symmetric else dijkstra(graph.backward, indices=hubs)[:, to] / NS_PER_US
    return there, back


def _slower(delays: tuple[Array, Array]) -> Array:
    slower: Array = np.maximum(*delays)
    return slower


def _above(square: Array) -> Array:
    """The values of the unordered pairs."""
    values: Array = square[np.triu_indices(len(square), 1)]
    return values


def _mean(values: Array) -> float:
    return float(values[np.isfinite(values)].mean())


def _max(values: Array) -> float:
    return float(values[np.isfinite(values)].max())


def _reached(ask: _Ask, graph: Graph) -> _Reached:
    hubs, count = ask.hubs.sites, len(ask.hubs.sites)
    there, back = _delays_us(graph, hubs, np.concatenate([hubs, ask.metro_site]))
    there[:, count:][:, ask.metro_site < 0] = np.inf
    city_us, city_round_us = np.maximum(there, back)[:, count:], (there + back)[:, count:]
    return _Reached(there[:, :count], np.maximum(there, back)[:, :count], city_us, city_round_us)


def _between(reached: _Reached) -> Between:
    slower = _above(reached.pair_us)
    round_trip = _above(reached.there_us + reached.there_us.T)
    return Between(float((slower < HUB_US).mean()), float((round_trip < HUB_US).mean()), _mean(slower), _max(slower))


def _cities(ask: _Ask, delay_us: Array) -> Cities:
    near = (delay_us < CITY_US).any(axis=0)
    city_us = delay_us[:, ask.is_city]
    return Cities(
        metros_share=float(near.mean()) if near.size else None,
        population_share=float(ask.people[near].sum() / ask.people.sum()) if ask.people.sum() else None,
        cities_5ms=float((city_us < CITY_US).sum(axis=1).mean()) if city_us.size else None,
        cities_20ms=float((city_us < HUB_US).sum(axis=1).mean()) if city_us.size else None,
    )


def _hub_cities(ask: _Ask, reached: _Reached) -> tuple[HubCities, ...]:
    counts = [
        (delay_us[:, ask.is_city] < budget_us).sum(axis=1).tolist()
        for delay_us in (reached.city_us, reached.city_round_us)
        for budget_us in (CITY_US, HUB_US)
    ]
    return tuple(
        HubCities(*msgspec.structs.astuple(hub), *number) for hub, *number in zip(ask.hubs.near, *counts, strict=True)
    )


def _pairs(ask: _Ask, found: Ways, reached: Mapping[Figures, _Reached], backbone_factor: float) -> tuple[Pair, ...]:
    """Every pair of hubs, the slowest first."""
    typical, apart_km = reached["typical"], ask.apart_km(ask.hubs.sites)
    length_km, links = _made(found, ask.hubs.sites, backbone_factor)
    pairs = []
    for one, other in zip(*np.triu_indices(len(apart_km), 1), strict=True):
        way = (one, other) if typical.there_us[one, other] >= typical.there_us[other, one] else (other, one)
        low_us, typical_us, high_us = (float(reached[figures].pair_us[one, other]) for figures in FIGURES)
        pairs.append(
            Pair(
                one=ask.hubs.near[one].cluster,
                other=ask.hubs.near[other].cluster,
                great_circle_km=float(apart_km[one, other]),
                length_km=float(length_km[way]),
                route_factor=float(length_km[way] / apart_km[one, other]),
                links=int(links[way]),
                low_us=low_us,
                typical_us=typical_us,
                high_us=high_us,
            )
        )
    return tuple(sorted(pairs, key=lambda pair: (-pair.typical_us, pair.one, pair.other)))


def _made(found: Ways, hubs: Array, backbone_factor: float) -> tuple[Array, Array]:
    """Length and number of links of the fastest way from each hub to each other at typical figures."""
    arc_ns = found.arc_ns(all_constants("typical"), backbone_factor)
    graph, layout = found.layout.graph_ns(arc_ns), found.layout
    # Which of parallel arcs each entry of the graph is: the fastest, as for its delay.
    sizes = np.diff(np.append(layout.starts, len(layout.order)))
    entry = np.repeat(np.arange(len(sizes)), sizes)
    arc = layout.order[np.lexsort((arc_ns[layout.order], entry))[layout.starts]]
    length_km = found.length_km(backbone_factor)[arc]
    delay_ns, before = dijkstra(graph.forward, indices=hubs, return_predecessors=True)
    made_km, made_links = np.full(2 * (len(hubs),), np.inf), np.zeros(2 * (len(hubs),), np.int64)
    for one in range(len(hubs)):
        for other in np.flatnonzero(np.isfinite(delay_ns[one, hubs])):
            passed = list(_passed(graph, before[one], hubs[other]))
            made_km[one, other] = length_km[passed].sum()
            made_links[one, other] = found.links[arc][passed].sum()
    return made_km, made_links


def _passed(graph: Graph, before: Array, vertex: int) -> Iterator[int]:
    """The entries of `graph.forward` on the way that ends at `vertex`, the last first."""
    line = [int(vertex)]
    while (previous := int(before[line[-1]])) >= 0:
        line.append(previous)
    links = graph.forward
    for head, tail in pairwise(line):
        start, stop = links.indptr[tail], links.indptr[tail + 1]
        yield int(start + np.searchsorted(links.indices[start:stop], head))


def _checks(
    ask: _Ask, between: Mapping[Figures, Between], cities: Mapping[str, Mapping[Figures, Cities]], *, fitted: bool
) -> tuple[Check, ...]:
    """Each figure of CAICT against the network's and against a straight line's."""
    line = _line(ask)
    means = {figures: one.mean_us / US_PER_MS for figures, one in between.items()}
    largest = {figures: one.max_us / US_PER_MS for figures, one in between.items()}
    rows: list[tuple[str, Mapping[Figures, float], Role]] = [
        ("optical mean", means, "fitted" if fitted else "tested"),
        ("optical maximum", largest, "tested"),
    ]
    for layer, key in LAYER_ROWS.items():
        added = _row(key)
        rows.append((f"{layer} mean", {figures: means[figures] + added[figures] for figures in FIGURES}, "implied"))
        rows.append((f"{layer} maximum", {figures: largest[figures] + added[figures] for figures in FIGURES}, "tested"))
    for way, ends in cities.items() if ask.is_city.any() else ():
        near, far = ({figures: getattr(one, f"cities_{ms}ms") for figures, one in ends.items()} for ms in (5, 20))
        rows += [(f"cities within 5 ms{way}", near, "tested"), (f"cities within 20 ms{way}", far, "tested")]
    return tuple(_check(name, here, line[name], role) for name, here, role in rows)


def _check(name: str, here: Mapping[Figures, float], line: float, role: Role) -> Check:
    row = next(row for row in library("calibration") if row["element"] == name.removesuffix(ROUND_TRIP))
    goal = float(row["value"])
    return Check(
        element=name,
        unit=row["unit"],
        measured=goal,
        low=here["low"],
        typical=here["typical"],
        high=here["high"],
        difference_share=round(here["typical"] / goal - 1, DIFFERENCE_DIGITS) + 0.0,
        straight_line=line,
        role=role,
    )


def _line(ask: _Ask) -> dict[str, float]:
    """What great circles alone give, times the one factor that gives the measured mean."""
    goals = measured()
    apart_km = _above(ask.apart_km(ask.hubs.sites))
    ms_per_km = goals["optical mean"] / apart_km.mean()
    city_ms = ms_per_km * ask.apart_km(ask.metro_site[ask.is_city & (ask.metro_site >= 0)])
    found = {"optical mean": goals["optical mean"], "optical maximum": float(ms_per_km * apart_km.max())}
    for layer, key in LAYER_ROWS.items():
        for part in ("mean", "maximum"):
            found[f"{layer} {part}"] = found[f"optical {part}"] + _row(key)["typical"]
    for name, budget_us in (("cities within 5 ms", CITY_US), ("cities within 20 ms", HUB_US)):
        found[name] = float((city_ms * US_PER_MS < budget_us).sum(axis=1).mean())
        found[name + ROUND_TRIP] = float((2 * city_ms * US_PER_MS < budget_us).sum(axis=1).mean())
    return found


def _routes(pairs: tuple[Pair, ...]) -> tuple[Route, ...]:
    """Fibre and delay over great circles here, and the route factors of the library."""
    rows = [row for row in library("latency") if row["kind"] == "route"]
    theirs = [Route(row["element"], float(row["low"]), float(row["typical"]), float(row["high"])) for row in rows]
    some = [pair for pair in pairs if pair.typical_us < np.inf]
    straight_km = np.array([pair.great_circle_km for pair in some])
    straight_us = constants("typical")[FIBRE] * straight_km
    ours = [
        _route("here: fibre over great circle", np.array([pair.length_km for pair in some]), straight_km),
        _route("here: delay over light's on great circle", np.array([pair.typical_us for pair in some]), straight_us),
    ]
    return (*ours, *theirs)


def _route(element: str, over: Array, under: Array) -> Route:
    ratio = over / under
    return Route(element, float(ratio.min()), float(over.sum() / under.sum()), float(ratio.max()))
