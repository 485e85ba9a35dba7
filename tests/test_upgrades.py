"""Sites and upgrades of links together, on networks small enough to try everything."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from karez.measure.cover import Segments
from karez.plan.covering.upgrades import (
    Duals,
    Made,
    Roads,
    Ways,
    bound_of,
    closed,
    planned,
    shares_of,
    smaller,
    ways_of,
)
from karez.twin.table import Array

LIMIT_NS = 100


class Case:
    """A random network: vertices with points, some of them candidates, and links of which some have upgrades."""

    def __init__(self, seed: int) -> None:
        chance = np.random.default_rng(seed)
        self.vertices, links = int(chance.integers(4, 9)), int(chance.integers(4, 12))
        ends = chance.integers(0, self.vertices, (links, 2))
        self.ends = np.unique(np.sort(ends[ends[:, 0] != ends[:, 1]], axis=1), axis=0)
        self.ns = chance.integers(20, 90, len(self.ends))
        self.sources = chance.choice(self.vertices, int(chance.integers(1, 4)), replace=False)
        drawn = np.sort(chance.integers(0, max(len(self.ends), 1), int(chance.integers(0, 6)) * (len(self.ends) > 0)))
        twice = [one for at, one in enumerate(drawn) if (drawn[:at] == one).sum() < 2]
        self.link = np.array(twice, np.int64)
        self.saving = chance.integers(1, 11, len(self.link))
        self.price = chance.integers(0, 12, len(self.sources) + len(self.link)).astype(np.int64)
        self.points = self._points(chance)
        self.total = int(self.points.weight.sum())

    def _points(self, chance: np.random.Generator) -> Segments:
        """On one vertex each, and in rings between two."""
        alone, rings = np.arange(self.vertices), int(chance.integers(0, 4))
        ends = np.stack(
            [np.append(alone, chance.integers(0, self.vertices, rings)), np.full(len(alone) + rings, -1)], 1
        )
        ends[len(alone) :, 1] = chance.integers(0, self.vertices, rings)
        whole = np.where(ends[:, 1] < 0, 0, 60)
        sizes = chance.integers(1, 4, len(ends))
        offsets = [np.sort(chance.integers(0, 60, size)) for size in sizes]
        return Segments(
            ends=ends.astype(np.int32),
            whole=whole.astype(np.int32),
            metro=np.zeros(len(ends), np.int32),
            bounds=np.concatenate([[0], np.cumsum(sizes)]),
            offset=np.concatenate(offsets).astype(np.int32),
            weight=chance.integers(1, 20, int(sizes.sum())).astype(np.int64),
            member=np.arange(int(sizes.sum())),
        )

    @property
    def roads(self) -> Roads:
        """Each link both ways."""
        tail, head = (np.concatenate([self.ends[:, side], self.ends[:, 1 - side]]) for side in (0, 1))
        upgrade = np.full((len(self.ends), 2), -1, np.int32)
        for at, link in enumerate(self.link):
            upgrade[link, int(upgrade[link, 0] >= 0)] = at
        order, both = np.argsort(tail, kind="stable"), np.concatenate([upgrade, upgrade])
        return Roads(
            starts=np.searchsorted(tail[order], np.arange(self.vertices + 1)),
            heads=head[order].astype(np.int32),
            oneway_ns=np.concatenate([self.ns, self.ns])[order],
            one=both[order, 0].copy(),
            two=both[order, 1].copy(),
            saving_ns=self.saving,
        )

    def ways(self) -> Ways:
        """All ways of the case."""
        return ways_of(self.roads, self.points, self.sources, LIMIT_NS)

    def reached(self, chosen: Array) -> int:
        """The weight that parts bring within reach, by scipy on the network with its upgrades."""
        sites, ns = self.sources[chosen[chosen < len(self.sources)]], self.ns.copy()
        for upgrade in chosen[chosen >= len(self.sources)] - len(self.sources):
            ns[self.link[upgrade]] -= self.saving[upgrade]
        if not len(sites):
            return 0
        graph = csr_array((ns.astype(float), (self.ends[:, 0], self.ends[:, 1])), shape=(self.vertices, self.vertices))
        found = dijkstra(graph, directed=False, indices=sites).min(axis=0)
        points = self.points
        segment = np.repeat(np.arange(len(points.ends)), np.diff(points.bounds))
        first, second = points.ends[segment].T
        delay = found[first] + points.offset
        back = np.where(second >= 0, found[second] + points.whole[segment] - points.offset, np.inf)
        return int(points.weight[np.minimum(delay, back) < LIMIT_NS].sum())

    def best(self, demand: int) -> float:
        """The least price of all sets of parts that reach the demand; inf where none does."""
        parts = range(len(self.price))
        sets = chain.from_iterable(combinations(parts, size) for size in range(len(self.price) + 1))
        prices = [self.price[list(one)].sum() for one in sets if self.reached(np.array(one, np.int64)) >= demand]
        return float(min(prices, default=np.inf))


seeds = st.integers(0, 10**6)


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_ways_reach_what_a_search_on_the_upgraded_network_reaches(seed: int) -> None:
    case = Case(seed)
    ways, size = case.ways(), len(case.price)
    assert ways.guesses == 0
    for number in range(2**size):
        chosen = np.flatnonzero([number >> part & 1 for part in range(size)])
        assert ways.reached(chosen, size) == case.reached(chosen)


@given(seeds, st.floats(0.1, 1.0))
@settings(max_examples=60, deadline=None)
def test_no_plan_is_cheaper_than_the_bound_and_the_integer_program_finds_the_cheapest(seed: int, share: float) -> None:
    case = Case(seed)
    demand = max(int(share * case.total), 1)
    best, ways = case.best(demand), case.ways()
    made = planned(ways, case.price, demand, steps=300, rounds=50)
    if made is None:
        assert best == np.inf
        return
    assert made.bound <= best + 1e-6
    assert best <= made.value == case.price[made.chosen].sum()
    assert case.reached(made.chosen) >= demand
    chosen, bound = closed(ways, case.price, demand, made)
    assert case.price[chosen].sum() == best
    assert bound <= best + 1e-6
    assert case.reached(chosen) >= demand


@given(seeds, st.floats(0.1, 1.0))
@settings(max_examples=60, deadline=None)
def test_any_duals_prove_a_bound(seed: int, share: float) -> None:
    case, chance = Case(seed), np.random.default_rng(seed)
    ways, size, demand = case.ways(), len(case.price), max(int(share * case.total), 1)
    shares = shares_of(ways, size)
    duals = Duals(chance.uniform(-1.0, 4.0, len(shares.parts)), chance.uniform(0.0, 1.0))
    bound, _ = bound_of(ways, shares, case.price, demand, duals)
    assert bound <= case.best(demand) + 1e-6


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_a_smaller_program_reaches_the_same_with_what_is_free(seed: int) -> None:
    case = Case(seed)
    ways, size = case.ways(), len(case.price)
    few, done = smaller(ways, case.price, np.zeros(size, bool))
    free = np.flatnonzero(case.price == 0)
    for number in range(2**size):
        chosen = np.flatnonzero([number >> part & 1 for part in range(size)])
        assert few.reached(chosen, size) + done == ways.reached(np.union1d(chosen, free), size)


def line() -> tuple[Roads, Segments]:
    """A site, two links with an upgrade each, and one point that is near enough with both."""
    arcs = Roads(
        starts=np.array([0, 1, 3, 4]),
        heads=np.array([1, 0, 2, 1], np.int32),
        oneway_ns=np.array([55, 55, 55, 55]),
        one=np.array([0, 0, 1, 1], np.int32),
        two=np.full(4, -1, np.int32),
        saving_ns=np.array([6, 6]),
    )
    one = np.array([0], np.int32)
    ends = np.array([[2, -1]], np.int32)
    return arcs, Segments(ends, one, one, np.array([0, 1]), one, np.array([5]), one)


def test_two_upgrades_that_are_worthless_alone_are_bought_together() -> None:
    ways = ways_of(*line(), sources=np.array([0]), limit_ns=LIMIT_NS)
    assert [ways.reached(np.array(one), 3) for one in ([0], [0, 1], [0, 2], [0, 1, 2])] == [0, 0, 0, 5]
    made = planned(ways, np.array([10, 2, 3]), 5)
    assert made is not None
    assert made.chosen.tolist() == [0, 1, 2]
    assert made.value == 15
    assert made.bound == pytest.approx(15, rel=1e-2)


def test_more_upgrades_than_are_followed_make_a_bound_lower_and_are_counted() -> None:
    ways = ways_of(*line(), sources=np.array([0]), limit_ns=LIMIT_NS, most=1)
    assert ways.guesses > 0
    made = planned(ways, np.array([10, 2, 3]), 5)
    assert made is not None
    assert made.bound <= 15


def test_a_target_that_all_parts_together_miss_has_no_plan() -> None:
    ways = ways_of(*line(), sources=np.array([0]), limit_ns=LIMIT_NS)
    assert planned(ways, np.array([10, 2, 3]), 6) is None
    assert planned(ways, np.array([0, 2, 3]), 6) is None


def test_what_open_sites_reach_costs_nothing() -> None:
    ways = ways_of(*line(), sources=np.array([0]), limit_ns=LIMIT_NS)
    made = planned(ways, np.zeros(3, np.int64), 5)
    assert isinstance(made, Made)
    assert (made.value, made.bound) == (0, 0.0)
