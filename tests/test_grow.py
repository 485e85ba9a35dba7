"""What is worth adding to pools, against the integer program of all options and machines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from karez.plan.placing import check
from karez.plan.placing.grow import grown, rounded
from karez.plan.placing.pricing import sorted_by_money
from karez.plan.placing.program import Growth, Program, Used, available
from karez.plan.placing.solve import relaxed
from tests.placing import best_by_highs, drawn

# Programs against the whole integer program; thinned, and in full.
EACH = (25, 200)
MACHINE = 2


def _growing(random: np.random.Generator) -> tuple[Program, Growth]:
    program = drawn(random)
    pools = len(program.pools.site)
    most = random.integers(0, 4, pools) * float(MACHINE)
    return program, Growth(random.uniform(0.2, 6.0, pools), most)


def _with(program: Program, more: np.ndarray) -> Program:
    return replace(program, pools=program.pools._replace(chips=program.pools.chips + more[:, None]))


def _drawn(seed: int, count: int) -> list[tuple[Program, Growth]]:
    return [_growing(np.random.default_rng([seed, number])) for number in range(count)]


def test_what_is_added_is_a_plan_with_a_bound_that_no_plan_is_below(proof: bool, turning_seed: int) -> None:
    best, ours = 0.0, 0.0
    for program, growth in _drawn(turning_seed, EACH[proof]):
        found = grown(program, growth, MACHINE)
        seen = check.checked(_with(program, found.more), found.chosen)
        assert seen.problems == ()
        assert (found.more <= growth.most).all()
        assert (found.more % MACHINE == 0).all()
        assert seen.cny + float(growth.cny @ found.more) == pytest.approx(found.cny, rel=1e-9, abs=1e-6)
        assert check.grown_bound(program, growth, found.prices) == pytest.approx(found.bound, rel=1e-9, abs=1e-6)
        least = best_by_highs(program, growth, MACHINE)
        assert found.bound - 1e-6 <= least <= found.cny + 1e-6
        best, ours = best + least, ours + found.cny
    assert ours <= 1.1 * best


def test_the_relaxation_comes_near_to_the_linear_program_with_growth(turning_seed: int) -> None:
    for program, growth in _drawn(turning_seed, EACH[0]):
        least = best_by_highs(program, growth, whole=False)
        menus = sorted_by_money(replace(program, growth=growth))
        found = relaxed(menus, near_share=0.0, spare_share=0.0)
        if len(program.arms) > program.menus[-1]:
            # Legs that are too large for a pool together, and not each, are options of the relaxation alone.
            continue
        assert found.bound <= least + 1e-6
        assert found.bound >= least - 0.02 * max(abs(least), 1.0)


def test_any_prices_prove_a_bound_whatever_is_added(turning_seed: int) -> None:
    random = np.random.default_rng(turning_seed)
    for program, growth in _drawn(turning_seed + 1, EACH[0]):
        prices = Used(*(random.uniform(0, 3, x.shape) * (random.random(x.shape) < 0.5) for x in available(program)))
        assert check.grown_bound(program, growth, prices) <= best_by_highs(program, growth, MACHINE) + 1e-6


def test_parts_of_machines_are_rounded_up_from_a_share_on_and_never_beyond_what_may_be() -> None:
    growth = Growth(np.ones(4), np.array([16.0, 16.0, 16.0, 4.0]))
    more = np.array([0.5, 4.1, 8.0, 4.0])
    assert rounded(more, growth, 8, 0.5).tolist() == [0.0, 8.0, 8.0, 0.0]
    assert rounded(more, growth, 8, 0.05).tolist() == [8.0, 8.0, 8.0, 0.0]
