"""Checks of a twin: every fault there is, by column and kind, with the ids of the rows that have it.

`check` and `check_rows` run the same tests; they differ only in how they take the values, all rows or a few.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

from karez.errors import Problem
from karez.twin import schema
from karez.twin.geo import great_circle_km
from karez.twin.schema import ColumnSpec
from karez.twin.table import BLOCK_ROWS, MISSING, Array, Table, resolve, tested, text
from karez.twin.twin import Twin, World

FAR_KM = 500.0
# A degree of latitude, and the most that one of longitude can be.
KM_PER_DEGREE = 111.4
EMPTY = "is empty"
NAN = "is not a number (nan)"
NOWHERE = "points at a row that does not exist"
DUPLICATE = "the same id stands in several rows"
SAME_ENDS = "both ends are the same"
NEVER_VALID = "ends before it begins"
SWAPPED = "lon and lat look swapped"
NO_ID = "(no id)"

Tables = Twin | World


def check(twin: Tables) -> list[Problem]:
    """Every problem of a twin (or of a world, whose states refer to what is intended), with row ids; empty if sound."""
    return [
        problem
        for name, specs in schema.tables().items()
        if len(twin[name])
        for problem in _problems(_View(twin, twin[name], None), specs)
    ]


def check_rows(twin: Tables, table: str, rows: Array, columns: Collection[str] | None = None) -> list[Problem]:
    """The problems of some rows (int64) of one table, in some columns (default: all), at a cost of `rows` only.

    What other rows make of these, such as stations that refer to a changed metro, is not looked at.
    """
    view = _View(twin, twin[table], np.unique(rows))
    return _problems(view, schema.tables()[table] if columns is None else columns) if len(rows) else []


@dataclass(frozen=True)
class _View:
    """All rows of a table (`rows` is None), or some in ascending order."""

    twin: Tables
    table: Table
    rows: Array | None

    def __getitem__(self, name: str) -> Array:
        column = self.table.columns[name]
        return column.array if self.rows is None else column.at(self.rows)

    def targets(self, spec: ColumnSpec) -> Array:
        ids = tuple(self.twin[name].columns["id"] for name in spec.refers_to)
        column = self.table.columns[spec.name]
        return column.resolve(ids) if self.rows is None else resolve(column.at(self.rows), ids)

    def tested(self, name: str, test: Callable[[Array], Array]) -> Array:
        """`test` of each value of a column, as `Column.tested` has it."""
        column = self.table.columns[name]
        return column.tested(test) if self.rows is None else tested(column.at(self.rows), test)


@dataclass(frozen=True)
class _Fault:
    where: str
    what: str
    fix: str
    rows: Array


def _problems(view: _View, columns: Collection[str]) -> list[Problem]:
    specs = schema.tables()[view.table.name]
    faults = [fault for name in columns for fault in _column_faults(view, specs[name])]
    for needed, test in ROW_TESTS:
        if needed <= specs.keys() and not needed.isdisjoint(columns):
            faults += test(view)
    return [Problem(f.where, f.what, f.fix, _names(view["id"][f.rows])) for f in faults if f.rows.any()]


def _names(ids: Array) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text(value) or NO_ID for value in ids.tolist()))


def _column_faults(view: _View, spec: ColumnSpec) -> Iterator[_Fault]:
    if spec.dtype == "text":
        yield from _text_faults(view, spec)
    if spec.dtype in ("float", "int"):
        yield from _number_faults(view, spec)
    if spec.refers_to:
        fix = f"add the row to {' or '.join(spec.refers_to)}, or correct the reference"
        yield _Fault(spec.where, NOWHERE, fix, tested(view.targets(spec), lambda some: some == MISSING))
    if spec.name == "id":
        yield _Fault(spec.where, DUPLICATE, "keep one of them, or give each its own id", _repeated(view))


def _text_faults(view: _View, spec: ColumnSpec) -> Iterator[_Fault]:
    empty = view.tested(spec.name, lambda some: some == b"")
    if spec.required:
        yield _Fault(spec.where, EMPTY, f"fill it in: {spec.description}", empty)
    if spec.allowed:
        words = [word.encode() for word in spec.allowed]
        unknown = view.tested(spec.name, lambda some: ~np.logical_or.reduce([some == word for word in words]))
        unknown = unknown & ~empty if spec.required and unknown.any() else unknown
        yield _Fault(spec.where, f"is none of {', '.join(spec.allowed)}", "use one of these words", unknown)


def _number_faults(view: _View, spec: ColumnSpec) -> Iterator[_Fault]:
    if spec.dtype == "float" and not _may_be_unknown(spec):
        yield _Fault(spec.where, NAN, "give its value", view.tested(spec.name, np.isnan))
    if np.isfinite([spec.low, spec.high]).any():
        outside = view.tested(spec.name, lambda some: (some < spec.low) | (some > spec.high))
        unit = f" {spec.unit}" if spec.unit else ""
        what = f"is outside {spec.low:g} to {spec.high:g}{unit}"
        yield _Fault(spec.where, what, "correct the value, or its unit", outside)


def _may_be_unknown(spec: ColumnSpec) -> bool:
    return spec.absent != spec.absent


def _repeated(view: _View) -> Array:
    """Whether a neighbour has the same id: rows lie in the order of their ids."""
    column, ids = view.table.columns["id"], view["id"]
    if view.rows is None:
        return _same_as_beside(ids)
    rows, last = view.rows, column.length - 1
    before = (column.at(np.maximum(rows - 1, 0)) == ids) & (rows > 0)
    after = (column.at(np.minimum(rows + 1, last)) == ids) & (rows < last)
    repeated: Array = before | after
    return repeated


def _same_as_beside(ids: Array) -> Array:
    found = np.zeros(len(ids), bool)
    for some in _blocks(len(ids) - 1):
        same = np.flatnonzero(ids[some] == ids[some.start + 1 : some.stop + 1]) + some.start
        found[same] = found[same + 1] = True
    return found


def _blocks(length: int) -> Iterator[slice]:
    """All rows, so few at once that what is computed on the way stays near the processor."""
    return (slice(start, min(start + BLOCK_ROWS, length)) for start in range(0, length, BLOCK_ROWS))


def _same_ends(view: _View) -> Iterator[_Fault]:
    if view.table.name == "links":
        a = view["a"]
        yield _Fault("links.b", SAME_ENDS, "name the other end, or drop the link", _equal(a, view["b"]))


def _equal(a: Array, b: Array) -> Array:
    """Whether two texts are the same, and not empty."""
    found = np.empty(len(a), bool)
    for some in _blocks(len(a)):
        found[some] = (a[some] == b[some]) & (a[some] != b"")
    return found


def _never_valid(view: _View) -> Iterator[_Fault]:
    where = f"{view.table.name}.valid_to_s"
    never = view["valid_from_s"] >= view["valid_to_s"]
    yield _Fault(where, NEVER_VALID, "make valid_from_s smaller than valid_to_s", never)


def _swapped(view: _View) -> Iterator[_Fault]:
    lon, lat = view["lon"], view["lat"]
    metro = view.targets(schema.column(view.table.name, "metro")) if "metro" in view.table.columns else None
    found = np.empty(len(lon), bool)
    for some in _blocks(len(lon)):
        found[some] = (np.abs(lat[some]) > 90) & (np.abs(lon[some]) <= 90)
        if metro is not None and len(view.twin["metros"]):
            found[some] |= _near_when_swapped(view.twin["metros"], metro[some], lon[some], lat[some])
    where = f"{view.table.name}.lon"
    yield _Fault(where, SWAPPED, "exchange the two columns (lon is the longitude, lat the latitude)", found)


def _near_when_swapped(metros: Table, metro: Array, lon: Array, lat: Array) -> Array:
    """Whether a row is far from its metro (a row each), and would be near it with its coordinates exchanged."""
    at = np.maximum(metro, 0)
    centre_lon, centre_lat = metros["lon"][at], metros["lat"][at]
    # Most rows are so near in degrees already that nothing needs to be measured.
    with np.errstate(invalid="ignore"):
        away = ~(np.abs(lon - centre_lon) + np.abs(lat - centre_lat) <= FAR_KM / KM_PER_DEGREE)
    found = np.flatnonzero(away & (metro >= 0))
    centre_lon, centre_lat = centre_lon[found], centre_lat[found]
    far = great_circle_km(lon[found], lat[found], centre_lon, centre_lat) > FAR_KM
    found, centre_lon, centre_lat = found[far], centre_lon[far], centre_lat[far]
    near = np.zeros(len(metro), bool)
    near[found] = great_circle_km(lat[found], lon[found], centre_lon, centre_lat) <= FAR_KM
    return near


# The columns that a test of whole rows looks at -> the test.
ROW_TESTS: tuple[tuple[frozenset[str], Callable[[_View], Iterator[_Fault]]], ...] = (
    (frozenset({"a", "b"}), _same_ends),
    (frozenset({"valid_from_s", "valid_to_s"}), _never_valid),
    (frozenset({"lon", "lat"}), _swapped),
)
