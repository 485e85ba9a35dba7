"""Whether a record is whole: every event there, unaltered and in its place."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from karez.errors import InputError
from karez.operations import Answer, HealVerifyQuestion
from karez.operations.networks import counted, require_readable
from karez.record.log import read
from karez.record.verify import examine

ENDS = ("end",)


class EventKind(msgspec.Struct, frozen=True):
    """How many events of a kind there are, and when the first and last of them were recorded (Unix time)."""

    kind: str
    events: int
    first_at_s: float
    last_at_s: float


class HealVerifyAnswer(Answer, frozen=True, kw_only=True):
    """The number of events, the hash of the last, where the record begins, and whether its run came to its end.

    `before` is the hash that a sealed record goes on from: 64 zeros where it is whole from its first event on.
    """

    events: int
    last_hash: str
    first_event: int
    before: str
    ended: bool
    kinds: tuple[EventKind, ...]


def run(question: HealVerifyQuestion) -> HealVerifyAnswer:
    """What the record holds, when nothing in it was altered.

    Raises:
        InputError: there is no such record, it was altered or cut, or the receipt is not in it.
    """
    require_readable(question.record)
    paths = ([Path(question.segments)] if question.segments else []) + [Path(question.record)]
    try:
        whole = examine(*paths, holds=question.holds)
    except ValueError as error:
        fix = "take an unaltered copy; this one proves nothing"
        raise InputError.of(question.record, str(error), fix) from error
    kinds, last = _kinds(Path(question.record))
    ended = last in ENDS
    since = f" from event {whole.first:,} on" if whole.first else ""
    cut = "" if ended else "; it has no end, so the run was cut off or still goes on"
    held = "; the receipt is in it" if question.holds else ""
    return HealVerifyAnswer(
        headline=f"Nothing was altered in {counted(whole.events, 'event')}{since}{cut}{held}",
        citation=f"SHA-256 chain, each event hashed with all before it; record ending in {whole.last[:12]}",
        events=whole.events,
        last_hash=whole.last,
        first_event=whole.first,
        before=whole.before,
        ended=ended,
        kinds=kinds,
    )


def _kinds(path: Path) -> tuple[tuple[EventKind, ...], str]:
    """What the record itself holds by kind, closed files left out, and the kind of its last event."""
    counts: Counter[str] = Counter()
    times: dict[str, tuple[float, float]] = {}
    last = ""
    for event in read(path):
        last = event.kind
        counts[last] += 1
        first_s, _ = times.get(last, (event.at_s, event.at_s))
        times[last] = (first_s, event.at_s)
    return tuple(EventKind(kind, count, *times[kind]) for kind, count in counts.items()), last
