"""Forwarding tables of a hundred routers, all pairs: what is wrong after a delta, and with everything looked at anew.

Links are cut one after another: first nobody has heard of it, then half of the routers have turned, then all; then the
link comes back, and then its traffic. A thousand rules stand all the while, of which all hold at first. The yardstick
is a plain check of all destinations in pure Python that looks for loops and black holes, and knows nothing of rules, of
what is lost in part or of who is hit by what; both must say the same pairs are well.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from benchmarks import Figure, figure
from karez.measure.forwarding import KINDS, NONE, Deltas, Finding, Rules, Tables, blank, step, wired
from karez.twin.table import Array

NAME = "forwarding"
SEEDS = (1, 2, 3)
ROUTERS, LINKS, COSTS, PATHS, RULES = 100, 250, (10, 20, 30), 4, 1_000
CUTS, ANEW_TIMES = 100, 11
# Every so many deltas the plain check is made too; they come in fives, of which each has its turn.
PLAIN_EVERY = 7
DELTA_BAR_MS, ANEW_BAR_MS, BAR_MS = 20.0, 50.0, 200.0


@dataclass
class Spent:
    """CPU milliseconds by what was done, and what came of it."""

    delta: list[float] = field(default_factory=list)
    anew: list[float] = field(default_factory=list)
    astray: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    pairs: int = 0
    disagreed: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


def run() -> list[Figure]:
    """CPU time of deltas and of everything anew, the worst over seeds, and where the plain check disagrees."""
    _spent(0, cuts=1)
    spent = [_spent(seed, CUTS) for seed in SEEDS]
    plain = statistics.median(chain.from_iterable(one.plain for one in spent))
    typical, anew, astray = (
        max(statistics.median(times_ms) for times_ms in columns)
        for columns in zip(*((one.delta, one.anew, one.astray) for one in spent), strict=True)
    )
    worst, unit, of = max(max(one.delta) for one in spent), "CPU ms", f"{ROUTERS} routers, all pairs:"
    kinds = sum((one.kinds for one in spent), Counter[str]())
    return [
        figure(f"{of} a delta, median", typical, unit, DELTA_BAR_MS, yardstick=plain),
        figure(f"{of} a delta, worst", worst, unit, BAR_MS, yardstick=plain),
        figure(f"{of} everything anew", anew, unit, ANEW_BAR_MS, yardstick=plain),
        figure(f"{of} everything anew, next hops that lead anywhere", astray, unit, BAR_MS),
        figure("deltas", sum(len(one.delta) for one in spent), "", better="higher"),
        *(figure(f"findings after deltas: {kind}", kinds[kind], "", better="higher") for kind in KINDS),
        figure("pairs looked at by the plain check", sum(one.pairs for one in spent), "", better="higher"),
        figure("pairs on which the plain check disagrees", sum(one.disagreed for one in spent), "", 0.0),
    ]


def _spent(seed: int, cuts: int) -> Spent:
    random, spent = np.random.default_rng(seed), Spent()
    ends, cost = _mesh(random)
    hops = _shortest(ends, cost)
    none = blank(wired(ROUTERS, ends, np.arange(ROUTERS), _rules(random, ends, hops)), PATHS)
    for _ in range(ANEW_TIMES):
        tables, _ = _timed(none, _news(np.full_like(hops, -2), hops), spent.anew)
        _timed(none, _news(np.full_like(hops, -2), _anywhere(random, ends)), spent.astray)
    for link in random.permutation(len(ends))[:cuts].tolist():
        for deltas in _cut(random, ends, cost, hops, link):
            tables, found = _timed(tables, deltas, spent.delta)
            spent.kinds.update(finding.kind for finding in found)
            if len(spent.delta) % PLAIN_EVERY == 0:
                _compare(tables, spent)
    return spent


def _timed(tables: Tables, deltas: Deltas, taken: list[float]) -> tuple[Tables, list[Finding]]:
    begun = time.process_time()
    after, found = step(tables, deltas)
    taken.append((time.process_time() - begun) * 1e3)
    return after, found


def _mesh(random: np.random.Generator) -> tuple[Array, Array]:
    """Links as pairs of routers, a ring and chords, and what they cost."""
    ring = {(at, at + 1) for at in range(ROUTERS - 1)} | {(0, ROUTERS - 1)}
    while len(ring) < LINKS:
        a, b = sorted(random.choice(ROUTERS, 2, replace=False).tolist())
        ring.add((a, b))
    return np.array(sorted(ring)), random.choice(COSTS, LINKS)


def _rules(random: np.random.Generator, ends: Array, hops: Array) -> Rules:
    """Rules of which all hold at first: half of them routers that must be passed, half such that must not."""
    named = random.integers(0, ROUTERS, (3, 100 * RULES))
    source, destination, router = named[:, (np.diff(named, axis=0, append=named[:1]) != 0).all(axis=0)]
    asked = Rules(source, destination, router, np.arange(len(source)) % 2 == 0)
    wiring = wired(ROUTERS, ends, np.arange(ROUTERS), asked)
    tables, _ = step(blank(wiring, PATHS), _news(np.full_like(hops, -2), hops))
    kept = (np.flatnonzero(~tables.broken & (wiring.rules.must_pass == must)) for must in (True, False))
    rows = np.concatenate([random.choice(some, RULES // 2, replace=False) for some in kept])
    return Rules(*(column[rows] for column in wiring.rules))


def _shortest(ends: Array, cost: Array) -> Array:
    """The next hops of shortest ways (D x R x paths); a link that costs inf is not there."""
    there = np.isfinite(cost)
    shape = (ROUTERS, ROUTERS)
    far = dijkstra(coo_array((cost[there], (ends[there, 0], ends[there, 1])), shape).tocsr(), directed=False)
    hops = np.full((*shape, PATHS), NONE)
    for router in range(ROUTERS):
        own = np.flatnonzero((ends == router).any(axis=1))
        ahead = ends[own].sum(axis=1) - router
        good = far[:, ahead] + cost[own] == far[:, [router]]
        order = np.argsort(~good, axis=1, kind="stable")[:, :PATHS]
        hops[:, router, : order.shape[1]] = np.where(np.take_along_axis(good, order, 1), own[order], NONE)
    return hops


def _anywhere(random: np.random.Generator, ends: Array) -> Array:
    """Next hops by chance (D x R x paths): one or two links of each router."""
    hops = np.full((ROUTERS, ROUTERS, PATHS), NONE)
    for router in range(ROUTERS):
        own = np.flatnonzero((ends == router).any(axis=1))
        hops[:, router, 0] = random.choice(own, ROUTERS)
        hops[:, router, 1] = np.where(random.random(ROUTERS) < 0.5, random.choice(own, ROUTERS), NONE)
    return hops


def _news(before: Array, after: Array, routers: Array | None = None) -> Deltas:
    """The rows that differ, of some routers or all."""
    differs = (before != after).any(axis=2)
    if routers is not None:
        differs[:, ~np.isin(np.arange(ROUTERS), routers)] = False
    destination, router = np.nonzero(differs)
    return Deltas(router, destination, after[destination, router])


def _cut(random: np.random.Generator, ends: Array, cost: Array, hops: Array, link: int) -> Iterator[Deltas]:
    """A link goes, half of the routers turn, the others turn, it comes back, all turn back."""
    without = cost.astype(float)
    without[link] = np.inf
    turned = _shortest(ends, without)
    first, rest = np.split(random.permutation(ROUTERS), 2)
    yield Deltas(link=[link], up=[False])
    yield _news(hops, turned, first)
    yield _news(hops, turned, rest)
    yield Deltas(link=[link], up=[True])
    yield _news(turned, hops)


def _compare(tables: Tables, spent: Spent) -> None:
    """The plain check of the same tables, whose lists are made before its time begins."""
    ends, up = tables.wiring.ends.tolist(), tables.up.tolist()
    hops = [[[link for link in links if link != NONE] for links in rows] for rows in tables.hops.tolist()]
    begun = time.process_time()
    well = [_plain(owner, hops[owner], ends, up) for owner in range(ROUTERS)]
    spent.plain.append((time.process_time() - begun) * 1e3)
    spent.pairs += tables.reached.size
    spent.disagreed += int((tables.reached != np.array(well)).sum())


def _plain(owner: int, hops: list[list[int]], ends: list[list[int]], up: list[bool]) -> list[bool]:
    """From which routers all comes to an owner: depth first, where coming back to what is under way is a loop."""
    unseen, under_way, good, bad = 0, 1, 2, 3
    state = [unseen] * len(hops)
    state[owner] = good

    def ahead(router: int) -> list[int]:
        return [sum(ends[link]) - router if up[link] else NONE for link in hops[router]] or [NONE]

    for source in range(len(hops)):
        if state[source] != unseen:
            continue
        state[source], stack = under_way, [(source, ahead(source), 0)]
        while stack:
            router, heads, at = stack.pop()
            if at < len(heads):
                stack.append((router, heads, at + 1))
                if heads[at] != NONE and state[heads[at]] == unseen:
                    state[heads[at]] = under_way
                    stack.append((heads[at], ahead(heads[at]), 0))
            else:
                well = all(head != NONE and state[head] == good for head in heads)
                state[router] = good if well else bad
    return [one == good for one in state]
