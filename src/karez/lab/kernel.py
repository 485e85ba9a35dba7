"""Calls of the C library from compiled threads: what the wire and the hosts share.

Symbols are named, not addressed, so that compiled code can be kept.
"""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np
from numba import njit, types

from karez.twin.table import Array

# An event of epoll: how many words of four bytes it has, and which of them is the descriptor. x86-64 packs it.
EVENT_WORDS, EVENT_FD = (3, 1) if platform.machine() == "x86_64" else (4, 2)
REALTIME, MONOTONIC = 0, 1
NS_PER_S = 1_000_000_000
PRIORITY = 10
# A thread that is so late did not keep time: the machine was busy, or stood still (ns). Less moves the mean of ten
# probes by no more than a test of delays bears. Left alone, a lab of ten routers is not so late once in 35 s; beside
# two busy processes on two cores it is in one turn of sixty.
LATE_NS = 2_000_000

read: Any = types.ExternalFunction("read", types.intp(types.intc, types.uintp, types.uintp))
write: Any = types.ExternalFunction("write", types.intp(types.intc, types.uintp, types.uintp))
send: Any = types.ExternalFunction("send", types.intp(types.intc, types.uintp, types.uintp, types.intc))
send_message: Any = types.ExternalFunction("sendmsg", types.intp(types.intc, types.uintp, types.intc))
receive_message: Any = types.ExternalFunction("recvmsg", types.intp(types.intc, types.uintp, types.intc))
wait: Any = types.ExternalFunction(
    "epoll_pwait2", types.intc(types.intc, types.uintp, types.intc, types.uintp, types.uintp)
)
_clock: Any = types.ExternalFunction("clock_gettime", types.intc(types.intc, types.uintp))


def prefer() -> bool:
    """Let this thread run before all that have no priority; whether the machine allows it."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        return False
    return True


@njit(cache=True)
def now_ns(which: int, room: Array) -> int:
    """The time of a clock; `room` (2, int64) is written over."""
    _clock(which, room.ctypes.data)
    return int(room[0] * NS_PER_S + room[1])


def events(count: int) -> Array:
    """Room for so many events of epoll."""
    return np.zeros(EVENT_WORDS * count, np.int32)
