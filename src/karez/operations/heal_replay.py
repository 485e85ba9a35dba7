"""A recorded run, checked and decided again."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from karez.loop.recorded import replay
from karez.operations import Answer, HealReplayQuestion
from karez.operations.heal import began_with, whole
from karez.operations.networks import counted, provenance
from karez.record.log import read


class HealReplayAnswer(Answer, frozen=True, kw_only=True):
    """How many turns and commands came out the same, and the hash that stands for all of them."""

    turns: int
    commands: int
    ended: bool
    events: int
    last_hash: str


def run(question: HealReplayQuestion) -> HealReplayAnswer:
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
    return HealReplayAnswer(
        headline=f"{what} decided again: the same, byte for byte{cut}{note}",
        citation=f"record of {counted(events, 'event')} ending in {last_hash[:12]}; {provenance(revision)}",
        turns=len(decided),
        commands=commands,
        ended=ended,
        events=events,
        last_hash=last_hash,
    )
