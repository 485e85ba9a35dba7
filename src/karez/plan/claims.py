"""Claims of certificates, read without believing anything: what both checkers do with numbers, ids and points.

Nothing here knows a bound or a planner.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from karez.errors import Problem
from karez.measure.circles import ENTERPRISE, Points, Weight
from karez.measure.core import Timed, Topology
from karez.measure.kernels import FAR
from karez.twin import Twin
from karez.twin.table import Array, Table, resolve

# No number in a plan is above it, so that no product of two overflows.
LARGEST = 1e15
SHOWN_CHARACTERS = 60


def problem(what: str, rows: Sequence[str] = ()) -> Problem:
    """A problem of a certificate, with the rows that it is about."""
    return Problem("certificate", what, "make the plan anew", tuple(rows))


def shown(value: object) -> str:
    """A value as a sentence has room for it, whatever it is."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return "a number too large"
    return repr(value)[:SHOWN_CHARACTERS]


def is_between(value: object, low: float, high: float) -> bool:
    """Whether it is a number, and none but from `low` to `high`."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def is_equal(claimed: float, value: float) -> bool:
    """Whether a claim is the value, but for rounding."""
    return math.isclose(claimed, value, rel_tol=1e-14)


def pairs(said: str) -> tuple[tuple[float, Fraction], ...]:
    """Numbers and their shares, as they are written; a share that is no number is -1."""
    parts = (part.split("=") for part in said.split(","))
    return tuple((float(a), Fraction(str(float(b))) if float(b) <= 1 else Fraction(-1)) for a, b in parts)


def twice(ids: Sequence[str]) -> list[str]:
    """What is named more than once, sorted."""
    return sorted(name for name, count in Counter(ids).items() if count > 1)


def rows_of(table: Table, ids: Sequence[str]) -> Array:
    """The row of each id (int64); -1 where there is none."""
    encoded = [site.encode("utf-8", "surrogatepass") for site in ids]
    # What is longer than any id, or ends in what numpy takes for padding, is none.
    widest = table.ids.dtype.itemsize
    known = [value if len(value) <= widest and b"\0" not in value else b"" for value in encoded]
    if not known:
        return np.zeros(0, np.int64)
    return np.asarray(np.maximum(resolve(np.array(known, "S"), (table.columns["id"],)), -1))


def points_of(twin: Twin, weight: Weight, counted: Points, names: Sequence[str]) -> Array:
    """Which point each id names (int64); -1 for none."""
    if weight in ("station", "area"):
        return rows_of(twin["stations"], names)
    table = twin["places" if weight in ("place", "enterprise") else "sites"]
    position = np.full(len(table) + 1, -1, np.int64)
    if table.name == "places":
        rows = np.flatnonzero((table["kind"] == ENTERPRISE) | (weight == "place"))
    else:
        rows = counted.vertex[counted.vertex >= 0]
    position[rows] = np.arange(len(rows))
    return np.asarray(position[rows_of(table, names)])


def hung(made: Topology, timed: Timed, vertex: Array) -> tuple[Array, Array]:
    """The two hosts of each point (int32), and its delay to either (ns, at most `FAR`)."""
    # One vertex more, for points that are nowhere.
    host = np.full((len(made.number) + 1, 2), made.vertices, np.int32)
    offset_ns = np.zeros((len(host), 2), np.int32)
    inside = np.flatnonzero(made.number >= 0)
    host[inside, 0] = made.number[inside]
    chains = made.chains
    ends = np.stack([chains.first, np.where(chains.second >= 0, chains.second, made.vertices)], axis=1)
    length = np.diff(chains.bounds)
    host[chains.members] = np.repeat(ends, length, axis=0)
    offset_ns[chains.members, 0] = np.minimum(timed.offsets, FAR)
    offset_ns[chains.members, 1] = np.minimum(np.repeat(timed.whole, length) - timed.offsets, FAR)
    at = np.where(vertex >= 0, vertex, len(made.number))
    return host[at], offset_ns[at]


class Reader:
    """Columns of a certificate, and what is wrong with them."""

    def __init__(self, certificate: Mapping[str, object]) -> None:
        """Read from a certificate."""
        self.certificate = certificate
        self.problems: list[Problem] = []

    def numbers(self, name: str, length: int) -> Array:
        """Numbers from 0 on (float64), so many; zeros where they are not."""
        values = self.certificate.get(name)
        if not isinstance(values, tuple) or len(values) != length:
            self.wrong(f"{name} must be a list of {length}", ())
            return np.zeros(length)
        bad = [position for position, value in enumerate(values) if not is_between(value, 0, LARGEST)]
        if bad:
            self.wrong(f"{name} must be numbers from 0 to {LARGEST:g}", [shown(values[at]) for at in bad])
            return np.zeros(length)
        return np.array(values, np.float64)

    def ids(self, name: str) -> list[str]:
        """Ids; none where they are not."""
        values = self.certificate.get(name)
        if isinstance(values, tuple) and all(isinstance(value, str) for value in values):
            return [str(value) for value in values]
        self.wrong(f"{name} must be a list of ids", ())
        return []

    def whole(self, name: str, length: int, most: int) -> Array:
        """Whole numbers from 0 to below `most` (int64), so many; zeros where they are not."""
        values = self.numbers(name, length)
        bad = (values % 1 != 0) | (values >= most)
        self.refuse(f"{name} must be whole numbers below {most}", [f"{value:g}" for value in values[bad]])
        return np.where(bad, 0, values).astype(np.int64)

    def refuse(self, what: str, rows: Sequence[str]) -> None:
        """Note a problem where there are rows that have it."""
        if rows:
            self.wrong(what, rows)

    def wrong(self, what: str, rows: Sequence[str]) -> None:
        """Note a problem."""
        self.problems.append(problem(what, rows))
