"""Test packets as RFC 8762 (STAMP, unauthenticated) lays them out: written and read in the threads that send them.

All numbers are big-endian. Times are of NTP: seconds since 1900 and their 2^32nds.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from karez.twin.table import Array

# Where things are in a packet of a sender and of a reflector (bytes from its start), and how long it is at least.
SEQUENCE, SENT_AT, ERROR = 0, 4, 12
RECEIVED_AT, SENDER_SEQUENCE, SENDER_AT, SENDER_ERROR, SENDER_TTL = 16, 24, 28, 36, 40
LEAST_BYTES = 44
PORT = 862
# The clock is synchronised (S), and its error at most multiplier x 2^(scale - 32) s, here 1 x 2^(10 - 32) s.
ERROR_ESTIMATE = 0x8A01
NTP_S = 2_208_988_800
NS_PER_S = 1_000_000_000


@njit(cache=True)
def put(packet: Array, at: int, width: int, value: int) -> None:
    """Write a number of so many bytes."""
    for byte in range(width):
        packet[at + byte] = (value >> (8 * (width - 1 - byte))) & 0xFF


@njit(cache=True)
def taken(packet: Array, at: int, width: int) -> int:
    """Read a number of so many bytes."""
    value = np.int64(0)
    for byte in range(width):
        value = (value << 8) | np.int64(packet[at + byte])
    return int(value)


@njit(cache=True)
def put_time(packet: Array, at: int, unix_ns: int) -> None:
    """Write a time."""
    put(packet, at, 4, unix_ns // NS_PER_S + NTP_S)
    put(packet, at + 4, 4, ((unix_ns % NS_PER_S) << 32) // NS_PER_S)


@njit(cache=True)
def time_ns(packet: Array, at: int) -> int:
    """Read a time (Unix, ns), to the nearest that it may have been written for."""
    fraction = taken(packet, at + 4, 4)
    return (taken(packet, at, 4) - NTP_S) * NS_PER_S + ((fraction * NS_PER_S + (1 << 31)) >> 32)


@njit(cache=True)
def write_test(packet: Array, sequence: int, unix_ns: int) -> None:
    """Make a packet of a sender; what follows its header stays as it is."""
    packet[:LEAST_BYTES] = 0
    put(packet, SEQUENCE, 4, sequence)
    put_time(packet, SENT_AT, unix_ns)
    put(packet, ERROR, 2, ERROR_ESTIMATE)


@njit(cache=True)
def reflect(packet: Array, sequence: int, received_ns: int, sent_ns: int, ttl: int) -> None:
    """Make the reply to a sender's packet out of it; `sequence` is the reflector's own (stateful)."""
    for byte in range(14):
        packet[SENDER_SEQUENCE + byte] = packet[byte]
    put(packet, SEQUENCE, 4, sequence)
    put_time(packet, SENT_AT, sent_ns)
    put(packet, ERROR, 2, ERROR_ESTIMATE)
    put(packet, ERROR + 2, 2, 0)
    put_time(packet, RECEIVED_AT, received_ns)
    put(packet, SENDER_ERROR + 2, 2, 0)
    packet[SENDER_TTL] = ttl
    packet[SENDER_TTL + 1 : LEAST_BYTES] = 0
