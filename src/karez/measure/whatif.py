"""What if a site were opened, shut or closed, or a link faster, slower or cut: exact, in microseconds, undone exactly.

A what-if stands on a prepared network, with some sites open and one budget. It holds the search and the table by metro,
and mends both after each change where the change reaches; nothing else is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from karez.measure import repair
from karez.measure.circles import fixed
from karez.measure.core import LONGEST_NS, Topology
from karez.measure.kernels import FAR
from karez.measure.reach import Reach
from karez.measure.repair import (
    BEGIN,
    END,
    FARTHEST,
    FIRST,
    LOGGED,
    METRO,
    NEAREST,
    NOWHERE,
    SECOND,
    TOUCHED,
    WHOLE,
    Net,
    State,
)
from karez.twin.table import Array

NONE = np.empty(0, np.int32)


class _Change(NamedTuple):
    """What a change did: links and their delays before, vertices opened and shut, and the log of the search."""

    links: Array
    before: Array
    opened: Array
    shut: Array
    log: Array


class WhatIf:
    """The coverage of `reach` with `targets` (rows of `sites`) open, under changes; one thread at a time."""

    def __init__(self, reach: Reach, targets: Sequence[int] | Array, limit_ns: int) -> None:
        """Start with what is so; the first use compiles, which takes some seconds."""
        self._number, self._original = reach.topology.number, reach.oneway_ns
        self._limit = min(int(limit_ns), LONGEST_NS)
        self._net = _net(reach)
        self._state = _state(self._net, reach.topology.vertices, len(reach.topology.chains.first))
        self._table = np.zeros(reach.metros, np.int64)
        self._links_of = _links_of_vertices(reach.topology)
        self._changes: list[_Change] = []
        self._start(self._number[np.asarray(targets, np.int64)])

    @property
    def covered(self) -> Array:
        """The weight of each metro (int64, in millionths) below the limit, as things are now."""
        return self._table.copy()

    def add(self, site: int) -> None:
        """Open a site (row of `sites`).

        Raises:
            ValueError: it is open already.
        """
        vertex = self._number[site : site + 1]
        if self._state.source[vertex[0]]:
            raise ValueError(f"site {site} is open already")
        self._change(NONE, NONE, vertex, NONE)

    def remove(self, site: int) -> None:
        """Shut a site (row of `sites`); traffic still passes through it.

        Raises:
            ValueError: it is not open.
        """
        vertex = self._number[site : site + 1]
        if not self._state.source[vertex[0]]:
            raise ValueError(f"site {site} is not open")
        self._change(NONE, NONE, NONE, vertex)

    def close(self, site: int) -> None:
        """Take a site (row of `sites`) away, with all links that end at it."""
        vertex = self._number[site : site + 1]
        links = np.unique(self.links_of_sites(np.array([site]))[1])
        self._change(links, np.full(len(links), LONGEST_NS), NONE, vertex[self._state.source[vertex]])

    def set_links(self, links: Sequence[int] | Array, ns: int | None) -> None:
        """Give links (rows of `links`) another delay, in the directions in which they are passed; None cuts them.

        A link that the network was prepared without (it is down, say, or joins nothing that reaches a site) stays out.

        Raises:
            ValueError: the delay is negative.
        """
        if ns is not None and ns < 0:
            raise ValueError("a delay cannot be negative")
        rows = np.unique(np.asarray(links, np.int32))
        self._change(rows, np.full(len(rows), LONGEST_NS if ns is None else min(ns, LONGEST_NS)), NONE, NONE)

    def restore(self, links: Sequence[int] | Array) -> None:
        """Give links (rows of `links`) the delays that they had at the start."""
        rows = np.unique(np.asarray(links, np.int32))
        self._change(rows, self._original[rows], NONE, NONE)

    def links_of_sites(self, sites: Array) -> tuple[Array, Array]:
        """The links that end at each of `sites` (rows): where each one's start in the second array, and their rows."""
        starts, links = self._links_of
        vertex = self._number[sites]
        at, bounds = _spans(starts[vertex], starts[vertex + 1])
        return bounds, links[at]

    def losses(self, bounds: Array, links: Array, sites: Array) -> Array:
        """The weight (int64, in millionths) that each of many failures alone would take out of reach.

        Failure i cuts `links[bounds[i] : bounds[i + 1]]` (rows) and shuts `sites[i]` (a row; -1 for none).
        """
        lost, links = np.full(len(sites), -1, np.int64), links.astype(np.int32)
        single = np.flatnonzero((np.diff(bounds) == 1) & (sites < 0))
        quick = lost[single]
        repair.losses_in_chains(self._net, self._state, self._limit, links[bounds[single]], quick)
        lost[single] = quick
        others = np.flatnonzero(lost < 0)
        lost[others] = self._losses(bounds, links, sites, others)
        return lost

    def _losses(self, bounds: Array, links: Array, sites: Array, some: Array) -> Array:
        """As `losses`, of some failures (positions), by doing each and taking it back."""
        at, own = _spans(bounds[some], bounds[some + 1])
        vertex = np.where(sites[some] >= 0, self._number[sites[some]], -1).astype(np.int32)
        lost = np.zeros(len(some), np.int64)
        repair.losses(self._net, self._state, self._limit, LONGEST_NS, own, links[at], vertex, lost)
        return lost

    def undo(self) -> None:
        """Take the last change back, exactly.

        Raises:
            IndexError: there is none.
        """
        change = self._changes.pop()
        repair.take_back(self._net, self._state, LONGEST_NS, *change)
        self._recount(change.log)

    def _start(self, vertices: Array) -> None:
        self._change(NONE, NONE, np.unique(vertices).astype(np.int32), NONE)
        self._changes.clear()
        everything = np.arange(len(self._state.found), dtype=np.int32)
        repair.recount(self._net, self._state, self._limit, everything, NONE, self._table)

    def _change(self, links: Array, ns: Array, opened: Array, shut: Array) -> None:
        before = self._net.link_ns[links]
        repair.change(self._net, self._state, self._limit, LONGEST_NS, links, ns.astype(np.int32), opened, shut)
        log = self._state.log[: self._state.size[LOGGED]].copy()
        self._changes.append(_Change(links, before, opened, shut, log))
        self._recount(log)

    def _recount(self, log: Array) -> None:
        chains = self._state.touched[: self._state.size[TOUCHED]]
        repair.recount(self._net, self._state, self._limit, log[:, 0], chains, self._table)


def _spans(starts: Array, stops: Array) -> tuple[Array, Array]:
    """All positions from each start to its stop, one span after the other, and where each span begins among them."""
    bounds = np.concatenate([[0], np.cumsum(stops - starts)]).astype(np.int64)
    return np.arange(bounds[-1]) + np.repeat(starts - bounds[:-1], stops - starts), bounds


def _net(reach: Reach) -> Net:
    made, delays = reach.topology, reach.timed
    chains, vertices = made.chains, made.vertices
    arc_tail = np.repeat(np.arange(vertices, dtype=np.int32), np.diff(made.starts))
    by_head = np.argsort(made.ends, kind="stable").astype(np.int32)
    weight, metro = _counted(reach)
    chain_way = np.full(len(chains.first), -1, np.int32)
    chain_way[made.joined] = len(made.links) + np.arange(len(made.joined))
    joined = made.joined
    hosts = np.concatenate([chains.first, chains.second[joined]])
    across = np.concatenate([chains.second, chains.first[joined]])
    hung = np.concatenate([np.arange(len(chains.first)), joined])
    by_host = np.argsort(hosts, kind="stable")
    return Net(
        starts=made.starts,
        arcs=delays.arcs.copy(),
        into=np.searchsorted(made.ends[by_head], np.arange(vertices + 1)),
        tails=np.stack([arc_tail[by_head], by_head], axis=1),
        bounds=made.bounds,
        ways=made.ways,
        way_ns=delays.way_ns.copy(),
        way_arcs=_arcs_of_ways(made),
        arc_tail=arc_tail,
        place=_places(made, len(reach.oneway_ns)),
        link_ns=reach.oneway_ns.copy(),
        chain_of=np.repeat(np.arange(len(chains.first), dtype=np.int32), np.diff(chains.bounds)),
        chain=_rows_of_chains(reach, metro[vertices:]),
        chain_way=chain_way,
        offsets=delays.offsets.copy(),
        upto=np.concatenate([[0], np.cumsum(weight[vertices:])]),
        weight=weight[:vertices].copy(),
        metro=metro,
        hosted_starts=np.searchsorted(hosts[by_host], np.arange(vertices + 1)),
        hosted=hung[by_host].astype(np.int32),
        across=across[by_host],
    )


def _rows_of_chains(reach: Reach, metro: Array) -> Array:
    """What is asked of chains most often, in the columns that `repair` names; `metro` is that of each member."""
    chains, delays = reach.topology.chains, reach.timed
    begin, end = chains.bounds[:-1], chains.bounds[1:]
    rows = np.zeros((len(begin), 8), np.int64)
    rows[:, FIRST], rows[:, SECOND], rows[:, WHOLE] = chains.first, chains.second, delays.whole
    rows[:, NEAREST], rows[:, FARTHEST] = delays.offsets[begin], delays.offsets[end - 1]
    rows[:, BEGIN], rows[:, END] = begin, end
    if len(begin):
        least, most = (choose.reduceat(metro, begin) for choose in (np.minimum, np.maximum))
        rows[:, METRO] = np.where(least == most, least, -1)
    return rows


def _counted(reach: Reach) -> tuple[Array, Array]:
    """Weight (int64, in millionths) and metro of each vertex of the core, then of each member of the chains."""
    made, points = reach.topology, reach.points
    index = np.full(len(made.number), -1, np.int64)
    index[made.chains.members] = made.vertices + np.arange(len(made.chains.members))
    index[made.number >= 0] = made.number[made.number >= 0]
    at = np.where(points.vertex >= 0, index[points.vertex], -1)
    there = at >= 0
    size = made.vertices + len(made.chains.members)
    weight, metro = np.zeros(size, np.int64), np.zeros(size, np.int32)
    np.add.at(weight, at[there], fixed(points.weight[there]))
    metro[at[there]] = points.metro[there]
    return weight, metro


def _arcs_of_ways(made: Topology) -> Array:
    """The arcs of each way, -1 where it has fewer than two."""
    arc = np.repeat(np.arange(len(made.ends), dtype=np.int32), np.diff(made.bounds))
    order = np.argsort(made.ways, kind="stable")
    ways, arc = made.ways[order], arc[order]
    found = np.full((len(made.tails), 2), -1, np.int32)
    again = np.zeros(len(ways), np.int64)
    again[1:] = ways[1:] == ways[:-1]
    found[ways, again] = arc
    return found


def _places(made: Topology, links: int) -> Array:
    """Where each link is, as `repair.Net` has it."""
    chains = made.chains
    place = np.full(links, NOWHERE, np.int32)
    place[made.links] = np.arange(len(made.links))
    # The link by which the last member of a dead end was reached is its last link, too.
    ended = np.flatnonzero(chains.second >= 0)
    place[chains.last[ended]] = -2 - (len(chains.members) + ended)
    place[chains.via] = -2 - np.arange(len(chains.via))
    return place


def _links_of_vertices(made: Topology) -> tuple[Array, Array]:
    """Where the links of each vertex of the core start in the second array, which has them (rows)."""
    chains, inner = made.chains, len(made.links)
    ended = np.flatnonzero(chains.second >= 0)
    vertices = np.concatenate([made.tails[:inner], made.heads[:inner], chains.first, chains.second[ended]])
    links = np.concatenate([made.links, made.links, chains.via[chains.bounds[:-1]], chains.last[ended]])
    order = np.argsort(vertices, kind="stable")
    return np.searchsorted(vertices[order], np.arange(made.vertices + 1)), links[order]


def _state(net: Net, vertices: int, chains: int) -> State:
    # Forgotten once, bettered by a changed arc once, and by every arc once.
    room = 2 * len(net.arcs) + 2 * vertices + 1
    ways, links = len(net.way_ns), len(net.place)
    return State(
        found=np.full(vertices, FAR, np.int32),
        parent=np.full(vertices, -1, np.int32),
        source=np.zeros(vertices, np.bool_),
        held=np.zeros(vertices, np.bool_),
        gap=net.chain[:, BEGIN : END + 1].astype(np.int32),
        heap=np.empty(room, np.int64),
        log=np.empty((room, 3), np.int32),
        arc_log=np.empty((2 * (ways + links) + 2, 2), np.int32),
        touched=np.empty(links + 1, np.int32),
        stamp=np.zeros(vertices + chains, np.int64),
        size=np.zeros(4, np.int64),
    )
