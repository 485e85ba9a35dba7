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

DONE = {"reserve": "reserved", "settle": "settled", "release": "released"}


class Sum(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner has reserved and settled of a kind in a calendar year of China."""

    owner: str
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
        problems += [] if question.owner else [Problem("owner", "is not given", "name the domain that answers")]
        problems += [] if question.amount > 0 else [Problem("amount", "is zero", "give how many")]
    if problems:
        raise InputError(problems)


def _request(question: PolicyLedgerQuestion, at_s: float) -> Request:
    return Request(
        what="reserve" if question.what == "show" else question.what,
        hold=question.hold,
        at_s=at_s,
        owner=question.owner,
        year=dt.datetime.fromtimestamp(at_s, COUNTS_IN).year,
        kind=question.kind,
        amount=question.amount,
        line=question.line,
        expires_at_s=at_s + question.hours * S_PER_H,
    )


def _why(question: PolicyLedgerQuestion, ledger: Ledger, at_s: float) -> str:
    if question.what != "reserve":
        return f"{question.ledger} has no hold {question.hold} that could be {DONE[question.what]} now"
    year = dt.datetime.fromtimestamp(at_s, COUNTS_IN).year
    held = sum(one.reserved + one.settled for one in _sums(ledger.state(), at_s)
               if (one.owner, one.year, one.kind) == (question.owner, year, question.kind))  # fmt: skip
    return (
        f"{question.amount:,.6g} more of {question.kind} would cross the line of {question.line:,.6g} that "
        f"{question.owner} has for {year}: {held:,.6g} are reserved or settled, or the hold was settled already"
    )


def _sums(state: Table, at_s: float) -> tuple[Sum, ...]:
    live = np.where(at_s < state["expires_at_s"], state["reserved"], 0.0)
    found = dict[tuple[str, int, str], list[float]]()
    columns = (state[name].tolist() for name in ("owner", "year", "kind", "settled"))
    for owner, year, kind, settled, reserved in zip(*columns, live.tolist(), strict=True):
        held = found.setdefault((text(owner), int(year), text(kind)), [0.0, 0.0])
        held[0] += reserved
        held[1] += settled
    return tuple(
        Sum(owner=owner, year=year, kind=kind, reserved=reserved, settled=settled)
        for (owner, year, kind), (reserved, settled) in sorted(found.items())
    )
