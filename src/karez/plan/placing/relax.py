"""The linear relaxation: prices of everything that is shared, and with them a bound for every plan.

Options that were the cheapest under some prices are columns. A primal-dual method moves shares of them and prices a few
steps at a time; then every option of every job is priced (`pricing.cheapest`), which gives a bound and new columns.
There is no matrix: what columns use are differences of prefix sums.

Source: A. Chambolle, T. Pock, "A first-order primal-dual algorithm for convex problems" (2011), with the step lengths
of T. Pock, A. Chambolle, "Diagonal preconditioning for first order primal-dual algorithms" (2011).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numba import njit

from karez.plan.placing.pricing import (
    Cheapest,
    Sorted,
    Sums,
    cheapest,
    fixed_cny,
    sum_product,
    sum_up,
    sums_of,
    unserved,
)
from karez.plan.placing.program import (
    NONE,
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
from karez.twin.table import Array

# What a limit counts as at least, so that one of zero has a price.
LEAST_LIMIT = 1e-9
# Step lengths as a share of the longest for which the method is known to converge.
STEP_SHARE = 0.99
# The weight of prices against shares, as a multiple of what their lengths would say; and what it begins with.
WEIGHT, FIRST_WEIGHT = 2.0, 0.5
# Columns without a share that cost so much more than the cheapest, as a share of it, are dropped.
DROPPED_SHARE = 0.03
# Jobs are priced in so many parts, one after each few steps.
PARTS = 3
# What is added to a pool counts for steps as so many times what it was, and as so many chips at least.
GROWN_TIMES, LEAST_GROWN = 2.0, 64.0
# No price is so many times what it costs at most not to serve a job: of what there is none its limit says nothing.
HIGHEST_TIMES = 1e3
# A pool to which this share is added of what may be has all of it.
ALL_SHARE = 0.95
# Shares and amounts below this are none.
NOTHING = 1e-9
# A run of hours in which an option takes as many chips of a pool, and as many GB an hour over a route. An option whose
# load varies, or that has several legs, takes several of them, one after the other by `then`.
PIECE = [
    ("begin", np.int16),
    ("end", np.int16),
    ("pool", np.int32),
    ("route", np.int32),
    ("chips", np.float32),
    ("gb_per_h", np.float32),
    ("then", np.int32),
]
# An option that is weighed: its first piece, money that depends on no hour, the share of its class, and sums of that.
COLUMN = np.dtype([
    *PIECE,
    ("job", np.int32),
    ("arm", np.int32),
    ("start", np.int16),
    ("cny", np.float64),
    ("share", np.float64),
    ("sum", np.float64),
], align=True)  # fmt: skip
FURTHER = np.dtype(PIECE, align=True)


class Columns(NamedTuple):
    """Columns (COLUMN) sorted by job, those of job k from `starts[k]` to `starts[k + 1]`; further pieces (FURTHER)."""

    rows: Array
    starts: Array
    further: Array


@dataclass
class Relaxation:
    """The relaxation on its way: the best bound, the prices that prove it, and columns with their shares.

    Its shares leave the `spare_share` of everything unused, since whole jobs do not fill all; bounds are of the whole.
    `more` are the chips that it adds to each pool, where the program has them grow.
    """

    menus: Sorted
    spare_share: float = 0.0
    bound: float = -math.inf
    prices: Used = field(init=False)
    # The prices of the method, which need not be those that prove the best bound.
    now: Used = field(init=False)
    found: Cheapest = field(init=False)
    columns: Columns = field(init=False)
    unserved_share: Array = field(init=False)
    more: Array = field(init=False)
    weight: float = 0.0
    turn: int = 0

    def __post_init__(self) -> None:
        """Nothing has a price, nobody is served, and the bound is what all cost where they cost least."""
        program = self.menus.program
        jobs = len(program.jobs.number)
        self.prices = self.now = nothing(program)
        self.found, self.unserved_share = unserved(program), np.ones(jobs)
        self.more = np.zeros(len(program.pools.site))
        self.columns = Columns(np.empty(0, COLUMN), np.zeros(jobs + 1, np.int64), np.empty(0, FURTHER))
        self.prove(self.now)

    def prove(self, prices: Used) -> float:
        """The bound that prices prove, kept where it is better; what is cheapest under them becomes columns."""
        program = self.menus.program
        prices = _capped(program, prices, self.more)
        sums = sums_of(program, prices)
        self.found = cheapest(self.menus, sums, self.found)
        bound = bound_of(program, self.found, prices)
        if bound > self.bound:
            self.bound, self.prices = bound, prices
        self.columns = _renewed(program, self.columns, self.found, sums)
        return bound

    def step(self, steps: int) -> None:
        """So many steps of the method on the columns, then new ones of a part of the jobs by the average of prices."""
        program = self.menus.program
        if not self.weight:
            rows = sum(limit.size for limit in available(program))
            self.weight = FIRST_WEIGHT * (abs(self.bound) or 1.0) / math.sqrt(max(len(program.jobs.number) * rows, 1))
        self.unserved_share, self.more, self.now = _moved(
            program, self.columns, self.unserved_share, self.more, self.now, self.weight, steps, 1.0 - self.spare_share
        )
        # The best prices are worth no more than what is left between serving nobody and the bound. Those of now may be,
        # and a weight that followed them would drive them on.
        worth = (p * limit for p, limit in zip(self.now, available(program), strict=True))
        length = math.sqrt(sum(sum_product(one, one) for one in worth))
        length = min(length, program.unserved_cny - self.bound)
        share = self.columns.rows["share"].copy()
        shares = math.sqrt(sum_product(share, share) + sum_product(self.unserved_share, self.unserved_share))
        if length > 0:
            self.weight = math.sqrt(self.weight * WEIGHT * length / shares)
        sums = sums_of(program, self.now)
        self.found = cheapest(self.menus, sums, self.found, first=self.turn % PARTS, each=PARTS)
        self.turn += 1
        self.columns = _renewed(program, self.columns, self.found, sums)


def bound_of(program: Program, found: Cheapest, prices: Used) -> float:
    """What every plan costs at least, by what is cheapest for each job under prices (CNY)."""
    there = zip(prices, available(program), strict=True)
    least = sum_product(found.cny, program.jobs.number) - sum(sum_product(price, limit) for price, limit in there)
    if program.growth is not None:
        gain = np.maximum(prices.chips.sum(axis=1) - program.growth.cny, 0.0)
        least -= sum_product(gain, program.growth.most)
    return least


def _capped(program: Program, prices: Used, more: Array) -> Used:
    """The prices, none so high that sums over hours lose what others are.

    Where a chip may be added it is worth no more than it costs unless all that may be are. Any prices prove a bound,
    but one that is worth more loses what all that may be added would gain.
    """
    highest = HIGHEST_TIMES * float(program.jobs.unserved_cny.max(initial=1.0))
    prices = Used(*(np.minimum(each, highest) for each in prices))
    if program.growth is None:
        return prices
    (cost, most), worth = program.growth, prices.chips.sum(axis=1)
    over = (worth > cost) & (more < ALL_SHARE * most)
    share = np.divide(cost, worth, out=np.ones(len(worth)), where=over)
    return prices._replace(chips=prices.chips * share[:, None])


def _renewed(program: Program, columns: Columns, found: Cheapest, sums: Sums) -> Columns:
    """The columns that may still matter and what was found, each of them once."""
    new = _count_pieces(program.jobs, program.arms, program.loads, found)
    rows = np.empty(len(columns.rows) + len(found.arm), COLUMN)
    further = np.empty(len(columns.further) + new, FURTHER)
    starts = np.zeros(len(columns.starts), np.int64)
    size, pieces = _renew(program.jobs, program.arms, program.loads, columns, found, sums, rows, starts, further)
    return Columns(rows[:size], starts, further[:pieces])


def _moved(
    program: Program,
    columns: Columns,
    unserved_share: Array,
    more: Array,
    prices: Used,
    weight: float,
    steps: int,
    used_share: float,
) -> tuple[Array, Array, Used]:
    """Shares of jobs that are not served, chips that are added, and prices after so many steps, averages of them.

    Shares of columns are written.
    """
    pools, routes, jobs, count = program.pools, program.routes, program.jobs, program.jobs.number.astype(float)
    whole = Used(*(limit * used_share for limit in available(program)))
    limits = Used(*(np.maximum(limit, LEAST_LIMIT) for limit in whole))
    # What a pool may grow by counts as much as what it has, as far as it is likely to grow.
    cost, most = program.growth or (np.zeros(len(pools.site)), np.zeros(len(pools.site)))
    room = np.minimum(most, np.maximum(GROWN_TIMES * more, LEAST_GROWN))
    limits = limits._replace(chips=limits.chips + room[:, None])
    # The step of a column goes by what it uses of all limits, that of a limit by what all columns use of it.
    ones, bare = Used(*(1.0 / limit for limit in limits)), pools._replace(cny=np.zeros_like(pools.cny))
    chip, gb = np.zeros((len(pools.site), program.hours + 1)), np.zeros((len(routes.site), program.hours + 1))
    sum_up(bare, routes, ones, chip, gb)
    step = np.empty(len(count))
    _steps(jobs, columns, count, chip, gb, ones.chip_hours, STEP_SHARE / weight, step)
    used, chip_used, gb_used = nothing(program), np.zeros_like(chip), np.zeros_like(gb)
    _use_all(pools, routes, jobs, columns, count, chip_used, gb_used, used)
    used.chips[:] += room[:, None]
    rise = Used(
        *(
            STEP_SHARE * weight / (np.maximum(row, LEAST_LIMIT * limit) * limit)
            for row, limit in zip(used, limits, strict=True)
        )
    )
    # What is added is a column, too, which gives room of a pool instead of taking it.
    grow = np.where(most > 0, STEP_SHARE / weight * room / (1.0 / limits.chips).sum(axis=1), 0.0)
    unserved_share, prices = unserved_share.copy(), Used(*(price.copy() for price in prices))
    sum_unserved, sum_prices, more, sum_more = np.zeros(len(count)), nothing(program), more.copy(), np.zeros(len(more))
    _move(
        pools, routes, jobs, columns, count, jobs.unserved_cny * count, whole, step, rise, unserved_share,
        prices, sum_unserved, sum_prices, chip, gb, chip_used, gb_used, used, grow, cost, most, more, sum_more, steps,
    )  # fmt: skip
    columns.rows["share"] = columns.rows["sum"] / steps
    return sum_unserved / steps, sum_more / steps, Used(*(each / steps for each in sum_prices))


@njit(inline="always")
def _end_of_run(begin: int, last: int, load: int, loads: Array) -> int:
    """The hour up to which the load stays as it is."""
    end = last
    if load >= 0:
        end = begin + 1
        while end < last and loads[load, end] == loads[load, begin]:
            end += 1
    return end


@njit(cache=True)
def _count_pieces(jobs: Jobs, arms: Array, loads: Array, found: Cheapest) -> int:
    """The pieces of what was found beside first ones."""
    number = 0
    for job in range(found.arm.size):
        arm, start, load = found.arm[job], found.start[job], jobs.load[job]
        if arm < 0 or (load < 0 and arms[arm].then < 0):
            continue
        leg, last = arm, start + hours_of(job, arm, jobs, arms)
        number -= 1
        while leg >= 0:
            begin = start
            while begin < last:
                begin = _end_of_run(begin, last, load, loads)
                number += 1
            leg = arms[leg].then
    return number


@njit(cache=True)
def _write(
    job: int, arm: int, start: int, jobs: Jobs, arms: Array, loads: Array, rows: Array, at: int, further: Array,
    free: int,
) -> int:  # fmt: skip
    """Write an option as a column and further pieces from `free` on; where there is room for the next one."""
    hours, chips, load = hours_of(job, arm, jobs, arms), chips_of(job, arm, jobs, arms), jobs.load[job]
    rows[at].job, rows[at].arm, rows[at].start = job, arm, start
    rows[at].cny, rows[at].share, rows[at].sum = fixed_cny(job, arm, chips, jobs, arms), 0.0, 0.0
    leg, last, before = arm, start + hours, -2
    while leg >= 0:
        part = part_of(chips, arms[leg].share)
        chip_hours, whole = load_of(part, hours, start, load, loads)
        gb = gb_of(job, leg, chip_hours, jobs, arms)
        route = arms[leg].route if gb > 0 else NONE
        begin = start
        while begin < last:
            end, share = _end_of_run(begin, last, load, loads), 1.0
            if load >= 0:
                share = loads[load, begin]
            now, each = part_of(part, share), gb * share / whole
            if before == -2:
                rows[at].begin, rows[at].end, rows[at].pool, rows[at].route = begin, end, arms[leg].pool, route
                rows[at].chips, rows[at].gb_per_h, rows[at].then = now, each, -1
                before = -1
            else:
                if before == -1:
                    rows[at].then = free
                else:
                    further[before].then = free
                further[free].begin, further[free].end = begin, end
                further[free].pool, further[free].route = arms[leg].pool, route
                further[free].chips, further[free].gb_per_h, further[free].then = now, each, -1
                before = free
                free += 1
            begin = end
        leg = arms[leg].then
    return free


@njit(cache=True)
def _copy(columns: Columns, row: int, rows: Array, at: int, further: Array, free: int) -> int:
    """Copy a column with its further pieces."""
    rows[at] = columns.rows[row]
    old, before = columns.rows[row].then, -1
    while old >= 0:
        further[free] = columns.further[old]
        if before < 0:
            rows[at].then = free
        else:
            further[before].then = free
        before = free
        free += 1
        old = columns.further[old].then
    return free


@njit(cache=True)
def _renew(
    jobs: Jobs, arms: Array, loads: Array, columns: Columns, found: Cheapest, sums: Sums, rows: Array, starts: Array,
    further: Array,
) -> tuple[int, int]:  # fmt: skip
    to, free = 0, 0
    for job in range(found.arm.size):
        arm, start = found.arm[job], found.start[job]
        is_new, most = arm >= 0, found.cny[job] + DROPPED_SHARE * abs(found.cny[job])
        for row in range(columns.starts[job], columns.starts[job + 1]):
            is_found = columns.rows[row].arm == arm and columns.rows[row].start == start
            is_new = is_new and not is_found
            if not is_found and columns.rows[row].share <= NOTHING:
                cny = columns.rows[row].cny + _price(
                    row, jobs.quota[job], columns.rows, columns.further, sums.chip, sums.gb, sums.quota
                )
                if cny > most:
                    continue
            free = _copy(columns, row, rows, to, further, free)
            to += 1
        if is_new:
            free = _write(job, arm, start, jobs, arms, loads, rows, to, further, free)
            to += 1
        starts[job + 1] = to
    return to, free


@njit(cache=True)
def _price(row: int, quota: int, rows: Array, further: Array, chip: Array, gb: Array, of_quotas: Array) -> float:
    """What a column costs under prices besides the money that depends on no hour."""
    piece = rows[row]
    cny: float = piece.chips * (chip[piece.pool, piece.end] - chip[piece.pool, piece.begin])
    if piece.route >= 0:
        cny += piece.gb_per_h * (gb[piece.route, piece.end] - gb[piece.route, piece.begin])
    if quota >= 0:
        cny += piece.chips * (piece.end - piece.begin) * of_quotas[quota]
    then = piece.then
    while then >= 0:
        more = further[then]
        cny += more.chips * (chip[more.pool, more.end] - chip[more.pool, more.begin])
        if more.route >= 0:
            cny += more.gb_per_h * (gb[more.route, more.end] - gb[more.route, more.begin])
        if quota >= 0:
            cny += more.chips * (more.end - more.begin) * of_quotas[quota]
        then = more.then
    return cny


@njit(cache=True)
def _add(
    row: int, times: float, quota: int, rows: Array, further: Array, chip: Array, gb: Array, of_quotas: Array
) -> None:
    """Add what a column uses to differences from hour to hour."""
    piece = rows[row]
    chip[piece.pool, piece.begin] += times * piece.chips
    chip[piece.pool, piece.end] -= times * piece.chips
    if piece.route >= 0:
        gb[piece.route, piece.begin] += times * piece.gb_per_h
        gb[piece.route, piece.end] -= times * piece.gb_per_h
    if quota >= 0:
        of_quotas[quota] += times * piece.chips * (piece.end - piece.begin)
    then = piece.then
    while then >= 0:
        more = further[then]
        chip[more.pool, more.begin] += times * more.chips
        chip[more.pool, more.end] -= times * more.chips
        if more.route >= 0:
            gb[more.route, more.begin] += times * more.gb_per_h
            gb[more.route, more.end] -= times * more.gb_per_h
        if quota >= 0:
            of_quotas[quota] += times * more.chips * (more.end - more.begin)
        then = more.then


@njit(cache=True)
def _steps(
    jobs: Jobs, columns: Columns, count: Array, chip: Array, gb: Array, of_quotas: Array, longest: float, step: Array
) -> None:
    for job in range(count.size):
        most = 0.0
        for row in range(columns.starts[job], columns.starts[job + 1]):
            most = max(
                most, count[job] * _price(row, jobs.quota[job], columns.rows, columns.further, chip, gb, of_quotas)
            )
        step[job] = longest / most if most > 0 else 1.0


@njit(cache=True)
def _use_all(
    pools: Pools, routes: Routes, jobs: Jobs, columns: Columns, count: Array, chip: Array, gb: Array, used: Used
) -> None:
    """What all columns use where each has the whole of its class."""
    for job in range(count.size):
        for row in range(columns.starts[job], columns.starts[job + 1]):
            _add(row, count[job], jobs.quota[job], columns.rows, columns.further, chip, gb, used.chip_hours)
    _sum_used(pools, routes, chip, gb, used)


@njit(cache=True)
def _sum_used(pools: Pools, routes: Routes, chip: Array, gb: Array, used: Used) -> None:
    """What is used, from differences from hour to hour; these are nothing afterwards."""
    hours = used.chips.shape[1]
    used.kw[:] = 0.0
    used.gb_in[:] = 0.0
    used.gb_over[:] = 0.0
    for pool in range(chip.shape[0]):
        site, kw, now = pools.site[pool], pools.kw[pool], 0.0
        for hour in range(hours):
            now += chip[pool, hour]
            used.chips[pool, hour] = now
            used.kw[site, hour] += kw * now
        chip[pool] = 0.0
    for route in range(gb.shape[0]):
        site, now, most = routes.site[route], 0.0, 0.0
        for hour in range(hours):
            now += gb[route, hour]
            gb[route, hour] = now
            most = max(most, abs(now))
        if most > NOTHING:
            if site >= 0:
                for hour in range(hours):
                    used.gb_in[site, hour] += gb[route, hour]
            for at in range(routes.starts[route], routes.starts[route + 1]):
                link = routes.links[at]
                for hour in range(hours):
                    used.gb_over[link, hour] += gb[route, hour]
        gb[route] = 0.0


@njit(inline="always")
def _raise(prices: Array, used: Array, limits: Array, rise: Array, total: Array) -> None:
    """Move prices by what is used above limits, and add them to a total."""
    for row in range(prices.shape[0]):
        for hour in range(prices.shape[1]):
            price = max(0.0, prices[row, hour] + rise[row, hour] * (used[row, hour] - limits[row, hour]))
            prices[row, hour] = price
            total[row, hour] += price


@njit(cache=True)
def _move(
    pools: Pools, routes: Routes, jobs: Jobs, columns: Columns, count: Array, dear: Array, limits: Used, step: Array,
    rise: Used, unserved: Array, prices: Used, sum_unserved: Array, sum_prices: Used, chip: Array, gb: Array,
    chip_used: Array, gb_used: Array, used: Used, grow: Array, cost: Array, most: Array, more: Array, sum_more: Array,
    steps: int,
) -> None:  # fmt: skip
    for row in range(columns.rows.size):
        columns.rows[row].sum = 0.0
    for _ in range(steps):
        sum_up(pools, routes, prices, chip, gb)
        used.chip_hours[:] = 0.0
        _turn(
            columns.starts, columns.rows, columns.further, jobs.quota, count, dear, step, unserved, sum_unserved,
            prices.chip_hours, chip, gb, chip_used, gb_used, used.chip_hours,
        )  # fmt: skip
        _sum_used(pools, routes, chip_used, gb_used, used)
        for pool in range(grow.size):
            if grow[pool] > 0.0:
                new = min(max(more[pool] + grow[pool] * (prices.chips[pool].sum() - cost[pool]), 0.0), most[pool])
                used.chips[pool] -= 2.0 * new - more[pool]
                more[pool] = new
                sum_more[pool] += new
        _raise(prices.chips, used.chips, limits.chips, rise.chips, sum_prices.chips)
        _raise(prices.kw, used.kw, limits.kw, rise.kw, sum_prices.kw)
        _raise(prices.gb_in, used.gb_in, limits.gb_in, rise.gb_in, sum_prices.gb_in)
        _raise(prices.gb_over, used.gb_over, limits.gb_over, rise.gb_over, sum_prices.gb_over)
        for quota in range(prices.chip_hours.size):
            over = used.chip_hours[quota] - limits.chip_hours[quota]
            prices.chip_hours[quota] = max(0.0, prices.chip_hours[quota] + rise.chip_hours[quota] * over)
            sum_prices.chip_hours[quota] += prices.chip_hours[quota]


@njit(cache=True)
def _turn(
    starts: Array, rows: Array, further: Array, quotas: Array, count: Array, dear: Array, steps: Array, unserved: Array,
    sum_unserved: Array, of_quotas: Array, chip: Array, gb: Array, chip_used: Array, gb_used: Array, quota_used: Array,
) -> None:  # fmt: skip
    """Move the shares of jobs by what their columns cost, and add what they use then, a step ahead.

    All is written in line, on arrays that have names of their own: functions or parts of tuples that are asked for each
    column cost five times as much as the work itself, for references are counted.
    """
    most = 0
    for job in range(count.size):
        most = max(most, starts[job + 1] - starts[job])
    value, ordered = np.empty(most + 1), np.empty(most + 1)
    for job in range(count.size):
        first, end = starts[job], starts[job + 1]
        quota, times, step, size = quotas[job], count[job], steps[job], end - first
        for row in range(first, end):
            pool, begin, last, chips = rows[row].pool, rows[row].begin, rows[row].end, rows[row].chips
            cny = rows[row].cny + chips * (chip[pool, last] - chip[pool, begin])
            route, then = rows[row].route, rows[row].then
            if route >= 0:
                cny += rows[row].gb_per_h * (gb[route, last] - gb[route, begin])
            if quota >= 0:
                cny += chips * (last - begin) * of_quotas[quota]
            while then >= 0:
                pool, begin, last, chips = (
                    further[then].pool,
                    further[then].begin,
                    further[then].end,
                    further[then].chips,
                )
                cny += chips * (chip[pool, last] - chip[pool, begin])
                route = further[then].route
                if route >= 0:
                    cny += further[then].gb_per_h * (gb[route, last] - gb[route, begin])
                if quota >= 0:
                    cny += chips * (last - begin) * of_quotas[quota]
                then = further[then].then
            value[row - first] = rows[row].share - step * times * cny
        value[size] = unserved[job] - step * dear[job]
        level = _level(value, ordered, size + 1)
        for row in range(first, end):
            new, old = max(value[row - first] - level, 0.0), rows[row].share
            rows[row].share = new
            rows[row].sum += new
            ahead = times * (2.0 * new - old)
            if ahead == 0.0:
                continue
            pool, begin, last, chips = rows[row].pool, rows[row].begin, rows[row].end, rows[row].chips
            chip_used[pool, begin] += ahead * chips
            chip_used[pool, last] -= ahead * chips
            route, then = rows[row].route, rows[row].then
            if route >= 0:
                gb_used[route, begin] += ahead * rows[row].gb_per_h
                gb_used[route, last] -= ahead * rows[row].gb_per_h
            if quota >= 0:
                quota_used[quota] += ahead * chips * (last - begin)
            while then >= 0:
                pool, begin, last, chips = (
                    further[then].pool,
                    further[then].begin,
                    further[then].end,
                    further[then].chips,
                )
                chip_used[pool, begin] += ahead * chips
                chip_used[pool, last] -= ahead * chips
                route = further[then].route
                if route >= 0:
                    gb_used[route, begin] += ahead * further[then].gb_per_h
                    gb_used[route, last] -= ahead * further[then].gb_per_h
                if quota >= 0:
                    quota_used[quota] += ahead * chips * (last - begin)
                then = further[then].then
        unserved[job] = max(value[size] - level, 0.0)
        sum_unserved[job] += unserved[job]


@njit(inline="always")
def _level(value: Array, ordered: Array, size: int) -> float:
    """What is taken off each of the values, so that what stays above zero sums to one."""
    for at in range(size):
        to = at
        while to > 0 and ordered[to - 1] < value[at]:
            ordered[to] = ordered[to - 1]
            to -= 1
        ordered[to] = value[at]
    total, level = 0.0, 0.0
    for at in range(size):
        total += ordered[at]
        here = (total - 1.0) / (at + 1)
        if ordered[at] <= here:
            break
        level = here
    return level
