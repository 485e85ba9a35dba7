"""A nation's day of jobs: how near to the best plan, in what time, and against two habits; plans that go on.

All is CPU of one thread, sorting menus included; building the instance is stated apart. Plans are counted again by the
checker, which shares nothing with the solver, and so are bounds. Habits place one job after the other, as they come:
where it is cheapest, or nearest, of the places and hours that there is room for.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmarks import Figure, figure
from benchmarks.instances.jobs import SETTINGS, Nation, nation, routes_without
from karez.plan.placing import check
from karez.plan.placing.live import Live
from karez.plan.placing.machines import on_machines
from karez.plan.placing.pricing import cheapest, sorted_by_money, sums_of, unserved
from karez.plan.placing.program import Chosen, Program, nothing
from karez.plan.placing.relax import COLUMN, FURTHER, Columns
from karez.plan.placing.solve import Solution, merged, solved, whole_of
from karez.plan.placing.whole import Whole, begun, chosen_of, used_of
from karez.twin.table import Array

NAME = "placing"
SEEDS = (1, 2, 3)
# The size, its limit (CPU s), and the bar of its gap.
# A look at the clock comes after each pass, so the limit is a little below the bar.
GAPS, CPU_BAR_S = (("jobs-100k", 28.0, 0.015), ("jobs-10k", 28.0, 0.04)), 30.0
MEMORY_BAR_GB = 3.0
HABIT_BARS = {"one at a time, cheapest": 0.10, "nearest first": 0.25}
# Planning again: sites, and links, that are lost, each alone; and bars. Jobs one by one: how many a call, and bars.
SITES_LOST, LINKS_LOST, REPLAN_BAR_S, WARM_BAR = 3, 2, 2.0, 0.02
AT_ONCE, LIVE_BAR, P99_BAR_US = 1_000, 50_000.0, 200.0
MACHINE_CHIPS, FIT_BAR = 8, 0.98
# Where distance is all that counts: for the price of a GB, for each hour later, and for not being served.
DISTANCE_CNY, LATER_CNY, FAR_CNY = 1e6, 1e-3, 1e9


class Run(NamedTuple):
    """One instance solved: CPU seconds to build and to solve it, and what the checker says of it."""

    nation: Nation
    solution: Solution
    build_s: float
    solve_s: float
    checked: check.Checked
    bound: float


def run() -> list[Figure]:
    """Gaps and habits, then what is lost and who comes."""
    _warm()
    figures = list[Figure]()
    for name, limit_s, bar in GAPS:
        runs = [_run(name, seed, limit_s) for seed in SEEDS]
        figures += _gap_figures(name, limit_s, bar, runs)
        figures += [each for one in runs[:1] for each in _habits(name, one)]
    return [*figures, *_going_on("jobs-100k")]


def _warm() -> None:
    """Compile what is compiled, outside of all times."""
    made = nation(SETTINGS["jobs-1k"], 1)
    solved(made.program)


def _run(name: str, seed: int, limit_s: float) -> Run:
    begun_s = time.process_time()
    made = nation(SETTINGS[name], seed)
    built_s = time.process_time()
    solution = solved(made.program, limit_s=limit_s, seconds=_clock())
    ended_s = time.process_time()
    said, bound = check.checked(made.program, solution.chosen), check.bound(made.program, solution.prices)
    return Run(made, solution, built_s - begun_s, ended_s - built_s, said, bound)


def _gap_figures(name: str, limit_s: float, bar: float, runs: list[Run]) -> Iterator[Figure]:
    worst = max((one.checked.cny - one.bound) / one.bound for one in runs)
    yield figure(f"{name}: proven gap, the worst of {len(runs)} seeds", worst, "share", bar)
    yield figure(f"{name}: CPU to plan and bound, the longest", max(one.solve_s for one in runs), "s", CPU_BAR_S)
    yield figure(f"{name}: CPU to build the instance, the longest", max(one.build_s for one in runs), "s")
    problems = sum(len(one.checked.problems) for one in runs)
    yield figure(f"{name}: limits passed, by the checker", problems, "", 0.0)
    off = max(abs(one.bound - one.solution.price_bound) / abs(one.bound) for one in runs)
    yield figure(f"{name}: bound of the solver against that of the checker", off, "share", 1e-6)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    yield figure(f"{name}: memory, build and checker included", most, "GB", MEMORY_BAR_GB)
    first = runs[0]
    program = first.nation.program
    for what, value in (
        ("jobs", int(program.jobs.number.sum())),
        ("classes", len(program.jobs.number)),
        ("pools", len(program.pools.site)),
        ("arms on menus", len(program.arms)),
        ("largest gang", float(first.nation.size[first.nation.kind > 0].max())),
        ("work unserved that no place can do", _share(first.nation, _impossible(program))),
        ("work unserved in the plan", _share(first.nation, _left(program, first.solution.chosen))),
    ):
        yield figure(f"{name}, seed {SEEDS[0]}: {what}", value, "share" if what.startswith("work") else "")


def _left(program: Program, chosen: Chosen) -> Array:
    """Of each class how many are not served."""
    return np.asarray(program.jobs.number - np.bincount(chosen.job, chosen.number, len(program.jobs.number)))


def _impossible(program: Program) -> Array:
    """Of each class how many no option could serve if they were alone."""
    menus = sorted_by_money(program)
    alone = cheapest(menus, sums_of(menus.program, nothing(program)), unserved(program))
    return np.where(alone.arm < 0, program.jobs.number, 0)


def _share(made: Nation, left: Array) -> float:
    return float(left @ made.work / (made.program.jobs.number @ made.work))


def _habits(name: str, ours: Run) -> Iterator[Figure]:
    """What the work that a habit serves costs in our plan of that work; and how much more our plan of all serves."""
    program, dear = ours.nation.program, ours.nation.program.jobs.unserved_cny
    our_left = _left(program, ours.solution.chosen)
    our_money = ours.checked.cny - float(our_left @ dear)
    for habit, as_seen in (("one at a time, cheapest", program), ("nearest first", _by_distance(program))):
        theirs = _one_by_one(as_seen, np.random.default_rng(SEEDS[0]))
        said, left = check.checked(program, theirs), _left(program, theirs)
        assert not said.problems
        money = said.cny - float(left @ dear)
        same = replace(program, jobs=program.jobs._replace(number=(program.jobs.number - left).astype(np.int32)))
        # Whom our plan of the same work leaves out is paid for as not served.
        mine = check.checked(same, solved(same, limit_s=GAPS[0][1], seconds=_clock()).chosen)
        assert not mine.problems
        yield figure(
            f"{name}, {habit}: its work costs less in our plan by", 1.0 - mine.cny / money, "share", HABIT_BARS[habit],
            better="higher",
        )  # fmt: skip
        unserved_share = _share(ours.nation, our_left)
        for what, value, yardstick, unit in (
            ("work unserved (yardstick), and in our plan", unserved_share, _share(ours.nation, left), "share"),
            ("money (yardstick), and of our plan that serves more", our_money / 1e6, money / 1e6, "M CNY"),
        ):
            yield figure(f"{name}, {habit}: {what}", value, unit, yardstick=yardstick)


def _one_by_one(program: Program, random: np.random.Generator) -> Chosen:
    """Jobs in random order, each where it costs least of what there is room for."""
    menus = sorted_by_money(program)
    none = Columns(np.empty(0, COLUMN), np.zeros(len(program.jobs.number) + 1, np.int64), np.empty(0, FURTHER))
    whole = begun(menus, nothing(program), none)
    whole.late = random.random(len(whole.late))
    whole.improve()
    chosen = chosen_of(whole.best)
    return chosen._replace(arm=menus.order[chosen.arm], number=chosen.number.astype(np.int64))


def _by_distance(program: Program) -> Program:
    """The program in which distance (what a GB costs) is all that counts, and then the hour."""
    arms, jobs = program.arms.copy(), program.jobs
    arms["cny"], arms["cny_per_gb"] = DISTANCE_CNY * arms["cny_per_gb"], 0.0
    hour = np.arange(program.hours) * LATER_CNY
    pools = program.pools._replace(cny=np.broadcast_to(hour, program.pools.cny.shape).copy())
    dear = jobs._replace(unserved_cny=np.full(len(jobs.number), FAR_CNY))
    return replace(program, pools=pools, arms=arms, jobs=dear)


def _clock() -> Callable[[], float]:
    """CPU seconds from now on."""
    begun_s = time.process_time()
    return lambda: time.process_time() - begun_s


def _going_on(name: str) -> Iterator[Figure]:
    """A plan after a site and after a link is lost, against one made from nothing; and jobs that come one by one."""
    made = nation(SETTINGS[name], SEEDS[0])
    program, seconds = made.program, _clock()
    whole = whole_of(sorted_by_money(program), limit_s=GAPS[0][1], seconds=seconds)
    for what, left in _losses(made, whole):
        before_s = time.process_time()
        warm = whole.after(left)
        took_s = time.process_time() - before_s
        said = check.checked(left, merged(warm))
        cold = check.checked(left, solved(left, limit_s=GAPS[0][1], seconds=_clock()).chosen)
        lost = f"{name}, {what} lost"
        yield figure(f"{lost}: CPU to plan again", took_s, "s", REPLAN_BAR_S)
        yield figure(f"{lost}: limits passed", len(said.problems), "", 0.0)
        yield figure(f"{lost}: above a plan made from nothing", said.cny / cold.cny - 1, "share", WARM_BAR)
        moved = (warm.best.arm != whole.best.arm) | (warm.best.start != whole.best.start)
        yield figure(f"{lost}: jobs that go to another place or hour, or nowhere", float(moved.mean()), "share")
    jobs = np.random.default_rng(SEEDS[0]).permutation(whole.best.job)
    live, each_s = Live.of(whole), list[float]()
    before_s = time.process_time()
    for at in range(0, len(jobs), AT_ONCE):
        live.place(jobs[at : at + AT_ONCE])
    rate = len(jobs) / (time.process_time() - before_s)
    yield figure(f"{name}, jobs as they come, {AT_ONCE} a call", rate, "1/s/core", LIVE_BAR, better="higher")
    fit = on_machines(whole.menus.program, whole.best, MACHINE_CHIPS)[whole.best.arm >= 0].mean()
    what = f"{name}: jobs placed that fit onto machines of {MACHINE_CHIPS} chips"
    yield figure(what, float(fit), "share", FIT_BAR, better="higher")
    passed = max(float((-room).max(initial=0.0)) for room in live.room)
    yield figure(f"{name}, jobs as they come: limits passed by", passed, "", 1e-6)
    single = Live.of(whole)
    for at in range(len(jobs)):
        before_s = time.perf_counter()
        single.place(jobs[at : at + 1])
        each_s.append(time.perf_counter() - before_s)
    yield figure(f"{name}, one job a call, p99", float(np.quantile(each_s, 0.99)) * 1e6, "us", P99_BAR_US)


def _losses(made: Nation, whole: Whole) -> Iterator[tuple[str, Program]]:
    """The program without one of some sites, or one of some links, the busiest of each among them."""
    program, used = whole.menus.program, used_of(whole.menus.program, whole.best)
    chip_hours = np.bincount(program.pools.site, used.chips.sum(axis=1))
    gb, random = used.gb_over.sum(axis=1), np.random.default_rng(SEEDS[0])
    for what, site in _lost(random, chip_hours, SITES_LOST):
        share = chip_hours[site] / chip_hours.sum()
        yield f"site {what} with {100 * share:.1f} % of all chip-hours", _without_site(program, site)
    for what, link in _lost(random, gb, LINKS_LOST):
        share = gb[link] / gb.sum()
        yield f"link {what} with {100 * share:.1f} % of all that links carry", _without_link(made, program, link)


def _lost(random: np.random.Generator, used: Array, number: int) -> list[tuple[str, int]]:
    """So many rows of which something is used, drawn by chance, and the one of which most is."""
    most = int(np.argmax(used))
    others = np.setdiff1d(np.flatnonzero(used > 0), [most])
    by_chance = random.choice(others, number, replace=False).tolist()
    return [*((f"{row}, drawn by chance,", row) for row in by_chance), (f"{most}, the busiest,", most)]


def _without_site(program: Program, site: int) -> Program:
    left = program.pools.chips.copy()
    left[program.pools.site == site] = 0
    return replace(program, pools=program.pools._replace(chips=left))


def _without_link(made: Nation, program: Program, link: int) -> Program:
    """The program in which data go other ways."""
    left = program.limits.gb_over.copy()
    left[link] = 0
    return replace(program, routes=routes_without(made, link), limits=program.limits._replace(gb_over=left))
