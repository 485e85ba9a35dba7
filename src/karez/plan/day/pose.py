"""The placing program that the tables of a twin pose, and what its rows stand for.

Law, delay, memory, missing figures and prices are filters: what they forbid is on no menu. Jobs that are alike in all
that matters are one class, and menus are shared by whatever may run in the same ways.

* Data come from the nearest copy, once for each job, over the hours that it runs; where an online job has traffic with
  its user, that traffic goes over the links instead, from the province of the user. Either begins at the main site of
  its province: links within it on the way there are not counted.
* A job that is longer than its planned hours, and may run on after the last of them, takes all of these hours.
* Training loses to failures what `measure.health` says, so it takes so much longer.
* A job that has to wait for others gets hours of its own after theirs. The program that proves a bound (`loose`) knows
  only that it cannot begin before they could be done at best.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from karez.errors import InputError, Problem
from karez.measure import policy
from karez.measure.chips import constants
from karez.measure.health import checkpoint_h, health
from karez.plan.day import hours as when
from karez.plan.day.ask import Ask
from karez.plan.day.menus import menus_of
from karez.plan.day.pools import Offer, gb_in, gb_over, offer, tariffs_wrong
from karez.plan.day.rules import ROWS, Keys, Rules, believed_hours, modes, parameters_of, rules_of
from karez.plan.day.running import Running, goes_on, running
from karez.plan.day.ways import Ways, ways
from karez.plan.place import main_sites
from karez.plan.placing.check import load_shares
from karez.plan.placing.program import NONE, WHOLE, Jobs, Limits, Program
from karez.twin import Twin, World, schema
from karez.twin.facts import library
from karez.twin.table import Array, strings
from karez.units import S_PER_H

MOST_JOBS = 5_000_000
# The least share of its peak that a load of the library has in any hour.
LEAST_LOAD = 0.1
NOBODY: Array = np.zeros(0, np.int64)
# Why a server that the rules allow is on no menu of a job all the same.
TOO_FEW, UNPRICED = "too few chips", "unknown price"


class Limited(NamedTuple):
    """What limits are of: sites (rows of the twin), and links in a direction (as `Ways.links`)."""

    sites: Array
    links: Array


@dataclass(frozen=True)
class Posed:
    """A program, and what its rows stand for.

    `pools` are rows of servers of `world`, which is the twin at that moment; `jobs` are the rows of jobs that are
    planned, `of` the class of each, `before` whom each waits for (positions in `jobs`); `later` those that may not run
    within the planned hours. `key_of` is what a class goes by (a row of `keys`), `mode` that of each arm; `loose` is
    the program that proves a bound.
    """

    world: World
    ask: Ask
    program: Program
    loose: Program
    pools: Array
    limited: Limited
    jobs: Array
    of: Array
    before: list[list[int]]
    later: Array
    rules: Rules
    keys: Keys
    key_of: Array
    mode: Array
    unpriced: Array

    @property
    def runs_at(self) -> Array:
        """The server (row) that each planned job runs on already, and may leave; NONE where it runs nowhere."""
        return np.asarray(self.keys.runs_at[self.key_of[self.of]])

    def class_of(self, jobs: Array | Sequence[int]) -> Array:
        """The class of each of these jobs (rows of the twin that are planned)."""
        return np.asarray(self.of[np.searchsorted(self.jobs, np.asarray(jobs, np.int64))])

    def fails(self, job: int) -> dict[str, Array]:
        """By reason, which servers of the twin it forbids to a job (a row that is planned), a bool each."""
        (cls,) = self.class_of([job])
        jobs = self.program.jobs
        keys = Keys(*(column[[self.key_of[cls]]] for column in self.keys))
        most = np.zeros(len(self.unpriced))
        most[self.pools] = self.program.pools.chips.max(axis=1, initial=0)
        need = np.full(len(most), float(jobs.chips[cls]))
        if jobs.elastic[cls]:
            speed, (opens, closes) = self.rules.speed[keys.work[0]], (int(jobs.opens[cls]), int(jobs.closes[cls]))
            peak = load_shares(self.program, cls, opens, closes - opens).max()
            need = np.ceil(np.ceil(need / np.where(speed > 0, speed, np.inf) - WHOLE) * peak - WHOLE)
        found = {reason: fails[0] for reason, fails in self.rules.fails(keys).items()}
        return found | {TOO_FEW: (most < need) & ~self.unpriced, UNPRICED: self.unpriced}


def posed(
    world: World,
    ask: Ask,
    packs: Sequence[policy.Pack] | None = None,
    *,
    new: Collection[str] = (),
    held: Array = NOBODY,
) -> Posed:
    """The program of the jobs that have no place yet, or may leave it; servers `new` (ids) may be added.

    Jobs `held` (rows) may not leave theirs, and neither may those that could not stay, were they asked anew.

    Raises:
        InputError: a tariff has not all hours, jobs wait for each other in a circle or for one that is not there, are
            to be done before they may begin, or a weight is of no domain.
    """
    world = World(world.intended.at(ask.at_s), world.actual)
    twin = world.intended
    problems = [*senseless(twin), *tariffs_wrong(twin), *_weights_wrong(twin, ask)]
    if problems:
        raise InputError(problems)
    for_, _ = when.waits(twin)
    every = np.arange(len(twin["jobs"]))
    now = running(world, ask, held)
    takes_h = now.left(believed_hours(world, every, usual_hours(twin, every)))
    lasts_h = takes_h / now.speed
    own = goes_on(when.windows(twin, ask, every), now, lasts_h, ask.hours)
    runs_on = _runs_on(twin, ask, lasts_h, own) | ((now.server >= 0) & (lasts_h > ask.hours))
    jobs, later, before = _planned(world, own, runs_on, for_, now)
    own, takes_h, runs_on = when.Windows(own.opens[jobs], own.closes[jobs]), takes_h[jobs], runs_on[jobs]
    offered = offer(world, ask, new, twin["jobs"].ids[now.rows])
    network, starts = _network(world, ask)
    rules, keys = rules_of(world, ask, jobs, runs_on, network, starts, packs)
    there = np.where(now.server[jobs] >= 0, now.speed[jobs], 0.0)
    keys = keys._replace(runs_at=now.server[jobs], kept_gb=now.kept_gb[jobs], speed_there=there)
    stuck = jobs[~_may_stay(rules, keys, offered)]
    if len(stuck):
        return posed(world, ask, packs, new=new, held=np.union1d(held, stuck))
    narrow, wide = _ordered(before, takes_h, own, rules, keys, ask.hours)
    rows, menu_of = np.unique(np.column_stack([np.asarray(c, float) for c in keys]), axis=0, return_inverse=True)
    menus = Keys(*(rows[:, at].astype(int) if at < ROWS else rows[:, at] for at in range(len(Keys._fields))))
    names, loads = _loads(twin, ask)
    table = _table(world, ask, jobs, np.where(runs_on, narrow.closes - narrow.opens, takes_h), narrow, wide, names)
    table["gb"] += keys.kept_gb
    table["menu"] = menu_of.ravel()
    classes, of, number = _classes(table, twin["jobs"]["number"][jobs])
    most_gb = _most_gb(classes, number, menus, rules)
    built = menus_of(world, ask, offered, network, starts[1], rules, menus, most_gb)
    sites = np.unique(offered.pools.site)
    program = Program(
        pools=offered.pools._replace(site=np.searchsorted(sites, offered.pools.site).astype(np.int32)),
        limits=_limits(world, ask, offered, sites, built.links, float(most_gb.sum())),
        routes=built.routes(sites),
        jobs=_jobs(classes, number, "opens", "closes", len(menus.metro)),
        # The last menu is empty: that of jobs without hours.
        menus=np.append(built.menus, built.menus[-1]),
        arms=built.arms,
        loads=loads,
    )
    at_best = _jobs(classes, number, "first", "last", len(menus.metro))
    return Posed(
        world=world,
        ask=ask,
        program=program,
        loose=replace(program, jobs=at_best) if any(before) else program,
        pools=offered.servers,
        limited=Limited(sites, built.links),
        jobs=jobs,
        of=of,
        before=before,
        later=later,
        rules=rules,
        keys=menus,
        key_of=classes["menu"].astype(int),
        mode=built.mode,
        unpriced=offered.unpriced,
    )


def _may_stay(rules: Rules, keys: Keys, offered: Offer) -> Array:
    """Whether each job that runs could be placed where it is; of others it is true."""
    runs = np.flatnonzero(keys.runs_at >= 0)
    found = np.ones(len(keys.runs_at), bool)
    forbidden = rules.forbids(Keys(*(column[runs] for column in keys)))[np.arange(len(runs)), keys.runs_at[runs]]
    found[runs] = ~forbidden & np.isin(keys.runs_at[runs], offered.servers)
    return found


def senseless(twin: Twin) -> list[Problem]:
    """What is wrong with the jobs of a twin, with each by itself or with all together."""
    _, circles = when.waits(twin)
    return [*circles, *_unknown(twin), *when.contradictions(twin), *when.online_waits(twin), *_loads_wrong(twin)]


def _planned(
    world: World, own: when.Windows, runs_on: Array, for_: list[list[int]], now: Running
) -> tuple[Array, Array, list[list[int]]]:
    """The jobs (rows) that are planned, those that cannot run within the hours, and whom each planned one waits for.

    Who waits for one that cannot be done within the hours cannot run either: one that is out of them, one that holds a
    place it may not leave (nobody knows until when), or one that runs on after them.
    """
    waiting = ~np.isin(world["jobs"].ids, world["assignments"].ids) | (now.server >= 0)
    can = waiting & (own.closes > own.opens)
    done = can & ~runs_on
    for row in when.in_order(for_):
        can[row] &= all(done[one] for one in for_[row])
        done[row] &= can[row]
    jobs = np.flatnonzero(can)
    at = np.full(len(for_), NONE)
    at[jobs] = np.arange(len(jobs))
    before = [[int(at[one]) for one in for_[row] if at[one] >= 0] for row in jobs.tolist()]
    return jobs, np.flatnonzero(waiting & ~can), before


def _network(world: World, ask: Ask) -> tuple[Ways, tuple[Array, Array]]:
    """The ways to all sites that have chips, and the main site of each metro and of each province."""
    twin = world.intended
    site = twin.resolve("servers", "site")
    to = np.unique(site[site >= 0])
    mains = main_sites(world)
    of, people = twin.resolve("metros", "province"), world["metros"]["population"]
    homes = np.full(len(world["provinces"]), NONE)
    known = np.flatnonzero((mains >= 0) & (of >= 0))
    order = known[np.lexsort((known, -people[known]))]
    provinces, first = np.unique(of[order], return_index=True)
    homes[provinces] = mains[order[first]]
    users = twin.resolve("jobs", "metro")
    begins = np.concatenate([mains[np.unique(users[users >= 0])], homes, to])
    return ways(world, begins, to, figures=ask.figures), (mains, homes)


def usual_hours(twin: Twin, jobs: Array) -> Array:
    """Hours that each job is told to take on the chip it is told for, with what training loses to failures."""
    table = twin["jobs"]
    hours = table["hours"][jobs]
    return np.asarray(np.where(table["kind"][jobs] == b"training", hours / effective_share(twin, jobs), hours))


def effective_share(twin: Twin, jobs: Array) -> Array:
    """The share of its time in which each job (row), were it training, gets on: what failures and checkpoints leave."""
    known, chips = constants(), twin["jobs"]["chips"][jobs].astype(float)
    write_h = checkpoint_h(parameters_of(twin, jobs), chips, known["checkpoint_gb_per_s_chip"])
    return health(
        chips, write_h, failures_per_chip_h=known["failures_per_chip_h"], restart_h=known["restart_h"]
    ).effective_share


def _runs_on(twin: Twin, ask: Ask, takes_h: Array, own: when.Windows) -> Array:
    """Whether each job of the twin is longer than its hours, and has time to be done after the last that is planned."""
    table = twin["jobs"]
    in_time = table["closes_at_s"] >= ask.at_s + (own.opens + takes_h) * S_PER_H
    return np.asarray((table["kind"] != b"online") & in_time & (takes_h > own.closes - own.opens))


def _ordered(
    before: list[list[int]], takes_h: Array, own: when.Windows, rules: Rules, keys: Keys, hours: int
) -> tuple[when.Windows, when.Windows]:
    """The hours of each job in the plan, and those that no plan can leave."""
    if not any(before):
        return own, own
    fastest = rules.speed.max(axis=1, initial=0.0)[keys.work]
    usual = np.array([min(when.hours_h(value), hours) for value in takes_h.tolist()], float)
    best = np.array([when.hours_h(value) for value in (takes_h / np.where(fastest > 0, fastest, np.inf)).tolist()])
    return when.apart(before, usual, own), when.at_best(before, best.astype(float), own)


def _table(
    world: World, ask: Ask, jobs: Array, takes_h: Array, narrow: when.Windows, wide: when.Windows, loads: dict[str, int]
) -> dict[str, Array]:
    """What jobs are besides their menus, a value each; `loads` has the row of each load by the hour."""
    twin = world.intended
    table = twin["jobs"]
    chips, elastic = table["chips"][jobs].astype(float), table["kind"][jobs] == b"online"
    hours = np.where(elastic, 0.0, takes_h)
    told = table["unserved_cny"][jobs]
    work = chips * np.where(elastic, narrow.closes - narrow.opens, hours)
    data = twin.resolve("jobs", "dataset")[jobs]
    owner = twin.resolve("datasets", "domain")[data] if len(twin["datasets"]) else data
    weight = np.ones(len(twin["domains"]) + 1)
    for name, value in ask.weights.items():
        weight[twin["domains"].rows([name])] = value
    size = twin["datasets"]["size_gb"][data] if len(twin["datasets"]) else np.zeros(len(jobs))
    return {
        "unserved_cny": np.where(np.isnan(told), work * constants()["unserved_cny_per_chip_h"], told) * weight[owner],
        "opens": narrow.opens,
        "closes": narrow.closes,
        "first": wide.opens,
        "last": wide.closes,
        "elastic": elastic,
        "chips": chips,
        "hours": hours,
        "gb": np.nan_to_num(np.where(data >= 0, size, 0.0)),
        "load": np.array([loads.get(name, NONE) for name in strings(table["load"][jobs])], int).reshape(len(jobs)),
        "quota": twin.resolve("jobs", "quota")[jobs],
    }


def _classes(table: dict[str, Array], number: Array) -> tuple[dict[str, Array], Array, Array]:
    """Jobs that are alike in everything as one: the columns of classes, the class of each job, and their number."""
    whole = np.column_stack([np.asarray(column, float) for column in table.values()])
    rows, of = np.unique(whole, axis=0, return_inverse=True)
    count = np.bincount(of.ravel(), number, minlength=len(rows))
    return dict(zip(table, rows.T, strict=True)), of.ravel(), count


def _jobs(table: dict[str, Array], number: Array, opens: str, closes: str, no_menu: int) -> Jobs:
    """Classes with these hours; those that have none get a menu on which nothing stands."""
    none = table[closes] <= table[opens]
    return Jobs(
        number.astype(np.int32),
        table["unserved_cny"],
        np.where(none, 0, table[opens]).astype(np.int16),
        np.where(none, 1, table[closes]).astype(np.int16),
        np.where(none, no_menu, table["menu"]).astype(np.int32),
        table["elastic"].astype(bool),
        table["chips"],
        table["hours"],
        table["gb"],
        table["load"].astype(np.int32),
        table["quota"].astype(np.int32),
    )


def _loads(twin: Twin, ask: Ask) -> tuple[dict[str, int], Array]:
    """The row of each load by the hour that jobs name, and shares of the peak in planned hours."""
    profiles = _profiles()
    used = sorted(set(strings(np.unique(twin["jobs"]["load"]))) & set(profiles))
    shares = np.array([profiles[name][ask.hours_of_day] for name in used]).reshape(len(used), ask.hours)
    return {name: row for row, name in enumerate(used)}, np.ascontiguousarray(shares)


def _profiles() -> dict[str, Array]:
    found = dict[str, list[float]]()
    for row in library("loads"):
        found.setdefault(row["id"], []).append(float(row["share"]))
    return {name: np.array(shares) for name, shares in found.items()}


def _loads_wrong(twin: Twin) -> list[Problem]:
    table, known = twin["jobs"], _profiles()
    wrong = ~np.isin(table["load"], [b"", *(name.encode() for name in known)])
    idle = (table["load"] != b"") & (table["kind"] != b"online")
    found = [
        (wrong, "is no load by the hour", f"use {', '.join(known)}"),
        (idle, "is a load by the hour of a job that is not online", "leave it out, or make it an online job"),
    ]
    return [Problem("jobs.load", what, fix, strings(table.ids[rows])) for rows, what, fix in found if rows.any()]


def _unknown(twin: Twin) -> list[Problem]:
    """Jobs that name what is not there, and too many of them."""
    found, table = list[Problem](), twin["jobs"]
    for column in ("metro", "model", "dataset", "chip", "quota"):
        wrong = (table[column] != b"") & (twin.resolve("jobs", column) < 0)
        wrong |= schema.column("jobs", column).required & (table[column] == b"")
        if wrong.any():
            found.append(Problem(f"jobs.{column}", "names what is not there", "correct it", strings(table.ids[wrong])))
    if table["number"].sum() > MOST_JOBS:
        what, fix = f"come to {table['number'].sum():,} jobs", f"plan {MOST_JOBS:,} at most at once"
        found.append(Problem("jobs.number", what, fix))
    return found


def _weights_wrong(twin: Twin, ask: Ask) -> list[Problem]:
    wrong = [name for name in ask.weights if not twin["domains"].has(name)]
    return [Problem("weights", f"there is no domain {name!r}", "name domains of the network") for name in wrong]


def _most_gb(classes: dict[str, Array], number: Array, keys: Keys, rules: Rules) -> Array:
    """GB an hour that all jobs of each menu could ever move together."""
    menu, elastic = classes["menu"].astype(int), classes["elastic"] == 1
    speed = np.where(rules.speed > 0, rules.speed, np.nan)[keys.work[menu]]
    with np.errstate(invalid="ignore"):
        fastest, slowest = (
            np.nan_to_num(np.nanmax(speed, axis=1, initial=0.0)),
            np.nanmin(speed, axis=1, initial=np.inf),
        )
    hours = np.where(elastic, 1.0, np.maximum(np.floor(classes["hours"] / np.maximum(fastest, 1e-9)), 1.0))
    # What it may take more in a mode makes it slower still.
    peak = np.ceil(classes["chips"] / np.where(np.isfinite(slowest), slowest, 1.0) * (1.0 + modes().more.max()))
    # Data go by the load, and chips are whole, so that a part of an hour's data may be for chips that hardly work.
    rounded = np.where(classes["load"] >= 0, 1.0 / LEAST_LOAD, 0.0)
    gb = classes["gb"] / hours + keys.gb_per_chip_h[menu] * (peak + rounded)
    gb += np.where(keys.sites[menu] > 1, 2.0 * constants()["split_gb_per_chip_h"] * classes["chips"], 0.0)
    return np.bincount(menu, number * gb, minlength=len(keys.metro))


def _limits(world: World, ask: Ask, offered: Offer, sites: Array, links: Array, most_gb: float) -> Limits:
    """Power of sites, ways in, links and quotas; what nobody limits is as large as it could ever be used."""
    pools, twin = offered.pools, world.intended
    kw_all = np.zeros((len(sites), ask.hours))
    np.add.at(kw_all, np.searchsorted(sites, pools.site), pools.chips * pools.kw[:, None])
    return Limits(
        np.minimum(offered.kw[sites], kw_all + 1.0),
        np.where(np.isfinite(into := gb_in(twin, ask.hours)[sites]), into, most_gb + 1.0),
        gb_over(world, links, ask.hours),
        twin["quotas"]["chip_hours"].astype(float),
    )
