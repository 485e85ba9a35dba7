"""A twin from a folder of tables, one CSV or Parquet file each, and the template of such a folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from karez.errors import InputError, Problem
from karez.importers import sift
from karez.importers.cells import Cells, cells, harmless
from karez.importers.crs import to_wgs84
from karez.importers.guesses import Guess, guess, table_like
from karez.importers.networks import assumed_lengths
from karez.importers.report import FOLLOWS, Dropped, Imported, causes, counted, grouped
from karez.importers.sheets import Sheet, files, sheet
from karez.importers.sift import Fault
from karez.twin import schema
from karez.twin.check import DUPLICATE, EMPTY
from karez.twin.geo import great_circle_km
from karez.twin.schema import ColumnSpec, Value
from karez.twin.store import os_problem, remove, write_whole
from karez.twin.table import Array, Table, resolve, text
from karez.twin.twin import Twin

README_HEAD = """Fill in the tables you have and delete the files of those you have not.

Each table is a CSV file in UTF-8 whose first line names its columns; their order is free. Parquet files with the same
names are read as well. Leave a cell empty where nobody knows the value: never write nan, 0 or -. Ids are text of any
kind; a column that refers to another table holds ids of its rows. Units are those named here. Tables whose names end in
_states hold what was observed; where one has no row, all of it counts as intended, idle and up, and answers say so.
"""


@dataclass(frozen=True)
class _Draft:
    """A table on its way in: its cells by column, and what each column is called in its file.

    Row numbers are those of the table, whose rows lie in the order of their ids; `order` has their place in the file.
    """

    sheet: Sheet
    names: Mapping[str, str]
    cells: Mapping[str, Cells]

    @cached_property
    def order(self) -> Array:
        return np.argsort(_named(self), kind="stable")

    def where(self, column: str) -> str:
        return f"{self.sheet.file} {self.names.get(column, column)}"

    def filled(self) -> Array:
        """How many cells of each row are filled."""
        filled = np.zeros(len(self.order), np.int64)
        for found in self.cells.values():
            filled += ~found.empty
        ordered: Array = filled[self.order]
        return ordered

    def spoilt(self) -> list[Fault]:
        """The rows that cannot be taken apart into cells."""
        return [Fault("", s.what, s.fix, self._rows(s.rows)) for s in self.sheet.spoilt if s.rows.any()]

    def faults(self, table: str, route_factor: float | None) -> list[Fault]:
        """What is wrong with single cells: they have no value that a twin could hold."""
        faults = []
        for column, found in self.cells.items():
            spec = schema.column(table, column)
            masks = [
                (found.bad, f"is not {_KINDS[spec.dtype]}", f"correct it, or {_UNKNOWN}"),
                (found.comma, "has a comma in its number", "write a decimal point and nothing else: 1234.5"),
                (found.nan, "is nan", _UNKNOWN),
                (found.empty & _needed(spec, route_factor), EMPTY, f"fill it in: {spec.description}"),
            ]
            faults += [Fault(column, what, fix, self._rows(mask)) for mask, what, fix in masks if mask.any()]
        return faults

    def dropped(self, fault: Fault, table: Table) -> list[Dropped]:
        """What is told of each of the faulty rows, in the order of the file."""
        rows = fault.rows[np.argsort(self.order[fault.rows])]
        labels = self.sheet.labels(self.order[rows])
        ids = [text(value) for value in table.ids[rows].tolist()]
        column = self.names.get(fault.column, fault.column)
        named = (label if label == name else f"{label} ({name})" for label, name in zip(labels, ids, strict=True))
        return [Dropped(self.sheet.file, name, fault.what, column, fault.fix) for name in named]

    def _rows(self, mask: Array) -> Array:
        return np.flatnonzero(mask[self.order])


@dataclass(frozen=True)
class Source:
    """What may hold a table: how messages call it, its name without a suffix, and how its cells are got."""

    file: str
    stem: str
    sheet: Callable[[], Sheet]


def read(folder: Path, guesses: Sequence[Guess] = ()) -> Twin:
    """The twin that the files in `folder` describe, whole; `guesses` says what foreign files and columns are.

    Files and columns that no guess speaks of must be called what the schema calls them.

    Raises:
        InputError: everything that is wrong with the folder, its files, columns, cells and references.
    """
    sources, problems = sources_in(folder)
    found = joined(str(folder), sources, guesses, problems=problems)
    if found.dropped:
        raise InputError(told(found.dropped))
    return found.twin


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
    """The twin of all rows of `sources` that can be used, those that cannot, and what was assumed.

    With a `route_factor`, links whose length nobody told get the great circle between their ends times it.

    Raises:
        InputError: `problems`, what is wrong with whole sources or columns, or most rows of a table cannot be used:
            then with everything that is wrong with the rows as well.
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
    for name, draft in drafts.items():
        found += _column_problems(name, draft, route_factor)
    sifted = _Sifted(crs, route_factor)
    for name in schema.tables():
        if name in drafts and name not in broken:
            sifted.add(name, drafts[name], broken)
    if not found and not any(len(table) for table in sifted.came.values()):
        found.append(Problem(where, "no table has a row", "fill in the files"))
    found += sifted.lost
    if found or sifted.orphaned:
        first = sorted(found, key=lambda problem: problem.where)
        raise InputError([*first, *told(sifted.dropped), *([] if found else sifted.orphaned)])
    assumed = [note for draft in drafts.values() for note in draft.sheet.notes] + sifted.assumed()
    return Imported(sifted.sound, tuple(sifted.dropped), tuple(assumed), len(sifted.dropped) - sifted.rows)


def told(dropped: Sequence[Dropped]) -> list[Problem]:
    """What is wrong with dropped rows, by place; those that only follow from others are not told."""
    return sorted(grouped(causes(dropped)), key=lambda problem: problem.where)


@dataclass
class _Sifted:
    """The rows that came, table by table, those of them that are sound, and those that are not."""

    crs: str
    route_factor: float | None
    came: dict[str, Table] = field(default_factory=dict)
    sound: Twin = field(default_factory=Twin)
    dropped: list[Dropped] = field(default_factory=list)
    lost: list[Problem] = field(default_factory=list)
    orphaned: list[Problem] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    lengths: int = 0
    rows: int = 0

    def add(self, name: str, draft: _Draft, unread: Collection[str]) -> None:
        """Sift a table; all that it refers to are added already."""
        table, added = self._completed(_table(name, draft), draft)
        found = self._faults(table, draft, unread)
        keep = np.ones(len(table), bool)
        for fault in found:
            keep[fault.rows] = False
            self.dropped += draft.dropped(fault, table)
        kept = int(np.count_nonzero(keep))
        self.rows += len(table) - kept
        if kept * 2 < len(table):
            wrong = np.unique(np.concatenate([fault.rows for fault in found if fault.what != FOLLOWS]))
            self._lose(draft.sheet.file, len(table), len(wrong), len(table) - kept)
        self.came[name] = table
        self.sound = self.sound.replace(table if keep.all() else table.take(keep))
        self.lengths += int(np.count_nonzero(keep[added]))
        if self.crs != "wgs84" and "lon" in table.columns and len(table):
            self.moved.append(f"{counted(kept, 'position')} of {name} moved from {self.crs} to WGS 84")

    def _lose(self, file: str, rows: int, wrong: int, dropped: int) -> None:
        """Note a table of which most rows are lost: then the table is to be seen to, or what it refers to."""
        if wrong * 2 > rows:
            what = f"{wrong:,} of its {rows:,} rows cannot be used"
            self.lost.append(Problem(file, what, "see to its columns and units first, then to the rows"))
        else:
            what = f"{dropped:,} of its {rows:,} rows cannot be used or refer to rows that cannot"
            self.orphaned.append(Problem(file, what, "correct the rows that it refers to"))

    def assumed(self) -> list[str]:
        """What no file says, in words."""
        lengths = [assumed_lengths(self.lengths, self.route_factor)] if self.lengths and self.route_factor else []
        return [*self.moved, *lengths]

    def _faults(self, table: Table, draft: _Draft, unread: Collection[str]) -> list[Fault]:
        spoilt = draft.spoilt()
        checked = [fault for fault in sift.faults(table, self.sound, self.came, unread) if fault.what != EMPTY]
        own = [*draft.faults(table.name, self.route_factor), *checked]
        marred = np.zeros(len(table), bool)
        for fault in spoilt:
            marred[fault.rows] = True
        seen = [replace(fault, rows=fault.rows[~marred[fault.rows]]) for fault in own]
        found = [*spoilt, *(fault for fault in seen if len(fault.rows))]
        for fault in found:
            marred[fault.rows] = True
        again = sift.repeats(table, marred, draft.filled())
        return [*found, Fault("id", DUPLICATE, "keep one of them, or give each its own id", again)]

    def _completed(self, table: Table, draft: _Draft) -> tuple[Table, Array]:
        """The table with positions in WGS 84 and with the lengths that nobody told, and the rows that have those."""
        if self.crs != "wgs84" and "lon" in table.columns:
            # A position of another kind stays as it is, to be told.
            rows = np.flatnonzero((np.abs(table["lon"]) <= 180) & (np.abs(table["lat"]) <= 90))
            lon, lat = to_wgs84(table["lon"][rows], table["lat"][rows], self.crs)
            table = table.set(rows, lon=lon, lat=lat)
        if self.route_factor is None or table.name != "links":
            return table, np.zeros(0, np.int64)
        places = [self.sound[name] for name in ("sites", "stations")]
        ids = tuple(place.columns["id"] for place in places)
        a, b = (resolve(table[end], ids) for end in ("a", "b"))
        length_told = draft.cells.get("length_km")
        missing = length_told.empty[draft.order] if length_told else np.ones(len(table), bool)
        rows = np.flatnonzero(missing & (a >= 0) & (b >= 0))
        lon, lat = (np.concatenate([place[name] for place in places]) for name in ("lon", "lat"))
        length_km = self.route_factor * great_circle_km(lon[a[rows]], lat[a[rows]], lon[b[rows]], lat[b[rows]])
        return table.set(rows, length_km=length_km), rows


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


_KINDS = {"text": "text", "float": "a number", "int": "a whole number", "bool": "true or false"}
_UNKNOWN = "leave the cell empty where nobody knows"


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


__all__ = ["Guess", "guess", "read", "template"]
