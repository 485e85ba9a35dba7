"""Revisions of a twin in a folder: tables as Parquet, named by their content and shared by revisions.

    FOLDER/tables/links-0123456789abcdef.parquet
    FOLDER/revisions/000001.json

A file is written beside its final name and then renamed, the revision last: a reader sees a whole revision or none.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, cast

import msgspec
import numpy as np
import polars as pl

from karez.errors import InputError, Problem
from karez.twin import schema
from karez.twin.schema import ColumnSpec, Value
from karez.twin.table import BLOCK_ROWS, Array, Column, Table
from karez.twin.twin import Twin

# What reading a damaged Parquet file can raise.
UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException)

# Fewer different texts than this are converted once each.
FEW, SAMPLE = 65_536, 4_096

# The last second of the year 9999.
LAST_S = 253_402_300_799

RESTORE = "restore the file, or load another revision"
_REMEDIES = {
    errno.ENOSPC: "free some space, or choose a folder on another disk",
    errno.EDQUOT: "free some space, or choose a folder on another disk",
    errno.EFBIG: "raise the limit on the size of files, or choose a folder on another disk",
    errno.EACCES: "ask for permission, or choose another folder",
    errno.EPERM: "ask for permission, or choose another folder",
    errno.EROFS: "choose a folder on a disk that can be written to",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "give the path of a folder",
    errno.EEXIST: "give the path of a folder",
    errno.EISDIR: "give the path of a file",
}


class StoredTable(msgspec.Struct, frozen=True):
    """A table on disk: its file, the digest of its content, and the SHA-256 of the bytes of the file."""

    file: str
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    sha256: str


class Revision(msgspec.Struct, frozen=True):
    """A saved twin: its place in the sequence, what it was made from, and the files that hold it."""

    number: int
    parent: str
    digest: str
    at_s: Annotated[float, msgspec.Meta(ge=0, le=LAST_S)]
    note: str
    source: str
    synthetic: bool
    seed: int | None
    schema: str
    files: dict[str, StoredTable]


def save(
    twin: Twin, folder: Path, *, at_s: float, note: str, source: str, synthetic: bool, seed: int | None = None
) -> Revision:
    """The new revision that holds `twin`, after it was written to `folder` (made where there is none).

    `at_s` is the time of saving (Unix time). Tables that an earlier revision holds are not written again.

    Raises:
        InputError: the folder cannot be written to, or holds revisions that cannot be read; nothing is left behind.
    """
    with _writing(folder) as made:
        earlier = revisions(folder)
        stored = {entry.file: entry for revision in earlier for entry in revision.files.values()}
        files = {t.name: _stored(t, folder, stored, made) for t in twin.tables.values() if len(t)}
        revision = Revision(
            number=earlier[-1].number + 1 if earlier else 1,
            parent=earlier[-1].digest if earlier else "",
            digest=twin.digest,
            at_s=at_s,
            note=note,
            source=source,
            synthetic=synthetic,
            seed=seed,
            schema=_schema_digest(),
            files=files,
        )
        data = msgspec.json.format(msgspec.json.encode(revision), indent=1)
        write_whole(folder / "revisions" / f"{revision.number:06d}.json", data, made)
    return revision


def load(folder: Path, revision: int | None = None, kept: Twin | None = None) -> tuple[Twin, Revision]:
    """The twin that a revision (default: the last one) holds, and the revision; digests are verified.

    Where `kept` is that twin already, nothing is read again.

    Raises:
        InputError: there is no such revision, or files are missing, cut off or changed: all of them.
    """
    found = revisions(folder)
    chosen = [entry for entry in found if revision in (None, entry.number)][-1:]
    if not chosen:
        known = ", ".join(str(entry.number) for entry in found)
        fix = f"choose one of: {known}" if known else "give the folder of a network"
        raise InputError.of(str(folder), f"holds no revision {revision or ''}".rstrip(), fix)
    if kept and chosen[0].schema == _schema_digest() and kept.digest == chosen[0].digest:
        return kept, chosen[0]
    del kept
    problems: list[Problem] = []
    tables = {name: _loaded(folder, name, entry, problems) for name, entry in chosen[0].files.items()}
    if problems:
        raise InputError(problems)
    twin = Twin({name: table for name, table in tables.items() if table is not None})
    # A digest is of a schema; under another schema the tables' own digests have vouched for the content.
    if chosen[0].schema == _schema_digest() and twin.digest != chosen[0].digest:
        path = folder / "revisions" / f"{chosen[0].number:06d}.json"
        raise InputError.of(str(path), "names another content than its files hold", "restore it, or take another one")
    return twin, chosen[0]


def revisions(folder: Path) -> list[Revision]:
    """All revisions in `folder`, oldest first; empty where nothing was saved yet.

    Raises:
        InputError: the folder or some of its revisions cannot be read: all of them.
    """
    try:
        paths = _revision_files(folder)
    except OSError as error:
        raise InputError([os_problem(error, folder)]) from error
    found, problems = [], []
    for path in paths:
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Revision))
        except OSError as error:
            problems.append(os_problem(error, path))
        except msgspec.DecodeError as error:
            problems.append(Problem(str(path), f"is not a revision ({error})", "restore it, or remove it"))
    if problems:
        raise InputError(problems)
    return found


def os_problem(error: OSError, path: Path) -> Problem:
    """What the operating system refused, and what to do; a file that is only on its way to `path` is not named."""
    fix = _REMEDIES.get(error.errno or 0, "see to the cause, then try again")
    named = str(error.filename or path)
    return Problem(str(path) if named.endswith(".tmp") else named, (error.strerror or str(error)).lower(), fix)


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return str(error).strip().partition("\n")[0]


def write_whole(path: Path, data: bytes, made: list[Path]) -> None:
    """Put all of `data` on disk at `path`, or raise; `made` then names what to `remove`.

    Raises:
        OSError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    made.append(temporary)
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    made.append(path)
    os.replace(temporary, path)
    made.remove(temporary)
    sync_folder(path.parent)


def remove(made: list[Path]) -> None:
    """Take away files and folders, the newest first; a folder that others have filled meanwhile stays."""
    for path in reversed(made):
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


@contextmanager
def _writing(folder: Path) -> Iterator[list[Path]]:
    """A list for what is made, inside a lock on the folder; unless all goes well, all that is in it is removed."""
    made: list[Path] = []
    done = False
    try:
        for path in (folder, folder / "tables", folder / "revisions"):
            _make_folder(path, made)
        with _locked(folder):
            yield made
        done = True
    except OSError as error:
        raise InputError([os_problem(error, folder)]) from error
    finally:
        if not done:
            remove(made)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time, so that two saves do not take the same number."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_folder(path: Path, made: list[Path]) -> None:
    made += reversed([parent for parent in (path, *path.parents) if not parent.exists()])
    path.mkdir(parents=True, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the disk hold the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _revision_files(folder: Path) -> list[Path]:
    if "revisions" not in {path.name for path in folder.iterdir()}:
        return []
    return sorted(path for path in (folder / "revisions").iterdir() if path.suffix == ".json")


def _schema_digest() -> str:
    names = [f"{spec.where}:{spec.dtype}" for specs in schema.tables().values() for spec in specs.values()]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _stored(table: Table, folder: Path, stored: dict[str, StoredTable], made: list[Path]) -> StoredTable:
    digest = table.digest.hex()
    file = f"tables/{table.name}-{digest[:16]}.parquet"
    if file in stored and (folder / file).is_file():
        return stored[file]
    buffer = io.BytesIO()
    frame = pl.DataFrame([_series(name, column) for name, column in table.columns.items()])
    frame.write_parquet(buffer, compression="zstd")
    data = buffer.getvalue()
    write_whole(folder / file, data, made)
    return StoredTable(file=file, digest=digest, sha256=hashlib.sha256(data).hexdigest())


def _series(name: str, column: Column) -> pl.Series:
    series = pl.Series(name, np.ascontiguousarray(column.array))
    if series.dtype != pl.Binary:
        return series
    series = series.cast(pl.String)
    # Few words are told once, so that nobody who reads the file has to find them again.
    return series.cast(pl.Enum(series.unique().sort())) if _has_few_words(series) else series


def _loaded(folder: Path, name: str, entry: StoredTable, problems: list[Problem]) -> Table | None:
    path = folder / entry.file
    try:
        return _verified(path, name, entry)
    except OSError as error:
        problems.append(os_problem(error, path))
    except InputError as error:
        problems += error.problems
    except UNREADABLE as error:
        problems.append(Problem(str(path), f"cannot be read as Parquet ({first_line(error)})", RESTORE))
    return None


def _verified(path: Path, name: str, entry: StoredTable) -> Table:
    """The table of a file, which holds what was saved if its bytes are those that were: then its digest is known."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise InputError.of(str(path), f"is cut off or was changed ({len(data)} bytes)", RESTORE)
    # One after the other, so that only one column is held in both forms.
    names = pl.read_parquet_schema(io.BytesIO(data))
    columns = {name: _column(pl.read_parquet(data, columns=[name])[name]) for name in names}
    _require_known(path, name, columns)
    todays = _in_todays_schema(name, columns)
    return Table(name, todays, bytes.fromhex(entry.digest) if todays.keys() == columns.keys() else b"")


def _require_known(path: Path, name: str, columns: Mapping[str, Column]) -> None:
    specs = schema.tables().get(name, {})
    unknown = [column for column in columns if column not in specs]
    lacking = [spec.name for spec in specs.values() if spec.required and spec.name not in columns]
    if unknown or lacking:
        what = f"was saved under another schema (unknown here: {unknown}, required here: {lacking})"
        raise InputError.of(str(path), what, "load it with the version of Karez that saved it")


def _in_todays_schema(name: str, columns: Mapping[str, Column]) -> dict[str, Column]:
    """The columns of the schema; those that the file is too old to have take the value that the schema states."""
    length = columns["id"].length
    return {
        spec.name: columns[spec.name] if spec.name in columns else _absent(spec, length)
        for spec in schema.tables()[name].values()
    }


def _absent(spec: ColumnSpec, length: int) -> Column:
    return Column.constant(spec.absent, schema.NUMPY_DTYPES[spec.dtype], length)


def _column(series: pl.Series) -> Column:
    if _is_repeated(series):
        return Column.constant(cast(Value, series.first()), schema.NUMPY_DTYPES[_dtype(series)], len(series))
    if isinstance(series.dtype, pl.Enum):
        return _worded(series, series.dtype.categories)
    if series.dtype != pl.String:
        return Column.owning(_numbers(series))
    return _worded(series, series.unique()) if _has_few_words(series) else Column.owning(_texts(series))


def _dtype(series: pl.Series) -> schema.Dtype:
    names: dict[pl.DataType, schema.Dtype] = {pl.Float64(): "float", pl.Int64(): "int", pl.Boolean(): "bool"}
    return names.get(series.dtype, "text")


def _is_repeated(series: pl.Series) -> bool:
    """Whether every row holds the same, be it nan."""
    first = series.first()
    return bool((series.tail(1) == first).all() and (series == first).all())


def _has_few_words(series: pl.Series) -> bool:
    # A look at the first tells ids, of which each is another, from words that come again.
    again = len(series) > FEW and series.head(SAMPLE).n_unique() < SAMPLE // 2
    return again and cast(int, series.approx_n_unique()) < FEW


def _worded(series: pl.Series, words: pl.Series) -> Column:
    return Column.worded(_texts(words), _numbers(series.cast(pl.Enum(words)).to_physical()))


def _numbers(series: pl.Series) -> Array:
    return _joined(series, lambda piece: piece.to_numpy(), series.head(1).to_numpy().dtype)


def _texts(series: pl.Series) -> Array:
    """Strings as a text column holds them."""
    size = max(int(cast(int, series.str.len_bytes().max())), 1)
    return _joined(series, lambda piece: _letters(piece, size), np.dtype(("S", size)))


def _joined(series: pl.Series, made: Callable[[pl.Series], Array], dtype: np.dtype) -> Array:
    """What is made of the pieces of a column, one after the other, so that it stays near the processor."""
    found = np.empty(len(series), dtype)
    for start in range(0, len(series), BLOCK_ROWS):
        piece = series[start : start + BLOCK_ROWS]
        found[start : start + len(piece)] = made(piece)
    return found


def _letters(series: pl.Series, size: int) -> Array:
    """Strings as texts of at most `size` bytes."""
    sizes = series.str.len_bytes().to_numpy()
    if (sizes != size).any():
        if (series.str.len_chars().to_numpy() != sizes).any():
            return np.array(series.cast(pl.Binary).to_list(), dtype="S")
        series = series.str.pad_end(size, "\0")
    letters = series.cast(pl.Binary).bin.reinterpret(dtype=pl.Array(pl.UInt8, size)).to_numpy()
    return np.ascontiguousarray(letters).view(np.dtype(("S", size))).ravel()
