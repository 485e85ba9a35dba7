"""A lease with a fencing epoch: who leads now, decided by compare-and-set and judged by nobody's wall clock.

A contender takes over once it has seen the same beat for as long as the lease runs, by its own monotonic clock; the
holder counts from before each beat it writes, so it knows of its loss no later than anybody can take over. No clock is
compared with another, and none is stored. A holder that hangs may still wake up and act: no lease can prevent that, so
its epoch is told to the guard, which refuses every epoch but the newest.

Source: the lock client of Amazon DynamoDB and the leader election of Kubernetes judge time in the same way.
"""

from __future__ import annotations

import importlib
import math
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from karez.errors import InputError

TABLE = """CREATE TABLE IF NOT EXISTS leases (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, epoch BIGINT NOT NULL, beats BIGINT NOT NULL, for_s FLOAT NOT NULL
)"""
FIRST = "INSERT INTO leases VALUES (?, '', 0, 0, 0) ON CONFLICT (name) DO NOTHING"
LOOK = "SELECT holder, epoch, beats, for_s FROM leases WHERE name = ?"
TAKE = """UPDATE leases SET holder = ?, for_s = ?, epoch = epoch + 1, beats = beats + 1
    WHERE name = ? AND epoch = ? AND beats = ?"""
BEAT = "UPDATE leases SET beats = beats + 1 WHERE name = ? AND holder = ? AND epoch = ?"
GIVE = "UPDATE leases SET beats = beats + 1, holder = '' WHERE name = ? AND holder = ? AND epoch = ?"
# How long one question to the store may take (s).
WITHIN_S = 0.5
# By what share of a lease two clocks may drift apart. Source: Linux slews a clock by at most 500 ppm (adjtimex(2)).
DRIFT_SHARE = 0.002


def now_s() -> float:
    """Seconds since this machine started, its sleep included: a clock that never jumps, for `at_s` of a lease."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Term(NamedTuple):
    """What the store says of a lease: who holds it (empty: nobody), in which epoch, and the beats so far."""

    holder: str
    epoch: int
    beats: int
    for_s: float


class Lease:
    """The lease `name`, as `holder` sees it; `at_s` is always of one monotonic clock (`now_s`).

    `why` says why the store could not be asked when it was last asked; empty when it could.
    """

    def __init__(self, path_or_url: Path | str, name: str, holder: str, *, for_s: float) -> None:
        """Open the store, a SQLite file or a PostgreSQL URL, and make the lease where there is none.

        Raises:
            InputError: the store cannot be opened, or `for_s` or `holder` say nothing.
        """
        if not (math.isfinite(for_s) and for_s > 0 and holder):
            raise InputError.of(name, f"is no lease for {for_s} s of {holder!r}", "give a holder and some seconds")
        self.name, self.holder, self.for_s, self.why = name, holder, for_s, ""
        self._epoch, self._until_s, self._latest_s = 0, -math.inf, -math.inf
        self._watched: tuple[Term, float] | None = None
        try:
            self._store = _opened(str(path_or_url))
            # Where two make the table at once, one of them is told that it is there.
            with suppress(OSError):
                self._store.ask(TABLE, durable=True)
            self._store.ask(FIRST, name, durable=True)
        except OSError as error:
            raise InputError.of(str(path_or_url), f"holds no leases ({error})", "name a store that can be") from error

    def take(self, at_s: float) -> int | None:
        """The epoch in which this holder leads from now on; None while another does, or the store is silent."""
        if self.left_s(at_s) > 0:
            return self._epoch
        term = self._looked()
        if term is None or not self._free(term, at_s):
            return None
        if not self._asked(TAKE, self.holder, self.for_s, self.name, term.epoch, term.beats, durable=True):
            return None
        self._epoch, self._until_s, self._watched = term.epoch + 1, at_s + self.for_s, None
        return self._epoch

    def renew(self, at_s: float) -> bool:
        """Whether the lease is held at `at_s`; where the store is silent it runs on to its end, and no further."""
        if self.left_s(at_s) <= 0:
            return False
        beaten = self._asked(BEAT, self.name, self.holder, self._epoch, durable=False)
        if beaten:
            self._until_s = at_s + self.for_s
        elif beaten is not None:
            self._until_s = -math.inf
        return self.left_s(at_s) > 0

    def left_s(self, at_s: float) -> float:
        """How long the lease still runs (s); nothing where it is not held, or where the clock went back."""
        if at_s < self._latest_s:
            self._until_s, self._watched = -math.inf, None
        self._latest_s = at_s
        return max(0.0, self._until_s - at_s)

    def give_back(self) -> None:
        """Let another take the lease at once."""
        if self._until_s > -math.inf:
            self._until_s = -math.inf
            self._asked(GIVE, self.name, self.holder, self._epoch, durable=False)

    def close(self) -> None:
        """Let go of the store, and of the lease no sooner than it runs out."""
        self._store.close()

    def _free(self, term: Term, at_s: float) -> bool:
        """Whether nobody can believe to hold the lease: given back, our own, or still for as long as it runs."""
        if not term.holder or (term.holder, term.epoch) == (self.holder, self._epoch):
            return True
        if self._watched is None or self._watched[0] != term:
            self._watched = (term, at_s)
        return at_s - self._watched[1] > max(term.for_s, self.for_s) * (1 + DRIFT_SHARE)

    def _looked(self) -> Term | None:
        try:
            _, row = self._store.ask(LOOK, self.name)
        except OSError as error:
            self.why = str(error)
            return None
        self.why = "" if row else f"there is no lease {self.name}"
        return Term(*row) if row else None

    def _asked(self, statement: str, *values: object, durable: bool) -> int | None:
        """How many rows were changed; None where the store did not say."""
        try:
            count, _ = self._store.ask(statement, *values, durable=durable)
        except OSError as error:
            self.why = str(error)
            return None
        self.why = ""
        return count


class _Store(Protocol):
    def ask(self, statement: str, *values: object, durable: bool = False) -> tuple[int, tuple[Any, ...] | None]:
        """The rows changed and the row found; each statement is a transaction of its own."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def _opened(where: str) -> _Store:
    return _Postgres(where) if where.startswith(("postgresql://", "postgres://")) else _Sqlite(Path(where))


class _Sqlite:
    """Leases in a file of their own, opened anew each time: what is hung holds nothing open.

    A beat is not waited for until it is on the disk: it says that a process lives, and no process outlives its machine.
    So the file is locked for 30 us in place of 20 ms, the time in which a holder that is stopped would lock out others.
    """

    def __init__(self, path: Path) -> None:
        try:
            with closing(sqlite3.connect(path)):
                self._uri = f"{path.absolute().as_uri()}?mode=rw"
        except sqlite3.Error as error:
            raise OSError(str(error)) from error

    def ask(self, statement: str, *values: object, durable: bool = False) -> tuple[int, tuple[Any, ...] | None]:
        try:
            with closing(sqlite3.connect(self._uri, uri=True, timeout=WITHIN_S, isolation_level=None)) as base:
                base.execute(f"PRAGMA synchronous={'EXTRA' if durable else 'OFF'}")
                cursor = base.execute(statement, values)
                return cursor.rowcount, cursor.fetchone()
        except sqlite3.Error as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        """Nothing is open."""


class _Postgres:
    """Leases in PostgreSQL, by one connection that is made anew when it breaks.

    Each statement commits by itself, on the server: a client that hangs never holds a lock.
    """

    def __init__(self, url: str) -> None:
        try:
            self._psycopg = importlib.import_module("psycopg")
        except ImportError as error:
            raise OSError("psycopg 3 is not installed") from error
        self._url = url
        self._base: Any = None

    def ask(self, statement: str, *values: object, durable: bool = False) -> tuple[int, tuple[Any, ...] | None]:
        try:
            if self._base is None:
                self._base = self._connected()
            cursor = self._base.execute(statement.replace("?", "%s"), values)
            return cursor.rowcount, cursor.fetchone() if cursor.description else None
        except self._psycopg.Error as error:
            self.close()
            raise OSError(str(error)) from error

    def close(self) -> None:
        """End the connection, if there is one."""
        base, self._base = self._base, None
        if base is not None:
            base.close()

    def _connected(self) -> Any:
        return self._psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=max(1, round(WITHIN_S)),
            tcp_user_timeout=round(WITHIN_S * 1e3),
            options=f"-c statement_timeout={round(WITHIN_S * 1e3)}",
        )
