"""Moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

from karez.twin.store import LAST_S

FIX = "write it as 2026-01-31T12:00:00+08:00"


def moment_s(words: str) -> float:
    """The moment (Unix time) that is written as a day, or as a day and a time; one without an offset is in UTC.

    Raises:
        ValueError: it is none, or not of the years 1970 to 9999.
    """
    try:
        told = datetime.fromisoformat(words.strip())
    except ValueError as error:
        raise ValueError("no moment") from error
    at_s = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    if not 0.0 <= at_s <= LAST_S:
        raise ValueError("not of the years 1970 to 9999")
    return at_s
