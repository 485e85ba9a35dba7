"""What ciphers, keys and compression take on this machine, as constants for the price of a mode."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Callable
from hashlib import blake2b

import msgspec
import numpy as np
import polars as pl
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers import modes as cipher_modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from karez.operations import Answer, PolicyCalibrateQuestion
from karez.operations.networks import require_new_file, write_new
from karez.twin.facts import library

MIB = 1 << 20
GB = 1e9
US = 1e6
KEY_BYTES, NONCE_BYTES, TAG_BYTES, SM4_KEY_BYTES = 32, 12, 16, 16
# Identifiers that a key is applied to, and how long each is.
IDENTIFIERS, IDENTIFIER_BYTES = 10_000, 32
# Rows of a table like those that are moved: names that repeat, and amounts.
ROWS = 500_000
HEAD = ("id", "value", "unit", "confidence", "source")


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A constant as measured here, and what the library has for it."""

    id: str
    value: float
    unit: str
    library: float


class PolicyCalibrateAnswer(Answer, frozen=True, kw_only=True):
    """What was measured, and the file that `--costs` takes."""

    measured: tuple[Measured, ...]
    output: str


def run(question: PolicyCalibrateQuestion) -> PolicyCalibrateAnswer:
    """Measure on one core, and write the constants.

    Raises:
        InputError: the file exists already, or cannot be written.
    """
    require_new_file(question.output)
    found = {
        "encrypt_gb_per_s": _gb_per_s(_aes(), MIB, question.seconds),
        "sm4_gb_per_s": _gb_per_s(_sm4(), MIB, question.seconds),
        "hpke_us": US / _per_s(_hpke(), question.seconds),
        "pseudonymise_gb_per_s": _gb_per_s(_pseudonyms(), IDENTIFIERS * IDENTIFIER_BYTES, question.seconds),
        **_compression(question.seconds),
    }
    known = {row["id"]: row for row in library("mode_costs")}
    measured = tuple(
        Measured(id=name, value=value, unit=known[name]["unit"], library=float(known[name]["value"]))
        for name, value in found.items()
    )
    write_new(question.output, _as_csv(measured).encode())
    aes, sm4 = found["encrypt_gb_per_s"], found["sm4_gb_per_s"]
    return PolicyCalibrateAnswer(
        headline=f"One core here encrypts {aes:.3g} GB/s by AES-256-GCM and {sm4:.3g} GB/s by SM4-GCM",
        citation=(
            f"each as often as {question.seconds:g} s of one core allow, the median; HPKE of RFC 9180 (X25519, "
            "HKDF-SHA256, AES-128-GCM), sealed and opened; zstd by Polars, a synthetic table"
        ),
        measured=measured,
        output=question.output,
    )


def _aes() -> Callable[[], object]:
    cipher, data = AESGCM(os.urandom(KEY_BYTES)), os.urandom(MIB)
    nonce, room = os.urandom(NONCE_BYTES), bytearray(MIB + TAG_BYTES)
    return lambda: cipher.encrypt_into(nonce, data, None, room)


def _sm4() -> Callable[[], object]:
    key, data = os.urandom(SM4_KEY_BYTES), os.urandom(MIB)

    def sealed() -> bytes:
        sealing = Cipher(algorithms.SM4(key), cipher_modes.GCM(os.urandom(NONCE_BYTES))).encryptor()
        return sealing.update(data) + sealing.finalize()

    return sealed


def _hpke() -> Callable[[], object]:
    suite, key = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM), X25519PrivateKey.generate()
    public, data = key.public_key(), os.urandom(KEY_BYTES)
    return lambda: suite.decrypt(suite.encrypt(data, public), key)


def _pseudonyms() -> Callable[[], object]:
    key = os.urandom(KEY_BYTES)
    names = [os.urandom(IDENTIFIER_BYTES) for _ in range(IDENTIFIERS)]
    return lambda: [blake2b(name, key=key, digest_size=TAG_BYTES).digest() for name in names]


def _compression(seconds: float) -> dict[str, float]:
    chance = np.random.default_rng(1)
    words = np.array([f"customer-{number:06d}" for number in range(1_000)])
    frame = pl.DataFrame({"name": chance.choice(words, ROWS), "amount": chance.integers(0, 100_000, ROWS)})
    plain, packed = io.BytesIO(), io.BytesIO()
    frame.write_ipc(plain)
    frame.write_ipc(packed, compression="zstd")
    size = len(plain.getvalue())
    return {
        "compress_gb_per_s": _gb_per_s(lambda: frame.write_ipc(io.BytesIO(), compression="zstd"), size, seconds),
        "compressed_share": len(packed.getvalue()) / size,
    }


def _gb_per_s(work: Callable[[], object], size_bytes: int, seconds: float) -> float:
    return _per_s(work, seconds) * size_bytes / GB


def _per_s(work: Callable[[], object], seconds: float) -> float:
    """How often a second of the core's time the work is done, by the median of its times."""
    work()
    took_s, until_s = list[float](), time.perf_counter() + seconds
    while not took_s or time.perf_counter() < until_s:
        before_s = time.process_time()
        work()
        took_s.append(time.process_time() - before_s)
    return 1.0 / max(float(np.median(took_s)), 1e-9)


def _as_csv(measured: tuple[Measured, ...]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEAD)
    for one in measured:
        writer.writerow((one.id, f"{one.value:.6g}", one.unit, "R", "measured on this machine"))
    return file.getvalue()
