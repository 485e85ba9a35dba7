"""Where the microseconds go: the way to the best compute as links and as a stack of parts, and whose best is which.

The search knows only delays. What it found is walked once more, from the compute outward over the arcs on which no
delay is lost, and each vertex learns whence it was reached first: never twice, so ways of no delay end, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
from numba import njit

from karez.measure.circles import compute_sites
from karez.measure.core import LONGEST_NS, Timed, Topology, searched, topology_of
from karez.measure.delay import (
    ACCESS,
    AIR,
    FIBRE,
    FIGURES,
    IP_HOP,
    LINK_KINDS,
    OWN_HOP,
    ROWS,
    Access,
    Layer,
    LinkParts,
    Own,
    constants,
    link_parts,
)
from karez.measure.kernels import FAR
from karez.twin import Twin
from karez.twin.table import Array, text
from karez.units import NS_PER_US

# What a link says of itself, and the element of the library that it stands in for.
OWN_FIBRE, OWN_HOPS = "own fibre", "own hop"
SAID = "as the link says"


class Part(msgspec.Struct, frozen=True):
    """One part of a delay, one way: how much there is of it, and what that takes over the latency library.

    `element` is the row of the library; `amount` is in km of fibre, else a number of times.
    """

    part: str
    element: str
    amount: float
    low_us: float
    typical_us: float
    high_us: float


class Step(msgspec.Struct, frozen=True):
    """A link of the way in the direction of the traffic, with its typical delay and that of the way up to its end."""

    link: str
    kind: str
    layer: str
    start: str
    end: str
    fibre_km: float
    oneway_us: float
    upto_us: float


class Stack(NamedTuple):
    """The way from a start to its best compute `site` ("" where none is within reach), and the parts of its delay."""

    site: str
    steps: tuple[Step, ...]
    parts: tuple[Part, ...]

    @property
    def totals_us(self) -> tuple[float, float, float]:
        """The sums of the parts at low, typical and high figures; `inf` where nothing is within reach."""
        if not self.site:
            return np.inf, np.inf, np.inf
        low, typical, high = (
            sum(round(us * NS_PER_US) for us in column) / NS_PER_US
            for column in zip(*((part.low_us, part.typical_us, part.high_us) for part in self.parts), strict=True)
        )
        return low, typical, high


class Nearest(NamedTuple):
    """Of each vertex (sites, then stations) the typical delay to its best compute, and that compute's row in `sites`.

    Where nothing is within reach these are `FAR` (int32 ns) and -1. Of sites that are equally near it is the first.
    """

    oneway_ns: Array
    site: Array


class Ways(NamedTuple):
    """A core that was searched from its `sources`: each vertex's delay, its best source, and the arc to go by.

    `found` is int32 ns, `FAR` where no source is within reach; `origin` and `by` are -1 there, and `by` at sources.
    """

    made: Topology
    timed: Timed
    found: Array
    origin: Array
    by: Array

    def links(self, start: int) -> Array | None:
        """The links (rows) from vertex `start` to its best source in order; None where nothing is within reach."""
        vertex = int(self.made.number[start])
        links = [np.zeros(0, np.int64)]
        if vertex < 0:
            left = _out_of_chain(self, start)
            if left is None:
                return None
            links.append(left[0])
            vertex = left[1]
        if self.origin[vertex] < 0:
            return None
        while (arc := int(self.by[vertex])) >= 0:
            links.append(_links_of(self, arc, vertex))
            vertex = int(np.searchsorted(self.made.starts, arc, side="right")) - 1
        return np.concatenate(links)

    def nearest(self) -> Nearest:
        """Delay and best source (a core vertex) of every vertex of the network."""
        number, chains = self.made.number, self.made.chains
        oneway_ns, source = np.full(len(number), FAR, np.int32), np.full(len(number), -1, np.int32)
        inner = number >= 0
        oneway_ns[inner], source[inner] = self.found, self.origin
        ends = (chains.first, chains.second, self.timed.offsets, self.timed.whole)
        _reach_members(self.found, self.origin, chains.bounds, chains.members, *ends, LONGEST_NS, oneway_ns, source)
        return Nearest(oneway_ns, source)


def ways(made: Topology, oneway_ns: Array, sources: Array) -> Ways:
    """The best ways to `sources` (core vertices, ascending), where the links have these delays (int32 ns)."""
    timed = made.timed(oneway_ns)
    found = searched(made, timed, sources, LONGEST_NS)
    origin, by = np.full(made.vertices, -1, np.int32), np.full(made.vertices, -1, np.int32)
    _spread(made.starts, timed.arcs, sources, found, origin, by)
    return Ways(made, timed, found, origin, by)


def stack(twin: Twin, start: int, *, layer: Layer, access: Access | None = None, service_us: float = 0.0) -> Stack:
    """The way from vertex `start` to its best compute site, and its parts: access up, fibre, hops, routers, service.

    The way is the best at typical figures; low and high are what the same way takes at the library's ends.
    """
    parts = link_parts(twin)
    oneway_ns = _typical_ns(parts)
    links = ways(topology_of(twin, layer), oneway_ns, compute_sites(twin)).links(start)
    if links is None:
        return Stack("", (), ())
    mine = _of_links(parts, links)
    steps, end = _steps(twin, start, links, mine, oneway_ns[links])
    return Stack(text(twin["sites"].ids[end]), steps, _parts(mine, access, service_us))


def nearest(twin: Twin, layer: Layer) -> Nearest:
    """The nearest compute of every vertex of `twin` by the links of a layer, at typical figures."""
    # Sites are the first vertices of the core, in their order: a core vertex that is one is its row.
    return ways(topology_of(twin, layer), _typical_ns(link_parts(twin)), compute_sites(twin)).nearest()


def _typical_ns(parts: LinkParts) -> Array:
    return parts.oneway_ns(constants("typical"), LONGEST_NS)


@njit(cache=True)
def _spread(starts: Array, arcs: Array, sources: Array, found: Array, origin: Array, by: Array) -> None:
    """Fill in the first of `sources` (ascending) that each vertex is nearest to, and the arc by which it is reached.

    What an earlier source reaches without loss no later one changes: neither it nor anything that hangs on it.
    """
    queue = np.empty(found.size, np.int32)
    for source in sources:
        if origin[source] >= 0:
            continue
        origin[source], queue[0] = source, source
        done, filled = 0, 1
        while done < filled:
            vertex = queue[done]
            done += 1
            for arc in range(starts[vertex], starts[vertex + 1]):
                head = arcs[arc, 0]
                if origin[head] < 0 and np.int64(found[head]) == np.int64(found[vertex]) + arcs[arc, 1]:
                    origin[head], by[head], queue[filled] = source, arc, head
                    filled += 1


@njit(cache=True)
def _reach_members(
    found: Array,
    origin: Array,
    bounds: Array,
    members: Array,
    first: Array,
    second: Array,
    offsets: Array,
    whole: Array,
    limit: int,
    oneway_ns: Array,
    site: Array,
) -> None:
    """Write delay and nearest site of each member of the chains, from the end that serves it, below `limit`."""
    for chain in range(first.size):
        one, other = first[chain], second[chain]
        for at in range(bounds[chain], bounds[chain + 1]):
            delay, nearest = np.int64(found[one]) + offsets[at], origin[one]
            if other >= 0:
                back = np.int64(found[other]) + whole[chain] - offsets[at]
                if back < delay or (back == delay and origin[other] < nearest):
                    delay, nearest = back, origin[other]
            if delay < limit:
                oneway_ns[members[at]], site[members[at]] = delay, nearest


def _out_of_chain(found: Ways, start: int) -> tuple[Array, int] | None:
    """The links from a station in a chain to the better end of it, and that end; None where neither is in reach."""
    chains = found.made.chains
    places = np.flatnonzero(chains.members == start)
    if not len(places):
        return None
    place = int(places[0])
    chain = int(np.searchsorted(chains.bounds, place, side="right")) - 1
    one, other = int(chains.first[chain]), int(chains.second[chain])
    offset, whole = int(found.timed.offsets[place]), int(found.timed.whole[chain])
    low, high = int(chains.bounds[chain]), int(chains.bounds[chain + 1])
    ways = [(int(found.found[one]) + offset, int(found.origin[one]), one, chains.via[low : place + 1][::-1])]
    if other >= 0:
        back = np.append(chains.via[place + 1 : high], chains.last[chain])
        ways.append((int(found.found[other]) + whole - offset, int(found.origin[other]), other, back))
    delay, _, end, links = min(ways, key=lambda way: way[:2])
    return (links, end) if delay < LONGEST_NS else None


def _links_of(found: Ways, arc: int, start: int) -> Array:
    """The links of an arc's fastest way, in the order in which traffic from core vertex `start` passes them."""
    made = found.made
    ways = made.ways[made.bounds[arc] : made.bounds[arc + 1]]
    way = int(ways[np.argmin(found.timed.way_ns[ways])])
    if way < len(made.links):
        return made.links[way : way + 1]
    chains, chain = made.chains, int(made.joined[way - len(made.links)])
    links = np.append(chains.via[chains.bounds[chain] : chains.bounds[chain + 1]], chains.last[chain])
    return links if chains.first[chain] == start else links[::-1]


def _steps(twin: Twin, start: int, links: Array, mine: LinkParts, oneway_ns: Array) -> tuple[tuple[Step, ...], int]:
    """The links of a way one after the other, and the vertex where it ends."""
    table = twin["links"]
    a, b = (twin.resolve("links", end)[links].tolist() for end in ("a", "b"))
    vertices = [start]
    for one, other in zip(a, b, strict=True):
        vertices.append(one + other - vertices[-1])
    names, length_km = [_name(twin, vertex) for vertex in vertices], mine.length_km
    upto_us = np.cumsum(oneway_ns, dtype=np.int64) / NS_PER_US
    steps = tuple(
        Step(
            link=text(table.ids[row]),
            kind=text(table["kind"][row]),
            layer=text(table["layer"][row]),
            start=names[at],
            end=names[at + 1],
            fibre_km=float(length_km[at]),
            oneway_us=int(oneway_ns[at]) / NS_PER_US,
            upto_us=float(upto_us[at]),
        )
        for at, row in enumerate(links.tolist())
    )
    return steps, vertices[-1]


def _name(twin: Twin, vertex: int) -> str:
    sites = twin["sites"].ids
    return text(sites[vertex] if vertex < len(sites) else twin["stations"].ids[vertex - len(sites)])


def _parts(mine: LinkParts, access: Access | None, service_us: float) -> tuple[Part, ...]:
    """The parts of the delay of a way, with the access before it and the service after it."""
    times = _times(mine)
    ends = [_ns(mine, times, constants(figures, access or "5g")) for figures in FIGURES]
    amounts = {FIBRE: float(mine.fibre_km.sum()), OWN_FIBRE: float(mine.own.fibre_km.sum()), **times}
    rows = [(name, _element(name), amounts[name], [ns[name] for ns in ends]) for name in ends[0]]
    if access:
        up = [round(constants(figures, access)[AIR[0]] * NS_PER_US) for figures in FIGURES]
        rows.insert(0, ("access", ACCESS[access][0], 1.0, up))
    if service_us:
        rows.append(("service", "as asked", 1.0, [round(service_us * NS_PER_US)] * len(FIGURES)))
    return tuple(
        Part(name, element, amount, *(ns / NS_PER_US for ns in three)) for name, element, amount, three in rows
    )


def _element(part: str) -> str:
    return ROWS[part][1] if part in ROWS else SAID


def _of_links(parts: LinkParts, rows: Array) -> LinkParts:
    """The parts of some links only, in this order."""
    at = np.searchsorted(parts.routed, rows)
    routed = np.flatnonzero(np.isin(rows, parts.routed))
    own = np.flatnonzero(np.isin(rows, parts.own.rows))
    said = np.searchsorted(parts.own.rows, rows[own])
    return LinkParts(
        parts.fibre_km[rows],
        parts.kind[rows],
        routed,
        parts.hops[at[routed]],
        Own(own, *(amount[said] for amount in parts.own[1:])),
    )


def _times(mine: LinkParts) -> dict[str, float]:
    """How often each device is passed on these links, by its name among the constants; those that are."""
    plain = np.delete(mine.kind, mine.routed)
    hops = np.bincount(plain, minlength=OWN_HOP + 1) + mine.hops.sum(axis=0)
    names = [*(f"{kind} hop" for kind in LINK_KINDS), OWN_HOPS]
    times = {name: float(number) for name, number in zip(names, hops, strict=True)}
    return {name: number for name, number in (times | {IP_HOP: float(len(mine.routed))}).items() if number}


def _ns(mine: LinkParts, times: Mapping[str, float], values: Mapping[str, float]) -> dict[str, int]:
    """The delay of fibre and of each device, in whole ns, by the name of the part; those that there are.

    A link is rounded as a whole, as the search has it, and the fibre is what its devices leave: the parts add up.
    """
    whole = int(np.rint(mine.oneway_us(values) * NS_PER_US).sum())
    by_library = {name: round(number * values[name] * NS_PER_US) for name, number in times.items() if name in values}
    said = {OWN_HOPS: round(float(mine.own.hop_us.sum()) * NS_PER_US)} if OWN_HOPS in times else {}
    fibre_ns = whole - sum((by_library | said).values())
    if not mine.own.fibre_km.any():
        return {FIBRE: fibre_ns, **by_library, **said}
    own_ns = round(float(mine.own.fibre_us.sum()) * NS_PER_US) if mine.fibre_km.any() else fibre_ns
    fibres = {FIBRE: fibre_ns - own_ns} if mine.fibre_km.any() else {}
    return {**fibres, OWN_FIBRE: own_ns, **by_library, **said}
