"""Branch and bound on linear programs, for the most weight that a sum of money buys, where rows need one choice alone.

The node with the least bound goes first, so that the bound rises with each, and a few steps of the simplex method both
ways say which choice to branch on. Where sites lie close, that is worth more than cuts. The bound of a node is computed
from its duals by `relax.bound_of`, as everywhere: no word of the solver is in it.

Source: T. Achterberg, T. Koch, A. Martin, "Branching rules revisited" (2005).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from karez.plan.covering import search
from karez.plan.covering.excess import End, Excess
from karez.plan.covering.program import Program
from karez.plan.covering.relax import Duals, Solved, bound_of
from karez.plan.highs import Enough, run
from karez.twin.table import Array

# What a node has decided on a choice.
FREE, TAKEN, LEFT = 0, 1, 2
# Rows that pay a smaller share of their weight than this are there from the beginning.
PAYING_SHARE = 0.98
# A row is broken by so much, and rows are added while those that are broken would take so much of the room.
LEAST_BROKEN, LOST_SHARE = 1e-4, 0.02
# Choices tried out at a node, and at the first one; steps of the simplex method each way, and of a node at first.
TRIED, FIRST_TRIED, TRIAL_STEPS, FIRST_STEPS, MOST_STEPS = 3, 9, 60, 300, 2**30
# What is nearer to a whole number than this is one to the solver.
WHOLE = 1e-5
# Rounds of the search from each node's relaxed choice, of which choices from this value on are taken.
ROUNDS, ROUNDED_UP = 5, 0.5
# What rounding may have done to a bound: a share of it, and as it is.
ROUNDING_SHARE, SLACK = 1e-14, 1e-6
# How near to a bound a solver's duals lead, and how many nodes that are as near to the best choice are looked at.
NEAR_SHARE, MOST_NEAR = 1e-9, 200
# Of a product of gains, each is at least this share of the room.
LEAST_GAIN_SHARE = 1e-4


class _Node(NamedTuple):
    """Plans that agree with what was decided on each choice: a bound for them, the basis to begin with, and steps."""

    bound: float
    number: int
    decided: Array
    basis: Any
    steps: int


class _End(NamedTuple):
    """Where a node's linear program ended: bound, reduced prices, relaxed choice, the solver's objective and basis."""

    bound: float
    reduced: Array
    choice: Array
    objective: float
    basis: Any
    is_last: bool


class _Linear:
    """The linear program of nodes."""

    def __init__(self, program: Program, row: Array, enough: Enough) -> None:
        """With the rows that do not pay all their weight."""
        self.program, self.excess = program, Excess(program, enough)
        self.excess.add(np.flatnonzero(row < PAYING_SHARE * program.weight))
        # A first basis by crossover from an interior point: from nothing the simplex method takes far longer.
        self.excess.solver.setOptionValue("solver", "ipm")

    def end(self, node: _Node, value: int) -> _End | None:
        """The end of a node's program, with rows added as they are broken; None where the solver comes to none.

        Where that takes many steps, where it is after some: what it has by then proves a bound, too.
        """
        solver = self.excess.solver
        self._begin(node.decided, node.basis, node.steps)
        while (found := self._end(node.steps)) is not None:
            solver.setOptionValue("solver", "simplex")
            bound, reduced = self._bound(found, node.decided)
            broken = self._broken(found.choice, max(value - bound, float(self.program.unit)))
            if not found.is_last or not len(broken):
                return _End(bound, reduced, found.choice, self._objective(), solver.getBasis(), found.is_last)
            self.excess.add(broken)
        return None

    def _end(self, steps: int) -> End | None:
        """The end within so many steps, or twice as many, and so on, where there are no duals by then."""
        while (found := self.excess.end()) is None and self.excess.is_cut_short and steps < MOST_STEPS:
            steps *= 2
            self.excess.solver.setOptionValue("simplex_iteration_limit", steps)
        return found

    def gain(self, decided: Array, end: _End) -> float:
        """How far the bound of a node rises at least when more is decided; by the solver's word, as a guide."""
        self._begin(decided, end.basis, TRIAL_STEPS)
        run(self.excess.solver)
        return max(self._objective() - end.objective, 0.0)

    def _objective(self) -> float:
        return float(self.excess.solver.getInfo().objective_function_value * self.excess.value_unit)

    def _begin(self, decided: Array, basis: Any, steps: int) -> None:
        self.excess.solver.setOptionValue("simplex_iteration_limit", steps)
        self.excess.begin((decided == TAKEN).astype(float), (decided != LEFT).astype(float), basis)

    def _broken(self, choice: Array, room: float) -> Array:
        """The rows that a relaxed choice breaks, where they would take much of the room or it is a choice already."""
        program = self.program
        over = np.bincount(program.row, choice[program.choices], len(program.weight)) - 1.0
        over[self.excess.rows] = 0.0
        broken = np.flatnonzero(over > LEAST_BROKEN)
        is_little = (over[broken] * program.weight[broken]).sum() <= LOST_SHARE * room
        return broken[:0] if is_little and len(_parted(choice)) else broken

    def _bound(self, found: End, decided: Array) -> tuple[float, Array]:
        """What duals prove of a node, and the reduced prices."""
        duals = Duals(found.row, np.ones(len(self.program.demand)), found.money)
        bound, _, reduced = bound_of(self.program, duals)
        # What is taken is paid for even where it does not pay, and what is left cannot be taken where it would.
        lost = np.maximum(reduced[decided == TAKEN], 0.0).sum() + np.maximum(-reduced[decided == LEFT], 0.0).sum()
        return float(bound + lost), reduced


@dataclass
class _Tree:
    """The nodes that are open, the best choice, and what branching on each choice brought so far, down and up."""

    program: Program
    linear: _Linear
    net: search.Net
    chosen: Array
    value: int
    open_nodes: list[_Node]
    gains: Array
    tries: Array
    offer: Callable[[Array], None]
    number: int = 0
    stuck: list[float] = field(default_factory=list)

    @property
    def bound(self) -> float:
        """A bound for all plans but the best one known."""
        return min([np.inf, *self.stuck, *(node.bound for node in self.open_nodes[:1])])

    def is_closed(self, bound: float) -> bool:
        """Whether no plan with this bound is better than the best one known."""
        return bound - max(SLACK, ROUNDING_SHARE * abs(bound)) > self.value - self.program.unit

    def push(self, bound: float, decided: Array, basis: Any, steps: int) -> None:
        """Open a node."""
        self.number += 1
        heapq.heappush(self.open_nodes, _Node(bound, self.number, decided, basis, steps))

    def keep(self, chosen: Array) -> None:
        """Keep a choice where it is better."""
        value = self.program.value(chosen)
        if value < self.value and self.program.is_met(chosen):
            self.value, self.chosen = value, chosen
            self.offer(chosen)


def is_branchable(program: Program) -> bool:
    """Whether a program is of the kind that this is for."""
    return program.money is not None and program.capacity is None and not program.needs_several


def branched(
    program: Program,
    row: Array,
    start: Array,
    enough: Enough,
    hear: Callable[[float], None] = lambda bound: None,
    offer: Callable[[Array], None] = lambda chosen: None,
) -> Solved:
    """The best choice within the money, from one (positions) and what rows pay in a relaxation; and a bound for others.

    That is infinite where none is better. Meanwhile `hear` is told each bound, and `offer` each better choice.
    """
    choices = len(program.price)
    if not (choices and len(program.weight)):
        return Solved(start, float(program.value(start)))
    tree = _Tree(
        program=program,
        linear=_Linear(program, row, enough),
        net=search.net_of(program),
        chosen=start,
        value=program.value(start),
        open_nodes=[],
        gains=np.zeros((2, choices)),
        tries=np.zeros((2, choices)),
        offer=offer,
    )
    tree.push(-np.inf, np.zeros(choices, np.int8), None, MOST_STEPS)
    near = 0
    while tree.open_nodes and not enough():
        node = heapq.heappop(tree.open_nodes)
        if tree.is_closed(node.bound):
            tree.open_nodes = []
        elif (near := near + (node.bound >= tree.value - NEAR_SHARE * abs(tree.value))) > MOST_NEAR:
            # Nearer than duals can tell, but maybe better: not closed, and worth no further look.
            tree.stuck.append(node.bound)
        else:
            _visit(tree, node, enough)
            hear(min(tree.bound, float(tree.value)))
    return Solved(tree.chosen, tree.bound)


def _visit(tree: _Tree, node: _Node, enough: Enough) -> None:
    """Close a node, or open two in its place."""
    if not (node.decided == FREE).any():
        tree.keep(np.flatnonzero(node.decided == TAKEN))
        return
    end = tree.linear.end(node, tree.value)
    if end is None:
        if enough():
            heapq.heappush(tree.open_nodes, node)
        else:
            tree.stuck.append(node.bound)
        return
    bound = max(end.bound, node.bound)
    if not end.is_last:
        # Twice as many, so that each comes to an end.
        tree.push(bound, node.decided, end.basis, min(2 * node.steps, MOST_STEPS))
        return
    _search(tree, end.choice)
    decided = _decided(tree, node.decided, end)
    # Where all better plans take more than the money buys, there is none.
    if not tree.is_closed(bound) and tree.program.cost(decided == TAKEN) <= (tree.program.money or 0):
        choice = _tried(tree, decided, end, tree.value - bound)
        for fate in (LEFT, TAKEN):
            tree.push(bound, _with(decided, choice, fate), end.basis, FIRST_STEPS)


def _search(tree: _Tree, relaxed: Array) -> None:
    """Look for a better choice from the relaxed one on."""
    program = tree.program
    order = np.argsort(-relaxed, kind="stable")
    affordable = np.cumsum(program.price[order]) <= (program.money or 0)
    state = search.state_of(tree.net, order[affordable & (relaxed[order] > ROUNDED_UP)])
    best = np.zeros(len(order), bool)
    search.improve(tree.net, state, program.price.astype(float), ROUNDS, tree.number, best)
    tree.keep(np.flatnonzero(best))


def _decided(tree: _Tree, decided: Array, end: _End) -> Array:
    """What is decided in all better plans of a node: by reduced prices, and by what the money still buys."""
    program = tree.program
    room = tree.value - end.bound
    is_free, found = decided == FREE, decided.copy()
    found[is_free & (end.reduced < -room)] = TAKEN
    left = (program.money or 0) - program.cost(found == TAKEN)
    found[(found == FREE) & ((end.reduced > room) | (program.price > left))] = LEFT
    return found


def _tried(tree: _Tree, decided: Array, end: _End, room: float) -> int:
    """The free choice that raises the bound most both ways, of the most promising ones."""
    relaxed, parted = end.choice, _parted(end.choice)
    parted = parted[decided[parted] == FREE]
    if not len(parted):
        return int(np.argmax(np.where(decided == FREE, relaxed, -1.0)))
    order = np.argsort(-_score(_promise(tree, relaxed, parted), room), kind="stable")
    likely = parted[order[: TRIED if tree.tries.any() else FIRST_TRIED]]
    gains = np.array([[tree.linear.gain(_with(decided, one, fate), end) for one in likely] for fate in (LEFT, TAKEN)])
    gains = np.minimum(gains, room)
    tree.gains[:, likely] += gains / np.stack([relaxed[likely], 1.0 - relaxed[likely]])
    tree.tries[:, likely] += 1.0
    return int(likely[np.argmax(_score(gains, room))])


def _promise(tree: _Tree, relaxed: Array, parted: Array) -> Array:
    """What branching on choices is expected to bring, left and taken: what it brought before, or does on average."""
    average = tree.gains.sum(axis=1, keepdims=True) / np.maximum(tree.tries.sum(axis=1, keepdims=True), 1.0)
    mine, tries = tree.gains[:, parted], tree.tries[:, parted]
    each = np.where(tries > 0, mine / np.maximum(tries, 1.0), np.where(average > 0, average, 1.0))
    return np.asarray(each * np.stack([relaxed[parted], 1.0 - relaxed[parted]]))


def _score(gains: Array, room: float) -> Array:
    return np.asarray(np.maximum(gains, LEAST_GAIN_SHARE * room).prod(axis=0))


def _parted(choice: Array) -> Array:
    """The choices (positions) that are taken in part."""
    return np.flatnonzero((choice > WHOLE) & (choice < 1.0 - WHOLE))


def _with(decided: Array, choice: int, fate: int) -> Array:
    decided = decided.copy()
    decided[choice] = fate
    return decided
