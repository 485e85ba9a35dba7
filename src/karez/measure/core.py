"""The core of a network: its sites and what joins them, with chains and rings of stations known only by their ends.

A station where no more than two links meet, both of them both ways, is no vertex that a way between sites could turn
at. So chains of such stations are walked once, and become links between their ends. This is exact.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from karez.measure import kernels
from karez.measure.kernels import FAR
from karez.twin import Twin
from karez.twin.graph import Graph, Layout, laid_out
from karez.twin.table import Array
from karez.units import NS_PER_US

LOG = logging.getLogger(__name__)
LONGEST_NS = int(FAR) // 2


@dataclass(frozen=True)
class Chains:
    """Chains of stations as `kernels.walk_chains` finds them; links are rows of `links`."""

    bounds: Array
    members: Array
    offsets: Array
    via: Array
    first: Array
    second: Array
    whole: Array
    last: Array


class Walked(NamedTuple):
    """A network after the walk: arcs by the end that they lead to, which vertices are in the core, and the chains."""

    starts: Array
    heads: Array
    delays: Array
    links: Array
    core: Array
    chains: Chains


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
        ns = np.rint(oneway_us * NS_PER_US).astype(np.int64)
        # A chain's delay is that of all links by which its members were reached, and of its last.
        upto = np.concatenate([[0], np.cumsum(ns[self.via])])
        chains = upto[self.bounds[:, 1]] - upto[self.bounds[:, 0]] + ns[self.last]
        return self.layout.graph_ns(np.concatenate([ns[self.links], chains, chains]))


def core_layout(twin: Twin, used: Array) -> CoreLayout:
    """The core of the twin's links where `used` (one bool a link); links that are down or lead nowhere are left out."""
    walked = walk(twin, np.zeros(len(used), np.int64), used)
    core, chains = walked.core, walked.chains
    number = np.cumsum(core) - 1
    tail = np.repeat(np.arange(len(core)), np.diff(walked.starts))
    inner = core[tail] & core[walked.heads]
    joined = np.flatnonzero((chains.second >= 0) & (chains.first != chains.second))
    one, other = number[chains.first[joined]], number[chains.second[joined]]
    # The arcs of the walk lead from a target to where one comes from; the graph's lead the way of the traffic.
    tails = np.concatenate([number[walked.heads[inner]], one, other])
    heads = np.concatenate([number[tail[inner]], other, one])
    return CoreLayout(
        links=walked.links[inner],
        via=chains.via,
        bounds=np.stack([chains.bounds[joined], chains.bounds[joined + 1]], axis=1),
        last=chains.last[joined],
        layout=laid_out(tails, heads, np.arange(len(tails)), vertices=int(core.sum()), sites=len(twin["sites"])),
    )


def walk(twin: Twin, oneway_ns: Array, used: Array) -> Walked:
    """The network of the links that are `used`, with their delays (int64 ns), after its chains were walked."""
    if not kernels.compiled():
        LOG.info("compiling the search: this takes some seconds, once")
    links = twin["links"]
    a, b = twin.resolve("links", "a"), twin.resolve("links", "b")
    rows = np.flatnonzero(used & links["up"] & (a >= 0) & (b >= 0) & (oneway_ns <= LONGEST_NS))
    both = links["direction"][rows] == b"both"
    tail, head, ns = (values[rows].astype(np.int32) for values in (a, b, oneway_ns))
    sites, vertices = len(twin["sites"]), len(twin["sites"]) + len(twin["stations"])
    # Towards a target means along the links backwards, starting from it.
    starts, heads, delays, link = kernels.arcs_by_tail(head, tail, ns, both, vertices)
    core = np.diff(starts) > 2
    core[:sites] = True
    core[tail[~both]] = True
    core[head[~both]] = True
    bounds, members, offsets, via, first, second, whole, last = kernels.walk_chains(starts, heads, delays, link, core)
    chains = Chains(bounds, members, offsets, rows[via], first, second, whole, rows[last])
    return Walked(starts, heads, delays, rows[link], core, chains)
