"""A placing program: jobs of some hours, the ways each may run, and what all of them share hour by hour.

A *job* here is a class of jobs that are alike in everything. It has a *menu*, which other jobs may have too: *arms*,
each one way to run, at some speed, in one pool of equal chips or in several (*legs*), with data that come over a route
meanwhile. An arm with a first hour is an *option*. What may not be (too far, unlawful, too small) is on no menu; so
delay and law are filters, never prices.

Jobs and menus are apart because a nation has a hundred thousand jobs and a few thousand menus: what a job takes of a
pool is computed where it is asked for, by `hours_of` and `chips_of` alone, and stored nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numba import njit

from karez.twin.table import Array

# Rows of nothing: no pool, no route, no load by the hour, no quota, no further leg.
NONE = -1
# What a quotient may be above a whole number by rounding alone.
WHOLE = 1e-9


class Pools(NamedTuple):
    """Equal chips at a site, a row each: site (row), power with cooling (kW a chip), chips and money by the hour.

    `chips` and `cny` (CNY a chip and hour, electricity and carbon included) have shape (pools, hours).
    """

    site: Array
    kw: Array
    chips: Array
    cny: Array


class Limits(NamedTuple):
    """What pools share, by the hour: power of sites (kW), what enters them (GB), what links carry (GB); quotas.

    Shapes (sites, hours), (sites, hours), (links, hours); `chip_hours` has one value a quota, for all hours.
    """

    kw: Array
    gb_in: Array
    gb_over: Array
    chip_hours: Array


class Routes(NamedTuple):
    """Ways that data come to a site: the site (row; NONE where nothing enters one), and the links (rows) as runs."""

    site: Array
    starts: Array
    links: Array


class Jobs(NamedTuple):
    """Classes of jobs, a row each.

    `number` of them are alike; one that is not served costs `unserved_cny`. It runs within the hours from `opens` to
    `closes` (the first that is too late) by one of the arms of its `menu`, moves `gb` of data, and takes from that
    `quota`. A job that is `elastic` runs all these hours, on as many chips as bear `chips` chips of speed 1 at their
    peak, with the load by the hour of that row of `loads`; one that is not runs `hours` of speed 1 on `chips` chips
    from one hour on.
    """

    number: Array
    unserved_cny: Array
    opens: Array
    closes: Array
    menu: Array
    elastic: Array
    chips: Array
    hours: Array
    gb: Array
    load: Array
    quota: Array


class Growth(NamedTuple):
    """Chips that may be added to each pool, in all its hours: what one costs (CNY for all hours), and how many."""

    cny: Array
    most: Array


# An arm and its first leg, or a further leg, a row each. They are looked up in no order, so a row lies in one place.
#
# `speed`, and money for each GB of the job, for each chip, and as such, are of the arm. Of the leg: in that pool runs
# the `share` of the arm's chips; over the route (NONE: no data come) come `gb_share` of the data of the job and
# `gb_per_chip_h` for each chip and hour, as even as the load. `then` is the next leg (row) of the same arm.
ARM = np.dtype([
    ("speed", np.float32),
    ("cny_per_gb", np.float32),
    ("cny_per_chip", np.float32),
    ("cny", np.float32),
    ("pool", np.int32),
    ("share", np.float32),
    ("route", np.int32),
    ("gb_share", np.float32),
    ("gb_per_chip_h", np.float32),
    ("then", np.int32),
])  # fmt: skip


def arms_of(pool: Array, **columns: Array | float) -> Array:
    """Arms (ARM) in these pools: at speed 1 for no money and without data, but for what `columns` say."""
    arms = np.zeros(len(pool), ARM)
    arms["speed"] = arms["share"] = arms["gb_share"] = 1.0
    arms["route"] = arms["then"] = NONE
    arms["pool"] = pool
    for name, values in columns.items():
        arms[name] = values
    return arms


@dataclass(frozen=True)
class Program:
    """The whole.

    Menu m has the arms (rows of `arms`, an array of ARM) from `menus[m]` to `menus[m + 1]`; further legs come after all
    of these. `loads` (loads, hours) are shares of a peak. `growth` is for the relaxation alone: whole plans take what
    pools have.
    """

    pools: Pools
    limits: Limits
    routes: Routes
    jobs: Jobs
    menus: Array
    arms: Array
    loads: Array = field(default_factory=lambda: np.ones((0, 1)))
    growth: Growth | None = None

    @property
    def hours(self) -> int:
        """How many hours are planned."""
        return int(self.pools.chips.shape[1])

    @property
    def unserved_cny(self) -> float:
        """What it costs to serve nobody."""
        return float(self.jobs.number @ self.jobs.unserved_cny)


class Chosen(NamedTuple):
    """Options taken, a row each: the job, the arm, its first hour, and how many jobs of the class."""

    job: Array
    arm: Array
    start: Array
    number: Array


class Used(NamedTuple):
    """What is used, or what one more of it is worth, in the shapes of pools' chips and of limits."""

    chips: Array
    kw: Array
    gb_in: Array
    gb_over: Array
    chip_hours: Array


def nothing(program: Program) -> Used:
    """Nothing used, or no prices."""
    return Used(*(np.zeros(limit.shape) for limit in available(program)))


def available(program: Program) -> Used:
    """All that there is."""
    return Used(program.pools.chips, *program.limits)


@njit(inline="always")
def hours_of(job: int, arm: int, jobs: Jobs, arms: Array) -> int:
    """Hours that a job takes by an arm."""
    if jobs.elastic[job]:
        return int(jobs.closes[job] - jobs.opens[job])
    return max(1, int(np.ceil(jobs.hours[job] / arms[arm].speed - WHOLE)))


@njit(inline="always")
def chips_of(job: int, arm: int, jobs: Jobs, arms: Array) -> int:
    """Chips that a job takes at its peak by an arm, on all its legs together."""
    if jobs.elastic[job]:
        return int(np.ceil(jobs.chips[job] / arms[arm].speed - WHOLE))
    return int(jobs.chips[job])


@njit(inline="always")
def part_of(chips: int, share: float) -> int:
    """Whole chips for a share of them: that of a leg, or that of an hour."""
    return int(np.ceil(chips * share - WHOLE)) if share < 1.0 else chips


@njit(inline="always")
def load_of(part: int, hours: int, start: int, load: int, loads: Array) -> tuple[float, float]:
    """Chip-hours of a leg, and its hours weighed by load."""
    chip_hours, whole = float(part * hours), float(hours)
    if load >= 0:
        chip_hours, whole = 0.0, 0.0
        for hour in range(start, start + hours):
            chip_hours += part_of(part, loads[load, hour])
            whole += loads[load, hour]
    return chip_hours, whole


@njit(inline="always")
def gb_of(job: int, leg: int, chip_hours: float, jobs: Jobs, arms: Array) -> float:
    """Data that come over the route of a leg (GB); none where it has no route."""
    gb = 0.0
    if arms[leg].route >= 0:
        gb = jobs.gb[job] * arms[leg].gb_share + arms[leg].gb_per_chip_h * chip_hours
    return gb
