"""C2 coverage of a nation at low, typical and high figures, against networkx on the same links."""

from __future__ import annotations

import time

import networkx as nx
import numpy as np

from benchmarks import Figure
from benchmarks.instances.nation import BUDGET_US, SEEDS, checksums, instance
from karez.measure.circles import access_points, circles, compute_sites
from karez.measure.delay import link_oneway_us
from karez.twin import Twin

NAME = "circles"
DIFFER = "access points on which circles and networkx disagree"


def run() -> list[Figure]:
    """CPU seconds of one answer, the yardstick's for its typical third, and access points on which they disagree."""
    figures = [figure for seed in SEEDS for figure in _measured(seed)]
    differ = sum(figure.value for figure in figures if DIFFER in figure.what)
    return [Figure(what=f"{DIFFER}, all seeds", value=differ, unit="", better="lower", bar=0.0), *figures]


def _measured(seed: int) -> list[Figure]:
    twin = instance(seed)
    sums = checksums(twin, seed)
    start = time.process_time()
    found = circles(twin, budget_us=BUDGET_US)
    ours_s = time.process_time() - start
    start = time.process_time()
    graph, sources = _network(twin)
    built_s = time.process_time() - start
    start = time.process_time()
    # From compute outwards: every link of the instance is the same both ways.
    reached = nx.multi_source_dijkstra_path_length(graph, sources, cutoff=BUDGET_US * 1_000)
    theirs_s = time.process_time() - start
    covered = np.array([reached.get(int(row), np.inf) < BUDGET_US * 1_000 for row in access_points(twin)])
    differ = int((covered != (found.reach_us < BUDGET_US)).sum())
    return [
        Figure(
            what=f"seed {seed}: C2 at low, typical and high figures; yardstick networkx, typical only, graph built",
            value=ours_s,
            unit="CPU s",
            better="lower",
            yardstick=theirs_s,
        ),
        Figure(
            what=f"seed {seed}: the same, with the time that networkx takes to build its graph",
            value=ours_s,
            unit="CPU s",
            better="lower",
            yardstick=built_s + theirs_s,
        ),
        Figure(what=f"seed {seed}: {DIFFER}", value=differ, unit="", better="lower"),
        *sums,
    ]


def _network(twin: Twin) -> tuple[nx.Graph, list[int]]:
    """The links in networkx with delays in whole nanoseconds, and the compute sites."""
    ends = (twin.resolve("links", "a").tolist(), twin.resolve("links", "b").tolist())
    delay_ns = np.rint(link_oneway_us(twin, figures="typical") * 1_000).astype(int).tolist()
    graph = nx.Graph()
    graph.add_weighted_edges_from(zip(*ends, delay_ns, strict=True))
    return graph, compute_sites(twin).tolist()
