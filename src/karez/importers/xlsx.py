"""A twin from one XLSX workbook, each sheet a table, read as a stream.

Source: ECMA-376, for the limits of a sheet.
"""

from __future__ import annotations

import datetime
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from karez.errors import InputError, Problem
from karez.importers.guesses import Guess, of_columns, table_like
from karez.importers.networks import ROUTE_FACTOR
from karez.importers.report import REFETCH, Imported, document, extra
from karez.importers.sheets import Sheet, Spoilt
from karez.importers.tables import Source, joined

LAST_ROW = 1_048_576
# What all parts of a workbook may come to when unpacked; a zip of a few kilobytes can hold terabytes.
LARGEST_PARTS_BYTES = 4 * 2**30
BLOCK_BYTES = 2**20
_ROW = re.compile(rb"<(?:\w+:)?row\b[^>]*?\br=[\"'](\d+)[\"']")
# Rows may go without their number.
_ANY_ROW = re.compile(rb"<(?:\w+:)?row[\s/>]")
_DTD = tuple(mark.encode(code) for mark in ("<!DOCTYPE", "<!ENTITY") for code in ("utf-8", "utf-16-le", "utf-16-be"))
_ERRORS = ("#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#N/A", "#NULL!", "#NUM!", "#SPILL!", "#CALC!", "#GETTING_DATA")
_NOTES = ("readme", "notes", "note", "about", "legend")
_LARGER = "give a folder of CSV or Parquet files, which have no limit"


def read(
    source: Path, guesses: Sequence[Guess] = (), *, crs: str = "wgs84", route_factor: float | None = ROUTE_FACTOR
) -> Imported:
    """The twin that the sheets of a workbook describe; names and columns are as those of a folder of tables.

    Raises:
        InputError: the workbook cannot be read, or everything that is wrong with its sheets, columns and cells.
    """
    return joined(source.name, sources(source), guesses, crs=crs, route_factor=route_factor)


def guess(source: Path) -> list[Guess]:
    """A guess for each column of each sheet.

    Raises:
        InputError: the workbook or some of its sheets cannot be read: all of them.
    """
    found: list[Guess] = []
    problems: list[Problem] = []
    for each in sources(source):
        try:
            found += of_columns(each.file, each.sheet().frame.columns, table_like(each.stem))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return found


def sources(path: Path) -> list[Source]:
    """The sheets that may hold a table: those that are not empty and not called like notes.

    Raises:
        InputError: the file is no workbook, is cut off, or unpacks to more than a workbook can be.
    """
    document(path)
    _require_sound(path)
    openpyxl = extra("openpyxl")
    try:
        with path.open("rb") as file:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            sheets = {str(sheet.title): _rows(sheet) for sheet in book.worksheets}
    except _BROKEN as error:
        raise InputError.of(path.name, f"is no XLSX workbook ({error})", f"if it is cut off, {REFETCH}") from error
    except SyntaxError as error:
        raise InputError.of(path.name, f"holds a sheet that is no XML ({error})", REFETCH) from error
    kept = {title: rows for title, rows in sheets.items() if rows and title.strip().lower() not in _NOTES}
    if not kept:
        raise InputError.of(
            path.name, "holds no sheet with a row", "put a table in each sheet, and its name on the tab"
        )
    return [
        Source(f"{path.name} {title}", title.strip(), partial(_sheet, f"{path.name} {title}", rows))
        for title, rows in kept.items()
    ]


_BROKEN = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, EOFError, TypeError, AttributeError)
_Row = tuple[int, tuple[Any, ...]]


def _require_sound(path: Path) -> None:
    """Read every part of the zip once as a stream: whole, without document types, of an acceptable size."""
    unpacked = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for part in archive.infolist():
                with archive.open(part) as file:
                    last_row, rows, tail = 0, 0, b""
                    while block := file.read(BLOCK_BYTES):
                        unpacked += len(block)
                        seen = tail + block
                        _refuse_bomb(path.name, seen, unpacked)
                        if part.filename.startswith("xl/worksheets/"):
                            rows += len(_ANY_ROW.findall(seen)) - len(_ANY_ROW.findall(tail))
                            last_row = max([last_row, rows, *map(int, _ROW.findall(seen))])
                        tail = block[-256:]
                    _refuse_full(path.name, part.filename, last_row)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError.of(path.name, f"is no XLSX workbook ({error})", f"if it is cut off, {REFETCH}") from error


def _refuse_bomb(file: str, block: bytes, unpacked: int) -> None:
    if any(mark in block for mark in _DTD):
        raise InputError.of(file, "declares a document type, which no workbook has", "export it again")
    if unpacked > LARGEST_PARTS_BYTES:
        raise InputError.of(file, f"unpacks to more than {LARGEST_PARTS_BYTES >> 30} GiB", _LARGER)


def _refuse_full(file: str, part: str, last_row: int) -> None:
    sheet = Path(part).stem
    if last_row > LAST_ROW:
        raise InputError.of(file, f"{sheet} has a row {last_row:,}; XLSX ends at {LAST_ROW:,}", _LARGER)
    if last_row == LAST_ROW:
        what = f"{sheet} is full to the last row that XLSX has ({LAST_ROW:,}); what came after it may have been cut off"
        raise InputError.of(file, what, _LARGER)


def _rows(sheet: Any) -> list[_Row]:
    """The rows that hold anything, each with its number."""
    return [
        (number, row)
        for number, row in enumerate(sheet.iter_rows(values_only=True), 1)
        if any(value is not None and value != "" for value in row)
    ]


def _sheet(file: str, rows: Sequence[_Row]) -> Sheet:
    (_, header), *body = rows
    names = [_text(value) or "" for value in header]
    while names and not names[-1]:
        names.pop()
    names = [name.strip() for name in names]
    _require_header(file, names)
    columns = [[_text(row[at]) if at < len(row) else None for _, row in body] for at in range(len(names))]
    frame = pl.DataFrame([pl.Series(n, c, dtype=pl.String) for n, c in zip(names, columns, strict=True)])
    numbers = np.array([number for number, _ in body], dtype=np.int64)
    return Sheet(file, frame, numbers, "row", tuple(_spoilt(names, body)))


def _require_header(file: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1 and name})
    problems = (
        [Problem(file, f"names a column twice: {', '.join(twice)}", "rename or drop one of them")] if twice else []
    )
    if "" in names:
        problems.append(Problem(file, "has a column without a name", "name it in the first row, or drop it"))
    if problems:
        raise InputError(problems)


def _spoilt(names: Sequence[str], body: Sequence[_Row]) -> Iterator[Spoilt]:
    """The rows that hold what is no value, or what no column is for."""
    wide = [any(value not in (None, "") for value in row[len(names) :]) for _, row in body]
    yield Spoilt(
        np.array(wide, bool), "has cells right of the last column", "name the column in the first row, or clear them"
    )
    wrong = [any(value in _ERRORS for value in row if isinstance(value, str)) for _, row in body]
    yield Spoilt(np.array(wrong, bool), "holds an error of the spreadsheet", "correct its formula")


def _text(value: Any) -> str | None:
    """A cell as a CSV would have it."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)
