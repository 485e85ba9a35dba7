"""One file of a table: its cells as they stand, and the line of each, or every reason why it cannot be read."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from karez.errors import InputError, Problem
from karez.importers.report import REFETCH, regular_bytes
from karez.twin.store import UNREADABLE, first_line, os_problem
from karez.twin.table import Array

SUFFIXES = (".csv", ".parquet")
_NOTES = (".txt", ".md")
# No row of a table is as long; what is, is no table, and would be held in memory several times over.
LONGEST_LINE_BYTES = 8 * 2**20
LARGEST_CSV_BYTES = 8 * 2**30
# A few bytes of Parquet can repeat a value without end.
LARGEST_ROWS = 10**8
# What programs of offices put before text in two or four bytes a letter; the longer marks first.
_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_SAVE = "save it as CSV in UTF-8"
_HEADER = "give it at least a line with the names of the columns"
_EVEN = "put cells that hold the separator in quotes, and write decimal points, not commas"


@dataclass(frozen=True)
class Spoilt:
    """Rows (one bool each) whose cells cannot be told apart or hold no values, why, and what to do."""

    rows: Array
    what: str
    fix: str


@dataclass(frozen=True)
class Sheet:
    """The cells of a file (text where it is CSV), what names each of its rows to a person, and the rows that it spoils.

    `notes` says what was assumed to read it.
    """

    file: str
    frame: pl.DataFrame
    numbers: Array
    word: str
    spoilt: tuple[Spoilt, ...] = ()
    notes: tuple[str, ...] = ()

    def labels(self, mask: Array) -> tuple[str, ...]:
        """The names of the rows for which `mask` holds (or of these row numbers), such as `line 7`."""
        return tuple(f"{self.word} {number}" for number in self.numbers[mask].tolist())


def files(folder: Path) -> tuple[list[Path], list[Problem]]:
    """The table files in `folder` by name, and a problem for everything else that is not a note or hidden.

    Raises:
        InputError: the folder cannot be read, or holds no table file.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError([os_problem(error, folder)]) from error
    found = [path for path in entries if path.suffix.lower() in SUFFIXES and not path.is_dir()]
    others = [path for path in entries if path not in found and path.suffix.lower() not in _NOTES]
    unwanted = [_unwanted(path) for path in others]
    if not found:
        fix = "put files such as sites.csv or links.parquet there; a template of them can be written first"
        raise InputError([Problem(str(folder), "holds no CSV or Parquet file", fix), *unwanted])
    return found, unwanted


def _unwanted(path: Path) -> Problem:
    if path.is_dir():
        return Problem(path.name, "is a folder", "put its files beside the others, or move it away")
    return Problem(path.name, "is neither CSV nor Parquet", "convert it, or move it away")


def sheet(path: Path) -> Sheet:
    """The cells of one file.

    Raises:
        InputError: the file cannot be opened, is cut off, or is not what its suffix says.
    """
    try:
        size = regular_bytes(path)
        if not size:
            raise InputError.of(path.name, "is empty", _HEADER)
        return _csv(path.name, _lines(path, size)) if path.suffix.lower() == ".csv" else _parquet(path)
    except OSError as error:
        raise InputError([os_problem(error, path)]) from error


def _lines(path: Path, size: int) -> bytes:
    """All of a file that is short enough and made of lines, so that reading it takes the memory it seems to."""
    if size > LARGEST_CSV_BYTES:
        what = f"is too large ({size / 2**30:,.1f} GiB; at most {LARGEST_CSV_BYTES >> 30} GiB)"
        raise InputError.of(path.name, what, "give it as Parquet")
    with path.open("rb") as file:
        while len(block := file.read(LONGEST_LINE_BYTES)) == LONGEST_LINE_BYTES:
            if b"\n" not in block:
                what = f"holds a line of more than {LONGEST_LINE_BYTES >> 20} MiB"
                raise InputError.of(path.name, what, "end each row with a line break, or give the table as Parquet")
    data = path.read_bytes()
    if not data.strip():
        raise InputError.of(path.name, "is empty", _HEADER)
    return data


def _parquet(path: Path) -> Sheet:
    try:
        path.open("rb").close()
        rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
        if rows > LARGEST_ROWS:
            raise InputError.of(
                path.name, f"says that it has {rows:,} rows (at most {LARGEST_ROWS:,})", "split the network"
            )
        frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
    except UNREADABLE as error:
        what = f"cannot be read as Parquet and may be cut off ({first_line(error)})"
        raise InputError.of(path.name, what, REFETCH) from error
    return Sheet(path.name, frame, np.arange(1, frame.height + 1), "row")


def _csv(file: str, data: bytes) -> Sheet:
    data, notes = _in_utf8(file, data)
    problems = _unreadable_text(file, data)
    if problems:
        raise InputError(problems)
    first = data.partition(b"\n")[0]
    if not first.strip():
        raise InputError.of(file, "has no header", "name the columns on the first line", ["line 1"])
    separator = max(",;\t", key=first.decode().count)
    header = next(_records(file, data if b'"' in first else first, separator))[1]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError.of(file, f"names a column twice: {', '.join(twice)}", "rename or drop one of them")
    frame, uneven = _parsed(file, data, separator, header)
    numbers = _line_numbers(file, data, separator, frame.height)
    full = ~frame.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()
    numbers = numbers[full]
    spoilt = tuple(Spoilt(np.isin(numbers, lines), what, _EVEN) for what, lines in uneven.items())
    return Sheet(file, frame.filter(full), numbers, "line", spoilt, notes)


def _in_utf8(file: str, data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Text in UTF-8 without its mark, and what was assumed of its encoding: programs of many offices write others.

    Raises:
        InputError: it is in none of the encodings that can be told.
    """
    wide = next((code for mark, code in _MARKS.items() if data.startswith(mark)), "")
    try:
        if not wide:
            data.decode("utf-8")
            return data.removeprefix(codecs.BOM_UTF8), ()
        text, name = data.decode(wide), wide.upper()
    except UnicodeDecodeError as error:
        if wide or _mostly_utf8(data):
            raise InputError.of(
                file, f"is not {wide.upper() or 'UTF-8'}", _SAVE, _line_of(data, error.start)
            ) from error
        text, name = _in_gb18030(file, data, error.start), "GB18030"
    return text.removeprefix("\ufeff").encode(), (f"encoding of {file}: {name}",)


def _mostly_utf8(data: bytes) -> bool:
    """Whether more letters are in UTF-8 than are not: then it is damaged, and no other encoding."""
    text = data.decode("utf-8", errors="replace")
    plain = int(np.count_nonzero(np.frombuffer(data, np.uint8) < 0x80))
    return len(text) - plain > 2 * text.count("\ufffd")


def _in_gb18030(file: str, data: bytes, start: int) -> str:
    try:
        return data.decode("gb18030")
    except UnicodeDecodeError as error:
        raise InputError.of(file, "is neither UTF-8 nor GB18030", _SAVE, _line_of(data, start)) from error


def _unreadable_text(file: str, data: bytes) -> list[Problem]:
    problems = []
    if b"\0" in data:
        rows = _line_of(data, data.index(b"\0"))
        problems.append(Problem(file, "holds zero bytes", _SAVE, rows))
    if data.count(b'"') % 2:
        fix = f"{REFETCH}; a quote within a cell is written twice"
        problems.append(Problem(file, "a quote is opened and never closed; the file looks cut off", fix))
    return problems


def _line_of(data: bytes, position: int) -> tuple[str]:
    line = data.count(b"\n", 0, position) + 1
    return (f"line {line}",)


def _records(file: str, data: bytes, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it begins on."""
    reader = csv.reader(io.StringIO(data.decode("utf-8"), newline=""), delimiter=separator)
    line = 1
    try:
        for record in reader:
            yield line, record
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError.of(file, f"cannot be read as CSV ({error})", REFETCH, [f"line {line}"]) from error


def _parsed(file: str, data: bytes, separator: str, header: list[str]) -> tuple[pl.DataFrame, dict[str, list[int]]]:
    """The cells, and the lines that have more or fewer of them than the header, by what is wrong."""
    read = partial(pl.read_csv, separator=separator, infer_schema=False)
    uneven: dict[str, list[int]] = {}
    try:
        frame = read(io.BytesIO(data))
        if _may_have_short_rows(data, separator, frame):
            uneven = _uneven_rows(file, data, separator, len(header))
    except pl.exceptions.PolarsError as error:
        uneven = _uneven_rows(file, data, separator, len(header))
        if not uneven:
            raise InputError.of(file, f"cannot be read as CSV ({first_line(error)})", REFETCH) from error
        frame = read(io.BytesIO(data), truncate_ragged_lines=True)
    frame.columns = [name.strip() for name in header]
    return frame, uneven


def _may_have_short_rows(data: bytes, separator: str, frame: pl.DataFrame) -> bool:
    """Whether rows may lack fields at their end: the reader fills these with nulls and says nothing."""
    if not frame[:, -1].null_count():
        return False
    return b'"' in data or data.count(separator.encode()) != (frame.height + 1) * (frame.width - 1)


def _uneven_rows(file: str, data: bytes, separator: str, width: int) -> dict[str, list[int]]:
    """The lines that are too short or too long, by what is wrong with them.

    Raises:
        InputError: the last one is too short: nobody knows how many are missing after it.
    """
    uneven: dict[str, list[int]] = {}
    last = (0, width)
    for line, record in _records(file, data, separator):
        last = (line, len(record)) if record else last
        if record and len(record) != width:
            kind = "fewer" if len(record) < width else "more"
            uneven.setdefault(f"has {kind} than the {width} fields of the header", []).append(line)
    if last[1] < width:
        what = f"ends within a line ({last[1]} of {width} fields): the file was cut off"
        raise InputError.of(file, what, REFETCH, [f"line {last[0]}"])
    return uneven


def _line_numbers(file: str, data: bytes, separator: str, height: int) -> Array:
    if data.rstrip(b"\r\n").count(b"\n") <= height:
        return np.arange(2, height + 2)
    return np.array([line for line, _ in _records(file, data, separator)][1 : height + 1], dtype=np.int64)
