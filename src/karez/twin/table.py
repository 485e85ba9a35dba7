"""Columns in chunks, with digests that cost only what changed; tables kept in the order of their ids.

A column is a tuple of read-only chunks. Each chunk has a SHA-256 digest, made when first asked for and shared by
every later column that shares the chunk; the digest of a column is made over those of its chunks, the digest of a
table over those of its columns. Changing a thousand rows of five million copies and hashes at most a thousand chunks.

Text is UTF-8 in fixed-width bytes (numpy dtype S): compact, comparable, hashable. `str` appears in faces only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from karez.errors import InputError, Problem
from karez.twin import schema
from karez.twin.schema import ColumnSpec, Value

CHUNK_SHIFT = 9
CHUNK_ROWS = 1 << CHUNK_SHIFT
NONE, MISSING = -1, -2
WORD_BYTES = 8
# To make words of so many ids for each value that is looked up pays.
WORTH_WORDS = 16
BLOCK_ROWS = 1 << 16
# From so many values on, a compiled search pays.
MANY = 1 << 20
# Up to so many rows, single ids are looked up in a dictionary.
FEW = 1 << 12

Array = np.ndarray


class Column:
    """An immutable column: chunks of `CHUNK_ROWS` rows, each read-only."""

    __slots__ = ("_array", "_chunks", "_leaves", "_places", "_resolved", "_root", "_worded", "length")

    def __init__(self, chunks: tuple[Array, ...], length: int, leaves: list[bytes] | None = None) -> None:
        """Take over `chunks`, which nobody may write to again; `leaves` holds digests already known."""
        self._chunks = chunks
        self.length = length
        self._leaves = leaves or [b""] * -(-length // CHUNK_ROWS)
        self._root = b""
        self._array: Array | None = None
        self._worded: tuple[Array, Array] | None = None
        self._resolved: tuple[tuple[Column, ...], Array] | None = None
        self._places: dict[bytes, int] | None = None

    @classmethod
    def of(cls, values: Array) -> Column:
        """A column that holds a copy of `values` (one dimension)."""
        return cls.owning(narrowed(np.array(values, order="C")))

    @classmethod
    def owning(cls, values: Array) -> Column:
        """A column that takes over `values`: text no wider than it must be, floats with one zero and one nan."""
        column = cls((), len(values))
        column._array = _frozen(values)
        return column

    @classmethod
    def constant(cls, value: Value, dtype: np.dtype, length: int) -> Column:
        """A column that holds `value` in every row and takes the memory of one."""
        scalar = np.array(_bytes(value), dtype=None if dtype.kind == "S" else dtype)
        return cls.owning(np.broadcast_to(scalar, length))

    @classmethod
    def worded(cls, words: Array, which: Array) -> Column:
        """A text column of few words, of which each row has one: `words[which]`, in the memory of `which`."""
        column = cls((), len(which))
        column._worded = (_frozen(words), _frozen(which))
        return column

    @property
    def chunks(self) -> tuple[Array, ...]:
        """The chunks; a column that came as a whole is cut when they are first asked for."""
        if not self._chunks:
            self._chunks = _cut(self.array)
        return self._chunks

    @property
    def array(self) -> Array:
        """All rows as one read-only array."""
        if self._array is None:
            words = self._worded
            self._array = _frozen(np.concatenate(self._chunks) if words is None else _spread(*words))
        return self._array

    @property
    def digest(self) -> bytes:
        """32 bytes that name the content: equal columns have equal digests, whatever their history."""
        if not self._root:
            self._root = self._hash()
        return self._root

    def at(self, rows: Array) -> Array:
        """The values at `rows` (row numbers); touches only the chunks that hold them."""
        if self._array is not None:
            values: Array = self._array[rows]
            return values
        if self._worded is not None:
            words, which = self._worded
            named: Array = words[which[rows]]
            return named
        if not len(rows):
            return self.chunks[0][:0]
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        owner = ordered >> CHUNK_SHIFT
        starts = np.flatnonzero(np.diff(owner, prepend=-1)).tolist()
        within = ordered & (CHUNK_ROWS - 1)
        parts = [
            self.chunks[index][within[start:stop]]
            for index, (start, stop) in zip(owner[starts].tolist(), pairwise([*starts, len(rows)]), strict=True)
        ]
        joined = np.concatenate(parts)
        values = np.empty_like(joined)
        values[order] = joined
        return values

    def set(self, rows: Array, values: Array) -> Column:
        """The column with `values` at `rows`; every chunk that holds none of them is shared."""
        if not len(rows):
            return self
        order = np.argsort(rows, kind="stable")
        rows, values = rows[order], narrowed(values[order])
        owner = rows >> CHUNK_SHIFT
        starts = np.flatnonzero(np.diff(owner, prepend=-1)).tolist()
        chunks, leaves = list(self.chunks), list(self._leaves)
        for start, stop in pairwise([*starts, len(rows)]):
            index = int(owner[start])
            chunk = chunks[index].astype(np.result_type(chunks[index], values))
            chunk[rows[start:stop] - (index << CHUNK_SHIFT)] = values[start:stop]
            chunks[index] = _frozen(chunk)
            leaves[index] = b""
        return Column(tuple(chunks), self.length, leaves)

    def resolve(self, targets: tuple[Column, ...]) -> Array:
        """The row of each value in the id columns `targets`, numbered one after another (int64).

        The targets are sorted. An empty value gives `NONE`, one that is nowhere gives `MISSING`.
        """
        if self._resolved is None or self._resolved[0] != targets:
            self._resolved = (targets, _frozen(self.each(lambda values: resolve(values, targets))))
        return self._resolved[1]

    def place(self, value: str) -> int:
        """The row of one value in an id column; -1 where there is none. Of a short column all places are kept."""
        if self.length > FEW:
            return int(resolve(texts([value]), (self,))[0])
        if self._places is None:
            self._places = {name: row for row, name in enumerate(self.array.tolist())}
        # Text columns hold no zero bytes at the end.
        return self._places.get(value.encode().rstrip(b"\0"), -1)

    def tested(self, test: Callable[[Array], Array]) -> Array:
        """`test` (one bool a value) of every row: once for each word where they are few, once where all are the same.

        It is taken in blocks that stay near the processor; where it holds nowhere, the answer has the memory of one.
        """
        return self.each(lambda values: tested(values, test))

    def each(self, made: Callable[[Array], Array]) -> Array:
        """What is made of the values, row by row (one dimension); of each word only once where they are few."""
        if self._worded is None:
            return made(self.array)
        words, which = self._worded
        found = made(words)
        if found.strides == (0,):
            return np.broadcast_to(found[:1].reshape(()), self.length)
        return _spread(found, which)

    def _hash(self) -> bytes:
        repeated: dict[int, bytes] = {}
        for index, chunk in enumerate(self.chunks):
            if self._leaves[index]:
                continue
            if chunk.strides == (0,):
                self._leaves[index] = repeated.setdefault(len(chunk), b"") or _leaf(chunk)
                repeated[len(chunk)] = self._leaves[index]
            else:
                self._leaves[index] = _leaf(chunk)
        kind = self.chunks[0].dtype.kind if self.chunks else "-"
        return hashlib.sha256(f"{kind}{self.length}:".encode() + b"".join(self._leaves)).digest()


class Table:
    """An immutable table: columns of the schema, rows in the order of their ids."""

    __slots__ = ("__weakref__", "_digest", "columns", "length", "name")

    def __init__(self, name: str, columns: Mapping[str, Column], digest: bytes = b"") -> None:
        """Take over complete columns of equal length, sorted by id; use `Table.of` for anything else.

        `digest` is that of the content, where it is known.
        """
        self.name = name
        self.columns = dict(columns)
        self.length = self.columns["id"].length
        self._digest = digest

    @classmethod
    def of(cls, name: str, values: Mapping[str, Array | Sequence[Value]] | None = None) -> Table:
        """A table from whole columns; absent columns take the value that the schema states.

        Raises:
            InputError: columns that are unknown, missing, of unequal length or of the wrong dtype: all of them.
        """
        specs = schema.tables()[name]
        arrays, problems = _coerced(name, specs, values or {column: np.zeros(0) for column in specs})
        if problems:
            raise InputError(problems)
        length = len(arrays["id"])
        order = None if _ascending(arrays["id"]) else np.argsort(arrays["id"], kind="stable")
        return cls(name, {spec.name: _column(spec, arrays, order, length) for spec in specs.values()})

    def __getitem__(self, column: str) -> Array:
        """The whole column as a read-only array."""
        return self.columns[column].array

    def __len__(self) -> int:
        """Number of rows."""
        return self.length

    @property
    def ids(self) -> Array:
        """The ids, ascending."""
        return self["id"]

    @property
    def digest(self) -> bytes:
        """32 bytes that name the content of the table."""
        if not self._digest:
            named = b"".join(name.encode() + column.digest for name, column in self.columns.items())
            self._digest = hashlib.sha256(self.name.encode() + named).digest()
        return self._digest

    def rows(self, ids: Iterable[str] | Array) -> Array:
        """The row of each id (int64).

        Raises:
            KeyError: an id that the table does not hold.
        """
        wanted = texts(ids)
        found = resolve(wanted, (self.columns["id"],))
        if (found < 0).any():
            raise KeyError(f"{self.name} has no row {wanted[found < 0][0].decode()!r}")
        return found

    def has(self, row_id: str) -> bool:
        """Whether there is a row with this id."""
        return self.columns["id"].place(row_id) >= 0

    def cell(self, row_id: str, column: str) -> Value:
        """One value, as Python has it.

        Raises:
            KeyError: no such row or column.
        """
        row = self.columns["id"].place(row_id)
        if row < 0:
            raise KeyError(f"{self.name} has no row {row_id!r}")
        return scalar(self.columns[column].chunks[row >> CHUNK_SHIFT][row & (CHUNK_ROWS - 1)])

    def set(self, rows: Array, **values: Array | Sequence[Value] | Value) -> Table:
        """The table with new values at `rows`; ids cannot be set.

        Raises:
            InputError: a column that is unknown or of the wrong dtype.
            ValueError: ids were to be set.
        """
        if "id" in values:
            raise ValueError("an id cannot be set: it is what names the row")
        specs = schema.tables()[self.name]
        spread = {name: np.broadcast_to(_as_array(value), len(rows)) for name, value in values.items()}
        arrays, problems = _coerced(self.name, {name: specs[name] for name in spread if name in specs}, spread)
        if problems:
            raise InputError(problems)
        changed = {name: self.columns[name].set(rows, array) for name, array in arrays.items()}
        return Table(self.name, self.columns | changed)

    def add(self, values: Mapping[str, Array | Sequence[Value]]) -> Table:
        """The table with more rows."""
        more = Table.of(self.name, values)
        if not len(self):
            return more
        return Table.of(self.name, {c: np.concatenate([self[c], more[c]]) for c in self.columns})

    def take(self, rows: Array) -> Table:
        """The table with these rows only (row numbers, or one bool a row)."""
        return Table.of(self.name, {c: self[c][rows] for c in self.columns})

    def records(self, rows: Array | slice = slice(None)) -> list[dict[str, Value]]:
        """The rows as dictionaries, for faces."""
        columns = {name: [scalar(v) for v in self[name][rows]] for name in self.columns}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def tested(values: Array, test: Callable[[Array], Array]) -> Array:
    """`test` (one bool a value) of every value, as `Column.tested` has it."""
    if values.strides == (0,) and len(values):
        return np.broadcast_to(test(values[:1]), len(values))
    blocks = [test(values[start : start + BLOCK_ROWS]) for start in range(0, len(values), BLOCK_ROWS)]
    if not any(block.any() for block in blocks):
        return np.broadcast_to(np.False_, len(values))
    return np.concatenate(blocks)


def text(value: bytes) -> str:
    """The `str` that a value of a text column stands for."""
    return value.decode("utf-8")


def texts(values: Iterable[str] | Array) -> Array:
    """Strings as a text column holds them (dtype S)."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "S":
        return values
    encoded = [str(value).encode("utf-8") for value in values]
    return np.array(encoded, dtype="S") if encoded else np.zeros(0, "S1")


def strings(values: Array) -> tuple[str, ...]:
    """The values of a text column as `str`."""
    return tuple(text(value) for value in values.tolist())


def scalar(value: np.generic) -> Value:
    """The Python value of one cell."""
    item = value.item()
    return text(item) if isinstance(item, bytes) else item


def resolve(values: Array, targets: tuple[Column, ...]) -> Array:
    """The row of each value in the id columns `targets`, as `Column.resolve` has it (int64)."""
    found = np.empty(len(values), np.int64)
    if len(values) >= MANY and all(array.itemsize <= WORD_BYTES for array in (values, *(t.array for t in targets))):
        _found_by_steps(values, targets, found)
        return found
    ids = [_searchable(target.array, len(values)) for target in targets]
    # In blocks, so that what is computed on the way stays near the processor.
    for start in range(0, len(values), BLOCK_ROWS):
        block = values[start : start + BLOCK_ROWS]
        found[start : start + len(block)] = _resolved(block, ids)
    return found


def _found_by_steps(values: Array, targets: Sequence[Column], found: Array) -> None:
    """As `resolve`, of texts of at most eight bytes, by a compiled loop."""
    # To load the compiler takes longer than to look up fewer values without it.
    from karez.twin import lookup

    ids = [_raw(target.array) for target in targets if target.length]
    firsts, starts = np.cumsum([0, *(len(some) for some in ids)]), [0] * len(ids)
    for start in range(0, len(values), BLOCK_ROWS):
        block = _raw(values[start : start + BLOCK_ROWS])
        rows = found[start : start + len(block)]
        rows[:] = np.where(block == 0, NONE, MISSING)
        for position, some in enumerate(ids):
            starts[position] = lookup.find(block, some, firsts[position], MISSING, starts[position], rows)


def _raw(values: Array) -> Array:
    """Texts of at most eight bytes as whole numbers (uint64) that hold their bytes as they lie in memory."""
    wide = np.ascontiguousarray(values, f"S{WORD_BYTES}").view(np.uint64)
    wide.flags.writeable = False
    return wide


def _searchable(ids: Array, wanted: int) -> tuple[Array, Array]:
    """Sorted ids, and the form in which they are searched: as words where that pays."""
    short = ids.itemsize <= WORD_BYTES and len(ids) <= WORTH_WORDS * wanted
    return ids, _words(ids) if short else ids


def _resolved(values: Array, targets: Sequence[tuple[Array, Array]]) -> Array:
    """The row of each value, looked up once for neighbours that are the same."""
    words = _words(values) if values.itemsize <= WORD_BYTES else values
    firsts = np.append(True, words[1:] != words[:-1]) if len(words) else np.zeros(0, bool)
    few = np.count_nonzero(firsts) < len(values) // 2
    wanted = (values[firsts], words[firsts]) if few else (values, words)
    found = np.where(wanted[0] == b"", NONE, MISSING)
    first = 0
    for ids, searched in targets:
        missing = np.flatnonzero(found == MISSING)
        if len(ids) and len(missing):
            rows = _rows(ids, searched, *(form if len(missing) == len(found) else form[missing] for form in wanted))
            found[missing] = np.where(rows >= 0, rows + first, MISSING)
        first += len(ids)
    spread: Array = found[np.cumsum(firsts) - 1] if few else found
    return spread


def _rows(ids: Array, searched: Array, values: Array, words: Array) -> Array:
    """The row of each value, which `words` has in another form, in `ids`; -1 where it is not among them."""
    if searched.dtype == words.dtype and searched is not ids:
        rows = np.minimum(np.searchsorted(searched, words), len(ids) - 1)
        return np.where(searched[rows] == words, rows, -1)
    # Comparing with wider text would widen every id; what is longer than all of them is none of them.
    narrow = values.astype(ids.dtype) if values.itemsize > ids.itemsize else values
    rows = np.minimum(np.searchsorted(ids, narrow), len(ids) - 1)
    return np.where(ids[rows] == values, rows, -1)


def _spread(values: Array, which: Array) -> Array:
    """`values[which]`, in blocks, so that no wide copy of `which` is made on the way."""
    found = np.empty(len(which), values.dtype)
    for start in range(0, len(which), BLOCK_ROWS):
        block = which[start : start + BLOCK_ROWS]
        found[start : start + len(block)] = values[block]
    return found


def _words(values: Array) -> Array:
    """Text of at most eight bytes as whole numbers (uint64), which have its order and compare ten times as fast."""
    letters = np.zeros((len(values), WORD_BYTES), np.uint8)
    letters[:, : values.itemsize] = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), values.itemsize)
    return letters.view(">u8").ravel().astype(np.uint64)


def _bytes(value: Value) -> bytes | float | int | bool:
    return value.encode("utf-8") if isinstance(value, str) else value


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array


def narrowed(array: Array) -> Array:
    """Text in the narrowest width that holds it, floats with one zero and one nan."""
    if array.dtype.kind == "S":
        width = int(np.strings.str_len(array).max(initial=1))
        return array.astype(f"S{max(width, 1)}", copy=False)
    if array.dtype.kind == "f":
        array = array + 0.0
        array[array != array] = np.nan
    return array


def _cut(array: Array) -> tuple[Array, ...]:
    return tuple(array[start : start + CHUNK_ROWS] for start in range(0, len(array), CHUNK_ROWS))


def _leaf(chunk: Array) -> bytes:
    if chunk.dtype.kind == "S":
        chunk = narrowed(chunk)
        return hashlib.sha256(chunk.dtype.str.encode() + chunk.tobytes()).digest()
    return hashlib.sha256(np.ascontiguousarray(chunk).data).digest()


def _ascending(ids: Array) -> bool:
    return bool((ids[:-1] <= ids[1:]).all())


def _as_array(value: Array | Sequence[Value] | Value) -> Array:
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, str):
        return np.array(value.encode("utf-8"))
    if isinstance(value, Sequence) and value and isinstance(value[0], str):
        return texts(str(item) for item in value)
    return np.asarray(value)


def _coerced(
    name: str, specs: Mapping[str, ColumnSpec], values: Mapping[str, Array | Sequence[Value]]
) -> tuple[dict[str, Array], list[Problem]]:
    """The columns in their schema dtypes, and everything that stands in the way."""
    problems = [
        Problem(f"{name}.{column}", "unknown column", f"drop it, or map it to one of {', '.join(specs)}")
        for column in values
        if column not in specs
    ]
    partial = "id" not in specs
    arrays: dict[str, Array] = {}
    for column, spec in specs.items():
        if column in values:
            array = _typed(spec, _as_array(values[column]))
            if array is None:
                what = f"holds values that are not {spec.dtype}"
                problems.append(Problem(spec.where, what, "correct the column"))
            else:
                arrays[column] = array
        elif spec.required and not partial:
            problems.append(Problem(spec.where, "required column is missing", f"add it: {spec.description}"))
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"{column} {len(array)}" for column, array in arrays.items())
        what = f"columns of unequal length ({lengths})"
        problems.append(Problem(name, what, "give every row every column"))
    return arrays, problems


def _typed(spec: ColumnSpec, array: Array) -> Array | None:
    """`array` in the dtype of `spec`, or None where a value would change its meaning."""
    kind = array.dtype.kind
    if not len(array):
        return np.zeros(0, schema.NUMPY_DTYPES[spec.dtype])
    if spec.dtype == "text":
        return texts(array.tolist()) if kind in "UOT" else (array if kind == "S" else None)
    if spec.dtype == "bool":
        return array if kind == "b" else None
    if spec.dtype == "int" and kind not in "iu":
        return None
    return array.astype(schema.NUMPY_DTYPES[spec.dtype]) if kind in "iuf" else None


def _column(spec: ColumnSpec, arrays: Mapping[str, Array], order: Array | None, length: int) -> Column:
    if spec.name not in arrays:
        return Column.constant(spec.absent, schema.NUMPY_DTYPES[spec.dtype], length)
    array = arrays[spec.name]
    return Column.of(array if order is None else array[order])
