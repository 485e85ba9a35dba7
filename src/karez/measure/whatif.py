"""What if there were a site more or less, or a link faster, slower or cut: exact, in microseconds, and undone exactly.

A what-if stands on a prepared network, with some sites open and one budget. It holds the search and the table by metro,
and mends both after each change where the change reaches; nothing else is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from karez.measure import repair
from karez.measure.core import LONGEST_NS
from karez.measure.kernels import FAR
from karez.measure.reach import Reach
from karez.twin.table import Array

ROOM = 1 << 16


class _Change(NamedTuple):
    """What a change wrote: the log of the search, arcs with their delays before, the site that it opened or shut."""

    log: Array
    arcs: tuple[tuple[int, int], ...]
    site: int


class WhatIf:
    """The coverage of `reach` with `targets` (rows of `sites`) open, under changes; one thread at a time."""

    def __init__(self, reach: Reach, targets: Sequence[int] | Array, limit_ns: int) -> None:
        """Start with what is so; the first use compiles, which takes some seconds."""
        self._reach, self._limit = reach, int(limit_ns)
        self._arcs = reach.arcs.copy()
        size = len(reach.starts) - 1
        self._found = np.full(size, FAR, np.int32)
        self._parent = np.full(size, -1, np.int32)
        self._source = np.zeros(size, np.bool_)
        self._heap, self._log = np.empty(ROOM, np.int64), np.empty((ROOM, 3), np.int32)
        self._changes: list[_Change] = []
        self._index()
        self._open([int(reach.vertex[target]) for target in targets])

    @property
    def covered(self) -> Array:
        """The weight of each metro (int64, in millionths) below the limit, as things are now."""
        return self._table.copy()

    def add(self, site: int) -> None:
        """Open a site (row of `sites`).

        Raises:
            ValueError: it is open already.
        """
        vertex = int(self._reach.vertex[site])
        if self._source[vertex]:
            raise ValueError(f"site {site} is open already")
        self._source[vertex] = True
        self._changed(self._nearer(vertex, 0, vertex), (), vertex)

    def remove(self, site: int) -> None:
        """Shut a site (row of `sites`).

        Raises:
            ValueError: it is not open.
        """
        vertex = int(self._reach.vertex[site])
        if not self._source[vertex]:
            raise ValueError(f"site {site} is not open")
        self._source[vertex] = False
        self._changed(self._farther(vertex), (), vertex)

    def set_delay(self, one: int, other: int, ns: int | None) -> None:
        """Give the way between two neighbouring sites (rows of `sites`) another delay, both ways; None cuts it.

        Where several links or chains join the two, the way is the fastest of them, and this stands for all.

        Raises:
            ValueError: the two are not joined, or the delay is negative.
        """
        if ns is not None and ns < 0:
            raise ValueError("a delay cannot be negative")
        pair = [int(self._reach.vertex[site]) for site in (one, other)]
        ways = [(pair[0], pair[1]), (pair[1], pair[0])]
        arcs = [(tail, arc) for tail, head in ways for arc in self._between(tail, head)]
        if not arcs:
            raise ValueError(f"sites {one} and {other} are not joined")
        before = tuple((arc, int(self._arcs[arc, 1])) for _, arc in arcs)
        delay = LONGEST_NS if ns is None else min(ns, LONGEST_NS)
        logs = []
        for tail, arc in arcs:
            head, was = int(self._arcs[arc, 0]), int(self._arcs[arc, 1])
            self._arcs[arc, 1] = delay
            if delay > was and self._parent[head] == tail and not self._source[head]:
                logs.append(self._farther(head))
            elif delay < was and self._found[tail] < FAR:
                logs.append(self._nearer(head, int(self._found[tail]) + delay, tail))
        self._changed(np.concatenate([np.empty((0, 3), np.int32), *logs]), before, -1)

    def undo(self) -> None:
        """Take the last change back, exactly.

        Raises:
            IndexError: there is none.
        """
        change = self._changes.pop()
        repair.taken_back(self._found, self._parent, change.log, len(change.log))
        for arc, delay in change.arcs:
            self._arcs[arc, 1] = delay
        if change.site >= 0:
            self._source[change.site] = not self._source[change.site]
        self._recount(change.log)

    def _index(self) -> None:
        """Where the arcs that end at each vertex are, and what hangs on each host."""
        reach, size = self._reach, len(self._reach.starts) - 1
        tails = np.repeat(np.arange(size, dtype=np.int32), np.diff(reach.starts))
        order = np.argsort(reach.arcs[:, 0], kind="stable")
        self._into = np.searchsorted(reach.arcs[order, 0], np.arange(size + 1))
        self._tails = np.stack([tails[order], order.astype(np.int32)], axis=1)
        hosts, two = np.arange(size + 1), reach.double
        self._groups = np.searchsorted(reach.single.host, hosts)
        self._firsts = np.searchsorted(two.ends[:, 0], hosts)
        self._by_second = np.argsort(two.ends[:, 1], kind="stable")
        self._seconds = np.searchsorted(two.ends[self._by_second, 1], hosts)
        self._single_covered = np.zeros(len(reach.single.host), np.int64)
        self._double_covered = np.zeros(len(two.metro), np.int64)
        self._table = np.zeros(reach.metros, np.int64)

    def _open(self, sources: list[int]) -> None:
        for vertex in sources:
            self._source[vertex] = True
            self._nearer(vertex, 0, vertex)
        everything = np.arange(len(self._found), dtype=np.int32)
        self._recount(np.stack([everything] * 3, axis=1))

    def _between(self, tail: int, head: int) -> list[int]:
        start, stop = int(self._reach.starts[tail]), int(self._reach.starts[tail + 1])
        return [arc for arc in range(start, stop) if self._arcs[arc, 0] == head]

    def _nearer(self, vertex: int, delay: int, origin: int) -> Array:
        reach = self._reach
        self._heap, self._log, logged = repair.nearer(
            reach.starts,
            self._arcs,
            self._limit,
            vertex,
            delay,
            origin,
            self._found,
            self._parent,
            self._heap,
            self._log,
            0,
        )
        return self._log[:logged].copy()

    def _farther(self, root: int) -> Array:
        reach = self._reach
        self._heap, self._log, logged = repair.farther(
            reach.starts,
            self._arcs,
            self._into,
            self._tails,
            self._limit,
            root,
            self._found,
            self._parent,
            self._source,
            self._heap,
            self._log,
            0,
        )
        return self._log[:logged].copy()

    def _changed(self, log: Array, arcs: tuple[tuple[int, int], ...], site: int) -> None:
        self._changes.append(_Change(log, arcs, site))
        self._recount(log)

    def _recount(self, log: Array) -> None:
        one, two = self._reach.single, self._reach.double
        repair.recounted(
            log[:, 0],
            self._found,
            self._limit,
            self._groups,
            one.metro,
            one.bounds,
            one.offset,
            one.upto,
            self._single_covered,
            self._firsts,
            self._seconds,
            self._by_second,
            two.ends,
            two.spans,
            two.metro,
            two.total,
            two.bounds,
            two.offset,
            two.weight,
            self._double_covered,
            self._table,
        )
