"""Where the traffic between sites goes, what each link then carries and what the users feel: a what-if for planners.

Routing is as OSPF does it (RFC 2328): shortest by cost, evenly over ways of equal cost, within an area before the
backbone. The cost of a link is that set by hand, or its planned delay: a link that has grown slow keeps its traffic
until someone drains it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from karez.measure import spread
from karez.measure.delay import link_oneway_us
from karez.twin import Twin, World
from karez.twin.graph import bystanders
from karez.twin.memo import made_of
from karez.twin.table import Array

# The cost of a drained link or router, and the delay that one unit of cost stands for (us).
DRAINED_COST, COST_US = 65_535, 10.0
# Service time that one unit of queue adds (us), and the utilisation at which it is taken to stop growing.
QUEUE_US, FULLEST_SHARE = 5.0, 0.98
# Of each plant, where traffic goes in so many cases is kept.
KEPT = 24


@dataclass(frozen=True, eq=False)
class Plant:
    """What routing may use, as intended: directed ways between the sites that traffic between ends may need.

    `sites` are their rows, `number` the place of each row of `sites` among them (-1: none). Ways are ordered by their
    heads, so those into a site lie together (`into`); `ways_out` lists them by tails (`outof`). `back` is 1 where a
    way leads from end b to a. `planned_us` is of links, and
    `derived_cost` what ways cost where nobody set it.
    """

    sites: Array
    number: Array
    tail: Array
    head: Array
    link: Array
    back: Array
    area: Array
    backbone: int
    member: Array
    into: Array
    outof: Array
    ways_out: Array
    planned_us: Array
    derived_cost: Array

    @property
    def widest(self) -> int:
        """The most ways that leave one site."""
        return int(np.diff(self.outof).max(initial=1))


@dataclass(frozen=True)
class Case:
    """What is so, or would be: a value for each link, site or demand (rows of their tables).

    `lost_share` and `extra_us` are of ways (a row a link; columns: from a to b, and back); `site_lost_share` and
    `site_extra_us` of sites. `hole` names a site that lets nothing through to another, or (-1, -1).
    """

    up: Array
    cost: Array
    drained: Array
    site_drained: Array
    capacity_gbps: Array
    lost_share: Array
    extra_us: Array
    site_lost_share: Array
    site_extra_us: Array
    via: Array
    limited_share: Array
    offered_gbps: Array
    background_gbps: Array
    hole: tuple[int, int] = (-1, -1)


@dataclass(frozen=True)
class Flows:
    """What the demands do: delay of each (us, inf where cut off), share that arrives, load of each link (Gbit/s).

    The load of a link is that of its busier way. `used_share` is of links: load over capacity.
    """

    oneway_us: Array
    delivered_share: Array
    load_gbps: Array
    used_share: Array


class Legs(NamedTuple):
    """The ways of demands from point to point, over what they are led: whose, from where, and to which goal."""

    demand: Array
    start: Array
    goal: Array
    goals: Array


class Crossing(NamedTuple):
    """Which share of which demand passes a link (`back`: from its end b to a), and which passes a site; rows all."""

    demand: Array
    link: Array
    back: Array
    share: Array
    site_demand: Array
    site: Array
    site_share: Array


_ROUTED: WeakKeyDictionary[Plant, OrderedDict[tuple[bytes, ...], Routed]] = WeakKeyDictionary()


def flows(world: World, case: Case | None = None) -> Flows:
    """What each demand feels and each link carries when all demands go as routing has it."""
    return routes(world, case or case_of(world)).flows()


@dataclass(frozen=True, eq=False)
class Routed:
    """Where traffic goes: its legs, the trees to all goals, what each way carries, and the sites that anything passes.

    It is made once for all cases that route alike, so that what follows from it can be kept with it.
    """

    legs: Legs
    graph: spread.Graph
    carried_gbps: Array
    passed: Array
    starts: Array


@dataclass(frozen=True)
class Routes:
    """The routes of one case."""

    plant: Plant
    case: Case
    routed: Routed

    def load_gbps(self) -> Array:
        """What each link carries in its busier direction, with what is there besides the demands."""
        load = np.zeros(len(self.case.up))
        np.maximum.at(load, self.plant.link, self.routed.carried_gbps)
        load += self.case.background_gbps
        return load

    def flows(self) -> Flows:
        """What all demands do."""
        case, legs = self.case, self.routed.legs
        load = self.load_gbps()
        with np.errstate(divide="ignore", invalid="ignore"):
            used = np.nan_to_num(load / case.capacity_gbps, nan=0.0, posinf=1e9)
        share, felt = self._felt()
        delivered, oneway = np.ones(len(case.via)), np.zeros(len(case.via))
        np.multiply.at(delivered, legs.demand, share[legs.goal, legs.start])
        np.add.at(oneway, legs.demand, felt[legs.goal, legs.start])
        delivered[np.isinf(oneway)] = 0.0
        return Flows(oneway, delivered * case.limited_share, load, used)

    def _felt(self) -> tuple[Array, Array]:
        """The share that arrives and the delay, from each site that traffic passes to each goal."""
        case, plant, routed, goals = self.case, self.plant, self.routed, self.routed.legs.goals
        back, link = plant.back, plant.link
        used = (routed.carried_gbps + case.background_gbps[link]) / np.maximum(case.capacity_gbps[link], 1e-9)
        full = np.minimum(used, FULLEST_SHARE)
        kept = (1 - case.lost_share[link, back]) / np.maximum(used, 1.0)
        delay = plant.planned_us[link] + case.extra_us[link, back] + QUEUE_US * full / (1 - full)
        shape = (len(goals), len(plant.sites))
        share, felt = np.zeros(shape), np.full(shape, np.inf)
        hole = np.full(len(goals), -1)
        if case.hole[0] >= 0:
            hole[goals == plant.number[case.hole[1]]] = plant.number[case.hole[0]]
        held, slow = 1 - case.site_lost_share[plant.sites], case.site_extra_us[plant.sites]
        spread.feel(routed.graph, routed.passed, routed.starts, kept, delay, held, slow, hole, share, felt)
        return share, felt

    def crossing(self) -> Crossing:
        """What share of each demand passes where."""
        plant, legs = self.plant, self.routed.legs
        ways, vertices = spread.shares(self.routed.graph, legs.goal, legs.start)
        way = ways[:, 1].astype(np.int64)
        return Crossing(
            demand=legs.demand[ways[:, 0].astype(np.int64)],
            link=plant.link[way],
            back=plant.back[way],
            share=ways[:, 2],
            site_demand=legs.demand[vertices[:, 0].astype(np.int64)],
            site=plant.sites[vertices[:, 1].astype(np.int64)],
            site_share=vertices[:, 2],
        )


def plant_of(world: World) -> Plant:
    """What routing may use in the network that is intended."""
    return _plant(world.intended)


@made_of("links", "sites", "demands")
def _plant(intended: Twin) -> Plant:
    links, sites = intended["links"], len(intended["sites"])
    a, b = intended.resolve("links", "a"), intended.resolve("links", "b")
    rows = np.flatnonzero((a >= 0) & (b >= 0) & (a < sites) & (b < sites))
    back_rows = rows[links["direction"][rows] == b"both"]
    tail, head = np.concatenate([a[rows], b[back_rows]]), np.concatenate([b[rows], a[back_rows]])
    link = np.concatenate([rows, back_rows])
    back = np.repeat([0, 1], [len(rows), len(back_rows)])
    ends = np.concatenate([intended.resolve("demands", column) for column in ("a", "b", "via")])
    needed = ~bystanders(tail, head, ends[ends >= 0], sites)
    number = np.full(sites, -1)
    number[needed] = np.arange(int(needed.sum()))
    inner = needed[tail] & needed[head]
    tail, head, link, back = number[tail[inner]], number[head[inner]], link[inner], back[inner]
    order = np.lexsort((link, tail, head))
    tail, head, link, back = tail[order], head[order], link[order], back[order]
    names, area = np.unique(np.append(links["area"][link], 0), return_inverse=True)
    count = int(needed.sum())
    member = np.zeros((count, len(names)), bool)
    member[tail, area[:-1]] = member[head, area[:-1]] = True
    ways_out = np.argsort(tail, kind="stable")
    planned_us = link_oneway_us(intended, figures="typical")
    return Plant(
        sites=np.flatnonzero(needed),
        number=number,
        tail=tail,
        head=head,
        link=link,
        back=back,
        area=area[:-1],
        backbone=int(area[-1]),
        member=member,
        into=_starts(head, count),
        outof=_starts(tail, count),
        ways_out=ways_out,
        planned_us=planned_us,
        derived_cost=np.maximum(1, np.rint(planned_us[link] / COST_US)).astype(np.int64),
    )


def case_of(world: World) -> Case:
    """What is so now: as observed where it was, as intended elsewhere, with nothing lost and no delay added."""
    links, sites, demands = world["links"], world["sites"], world["demands"]
    rows, states = world.observed("links")
    told, up = np.isfinite(states["capacity_gbps"]), meant_up(world)
    via, limited = _led(world)
    return Case(
        up=_overlaid(up, rows, up[rows] & states["up"]),
        cost=_overlaid(links["cost"], rows, states["cost"]),
        drained=_overlaid(links["drained"], rows, states["drained"]),
        site_drained=_drained_sites(world),
        capacity_gbps=_overlaid(links["capacity_gbps"], rows[told], states["capacity_gbps"][told]),
        lost_share=np.zeros((len(links), 2)),
        extra_us=np.zeros((len(links), 2)),
        site_lost_share=np.zeros(len(sites)),
        site_extra_us=np.zeros(len(sites)),
        via=via,
        limited_share=limited,
        offered_gbps=demands["gbps"],
        background_gbps=np.zeros(len(links)),
    )


def meant_up(world: World) -> Array:
    """Which links are meant to be up, and are there: where links tell their speed, one that never did is believed not.

    A link that tells nothing while others do may stand in the plans alone.
    """
    up = world["links"]["up"]
    rows, states = world.observed("links")
    told = np.isfinite(states["capacity_gbps"])
    if told.all() or not told.any():
        return up
    there: Array = up.copy()
    there[rows[~told]] = False
    return there


def _overlaid(meant: Array, rows: Array, seen: Array) -> Array:
    """What is meant, with what was seen at some rows; where both are the same, no copy is made."""
    if (meant[rows] == seen).all():
        return meant
    found = meant.copy()
    found[rows] = seen
    return found


def legs_of(world: World, plant: Plant, case: Case) -> Legs:
    """The demands as legs: two where a demand is led over a site."""
    start, end = (plant.number[world.intended.resolve("demands", column)] for column in ("a", "b"))
    led = np.flatnonzero(case.via >= 0)
    over = plant.number[case.via[led]]
    demand = np.concatenate([np.arange(len(start)), led])
    first = end.copy()
    first[led] = over
    goals, goal = np.unique(np.concatenate([first, end[led]]), return_inverse=True)
    return Legs(demand, np.concatenate([start, over]), goal, goals)


def routes(world: World, case: Case) -> Routes:
    """The routes of a case; of the cases asked for last, where traffic goes is kept."""
    plant = plant_of(world)
    known = _ROUTED.setdefault(plant, OrderedDict())
    key = _route_key(case)
    if key not in known:
        known[key] = _routed(plant, case, legs_of(world, plant, case))
        if len(known) > KEPT:
            known.popitem(last=False)
    return Routes(plant, case, known[key])


def _route_key(case: Case) -> tuple[bytes, ...]:
    """What tells apart cases whose traffic goes elsewhere."""
    set_by_hand = np.flatnonzero(case.cost)
    rows = (np.flatnonzero(~case.up), np.flatnonzero(case.drained), np.flatnonzero(case.site_drained), set_by_hand)
    values = (case.cost[set_by_hand], case.via, case.limited_share, case.offered_gbps)
    return tuple(array.tobytes() for array in (*rows, *values))


def _routed(plant: Plant, case: Case, legs: Legs) -> Routed:
    graph = _graph(plant, case, legs.goals)
    entering = np.zeros((len(legs.goals), len(plant.sites)))
    np.add.at(entering, (legs.goal, legs.start), (case.offered_gbps * case.limited_share)[legs.demand])
    carried = np.zeros(len(plant.link))
    passed, starts = spread.load(graph, entering, carried)
    return Routed(legs, graph, carried, passed, starts)


def _graph(plant: Plant, case: Case, goals: Array) -> spread.Graph:
    cost = way_cost(plant, case)
    shape = (len(goals), len(plant.sites))
    label, by_area = np.full(shape, spread.FAR), np.full(shape, -1)
    order, counts = np.zeros(shape, np.int64), np.zeros(len(goals), np.int64)
    ways = (plant.into, plant.tail, cost, plant.area, plant.member, plant.backbone)
    spread.trees(goals, *ways, label, by_area, order, counts)
    out = (plant.outof, plant.ways_out, plant.head, cost, plant.area)
    return spread.Graph(*out, label, by_area, order, counts, plant.widest)


def way_cost(plant: Plant, case: Case) -> Array:
    """The cost of each way; -1 where there is none."""
    cost = plant.derived_cost.copy()
    by_hand = np.flatnonzero((case.cost > 0) | case.drained)
    if len(by_hand):
        of_link = np.zeros(len(case.cost), np.int64)
        of_link[by_hand] = np.where(case.drained[by_hand], DRAINED_COST, case.cost[by_hand])
        cost = np.where(of_link[plant.link] > 0, of_link[plant.link], cost)
    if case.site_drained.any():
        drained = case.site_drained[plant.sites]
        cost[drained[plant.tail] | drained[plant.head]] = DRAINED_COST
    if not case.up.all():
        cost[~case.up[plant.link]] = -1
    return cost


def _led(world: World) -> tuple[Array, Array]:
    """The site that each demand is led over (a row; -1: none), and the share of it that is let in."""
    demands = world["demands"]
    via, limited = world.intended.resolve("demands", "via").copy(), demands["limited_share"].copy()
    rows, states = world.observed("demands")
    via[rows] = states.columns["via"].resolve((world["sites"].columns["id"],))
    limited[rows] = states["limited_share"]
    return via, limited


def _drained_sites(world: World) -> Array:
    """The sites whose router is drained (a bool each)."""
    devices = world["equipment"]
    drained = devices["drained"].copy()
    rows, states = world.observed("equipment")
    drained[rows] = states["drained"]
    found = np.zeros(len(world["sites"]), bool)
    found[world.intended.resolve("equipment", "site")[drained]] = True
    return found


def _starts(of: Array, count: int) -> Array:
    return np.concatenate([[0], np.cumsum(np.bincount(of, minlength=count))])
