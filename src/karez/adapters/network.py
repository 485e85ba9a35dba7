"""What every network behind an adapter looks like: it is observed, it is asked, and it takes an action."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec
import numpy as np

from karez.plan import Action
from karez.twin import Twin, schema
from karez.twin.schema import Value
from karez.twin.table import texts


class StateRows(msgspec.Struct, frozen=True):
    """Rows of a state table as observed: ids and, by column, a value for each of them."""

    table: str
    ids: tuple[str, ...]
    columns: dict[str, tuple[Value, ...]]


class Network(Protocol):
    """An adapter: three methods, and the kinds of action that it can do."""

    kinds: frozenset[str]

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What changed or was measured since it was last asked."""
        ...

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """How these rows are now, read afresh; rows that do not exist are left out."""
        ...

    def apply(self, action: Action, at_s: float) -> str:
        """What stands in the way; empty when the network took the action."""
        ...


def seen(actual: Twin, changes: Iterable[StateRows]) -> Twin:
    """The actual twin with what was observed; rows that are new are added."""
    for change in changes:
        table, ids = actual[change.table], texts(change.ids)
        if not len(ids):
            continue
        known = np.isin(ids, table.ids)
        columns = {name: _column(change.table, name, values) for name, values in change.columns.items()}
        if known.any():
            table = table.set(table.rows(ids[known]), **{name: array[known] for name, array in columns.items()})
        if not known.all():
            table = table.add({"id": ids[~known]} | {name: array[~known] for name, array in columns.items()})
        actual = actual.replace(table)
    return actual


def _column(table: str, name: str, values: Sequence[Value]) -> np.ndarray:
    if schema.column(table, name).dtype == "text":
        return texts(str(value) for value in values)
    return np.array(values, schema.NUMPY_DTYPES[schema.column(table, name).dtype])
