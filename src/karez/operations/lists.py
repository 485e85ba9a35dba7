"""Lists that a person brings as CSV: prices of sites, and what every such list has in its rows."""

from __future__ import annotations

import math
from collections.abc import Mapping

from karez.errors import InputError, Problem
from karez.operations.networks import given_rows

DEAREST_CNY = 1e12


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
