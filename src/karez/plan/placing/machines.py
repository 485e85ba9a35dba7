"""Whether the gangs of a plan fit onto the machines of their pools, which a plan does not look at.

A pool is machines of as many chips each, and one with the rest. A gang takes whole machines and, for what is left, the
fullest machine that has room: where all want whole chips, the rule of fragmentation gradient descent (`packing`) comes
to that. Who runs stays where it is, and who has a load by the hour keeps what its peak takes. First comes what begins
first, then what is larger.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from karez.plan.placing.program import Jobs, Program, chips_of, hours_of, part_of
from karez.plan.placing.whole import Placed
from karez.twin.table import Array


def on_machines(program: Program, placed: Placed, chips_per_machine: int) -> Array:
    """Whether each job is served and fits onto machines with all its legs, in the order of `placed`."""
    served = np.flatnonzero(placed.arm >= 0)
    rows = np.empty((_legs(program.arms, placed.arm, served), 5), np.int64)
    _write_legs(program.jobs, program.arms, placed, served, rows)
    rows = rows[np.lexsort((-rows[:, 4], rows[:, 2], rows[:, 1]))]
    answer = placed.arm >= 0
    ends = np.searchsorted(rows[:, 1], np.arange(len(program.pools.site) + 1))
    for pool in range(len(program.pools.site)):
        whole, rest = divmod(int(program.pools.chips[pool].max(initial=0)), chips_per_machine)
        free = np.full((whole + (rest > 0), program.hours), chips_per_machine)
        free[whole:] = rest
        _seat(rows[ends[pool] : ends[pool + 1]], free, chips_per_machine, answer)
    return answer


@njit(cache=True)
def _legs(arms: Array, arm: Array, served: Array) -> int:
    number = 0
    for one in served:
        leg = arm[one]
        while leg >= 0:
            number += 1
            leg = arms[leg].then
    return number


@njit(cache=True)
def _write_legs(jobs: Jobs, arms: Array, placed: Placed, served: Array, rows: Array) -> None:
    """Of each leg the job (position), pool, first hour, hour after the last, and chips."""
    to = 0
    for one in served:
        job, arm, start = placed.job[one], placed.arm[one], placed.start[one]
        end, chips = start + hours_of(job, arm, jobs, arms), chips_of(job, arm, jobs, arms)
        leg = arm
        while leg >= 0:
            rows[to, 0], rows[to, 1], rows[to, 2] = one, arms[leg].pool, start
            rows[to, 3], rows[to, 4] = end, part_of(chips, arms[leg].share)
            to += 1
            leg = arms[leg].then


@njit(cache=True)
def _seat(rows: Array, free: Array, size: int, answer: Array) -> None:
    machines = free.shape[0]
    left, taken = np.empty(machines, np.int64), np.empty(machines, np.int64)
    for row in range(rows.shape[0]):
        one, start, end, chips = rows[row, 0], rows[row, 2], rows[row, 3], rows[row, 4]
        whole, rest, number, fullest = chips // size, chips % size, 0, -1
        for at in range(machines):
            left[at] = free[at, start:end].min()
            if left[at] == size and number < whole:
                taken[number] = at
                number += 1
            elif left[at] >= rest and rest > 0 and (fullest < 0 or left[at] < left[fullest]):
                fullest = at
        if number < whole or (rest > 0 and fullest < 0):
            answer[one] = False
            continue
        for at in taken[:whole]:
            free[at, start:end] -= size
        if rest > 0:
            free[fullest, start:end] -= rest
