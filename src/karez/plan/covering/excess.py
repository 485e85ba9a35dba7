"""The relaxation of a program with a sum of money, written with what is too much: smaller, and sooner solved.

Where rows need one choice alone, what is covered is all that choices reach, less what they reach more than once. Row k
has a column s_k, by how much more than one of the choices reaches it:

    least   sum_k weight_k s_k - sum_j (weight that j reaches) y_j
    so that sum of y_j over who reaches k  <=  1 + s_k,      sum_j price_j y_j  <=  money

The dual of a row is what it does not pay of its weight. Rows that nothing breaks need not be there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import highspy
import numpy as np

from karez.plan.covering.program import Program, runs
from karez.plan.highs import UNBOUNDED, Enough, model_of, run, solver_of
from karez.twin.table import Array

# What the weight in all is scaled to, so that the solver's tolerances mean something.
SCALE = 1e4
OPTIMAL = highspy.HighsModelStatus.kOptimal


class End(NamedTuple):
    """Where a linear program ended: the relaxed choice, what each row pays, the dual of money; or where steps did."""

    choice: Array
    row: Array
    money: float
    is_last: bool


class Excess:
    """The linear program with those rows that were added; its first row is that of money."""

    def __init__(self, program: Program, enough: Enough) -> None:
        """Without any rows."""
        self.program, self.solver, self.rows = program, solver_of(enough), np.zeros(0, np.int64)
        self.value_unit = max(float(program.weight.sum()), 1.0) / SCALE
        self.price_unit = max(float(program.price.sum()) / max(len(program.price), 1), 1.0)
        columns = np.arange(len(program.price))
        reached = np.bincount(program.choices, program.weight[program.row] / self.value_unit, len(columns))
        money = [(np.zeros(len(columns), np.int64), columns, program.price / self.price_unit)]
        limit = np.array([float(program.money or 0) / self.price_unit])
        self.solver.passModel(model_of(money, cost=-reached, lower=np.array([-UNBOUNDED]), upper=limit))

    def add(self, rows: Array) -> None:
        """Add rows (positions), and their columns."""
        program, count, first = self.program, len(rows), len(self.program.price) + len(self.rows)
        if not count:
            return
        none, cost = np.zeros(0, np.int32), program.weight[rows] / self.value_unit
        starts = np.zeros(count, np.int32)
        self.solver.addCols(count, cost, np.zeros(count), np.full(count, UNBOUNDED), 0, starts, none, np.zeros(0))
        size = np.diff(program.bounds)[rows]
        ends = np.cumsum(size + 1)
        value, column = np.ones(int(ends[-1])), np.empty(int(ends[-1]), np.int32)
        value[ends - 1] = -1.0
        column[value < 0] = first + np.arange(count)
        column[value > 0] = program.choices[runs(program.bounds[rows], size)]
        starts[1:] = ends[:-1]
        self.solver.addRows(count, np.full(count, -UNBOUNDED), np.ones(count), len(column), starts, column, value)
        self.rows = np.concatenate([self.rows, rows])

    def end(self) -> End | None:
        """The end by the solver's method, or where its steps ended; None where it comes to none."""
        run(self.solver)
        found, is_last = self.solver.getSolution(), self.solver.getModelStatus() == OPTIMAL
        if not (is_last or self.is_cut_short) or not found.dual_valid:
            return None
        prices, row = np.abs(np.array(found.row_dual)) * self.value_unit, self.program.weight.astype(float)
        row[self.rows] -= prices[1:]
        choice = np.array(found.col_value)[: len(self.program.price)]
        return End(choice, row, float(prices[0] / self.price_unit), is_last)

    @property
    def is_cut_short(self) -> bool:
        """Whether the steps allowed were too few."""
        return bool(self.solver.getModelStatus() == highspy.HighsModelStatus.kIterationLimit)

    def begin(self, low: Array, high: Array, basis: Any) -> None:
        """Let choices be between bounds, and begin from a basis, maybe from before some rows were there."""
        self.solver.changeColsBounds(len(low), np.arange(len(low), dtype=np.int32), low, high)
        if basis is not None:
            self.solver.setBasis(self._extended(basis))

    def _extended(self, basis: Any) -> Any:
        status, missing = highspy.HighsBasisStatus, 1 + len(self.rows) - len(basis.row_status)
        if missing:
            basis.row_status = [*basis.row_status, *[status.kBasic] * missing]
            basis.col_status = [*basis.col_status, *[status.kLower] * missing]
        return basis
