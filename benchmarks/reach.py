"""The prepared network at 5 million stations against scipy, on the whole network and on the contracted one.

Times are medians of one thread, with everything warm; what preparation costs is said apart, and so is after how many
questions it has paid.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from benchmarks import Figure, figure
from benchmarks.instances.nation import BUDGET_US, SEEDS
from karez.importers.generate import nation
from karez.measure import reach
from karez.measure.circles import Points, compute_sites, points
from karez.measure.delay import link_oneway_us
from karez.measure.kernels import FAR
from karez.measure.whatif import WhatIf
from karez.twin import Twin
from karez.twin.graph import graph
from karez.twin.table import Array

NAME = "reach"
STATIONS, SITES = 5_000_000, 500
LIMIT_NS = round(BUDGET_US * 1_000)
STEP_NS, STEPS = 10_000, 200
TRIALS = 9
# What is done in turn: one is opened and shut again, one shut and opened, two links cut and given back.
OPEN, ROUNDS, WARM = 100, 200, 20


def run() -> list[Figure]:
    """The worst over the seeds of each figure."""
    trials = [_trial(seed) for seed in SEEDS]
    worst: list[Figure] = []
    for same in zip(*trials, strict=True):
        worst.append(max(same, key=lambda one: one.value if one.better == "lower" else -one.value))
    return worst


def _trial(seed: int) -> list[Figure]:
    twin = nation(stations=STATIONS, sites=SITES, seed=seed)
    counted, targets = points(twin, "station"), compute_sites(twin)
    oneway_ns = np.rint(link_oneway_us(twin, figures="typical") * 1_000).astype(np.int64)
    used = twin["links"]["layer"] == b"optical"
    reach.prepared(twin, oneway_ns, used, counted)
    begun = time.process_time()
    ready = reach.prepared(twin, oneway_ns, used, counted)
    prepared_s = time.process_time() - begun
    whole = graph(twin, np.where(used, link_oneway_us(twin, figures="typical"), np.inf)).backward
    wrong = _disagreements(ready, whole, counted, targets)
    limited_ms = _median_ms(lambda: dijkstra(whole, indices=targets, min_only=True, limit=LIMIT_NS), 3)
    all_ms = _median_ms(lambda: dijkstra(whole, indices=targets, min_only=True), 3)
    core, sources = _contracted(ready), ready.topology.number[targets]
    core_ms = _median_ms(lambda: dijkstra(core, indices=sources, min_only=True, limit=LIMIT_NS))
    covered_ms = _median_ms(lambda: ready.covered(targets, LIMIT_NS))
    searched_ms = _median_ms(lambda: ready.towards(targets, LIMIT_NS))
    delays_ms = _median_ms(lambda: ready.delays_ns(targets))
    curve_ms = _median_ms(lambda: ready.curve(targets, STEP_NS, STEPS))
    changes = _what_ifs(twin, ready, seed)
    return [
        figure("what-if with the new table by metro, median", float(np.median(changes.every_us)), "us", bar=150.0),
        figure(
            "what-if with the new table by metro, p99", float(np.percentile(changes.every_us, 99)), "us", bar=2_000.0
        ),
        figure("what-if of a link in an access chain, median", float(np.median(changes.inner_us)), "us"),
        figure("what-if of a link in an access chain, p99", float(np.percentile(changes.inner_us, 99)), "us"),
        figure("metros whose table differs after all was undone", changes.left_over, "", bar=0.0),
        figure("stations whose delay differs from scipy's, uncontracted", wrong, "", bar=0.0),
        figure("one budget, all metros, 5 M stations", covered_ms, "ms", yardstick=limited_ms),
        figure("times faster than scipy, one budget", limited_ms / covered_ms, "", better="higher", bar=150.0),
        figure("the search alone, on the contracted graph", searched_ms, "ms", yardstick=core_ms),
        figure("times faster than scipy's search, contracted", core_ms / searched_ms, "", better="higher", bar=4.0),
        figure("every budget to 2 ms by 10 us, all metros", curve_ms, "ms", bar=20.0),
        figure("all 5 M delays written", delays_ms, "ms", yardstick=all_ms),
        figure("times faster than scipy, all delays", all_ms / delays_ms, "", better="higher", bar=30.0),
        figure("preparation, references resolved", prepared_s, "CPU s"),
        figure("questions after which preparation has paid", _paid(prepared_s, limited_ms, covered_ms), "", bar=2.0),
    ]


def _disagreements(ready: reach.Reach, whole: csr_array, counted: Points, targets: Array) -> int:
    theirs = dijkstra(whole, indices=targets, min_only=True)[counted.vertex]
    ours = ready.delays_ns(targets).astype(float)
    ours[ours == FAR] = np.inf
    return int((ours != theirs).sum())


class _Changes(NamedTuple):
    """The times of all changes, of those of links in chains, and what was not as before after all were undone."""

    every_us: list[float]
    inner_us: list[float]
    left_over: int


def _what_ifs(twin: Twin, ready: reach.Reach, seed: int) -> _Changes:
    """Many changes with 100 sites open: sites more and less, and links of access and others cut and given back."""
    random = np.random.default_rng(seed)
    core = np.flatnonzero(twin["sites"]["kind"] == b"core")
    chosen = random.choice(core, OPEN + ROUNDS, replace=False).tolist()
    open_, shut = chosen[:OPEN], chosen[OPEN:]
    access = twin["links"]["kind"] == b"access"
    pools = [np.flatnonzero(access), np.flatnonzero(~access)]
    inner = ready.topology.chains.via
    whatif = WhatIf(ready, open_, LIMIT_NS)
    before = whatif.covered
    every, inside = [], []
    for step in range(ROUNDS):
        every += _timed_us(whatif, partial(whatif.add, shut[step]), whatif.undo)
        every += _timed_us(whatif, partial(whatif.remove, open_[step % OPEN]), whatif.undo)
        for pool in pools:
            every += _cut_and_restored_us(whatif, random.choice(pool, 1))
        inside += _cut_and_restored_us(whatif, random.choice(inner, 1))
    return _Changes(every[WARM:], inside[WARM:], int((whatif.covered != before).sum()))


def _cut_and_restored_us(whatif: WhatIf, links: Array) -> list[float]:
    return _timed_us(whatif, partial(whatif.set_links, links, None), partial(whatif.restore, links))


def _timed_us(whatif: WhatIf, *acts: Callable[[], None]) -> list[float]:
    times = []
    for act in acts:
        begun = time.process_time()
        act()
        whatif.covered.sum()
        times.append((time.process_time() - begun) * 1e6)
    return times


def _contracted(ready: reach.Reach) -> csr_array:
    made = ready.topology
    delays = np.ascontiguousarray(ready.timed.arcs[:, 1])
    return csr_array((delays, made.ends, made.starts), shape=(made.vertices, made.vertices))


def _paid(prepared_s: float, theirs_ms: float, ours_ms: float) -> int:
    return int(np.ceil(prepared_s * 1e3 / (theirs_ms - ours_ms)))


def _median_ms(ask: Callable[[], object], trials: int = TRIALS) -> float:
    times = []
    for _ in range(trials):
        begun = time.process_time()
        ask()
        times.append(time.process_time() - begun)
    return statistics.median(times) * 1e3
