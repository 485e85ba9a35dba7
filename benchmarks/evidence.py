"""The evidence log with a million entries: how long proofs take, and whether code that shares none with it agrees."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from benchmarks import Figure, figure
from karez.record import prove
from karez.record.evidence import EvidenceLog
from karez.record.principals import key_of

NAME = "evidence"
SEED = 1
ENTRIES, AT_ONCE, PROOFS, BAR_MS = 1_000_000, 10_000, 500, 5.0
AT_S = 1_780_272_000.0
MS = 1e3


def run() -> list[Figure]:
    """Entries appended a second, milliseconds of proofs, and how many of these do not hold."""
    chance, key = np.random.default_rng(SEED), key_of(b"k" * 32)
    with TemporaryDirectory() as folder, EvidenceLog(Path(folder) / "log") as log:
        heads, before_s = [], time.perf_counter()
        for start in range(0, ENTRIES, AT_ONCE):
            log.append([("verdict", f"entry {start + at}".encode()) for at in range(AT_ONCE)], AT_S)
            heads.append(log.head(key, AT_S))
        appended_s = time.perf_counter() - before_s
        inclusion_ms, consistency_ms, wrong = list[float](), list[float](), 0
        for seq in chance.integers(0, ENTRIES, PROOFS).tolist():
            before_s = time.perf_counter()
            proof = log.proof(seq, heads[-1])
            inclusion_ms.append((time.perf_counter() - before_s) * MS)
            wrong += bool(prove.wrong_with_proof(msgspec.to_builtins(proof)))
        for head in (heads[at] for at in chance.integers(0, len(heads) - 1, PROOFS)):
            before_s = time.perf_counter()
            shared = log.consistency(head, heads[-1])
            consistency_ms.append((time.perf_counter() - before_s) * MS)
            wrong += bool(prove.wrong_with_consistency(msgspec.to_builtins(shared)))
        before_s = time.perf_counter()
        wrong += bool(prove.wrong_with_log(Path(folder) / "log", [msgspec.to_builtins(head) for head in heads[-1:]]))
        whole_s = time.perf_counter() - before_s
    return [
        figure("entries", ENTRIES, "", better="higher"),
        figure(f"appended, {AT_ONCE:,} at once, a signed head after each", ENTRIES / appended_s, "/s", better="higher"),
        figure("proof that an entry is in the log: median", float(np.median(inclusion_ms)), "ms"),
        figure(
            "proof that an entry is in the log: 99th of a hundred", float(np.quantile(inclusion_ms, 0.99)), "ms", BAR_MS
        ),
        figure("proof that a log only grew: 99th of a hundred", float(np.quantile(consistency_ms, 0.99)), "ms", BAR_MS),
        figure("the whole log hashed again by the verifier", whole_s, "s"),
        figure("proofs that the verifier does not accept", wrong, "", 0.0),
    ]
