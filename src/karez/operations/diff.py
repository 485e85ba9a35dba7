"""What changed between two revisions."""

from __future__ import annotations

import msgspec

from karez.operations import Answer, DiffQuestion
from karez.operations.networks import counted, load, provenance
from karez.twin import TableDiff, diff


class TableChanges(msgspec.Struct, frozen=True):
    """How many rows of a table came, went and changed."""

    table: str
    added: int
    removed: int
    changed: int


class DiffAnswer(Answer, frozen=True, kw_only=True):
    """What changed, counted by table, then with ids."""

    tables: tuple[TableChanges, ...]
    details: tuple[TableDiff, ...]


def run(question: DiffQuestion) -> DiffAnswer:
    """What changed from one revision to the other.

    Raises:
        InputError: there is no such network or revision.
    """
    before, older = load(question.network, question.before)
    after, newer = load(question.network, question.after)
    found = diff(before.intended, after.intended)
    changes = tuple(_counted(table) for table in found)
    total = sum(table.added + table.removed + table.changed for table in changes)
    note = " (synthetic)" if newer.synthetic else ""
    what = f"{counted(total, 'row')} in {counted(len(changes), 'table')} differ{'s' if total == 1 else ''}"
    return DiffAnswer(
        headline=f"{what if changes else 'Nothing differs'} from revision {older.number} to {newer.number}{note}",
        citation=f"from revision {older.number} ({older.digest[:12]}) to {provenance(newer)}",
        tables=changes,
        details=tuple(found),
    )


def _counted(table: TableDiff) -> TableChanges:
    changed = {row for rows in table.changed.values() for row in rows}
    return TableChanges(table.table, len(table.added), len(table.removed), len(changed))
