"""What is listened for in each channel of telemetry: which tests its series are held against, and what they mean.

How the thresholds were chosen, in short; `benchmarks/quiet.py` measures what follows from them.

Probes, at 20 small and 5 large packets a second each way, of which a share of 1e-5 is lost by chance (`base` is three
times that, and learned within some hours where it is more). One loss weighs ln(0.05 / 3e-5) = 7.42 for the high
alternative and each packet that arrives -0.051, so that an alarm of 19.5 is three losses within
(3 * 7.42 - 19.5) / 0.051 = 54 packets. Chance begins that with 1e-5^3 * 54^2 / 2 of all packets: of 90,000 an hour that
is 1.3e-7 false alarms an hour and way. For the low alternative (5.81 a loss, -0.01 a packet, alarm 17.5) it is four
losses within 574 packets, since three cannot do: 2.8e-8. Both ways: 3.2e-7 an hour and link. Two losses are the most
that counts of one breath, so that a short burst alone is none.

Large packets: a loss weighs ln(0.5 / 3e-5) = 9.7 and the alarm is 27.5: three of at most four in a row; 2e-11 an hour.

Delays: the sum (us times s) falls by about 138 us * 0.05 s a packet and grows only with a spike (1e-3 of the packets,
exponential with 300 us), by at most 1,500 us * 0.05 s. With theta > 0 such that E[exp(theta * step)] = 1 an alarm comes
at most once in exp(theta * alarm) packets on average (Wald): 2e-24 an hour and way. The same of unevenness, where each
spike makes two steps: 8e-12. So delays are as quiet as they are for the sake of spikes that last, and of queues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
import numpy as np
from numba import njit

from karez.detect.board import Board, Places, Signal, Voice
from karez.detect.columns import Columns, Frozen
from karez.detect.levels import ABOVE, BELOW, QUIET, Levels, LevelTest
from karez.detect.series import Series
from karez.detect.shares import OPEN, Shares, ShareTest
from karez.twin.table import Array, texts
from karez.twin.telemetry import CHANNELS, Samples

# --- Shares. A breath is a little less than what it is meant to be, so that rounding makes none longer.
PROBES: dict[str, float] = {"breath_s": 0.29, "breath": 0.78}
PROBE_LOSS = ShareTest(3e-5, 0.01, 0.05, 17.5, 19.5, least=0.02, well=6.0, prior=3.5e4, **PROBES)
SMALL_LOSS = ShareTest(3e-5, 0.01, 0.05, 17.5, 19.5, least=0.02, well=6.0, **PROBES)
LARGE_LOSS = ShareTest(3e-5, 0.3, 0.5, 27.5, 27.5, least=0.3, well=2.5, memory=20.0, **PROBES)
# Users: whole flows, whose packets are not lost one by one; 2,000 a second speak for all.
USERS: dict[str, float] = {"breath_s": 0.45, "breath": 0.6, "most_per_s": 2e3, "memory": 2e3}
FLOW_LOSS = ShareTest(0.003, 0.01, 0.05, 8.0, 16.0, least=0.01, well=6.0, **USERS)

# --- Levels. Of delays (us, us * s), of traffic (binary logarithm of how many times the mean).
# A spike of 3,000 us and 0.2 s, told in pieces of 0.1 s, makes a sum of 420 us * s and is no alarm.
DELAY = LevelTest(150.0, 150.0, 1.5e3, 430.0, 100.0, learn_s=2.0)
# The step between two means says no more about unevenness because they are of a long time.
JITTER = LevelTest(100.0, np.inf, 400.0, 200.0, 60.0, longest_s=0.2)
USER_DELAY = LevelTest(300.0, np.inf, 1e3, 600.0, 150.0, learn_s=2.0, memory_s=600.0, relearns=True)
SURGE = LevelTest(0.8, np.inf, 1.0, 0.6, 0.5, learn_s=2.0, memory_s=600.0, floor=0.0)
LEAST_TIMES = 1e-3
TOGETHER_S = 1.0
# A packet is lost once it is so late (s): what was sent just before somebody measured wrongly is judged after that.
SETTLES_S = 0.2
# Of what speaks for a loss, the part that small packets must bring.
SMALL_PART = 0.2

Test = Shares | Levels


class Channel:
    """The tests of one channel, and what becomes of their series; `parts` names the attributes that are state."""

    source: ClassVar[str]
    parts: ClassVar[tuple[str, ...]]
    # By kind of signal that rests on what was learned as normal: the test of it, and its phase.
    learned: ClassVar[Mapping[str, tuple[str, int]]] = {}

    def __init__(self, places: Places) -> None:
        """Start without series."""
        self.places = places
        self.series = Series()

    def take(self, samples: Samples, board: Board) -> None:
        """Take what was told into the tests, and what they say to the board."""
        raise NotImplementedError

    def told(self, samples: Samples) -> Array:
        """Of which series anything was told (bool)."""
        raise NotImplementedError

    def is_spoilt(self, samples: Samples, stalled_ago_s: float) -> bool:
        """Whether any of what is told was measured while, or just before, who measures it did not keep time."""
        rows = self._rows(samples.ids)
        last_s = self.series.last_s[rows]
        last_s = last_s[np.isfinite(last_s)]
        covers_s = samples.at_s - last_s.max() if len(last_s) else 0.0
        return bool(stalled_ago_s <= covers_s + SETTLES_S)

    def pass_over(self, samples: Samples) -> None:
        """Take in that something was told, and nothing of what it says."""
        self._heard(samples)

    def hush(self, at_s: float, board: Board) -> None:
        """Say which series have fallen silent by `at_s`, or speak again."""
        for row in self.series.hushed(at_s).tolist():
            since_s = float(self.series.last_s[row])
            silent = Signal(since_s, 1.0, 1.0) if self.series.silent[row] else None
            board.put(Voice("silence", self.source, self.series.ids[row]), silent, at_s)

    def reopen(self, voice: Voice, signal: Signal) -> bool:
        """Whether this goes on with what others have raised; what needs no learning is heard anew."""
        part, phase = self.learned.get(voice.kind, ("", QUIET))
        if not part:
            return False
        row = int(self._rows(texts([voice.series.decode()]))[0])
        getattr(self, part).reopen(row, phase, signal.since_s, signal.size, signal.strength)
        return True

    def freeze(self) -> Frozen:
        """The state as bytes."""
        ids = msgspec.msgpack.encode(self.series.ids)
        return {"ids": ids} | {part: msgspec.msgpack.encode(getattr(self, part).freeze()) for part in self.parts}

    def restore(self, frozen: Frozen) -> None:
        """Take over what was frozen."""
        self.series.name(msgspec.msgpack.decode(frozen["ids"], type=list[bytes]))
        for part in self.parts:
            getattr(self, part).restore(msgspec.msgpack.decode(frozen[part], type=Frozen))
        self._met(self.series.ids)

    def _heard(self, samples: Samples) -> tuple[Array, Array]:
        """The rows of the series that are told of, and seconds since each last told."""
        rows = self._rows(samples.ids)
        return rows, self.series.heard(samples.at_s, rows, self.told(samples))

    def _rows(self, ids: Array) -> Array:
        """The rows of the series, for which every part has room."""
        rows, before = self.series.rows(ids), len(self.series.silent)
        count = len(self.series.ids)
        if before < count:
            for part in self.parts:
                getattr(self, part).grow(count)
            self._met(self.series.ids[before:])
        return rows

    def _met(self, new: list[bytes]) -> None:
        """Look up what must be known of new series."""

    def _say(self, test: Test, touched: Array, kinds: dict[int, str], at_s: float, board: Board) -> None:
        """Say of the rows that a test has touched, for each kind of signal, whether they are in its phase."""
        for row in touched.tolist():
            for phase, kind in kinds.items():
                said = Signal(*test.told(row)) if test.phase[row] == phase else None
                board.put(Voice(kind, self.source, self.series.ids[row]), said, at_s)


class Last(Columns):
    """The value before, of each series; nan before the first."""

    layout: ClassVar = {"value": (np.dtype("f4"), np.nan)}
    value: Array

    def change(self, rows: Array, values: Array) -> Array:
        """By how much each value differs from the one before; nan where there is none, which is passed over."""
        by = np.empty(len(rows), np.float32)
        differ(rows, values, self.value, by)
        return by


@njit(cache=True)
def differ(rows: Array, values: Array, before: Array, by: Array) -> None:
    """Write by how much each value differs from the one before, and keep it."""
    for event in range(rows.size):
        value = np.float32(values[event])
        by[event] = abs(value - before[rows[event]])
        if np.isfinite(value):
            before[rows[event]] = value


class Probes(Channel):
    """Test packets on the ways of links: lost, large ones lost, late, too early, uneven."""

    source = "probe"
    parts = ("series", "every", "small", "large", "delay", "jitter", "last")
    learned: ClassVar = {"delay": ("delay", ABOVE), "clock": ("delay", BELOW)}

    def __init__(self, places: Places) -> None:
        """Start without series."""
        super().__init__(places)
        self.every, self.small, self.large = Shares(PROBE_LOSS), Shares(SMALL_LOSS), Shares(LARGE_LOSS)
        self.delay, self.jitter, self.last = Levels(DELAY), Levels(JITTER), Last()

    def take(self, samples: Samples, board: Board) -> None:
        """Take what arrived and what did not."""
        rows, since_last_s = self._heard(samples)
        counts = [floats(samples, name) for name in CHANNELS["probe"][:-1]]
        self.judge(samples.at_s, rows, since_last_s, counts, floats(samples, "oneway_us"), board)

    def told(self, samples: Samples) -> Array:
        """Of which series the fate of any packet was told."""
        return np.asarray(floats(samples, "sent") + floats(samples, "sent_large") > 0)

    def judge(
        self, at_s: float, rows: Array, since_last_s: Array, counts: Sequence[Array], oneway_us: Array, board: Board
    ) -> None:
        """Take what is known of `rows`; `counts` are small packets sent and lost, and large ones sent and lost."""
        sent, lost, large, large_lost = counts
        small = self.small.step(at_s, rows, since_last_s, sent, lost)
        mainly = self.large.step(at_s, rows, since_last_s, large, large_lost)
        every = self.every.step(at_s, rows, since_last_s, sent + large, lost + large_lost)
        self._say_lost(at_s, board, small, mainly, every)
        touched = self.delay.step(at_s, rows, since_last_s, oneway_us)
        self._say(self.delay, touched, {ABOVE: "delay", BELOW: "clock"}, at_s, board)
        touched = self.jitter.step(at_s, rows, since_last_s, self.last.change(rows, oneway_us))
        self._say(self.jitter, touched, {ABOVE: "jitter"}, at_s, board)

    def _say_lost(self, at_s: float, board: Board, *touched: Array) -> None:
        """Say `loss` where small packets are among the lost, and `large_loss` where they are not."""
        if not any(map(len, touched)):
            return
        for row in np.unique(np.concatenate(touched)).tolist():
            series = self.series.ids[row]
            mainly = self._mainly_large(row, board)
            lossy = not mainly and self._lossy(row, board)
            board.put(Voice("loss", "probe", series), Signal(*self.every.told(row)) if lossy else None, at_s)
            board.put(Voice("large_loss", "probe", series), Signal(*self.large.told(row)) if mainly else None, at_s)

    def _lossy(self, row: int, board: Board) -> bool:
        """Whether packets are lost, and of small ones more than chance takes while large ones are eaten."""
        if self.every.phase[row] != OPEN:
            return False
        (*_, small), (*_, every) = self.small.told(row), self.every.told(row)
        return small >= SMALL_PART * every or Voice("loss", "probe", self.series.ids[row]) in board.open

    def _mainly_large(self, row: int, board: Board) -> bool:
        """Whether large packets are lost and small ones are not, or only one by chance once that was clear."""
        small, large = self.small, self.large
        if large.phase[row] != OPEN or small.phase[row] == OPEN:
            return False
        apart_s = small.sums["since_s"][row] - large.sums["since_s"][row]
        clear = bool(abs(apart_s) >= TOGETHER_S and small.sums["high"][row] == 0.0)
        return clear or Voice("large_loss", "probe", self.series.ids[row]) in board.open


class Users(Channel):
    """Users' traffic: lost, late, far more than usual."""

    source = "user"
    parts = ("series", "loss", "delay", "surge")
    learned: ClassVar = {"delay": ("delay", ABOVE)}

    def __init__(self, places: Places) -> None:
        """Start without series."""
        super().__init__(places)
        self.loss, self.delay, self.surge = Shares(FLOW_LOSS), Levels(USER_DELAY), Levels(SURGE)
        self.mean_gbps = np.zeros(0)

    def take(self, samples: Samples, board: Board) -> None:
        """Take what the hosts at the ends of the demands have counted."""
        at_s, (rows, since_last_s) = samples.at_s, self._heard(samples)
        sent, lost, oneway_us, gbps = (floats(samples, name) for name in CHANNELS["user"])
        self._say(self.loss, self.loss.step(at_s, rows, since_last_s, sent, lost), {OPEN: "loss"}, at_s, board)
        touched = self.delay.step(at_s, rows, since_last_s, oneway_us)
        self._say(self.delay, touched, {ABOVE: "delay"}, at_s, board)
        times = np.log2(np.maximum(gbps / self.mean_gbps[rows], LEAST_TIMES))
        self._say(self.surge, self.surge.step(at_s, rows, since_last_s, times), {ABOVE: "surge"}, at_s, board)

    def told(self, samples: Samples) -> Array:
        """Of which series it was told what is offered."""
        return np.asarray(np.isfinite(floats(samples, "gbps")))

    def _met(self, new: list[bytes]) -> None:
        means = [self.places.demand_gbps(demand) or 1.0 for demand in new]
        self.mean_gbps = np.concatenate([self.mean_gbps, means])


def floats(samples: Samples, column: str) -> Array:
    """A column as the tests take it (float64).

    Raises:
        ValueError: there are not as many values as series.
    """
    values = np.ascontiguousarray(samples.columns[column], np.float64)
    if values.shape != samples.ids.shape:
        raise ValueError(f"{samples.channel} tells {values.size} values of {column} for {samples.ids.size} series")
    return values
