"""Costs stepped through: at no moment, in whatever order routers turn, does a packet go in a circle."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.measure.hitless import steps
from karez.twin.table import Array

HIGHEST = 65_535


def _next_hops(routers: int, ends: Array, cost: Array, destination: int) -> set[tuple[int, int]]:
    """Who sends to whom towards a destination, over all ways of equal cost."""
    graph = nx.Graph()
    graph.add_nodes_from(range(routers))
    for (a, b), each in zip(ends.tolist(), cost.tolist(), strict=True):
        if not graph.has_edge(a, b) or graph[a][b]["weight"] > each:
            graph.add_edge(a, b, weight=each)
    far = nx.single_source_dijkstra_path_length(graph, destination)
    ways = [(*pair, data["weight"]) for a, b, data in graph.edges(data=True) for pair in ((a, b), (b, a))]
    return {(at, to) for at, to, weight in ways if far[at] == far[to] + weight}


def _never_in_circles(routers: int, ends: Array, cost: Array, link: int, goals: tuple[int, ...]) -> bool:
    """Whether no mixture of routers that have turned and such that have not sends in a circle, at any step."""
    for goal in goals:
        after = cost.copy()
        after[link] = goal
        for destination in range(routers):
            told = (_next_hops(routers, ends, each, destination) for each in (cost, after))
            either = nx.DiGraph(set().union(*told))
            if not nx.is_directed_acyclic_graph(either):
                return False
        cost = after
    return True


@st.composite
def networks(draw: st.DrawFn) -> tuple[int, Array, Array, int]:
    """Routers in a ring with chords, whole costs, and one of the links."""
    routers = draw(st.integers(3, 9))
    ring = [(a, (a + 1) % routers) for a in range(routers)]
    chords = draw(st.lists(st.tuples(st.integers(0, routers - 1), st.integers(0, routers - 1)), max_size=8))
    ends = np.array([*ring, *(pair for pair in chords if pair[0] != pair[1])])
    cost = np.array(draw(st.lists(st.integers(1, 12), min_size=len(ends), max_size=len(ends))))
    return routers, ends, cost, draw(st.integers(0, len(ends) - 1))


@settings(max_examples=300, deadline=None)
@given(networks())
def test_a_link_is_drained_and_comes_back_without_a_circle(
    network: tuple[int, Array, Array, int],
) -> None:
    routers, ends, cost, link = network
    up = steps(routers, ends, cost, link, HIGHEST)
    assert up[-1] == HIGHEST
    assert list(up) == sorted(set(up))
    assert _never_in_circles(routers, ends, cost, link, up)
    drained = cost.copy()
    drained[link] = HIGHEST
    down = steps(routers, ends, drained, link, int(cost[link]))
    assert down[-1] == cost[link]
    assert _never_in_circles(routers, ends, drained, link, down)


@settings(max_examples=200, deadline=None)
@given(networks(), st.integers(1, 40))
def test_so_it_is_for_any_other_cost(network: tuple[int, Array, Array, int], goal: int) -> None:
    routers, ends, cost, link = network
    assert _never_in_circles(routers, ends, cost, link, steps(routers, ends, cost, link, goal))


def test_in_a_ring_all_at_once_would_go_in_circles_and_the_steps_do_not() -> None:
    ends = np.array([(a, (a + 1) % 6) for a in range(6)])
    cost = np.full(6, 10)
    assert not _never_in_circles(6, ends, cost, 0, (HIGHEST,))
    up = steps(6, ends, cost, 0, HIGHEST)
    assert len(up) > 1
    assert _never_in_circles(6, ends, cost, 0, up)


def test_where_nothing_could_go_in_circles_there_is_one_step() -> None:
    ends = np.array([(0, 1), (1, 2), (2, 0)])
    assert steps(3, ends, np.array([10, 10, 10]), 0, HIGHEST) == (HIGHEST,)


def test_a_link_without_which_the_network_falls_apart_is_changed_at_once() -> None:
    ends = np.array([(0, 1), (1, 2)])
    assert steps(3, ends, np.array([1, 1]), 0, HIGHEST) == (HIGHEST,)
