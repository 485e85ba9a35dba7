"""The wire: what it does to frames by its arithmetic, and what comes out of the thread that carries real ones."""

from __future__ import annotations

import heapq
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from karez.lab import wire
from karez.lab.wire import ETHERNET_BYTES, Counts, Ways, Wire, counts, due_ns, ways
from karez.twin.heap import popped, pushed
from karez.twin.table import Array

NS_PER_S = 10**9
SOME, OTHER = 0, 1
# How long the wire may take to be compiled, and a frame to come (s).
COMPILES_S, COMES_S = 120.0, 5.0
# More lines than the wire has threads.
LINES = 5
# How late a frame may be where nothing else is to be done (s).
LATE_S = 2e-3
unhurried = settings(deadline=None)


class Frame(NamedTuple):
    """A frame that comes so long after the one before (ns), of so many bytes."""

    after_ns: int
    length: int


class Met(NamedTuple):
    """When frames came in and when they are due, -1 where never; and what was counted."""

    came_ns: Array
    due_ns: Array
    counts: Counts

    @property
    def arrived(self) -> Array:
        return self.due_ns >= 0


frames = st.lists(st.builds(Frame, st.integers(0, 10**8), st.integers(14, 9_018)), min_size=1, max_size=60)
bursts = st.lists(st.builds(Frame, st.integers(0, 10**6), st.integers(14, 9_018)), min_size=1, max_size=60)
shares = st.sampled_from((0.0, 0.3, 1.0))
delays_s = st.sampled_from((0.0, 1e-6, 0.003, 0.5))
rates = st.sampled_from((0.0, 9_600.0, 1.25e6, 1.25e9))
in_order = st.fixed_dictionaries(
    {
        "delay_s": delays_s,
        "jitter_s": delays_s,
        "loss_share": shares,
        "cut": st.sampled_from((0.0, 0.0, 1.0)),
        "rate_bytes_per_s": rates,
        "queue_s": delays_s,
        "most_bytes": st.sampled_from((0.0, 1_500.0, 9_000.0)),
    }
)
any_order = st.builds(lambda values, share: values | {"reorder_share": share}, in_order, shares)


@njit(cache=False)
def _begin_chance(seed: int) -> None:
    np.random.seed(seed)


def _ways(**values: float) -> Ways:
    """Two ways, one of which does this to frames and the other nothing."""
    made = ways(2)
    for name, value in values.items():
        getattr(made, name)[SOME] = value
    return made


def _meet(coming: list[Frame], *does: Ways) -> Met:
    """What becomes of frames on a way that does these things in turn."""
    free_ns, last_ns, counted = np.zeros(2, np.int64), np.zeros(2, np.int64), counts(2)
    came_ns = NS_PER_S + np.cumsum([frame.after_ns for frame in coming])
    due = [
        due_ns(int(at_ns), frame.length, SOME, does[turn % len(does)], free_ns, last_ns, counted)
        for turn, (at_ns, frame) in enumerate(zip(came_ns, coming, strict=True))
    ]
    return Met(came_ns, np.array(due, np.int64), counted)


@unhurried
@given(frames | bursts, any_order)
def test_every_frame_is_lost_eaten_dropped_from_a_queue_or_due(coming: list[Frame], values: dict[str, float]) -> None:
    met = _meet(coming, _ways(**values))
    told = {name: int(getattr(met.counts, name)[SOME]) for name in Counts._fields}
    assert told["taken"] == len(coming)
    assert told["taken"] == told["lost"] + told["damaged"] + told["eaten"] + told["queued_out"] + int(met.arrived.sum())
    # Whether it was delivered is known when it was, and the other way met nothing.
    assert told["delivered"] == 0
    assert [int(getattr(met.counts, name)[OTHER]) for name in Counts._fields] == [0] * len(Counts._fields)


@unhurried
@given(frames | bursts, st.lists(in_order, min_size=1, max_size=4))
def test_no_frame_overtakes_another_of_its_way_unless_that_is_asked_for(
    coming: list[Frame], changes: list[dict[str, float]]
) -> None:
    met = _meet(coming, *(_ways(**values) for values in changes))
    assert (np.diff(met.due_ns[met.arrived]) > 0).all()


@unhurried
@given(frames | bursts, any_order)
def test_frames_that_wait_stay_in_order_whatever_the_others_do(coming: list[Frame], values: dict[str, float]) -> None:
    met = _meet(coming, _ways(**values | {"rate_bytes_per_s": 0.0, "delay_s": 1.0}))
    waits = met.due_ns - met.came_ns >= NS_PER_S
    assert (np.diff(met.due_ns[met.arrived & waits]) > 0).all()
    assert (met.due_ns[met.arrived & ~waits] == met.came_ns[met.arrived & ~waits]).all()
    # Chance decides where the share is neither none nor all.
    if values["reorder_share"] in (0.0, 1.0):
        assert (waits[met.arrived] == (values["reorder_share"] == 0.0)).all()


@unhurried
@given(frames | bursts, in_order)
def test_a_frame_is_due_after_its_delay_and_by_the_end_of_its_jitter_where_nothing_holds_it_up(
    coming: list[Frame], values: dict[str, float]
) -> None:
    met = _meet(coming, _ways(**values))
    rate = values["rate_bytes_per_s"]
    sends_ns = np.array([frame.length for frame in coming]) / rate * NS_PER_S if rate else np.zeros(len(coming))
    before_ns = 0
    for came, due, sends in zip(met.came_ns.tolist(), met.due_ns.tolist(), sends_ns.tolist(), strict=True):
        if due < 0:
            continue
        least_ns = came + sends + values["delay_s"] * NS_PER_S
        most_ns = least_ns + (values["queue_s"] * bool(rate) + values["jitter_s"]) * NS_PER_S
        assert least_ns - 3 <= due <= max(most_ns + 3, before_ns + 1)
        before_ns = due


@unhurried
@given(frames | bursts, any_order)
def test_a_cut_way_loses_all(coming: list[Frame], values: dict[str, float]) -> None:
    met = _meet(coming, _ways(**values | {"cut": 1.0}))
    assert not met.arrived.any()
    assert met.counts.lost[SOME] == len(coming)


@unhurried
@given(frames, st.sampled_from((46, 1_400, 1_500, 9_000)))
def test_just_the_packets_that_are_too_long_are_eaten(coming: list[Frame], most_bytes: int) -> None:
    met = _meet(coming, _ways(most_bytes=most_bytes))
    packets_bytes = np.array([frame.length for frame in coming]) - ETHERNET_BYTES
    np.testing.assert_array_equal(met.arrived, packets_bytes <= most_bytes)
    assert met.counts.eaten[SOME] == (packets_bytes > most_bytes).sum()


@unhurried
@given(bursts, st.sampled_from((9_600.0, 1.25e6, 1.25e8)), delays_s)
def test_a_frame_is_dropped_exactly_where_it_would_queue_too_long(
    coming: list[Frame], rate: float, queue_s: float
) -> None:
    met = _meet(coming, _ways(rate_bytes_per_s=rate, queue_s=queue_s))
    empty_ns = 0
    for came, due, frame in zip(met.came_ns.tolist(), met.due_ns.tolist(), coming, strict=True):
        queues_ns = max(empty_ns - came, 0)
        assert (due >= 0) == (queues_ns <= queue_s * NS_PER_S)
        if due >= 0:
            assert abs(due - came - queues_ns - frame.length / rate * NS_PER_S) <= 1.0
            empty_ns = due


@unhurried
@given(st.floats(1e3, 1e9), st.lists(st.integers(14, 9_018), min_size=2, max_size=20), st.floats(1.0, 20.0))
def test_a_full_queue_is_emptied_at_the_rate_that_was_asked_for(
    rate: float, lengths: list[int], overload: float
) -> None:
    most_s = max(lengths) / rate
    coming = [Frame(int(length / rate / overload * NS_PER_S), length) for length in lengths * 20]
    met = _meet(coming, _ways(rate_bytes_per_s=rate, queue_s=4.0 * most_s))
    carried_bytes = sum(frame.length for frame, arrived in zip(coming, met.arrived, strict=True) if arrived)
    took_s = (met.due_ns.max() - met.came_ns[0]) / NS_PER_S
    # It is never without a frame but for roundings to a nanosecond.
    assert carried_bytes / rate == pytest.approx(took_s, abs=most_s + len(coming) * 2e-9)


def test_as_many_are_lost_as_the_share_says_and_the_queue_knows_nothing_of_them() -> None:
    _begin_chance(1)
    count, share = 20_000, 0.02
    met = _meet([Frame(1_000, 100)] * count, _ways(loss_share=share))
    assert abs(int(met.counts.lost[SOME]) - share * count) < 5.0 * np.sqrt(share * (1.0 - share) * count)


def test_jitter_is_even_among_frames_that_do_not_meet() -> None:
    _begin_chance(1)
    count, delay_s, jitter_s = 10_000, 0.02, 0.01
    met = _meet([Frame(NS_PER_S, 100)] * count, _ways(delay_s=delay_s, jitter_s=jitter_s))
    extra = ((met.due_ns - met.came_ns) / NS_PER_S - delay_s) / jitter_s
    # Kolmogorov's distance between what came and the even distribution, which is exceeded once in a million times.
    distance = np.abs(np.sort(extra) - np.arange(count) / count).max()
    assert distance < 2.7 / np.sqrt(count)


def test_as_many_overtake_as_the_share_says() -> None:
    _begin_chance(1)
    count, share = 10_000, 0.05
    met = _meet([Frame(1_000, 100)] * count, _ways(delay_s=0.02, reorder_share=share))
    overtook = int((met.due_ns == met.came_ns).sum())
    assert abs(overtook - share * count) < 5.0 * np.sqrt(share * (1.0 - share) * count)


@unhurried
@given(st.lists(st.none() | st.integers(-5, 5) | st.integers(0, 2**62), max_size=80))
def test_the_heap_gives_what_that_of_python_gives(steps: list[int | None]) -> None:
    """Numbers are put in, and None takes the least out."""
    keys, values = np.zeros(len(steps), np.int64), np.zeros(len(steps), np.int64)
    size, oracle, held = 0, list[int](), set[tuple[int, int]]()
    for value, key in enumerate(steps):
        if key is not None:
            size = pushed(keys, values, size, key, value)
            heapq.heappush(oracle, key)
            held.add((key, value))
        elif oracle:
            taken = int(keys[0]), int(values[0])
            size = popped(keys, values, size)
            assert taken[0] == heapq.heappop(oracle)
            held.remove(taken)
        assert size == len(oracle)
        assert set(zip(keys[:size].tolist(), values[:size].tolist(), strict=True)) == held


class Ends(NamedTuple):
    """A wire of one line, and what stands for the machines at its ends: frames are sent into and come out of these."""

    wire: Wire
    a: socket.socket
    b: socket.socket

    @property
    def told(self) -> dict[str, list[int]]:
        """What was counted, for each of the two ways."""
        return {name: getattr(self.wire.counts, name).tolist() for name in Counts._fields}


@contextmanager
def _wired(**values: float) -> Iterator[Ends]:
    """A running wire that has been seen to carry frames both ways."""
    (tap_a, a), (tap_b, b) = (socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2))
    for tap in (tap_a, tap_b):
        tap.setblocking(False)
    made = Wire(np.array([tap_a.fileno(), tap_b.fileno()]), seed=1)
    made.start()
    try:
        for one, other in ((a, b), (b, a)):
            other.settimeout(COMPILES_S)
            one.send(b"are you there?")
            assert other.recv(64) == b"are you there?"
            other.settimeout(COMES_S)
        for counted in made.counts:
            counted[:] = 0
        made.states[:, 2] = 0
        for name, value in values.items():
            getattr(made.ways, name)[:] = value
        yield Ends(made, a, b)
    finally:
        made.stop()
        for each in (tap_a, tap_b, a, b):
            each.close()


def _numbered(count: int, *, length: int = 60) -> list[bytes]:
    """Frames that differ."""
    return [number.to_bytes(8, "big").ljust(length, b".") for number in range(count)]


def _sent_and_come(ends: Ends, sent: list[bytes], *, lot: int = 64) -> list[bytes]:
    """What comes out at the other end, in lots that fit into the queues of sockets."""
    come = []
    for first in range(0, len(sent), lot):
        for frame in sent[first : first + lot]:
            ends.a.send(frame)
        come += [ends.b.recv(1 << 14) for _ in sent[first : first + lot]]
    return come


def _silent(end: socket.socket, *, for_s: float = 0.1) -> bool:
    """Whether nothing comes for so long."""
    end.settimeout(for_s)
    try:
        end.recv(1 << 14)
    except TimeoutError:
        return True
    finally:
        end.settimeout(COMES_S)
    return False


@pytest.mark.parametrize("delay_s", [0.0, 0.003, 0.02])
def test_a_frame_comes_after_its_delay_and_hardly_later(delay_s: float) -> None:
    took_s = []
    with _wired(delay_s=delay_s) as ends:
        for frame in _numbered(40):
            sent_s = time.monotonic()
            ends.a.send(frame)
            assert ends.b.recv(64) == frame
            took_s.append(time.monotonic() - sent_s)
    assert min(took_s) >= delay_s
    # Others use this machine, too, so not every time is this test woken when a frame comes.
    assert float(np.quantile(took_s, 0.25)) <= delay_s + LATE_S


def test_frames_of_all_lengths_come_whole_in_order_and_none_is_lost() -> None:
    random = np.random.default_rng(1)
    sent = [random.bytes(int(length)) for length in random.integers(14, 9_018, 600)]
    with _wired(delay_s=0.001) as ends:
        assert _sent_and_come(ends, sent, lot=16) == sent
        assert ends.told == {
            "taken": [600, 0],
            "lost": [0, 0],
            "damaged": [0, 0],
            "eaten": [0, 0],
            "queued_out": [0, 0],
        } | {"delivered": [600, 0]}
        assert ends.wire.undelivered == 0


def test_both_ways_of_a_line_are_carried_at_once_each_with_what_befalls_it() -> None:
    sent, slow_s = _numbered(50), 0.2
    with _wired() as ends:
        ends.wire.ways.delay_s[:] = 0.001, slow_s
        began_s = time.monotonic()
        for frame in sent:
            ends.a.send(frame)
            ends.b.send(frame[::-1])
        assert [ends.b.recv(64) for _ in sent] == sent
        assert time.monotonic() - began_s < slow_s
        assert [ends.a.recv(64)[::-1] for _ in sent] == sent
        assert time.monotonic() - began_s >= slow_s
        assert ends.told["delivered"] == [50, 50]


def test_a_cut_eats_all_and_once_it_is_mended_frames_come_again() -> None:
    with _wired() as ends:
        ends.wire.ways.cut[0] = 1.0
        for frame in _numbered(20):
            ends.a.send(frame)
        assert _silent(ends.b)
        ends.b.send(b"the other way is whole")
        assert ends.a.recv(64) == b"the other way is whole"
        assert (ends.told["taken"], ends.told["lost"]) == ([20, 1], [20, 0])
        ends.wire.ways.cut[0] = 0.0
        ends.a.send(b"mended")
        assert ends.b.recv(64) == b"mended"


def test_what_a_way_does_can_be_changed_while_frames_are_on_it_and_they_stay_in_order() -> None:
    come: list[bytes] = []
    sent = _numbered(600)
    with _wired() as ends:
        hearing = threading.Thread(target=lambda: come.extend(ends.b.recv(64) for _ in sent))
        hearing.start()
        for first in range(0, len(sent), 30):
            # In turn longer, shorter and nothing at all: what comes later would be there sooner.
            ends.wire.ways.delay_s[:] = (0.02, 0.01, 0.0)[first // 30 % 3]
            for frame in sent[first : first + 30]:
                ends.a.send(frame)
            time.sleep(0.004)
        hearing.join()
        assert come == sent
        assert ends.told["delivered"] == [600, 0]


def test_a_frame_that_need_not_wait_does_not_overtake_one_whose_wait_is_just_over() -> None:
    with _wired() as ends:
        for step in range(400):
            ends.wire.ways.delay_s[:] = 3e-4
            over_s = time.monotonic() + 3e-4
            ends.a.send(b"first")
            time.sleep(1e-4)
            ends.wire.ways.delay_s[:] = 0.0
            while time.monotonic() < over_s + (step % 100 - 50) * 1e-6:
                continue
            ends.a.send(b"second")
            assert [ends.b.recv(64), ends.b.recv(64)] == [b"first", b"second"]


def test_a_narrow_way_carries_its_rate_and_drops_what_does_not_fit_its_queue() -> None:
    # 100 frames of 1,000 bytes take 100 ms; one is on its way while at most 40 wait, and more where they come slowly.
    with _wired(rate_bytes_per_s=1e6, queue_s=0.04) as ends:
        began_s = time.monotonic()
        for frame in _numbered(100, length=1_000):
            ends.a.send(frame)
        come = 0
        while not _silent(ends.b):
            come += 1
            last_s = time.monotonic() - began_s
        assert 41 <= come == ends.told["delivered"][0] < 100
        assert come + ends.told["queued_out"][0] == ends.told["taken"][0] == 100
        assert last_s >= come * 1e-3


def test_packets_that_are_too_long_are_eaten_by_the_wire() -> None:
    with _wired(most_bytes=1_400) as ends:
        ends.a.send(bytes(1_415))
        ends.a.send(bytes(1_414))
        assert len(ends.b.recv(1 << 14)) == 1_414
        assert ends.told["eaten"] == [1, 0]


def test_more_frames_than_can_be_on_their_way_wait_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "SLOTS", 8)
    sent = _numbered(100)
    with _wired(delay_s=0.002) as ends:
        assert _sent_and_come(ends, sent, lot=100) == sent
        assert ends.told["taken"] == ends.told["delivered"] == [100, 0]


def test_what_the_other_end_does_not_take_is_counted_and_not_waited_for() -> None:
    with _wired() as ends:
        # Nobody reads at the other end until its queue is full.
        for frame in _numbered(3_000, length=1_000):
            ends.a.send(frame)
        deadline_s = time.monotonic() + COMES_S
        while ends.told["taken"][0] < 3_000 and time.monotonic() < deadline_s:
            time.sleep(0.001)
        assert ends.told["taken"][0] == 3_000
        assert ends.wire.undelivered == 3_000 - ends.told["delivered"][0] > 0
        ends.b.send(b"still there")
        assert ends.a.recv(64) == b"still there"


def test_signals_that_wake_the_wire_disturb_nothing() -> None:
    woken = []
    before = signal.signal(signal.SIGUSR1, lambda *_: woken.append(1))
    sent = _numbered(200)
    try:
        with _wired(delay_s=0.002) as ends:
            thread = next(each for each in threading.enumerate() if each.name == "wire")
            come = []
            for frame in sent:
                ends.a.send(frame)
                signal.pthread_kill(thread.ident or 0, signal.SIGUSR1)
                come.append(ends.b.recv(64))
            assert come == sent
            assert ends.told["delivered"] == [200, 0]
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert woken


def test_a_wire_that_was_stopped_carries_nothing_and_leaves_no_thread_and_no_descriptor() -> None:
    open_before, threads_before = len(os.listdir("/proc/self/fd")), threading.active_count()
    with _wired() as ends:
        began_s = time.monotonic()
        ends.wire.stop()
        assert time.monotonic() - began_s < COMES_S
        assert threading.active_count() == threads_before
        ends.a.send(b"nobody is there")
        assert _silent(ends.b)
        assert ends.told["taken"] == [0, 0]
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_every_line_is_carried_by_one_thread_or_another() -> None:
    """More lines than threads: what is sent at either end of each comes out at its other end, and at no other."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2 * LINES)]
    made = Wire(np.array([tap.fileno() for tap, _ in pairs]), seed=1)
    for tap, end in pairs:
        tap.setblocking(False)
        end.settimeout(COMPILES_S)
    made.start()
    try:
        for at, (_, end) in enumerate(pairs):
            end.send(f"from {at}".encode())
        assert [end.recv(64) for _, end in pairs] == [f"from {at ^ 1}".encode() for at in range(2 * LINES)]
        made.stop()
        assert made.counts.delivered.tolist() == [1] * (2 * LINES)
        assert made.undelivered == 0
    finally:
        made.stop()
        for each in (one for pair in pairs for one in pair):
            each.close()
