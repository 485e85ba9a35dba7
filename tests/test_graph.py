"""What a way between some sites can do without."""

from __future__ import annotations

from itertools import permutations

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.twin.graph import bystanders


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14), st.sets(st.integers(0, 7), max_size=3))
@settings(max_examples=200, deadline=None)
def test_no_simple_way_between_two_ends_passes_a_bystander(pairs: list[tuple[int, int]], ends: set[int]) -> None:
    tail, head = (np.array(column, np.int64) for column in ([a for a, _ in pairs], [b for _, b in pairs]))
    out = set(np.flatnonzero(bystanders(tail, head, np.array(sorted(ends), np.int64), 8)).tolist())
    graph = nx.DiGraph(pairs)
    graph.add_nodes_from(range(8))
    for one, other in permutations(sorted(ends), 2):
        for way in nx.all_simple_paths(graph, one, other):
            assert not out & set(way)


def test_rings_and_dead_ends_on_one_site_are_bystanders_and_chains_between_two_are_not() -> None:
    # 0 - 1 joined by 2; a ring 0 - 3 - 4 - 0; a dead end 1 - 5; 6 on its own.
    tail, head = np.array([0, 2, 0, 3, 4, 1]), np.array([2, 1, 3, 4, 0, 5])
    assert bystanders(tail, head, np.array([0, 1]), 7).tolist() == [False, False, False, True, True, True, True]
