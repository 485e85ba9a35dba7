"""From quick to proven: rungs that each leave a choice, a bound and the gap between them.

Greedy; a linear program on the choices that matter, with rounding; search by destroying and repairing; and an integer
program on the few choices that the bound leaves open. Whoever calls says how high to climb and when it is enough.

The linear program is solved on few choices, for which most rows are alike and one. Its duals are shared out over the
rows they stand for, which proves a bound for the whole; choices that would still pay under them are added, and again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Literal, NamedTuple, get_args

import numpy as np
from numba import njit

from karez.plan.covering import capacity, search
from karez.plan.covering.ascent import ascended
from karez.plan.covering.branch import branched, is_branchable
from karez.plan.covering.cuts import NO_CUTS, Cuts, joined
from karez.plan.covering.program import Program, Smaller, fixed, only, undominated
from karez.plan.covering.relax import (
    METHODS,
    Duals,
    Relaxed,
    bound_of,
    density_duals,
    relaxed,
    solved,
)
from karez.plan.highs import Enough
from karez.twin.table import Array

Effort = Literal["greedy", "relaxed", "searched", "exact"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
# Values of the relaxed choice from which on choices are taken before the rest is completed.
THRESHOLDS = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
# Steps of the ascent that says which choices to begin the linear program with, and how many of them.
FIRST_STEPS, FIRST_SHARE, LEAST_FIRST = 30, 0.2, 100
# Choices added at a time, as a share; the linear program ends where its bound for the whole is so near.
ADDED_SHARE, NEAR_SHARE, MOST_PASSES = 0.1, 1e-5, 30
# Where rows need several, cuts take longer than they bring once it is as near as this.
NEAR_SHARE_OF_SEVERAL = 1e-4
# Rounds of the search between two looks at the clock, and such batches without anything better before it ends.
BATCH, VAIN_BATCHES, VAIN_BATCHES_OF_MONEY = 200, 4, 12
# Rounds between two looks where each takes a flow.
BATCH_OF_FLOWS = 5
# How often an integer program of the choices that the relaxation took in part may ask whether it is enough. It is not
# told by a clock, so that the same question gives the same plan.
MOST_LOOKS = 1_000
# Parts of the room between bound and value for which integer programs are solved, one after the other.
PARTS = (0.2, 1.0)
# Where the gap is wider than this, bounds decide little, and all the room is looked at from the start.
WIDE_SHARE = 0.1
# So is where a part leaves open this share of the choices that all the room does.
ALIKE_SHARE = 0.8
# A bound is news where it leaves so much of the gap, at most.
NEWS_SHARE = 0.8
# Programs with more entries are not looked through for dominated choices.
MOST_ENTRIES = 200_000
SLACK = 1e-6
# What rounding may have done to a bound, as a share of it.
ROUNDING_SHARE = 1e-9
# A demand that nothing meets.
UNREACHABLE = 2**62


class Rung(NamedTuple):
    """What one rung of the ladder left: the value of its best choice, the bound by then, and the seconds so far."""

    name: str
    value: int
    bound: float
    seconds: float


@dataclass
class Climb:
    """The best known of a program on the way up.

    `duals` prove `bound`; `reduced` are the reduced prices with them; `partly` has the choices (a mask) that the linear
    program took at least in part. `closed_bound` is what the integer program's solver says, which no duals prove.
    """

    program: Program
    chosen: Array
    duals: Duals
    bound: float
    reduced: Array
    partly: Array
    closed_bound: float = -np.inf
    seconds: Callable[[], float] = lambda: 0.0
    rungs: list[Rung] = field(default_factory=list)

    @property
    def value(self) -> int:
        """The value of the best choice."""
        return self.program.value(self.chosen)

    def note(self, name: str, bound: float) -> None:
        """Write down where the climb is, with a bound that is known beside that of the duals."""
        self.rungs.append(Rung(name, self.value, max(self.bound, bound), self.seconds()))

    def offer(self, chosen: Array) -> None:
        """Keep a choice where it does what is wanted, and better."""
        if self.program.is_met(chosen) and self.program.value(chosen) < self.value:
            self.chosen = np.sort(chosen)

    def prove(self, duals: Duals) -> None:
        """Keep duals where they prove more."""
        bound, valid, reduced = bound_of(self.program, duals)
        if bound > self.bound:
            self.bound, self.duals, self.reduced = bound, valid, reduced


def climb(
    program: Program,
    *,
    effort: Effort = "exact",
    enough: Enough = lambda: False,
    seconds: Callable[[], float] = lambda: 0.0,
    seed: int = 1,
) -> Climb:
    """The best choice and bound that the effort allows; `program` can be met.

    `enough` is asked again and again, `seconds` tells how long it has been: the clock is the caller's.
    """
    chosen = search.greedy(program)
    duals = density_duals(program) if program.money is None else _idle(program)
    bound, valid, reduced = bound_of(program, duals)
    made = Climb(program, chosen, valid, bound, reduced, np.zeros(len(reduced), bool), seconds=seconds)
    rungs = {"greedy": _nothing, "relaxed": _relax, "searched": _search, "exact": _close}
    for name in EFFORTS[: EFFORTS.index(effort) + 1]:
        rungs[name](made, enough, seed)
        made.note(name, made.closed_bound)
        if enough() or is_closed(made):
            break
    return made


def is_closed(made: Climb) -> bool:
    """Whether nothing better is possible: every value is a multiple of the unit, and no bound leaves another."""
    return made.closed_bound >= made.value or _least(made, made.bound) >= made.value


def _least(made: Climb, bound: float) -> float:
    """The least value that a bound allows."""
    if not np.isfinite(bound):
        return bound
    return float(np.ceil((bound - _slack(bound)) / made.program.unit) * made.program.unit)


def _slack(bound: float) -> float:
    return max(SLACK, ROUNDING_SHARE * abs(bound))


def _idle(program: Program) -> Duals:
    """Duals that prove no more than that no weight is below zero."""
    return Duals(np.zeros(len(program.weight)), np.ones(len(program.demand)))


def _nothing(made: Climb, enough: Enough, seed: int) -> None:
    """The first rung is where the climb begins."""


def _relax(made: Climb, enough: Enough, seed: int) -> None:
    program, keep = made.program, _first(made)
    nothing, last, methods, cuts = np.zeros(len(keep), bool), None, METHODS, NO_CUTS
    near_share = NEAR_SHARE_OF_SEVERAL if program.needs_several else NEAR_SHARE
    for _ in range(MOST_PASSES):
        small = fixed(program, nothing, ~keep)
        found = relaxed(small.program, enough, methods, _carried(small, cuts))
        if found is None:
            break
        # What took over once takes over for good.
        methods = METHODS[METHODS.index(found.method) :]
        last = small, found
        duals = _shared_out(program, small, found.duals)
        cuts = duals.cuts
        made.prove(duals)
        bound, _, reduced = bound_of(program, duals)
        paying = np.flatnonzero((reduced < -SLACK * program.price) & ~keep)
        best = bound_of(small.program, found.duals)[0] + _gone(program, small)
        if not len(paying) or best - bound <= near_share * abs(best) or enough():
            break
        # Where an interior point took over, a pass costs more than what is added.
        share = 1.0 if methods[0] == "ipm" else ADDED_SHARE
        most = max(int(len(keep) * share), len(paying) // 2, LEAST_FIRST)
        keep[paying[np.argsort(reduced[paying], kind="stable")][:most]] = True
    if last is not None:
        small, found = last
        made.partly[small.free] = found.choice > SLACK
        _round(made, small, found)


def _first(made: Climb) -> Array:
    """The choices (a mask) with which the linear program begins: those of the choice known, and that nearly pay."""
    program = made.program
    _, _, reduced = bound_of(program, ascended(program, made.value, FIRST_STEPS))
    keep = _nearly_paying(program, reduced, max(int(len(reduced) * FIRST_SHARE), LEAST_FIRST))
    keep[made.chosen] = True
    return keep


def _gone(program: Program, small: Smaller) -> int:
    """The weight of rows that are gone from the smaller program, where uncovered weight is the value."""
    return 0 if program.money is None else int(program.weight[small.owner < 0].sum())


def _shared_out(program: Program, small: Smaller, duals: Duals) -> Duals:
    """Duals for the whole: a row has its part of that of the row it is in, by weight, or all that it may be worth.

    Where two must reach a row and one alone is left, that one is not to pay for it: those who are not there are.
    """
    there, few = small.owner >= 0, small.program
    worth = duals.group[program.group] * program.weight
    row = worth / program.need
    owner = small.owner[there]
    row[there] = duals.row[owner] * (program.weight[there] / few.weight[owner])
    cuts, lone = _cuts_shared_out(program, small, duals.cuts), _lone(program, small, worth)
    row[lone.row] = 0.0
    return Duals(row, duals.group, duals.money, joined(cuts, lone))


def _lone(program: Program, small: Smaller, worth: Array) -> Cuts:
    """Cuts of rows that need two and are gone from the smaller program, without the one choice that is still there.

    Their duals are all that the rows may be `worth`.
    """
    is_free = np.zeros(len(program.price), bool)
    is_free[small.free] = True
    entry = np.flatnonzero(is_free[program.choices] & ((program.need == 2) & (small.owner < 0))[program.row])
    alone = np.bincount(program.row[entry], minlength=len(program.weight)) == 1
    entry = entry[alone[program.row[entry]]]
    row = program.row[entry]
    return Cuts(row, program.choices[entry], np.full(len(row), -1), worth[row])


def _cuts_shared_out(program: Program, small: Smaller, cuts: Cuts) -> Cuts:
    """Cuts of the rows that are in a row that is cut, each with its part of the dual by weight.

    Of two rows that are cut together those within are matched in their order, so that each has its part.
    """
    if not len(cuts.row):
        return cuts
    rows = np.argsort(small.owner, kind="stable")
    starts = np.searchsorted(small.owner[rows], np.arange(len(small.program.weight) + 1))
    part = np.zeros(len(rows))
    there = small.owner >= 0
    part[there] = program.weight[there] / small.program.weight[small.owner[there]]
    of, row, other, share = _matched(cuts.row, cuts.other, starts, rows, part)
    return Cuts(row, np.append(small.free, -1)[cuts.choice[of]], other, cuts.dual[of] * share)


@njit(cache=True)
def _matched(row: Array, other: Array, starts: Array, rows: Array, part: Array) -> tuple[Array, Array, Array, Array]:
    """The cuts (positions) that rows within those cut are in, those rows, the rows beside (-1: none), and shares.

    The rows within row k are `rows[starts[k]:starts[k + 1]]`; of each, `part` has its share.
    """
    most = 0
    for cut in range(row.size):
        most += starts[row[cut] + 1] - starts[row[cut]]
        if other[cut] >= 0:
            most += starts[other[cut] + 1] - starts[other[cut]]
    of, one, beside, share = (
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most),
    )
    number = 0
    for cut in range(row.size):
        at, last = starts[row[cut]], starts[row[cut] + 1]
        if other[cut] < 0:
            for each in rows[at:last]:
                of[number], one[number], beside[number], share[number] = cut, each, -1, part[each]
                number += 1
            continue
        then, end = starts[other[cut]], starts[other[cut] + 1]
        left, open_ = part[rows[at]], part[rows[then]]
        while True:
            both = min(left, open_)
            of[number], one[number], beside[number], share[number] = cut, rows[at], rows[then], both
            number += 1
            left, open_ = left - both, open_ - both
            # Where rounding leaves a little of the one, the other has come to its end.
            if left <= open_:
                at += 1
                if at == last:
                    break
                left = part[rows[at]]
            else:
                then += 1
                if then == end:
                    break
                open_ = part[rows[then]]
    return of[:number], one[:number], beside[:number], share[:number]


def _carried(small: Smaller, cuts: Cuts) -> Cuts:
    """The cuts of the whole that pay and whose rows and choices the smaller program has, each of them once."""
    number, owner = np.full(int(small.free.max(initial=-1)) + 2, -1), np.append(small.owner, -1)
    number[small.free] = np.arange(len(small.free))
    pays = (cuts.dual > 0) & (small.owner[cuts.row] >= 0) & (np.isin(cuts.choice, small.free) | (cuts.choice < 0))
    pays &= (cuts.other < 0) | (owner[cuts.other] >= 0)
    row, choice, other = owner[cuts.row[pays]], number[cuts.choice[pays]], owner[cuts.other[pays]]
    row, choice, other = np.unique(np.stack([row, choice, other]), axis=1)
    return Cuts(row, choice, other, np.zeros(len(row)))


def _round(made: Climb, small: Smaller, found: Relaxed) -> None:
    """Offer the relaxed choice, rounded at several thresholds and completed."""
    program = _with_groups(small.program, found.group)
    order = np.argsort(-found.choice, kind="stable")
    affordable = np.cumsum(program.price[order]) <= (np.inf if program.money is None else program.money)
    for threshold in THRESHOLDS:
        start = order[affordable & (found.choice[order] >= threshold)]
        made.offer(small.free[search.greedy(program, start)])


def _with_groups(program: Program, picked: Array) -> Program:
    """The program in which only as many groups as are wanted can be met, those picked most."""
    if program.wanted == len(program.demand):
        return program
    best = np.zeros(len(picked), bool)
    best[np.argsort(-picked, kind="stable")[: program.wanted]] = True
    few = only(program, np.flatnonzero(best[program.group]))
    return replace(few, demand=np.where(best, program.demand, UNREACHABLE))


def _smaller(made: Climb, room: float, kept: Array | None = None) -> tuple[Smaller, Array]:
    """The program less what the bound decides for plans within `room` of it, and the choices it decides to take.

    A choice whose reduced price is above the room is in no such plan; one as far below zero is in each. Where there is
    `kept` (a mask), no others are left to choose among.
    """
    taken, left = made.reduced < -room, made.reduced > room
    if kept is not None:
        left |= ~(kept | taken)
    return fixed(made.program, taken, left), np.flatnonzero(taken)


def _inside(small: Smaller, chosen: Array) -> Array:
    """The choices (positions) of a smaller program that stand for some of the whole."""
    return np.searchsorted(small.free, np.intersect1d(chosen, small.free))


def _search(made: Climb, enough: Enough, seed: int) -> None:
    if made.program.capacity is not None:
        _search_flows(made, enough, seed)
        return
    vain, batch = 0, 0
    # With money, swaps go on paying for long, and bounds decide little.
    most = VAIN_BATCHES if made.program.money is None else VAIN_BATCHES_OF_MONEY
    small, taken = _promising(made)
    net = search.net_of(small.program)
    while vain < most and not (enough() or is_closed(made)):
        before, best = made.value, np.zeros(len(net.price), bool)
        state = search.state_of(net, _inside(small, made.chosen))
        search.improve(net, state, net.price.astype(float), BATCH, seed + batch, best)
        made.offer(np.union1d(taken, small.free[best]))
        vain, batch = vain + 1, batch + 1
        if made.value < before:
            # The bound decides more now.
            vain, (small, taken) = 0, _promising(made)
            net = search.net_of(small.program)


def _search_flows(made: Climb, enough: Enough, seed: int) -> None:
    vain, batch = 0, 0
    while vain < VAIN_BATCHES and not (enough() or is_closed(made)):
        before = made.value
        made.offer(capacity.improved(made.program, made.chosen, BATCH_OF_FLOWS, seed + batch))
        vain, batch = 0 if made.value < before else vain + 1, batch + 1


def _promising(made: Climb) -> tuple[Smaller, Array]:
    """The program of the choices that are worth a search, those of the choice known among them, and what is taken."""
    kept = _nearly_paying(made.program, made.reduced, _most_searched(made))
    kept[made.chosen] = True
    # No room is taken off for the unit: so the choice known is among those that are left.
    return _smaller(made, made.value - made.bound + _slack(made.value), kept)


def _nearly_paying(program: Program, reduced: Array, number: int) -> Array:
    """The choices (a mask) of the least reduced price for their price, so many."""
    kept = np.zeros(len(reduced), bool)
    kept[np.argsort(reduced / np.maximum(program.price, 1), kind="stable")[:number]] = True
    return kept


def _most_searched(made: Climb) -> int:
    if made.program.money is not None:
        return len(made.reduced)
    return max(int(len(made.reduced) * FIRST_SHARE), LEAST_FIRST, 2 * len(made.chosen))


def _close(made: Climb, enough: Enough, seed: int) -> None:
    """Solve integer programs: on the choices that the relaxation took in part, then on what the bound leaves open.

    The first of these, for plans within a part of the room, finds a good plan; then the bound leaves less open. No plan
    is better than the last one's where that was for all the room there is.
    """
    unit, at_first = made.program.unit, made.value - made.bound
    if made.program.needs_several or (made.program.money is None and made.program.capacity is None):
        _solve_among(made, enough)
    for part in _parts(made):
        if enough() or is_closed(made):
            break
        before = made.value
        room = max(min(part * at_first, before - unit - made.bound), 0.0)

        def hear(least: float, room: float = room) -> None:
            known = min(_least(made, least), _least(made, made.bound + room), made.value)
            if made.value - known < NEWS_SHARE * (made.value - made.rungs[-1].bound):
                made.note("exact", known)

        bound = _solve_within(made, room + _slack(before), enough, hear)
        # Plans outside of the room are worth more than the bound and the room: maybe no less than the best one known.
        is_whole = made.value - unit - made.bound <= room
        outside = made.value if is_whole else _least(made, made.bound + room)
        made.closed_bound = max(made.closed_bound, min(_least(made, bound), outside, made.value))
        if is_whole:
            break
        made.note("exact", made.closed_bound)


def _parts(made: Climb) -> tuple[float, ...]:
    """The parts of the room to look at: all at once where the gap is wide, or where a part leaves as much open."""
    room = made.value - made.bound
    few, most = ((np.abs(made.reduced) <= part * room).sum() for part in PARTS)
    return PARTS[bool(room > WIDE_SHARE * abs(made.value) or few > ALIKE_SHARE * most) :]


def _solve_among(made: Climb, enough: Enough) -> None:
    """Look for something better among the choices that the relaxation took in part, but not for ever."""
    kept = made.partly.copy()
    kept[made.chosen] = True
    small, taken = _smaller(made, made.value - made.bound + _slack(made.value), kept)
    _solve(made, small, taken, enough, most_looks=MOST_LOOKS)
    made.note("exact", made.closed_bound)


def _solve_within(made: Climb, room: float, enough: Enough, hear: Callable[[float], None]) -> float:
    """A bound for all plans within `room` of the bound, by the solver's word; what is better is kept."""
    small, taken = _smaller(made, room)
    if len(small.program.choices) <= MOST_ENTRIES:
        few = fixed(small.program, np.zeros(len(small.free), bool), ~undominated(small.program))
        small = Smaller(few.program, small.free[few.free], np.append(few.owner, -1)[small.owner])
    return _solve(made, small, taken, enough, hear)


def _solve(
    made: Climb,
    small: Smaller,
    taken: Array,
    enough: Enough,
    hear: Callable[[float], None] = lambda bound: None,
    most_looks: float = np.inf,
) -> float:
    """A bound for all plans that choose from the smaller program beside what is `taken`; what is better is kept.

    The integer program ends when it asked so often whether it is enough.
    """
    begin = _inside(small, made.chosen)
    # What is taken and was not chosen may leave too little money for what was.
    is_dear = small.program.money is not None and small.program.cost(begin) > small.program.money
    start = search.greedy(small.program, begin[:0] if is_dear else begin)
    if not small.program.is_met(start):
        return np.inf
    tight = relaxed(small.program, enough) if small.program.needs_several else None
    outside = made.program.cost(taken) if made.program.money is None else _left_outside(made.program, small, taken)
    cuts, looks = tight.duals.cuts if tight else NO_CUTS, count(1)

    def enough_looks() -> bool:
        return enough() or next(looks) > most_looks

    def offer(chosen: Array) -> None:
        made.offer(np.union1d(taken, small.free[chosen]))

    def hear_whole(bound: float) -> None:
        hear(bound + outside)

    if is_branchable(small.program):
        there = small.owner >= 0
        row = np.bincount(small.owner[there], made.duals.row[there], len(small.program.weight))
        found = branched(small.program, row, start, enough_looks, hear_whole, offer)
    else:
        found = solved(small.program, start, enough_looks, cuts, hear_whole, offer)
    if found.chosen is not None:
        offer(found.chosen)
    return found.bound + outside


def _left_outside(program: Program, small: Smaller, taken: Array) -> int:
    """The weight that stays uncovered whatever the smaller program chooses."""
    return program.value(taken) - int(small.program.weight.sum())
