"""What is worth adding: chips of pools, as whole machines, so that jobs and machines together cost least.

The relaxation adds fractions of chips, and its prices prove what any plan costs at least, whatever it adds: a chip that
may be added is worth no more than it costs. Its chips are rounded to machines in several ways; the one by which jobs
are placed for least is bettered, and loses what it does not use in any hour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from karez.plan.placing.pricing import Sorted, most_chips, sorted_by_money
from karez.plan.placing.program import WHOLE, Chosen, Growth, Program, Used
from karez.plan.placing.relax import Relaxation
from karez.plan.placing.solve import RELAXED_UNTIL_SHARE, exchange, merged, pass_on, relaxed
from karez.plan.placing.whole import Whole, begun, used_of
from karez.twin.table import Array

# Parts of a machine from which on it is taken whole, tried one after the other.
ROUNDED_UP_FROM = (0.5, 0.2, 0.8, 0.02)
# The relaxation ends when it gains less than this share from look to look: while chips are added it gains little, and
# for long.
NEAR_SHARE = 0.00004
# Less of a machine is rounding, and less of a job is none.
LEAST_PART, LEAST_SHARE = 1e-6, 0.02


class Grown(NamedTuple):
    """The best plan, the chips that it adds to each pool, its cost with them and the bound (CNY), and prices for it."""

    chosen: Chosen
    more: Array
    cny: float
    bound: float
    prices: Used


def grown(
    program: Program,
    growth: Growth,
    machine: int,
    *,
    limit_s: float = math.inf,
    seconds: Callable[[], float] = lambda: 0.0,
    seed: int = 1,
) -> Grown:
    """The best plan and bound by `limit_s` of the clock `seconds`; pools grow by machines of so many chips.

    What is chosen names arms by their rows in the program as it was given.
    """

    def enough() -> bool:
        return seconds() >= limit_s

    menus = sorted_by_money(replace(program, growth=growth))
    relaxation = relaxed(menus, lambda: seconds() >= RELAXED_UNTIL_SHARE * limit_s, near_share=NEAR_SHARE)
    found = list[tuple[float, Array, Whole]]()
    for more in _tried(relaxation, growth, machine):
        whole = begun(_standing(menus, more), relaxation.now, relaxation.columns)
        pass_on(whole, enough)
        kept = needed(used_of(whole.menus.program, whole.best).chips, program.pools.chips, machine)
        found.append((whole.cny + float(growth.cny @ kept), kept, whole))
        if enough():
            break
    _, more, best = min(found, key=lambda one: one[0])
    # Only what is paid for is there when jobs change places.
    best = replace(best, menus=_standing(menus, more))
    exchange(best, enough, seed)
    chosen, more = merged(best), needed(used_of(best.menus.program, best.best).chips, program.pools.chips, machine)
    cny = best.cny + float(growth.cny @ more)
    return Grown(chosen._replace(arm=menus.order[chosen.arm]), more, cny, relaxation.bound, relaxation.prices)


def needed(used: Array, chips: Array, machine: int) -> Array:
    """Whole machines (in chips) of which a plan uses a chip in any hour, beyond the chips of pools without them."""
    over = (used - chips).max(axis=1, initial=0)
    return np.asarray(np.ceil(over / machine - WHOLE) * machine)


def rounded(more: Array, growth: Growth, machine: int, least_share: float) -> Array:
    """Whole machines for fractions of chips: up where at least such a share of one is wanted."""
    machines = np.floor(more / machine + 1.0 - least_share)
    return np.asarray(np.minimum(machines, np.floor(growth.most / machine)) * machine)


def _tried(relaxation: Relaxation, growth: Growth, machine: int) -> Iterator[Array]:
    """What is tried, each once: no machine, and those of the relaxation, rounded in several ways and to whole gangs."""
    gangs = np.maximum(_gangs(relaxation), machine)
    in_gangs = np.ceil(relaxation.more / gangs - WHOLE) * gangs
    ways = [rounded(relaxation.more, growth, machine, least_share) for least_share in ROUNDED_UP_FROM]
    seen = set[bytes]()
    for more in (np.zeros(len(growth.cny)), *ways, rounded(in_gangs, growth, machine, LEAST_PART)):
        if more.tobytes() not in seen:
            seen.add(more.tobytes())
            yield more


def _gangs(relaxation: Relaxation) -> Array:
    """The most chips of a pool that a job has of which the relaxation runs a part there."""
    rows = relaxation.columns.rows
    some = rows[rows["share"] >= LEAST_SHARE]
    most = np.zeros(len(relaxation.more))
    np.maximum.at(most, some["pool"], some["chips"].astype(float))
    return most


def _standing(menus: Sorted, more: Array) -> Sorted:
    """The menus where pools have so many chips more, and grow no further."""
    pools = menus.program.pools
    program = replace(menus.program, pools=pools._replace(chips=pools.chips + more[:, None]), growth=None)
    return menus._replace(program=program, most_chips=most_chips(program))
