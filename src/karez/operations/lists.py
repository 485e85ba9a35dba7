"""Lists that a person brings as CSV: sites, their prices and racks, and what every such list has in its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from karez.errors import InputError, Problem
from karez.operations.networks import given_rows

DEAREST_CNY = 1e12
LARGEST_ROOM = 1_000_000
Cells = Mapping[str, str | None]
Rows = Sequence[tuple[str, Cells]]


class Rack(NamedTuple):
    """What one rack does and takes: the weight that it serves, and its power (kW)."""

    serves: float
    power_kw: float


class PriceList(NamedTuple):
    """What each site costs (CNY) by its id, and how much weight it serves at most; where it is not said, all."""

    prices_cny: dict[str, float]
    serves: dict[str, float]


def price_list(path: str, rack: Rack | None = None) -> PriceList:
    """The sites of a CSV file with their prices, and what they serve where `rack` says what a rack does.

    Raises:
        InputError: the file cannot be read, or columns or rows are wrong: all of them are told, of prices and of racks.
    """
    rows = given_rows(path)
    problems: list[Problem] = []
    prices_cny = _prices(path, rows, problems)
    serves = _served(path, rows, rack, problems) if rack else {}
    if problems:
        raise InputError(problems)
    return PriceList(prices_cny, serves)


def _prices(path: str, rows: Rows, problems: list[Problem]) -> dict[str, float]:
    """What each site costs (CNY), by its id; what is wrong with that is added to the problems."""
    if not rows:
        problems.append(Problem(path, "lists no site", "give a row for each site that may be built"))
    elif not {"site", "price_cny"} <= set(rows[0][1]):
        problems.append(Problem(path, "has no columns site and price_cny", "name them in the first line"))
        return {}
    prices: dict[str, float] = {}
    for label, cells in rows:
        site, price = _site(cells), number(cells.get("price_cny"))
        where = f"{path}, {label}"
        if not site:
            problems.append(Problem(where, "names no site", "give the id of a site"))
        elif site in prices:
            problems.append(Problem(where, f"names {site} again", "give each site once"))
        elif not 0 <= price <= DEAREST_CNY:
            problems.append(wrong_price(where, cells, site))
        prices[site] = price
    return prices


def _served(path: str, rows: Rows, rack: Rack, problems: list[Problem]) -> dict[str, float]:
    """How much weight each site serves, by its id: that of as many racks as it has room and power for.

    A site of which neither `racks` nor `power_kw` is said serves all, and is left out. What is wrong is added to the
    problems.
    """
    if rows and not {"racks", "power_kw"} & set(rows[0][1]):
        fix = "add one of these columns, or leave out rack_serves"
        problems.append(Problem(path, "has neither racks nor power_kw", fix))
        return {}
    found: dict[str, float] = {}
    wrong: list[Problem] = []
    for label, cells in rows:
        room = _room(f"{path}, {label}", cells, rack, wrong)
        if room is not None:
            found[_site(cells)] = room * rack.serves
    if rows and not (wrong or found):
        wrong.append(Problem(path, "says of no site how many racks or how much power it has", "fill in the columns"))
    problems += wrong
    return found


def _room(where: str, cells: Cells, rack: Rack, problems: list[Problem]) -> int | None:
    """How many racks a row has room and power for; None where it says neither, or is wrong."""
    said = {name: number(cells[name]) for name in ("racks", "power_kw") if cells.get(name)}
    wrong = [name for name, value in said.items() if not 0 <= value <= LARGEST_ROOM]
    fix = f"give a number from 0 to {LARGEST_ROOM:,}"
    problems += [Problem(where, f"has {cells[name]!r} for {name}", fix) for name in wrong]
    if not said or wrong:
        return None
    # In fractions, for 9.6 kW are three racks of 3.2 kW.
    takes = {"racks": Fraction(1), "power_kw": Fraction(str(rack.power_kw))}
    return math.floor(min(Fraction(str(value)) / takes[name] for name, value in said.items()))


def _site(cells: Cells) -> str:
    return (cells.get("site") or "").strip()


def wrong_price(where: str, cells: Cells, of: str) -> Problem:
    """The problem of a row whose price is none, or is out of range."""
    what = f"has the price {cells.get('price_cny') or 'none'} for {of}"
    return Problem(where, what, "give CNY, not below zero, as a plain number such as 1234.5")


def number(cell: str | None) -> float:
    """The number in a cell; nan where there is none."""
    try:
        return float(cell or "")
    except ValueError:
        return math.nan
