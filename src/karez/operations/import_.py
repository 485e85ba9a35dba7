"""A network out of files."""

from __future__ import annotations

from pathlib import Path

import msgspec

from karez.errors import InputError
from karez.importers import guesses, tables
from karez.importers.guesses import Guess
from karez.operations import Answer, ImportQuestion
from karez.operations.networks import counted, now_s, provenance
from karez.twin import Twin, store
from karez.twin.store import Revision


class Rows(msgspec.Struct, frozen=True):
    """How many rows a table has."""

    table: str
    rows: int


class ImportAnswer(Answer, frozen=True, kw_only=True):
    """What was read, how foreign columns were understood, and the revision (0: nothing was written)."""

    tables: tuple[Rows, ...]
    mapping: tuple[Guess, ...]
    revision: int
    digest: str


def run(question: ImportQuestion) -> ImportAnswer:
    """The network that a folder of files describes, as a new revision.

    Raises:
        InputError: everything that is wrong with the files, or the network cannot be written.
    """
    source = Path(question.source)
    _refuse_source(source, Path(question.output))
    mapping = guesses.guess(source) if question.guess else []
    twin = tables.read(source, mapping)
    saved = None if question.dry_run else _saved(twin, question)
    rows = tuple(Rows(name, len(table)) for name, table in twin.tables.items() if len(table))
    total = sum(row.rows for row in rows)
    done = f"kept as revision {saved.number}" if saved else "nothing written (dry run)"
    read = f"{counted(total, 'row')} in {counted(len(rows), 'table')} read without a problem"
    return ImportAnswer(
        headline=f"{read}; {done}{_left_out(mapping)}",
        citation=provenance(saved) if saved else f"data {source.name}, digest {twin.digest[:12]}",
        tables=rows,
        mapping=tuple(mapping),
        revision=saved.number if saved else 0,
        digest=twin.digest,
    )


def _left_out(mapping: list[Guess]) -> str:
    number = sum(not guess.target for guess in mapping)
    return f"; {counted(number, 'column')} left out, see the mapping" if number else ""


def _refuse_source(source: Path, output: Path) -> None:
    """Keep revisions out of the folder that is read: the next import would find them there."""
    if output.resolve() == source.resolve():
        raise InputError.of(str(output), "is the folder that is read", "give another folder for the network")


def _saved(twin: Twin, question: ImportQuestion) -> Revision:
    name = Path(question.source).resolve().name
    return store.save(twin, Path(question.output), at_s=now_s(), note="import", source=name, synthetic=False)
