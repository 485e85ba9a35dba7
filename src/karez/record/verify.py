"""Whether a record is whole, by code that shares nothing with what wrote it.

Standard library only, so that it can be copied to another machine and read in one sitting:
`python verify.py RECORD` prints the number of events and the hash of the last. A record in segments is verified from
the oldest that is kept: `python verify.py FOLDER RECORD`, or one closed file alone, from the hash it says it begins
with. Nothing in a record shows that its newest events are gone: `--holds RECEIPT` asks for one that you know of.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sqlite3
import struct
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

# What closed files are named: for their first event.
CLOSED = "[0-9]" * 12 + ".record"

Row = tuple[int, float, str, bytes, bytes]


class Whole(NamedTuple):
    """A whole record: its events, the hash of the last, and where it begins, which is 0 unless it was sealed."""

    events: int
    last: str
    first: int
    before: str


def verify(*paths: Path, holds: str = "") -> tuple[int, str]:
    """The number of events and the hash (64 hexadecimal digits) of the last one.

    Raises:
        ValueError: an event is missing, altered or out of order; the message names the first.
    """
    whole = examine(*paths, holds=holds)
    return whole.events, whole.last


def examine(*paths: Path, holds: str = "") -> Whole:
    """What `verify` says, and where the record begins.

    Raises:
        ValueError: an event is missing, altered or out of order, or none has the hash that a receipt begins with.
    """
    first, before, held = -1, bytes(32), not holds
    seq, start = 0, before
    for event in _events(paths):
        if first < 0:
            first = seq = _first(event)
            start = before = _before(event)
        before = _hash(before, seq, event)
        held = held or before.hex() == holds[:64].lower()
        seq += 1
    if not held:
        raise ValueError(f"no event has the receipt {holds}: newer events were cut off, or it is of another record")
    return Whole(seq - max(first, 0), before.hex(), max(first, 0), start.hex())


def _hash(before: bytes, seq: int, event: Row) -> bytes:
    found, at_s, kind, body, digest = event
    if found < seq:
        raise ValueError(f"event {found} is there twice; if a seal was cut off, seal again, which finishes it")
    if found > seq:
        raise ValueError(f"event {seq} is missing")
    # A zero byte ends the kind in what is hashed, so there is none in it.
    packed = struct.pack(">Qd", seq, at_s) + kind.encode() + b"\x00" + body
    if "\x00" in kind or hashlib.sha256(before + packed).digest() != digest:
        raise ValueError(f"event {seq} was altered")
    return digest


def _first(event: Row) -> int:
    """Where the record begins: with event 0, or with the event that begins a segment."""
    seq, _, kind, _, _ = event
    if seq > 0 and kind != "segment":
        raise ValueError(f"event {seq - 1} is missing: event {seq} begins no segment")
    return seq


def _before(event: Row) -> bytes:
    """The hash that the first event says was before it."""
    seq, _, _, body, _ = event
    try:
        return bytes.fromhex(json.loads(body)["before"]) if seq else bytes(32)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"event {seq} was altered: it says no hash to begin with") from error


def _events(paths: tuple[Path, ...]) -> Iterator[Row]:
    for path in paths:
        files = sorted(path.glob(CLOSED)) if path.is_dir() else [path]
        if not files:
            raise ValueError(f"not a record: there are no closed files in {path}")
        for file in files:
            yield from _rows(file)


def _rows(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise ValueError(f"not a record: there is no file {path}")
    seq = None
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            for row in base.execute("SELECT seq, at_s, kind, body, hash FROM events ORDER BY seq"):
                seq = row[0]
                yield row
    except sqlite3.Error as error:
        if "readonly" in str(error):
            raise ValueError(f"{path} was being closed when the power went; open it once to go on with it") from error
        if seq is None:
            raise ValueError(f"not a record, or damaged from its start: {path}: {error}") from error
        raise ValueError(f"{path} is damaged or cut off after event {seq}: {error}") from error


def main(words: list[str]) -> None:
    """Say whether the record is whole."""
    parser = argparse.ArgumentParser(description="Whether a record is whole: its events, and the hash of the last.")
    parser.add_argument("record", nargs="+", type=Path, help="a record, a closed file, or a folder of closed files")
    parser.add_argument("--holds", default="", metavar="RECEIPT", help="a receipt, or a hash, that must be in it")
    asked = parser.parse_args(words)
    try:
        whole = examine(*asked.record, holds=asked.holds)
    except ValueError as error:
        sys.exit(str(error))
    sealed = f" (from event {whole.first} on, after {whole.before})" if whole.first else ""
    print(f"{whole.events} {whole.last}{sealed}")


if __name__ == "__main__":
    main(sys.argv[1:])
