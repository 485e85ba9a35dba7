"""Covering programs with capacity against brute force over all choices, with networkx for who serves whom."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from karez.plan.covering import capacity, flow, ladder, search
from karez.plan.covering.program import Program, fixed, merged
from karez.plan.covering.relax import Duals, bound_of, relaxed
from karez.twin.table import Array

SMALL_SEEDS = range(40)


def program_of(seed: int, *, rows: int = 12, choices: int = 7, groups: int = 2, scale: int = 1) -> Program:
    """A random program whose capacities bind, and that all choices together meet; `scale` is that of weights."""
    rng = np.random.default_rng(seed)
    reach = rng.random((rows, choices)) < rng.uniform(0.2, 0.7)
    reach[np.arange(rows), rng.integers(0, choices, rows)] = True
    weight = rng.integers(scale, 1_000 * scale, rows)
    group = np.sort(rng.integers(0, groups, rows))
    _, choice = np.nonzero(reach)
    made = Program(
        bounds=np.concatenate([[0], np.cumsum(reach.sum(axis=1))]),
        choices=choice.astype(np.int32),
        weight=weight,
        group=group,
        need=np.ones(rows, np.int64),
        price=rng.integers(0 if seed % 5 == 0 else 1, 100, choices),
        demand=np.zeros(groups, np.int64),
        wanted=groups,
        capacity=np.where(rng.random(choices) < 0.8, rng.integers(50 * scale, 1_500 * scale, choices), 2**62),
    )
    return replace(made, demand=np.floor(most(made) * rng.uniform(0.3, 1.0)).astype(np.int64))


def most(program: Program) -> Array:
    """What all choices serve of each group, the first group's share first."""
    return program.covered(np.arange(len(program.price)))


def flow_by_networkx(program: Program, chosen: Array, asked: Array) -> int:
    graph = nx.DiGraph()
    graph.add_nodes_from(["from", "to"])
    for group, demand in enumerate(asked.tolist()):
        graph.add_edge("from", ("g", group), capacity=demand)
    for row, (group, weight) in enumerate(zip(program.group.tolist(), program.weight.tolist(), strict=True)):
        graph.add_edge(("g", group), ("r", row), capacity=weight)
    for row, choice in zip(program.row.tolist(), program.choices.tolist(), strict=True):
        graph.add_edge(("r", row), ("c", choice), capacity=2**60)
    assert program.capacity is not None
    for choice in chosen.tolist():
        graph.add_edge(("c", choice), "to", capacity=int(program.capacity[choice]))
    return int(nx.maximum_flow_value(graph, "from", "to"))


def best_by_brute_force(program: Program) -> int:
    every = range(len(program.price))
    return min(
        program.cost(np.array(chosen, np.int64))
        for number in range(len(program.price) + 1)
        for chosen in combinations(every, number)
        if flow_by_networkx(program, np.array(chosen, np.int64), program.demand) == program.demand.sum()
    )


@pytest.mark.parametrize("seed", range(60))
def test_choices_that_come_and_go_leave_the_greatest_flow(seed: int) -> None:
    program, rng = program_of(seed, rows=15, choices=8, groups=3), np.random.default_rng(seed)
    made, chosen = program.serving(np.zeros(0, np.int64), program.demand), set[int]()
    for _ in range(25):
        choice = int(rng.integers(8))
        if choice in chosen:
            before = int(flow.served(made).sum())
            lost = flow.leave(made, choice)
            assert flow.served(made).sum() == before - lost
            chosen.discard(choice)
        else:
            flow.take(made, choice, program.capacities[choice])
            chosen.add(choice)
        flow.augment(made)
        assert flow.served(made).sum() == flow_by_networkx(program, np.array(sorted(chosen)), program.demand)
        by_entry = flow.assigned(made)
        assert (by_entry >= 0).all()
        assert (np.bincount(program.row, by_entry, 15) <= program.weight).all()
        assert (np.bincount(program.choices, by_entry, 8) <= program.capacities).all()


def test_what_is_covered_serves_demands_first_and_then_as_much_as_can_be() -> None:
    for seed in range(60):
        program = program_of(seed)
        chosen = np.flatnonzero(np.random.default_rng(seed).random(7) < 0.6)
        covered = program.covered(chosen)
        assert covered.sum() == flow_by_networkx(program, chosen, np.full(2, 2**60))
        met = flow_by_networkx(program, chosen, program.demand) == program.demand.sum()
        assert program.is_met(chosen) == met


def test_the_ladder_finds_what_brute_force_does(proof: bool) -> None:
    binding = 0
    for seed in range(400 if proof else len(SMALL_SEEDS)):
        program = program_of(seed, groups=1 + seed % 2)
        made = ladder.climb(program)
        best = best_by_brute_force(program)
        assert made.value == best, seed
        assert ladder.is_closed(made), seed
        assert made.bound <= best + 1e-6, seed
        binding += ladder.climb(replace(program, capacity=None)).value < best
    assert binding > len(SMALL_SEEDS) // 4


@pytest.mark.parametrize("scale", [1, 10**9])
def test_the_ladder_equals_the_full_integer_program(scale: int, proof: bool) -> None:
    for seed in range(300 if proof else 12):
        program = program_of(seed, rows=60, choices=15, groups=1 + seed % 4, scale=scale)
        made = ladder.climb(program)
        assert program.is_met(made.chosen)
        assert ladder.is_closed(made), seed
        assert made.value == pytest.approx(best_by_highs(program), abs=1e-3), seed


def best_by_highs(program: Program) -> float:
    """The least price, by the formulation with a column for each choice and each entry, all at once."""
    choices, entries, rows, groups = map(len, (program.price, program.choices, program.weight, program.demand))
    largest, at = program.weight.max(), np.arange(entries)
    weight, capacity = program.weight[program.row] / largest, program.capacities / largest
    flows = np.zeros((rows + groups + choices + entries, choices + entries))
    flows[program.row, choices + at] = 1.0
    flows[rows + program.group[program.row], choices + at] = -weight
    flows[rows + groups + program.choices, choices + at] = weight
    flows[rows + groups + np.arange(choices), np.arange(choices)] = -capacity
    flows[rows + groups + choices + at, choices + at] = 1.0
    flows[rows + groups + choices + at, program.choices] = -1.0
    most = np.concatenate([np.ones(rows), -program.demand / largest * (1 - 1e-9), np.zeros(choices + entries)])
    found = milp(
        np.concatenate([program.price, np.zeros(entries)]),
        constraints=LinearConstraint(flows, -np.inf, most),
        integrality=(np.arange(choices + entries) < choices).astype(int),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0.0},
    )
    assert found.success
    return float(found.fun)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 3.0))
def test_no_duals_prove_more_than_is_so(seed: int, size: float) -> None:
    program, rng = program_of(seed % 500, rows=8, choices=5), np.random.default_rng(seed)
    group = rng.random(2) * size * program.price.mean() / program.weight.mean()
    row = rng.random(8) * (group[program.group] * program.weight) * rng.uniform(0.5, 1.5)
    bound, valid, _ = bound_of(program, Duals(row, group))
    assert bound <= best_by_brute_force(program) + 1e-6
    assert (valid.row <= valid.group[program.group] * program.weight * (1 + 1e-12)).all()


def test_the_relaxation_proves_its_own_value() -> None:
    for seed in range(60):
        program = program_of(seed)
        found = relaxed(program, lambda: False)
        assert found is not None
        bound, _, _ = bound_of(program, found.duals)
        assert bound == pytest.approx(float(found.choice @ program.price), rel=1e-5, abs=0.1), seed


def test_what_a_choice_is_worth_is_a_fractional_knapsack() -> None:
    program = program_of(3)
    row = np.random.default_rng(3).random(12) * program.weight
    for choice, value in enumerate(capacity.worth(program, row)):
        mine = sorted(program.row[program.choices == choice], key=lambda at: -row[at] / program.weight[at])
        left, best = float(program.capacities[choice]), 0.0
        for at in mine:
            part = min(1.0, left / program.weight[at])
            best, left = best + part * row[at], left - part * program.weight[at]
        assert value == pytest.approx(best)


def test_taken_choices_stay_at_no_price_and_those_left_out_are_gone() -> None:
    for seed in range(40):
        program = program_of(seed)
        taken, left = np.zeros(7, bool), np.zeros(7, bool)
        taken[0] = left[1] = True
        small = fixed(program, taken, left)
        for chosen in combinations([0, 2, 3, 4, 5, 6], 3):
            inside = np.searchsorted(small.free, chosen)
            assert (small.program.covered(inside) >= 0).all()
            assert small.program.is_met(inside) == program.is_met(np.array(chosen))
            assert small.program.cost(inside) == program.cost(np.array(chosen)) - program.price[0] * (0 in chosen)


def test_rows_that_the_same_choices_reach_are_one_and_serve_the_same() -> None:
    for seed in range(40):
        program = program_of(seed, rows=25, choices=4)
        few, _ = merged(program)
        assert len(few.weight) < len(program.weight)
        chosen = np.array([0, 2])
        assert few.covered(chosen).sum() == program.covered(chosen).sum()
        assert few.is_met(chosen) == program.is_met(chosen)


def test_greedy_meets_demands_and_has_nothing_needless() -> None:
    for seed in range(40):
        program = program_of(seed)
        chosen = search.greedy(program)
        assert program.is_met(chosen)
        for one in chosen:
            assert not program.is_met(np.setdiff1d(chosen, [one]))
