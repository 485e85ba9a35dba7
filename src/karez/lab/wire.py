"""The wire: it carries Ethernet frames between pairs of TAP interfaces, and does to them what real lines do.

One thread carries all lines, or two every other one each where there are cores enough, without Python's lock, and with
priority where the machine allows it. What they do to each way is a row of `Ways`, which others write while they run;
what happened is a row of `Counts`.
"""

from __future__ import annotations

import os
import select
import threading
from typing import NamedTuple

import numpy as np
from numba import njit

from karez.lab.kernel import (
    EVENT_FD,
    EVENT_WORDS,
    LATE_NS,
    MONOTONIC,
    NS_PER_S,
    events,
    now_ns,
    prefer,
    read,
    wait,
    write,
)
from karez.twin.heap import popped, pushed
from karez.twin.table import Array

# Threads at most, and cores for each: whoever writes a frame has the kernel of the router at its end send it on, too.
# On two cores two of them and the hosts' thread keep each other waiting: a lab is late three times as often.
THREADS, CORES_EACH = 2, 2
# Frames that are on their way at most with each, and the longest (bytes).
SLOTS, SLOT_BYTES = 1 << 15, 9_216
# Frames that are taken from one interface before the next has its turn.
TURN, EVENTS = 64, 256
# How long the wire sleeps when nothing comes before it looks whether it should stop (ns).
NAP_NS = 100_000_000
ETHERNET_BYTES = 14


class Ways(NamedTuple):
    """What befalls the frames of each way (w), all writable while the wire runs.

    `delay_s` and `jitter_s` (at most so much more, drawn evenly, but none overtakes) are waited by all; `reorder_share`
    of them do not wait.
    `loss_share` are lost, all where `cut`, and `error_share` come damaged, so that who gets them throws them away.
    `rate_bytes_per_s` (0: as fast as it goes) lets them queue for up to `queue_s`. IP packets of more than `most_bytes`
    (0: none) are eaten.
    """

    delay_s: Array
    jitter_s: Array
    reorder_share: Array
    loss_share: Array
    error_share: Array
    cut: Array
    rate_bytes_per_s: Array
    queue_s: Array
    most_bytes: Array


class Counts(NamedTuple):
    """What came of the frames of each way (w): taken in, lost, damaged, too long, dropped by a queue, delivered."""

    taken: Array
    lost: Array
    damaged: Array
    eaten: Array
    queued_out: Array
    delivered: Array


class _Flight(NamedTuple):
    """Frames on their way: a heap by when they are due (ns), and the slots that hold them."""

    due_ns: Array
    slot: Array
    free: Array
    frame: Array
    length: Array
    way: Array


def ways(count: int) -> Ways:
    """So many ways that carry everything at once."""
    return Ways(*(np.zeros(count) for _ in Ways._fields))


def counts(count: int) -> Counts:
    """Nothing was carried yet."""
    return Counts(*(np.zeros(count, np.int64) for _ in Counts._fields))


class Wire:
    """Threads that carry frames; `taps` are two descriptors a line: way `2 l` goes from the first to the second."""

    def __init__(self, taps: Array, *, seed: int) -> None:
        """Nothing is carried until `start`."""
        self.ways, self.counts = ways(len(taps)), counts(len(taps))
        # Of each thread: whether it runs (0: stop), what never could be delivered, how late a frame was at most, and
        # when it last did not keep time (ns; 0: never).
        count = min(THREADS, max(1, len(os.sched_getaffinity(0)) // CORES_EACH))
        self.states = np.zeros((count, 4), np.int64)
        self.states[:, 0] = 1
        self._taps, self._seed = np.asarray(taps, np.int64), seed
        self._threads = [
            threading.Thread(target=self._carry, args=(row,), name="wire", daemon=True) for row in range(count)
        ]

    @property
    def undelivered(self) -> int:
        """The frames that nobody took at the other end."""
        return int(self.states[:, 1].sum())

    @property
    def late_ns(self) -> int:
        """How late a frame was at most."""
        return int(self.states[:, 2].max())

    @property
    def late_at_ns(self) -> int:
        """When a thread last did not keep time, by the monotonic clock; 0 where all always have."""
        return int(self.states[:, 3].max())

    def start(self) -> None:
        """Carry from now on."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Carry no more."""
        self.states[:, 0] = 0
        for thread in self._threads:
            thread.join()

    def _carry(self, row: int) -> None:
        prefer()
        with select.epoll() as listening:
            for tap in self._taps.reshape(-1, 2)[row :: len(self._threads)].ravel().tolist():
                listening.register(tap, select.EPOLLIN)
            flight = _Flight(
                due_ns=np.zeros(SLOTS, np.int64),
                slot=np.zeros(SLOTS, np.int64),
                free=np.arange(SLOTS, dtype=np.int64),
                frame=np.empty((SLOTS, SLOT_BYTES), np.uint8),
                length=np.zeros(SLOTS, np.int64),
                way=np.zeros(SLOTS, np.int64),
            )
            way_of = np.full(int(self._taps.max()) + 1, -1, np.int64)
            way_of[self._taps] = np.arange(len(self._taps))
            _carry(
                listening.fileno(),
                self._taps,
                way_of,
                self.ways,
                self.counts,
                flight,
                self.states[row],
                events(EVENTS),
                self._seed + row,
            )


@njit(cache=True)
def due_ns(now_ns: int, length: int, way: int, ways: Ways, free_ns: Array, last_ns: Array, counts: Counts) -> int:
    """When a frame that came in is due at the other end; -1 where it never is.

    `free_ns` is when each way's queue is empty, `last_ns` when the last frame of each is due: those that wait stay in
    order.
    """
    counts.taken[way] += 1
    if ways.cut[way] > 0.0 or (ways.loss_share[way] > 0.0 and np.random.random() < ways.loss_share[way]):
        counts.lost[way] += 1
        return -1
    if ways.error_share[way] > 0.0 and np.random.random() < ways.error_share[way]:
        counts.damaged[way] += 1
        return -1
    if ways.most_bytes[way] > 0.0 and length - ETHERNET_BYTES > ways.most_bytes[way]:
        counts.eaten[way] += 1
        return -1
    due = now_ns
    if ways.rate_bytes_per_s[way] > 0.0:
        begins = max(int(free_ns[way]), now_ns)
        if begins - now_ns > ways.queue_s[way] * NS_PER_S:
            counts.queued_out[way] += 1
            return -1
        due = begins + int(length / ways.rate_bytes_per_s[way] * NS_PER_S)
        free_ns[way] = due
    if ways.reorder_share[way] > 0.0 and np.random.random() < ways.reorder_share[way]:
        return due
    due += int(ways.delay_s[way] * NS_PER_S)
    if ways.jitter_s[way] > 0.0:
        due += int(np.random.random() * ways.jitter_s[way] * NS_PER_S)
    due = max(due, int(last_ns[way]) + 1)
    last_ns[way] = due
    return due


@njit(cache=True, nogil=True)
def _carry(
    epoll: int,
    taps: Array,
    way_of: Array,
    ways: Ways,
    counts: Counts,
    flight: _Flight,
    state: Array,
    happened: Array,
    seed: int,
) -> None:
    """Carry frames until `state[0]` is 0."""
    np.random.seed(seed)
    clock, sleep = np.zeros(2, np.int64), np.zeros(2, np.int64)
    free_ns, last_ns = np.zeros(len(taps), np.int64), np.zeros(len(taps), np.int64)
    size, free = 0, len(flight.free)
    while state[0]:
        now = now_ns(MONOTONIC, clock)
        nap = NAP_NS
        if size:
            nap = min(max(flight.due_ns[0] - now, 0), NAP_NS)
        sleep[1] = nap
        ready = wait(epoll, happened.ctypes.data, len(happened) // EVENT_WORDS, sleep.ctypes.data, 0)
        for event in range(ready):
            way = way_of[happened[EVENT_WORDS * event + EVENT_FD]]
            for _ in range(TURN):
                if not free:
                    # All slots are taken: what waits in the kernel's queue waits on.
                    break
                slot = flight.free[free - 1]
                length = read(taps[way], flight.frame[slot].ctypes.data, SLOT_BYTES)
                if length <= 0:
                    break
                now = now_ns(MONOTONIC, clock)
                due = due_ns(now, length, way, ways, free_ns, last_ns, counts)
                if due < 0:
                    continue
                flight.length[slot], flight.way[slot] = length, way
                # Whatever is due before goes before: it may be of the same way.
                if due <= now and not (size and flight.due_ns[0] <= due):
                    if write(taps[way ^ 1], flight.frame[slot].ctypes.data, length) == length:
                        counts.delivered[way] += 1
                    else:
                        state[1] += 1
                    continue
                free -= 1
                size = pushed(flight.due_ns, flight.slot, size, due, slot)
        now = now_ns(MONOTONIC, clock)
        while size and flight.due_ns[0] <= now:
            due, slot = flight.due_ns[0], flight.slot[0]
            size = popped(flight.due_ns, flight.slot, size)
            state[2] = max(state[2], now - due)
            if now - due > LATE_NS:
                state[3] = now
            way = flight.way[slot]
            if ways.cut[way] > 0.0:
                # What is on its way is lost with the line.
                counts.lost[way] += 1
            elif write(taps[way ^ 1], flight.frame[slot].ctypes.data, flight.length[slot]) == flight.length[slot]:
                counts.delivered[way] += 1
            else:
                state[1] += 1
            flight.free[free] = slot
            free += 1
