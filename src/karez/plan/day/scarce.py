"""What is scarce by the hour, by name, and what one more of it is worth: prices of a plan as rows, and back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from karez.plan.day.pose import Posed
from karez.plan.placing.program import Used, available, nothing
from karez.twin.schema import Value
from karez.twin.table import Array, text

# What a price is of, and its unit: the columns of `Used`, in order.
OF = ("chips", "power", "data in", "link", "quota")
UNITS = ("chip and hour", "kWh", "GB", "GB", "chip-hour")
# The table whose rows each is of.
TABLES = ("servers", "sites", "sites", "links", "quotas")
# Less is nothing.
LEAST_CNY = 1e-9


class Prices(NamedTuple):
    """Prices above zero, a row each: what of (its place in OF), the row of the twin, hour (0 for quotas), CNY."""

    of: Array
    row: Array
    hour: Array
    cny: Array


def rows_of(posed: Posed) -> tuple[Array, ...]:
    """The rows of the twin that each kind of price is of, in the order of the program."""
    sites, links = posed.limited
    return posed.pools, sites, sites, links, np.arange(len(posed.world["quotas"]))


def by_hour(values: Array) -> Array:
    """Values with a column an hour; those of quotas, which have no hours, in one column."""
    return values if values.ndim > 1 else values[:, None]


def priced(posed: Posed, prices: Used) -> Prices:
    """The prices that are above zero."""
    found = list[tuple[Array, ...]]()
    for of, (rows, values) in enumerate(zip(rows_of(posed), prices, strict=True)):
        flat = by_hour(values)
        at, hour = np.nonzero(flat > LEAST_CNY)
        found.append((np.full(len(at), of), rows[at], hour, flat[at, hour]))
    return Prices(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def name_of(posed: Posed, of: int, row: int) -> str:
    """What a price is of, by id; a link with its direction: from its end a to b (ab), or back."""
    if OF[of] == "link":
        return f"{text(posed.world['links'].ids[row // 2])} {'ba' if row % 2 else 'ab'}"
    return text(posed.world[TABLES[of]].ids[row])


def ids(posed: Posed, prices: Prices) -> list[str]:
    """The name of what each price is of."""
    return [name_of(posed, of, row) for of, row in zip(prices.of.tolist(), prices.row.tolist(), strict=True)]


def used(posed: Posed, columns: dict[str, tuple[Value, ...]]) -> Used:
    """Prices from what a plan says of them (`price_of`, `price_row`, `price_hour`, `price_cny`).

    Raises:
        ValueError: it names what is not there, an hour that is not planned, or a price below zero.
    """
    found = nothing(posed.program)
    places = [
        {name_of(posed, of, row): at for at, row in enumerate(rows.tolist())} for of, rows in enumerate(rows_of(posed))
    ]
    for of, name, hour, cny in zip(*(columns[f"price_{name}"] for name in ("of", "row", "hour", "cny")), strict=True):
        kind = OF.index(str(of))
        at, when = places[kind].get(str(name), -1), int(hour)
        if at < 0 or not float(cny) >= 0 or not np.isfinite(float(cny)):
            raise ValueError(f"a price of {of} {name} is {cny}")
        values = by_hour(found[kind])
        if not 0 <= when < values.shape[1]:
            raise ValueError(f"a price of {of} {name} is of the hour {hour}")
        values[at, when] = float(cny)
    return found


def chip_worth(posed: Posed, prices: Used) -> tuple[Array, Array]:
    """What one more chip of each pool is worth, and the power for it (CNY), each of shape (pools, hours)."""
    pools = posed.program.pools
    return prices.chips, pools.kw[:, None] * prices.kw[pools.site]


def mean_over_chips(posed: Posed, values: Array) -> Array:
    """The mean over all chips of values of shape (pools, hours), by hour."""
    chips = posed.program.pools.chips
    return np.asarray((values * chips).sum(axis=0) / np.maximum(chips.sum(axis=0), 1.0))


def limits(posed: Posed) -> Used:
    """What there is of everything."""
    return available(posed.program)
