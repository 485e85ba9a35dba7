"""Whether a coverage plan does what it says, at the price it says, and whether nothing cheaper can.

Nothing in the plan is believed, and nothing is shared with what made it. Everything is counted again on the network,
point by point: which sites reach it within the budget, by one search for each site. Points of one group that lack as
many sites and have the same candidates within reach are a row; a row is known by the sum of 128 bits for each of its
candidates, drawn from their ids. Any duals that pay for no row more than it is worth give a valid bound, so it is
computed from those that the plan has.

Where sites have limits, the plan says who serves whom. Nothing is done beforehand then: what is kept or locked serves
up to its limit like the others, and a row is of the points of one group with the same sites of all within reach.

Source: Lagrangian bounds of partial set multi-covering, as `_covering_bound` has it, and of partial covering with
capacities, as `_limited_bound` has it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple, get_args

import msgspec
import numpy as np
from numba import njit
from scipy.sparse import csr_array, hstack, vstack

from karez.errors import InputError, Problem
from karez.measure.circles import WEIGHT_SCALE, Points, Weight, compute_sites, fixed, points
from karez.measure.core import LONGEST_NS, Timed, Topology, searched, topology_of
from karez.measure.delay import Figures, constants, link_parts
from karez.measure.kernels import FAR
from karez.plan.claims import (
    LARGEST,
    Reader,
    hung,
    is_between,
    is_equal,
    pairs,
    points_of,
    problem,
    rows_of,
    shown,
    twice,
)
from karez.plan.plan import Action, Cell, Plan
from karez.twin import Twin, World
from karez.twin.schema import Value
from karez.twin.table import Array, text
from karez.units import FEN_PER_CNY, NS_PER_US

PLANNER = "coverage"
# What is to be added up for so many sites at once, so that memory does not grow with their number.
SITES_AT_ONCE = 256
# Points that are looked at in one go, for the same reason.
POINTS_AT_ONCE = 1 << 18
# Slack for rounding in floating point, as a share of the unit that bounds are rounded up to.
SLACK = 1e-6
# By what share duals may pay a row more than it is worth, and a bound may differ, through rounding alone. A bound near
# zero may by this much (fen, or millionths of weight), and by this share of the worth of all rows, which cancel in it.
ROUNDING_SHARE = 1e-9
ROUNDING_LEAST = 1e-3
CANCELLED_SHARE = 1e-12
LARGEST_COUNT = 1_000_000
# What a site without a limit serves, in millionths of weight.
UNLIMITED = np.iinfo(np.int64).max
MOST_TARGETS = 64
NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
PAIRS = re.compile(rf"{NUMBER}={NUMBER}(?:,{NUMBER}={NUMBER})*")
YEARS = re.compile(r"[0-9]{4}=[^=,]+(?:,[0-9]{4}=[^=,]+)*")
FIRST_YEAR = 1970


class _Question(NamedTuple):
    """What was asked: a share for each budget (us), or one for each year."""

    weight: Weight
    figures: Figures
    targets: tuple[tuple[float, Fraction], ...]
    phases: tuple[tuple[int, Fraction], ...]
    of: str
    metros_share: Fraction
    money_cny: float
    spare: int
    limited: int
    closable: bool
    lock: tuple[str, ...]
    forbid: tuple[str, ...]
    discount_share: float
    service_at_s: float

    @property
    def has_money(self) -> bool:
        return self.money_cny >= 0

    @property
    def years(self) -> tuple[int, ...]:
        return tuple(year for year, _ in self.phases)


class _Ground(NamedTuple):
    """The network, and its points: weight (millionths), group, and how each hangs on the core.

    A point has two hosts (core vertices; one past them for none) and its delay towards either.
    """

    twin: Twin
    topology: Topology
    timed: Timed
    host: Array
    offset_ns: Array
    weight: Array
    group: Array
    groups: int
    existing: Array


class _Served(NamedTuple):
    """Who serves whom: how much (weight in millionths) of the row of a point, in a group, a site serves."""

    point: Array
    group: Array
    site: Array
    weight: Array


class _Claim(NamedTuple):
    """What the certificate claims, with positions for ids: of candidates, of points, of groups.

    `price_fen` has a row for each year and a column for each candidate; `year` the position of the year of each chosen
    candidate. `sites` (rows) are the candidates, and then what is kept; `taken` says which of them are beforehand, and
    `limit` how much weight (millionths) each serves at most. A cut is of a row (position in the certificate's), leaves
    out a site (candidate; past the last one: none), and may have another row beside (past the last one: none).
    """

    sites: Array
    candidates: int
    taken: Array
    price_fen: Array
    chosen: Array
    year: Array
    row_point: Array
    row_group: Array
    row_dual: Array
    cut_row: Array
    cut_site: Array
    cut_other: Array
    cut_dual: Array
    group_dual: Array
    money_dual: float
    limit: Array
    served: _Served


class _Found(NamedTuple):
    """What the network says of groups (weight in millionths) and of the certificate's rows.

    Of a group: all its weight, what its target takes, what is done beforehand, what is in any row, and what the chosen
    sites cover (with limits: are said to serve). Of a row: its weight, the sites it lacks, and which candidates (with
    limits: sites) reach it. With money, what is covered is a multiple of `unit`, as weights are. `problems` has what is
    wrong with rows, `unserved` with who serves whom.
    """

    total: Array
    demand: Array
    done: Array
    live: Array
    covered: Array
    row_weight: Array
    row_need: Array
    within: csr_array
    unit: int
    problems: tuple[Problem, ...] = ()
    unserved: tuple[Problem, ...] = ()


def check_certificate(plan: Plan, world: World) -> list[Problem]:
    """Every way in which a plan for coverage fails to hold, or its certificate to prove it; empty where both do.

    Coverage, price, orders and bound are derived anew from the intended twin, with the candidates, their prices and the
    limits of sites as the plan has them: that these are all candidates, and prices and limits right, is for who asked
    to say. Duals that differ from the planner's in what they prove are refused, even where they would prove enough.
    """
    try:
        ask, ground, claim = _read(plan, world)
    except InputError as error:
        return list(error.problems)
    found = _counted(ask, ground, claim)
    return [
        *_orders(plan, ask, ground, claim, world.intended),
        *_coverage(ask, ground, found),
        *found.unserved,
        *_prices(plan, ask, claim, found),
        *(found.problems or _bounds(plan, ask, claim, found)),
    ]


def proven(plan: Plan, world: World) -> float:
    """The bound that the duals of a plan prove: on its price (CNY), or, with money, on the weight left uncovered.

    Raises:
        InputError: the plan or its certificate makes no sense on this network.
    """
    ask, claim, found = _sound(plan, world)
    return _proven(ask, claim, found, _bound(ask, claim, found))


def exact_bound(plan: Plan, world: World) -> float:
    """What the duals of a plan prove, not rounded: what its certificate must have as `bound_exact`, which is not read.

    In fen above the price of what is locked, and below 0 where the duals prove nothing; with money, in millionths of
    the weight left uncovered.

    Raises:
        InputError: the plan or its certificate makes no sense on this network.
    """
    return _bound(*_sound(plan, world))


def _sound(plan: Plan, world: World) -> tuple[_Question, _Claim, _Found]:
    ask, ground, claim = _read(plan, world)
    found = _counted(ask, ground, claim)
    if found.problems:
        raise InputError(found.problems)
    return ask, claim, found


def _bound(ask: _Question, claim: _Claim, found: _Found) -> float:
    return _limited_bound(claim, found) if ask.limited else _covering_bound(ask, claim, found)


def _covering_bound(ask: _Question, claim: _Claim, found: _Found) -> float:
    """The least price (fen) of any plan, or, with money, the least weight (millionths) that any leaves uncovered.

    A candidate costs c and has x in 0..1, a row k of group g has weight W, lacks r sites and is covered by y in 0..1:

        least sum c x   where   sum of x within reach of k >= r y_k,   sum of W y in g >= D_g for so many g as wanted.

    With duals u_k <= v_g W_k / r_k for the first and v_g for the second, no plan is below

        sum over candidates of min(0, c - sum of u within reach)
        + sum over the wanted groups of least max(0, v_g D_g - sum of (v_g W_k - r_k u_k) over all rows of g),

    where rows without a dual have u = 0. With years, a candidate takes the best of them and reaches rows of that year
    and later. With money, D is all weight, v is 1, prices count m times, and m times the money is taken off.

    Where row k is covered, its candidates without j, and with those of another row l, are at least m = r_k - 1 (r_k
    where none is left out), and where l is covered too, r_l, if that is as many or more: sum of x >= m y_k + (r_l - m)
    y_l. The dual of such a cut is earned by each of these candidates, and rows pay it as often as they are counted.
    """
    # What rows pay beyond v W they lose nothing for; rows without a dual lose v W.
    paid = np.bincount(
        claim.row_group, np.minimum(sum(_paid(claim, found)), _worth(claim, found)), len(claim.group_dual)
    )
    short = claim.group_dual * (np.maximum(found.demand - found.done, 0) - found.live) + paid
    rate, spent_fen = (claim.money_dual, _left_fen(ask, claim)) if ask.has_money else (1.0, 0.0)
    by_cuts = _in_cuts(claim, found).T @ claim.cut_dual
    row_year = claim.row_group // _groups_a_year(ask, claim)
    left = [
        rate * price_fen - found.within.T @ np.where(row_year >= year, claim.row_dual, 0.0) - by_cuts
        for year, price_fen in enumerate(claim.price_fen)
    ]
    reduced = np.minimum.reduce(left)[~claim.taken[: claim.candidates]]
    least = np.sort(np.maximum(short, 0.0))[: _wanted(ask, len(short))]
    return float(np.minimum(reduced, 0.0).sum() + least.sum() - rate * spent_fen)


def _limited_bound(claim: _Claim, found: _Found) -> float:
    """The least price (fen), above that of locked sites, of any plan where sites have limits.

    A candidate costs c and has y in 0..1, a row k of group g has weight W, of which s is served, and x from a site
    within reach:

        least sum c y   where   s_k <= sum of x_k,   0 <= s_k <= W_k,   sum of s in g >= D_g,   x_k <= W_k y,
                                sum of x of a site <= limit y.

    With duals d_k / W_k <= v_g for the first and v_g for the third, what a site within reach of rows can be paid is

        p = most of sum d f   where   0 <= f <= 1   and   sum W f <= limit,

    and no plan is below the sum over groups of v_g (D_g - weight of all rows of g) + sum of d in g, less the sum of
    max(0, p - c) over candidates, and less the sum of p over sites that are kept or locked.
    """
    dual = np.minimum(claim.row_dual, _worth(claim, found))
    owed = claim.group_dual * (found.demand - found.live) + np.bincount(claim.row_group, dual, len(claim.group_dual))
    paid = _most_paid(claim, found, dual)
    paid[: claim.candidates] -= np.where(claim.taken[: claim.candidates], 0.0, claim.price_fen[0])
    return float(owed.sum() - paid[claim.taken].sum() - np.maximum(paid[~claim.taken], 0.0).sum())


def _most_paid(claim: _Claim, found: _Found, dual: Array) -> Array:
    """The most that each site can be paid by the rows within its reach, up to its limit (float64)."""
    paying = np.flatnonzero(dual > 0)
    paying = paying[np.argsort(-dual[paying] / found.row_weight[paying], kind="stable")]
    reach = found.within[paying].tocsc()
    return np.asarray(
        _fill(reach.indptr, reach.indices, dual[paying], found.row_weight[paying], claim.limit), np.float64
    )


@njit(cache=True)
def _fill(starts: Array, rows: Array, dual: Array, weight: Array, limit: Array) -> Array:
    """The sum of the duals of the first rows of each site, as many as its limit takes, the last one in part.

    The rows of site j, ascending, are at `starts[j]` to `starts[j + 1]`; each weighs more than nothing.
    """
    paid = np.zeros(limit.size)
    for site in range(limit.size):
        left = limit[site]
        for row in rows[starts[site] : starts[site + 1]]:
            if weight[row] >= left:
                paid[site] += dual[row] * (left / weight[row])
                break
            paid[site] += dual[row]
            left -= weight[row]
    return paid


def _worth(claim: _Claim, found: _Found) -> Array:
    """What each row can pay at most."""
    return np.asarray(claim.group_dual[claim.row_group] * found.row_weight)


def _counted_by_cuts(claim: _Claim, found: _Found) -> tuple[Array, Array]:
    """How often each cut counts its row, and the row beside (0 where there is none)."""
    once = found.row_need[claim.cut_row] - (claim.cut_site < claim.candidates)
    return once, np.where(
        claim.cut_other < len(found.row_need), np.append(found.row_need, 0)[claim.cut_other] - once, 0
    )


def _paid(claim: _Claim, found: _Found) -> tuple[Array, Array]:
    """What each row pays by its dual and cuts of its own, and what by cuts of two rows."""
    rows = len(claim.row_dual)
    once, then = _counted_by_cuts(claim, found)
    is_two, by_cut = claim.cut_other < rows, once * claim.cut_dual
    alone = found.row_need * claim.row_dual + np.bincount(claim.cut_row[~is_two], by_cut[~is_two], rows)
    jointly = np.bincount(claim.cut_row[is_two], by_cut[is_two], rows)
    jointly += np.bincount(claim.cut_other[is_two], (then * claim.cut_dual)[is_two], rows)
    return alone, jointly


def _in_cuts(claim: _Claim, found: _Found) -> csr_array:
    """1 where a candidate (column) is among those of a cut (row)."""
    cuts, leaves = len(claim.cut_row), claim.cut_site < claim.candidates
    shape = (cuts, claim.candidates)
    out = csr_array((np.ones(int(leaves.sum())), (np.flatnonzero(leaves), claim.cut_site[leaves])), shape=shape)
    reached = vstack([found.within, csr_array((1, claim.candidates))]).tocsr() > 0
    first = reached[claim.cut_row].astype(float) - out
    return csr_array((first + reached[claim.cut_other].astype(float)) > 0).astype(float)


def _proven(ask: _Question, claim: _Claim, found: _Found, bound: float) -> float:
    """The bound in the unit of the proof: never below what is sure, and rounded up to what a plan can cost."""
    if ask.has_money:
        return max(0, math.ceil(bound / found.unit - SLACK) * found.unit) / WEIGHT_SCALE
    locked_fen = _locked_fen(claim)
    unit_fen = math.gcd(*claim.price_fen.astype(np.int64).ravel().tolist())
    total_fen = locked_fen + max(bound, 0.0)
    return (math.ceil(total_fen / unit_fen - SLACK) * unit_fen if unit_fen else total_fen) / FEN_PER_CNY


def _locked_fen(claim: _Claim) -> int:
    return int(claim.price_fen[0][claim.taken[: claim.candidates]].sum())


def _left_fen(ask: _Question, claim: _Claim) -> int:
    """The money that is left once what is locked is paid."""
    return math.floor(ask.money_cny * FEN_PER_CNY) - _locked_fen(claim)


def _wanted(ask: _Question, groups: int) -> int:
    """How many groups must reach their share."""
    return math.ceil(ask.metros_share * groups) if ask.of == "some" else groups


def _groups_a_year(ask: _Question, claim: _Claim) -> int:
    return max(len(claim.group_dual) // max(len(ask.phases), 1), 1)


@njit(cache=True)
def _add_up(
    points: Array,
    host: Array,
    offset_ns: Array,
    starts: Array,
    sites: Array,
    delay_ns: Array,
    budget_ns: int,
    columns: Array,
    sums: Array,
) -> None:
    """Add to `sums` (a row each of `points`) the `columns` (a row each site) of all sites within the budget.

    The sites of host h, ascending, and its delay towards each are at `starts[h]` to `starts[h + 1]`. A point is as near
    to a site as by the better of its two hosts.
    """
    for row in range(points.size):
        first, second = host[points[row]]
        ahead, back = offset_ns[points[row]]
        one, two = starts[first], starts[second]
        while one < starts[first + 1] or two < starts[second + 1]:
            by_one = sites[one] if one < starts[first + 1] else FAR
            by_two = sites[two] if two < starts[second + 1] else FAR
            site, near = min(by_one, by_two), False
            if by_one == site:
                near = np.int64(delay_ns[one]) + ahead < budget_ns
                one += 1
            if by_two == site:
                near |= np.int64(delay_ns[two]) + back < budget_ns
                two += 1
            if near:
                for column in range(columns.shape[1]):
                    sums[row, column] += columns[site, column]


class _Tally(NamedTuple):
    """Points that lack sites: which ones, how many each lacks, and the sum of the columns of the sites within reach.

    Those are live that may have as many as they lack.
    """

    points: Array
    need: Array
    sums: Array

    def is_live(self, at: Array | slice) -> Array:
        """Whether those at some positions are."""
        return np.asarray(self.sums[at, 2] >= self.need[at])

    @property
    def parts(self) -> Iterator[slice]:
        """All positions, some at once."""
        for start in range(0, len(self.points), POINTS_AT_ONCE):
            yield slice(start, start + POINTS_AT_ONCE)


def _counted(ask: _Question, ground: _Ground, claim: _Claim) -> _Found:
    """What the network says, target by target, and year by year."""
    sites = claim.sites[: claim.candidates]
    if ask.limited:
        claim, sites = claim._replace(taken=np.zeros_like(claim.taken)), claim.sites
    total, demand, done, live, covered = np.zeros((5, len(claim.group_dual)), np.int64)
    rows, none = len(claim.row_point), csr_array((0, len(sites)))
    unit = max(int(np.gcd.reduce(ground.weight)), 1) if ask.has_money else 1
    found = _Found(total, demand, done, live, covered, np.zeros(rows, np.int64), np.ones(rows, np.int64), none, unit)
    columns, layers = _columns(ground, claim), _layers(ask, ground)
    tallies = {at: _tally(ground, claim, columns, at, 1 + ask.spare) for at in {layer.budget_ns for layer in layers}}
    parts, order = [none], [np.zeros(0, np.int64)]
    problems, unserved = list[Problem](), list[Problem]()
    for layer in layers:
        order.append(np.flatnonzero((claim.row_group >= layer.groups.start) & (claim.row_group < layer.groups.stop)))
        parts.append(_within(ground, sites, layer.budget_ns, claim.row_point[order[-1]]))
        _add_groups(ground, layer, tallies[layer.budget_ns], found)
        in_rows = _Live(ground, layer, tallies[layer.budget_ns])
        problems += _add_rows(claim, in_rows, order[-1], found)
        if ask.limited:
            unserved += _add_served(ground, claim, layer, in_rows, found)
    within = csr_array(vstack(parts).tocsr()[np.argsort(np.concatenate(order))])
    if not problems and len(claim.cut_row):
        leaves = claim.cut_site < claim.candidates
        row, site = claim.cut_row[leaves], claim.cut_site[leaves]
        # Of no rows at all scipy gives no array.
        if len(row) and not ((np.asarray(within.tocsr()[row, site]).ravel() > 0) & ~claim.taken[site]).all():
            problems.append(problem("has cuts that leave out what does not reach their row"))
        if (_counted_by_cuts(claim, found)[1] < 0).any():
            problems.append(problem("has cuts with a row beside that needs fewer sites"))
    if not problems:
        alone, jointly = _paid(claim, found)
        most = _worth(claim, found) * (1 + ROUNDING_SHARE)
        overpaid = np.count_nonzero((alone > 0) & (alone + jointly > most))
        if overpaid:
            problems.append(problem(f"has {overpaid} rows that pay more than they are worth"))
    return found._replace(within=within, problems=tuple(problems), unserved=tuple(unserved))


class _Layer(NamedTuple):
    """One share within one budget by one year, in words too, and the numbers of its groups."""

    what: str
    groups: slice
    budget_ns: int
    year: int
    share: Fraction


def _layers(ask: _Question, ground: _Ground) -> list[_Layer]:
    """The targets in their order; with years the one target, by each year."""
    asked = [(f"{budget_us:g} us", budget_us, 0, share) for budget_us, share in ask.targets]
    if ask.phases:
        what, budget_us, *_ = asked[0]
        asked = [(f"{what} by {year}", budget_us, at, share) for at, (year, share) in enumerate(ask.phases)]
    return [
        _Layer(
            what=what,
            groups=slice(number * ground.groups, (number + 1) * ground.groups),
            budget_ns=min(math.ceil(budget_us * NS_PER_US), LONGEST_NS),
            year=year,
            share=Fraction(1) if ask.has_money else share,
        )
        for number, (what, budget_us, year, share) in enumerate(asked)
        if ground.groups
    ]


def _add_groups(ground: _Ground, layer: _Layer, tally: _Tally, found: _Found) -> None:
    """Fill in what is so of the groups of a layer."""
    total, demand, done, live, covered = (amounts[layer.groups] for amounts in found[:5])
    np.add.at(total, ground.group, ground.weight)
    demand[:] = [math.ceil(layer.share * amount) for amount in total.tolist()]
    done[:] = total
    for part in tally.parts:
        group, weight = ground.group[tally.points[part]], ground.weight[tally.points[part]]
        is_covered = tally.sums[part, 3 + layer.year] >= tally.need[part]
        np.subtract.at(done, group, weight)
        for amounts, held in ((live, tally.is_live(part)), (covered, is_covered)):
            np.add.at(amounts, group[held], weight[held])
    covered += done


class _Live(NamedTuple):
    """The points of a layer that are in a row, by their positions in its tally.

    Points alike have the same key: the sum of the words of their candidates, and of their group and need.
    """

    ground: _Ground
    layer: _Layer
    tally: _Tally

    def at(self, points: Array, group: Array) -> tuple[Array, Array]:
        """The position of each of `points`, and whether it is here, and of this group."""
        mine = self.tally.points
        at = np.searchsorted(mine, points)
        here = np.append(mine, -1)[at] == points
        here[here] = self.tally.is_live(at[here]) & (self.group(at[here]) == group[here])
        return at, here

    def group(self, at: Array | slice) -> Array:
        """The group of those at some positions."""
        return np.asarray(self.layer.groups.start + self.ground.group[self.tally.points[at]])

    def keys(self, at: Array | slice) -> Array:
        """The key of each of those at some positions, as two words."""
        keys = self.tally.sums[at, :2].copy()
        keys += np.outer(self.group(at).astype(np.uint64), _words("group"))
        keys += np.outer(self.tally.need[at].astype(np.uint64), _words("need"))
        return keys

    def weight_alike(self, at: Array) -> Array:
        """The weight of all that have the key of each of these (int64); -1 where another of these has the same."""
        known = self.keys(at)
        order = np.argsort(known[:, 0])
        known, found = known[order], np.zeros(len(at), np.int64)
        if not len(at):
            return found
        for part in self.tally.parts:
            keys, live = self.keys(part), self.tally.is_live(part)
            like = np.minimum(np.searchsorted(known[:, 0], keys[:, 0]), len(known) - 1)
            alike = live & (known[like] == keys).all(axis=1)
            np.add.at(found, order[like[alike]], self.ground.weight[self.tally.points[part][alike]])
        # By one word alone, so that what the search above cannot tell apart is refused.
        found[order[1:][known[1:, 0] == known[:-1, 0]]] = -1
        return found


def _add_rows(claim: _Claim, live: _Live, rows: Array, found: _Found) -> list[Problem]:
    """What is wrong with the certificate's `rows` in a layer, after what is so of them was filled in."""
    at, here = live.at(claim.row_point[rows], claim.row_group[rows])
    if not here.all():
        return [problem(f"has {(~here).sum()} rows of points that are done, out of reach, or of another group")]
    found.row_need[rows] = live.tally.need[at]
    found.row_weight[rows] = live.weight_alike(at)
    if (found.row_weight[rows] < 0).any():
        return [problem("has two duals for one row: for points that lack as many sites, with the same within reach")]
    return []


def _add_served(ground: _Ground, claim: _Claim, layer: _Layer, live: _Live, found: _Found) -> list[Problem]:
    """What is wrong with who serves whom, after what of each group is served was filled in."""
    served, problems = claim.served, list[Problem]()
    found.covered[:] = _sums(served.group, served.weight, len(found.covered))
    at, here = live.at(served.point, served.group)
    if not here.all():
        return [problem(f"serves {(~here).sum()} points that are out of reach, or of another group")]
    if not len(at):
        return []
    names = ground.twin["sites"].ids[claim.sites]
    runs = np.arange(len(claim.sites)) >= claim.candidates
    runs[claim.chosen] = True
    points, which = np.unique(served.point, return_inverse=True)
    within = _within(ground, claim.sites, layer.budget_ns, points)
    near = np.asarray(within.tocsr()[which, served.site]).ravel() > 0
    # One point stands for each row; a row may be named by several.
    _, first, row = np.unique(live.keys(at), axis=0, return_index=True, return_inverse=True)
    over = _sums(row.ravel(), served.weight, len(first)) > live.weight_alike(at[first])
    full = _sums(served.site, served.weight, len(claim.sites)) > claim.limit
    for what, sites in (
        ("serves from sites that are neither chosen nor kept", served.site[~runs[served.site]]),
        ("serves points from sites that do not reach them", served.site[~near]),
        ("serves more from a site than its limit", np.flatnonzero(full)),
    ):
        if len(sites):
            problems.append(problem(what, sorted({text(name) for name in names[sites]})))
    if over.any():
        problems.append(problem(f"serves more of {np.count_nonzero(over)} rows than they weigh"))
    return problems


def _sums(at: Array, weight: Array, count: int) -> Array:
    """The weight (millionths, int64) at each of `count` positions; the most there is where it does not fit."""
    sums = np.zeros(count, np.int64)
    np.add.at(sums, at, weight)
    sums[np.bincount(at, weight, count) > 2.0**62] = UNLIMITED
    return sums


def _columns(ground: _Ground, claim: _Claim) -> Array:
    """What each site adds to points within reach beside what is taken beforehand (uint64).

    Its two words and 1 where it may be chosen, and 1 for each year that it is chosen for.
    """
    columns = np.zeros((len(claim.sites), 3 + len(claim.price_fen)), np.uint64)
    for at in np.flatnonzero(~claim.taken):
        columns[at, :2] = _words(f"site {text(ground.twin['sites'].ids[claim.sites[at]])}")
    columns[:, 2] = ~claim.taken
    for at, year in zip(claim.chosen, claim.year, strict=True):
        columns[at, 3 + year :] = not claim.taken[at]
    return columns


def _tally(ground: _Ground, claim: _Claim, columns: Array, budget_ns: int, needed: int) -> _Tally:
    """The points that less than `needed` sites reach beforehand, and what of the others reaches them."""
    points = np.arange(len(ground.weight), dtype=np.int32)
    taken = np.zeros((len(points), 1), np.uint64)
    for some in _blocks(np.flatnonzero(claim.taken)):
        ones = np.ones((len(some), 1), np.uint64)
        _add_up(points, *_reach(ground, claim.sites[some], budget_ns, points), ones, taken)
    points = points[taken[:, 0] < needed]
    need = (needed - taken[points, 0].astype(np.int64)).astype(np.uint32)
    del taken
    sums = np.zeros((len(points), columns.shape[1]), np.uint64)
    for some in _blocks(np.flatnonzero(~claim.taken)):
        _add_up(points, *_reach(ground, claim.sites[some], budget_ns, points), columns[some], sums)
    return _Tally(points, need, sums)


def _within(ground: _Ground, sites: Array, budget_ns: int, points: Array) -> csr_array:
    """Which of the sites are within the budget of these points (points x sites, 1.0 for those that are)."""
    marked = [csr_array((len(points), 0))]
    for some in _blocks(sites):
        within = np.zeros((len(points), len(some)), np.uint8)
        reach = _reach(ground, some, budget_ns, points)
        _add_up(points, *reach, np.eye(len(some), dtype=np.uint8), within)
        marked.append(csr_array(within.astype(np.float64)))
    return csr_array(hstack(marked))


def _blocks(sites: Array) -> list[Array]:
    return [sites[start : start + SITES_AT_ONCE] for start in range(0, len(sites), SITES_AT_ONCE)]


def _reach(
    ground: _Ground, sites: Array, budget_ns: int, points: Array
) -> tuple[Array, Array, Array, Array, Array, int]:
    """How each point hangs on its hosts, which of the sites each host reaches within the budget, and that.

    Of a host the sites ascend, with the delay towards each (ns); the third array has where those of each start.
    """
    made, hosts, delays, counts = ground.topology, [], [], [0]
    wanted = np.zeros(made.vertices + 1, np.bool_)
    wanted[ground.host[points]] = True
    for vertex in made.number[sites]:
        found = searched(made, ground.timed, np.array([vertex]), budget_ns)
        hosts.append(np.flatnonzero((found < budget_ns) & wanted[:-1]).astype(np.int32))
        delays.append(found[hosts[-1]])
        counts.append(counts[-1] + len(hosts[-1]))
    shape = (len(sites), made.vertices + 1)
    lists = csr_array((np.concatenate(delays), np.concatenate(hosts), np.array(counts, np.int32)), shape=shape).tocsc()
    return ground.host, ground.offset_ns, lists.indptr, lists.indices, lists.data, budget_ns


def _words(name: str) -> Array:
    """128 bits that nobody can choose, as two words (uint64)."""
    return np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], "<u8")


def _ground(ask: _Question, world: World) -> tuple[_Ground, Points]:
    twin = world.intended.at(ask.service_at_s)
    made, counted = topology_of(twin, "optical"), points(twin, ask.weight)
    timed = made.timed(link_parts(twin).oneway_ns(constants(ask.figures), LONGEST_NS))
    weight = fixed(counted.weight)
    group, groups = np.zeros(len(weight), np.int64), 1
    if ask.of != "all":
        total = np.zeros(len(twin["metros"]), np.int64)
        np.add.at(total, counted.metro, weight)
        group, groups = (np.cumsum(total > 0) - 1)[counted.metro], int((total > 0).sum())
    host, offset_ns = hung(made, timed, counted.vertex)
    return _Ground(twin, made, timed, host, offset_ns, weight, group, groups, compute_sites(twin)), counted


def _coverage(ask: _Question, ground: _Ground, found: _Found) -> Iterator[Problem]:
    """Whether the chosen sites bring what was asked."""
    wanted = _wanted(ask, ground.groups)
    for layer in () if ask.has_money else _layers(ask, ground):
        covered, demand = found.covered[layer.groups], found.demand[layer.groups]
        met = np.count_nonzero(covered >= demand)
        if met < wanted and ask.of == "all":
            brought, takes = covered[0] / WEIGHT_SCALE, demand[0] / WEIGHT_SCALE
            yield problem(f"brings a weight of {brought:.9g} within {layer.what} where the target takes {takes:.9g}")
        elif met < wanted:
            yield problem(f"brings {met} metros to their share within {layer.what} where the target takes {wanted}")


def _prices(plan: Plan, ask: _Question, claim: _Claim, found: _Found) -> Iterator[Problem]:
    """Whether price and value are those of the sites."""
    price_fen = int(claim.price_fen[0][claim.chosen].sum())
    if not is_equal(plan.price_cny, price_fen / FEN_PER_CNY):
        yield problem(f"claims to cost {plan.price_cny:,.2f} CNY where its sites cost {price_fen / FEN_PER_CNY:,.2f}")
    if ask.has_money:
        value = int(found.total.sum() - found.covered.sum()) / WEIGHT_SCALE
        what = f"claims to leave {plan.proof.value:,.6f} uncovered where its sites leave {value:,.6f}"
        if price_fen > math.floor(ask.money_cny * FEN_PER_CNY):
            yield problem(f"costs more than the {ask.money_cny:,.2f} CNY that there are")
    else:
        value = int(claim.price_fen[claim.year, claim.chosen].sum()) / FEN_PER_CNY
        what = f"claims the value {plan.proof.value:,.2f} CNY where its sites come to {value:,.2f} CNY"
    if not is_equal(plan.proof.value, value):
        yield problem(what)


def _bounds(plan: Plan, ask: _Question, claim: _Claim, found: _Found) -> Iterator[Problem]:
    """Whether the duals prove the bound, and just what they proved to who made the plan."""
    exact, claimed = _bound(ask, claim, found), plan.proof.certificate.get("bound_exact")
    bound, sure = plan.proof.bound, _proven(ask, claim, found, exact)
    if not 0 <= bound <= sure:
        unit = "of weight uncovered" if ask.has_money else "CNY"
        yield problem(f"claims the bound {bound:,.6f} {unit} where its duals prove {sure:,.6f}")
    if not (isinstance(claimed, int | float) and is_between(claimed, -LARGEST, LARGEST)):
        yield problem(f"bound_exact is {shown(claimed)}: a number from {-LARGEST:g} to {LARGEST:g} belongs")
    elif abs(claimed - exact) > _rounding(claim, found, exact):
        unit = "millionths of weight" if ask.has_money else "fen"
        yield problem(f"claims the exact bound {claimed:,.6f} {unit} where its duals give {exact:,.6f}")


def _rounding(claim: _Claim, found: _Found, exact: float) -> float:
    """By how much two who add up the same bound may differ, in the unit of the bound."""
    cancelled = CANCELLED_SHARE * float(claim.group_dual @ found.live)
    return ROUNDING_SHARE * max(1.0, abs(exact)) + ROUNDING_LEAST + cancelled


def _orders(plan: Plan, ask: _Question, ground: _Ground, claim: _Claim, intended: Twin) -> Iterator[Problem]:
    """Whether the actions order what the certificate chose, each in its year and nothing else."""
    sites, there = ground.twin["sites"].ids, set(ground.existing.tolist())
    due_s = [datetime(year, 12, 31, tzinfo=UTC).timestamp() for year in ask.years] or [ask.service_at_s]
    new = {
        text(sites[row]): due_s[year]
        for row, year in zip(claim.sites[claim.chosen], claim.year, strict=True)
        if int(row) not in there
    }
    ordered = [action.subject for action in plan.actions if action.kind == "order_equipment"]
    if sorted(ordered) != sorted(new):
        differ = sorted(set(ordered) ^ set(new)) or twice(ordered)
        yield problem("orders for other sites than the certificate chose, or twice for one", differ)
    gone = _retired(ask, ground, claim, intended, max(ask.service_at_s, due_s[0]))
    late = [action.subject for action in gone.values() if action.ends_at_s <= 0]
    if late:
        yield problem("closes sites that compute is still to come to", late)
    done = [(action.kind, action.subject) for action in plan.actions if action.kind.startswith("retire_")]
    if sorted(done) != sorted(gone):
        differ = sorted({name for _, name in set(done) ^ set(gone)}) or twice([name for _, name in done])
        yield problem("retires other than all that computes where nothing is chosen, or twice", differ)
    wrong = [action.subject for action in plan.actions if not _fits(action, new, gone)]
    if wrong:
        yield problem(
            "acts otherwise than to order inference for a chosen site, or retire it at a closed one, when it is due",
            wrong,
        )


def _retired(
    ask: _Question, ground: _Ground, claim: _Claim, intended: Twin, due_s: float
) -> dict[tuple[str, str], Action]:
    """What ends, at `due_s`, all that computes at sites which are to be closed, by kind and row.

    What would begin there later ends at no time.
    """
    if not ask.closable:
        return {}
    closed = np.setdiff1d(ground.existing, claim.sites[np.append(claim.chosen, np.flatnonzero(claim.taken))])
    names, found = {text(site) for site in ground.twin["sites"].ids[closed]}, {}
    for table in ("equipment", "servers"):
        rows = intended[table]
        for at in np.flatnonzero(rows["valid_to_s"] > due_s).tolist():
            name, site, ends_s = text(rows.ids[at]), text(rows["site"][at]), float(rows["valid_to_s"][at])
            if site in names and (table == "servers" or rows["kind"][at] == b"edge_inference"):
                cell = Cell(table, name, "valid_to_s", "inf" if math.isinf(ends_s) else ends_s, due_s)
                found[f"retire_{table}", name] = Action(
                    kind=f"retire_{table}",
                    subject=name,
                    sets=(cell,),
                    blast_radius=(site,),
                    expires_at_s=0.0,
                    ends_at_s=due_s if rows["valid_from_s"][at] < due_s else 0.0,
                )
    return found


def _fits(action: Action, new: Mapping[str, float], gone: Mapping[tuple[str, str], Action]) -> bool:
    """Whether an action orders one device for its site in time, or ends what is to be gone."""
    if (action.kind, action.subject) in gone:
        wanted = gone[action.kind, action.subject]
        return msgspec.structs.replace(action, expires_at_s=wanted.expires_at_s) == wanted
    if action.kind != "order_equipment" or action.sets or len(action.adds) != 1:
        return False
    row: dict[str, Value] = {"site": action.subject, "kind": "edge_inference"}
    row["valid_from_s"] = new.get(action.subject, math.nan)
    return action.adds[0].table == "equipment" and action.adds[0].values == row


def _read(plan: Plan, world: World) -> tuple[_Question, _Ground, _Claim]:
    """What was asked, the network that it was asked of, and what the certificate claims.

    Raises:
        InputError: something in them that makes no sense.
    """
    if plan.planner != PLANNER:
        raise InputError([problem(f"was made by the planner {plan.planner!r}, not by {PLANNER!r}")])
    claims = {"price": plan.price_cny, "value": plan.proof.value, "bound": plan.proof.bound}
    senseless = [name for name, value in claims.items() if not is_between(value, 0, LARGEST)]
    if senseless:
        raise InputError([problem(f"claims no sum from 0 to {LARGEST:g} as {', '.join(senseless)}")])
    ask = _question(plan.question)
    ground, counted = _ground(ask, world)
    return ask, ground, _claim(plan.proof.certificate, ask, ground, counted)


def _question(question: Mapping[str, Value]) -> _Question:
    problems = [
        problem(f"asks for {name} = {shown(question.get(name))}, where {must}")
        for name, (holds, must) in TERMS.items()
        if not holds(question.get(name))
    ]
    unknown = sorted(set(question) - set(TERMS))
    if unknown:
        problems.append(problem("asks for terms that this check does not know", unknown))
    if problems:
        raise InputError(problems)
    said = {name: str(value) for name, value in question.items()}
    phases = pairs(said["phases"]) if said["phases"] else ()
    ask = _Question(
        weight=next(weight for weight in get_args(Weight) if weight == said["weight"]),
        figures=next(figures for figures in get_args(Figures) if figures == said["figures"]),
        targets=pairs(said["targets"]),
        phases=tuple((int(year), share) for year, share in phases),
        of=said["of"],
        metros_share=Fraction(str(float(question["metros_share"]))),
        money_cny=float(question["money_cny"]),
        spare=int(question["spare"]),
        limited=int(question["limited"]),
        closable=said["existing"] == "closable",
        lock=_listed(said["lock"]),
        forbid=_listed(said["forbid"]),
        discount_share=float(question["discount_share"]),
        service_at_s=float(question["service_at_s"]),
    )
    contradictions = [problem(f"asks for {what}") for wrong, what in _contradictions(ask) if wrong]
    if contradictions:
        raise InputError(contradictions)
    return ask


def _contradictions(ask: _Question) -> tuple[tuple[bool, str], ...]:
    several, some = len(ask.targets) > 1, ask.of == "some"
    last = ask.phases[-1][1] if ask.phases else ask.targets[0][1]
    return (
        (several and (some or bool(ask.phases) or ask.has_money), "several budgets, which go with shares alone"),
        (some and bool(ask.phases), "a share of metros by year, which nothing is defined for"),
        (ask.has_money and (ask.of != "all" or bool(ask.phases)), "money with metros or years apart"),
        (last != ask.targets[0][1], "another share in the last year than in the end"),
        (not some and ask.metros_share != 1, "a share of metros, and for something else"),
        (not ask.phases and ask.discount_share > 0, "a discount without years"),
        (bool(set(ask.lock) & set(ask.forbid)), "sites both locked and forbidden"),
        (bool(ask.limited and ask.spare), "limits of sites with spare sites"),
        (bool(ask.limited and ask.has_money), "limits of sites with money"),
        (bool(ask.limited and ask.phases), "limits of sites with years"),
        (bool(ask.limited and several), "limits of sites with several budgets"),
        (bool(ask.limited and some), "limits of sites with a share of metros"),
    )


def _one_of(*words: str) -> tuple[Callable[[object], bool], str]:
    return lambda value: value in words, f"it must be one of {', '.join(words)}"


def _between(low: float, high: float) -> tuple[Callable[[object], bool], str]:
    return lambda value: is_between(value, low, high), f"a number from {low:g} to {high:g} belongs"


def _count() -> tuple[Callable[[object], bool], str]:
    return (
        lambda value: is_between(value, 0, LARGEST_COUNT) and float(str(value)).is_integer(),
        "a whole number from 0 on belongs",
    )


def _are_shares(value: object) -> bool:
    """Whether it is budgets with shares: `1000=0.75,5000=0.9`."""
    found = pairs(value) if isinstance(value, str) and PAIRS.fullmatch(value) else ()
    return 0 < len(found) <= MOST_TARGETS and all(0 < budget <= LARGEST and 0 <= share <= 1 for budget, share in found)


def _are_years(value: object) -> bool:
    """Whether it is empty, or ascending years with shares: `2026=0.65,2027=0.7`."""
    if value == "":
        return True
    if not (isinstance(value, str) and YEARS.fullmatch(value) and _are_shares(value)):
        return False
    years = [year for year, _ in pairs(value)]
    return years[0] >= FIRST_YEAR and all(a < b for a, b in pairwise(years))


def _listed(said: str) -> tuple[str, ...]:
    return tuple(said.split(",")) if said else ()


# What each term of a question may be, and how to say so.
TERMS: dict[str, tuple[Callable[[object], bool], str]] = {
    "weight": _one_of(*get_args(Weight)),
    "figures": _one_of(*get_args(Figures)),
    "targets": (_are_shares, "budgets (us) with shares belong, as in 1000=0.75,5000=0.9"),
    "phases": (_are_years, "nothing belongs, or ascending years with shares, as in 2026=0.65,2027=0.7"),
    "of": _one_of("all", "each", "some"),
    "metros_share": _between(0, 1),
    "money_cny": (lambda value: value == -1 or is_between(value, 0, LARGEST), "a sum in CNY belongs, or -1 for none"),
    "spare": _count(),
    "limited": _count(),
    "existing": _one_of("kept", "closable"),
    "lock": (lambda value: isinstance(value, str), "ids of sites with commas belong"),
    "forbid": (lambda value: isinstance(value, str), "ids of sites with commas belong"),
    "discount_share": _between(0, 1),
    "service_at_s": (lambda value: is_between(value, -LARGEST, LARGEST), "a second (Unix time) belongs"),
}


def _claim(certificate: Mapping[str, object], ask: _Question, ground: _Ground, counted: Points) -> _Claim:
    reader = Reader(certificate)
    years, groups = max(len(ask.years), 1), ground.groups * len(ask.targets) * max(len(ask.years), 1)
    ids, sites = _candidates(reader, ask, ground)
    price_fen = reader.whole("prices_fen", len(ids), int(LARGEST))
    place = {site: at for at, site in enumerate(ids)}
    chosen, year, locked = _chosen(reader, ask, place, ground)
    names = reader.ids("rows_point")
    row_point = points_of(ground.twin, ask.weight, counted, names)
    reader.refuse(
        f"names points that do not count by {ask.weight}",
        [name for name, at in zip(names, row_point, strict=True) if at < 0],
    )
    cuts = _cuts(reader, ask, len(names), place)
    row_group, row_dual = reader.whole("rows_group", len(names), groups), reader.numbers("rows_dual", len(names))
    group_dual, money_dual = reader.numbers("groups_dual", groups), certificate.get("money_dual")
    if not is_between(money_dual, 0, LARGEST if ask.has_money else 0):
        reader.wrong(f"money_dual is {shown(money_dual)}: a number from 0 on belongs, and 0 without money", ())
    if ask.has_money and (group_dual != 1).any():
        reader.wrong("groups_dual must be 1 with money", ())
    # What may be closed is a candidate; what is none of them, and not forbidden, stays.
    closed = np.concatenate([sites, rows_of(ground.twin["sites"], ask.forbid)]) if ask.closable else sites[:0]
    kept = np.setdiff1d(ground.existing, closed)
    place |= {text(site): len(ids) + at for at, site in enumerate(ground.twin["sites"].ids[kept])}
    limit, served = _limits(reader, ask, place), _served(reader, ask, place, ground, counted, groups)
    if reader.problems:
        raise InputError(reader.problems)
    taken = np.concatenate([np.isin(np.arange(len(ids)), locked), np.ones(len(kept), np.bool_)])
    return _Claim(
        sites=np.concatenate([sites, kept]),
        candidates=len(ids),
        taken=taken,
        price_fen=_discounted(price_fen, ask, years),
        chosen=chosen,
        year=year,
        row_point=row_point,
        row_group=row_group,
        row_dual=row_dual,
        cut_row=cuts[0],
        cut_site=cuts[1],
        cut_other=cuts[2],
        cut_dual=cuts[3],
        group_dual=group_dual,
        money_dual=float(money_dual) if isinstance(money_dual, int | float) else 0.0,
        limit=limit,
        served=served,
    )


def _limits(reader: Reader, ask: _Question, place: Mapping[str, int]) -> Array:
    """How much weight (millionths, int64) each candidate, and then each kept site, serves at most."""
    # Where a candidate is named twice, which is refused, there are more positions than names.
    limit = np.full(max(place.values(), default=-1) + 1, UNLIMITED)
    names = reader.ids("limited_sites")
    said = reader.numbers("limited_weight", len(names))
    if len(names) != ask.limited:
        reader.wrong(f"limits {len(names)} sites where the question has {ask.limited}", ())
    reader.refuse("limits what is neither candidate nor kept", [name for name in names if name not in place])
    reader.refuse("limits sites that are not ascending, or twice", [b for a, b in pairwise(names) if a >= b])
    for name, most in zip(names, said.tolist(), strict=True):
        if name in place:
            limit[place[name]] = min(math.floor(Fraction(str(most)) * WEIGHT_SCALE), UNLIMITED)
    return limit


def _served(
    reader: Reader, ask: _Question, place: Mapping[str, int], ground: _Ground, counted: Points, groups: int
) -> _Served:
    """Who serves whom; nobody where no site has a limit."""
    names, sites = reader.ids("serves_point"), reader.ids("serves_site")
    points = points_of(ground.twin, ask.weight, counted, names)
    group = reader.whole("serves_group", len(names), groups)
    weight = reader.whole("serves_weight", len(names), int(LARGEST))
    if names and not ask.limited:
        reader.wrong("says who serves whom, which is for sites with limits alone", ())
    if len(sites) != len(names):
        reader.wrong(f"serves_site must be a list of {len(names)}", ())
    reader.refuse(
        f"serves points that do not count by {ask.weight}",
        [name for name, at in zip(names, points, strict=True) if at < 0],
    )
    reader.refuse(
        "serves from sites that are neither candidates nor kept", [site for site in sites if site not in place]
    )
    reader.refuse("serves points with nothing", [name for name, some in zip(names, weight, strict=True) if some == 0])
    return _Served(points, group, np.array([place.get(site, 0) for site in sites], np.int64), weight)


def _cuts(reader: Reader, ask: _Question, rows: int, place: Mapping[str, int]) -> tuple[Array, Array, Array, Array]:
    """The row (position), the candidate left out, the row beside, and the dual of each cut, if sites are spare."""
    names = reader.ids("cuts_site")
    reader.refuse("has cuts of sites that are no candidates", [name for name in names if name and name not in place])
    if names and not ask.spare:
        reader.wrong("has cuts, which hold for spare sites alone", ())
    row, dual = reader.whole("cuts_row", len(names), rows), reader.numbers("cuts_dual", len(names))
    other = reader.whole("cuts_other", len(names), rows + 1)
    return row, np.array([place.get(name, len(place)) for name in names], np.int64), other, dual


def _discounted(price_fen: Array, ask: _Question, years: int) -> Array:
    """The price (fen) of each candidate in each year (years x candidates)."""
    ahead = [year - ask.years[0] for year in ask.years] or [0] * years
    return np.array(
        [[round(price / (1 + ask.discount_share) ** number) for price in price_fen.tolist()] for number in ahead],
        np.float64,
    ).reshape(years, len(price_fen))


def _candidates(reader: Reader, ask: _Question, ground: _Ground) -> tuple[list[str], Array]:
    """The candidates' ids and rows."""
    ids, table = reader.ids("candidates"), ground.twin["sites"]
    rows = rows_of(table, ids)
    reader.refuse("has candidates that are no sites", [site for site, row in zip(ids, rows, strict=True) if row < 0])
    reader.refuse("has candidates that are not ascending, or twice", [b for a, b in pairwise(ids) if a >= b])
    reader.refuse("has candidates that are forbidden", sorted(set(ids) & set(ask.forbid)))
    for name, said in (("lock", ask.lock), ("forbid", ask.forbid)):
        found = rows_of(table, said)
        reader.refuse(f"asks to {name} what is no site", [s for s, row in zip(said, found, strict=True) if row < 0])
    existing = {text(site) for site in table.ids[ground.existing]}
    if not ask.closable:
        reader.refuse("has candidates that exist and are kept", sorted(existing & set(ids)))
    return ids, rows


def _chosen(
    reader: Reader, ask: _Question, place: Mapping[str, int], ground: _Ground
) -> tuple[Array, Array, list[int]]:
    """The chosen candidates, the year of each, and the locked candidates: all as positions."""
    sites = reader.ids("sites")
    reader.refuse("chose sites that are no candidates", [site for site in sites if site not in place])
    reader.refuse("chose sites twice", twice(sites))
    said = reader.numbers("years", len(sites) if ask.years else 0)
    year = [ask.years.index(int(y)) if y in ask.years else -1 for y in said.tolist()] or [0] * len(sites)
    reader.refuse(
        "chose sites in a year that was not asked for", [s for s, y in zip(sites, year, strict=True) if y < 0]
    )
    kept = set() if ask.closable else {text(site) for site in ground.twin["sites"].ids[ground.existing]}
    first = {site for site, number in zip(sites, year, strict=True) if number == 0}
    locked = sorted(set(ask.lock) - kept)
    reader.refuse(
        "did not choose what is locked, from the first year on", [site for site in locked if site not in first]
    )
    chosen = [place.get(site, 0) for site in sites]
    return np.array(chosen, np.int64), np.array(year, np.int64), [place[site] for site in locked if site in place]
