"""Counters of interfaces: what went in at one end of a link must come out at the other."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from karez.detect.board import Board, Places, Signal, Voice
from karez.detect.channels import Channel, floats
from karez.detect.columns import Columns
from karez.detect.levels import ABOVE, BELOW, QUIET, Levels, LevelTest
from karez.detect.shares import OPEN, Shares, ShareTest
from karez.twin.table import Array
from karez.twin.telemetry import CHANNELS, Samples

# Flows, whose packets are not lost one by one: 2,000 a second speak for all. What both ends of a link say together is
# sound enough to be believed at the first reading where more than 0.9 % are gone; drops and errors come in bursts.
FLOW: dict[str, float] = {"well": 6.0, "breath_s": 0.95, "most_per_s": 2e3, "memory": 2e3}
LOSS = ShareTest(0.003, 0.01, 0.05, 8.0, 16.0, least=0.01, breath=1.1, **FLOW)
DROPS = ShareTest(0.003, 0.01, 0.05, 8.0, 16.0, least=0.01, breath=0.6, **FLOW)
ERRORS = ShareTest(0.0005, 0.002, 0.02, 8.0, 16.0, least=0.002, breath=0.6, **FLOW)

# What means the same however often it is read is counted by readings: one stands for one second.
STUCK = LevelTest(0.5, np.inf, 0.5, 0.9, 0.4)
FULL = LevelTest(0.95, np.inf, 0.03, 0.05, 0.05)
# A queue that is too small drops in bursts, as those who send back off and come again: three within twenty seconds.
BURSTS = LevelTest(0.03, np.inf, 1.0, 2.2, 2.0)
BURST_SHARE = 0.005
LATE = LevelTest(5.0, np.inf, np.inf, 1e-9, 1.0)
CLOCK = LevelTest(1e3, 1e3, 1e3, 1.5e3, 1e3, learn_s=2.0)

# Reading both ends not at the same moment, and what is on its way, can explain so many seconds of a change of traffic.
APART_S = 0.002
# A few packets may be on their way at one reading and not at the next, however little traffic there is.
ON_THEIR_WAY = 3.0
# Readings by clocks that are further apart, or that went on by intervals that differ by more, are not compared.
FAR_APART_S = 0.5
UNEVEN_S = 0.002
LATE_S = 5.0
US_PER_S = 1e6


class Readings(Columns):
    """What each interface told last: cumulated packets, the clock of its host, packets sent a second before that."""

    layout: ClassVar = {
        name: (np.dtype("f8"), np.nan)
        for name in ("tx_packets", "rx_packets", "rx_errors", "tx_drops", "host_at_s", "before_per_s")
    }
    tx_packets: Array
    rx_packets: Array
    rx_errors: Array
    tx_drops: Array
    host_at_s: Array
    before_per_s: Array


class Grown(NamedTuple):
    """By how much each interface's counters grew in one interval; nan where nothing can be said."""

    tx_packets: Array
    rx_packets: Array
    rx_errors: Array
    tx_drops: Array
    span_s: Array
    host_at_s: Array


class Counters(Channel):
    """Interfaces: losses between both ends, errors, drops, counters that stand still or lie, hosts that are late."""

    source = "counter"
    parts = ("series", "readings", "loss", "surplus", "errors", "drops", "bursts", "stuck", "full", "late", "clock")

    def __init__(self, places: Places) -> None:
        """Start without series."""
        super().__init__(places)
        self.readings = Readings()
        self.loss, self.surplus, self.errors, self.drops = Shares(LOSS), Shares(LOSS), Shares(ERRORS), Shares(DROPS)
        self.stuck, self.full, self.late, self.clock = Levels(STUCK), Levels(FULL), Levels(LATE), Levels(CLOCK)
        self.bursts = Levels(BURSTS)
        # The other end of each interface (row; -1 where it has not told yet), its capacity, and its site's device.
        self.peer = np.zeros(0, np.int64)
        self.capacity_gbps = np.zeros(0)
        self.device: list[bytes | None] = []

    def take(self, samples: Samples, board: Board) -> None:
        """Take what the counters of both ends say, and whether that fits together."""
        at_s, rows = samples.at_s, self._rows(samples.ids)
        count = len(self.series.ids)
        told = {name: _spread(floats(samples, name), rows, count) for name in CHANNELS["counter"]}
        every = np.arange(count)
        since_last_s = self.series.heard(at_s, every, np.isfinite(told["host_at_s"]))
        grown = self._grown(told)
        self._alone(at_s, every, since_last_s, grown, told["tx_gbps"], board)
        self._between(at_s, every, since_last_s, grown, board)
        self._hosts(at_s, every, told["host_at_s"], board)

    def told(self, samples: Samples) -> Array:
        """Of which interfaces it was told when they were read."""
        return np.asarray(np.isfinite(floats(samples, "host_at_s")))

    def _grown(self, told: dict[str, Array]) -> Grown:
        """What was counted since the last reading; nothing where counters or the clock went back."""
        last = self.readings
        names = ("tx_packets", "rx_packets", "rx_errors", "tx_drops")
        tx, rx, errors, drops = (told[name] - getattr(last, name) for name in names)
        span_s = told["host_at_s"] - last.host_at_s
        unsound = ~((span_s > 0) & (tx >= 0) & (rx >= 0) & (errors >= 0) & (drops >= 0))
        for some in (tx, rx, errors, drops, span_s):
            some[unsound] = np.nan
        for name in (*names, "host_at_s"):
            setattr(last, name, np.where(np.isfinite(told[name]), told[name], getattr(last, name)))
        return Grown(tx, rx, errors, drops, span_s, told["host_at_s"])

    def _alone(
        self, at_s: float, every: Array, since_last_s: Array, grown: Grown, tx_gbps: Array, board: Board
    ) -> None:
        """What one end can say alone: errors, drops, how full it is."""
        arrived = grown.rx_packets + grown.rx_errors
        touched = self.errors.step(at_s, every, since_last_s, arrived, grown.rx_errors)
        self._say(self.errors, touched, {OPEN: "errors"}, at_s, board)
        offered = grown.tx_packets + grown.tx_drops
        steady = self.drops.step(at_s, every, since_last_s, offered, grown.tx_drops)
        # What drops all the time is found by its share, and closes with it.
        told = np.isfinite(offered) & (self.drops.phase[every] != OPEN)
        burst = np.where(told, grown.tx_drops > BURST_SHARE * offered, np.nan)
        again = self.bursts.step(at_s, every, self._ones(), burst)
        for row in np.union1d(steady, again).tolist():
            self._say_drops(row, at_s, board)
        touched = self.full.step(at_s, every, self._ones(), tx_gbps / self.capacity_gbps)
        self._say(self.full, touched, {ABOVE: "load"}, at_s, board)

    def _say_drops(self, row: int, at_s: float, board: Board) -> None:
        """Say that an interface drops, all the time or again and again."""
        said = None
        if self.drops.phase[row] == OPEN:
            said = Signal(*self.drops.told(row))
        elif self.bursts.phase[row] == ABOVE:
            since_s, _, strength = self.bursts.told(row)
            said = Signal(since_s, BURST_SHARE, strength)
        board.put(Voice("drops", self.source, self.series.ids[row]), said, at_s)

    def _between(self, at_s: float, every: Array, since_last_s: Array, grown: Grown, board: Board) -> None:
        """What both ends say together, of what travels towards each interface."""
        peer = self.peer
        there = peer >= 0
        still = (grown.tx_packets == 0) & (grown.rx_packets == 0) & (grown.rx_errors == 0)
        moving = grown.rx_packets[peer] > 0
        known = there & np.isfinite(grown.span_s + grown.span_s[peer])
        stuck = np.where(known, still & moving, np.nan)
        # What was counted while they stood still is told at once when they move again.
        doubted = (self.stuck.phase != QUIET) | (stuck > 0)
        touched = self.stuck.step(at_s, every, self._ones(), stuck)
        self._say(self.stuck, touched, {ABOVE: "stuck"}, at_s, board)
        known &= ~(doubted | doubted[peer])
        apart_s = np.abs(grown.host_at_s - grown.host_at_s[peer])
        known &= (apart_s < FAR_APART_S) & (np.abs(grown.span_s - grown.span_s[peer]) < UNEVEN_S)
        self._conserve(at_s, every, since_last_s, np.where(known, grown.tx_packets[peer], np.nan), grown, board)

    def _conserve(
        self, at_s: float, every: Array, since_last_s: Array, entered: Array, grown: Grown, board: Board
    ) -> None:
        """Hold what left an interface against what entered at the other end."""
        arrived = grown.rx_packets + grown.rx_errors
        # What entered was counted for a little longer, or shorter, than what left.
        entered = entered * grown.span_s / grown.span_s[self.peer]
        rate_per_s = entered / grown.span_s
        apart_s = APART_S + np.abs(grown.host_at_s - grown.host_at_s[self.peer])
        doubt = ON_THEIR_WAY + apart_s * np.abs(rate_per_s - self.readings.before_per_s)
        self.readings.before_per_s = np.where(np.isfinite(rate_per_s), rate_per_s, self.readings.before_per_s)
        gap = entered - arrived
        touched = self.loss.step(at_s, every, since_last_s, entered, np.maximum(gap - doubt, 0.0))
        self._say(self.loss, touched, {OPEN: "loss"}, at_s, board)
        touched = self.surplus.step(at_s, every, since_last_s, arrived, np.maximum(-gap - doubt, 0.0))
        self._say(self.surplus, touched, {OPEN: "imbalance"}, at_s, board)

    def _hosts(self, at_s: float, every: Array, host_at_s: Array, board: Board) -> None:
        """What the clocks of hosts say, held against the collector's."""
        behind_s = at_s - host_at_s
        touched = self.late.step(at_s, every, self._ones(), behind_s)
        self._say_device(self.late, touched, {ABOVE: "late"}, at_s, board)
        off_us = np.where(behind_s < LATE_S, -behind_s * US_PER_S, np.nan)
        touched = self.clock.step(at_s, every, self._ones(), off_us)
        self._say_device(self.clock, touched, {ABOVE: "clock", BELOW: "clock"}, at_s, board)

    def _ones(self) -> Array:
        return np.ones(len(self.series.ids), np.float32)

    def _say_device(self, test: Levels, touched: Array, kinds: dict[int, str], at_s: float, board: Board) -> None:
        """Say of devices what any of their interfaces shows."""
        for device in sorted({device for row in touched.tolist() if (device := self.device[row]) is not None}):
            rows = [row for row, other in enumerate(self.device) if other == device]
            open_rows = [row for row in rows if test.phase[row] in kinds]
            said = Signal(*test.told(open_rows[0])) if open_rows else None
            board.put(Voice(next(iter(kinds.values())), self.source, device), said, at_s)

    def _met(self, new: list[bytes]) -> None:
        self.capacity_gbps = np.concatenate([self.capacity_gbps, [self.places.capacity_gbps(name) for name in new]])
        self.device += [self.places.router(self.places.site(name)) for name in new]
        row_of = {name: row for row, name in enumerate(self.series.ids)}
        self.peer = np.array([row_of.get(_other(name), -1) for name in self.series.ids], np.int64)


def _other(interface: bytes) -> bytes:
    """The other end."""
    return interface[:-1] + (b"b" if interface.endswith(b"a") else b"a")


def _spread(values: Array, rows: Array, count: int) -> Array:
    """The values at their rows, and nan at all others."""
    spread = np.full(count, np.nan)
    spread[rows] = values
    return spread
