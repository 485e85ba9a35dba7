"""Reads: the rows and predicates that a plan relies on, and whether they still hold."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from karez.twin import World
from karez.twin.schema import Value

Op = Literal["==", "!=", "<", "<=", ">", ">=", "exists", "gone"]
COMPARE: dict[str, Callable[[Value, Value], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Read(msgspec.Struct, frozen=True):
    """One thing a plan relies on: `links[L17].up == True`, or that a row exists or is gone.

    A predicate is worth more than a value: `free_chips >= 64` survives every change that leaves enough.
    """

    table: str
    row: str
    column: str = ""
    op: Op = "exists"
    value: Value = ""

    def __str__(self) -> str:
        """The read as a person writes it."""
        if self.op in COMPARE:
            return f"{self.table}[{self.row}].{self.column} {self.op} {self.value}"
        return f"{self.table}[{self.row}] {self.op}"

    def holds(self, world: World) -> bool:
        """Whether it is so in `world`; a predicate on a row that is not there does not hold."""
        there = world[self.table].has(self.row)
        if self.op not in COMPARE:
            return there == (self.op == "exists")
        return there and COMPARE[self.op](world[self.table].cell(self.row, self.column), self.value)


def changed(reads: Iterable[Read], world: World) -> tuple[Read, ...]:
    """The reads that no longer hold; a plan may be applied while there are none."""
    return tuple(read for read in reads if not read.holds(world))
