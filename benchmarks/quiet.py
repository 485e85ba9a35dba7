"""How often probes cry wolf, and how soon what is wrong is found.

Three million hours of a link on which nothing is wrong are gone through packet by packet.

Each link is probed both ways with 20 small and 5 large packets a second. Delays stray by |N(0, 15 us)|, one packet in a
thousand comes later by Exp(300 us), and one in 1e5 is lost. All of that is drawn for every packet and goes through
`karez.detect.channels.Probes`; but packets that arrive in time, while no test of delays is in doubt, are told together
when something happens again, since to the tests of loss they add up. Baselines stay as learned in the first seconds.

What can be calculated is shown beside it: by Wald's identity the sum that falls with every sample on average reaches
its alarm at most once in exp(theta * alarm) samples, where E[exp(theta * step)] = 1 and theta > 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq

from benchmarks import Figure
from karez.detect.board import Board, Places
from karez.detect.channels import DELAY, JITTER, LARGE_LOSS, PROBE_LOSS, Probes
from karez.detect.ears import Ears
from karez.detect.levels import LevelTest
from karez.detect.shares import OPEN, QUIET
from karez.twin import Twin
from karez.twin.table import Array
from karez.twin.telemetry import Samples

NAME = "quiet"
SEEDS = (1,)
LINKS = 200_000
LINK_HOURS = 3_000_000.0
# Links that lose more always, and long enough for that to be learned.
ROUGH_LINKS, ROUGH_LINK_HOURS = 2_000, 20_000.0
PACKET_S = 0.05
LARGE_EVERY = 4
NOISE_US = 15.0
SPIKE_SHARE = 1e-3
SPIKE_US = 300.0
LOST_SHARE = 1e-5
ROUGH_LOST_SHARE = 1e-4
LEARN_PACKETS = 60
HOUR_S = 3_600.0
BAR = 1e-6


def run() -> list[Figure]:
    """False alarms by link and hour, as measured and as calculated; and the median time to the first alarm."""
    alarms = cried(SEEDS[0], LINKS, LINK_HOURS, LOST_SHARE)
    rough = cried(SEEDS[0], ROUGH_LINKS, ROUGH_LINK_HOURS, ROUGH_LOST_SHARE)
    calculated = expected_loss(LOST_SHARE) + 2 * (bounded_delay() + bounded_jitter())
    unit = "1/(link h)"
    return [
        Figure(
            what="hours of a link without fault that were probed", value=LINK_HOURS, unit="h", better="higher", bar=3e6
        ),
        Figure(what="false alarms of probes", value=alarms.total() / LINK_HOURS, unit=unit, better="lower", bar=BAR),
        *(
            Figure(what=f"false alarms of probes: {kind}", value=alarms[kind] / LINK_HOURS, unit=unit, better="lower")
            for kind in ("loss", "large_loss", "delay", "clock", "jitter")
        ),
        Figure(what="false alarms of probes, calculated", value=calculated, unit=unit, better="lower", bar=BAR),
        Figure(
            what=f"false alarms of probes where a share of {ROUGH_LOST_SHARE:g} is lost always",
            value=rough.total() / ROUGH_LINK_HOURS,
            unit=unit,
            better="lower",
        ),
        *(
            Figure(
                what=f"first alarm after {o.what}", value=median_s(o, SEEDS[0]), unit="s", better="lower", bar=o.bar_s
            )
            for o in ONSETS
        ),
    ]


def cried(seed: int, links: int, link_hours: float, lost_share: float) -> Counter[str]:
    """How many alarms of each kind there were in so many hours of a link."""
    calm = Calm(seed, 2 * links, lost_share)
    for _ in range(math.ceil(link_hours / links * HOUR_S / PACKET_S)):
        calm.packet()
    return calm.alarms


class Calm:
    """Many ways of links on which nothing is wrong."""

    def __init__(self, seed: int, ways: int, lost_share: float) -> None:
        """Let every baseline be learned from the first packets."""
        self.random, self.ways, self.lost_share = np.random.default_rng(seed), ways, lost_share
        places = Places(Twin())
        self.board, self.probes = Board(places), Probes(places)
        self.alarms: Counter[str] = Counter()
        self.number = 0
        # Those in which some test is in doubt, and when each was last judged.
        self.doubted = np.zeros(0, np.int64)
        self.judged = np.zeros(ways, np.int64)
        self._learn()

    def _learn(self) -> None:
        ids = np.char.mod("L%07d>", np.arange(self.ways)).astype("S")
        one, none = np.ones(self.ways), np.zeros(self.ways)
        for _ in range(LEARN_PACKETS):
            self.number += 1
            spiked = self._some(SPIKE_SHARE)
            delays_us = self._delays_us(self.ways, spiked)
            columns = {"sent": one, "lost": none, "sent_large": none, "lost_large": none, "oneway_us": delays_us}
            self.probes.take(Samples("probe", self.at_s, ids, columns), self.board)
        self._count()
        self.alarms.clear()
        self.learned = (self.probes.delay.base.copy(), self.probes.delay.age_s.copy())
        self.judged[:] = self.number
        self.doubted = self._in_doubt(np.arange(self.ways))

    @property
    def at_s(self) -> float:
        """The second of the packet that is on its way."""
        return self.number * PACKET_S

    def packet(self) -> None:
        """One small packet on every way, and at times a large one."""
        self.number += 1
        large = self.number % LARGE_EVERY == 0
        spiked, lost = self._some(SPIKE_SHARE), self._some(self.lost_share)
        large_lost = self._some(self.lost_share) if large else lost[:0]
        rows = _distinct(np.concatenate([spiked, lost, large_lost, self.doubted]))
        self._catch_up(rows)
        counts = [np.ones(len(rows)), _among(rows, lost), np.full(len(rows), float(large)), _among(rows, large_lost)]
        delays_us = self._delays_us(len(rows), np.searchsorted(rows, spiked))
        delays_us[counts[1] > 0] = np.nan
        since_last_s = np.full(len(rows), PACKET_S, np.float32)
        self.probes.judge(self.at_s, rows, since_last_s, counts, delays_us, self.board)
        # What is judged is no fair sample, so nothing may be learned from it.
        for array, learned in zip((self.probes.delay.base, self.probes.delay.age_s), self.learned, strict=True):
            array[rows] = learned[rows]
        self.judged[rows] = self.number
        self.doubted = self._in_doubt(rows, _among(rows, spiked) > 0)
        self._count()

    def _catch_up(self, rows: Array) -> None:
        """Count the packets that arrived since these rows were judged: to the tests of loss they add up."""
        last, probes = self.judged[rows], self.probes
        missed = self.number - 1 - last
        some = missed > 0
        rows, missed, last = rows[some], missed[some].astype(np.float64), last[some]
        large = ((self.number - 1) // LARGE_EVERY - last // LARGE_EVERY).astype(np.float64)
        none, gap_s = np.zeros(len(rows)), (missed * PACKET_S).astype(np.float32)
        for test, sent in ((probes.small, missed), (probes.large, large), (probes.every, missed + large)):
            test.step(self.at_s - PACKET_S, rows, gap_s, sent, none)

    def _in_doubt(self, rows: Array, also: Array | bool = False) -> Array:
        """Those of `rows` that must be judged again with the next packet, whatever becomes of it."""
        probes = self.probes
        delays = [test.phase[rows] != QUIET for test in (probes.delay, probes.jitter)]
        alarms = [test.phase[rows] == OPEN for test in (probes.every, probes.small, probes.large)]
        again: Array = rows[np.any(delays + alarms, axis=0) | also]
        return again

    def _some(self, share: float) -> Array:
        """Rows to which something happens that happens to this share of the packets."""
        return _distinct(self.random.integers(0, self.ways, self.random.poisson(share * self.ways)))

    def _delays_us(self, count: int, spiked: Array) -> Array:
        delays_us = np.abs(self.random.normal(0.0, NOISE_US, count))
        delays_us[spiked] += self.random.exponential(SPIKE_US, len(spiked))
        return delays_us

    def _count(self) -> None:
        for change in self.board.changes():
            opened = zip(change.ids, change.columns["open"], strict=True)
            self.alarms.update(row.split("/")[0] for row, is_open in opened if is_open)


def _distinct(rows: Array) -> Array:
    """The rows in their order, each once."""
    rows = np.sort(rows)
    once: Array = rows[np.diff(rows, prepend=-1) > 0]
    return once


def _among(rows: Array, some: Array) -> Array:
    """One for those rows that are among some of them, and zero for the others (float64)."""
    flags = np.zeros(len(rows))
    flags[np.searchsorted(rows, some)] = 1.0
    return flags


def expected_loss(share: float) -> float:
    """Expected false alarms of loss and large loss by link and hour: as many losses as an alarm needs, within reach.

    So many losses k within w packets begin with a share p^k * w^(k-1) / (k-1)! of the packets, where w is what the sum
    can fall by before k losses do not make an alarm.
    """
    small_per_h = HOUR_S / PACKET_S
    every_per_h = small_per_h * (1 + 1 / LARGE_EVERY)
    ways = 2.0
    base = PROBE_LOSS.base
    both = [(PROBE_LOSS.high, PROBE_LOSS.high_alarm), (PROBE_LOSS.low, PROBE_LOSS.low_alarm)]
    found = sum(_runs(share, base, looked_for, alarm) for looked_for, alarm in both) * every_per_h
    both = [(LARGE_LOSS.high, LARGE_LOSS.high_alarm), (LARGE_LOSS.low, LARGE_LOSS.low_alarm)]
    found += sum(_runs(share, base, looked_for, alarm) for looked_for, alarm in both) * small_per_h / LARGE_EVERY
    return ways * found


def _runs(share: float, base: float, looked_for: float, alarm: float) -> float:
    gain, fall = math.log(looked_for / base), math.log1p(-base) - math.log1p(-looked_for)
    losses = math.ceil(alarm / gain)
    reach = max(1.0, (losses * gain - alarm) / fall)
    return float(share**losses * reach ** (losses - 1) / math.factorial(losses - 1))


def bounded_delay() -> float:
    """At most so many false alarms of delay by way and hour (Wald)."""

    def mean_of(value: Callable[[float], float]) -> float:
        density = quad(lambda x: value(x) * math.exp(-x / SPIKE_US) / SPIKE_US, 0.0, DELAY.above + DELAY.most)[0]
        beyond = value(DELAY.above + DELAY.most) * math.exp(-(DELAY.above + DELAY.most) / SPIKE_US)
        return SPIKE_SHARE * (density + beyond) + (1 - SPIKE_SHARE) * value(0.0)

    return _bound(DELAY, mean_of)


def bounded_jitter() -> float:
    """At most so many false alarms of jitter by way and hour, where each spike makes two changes."""

    def mean_of(value: Callable[[float], float]) -> float:
        density = quad(lambda x: value(x) * math.exp(-x / SPIKE_US) / SPIKE_US, 0.0, JITTER.above + JITTER.most)[0]
        beyond = value(JITTER.above + JITTER.most) * math.exp(-(JITTER.above + JITTER.most) / SPIKE_US)
        return 2 * SPIKE_SHARE * (density + beyond) + (1 - 2 * SPIKE_SHARE) * value(2 * NOISE_US)

    # Both changes come together, so that what they add counts as one step of twice the height: half of theta.
    return _bound(JITTER, mean_of, together=2)


def _bound(test: LevelTest, mean_of: Callable[[Callable[[float], float]], float], together: int = 1) -> float:
    def step(level_us: float) -> float:
        return min(max(level_us - test.above, -test.most), test.most) * PACKET_S

    def excess(theta: float) -> float:
        return mean_of(lambda level_us: math.exp(theta * step(level_us))) - 1.0

    top = 500.0 / (test.most * PACKET_S)
    theta = brentq(excess, 1e-6, top)
    return float(HOUR_S / PACKET_S * math.exp(-theta * test.alarm / together))


# How soon: so many series, each with a fault that begins at its own moment of one second.
FAULTY = 1_000
WELL_S, WAIT_S = 5.0, 30.0
PROBES_TOLD_S, USERS_TOLD_S, COUNTERS_TOLD_S = 0.1, 0.5, 1.0
PACKETS_PER_S = 100_000.0
SLOW_US = 5e3


class Onset(NamedTuple):
    """A fault and who should find it: what it does, the signal that says so, how often is told, and what is told."""

    what: str
    signal: str
    bar_s: float | None
    tick_s: float
    told: Callable[[np.random.Generator, float, Array], Samples]
    series: int = 1


def median_s(onset: Onset, seed: int) -> float:
    """The median time (s) from the beginning of the fault to its first signal, of several series where there are."""
    random, ears = np.random.default_rng(seed), Ears(Twin())
    begun_s = np.repeat(WELL_S + random.random(FAULTY), onset.series)
    found_s: dict[str, float] = {}
    for number in range(1, math.ceil((WELL_S + 1.0 + WAIT_S) / onset.tick_s) + 1):
        at_s = number * onset.tick_s
        for change in ears.hear([onset.told(random, at_s, begun_s)], at_s):
            for row, is_open in zip(change.ids, change.columns["open"], strict=True):
                if is_open and row.startswith(onset.signal):
                    found_s.setdefault(row.split("/")[2][:5], at_s)
    # Those of one link differ in the last letter only; whichever is first counts.
    after_s = [found_s.get(f"{i:05d}", math.inf) - begun_s[i * onset.series] for i in range(FAULTY)]
    return float(np.median(after_s))


def _affected(at_s: float, begun_s: Array, tick_s: float, every_s: float) -> tuple[int, Array]:
    """How many packets were sent since the tick before, one in `every_s`, and how many of them after it began."""
    number = math.floor(at_s / every_s + 1e-6)
    sent = number - math.floor((at_s - tick_s) / every_s + 1e-6)
    times_s = (number - np.arange(sent)) * every_s
    return sent, (times_s[:, None] > begun_s).sum(axis=0)


def _probes(
    random: np.random.Generator,
    at_s: float,
    begun_s: Array,
    *,
    slow_us: float = 0.0,
    lost: float = 0.0,
    large: float = 0.0,
) -> Samples:
    ways, two = len(begun_s), len(begun_s) > FAULTY
    sent, late = _affected(at_s, begun_s, PROBES_TOLD_S, PACKET_S)
    sent_large, late_large = _affected(at_s, begun_s, PROBES_TOLD_S, PACKET_S * LARGE_EVERY)
    lost_count = random.binomial(late, lost) + random.binomial(sent - late, LOST_SHARE)
    noise_us = np.abs(random.normal(0.0, NOISE_US, (sent, ways))).mean(axis=0)
    columns = {
        "sent": np.full(ways, sent),
        "lost": lost_count,
        "sent_large": np.full(ways, sent_large),
        "lost_large": random.binomial(late_large, max(lost, large)),
        "oneway_us": np.where(lost_count < sent, 1e3 + noise_us + slow_us * late / sent, np.nan),
    }
    return Samples("probe", at_s, _named(FAULTY, *("><" if two else ">")), columns)


def _users(random: np.random.Generator, at_s: float, begun_s: Array, *, lost: float) -> Samples:
    count = len(begun_s)
    sent = np.full(count, int(PACKETS_PER_S * USERS_TOLD_S))
    late = (sent * np.clip((at_s - begun_s) / USERS_TOLD_S, 0.0, 1.0)).astype(np.int64)
    columns = {
        "sent": sent,
        "lost": random.binomial(late, lost),
        "oneway_us": np.full(count, 9e3),
        "gbps": np.ones(count),
    }
    return Samples("user", at_s, _named(count, "u"), columns)


def _counters(random: np.random.Generator, at_s: float, begun_s: Array, *, lost: float) -> Samples:
    """Both ends of links with as much traffic both ways, of which a part is lost on the way to the end a.

    The part is no chance; that each end is read up to a millisecond too early matters more.
    """
    ports = 2 * len(begun_s)
    read_s = at_s - 1e-3 * random.random(ports)
    sent = PACKETS_PER_S * read_s
    gone = np.zeros(ports)
    gone[::2] = PACKETS_PER_S * lost * np.maximum(read_s[::2] - begun_s, 0.0)
    columns = {
        "tx_packets": np.floor(sent),
        "rx_packets": np.floor(sent - gone),
        "rx_errors": np.zeros(ports),
        "tx_drops": np.zeros(ports),
        "tx_gbps": np.ones(ports),
        "host_at_s": at_s + random.normal(0.0, 1e-4, ports),
    }
    return Samples("counter", at_s, _named(len(begun_s), "@a", "@b"), columns)


@cache
def _named(count: int, *ends: str) -> Array:
    return np.array([f"{i:05d}{end}" for i in range(count) for end in ends], "S")


ONSETS = (
    Onset("5 ms more on a link (probes)", "delay/probe", 0.3, PROBES_TOLD_S, partial(_probes, slow_us=SLOW_US)),
    Onset("large packets are eaten (probes)", "large_loss/probe", 1.0, PROBES_TOLD_S, partial(_probes, large=1.0)),
    Onset("all is lost (probes)", "loss/probe", None, PROBES_TOLD_S, partial(_probes, lost=1.0)),
    Onset("5 % are lost both ways (probes)", "loss/probe", 2.5, PROBES_TOLD_S, partial(_probes, lost=0.05), 2),
    Onset("5 % are lost one way (probes)", "loss/probe", 2.5, PROBES_TOLD_S, partial(_probes, lost=0.05)),
    Onset("5 % are lost (users)", "loss/user", 1.5, USERS_TOLD_S, partial(_users, lost=0.05)),
    Onset("1 % are lost (users)", "loss/user", None, USERS_TOLD_S, partial(_users, lost=0.01)),
    Onset("5 % are lost (counters)", "loss/counter", 1.5, COUNTERS_TOLD_S, partial(_counters, lost=0.05)),
    Onset("1 % are lost (counters)", "loss/counter", 2.0, COUNTERS_TOLD_S, partial(_counters, lost=0.01)),
)
