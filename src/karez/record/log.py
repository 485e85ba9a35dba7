"""The record: events in SQLite, each bound to all before it by a hash; what was appended is on the disk.

One writer. WAL with synchronous=FULL: with NORMAL, acknowledged events are lost when the power goes.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from karez.errors import InputError

GENESIS = bytes(32)
TABLE = """CREATE TABLE events (
    seq INTEGER PRIMARY KEY, at_s REAL NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL UNIQUE
) STRICT"""


class Event(NamedTuple):
    """One entry: its place in the chain, when, of what kind, what, and the hash that binds it."""

    seq: int
    at_s: float
    kind: str
    body: bytes
    hash: bytes


def chained(before: bytes, seq: int, at_s: float, kind: str, body: bytes) -> bytes:
    """The hash (32 bytes) of an event whose predecessor has the hash `before`."""
    return hashlib.sha256(before + struct.pack(">Qd", seq, at_s) + kind.encode() + b"\0" + body).digest()


class Record:
    """A record open for appending; use it as a context manager."""

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        """Start a new record at `path`, or go on with the one that is there.

        Raises:
            InputError: there is such a file already and it is not to be resumed, or it cannot be made or read.
        """
        if path.exists() and not resume:
            raise InputError.of(str(path), "exists already", "name a new file; a record is never written over")
        self._path = path
        last = deque(read(path), maxlen=1) if resume else ()
        self.head, self._next = (last[0].hash, last[0].seq + 1) if last else (GENESIS, 0)
        try:
            self._base = sqlite3.connect(path, isolation_level=None)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=FULL")
            if not resume:
                self._base.execute(TABLE)
        except sqlite3.Error as error:
            raise InputError.of(str(path), f"cannot be written ({error})", "choose a folder with room") from error

    def __enter__(self) -> Self:
        """The record itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the record, so that it is one file that can be read from anywhere.

        On a full disk it stays in two: what was appended is in them all the same.
        """
        try:
            with suppress(sqlite3.OperationalError):
                self._base.execute("PRAGMA journal_mode=DELETE")
        finally:
            self._base.close()

    def append(self, kind: str, at_s: float, body: bytes) -> bytes:
        """The receipt (hash) of an event that is now on the disk.

        Raises:
            InputError: the disk took no more; nothing of the event was kept.
        """
        receipt = chained(self.head, self._next, at_s, kind, body)
        try:
            self._base.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)", (self._next, at_s, kind, body, receipt))
        except sqlite3.Error as error:
            what = f"cannot take another event ({error})"
            raise InputError.of(str(self._path), what, "make room; nothing was done") from error
        self.head = receipt
        self._next += 1
        return receipt

    def body(self, receipt: bytes) -> bytes | None:
        """What the event with this hash holds; None where there is no such event."""
        row = self._base.execute("SELECT body FROM events WHERE hash = ?", (receipt,)).fetchone()
        return None if row is None else bytes(row[0])


def read(path: Path) -> Iterator[Event]:
    """The events of a record in their order, unchecked; `karez.record.verify` checks them.

    Raises:
        InputError: there is no such record, or the file is none.
    """
    if not path.is_file():
        raise InputError.of(str(path), "there is no such record", "name the file that a run wrote")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            for row in base.execute("SELECT seq, at_s, kind, body, hash FROM events ORDER BY seq"):
                yield Event(*row)
    except sqlite3.Error as error:
        raise InputError.of(str(path), f"is no record ({error})", "name the file that a run wrote") from error
