"""The ledger of what counts by the year: persons whose data goes abroad, and privacy budget that is spent.

What is to be counted is reserved before anything moves, then settled, or released. A reservation that is never settled
runs out, so a process that died holds nothing for ever; who reserves again under the same name gets what it had. What
is reserved and settled never exceeds the line that the reservation was made under.

`step` is a fold over requests. `Ledger` keeps them in a record that many processes append to, one at a time: whoever
holds the lock on the file beside it reads what the others have done, decides, and appends. The lock goes with its
process. One writer at a time is also what SQLite needs: in versions before 3.51.3 two writers can spoil a WAL file.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec
import numpy as np

from karez.errors import InputError
from karez.record.log import Record
from karez.record.store import events
from karez.twin import Table
from karez.twin.fold import Events, Fold
from karez.twin.store import LAST_S, os_problem
from karez.twin.table import Array, strings, texts

What = Literal["reserve", "settle", "release"]
WHATS: tuple[What, ...] = get_args(What)
TABLE = "person_budgets"
EVENT = "ledger"
NUMBERS = {float: np.float64, int: np.int64}
COLUMNS = ("owner", "year", "kind", "reserved", "settled", "expires_at_s")


class Account(NamedTuple):
    """What is counted together: whose, in which calendar year, and of which kind."""

    owner: str
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
    owner: str = ""
    year: int = 1970
    kind: str = ""
    amount: float = 0.0
    line: float = 0.0
    expires_at_s: float = LAST_S

    @property
    def account(self) -> Account:
        """The account that it is about."""
        return Account(self.owner, self.year, self.kind)


class _Hold(msgspec.Struct):
    """A row of the state."""

    account: Account
    reserved: float
    settled: float
    expires_at_s: float

    def counts(self, at_s: float) -> float:
        return self.settled + (self.reserved if at_s < self.expires_at_s else 0.0)


def step(state: Table, requests: Events, at_s: float) -> tuple[Table, Events]:
    """The state after requests (columns named as the fields of `Request`), and which of them are granted.

    Raises:
        ValueError: a request from after `at_s`.
    """
    if len(requests["at_s"]) and requests["at_s"].max() > at_s:
        raise ValueError("a request is from the future")
    holds = _holds(state)
    counted = dict[Account, list[str]]()
    for name, hold in holds.items():
        counted.setdefault(hold.account, []).append(name)
    granted = np.zeros(len(requests["at_s"]), bool)
    touched = dict[str, None]()
    for at, request in enumerate(_rows(requests)):
        granted[at] = _applied(holds, counted, request)
        if granted[at]:
            touched[request.hold] = None
    return _with(state, {name: holds[name] for name in touched}), {"granted": granted}


FOLD = Fold(TABLE, step)


def _applied(holds: dict[str, _Hold], counted: dict[Account, list[str]], request: Request) -> bool:
    """Whether a request is granted; if so, the holds are as after it."""
    hold = holds.get(request.hold)
    if request.what == "reserve":
        if hold is not None and hold.settled:
            return False
        others = (holds[name] for name in counted.get(request.account, ()) if name != request.hold)
        if hold is not None and hold.account != request.account:
            return False
        if sum(one.counts(request.at_s) for one in others) + request.amount > request.line:
            return False
        holds[request.hold] = _Hold(request.account, request.amount, 0.0, request.expires_at_s)
        if hold is None:
            counted.setdefault(request.account, []).append(request.hold)
        return True
    if hold is None:
        return False
    if not hold.reserved:
        # Asked again by someone who did not hear that it was done.
        return (request.what == "settle") == bool(hold.settled)
    if request.at_s >= hold.expires_at_s:
        return False
    hold.settled, hold.reserved = hold.reserved if request.what == "settle" else 0.0, 0.0
    return True


def _holds(state: Table) -> dict[str, _Hold]:
    columns = zip(strings(state.ids), strings(state["owner"]), state["year"].tolist(), strings(state["kind"]),
                  *(state[name].tolist() for name in COLUMNS[3:]), strict=True)  # fmt: skip
    return {name: _Hold(Account(owner, year, kind), *rest) for name, owner, year, kind, *rest in columns}


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

    def ask(self, request: Request) -> bool:
        """Whether a request is granted; if it is, it is on the disk.

        Raises:
            InputError: the file is no ledger, or cannot be written; nothing was granted.
        """
        with self._locked(), self._record() as record:
            state = _replayed(record)
            # A clock that is behind what was recorded would let what has run out count again.
            latest_s = max((event.at_s for event in [record.store.last()] if event is not None), default=request.at_s)
            if request.at_s < latest_s:
                request = msgspec.structs.replace(request, at_s=latest_s)
            _, said = step(state, as_events([request]), request.at_s)
            if said["granted"][0]:
                record.append(EVENT, request.at_s, msgspec.json.encode(request))
            return bool(said["granted"][0])

    def state(self) -> Table:
        """All holds.

        Raises:
            InputError: the file is no ledger.
        """
        with self._locked(), self._record() as record:
            return _replayed(record)

    def _record(self) -> Record:
        return Record(self._path, resume=self._path.exists())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self._path.with_name(f"{self._path.name}.lock")
        try:
            file = path.open("ab")
        except OSError as error:
            raise InputError([os_problem(error, path)]) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _replayed(record: Record) -> Table:
    """The state after all that was recorded."""
    requests = []
    for event in events(record.store):
        if event.kind != EVENT:
            raise InputError.of(record.store.where, f"holds a {event.kind!r}, no ledger's", "name the file of a ledger")
        requests.append(msgspec.json.decode(event.body, type=Request))
    latest_s = max((one.at_s for one in requests), default=0.0)
    return step(Table.of(TABLE), as_events(requests), latest_s)[0]
