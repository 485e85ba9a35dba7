"""A million series of probes in one tick: a sequential test of their loss and one of their delay.

The yardstick is the same two recursions (one alternative, no breaths, nothing learned once alarmed) as a good hand
would write them in plain numpy, on the same numbers in the same run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks import Figure
from benchmarks.instances.mesh import mesh
from karez.adapters.embedded import EmbeddedNetwork
from karez.detect.board import Board, Places
from karez.detect.channels import DELAY, SMALL_LOSS, Probes
from karez.detect.ears import Ears
from karez.detect.levels import Levels
from karez.detect.shares import Shares
from karez.twin import Twin
from karez.twin.table import Array
from karez.twin.telemetry import Samples

NAME = "statistics"
SEEDS = (1,)
SERIES = 1_000_000
TICK_S = 0.1
WARM_TICKS = 25
TICKS = 15
NOISE_US = 15.0
SPIKE_SHARE = 1e-3
SPIKE_US = 300.0
LOST_SHARE = 1e-5
# So many series are slow, and as many lossy, while it is measured: what is rare is there.
FAULTY = 100
BAR_MS = 25.0
# A network of some 40 links and 80 demands, with all its channels.
SITES = 28
HEARINGS = 600
SMALL_BAR_MS = 0.15


class Tick:
    """What was told in one tick of all series: two small packets each, and one large in every other tick."""

    def __init__(self, random: np.random.Generator, number: int, base_us: Array) -> None:
        """Draw it."""
        self.at_s = number * TICK_S
        self.sent = np.full(SERIES, 2.0)
        self.lost = random.binomial(2, LOST_SHARE, SERIES).astype(np.float64)
        self.large = np.full(SERIES, float(number % 2))
        self.large_lost = np.zeros(SERIES)
        noise_us = np.abs(random.normal(0.0, NOISE_US, SERIES))
        spiky = random.random(SERIES) < SPIKE_SHARE
        noise_us[spiky] += random.exponential(SPIKE_US, np.count_nonzero(spiky))
        self.oneway_us = base_us + noise_us
        if number >= WARM_TICKS:
            self.oneway_us[:FAULTY] += 5e3
            self.lost[-FAULTY:] = 1.0


def run() -> list[Figure]:
    """CPU time of one tick, the median over ticks."""
    random = np.random.default_rng(SEEDS[0])
    base_us = random.uniform(100.0, 5e3, SERIES)
    ways = [tests(), plain(), channel()]
    spent: list[list[float]] = [[], [], []]
    for number in range(1, WARM_TICKS + TICKS + 1):
        tick = Tick(random, number, base_us)
        for way, times in zip(ways, spent, strict=True):
            begun = time.process_time()
            way(tick)
            times.append((time.process_time() - begun) * 1e3)
    ours, yardstick, whole = (statistics.median(times[WARM_TICKS:]) for times in spent)
    return [
        Figure(
            what="1,000,000 series a tick: loss and delay",
            value=ours,
            unit="CPU ms",
            better="lower",
            bar=BAR_MS,
            yardstick=yardstick,
        ),
        Figure(
            what="1,000,000 series a tick: all that is done with probes (loss, large loss, delay, jitter, silence)",
            value=whole,
            unit="CPU ms",
            better="lower",
        ),
        Figure(
            what=f"all that a network of {SITES} sites tells heard once, on average",
            value=heard_ms(SEEDS[0]),
            unit="CPU ms",
            better="lower",
            bar=SMALL_BAR_MS,
        ),
    ]


def heard_ms(seed: int) -> float:
    """CPU time (ms) of one hearing of an embedded network, the mean over a minute of ten a second."""
    world = mesh(seed, sites=SITES)
    network, ears, spent_s = EmbeddedNetwork(world, seed=seed, start_s=0.0), Ears(world.intended), 0.0
    for number in range(1, WARM_TICKS + HEARINGS + 1):
        at_s = number * TICK_S
        told = network.hear(at_s)
        begun_s = time.process_time()
        ears.hear(told, at_s)
        spent_s += (time.process_time() - begun_s) * (number > WARM_TICKS)
    return spent_s / HEARINGS * 1e3


Way = Callable[[Tick], None]


def tests() -> Way:
    """The two tests that are measured, which must find what is wrong."""
    loss, delay = Shares(SMALL_LOSS), Levels(DELAY)
    loss.grow(SERIES)
    delay.grow(SERIES)
    rows, since_last_s = np.arange(SERIES), np.full(SERIES, TICK_S, np.float32)
    found: set[int] = set()

    def step(tick: Tick) -> None:
        lossy = loss.step(tick.at_s, rows, since_last_s, tick.sent, tick.lost)
        slow = delay.step(tick.at_s, rows, since_last_s, tick.oneway_us)
        found.update(lossy.tolist(), slow.tolist())
        if tick.at_s > (WARM_TICKS + TICKS) * TICK_S - TICK_S / 2 and len(found) != 2 * FAULTY:
            raise RuntimeError(f"{len(found)} series were found, and {2 * FAULTY} are faulty")

    return step


def plain() -> Way:
    """The yardstick: both recursions on whole arrays."""
    ratio, excess_us = np.zeros(SERIES), np.zeros(SERIES)
    base_us, seen = np.zeros(SERIES), 0
    hit, miss = np.log(SMALL_LOSS.high / SMALL_LOSS.base), np.log1p(-SMALL_LOSS.high) - np.log1p(-SMALL_LOSS.base)

    def step(tick: Tick) -> None:
        nonlocal seen
        seen += 1
        np.maximum(ratio + tick.lost * hit + (tick.sent - tick.lost) * miss, 0.0, out=ratio)
        beyond_us = tick.oneway_us - base_us
        rise = np.clip(beyond_us - DELAY.above, -DELAY.most, DELAY.most) * TICK_S
        if seen > WARM_TICKS // 2:
            np.maximum(excess_us + rise, 0.0, out=excess_us)
        weight = max(1.0 / seen, TICK_S / DELAY.memory_s)
        base_us[:] += (
            np.where(excess_us == 0.0, np.minimum(beyond_us, DELAY.above) if seen > 1 else beyond_us, 0) * weight
        )
        np.flatnonzero(ratio >= SMALL_LOSS.high_alarm)
        np.flatnonzero(excess_us >= DELAY.alarm)

    return step


def channel() -> Way:
    """All that the channel of probes does, up to the signals."""
    places = Places(Twin())
    board, probes = Board(places), Probes(places)
    ids = np.char.mod("L%06d>", np.arange(SERIES)).astype("S")

    def step(tick: Tick) -> None:
        columns = {
            "sent": tick.sent,
            "lost": tick.lost,
            "sent_large": tick.large,
            "lost_large": tick.large_lost,
            "oneway_us": tick.oneway_us,
        }
        probes.take(Samples("probe", tick.at_s, ids, columns), board)
        probes.hush(tick.at_s, board)
        board.changes()

    return step
