"""A twin from a folder of tables, one CSV or Parquet file each, and the template of such a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from karez.errors import InputError, Problem
from karez.importers.cells import Cells, cells, harmless
from karez.importers.crs import to_wgs84
from karez.importers.guesses import Guess, guess, table_like
from karez.importers.networks import assumed_lengths, short_links
from karez.importers.report import Imported, counted
from karez.importers.sheets import Sheet, files, sheet
from karez.twin import schema
from karez.twin.check import EMPTY, NOWHERE, check
from karez.twin.geo import great_circle_km
from karez.twin.schema import ColumnSpec, Value
from karez.twin.store import os_problem, remove, write_whole
from karez.twin.table import Array, Table, resolve
from karez.twin.twin import Twin

README_HEAD = """Fill in the tables you have and delete the files of those you have not.

Each table is a CSV file in UTF-8 whose first line names its columns; their order is free. Parquet files with the same
names are read as well. Leave a cell empty where nobody knows the value: never write nan, 0 or -. Ids are text of any
kind; a column that refers to another table holds ids of its rows. Units are those named here. Tables whose names end in
_states hold what was observed; where one has no row, all of it counts as intended, idle and up, and answers say so.
"""


@dataclass(frozen=True)
class _Draft:
    """A table on its way in: its cells by column, and what each column is called in its file."""

    sheet: Sheet
    names: Mapping[str, str]
    cells: Mapping[str, Cells]

    def where(self, column: str) -> str:
        return f"{self.sheet.file} {self.names.get(column, column)}"


@dataclass(frozen=True)
class Source:
    """What may hold a table: how messages call it, its name without a suffix, and how its cells are got."""

    file: str
    stem: str
    sheet: Callable[[], Sheet]


def read(folder: Path, guesses: Sequence[Guess] = ()) -> Twin:
    """The twin that the files in `folder` describe; `guesses` says what foreign files and columns are.

    Files and columns that no guess speaks of must be called what the schema calls them.

    Raises:
        InputError: everything that is wrong with the folder, its files, columns, cells and references.
    """
    sources, problems = sources_in(folder)
    return joined(str(folder), sources, guesses, problems=problems).twin


def sources_in(folder: Path) -> tuple[list[Source], list[Problem]]:
    """The table files in `folder`, and a problem for everything else there.

    Raises:
        InputError: the folder cannot be read, or holds no table file.
    """
    paths, problems = files(folder)
    return [Source(path.name, path.stem, partial(sheet, path)) for path in paths], problems


def joined(
    where: str,
    sources: Sequence[Source],
    guesses: Sequence[Guess] = (),
    *,
    problems: Sequence[Problem] = (),
    crs: str = "wgs84",
    route_factor: float | None = None,
) -> Imported:
    """The twin that `sources` describe, and what was assumed; no row is ever dropped.

    With a `route_factor`, links whose length nobody told get the great circle between their ends times it.

    Raises:
        InputError: `problems`, and everything that is wrong with the sources, their columns, cells and references.
    """
    found = list(problems)
    drafts: dict[str, _Draft] = {}
    broken: set[str] = set()
    for source in sources:
        try:
            _add(drafts, source, [guess for guess in guesses if guess.file == source.file], found, broken)
        except InputError as error:
            found += error.problems
            broken.add(_table_of(source, guesses))
    tables = {name: _table(name, draft) for name, draft in drafts.items() if name not in broken}
    assumed = [*_moved(tables, crs), *_lengthened(tables, drafts, route_factor)]
    for name, draft in drafts.items():
        found += [*_column_problems(name, draft, route_factor), *_cell_problems(name, draft, route_factor)]
    for problem in check(Twin(tables)):
        if not _follows(problem, broken):
            found.append(_in_file(problem, drafts))
    if not found and not any(len(table) for table in tables.values()):
        found.append(Problem(where, "no table has a row", "fill in the files"))
    if found:
        raise InputError(sorted(found, key=lambda problem: problem.where))
    return Imported(Twin(tables), (), (*assumed, *short_links(Twin(tables))))


def template(folder: Path) -> list[Path]:
    """The files written to `folder`: a CSV with nothing but its header for each table, and README.txt.

    Raises:
        InputError: the folder cannot be written to, or holds some of the files already; nothing is left behind.
    """
    texts = {f"{name}.csv": ",".join(specs) + "\n" for name, specs in schema.tables().items()}
    texts["README.txt"] = _readme()
    made: list[Path] = []
    try:
        if not folder.exists():
            made.append(folder)
            folder.mkdir(parents=True)
        there = {path.name for path in folder.iterdir()}
        _require_new(folder, sorted(there & texts.keys()))
        for name, text in texts.items():
            write_whole(folder / name, text.encode(), made)
    except OSError as error:
        remove(made)
        raise InputError([os_problem(error, folder)]) from error
    return [folder / name for name in texts]


def _require_new(folder: Path, names: Sequence[str]) -> None:
    if names:
        raise InputError.of(str(folder), "files of the template are there already", "choose a new folder", names)


def _readme() -> str:
    parts = [README_HEAD]
    for name, specs in schema.tables().items():
        parts.append(f"\n{name}.csv\n" + "".join(f"  {_readme_line(spec)}\n" for spec in specs.values()))
    return "".join(parts)


def _readme_line(spec: ColumnSpec) -> str:
    kind = f"{spec.dtype}, {spec.unit}" if spec.unit else spec.dtype
    need = "required" if spec.required else f"if absent: {_absent_word(spec.absent)}"
    limits = f"; one of {', '.join(spec.allowed)}" if spec.allowed else ""
    if np.isfinite([spec.low, spec.high]).any():
        limits = f"; {spec.low:g} to {spec.high:g}"
    refers = f"; id of a row of {' or '.join(spec.refers_to)}" if spec.refers_to else ""
    return f"{spec.name} ({kind}; {need}{limits}{refers}): {spec.description}"


def _absent_word(value: Value) -> str:
    if value != value:
        return "unknown"
    return str(value).lower() if isinstance(value, bool) else str(value) or "empty"


def _table_of(source: Source, guesses: Sequence[Guess]) -> str:
    return next((guess.table for guess in guesses if guess.file == source.file), source.stem)


def _moved(tables: dict[str, Table], crs: str) -> Iterator[str]:
    """Move all positions to WGS 84, and say so."""
    for name, table in tables.items():
        if crs != "wgs84" and "lon" in table.columns and len(table):
            lon, lat = to_wgs84(table["lon"], table["lat"], crs)
            tables[name] = table.set(np.arange(len(table)), lon=lon, lat=lat)
            yield f"{counted(len(table), 'position')} of {name} moved from {crs} to WGS 84"


def _lengthened(tables: dict[str, Table], drafts: Mapping[str, _Draft], route_factor: float | None) -> Iterator[str]:
    """Give a length to each link for which the file has none and whose ends are known, and say so."""
    if route_factor is None or not tables.keys() >= {"links", "sites"}:
        return
    links = tables["links"]
    # Rows of a table lie in the order of their ids, those of a draft as in the file.
    order = np.argsort(_named(drafts["links"]), kind="stable")
    told = drafts["links"].cells.get("length_km")
    missing = told.empty[order] if told else np.ones(len(links), bool)
    places = [tables[name] for name in ("sites", "stations") if name in tables]
    ids = tuple(table.columns["id"] for table in places)
    a, b = (resolve(links[end], ids) for end in ("a", "b"))
    rows = np.flatnonzero(missing & (a >= 0) & (b >= 0))
    if len(rows):
        lon, lat = (np.concatenate([table[name] for table in places]) for name in ("lon", "lat"))
        length_km = route_factor * great_circle_km(lon[a[rows]], lat[a[rows]], lon[b[rows]], lat[b[rows]])
        tables["links"] = links.set(rows, length_km=length_km)
        yield assumed_lengths(len(rows), route_factor)


def _add(
    drafts: dict[str, _Draft], source: Source, guesses: Sequence[Guess], problems: list[Problem], broken: set[str]
) -> None:
    """Read one file into `drafts`; what is wrong with its name or columns goes to `problems`."""
    name = _table_of(source, guesses)
    if not name:
        return
    if name not in schema.tables():
        like = table_like(source.stem)
        fix = f"rename it to {like}" if like else "rename it to a table (the template has a file for each)"
        raise InputError.of(source.file, "is named like no table", f"{fix}, or move it away")
    if name in drafts:
        raise InputError.of(source.file, f"{drafts[name].sheet.file} holds the table {name} already", "join the two")
    found = source.sheet()
    targets = {guess.column: guess for guess in guesses}
    names: dict[str, str] = {}
    factors: dict[str, float] = {}
    for column in found.frame.columns:
        known = targets.get(column) or Guess(source.file, column, name, column, 1.0, "same name")
        if known.target and (known.target not in schema.tables()[name] or known.target in names):
            problems.append(_unwanted(source.file, name, known, names))
        elif known.target:
            names[known.target], factors[known.target] = column, known.factor
    specs = schema.tables()[name]
    parsed = {ours: cells(found.frame[theirs], specs[ours], factors[ours]) for ours, theirs in names.items()}
    drafts[name] = _Draft(found, names, parsed)
    if "id" not in parsed:
        broken.add(name)


def _unwanted(file: str, table: str, guess: Guess, names: Mapping[str, str]) -> Problem:
    where = f"{file} {guess.column}"
    if guess.target in names:
        return Problem(where, f"{names[guess.target]} is {guess.target} already", "drop one of the two")
    free = [column for column in schema.tables()[table] if column not in names]
    return Problem(where, "unknown column", f"drop it, or map it to one of {', '.join(free)}")


def _needed(spec: ColumnSpec, route_factor: float | None) -> bool:
    return spec.required and (route_factor is None or spec.where != "links.length_km")


def _column_problems(name: str, draft: _Draft, route_factor: float | None) -> Iterator[Problem]:
    for spec in schema.tables()[name].values():
        if _needed(spec, route_factor) and spec.name not in draft.cells:
            yield Problem(draft.where(spec.name), "required column is missing", f"add it: {spec.description}")


def _cell_problems(name: str, draft: _Draft, route_factor: float | None) -> Iterator[Problem]:
    """What is wrong with single cells, by line: they have no value that a twin could hold."""
    for column, found in draft.cells.items():
        spec, where = schema.column(name, column), draft.where(column)
        faults = [
            (found.bad, f"is not {_KINDS[spec.dtype]}", "correct it, or leave the cell empty where nobody knows"),
            (found.nan, "is nan", "leave the cell empty where nobody knows"),
            (found.empty & _needed(spec, route_factor), EMPTY, f"fill it in: {spec.description}"),
        ]
        for mask, what, fix in faults:
            if mask.any():
                yield Problem(where, what, fix, draft.sheet.labels(mask))


_KINDS = {"text": "text", "float": "a number", "int": "a whole number", "bool": "true or false"}


def _table(name: str, draft: _Draft) -> Table:
    values: dict[str, Array] = {column: found.values for column, found in draft.cells.items()}
    for spec in schema.tables()[name].values():
        if spec.required and spec.name not in values:
            values[spec.name] = np.repeat(np.array(_inside(spec)), draft.sheet.frame.height)
    return Table.of(name, values | {"id": _named(draft)})


def _inside(spec: ColumnSpec) -> bytes | float | int | bool:
    value = harmless(spec)
    return value.encode() if isinstance(value, str) else value


def _named(draft: _Draft) -> Array:
    """The ids, with the line where there is none, so that other faults of the row can be told."""
    ids = draft.cells["id"]
    unnamed = ids.empty | ids.bad
    if not unnamed.any():
        return ids.values
    labels = np.array([label.encode() for label in draft.sheet.labels(unnamed)])
    named = ids.values.astype(np.result_type(ids.values, labels))
    named[unnamed] = labels
    return named


def _follows(problem: Problem, broken: set[str]) -> bool:
    """Whether the problem is only the consequence of another one, which is reported already."""
    table, _, column = problem.where.partition(".")
    if problem.what == NOWHERE:
        return not broken.isdisjoint(schema.column(table, column).refers_to)
    return problem.what == EMPTY


def _in_file(problem: Problem, drafts: Mapping[str, _Draft]) -> Problem:
    table, _, column = problem.where.partition(".")
    return msgspec.structs.replace(problem, where=drafts[table].where(column))


__all__ = ["Guess", "guess", "read", "template"]
