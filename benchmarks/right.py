"""Small networks of every odd kind, each vertex's delay and each metro's sum against networkx, to the nanosecond.

Each is asked three times: with a limit that nothing reaches, with the delay of one of its vertices as the limit, and
with one ns more. The yardstick knows no contraction, no buckets and no whole numbers of other widths.
"""

from __future__ import annotations

from collections import Counter

import networkx as nx
import numpy as np

from benchmarks import Figure
from benchmarks.instances.small import Small, small
from karez.measure import reach
from karez.measure.circles import Points, fixed, points
from karez.measure.core import LONGEST_NS
from karez.measure.kernels import FAR
from karez.twin import Twin
from karez.twin.table import Array

NAME = "right"
SEEDS = (1, 2, 3)
NETWORKS = 8_000
SITE_WEIGHT = 3.0


def run() -> list[Figure]:
    """Sums over the seeds: networks, those that differ in anything, and how many there were of each odd kind."""
    wrong, kinds = 0, Counter[str]()
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        for _ in range(NETWORKS):
            case = small(random)
            counted = everything(case.twin)
            ready = reach.prepared(case.twin, case.oneway_ns, np.ones(len(case.oneway_ns), bool), counted)
            expected = _by_networkx(case)
            wrong += any(_differs(ready, case, expected, limit_ns) for limit_ns in _limits(random, case, expected))
            kinds.update(_kinds(case, ready, expected))
    return [
        Figure(what="random small networks", value=len(SEEDS) * NETWORKS, unit="", better="higher", bar=20_000.0),
        Figure(what="networks on which networkx disagrees in anything", value=wrong, unit="", better="lower", bar=0.0),
        *(Figure(what=f"networks with {kind}", value=kinds[kind], unit="", better="higher") for kind in sorted(kinds)),
    ]


def everything(twin: Twin) -> Points:
    """All vertices as what is counted: sites with a weight of their own, then stations with theirs."""
    sites, stations = len(twin["sites"]), points(twin, "station")
    return Points(
        np.concatenate([np.arange(sites), stations.vertex]),
        np.concatenate([np.full(sites, SITE_WEIGHT), stations.weight]),
        np.concatenate([twin.resolve("sites", "metro"), stations.metro]),
    )


def _by_networkx(case: Small) -> Array:
    """The delay of each vertex towards the best target; `FAR` where there is no way or it is too long to count."""
    twin, graph = case.twin, nx.MultiDiGraph()
    vertices = len(twin["sites"]) + len(twin["stations"])
    graph.add_nodes_from(range(vertices))
    ends = (twin.resolve("links", end).tolist() for end in ("a", "b"))
    ways = (twin["links"]["direction"] == b"both").tolist()
    for a, b, both, up, ns in zip(*ends, ways, twin["links"]["up"].tolist(), case.oneway_ns.tolist(), strict=True):
        # Turned round, because the search starts from where the traffic goes.
        if up:
            graph.add_edge(b, a, weight=ns)
        if up and both:
            graph.add_edge(a, b, weight=ns)
    targets = set(case.targets.tolist())
    found = nx.multi_source_dijkstra_path_length(graph, targets) if targets else {}
    return np.array([found.get(v, int(FAR)) if found.get(v, LONGEST_NS) < LONGEST_NS else FAR for v in range(vertices)])


def _limits(random: np.random.Generator, case: Small, expected: Array) -> tuple[int, ...]:
    one = int(random.choice(expected))
    found = min(int(case.oneway_ns.sum()) + 1, LONGEST_NS)
    return (found, one, one + 1) if 0 < one < LONGEST_NS else (found,)


def _differs(ready: reach.Reach, case: Small, expected: Array, limit_ns: int) -> bool:
    within = expected < limit_ns
    if not np.array_equal(ready.delays_ns(case.targets, limit_ns), np.where(within, expected, FAR)):
        return True
    weight, metro = fixed(ready.points.weight), ready.points.metro
    sums = [int(weight[within & (metro == row)].sum()) for row in range(ready.metros)]
    return bool(ready.covered(case.targets, limit_ns).tolist() != sums)


def _kinds(case: Small, ready: reach.Reach, expected: Array) -> list[str]:
    """Which of the odd kinds a network is of."""
    links, chains = case.twin["links"], ready.topology.chains
    ends = np.stack([case.twin.resolve("links", end) for end in ("a", "b")], axis=1)
    between = np.sort(ends, axis=1)
    some = {
        "parallel links": len(np.unique(between, axis=0)) < len(between),
        "zero delays": (case.oneway_ns == 0).any(),
        "one-way links": (links["direction"] == b"forward").any(),
        "links down": not links["up"].all(),
        "delays near the longest that counts": (case.oneway_ns >= LONGEST_NS // 2).any(),
        "parts that nothing reaches": (expected == FAR).any(),
        "no open site": not len(case.targets),
        "chains of several stations": (np.diff(chains.bounds) > 1).any(),
        "dead ends": (chains.second < 0).any(),
        "rings closed on one host": (chains.second == chains.first).any(),
        "rings on two hosts": ((chains.second >= 0) & (chains.second != chains.first)).any(),
        "stations that are hosts": ready.topology.vertices > len(case.twin["sites"]),
    }
    return [kind for kind, there in some.items() if there]
