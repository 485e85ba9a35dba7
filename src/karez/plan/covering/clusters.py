"""Clusters of rows in whole numbers: a bound above that of the linear program where rows need several choices.

Under the linear program's duals each row pays each of its choices. Rows are shared out among clusters, and in a cluster
a choice costs what its rows there pay it; what is left of its price it costs where it is at home. So a plan's price is
no less than what demands are worth and the best values of all clusters, each of which is a small integer program:

    sum_g v_g D_g  +  sum_b  min ( sum_j c_bj x_j - sum_{k in b} v w_k y_k ),     sum_b c_bj = c_j.

With x and y between 0 and 1 this is the bound of the duals again; in whole numbers it is more.

Source: M. Guignard and S. Kim, "Lagrangean decomposition: a model yielding stronger Lagrangean bounds" (1987).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from karez.plan.covering.program import Program, fixed, only, runs
from karez.plan.covering.relax import BOUNDED, FINEST, Duals
from karez.plan.highs import UNBOUNDED, Enough, model_of, run, solver_of
from karez.twin.table import Array

# Choices that pay which are at home in one cluster, at most: more prove more, and take longer.
MOST_AT_HOME = 25
# How near to its best a cluster is solved, as a share of its room.
NEAR_SHARE = 0.02
# What rounding may have done to a sum, as a share of all that was added.
ROUNDED_SHARE = 2.0**-50


class Shares(NamedTuple):
    """What each entry of a program's rows is paid under duals, what each row is worth, and what it keeps of that.

    `reduced` are the reduced prices of choices, and `demands` what the demands of groups are worth.
    """

    entry: Array
    worth: Array
    kept: Array
    reduced: Array
    demands: float


class Cluster(NamedTuple):
    """Rows (positions), what each choice costs beside what they pay, and the value that the duals prove."""

    rows: Array
    left: Array
    least: float


def shares(program: Program, duals: Duals, reduced: Array) -> Shares:
    """What rows pay under duals that are valid, where all groups are wanted; `reduced` are the reduced prices."""
    cuts, choices = duals.cuts, len(program.price)
    each = duals.row + np.bincount(cuts.row, cuts.dual, len(program.weight))
    entry = each[program.row]
    # The entries of a row, and rows, are ascending.
    place = np.searchsorted(program.row * choices + program.choices, cuts.row * choices + cuts.choice)
    np.subtract.at(entry, place, cuts.dual)
    paid = program.need * duals.row + np.bincount(cuts.row, (program.need[cuts.row] - 1) * cuts.dual, len(each))
    worth = duals.group[program.group] * program.weight
    return Shares(entry, worth, np.maximum(worth - paid, 0.0), reduced, float(duals.group @ program.demand))


def homes(program: Program, paying: Array, among: Array, most: int = MOST_AT_HOME) -> Array:
    """The cluster in which each choice `among` (a mask) is at home (int64), -1 for others.

    `paying` has what each entry is paid. Pairs that the same rows pay most come together first, `most` at most.
    """
    some = np.flatnonzero(among)
    paid = csr_array((np.sqrt(np.maximum(paying, 0.0)), program.choices, program.bounds), shape=program.matrix.shape)
    few = paid[:, some]
    shared = (few.T @ few).tocoo()
    one, other = shared.coords
    pairs = np.flatnonzero((one < other) & (shared.data > 0))
    pairs = pairs[np.argsort(-shared.data[pairs], kind="stable")]
    top, size = list(range(len(some))), [1] * len(some)
    for first, second in zip(one[pairs].tolist(), other[pairs].tolist(), strict=True):
        into, from_ = _top(top, first), _top(top, second)
        if into != from_ and size[into] + size[from_] <= most:
            top[from_] = into
            size[into] += size[from_]
    home = np.full(len(program.price), -1)
    home[some] = np.unique([_top(top, each) for each in range(len(some))], return_inverse=True)[1]
    return home


def _top(top: list[int], one: int) -> int:
    while top[one] != one:
        top[one] = top[top[one]]
        one = top[one]
    return one


def clusters(program: Program, share: Shares, home: Array) -> Iterator[Cluster]:
    """The clusters of all rows, each where it pays most; rows that pay to no home are with the first."""
    number, choices = int(home.max(initial=0)) + 1, len(program.price)
    paid, at_home = np.maximum(share.entry, 0.0), home[program.choices] >= 0
    shape = (len(program.weight), number)
    by_row = csr_array((paid[at_home], (program.row[at_home], home[program.choices[at_home]])), shape=shape)
    cluster = np.asarray(by_row.argmax(axis=1)).ravel() if by_row.nnz else np.zeros(shape[0], np.int64)
    by_choice = csr_array((paid + FINEST, (program.choices, cluster[program.row])), shape=(choices, number))
    lives = np.asarray(by_choice.argmax(axis=1)).ravel() if len(paid) else np.zeros(choices, np.int64)
    for each in range(number):
        rows, left = np.flatnonzero(cluster == each), np.where(lives == each, share.reduced, 0.0)
        yield Cluster(rows, left, float(np.minimum(left, 0.0).sum() - share.kept[rows].sum()))


def value_of(program: Program, share: Shares, cluster: Cluster, chosen: Array) -> float:
    """What a choice (a mask) is worth in a cluster: no less than the cluster's best value."""
    entry = _entries(program, cluster.rows)
    part = only(program, cluster.rows)
    picked = chosen[part.choices]
    count = np.bincount(part.row[picked], minlength=len(cluster.rows))
    cost = share.entry[entry][picked].sum() + cluster.left[chosen].sum()
    return float(cost - share.worth[cluster.rows][count >= part.need].sum())


def least_of(
    program: Program, share: Shares, cluster: Cluster, *, room: float, most_rows: int, enough: Enough
) -> tuple[float, bool]:
    """A bound on a cluster's value, no more than `room` above that of the duals; and whether all its rows are in it.

    The lightest rows beyond `most_rows` stay at what the duals prove. A choice that costs more than the room is in
    nothing that the bound does not hold for anyway.
    """
    part, choices = only(program, cluster.rows), len(program.price)
    touched = np.zeros(choices, bool)
    touched[part.choices] = True
    few = fixed(part, np.zeros(choices, bool), ~touched | (cluster.left > room))
    small, owner = few.program, few.owner
    heavy = np.zeros(len(small.weight), bool)
    heavy[np.argsort(-small.weight, kind="stable")[:most_rows]] = True
    number = np.full(choices, -1)
    number[few.free] = np.arange(len(few.free))
    entry, kept = _entries(program, cluster.rows), share.kept[cluster.rows]
    # Rows that nobody is left for bring nothing, and what they are paid for is paid.
    is_light = (owner >= 0) & ~np.append(heavy, False)[owner]
    counted = (number[part.choices] >= 0) & ~is_light[part.row]
    column = number[part.choices[counted]]
    cost = cluster.left[few.free] + np.bincount(column, share.entry[entry][counted], len(few.free))
    aside = float(np.minimum(cluster.left[~touched], 0.0).sum() - kept[is_light].sum())
    worth = np.bincount(owner[owner >= 0], share.worth[cluster.rows][owner >= 0], len(small.weight))[heavy]
    bound = aside + _solved(only(small, np.flatnonzero(heavy)), cost, worth, NEAR_SHARE * room, enough)
    return max(min(bound, cluster.least + room), cluster.least), not is_light.any()


def gained(proved: Array, by_duals: Array) -> float:
    """How much more is proved of clusters (float64[clusters]) than by the duals, what rounding may have done taken off.

    Where rows are worth far more than a plan costs, sums over all clusters would have rounded that away, or made it up.
    """
    return max(float((proved - by_duals).sum() - ROUNDED_SHARE * np.abs(by_duals).sum()), 0.0)


def _solved(program: Program, cost: Array, worth: Array, near: float, enough: Enough) -> float:
    """The solver's bound on the cost of choices less the worth of rows that they reach, its tolerances taken off."""
    if not len(worth):
        return float(np.minimum(cost, 0.0).sum())
    scale, solver = max(float(program.price.mean()), 1.0), solver_of(enough)
    options = {"mip_rel_gap": 0.0, "mip_abs_gap": near / scale, "mip_heuristic_effort": 0.0, "mip_allow_restart": False}
    for name, value in options.items():
        solver.setOptionValue(name, value)
    solver.passModel(_model(program, cost / scale, worth / scale))
    run(solver)
    info = solver.getInfo()
    is_bounded = info.valid and solver.getModelStatus() in BOUNDED
    return float((info.mip_dual_bound - FINEST) * scale) if is_bounded else -np.inf


def _model(program: Program, cost: Array, worth: Array) -> Any:
    rows, choices = len(worth), len(cost)
    number = np.arange(rows)
    parts = [
        (program.row, program.choices, np.ones(len(program.choices))),
        (number, choices + number, -program.need.astype(float)),
    ]
    whole = np.concatenate([np.ones(choices, bool), program.need > 1])
    upper = np.full(rows, UNBOUNDED)
    return model_of(parts, cost=np.concatenate([cost, -worth]), lower=np.zeros(rows), upper=upper, whole=whole)


def _entries(program: Program, rows: Array) -> Array:
    """The positions of the entries of these rows, one row after the other."""
    return runs(program.bounds[rows], np.diff(program.bounds)[rows])
