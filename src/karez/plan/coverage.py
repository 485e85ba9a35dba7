"""Which sites to build, and keep, so that enough is within reach of compute at the least price; or most for a sum.

Every question is one covering program (`karez.plan.covering`): targets of all weight or of metros, several budgets of
delay at once, cover that survives the loss of sites, and phases that build on one another. The plan says how good it is
proven to be by duals, which `karez.plan.certificate` puts into the formula again, sharing no code with this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from karez.errors import Infeasible, InputError, Problem
from karez.measure import cover
from karez.measure.circles import WEIGHT_SCALE, Weight, compute_sites
from karez.measure.circles import fixed as fixed_weight
from karez.measure.core import LONGEST_NS
from karez.measure.delay import Figures
from karez.measure.reach import Reach
from karez.plan.covering.cuts import some
from karez.plan.covering.flow import assigned, augment, leave
from karez.plan.covering.ladder import Climb, Effort, Rung, climb, is_closed
from karez.plan.covering.program import Program, Smaller, fixed, summed
from karez.plan.covering.relax import bound_of
from karez.plan.highs import Enough
from karez.plan.plan import Action, Alternative, Plan, Proof
from karez.plan.reads import Read
from karez.plan.sites import (
    by_id,
    closing,
    computing,
    device_of,
    lead_time_s,
    point_ids,
    prepared,
    site_order,
    whole_units,
    without_compute,
)
from karez.twin import Twin, World
from karez.twin.schema import Value
from karez.twin.table import Array, text, texts
from karez.units import FEN_PER_CNY, NS_PER_US

PLANNER = "coverage"
Of = Literal["all", "each", "some"]
# Digits of a row's dual after the point, in fen.
DIGITS = 4
HOW = "bound computed anew from duals of the linear relaxation, rounded up to what prices can add up to"
SHOWN_METROS = 8
# More weight than there is.
UNLIMITED = 2**62


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a coverage plan is to do.

    `targets` are pairs of a budget (us, one way towards compute) and the share to be within it; `phases` pairs of a
    year and its share, of the one budget, the last year's being the target's. Targets hold for all weight, for `each`
    metro, or for `some` of them (`metros_share`). `money_cny` asks for the most weight for a sum instead. `spare` sites
    may be lost and a point is still covered. `prices_cny` has the candidates and what each costs (existing ones: what
    keeping one costs, where they may be closed); without it, core sites at the library's price. `serves` has how much
    weight a site serves at most (by its racks and power); sites that are not in it serve all that is within reach.
    """

    targets: tuple[tuple[float, float], ...]
    phases: tuple[tuple[int, float], ...] = ()
    of: Of = "all"
    metros_share: float = 1.0
    money_cny: float | None = None
    spare: int = 0
    existing: Literal["kept", "closable"] = "kept"
    lock: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    prices_cny: Mapping[str, float] | None = None
    serves: Mapping[str, float] = {}
    discount_share: float = 0.0
    weight: Weight = "access_point"
    figures: Figures = "typical"


class Coverage(NamedTuple):
    """A plan, what each rung of the ladder left (values in CNY, or in weight left uncovered), and shares covered.

    `before_share` and `after_share` have one for each target; `marginal_share` is what each chosen site alone brings.
    """

    plan: Plan
    rungs: tuple[Rung, ...]
    before_share: tuple[float, ...]
    after_share: tuple[float, ...]
    marginal_share: Mapping[str, float]
    is_closed: bool


def coverage(
    world: World,
    ask: Ask,
    *,
    at_s: float,
    effort: Effort = "exact",
    enough: Enough = lambda: False,
    seconds: Callable[[], float] = lambda: 0.0,
    seed: int = 1,
) -> Coverage:
    """The plan for what is asked; `enough` and `seconds` are the caller's clock, and say when to stop climbing.

    A plan without actions says that nothing needs to be built.

    Raises:
        InputError: what is asked makes no sense for this network.
        Infeasible: all candidates together would not do; says which metros stay short, and why.
    """
    _refuse_senseless(ask, at_s)
    case = _case(world, ask, at_s)
    made = climb(case.open.program, effort=effort, enough=enough, seconds=seconds, seed=seed)
    return _answer(world, ask, case, made, at_s)


def program_of(world: World, ask: Ask, *, at_s: float) -> Program:
    """The covering program of what is asked, less what is kept or locked.

    Raises:
        InputError: what is asked makes no sense for this network.
        Infeasible: all candidates together would not do.
    """
    _refuse_senseless(ask, at_s)
    return _case(world, ask, at_s).open.program


class Group(NamedTuple):
    """What one target is of: a budget (us), a year (0 without phases), a metro (row; -1 for all), its share."""

    budget_us: float
    year: int
    metro: int
    share: float


class _Case(NamedTuple):
    """A question made into a program.

    `whole` has a choice for each candidate and each site that is kept, in each year; `open` is what is left once those
    `taken` (a mask over its choices) are. `candidate` (position, -1 for what is kept), `site` (row) and `year`
    (position) say what each choice is, `point` what each row stands for; `candidates` (rows, by id) may be chosen.
    """

    twin: Twin
    reach: Reach
    whole: Program
    open: Smaller
    taken: Array
    candidate: Array
    site: Array
    year: Array
    point: Array
    years: tuple[int, ...]
    groups: tuple[Group, ...]
    total: Array
    candidates: Array
    price_fen: Array
    existing: Array
    weight: Weight
    service_at_s: float

    def has_compute(self, site: str) -> bool:
        """Whether there is compute at a site already."""
        return bool(np.isin(self.twin["sites"].rows([site]), self.existing)[0])

    @property
    def closes_at_s(self) -> float:
        """When sites that are not kept are closed: as what is built first is in service."""
        return max(self.service_at_s, _in_service_s(self.years[0])) if self.has_phases else self.service_at_s

    @property
    def has_phases(self) -> bool:
        """Whether anything is asked for by a year."""
        return self.years != (0,)


def _case(world: World, ask: Ask, at_s: float) -> _Case:
    service_at_s = at_s + lead_time_s()
    twin = world.intended.at(service_at_s)
    candidates, price_fen, kept = _candidates(twin, ask)
    reach = prepared(twin, ask.weight, ask.figures)
    groups = _groups(reach, ask)
    total = np.array([int(reach.total.sum() if one.metro < 0 else reach.total[one.metro]) for one in groups], np.int64)
    years = tuple(sorted({group.year for group in groups}))
    rows = _rows(reach, np.concatenate([candidates, kept]), ask, groups, len(years))
    base = np.repeat(np.arange(len(candidates) + len(kept)), len(years))
    site, year = np.concatenate([candidates, kept])[base], np.tile(np.arange(len(years)), len(base) // len(years))
    price = np.concatenate([price_fen, np.zeros(len(kept), np.int64)])[base]
    if ask.discount_share:
        later = np.array(years)[year] - years[0]
        price = np.rint(price / (1.0 + ask.discount_share) ** later).astype(np.int64)
    always = (base >= len(candidates)) | np.isin(site, _known(twin, ask.lock, "lock"))
    whole = Program(
        bounds=rows.bounds,
        choices=rows.choices,
        weight=rows.weight,
        group=rows.group.astype(np.int64),
        need=np.full(len(rows.weight), 1 + ask.spare),
        price=price,
        demand=_demands(groups, total),
        wanted=_wanted(ask, len(groups)),
        money=None if ask.money_cny is None else math.floor(ask.money_cny * FEN_PER_CNY),
        capacity=_capacity(twin, ask, site),
    )
    taken = always & (year == 0)
    case = _Case(
        twin=twin,
        reach=reach,
        whole=whole,
        open=fixed(whole, taken, always & (year > 0)),
        taken=taken,
        candidate=np.where(base < len(candidates), base, -1),
        site=site,
        year=year,
        point=rows.point,
        years=years,
        groups=groups,
        total=total,
        candidates=candidates,
        price_fen=price_fen,
        existing=compute_sites(twin),
        weight=ask.weight,
        service_at_s=service_at_s,
    )
    _refuse_to_come(world, case)
    _refuse_impossible(case, ask)
    return case


def _refuse_senseless(ask: Ask, at_s: float) -> None:
    """Return only if what is asked can be asked together.

    Raises:
        InputError: with every contradiction.
    """
    one_target = len(ask.targets) == 1
    rules = (
        (not ask.targets, "targets", "there is none", "give a budget and a share"),
        (ask.phases and not one_target, "phases", "hold for one budget alone", "ask for one budget"),
        (ask.phases and ask.spare > 0, "phases", "cannot be had with spare sites yet", "ask for one of the two"),
        (
            ask.of == "some" and (ask.phases or not one_target),
            "of",
            "'some' holds for one budget alone",
            "ask for each",
        ),
        (
            ask.money_cny is not None and (ask.phases or not one_target or ask.of != "all"),
            "money",
            "is spent on all weight within one budget",
            "leave out phases, further budgets and metros",
        ),
        (
            list(ask.phases) != sorted(ask.phases) or len(dict(ask.phases)) < len(ask.phases),
            "phases",
            "are not in the order of their years",
            "give each year once, ascending",
        ),
        (
            [share for _, share in ask.phases] != sorted(share for _, share in ask.phases),
            "phases",
            "ask for less later",
            "let shares rise: what is built stays",
        ),
        (ask.phases and _in_service_s(ask.phases[0][0]) <= at_s, "phases", "begin in the past", "begin with this year"),
        (
            ask.serves and (ask.spare or ask.phases or not one_target or ask.money_cny is not None or ask.of == "some"),
            "serves",
            "limits sites for one budget and one share alone",
            "leave out spare sites, phases, further budgets, money and 'some'",
        ),
        (
            ask.existing == "closable" and ask.prices_cny is None,
            "existing",
            "may be closed, at no price",
            "give a price list that says what keeping each costs",
        ),
    )
    problems = [Problem(where, what, fix) for broken, where, what, fix in rules if broken]
    if problems:
        raise InputError(problems)


def _candidates(twin: Twin, ask: Ask) -> tuple[Array, Array, Array]:
    """Rows of the sites that may be chosen, by id, with their prices in fen; and rows of the sites that are kept."""
    existing = compute_sites(twin)
    if ask.prices_cny is None:
        found, price = without_compute(twin)
    else:
        prices = np.array([round(one * FEN_PER_CNY) for one in ask.prices_cny.values()], np.int64)
        found, price = by_id(twin, _known(twin, tuple(ask.prices_cny), "prices"), prices)
        if ask.existing == "kept":
            new = ~np.isin(found, existing)
            found, price = found[new], price[new]
    kept, forbidden = np.setdiff1d(existing, found), _known(twin, ask.forbid, "forbid")
    if ask.existing == "closable":
        kept = np.setdiff1d(kept, forbidden)
    stays = ~np.isin(found, forbidden)
    found, price = found[stays], price[stays]
    problems = _contradictions(twin, ask, found)
    if problems:
        raise InputError(problems)
    return found, price, kept


def _contradictions(twin: Twin, ask: Ask, found: Array) -> list[Problem]:
    both = sorted(set(ask.lock) & set(ask.forbid))
    names = {text(one) for one in twin["sites"].ids[found]}
    outside = sorted(set(ask.lock) - set(both) - names)
    problems = []
    if both:
        problems.append(
            Problem("lock", "names sites that are forbidden too", "take them from one of the lists", tuple(both))
        )
    if outside:
        fix = "lock sites that may be built: core sites without compute, or those of the price list"
        problems.append(Problem("lock", "names sites that are no candidates", fix, tuple(outside)))
    if not len(found):
        fix = "give a price list of sites that may be built, or forbid fewer"
        problems.append(Problem("candidates", "there is no site that may be built", fix))
    return problems


def _known(twin: Twin, ids: tuple[str, ...], where: str) -> Array:
    """Rows of the sites with these ids.

    Raises:
        InputError: some are no sites of the network.
    """
    if not ids:
        return np.zeros(0, np.int64)
    there = np.isin(texts(ids), twin["sites"].ids)
    if not there.all():
        unknown = [one for one, known in zip(ids, there, strict=True) if not known]
        raise InputError([Problem(where, "names sites that are not there", "give ids of sites", tuple(unknown))])
    return np.asarray(twin["sites"].rows(list(ids)))


def _groups(reach: Reach, ask: Ask) -> tuple[Group, ...]:
    """What the targets are of, in order: by budget or year, then by metro where each counts on its own."""
    metros = [-1] if ask.of == "all" else np.flatnonzero(reach.total > 0).tolist()
    each = [(budget_us, 0, share) for budget_us, share in ask.targets]
    if ask.phases:
        each = [(ask.targets[0][0], year, share) for year, share in ask.phases]
    return tuple(Group(budget_us, year, metro, share) for budget_us, year, share in each for metro in metros)


def _demands(groups: tuple[Group, ...], total: Array) -> Array:
    """The weight (int64, millionths) that each group asks for, exact for shares as they are written."""
    asked = (Fraction(str(group.share)) * int(weight) for group, weight in zip(groups, total, strict=True))
    return np.array([math.ceil(one) for one in asked], np.int64)


def _wanted(ask: Ask, groups: int) -> int:
    return math.ceil(Fraction(str(ask.metros_share)) * groups) if ask.of == "some" else groups


def _capacity(twin: Twin, ask: Ask, sites: Array) -> Array | None:
    """The weight (int64, millionths) that each site (row) serves at most; None where none of them has a limit."""
    capacity = np.full(len(twin["sites"]), UNLIMITED, np.int64)
    most = [math.floor(Fraction(str(weight)) * WEIGHT_SCALE) for weight in ask.serves.values()]
    capacity[_known(twin, tuple(ask.serves), "serves")] = [min(one, UNLIMITED) for one in most]
    return np.asarray(capacity[sites]) if (capacity[sites] < UNLIMITED).any() else None


def _rows(reach: Reach, sites: Array, ask: Ask, groups: tuple[Group, ...], years: int) -> cover.Rows:
    """Who is within each budget of which site in each year: each site has a choice for each year to be built in."""
    return _in_years(_in_one_year(reach, sites, ask), years, len(groups) // years)


def _in_one_year(reach: Reach, sites: Array, ask: Ask) -> cover.Rows:
    """Who is within each budget of which site."""
    by_budget = []
    for number, (budget_us, _) in enumerate(ask.targets):
        group = np.full(reach.metros, number, np.int64)
        if ask.of != "all":
            each = np.flatnonzero(reach.total > 0)
            group = np.full(reach.metros, cover.NO_GROUP, np.int64)
            group[each] = number * len(each) + np.arange(len(each))
        limit_ns = min(math.ceil(budget_us * NS_PER_US), LONGEST_NS)
        by_budget.append(cover.covering(reach, sites, limit_ns, group))
    starts = np.cumsum([0, *(len(rows.choices) for rows in by_budget[:-1])])
    bounds = [rows.bounds[:-1] + start for rows, start in zip(by_budget, starts, strict=True)]
    others = [np.concatenate(column) for column in list(zip(*by_budget, strict=True))[1:]]
    return cover.Rows(np.concatenate([*bounds, [len(others[0])]]), *others)


def _in_years(rows: cover.Rows, years: int, groups: int) -> cover.Rows:
    """The rows of all years: a site built in a year is there in it and in all later ones."""
    if years == 1:
        return rows
    size, entry_row = np.diff(rows.bounds), np.repeat(np.arange(len(rows.weight)), np.diff(rows.bounds))
    choices = []
    for year in range(years):
        # Row by row, each choice in every year up to this one.
        here = np.repeat(rows.choices.astype(np.int64) * years, year + 1) + np.tile(np.arange(year + 1), len(entry_row))
        choices.append(here)
    sizes = np.concatenate([size * (year + 1) for year in range(years)])
    return cover.Rows(
        bounds=np.concatenate([[0], np.cumsum(sizes)]),
        choices=np.concatenate(choices).astype(np.int32),
        weight=np.tile(rows.weight, years),
        group=np.concatenate([rows.group + year * groups for year in range(years)]),
        point=np.tile(rows.point, years),
    )


def _refuse_impossible(case: _Case, ask: Ask) -> None:
    """Return only if all candidates together would do, or the money buys something.

    Raises:
        Infeasible: they would not, or it does not; says why.
    """
    whole = case.whole
    if whole.money is not None:
        _refuse_too_little(case, whole.money)
        return
    most = whole.covered(np.arange(len(whole.price)))
    short = np.flatnonzero(most < whole.demand)
    if len(case.groups) - len(short) >= whole.wanted:
        return
    share = most / np.maximum(case.total, 1)
    group, number = case.groups[int(short[0])], len(case.groups)
    aim = f"{group.share:.1%} within {group.budget_us:g} us" + (f" in {group.year}" if group.year else "")
    sites = "compute at every candidate" + (f", {ask.spare} of them lost," if ask.spare else "")
    if whole.capacity is not None:
        sites = "compute at every candidate, as far as what it serves goes,"
        where = "" if ask.of == "all" else " at once"
        brought = int(most.sum()) / max(int(case.total.sum()), 1)
        raise Infeasible(f"{aim} cannot be reached{where}: {sites} would bring {brought:.1%} of all")
    if ask.of == "all":
        raise Infeasible(
            f"{aim} cannot be reached: {sites} would bring {share[short[0]]:.1%}; "
            f"out of reach are places in {_listed(case, *_out_of_reach(case, group.budget_us))}"
        )
    metros = np.array([case.groups[at].metro for at in short])
    raise Infeasible(
        f"{aim} can be reached in {number - len(short)} of {number} metropolises where {whole.wanted} are wanted: "
        f"{sites} would bring {_listed(case, metros, share[short])}"
    )


def _refuse_too_little(case: _Case, money: int) -> None:
    locked = case.whole.cost(case.taken)
    prices = case.open.program.price
    cheapest = locked + (int(prices.min()) if len(prices) else 0)
    if max(locked, cheapest) <= money:
        return
    what = "what is locked costs" if locked > money else "the cheapest site costs"
    least = max(locked, cheapest) / FEN_PER_CNY
    raise Infeasible(f"{money / FEN_PER_CNY:,.0f} CNY buy nothing: {what} {least:,.0f} CNY")


def _out_of_reach(case: _Case, budget_us: float) -> tuple[Array, Array]:
    """The metros (rows) with weight that no candidate reaches, most of it first, and the share that one does reach."""
    reached = case.reach.covered(np.unique(case.site), math.ceil(budget_us * NS_PER_US))
    total = case.reach.total
    metros = np.flatnonzero(reached < total)
    metros = metros[np.argsort(reached[metros] - total[metros], kind="stable")]
    return metros, reached[metros] / total[metros]


def _listed(case: _Case, metros: Array, share: Array) -> str:
    """The first of some metros by name, each with its share."""
    table = case.twin["metros"]
    names = [text(name) or text(one) for name, one in zip(table["name"][metros], table.ids[metros], strict=True)]
    shown = [f"{name} ({part:.1%})" for name, part in zip(names[:SHOWN_METROS], share, strict=False)]
    return ", ".join(shown) + (f" and {len(names) - SHOWN_METROS} more" if len(names) > SHOWN_METROS else "")


def _answer(world: World, ask: Ask, case: _Case, made: Climb, at_s: float) -> Coverage:
    chosen = np.union1d(np.flatnonzero(case.taken), case.open.free[made.chosen])
    chosen = chosen[case.candidate[chosen] >= 0]
    after = np.concatenate([np.flatnonzero(case.taken & (case.candidate < 0)), chosen])
    made = _with_short_duals(made)
    outside = _outside(case, made, after)
    value, bound = _worth(case, made, outside)
    before_share, after_share = _shares(case, _covered_now(case, ask)), _shares(case, case.whole.covered(after))
    sites = case.candidate[chosen]
    plan = Plan(
        planner=PLANNER,
        question=_question(ask, case),
        revision=world.intended.digest,
        made_at_s=at_s,
        reads=tuple(_reads(world, case, chosen)),
        actions=tuple(_actions(world, case, chosen, at_s)),
        price_cny=int(case.price_fen[sites].sum()) / FEN_PER_CNY,
        proof=Proof(
            value=value,
            bound=bound,
            unit="CNY" if ask.money_cny is None else "weight",
            how=_how(made),
            certificate=_certificate(case, ask, made, chosen, outside) | _serving(case, ask, after),
        ),
        summary=_summary(ask, case, before_share, after_share, len(chosen)),
        alternatives=_alternatives(case, made, outside) if len(chosen) else (),
        citation=_citation(world, ask, case),
    )
    return Coverage(
        plan=plan,
        rungs=tuple(made.rungs),
        before_share=before_share,
        after_share=after_share,
        marginal_share=_marginal(case, chosen, after),
        is_closed=is_closed(made),
    )


def _how(made: Climb) -> str:
    """What shows how good the plan is; branch and bound is named where it is what closed the gap."""
    is_by_duals = not any(rung.name == "exact" for rung in made.rungs)
    return HOW if is_by_duals or not is_closed(made) else f"{HOW}; branch and bound leaves nothing better"


def _with_short_duals(made: Climb) -> Climb:
    """The climb with duals of rows in few digits, and the bound that these prove: any duals do."""
    digits, cuts = DIGITS if made.program.money is None else 0, made.duals.cuts
    cuts = cuts._replace(dual=np.round(cuts.dual, digits))
    duals = made.duals._replace(row=np.round(made.duals.row, digits), cuts=cuts)
    bound, valid, reduced = bound_of(made.program, duals)
    return replace(made, duals=valid, bound=bound, reduced=reduced)


def _worth(case: _Case, made: Climb, outside: int) -> tuple[float, float]:
    """What the plan is worth, the least being best, and the bound, in CNY or in weight."""
    # What is locked may cost no multiple of what the others do, and what is out of reach weigh none.
    unit, scale = case.whole.unit, FEN_PER_CNY
    if case.whole.money is not None:
        unit, scale = max(int(np.gcd.reduce(fixed_weight(case.reach.points.weight))), 1), WEIGHT_SCALE
    value = made.value + outside
    return value / scale, min(max(whole_units(made.bound, unit) + outside, 0), value) / scale


def _outside(case: _Case, made: Climb, after: Array) -> int:
    """What the value of the plan has that is not in the program that was climbed: what is locked, or out of reach."""
    whole = case.whole
    value = whole.cost(after) if whole.money is None else int(case.total[0] - whole.covered(after)[0])
    return value - made.value


def _question(ask: Ask, case: _Case) -> dict[str, Value]:
    return {
        "weight": ask.weight,
        "figures": ask.figures,
        "targets": ",".join(f"{budget_us:g}={share!r}" for budget_us, share in ask.targets),
        "phases": ",".join(f"{year}={share!r}" for year, share in ask.phases),
        "of": ask.of,
        "metros_share": ask.metros_share,
        "money_cny": -1.0 if ask.money_cny is None else ask.money_cny,
        "spare": ask.spare,
        "existing": ask.existing,
        "limited": len(_limited(case)),
        "lock": ",".join(ask.lock),
        "forbid": ",".join(ask.forbid),
        "discount_share": ask.discount_share,
        "service_at_s": case.service_at_s,
    }


def _certificate(
    case: _Case, ask: Ask, made: Climb, chosen: Array, outside: int
) -> dict[str, tuple[float | str, ...] | float | str]:
    """The duals, each row named by one of its points, and all that may be chosen with its price."""
    cuts = some(made.duals.cuts, made.duals.cuts.dual > 0)
    rows = np.unique(np.concatenate([np.flatnonzero(made.duals.row > 0), cuts.row, cuts.other[cuts.other >= 0]]))
    first, there = np.full(len(made.program.weight), -1), np.flatnonzero(case.open.owner >= 0)[::-1]
    first[case.open.owner[there]] = case.point[there]
    ids = case.twin["sites"].ids
    names = np.append(ids[case.site[case.open.free]], b"")
    return {
        "candidates": tuple(text(one) for one in ids[case.candidates]),
        "prices_fen": tuple(case.price_fen.astype(float).tolist()),
        "sites": tuple(text(one) for one in ids[case.site[chosen]]),
        "years": tuple(float(case.years[at]) for at in case.year[chosen]) if case.has_phases else (),
        "rows_point": tuple(point_ids(case.twin, case.weight, case.reach, first[rows])),
        "rows_group": tuple(made.program.group[rows].astype(float).tolist()),
        "rows_dual": tuple(made.duals.row[rows].tolist()),
        "cuts_row": tuple(np.searchsorted(rows, cuts.row).astype(float).tolist()),
        "cuts_site": tuple(text(one) for one in names[cuts.choice]),
        # One past the last row: no other one.
        "cuts_other": tuple(
            np.where(cuts.other < 0, len(rows), np.searchsorted(rows, cuts.other)).astype(float).tolist()
        ),
        "cuts_dual": tuple(cuts.dual.tolist()),
        "groups_dual": tuple(made.duals.group.tolist()),
        "money_dual": float(made.duals.money),
        "bound_exact": made.bound + (0 if ask.money_cny is None else outside),
    }


def _limited(case: _Case) -> Array:
    """The choices (positions) that serve no more than so much."""
    return np.flatnonzero(case.whole.capacity < UNLIMITED) if case.whole.capacity is not None else np.zeros(0, np.int64)


def _serving(case: _Case, ask: Ask, after: Array) -> dict[str, tuple[float | str, ...]]:
    """Which sites have a limit, and who serves how much of which row so that the demands are met; empty without."""
    limited, ids = _limited(case), case.twin["sites"].ids[case.site]
    found = sorted(text(one) for one in ids[limited])
    entry, weight = limited[:0], limited[:0]
    if len(limited):
        weight = assigned(case.whole.serving(after, case.whole.demand))
        entry = np.flatnonzero(weight)
    rows = case.whole.row[entry]
    return {
        "limited_sites": tuple(found),
        "limited_weight": tuple(ask.serves[name] for name in found),
        "serves_point": tuple(point_ids(case.twin, case.weight, case.reach, case.point[rows])),
        "serves_group": tuple(case.whole.group[rows].astype(float).tolist()),
        "serves_site": tuple(text(one) for one in ids[case.whole.choices[entry]]),
        "serves_weight": tuple(weight[entry].astype(float).tolist()),
    }


def _reads(world: World, case: _Case, chosen: Array) -> Iterator[Read]:
    for site in _ids(case, chosen):
        yield Read("sites", site)
        if not case.has_compute(site):
            yield Read("equipment", device_of(world, site), op="gone")


def _actions(world: World, case: _Case, chosen: Array, at_s: float) -> Iterator[Action]:
    for site, year in zip(_ids(case, chosen), case.year[chosen], strict=True):
        if not case.has_compute(site):
            due_s = _in_service_s(case.years[year]) if case.has_phases else case.service_at_s
            yield site_order(world, site, due_s=due_s, at_s=at_s)
    yield from closing(world.intended, _closed(case, chosen), due_s=case.closes_at_s, at_s=at_s)


def _closed(case: _Case, chosen: Array) -> Array:
    """The sites with compute (ids) that are neither chosen nor kept: nobody pays for them."""
    kept = np.flatnonzero(case.taken & (case.candidate < 0))
    return np.asarray(case.twin["sites"].ids[np.setdiff1d(case.existing, case.site[np.concatenate([kept, chosen])])])


def _refuse_to_come(world: World, case: _Case) -> None:
    """Return only if no compute is still to come to a site that may be closed.

    Raises:
        InputError: some is, and would be there after the site was closed.
    """
    sites = case.twin["sites"].ids[np.setdiff1d(case.existing, case.site[case.taken])]
    late = [
        text(one)
        for table, rows in computing(world.intended, sites)
        for one in world.intended[table].ids[rows[world.intended[table]["valid_from_s"][rows] >= case.closes_at_s]]
    ]
    if late:
        fix = "keep these sites, or take back what was ordered for them"
        raise InputError.of("existing", "may be closed, though compute is still to come there", fix, tuple(late))


def _ids(case: _Case, chosen: Array) -> list[str]:
    return [text(one) for one in case.twin["sites"].ids[case.site[chosen]]]


def _in_service_s(year: int) -> float:
    """The first second of the last day of a year: what is built in it is there by then."""
    return datetime(year, 12, 31, tzinfo=UTC).timestamp()


def _covered_now(case: _Case, ask: Ask) -> Array:
    """The weight (int64) of each group that sites with compute cover: what is to be closed is there now, too."""
    years = len(case.years)
    rows, site = _rows(case.reach, case.existing, ask, case.groups, years), np.repeat(case.existing, years)
    standing = replace(
        case.whole,
        bounds=rows.bounds,
        choices=rows.choices,
        weight=rows.weight,
        group=rows.group.astype(np.int64),
        need=np.full(len(rows.weight), 1 + ask.spare),
        price=np.zeros(len(site), np.int64),
        capacity=_capacity(case.twin, ask, site),
    )
    return standing.covered(np.arange(0, len(site), years))


def _shares(case: _Case, covered: Array) -> tuple[float, ...]:
    """The share of each target's whole weight that is `covered` (by group), in the order of targets or years."""
    weight = case.total
    each = len(case.groups) // max(len({(one.budget_us, one.year) for one in case.groups}), 1)
    pooled = covered.reshape(-1, each).sum(axis=1) / np.maximum(weight.reshape(-1, each).sum(axis=1), 1)
    return tuple(pooled.tolist())


def _marginal(case: _Case, chosen: Array, after: Array) -> dict[str, float]:
    """The share of all weight that would be lost with each chosen site alone, in the last target."""
    lost = _lost(case, chosen, after) if case.whole.capacity is None else _no_longer_served(case, chosen, after)
    total = max(int(case.reach.total.sum()), 1)
    return dict(zip(_ids(case, chosen), (lost / total).tolist(), strict=True))


def _lost(case: _Case, chosen: Array, after: Array) -> Array:
    """The weight (int64) in the last target that each chosen site alone covers."""
    whole, last = case.whole, case.whole.group >= len(case.groups) - len(case.groups) // len(case.years)
    picked = np.zeros(len(whole.price), bool)
    picked[after] = True
    entry = picked[whole.choices]
    count = np.bincount(whole.row[entry], minlength=len(whole.weight))
    sole = entry & (last & (count == whole.need))[whole.row]
    return np.asarray(summed(whole.choices[sole], whole.weight[whole.row[sole]], len(whole.price))[chosen])


def _no_longer_served(case: _Case, chosen: Array, after: Array) -> Array:
    """The weight (int64) that would no longer be served without each chosen site."""
    whole = case.whole
    made = whole.serving(after, np.full(len(whole.demand), whole.weight.sum()))
    lost, room = np.zeros(len(chosen), np.int64), made.room.copy()
    for at, choice in enumerate(chosen):
        lost[at] = leave(made, choice) - augment(made)
        made.room[:] = room
    return lost


def _summary(ask: Ask, case: _Case, before: tuple[float, ...], after: tuple[float, ...], number: int) -> str:
    shares = zip(_targets(case), before, after, strict=True)
    what = "covered" if case.whole.capacity is None else "served"
    told = "; ".join(f"within {budget} {was:.1%} are {what} now, {will:.1%} then" for budget, was, will in shares)
    return f"{number} {'site' if number == 1 else 'sites'}: of the weight {ask.weight}, {told}".replace("%", " %")


def _targets(case: _Case) -> list[str]:
    return list(dict.fromkeys(f"{one.budget_us:g} us" + (f" in {one.year}" if one.year else "") for one in case.groups))


def _alternatives(case: _Case, made: Climb, outside: int) -> tuple[Alternative, ...]:
    greedy = made.rungs[0].value - made.value
    unit, scale = ("CNY", FEN_PER_CNY) if case.whole.money is None else ("of weight left uncovered", WEIGHT_SCALE)
    why = f"costs {greedy / scale:,.0f} {unit} more" if greedy > 0 else "costs as much: it needed no improvement"
    return (
        Alternative("do nothing", 0.0, "leaves the target missed"),
        Alternative("greedy alone", (made.rungs[0].value + outside) / scale, why),
    )


def _citation(world: World, ask: Ask, case: _Case) -> str:
    budgets = ", ".join(f"{budget_us:g} us" for budget_us, _ in ask.targets)
    lost = ("", ", after the loss of any site", f", after the loss of any {ask.spare} sites")[min(ask.spare, 2)]
    served = ", sites serve what their racks and power allow" if case.whole.capacity is not None else ""
    return (
        f"C2 within {budgets} one way towards compute{lost}{served}, weight {ask.weight}, optical layer, "
        f"{ask.figures} figures; data {world.intended.digest[:12]}; bound from duals"
    )
