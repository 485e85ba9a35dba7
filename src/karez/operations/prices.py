"""What is scarce in a planned day, hour by hour, and so what is worth building."""

from __future__ import annotations

import msgspec
import numpy as np

from karez.operations import Answer, PricesQuestion
from karez.operations.day import Planned, metro_of, planned, site_metro
from karez.operations.networks import counted
from karez.plan.day.scarce import OF, UNITS, by_hour, chip_worth, limits, mean_over_chips, name_of, rows_of
from karez.twin.table import text

DAYS_A_YEAR = 365.0
HOURS_A_YEAR = 8_760.0
# What is scarce where, in words, and what one more of it is.
SHORT = {
    "chips": ("chips at {}", "server", "chip"),
    "power": ("power at {}", "site", "kW"),
    "data in": ("the way into {}", "site", "GB an hour"),
    "link": ("{}", "link", "GB an hour"),
    "quota": ("{}", "quota", "chip-hour"),
}


class Scarce(msgspec.Struct, frozen=True, kw_only=True):
    """Something of which one more would save money: how much in all planned hours, and in the dearest of them."""

    what: str
    id: str
    place: str
    unit: str
    worth_cny: float
    dearest: str
    dearest_cny: float
    there: float


class HourPrice(msgspec.Struct, frozen=True, kw_only=True):
    """An hour: what one more chip is worth on average, with its power, and for which share of chips it is anything."""

    hour: str
    chip_cny: float
    scarce_chips_share: float


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """Chips at a site: what one more, and the power for one more, would save in a year of such days beyond its rent."""

    site: str
    place: str
    chip: str
    saves_cny_a_year: float
    power_saves_cny_a_year: float
    rent_cny_a_year: float


class PricesAnswer(Answer, frozen=True, kw_only=True):
    """What is scarce, what it is worth by the hour, and what to build."""

    plan: str
    scarce: tuple[Scarce, ...]
    by_hour: tuple[HourPrice, ...]
    build: tuple[Build, ...]


def run(question: PricesQuestion) -> PricesAnswer:
    """The prices that prove the bound of the plan.

    Raises:
        InputError: the plan or network cannot be read or do not belong together.
    """
    asked = planned(question.plan, question.network, question.packs)
    scarce = _scarce(asked)
    return PricesAnswer(
        headline=_headline(asked, scarce),
        citation=(
            f"prices of plan {asked.plan.id}: what one more would have saved in its "
            f"{asked.said.posed.ask.hours} hours, at the margin, rent and electricity taken off; {asked.plan.citation}"
        ),
        plan=asked.plan.id,
        scarce=tuple(scarce[: question.top]),
        by_hour=_by_hour(asked),
        build=_build(asked)[: question.top],
    )


def _headline(asked: Planned, scarce: list[Scarce]) -> str:
    if not scarce:
        return f"Nothing is scarce in the planned hours{asked.aside}: no more of anything would save money"
    each = {what: sum(one.what == what for one in scarce) for what in SHORT}
    kinds = [words.format(counted(each[what], thing)) for what, (words, thing, _) in SHORT.items() if each[what]]
    first = scarce[0]
    place, when = f" in {first.place}" if first.place else "", f" at {first.dearest}" if first.dearest else ""
    return (
        f"Scarce: {', '.join(kinds)}{asked.aside}; most of all {first.what} at {first.id}{place}: one "
        f"{SHORT[first.what][2]} more would save {first.worth_cny:,.2f} CNY over the planned hours, "
        f"{first.dearest_cny:,.2f} of it{when}"
    )


def _scarce(asked: Planned) -> list[Scarce]:
    posed, prices = asked.said.posed, asked.said.prices
    world, found = posed.world, list[Scarce]()
    for of, (rows, values, there) in enumerate(zip(rows_of(posed), prices, limits(posed), strict=True)):
        flat, left = by_hour(values), by_hour(there)
        worth = flat.sum(axis=1)
        for at in np.flatnonzero(worth > 0).tolist():
            row, best = int(rows[at]), int(np.argmax(flat[at]))
            found.append(
                Scarce(
                    what=OF[of],
                    id=name_of(posed, of, row),
                    place=metro_of(world, row) if of == 0 else site_metro(world, row) if of in (1, 2) else "",
                    unit=UNITS[of],
                    worth_cny=float(worth[at]),
                    dearest=posed.ask.clock(best) if OF[of] != "quota" else "",
                    dearest_cny=float(flat[at, best]),
                    there=float(left[at].max()),
                )
            )
    return sorted(found, key=lambda one: (-one.worth_cny, one.what, one.id))


def _by_hour(asked: Planned) -> tuple[HourPrice, ...]:
    posed = asked.said.posed
    chip, power = chip_worth(posed, asked.said.prices)
    mean, scarce = (mean_over_chips(posed, values) for values in (chip + power, chip + power > 0))
    return tuple(
        HourPrice(hour=posed.ask.clock(at), chip_cny=float(mean[at]), scarce_chips_share=float(scarce[at]))
        for at in range(posed.ask.hours)
    )


def _build(asked: Planned) -> tuple[Build, ...]:
    """Where one more chip would save most, its rent and electricity taken off."""
    posed, world = asked.said.posed, asked.said.posed.world
    chip, power = chip_worth(posed, asked.said.prices)
    days = posed.ask.hours / 24.0
    year = DAYS_A_YEAR / days
    rent = world["servers"]["price_cny_per_chip_h"][posed.pools]
    site, kind = (world.intended.resolve("servers", name)[posed.pools] for name in ("site", "chip"))
    found = [
        Build(
            site=text(world["sites"].ids[site[at]]),
            place=site_metro(world, int(site[at])),
            chip=text(world["chips"].ids[kind[at]]),
            saves_cny_a_year=float(chip[at].sum()) * year,
            power_saves_cny_a_year=float(power[at].sum()) * year,
            rent_cny_a_year=float(rent[at]) * HOURS_A_YEAR,
        )
        for at in np.flatnonzero((chip + power).sum(axis=1) > 0).tolist()
    ]
    return tuple(sorted(found, key=lambda one: (-one.saves_cny_a_year - one.power_saves_cny_a_year, one.site)))
