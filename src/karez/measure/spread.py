"""Compiled parts of `routes`: shortest ways to each goal through areas, and what traffic does on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from karez.measure.repair import pop, push
from karez.twin.table import Array

FAR = np.int64(2**62)


class Graph(NamedTuple):
    """Ways and trees as the kernels take them.

    Of each vertex `outof` (V + 1) says where its ways on lie in `ways_out`; `head`, `cost` and `area` are of ways. Of
    each goal and vertex, `label` is the cost to the goal and `by_area` the area of the way on; `order` has the vertices
    from the goal outward, `counts` how many there are. `widest` is the most ways on from one vertex.
    """

    outof: Array
    ways_out: Array
    head: Array
    cost: Array
    area: Array
    label: Array
    by_area: Array
    order: Array
    counts: Array
    widest: int


@njit(cache=True)
def _bits(count):  # type: ignore[no-untyped-def]
    """How many bits the numbers below `count` take: no more, so that of 63 enough are left for the longest way."""
    bits = 0
    while (1 << bits) < count:
        bits += 1
    return bits


@njit(cache=True)
def _search(area, seeds, into, tail, cost, way_area, label, by_area, locked, order, count):  # type: ignore[no-untyped-def]
    """Dijkstra over the ways of one area, from labelled seeds to what was not labelled before; the new `count`."""
    # A key of the heap is the cost of a vertex and, in the lowest bits, its number.
    bits, size = _bits(len(label)), 0
    heap = np.empty(len(tail) + len(seeds), np.int64)
    for vertex in seeds:
        size = push(heap, size, label[vertex] << bits | vertex)
    done = np.zeros(len(label), np.bool_)
    while size:
        head_cost, head = heap[0] >> bits, heap[0] & ((1 << bits) - 1)
        size = pop(heap, size)
        if done[head] or head_cost > label[head]:
            continue
        done[head] = True
        if not locked[head]:
            order[count] = head
            count += 1
        for way in range(into[head], into[head + 1]):
            start = tail[way]
            if cost[way] < 0 or way_area[way] != area or locked[start]:
                continue
            reached = head_cost + cost[way]
            if reached < label[start]:
                label[start], by_area[start] = reached, area
                size = push(heap, size, reached << bits | start)
    for at in range(count):
        locked[order[at]] = True
    return count


@njit(cache=True)
def trees(goals, into, tail, cost, way_area, member, backbone, label, by_area, order, counts):  # type: ignore[no-untyped-def]
    """Fill in, for each goal, the cost from each vertex, the area of its way on, and the vertices outward.

    `into` (V + 1) says where the ways into each vertex lie, `tail` where each begins; a negative `cost` is no way.
    `member` (V x areas) says who has ways of an area. Ways within the goal's areas come first, then over the
    `backbone`, then through the other areas, as OSPF has it (RFC 2328, 16.2); a vertex keeps what it got first.
    """
    areas = member.shape[1]
    for at, goal in enumerate(goals):
        locked = np.zeros(len(into) - 1, np.bool_)
        label[at, goal] = 0
        order[at, 0], count = goal, 1
        locked[goal] = True
        for area in range(areas):
            if member[goal, area]:
                seeds = np.array([goal])
                count = _search(
                    area, seeds, into, tail, cost, way_area, label[at], by_area[at], locked, order[at], count
                )
        for turn in range(2):
            for area in range(areas):
                if member[goal, area] or (area == backbone) != (turn == 0):
                    continue
                near = locked & member[:, area]
                if turn == 1:
                    near &= member[:, backbone]
                seeds = np.flatnonzero(near)
                if len(seeds):
                    count = _search(
                        area, seeds, into, tail, cost, way_area, label[at], by_area[at], locked, order[at], count
                    )
        counts[at] = count


@njit(cache=True)
def _next(graph, goal, vertex, found):  # type: ignore[no-untyped-def]
    """Write the ways on from a vertex, all of equal cost, into `found`; how many there are."""
    size, label = 0, graph.label[goal]
    for at in range(graph.outof[vertex], graph.outof[vertex + 1]):
        way = graph.ways_out[at]
        if graph.cost[way] < 0 or graph.area[way] != graph.by_area[goal, vertex]:
            continue
        ahead = label[graph.head[way]]
        if ahead < label[vertex] and ahead + graph.cost[way] == label[vertex]:
            found[size] = way
            size += 1
    return size


@njit(cache=True)
def load(graph, entering, carried):  # type: ignore[no-untyped-def]
    """Add to `carried` (a way) what enters at each vertex for each goal (`entering`), split evenly over equal ways.

    Returned are the vertices that anything passes, goal after goal, from the farthest inward, and where each goal's
    begin.
    """
    found = np.empty(graph.widest, np.int64)
    passed, size = np.empty(1024, np.int64), 0
    starts = np.zeros(len(graph.counts) + 1, np.int64)
    for goal in range(len(graph.counts)):
        volume = entering[goal].copy()
        for at in range(graph.counts[goal] - 1, -1, -1):
            vertex = graph.order[goal, at]
            if volume[vertex] == 0.0 and at:
                continue
            if size == len(passed):
                passed = np.concatenate((passed, np.empty(size, np.int64)))
            passed[size] = vertex
            size += 1
            count = _next(graph, goal, vertex, found) if at else 0
            for way in found[:count]:
                carried[way] += volume[vertex] / count
                volume[graph.head[way]] += volume[vertex] / count
        starts[goal + 1] = size
    return passed[:size], starts


@njit(cache=True)
def feel(graph, passed, starts, kept, delay, held, slow, hole, share, felt):  # type: ignore[no-untyped-def]
    """Fill in, for each goal and vertex that traffic passes, the share that arrives and its mean delay.

    `passed` and `starts` are of `load`; `kept` and `delay` of ways, `held` and `slow` of vertices, whose own share and
    delay count at each of them. `hole` has, for each goal, a vertex that lets nothing through to it, or -1.
    """
    found = np.empty(graph.widest, np.int64)
    for goal in range(len(graph.counts)):
        first = graph.order[goal, 0]
        share[goal, first], felt[goal, first] = held[first], slow[first]
        for at in range(starts[goal + 1] - 2, starts[goal] - 1, -1):
            vertex = passed[at]
            size = _next(graph, goal, vertex, found)
            arrived, late = 0.0, 0.0
            for way in found[:size]:
                arrived += kept[way] * share[goal, graph.head[way]]
                late += delay[way] + felt[goal, graph.head[way]]
            through = 0.0 if vertex == hole[goal] else held[vertex]
            share[goal, vertex] = through * arrived / size
            felt[goal, vertex] = slow[vertex] + late / size


@njit(cache=True)
def shares(graph, goal_of, start_of):  # type: ignore[no-untyped-def]
    """What share of each leg passes where: leg, way and share of each pair, and leg, vertex and share."""
    found = np.empty(graph.widest, np.int64)
    size = 16 * len(goal_of) + 16
    ways, vertices = np.empty((size, 3)), np.empty((size, 3))
    used_ways, used_vertices = 0, 0
    for leg in range(len(goal_of)):
        goal = goal_of[leg]
        volume = np.zeros(len(graph.outof) - 1)
        volume[start_of[leg]] = 1.0
        for at in range(graph.counts[goal] - 1, -1, -1):
            vertex = graph.order[goal, at]
            if volume[vertex] == 0.0:
                continue
            vertices = _with(vertices, used_vertices, leg, vertex, volume[vertex])
            used_vertices += 1
            count = _next(graph, goal, vertex, found)
            for way in found[:count]:
                volume[graph.head[way]] += volume[vertex] / count
                ways = _with(ways, used_ways, leg, way, volume[vertex] / count)
                used_ways += 1
    return ways[:used_ways], vertices[:used_vertices]


@njit(cache=True)
def _with(rows, used, leg, place, share):  # type: ignore[no-untyped-def]
    """The rows, or a longer copy of them, with one more."""
    if used == len(rows):
        longer = np.empty((2 * used, 3))
        longer[:used] = rows
        rows = longer
    rows[used, 0], rows[used, 1], rows[used, 2] = leg, place, share
    return rows
