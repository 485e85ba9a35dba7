"""The ledger of what counts by the year: persons whose data goes abroad, and privacy budget that is spent.

What is to be counted is reserved before anything moves, then settled, or released. A reservation that is never settled
runs out, so a process that died holds nothing for ever; who asks again in the same words is heard as the same. What is
reserved and settled never exceeds the line that a reservation was made under.

`step` is a fold over requests. `Ledger` keeps those that were granted in a record that many processes append to, one
at a time: whoever holds the lock on the file beside it reads what the others have done, decides, and appends. The lock
goes with its process. What was recorded is never decided again. One writer at a time is also what SQLite needs: in
versions before 3.51.3 two writers can spoil a WAL file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec
import numpy as np

from karez.errors import InputError
from karez.record.locked import locked
from karez.record.log import Record
from karez.record.store import Store, events
from karez.twin import Table
from karez.twin.fold import Events, Fold
from karez.twin.store import LAST_S
from karez.twin.table import Array, strings, texts

What = Literal["reserve", "settle", "release"]
WHATS: tuple[What, ...] = get_args(What)
TABLE = "person_budgets"
EVENT = "ledger"
COLUMNS = ("entity", "year", "kind", "reserved", "settled", "expires_at_s")
NUMBERS = {float: np.float64, int: np.int64}


class Account(NamedTuple):
    """What is counted together: of which legal entity, in which calendar year, and of which kind."""

    entity: str
    year: int
    kind: str


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the ledger under the name of a hold, at `at_s` (Unix time).

    Account, amount, `line` (what the account may come to in all) and expiry are of a reservation; else they are not
    looked at.
    """

    what: What
    hold: str
    at_s: float
    entity: str = ""
    year: int = 1970
    kind: str = ""
    amount: float = 0.0
    line: float = 0.0
    expires_at_s: float = LAST_S

    @property
    def account(self) -> Account:
        """The account that it is about."""
        return Account(self.entity, self.year, self.kind)

    @property
    def is_sound(self) -> bool:
        """Whether its numbers can be counted with."""
        amounts = (self.amount, self.line, self.at_s, self.expires_at_s)
        return all(math.isfinite(number) and number >= 0.0 for number in amounts) and self.expires_at_s <= LAST_S


class _Hold(msgspec.Struct):
    """A row of the state."""

    account: Account
    reserved: float
    settled: float
    expires_at_s: float

    def counts(self, at_s: float) -> float:
        return self.settled + (self.reserved if at_s < self.expires_at_s else 0.0)


class _Books:
    """All holds, by name and by account."""

    def __init__(self, holds: dict[str, _Hold] | None = None) -> None:
        self.holds = holds or {}
        self._of = dict[Account, dict[str, None]]()
        for name, hold in self.holds.items():
            self._of.setdefault(hold.account, {})[name] = None

    def grants(self, request: Request) -> bool:
        """Whether a request is granted."""
        hold = self.holds.get(request.hold)
        if not request.is_sound:
            return False
        if request.what != "reserve":
            # What is done already was asked for by someone who did not hear of it.
            done = hold is not None and not hold.reserved and (request.what == "settle") == bool(hold.settled)
            return done or (hold is not None and bool(hold.reserved) and request.at_s < hold.expires_at_s)
        if request.at_s >= request.expires_at_s:
            return False
        if hold is not None and hold.counts(request.at_s):
            return (hold.account, hold.reserved) == (request.account, request.amount)
        others = (self.holds[name] for name in self._of.get(request.account, ()))
        return math.fsum([*(other.counts(request.at_s) for other in others), request.amount]) <= request.line

    def apply(self, request: Request) -> None:
        """Do what was granted."""
        if request.what == "reserve":
            if (old := self.holds.get(request.hold)) is not None:
                self._of[old.account].pop(request.hold)
            self.holds[request.hold] = _Hold(request.account, request.amount, 0.0, request.expires_at_s)
            self._of.setdefault(request.account, {})[request.hold] = None
            return
        hold = self.holds[request.hold]
        if hold.reserved:
            hold.settled, hold.reserved = hold.reserved if request.what == "settle" else 0.0, 0.0


def step(state: Table, requests: Events, at_s: float) -> tuple[Table, Events]:
    """The state after requests (columns named as the fields of `Request`), and which of them are granted.

    Raises:
        ValueError: a request from after `at_s`.
    """
    if len(requests["at_s"]) and requests["at_s"].max() > at_s:
        raise ValueError("a request is from the future")
    books, granted, touched = _Books(_holds(state)), np.zeros(len(requests["at_s"]), bool), dict[str, None]()
    for at, request in enumerate(_rows(requests)):
        granted[at] = books.grants(request)
        if granted[at]:
            books.apply(request)
            touched[request.hold] = None
    return _with(state, {name: books.holds[name] for name in touched}), {"granted": granted}


FOLD = Fold(TABLE, step)


def _holds(state: Table) -> dict[str, _Hold]:
    columns = zip(
        strings(state.ids),
        strings(state["entity"]),
        state["year"].tolist(),
        strings(state["kind"]),
        *(state[name].tolist() for name in COLUMNS[3:]),
        strict=True,
    )
    return {name: _Hold(Account(entity, year, kind), *rest) for name, entity, year, kind, *rest in columns}


def _rows(requests: Events) -> Iterator[Request]:
    fields = msgspec.structs.fields(Request)
    columns = [requests[field.name] for field in fields]
    for values in zip(*(strings(c) if c.dtype.kind == "S" else c.tolist() for c in columns), strict=True):
        yield msgspec.convert({field.name: value for field, value in zip(fields, values, strict=True)}, Request)


def _with(state: Table, holds: dict[str, _Hold]) -> Table:
    """The state with these rows, new or in place of their old ones."""

    def columns(names: Sequence[str]) -> dict[str, list[str | int | float]]:
        of = [holds[name] for name in names]
        values = [(*one.account, one.reserved, one.settled, one.expires_at_s) for one in of]
        return {column: [row[at] for row in values] for at, column in enumerate(COLUMNS)}

    old, new = ([name for name in holds if state.has(name) is there] for there in (True, False))
    if old:
        state = state.set(state.rows(old), **columns(old))
    return state.add({"id": new, **columns(new)}) if new else state


def as_events(requests: Sequence[Request]) -> Events:
    """Requests as the columns that `step` takes."""
    found = dict[str, Array]()
    for field in msgspec.structs.fields(Request):
        values = [getattr(one, field.name) for one in requests]
        found[field.name] = np.array(values, NUMBERS[field.type]) if field.type in NUMBERS else texts(values)
    return found


class Ledger:
    """A ledger in a file that many processes share."""

    def __init__(self, path: Path | str) -> None:
        """The ledger at a path; it is made with its first request."""
        self._path = Path(path)
        self._books, self._next, self._latest_s = _Books(), 0, 0.0

    def ask(self, request: Request) -> bool:
        """Whether a request is granted; if it is, it is on the disk.

        Raises:
            InputError: its numbers cannot be counted with, the file is no ledger or cannot be written, or another
                process holds it for too long; nothing was granted.
        """
        if not request.is_sound:
            raise InputError.of(str(self._path), "was asked to count with what is no amount", "give numbers from 0 on")
        with locked(self._path), Record(self._path, resume=self._path.exists()) as record:
            self._catch_up(record.store)
            # A clock that is behind what was recorded would let what has run out count again.
            request = msgspec.structs.replace(request, at_s=max(request.at_s, self._latest_s))
            granted = self._books.grants(request)
            if granted:
                record.append(EVENT, request.at_s, msgspec.json.encode(request))
                self._catch_up(record.store)
            return granted

    def state(self) -> Table:
        """All holds.

        Raises:
            InputError: the file is no ledger, or another process holds it for too long.
        """
        if self._path.exists():
            with locked(self._path), Record(self._path, resume=True) as record:
                self._catch_up(record.store)
        return _with(Table.of(TABLE), self._books.holds)

    def _catch_up(self, store: Store) -> None:
        """Do what was recorded since."""
        for event in events(store, self._next):
            if event.kind != EVENT:
                raise InputError.of(store.where, f"holds a {event.kind!r}, no ledger's", "name the file of a ledger")
            try:
                request = msgspec.json.decode(event.body, type=Request)
            except msgspec.DecodeError as error:
                raise InputError.of(store.where, f"cannot be read at {event.seq}: {error}", "restore it") from error
            self._books.apply(request)
            self._next, self._latest_s = event.seq + 1, max(self._latest_s, event.at_s)
