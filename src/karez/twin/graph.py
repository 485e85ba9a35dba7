"""Delays between the vertices of a twin: links as a sparse matrix, and shortest paths over it.

Vertices are the sites and then the stations, each in the order of its table. Delays are whole nanoseconds, so that
sums are exact and do not depend on their order; answers are float64 that hold whole numbers, `inf` for unreachable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from karez.twin.table import Array
from karez.twin.twin import Twin
from karez.units import NS_PER_US

# Vertices times sources that one step of `each_delay_ns` may hold: 32 MB.
BLOCK_CELLS = 1 << 22
# A vertex with more neighbours is no part of a chain.
THIN = 2


@dataclass(frozen=True)
class Graph:
    """Links by tail (`forward`) and by head (`backward`), int64 nanoseconds; the first `sites` vertices are sites."""

    forward: csr_array
    backward: csr_array
    sites: int

    @property
    def vertices(self) -> int:
        """Number of vertices: sites and stations."""
        return int(self.forward.shape[0])

    @property
    def symmetric(self) -> bool:
        """Whether every delay is the same in both directions."""
        return all(
            np.array_equal(getattr(self.forward, part), getattr(self.backward, part))
            for part in ("indptr", "indices", "data")
        )


@dataclass(frozen=True)
class Layout:
    """Where each directed link of a twin goes in the matrices of its graph, whatever the delays are."""

    link: Array
    order: Array
    starts: Array
    forward: tuple[Array, Array]
    backward: tuple[Array, Array]
    turned: Array
    vertices: int
    sites: int

    def graph(self, oneway_us: Array) -> Graph:
        """The graph with these delays (one a link of the twin, in microseconds, all finite where used)."""
        return self.graph_ns(np.rint(oneway_us[self.link] * NS_PER_US).astype(np.int64))

    def graph_ns(self, arc_ns: Array) -> Graph:
        """The graph with these delays (one a directed link, in ns); of parallel ones the least."""
        # Built by hand: scipy adds parallel entries up, and some of its routines drop explicit zeros.
        ns = np.minimum.reduceat(arc_ns[self.order], self.starts) if len(self.starts) else arc_ns
        shape = (self.vertices, self.vertices)
        return Graph(
            csr_array((ns, *self.forward), shape=shape),
            csr_array((ns[self.turned], *self.backward), shape=shape),
            self.sites,
        )


def layout(twin: Twin, used: Array) -> Layout:
    """The layout of a twin's links where `used` (one bool a link); links that are down or lead nowhere are left out."""
    links = twin["links"]
    a, b = twin.resolve("links", "a"), twin.resolve("links", "b")
    rows = np.flatnonzero(used & links["up"] & (a >= 0) & (b >= 0))
    back = rows[links["direction"][rows] == b"both"]
    sites = len(twin["sites"])
    return laid_out(
        np.concatenate([a[rows], b[back]]),
        np.concatenate([b[rows], a[back]]),
        np.concatenate([rows, back]),
        vertices=sites + len(twin["stations"]),
        sites=sites,
    )


def graph(twin: Twin, oneway_us: Array) -> Graph:
    """The graph of a twin whose links have the delays `oneway_us` (one a link, in microseconds).

    Links that are down, have an infinite delay or lead nowhere are left out. Of parallel links the fastest counts.
    """
    return layout(twin, np.isfinite(oneway_us)).graph(oneway_us)


def delay_towards_ns(graph: Graph, targets: Array, *, limit_ns: float = np.inf) -> Array:
    """The shortest delay from every vertex to the best of `targets` (vertices), in ns; `inf` above the limit."""
    return _nearest(graph.backward, targets, limit_ns)


def delay_from_ns(graph: Graph, sources: Array, *, limit_ns: float = np.inf) -> Array:
    """The shortest delay to every vertex from the best of `sources` (vertices), in ns; `inf` above the limit."""
    return _nearest(graph.forward, sources, limit_ns)


def each_delay_ns(links: csr_array, sources: Array, *, limit_ns: float = np.inf) -> Iterator[tuple[slice, Array]]:
    """For some of `sources` after others: which ones, and their delays over `links` to every vertex, in ns.

    With `graph.forward` these are delays from the sources, with `graph.backward` delays towards them. A step holds
    few enough sources to need little memory.
    """
    step = max(1, BLOCK_CELLS // max(links.shape[0], 1))
    for start in range(0, len(sources), step):
        some = slice(start, min(start + step, len(sources)))
        yield some, dijkstra(links, indices=sources[some], limit=limit_ns)


def laid_out(tail: Array, head: Array, link: Array, *, vertices: int, sites: int) -> Layout:
    """The layout of directed links from `tail` to `head` (vertices), each with the delay of the twin's `link`."""
    order = np.lexsort((head, tail))
    tail, head = tail[order], head[order]
    first = np.ones(len(tail), bool)
    first[1:] = (tail[1:] != tail[:-1]) | (head[1:] != head[:-1])
    tail, head = tail[first], head[first]
    turned = np.argsort(head, kind="stable")
    return Layout(
        link=link,
        order=order,
        starts=np.flatnonzero(first),
        forward=_compressed(tail, head, vertices),
        backward=_compressed(head[turned], tail[turned], vertices),
        turned=turned,
        vertices=vertices,
        sites=sites,
    )


def bystanders(tail: Array, head: Array, ends: Array, vertices: int) -> Array:
    """Which vertices (a bool each) no way between two of `ends` needs: chains that hang on one vertex only.

    Links lead from `tail` to `head`. Others may be of no need, too: this is a quick look, and it errs on the safe side.
    """
    shape = (vertices, vertices)
    ones = np.ones(2 * len(tail), np.int8)
    joined = csr_array((ones, (np.concatenate([tail, head]), np.concatenate([head, tail]))), shape=shape)
    joined.sum_duplicates()
    thin = np.diff(joined.indptr) <= THIN
    thin[ends] = False
    inner = thin[tail] & thin[head]
    among = csr_array((np.ones(int(inner.sum()), np.int8), (tail[inner], head[inner])), shape=shape)
    count, chain = connected_components(among, directed=False)
    # Each chain with each vertex that it hangs on, once.
    inside, outside = np.concatenate([tail, head]), np.concatenate([head, tail])
    leaves = thin[inside] & ~thin[outside]
    hangs = np.unique(chain[inside[leaves]].astype(np.int64) * vertices + outside[leaves])
    hosts = np.bincount(hangs // max(vertices, 1), minlength=count)
    found: Array = thin & (hosts[chain] <= 1)
    return found


def _compressed(row: Array, column: Array, size: int) -> tuple[Array, Array]:
    """Column of each entry and where each row starts, for entries sorted by row."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=size))])
    return column.astype(np.int32), starts.astype(np.int32)


def _nearest(links: csr_array, sources: Array, limit_ns: float) -> Array:
    if not len(sources):
        return np.full(links.shape[0], np.inf)
    nearest: Array = dijkstra(links, indices=np.unique(sources), min_only=True, limit=limit_ns)
    return nearest
