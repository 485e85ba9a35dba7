"""A covering program as a value, its exact reductions, and what a choice of sites is worth in it.

    least   sum_j price_j y_j                       (or most sum_k weight_k z_k within a sum of money)
    so that sum of y_j over who reaches row k  >=  need_k z_k
            sum of weight_k z_k over group g   >=  demand_g t_g,   sum of t_g  >=  wanted,   y, z, t in {0, 1}

Weights, prices and demands are whole numbers, so that nothing depends on the order of a sum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from karez.plan.covering import flow
from karez.twin.table import Array

SIGNATURE_SEED = 20_260_102


@dataclass(frozen=True)
class Program:
    """Rows that choices reach, as `bounds` and `choices` (positions, ascending in a row), and what is wanted of them.

    `weight` (int64), `group` and `need` (choices that must reach it) are those of rows; `price` (int64) that of
    choices; `demand` (int64) that of groups, of which `wanted` must be met. Where `money` is given, the most weight
    that it buys is looked for instead, and demands do not count. Where there is `capacity` (int64, in the unit of
    weights), that is the most that each choice serves, of rows in part too; rows need one alone then, all groups are
    wanted, and `karez.plan.covering.capacity` has the formula.
    """

    bounds: Array
    choices: Array
    weight: Array
    group: Array
    need: Array
    price: Array
    demand: Array
    wanted: int
    money: int | None = None
    capacity: Array | None = None

    @cached_property
    def row(self) -> Array:
        """The row of each entry of `choices`."""
        return np.repeat(np.arange(len(self.weight)), np.diff(self.bounds))

    @cached_property
    def by_choice(self) -> tuple[Array, Array]:
        """Rows by the choice that reaches them: where each choice starts, and its rows, ascending."""
        order = np.argsort(self.choices, kind="stable")
        counts = np.bincount(self.choices, minlength=len(self.price))
        return np.concatenate([[0], np.cumsum(counts)]), self.row[order].astype(np.int32)

    @cached_property
    def matrix(self) -> csr_array:
        """1 where a choice (column) reaches a row."""
        shape = (len(self.weight), len(self.price))
        return csr_array((np.ones(len(self.choices)), self.choices, self.bounds), shape=shape)

    @cached_property
    def idle(self) -> flow.Flow:
        """The network of who may serve whom, while nobody does; to be copied."""
        sizes = {"groups": len(self.demand), "choices": len(self.price)}
        return flow.flow_of(self.group, self.weight, self.row, self.choices, **sizes)

    def serving(self, chosen: Array, most: Array) -> flow.Flow:
        """A greatest flow from groups, none of which takes more than `most` (int64), to choices (positions)."""
        made = self.idle._replace(room=self.idle.room.copy())
        made.room[made.into_group] = most
        made.room[made.out[chosen]] = self.capacities[chosen]
        flow.augment(made)
        return made

    @cached_property
    def capacities(self) -> Array:
        """What each choice serves at most (int64): no more than all that it reaches."""
        reached = summed(self.choices, self.weight[self.row], len(self.price))
        return reached if self.capacity is None else np.minimum(reached, self.capacity)

    def covered(self, chosen: Array) -> Array:
        """The weight of each group (int64) in rows that as many of the choices (positions) reach as they need.

        With capacity, what the choices serve: demands first, and then as much as can be beside them.
        """
        if self.capacity is not None:
            made = self.serving(chosen, self.demand)
            made.room[made.into_group] += np.maximum(int(self.weight.sum()) - self.demand, 0)
            flow.augment(made)
            return flow.served(made)
        picked = np.zeros(len(self.price), bool)
        picked[chosen] = True
        return summed(self.group, np.where(_count(self, picked) >= self.need, self.weight, 0), len(self.demand))

    def is_met(self, chosen: Array) -> bool:
        """Whether the choices do what is wanted: meet demands, or cost no more than the money."""
        if self.money is not None:
            return self.cost(chosen) <= self.money
        return int((self.covered(chosen) >= self.demand).sum()) >= self.wanted

    def cost(self, chosen: Array) -> int:
        """The price of the choices."""
        return int(self.price[chosen].sum())

    def value(self, chosen: Array) -> int:
        """What is to be least: the price, or the weight that is left uncovered."""
        if self.money is None:
            return self.cost(chosen)
        return int(self.weight.sum() - self.covered(chosen).sum())

    @property
    def needs_several(self) -> bool:
        """Whether some row needs more choices than one."""
        return bool((self.need > 1).any())

    @property
    def unit(self) -> int:
        """Every value is a multiple of it."""
        of = self.price if self.money is None else self.weight
        return max(int(np.gcd.reduce(of)), 1) if len(of) else 1


def _count(program: Program, picked: Array) -> Array:
    """How many of the choices that are picked (a mask) reach each row."""
    return np.bincount(program.row[picked[program.choices]], minlength=len(program.weight))


def summed(group: Array, weight: Array, groups: int) -> Array:
    """The sum of whole weights by group (int64), exact whatever their size."""
    sums = np.zeros(groups, np.int64)
    np.add.at(sums, group, weight)
    return sums


class Smaller(NamedTuple):
    """A program with fewer choices: which ones they were (`free`), and the new row of each old one (-1: none)."""

    program: Program
    free: Array
    owner: Array


def fixed(program: Program, taken: Array, left: Array) -> Smaller:
    """The program where some choices (masks) are taken and some left out.

    The price of what is taken is not in it, and what it reaches is no longer asked for. Rows that too few choices are
    left for, or that weigh nothing, are gone; those that the same choices are left for are one. With capacity, choices
    that are taken stay, at no price: what they serve is not known before all are.
    """
    if program.capacity is not None:
        program, taken = replace(program, price=np.where(taken, 0, program.price)), np.zeros_like(taken)
    free, rows = ~(taken | left), len(program.weight)
    need = program.need - _count(program, taken)
    done = summed(program.group, np.where(need <= 0, program.weight, 0), len(program.demand))
    entry = free[program.choices] & (need > 0)[program.row]
    size = np.bincount(program.row[entry], minlength=rows)
    kept = (need > 0) & (size >= need) & (program.weight > 0)
    entry &= kept[program.row]
    number = np.cumsum(free) - 1
    few = Program(
        bounds=np.concatenate([[0], np.cumsum(size[kept])]),
        choices=number[program.choices[entry]].astype(np.int32),
        weight=program.weight[kept],
        group=program.group[kept],
        need=need[kept],
        price=program.price[free],
        demand=np.maximum(program.demand - done, 0),
        wanted=program.wanted,
        money=None if program.money is None else program.money - program.cost(taken),
        capacity=None if program.capacity is None else program.capacity[free],
    )
    small, new = merged(few)
    owner = np.full(rows, -1)
    owner[kept] = new
    return Smaller(small, np.flatnonzero(free), owner)


def merged(program: Program) -> tuple[Program, Array]:
    """The program with rows of one group, need and set of choices made one, and the new row of each old one."""
    words = np.random.default_rng(SIGNATURE_SEED).integers(1, 2**63, (2, len(program.price)), dtype=np.uint64)
    if not len(program.weight):
        return program, np.zeros(0, np.int64)
    signature = np.zeros((2, len(program.weight)), np.uint64)
    reached = np.diff(program.bounds) > 0
    if reached.any():
        signature[:, reached] = np.add.reduceat(words[:, program.choices], program.bounds[:-1][reached], axis=1)
    keys = (*signature, program.group, program.need)
    order = np.lexsort(keys)
    first = np.zeros(len(order), bool)
    first[0] = True
    for key in keys:
        first[1:] |= np.diff(key[order].astype(np.int64)) != 0
    owner = np.empty(len(order), np.int64)
    owner[order] = np.cumsum(first) - 1
    if first.all():
        return program, np.arange(len(order))
    return replace(only(program, order[first]), weight=summed(owner, program.weight, int(first.sum()))), owner


def undominated(program: Program) -> Array:
    """A mask of choices that no other one, as cheap, makes needless: it reaches all their rows, which need one alone.

    Of two that are alike the first stays. Choices that reach nothing are needless. Where there is capacity, no choice
    makes another needless that reaches anything.
    """
    size = np.bincount(program.choices, minlength=len(program.price))
    needless = size == 0
    is_plain = program.money is None and program.capacity is None and not program.needs_several
    if not (len(program.choices) and is_plain):
        return np.asarray(~needless)
    shared = (program.matrix.T @ program.matrix).tocoo()
    one, other = shared.coords
    price = program.price
    inside = (one != other) & (shared.data == size[one]) & (price[other] <= price[one])
    same = inside & (size[one] == size[other]) & (price[one] == price[other])
    needless[one[inside & (~same | (other < one))]] = True
    return np.asarray(~needless)


def parts(program: Program) -> Array:
    """The part of each choice: no row and no group spans two, so where all groups are wanted each is on its own."""
    rows, groups = len(program.weight), len(program.demand)
    entries = np.concatenate([np.ones(len(program.choices) + rows)])
    tail = np.concatenate([program.row, np.arange(rows)])
    head = np.concatenate([rows + groups + program.choices, rows + program.group])
    size = rows + groups + len(program.price)
    _, part = connected_components(csr_array((entries, (tail, head)), shape=(size, size)), directed=False)
    return part[rows + groups :]


def runs(starts: Array, size: Array) -> Array:
    """The positions of several runs, one run after the other: from each start on as many as its size."""
    return np.asarray(np.arange(size.sum()) + np.repeat(starts - np.cumsum(size) + size, size))


def only(program: Program, rows: Array) -> Program:
    """The program with these rows alone, in this order."""
    size = np.diff(program.bounds)[rows]
    bounds, entry = np.concatenate([[0], np.cumsum(size)]), runs(program.bounds[rows], size)
    return replace(
        program,
        bounds=bounds,
        choices=program.choices[entry],
        weight=program.weight[rows],
        group=program.group[rows],
        need=program.need[rows],
    )
