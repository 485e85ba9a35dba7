"""Compiled loops that mend a search and its sums after a change: only what the change reaches is looked at again.

`found` has the least delay of each vertex and `parent` the vertex it comes from (itself for a source, -1 where nothing
is within the limit). Every write is logged as (vertex, delay before, parent before), so that it can be taken back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from karez.measure.kernels import FAR
from karez.twin.table import Array

Whole = int | np.integer[Any]


@njit(cache=True)
def _push(heap: Array, size: int, key: Whole) -> int:
    at = size
    while at > 0:
        above = (at - 1) >> 1
        if heap[above] <= key:
            break
        heap[at] = heap[above]
        at = above
    heap[at] = key
    return size + 1


@njit(cache=True)
def _pop(heap: Array, size: int) -> int:
    """Take the first off the heap; what is left has `size - 1` entries."""
    size -= 1
    key = heap[size]
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= key:
            break
        heap[at] = heap[below]
        at = below
    heap[at] = key
    return size


@njit(cache=True)
def _set(vertex: Whole, delay: Whole, origin: Whole, found: Array, parent: Array, log: Array, logged: int) -> int:
    log[logged, 0], log[logged, 1], log[logged, 2] = vertex, found[vertex], parent[vertex]
    found[vertex], parent[vertex] = delay, origin
    return logged + 1


@njit(cache=True)
def _grown(array: Array, size: int) -> Array:
    """The array, with room for more where it is full."""
    if size + 1 < array.shape[0]:
        return array
    return np.concatenate((array, np.empty_like(array)))


@njit(cache=True)
def spread(
    starts: Array, arcs: Array, limit: int, found: Array, parent: Array, heap: Array, size: int, log: Array, logged: int
) -> tuple[Array, Array, int]:
    """Carry on from the vertices in `heap` (delay and vertex in one key) until nothing gets nearer."""
    while size > 0:
        key = heap[0]
        size = _pop(heap, size)
        delay, vertex = key >> 32, key & 0xFFFFFFFF
        if delay > found[vertex]:
            continue
        for arc in range(starts[vertex], starts[vertex + 1]):
            head, there = arcs[arc, 0], delay + arcs[arc, 1]
            if there < limit and there < found[head]:
                log = _grown(log, logged)
                logged = _set(head, there, vertex, found, parent, log, logged)
                heap = _grown(heap, size)
                size = _push(heap, size, (there << 32) | np.int64(head))
    return heap, log, logged


@njit(cache=True)
def nearer(
    starts: Array,
    arcs: Array,
    limit: int,
    vertex: int,
    delay: int,
    origin: int,
    found: Array,
    parent: Array,
    heap: Array,
    log: Array,
    logged: int,
) -> tuple[Array, Array, int]:
    """A vertex has become reachable within `delay` from `origin`: a new source, or a faster link."""
    if delay >= limit or delay >= found[vertex]:
        return heap, log, logged
    log = _grown(log, logged)
    logged = _set(vertex, delay, origin, found, parent, log, logged)
    size = _push(heap, 0, (np.int64(delay) << 32) | np.int64(vertex))
    return spread(starts, arcs, limit, found, parent, heap, size, log, logged)


@njit(cache=True)
def farther(
    starts: Array,
    arcs: Array,
    into: Array,
    tails: Array,
    limit: int,
    root: int,
    found: Array,
    parent: Array,
    source: Array,
    heap: Array,
    log: Array,
    logged: int,
) -> tuple[Array, Array, int]:
    """What hung on `root` must be reached otherwise: forget it, then come in from around it.

    `into` and `tails` have the arcs that end at each vertex, as positions in `arcs` and the vertices they start at.
    """
    begun = logged
    log = _grown(log, logged)
    logged = _set(root, FAR, -1, found, parent, log, logged)
    at = begun
    while at < logged:
        vertex = log[at, 0]
        for arc in range(starts[vertex], starts[vertex + 1]):
            head = arcs[arc, 0]
            if parent[head] == vertex and head != vertex and not source[head]:
                log = _grown(log, logged)
                logged = _set(head, FAR, -1, found, parent, log, logged)
        at += 1
    size = 0
    for entry in range(begun, logged):
        vertex = log[entry, 0]
        best, origin = np.int64(limit), -1
        if source[vertex]:
            best, origin = np.int64(0), vertex
        for position in range(into[vertex], into[vertex + 1]):
            tail = tails[position, 0]
            if found[tail] == FAR:
                continue
            there = np.int64(found[tail]) + arcs[tails[position, 1], 1]
            if there < best:
                best, origin = there, tail
        if best < limit:
            heap = _grown(heap, size)
            size = _push(heap, size, (best << 32) | vertex)
            parent[vertex] = origin
    # Only now may what was forgotten be seen again: above, whatever is reached lies around it.
    for position in range(size):
        found[heap[position] & 0xFFFFFFFF] = heap[position] >> 32
    return spread(starts, arcs, limit, found, parent, heap, size, log, logged)


@njit(cache=True)
def taken_back(found: Array, parent: Array, log: Array, logged: int) -> None:
    """Undo every write of the log, the last first."""
    for at in range(logged - 1, -1, -1):
        found[log[at, 0]], parent[log[at, 0]] = log[at, 1], log[at, 2]


@njit(cache=True)
def recounted(
    hosts: Array,
    found: Array,
    limit: int,
    groups: Array,
    single_metro: Array,
    single_bounds: Array,
    single_offset: Array,
    upto: Array,
    single_covered: Array,
    firsts: Array,
    seconds: Array,
    by_second: Array,
    ends: Array,
    spans: Array,
    double_metro: Array,
    total: Array,
    double_bounds: Array,
    double_offset: Array,
    weight: Array,
    double_covered: Array,
    table: Array,
) -> None:
    """Bring `table` (a metro each) up to date for all that hangs on `hosts`.

    `groups` says where each host's groups start, `firsts` where the segments that begin at it do, and `seconds` where
    in `by_second` those that end at it do. What each group and segment had is kept in `single_covered` and
    `double_covered`.
    """
    for host in hosts:
        slack = limit - np.int64(found[host])
        for group in range(groups[host], groups[host + 1]):
            low, high = single_bounds[group], single_bounds[group + 1]
            start = low
            while low < high:
                middle = (low + high) >> 1
                if single_offset[middle] < slack:
                    low = middle + 1
                else:
                    high = middle
            now = upto[low] - upto[start]
            table[single_metro[group]] += now - single_covered[group]
            single_covered[group] = now
        for position in range(firsts[host], firsts[host + 1] + seconds[host + 1] - seconds[host]):
            segment = position
            if position >= firsts[host + 1]:
                segment = by_second[seconds[host] + position - firsts[host + 1]]
            ahead = limit - np.int64(found[ends[segment, 0]])
            back = limit - np.int64(found[ends[segment, 1]])
            near, far, length = spans[segment, 0], spans[segment, 1], spans[segment, 2]
            now = np.int64(0)
            if far < ahead or length - near < back:
                now = total[segment]
            elif near < ahead or length - far < back:
                for at in range(double_bounds[segment], double_bounds[segment + 1]):
                    if double_offset[at] < ahead or length - double_offset[at] < back:
                        now += weight[at]
            table[double_metro[segment]] += now - double_covered[segment]
            double_covered[segment] = now
