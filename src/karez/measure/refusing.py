"""What is wrong with columns that somebody gives, as problems with all rows: the same for all that take some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from karez.errors import InputError, Problem
from karez.twin.table import Array


def columns(where: str, values: ArrayLike, name: str, *, ragged: str, dims: int = 1, kinds: str = "iu") -> Array:
    """The values as an array of so many dimensions, of these kinds of numpy; nothing at all is an empty one.

    Raises:
        InputError: they are none; `ragged` says what to do about rows of unequal length.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError.of(where, f"{name} has rows of unequal length", ragged) from error
    if array.size == 0:
        shape = array.shape if array.ndim == dims else (0,) * dims
        return np.zeros(shape, np.bool_ if kinds == "b" else np.int64)
    if array.ndim != dims:
        raise InputError.of(where, f"{name} has {array.ndim} dimensions", f"give it {dims}")
    if array.dtype.kind not in kinds:
        wanted = "true or false" if kinds == "b" else "whole numbers"
        raise InputError.of(where, f"{name} is of type {array.dtype}", f"give {wanted}")
    return array


def outside(where: str, name: str, values: Array, below: int, *, least: int = 0) -> Iterator[Problem]:
    """A problem where any value is not from `least` to below `below`."""
    wrong: Array = (values < least) | (values >= below)
    yield from said(where, wrong, f"{name} has values that are not from {least} to {below - 1}", "name what is there")


def said(where: str, wrong: Array, what: str, fix: str) -> Iterator[Problem]:
    """A problem with all rows in which anything is wrong; none where nothing is."""
    if wrong.any():
        yield Problem(where, what, fix, tuple(str(row) for row in np.unique(np.nonzero(wrong)[0]).tolist()))


def refuse(problems: Iterable[Problem]) -> None:
    """Return only if there are none.

    Raises:
        InputError: with all of them.
    """
    found = list(problems)
    if found:
        raise InputError(found)
