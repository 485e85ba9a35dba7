"""Who is within reach of compute, on networks of millions: prepared once, then asked in milliseconds.

Two exact reductions make it fast. Stations that hang in chains and rings are no vertices of the search: each is an
offset from the one or two hosts that its chain ends on. And what is asked for is a sum of step functions of the hosts'
slack, so a table by metro needs no station's delay. Weights are int64 fixed point, so no sum depends on its order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from karez.measure import kernels
from karez.measure.circles import Points, fixed
from karez.measure.core import LONGEST_NS, Timed, Topology, searched, topology, topology_of
from karez.measure.delay import Figures, constants, link_parts
from karez.measure.kernels import FAR
from karez.twin import Twin
from karez.twin.table import BLOCK_ROWS, Array

GROUP_BITS = 32


@dataclass(frozen=True)
class _Single:
    """Members that hang on one host, by host and metro, sorted by their offset."""

    host: Array
    metro: Array
    bounds: Array
    offset: Array
    weight: Array
    upto: Array
    member: Array


@dataclass(frozen=True)
class _Double:
    """Members between two hosts, a segment of one chain and one metro each, in the order of the walk.

    `ends` are the hosts; `spans` the offsets of the first and last member and the delay of the whole chain.
    """

    ends: Array
    spans: Array
    metro: Array
    total: Array
    bounds: Array
    offset: Array
    weight: Array
    member: Array


@dataclass(frozen=True)
class Reach:
    """A network made ready: the core with its delays *towards* its sources, and what of `points` hangs on it.

    `oneway_ns` (int32) are the delays of the twin's links.
    """

    topology: Topology
    oneway_ns: Array
    timed: Timed
    points: Points
    single: _Single
    double: _Double
    metros: int

    @cached_property
    def total(self) -> Array:
        """The weight of each metro (int64, in millionths), whether anything reaches it or not."""
        total = np.zeros(self.metros, np.int64)
        np.add.at(total, self.points.metro, fixed(self.points.weight))
        return total

    def towards(self, targets: Array, limit_ns: int) -> Array:
        """The delay of each core vertex towards the best target (rows of `sites`), ns; `FAR` from the limit on.

        No limit is above `LONGEST_NS`.
        """
        return searched(self.topology, self.timed, self.topology.number[np.asarray(targets)], limit_ns)

    def covered(self, targets: Array, limit_ns: int) -> Array:
        """The weight of each metro (int64, in millionths) whose delay towards the best target is below the limit."""
        limit_ns = min(int(limit_ns), LONGEST_NS)
        found, covered = self.towards(targets, limit_ns), np.zeros(self.metros, np.int64)
        one, two = self.single, self.double
        kernels.sum_single(found, limit_ns, one.host, one.metro, one.bounds, one.offset, one.upto, covered)
        kernels.sum_double(
            found, limit_ns, two.ends, two.spans, two.metro, two.total, two.bounds, two.offset, two.weight, covered
        )
        return covered

    def curve(self, targets: Array, step_ns: int, steps: int) -> Array:
        """The weight of each metro below each multiple of `step_ns` (int64, metros x steps): coverage by budget."""
        found, table = self.towards(targets, step_ns * steps), np.zeros((self.metros, steps + 1), np.int64)
        one, two = self.single, self.double
        kernels.curve_single(found, step_ns, one.host, one.metro, one.bounds, one.offset, one.weight, table)
        kernels.curve_double(found, step_ns, two.ends, two.spans, two.metro, two.bounds, two.offset, two.weight, table)
        return np.cumsum(table[:, :-1], axis=1)

    def delays_ns(self, targets: Array, limit_ns: int = LONGEST_NS) -> Array:
        """The delay of each point towards the best target (int32 ns); `FAR` where it is not below the limit."""
        found, out = self.towards(targets, limit_ns), np.full(len(self.points.vertex), FAR, np.int32)
        one, two = self.single, self.double
        kernels.delays_single(found, one.host, one.bounds, one.offset, one.member, out)
        kernels.delays_double(found, two.ends, two.spans, two.bounds, two.offset, two.member, out)
        out[out >= min(limit_ns, LONGEST_NS)] = FAR
        return out


def typical(twin: Twin, counted: Points) -> Reach:
    """The network of a twin's optical links at typical figures of the latency library, ready for questions."""
    return at_figures(twin, counted, "typical")


def at_figures(twin: Twin, counted: Points, figures: Figures) -> Reach:
    """The network of a twin's optical links at these figures of the latency library, ready for questions."""
    oneway_ns = link_parts(twin).oneway_ns(constants(figures), LONGEST_NS)
    return timed(topology_of(twin, "optical"), oneway_ns, counted, metros=len(twin["metros"]))


def prepared(twin: Twin, oneway_ns: Array, used: Array, counted: Points) -> Reach:
    """The network of the links that are `used` (a bool each), with their delays (int64 ns), ready for questions.

    `counted` has vertex, weight and metro of what is counted, as `circles.points` gives them.
    """
    made = topology(twin, used & (oneway_ns <= LONGEST_NS))
    return timed(made, np.minimum(oneway_ns, LONGEST_NS).astype(np.int32), counted, metros=len(twin["metros"]))


def timed(made: Topology, oneway_ns: Array, counted: Points, *, metros: int) -> Reach:
    """A topology with these delays (int32 ns, one a link of the twin), ready for questions."""
    delays = made.timed(oneway_ns)
    single, double = _hung(made, delays, counted)
    return Reach(
        topology=made,
        oneway_ns=oneway_ns,
        timed=delays,
        points=counted,
        single=single,
        double=double,
        metros=metros,
    )


def _hung(made: Topology, delays: Timed, counted: Points) -> tuple[_Single, _Double]:
    """What is counted, by how it hangs on the core; points that nothing reaches hang nowhere."""
    chains = made.chains
    vertex, metro = _plain(counted.vertex, np.int64), _plain(counted.metro, np.int64)
    # Outside the core are stations only, and each is counted once or not at all.
    point = np.full(len(made.number), -1, np.int32)
    in_core = kernels.points_of(vertex, made.number, point)
    bounds, members, first, second = chains.bounds, chains.members, chains.first, chains.second
    counts = kernels.hanging(bounds, members, first, second, point, metro)
    one, two = kernels.hung(
        bounds, members, first, second, point, metro, delays.offsets, delays.whole, LONGEST_NS, counts
    )
    single = _single(
        host=np.concatenate([made.number[vertex[in_core]], one[0]]),
        offset=np.concatenate([np.zeros(len(in_core), np.int32), one[1]]),
        member=np.concatenate([in_core, one[2]]),
        points=counted,
    )
    return single, _double(*two, made=made, points=counted)


def _plain(values: Array, dtype: type[np.generic]) -> Array:
    """The values as the compiled loops take them, so that they are compiled for one kind of array only."""
    plain = np.ascontiguousarray(values, dtype).view()
    plain.flags.writeable = False
    return plain


def _single(host: Array, offset: Array, member: Array, points: Points) -> _Single:
    metro = points.metro[member].astype(np.int32)
    order = _by_group(host, metro, offset)
    host, offset, member, metro = host[order], offset[order], member[order], metro[order]
    first = np.flatnonzero(_changes(host) | _changes(metro))
    weight = _fixed_at(points.weight, member)
    return _Single(
        host=host[first],
        metro=metro[first],
        bounds=np.append(first, len(host)).astype(np.int32),
        offset=offset,
        weight=weight,
        upto=np.concatenate([[0], np.cumsum(weight)]),
        member=member,
    )


def _by_group(host: Array, metro: Array, offset: Array) -> Array:
    """The order by host, then metro, then offset (below 2^31)."""
    metros = int(metro.max(initial=0)) + 1
    if (int(host.max(initial=0)) + 1) * metros >= 1 << GROUP_BITS:
        return np.lexsort((offset, metro, host))
    # All three in one number sort several times as fast.
    return np.argsort((host.astype(np.int64) * metros + metro << 31) | offset)


def _double(
    owner: Array, spans: Array, bounds: Array, offset: Array, member: Array, *, made: Topology, points: Points
) -> _Double:
    weight = _fixed_at(points.weight, member)
    return _Double(
        ends=np.stack([made.chains.first[owner], made.chains.second[owner]], axis=1),
        spans=spans,
        metro=points.metro[member[bounds[:-1]]].astype(np.int32),
        total=np.add.reduceat(weight, bounds[:-1]) if len(owner) else weight,
        bounds=bounds,
        offset=offset,
        weight=weight,
        member=member,
    )


def _fixed_at(weight: Array, member: Array) -> Array:
    """The weights of `member` as they are summed, in blocks that stay near the processor."""
    found = np.empty(len(member), np.int64)
    for start in range(0, len(member), BLOCK_ROWS):
        block = member[start : start + BLOCK_ROWS]
        found[start : start + len(block)] = fixed(weight[block])
    return found


def _changes(values: Array) -> Array:
    """Whether each value differs from the one before; the first does."""
    changes = np.ones(len(values), bool)
    changes[1:] = values[1:] != values[:-1]
    return changes
