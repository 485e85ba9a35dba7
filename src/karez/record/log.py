"""The record: events on the disk, each bound to all before it by a hash, in an SQLite file or a PostgreSQL database.

One writer; a second one is refused at its first event, whose place is taken. Readers may be many, in any process. The
chain goes by seq and not by time: `at_s` is what the writer's clock said, and may be less than in the event before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from karez.errors import InputError
from karez.record import store
from karez.record.sqlite import Connect, Sqlite, connect
from karez.record.store import GENESIS, Event, Store, chained

__all__ = ["GENESIS", "Entry", "Event", "Reader", "Record", "chained", "copy", "last_snapshot", "read"]

# What is appended: kind, at_s, body.
Entry = tuple[str, float, bytes]


class Record:
    """A record open for appending; use it as a context manager."""

    def __init__(self, where: Path | str, *, resume: bool = False, connect: Connect = connect) -> None:
        """Start a new record in a file or database (`postgresql://...`), or go on with the one that is there.

        Raises:
            InputError: there is one already and it is not to be resumed, or it cannot be made or read, or its end was
                altered.
        """
        self.store = opened(where, "rw" if resume else "rwc", connect)
        try:
            self.head, self._next = _end(self.store)
        except InputError:
            self.store.close()
            raise

    @classmethod
    def open(cls, where: str, *, resume: bool = False) -> Self:
        """The record in a file or in a database, by its name."""
        return cls(where, resume=resume)

    def __enter__(self) -> Self:
        """The record itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the record."""
        self.store.close()

    def append(self, kind: str, at_s: float, body: bytes) -> bytes:
        """The receipt (40 bytes: hash, then seq) of an event that is now on the disk.

        Raises:
            InputError: the disk took no more; nothing of the event was kept.
        """
        return self.append_all([(kind, at_s, body)])[0]

    def append_all(self, entries: Iterable[Entry]) -> list[bytes]:
        """The receipts of events that are now on the disk; they share one commit: all are kept, or none.

        Raises:
            InputError: the disk took no more, or an entry cannot be recorded; nothing of any was kept.
        """
        events = self._bound(entries)
        if events:
            self.store.add(events)
            self.head, self._next = events[-1].hash, events[-1].seq + 1
        return [event.receipt for event in events]

    def snapshot(self, at_s: float, state: bytes) -> bytes:
        """The receipt of an event that holds a whole state, from which a run can be resumed."""
        return self.append("snapshot", at_s, state)

    def body(self, receipt: bytes) -> bytes | None:
        """What the event with this receipt holds; None where there is no such event."""
        return store.body(self.store, receipt)

    def _bound(self, entries: Iterable[Entry]) -> list[Event]:
        head, events = self.head, list[Event]()
        for seq, (kind, at_s, body) in enumerate(entries, self._next):
            # A zero byte ends the kind in what is hashed; SQLite has no NaN.
            if "\0" in kind or not math.isfinite(at_s):
                what = f"cannot hold an event of kind {kind!r} at {at_s} s"
                raise InputError.of(self.store.where, what, "give a finite time, and a kind without zero bytes")
            head = chained(head, seq, at_s, kind, body)
            events.append(Event(seq, at_s, kind, body, head))
        return events


class Reader:
    """A record open for reading only, while another process may write it; use it as a context manager."""

    def __init__(self, where: Path | str, connect: Connect = connect) -> None:
        """Open it.

        Raises:
            InputError: there is no such record.
        """
        self.store = opened(where, "ro", connect)

    def __enter__(self) -> Self:
        """The reader itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let go of the record."""
        self.store.close()

    def body(self, receipt: bytes) -> bytes | None:
        """What the event with this receipt holds by now; None where there is no such event."""
        return store.body(self.store, receipt)

    def events(self, since: int = 0) -> Iterator[Event]:
        """The events from a seq on that are there by now, in their order, unchecked."""
        return store.events(self.store, since)

    def last(self, kind: str = "") -> Event | None:
        """The newest event, or the newest of a kind; None where there is none."""
        return self.store.last(kind)


def read(where: Path | str, since: int = 0) -> Iterator[Event]:
    """The events of a record from a seq on in their order, unchecked; `karez.record.verify` checks them.

    Raises:
        InputError: there is no such record, or the file is none.
    """
    with Reader(where) as reader:
        yield from reader.events(since)


def last_snapshot(where: Path | str) -> Event | None:
    """The newest event that holds a whole state; None where the record has none.

    Raises:
        InputError: there is no such record, or the file is none.
    """
    with Reader(where) as reader:
        return reader.last("snapshot")


def copy(source: Store, path: Path, *, before: float = math.inf, connect: Connect = connect) -> None:
    """Put all events before a seq, with their hashes, into a file that `verify` reads; go on where a copy was cut off.

    Raises:
        InputError: an event was altered, or the disk took no more.
    """
    with closing(Sqlite(path, "rw" if path.exists() else "rwc", connect)) as target:
        last = target.last()
        since = 0 if last is None else last.seq + 1
        while page := [event for event in source.page(since, store.PAGE_EVENTS) if event.seq < before]:
            for event in page:
                last = _follows(source.where, last, event)
            target.add(page)
            since = page[-1].seq + 1


def opened(where: Path | str, mode: str, connect: Connect = connect) -> Store:
    """The back end that a path or address names, open to read (ro), to go on with (rw) or to make (rwc).

    Raises:
        InputError: it cannot be opened.
    """
    if isinstance(where, str) and where.startswith(("postgresql://", "postgres://")):
        # Only who names a database needs the library that speaks to it.
        from karez.record.postgres import Postgres

        return Postgres(where, mode)
    return Sqlite(Path(where), mode, connect)


def _end(store: Store) -> tuple[bytes, int]:
    """The hash of the last event and the seq of the next."""
    last = store.last()
    if last is None:
        return GENESIS, 0
    page = store.page(last.seq - 1, 2)
    _follows(store.where, page[0] if len(page) == 2 else None, last)
    return last.hash, last.seq + 1


def _follows(where: str, last: Event | None, event: Event) -> Event:
    """The event, if it comes right after the one before; a first one may stand alone.

    Raises:
        InputError: it was altered, or one between them is missing.
    """
    if last is None and event.seq > 0:
        return event
    seq, before = (0, GENESIS) if last is None else (last.seq + 1, last.hash)
    if event.seq != seq or chained(before, event.seq, event.at_s, event.kind, event.body) != event.hash:
        fix = "run karez/record/verify.py on it, which names the first event that was altered, and start a new record"
        raise InputError.of(where, f"event {seq} was altered or is missing", fix)
    return event
