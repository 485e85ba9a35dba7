"""Sequential tests of shares: of so many packets so many were lost (or broken, or too many).

Each series is held against two alternatives, a low and a high share, by a cumulated sum of the logarithm of the
likelihood ratio that never falls below zero: Wald's sequential test, begun again whenever it has decided for "well".
An alarm stands until a second test of the same kind, "well" against the share that was seen, has decided. Of what is
told in one breath no more counts than a part of an alarm, so that one burst alone raises none.

Source: Wald, "Sequential analysis", 1947; Page, Biometrika 41 (1954); Lorden, Ann. Math. Statist. 42 (1971): the mean
number of packets between false alarms is at least exp(alarm) where the share is no more than `base`.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numba import njit

from karez.detect.columns import Columns, again, sums
from karez.twin.table import Array

QUIET, DOUBTED, OPEN = 0, 1, 2
# Sums stop at so many alarms.
CEILING = 4.0
# An open alarm is held against the share that was seen, and at most against half. As an alarm opens when by chance much
# is lost at once, one lost packet is left out, and so many more are taken to have arrived.
ADDED = 20.0
MOST_SHARE = 0.5
# Where so many packets in a row are all that was sent in a breath, what arrived before them says nothing of the share.
WHOLE = 5.0
# Of what would close an alarm, what is told in one breath counts at most for this part.
WELL_BREATH = 0.6
# An alarm is no more when nothing was sent for so long: nobody can say whether it still holds.
IDLE_S = 3.0

SUMS = sums(
    *("low", "high", "spent_low", "spent_high", "breath_at_s", "well", "idle_s", "closed_at_s", "flaps"),
    *("since_s", "lost", "sent", "size", "bad", "lost_before"),
)


class ShareTest(NamedTuple):
    """What a share is held against.

    Attributes:
        base: The share up to which nothing is wrong.
        low: The smaller share that is looked for.
        high: The greater one.
        low_alarm: The logarithm of the likelihood ratio at which the smaller one is found.
        high_alarm: The same of the greater one.
        least: The smallest share that an alarm is held against when it is to close.
        well: The logarithm of the likelihood ratio at which an alarm closes.
        breath_s: How long a breath is.
        breath: The part of an alarm that counts of one breath.
        most_per_s: Packets a second that count; of more, as many as this speak for all, since they are not independent.
        prior: Packets without loss that a learned base begins with; inf where the base is not learned.
        memory: Packets over which the share is reckoned that is told.
    """

    base: float
    low: float
    high: float
    low_alarm: float
    high_alarm: float
    least: float
    well: float
    breath_s: float
    breath: float
    most_per_s: float = np.inf
    prior: float = np.inf
    memory: float = 200.0


class Shares(Columns):
    """The state of one test over many series: their phase, packets seen while quiet, and sums where it is not quiet."""

    layout: ClassVar = {"phase": (np.dtype("u1"), 0), "seen": (np.dtype("f4"), 0), "sums": (SUMS, 0)}
    phase: Array
    seen: Array
    sums: Array

    def __init__(self, test: ShareTest) -> None:
        """Start without series."""
        super().__init__()
        self.test = test
        self._touched = np.zeros(0, np.int64)

    def step(self, at_s: float, rows: Array, since_last_s: Array, sent: Array, lost: Array) -> Array:
        """The rows (int64) that are open or have just closed, after `lost` of `sent` packets were lost on `rows`."""
        if len(self._touched) < len(rows):
            self._touched = np.empty(len(rows), np.int64)
        args = (self.phase, self.seen, self.sums, self._touched)
        return self._touched[: weigh(self.test, at_s, rows, since_last_s, sent, lost, *args)]

    def told(self, row: int) -> tuple[float, float, float]:
        """Since when (s), what share, and the logarithm of the likelihood ratio."""
        its = self.sums[row]
        return float(its["since_s"]), float(its["size"]), float(max(its["low"], its["high"]))


@njit(cache=True)
def weigh(
    test: ShareTest,
    at_s: float,
    rows: Array,
    since_last_s: Array,
    sent: Array,
    lost: Array,
    phase: Array,
    seen: Array,
    sums: Array,
    touched: Array,
) -> int:
    """The number of rows that are open or have just closed, which are written to `touched`."""
    count = 0
    learns = test.prior < np.inf
    for event in range(rows.size):
        # What is not measured, or no number, says nothing.
        row = rows[event]
        if not (sent[event] > 0.0 and lost[event] >= 0.0):
            if phase[row] == OPEN and sent[event] == 0.0 and _faded(since_last_s[event], sums[row]):
                phase[row] = QUIET
                touched[count] = row
                count += 1
            continue
        if lost[event] == 0.0 and phase[row] == QUIET:
            if learns:
                seen[row] += sent[event]
            continue
        before = phase[row]
        phase[row] = _weighed(test, at_s, since_last_s[event], sent[event], lost[event], before, seen, sums, row)
        if before == OPEN or phase[row] == OPEN:
            touched[count] = row
            count += 1
    return count


@njit(cache=True)
def _faded(since_last_s: float, its: Array) -> bool:
    """Whether nothing was sent for so long that an alarm says nothing any more."""
    its["idle_s"] += since_last_s
    if its["idle_s"] < IDLE_S:
        return False
    its["low"] = its["high"] = its["idle_s"] = 0.0
    return True


@njit(cache=True)
def _weighed(
    test: ShareTest,
    at_s: float,
    since_last_s: float,
    sent: float,
    lost: float,
    phase: int,
    seen: Array,
    sums: Array,
    row: int,
) -> int:
    """The phase of one series after one sample."""
    its = sums[row]
    span_s = since_last_s if since_last_s > 0.0 else test.breath_s
    scale = min(1.0, test.most_per_s * span_s / sent)
    lost = min(lost, sent) * scale
    kept = sent * scale - lost
    breaths = max(1.0, span_s / test.breath_s)
    base = max(test.base, (its["lost_before"] + 1.0) / (seen[row] + test.prior))
    its["idle_s"] = 0.0
    if phase == QUIET:
        its["since_s"], its["lost"], its["sent"] = at_s, 0.0, 0.0
    if at_s - its["breath_at_s"] >= test.breath_s or at_s < its["breath_at_s"]:
        its["breath_at_s"], its["spent_low"], its["spent_high"] = at_s, 0.0, 0.0
    room = test.breath * test.low_alarm * breaths - its["spent_low"]
    gain = min(_gain(test.low, base, kept, lost), room)
    its["spent_low"] += max(gain, 0.0)
    its["low"] = min(max(its["low"] + gain, 0.0), CEILING * test.low_alarm)
    room = test.breath * test.high_alarm * breaths - its["spent_high"]
    gain = min(_gain(test.high, base, kept, lost), room)
    its["spent_high"] += max(gain, 0.0)
    its["high"] = min(max(its["high"] + gain, 0.0), CEILING * test.high_alarm)
    if kept == 0.0 and lost >= WHOLE:
        its["lost"] = its["sent"] = 0.0
    its["lost"] += lost
    its["sent"] += kept + lost
    if lost > 0.0:
        its["size"] = its["lost"] / its["sent"]
        its["bad"] = min(max((its["lost"] - 1.0) / (its["sent"] + ADDED), test.least), MOST_SHARE)
    if its["sent"] > test.memory:
        its["lost"] *= 0.5
        its["sent"] *= 0.5
    if phase == OPEN:
        gain = -_gain(max(base, its["bad"]), base, kept, lost)
        its["well"] = max(its["well"] + min(gain, WELL_BREATH * test.well * breaths), 0.0)
        if its["well"] < test.well * 2.0 ** its["flaps"]:
            return OPEN
        its["low"] = its["high"] = 0.0
        its["closed_at_s"] = at_s
        return QUIET
    if its["low"] >= test.low_alarm or its["high"] >= test.high_alarm:
        its["well"] = 0.0
        its["flaps"] = again(at_s, its["closed_at_s"], its["flaps"])
        return OPEN
    if its["low"] > 0.0 or its["high"] > 0.0:
        return DOUBTED
    # It was chance: it belongs to what is normal here.
    seen[row] += its["sent"]
    its["lost_before"] += its["lost"]
    return QUIET


@njit(cache=True)
def _gain(share: float, base: float, kept: float, lost: float) -> float:
    """The logarithm of the likelihood ratio of `share` against `base`, which is small: ln(1 - base) is -base."""
    gain = kept * (np.log1p(-share) + base)
    if lost > 0.0:
        gain += lost * np.log(share / base)
    return float(gain)
