"""The best of few options, proven by an integer program: those that any plan better than the best one could take.

Under prices an option costs so much more than the cheapest of its job; where that is more than the room between bound
and best plan, no better plan takes it.
"""

from __future__ import annotations

from typing import Any

import highspy
import numpy as np
from numba import njit

from karez.plan.highs import UNBOUNDED, Enough, Entries, model_of, run, solver_of
from karez.plan.placing.pricing import are_enough, cny_of, peak_of, sums_of, used_by
from karez.plan.placing.program import Chosen, Jobs, Program, Used, available, chips_of, hours_of, nothing
from karez.twin.table import Array

# Programs with more options than this are left to prices.
MOST_OPTIONS = 5_000
# How near to each other values are that rounding alone may part, as a share.
ROUNDING_SHARE = 1e-9


def is_small(program: Program) -> bool:
    """Whether a program has few options at most."""
    menus, jobs = np.diff(program.menus)[program.jobs.menu], program.jobs
    starts = np.where(jobs.elastic, 1, jobs.closes.astype(int) - jobs.opens)
    return int((menus * np.maximum(starts, 0)).sum()) <= MOST_OPTIONS


def proven(
    program: Program, prices: Used, bound: float, chosen: Chosen, cny: float, enough: Enough
) -> tuple[Chosen, float, float] | None:
    """The best plan, its cost and a bound (CNY); None where the solver came to no end.

    `bound` is by `prices`, and `chosen` is a plan for `cny`.
    """
    options = _options(program)
    reduced = cny_of(program, options, sums_of(program, prices))
    least = program.jobs.unserved_cny.copy()
    np.minimum.at(least, options.job, reduced)
    room = cny - bound + ROUNDING_SHARE * abs(cny)
    options = Chosen(*(column[reduced - least[options.job] <= room] for column in options))
    if not len(options.job):
        # No better plan takes anything: either the one that is known takes nothing, or there is none better.
        return chosen, cny, max(bound, cny)
    cost = cny_of(program, options, sums_of(program, nothing(program))) - program.jobs.unserved_cny[options.job]
    solver = solver_of(enough)
    for name, value in (("mip_rel_gap", 0.0), ("mip_abs_gap", 0.0)):
        solver.setOptionValue(name, value)
    solver.passModel(_model(program, options, cost))
    run(solver)
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    count = np.round(np.array(solver.getSolution().col_value)).astype(np.int64)
    taken = count > 0
    best = Chosen(options.job[taken], options.arm[taken], options.start[taken], count[taken])
    value = program.unserved_cny + float(cost @ count)
    least_cny = program.unserved_cny + float(solver.getInfo().mip_dual_bound)
    if value >= cny - ROUNDING_SHARE * abs(cny) or not _is_kept(program, best):
        # What rounding makes of the solver's plan is none, or no better: its bound holds for the plan that is known.
        best, value = chosen, cny
    return best, value, max(bound, min(least_cny, value))


def _options(program: Program) -> Chosen:
    """Every option of every job, once."""
    rows = np.empty((MOST_OPTIONS, 3), np.int64)
    most_chips = program.pools.chips.max(axis=1, initial=0)
    size = _list(program.jobs, program.menus, program.arms, program.loads, most_chips, rows)
    return Chosen(rows[:size, 0], rows[:size, 1], rows[:size, 2], np.ones(size, np.int64))


@njit(cache=True)
def _list(jobs: Jobs, menus: Array, arms: Array, loads: Array, most_chips: Array, rows: Array) -> int:
    size = 0
    for job in range(jobs.number.size):
        peak = peak_of(job, jobs, loads)
        for arm in range(menus[jobs.menu[job]], menus[jobs.menu[job] + 1]):
            if are_enough(arm, chips_of(job, arm, jobs, arms), peak, arms, most_chips):
                for start in range(jobs.opens[job], jobs.closes[job] - hours_of(job, arm, jobs, arms) + 1):
                    rows[size, 0], rows[size, 1], rows[size, 2] = job, arm, start
                    size += 1
    return size


def _model(program: Program, options: Chosen, cost: Array) -> Any:
    jobs, limits = program.jobs, available(program)
    of_jobs: Entries = (options.job, np.arange(len(cost)), np.ones(len(cost)))
    parts, upper = [of_jobs], [jobs.number.astype(float)]
    rows, columns, values = list[int](), list[int](), list[float]()
    size = sum(limit.size for limit in limits)
    for at in range(len(cost)):
        used = used_by(program, Chosen(*(column[at : at + 1] for column in options)))
        flat = np.concatenate([each.ravel() for each in used])
        there = np.flatnonzero(flat)
        rows += (len(jobs.number) + there).tolist()
        columns += [at] * len(there)
        values += flat[there].tolist()
    parts.append((np.array(rows, np.int64), np.array(columns, np.int64), np.array(values)))
    upper.append(np.concatenate([limit.ravel() for limit in limits]).astype(float))
    lower = np.full(len(jobs.number) + size, -UNBOUNDED)
    most = jobs.number[options.job].astype(float)
    return model_of(
        parts, cost=cost, lower=lower, upper=np.concatenate(upper), whole=np.ones(len(cost), bool), most=most
    )


def _is_kept(program: Program, chosen: Chosen) -> bool:
    used = used_by(program, chosen)
    return all(
        bool((each <= limit * (1 + ROUNDING_SHARE) + ROUNDING_SHARE).all())
        for each, limit in zip(used, available(program), strict=True)
    )
