"""What every network behind an adapter looks like: it is observed, heard and asked, and it takes an action."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from karez.plan import Action
from karez.twin import Twin, World, schema
from karez.twin.schema import ColumnSpec, Value
from karez.twin.table import Array, resolve, texts
from karez.twin.telemetry import Samples, StateRows

# Acts that put back what should be, which their expectations name.
RESTORES = frozenset({"restore_link", "restore_router"})
KINDS_OF = {"text": "US", "bool": "b", "int": "iu", "float": "iuf"}


class Network(Protocol):
    """An adapter: four methods, and the kinds of action that it can do."""

    kinds: frozenset[str]

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What changed or was measured since it was last asked."""
        ...

    def hear(self, at_s: float) -> tuple[Samples, ...]:
        """The telemetry since it was last heard; none where it measures nothing."""
        ...

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """How these rows are now, read afresh; rows that do not exist are left out."""
        ...

    def apply(self, action: Action, at_s: float) -> str:
        """What stands in the way; empty when the network took the action. Taking it twice is as taking it once."""
        ...


def sound(changes: Iterable[StateRows], world: World) -> tuple[tuple[StateRows, ...], tuple[str, ...]]:
    """What was told and can be believed, and a sentence on each table, row or column that was set aside.

    A network may tell of things that nobody intended, and of values that are none. Neither may end a loop, or blind it.
    """
    kept: list[StateRows] = []
    aside: list[str] = []
    for change in changes:
        if not schema.is_observed(change.table):
            aside.append(f"{change.table} is nothing that a network tells of")
            continue
        if any(len(values) != len(change.ids) for values in change.columns.values()):
            aside.append(f"{change.table} has columns that are not as long as its ids")
            continue
        good = np.ones(len(change.ids), bool)
        for name, values in change.columns.items():
            good &= _believable(change.table, name, values, aside)
        good &= _known(change, world.intended, aside)
        good &= _whole(change, world.actual, aside)
        rows = np.flatnonzero(good).tolist()
        if len(rows) < len(good):
            columns = {name: tuple(values[row] for row in rows) for name, values in change.columns.items()}
            change = StateRows(change.table, tuple(change.ids[row] for row in rows), columns)
        kept += [change] if change.ids else []
    return tuple(kept), tuple(aside)


def seen(actual: Twin, changes: Iterable[StateRows]) -> Twin:
    """The actual twin with what was observed; rows that are new are added, and of a row told twice the last counts."""
    for change in changes:
        table, ids = actual[change.table], texts(change.ids)
        if not len(ids):
            continue
        last = len(ids) - 1 - np.unique(ids[::-1], return_index=True)[1]
        ids = ids[last]
        columns = {name: _column(change.table, name, values)[last] for name, values in change.columns.items()}
        known = resolve(ids, (table.columns["id"],)) >= 0
        if known.any() and columns:
            table = table.set(table.rows(ids[known]), **{name: array[known] for name, array in columns.items()})
        if not known.all():
            table = table.add({"id": ids[~known]} | {name: array[~known] for name, array in columns.items()})
        actual = actual.replace(table)
    return actual


def said(action: Action, table: str, states: str) -> Iterator[tuple[str, Value]]:
    """The columns that an act sets, and those that it puts back to what it says must be seen."""
    yield from ((cell.column, cell.after) for cell in action.sets if cell.table == table)
    if action.kind in RESTORES:
        yield from ((read.column, read.value) for read in action.expects if read.table == states)


def _believable(table: str, name: str, values: Sequence[Value], aside: list[str]) -> Array:
    """Which values are of the column's dtype, finite and within its bounds."""
    spec = schema.tables().get(table, {}).get(name)
    array = np.array(values)
    if spec is None or (len(array) and array.dtype.kind not in KINDS_OF[spec.dtype]):
        aside.append(f"{table}.{name} is unknown, or holds what it may not")
        return np.zeros(len(array), bool)
    good = _in_bounds(spec, array)
    if not good.all():
        aside.append(f"{table}.{name} of {np.count_nonzero(~good)} rows is no number or out of bounds")
    return good


def _in_bounds(spec: ColumnSpec, array: Array) -> Array:
    if spec.dtype not in ("int", "float") or not len(array):
        return np.ones(len(array), bool)
    return np.asarray(np.isfinite(array) & (array >= spec.low) & (array <= spec.high))


def _known(change: StateRows, intended: Twin, aside: list[str]) -> Array:
    """Which rows are states of something that the intended twin has."""
    spec = schema.tables()[change.table]["id"]
    if not spec.refers_to:
        return np.ones(len(change.ids), bool)
    known = resolve(texts(change.ids), tuple(intended[table].columns["id"] for table in spec.refers_to)) >= 0
    if not known.all():
        stranger = change.ids[int(np.argmin(known))]
        aside.append(f"{change.table} tells of {np.count_nonzero(~known)} rows that nobody intended ({stranger} first)")
    return np.asarray(known)


def _whole(change: StateRows, actual: Twin, aside: list[str]) -> Array:
    """Which rows were known before, or come with all that a row must have."""
    specs = schema.tables()[change.table]
    missing = [name for name, spec in specs.items() if spec.required and name not in ("id", *change.columns)]
    known = resolve(texts(change.ids), (actual[change.table].columns["id"],)) >= 0
    if not missing or known.all():
        return np.ones(len(change.ids), bool)
    aside.append(f"{change.table} tells of {np.count_nonzero(~known)} new rows without {', '.join(missing)}")
    return np.asarray(known)


def _column(table: str, name: str, values: Sequence[Value]) -> Array:
    if schema.column(table, name).dtype == "text":
        return texts(str(value) for value in values)
    return np.array(values, schema.NUMPY_DTYPES[schema.column(table, name).dtype])
