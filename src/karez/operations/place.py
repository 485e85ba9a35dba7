"""A day of jobs placed: where and when each runs, at what cost, how far from the least possible, as a plan."""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np

from karez.operations import Answer, PlaceQuestion
from karez.operations.day import begins_s, cpu_clock, metro_of, require_jobs
from karez.operations.networks import (
    DETAIL,
    at_most,
    counted,
    load_living,
    now_s,
    provenance,
    require_new_file,
    share,
    write_new,
)
from karez.operations.policy import packs_of
from karez.plan.day.ask import Ask, weights_of
from karez.plan.day.decide import Day, Run, chosen_of, decided, is_able, plan_of, runs, unserved
from karez.plan.day.pose import effective_share
from karez.plan.day.regions import Region, flow_of, regions, work
from karez.plan.placing.machines import on_machines
from karez.plan.placing.whole import Placed
from karez.plan.plan import Plan
from karez.twin import World
from karez.twin.table import strings

MWH = T = 1e3
MACHINE_CHIPS = 8


class PlacedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that runs: where, from which hour of the clock in China for how many hours, on how many chips.

    `before` is the server that it runs on now; empty where it waits for one.
    """

    job: str
    number: int
    server: str
    metro: str
    start: str
    hours: int
    chips: int
    mode: str
    before: str
    price_cny: float


class Unserved(msgspec.Struct, frozen=True, kw_only=True):
    """A job that does not run, and what that costs; `nowhere`: no server may run it at all.

    `before` is the server on which it runs now, and is stopped.
    """

    job: str
    number: int
    kind: str
    chips: int
    cost_cny: float
    nowhere: bool
    before: str


class PlaceAnswer(Answer, frozen=True, kw_only=True):
    """What came of a day of jobs.

    Cost is money for what runs, with what not running the rest costs; `bound_cny` is what any plan costs at least.
    `fit_machines_share` of the jobs fit onto machines of eight chips; training gets on in `effective_training_share` of
    its time. Of jobs that run already, `moved` go on elsewhere and `stopped` do not go on.
    """

    jobs: int
    running: int
    not_running: int
    moved: int
    stopped: int
    outside_hours: int
    cost_cny: float
    money_cny: float
    bound_cny: float
    gap_share: float
    work_chip_h: float
    energy_mwh: float
    carbon_t: float
    east_to_west_share: float | None
    fit_machines_share: float | None
    effective_training_share: float | None
    begins: str
    provinces: tuple[Region, ...]
    placed: tuple[PlacedJob, ...]
    unserved: tuple[Unserved, ...]
    output: str
    plan: Annotated[Plan, DETAIL]


def run(question: PlaceQuestion) -> PlaceAnswer:
    """The plan of the network's newest revision; it is written to `question.output` where that is given.

    Raises:
        InputError: the network cannot be read, its jobs make no sense together, or the file exists or cannot be
            written.
    """
    if question.output:
        require_new_file(question.output)
    world, revision = load_living(question.network)
    require_jobs(world)
    ask = Ask(
        at_s=_begins_s(world, question),
        hours=question.hours,
        carbon_cny_per_kg=question.carbon_cny_per_kg,
        delay_cny_per_ms=question.delay_cny_per_ms,
        weights=weights_of(question.weights),
        figures=question.figures,
        moves=question.moves,
    )
    day = decided(
        world,
        ask,
        packs_of(question.packs),
        limit_s=question.time_limit_s,
        seconds=cpu_clock(),
        seed=question.seed,
    )
    plan = plan_of(day, world.intended.digest)
    plan = msgspec.structs.replace(plan, citation=f"{plan.citation}; {provenance(revision)}")
    if question.output:
        write_new(question.output, msgspec.json.encode(plan))
    return _answer(day, plan, question.output, synthetic=revision.synthetic)


def _begins_s(world: World, question: PlaceQuestion) -> float:
    """When the hours begin: not before now, unless told so, where jobs that run now may move."""
    found = begins_s(world, question.at)
    return max(found, now_s()) if question.moves and not question.at else found


def _answer(day: Day, plan: Plan, output: str, *, synthetic: bool) -> PlaceAnswer:
    world, ask = day.posed.world, day.posed.ask
    rows, (left, number) = runs(day), unserved(day)
    placed, idle = _placed(day, rows), _unserved(day, left, number)
    running = sum(one.number for one in rows)
    jobs = running + int(number.sum())
    done = work(day, rows)
    flow = flow_of(day, done)
    money = sum(one.number * one.cny for one in rows)
    moved, stopped = sum(one.before not in ("", one.server) for one in placed), sum(one.before != "" for one in idle)
    return PlaceAnswer(
        headline=_headline(day, running, jobs, flow.share, synthetic=synthetic) + _moves(moved, stopped),
        citation=plan.citation,
        jobs=jobs,
        running=running,
        not_running=jobs - running,
        moved=moved,
        stopped=stopped,
        outside_hours=int(world["jobs"]["number"][day.posed.later].sum()),
        cost_cny=day.cny,
        money_cny=money,
        bound_cny=day.bound,
        gap_share=day.gap_share,
        work_chip_h=flow.chip_h,
        energy_mwh=flow.kwh / MWH,
        carbon_t=flow.kg / T,
        east_to_west_share=flow.share,
        fit_machines_share=_on_machines(day),
        effective_training_share=_effective(day, rows),
        begins=ask.clock(0),
        provinces=regions(day, done),
        placed=placed,
        unserved=idle,
        output=output,
        plan=plan,
    )


def _on_machines(day: Day) -> float | None:
    """The share of running jobs that fit onto machines with all their chips."""
    *options, number = chosen_of(day.posed, day.placed)
    if not number.sum():
        return None
    each = Placed(*(np.repeat(column, number) for column in options))
    return float(on_machines(day.posed.program, each, MACHINE_CHIPS).mean())


def _effective(day: Day, rows: list[Run]) -> float | None:
    """The share of its chip-hours in which training gets on."""
    table = day.posed.world["jobs"]
    some = [one for one in rows if table["kind"][one.job] == b"training"]
    if not some:
        return None
    weight = np.array([one.number * one.hours * sum(one.chips) for one in some], float)
    return float(effective_share(day.posed.world.intended, np.array([one.job for one in some])) @ weight / weight.sum())


def _headline(day: Day, running: int, jobs: int, west: float | None, *, synthetic: bool) -> str:
    note = ", synthetic" if synthetic else ""
    gap = f"at most {at_most(day.gap_share)} above the least possible"
    if day.is_least and day.gap_share > 0:
        gap = f"the least by an integer program, and {gap}"
    moved = "" if west is None else f"; {share(west)} of the work of the east runs in the west"
    return (
        f"{running:,} of {counted(jobs, 'job')} run within {counted(day.posed.ask.hours, 'hour')} at a cost of "
        f"{day.cny:,.0f} CNY, {gap} (proven{note}){moved}"
    )


def _moves(moved: int, stopped: int) -> str:
    """What becomes of jobs that run, where it is not what they do anyway."""
    told = [
        f"{number:,} {word}{'s' if number == 1 else ''}"
        for number, word in ((moved, "move"), (stopped, "stop"))
        if number
    ]
    return f"; of the jobs that ran {' and '.join(told)}" if told else ""


def _ran(day: Day) -> dict[int, str]:
    """By job (row) the server that it runs on already, of those that may leave it."""
    posed = day.posed
    mine = posed.runs_at >= 0
    servers = strings(posed.world["servers"].ids[posed.runs_at[mine]])
    return dict(zip(posed.jobs[mine].tolist(), servers, strict=True))


def _placed(day: Day, rows: list[Run]) -> tuple[PlacedJob, ...]:
    world = day.posed.world
    jobs, servers, ran = strings(world["jobs"].ids), strings(world["servers"].ids), _ran(day)
    return tuple(
        PlacedJob(
            job=jobs[one.job],
            number=one.number,
            server=" ".join(servers[at] for at in one.servers),
            metro=metro_of(world, one.servers[0]),
            start=day.posed.ask.clock(one.start),
            hours=one.hours,
            chips=sum(one.chips),
            mode=one.mode,
            before=ran.get(one.job, ""),
            price_cny=one.cny,
        )
        for one in rows
    )


def _unserved(day: Day, left: np.ndarray, number: np.ndarray) -> tuple[Unserved, ...]:
    """Those that do not run, what costs most first."""
    posed, table, ran = day.posed, day.posed.world["jobs"], _ran(day)
    cls = posed.class_of(left)
    cost = posed.program.jobs.unserved_cny[cls] * number
    nowhere = [not is_able(posed, int(one)) for one in cls]
    order = np.lexsort((left, -cost))
    jobs, kinds = strings(table.ids[left]), strings(table["kind"][left])
    return tuple(
        Unserved(
            job=jobs[at],
            number=int(number[at]),
            kind=kinds[at],
            chips=int(table["chips"][left[at]]),
            cost_cny=float(cost[at]),
            nowhere=nowhere[at],
            before=ran.get(int(left[at]), ""),
        )
        for at in order.tolist()
    )
