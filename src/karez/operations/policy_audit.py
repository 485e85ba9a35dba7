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
    return PolicyAuditAnswer(
        headline=(
            f"{len(unlawful) or 'no'} jobs run unlawfully; of {len(data)} data sets {nowhere or 'none'} may be copied "
            f"to no server, of {unknown or 'none'} a fact is unknown; {len(expiring) or 'no'} papers have run out or "
            f"will within {question.days} days ({situation.aside})"
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
    """Work that runs where its data may not be; of a job or server that is not there any more nothing is lawful."""
    world, found, lawful = situation.world, list[Running](), _lawful(situation)
    for row in world["assignments"].records():
        job, server = str(row["id"]), str(row["server"])
        if not world["jobs"].has(job) or not world["servers"].has(server):
            gone = f"job {job}" if not world["jobs"].has(job) else f"server {server}"
            found.append(Running(job=job, server=server, why=f"{gone} is not in the network"))
        elif not lawful[job, server]:
            data, at = situation.job(job), situation.server(server)
            verdict = data.verdict(at, policy.copied())
            why = policy.said(verdict, policy.COPIED, world.intended, **data.ids(server))
            found.append(Running(job=job, server=server, why=why))
    return found


def _lawful(situation: Situation) -> dict[tuple[str, str], bool]:
    """Whether each job may run at the server that it was given, asked purpose by purpose."""
    world, by_purpose = situation.world, dict[str, list[tuple[str, str]]]()
    for row in world["assignments"].records():
        job, server = str(row["id"]), str(row["server"])
        if world["jobs"].has(job) and world["servers"].has(server):
            by_purpose.setdefault(str(world["jobs"].cell(job, "purpose")), []).append((job, server))
    found = dict[tuple[str, str], bool]()
    for purpose, pairs in by_purpose.items():
        data = world["datasets"].rows([str(world["jobs"].cell(job, "dataset")) for job, _ in pairs])
        servers = world["servers"].rows([server for _, server in pairs])
        datasets, which = np.unique(data, return_inverse=True)
        recipients, where = np.unique(servers, return_inverse=True)
        asked = policy.Asked(situation.law, situation.at_s, (purpose,), world["person_budgets"])
        masks = policy.lawful(world.intended, asked, datasets, policy.recipients(world.intended, recipients))
        may = (masks[which, where] & policy.copied()) != 0
        found |= dict(zip(pairs, map(bool, may), strict=True))
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
