"""A lab recorded as a data set: what it told, and what was truly wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np

from karez.adapters.embedded import Fault
from karez.lab.asked import Lab
from karez.lab.dataset import About, Writer
from karez.lab.faults import Scene
from karez.lab.network import network_of
from karez.lab.recording import Overheard, about, recorded, require_whole
from karez.lab.replayed import DataSet
from karez.lab.schedule import Scheduled, schedule
from karez.operations import Answer, LabRecordQuestion
from karez.operations.faults import Breaking, drawn_fault
from karez.operations.lab import opened
from karez.operations.networks import counted, given_rows, load, load_living, provenance, require_new_file
from karez.scenario.incidents import announced
from karez.scenario.real import TURN_S
from karez.twin import Twin, World
from karez.twin.store import Revision

BYTES_PER_MB = 1e6


class PlayedFault(msgspec.Struct, frozen=True, kw_only=True):
    """A true fault: how long after the start it began, and how long it lasted, as the lab said."""

    kind: str
    subject: str
    begin_after_s: float
    lasted_s: float


class LabRecordAnswer(Answer, frozen=True, kw_only=True):
    """The data set: its folder and size, its turns and the longest time between two, and what was truly wrong."""

    folder: str
    recorded_s: float
    turns: int
    longest_gap_s: float
    size_mb: float
    faults: tuple[PlayedFault, ...]


def run(question: LabRecordQuestion) -> LabRecordAnswer:
    """What was recorded; whatever was broken for it is over.

    Raises:
        InputError: no such lab runs, it is broken already, the schedule cannot be played, or nothing can be written.
        LabError: it does not answer; then nothing is left of the recording.
    """
    require_new_file(question.output)
    world, revision = load_living(question.network)
    with opened(question.network, question.name) as lab:
        scheduled = _scheduled(question, world, lab)
        require_whole(lab)
        whole = _recorded(question, world, lab, scheduled)
    return _answer(question, whole, revision)


def _scheduled(question: LabRecordQuestion, world: World, lab: Lab) -> list[Scheduled]:
    """What is played; the first row draws what it leaves blank as a single fault of the same seed does."""
    if not question.schedule:
        return []

    def draws(kind: str, subject: str, number: int) -> Fault:
        return drawn_fault(world, question.network, Breaking(kind, subject, question.seed + number, 0.0))

    rows, scene = given_rows(question.schedule), Scene(world, lab.plan())
    return schedule(question.schedule, rows, scene, draws, for_s=question.for_s)


def _recorded(question: LabRecordQuestion, world: World, lab: Lab, scheduled: Sequence[Scheduled]) -> About:
    """What the data set says of itself, now that it is there."""
    twin, revision = load(question.network)
    known = about(lab, turn_s=TURN_S)
    with Writer(Path(question.output)) as writer, closing(network_of(lab, world)) as network:
        heard = Overheard(network, writer.keep)
        start_s, end_s, events = recorded(lab, heard, scheduled, for_s=question.for_s, turn_s=TURN_S)
        known = msgspec.structs.replace(known, start_s=start_s, end_s=end_s)
        return writer.close(known, events, _announced(twin.intended, scheduled, start_s), revision)


def _announced(twin: Twin, scheduled: Sequence[Scheduled], start_s: float) -> Twin:
    """The network, with planned work in its calendar: nothing is to be found on what is worked on."""
    faults = (one.fault for one in scheduled)
    moved = (msgspec.structs.replace(f, at_s=start_s + f.at_s, until_s=start_s + f.until_s) for f in faults)
    rows = [row for number, fault in enumerate(moved) for row in announced(fault, id=f"recorded-{number}")]
    if not rows:
        return twin
    return twin.replace(twin["works"].add({name: [row[name] for row in rows] for name in rows[0]}))


def _answer(question: LabRecordQuestion, whole: About, revision: Revision) -> LabRecordAnswer:
    data = DataSet(Path(question.output))
    faults, times_s = tuple(_played(data, whole)), data.times_s()
    size_mb = sum(path.stat().st_size for path in data.folder.rglob("*") if path.is_file()) / BYTES_PER_MB
    what = f"{counted(whole.turns, 'turn')} of lab {whole.lab} with {counted(len(faults), 'fault')}"
    return LabRecordAnswer(
        headline=f"{what} recorded in {question.output} ({size_mb:.2f} MB)",
        citation=f"{whole.frr}, {counted(whole.routers, 'router')}, turns of {whole.turn_s:g} s, seed {question.seed}; "
        f"data set {data.digest[:12]}; {provenance(revision)}",
        folder=question.output,
        recorded_s=whole.end_s - whole.start_s,
        turns=whole.turns,
        longest_gap_s=float(np.diff(times_s).max(initial=0.0)),
        size_mb=size_mb,
        faults=faults,
    )


def _played(data: DataSet, whole: About) -> Iterator[PlayedFault]:
    for fault in (event.fault for event in data.events()):
        yield PlayedFault(
            kind=fault.kind,
            subject=fault.subject,
            begin_after_s=fault.at_s - whole.start_s,
            lasted_s=fault.until_s - fault.at_s,
        )
