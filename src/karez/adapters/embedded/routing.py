"""Routes as routers find them: shortest ways within areas, then over the backbone area, split evenly among equals.

Each router keeps its own table. One whose routing is dead or stuck keeps the old one, so tables may contradict each
other; what comes into a loop of them is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from karez.adapters.embedded.plant import Plant
from karez.twin.heap import popped, pushed
from karez.twin.table import Array

# Equal ways that a router splits traffic among at most.
MAX_PATHS = 4
FAR = np.int64(1) << 40


@dataclass(frozen=True)
class Graph:
    """The ways between vertices, by tail (`out_`) and by head (`in_`), and which vertex is in which area."""

    vertices: int
    tail: Array
    head: Array
    out_start: Array
    out_way: Array
    in_start: Array
    in_way: Array
    area: Array
    member: Array


class Paths(NamedTuple):
    """Where traffic flows: nodes are visits of demands to vertices, entries lead from node to node over ways.

    Demand `d` has the nodes from `node_start[d]`, of which the first is its start, and the entries from
    `entry_start[d]`, those of a node one after the other. The entry of its goal leads out, over the way -1. A node that
    no entry leaves knows no way on; what enters the node -1 has come into a loop.
    """

    node_start: Array
    entry_start: Array
    vertex: Array
    entry_tail: Array
    entry_head: Array
    entry_way: Array
    entry_share: Array


def graph(plant: Plant) -> Graph:
    """The graph of all ways that there are."""
    vertices = plant.sites.vertices
    ways = np.flatnonzero(plant.tail >= 0).astype(np.int32)
    numbers, link_area = np.unique(np.append(plant.links.area, 0), return_inverse=True)
    area = np.repeat(link_area[:-1], 2).astype(np.int32)
    member = np.zeros((len(numbers), vertices), np.bool_)
    member[area[ways], plant.tail[ways]] = True
    member[area[ways], plant.head[ways]] = True
    out_start, out_way = _by(plant.tail, ways, vertices)
    in_start, in_way = _by(plant.head, ways, vertices)
    return Graph(vertices, plant.tail, plant.head, out_start, out_way, in_start, in_way, area, member)


def routed(graph: Graph, usable: Array, cost: Array, goals: Array, fresh: Array, fib: Array) -> None:
    """Write the ways that lead on towards each goal into `fib` (goals x vertices x MAX_PATHS, -1: none).

    `usable` and `cost` have a value a way; only routers that are `fresh` (one a vertex) take them in.
    """
    _routed(
        graph.tail,
        graph.head,
        graph.out_start,
        graph.out_way,
        graph.in_start,
        graph.in_way,
        graph.area,
        graph.member,
        usable,
        cost,
        goals,
        fresh,
        fib,
    )


def traced(graph: Graph, start: Array, goal: Array, via: Array, number: Array, fib: Array) -> Paths:
    """The paths of demands between vertices (-1: none); `number` has the row of `fib` of each vertex."""
    size = 64 + 8 * len(start)
    while True:
        paths = Paths(
            node_start=np.zeros(len(start) + 1, np.int32),
            entry_start=np.zeros(len(start) + 1, np.int32),
            vertex=np.zeros(size, np.int32),
            entry_tail=np.zeros(size, np.int32),
            entry_head=np.zeros(size, np.int32),
            entry_way=np.zeros(size, np.int32),
            entry_share=np.zeros(size),
        )
        if _traced(graph.head, start, goal, via, number, fib, *paths):
            return paths
        size *= 2


def _by(ends: Array, ways: Array, vertices: int) -> tuple[Array, Array]:
    """Where the ways of each vertex begin, and the ways sorted by it."""
    order = ways[np.argsort(ends[ways], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(ends[ways], minlength=vertices))])
    return starts.astype(np.int32), order.astype(np.int32)


@njit(cache=True)
def _search(
    tail: Array,
    in_start: Array,
    in_way: Array,
    area: Array,
    usable: Array,
    cost: Array,
    within: int,
    fixed: Array,
    keys: Array,
    values: Array,
    size: int,
    far: Array,
) -> None:
    """Fill in `far`: the cost from each vertex to what the heap holds, by ways of one area; `fixed` ones stay."""
    while size > 0:
        key, vertex = keys[0], values[0]
        size = popped(keys, values, size)
        if key > far[vertex]:
            continue
        for at in range(in_start[vertex], in_start[vertex + 1]):
            way = in_way[at]
            other = tail[way]
            if usable[way] and area[way] == within and not fixed[other] and key + cost[way] < far[other]:
                far[other] = key + cost[way]
                size = pushed(keys, values, size, far[other], other)


@njit(cache=True)
def _write(
    head: Array,
    out_start: Array,
    out_way: Array,
    area: Array,
    usable: Array,
    cost: Array,
    within: int,
    far: Array,
    vertex: int,
    hops: Array,
) -> None:
    """Write the ways of one area that lead on from a vertex at its least cost."""
    count = 0
    hops[:] = -1
    for at in range(out_start[vertex], out_start[vertex + 1]):
        way = out_way[at]
        if count < hops.size and usable[way] and area[way] == within and cost[way] + far[head[way]] == far[vertex]:
            hops[count] = way
            count += 1


@njit(cache=True)
def _routed(
    tail: Array,
    head: Array,
    out_start: Array,
    out_way: Array,
    in_start: Array,
    in_way: Array,
    area: Array,
    member: Array,
    usable: Array,
    cost: Array,
    goals: Array,
    fresh: Array,
    fib: Array,
) -> None:
    areas, vertices = member.shape
    best, far = np.empty(vertices, np.int64), np.empty(vertices, np.int64)
    fixed, none = np.zeros(vertices, np.bool_), np.zeros(vertices, np.bool_)
    keys, values = np.empty(in_way.size + vertices + 1, np.int64), np.empty(in_way.size + vertices + 1, np.int32)
    for number in range(goals.size):
        goal = goals[number]
        best[:] = FAR
        for vertex in range(vertices):
            if fresh[vertex]:
                fib[number, vertex, :] = -1
        # Within the areas that the goal is in.
        for within in range(areas):
            if not member[within, goal]:
                continue
            far[:] = FAR
            far[goal] = 0
            size = pushed(keys, values, 0, 0, goal)
            _search(tail, in_start, in_way, area, usable, cost, within, none, keys, values, size, far)
            for vertex in range(vertices):
                if far[vertex] < best[vertex]:
                    best[vertex] = far[vertex]
                    if fresh[vertex] and vertex != goal:
                        _write(
                            head,
                            out_start,
                            out_way,
                            area,
                            usable,
                            cost,
                            within,
                            far,
                            vertex,
                            fib[number, vertex],
                        )
        if areas == 1:
            continue
        # Over the backbone to a border of such an area, then from any area to a border of the backbone. Nothing passes
        # an area from border to border in place of a backbone that has fallen apart.
        for within in range(areas):
            far[:] = FAR
            size = 0
            for vertex in range(vertices):
                fixed[vertex] = best[vertex] < FAR or (within > 0 and member[0, vertex])
                if best[vertex] < FAR and member[0, vertex] and member[within, vertex]:
                    far[vertex] = best[vertex]
                    size = pushed(keys, values, size, far[vertex], vertex)
            _search(tail, in_start, in_way, area, usable, cost, within, fixed, keys, values, size, far)
            for vertex in range(vertices):
                if not fixed[vertex] and far[vertex] < FAR:
                    best[vertex] = far[vertex]
                    if fresh[vertex]:
                        _write(
                            head,
                            out_start,
                            out_way,
                            area,
                            usable,
                            cost,
                            within,
                            far,
                            vertex,
                            fib[number, vertex],
                        )


@njit(cache=True)
def _traced(
    head: Array,
    start: Array,
    goal: Array,
    via: Array,
    number: Array,
    fib: Array,
    node_start: Array,
    entry_start: Array,
    vertex: Array,
    entry_tail: Array,
    entry_head: Array,
    entry_way: Array,
    entry_share: Array,
) -> bool:
    """Fill in the last seven, which are `Paths`; whether there was room."""
    vertices = fib.shape[1]
    local, done = np.full(vertices, -1, np.int32), np.zeros(vertices, np.bool_)
    wanted, met, ready = np.zeros(vertices, np.int32), np.empty(vertices, np.int32), np.empty(vertices, np.int32)
    nodes = entries = 0
    for demand in range(start.size):
        if start[demand] >= 0 and goal[demand] >= 0:
            stop, over = goal[demand], via[demand]
            # A segment that leads nowhere is as none: the router at the start knows it.
            led = over >= 0 and over not in (start[demand], stop) and fib[number[over], start[demand], 0] >= 0
            here, first = start[demand], nodes
            if nodes >= vertex.size:
                return False
            vertex[nodes] = here
            nodes += 1
            for leg in range(2 if led else 1):
                target = over if led and leg == 0 else stop
                table = fib[number[target]]
                # All that can be met on the way, and how often each.
                count = 1
                met[0] = here
                local[here] = first
                wanted[here] = 0
                at = 0
                while at < count:
                    now = met[at]
                    at += 1
                    done[now] = False
                    if now == target:
                        continue
                    for slot in range(MAX_PATHS):
                        if table[now, slot] < 0:
                            break
                        ahead = head[table[now, slot]]
                        if local[ahead] < 0:
                            if nodes >= vertex.size:
                                return False
                            local[ahead] = nodes
                            vertex[nodes] = ahead
                            nodes += 1
                            wanted[ahead] = 0
                            met[count] = ahead
                            count += 1
                        wanted[ahead] += 1
                # In an order in which each comes after those that lead to it; a loop is cut where it was met first.
                waiting, left, cut = 1, count, 0
                ready[0] = here
                done[here] = True
                while left > 0:
                    if waiting == 0:
                        while done[met[cut]]:
                            cut += 1
                        ready[0], waiting = met[cut], 1
                        done[met[cut]] = True
                    waiting -= 1
                    left -= 1
                    now = ready[waiting]
                    if now == target:
                        if target == stop:
                            if entries >= entry_way.size:
                                return False
                            entry_tail[entries], entry_way[entries] = local[now], -1
                            entry_head[entries], entry_share[entries] = -1, 1.0
                            entries += 1
                        continue
                    width = 0
                    while width < MAX_PATHS and table[now, width] >= 0:
                        width += 1
                    if entries + width > entry_way.size:
                        return False
                    for slot in range(width):
                        ahead = head[table[now, slot]]
                        entry_tail[entries], entry_way[entries] = local[now], table[now, slot]
                        entry_share[entries] = 1.0 / width
                        # What leads back to where it has been goes round until it is dropped.
                        entry_head[entries] = -1 if done[ahead] else local[ahead]
                        entries += 1
                        wanted[ahead] -= 1
                        if wanted[ahead] == 0 and not done[ahead]:
                            done[ahead] = True
                            ready[waiting] = ahead
                            waiting += 1
                reached = local[target]
                for at in range(count):
                    local[met[at]] = -1
                if reached < 0:
                    break
                here, first = target, reached
        node_start[demand + 1], entry_start[demand + 1] = nodes, entries
    return True
