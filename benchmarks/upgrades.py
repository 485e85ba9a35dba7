"""Sites and upgrades of links together, against sites alone, and against the integer program on a smaller nation.

A plan is evaluated by a search on the network whose links have their upgrades: that knows nothing of ways. The
yardstick of a price is the bound on what sites alone cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from benchmarks import Figure, figure
from benchmarks.instances.upgrades import BUDGET_US, SEEDS, TARGET_SHARE, Instance, instance
from karez.measure.cover import covering
from karez.plan.covering.ladder import Climb, climb
from karez.plan.covering.program import Program, merged
from karez.plan.covering.upgrades import Made, Ways, closed, planned, reached_by_search, ways_of_reach
from karez.twin.table import Array
from karez.units import NS_PER_US

NAME = "upgrades"
LIMIT_NS = round(BUDGET_US * NS_PER_US)
SMALL = {"stations": 200_000, "candidates": 1_000, "links": 5_000}
CLOSED_S, FULL_S = 60.0, 120.0
T = TypeVar("T")


def run() -> list[Figure]:
    """Price, bound, gap and seconds of each seed; and what the integer program finds on the smaller nation."""
    _planned(instance(SEEDS[0], **SMALL))
    large = [one for seed in SEEDS for one in _measured(instance(seed), f"seed {seed}")]
    return [*large, *(one for seed in SEEDS for one in _against_full(seed))]


def _planned(given: Instance) -> tuple[Ways, Made, int, float, float]:
    """The ways, the plan, the weight wanted, and the seconds that ways and plan took."""
    demand = -(-int(given.reach.total.sum()) * round(TARGET_SHARE * 100) // 100)
    ways, ways_s = _timed_s(
        lambda: ways_of_reach(given.reach, given.links, given.saving_ns, given.candidates, LIMIT_NS)
    )
    made, plan_s = _timed_s(lambda: planned(ways, given.price, demand))
    if made is None:
        raise ValueError("the target of the instance cannot be reached")
    return ways, made, demand, ways_s, plan_s


def _measured(given: Instance, case: str) -> list[Figure]:
    ways, made, demand, ways_s, plan_s = _planned(given)
    alone = _sites_alone(given, demand)
    (best, closed_bound), closed_s = _timed_s(lambda: closed(ways, given.price, demand, made, _after(CLOSED_S)))
    value, free = int(given.price[best].sum()), np.where(_is_upgrade(given), 0, given.price)
    all_free = planned(ways, free, demand)
    bought = best[_is_upgrade(given)[best]]
    short = max(demand - _reached(given, made.chosen), demand - _reached(given, best), 0)
    return [
        figure(f"{case}: price; yardstick bound of sites alone", made.value, "hundreds", yardstick=alone.bound),
        figure(f"{case}: proven gap", (made.value - made.bound) / made.value, "share", bar=0.05),
        figure(f"{case}: price over that of the best sites alone", made.value / alone.value, "share", bar=0.999),
        figure(f"{case}: weight short of the target, by a search", short, "millionths", bar=0.0),
        figure(f"{case}: bound", made.bound, "hundreds", better="higher"),
        figure(
            f"{case}: bound where all upgrades are free",
            0.0 if all_free is None else all_free.bound,
            "hundreds",
            better="higher",
        ),
        figure(f"{case}: ways counted out", ways_s, "CPU s"),
        figure(f"{case}: plan with its bound", plan_s, "CPU s"),
        figure(f"{case}: price by the integer program on what is left", value, "hundreds", yardstick=made.value),
        figure(f"{case}: bound by its solver's word", closed_bound, "hundreds", better="higher"),
        figure(f"{case}: integer program", closed_s, "CPU s"),
        figure(
            f"{case}: money for upgrades", float(given.price[bought].sum() / value), "share", bar=0.2, better="higher"
        ),
        figure(f"{case}: upgrades bought", len(bought), "", better="higher"),
        figure(f"{case}: candidates open", int((_sites_price(given) == 0).sum()), "", better="higher"),
        figure(f"{case}: rows", len(ways.weight), "", better="higher"),
        figure(f"{case}: ways of rows", len(ways.ways), "", better="higher"),
        figure(f"{case}: guesses in the ways", ways.guesses, "", bar=0.0),
        figure(f"{case}: coverage of open sites", _open_share(given), "share", better="higher"),
    ]


def _against_full(seed: int) -> list[Figure]:
    """Our best on the smaller nation against the integer program with nothing ruled out beforehand."""
    given, case = instance(seed, **SMALL), f"200k stations, seed {seed}"
    ways, made, demand, _, plan_s = _planned(given)
    (best, _), closed_s = _timed_s(lambda: closed(ways, given.price, demand, made, _after(CLOSED_S)))
    everything = made._replace(bound=-np.inf)
    (full, full_bound), full_s = _timed_s(lambda: closed(ways, given.price, demand, everything, _after(FULL_S)))
    value, full_value = int(given.price[best].sum()), int(given.price[full].sum())
    return [
        figure(f"{case}: price over the full integer program's", value - full_value, "hundreds", bar=0.0),
        figure(f"{case}: what the full integer program left open", full_value - full_bound, "hundreds"),
        figure(f"{case}: proven gap", (made.value - made.bound) / max(made.value, 1), "share", bar=0.05),
        figure(f"{case}: plan, bound and integer program", plan_s + closed_s, "CPU s", yardstick=full_s),
    ]


def _sites_alone(given: Instance, demand: int) -> Climb:
    """The cheapest sites without any upgrade."""
    rows = covering(given.reach, given.candidates, LIMIT_NS, np.zeros(given.reach.metros, np.int32))
    program = Program(
        bounds=rows.bounds,
        choices=rows.choices,
        weight=rows.weight,
        group=rows.group,
        need=np.ones(len(rows.weight), np.int32),
        price=_sites_price(given),
        demand=np.array([demand]),
        wanted=1,
    )
    return climb(merged(program)[0], enough=_after(CLOSED_S))


def _reached(given: Instance, chosen: Array) -> int:
    return reached_by_search(given.reach, given.links, given.saving_ns, given.candidates, chosen, LIMIT_NS)


def _open_share(given: Instance) -> float:
    covered = given.reach.covered(given.candidates[_sites_price(given) == 0], LIMIT_NS)
    return round(float(covered.sum() / given.reach.total.sum()), 4)


def _is_upgrade(given: Instance) -> Array:
    is_upgrade: Array = np.arange(len(given.price)) >= len(given.candidates)
    return is_upgrade


def _sites_price(given: Instance) -> Array:
    return given.price[: len(given.candidates)]


def _after(seconds: float) -> Callable[[], bool]:
    """Whether so many seconds are over from now on."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _timed_s(ask: Callable[[], T]) -> tuple[T, float]:
    begun = time.process_time()
    found = ask()
    return found, time.process_time() - begun
