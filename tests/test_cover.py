"""Who would be covered by which candidate, against networkx on the network as it is and each point on its own."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import networkx as nx
import numpy as np
import pytest

from benchmarks.instances.small import Small, small
from karez.importers.generate import nation
from karez.measure import cover, reach
from karez.measure.circles import Points, fixed, points
from karez.measure.core import LONGEST_NS
from karez.measure.kernels import FAR
from karez.twin import Table, Twin
from karez.twin.table import Array

NETWORKS = (150, 3_000)
LIMITS_NS = (0, 1, 2, 1_000, 20_000, 20_001, 50_000, 300_000, LONGEST_NS, 2 * LONGEST_NS)
GROUPS = ([0, 0], [0, 1], [1, 0], [-1, 0], [0, -1], [-1, -1])
Weights = dict[tuple[int, frozenset[int]], int]


class Case(NamedTuple):
    """A network, what is counted on it, who may be chosen, and the groups of its metros."""

    prepared: reach.Reach
    network: Small
    candidates: Array
    limit_ns: int
    group: Array


def _case(random: np.random.Generator) -> Case:
    network = small(random)
    sites = len(network.twin["sites"])
    candidates = np.sort(random.permutation(sites)[: random.integers(0, sites + 1)])
    prepared = _prepared(network)
    group = np.array(GROUPS[random.integers(len(GROUPS))])
    return Case(prepared, network, candidates, int(random.choice(LIMITS_NS)), group)


def _prepared(network: Small) -> reach.Reach:
    return reach.prepared(network.twin, network.oneway_ns, network.twin["links"]["up"], _all_points(network.twin))


def _all_points(twin: Twin) -> Points:
    """Every vertex: the sites with a weight of their own, the stations with theirs."""
    sites, stations = len(twin["sites"]), points(twin, "station")
    vertex = np.concatenate([np.arange(sites), stations.vertex])
    weight = np.concatenate([np.full(sites, 3.0), stations.weight])
    return Points(vertex, weight, np.concatenate([twin.resolve("sites", "metro"), stations.metro]))


def _by_networkx(case: Case) -> list[frozenset[int]]:
    """The candidates (positions) nearer than the limit to each vertex, on the network as it is."""
    twin, graph = case.network.twin, nx.MultiDiGraph()
    vertices = len(twin["sites"]) + len(twin["stations"])
    graph.add_nodes_from(range(vertices))
    a, b = twin.resolve("links", "a"), twin.resolve("links", "b")
    for link in np.flatnonzero(twin["links"]["up"]):
        delay = int(case.network.oneway_ns[link])
        if delay > LONGEST_NS:
            continue
        # Turned round, because the search starts from where the traffic goes.
        graph.add_edge(int(b[link]), int(a[link]), weight=delay)
        if twin["links"]["direction"][link] == b"both":
            graph.add_edge(int(a[link]), int(b[link]), weight=delay)
    near: list[set[int]] = [set() for _ in range(vertices)]
    limit_ns = min(case.limit_ns, LONGEST_NS)
    for at, site in enumerate(case.candidates.tolist()):
        for vertex, delay in nx.single_source_dijkstra_path_length(graph, site).items():
            if delay < limit_ns:
                near[vertex].add(at)
    return [frozenset(one) for one in near]


def _by_reach(case: Case) -> list[frozenset[int]]:
    """The same of each point by its delay towards each candidate alone."""
    near: list[set[int]] = [set() for _ in case.prepared.points.vertex]
    for at, site in enumerate(case.candidates):
        delays = case.prepared.delays_ns(np.array([site]), min(case.limit_ns, LONGEST_NS))
        for point in np.flatnonzero(delays < FAR):
            near[point].add(at)
    return [frozenset(one) for one in near]


def _weights(counted: Points, near: list[frozenset[int]], group: Array) -> Weights:
    """The weight of points that the same candidates reach, by group and those candidates."""
    found: Weights = defaultdict(int)
    for weight, metro, reached in zip(fixed(counted.weight), counted.metro, near, strict=True):
        if group[metro] >= 0 and reached:
            found[int(group[metro]), reached] += int(weight)
    return dict(found)


def _told(rows: cover.Rows) -> Weights:
    found: Weights = {}
    for at in range(len(rows.weight)):
        mine = rows.choices[rows.bounds[at] : rows.bounds[at + 1]]
        assert (np.diff(mine) > 0).all()
        key = int(rows.group[at]), frozenset(mine.tolist())
        assert key not in found
        found[key] = int(rows.weight[at])
    return found


def test_who_is_covered_by_whom_is_as_networkx_has_it_for_each_point(proof: bool, turning_seed: int) -> None:
    random, several = np.random.default_rng(turning_seed), 0
    for _ in range(NETWORKS[proof]):
        case = _case(random)
        near = _by_networkx(case)
        assert near == _by_reach(case)
        rows = cover.covering(case.prepared, case.candidates, case.limit_ns, case.group)
        told, counted = _told(rows), case.prepared.points
        assert told == _weights(counted, near, case.group)
        for at, (group, reached) in enumerate(told):
            point = rows.point[at]
            assert near[point] == reached
            assert case.group[counted.metro[point]] == group
        assert [rows.choices.dtype, rows.weight.dtype, rows.bounds.dtype] == [np.int32, np.int64, np.int64]
        several += len(told) > 2
    assert several > NETWORKS[proof] // 20


def test_rows_hang_on_who_reaches_whom_and_not_on_where_tables_list_it(proof: bool, turning_seed: int) -> None:
    random = np.random.default_rng(turning_seed)
    for _ in range(NETWORKS[proof] // 5):
        case = _case(random)
        turned, rows = _renamed(case.network, random)
        one = cover.covering(case.prepared, case.candidates, case.limit_ns, case.group)
        other = cover.covering(_prepared(turned), rows[case.candidates], case.limit_ns, case.group)
        for name in ("bounds", "choices", "weight", "group"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def _renamed(network: Small, random: np.random.Generator) -> tuple[Small, Array]:
    """The same network under other names, and so with its rows in another order; and the new row of each site."""
    twin, delays, rows = network.twin, network.oneway_ns, np.zeros(0, np.int64)
    tables, names = [], dict[bytes, bytes]()
    for name in ("sites", "stations", "links"):
        table = twin[name]
        order = random.permutation(len(table))
        names |= dict(zip(table.ids.tolist(), table.ids[order].tolist(), strict=True))
        columns = {column: table[column] for column in table.columns} | {"id": table.ids[order]}
        if name == "links":
            columns |= {end: np.array([names[one] for one in table[end].tolist()]) for end in ("a", "b")}
            delays = delays[np.argsort(order)]
        if name == "sites":
            rows = order
        if len(table):
            tables.append(Table.of(name, columns))
    return Small(twin.replace(*tables), delays, network.targets), rows


@pytest.fixture(scope="module")
def made() -> reach.Reach:
    twin = nation(stations=20_000, sites=40, seed=5)
    return reach.typical(twin, points(twin, "station"))


@pytest.mark.parametrize("limit_ns", [200_000, 500_000, 1_000_000])
def test_on_a_nation_any_choice_covers_what_a_search_from_it_covers(made: reach.Reach, limit_ns: int) -> None:
    random, sites = np.random.default_rng(limit_ns), len(made.topology.number)
    candidates = np.sort(random.permutation(min(sites, 4_000))[:150])
    candidates = candidates[made.topology.number[candidates] >= 0]
    group = np.arange(made.metros) % 3
    rows = cover.covering(made, candidates, limit_ns, group)
    assert len(rows.weight) < len(made.points.vertex)
    entry_row = np.repeat(np.arange(len(rows.weight)), np.diff(rows.bounds))
    for size in (1, 5, 40):
        picked = np.zeros(len(candidates), bool)
        picked[random.permutation(len(candidates))[:size]] = True
        reached = np.zeros(len(rows.weight), bool)
        reached[entry_row[picked[rows.choices]]] = True
        by_metro = made.covered(candidates[picked], limit_ns)
        for one in range(3):
            assert rows.weight[reached & (rows.group == one)].sum() == by_metro[group == one].sum()


def test_without_candidates_or_within_no_time_there_are_no_rows(made: reach.Reach) -> None:
    group = np.zeros(made.metros, np.int64)
    for candidates, limit_ns in ((np.zeros(0, np.int64), 500_000), (np.arange(5), 0), (np.arange(5), -1)):
        rows = cover.covering(made, candidates, limit_ns, group)
        assert rows.bounds.tolist() == [0]
        assert len(rows.choices) == len(rows.weight) == len(rows.group) == len(rows.point) == 0


def test_a_candidate_listed_twice_is_two_that_are_alike(made: reach.Reach) -> None:
    group, sites = np.zeros(made.metros, np.int64), np.arange(3)
    once = cover.covering(made, sites, 500_000, group)
    twice = cover.covering(made, np.concatenate([sites, sites]), 500_000, group)
    expected = {(g, reached | {at + 3 for at in reached}): weight for (g, reached), weight in _told(once).items()}
    assert _told(twice) == expected
