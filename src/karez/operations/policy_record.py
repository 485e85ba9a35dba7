"""A hand-over of data, with the verdict on it, written into the evidence log."""

from __future__ import annotations

import msgspec

from karez.errors import InputError, Refused
from karez.measure import policy
from karez.operations import Answer, PolicyRecordQuestion
from karez.operations.networks import key_at, now_s, require_new_file, write_new
from karez.operations.policy import Situation
from karez.record.evidence import EvidenceLog, Head
from karez.record.ledger import Ledger, Request


class HandOver(msgspec.Struct, frozen=True, kw_only=True):
    """What is written: who asked what, of which data, on which facts, by which packs, and the verdict in full."""

    job: str
    dataset: str
    server: str
    mode: policy.Mode
    lawful: bool
    packs: dict[str, str]
    revision: str
    facts: dict[str, str]
    rules: tuple[str, ...]
    missing: tuple[str, ...]


class PolicyRecordAnswer(Answer, frozen=True, kw_only=True):
    """The number of the entry, and the head of the log with it: keep it where the log is not."""

    entry: int
    rules: tuple[str, ...]
    duties: tuple[str, ...]
    head: Head


def run(question: PolicyRecordQuestion) -> PolicyRecordAnswer:
    """Write the verdict; a lawful one is a hand-over.

    Raises:
        InputError: something that is named is not there or cannot be read or written.
        Refused: the hand-over is not lawful; the verdict was written all the same. Or the hold does not count any more.
    """
    if question.head:
        require_new_file(question.head)
    if question.hold and not question.ledger:
        raise InputError.of("hold", "is of no ledger", "name the file of the ledger, too")
    key = key_at(question.key)
    situation = Situation(question.network, packs=question.packs, at="", ledger=question.ledger, hold=question.hold)
    job, server = situation.job(question.job), situation.server(question.server)
    twin, ids = situation.world.intended, job.ids(question.server)
    verdict = job.verdict(server, policy.bits(question.mode))
    lawful = question.mode in verdict.modes
    grounds = verdict.permits.get(question.mode, ())
    body = HandOver(
        job=job.id,
        dataset=job.dataset,
        server=question.server,
        mode=question.mode,
        lawful=lawful,
        packs={pack.name: pack.version for pack in situation.packs},
        revision=situation.revision.digest,
        facts={name: value for name, value, _ in policy.told_facts(job.facts, server)},
        rules=tuple(one.rule for one in grounds),
        missing=policy.located(verdict.missing, twin, **ids),
    )
    if lawful and question.hold:
        _settle(question, situation.at_s)
    with EvidenceLog(question.log) as log:
        # The moment is that of the entry, and no other process can be between.
        at_s = now_s()
        entry = log.append([("handover" if lawful else "verdict", msgspec.json.encode(body))], at_s)
        head = log.head(key, at_s)
    if question.head:
        write_new(question.head, msgspec.json.encode(head))
    if not lawful:
        why = policy.said(verdict, (question.mode,), twin, **ids)
        raise Refused(f"data {job.dataset} may not go to {question.server}: {why}; the verdict is entry {entry}")
    return PolicyRecordAnswer(
        headline=(
            f"Entry {entry}: data {job.dataset} of job {job.id} to {question.server} by {question.mode} is lawful "
            f"({situation.aside})"
        ),
        citation=situation.citation("Merkle tree and proofs of RFC 9162, signed by Ed25519"),
        entry=entry,
        rules=body.rules,
        duties=tuple(dict.fromkeys(one.duty for one in grounds if one.duty)),
        head=head,
    )


def _settle(question: PolicyRecordQuestion, at_s: float) -> None:
    """Count what was reserved for a hand-over, before it is written: what is written was counted.

    Raises:
        Refused: the hold is not there, or has run out.
    """
    if not Ledger(question.ledger).ask(Request(what="settle", hold=question.hold, at_s=at_s)):
        raise Refused(f"{question.ledger} has no hold {question.hold} that counts; reserve it anew")
