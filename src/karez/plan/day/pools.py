"""What there is in the planned hours: chips of servers, their price, and what they share: power, ways in, links."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from karez.errors import Problem
from karez.measure import policy
from karez.measure.chips import constants
from karez.measure.policy import costs
from karez.plan.day.ask import HOURS_A_DAY, Ask
from karez.plan.place import chip_costs
from karez.plan.placing.program import Pools
from karez.twin import Twin, World
from karez.twin.table import Array, strings, texts
from karez.units import S_PER_H

# Share of a link's capacity that jobs and the traffic of today may fill together. Assumption.
LINK_SHARE = 0.8


class Offer(NamedTuple):
    """The servers (rows) that are pools, the pools, the power left at each site of the twin, and who has no price.

    `kw` has shape (sites, hours); `new` says which pools are none yet, but may be added.
    """

    servers: Array
    pools: Pools
    kw: Array
    unpriced: Array
    new: Array


def offer(world: World, ask: Ask, new: Collection[str] = (), leaving: Array | None = None) -> Offer:
    """The chips that nobody holds, by the hour; those whose price is not known are no pools.

    Servers `new` (ids) do not stand yet; jobs `leaving` (ids) hold nothing any more.
    """
    twin, servers = world.intended, world["servers"]
    site = twin.resolve("servers", "site")
    free = free_chips(world, leaving)
    cny, kw = _cny(world, ask)
    unpriced = ~np.isfinite(cny).all(axis=1)
    chips = free[:, None] * _stands(world, ask)
    rows = np.flatnonzero(~unpriced & (site >= 0) & (chips.max(axis=1, initial=0) > 0))
    known = np.flatnonzero((site >= 0) & np.isfinite(kw))
    held = (servers["chips"][known] - free[known]) * kw[known]
    held_kw = np.bincount(site[known], held, minlength=len(twin["sites"]))
    left = np.maximum(twin["sites"]["power_kw"] - held_kw, 0.0)
    pools = Pools(
        site[rows].astype(np.int32), kw[rows], chips[rows].astype(float), np.ascontiguousarray(cny[rows], float)
    )
    is_new = np.isin(servers.ids[rows], texts(list(new)))
    return Offer(rows, pools, np.repeat(left[:, None], ask.hours, axis=1), unpriced, is_new)


def tariffs_wrong(twin: Twin) -> list[Problem]:
    """Provinces of which some hours have a price and others have none, or two."""
    table = twin["tariffs"]
    province, hour = twin.resolve("tariffs", "province"), table["hour"]
    count = np.zeros((len(twin["provinces"]), HOURS_A_DAY), int)
    np.add.at(count, (province[province >= 0], hour[province >= 0]), 1)
    wrong = np.flatnonzero((count.sum(axis=1) > 0) & (count != 1).any(axis=1))
    return [
        Problem(
            f"tariffs of {name}",
            f"{_hours(count[row] == 0, 'have no price')}{_hours(count[row] > 1, 'have two')}",
            "give each of the 24 hours one price, or the province none by the hour",
        )
        for row, name in zip(wrong.tolist(), strings(twin["provinces"].ids[wrong]), strict=True)
    ]


def _hours(which: Array, what: str) -> str:
    hours = ", ".join(map(str, np.flatnonzero(which).tolist()))
    return f"hours {hours} {what} " if hours else ""


def free_chips(world: World, leaving: Array | None = None) -> Array:
    """Chips that nobody holds at each server: as observed, or what assignments leave, but for jobs `leaving` (ids)."""
    servers, states, given = world["servers"], world["server_states"], world["assignments"]
    held = world.intended.resolve("assignments", "server")
    leaves = np.isin(given.ids, leaving) if leaving is not None else np.zeros(len(held), bool)
    stays, goes = (
        np.bincount(held[some], given["chips"][some], minlength=len(servers))
        for some in ((held >= 0) & ~leaves, (held >= 0) & leaves)
    )
    free = servers["chips"] - stays
    seen = states.columns["id"].resolve((servers.columns["id"],))
    rows = seen[seen >= 0]
    free[rows] = np.minimum(free[rows], states["free_chips"][seen >= 0] + goes[rows])
    return np.maximum(free, 0.0)


def _stands(world: World, ask: Ask) -> Array:
    """Whether each server stands in each hour: until its row or its site's ends, and not while that is worked on."""
    servers, works = world["servers"], world["works"]
    ends = ask.at_s + np.arange(1, ask.hours + 1) * S_PER_H
    at = world.intended.resolve("servers", "site")
    until_s = np.where(at >= 0, world["sites"]["valid_to_s"][at] if len(world["sites"]) else np.inf, np.inf)
    there = ends[None, :] <= np.minimum(servers["valid_to_s"], until_s)[:, None]
    site = world["sites"].ids[np.maximum(at, 0)] if len(world["sites"]) else []
    for subject, from_s, to_s in zip(works["subject"], works["from_s"], works["to_s"], strict=True):
        hit = np.asarray(site == subject)
        if hit.any():
            there &= ~(hit[:, None] & ((ends > from_s) & (ends - S_PER_H < to_s))[None, :])
    return np.asarray(there)


def _cny(world: World, ask: Ask) -> tuple[Array, Array]:
    """CNY a chip and hour of each server, shape (servers, hours), and kW a chip; nan where not known."""
    twin, provinces = world.intended, world["provinces"]
    _, kw = chip_costs(world)
    province = policy.recipients(twin).province
    flat = np.repeat(provinces["price_cny_per_kwh"][:, None], HOURS_A_DAY, axis=1)
    of, told = twin.resolve("tariffs", "province"), world["tariffs"]
    flat[of[of >= 0], told["hour"][of >= 0]] = told["price_cny_per_kwh"][of >= 0]
    cny_per_kwh = (flat + ask.carbon_cny_per_kg * kg_per_kwh(world)[:, None])[:, ask.hours_of_day]
    here = np.where(
        (province >= 0)[:, None], cny_per_kwh[np.maximum(province, 0)] if len(provinces) else np.nan, np.nan
    )
    return world["servers"]["price_cny_per_chip_h"][:, None] + kw[:, None] * here, kw


def gb_in(twin: Twin, hours: int) -> Array:
    """GB an hour that may enter each site, shape (sites, hours); inf where nobody told."""
    gb = twin["sites"]["ingress_gbps"] * S_PER_H / costs.BITS_PER_BYTE
    return np.repeat(gb[:, None], hours, axis=1)


def gb_over(world: World, links: Array, hours: int) -> Array:
    """GB an hour that each link in a direction (as `Ways.links`) can carry besides today's traffic, (links, hours)."""
    links = links // 2
    capacity = world["links"]["capacity_gbps"][links]
    states = world["link_states"]
    seen = states.columns["id"].resolve((world["links"].columns["id"],))
    load = np.zeros(len(world["links"]))
    load[seen[seen >= 0]] = states["load_gbps"][seen >= 0]
    left = np.maximum(capacity * LINK_SHARE - load[links], 0.0)
    return np.asarray(np.repeat((left * S_PER_H / costs.BITS_PER_BYTE)[:, None], hours, axis=1))


def kg_per_kwh(world: World) -> Array:
    """Carbon dioxide of electricity in each province, the mean of the library where nobody told."""
    kg = world["provinces"]["kg_co2_per_kwh"]
    return np.asarray(np.where(np.isnan(kg), constants()["kg_co2_per_kwh"], kg))


def blocks(rows: int, width: int, most: int) -> Iterator[slice]:
    """Slices of so many rows that no block has more than `most` cells."""
    step = max(most // max(width, 1), 1)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))
