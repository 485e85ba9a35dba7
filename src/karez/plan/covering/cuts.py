"""Cuts of rows that need several choices: what holds in whole numbers, and a linear program does not know by itself.

Of some choices A, a row that needs r and has d choices elsewhere needs r - d. So where row k is counted, A has m_k of
them, and where row l is, all of whose choices are in A, it has r_l >= m_k of them:

    sum of y over A  >=  m_k z_k + (r_l - m_k) z_l,     A = (choices of k, less j) + (choices of l).

Without l this says that the others do not reach k without j: sum of y over A >= (r_k - 1) z_k. Along a chain of
stations neighbouring rows differ by one choice, and there the cuts of two rows bring most: a choice that is taken by
half counts in every row of the chain, though who completes it in one row does not in the next.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from karez.plan.covering.program import Program, fixed
from karez.twin.table import Array

# By how much a cut must be broken.
LEAST_BROKEN = 1e-3
# Cuts of two rows are looked for once no more than this share of rows breaks one of its own.
FEW_SHARE = 0.02
# Of these only so many are taken at a time, those broken most: more cost more than they bring.
MOST_PAIRS = 1_500
# Choices of which less is taken are not there, where two rows are compared.
LEAST_TAKEN = 1e-9
# After every choice.
FAR = 2**62


class Cuts(NamedTuple):
    """A cut each: its row k, the choice j that is left out (-1: none), the other row l (-1: none), and its dual."""

    row: Array
    choice: Array
    other: Array
    dual: Array


NO_CUTS = Cuts(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def joined(*several: Cuts) -> Cuts:
    """Cuts of several, one after the other."""
    return Cuts(*map(np.concatenate, zip(*several, strict=True)))


def some(cuts: Cuts, which: Array) -> Cuts:
    """Those of a mask, or of positions."""
    return Cuts(*(each[which] for each in cuts))


def counts(program: Program, cuts: Cuts) -> tuple[Array, Array]:
    """How often each cut counts its row, and the other one (0 where there is none)."""
    first = program.need[cuts.row] - (cuts.choice >= 0)
    return first, np.where(cuts.other >= 0, program.need[cuts.other] - first, 0)


def paid(program: Program, cuts: Cuts) -> Array:
    """What each row (float64[rows]) pays to choices by its cuts."""
    first, then = counts(program, cuts)
    rows, paired = len(program.weight), cuts.other >= 0
    by_others = np.bincount(cuts.other[paired], (then * cuts.dual)[paired], rows)
    return np.asarray(np.bincount(cuts.row, first * cuts.dual, rows) + by_others)


def members(program: Program, cuts: Cuts) -> tuple[Array, Array]:
    """The choices A of all cuts: the cut (position) and choice of each, ascending."""
    size = np.append(np.diff(program.bounds), 0)
    most = int((size[cuts.row] + size[cuts.other]).sum())
    return _members(program.bounds, program.choices, cuts.row, cuts.choice, cuts.other, most)


@njit(cache=True)
def _members(
    bounds: Array, choices: Array, row: Array, left_out: Array, other: Array, most: int
) -> tuple[Array, Array]:
    cut, choice, number = np.empty(most, np.int64), np.empty(most, np.int64), 0
    for at in range(row.size):
        one, end = bounds[row[at]], bounds[row[at] + 1]
        two, last = (bounds[other[at]], bounds[other[at] + 1]) if other[at] >= 0 else (0, 0)
        while one < end or two < last:
            by_one = choices[one] if one < end else FAR
            by_two = choices[two] if two < last else FAR
            each = min(by_one, by_two)
            one, two = one + (by_one == each), two + (by_two == each)
            if by_two == each or each != left_out[at]:
                cut[number], choice[number] = at, each
                number += 1
    return cut[:number], choice[:number]


def broken(program: Program, choice: Array, row: Array) -> Cuts:
    """The cuts that a relaxed choice breaks, `row` being how much of each row it counts.

    Of each row that without the one who does most, and, once few rows break theirs, with the row beside which it is
    broken most.
    """
    alone = _alone(program, choice, row)
    return alone if len(alone.row) > FEW_SHARE * len(row) else joined(alone, _paired(program, choice, row))


def _alone(program: Program, choice: Array, row: Array) -> Cuts:
    there = np.diff(program.bounds) > 0
    if not there.any():
        return NO_CUTS
    value, starts = choice[program.choices], program.bounds[:-1][there]
    most, others = np.zeros(len(there)), np.zeros(len(there))
    most[there] = np.maximum.reduceat(value, starts)
    others[there] = np.add.reduceat(value, starts) - most[there]
    breaks = there & (program.need > 1) & ((program.need - 1) * row > others + LEAST_BROKEN)
    # The first of those who do most.
    is_most = np.flatnonzero(value == most[program.row])[::-1]
    first = np.zeros(len(there), np.int64)
    first[program.row[is_most]] = program.choices[is_most]
    rows = np.flatnonzero(breaks)
    return Cuts(rows, first[rows], np.full(len(rows), -1), np.zeros(len(rows)))


def _paired(program: Program, choice: Array, row: Array) -> Cuts:
    """For each row that beside which its cut is broken most: of those that the same choices reach, one counted most."""
    few = fixed(program, np.zeros(len(choice), bool), choice <= LEAST_TAKEN)
    small, live = few.program, np.flatnonzero(few.owner >= 0)
    if not len(live):
        return NO_CUTS
    # Those counted most come first, then those of the fewest choices.
    live = live[np.lexsort((np.diff(program.bounds)[live], -row[live]))]
    alike, first = np.unique(few.owner[live], return_index=True)
    most = np.zeros(len(small.weight))
    most[alike], found = row[live[first]], np.zeros(len(small.weight), np.int64)
    found[alike] = live[first]
    beside, left_out, short = _worst(small.bounds, small.choices, small.need, choice[few.free], most)
    mine = few.owner[live]
    # How often the row itself is counted: what its like are counted more than it, it is broken by less.
    first = np.where(small.need[beside] < small.need, small.need[beside], small.need - 1)
    less = (small.need - first)[mine] * (most[mine] - row[live])
    breaks = (beside[mine] >= 0) & (short[mine] - less > LEAST_BROKEN)
    by = (short[mine] - less)[breaks]
    worst = np.argsort(-by, kind="stable")[:MOST_PAIRS]
    rows, mine = live[breaks][worst], mine[breaks][worst]
    left_out = np.append(few.free, -1)[left_out[mine]]
    return Cuts(found[beside[mine]], left_out, rows, np.zeros(len(rows)))


@njit(cache=True)
def _worst(bounds: Array, choices: Array, need: Array, value: Array, count: Array) -> tuple[Array, Array, Array]:
    """For each row l the row k and the choice of it left out (-1: none) whose cut is broken most, and by how much.

    Source: the cut above, all pairs of rows.
    """
    rows = need.size
    beside, left_out, by = np.full(rows, -1), np.full(rows, -1), np.zeros(rows)
    is_mine = np.zeros(value.size, np.bool_)
    for row in range(rows):
        if need[row] < 2:
            continue
        mine = choices[bounds[row] : bounds[row + 1]]
        there = 0.0
        for each in mine:
            is_mine[each] = True
            there += value[each]
        for other in range(rows):
            lacks = need[row] - need[other]
            if other == row or lacks < 0:
                continue
            # As many as this one needs but one, without the one left out; or as many as the other one needs.
            first = need[other] - 1 if lacks == 0 else need[other]
            room = first * count[other] + (need[row] - first) * count[row] - there - by[row]
            if room <= 0.0:
                continue
            outside, most, which = 0.0, 0.0, -1
            for each in choices[bounds[other] : bounds[other + 1]]:
                if is_mine[each]:
                    continue
                outside += value[each]
                if lacks == 0 and value[each] > most:
                    most, which = value[each], each
                if outside - most >= room:
                    break
            if outside - most < room and not (lacks == 0 and which < 0):
                beside[row], left_out[row] = other, which
                by[row] += room - (outside - most)
        for each in mine:
            is_mine[each] = False
    return beside, left_out, by
