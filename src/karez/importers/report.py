"""What an import gives back: the twin, every row that was dropped and why, and what was assumed where a file is silent.

It also holds what readers of documents share at their border: sizes, words for bad files, and libraries of the extra.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from karez.errors import InputError, Problem
from karez.twin.store import os_problem
from karez.twin.twin import Twin

# A document is held in memory as a whole, at several times the size of its file.
LARGEST_DOCUMENT_BYTES = 256 * 2**20
REFETCH = "fetch or export it again"
# Why a row is dropped that is sound itself.
FOLLOWS = "refers to a row that was dropped"
OR_WITHOUT = "correct them, or do without"


class Dropped(msgspec.Struct, frozen=True, order=True):
    """One reason why a row is not in the twin: its file or part of one, what names it there, why, and what to do.

    A row with several faults has several reasons. `column` is the one at fault, where it is a single one.
    """

    where: str
    row: str
    why: str
    column: str = ""
    fix: str = OR_WITHOUT


@dataclass(frozen=True)
class Imported:
    """A twin that passes every check, the rows that are not in it, and in words what no file said.

    `further` of the reasons for dropping are of rows that have one already.
    """

    twin: Twin
    dropped: tuple[Dropped, ...] = ()
    assumed: tuple[str, ...] = ()
    further: int = 0

    @property
    def rows_dropped(self) -> int:
        """How many rows were dropped, each for one reason or more."""
        return len(self.dropped) - self.further


def grouped(dropped: Iterable[Dropped]) -> list[Problem]:
    """The dropped rows as problems, one for each place and reason, in their order."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for each in dropped:
        rows.setdefault((f"{each.where} {each.column}".rstrip(), each.why, each.fix), []).append(each.row)
    return [Problem(where, why, fix, tuple(found)) for (where, why, fix), found in rows.items()]


def causes(dropped: Sequence[Dropped]) -> Sequence[Dropped]:
    """The rows that are wrong themselves; where there is none, those that only refer to what is missing."""
    return [each for each in dropped if each.why != FOLLOWS] or dropped


def counted(number: int, thing: str) -> str:
    """So many things, in the singular where there is one."""
    return f"{number:,} {thing if number == 1 else thing + 's'}"


def document(path: Path, *, largest_bytes: int = LARGEST_DOCUMENT_BYTES) -> bytes:
    """All bytes of a file that is to be read as one document.

    Raises:
        InputError: it is missing, a folder, empty, closed to us, or larger than `largest_bytes`.
    """
    try:
        size = regular_bytes(path)
        if size > largest_bytes:
            what = f"is too large to be read as a whole ({size / 2**20:,.0f} MiB; at most {largest_bytes >> 20} MiB)"
            raise InputError.of(path.name, what, "split it, or give a folder of CSV or Parquet files")
        data = path.read_bytes()
    except OSError as error:
        raise InputError([os_problem(error, path)]) from error
    if not data.strip():
        raise InputError.of(path.name, "is empty", REFETCH)
    return data


def regular_bytes(path: Path) -> int:
    """The size of a file in bytes.

    Raises:
        InputError: it is a device or a pipe, which may have no end.
        OSError: it is missing, a folder, or closed to us.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise InputError.of(str(path), "is a device or a pipe, no file", "save what it gives to a file first")
    return found.st_size


def json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: as `document`, or the file is no JSON, cut off, or holds NaN or Infinity.
    """
    data = document(path).removeprefix(b"\xef\xbb\xbf")
    try:
        data.decode("utf-8")
        return msgspec.json.decode(data)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError.of(path.name, "is not UTF-8", "save it in UTF-8", [f"line {line}"]) from error
    except (msgspec.DecodeError, RecursionError) as error:
        odd = [word for word in ("NaN", "Infinity") if word.encode() in data]
        fix = f"JSON has no {' or '.join(odd)}: leave out what nobody knows" if odd else f"if it is cut off, {REFETCH}"
        raise InputError.of(path.name, f"is no JSON ({error})", fix) from error


def extra(module: str) -> Any:
    """A module of the optional libraries that importers need; imported when first used, since it is slow.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        what = f"needs the library {error.name}, which is not installed"
        raise InputError.of("import", what, "install karez[io]") from error
