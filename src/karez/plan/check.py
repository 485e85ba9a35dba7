"""A linter for plans, run before anything acts: every reason not to, in one list.

A plan may come from anywhere, so nothing in it is believed: first that it says things that can be true or false at all,
then whether they are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from karez.errors import Problem
from karez.plan.certificate import check_certificate
from karez.plan.day.certificate import check_chips, check_day
from karez.plan.kinds import KINDS, Kind
from karez.plan.plan import NEVER, Action, Cell, NewRow, Plan, applied, expected, written
from karez.plan.reads import COMPARE, Read, changed
from karez.plan.upgrades_certificate import check_upgrades
from karez.twin import World, schema
from karez.twin.check import check_rows
from karez.twin.schema import Dtype, Value

ANEW = "make the plan anew"
TYPES: dict[Dtype, tuple[type, ...]] = {"text": (str,), "bool": (bool,), "int": (int,), "float": (float, int)}
# Planners whose plans carry a certificate, and what checks it.
CERTIFICATES: dict[str, Callable[[Plan, World], list[Problem]]] = {
    "chips": check_chips,
    "coverage": check_certificate,
    "day": check_day,
    "upgrades": check_upgrades,
}


def check(plan: Plan, world: World, *, at_s: float) -> list[Problem]:
    """Every reason not to apply `plan` to `world` at `at_s`; none if it may be applied. Never raises."""
    senseless = [*_form(plan), *(problem for action in plan.actions for problem in _shape(action))]
    if senseless:
        return senseless
    problems = [*_stale(plan, world), *(p for action in plan.actions for p in _action(action, world, at_s))]
    if not problems:
        problems += _afterwards(plan, world)
    verify = CERTIFICATES.get(plan.planner)
    return [*problems, *(verify(plan, world) if verify else ())]


def _form(plan: Plan) -> Iterator[Problem]:
    """What the plan as a whole says that makes no sense."""
    where, proof = f"plan {plan.id}", plan.proof
    if not all(map(math.isfinite, (proof.value, proof.bound, plan.price_cny, plan.made_at_s))):
        yield Problem(where, "value, bound, price or time is not finite", ANEW)
    # A bound derived in floating point may pass the value by rounding, and by no more.
    if proof.bound > proof.value + 1e-9 * abs(proof.value):
        yield Problem(where, f"bound {proof.bound} is above its value {proof.value}", ANEW)
    for read in plan.reads:
        yield from _sense(where, read)
    twice = [name for name, count in Counter(_changed(plan)).items() if count > 1]
    if twice:
        yield Problem(where, "changes the same twice", "make it two plans", tuple(twice))


def _changed(plan: Plan) -> Iterator[str]:
    """Every cell that the plan sets and every row that it adds; cells of one row do not get into each other's way."""
    for action in plan.actions:
        yield from (f"{cell.table}[{cell.row}].{cell.column}" for cell in action.sets)
        yield from (f"{new.table}[{new.row}]" for new in action.adds)


def _sense(where: str, read: Read) -> Iterator[Problem]:
    """Whether a read can be true or false at all."""
    if read.table not in schema.tables():
        yield Problem(where, f"reads the table {read.table}, which does not exist", ANEW)
    elif read.op in COMPARE and read.column not in schema.tables()[read.table]:
        yield Problem(where, f"reads {read.table}.{read.column}, which does not exist", ANEW)
    elif read.op in COMPARE and not _fits(read.table, read.column, read.value):
        yield Problem(where, f"compares {read.table}.{read.column} with {read.value!r}", ANEW)


def _fits(table: str, column: str, value: Value) -> bool:
    dtype = schema.column(table, column).dtype
    fits = isinstance(value, TYPES[dtype]) and (dtype == "bool") == isinstance(value, bool)
    return fits and (not isinstance(value, int) or -(2**63) <= value < 2**63)


def _shape(action: Action) -> Iterator[Problem]:
    """What is wrong with an action whatever the world is like."""
    where, kind = _where(action), KINDS.get(action.kind)
    if kind is None:
        yield Problem(where, "is of no known kind", f"use one of {', '.join(KINDS)}")
        return
    if not (math.isfinite(action.expires_at_s) and math.isfinite(action.ends_at_s)):
        yield Problem(where, "expires or ends at no time", ANEW)
    if not action.blast_radius:
        yield Problem(where, "does not say whose service it may touch", "fill in blast_radius")
    for cell in action.sets:
        yield from _may_set(where, action, cell, kind)
    if kind.may_add and len(action.adds) != 1:
        yield Problem(where, f"adds {len(action.adds)} rows", f"add one row to {kind.may_add}")
    for new in action.adds:
        yield from _may_add(where, new, kind)
    seen = [read for read in action.expects if not list(_sense(where, read))]
    if len(seen) < len(action.expects) or not all(schema.is_state(read.table) for read in action.expects):
        yield Problem(where, "expects what cannot be seen", ANEW)
    elif kind.duration == "instant" and not expected(action):
        yield Problem(where, "is done at once, and nothing shows that it was", "set a cell, or fill in expects")


def _may_set(where: str, action: Action, cell: Cell, kind: Kind) -> Iterator[Problem]:
    if (cell.table, cell.column) not in kind.may_set:
        yield Problem(where, f"may not set {cell.table}.{cell.column}", ANEW)
    elif cell.row != action.subject:
        yield Problem(where, f"sets a cell of {cell.row}", "one action is about one row")
    elif cell.before == cell.after or (kind.to is not None and cell.after != kind.to):
        yield Problem(where, f"does not set {cell.table}.{cell.column} from {cell.before!r} to {cell.after!r}", ANEW)
    elif kind.rises and not _rises(cell):
        yield Problem(where, f"does not raise {cell.table}.{cell.column}", ANEW)
    elif not (_was(cell) and _fits(cell.table, cell.column, cell.after)):
        yield Problem(where, f"sets {cell.table}.{cell.column} from {cell.before!r} to {cell.after!r}", ANEW)


def _was(cell: Cell) -> bool:
    """Whether the column can hold what was there before."""
    never = cell.before == NEVER and schema.column(cell.table, cell.column).dtype == "float"
    return never or _fits(cell.table, cell.column, cell.before)


def _rises(cell: Cell) -> bool:
    numbers = isinstance(cell.before, int) and isinstance(cell.after, int)
    return numbers and int(cell.after) > int(cell.before)


def _may_add(where: str, new: NewRow, kind: Kind) -> Iterator[Problem]:
    if new.table != kind.may_add:
        yield Problem(where, f"may not add to {new.table}", ANEW)
        return
    specs = schema.tables()[new.table]
    for name, value in new.values.items():
        if name not in specs or name == "id" or not _fits(new.table, name, value):
            yield Problem(where, f"adds a row with {name} = {value!r}", ANEW)
    missing = [name for name, spec in specs.items() if spec.required and name not in ("id", *new.values)]
    if missing:
        yield Problem(where, f"adds a row without {', '.join(missing)}", ANEW)


def _stale(plan: Plan, world: World) -> Iterator[Problem]:
    for read in changed(plan.reads, world):
        yield Problem(f"plan {plan.id}", f"relied on {read}, which no longer holds", ANEW, (read.row,))
    findings = world["findings"]
    for finding in plan.because:
        if not (findings.has(finding) and findings.cell(finding, "open")):
            yield Problem(f"plan {plan.id}", f"answers the finding {finding}, which is not open", ANEW)


def _action(action: Action, world: World, at_s: float) -> Iterator[Problem]:
    where = _where(action)
    if action.expires_at_s < at_s:
        yield Problem(where, "has expired", ANEW)
    if KINDS[action.kind].duration == "long" and not action.ends_at_s > at_s:
        yield Problem(where, "is long and has no end ahead", "fill in ends_at_s")
    for cell in action.sets:
        if not world[cell.table].has(cell.row):
            yield Problem(where, f"{cell.table} has no such row", ANEW, (cell.row,))
        elif written(world[cell.table].cell(cell.row, cell.column)) != cell.before:
            yield Problem(where, f"{cell.table}.{cell.column} is no longer {cell.before}", ANEW, (cell.row,))
    for new in action.adds:
        if world[new.table].has(new.row):
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


def _where(action: Action) -> str:
    return f"action {action.kind} on {action.subject}"
