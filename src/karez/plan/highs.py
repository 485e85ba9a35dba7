"""HiGHS as all integer and linear programs of plans use it: silent, on one thread, and to be stopped from outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import highspy
import numpy as np
from scipy.sparse import csr_array

from karez.twin.table import Array

UNBOUNDED = highspy.kHighsInf
# Whether to stop: asked again and again, so that a limit in time and a person's Ctrl-C are the caller's.
Enough = Callable[[], bool]
# Entries of a matrix: their rows, columns and values.
Entries = tuple[Array, Array, Array]


class _Silent(highspy.Highs):
    """HiGHS without a word on the standard output: its constructor tells its name before it can be asked not to."""

    def enableCallbacks(self) -> Any:  # noqa: N802
        """What HiGHS does first of all, after it was told to be silent."""
        self.setOptionValue("output_flag", False)
        return super().enableCallbacks()  # type: ignore[no-untyped-call]


def solver_of(enough: Enough) -> Any:
    """A solver of one thread and one seed, which `enough` may interrupt."""
    solver = _Silent()  # type: ignore[no-untyped-call]
    for name, value in (("threads", 1), ("random_seed", 1)):
        solver.setOptionValue(name, value)

    def ask(event: Any) -> None:
        if enough():
            event.interrupt()

    solver.cbSimplexInterrupt += ask
    solver.cbIpmInterrupt += ask
    solver.cbMipInterrupt += ask
    return solver


def run(solver: Any) -> None:
    """Run the solver, with as many threads as whoever ran HiGHS first in this process: it refuses any other number."""
    if solver.run() == highspy.HighsStatus.kError:
        solver.setOptionValue("threads", 0)
        solver.run()


def model_of(
    parts: Sequence[Entries],
    *,
    cost: Array,
    lower: Array,
    upper: Array,
    whole: Array | None = None,
    most: Array | None = None,
) -> Any:
    """A model of the entries of `parts`, whose columns are from 0 to 1, and integers where `whole` (a mask) is set.

    Columns go up to `most` where that is given.
    """
    matrix = _matrix(parts, len(lower), len(cost))
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(cost), len(lower)
    model.col_cost_, model.col_lower_, model.col_upper_ = (
        cost,
        np.zeros(len(cost)),
        np.ones(len(cost)) if most is None else most,
    )
    model.row_lower_, model.row_upper_ = lower, upper
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_, model.a_matrix_.index_ = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
    model.a_matrix_.value_ = matrix.data
    if whole is not None:
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        model.integrality_ = [kinds[at] for at in whole.astype(int).tolist()]
    return model


def add_rows(solver: Any, parts: Sequence[Entries], *, lower: Array) -> None:
    """Add rows of these entries, numbered from 0 on, which have lower ends alone, to the model of a solver."""
    matrix, number = _matrix(parts, len(lower), solver.getNumCol()), len(lower)
    starts, columns = matrix.indptr[:-1].astype(np.int32), matrix.indices.astype(np.int32)
    solver.addRows(number, lower, np.full(number, UNBOUNDED), len(columns), starts, columns, matrix.data)


def _matrix(parts: Sequence[Entries], rows: int, columns: int) -> csr_array:
    row, column, value = (np.concatenate(each) for each in zip(*parts, strict=True))
    return csr_array((value, (row, column)), shape=(rows, columns))


def start_from(solver: Any, values: Array) -> None:
    """Let an integer program begin with these values of its columns."""
    first = highspy.HighsSolution()
    first.col_value = values.tolist()
    solver.setSolution(first)
