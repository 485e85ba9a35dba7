"""The proof of an entry of the evidence log, as a file that is checked without Karez."""

from __future__ import annotations

from pathlib import Path

import msgspec

from karez.errors import InputError
from karez.operations import Answer, PolicyProveQuestion
from karez.operations.networks import key_at, now_s, require_new_file, write_new
from karez.record.evidence import EvidenceLog


class PolicyProveAnswer(Answer, frozen=True, kw_only=True):
    """The entry as it was written, of how many, the log's public key, and the file of the proof."""

    entry: int
    of: int
    kind: str
    body: str
    public_key: str
    output: str


def run(question: PolicyProveQuestion) -> PolicyProveAnswer:
    """The proof, signed now.

    Raises:
        InputError: the log, entry or key is not there, or the file exists or cannot be written.
    """
    require_new_file(question.output)
    key = key_at(question.key)
    if not (Path(question.log) / "entries.record").is_file():
        raise InputError.of(question.log, "is no evidence log", "name the folder that karez policy record wrote to")
    with EvidenceLog(question.log) as log:
        proof = log.proof(question.entry, log.head(key, now_s()))
    write_new(question.output, msgspec.json.encode(proof))
    return PolicyProveAnswer(
        headline=f"Entry {question.entry} of {proof.head.size} is proven in {question.output}",
        citation="Merkle tree and proofs of RFC 9162, signed by Ed25519; karez/record/prove.py checks it alone",
        entry=question.entry,
        of=proof.head.size,
        kind=proof.kind,
        body=bytes.fromhex(proof.body).decode(),
        public_key=proof.head.key,
        output=question.output,
    )
