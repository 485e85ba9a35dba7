"""The loop on a lab: what it finds and does in real time, and what the users lost."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import msgspec

from karez.adapters.embedded import Fault
from karez.lab.asked import Lab
from karez.lab.faults import Scene, begin
from karez.lab.network import network_of
from karez.loop.runner import Runner
from karez.loop.state import Policy
from karez.operations import LabHealQuestion
from karez.operations.heal import SETTING, CourseAnswer, Timeline, setting_of, timeline
from karez.operations.lab import opened, require_alike
from karez.operations.lab_fail import chosen
from karez.operations.networks import counted, load_living, provenance, require_new_file
from karez.record.log import Record
from karez.record.verify import verify
from karez.scenario.real import LEARN_S, TURN_S, Played, played
from karez.twin import World
from karez.twin.store import Revision

# Of the time after what is normal was learned the fault lasts for this share.
LASTS_SHARE = 0.5


class LabHealAnswer(CourseAnswer, frozen=True, kw_only=True):
    """The course of a run on real routers."""


def run(question: LabHealQuestion) -> LabHealAnswer:
    """The course of a run of the loop on a lab that runs; all of it is in the record.

    Raises:
        InputError: no such lab runs, it has nothing to break, or the record cannot be written.
        LabError: it does not answer.
    """
    require_new_file(question.record)
    world, revision = load_living(question.network)
    with opened(question.network, question.name) as lab:
        require_alike(lab, world, question.network)
        fault = None if question.fault == "none" else chosen(world, question)
        made = _played(question, world, revision, lab, fault)
    decided = made.course.decisions
    course = Timeline(
        timeline(decided, made.start_s),
        fault.kind if fault else "",
        fault.subject if fault else "",
        made.broke_s - made.start_s,
    )
    found_s, mended_s = course.found_s(), course.mended_s()
    events, last_hash = verify(Path(question.record))
    return LabHealAnswer(
        headline=_headline(fault, found_s, mended_s, len(decided)),
        citation=f"real FRR routers in a lab, turns of {TURN_S:g} s, level {question.level}, seed {question.seed}; "
        f"record {last_hash[:12]}; {provenance(revision)}",
        level=question.level,
        fault=question.fault,
        subject=course.subject,
        found_after_s=found_s,
        right_after_s=course.right_s(),
        mended_after_s=mended_s,
        timeline=course.events,
        turns=len(decided),
        record=question.record,
        events=events,
        last_hash=last_hash,
    )


def _played(question: LabHealQuestion, world: World, revision: Revision, lab: Lab, fault: Fault | None) -> Played:
    """What was played, all of it in the record; the fault is over by then."""
    asked = begin(Scene(world, lab.plan()), fault) if fault else None
    with Record(Path(question.record)) as record, closing(network_of(lab, world)) as network:
        start_s, policy = time.time(), Policy(level=question.level)
        runner = Runner.start(world, network, record, policy, at_s=start_s, revision=revision.number)
        setting = setting_of(question.network, question.record, works=(), freezes=())
        record.append(SETTING, start_s, msgspec.json.encode(setting, order="deterministic"))
        lasts_s = LASTS_SHARE * max(0.0, question.for_s - LEARN_S)
        made = played(runner, lab, asked, for_s=question.for_s, lasts_s=lasts_s)
        runner.end(time.time())
    return made


def _headline(fault: Fault | None, found_s: float | None, mended_s: float | None, turns: int) -> str:
    if fault is None:
        return f"No fault in {counted(turns, 'turn')} on real routers"
    what = f"The fault {fault.kind.replace('_', ' ')} {fault.subject} was"
    if found_s is None:
        return f"{what} not found (real routers)"
    found = f"{what} found after {found_s:.2f} s"
    if mended_s is None:
        return f"{found}, and not mended (real routers)"
    return f"{found}, mended and verified after {mended_s:.2f} s (real routers)"
