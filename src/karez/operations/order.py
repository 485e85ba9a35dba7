"""What to order for a plan: quantities by phase and site, when at the latest, and what ages out meanwhile."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from karez.errors import InputError
from karez.operations import Answer, OrderQuestion, PlanChipsQuestion
from karez.operations.networks import (
    DETAIL,
    counted,
    duration,
    given_rows,
    load,
    now_s,
    provenance,
    read_plan,
    require_new_file,
    write_new,
)
from karez.operations.render.order import Cell, Sheet, as_csv, as_xlsx
from karez.plan.order import (
    Aged,
    Calendar,
    Line,
    Order,
    Sum,
    Work,
    budget_us_of,
    electricity,
    end_of_year_s,
    figures_of,
    order,
    replacements,
    summed,
)
from karez.plan.plan import Plan
from karez.plan.rates import YOURS, Given, Price, Range, Rates, rates
from karez.twin import Twin
from karez.twin.store import Revision, revisions
from karez.twin.table import text
from karez.units import FEN_PER_CNY

FORMATS = (".xlsx", ".csv")
SHOWN_ITEMS = 5
ASSUMPTION = "assumption"
DATES = ("order_by", "in_service", "due")


class Phase(msgspec.Struct, frozen=True):
    """What goes into service in a year, what it costs to buy and to keep for a year, and the first date to order (UTC).

    Money counts what has a price, and is absent where nothing has; the last row is that of all years together.
    """

    year: str
    sites: int
    links: int
    capex_low_cny: float | None
    capex_typical_cny: float | None
    capex_high_cny: float | None
    yearly_low_cny: float | None
    yearly_typical_cny: float | None
    yearly_high_cny: float | None
    order_by: str | None


class Item(msgspec.Struct, frozen=True):
    """How many of an item a phase takes, at what price of one, from whom the price is, and the first date to order."""

    year: str
    item: str
    quantity: int
    unit_low_cny: float | None
    unit_typical_cny: float | None
    unit_high_cny: float | None
    capex_typical_cny: float | None
    price_from: str
    lead_time_days: float | None
    order_by: str | None


class Place(msgspec.Struct, frozen=True):
    """A site or link that gets something: what is done, when it is in service, and the last date to order for it.

    `stations` are those whose nearest compute it will be, within the plan's budget.
    """

    id: str
    name: str
    metro: str
    year: str
    work: str
    stations: int
    units: int
    order_by: str | None
    in_service: str


class OrderLine(msgspec.Struct, frozen=True):
    """So many of an item for one site or link."""

    year: str
    id: str
    name: str
    metro: str
    work: str
    item: str
    quantity: int
    unit_typical_cny: float | None
    capex_low_cny: float | None
    capex_typical_cny: float | None
    capex_high_cny: float | None
    yearly_low_cny: float | None
    yearly_typical_cny: float | None
    yearly_high_cny: float | None
    price_from: str
    order_by: str | None
    in_service: str


class Replacement(msgspec.Struct, frozen=True):
    """A device or group of chips that is due before the plan's last year ends, why, and what it takes against new."""

    due: str
    id: str
    kind: str
    site: str
    why: str
    age_years: float | None
    energy: float | None
    new_energy: float | None
    unit: str


class Basis(msgspec.Struct, frozen=True):
    """A figure that the order rests on, and where it comes from."""

    what: str
    of: str
    value: str
    source: str


class OrderAnswer(Answer, frozen=True, kw_only=True):
    """What to order by phase and site, what is due to be replaced, and what all of it rests on."""

    late: int
    unpriced: tuple[str, ...]
    phases: tuple[Phase, ...]
    items: tuple[Item, ...]
    places: tuple[Place, ...]
    replacements: tuple[Replacement, ...]
    ageing_later: int
    ageing_unknown: int
    output: str
    lines: Annotated[tuple[OrderLine, ...], DETAIL]
    basis: Annotated[tuple[Basis, ...], DETAIL]


class _Found(NamedTuple):
    """All that an answer is made of."""

    plan: Plan
    twin: Twin
    revision: Revision
    rates: Rates
    order: Order
    calendar: Calendar
    at_s: float


def run(question: OrderQuestion) -> OrderAnswer:
    """The order for a plan on the network's newest revision; it is written to `question.output` where that is given.

    Raises:
        InputError: the plan, the network or a list cannot be read, the plan is another network's, builds nothing,
            un-builds or builds twice, or the file exists or is neither .xlsx nor .csv.
        KarezError: the library that writes workbooks is not installed.
    """
    if question.output:
        _require_format(question.output)
        require_new_file(question.output)
    plan = read_plan(question.plan)
    used = rates_of(question)
    world, revision = load(question.network)
    at_s, twin = now_s(), world.intended
    _require_own(plan, twin, question)
    made = order(plan, twin, used)
    until_s = end_of_year_s(max(made.years))
    calendar = replacements(twin, used.ageing, at_s=at_s, until_s=until_s)
    found = _Found(plan, twin, revision, used, made, calendar, at_s)
    answer = _answer(found, question.output)
    if question.output:
        write_new(question.output, _written(answer, question.output, found))
    return answer


def _require_format(path: str) -> None:
    if Path(path).suffix.lower() not in FORMATS:
        raise InputError.of(path, f"is neither {' nor '.join(FORMATS)}", "end the file's name in one of them")


def _require_own(plan: Plan, twin: Twin, question: OrderQuestion) -> None:
    """Return only if the plan was made from a revision of this network: another's sites may have the same ids.

    Raises:
        InputError: it was not.
    """
    own = {twin.digest, *(revision.digest for revision in revisions(Path(question.network)))}
    if plan.revision not in own:
        what = f"was made from no revision of {question.network} (digest {plan.revision[:12] or 'missing'})"
        raise InputError.of(question.plan, what, "give the network that it was made for, or make the plan anew")


def rates_of(question: OrderQuestion | PlanChipsQuestion) -> Rates:
    """What is reckoned with: the library, with the lists of the question in its place.

    Raises:
        InputError: a list cannot be read, or rows of it are wrong.
    """
    return rates(
        recipes=_given(question.recipes),
        prices=_given(question.prices),
        upkeep=_given(question.upkeep),
        ageing=_given(question.ageing),
    )


def _given(path: str) -> Given:
    """The rows of a list of the user's; none where there is no list.

    Raises:
        InputError: the file cannot be read as CSV, or rows of it cannot be taken apart.
    """
    return Given(path, given_rows(path)) if path else Given()


def _answer(found: _Found, output: str) -> OrderAnswer:
    made = found.order
    return OrderAnswer(
        headline=_headline(found),
        citation=_citation(found),
        late=len(made.late(found.at_s)),
        unpriced=made.unpriced,
        phases=_phases(made),
        items=tuple(item for year in made.years for item in _items(year, _of(made, year), found.rates)),
        places=_places(found),
        replacements=tuple(map(_replacement, found.calendar.due)),
        ageing_later=found.calendar.later,
        ageing_unknown=found.calendar.unknown,
        output=output,
        lines=tuple(_line(line, found.twin) for line in made.lines),
        basis=_basis(found),
    )


def _headline(found: _Found) -> str:
    """Quantities, never money; years where there are several, and no other date: those are in the tables."""
    made, late = found.order, len(found.order.late(found.at_s))
    total = summed(made.lines)
    first, last = made.years[0], made.years[-1]
    years = "" if first == last else f" in {first} to {last}"
    shown = _in_order(made.lines, found.rates)[:SHOWN_ITEMS]
    more = len(total.quantities) - len(shown)
    items = ", ".join(f"{total.quantities[item]:,} x {item}" for item in shown)
    rest = f" and {counted(more, 'more item')}" if more else ""
    too_late = f"; {counted(late, 'line')} should have been ordered before today" if late else ""
    note = " (synthetic)" if found.revision.synthetic else ""
    return f"To order for {_extent(made.lines)}{years}: {items}{rest}{too_late}{note}"


def _in_order(lines: Iterable[Line], used: Rates) -> list[str]:
    """The items of these lines in the order in which recipes name them."""
    there = {line.item for line in lines}
    named = dict.fromkeys(recipe.item for recipes in used.recipes.values() for recipe in recipes)
    return [item for item in named if item in there]


def _extent(lines: Iterable[Line]) -> str:
    works = {(line.work.is_link, line.work.subject) for line in lines}
    links = sum(is_link for is_link, _ in works)
    named = [counted(n, what) for n, what in ((len(works) - links, "site"), (links, "link")) if n]
    return " and ".join(named)


def _citation(found: _Found) -> str:
    plan, digest = found.plan, found.twin.digest
    same = "of this network" if plan.revision == digest else f"made from an older revision, {plan.revision[:12]}"
    budget_us = budget_us_of(plan)
    within = f"within {duration(budget_us)} " if math.isfinite(budget_us) else ""
    used = {line.item: line.price for line in found.order.lines if line.price}
    yours = sum(price.source == YOURS for price in used.values())
    prices = f"prices of {counted(yours, 'item')} from your list, of {len(used) - yours} assumed by the library"
    return (
        f"Plan {plan.id} by {plan.planner}, {same}; stations {within}of their nearest compute after the plan, one way, "
        f"{figures_of(plan)} figures; quantities by recipes, rounded up for each site and item; {prices}; "
        f"{provenance(found.revision)}"
    )


def _of(made: Order, year: int) -> tuple[Line, ...]:
    return tuple(line for line in made.lines if line.work.year == year)


def _phases(made: Order) -> tuple[Phase, ...]:
    each = [_phase(str(year), _of(made, year)) for year in made.years]
    return (*each, _phase("all", made.lines)) if len(each) > 1 else tuple(each)


def _phase(year: str, lines: tuple[Line, ...]) -> Phase:
    total = summed(lines)
    works = {(line.work.is_link, line.work.subject) for line in lines}
    links = sum(is_link for is_link, _ in works)
    bought = _cny(total.capex_fen if any(line.capex_fen for line in lines) else None)
    kept = _cny(total.yearly_fen if any(line.yearly_fen for line in lines) else None)
    return Phase(year, len(works) - links, links, *bought, *kept, _day(total.order_at_s))


def _items(year: int, lines: tuple[Line, ...], used: Rates) -> list[Item]:
    return [
        _item(year, item, summed(line for line in lines if line.item == item), used) for item in _in_order(lines, used)
    ]


def _item(year: int, item: str, total: Sum, used: Rates) -> Item:
    price = used.prices.get(item)
    unit_low_cny, unit_typical_cny, unit_high_cny = _cny(price.fen if price else None)
    return Item(
        year=str(year),
        item=item,
        quantity=total.quantities[item],
        unit_low_cny=unit_low_cny,
        unit_typical_cny=unit_typical_cny,
        unit_high_cny=unit_high_cny,
        capex_typical_cny=total.capex_fen.typical / FEN_PER_CNY if price else None,
        price_from=_price_from(price),
        lead_time_days=price.lead_time_days if price else None,
        order_by=_day(total.order_at_s),
    )


def _cny(fen: Range | None) -> tuple[float | None, float | None, float | None]:
    return (fen.low / FEN_PER_CNY, fen.typical / FEN_PER_CNY, fen.high / FEN_PER_CNY) if fen else (None, None, None)


def _price_from(price: Price | None) -> str:
    return "no price" if price is None else YOURS if price.source == YOURS else ASSUMPTION


def _places(found: _Found) -> tuple[Place, ...]:
    lines: dict[Work, list[Line]] = {}
    for line in found.order.lines:
        lines.setdefault(line.work, []).append(line)
    return tuple(_place(work, summed(each), found) for work, each in lines.items())


def _place(work: Work, total: Sum, found: _Found) -> Place:
    name, metro = _named(found.twin, work.subject)
    return Place(
        id=work.subject,
        name=name,
        metro=metro,
        year=str(work.year),
        work=_shown(work),
        stations=found.order.served.get(work.subject, 0),
        units=sum(total.quantities.values()),
        order_by=_day(total.order_at_s),
        in_service=_date(work.in_service_at_s),
    )


def _shown(work: Work) -> str:
    """What is done, in words."""
    return f"{work.act.replace('_', ' ')} {work.of}".strip()


def _named(twin: Twin, subject: str) -> tuple[str, str]:
    """The name of a site and of its metro; a link has neither."""
    if not twin["sites"].has(subject):
        return "", ""
    metro = str(twin["sites"].cell(subject, "metro"))
    name = str(twin["metros"].cell(metro, "name")) if twin["metros"].has(metro) else ""
    return str(twin["sites"].cell(subject, "name")), name or metro


def _line(line: Line, twin: Twin) -> OrderLine:
    work, price = line.work, line.price
    name, metro = _named(twin, work.subject)
    capex_low_cny, capex_typical_cny, capex_high_cny = _cny(line.capex_fen)
    yearly_low_cny, yearly_typical_cny, yearly_high_cny = _cny(line.yearly_fen)
    return OrderLine(
        year=str(work.year),
        id=work.subject,
        name=name,
        metro=metro,
        work=_shown(work),
        item=line.item,
        quantity=line.quantity,
        unit_typical_cny=price.fen.typical / FEN_PER_CNY if price else None,
        capex_low_cny=capex_low_cny,
        capex_typical_cny=capex_typical_cny,
        capex_high_cny=capex_high_cny,
        yearly_low_cny=yearly_low_cny,
        yearly_typical_cny=yearly_typical_cny,
        yearly_high_cny=yearly_high_cny,
        price_from=_price_from(price),
        order_by=_day(line.order_at_s),
        in_service=_date(work.in_service_at_s),
    )


def _replacement(aged: Aged) -> Replacement:
    energy = (aged.age_years, aged.energy, aged.new_energy, aged.unit)
    return Replacement(_date(aged.due_at_s), aged.id, aged.kind, aged.site, aged.why, *energy)


def _basis(found: _Found) -> tuple[Basis, ...]:
    """Every figure that was used, in the order in which they are used."""
    used, lines = found.rates, found.order.lines
    acts = sorted({line.work.act for line in lines})
    items = sorted({line.item for line in lines})
    kinds = sorted({aged.kind if aged.table == "equipment" else "accelerator" for aged in found.calendar.due})
    recipes = [
        Basis(f"quantity for {act}", r.item, f"{float(r.quantity):g} per {r.per}", r.source)
        for act in acts
        for r in used.recipes[act]
    ]
    prices = [
        Basis(
            "price and lead time", item, f"{_spread(_cny(price.fen))} CNY, {price.lead_time_days:g} days", price.source
        )
        for item in items
        if (price := used.prices.get(item))
    ]
    upkeep = [
        Basis(
            "power and maintenance", item, f"{_spread(u.power_kw)} kW, {_spread(u.maintenance_share)} a year", u.source
        )
        for item in items
        if (u := used.upkeep.get(item))
    ]
    ageing = [
        Basis("life and energy of new", kind, f"{a.life_years:g} years", a.source)
        for kind in kinds
        if (a := used.ageing.get(kind))
    ]
    return (*recipes, *prices, *upkeep, *_power(found), *ageing)


def _power(found: _Found) -> list[Basis]:
    """What electricity costs where something is built."""
    twin = found.twin
    subjects = {line.work.subject for line in found.order.lines if not line.work.is_link}
    rows = twin["sites"].rows(sorted(subjects))
    metros = twin.resolve("sites", "metro")[rows]
    provinces = twin.resolve("metros", "province")[metros[metros >= 0]]
    names = sorted({text(twin["provinces"].ids[row]) for row in provinces.tolist() if row >= 0})
    said = [(name, *electricity(twin, name)) for name in names]
    source = "the network's provinces, else library provinces_cn; 8,760 hours a year"
    return [Basis("electricity", name, f"{cny:g} CNY/kWh, PUE {pue:g}", source) for name, cny, pue in said]


def _spread(values: Iterable[float | None]) -> str:
    """A range in short; one number where its ends are the same."""
    shown = list(dict.fromkeys(f"{value:,.6g}" for value in values if value is not None))
    return " / ".join(shown)


def _day(at_s: float | None) -> str | None:
    return None if at_s is None else _date(at_s)


def _date(at_s: float) -> str:
    """The day of a second (Unix time), in UTC."""
    return _moment(at_s).date().isoformat()


def _moment(at_s: float) -> datetime.datetime:
    """A second as a date, which must be in the years that dates have."""
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=round(at_s))


def _written(answer: OrderAnswer, path: str, found: _Found) -> bytes:
    if Path(path).suffix.lower() == ".csv":
        # A table goes from hand to hand alone: each of its rows says what it rests on.
        data = "synthetic" if found.revision.synthetic else "as given"
        lines = _sheet("lines", answer.lines)
        rows = tuple((*row, found.plan.id, data) for row in lines.rows)
        return as_csv(Sheet(lines.title, (*lines.columns, "plan", "data"), rows))
    said = (Basis("order", "", "", answer.headline), Basis("how it was got", "", "", answer.citation))
    sheets = [
        _sheet("phases", answer.phases),
        _sheet("order by phase", answer.items),
        _sheet("order by site", answer.lines),
        _sheet("replacements", answer.replacements, of=Replacement),
        _sheet("assumptions and sources", (*said, *answer.basis)),
    ]
    return as_xlsx(sheets, title=answer.headline, made_at=_moment(found.at_s))


def _sheet(title: str, rows: tuple[msgspec.Struct, ...], *, of: type[msgspec.Struct] | None = None) -> Sheet:
    """A sheet of what the answer says, with dates and years as a spreadsheet has them."""
    names = (of or type(rows[0])).__struct_fields__
    return Sheet(
        title,
        tuple(map(_title, names)),
        tuple(tuple(_cell(name, getattr(row, name)) for name in names) for row in rows),
    )


def _title(name: str) -> str:
    """What a person calls a column."""
    return name.replace("_", " ").replace(" cny", " CNY")


def _cell(name: str, value: Cell) -> Cell:
    if name == "year" and isinstance(value, str) and value.isdecimal():
        return int(value)
    return datetime.datetime.fromisoformat(value) if name in DATES and isinstance(value, str) else value
