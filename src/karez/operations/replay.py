"""A recorded run, checked and decided again."""

from __future__ import annotations

from pathlib import Path

from karez.errors import KarezError
from karez.loop.runner import replay, started
from karez.operations import Answer, ReplayQuestion
from karez.operations.networks import load, provenance
from karez.record.verify import verify


class ReplayAnswer(Answer, frozen=True, kw_only=True):
    """How many turns and commands came out the same, and the hash that stands for all of them."""

    turns: int
    commands: int
    events: int
    last_hash: str


def run(question: ReplayQuestion) -> ReplayAnswer:
    """The whole record, decided again from the revision it started from.

    Raises:
        InputError: the network or the record cannot be read.
        KarezError: the record was altered, or a turn comes out otherwise.
    """
    path = Path(question.record)
    start = started(path)
    try:
        events, last_hash = verify(path)
    except ValueError as error:
        raise KarezError(f"{question.record}: {error}") from error
    world, revision = load(question.network, start.revision)
    decided = list(replay(world, path))
    commands = sum(len(decisions.commands) for decisions in decided)
    note = " (synthetic network)" if revision.synthetic else ""
    return ReplayAnswer(
        headline=f"All {len(decided)} turns and {commands} commands come out the same, byte for byte{note}",
        citation=f"record of {events} events ending in {last_hash[:12]}; {provenance(revision)}",
        turns=len(decided),
        commands=commands,
        events=events,
        last_hash=last_hash,
    )
