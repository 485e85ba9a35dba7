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
    most_chips,
    option_cny,
    sum_product,
    sums_of,
    unserved,
    used_by,
    work_of,
)
from karez.plan.placing.program import (
    NONE,
    WHOLE,
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
# Jobs that are taken out together at most, and how much room they make, at most, for a unit that the first one wants.
MOST_OUT, MOST_FREED = 600, 1.5
# Those that use the same are gathered from so many on no further. What they may share: a pool, a site, a link.
MOST_NEAR = 4_000
POOL, SITE, LINK = 0, 1, 2
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
        cny = fill(self.menus, sums, self.wanted, self.work, order, placed, room, floor_of(room))
        self.late = self.late + (cny - self.found.cny[of])
        value = value_of(program, placed)
        if value < self.cny:
            self.best, self.cny = placed, value
        return value

    def after(self, program: Program) -> Whole:
        """The plan for a program with the same jobs and menus but other limits.

        Jobs stay where they are if there is room when it is their turn. The hardest to place come first, so those who
        lost their place take that of others who find one more easily. Who had none comes last.
        """
        menus = self.menus._replace(program=program, most_chips=most_chips(program))
        found = cheapest(menus, sums_of(program, self.prices), self.found)
        placed = Placed(self.best.job, self.best.arm.copy(), self.best.start.copy())
        order = np.lexsort((-self.late, placed.arm < 0))
        room, sums = room_of(program, None), sums_of(program, self.prices)
        fill(menus, sums, self.wanted, self.work, order, placed, room, floor_of(room))
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
            self.found, placed, room, floor_of(room), _over(program), _within(program),
        )  # fmt: skip
        value = value_of(program, placed)
        if value < self.cny:
            self.best, self.cny = placed, value


def _over(program: Program) -> Runs:
    """The routes that lead over each link."""
    routes = program.routes
    route = np.repeat(np.arange(len(routes.site)), np.diff(routes.starts))
    return _runs(routes.links, route, len(program.limits.gb_over))


def _within(program: Program) -> Runs:
    """The pools at each site."""
    return _runs(program.pools.site, np.arange(len(program.pools.site)), len(program.limits.kw))


def _runs(of: Array, rows: Array, count: int) -> Runs:
    order = np.argsort(of, kind="stable")
    return Runs(np.searchsorted(of[order], np.arange(count + 1)), rows[order])


def fill(
    menus: Sorted, sums: Sums, wanted: Wanted, work: Array, order: Array, placed: Placed, room: Used, floor: Array
) -> Array:
    """Place jobs (positions in `placed`) in this order, where they are if they can; take what they use off the room.

    `floor` is the room of each pool in its fullest hour and in its emptiest. Returns what each costs under the prices
    of `sums` (CNY), in the order of `placed`.
    """
    program, cny = menus.program, np.zeros(len(placed.job))
    _fill(
        order, work, program.pools, program.routes, program.jobs, program.menus, program.arms, program.loads,
        menus.least, sums, wanted, placed, cny, room, floor,
    )  # fmt: skip
    return cny


def begun(menus: Sorted, prices: Used, columns: Columns, near: Cheapest | None = None) -> Whole:
    """Nobody served yet; prices and columns are those of a relaxation, `near` what was the cheapest there."""
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
    found = cheapest(menus, sums, near or unserved(program))
    return Whole(menus, prices, found, wanted, nobody, program.unserved_cny, work, late)


def room_of(program: Program, placed: Placed | None) -> Used:
    """What is left of everything, with room for rounding."""
    room = Used(*(limit * (1.0 + ROUNDING_SHARE) for limit in available(program)))
    room.chips[:] = program.pools.chips
    if placed is not None:
        for left, used in zip(room, used_of(program, placed), strict=True):
            left -= used
    return room


def floor_of(room: Used) -> Array:
    """The room of each pool in its fullest hour and in its emptiest, shape (pools, 2)."""
    return np.stack([room.chips.min(axis=1), room.chips.max(axis=1)], axis=1)


def chosen_of(placed: Placed) -> Chosen:
    """Those who are served, as options."""
    rows = np.flatnonzero(placed.arm >= 0)
    return Chosen(placed.job[rows], placed.arm[rows], placed.start[rows], np.ones(len(rows)))


def used_of(program: Program, placed: Placed) -> Used:
    """What a plan uses of everything."""
    return used_by(program, chosen_of(placed))


def value_of(program: Program, placed: Placed) -> float:
    """What a plan costs, with those who are not served (CNY)."""
    served = cny_of(program, chosen_of(placed), sums_of(program, nothing(program)))
    lost = program.jobs.unserved_cny[placed.job[placed.arm < 0]]
    return sum_product(served, np.ones(len(served))) + sum_product(lost, np.ones(len(lost)))


@njit(cache=True)
def _works(jobs: Jobs, loads: Array, work: Array) -> None:
    for job in range(work.size):
        work[job] = work_of(job, jobs, loads)


@njit(inline="always")
def _bears(
    gb: float, whole: float, route: int, begin: int, end: int, load: int, routes: Routes, loads: Array, room: Used
) -> bool:
    """Whether data still fit over a route."""
    answer, links, gb_in, gb_over = True, routes.links, room.gb_in, room.gb_over
    site, first, last = routes.site[route], routes.starts[route], routes.starts[route + 1]
    for hour in range(begin, end):
        moved = gb * (loads[load, hour] if load >= 0 else 1.0) / whole
        if site >= 0 and moved > gb_in[site, hour]:
            answer = False
            break
        for at in range(first, last):
            if moved > gb_over[links[at], hour]:
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
    answer, leg, all_chip_hours, chips_left, kw_left = True, arm, 0.0, room.chips, room.kw
    while leg >= 0:
        pool, route, part = arms[leg].pool, arms[leg].route, part_of(chips, arms[leg].share)
        site, kw = pools.site[pool], pools.kw[pool]
        for hour in range(start, start + hours):
            now = part_of(part, loads[load, hour]) if load >= 0 else part
            if now > chips_left[pool, hour] or now * kw > kw_left[site, hour]:
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
    """Take what an option uses off the room (or give it back), and see to `floor` (as of `floor_of`)."""
    add_option(job, arm, start, -times, pools, routes, jobs, arms, loads, room)
    leg, chips = arm, room.chips
    while leg >= 0:
        pool, least, most = arms[leg].pool, np.inf, 0.0
        for hour in range(chips.shape[1]):
            least, most = min(least, chips[pool, hour]), max(most, chips[pool, hour])
        floor[pool, 0], floor[pool, 1] = least, most
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
    opens, closes, wanted, needed_h = jobs.opens[job], jobs.closes[job], jobs.chips[job], jobs.hours[job]
    # Names of their own: to ask a tuple for one of its arrays counts references.
    chip, gb_sums, least_chip, site_of, kw_of = sums.chip, sums.gb, sums.least_chip, pools.site, pools.kw
    chips_left, kw_left = room.chips, room.kw
    chips_at_least = 1.0 if is_elastic else jobs.chips[job]
    best, best_arm, best_start = jobs.unserved_cny[job], -1, 0
    for arm in range(menus[jobs.menu[job]], menus[jobs.menu[job] + 1]):
        rest = gb * least[arm].rest_cny_per_gb + chips_at_least * least[arm].rest_cny_per_chip + least[arm].rest_cny
        if work * least[arm].cny_per_chip_h + rest >= best:
            break
        if is_elastic:
            hours, chips = closes - opens, int(np.ceil(wanted / arms[arm].speed - WHOLE))
        else:
            hours, chips = max(1, int(np.ceil(needed_h / arms[arm].speed - WHOLE))), int(wanted)
        if hours > closes - opens:
            continue
        if load >= 0 or quota >= 0 or arms[arm].then >= 0 or arms[arm].share < 1.0:
            for start in range(opens, closes - hours + 1):
                cost = option_cny(job, arm, start, jobs, arms, loads, sums)
                if cost < best and _fits(job, arm, start, pools, routes, jobs, arms, loads, room):
                    best, best_arm, best_start = cost, arm, start
            continue
        pool, route = arms[arm].pool, arms[arm].route
        if chips > floor[pool, 1] or (is_elastic and hours == chips_left.shape[1] and chips > floor[pool, 0]):
            continue
        cny = arms[arm].cny + arms[arm].cny_per_gb * gb + arms[arm].cny_per_chip * chips
        if cny + chips * least_chip[pool, hours] >= best:
            continue
        site, kw = site_of[pool], kw_of[pool] * chips
        gb_per_h = (gb * arms[arm].gb_share) / hours + arms[arm].gb_per_chip_h * chips if route >= 0 else 0.0
        run = 0
        for hour in range(opens, closes):
            run = run + 1 if chips <= chips_left[pool, hour] and kw <= kw_left[site, hour] else 0
            if run < hours:
                continue
            start = hour + 1 - hours
            cost = cny + chips * (chip[pool, hour + 1] - chip[pool, start])
            if gb_per_h > 0:
                cost += gb_per_h * (gb_sums[route, hour + 1] - gb_sums[route, start])
            if cost < best and (
                gb_per_h <= 0 or _bears(gb_per_h, 1.0, route, start, hour + 1, -1, routes, loads, room)
            ):
                best, best_arm, best_start = cost, arm, start
    return best, best_arm, best_start


@njit(cache=True)
def _fill(
    order: Array, work: Array, pools: Pools, routes: Routes, jobs: Jobs, menus: Array, arms: Array, loads: Array,
    least: Array, sums: Sums, wanted: Wanted, placed: Placed, cny: Array, room: Used, floor: Array,
) -> None:  # fmt: skip
    """Place jobs in this order, those that have a place where they are if there is room; `cny`: each under prices."""
    of_job, of_arm, of_start, dear = placed.job, placed.arm, placed.start, jobs.unserved_cny
    first, wanted_arm, wanted_start, wanted_cny = wanted.starts, wanted.arm, wanted.start, wanted.cny
    for one in order:
        job = of_job[one]
        arm, start = of_arm[one], of_start[one]
        if arm >= 0 and _fits(job, arm, start, pools, routes, jobs, arms, loads, room):
            cny[one] = option_cny(job, arm, start, jobs, arms, loads, sums)
            _take(job, arm, start, 1.0, pools, routes, jobs, arms, loads, room, floor)
            continue
        cny[one], arm, start = dear[job], -1, 0
        for at in range(first[job], first[job + 1]):
            arm_of, start_of = wanted_arm[at], wanted_start[at]
            if _has_room(job, arm_of, start_of, pools, routes, jobs, arms, loads, room) and (
                arms[arm_of].then < 0 or _fits(job, arm_of, start_of, pools, routes, jobs, arms, loads, room)
            ):
                cny[one], arm, start = wanted_cny[at], arm_of, start_of
                break
        if arm < 0:
            cny[one], arm, start = _search(
                job, work[job], pools, routes, jobs, menus, arms, loads, least, sums, room, floor
            )
        of_arm[one], of_start[one] = arm, start
        if arm >= 0:
            _take(job, arm, start, 1.0, pools, routes, jobs, arms, loads, room, floor)


class Lists(NamedTuple):
    """Lists of jobs: the first of each list, and who comes after and before each job."""

    head: Array
    after: Array
    before: Array


class Runs(NamedTuple):
    """Rows by what they belong to: those of k from `starts[k]` to `starts[k + 1]`."""

    starts: Array
    rows: Array


@njit(cache=True)
def _lists(number: int, lists: int) -> Lists:
    return Lists(np.full(lists, -1, np.int32), np.full(number, -1, np.int32), np.full(number, -1, np.int32))


@njit(cache=True)
def _put(one: int, list_: int, lists: Lists) -> None:
    head, after, before = lists.head, lists.after, lists.before
    after[one], before[one] = head[list_], -1
    if head[list_] >= 0:
        before[head[list_]] = one
    head[list_] = one


@njit(cache=True)
def _drop(one: int, list_: int, lists: Lists) -> None:
    head, after, before = lists.head, lists.after, lists.before
    if before[one] >= 0:
        after[before[one]] = after[one]
    else:
        head[list_] = after[one]
    if after[one] >= 0:
        before[after[one]] = before[one]


@njit(cache=True)
def _link(one: int, pool: int, route: int, in_pool: Lists, on_route: Lists) -> None:
    _put(one, pool, in_pool)
    if route >= 0:
        _put(one, route, on_route)


@njit(cache=True)
def _unlink(one: int, pool: int, route: int, in_pool: Lists, on_route: Lists) -> None:
    _drop(one, pool, in_pool)
    if route >= 0:
        _drop(one, route, on_route)


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
def _gb_per_h(job: int, arm: int, chips: int, hours: int, data: Array, arms: Array) -> float:
    """Data that come over the route of an arm in an hour, on average."""
    gb = 0.0
    if arms[arm].route >= 0:
        gb = data[job] * arms[arm].gb_share / hours + arms[arm].gb_per_chip_h * chips
    return gb


@njit(cache=True)
def _lacking(
    pool: int, route: int, chips: int, gb_per_h: float, start: int, end: int, pools: Pools, routes: Routes, room: Used
) -> tuple[int, int]:  # fmt: skip
    """Of what there is too little for an option: the kind (POOL, SITE, LINK) and the row; one of several by chance."""
    chips_left, kw_left, gb_over, gb_in = room.chips, room.kw, room.gb_over, room.gb_in
    site, kw = pools.site[pool], pools.kw[pool] * chips
    kind, row, seen = POOL, pool, 0
    short_chips = short_site = False
    for hour in range(start, end):
        short_chips = short_chips or chips > chips_left[pool, hour]
        short_site = short_site or kw > kw_left[site, hour]
        if route >= 0 and routes.site[route] >= 0:
            short_site = short_site or gb_per_h > gb_in[routes.site[route], hour]
    if short_chips:
        seen += 1
    if short_site:
        seen += 1
        if np.random.random() * seen < 1.0:
            kind, row = SITE, site
    if route >= 0 and gb_per_h > 0:
        links = routes.links
        for at in range(routes.starts[route], routes.starts[route + 1]):
            link, short = links[at], False
            for hour in range(start, end):
                short = short or gb_per_h > gb_over[link, hour]
            if short:
                seen += 1
                if np.random.random() * seen < 1.0:
                    kind, row = LINK, link
    return kind, row


@njit(cache=True)
def _exchange(
    tries: int, seed: int, lost: Array, work: Array, pools: Pools, routes: Routes, jobs: Jobs, menus: Array,
    arms: Array, loads: Array, least: Array, sums: Sums, money: Sums, found: Cheapest, placed: Placed, room: Used,
    floor: Array, over: Runs, within: Runs,
) -> None:  # fmt: skip
    np.random.seed(seed)
    of_job, of_arm, of_start, found_arm, found_start = placed.job, placed.arm, placed.start, found.arm, found.start
    opens, closes, needed_h, elastic, data = jobs.opens, jobs.closes, jobs.hours, jobs.elastic, jobs.gb
    wanted, kw_of, number = jobs.chips, pools.kw, placed.job.size
    # Who is in a pool and who comes over a route (by the first leg), as lists.
    in_pool, on_route = _lists(number, pools.site.size), _lists(number, routes.site.size)
    cny = np.empty(number)
    for one in range(number):
        job, arm = of_job[one], of_arm[one]
        cny[one] = jobs.unserved_cny[job]
        if arm >= 0:
            _link(one, arms[arm].pool, arms[arm].route, in_pool, on_route)
            cny[one] = option_cny(job, arm, of_start[one], jobs, arms, loads, money)
    out, key = np.empty(MOST_OUT, np.int32), np.empty(MOST_OUT)
    old_arm, old_start, old_cny = np.empty(MOST_OUT, np.int32), np.empty(MOST_OUT, np.int16), np.empty(MOST_OUT)
    there, until, frees = np.empty(number, np.int32), np.empty(number, np.int16), np.empty(number)
    lacks = np.empty(room.chips.shape[1])
    for _ in range(tries):
        # The more a job has lost, the more often it is tried.
        one = min(np.searchsorted(lost, np.random.random() * lost[number - 1]), number - 1)
        job = of_job[one]
        menu = jobs.menu[job]
        if found_arm[job] < 0:
            continue
        arm, start = found_arm[job], found_start[job]
        if np.random.random() >= CHEAPEST_CHANCE:
            arm = menus[menu] + np.random.randint(min(menus[menu + 1] - menus[menu], MOST_ARMS))
            slack = closes[job] - opens[job] - hours_of(job, arm, jobs, arms)
            if slack < 0:
                continue
            start = opens[job] + np.random.randint(slack + 1)
        hours, chips = hours_of(job, arm, jobs, arms), chips_of(job, arm, jobs, arms)
        end, pool, gb_per_h = start + hours, arms[arm].pool, _gb_per_h(job, arm, chips, hours, data, arms)
        kind, row = _lacking(pool, arms[arm].route, chips, gb_per_h, start, end, pools, routes, room)
        # Who uses it in the same hours, and how much of it.
        want, runs, first, last, left = float(chips), in_pool, row, row + 1, room.chips[row]
        if kind == SITE:
            want, first, last, left = chips * kw_of[pool], within.starts[row], within.starts[row + 1], room.kw[row]
        elif kind == LINK:
            want, runs, first, last, left = (
                gb_per_h,
                on_route,
                over.starts[row],
                over.starts[row + 1],
                room.gb_over[row],
            )
        near, begin = 0, np.random.randint(last - first) if last > first else 0
        for turn in range(last - first):
            if near >= MOST_NEAR:
                break
            at = first + (begin + turn) % (last - first)
            list_ = at if kind == POOL else within.rows[at] if kind == SITE else over.rows[at]
            other = runs.head[list_]
            while other >= 0:
                begins = of_start[other]
                if other != one and begins < end:
                    of, by = of_job[other], of_arm[other]
                    takes = closes[of] - opens[of]
                    if not elastic[of]:
                        takes = max(1, int(np.ceil(needed_h[of] / arms[by].speed - WHOLE)))
                    if begins + takes > start:
                        on = int(wanted[of])
                        if elastic[of]:
                            on = int(np.ceil(wanted[of] / arms[by].speed - WHOLE))
                        there[near], until[near], frees[near] = other, min(begins + takes, end), float(on)
                        if kind == SITE:
                            frees[near] = on * kw_of[arms[by].pool]
                        elif kind == LINK:
                            frees[near] = _gb_per_h(of, by, on, takes, data, arms)
                        near += 1
                other = runs.after[other]
        enough, lacking = want * (1.0 + (MOST_FREED - 1.0) * np.random.random()), 0
        for hour in range(start, end):
            lacks[hour] = enough - left[hour]
            lacking += lacks[hour] > 0.0
        out[0], size = one, 1
        while near > 0 and size < MOST_OUT and lacking > 0:
            at = np.random.randint(near)
            other, frees_now, ends, helps = there[at], frees[at], until[at], False
            near -= 1
            there[at], until[at], frees[at] = there[near], until[near], frees[near]
            begins = max(of_start[other], start)
            for hour in range(begins, ends):
                helps = helps or lacks[hour] > 0.0
            if not helps:
                continue
            for hour in range(begins, ends):
                lacking -= 0.0 < lacks[hour] <= frees_now
                lacks[hour] -= frees_now
            out[size] = other
            size += 1
        # Where there is too little room still, nobody need be taken out.
        is_vain = False
        for hour in range(start, end):
            is_vain = is_vain or lacks[hour] > enough - want
        if is_vain:
            continue
        cost = 0.0
        for at in range(size):
            other = out[at]
            of = of_job[other]
            old_arm[at], old_start[at], old_cny[at] = of_arm[other], of_start[other], cny[other]
            cost += cny[other]
            key[at] = -(jobs.unserved_cny[of] - found.cny[of]) * (0.5 + np.random.random())
            if of_arm[other] >= 0:
                _unlink(other, arms[of_arm[other]].pool, arms[of_arm[other]].route, in_pool, on_route)
        _take_all(out[:size], -1.0, placed, pools, routes, jobs, arms, loads, room, floor)
        key[0] = -np.inf
        for at in np.argsort(key[:size]):
            other = out[at]
            of = of_job[other]
            _, arm, start = _search(of, work[of], pools, routes, jobs, menus, arms, loads, least, sums, room, floor)
            of_arm[other], of_start[other], cny[other] = arm, start, jobs.unserved_cny[of]
            if arm >= 0:
                _take(of, arm, start, 1.0, pools, routes, jobs, arms, loads, room, floor)
                cny[other] = option_cny(of, arm, start, jobs, arms, loads, money)
            cost -= cny[other]
        if cost < 0.0:
            _take_all(out[:size], -1.0, placed, pools, routes, jobs, arms, loads, room, floor)
            for at in range(size):
                of_arm[out[at]], of_start[out[at]], cny[out[at]] = old_arm[at], old_start[at], old_cny[at]
            _take_all(out[:size], 1.0, placed, pools, routes, jobs, arms, loads, room, floor)
        for at in range(size):
            if of_arm[out[at]] >= 0:
                _link(out[at], arms[of_arm[out[at]]].pool, arms[of_arm[out[at]]].route, in_pool, on_route)
