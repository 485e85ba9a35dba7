"""The cheapest sites for a target on a nation: price against the bound, and against greedy alone."""

from __future__ import annotations

import time

from benchmarks import Figure
from benchmarks.instances.nation import BUDGET_US, SEEDS, TARGET_SHARE, instance
from karez.plan.build import build, check_certificate
from karez.plan.plan import Plan
from karez.twin import Twin, World

NAME = "coverage"
PROBLEMS = "problems found in the certificate"
# The reference budgets of coverage plans; at the tighter one the nation needs many more sites.
BUDGETS_US = (500.0, BUDGET_US)


def run() -> list[Figure]:
    """Price, bound, gap and CPU seconds for each seed and budget; the yardstick of a price is greedy alone."""
    figures = [figure for seed in SEEDS for figure in _measured(seed)]
    problems = sum(figure.value for figure in figures if PROBLEMS in figure.what)
    return [_figure(f"{PROBLEMS}, all plans", problems, "", bar=0.0), *figures]


def _measured(seed: int) -> list[Figure]:
    twin = instance(seed)
    return [
        figure for budget_us in BUDGETS_US for figure in _planned(twin, budget_us, f"seed {seed}, {budget_us:g} us")
    ]


def _planned(twin: Twin, budget_us: float, case: str) -> list[Figure]:
    world = World(twin, twin)
    start = time.process_time()
    plan = build(world, target_share=TARGET_SHARE, budget_us=budget_us, figures="typical", at_s=0.0)
    planned_s = time.process_time() - start
    start = time.process_time()
    problems = check_certificate(plan, world)
    checked_s = time.process_time() - start
    return [
        _figure(
            f"{case}: price of {TARGET_SHARE:.0%}; yardstick greedy", plan.price_cny, "CNY", yardstick=_greedy(plan)
        ),
        Figure(what=f"{case}: bound", value=plan.proof.bound, unit="CNY", better="higher"),
        _figure(f"{case}: proven gap", plan.proof.gap_share, "share"),
        _figure(f"{case}: plan with its bound", planned_s, "CPU s"),
        _figure(f"{case}: certificate checked", checked_s, "CPU s"),
        _figure(f"{case}: {PROBLEMS}", len(problems), ""),
    ]


def _greedy(plan: Plan) -> float:
    return next(other.score for other in plan.alternatives if other.name == "greedy alone")


def _figure(what: str, value: float, unit: str, *, bar: float | None = None, yardstick: float | None = None) -> Figure:
    return Figure(what=what, value=value, unit=unit, better="lower", bar=bar, yardstick=yardstick)
