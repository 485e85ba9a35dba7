"""Who is within reach of compute, on networks of millions: prepared once, then asked in milliseconds.

Two exact reductions make it fast. Stations that hang in chains and rings are no vertices of the search: each is an
offset from the one or two hosts that its chain ends on. And what is asked for is a sum of step functions of the hosts'
slack, so a table by metro needs no station's delay. Weights are int64 fixed point, so no sum depends on its order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from karez.measure import kernels
from karez.measure.circles import Points, fixed
from karez.measure.core import LONGEST_NS, Timed, Topology, searched, topology, topology_of
from karez.measure.delay import Figures, constants, link_parts
from karez.measure.kernels import FAR
from karez.twin import Twin
from karez.twin.table import Array

GROUP_BITS = 32
# What stands for the number of a vertex outside the core, and of none at all.
OUTSIDE, NOWHERE = -1, -2


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

    @property
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
        found, table = self.towards(targets, step_ns * steps), np.zeros((self.metros, steps), np.int64)
        one, two = self.single, self.double
        kernels.curve_single(found, step_ns, one.host, one.metro, one.bounds, one.offset, one.weight, table)
        kernels.curve_double(found, step_ns, two.ends, two.spans, two.metro, two.bounds, two.offset, two.weight, table)
        return np.cumsum(table, axis=1)

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
    number = np.where(counted.vertex >= 0, made.number[counted.vertex], NOWHERE)
    in_core = np.flatnonzero(number >= 0)
    # Outside the core are stations only, and each is counted once or not at all.
    point = np.full(len(made.number), -1, np.int32)
    outside = np.flatnonzero(number == OUTSIDE)
    point[counted.vertex[outside]] = outside
    del outside
    member = point[chains.members]
    place = np.flatnonzero(member >= 0)
    owner = np.repeat(np.arange(len(chains.first), dtype=np.int32), np.diff(chains.bounds))
    if len(place) < len(member):
        member, owner = member[place], owner[place]
    closed = chains.second == chains.first
    two = ((chains.second >= 0) & ~closed)[owner]
    one, offset = owner[~two], delays.offsets[place[~two]]
    nearest = np.where(closed[one], np.minimum(offset, delays.whole[one] - offset), offset)
    single = _single(
        host=np.concatenate([number[in_core], chains.first[one]]),
        offset=np.concatenate([np.zeros(len(in_core), np.int64), nearest]),
        member=np.concatenate([in_core, member[~two]]),
        points=counted,
    )
    return single, _double(made, delays, owner[two], place[two], member[two], counted)


def _single(host: Array, offset: Array, member: Array, points: Points) -> _Single:
    offset, metro = np.minimum(offset, int(FAR)), points.metro[member].astype(np.int32)
    order = _by_group(host, metro, offset)
    host, offset, member, metro = host[order], offset[order], member[order], metro[order]
    first = np.flatnonzero(_changes(host) | _changes(metro))
    weight = fixed(points.weight[member])
    return _Single(
        host=host[first],
        metro=metro[first],
        bounds=np.append(first, len(host)).astype(np.int32),
        offset=offset.astype(np.int32),
        weight=weight,
        upto=np.concatenate([[0], np.cumsum(weight)]),
        member=member.astype(np.int32),
    )


def _by_group(host: Array, metro: Array, offset: Array) -> Array:
    """The order by host, then metro, then offset (below 2^31)."""
    metros = int(metro.max(initial=0)) + 1
    if (int(host.max(initial=0)) + 1) * metros >= 1 << GROUP_BITS:
        return np.lexsort((offset, metro, host))
    # All three in one number sort several times as fast.
    return np.argsort((host.astype(np.int64) * metros + metro << 31) | offset)


def _double(made: Topology, delays: Timed, owner: Array, place: Array, member: Array, points: Points) -> _Double:
    metro = points.metro[member].astype(np.int32)
    first = np.flatnonzero(_changes(owner) | _changes(metro))
    bounds = np.append(first, len(owner))
    weight, offset = fixed(points.weight[member]), _shortened(delays.offsets[place], delays.whole[owner])
    mine = owner[first]
    spans = np.stack([offset[first], offset[bounds[1:] - 1], np.minimum(delays.whole[mine], int(FAR))], axis=1)
    return _Double(
        ends=np.stack([made.chains.first[mine], made.chains.second[mine]], axis=1),
        spans=spans.astype(np.int32),
        metro=metro[first],
        total=np.add.reduceat(weight, first) if len(first) else weight,
        bounds=bounds.astype(np.int32),
        offset=offset,
        weight=weight,
        member=member,
    )


def _shortened(offset: Array, whole: Array) -> Array:
    """Offsets (int32) in chains that are no longer than `FAR`: of longer ones the middle, out of all reach, is cut."""
    if not (whole > FAR).any():
        return offset.astype(np.int32)
    from_second = np.maximum(int(FAR) - (whole - offset), LONGEST_NS)
    return np.where((whole > FAR) & (offset > LONGEST_NS), from_second, offset).astype(np.int32)


def _changes(values: Array) -> Array:
    """Whether each value differs from the one before; the first does."""
    changes = np.ones(len(values), bool)
    changes[1:] = values[1:] != values[:-1]
    return changes
