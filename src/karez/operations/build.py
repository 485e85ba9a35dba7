"""The cheapest compute sites that bring coverage to a target, as a plan with a proven bound."""

from __future__ import annotations

from typing import Annotated

import msgspec

from karez.errors import InputError
from karez.measure.circles import access_points
from karez.operations import Answer, BuildQuestion
from karez.operations.networks import (
    DETAIL,
    counted,
    duration,
    load,
    now_s,
    proven,
    provenance,
    require_new_file,
    share,
    write_new,
)
from karez.plan.build import build
from karez.plan.plan import Plan
from karez.twin import Twin
from karez.twin.schema import Value
from karez.twin.store import Revision


class NewSite(msgspec.Struct, frozen=True):
    """A site that the plan equips with compute."""

    id: str
    name: str
    metro: str


class BuildAnswer(Answer, frozen=True, kw_only=True):
    """What to build, what it costs, and how far the price may be from the least possible."""

    sites: tuple[NewSite, ...]
    price_cny: float
    bound_cny: float
    gap_share: float
    output: str
    plan: Annotated[Plan, DETAIL]


def run(question: BuildQuestion) -> BuildAnswer:
    """The plan for the network's newest revision; it is written to `question.output` where that is given.

    Raises:
        InputError: the network cannot be read or has no access points, or the file exists or cannot be written.
        Infeasible: compute at every core site would not reach the target.
    """
    if question.output:
        require_new_file(question.output)
    world, revision = load(question.network)
    at_s = now_s()
    if not len(access_points(world.intended.at(at_s))):
        what = "has no access points (aggregation sites where access links end), so there is nothing to cover"
        raise InputError.of(question.network, what, "add sites, and links of kind access")
    plan = build(
        world,
        target_share=question.target_share,
        budget_us=question.budget_us,
        figures=question.figures,
        at_s=at_s,
    )
    plan = msgspec.structs.replace(plan, citation=f"{plan.citation}; {provenance(revision)}")
    if question.output:
        write_new(question.output, msgspec.json.encode(plan))
    return BuildAnswer(
        headline=_headline(plan, question, revision),
        citation=plan.citation,
        meets_target=None if plan.actions else True,
        sites=tuple(_named(world.intended, action.subject) for action in plan.actions),
        price_cny=plan.price_cny,
        bound_cny=plan.proof.bound,
        gap_share=plan.proof.gap_share,
        output=question.output,
        plan=plan,
    )


def _headline(plan: Plan, question: BuildQuestion, revision: Revision) -> str:
    synthetic = "; synthetic" if revision.synthetic else ""
    aim = f"{share(question.target_share)} of access points within {duration(question.budget_us)} of compute"
    if not plan.actions:
        note = " (synthetic)" if revision.synthetic else ""
        return f"Nothing to build: {aim} is reached already{note}"
    price = f"{plan.price_cny / 1e6:,.1f} million CNY"
    sites = counted(len(plan.actions), "new site")
    return f"{sites} for {price} bring{'s' if len(plan.actions) == 1 else ''} {aim} ({proven(plan)}{synthetic})"


def _named(twin: Twin, site: str) -> NewSite:
    metro: Value = twin["sites"].cell(site, "metro")
    name = str(twin["metros"].cell(str(metro), "name")) if twin["metros"].has(str(metro)) else ""
    return NewSite(site, str(twin["sites"].cell(site, "name")), name)
