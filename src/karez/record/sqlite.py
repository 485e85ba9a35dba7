"""Events in an SQLite file: WAL with synchronous=FULL, one writer that alone checkpoints, readers that only read.

With synchronous=NORMAL, acknowledged events are lost when the power goes. There is no index on the hash: it would touch
a page for each event, ten times what the event itself takes; a receipt holds the seq, which finds the row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from karez.errors import InputError
from karez.record.store import Event

COLUMNS = "seq INTEGER PRIMARY KEY, at_s REAL NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL, hash BLOB NOT NULL"
# Only rare kinds are looked for by their name, and only those pay for it.
SCHEMA = (
    f"CREATE TABLE events ({COLUMNS}) STRICT",
    "CREATE INDEX snapshots ON events (kind, seq) WHERE kind = 'snapshot'",
    "CREATE INDEX segments ON events (kind, seq) WHERE kind = 'segment'",
)
WAIT_S = 5.0


class Base(Protocol):
    """An open database: what the record asks of a connection; errors are those of sqlite3."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Iterator[Any]:
        """The rows that a statement gives."""

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run a statement for each row of values."""

    def close(self) -> None:
        """Let go of the database."""


Connect = Callable[[Path, str], Base]


def connect(path: Path, mode: str) -> Base:
    """The database at `path`; `mode` is ro, rw, or rwc, which makes the file where there is none."""
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    # Several threads may share a record, one at a time (karez.record.shared).
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=WAIT_S, check_same_thread=False)


class Sqlite:
    """A file of events, open for reading, or for writing by the one writer it has."""

    def __init__(self, path: Path, mode: str, connect: Connect = connect) -> None:
        """Open the file: `mode` is ro to read, rw to go on with it, rwc to make it.

        Raises:
            InputError: it exists and is to be made, or it does not and is to be read, or it is no record.
        """
        self.where = str(path)
        if mode == "rwc" and path.exists():
            raise InputError.of(self.where, "exists already", "name a new file; a record is never written over")
        try:
            self._base = connect(path, mode)
        except sqlite3.Error as error:
            raise self._unopened(path, mode, error) from error
        try:
            self._prepare(mode)
        except sqlite3.Error as error:
            self._base.close()
            raise self._unopened(path, mode, error) from error

    def _prepare(self, mode: str) -> None:
        if mode != "ro":
            for pragma in ("journal_mode=WAL", "synchronous=FULL"):
                list(self._base.execute(f"PRAGMA {pragma}"))
            # A loop that died before its first event left a file with nothing in it.
            if not list(self._base.execute("SELECT 1 FROM sqlite_schema")):
                self._commit(lambda: [list(self._base.execute(statement)) for statement in SCHEMA])
        list(self._base.execute("SELECT seq, at_s, kind, body, hash FROM events WHERE seq < 0"))

    def add(self, events: Sequence[Event]) -> None:
        """Put events on the disk: all of them, or none.

        Raises:
            InputError: the disk took no more, or someone else writes; nothing of the events was kept.
        """
        sql = "INSERT INTO events VALUES (?, ?, ?, ?, ?)"
        try:
            self._commit(lambda: self._base.executemany(sql, events))
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def page(self, since: int, most: int) -> Sequence[Event]:
        """At most so many events from a seq on, in their order."""
        sql = "SELECT seq, at_s, kind, body, hash FROM events WHERE seq >= ? ORDER BY seq LIMIT ?"
        return self._events(sql, since, most)

    def last(self, kind: str = "") -> Event | None:
        """The newest event, or the newest of a kind; None where there is none."""
        where = f"WHERE kind = '{kind}'" if kind else ""
        found = self._events(f"SELECT seq, at_s, kind, body, hash FROM events {where} ORDER BY seq DESC LIMIT 1")
        return found[0] if found else None

    def drop(self, before: int) -> None:
        """Let go of the events before a seq; their room is used again."""
        try:
            self._commit(lambda: list(self._base.execute("DELETE FROM events WHERE seq < ?", (before,))))
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Close it, so that it is one file that can be read from anywhere.

        On a full disk, or while someone reads, it stays in two: what was added is in them all the same.
        """
        try:
            with suppress(sqlite3.Error):
                # EXTRA: with FULL, a journal that was deleted may be back after a power loss, and bar readers.
                list(self._base.execute("PRAGMA synchronous=EXTRA"))
                list(self._base.execute("PRAGMA journal_mode=DELETE"))
        finally:
            self._base.close()

    def _commit(self, work: Callable[[], object]) -> None:
        try:
            list(self._base.execute("BEGIN IMMEDIATE"))
            work()
            list(self._base.execute("COMMIT"))
        except BaseException:
            with suppress(sqlite3.Error):
                list(self._base.execute("ROLLBACK"))
            raise

    def _events(self, sql: str, *values: int) -> list[Event]:
        try:
            return [Event._make(row) for row in self._base.execute(sql, values)]
        except sqlite3.Error as error:
            raise self._unread(error) from error

    def _unopened(self, path: Path, mode: str, error: sqlite3.Error) -> InputError:
        if mode != "rwc" and not path.is_file():
            return InputError.of(self.where, "there is no such record", "name the file that a run wrote")
        if mode == "rwc":
            return InputError.of(self.where, f"cannot be written ({error})", "choose a folder with room")
        return self._unread(error)

    def _unread(self, error: sqlite3.Error) -> InputError:
        if "readonly" in str(error):
            fix = "open it once to go on with it, which mends it: the power went while it was being closed"
            return InputError.of(self.where, f"cannot be read now ({error})", fix)
        if isinstance(error, sqlite3.OperationalError) and "no such" not in str(error):
            fix = "end what holds it, or copy it with its -wal file to where you may write"
            return InputError.of(self.where, f"cannot be read now ({error})", fix)
        if "malformed" in str(error):
            fix = "run karez/record/verify.py on it, which says how far it is whole, and keep it: what is before counts"
            return InputError.of(self.where, f"is damaged or cut off ({error})", fix)
        return InputError.of(self.where, f"is no record ({error})", "name the file that a run wrote")

    def _refused(self, error: sqlite3.Error) -> InputError:
        what = f"cannot take another event ({error})"
        if isinstance(error, sqlite3.IntegrityError):
            fix = "another writer has gone on with this record: stop here, and open it again if you are to lead"
            return InputError.of(self.where, what, fix)
        if "locked" in str(error):
            return InputError.of(self.where, what, "end the other process that writes to it; nothing was done")
        fix = "make room" if "full" in str(error) else "see that its disk is sound, has room and may be written"
        return InputError.of(self.where, what, f"{fix}; nothing was done")
