"""Traffic: how what is offered swings, and what becomes of it on its way: queues, drops, losses, delays.

What is offered at a time depends on seed and time alone. It comes in blocks over which its mean is exact, so that a
time in which all is well can be passed over in one step, with the same sums as second by second.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from karez.adapters.embedded.chance import SWING, chance
from karez.adapters.embedded.forks import Forks
from karez.adapters.embedded.routing import Paths
from karez.twin.table import Array

# How far a demand strays from its mean (share, standard deviation and most), and what is left of that a second later.
SWING_SHARE = 0.06
MOST_SWING_SHARE = 0.2
KEPT_SHARE = 0.9
BLOCK_S = 64
# Packets of 10 kbit; those above 1,400 bytes among them.
PACKETS_PER_S_PER_GBPS = 100_000.0
LARGE_SHARE = 0.3
# Packets that any way loses, though nothing is wrong.
BASE_LOSS_SHARE = 1e-5
# Service time that one unit of queue adds (us), and the utilisation at which a queue is full.
QUEUE_US = 5.0
FULLEST_SHARE = 0.99
# A queue that is too small drops from this utilisation on.
SMALL_QUEUE_FROM_SHARE = 0.3
# What is dropped upstream does not load what is downstream: drops and loads are found in so many rounds.
ROUNDS = 6
SETTLED_SHARE = 1e-9
# Users: who loses more than this halves the rate, but not below `LEAST_RATE_SHARE`, and then comes back slowly.
FELT_LOSS_SHARE = 0.01
LEAST_RATE_SHARE = 0.25
RECOVERED_SHARE = 0.05


class Swing(Forks):
    """What each demand offers at a time, as a share of its mean."""

    def __init__(self, seed: int, demands: int) -> None:
        """Begin nowhere; blocks are made as they are asked for."""
        self._seed, self._demands = seed, demands
        self._number, self._block = -1, np.ones((BLOCK_S, demands))

    def at(self, second: int) -> Array:
        """The shares in this second (one a demand)."""
        number, within = divmod(second, BLOCK_S)
        if number != self._number:
            self._number, self._block = number, self._made(number)
        share: Array = self._block[within]
        return share

    def mean(self, first: int, end: int) -> Array:
        """The mean of the shares in the seconds from `first` up to but not with `end` (one a demand)."""
        from_block, in_first = divmod(first, BLOCK_S)
        to_block, in_last = divmod(end, BLOCK_S)
        total = np.full(self._demands, float(BLOCK_S * (to_block - from_block)))
        if in_first:
            self.at(first)
            total -= self._block[:in_first].sum(axis=0)
        if in_last:
            self.at(end)
            total += self._block[:in_last].sum(axis=0)
        return np.asarray(total / (end - first))

    def _made(self, number: int) -> Array:
        block = chance(self._seed, SWING, number).standard_normal((BLOCK_S, self._demands))
        _smooth(block, KEPT_SHARE)
        block *= SWING_SHARE
        block -= block.mean(axis=0)
        most = np.abs(block).max(axis=0, initial=MOST_SWING_SHARE)
        made: Array = 1.0 + block * (MOST_SWING_SHARE / most)
        made.flags.writeable = False
        return made


class Ways(NamedTuple):
    """How each way treats packets; `tx` says whether its interface sends at all."""

    tx: Array
    carries: Array
    capacity_gbps: Array
    loss: Array
    errors: Array
    large: Array
    delay_us: Array
    small_queue: Array


class Spots(NamedTuple):
    """How the router at each vertex treats packets; `hole` is the goal (vertex, -1: none) that it leads nowhere.

    `known` is 1 where the others know a way to its users, and 0 where not.
    """

    alive: Array
    fabric: Array
    transit_us: Array
    hole: Array
    entry: Array
    exit: Array
    police: Array
    known: Array


class Rates(NamedTuple):
    """What happens in a second: Gbit/s on ways, of demands and at vertices, and probes' chances.

    `felt_us` is received traffic times its delay; `probe_us` the delay of a small probe that is received, times the
    chance of that.
    """

    tx: Array
    drops: Array
    lost: Array
    errors: Array
    probe_lost: Array
    probe_lost_large: Array
    probe_us: Array
    sent: Array
    received: Array
    felt_us: Array
    came: Array
    left: Array


def flowed(
    ways: Ways, spots: Spots, paths: Paths, sent: Array, limited: Array, start: Array, goal: Array, rates: Rates
) -> None:
    """Fill in the rates for what the demands send (Gbit/s each)."""
    _flowed(*ways, *spots, *paths, sent, limited, start, goal, *rates)


@njit(cache=True)
def _smooth(block: Array, kept: float) -> None:
    """Make each row follow the one before: a process of order one with the variance of its steps."""
    new = np.sqrt(1.0 - kept * kept)
    for second in range(1, block.shape[0]):
        for demand in range(block.shape[1]):
            block[second, demand] = kept * block[second - 1, demand] + new * block[second, demand]


@njit(cache=True, error_model="numpy")
def _flowed(
    tx: Array,
    carries: Array,
    capacity_gbps: Array,
    loss: Array,
    errors: Array,
    large: Array,
    delay_us: Array,
    small_queue: Array,
    alive: Array,
    fabric: Array,
    transit_us: Array,
    hole: Array,
    entry: Array,
    exit_: Array,
    police: Array,
    known: Array,
    node_start: Array,
    entry_start: Array,
    vertex: Array,
    entry_tail: Array,
    entry_head: Array,
    entry_way: Array,
    entry_share: Array,
    sent: Array,
    limited: Array,
    start: Array,
    goal: Array,
    rate_tx: Array,
    rate_drops: Array,
    rate_lost: Array,
    rate_errors: Array,
    probe_lost: Array,
    probe_lost_large: Array,
    probe_us: Array,
    rate_sent: Array,
    rate_received: Array,
    felt_us: Array,
    came: Array,
    left: Array,
) -> None:
    count = tx.size
    small, big = np.zeros(count), np.zeros(count)
    passes, passes_big, queue_us, drop = np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count)
    nodes = node_start[-1]
    # What is at each node: small and large packets (Gbit/s), and each times the delay they have had.
    at = np.zeros((nodes, 4))
    for turn in range(ROUNDS):
        # What each way does with a packet, by the load of the round before.
        moved = 0.0
        for way in range(count):
            load = small[way] + big[way]
            room = capacity_gbps[way]
            full = load / room if room > 0.0 else (2.0 if load > 0.0 else 0.0)
            share = 1.0 - 1.0 / full if full > 1.0 else 0.0
            if small_queue[way] > 0.0 and full > SMALL_QUEUE_FROM_SHARE:
                share = max(share, small_queue[way])
            if not tx[way]:
                share = 1.0
            moved = max(moved, abs(share - drop[way]))
            drop[way] = share
            full = min(full, FULLEST_SHARE)
            queue_us[way] = QUEUE_US * full / (1.0 - full)
            good = (1.0 - share) * (1.0 - loss[way]) * (1.0 - errors[way]) if carries[way] else 0.0
            passes[way] = good
            passes_big[way] = good * (1.0 - large[way])
        if turn > 1 and moved < SETTLED_SHARE:
            break
        small[:] = 0.0
        big[:] = 0.0
        came[:] = 0.0
        left[:] = 0.0
        at[:] = 0.0
        for demand in range(sent.size):
            rate_sent[demand] = sent[demand]
            rate_received[demand] = 0.0
            felt_us[demand] = 0.0
            first, entries = node_start[demand], entry_start[demand]
            if start[demand] < 0 or goal[demand] < 0 or node_start[demand + 1] == first:
                continue
            let_in = sent[demand] * limited[demand] * police[start[demand]] * entry[start[demand]]
            let_in *= known[goal[demand]]
            at[first, 0] = let_in * (1.0 - LARGE_SHARE)
            at[first, 1] = let_in * LARGE_SHARE
            node = -1
            for index in range(entries, entry_start[demand + 1]):
                if entry_tail[index] != node:
                    # All of it has come: let it through the router.
                    node = entry_tail[index]
                    here = vertex[node]
                    forwards = 1.0 - fabric[here] if alive[here] and hole[here] != goal[demand] else 0.0
                    one, other, took_us = at[node, 0], at[node, 1], transit_us[here]
                    if alive[here]:
                        came[here] += one + other
                    at[node, 0] = one * forwards
                    at[node, 1] = other * forwards
                    at[node, 2] = (at[node, 2] + one * took_us) * forwards
                    at[node, 3] = (at[node, 3] + other * took_us) * forwards
                    left[here] += (one + other) * forwards
                way, share, head = entry_way[index], entry_share[index], entry_head[index]
                if way < 0:
                    out = exit_[vertex[node]]
                    rate_received[demand] = (at[node, 0] + at[node, 1]) * out
                    felt_us[demand] = (at[node, 2] + at[node, 3]) * out
                    continue
                one, other = at[node, 0] * share, at[node, 1] * share
                small[way] += one
                big[way] += other
                if head >= 0:
                    took_us = delay_us[way] + queue_us[way]
                    at[head, 0] += one * passes[way]
                    at[head, 1] += other * passes_big[way]
                    at[head, 2] += (at[node, 2] * share + one * took_us) * passes[way]
                    at[head, 3] += (at[node, 3] * share + other * took_us) * passes_big[way]
    for way in range(count):
        load = small[way] + big[way]
        sent_on = load * (1.0 - drop[way])
        rate_tx[way] = sent_on
        rate_drops[way] = load * drop[way]
        if not carries[way]:
            rate_lost[way], rate_errors[way] = sent_on, 0.0
        else:
            eaten = big[way] * large[way] * (1.0 - drop[way])
            silent = eaten + (sent_on - eaten) * loss[way]
            rate_lost[way] = silent
            rate_errors[way] = (sent_on - silent) * errors[way]
        probe_lost[way] = 1.0 - passes[way]
        probe_lost_large[way] = 1.0 - passes_big[way]
        probe_us[way] = passes[way] * (delay_us[way] + queue_us[way])
