"""The twin: a set of tables that never changes; what differs is another twin that shares the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from karez.twin import schema
from karez.twin.fold import occurrence
from karez.twin.schema import Value
from karez.twin.table import Array, Column, Table, scalar, strings, text


class Twin:
    """An immutable network: one `Table` for each table of the schema."""

    __slots__ = ("_digest", "tables")

    def __init__(self, tables: Mapping[str, Table] | None = None) -> None:
        """Hold `tables`; those of the schema that are not given are empty."""
        given = tables or {}
        self.tables = {name: given[name] if name in given else Table.of(name) for name in schema.tables()}
        self._digest = ""

    def __getitem__(self, table: str) -> Table:
        """One table."""
        return self.tables[table]

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name the content; row order and history do not matter."""
        if not self._digest:
            self._digest = hashlib.sha256(b"".join(t.digest for t in self.tables.values())).hexdigest()
        return self._digest

    def replace(self, *tables: Table) -> Twin:
        """The twin with these tables in place of its own; all others are shared."""
        return Twin(self.tables | {table.name: table for table in tables})

    def resolve(self, table: str, column: str) -> Array:
        """The rows that a reference column points at (int64), numbered through the tables it may refer to.

        `-1` stands for an empty reference. The answer is kept with the column, so asking again is free.
        """
        targets = schema.column(table, column).refers_to
        ids = tuple(self.tables[target].columns["id"] for target in targets)
        return self.tables[table].columns[column].resolve(ids)

    def at(self, at_s: float) -> Twin:
        """The twin as it is at `at_s` (Unix time).

        Rows whose validity does not hold then are left out, and so are rows that must refer to one of those: a server
        is not there before its site is.
        """
        cut = []
        for table in self.tables.values():
            if "valid_from_s" in table.columns:
                valid = (table["valid_from_s"] <= at_s) & (at_s < table["valid_to_s"])
                if not valid.all():
                    cut.append(table.take(valid))
        return _followed_by(self, self.replace(*cut)) if cut else self


@dataclass(frozen=True)
class World:
    """What should be and what is: the two twins that a plan is made from and checked against."""

    intended: Twin
    actual: Twin

    def __getitem__(self, table: str) -> Table:
        """The table from the twin that it belongs to: states and findings from the actual one."""
        return (self.actual if schema.is_state(table) else self.intended)[table]

    def observed(self, table: str) -> tuple[Array, Table]:
        """The rows of `table` that have a state, and those states; states of what is not intended are left out."""
        states = self[schema.mirror(table)]
        rows = states.columns["id"].resolve((self[table].columns["id"],))
        known = rows >= 0
        return (rows, states) if known.all() else (rows[known], states.take(known))


@dataclass(frozen=True)
class TableDiff:
    """How one table differs: ids added, ids removed, and by column the ids whose value changed."""

    table: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Conflict:
    """Two sources that say different things of one cell, and whose word was taken."""

    table: str
    id: str
    column: str
    taken: Value
    refused: Value


def diff(before: Twin, after: Twin) -> list[TableDiff]:
    """What changed from one twin to another; equal tables cost one comparison of digests."""
    return [
        _table_diff(before[name], after[name]) for name in schema.tables() if before[name].digest != after[name].digest
    ]


def merge(*twins: Twin, precedence: Sequence[int] | None = None) -> tuple[Twin, list[Conflict]]:
    """One twin out of several, and every cell on which they disagree.

    Rows are the same when their ids are, or when `aliases` (of any of the twins) says so; references follow.
    `precedence` lists the positions of the twins, the one that has the last word first (default: as given).
    What a source does not know (nan, or an empty text) is filled from the others without a conflict.

    Raises:
        ValueError: `precedence` does not name every twin once.
    """
    order = list(precedence) if precedence is not None else list(range(len(twins)))
    if sorted(order) != list(range(len(twins))):
        raise ValueError(f"precedence must name each of the {len(twins)} twins once, not {order}")
    aliases = _aliases(twins)
    conflicts: list[Conflict] = []
    ranked = [_renamed(twins[position], aliases, conflicts) for position in order]
    merged = [_merged_table([twin[name] for twin in ranked], conflicts) for name in schema.tables()]
    return Twin({table.name: table for table in merged}), conflicts


def _table_diff(before: Table, after: Table) -> TableDiff:
    common, old, new = np.intersect1d(before.ids, after.ids, assume_unique=True, return_indices=True)
    changed = {}
    for name, column in before.columns.items():
        if column.digest != after.columns[name].digest:
            differs = ~_same(before[name][old], after[name][new])
            if differs.any():
                changed[name] = strings(common[differs])
    return TableDiff(
        table=before.name,
        added=strings(np.setdiff1d(after.ids, before.ids, assume_unique=True)),
        removed=strings(np.setdiff1d(before.ids, after.ids, assume_unique=True)),
        changed=changed,
    )


def _same(left: Array, right: Array) -> Array:
    equal: Array = left == right
    return equal | ((left != left) & (right != right)) if left.dtype.kind == "f" else equal


def _followed_by(before: Twin, after: Twin) -> Twin:
    """`after` without the rows that must refer to a row which was in `before` only, nor those that refer to them."""
    while True:
        less = [table.take(~lost) for table in after.tables.values() if (lost := _lost(before, after, table)).any()]
        if not less:
            return after
        before, after = after, after.replace(*less)


def _lost(before: Twin, after: Twin, table: Table) -> Array:
    """Which rows must refer to a row that `before` had and `after` has not."""
    lost = np.zeros(len(table), bool)
    for spec in schema.tables()[table.name].values():
        gone = [name for name in spec.refers_to if len(after[name]) < len(before[name])]
        if gone and spec.required:
            ids = np.concatenate([np.setdiff1d(before[name].ids, after[name].ids) for name in gone])
            lost |= np.isin(table[spec.name], ids)
    return lost


def _aliases(twins: Sequence[Twin]) -> dict[str, dict[bytes, bytes]]:
    names: dict[str, dict[bytes, bytes]] = {}
    for twin in twins:
        table = twin["aliases"]
        for foreign, owner, row in zip(table.ids, table["table"], table["row"], strict=True):
            names.setdefault(text(owner), {})[bytes(foreign)] = bytes(row)
    return {owner: {foreign: _followed(rows, foreign) for foreign in rows} for owner, rows in names.items()}


def _followed(names: Mapping[bytes, bytes], name: bytes) -> bytes:
    """Where a chain of names leads; a chain that closes on itself leads to the name it closes on."""
    met: set[bytes] = set()
    while name in names and name not in met:
        met.add(name)
        name = names[name]
    return name


def _renamed(twin: Twin, aliases: Mapping[str, Mapping[bytes, bytes]], conflicts: list[Conflict]) -> Twin:
    """The twin with foreign ids, and references to them, replaced by the ids they stand for."""
    tables = []
    for name, specs in schema.tables().items():
        table, columns = twin[name], {}
        for column, spec in specs.items():
            owners = (name, *spec.refers_to) if column == "id" else spec.refers_to
            known = {old: new for owner in owners for old, new in aliases.get(owner, {}).items()}
            if known and len(table):
                values = [known.get(value, value) for value in table[column].tolist()]
                columns[column] = np.array(values, dtype="S")
        tables.append(_united(table, columns, conflicts) if columns else table)
    return Twin({table.name: table for table in tables})


def _united(table: Table, columns: Mapping[str, Array], conflicts: list[Conflict]) -> Table:
    """The table with these columns; rows that come to share an id are one, and the row that had it has precedence."""
    ids = columns.get("id", table.ids)
    own_first = np.argsort(ids != table.ids, kind="stable")
    renamed = Table.of(table.name, {c: columns.get(c, table[c])[own_first] for c in table.columns})
    turn = occurrence(renamed.ids)
    united = renamed.take(turn == 0)
    for index in range(1, int(turn.max(initial=0)) + 1):
        united = _folded(united, renamed.take(turn == index), conflicts)
    return united


def _merged_table(ranked: Sequence[Table], conflicts: list[Conflict]) -> Table:
    filled = [table for table in ranked if len(table)]
    if len(filled) <= 1:
        return filled[0] if filled else ranked[0]
    merged = filled[0]
    for other in filled[1:]:
        merged = _folded(merged, other, conflicts)
    return merged


def _folded(ours: Table, theirs: Table, conflicts: list[Conflict]) -> Table:
    common, mine, other = np.intersect1d(ours.ids, theirs.ids, assume_unique=True, return_indices=True)
    filled: dict[str, Array] = {}
    for name, column in ours.columns.items():
        left, right = ours[name][mine], theirs[name][other]
        unknown_left, unknown_right = _unknown(left), _unknown(right)
        for at in np.flatnonzero(~_same(left, right) & ~unknown_left & ~unknown_right):
            row_id = text(common[at])
            conflicts.append(Conflict(ours.name, row_id, name, scalar(left[at]), scalar(right[at])))
        take = unknown_left & ~unknown_right
        if take.any():
            filled[name] = column.set(mine[take], right[take]).array
    extra = np.setdiff1d(theirs.ids, ours.ids, assume_unique=True)
    rows = theirs.rows(extra)
    return Table.of(ours.name, {c: np.concatenate([filled.get(c, ours[c]), theirs[c][rows]]) for c in ours.columns})


def _unknown(values: Array) -> Array:
    if values.dtype.kind == "f":
        unknown: Array = np.isnan(values)
        return unknown
    return np.strings.str_len(values) == 0 if values.dtype.kind == "S" else np.zeros(len(values), bool)


__all__ = ["Column", "Conflict", "Table", "TableDiff", "Twin", "World", "diff", "merge"]
