"""Which candidates would cover whom: points that the same candidates reach are one row, weighed together.

A station is within reach of a candidate where its host's delay leaves slack for its offset. So along a chain each
candidate covers the members up to some position, or from some position on, and one pass over a chain with a running
signature (a 128-bit sum over the candidates that reach a member) tells which members are alike. No station is a row.

Source: J.-F. Cordeau, F. Furini and I. Ljubic, "Benders decomposition for very large scale partial set covering and
maximal covering location problems", EJOR 275 (2019), for customers with equal sites made one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from karez.measure import kernels
from karez.measure.core import LONGEST_NS
from karez.measure.reach import Reach
from karez.twin.table import Array

Whole = int | np.integer[Any]
# Words of a signature and what they are drawn from: the same on every machine.
WORDS, SIGNATURE_SEED = 2, 20_260_101
NO_GROUP = -1


class Rows(NamedTuple):
    """Points that the same candidates reach, as rows: row k is reached by `choices[bounds[k] : bounds[k + 1]]`.

    `choices` are positions among the candidates, ascending (int32); `weight` is int64 in millionths; `group` the group
    whose target the row counts for; `point` is one of the points (position) that the row stands for.
    """

    bounds: Array
    choices: Array
    weight: Array
    group: Array
    point: Array


class Segments(NamedTuple):
    """Points in runs: each hangs on one host (the second end is -1) or on two, `whole` apart.

    Members of a run are sorted by their offset from the first end.
    """

    ends: Array
    whole: Array
    metro: Array
    bounds: Array
    offset: Array
    weight: Array
    member: Array


def covering(reach: Reach, candidates: Array, limit_ns: int, group: Array) -> Rows:
    """Who is nearer than `limit_ns` (towards the candidate) to which of `candidates` (rows of `sites`).

    `group` has for each metro the group whose target its points count for, -1 for none. What no candidate reaches is
    in no row. The order of rows hangs on who reaches whom, not on the order in which tables list it.
    """
    made, limit_ns = reach.topology, min(int(limit_ns), LONGEST_NS)
    runs = segments(reach)
    hosts = np.zeros(made.vertices, np.bool_)
    hosts[runs.ends[runs.ends >= 0]] = True
    near = _near(made.starts, reach.timed.arcs, made.number[candidates], limit_ns, reach.timed.width, hosts)
    by_host = _by_host(*near, made.vertices)
    words = np.random.default_rng(SIGNATURE_SEED).integers(1, 2**63, (len(candidates), WORDS), dtype=np.uint64)
    where, weight, signature = _merged(
        *by_host, runs.ends, runs.whole, group[runs.metro], runs.bounds, runs.offset, runs.weight, words
    )
    owner = group[runs.metro[where[:, 0]]]
    order = np.lexsort((signature[:, 1], signature[:, 0], owner))
    where = where[order]
    bounds, choices = _filled(*by_host, runs.ends, runs.whole, runs.offset, where)
    return Rows(bounds, choices, weight[order], owner[order].astype(np.int32), runs.member[where[:, 1]])


def segments(reach: Reach) -> Segments:
    """The points of a prepared network, those on one host first."""
    one, two = reach.single, reach.double
    alone = np.full(len(one.host), -1, one.host.dtype)
    return Segments(
        ends=np.concatenate([np.stack([one.host, alone], axis=1), two.ends]).astype(np.int32),
        whole=np.concatenate([np.zeros(len(one.host), np.int32), two.spans[:, 2]]),
        metro=np.concatenate([one.metro, two.metro]),
        bounds=np.concatenate([one.bounds[:-1], two.bounds + one.bounds[-1]]),
        offset=np.concatenate([one.offset, two.offset]),
        weight=np.concatenate([one.weight, two.weight]),
        member=np.concatenate([one.member, two.member]),
    )


@njit(cache=True)
def _near(
    starts: Array, arcs: Array, sources: Array, limit: int, width: int, hosts: Array
) -> tuple[Array, Array, Array]:
    """Which hosts are within the limit of which source: host, source and the slack that is left, by source."""
    vertices = starts.size - 1
    found, scratch = np.empty(vertices, np.int32), np.empty((arcs.shape[0] + vertices, 2), np.int32)
    size, room = 0, max(1 << 16, vertices)
    host, source, slack = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    for at in range(sources.size):
        kernels.search(starts, arcs, sources[at : at + 1], limit, width, scratch, found)
        if room - size < vertices:
            room *= 2
            host, source, slack = longer(host), longer(source), longer(slack)
        before, size = size, _collected(found, hosts, limit, host, slack, size)
        source[before:size] = at
    return host[:size].copy(), source[:size].copy(), slack[:size].copy()


@njit(cache=True)
def _collected(found: Array, hosts: Array, limit: int, host: Array, slack: Array, size: int) -> int:
    """Write hosts that were found, and their slack, from position `size` on; the position after the last."""
    for vertex in range(found.size):
        if found[vertex] < limit and hosts[vertex]:
            host[size], slack[size] = vertex, limit - found[vertex]
            size += 1
    return size


@njit(cache=True)
def longer(values: Array) -> Array:
    """The values with as much room again behind them."""
    return np.concatenate((values, np.empty_like(values)))


@njit(cache=True)
def _by_host(host: Array, source: Array, slack: Array, vertices: int) -> tuple[Array, Array, Array]:
    """Where each host starts, and the sources near it, ascending, with their slack."""
    starts = np.zeros(vertices + 1, np.int64)
    for at in range(host.size):
        starts[host[at] + 1] += 1
    for vertex in range(vertices):
        starts[vertex + 1] += starts[vertex]
    free = starts[:-1].copy()
    near, left = np.empty_like(source), np.empty_like(slack)
    for at in range(host.size):
        to = free[host[at]]
        near[to], left[to] = source[at], slack[at]
        free[host[at]] = to + 1
    return starts, near, left


@njit(cache=True)
def _first_not_below(offset: Array, low: Whole, high: Whole, value: Whole) -> Whole:
    """The first position from `low` to `high` whose offset is not below the value."""
    while low < high:
        middle = (low + high) >> 1
        if offset[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def _merged(
    starts: Array,
    near: Array,
    slack: Array,
    ends: Array,
    whole: Array,
    group: Array,
    bounds: Array,
    offset: Array,
    weight: Array,
    words: Array,
) -> tuple[Array, Array, Array]:
    """Members alike as one: segment and position of the first of each, their weight together, and their signature."""
    longest = 0
    for segment in range(group.size):
        longest = max(longest, bounds[segment + 1] - bounds[segment])
    # Changes of signature and of the number of candidates, from each position of a segment on.
    change, more = np.zeros((longest + 1, 2), np.uint64), np.zeros(longest + 1, np.int64)
    seen = np.full((words.shape[0], 2), -1, np.int32)
    rows, room, slots = 0, 1 << 12, np.full(1 << 14, -1, np.int64)
    where, total = np.empty((room, 2), np.int64), np.empty(room, np.int64)
    signature, owner = np.empty((room, 2), np.uint64), np.empty(room, np.int64)
    for segment in range(group.size):
        low, high = np.int64(bounds[segment]), np.int64(bounds[segment + 1])
        one, two, own = ends[segment, 0], ends[segment, 1], np.int64(group[segment])
        is_near = starts[one] < starts[one + 1] or (two >= 0 and starts[two] < starts[two + 1])
        if own < 0 or not is_near:
            continue
        for at in range(starts[one], starts[one + 1]):
            candidate = near[at]
            stop = _first_not_below(offset, low, high, slack[at])
            seen[candidate, 0], seen[candidate, 1] = segment, stop
            if stop > low:
                _shift(change, more, 0, stop - low, words[candidate])
        if two >= 0:
            for at in range(starts[two], starts[two + 1]):
                candidate = near[at]
                start = _first_not_below(offset, low, high, whole[segment] - slack[at] + 1)
                if seen[candidate, 0] == segment:
                    start = max(start, np.int64(seen[candidate, 1]))
                if start < high:
                    _shift(change, more, start - low, high - low, words[candidate])
        while rows + high - low > room:
            room *= 2
            where, total = longer(where), longer(total)
            signature, owner = longer(signature), longer(owner)
        while (rows + high - low) * 4 > slots.size:
            slots = _rehashed(signature[:rows], owner[:rows], slots.size * 4)
        rows = _counted(segment, own, low, high, change, more, weight, slots, where, total, signature, owner, rows)
    return where[:rows], total[:rows], signature[:rows]


@njit(cache=True)
def _counted(
    segment: int,
    own: Whole,
    low: Whole,
    high: Whole,
    change: Array,
    more: Array,
    weight: Array,
    slots: Array,
    where: Array,
    total: Array,
    signature: Array,
    owner: Array,
    rows: int,
) -> int:
    """Count the members of a segment to their rows, of which some are new; how many rows there are then.

    Arrays that are made anew in a loop count references at every look, so this is a function of its own.
    """
    first, second, count = np.uint64(0), np.uint64(0), 0
    row: Whole = -1
    for at in range(low, high):
        here = at - low
        if more[here] != 0 or change[here, 0] != 0 or change[here, 1] != 0:
            first += change[here, 0]
            second += change[here, 1]
            count += int(more[here])
            change[here, 0], change[here, 1], more[here] = 0, 0, 0
            row = -1
        if count == 0:
            continue
        if row < 0:
            slot = np.int64((first ^ (second >> np.uint64(7))) + np.uint64(own)) & (slots.size - 1)
            while slots[slot] >= 0:
                row = np.int64(slots[slot])
                if signature[row, 0] == first and signature[row, 1] == second and owner[row] == own:
                    break
                row = -1
                slot = (slot + 1) & (slots.size - 1)
            if row < 0:
                row = rows
                slots[slot] = row
                where[row, 0], where[row, 1], total[row] = segment, at, 0
                signature[row, 0], signature[row, 1], owner[row] = first, second, own
                rows += 1
        total[row] += weight[at]
    change[high - low, 0], change[high - low, 1], more[high - low] = 0, 0, 0
    return rows


@njit(inline="always")
def _shift(change: Array, more: Array, start: Whole, stop: Whole, words: Array) -> None:
    """Let a candidate count from one position to before another."""
    change[start, 0] += words[0]
    change[start, 1] += words[1]
    more[start] += 1
    change[stop, 0] -= words[0]
    change[stop, 1] -= words[1]
    more[stop] -= 1


@njit(cache=True)
def _rehashed(signature: Array, owner: Array, size: int) -> Array:
    slots = np.full(size, -1, np.int64)
    for row in range(owner.size):
        slot = np.int64((signature[row, 0] ^ (signature[row, 1] >> np.uint64(7))) + np.uint64(owner[row])) & (size - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        slots[slot] = row
    return slots


@njit(cache=True)
def _filled(
    starts: Array, near: Array, slack: Array, ends: Array, whole: Array, offset: Array, where: Array
) -> tuple[Array, Array]:
    """The candidates, ascending, that reach the members at some segments and positions."""
    bounds = np.zeros(where.shape[0] + 1, np.int64)
    choices = np.empty(1 << 16, np.int32)
    size = 0
    for row in range(where.shape[0]):
        one, two, here = ends[where[row, 0], 0], ends[where[row, 0], 1], np.int64(offset[where[row, 1]])
        back = whole[where[row, 0]] - here
        i, i_stop = starts[one], starts[one + 1]
        j, j_stop = (starts[two], starts[two + 1]) if two >= 0 else (np.int64(0), np.int64(0))
        while size + (i_stop - i) + (j_stop - j) > choices.size:
            choices = longer(choices)
        while i < i_stop or j < j_stop:
            # The smaller of the two heads; both where they are one.
            left = near[i] if i < i_stop else np.int32(2**31 - 1)
            right = near[j] if j < j_stop else np.int32(2**31 - 1)
            reached = (left <= right and here < slack[i]) or (right <= left and back < slack[j])
            if reached:
                choices[size] = min(left, right)
                size += 1
            i += left <= right
            j += right <= left
        bounds[row + 1] = size
    return bounds, choices[:size].copy()
