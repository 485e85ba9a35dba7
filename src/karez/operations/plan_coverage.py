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
from karez.operations.lists import PriceList, Rack, number, price_list
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
from karez.plan.kinds import TAKES_OUT
from karez.plan.plan import Plan
from karez.plan.sites import lead_time_s, orders, rack_kw
from karez.twin import Twin
from karez.twin.store import Revision
from karez.units import FEN_PER_CNY

PAIR = re.compile(r"\s*([^=\s]+)\s*=\s*([^=\s]+)\s*")
SHARE_FIX = "give shares from 0 to 1"
POINTS_IN_ALL = 100
# Bounds that are no further apart than this look alike.
SEEN_SHARE = 1e-6


class NewSite(msgspec.Struct, frozen=True):
    """A site that the plan takes: when, at what price, and the share of all weight that it alone brings.

    The year is absent where nothing is asked by year; `kept` (it has compute already) where no site may be closed.
    """

    id: str
    name: str
    metro: str
    kept: bool | None
    year: int | None
    price_cny: float
    alone_share: float


class Step(msgspec.Struct, frozen=True):
    """A rung of the ladder: the best plan by then, the bound by then, the gap between them and the seconds so far.

    Of a rung that did several things, those are left out that changed neither plan nor bound.
    """

    rung: str
    value: float
    bound: float
    gap_share: float
    seconds: float


class Target(msgspec.Struct, frozen=True):
    """A share that is asked for within a budget (by the end of a year), and what is covered before and after.

    The year is absent where nothing is asked by year, the share where the most for a sum is.
    """

    budget_us: float
    year: int | None
    target_share: float | None
    before_share: float
    after_share: float


class PlanCoverageAnswer(Answer, frozen=True, kw_only=True):
    """What to build, what it costs, and how far the price (or the weight left out) may be from the least possible."""

    targets: tuple[Target, ...]
    sites: tuple[NewSite, ...]
    closes: tuple[str, ...]
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
        meets_target=None if plan.actions or ask.money_cny is not None else True,
        targets=tuple(_targets(found, ask)),
        sites=tuple(_sites(found, world.intended)),
        closes=_closed(plan),
        price_cny=plan.price_cny,
        value=plan.proof.value,
        bound=plan.proof.bound,
        unit=plan.proof.unit,
        gap_share=plan.proof.gap_share,
        closed=found.is_closed,
        rungs=tuple(_steps(found, plan, ask)),
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
    if question.rack_kw is not None and question.rack_serves is None:
        problems.append(Problem("rack_kw", "says what racks take, and not what they serve", "give rack_serves too"))
    if question.rack_serves is not None and not question.prices:
        fix = "give a price list with racks or power_kw of each site"
        problems.append(Problem("rack_serves", "limits sites, of which nothing is known", fix))
    if problems:
        raise InputError(problems)
    listed = _listed(question)
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
        prices_cny=listed.prices_cny if listed else None,
        serves=listed.serves if listed else {},
        discount_share=question.discount_share if phases else 0.0,
        weight=question.weight,
        figures=question.figures,
    )


def _listed(question: PlanCoverageQuestion) -> PriceList | None:
    if not question.prices:
        return None
    if question.rack_serves is None:
        return price_list(question.prices)
    return price_list(
        question.prices,
        Rack(serves=question.rack_serves, power_kw=rack_kw() if question.rack_kw is None else question.rack_kw),
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
    aim, money = _aim(ask, found), _money(ask)
    taken = _taken(plan)
    if not taken and ask.money_cny is None:
        return f"Nothing to build: {aim} is reached already{' (synthetic)' if revision.synthetic else ''}"
    proof = f"({_proof(found, plan, ask)}{'; synthetic' if revision.synthetic else ''})"
    if not taken:
        return f"Nothing to build{money}: {aim} is reached already {proof}"
    return f"{taken}{money} {_brings(plan)} {aim} {proof}"


def _taken(plan: Plan) -> str:
    """How many sites are built, and of those that might be closed kept and closed; empty where nothing is taken."""
    built, closed = len(orders(plan)), len(_closed(plan))
    kept = _taken_sites(plan) - built
    each = ((built, "new"), (kept, "kept"), (closed, "closed"))
    some = [(number, what) for number, what in each if number]
    if not some:
        return ""
    said = [counted(some[0][0], f"{some[0][1]} site"), *(f"{number:,} {what}" for number, what in some[1:])]
    return " and ".join([", ".join(said[:-1]), said[-1]]) if said[1:] else said[0]


def _closed(plan: Plan) -> tuple[str, ...]:
    """The sites that are left without compute, ascending."""
    gone = (action.blast_radius for action in plan.actions if action.kind in TAKES_OUT)
    return tuple(sorted({site for sites in gone for site in sites}))


def _taken_sites(plan: Plan) -> int:
    sites = plan.proof.certificate["sites"]
    assert isinstance(sites, tuple)
    return len(sites)


def _brings(plan: Plan) -> str:
    taken = _taken_sites(plan)
    word = "bring" if taken else "leave"
    return f"{word}s" if (taken or len(_closed(plan))) == 1 else word


def _money(ask: Ask) -> str:
    """The sum that may be spent, as a clause; fen are told where there are any."""
    if ask.money_cny is None:
        return ""
    digits = 0 if ask.money_cny == round(ask.money_cny) else 2
    return f" for at most {ask.money_cny:,.{digits}f} CNY"


def _aim(ask: Ask, found: Coverage) -> str:
    """What is reached, in words."""
    of = {
        "all": f"of {_words(ask)}",
        "each": f"of {_words(ask)} in each metropolis",
        "some": f"of {_words(ask)} in {share(ask.metros_share)} of the metropolises",
    }[ask.of]
    spare = f" with any {counted(ask.spare, 'site') if ask.spare > 1 else 'site'} lost" if ask.spare else ""
    targets = ask.targets if ask.money_cny is None else ((ask.targets[0][0], found.after_share[0]),)
    wanted = " and ".join(f"{share(value)} {of} within {duration(budget_us)}" for budget_us, value in targets)
    last = f" by the end of {ask.phases[-1][0]}" if ask.phases else ""
    served = " with racks and power for it" if found.plan.question["limited"] else ""
    return f"{wanted} of compute{served}{spare}{last}"


def _words(ask: Ask) -> str:
    return {
        "access_point": "access points",
        "station": "stations' weight",
        "place": "key places",
        "enterprise": "enterprises",
        "population": "residents",
        "area": "the area",
    }[ask.weight]


def _proof(found: Coverage, plan: Plan, ask: Ask) -> str:
    said, better = (proven(plan), "cheaper") if ask.money_cny is None else (_weight_proof(found, plan), "better")
    closed = found.is_closed and plan.proof.bound < plan.proof.value
    return f"{said}; branch and bound leaves none {better}" if closed else said


def _weight_proof(found: Coverage, plan: Plan) -> str:
    """What is proven of the weight that a sum covers; points are rounded up."""
    left = plan.proof.value - plan.proof.bound
    if left <= 0:
        return "proven: no plan for the money covers more"
    if plan.proof.bound <= 0:
        return "how much more the money might cover is not proven"
    points = math.ceil(POINTS_IN_ALL * 10 * left / _total(plan, found)) / 10
    return f"proven: at most {points:.1f} points more could be covered for the money"


def _total(plan: Plan, found: Coverage) -> float:
    """The whole weight, from what is left uncovered."""
    uncovered_share = 1.0 - found.after_share[0]
    return plan.proof.value / uncovered_share if uncovered_share > 0 else math.inf


def _targets(found: Coverage, ask: Ask) -> Iterator[Target]:
    budget_us = ask.targets[0][0]
    each: list[tuple[float, int | None, float]] = [(budget_us, year, value) for year, value in ask.phases]
    each = each or [(one_us, None, value) for one_us, value in ask.targets]
    for (one_us, year, value), before, after in zip(each, found.before_share, found.after_share, strict=True):
        yield Target(one_us, year, value if ask.money_cny is None else None, before, after)


def _sites(found: Coverage, twin: Twin) -> Iterator[NewSite]:
    certificate = found.plan.proof.certificate
    chosen, years = certificate["sites"], certificate["years"]
    prices = dict(zip(certificate["candidates"], certificate["prices_fen"], strict=True))  # type: ignore[arg-type]
    built = {action.subject for action in orders(found.plan)}
    for at, site in enumerate(chosen):  # type: ignore[arg-type]
        metro = str(twin["sites"].cell(str(site), "metro"))
        yield NewSite(
            id=str(site),
            name=str(twin["sites"].cell(str(site), "name")),
            metro=str(twin["metros"].cell(metro, "name")) if twin["metros"].has(metro) else "",
            kept=site not in built if found.plan.question["existing"] == "closable" else None,
            year=int(years[at]) if years else None,  # type: ignore[index]
            price_cny=float(prices[site]) / FEN_PER_CNY,
            alone_share=found.marginal_share[str(site)],
        )


def _steps(found: Coverage, plan: Plan, ask: Ask) -> Iterator[Step]:
    """The last line of each rung, and before it those that brought a better plan or bound, each once.

    Rungs count what is left to choose; here what is locked counts too, as in the plan. The plan's own bound, rounded
    up to what prices can add up to, is known with the last.
    """
    scale = FEN_PER_CNY if ask.money_cny is None else WEIGHT_SCALE
    fixed = plan.proof.value - found.rungs[-1].value / scale
    shown = list[Step]()
    for step in (_step(rung, scale, fixed) for rung in found.rungs):
        if shown and shown[-1].rung == step.rung and _repeats(step, shown[-1]):
            shown.pop()
        shown.append(step)
    shown[-1] = _with_bound(shown[-1], max(shown[-1].bound, plan.proof.bound))
    for before, step, then in zip([None, *shown[:-1]], shown, [*shown[1:], None], strict=True):
        is_last = then is None or then.rung != step.rung
        if is_last or before is None or not _repeats(step, before):
            yield step


def _step(rung: Rung, scale: float, fixed: float) -> Step:
    value, bound = rung.value / scale + fixed, max(rung.bound / scale + fixed, 0.0)
    return _with_bound(Step(rung.name, value, 0.0, 0.0, round(rung.seconds, 3)), bound)


def _with_bound(step: Step, bound: float) -> Step:
    gap_share = (step.value - bound) / step.value if step.value else 0.0
    return msgspec.structs.replace(step, bound=bound, gap_share=gap_share)


def _repeats(step: Step, before: Step) -> bool:
    """Whether neither plan nor bound differs by as much as anybody would see."""
    return step.value == before.value and math.isclose(step.bound, before.bound, rel_tol=SEEN_SHARE)
