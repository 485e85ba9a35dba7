"""What options cost under prices, and what chosen ones use: sums over hours instead of a matrix.

To call a compiled function with so many arrays takes as long as fifty look-ups. So what is done for each option is
written in line, and what is done for each job is called.

The price of a chip of a pool, or of a GB over a route, from one hour to another is the difference of two prefix sums,
so an option is priced by two look-ups. Arms of a menu are sorted by the least that an hour of speed 1 may cost there:
as prices are never below zero, the search for a job ends where that alone is too much.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numba import njit

from karez.plan.placing.program import (
    WHOLE,
    Chosen,
    Jobs,
    Pools,
    Program,
    Routes,
    Used,
    chips_of,
    gb_of,
    hours_of,
    load_of,
    nothing,
    part_of,
)
from karez.twin.table import Array

# Least costs are rounded down by more than they may be off.
ROUNDED_DOWN = 1e-9
# What an arm costs at least for an hour of a chip of speed 1, and what it and all later arms of the menu cost at least.
LEAST = np.dtype([
    ("cny_per_chip_h", np.float64),
    ("rest_cny_per_gb", np.float64),
    ("rest_cny_per_chip", np.float64),
    ("rest_cny", np.float64),
])  # fmt: skip


class Sums(NamedTuple):
    """Prefix sums over hours of the price of a chip of each pool and of a GB over each route; prices of quotas.

    `least_chip` is what a chip of a pool costs at least for so many hours on end, shape (pools, hours + 1).
    """

    chip: Array
    gb: Array
    quota: Array
    least_chip: Array


class Sorted(NamedTuple):
    """A program with sorted menus; what its arms cost at least (LEAST), and the chips that each pool has at most.

    `order` has the rows of its arms in the program as it was given.
    """

    program: Program
    least: Array
    most_chips: Array
    order: Array


class Cheapest(NamedTuple):
    """The cheapest option of each job under prices: its cost, arm and first hour; no arm where none is worth it."""

    cny: Array
    arm: Array
    start: Array


def sum_product(values: Array, others: Array) -> float:
    """The sum of products, added one after the other, so that every machine comes to the same."""
    return float(_sum_product(values.ravel(), others.ravel()))


@njit(cache=True)
def _sum_product(values: Array, others: Array) -> float:
    total = 0.0
    for at in range(values.size):
        total += values[at] * others[at]
    return total


def sums_of(program: Program, prices: Used) -> Sums:
    """The sums under these prices, money included."""
    pools, routes, hours = program.pools, program.routes, program.hours
    chip, least_chip = np.zeros((2, len(pools.site), hours + 1))
    gb = np.zeros((len(routes.site), hours + 1))
    sum_up(pools, routes, prices, chip, gb)
    _least_of_chips(chip, least_chip)
    return Sums(chip, gb, prices.chip_hours, least_chip)


def sorted_by_money(program: Program) -> Sorted:
    """The program with the arms of each menu sorted by the least they may cost."""
    arms, size = program.arms, int(program.menus[-1])
    cheapest_hour = program.pools.cny.min(axis=1, initial=np.inf)
    by_chip = np.empty(size)
    _least_per_chip_h(arms, cheapest_hour, by_chip)
    order = np.empty(size, np.int64)
    _sort(program.menus, by_chip, order)
    arms = arms.copy()
    _copy_in_order(program.arms, order, arms)
    least = np.empty(size, LEAST)
    least["cny_per_chip_h"] = by_chip[order]
    for rest, name in (("rest_cny_per_gb", "cny_per_gb"), ("rest_cny_per_chip", "cny_per_chip"), ("rest_cny", "cny")):
        values = np.empty(size)
        _least_of_rest(program.menus, arms[name].astype(float), values)
        least[rest] = values
    return Sorted(replace(program, arms=arms), least, most_chips(program), order)


def most_chips(program: Program) -> Array:
    """The chips that each pool has at most, with all that may be added."""
    chips = program.pools.chips.max(axis=1, initial=0)
    return np.asarray(chips if program.growth is None else chips + program.growth.most)


def cheapest(menus: Sorted, sums: Sums, last: Cheapest, *, first: int = 0, each: int = 1) -> Cheapest:
    """The cheapest option of each job; `last` is one to begin with.

    Of every `each` jobs only one, from `first` on, where that is more than one: what others cost is infinity then.
    """
    program = menus.program
    found = Cheapest(np.full(len(last.cny), np.inf), last.arm.copy(), last.start.copy())
    turn = first, each
    _find(program.jobs, program.menus, program.arms, program.loads, sums, menus.least, menus.most_chips, turn, found)
    return found


def unserved(program: Program) -> Cheapest:
    """Nobody served."""
    jobs = len(program.jobs.number)
    return Cheapest(program.jobs.unserved_cny.copy(), np.full(jobs, -1, np.int32), np.zeros(jobs, np.int16))


def used_by(program: Program, chosen: Chosen) -> Used:
    """What options use of everything; counts may be fractions."""
    used = nothing(program)
    _use(program.pools, program.routes, program.jobs, program.arms, program.loads, chosen, used)
    return used


def cny_of(program: Program, chosen: Chosen, sums: Sums) -> Array:
    """What one job costs under prices by each option (CNY)."""
    cny = np.empty(len(chosen.arm))
    _price(program.jobs, program.arms, program.loads, sums, chosen, cny)
    return cny


@njit(cache=True)
def sum_up(pools: Pools, routes: Routes, prices: Used, chip: Array, gb: Array) -> None:
    """Write the prefix sums of prices, money included."""
    hours = chip.shape[1] - 1
    for pool in range(chip.shape[0]):
        site, kw = pools.site[pool], pools.kw[pool]
        for hour in range(hours):
            price = pools.cny[pool, hour] + prices.chips[pool, hour] + kw * prices.kw[site, hour]
            chip[pool, hour + 1] = chip[pool, hour] + price
    each = np.empty(hours)
    for route in range(gb.shape[0]):
        site = routes.site[route]
        for hour in range(hours):
            each[hour] = prices.gb_in[site, hour] if site >= 0 else 0.0
        for at in range(routes.starts[route], routes.starts[route + 1]):
            link = routes.links[at]
            for hour in range(hours):
                each[hour] += prices.gb_over[link, hour]
        for hour in range(hours):
            gb[route, hour + 1] = gb[route, hour] + each[hour]


@njit(cache=True)
def _least_of_chips(chip: Array, least: Array) -> None:
    for pool in range(chip.shape[0]):
        for hours in range(1, chip.shape[1]):
            best = np.inf
            for start in range(chip.shape[1] - hours):
                best = min(best, chip[pool, start + hours] - chip[pool, start])
            least[pool, hours] = best


@njit(cache=True)
def _least_per_chip_h(arms: Array, cheapest_hour: Array, least: Array) -> None:
    for arm in range(least.size):
        cny, leg = 0.0, arm
        while leg >= 0:
            # Where money may be earned, who takes longer, or more chips, earns more: there nothing can be said.
            each = cheapest_hour[arms[leg].pool]
            cny += arms[leg].share * each if each >= 0 else -np.inf
            leg = arms[leg].then
        least[arm] = cny / arms[arm].speed


@njit(cache=True)
def _sort(menus: Array, values: Array, order: Array) -> None:
    """The rows of each menu by their values, those of equal ones as they stood."""
    for menu in range(menus.size - 1):
        first, end = menus[menu], menus[menu + 1]
        order[first:end] = first + np.argsort(values[first:end], kind="mergesort")


@njit(cache=True)
def _copy_in_order(rows: Array, order: Array, to: Array) -> None:
    """The first rows of an array in an order; NumPy takes ten times as long to copy records one by one."""
    for at in range(order.size):
        to[at] = rows[order[at]]


@njit(cache=True)
def _least_of_rest(menus: Array, values: Array, rest: Array) -> None:
    for menu in range(menus.size - 1):
        least = np.inf
        for arm in range(menus[menu + 1] - 1, menus[menu] - 1, -1):
            least = min(least, values[arm])
            rest[arm] = least


@njit(inline="always")
def fixed_cny(job: int, arm: int, chips: int, jobs: Jobs, arms: Array) -> float:
    """The part of what an option costs that depends on no hour and no price (CNY)."""
    cny: float = arms[arm].cny + arms[arm].cny_per_gb * jobs.gb[job] + arms[arm].cny_per_chip * chips
    return cny


@njit(cache=True)
def option_cny(job: int, arm: int, start: int, jobs: Jobs, arms: Array, loads: Array, sums: Sums) -> float:
    """What one job costs under prices by an option (CNY)."""
    hours, chips = hours_of(job, arm, jobs, arms), chips_of(job, arm, jobs, arms)
    load, quota, end = jobs.load[job], jobs.quota[job], start + hours
    cny, chip, gb = fixed_cny(job, arm, chips, jobs, arms), sums.chip, sums.gb
    leg = arm
    while leg >= 0:
        pool, route, part = arms[leg].pool, arms[leg].route, part_of(chips, arms[leg].share)
        chip_hours, whole, of_route = float(part * hours), float(hours), 0.0
        if load < 0:
            cny += part * (chip[pool, end] - chip[pool, start])
            if route >= 0:
                of_route = gb[route, end] - gb[route, start]
        else:
            chip_hours, whole = 0.0, 0.0
            for hour in range(start, end):
                share = loads[load, hour]
                now = part_of(part, share)
                chip_hours += now
                whole += share
                cny += now * (chip[pool, hour + 1] - chip[pool, hour])
                if route >= 0:
                    of_route += share * (gb[route, hour + 1] - gb[route, hour])
        if route >= 0:
            cny += gb_of(job, leg, chip_hours, jobs, arms) / whole * of_route
        if quota >= 0:
            cny += chip_hours * sums.quota[quota]
        leg = arms[leg].then
    return cny


@njit(inline="always")
def are_enough(arm: int, chips: int, peak: float, arms: Array, most_chips: Array) -> bool:
    """Whether every pool of an arm has as many chips in any hour as are wanted in that of the peak load."""
    leg, answer = arm, True
    while leg >= 0:
        if part_of(part_of(chips, arms[leg].share), peak) > most_chips[arms[leg].pool]:
            answer = False
        leg = arms[leg].then
    return answer


@njit(inline="always")
def peak_of(job: int, jobs: Jobs, loads: Array) -> float:
    """The largest share of its peak that the load of a job has in its hours."""
    load, peak = jobs.load[job], 1.0
    if load >= 0:
        peak = loads[load, jobs.opens[job] : jobs.closes[job]].max()
    return peak


@njit(inline="always")
def work_of(job: int, jobs: Jobs, loads: Array) -> float:
    """Hours of a chip of speed 1 that a job takes at least."""
    work: float = jobs.chips[job] * jobs.hours[job]
    if jobs.elastic[job]:
        load, whole = jobs.load[job], 0.0
        for hour in range(jobs.opens[job], jobs.closes[job]):
            whole += loads[load, hour] if load >= 0 else 1.0
        work = jobs.chips[job] * whole
    return work


@njit(cache=True)
def _find(
    jobs: Jobs, menus: Array, arms: Array, loads: Array, sums: Sums, least: Array, most_chips: Array,
    turn: tuple[int, int], found: Cheapest,
) -> None:  # fmt: skip
    """The cheapest option of each job whose turn it is.

    Arrays get names of their own and what is done for each arm is written in line: to ask a tuple for one of its arrays
    counts references, which takes longer than the work itself.
    """
    chip, gb_sums, least_chip = sums.chip, sums.gb, sums.least_chip
    wanted, needed_h, elastic, data, dear = jobs.chips, jobs.hours, jobs.elastic, jobs.gb, jobs.unserved_cny
    first_hour, last_hour, menu_of, load_of_, quota_of = jobs.opens, jobs.closes, jobs.menu, jobs.load, jobs.quota
    cny_of_job, arm_of, start_of = found.cny, found.arm, found.start
    for job in range(turn[0], wanted.size, turn[1]):
        work, gb, load, quota = work_of(job, jobs, loads), data[job], load_of_[job], quota_of[job]
        opens, closes, peak = first_hour[job], last_hour[job], peak_of(job, jobs, loads)
        chips_at_least = 1.0 if elastic[job] else wanted[job]
        best, best_arm, best_start = dear[job], -1, 0
        if arm_of[job] >= 0:
            # What was cheapest last time is near to it now, and ends the search early.
            cny = option_cny(job, arm_of[job], start_of[job], jobs, arms, loads, sums)
            if cny < best:
                best, best_arm, best_start = cny, arm_of[job], start_of[job]
        for arm in range(menus[menu_of[job]], menus[menu_of[job] + 1]):
            of_work = work * least[arm].cny_per_chip_h
            rest = gb * least[arm].rest_cny_per_gb + chips_at_least * least[arm].rest_cny_per_chip + least[arm].rest_cny
            if of_work + rest >= best + ROUNDED_DOWN * abs(best):
                break
            if elastic[job]:
                hours, chips = closes - opens, int(np.ceil(wanted[job] / arms[arm].speed - WHOLE))
            else:
                hours, chips = max(1, int(np.ceil(needed_h[job] / arms[arm].speed - WHOLE))), int(wanted[job])
            if hours > closes - opens:
                continue
            cny = arms[arm].cny + arms[arm].cny_per_gb * gb + arms[arm].cny_per_chip * chips
            pool, route = arms[arm].pool, arms[arm].route
            if load >= 0 or quota >= 0 or arms[arm].then >= 0 or arms[arm].share < 1.0:
                if are_enough(arm, chips, peak, arms, most_chips):
                    for start in range(opens, closes - hours + 1):
                        cost = option_cny(job, arm, start, jobs, arms, loads, sums)
                        if cost < best:
                            best, best_arm, best_start = cost, arm, start
                continue
            # The common case: all that does not depend on the hour is outside of the loop.
            if cny + chips * least_chip[pool, hours] >= best or chips > most_chips[pool]:
                continue
            gb_per_h = (gb * arms[arm].gb_share) / hours + arms[arm].gb_per_chip_h * chips if route >= 0 else 0.0
            for start in range(opens, closes - hours + 1):
                cost = cny + chips * (chip[pool, start + hours] - chip[pool, start])
                if cost < best and gb_per_h > 0:
                    cost += gb_per_h * (gb_sums[route, start + hours] - gb_sums[route, start])
                if cost < best:
                    best, best_arm, best_start = cost, arm, start
        cny_of_job[job], arm_of[job], start_of[job] = best, best_arm, best_start


@njit(cache=True)
def add_option(
    job: int, arm: int, start: int, count: float, pools: Pools, routes: Routes, jobs: Jobs, arms: Array, loads: Array,
    used: Used,
) -> None:  # fmt: skip
    """Add to what is used what so many jobs use by an option; take it off where the count is below zero."""
    hours, chips = hours_of(job, arm, jobs, arms), chips_of(job, arm, jobs, arms)
    load, quota, leg = jobs.load[job], jobs.quota[job], arm
    of_chips, of_kw, gb_in, gb_over, links = used.chips, used.kw, used.gb_in, used.gb_over, routes.links
    while leg >= 0:
        pool, route, part = arms[leg].pool, arms[leg].route, part_of(chips, arms[leg].share)
        site, kw = pools.site[pool], pools.kw[pool]
        chip_hours, whole = load_of(part, hours, start, load, loads)
        gb = gb_of(job, leg, chip_hours, jobs, arms)
        to, first, last = -1, 0, 0
        if gb > 0:
            to, first, last = routes.site[route], routes.starts[route], routes.starts[route + 1]
        for hour in range(start, start + hours):
            share = loads[load, hour] if load >= 0 else 1.0
            now = part_of(part, share) * count
            of_chips[pool, hour] += now
            of_kw[site, hour] += now * kw
            moved = gb * share / whole * count
            if to >= 0:
                gb_in[to, hour] += moved
            for at in range(first, last):
                gb_over[links[at], hour] += moved
        if quota >= 0:
            used.chip_hours[quota] += chip_hours * count
        leg = arms[leg].then


@njit(cache=True)
def _use(pools: Pools, routes: Routes, jobs: Jobs, arms: Array, loads: Array, chosen: Chosen, used: Used) -> None:
    for row in range(chosen.arm.size):
        job, arm, start, count = chosen.job[row], chosen.arm[row], chosen.start[row], chosen.number[row]
        add_option(job, arm, start, count, pools, routes, jobs, arms, loads, used)


@njit(cache=True)
def _price(jobs: Jobs, arms: Array, loads: Array, sums: Sums, chosen: Chosen, cny: Array) -> None:
    for row in range(chosen.arm.size):
        cny[row] = option_cny(chosen.job[row], chosen.arm[row], chosen.start[row], jobs, arms, loads, sums)
