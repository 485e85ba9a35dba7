"""Who is within reach of compute, on networks of millions: prepared once, then asked in milliseconds.

Two exact reductions make it fast. Stations that hang in chains and rings are no vertices of the search: each is an
offset from the one or two hosts that its chain ends on. And what is asked for is a sum of step functions of the hosts'
slack, so a table by metro needs no station's delay. Weights are int64 fixed point, so no sum depends on its order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from karez.measure import kernels
from karez.measure.circles import Points, Weight, compute_sites, points
from karez.measure.core import LONGEST_NS, Chains, walk
from karez.measure.delay import link_oneway_us
from karez.measure.kernels import FAR
from karez.twin import Twin
from karez.twin.table import Array
from karez.units import NS_PER_US

# Weights are kept to a millionth.
WEIGHT_SCALE = 1_000_000
# Delays below this make buckets too narrow to pay; then a bucket is scanned again until it is empty.
NARROWEST_NS = 1_000


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
    """A network made ready: the core graph (delays *towards* its sources), and what hangs on it.

    `arcs` has head and delay of each arc; `vertex` numbers the core's vertices among those of the network (sites, then
    stations), `-1` where one is not in the core. A search writes into `scratch`: ask from one thread at a time.
    """

    starts: Array
    arcs: Array
    vertex: Array
    width: int
    single: _Single
    double: _Double
    metros: int
    members: int
    scratch: Array

    def towards(self, targets: Array, limit_ns: int) -> Array:
        """The delay of each core vertex towards the best target (rows of `sites`), ns; `FAR` from the limit on."""
        found = np.empty(len(self.starts) - 1, np.int32)
        sources = self.vertex[np.asarray(targets)].astype(np.int32)
        kernels.search(self.starts, self.arcs, sources, int(limit_ns), self.width, self.scratch, found)
        return found

    def covered(self, targets: Array, limit_ns: int) -> Array:
        """The weight of each metro (int64, in millionths) whose delay towards the best target is below the limit."""
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
        found, out = self.towards(targets, limit_ns), np.full(self.members, FAR, np.int32)
        one, two = self.single, self.double
        kernels.delays_single(found, one.host, one.bounds, one.offset, one.member, out)
        kernels.delays_double(found, two.ends, two.spans, two.bounds, two.offset, two.member, out)
        out[out >= limit_ns] = FAR
        return out


def curve(twin: Twin, *, weight: Weight, step_us: float, steps: int) -> Array:
    """The share of all weight within each multiple of `step_us` of compute (float64, `steps` of them): C2, one way.

    Typical figures of the latency library, optical links, pooled; NaN where there is no weight.
    """
    counted = points(twin, weight)
    below = typical(twin, counted).curve(compute_sites(twin), round(step_us * NS_PER_US), steps).sum(axis=0)
    total = fixed(counted.weight).sum()
    return below / total if total else np.full(steps, np.nan)


def typical(twin: Twin, counted: Points) -> Reach:
    """The network of a twin's optical links at typical figures of the latency library, ready for questions."""
    oneway_ns = np.rint(link_oneway_us(twin, figures="typical") * NS_PER_US).astype(np.int64)
    return prepared(twin, oneway_ns, twin["links"]["layer"] == b"optical", counted)


def prepared(twin: Twin, oneway_ns: Array, used: Array, counted: Points) -> Reach:
    """The network of the links that are `used` (a bool each), with their delays (int64 ns), ready for questions.

    `counted` has vertex, weight and metro of what is counted, as `circles.points` gives them.
    """
    walked = walk(twin, oneway_ns, used)
    return _assembled(twin, walked.starts, walked.heads, walked.delays, walked.core, walked.chains, counted)


def _assembled(
    twin: Twin, starts: Array, heads: Array, delays: Array, core: Array, chains: Chains, points: Points
) -> Reach:
    vertex = np.where(core, np.cumsum(core) - 1, -1).astype(np.int32)
    between = chains.second >= 0
    tail = np.repeat(np.arange(len(core), dtype=np.int32), np.diff(starts))
    inner = core[tail] & core[heads]
    joined = between & (chains.first != chains.second)
    one, other = vertex[chains.first[joined]], vertex[chains.second[joined]]
    whole = chains.whole[joined]
    short = whole <= LONGEST_NS
    tails = np.concatenate([vertex[tail[inner]], one[short]])
    ends = np.concatenate([vertex[heads[inner]], other[short]])
    ns = np.concatenate([delays[inner], whole[short].astype(np.int32)])
    both = np.concatenate([np.zeros(int(inner.sum()), bool), np.ones(int(short.sum()), bool)])
    core_starts, core_heads, core_delays, _ = kernels.arcs_by_tail(*_least(tails, ends, ns, both), int(core.sum()))
    single, double = _hung(len(core), vertex, chains, points)
    return Reach(
        starts=core_starts.astype(np.int32),
        arcs=np.stack([core_heads, core_delays], axis=1),
        vertex=vertex,
        width=max(int(core_delays.min()) if len(core_delays) else 0, NARROWEST_NS),
        single=single,
        double=double,
        metros=len(twin["metros"]),
        members=len(points.vertex),
        scratch=np.empty((len(core_heads) + int(core.sum()), 2), np.int32),
    )


def _least(tail: Array, head: Array, ns: Array, both: Array) -> tuple[Array, Array, Array, Array]:
    """Arcs one by one, of parallel ones the fastest: many chains may join the same two hosts."""
    tails, heads = np.concatenate([tail, head[both]]), np.concatenate([head, tail[both]])
    delays = np.concatenate([ns, ns[both]])
    order = np.lexsort((delays, heads, tails))
    kept = order[_changes(tails[order]) | _changes(heads[order])]
    return tails[kept], heads[kept], delays[kept], np.zeros(len(kept), bool)


def _hung(vertices: int, vertex: Array, chains: Chains, points: Points) -> tuple[_Single, _Double]:
    """What is counted, by how it hangs on the core; points that nothing reaches hang nowhere."""
    chain = np.full(vertices, -1, np.int32)
    place = np.zeros(vertices, np.int64)
    chain[chains.members] = np.repeat(np.arange(len(chains.first), dtype=np.int32), np.diff(chains.bounds))
    place[chains.members] = np.arange(len(chains.members))
    there = np.flatnonzero(points.vertex >= 0)
    at = points.vertex[there]
    mine = chain[at]
    in_core = np.flatnonzero(vertex[at] >= 0)
    in_chain = np.flatnonzero(mine >= 0)
    owner = mine[in_chain]
    offset = chains.offsets[place[at[in_chain]]]
    closed = chains.second[owner] == chains.first[owner]
    nearest = np.where(closed, np.minimum(offset, chains.whole[owner] - offset), offset)
    two = (chains.second[owner] >= 0) & ~closed
    single = _single(
        host=np.concatenate([vertex[at[in_core]], vertex[chains.first[owner[~two]]]]),
        offset=np.concatenate([np.zeros(len(in_core), np.int64), nearest[~two]]),
        member=there[np.concatenate([in_core, in_chain[~two]])],
        points=points,
    )
    return single, _double(chains, vertex, owner[two], place[at[in_chain[two]]], there[in_chain[two]], points)


def _single(host: Array, offset: Array, member: Array, points: Points) -> _Single:
    metro = points.metro[member].astype(np.int32)
    order = np.lexsort((offset, metro, host))
    host, offset, member, metro = host[order], offset[order], member[order], metro[order]
    first = np.flatnonzero(_changes(host) | _changes(metro))
    weight = fixed(points.weight[member])
    return _Single(
        host=host[first].astype(np.int32),
        metro=metro[first],
        bounds=np.append(first, len(host)).astype(np.int32),
        offset=np.minimum(offset, int(FAR)).astype(np.int32),
        weight=weight,
        upto=np.concatenate([[0], np.cumsum(weight)]),
        member=member.astype(np.int32),
    )


def _double(chains: Chains, vertex: Array, owner: Array, place: Array, member: Array, points: Points) -> _Double:
    order = np.argsort(place, kind="stable")
    owner, place, member = owner[order], place[order], member[order]
    metro = points.metro[member].astype(np.int32)
    first = np.flatnonzero(_changes(owner) | _changes(metro))
    bounds = np.append(first, len(owner))
    weight, offset = fixed(points.weight[member]), chains.offsets[place]
    mine = owner[first]
    spans = np.stack([offset[first], offset[bounds[1:] - 1], chains.whole[mine]], axis=1)
    return _Double(
        ends=vertex[np.stack([chains.first[mine], chains.second[mine]], axis=1)],
        spans=spans.astype(np.int32),
        metro=metro[first],
        total=np.add.reduceat(weight, first) if len(first) else weight,
        bounds=bounds.astype(np.int32),
        offset=offset.astype(np.int32),
        weight=weight,
        member=member.astype(np.int32),
    )


def _changes(values: Array) -> Array:
    """Whether each value differs from the one before; the first does."""
    changes = np.ones(len(values), bool)
    changes[1:] = values[1:] != values[:-1]
    return changes


def fixed(weight: Array) -> Array:
    """Weights as they are summed: whole millionths (int64)."""
    return np.asarray(np.rint(weight * WEIGHT_SCALE).astype(np.int64))
