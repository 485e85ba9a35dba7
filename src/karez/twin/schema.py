"""The one list of tables and columns, read from schema.csv."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np

Dtype = Literal["text", "float", "int", "bool"]
Value = str | float | int | bool

NUMPY_DTYPES: dict[str, np.dtype] = {
    "text": np.dtype("S1"),
    "float": np.dtype("<f8"),
    "int": np.dtype("<i8"),
    "bool": np.dtype("?"),
}
TRUE_WORDS = frozenset({"true", "1", "yes"})
FALSE_WORDS = frozenset({"false", "0", "no"})


@dataclass(frozen=True)
class ColumnSpec:
    """What one column may hold: unit, bounds, the tables it refers to, and what absent means."""

    table: str
    name: str
    dtype: Dtype
    unit: str
    low: float
    high: float
    allowed: tuple[str, ...]
    refers_to: tuple[str, ...]
    required: bool
    absent: Value
    description: str

    @property
    def where(self) -> str:
        """The name of the column as messages show it."""
        return f"{self.table}.{self.name}"

    def parse(self, text: str) -> Value:
        """The value that `text` stands for in this column.

        Raises:
            ValueError: `text` is not of the column's dtype.
        """
        if self.dtype == "text":
            return text
        if self.dtype == "bool":
            word = text.strip().lower()
            if word not in TRUE_WORDS | FALSE_WORDS:
                raise ValueError(f"{text!r} is neither true nor false")
            return word in TRUE_WORDS
        return int(text) if self.dtype == "int" else float(text)


TableSpec = dict[str, ColumnSpec]


@cache
def tables() -> dict[str, TableSpec]:
    """Every table of a twin: its name -> its columns in order, `id` first."""
    found: dict[str, TableSpec] = {}
    text = (resources.files("karez.twin") / "schema.csv").read_text("utf-8")
    for row in csv.DictReader(text.splitlines()):
        spec = _column(row)
        found.setdefault(spec.table, {})[spec.name] = spec
    return found


def is_state(table: str) -> bool:
    """Whether the table says what is observed or learned (actual twin), and not what should be (intended twin)."""
    return table in ("findings", "signals") or table.endswith(("_states", "_series", "_budgets"))


def is_observed(table: str) -> bool:
    """Whether networks tell of the table; findings and what folds learned are the loop's own."""
    return table in tables() and table.endswith("_states")


def mirror(table: str) -> str:
    """The table of the actual twin that shows what became of a row of `table`; empty where there is none."""
    state = f"{table.removesuffix('s')}_states"
    return state if state in tables() else ""


def column(table: str, name: str) -> ColumnSpec:
    """The specification of `table.name`.

    Raises:
        KeyError: there is no such column.
    """
    return tables()[table][name]


def _column(row: dict[str, str]) -> ColumnSpec:
    low, high = -np.inf, np.inf
    allowed: tuple[str, ...] = ()
    if "|" in row["bounds"]:
        allowed = tuple(row["bounds"].split("|"))
    elif row["bounds"]:
        low, high = (float(bound) for bound in row["bounds"].split(".."))
    dtype: Dtype = row["dtype"]  # type: ignore[assignment]
    spec = ColumnSpec(
        table=row["table"],
        name=row["name"],
        dtype=dtype,
        unit=row["unit"],
        low=float(low),
        high=float(high),
        allowed=allowed,
        refers_to=tuple(row["refers_to"].split("+")) if row["refers_to"] else (),
        required=not row["absent"],
        absent="",
        description=row["description"],
    )
    if spec.required or row["absent"] == "none":
        return spec
    return ColumnSpec(**{**spec.__dict__, "absent": spec.parse(row["absent"])})
