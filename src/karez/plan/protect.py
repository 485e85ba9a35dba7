"""Ways round every single cut, kept ready in the routers, as a plan: nothing waits for routing when a link goes dark.

Failures are each link alone, and each duct with all links in it. What each router is to keep is written into one cell
of the twin, so the plan is undone as it was done, and what a router shows can be compared with what was meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np

from karez.errors import InputError
from karez.measure.backups import NONE, Backups, Coverage, backups, coverage
from karez.measure.delay import link_oneway_us
from karez.measure.routes import COST_US, DRAINED_COST, meant_up
from karez.plan.plan import Action, Cell, Plan, Proof
from karez.plan.reads import Read
from karez.twin import World
from karez.twin.stands import routers_at
from karez.twin.table import Array, strings

PLANNER = "protect"
# How long a plan may be carried out (s): what it rests on is read again then.
GOOD_S = 86_400.0


class Way(msgspec.Struct, frozen=True, array_like=True, order=True):
    """What a router keeps ready: to the router `goal`, the first of `links` that has light.

    It is for packets that came in by the link `over`; where that is empty, for all that no next hop has light for.
    """

    goal: str
    over: str
    links: tuple[str, ...]


def written(ways: Iterable[Way]) -> str:
    """Ways as the cell of a router says them; empty where there are none."""
    listed = sorted(ways)
    return msgspec.json.encode(listed).decode() if listed else ""


def read(said: str) -> tuple[Way, ...]:
    """The ways that a cell says.

    Raises:
        InputError: it says none.
    """
    try:
        return msgspec.json.decode(said, type=tuple[Way, ...]) if said else ()
    except msgspec.MsgspecError as error:
        raise InputError.of("backups", f"is no list of ways ({error})", "make the plan anew") from error


class Protected(NamedTuple):
    """The plan; and what becomes of traffic in each failure (link or duct) before routing has heard of it."""

    plan: Plan
    failures: tuple[str, ...]
    coverage: Coverage


class _Routing(NamedTuple):
    """Routers by name, the links between them (rows of the links table), and what each costs."""

    routers: list[str]
    links: Array
    names: tuple[str, ...]
    ends: Array
    cost: Array


def protect(world: World, *, at_s: float) -> Protected:
    """The plan that has every router keep ways ready; routers for which nothing changes are left out.

    Raises:
        InputError: a site that links lead to has no router, there are several areas, or routing is not as intended.
    """
    net = _routing(world)
    names, dark = _failures(world, net)
    kept = backups(len(net.routers), net.ends, net.cost, dark)
    seen = coverage(len(net.routers), net.ends, net.cost, dark, kept)
    wanted = {router: written(ways) for router, ways in _ways(net, kept).items()}
    devices = world["equipment"]
    actions = tuple(
        Action(
            kind="set_backups",
            subject=router,
            sets=(Cell("equipment", router, "backups", str(devices.cell(router, "backups")), after),),
            blast_radius=(router,),
            expires_at_s=at_s + GOOD_S,
        )
        for router, after in wanted.items()
        if after != devices.cell(router, "backups")
    )
    plan = Plan(
        planner=PLANNER,
        question={},
        revision=world.intended.digest,
        made_at_s=at_s,
        reads=tuple(_reads(world, net)),
        actions=actions,
        price_cny=0.0,
        proof=Proof(
            value=float((seen.pairs - seen.at_once).sum()),
            bound=0.0,
            unit="pairs cut off until routing has settled",
            how="every failure played through, for all pairs and all ways of equal cost",
        ),
        summary=f"{len(kept.router):,} ways kept ready in {len(net.routers):,} routers against {len(names):,} failures",
    )
    return Protected(plan, names, seen)


def _routing(world: World) -> _Routing:
    links = world["links"]
    rows = np.sort(links.rows(world["link_states"].ids))
    sites = np.stack([world.intended.resolve("links", end)[rows] for end in ("a", "b")], axis=1)
    used, place = np.unique(sites, return_inverse=True)
    if len(np.unique(links["area"][rows])) > 1:
        fix = "protect each area as a network of its own"
        raise InputError.of("links", "several areas route otherwise than by the least cost", fix)
    _require_as_meant(world, rows)
    drained, by_hand = links["drained"][rows], links["cost"][rows]
    derived = np.maximum(1, np.rint(link_oneway_us(world.intended, figures="typical")[rows] / COST_US))
    cost = np.where(drained, DRAINED_COST, np.where(by_hand > 0, by_hand, np.minimum(derived, DRAINED_COST - 1)))
    return _Routing(
        routers=_routers(world, used),
        links=rows,
        names=strings(links.ids[rows]),
        ends=place.reshape(sites.shape),
        cost=np.where(meant_up(world)[rows], cost, 0).astype(np.int64),
    )


def _require_as_meant(world: World, rows: Array) -> None:
    """Return only if routing does what is intended: what is planned rests on it.

    Raises:
        InputError: links are up, cost or are drained otherwise, or traffic is kept off a router.
    """
    links, states = world["links"], world["link_states"]
    at = states.rows(links.ids[rows])
    other = np.zeros(len(rows), bool)
    for column in ("up", "cost", "drained"):
        other |= states[column][at] != links[column][rows]
    fix = "mend them, or wait until they are mended"
    if other.any():
        some = ", ".join(strings(links.ids[rows[other]])[:3])
        raise InputError.of("links", f"{int(other.sum())} are not as they should be now ({some})", fix)
    for name in ("equipment", "equipment_states"):
        away = world[name]["drained"]
        if away.any():
            some = ", ".join(strings(world[name].ids[away])[:3])
            raise InputError.of("equipment", f"traffic is kept off {some}", fix)


def _routers(world: World, used: Array) -> list[str]:
    """The router at each of these sites.

    Raises:
        InputError: some have none.
    """
    found = routers_at(world.intended, used)
    lacking = [site for site, router in zip(used.tolist(), found, strict=True) if not router]
    if lacking:
        some = ", ".join(strings(world["sites"].ids[lacking[:3]]))
        raise InputError.of("equipment", f"no router stands at {some}", "add one to each site that links lead to")
    return found


def _failures(world: World, net: _Routing) -> tuple[tuple[str, ...], list[Array]]:
    """What may fail, by name, and the links that go dark with it: each link, and each duct that several lie in."""
    support = world["link_support"]
    place = {name: row for row, name in enumerate(net.names)}
    inside: dict[str, set[int]] = {}
    for duct, link in zip(strings(support["duct"]), strings(support["link"]), strict=True):
        if duct and link in place:
            inside.setdefault(duct, set()).add(place[link])
    ducts = {duct: rows for duct, rows in sorted(inside.items()) if len(rows) > 1}
    dark = [np.array([row]) for row in range(len(net.names))] + [np.array(sorted(rows)) for rows in ducts.values()]
    return (*net.names, *ducts), dark


def _ways(net: _Routing, kept: Backups) -> dict[str, list[Way]]:
    """What each router keeps, in the order of routers."""
    found: dict[str, list[Way]] = {router: [] for router in net.routers}
    grouped: dict[tuple[int, int, int], list[str]] = {}
    order = np.argsort(kept.rank, kind="stable")
    for row in order.tolist():
        key = int(kept.router[row]), int(kept.goal[row]), int(kept.over[row])
        grouped.setdefault(key, []).append(net.names[int(kept.link[row])])
    for (router, goal, over), links in grouped.items():
        came = "" if over == NONE else net.names[over]
        found[net.routers[router]].append(Way(net.routers[goal], came, tuple(links)))
    return found


def _reads(world: World, net: _Routing) -> Iterable[Read]:
    """What routing rests on: which links are up, and what they cost."""
    states = world["link_states"]
    for name in net.names:
        for column in ("up", "cost", "drained"):
            yield Read("link_states", name, column, "==", states.cell(name, column))
    for router in net.routers:
        if world["equipment_states"].has(router):
            yield Read("equipment_states", router, "drained", "==", False)
