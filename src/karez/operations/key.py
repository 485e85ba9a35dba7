"""A new pair of keys for a principal."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from karez.errors import InputError
from karez.operations import Answer, KeyQuestion
from karez.operations.networks import require_new_file, write_new
from karez.record.principals import key_of, pem, public_key
from karez.twin.store import os_problem

SEED_BYTES = 32
OWNER_ONLY = 0o600


class KeyAnswer(Answer, frozen=True, kw_only=True):
    """The files that hold the two keys; the private one can be read by its owner alone."""

    private: str
    public: str


def run(question: KeyQuestion) -> KeyAnswer:
    """A pair of keys that did not exist before.

    Raises:
        InputError: one of the files exists already, or cannot be written.
    """
    private, public = question.output, f"{question.output}.pub"
    require_new_file(private)
    require_new_file(public)
    key = key_of(secrets.token_bytes(SEED_BYTES))
    _write_secret(Path(private), pem(key))
    try:
        write_new(public, f"{public_key(key)}\n".encode())
    except InputError:
        Path(private).unlink()
        raise
    return KeyAnswer(
        headline=f"Keep {private} to yourself; put the line in {public} into the column public_key of principals",
        citation="Ed25519 (RFC 8032); the private key is PKCS #8 in PEM, not encrypted",
        private=private,
        public=public,
    )


def _write_secret(path: Path, data: bytes) -> None:
    """Put `data` into a new file that nobody else may read, not even for a moment."""
    made = False
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        made = True
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if made:
            with suppress(OSError):
                path.unlink()
        raise InputError([os_problem(error, path)]) from error
