"""One file of a table: its cells as they stand, and the line of each, or every reason why it cannot be read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from karez.errors import InputError, Problem
from karez.twin.store import UNREADABLE, first_line, os_problem
from karez.twin.table import Array

SUFFIXES = (".csv", ".parquet")
_NOTES = (".txt", ".md")
# No row of a table is as long; what is, is no table, and would be held in memory several times over.
LONGEST_LINE_BYTES = 8 * 2**20
LARGEST_CSV_BYTES = 8 * 2**30
_BOM = b"\xef\xbb\xbf"
_REFETCH = "fetch or export it again"


@dataclass(frozen=True)
class Sheet:
    """The cells of a file (text where it is CSV), and what names each of its rows to a person."""

    file: str
    frame: pl.DataFrame
    numbers: Array
    word: str

    def labels(self, mask: Array) -> tuple[str, ...]:
        """The names of the rows for which `mask` holds, such as `line 7`."""
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
    if not found:
        fix = "put files such as sites.csv or links.parquet there; a template of them can be written first"
        raise InputError.of(str(folder), "holds no CSV or Parquet file", fix)
    others = [path for path in entries if path not in found and path.suffix.lower() not in _NOTES]
    return found, [Problem(path.name, "is neither CSV nor Parquet", "convert it, or move it away") for path in others]


def sheet(path: Path) -> Sheet:
    """The cells of one file.

    Raises:
        InputError: the file cannot be opened, is cut off, or is not what its suffix says.
    """
    try:
        if path.suffix.lower() == ".csv":
            _require_lines(path)
        data = path.read_bytes()
    except OSError as error:
        raise InputError([os_problem(error, path)]) from error
    if not data.strip():
        raise InputError.of(path.name, "is empty", "give it at least a line with the names of the columns")
    return _csv(path.name, data) if path.suffix.lower() == ".csv" else _parquet(path.name, data)


def _require_lines(path: Path) -> None:
    """Return only if the file is short enough and made of lines, so that reading it takes the memory it seems to."""
    if path.stat().st_size > LARGEST_CSV_BYTES:
        what = f"is too large ({path.stat().st_size / 2**30:,.1f} GiB; at most {LARGEST_CSV_BYTES >> 30} GiB)"
        raise InputError.of(path.name, what, "give it as Parquet")
    with path.open("rb") as file:
        while len(block := file.read(LONGEST_LINE_BYTES)) == LONGEST_LINE_BYTES:
            if b"\n" not in block:
                what = f"holds a line of more than {LONGEST_LINE_BYTES >> 20} MiB"
                raise InputError.of(path.name, what, "end each row with a line break, or give the table as Parquet")


def _parquet(file: str, data: bytes) -> Sheet:
    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except UNREADABLE as error:
        what = f"cannot be read as Parquet and may be cut off ({first_line(error)})"
        raise InputError.of(file, what, _REFETCH) from error
    return Sheet(file, frame, np.arange(1, frame.height + 1), "row")


def _csv(file: str, data: bytes) -> Sheet:
    data = data.removeprefix(_BOM)
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
    frame = _parsed(file, data, separator, header)
    if _may_have_short_rows(data, separator, frame):
        _require_even_rows(file, data, separator, len(header))
    numbers = _line_numbers(file, data, separator, frame.height)
    blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    return Sheet(file, frame.filter(~blank), numbers[~blank.to_numpy()], "line")


def _unreadable_text(file: str, data: bytes) -> list[Problem]:
    problems = []
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        problems.append(Problem(file, "is not UTF-8", "save it as CSV in UTF-8", _line_of(data, error.start)))
    if b"\0" in data:
        rows = _line_of(data, data.index(b"\0"))
        problems.append(Problem(file, "holds zero bytes", "save it as CSV in UTF-8", rows))
    if data.count(b'"') % 2:
        problems.append(Problem(file, "a quote is opened and never closed; the file looks cut off", _REFETCH))
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
        raise InputError.of(file, f"cannot be read as CSV ({error})", _REFETCH, [f"line {line}"]) from error


def _parsed(file: str, data: bytes, separator: str, header: list[str]) -> pl.DataFrame:
    try:
        frame = pl.read_csv(io.BytesIO(data), separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        _require_even_rows(file, data, separator, len(header))
        raise InputError.of(file, f"cannot be read as CSV ({first_line(error)})", _REFETCH) from error
    frame.columns = [name.strip() for name in header]
    return frame


def _may_have_short_rows(data: bytes, separator: str, frame: pl.DataFrame) -> bool:
    """Whether rows may lack fields at their end: the reader fills these with nulls and says nothing."""
    if not frame[:, -1].null_count():
        return False
    return b'"' in data or data.count(separator.encode()) != (frame.height + 1) * (frame.width - 1)


def _require_even_rows(file: str, data: bytes, separator: str, width: int) -> None:
    uneven = [(line, len(r)) for line, r in _records(file, data, separator) if r and len(r) != width]
    if uneven:
        short = sum(fields < width for _, fields in uneven)
        what = f"lines without {width} fields ({short} too short, {len(uneven) - short} too long)"
        fix = "correct them; where only the last line is short, the file was cut off: fetch it again"
        raise InputError.of(file, what, fix, [f"line {line}" for line, _ in uneven])


def _line_numbers(file: str, data: bytes, separator: str, height: int) -> Array:
    if data.rstrip(b"\r\n").count(b"\n") <= height:
        return np.arange(2, height + 2)
    return np.array([line for line, _ in _records(file, data, separator)][1 : height + 1], dtype=np.int64)
