"""A linter for plans, run before anything acts: every reason not to, in one list."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from karez.errors import Problem
from karez.plan.build import check_certificate
from karez.plan.kinds import KINDS
from karez.plan.plan import Action, Cell, NewRow, Plan, applied
from karez.plan.reads import changed
from karez.twin import World, schema
from karez.twin.check import check_rows

ANEW = "make the plan anew"
# Planners whose plans carry a certificate, and what checks it.
CERTIFICATES: dict[str, Callable[[Plan, World], list[Problem]]] = {"build": check_certificate}


def check(plan: Plan, world: World, *, at_s: float) -> list[Problem]:
    """Every reason not to apply `plan` to `world` at `at_s`; none if it may be applied."""
    verify = CERTIFICATES.get(plan.planner)
    return [
        *_stale(plan, world),
        *_unproven(plan),
        *_actions(plan, world, at_s),
        *(verify(plan, world) if verify else ()),
    ]


def _stale(plan: Plan, world: World) -> Iterator[Problem]:
    for read in changed(plan.reads, world):
        yield Problem(f"plan {plan.id}", f"relied on {read}, which no longer holds", ANEW, (read.row,))


def _unproven(plan: Plan) -> Iterator[Problem]:
    proof = plan.proof
    if not (math.isfinite(proof.value) and math.isfinite(proof.bound) and math.isfinite(plan.price_cny)):
        yield Problem(f"plan {plan.id}", "value, bound or price is not finite", ANEW)
    # A bound derived in floating point may pass the value by rounding, and by no more.
    if proof.bound > proof.value + 1e-9 * abs(proof.value):
        yield Problem(f"plan {plan.id}", f"bound {proof.bound} is above its value {proof.value}", ANEW)


def _actions(plan: Plan, world: World, at_s: float) -> Iterator[Problem]:
    problems = [problem for action in plan.actions for problem in _action(action, world, at_s)]
    yield from problems
    if not problems:
        yield from _afterwards(plan, world)


def _action(action: Action, world: World, at_s: float) -> Iterator[Problem]:
    where = f"action {action.kind} on {action.subject}"
    if action.kind not in KINDS:
        yield Problem(where, "is of no known kind", f"use one of {', '.join(KINDS)}")
        return
    if action.expires_at_s < at_s:
        yield Problem(where, "has expired", ANEW)
    if not action.blast_radius:
        yield Problem(where, "does not say whose service it may touch", "fill in blast_radius")
    if KINDS[action.kind].duration == "long" and not action.ends_at_s > at_s:
        yield Problem(where, "is long and has no end ahead", "fill in ends_at_s")
    for cell in action.sets:
        yield from _cell(where, cell, world)
    for new in action.adds:
        yield from _new(where, new, world)


def _cell(where: str, cell: Cell, world: World) -> Iterator[Problem]:
    if cell.column not in schema.tables().get(cell.table, {}) or schema.is_state(cell.table):
        yield Problem(where, f"cannot set {cell.table}.{cell.column}", "set a column of the intended twin")
    elif not world[cell.table].has(cell.row):
        yield Problem(where, f"{cell.table} has no such row", ANEW, (cell.row,))
    elif world[cell.table].cell(cell.row, cell.column) != cell.before:
        yield Problem(where, f"{cell.table}.{cell.column} is no longer {cell.before}", ANEW, (cell.row,))


def _new(where: str, new: NewRow, world: World) -> Iterator[Problem]:
    if new.table not in schema.tables() or schema.is_state(new.table):
        yield Problem(where, f"cannot add to {new.table}", "add to a table of the intended twin")
    elif world[new.table].has(new.row):
        yield Problem(where, f"{new.table} has this row already", ANEW, (new.row,))


def _afterwards(plan: Plan, world: World) -> Iterator[Problem]:
    """What would be wrong with the touched rows of the intended twin once the plan was applied."""
    after = applied(plan.actions, world.intended)
    touched: dict[str, dict[str, None]] = {}
    for action in plan.actions:
        for table, row in action.touched:
            touched.setdefault(table, {})[row] = None
    for table, ids in touched.items():
        rows: np.ndarray = after[table].rows(list(ids))
        yield from check_rows(after, table, rows, list(schema.tables()[table]))
