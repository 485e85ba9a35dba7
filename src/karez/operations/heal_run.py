"""A fault in the embedded network, and what the loop does about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.importers import calendar
from karez.loop.runner import People, Runner, nobody
from karez.loop.state import Approval, Decisions, Policy, State
from karez.operations import HealRunQuestion
from karez.operations.faults import Breaking, fault_of, require_kind
from karez.operations.heal import SETTING, CourseAnswer, Event, Setting, Timeline, acts_of, setting_of, timeline
from karez.operations.networks import counted, load_living, provenance, read_plan, require_new_file
from karez.plan import Plan
from karez.record.log import Record
from karez.record.verify import verify
from karez.scenario.incidents import announced
from karez.twin import World
from karez.twin.schema import Value
from karez.twin.store import Revision

Told = Callable[[State, Decisions], None]
# The fault starts after a quarter of the turns, when normal delays are learned, and goes after half of them, unless it
# passes by itself or somebody has to mend it.
STARTS_SHARE, ENDS_SHARE = 0.25, 0.5
# How far ahead planned work is looked for.
AHEAD_S = 366 * 86_400.0


class HealRunAnswer(CourseAnswer, frozen=True, kw_only=True):
    """The course of a run in the embedded network; `plan` is what a person brought."""

    plan: str


@dataclass(frozen=True)
class _Run:
    """What is played: the question, the world with its calendars, the fault and the plan of a person (None: none)."""

    question: HealRunQuestion
    world: World
    revision: Revision
    setting: Setting
    fault: Fault | None
    plan: Plan | None
    start_s: float


def run(question: HealRunQuestion) -> HealRunAnswer:
    """The course of a run of the loop; all of it is in the record.

    Raises:
        InputError: the network cannot be read or has nothing to break, or the record cannot be written.
    """
    return followed(question, lambda state, decisions: None)


def followed(question: HealRunQuestion, told: Told) -> HealRunAnswer:
    """As `run`, with what is known and was decided told after each turn.

    Raises:
        InputError: the network cannot be read or has nothing to break, or the record cannot be written.
    """
    require_new_file(question.record)
    this = _prepared(question)
    try:
        decided = _decided(this, told)
    except BaseException:
        # What was cut off by a full disk or by a person leaves no record behind that looks like one.
        _remove(question.record)
        raise
    events, last_hash = verify(Path(question.record))
    fault = this.fault
    course = Timeline(
        timeline(decided, this.start_s),
        fault.kind if fault else "",
        fault.subject if fault else "",
        fault.at_s - this.start_s if fault else 0.0,
    )
    answer = HealRunAnswer(
        headline="",
        citation=_citation(question, this.revision, last_hash),
        level=question.level,
        fault=question.fault,
        subject=course.subject,
        plan=question.plan,
        found_after_s=course.found_s(),
        right_after_s=course.right_s(),
        mended_after_s=course.mended_s(),
        timeline=course.events,
        turns=question.turns,
        record=question.record,
        events=events,
        last_hash=last_hash,
    )
    return msgspec.structs.replace(answer, headline=_headline(answer, this))


def _prepared(question: HealRunQuestion) -> _Run:
    require_kind(question.fault)
    world, revision = load_living(question.network)
    plan = read_plan(question.plan) if question.plan else None
    start_s = float(int(revision.at_s))
    at_s, until_s = (start_s + share * question.turns for share in (STARTS_SHARE, ENDS_SHARE))
    fault = fault_of(world, question.network, Breaking(question.fault, question.subject, question.seed, at_s, until_s))
    setting = setting_of(
        question.network,
        question.record,
        works=(
            *_works(question, world, start_s),
            *announced(fault, id="planned", note="announced by this run"),
        ),
        freezes=_freezes(question, world),
    )
    return _Run(question, setting.of(world), revision, setting, fault, plan, start_s)


def _decided(this: _Run, told: Told) -> list[Decisions]:
    question, start_s = this.question, this.start_s
    network = EmbeddedNetwork(this.world, seed=question.seed, start_s=start_s)
    if this.fault is not None:
        network.inject(this.fault)
    with Record(Path(question.record)) as record:
        policy = Policy(level=question.level)
        runner = Runner.start(this.world, network, record, policy, at_s=start_s, revision=this.revision.number)
        record.append(SETTING, start_s, msgspec.json.encode(this.setting, order="deterministic"))
        people, decided = _people(this), []
        for turn in range(1, question.turns + 1):
            decided.append(runner.turn(start_s + turn, people))
            told(runner.state, decided[-1])
        runner.end(start_s + question.turns)
    return decided


def _people(this: _Run) -> People:
    """A person who brings the plan in the first turn, and one who approves it in the next."""
    plan, approve, start_s = this.plan, this.question.approve, this.start_s
    if plan is None:
        return nobody

    def people(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
        brought = (plan,) if at_s == start_s + 1 else ()
        approved = (Approval(plan.id, approve),) if approve and at_s == start_s + 2 else ()
        return brought, approved

    return people


def _remove(record: str) -> None:
    """Take away what could not be written to its end, with what SQLite keeps beside it."""
    for name in (record, f"{record}-wal", f"{record}-shm", f"{record}-journal"):
        with suppress(OSError):
            Path(name).unlink()


# ---- the calendars of the run


def _works(question: HealRunQuestion, world: World, start_s: float) -> tuple[dict[str, Value], ...]:
    if not question.works:
        return ()
    planned = calendar.works(
        Path(question.works), from_s=start_s, to_s=start_s + AHEAD_S, zone=question.zone, known=world.intended
    )
    return tuple(planned.whole().records())


def _freezes(question: HealRunQuestion, world: World) -> tuple[dict[str, Value], ...]:
    if not question.freezes:
        return ()
    planned = calendar.freezes(Path(question.freezes), zone=question.zone, known=world.intended)
    return tuple(planned.whole().records())


# ---- what is told of the run


def _brought(course: Sequence[Event], plan: Plan) -> str:
    """What became of the plan that a person brought."""
    said = [event for event in course if event.subject == acts_of(plan.actions)]
    if not said:
        return "; of the plan brought nothing was said"
    last = said[-1]
    why = f" ({last.why})" if last.why and last.what in ("refused", "withdrawn", "proposed") else ""
    return f"; the plan brought was {last.what}{why}"


def _headline(answer: HealRunAnswer, this: _Run) -> str:
    brought = _brought(answer.timeline, this.plan) if this.plan else ""
    note = f"{'synthetic network, embedded' if this.revision.synthetic else 'embedded network'}){brought}"
    turns = counted(answer.turns, "turn")
    if this.fault is None:
        acts = sum(event.what == "commanded" for event in answer.timeline)
        return f"No fault in {turns}, and {counted(acts, 'act') if acts else 'no act'} taken ({note}"
    what = f"{answer.fault.replace('_', ' ')} {answer.subject}"
    if this.fault.kind.startswith("work_"):
        found = "nothing was found" if answer.found_after_s is None else "something was found all the same"
        return f"Planned work on {answer.subject} in {turns}: {found} ({note}"
    if answer.found_after_s is None:
        return f"The fault {what} was not found in {turns} ({note}"
    found = f"The fault {what} was {_found(answer)}"
    if answer.mended_after_s is None:
        return f"{found}; {_not_mended(answer)} ({note}"
    return f"{found}, mended and verified after {answer.mended_after_s:.0f} s ({note}"


def _found(answer: HealRunAnswer) -> str:
    if answer.right_after_s is not None:
        return f"found after {answer.right_after_s:.0f} s"
    taken = next(
        (f"{event.why} {event.subject}" for event in answer.timeline if event.what == "found"), "something else"
    )
    return f"taken for {taken.replace('_', ' ')} after {answer.found_after_s:.0f} s"


def _not_mended(answer: HealRunAnswer) -> str:
    proposed = next((event.subject for event in answer.timeline if event.what in ("proposed", "would act")), "")
    if answer.level == "act":
        return f"the advice is to {_spoken(proposed)}" if proposed else "it was not mended"
    if not proposed:
        return f"at level {answer.level} nothing was done about it"
    advice = f"the advice is to {_spoken(proposed)}, and nothing was done"
    return advice if answer.level == "advise" else f"the loop would {_spoken(proposed)}, and did nothing"


def _spoken(act: str) -> str:
    kind, _, subject = act.partition(" ")
    return f"{kind.replace('_', ' ')} {subject}"


def _citation(question: HealRunQuestion, revision: Revision, last_hash: str) -> str:
    return (
        f"embedded network at flow level, turns of 1 s, level {question.level}, seed {question.seed}; "
        f"record {last_hash[:12]}; {provenance(revision)}"
    )
