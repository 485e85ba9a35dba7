"""The cheapest sites that bring coverage to a target, or the most coverage for a sum, as a plan with a proven bound."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated

import msgspec

from karez.errors import InputError, Problem
from karez.measure.circles import WEIGHT_SCALE, points
from karez.operations import Answer, PlanCoverageQuestion
from karez.operations.lists import number, price_list
from karez.operations.networks import (
    DETAIL,
    counted,
    duration,
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
from karez.plan.coverage import Ask, Coverage, coverage
from karez.plan.covering.ladder import Rung
from karez.plan.plan import Plan
from karez.plan.sites import lead_time_s
from karez.twin import Twin
from karez.twin.store import Revision
from karez.units import FEN_PER_CNY

PAIR = re.compile(r"\s*([^=\s]+)\s*=\s*([^=\s]+)\s*")
SHARE_FIX = "give shares from 0 to 1"


class NewSite(msgspec.Struct, frozen=True):
    """A site that the plan takes: when, at what price, and the share of all weight that it alone brings."""

    id: str
    name: str
    metro: str
    year: int
    price_cny: float
    alone_share: float


class Step(msgspec.Struct, frozen=True):
    """A rung of the ladder: the best plan by then, the bound by then, the gap between them and the seconds so far."""

    rung: str
    value: float
    bound: float
    gap_share: float
    seconds: float


class Target(msgspec.Struct, frozen=True):
    """A share that is asked for within a budget (by the end of a year), and what is covered before and after."""

    budget_us: float
    year: int
    target_share: float
    before_share: float
    after_share: float


class PlanCoverageAnswer(Answer, frozen=True, kw_only=True):
    """What to build, what it costs, and how far the price (or the weight left out) may be from the least possible."""

    targets: tuple[Target, ...]
    sites: tuple[NewSite, ...]
    price_cny: float
    value: float
    bound: float
    unit: str
    gap_share: float
    closed: bool
    rungs: tuple[Step, ...]
    output: str
    plan: Annotated[Plan, DETAIL]


def run(question: PlanCoverageQuestion) -> PlanCoverageAnswer:
    """The plan for the network's newest revision; it is written to `question.output` where that is given.

    Ctrl-C ends the climb: the best plan by then is the answer. A second one gives up.

    Raises:
        InputError: the network or the price list cannot be read, what is asked contradicts itself, there is nothing to
            cover, or the file exists or cannot be written.
        Infeasible: all candidates together would not do.
    """
    if question.output:
        require_new_file(question.output)
    ask = asked(question)
    world, revision = load(question.network)
    at_s = now_s()
    if not points(world.intended.at(at_s + lead_time_s()), ask.weight).weight.sum():
        raise nothing_counted(question.network, ask.weight)
    with watched(question.time_limit_s) as watch:
        found = coverage(world, ask, at_s=at_s, effort=question.effort, enough=watch.enough, seconds=watch.seconds)
    plan = msgspec.structs.replace(found.plan, citation=f"{found.plan.citation}; {provenance(revision)}")
    if question.output:
        write_new(question.output, msgspec.json.encode(plan))
    return PlanCoverageAnswer(
        headline=_headline(found, plan, ask, revision),
        citation=plan.citation,
        meets_target=None if plan.actions else True,
        targets=tuple(_targets(found, ask)),
        sites=tuple(_sites(found, world.intended)),
        price_cny=plan.price_cny,
        value=plan.proof.value,
        bound=plan.proof.bound,
        unit=plan.proof.unit,
        gap_share=plan.proof.gap_share,
        closed=found.is_closed,
        rungs=tuple(_step(rung, ask) for rung in found.rungs),
        output=question.output,
        plan=plan,
    )


def asked(question: PlanCoverageQuestion) -> Ask:
    """What is asked, taken apart.

    Raises:
        InputError: lists that are not what they should be.
    """
    problems: list[Problem] = []
    also = _pairs(question.also, "also", "BUDGET_US=SHARE", problems)
    phases = _pairs(question.phases, "phases", "YEAR=SHARE", problems)
    for where, pairs in (("also", also), ("phases", phases)):
        wrong = [f"{key:g}={value:g}" for key, value in pairs if not 0 <= value <= 1]
        if wrong:
            problems.append(Problem(where, f"asks for {', '.join(wrong)}", SHARE_FIX))
    if any(not 0 < budget_us <= 1_000_000 for budget_us, _ in also):
        problems.append(Problem("also", "has a budget out of range", "give microseconds above 0, at most 1,000,000"))
    if any(year != int(year) or not 1970 <= year <= 9998 for year, _ in phases):
        problems.append(Problem("phases", "has a year out of range", "give years such as 2028"))
    if problems:
        raise InputError(problems)
    target = phases[-1][1] if phases else question.target_share
    return Ask(
        targets=((question.budget_us, target), *also),
        phases=tuple((int(year), value) for year, value in phases),
        of=question.of,
        metros_share=question.metros_share if question.of == "some" else 1.0,
        money_cny=question.money_cny,
        spare=question.spare,
        existing=question.existing,
        lock=_ids(question.lock),
        forbid=_ids(question.forbid),
        prices_cny=price_list(question.prices) if question.prices else None,
        discount_share=question.discount_share if phases else 0.0,
        weight=question.weight,
        figures=question.figures,
    )


def _ids(words: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))


def _pairs(words: str, where: str, form: str, problems: list[Problem]) -> list[tuple[float, float]]:
    found = []
    for word in filter(None, (part.strip() for part in words.split(","))):
        match = PAIR.fullmatch(word)
        pair = tuple(map(number, match.groups())) if match else (math.nan, math.nan)
        if not all(map(math.isfinite, pair)):
            problems.append(Problem(where, f"holds {word!r}", f"give {form}, with commas between"))
        else:
            found.append((pair[0], pair[1]))
    return found


def _headline(found: Coverage, plan: Plan, ask: Ask, revision: Revision) -> str:
    aim, note = _aim(ask, found), " (synthetic)" if revision.synthetic else ""
    if not plan.actions and ask.money_cny is None:
        return f"Nothing to build: {aim} is reached already{note}"
    sites = counted(len(plan.actions), "new site")
    mark = "; synthetic" if revision.synthetic else ""
    verb = "brings" if len(plan.actions) == 1 else "bring"
    return f"{sites} {verb} {aim} ({_proof(found, plan, ask)}{mark})"


def _aim(ask: Ask, found: Coverage) -> str:
    """What is reached, in words."""
    of = {
        "all": f"of {_words(ask)}",
        "each": f"of {_words(ask)} in each metropolis",
        "some": f"of {_words(ask)} in {share(ask.metros_share)} of the metropolises",
    }[ask.of]
    spare = f", whichever {counted(ask.spare, 'site')} is lost," if ask.spare else ""
    targets = ask.targets if ask.money_cny is None else ((ask.targets[0][0], found.after_share[0]),)
    wanted = " and ".join(f"{share(value)} {of} within {duration(budget_us)}" for budget_us, value in targets)
    last = f" by the end of {ask.phases[-1][0]}" if ask.phases else ""
    return f"{wanted} of compute{spare}{last}"


def _words(ask: Ask) -> str:
    return {"access_point": "access points", "station": "stations' weight", "place": "key places"}.get(
        ask.weight, f"{ask.weight}s" if ask.weight == "enterprise" else ask.weight
    )


def _proof(found: Coverage, plan: Plan, ask: Ask) -> str:
    if ask.money_cny is not None:
        best = (plan.proof.value - plan.proof.bound) / max(_total(plan, found), 1e-300)
        return f"proven: no plan for the money covers more than {best * 100:.2g} % of the weight beyond it"
    said = proven(plan)
    closed = found.is_closed and plan.proof.bound < plan.proof.value
    return f"{said}; branch and bound leaves none cheaper" if closed else said


def _total(plan: Plan, found: Coverage) -> float:
    """The whole weight, from what is left uncovered."""
    uncovered_share = 1.0 - found.after_share[0]
    return plan.proof.value / uncovered_share if uncovered_share > 0 else math.inf


def _targets(found: Coverage, ask: Ask) -> Iterator[Target]:
    budget_us = ask.targets[0][0]
    each = [(budget_us, year, value) for year, value in ask.phases] or [(one, 0, value) for one, value in ask.targets]
    for (budget, year, value), before, after in zip(each, found.before_share, found.after_share, strict=True):
        yield Target(budget, year, value if ask.money_cny is None else 0.0, before, after)


def _sites(found: Coverage, twin: Twin) -> Iterator[NewSite]:
    certificate = found.plan.proof.certificate
    chosen, years = certificate["sites"], certificate["years"]
    prices = dict(zip(certificate["candidates"], certificate["prices_fen"], strict=True))  # type: ignore[arg-type]
    for at, site in enumerate(chosen):  # type: ignore[arg-type]
        metro = str(twin["sites"].cell(str(site), "metro"))
        name = str(twin["metros"].cell(metro, "name")) if twin["metros"].has(metro) else ""
        year = int(years[at]) if years else 0  # type: ignore[index]
        yield NewSite(
            str(site),
            str(twin["sites"].cell(str(site), "name")),
            name,
            year,
            float(prices[site]) / FEN_PER_CNY,
            found.marginal_share[str(site)],
        )


def _step(rung: Rung, ask: Ask) -> Step:
    scale = FEN_PER_CNY if ask.money_cny is None else WEIGHT_SCALE
    value, bound = rung.value / scale, max(rung.bound / scale, 0.0)
    return Step(rung.name, value, bound, (value - bound) / value if value else 0.0, round(rung.seconds, 3))
