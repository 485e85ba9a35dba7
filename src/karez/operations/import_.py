"""A network out of files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from karez.errors import InputError, Problem
from karez.importers import formats
from karez.importers.guesses import Guess
from karez.importers.remarks import remarks
from karez.importers.report import Dropped, Imported, causes, grouped
from karez.operations import Answer, ImportQuestion
from karez.operations.networks import DETAIL, counted, now_s, provenance
from karez.twin import store
from karez.twin.store import Revision

SHOWN_ROWS = 3


class Rows(msgspec.Struct, frozen=True):
    """How many rows a table has."""

    table: str
    rows: int


class Drops(msgspec.Struct, frozen=True):
    """Rows that were dropped for one reason, the first of them, and how to put them right."""

    where: str
    why: str
    rows: int
    first: str
    fix: str


class Assumption(msgspec.Struct, frozen=True):
    """What no file said, and what was taken for it."""

    of: str
    taken: str


class ImportAnswer(Answer, frozen=True, kw_only=True):
    """What was read, dropped and assumed, how foreign columns were understood, and the revision (0: none written).

    `warnings` says what is odd about the network as a whole. A row with several faults is counted with each of them in
    `dropped`, and once in `rows_dropped`.
    """

    format: str
    tables: tuple[Rows, ...]
    rows_dropped: int
    warnings: dict[str, str]
    dropped: tuple[Drops, ...]
    assumed: tuple[Assumption, ...]
    mapping: tuple[Guess, ...]
    revision: int
    digest: str
    dropped_rows: Annotated[tuple[Dropped, ...], DETAIL]


def run(question: ImportQuestion) -> ImportAnswer:
    """The network that a source describes, as a new revision.

    Raises:
        InputError: everything that is wrong with the source, rows that are dropped where the question is strict, or
            the network cannot be written.
    """
    _refuse_source(Path(question.source), Path(question.output))
    kind = formats.format_of(question.source) if question.format == "auto" else question.format
    mapping = formats.guess(question.source, kind) if question.guess else []
    found = formats.read_any(
        question.source,
        kind=kind,
        mapping=mapping,
        crs=question.crs,
        route_factor=question.route_factor,
        caida=question.caida,
    )
    if question.strict and found.dropped:
        raise InputError(grouped(causes(found.dropped)))
    source = _named(question.source, found)
    saved = None if question.dry_run else _saved(found, question, source)
    rows = tuple(Rows(name, len(table)) for name, table in found.twin.tables.items() if len(table))
    warnings = remarks(found.twin)
    return ImportAnswer(
        headline=_headline(rows, found, mapping, saved, len(warnings)),
        citation=provenance(saved) if saved else f"data {source}, digest {found.twin.digest[:12]}",
        format=kind,
        tables=rows,
        rows_dropped=found.rows_dropped,
        warnings=warnings,
        dropped=tuple(map(_drops, grouped(found.dropped))),
        assumed=tuple(Assumption(*text.split(": ", 1)) for text in found.assumed),
        mapping=tuple(mapping),
        revision=saved.number if saved else 0,
        digest=found.twin.digest,
        dropped_rows=found.dropped,
    )


def _drops(problem: Problem) -> Drops:
    shown = ", ".join(problem.rows[:SHOWN_ROWS])
    return Drops(problem.where, problem.what, len(problem.rows), shown, problem.fix)


def _headline(
    rows: tuple[Rows, ...], found: Imported, mapping: list[Guess], saved: Revision | None, warnings: int
) -> str:
    total = sum(row.rows for row in rows)
    without = f"{counted(found.rows_dropped, 'row')} dropped" if found.dropped else "without a problem"
    done = f"kept as revision {saved.number}" if saved else "nothing written (dry run)"
    left_out = sum(not guess.target for guess in mapping)
    parts = [f"{counted(total, 'row')} in {counted(len(rows), 'table')} read{', ' if found.dropped else ' '}{without}"]
    parts += [f"{counted(len(found.assumed), 'thing')} assumed"] if found.assumed else []
    parts += [counted(warnings, "warning")] if warnings else []
    parts += [done, *([f"{counted(left_out, 'column')} left out, see the mapping"] if left_out else [])]
    return "; ".join(parts)


def _named(source: str, found: Imported) -> str:
    """The source as citations name it, with lengths that nobody told: what rests on them is to say so."""
    name = formats.topohub_name(source)
    called = Path(source).resolve().name if name is None else f"topohub:{name}"
    lengths = [text for text in found.assumed if text.startswith("length of ")]
    return f"{called} (assumed {'; '.join(lengths)})" if lengths else called


def _refuse_source(source: Path, output: Path) -> None:
    """Keep revisions out of the folder that is read: the next import would find them there."""
    if output.resolve() == source.resolve():
        raise InputError.of(str(output), "is the source that is read", "give another folder for the network")


def _saved(found: Imported, question: ImportQuestion, source: str) -> Revision:
    return store.save(found.twin, Path(question.output), at_s=now_s(), note="import", source=source, synthetic=False)
