"""A plan for a day of jobs: who runs where and when, what it costs, and what any plan would cost at least.

The plan is its own proof, and orders nothing yet: what is to start is read from it. An hour later it is made anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from karez.measure import policy, speeds
from karez.plan.day.ask import Ask, written
from karez.plan.day.hours import in_order
from karez.plan.day.pose import Posed, posed
from karez.plan.day.scarce import OF, ids, priced
from karez.plan.placing.check import checked, hours_and_chips, load_shares
from karez.plan.placing.pricing import cny_of, sorted_by_money, sums_of
from karez.plan.placing.program import WHOLE, Chosen, Used, nothing
from karez.plan.placing.solve import Rung, compile_for, relaxed, solved
from karez.plan.plan import Plan, Proof
from karez.twin import World
from karez.twin.table import Array, strings

PLANNER = "day"
# What is above the least by less is the least.
LEAST_SHARE = 1e-9
ROUNDING_SHARE = 1e-7


class Placed(NamedTuple):
    """Jobs that run, a row for each way that one does: the job (row of the twin), arm, first hour, and how many."""

    job: Array
    arm: Array
    start: Array
    number: Array


class Day(NamedTuple):
    """A day of jobs: what was posed, who runs how, cost and bound (CNY), prices that prove it, and the way there.

    `is_least`: an integer program, whose word that is, found that no plan costs less.
    """

    posed: Posed
    placed: Placed
    cny: float
    bound: float
    is_least: bool
    prices: Used
    rungs: tuple[Rung, ...]

    @property
    def gap_share(self) -> float:
        """How much less any plan could cost at most, as a share of the bound."""
        return (self.cny - self.bound) / abs(self.bound) if self.bound else 0.0


def decided(
    world: World,
    ask: Ask,
    packs: Sequence[policy.Pack] | None = None,
    *,
    limit_s: float = math.inf,
    seconds: Callable[[], float] = lambda: 0.0,
    seed: int = 1,
) -> Day:
    """The best plan by `limit_s` of the clock `seconds`, checked by code that shares nothing with what made it.

    Raises:
        InputError: what the tables say of jobs makes no sense; see `pose.posed`.
        RuntimeError: the plan passes a limit, or costs less than its bound, which is a defect.
    """
    asked = posed(world, ask, packs)
    # What is compiled now is compiled once on a machine, and no time that a plan has.
    begun_s = seconds()
    compile_for(asked.program)
    compiled_s = seconds() - begun_s

    def spent_s() -> float:
        return seconds() - compiled_s

    found = solved(asked.program, limit_s=limit_s, seconds=spent_s, seed=seed)
    placed = runnable(asked, spread(asked, found.chosen))
    seen = checked(asked.program, chosen_of(asked, placed))
    bound, prices = found.price_bound, found.prices
    if asked.loose is not asked.program:
        wide = relaxed(sorted_by_money(asked.loose), lambda: spent_s() >= 2.0 * limit_s)
        bound, prices = wide.bound, wide.prices
    slack = ROUNDING_SHARE * max(abs(seen.cny), 1.0)
    if seen.problems or bound > seen.cny + slack:
        wrong = "; ".join(seen.problems[:3]) or f"it costs {seen.cny}, below what every plan costs, {bound}"
        raise RuntimeError(f"the plan of the day is none: {wrong}")
    is_least = asked.loose is asked.program and any(
        rung.name == "exact" and rung.cny - rung.bound <= LEAST_SHARE * abs(rung.cny) for rung in found.rungs
    )
    return Day(asked, placed, seen.cny, min(bound, seen.cny), is_least, prices, found.rungs)


def runnable(asked: Posed, placed: Placed) -> Placed:
    """Who runs, without those who wait for a job that does not run, or not all of it."""
    count = np.zeros(len(asked.world["jobs"]), np.int64)
    np.add.at(count, placed.job, placed.number)
    runs_all = count >= asked.world["jobs"]["number"]
    for at in in_order(asked.before):
        row = int(asked.jobs[at])
        if not all(runs_all[asked.jobs[one]] for one in asked.before[at]):
            runs_all[row], count[row] = False, 0
    kept = count[placed.job] > 0
    return Placed(*(column[kept] for column in placed))


def chosen_of(asked: Posed, placed: Placed) -> Chosen:
    """Who runs as options of classes."""
    return Chosen(asked.class_of(placed.job), placed.arm, placed.start, placed.number)


def spread(asked: Posed, chosen: Chosen) -> Placed:
    """The options that classes take, given out to the jobs of each class in the order of their rows."""
    count = asked.world["jobs"]["number"][asked.jobs]
    order = np.argsort(asked.of, kind="stable")
    ends = np.cumsum(count[order])
    first = np.zeros(len(asked.program.jobs.number) + 1, np.int64)
    first[1:] = np.cumsum(np.bincount(asked.of, count, minlength=len(first) - 1))
    options = np.argsort(chosen.job, kind="stable")
    found, taken = list[tuple[int, int, int, int]](), dict[int, int]()
    for option in options.tolist():
        cls, left = int(chosen.job[option]), int(chosen.number[option])
        at = int(first[cls]) + taken.get(cls, 0)
        taken[cls] = taken.get(cls, 0) + left
        while left:
            member = int(np.searchsorted(ends, at, side="right"))
            some = min(left, int(ends[member]) - at)
            job = int(asked.jobs[order[member]])
            found.append((job, int(chosen.arm[option]), int(chosen.start[option]), some))
            at, left = at + some, left - some
    found.sort()
    return Placed(*np.array(found, np.int64).reshape(-1, 4).T)


class Run(NamedTuple):
    """How jobs run: the job (row), how many, servers (rows) and chips on each, first hour, hours, mode, CNY a job."""

    job: int
    number: int
    servers: tuple[int, ...]
    chips: tuple[int, ...]
    start: int
    hours: int
    mode: str
    cny: float


def runs(day: Day) -> list[Run]:
    """How each job runs that does, in the order of jobs."""
    asked, placed = day.posed, day.placed
    program = asked.program
    chosen = chosen_of(asked, placed)
    cny = cny_of(program, chosen, sums_of(program, nothing(program)))
    found = []
    for at, (job, arm, start, number) in enumerate(zip(*(column.tolist() for column in placed), strict=True)):
        hours, chips = hours_and_chips(program, int(chosen.job[at]), arm)
        halves = legs_of(asked, arm, chips)
        mode = policy.MODES[int(asked.mode[arm])]
        servers, parts = tuple(half[0] for half in halves), tuple(half[1] for half in halves)
        found.append(Run(job, number, servers, parts, start, hours, mode, float(cny[at])))
    return found


def legs_of(asked: Posed, arm: int, chips: int) -> list[tuple[int, int]]:
    """The servers (rows) that an arm runs on, and how many of so many chips on each."""
    arms, found, leg = asked.program.arms, list[tuple[int, int]](), arm
    while leg >= 0:
        part = int(np.ceil(chips * float(arms["share"][leg]) - WHOLE))
        if part:
            found.append((int(asked.pools[arms["pool"][leg]]), part))
        leg = int(arms["then"][leg])
    return found


def able(asked: Posed, cls: int) -> Iterator[tuple[int, int, int]]:
    """The arms by which a class could run if all were empty, and the hours and chips it takes by each."""
    program, jobs = asked.program, asked.program.jobs
    most = dict(zip(asked.pools.tolist(), program.pools.chips.max(axis=1, initial=0.0).tolist(), strict=True))
    for arm in range(int(program.menus[jobs.menu[cls]]), int(program.menus[jobs.menu[cls] + 1])):
        hours, chips = hours_and_chips(program, cls, arm)
        peak = load_shares(program, cls, int(jobs.opens[cls]), hours).max(initial=0.0) if jobs.load[cls] >= 0 else 1.0
        enough = all(np.ceil(part * peak - WHOLE) <= most[server] for server, part in legs_of(asked, arm, chips))
        if enough and hours <= int(jobs.closes[cls] - jobs.opens[cls]):
            yield arm, hours, chips


def is_able(asked: Posed, cls: int) -> bool:
    """Whether a class could run anywhere if all were empty."""
    return next(able(asked, cls), None) is not None


def unserved(day: Day) -> tuple[Array, Array]:
    """The jobs (rows) that do not all run, and how many of each."""
    count = day.posed.world["jobs"]["number"].copy()
    np.subtract.at(count, day.placed.job, day.placed.number)
    left = count[day.posed.jobs]
    some = left > 0
    return day.posed.jobs[some], left[some]


def plan_of(day: Day, revision: str) -> Plan:
    """The day as a plan without actions: all of it is the proof of its price."""
    asked, ask = day.posed, day.posed.ask
    learned = ", and by what finished jobs taught" if len(asked.world[speeds.TABLE]) else ""
    return Plan(
        planner=PLANNER,
        question=written(ask),
        revision=revision,
        made_at_s=ask.at_s,
        reads=(),
        actions=(),
        price_cny=day.cny,
        proof=Proof(
            value=day.cny,
            bound=day.bound,
            unit="CNY",
            how=(
                f"prices of all that is shared ({len(priced(asked, day.prices).cny)} above zero) prove the bound"
                f"{'; an integer program says that no plan costs less' if day.is_least else ''}"
            ),
            certificate=runs_of(day) | prices_of(day.posed, day.prices),
        ),
        summary=_summary(day),
        citation=(
            f"{ask.hours} hours from {ask.at_s:.0f} (Unix time); one-way delay by shortest path, {ask.figures} figures "
            f"of the latency library; rent and electricity by the hour with the PUE, carbon at "
            f"{ask.carbon_cny_per_kg:g} CNY/kg; speeds by data sheets and the calibrated roofline{learned}; law as "
            f"engineers read it, no legal advice; gap {day.gap_share:.2%}"
        ),
    )


def runs_of(day: Day) -> dict[str, tuple[float | str, ...] | float | str]:
    """Who runs where and when, as a certificate has it: with prices and the network that is all a checker needs."""
    world = day.posed.world
    jobs, servers = strings(world["jobs"].ids), strings(world["servers"].ids)
    rows = runs(day)
    return {
        "job": tuple(jobs[run.job] for run in rows),
        "number": tuple(float(run.number) for run in rows),
        "server": tuple(" ".join(servers[at] for at in run.servers) for run in rows),
        "start_h": tuple(float(run.start) for run in rows),
        "mode": tuple(run.mode for run in rows),
    }


def prices_of(asked: Posed, prices: Used) -> dict[str, tuple[float | str, ...] | float | str]:
    """Prices as a certificate has them."""
    rows = priced(asked, prices)
    return {
        "price_of": tuple(OF[of] for of in rows.of.tolist()),
        "price_row": tuple(ids(asked, rows)),
        "price_hour": tuple(float(hour) for hour in rows.hour.tolist()),
        "price_cny": tuple(rows.cny.tolist()),
    }


def _summary(day: Day) -> str:
    jobs = int(day.placed.number.sum())
    _, left = unserved(day)
    return f"{jobs:,} jobs run, {int(left.sum()):,} do not"
