"""What a world intends, as arrays that never change: links and their two ways, sites, devices, demands.

Link `l` has the ways `2 l` (from its end a to b) and `2 l + 1` (back), and the interfaces `2 l` (at a) and `2 l + 1`
(at b): the first way is sent at the first interface and received at the second. Vertices are the sites that traffic
can pass; of large networks those that no way between two demands needs are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from karez.twin import World
from karez.twin.graph import bystanders
from karez.twin.table import Array, strings, texts

# Delay of light in fibre, and of a hop by the kind of its link (us).
FIBRE_US_PER_KM = 4.9
HOP_US = {b"access": 20.0, b"aggregation": 20.0, b"core": 50.0, b"backbone": 50.0}
# Costs in routing: what a link costs where nobody set it, per delay, and where traffic is kept off it.
US_PER_COST = 10.0
MOST_COST = 65_535
# Up to so many sites each is a vertex.
SMALL_SITES = 1_000
# Devices without which a site's links are dark.
CARRYING = (b"router", b"otn", b"oxc")


@dataclass(frozen=True)
class Links:
    """Links with a state: ends as rows of sites (-1: none), and what was planned for each."""

    ids: Array
    ends: Array
    both: Array
    base_us: Array
    capacity_gbps: Array
    meant_up: Array
    drained: Array
    cost: Array
    area: Array

    @property
    def derived_cost(self) -> Array:
        """What each link costs where nobody set a cost (int64)."""
        return np.maximum(1, np.rint(self.base_us / US_PER_COST)).astype(np.int64)


@dataclass(frozen=True)
class Sites:
    """Sites by row: `vertex` is the number of each in routing (-1: none), `router` the row of its device (-1: none)."""

    ids: Array
    vertex: Array
    router: Array

    @property
    def vertices(self) -> int:
        """How many sites take part in routing."""
        return int(np.count_nonzero(self.vertex >= 0))


@dataclass(frozen=True)
class Devices:
    """Devices with a state: the row of the site of each, whether it routes, whether links need it."""

    ids: Array
    site: Array
    routes: Array
    carries: Array
    boots: Array
    drained: Array


@dataclass(frozen=True)
class Programs:
    """Programs with a state: the row of the device of each (-1: none), and its kind."""

    ids: Array
    device: Array
    kind: Array
    restarts: Array


@dataclass(frozen=True)
class Sections:
    """Sections of configuration with a state: device and link of each (-1: none), and what it should say."""

    ids: Array
    device: Array
    link: Array
    section: Array
    value: tuple[str, ...]
    restores: Array


@dataclass(frozen=True)
class Demands:
    """Demands: vertices of their ends (-1: none), and what each offers on average."""

    ids: Array
    start: Array
    goal: Array
    via: Array
    gbps: Array
    protected: Array
    limited_share: Array


@dataclass(frozen=True)
class Plant:
    """All of it; `tail` and `head` are the vertices that each way leads between (-1: no way)."""

    links: Links
    sites: Sites
    devices: Devices
    programs: Programs
    sections: Sections
    demands: Demands
    tail: Array
    head: Array
    duct_links: dict[str, tuple[int, ...]]

    def links_at(self, site: int) -> Array:
        """The rows of the links that end at a site."""
        return np.flatnonzero((self.links.ends == site).any(axis=1))

    def site_of(self, device: int) -> int:
        """The row of the site that a device stands at."""
        return int(self.devices.site[device])


def plant(world: World) -> Plant:
    """The arrays of a world."""
    links, devices = _links(world), _devices(world)
    sites = _sites(world, links, devices)
    vertex = np.append(sites.vertex, -1)
    ends = vertex[links.ends]
    back = np.where(links.both[:, None], ends[:, ::-1], -1)
    ways = np.stack([ends, back], axis=1)
    ways[(ways < 0).any(axis=2)] = -1
    return Plant(
        links=links,
        sites=sites,
        devices=devices,
        programs=_programs(world, devices),
        sections=_sections(world, links, devices),
        demands=_demands(world, vertex),
        tail=np.ascontiguousarray(ways[:, :, 0].ravel(), np.int32),
        head=np.ascontiguousarray(ways[:, :, 1].ravel(), np.int32),
        duct_links=_duct_links(world, links),
    )


def row(ids: Array, name: str) -> int:
    """The position of a name among sorted ids; -1 where it is not."""
    found = int(np.searchsorted(ids, name.encode())) if len(ids) else 0
    return found if found < len(ids) and ids[found] == name.encode() else -1


def rows(ids: Array, names: Array) -> Array:
    """The position of each name among sorted ids; -1 where it is not."""
    if not len(ids):
        return np.full(len(names), -1)
    found = np.minimum(np.searchsorted(ids, names), len(ids) - 1)
    return np.where(ids[found] == names, found, -1)


def named(ids: Array, *endings: str) -> Array:
    """Each id with each ending, one after the other (S)."""
    return texts(f"{name.decode()}{ending}" for name in ids.tolist() for ending in endings)


def _links(world: World) -> Links:
    table, ids = world["links"], world["link_states"].ids
    at, count = table.rows(ids), len(world["sites"])
    ends = np.stack([world.intended.resolve("links", end)[at] for end in ("a", "b")], axis=1)
    hop = np.array([HOP_US[kind] for kind in table["kind"][at].tolist()])
    return Links(
        ids=ids,
        ends=np.where(ends < count, ends, -1),
        both=table["direction"][at] == b"both",
        base_us=FIBRE_US_PER_KM * table["length_km"][at] + hop,
        capacity_gbps=table["capacity_gbps"][at],
        meant_up=table["up"][at],
        drained=table["drained"][at],
        cost=table["cost"][at].astype(np.int64),
        area=table["area"][at].astype(np.int64),
    )


def _devices(world: World) -> Devices:
    table, states = world["equipment"], world["equipment_states"]
    at = table.rows(states.ids)
    kind = table["kind"][at]
    return Devices(
        ids=states.ids,
        site=world.intended.resolve("equipment", "site")[at],
        routes=kind == b"router",
        carries=np.isin(kind, CARRYING),
        boots=states["boots"],
        drained=table["drained"][at],
    )


def _sites(world: World, links: Links, devices: Devices) -> Sites:
    ids = world["sites"].ids
    router = np.full(len(ids), -1)
    for device in np.flatnonzero(devices.routes & (devices.site >= 0))[::-1].tolist():
        router[devices.site[device]] = device
    return Sites(ids=ids, vertex=_vertices(world, links, len(ids)), router=router)


def _vertices(world: World, links: Links, count: int) -> Array:
    """The number of each site in routing; -1 for those of a large network that no demand's way needs."""
    if count <= SMALL_SITES:
        return np.arange(count)
    good = links.meant_up & (links.ends >= 0).all(axis=1)
    tail, head = links.ends[good].T
    ends = np.concatenate([world.intended.resolve("demands", end) for end in ("a", "b")])
    needed = ~bystanders(tail, head, ends[ends >= 0], count)
    return np.where(needed, np.cumsum(needed) - 1, -1)


def _programs(world: World, devices: Devices) -> Programs:
    table, states = world["daemons"], world["daemon_states"]
    at = table.rows(states.ids)
    return Programs(
        ids=states.ids,
        device=rows(devices.ids, table["equipment"][at]),
        kind=table["kind"][at],
        restarts=states["restarts"],
    )


def _sections(world: World, links: Links, devices: Devices) -> Sections:
    table, states = world["configs"], world["config_states"]
    at = table.rows(states.ids)
    return Sections(
        ids=states.ids,
        device=rows(devices.ids, table["equipment"][at]),
        link=rows(links.ids, table["link"][at]),
        section=table["section"][at],
        value=strings(table["value"][at]),
        restores=states["restores"],
    )


def _demands(world: World, vertex: Array) -> Demands:
    table = world["demands"]
    start, goal, via = (vertex[world.intended.resolve("demands", end)] for end in ("a", "b", "via"))
    return Demands(
        ids=table.ids,
        start=start.astype(np.int32),
        goal=goal.astype(np.int32),
        via=via.astype(np.int32),
        gbps=table["gbps"],
        protected=table["protected"],
        limited_share=table["limited_share"],
    )


def _duct_links(world: World, links: Links) -> dict[str, tuple[int, ...]]:
    """The links that lie in each duct, by its id."""
    support = world["link_support"]
    found: dict[str, list[int]] = {}
    for link, duct in zip(rows(links.ids, support["link"]).tolist(), support["duct"].tolist(), strict=True):
        if link >= 0 and duct:
            found.setdefault(duct.decode(), []).append(link)
    return {duct: tuple(lying) for duct, lying in found.items()}
