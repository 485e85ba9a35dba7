"""Sites and upgrades of links together: the cheapest of both that bring a share of weight within reach, with a bound.

Two upgrades can be worthless alone and worth much together, so no gain of one says what it is worth. A row of points is
reached by *ways*: a way is a candidate and the fewest upgrades with which it is near enough, and counts where all its
parts are had. Ways are counted out exactly, by a search whose labels are a delay and a set of upgrades.

    least   sum_e price_e x_e        (e: candidates, then upgrades)
    so that sum of weight_k over rows k with a way all of whose parts are had  >=  demand

Source of the bound: Lagrangian relaxation of "ways of row k through part e, taken together, are no more than x_e".
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from karez.measure.cover import Segments, longer, segments
from karez.measure.reach import Reach, timed
from karez.measure.repair import Whole, pop, push
from karez.plan.highs import UNBOUNDED, Enough, model_of, run, solver_of, start_from
from karez.twin.table import Array

# Words of a set of upgrades around one candidate, so 64 times as many of them; more are let pass as if they were free.
WORDS, BITS = 8, 64
MOST_UPGRADES = 24
SIGNATURE_SEED = 20_260_103
NEVER = np.int64(1) << 40
MIX = np.uint64(0x9E3779B97F4A7C15)
# Steps of the ascent without a better bound before it goes back and on in shorter ones, and what it keeps of the last.
FIRST_STEP, PATIENCE, SHORTER, KEPT = 1.5, 30, 0.8, 0.8
# The bound lies below the best value known, so the ascent aims lower; a part of the last choices is remembered.
AIM_SHARE, NEARER_SHARE, REMEMBERED = 0.97, 0.3, 0.98
BETTER_SHARE = 1e-4
BISECTIONS = 45
# What is remembered of parts from which on they are taken before the rest is completed.
THRESHOLDS = (0.2, 0.4, 0.6, 0.8)
# Parts taken away at most in a round of the search, how often near to each other, and how much worse may be let pass.
MOST_AWAY, NEAR_SHARE, TRIES, WORSE_SHARE = 8, 0.7, 6, 0.003
FREE = 1e-9


class Roads(NamedTuple):
    """Arcs from where compute is to who asks: those of vertex v are `starts[v]` to `starts[v + 1]`.

    `oneway_ns` is the delay as it is (int64); `one` and `two` are upgrades (positions, -1: none) that each arc may get.
    `saving_ns` is what each upgrade takes off each of its arcs; the two of an arc add up.
    """

    starts: Array
    heads: Array
    oneway_ns: Array
    one: Array
    two: Array
    saving_ns: Array


class Ways(NamedTuple):
    """Rows of points, and the ways that reach each: `ways[bounds[k] : bounds[k + 1]]` those of row k.

    Way i needs all of `parts[starts[i] : starts[i + 1]]`, the candidate first: candidates (positions), then upgrades,
    numbered on after the `candidates`. `weight` is int64. `guesses` counts where upgrades were let pass as if free,
    which a bound may do: with 0, ways are exact. `point` is a point (position) that each row stands for.
    """

    bounds: Array
    ways: Array
    weight: Array
    starts: Array
    parts: Array
    candidates: int
    guesses: int
    point: Array

    def reached(self, chosen: Array, size: int) -> int:
        """The weight that `chosen` (positions of parts, of which there are `size`) brings within reach."""
        had = np.zeros(size, bool)
        had[chosen] = True
        whole = np.logical_and.reduceat(had[self.parts], self.starts[:-1])
        if not len(self.weight):
            return 0
        return int(self.weight[np.logical_or.reduceat(whole[self.ways], self.bounds[:-1])].sum())


class Duals(NamedTuple):
    """What row k pays for part e at most (one for each of `Shares.parts`), and what a unit of weight is worth."""

    paid: Array
    weight: float


class Made(NamedTuple):
    """A plan: parts chosen (positions, ascending, with all that are free), price, bound, and what proves it.

    `duals` are of `smaller(ways, price, nothing out)` and its `shares_of`; `reduced` are the reduced prices with them.
    """

    chosen: Array
    value: int
    bound: float
    duals: Duals
    reduced: Array


class Shares(NamedTuple):
    """The parts of each row's ways, each once: `parts[bounds[k] : bounds[k + 1]]` those of row k.

    Entry t of `Ways.ways` has its own at `at[starts[t] : starts[t + 1]]` (positions in `parts`).
    """

    bounds: Array
    parts: Array
    starts: Array
    at: Array


def roads_of(reach: Reach, links: Array, saving_ns: Array) -> Roads:
    """The core of a prepared network, where upgrade i takes `saving_ns[i]` off the link `links[i]` (row).

    Raises:
        ValueError: a link is in no way between core vertices, or has more than two upgrades.
    """
    made = reach.topology
    place = np.full(len(reach.oneway_ns), -1)
    place[made.links] = np.arange(len(made.links))
    way = place[links]
    again = np.array([int((way[:at] == one).sum()) for at, one in enumerate(way)])
    if (way < 0).any() or (again > 1).any():
        raise ValueError("an upgrade is for a link of the core, and a link has two at most")
    upgrade = np.full((len(made.tails), 2), -1, np.int32)
    upgrade[way, again] = np.arange(len(links))
    arc = np.repeat(np.arange(len(made.ends)), np.diff(made.bounds))
    return Roads(
        starts=made.bounds[made.starts].astype(np.int64),
        heads=made.ends[arc].astype(np.int32),
        oneway_ns=reach.timed.way_ns[made.ways].astype(np.int64),
        one=upgrade[made.ways, 0].copy(),
        two=upgrade[made.ways, 1].copy(),
        saving_ns=saving_ns.astype(np.int64),
    )


def ways_of(roads: Roads, points: Segments, sources: Array, limit_ns: int, most: int = MOST_UPGRADES) -> Ways:
    """All ways by which `points` are nearer than `limit_ns` to `sources` (vertices), alike points as one row."""
    vertices, candidates = len(roads.starts) - 1, len(sources)
    hosts = np.zeros(vertices, np.bool_)
    hosts[points.ends[points.ends >= 0]] = True
    at, way_parts, guesses = _labelled(*roads, sources.astype(np.int64), limit_ns, most, hosts)
    owner, starts, upgrades = way_parts
    upgrades = upgrades[np.lexsort((upgrades, np.repeat(np.arange(len(owner)), np.diff(starts))))]
    site, vertex, delay, way, until = at[:, np.lexsort((at[2], at[0], at[1]))]
    first = np.searchsorted(vertex, np.arange(vertices + 1))
    words = np.random.default_rng(SIGNATURE_SEED).integers(1, 2**63, (len(owner), 2), dtype=np.uint64)
    bounds, ways, weight, point = _rows(
        first, site, delay, way, until, starts, upgrades, words, limit_ns,
        points.ends, points.whole.astype(np.int64), points.bounds.astype(np.int64),
        points.offset.astype(np.int64), points.weight,
    )  # fmt: skip
    with_site = starts + np.arange(len(starts))
    parts = np.full(with_site[-1], -1, np.int32)
    parts[with_site[:-1]] = owner
    parts[parts < 0] = upgrades + candidates
    return Ways(bounds, ways, weight, with_site, parts, candidates, int(guesses), points.member[point])


def ways_of_reach(reach: Reach, links: Array, saving_ns: Array, candidates: Array, limit_ns: int) -> Ways:
    """As `ways_of`, for a prepared network, its links (rows) with upgrades and `candidates` (rows of `sites`)."""
    roads = roads_of(reach, links, saving_ns)
    return ways_of(roads, segments(reach), reach.topology.number[candidates], limit_ns)


def smaller(ways: Ways, price: Array, out: Array) -> tuple[Ways, int]:
    """The same ways of rows that what is free does not reach, less parts that are free, and the weight it reaches.

    Ways that need a part that is `out` (a mask) are gone, and those that need more than another of their row.
    """
    kept = price[ways.parts] > 0
    starts = np.concatenate([[0], np.cumsum(np.add.reduceat(kept.astype(np.int64), ways.starts[:-1]))])
    parts = ways.parts[kept]
    words = np.random.default_rng(SIGNATURE_SEED).integers(1, 2**63, (len(price), 2), dtype=np.uint64)
    signature = np.add.reduceat(np.where(kept[:, None], words[ways.parts], 0), ways.starts[:-1], axis=0)
    _, one, same = np.unique(signature, axis=0, return_index=True, return_inverse=True)
    lives = ~np.logical_or.reduceat(out[ways.parts], ways.starts[:-1])
    of_way = np.random.default_rng(SIGNATURE_SEED + 1).integers(1, 2**63, (len(one), 2), dtype=np.uint64)
    bounds, left, weight, done, row = _left(
        ways.bounds, ways.ways, ways.weight, lives, starts, parts, one, same.reshape(-1), of_way
    )
    size = np.diff(starts)[one]
    new = np.concatenate([[0], np.cumsum(size)])
    entry = np.arange(new[-1]) + np.repeat(starts[one] - new[:-1], size)
    used, named = np.unique(left, return_inverse=True)
    chosen = np.repeat(np.isin(np.arange(len(one)), used), size)
    few = np.concatenate([[0], np.cumsum(size[used])])
    least = Ways(
        bounds,
        named.astype(np.int32),
        weight,
        few,
        parts[entry][chosen],
        ways.candidates,
        ways.guesses,
        ways.point[row],
    )
    return least, int(done)


def reached_by_search(
    reach: Reach, links: Array, saving_ns: Array, candidates: Array, chosen: Array, limit_ns: int
) -> int:
    """The weight (in millionths) that parts bring within reach, by a search on the upgraded network: exact, no ways.

    `chosen` are positions of `candidates` (rows of `sites`), then of upgrades, as in a plan.
    """
    upgrades, oneway_ns = chosen[chosen >= len(candidates)] - len(candidates), reach.oneway_ns.copy()
    np.subtract.at(oneway_ns, links[upgrades], saving_ns[upgrades].astype(oneway_ns.dtype))
    after = timed(reach.topology, oneway_ns, reach.points, metros=reach.metros)
    return int(after.covered(candidates[chosen[chosen < len(candidates)]], limit_ns).sum())


def shares_of(ways: Ways, size: int) -> Shares:
    """The parts of each row, of `size` parts in all."""
    return Shares(*_shares(ways.bounds, ways.ways, ways.starts, ways.parts, size))


def bound_of(ways: Ways, shares: Shares, price: Array, demand: int, duals: Duals) -> tuple[float, Array]:
    """The least price of any plan that some duals prove, and the reduced price of each part.

    With paid a_ke >= 0 and weight's worth v >= 0: row k costs c_k = least over its ways of the sum of a_ke over the
    way's parts; the bound is v demand - sum_k max(0, v weight_k - c_k) + sum_e min(0, price_e - sum_k a_ke).
    """
    paid, worth = np.maximum(duals.paid, 0.0), max(duals.weight, 0.0)
    of_way = np.add.reduceat(paid[shares.at], shares.starts[:-1])
    of_row = np.minimum.reduceat(of_way, ways.bounds[:-1])
    reduced = price - np.bincount(shares.parts, weights=paid, minlength=len(price))
    lost = np.maximum(worth * ways.weight - of_row, 0.0).sum()
    return float(worth * demand - lost + np.minimum(reduced, 0.0).sum()), reduced


def planned(
    ways: Ways,
    price: Array,
    demand: int,
    *,
    start: Array | None = None,
    steps: int = 2_000,
    rounds: int = 2_000,
    seed: int = 1,
    enough: Enough = lambda: False,
) -> Made | None:
    """The cheapest parts found that bring `demand` (weight) within reach, and a bound; None where all do not.

    `price` (int64) is that of candidates, then upgrades. `start` (positions) is a plan known, say of sites alone: what
    is returned is no dearer. `enough` is asked between parts of the work, whether to stop.
    """
    free, none = np.flatnonzero(price == 0), np.zeros(len(price), bool)
    small, done = smaller(ways, price, none)
    left, size = demand - done, len(price)
    if left <= 0:
        return Made(free, 0, 0.0, Duals(np.zeros(len(shares_of(small, size).parts)), 0.0), price.astype(float))
    if small.reached(np.arange(size), size) < left:
        return None
    net, best = _net(small, price), _Best(none, np.iinfo(np.int64).max)
    for begin in [none] if start is None else [none, _mask(start, size)]:
        best = _better(net, left, begin, rounds, seed, best)
    shares = shares_of(small, size)
    duals, remembered = _climbed(small, shares, price, left, best.value, steps)
    for threshold in THRESHOLDS:
        if enough():
            break
        best = _better(net, left, remembered >= threshold, rounds, seed, best)
    best = _better(net, left, best.had, rounds, seed + 1, best)
    bound, reduced = bound_of(small, shares, price, left, duals)
    return Made(np.union1d(np.flatnonzero(best.had), free), best.value, bound, duals, reduced)


def still_open(made: Made) -> Array:
    """The parts (a mask) that some plan cheaper than this one may have; with all others no plan is."""
    open_: Array = made.reduced < made.value - made.bound
    return open_


def closed(ways: Ways, price: Array, demand: int, made: Made, enough: Enough = lambda: False) -> tuple[Array, float]:
    """The cheapest plan (positions) by HiGHS's integer program, and its solver's bound, which no duals prove.

    Only what the bound of `made` leaves open is looked at, so no plan that is not in it is cheaper.
    """
    few, done = smaller(ways, price, ~still_open(made))
    if demand <= done or not len(few.weight):
        return made.chosen, float(made.value)
    shares, unit = shares_of(few, len(price)), max(float(price[price > 0].mean()), 1.0)
    solver = solver_of(enough)
    solver.setOptionValue("mip_rel_gap", 0.0)
    solver.setOptionValue("mip_abs_gap", 0.99 / unit)
    solver.passModel(_model(few, shares, price / unit, (demand - done) / few.weight.sum()))
    start_from(solver, _values(few, _mask(made.chosen, len(price))))
    run(solver)
    values = np.array(solver.getSolution().col_value)[: len(price)]
    chosen = np.union1d(np.flatnonzero(values > 0.5), np.flatnonzero(price == 0))
    bound = min(float(solver.getInfo().mip_dual_bound) * unit, float(made.value))
    is_better = price[chosen].sum() < made.value and ways.reached(chosen, len(price)) >= demand
    return (chosen if is_better else made.chosen), bound


def _mask(chosen: Array, size: int) -> Array:
    mask = np.zeros(size, bool)
    mask[chosen] = True
    return mask


def _values(ways: Ways, had: Array) -> Array:
    """The columns of the model for parts that are had: parts, rows, and one whole way of each row."""
    whole = np.logical_and.reduceat(had[ways.parts], ways.starts[:-1])[ways.ways]
    row = np.repeat(np.arange(len(ways.weight)), np.diff(ways.bounds))
    used = np.zeros(len(ways.ways), bool)
    used[np.unique(np.where(whole, row, -1), return_index=True)[1]] = True
    used &= whole
    reached = np.logical_or.reduceat(used, ways.bounds[:-1])
    return np.concatenate([had, reached, used]).astype(float)


def _model(ways: Ways, shares: Shares, price: Array, demand_share: float) -> Any:
    """Columns of parts, rows and ways of rows; what rows need, what parts let through, and the demand."""
    parts, rows, entries = len(price), len(ways.weight), len(ways.ways)
    row_of_entry = np.repeat(np.arange(rows), np.diff(ways.bounds))
    entry_of_at = np.repeat(np.arange(entries), np.diff(shares.starts))
    each, mine = np.arange(rows), np.arange(len(shares.parts))
    triples = (
        (each, parts + each, -np.ones(rows)),
        (row_of_entry, parts + rows + np.arange(entries), np.ones(entries)),
        (rows + shares.at, parts + rows + entry_of_at, -np.ones(len(shares.at))),
        (rows + mine, shares.parts, np.ones(len(mine))),
        (np.full(rows, rows + len(mine)), parts + each, ways.weight / ways.weight.sum()),
    )
    lower = np.concatenate([np.zeros(rows + len(mine)), [demand_share]])
    return model_of(
        triples,
        cost=np.concatenate([price, np.zeros(rows + entries)]),
        lower=lower,
        upper=np.full(len(lower), UNBOUNDED),
        whole=np.arange(parts + rows + entries) < parts,
    )


def _climbed(ways: Ways, shares: Shares, price: Array, demand: int, value: int, steps: int) -> tuple[Duals, Array]:
    """Duals that prove much, and how often lately each part was worth its price on the way to them (0..1)."""
    paid = _first_paid(ways, shares, price)
    worths = ways.weight.astype(np.float64), price.astype(np.float64)
    paid, worth, remembered = _ascend(ways.bounds, *shares, *worths, float(demand), paid, float(value), steps)
    return Duals(paid, worth), remembered


def _first_paid(ways: Ways, shares: Shares, price: Array) -> Array:
    """To begin with, upgrades are free, and a row pays its candidates by its weight at the cheapest one's price."""
    row = np.repeat(np.arange(len(ways.weight)), np.diff(shares.bounds))
    site = shares.parts < ways.candidates
    weight = ways.weight.astype(float)[row[site]]
    each = price / np.maximum(np.bincount(shares.parts[site], weights=weight, minlength=len(price)), 1.0)
    cheapest = np.full(len(ways.weight), np.inf)
    np.minimum.at(cheapest, row[site], each[shares.parts[site]])
    paid = np.zeros(len(shares.parts))
    paid[site] = cheapest[row[site]] * weight
    return paid


@njit(cache=True)
def _inside(masks: Array, one: int, other: int) -> bool:
    """Whether all upgrades of one set are in another."""
    outside = 0
    for word in range(masks.shape[1]):
        outside += (masks[one, word] & ~masks[other, word]) != 0
    return outside == 0


@njit(cache=True)
def _slot(mask: Array, size: int) -> Whole:
    mixed = np.uint64(0)
    for word in mask:
        mixed = (mixed ^ word) * MIX
        mixed ^= mixed >> np.uint64(29)
    return np.int64(mixed & np.uint64(size - 1))


@njit(cache=True)
def _number(masks: Array, count: int, slots: Array, new: int) -> Whole:
    """The number of the set at row `new` of `masks`: that of an equal one among the first `count`, or its own."""
    slot = _slot(masks[new], slots.size)
    while slots[slot] >= 0:
        if (masks[slots[slot]] == masks[new]).all():
            return np.int64(slots[slot])
        slot = (slot + 1) & (slots.size - 1)
    slots[slot] = count
    return count


@njit(cache=True)
def _spread(masks: Array, count: int, size: int) -> Array:
    slots = np.full(size, -1, np.int64)
    for number in range(count):
        slot = _slot(masks[number], size)
        while slots[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        slots[slot] = number
    return slots


@njit(cache=True)
def _with(
    masks: Array, old: int, new: int, option: int, pair: tuple[int, int], saving: Array, local: Array, names: Array,
    known: int, most: int,
) -> tuple[int, int, int]:  # fmt: skip
    """Write the set `old` with some of a pair of upgrades to row `new`: what they save, sets known, and guesses.

    What is saved is -1 where the option leaves out what the set has: a better label has it.
    """
    masks[new] = masks[old]
    held = 0
    for word in masks[old]:
        while word:
            word &= word - np.uint64(1)
            held += 1
    saved, guesses = 0, 0
    for which in range(2):
        upgrade, taken = pair[which], (option >> which) & 1
        if upgrade < 0:
            continue
        at = local[upgrade]
        has = at >= 0 and (masks[old, at >> 6] >> np.uint64(at & 63)) & np.uint64(1) > 0
        if not taken:
            if has:
                return -1, known, guesses
            continue
        saved += saving[upgrade]
        if has:
            continue
        if (at < 0 and known == names.size) or held >= most:
            guesses += 1
            continue
        if at < 0:
            at, local[upgrade], names[known] = known, known, upgrade
            known += 1
        masks[new, at >> 6] |= np.uint64(1) << np.uint64(at & 63)
        held += 1
    return saved, known, guesses


@njit(cache=True)
def _is_beaten(first: Array, after: Array, sets: Array, delays: Array, masks: Array, vertex: int, new: int, at: int):  # type: ignore[no-untyped-def]
    """Whether a settled label of a vertex is as near as `at` with no other upgrades than those of set `new`."""
    label = first[vertex]
    while label >= 0:
        if delays[label] <= at and _inside(masks, sets[label], new):
            return True
        label = after[label]
    return False


@njit(cache=True)
def _labelled(
    starts: Array, heads: Array, oneway: Array, one: Array, two: Array, saving: Array,
    sources: Array, limit: int, most: int, hosts: Array,
) -> tuple[Array, tuple[Array, Array, Array], int]:  # fmt: skip
    """Labels of hosts that no other beats: source, vertex, delay, way, and the least delay with fewer upgrades.

    Then, of each way, its source and where its upgrades begin, and the upgrades; and the number of guesses.
    """
    vertices = starts.size - 1
    first, local, names = (
        np.full(vertices, -1, np.int64),
        np.full(saving.size, -1, np.int32),
        np.empty(WORDS * BITS, np.int32),
    )
    room = 1 << 16
    where, delays, sets = np.empty(room, np.int32), np.empty(room, np.int64), np.empty(room, np.int64)
    after, heap = np.empty(room, np.int64), np.empty(room, np.int64)
    masks = np.zeros((1 << 10, WORDS), np.uint64)
    touched = np.empty(vertices, np.int32)
    out, written = np.empty((1 << 16, 5), np.int64), 0
    owner, bounds, ways = np.empty(1 << 14, np.int32), np.zeros((1 << 14) + 1, np.int64), 0
    upgrades, listed, guesses = np.empty(1 << 16, np.int32), 0, 0
    for source in range(sources.size):
        masks[0] = 0
        known, count, labels, reached = 0, 1, 1, 0
        slots = _spread(masks, count, 1 << 12)
        where[0], delays[0], sets[0] = sources[source], 0, 0
        size = push(heap, 0, np.int64(0))
        while size > 0:
            label = heap[0] & 0xFFFFFFFF
            size = pop(heap, size)
            vertex, delay, held = where[label], delays[label], sets[label]
            if _is_beaten(first, after, sets, delays, masks, vertex, held, delay):
                continue
            if first[vertex] < 0:
                touched[reached] = vertex
                reached += 1
            after[label], first[vertex] = first[vertex], label
            for arc in range(starts[vertex], starts[vertex + 1]):
                pair = (one[arc], two[arc])
                for option in range(4):
                    if (option & 1 and pair[0] < 0) or (option & 2 and pair[1] < 0):
                        continue
                    if count + 1 >= masks.shape[0]:
                        masks = longer(masks)
                    saved, known, more = _with(masks, held, count, option, pair, saving, local, names, known, most)
                    guesses += more
                    there = delay + oneway[arc] - saved
                    if saved < 0 or there >= limit:
                        continue
                    if _is_beaten(first, after, sets, delays, masks, heads[arc], count, there):
                        continue
                    number = _number(masks, count, slots, count)
                    if number == count:
                        count += 1
                        if count * 2 > slots.size:
                            slots = _spread(masks, count, slots.size * 4)
                    if labels == where.size:
                        where, delays, sets = longer(where), longer(delays), longer(sets)
                        after, heap = longer(after), longer(heap)
                    where[labels], delays[labels], sets[labels] = heads[arc], there, number
                    size = push(heap, size, (np.int64(there) << 32) | labels)
                    labels += 1
        way = np.full(count, -1, np.int64)
        for at in range(reached):
            vertex = touched[at]
            label = first[vertex]
            while label >= 0 and hosts[vertex]:
                until, other = NEVER, first[vertex]
                while other >= 0:
                    if other != label and delays[other] < until and _inside(masks, sets[other], sets[label]):
                        until = delays[other]
                    other = after[other]
                held = sets[label]
                if way[held] < 0:
                    if ways == owner.size:
                        owner, bounds = longer(owner), longer(bounds)
                    if listed + WORDS * BITS > upgrades.size:
                        upgrades = longer(upgrades)
                    for bit in range(known):
                        if (masks[held, bit >> 6] >> np.uint64(bit & 63)) & np.uint64(1):
                            upgrades[listed] = names[bit]
                            listed += 1
                    way[held], owner[ways], bounds[ways + 1] = ways, source, listed
                    ways += 1
                if written == out.shape[0]:
                    out = longer(out)
                out[written, 0], out[written, 1], out[written, 2] = source, vertex, delays[label]
                out[written, 3], out[written, 4] = way[held], until
                written += 1
                label = after[label]
            first[vertex] = -1
        local[names[:known]] = -1
    return out[:written].T.copy(), (owner[:ways].copy(), bounds[: ways + 1].copy(), upgrades[:listed].copy()), guesses


@njit(cache=True)
def _has_all(starts: Array, upgrades: Array, one: int, other: int) -> bool:
    """Whether the upgrades (ascending) of one way are all in another."""
    at, stop = starts[other], starts[other + 1]
    for entry in range(starts[one], starts[one + 1]):
        while at < stop and upgrades[at] < upgrades[entry]:
            at += 1
        if at == stop or upgrades[at] != upgrades[entry]:
            return False
    return True


@njit(cache=True)
def _fewest(starts: Array, upgrades: Array, site: Array, way: Array, size: int) -> int:
    """Keep, of the first `size` ways, those that need no more than another of their site; how many they are."""
    order = np.argsort(site[:size], kind="mergesort")
    sites, ways = site[:size][order], way[:size][order]
    kept, begin = 0, 0
    while begin < size:
        end = begin
        while end < size and sites[end] == sites[begin]:
            end += 1
        for one in range(begin, end):
            needed = True
            for other in range(begin, end):
                if other != one and _has_all(starts, upgrades, ways[other], ways[one]):
                    needed = needed and ways[other] == ways[one] and one < other
            if needed:
                way[kept] = ways[one]
                kept += 1
        begin = end
    return kept


@njit(cache=True)
def _rows(
    first: Array, site: Array, delay: Array, way: Array, until: Array, starts: Array, upgrades: Array, words: Array,
    limit: int, ends: Array, whole: Array, bounds: Array, offset: Array, weight: Array,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Points with the same ways as one row: where the ways of each begin, the ways, its weight and its first point."""
    room, rows, listed = 1 << 14, 0, 0
    signature, total, row_bounds = (
        np.empty((room, 2), np.uint64),
        np.empty(room, np.int64),
        np.zeros(room + 1, np.int64),
    )
    point = np.empty(room, np.int64)
    slots, ways = np.full(1 << 16, -1, np.int64), np.empty(1 << 20, np.int32)
    near, its_site = np.empty(1 << 16, np.int64), np.empty(1 << 16, np.int64)
    for segment in range(ends.shape[0]):
        low, high, row = np.int64(0), np.int64(-1), -1
        for member in range(bounds[segment], bounds[segment + 1]):
            here = offset[member]
            if not low <= here <= high:
                # The same ways reach all members up to the next delay at which one begins or ends to.
                low, high, size = np.int64(0), NEVER, 0
                for side in range(2):
                    vertex = ends[segment, side]
                    if vertex < 0:
                        continue
                    slack = limit - here if side == 0 else limit - whole[segment] + here
                    for at in range(first[vertex], first[vertex + 1]):
                        for edge in (delay[at], until[at]):
                            turn = limit - edge if side == 0 else edge - limit + whole[segment]
                            if side == 0 and here >= turn:
                                low = max(low, turn)
                            elif side == 0:
                                high = min(high, turn - 1)
                            elif here <= turn:
                                high = min(high, turn)
                            else:
                                low = max(low, turn + 1)
                        if delay[at] < slack <= until[at]:
                            if size == near.size:
                                near, its_site = longer(near), longer(its_site)
                            near[size], its_site[size] = way[at], site[at]
                            size += 1
                if ends[segment, 1] >= 0 and size > 1:
                    size = _fewest(starts, upgrades, its_site, near, size)
                row = -1
                if size:
                    one, two = np.uint64(0), np.uint64(0)
                    for at in range(size):
                        one += words[near[at], 0]
                        two += words[near[at], 1]
                    slot = np.int64((one ^ (two >> np.uint64(7))) & np.uint64(slots.size - 1))
                    while slots[slot] >= 0:
                        row = slots[slot]
                        if signature[row, 0] == one and signature[row, 1] == two:
                            break
                        row = -1
                        slot = (slot + 1) & (slots.size - 1)
                    if row < 0:
                        if rows == total.size:
                            signature, total, row_bounds = longer(signature), longer(total), longer(row_bounds)
                            point = longer(point)
                        while listed + size > ways.size:
                            ways = longer(ways)
                        ways[listed : listed + size] = near[:size]
                        row, slots[slot], point[rows] = rows, rows, member
                        signature[row, 0], signature[row, 1], total[row] = one, two, 0
                        rows += 1
                        listed += size
                        row_bounds[rows] = listed
                        if rows * 3 > slots.size:
                            slots = _rehashed(signature[:rows], slots.size * 4)
            if row >= 0:
                total[row] += weight[member]
    return row_bounds[: rows + 1].copy(), ways[:listed].copy(), total[:rows].copy(), point[:rows].copy()


@njit(cache=True)
def _left(
    bounds: Array, ways: Array, weight: Array, lives: Array, starts: Array, parts: Array, one: Array, same: Array,
    words: Array,
) -> tuple[Array, Array, Array, Whole, Array]:  # fmt: skip
    """Rows that no way without parts reaches: ways by new numbers, weights, that of the others, and old rows.

    `one` is an old way of each new number and `same` the new number of each old way.
    """
    rows, listed, done = 0, 0, np.int64(0)
    signature, total = np.empty((weight.size, 2), np.uint64), np.empty(weight.size, np.int64)
    row_bounds, left = np.zeros(weight.size + 1, np.int64), np.empty(ways.size, np.int64)
    stands_for = np.empty(weight.size, np.int64)
    slots = np.full(4 * (1 << 10), -1, np.int64)
    while slots.size < 3 * weight.size:
        slots = np.full(slots.size * 4, -1, np.int64)
    for row in range(weight.size):
        begin, is_done = listed, False
        for entry in range(bounds[row], bounds[row + 1]):
            way = ways[entry]
            if not lives[way]:
                continue
            is_done = is_done or starts[way + 1] == starts[way]
            new, needed = same[way], True
            for other in range(begin, listed):
                if left[other] == new or _has_all(starts, parts, one[left[other]], way):
                    needed = False
                    break
            if needed:
                kept = begin
                for other in range(begin, listed):
                    if not _has_all(starts, parts, way, one[left[other]]):
                        left[kept] = left[other]
                        kept += 1
                left[kept] = new
                listed = kept + 1
        if is_done:
            done += weight[row]
            listed = begin
            continue
        if listed == begin:
            continue
        first, second = np.uint64(0), np.uint64(0)
        for new in left[begin:listed]:
            first += words[new, 0]
            second += words[new, 1]
        slot, found = np.int64((first ^ (second >> np.uint64(7))) & np.uint64(slots.size - 1)), -1
        while slots[slot] >= 0:
            other = slots[slot]
            if signature[other, 0] == first and signature[other, 1] == second:
                found = other
                break
            slot = (slot + 1) & (slots.size - 1)
        if found >= 0:
            total[found] += weight[row]
            listed = begin
            continue
        slots[slot] = rows
        signature[rows, 0], signature[rows, 1], total[rows] = first, second, weight[row]
        stands_for[rows] = row
        rows += 1
        row_bounds[rows] = listed
    return row_bounds[: rows + 1].copy(), left[:listed].copy(), total[:rows].copy(), done, stands_for[:rows].copy()


@njit(cache=True)
def _rehashed(signature: Array, size: int) -> Array:
    slots = np.full(size, -1, np.int64)
    for row in range(signature.shape[0]):
        slot = np.int64((signature[row, 0] ^ (signature[row, 1] >> np.uint64(7))) & np.uint64(size - 1))
        while slots[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        slots[slot] = row
    return slots


@njit(cache=True)
def _shares(bounds: Array, ways: Array, starts: Array, parts: Array, size: int) -> tuple[Array, Array, Array, Array]:
    total = 0
    for way in ways:
        total += starts[way + 1] - starts[way]
    at, entry_starts = np.empty(total, np.int64), np.zeros(ways.size + 1, np.int64)
    mine, row_bounds, seen = np.empty(total, np.int32), np.zeros(bounds.size, np.int64), np.full(size, -1, np.int64)
    count, written = 0, 0
    for row in range(bounds.size - 1):
        begin = count
        for entry in range(bounds[row], bounds[row + 1]):
            for part in parts[starts[ways[entry]] : starts[ways[entry] + 1]]:
                if seen[part] < begin:
                    seen[part], mine[count] = count, part
                    count += 1
                at[written] = seen[part]
                written += 1
            entry_starts[entry + 1] = written
        row_bounds[row + 1] = count
    return row_bounds, mine[:count].copy(), entry_starts, at


@njit(cache=True)
def _ascend(
    bounds: Array, share_bounds: Array, parts: Array, starts: Array, at: Array, weight: Array, price: Array,
    demand: float, paid: Array, known: float, steps: int,
) -> tuple[Array, float, Array]:  # fmt: skip
    """Duals by subgradient steps from `paid` on: what is paid, weight's worth, and parts remembered as worth it.

    Source: M. L. Fisher (1981); steps deflected after P. M. Camerini, L. Fratta and F. Maffioli (1975).
    """
    rows, size = weight.size, price.size
    cost, cheapest = np.empty(rows), np.empty(rows, np.int64)
    earned, taken, remembered = np.empty(size), np.empty(size), np.zeros(size)
    direction, best, best_paid, best_worth = np.zeros(paid.size), -np.inf, paid.copy(), 0.0
    step, waited = FIRST_STEP, 0
    for _ in range(steps):
        earned[:] = 0.0
        for entry in range(parts.size):
            earned[parts[entry]] += paid[entry]
        for row in range(rows):
            cost[row] = np.inf
            for entry in range(bounds[row], bounds[row + 1]):
                each = 0.0
                for which in range(starts[entry], starts[entry + 1]):
                    each += paid[at[which]]
                if each < cost[row]:
                    cost[row], cheapest[row] = each, entry
        low, worth = _worth(cost, weight, demand)
        value = worth * demand
        for row in range(rows):
            value -= max(worth * weight[row] - cost[row], 0.0)
        for part in range(size):
            value += min(price[part] - earned[part], 0.0)
            taken[part] = 1.0 if earned[part] > price[part] else 0.0
            remembered[part] += (1.0 - REMEMBERED) * (taken[part] - remembered[part])
        waited += 1
        if value > best:
            if value > best + BETTER_SHARE * abs(best):
                waited = 0
            best, best_worth = value, worth
            best_paid[:] = paid
        if waited > PATIENCE:
            waited, step = 0, step * SHORTER
            paid[:] = best_paid
            direction[:] = 0.0
            continue
        filled, cut = 0.0, 0.0
        for row in range(rows):
            filled += weight[row] if cost[row] < low * weight[row] else 0.0
            cut += weight[row] if low * weight[row] <= cost[row] < worth * weight[row] else 0.0
        rest = (demand - filled) / cut if cut > 0 else 0.0
        for entry in range(paid.size):
            direction[entry] = KEPT * direction[entry] - taken[parts[entry]]
        for row in range(rows):
            wanted = 1.0 if cost[row] < low * weight[row] else (rest if cost[row] < worth * weight[row] else 0.0)
            if wanted > 0.0:
                for which in range(starts[cheapest[row]], starts[cheapest[row] + 1]):
                    direction[at[which]] += wanted
        norm = 0.0
        for entry in range(paid.size):
            if paid[entry] <= 0.0 and direction[entry] < 0.0:
                direction[entry] = 0.0
            norm += direction[entry] * direction[entry]
        if norm == 0.0 or best >= known:
            break
        aim = max(AIM_SHARE * known, best + NEARER_SHARE * (known - best))
        length = step * (aim - value) / norm
        for entry in range(paid.size):
            paid[entry] = max(paid[entry] + length * direction[entry], 0.0)
    return best_paid, best_worth, remembered


@njit(cache=True)
def _worth(cost: Array, weight: Array, demand: float) -> tuple[float, float]:
    """What a unit of weight is worth where rows that cost less just meet the demand, from below and from above."""
    low, high = 0.0, 0.0
    for row in range(cost.size):
        high = max(high, cost[row] / weight[row])
    # Just above, so that the dearest rows cost less, too.
    high = high * (1.0 + FREE) + FREE
    for _ in range(BISECTIONS):
        middle, filled = 0.5 * (low + high), 0.0
        for row in range(cost.size):
            filled += weight[row] if cost[row] < middle * weight[row] else 0.0
        if filled < demand:
            low = middle
        else:
            high = middle
    return low, high


class _Net(NamedTuple):
    """Ways in arrays, both ways round: those of rows, rows of ways, parts of ways and ways of parts."""

    bounds: Array
    ways: Array
    row_starts: Array
    rows: Array
    starts: Array
    parts: Array
    way_starts: Array
    with_part: Array
    price: Array
    weight: Array


class _State(NamedTuple):
    """What is `had`; of ways, the parts they lack and their guiding price, and the weight they would add.

    `whole` is the number of whole ways of each row; `sums` has the weight reached and the price.
    """

    had: Array
    lacks: Array
    rest: Array
    gain: Array
    whole: Array
    sums: Array


def _net(ways: Ways, price: Array) -> _Net:
    count = len(ways.starts) - 1
    row = np.repeat(np.arange(len(ways.weight), dtype=np.int32), np.diff(ways.bounds))
    way = np.repeat(np.arange(count, dtype=np.int32), np.diff(ways.starts))
    return _Net(
        bounds=ways.bounds,
        ways=ways.ways,
        row_starts=np.concatenate([[0], np.cumsum(np.bincount(ways.ways, minlength=count))]),
        rows=row[np.argsort(ways.ways, kind="stable")],
        starts=ways.starts,
        parts=ways.parts,
        way_starts=np.concatenate([[0], np.cumsum(np.bincount(ways.parts, minlength=len(price)))]),
        with_part=way[np.argsort(ways.parts, kind="stable")],
        price=price,
        weight=ways.weight,
    )


def _state(net: _Net, guide: Array, chosen: Array) -> _State:
    """The state in which these parts (positions) are had."""
    gain = np.zeros(len(net.starts) - 1, np.int64)
    np.add.at(gain, net.ways, np.repeat(net.weight, np.diff(net.bounds)))
    state = _State(
        had=np.zeros(len(net.price), np.bool_),
        lacks=np.diff(net.starts).astype(np.int32),
        rest=np.add.reduceat(guide[net.parts], net.starts[:-1]),
        gain=gain,
        whole=np.zeros(len(net.weight), np.int32),
        sums=np.zeros(2, np.int64),
    )
    for part in chosen:
        _take(net, state, guide, part)
    return state


class _Best(NamedTuple):
    """The cheapest parts found (a mask), and their price."""

    had: Array
    value: int


def _better(net: _Net, demand: int, begin: Array, rounds: int, seed: int, best: _Best) -> _Best:
    """The cheaper of the best plan and one that is found from some parts (a mask) on."""
    guide = net.price.astype(np.float64)
    state = _state(net, guide, np.flatnonzero(begin))
    if not _complete(net, state, guide, demand):
        return best
    found = np.zeros(len(guide), np.bool_)
    _drop_by_loss(net, state, guide, demand)
    _improve(net, state, guide, demand, rounds, seed, found)
    value = int(net.price[found].sum())
    return _Best(found, value) if value < best.value else best


@njit(cache=True)
def _take(net: _Net, state: _State, guide: Array, part: int) -> None:
    state.had[part] = True
    state.sums[1] += net.price[part]
    for way in net.with_part[net.way_starts[part] : net.way_starts[part + 1]]:
        state.lacks[way] -= 1
        state.rest[way] -= guide[part]
        if state.lacks[way] == 0:
            for row in net.rows[net.row_starts[way] : net.row_starts[way + 1]]:
                state.whole[row] += 1
                if state.whole[row] == 1:
                    state.sums[0] += net.weight[row]
                    for other in net.ways[net.bounds[row] : net.bounds[row + 1]]:
                        state.gain[other] -= net.weight[row]


@njit(cache=True)
def _leave(net: _Net, state: _State, guide: Array, part: Whole) -> None:
    state.had[part] = False
    state.sums[1] -= net.price[part]
    for way in net.with_part[net.way_starts[part] : net.way_starts[part + 1]]:
        if state.lacks[way] == 0:
            for row in net.rows[net.row_starts[way] : net.row_starts[way + 1]]:
                state.whole[row] -= 1
                if state.whole[row] == 0:
                    state.sums[0] -= net.weight[row]
                    for other in net.ways[net.bounds[row] : net.bounds[row + 1]]:
                        state.gain[other] += net.weight[row]
        state.lacks[way] += 1
        state.rest[way] += guide[part]


@njit(cache=True)
def _complete(net: _Net, state: _State, guide: Array, demand: int) -> bool:
    """Take the missing parts of a way, or one part of many ways, that add most for their price, until it is enough."""
    alone = np.empty(guide.size)
    while state.sums[0] < demand:
        wanted = float(demand - state.sums[0])
        alone[:] = 0.0
        best, best_way, best_part = 0.0, -1, -1
        for way in range(state.lacks.size):
            if state.lacks[way] == 0 or state.gain[way] == 0:
                continue
            if state.lacks[way] == 1:
                for part in net.parts[net.starts[way] : net.starts[way + 1]]:
                    if not state.had[part]:
                        alone[part] += state.gain[way]
            else:
                ratio = min(float(state.gain[way]), wanted) / max(state.rest[way], FREE)
                if ratio > best:
                    best, best_way = ratio, way
        for part in range(guide.size):
            ratio = min(alone[part], wanted) / max(guide[part], FREE)
            if ratio > best:
                best, best_part = ratio, part
        if best_part >= 0:
            _take(net, state, guide, best_part)
        elif best_way >= 0:
            for part in net.parts[net.starts[best_way] : net.starts[best_way + 1]]:
                if not state.had[part]:
                    _take(net, state, guide, part)
        else:
            return False
    return True


@njit(cache=True)
def _loss(net: _Net, state: _State, part: int, seen: Array) -> Whole:
    """The weight out of reach without a part; `seen` (zeros, one a row) is left as it was."""
    lost = np.int64(0)
    for way in net.with_part[net.way_starts[part] : net.way_starts[part + 1]]:
        if state.lacks[way] == 0:
            for row in net.rows[net.row_starts[way] : net.row_starts[way + 1]]:
                seen[row] += 1
                lost += net.weight[row] if seen[row] == state.whole[row] else 0
    for way in net.with_part[net.way_starts[part] : net.way_starts[part + 1]]:
        if state.lacks[way] == 0:
            seen[net.rows[net.row_starts[way] : net.row_starts[way + 1]]] = 0
    return lost


@njit(cache=True)
def _drop(net: _Net, state: _State, guide: Array, demand: int, order: Array, seen: Array) -> None:
    """Leave what is not needed, in this order."""
    for part in order:
        if state.had[part] and net.price[part] > 0 and state.sums[0] - _loss(net, state, part, seen) >= demand:
            _leave(net, state, guide, part)


@njit(cache=True)
def _drop_by_loss(net: _Net, state: _State, guide: Array, demand: int) -> None:
    """Leave what is not needed, what loses least for its price first."""
    each, seen = np.full(guide.size, np.inf), np.zeros(net.weight.size, np.int32)
    for part in range(guide.size):
        if state.had[part] and net.price[part] > 0:
            each[part] = _loss(net, state, part, seen) / net.price[part]
    _drop(net, state, guide, demand, np.argsort(each), seen)


@njit(cache=True)
def _near(net: _Net, state: _State, part: int) -> Whole:
    """A part that is had and paid for, of a row that has a way with this one; -1 where chance finds none."""
    for _ in range(TRIES):
        way = net.with_part[np.random.randint(net.way_starts[part], net.way_starts[part + 1])]
        if net.row_starts[way + 1] == net.row_starts[way]:
            continue
        row = net.rows[np.random.randint(net.row_starts[way], net.row_starts[way + 1])]
        way = net.ways[np.random.randint(net.bounds[row], net.bounds[row + 1])]
        other = net.parts[np.random.randint(net.starts[way], net.starts[way + 1])]
        if state.had[other] and net.price[other] > 0:
            return np.int64(other)
    return -1


@njit(cache=True)
def _improve(net: _Net, state: _State, guide: Array, demand: int, rounds: int, seed: int, best: Array) -> None:
    """Take some parts away and complete again, so many times; `best` gets the cheapest that reaches the demand."""
    np.random.seed(seed)
    listed, seen = np.empty(guide.size, np.int64), np.zeros(net.weight.size, np.int32)
    dearest, before = np.argsort(-net.price), np.empty(guide.size, np.bool_)
    best[:] = state.had
    best_value = state.sums[1]
    for done in range(rounds):
        before[:] = state.had
        count = 0
        for part in range(guide.size):
            if state.had[part] and net.price[part] > 0:
                listed[count] = part
                count += 1
        if count == 0:
            break
        begin = listed[np.random.randint(count)]
        around = np.random.random() < NEAR_SHARE and net.way_starts[begin + 1] > net.way_starts[begin]
        number = np.random.randint(MOST_AWAY)
        _leave(net, state, guide, begin)
        for _ in range(number):
            away: Whole = _near(net, state, begin) if around else listed[np.random.randint(count)]
            if away >= 0 and state.had[away]:
                _leave(net, state, guide, away)
        _complete(net, state, guide, demand)
        _drop(net, state, guide, demand, dearest, seen)
        allowed = best_value * WORSE_SHARE * (1.0 - done / rounds)
        if state.sums[0] >= demand and state.sums[1] <= best_value + allowed:
            if state.sums[1] < best_value:
                best_value = state.sums[1]
                best[:] = state.had
        else:
            _go_back(net, state, guide, before)


@njit(cache=True)
def _go_back(net: _Net, state: _State, guide: Array, before: Array) -> None:
    for part in range(before.size):
        if state.had[part] and not before[part]:
            _leave(net, state, guide, part)
    for part in range(before.size):
        if before[part] and not state.had[part]:
            _take(net, state, guide, part)
