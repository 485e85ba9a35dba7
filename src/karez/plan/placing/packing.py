"""Tasks onto machines: which machine, and which of its chips, so that little is left that no other task can use.

A machine's free chips are a *fragment* for a task that cannot run there, or that they are too small for. The rule of
FGD puts a task where what the typical tasks cannot use grows least; best fit puts it where least is left over. Plans
place gangs on pools of chips; this says whether they fit onto the machines of these pools.

Source: Q. Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent"
(USENIX ATC 2023); scores are whole numbers from 0 to 100, as in the simulator that it comes with.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numba import njit

from karez.twin.table import Array

Rule = Literal["fgd", "best fit"]
# A whole chip in thousandths of one, as shares of chips are given; chips of a machine at most.
WHOLE_CHIP, MOST_CHIPS = 1_000, 16
# Typical tasks are the most frequent kinds that make up this share of all.
TYPICAL_SHARE = 0.95
# The growth of fragments (thousandths of a chip) that a score tells apart.
SCORE_STEP = 1_000.0
# A large machine, by which best fit weighs what is left of processors against what is left of chips.
LARGE_CPU, LARGE_CHIPS = 128_000.0, 8_000.0


class Machines(NamedTuple):
    """Machines, a row each: thousandths of processors, MiB, chips, and the kind of chips (a number below 63)."""

    cpu: Array
    memory_mib: Array
    chips: Array
    kind: Array


class Tasks(NamedTuple):
    """Tasks, a row each: what a machine has, thousandths of each chip, and the kinds of chips that will do (bits)."""

    cpu: Array
    memory_mib: Array
    chips: Array
    milli: Array
    kinds: Array


class Typical(NamedTuple):
    """Kinds of tasks that are expected, a row each, and the share of each; memory does not matter."""

    cpu: Array
    chips: Array
    milli: Array
    kinds: Array
    share: Array


class Packed(NamedTuple):
    """The machine of each task (-1: none has room), and the share of all chips that is taken in the end."""

    machine: Array
    taken_share: float


def typical(tasks: Tasks) -> Typical:
    """The most frequent kinds of tasks."""
    rows = np.stack([tasks.cpu, tasks.chips, tasks.milli, tasks.kinds], axis=1)
    kinds, count = np.unique(rows, axis=0, return_counts=True)
    order = np.argsort(-count, kind="stable")
    so_far = np.cumsum(count[order])
    order = order[: np.searchsorted(so_far, TYPICAL_SHARE * so_far[-1]) + 1]
    cpu, chips, milli, able = kinds[order].T
    return Typical(cpu, chips, milli, able, count[order] / count[order].sum())


def packed(tasks: Tasks, machines: Machines, expected: Typical, rule: Rule) -> Packed:
    """Where tasks go, one after the other; of machines that are as good the first."""
    rows = np.stack([np.asarray(column, np.int64) for column in tasks], axis=1)
    kinds, of = np.unique(rows, axis=0, return_inverse=True)
    machine = np.full(len(of), -1, np.int64)
    free = _pack(
        of.ravel().astype(np.int64),
        Tasks(*(column.copy() for column in kinds.T)),
        Machines(*(np.asarray(column, np.int64) for column in machines)),
        Typical(*(np.asarray(column) for column in expected)),
        rule == "fgd",
        machine,
    )
    return Packed(machine, 1.0 - float(free) / (WHOLE_CHIP * float(machines.chips.sum())))


@njit(cache=True)
def fragment(cpu: int, free: Array, chips: int, kind: int, expected: Typical) -> float:
    """What of a machine's free chips (thousandths) the expected tasks cannot use, on average."""
    whole = 0
    for chip in range(chips):
        whole += free[chip]
    if whole == 0:
        return 0.0
    total = 0.0
    for row in range(expected.share.size):
        milli, useless, able = expected.milli[row], 0, 0
        for chip in range(chips):
            if free[chip] >= milli:
                able += 1
            else:
                useless += free[chip]
        runs = milli > 0 and (expected.kinds[row] >> kind) & 1 == 1
        if not runs or able < expected.chips[row] or cpu < expected.cpu[row]:
            useless = whole
        total += expected.share[row] * useless
    return total


@njit(cache=True)
def _take(free: Array, chips: int, number: int, milli: int) -> None:
    """Take a share of so many chips, the first that have it."""
    for chip in range(chips):
        if number > 0 and milli > 0 and free[chip] >= milli:
            free[chip] -= milli
            number -= 1


@njit(cache=True)
def _score(
    cpu: int, free: Array, chips: int, kind: int, task: tuple[int, int, int], before: float, expected: Typical,
    after: Array,
) -> tuple[int, int]:  # fmt: skip
    """The score of FGD, and for a task on a part of a chip the best one (-1: the first that have room)."""
    wants_cpu, number, milli = task
    if number != 1 or milli >= WHOLE_CHIP:
        after[:chips] = free[:chips]
        _take(after, chips, number, milli)
        grown = fragment(cpu - wants_cpu, after, chips, kind, expected) - before
        return int(100.0 / (1.0 + np.exp(grown / SCORE_STEP))), -1
    best, best_chip = -1, -1
    for chip in range(chips):
        if free[chip] < milli:
            continue
        after[:chips] = free[:chips]
        after[chip] -= milli
        grown = fragment(cpu - wants_cpu, after, chips, kind, expected) - before
        score = int(100.0 / (1.0 + np.exp(grown / SCORE_STEP)))
        if score > best:
            best, best_chip = score, chip
    return best, best_chip


@njit(cache=True)
def _fullest(free: Array, chips: int, milli: int) -> int:
    """The chip with the least free that is enough."""
    best = -1
    for chip in range(chips):
        if free[chip] >= milli and (best < 0 or free[chip] < free[best]):
            best = chip
    return best


@njit(cache=True)
def _pack(of: Array, tasks: Tasks, machines: Machines, expected: Typical, is_fgd: bool, machine: Array) -> int:
    """Write where each task goes; how much of chips is free in the end (thousandths)."""
    number = machines.cpu.size
    cpu, memory = machines.cpu.copy(), machines.memory_mib.copy()
    free, before, after = np.zeros((number, MOST_CHIPS), np.int64), np.zeros(number), np.zeros(MOST_CHIPS, np.int64)
    for at in range(number):
        free[at, : machines.chips[at]] = WHOLE_CHIP
        before[at] = fragment(cpu[at], free[at], machines.chips[at], machines.kind[at], expected)
    # What a kind of task scores on a machine stays as it is until something else comes there.
    shape = (tasks.cpu.size, number)
    scores, chip_of, known = np.zeros(shape), np.zeros(shape, np.int64), np.full(shape, -1)
    changed = np.zeros(number, np.int64)
    for one in range(of.size):
        task = of[one]
        chips, milli = tasks.chips[task], tasks.milli[task]
        best, best_machine = -np.inf, -1
        for at in range(number):
            if cpu[at] < tasks.cpu[task] or memory[at] < tasks.memory_mib[task]:
                continue
            if known[task, at] != changed[at]:
                known[task, at], able = changed[at], 0
                for chip in range(machines.chips[at]):
                    able += free[at, chip] >= milli
                if chips > 0 and (able < chips or (tasks.kinds[task] >> machines.kind[at]) & 1 == 0):
                    scores[task, at] = -np.inf
                elif is_fgd:
                    wants = (tasks.cpu[task], chips, milli)
                    scores[task, at], chip_of[task, at] = _score(
                        cpu[at], free[at], machines.chips[at], machines.kind[at], wants, before[at], expected, after
                    )
                else:
                    left = free[at].sum() - chips * milli
                    scores[task, at] = -((cpu[at] - tasks.cpu[task]) / LARGE_CPU + left / LARGE_CHIPS) / 2.0
                    chip_of[task, at] = _fullest(free[at], machines.chips[at], milli)
            if scores[task, at] > best:
                best, best_machine = scores[task, at], at
        machine[one] = best_machine
        if best_machine < 0:
            continue
        at = best_machine
        cpu[at] -= tasks.cpu[task]
        memory[at] -= tasks.memory_mib[task]
        if chips == 1 and milli < WHOLE_CHIP:
            free[at, chip_of[task, at]] -= milli
        else:
            _take(free[at], machines.chips[at], chips, milli)
        changed[at] += 1
        if is_fgd:
            before[at] = fragment(cpu[at], free[at], machines.chips[at], machines.kind[at], expected)
    return int(free.sum())
