"""What machines of chips to add for a nation's day of jobs: how far above the least, and against adding by habit.

The yardstick adds as many chips, to each pool as many as it has by its share of all, and places the same day as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmarks import Figure, figure
from benchmarks.instances.jobs import SETTINGS, nation
from karez.plan.placing import check
from karez.plan.placing.grow import Grown, grown
from karez.plan.placing.program import NONE, Growth, Program
from karez.plan.placing.solve import solved
from karez.plan.rates import machine_of, rates
from karez.twin.table import Array

NAME = "chips"
SEEDS = (1, 2, 3)
SETTING, LIMIT_S, MACHINE, MOST_CHIPS = "jobs-10k", 60.0, 8, 1_024
# What an hour of a chip that is owned costs of what it is rented for: its electricity, about.
RUNNING_SHARE = 0.15
GAP_BAR = 0.06


class Run(NamedTuple):
    """A day without machines, with the best, and with as many by habit (CNY, machines included)."""

    alone_cny: float
    found: Grown
    habit_cny: float
    problems: int
    bound: float
    seconds: float


def run() -> list[Figure]:
    """The gap, and what machines save."""
    return list(_figures([_run(seed) for seed in SEEDS]))


def _figures(runs: list[Run]) -> Iterator[Figure]:
    name = SETTING
    worst = max((one.found.cny - one.bound) / one.bound for one in runs)
    yield figure(f"{name}: proven gap of day and machines, the worst of {len(runs)} seeds", worst, "share", GAP_BAR)
    yield figure(f"{name}: CPU to plan and bound, the longest", max(one.seconds for one in runs), "s", LIMIT_S * 1.1)
    yield figure(f"{name}: limits passed, by the checker", sum(one.problems for one in runs), "", 0.0)
    off = max(abs(one.found.bound / one.bound - 1.0) for one in runs)
    yield figure(f"{name}: bound of the solver against that of the checker", off, "share", 1e-6)
    for seed, one in zip(SEEDS, runs, strict=True):
        machines = int(one.found.more.sum()) // MACHINE
        yield figure(f"{name}, seed {seed}: machines added", machines, "")
        yield figure(
            f"{name}, seed {seed}: cost with them (yardstick: without)",
            one.found.cny / 1e6,
            "M CNY",
            yardstick=one.alone_cny / 1e6,
        )
        yield figure(
            f"{name}, seed {seed}: cost with them (yardstick: as many by the share of chips that there are)",
            one.found.cny / 1e6,
            "M CNY",
            yardstick=one.habit_cny / 1e6,
        )


def _run(seed: int) -> Run:
    given = nation(SETTINGS[SETTING], seed).program
    program, growth = _with_candidates(given)
    alone = solved(given, limit_s=LIMIT_S, seconds=_clock())
    clock = _clock()
    found = grown(program, growth, MACHINE, limit_s=LIMIT_S, seconds=clock, seed=seed)
    seconds = clock()
    seen = check.checked(_with(program, found.more), found.chosen)
    bound = check.grown_bound(program, growth, found.prices)
    there = given.pools.chips.max(axis=1)
    habit = np.zeros(len(growth.cny))
    habit[len(there) :] = np.rint(there / there.sum() * found.more.sum() / MACHINE) * MACHINE
    by_habit = solved(_with(program, habit), limit_s=LIMIT_S, seconds=_clock())
    habit_cny = by_habit.cny + float(growth.cny @ habit)
    return Run(alone.cny, found, habit_cny, len(seen.problems), bound, seconds)


def _with_candidates(program: Program) -> tuple[Program, Growth]:
    """The program with a pool of owned chips, none yet, beside each pool, and what they may grow by."""
    pools, count, size = program.pools, len(program.pools.site), int(program.menus[-1])
    wider = pools._replace(
        site=np.tile(pools.site, 2),
        kw=np.tile(pools.kw, 2),
        chips=np.concatenate([pools.chips, np.zeros_like(pools.chips)]),
        cny=np.concatenate([pools.cny, RUNNING_SHARE * pools.cny]),
    )
    arms = program.arms[:size]
    if len(program.arms) > size or (arms["then"] != NONE).any():
        raise ValueError("an instance with arms of several legs")
    # Menu by menu: its arms, and then the same in owned chips.
    menu = np.repeat(np.arange(len(program.menus) - 1), np.diff(program.menus))
    owned = arms.copy()
    owned["pool"] += count
    order = np.argsort(np.tile(menu, 2), kind="stable")
    each = machine_of(rates(), MACHINE).cny_a_day / MACHINE
    most = np.concatenate([np.zeros(count), np.full(count, float(MOST_CHIPS))])
    return (
        replace(program, pools=wider, arms=np.concatenate([arms, owned])[order], menus=2 * program.menus),
        Growth(np.full(2 * count, each), most),
    )


def _with(program: Program, more: Array) -> Program:
    pools = program.pools
    return replace(program, pools=pools._replace(chips=pools.chips + more[:, None]))


def _clock() -> Callable[[], float]:
    """CPU seconds from now on."""
    begun_s = time.process_time()
    return lambda: time.process_time() - begun_s
