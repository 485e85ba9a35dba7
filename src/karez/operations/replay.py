"""A recorded run, checked and decided again."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from karez.errors import InputError
from karez.loop.runner import Start, replay, started
from karez.loop.state import State
from karez.operations import Answer, ReplayQuestion
from karez.operations.networks import counted, load_living, provenance, require_readable
from karez.record.log import read
from karez.record.verify import verify
from karez.twin import World
from karez.twin.store import Revision


class ReplayAnswer(Answer, frozen=True, kw_only=True):
    """How many turns and commands came out the same, and the hash that stands for all of them."""

    turns: int
    commands: int
    ended: bool
    events: int
    last_hash: str


def run(question: ReplayQuestion) -> ReplayAnswer:
    """The whole record, decided again from the revision it started from.

    Raises:
        InputError: the network or the record cannot be read, the record was altered, or is of another network.
        KarezError: a turn comes out otherwise.
    """
    path = Path(question.record)
    start, events, last_hash = whole(question.record)
    world, revision = began_with(start, question.network, question.record)
    decided = list(replay(world, path))
    commands = sum(len(decisions.commands) for decisions in decided)
    note = " (synthetic network)" if revision.synthetic else ""
    ended = deque(read(path), maxlen=1)[0].kind == "end"
    cut = "" if ended else "; the record has no end, so the run was cut off or still goes on"
    what = f"{counted(len(decided), 'turn')} and {counted(commands, 'command')}"
    return ReplayAnswer(
        headline=f"{what} decided again: the same, byte for byte{cut}{note}",
        citation=f"record of {counted(events, 'event')} ending in {last_hash[:12]}; {provenance(revision)}",
        turns=len(decided),
        commands=commands,
        ended=ended,
        events=events,
        last_hash=last_hash,
    )


def whole(record: str) -> tuple[Start, int, str]:
    """How the run of a record began, its number of events and its last hash, when nothing in it was altered.

    Raises:
        InputError: there is no such record, or it was altered.
    """
    require_readable(record)
    start = started(Path(record))
    try:
        return (start, *verify(Path(record)))
    except ValueError as error:
        raise InputError.of(record, str(error), "take an unaltered copy; this one proves nothing") from error


def began_with(start: Start, network: str, record: str) -> tuple[World, Revision]:
    """The world that a run began with, and its revision.

    Raises:
        InputError: the network cannot be read, or the run began with another one.
    """
    world, revision = load_living(network, start.revision)
    if State.of(world).digest != start.state:
        what = f"is the record of a run on another network than {network}, or by another version of Karez"
        raise InputError.of(record, what, "name the network that it was made on, or make the run anew")
    return world, revision
