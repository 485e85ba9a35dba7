"""The clock of long planning: it ends at a limit in time, and at a person's Ctrl-C with the best by then."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Watch:
    """The clock of a climb, and whether a person or the limit has ended it."""

    def __init__(self, limit_s: float) -> None:
        """Begin now, with so many seconds to go."""
        self._began_s, self._limit_s, self.interrupted = time.monotonic(), limit_s, False

    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began_s

    def enough(self) -> bool:
        """Whether to stop: the limit is past, or somebody pressed Ctrl-C."""
        return self.interrupted or self.seconds() >= self._limit_s


@contextmanager
def watched(limit_s: float) -> Iterator[Watch]:
    """A clock that the first Ctrl-C stops; the second is as always."""
    watch = Watch(limit_s)
    # Only the main thread may say what a signal does; elsewhere the limit alone ends the climb.
    if threading.current_thread() is not threading.main_thread():
        yield watch
        return
    before = signal.getsignal(signal.SIGINT)

    def stop(number: int, frame: object) -> None:
        watch.interrupted = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield watch
    finally:
        signal.signal(signal.SIGINT, before)
