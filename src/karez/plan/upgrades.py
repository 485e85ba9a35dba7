"""Which sites to build and which links to upgrade, together, so that enough is within reach at the least price.

The plan says how good it is proven to be by duals, which `karez.plan.upgrades_certificate` puts into the formula again,
over ways that it finds by itself. What sites alone would cost is told beside it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Literal, NamedTuple, get_args

import msgspec
import numpy as np

from karez.errors import Infeasible, InputError, Problem
from karez.measure import cover
from karez.measure.circles import Weight, compute_sites
from karez.measure.core import LONGEST_NS
from karez.measure.delay import FIBRE, LINK_KINDS, Figures, constants
from karez.measure.reach import Reach
from karez.plan.covering.ladder import Climb, Effort, Rung, climb
from karez.plan.covering.program import Program, merged
from karez.plan.covering.upgrades import (
    Duals,
    Made,
    Ways,
    bound_of,
    closed,
    planned,
    reached_by_search,
    shares_of,
    smaller,
    ways_of_reach,
)
from karez.plan.plan import Action, Alternative, Cell, NewRow, Plan, Proof
from karez.plan.reads import Read
from karez.plan.sites import (
    DAY_S,
    EXPIRES_AFTER_S,
    by_id,
    device_of,
    lead_time_s,
    point_ids,
    prepared,
    site_order,
    unused_id,
    whole_units,
    without_compute,
)
from karez.twin import Twin, World
from karez.twin.facts import library
from karez.twin.schema import Value
from karez.twin.table import Array, text
from karez.units import FEN_PER_CNY, NS_PER_US

PLANNER = "upgrades"
UpgradeKind = Literal["bypass", "straighter duct", "hollow-core fibre", "faster access"]
KINDS: tuple[UpgradeKind, ...] = get_args(UpgradeKind)
# Savings of one upgrade of the fibre and one of the hop add up; two of either do not.
OF_FIBRE: tuple[UpgradeKind, ...] = ("straighter duct", "hollow-core fibre")
# Where the twin has what an upgrade leads to. Such a delay is said once: zero there stands for the library's.
COLUMNS: Mapping[UpgradeKind, str] = {
    "bypass": "hop_us",
    "straighter duct": "length_km",
    "hollow-core fibre": "fibre_us_per_km",
    "faster access": "hop_us",
}
SAID_ONCE = ("fibre_us_per_km", "hop_us")
# A link's delay is rounded to whole ns. Each upgrade takes this much of that rounding on itself, so that the link is
# a sixth of a ns off what was promised at most, with one upgrade as with two.
ROUNDING_SHARE = 2 / 3
# What a bypass takes off the hop of its link. Source: assumption; an optical express is a thousandth of a regeneration
# (library/latency.csv), and what maps the signal at both ends stays.
BYPASS_SAVES_SHARE = 0.8
# Length of a duct over the great circle, and of the best. Source: library/latency.csv, conduit over great circle.
ROUTE_FACTOR, STRAIGHT_ROUTE_FACTOR = 1.4, 1.2
HOLLOW_CORE = ("fibre", "hollow-core propagation")
# The device that an upgrade adds at its link's first end that is a site.
DEVICES: Mapping[UpgradeKind, str] = {"bypass": "oxc", "hollow-core fibre": "otn", "faster access": "otn"}
EFFORTS: Mapping[Effort, tuple[int, int]] = {
    "greedy": (200, 200),
    "relaxed": (1_000, 500),
    "searched": (2_000, 2_000),
    "exact": (2_000, 2_000),
}
MOST_SHOWN = 8
# Digits of what a row pays after the point, in fen.
DIGITS = 2
HOW = "bound computed anew from duals over ways, rounded up to what prices can add up to"
ALL_DONE = Problem(
    "upgrades",
    "are all done: their links say already what their fibre or hop takes",
    "list others, or plan coverage with sites alone",
)
FIX_LINK = "give ids of optical links that carry traffic, between sites or branching stations"


class Upgrade(msgspec.Struct, frozen=True, kw_only=True):
    """Something that may be done to a link: its kind, price (CNY), and what it saves (us; by its kind where absent)."""

    link: str
    kind: UpgradeKind
    price_cny: float
    saving_us: float | None = None


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan of sites and upgrades is to do: a share of weight within a budget (us, one way towards compute).

    `prices_cny` has the sites that may be built and what each costs; without it, core sites at the library's price.
    """

    upgrades: tuple[Upgrade, ...]
    budget_us: float = 1_000.0
    target_share: float = 0.75
    prices_cny: Mapping[str, float] | None = None
    weight: Weight = "access_point"
    figures: Figures = "typical"


class Bought(NamedTuple):
    """An upgrade that the plan takes: what, the delay it takes off its link (ns), and its price."""

    upgrade: Upgrade
    saving_ns: int


class Upgraded(NamedTuple):
    """A plan, what each step left (fen), shares covered, and what sites alone would cost (CNY; inf where they fail).

    `alone_bound_cny` is the least that any plan of sites alone costs; `is_closed` says that the integer program's
    solver leaves nothing cheaper, which no duals prove. `done` are the upgrades that were not offered: their link says
    already what its fibre or hop takes.
    """

    plan: Plan
    rungs: tuple[Rung, ...]
    sites: tuple[str, ...]
    bought: tuple[Bought, ...]
    before_share: float
    after_share: float
    alone_cny: float
    alone_bound_cny: float
    alone_sites: int
    is_closed: bool
    done: tuple[Upgrade, ...]


class _Case(NamedTuple):
    """A question made into arrays: `candidates` (rows of sites, then what exists, which is free), `links`, prices.

    `upgrades` are those that are offered, each on the row of `links`; those `done` are not.
    """

    twin: Twin
    reach: Reach
    candidates: Array
    new: int
    upgrades: tuple[Upgrade, ...]
    done: tuple[Upgrade, ...]
    links: Array
    saving_ns: Array
    price_fen: Array
    demand: int
    limit_ns: int
    service_at_s: float

    def reached(self, chosen: Array) -> int:
        """The weight (millionths) within reach with these parts, by a search on the upgraded network."""
        return reached_by_search(self.reach, self.links, self.saving_ns, self.candidates, chosen, self.limit_ns)

    def is_site(self, parts: Array) -> Array:
        """Which of some parts are sites that are built."""
        return np.asarray(parts < self.new)

    def is_upgrade(self, parts: Array) -> Array:
        """Which of some parts are upgrades."""
        return np.asarray(parts >= len(self.candidates))

    @property
    def existing(self) -> Array:
        """The parts that stand already."""
        return np.arange(self.new, len(self.candidates))


def upgrades(
    world: World,
    ask: Ask,
    *,
    at_s: float,
    effort: Effort = "exact",
    enough: Callable[[], bool] = lambda: False,
    seconds: Callable[[], float] = lambda: 0.0,
    seed: int = 1,
) -> Upgraded:
    """The cheapest sites and upgrades together that reach the target; a plan without actions needs nothing built.

    `enough` and `seconds` are the caller's clock, and say when to stop.

    Raises:
        InputError: what is asked makes no sense for this network; has every problem, with the upgrade's row.
        Infeasible: all candidates and upgrades together would not do.
    """
    case = _case(world, ask, at_s)
    ways = ways_of_reach(case.reach, case.links, case.saving_ns, case.candidates, case.limit_ns)
    alone = _alone(case, effort, enough, seed)
    rungs = [] if alone is None else [Rung("sites alone", alone.value, 0.0, seconds())]
    steps, rounds = EFFORTS[effort]
    start = None if alone is None else np.union1d(alone.chosen, case.existing)
    made = planned(ways, case.price_fen, case.demand, start=start, steps=steps, rounds=rounds, seed=seed, enough=enough)
    if made is None:
        raise _infeasible(case, ask)
    rungs.append(Rung("searched", made.value, made.bound, seconds()))
    chosen, closed_bound = made.chosen, made.bound
    if effort == "exact" and not enough():
        chosen, closed_bound = closed(ways, case.price_fen, case.demand, made, enough)
        rungs.append(Rung("exact", int(case.price_fen[chosen].sum()), max(made.bound, closed_bound), seconds()))
    chosen = _that_reaches(case, ask, (case.existing, chosen, made.chosen), start)
    return _answer(world, ask, case, ways, made, chosen, alone, tuple(rungs), closed_bound, at_s)


def link_lead_time_s(kinds: frozenset[str]) -> float:
    """Seconds from order to service of upgrades of these kinds: the longest lead time of what they take.

    Source: library/recipes.csv and library/equipment.csv.
    """
    items = {row["item"] for row in library("recipes") if row["act"] in kinds}
    days = [float(row["lead_time_days"]) for row in library("equipment") if row["item"] in items]
    return max(days, default=0.0) * DAY_S


def _case(world: World, ask: Ask, at_s: float) -> _Case:
    service_at_s = at_s + max(lead_time_s(), link_lead_time_s(frozenset(one.kind for one in ask.upgrades)))
    twin = world.intended.at(service_at_s)
    reach = prepared(twin, ask.weight, ask.figures)
    problems = [*_terms(ask), *_senseless(ask), *_unknown_links(ask, twin, reach)]
    found, price, more = _candidates(twin, ask)
    problems += more
    links = saving_ns = is_done = np.zeros(0, np.int64)
    if not problems:
        links = twin["links"].rows([one.link for one in ask.upgrades])
        is_done = np.array([_is_done(one, twin) for one in ask.upgrades], bool)
        saving_ns = _savings_ns(ask, twin, links)
        problems += _excessive(ask, twin, links, saving_ns, is_done)
        problems += [ALL_DONE] if is_done.all() else []
    if problems:
        raise InputError(problems)
    existing = compute_sites(twin)
    offered = tuple(one for one, done in zip(ask.upgrades, is_done, strict=True) if not done)
    upgrade_fen = np.array([round(one.price_cny * FEN_PER_CNY) for one in offered], np.int64)
    return _Case(
        twin=twin,
        reach=reach,
        candidates=np.concatenate([found, existing]),
        new=len(found),
        upgrades=offered,
        done=tuple(one for one, done in zip(ask.upgrades, is_done, strict=True) if done),
        links=links[~is_done],
        saving_ns=saving_ns[~is_done],
        price_fen=np.concatenate([price, np.zeros(len(existing), np.int64), upgrade_fen]),
        demand=math.ceil(Fraction(str(ask.target_share)) * int(reach.total.sum())),
        limit_ns=min(math.ceil(ask.budget_us * NS_PER_US), LONGEST_NS),
        service_at_s=service_at_s,
    )


def _terms(ask: Ask) -> Iterator[Problem]:
    if not (0 < ask.budget_us < math.inf and 0 <= ask.target_share <= 1):
        yield Problem("target", "is no share within a budget", "give a share from 0 to 1 and microseconds above 0")
    if not ask.upgrades:
        yield Problem("upgrades", "there is none", "list upgrades of links, or plan coverage with sites alone")


def _senseless(ask: Ask) -> Iterator[Problem]:
    """What is wrong with the upgrades whatever the network."""
    seen: Counter[tuple[str, str]] = Counter()
    for number, one in enumerate(ask.upgrades, 1):
        where, of = f"upgrades, row {number}", "fibre" if one.kind in OF_FIBRE else "hop"
        seen[one.link, of] += 1
        if one.kind not in KINDS:
            yield Problem(where, f"is of no known kind: {one.kind!r}", f"use one of {', '.join(KINDS)}", (one.link,))
        elif seen[one.link, of] > 1:
            what = f"changes the {of} of a link a second time: such savings do not add up"
            yield Problem(where, what, "give one upgrade of the fibre and one of the hop for each link", (one.link,))
        if not 0 <= one.price_cny < math.inf:
            yield Problem(where, "has no price", "give CNY, not below zero", (one.link,))
        if one.saving_us is None and one.kind == "faster access":
            yield Problem(where, "does not say what faster access saves", "give saving_us", (one.link,))
        if one.saving_us is not None and not 0 < one.saving_us < math.inf:
            yield Problem(where, "has a saving that is none", "give microseconds above zero", (one.link,))


def _unknown_links(ask: Ask, twin: Twin, reach: Reach) -> Iterator[Problem]:
    """The upgrades of links that are not there, or that no way between core vertices takes."""
    links, core = twin["links"], np.zeros(len(twin["links"]), bool)
    core[reach.topology.links] = True
    for number, one in enumerate(ask.upgrades, 1):
        where = f"upgrades, row {number}"
        if not links.has(one.link):
            yield Problem(where, "names a link that is not there", FIX_LINK, (one.link,))
        elif links.cell(one.link, "layer") != "optical" or not links.cell(one.link, "up"):
            yield Problem(
                where, "names a link that carries no light: it is down, or of the IP layer", FIX_LINK, (one.link,)
            )
        elif not core[links.rows([one.link])[0]]:
            what = "names a link within a chain or ring of stations, which is known by its ends alone"
            yield Problem(where, what, FIX_LINK, (one.link,))
        elif one.kind in DEVICES and not _end(twin, one.link):
            yield Problem(where, "ends at no site, where its device could stand", FIX_LINK, (one.link,))


def _is_done(one: Upgrade, twin: Twin) -> bool:
    """Whether the link says already what the upgrade would make it say."""
    column = COLUMNS[one.kind]
    return column in SAID_ONCE and float(twin["links"].cell(one.link, column)) > 0


def _excessive(ask: Ask, twin: Twin, links: Array, saving_ns: Array, is_done: Array) -> Iterator[Problem]:
    """The upgrades that save nothing, or all that their fibre or hop takes and more; not those that are done."""
    fibre_us, hop_us = _delays_us(ask, twin, links)
    for at in np.flatnonzero(~is_done).tolist():
        of, has_us = ("fibre", fibre_us[at]) if ask.upgrades[at].kind in OF_FIBRE else ("hop", hop_us[at])
        where, link = f"upgrades, row {at + 1}", (ask.upgrades[at].link,)
        if saving_ns[at] > max(has_us * NS_PER_US - 1, 0):
            what = f"saves {saving_ns[at] / NS_PER_US:g} us of a {of} that takes {has_us:g} us"
            yield Problem(where, what, f"give a saving below what the {of} takes", link)
        elif saving_ns[at] <= 0:
            yield Problem(where, "saves nothing", "leave it out, or give saving_us", link)


def _delays_us(ask: Ask, twin: Twin, links: Array) -> tuple[Array, Array]:
    """What fibre and hop of some links take (us): what the link says, or by the library."""
    values, table = constants(ask.figures), twin["links"]
    said_per_km, said_us = table["fibre_us_per_km"][links], table["hop_us"][links]
    hop = {name.encode(): values[f"{name} hop"] for name in LINK_KINDS}
    hop_us = np.array([hop.get(kind, 0.0) for kind in table["kind"][links].tolist()], np.float64)
    per_km = np.where(said_per_km > 0, said_per_km, values[FIBRE])
    return per_km * table["length_km"][links], np.where(said_us > 0, said_us, hop_us)


def _savings_ns(ask: Ask, twin: Twin, links: Array) -> Array:
    """What each upgrade takes off its link (ns)."""
    hollow = next(row for row in library("latency") if (row["kind"], row["element"]) == HOLLOW_CORE)
    fibre_us, hop_us = _delays_us(ask, twin, links)
    by_kind: Mapping[UpgradeKind, Array] = {
        "bypass": BYPASS_SAVES_SHARE * hop_us,
        "straighter duct": fibre_us * (1 - STRAIGHT_ROUTE_FACTOR / ROUTE_FACTOR),
        "hollow-core fibre": fibre_us - float(hollow[ask.figures]) * twin["links"]["length_km"][links],
        "faster access": np.zeros(len(links)),
    }
    saving_us = [
        by_kind[one.kind][at] if one.saving_us is None else one.saving_us for at, one in enumerate(ask.upgrades)
    ]
    return np.rint(np.array(saving_us, np.float64) * NS_PER_US).astype(np.int64)


def _candidates(twin: Twin, ask: Ask) -> tuple[Array, Array, list[Problem]]:
    """Rows of the sites that may be built, by id, their prices in fen, and what is wrong with them."""
    if ask.prices_cny is None:
        return *without_compute(twin), []
    sites = twin["sites"]
    unknown = tuple(one for one in ask.prices_cny if not sites.has(one))
    free = tuple(one for one, price in ask.prices_cny.items() if not 0 <= price < math.inf)
    problems = [Problem("prices", "names sites that are not there", "give ids of sites", unknown)] if unknown else []
    problems += [Problem("prices", "has no price for sites", "give CNY, not below zero", free)] if free else []
    if problems:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), problems
    found = sites.rows(list(ask.prices_cny)) if ask.prices_cny else np.zeros(0, np.int64)
    prices = np.array([round(one * FEN_PER_CNY) for one in ask.prices_cny.values()], np.int64)
    new = ~np.isin(found, compute_sites(twin))
    return *by_id(twin, found[new], prices[new]), []


def _alone(case: _Case, effort: Effort, enough: Callable[[], bool], seed: int) -> Climb | None:
    """The cheapest sites without any upgrade; None where all of them would not do."""
    rows = cover.covering(case.reach, case.candidates, case.limit_ns, np.zeros(case.reach.metros, np.int64))
    program = Program(
        bounds=rows.bounds,
        choices=rows.choices,
        weight=rows.weight,
        group=rows.group.astype(np.int64),
        need=np.ones(len(rows.weight), np.int64),
        price=case.price_fen[: len(case.candidates)],
        demand=np.array([case.demand]),
        wanted=1,
    )
    if program.covered(np.arange(len(case.candidates)))[0] < case.demand:
        return None
    return climb(merged(program)[0], effort=effort, enough=enough, seed=seed)


def _that_reaches(case: _Case, ask: Ask, plans: tuple[Array, ...], alone: Array | None) -> Array:
    """The first of some plans that reaches the target by a search; sites alone where ways were guessed at."""
    for chosen in plans:
        if case.reached(chosen) >= case.demand:
            return chosen
    if alone is None:
        raise _infeasible(case, ask)
    return alone


def _infeasible(case: _Case, ask: Ask) -> Infeasible:
    every = case.reached(np.arange(len(case.price_fen))) / max(int(case.reach.total.sum()), 1)
    what = f"{ask.target_share:.1%} within {ask.budget_us:g} us cannot be reached: compute at every candidate and "
    return Infeasible(f"{what}every upgrade would bring {every:.1%}".replace("%", " %"))


def _answer(
    world: World,
    ask: Ask,
    case: _Case,
    ways: Ways,
    made: Made,
    chosen: Array,
    alone: Climb | None,
    rungs: tuple[Rung, ...],
    closed_bound: float,
    at_s: float,
) -> Upgraded:
    total, value = max(int(case.reach.total.sum()), 1), int(case.price_fen[chosen].sum())
    small, done = smaller(ways, case.price_fen, np.zeros(len(case.price_fen), bool))
    duals = Duals(np.round(np.maximum(made.duals.paid, 0.0), DIGITS), max(made.duals.weight, 0.0))
    bound = _bound(case, small, case.demand - done, duals, value)
    sites = tuple(_ids(case, chosen[case.is_site(chosen)]))
    numbers = (chosen[case.is_upgrade(chosen)] - len(case.candidates)).tolist()
    bought = tuple(Bought(case.upgrades[at], int(case.saving_ns[at])) for at in numbers)
    before, after = case.reached(case.existing) / total, case.reached(chosen) / total
    plan = Plan(
        planner=PLANNER,
        question={
            "weight": ask.weight,
            "figures": ask.figures,
            "targets": f"{ask.budget_us:g}={ask.target_share!r}",
            "service_at_s": case.service_at_s,
        },
        revision=world.intended.digest,
        made_at_s=at_s,
        reads=tuple(_reads(world, case, sites, bought)),
        actions=tuple(_actions(world, case, ask, sites, bought, at_s)),
        price_cny=value / FEN_PER_CNY,
        proof=Proof(
            value=value / FEN_PER_CNY,
            bound=bound / FEN_PER_CNY,
            unit="CNY",
            how=HOW,
            certificate=_certificate(ask, case, small, duals, sites, numbers),
        ),
        summary=f"{len(sites)} sites and {len(bought)} upgrades: within {ask.budget_us:g} us "
        f"{before:.1%} of the weight {ask.weight} are covered now, {after:.1%} then".replace("%", " %"),
        alternatives=_alternatives(alone, value) if sites or bought else (),
        citation=_citation(world, ask),
    )
    return Upgraded(
        plan=plan,
        rungs=rungs,
        sites=sites,
        bought=bought,
        before_share=before,
        after_share=after,
        alone_cny=math.inf if alone is None else alone.value / FEN_PER_CNY,
        alone_bound_cny=math.inf if alone is None else max(alone.bound, 0.0) / FEN_PER_CNY,
        alone_sites=0 if alone is None else int((alone.chosen < case.new).sum()),
        is_closed=closed_bound >= value - 1,
        done=case.done,
    )


def _bound(case: _Case, small: Ways, left: int, duals: Duals, value: int) -> int:
    """The bound of the duals, rounded up to what prices can add up to (fen)."""
    if left <= 0:
        return 0
    bound, _ = bound_of(small, shares_of(small, len(case.price_fen)), case.price_fen, left, duals)
    unit = math.gcd(*case.price_fen.tolist()) or 1
    return min(max(whole_units(bound, unit), 0), value)


def _ids(case: _Case, parts: Array) -> list[str]:
    return [text(one) for one in case.twin["sites"].ids[case.candidates[parts]]]


def _certificate(
    ask: Ask, case: _Case, small: Ways, duals: Duals, sites: tuple[str, ...], numbers: list[int]
) -> dict[str, tuple[float | str, ...] | float | str]:
    """What rows pay for parts, each row named by one of its points, and all that may be chosen with its price.

    Parts are numbered: candidates, then upgrades.
    """
    shares = shares_of(small, len(case.price_fen))
    row = np.repeat(np.arange(len(small.weight)), np.diff(shares.bounds))
    pays = np.flatnonzero(duals.paid > 0)
    rows, at = np.unique(row[pays], return_inverse=True)
    part = shares.parts[pays]
    return {
        "candidates": tuple(_ids(case, np.arange(case.new))),
        "prices_fen": tuple(case.price_fen[: case.new].astype(float).tolist()),
        "links": tuple(one.link for one in case.upgrades),
        "kinds": tuple(one.kind for one in case.upgrades),
        "savings_ns": tuple(case.saving_ns.astype(float).tolist()),
        "upgrade_prices_fen": tuple(case.price_fen[len(case.candidates) :].astype(float).tolist()),
        "sites": sites,
        "upgraded": tuple(map(float, numbers)),
        "rows_point": tuple(point_ids(case.twin, ask.weight, case.reach, small.point[rows])),
        "paid_row": tuple(at.astype(float).tolist()),
        "paid_part": tuple(
            np.where(part < case.new, part, part - len(case.candidates) + case.new).astype(float).tolist()
        ),
        "paid_fen": tuple(duals.paid[pays].tolist()),
        "weight_dual": float(duals.weight),
    }


def _end(twin: Twin, link: str) -> str:
    """The first end of a link that is a site; empty where none is."""
    ends = (str(twin["links"].cell(link, end)) for end in ("a", "b"))
    return next((end for end in ends if twin["sites"].has(end)), "")


def _reads(world: World, case: _Case, sites: tuple[str, ...], bought: tuple[Bought, ...]) -> Iterator[Read]:
    for site in sites:
        yield Read("sites", site)
        yield Read("equipment", device_of(world, site), op="gone")
    for link in dict.fromkeys(one.upgrade.link for one in bought):
        yield Read("links", link, "up", "==", value=True)
        for column in ("kind", "length_km", *SAID_ONCE):
            yield Read("links", link, column, "==", case.twin["links"].cell(link, column))


def _actions(
    world: World, case: _Case, ask: Ask, sites: tuple[str, ...], bought: tuple[Bought, ...], at_s: float
) -> Iterator[Action]:
    for site in sites:
        yield site_order(world, site, due_s=case.service_at_s, at_s=at_s)
    for one in bought:
        link = one.upgrade.link
        yield Action(
            kind=one.upgrade.kind.replace(" ", "_"),
            subject=link,
            sets=(_changed(case, ask, one),),
            adds=_device(world, case, one),
            blast_radius=(link,),
            expires_at_s=at_s + EXPIRES_AFTER_S,
            ends_at_s=case.service_at_s,
        )


def _changed(case: _Case, ask: Ask, one: Bought) -> Cell:
    """What the link says of itself when the upgrade is there: a delay that is less by what it saves, or a length."""
    links, name, column = case.twin["links"], one.upgrade.link, COLUMNS[one.upgrade.kind]
    row = links.rows([name])
    fibre_us, hop_us = (float(us[0]) for us in _delays_us(ask, case.twin, row))
    rounding_ns = int(case.reach.oneway_ns[row[0]]) - (fibre_us + hop_us) * NS_PER_US
    saved_us = (one.saving_ns - ROUNDING_SHARE * rounding_ns) / NS_PER_US
    before, km = float(links.cell(name, column)), float(links.cell(name, "length_km"))
    if column == "hop_us":
        return Cell("links", name, column, before, hop_us - saved_us)
    left_us = fibre_us - saved_us
    return Cell("links", name, column, before, left_us / km if column in SAID_ONCE else km * left_us / fibre_us)


def _device(world: World, case: _Case, one: Bought) -> tuple[NewRow, ...]:
    """The device at the link's first end."""
    if one.upgrade.kind not in DEVICES:
        return ()
    link, kind = one.upgrade.link, DEVICES[one.upgrade.kind]
    values: dict[str, Value] = {"site": _end(case.twin, link), "kind": kind, "valid_from_s": case.service_at_s}
    return (NewRow("equipment", unused_id(world, f"{one.upgrade.kind.replace(' ', '-')}-{link}"), values),)


def _alternatives(alone: Climb | None, value: int) -> tuple[Alternative, ...]:
    nothing = Alternative("do nothing", 0.0, "leaves the target missed")
    if alone is None:
        return (nothing, Alternative("sites alone", 0.0, "all of them miss the target"))
    more = (alone.value - value) / FEN_PER_CNY
    why = f"costs {more:,.0f} CNY more" if more > 0 else "costs as much"
    return (nothing, Alternative("sites alone", alone.value / FEN_PER_CNY, why))


def _citation(world: World, ask: Ask) -> str:
    return (
        f"C2 within {ask.budget_us:g} us one way towards compute, weight {ask.weight}, optical layer, {ask.figures} "
        f"figures, savings of upgrades as given or by kind (a bypass {BYPASS_SAVES_SHARE:.0%} of its hop: assumption); "
        f"data {world.intended.digest[:12]}; bound from duals over ways"
    )
