"""The linear program of a thousand jobs, written out for HiGHS, against prices and prefix sums.

All CPU of one thread; building the model counts as HiGHS's. How near each has come is said by our own bound of its
duals; who stops before it is near, or is given up, would take longer than what counts here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import highspy
import numpy as np
from scipy.sparse import csr_array

from benchmarks import Figure, figure
from benchmarks.instances.jobs import SETTINGS, nation
from karez.plan.highs import solver_of
from karez.plan.placing import check
from karez.plan.placing.pricing import sorted_by_money
from karez.plan.placing.program import Program, Used, available
from karez.plan.placing.relax import Relaxation
from karez.plan.placing.solve import STEPS, relaxed, solved
from karez.twin.table import Array

NAME = "linear"
SEEDS = (1,)
TIMES_BAR, NEAR_SHARE = 20.0, 0.001
# A solver that has not stopped within so many CPU seconds is given up.
GIVEN_UP_S = 120.0


def run() -> list[Figure]:
    """CPU seconds until the bound is within a share of the optimum, by us and by HiGHS."""
    solved(nation(SETTINGS["jobs-1k"], SEEDS[0] + 1).program)
    return list(_figures())


def _figures() -> Iterator[Figure]:
    program = nation(SETTINGS["jobs-1k"], SEEDS[0]).program
    _, rows, nonzeros = _explicit(program)
    best = float("inf")
    optimum = _optimum(program)
    yield figure("jobs-1k, linear program: entries of the matrix", nonzeros, "")
    for method in ("simplex", "ipm", "pdlp"):
        begun = time.process_time()
        solver = solver_of(lambda begun=begun: time.process_time() - begun >= GIVEN_UP_S)  # type: ignore[misc]
        solver.setOptionValue("solver", method)
        for option in ("pdlp_optimality_tolerance", "ipm_optimality_tolerance", "kkt_tolerance"):
            solver.setOptionValue(option, NEAR_SHARE)
        solver.passModel(_explicit(program)[0])
        solver.run()
        took_s = time.process_time() - begun
        dual = np.maximum(-np.array(solver.getSolution().row_dual)[len(program.jobs.number) :], 0.0)
        said = check.bound(program, _prices(dual, rows))
        yield figure(f"jobs-1k, HiGHS {method}: CPU until it stops", took_s, "s")
        yield figure(
            f"jobs-1k, HiGHS {method}: below the optimum by our bound of its duals", 1 - said / optimum, "share"
        )
        # Who has not come near takes longer than this.
        best = min(best, took_s)
    begun = time.process_time()
    relaxation = Relaxation(sorted_by_money(program))
    round_ = 0
    while relaxation.bound < optimum * (1 - NEAR_SHARE):
        relaxation.step(STEPS[min(round_, len(STEPS) - 1)])
        relaxation.prove(relaxation.now)
        round_ += 1
    took_s = time.process_time() - begun
    yield figure(
        "jobs-1k, ours: CPU until within 0.1 % (yardstick: the best of HiGHS, at least)", took_s, "s", yardstick=best
    )
    yield figure(
        "jobs-1k: times less CPU than the best of HiGHS, at least", best / took_s, "", TIMES_BAR, better="higher"
    )


def _optimum(program: Program) -> float:
    """The optimum of the linear program, but for less than a millionth: a bound that gains nothing more."""
    return relaxed(sorted_by_money(program), near_share=1e-7, spare_share=0.0).bound


def _explicit(program: Program) -> tuple[Any, list[tuple[int, ...]], int]:
    """The linear program of all options, written out; the shapes of its limits, and how many entries it has."""
    number, limits = len(program.jobs.number), available(program)
    size = sum(limit.size for limit in limits)
    job, cost, starts, row, value = _written_out(program)
    options = len(cost)
    of = np.repeat(np.arange(options), np.diff(starts))
    matrix = csr_array(
        (
            np.concatenate([np.ones(options), value]),
            (np.concatenate([job, number + row]), np.concatenate([np.arange(options), of])),
        ),
        shape=(number + size, options),
    )
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = options, number + size
    model.col_cost_, model.offset_ = cost - program.jobs.unserved_cny[job], program.unserved_cny
    model.col_lower_, model.col_upper_ = np.zeros(options), np.full(options, highspy.kHighsInf)
    model.row_lower_ = np.full(number + size, -highspy.kHighsInf)
    model.row_upper_ = np.concatenate([program.jobs.number.astype(float), *(limit.ravel() for limit in limits)])
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_, model.a_matrix_.index_ = matrix.indptr.astype(np.int32), matrix.indices.astype(np.int32)
    model.a_matrix_.value_ = matrix.data
    return model, [limit.shape for limit in limits], matrix.nnz


def _prices(dual: Array, shapes: list[tuple[int, ...]]) -> Used:
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return Used(*(part.reshape(shape) for part, shape in zip(np.split(dual, ends[:-1]), shapes, strict=True)))


def _written_out(program: Program) -> tuple[Array, Array, Array, Array, Array]:
    """All options: job and cost (CNY) of each, and its entries (rows of limits, values) as runs."""
    sizes = np.array([limit.size for limit in available(program)])
    first = np.concatenate([[0], np.cumsum(sizes)])[:4]
    counts = _write_out(program, first, None)
    job, cost = np.empty(counts[0], np.int64), np.empty(counts[0])
    starts, row, value = np.empty(counts[0] + 1, np.int64), np.empty(counts[1], np.int64), np.empty(counts[1])
    _write_out(program, first, (job, cost, starts, row, value))
    return job, cost, starts, row, value


def _write_out(program: Program, first: Array, into: tuple[Array, ...] | None) -> tuple[int, int]:
    """Count options and entries, or write them; arms of this instance have one leg, and loads are even."""
    jobs, hours, at, entry = program.jobs, program.hours, 0, 0
    for job in range(len(jobs.number)):
        menu = int(jobs.menu[job])
        for arm in range(int(program.menus[menu]), int(program.menus[menu + 1])):
            length, chips = check.hours_and_chips(program, job, arm)
            row = program.arms[arm]
            pool, route = int(row["pool"]), int(row["route"])
            if chips > program.pools.chips[pool].max():
                continue
            links = program.routes.links[program.routes.starts[route] : program.routes.starts[route + 1]]
            site, gb = int(program.pools.site[pool]), float(jobs.gb[job]) / length
            bases = [first[0] + pool * hours, first[1] + site * hours, first[2] + site * hours]
            bases += (first[3] + links * hours).tolist()
            values = [chips, chips * program.pools.kw[pool], gb, *[gb] * len(links)]
            for start in range(int(jobs.opens[job]), int(jobs.closes[job]) - length + 1):
                size = len(bases) * length
                if into is not None:
                    into[0][at], into[2][at] = job, entry
                    money = float(program.pools.cny[pool, start : start + length].sum()) * chips
                    into[1][at] = money + float(row["cny_per_gb"]) * float(jobs.gb[job])
                    span = np.arange(start, start + length)
                    into[3][entry : entry + size] = (np.array(bases)[:, None] + span).ravel()
                    into[4][entry : entry + size] = np.repeat(values, length)
                at, entry = at + 1, entry + size
    if into is not None:
        into[2][at] = entry
    return at, entry
