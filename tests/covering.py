"""Small covering programs of every kind, and what is best in them by looking at every choice there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from karez.plan.covering.program import Program
from karez.twin.table import Array

HEAVIEST = 10**12
# The first so many ways of drawing weights (and one more of prices) have small numbers only.
TAME = 3
WEIGHTS: tuple[Callable[[np.random.Generator, int], Array], ...] = (
    lambda random, size: np.ones(size, np.int64),
    lambda random, size: random.integers(0, 4, size),
    lambda random, size: random.integers(1, 1_000, size),
    lambda random, size: random.integers(1, HEAVIEST, size),
    lambda random, size: random.choice([1, 1_000, 10**9, HEAVIEST], size),
)
PRICES: tuple[Callable[[np.random.Generator, int], Array], ...] = (
    lambda random, size: np.ones(size, np.int64),
    lambda random, size: random.integers(50, 151, size),
    lambda random, size: 10 * random.integers(1, 6, size),
    lambda random, size: random.integers(0, 3, size),
    lambda random, size: random.integers(1, 10**9, size),
)


def made(
    sets: list[list[int]],
    *,
    weight: Array,
    price: Array,
    demand: Array,
    group: Array | None = None,
    need: Array | None = None,
    wanted: int | None = None,
    money: int | None = None,
) -> Program:
    """A program of these rows, in one group where no other is said."""
    size = np.array([len(row) for row in sets], np.int64)
    return Program(
        bounds=np.concatenate([np.zeros(1, np.int64), np.cumsum(size)]),
        choices=np.array([choice for row in sets for choice in sorted(row)], np.int32),
        weight=np.asarray(weight, np.int64),
        group=np.zeros(len(sets), np.int64) if group is None else np.asarray(group, np.int64),
        need=np.ones(len(sets), np.int64) if need is None else np.asarray(need, np.int64),
        price=np.asarray(price, np.int64),
        demand=np.asarray(demand, np.int64),
        wanted=len(demand) if wanted is None else wanted,
        money=money,
    )


def sets_of(program: Program) -> list[list[int]]:
    """The choices that reach each row."""
    return [program.choices[one:other].tolist() for one, other in pairwise(program.bounds)]


def drawn(
    kind: str, random: np.random.Generator, *, most_choices: int = 11, most_rows: int = 24, is_tame: bool = False
) -> Program:
    """The next program of this kind; it can be met. Where it is tame, no number is large."""
    choices, rows = int(random.integers(1, most_choices + 1)), int(random.integers(1, most_rows + 1))
    density = random.choice([0.1, 0.25, 0.5, 0.9])
    reached = random.random((rows, choices)) < density
    if random.random() < 0.3:
        # Equal rows, and choices alike.
        reached[rows // 2 :] = reached[: rows - rows // 2]
        reached[:, choices // 2 :] = reached[:, : choices - choices // 2]
    if random.random() < 0.7:
        # Without it, some rows are reached by nobody.
        reached[np.arange(rows), random.integers(0, choices, rows)] = True
    groups = 1 if kind in ("one group", "money", "money, two of each") else int(random.integers(2, 5))
    group = random.integers(0, groups, rows)
    if kind == "several budgets":
        # Rows of the second are the same points, reached by some more.
        reached = np.concatenate([reached, reached | (random.random(reached.shape) < 0.3)])
        group, groups = np.repeat([0, 1], rows), 2
    rows = len(group)
    weight = WEIGHTS[random.integers(TAME if is_tame else len(WEIGHTS))](random, rows)
    if kind == "several budgets":
        weight[rows // 2 :] = weight[: rows // 2]
    need = np.ones(rows, np.int64)
    if kind in ("two of each", "money, two of each"):
        need[:] = 2
        if random.random() < 0.5:
            need = random.integers(1, 3, rows)
    price = PRICES[random.integers(TAME + 1 if is_tame else len(PRICES))](random, choices)
    program = made(
        [np.flatnonzero(row).tolist() for row in reached],
        weight=weight,
        price=price,
        demand=np.zeros(groups, np.int64),
        group=group,
        need=need,
    )
    reachable = program.covered(np.arange(choices))
    share = random.choice([0.0, 0.3, 0.6, 0.75, 0.95, 1.0], groups, p=[0.05, 0.15, 0.2, 0.25, 0.25, 0.1])
    demand = np.floor(reachable * share).astype(np.int64)
    wanted = int(random.integers(0, groups)) if kind == "some groups" else groups
    if kind == "some groups" and random.random() < 0.3:
        # One that nothing meets, and that is not needed.
        demand[0] = reachable[0] + 1
        wanted = min(wanted, groups - 1)
    money = None
    if "money" in kind:
        total = int(price.sum())
        money = int(random.choice([0, total // 4, total // 3, total // 2, total]))
        if random.random() < 0.1 and price.min() > 0:
            money = int(price.min()) - 1
    return replace(program, demand=demand, wanted=wanted, money=money)


KINDS = (
    "one group",
    "several groups",
    "some groups",
    "two of each",
    "money",
    "money in groups",
    "money, two of each",
    "several budgets",
)


def best_of_all(program: Program) -> int | None:
    """The best value, in whole numbers, of every choice there is; None where none does what is wanted."""
    choices, sets = len(program.price), sets_of(program)
    masks = np.arange(2**choices)
    picked = (masks[:, None] >> np.arange(choices)) & 1
    cost = picked @ program.price
    covered = np.zeros((len(masks), len(program.demand)), np.int64)
    for row, reached in enumerate(sets):
        enough = picked[:, reached].sum(axis=1) >= program.need[row]
        covered[:, program.group[row]] += enough * program.weight[row]
    if program.money is not None:
        allowed, value = cost <= program.money, program.weight.sum() - covered.sum(axis=1)
    else:
        allowed, value = (covered >= program.demand).sum(axis=1) >= program.wanted, cost
    return int(value[allowed].min()) if allowed.any() else None


def best_by_highs(program: Program) -> float | None:
    """The best value by the full integer program, written down here once more and solved by scipy's HiGHS."""
    rows, choices, groups = len(program.weight), len(program.price), len(program.demand)
    columns = choices + rows + groups
    entries: list[tuple[int, int, float]] = []
    low: list[float] = []
    for row, reached in enumerate(sets_of(program)):
        entries += [(len(low), choice, 1.0) for choice in reached]
        entries.append((len(low), choices + row, -float(program.need[row])))
        low.append(0.0)
    cost = np.zeros(columns)
    top = float(program.weight.max(initial=1))
    if program.money is not None:
        cost[choices : choices + rows] = -program.weight / top
        entries += [(len(low), choice, -float(price)) for choice, price in enumerate(program.price)]
        low.append(-float(program.money))
    else:
        cost[:choices] = program.price
        for group, demand in enumerate(program.demand.tolist()):
            mine = np.flatnonzero(program.group == group)
            entries += [(len(low), choices + int(row), float(program.weight[row]) / top) for row in mine]
            entries.append((len(low), choices + rows + group, -demand / top))
            low.append(0.0)
        entries += [(len(low), choices + rows + group, 1.0) for group in range(groups)]
        low.append(float(program.wanted))
    at, column, value = (np.array(each) for each in zip(*entries, strict=True))
    matrix = coo_array((value, (at, column)), shape=(len(low), columns)).tocsr()
    found = milp(
        cost,
        constraints=LinearConstraint(matrix, lb=np.array(low)),
        bounds=Bounds(0, 1),
        integrality=np.ones(columns, np.int64),
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        return None
    return float(found.fun if program.money is None else program.weight.sum() + found.fun * top)
