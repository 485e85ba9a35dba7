"""The cheapest lawful place for a job, as a plan that starts it there."""

from __future__ import annotations

from typing import Annotated

import msgspec

from karez.errors import InputError
from karez.operations import Answer, AssignQuestion
from karez.operations.networks import (
    DETAIL,
    duration,
    load_living,
    now_s,
    provenance,
    require_new_file,
    write_new,
)
from karez.operations.policy import packs_of
from karez.plan.place import place
from karez.plan.plan import Alternative, Plan
from karez.twin import World
from karez.twin.table import text


class AssignAnswer(Answer, frozen=True, kw_only=True):
    """Where the job runs, at what price and delay, under which protection of its data, and what was not taken."""

    job: str
    server: str
    site: str
    metro: str
    price_cny: float
    oneway_us: float
    data_mode: str
    duties: tuple[str, ...]
    rules: tuple[str, ...]
    candidates: int
    alternatives: tuple[Alternative, ...]
    output: str
    plan: Annotated[Plan, DETAIL]


def run(question: AssignQuestion) -> AssignAnswer:
    """The plan for the network's newest revision; it is written to `question.output` where that is given.

    Raises:
        InputError: the network or the job is not there, or the file exists or cannot be written.
        Refused: the job's data may go to none of the servers.
        Infeasible: no server passes every filter.
    """
    if question.output:
        require_new_file(question.output)
    world, revision = load_living(question.network)
    job = question.job or _first_job(world)
    plan = place(world, job, at_s=now_s(), packs=packs_of(question.packs))
    plan = msgspec.structs.replace(plan, citation=f"{plan.citation}; {provenance(revision)}")
    if question.output:
        write_new(question.output, msgspec.json.encode(plan))
    return _answer(world, plan, job, question.output, synthetic=revision.synthetic)


def _first_job(world: World) -> str:
    if not len(world["jobs"]):
        raise InputError.of("jobs", "the network has no job to place", "add one to the table jobs")
    return text(world["jobs"].ids[0])


def _answer(world: World, plan: Plan, job: str, output: str, *, synthetic: bool) -> AssignAnswer:
    (server,) = plan.actions[0].blast_radius
    shown = msgspec.to_builtins(plan.proof.certificate)
    site = str(world["servers"].cell(server, "site"))
    metro = str(world["sites"].cell(site, "metro"))
    name = str(world["metros"].cell(metro, "name")) or metro
    note = ", synthetic" if synthetic else ""
    lawful = len(shown["servers"])
    best = "the only lawful place that fits" if lawful == 1 else f"the cheapest of {lawful:,} lawful places that fit"
    return AssignAnswer(
        headline=(
            f"Job {job} runs on {server} in {name} for {plan.price_cny:,.0f} CNY, {duration(shown['oneway_us'])} away: "
            f"{best} (proven{note})"
        ),
        citation=plan.citation,
        job=job,
        server=server,
        site=site,
        metro=metro,
        price_cny=plan.price_cny,
        oneway_us=shown["oneway_us"],
        data_mode=shown["mode"],
        duties=tuple(shown["duties"]),
        rules=tuple(shown["rules"]),
        candidates=lawful,
        alternatives=plan.alternatives,
        output=output,
        plan=plan,
    )
