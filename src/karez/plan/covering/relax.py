"""Linear and integer programs of a covering program, by HiGHS, and bounds that are computed from duals anew.

Any duals prove a bound, so the solver's word for it is not used: what HiGHS returns is made to lie where duals may,
and put into the formula, which `karez.plan.certificate` writes down once more for itself.

Source: Lagrangian relaxation of the rows and of the demands of `Program`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import highspy
import numpy as np

from karez.plan.covering import capacity
from karez.plan.covering.cuts import NO_CUTS, Cuts, broken, counts, joined, members, some
from karez.plan.covering.cuts import paid as paid_by_cuts
from karez.plan.covering.excess import Excess
from karez.plan.covering.program import Program
from karez.plan.highs import UNBOUNDED, Enough, Entries, add_rows, model_of, run, solver_of, start_from
from karez.twin.table import Array

# What the weight of a group is scaled to, so that the solver's tolerances mean something.
SCALE = 1e4
Method = Literal["simplex", "ipm"]
METHODS: tuple[Method, ...] = ("simplex", "ipm")
# How often cuts are looked for; and they have to raise the value by so much, as a share of it.
CUT_ROUNDS, LEAST_RAISED_SHARE = 40, 1e-4
# What rounding may do to a sum, as a share of what goes into it.
ROUNDING = 1e-14
# What is nearer than this in the solver's units is one to it; how often it is run until what it says holds.
FINEST, MOST_RUNS = 2e-6, 50
# Steps of the simplex method where nothing else takes over.
MOST_STEPS = 1_000_000
# Where there is money: as a share of rows and choices. On networks it takes less than 0.4.
STEPS_SHARE = 0.5
# Less is asked of a group, as a share: above what rounding does to it.
HAIR_SHARE = 1e-10
INTERRUPTED = (highspy.HighsModelStatus.kInterrupt, highspy.HighsModelStatus.kTimeLimit)
BOUNDED = (highspy.HighsModelStatus.kOptimal, *INTERRUPTED)


class Duals(NamedTuple):
    """What a row of the program and what a unit of weight of each group, or of money, is worth at most."""

    row: Array
    group: Array
    money: float = 0.0
    cuts: Cuts = NO_CUTS


class Relaxed(NamedTuple):
    """The relaxed choice (0..1) of each choice, row and group, the duals, and the method that found them."""

    choice: Array
    row: Array
    group: Array
    duals: Duals
    method: Method


class Solved(NamedTuple):
    """The best choice of an integer program (positions; None where none was found), and its solver's bound."""

    chosen: Array | None
    bound: float


class _Scaled(NamedTuple):
    """What one of the solver's units of the value, of a price, and of each group's weight stands for."""

    value: float
    price: float
    weight: Array


def bound_of(program: Program, duals: Duals) -> tuple[float, Duals, Array]:
    """The bound on the value that some duals prove, those duals made valid, and the reduced price of each choice.

    With weights w, needs r, prices c, demands D of which N are wanted, rows' duals u and groups' duals v, all >= 0:
    sum_j min(0, c_j - sum_k u_k) over choices, and the N least of v D - sum_k max(0, v w_k - r_k u_k) over groups.
    With money M at the dual m: weight in all - (m M + sum_j max(0, sum_k u_k - m c_j) + sum_k max(0, w_k - r_k u_k)).
    A cut adds its dual to what its choices earn, and to what its rows pay as often as it counts them.
    With capacity, as `karez.plan.covering.capacity` has it. What rounding may have done is taken off.
    """
    weight = program.weight.astype(float)
    per_group = np.maximum(duals.group, 0.0) if program.money is None else np.ones(len(program.demand))
    worth = per_group[program.group] * weight
    row, cuts = np.maximum(duals.row, 0.0), duals.cuts._replace(dual=np.maximum(duals.cuts.dual, 0.0))
    rows, choices = len(weight), len(program.price)
    # No row pays more than it is worth, unless another row needs it to.
    paired = cuts.other >= 0
    alone, jointly = _paid(program, row, some(cuts, ~paired)), paid_by_cuts(program, some(cuts, paired))
    left = np.maximum(worth - jointly, 0.0)
    part = np.divide(left, alone, out=np.ones(rows), where=alone > left)
    row, cuts = part * row, cuts._replace(dual=cuts.dual * np.where(paired, 1.0, part[cuts.row]))
    paid = np.minimum(part * alone + jointly, worth)
    cut, choice = members(program, cuts)
    earned = np.bincount(program.choices, row[program.row], choices) + np.bincount(choice, cuts.dual[cut], choices)
    valid = Duals(row, per_group, max(duals.money, 0.0), cuts)
    lost = np.bincount(program.group, weights=np.maximum(worth - paid, 0.0), minlength=len(program.demand))
    if program.money is not None:
        money = valid.money
        reduced = money * program.price - earned
        value = weight.sum() - (money * program.money + np.maximum(-reduced, 0.0).sum() + lost.sum())
        summed = weight.sum() + earned.sum() + money * (program.money + program.price.sum())
        return float(value - ROUNDING * summed), valid, reduced
    reduced = program.price - earned
    if program.capacity is not None:
        reduced = program.price - capacity.worth(program, row)
        asked = (per_group * program.demand - lost).sum()
    else:
        asked = np.sort(np.maximum(per_group * program.demand - lost, 0.0))[: program.wanted].sum()
    summed = worth.sum() + (per_group * program.demand).sum() + earned.sum() + program.price.sum()
    value = asked + np.minimum(reduced, 0.0).sum()
    return float(value - ROUNDING * summed), valid._replace(money=0.0), reduced


def density_duals(program: Program) -> Duals:
    """Duals without a solver, where all groups are wanted: each row pays its share of the cheapest that reaches it.

    Source: fractional knapsack over the rows.
    """
    weight = program.weight.astype(float)
    reach = np.bincount(program.choices, weights=weight[program.row], minlength=len(program.price))
    each = program.price / np.maximum(reach, 1.0)
    # Rows that nobody reaches come last.
    cheapest, reached = np.full(len(weight), each.max(initial=0.0)), np.diff(program.bounds) > 0
    if reached.any():
        cheapest[reached] = np.minimum.reduceat(each[program.choices], program.bounds[:-1][reached])
    group = np.zeros(len(program.demand))
    for one in range(len(group)):
        mine = np.flatnonzero(program.group == one)
        mine = mine[np.argsort(cheapest[mine], kind="stable")]
        filled = np.cumsum(weight[mine])
        at = min(int(np.searchsorted(filled, program.demand[one])), len(mine) - 1)
        group[one] = cheapest[mine[at]] if at >= 0 else 0.0
    return Duals(cheapest * weight, group)


def relaxed(
    program: Program, enough: Enough, methods: Sequence[Method] = METHODS, cuts: Cuts = NO_CUTS
) -> Relaxed | None:
    """The linear relaxation, by HiGHS and the first of the methods that comes to an end; None where none does.

    The simplex method wins on networks; where it takes too many steps, as in a plane, an interior point takes over.
    """
    if program.money is not None and program.capacity is None and not program.needs_several:
        return _relaxed_by_excess(program, enough, methods)
    scaled, solver = _scaled(program), solver_of(enough)
    solver.setOptionValue("run_crossover", "off")
    if program.capacity is not None:
        solver.setOptionValue("simplex_iteration_limit", MOST_STEPS)
        served = capacity.relaxed(program, solver, enough, scaled.value, scaled.weight, HAIR_SHARE)
        if served is None:
            return None
        choice, row, by_row, by_group = served
        return Relaxed(choice, row, np.ones(len(program.demand)), Duals(by_row, by_group), METHODS[0])
    solver.setOptionValue("simplex_iteration_limit", len(program.weight) + len(program.price))
    if solver.passModel(_model(program, scaled, cuts, integer=False)) == highspy.HighsStatus.kError:
        return None
    found = _ended(program, scaled, solver, cuts, methods, enough)
    if not program.needs_several:
        return found
    best = found
    for _ in range(CUT_ROUNDS):
        if found is None or enough():
            break
        new = broken(program, found.choice, found.row)
        if not len(new.row):
            break
        # Once rows are added, the solver has no value any more.
        cuts, before = joined(cuts, new), solver.getObjectiveValue()
        add_rows(solver, _cut_parts(program, new, 0), lower=np.zeros(len(new.row)))
        best, found = found, _ended(program, scaled, solver, cuts, (found.method,), enough)
        if solver.getObjectiveValue() - before < LEAST_RAISED_SHARE * abs(before):
            break
    return best if found is None else found


def _ended(
    program: Program, scaled: _Scaled, solver: Any, cuts: Cuts, methods: Sequence[Method], enough: Enough
) -> Relaxed | None:
    """Where the first of the methods ends that comes to an end."""
    for method in methods:
        solver.setOptionValue("solver", method)
        run(solver)
        found = solver.getSolution()
        if solver.getModelStatus() == highspy.HighsModelStatus.kOptimal and found.dual_valid:
            duals = np.abs(np.array(found.row_dual))
            return _relaxed(program, scaled, np.array(found.col_value), duals, method, cuts)
        if enough():
            break
    return None


def _relaxed_by_excess(program: Program, enough: Enough, methods: Sequence[Method]) -> Relaxed | None:
    excess, rows = Excess(program, enough), len(program.weight)
    excess.add(np.arange(rows))
    excess.solver.setOptionValue("run_crossover", "off")
    excess.solver.setOptionValue("simplex_iteration_limit", int(STEPS_SHARE * (rows + len(program.price))))
    for method in methods:
        excess.solver.setOptionValue("solver", method)
        found = excess.end()
        if found is not None and found.is_last:
            groups = np.ones(len(program.demand))
            reached = np.bincount(program.row, found.choice[program.choices], rows)
            return Relaxed(
                found.choice, np.minimum(reached, 1.0), groups, Duals(found.row, groups, found.money), method
            )
        if enough():
            break
    return None


def _relaxed(program: Program, scaled: _Scaled, values: Array, prices: Array, method: Method, cuts: Cuts) -> Relaxed:
    """What the solver's columns and the duals of its rows say of the program."""
    rows, choices, groups = len(program.weight), len(program.price), len(program.demand)
    prices = prices * scaled.value
    cuts, row = cuts._replace(dual=prices[len(prices) - len(cuts.row) :]), values[choices : choices + rows]
    if program.money is not None:
        duals = Duals(prices[:rows], np.ones(groups), float(prices[rows] / scaled.price), cuts)
        return Relaxed(values[:choices], row, np.ones(groups), duals, method)
    picked = values[choices + rows :] if program.wanted < groups else np.ones(groups)
    duals = Duals(prices[:rows], _by_knapsack(program, _paid(program, prices[:rows], cuts)), 0.0, cuts)
    return Relaxed(values[:choices], row, picked, duals, method)


def _paid(program: Program, row: Array, cuts: Cuts) -> Array:
    """What each row pays as a whole to those who reach it."""
    return np.asarray(program.need * row + paid_by_cuts(program, cuts))


def _by_knapsack(program: Program, paid: Array) -> Array:
    """The group's duals that prove most where rows pay so much: what the last row pays, by weight, of those that do.

    The solver's own prove less where it stopped short of a corner. A group that all its rows do not satisfy is worth as
    much as any other that could be wanted, or more.
    """
    density, groups = paid / program.weight, len(program.demand)
    order = np.lexsort((density, program.group))
    ends = np.cumsum(np.bincount(program.group, minlength=groups))
    filled = np.concatenate([[0], np.cumsum(program.weight[order])])
    before = filled[np.concatenate([[0], ends[:-1]])]
    last = np.searchsorted(filled, before + program.demand) - 1
    is_short = last >= ends
    dual = np.where(is_short | (program.demand <= 0), 0.0, np.append(density[order], 0.0)[np.minimum(last, len(order))])
    if is_short.any():
        lost = np.bincount(program.group, np.maximum(dual[program.group] * program.weight - paid, 0.0), groups)
        most = (dual * program.demand - lost).max(initial=0.0)
        missing = program.demand - (filled[ends] - before)
        steepest = np.zeros(groups)
        np.maximum.at(steepest, program.group, density)
        dual[is_short] = np.maximum(steepest, most / np.maximum(missing, 1))[is_short]
    return np.asarray(dual)


def solved(
    program: Program,
    start: Array,
    enough: Enough,
    cuts: Cuts = NO_CUTS,
    hear: Callable[[float], None] = lambda bound: None,
    offer: Callable[[Array], None] = lambda chosen: None,
) -> Solved:
    """The integer program by HiGHS, from a choice (positions) that does what is wanted.

    What it found is evaluated by `Program`, and returned only where it does what is wanted. Meanwhile `hear` is told
    the solver's bound now and then, and `offer` each better choice.
    """
    if not (len(program.price) and len(program.weight)):
        return Solved(start, float(program.value(start)))
    scaled, solver = _scaled(program), solver_of(enough)
    solver.setOptionValue("mip_rel_gap", 0.0)
    # Every value is a multiple of the unit, so what is nearer to the bound than one is the best.
    solver.setOptionValue("mip_abs_gap", 0.9 * program.unit / scaled.value)
    if solver.passModel(_model(program, scaled, cuts, integer=True)) == highspy.HighsStatus.kError:
        return Solved(None, -np.inf)
    offset = _offset(program)

    def tell(event: Any) -> None:
        hear(float((event.data_out.mip_dual_bound - FINEST) * scaled.value + offset))

    def show(event: Any) -> None:
        chosen = np.flatnonzero(np.asarray(event.data_out.mip_solution)[: len(program.price)] > 0.5)
        if program.is_met(chosen):
            offer(chosen)

    solver.cbMipInterrupt += tell
    solver.cbMipImprovingSolution += show
    start_from(solver, _values(program, start))
    best, bound, is_again = None, -np.inf, False
    for _ in range(MOST_RUNS):
        run(solver)
        bound, status = max(bound, _bound_found(program, scaled, solver)), solver.getModelStatus()
        values = np.array(solver.getSolution().col_value)
        if not len(values):
            break
        chosen = np.flatnonzero(values[: len(program.price)] > 0.5)
        if program.is_met(chosen):
            best = chosen if best is None or program.value(chosen) < program.value(best) else best
            if is_again or program.value(best) - bound < max(program.unit, 2 * FINEST * scaled.value):
                break
            # It has been seen to call a start optimal that its bound does not bear out: once more, without it.
            solver.clearSolver()
            is_again = True
        else:
            _cut_off(program, solver, chosen)
        if status in INTERRUPTED or enough():
            break
    return Solved(best, bound)


def _bound_found(program: Program, scaled: _Scaled, solver: Any) -> float:
    """The least value that the solver's bound and its tolerances leave; below everything where it has none."""
    info, status = solver.getInfo(), solver.getModelStatus()
    if not info.valid or status not in BOUNDED or not np.isfinite(info.mip_dual_bound):
        return -np.inf
    least = (info.mip_dual_bound - FINEST) * scaled.value + _offset(program)
    return float(np.ceil(least / program.unit) * program.unit)


def _offset(program: Program) -> float:
    """What the solver's objective lacks of the value: with money it counts down from the whole weight."""
    return float(program.weight.sum()) if program.money is not None else 0.0


def _cut_off(program: Program, solver: Any, chosen: Array) -> None:
    """Forbid a choice that only the solver's tolerances let pass, and all that miss as much or cost as much."""
    if program.money is not None:
        solver.addRow(-UNBOUNDED, len(chosen) - 1.0, len(chosen), chosen.astype(np.int32), np.ones(len(chosen)))
        return
    others = np.setdiff1d(np.arange(len(program.price)), chosen)
    solver.addRow(1.0, UNBOUNDED, len(others), others.astype(np.int32), np.ones(len(others)))


def _scaled(program: Program) -> _Scaled:
    price = max(float(program.price.mean()), 1.0) if len(program.price) else 1.0
    total = max(float(program.weight.sum()), 1.0)
    if program.money is not None:
        return _Scaled(total / SCALE, price, np.full(len(program.demand), SCALE / total))
    return _Scaled(price, price, SCALE / np.maximum(program.demand, 1).astype(float))


def _values(program: Program, chosen: Array) -> Array:
    """The columns of the model for a choice."""
    if program.capacity is not None:
        return capacity.values(program, chosen)
    picked = np.zeros(len(program.price))
    picked[chosen] = 1.0
    count = np.bincount(program.row, weights=picked[program.choices], minlength=len(program.weight))
    met = (program.covered(chosen) >= program.demand)[: _free_groups(program)]
    counted = (count >= program.need) & (met[program.group] if len(met) else True)
    return np.concatenate([picked, counted, met])


def _free_groups(program: Program) -> int:
    """The number of groups among which the program may choose: all or none."""
    return len(program.demand) if program.money is None and program.wanted < len(program.demand) else 0


def _group_parts(program: Program, free: int, first: int) -> tuple[list[Entries], Array]:
    """What a group takes as a whole: someone who reaches it; and enough, nobody counting for more than its demand.

    Entries of further rows of the model, from row `first` on, and their lower ends.

    The relaxation does without: where one choice alone reaches more than the demand, a part of it is enough there.
    """
    choices, groups = len(program.price), len(program.demand)
    asks = np.flatnonzero(program.demand > 0)
    number = np.full(groups, -1)
    number[asks] = np.arange(len(asks))
    pair = program.group[program.row] * choices + program.choices
    pairs, owner = np.unique(pair, return_inverse=True)
    weight = np.bincount(owner, weights=program.weight[program.row])
    group, choice = pairs // choices, pairs % choices
    kept = number[group] >= 0
    group, choice, weight = group[kept], choice[kept], weight[kept]
    part = np.minimum(weight / np.maximum(program.demand[group], 1), 1.0)
    row = first + number[group]
    parts = [(row, choice, np.ones(len(row))), (row + len(asks), choice, part)]
    if free:
        column = choices + len(program.weight) + asks
        parts += [(first + at + np.arange(len(asks)), column, -np.ones(len(asks))) for at in (0, len(asks))]
        return parts, np.zeros(2 * len(asks))
    return parts, np.concatenate([np.ones(len(asks)), np.full(len(asks), 1.0 - FINEST)])


def _cut_parts(program: Program, cuts: Cuts, first: int) -> list[Entries]:
    """Entries of the rows of cuts, from row `first` of the model on."""
    cut, choice = members(program, cuts)
    once, then = counts(program, cuts)
    paired, each, choices = np.flatnonzero(cuts.other >= 0), np.arange(len(cuts.row)), len(program.price)
    return [
        (first + cut, choice, np.ones(len(cut))),
        (first + each, choices + cuts.row, -once.astype(float)),
        (first + paired, choices + cuts.other[paired], -then[paired].astype(float)),
    ]


def _model(program: Program, scaled: _Scaled, cuts: Cuts, *, integer: bool) -> Any:
    """The program as HiGHS takes it: columns of choices, rows, groups; rows of rows, groups (or money), wanted."""
    if program.capacity is not None:
        links = np.arange(len(program.choices) if len(program.choices) <= capacity.MOST_LINKS else 0)
        return capacity.model(program, scaled.price, scaled.weight, HAIR_SHARE, links, integer=integer)
    rows, choices, groups, free = *map(len, (program.weight, program.price, program.demand)), _free_groups(program)
    columns, number = choices + rows + free, np.arange(rows)
    weight = program.weight.astype(float)
    if program.money is None:
        # No row brings more than its group asks for. Bounds from duals do not know that, so for them it stays open.
        weight = np.minimum(weight, program.demand[program.group] * (1.0 if integer else SCALE))
    weight *= scaled.weight[program.group]
    parts = [
        (program.row, program.choices, np.ones(len(program.choices))),
        (number, choices + number, -program.need.astype(float)),
    ]
    low = [np.zeros(rows)]
    if program.money is None:
        parts.append((rows + program.group, choices + number, weight))
        # A hair less is asked for, so that rounding makes nothing impossible: what is found is evaluated.
        asked = program.demand * scaled.weight * (1.0 - HAIR_SHARE)
        if free:
            each = np.arange(groups)
            parts.append((rows + each, choices + rows + each, -asked))
            parts.append((np.full(groups, rows + groups), choices + rows + each, np.ones(groups)))
            # Rows of a group that is not counted are not: without this the relaxation counts a part of every group.
            parts.append((rows + groups + 1 + number, choices + number, -np.ones(rows)))
            parts.append((rows + groups + 1 + number, choices + rows + program.group, np.ones(rows)))
            low += [np.zeros(groups), np.array([float(program.wanted)]), np.zeros(rows)]
        else:
            low.append(asked)
        cost = np.concatenate([program.price / scaled.price, np.zeros(rows + free)])
        high = [np.full(sum(map(len, low)), UNBOUNDED)]
    else:
        parts.append((np.full(choices, rows), np.arange(choices), program.price / scaled.price))
        cost = np.concatenate([np.zeros(choices), -weight])
        high = [np.full(rows, UNBOUNDED), np.array([program.money / scaled.price])]
        low.append(np.array([-UNBOUNDED]))
    if integer and program.money is None and groups > 1:
        entries, at_least = _group_parts(program, free, sum(map(len, low)))
        parts += entries
        low.append(at_least)
        high.append(np.full(len(at_least), UNBOUNDED))
    if len(cuts.row):
        rows_before = sum(map(len, low))
        parts += _cut_parts(program, cuts, rows_before)
        low.append(np.zeros(len(cuts.row)))
        high.append(np.full(len(cuts.row), UNBOUNDED))
    whole = None
    if integer:
        whole = np.ones(columns, bool)
        whole[choices : choices + rows] = program.need > 1
    return model_of(parts, cost=cost, lower=np.concatenate(low), upper=np.concatenate(high), whole=whole)
