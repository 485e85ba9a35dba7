"""Why the loop did what it did: one plan or one turn of a recorded run, told from its record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from karez.errors import InputError
from karez.loop.recorded import Again, again
from karez.operations import Answer, HealExplainQuestion
from karez.operations.heal import Event, Ground, acts_of, ground, timeline
from karez.operations.networks import counted, provenance
from karez.operations.render.healing import because_of, cause, listed, noticed, sentence, size_of
from karez.operations.story import SHADOW, Course, Signal, Story, Sure, signals_of, story, sure_of, unix
from karez.plan import Action
from karez.twin.table import text

NOTHING = "nothing"


class PlanRow(msgspec.Struct, frozen=True):
    """A plan of the run: its id, when it was made (s after the start), what it does and why, and its last verdict."""

    plan: str
    after_s: float
    does: str
    because: str
    came_of_it: str


class Evidence(msgspec.Struct, frozen=True):
    """A signal that speaks for a finding: what was noticed, how much, by whom, since when (s after the start)."""

    finding: str
    noticed: str
    size: str
    source: str
    since_s: float
    strength: float


class CauseRow(msgspec.Struct, frozen=True):
    """A cause that would explain it, and how likely it is."""

    finding: str
    cause: str
    confidence_share: float
    taken: bool


class Candidate(msgspec.Struct, frozen=True):
    """What was weighed: its score (less is better) and why it was not taken."""

    name: str
    score: float
    unit: str
    taken: bool
    why_not: str


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """A plan from finding to end, a sentence each."""

    found: str
    evidence: str
    otherwise: str
    weighed: str
    relied_on: str
    gate: str
    approved: str
    commanded: str
    replied: str
    verified: str
    taken_back: str
    in_the_end: str


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What one turn was told, knew and decided, a sentence each."""

    told: str
    set_aside: str
    failed: str
    allowed: str
    noticed: str
    known: str
    decided: str
    under_way: str
    waiting: str


class HealExplainAnswer(Answer, frozen=True, kw_only=True):
    """The plan or turn that was asked about, with its evidence, causes and candidates; or all plans of the run."""

    why: Why | None = None
    turn: Turn | None = None
    plans: tuple[PlanRow, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    causes: tuple[CauseRow, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    course: tuple[Event, ...] = ()


class _Asked(NamedTuple):
    question: HealExplainQuestion
    of: Ground


def run(question: HealExplainQuestion) -> HealExplainAnswer:
    """Why a plan, what happened in a turn, or which plans there are to ask about.

    Raises:
        InputError: there is no such record, plan or turn, or the network that it was made on is not there.
        KarezError: a turn comes out otherwise than the record says.
    """
    if question.plan and question.turn is not None:
        raise InputError.of("turn", "cannot stand beside plan", "ask for one of the two")
    asked = _Asked(question, ground(question.record, question.network))
    if question.turn is not None:
        return _of_turn(asked, question.turn)
    whole = story(again(asked.of.world, Path(question.record)), asked.of.start_s)
    return _of_plan(asked, whole) if question.plan else _overview(asked, whole)


# ---- all plans


def _overview(asked: _Asked, whole: Story) -> HealExplainAnswer:
    rows = tuple(_row(course, whole.start_s) for course in whole.courses.values())
    what = (
        f"{counted(len(rows), 'plan')} and {counted(len(whole.episodes), 'finding')} in {counted(whole.turns, 'turn')}"
    )
    ask = "; ask about one with --plan or about a turn with --turn" if rows else "; ask about a turn with --turn"
    return HealExplainAnswer(headline=f"{what}{ask}{_note(asked)}", citation=_citation(asked), plans=rows)


def _row(course: Course, start_s: float) -> PlanRow:
    last = course.said[-1].verdict.verdict if course.said else NOTHING
    about = list(course.plan.because) or (
        [f"took back for {name}" for name in course.sure] if course.is_release else []
    )
    return PlanRow(
        course.plan.id,
        course.made_s - start_s,
        acts_of(course.plan.actions),
        ", ".join(about) or ("a person brought it" if course.is_brought else NOTHING),
        last,
    )


# ---- one plan


def _of_plan(asked: _Asked, whole: Story) -> HealExplainAnswer:
    named = asked.question.plan
    found = [course for name, course in whole.courses.items() if name.startswith(named)]
    if len(found) != 1:
        ids = ", ".join(course.plan.id for course in (found or list(whole.courses.values()))[:10])
        what = (
            f"{named!r} names {counted(len(found), 'plan')} of this run"
            if found
            else f"{named!r} is no plan of this run"
        )
        raise InputError.of("plan", what, f"give one of {ids}" if ids else "the run made no plan")
    course, start_s = found[0], whole.start_s
    return HealExplainAnswer(
        headline=f"{_why_headline(course, start_s)}{_note(asked)}",
        citation=f"plan {course.plan.id} by {course.plan.planner or 'a person'}; {_citation(asked)}",
        why=_why(course, start_s),
        evidence=tuple(_evidence(course.sure, start_s)),
        causes=tuple(_causes(course.sure)),
        candidates=tuple(_candidates(course)),
        course=tuple(
            Event(said.at_s - start_s, said.verdict.verdict, acts_of(course.plan.actions), said.verdict.why)
            for said in course.said
        ),
    )


def _why_headline(course: Course, start_s: float) -> str:
    does = _do(course.plan.actions)
    if course.is_brought:
        why = "because a person brought the plan"
    elif course.is_release:
        why = (
            f"because {listed([because_of(name) for name in course.sure])} was gone and its mending could be taken back"
        )
    else:
        why = f"because of {listed([because_of(name) for name in course.plan.because])}"
    first, last = course.said[0].verdict.verdict, course.said[-1].verdict.verdict
    doing = (
        "The loop would"
        if first == "would act"
        else "The loop proposed to"
        if first == "proposed"
        else "The loop decided to"
    )
    return f"{doing} {does} at {course.made_s - start_s:.0f} s {why}; in the end it was {last}"


def _why(course: Course, start_s: float) -> Why:
    return Why(
        found=_found(course),
        evidence=_spoke(course, start_s),
        otherwise=_otherwise(course),
        weighed=_weighed(course),
        relied_on=listed([str(read) for read in course.plan.reads], most=8) or NOTHING,
        gate=_gate(course),
        approved=_approved(course, start_s),
        commanded=_commanded(course, start_s),
        replied=_replied(course, start_s),
        verified=_verified(course, start_s),
        taken_back=_taken_back(course, start_s),
        in_the_end=_end(course, start_s),
    )


def _found(course: Course) -> str:
    if not course.sure:
        return "no finding: a person brought this plan" if course.is_brought else "no finding"
    told = [
        f"{because_of(name)}, {sure.confidence:.0%} sure, by {counted(sure.sources, 'independent source')}"
        for name, sure in course.sure.items()
    ]
    return listed(told)


def _spoke(course: Course, start_s: float) -> str:
    signals = [signal for sure in course.sure.values() for signal in sure.signals]
    return listed([noticed(signal, start_s) for signal in signals], most=12) or "no signal is open for it"


def _otherwise(course: Course) -> str:
    others = [other for sure in course.sure.values() for other in sure.others]
    return listed([f"{cause(kind, subject)} ({share:.0%})" for kind, subject, share in others]) or (
        "nothing else was likely" if course.sure else NOTHING
    )


def _weighed(course: Course) -> str:
    plan = course.plan
    if not plan.alternatives:
        return f"nothing besides; {plan.proof.how}" if plan.proof.how and not course.is_release else "nothing besides"
    others = [f"{each.name} ({each.score:,.0f}; {each.why_not})" for each in plan.alternatives]
    taken = f"{_do(plan.actions)} costs users {plan.proof.value:,.0f} {plan.proof.unit}"
    return f"{taken}; not taken: {listed(others, most=8)}"


def _gate(course: Course) -> str:
    policy, first = course.policy, course.said[0].verdict
    asked = f"it acts alone from {policy.confidence:.0%} and {counted(policy.sources, 'source')} on"
    if first.verdict in SHADOW:
        return f"level {policy.level}, and a person is asked: {first.why}; {asked}"
    if first.verdict == "refused":
        return f"refused: {first.why}"
    return f"level {policy.level}, within its budgets; {asked}"


def _approved(course: Course, start_s: float) -> str:
    named = [f"{person} at {at_s - start_s:.0f} s" for at_s, person in course.approvals]
    if named:
        return listed(named)
    return "by nobody; none was asked for" if course.said[0].verdict.verdict == "commanded" else "by nobody"


def _commanded(course: Course, start_s: float) -> str:
    told = []
    for at_s, command in course.commands:
        what = f"take back {_do(course.plan.actions)}" if command.undoes else _do(command.actions)
        by = f", approved by {command.approved_by}" if command.approved_by else ""
        told.append(f"{what} at {at_s - start_s:.0f} s, by the leader of epoch {command.epoch}{by}")
    return listed(told) or "nothing was commanded"


def _replied(course: Course, start_s: float) -> str:
    told = []
    for at_s, reply in course.replies:
        reads = f" ({listed([str(read) for read in reply.changed])})" if reply.changed else ""
        alone = "the guard took it back alone" if reply.undone_alone else ""
        how = alone or ("done" if reply.done else f"not done: {reply.why}{reads}")
        told.append(f"{how}, told at {at_s - start_s:.0f} s")
    return listed(told) or ("the guard never replied" if course.commands else "the guard was not asked")


def _verified(course: Course, start_s: float) -> str:
    said = course.verified
    if said is None:
        return "nothing was seen of it" if course.commands else NOTHING
    applied = course.first("applied")
    took = f", {said.at_s - applied.at_s:.0f} s after it was done" if applied else ""
    return f"seen to be so at {said.at_s - start_s:.0f} s{took}"


def _taken_back(course: Course, start_s: float) -> str:
    told = [
        f"{said.verdict.verdict} at {said.at_s - start_s:.0f} s: {said.verdict.why}"
        for said in course.said
        if said.verdict.verdict in ("undone", "remedy")
    ]
    back = [said for said in course.said if said.verdict.verdict == "verified" and said is not course.verified]
    told += [f"seen to be as before at {said.at_s - start_s:.0f} s" for said in back[:1]]
    return listed(told) or "no"


def _end(course: Course, start_s: float) -> str:
    last = course.said[-1]
    told = f"{last.verdict.verdict} at {last.at_s - start_s:.0f} s{f': {last.verdict.why}' if last.verdict.why else ''}"
    seen = f"; somebody else had done the same by {course.seen_s - start_s:.0f} s" if course.seen_s is not None else ""
    return told + seen


def _do(actions: Sequence[Action]) -> str:
    acts = [f"{action.kind.replace('_', ' ')} {action.subject}" for action in actions]
    return listed(acts, most=3) or "do nothing"


def _evidence(sure: dict[str, Sure], start_s: float) -> Iterable[Evidence]:
    for finding, each in sure.items():
        for signal in each.signals:
            yield _evidence_row(finding, signal, start_s)


def _evidence_row(finding: str, signal: Signal, start_s: float) -> Evidence:
    return Evidence(
        finding,
        noticed(signal, start_s, short=True),
        size_of(signal.kind, signal.size),
        f"{signal.source}{f' at {signal.host}' if signal.host else ''}",
        signal.since_s - start_s,
        signal.strength,
    )


def _causes(sure: dict[str, Sure]) -> Iterable[CauseRow]:
    for finding, each in sure.items():
        yield CauseRow(finding, because_of(finding), each.confidence, True)
        for kind, subject, share in each.others:
            yield CauseRow(finding, cause(kind, subject), share, False)


def _candidates(course: Course) -> Iterable[Candidate]:
    plan = course.plan
    if plan.alternatives:
        yield Candidate(_do(plan.actions), plan.proof.value, plan.proof.unit, True, "")
    for each in plan.alternatives:
        yield Candidate(each.name, each.score, plan.proof.unit, False, each.why_not)


# ---- one turn


def _of_turn(asked: _Asked, at: float) -> HealExplainAnswer:
    start_s = asked.of.start_s
    at_s = unix(at, start_s)
    chosen, last = None, None
    for told in again(asked.of.world, Path(asked.question.record)):
        last = told
        if told.inputs.at_s >= at_s:
            chosen = told
            break
    if chosen is None:
        until = f"the last turn was at {last.inputs.at_s - start_s:g} s" if last else "the run had no turn"
        raise InputError.of("turn", f"{at:g} is after the end of the run", f"give seconds after its start; {until}")
    decisions = chosen.decisions
    after_s = decisions.at_s - start_s
    course = timeline([decisions], start_s)
    findings = _open(chosen)
    return HealExplainAnswer(
        headline=f"The turn at {after_s:g} s {_turn_headline(chosen)}{_note(asked)}",
        citation=_citation(asked),
        turn=_turn(chosen),
        plans=tuple(_plan_of_turn(chosen, start_s)),
        evidence=tuple(_evidence(findings, start_s)),
        causes=tuple(_causes(findings)),
        course=course,
    )


def _turn_headline(told: Again) -> str:
    if told.inputs.failed:
        return f"was blind: {told.inputs.failed}"
    decisions = told.decisions
    parts = [
        (len([found for found in decisions.found if found.open]), "finding opened", "findings opened"),
        (len([found for found in decisions.found if not found.open]), "finding closed", "findings closed"),
        (len(decisions.plans), "plan made", "plans made"),
        (len(decisions.commands), "command sent", "commands sent"),
    ]
    said = [f"{count} {one if count == 1 else many}" for count, one, many in parts if count]
    return f"decided: {listed(said)}" if said else "decided nothing new"


def _turn(told: Again) -> Turn:
    inputs, state, decisions = told.inputs, told.state, told.decisions
    rows = Counter[str]()
    for change in inputs.changes:
        rows[change.table] += len(change.ids)
    heard = [f"{count:,} of {table}" for table, count in sorted(rows.items())]
    heard += [f"{counted(len(inputs.replies), 'reply')}".replace("replys", "replies")] if inputs.replies else []
    heard += [f"plan {plan.id} of a person" for plan in inputs.plans]
    heard += [f"{approval.person} approves {approval.plan}" for approval in inputs.approvals]
    policy = told.policy
    return Turn(
        told=listed(heard, most=12) or NOTHING,
        set_aside=listed(list(inputs.aside)) or NOTHING,
        failed=inputs.failed or "no",
        allowed=f"level {policy.level}, alone from {policy.confidence:.0%} and {counted(policy.sources, 'source')} on",
        noticed=listed(_newly_noticed(told), most=8) or NOTHING,
        known=listed([f"{because_of(name)} ({sure.confidence:.0%})" for name, sure in _open(told).items()])
        or "no finding",
        decided=listed([_decided(told, verdict.plan, verdict.verdict, verdict.why) for verdict in decisions.verdicts])
        or NOTHING,
        under_way=listed([f"{_do(one.command.actions)} ({one.phase})" for one in state.running]) or NOTHING,
        waiting=listed([f"plan {plan.id}: {_do(plan.actions)}" for plan in state.waiting]) or NOTHING,
    )


def _decided(told: Again, plan: str, verdict: str, why: str) -> str:
    known = {each.id: each for each in (*told.decisions.plans, *told.state.waiting)}
    acts = {one.command.plan: one.command.actions for one in told.state.running} | {
        name: each.actions for name, each in known.items()
    }
    what = f"{_do(acts[plan])} (plan {plan})" if plan in acts else f"plan {plan}"
    return sentence(f"{what}: {verdict}", why)


def _newly_noticed(told: Again) -> list[str]:
    """The signals that were raised in this turn."""
    ids = [name for change in told.inputs.changes if change.table == "signals" for name in change.ids]
    return [noticed(signal, told.inputs.at_s) for signal in signals_of(told.state.actual, dict.fromkeys(ids))]


def _open(told: Again) -> dict[str, Sure]:
    findings = told.state.findings
    names = [text(name) for name in findings.ids[np.flatnonzero(findings["open"])].tolist()]
    return {name: sure_of(told.state.actual, name) for name in names}


def _plan_of_turn(told: Again, start_s: float) -> Iterable[PlanRow]:
    for plan in told.decisions.plans:
        last = [verdict.verdict for verdict in told.decisions.verdicts if verdict.plan == plan.id]
        yield PlanRow(
            plan.id,
            told.decisions.at_s - start_s,
            acts_of(plan.actions),
            ", ".join(plan.because) or NOTHING,
            last[-1] if last else NOTHING,
        )


def _note(asked: _Asked) -> str:
    return " (synthetic network)" if asked.of.revision.synthetic else ""


def _citation(asked: _Asked) -> str:
    of = asked.of
    record = f"record of {counted(of.events, 'event')} ending in {of.last_hash[:12]}, decided again"
    return f"{record}; {provenance(of.revision)}"
