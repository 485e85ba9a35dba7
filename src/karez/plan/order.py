"""From a plan to what must be ordered: whole quantities by phase and site, when at the latest, and what ages out.

A phase is the year in which work goes into service. Quantities follow from recipes and are rounded up for each site
(or link) and item; money is in whole fen, and absent where nobody gave a price.
"""

from __future__ import annotations

import calendar
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from karez.errors import InputError, Problem
from karez.measure.circles import compute_sites
from karez.measure.core import LONGEST_NS, topology_of
from karez.measure.delay import FIGURES, Figures, constants, link_parts
from karez.measure.stack import ways
from karez.plan.kinds import ORDERS, TAKES_OUT
from karez.plan.plan import Action, Cell, NewRow, Plan, applied
from karez.plan.rates import DAYS_PER_YEAR, MORE_CHIPS, Ageing, Price, Range, Rates, Recipe
from karez.plan.sites import DAY_S, orders
from karez.twin import Twin
from karez.twin.facts import library
from karez.twin.schema import Value
from karez.twin.store import LAST_S
from karez.twin.table import Array, Table, text
from karez.units import NS_PER_US

YEAR_S = DAYS_PER_YEAR * DAY_S
HOURS_PER_YEAR = 8_760
LARGEST_WHOLE = 2**63
NEW_LINK = "new link"
ANEW = "make the plan anew"
OTHERS = "give a plan of coverage, upgrades or chips: its actions order for sites, or change links"
# What takes away again: cells that an action may not set to these values.
TAKEN_AWAY: Mapping[str, Value] = {"up": False, "drained": True}
NOTHING = Range(0, 0, 0)


class Work(NamedTuple):
    """One thing that a plan has done: an act on a site or link, in service from a second (Unix time) on.

    `chips` says how many it adds, and `of` which.
    """

    act: str
    subject: str
    is_link: bool
    length_km: float
    in_service_at_s: float
    chips: int = 0
    of: str = ""

    @property
    def year(self) -> int:
        """The phase it belongs to."""
        return time.gmtime(self.in_service_at_s).tm_year


class Line(NamedTuple):
    """So many of an item for one site or link; money in whole fen, None where its price (or electricity's) is unknown.

    `order_at_s` is the last second at which it may be ordered; None where nobody told how long it takes to come.
    """

    work: Work
    item: str
    quantity: int
    price: Price | None
    order_at_s: float | None
    capex_fen: Range | None
    yearly_fen: Range | None


class Sum(NamedTuple):
    """What some lines come to: quantities by item, money of those lines that have a price, the first date to order."""

    quantities: Mapping[str, int]
    capex_fen: Range
    yearly_fen: Range
    order_at_s: float | None


class Order(NamedTuple):
    """All lines, by phase, site or link, and item; and the stations whose nearest compute each new site will be."""

    lines: tuple[Line, ...]
    served: Mapping[str, int]

    @property
    def years(self) -> tuple[int, ...]:
        """The phases in their order."""
        return tuple(sorted({line.work.year for line in self.lines}))

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The items that have no price."""
        return tuple(sorted({line.item for line in self.lines if line.price is None}))

    def late(self, at_s: float) -> tuple[Line, ...]:
        """The lines that would have had to be ordered before the day (UTC) of `at_s`."""
        today_s = at_s // DAY_S * DAY_S
        return tuple(line for line in self.lines if line.order_at_s is not None and line.order_at_s < today_s)


class Aged(NamedTuple):
    """A device or group of chips that is due to be replaced, and why; None stands for what nobody told.

    Energy is in W a Gbit/s, of chips in W a TFLOP/s.
    """

    table: str
    id: str
    site: str
    kind: str
    age_years: float | None
    supported_until_s: float | None
    due_at_s: float
    why: str
    energy: float | None
    new_energy: float | None
    unit: str


class Calendar(NamedTuple):
    """What is due, the next first; how many are due later, and of how many neither age nor support is known."""

    due: tuple[Aged, ...]
    later: int
    unknown: int


def order(plan: Plan, twin: Twin, rates: Rates) -> Order:
    """What `plan` has ordered on the network `twin` (as intended, at all times).

    Raises:
        InputError: it is no plan that builds something on this network, un-builds or builds twice: all that is wrong.
    """
    works = works_of(plan, twin, rates)
    served = _served(plan, twin, works)
    lines = [line for work in works for line in _lines(work, served.get(work.subject, 0), rates, _province(twin, work))]
    return Order(tuple(sorted(lines, key=_place)), served)


def summed(lines: Iterable[Line]) -> Sum:
    """What these lines come to."""
    kept = list(lines)
    quantities: Counter[str] = Counter()
    for line in kept:
        quantities[line.item] += line.quantity
    dates = [line.order_at_s for line in kept if line.order_at_s is not None]
    return Sum(
        quantities=dict(sorted(quantities.items())),
        capex_fen=_total(line.capex_fen for line in kept),
        yearly_fen=_total(line.yearly_fen for line in kept),
        order_at_s=min(dates, default=None),
    )


def works_of(plan: Plan, twin: Twin, rates: Rates) -> tuple[Work, ...]:
    """What `plan` has done, by time, subject and act.

    Raises:
        InputError: it is no plan that builds something on this network, un-builds or builds twice: all that is wrong.
    """
    where = _named(plan)
    builds = [action for action in plan.actions if action.kind not in TAKES_OUT]
    gone = [action for action in plan.actions if action.kind in TAKES_OUT]
    lost = tuple(cell.row for action in gone for cell in action.sets if not twin[cell.table].has(cell.row))
    if lost:
        fix = "give the network that the plan was made for"
        raise InputError.of(where, "takes out of service what is not there", fix, lost)
    if not builds:
        raise InputError.of(where, "has no action that builds: nothing is to be ordered", "give a plan that builds")
    problems: list[Problem] = []
    works = [work for action in builds if (work := _work(where, action, twin, rates, problems))]
    # Chips of several kinds are several servers of one site.
    count = Counter((work.act, work.subject) for work in works if work.act != MORE_CHIPS)
    twice = tuple(sorted(subject for (_, subject), number in count.items() if number > 1))
    if twice:
        problems.append(Problem(where, "takes a site or link twice for the same", ANEW, twice))
    rows = Counter(new.row for action in plan.actions for new in action.adds)
    same = tuple(sorted(row for row, number in rows.items() if number > 1))
    if same:
        problems.append(Problem(where, "adds the same row twice", ANEW, same))
    if problems:
        raise InputError(_grouped(problems))
    return tuple(sorted(works, key=lambda work: (work.in_service_at_s, work.subject, work.act)))


def replacements(twin: Twin, ageing: Mapping[str, Ageing], *, at_s: float, until_s: float) -> Calendar:
    """What of the equipment and servers of `twin` is due to be replaced before `until_s`, and how old it is at `at_s`.

    A device is due when its vendor's support ends, or when it is as old as its kind lasts, whichever comes first.
    """
    found = [_aged(twin, name, ageing, at_s, until_s) for name in ("equipment", "servers")]
    due = sorted((aged for each in found for aged in each.due), key=lambda aged: (aged.due_at_s, aged.table, aged.id))
    return Calendar(tuple(due), sum(each.later for each in found), sum(each.unknown for each in found))


def end_of_year_s(year: int) -> float:
    """The first second (Unix time) after a year."""
    return float(calendar.timegm((year + 1, 1, 1, 0, 0, 0)))


def electricity(twin: Twin, province: str) -> tuple[float, float]:
    """Price (CNY/kWh) and PUE of a province: the network's, else the library's; nan where neither tells.

    Source: library/provinces_cn.csv.
    """
    table, facts = twin["provinces"], {row["id"]: row for row in library("provinces_cn")}
    told = [float(table.cell(province, name)) if table.has(province) else math.nan for name in _ELECTRICITY]
    known = [float(facts[province][name]) if province in facts else math.nan for name in _ELECTRICITY]
    price_cny, pue = (k if math.isnan(t) else t for t, k in zip(told, known, strict=True))
    return price_cny, pue


_ELECTRICITY = ("price_cny_per_kwh", "pue")


def _named(plan: Plan) -> str:
    return f"plan {plan.id} by {plan.planner}"


def _work(where: str, action: Action, twin: Twin, rates: Rates, problems: list[Problem]) -> Work | None:
    """What an action has done; None, and a problem, where it makes no sense on this network."""
    act = _act(action)
    if act not in rates.recipes:
        fix = f"{OTHERS}; or add recipes for it to those of {', '.join(rates.recipes)}"
        problems.append(Problem(where, f"does what no recipe is for: {act}", fix, (action.subject,)))
        return None
    before = len(problems)
    problems += [Problem(where, what, fix, (action.subject,)) for what, fix in _faults(action, twin)]
    if len(problems) > before:
        return None
    is_link = action.kind not in ORDERS and not twin["sites"].has(action.subject)
    length_km = _length_km(action, twin) if is_link else 0.0
    return Work(act, action.subject, is_link, length_km, _in_service_at_s(action), *_chips(action))


def _act(action: Action) -> str:
    """The kind of work, as recipes call it."""
    if action.kind == "order_equipment":
        return str(action.adds[0].values.get("kind", "")) if action.adds else action.kind
    if action.kind == "order_servers":
        return MORE_CHIPS
    return NEW_LINK if _new_link(action) else action.kind.replace("_", " ")


def _chips(action: Action) -> tuple[int, str]:
    """How many chips it adds, none that are no whole number, and of which kind."""
    new = next((new for new in action.adds if new.table == "servers"), None)
    chips = new.values.get("chips") if new else 0
    whole = isinstance(chips, int) and not isinstance(chips, bool)
    return int(str(chips)) if whole else 0, str(new.values.get("chip", "")) if new else ""


def _new_link(action: Action) -> NewRow | None:
    return next((new for new in action.adds if new.table == "links"), None)


def _in_service_at_s(action: Action) -> float:
    """When what it adds holds; of what adds nothing, when it ends."""
    values = [new.values["valid_from_s"] for new in action.adds if "valid_from_s" in new.values]
    return _number(values[0] if values else action.ends_at_s)


def _length_km(action: Action, twin: Twin) -> float:
    """The length of the link after the action."""
    new = _new_link(action)
    told: list[Value] = [cell.after for cell in action.sets if cell.column == "length_km"]
    if new:
        told = [new.values.get("length_km", "")]
    elif not told:
        told = [twin["links"].cell(action.subject, "length_km")]
    length_km = _number(told[-1])
    return length_km if 0 <= length_km < math.inf else math.nan


def _number(value: Value) -> float:
    """The value as a number; nan where it is none, or one that no column holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if isinstance(value, float) or abs(value) < LARGEST_WHOLE else math.nan


def _faults(action: Action, twin: Twin) -> Iterator[tuple[str, str]]:
    """What is wrong with an action whose kind of work is known, and what to do."""
    other = "give the network that the plan was made for"
    at_s = _in_service_at_s(action)
    if not 0 <= at_s <= LAST_S:
        yield "does not say when what it builds is in service", ANEW
    if _takes_away(action):
        yield (
            "un-builds: it takes away again what stands, or what it builds",
            "make a plan whose phases only add",
        )
    if action.kind in ORDERS:
        yield from _order_faults(action, twin, other)
    elif not (twin["links"].has(action.subject) or twin["sites"].has(action.subject) or _new_link(action)):
        yield "is about links or sites that are not there", other
    else:
        yield from _link_faults(action, twin, other)


def _takes_away(action: Action) -> bool:
    ends = [new.values["valid_to_s"] for new in action.adds if "valid_to_s" in new.values]
    ends += [cell.after for cell in action.sets if cell.column == "valid_to_s"]
    gone = any(TAKEN_AWAY.get(cell.column) is cell.after for cell in action.sets if cell.column in TAKEN_AWAY)
    return gone or any(end != math.inf for end in ends)


def _order_faults(action: Action, twin: Twin, other: str) -> Iterator[tuple[str, str]]:
    table = action.kind.removeprefix("order_")
    new = action.adds[0] if len(action.adds) == 1 else None
    if new is None or action.sets or new.table != table or new.values.get("site") != action.subject:
        yield "orders something else than one device, or chips of one kind, for its site", ANEW
    elif not twin["sites"].has(action.subject):
        yield "orders for sites that are not there", other
    elif twin[table].has(new.row):
        yield "orders what is there, or ordered, already", f"{other}, or {ANEW}"
    elif table == "servers" and not 0 < _chips(action)[0] < LARGEST_WHOLE:
        yield "does not say how many chips it orders", ANEW


def _link_faults(action: Action, twin: Twin, other: str) -> Iterator[tuple[str, str]]:
    tables = {*(cell.table for cell in action.sets), *(new.table for new in action.adds)}
    lost = [cell for cell in action.sets if not _is_cell(twin["links"], cell)]
    if tables - {"links", "equipment"} or lost:
        yield "changes what is no link of this network", other
    elif not all(_is_device_of(new, action, twin) for new in action.adds if new.table == "equipment"):
        yield "adds a device that is there already, or at no end of its link", f"{other}, or {ANEW}"
    elif not twin["sites"].has(action.subject) and math.isnan(_length_km(action, twin)):
        yield "does not say how long its link is", ANEW
    new = _new_link(action)
    if new and not all(_is_end(twin, new.values.get(end)) for end in ("a", "b")):
        yield "builds links whose ends are not there", other
    if new and twin["links"].has(new.row):
        yield "orders what is there, or ordered, already", f"{other}, or {ANEW}"


def _is_device_of(new: NewRow, action: Action, twin: Twin) -> bool:
    """Whether a device is new, and stands at an end of the link that the action is about."""
    links = twin["links"]
    ends = [links.cell(action.subject, end) for end in ("a", "b")] if links.has(action.subject) else []
    return new.values.get("site") in ends and not twin["equipment"].has(new.row)


def _is_cell(links: Table, cell: Cell) -> bool:
    return cell.column != "id" and cell.column in links.columns and links.has(cell.row)


def _is_end(twin: Twin, end: Value | None) -> bool:
    return isinstance(end, str) and (twin["sites"].has(end) or twin["stations"].has(end))


def _grouped(problems: Sequence[Problem]) -> list[Problem]:
    """One problem for all rows that share it, in the order in which they came."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for each in problems:
        rows.setdefault((each.where, each.what, each.fix), []).extend(each.rows)
    return [Problem(*said, tuple(named)) for said, named in rows.items()]


def _served(plan: Plan, twin: Twin, works: Sequence[Work]) -> dict[str, int]:
    """Of each site that gets something, the stations within the budget whose nearest compute it is after the plan."""
    after = _after(plan, twin).at(max(work.in_service_at_s for work in works))
    gone = tuple(work.subject for work in works if not work.is_link and not after["sites"].has(work.subject))
    if gone:
        raise InputError.of(_named(plan), "builds at sites that will not be there then", ANEW, gone)
    oneway_ns = link_parts(after).oneway_ns(constants(figures_of(plan)), LONGEST_NS)
    nearest = ways(topology_of(after, "optical"), oneway_ns, compute_sites(after)).nearest()
    sites = len(after["sites"])
    within = nearest.site[sites:][nearest.oneway_ns[sites:] < budget_us_of(plan) * NS_PER_US]
    count = np.bincount(within[within >= 0], minlength=sites)
    subjects = sorted({work.subject for work in works if not work.is_link})
    return {site: int(count[row]) for site, row in zip(subjects, after["sites"].rows(subjects).tolist(), strict=True)}


def _after(plan: Plan, twin: Twin) -> Twin:
    """The network with all that the plan builds; devices come in one go, since there may be thousands."""
    changed = applied([action for action in plan.actions if action.kind != "order_equipment"], twin)
    new = [(action.subject, action.adds[0]) for action in orders(plan)]
    if not new:
        return changed
    columns: dict[str, list[Value]] = {
        "id": [row.row for _, row in new],
        "site": [site for site, _ in new],
        "kind": [row.values["kind"] for _, row in new],
        "valid_from_s": [_number(row.values.get("valid_from_s", -math.inf)) for _, row in new],
    }
    return changed.replace(changed["equipment"].add(columns))


def budget_us_of(plan: Plan) -> float:
    """The first budget that the plan was made for (us); `inf` where it names none."""
    first = str(plan.question.get("targets", "")).split(",")[0]
    try:
        told = float(first.partition("=")[0])
    except ValueError:
        return math.inf
    return told if told > 0 else math.inf


def figures_of(plan: Plan) -> Figures:
    """Which end of the latency library the plan was made with."""
    return next((figures for figures in FIGURES if figures == plan.question.get("figures")), "typical")


def _province(twin: Twin, work: Work) -> tuple[float, float]:
    """Price of electricity and PUE where the work stands; a link draws its power at its first end."""
    place = (
        str(twin["links"].cell(work.subject, "a")) if work.is_link and twin["links"].has(work.subject) else work.subject
    )
    table = next((name for name in ("sites", "stations") if twin[name].has(place)), "")
    metro = str(twin[table].cell(place, "metro")) if table else ""
    return electricity(twin, str(twin["metros"].cell(metro, "province")) if twin["metros"].has(metro) else "")


def _lines(work: Work, served: int, rates: Rates, electricity: tuple[float, float]) -> Iterator[Line]:
    """The lines of one work; the recipes of one item are added up before they are rounded."""
    needed: dict[str, Fraction] = {}
    for recipe in rates.recipes[work.act]:
        needed[recipe.item] = needed.get(recipe.item, Fraction(0)) + recipe.quantity * _amount(recipe, work, served)
    for item, amount in needed.items():
        if quantity := math.ceil(amount):
            yield _line(work, item, quantity, rates, electricity)


def _amount(recipe: Recipe, work: Work, served: int) -> Fraction:
    """How much there is of what the recipe counts."""
    counts = {
        "site": int(not work.is_link),
        "station served": served,
        "chip": work.chips,
        "link": int(work.is_link),
    }
    return Fraction(work.length_km) if recipe.per == "link km" else Fraction(counts[recipe.per])


def _line(work: Work, item: str, quantity: int, rates: Rates, electricity: tuple[float, float]) -> Line:
    price = rates.prices.get(item)
    capex = Range(*(quantity * fen for fen in price.fen)) if price else None
    return Line(
        work=work,
        item=item,
        quantity=quantity,
        price=price,
        order_at_s=work.in_service_at_s - price.lead_time_days * DAY_S if price else None,
        capex_fen=capex,
        yearly_fen=_yearly(item, quantity, capex, rates, electricity),
    )


def _yearly(
    item: str, quantity: int, capex: Range | None, rates: Rates, electricity: tuple[float, float]
) -> Range | None:
    """Electricity and maintenance of a year, in whole fen; None where a price or the power is unknown."""
    upkeep, fen_per_kwh = rates.upkeep.get(item), math.prod(electricity) * 100
    if upkeep is None or capex is None or math.isnan(fen_per_kwh):
        return None
    return Range(
        *(
            round(quantity * power_kw * HOURS_PER_YEAR * fen_per_kwh) + round(fen * share)
            for power_kw, share, fen in zip(upkeep.power_kw, upkeep.maintenance_share, capex, strict=True)
        )
    )


def _total(ranges: Iterable[Range | None]) -> Range:
    known = [NOTHING, *(each for each in ranges if each is not None)]
    return Range(*(sum(end) for end in zip(*known, strict=True)))


def _place(line: Line) -> tuple[float, str, str, str]:
    return line.work.in_service_at_s, line.work.subject, line.work.act, line.item


def _aged(twin: Twin, name: str, ageing: Mapping[str, Ageing], at_s: float, until_s: float) -> Calendar:
    """What is due of one table."""
    table = twin.at(at_s)[name]
    kinds = table["kind"] if name == "equipment" else np.full(len(table), b"accelerator")
    life_s = np.full(len(table), math.nan)
    for kind, row in ageing.items():
        life_s[kinds == kind.encode()] = row.life_years * YEAR_S
    ends_s = [_finite(table["supported_until_s"]), _finite(table["installed_at_s"]) + life_s]
    due_s = np.fmin(*ends_s)
    rows = np.flatnonzero(due_s < until_s).tolist()
    due = tuple(
        _device(twin, table, row, text(kinds[row]), ageing, at_s, (ends_s[0][row], ends_s[1][row])) for row in rows
    )
    return Calendar(due, int((due_s >= until_s).sum()), int(np.isnan(due_s).sum()))


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, math.nan)


def _device(
    twin: Twin,
    table: Table,
    row: int,
    kind: str,
    ageing: Mapping[str, Ageing],
    at_s: float,
    ends_s: tuple[float, float],
) -> Aged:
    support_s, age_s = map(float, ends_s)
    installed_s = float(table["installed_at_s"][row])
    by_support = not math.isnan(support_s) and not age_s < support_s
    energy, new, unit = _energy(twin, table, row, ageing.get(kind))
    return Aged(
        table=table.name,
        id=text(table.ids[row]),
        site=text(table["site"][row]),
        kind=kind if table.name == "equipment" else text(table["chip"][row]),
        age_years=(at_s - installed_s) / YEAR_S if math.isfinite(installed_s) else None,
        supported_until_s=None if math.isnan(support_s) else support_s,
        due_at_s=support_s if by_support else age_s,
        why="end of support" if by_support else f"as old as its kind lasts, {ageing[kind].life_years:g} years",
        energy=energy,
        new_energy=new,
        unit=unit,
    )


def _energy(twin: Twin, table: Table, row: int, ageing: Ageing | None) -> tuple[float | None, float | None, str]:
    """What a device takes for its work and what a new one does, and the unit; None where either is unknown."""
    if table.name == "equipment":
        watts, work, new, unit = (
            table["power_kw"][row] * 1e3,
            table["capacity_gbps"][row],
            "new_w_per_gbps",
            "W a Gbit/s",
        )
    else:
        chips, chip = twin["chips"], text(table["chip"][row])
        there = chips.has(chip)
        watts, work = (float(chips.cell(chip, name)) if there else math.nan for name in ("power_w", "peak_tflops_fp16"))
        new, unit = "new_w_per_tflops", "W a TFLOP/s"
    now = float(watts / work) if work > 0 else math.nan
    then = getattr(ageing, new) if ageing else math.nan
    if math.isnan(now) or math.isnan(then):
        return None, None, ""
    return now, then, unit
