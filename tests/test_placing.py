"""The national solver against the whole integer program, and its parts against plain counting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.instances.jobs import SETTINGS, nation
from karez.plan.placing import check
from karez.plan.placing.live import Live
from karez.plan.placing.machines import on_machines
from karez.plan.placing.pricing import cheapest, cny_of, sorted_by_money, sums_of, unserved, used_by
from karez.plan.placing.program import (
    NONE,
    Chosen,
    Jobs,
    Limits,
    Pools,
    Program,
    Routes,
    Used,
    arms_of,
    available,
    nothing,
)
from karez.plan.placing.relax import HIGHEST_TIMES, Relaxation, bound_of
from karez.plan.placing.solve import Solution, merged, relaxed, solved, whole_of
from tests.placing import best_by_highs, drawn, nobody, options_of

# Programs against the whole integer program, and for each smaller property; thinned, and in full.
AGAINST_HIGHS, EACH = (40, 400), (25, 200)
# What a plan of a thousand jobs may be above its bound.
MOST_GAP_SHARE = 0.06


def _programs(seed: int, count: int) -> list[Program]:
    return [drawn(np.random.default_rng([seed, number])) for number in range(count)]


def _priced(random: np.random.Generator, program: Program) -> Used:
    """Prices at random, many of them nothing."""
    return Used(*(random.uniform(0, 2, x.shape) * (random.random(x.shape) < 0.4) for x in available(program)))


def _holds(program: Program, found: Solution) -> None:
    """A solution says nothing that is not so."""
    said = check.checked(program, found.chosen)
    assert said.problems == ()
    assert said.cny == pytest.approx(found.cny, rel=1e-9, abs=1e-6)
    assert check.bound(program, found.prices) == pytest.approx(found.price_bound, rel=1e-9, abs=1e-6)
    assert found.price_bound <= found.bound <= found.cny + 1e-6 + 1e-9 * abs(found.cny)
    assert [rung.cny for rung in found.rungs] == sorted((rung.cny for rung in found.rungs), reverse=True)


def test_the_price_of_what_there_is_none_of_takes_nothing_from_others(turning_seed: int, proof: bool) -> None:
    """It may grow without end; sums over hours would lose by it what hours after it cost."""
    for number, program in enumerate(_programs(turning_seed, EACH[proof])):
        prices = _priced(np.random.default_rng([turning_seed, number]), program)
        high = Used(
            *(np.where(limit <= 0, 5e12, price) for price, limit in zip(prices, available(program), strict=True))
        )
        highest = HIGHEST_TIMES * float(program.jobs.unserved_cny.max())
        bound = Relaxation(sorted_by_money(program)).prove(high)
        capped = Used(*(np.minimum(price, highest) for price in high))
        assert bound == pytest.approx(check.bound(program, capped), rel=1e-9, abs=1e-6)


def test_small_programs_end_at_the_best_plan_of_the_whole_integer_program(proof: bool, turning_seed: int) -> None:
    for program in _programs(turning_seed, AGAINST_HIGHS[proof]):
        found = solved(program)
        _holds(program, found)
        assert found.cny == pytest.approx(best_by_highs(program), rel=1e-6, abs=1e-5)
        assert found.bound == pytest.approx(found.cny, rel=1e-6, abs=1e-5)


def test_prices_stay_finite_where_steps_drive_them_on() -> None:
    # Of these programs one has a single job, whose price grew with the weight of prices, and that with the price.
    for program in _programs(2_220_649, 14):
        assert all(np.isfinite(prices).all() for prices in relaxed(sorted_by_money(program)).now)


def test_prices_prove_a_bound_and_its_checker_counts_the_same(proof: bool, turning_seed: int) -> None:
    for number, program in enumerate(_programs(turning_seed + 1, EACH[proof])):
        prices = _priced(np.random.default_rng([turning_seed, number]), program)
        menus = sorted_by_money(program)
        found = cheapest(menus, sums_of(menus.program, prices), unserved(program))
        said = bound_of(menus.program, found, prices)
        assert said == pytest.approx(check.bound(program, prices), rel=1e-9, abs=1e-6)
        assert said <= best_by_highs(program) + 1e-6


def test_what_options_cost_and_use_is_what_counting_hour_by_hour_says(proof: bool, turning_seed: int) -> None:
    for number, program in enumerate(_programs(turning_seed + 2, EACH[proof])):
        options = options_of(program)
        if not options:
            continue
        random = np.random.default_rng([turning_seed, number])
        job, arm, start = np.array(options)[random.integers(0, len(options), 5)].T
        chosen = Chosen(job, arm, start, random.integers(1, 4, 5))
        using, money = check.Using(program), 0.0
        for one in zip(*(column.tolist() for column in chosen), strict=True):
            of, by, begin, times = one
            money += times * using.add(of, by, begin, times)
        for ours, theirs in zip(used_by(program, chosen), using.of, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-6)
        cny = cny_of(program, chosen, sums_of(program, nothing(program)))
        assert float(cny @ chosen.number) == pytest.approx(money, rel=1e-6, abs=1e-6)


def test_the_relaxation_comes_near_to_the_linear_program(turning_seed: int) -> None:
    for program in _programs(turning_seed + 3, 10):
        relaxation = Relaxation(sorted_by_money(program))
        bounds = [relaxation.bound]
        for _ in range(30):
            relaxation.step(20)
            relaxation.prove(relaxation.now)
            bounds.append(relaxation.bound)
        assert bounds == sorted(bounds)
        assert relaxation.bound <= best_by_highs(program) + 1e-6


def test_the_checker_finds_what_is_wrong_with_a_plan() -> None:
    program = next(p for p in _programs(5, 200) if len(options_of(p)) > 3 and p.pools.chips.max() > 0)
    job, arm, start = options_of(program)[0]
    one = Chosen(*(np.array([value]) for value in (job, arm, start, 1)))
    many = one._replace(number=np.array([int(program.jobs.number[job]) + 1]))
    assert any("placed" in problem for problem in check.checked(program, many).problems)
    late = one._replace(start=np.array([int(program.jobs.closes[job])]))
    assert any("within its hours" in problem for problem in check.checked(program, late).problems)
    away = one._replace(arm=np.array([int(program.menus[-1])]))
    assert any("not on the menu" in problem for problem in check.checked(program, away).problems)
    full = replace(program, pools=program.pools._replace(chips=np.zeros_like(program.pools.chips)))
    assert any(problem.startswith("chips") for problem in check.checked(full, one).problems)
    assert check.checked(program, nobody()).cny == pytest.approx(program.unserved_cny)


def test_a_price_below_zero_proves_nothing() -> None:
    program = _programs(7, 1)[0]
    prices = nothing(program)
    prices.kw[0, 0] = -1.0
    with pytest.raises(ValueError, match="below zero"):
        check.bound(program, prices)


def test_with_no_jobs_or_nothing_to_lose_there_is_a_plan_of_nothing() -> None:
    program = _programs(3, 1)[0]
    nobody_here = replace(program, jobs=Jobs(*(column[:0] for column in program.jobs)))
    worthless = replace(program, jobs=program.jobs._replace(unserved_cny=0 * program.jobs.unserved_cny))
    for empty in (nobody_here, worthless):
        found = solved(empty)
        _holds(empty, found)
        assert found.bound == pytest.approx(found.cny)


def test_the_same_seed_gives_the_same_plan(turning_seed: int) -> None:
    for program in _programs(turning_seed + 4, 5):
        one, other = solved(program, seed=3), solved(program, seed=3)
        assert [column.tolist() for column in one.chosen] == [column.tolist() for column in other.chosen]
        assert one.bound == other.bound


def test_whoever_has_enough_at_any_moment_has_a_plan_and_a_bound(turning_seed: int) -> None:
    for program in _programs(turning_seed + 5, 3):
        for calls in (0, 1, 3, 10, 40):
            asked = iter(range(10**9))
            found = solved(program, limit_s=calls, seconds=lambda asked=asked: float(next(asked)))  # type: ignore[misc]
            _holds(program, found)


def test_a_thousand_jobs_of_a_nation_are_placed_near_the_bound() -> None:
    program = nation(SETTINGS["jobs-1k"], 1).program
    found = solved(program)
    _holds(program, found)
    assert found.gap_share < MOST_GAP_SHARE


def test_after_a_site_is_lost_the_plan_goes_on_within_its_limits() -> None:
    program = nation(SETTINGS["jobs-1k"], 3).program
    whole = whole_of(sorted_by_money(program))
    chips = program.pools.chips.copy()
    lost = program.pools.site == program.pools.site[np.argmax(chips[:, 0])]
    chips[lost] = 0
    left = replace(whole.menus.program, pools=program.pools._replace(chips=chips))
    after = whole.after(left)
    assert check.checked(left, merged(after)).problems == ()
    elsewhere = (whole.best.arm >= 0) & ~lost[left.arms["pool"][whole.best.arm]]
    assert (after.best.arm[elsewhere] == whole.best.arm[elsewhere]).mean() > 0.5
    assert whole.cny < after.cny < left.unserved_cny


def _gang_and_small(gang_cny: float, chips: list[int]) -> Program:
    """Pools of so many chips for an hour, dearer from one to the next: a gang of 8, and four jobs of one chip."""
    pools = len(chips)
    money = 1.0 + np.arange(float(pools))[:, None]
    return Program(
        Pools(np.arange(pools), np.zeros(pools), np.array(chips)[:, None], money),
        Limits(np.ones((pools, 1)), np.ones((pools, 1)), np.zeros((0, 1)), np.zeros(0)),
        Routes(np.full(1, NONE, np.int32), np.zeros(2, np.int64), np.zeros(0, np.int32)),
        Jobs(
            number=np.array([1, 4], np.int32),
            unserved_cny=np.array([gang_cny, 100.0]),
            opens=np.zeros(2, np.int16),
            closes=np.ones(2, np.int16),
            menu=np.zeros(2, np.int32),
            elastic=np.zeros(2, bool),
            chips=np.array([8.0, 1.0]),
            hours=np.ones(2),
            gb=np.zeros(2),
            load=np.full(2, NONE, np.int32),
            quota=np.full(2, NONE, np.int32),
        ),
        np.array([0, pools]),
        arms_of(np.arange(pools)),
    )


def test_who_is_placed_stays_where_nothing_is_lost() -> None:
    for program in (_gang_and_small(500.0, [8]), nation(SETTINGS["jobs-1k"], 3).program):
        whole = whole_of(sorted_by_money(program))
        after, served = whole.after(whole.menus.program), whole.best.arm >= 0
        assert (after.best.arm[served] == whole.best.arm[served]).all()
        assert (after.best.start[served] == whole.best.start[served]).all()


def test_a_gang_that_lost_its_place_takes_that_of_small_jobs_which_find_another() -> None:
    program = _gang_and_small(800.0, [8, 8, 4])
    whole = whole_of(sorted_by_money(program))
    assert whole.best.arm.tolist() == [0, 1, 1, 1, 1]
    chips = program.pools.chips * np.array([[0], [1], [1]])
    after = whole.after(replace(whole.menus.program, pools=program.pools._replace(chips=chips)))
    assert after.best.arm.tolist() == [1, 2, 2, 2, 2]


def test_jobs_that_come_one_by_one_are_placed_as_if_they_came_together() -> None:
    program = nation(SETTINGS["jobs-1k"], 3).program
    whole = whole_of(sorted_by_money(program))
    together, single = Live.of(whole), Live.of(whole)
    jobs = np.random.default_rng(1).permutation(whole.best.job)
    seats = together.place(jobs)
    some = [single.place(jobs[at : at + 1]) for at in range(len(jobs))]
    assert seats.arm.tolist() == [int(seat.arm[0]) for seat in some]
    assert all((room >= -1e-6).all() for room in together.room)
    served = seats.arm >= 0
    chosen = Chosen(jobs[served], seats.arm[served], seats.start[served], np.ones(int(served.sum()), np.int64))
    said = check.checked(whole.menus.program, chosen)
    assert said.problems == ()
    assert said.cny < program.unserved_cny


def test_who_fits_onto_machines_never_makes_one_too_full() -> None:
    program = nation(SETTINGS["jobs-1k"], 3).program
    whole = whole_of(sorted_by_money(program))
    fits = on_machines(whole.menus.program, whole.best, 8)
    assert not fits[whole.best.arm < 0].any()
    assert 0.9 < fits[whole.best.arm >= 0].mean() <= 1.0
    # Machines as large as their pools take all; machines of one chip, too.
    most = int(program.pools.chips.max())
    for size in (1, most):
        assert on_machines(whole.menus.program, whole.best, size)[whole.best.arm >= 0].all()


def test_an_even_load_is_no_load() -> None:
    program = nation(SETTINGS["jobs-1k"], 2).program
    jobs = program.jobs._replace(load=np.where(program.jobs.elastic, 0, program.jobs.load))
    loaded = replace(program, jobs=jobs, loads=np.ones((1, program.hours)))
    assert Relaxation(sorted_by_money(loaded)).bound == pytest.approx(Relaxation(sorted_by_money(program)).bound)
    prices = Relaxation(sorted_by_money(program)).prices
    assert check.bound(loaded, prices) == pytest.approx(check.bound(program, prices))
