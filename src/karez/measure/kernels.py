"""Compiled loops over arrays: building, contracting and searching a graph, and summing what is within reach.

Each takes and fills plain arrays, knows no twin, and has a slow counterpart in the tests. The first call compiles,
which takes some seconds; the result is kept, beside this file where that can be written to. Vertices and arcs are
int32, delays int32 nanoseconds.
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
def delays_ns(
    fibre_km: Array, kind: Array, hop_us: Array, fibre_us_per_km: float, ns_per_us: float, longest: int, out: Array
) -> None:
    """Fill in the delay of each link: its fibre and the hop of its kind, in whole ns and at most `longest`."""
    for link in range(out.size):
        ns = np.rint((fibre_us_per_km * fibre_km[link] + hop_us[kind[link]]) * ns_per_us)
        # What is no delay is none that leads anywhere.
        out[link] = np.int32(ns) if 0 <= ns < longest else longest


@njit(cache=True)
def leading_somewhere(used: Array, a: Array, b: Array, rows: Array, tail: Array, head: Array) -> int:
    """The number of links that are used and have both ends, after they and these were written to the last three."""
    count = 0
    for link in range(a.size):
        if used[link] and a[link] >= 0 and b[link] >= 0:
            rows[count], tail[count], head[count] = link, a[link], b[link]
            count += 1
    return count


@njit(cache=True)
def mark_core(tail: Array, head: Array, both: Array, core: Array, degree: Array) -> None:
    """Mark in `core` every vertex at which more than two links meet, or one that goes one way only.

    `degree` (zeros, one a vertex) is written over.
    """
    for link in range(tail.size):
        for vertex in (tail[link], head[link]):
            if degree[vertex] < 3:
                degree[vertex] += 1
            if degree[vertex] > 2 or not both[link]:
                core[vertex] = True


@njit(cache=True)
def numbered(core: Array, number: Array) -> int:
    """The number of marked vertices, after each got its own in `number`; the others have -1."""
    size = 0
    for vertex in range(core.size):
        number[vertex] = -1
        if core[vertex]:
            number[vertex] = size
            size += 1
    return size


@njit(cache=True)
def parted(tail: Array, head: Array, core: Array, joins: Array) -> tuple[Array, Array]:
    """Links within the core, and links by which chains are entered from it.

    `joins` gets the links of each vertex outside, which has at most two; -1 where there is none.
    """
    inner, entries = 0, 0
    for link in range(tail.size):
        inner += core[tail[link]] and core[head[link]]
        entries += core[tail[link]] != core[head[link]]
    within, into = np.empty(inner, np.int32), np.empty(entries, np.int32)
    joins[:] = -1
    inner, entries = 0, 0
    for link in range(tail.size):
        one, other = tail[link], head[link]
        if core[one] and core[other]:
            within[inner] = link
            inner += 1
            continue
        if core[one] != core[other]:
            into[entries] = link
            entries += 1
        for vertex in (one, other):
            if not core[vertex]:
                joins[vertex, 0 if joins[vertex, 0] < 0 else 1] = link
    return within, into


@njit(cache=True)
def walk_chains(
    tail: Array, head: Array, core: Array, joins: Array, entries: Array, members: Array, via: Array
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """The chains of vertices outside of `core`, each walked once from the core.

    `members` and `via` (one a vertex) are written over. Gives where each chain starts among its members, the members
    in the order of the walk and the link by which each was reached; and of each chain the two ends (the second -1 for
    a dead end) and the last link.
    """
    seen = np.zeros(core.size, np.bool_)
    bounds = np.empty(entries.size + 1, np.int32)
    first, second = np.empty(entries.size, np.int32), np.empty(entries.size, np.int32)
    last = np.empty(entries.size, np.int32)
    chains, filled = 0, 0
    bounds[0] = 0
    for link in entries:
        start = tail[link] if core[tail[link]] else head[link]
        here = tail[link] + head[link] - start
        if seen[here]:
            continue
        end = -1
        while True:
            seen[here] = True
            members[filled], via[filled] = here, link
            filled += 1
            ahead = joins[here, 0] if joins[here, 0] != link else joins[here, 1]
            if ahead < 0:
                break
            link = ahead
            here = tail[link] + head[link] - here
            if core[here]:
                end = here
                break
        first[chains], second[chains], last[chains] = start, end, link
        chains += 1
        bounds[chains] = filled
    return (
        bounds[: chains + 1],
        members[:filled],
        via[:filled],
        first[:chains],
        second[:chains],
        last[:chains],
    )


@njit(cache=True)
def arcs_by_tail(tail: Array, head: Array, both: Array, vertices: int) -> tuple[Array, Array, Array]:
    """Ways as arcs sorted by their tail: where each vertex starts, and head and way of each arc."""
    starts = np.zeros(vertices + 1, np.int32)
    for way in range(tail.size):
        starts[tail[way] + 1] += 1
        if both[way]:
            starts[head[way] + 1] += 1
    for vertex in range(vertices):
        starts[vertex + 1] += starts[vertex]
    free = starts[:-1].copy()
    heads, ways = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    for way in range(tail.size):
        at = free[tail[way]]
        free[tail[way]] = at + 1
        heads[at], ways[at] = head[way], way
        if both[way]:
            at = free[head[way]]
            free[head[way]] = at + 1
            heads[at], ways[at] = tail[way], way
    return starts, heads, ways


@njit(cache=True)
def united(starts: Array, heads: Array, ways: Array) -> tuple[Array, Array, Array, Array]:
    """Parallel arcs made one: where each vertex starts, heads, and which of the ways (in order) each stands for."""
    vertices = starts.size - 1
    seen_by, arc_of = np.full(vertices, -1, np.int32), np.empty(vertices, np.int32)
    arc, size = np.empty(heads.size, np.int32), np.zeros(heads.size + 1, np.int32)
    fewer, ends = np.empty(vertices + 1, np.int32), np.empty(heads.size, np.int32)
    count = 0
    for vertex in range(vertices):
        fewer[vertex] = count
        for at in range(starts[vertex], starts[vertex + 1]):
            head = heads[at]
            if seen_by[head] != vertex:
                seen_by[head], arc_of[head], ends[count] = vertex, count, head
                count += 1
            arc[at] = arc_of[head]
            size[arc[at] + 1] += 1
    fewer[vertices] = count
    for at in range(count):
        size[at + 1] += size[at]
    bounds, free = size[: count + 1].copy(), size[:count].copy()
    ordered = np.empty(heads.size, np.int32)
    for at in range(heads.size):
        ordered[free[arc[at]]] = ways[at]
        free[arc[at]] += 1
    return fewer, ends[:count].copy(), bounds, ordered


@njit(cache=True)
def offsets_of(
    bounds: Array, via: Array, second: Array, last: Array, oneway_ns: Array, offsets: Array, whole: Array
) -> None:
    """Fill in the delay of each member of each chain from its first end, and of each whole chain."""
    for chain in range(second.size):
        delay = np.int64(0)
        for at in range(bounds[chain], bounds[chain + 1]):
            delay += oneway_ns[via[at]]
            offsets[at] = delay
        whole[chain] = delay + oneway_ns[last[chain]] if second[chain] >= 0 else delay


@njit(cache=True)
def fastest(bounds: Array, ways: Array, way_ns: Array, arcs: Array) -> None:
    """Fill in the delay of each arc: that of the fastest of its ways."""
    for arc in range(bounds.size - 1):
        least = way_ns[ways[bounds[arc]]]
        for at in range(bounds[arc] + 1, bounds[arc + 1]):
            least = min(least, way_ns[ways[at]])
        arcs[arc, 1] = least


@njit(cache=True)
def reach_members(
    found: Array, bounds: Array, members: Array, first: Array, second: Array, offsets: Array, whole: Array, out: Array
) -> None:
    """Write into `out` (a vertex each) the delay of each member of the chains, `FAR` where nothing reaches it."""
    for chain in range(first.size):
        ahead = np.int64(found[first[chain]])
        back = np.int64(found[second[chain]]) + whole[chain] if second[chain] >= 0 else np.int64(FAR) * 4
        for at in range(bounds[chain], bounds[chain + 1]):
            out[members[at]] = min(ahead + offsets[at], back - offsets[at], np.int64(FAR))


@njit(cache=True)
def points_of(vertex: Array, number: Array, point: Array) -> Array:
    """The points (int32) whose vertex is in the core; those of the others are written into `point`, by vertex.

    `number` is the core's number of each vertex, -1 outside; a point of vertex -1 is nowhere.
    """
    inside = 0
    for at in range(vertex.size):
        inside += vertex[at] >= 0 and number[vertex[at]] >= 0
    found = np.empty(inside, np.int32)
    inside = 0
    for at in range(vertex.size):
        if vertex[at] < 0:
            continue
        if number[vertex[at]] >= 0:
            found[inside] = at
            inside += 1
        else:
            point[vertex[at]] = at
    return found


@njit(cache=True)
def hanging(
    bounds: Array, members: Array, first: Array, second: Array, point: Array, metro: Array
) -> tuple[int, int, int]:
    """How many points hang in chains on one host, how many between two, and how many segments these make.

    A segment is of one chain and one metro; `point` has the point of each vertex, -1 for none.
    """
    one, two, segments = 0, 0, 0
    for chain in range(first.size):
        between = second[chain] >= 0 and second[chain] != first[chain]
        before = np.int64(-1)
        for at in range(bounds[chain], bounds[chain + 1]):
            mine = np.int64(point[members[at]])
            if mine < 0:
                continue
            if not between:
                one += 1
                continue
            if before < 0 or metro[mine] != metro[before]:
                segments += 1
            two += 1
            before = mine
    return one, two, segments


@njit(cache=True)
def hung(
    bounds: Array,
    members: Array,
    first: Array,
    second: Array,
    point: Array,
    metro: Array,
    offsets: Array,
    whole: Array,
    longest: int,
    counts: tuple[int, int, int],
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array, Array, Array]]:
    """The points that hang in chains, as many as `hanging` has counted.

    Of those on one host: host, offset (the shorter way round a ring) and point. Of those between two: of each segment
    its chain, its spans (offsets of its first and last member, delay of the chain) and where it starts; offset and
    point of each. Where a chain is longer than `FAR`, the middle, which is beyond `longest` from both ends, is cut.
    """
    host, near, ones = np.empty(counts[0], np.int32), np.empty(counts[0], np.int32), np.empty(counts[0], np.int32)
    ahead, twos = np.empty(counts[1], np.int32), np.empty(counts[1], np.int32)
    owner, spans = np.empty(counts[2], np.int32), np.empty((counts[2], 3), np.int32)
    starts = np.empty(counts[2] + 1, np.int32)
    one, two, segment = 0, 0, -1
    far, limit = np.int64(FAR), np.int64(longest)
    for chain in range(first.size):
        between = second[chain] >= 0 and second[chain] != first[chain]
        closed = second[chain] == first[chain]
        before = np.int64(-1)
        for at in range(bounds[chain], bounds[chain + 1]):
            mine = np.int64(point[members[at]])
            if mine < 0:
                continue
            offset = offsets[at]
            if not between:
                offset = min(offset, whole[chain] - offset) if closed else offset
                host[one], near[one], ones[one] = first[chain], min(offset, far), mine
                one += 1
                continue
            if whole[chain] > far and offset > limit:
                offset = max(far - (whole[chain] - offset), limit)
            if before < 0 or metro[mine] != metro[before]:
                segment += 1
                owner[segment], starts[segment] = chain, two
                spans[segment, 0], spans[segment, 2] = offset, min(whole[chain], far)
            spans[segment, 1] = offset
            ahead[two], twos[two] = offset, mine
            two += 1
            before = mine
    starts[counts[2]] = counts[1]
    return (host, near, ones), (owner, spans, starts, ahead, twos)


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
def search(starts: Array, arcs: Array, sources: Array, limit: int, width: int, scratch: Array, found: Array) -> None:
    """Fill `found` with the least delay from any source, `FAR` from `limit` on, which is at most `FAR` / 2.

    `arcs` has head and delay of each arc; `scratch` (as many rows as arcs and sources) is written over. Buckets of
    `width`; where no delay is below it, each vertex is settled once and in any order of its bucket.
    Source: E. A. Dinic, "Economical algorithms for finding shortest paths in a network" (1978).
    """
    factor, shift = _reciprocal(width)
    first = np.full(limit // width + 1, -1, np.int32)
    entries = 0
    found[:] = limit
    for source in sources:
        if found[source] > 0:
            found[source] = 0
            scratch[entries, 0], scratch[entries, 1] = source, first[0]
            first[0] = entries
            entries += 1
    for bucket in range(first.size):
        low = np.int32(bucket * width)
        while first[bucket] >= 0:
            at, first[bucket] = first[bucket], -1
            while at >= 0:
                vertex, at = np.uint32(scratch[at, 0]), scratch[at, 1]
                delay = found[vertex]
                # An older entry: the vertex has been reached sooner since, and settled then.
                if delay < low:
                    continue
                begin, end = np.uint32(starts[vertex]), np.uint32(starts[vertex + 1])
                if entries + np.int64(end - begin) > scratch.shape[0]:
                    scratch = np.concatenate((scratch, np.empty_like(scratch)))
                for arc in range(begin, end):
                    # Whether an arc is of use cannot be foretold, and a branch guessed wrong costs more than all of
                    # this. So each head is written as an entry, and the entry counts where the arc was of use.
                    head, there = np.uint32(arcs[arc, 0]), np.int32(delay + arcs[arc, 1])
                    before, free = found[head], np.uint32(entries)
                    is_sooner = there < before
                    found[head] = there if is_sooner else before
                    to = (np.int64(found[head]) * factor) >> shift
                    behind = first[to]
                    scratch[free, 0], scratch[free, 1] = head, behind
                    first[to] = entries if is_sooner else behind
                    entries += 1 if is_sooner else 0
    for one in range(found.size):
        if found[one] == limit:
            found[one] = FAR


@njit(cache=True)
def sum_by_region(region: Array, weight: Array, held: Array, sums: Array) -> None:
    """Add up weights, each made whole first: those that are held in `sums[0]` by region, all in `sums[1]`."""
    for at in range(region.size):
        rounded = np.int64(np.rint(weight[at]))
        sums[1, region[at]] += rounded
        if held[at]:
            sums[0, region[at]] += rounded


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


@njit(cache=True)
def curve_single(
    found: Array, step: int, host: Array, metro: Array, bounds: Array, offset: Array, weight: Array, table: Array
) -> None:
    """Add to `table` (metro x step of delay) the weight of each member of groups on one host, at its own delay.

    The last column of the table is for what is beyond.
    """
    columns, cells = table.shape[1], table.ravel()
    limit = np.int64(step * (columns - 1))
    factor, shift = _reciprocal(step)
    for group in range(host.size):
        base, row = np.int64(found[host[group]]), np.int64(metro[group]) * columns
        if base + offset[bounds[group]] >= limit:
            continue
        for at in range(np.uint32(bounds[group]), np.uint32(bounds[group + 1])):
            delay = min(base + offset[at], limit)
            cells[np.uint64(row + ((delay * factor) >> shift))] += weight[at]


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
    """Add to `table` the weight of each member of segments between two hosts, at its own delay.

    The last column of the table is for what is beyond: to write it there costs less than to ask first.
    """
    columns, cells = table.shape[1], table.ravel()
    limit = np.int64(step * (columns - 1))
    factor, shift = _reciprocal(step)
    for segment in range(metro.size):
        ahead, back = np.int64(found[ends[segment, 0]]), np.int64(found[ends[segment, 1]]) + spans[segment, 2]
        if ahead + spans[segment, 0] >= limit and back - spans[segment, 1] >= limit:
            continue
        row = np.int64(metro[segment]) * columns
        for at in range(np.uint32(bounds[segment]), np.uint32(bounds[segment + 1])):
            delay = min(min(ahead + offset[at], back - offset[at]), limit)
            cells[np.uint64(row + ((delay * factor) >> shift))] += weight[at]
