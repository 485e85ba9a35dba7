"""Duals of a covering program by subgradient ascent: near the best bound in a fraction of a linear program's time.

Rows are relaxed; what is left falls apart into choices, each taken where it earns more than its price, and groups,
each a fractional knapsack over its rows. What comes out is a start: bounds are computed from duals by `relax.bound_of`.

Source: M. L. Fisher, "The Lagrangian relaxation method for solving integer programming problems" (1981); deflected
steps after P. M. Camerini, L. Fratta and F. Maffioli (1975).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from karez.plan.covering.program import Program
from karez.plan.covering.relax import Duals, density_duals
from karez.plan.covering.search import Net, net_of
from karez.twin.table import Array

# Steps without a better bound after which they become shorter, and how much; and what is kept of the last direction.
PATIENCE, SHORTER, KEPT = 12, 0.66, 0.4
FIRST_STEP = 1.0
BISECTIONS = 30


def ascended(program: Program, value: int, steps: int, start: Duals | None = None) -> Duals:
    """Duals from those of `start` on, where a plan of `value` is known."""
    begin = density_duals(program) if start is None else start
    groups = len(program.demand)
    money = -1 if program.money is None else program.money
    target = float(value if program.money is None else program.weight.sum() - value)
    row, per_group, spent = _ascend(
        net_of(program), program.demand, program.wanted, money, begin.row.copy(), target, steps, np.zeros(groups)
    )
    return Duals(row, per_group, spent)


@njit(cache=True)
def _ascend(
    net: Net, demand: Array, wanted: int, money: int, row: Array, target: float, steps: int, per_group: Array
) -> tuple[Array, Array, float]:
    rows, choices, groups = net.weight.size, net.price.size, demand.size
    best_row, best_group, best_money = row.copy(), per_group.copy(), 0.0
    best, step, waited = -np.inf, FIRST_STEP, 0
    earned, taken = np.empty(choices), np.empty(choices)
    wanted_row, direction = np.empty(rows), np.zeros(rows)
    worth, used = np.empty(groups), np.empty(groups, np.bool_)
    spent = 0.0
    for _ in range(steps):
        earned[:] = 0.0
        for at in range(rows):
            for entry in range(net.bounds[at], net.bounds[at + 1]):
                earned[net.choices[entry]] += row[at]
        if money < 0:
            value = 0.0
            for group in range(groups):
                per_group[group], worth[group] = _knapsack(net, row, group, demand[group])
            order = np.argsort(worth)
            used[:] = False
            for group in order[:wanted]:
                used[group] = True
                value += worth[group]
            for choice in range(choices):
                taken[choice] = 1.0 if earned[choice] > net.price[choice] else 0.0
                value += min(net.price[choice] - earned[choice], 0.0)
            for at in range(rows):
                group = net.group[at]
                is_in = used[group] and net.need[at] * row[at] < per_group[group] * net.weight[at]
                wanted_row[at] = 1.0 if is_in else 0.0
        else:
            spent, bought = _spend(net.price, earned, taken, money)
            value = -bought
            for at in range(rows):
                left = net.weight[at] - net.need[at] * row[at]
                wanted_row[at] = 1.0 if left > 0 else 0.0
                value -= max(left, 0.0)
        if value > best:
            best, best_money, waited = value, spent, 0
            best_row[:], best_group[:] = row, per_group
        else:
            waited += 1
            if waited > PATIENCE:
                waited, step = 0, step * SHORTER
        norm = 0.0
        for at in range(rows):
            slack = wanted_row[at] * net.need[at]
            for entry in range(net.bounds[at], net.bounds[at + 1]):
                slack -= taken[net.choices[entry]]
            direction[at] = slack + KEPT * direction[at]
            if row[at] <= 0.0 and direction[at] < 0.0:
                direction[at] = 0.0
            norm += direction[at] * direction[at]
        goal = target if money < 0 else -target
        if norm == 0.0 or goal - value < 1e-9 * abs(goal):
            break
        length = step * (goal - value) / norm
        for at in range(rows):
            row[at] = max(row[at] + length * direction[at], 0.0)
    return best_row, best_group, best_money


@njit(cache=True)
def _knapsack(net: Net, row: Array, group: int, demand: int) -> tuple[float, float]:
    """The dual of a group's demand at which its rows just meet it, and what the demand is worth then."""
    low, high = 0.0, 0.0
    first, last = net.firsts[group], net.firsts[group + 1]
    if demand <= 0:
        return 0.0, 0.0
    for at in range(first, last):
        member = net.members[at]
        if net.weight[member] > 0:
            high = max(high, net.need[member] * row[member] / net.weight[member])
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        filled = 0.0
        for at in range(first, last):
            member = net.members[at]
            if net.need[member] * row[member] < middle * net.weight[member]:
                filled += net.weight[member]
        if filled < demand:
            low = middle
        else:
            high = middle
    worth = high * demand
    for at in range(first, last):
        member = net.members[at]
        worth -= max(high * net.weight[member] - net.need[member] * row[member], 0.0)
    return high, max(worth, 0.0)


@njit(cache=True)
def _spend(price: Array, earned: Array, taken: Array, money: int) -> tuple[float, float]:
    """The dual of a sum of money, spent on what earns most for its price, and what is earned at most."""
    order = np.argsort(-earned / np.maximum(price, 1))
    taken[:] = 0.0
    left, bought, dual = float(money), 0.0, 0.0
    for choice in order:
        if earned[choice] <= 0.0 or left <= 0.0:
            break
        part = min(1.0, left / price[choice]) if price[choice] > 0 else 1.0
        taken[choice] = part
        bought += part * earned[choice]
        left -= part * price[choice]
        dual = earned[choice] / price[choice] if left <= 0.0 and price[choice] > 0 else 0.0
    return dual, bought
