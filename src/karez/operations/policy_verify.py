"""Whether a proof holds, or nothing in a log was changed since heads that were kept elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from karez.errors import InputError
from karez.operations import Answer, PolicyVerifyQuestion
from karez.record import prove
from karez.twin.store import os_problem


class PolicyVerifyAnswer(Answer, frozen=True, kw_only=True):
    """Whether nothing is wrong, or what is."""

    holds: bool
    wrong: str


def run(question: PolicyVerifyQuestion) -> PolicyVerifyAnswer:
    """Check a proof or a log.

    Raises:
        InputError: what is named is not there, or is neither a proof nor a log.
    """
    path = Path(question.proof)
    try:
        if path.is_dir():
            wrong = prove.wrong_with_log(path, _heads(question.heads), question.public_key, question.gone)
        else:
            held = _read(path)
            check = prove.wrong_with_consistency if "before" in held else prove.wrong_with_proof
            wrong = check(held, question.public_key)
    except prove.UNREADABLE as error:
        fix = "name what karez policy prove or karez policy record wrote"
        raise InputError.of(question.proof, f"is neither a proof nor a log: {error!r}", fix) from error
    return PolicyVerifyAnswer(
        headline=f"{question.proof}: {wrong or 'nothing is wrong'}",
        citation="RFC 9162, 2.1; signatures by Ed25519" + ("" if question.public_key else "; any key was taken"),
        meets_target=not wrong,
        holds=not wrong,
        wrong=wrong,
    )


def _heads(named: str) -> list[dict[str, Any]]:
    """The heads in a file, or in the files of a folder.

    Raises:
        InputError: there is none: against itself a log proves nothing.
    """
    path = Path(named or ".")
    files = sorted(path.glob("*.json")) if named and path.is_dir() else [path] if named else []
    if not files:
        raise InputError.of("heads", "names no head", "give the heads that were kept; a log alone proves nothing")
    return [_read(file) for file in files]


def _read(path: Path) -> dict[str, Any]:
    try:
        held = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError([os_problem(error, path)]) from error
    if not isinstance(held, dict):
        raise ValueError("it is no object")
    return held
