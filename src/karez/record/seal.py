"""A record in segments, so that what is older than the law asks for can go and the chain of the rest still verifies.

To seal is to move all events so far into a closed file. What stays begins with an event of kind `segment`, which holds
the hash of the last event before it. It is recorded first, then the closed file is written, and only then are the
events let go of; a seal that was cut off leaves them in both places, and the next one finishes it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from karez.record.log import Reader, Record, copy, read
from karez.record.sqlite import Connect, connect
from karez.record.store import GENESIS

# A closed file is named for its first event; a record that is still written to has another name.
CLOSED = "[0-9]" * 12 + ".record"
# Source: Personal Information Protection Law (PRC) 2021, article 56: records of handling are kept for three years.
RETENTION_S = 3 * 365.25 * 86_400.0


def seal(
    record: Record, folder: Path, at_s: float, *, state: bytes | None = None, connect: Connect = connect
) -> Path | None:
    """The closed file, in `folder`, of all that was recorded before; None where nothing was.

    `state`, if given, is recorded as the snapshot to go on from. It takes as long as writing these events once more.

    Raises:
        InputError: the disk took no more, or an event was altered; every event is still in one place at least.
    """
    if record.head == GENESIS:
        return None
    begins = ("segment", at_s, msgspec.json.encode({"before": record.head.hex()}))
    record.append_all([begins] if state is None else [begins, ("snapshot", at_s, state)])
    store = record.store
    first, segment = store.page(0, 1)[0], store.last("segment")
    assert segment is not None
    path = folder / f"{first.seq:012d}.record"
    _make(folder)
    copy(store, path, before=segment.seq, connect=connect)
    store.drop(segment.seq)
    return path


def expired(folder: Path, at_s: float, retention_s: float = RETENTION_S) -> list[Path]:
    """The closed files, oldest first, whose every event is older than `retention_s`, and that of all before them."""
    gone = []
    for path in sorted(folder.glob(CLOSED)):
        if max(event.at_s for event in read(path)) >= at_s - retention_s:
            break
        gone.append(path)
    return gone


def forget(record: Record, folder: Path, at_s: float, retention_s: float = RETENTION_S) -> list[Path]:
    """The closed files that were deleted as they have expired; the record holds which, and their last hashes.

    Raises:
        InputError: the record took no more, or a closed file cannot be read; nothing was deleted.
    """
    gone = expired(folder, at_s, retention_s)
    record.append_all([("forgotten", at_s, _said(path)) for path in gone])
    for path in gone:
        path.unlink()
    return gone


def _said(path: Path) -> bytes:
    with Reader(path) as reader:
        first, last = next(reader.events()), reader.last()
    assert last is not None
    return msgspec.json.encode({"file": path.name, "first": first.seq, "last": last.seq, "hash": last.hash.hex()})


def _make(folder: Path) -> None:
    """Make the folder, and its name durable: SQLite does so for files only."""
    folder.mkdir(exist_ok=True)
    above = os.open(folder.resolve().parent, os.O_RDONLY)
    try:
        os.fsync(above)
    finally:
        os.close(above)
