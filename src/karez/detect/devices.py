"""Light that grows dim, devices that do not answer or are busy, devices that lose what passes through them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from karez.detect.board import Board, Places, Signal, Voice
from karez.detect.channels import Channel, floats
from karez.detect.counters import LOSS
from karez.detect.levels import ABOVE, Levels, LevelTest
from karez.detect.shares import OPEN, Shares
from karez.twin.table import Array
from karez.twin.telemetry import CHANNELS, Samples

# What means the same however often it is asked for is counted by samples: one stands for one second. Power in dB that
# it lies below what was learned: 4.4 dB at once, 3 dB at the second sample.
POWER = LevelTest(1.5, np.inf, 3.0, 2.9, 1.0, learn_s=2.0)
UNANSWERED = LevelTest(0.5, np.inf, 0.5, 0.9, 0.4)
BUSY = LevelTest(0.95, np.inf, 0.03, 0.04, 0.3)
# No light at all, where it is told as a number that is none.
DARK_DBM = -60.0


class Receivers(Channel):
    """Light that arrives at interfaces."""

    source = "optical"
    parts = ("series", "power")
    learned: ClassVar = {"power": ("power", ABOVE)}

    def __init__(self, places: Places) -> None:
        """Start without series."""
        super().__init__(places)
        self.power = Levels(POWER)

    def take(self, samples: Samples, board: Board) -> None:
        """Take how much light arrives."""
        at_s, (rows, _), power_dbm = samples.at_s, self._heard(samples), floats(samples, "power_dbm")
        touched = self.power.step(at_s, rows, _ones(rows), -np.maximum(power_dbm, DARK_DBM))
        self._say(self.power, touched, {ABOVE: "power"}, at_s, board)

    def told(self, samples: Samples) -> Array:
        """Of which series the light was told, none at all included."""
        return np.asarray(~np.isnan(floats(samples, "power_dbm")))


class Pings(Channel):
    """Devices, asked by the management network."""

    source = "ping"
    parts = ("series", "unanswered", "busy")

    def __init__(self, places: Places) -> None:
        """Start without series."""
        super().__init__(places)
        self.unanswered, self.busy = Levels(UNANSWERED), Levels(BUSY)

    def take(self, samples: Samples, board: Board) -> None:
        """Take who answered, and how busy they are."""
        at_s, (rows, _) = samples.at_s, self._heard(samples)
        answers, cpu_share = (floats(samples, name) for name in CHANNELS["ping"])
        for row in self.unanswered.step(at_s, rows, _ones(rows), 1.0 - answers).tolist():
            self._say_silent(row, at_s, board)
        touched = self.busy.step(at_s, rows, _ones(rows), cpu_share)
        self._say(self.busy, touched, {ABOVE: "cpu"}, at_s, board)

    def told(self, samples: Samples) -> Array:
        """Of which devices it was told whether they answer."""
        return np.asarray(np.isfinite(floats(samples, "answers")))

    def hush(self, at_s: float, board: Board) -> None:
        """Say which devices nobody tells of any more by `at_s`, or tells of again."""
        for row in self.series.hushed(at_s).tolist():
            self._say_silent(row, at_s, board)

    def _say_silent(self, row: int, at_s: float, board: Board) -> None:
        said = None
        if self.unanswered.phase[row] == ABOVE:
            said = Signal(*self.unanswered.told(row))
        elif self.series.silent[row]:
            said = Signal(float(self.series.last_s[row]), 1.0, 1.0)
        board.put(Voice("silence", self.source, self.series.ids[row]), said, at_s)


class Transits(Channel):
    """Packets that came into devices and must have left them."""

    source = "transit"
    parts = ("series", "loss")

    def __init__(self, places: Places) -> None:
        """Start without series."""
        super().__init__(places)
        self.loss = Shares(LOSS)

    def take(self, samples: Samples, board: Board) -> None:
        """Take what came and what left."""
        at_s, (rows, since_last_s) = samples.at_s, self._heard(samples)
        came, left = (floats(samples, name) for name in CHANNELS["transit"])
        # It is counted by the device, as its interfaces count.
        for row in self.loss.step(at_s, rows, since_last_s, came, np.maximum(came - left, 0.0)).tolist():
            said = Signal(*self.loss.told(row)) if self.loss.phase[row] == OPEN else None
            board.put(Voice("imbalance", "counter", self.series.ids[row]), said, at_s)

    def told(self, samples: Samples) -> Array:
        """Of which devices it was told what came in."""
        return np.asarray(np.isfinite(floats(samples, "came")))


def _ones(rows: Array) -> Array:
    return np.ones(len(rows), np.float32)
