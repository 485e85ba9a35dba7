"""Where the traffic between sites goes, what each link then carries and what the users feel: a what-if for planners.

Routing is as an interior gateway protocol does it: shortest by a cost that is the delay in the plan, not the delay of
the moment; a drained link costs more than any way around it. So a link that has grown slow keeps its traffic until
someone drains it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from karez.twin import Table, World
from karez.twin.graph import bystanders
from karez.twin.table import Array, resolve

DRAINED_COST_US = 1e7


@dataclass(frozen=True)
class Ways:
    """Directed ways between sites: from, to (rows of `sites`), the link (row of `links`) and the cost in us."""

    start: Array
    end: Array
    link: Array
    cost_us: Array
    sites: int


@dataclass(frozen=True)
class Flows:
    """What the demands do: delay of each (us, inf where cut off), load of each link (Gbit/s, the busier way)."""

    oneway_us: Array
    load_gbps: Array


def ways(world: World, cost_us: Array, *, drained: Collection[str] = ()) -> Ways:
    """Every way that traffic may take; `cost_us` has a value for each link.

    `drained` names links that are taken to be so, whatever the twin says: the what-if.
    """
    links, sites = world["links"], len(world["sites"])
    a, b = world.intended.resolve("links", "a"), world.intended.resolve("links", "b")
    usable = (a >= 0) & (b >= 0) & (a < sites) & (b < sites) & links["up"]
    rows, states = observed(world)
    usable[rows[~states["up"]]] = False
    costly = links["drained"].copy()
    costly[links.rows(list(drained))] = True
    cost = cost_us + np.where(costly, DRAINED_COST_US, 0.0)
    rows = np.flatnonzero(usable)
    back = rows[links["direction"][rows] == b"both"]
    return Ways(
        start=np.r_[a[rows], b[back]],
        end=np.r_[b[rows], a[back]],
        link=np.r_[rows, back],
        cost_us=np.r_[cost[rows], cost[back]],
        sites=sites,
    )


def observed(world: World) -> tuple[Array, Table]:
    """The rows of `links` that have a state, and those states; states of links that are not intended are left out."""
    states = world["link_states"]
    rows = resolve(states.ids, (world["links"].columns["id"],))
    known = rows >= 0
    return (rows, states) if known.all() else (rows[known], states.take(known))


def flows(world: World, ways: Ways, felt_us: Array) -> Flows:
    """What each demand feels and each link carries when all demands take their cheapest way.

    `felt_us` has the delay that each link has now.
    """
    start, goal = world.intended.resolve("demands", "a"), world.intended.resolve("demands", "b")
    kept = _cheapest(ways)
    keys = ways.start[kept] * ways.sites + ways.end[kept]
    goals, column = np.unique(goal, return_inverse=True)
    cost, tree = _trees(ways, kept, goals, np.union1d(start, goals))
    oneway_us = np.where(np.isinf(cost[column, tree.number[start]]), np.inf, 0.0)
    carried = np.zeros(len(ways.link))
    here = start.copy()
    walking = np.flatnonzero(np.isfinite(oneway_us) & (start != goal))
    while len(walking):
        ahead = tree.sites[tree.after[column[walking], tree.number[here[walking]]]]
        way = kept[np.searchsorted(keys, here[walking] * ways.sites + ahead)]
        oneway_us[walking] += felt_us[ways.link[way]]
        np.add.at(carried, way, world["demands"]["gbps"][walking])
        here[walking] = ahead
        walking = walking[ahead != goal[walking]]
    load = np.zeros(len(felt_us))
    np.maximum.at(load, ways.link, carried)
    return Flows(oneway_us=oneway_us, load_gbps=load)


class _Trees(NamedTuple):
    """Of the sites that matter: rows, the number of each row among them (-1: none), and the next one to each goal."""

    sites: Array
    number: Array
    after: Array


def _trees(ways: Ways, kept: Array, goals: Array, ends: Array) -> tuple[Array, _Trees]:
    """The cost from each site that a way between `ends` may need to each goal, and the ways that have it."""
    start, end = ways.start[kept], ways.end[kept]
    sites = np.flatnonzero(~bystanders(start, end, ends, ways.sites))
    number = np.full(ways.sites, -1)
    number[sites] = np.arange(len(sites))
    needed = (number[start] >= 0) & (number[end] >= 0)
    cells = (number[end[needed]], number[start[needed]])
    matrix = csr_array((ways.cost_us[kept[needed]], cells), shape=(len(sites), len(sites)))
    cost, after = dijkstra(matrix, indices=number[goals], return_predecessors=True)
    return cost, _Trees(sites, number, after)


def _cheapest(ways: Ways) -> Array:
    """Of parallel ways the cheapest one each (their numbers, in the order of start and end)."""
    order = np.lexsort((ways.link, ways.cost_us, ways.end, ways.start))
    pair = ways.start[order] * ways.sites + ways.end[order]
    cheapest: Array = order[np.diff(pair, prepend=-1) != 0]
    return cheapest
