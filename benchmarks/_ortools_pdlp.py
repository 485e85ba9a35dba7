"""A linear program solved by OR-tools' PDLP, in a process of its own that needs OR-tools and SciPy, and no Karez.

Called with a file to read (entries as `row`, `column`, `value`; `cost`, `upper`, and where solving stops) and one to
write (duals of rows, CPU seconds). It is run by the interpreter that KAREZ_ORTOOLS names, so that no one else need
install it. Source of its options: OR-tools, ortools/pdlp/solvers.proto.
"""

from __future__ import annotations

import sys
import time
from typing import Any


def main(given: str, made: str) -> None:
    """Solve the program: least cost, columns not below zero, rows not above `upper`."""
    # Not at the head: whoever looks what benchmarks there are need not have them.
    import numpy as np
    from ortools.pdlp import solve_log_pb2, solvers_pb2  # type: ignore[import-not-found]
    from ortools.pdlp.python import pdlp  # type: ignore[import-not-found]
    from scipy.sparse import csc_matrix

    told: dict[str, Any] = dict(np.load(given))
    program = pdlp.QuadraticProgram()
    shape = len(told["upper"]), len(told["cost"])
    program.objective_vector = told["cost"]
    program.constraint_matrix = csc_matrix((told["value"], (told["row"], told["column"])), shape=shape)
    program.variable_lower_bounds, program.variable_upper_bounds = np.zeros(shape[1]), np.full(shape[1], np.inf)
    program.constraint_lower_bounds, program.constraint_upper_bounds = np.full(shape[0], -np.inf), told["upper"]
    options = solvers_pb2.PrimalDualHybridGradientParams()
    options.num_threads = 1
    near = options.termination_criteria.simple_optimality_criteria
    near.eps_optimal_relative = near.eps_optimal_absolute = float(told["near_share"])
    options.termination_criteria.time_sec_limit = float(told["given_up_s"])
    begun_s = time.process_time()
    found = pdlp.primal_dual_hybrid_gradient(program, options)
    took_s = time.process_time() - begun_s
    ended = solve_log_pb2.TerminationReason.Name(found.solve_log.termination_reason)
    np.savez(made, dual=np.asarray(found.dual_solution), took_s=took_s, ended=ended)


if __name__ == "__main__":
    main(*sys.argv[1:])
