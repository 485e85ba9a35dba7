"""Faults drawn at random: one of a kind, at something that the network has and that users or telemetry would feel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from karez.adapters.embedded.faults import FAULTS, FOREVER_S, Fault, Kind
from karez.adapters.embedded.planned import planned_gbps
from karez.adapters.embedded.traffic import SMALL_QUEUE_FROM_SHARE
from karez.twin import World
from karez.twin.table import Array

# A queue that is too small is felt on a way that is fuller than where it begins to drop, by this.
FULLER = 1.25


def drawn(world: World, kind: str, random: np.random.Generator, at_s: float) -> Fault | None:
    """A fault of the kind that begins at `at_s`; None where the network has nothing to do it to.

    Raises:
        KeyError: there is no such kind.
    """
    what = FAULTS[kind]
    found = SUBJECTS.get(kind, SUBJECTS[what.about])(world, what, random)
    if found is None:
        return None
    subject, goal, way = found
    return Fault(
        kind,
        subject,
        at_s,
        FOREVER_S if what.lasts_s is None else at_s + _even(random, what.lasts_s),
        size_us=_even(random, what.us),
        size_share=_even(random, what.share),
        size_db=_even(random, what.db),
        size_s=_even(random, what.s),
        way="ab" if (random.random() < 0.5 if way < 0 else way == 0) else "ba",
        goal=goal,
    )


def has(world: World, kind: str) -> bool:
    """Whether the network has any program or section of the sort that a kind of fault is about."""
    what = FAULTS[kind]
    programs, sections = world["daemons"]["kind"], world["configs"]["section"]
    return bool(
        (not what.program or np.any(programs == what.program.encode()))
        and (not what.section or np.any(sections == what.section.encode()))
    )


# A subject, the site that traffic is lost to where the kind has one, and the way (-1: either).
Found = tuple[str, str, int] | None


def _even(random: np.random.Generator, between: tuple[float, float] | None) -> float:
    return float(random.uniform(*between)) if between else 0.0


def _one(random: np.random.Generator, ids: Array, goal: str = "") -> Found:
    return (str(random.choice(ids).decode()), goal, -1) if len(ids) else None


def _link(world: World, what: Kind, random: np.random.Generator) -> Found:
    """A link with a state that is up and joins two sites."""
    links = world["links"]
    at = links.rows(world["link_states"].ids)
    sites = len(world["sites"])
    ends = np.stack([world.intended.resolve("links", end)[at] for end in ("a", "b")])
    good = links["up"][at] & ((ends >= 0) & (ends < sites)).all(axis=0)
    return _one(random, links.ids[at[good]])


def _duct(world: World, what: Kind, random: np.random.Generator) -> Found:
    """A duct that several links with a state lie in: to lose one alone is to lose the link."""
    support = world["link_support"]
    used = support["duct"][np.isin(support["link"], world["link_states"].ids) & (support["duct"] != b"")]
    ducts, count = np.unique(used, return_counts=True)
    return _one(random, ducts[count > 1])


def _router(world: World, what: Kind, random: np.random.Generator) -> Found:
    """A router with a state, the first of its site; and a site that traffic from there goes to."""
    devices = world["equipment"]
    routers = devices.take((devices["kind"] == b"router") & np.isin(devices.ids, world["equipment_states"].ids))
    _, first = np.unique(routers["site"], return_index=True)
    ids, sites = routers.ids[first], routers["site"][first]
    goal = dict(zip(*_ends(world), strict=True))
    good = np.isin(sites, list(goal)) if goal else np.zeros(len(sites), bool)
    found = _one(random, ids[good])
    return found and (found[0], goal[sites[ids == found[0].encode()][0]].decode(), -1)


def _site(world: World, what: Kind, random: np.random.Generator) -> Found:
    """A site that traffic goes to, where a device stands."""
    devices = world["equipment"]
    standing = devices["site"][np.isin(devices.ids, world["equipment_states"].ids) & (devices["kind"] == b"router")]
    return _one(random, np.intersect1d(standing, world["demands"]["b"]))


def _daemon(world: World, what: Kind, random: np.random.Generator) -> Found:
    programs = world["daemons"]
    good = (programs["kind"] == what.program.encode()) & np.isin(programs.ids, world["daemon_states"].ids)
    if what.program == "bgp":
        good &= np.isin(_sites_of(world, programs["equipment"]), _ends(world)[0])
    return _one(random, programs.ids[good])


def _config(world: World, what: Kind, random: np.random.Generator) -> Found:
    """A section of the kind; of those about traffic at a site, one where traffic enters, or where some ends."""
    configs = world["configs"]
    good = (configs["section"] == what.section.encode()) & np.isin(configs.ids, world["config_states"].ids)
    sites = _sites_of(world, configs["equipment"])
    goal = dict(zip(*_ends(world), strict=True))
    if what.section in ("filter", "policer", "static"):
        good &= np.isin(sites, list(goal)) if goal else False
    if what.section == "bgp":
        good &= np.isin(sites, _ends(world)[1])
    found = _one(random, configs.ids[good])
    if found is None or what.section != "static":
        return found
    return found[0], goal[sites[configs.ids == found[0].encode()][0]].decode(), -1


def _demand(world: World, what: Kind, random: np.random.Generator) -> Found:
    demands = world["demands"]
    return _one(random, demands.ids[demands["a"] != demands["b"]])


def _nothing(world: World, what: Kind, random: np.random.Generator) -> Found:
    return "", "", -1


def _full_way(world: World, what: Kind, random: np.random.Generator) -> Found:
    """A way that is so full that a queue which is too small drops."""
    links, states = world["links"], world["link_states"]
    capacity = links["capacity_gbps"][links.rows(states.ids)]
    full = planned_gbps(world) > FULLER * SMALL_QUEUE_FROM_SHARE * capacity[:, None]
    if not full.any():
        return None
    link, way = np.argwhere(full)[random.integers(np.count_nonzero(full))].tolist()
    return states.ids[link].decode(), "", way


def _ends(world: World) -> tuple[list[bytes], list[bytes]]:
    """The sites at which traffic enters, and for each where some of it goes."""
    demands = world["demands"]
    other = np.flatnonzero(demands["a"] != demands["b"])
    return demands["a"][other].tolist(), demands["b"][other].tolist()


def _sites_of(world: World, devices: Array) -> Array:
    table = world["equipment"]
    return np.asarray(table["site"][table.rows(devices)])


SUBJECTS: dict[str, Callable[[World, Kind, np.random.Generator], Found]] = {
    "link": _link,
    "duct": _duct,
    "router": _router,
    "site": _site,
    "daemon": _daemon,
    "config": _config,
    "demand": _demand,
    "any": _link,
    "nothing": _nothing,
    "queue_small": _full_way,
}
