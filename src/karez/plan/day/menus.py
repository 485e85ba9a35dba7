"""Menus: every way in which a job may run, alone on a pool or on a pair of them, and the routes that its data take.

Of links only those are kept that could ever be full: what can never bind is no limit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from karez.measure import policy
from karez.measure.chips import PER_B, constants
from karez.measure.policy import costs
from karez.plan.day.ask import Ask
from karez.plan.day.pools import Offer, blocks, gb_over
from karez.plan.day.rules import Keys, Rules, modes
from karez.plan.day.running import moving_cny
from karez.plan.day.ways import Ways
from karez.plan.placing.program import NONE, Routes, arms_of
from karez.twin import Twin, World
from karez.twin.table import Array
from karez.units import S_PER_H, US_PER_MS

CELLS_AT_ONCE = 1 << 22
# Pairs of sites that a job that may be split is offered at most.
MOST_PAIRS = 60


class Built(NamedTuple):
    """Menus and their arms, the mode of each arm; the goals of routes (positions among sites `to`), and their links.

    `links` are those that could be full (as `Ways.links`); `runs` and `over` are routes' links as positions in them.
    """

    menus: Array
    arms: Array
    mode: Array
    goals: Array
    runs: Array
    over: Array
    links: Array
    to: Array

    def routes(self, sites: Array) -> Routes:
        """Routes to these sites (rows of limits)."""
        return Routes(np.searchsorted(sites, self.to[self.goals]).astype(np.int32), self.runs, self.over)


class Options(NamedTuple):
    """Arms of menus, a value each: menu, pool, the pool of a second half (NONE: not split)."""

    menu: Array
    pool: Array
    other: Array


def menus_of(
    world: World, ask: Ask, offered: Offer, network: Ways, homes: Array, rules: Rules, keys: Keys, most_gb: Array
) -> Built:
    """Every menu: where its jobs may run alone, and on which pairs of sites.

    `homes` are the main sites of provinces; `most_gb` is what jobs of each menu could move together (GB an hour).
    """
    found = _options(world, offered, network, rules, keys)
    routes = _Routes()
    arms, mode = _arms(world, ask, offered, network, homes, rules, keys, found, routes)
    legs = _second_halves(world, offered, network, homes, rules, keys, found, arms, routes)
    # Jobs of a menu may load the routes of its arms, and of the second halves of these.
    menu_of_leg = np.concatenate([found.menu, np.tile(found.menu[found.other >= 0], 2)])
    whole = np.concatenate([arms, legs])
    built = routes.laid(world, ask, network, whole, menu_of_leg, most_gb)
    ends = np.searchsorted(found.menu, np.arange(len(keys.metro) + 1))
    return Built(ends, whole, mode, *built, network.to)


def _options(world: World, offered: Offer, network: Ways, rules: Rules, keys: Keys) -> Options:
    allowed = _allowed(rules, keys, offered.servers)
    menu, pool = np.nonzero(allowed)
    found = Options(menu, pool, np.full(len(menu), NONE))
    if (keys.sites > 1).any():
        pairs = _pairs(world, offered, network, rules, allowed, keys)
        found = Options(*map(np.concatenate, zip(found, pairs, strict=True)))
    order = np.lexsort((found.other, found.pool, found.menu))
    return Options(*(column[order] for column in found))


def _arms(
    world: World, ask: Ask, offered: Offer, network: Ways, homes: Array, rules: Rules, keys: Keys, found: Options,
    routes: _Routes,
) -> tuple[Array, Array]:  # fmt: skip
    """The arms with their first legs, and the mode of each."""
    twin, each, known = world.intended, modes(), constants()
    server, split = offered.servers[found.pool], found.other >= 0
    mode = rules.mode[keys.law[found.menu], server]
    speed = rules.speed[keys.work[found.menu], server] / (1.0 + each.more[mode])
    speed = speed * np.where(split, known["split_efficiency_share"], 1.0)
    speed = np.where(keys.runs_on[found.menu] == 1, 1.0, speed)
    source, traffic = rules.source[keys.source[found.menu], server], keys.gb_per_chip_h[found.menu]
    # Who stays lasts as long as was told and has its data there; who moves brings them from where it was.
    stays = _stays(offered, keys, found)
    speed = np.where(stays & (keys.runs_on[found.menu] == 0), keys.speed_there[found.menu], speed)
    users = twin.resolve("metros", "province")[keys.metro[found.menu]]
    arms = arms_of(
        found.pool.astype(np.int32),
        # Rounded up, or a job of 7 hours at speed 0.7 would take 11.
        speed=np.nextafter(speed.astype(np.float32), np.float32(np.inf)),
        share=np.where(split, 0.5, 1.0),
        gb_share=np.where((traffic > 0) | stays, 0.0, each.moved[mode] * np.where(split, 0.5, 1.0)),
        gb_per_chip_h=traffic,
        **_money(world, ask, offered, rules, keys, found, mode),
    )
    begins = np.where(traffic > 0, homes[users], _data_at(twin, homes, keys.runs_at[found.menu], source))
    arms["route"] = routes.of(begins, _goals(twin, network, server))
    return arms, mode


def _second_halves(
    world: World, offered: Offer, network: Ways, homes: Array, rules: Rules, keys: Keys, found: Options, arms: Array,
    routes: _Routes,
) -> Array:  # fmt: skip
    """Legs of arms that are split: the other half of the chips with what both exchange, and its half of the data."""
    halves = np.flatnonzero(found.other >= 0)
    pool, there = found.other[halves].astype(np.int32), offered.servers[found.other[halves]]
    goal = _goals(world.intended, network, there)
    here = network.to[_goals(world.intended, network, offered.servers[found.pool[halves]])]
    # Half of the chips exchange as much as all of them.
    chips = arms_of(pool, share=0.5, gb_share=0.0, gb_per_chip_h=2.0 * constants()["split_gb_per_chip_h"])
    chips["route"] = routes.of(here, goal)
    data = arms_of(pool, share=0.0, gb_share=arms["gb_share"][halves])
    source = rules.source[keys.source[found.menu[halves]], there]
    data["route"] = routes.of(_data_at(world.intended, homes, keys.runs_at[found.menu[halves]], source), goal)
    arms["then"][halves] = len(arms) + np.arange(len(halves))
    chips["then"] = len(arms) + len(halves) + np.arange(len(halves))
    return np.concatenate([chips, data])


def _goals(twin: Twin, network: Ways, servers: Array) -> Array:
    """The position of the site of each server (row) among goals."""
    return np.asarray(np.searchsorted(network.to, twin.resolve("servers", "site")[servers]))


def _allowed(rules: Rules, keys: Keys, servers: Array) -> Array:
    """Which pools no filter forbids to each menu, shape (menus, pools)."""
    allowed = np.zeros((len(keys.metro), len(servers)), bool)
    for block in blocks(len(keys.metro), len(rules.memory_gb), CELLS_AT_ONCE):
        allowed[block] = ~rules.forbids(Keys(*(column[block] for column in keys)))[:, servers]
    return allowed


def _pairs(world: World, offered: Offer, network: Ways, rules: Rules, allowed: Array, keys: Keys) -> Options:
    """Pairs of pools of the same chip at sites near enough to each other, the cheapest for each menu that may split."""
    twin, known = world.intended, constants()
    chip, site = (twin.resolve("servers", name)[offered.servers] for name in ("chip", "site"))
    us = network.us(site)[:, np.searchsorted(network.to, site)]
    near = (us <= known["split_longest_us"]) & (chip[:, None] == chip[None, :]) & (site[:, None] != site[None, :])
    one, other = np.nonzero(np.triu(near, 1))
    cny = offered.pools.cny.mean(axis=1)
    order = np.argsort(cny[one] + cny[other], kind="stable")
    one, other = one[order], other[order]
    # What may be added crowds out nothing that stands.
    new = offered.new[one] | offered.new[other]
    found = list[tuple[Array, Array, Array]]()
    for menu in np.flatnonzero(keys.sites > 1).tolist():
        mode = rules.mode[keys.law[menu], offered.servers]
        may = allowed[menu, one] & allowed[menu, other] & (mode[one] == mode[other])
        some = np.concatenate([np.flatnonzero(may & those)[:MOST_PAIRS] for those in (~new, new)])
        found.append((np.full(len(some), menu), one[some], other[some]))
    return Options(*map(np.concatenate, zip(*found, strict=True)))


def _data_at(twin: Twin, homes: Array, runs_at: Array, source: Array) -> Array:
    """The site that data come from: where a job runs already, or the main one of the province of a copy (`source`)."""
    return np.asarray(np.where(runs_at >= 0, twin.resolve("servers", "site")[runs_at], homes[source]))


def _stays(offered: Offer, keys: Keys, found: Options) -> Array:
    """Whether each arm is the one that a job runs by already."""
    return np.asarray((keys.runs_at[found.menu] == offered.servers[found.pool]) & (found.other < 0))


def _money(
    world: World, ask: Ask, offered: Offer, rules: Rules, keys: Keys, found: Options, mode: Array
) -> dict[str, Array]:
    """What each arm costs besides its chips: moving data, weights and what runs, making data ready, starting, delay."""
    twin, known = world.intended, constants()
    cny_per_gb, each = costs.constants()["transport_cny_per_gb"], modes()
    model, split = keys.model[found.menu], found.other >= 0
    weights_gb = np.where(
        model >= 0, twin["models"]["parameters_b"][model] * PER_B * costs.BYTES_PER_PARAMETER / costs.GB, 0.0
    )
    starting_h = weights_gb / known["load_gb_per_s_chip"] / S_PER_H
    money, held = np.zeros((3, len(found.menu))), _holds(twin)
    # Each half of an arm that is split moves half of the data, and starts by itself.
    halves = (found.pool, np.where(split, 0.5, 1.0)), (np.maximum(found.other, 0), np.where(split, 0.5, 0.0))
    for pool, share in halves:
        server = offered.servers[pool]
        province, runs_at = policy.recipients(twin).province, keys.runs_at[found.menu]
        begins = np.where(runs_at >= 0, province[runs_at], rules.source[keys.source[found.menu], server])
        there = begins != province[server]
        cold = ~held[model, twin.resolve("servers", "site")[server]] & (share > 0)
        money[0] += share * (each.cny[mode] + each.moved[mode] * cny_per_gb * there)
        money[1] += cold * (weights_gb * cny_per_gb + starting_h * offered.pools.cny.mean(axis=1)[pool])
        money[2] += share * ask.delay_cny_per_ms * rules.delay_us[keys.metro[found.menu], server] / US_PER_MS
    stays = _stays(offered, keys, found)
    moves = (keys.runs_at[found.menu] >= 0) & ~stays
    money[:2, stays] = 0.0
    for_job, for_chip = moving_cny(keys.kept_gb[found.menu], offered.pools.cny.mean(axis=1)[found.pool])
    money[1] += moves * for_job
    money[2] += moves * for_chip
    return {"cny_per_gb": money[0], "cny": money[1], "cny_per_chip": money[2]}


def _holds(twin: Twin) -> Array:
    """Whether the weights of each model lie at each site, because an instance runs there, shape (models, sites)."""
    held = np.zeros((len(twin["models"]), len(twin["sites"])), bool)
    server, model = (twin.resolve("endpoints", name) for name in ("server", "model"))
    site = policy.follow(twin, "servers", "site", server)
    known = (site >= 0) & (model >= 0)
    held[model[known], site[known]] = True
    return held


class _Routes:
    """Routes by where they begin (rows of sites) and end (positions among goals), each of them once."""

    def __init__(self) -> None:
        self._rows = dict[tuple[int, int], int]()

    def of(self, begins: Array, goals: Array) -> Array:
        """The route of each pair; none begins nowhere."""
        pairs, of = np.unique(np.stack([begins, goals]), axis=1, return_inverse=True)
        rows = [
            self._rows.setdefault((begin, goal), len(self._rows)) if begin >= 0 else NONE
            for begin, goal in pairs.T.tolist()
        ]
        return np.asarray(np.array(rows, np.int32).reshape(-1)[of.ravel()])

    @property
    def goals(self) -> Array:
        return np.array([goal for _, goal in self._rows], int)

    def laid(
        self, world: World, ask: Ask, network: Ways, legs: Array, menu: Array, most_gb: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Goals of routes, where the links of each begin, these as positions, and the rows of all links that count.

        A leg whose route has no limit left has none.
        """
        begins, goals = np.array(list(self._rows), int).reshape(-1, 2).T
        paths = [network.path(begin, goal) for begin, goal in self._rows]
        route = np.repeat(np.arange(len(paths)), [len(path) for path in paths])
        over = np.array([link for path in paths for link in path], int)
        full = _may_be_full(world, ask, begins[route], over, begins, legs["route"], menu, most_gb)
        route, over = route[full], over[full]
        links, at = np.unique(over, return_inverse=True)
        runs = np.searchsorted(route, np.arange(len(paths) + 1))
        bound = np.isfinite(world["sites"]["ingress_gbps"][network.to[goals]]) | (np.diff(runs) > 0)
        legs["route"] = (
            np.where(bound[legs["route"]] & (legs["route"] >= 0), legs["route"], NONE) if len(paths) else NONE
        )
        return goals, runs, at.ravel().astype(np.int32), links


def _may_be_full(
    world: World, ask: Ask, begin: Array, link: Array, begins: Array, route: Array, menu: Array, most_gb: Array
) -> Array:
    """Of each pair of a route's beginning and a link of it, whether that link could ever be full.

    A job moves its data from one beginning at a time, so over a link goes at most what all jobs move from beginnings
    whose routes take it. `begins` are those of all routes; `route` and `menu` are of legs.
    """
    known = route >= 0
    pairs = np.unique(np.stack([begins[route[known]], menu[known]]), axis=1)
    names, at = np.unique(pairs[0], return_inverse=True)
    from_there = np.bincount(at.ravel(), most_gb[pairs[1]], minlength=len(names))
    uses = np.unique(np.stack([begin, link]), axis=1)
    links, of = np.unique(uses[1], return_inverse=True)
    most = np.bincount(of.ravel(), from_there[np.searchsorted(names, uses[0])], minlength=len(links))
    left = gb_over(world, links, ask.hours).min(axis=1, initial=np.inf)
    return np.asarray((most > left)[np.searchsorted(links, link)])
