"""Coverage plans on a nation of five million stations: how soon which gap is proven, and what HiGHS alone has by then.

CPU seconds of one thread, from the prepared network: rows, ladder and plan count. HiGHS alone gets the program after
rows were made one, and greedy's plan to begin with; its time for the model counts. A gap is between a plan's price and
the best bound known by then: that of the certificate's duals, or that of branch and bound, which no certificate bears.
"""

from __future__ import annotations

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import msgspec

from benchmarks import Figure, figure
from benchmarks.instances.coverage import BUDGETS_US, asked, ground, limits
from benchmarks.instances.nation import SEEDS
from karez.measure.circles import points
from karez.measure.reach import at_figures
from karez.plan.certificate import check_certificate
from karez.plan.coverage import Ask, Coverage, coverage, program_of
from karez.plan.covering import search
from karez.plan.covering.ladder import Rung
from karez.plan.covering.relax import solved

NAME = "coverage"
# By so many CPU seconds, so small a gap; the last is that of a plan proven to be the best.
SOON = ((0.003, 3.0), (0.001, 6.0), (0.0, 15.0))
GIVEN_UP_S, ALONE_S = 60.0, 15.0
LARGER = ((5_000, 0.003, 30.0), (10_000, 0.006, 120.0))
PEAK_BAR_MB = 2_500.0
KINDS_BAR = 0.005
LIMITED = "sites that serve 5,000 to 60,000 of weight"
KINDS: dict[str, tuple[float, dict[str, Any]]] = {
    "75 % of metros each at 75 %": (500.0, {"of": "some", "metros_share": 0.75}),
    "cover that survives the loss of any site": (1_000.0, {"spare": 1}),
    LIMITED: (500.0, {}),
    "phases 2026, 2027, 2028": (
        1_000.0,
        {"phases": ((2026, 0.55), (2027, 0.65), (2028, 0.75)), "discount_share": 0.05},
    ),
}


class Trial(NamedTuple):
    """A plan, the CPU seconds that it took, and whether its certificate held."""

    found: Coverage
    seconds: float
    problems: int


def run() -> list[Figure]:
    """The worst over the seeds of each figure."""
    # A process each, so that the peak is that of one nation and its plans.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        by_seed = list(pool.map(_of_seed, SEEDS))
    return [
        max(same, key=lambda one: one.value if one.better == "lower" else -one.value)
        for same in zip(*by_seed, strict=True)
    ]


def _of_seed(seed: int) -> list[Figure]:
    world = ground(seed)
    twin = world.intended
    # What is prepared once for all questions is not part of any; a first one climbs all rungs and compiles them.
    at_figures(twin, points(twin, "station"), "typical")
    _trial(world, asked(twin, 2_000, seed, BUDGETS_US[0]), GIVEN_UP_S)
    figures, plans = [], []
    for budget_us in BUDGETS_US:
        for unit in (False, True):
            ask = asked(twin, 2_000, seed, budget_us, unit=unit)
            name = f"2k, {budget_us:g} us, {'unit prices' if unit else 'random prices'}"
            trial = _trial(world, ask, GIVEN_UP_S)
            plans.append(trial)
            figures += _soon(name, trial, has_bars=not unit)
            figures += _against_highs(name, world, ask, trial)
    for number, bar, limit_s in LARGER:
        trial = _trial(world, asked(twin, number, seed, BUDGETS_US[0]), limit_s)
        plans.append(trial)
        figures.append(
            figure(f"{number // 1000}k, 500 us, random prices: gap by {limit_s:g} CPU s", _gap(trial), "share", bar)
        )
        figures.append(figure(f"{number // 1000}k, 500 us, random prices: CPU", trial.seconds, "CPU s"))
    for name, (budget_us, terms) in KINDS.items():
        ask = msgspec.structs.replace(asked(twin, 2_000, seed, budget_us), **terms)
        if name == LIMITED:
            ask = msgspec.structs.replace(ask, serves=limits(ask, seed))
        trial = _trial(world, ask, GIVEN_UP_S)
        plans.append(trial)
        what = f"2k, {budget_us:g} us, {name}"
        kind_bar = None if ask.serves else KINDS_BAR
        figures.append(figure(f"{what}: gap by {GIVEN_UP_S:g} CPU s", _gap(trial), "share", kind_bar))
        figures.append(figure(f"{what}: gap that duals alone prove", trial.found.plan.proof.gap_share, "share"))
    problems = sum(trial.problems for trial in plans)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        figure("plans whose certificate the independent checker refused", problems, "", 0.0),
        *figures,
        figure("peak memory of the whole process, nation and all plans", peak_mb, "MB", PEAK_BAR_MB),
    ]


def _trial(world: Any, ask: Ask, limit_s: float) -> Trial:
    begun = time.process_time()

    def seconds() -> float:
        return time.process_time() - begun

    found = coverage(world, ask, at_s=0.0, seconds=seconds, enough=lambda: seconds() >= limit_s)
    took_s = seconds()
    return Trial(found, took_s, len(check_certificate(found.plan, world)))


def _gap(trial: Trial) -> float:
    last = trial.found.rungs[-1]
    return 0.0 if trial.found.is_closed else _share(last)


def _share(rung: Rung) -> float:
    return max(rung.value - rung.bound, 0.0) / rung.value if rung.value else 0.0


def _soon(name: str, trial: Trial, *, has_bars: bool) -> list[Figure]:
    """CPU seconds until each gap; the limit where it was not reached. The bars are those of random prices."""
    found = []
    for gap, bar_s in SOON:
        by = [rung.seconds for rung in trial.found.rungs if _share(rung) <= gap]
        closed_s = [trial.seconds] if trial.found.is_closed else [GIVEN_UP_S]
        what = f"gap <= {gap:.1%}" if gap else "proven to be the best"
        found.append(figure(f"{name}: {what}", min(by + closed_s), "CPU s", bar_s if has_bars else None))
    return found


def _against_highs(name: str, world: Any, ask: Ask, trial: Trial) -> list[Figure]:
    """The gap after as long as HiGHS alone may take."""
    program = program_of(world, ask, at_s=0.0)
    begun = time.process_time()
    start = search.greedy(program)
    theirs_found = solved(program, start, lambda: time.process_time() - begun >= ALONE_S)
    value = program.value(start if theirs_found.chosen is None else theirs_found.chosen)
    bound = max(theirs_found.bound, 0.0)
    mine = [_share(rung) for rung in trial.found.rungs if rung.seconds <= ALONE_S]
    gap = 0.0 if trial.found.is_closed and trial.seconds <= ALONE_S else min(mine)
    theirs = (value - bound) / value if value else 1.0
    return [figure(f"{name}: gap by {ALONE_S:g} CPU s; yardstick HiGHS alone", gap, "share", yardstick=theirs)]
