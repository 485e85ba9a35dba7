"""A fault in the embedded network, and what the loop does about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.errors import InputError
from karez.loop.runner import People, Runner, nobody
from karez.loop.state import Approval, Decisions, Policy, State
from karez.measure.delay import link_oneway_us
from karez.measure.routes import flows, observed, ways
from karez.operations import Answer, HealQuestion
from karez.operations.networks import counted, load_living, provenance, read_plan, require_new_file
from karez.plan import Action, Plan
from karez.record.log import Record
from karez.record.verify import verify
from karez.twin import World
from karez.twin.store import Revision

# The fault starts after a quarter of the turns, when normal delays are learned, and goes after half of them.
STARTS_SHARE, ENDS_SHARE = 0.25, 0.5
NOTHING_TO_BREAK = {
    "delay": ("has no link whose traffic could take another way", "add links and demands"),
    "device": ("has no router", "add one to the table equipment"),
}


class Event(msgspec.Struct, frozen=True):
    """Something that happened, seconds after the start of the run."""

    after_s: float
    what: str
    subject: str
    why: str


class HealAnswer(Answer, frozen=True, kw_only=True):
    """The course of the run, how soon the fault was found and mended (None: not at all), and the record of it all."""

    level: str
    fault: str
    subject: str
    plan: str
    found_after_s: float | None
    mended_after_s: float | None
    timeline: tuple[Event, ...]
    turns: int
    record: str
    events: int
    last_hash: str


def run(question: HealQuestion) -> HealAnswer:
    """The course of a run of the loop; all of it is in the record.

    Raises:
        InputError: the network cannot be read or has nothing to break, or the record cannot be written.
    """
    require_new_file(question.record)
    world, revision = load_living(question.network)
    start_s = float(int(revision.at_s))
    network = EmbeddedNetwork(world, seed=question.seed, start_s=start_s)
    fault = _fault(world, question, start_s)
    if fault is not None:
        network.inject(fault)
    try:
        decided = _decided(world, network, question, revision, start_s)
    except InputError:
        _remove(question.record)
        raise
    events, last_hash = verify(Path(question.record))
    course = timeline(decided, start_s)
    answer = HealAnswer(
        headline="",
        citation=_citation(question, revision, last_hash),
        level=question.level,
        fault=question.fault,
        subject=fault.subject if fault else "",
        plan=question.plan,
        found_after_s=_first(course, "found", fault, start_s),
        mended_after_s=_first(course, "verified", fault, start_s),
        timeline=course,
        turns=question.turns,
        record=question.record,
        events=events,
        last_hash=last_hash,
    )
    return msgspec.structs.replace(answer, headline=_headline(answer, revision))


def timeline(decided: Iterable[Decisions], start_s: float) -> tuple[Event, ...]:
    """All that was found and done in turns that began at `start_s`."""
    acts: dict[str, str] = {}
    return tuple(event for decisions in decided for event in _events(decisions, start_s, acts))


def _decided(
    world: World, network: EmbeddedNetwork, question: HealQuestion, revision: Revision, start_s: float
) -> list[Decisions]:
    with Record(Path(question.record)) as record:
        policy = Policy(level=question.level)
        runner = Runner.start(world, network, record, policy, at_s=start_s, revision=revision.number)
        people = _people(question, start_s)
        decided = [runner.turn(start_s + turn, people) for turn in range(1, question.turns + 1)]
        runner.end(start_s + question.turns)
    return decided


def _people(question: HealQuestion, start_s: float) -> People:
    """A person who brings the plan in the first turn, and one who approves it in the next."""
    if not question.plan:
        return nobody
    plan = read_plan(question.plan)

    def people(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
        brought = (plan,) if at_s == start_s + 1 else ()
        approved = (Approval(plan.id, question.approve),) if question.approve and at_s == start_s + 2 else ()
        return brought, approved

    return people


def _remove(record: str) -> None:
    """Take away what could not be written to its end, with what SQLite keeps beside it."""
    for name in (record, f"{record}-wal", f"{record}-shm", f"{record}-journal"):
        with suppress(OSError):
            Path(name).unlink()


def _fault(world: World, question: HealQuestion, start_s: float) -> Fault | None:
    if question.fault == "none":
        return None
    subject = _busiest_link(world) if question.fault == "delay" else _a_router(world, question.seed)
    if not subject:
        what, fix = NOTHING_TO_BREAK[question.fault]
        raise InputError.of(question.network, what, f"{fix}, or ask for --fault none")
    at_s, until_s = (start_s + share * question.turns for share in (STARTS_SHARE, ENDS_SHARE))
    return Fault(question.fault, subject, at_s, until_s)


def _busiest_link(world: World) -> str:
    """The link that carries most, of those that traffic can be led around."""
    planned = link_oneway_us(world.intended, figures="typical")
    load = flows(world, ways(world, planned), planned).load_gbps
    rows, _ = observed(world)
    load = np.where(np.isin(np.arange(len(load)), rows), load, 0.0)
    for row in np.argsort(-load, kind="stable")[: np.count_nonzero(load)]:
        link = world["links"].ids[row].decode()
        around = flows(world, ways(world, planned, drained=[link]), planned)
        if around.load_gbps[row] == 0:
            return str(link)
    return ""


def _a_router(world: World, seed: int) -> str:
    equipment = world["equipment"]
    routers = equipment.ids[equipment["kind"] == b"router"]
    routers = routers[np.isin(routers, world["equipment_states"].ids)]
    return str(np.random.default_rng(seed).choice(routers).decode()) if len(routers) else ""


def _events(decisions: Decisions, start_s: float, acts: dict[str, str]) -> Iterator[Event]:
    """What one turn found and did; `acts` remembers what a plan is about for the turns after it."""
    after_s = decisions.at_s - start_s
    for found in decisions.found:
        yield Event(after_s, "found" if found.open else "gone", found.subject, found.kind)
    acts |= {plan.id: _acts(plan.actions) for plan in decisions.plans}
    for verdict in decisions.verdicts:
        yield Event(after_s, verdict.verdict, acts.get(verdict.plan, f"plan {verdict.plan}"), verdict.why)


def _acts(actions: tuple[Action, ...]) -> str:
    """What a plan does, in a few words."""
    more = f" and {len(actions) - 1} more" if len(actions) > 1 else ""
    return f"{actions[0].kind} {actions[0].subject}{more}" if actions else "nothing"


def _brought(course: tuple[Event, ...]) -> str:
    """What became of the plan that a person brought: the first plan of all."""
    last = [event for event in course if event.subject == course[0].subject][-1]
    why = f" ({last.why})" if last.why and last.what in ("refused", "withdrawn", "proposed") else ""
    return f"; the plan brought was {last.what}{why}"


def _first(course: tuple[Event, ...], what: str, fault: Fault | None, start_s: float) -> float | None:
    """How long after the fault something first happened (s)."""
    if fault is None:
        return None
    begun = fault.at_s - start_s
    return next((event.after_s - begun for event in course if event.what == what and event.after_s >= begun), None)


def _headline(answer: HealAnswer, revision: Revision) -> str:
    brought = _brought(answer.timeline) if answer.plan else ""
    note = f"{'synthetic network, embedded' if revision.synthetic else 'embedded network'}){brought}"
    turns = counted(answer.turns, "turn")
    if answer.fault == "none":
        acts = sum(event.what == "commanded" for event in answer.timeline)
        return f"No fault in {turns}, and {counted(acts, 'act') if acts else 'no act'} taken ({note}"
    what = "slower link" if answer.fault == "delay" else "silent device"
    if answer.found_after_s is None:
        return f"The {what} {answer.subject} was not found in {turns} ({note}"
    found = f"The {what} {answer.subject} was found after {answer.found_after_s:.0f} s"
    if answer.mended_after_s is None:
        return f"{found}; {_not_mended(answer)} ({note}"
    return f"{found}, mended and verified after {answer.mended_after_s:.0f} s ({note}"


def _not_mended(answer: HealAnswer) -> str:
    proposed = next((event.subject for event in answer.timeline if event.what == "proposed"), "")
    if answer.level == "advise" and proposed:
        return f"the advice is to {proposed.replace('_', ' ')}, and nothing was done"
    if answer.level == "act":
        return "it was not mended"
    return f"at level {answer.level} nothing was done about it"


def _citation(question: HealQuestion, revision: Revision, last_hash: str) -> str:
    return (
        f"embedded network at flow level, turns of 1 s, level {question.level}, seed {question.seed}; "
        f"record {last_hash[:12]}; {provenance(revision)}"
    )
