"""The covering ladder against every choice there is, and against the full integer program by scipy's HiGHS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import highspy
import numpy as np
import pytest

from karez.plan.covering import cuts, ladder, relax, search
from karez.plan.covering.cuts import Cuts
from karez.plan.covering.ladder import EFFORTS, Climb, climb, is_closed
from karez.plan.covering.program import Program, fixed, merged, only, parts, undominated
from karez.plan.covering.relax import Duals, bound_of
from karez.twin.table import Array
from tests.covering import KINDS, best_by_highs, best_of_all, drawn, made, sets_of

# Programs a kind: against all choices, against HiGHS, and for each smaller property; thinned, and in full.
AGAINST_ALL, AGAINST_HIGHS, EACH = (45, 400), (12, 300), (25, 200)
MOST_INTERRUPTS = 40
# What HiGHS decides where weights are the value: it does not see one in 10^12, so the best is known of tame ones.
SUMS_BY_HIGHS = "money, two of each"


def _programs(kind: str, seed: int, count: int, **size: int | bool) -> Iterator[tuple[Program, int]]:
    """So many programs of a kind with the best value of each."""
    for number in range(count):
        program = drawn(kind, np.random.default_rng([seed, number, KINDS.index(kind)]), **size)  # type: ignore[arg-type]
        best = best_of_all(program)
        assert best is not None
        yield program, best


def _holds(made: Climb, best: int) -> None:
    """A climb says nothing that is not so."""
    assert made.program.is_met(made.chosen)
    assert made.value >= best
    assert made.bound <= best
    assert made.closed_bound <= best
    values, bounds = [rung.value for rung in made.rungs], [rung.bound for rung in made.rungs]
    assert values == sorted(values, reverse=True)
    assert bounds == sorted(bounds)
    if is_closed(made):
        assert made.value == best


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("least_first", "most_looks"), [(2, 0), (ladder.LEAST_FIRST, ladder.MOST_LOOKS)])
def test_the_ladder_finds_the_best_of_all_choices_and_never_proves_too_much(
    kind: str, least_first: int, most_looks: int, proof: bool, turning_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With few choices to begin with, the linear program has to look for those that it lacks; and without a first look
    # among those that it took in part, the end is the same.
    monkeypatch.setattr(ladder, "LEAST_FIRST", least_first)
    monkeypatch.setattr(ladder, "MOST_LOOKS", most_looks)
    for program, best in _programs(kind, turning_seed, AGAINST_ALL[proof], is_tame=kind == SUMS_BY_HIGHS):
        found = climb(program)
        assert found.value == best
        _holds(found, best)


def test_nothing_is_proven_that_is_not_so_where_the_solver_does_not_see_a_unit(proof: bool, turning_seed: int) -> None:
    for program, best in _programs(SUMS_BY_HIGHS, turning_seed, AGAINST_ALL[proof]):
        _holds(climb(program), best)
    # In one of these a plan is left that is better by one in 2 * 10^12.
    for program, best in _programs(SUMS_BY_HIGHS, 0xF49F91, AGAINST_ALL[False]):
        _holds(climb(program), best)


@pytest.mark.parametrize("kind", KINDS)
def test_the_ladder_equals_the_full_integer_program(kind: str, proof: bool, turning_seed: int) -> None:
    rows, choices = (30, 16) if "two of each" in kind else (60, 24)
    for number in range(AGAINST_HIGHS[proof]):
        random = np.random.default_rng([turning_seed, number, KINDS.index(kind)])
        program = drawn(kind, random, most_choices=choices, most_rows=rows, is_tame=True)
        found = climb(program)
        assert found.value == pytest.approx(best_by_highs(program), abs=1e-3)
        assert is_closed(found)


@pytest.mark.parametrize("kind", KINDS)
def test_each_effort_ends_on_its_rung_with_a_choice_that_does_what_is_wanted(
    kind: str, proof: bool, turning_seed: int
) -> None:
    for program, best in _programs(kind, turning_seed, EACH[proof] // 5):
        for effort in EFFORTS:
            found = climb(program, effort=effort)
            names = [rung.name for rung in found.rungs]
            # The last rung tells of its way.
            assert list(dict.fromkeys(names)) == list(EFFORTS[: len(set(names))])
            assert names[-1] == effort or is_closed(found)
            _holds(found, best)


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_has_enough_at_any_moment_has_a_valid_plan(
    kind: str, turning_seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "LEAST_FIRST", 2)
    for program, best in _programs(kind, turning_seed, 3, most_rows=40):
        asked = _enough_after(10**9)
        climb(program, enough=asked)
        for calls in sorted({*np.linspace(0, asked.calls, MOST_INTERRUPTS).astype(int).tolist()}):
            found = climb(program, enough=_enough_after(calls))
            assert found.rungs
            _holds(found, best)


class _Enough:
    """Says enough from so many calls on."""

    def __init__(self, after: int) -> None:
        self.after, self.calls = after, 0

    def __call__(self) -> bool:
        self.calls += 1
        return self.calls > self.after


def _enough_after(calls: int) -> _Enough:
    return _Enough(calls)


def test_the_same_seed_climbs_to_the_same_plan_and_bound(turning_seed: int) -> None:
    for kind in KINDS:
        for program, _ in _programs(kind, turning_seed, 5):
            one, other = climb(program, seed=7), climb(program, seed=7)
            assert one.chosen.tolist() == other.chosen.tolist()
            assert one.rungs == other.rungs
            assert one.duals.row.tobytes() == other.duals.row.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_rows_and_choices_are_worth_the_same(kind: str, proof: bool, turning_seed: int) -> None:
    for program, best in _programs(kind, turning_seed, EACH[proof], is_tame=kind == SUMS_BY_HIGHS):
        random = np.random.default_rng(best)
        rows, choices = random.permutation(len(program.weight)), random.permutation(len(program.price))
        place = np.argsort(choices)
        shuffled = made(
            [place[sets_of(program)[row]].tolist() for row in rows],
            weight=program.weight[rows],
            price=program.price[choices],
            demand=program.demand,
            group=program.group[rows],
            need=program.need[rows],
            wanted=program.wanted,
            money=program.money,
        )
        assert climb(shuffled).value == best


@pytest.mark.parametrize("kind", KINDS)
def test_fixing_choices_leaves_what_is_best_with_them(kind: str, proof: bool, turning_seed: int) -> None:
    for program, _ in _programs(kind, turning_seed, EACH[proof]):
        random = np.random.default_rng(len(program.choices))
        fate = random.random(len(program.price))
        taken, left = fate < 0.2, fate > 0.7
        small = fixed(program, taken, left)
        assert (small.program.weight > 0).all()
        assert (np.diff(small.program.bounds) >= small.program.need).all()
        rest, whole = best_of_all(small.program), _best_with(program, taken, left)
        if whole is None or rest is None:
            assert whole == rest
        elif program.money is None:
            assert rest + program.cost(taken) == whole
        else:
            outside = program.value(np.flatnonzero(taken)) - int(small.program.weight.sum())
            assert rest + outside == whole


def _best_with(program: Program, taken: Array, left: Array) -> int | None:
    """The best value of choices with all that are taken and none that are left: others are dear or dull instead."""
    values = []
    free = np.flatnonzero(~(taken | left))
    for mask in range(2 ** len(free)):
        chosen = np.concatenate([np.flatnonzero(taken), free[[bool(mask >> at & 1) for at in range(len(free))]]])
        if program.is_met(chosen):
            values.append(program.value(chosen))
    return min(values) if values else None


@pytest.mark.parametrize("kind", KINDS)
def test_merging_rows_that_are_alike_changes_no_value(kind: str, proof: bool, turning_seed: int) -> None:
    for program, best in _programs(kind, turning_seed, EACH[proof]):
        small, owner = merged(program)
        assert best_of_all(small) == best
        keys = {(*reached, -1 - g, -10 - n) for reached, g, n in _keys(small)}
        assert len(keys) == len(small.weight)
        for row, key in enumerate(_keys(program)):
            assert _keys(small)[owner[row]] == key
        assert small.weight.sum() == program.weight.sum()


def _keys(program: Program) -> list[tuple[tuple[int, ...], int, int]]:
    return [
        (tuple(reached), int(group), int(need))
        for reached, group, need in zip(sets_of(program), program.group, program.need, strict=True)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_leaving_out_dominated_choices_changes_no_value(kind: str, proof: bool, turning_seed: int) -> None:
    for program, best in _programs(kind, turning_seed, EACH[proof]):
        kept = undominated(program)
        small = fixed(program, np.zeros(len(kept), bool), ~kept)
        gone = 0 if program.money is None else int(program.weight[small.owner < 0].sum())
        rest = best_of_all(small.program)
        assert rest is not None
        assert rest + gone == best


@pytest.mark.parametrize("kind", ["one group", "several groups", "two of each", "several budgets"])
def test_parts_may_be_solved_each_on_its_own(kind: str, proof: bool, turning_seed: int) -> None:
    several = 0
    for program, best in _programs(kind, turning_seed, EACH[proof] * 2, most_rows=6):
        part, total = parts(program), 0
        for one in np.unique(part):
            mine = part == one
            rows = np.flatnonzero([len(reached) == 0 or mine[reached[0]] for reached in sets_of(program)])
            groups = np.isin(np.arange(len(program.demand)), program.group[rows])
            here = replace(only(program, rows), demand=np.where(groups, program.demand, 0))
            # Rows that nobody reaches belong to no part: they meet nothing.
            here = fixed(here, np.zeros(len(mine), bool), ~mine).program
            least = best_of_all(replace(here, demand=np.where(_touched(program, mine), program.demand, 0)))
            assert least is not None
            total += least
        assert total == best
        several += part.max() > 0
    assert several


def _touched(program: Program, mine: Array) -> Array:
    """The groups of rows that these choices reach."""
    return np.isin(np.arange(len(program.demand)), program.group[program.row[mine[program.choices]]])


@pytest.mark.parametrize("kind", KINDS)
def test_any_duals_prove_no_more_than_is_so(kind: str, proof: bool, turning_seed: int) -> None:
    for program, best in _programs(kind, turning_seed, EACH[proof]):
        random = np.random.default_rng(best)
        per_weight = program.price.mean() / max(program.weight.mean(), 1)
        for scale in (0.0, 0.1, 1.0, 1e9):
            row = random.random(len(program.weight)) * program.weight * per_weight * scale
            group = random.random(len(program.demand)) * per_weight * scale
            bound, valid, _ = bound_of(program, Duals(row, group, random.random() * scale / max(per_weight, 1e-9)))
            assert bound <= best
            assert bound_of(program, valid)[0] == pytest.approx(bound)


def _any_cuts(program: Program, random: np.random.Generator, number: int) -> Cuts:
    """Cuts that hold: of rows drawn, with or without a choice, beside rows that need as many or more."""
    there = np.flatnonzero(np.diff(program.bounds) > 0)
    found = []
    for row in random.choice(there, number).tolist():
        mine = program.choices[program.bounds[row] : program.bounds[row + 1]]
        choice = int(random.choice(mine)) if random.random() < 0.8 else -1
        beside = np.flatnonzero(program.need >= program.need[row] - (choice >= 0))
        found.append((row, choice, int(random.choice(beside)) if random.random() < 0.8 else -1))
    row, choice, other = np.array(found).T
    return Cuts(row, choice, other, random.random(number))


def test_cuts_hold_for_every_choice_there_is(proof: bool, turning_seed: int) -> None:
    for program, _ in _programs("two of each", turning_seed, EACH[proof]):
        if not program.bounds[-1]:
            continue
        program = replace(program, need=np.random.default_rng(turning_seed).integers(1, 4, len(program.need)))
        found = _any_cuts(program, np.random.default_rng(turning_seed), 60)
        cut, choice = cuts.members(program, found)
        once, then = cuts.counts(program, found)
        sets = [set(each) for each in sets_of(program)]
        for at, (row, left_out, other) in enumerate(zip(found.row, found.choice, found.other, strict=True)):
            assert set(choice[cut == at]) == (sets[row] - {left_out}) | (sets[other] if other >= 0 else set())
        picked = (np.arange(2 ** len(program.price))[:, None] >> np.arange(len(program.price))) & 1
        counted = (picked @ program.matrix.T.toarray()) >= program.need
        inside = np.zeros((len(found.row), len(program.price)))
        inside[cut, choice] = 1.0
        least = once * counted[:, found.row] + then * np.where(found.other >= 0, counted[:, found.other], 0)
        assert (picked @ inside.T >= least).all()


def test_the_cut_that_is_broken_most_beside_each_row_is_found(proof: bool, turning_seed: int) -> None:
    tried, random = 0, np.random.default_rng(turning_seed)
    for _ in range(4 * EACH[proof]):
        program = drawn("two of each", random)
        program = replace(program, weight=np.maximum(program.weight, 1))
        choice = random.choice([0.0, 0.25, 0.5, 0.75, 1.0], len(program.price))
        reached = program.matrix @ choice
        most = np.array([max([choice[each] for each in row], default=0.0) for row in sets_of(program)])
        row = np.minimum(np.where(program.need > 1, np.minimum(reached - most, reached / 2), reached), 1.0)
        found = cuts.broken(program, choice, row)
        worst = dict(zip(found.other.tolist(), _short(program, found, choice, row).tolist(), strict=True))
        assert all(short > cuts.LEAST_BROKEN for short in worst.values())
        rows = range(len(program.need))
        for other in rows:
            pairs = [
                Cuts(np.array([one]), np.array([choice]), np.array([other]), np.zeros(1))
                for one in rows
                if program.need[one] <= program.need[other] > 1 and one != other
                for choice in ([-1] if program.need[one] < program.need[other] else sets_of(program)[one])
            ]
            short = max((_short(program, pair, choice, row)[0] for pair in pairs), default=0.0)
            tried += short > cuts.LEAST_BROKEN
            assert worst.get(other, 0.0) == pytest.approx(max(short, 0.0) if short > cuts.LEAST_BROKEN else 0.0)
    assert tried


def _short(program: Program, found: Cuts, choice: Array, row: Array) -> Array:
    """By how much cuts are broken."""
    cut, each = cuts.members(program, found)
    once, then = cuts.counts(program, found)
    there = np.bincount(cut, choice[each], len(found.row))
    return np.asarray(once * row[found.row] + np.where(found.other >= 0, then * row[found.other], 0.0) - there)


def test_any_duals_of_cuts_prove_no_more_than_is_so(proof: bool, turning_seed: int) -> None:
    for program, best in _programs("two of each", turning_seed, EACH[proof]):
        if not program.bounds[-1]:
            continue
        random = np.random.default_rng(best)
        per_weight = program.price.mean() / max(program.weight.mean(), 1)
        for scale in (0.1, 1.0, 1e9):
            found = _any_cuts(program, random, 20)
            found = found._replace(dual=found.dual * program.price.mean() * scale)
            row = random.random(len(program.weight)) * program.weight * per_weight * scale
            group = random.random(len(program.demand)) * per_weight * scale
            bound, valid, _ = bound_of(program, Duals(row, group, cuts=found))
            assert bound <= best
            assert bound_of(program, valid)[0] == pytest.approx(bound, rel=1e-9, abs=1e-6 * program.price.sum())


def test_a_choice_taken_by_half_does_not_count_in_a_whole_chain() -> None:
    # Two of three reach the first row, and all three the second. Two of them taken by half count half of the first and
    # three quarters of the second, though whoever has three quarters of the second has the first row's too.
    program = made([[0, 1], [0, 1, 2]], weight=np.array([1, 1]), price=np.array([10, 10, 10]), demand=np.array([1]))
    program = replace(program, need=np.array([2, 2]))
    alone = Cuts(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 2]), np.full(5, -1), np.zeros(5))
    half = np.array([0.5, 0.5, 0.5])
    assert (_short(program, alone, half, np.array([0.5, 0.75])) <= 0).all()
    found = cuts.broken(program, half, np.array([0.5, 0.75]))
    assert (found.row.tolist(), found.choice.tolist(), found.other.tolist()) == ([1], [2], [0])
    assert _short(program, found, half, np.array([0.5, 0.75])).tolist() == [0.25]


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_does_what_is_wanted_from_any_start(kind: str, proof: bool, turning_seed: int) -> None:
    for program, _ in _programs(kind, turning_seed, EACH[proof]):
        random = np.random.default_rng(len(program.choices))
        start = np.flatnonzero(random.random(len(program.price)) < 0.3)
        start = start[np.cumsum(program.price[start]) <= (np.inf if program.money is None else program.money)]
        for found in (search.greedy(program), search.greedy(program, start)):
            assert program.is_met(found)
            assert found.tolist() == sorted(set(found.tolist()))
        if program.money is None and program.wanted == len(program.demand):
            assert all(not program.is_met(np.setdiff1d(found, [one])) for one in found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_search_never_gives_back_what_is_worse_or_unmet(kind: str, proof: bool, turning_seed: int) -> None:
    for program, best in _programs(kind, turning_seed, EACH[proof]):
        net, begin = search.net_of(program), search.greedy(program)
        state, found = search.state_of(net, begin), np.zeros(len(program.price), bool)
        better = search.improve(net, state, net.price.astype(float), 30, 1, found)
        after = np.flatnonzero(found)
        assert program.is_met(after)
        assert best <= program.value(after) <= program.value(begin)
        assert (program.value(after) < program.value(begin)) == (better > 0)
        _is_consistent(program, net, state)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_search_keeps_count_of_is_what_is_so(kind: str, proof: bool, turning_seed: int) -> None:
    for program, _ in _programs(kind, turning_seed, EACH[proof]):
        net, random = search.net_of(program), np.random.default_rng(len(program.choices))
        state = search.state_of(net, np.zeros(0, np.int64))
        for _ in range(40):
            choice = int(random.integers(len(program.price)))
            (search._leave if state.chosen[choice] else search._take)(net, state, choice)
        _is_consistent(program, net, state)


def _is_consistent(program: Program, net: search.Net, state: search.State) -> None:
    """All that a state has is what its choice says."""
    chosen = np.flatnonzero(state.chosen)
    covered = program.covered(chosen)
    met = np.zeros(len(covered), bool) if program.money is not None else covered >= program.demand
    reached = [sorted(set(one) & set(chosen.tolist())) for one in sets_of(program)]
    assert state.times.tolist() == [len(one) for one in reached]
    assert state.who.tolist() == [sum(one) for one in reached]
    assert state.covered.tolist() == covered.tolist()
    assert state.sums.tolist() == [program.cost(chosen), int(met.sum())]
    gain = np.zeros(len(program.price))
    for row, one in enumerate(sets_of(program)):
        if len(reached[row]) < program.need[row] and not met[program.group[row]]:
            gain[one] += program.weight[row] * net.scale[program.group[row]] / program.need[row]
    # Of the whole, in which all gains are counted.
    assert np.abs(state.gain - gain).max() <= 1e-12 * max(net.scale.max() * program.weight.sum(), 1.0)


def _of(sets: list[list[int]], weight: list[int], price: list[int], demand: int, money: int | None = None) -> Program:
    return made(sets, weight=np.array(weight), price=np.array(price), demand=np.array([demand]), money=money)


@pytest.mark.parametrize(
    ("program", "value"),
    [
        (_of([], [], [], 0), 0),
        (_of([], [], [], 0, money=5), 0),
        (_of([], [], [3, 4], 0), 0),
        (_of([[], []], [5, 7], [3], 0), 0),
        (_of([[], []], [5, 7], [], 0, money=0), 12),
        (_of([[0], []], [5, 7], [3], 5), 3),
        (_of([[0], []], [5, 7], [3], 0, money=2), 12),
        (_of([[0], [1]], [5, 7], [3, 3], 0, money=3), 5),
        (_of([[0], [0]], [5, 7], [0, 2], 12), 0),
        (_of([[0, 1], [0, 1]], [0, 0], [1, 1], 0), 0),
        (_of([[0, 1], [1]], [0, 1], [1, 1], 0, money=1), 0),
        (_of([[0], [1], [0, 1]], [1, 1, 10**12], [1, 1], 10**12 + 2), 2),
        (_of([[0], [1]], [1, 10**16], [1, 1], 10**16 + 1), 2),
    ],
)
def test_odd_programs_have_their_best_too(program: Program, value: int) -> None:
    assert best_of_all(program) == value
    found = climb(program)
    assert found.value == value
    _holds(found, value)
    assert is_closed(found)


def test_no_start_is_called_the_best_because_the_solver_says_so() -> None:
    # HiGHS 1.16 calls the start optimal here, with a bound below it, and finds a better one without it.
    program = made(
        [[2, 6], [4, 6], [1, 6], [1, 2, 4], [3, 5], [4], [0, 6], [5], [2, 4], [1, 4], [5, 6], [0, 5], [0, 3, 4]],
        weight=np.array([209, 21, 365, 784, 142, 1507, 710, 134, 292, 454, 538, 106, 970]),
        price=np.array([823405256, 153831005, 968360841, 996278236, 458846547, 484307861, 206853495]),
        demand=np.array([827, 134, 2100, 363]),
        group=np.array([0, 0, 0, 0, 1, 2, 2, 3, 2, 2, 2, 3, 3]),
        need=np.array([1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]),
    )
    start = np.array([0, 1, 4, 5])
    assert program.is_met(start)
    best = best_of_all(program)
    found = relax.solved(program, start, lambda: False)
    assert found.chosen is not None
    assert program.value(found.chosen) == best == climb(program).value
    assert found.bound <= best


def test_a_choice_that_only_tolerances_let_pass_is_not_taken() -> None:
    # One unit of money short of the cheaper choice, which the solver would take all the same.
    program = _of([[0], [1]], [5, 7], [454_596_704, 63_864_469], 0, money=63_864_468)
    found = relax.solved(program, np.zeros(0, np.int64), lambda: False)
    assert found.chosen is not None
    assert program.is_met(found.chosen)
    assert found.bound == 12


def test_it_does_not_matter_that_others_in_the_process_run_the_solver_on_more_threads() -> None:
    program = drawn("two of each", np.random.default_rng([9669279, 187, 3]), is_tame=True)
    best, other = best_of_all(program), highspy.Highs()  # type: ignore[no-untyped-call]
    other.setOptionValue("output_flag", False)
    other.setOptionValue("threads", 2)
    other.addVar(0.0, 1.0)
    highspy.Highs.resetGlobalScheduler(True)
    try:
        other.run()
        found = climb(program)
    finally:
        highspy.Highs.resetGlobalScheduler(True)
    assert found.value == best
    assert is_closed(found)
    assert found.rungs[-1].name == "exact"
