"""Branch and bound for a sum of money against every choice there is, and its relaxation against scipy's."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import linprog

from karez.plan.covering import branch
from karez.plan.covering.branch import branched, is_branchable
from karez.plan.covering.program import Program
from karez.plan.covering.relax import Solved, bound_of, relaxed
from karez.plan.highs import Enough
from karez.twin.table import Array
from tests.covering import KINDS, best_by_highs, best_of_all, drawn

# Programs: against all choices, and against HiGHS; thinned, and in full.
AGAINST_ALL, AGAINST_HIGHS = (60, 600), (10, 100)
NOTHING = np.zeros(0, np.int64)


def _programs(seed: int, count: int, **size: int | bool) -> Iterator[Program]:
    for number in range(count):
        kind = ("money", "money in groups")[number % 2]
        yield drawn(kind, np.random.default_rng([seed, number]), **size)  # type: ignore[arg-type]


def _from_nothing(program: Program, enough: Enough, pays: float = 0.0) -> tuple[Solved, list[float], list[Array]]:
    """What is found from no choice at all where each row pays such a share of its weight; all bounds and offers."""
    bounds: list[float] = []
    offers: list[Array] = []
    found = branched(program, pays * program.weight, NOTHING, enough, bounds.append, offers.append)
    return found, bounds, offers


def _holds(program: Program, best: int, found: Solved, bounds: list[float], offers: list[Array]) -> None:
    assert found.chosen is not None
    assert program.is_met(found.chosen)
    assert program.value(found.chosen) >= best
    # What rounding may do is taken off by whoever asks.
    rounding = 1e-9 * abs(best) + 1e-6
    assert all(bound <= best + rounding for bound in bounds)
    assert min(found.bound, program.value(found.chosen)) <= best + rounding
    values = [program.value(chosen) for chosen in offers]
    assert all(one > other for one, other in pairwise(values))


# No row is there at first where each pays all of its weight; with one step at a time nodes are seen again and again.
@pytest.mark.parametrize(("pays", "steps"), [(0.0, branch.FIRST_STEPS), (1.0, branch.FIRST_STEPS), (0.0, 1)])
def test_from_nothing_the_best_of_all_choices_is_found_and_no_bound_is_above_it(
    pays: float, steps: int, proof: bool, turning_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(branch, "FIRST_STEPS", steps)
    # Without a search, all comes from the nodes.
    monkeypatch.setattr(branch, "ROUNDS", 0)
    for program in _programs(turning_seed, AGAINST_ALL[proof]):
        best = best_of_all(program)
        assert best is not None
        found, bounds, offers = _from_nothing(program, lambda: False, pays)
        assert found.chosen is not None
        assert program.value(found.chosen) == best
        _holds(program, best, found, bounds, offers)


def test_larger_programs_are_solved_as_by_the_full_integer_program(proof: bool, turning_seed: int) -> None:
    for program in _programs(turning_seed, AGAINST_HIGHS[proof], most_choices=30, most_rows=150, is_tame=True):
        found, _, _ = _from_nothing(program, lambda: False)
        assert found.chosen is not None
        assert program.value(found.chosen) == pytest.approx(best_by_highs(program), abs=1e-3)
        assert found.bound == np.inf


def test_whoever_has_enough_at_any_moment_has_a_choice_and_a_bound(turning_seed: int) -> None:
    for program in _programs(turning_seed, 6):
        best = best_of_all(program)
        assert best is not None
        for calls in range(0, 60, 3):
            left = iter(range(calls))
            found, bounds, offers = _from_nothing(program, lambda left=left: next(left, None) is None)  # type: ignore[misc]
            _holds(program, best, found, bounds, offers)


def test_the_relaxation_with_what_is_too_much_is_that_of_the_program(turning_seed: int) -> None:
    for program in _programs(turning_seed, 30, is_tame=True):
        found = relaxed(program, lambda: False)
        assert found is not None
        bound, _, _ = bound_of(program, found.duals)
        assert bound == pytest.approx(_relaxed_value(program), abs=1e-6 * (1 + program.weight.sum()))


def _relaxed_value(program: Program) -> float:
    """The value of the linear relaxation as it is in textbooks: a row counts for no more than who reaches it."""
    rows, choices = len(program.weight), len(program.price)
    reached = program.matrix.toarray()
    upper = np.block([[-reached, np.eye(rows)], [program.price[None, :].astype(float), np.zeros((1, rows))]])
    limit = np.append(np.zeros(rows), float(program.money or 0))
    cost = np.concatenate([np.zeros(choices), -program.weight.astype(float)])
    return float(program.weight.sum() + linprog(cost, A_ub=upper, b_ub=limit, bounds=(0, 1)).fun)


def test_only_sums_of_money_for_rows_that_need_one_are_branched_on(turning_seed: int) -> None:
    for kind in KINDS:
        program = drawn(kind, np.random.default_rng(turning_seed))
        assert is_branchable(program) == ("money" in kind and bool((program.need == 1).all()))
