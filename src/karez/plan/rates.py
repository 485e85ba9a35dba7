"""What an order is reckoned with: what each kind of work takes, what it costs, draws and lasts, from rows of text.

The rows of the library are assumptions; those of a user take their place. Money is in whole fen here, so that parts
sum to totals exactly whatever their order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, NamedTuple, get_args

from karez.errors import InputError, Problem
from karez.twin.facts import library
from karez.units import FEN_PER_CNY

Per = Literal["site", "station served", "chip", "link", "link km"]
# What recipes call chips that are added at a site, and ageing what they are.
MORE_CHIPS, ACCELERATOR = "more chips", "accelerator"
# Source: the mean year of the Gregorian calendar.
DAYS_PER_YEAR = 365.2425
# A name of a row to a person, such as `line 3`, and its cells by column.
Row = tuple[str, Mapping[str, str | None]]
LONGEST_LEAD_DAYS = 36_500.0
DEAREST_CNY = 1e12
LARGEST = 1e9
ENDS = ("low", "typical", "high")
YOURS = "your list"
NUMBER = "write it as a plain number such as 1234.5"


class Range(NamedTuple):
    """The low, typical and high of an amount; of money in whole fen."""

    low: float
    typical: float
    high: float


class Recipe(NamedTuple):
    """So much of an item for each site, station served, chip, link or km of link that a kind of work is about."""

    act: str
    item: str
    quantity: Fraction
    per: Per
    source: str


class Price(NamedTuple):
    """What one of an item costs (whole fen), how long it takes to come, and who says so."""

    fen: Range
    lead_time_days: float
    source: str


class Upkeep(NamedTuple):
    """What one of an item draws in operation (kW), and its maintenance a year as a share of its price."""

    power_kw: Range
    maintenance_share: Range
    source: str


class Ageing(NamedTuple):
    """How long a kind of equipment lasts, and what new equipment takes; nan where that is no measure of the kind."""

    life_years: float
    new_w_per_gbps: float
    new_w_per_tflops: float
    source: str


@dataclass(frozen=True)
class Rates:
    """All that an order is reckoned with, by kind of work, item, and kind of equipment."""

    recipes: Mapping[str, tuple[Recipe, ...]]
    prices: Mapping[str, Price]
    upkeep: Mapping[str, Upkeep]
    ageing: Mapping[str, Ageing]

    @property
    def items(self) -> list[str]:
        """Every item that has a price or stands in a recipe, in order."""
        return sorted({*self.prices, *(recipe.item for rows in self.recipes.values() for recipe in rows)})


class Machine(NamedTuple):
    """A machine of so many chips: what having it for a day costs (CNY, electricity apart), and when it comes (days)."""

    chips: int
    cny_a_day: float
    lead_time_days: float


def machine_of(used: Rates, chips: int) -> Machine:
    """What a machine of so many chips costs a day: its typical price over its life, and its maintenance.

    Raises:
        InputError: nothing is told that each chip takes, or something else than that; something that it takes has no
            price, or is no whole number for a machine; or nobody told how long it lasts.
    """
    if not (life := used.ageing.get(ACCELERATOR)) or not life.life_years:
        raise InputError.of("ageing", f"does not say how long an {ACCELERATOR} lasts", "give it a row with life_years")
    recipes = used.recipes.get(MORE_CHIPS, ())
    if not recipes or any(recipe.per != "chip" for recipe in recipes):
        what = f"says for {MORE_CHIPS} something else than what each chip takes, or nothing"
        raise InputError.of("recipes", what, "give rows per chip, and no others")
    needed = dict[str, Fraction]()
    for recipe in recipes:
        needed[recipe.item] = needed.get(recipe.item, Fraction(0)) + recipe.quantity * chips
    if lost := tuple(sorted(item for item in needed if item not in used.prices)):
        raise InputError.of("prices", "has no price of what chips take", "give it one", lost)
    if parts := tuple(sorted(item for item, amount in needed.items() if amount.denominator != 1)):
        what = f"would take a part of what comes whole, of {chips} chips"
        raise InputError.of("machine_chips", what, "ask for machines of as many chips as come together", parts)
    a_year, days = 0.0, 0.0
    for item, amount in needed.items():
        fen, upkeep = float(amount) * used.prices[item].fen.typical, used.upkeep.get(item)
        a_year += fen / life.life_years + fen * (upkeep.maintenance_share.typical if upkeep else 0.0)
        days = max(days, used.prices[item].lead_time_days)
    return Machine(chips, a_year / DAYS_PER_YEAR / FEN_PER_CNY, days)


class Given(NamedTuple):
    """The rows of a user's file, and what messages call it; none where `rows` is empty and `file` is, too."""

    file: str = ""
    rows: Sequence[Row] = ()


NOTHING = Given()


def rates(
    *, recipes: Given = NOTHING, prices: Given = NOTHING, upkeep: Given = NOTHING, ageing: Given = NOTHING
) -> Rates:
    """What an order is reckoned with: the library, with what the user gave in its place.

    A user's recipes replace all of the library's for the same kind of work, other rows those of the same item or kind.

    Raises:
        InputError: what is wrong with the user's rows: all of it.
    """
    problems: list[Problem] = []
    cooked = _recipes(_of_library("recipes"), problems) | _recipes(recipes, problems)
    known = Rates(cooked, _library_prices(), {}, {}).items
    found = Rates(
        recipes=cooked,
        prices=_library_prices() | _prices(prices, known, problems),
        upkeep=_library_upkeep() | _upkeep(upkeep, known, problems),
        ageing=_ageing(_of_library("ageing"), problems) | _ageing(ageing, problems),
    )
    if problems:
        raise InputError(problems)
    return found


@dataclass
class _Reading:
    """The rows of one file on their way in, and what is wrong with them: one problem for each fault, with its rows."""

    given: Given
    faults: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def rows(self, *columns: str) -> Iterable[tuple[str, dict[str, str]]]:
        """The rows with their cells stripped, unless a column is missing."""
        there = self.given.rows[0][1] if self.given.rows else dict.fromkeys(columns, "")
        missing = [column for column in columns if column not in there]
        if missing:
            self.faults[f"has no column {', '.join(missing)}", f"name its columns {', '.join(columns)}"] = []
        elif self.given.file and not self.given.rows:
            self.faults["has no row", "give it a row for each item, or leave it out"] = []
        for label, cells in self.given.rows if not missing else ():
            yield label, {name: (value or "").strip() for name, value in cells.items()}

    def fault(self, label: str, what: str, fix: str) -> None:
        self.faults.setdefault((what, fix), []).append(label)

    def number(self, label: str, cells: Mapping[str, str], column: str, most: float) -> Fraction:
        """The number in a cell, exactly; zero where there is none that is from zero to `most`."""
        word = cells[column]
        try:
            # By way of a float, whose shortest form is what was written: exponents without end stay small.
            value = Fraction(repr(float(word)))
        except ValueError:
            self.fault(label, f"{column} is {'no number' if word else 'missing'}", NUMBER)
            return Fraction(0)
        if not 0 <= value <= Fraction(most):
            what = "negative" if value < 0 else f"above {most:g}"
            self.fault(label, f"{column} is {what}", f"give a number from 0 to {most:g}")
            return Fraction(0)
        return value

    def once(self, seen: set[str], label: str, name: str, column: str) -> bool:
        """Whether the row names what it is about, and is the first to do so."""
        if not name:
            self.fault(label, f"{column} is missing", "fill it in, or drop the row")
        elif name in seen:
            self.fault(label, f"has the {column} of an earlier row", "keep one row of each")
        else:
            seen.add(name)
            return True
        return False

    def known(self, label: str, item: str, known: Sequence[str]) -> None:
        if item and item not in known:
            self.fault(
                label,
                "names an item that no recipe and no price list knows",
                f"use one of: {'; '.join(known)}",
            )

    def told(self) -> list[Problem]:
        return [Problem(self.given.file, what, fix, tuple(rows)) for (what, fix), rows in self.faults.items()]


def _of_library(name: str) -> Given:
    return Given(f"library {name}", [(row["source"], row) for row in library(name)])


def _recipes(given: Given, problems: list[Problem]) -> dict[str, tuple[Recipe, ...]]:
    reading, found, seen = _Reading(given), list[Recipe](), set[str]()
    for label, cells in reading.rows("act", "item", "quantity", "per"):
        named = f"{label} ({cells['act']}, {cells['item']})"
        for column in ("act", "item"):
            if not cells[column]:
                reading.fault(named, f"{column} is missing", "fill it in, or drop the row")
        per = next((per for per in get_args(Per) if per == cells["per"]), None)
        if per is None:
            reading.fault(named, "per is none that is known", f"use one of: {', '.join(get_args(Per))}")
        reading.once(seen, named, "|".join((cells["act"], cells["item"], cells["per"])), "act, item and per")
        quantity = reading.number(named, cells, "quantity", LARGEST)
        found.append(Recipe(cells["act"], cells["item"], quantity, per or "site", cells.get("source") or YOURS))
    problems += reading.told()
    return {act: tuple(recipe for recipe in found if recipe.act == act) for act in sorted({r.act for r in found})}


def _prices(given: Given, known: Sequence[str], problems: list[Problem]) -> dict[str, Price]:
    reading, found, seen = _Reading(given), dict[str, Price](), set[str]()
    for label, cells in reading.rows("item", "price_cny", "lead_time_days"):
        item = cells["item"]
        named = f"{label} ({item})"
        reading.known(named, item, known)
        fen = round(reading.number(named, cells, "price_cny", DEAREST_CNY) * FEN_PER_CNY)
        lead_time_days = float(reading.number(named, cells, "lead_time_days", LONGEST_LEAD_DAYS))
        if reading.once(seen, named, item, "item"):
            found[item] = Price(Range(fen, fen, fen), lead_time_days, YOURS)
    problems += reading.told()
    return found


def _upkeep(given: Given, known: Sequence[str], problems: list[Problem]) -> dict[str, Upkeep]:
    reading, found, seen = _Reading(given), dict[str, Upkeep](), set[str]()
    for label, cells in reading.rows("item", "power_kw", "maintenance_share"):
        item = cells["item"]
        named = f"{label} ({item})"
        reading.known(named, item, known)
        power_kw = float(reading.number(named, cells, "power_kw", LARGEST))
        share = float(reading.number(named, cells, "maintenance_share", 1.0))
        if reading.once(seen, named, item, "item"):
            found[item] = Upkeep(Range(power_kw, power_kw, power_kw), Range(share, share, share), YOURS)
    problems += reading.told()
    return found


def _ageing(given: Given, problems: list[Problem]) -> dict[str, Ageing]:
    reading, found, seen = _Reading(given), dict[str, Ageing](), set[str]()
    for label, cells in reading.rows("kind", "life_years", "new_w_per_gbps", "new_w_per_tflops"):
        named = f"{label} ({cells['kind']})"
        life_years = float(reading.number(named, cells, "life_years", 1_000.0))
        gbps, tflops = (
            float(reading.number(named, cells, column, LARGEST)) if cells[column] else math.nan
            for column in ("new_w_per_gbps", "new_w_per_tflops")
        )
        if reading.once(seen, named, cells["kind"], "kind"):
            found[cells["kind"]] = Ageing(life_years, gbps, tflops, cells.get("source") or YOURS)
    problems += reading.told()
    return found


def _library_prices() -> dict[str, Price]:
    """Only rows that say of themselves that they are assumed: no other price may be taken for one that was offered."""
    return {
        row["item"]: Price(
            Range(*(round(Fraction(row[f"price_{end}_cny"]) * FEN_PER_CNY) for end in ENDS)),
            float(row["lead_time_days"]),
            row["source"],
        )
        for row in library("equipment")
        if row["source"].startswith("assumption")
    }


def _library_upkeep() -> dict[str, Upkeep]:
    return {
        row["item"]: Upkeep(
            Range(*(float(row[f"power_{end}_kw"]) for end in ENDS)),
            Range(*(float(row[f"maintenance_{end}_share"]) for end in ENDS)),
            row["source"],
        )
        for row in library("upkeep")
    }
