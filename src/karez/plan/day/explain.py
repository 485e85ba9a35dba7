"""Why a job of a planned day is where it is, and what would start it sooner or make it fit.

Every way that the job may run is counted against what the others leave: what it costs in money, and of what there is
too little for it, which the prices of the plan put a sum on. What forbids a server altogether is weighed the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from karez.plan.day.decide import able, legs_of
from karez.plan.day.pose import Posed
from karez.plan.day.scarce import OF, UNITS, by_hour, name_of, rows_of
from karez.plan.placing.check import Using
from karez.plan.placing.pricing import cny_of, sums_of
from karez.plan.placing.program import Chosen, Used, available, nothing
from karez.twin.table import Array
from karez.units import US_PER_MS

# What is lacking by less is rounding.
LACK, LACK_SHARE = 1e-6, 2e-6
MOST_CHANGES = 3
FOREVER = 10**6


class Way(NamedTuple):
    """A way to run a job: servers (rows), first hour, hours, money (CNY), and that with what it keeps from others."""

    arm: int
    servers: tuple[int, ...]
    start: int
    hours: int
    cny: float
    priced_cny: float


class Lack(NamedTuple):
    """Too little of something for a way: what (its place in OF), the row of the twin, how much, in which hours.

    `amount` is the largest lack of any hour; `cny` is what all that is lacking is worth.
    """

    of: int
    row: int
    amount: float
    first: int
    last: int
    cny: float


class Change(NamedTuple):
    """What would let a job run there and then: the words for it, where, the first hour, and what it costs more (CNY).

    The sum is the difference in money, and what is lacking at its price; for a rule it is the difference alone.
    """

    what: str
    server: int
    start: int
    cny: float


class Rejected(NamedTuple):
    """A server that the job is not on: the reason, and what the job would cost there (CNY; nan where not known)."""

    server: int
    reason: str
    cny: float


class Why(NamedTuple):
    """The answer for a job: the way it runs (None: it does not), and the way that would cost least with all empty.

    `starts` are the first hours at which it could run where it is; `rejected` the best server of each reason;
    `changes` the cheapest changes that start it sooner, or at all.
    """

    way: Way | None
    free: Way | None
    lacking: tuple[Lack, ...]
    starts: tuple[int, ...]
    rejected: tuple[Rejected, ...]
    changes: tuple[Change, ...]


def why(posed: Posed, chosen: Chosen, prices: Used, job: int, mine: Array) -> Why:
    """Why a job (row of the twin, planned) is where a plan has it; `mine` are the rows of `chosen` that are its own."""
    cls = int(posed.class_of([job])[0])
    room = _room(posed, chosen, int(mine[0]) if len(mine) else None)
    ways = list(_ways(posed, cls, prices))
    lacks = [tuple(_lacking(posed, cls, way, room, prices)) for way in ways]
    now = _taken(chosen, mine, ways)
    cheapest = min(range(len(ways)), key=lambda at: (ways[at].cny, at), default=None)
    starts = () if now is None else _starts(ways, lacks, ways[now])
    sooner = _sooner(posed, ways, lacks, now, float(posed.program.jobs.unserved_cny[cls]))
    changes = sorted([*sooner, *_rules(posed, cls, job, ways, now)], key=lambda one: (one.cny, one.start))
    return Why(
        way=None if now is None else ways[now],
        free=None if cheapest is None else ways[cheapest],
        lacking=() if cheapest is None or cheapest == now else lacks[cheapest],
        starts=starts,
        rejected=tuple(_rejected(posed, cls, job, ways, now)),
        changes=_distinct(changes),
    )


def _room(posed: Posed, chosen: Chosen, mine: int | None) -> Used:
    """What the plan leaves, and what this job takes besides."""
    using = Using(posed.program)
    for at, (cls, arm, start, number) in enumerate(zip(*(column.tolist() for column in chosen), strict=True)):
        others = number - (at == mine)
        if others:
            using.add(cls, arm, start, others)
    return Used(*(there - used for there, used in zip(available(posed.program), using.of, strict=True)))


def _ways(posed: Posed, cls: int, prices: Used) -> Iterator[Way]:
    """All ways of a class, with their money."""
    program, jobs = posed.program, posed.program.jobs
    options = [
        (arm, start, hours, legs_of(posed, arm, chips))
        for arm, hours, chips in able(posed, cls)
        for start in range(int(jobs.opens[cls]), int(jobs.closes[cls]) - hours + 1)
    ]
    if not options:
        return
    arms, starts = (np.array([option[at] for option in options]) for at in (0, 1))
    all_of = Chosen(np.full(len(options), cls), arms, starts, np.ones(len(options)))
    money = cny_of(program, all_of, sums_of(program, nothing(program)))
    priced = cny_of(program, all_of, sums_of(program, prices))
    for at, (arm, start, hours, legs) in enumerate(options):
        yield Way(arm, tuple(server for server, _ in legs), start, hours, float(money[at]), float(priced[at]))


def _lacking(posed: Posed, cls: int, way: Way, room: Used, prices: Used) -> Iterator[Lack]:
    """Of what there is too little for a way."""
    using = _alone(posed, cls, way)
    for of, (rows, need, left, price) in enumerate(zip(rows_of(posed), using, room, prices, strict=True)):
        need, left, price = (by_hour(values) for values in (need, left, price))
        for at in np.flatnonzero(need.any(axis=1)).tolist():
            lack = need[at] - left[at]
            short = (need[at] > 0) & (lack > LACK + LACK_SHARE * np.abs(need[at]))
            if short.any():
                hours = np.flatnonzero(short)
                cny = float(np.maximum(lack[short], 0.0) @ price[at][short])
                yield Lack(of, int(rows[at]), float(lack[short].max()), int(hours[0]), int(hours[-1]), cny)


def _alone(posed: Posed, cls: int, way: Way) -> Used:
    using = Using(posed.program)
    using.add(cls, way.arm, way.start, 1)
    return using.of


def _taken(chosen: Chosen, mine: Array, ways: list[Way]) -> int | None:
    if not len(mine):
        return None
    arm, start = int(chosen.arm[mine[0]]), int(chosen.start[mine[0]])
    return next(at for at, way in enumerate(ways) if (way.arm, way.start) == (arm, start))


def _starts(ways: list[Way], lacks: list[tuple[Lack, ...]], now: Way) -> tuple[int, ...]:
    """First hours, one after the other around its own, at which the job could run where it is."""
    free = {way.start for way, lack in zip(ways, lacks, strict=True) if way.arm == now.arm and not lack}
    first = last = now.start
    while first - 1 in free:
        first -= 1
    while last + 1 in free:
        last += 1
    return tuple(range(first, last + 1))


def _sooner(
    posed: Posed, ways: list[Way], lacks: list[tuple[Lack, ...]], now: int | None, unserved_cny: float
) -> Iterator[Change]:
    """What more of something would let the job begin sooner, or at all; and what it would have to be worth."""
    before = FOREVER if now is None else ways[now].start
    base = unserved_cny if now is None else ways[now].cny
    for way, lack in zip(ways, lacks, strict=True):
        if way.start >= before:
            continue
        more = way.cny - base
        if lack:
            words = " and ".join(_words(posed, one) for one in lack)
            yield Change(words, way.servers[0], way.start, max(more, 0.0) + sum(one.cny for one in lack))
        elif now is None:
            more = max(way.priced_cny - unserved_cny, 0.0)
            yield Change(f"not running it must cost {more:,.0f} CNY more", way.servers[0], way.start, more)
        else:
            yield Change("nothing but more money: there is room", way.servers[0], way.start, max(more, 0.0))


def _words(posed: Posed, lack: Lack) -> str:
    name = name_of(posed, lack.of, lack.row)
    hours = f"from {posed.ask.clock(lack.first)} to {posed.ask.clock(lack.last + 1)}"
    amount = np.ceil(lack.amount) if OF[lack.of] in ("chips", "quota") else lack.amount
    unit = UNITS[lack.of].replace("chip and hour", "chips").replace("kWh", "kW")
    when = "" if OF[lack.of] == "quota" else f" {hours}"
    return (
        f"{amount:,.4g} {unit} more of {OF[lack.of]} {name}{when}"
        if OF[lack.of] != "chips"
        else (f"{amount:,.0f} chips more on {name}{when}")
    )


def _cost_there(posed: Posed, cls: int) -> Array:
    """About what the job would cost on each server of the twin, by the mean price of its chips (nan: not known)."""
    jobs, found = posed.program.jobs, np.full(len(posed.unpriced), np.nan)
    speed = posed.rules.speed[int(posed.keys.work[posed.key_of[cls]])][posed.pools]
    speed = np.where(speed > 0, speed, np.nan)
    hours = float(jobs.closes[cls] - jobs.opens[cls]) if jobs.elastic[cls] else np.ceil(jobs.hours[cls] / speed)
    chips = np.ceil(jobs.chips[cls] / speed) if jobs.elastic[cls] else float(jobs.chips[cls])
    found[posed.pools] = hours * chips * posed.program.pools.cny.mean(axis=1)
    return found


def _rejected(posed: Posed, cls: int, job: int, ways: list[Way], now: int | None) -> Iterator[Rejected]:
    """For each reason the cheapest server that it alone forbids."""
    fails, cny = posed.fails(job), _cost_there(posed, cls)
    for reason, failing in fails.items():
        others = np.logical_or.reduce([one for name, one in fails.items() if name != reason])
        alone = np.flatnonzero(failing & ~others)
        if len(alone):
            best = int(alone[np.argmin(np.nan_to_num(cny[alone], nan=np.inf))])
            yield Rejected(best, f"{reason}: {_miss(posed, cls, job, reason, best)}", float(cny[best]))
    taken = {server for way in ways for server in way.servers}
    full = [way for way in ways if now is None or way.servers != ways[now].servers]
    if full and taken:
        best_way = min(full, key=lambda way: way.cny)
        than = "" if now is None else f", {_than(best_way.cny - ways[now].cny)}"
        worth = best_way.priced_cny - best_way.cny
        yield Rejected(best_way.servers[0], f"it would keep others from {worth:,.0f} CNY there{than}", best_way.cny)


def _than(more: float) -> str:
    return f"and costs {abs(more):,.0f} CNY {'more' if more >= 0 else 'less'} in money"


def _miss(posed: Posed, cls: int, job: int, reason: str, server: int) -> str:
    """By how much, or for what, a server fails."""
    menu, rules = int(posed.key_of[cls]), posed.rules
    if reason == "too far":
        us = float(rules.delay_us[int(posed.keys.metro[menu]), server])
        allowed_ms = posed.keys.oneway_us[menu] / US_PER_MS
        return f"{us / US_PER_MS:.2f} ms of {allowed_ms:.2f}" if np.isfinite(us) else "no way there"
    if reason == "too little memory":
        return f"{rules.memory_gb[server]:.0f} GB a chip are too few"
    if reason == "too slow":
        return f"{rules.token_ms[int(posed.keys.work[menu]), server]:.1f} ms a token of {posed.keys.token_ms[menu]:.1f}"
    if reason == "too few chips":
        there = posed.world["servers"]["chips"][server]
        return f"{there} there, {posed.program.jobs.chips[cls]:.0f} wanted"
    if reason == "unlawful":
        return "its data may not be worked on there: ask karez policy explain"
    return {"unknown price": "rent, electricity, PUE or the power of its chip is not known"}.get(
        reason, "bandwidth or peak of the chip is not published" if "figures" in reason else "no link leads there"
    )


def _rules(posed: Posed, cls: int, job: int, ways: list[Way], now: int | None) -> Iterator[Change]:
    """What a rule, a limit of delay or a later end would allow that is not allowed now."""
    fails, cny = posed.fails(job), _cost_there(posed, cls)
    begins = int(posed.program.jobs.opens[cls])
    base = posed.program.jobs.unserved_cny[cls] if now is None else ways[now].cny
    if now is not None and ways[now].start <= begins:
        return
    for reason, words in (
        ("too far", "a delay of {:.2f} ms borne, if there are chips"),
        ("unlawful", "papers or a protection that the law asks for, if there are chips"),
        ("too slow", "a time of a token of {:.1f} ms borne, if there are chips"),
    ):
        others = np.logical_or.reduce([one for name, one in fails.items() if name != reason])
        alone = np.flatnonzero(fails[reason] & ~others & np.isfinite(cny))
        if not len(alone):
            continue
        best = int(alone[np.argmin(cny[alone])])
        menu = int(posed.key_of[cls])
        value = {
            "too far": posed.rules.delay_us[int(posed.keys.metro[menu]), best] / US_PER_MS,
            "too slow": posed.rules.token_ms[int(posed.keys.work[menu]), best],
        }.get(reason, 0.0)
        if np.isfinite(value):
            yield Change(words.format(value), best, begins, max(float(cny[best]) - base, 0.0))


def _distinct(changes: list[Change]) -> tuple[Change, ...]:
    """The cheapest changes, one a server."""
    found = dict[int, Change]()
    for one in changes:
        found.setdefault(one.server, one)
    return tuple(list(found.values())[:MOST_CHANGES])
