"""Events in a PostgreSQL database: the same table, one record a database (or schema), each commit on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from karez.errors import InputError
from karez.record.store import Event

try:
    import psycopg
    from psycopg.rows import class_row
except ImportError as error:
    fix = "pip install 'karez[postgres]', or record into a file"
    raise InputError.of("postgresql", f"needs a library that is not installed ({error})", fix) from error

SCHEMA = (
    "CREATE TABLE events (seq BIGINT PRIMARY KEY, at_s DOUBLE PRECISION NOT NULL, kind TEXT NOT NULL,"
    " body BYTEA NOT NULL, hash BYTEA NOT NULL)",
    "CREATE INDEX snapshots ON events (seq) WHERE kind = 'snapshot'",
    "CREATE INDEX segments ON events (seq) WHERE kind = 'segment'",
)
COLUMNS = "seq, at_s, kind, body, hash"
REACH_S = 10


class Postgres:
    """A table of events, open for reading, or for writing by the one writer it has."""

    def __init__(self, url: str, mode: str) -> None:
        """Connect: `mode` is ro to read, rw to go on with the record, rwc to make it.

        Raises:
            InputError: the server is not reached, there is a record and it is to be made, or there is none.
        """
        self.where = _without_password(url)
        try:
            self._base = psycopg.connect(url, autocommit=True, connect_timeout=REACH_S)
        except psycopg.Error as error:
            raise self._error("cannot be reached", error, "start the server, or name another") from error
        try:
            self._prepare(mode)
        except psycopg.Error as error:
            self._base.close()
            raise self._unprepared(error) from error
        except InputError:
            self._base.close()
            raise

    def _prepare(self, mode: str) -> None:
        # A server may be set to acknowledge what is not on its disk yet.
        self._base.execute("SET synchronous_commit = on")
        if mode != "ro" and self._base.execute("SHOW fsync").fetchone() != ("on",):
            what = "does not bring to its disk what it acknowledges (fsync is off)"
            raise InputError.of(self.where, what, "set fsync = on in its configuration")
        if mode == "ro":
            self._base.execute("SET default_transaction_read_only = on")
        if mode == "rwc":
            with self._base.transaction():
                for statement in SCHEMA:
                    self._base.execute(statement)
        self._base.execute(f"SELECT {COLUMNS} FROM events WHERE seq < 0")

    def add(self, events: Sequence[Event]) -> None:
        """Put events on the server's disk: all of them, or none.

        Raises:
            InputError: someone else writes, or the server took no more; where it went away, the last may be kept.
        """
        try:
            with self._base.transaction(), self._base.cursor() as cursor:
                cursor.executemany(f"INSERT INTO events ({COLUMNS}) VALUES (%s, %s, %s, %s, %s)", events)
        except psycopg.Error as error:
            raise self._refused(error) from error

    def page(self, since: int, most: int) -> Sequence[Event]:
        """At most so many events from a seq on, in their order."""
        return self._events(f"SELECT {COLUMNS} FROM events WHERE seq >= %s ORDER BY seq LIMIT %s", since, most)

    def last(self, kind: str = "") -> Event | None:
        """The newest event, or the newest of a kind; None where there is none."""
        where = "WHERE kind = %s" if kind else ""
        found = self._events(
            f"SELECT {COLUMNS} FROM events {where} ORDER BY seq DESC LIMIT 1", *([kind] if kind else [])
        )
        return found[0] if found else None

    def drop(self, before: int) -> None:
        """Let go of the events before a seq."""
        try:
            self._base.execute("DELETE FROM events WHERE seq < %s", (before,))
        except psycopg.Error as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Disconnect."""
        self._base.close()

    def _events(self, sql: str, *values: int | str) -> list[Event]:
        try:
            with self._base.cursor(row_factory=class_row(Event)) as cursor:
                return cursor.execute(sql, values).fetchall()
        except psycopg.Error as error:
            raise self._error(
                "cannot be read now", error, "see that the server runs, and open the record again"
            ) from error

    def _unprepared(self, error: psycopg.Error) -> InputError:
        if isinstance(error, psycopg.errors.DuplicateTable):
            return self._error("exists already", error, "name a new database; a record is never written over")
        if isinstance(error, psycopg.errors.UndefinedTable):
            return self._error("there is no such record", error, "name the database that a run wrote to")
        return self._error("is no record", error, "name a database that Karez may make its table in")

    def _refused(self, error: psycopg.Error) -> InputError:
        what = "cannot take another event"
        if isinstance(error, psycopg.errors.UniqueViolation):
            fix = "another writer has gone on with this record: stop here, and open it again if you are to lead"
        elif self._base.closed:
            fix = "open the record again, which shows whether the last one was kept; nothing was done"
        else:
            fix = "make room; nothing was done"
        return self._error(what, error, fix)

    def _error(self, what: str, error: psycopg.Error, fix: str) -> InputError:
        return InputError.of(self.where, f"{what} ({' '.join(str(error).split())})", fix)


def _without_password(url: str) -> str:
    """The address as messages may show it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
