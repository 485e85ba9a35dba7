"""Sequential tests of levels: a value that strays from what was learned as normal, above or below.

The test is a cumulated sum over time of how far the value lies beyond the slack, each increment clipped so that one
wild sample cannot raise an alarm. An alarm stands until a second sum, of how far the value lies within the slack, has
grown enough. The baseline is the mean of the first seconds and keeps learning, slowly and clipped, while all is quiet.

Source: Page, "Continuous inspection schemes", Biometrika 41 (1954).
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numba import njit

from karez.detect.columns import Columns, again, sums
from karez.twin.table import Array

QUIET, DOUBTED, ABOVE, BELOW = 0, 1, 2, 3
# Sums stop at so many alarms; the size told is a mean over so many seconds at most.
CEILING = 4.0
SIZE_S = 1.0
# How much faster an open alarm's return is doubted than believed.
DOUBT = 4.0
JUST_BEGUN_S = 1e-9

SUMS = sums("up", "down", "well", "since_s", "span_s", "size", "closed_at_s", "flaps")


class LevelTest(NamedTuple):
    """What a level is held against. All but the seconds are in the unit of the level, or in that times seconds.

    Attributes:
        above: How far above the baseline is still normal.
        below: How far below it; inf where below is never wrong.
        most: The most that one sample counts for beyond that.
        alarm: The sum (unit times seconds) at which it is found.
        well: The sum at which the alarm closes.
        learn_s: Seconds over which the baseline is learned first; 0 where it is given and never learned.
        memory_s: Seconds over which it goes on learning.
        floor: The least that the baseline can be.
        longest_s: Seconds that one sample stands for at most.
        relearns: Whether it goes on learning while an alarm is open, so that what lasts becomes normal.
    """

    above: float
    below: float
    most: float
    alarm: float
    well: float
    learn_s: float = 0.0
    memory_s: float = 300.0
    floor: float = -np.inf
    longest_s: float = np.inf
    relearns: bool = False


class Levels(Columns):
    """The state of one test over many series: their phase, baseline and its age, and sums where it is not quiet."""

    layout: ClassVar = {
        "phase": (np.dtype("u1"), 0),
        "base": (np.dtype("f4"), 0),
        "age_s": (np.dtype("f4"), 0),
        "sums": (SUMS, 0),
    }
    phase: Array
    base: Array
    age_s: Array
    sums: Array

    def __init__(self, test: LevelTest) -> None:
        """Start without series."""
        super().__init__()
        self.test = test
        self._touched = np.zeros(0, np.int64)

    def step(self, at_s: float, rows: Array, since_last_s: Array, level: Array) -> Array:
        """The rows (int64) that are open or have just closed, after `level` was measured on `rows`."""
        if len(self._touched) < len(rows):
            self._touched = np.empty(len(rows), np.int64)
        args = (self.phase, self.base, self.age_s, self.sums, self._touched)
        return self._touched[: follow(self.test, at_s, rows, since_last_s, level, *args)]

    def reopen(self, row: int, phase: int, since_s: float, size: float, strength: float) -> None:
        """Go on where others found a series above or below what is normal, by `size`."""
        self.phase[row] = phase
        its = self.sums[row]
        its["since_s"], its["size"], its["span_s"] = since_s, size, SIZE_S
        its["up" if phase == ABOVE else "down"] = strength * self.test.alarm

    def told(self, row: int) -> tuple[float, float, float]:
        """Since when (s), how far from the baseline of late, and the sum in alarms."""
        its = self.sums[row]
        return float(its["since_s"]), float(its["size"]), float(max(its["up"], its["down"]) / self.test.alarm)


@njit(cache=True)
def follow(
    test: LevelTest,
    at_s: float,
    rows: Array,
    since_last_s: Array,
    level: Array,
    phase: Array,
    base: Array,
    age_s: Array,
    sums: Array,
    touched: Array,
) -> int:
    """The number of rows that are open or have just closed, which are written to `touched`."""
    count = 0
    for event in range(rows.size):
        if not np.isfinite(level[event]):
            continue
        row, span_s = rows[event], min(since_last_s[event], test.longest_s)
        excess = level[event] - base[row]
        if age_s[row] < test.learn_s:
            if phase[row] < ABOVE:
                _learn_first(test, row, span_s, level[event], base, age_s)
                continue
            # Others have left it open: what is normal follows from how far from it they said it was.
            base[row], age_s[row] = max(level[event] - sums[row]["size"], test.floor), test.learn_s
            excess = level[event] - base[row]
        before = phase[row]
        if before == QUIET and -test.below <= excess <= test.above:
            if test.learn_s > 0.0:
                _learn_on(test, row, span_s, excess, base, age_s)
            continue
        phase[row] = _followed(test, at_s, span_s, excess, before, sums[row])
        if test.relearns or (test.learn_s > 0.0 and phase[row] == QUIET):
            _learn_on(test, row, span_s, excess, base, age_s)
        if before >= ABOVE or phase[row] >= ABOVE:
            touched[count] = row
            count += 1
    return count


@njit(cache=True)
def _learn_first(test: LevelTest, row: int, span_s: float, level: float, base: Array, age_s: Array) -> None:
    """Take a sample of the first seconds into the baseline; one that is wildly high counts little."""
    if age_s[row] == 0.0:
        base[row], age_s[row] = max(level, test.floor), JUST_BEGUN_S
        return
    excess = min(level - base[row], test.above)
    base[row] = max(base[row] + excess * span_s / (age_s[row] + span_s), test.floor)
    age_s[row] += span_s


@njit(cache=True)
def _learn_on(test: LevelTest, row: int, span_s: float, excess: float, base: Array, age_s: Array) -> None:
    """Draw the baseline slowly to where the level is."""
    if age_s[row] < test.memory_s:
        age_s[row] += span_s
    pull = min(max(excess, -test.above), test.above)
    share = min(1.0, span_s / min(float(age_s[row]), test.memory_s))
    base[row] = max(base[row] + pull * share, test.floor)


@njit(cache=True)
def _followed(test: LevelTest, at_s: float, span_s: float, excess: float, phase: int, its: Array) -> int:
    """The phase of one series after one sample."""
    if phase == QUIET:
        its["since_s"], its["span_s"], its["size"] = at_s, 0.0, excess
    memory_s = min(float(its["span_s"]) + span_s, SIZE_S)
    if memory_s > 0.0:
        its["size"] += (excess - its["size"]) * min(1.0, span_s / memory_s)
    its["span_s"] = memory_s
    ceiling = CEILING * test.alarm
    rise = min(max(excess - test.above, -test.most), test.most)
    its["up"] = min(max(its["up"] + rise * span_s, 0.0), ceiling)
    fall = min(max(-excess - test.below, -test.most), test.most)
    its["down"] = min(max(its["down"] + fall * span_s, 0.0), ceiling)
    if phase >= ABOVE:
        within = test.above - excess if phase == ABOVE else test.below + excess
        slack = test.above if phase == ABOVE else test.below
        its["well"] = max(its["well"] + min(max(within, -DOUBT * slack), slack) * span_s, 0.0)
        if its["well"] < test.well * 2.0 ** its["flaps"]:
            return phase
        its["up"] = its["down"] = its["well"] = 0.0
        its["closed_at_s"] = at_s
        return QUIET
    if its["up"] >= test.alarm or its["down"] >= test.alarm:
        its["well"] = 0.0
        its["flaps"] = again(at_s, float(its["closed_at_s"]), float(its["flaps"]))
        return ABOVE if its["up"] >= test.alarm else BELOW
    return DOUBTED if its["up"] > 0.0 or its["down"] > 0.0 else QUIET
