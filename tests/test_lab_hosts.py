"""Hosts: the count of packets against a slow reading of the same rules, and real packets over the loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.lab import hosts
from karez.lab.hosts import (
    LARGE_EVERY,
    PATIENCE_NS,
    RING,
    USER_PORT,
    Legs,
    Sending,
    Stream,
    legs,
    note_came,
    note_sent,
    nothing_sent,
    settle,
)
from karez.lab.spaces import SpaceError, entered, new_network

NS_PER_S = 10**9
NAMES = Legs._fields
COMES_S = 20.0
FAR = "10.98.0.1"


@dataclass
class Packet:
    """One that was sent."""

    at_ns: int
    large: bool
    came: bool = False
    settled: bool = False


@dataclass
class Leg:
    """What a leg comes to, with every packet remembered for ever."""

    packets: list[Packet] = field(default_factory=list)
    waited_for: list[Packet] = field(default_factory=list)
    last_ns: int = 0
    arrived: int = 0
    delay_ns: int = 0
    gap_ns: int = 0

    @property
    def told(self) -> dict[str, int]:
        settled = [[each for each in self.packets if each.settled and each.large == large] for large in (False, True)]
        lost = [sum(not each.came for each in some) for some in settled]
        return {
            "settled": len(settled[0]),
            "lost": lost[0],
            "settled_large": len(settled[1]),
            "lost_large": lost[1],
            "arrived": self.arrived,
            "delay_ns": self.delay_ns,
            "gap_ns": self.gap_ns,
        }

    def settle(self, now_ns: int) -> None:
        for place, packet in enumerate(self.waited_for):
            # The oldest has to go where the next would have no place.
            one_too_many = len(self.waited_for) - place >= RING
            packet.settled = one_too_many or now_ns - packet.at_ns >= PATIENCE_NS
        self.waited_for = [packet for packet in self.waited_for if not packet.settled]

    def send(self, now_ns: int, large: bool) -> int:
        self.settle(now_ns)
        self.packets.append(Packet(now_ns, large))
        self.waited_for.append(self.packets[-1])
        return len(self.packets) - 1

    def come(self, number: int, sent_ns: int, came_ns: int) -> None:
        if not 0 <= number < len(self.packets):
            return
        packet = self.packets[number]
        if packet.settled or packet.came:
            return
        packet.came = True
        if not packet.large:
            self.arrived += 1
            self.delay_ns += came_ns - sent_ns
        if self.last_ns:
            self.gap_ns = max(self.gap_ns, sent_ns - self.last_ns)
        self.last_ns = max(self.last_ns, sent_ns)


class Both:
    """The count and its slow reading, told the same; leg 1 of two streams, the others are left alone."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000 * NS_PER_S
        self.legs, self.sent, self.slow = legs(2), nothing_sent(2), Leg()

    def wait(self, for_ns: int) -> None:
        self.now_ns += for_ns

    def send(self, count: int, large_every: int = LARGE_EVERY) -> None:
        for _ in range(count):
            large = len(self.slow.packets) % large_every == large_every - 1
            assert note_sent(1, large, self.now_ns, self.sent, self.legs) == self.slow.send(self.now_ns, large)

    def settle(self) -> None:
        settle(1, self.now_ns, self.sent, self.legs)
        self.slow.settle(self.now_ns)

    def come(self, number: int, *, clock_ns: int = 0) -> None:
        """A packet comes now, its sender's clock being wrong by so much."""
        at_ns = self.slow.packets[number].at_ns if 0 <= number < len(self.slow.packets) else self.now_ns
        note_came(1, number, at_ns + clock_ns, self.now_ns, self.sent, self.legs)
        self.slow.come(number, at_ns + clock_ns, self.now_ns)

    @property
    def told(self) -> dict[str, int]:
        return {name: int(getattr(self.legs, name)[1]) for name in NAMES}

    def agree(self) -> bool:
        assert all(getattr(self.legs, name)[[0, 2, 3]].tolist() == [0, 0, 0] for name in NAMES)
        return self.told == self.slow.told


# What happens: so many are sent; so much time passes; one that was sent (counted back from the last) comes.
few = st.tuples(st.just("send"), st.integers(1, 8))
many = st.tuples(st.just("send"), st.sampled_from((RING - 1, RING, RING + 3)))
waits = st.tuples(st.just("wait"), st.integers(0, 10**7) | st.sampled_from((PATIENCE_NS - 1, PATIENCE_NS, 1)))
comes = st.tuples(st.just("come"), st.integers(-2, 12) | st.integers(RING - 3, RING + 3))
settles = st.tuples(st.just("settle"), st.just(0))
clocks_ns = st.sampled_from((0, 0, 5 * 10**6, -(10**9), 3))


def _played(steps: Sequence[tuple[str, int]], clock_ns: int = 0) -> Both:
    both = Both()
    for step, value in steps:
        if step == "come":
            both.come(len(both.slow.packets) - 1 - value, clock_ns=clock_ns)
        elif step == "send":
            both.send(value)
        elif step == "wait":
            both.wait(value)
        else:
            both.settle()
            assert both.agree()
    return both


@settings(deadline=None)
@given(st.lists(few | waits | comes | comes | settles, max_size=60), clocks_ns)
def test_packets_are_counted_as_a_slow_reading_counts_them(steps: list[tuple[str, int]], clock_ns: int) -> None:
    both = _played(steps, clock_ns)
    both.settle()
    assert both.agree()


@settings(deadline=None, max_examples=20)
@given(st.lists(few | many | waits | comes | comes | settles, max_size=20), clocks_ns)
def test_so_they_are_where_more_are_on_their_way_than_are_remembered(
    steps: list[tuple[str, int]], clock_ns: int
) -> None:
    both = _played(steps, clock_ns)
    both.settle()
    assert both.agree()


@settings(deadline=None)
@given(st.lists(few | waits | comes | comes | settles, max_size=60))
def test_once_all_is_settled_every_packet_was_counted_once(steps: list[tuple[str, int]]) -> None:
    both = _played(steps)
    both.wait(PATIENCE_NS)
    both.settle()
    told = both.told
    assert told["settled"] + told["settled_large"] == len(both.slow.packets)
    assert told["settled"] == told["lost"] + told["arrived"]
    came = sum(packet.came for packet in both.slow.packets)
    assert told["lost"] + told["lost_large"] + came == len(both.slow.packets)


def test_a_packet_that_comes_after_it_was_given_up_stays_lost() -> None:
    both = Both()
    both.send(1)
    both.wait(PATIENCE_NS - 1)
    both.settle()
    assert both.told["settled"] == 0
    both.wait(1)
    both.settle()
    both.come(0)
    assert (both.told["settled"], both.told["lost"], both.told["arrived"]) == (1, 1, 0)


def test_a_packet_that_comes_twice_is_counted_once() -> None:
    both = Both()
    both.send(1)
    both.wait(10**6)
    both.come(0)
    told = both.told
    both.wait(10**6)
    both.come(0)
    assert both.told == told
    assert (told["arrived"], told["delay_ns"]) == (1, 10**6)


def test_the_oldest_packet_is_given_up_when_one_too_many_is_on_its_way() -> None:
    both = Both()
    both.send(RING)
    assert both.told["settled"] == 0
    both.send(1)
    both.come(0)
    both.come(1)
    assert (both.told["settled"], both.told["lost"], both.told["arrived"]) == (1, 1, 1)


def test_a_packet_is_not_taken_for_the_one_that_had_its_place_before() -> None:
    both = Both()
    for number in range(3 * RING):
        both.send(1)
        # Those that come in one round are lost in the next.
        if (number + number // RING) % 2:
            both.come(number)
        both.wait(PATIENCE_NS)
    both.settle()
    assert both.agree()


def test_a_gap_is_the_longest_time_between_the_senders_of_two_that_came_and_may_be_begun_anew() -> None:
    both = Both()
    for gap_ms in (5, 40, 10):
        both.send(1)
        both.come(len(both.slow.packets) - 1)
        both.wait(gap_ms * 10**6)
    both.send(1)
    # The last is lost, so that 10 ms more have passed when the next comes.
    assert both.told["gap_ns"] == 40 * 10**6
    both.legs.gap_ns[1] = 0
    both.wait(7 * 10**6)
    both.send(1)
    both.come(4)
    assert both.told["gap_ns"] == 17 * 10**6
    # One that was overtaken leaves no gap.
    both.come(3)
    assert both.told["gap_ns"] == 17 * 10**6
    # Nor is it what the next gap is counted from.
    both.wait(14 * 10**6)
    both.send(1)
    both.come(5)
    assert both.told["gap_ns"] == 17 * 10**6


@pytest.fixture
def here() -> Iterator[int]:
    """The network that this test is in, as hosts are told theirs."""
    network = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        with entered(network):
            pass
        yield network
    except SpaceError as error:
        pytest.skip(f"needs root: {error}")
    finally:
        os.close(network)


# Two hosts that have a network in common: that of this machine to itself.
A, B = "127.0.0.81", "127.0.0.82"
TEST = Stream(hosts=(0, 1), addresses=(A, B), per_s=500.0, test=True)
USERS = Stream(hosts=(1, 0), addresses=(B, A), per_s=500.0, test=False)


@contextmanager
def _sending(
    here: int, streams: Sequence[Stream], prepare: Callable[[Sending], None] = lambda _: None
) -> Iterator[Sending]:
    made = Sending(streams, [here, here])
    prepare(made)
    made.start()
    try:
        yield made
    finally:
        if made.state[0]:
            made.stop()


def _until(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + COMES_S
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def _settled(sending: Sending, leg: int, count: int = 30) -> dict[str, int]:
    """What a leg came to once the fate of so many small packets is known."""
    _until(lambda: bool(sending.legs.settled[leg] >= count))
    return {name: int(getattr(sending.legs, name)[leg]) for name in NAMES}


def _mean_ms(told: dict[str, int]) -> float:
    return told["delay_ns"] / told["arrived"] / 1e6


@pytest.mark.lab
def test_tests_are_answered_and_the_users_packets_come_and_none_is_lost(here: int) -> None:
    with _sending(here, [TEST, USERS]) as sending:
        for leg in (0, 1, 2):
            told = _settled(sending, leg)
            assert (told["lost"], told["lost_large"]) == (0, 0)
            assert 0.0 < _mean_ms(told) < PATIENCE_NS / 1e6
            assert told["settled_large"] == pytest.approx(told["settled"] / (LARGE_EVERY - 1), abs=2.0)
        assert sending.legs.settled[3] == 0


def _sent(sending: Sending, leg: int) -> int:
    return int(sending.legs.settled[leg] + sending.legs.settled_large[leg])


@pytest.mark.lab
def test_as_many_are_sent_as_were_asked_for_and_a_stream_that_rests_can_be_woken(here: int) -> None:
    resting = Stream(hosts=(0, 1), addresses=(A, B), per_s=0.0, test=False)
    with _sending(here, [USERS, resting]) as sending:
        _settled(sending, 0)
        assert _sent(sending, 2) == 0
        sending.every_ns[1] = NS_PER_S // 200
        _settled(sending, 2)
        began_s, before = time.monotonic(), [_sent(sending, leg) for leg in (0, 2)]
        time.sleep(0.5)
        took_s, after = time.monotonic() - began_s, [_sent(sending, leg) for leg in (0, 2)]
    for count, per_s in zip(np.subtract(after, before).tolist(), (500.0, 200.0), strict=True):
        # A thread that was held up sends late, and then what it owes.
        assert count == pytest.approx(per_s * took_s, abs=0.06 * per_s)


@pytest.mark.lab
def test_a_mute_host_answers_no_test_and_still_takes_what_users_send(here: int) -> None:
    def mute(sending: Sending) -> None:
        sending.hosts.mute[1] = 1.0

    towards = Stream(hosts=(0, 1), addresses=(A, B), per_s=500.0, test=False)
    with _sending(here, [TEST, towards], mute) as sending:
        told = _settled(sending, 0)
        assert told["lost"] == told["settled"]
        assert sending.legs.settled[1] == sending.legs.arrived[1] == 0
        assert _settled(sending, 2)["lost"] == 0


@pytest.mark.lab
def test_a_host_that_falls_mute_keeps_nobody_else_from_sending(here: int) -> None:
    towards = Stream(hosts=(0, 1), addresses=(A, B), per_s=500.0, test=False)
    with _sending(here, [TEST, towards]) as sending:
        _settled(sending, 0)
        sending.hosts.mute[0] = 1.0
        before, began_s = _sent(sending, 2), time.monotonic()
        time.sleep(0.5)
        sent, took_s = _sent(sending, 2) - before, time.monotonic() - began_s
        tests = _sent(sending, 0)
        time.sleep(0.2)
        assert _sent(sending, 0) == tests
        sending.hosts.mute[0] = 0.0
        _settled(sending, 0, tests + 10)
    assert sent == pytest.approx(500.0 * took_s, abs=30.0)


@pytest.mark.lab
def test_a_clock_that_is_wrong_shortens_one_leg_by_what_it_lengthens_the_other(here: int) -> None:
    def wrong(sending: Sending) -> None:
        sending.hosts.clock_ns[1] = 0.3 * NS_PER_S

    with _sending(here, [TEST], wrong) as sending:
        there, back = (_settled(sending, leg) for leg in (0, 1))
        assert (there["lost"], back["lost"]) == (0, 0)
        assert 300.0 < _mean_ms(there) < 300.0 + PATIENCE_NS / 1e6
        assert -300.0 < _mean_ms(back) < PATIENCE_NS / 1e6 - 300.0


@pytest.mark.lab
def test_a_host_that_is_slow_delays_and_loses_tests_but_not_what_users_send(here: int) -> None:
    def slow(sending: Sending) -> None:
        sending.hosts.slow_ns[1], sending.hosts.slow_loss[1] = 0.02 * NS_PER_S, 0.5

    towards = Stream(hosts=(0, 1), addresses=(A, B), per_s=500.0, test=False)
    with _sending(here, [TEST, towards], slow) as sending:
        told, users = _settled(sending, 0, 200), _settled(sending, 2)
        assert _mean_ms(told) > 20.0
        # Half of 200, within five times the standard deviation.
        assert abs(told["lost"] / told["settled"] - 0.5) < 5.0 * 0.5 / np.sqrt(told["settled"])
        assert users["lost"] == 0


@pytest.mark.lab
def test_packets_that_nobody_sent_are_taken_for_none_of_ours(here: int) -> None:
    random = np.random.default_rng(1)
    with _sending(here, [USERS]) as sending, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for length in (0, 1, 43, 44, 1_500, 4_000):
            # The number is far from any that were sent.
            stranger.sendto(b"\xff" * min(length, 4) + random.bytes(max(length - 4, 0)), (A, USER_PORT))
        told = _settled(sending, 0)
        assert told["lost"] == 0
        assert 0.0 < _mean_ms(told) < PATIENCE_NS / 1e6


@pytest.mark.lab
def test_hosts_that_were_stopped_leave_no_thread_and_no_descriptor(here: int) -> None:
    open_before, threads_before = len(os.listdir("/proc/self/fd")), threading.active_count()
    with _sending(here, [TEST, USERS]) as sending:
        _settled(sending, 0, 1)
        sending.stop()
        assert threading.active_count() == threads_before
        assert len(os.listdir("/proc/self/fd")) == open_before


def _lay(network: int) -> None:
    """Lay the way to an address."""
    with entered(network):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "route", "add", f"{FAR}/32", "dev", "lo"], check=True)


@pytest.mark.parametrize("comes", [True, False])
def test_a_way_that_comes_a_moment_later_is_waited_for_and_none_that_never_does(here: int, comes: bool) -> None:
    del here
    network = new_network()
    with entered(network):
        source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    later = threading.Timer(0.3, _lay, [network])
    try:
        if comes:
            later.start()
        with source, nullcontext() if comes else pytest.raises(OSError, match="unreachable"):
            hosts._connect(source, (FAR, 9), time.monotonic() + (COMES_S if comes else 0.1))
    finally:
        if comes:
            later.join()
        os.close(network)
