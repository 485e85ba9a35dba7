"""Why a job of a planned day is where it is, or nowhere, and what would start it sooner or make it fit."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from karez.errors import InputError
from karez.operations import Answer, ExplainQuestion
from karez.operations.day import Planned, metro_of, planned
from karez.plan.day.decide import is_able
from karez.plan.day.explain import Way, Why, why
from karez.plan.day.scarce import OF, name_of
from karez.twin.table import strings, text

SHORT = {
    "chips": "too few chips are left",
    "power": "too little power",
    "data in": "too narrow a way into the site",
    "link": "too little room on links",
    "quota": "too little of its quota",
}


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest server that one reason alone forbids, or that is worth more to others."""

    server: str
    metro: str
    why_not: str
    price_cny: float


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change that would start the job sooner or make it fit: where, from which hour, and what it comes to."""

    change: str
    server: str
    metro: str
    start: str
    cost_cny: float


class Lacking(msgspec.Struct, frozen=True, kw_only=True):
    """What there is too little for the way that would cost least."""

    what: str
    id: str
    amount: float
    hours: str
    worth_cny: float


class ExplainAnswer(Answer, frozen=True, kw_only=True):
    """Where the job runs and why, what was rejected, and what would change it.

    `price_cny` is money; `keeps_others_cny` what others would save if it were not there. It could start from
    `earliest_start` to `latest_start` where it is, as things stand.
    """

    job: str
    server: str
    metro: str
    start: str
    hours: int
    price_cny: float
    keeps_others_cny: float
    earliest_start: str
    latest_start: str
    cheapest: str
    lacking: tuple[Lacking, ...]
    rejected: tuple[Rejected, ...]
    changes: tuple[Change, ...]


def run(question: ExplainQuestion) -> ExplainAnswer:
    """The answer for one job of the plan.

    Raises:
        InputError: the plan or network cannot be read or do not belong together, or there is no such job in it.
    """
    asked = planned(question.plan, question.network, question.packs)
    said = asked.said
    job = _job(asked, question.job)
    found = why(said.posed, said.chosen, said.prices, job, np.flatnonzero(said.job == job))
    return _answer(asked, job, found)


def _job(asked: Planned, name: str) -> int:
    """The row of a job that is planned; where none is named, the dearest that could run and does not, or the first."""
    posed = asked.said.posed
    table = posed.world["jobs"]
    if name:
        row = int(table.rows([name])[0]) if table.has(name) else -1
        if row not in set(posed.jobs.tolist()):
            held = posed.world["assignments"].has(name)
            why_not = "has its place already" if held else "may not run within the planned hours"
            what = f"job {name!r} {why_not}" if row >= 0 else f"there is no job {name!r}"
            raise InputError.of("job", what, f"name one of {_some(table.ids[posed.jobs])}")
        return row
    if not len(posed.jobs):
        raise InputError.of("job", "no job is planned", "plan some hours in which jobs may run")
    idle = np.setdiff1d(posed.jobs, asked.said.job)
    cls = posed.class_of(idle)
    dear = np.argsort(-posed.program.jobs.unserved_cny[cls], kind="stable").tolist()
    could = next((int(idle[at]) for at in dear if is_able(posed, int(cls[at]))), None)
    return could if could is not None else int(idle[0] if len(idle) else posed.jobs[0])


def _some(ids: np.ndarray) -> str:
    names = strings(ids[:3])
    return f"{', '.join(names)}{' ...' if len(ids) > len(names) else ''}"


def _answer(asked: Planned, job: int, found: Why) -> ExplainAnswer:
    posed, way = asked.said.posed, found.way
    world, ask = posed.world, posed.ask
    servers = strings(world["servers"].ids)
    return ExplainAnswer(
        headline=_headline(asked, job, found),
        citation=(
            f"plan {asked.plan.id}; every way of the job counted against what the others leave; prices of the plan; "
            f"{asked.plan.citation}"
        ),
        job=text(world["jobs"].ids[job]),
        server=" ".join(servers[at] for at in way.servers) if way else "",
        metro=metro_of(world, way.servers[0]) if way else "",
        start=ask.clock(way.start) if way else "",
        hours=way.hours if way else 0,
        price_cny=way.cny if way else math.nan,
        keeps_others_cny=way.priced_cny - way.cny if way else math.nan,
        earliest_start=ask.clock(found.starts[0]) if found.starts else "",
        latest_start=ask.clock(found.starts[-1]) if found.starts else "",
        cheapest=_cheapest(asked, found.free),
        lacking=tuple(
            Lacking(
                what=OF[one.of],
                id=name_of(posed, one.of, one.row),
                amount=one.amount,
                hours=f"{ask.clock(one.first)} to {ask.clock(one.last + 1)}" if OF[one.of] != "quota" else "all",
                worth_cny=one.cny,
            )
            for one in found.lacking
        ),
        rejected=tuple(
            Rejected(
                server=servers[one.server],
                metro=metro_of(world, one.server),
                why_not=one.reason,
                price_cny=one.cny,
            )
            for one in found.rejected
        ),
        changes=tuple(
            Change(
                change=one.what,
                server=servers[one.server],
                metro=metro_of(world, one.server),
                start=ask.clock(one.start),
                cost_cny=one.cny,
            )
            for one in found.changes
        ),
    )


def _cheapest(asked: Planned, way: Way | None) -> str:
    if way is None:
        return ""
    posed = asked.said.posed
    servers = " and ".join(strings(posed.world["servers"].ids[list(way.servers)]))
    return f"{servers} from {posed.ask.clock(way.start)} for {way.cny:,.0f} CNY"


def _headline(asked: Planned, job: int, found: Why) -> str:
    posed, way = asked.said.posed, found.way
    name = text(posed.world["jobs"].ids[job])
    helps = f"; what would help: {found.changes[0].what}" if found.changes else ""
    if way is None:
        if found.free is None:
            reasons = {one.reason.split(":")[0] for one in found.rejected}
            near = f": {', '.join(sorted(reasons))}" if reasons else ""
            return f"Job {name} runs nowhere: no server may run it{near}{helps}{asked.aside}"
        cls = int(posed.class_of([job])[0])
        why_not = " and ".join(dict.fromkeys(SHORT[OF[one.of]] for one in found.lacking))
        if found.free.cny >= posed.program.jobs.unserved_cny[cls]:
            why_not = "running it costs more than not running it"
        elif not found.lacking:
            why_not = "what it takes is worth more to others"
        return f"Job {name} does not run: {why_not}{helps}{asked.aside}"
    where = f"{strings(posed.world['servers'].ids[[way.servers[0]]])[0]} in {metro_of(posed.world, way.servers[0])}"
    begins = f"from {posed.ask.clock(way.start)} for {way.hours} h"
    if found.free is not None and found.free.cny < way.cny - 1e-6:
        more = f"{way.cny - found.free.cny:,.0f} CNY above its cheapest place, which others need more"
    else:
        more = "the cheapest of all its lawful places and hours"
    return f"Job {name} runs on {where} {begins} for {way.cny:,.0f} CNY: {more}{asked.aside}"
