"""From the cells of a file to the values of a column: what was parsed, and what could not be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from karez.twin.schema import FALSE_WORDS, NUMPY_DTYPES, TRUE_WORDS, ColumnSpec, Value
from karez.twin.table import Array

# Whole numbers up to here are exact as floats. Source: IEEE 754, binary64.
EXACT_BELOW = 2.0**53


@dataclass(frozen=True)
class Cells:
    """The values of a column, and for each row whether its cell was empty, unreadable, nan, or a number with a comma.

    Where one of these holds, the value is what the schema states for absent, or a harmless one.
    """

    values: Array
    empty: Array
    bad: Array
    nan: Array
    comma: Array


def cells(series: pl.Series, spec: ColumnSpec, factor: float = 1.0) -> Cells:
    """The cells of `series` as values of the column `spec`; numbers are multiplied by `factor`."""
    cleaned = _cleaned(series, spec)
    empty = cleaned.is_null().to_numpy()
    values, bad = _READERS[spec.dtype](cleaned)
    bad = bad & ~empty
    nan = np.isnan(values) & ~empty & ~bad if spec.dtype == "float" else np.zeros(len(values), bool)
    if spec.dtype == "float":
        values = values * factor
    comma = bad & _commas(cleaned) if bad.any() else bad
    return Cells(_filled(values, empty | bad | nan, spec), empty, bad & ~comma, nan, comma)


def harmless(spec: ColumnSpec) -> Value:
    """A value that stands in for one that could not be read, so that the rest can be checked."""
    if not spec.required:
        return spec.absent
    if spec.dtype == "text":
        return spec.allowed[0] if spec.allowed else ""
    number = min(max(0.0, spec.low), spec.high)
    return number if spec.dtype == "float" else int(number) if spec.dtype == "int" else False


def _commas(series: pl.Series) -> Array:
    """Which cells are numbers but for a comma, such as `36,1` and `1,234`."""
    if series.dtype != pl.String:
        return np.zeros(len(series), bool)
    found: Array = series.str.contains(r"^[+-]?[\d.]+,\d[\d,.]*$").fill_null(False).to_numpy()
    return found


def _cleaned(series: pl.Series, spec: ColumnSpec) -> pl.Series:
    """The series with nulls for empty cells; text of any kind becomes String."""
    if series.dtype in (pl.Categorical, pl.Enum, pl.Null) or (spec.dtype == "text" and series.dtype.is_integer()):
        series = series.cast(pl.String)
    if series.dtype != pl.String:
        return series
    found = series if spec.dtype == "text" else series.str.strip_chars()
    return found.replace("", None)


def _filled(values: Array, holes: Array, spec: ColumnSpec) -> Array:
    if not holes.any():
        return values
    value = harmless(spec)
    dtype = None if spec.dtype == "text" else NUMPY_DTYPES[spec.dtype]
    return np.where(holes, np.array(value.encode() if isinstance(value, str) else value, dtype=dtype), values)


def _texts(series: pl.Series) -> tuple[Array, Array]:
    if series.dtype != pl.String:
        return _nothing(series, "text")
    zero = series.str.contains("\0", literal=True).fill_null(False).to_numpy()
    return np.array(series.fill_null("").cast(pl.Binary).to_list(), dtype="S"), zero


def _floats(series: pl.Series) -> tuple[Array, Array]:
    if not _numeric(series):
        return _nothing(series, "float")
    numbers = series.cast(pl.Float64, strict=False)
    return numbers.fill_null(0.0).to_numpy(), numbers.is_null().to_numpy()


def _ints(series: pl.Series) -> tuple[Array, Array]:
    if not _numeric(series):
        return _nothing(series, "int")
    exact = pl.Series([None], dtype=pl.Int64).new_from_index(0, len(series))
    if not series.dtype.is_float():
        exact = series.cast(pl.Int64, strict=False)
    rough = series.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    whole = (rough == np.floor(rough)) & (np.abs(rough) < EXACT_BELOW)
    from_rough = np.where(whole, rough, 0).astype(np.int64)
    missing = exact.is_null().to_numpy()
    return np.where(missing, from_rough, exact.fill_null(0).to_numpy()), missing & ~whole


def _bools(series: pl.Series) -> tuple[Array, Array]:
    words = series.cast(pl.String, strict=False).str.to_lowercase()
    true = words.is_in(list(TRUE_WORDS)).fill_null(False).to_numpy()
    false = words.is_in(list(FALSE_WORDS)).fill_null(False).to_numpy()
    return true, ~true & ~false


def _numeric(series: pl.Series) -> bool:
    return series.dtype == pl.String or series.dtype.is_numeric()


def _nothing(series: pl.Series, dtype: str) -> tuple[Array, Array]:
    return np.zeros(len(series), NUMPY_DTYPES[dtype]), np.ones(len(series), bool)


_READERS = {"text": _texts, "float": _floats, "int": _ints, "bool": _bools}
