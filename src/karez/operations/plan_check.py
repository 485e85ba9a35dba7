"""Whether a plan still holds on a network."""

from __future__ import annotations

from karez.errors import Refused
from karez.loop.vetting import vetted
from karez.operations import Answer, PlanCheckQuestion
from karez.operations.networks import counted, load_living, now_s, proven, provenance, read_plan
from karez.plan.check import CERTIFICATES
from karez.plan.plan import Plan


class PlanCheckAnswer(Answer, frozen=True, kw_only=True):
    """How much of the plan was checked; a plan that does not hold is an error with every reason."""

    plan: str
    planner: str
    reads: int
    actions: int
    price_cny: float
    gap_share: float


def run(question: PlanCheckQuestion) -> PlanCheckAnswer:
    """What a plan that holds consists of.

    Raises:
        InputError: the plan or the network cannot be read.
        Refused: the plan does not hold any more, or its certificate proves nothing; the message has every reason.
    """
    plan = read_plan(question.plan)
    world, revision = load_living(question.network)
    problems = vetted(plan, world, at_s=now_s())
    if problems:
        raise Refused("\n".join(str(problem) for problem in problems))
    note = " (synthetic network)" if revision.synthetic else ""
    return PlanCheckAnswer(
        headline=f"The plan holds: {_extent(plan)}; {_certified(plan)}{note}",
        citation=f"plan {plan.id} by {plan.planner}, made from digest {plan.revision[:12]}; {provenance(revision)}",
        plan=plan.id,
        planner=plan.planner,
        reads=len(plan.reads),
        actions=len(plan.actions),
        price_cny=plan.price_cny,
        gap_share=plan.proof.gap_share,
    )


def _extent(plan: Plan) -> str:
    return f"{counted(len(plan.reads), 'read')}, {counted(len(plan.actions), 'action')}"


def _certified(plan: Plan) -> str:
    return proven(plan) if plan.planner in CERTIFICATES else "its price is its planner's word"
