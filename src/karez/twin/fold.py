"""Folds: what accumulates, as columns, by a step that does not care how the events were cut.

A fold is a module or value with the name of its state table and `step(state, events, at_s) -> (state, outputs)`.
State is a table of the schema; events and outputs are columns of equal length, events in the order of their time.
The law (tests/conformance/test_folds.py): stepping through events in any pieces, with the state frozen and thawed in
between, gives the same bytes of state and the same outputs as one step over all. So a step may depend on each event's
own time, never on where a batch ended; `at_s` is for refusing events from the future only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from karez.twin import schema
from karez.twin.table import Array, Table

Events = Mapping[str, Array]
Step = Callable[[Table, Events, float], tuple[Table, Events]]


class Fold(NamedTuple):
    """A named fold: the table that its state is, and its step."""

    table: str
    step: Step


def freeze(table: Table) -> bytes:
    """The table as bytes; equal tables give equal bytes, whatever their history."""
    columns = {name: (array.dtype.str, array.tobytes()) for name in table.columns for array in [_narrow(table[name])]}
    return msgspec.msgpack.encode((table.name, columns), order="deterministic")


def thaw(data: bytes) -> Table:
    """The table that `freeze` made the bytes of."""
    name, columns = msgspec.msgpack.decode(data, type=tuple[str, dict[str, tuple[str, bytes]]])
    return Table.of(name, {column: np.frombuffer(raw, dtype) for column, (dtype, raw) in columns.items()})


def occurrence(keys: Array) -> Array:
    """For each row how many earlier rows hold the same key (int64), so that rounds can go in order without a loop."""
    order = np.argsort(keys, kind="stable")
    first = np.r_[True, keys[order][1:] != keys[order][:-1]] if len(keys) else np.zeros(0, bool)
    position = np.arange(len(keys))
    counts = np.empty(len(keys), np.int64)
    counts[order] = position - np.maximum.accumulate(np.where(first, position, 0))
    return counts


def empty(table: str, ids: Array) -> Table:
    """A state that has seen nothing yet of each id."""
    specs = schema.tables()[table].values()
    required = [spec.name for spec in specs if spec.required and spec.name != "id"]
    if required:
        raise ValueError(f"{table} cannot start empty: {', '.join(required)} would be missing")
    return Table.of(table, {"id": ids})


def _narrow(array: Array) -> Array:
    if array.dtype.kind != "S":
        return array
    return array.astype(f"S{max(1, int(np.strings.str_len(array).max(initial=1)))}")
