"""Coverage in the plane: the settings of Cordeau, Furini and Ljubic proven optimal, and dense ones against HiGHS alone.

Customers that the same sites reach are made one within our time, and HiGHS gets the program as it is after that. All
is CPU of one thread, HiGHS's building of its model within its limit too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import highspy
import numpy as np
from scipy.sparse import csr_array

from benchmarks import Figure, figure
from benchmarks.instances.planar import CHEAPEST, DENSE, MOST_COVERED, Setting, drawn, program
from karez.plan.covering.ladder import Climb, climb, is_closed
from karez.plan.covering.program import Program
from karez.twin.table import Array

NAME = "planar"
SEEDS = (1, 2, 3, 4, 5)
# Of the dense settings: seeds, limits, and the gap that must be proven within the limit of the same place.
DENSE_SEEDS, LIMITS_S, GAP_BARS = SEEDS[:3], (10.0, 30.0, 60.0), (0.005, 0.015, 0.025)
MEDIAN_BAR_S, WORST_BAR_S = 3.0, 30.0
# Where a setting is not proven by then, it counts as not proven.
GIVEN_UP_S = 120.0
SMALLEST = Setting("smallest", 1_000, 20, 8.0, chosen=3)


class Proven(NamedTuple):
    """One setting with one seed: CPU seconds of rows and climb, and whether the best was proven."""

    setting: Setting
    seconds: float
    is_closed: bool


def run() -> list[Figure]:
    """Seconds until proven, and of dense settings the gap and what is covered; the yardstick is HiGHS alone."""
    _warm()
    runs = [_proven(setting, seed) for setting in (*MOST_COVERED, *CHEAPEST) for seed in SEEDS]
    dense = [one for setting in DENSE for one in _limits(setting)]
    fewer = sum(1 for one in dense if one.yardstick is not None and one.value < one.yardstick)
    gaps = [_gap(*each) for each in zip(DENSE, LIMITS_S, GAP_BARS, strict=True)]
    return [
        *_seconds(runs),
        *gaps,
        figure("dense, limits at which HiGHS alone covers more", fewer, "", bar=0.0),
        *dense,
    ]


def _warm() -> None:
    """Compile what is compiled, outside of all times."""
    for setting in (SMALLEST, SMALLEST._replace(chosen=0, share=0.5)):
        climb(program(setting, drawn(setting, 1)))


def _proven(setting: Setting, seed: int) -> Proven:
    points = drawn(setting, seed)
    made, seconds = _climbed(lambda: program(setting, points), GIVEN_UP_S)
    return Proven(setting, seconds, is_closed(made))


def _climbed(build: Callable[[], Program], limit_s: float) -> tuple[Climb, float]:
    """The climb within so many CPU seconds, building the program included, and how many it took."""
    begun = time.process_time()
    made = climb(build(), enough=lambda: time.process_time() - begun >= limit_s)
    return made, time.process_time() - begun


def _seconds(runs: list[Proven]) -> list[Figure]:
    """All settings together with their bars, then each on its own."""
    open_runs = sum(not one.is_closed for one in runs)
    seconds = [one.seconds for one in runs]
    figures = [
        figure(f"planar, not proven optimal of {len(runs)} (settings x seeds)", open_runs, "", bar=0.0),
        figure("planar, rows and climb until proven, median", statistics.median(seconds), "CPU s", MEDIAN_BAR_S),
        figure("planar, rows and climb until proven, worst", max(seconds), "CPU s", WORST_BAR_S),
    ]
    for setting in dict.fromkeys(one.setting for one in runs):
        mine = [one.seconds for one in runs if one.setting == setting]
        figures.append(figure(f"{setting.name}, median", statistics.median(mine), "CPU s"))
        figures.append(figure(f"{setting.name}, worst", max(mine), "CPU s"))
    return figures


def _gap(setting: Setting, limit_s: float, bar: float) -> Figure:
    """The worst proven gap over the seeds within a limit."""
    worst = 0.0
    for seed in DENSE_SEEDS:
        points = drawn(setting, seed)
        made, _ = _climbed(lambda points=points: program(setting, points), limit_s)  # type: ignore[misc]
        worst = max(worst, gap_share(made))
    return figure(f"{setting.name}, proven gap within {limit_s:g} s", worst, "share", bar)


def gap_share(made: Climb) -> float:
    """How much more could be covered at most, as a share of that; by the duals, or by branch and bound."""
    total = int(made.program.weight.sum())
    most = total - max(made.bound, made.closed_bound)
    return float((most - (total - made.value)) / most)


def _limits(setting: Setting) -> list[Figure]:
    """What is covered within each limit, by us and by HiGHS alone."""
    figures = []
    points = drawn(setting, SEEDS[0])
    for limit_s in LIMITS_S:
        made, _ = _climbed(lambda: program(setting, points), limit_s)
        theirs = _covered_by_highs(program(setting, points), limit_s)
        total = int(points.demand.sum())
        figures.append(
            figure(
                f"{setting.name}, covered within {limit_s:g} s",
                int(made.program.covered(made.chosen).sum()) / total,
                "share",
                better="higher",
                yardstick=theirs / total,
            )
        )
    return figures


def _covered_by_highs(whole: Program, limit_s: float) -> int:
    """What HiGHS alone covers within so many CPU seconds: the choice it has by then, evaluated by us."""
    begun = time.process_time()
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    # By the wall clock only where it does not ask.
    for name, value in (("output_flag", False), ("threads", 1), ("time_limit", 3.0 * limit_s)):
        solver.setOptionValue(name, value)

    def ask(event: Any) -> None:
        if time.process_time() - begun >= limit_s:
            event.interrupt()

    for callback in (solver.cbSimplexInterrupt, solver.cbIpmInterrupt, solver.cbMipInterrupt):
        callback.subscribe(ask)
    solver.passModel(_model(whole))
    solver.run()
    values = np.array(solver.getSolution().col_value)[: len(whole.price)]
    chosen = np.flatnonzero(values > 0.5)
    return int(whole.covered(chosen).sum()) if whole.is_met(chosen) else 0


def _model(whole: Program) -> Any:
    """The maximal covering program as it is written down in textbooks: z_k <= sum of y_j, sum of prices <= money."""
    rows, choices = len(whole.weight), len(whole.price)
    matrix = _matrix(whole)
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = choices + rows, rows + 1
    model.sense_ = highspy.ObjSense.kMaximize
    model.col_cost_ = np.concatenate([np.zeros(choices), whole.weight.astype(float)])
    model.col_lower_, model.col_upper_ = np.zeros(choices + rows), np.ones(choices + rows)
    model.row_lower_ = np.append(np.zeros(rows), -highspy.kHighsInf)
    model.row_upper_ = np.append(np.full(rows, highspy.kHighsInf), float(whole.money or 0))
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_, model.a_matrix_.index_ = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
    model.a_matrix_.value_ = matrix.data
    kinds = [highspy.HighsVarType.kInteger] * choices + [highspy.HighsVarType.kContinuous] * rows
    model.integrality_ = kinds
    return model


def _matrix(whole: Program) -> csr_array:
    rows, choices = len(whole.weight), len(whole.price)
    at = np.concatenate([whole.row, np.arange(rows), np.full(choices, rows)])
    column: Array = np.concatenate([whole.choices, choices + np.arange(rows), np.arange(choices)])
    value = np.concatenate([np.ones(len(whole.choices)), -np.ones(rows), whole.price.astype(float)])
    return csr_array((value, (at, column)), shape=(rows + 1, choices + rows))
