"""Who serves whom where what a site can serve is limited: a greatest flow, kept while sites come and go.

Weight flows from groups to their rows, from rows to the choices that reach them, and from choices out. Whole numbers
throughout, so that what is met is met exactly.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numba import njit

from karez.twin.table import Array


class Flow(NamedTuple):
    """A flow on the arcs of a network whose nodes are a source, groups, rows, choices and a sink, in this order.

    Arcs of node n are `starts[n]` to `starts[n + 1]`, with their head, the arc that leads back, and the `room` that is
    left on them. `into_group`, `into_row`, `out` and `entry` are the arcs of each group, row, choice, and entry of the
    program. `level`, `ahead`, `queue` and `path` are written over.
    """

    starts: Array
    head: Array
    back: Array
    room: Array
    into_group: Array
    into_row: Array
    out: Array
    entry: Array
    level: Array
    ahead: Array
    queue: Array
    path: Array


def flow_of(group: Array, weight: Array, row: Array, choice: Array, *, groups: int, choices: int) -> Flow:
    """The network with no choice taken, no flow yet, and no end to what a group takes.

    `group` and `weight` (int64) are those of rows; `row` and `choice` say which choice reaches which row.
    """
    rows = len(weight)
    first_row, first_choice = 1 + groups, 1 + groups + rows
    sink = first_choice + choices
    ends = first_choice + np.arange(choices)
    tail = np.concatenate([np.zeros(groups, np.int64), 1 + group.astype(np.int64), first_row + row, ends])
    head = np.concatenate(
        [1 + np.arange(groups), first_row + np.arange(rows), first_choice + choice, np.full(choices, sink)]
    )
    room = np.concatenate([np.full(groups, weight.sum()), weight, weight[row], np.zeros(choices, np.int64)])
    arcs = len(tail)
    tails, heads = np.concatenate([tail, head]), np.concatenate([head, tail])
    order = np.argsort(tails, kind="stable")
    place = np.empty(2 * arcs, np.int64)
    place[order] = np.arange(2 * arcs)
    bounds = np.cumsum([0, groups, rows, len(choice), choices])
    into_group, into_row, entry, out = (place[low:high] for low, high in pairwise(bounds))
    nodes = sink + 1
    return Flow(
        starts=np.concatenate([[0], np.cumsum(np.bincount(tails, minlength=nodes))]),
        head=heads[order].astype(np.int32),
        back=place[(order + arcs) % (2 * arcs)],
        room=np.concatenate([room, np.zeros(arcs, np.int64)])[order],
        into_group=into_group,
        into_row=into_row,
        out=out,
        entry=entry,
        level=np.empty(nodes, np.int32),
        ahead=np.empty(nodes, np.int64),
        queue=np.empty(nodes, np.int32),
        path=np.empty(nodes, np.int64),
    )


def served(flow: Flow) -> Array:
    """The weight (int64) of each group that is served."""
    return np.asarray(flow.room[flow.back[flow.into_group]])


def assigned(flow: Flow) -> Array:
    """The weight (int64) that goes over each entry of the program."""
    return np.asarray(flow.room[flow.back[flow.entry]])


@njit(cache=True)
def take(flow: Flow, choice: int, capacity: int) -> None:
    """Let a choice serve so much; `augment` says what."""
    flow.room[flow.out[choice]] = capacity


@njit(cache=True)
def leave(flow: Flow, choice: int) -> int:
    """Let a choice serve nothing any more: the weight that it served, which nobody does now."""
    out = flow.out[choice]
    node = flow.head[flow.back[out]]
    lost = flow.room[flow.back[out]]
    flow.room[out] = flow.room[flow.back[out]] = 0
    for arc in range(flow.starts[node], flow.starts[node + 1]):
        weight = flow.room[arc]
        if arc == out or weight == 0:
            continue
        flow.room[arc] = 0
        flow.room[flow.back[arc]] += weight
        at = flow.head[arc]
        # Of a row, and of a group, the arc that leads back to where its weight comes from is the one to a lower node.
        while at > 0:
            for up in range(flow.starts[at], flow.starts[at + 1]):
                if flow.head[up] < at:
                    flow.room[up] -= weight
                    flow.room[flow.back[up]] += weight
                    at = flow.head[up]
                    break
    return int(lost)


@njit(cache=True)
def augment(flow: Flow) -> int:
    """Serve as much more as can be: the weight that was added.

    Source: E. A. Dinic, "Algorithm for solution of a problem of maximum flow" (1970).
    """
    sink, added = flow.starts.size - 2, np.int64(0)
    while _layered(flow, sink):
        flow.ahead[:] = flow.starts[:-1]
        at, depth = 0, 0
        while True:
            if at == sink:
                least = flow.room[flow.path[0]]
                for step in range(1, depth):
                    least = min(least, flow.room[flow.path[step]])
                added += least
                cut = depth
                for step in range(depth):
                    arc = flow.path[step]
                    flow.room[arc] -= least
                    flow.room[flow.back[arc]] += least
                    if flow.room[arc] == 0 and cut == depth:
                        cut = step
                depth = cut
                at = flow.head[flow.back[flow.path[cut]]]
                continue
            found = False
            while flow.ahead[at] < flow.starts[at + 1]:
                arc = flow.ahead[at]
                if flow.room[arc] > 0 and flow.level[flow.head[arc]] == flow.level[at] + 1:
                    found = True
                    break
                flow.ahead[at] += 1
            if found:
                flow.path[depth] = arc
                depth += 1
                at = flow.head[arc]
            elif depth == 0:
                break
            else:
                depth -= 1
                at = flow.head[flow.back[flow.path[depth]]]
                flow.ahead[at] += 1
    return int(added)


@njit(cache=True)
def _layered(flow: Flow, sink: int) -> bool:
    """Whether anything more gets to the sink, after the steps to each node were counted."""
    flow.level[:] = -1
    flow.level[0] = 0
    flow.queue[0] = 0
    first, last = 0, 1
    while first < last and flow.level[sink] < 0:
        at = flow.queue[first]
        first += 1
        for arc in range(flow.starts[at], flow.starts[at + 1]):
            head = flow.head[arc]
            if flow.room[arc] > 0 and flow.level[head] < 0:
                flow.level[head] = flow.level[at] + 1
                flow.queue[last] = head
                last += 1
    return bool(flow.level[sink] >= 0)
