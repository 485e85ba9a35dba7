"""Whether a placing plan keeps every limit, what it costs, and what every plan costs at least under given prices.

It shares nothing with what makes plans but the program itself: all is counted again hour by hour, in plain numpy, and
the bound is computed for each job over all of its options.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from karez.plan.placing.program import WHOLE, Chosen, Growth, Program, Used
from karez.twin.table import Array

# What a limit may be passed by through rounding, as a share of it, and as such.
ROUNDING_SHARE, SLACK = 1e-6, 1e-6


class Checked(NamedTuple):
    """What a plan costs with those who are not served (CNY), and in what it is wrong: nothing where it is a plan."""

    cny: float
    problems: tuple[str, ...]


def checked(program: Program, chosen: Chosen) -> Checked:
    """The plan counted again."""
    jobs, used, problems = program.jobs, Using(program), list[str]()
    served, cny = np.zeros(len(jobs.number)), 0.0
    for job, arm, start, count in zip(*(column.tolist() for column in chosen), strict=True):
        menu = int(jobs.menu[job])
        if not program.menus[menu] <= arm < program.menus[menu + 1]:
            problems.append(f"arm {arm} is not on the menu of job {job}")
            continue
        hours, _ = hours_and_chips(program, job, arm)
        if start < jobs.opens[job] or start + hours > jobs.closes[job]:
            problems.append(f"job {job} does not run within its hours: from {start} for {hours}")
            continue
        if count < 0 or count != int(count):
            problems.append(f"job {job} is chosen {count} times")
            continue
        served[job] += count
        cny += count * used.add(job, arm, start, count)
    too_many = np.flatnonzero(served > jobs.number)
    problems += [f"job {at} is placed {served[at]:g} times, there are {jobs.number[at]}" for at in too_many.tolist()]
    problems += used.passed()
    return Checked(cny + float((jobs.number - served) @ jobs.unserved_cny), tuple(problems))


def bound(program: Program, prices: Used) -> float:
    """What every plan costs at least (CNY): each job where it costs least under prices, less what all limits are worth.

    Raises:
        ValueError: a price is below zero.
    """
    if any((price < 0).any() for price in prices):
        raise ValueError("a price is below zero, which proves nothing")
    hour = program.pools.cny + prices.chips + program.pools.kw[:, None] * prices.kw[program.pools.site]
    gb = np.zeros((len(program.routes.site), program.hours))
    for route, site in enumerate(program.routes.site.tolist()):
        links = program.routes.links[program.routes.starts[route] : program.routes.starts[route + 1]]
        gb[route] = prices.gb_over[links].sum(axis=0) + (prices.gb_in[site] if site >= 0 else 0.0)
    least = sum(
        count * min(dear, _least(program, job, hour, gb, prices))
        for job, (count, dear) in enumerate(
            zip(program.jobs.number.tolist(), program.jobs.unserved_cny.tolist(), strict=True)
        )
    )
    worth = (prices.chips * program.pools.chips).sum()
    limits = zip(prices[1:], program.limits, strict=True)
    return float(least - worth - sum(float((price * limit).sum()) for price, limit in limits))


def grown_bound(program: Program, growth: Growth, prices: Used) -> float:
    """What every plan costs at least (CNY), with what it costs to add what it adds.

    Where a chip is worth more than it costs, all that may be added are.

    Raises:
        ValueError: a price is below zero.
    """
    whole = replace(program, pools=program.pools._replace(chips=program.pools.chips + growth.most[:, None]))
    worth = prices.chips.sum(axis=1)
    return bound(whole, prices) + float((worth - np.maximum(worth - growth.cny, 0.0)) @ growth.most)


def _whole(number: float) -> int:
    return math.ceil(number - WHOLE)


def hours_and_chips(program: Program, job: int, arm: int) -> tuple[int, int]:
    """Hours of an option, and its chips at the peak."""
    jobs, speed = program.jobs, float(program.arms["speed"][arm])
    if jobs.elastic[job]:
        return int(jobs.closes[job] - jobs.opens[job]), _whole(float(jobs.chips[job]) / speed)
    return max(1, _whole(float(jobs.hours[job]) / speed)), int(jobs.chips[job])


def _legs(program: Program, arm: int) -> Iterator[np.void]:
    while arm >= 0:
        yield program.arms[arm]
        arm = int(program.arms["then"][arm])


def load_shares(program: Program, job: int, start: int, hours: int) -> Array:
    """The share of its peak that a job has in each of so many hours from one on."""
    load = int(program.jobs.load[job])
    return program.loads[load, start : start + hours] if load >= 0 else np.ones(hours)


def _money(program: Program, job: int, arm: int, chips: int) -> float:
    row = program.arms[arm]
    return (
        float(row["cny"]) + float(row["cny_per_gb"]) * float(program.jobs.gb[job]) + float(row["cny_per_chip"]) * chips
    )


def _of_leg(program: Program, leg: np.void, job: int, chips: int, shares: Array) -> tuple[Array, Array]:
    """Chips by the hour, and GB by the hour, of a leg."""
    part = chips if leg["share"] >= 1 else _whole(chips * float(leg["share"]))
    now = np.where(shares < 1, np.ceil(part * shares - WHOLE), part)
    gb = 0.0
    if leg["route"] >= 0:
        gb = float(program.jobs.gb[job]) * float(leg["gb_share"]) + float(leg["gb_per_chip_h"]) * float(now.sum())
    return now, gb * shares / shares.sum()


class Using:
    """What is used, in arrays as large as the limits."""

    def __init__(self, program: Program) -> None:
        """Nothing is used."""
        self.program = program
        self.of = Used(np.zeros_like(program.pools.chips, float), *(np.zeros(limit.shape) for limit in program.limits))

    def add(self, job: int, arm: int, start: int, count: float) -> float:
        """Add an option so many times; what one costs in money (CNY)."""
        program = self.program
        hours, chips = hours_and_chips(program, job, arm)
        end = start + hours
        shares, cny = load_shares(program, job, start, hours), _money(program, job, arm, chips)
        for leg in _legs(program, arm):
            pool, route = int(leg["pool"]), int(leg["route"])
            now, gb = _of_leg(program, leg, job, chips, shares)
            cny += float(now @ program.pools.cny[pool, start:end])
            self.of.chips[pool, start:end] += count * now
            self.of.kw[program.pools.site[pool], start:end] += count * now * program.pools.kw[pool]
            if route >= 0 and gb.any():
                site = int(program.routes.site[route])
                if site >= 0:
                    self.of.gb_in[site, start:end] += count * gb
                for link in program.routes.links[
                    program.routes.starts[route] : program.routes.starts[route + 1]
                ].tolist():
                    self.of.gb_over[link, start:end] += count * gb
            if program.jobs.quota[job] >= 0:
                self.of.chip_hours[program.jobs.quota[job]] += count * now.sum()
        return cny

    def passed(self) -> Iterator[str]:
        """A line for each limit that is passed."""
        limits = (self.program.pools.chips, *self.program.limits)
        for name, used, limit in zip(self.of._fields, self.of, limits, strict=True):
            for at in np.argwhere(used > limit * (1 + ROUNDING_SHARE) + SLACK):
                where = tuple(at.tolist())
                yield f"{name} {where}: {used[where]:g} used of {limit[where]:g}"


def _least(program: Program, job: int, hour: Array, gb: Array, prices: Used) -> float:
    """What a job costs at least under prices, over all its options."""
    jobs, menu, best = program.jobs, int(program.jobs.menu[job]), math.inf
    arms = np.arange(program.menus[menu], program.menus[menu + 1])
    if not len(arms):
        return best
    rows, opens, closes, quota = program.arms[arms], int(jobs.opens[job]), int(jobs.closes[job]), int(jobs.quota[job])
    if jobs.load[job] < 0 and (rows["then"] < 0).all():
        return _least_of_plain(program, job, arms, hour, gb, prices)
    for arm in arms.tolist():
        hours, chips = hours_and_chips(program, job, arm)
        for start in range(opens, closes - hours + 1):
            shares, cny = load_shares(program, job, start, hours), _money(program, job, arm, chips)
            for leg in _legs(program, arm):
                now, moved = _of_leg(program, leg, job, chips, shares)
                if now.max() > program.pools.chips[leg["pool"]].max():
                    cny = math.inf
                cny += float(now @ hour[leg["pool"], start : start + hours])
                if leg["route"] >= 0:
                    cny += float(moved @ gb[leg["route"], start : start + hours])
                if quota >= 0:
                    cny += float(now.sum() * prices.chip_hours[quota])
            best = min(best, cny)
    return best


def _least_of_plain(program: Program, job: int, arms: Array, hour: Array, gb: Array, prices: Used) -> float:
    """What a job of an even load costs at least on arms of one leg: all of them at once, for each number of hours."""
    jobs, rows = program.jobs, program.arms[arms]
    opens, closes, best = int(jobs.opens[job]), int(jobs.closes[job]), math.inf
    speed = rows["speed"].astype(float)
    if jobs.elastic[job]:
        hours, chips = np.full(len(arms), closes - opens), np.ceil(float(jobs.chips[job]) / speed - WHOLE)
    else:
        hours = np.maximum(1, np.ceil(float(jobs.hours[job]) / speed - WHOLE)).astype(int)
        chips = np.full(len(arms), float(jobs.chips[job]))
    part = np.where(rows["share"] < 1, np.ceil(chips * rows["share"] - WHOLE), chips)
    money = (
        rows["cny"].astype(float)
        + rows["cny_per_gb"].astype(float) * float(jobs.gb[job])
        + rows["cny_per_chip"] * chips
    )
    fits = part <= program.pools.chips[rows["pool"]].max(axis=1)
    for length in np.unique(hours[fits & (hours <= closes - opens)]).tolist():
        at = np.flatnonzero(fits & (hours == length))
        row, now = rows[at], part[at]
        moved = float(jobs.gb[job]) * row["gb_share"].astype(float) + row["gb_per_chip_h"] * now * length
        over = np.where((row["route"] >= 0)[:, None], gb[row["route"], opens:closes], 0.0) * (moved / length)[:, None]
        each = now[:, None] * hour[row["pool"], opens:closes] + over
        total = np.concatenate([np.zeros((len(at), 1)), np.cumsum(each, axis=1)], axis=1)
        cny = (total[:, length:] - total[:, :-length]).min(axis=1) + money[at]
        if jobs.quota[job] >= 0:
            cny = cny + now * length * prices.chip_hours[jobs.quota[job]]
        best = min(best, float(cny.min()))
    return best
