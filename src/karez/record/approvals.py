"""The box of approvals between people and the loop: what waits, who approved it, and who took it to act on.

Many may write at once: each change says in one statement what it changes and what must still be so, and only one of
those that race finds it so. A file is SQLite with a rollback journal, not WAL: releases up to 3.51.2 can damage a
database in WAL mode when two connections write and checkpoint at the same moment, and here nobody is the only writer.
A box at a URL is PostgreSQL, with the same statements.

What is in the box is not believed: approvals are judged when they are handed in and again when they are taken.
Source: https://sqlite.org/wal.html, section on the WAL-reset bug; https://sqlite.org/pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import urlsplit

import msgspec

from karez.errors import InputError
from karez.plan import Plan
from karez.record.principals import Approval, Judge, content_of

COUNTED = "counted"
URLS = ("postgresql://", "postgres://")
# How long a change waits for those before it.
WAIT_S = 30.0
NAME_IT = "name the one that the loop was started with"
# Types that both databases know; SQLite takes any word for one.
TABLES = (
    """CREATE TABLE IF NOT EXISTS karez_proposals (
        plan TEXT PRIMARY KEY, body BYTEA NOT NULL, content TEXT NOT NULL, needs BIGINT NOT NULL,
        brought_by TEXT NOT NULL, since_s DOUBLE PRECISION NOT NULL, round BIGINT NOT NULL, heard BIGINT NOT NULL,
        state TEXT NOT NULL, why TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS karez_approvals (
        principal TEXT NOT NULL, nonce TEXT NOT NULL, plan TEXT NOT NULL, round BIGINT NOT NULL, body BYTEA NOT NULL,
        PRIMARY KEY (principal, nonce))""",
    "CREATE INDEX IF NOT EXISTS karez_given ON karez_approvals (plan, round)",
    "CREATE INDEX IF NOT EXISTS karez_waiting ON karez_proposals (state, since_s)",
    "CREATE TABLE IF NOT EXISTS karez_leader (one BIGINT PRIMARY KEY, epoch BIGINT NOT NULL)",
    "INSERT INTO karez_leader VALUES (1, 0) ON CONFLICT DO NOTHING",
)
FIND = "SELECT plan, body, content, needs, brought_by, since_s, round, heard, state, why FROM karez_proposals"
PROPOSE = """INSERT INTO karez_proposals VALUES (?, ?, ?, ?, ?, ?, 1, 0, 'waiting', '')
    ON CONFLICT (plan) DO UPDATE SET needs = excluded.needs, brought_by = excluded.brought_by,
        since_s = excluded.since_s, round = karez_proposals.round + 1, heard = 0, state = 'waiting', why = ''
    WHERE karez_proposals.state <> 'waiting' AND karez_proposals.content = excluded.content"""
GIVEN = "SELECT body FROM karez_approvals WHERE plan = ? AND round = ? ORDER BY principal, nonce"
HEAR = "UPDATE karez_proposals SET heard = heard + 1 WHERE plan = ? AND round = ? AND state = 'waiting'"
KEEP = "INSERT INTO karez_approvals VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
LEAD = "UPDATE karez_leader SET epoch = ? WHERE epoch <= ?"
TAKE = """UPDATE karez_proposals SET state = 'taken', why = ?
    WHERE plan = ? AND round = ? AND heard = ? AND state = 'waiting'"""
WITHDRAW = "UPDATE karez_proposals SET state = 'withdrawn', why = ? WHERE plan = ? AND state = 'waiting'"


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that waits for `needs` persons, and the approvals that count by now, each of another principal."""

    plan: Plan
    needs: int
    brought_by: str
    since_s: float
    approvals: tuple[Approval, ...]


class _Proposal(NamedTuple):
    """A row of the table of proposals."""

    id: str
    body: bytes
    content: str
    needs: int
    brought_by: str
    since_s: float
    round: int
    heard: int
    state: str
    why: str


class _Connection(Protocol):
    """What both databases offer."""

    def execute(self, statement: str, values: Sequence[Any] = ..., /) -> Any: ...

    def close(self) -> None: ...


class Box:
    """A box of approvals, open in one thread or process; use it as a context manager."""

    def __init__(self, where: str, judge: Judge, *, make: bool = False) -> None:
        """Open the box in a file or at a URL of PostgreSQL; `make` makes it where there is none yet.

        Raises:
            InputError: there is no box, it cannot be reached or made, or it is something else.
        """
        self._judge, self.where = judge, where
        self._base: _Connection
        if where.startswith(URLS):
            self.where, self._errors, self._base = _postgres(where)
            self._mark, self._begin = "%s", "BEGIN"
        else:
            self._errors, self._base = sqlite3.Error, _sqlite(where, make=make)
            self._mark, self._begin = "?", "BEGIN IMMEDIATE"
        try:
            for statement in TABLES if make else ():
                self._change(statement)
            self._rows(f"{FIND} WHERE 1 = 0")
        except InputError:
            self._base.close()
            raise

    def __enter__(self) -> Self:
        """The box itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the box."""
        self.close()

    def close(self) -> None:
        """Let go of the file or server."""
        self._base.close()

    def propose(self, plan: Plan, needs: int, *, at_s: float, brought_by: str = "") -> bool:
        """Whether the plan waits for `needs` persons from now on; not where it waits already.

        A plan that was taken or withdrawn before waits for new approvals: those given then do not count any more. Where
        two or more are asked, `brought_by` is not among them.

        Raises:
            InputError: the plan cannot be kept, or another one of the same id is in the box.
        """
        if needs < 1:
            raise ValueError(f"a plan that needs {needs} approvals waits for nobody")
        body, content = msgspec.msgpack.encode(plan), content_of(plan)
        if msgspec.msgpack.decode(body, type=Plan).id != plan.id:
            raise InputError.of(f"plan {plan.id}", "does not come back as it went in", "make it anew from numbers")
        if self._change(PROPOSE, plan.id, body, content, needs, brought_by, at_s):
            return True
        found = self._found(plan.id)
        if found is not None and found.content != content:
            raise InputError.of(f"plan {plan.id}", "has the id of another plan in the box", "make the plan anew")
        return False

    def waiting(self, *, at_s: float) -> tuple[Waiting, ...]:
        """All that waits, the oldest first, with the approvals that count at `at_s`."""
        rows = self._rows(f"{FIND} WHERE state = 'waiting' ORDER BY since_s, plan")
        return tuple(self._shown(_Proposal(*row), at_s) for row in rows)

    def approve(self, approval: Approval, *, at_s: float) -> str:
        """`counted`, or why the approval does not count."""
        while True:
            found = self._found(approval.plan)
            if found is None:
                return "no such plan was ever proposed here"
            if found.state != "waiting":
                return f"it does not wait any more: {found.why}"
            plan = self._plan(found)
            why = self._why_not(found, plan, approval, at_s)
            if why:
                return why
            if any(given.principal == approval.principal for given in self._counting(found, plan, at_s)):
                return f"{approval.principal} has approved it already"
            heard, kept = self._handed_in(found, approval)
            if heard:
                return COUNTED if kept else "it was handed in before: an approval acts once"

    def take(self, plan: str, epoch: int, *, at_s: float) -> tuple[Approval, ...] | None:
        """The approvals of a plan that has enough of them at `at_s`, to act on now; nobody ever gets them again.

        None where there are not enough of them, somebody else was faster, or a leader of a higher epoch has been here.
        """
        while (found := self._found(plan)) is not None and found.state == "waiting":
            approvals = self._counting(found, self._plan(found), at_s)
            if len(approvals) < found.needs:
                return None
            leads, taken = self._marked(found, epoch)
            if taken or not leads:
                return approvals if taken else None
        return None

    def withdraw(self, plan: str, why: str) -> bool:
        """Whether the plan waited and waits no longer; `why` is told to whoever approves it later."""
        return bool(self._change(WITHDRAW, why.replace("\0", " "), plan))

    def _handed_in(self, found: _Proposal, approval: Approval) -> tuple[bool, bool]:
        """Whether the plan still waits in this round, and whether the approval was kept, which was not here before."""
        body = msgspec.msgpack.encode(approval)
        with self._one() as told:
            heard = bool(self._change(HEAR, found.id, found.round))
            told.kept = heard and bool(
                self._change(KEEP, approval.principal, approval.nonce, found.id, found.round, body)
            )
        return heard, told.kept

    def _marked(self, found: _Proposal, epoch: int) -> tuple[bool, bool]:
        """Whether no higher epoch has been here, and whether the plan was taken, with no approval since it was read."""
        why = f"the leader of epoch {epoch} took it"
        with self._one() as told:
            leads = bool(self._change(LEAD, epoch, epoch))
            told.kept = leads and bool(self._change(TAKE, why, found.id, found.round, found.heard))
        return leads, told.kept

    def _shown(self, found: _Proposal, at_s: float) -> Waiting:
        plan = self._plan(found)
        return Waiting(
            plan=plan,
            needs=found.needs,
            brought_by=found.brought_by,
            since_s=found.since_s,
            approvals=self._counting(found, plan, at_s),
        )

    def _found(self, plan: str) -> _Proposal | None:
        rows = self._rows(f"{FIND} WHERE plan = ?", plan.replace("\0", " "))
        return _Proposal(*rows[0]) if rows else None

    def _plan(self, found: _Proposal) -> Plan:
        """The plan that was proposed.

        Raises:
            InputError: what is in the box is not what was put there.
        """
        try:
            plan = msgspec.msgpack.decode(found.body, type=Plan)
        except msgspec.MsgspecError as error:
            raise self._altered(found.id) from error
        if plan.id != found.id or content_of(plan) != found.content:
            raise self._altered(found.id)
        return plan

    def _altered(self, plan: str) -> InputError:
        return InputError.of(self.where, f"the plan {plan} in it was altered", "take the box away and make a new one")

    def _counting(self, found: _Proposal, plan: Plan, at_s: float) -> tuple[Approval, ...]:
        """The approvals of this round that count at `at_s`, one of each principal."""
        counting: dict[str, Approval] = {}
        for (body,) in self._rows(GIVEN, found.id, found.round):
            try:
                approval = msgspec.msgpack.decode(body, type=Approval)
            except msgspec.MsgspecError as error:
                raise self._altered(found.id) from error
            if approval.principal not in counting and not self._why_not(found, plan, approval, at_s):
                counting[approval.principal] = approval
        return tuple(counting.values())

    def _why_not(self, found: _Proposal, plan: Plan, approval: Approval, at_s: float) -> str:
        if found.needs > 1 and approval.principal == found.brought_by:
            return f"{approval.principal} brought it, and {found.needs} others are asked"
        return self._judge(approval, plan, at_s)

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._told():
            rows: list[tuple[Any, ...]] = self._base.execute(statement.replace("?", self._mark), values).fetchall()
        return rows

    def _change(self, statement: str, *values: object) -> int:
        """How many rows a statement has changed."""
        with self._told():
            changed: int = self._base.execute(statement.replace("?", self._mark), values).rowcount
        return changed

    @contextmanager
    def _one(self) -> Iterator[_Told]:
        """Changes that are kept all together, or none of them: that which `kept` says."""
        told = _Told()
        self._change(self._begin)
        try:
            yield told
            if told.kept:
                self._change("COMMIT")
        except BaseException:
            told.kept = False
            raise
        finally:
            if not told.kept:
                self._change("ROLLBACK")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise _unusable(self.where, error) from error


class _Told:
    """Whether what was changed is to be kept."""

    kept = False


def _sqlite(where: str, *, make: bool) -> sqlite3.Connection:
    path = Path(where)
    if not make and not path.is_file():
        raise InputError.of(where, "there is no such box of approvals", NAME_IT)
    try:
        uri = f"{path.resolve().as_uri()}?mode={'rwc' if make else 'rw'}"
        base = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=WAIT_S)
        tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if (tables or not make) and "karez_proposals" not in tables:
            base.close()
            raise InputError.of(where, "is no box of approvals", NAME_IT)
        base.execute("PRAGMA journal_mode=TRUNCATE")
        base.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error as error:
        raise _unusable(where, error) from error
    return base


def _postgres(url: str) -> tuple[str, type[Exception], _Connection]:
    """What to call a box at a URL (no password in it), the errors of its library, and the connection."""
    try:
        library = import_module("psycopg")
    except ModuleNotFoundError as error:
        what = "needs the library psycopg, which is not installed"
        raise InputError.of("box", what, "install karez[postgres], or name a file") from error
    try:
        parts = urlsplit(url)
        where, secret = f"postgresql://{parts.hostname or ''}{parts.path}", parts.password
    except ValueError as error:
        raise InputError.of("box", f"is no URL of PostgreSQL ({error})", "write postgresql://HOST/DATABASE") from error
    try:
        base = library.connect(url, autocommit=True, connect_timeout=int(WAIT_S))
        # A server may be set to acknowledge what is not on its disk yet.
        base.execute("SET synchronous_commit = on")
        return where, library.Error, base
    except library.Error as error:
        raise _unusable(where, error, secret or "") from error


def _unusable(where: str, error: Exception, secret: str = "") -> InputError:
    what = str(error).strip().partition("\n")[0]
    shown = what.replace(secret, "***") if secret else what
    return InputError.of(where, f"cannot be used as a box of approvals ({shown})", "see to it; nothing was done")


__all__ = ["COUNTED", "Box", "Waiting"]
