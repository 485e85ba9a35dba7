"""The cheapest sites and upgrades of links together that bring coverage to a target, as a plan with a proven bound."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import msgspec

from karez.errors import InputError, Problem
from karez.measure.circles import points
from karez.operations import Answer, PlanUpgradesQuestion
from karez.operations.lists import DEAREST_CNY, number, price_list, wrong_price
from karez.operations.networks import (
    DETAIL,
    counted,
    duration,
    given_rows,
    load,
    nothing_counted,
    now_s,
    proven,
    provenance,
    require_new_file,
    share,
    write_new,
)
from karez.operations.watch import watched
from karez.plan.plan import Plan
from karez.plan.upgrades import KINDS, Ask, Bought, Upgrade, Upgraded, upgrades
from karez.twin.store import Revision
from karez.units import FEN_PER_CNY, NS_PER_US

COLUMNS = ("link", "kind", "price_cny")


class BoughtUpgrade(msgspec.Struct, frozen=True):
    """An upgrade that the plan takes: of which link, what, what it takes off the link's delay, and its price."""

    link: str
    kind: str
    saving_us: float
    price_cny: float


class UpgradeStep(msgspec.Struct, frozen=True):
    """The best price by then, the bound by then (a solver's word included), and the seconds so far."""

    rung: str
    value_cny: float
    bound_cny: float
    seconds: float


class PlanUpgradesAnswer(Answer, frozen=True, kw_only=True):
    """What to build and upgrade, what it costs, how far that may be above the least, and what sites alone cost.

    Of sites alone the price is that of the best plan found, and the bound what none of them is below; both are infinite
    where all sites together miss the target. `done` is how many upgrades of the list were not offered, because their
    link says already what its fibre or hop takes.
    """

    budget_us: float
    target_share: float
    before_share: float
    after_share: float
    sites: tuple[str, ...]
    upgrades: tuple[BoughtUpgrade, ...]
    price_cny: float
    bound: float
    gap_share: float
    closed: bool
    alone_cny: float
    alone_bound_cny: float
    alone_sites: int
    done: int
    rungs: tuple[UpgradeStep, ...]
    output: str
    plan: Annotated[Plan, DETAIL]


def run(question: PlanUpgradesQuestion) -> PlanUpgradesAnswer:
    """The plan for the network's newest revision; it is written to `question.output` where that is given.

    Ctrl-C ends the search: the best plan by then is the answer. A second one gives up.

    Raises:
        InputError: the network or a list cannot be read, rows of it make no sense, there is nothing to cover, or the
            file exists or cannot be written.
        Infeasible: all candidates and upgrades together would not do.
    """
    if question.output:
        require_new_file(question.output)
    ask = Ask(
        upgrades=upgrade_list(question.upgrades),
        budget_us=question.budget_us,
        target_share=question.target_share,
        prices_cny=price_list(question.prices).prices_cny if question.prices else None,
        weight=question.weight,
        figures=question.figures,
    )
    world, revision = load(question.network)
    at_s = now_s()
    if not points(world.intended.at(at_s), ask.weight).weight.sum():
        raise nothing_counted(question.network, ask.weight)
    with watched(question.time_limit_s) as watch:
        found = upgrades(world, ask, at_s=at_s, effort=question.effort, enough=watch.enough, seconds=watch.seconds)
    plan = msgspec.structs.replace(found.plan, citation=f"{found.plan.citation}; {provenance(revision)}")
    if question.output:
        write_new(question.output, msgspec.json.encode(plan))
    return PlanUpgradesAnswer(
        headline=_headline(found, plan, ask, revision),
        citation=plan.citation,
        meets_target=None if plan.actions else True,
        budget_us=ask.budget_us,
        target_share=ask.target_share,
        before_share=found.before_share,
        after_share=found.after_share,
        sites=found.sites,
        upgrades=tuple(map(_told, found.bought)),
        price_cny=plan.price_cny,
        bound=plan.proof.bound,
        gap_share=plan.proof.gap_share,
        closed=found.is_closed,
        alone_cny=found.alone_cny,
        alone_bound_cny=found.alone_bound_cny,
        alone_sites=found.alone_sites,
        done=len(found.done),
        rungs=tuple(_steps(found)),
        output=question.output,
        plan=plan,
    )


def upgrade_list(path: str) -> tuple[Upgrade, ...]:
    """The upgrades that a CSV file lists.

    Raises:
        InputError: the file cannot be read, or rows are wrong: all of them are told.
    """
    rows = given_rows(path)
    if rows and not set(COLUMNS) <= set(rows[0][1]):
        raise InputError.of(path, f"has no columns {', '.join(COLUMNS)}", "name them in the first line")
    problems: list[Problem] = []
    found = []
    for label, cells in rows:
        where, link, kind = f"{path}, {label}", _cell(cells, "link"), _cell(cells, "kind")
        price, saving = number(cells.get("price_cny")), _cell(cells, "saving_us")
        known = next((one for one in KINDS if one == kind.replace("_", " ")), None)
        if not link:
            problems.append(Problem(where, "names no link", "give the id of a link"))
        if known is None:
            problems.append(Problem(where, f"has the kind {kind or 'none'}", f"use one of {', '.join(KINDS)}"))
        if not 0 <= price <= DEAREST_CNY:
            problems.append(wrong_price(where, cells, link))
        if saving and not 0 < number(saving) < math.inf:
            problems.append(Problem(where, f"saves {saving!r}", "give microseconds above zero, or leave it empty"))
        if known is not None:
            saving_us = number(saving) if saving else None
            found.append(Upgrade(link=link, kind=known, price_cny=price, saving_us=saving_us))
    if not rows:
        problems.append(Problem(path, "lists no upgrade", "give a row for each upgrade that may be bought"))
    if problems:
        raise InputError(problems)
    return tuple(found)


def _cell(cells: dict[str, str | None], column: str) -> str:
    return (cells.get(column) or "").strip()


def _headline(found: Upgraded, plan: Plan, ask: Ask, revision: Revision) -> str:
    aim = f"{share(ask.target_share)} of the weight {ask.weight} within {duration(ask.budget_us)} of compute"
    if not plan.actions:
        return f"Nothing to build: {aim} is reached already{' (synthetic)' if revision.synthetic else ''}{_done(found)}"
    kinds = Counter(one.upgrade.kind for one in found.bought)
    of = f" ({', '.join(f'{number:,} {kind}' for kind, number in sorted(kinds.items()))})" if kinds else ""
    built = f"{counted(len(found.sites), 'new site')} and {counted(len(found.bought), 'upgrade')} of links{of}"
    mark = "; synthetic" if revision.synthetic else ""
    return f"{built} bring {aim} ({_proof(found, plan)}; {_against_sites(found, plan)}{mark}){_done(found)}"


def _done(found: Upgraded) -> str:
    """How many upgrades were not offered, as a clause; empty where all were."""
    number = len(found.done)
    return f"; {counted(number, 'upgrade')} of the list {'is' if number == 1 else 'are'} done already" if number else ""


def _proof(found: Upgraded, plan: Plan) -> str:
    closed = found.is_closed and plan.proof.bound < plan.proof.value
    return f"{proven(plan)}; branch and bound leaves none cheaper" if closed else proven(plan)


def _against_sites(found: Upgraded, plan: Plan) -> str:
    """How the plan compares with sites alone."""
    if math.isinf(found.alone_cny):
        return "sites alone miss it"
    less = 1 - plan.price_cny / found.alone_cny if found.alone_cny else 0.0
    than = f"sites alone, {found.alone_sites:,} of them"
    return f"{share(less)} cheaper than {than}" if less > 0 else f"no cheaper than {than}"


def _told(one: Bought) -> BoughtUpgrade:
    return BoughtUpgrade(one.upgrade.link, one.upgrade.kind, one.saving_ns / NS_PER_US, one.upgrade.price_cny)


def _steps(found: Upgraded) -> Iterator[UpgradeStep]:
    for rung in found.rungs:
        value, bound = rung.value / FEN_PER_CNY, max(rung.bound, 0.0) / FEN_PER_CNY
        yield UpgradeStep(rung.name, value, bound, round(rung.seconds, 3))
