"""Hosts beside the routers: they test every link (STAMP, RFC 8762), and send the users' traffic from end to end.

A stream is a sender, and a receiver somewhere else. A test is answered, so it has two legs, there and back; the users'
traffic has one. One thread sends and receives for all hosts, stamps what it sends, and lets the kernel stamp what
arrives. What every leg came to is a row of `Legs`, which others read while it runs.
"""

from __future__ import annotations

import errno
import select
import socket
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numba import njit

from karez.lab.kernel import (
    EVENT_FD,
    EVENT_WORDS,
    LATE_NS,
    MONOTONIC,
    NS_PER_S,
    REALTIME,
    events,
    now_ns,
    prefer,
    receive_message,
    send,
    send_message,
    wait,
)
from karez.lab.spaces import entered
from karez.lab.stamp import LEAST_BYTES, PORT, SENT_AT, SEQUENCE, reflect, taken, time_ns, write_test
from karez.twin.heap import popped, pushed
from karez.twin.table import Array

# What a packet holds besides IP and UDP headers (bytes), and every how many is a large one.
SMALL_BYTES, LARGE_BYTES, LARGE_EVERY = LEAST_BYTES, 1_400, 4
# Packets that are so late are lost (ns), and as many of a leg as this at least are remembered until they are settled.
PATIENCE_NS, RING = 150_000_000, 512
NAP_NS, BEHIND_NS = 100_000_000, 50_000_000
# What is due so soon is sent now (ns): to wake up costs more than to send.
SOON_NS = 500_000
USER_PORT = 20_000
TURN, EVENTS = 32, 256
ROOM_BYTES = 2_048
REFLECTS, HEARS, SINKS = 0, 1, 2
# Options that Python has no names for: stamps of the kernel, and packets that nobody on the way may split.
SO_TIMESTAMPNS, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 35, 10, 3
DONT_WAIT = 0x40
BUFFER_BYTES = 1 << 20
# For so long ways may be missing that hosts were told of: routing looks for others (s).
WAYLESS_S, LOOKS_AGAIN_S = 10.0, 0.02
NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH)


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """Packets from a host to another: rows of their routers, their addresses, how many a second, whether a test."""

    hosts: tuple[int, int]
    addresses: tuple[str, str]
    per_s: float
    test: bool


class Legs(NamedTuple):
    """What the legs of stream s (2 s: there, 2 s + 1: back) came to, counting up.

    `settled` and `lost` are of small packets whose fate is known, `settled_large` and `lost_large` of large ones;
    `arrived` and `delay_ns` (summed, by the clocks of the hosts) of all small ones that came. `gap_ns` is the longest
    time between the sending of two that came one after the other, and may be set to 0.
    """

    settled: Array
    lost: Array
    settled_large: Array
    lost_large: Array
    arrived: Array
    delay_ns: Array
    gap_ns: Array


class Hosts(NamedTuple):
    """How the host at each router is, writable: whether it tests nothing, how its clock is wrong, how late it is."""

    mute: Array
    clock_ns: Array
    slow_ns: Array
    slow_loss: Array


class Sent(NamedTuple):
    """Of each leg: the packets last sent (when, whether large, whether they came), from `first` to before `after`."""

    at_ns: Array
    large: Array
    came: Array
    first: Array
    after: Array
    last_ns: Array


class _Ends(NamedTuple):
    """Of streams: descriptors, senders and receivers, time between packets (ns); of descriptors: what each is."""

    sends: Array
    sender: Array
    receiver: Array
    test: Array
    every_ns: Array
    stream_of: Array
    role_of: Array


def legs(streams: int) -> Legs:
    """Nothing came of so many streams yet."""
    return Legs(*(np.zeros(2 * streams, np.int64) for _ in Legs._fields))


def most_per_s(ring: int) -> float:
    """The highest rate at which no packet is given up before its time, where so many are remembered."""
    return ring * NS_PER_S / (2.0 * PATIENCE_NS)


def nothing_sent(streams: int, *, ring: int = RING) -> Sent:
    """No packet is on its way, of so many streams; so many of each leg are remembered."""
    count = 2 * streams
    return Sent(
        at_ns=np.zeros((count, ring), np.int64),
        large=np.zeros((count, ring), np.bool_),
        came=np.zeros((count, ring), np.bool_),
        first=np.zeros(count, np.int64),
        after=np.zeros(count, np.int64),
        last_ns=np.zeros(count, np.int64),
    )


class Sending:
    """The thread that sends and receives for the hosts at so many routers."""

    def __init__(self, streams: Sequence[Stream], networks: Sequence[int]) -> None:
        """Open the sockets of all streams in the networks of their hosts; nothing is sent until `start`."""
        self.legs = legs(len(streams))
        self.hosts = Hosts(*(np.zeros(len(networks)) for _ in Hosts._fields))
        # What runs (0: stop), how late a packet was sent at most, and when the thread last did not keep time (ns; 0:
        # never).
        self.state = np.array([1, 0, 0], np.int64)
        self.every_ns = np.array([NS_PER_S / stream.per_s if stream.per_s else 0 for stream in streams], np.int64)
        self.ring = RING
        while most_per_s(self.ring) < max((stream.per_s for stream in streams), default=0.0):
            self.ring *= 2
        self._sockets: list[socket.socket] = []
        self._ends = self._opened(streams, networks)
        self._thread = threading.Thread(target=self._run, name="hosts", daemon=True)

    def start(self) -> None:
        """Send from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self.state[0] = 0
        self._thread.join()
        for each in self._sockets:
            each.close()

    def _opened(self, streams: Sequence[Stream], networks: Sequence[int]) -> _Ends:
        sends, roles, until_s = np.zeros(len(streams), np.int64), [], time.monotonic() + WAYLESS_S
        for row, stream in enumerate(streams):
            port = PORT if stream.test else USER_PORT + row
            with entered(networks[stream.hosts[1]]):
                sink = self._socket(stream.addresses[1], port, test=stream.test)
            with entered(networks[stream.hosts[0]]):
                source = self._socket(stream.addresses[0], 0, test=stream.test)
                _connect(source, (stream.addresses[1], port), until_s)
            sends[row] = source.fileno()
            roles.append((sink.fileno(), row, REFLECTS if stream.test else SINKS))
            roles.append((source.fileno(), row, HEARS))
        most = max((fd for fd, _, _ in roles), default=0)
        stream_of, role_of = np.zeros(most + 1, np.int64), np.zeros(most + 1, np.int64)
        for fd, row, role in roles:
            stream_of[fd], role_of[fd] = row, role
        return _Ends(
            sends=sends,
            sender=np.array([stream.hosts[0] for stream in streams], np.int64),
            receiver=np.array([stream.hosts[1] for stream in streams], np.int64),
            test=np.array([stream.test for stream in streams], np.bool_),
            every_ns=self.every_ns,
            stream_of=stream_of,
            role_of=role_of,
        )

    def _socket(self, address: str, port: int, *, test: bool) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        if test:
            # A test that was led around its link is none of it.
            made.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        made.bind((address, port))
        made.setblocking(False)
        self._sockets.append(made)
        return made

    def _run(self) -> None:
        prefer()
        sent = nothing_sent(len(self.every_ns), ring=self.ring)
        with select.epoll() as listening:
            for each in self._sockets:
                listening.register(each.fileno(), select.EPOLLIN)
            _send(listening.fileno(), self._ends, self.legs, self.hosts, sent, self.state, events(EVENTS))


def _connect(source: socket.socket, to: tuple[str, int], until_s: float) -> None:
    """Connect to an address that routing knew a moment ago, and may be about to know again.

    Raises:
        OSError: no way there is found until then (seconds of the monotonic clock).
    """
    while True:
        try:
            source.connect(to)
        except OSError as error:
            if error.errno not in NO_WAY or time.monotonic() > until_s:
                raise
            time.sleep(LOOKS_AGAIN_S)
        else:
            return


@njit(cache=True)
def settle(leg: int, now: int, sent: Sent, legs: Legs) -> None:
    """Count the packets of a leg whose time is over."""
    ring = sent.at_ns.shape[1]
    while sent.first[leg] < sent.after[leg]:
        place = sent.first[leg] % ring
        full = sent.after[leg] - sent.first[leg] >= ring
        if now - sent.at_ns[leg, place] < PATIENCE_NS and not full:
            return
        lost = 0 if sent.came[leg, place] else 1
        if sent.large[leg, place]:
            legs.settled_large[leg] += 1
            legs.lost_large[leg] += lost
        else:
            legs.settled[leg] += 1
            legs.lost[leg] += lost
        sent.first[leg] += 1


@njit(cache=True)
def note_sent(leg: int, large: bool, now: int, sent: Sent, legs: Legs) -> int:
    """The number of the packet that is sent on a leg now."""
    settle(leg, now, sent, legs)
    number = sent.after[leg]
    place = number % sent.at_ns.shape[1]
    sent.at_ns[leg, place], sent.large[leg, place], sent.came[leg, place] = now, large, False
    sent.after[leg] += 1
    return int(number)


@njit(cache=True)
def note_came(leg: int, number: int, sent_ns: int, came_ns: int, sent: Sent, legs: Legs) -> None:
    """Take in that a packet of a leg arrived, unless it is known to be lost."""
    if number < sent.first[leg] or number >= sent.after[leg]:
        return
    place = number % sent.at_ns.shape[1]
    if sent.came[leg, place]:
        return
    sent.came[leg, place] = True
    if not sent.large[leg, place]:
        legs.arrived[leg] += 1
        legs.delay_ns[leg] += came_ns - sent_ns
    at_ns = sent.at_ns[leg, place]
    if sent.last_ns[leg] > 0:
        legs.gap_ns[leg] = max(legs.gap_ns[leg], at_ns - sent.last_ns[leg])
    sent.last_ns[leg] = max(sent.last_ns[leg], at_ns)


@njit(cache=True, nogil=True)
def _send(epoll: int, ends: _Ends, legs: Legs, hosts: Hosts, sent: Sent, state: Array, happened: Array) -> None:
    """Send and receive until `state[0]` is 0."""
    clock, sleep = np.zeros(2, np.int64), np.zeros(2, np.int64)
    packet, name, control = np.zeros(ROOM_BYTES, np.uint8), np.zeros(32, np.uint8), np.zeros(8, np.int64)
    base = np.array([packet.ctypes.data, ROOM_BYTES], np.int64)
    # struct msghdr: name, its length, vectors, how many, control, its length, flags.
    message = np.zeros(7, np.int64)
    count = len(ends.sends)
    due_ns, which, size = np.zeros(count, np.int64), np.zeros(count, np.int64), 0
    # When each stream would have sent last: the next is due by what its rate is then.
    last_ns, rests = np.zeros(count, np.int64), np.zeros(count, np.bool_)
    now = now_ns(MONOTONIC, clock)
    for stream in range(count):
        # Evenly, so that no two begin together.
        begins = now + ends.every_ns[stream] * stream // count
        last_ns[stream] = begins - ends.every_ns[stream]
        size = pushed(due_ns, which, size, min(begins, now + NAP_NS), stream)
    while state[0]:
        now = now_ns(MONOTONIC, clock)
        sleep[1] = min(max(due_ns[0] - now, 0), NAP_NS) if size else NAP_NS
        ready = wait(epoll, happened.ctypes.data, len(happened) // EVENT_WORDS, sleep.ctypes.data, 0)
        for event in range(ready):
            fd = happened[EVENT_WORDS * event + EVENT_FD]
            for _ in range(TURN):
                message[0], message[1], message[2], message[3] = name.ctypes.data, 16, base.ctypes.data, 1
                message[4], message[5], message[6] = control.ctypes.data, 64, 0
                base[1] = ROOM_BYTES
                length = receive_message(fd, message.ctypes.data, DONT_WAIT)
                if length < 0:
                    break
                came_ns = control[2] * NS_PER_S + control[3] if message[5] >= 32 else now_ns(REALTIME, clock)
                if length >= LEAST_BYTES:
                    _arrived(fd, length, came_ns, ends, legs, hosts, sent, packet, base, message, clock)
        now = now_ns(MONOTONIC, clock)
        while size and due_ns[0] <= now + SOON_NS:
            stream = which[0]
            if now - due_ns[0] > LATE_NS:
                state[2] = now
            size = popped(due_ns, which, size)
            every, unix_ns = ends.every_ns[stream], now_ns(REALTIME, clock)
            settle(2 * stream, unix_ns, sent, legs)
            settle(2 * stream + 1, unix_ns, sent, legs)
            if not every or (ends.test[stream] and hosts.mute[ends.sender[stream]] > 0.0):
                last_ns[stream], rests[stream] = now, True
            elif last_ns[stream] + every <= now + SOON_NS:
                late = now - last_ns[stream] - every
                if not rests[stream]:
                    state[1] = max(state[1], late)
                rests[stream] = False
                last_ns[stream] = now if late > BEHIND_NS else now - late
                _sent(stream, ends, legs, hosts, sent, packet, clock)
            following = last_ns[stream] + every if every else now + NAP_NS
            size = pushed(due_ns, which, size, min(following, now + NAP_NS), stream)


@njit(cache=True)
def _sent(stream: int, ends: _Ends, legs: Legs, hosts: Hosts, sent: Sent, packet: Array, clock: Array) -> None:
    """Send the next packet of a stream."""
    leg = 2 * stream
    large = sent.after[leg] % LARGE_EVERY == LARGE_EVERY - 1
    now = now_ns(REALTIME, clock)
    number = note_sent(leg, large, now, sent, legs)
    write_test(packet, number, now + int(hosts.clock_ns[ends.sender[stream]]))
    send(ends.sends[stream], packet.ctypes.data, LARGE_BYTES if large else SMALL_BYTES, DONT_WAIT)


@njit(cache=True)
def _arrived(
    fd: int,
    length: int,
    came_ns: int,
    ends: _Ends,
    legs: Legs,
    hosts: Hosts,
    sent: Sent,
    packet: Array,
    base: Array,
    message: Array,
    clock: Array,
) -> None:
    """Take in a packet, and answer a test."""
    stream, role = ends.stream_of[fd], ends.role_of[fd]
    host = ends.sender[stream] if role == HEARS else ends.receiver[stream]
    if role != SINKS:
        if hosts.mute[host] > 0.0 or (hosts.slow_loss[host] > 0.0 and np.random.random() < hosts.slow_loss[host]):
            return
        came_ns += int(hosts.slow_ns[host])
    came_ns += int(hosts.clock_ns[host])
    leg = 2 * stream + (role == HEARS)
    number, sent_ns = taken(packet, SEQUENCE, 4), time_ns(packet, SENT_AT)
    note_came(leg, number, sent_ns, came_ns, sent, legs)
    if role == REFLECTS:
        now = now_ns(REALTIME, clock)
        own = note_sent(leg + 1, length > SMALL_BYTES, now, sent, legs)
        reflect(packet, own, came_ns, now + int(hosts.clock_ns[host]), 1)
        base[1], message[4], message[5], message[6] = length, 0, 0, 0
        send_message(fd, message.ctypes.data, DONT_WAIT)
