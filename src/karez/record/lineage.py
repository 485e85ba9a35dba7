"""The record of controllers that take over from each other: to each term its own file, which holds all before it too.

A file has one writer, ever: the controller that led in its epoch. So one that hangs in the middle of a write locks out
nobody, and one that wakes up late appends to a file that is no longer the record. PostgreSQL needs none of this: there,
one table serves all, and who appends where another has gone on is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from karez.errors import InputError
from karez.record.log import GENESIS, Reader, Record, copy

SUFFIX = ".record"


def path_of(folder: Path, epoch: int) -> Path:
    """The file of the leader of an epoch."""
    return folder / f"{epoch:010d}{SUFFIX}"


def newest(folder: Path) -> Path | None:
    """The record: the file of the newest leader that came to have one; None where nobody has led."""
    return max(folder.glob(f"[0-9]*{SUFFIX}"), default=None)


def begun(where: Path | str, epoch: int, start: Callable[[Record], object]) -> Record:
    """The record as the leader of `epoch` goes on with it, in a folder of files or in a database by URL.

    `start` appends the first event of a record that has none. Older leaders must be fenced off before: what they do
    from now on is not in it.

    Raises:
        InputError: it cannot be read or written, or the events before were altered.
    """
    if isinstance(where, Path):
        return _file(where, epoch, start)
    try:
        record = Record(where, resume=True)
    except InputError:
        record = Record(where)
    return _started(record, start)


def body(folder: Path, epoch: int, receipt: bytes) -> bytes | None:
    """What the event that a receipt stands for holds, in the file of the leader of `epoch`; None where there is none.

    Raises:
        InputError: the file cannot be read now.
    """
    path = path_of(folder, epoch)
    if not path.exists():
        return None
    with Reader(path) as reader:
        return reader.body(receipt)


def _file(folder: Path, epoch: int, start: Callable[[Record], object]) -> Record:
    """The file is there once it is whole: a leader that dies while it makes one leaves none."""
    before, path = newest(folder), path_of(folder, epoch)
    beside = path.with_suffix(".part")
    for left in (beside, *(beside.with_name(beside.name + end) for end in ("-wal", "-shm", "-journal"))):
        left.unlink(missing_ok=True)
    if before is not None:
        with Reader(before) as reader:
            copy(reader.store, beside)
    else:
        with Record(beside) as record:
            start(record)
    beside.rename(path)
    _synced(folder)
    return Record(path, resume=True)


def _started(record: Record, start: Callable[[Record], object]) -> Record:
    if record.head == GENESIS:
        start(record)
    return record


def _synced(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    with suppress(OSError):
        os.fsync(handle)
    os.close(handle)
