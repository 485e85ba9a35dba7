"""Ways to the sites that have chips: how long they take, and over which links they lead."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from karez.measure.delay import Figures
from karez.plan.place import usable_links
from karez.twin import World
from karez.twin.graph import bystanders
from karez.twin.table import Array
from karez.units import NS_PER_US

# A sparse matrix drops zeros: a way of no length is as long as this.
LEAST_NS = 1e-3


class Ways(NamedTuple):
    """The fastest ways to the sites `to` (rows of sites) from the sites `known` (rows, ascending).

    `oneway_us` and `ahead` have a row for each of `to` and a column for each of `known`: the delay from there (inf: no
    way), and the position in `known` of the next site on the way. `arcs` are sorted pairs of such positions
    (`tail * len(known) + head`), `links` the fastest link of each: twice its row, and one more from its end b to a.
    """

    to: Array
    known: Array
    oneway_us: Array
    ahead: Array
    arcs: Array
    links: Array

    def us(self, starts: Array) -> Array:
        """The delay from each of these sites (rows; negative: none) to each of `to`, shape (starts, to)."""
        if not len(self.known):
            return np.full((len(starts), len(self.to)), np.inf)
        at = np.minimum(np.searchsorted(self.known, starts), len(self.known) - 1)
        there = (starts >= 0) & (self.known[at] == starts)
        return np.where(there[:, None], self.oneway_us.T[at], np.inf)

    def path(self, start: int, goal: int) -> list[int]:
        """The links (as `links`) from a site to that of `to` at the position `goal`; nothing where there is no way."""
        here, rows = int(np.searchsorted(self.known, start)), list[int]()
        if not np.isfinite(self.us(np.array([start]))[0, goal]):
            return rows
        while self.known[here] != self.to[goal]:
            ahead = int(self.ahead[goal, here])
            rows.append(int(self.links[np.searchsorted(self.arcs, here * len(self.known) + ahead)]))
            here = ahead
        return rows


def ways(world: World, starts: Array, to: Array, *, figures: Figures = "typical") -> Ways:
    """The ways between sites (rows) over links that are up and not drained."""
    twin, sites = world.intended, len(world["sites"])
    ends = np.unique(np.concatenate([starts[starts >= 0], to]))
    rows, us = usable_links(world, figures=figures)
    a, b = (twin.resolve("links", end)[rows] for end in "ab")
    idle = bystanders(a, b, ends, sites)
    kept = ~(idle[a] | idle[b])
    a, b, rows, ns = a[kept], b[kept], rows[kept], np.rint(us[kept] * NS_PER_US)
    known = np.unique(np.concatenate([a, b, ends]))
    back, count = world["links"]["direction"][rows] == b"both", len(known)
    tail, head = (np.searchsorted(known, end) for end in (np.concatenate([a, b[back]]), np.concatenate([b, a[back]])))
    link, ns = np.concatenate([2 * rows, 2 * rows[back] + 1]), np.concatenate([ns, ns[back]])
    arc = tail * count + head
    order = np.lexsort((link, ns, arc))
    first = order[np.unique(arc[order], return_index=True)[1]]
    # From goals backwards: whoever precedes a site on that way is ahead of it on the way to the goal.
    turned = csr_array((np.maximum(ns[first], LEAST_NS), (head[first], tail[first])), shape=(count, count))
    if not len(to):
        return Ways(to, known, np.zeros((0, count)), np.zeros((0, count), int), arc[first], link[first])
    found, ahead = dijkstra(turned, indices=np.searchsorted(known, to), return_predecessors=True)
    return Ways(to, known, found / NS_PER_US, ahead, arc[first], link[first])
