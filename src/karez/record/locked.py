"""A lock beside a file or folder that one process at a time holds; it goes with its process, however that ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from karez.errors import InputError
from karez.twin.store import os_problem

# How long somebody else may hold it (s), and how often that is looked at.
WAIT_S, LOOK_S = 30.0, 0.005


@contextmanager
def locked(path: Path, wait_s: float = WAIT_S) -> Iterator[None]:
    """Hold what lies at a path; the lock is a file of its own beside it, which stays.

    Raises:
        InputError: the lock cannot be made, or another process has held it for too long.
    """
    beside = path.with_name(f"{path.name}.lock")
    try:
        file = beside.open("ab")
    except OSError as error:
        raise InputError([os_problem(error, beside)]) from error
    with file:
        until_s = time.monotonic() + wait_s
        while not _taken(file.fileno()):
            if time.monotonic() > until_s:
                raise InputError.of(str(path), f"is held by another process for {wait_s:g} s", "see what it does")
            time.sleep(LOOK_S)
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
