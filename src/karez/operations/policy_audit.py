"""Of all data: what is not known, what may go nowhere, work that runs unlawfully, and evidence that runs out."""

from __future__ import annotations

import msgspec
import numpy as np

from karez.measure import policy
from karez.operations import Answer, PolicyAuditQuestion
from karez.operations.policy import Situation
from karez.twin.table import strings, text

S_PER_DAY = 86_400.0


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """A data set, the servers that it may be copied to, and what is not known of it."""

    dataset: str
    grade: str
    personal: str
    servers: int
    unknown: tuple[str, ...]


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A job that runs where its data may not be, and why."""

    job: str
    server: str
    why: str


class Expiring(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence that has run out or soon will, and how many days are left (below zero: since then)."""

    evidence: str
    kind: str
    recipient: str
    days: float


class PolicyAuditAnswer(Answer, frozen=True, kw_only=True):
    """What a data officer has to see to; the target is met where no work runs unlawfully."""

    unlawful: tuple[Running, ...]
    data: tuple[Data, ...]
    expiring: tuple[Expiring, ...]


def run(question: PolicyAuditQuestion) -> PolicyAuditAnswer:
    """The audit of the network's newest revision.

    Raises:
        InputError: the network or packs cannot be read, or the moment is none.
    """
    situation = Situation(question.network, packs=question.packs, at=question.at, ledger=question.ledger)
    data, unlawful = tuple(_data(situation)), tuple(_running(situation))
    expiring = tuple(_expiring(question, situation))
    unknown = sum(bool(one.unknown) for one in data)
    nowhere = sum(not one.servers for one in data)
    note = ", synthetic" if situation.revision.synthetic else ""
    return PolicyAuditAnswer(
        headline=(
            f"{len(unlawful) or 'no'} jobs run unlawfully; of {len(data)} data sets {nowhere or 'none'} may be copied "
            f"to no server, of {unknown or 'none'} a fact is unknown; {len(expiring) or 'no'} papers have run out or "
            f"will within {question.days} days ({policy.NO_ADVICE}{note})"
        ),
        citation=situation.citation(),
        meets_target=not unlawful,
        unlawful=unlawful,
        data=data,
        expiring=expiring,
    )


def _data(situation: Situation) -> list[Data]:
    """Every data set, asked about for a purpose that it was declared for."""
    twin, table = situation.world.intended, situation.world["datasets"]
    purposes = [(told.split() or [""])[0] for told in strings(table["purposes"])]
    asked = policy.Asked(situation.law, situation.at_s, purposes, situation.world.actual["person_budgets"])
    to = policy.recipients(twin)
    lawful = policy.lawful(twin, asked, np.arange(len(table)), to)
    servers = np.count_nonzero(lawful & policy.copied(), axis=1)
    return [
        Data(
            dataset=text(name),
            grade=str(table.cell(text(name), "grade")),
            personal=str(table.cell(text(name), "personal")),
            servers=int(count),
            unknown=policy.untold(table, text(name)),
        )
        for name, count in zip(table.ids, servers, strict=True)
    ]


def _running(situation: Situation) -> list[Running]:
    found = []
    for row in situation.world["assignments"].records():
        job = situation.job(str(row["id"]))
        server = situation.server(str(row["server"]))
        if not job.lawful[server] & policy.copied():
            verdict = job.verdict(server, policy.copied())
            why = policy.said(verdict, policy.COPIED, situation.world.intended, **job.ids(str(row["server"])))
            found.append(Running(job=job.id, server=str(row["server"]), why=why))
    return found


def _expiring(question: PolicyAuditQuestion, situation: Situation) -> list[Expiring]:
    """What runs out within the days asked about; what has run out is not in the network of the moment any more."""
    until_s = situation.at_s + question.days * S_PER_DAY
    found = [
        Expiring(
            evidence=str(row["id"]),
            kind=str(row["kind"]),
            recipient=str(row["recipient"]),
            days=(float(row["valid_to_s"]) - situation.at_s) / S_PER_DAY,
        )
        for row in situation.whole["evidence"].records()
        if float(row["valid_from_s"]) <= situation.at_s and float(row["valid_to_s"]) < until_s
    ]
    return sorted(found, key=lambda one: one.days)
