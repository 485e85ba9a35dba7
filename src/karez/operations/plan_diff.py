"""What one plan does that another does not, what moves to another year, and what differs in price and proof."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

import msgspec

from karez.errors import InputError
from karez.operations import Answer, PlanDiffQuestion
from karez.operations.networks import SMALLEST_CNY, counted, read_plan
from karez.plan.plan import Action, Plan
from karez.plan.sites import orders
from karez.twin.schema import Value
from karez.twin.store import LAST_S
from karez.units import FEN_PER_CNY

COVERAGE = "coverage"
CNY_PER_MILLION = 1e6
ORDER, KEEP = "order equipment", "keep"
OTHER = ("", "other act")
# What the headline says of what only the second plan does, and of what only the first does.
CLAUSES = (
    ((ORDER, "site"), "adds", "leaves out"),
    ((KEEP, "site"), "keeps", "no longer keeps"),
    (OTHER, "does", "leaves undone"),
)
DIGEST_DIGITS = 12
# What a question holds where nothing was asked of the kind.
NOT_ASKED: Mapping[str, Value] = {"money_cny": -1.0}
ANEW = "make the plan anew"


class Side(msgspec.Struct, frozen=True):
    """One of the two plans: its id and planner, the digest it was made from, what it does, costs and proves."""

    plan: str
    planner: str
    revision: str
    made_at_s: float
    actions: int
    price_cny: float
    value: float
    bound: float
    gap_share: float
    unit: str


class Asked(msgspec.Struct, frozen=True):
    """Something that was asked otherwise, as each plan says it; absent where one plan's planner does not ask it."""

    what: str
    before: str | None
    after: str | None


class Work(msgspec.Struct, frozen=True):
    """Something that only one of the plans does: to which row, in which year (UTC), at what price where it is known."""

    what: str
    subject: str
    year: str | None
    price_cny: float | None


class Moved(msgspec.Struct, frozen=True):
    """Something that both plans do, in different years (UTC)."""

    what: str
    subject: str
    before_year: str | None
    after_year: str | None


class Cell(msgspec.Struct, frozen=True):
    """A value that both plans set or add, but not to the same; absent where one does not."""

    what: str
    subject: str
    cell: str
    before: str | None
    after: str | None


class Repriced(msgspec.Struct, frozen=True):
    """A site that both plans could choose, at different prices."""

    site: str
    before_cny: float
    after_cny: float


class PlanDiffAnswer(Answer, frozen=True, kw_only=True):
    """How the second plan differs from the first: what was asked, what is done, what it costs and what is proven.

    `unchanged` counts what both do alike; a site that is only kept (`keep`) has compute already, and is closed by the
    plan that could close it and does not keep it.
    """

    same_revision: bool
    same_question: bool
    unchanged: int
    before_does: str
    after_does: str
    before: Side
    after: Side
    asked: tuple[Asked, ...]
    only_before: tuple[Work, ...]
    only_after: tuple[Work, ...]
    moved: tuple[Moved, ...]
    changed: tuple[Cell, ...]
    repriced: tuple[Repriced, ...]


class _Act(NamedTuple):
    """Something a plan does, when, at what price, and the values that it sets or adds, moments left out."""

    work: Work
    ends_at_s: float
    values: Mapping[str, str]


class _Found(NamedTuple):
    """What differs between the acts of two plans."""

    only_before: tuple[Work, ...]
    only_after: tuple[Work, ...]
    moved: tuple[Moved, ...]
    changed: tuple[Cell, ...]
    unchanged: int

    @property
    def is_same(self) -> bool:
        return not (self.only_before or self.only_after or self.moved or self.changed)


def run(question: PlanDiffQuestion) -> PlanDiffAnswer:
    """How the plan of one file differs from that of another.

    Raises:
        InputError: a file cannot be read, or holds no plan; for both at once.
    """
    before, after = _both(question)
    prices = _prices(before, question.before), _prices(after, question.after)
    asked, repriced = _asked(before, after, *prices), _repriced(*prices)
    found = _found(_acts(before, prices[0]), _acts(after, prices[1]))
    return PlanDiffAnswer(
        headline=_headline(before, after, found, asked),
        citation=f"before: {_cited(before)}; after: {_cited(after)}",
        same_revision=before.revision == after.revision,
        same_question=not asked,
        unchanged=found.unchanged,
        before_does=before.summary,
        after_does=after.summary,
        before=_side(before),
        after=_side(after),
        asked=asked,
        only_before=found.only_before,
        only_after=found.only_after,
        moved=found.moved,
        changed=found.changed,
        repriced=repriced,
    )


def _both(question: PlanDiffQuestion) -> tuple[Plan, Plan]:
    plans, problems = [], []
    for path in (question.before, question.after):
        try:
            plans.append(read_plan(path))
        except InputError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise InputError(problems)
    return plans[0], plans[1]


def _prices(plan: Plan, path: str) -> dict[str, float]:
    """What each candidate of a coverage plan costs (CNY), by its id; nothing of other plans.

    Raises:
        InputError: the certificate has other than a price for each candidate.
    """
    if plan.planner != COVERAGE:
        return {}
    sites, prices = (_column(plan, name) for name in ("candidates", "prices_fen"))
    if len(sites) != len(prices) or not all(isinstance(fen, int | float) for fen in prices):
        raise InputError.of(path, "has other than a price for each candidate in its certificate", ANEW)
    return {str(site): float(fen) / FEN_PER_CNY for site, fen in zip(sites, prices, strict=True)}


def _column(plan: Plan, name: str) -> Sequence[float | str]:
    """A column of the certificate; empty where there is none."""
    column = plan.proof.certificate.get(name, ())
    return column if isinstance(column, tuple) else ()


def _acts(plan: Plan, prices: Mapping[str, float]) -> list[_Act]:
    """What a plan does: its actions and, of a coverage plan, the sites with compute that it chose to keep."""
    acts = [_act(action, prices) for action in plan.actions]
    if plan.planner != COVERAGE:
        return acts
    built = {action.subject for action in orders(plan)}
    kept = dict.fromkeys(str(site) for site in _column(plan, "sites") if str(site) not in built)
    return [*acts, *(_Act(Work(KEEP, site, None, prices.get(site)), 0.0, {}) for site in kept)]


def _act(action: Action, prices: Mapping[str, float]) -> _Act:
    what = action.kind.replace("_", " ")
    price_cny = prices.get(action.subject) if what == ORDER else None
    work = Work(what, action.subject, _year(action.ends_at_s), price_cny)
    return _Act(work, action.ends_at_s, dict(_values(action)))


def _year(at_s: float) -> str | None:
    """The year (UTC) of a second; none for what has no stated end."""
    return str(time.gmtime(at_s).tm_year) if 0 < at_s <= LAST_S else None


def _values(action: Action) -> Iterator[tuple[str, str]]:
    """The cells that an action sets or adds, as text; moments say when, not what."""
    for cell in action.sets:
        if cell.column.endswith("_s"):
            continue
        yield f"{cell.table}[{cell.row}].{cell.column}", _told(cell.after)
    for new in action.adds:
        for column, value in new.values.items():
            if not column.endswith("_s"):
                yield f"{new.table}[{new.row}].{column}", _told(value)


def _told(value: Value) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _found(before: Sequence[_Act], after: Sequence[_Act]) -> _Found:
    """The acts matched by kind and subject; where a plan does the same twice, in the order of time."""
    olds, news = _by_subject(before), _by_subject(after)
    only_before, only_after, both = list[Work](), list[Work](), list[tuple[_Act, _Act]]()
    for key in sorted({*olds, *news}):
        for old, new in zip_longest(olds.get(key, ()), news.get(key, ())):
            if new is None:
                only_before.append(old.work)
            elif old is None:
                only_after.append(new.work)
            else:
                both.append((old, new))
    moved = tuple(_moved(old.work, new.work) for old, new in both if old.work.year != new.work.year)
    changed = tuple(cell for old, new in both for cell in _changed(old, new))
    unchanged = sum(old.work.year == new.work.year and old.values == new.values for old, new in both)
    return _Found(tuple(only_before), tuple(only_after), moved, changed, unchanged)


def _by_subject(acts: Sequence[_Act]) -> dict[tuple[str, str], list[_Act]]:
    found: dict[tuple[str, str], list[_Act]] = {}
    for act in sorted(acts, key=lambda act: act.ends_at_s):
        found.setdefault((act.work.what, act.work.subject), []).append(act)
    return found


def _moved(old: Work, new: Work) -> Moved:
    return Moved(old.what, old.subject, old.year, new.year)


def _changed(old: _Act, new: _Act) -> Iterator[Cell]:
    for cell in sorted({*old.values, *new.values}):
        before, after = old.values.get(cell), new.values.get(cell)
        if before != after:
            yield Cell(old.work.what, old.work.subject, cell, before, after)


def _asked(
    before: Plan, after: Plan, old_prices: Mapping[str, float], new_prices: Mapping[str, float]
) -> tuple[Asked, ...]:
    """Everything that was asked otherwise; when a plan is to take effect follows from when it was made."""
    rows = [Asked("planner", before.planner, after.planner)]
    for name in dict.fromkeys([*before.question, *after.question]):
        if not name.endswith("_at_s"):
            rows.append(Asked(name, _asked_for(before, name), _asked_for(after, name)))
    differ = [row for row in rows if row.before != row.after]
    both = before.planner == after.planner == COVERAGE
    return (*differ, *(_lists(old_prices, new_prices) if both else ()))


def _asked_for(plan: Plan, name: str) -> str | None:
    value = plan.question.get(name)
    return None if value is None else "none" if value in ("", NOT_ASKED.get(name)) else _told(value)


def _lists(before: Mapping[str, float], after: Mapping[str, float]) -> Iterator[Asked]:
    """Whether the sites to choose from are others, or their prices."""
    if before.keys() != after.keys():
        yield Asked("candidates", _others(before, after), _others(after, before))
    if changed := len(_repriced(before, after)):
        sums = [sum(prices[site] for site in before if site in after) for prices in (before, after)]
        yield Asked(f"prices of {counted(changed, 'site')}", *(f"{_money(total)} for all in both" for total in sums))


def _others(these: Mapping[str, float], those: Mapping[str, float]) -> str:
    return f"{counted(len(these), 'site')}, {len(these.keys() - those.keys()):,} of them only here"


def _repriced(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[Repriced, ...]:
    both = ((site, before[site], after[site]) for site in sorted(before) if site in after)
    return tuple(Repriced(site, old, new) for site, old, new in both if abs(old - new) > SMALLEST_CNY)


def _side(plan: Plan) -> Side:
    return Side(
        plan=plan.id,
        planner=plan.planner,
        revision=plan.revision[:DIGEST_DIGITS],
        made_at_s=plan.made_at_s,
        actions=len(plan.actions),
        price_cny=plan.price_cny,
        value=plan.proof.value,
        bound=plan.proof.bound,
        gap_share=plan.proof.gap_share,
        unit=plan.proof.unit,
    )


def _headline(before: Plan, after: Plan, found: _Found, asked: tuple[Asked, ...]) -> str:
    note = " (synthetic)" if any("synthetic" in plan.citation for plan in (before, after)) else ""
    if before.id == after.id:
        return f"No difference: both are plan {after.id}{note}"
    cost = _cost(before.price_cny, after.price_cny)
    if found.is_same:
        done = f"No difference in what is done ({counted(found.unchanged, 'act')} in both)"
    else:
        done = f"The second plan {', '.join(_parts(found))}"
    return f"{done}, {cost}; {_premises(before, after, asked)}{note}"


def _parts(found: _Found) -> Iterator[str]:
    """What differs, as clauses about the second plan."""
    for words, *verbs in CLAUSES:
        for verb, works in zip(verbs, (found.only_after, found.only_before), strict=True):
            if number := sum(_clause(work) == words for work in works):
                yield f"{verb} {counted(number, words[1])}"
    if found.moved:
        yield f"moves {len(found.moved):,} to another year"
    if found.changed:
        yield f"does {len({(cell.what, cell.subject) for cell in found.changed}):,} otherwise"


def _clause(work: Work) -> tuple[str, str]:
    """What a clause of the headline counts together: sites built, sites kept, and everything else."""
    return (work.what, "site") if work.what in (ORDER, KEEP) else OTHER


def _cost(before_cny: float, after_cny: float) -> str:
    more_cny = after_cny - before_cny
    if abs(more_cny) < SMALLEST_CNY:
        return f"for the same {_money(after_cny)}"
    return f"for {_money(abs(more_cny))} {'more' if more_cny > 0 else 'less'} ({_money(before_cny)} before)"


def _money(cny: float) -> str:
    """Money in short; what is below a million is told to a CNY."""
    if CNY_PER_MILLION <= abs(cny) < math.inf:
        return f"{cny / CNY_PER_MILLION:,.1f} million CNY"
    return f"{cny:,.0f} CNY"


def _premises(before: Plan, after: Plan, asked: tuple[Asked, ...]) -> str:
    """Whether the two answer the same question on the same data."""
    question = f"asked otherwise ({', '.join(row.what for row in asked)})" if asked else "the same was asked"
    data = "of the same revision" if before.revision == after.revision else "of different revisions"
    return f"{question}, {data}"


def _cited(plan: Plan) -> str:
    return f"plan {plan.id} by {plan.planner}, {plan.citation or f'made from digest {plan.revision[:DIGEST_DIGITS]}'}"
