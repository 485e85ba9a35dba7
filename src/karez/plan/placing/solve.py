"""A placing program solved: a whole plan, a bound for all plans, and the price of everything that is shared.

First prices that leave a little of everything unused (`relax`), then whole plans by them (`whole`), each pass and each
exchange as long as it helps. Where few options are left that any better plan could take, an integer program proves the
best (`exact`). The bound comes from prices alone, and anyone can compute it again from them (`check.bound`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from karez.plan.highs import Enough
from karez.plan.placing import exact
from karez.plan.placing.pricing import Sorted, sorted_by_money
from karez.plan.placing.program import NONE, Chosen, Jobs, Program, Used
from karez.plan.placing.relax import Relaxation
from karez.plan.placing.whole import Whole, begun

# Steps of the relaxation: few at a time while options are lacking, more later; and when it is looked at how far it is:
# after so many rounds, and again whenever as many have passed as in the last of these. A look takes as long as a round.
STEPS, LOOKS = (5,) * 16 + (10,) * 16 + (20,) * 28 + (40,), (4, 8)
# What the relaxation leaves unused, for as many classes as this at least; and when it ends: the gain from look to look.
SPARE_SHARE, SPARE_FROM, RELAXED_SHARE = 0.02, 1_000, 0.0004
MOST_ROUNDS = 400
# The relaxation has so much of the time that there is.
RELAXED_UNTIL_SHARE = 0.7
# Passes end with so many in a row that gain less than this share, or after so many; exchanges with a batch of tries (a
# share of the jobs) that gains less than another.
PASSED_SHARE, VAIN_PASSES, MOST_PASSES, TRIES_SHARE, LEAST_TRIES, EXCHANGED_SHARE = 0.003, 2, 25, 0.05, 2_000, 0.00003


class Rung(NamedTuple):
    """Where the solver was after a part: cost of the best plan and bound (CNY), and seconds so far."""

    name: str
    cny: float
    bound: float
    seconds: float


class Solution(NamedTuple):
    """The best plan, its cost and the bound (CNY), prices that prove `price_bound`, and the way there.

    `bound` is above `price_bound` only where an integer program was solved to its end.
    """

    chosen: Chosen
    cny: float
    bound: float
    prices: Used
    price_bound: float
    rungs: tuple[Rung, ...]

    @property
    def gap_share(self) -> float:
        """How much less any plan could cost at most, as a share of the bound."""
        return (self.cny - self.bound) / abs(self.bound) if self.bound else 0.0


def solved(
    program: Program,
    *,
    limit_s: float = math.inf,
    seconds: Callable[[], float] = lambda: 0.0,
    seed: int = 1,
) -> Solution:
    """The best plan and bound by `limit_s` of the clock `seconds`, or sooner where more brings little.

    What is chosen names arms by their rows in the program as it was given.
    """

    def enough() -> bool:
        return seconds() >= limit_s

    menus = sorted_by_money(program)
    relaxation = relaxed(menus, lambda: seconds() >= RELAXED_UNTIL_SHARE * limit_s)
    rungs = [Rung("relaxed", program.unserved_cny, relaxation.bound, seconds())]
    whole = begun(menus, relaxation.now, relaxation.columns, relaxation.found)
    pass_on(whole, enough)
    rungs.append(Rung("passes", whole.cny, relaxation.bound, seconds()))
    exchange(whole, enough, seed)
    rungs.append(Rung("exchanged", whole.cny, relaxation.bound, seconds()))
    chosen, cny, bound = merged(whole), whole.cny, relaxation.bound
    if exact.is_small(menus.program) and not enough():
        best = exact.proven(menus.program, relaxation.prices, bound, chosen, cny, enough)
        if best is not None:
            chosen, cny, bound = best
            rungs.append(Rung("exact", cny, bound, seconds()))
    given = chosen._replace(arm=menus.order[chosen.arm])
    return Solution(given, cny, bound, relaxation.prices, relaxation.bound, tuple(rungs))


def compile_for(program: Program) -> None:
    """Have all that solves programs like this one compiled, by solving its first job alone; nothing where it is."""
    jobs = program.jobs
    if not len(jobs.number):
        return
    first, end = program.menus[jobs.menu[0]], program.menus[jobs.menu[0] + 1]
    arms = program.arms[first:end].copy()
    arms["then"] = NONE
    alone = Jobs(*(column[:1].copy() for column in jobs))
    alone.menu[:], alone.number[:] = 0, 1
    menus = np.array([0, len(arms)], program.menus.dtype)
    solved(replace(program, jobs=alone, menus=menus, arms=arms, growth=None))


def whole_of(
    menus: Sorted, *, limit_s: float = math.inf, seconds: Callable[[], float] = lambda: 0.0, seed: int = 1
) -> Whole:
    """A whole plan and the prices that made it, to go on with: when something is lost, or jobs come one by one."""
    relaxation = relaxed(menus, lambda: seconds() >= RELAXED_UNTIL_SHARE * limit_s)
    whole = begun(menus, relaxation.now, relaxation.columns, relaxation.found)
    pass_on(whole, lambda: seconds() >= limit_s)
    exchange(whole, lambda: seconds() >= limit_s, seed)
    return whole


def relaxed(
    menus: Sorted,
    enough: Enough = lambda: False,
    *,
    near_share: float = RELAXED_SHARE,
    spare_share: float | None = None,
) -> Relaxation:
    """The relaxation until it gains less than a share from look to look."""
    if spare_share is None:
        spare_share = SPARE_SHARE if len(menus.program.jobs.number) >= SPARE_FROM else 0.0
    relaxation = Relaxation(menus, spare_share)
    before = relaxation.bound
    for round_ in range(MOST_ROUNDS):
        if enough():
            break
        relaxation.step(STEPS[min(round_, len(STEPS) - 1)])
        if round_ + 1 in LOOKS or (round_ + 1) % LOOKS[-1] == 0:
            bound = relaxation.prove(relaxation.now)
            if 0 <= bound - before <= near_share * abs(bound) and bound == relaxation.bound:
                break
            before = bound
    relaxation.prove(relaxation.now)
    return relaxation


def pass_on(whole: Whole, enough: Enough) -> None:
    """Passes over all jobs as long as they help."""
    vain = 0
    for _ in range(MOST_PASSES):
        before = whole.cny
        whole.improve()
        vain = vain + 1 if before - whole.cny < PASSED_SHARE * abs(before) else 0
        if vain >= VAIN_PASSES or enough():
            break


def exchange(whole: Whole, enough: Enough, seed: int) -> None:
    """Exchanges, batch by batch, as long as they help."""
    tries = max(int(TRIES_SHARE * len(whole.best.job)), LEAST_TRIES)
    while not enough():
        before = whole.cny
        whole.exchange(tries, seed)
        seed += 1
        if before - whole.cny <= EXCHANGED_SHARE * abs(before):
            break


def merged(whole: Whole) -> Chosen:
    """The options that are taken, each of them once, and how often."""
    served = np.flatnonzero(whole.best.arm >= 0)
    rows = np.stack([column[served].astype(np.int64) for column in whole.best], axis=1).reshape(-1, 3)
    options, count = np.unique(rows, axis=0, return_counts=True)
    job, arm, start = options.T
    return Chosen(job, arm, start, count)
