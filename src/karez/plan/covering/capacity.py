"""Covering programs whose choices serve no more than their capacity: served weight flows, and sites are what costs.

    least   sum_j price_j y_j
    so that sum of f_kj over j  <=  1,      sum of weight_k f_kj over the rows of group g  >=  demand_g,
            f_kj  <=  y_j,                  sum of weight_k f_kj over k  <=  capacity_j y_j,      f >= 0, y in {0, 1}

Duals v of groups and d of rows, d_k from 0 to v weight_k, prove the bound

    sum_g v_g (demand_g - weight of its rows) + sum_k d_k - sum_j max(0, kappa_j - price_j)

where kappa_j is the most of d that choice j can serve: a fractional knapsack over its rows.
"""

from __future__ import annotations

from typing import Any

import highspy
import numpy as np
from numba import njit

from karez.plan.covering import flow
from karez.plan.covering.flow import Flow
from karez.plan.covering.program import Program, summed
from karez.plan.highs import UNBOUNDED, Enough, Entries, model_of, run
from karez.twin.table import Array

# Rounds in which the rows f <= y that a relaxation breaks are added, and by how much one must be broken.
LINK_ROUNDS, LEAST_BROKEN = 12, 1e-4
# Entries up to which an integer program has all those rows.
MOST_LINKS = 60_000
# What a round of the search takes away at most, in number, and how far its prices are moved at random.
MOST_AWAY, NOISE_SHARE = 8, 0.3


def worth(program: Program, row: Array) -> Array:
    """The most of its rows' duals (from 0 on) that each choice can serve."""
    order = np.argsort(-row / np.maximum(program.weight, 1), kind="stable")
    return _worth(order, program.bounds, program.choices, program.weight, row, program.capacities.copy())


@njit(cache=True)
def _worth(order: Array, bounds: Array, choices: Array, weight: Array, row: Array, left: Array) -> Array:
    most = np.zeros(left.size)
    for at in order:
        if row[at] <= 0.0:
            break
        for entry in range(bounds[at], bounds[at + 1]):
            choice = choices[entry]
            part = min(weight[at], left[choice])
            most[choice] += row[at] * (part / weight[at])
            left[choice] -= part
    return most


def greedy(program: Program, start: Array, guide: Array) -> Array:
    """Choices (positions, ascending): those of `start`, then what serves most for its price in `guide`, less needless.

    Where all choices together do not meet the demands, all of them.
    """
    made = program.serving(start, program.demand)
    chosen = np.zeros(len(program.price), bool)
    chosen[start] = True
    _complete(program, made, chosen, guide)
    _drop(program, made, chosen, np.argsort(-program.price, kind="stable"))
    return np.flatnonzero(chosen)


def improved(program: Program, chosen: Array, rounds: int, seed: int) -> Array:
    """The best choice after some were taken away and others taken, so many times; from one that meets the demands."""
    rng, best = np.random.default_rng(seed), chosen
    dearest = np.argsort(-program.price, kind="stable")
    for _ in range(rounds):
        picked = np.zeros(len(program.price), bool)
        away = rng.choice(best, min(int(rng.integers(1, MOST_AWAY + 1)), len(best)), replace=False)
        picked[np.setdiff1d(best, away)] = True
        made = program.serving(np.flatnonzero(picked), program.demand)
        guide = program.price * rng.uniform(1.0 - NOISE_SHARE, 1.0 + NOISE_SHARE, len(picked))
        guide[away] *= 1.0 + rng.random()
        _complete(program, made, picked, guide)
        _drop(program, made, picked, dearest)
        now = np.flatnonzero(picked)
        if program.cost(now) < program.cost(best) and program.is_met(now):
            best = now
    return best


def _complete(program: Program, made: Flow, chosen: Array, guide: Array) -> None:
    """Take choices until demands are met, or all are taken; a flow that serves what those taken can is kept so."""
    choices = len(program.price)
    while (flow.served(made) < program.demand).any() and not chosen.all():
        open_group = flow.served(made) < program.demand
        left = np.where(open_group[program.group], made.room[made.into_row], 0)
        gain = np.minimum(summed(program.choices, left[program.row], choices), program.capacities).astype(float)
        gain[chosen] = 0.0
        if not gain.any():
            # Nobody reaches who is left; but others may be served by someone else, and make room.
            gain = np.where(chosen, 0.0, program.capacities.astype(float))
        if not gain.any():
            break
        best = int(np.argmax(gain / np.maximum(guide, 1e-9)))
        chosen[best] = True
        flow.take(made, best, program.capacities[best])
        flow.augment(made)


def _drop(program: Program, made: Flow, chosen: Array, order: Array) -> None:
    """Leave what is not needed, in this order."""
    if (flow.served(made) < program.demand).any():
        return
    for choice in order[chosen[order]]:
        before = made.room.copy()
        if flow.leave(made, choice) == flow.augment(made):
            chosen[choice] = False
        else:
            made.room[:] = before


def relaxed(
    program: Program, solver: Any, enough: Enough, price_unit: float, scale: Array, hair: float
) -> tuple[Array, Array, Array, Array] | None:
    """The relaxation by a solver: choices, the part of each row that is served, and duals of rows and groups.

    Duals are in units of price and of weight; None where the solver came to no end. Rows f <= y are added as they are
    broken, and the last end that it came to counts.
    """
    choices, rows, groups = len(program.price), len(program.weight), len(program.demand)
    solver.passModel(model(program, price_unit, scale, hair, links=np.zeros(0, np.int64), integer=False))
    linked, best = np.zeros(len(program.choices), bool), None
    for at in range(LINK_ROUNDS + 1):
        run(solver)
        found = solver.getSolution()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal or not found.dual_valid:
            break
        best = found
        values = np.array(found.col_value)
        part, taken = values[choices:], values[:choices]
        broken = np.flatnonzero(~linked & (part > taken[program.choices] + LEAST_BROKEN))
        if not len(broken) or at == LINK_ROUNDS or enough():
            break
        linked[broken] = True
        count = len(broken)
        solver.addRows(
            count,
            np.full(count, -UNBOUNDED),
            np.zeros(count),
            2 * count,
            np.arange(0, 2 * count, 2, dtype=np.int32),
            np.stack([choices + broken, program.choices[broken]], axis=1).ravel().astype(np.int32),
            np.tile([1.0, -1.0], count),
        )
    if best is None:
        return None
    prices = np.abs(np.array(best.row_dual)) * price_unit
    group = prices[rows : rows + groups] * scale
    row = np.maximum(group[program.group] * program.weight - prices[:rows], 0.0)
    return taken, np.bincount(program.row, part, rows), row, group


def model(program: Program, price_unit: float, scale: Array, hair: float, links: Array, *, integer: bool) -> Any:
    """The program as HiGHS takes it: columns of choices and entries; rows of rows, groups, capacities, and `links`.

    `links` are the entries whose rows f <= y are there; a hair less than the demand is asked for, as a share.
    """
    choices, rows, groups, entries = map(len, (program.price, program.weight, program.demand, program.choices))
    entry = np.arange(entries)
    capacity = np.maximum(program.capacities, 1).astype(float)
    weight = program.weight[program.row].astype(float)
    group = program.group[program.row]
    each, first, after = np.arange(choices), rows + groups, rows + groups + choices
    number = np.arange(len(links))
    parts: list[Entries] = [
        (program.row, choices + entry, np.ones(entries)),
        (rows + group, choices + entry, weight * scale[group]),
        (first + program.choices, choices + entry, weight / capacity[program.choices]),
        (first + each, each, -np.ones(choices)),
        (after + number, choices + links, np.ones(len(links))),
        (after + number, program.choices[links], -np.ones(len(links))),
    ]
    lower = np.full(after + len(links), -UNBOUNDED)
    lower[rows:first] = program.demand * scale * (1.0 - hair)
    upper = np.zeros(after + len(links))
    upper[:rows], upper[rows:first] = 1.0, UNBOUNDED
    whole = np.arange(choices + entries) < choices if integer else None
    cost = np.concatenate([program.price / price_unit, np.zeros(entries)])
    return model_of(parts, cost=cost, lower=lower, upper=upper, whole=whole)


def values(program: Program, chosen: Array) -> Array:
    """The columns of the model for a choice."""
    picked = np.zeros(len(program.price))
    picked[chosen] = 1.0
    weight = flow.assigned(program.serving(chosen, program.demand))
    return np.concatenate([picked, weight / np.maximum(program.weight[program.row], 1)])
