"""A recorded lab heard again by the loop: what it finds, beside what was truly wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import msgspec

from karez.adapters.embedded import Fault
from karez.lab.noise import Noise, measured
from karez.lab.replayed import DataSet, Replayed
from karez.loop.runner import Runner
from karez.loop.state import Decisions, Level, Policy
from karez.operations import Answer, LabReplayQuestion
from karez.operations.heal import SETTING, Event, setting_of, timeline
from karez.operations.networks import DETAIL, counted, load_living, provenance, require_new_file
from karez.record.log import Record
from karez.record.verify import verify
from karez.scenario.incidents import HARMLESS
from karez.twin import World
from karez.twin.store import Revision

# What is told so long after a fault has ended is told of it still (s).
AFTER_S = 10.0
LEVEL: Level = "advise"


class FaultTold(msgspec.Struct, frozen=True, kw_only=True):
    """A true fault, how long after the start it began and how long it lasted, and how long after that it was found.

    `outcome` is found, taken for another, missed, or nothing to find. `first_told` is what was first told while it
    held, and `told_after_s` how long after it began.
    """

    kind: str
    subject: str
    begin_after_s: float
    lasted_s: float
    outcome: str
    found_after_s: float | None
    told_after_s: float | None
    first_told: str


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """What was told and was not true, how long after the start; `during` names what was truly wrong then."""

    after_s: float
    kind: str
    subject: str
    during: str


class LabReplayAnswer(Answer, frozen=True, kw_only=True):
    """How many faults were found, what was told that was not true, how much of it while nothing was wrong, the course.

    Times are seconds of the recording. `noise` is what a recording without faults swings by.
    """

    folder: str
    recorded_s: float
    turns: int
    to_find: int
    found: int
    wrong: int
    false_alarms: int
    faults: tuple[FaultTold, ...]
    alarms: tuple[Alarm, ...]
    timeline: tuple[Event, ...]
    last_hash: str
    noise: Annotated[Noise | None, DETAIL] = None


class _Told(NamedTuple):
    """Something that was found, and when (Unix, s)."""

    at_s: float
    kind: str
    subject: str

    def within(self, fault: Fault) -> bool:
        """Whether it was told while a fault held, or a little later."""
        return fault.at_s <= self.at_s <= fault.until_s + AFTER_S

    def true_of(self, fault: Fault) -> bool:
        """Whether it is what is truly wrong."""
        return self.within(fault) and (self.kind, self.subject) == (fault.kind, fault.subject)


def run(question: LabReplayQuestion) -> LabReplayAnswer:
    """What the loop finds in a recording; the same whenever it is asked.

    Raises:
        InputError: the folder holds no data set, files of it were changed, or the record cannot be written.
    """
    if question.record:
        require_new_file(question.record)
    data = DataSet(Path(question.folder))
    world, revision = load_living(str(data.network))
    with ExitStack() as stack:
        path = question.record or str(Path(stack.enter_context(TemporaryDirectory(dir=_quick_folder()))) / "record")
        decided = _decided(data, world, revision, path)
        _, last_hash = verify(Path(path))
    return _answer(question, data, decided, revision, last_hash)


def _decided(data: DataSet, world: World, revision: Revision, path: str) -> list[Decisions]:
    """What every turn of the loop decided, all of it in a record."""
    start_s = data.about.start_s
    with Record(Path(path)) as record:
        policy, network = Policy(level=LEVEL), Replayed(data)
        runner = Runner.start(world, network, record, policy, at_s=start_s, revision=revision.number)
        setting = setting_of(str(data.network), path, works=(), freezes=())
        record.append(SETTING, start_s, msgspec.json.encode(setting, order="deterministic"))
        decided = [runner.turn(at_s) for at_s in data.times_s().tolist()]
        runner.end(data.about.end_s)
    return decided


def _answer(
    question: LabReplayQuestion, data: DataSet, decided: Sequence[Decisions], revision: Revision, last_hash: str
) -> LabReplayAnswer:
    known, start_s = data.about, data.about.start_s
    faults = [event.fault for event in data.events()]
    told = [_Told(one.at_s, f.kind, f.subject) for one in decided for f in one.found if f.open]
    judged, alarms = tuple(_judged(faults, told, start_s)), tuple(_alarms(faults, told, start_s))
    to_find = [one for one in judged if one.kind not in HARMLESS]
    false_alarms = sum(not one.during for one in alarms)
    answer = LabReplayAnswer(
        headline="",
        citation=f"data set {data.digest[:12]}, {known.frr or 'no FRR'}, {counted(known.routers, 'router')}, turns of "
        f"{known.turn_s:g} s, heard at level {LEVEL}; record {last_hash[:12]}; {provenance(revision)}",
        folder=question.folder,
        recorded_s=known.end_s - start_s,
        turns=len(decided),
        to_find=len(to_find),
        found=sum(one.outcome == "found" for one in to_find),
        wrong=len(alarms) - false_alarms,
        false_alarms=false_alarms,
        faults=judged,
        alarms=alarms,
        timeline=timeline(decided, start_s),
        last_hash=last_hash,
        noise=None if faults else measured(data.heard(), turn_s=known.turn_s),
    )
    return msgspec.structs.replace(answer, headline=_headline(answer))


def _judged(faults: Iterable[Fault], told: Sequence[_Told], start_s: float) -> Iterator[FaultTold]:
    """What became of each true fault."""
    for fault in faults:
        right = next((one for one in told if one.true_of(fault)), None)
        first = next((one for one in told if one.within(fault)), None)
        yield FaultTold(
            kind=fault.kind,
            subject=fault.subject,
            begin_after_s=fault.at_s - start_s,
            lasted_s=fault.until_s - fault.at_s,
            outcome=_outcome(fault, right, first),
            found_after_s=right.at_s - fault.at_s if right else None,
            told_after_s=first.at_s - fault.at_s if first else None,
            first_told=f"{first.kind} {first.subject}" if first else "",
        )


def _outcome(fault: Fault, right: _Told | None, first: _Told | None) -> str:
    if fault.kind in HARMLESS:
        return "nothing to find"
    return "found" if right else "taken for another" if first else "missed"


def _alarms(faults: Sequence[Fault], told: Iterable[_Told], start_s: float) -> Iterator[Alarm]:
    """What was told and is true of no fault."""
    real = [fault for fault in faults if fault.kind not in HARMLESS]
    for one in told:
        if not any(one.true_of(fault) for fault in real):
            during = ", ".join(f"{fault.kind} {fault.subject}" for fault in real if one.within(fault))
            yield Alarm(after_s=one.at_s - start_s, kind=one.kind, subject=one.subject, during=during)


def _headline(answer: LabReplayAnswer) -> str:
    quiet = f"{counted(answer.false_alarms, 'false alarm')} in {answer.recorded_s:,.0f} s"
    if not answer.to_find:
        return f"Nothing to find, and {quiet} of a recorded lab"
    wrong = f"{counted(answer.wrong, 'other cause')} told beside them, " if answer.wrong else ""
    return f"{answer.found} of {counted(answer.to_find, 'fault')} found, {wrong}{quiet} of a recorded lab"


def _quick_folder() -> str | None:
    """A folder in memory, where there is one: a record that nobody asked for is not kept."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
