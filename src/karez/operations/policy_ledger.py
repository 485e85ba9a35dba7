"""What counts by the year, reserved, settled or released."""

from __future__ import annotations

import datetime as dt

import msgspec
import numpy as np

from karez.errors import InputError, Problem, Refused
from karez.measure.policy.questions import COUNTS_IN
from karez.operations import Answer, PolicyLedgerQuestion
from karez.operations.networks import now_s
from karez.operations.policy import existing
from karez.record.ledger import Ledger, Request
from karez.twin.table import Table, text
from karez.units import S_PER_H

# What a year may come to without more. Source: PCF art. 5 and 8, as `cn-national` has them.
LINES = {"personal": 99_999.0, "sensitive": 9_999.0}
DONE = {"reserve": "reserved", "settle": "settled", "release": "released"}


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """What an entity has reserved and settled of a kind in a calendar year of China."""

    entity: str
    year: int
    kind: str
    reserved: float
    settled: float


class PolicyLedgerAnswer(Answer, frozen=True, kw_only=True):
    """What was done, and what all accounts come to now."""

    accounts: tuple[Sum, ...]


def run(question: PolicyLedgerQuestion) -> PolicyLedgerAnswer:
    """What the ledger holds after what was asked.

    Raises:
        InputError: the file is no ledger or cannot be written, or something that must be given is not.
        Refused: the line would be crossed, or there is no such hold that could be settled or released.
    """
    at_s = now_s()
    if question.what in ("show", "settle", "release"):
        existing(question.ledger)
    ledger = Ledger(question.ledger)
    if question.what != "show":
        _require(question)
        if not ledger.ask(_request(question, at_s)):
            raise Refused(_why(question, ledger, at_s))
    accounts = _sums(ledger.state(), at_s)
    done = f"{DONE[question.what]} {question.hold}; " if question.what in DONE else ""
    return PolicyLedgerAnswer(
        headline=f"{done}{len(accounts) or 'no'} accounts in {question.ledger}",
        citation="reservations that have run out do not count; calendar years are those of China",
        accounts=accounts,
    )


def _require(question: PolicyLedgerQuestion) -> None:
    problems = [] if question.hold else [Problem("hold", "is not given", "name the hold")]
    if question.what == "reserve":
        problems += [] if question.entity else [Problem("entity", "is not given", "name who answers for the data")]
        if question.line is None and question.kind not in LINES:
            problems.append(Problem("line", "is not given", f"say how much {question.kind} a year may come to"))
        problems += [] if question.amount > 0 else [Problem("amount", "is zero", "give how many")]
    if problems:
        raise InputError(problems)


def _request(question: PolicyLedgerQuestion, at_s: float) -> Request:
    return Request(
        what="reserve" if question.what == "show" else question.what,
        hold=question.hold,
        at_s=at_s,
        entity=question.entity,
        year=dt.datetime.fromtimestamp(at_s, COUNTS_IN).year,
        kind=question.kind,
        amount=question.amount,
        line=_line(question),
        expires_at_s=at_s + question.hours * S_PER_H,
    )


def _line(question: PolicyLedgerQuestion) -> float:
    return LINES.get(question.kind, 0.0) if question.line is None else question.line


def _why(question: PolicyLedgerQuestion, ledger: Ledger, at_s: float) -> str:
    if question.what != "reserve":
        return f"{question.ledger} has no hold {question.hold} that could be {DONE[question.what]} now"
    year = dt.datetime.fromtimestamp(at_s, COUNTS_IN).year
    held = sum(one.reserved + one.settled for one in _sums(ledger.state(), at_s)
               if (one.entity, one.year, one.kind) == (question.entity, year, question.kind))  # fmt: skip
    line = f"the line of {_line(question):,.6g} that {question.entity} has for {year}"
    return (
        f"{question.amount:,.6g} more of {question.kind} would cross {line}: {held:,.6g} are reserved or settled; "
        "or the hold is there with another amount, or was settled"
    )


def _sums(state: Table, at_s: float) -> tuple[Sum, ...]:
    live = np.where(at_s < state["expires_at_s"], state["reserved"], 0.0)
    found = dict[tuple[str, int, str], list[float]]()
    columns = (state[name].tolist() for name in ("entity", "year", "kind", "settled"))
    for entity, year, kind, settled, reserved in zip(*columns, live.tolist(), strict=True):
        held = found.setdefault((text(entity), int(year), text(kind)), [0.0, 0.0])
        held[0] += reserved
        held[1] += settled
    return tuple(
        Sum(entity=entity, year=year, kind=kind, reserved=reserved, settled=settled)
        for (entity, year, kind), (reserved, settled) in sorted(found.items())
    )
