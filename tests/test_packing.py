"""Tasks onto machines: fragments counted plainly, machines never too full, and the published allocation."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from benchmarks import lacks
from benchmarks import packing as measured
from karez.plan.placing.packing import WHOLE_CHIP, Machines, Rule, Tasks, Typical, fragment, packed, typical


def _tasks(random: np.random.Generator, number: int) -> Tasks:
    chips = random.choice([0, 1, 1, 1, 2, 4, 8], number)
    milli = np.where(chips == 1, random.choice([250, 500, 1000], number), np.where(chips > 1, WHOLE_CHIP, 0))
    return Tasks(
        random.integers(1, 9, number) * 1000, random.integers(1, 9, number) * 512, chips, milli, np.full(number, 3)
    )


def _machines(random: np.random.Generator, number: int) -> Machines:
    return Machines(
        random.choice([16_000, 64_000], number),
        random.choice([8_192, 65_536], number),
        random.choice([1, 2, 8], number),
        random.integers(0, 3, number),
    )


def _fragment(cpu: int, free: list[int], kind: int, expected: Typical) -> float:
    total = 0.0
    for wants, chips, milli, kinds, share in zip(*(column.tolist() for column in expected), strict=True):
        able = [chip for chip in free if chip >= milli]
        runs = milli > 0 and kinds >> kind & 1 and len(able) >= chips and cpu >= wants
        total += share * (sum(free) - sum(able) if runs else sum(free))
    return total


def test_fragments_are_what_plain_counting_says(turning_seed: int) -> None:
    random = np.random.default_rng(turning_seed)
    expected = typical(_tasks(random, 200))
    for _ in range(200):
        chips, kind, cpu = int(random.integers(1, 9)), int(random.integers(0, 3)), int(random.integers(0, 16_000))
        free = random.choice([0, 250, 500, 1000], chips)
        assert fragment(cpu, free, chips, kind, expected) == pytest.approx(
            _fragment(cpu, free.tolist(), kind, expected)
        )


@pytest.mark.parametrize("rule", get_args(Rule))
def test_no_machine_is_too_full_and_none_is_passed_over(rule: Rule, turning_seed: int) -> None:
    random = np.random.default_rng(turning_seed)
    tasks, machines = _tasks(random, 150), _machines(random, 20)
    done = packed(tasks, machines, typical(tasks), rule)
    placed = done.machine >= 0
    used = [
        np.bincount(done.machine[placed], weights=column[placed], minlength=20)
        for column in (tasks.cpu, tasks.memory_mib, tasks.chips * tasks.milli)
    ]
    assert (used[0] <= machines.cpu).all()
    assert (used[1] <= machines.memory_mib).all()
    assert (used[2] <= machines.chips * WHOLE_CHIP).all()
    assert done.taken_share == pytest.approx(used[2].sum() / (machines.chips.sum() * WHOLE_CHIP))
    assert (machines.kind[done.machine[placed & (tasks.chips > 0)]] < 2).all()
    # The first task finds everything free.
    assert placed[0] == bool(
        (
            (machines.cpu >= tasks.cpu[0])
            & (machines.memory_mib >= tasks.memory_mib[0])
            & ((tasks.chips[0] == 0) | ((machines.chips >= tasks.chips[0]) & (machines.kind < 2)))
        ).any()
    )


def test_a_part_of_a_chip_goes_where_nothing_else_would_fit() -> None:
    machines = Machines(np.full(2, 64_000), np.full(2, 65_536), np.array([2, 2]), np.zeros(2, np.int64))
    halves = Tasks(np.full(2, 1000), np.full(2, 512), np.array([1, 1]), np.array([500, 500]), np.full(2, 1))
    whole = Typical(np.array([1000]), np.array([2]), np.array([WHOLE_CHIP]), np.array([1]), np.ones(1))
    for rule in get_args(Rule):
        assert len(set(packed(halves, machines, whole, rule).machine.tolist())) == 1


@pytest.mark.skipif(bool(lacks(measured)), reason="the public trace is not beside this clone")
def test_both_rules_allocate_what_was_published() -> None:
    assert not [figure.what for figure in measured.run() if figure.misses_bar]
