"""The core of a network: its sites and what joins them, with chains and rings of stations known only by their ends.

A station where no more than two links meet, both of them both ways, is no vertex that a way between sites could turn
at. So chains of such stations are walked once, and become ways between their ends. This is exact. What is joined with
what does not depend on delays, so a network is walked once however many delays it is then given.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from karez.measure import kernels
from karez.measure.delay import Layer, used_links
from karez.measure.kernels import FAR
from karez.twin import Twin
from karez.twin.graph import Graph, Layout, laid_out
from karez.twin.memo import made_of
from karez.twin.table import Array
from karez.units import NS_PER_US

LOG = logging.getLogger(__name__)
# No way that takes longer counts.
LONGEST_NS = int(FAR) // 2
# Narrower buckets than this do not pay; where a delay is below, a bucket is scanned again until it is empty.
NARROWEST_NS = 32_000


class Chains(NamedTuple):
    """Chains of stations, each in the order in which it was walked from its first end.

    `bounds` says where each chain starts in `members` (vertices) and in `via` (the link by which each was reached);
    `first` and `second` are the ends in the core (-1 for a dead end), `last` the link that leads to the second.
    """

    bounds: Array
    members: Array
    via: Array
    first: Array
    second: Array
    last: Array


class Timed(NamedTuple):
    """Delays on a topology, in ns: of each chain's members from its first end, whole chains, ways, and arcs.

    `arcs` has head and delay of each arc of the search, `width` is that of its buckets.
    """

    offsets: Array
    whole: Array
    way_ns: Array
    arcs: Array
    width: int


@dataclass(frozen=True)
class Topology:
    """What joins the core of a network, whatever the delays.

    `number` has the core's number of each vertex (sites, then stations), -1 outside. A way is one of `links` (rows)
    or, after them, one of the chains `joined` (rows of `chains`); `tails`, `heads` and `both` are its ends and whether
    traffic may pass it both ways. Arcs of the search lead towards where traffic comes from: those of vertex v are
    `starts[v]` to `starts[v + 1]`, and arc i is the fastest of the ways `ways[bounds[i] : bounds[i + 1]]`.
    """

    number: Array
    vertices: int
    links: Array
    chains: Chains
    joined: Array
    tails: Array
    heads: Array
    both: Array
    starts: Array
    ends: Array
    bounds: Array
    ways: Array

    def timed(self, oneway_ns: Array) -> Timed:
        """The delays of chains, ways and arcs, where the links have these (int32 ns, one a link of the twin)."""
        chains = self.chains
        offsets, whole = np.empty(len(chains.members), np.int64), np.empty(len(chains.first), np.int64)
        kernels.offsets_of(chains.bounds, chains.via, chains.second, chains.last, oneway_ns, offsets, whole)
        through = np.minimum(whole[self.joined], LONGEST_NS).astype(np.int32)
        way_ns = np.concatenate([oneway_ns[self.links], through])
        arcs = np.stack([self.ends, np.empty_like(self.ends)], axis=1)
        kernels.fastest(self.bounds, self.ways, way_ns, arcs)
        # As wide as the shortest delay, where that is not too short to pay.
        width = max(int(arcs[:, 1].min()) if len(arcs) else 0, NARROWEST_NS)
        return Timed(offsets, whole, way_ns, arcs, width)

    @property
    def is_symmetric(self) -> bool:
        """Whether all of it may be passed both ways."""
        return bool(self.both.all())

    def turned(self) -> Topology:
        """The same, with arcs that lead where traffic goes: for delays *from* a site."""
        if self.is_symmetric:
            return self
        starts, ends, bounds, ways = _arcs(self.tails, self.heads, self.both, self.vertices)
        return replace(self, starts=starts, ends=ends, bounds=bounds, ways=ways)


@dataclass(frozen=True)
class CoreLayout:
    """Where each arc of the core goes in the matrices of its graph, whatever the delays of the links are.

    The first arcs are `links` themselves, each in the direction in which it is passed; then come chains, both ways.
    The core's vertices are the sites in their order, then stations that it cannot do without.
    """

    links: Array
    via: Array
    bounds: Array
    last: Array
    layout: Layout

    def graph(self, oneway_us: Array) -> Graph:
        """The core's graph with these delays (one a link of the twin, in microseconds, all finite where used)."""
        return self.layout.graph_ns(self.along(np.rint(oneway_us * NS_PER_US).astype(np.int64)))

    def along(self, values: Array) -> Array:
        """The sum of `values` (one a link of the twin) over the links of each arc, in the order of the layout."""
        # A chain has all links by which its members were reached, and its last.
        upto = np.concatenate([[0], np.cumsum(values[self.via])])
        chains = upto[self.bounds[:, 1]] - upto[self.bounds[:, 0]] + values[self.last]
        return np.concatenate([values[self.links], chains, chains])


def core_layout(made: Topology, sites: int) -> CoreLayout:
    """The matrices of a topology whose first `sites` vertices are sites."""
    inner, chains, joined = len(made.links), made.chains, made.joined
    back = np.flatnonzero(made.both[:inner])
    tails = np.concatenate([made.tails[:inner], made.heads[back], made.tails[inner:], made.heads[inner:]])
    heads = np.concatenate([made.heads[:inner], made.tails[back], made.heads[inner:], made.tails[inner:]])
    return CoreLayout(
        links=np.concatenate([made.links, made.links[back]]),
        via=chains.via,
        bounds=np.stack([chains.bounds[joined], chains.bounds[joined + 1]], axis=1),
        last=chains.last[joined],
        layout=laid_out(tails, heads, np.arange(len(tails)), vertices=made.vertices, sites=sites),
    )


def topology(twin: Twin, used: Array) -> Topology:
    """What joins the core by the links that are `used` (one bool a link); what is down or leads nowhere is left out."""
    if not kernels.compiled():
        LOG.info("compiling the search: this takes some seconds, once")
    links = twin["links"]
    a, b = twin.resolve("links", "a"), twin.resolve("links", "b")
    rows, tail, head = (np.empty(len(links), np.int32) for _ in range(3))
    count = kernels.leading_somewhere(np.logical_and(used, links["up"]), a, b, rows, tail, head)
    rows, tail, head = rows[:count], tail[:count], head[:count]
    both = np.ascontiguousarray(links.columns["direction"].tested(lambda directions: directions == b"both"))
    if len(rows) < len(links):
        both = both[rows]
    sites, vertices = len(twin["sites"]), len(twin["sites"]) + len(twin["stations"])
    core = np.zeros(vertices, np.bool_)
    core[:sites] = True
    kernels.mark_core(tail, head, both, core, np.zeros(vertices, np.uint8))
    number = np.empty(vertices, np.int32)
    size = kernels.numbered(core, number)
    joins = np.empty((vertices, 2), np.int32)
    inner, entries = kernels.parted(tail, head, core, joins)
    bounds, members, via, first, second, last = kernels.walk_chains(
        tail, head, core, joins, entries, np.empty(vertices, np.int32), np.empty(vertices, np.int32)
    )
    chains = Chains(bounds, members, rows[via], number[first], np.where(second < 0, -1, number[second]), rows[last])
    joined = np.flatnonzero((second >= 0) & (first != second)).astype(np.int32)
    tails = np.concatenate([number[tail[inner]], chains.first[joined]])
    heads = np.concatenate([number[head[inner]], chains.second[joined]])
    ways_both = np.concatenate([both[inner], np.ones(len(joined), bool)])
    starts, ends, arc_bounds, ways = _arcs(heads, tails, ways_both, size)
    return Topology(
        number=number,
        vertices=size,
        links=rows[inner],
        chains=chains,
        joined=joined,
        tails=tails,
        heads=heads,
        both=ways_both,
        starts=starts,
        ends=ends,
        bounds=arc_bounds,
        ways=ways,
    )


@made_of("links", "sites", "stations")
def topology_of(twin: Twin, layer: Layer) -> Topology:
    """What joins the core by the links of a layer; made once for the same tables, however often it is asked for."""
    return topology(twin, used_links(twin, layer))


def searched(made: Topology, delays: Timed, sources: Array, limit_ns: float) -> Array:
    """The delay of each core vertex to the best of `sources` (core vertices), int32 ns; `FAR` from the limit on."""
    found = np.empty(made.vertices, np.int32)
    scratch = np.empty((len(delays.arcs) + made.vertices, 2), np.int32)
    limit = min(max(math.ceil(limit_ns), 0), LONGEST_NS)
    kernels.search(made.starts, delays.arcs, sources, limit, delays.width, scratch, found)
    return found


def _arcs(tails: Array, heads: Array, both: Array, vertices: int) -> tuple[Array, Array, Array, Array]:
    """Arcs by their tail, one for all ways that join the same two vertices in the same direction."""
    return kernels.united(*kernels.arcs_by_tail(tails, heads, both, vertices))
