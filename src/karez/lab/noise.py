"""The noise of a network on which nothing is wrong: measured from what it tells, and given to one that has less.

The embedded network has a noise of its own, which nobody can set. `Noisy` stands before it and adds what a lab has
more, so that detectors hear the one as they hear the other; what a lab has less of cannot be taken away.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from karez.adapters.embedded.chance import chance
from karez.adapters.network import Network
from karez.lab.dataset import Heard
from karez.plan import Action
from karez.twin.table import Array
from karez.twin.telemetry import Samples, StateRows

# What chance is for, apart from what the embedded network draws.
USES: Final = {"probe": 101, "user": 102, "counter": 103}
TURNS_USE: Final = 104
# The median distance from the median of what is normally distributed is its deviation by this.
# Source: Rousseeuw and Croux, "Alternatives to the median absolute deviation", JASA 88 (1993).
DEVIATION = 1.4826
# What the variance of the median of n numbers is, times n and as a share of theirs: for a normal distribution, pi / 2.
# Source: A. W. van der Vaart, "Asymptotic Statistics" (1998), example 21.1.
MEDIAN_VARIANCE = math.pi / 2.0
# What is so many deviations off is a spike; a turn that takes so much longer than meant is late.
SPIKE_DEVIATIONS, LATE_SHARE = 5.0, 0.5
US_PER_S = 1e6


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How much what is told swings: of each series by itself, and of all that are told at once together (us).

    Besides, a `spike_share` of what is told is above all that: by `spike_us` on average.
    """

    jitter_us: float = 0.0
    together_us: float = 0.0
    spike_share: float = 0.0
    spike_us: float = 0.0


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """What a network tells while nothing is wrong.

    `late_share` of the turns come late, by `late_s` on average. `probe` and `user` are of delays, `clock` of when hosts
    read their counters: `clock_us` after the turn began, on average. `lost_share` is of test packets and of users'.
    """

    turn_s: float
    late_share: float = 0.0
    late_s: float = 0.0
    probe: Spread = Spread()
    user: Spread = Spread()
    clock: Spread = Spread()
    clock_us: float = 0.0
    probe_lost_share: float = 0.0
    user_lost_share: float = 0.0


def heard(network: Network, times_s: Iterable[float]) -> Iterator[Heard]:
    """What a network tells in turns at these times."""
    for at_s in times_s:
        yield Heard(at_s, network.observe(at_s), network.hear(at_s))


def measured(turns: Iterable[Heard], *, turn_s: float) -> Noise:
    """The noise in what was told in turns that were meant to come every `turn_s`, while nothing was wrong."""
    told: dict[str, list[Samples]] = {}
    times_s = []
    for turn in turns:
        times_s.append(turn.at_s)
        for some in turn.samples:
            told.setdefault(some.channel, []).append(some)
    over_s = np.diff(times_s) - turn_s
    late = over_s > LATE_SHARE * turn_s
    read_us = _clocks_us(told.get("counter", []))
    return Noise(
        turn_s=turn_s,
        late_share=float(late.mean()) if len(late) else 0.0,
        late_s=float(over_s[late].mean()) if late.any() else 0.0,
        probe=_spread(_table(told.get("probe", []), "oneway_us")),
        user=_spread(_table(told.get("user", []), "oneway_us")),
        clock=_spread(read_us),
        clock_us=float(np.nanmedian(read_us)) if np.isfinite(read_us).any() else 0.0,
        probe_lost_share=_lost(told.get("probe", [])),
        user_lost_share=_lost(told.get("user", [])),
    )


def beyond(noise: Noise, own: Noise) -> Noise:
    """What must be added to a network of the noise `own` so that it has `noise`, as far as that is more.

    What is independent adds up in its squares.
    """
    spreads = {name: _more(getattr(noise, name), getattr(own, name)) for name in ("probe", "user", "clock")}
    shares = {
        name: max(getattr(noise, name) - getattr(own, name), 0.0) for name in ("probe_lost_share", "user_lost_share")
    }
    return msgspec.structs.replace(noise, **spreads, **shares, clock_us=noise.clock_us - own.clock_us)


def turns_s(noise: Noise, *, start_s: float, until_s: float, seed: int) -> Iterator[float]:
    """The times of turns, some of which are as late as they were where the noise was measured."""
    at_s = start_s
    while (at_s := at_s + noise.turn_s) < until_s:
        yield at_s
        random = chance(seed, TURNS_USE, at_s)
        if random.random() < noise.late_share:
            least_s = LATE_SHARE * noise.turn_s
            at_s += least_s + random.exponential(max(noise.late_s - least_s, 0.0))


class Noisy:
    """A network as it is, whose telemetry is noisier."""

    def __init__(self, network: Network, more: Noise, *, seed: int) -> None:
        """Add `more` to what it tells."""
        self.kinds = network.kinds
        self._network, self._more, self._seed = network, more, seed

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What it tells."""
        return self._network.observe(at_s)

    def hear(self, at_s: float) -> tuple[Samples, ...]:
        """Its telemetry, with the noise."""
        return tuple(some._replace(columns=self._noisy(some)) for some in self._network.hear(at_s))

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """Its rows as they are."""
        return self._network.look(table, ids)

    def apply(self, action: Action, at_s: float) -> str:
        """What stands in the way."""
        return self._network.apply(action, at_s)

    def _noisy(self, some: Samples) -> dict[str, Array]:
        if some.channel not in USES:
            return some.columns
        random, more = chance(self._seed, USES[some.channel], some.at_s), self._more
        if some.channel == "counter":
            off_us = more.clock_us + _drawn_us(random, more.clock, len(some.ids))
            return some.columns | {"host_at_s": some.columns["host_at_s"] + off_us / US_PER_S}
        of_probes = some.channel == "probe"
        spread, share = (more.probe, more.probe_lost_share) if of_probes else (more.user, more.user_lost_share)
        oneway_us = np.maximum(some.columns["oneway_us"] + _drawn_us(random, spread, len(some.ids)), 0.0)
        changed = {"oneway_us": oneway_us} | _with_lost(random, some.columns, share)
        changed["oneway_us"] = np.where(changed["lost"] < some.columns["sent"], oneway_us, np.nan)
        return some.columns | changed


def _with_lost(random: np.random.Generator, columns: dict[str, Array], share: float) -> dict[str, Array]:
    """How many packets are lost when a share of those that came is lost, too."""
    pairs = [pair for pair in (("sent", "lost"), ("sent_large", "lost_large")) if pair[0] in columns]
    return {
        lost: columns[lost] + random.binomial(np.maximum(columns[sent] - columns[lost], 0).astype(np.int64), share)
        for sent, lost in pairs
    }


def _drawn_us(random: np.random.Generator, spread: Spread, count: int) -> Array:
    """By how much each of so many series is off."""
    own_us = spread.jitter_us * random.standard_normal(count)
    spikes = random.random(count) < spread.spike_share
    spiked_us = SPIKE_DEVIATIONS * spread.jitter_us + spread.spike_us * random.standard_exponential(count)
    return np.asarray(spread.together_us * random.standard_normal() + np.where(spikes, spiked_us, own_us))


def _table(told: Sequence[Samples], column: str) -> Array:
    """A column, by telling and series; of the series that the first telling has."""
    alike = [some.columns[column] for some in told if np.array_equal(some.ids, told[0].ids)]
    return np.array(alike, float) if alike else np.zeros((0, 0))


def _clocks_us(told: Sequence[Samples]) -> Array:
    """How long after the turn began each interface was read (us), by telling and interface."""
    read_s = _table(told, "host_at_s")
    times_s = np.array([some.at_s for some in told if np.array_equal(some.ids, told[0].ids)])
    return np.asarray((read_s - times_s[:, None]) * US_PER_S) if len(times_s) else read_s


def _spread(told_us: Array) -> Spread:
    """The spread of what was told, by telling and series, about the median of each series."""
    known = np.isfinite(told_us)
    told_us = told_us[np.ix_(known.any(axis=1), known.any(axis=0))]
    if not told_us.size:
        return Spread()
    off_us = told_us - np.nanmedian(told_us, axis=0)
    common_us = np.nanmedian(off_us, axis=1)
    own_us = off_us - common_us[:, None]
    own_us = own_us[np.isfinite(own_us)]
    # What two series that are told at once differ by has nothing of what they have together.
    apart_us = np.diff(off_us, axis=1) if off_us.shape[1] > 1 else np.diff(off_us, axis=0)
    jitter_us = _deviation(apart_us[np.isfinite(apart_us)]) / math.sqrt(2.0)
    above_us = own_us - SPIKE_DEVIATIONS * jitter_us
    spikes = above_us > 0.0
    # The median of many that swing by themselves swings, too.
    median_us = jitter_us * math.sqrt(MEDIAN_VARIANCE / told_us.shape[1])
    return Spread(
        jitter_us=jitter_us,
        together_us=_without(_deviation(common_us), median_us),
        spike_share=float(spikes.mean()),
        spike_us=float(above_us[spikes].mean()) if spikes.any() else 0.0,
    )


def _deviation(values: Array) -> float:
    """The deviation that a normal distribution of the same middle half would have."""
    return DEVIATION * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0


def _more(spread: Spread, own: Spread) -> Spread:
    # Spikes of its own that would not stand out of the jitter wanted are none.
    seen = SPIKE_DEVIATIONS * own.jitter_us + own.spike_us > SPIKE_DEVIATIONS * spread.jitter_us
    share = max(spread.spike_share - own.spike_share * seen, 0.0)
    return Spread(
        jitter_us=_without(spread.jitter_us, own.jitter_us),
        together_us=_without(spread.together_us, own.together_us),
        spike_share=share,
        spike_us=spread.spike_us if share else 0.0,
    )


def _without(all_us: float, part_us: float) -> float:
    """What is left of a deviation without a part of it that is independent of the rest."""
    return math.sqrt(max(all_us**2 - part_us**2, 0.0))


def _lost(told: Sequence[Samples]) -> float:
    """The share of packets that were lost."""
    names = [(sent, lost) for sent, lost in (("sent", "lost"), ("sent_large", "lost_large"))]
    sums = [
        sum(float(np.nansum(some.columns[name])) for some in told for name in pair if name in some.columns)
        for pair in zip(*names, strict=True)
    ]
    return sums[1] / sums[0] if sums[0] else 0.0
