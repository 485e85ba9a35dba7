"""What an import gives back: the twin, every row that was dropped and why, and what was assumed where a file is silent.

It also holds what readers of documents share at their border: sizes, words for bad files, and libraries of the extra.
"""

from __future__ import annotations

from collections.abc import Sequence
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


class Dropped(msgspec.Struct, frozen=True, order=True):
    """One row that is not in the twin: the file or part of it, what names the row there, and why."""

    where: str
    row: str
    why: str


@dataclass(frozen=True)
class Imported:
    """A twin that passes every check, the rows that are not in it, and in words what no file said."""

    twin: Twin
    dropped: tuple[Dropped, ...] = ()
    assumed: tuple[str, ...] = ()


def grouped(dropped: Sequence[Dropped]) -> list[Problem]:
    """The dropped rows as problems, one for each place and reason, in their order."""
    rows: dict[tuple[str, str], list[str]] = {}
    for each in dropped:
        rows.setdefault((each.where, each.why), []).append(each.row)
    return [Problem(where, why, "correct them, or do without", tuple(found)) for (where, why), found in rows.items()]


def counted(number: int, thing: str) -> str:
    """So many things, in the singular where there is one."""
    return f"{number:,} {thing if number == 1 else thing + 's'}"


def document(path: Path, *, largest_bytes: int = LARGEST_DOCUMENT_BYTES) -> bytes:
    """All bytes of a file that is to be read as one document.

    Raises:
        InputError: it is missing, a folder, empty, closed to us, or larger than `largest_bytes`.
    """
    try:
        size = path.stat().st_size
        if size > largest_bytes and path.is_file():
            what = f"is too large to be read as a whole ({size / 2**20:,.0f} MiB; at most {largest_bytes >> 20} MiB)"
            raise InputError.of(path.name, what, "split it, or give a folder of CSV or Parquet files")
        data = path.read_bytes()
    except OSError as error:
        raise InputError([os_problem(error, path)]) from error
    if not data.strip():
        raise InputError.of(path.name, "is empty", REFETCH)
    return data


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
