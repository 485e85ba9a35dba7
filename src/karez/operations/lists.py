"""Lists that a person brings as CSV: prices of sites, and what every such list has in its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from karez.errors import InputError, Problem
from karez.operations.networks import given_rows

DEAREST_CNY = 1e12
LARGEST_ROOM = 1_000_000


def price_list(path: str) -> dict[str, float]:
    """What each site of a CSV file costs (CNY), by its id.

    Raises:
        InputError: the file cannot be read, or rows are wrong: all of them are told.
    """
    rows = given_rows(path)
    if rows and not {"site", "price_cny"} <= set(rows[0][1]):
        raise InputError.of(path, "has no columns site and price_cny", "name them in the first line")
    prices: dict[str, float] = {}
    problems = []
    for label, cells in rows:
        site, price = (cells.get("site") or "").strip(), number(cells.get("price_cny"))
        where = f"{path}, {label}"
        if not site:
            problems.append(Problem(where, "names no site", "give the id of a site"))
        elif site in prices:
            problems.append(Problem(where, f"names {site} again", "give each site once"))
        elif not 0 <= price <= DEAREST_CNY:
            problems.append(wrong_price(where, cells, site))
        prices[site] = price
    if not rows:
        problems.append(Problem(path, "lists no site", "give a row for each site that may be built"))
    if problems:
        raise InputError(problems)
    return prices


def served_list(path: str, *, rack_serves: float, rack_kw: float) -> dict[str, float]:
    """How much weight each site of a CSV file serves, by its id: that of as many racks as it has room and power for.

    `racks` and `power_kw` are columns of the file; a site for which it says neither serves all, and is left out.

    Raises:
        InputError: the file cannot be read, has neither column, or rows are wrong: all of them are told.
    """
    rows = given_rows(path)
    if rows and not {"racks", "power_kw"} & set(rows[0][1]):
        raise InputError.of(
            path, "has neither racks nor power_kw", "add one of these columns, or leave out rack_serves"
        )
    found: dict[str, float] = {}
    problems = []
    for label, cells in rows:
        said = {name: number(cells[name]) for name in ("racks", "power_kw") if cells.get(name)}
        wrong = [name for name, value in said.items() if not 0 <= value <= LARGEST_ROOM]
        problems += [
            Problem(f"{path}, {label}", f"has {cells[name]!r} for {name}", f"give a number from 0 to {LARGEST_ROOM:,}")
            for name in wrong
        ]
        if said and not wrong:
            # In fractions, for 9.6 kW are three racks of 3.2 kW.
            room = [
                Fraction(str(value)) / (Fraction(str(rack_kw)) if name == "power_kw" else 1)
                for name, value in said.items()
            ]
            found[(cells.get("site") or "").strip()] = math.floor(min(room)) * rack_serves
    if not (problems or found):
        problems.append(Problem(path, "says of no site how many racks or how much power it has", "fill in the columns"))
    if problems:
        raise InputError(problems)
    return found


def wrong_price(where: str, cells: Mapping[str, str | None], of: str) -> Problem:
    """The problem of a row whose price is none, or is out of range."""
    what = f"has the price {cells.get('price_cny') or 'none'} for {of}"
    return Problem(where, what, "give CNY, not below zero, as a plain number such as 1234.5")


def number(cell: str | None) -> float:
    """The number in a cell; nan where there is none."""
    try:
        return float(cell or "")
    except ValueError:
        return math.nan
