"""A network on which nothing can be contracted, 5 million vertices: the search itself against scipy's.

Both get the same graph, numbered along the same curve. Sums by metro are part of our time and no part of scipy's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from benchmarks import Figure
from benchmarks.instances.geometric import SITES, VERTICES, geometric, oneway_ns
from benchmarks.instances.nation import BUDGET_US, SEEDS
from karez.measure import reach
from karez.measure.circles import WEIGHT_SCALE, Points, points
from karez.measure.core import topology
from karez.measure.kernels import FAR
from karez.twin import Twin
from karez.twin.table import Array

NAME = "plain"
LIMIT_NS = round(BUDGET_US * 1_000)
TRIALS = 3
T = TypeVar("T")


def run() -> list[Figure]:
    """The worst over the seeds of each figure."""
    trials = [_trial(seed) for seed in SEEDS]
    worst = []
    for same in zip(*trials, strict=True):
        worst.append(max(same, key=lambda figure: figure.value if figure.better == "lower" else -figure.value))
    return worst


def _trial(seed: int) -> list[Figure]:
    twin = geometric(seed)
    counted, delays, targets = points(twin, "station"), oneway_ns(twin), np.arange(SITES)
    for end in ("a", "b"):
        twin.resolve("links", end)
    ready, prepared_s = _timed_s(lambda: _prepared(twin, delays, counted))
    whole, built_s = _timed_s(lambda: _whole(twin, delays))
    wrong, share = _disagreements(ready, whole, targets), _covered_share(ready, targets)
    ours, theirs = [], []
    for _ in range(TRIALS):
        ours.append(_timed_s(lambda: ready.covered(targets, LIMIT_NS))[1])
        theirs.append(_timed_s(lambda: dijkstra(whole, indices=targets, min_only=True, limit=LIMIT_NS))[1])
    ours_s, theirs_s = statistics.median(ours), statistics.median(theirs)
    return [
        Figure(
            what="times faster than scipy, one budget, 5 M vertices",
            value=theirs_s / ours_s,
            unit="",
            better="higher",
            bar=2.5,
        ),
        Figure(what="stations whose delay differs from scipy's", value=wrong, unit="", better="lower", bar=0.0),
        Figure(what="one budget", value=ours_s * 1e3, unit="ms", better="lower", yardstick=theirs_s * 1e3),
        Figure(
            what="preparation, references resolved", value=prepared_s, unit="CPU s", better="lower", yardstick=built_s
        ),
        Figure(what="links", value=len(twin["links"]), unit="", better="higher"),
        Figure(what="vertices of the search", value=ready.topology.vertices, unit="", better="higher"),
        Figure(what=f"coverage at {BUDGET_US:g} us", value=round(share, 4), unit="share", better="higher"),
    ]


def _prepared(twin: Twin, delays: Array, counted: Points) -> reach.Reach:
    made = topology(twin, np.ones(len(delays), bool))
    return reach.timed(made, delays, counted, metros=len(twin["metros"]))


def _whole(twin: Twin, delays: Array) -> csr_array:
    """The graph for scipy, in the types that it works in; no two links join the same two vertices."""
    a, b = (twin.resolve("links", end).astype(np.int32) for end in ("a", "b"))
    both = np.concatenate([delays, delays]).astype(float)
    size = len(twin["sites"]) + len(twin["stations"])
    return csr_array((both, (np.concatenate([a, b]), np.concatenate([b, a]))), shape=(size, size))


def _disagreements(ready: reach.Reach, whole: csr_array, targets: Array) -> int:
    theirs = dijkstra(whole, indices=targets, min_only=True)[ready.points.vertex]
    ours = ready.delays_ns(targets).astype(float)
    ours[ours == FAR] = np.inf
    return int((ours != theirs).sum())


def _covered_share(ready: reach.Reach, targets: Array) -> float:
    return float(ready.covered(targets, LIMIT_NS).sum() / WEIGHT_SCALE / (VERTICES - SITES))


def _timed_s(ask: Callable[[], T]) -> tuple[T, float]:
    begun = time.process_time()
    found = ask()
    return found, time.process_time() - begun
