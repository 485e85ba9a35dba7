"""Compiled loops over arrays: building, contracting and searching a graph, and summing what is within reach.

Each takes and fills plain arrays, knows no twin, and has a slow counterpart in the tests. The first call compiles,
which takes some seconds; the result is kept beside this file. Vertices and arcs are int32, delays int32 nanoseconds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit

from karez.twin.table import Array

FAR = np.int32(2_000_000_000)


def compiled() -> bool:
    """Whether an earlier run has left the compiled loops beside this file, so that nobody has to wait."""
    return any((Path(__file__).parent / "__pycache__").glob("kernels.walk_chains-*.nbi"))


@njit(cache=True)
def arcs_by_tail(tail: Array, head: Array, ns: Array, both: Array, vertices: int) -> tuple[Array, Array, Array, Array]:
    """Links as arcs sorted by their tail: where each vertex starts, head, delay and link of each arc."""
    starts = np.zeros(vertices + 1, np.int64)
    for link in range(tail.size):
        starts[tail[link] + 1] += 1
        if both[link]:
            starts[head[link] + 1] += 1
    for vertex in range(vertices):
        starts[vertex + 1] += starts[vertex]
    free = starts[:-1].copy()
    heads = np.empty(starts[-1], np.int32)
    delays = np.empty(starts[-1], np.int32)
    links = np.empty(starts[-1], np.int32)
    for link in range(tail.size):
        at = free[tail[link]]
        free[tail[link]] = at + 1
        heads[at], delays[at], links[at] = head[link], ns[link], link
        if both[link]:
            at = free[head[link]]
            free[head[link]] = at + 1
            heads[at], delays[at], links[at] = tail[link], ns[link], link
    return starts, heads, delays, links


@njit(cache=True)
def walk_chains(
    starts: Array, heads: Array, delays: Array, links: Array, core: Array
) -> tuple[Array, Array, Array, Array, Array, Array, Array, Array]:
    """The chains of vertices outside of `core`, each walked once from a core vertex.

    Gives where each chain starts among its members, the members in the order of the walk, each one's delay from the
    first end and the link by which it was reached; and of each chain the two ends (the second -1 for a dead end), its
    whole delay and its last link. What lies outside has at most two arcs, and none that goes one way only.
    """
    vertices = starts.size - 1
    seen = np.zeros(vertices, np.bool_)
    members = np.empty(vertices, np.int32)
    offsets = np.empty(vertices, np.int64)
    via = np.empty(vertices, np.int32)
    last = np.empty(vertices, np.int32)
    bounds = np.empty(vertices + 1, np.int64)
    first = np.empty(vertices, np.int32)
    second = np.empty(vertices, np.int32)
    whole = np.empty(vertices, np.int64)
    chains, filled = 0, 0
    bounds[0] = 0
    for start in range(vertices):
        if not core[start]:
            continue
        for out in range(starts[start], starts[start + 1]):
            here = heads[out]
            if core[here] or seen[here]:
                continue
            arc, delay, end = out, np.int64(0), -1
            while True:
                delay += delays[arc]
                here = heads[arc]
                if core[here]:
                    end = here
                    break
                seen[here] = True
                members[filled], offsets[filled], via[filled] = here, delay, links[arc]
                filled += 1
                ahead = -1
                for other in range(starts[here], starts[here + 1]):
                    if links[other] != links[arc]:
                        ahead = other
                if ahead < 0:
                    break
                arc = ahead
            first[chains], second[chains], whole[chains], last[chains] = start, end, delay, links[arc]
            chains += 1
            bounds[chains] = filled
    return (
        bounds[: chains + 1].copy(),
        members[:filled].copy(),
        offsets[:filled].copy(),
        via[:filled].copy(),
        first[:chains].copy(),
        second[:chains].copy(),
        whole[:chains].copy(),
        last[:chains].copy(),
    )


@njit(cache=True)
def search(starts: Array, arcs: Array, sources: Array, limit: int, width: int, scratch: Array, found: Array) -> None:
    """Fill `found` with the least delay from any source, `FAR` from `limit` on.

    `arcs` has head and delay of each arc; `scratch` (as many rows as arcs and sources) is written over. Buckets of
    `width`; where no delay is below it, each vertex is settled once and in any order of its bucket.
    Source: E. A. Dinic, "Economical algorithms for finding shortest paths in a network" (1978).
    """
    first = np.full(limit // width + 1, -1, np.int32)
    entries = 0
    found[:] = FAR
    for source in sources:
        if found[source] != 0 and limit > 0:
            found[source] = 0
            scratch[entries, 0], scratch[entries, 1] = source, first[0]
            first[0] = entries
            entries += 1
    for bucket in range(first.size):
        while first[bucket] >= 0:
            at = first[bucket]
            vertex, first[bucket] = scratch[at, 0], scratch[at, 1]
            delay = np.int64(found[vertex])
            # An older entry: the vertex has been reached sooner since, and settled then.
            if delay < bucket * width:
                continue
            for arc in range(starts[vertex], starts[vertex + 1]):
                head, there = arcs[arc, 0], delay + arcs[arc, 1]
                if there < limit and there < found[head]:
                    found[head] = there
                    if entries == scratch.shape[0]:
                        scratch = np.concatenate((scratch, np.empty_like(scratch)))
                    to = there // width
                    scratch[entries, 0], scratch[entries, 1] = head, first[to]
                    first[to] = entries
                    entries += 1


@njit(cache=True)
def sum_single(
    found: Array, limit: int, host: Array, metro: Array, bounds: Array, offset: Array, upto: Array, covered: Array
) -> None:
    """Add to `covered` (a metro each) the weight within `limit` of groups that hang on one host.

    Members of a group are sorted by offset; `upto` has the weight of all members before each position.
    """
    for group in range(host.size):
        slack = limit - np.int64(found[host[group]])
        low, high = bounds[group], bounds[group + 1]
        if slack <= offset[low]:
            continue
        if offset[high - 1] < slack:
            covered[metro[group]] += upto[high] - upto[low]
            continue
        start = low
        while low < high:
            middle = (low + high) >> 1
            if offset[middle] < slack:
                low = middle + 1
            else:
                high = middle
        covered[metro[group]] += upto[low] - upto[start]


@njit(cache=True)
def sum_double(
    found: Array,
    limit: int,
    ends: Array,
    spans: Array,
    metro: Array,
    total: Array,
    bounds: Array,
    offset: Array,
    weight: Array,
    covered: Array,
) -> None:
    """Add to `covered` the weight within `limit` of segments that hang between two hosts, in the order of the walk.

    `ends` are the two hosts; `spans` the offsets of the first and last member and the delay of the whole chain. A
    member is within reach from the first end up to some position, and from the second end from some position on.
    """
    for segment in range(metro.size):
        ahead = limit - np.int64(found[ends[segment, 0]])
        back = limit - np.int64(found[ends[segment, 1]])
        near, far, length = spans[segment, 0], spans[segment, 1], spans[segment, 2]
        if far < ahead or length - near < back:
            covered[metro[segment]] += total[segment]
        elif near < ahead or length - far < back:
            inside = np.int64(0)
            for at in range(bounds[segment], bounds[segment + 1]):
                if offset[at] < ahead or length - offset[at] < back:
                    inside += weight[at]
            covered[metro[segment]] += inside


@njit(cache=True)
def delays_single(found: Array, host: Array, bounds: Array, offset: Array, member: Array, out: Array) -> None:
    """Write into `out` the delay of each member of groups that hang on one host."""
    for group in range(host.size):
        base = np.int64(found[host[group]])
        for at in range(bounds[group], bounds[group + 1]):
            out[member[at]] = min(base + offset[at], np.int64(FAR))


@njit(cache=True)
def delays_double(
    found: Array, ends: Array, spans: Array, bounds: Array, offset: Array, member: Array, out: Array
) -> None:
    """Write into `out` the delay of each member of segments between two hosts."""
    for segment in range(ends.shape[0]):
        ahead, back = np.int64(found[ends[segment, 0]]), np.int64(found[ends[segment, 1]]) + spans[segment, 2]
        for at in range(bounds[segment], bounds[segment + 1]):
            out[member[at]] = min(min(ahead + offset[at], back - offset[at]), np.int64(FAR))


@njit(inline="always")
def _reciprocal(step: int) -> tuple[int, int]:
    """A factor and a shift with which a delay below 2^31 is divided by `step`, exactly and without a division.

    Source: T. Granlund and P. L. Montgomery, "Division by invariant integers using multiplication" (1994).
    """
    shift = 31
    while (1 << (shift - 31)) < step:
        shift += 1
    return (1 << shift) // step + 1, shift


@njit(cache=True)
def curve_single(
    found: Array, step: int, host: Array, metro: Array, bounds: Array, offset: Array, weight: Array, table: Array
) -> None:
    """Add to `table` (metro x step of delay) the weight of each member of groups on one host, at its own delay."""
    limit = step * table.shape[1]
    factor, shift = _reciprocal(step)
    for group in range(host.size):
        base = np.int64(found[host[group]])
        row = table[metro[group]]
        for at in range(bounds[group], bounds[group + 1]):
            delay = base + offset[at]
            if delay >= limit:
                break
            row[(delay * factor) >> shift] += weight[at]


@njit(cache=True)
def curve_double(
    found: Array,
    step: int,
    ends: Array,
    spans: Array,
    metro: Array,
    bounds: Array,
    offset: Array,
    weight: Array,
    table: Array,
) -> None:
    """Add to `table` the weight of each member of segments between two hosts, at its own delay."""
    limit = step * table.shape[1]
    factor, shift = _reciprocal(step)
    for segment in range(metro.size):
        ahead, back = np.int64(found[ends[segment, 0]]), np.int64(found[ends[segment, 1]]) + spans[segment, 2]
        if ahead + spans[segment, 0] >= limit and back - spans[segment, 1] >= limit:
            continue
        row = table[metro[segment]]
        for at in range(bounds[segment], bounds[segment + 1]):
            delay = min(ahead + offset[at], back - offset[at])
            if delay < limit:
                row[(delay * factor) >> shift] += weight[at]
