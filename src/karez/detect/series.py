"""The series of one channel: which row each has, when it last told, and how often it tells."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numba import njit

from karez.detect.columns import Columns
from karez.twin.table import Array, texts

# A series is silent when it has told nothing for more than so many of its periods.
SILENT_PERIODS = 3.0
# The first gap says nothing: whoever begins to listen is told at once, and again when it is time for all.
FIRST_GAPS = 1
# How fast a period is learned, and how much longer than the one learned a single gap can seem.
PERIOD_GAIN = 0.1
LONGEST_GAP = 3.0
CLOSE_S = 1e-6


class Series(Columns):
    """When each series last told, how often it tells (0: not known yet), and whether it is silent.

    `gaps` counts the first gaps, from which nothing is learned.
    """

    layout: ClassVar = {
        "last_s": (np.dtype("f8"), np.nan),
        "period_s": (np.dtype("f4"), 0),
        "gaps": (np.dtype("u1"), 0),
        "silent": (np.dtype("u1"), 0),
    }
    last_s: Array
    period_s: Array
    gaps: Array
    silent: Array

    def __init__(self) -> None:
        """Start without series."""
        super().__init__()
        self.ids: list[bytes] = []
        self._index: dict[bytes, int] = {}
        self._known: tuple[Array, Array] | None = None

    def rows(self, ids: Array) -> Array:
        """The row of each id (int64); new ones get the next. The same array as before is looked up no more."""
        if self._known is not None and self._known[0] is ids:
            return self._known[1]
        index = self._index
        rows = np.fromiter((index.setdefault(name, len(index)) for name in texts(ids).tolist()), np.int64, len(ids))
        self.ids.extend(list(index)[len(self.ids) :])
        self._known = (ids, rows)
        return rows

    def name(self, ids: list[bytes]) -> None:
        """Take over ids that were frozen."""
        self.ids, self._known = ids, None
        self._index = {name: row for row, name in enumerate(ids)}

    def heard(self, at_s: float, rows: Array, told: Array) -> Array:
        """Seconds since each of `rows` last told (float32; 0 at the first time), after those that `told` have."""
        since_last_s = np.empty(len(rows), np.float32)
        hear(at_s, rows, told, self.last_s, self.period_s, self.gaps, since_last_s)
        return since_last_s

    def hushed(self, at_s: float) -> Array:
        """The rows that have fallen silent by `at_s` or have told again since the last time."""
        touched = np.empty(len(self.silent), np.int64)
        return touched[: hush(at_s, self.last_s, self.period_s, self.silent, touched)]


@njit(cache=True)
def hear(
    at_s: float, rows: Array, told: Array, last_s: Array, period_s: Array, gaps: Array, since_last_s: Array
) -> None:
    """Write how long ago each told, and keep that it told now."""
    for event in range(rows.size):
        row, gap_s = rows[event], np.float32(0.0)
        if told[event]:
            if at_s > last_s[row]:
                gap_s = np.float32(at_s - last_s[row])
                period = period_s[row]
                if gaps[row] < FIRST_GAPS:
                    gaps[row] += 1
                elif period == 0.0:
                    period_s[row] = gap_s
                elif gap_s != period:
                    period_s[row] = period + PERIOD_GAIN * (min(gap_s, LONGEST_GAP * period) - period)
            last_s[row] = at_s
        since_last_s[event] = gap_s


@njit(cache=True)
def hush(at_s: float, last_s: Array, period_s: Array, silent: Array, touched: Array) -> int:
    """The number of rows whose silence began or ended, which are written to `touched`."""
    count = 0
    for row in range(silent.size):
        now = period_s[row] > 0.0 and at_s - last_s[row] > SILENT_PERIODS * period_s[row] + CLOSE_S
        if now != (silent[row] == 1):
            silent[row] = now
            touched[count] = row
            count += 1
    return count
