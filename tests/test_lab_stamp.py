"""Test packets against the figures of RFC 8762, written once more with `struct`.

Source: RFC 8762, sections 4.2.1 (packet of a sender), 4.3.1 (of a reflector), both unauthenticated.
"""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.lab.stamp import (
    ERROR_ESTIMATE,
    LEAST_BYTES,
    RECEIVED_AT,
    SENDER_AT,
    SENDER_SEQUENCE,
    SENT_AT,
    SEQUENCE,
    put,
    put_time,
    reflect,
    taken,
    time_ns,
    write_test,
)
from karez.twin.table import Array

# Sequence, timestamp (seconds, fraction), error estimate, then what must be zero (30 bytes).
OF_SENDER = struct.Struct(">IIIH30x")
# The same, 2 zero bytes, receive timestamp, what the sender wrote, 2 zero bytes, the sender's TTL, 3 zero bytes.
OF_REFLECTOR = struct.Struct(">IIIH2xIIIIIH2xB3x")
# From 1900 to 1970 there are 17 leap years. RFC 5905, figure 4, has the same number.
NTP_FROM_UNIX_S = (70 * 365 + 17) * 86_400
# NTP counts its seconds in 32 bits, which are full in 2036.
LAST_NS = (2**32 - NTP_FROM_UNIX_S) * 10**9 - 1

times_ns = st.integers(0, LAST_NS)
numbers = st.integers(0, 2**32 - 1)
# The first example may have to be compiled.
unhurried = settings(deadline=None)


def _ntp(unix_ns: int) -> tuple[int, int]:
    """Seconds and 2^32nds of a time, by whole numbers as long as they need to be."""
    seconds, rest_ns = divmod(unix_ns, 10**9)
    return seconds + NTP_FROM_UNIX_S, rest_ns * 2**32 // 10**9


def _packet(length: int = LEAST_BYTES) -> Array:
    """Room for a packet that something else has been in before."""
    return np.full(length, 0xEE, np.uint8)


def test_a_packet_has_the_least_length_of_the_standard() -> None:
    assert OF_SENDER.size == OF_REFLECTOR.size == LEAST_BYTES == 44


@unhurried
@given(numbers, times_ns)
def test_a_sender_s_packet_is_that_of_the_figure(sequence: int, sent_ns: int) -> None:
    packet = _packet(LEAST_BYTES + 8)
    write_test(packet, sequence, sent_ns)
    assert packet[:LEAST_BYTES].tobytes() == OF_SENDER.pack(sequence, *_ntp(sent_ns), ERROR_ESTIMATE)
    assert set(packet[LEAST_BYTES:]) == {0xEE}


@unhurried
@given(numbers, times_ns, numbers, times_ns, times_ns, st.integers(0, 255), st.integers(0, 2**16 - 1))
def test_a_reply_is_that_of_the_figure_and_holds_what_the_sender_wrote(
    sequence: int, sent_ns: int, own: int, received_ns: int, replied_ns: int, ttl: int, estimate: int
) -> None:
    packet = _packet(LEAST_BYTES + 8)
    write_test(packet, sequence, sent_ns)
    # A sender may have an error of its own, and not keep to what must be zero; a reflector does.
    put(packet, 12, 2, estimate)
    packet[14:LEAST_BYTES] = 0xEE
    reflect(packet, own, received_ns, replied_ns, ttl)
    assert packet[:LEAST_BYTES].tobytes() == OF_REFLECTOR.pack(
        own, *_ntp(replied_ns), ERROR_ESTIMATE, *_ntp(received_ns), sequence, *_ntp(sent_ns), estimate, ttl
    )
    assert set(packet[LEAST_BYTES:]) == {0xEE}


@unhurried
@given(numbers, times_ns, numbers, times_ns, times_ns)
def test_a_sender_reads_from_a_reply_when_each_of_the_four_things_happened(
    sequence: int, sent_ns: int, own: int, received_ns: int, replied_ns: int
) -> None:
    packet = _packet()
    write_test(packet, sequence, sent_ns)
    reflect(packet, own, received_ns, replied_ns, 255)
    assert taken(packet, SEQUENCE, 4) == own
    assert taken(packet, SENDER_SEQUENCE, 4) == sequence
    read = [time_ns(packet, at) for at in (SENDER_AT, RECEIVED_AT, SENT_AT)]
    assert np.abs(np.array(read) - [sent_ns, received_ns, replied_ns]).max() <= 1


@unhurried
@given(times_ns)
def test_a_time_that_was_written_is_read_to_the_nanosecond(unix_ns: int) -> None:
    packet = _packet()
    put_time(packet, SENT_AT, unix_ns)
    assert time_ns(packet, SENT_AT) == unix_ns


@unhurried
@given(times_ns, st.integers(0, 10**9))
def test_of_two_times_the_later_is_never_read_as_the_earlier(unix_ns: int, later_ns: int) -> None:
    one, other = _packet(), _packet()
    put_time(one, SENT_AT, unix_ns)
    put_time(other, SENT_AT, min(unix_ns + later_ns, LAST_NS))
    assert time_ns(one, SENT_AT) <= time_ns(other, SENT_AT)
    assert one[SENT_AT : SENT_AT + 8].tobytes() <= other[SENT_AT : SENT_AT + 8].tobytes()


@unhurried
@given(st.binary(min_size=LEAST_BYTES, max_size=LEAST_BYTES), st.integers(0, LEAST_BYTES - 8), st.integers(1, 7))
def test_numbers_are_read_big_endian_from_any_place(content: bytes, at: int, width: int) -> None:
    packet = np.frombuffer(content, np.uint8).copy()
    assert taken(packet, at, width) == int.from_bytes(content[at : at + width], "big")


@unhurried
@given(st.integers(0, LEAST_BYTES - 8), st.integers(1, 7), st.integers(0, 2**63 - 1))
def test_a_number_is_written_into_its_own_bytes_and_no_others(at: int, width: int, value: int) -> None:
    packet = _packet()
    put(packet, at, width, value)
    expected = bytearray(b"\xee" * LEAST_BYTES)
    expected[at : at + width] = (value % 256**width).to_bytes(width, "big")
    assert packet.tobytes() == bytes(expected)


def test_the_error_estimate_says_that_the_clock_is_synchronised_and_in_the_format_of_ntp() -> None:
    # RFC 8762, section 4.2.1: bit S, bit Z (0: NTP, 1: PTP), 6 bits of scale, 8 of multiplier, which is never 0.
    synchronised, ptp = ERROR_ESTIMATE >> 15, (ERROR_ESTIMATE >> 14) & 1
    scale, multiplier = (ERROR_ESTIMATE >> 8) & 0x3F, ERROR_ESTIMATE & 0xFF
    assert (synchronised, ptp) == (1, 0)
    assert 0.0 < multiplier * 2.0 ** (scale - 32) < 1e-6
