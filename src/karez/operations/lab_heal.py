"""The loop on a lab: what it finds and does in real time, and what the users lost."""

from __future__ import annotations

import math
import time
from contextlib import closing
from pathlib import Path

import msgspec

from karez.adapters.embedded import Fault
from karez.lab.asked import AsPlanned, End, Lab
from karez.lab.faults import Scene, begin
from karez.lab.network import network_of
from karez.loop.runner import Runner
from karez.loop.state import Decisions, Policy
from karez.operations import Answer, LabFailQuestion, LabHealQuestion
from karez.operations.heal import SETTING, Event, setting_of, timeline
from karez.operations.lab import opened
from karez.operations.lab_fail import chosen
from karez.operations.networks import counted, load_living, provenance, require_new_file
from karez.record.log import Record
from karez.record.verify import verify
from karez.twin import World
from karez.twin.store import Revision

# What is normal is learned for so long before a fault is begun; turns come so often (s).
LEARN_S, TURN_S = 8.0, 0.1
# Of the time after that the fault lasts for this share, so that the loop takes back what it did for it.
LASTS_SHARE = 0.5


class LabHealAnswer(Answer, frozen=True, kw_only=True):
    """The course of the run; how soon something was found, the true cause, and mended.

    Times are seconds after the fault began; None: it did not come to that.
    """

    level: str
    fault: str
    subject: str
    found_after_s: float | None
    right_after_s: float | None
    mended_after_s: float | None
    timeline: tuple[Event, ...]
    turns: int
    record: str
    events: int
    last_hash: str


def run(question: LabHealQuestion) -> LabHealAnswer:
    """The course of a run of the loop on a lab that runs; all of it is in the record.

    Raises:
        InputError: no such lab runs, it has nothing to break, or the record cannot be written.
        LabError: it does not answer.
    """
    require_new_file(question.record)
    world, revision = load_living(question.network)
    with opened(question.network, question.name) as lab:
        fault = _fault(world, question)
        start_s, broke_s, decided = _played(question, world, revision, lab, fault)
    course = timeline(decided, start_s)
    after_s = {what: _first(course, what, broke_s - start_s) for what in ("found", "verified")}
    right_s = _first([one for one in course if fault and one.subject == fault.subject], "found", broke_s - start_s)
    events, last_hash = verify(Path(question.record))
    return LabHealAnswer(
        headline=_headline(fault, after_s, len(decided)),
        citation=f"real FRR routers in a lab, turns of {TURN_S:g} s, level {question.level}, seed {question.seed}; "
        f"record {last_hash[:12]}; {provenance(revision)}",
        level=question.level,
        fault=question.fault,
        subject=fault.subject if fault else "",
        found_after_s=after_s["found"] if fault else None,
        right_after_s=right_s if fault else None,
        mended_after_s=after_s["verified"] if fault else None,
        timeline=course,
        turns=len(decided),
        record=question.record,
        events=events,
        last_hash=last_hash,
    )


def _fault(world: World, question: LabHealQuestion) -> Fault | None:
    if question.fault == "none":
        return None
    asked = LabFailQuestion(
        network=question.network,
        fault=question.fault,
        subject=question.subject,
        size_us=question.size_us,
        size_share=question.size_share,
        seed=question.seed,
    )
    return chosen(world, asked)


def _played(
    question: LabHealQuestion, world: World, revision: Revision, lab: Lab, fault: Fault | None
) -> tuple[float, float, list[Decisions]]:
    """When it began, when the fault did, and all that was decided until the end; the fault is over by then."""
    start_s, broke_s = time.time(), 0.0
    decided: list[Decisions] = []
    asked, ends_s = begin(Scene(world, lab.plan()), fault) if fault else None, math.inf
    with Record(Path(question.record)) as record, closing(network_of(lab, world)) as network:
        runner = Runner.start(
            world, network, record, Policy(level=question.level), at_s=start_s, revision=revision.number
        )
        setting = setting_of(question.network, question.record, works=(), freezes=())
        record.append(SETTING, start_s, msgspec.json.encode(setting, order="deterministic"))
        try:
            # The first turn loads what is compiled.
            runner.turn(time.time())
            start_s = time.time()
            while (at_s := time.time()) < start_s + question.for_s:
                if asked and not broke_s and at_s >= start_s + LEARN_S:
                    broke_s, asked = lab.ask(asked).at_s, None
                    ends_s = at_s + LASTS_SHARE * (start_s + question.for_s - at_s)
                if broke_s and at_s >= ends_s:
                    lab.ask(End())
                    ends_s = math.inf
                decided.append(runner.turn(time.time()))
                time.sleep(max(0.0, at_s + TURN_S - time.time()))
        finally:
            # What comes next finds the lab as it was.
            lab.ask(AsPlanned())
        runner.end(time.time())
    return start_s, broke_s, decided


def _first(course: tuple[Event, ...] | list[Event], what: str, since_s: float) -> float | None:
    return next((one.after_s - since_s for one in course if one.what == what and one.after_s >= since_s), None)


def _headline(fault: Fault | None, after_s: dict[str, float | None], turns: int) -> str:
    if fault is None:
        return f"No fault in {counted(turns, 'turn')} on real routers"
    what = f"The fault {fault.kind.replace('_', ' ')} {fault.subject} was"
    found_s, mended_s = after_s["found"], after_s["verified"]
    if found_s is None:
        return f"{what} not found (real routers)"
    found = f"{what} found after {found_s:.2f} s"
    if mended_s is None:
        return f"{found}, and not mended (real routers)"
    return f"{found}, mended and verified after {mended_s:.2f} s (real routers)"
