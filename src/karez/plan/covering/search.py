"""Compiled search for good choices in a covering program: greedy, dropping, and destroying and repairing in turn.

All functions work on two bundles of arrays: `Net` is the program, `State` a choice with what it reaches. Gains are the
weight that a choice would add, each row counted by the share of its need; rows of groups that are met count nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from karez.plan.covering import capacity
from karez.plan.covering.program import Program
from karez.twin.table import Array

# What a round of the search takes away at most, as a share of what is chosen and in number; how often side by side.
AWAY_SHARE, MOST_AWAY, NEAR_SHARE = 0.25, 12, 0.5
# How far guiding prices are moved at random, up and down.
NOISE_SHARE = 0.15
WORSE_SHARE = 0.005
FREE = 1e-9


class Net(NamedTuple):
    """A program in arrays; `rows` from `starts` are those of a choice, `members` from `firsts` those of a group.

    `scale` has what a unit of weight in each group counts for, `limits` what is wanted: groups, and money (-1: any).
    """

    bounds: Array
    choices: Array
    starts: Array
    rows: Array
    firsts: Array
    members: Array
    weight: Array
    group: Array
    need: Array
    price: Array
    demand: Array
    scale: Array
    limits: Array


class State(NamedTuple):
    """A choice: what is `chosen`, how many `times` a row is reached, the gain of each choice, and weight by group.

    `who` has the sum of those (positions) that reach a row: where one does, it is that one. `sums` has the price of all
    that is chosen, and the number of groups that are met.
    """

    chosen: Array
    times: Array
    who: Array
    gain: Array
    covered: Array
    sums: Array


def net_of(program: Program) -> Net:
    """The arrays of a program."""
    starts, rows = program.by_choice
    members = np.argsort(program.group, kind="stable")
    counts = np.bincount(program.group, minlength=len(program.demand))
    weight = program.weight.astype(np.float64)
    wanted = np.maximum(program.demand, 1).astype(np.float64)
    scale = np.ones(len(wanted)) if len(wanted) < 2 or program.money is not None else wanted.max() / wanted
    return Net(
        bounds=program.bounds.astype(np.int64),
        choices=program.choices.astype(np.int32),
        starts=starts.astype(np.int64),
        rows=rows,
        firsts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        members=members.astype(np.int32),
        weight=program.weight,
        group=program.group.astype(np.int32),
        need=program.need.astype(np.int32),
        price=program.price,
        # With a sum of money there is no demand that could be met: more is always better.
        demand=program.demand if program.money is None else np.full(len(wanted), 2**62),
        scale=scale / max(float(weight.sum()), 1.0),
        limits=np.array([program.wanted, -1 if program.money is None else program.money], np.int64),
    )


def state_of(net: Net, chosen: Array) -> State:
    """The state in which these choices (positions) are taken."""
    choices, rows, groups = len(net.price), len(net.weight), len(net.demand)
    state = State(
        chosen=np.zeros(choices, np.bool_),
        times=np.zeros(rows, np.int32),
        who=np.zeros(rows, np.int64),
        gain=np.zeros(choices),
        covered=np.zeros(groups, np.int64),
        sums=np.array([0, int((net.demand <= 0).sum())], np.int64),
    )
    _begin(net, state)
    for choice in chosen:
        _take(net, state, choice)
    return state


def greedy(program: Program, start: Array | None = None, guide: Array | None = None) -> Array:
    """Choices (positions, ascending): those of `start`, then the best weight for its price, less what is not needed.

    `guide` are prices to go by instead of the program's.
    """
    if program.capacity is not None:
        begin = np.zeros(0, np.int64) if start is None else start
        return capacity.greedy(program, begin, program.price if guide is None else guide)
    net = net_of(program)
    state = state_of(net, np.zeros(0, np.int64) if start is None else start)
    _complete(net, state, net.price.astype(np.float64) if guide is None else guide)
    if program.money is None and state.sums[1] < program.wanted:
        # What is missing is too little beside the whole weight for gains to say who brings it.
        for choice in np.flatnonzero(~state.chosen):
            _take(net, state, int(choice))
    _drop(net, state, np.argsort(-net.price, kind="stable"))
    return np.flatnonzero(state.chosen)


@njit(cache=True)
def _begin(net: Net, state: State) -> None:
    for row in range(net.weight.size):
        group = net.group[row]
        if state.covered[group] < net.demand[group]:
            _credit(net, state, row, 1.0)


@njit(cache=True)
def _credit(net: Net, state: State, row: int, sign: float) -> None:
    """Add to the gain of whoever reaches a row what one more of them adds, or take it away."""
    part = sign * net.weight[row] * net.scale[net.group[row]] / net.need[row]
    for at in range(net.bounds[row], net.bounds[row + 1]):
        state.gain[net.choices[at]] += part


@njit(cache=True)
def _credit_group(net: Net, state: State, group: int, sign: float) -> None:
    for at in range(net.firsts[group], net.firsts[group + 1]):
        row = net.members[at]
        if state.times[row] < net.need[row]:
            _credit(net, state, row, sign)


@njit(cache=True)
def _take(net: Net, state: State, choice: int) -> None:
    state.chosen[choice] = True
    state.sums[0] += net.price[choice]
    for at in range(net.starts[choice], net.starts[choice + 1]):
        row = net.rows[at]
        state.times[row] += 1
        state.who[row] += choice
        if state.times[row] == net.need[row]:
            group = net.group[row]
            open_before = state.covered[group] < net.demand[group]
            if open_before:
                _credit(net, state, row, -1.0)
            state.covered[group] += net.weight[row]
            if open_before and state.covered[group] >= net.demand[group]:
                state.sums[1] += 1
                _credit_group(net, state, group, -1.0)


@njit(cache=True)
def _leave(net: Net, state: State, choice: int) -> None:
    state.chosen[choice] = False
    state.sums[0] -= net.price[choice]
    for at in range(net.starts[choice], net.starts[choice + 1]):
        row = net.rows[at]
        state.who[row] -= choice
        if state.times[row] == net.need[row]:
            group = net.group[row]
            met_before = state.covered[group] >= net.demand[group]
            state.covered[group] -= net.weight[row]
            state.times[row] -= 1
            if state.covered[group] < net.demand[group]:
                if met_before:
                    state.sums[1] -= 1
                    _credit_group(net, state, group, 1.0)
                else:
                    _credit(net, state, row, 1.0)
        else:
            state.times[row] -= 1


@njit(cache=True)
def _complete(net: Net, state: State, guide: Array) -> None:
    """Take choices, best gain for its guiding price first, until what is wanted is met or no gain is left."""
    one_group = net.demand.size == 1
    while True:
        if net.limits[1] < 0 and state.sums[1] >= net.limits[0]:
            break
        left = net.limits[1] - state.sums[0] if net.limits[1] >= 0 else np.int64(2**62)
        most = np.inf
        if one_group and net.limits[1] < 0:
            most = (net.demand[0] - state.covered[0]) * net.scale[0]
        best, best_ratio = -1, 0.0
        for choice in range(net.price.size):
            if not state.chosen[choice] and state.gain[choice] > 1e-15 and net.price[choice] <= left:
                ratio = min(state.gain[choice], most) / max(guide[choice], FREE)
                if ratio > best_ratio:
                    best, best_ratio = choice, ratio
        if best < 0:
            break
        _take(net, state, best)


@njit(cache=True)
def _is_needless(net: Net, state: State, choice: int, loss: Array) -> bool:
    """Whether all that is wanted is met without a choice; `loss` (zeros, one a group) is left as it was."""
    lost_groups, weight = 0, np.int64(0)
    for at in range(net.starts[choice], net.starts[choice + 1]):
        row = net.rows[at]
        if state.times[row] == net.need[row]:
            group = net.group[row]
            before = state.covered[group] - loss[group]
            loss[group] += net.weight[row]
            weight += net.weight[row]
            lost_groups += before >= net.demand[group] > before - net.weight[row]
    for at in range(net.starts[choice], net.starts[choice + 1]):
        loss[net.group[net.rows[at]]] = 0
    if net.limits[1] >= 0:
        return bool(weight == 0)
    return bool(state.sums[1] - lost_groups >= net.limits[0])


@njit(cache=True)
def _drop(net: Net, state: State, order: Array) -> None:
    """Leave what is not needed, in this order."""
    loss = np.zeros(net.demand.size, np.int64)
    for choice in order:
        if state.chosen[choice] and _is_needless(net, state, choice, loss):
            _leave(net, state, choice)


@njit(cache=True)
def improve(net: Net, state: State, guide: Array, rounds: int, seed: int, best: Array) -> int:
    """Take some choices away and complete again, so many times, keeping what is no worse; the rounds that were better.

    `state` must meet what is wanted; `best` gets the best choice met (a mask).
    """
    np.random.seed(seed)
    choices, better = net.price.size, 0
    listed, noisy = np.empty(choices, np.int32), np.empty(choices)
    dearest, before = np.argsort(-net.price), np.empty(choices, np.bool_)
    # With money and rows that need one, swaps say exactly what they bring.
    swaps, loss, gone = (
        net.limits[1] >= 0 and np.all(net.need < 2),
        np.zeros(choices, np.int64),
        np.zeros(choices, np.int64),
    )
    best[:] = state.chosen
    best_value = _value(net, state)
    for at in range(rounds):
        before[:] = state.chosen
        count = 0
        for choice in range(choices):
            noisy[choice] = guide[choice] * (1.0 + NOISE_SHARE * (2.0 * np.random.random() - 1.0))
            if state.chosen[choice]:
                listed[count] = choice
                count += 1
        if count == 0:
            break
        _take_away(net, state, listed[:count], 1 + np.random.randint(max(1, min(MOST_AWAY, int(count * AWAY_SHARE)))))
        _complete(net, state, noisy)
        _drop(net, state, dearest)
        if swaps:
            _swap(net, state, loss, gone)
        now = _value(net, state)
        # Worse choices are let pass at first, and fewer and fewer.
        allowed = abs(best_value) * WORSE_SHARE * (1.0 - at / rounds)
        if now <= best_value + allowed and (net.limits[1] >= 0 or state.sums[1] >= net.limits[0]):
            if now < best_value:
                best_value = now
                better += 1
                best[:] = state.chosen
        else:
            _restore(net, state, before)
    return better


@njit(cache=True)
def _swap(net: Net, state: State, loss: Array, gone: Array) -> None:
    """Swap one choice for another while that brings weight; `loss` and `gone` (zeros) are written over.

    Source: M. G. C. Resende and R. F. Werneck, "A fast swap-based local search procedure for location problems" (2007).
    """
    _count_losses(net, state, loss)
    start, waited, choices = np.random.randint(net.price.size), 0, net.price.size
    at = start
    while waited < choices:
        into = at % choices
        at += 1
        waited += 1
        if state.chosen[into]:
            continue
        gain = np.int64(0)
        for entry in range(net.starts[into], net.starts[into + 1]):
            row = net.rows[entry]
            if state.times[row] == 0:
                gain += net.weight[row]
            elif state.times[row] == 1:
                gone[state.who[row]] += net.weight[row]
        # What leaves loses less where the other takes over.
        best, out = np.int64(0), -1
        left = net.limits[1] - state.sums[0] - net.price[into]
        for choice in range(choices):
            if state.chosen[choice]:
                change = gain - loss[choice] + gone[choice]
                if change > best and left + net.price[choice] >= 0:
                    best, out = change, choice
                gone[choice] = 0
        if out >= 0:
            _leave(net, state, out)
            _take(net, state, into)
            _count_losses(net, state, loss)
            waited = 0


@njit(cache=True)
def _count_losses(net: Net, state: State, loss: Array) -> None:
    loss[:] = 0
    for row in range(net.weight.size):
        if state.times[row] == 1:
            loss[state.who[row]] += net.weight[row]


@njit(cache=True)
def _restore(net: Net, state: State, chosen: Array) -> None:
    for choice in range(chosen.size):
        if state.chosen[choice] and not chosen[choice]:
            _leave(net, state, choice)
    for choice in range(chosen.size):
        if chosen[choice] and not state.chosen[choice]:
            _take(net, state, choice)


@njit(cache=True)
def _value(net: Net, state: State) -> int:
    return int(state.sums[0] if net.limits[1] < 0 else -state.covered.sum())


@njit(cache=True)
def _take_away(net: Net, state: State, listed: Array, number: int) -> None:
    """Leave so many of what is chosen: near to each other, or anywhere."""
    start = listed[np.random.randint(listed.size)]
    near = np.random.random() < NEAR_SHARE and net.starts[start + 1] > net.starts[start]
    _leave(net, state, start)
    for _ in range(number - 1):
        choice = listed[np.random.randint(listed.size)]
        if near:
            row = net.rows[np.random.randint(net.starts[start], net.starts[start + 1])]
            choice = net.choices[np.random.randint(net.bounds[row], net.bounds[row + 1])]
        if state.chosen[choice]:
            _leave(net, state, choice)
