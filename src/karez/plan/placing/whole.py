"""Whole plans: every job in one place from one hour on, or not served; made by prices, bettered by putting in anew.

Jobs go one after the other to the option that costs least under the prices of the relaxation, of those that there is
room for; what has a share in the relaxation comes first. Who lost in one pass goes earlier in the next: elastic jobs,
which need room in all their hours, from the start. Then jobs that share a pool are taken out together and put in again.

Source: D. E. Joslin, D. P. Clements, "Squeaky wheel optimization" (1999); P. Shaw, "Using constraint programming and
local search methods to solve vehicle routing problems" (1998).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numba import njit

from karez.plan.placing.pricing import (
    Cheapest,
    Sorted,
    Sums,
    add_option,
    cheapest,
    cny_of,
    fixed_cny,
    option_cny,
    sums_of,
    unserved,
    used_by,
    work_of,
)
from karez.plan.placing.program import (
    NONE,
    Chosen,
    Jobs,
    Pools,
    Program,
    Routes,
    Used,
    available,
    chips_of,
    gb_of,
    hours_of,
    load_of,
    nothing,
    part_of,
)
from karez.plan.placing.relax import Columns
from karez.twin.table import Array

# How much earlier than others of as much work elastic jobs go in the first pass.
ELASTIC_FIRST = 100.0
# Columns with this share at least are taken before all others.
LEAST_SHARE = 0.02
# Jobs that are taken out together at most, and what they free, at most, as a multiple of what the first one wants.
MOST_OUT, MOST_FREED = 120, 1.5
# How often the first one is tried where it would cost least, and among how many arms otherwise.
CHEAPEST_CHANCE, MOST_ARMS = 0.4, 30
# What limits may be passed by through rounding, as a share of them.
ROUNDING_SHARE = 1e-9


class Wanted(NamedTuple):
    """Options that are tried before all others, best first, those of job k from `starts[k]` on; what they cost now."""

    starts: Array
    arm: Array
    start: Array
    cny: Array


class Placed(NamedTuple):
    """Where each single job is: its class, its arm (NONE: not served) and first hour."""

    job: Array
    arm: Array
    start: Array


@dataclass
class Whole:
    """The best whole plan so far, and what is needed to better it: prices, and what each job wants under them."""

    menus: Sorted
    prices: Used
    found: Cheapest
    wanted: Wanted
    best: Placed
    cny: float
    work: Array
    late: Array

    def improve(self) -> float:
        """One more pass in which those who lost go earlier; what the plan costs that it made (CNY)."""
        program, of = self.menus.program, self.best.job
        placed = Placed(of, np.full(len(of), NONE, np.int32), np.zeros(len(of), np.int16))
        order = np.argsort(-self.late, kind="stable")
        room, sums = room_of(program, None), sums_of(program, self.prices)
        cny = fill(self.menus, sums, self.wanted, self.work, order, placed, room, room.chips.min(axis=1))
        self.late = self.late + (cny - self.found.cny[of])
        value = value_of(program, placed)
        if value < self.cny:
            self.best, self.cny = placed, value
        return value

    def after(self, program: Program) -> Whole:
        """The plan for a program with the same jobs and menus but other limits: who still fits in stays."""
        menus = self.menus._replace(program=program, most_chips=program.pools.chips.max(axis=1, initial=0))
        found = cheapest(menus, sums_of(program, self.prices), self.found)
        placed = Placed(self.best.job, self.best.arm.copy(), self.best.start.copy())
        order = np.argsort(-self.late, kind="stable")
        room, sums = room_of(program, None), sums_of(program, self.prices)
        floor = room.chips.min(axis=1)
        _keep(order, program.pools, program.routes, program.jobs, program.arms, program.loads, placed, room, floor)
        fill(menus, sums, self.wanted, self.work, order[placed.arm[order] < 0], placed, room, floor)
        return replace(self, menus=menus, found=found, best=placed, cny=value_of(program, placed))

    def exchange(self, tries: int, seed: int) -> None:
        """So many tries to take jobs out of a pool and to put them in again for less."""
        if not len(self.best.job):
            return
        program = self.menus.program
        room = room_of(program, self.best)
        cny = program.jobs.unserved_cny[self.best.job]
        served = self.best.arm >= 0
        cny[served] = cny_of(program, chosen_of(self.best), sums_of(program, self.prices))
        lost = np.cumsum(np.maximum(cny - self.found.cny[self.best.job], 0.0))
        placed = Placed(self.best.job, self.best.arm.copy(), self.best.start.copy())
        _exchange(
            tries, seed, lost, self.work, program.pools, program.routes, program.jobs, program.menus, program.arms,
            program.loads, self.menus.least, sums_of(program, self.prices), sums_of(program, nothing(program)),
            self.found, placed, room, room.chips.min(axis=1),
        )  # fmt: skip
        value = value_of(program, placed)
        if value < self.cny:
            self.best, self.cny = placed, value


def fill(
    menus: Sorted, sums: Sums, wanted: Wanted, work: Array, order: Array, placed: Placed, room: Used, floor: Array
) -> Array:
    """Place jobs (positions in `placed`) in this order and take what they use off the room.

    `floor` is the room of each pool in its fullest hour. Returns what each costs under the prices of `sums` (CNY), in
    the order of `placed`.
    """
    program, cny = menus.program, np.zeros(len(placed.job))
    _fill(
        order, work, program.pools, program.routes, program.jobs, program.menus, program.arms, program.loads,
        menus.least, sums, wanted, placed, cny, room, floor,
    )  # fmt: skip
    return cny


def begun(menus: Sorted, prices: Used, columns: Columns) -> Whole:
    """Nobody served yet; prices and columns are those of a relaxation."""
    program = menus.program
    jobs = program.jobs
    of = np.repeat(np.arange(len(jobs.number), dtype=np.int32), jobs.number)
    work = np.empty(len(jobs.number))
    _works(jobs, program.loads, work)
    rows, sums = columns.rows, sums_of(program, prices)
    cny = cny_of(program, Chosen(rows["job"], rows["arm"], rows["start"], rows["share"]), sums)
    order = np.lexsort((cny, -np.where(rows["share"] >= LEAST_SHARE, rows["share"], 0.0), rows["job"]))
    wanted = Wanted(columns.starts, rows["arm"][order].copy(), rows["start"][order].copy(), cny[order])
    nobody = Placed(of, np.full(len(of), NONE, np.int32), np.zeros(len(of), np.int16))
    late = work[of] * np.where(jobs.elastic[of], ELASTIC_FIRST, 1.0)
    found = cheapest(menus, sums, unserved(program))
    return Whole(menus, prices, found, wanted, nobody, program.unserved_cny, work, late)


def room_of(program: Program, placed: Placed | None) -> Used:
    """What is left of everything, with room for rounding."""
    room = Used(*(limit * (1.0 + ROUNDING_SHARE) for limit in available(program)))
    room.chips[:] = program.pools.chips
    if placed is not None:
        for left, used in zip(room, used_of(program, placed), strict=True):
            left -= used
    return room


def chosen_of(placed: Placed) -> Chosen:
    """Those who are served, as options."""
    rows = np.flatnonzero(placed.arm >= 0)
    return Chosen(placed.job[rows], placed.arm[rows], placed.start[rows], np.ones(len(rows)))


def used_of(program: Program, placed: Placed) -> Used:
    """What a plan uses of everything."""
    return used_by(program, chosen_of(placed))


def value_of(program: Program, placed: Placed) -> float:
    """What a plan costs, with those who are not served (CNY)."""
    served = float(cny_of(program, chosen_of(placed), sums_of(program, nothing(program))).sum())
    return served + float(program.jobs.unserved_cny[placed.job[placed.arm < 0]].sum())


@njit(cache=True)
def _works(jobs: Jobs, loads: Array, work: Array) -> None:
    for job in range(work.size):
        work[job] = work_of(job, jobs, loads)


@njit(inline="always")
def _bears(
    gb: float, whole: float, route: int, begin: int, end: int, load: int, routes: Routes, loads: Array, room: Used
) -> bool:
    """Whether data still fit over a route."""
    answer = True
    for hour in range(begin, end):
        moved = gb * (loads[load, hour] if load >= 0 else 1.0) / whole
        if routes.site[route] >= 0 and moved > room.gb_in[routes.site[route], hour]:
            answer = False
            break
        for at in range(routes.starts[route], routes.starts[route + 1]):
            if moved > room.gb_over[routes.links[at], hour]:
                answer = False
                break
        if not answer:
            break
    return answer


@njit(inline="always")
def _has_room(
    job: int, arm: int, start: int, pools: Pools, routes: Routes, jobs: Jobs, arms: Array, loads: Array, room: Used
) -> bool:
    """Whether there is room for each leg of an option, if it were alone."""
    hours, chips, load, quota = (
        hours_of(job, arm, jobs, arms),
        chips_of(job, arm, jobs, arms),
        jobs.load[job],
        jobs.quota[job],
    )
    answer, leg, all_chip_hours = True, arm, 0.0
    while leg >= 0:
        pool, route, part = arms[leg].pool, arms[leg].route, part_of(chips, arms[leg].share)
        site, kw = pools.site[pool], pools.kw[pool]
        for hour in range(start, start + hours):
            now = part_of(part, loads[load, hour]) if load >= 0 else part
            if now > room.chips[pool, hour] or now * kw > room.kw[site, hour]:
                answer = False
                break
        if not answer:
            break
        chip_hours, whole = load_of(part, hours, start, load, loads)
        all_chip_hours += chip_hours
        gb = gb_of(job, leg, chip_hours, jobs, arms)
        if gb > 0 and not _bears(gb, whole, route, start, start + hours, load, routes, loads, room):
            answer = False
            break
        leg = arms[leg].then
    if answer and quota >= 0 and all_chip_hours > room.chip_hours[quota]:
        answer = False
    return answer


@njit(cache=True)
def _take(
    job: int, arm: int, start: int, times: float, pools: Pools, routes: Routes, jobs: Jobs, arms: Array, loads: Array,
    room: Used, floor: Array,
) -> None:  # fmt: skip
    """Take what an option uses off the room (or give it back); `floor` is the room of each pool in its fullest hour."""
    add_option(job, arm, start, -times, pools, routes, jobs, arms, loads, room)
    leg = arm
    while leg >= 0:
        pool, least = arms[leg].pool, np.inf
        for hour in range(room.chips.shape[1]):
            least = min(least, room.chips[pool, hour])
        floor[pool] = least
        leg = arms[leg].then


@njit(cache=True)
def _is_kept(room: Used, arm: int, arms: Array, pools: Pools, routes: Routes) -> bool:
    """Whether no limit is passed that legs of an arm share."""
    answer, leg = True, arm
    while leg >= 0:
        pool, route = arms[leg].pool, arms[leg].route
        for hour in range(room.chips.shape[1]):
            if room.chips[pool, hour] < 0 or room.kw[pools.site[pool], hour] < 0:
                answer = False
            if route >= 0:
                if routes.site[route] >= 0 and room.gb_in[routes.site[route], hour] < 0:
                    answer = False
                for at in range(routes.starts[route], routes.starts[route + 1]):
                    if room.gb_over[routes.links[at], hour] < 0:
                        answer = False
        leg = arms[leg].then
    return answer


@njit(cache=True)
def _fits(
    job: int, arm: int, start: int, pools: Pools, routes: Routes, jobs: Jobs, arms: Array, loads: Array, room: Used
) -> bool:
    """Whether one more job fits in by an option, also where its legs share what there is."""
    answer = _has_room(job, arm, start, pools, routes, jobs, arms, loads, room)
    if not answer or arms[arm].then < 0:
        return answer
    add_option(job, arm, start, -1.0, pools, routes, jobs, arms, loads, room)
    answer = _is_kept(room, arm, arms, pools, routes)
    add_option(job, arm, start, 1.0, pools, routes, jobs, arms, loads, room)
    return answer


@njit(cache=True)
def _search(
    job: int, work: float, pools: Pools, routes: Routes, jobs: Jobs, menus: Array, arms: Array, loads: Array,
    least: Array, sums: Sums, room: Used, floor: Array,
) -> tuple[float, int, int]:  # fmt: skip
    """The option that costs least under prices of those that there is room for: its cost, arm and first hour."""
    gb, load, quota, is_elastic = jobs.gb[job], jobs.load[job], jobs.quota[job], jobs.elastic[job]
    opens, closes = jobs.opens[job], jobs.closes[job]
    chips_at_least = 1.0 if is_elastic else jobs.chips[job]
    best, best_arm, best_start = jobs.unserved_cny[job], -1, 0
    for arm in range(menus[jobs.menu[job]], menus[jobs.menu[job] + 1]):
        rest = gb * least[arm].rest_cny_per_gb + chips_at_least * least[arm].rest_cny_per_chip + least[arm].rest_cny
        if work * least[arm].cny_per_chip_h + rest >= best:
            break
        hours, chips = hours_of(job, arm, jobs, arms), chips_of(job, arm, jobs, arms)
        if hours > closes - opens:
            continue
        if load >= 0 or quota >= 0 or arms[arm].then >= 0 or arms[arm].share < 1.0:
            for start in range(opens, closes - hours + 1):
                cost = option_cny(job, arm, start, jobs, arms, loads, sums)
                if cost < best and _fits(job, arm, start, pools, routes, jobs, arms, loads, room):
                    best, best_arm, best_start = cost, arm, start
            continue
        pool, route = arms[arm].pool, arms[arm].route
        if is_elastic and hours == room.chips.shape[1] and chips > floor[pool]:
            continue
        cny = fixed_cny(job, arm, chips, jobs, arms)
        if cny + chips * sums.least_chip[pool, hours] >= best:
            continue
        site, kw = pools.site[pool], pools.kw[pool] * chips
        gb_per_h = (gb * arms[arm].gb_share) / hours + arms[arm].gb_per_chip_h * chips if route >= 0 else 0.0
        run = 0
        for hour in range(opens, closes):
            run = run + 1 if chips <= room.chips[pool, hour] and kw <= room.kw[site, hour] else 0
            if run < hours:
                continue
            start = hour + 1 - hours
            cost = cny + chips * (sums.chip[pool, hour + 1] - sums.chip[pool, start])
            if gb_per_h > 0:
                cost += gb_per_h * (sums.gb[route, hour + 1] - sums.gb[route, start])
            if cost < best and (
                gb_per_h <= 0 or _bears(gb_per_h, 1.0, route, start, hour + 1, -1, routes, loads, room)
            ):
                best, best_arm, best_start = cost, arm, start
    return best, best_arm, best_start


@njit(cache=True)
def _keep(
    order: Array, pools: Pools, routes: Routes, jobs: Jobs, arms: Array, loads: Array, placed: Placed, room: Used,
    floor: Array,
) -> None:  # fmt: skip
    """Leave jobs in their places, in this order, as long as there is room; the others have none then."""
    for one in order:
        job, arm, start = placed.job[one], placed.arm[one], placed.start[one]
        if arm >= 0 and not _fits(job, arm, start, pools, routes, jobs, arms, loads, room):
            placed.arm[one] = -1
        elif arm >= 0:
            _take(job, arm, start, 1.0, pools, routes, jobs, arms, loads, room, floor)


@njit(cache=True)
def _fill(
    order: Array, work: Array, pools: Pools, routes: Routes, jobs: Jobs, menus: Array, arms: Array, loads: Array,
    least: Array, sums: Sums, wanted: Wanted, placed: Placed, cny: Array, room: Used, floor: Array,
) -> None:  # fmt: skip
    """Place jobs in this order; `cny` is what each costs under prices."""
    for one in order:
        job = placed.job[one]
        cny[one], arm, start = jobs.unserved_cny[job], -1, 0
        for at in range(wanted.starts[job], wanted.starts[job + 1]):
            arm_of, start_of = wanted.arm[at], wanted.start[at]
            if _has_room(job, arm_of, start_of, pools, routes, jobs, arms, loads, room) and (
                arms[arm_of].then < 0 or _fits(job, arm_of, start_of, pools, routes, jobs, arms, loads, room)
            ):
                cny[one], arm, start = wanted.cny[at], arm_of, start_of
                break
        if arm < 0:
            cny[one], arm, start = _search(
                job, work[job], pools, routes, jobs, menus, arms, loads, least, sums, room, floor
            )
        placed.arm[one], placed.start[one] = arm, start
        if arm >= 0:
            _take(job, arm, start, 1.0, pools, routes, jobs, arms, loads, room, floor)


@njit(inline="always")
def _link(one: int, pool: int, head: Array, after: Array, before: Array) -> None:
    after[one], before[one] = head[pool], -1
    if head[pool] >= 0:
        before[head[pool]] = one
    head[pool] = one


@njit(inline="always")
def _unlink(one: int, pool: int, head: Array, after: Array, before: Array) -> None:
    if before[one] >= 0:
        after[before[one]] = after[one]
    else:
        head[pool] = after[one]
    if after[one] >= 0:
        before[after[one]] = before[one]


@njit(cache=True)
def _take_all(
    ones: Array, times: float, placed: Placed, pools: Pools, routes: Routes, jobs: Jobs, arms: Array, loads: Array,
    room: Used, floor: Array,
) -> None:  # fmt: skip
    """Take what these jobs use off the room, or give it back."""
    for one in ones:
        if placed.arm[one] >= 0:
            job, arm, start = placed.job[one], placed.arm[one], placed.start[one]
            _take(job, arm, start, times, pools, routes, jobs, arms, loads, room, floor)


@njit(cache=True)
def _exchange(
    tries: int, seed: int, lost: Array, work: Array, pools: Pools, routes: Routes, jobs: Jobs, menus: Array,
    arms: Array, loads: Array, least: Array, sums: Sums, money: Sums, found: Cheapest, placed: Placed, room: Used,
    floor: Array,
) -> None:  # fmt: skip
    np.random.seed(seed)
    number = placed.job.size
    # Who is in a pool (by the first leg), as lists.
    head = np.full(pools.site.size, -1, np.int32)
    after, before, cny = np.full(number, -1, np.int32), np.full(number, -1, np.int32), np.empty(number)
    for one in range(number):
        job, arm = placed.job[one], placed.arm[one]
        cny[one] = jobs.unserved_cny[job]
        if arm >= 0:
            _link(one, arms[arm].pool, head, after, before)
            cny[one] = option_cny(job, arm, placed.start[one], jobs, arms, loads, money)
    out, key = np.empty(MOST_OUT, np.int32), np.empty(MOST_OUT)
    old_arm, old_start, old_cny = np.empty(MOST_OUT, np.int32), np.empty(MOST_OUT, np.int16), np.empty(MOST_OUT)
    there = np.empty(number, np.int32)
    for _ in range(tries):
        # The more a job has lost, the more often it is tried.
        one = min(np.searchsorted(lost, np.random.random() * lost[number - 1]), number - 1)
        job = placed.job[one]
        menu = jobs.menu[job]
        if found.arm[job] < 0:
            continue
        arm, start = found.arm[job], found.start[job]
        if np.random.random() >= CHEAPEST_CHANCE:
            arm = menus[menu] + np.random.randint(min(menus[menu + 1] - menus[menu], MOST_ARMS))
            slack = jobs.closes[job] - jobs.opens[job] - hours_of(job, arm, jobs, arms)
            if slack < 0:
                continue
            start = jobs.opens[job] + np.random.randint(slack + 1)
        end, pool, want = start + hours_of(job, arm, jobs, arms), arms[arm].pool, chips_of(job, arm, jobs, arms)
        near, other = 0, head[pool]
        while other >= 0:
            begins = placed.start[other]
            if (
                other != one
                and begins < end
                and begins + hours_of(placed.job[other], placed.arm[other], jobs, arms) > start
            ):
                there[near] = other
                near += 1
            other = after[other]
        out[0], size, freed = one, 1, 0.0
        enough = want * (1.0 + (MOST_FREED - 1.0) * np.random.random())
        while near > 0 and size < MOST_OUT and freed < enough:
            at = np.random.randint(near)
            out[size] = there[at]
            freed += chips_of(placed.job[there[at]], placed.arm[there[at]], jobs, arms)
            near -= 1
            size += 1
            there[at] = there[near]
        cost = 0.0
        for at in range(size):
            other = out[at]
            of = placed.job[other]
            old_arm[at], old_start[at], old_cny[at] = placed.arm[other], placed.start[other], cny[other]
            cost += cny[other]
            key[at] = -(jobs.unserved_cny[of] - found.cny[of]) * (0.5 + np.random.random())
            if placed.arm[other] >= 0:
                _unlink(other, arms[placed.arm[other]].pool, head, after, before)
        _take_all(out[:size], -1.0, placed, pools, routes, jobs, arms, loads, room, floor)
        key[0] = -np.inf
        for at in np.argsort(key[:size]):
            other = out[at]
            of = placed.job[other]
            _, arm, start = _search(of, work[of], pools, routes, jobs, menus, arms, loads, least, sums, room, floor)
            placed.arm[other], placed.start[other], cny[other] = arm, start, jobs.unserved_cny[of]
            if arm >= 0:
                _take(of, arm, start, 1.0, pools, routes, jobs, arms, loads, room, floor)
                cny[other] = option_cny(of, arm, start, jobs, arms, loads, money)
            cost -= cny[other]
        if cost < 0.0:
            _take_all(out[:size], -1.0, placed, pools, routes, jobs, arms, loads, room, floor)
            for at in range(size):
                placed.arm[out[at]], placed.start[out[at]], cny[out[at]] = old_arm[at], old_start[at], old_cny[at]
            _take_all(out[:size], 1.0, placed, pools, routes, jobs, arms, loads, room, floor)
        for at in range(size):
            if placed.arm[out[at]] >= 0:
                _link(out[at], arms[placed.arm[out[at]]].pool, head, after, before)
