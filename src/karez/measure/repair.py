"""Compiled loops that mend a search and its sums after a change: only what the change reaches is looked at again.

All of them work on two bundles of arrays. `Net` is the network as it is now, changes included; `State` is what is
known of it: `found` has the least delay of each vertex of the core, `parent` the vertex it comes from (itself for a
source, -1 where nothing is within the limit), `held` whether each vertex is within it, and `gap` the members of each
chain that are not: from one position on, and up to another.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from karez.measure.kernels import FAR
from karez.twin.table import Array

Whole = int | np.integer[Any]
NOWHERE = -1


class Net(NamedTuple):
    """The arcs of the search, the ways behind them, the chains, and what is counted at vertices and members.

    `starts` and `arcs` are those of the topology; `into` and `tails` have the arcs that end at each vertex, as vertices
    they start at and positions in `arcs`. `way_arcs` has the two arcs of each way (-1: none). `place` says where each
    link is: the way that it is, or -2 less its position among the members of chains, or -1; the last links of chains
    come after all members. A row of `chain` has what is asked of a chain most often, side by side: its ends (-1: none),
    its whole delay, the offsets of its first and last member, the metro of all (-1: of several), and the positions of
    its members, from the one and up to the other. `offsets` are those of the members, `upto` the weight of all before
    each, `weight` that of the vertices; `metro` is of the vertices and then of the members. `hosted` lists the chains
    of each vertex, `across` the other end of each (-1: none).
    """

    starts: Array
    arcs: Array
    into: Array
    tails: Array
    bounds: Array
    ways: Array
    way_ns: Array
    way_arcs: Array
    arc_tail: Array
    place: Array
    link_ns: Array
    chain_of: Array
    chain: Array
    chain_way: Array
    offsets: Array
    upto: Array
    weight: Array
    metro: Array
    hosted_starts: Array
    hosted: Array
    across: Array


class State(NamedTuple):
    """What is known, and room to work in; `size` counts what is in each list.

    `log` has (vertex, delay before, parent before) of each write, `arc_log` (arc, delay before), `touched` the chains
    whose own delays changed; `stamp` says for which change each vertex and chain was last counted.
    """

    found: Array
    parent: Array
    source: Array
    held: Array
    gap: Array
    heap: Array
    log: Array
    arc_log: Array
    touched: Array
    stamp: Array
    size: Array


# Columns of `chain`.
FIRST, SECOND, WHOLE, NEAREST, FARTHEST, METRO, BEGIN, END = 0, 1, 2, 3, 4, 5, 6, 7
# Positions in `size`.
LOGGED, ARCS, TOUCHED, TURN = 0, 1, 2, 3


# Other modules compile `push` and `pop` into loops of their own, and what numba keeps of those is not made anew when
# these change: `make clean` then.
@njit(cache=True)
def push(heap: Array, size: int, key: Whole) -> int:
    """Put a key into the heap of `size` entries; what is there then is the number returned."""
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
def pop(heap: Array, size: int) -> int:
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
def _set(found: Array, parent: Array, log: Array, logged: int, vertex: Whole, delay: Whole, origin: Whole) -> int:
    log[logged, 0], log[logged, 1], log[logged, 2] = vertex, found[vertex], parent[vertex]
    found[vertex], parent[vertex] = delay, origin
    return logged + 1


@njit(cache=True)
def _set_way(net: Net, state: State, way: Whole, ns: Whole) -> None:
    """Give a way another delay, and each of its arcs that of the fastest of its ways."""
    arcs, way_ns, ways, bounds = net.arcs, net.way_ns, net.ways, net.bounds
    way_ns[way] = ns
    for side in range(2):
        arc = net.way_arcs[way, side]
        if arc < 0:
            continue
        least = way_ns[ways[bounds[arc]]]
        for at in range(bounds[arc] + 1, bounds[arc + 1]):
            least = min(least, way_ns[ways[at]])
        if least != arcs[arc, 1]:
            at = state.size[ARCS]
            state.arc_log[at, 0], state.arc_log[at, 1] = arc, arcs[arc, 1]
            state.size[ARCS] = at + 1
            arcs[arc, 1] = least


@njit(cache=True)
def _set_link(net: Net, state: State, link: Whole, ns: Whole, longest: Whole) -> None:
    """Give a link another delay, and all that it is part of."""
    place, more = net.place[link], np.int64(ns) - net.link_ns[link]
    if place == NOWHERE or more == 0:
        return
    net.link_ns[link] = ns
    if place >= 0:
        _set_way(net, state, place, ns)
        return
    at = -2 - place
    members = net.chain_of.size
    chain = net.chain_of[at] if at < members else at - members
    begin, end = net.chain[chain, BEGIN], net.chain[chain, END]
    for position in range(at, end):
        net.offsets[position] += more
    net.chain[chain, WHOLE] += more
    net.chain[chain, NEAREST], net.chain[chain, FARTHEST] = net.offsets[begin], net.offsets[end - 1]
    state.touched[state.size[TOUCHED]] = chain
    state.size[TOUCHED] += 1
    if net.chain_way[chain] >= 0:
        _set_way(net, state, net.chain_way[chain], min(net.chain[chain, WHOLE], longest))


@njit(cache=True)
def _forgotten(net: Net, state: State, logged: int) -> int:
    """Forget what hangs on the vertices in the log; how long the log is then."""
    starts, arcs, found, parent, source, log = net.starts, net.arcs, state.found, state.parent, state.source, state.log
    at = 0
    while at < logged:
        vertex = log[at, 0]
        for arc in range(starts[vertex], starts[vertex + 1]):
            head = arcs[arc, 0]
            if parent[head] == vertex and head != vertex and not source[head]:
                logged = _set(found, parent, log, logged, head, FAR, -1)
        at += 1
    return logged


@njit(cache=True)
def _entered(net: Net, state: State, limit: int, forgotten: int) -> int:
    """Come into what was forgotten from around it: the size of the heap, with the best way into each vertex."""
    arcs, into, tails = net.arcs, net.into, net.tails
    found, parent, heap, log = state.found, state.parent, state.heap, state.log
    size = 0
    for entry in range(forgotten):
        vertex = log[entry, 0]
        best, origin = np.int64(limit), -1
        for position in range(into[vertex], into[vertex + 1]):
            tail = tails[position, 0]
            if found[tail] == FAR:
                continue
            there = np.int64(found[tail]) + arcs[tails[position, 1], 1]
            if there < best:
                best, origin = there, tail
        if best < limit:
            size = push(heap, size, (best << 32) | vertex)
            parent[vertex] = origin
    # Only now may what was forgotten be seen again: above, whatever is reached lies around it.
    for position in range(size):
        found[heap[position] & 0xFFFFFFFF] = heap[position] >> 32
    return size


@njit(cache=True)
def _spread(net: Net, state: State, limit: int, size: int, logged: int) -> int:
    """Carry on from the vertices in the heap (delay and vertex in one key) until nothing gets nearer."""
    starts, arcs, found, parent, heap, log = net.starts, net.arcs, state.found, state.parent, state.heap, state.log
    while size > 0:
        key = heap[0]
        size = pop(heap, size)
        delay, vertex = key >> 32, key & 0xFFFFFFFF
        if delay > found[vertex]:
            continue
        for arc in range(starts[vertex], starts[vertex + 1]):
            head, there = arcs[arc, 0], delay + arcs[arc, 1]
            if there < limit and there < found[head]:
                logged = _set(found, parent, log, logged, head, there, vertex)
                size = push(heap, size, (there << 32) | np.int64(head))
    return logged


@njit(cache=True)
def _mend(net: Net, state: State, limit: int, opened: Array, shut: Array) -> None:
    """Bring `found` and `parent` up to date with the arcs in the log, and with sources opened and shut."""
    arcs, arc_tail, arc_log, changed = net.arcs, net.arc_tail, state.arc_log, state.size[ARCS]
    found, parent, source, heap, log = state.found, state.parent, state.source, state.heap, state.log
    logged = 0
    for vertex in shut:
        source[vertex] = False
        if found[vertex] == 0 and parent[vertex] == vertex:
            logged = _set(found, parent, log, logged, vertex, FAR, -1)
    for at in range(changed):
        arc, before = arc_log[at, 0], arc_log[at, 1]
        head = arcs[arc, 0]
        if arcs[arc, 1] > before and parent[head] == arc_tail[arc] and not source[head]:
            logged = _set(found, parent, log, logged, head, FAR, -1)
    logged = _forgotten(net, state, logged)
    size = _entered(net, state, limit, logged)
    for vertex in opened:
        source[vertex] = True
        if limit > 0:
            logged = _set(found, parent, log, logged, vertex, 0, vertex)
            size = push(heap, size, np.int64(vertex))
    for at in range(changed):
        arc = arc_log[at, 0]
        head, tail = arcs[arc, 0], arc_tail[arc]
        there = np.int64(found[tail]) + arcs[arc, 1]
        if there < limit and there < found[head]:
            logged = _set(found, parent, log, logged, head, there, tail)
            size = push(heap, size, (there << 32) | np.int64(head))
    state.size[LOGGED] = _spread(net, state, limit, size, logged)


@njit(inline="always")
def _first_from(offsets: Array, begin: Whole, end: Whole, least: Whole) -> Whole:
    """The position of the first member whose offset is not below `least`, `end` where there is none."""
    size = end - begin
    while size > 0:
        half = (size + 1) >> 1
        # A choice and no branch: which half it is cannot be foreseen.
        begin = begin + half if offsets[begin + half - 1] < least else begin
        size -= half
    return begin


@njit(inline="always")
def _before_and_after(found: Array, rows: Array, limit: int, chain: Whole) -> tuple[Whole, Whole]:
    """The offsets between which the members of a chain are out of reach: from the one on, and up to the other."""
    second, after = rows[chain, SECOND], np.int64(1) << 62
    if second >= 0:
        after = np.int64(found[second]) + rows[chain, WHOLE] - limit
    return limit - np.int64(found[rows[chain, FIRST]]), after


@njit(inline="always")
def _gap(found: Array, rows: Array, offsets: Array, limit: int, chain: Whole) -> tuple[Whole, Whole]:
    """The members of a chain that are out of reach: from one position on, and up to another."""
    begin, end, nearest, farthest = rows[chain, BEGIN], rows[chain, END], rows[chain, NEAREST], rows[chain, FARTHEST]
    before, after = _before_and_after(found, rows, limit, chain)
    # Offsets never fall along a chain, so most often its first and last member answer for all.
    if farthest < before or nearest > after:
        return begin, begin
    if nearest >= before and farthest <= after:
        return begin, end
    low = _first_from(offsets, begin, end, before)
    return low, max(low, _first_from(offsets, begin, end, after + 1))


@njit(cache=True)
def recount(net: Net, state: State, limit: int, vertices: Array, chains: Array, table: Array) -> None:
    """Bring `held`, `gap` and `table` (a metro each) up to date for all that hangs on `vertices`, and for `chains`."""
    hung = _recount_vertices(net, state, limit, vertices, table)
    # One list for all: to hand the bundles on for each vertex would take longer than what is done there.
    _recount_chains(net, state, limit, _listed(net, state, vertices, chains, hung), table)


@njit(cache=True)
def _recount_vertices(net: Net, state: State, limit: int, vertices: Array, table: Array) -> int:
    """Count vertices, and stamp them: how many chains hang on them, those between two of them twice."""
    found, held, weight, metro, stamp = state.found, state.held, net.weight, net.metro, state.stamp
    starts, hung = net.hosted_starts, 0
    state.size[TURN] += 1
    turn = state.size[TURN]
    for vertex in vertices:
        if stamp[vertex] == turn:
            continue
        stamp[vertex] = turn
        hung += starts[vertex + 1] - starts[vertex]
        near = found[vertex] < limit
        if near != held[vertex]:
            held[vertex] = near
            # What is not counted has no metro either.
            if weight[vertex]:
                table[metro[vertex]] += weight[vertex] if near else -weight[vertex]
    return hung


@njit(cache=True)
def _listed(net: Net, state: State, vertices: Array, chains: Array, hung: int) -> Array:
    """The `chains` and then, each once, those that hang on the stamped `vertices`."""
    starts, hosted, across, stamp, turn = net.hosted_starts, net.hosted, net.across, state.stamp, state.size[TURN]
    listed, size = np.empty(chains.size + hung, np.int32), chains.size
    listed[:size] = chains
    for vertex in vertices:
        if stamp[vertex] != turn:
            continue
        stamp[vertex] = -turn
        for at in range(starts[vertex], starts[vertex + 1]):
            # A chain between two of them waits for the second.
            listed[size] = hosted[at]
            size += across[at] < 0 or stamp[across[at]] != turn
    return listed[:size]


@njit(cache=True)
def _recount_chains(net: Net, state: State, limit: int, chains: Array, table: Array) -> None:
    rows, offsets, upto, metro = net.chain, net.offsets, net.upto, net.metro[state.found.size :]
    found, gap = state.found, state.gap
    for chain in chains:
        low, high = _gap(found, rows, offsets, limit, chain)
        low_before, high_before = gap[chain, 0], gap[chain, 1]
        if low == low_before and high == high_before:
            continue
        gap[chain, 0], gap[chain, 1] = low, high
        if rows[chain, METRO] >= 0:
            table[rows[chain, METRO]] += upto[high_before] - upto[low_before] - (upto[high] - upto[low])
        else:
            _add_members(upto, metro, low_before, high_before, 1, table)
            _add_members(upto, metro, low, high, -1, table)


@njit(cache=True)
def _add_members(upto: Array, metro: Array, begin: Whole, end: Whole, times: int, table: Array) -> None:
    for at in range(begin, end):
        # What is not counted has no metro either.
        if upto[at + 1] != upto[at]:
            table[metro[at]] += times * (upto[at + 1] - upto[at])


@njit(cache=True)
def change(
    net: Net,
    state: State,
    limit: int,
    longest: int,
    links: Array,
    ns: Array,
    opened: Array,
    shut: Array,
) -> None:
    """Give links other delays, open sources and shut some; what was written is in the lists of the state."""
    state.size[LOGGED], state.size[ARCS], state.size[TOUCHED] = 0, 0, 0
    for at in range(links.size):
        _set_link(net, state, links[at], ns[at], longest)
    _mend(net, state, limit, opened, shut)


@njit(cache=True)
def take_back(
    net: Net, state: State, longest: int, links: Array, ns: Array, opened: Array, shut: Array, log: Array
) -> None:
    """Undo a change: its links have the delays `ns` again, and every write of its `log` is undone, the last first."""
    state.size[ARCS], state.size[TOUCHED] = 0, 0
    for at in range(links.size - 1, -1, -1):
        _set_link(net, state, links[at], ns[at], longest)
    for at in range(log.shape[0] - 1, -1, -1):
        state.found[log[at, 0]], state.parent[log[at, 0]] = log[at, 1], log[at, 2]
    for vertex in opened:
        state.source[vertex] = False
    for vertex in shut:
        state.source[vertex] = True


@njit(cache=True)
def _lost(net: Net, state: State, limit: int) -> Whole:
    """The weight that the last change took out of reach."""
    found, held, weight, stamp, log = state.found, state.held, net.weight, state.stamp, state.log
    state.size[TURN] += 1
    turn, lost = state.size[TURN], np.int64(0)
    for entry in range(state.size[LOGGED]):
        vertex = log[entry, 0]
        if stamp[vertex] != turn:
            stamp[vertex] = turn
            if held[vertex] and found[vertex] >= limit:
                lost += weight[vertex]
            chains = net.hosted[net.hosted_starts[vertex] : net.hosted_starts[vertex + 1]]
            lost += _lost_of_chains(net, state, limit, chains)
    return lost + _lost_of_chains(net, state, limit, state.touched[: state.size[TOUCHED]])


@njit(cache=True)
def _lost_of_chains(net: Net, state: State, limit: int, chains: Array) -> Whole:
    """The weight that the last change took out of reach in chains that were not looked at before."""
    rows, offsets, upto, found, gap = net.chain, net.offsets, net.upto, state.found, state.gap
    vertices, stamp, turn, lost = state.found.size, state.stamp, state.size[TURN], np.int64(0)
    for chain in chains:
        if stamp[vertices + chain] == turn:
            continue
        stamp[vertices + chain] = turn
        low, high = _gap(found, rows, offsets, limit, chain)
        # No failure brings anything within reach: the gap only grows.
        lost += upto[high] - upto[low] - (upto[gap[chain, 1]] - upto[gap[chain, 0]])
    return lost


@njit(cache=True)
def _bears(net: Net, state: State, chain: Whole) -> bool:
    """Whether anything in the core is reached through a chain, as fast as by no other way."""
    way = net.chain_way[chain]
    if way < 0:
        return False
    for side in range(2):
        arc = net.way_arcs[way, side]
        fastest = arc >= 0 and net.way_ns[way] == net.arcs[arc, 1]
        if fastest and state.parent[net.arcs[arc, 0]] == net.arc_tail[arc]:
            return True
    return False


@njit(cache=True)
def losses_in_chains(net: Net, state: State, limit: int, links: Array, lost: Array) -> None:
    """Fill in the weight that the loss of each link takes out of reach, where nothing but its chain is concerned.

    `lost` keeps -1 for all other links, which `losses` can tell of.
    """
    rows, offsets, upto, found = net.chain, net.offsets, net.upto, state.found
    place, chain_of, members = net.place, net.chain_of, net.chain_of.size
    checked, bears = -1, False
    low: Whole = np.int64(0)
    high: Whole = np.int64(0)
    for entry in range(links.size):
        at = -2 - place[links[entry]]
        if at < -1:
            continue
        if at == -1:
            lost[entry] = 0
            continue
        chain = chain_of[at] if at < members else at - members
        begin, end = rows[chain, BEGIN], rows[chain, END]
        if chain != checked:
            checked, bears = chain, _bears(net, state, chain)
            before, after = _before_and_after(found, rows, limit, chain)
            low = _first_from(offsets, begin, end, before)
            high = _first_from(offsets, begin, end, after + 1)
        if bears:
            continue
        # Up to the cut only the first end is left, behind it only the second; what lies in the gap was lost before.
        cut = min(at, end) if at < members else end
        left, right = max(low, high), min(low, high)
        lost[entry] = upto[max(cut, left)] - upto[left] + upto[max(cut, right)] - upto[cut]


@njit(cache=True)
def losses(
    net: Net, state: State, limit: int, longest: int, bounds: Array, links: Array, vertex: Array, lost: Array
) -> None:
    """Fill in the weight that each failure takes out of reach, one failure after the other, each taken back.

    Failure i cuts `links[bounds[i] : bounds[i + 1]]` and shuts the source `vertex[i]`, where that is one (-1: none).
    """
    none, before, cut = np.empty(0, np.int32), np.empty(links.size, np.int32), np.full(links.size, longest, np.int32)
    for failure in range(vertex.size):
        mine = links[bounds[failure] : bounds[failure + 1]]
        for at in range(mine.size):
            before[at] = net.link_ns[mine[at]]
        gone = vertex[failure : failure + 1]
        shut = gone if gone[0] >= 0 and state.source[gone[0]] else none
        change(net, state, limit, longest, mine, cut[: mine.size], none, shut)
        lost[failure] = _lost(net, state, limit)
        log = state.log[: state.size[LOGGED]]
        take_back(net, state, longest, mine, before[: mine.size], none, shut, log)
