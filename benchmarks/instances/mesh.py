"""Random meshed networks of routers on optical nodes, with all that is configured: what healing is measured on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from karez.adapters.embedded import planned_gbps
from karez.twin import Table, Twin, World
from karez.twin.states import initial_states
from karez.twin.table import Array

SITES = (12, 31)
# Links a site, demands a site, and the share of demands that must never be cut off.
LINKS_PER_SITE = 1.45
DEMANDS_PER_SITE = (2.0, 3.6)
PROTECTED_SHARE = 0.2
GBPS = (2.0, 40.0)
# Load of the fullest way, as a share of its capacity; capacities that links come in.
FULLEST_SHARE = (0.4, 0.7)
# So many networks are dimensioned for the cut of any one link, after which none is fuller than this.
FOR_CUTS_SHARE, CUT_FULL_SHARE = 0.6, 0.8
CAPACITIES_GBPS = (100.0, 200.0, 400.0, 800.0, 1_600.0, 3_200.0, 6_400.0, 12_800.0, 25_600.0)
# Of so many networks some have areas; so many sites make one.
AREAS_SHARE, AREA_SITES = 0.3, (4, 9)
# Ducts: most links have one of their own, others share one with a neighbour.
SHARED_DUCT_SHARE = 0.2
# The square that sites are in (degrees), and how much longer fibre is than a straight line.
SIDE_DEGREES = 6.0
KM_PER_DEGREE = 105.0
ROUTE_FACTOR = 1.3
LEAST_KM = 5.0
PROGRAMS = ("routing", "bfd", "telemetry", "probe")
SECTIONS = ("filter", "policer", "static", "other")
# What routers with BGP have besides: the program, and the section that says where users are.
BGP, ANNOUNCED = ("bgp",), "users are announced"
MTU = "9000"


class _Lines(NamedTuple):
    """Links as pairs of sites, with their lengths and areas."""

    pairs: Array
    length_km: Array
    area: Array


def mesh(seed: int, *, sites: int = 0, bgp: bool = False) -> World:
    """A network of so many sites (12 to 30 where none is said) that stays whole when any one link is cut.

    Its routers run BGP if asked, and are the same in all else.
    """
    random = np.random.default_rng(seed)
    count = sites or int(random.integers(*SITES))
    where = random.uniform(0.0, SIDE_DEGREES, (count, 2))
    lines = _lines(random, where)
    demands = _demands(random, count)
    twin = Twin().replace(
        *_regions(), _sites(where), demands, *_gear(count, lines, BGP if bgp else ()), *_ducts(random, lines)
    )
    twin = twin.replace(_links(lines, np.full(len(lines.pairs), CAPACITIES_GBPS[0])))
    return World(*_as_full(random, twin, lines))


def _as_full(random: np.random.Generator, twin: Twin, lines: _Lines) -> tuple[Twin, Twin]:
    """The intended twin with capacities for what it carries, and its first day."""
    world = World(twin, initial_states(twin))
    full, load = random.uniform(*FULLEST_SHARE), planned_gbps(world).max(axis=1)
    needed = load / full
    if random.random() < FOR_CUTS_SHARE:
        needed = np.maximum(needed, _after_any_cut(world) / CUT_FULL_SHARE)
    sizes = np.array(CAPACITIES_GBPS)
    capacity = sizes[np.searchsorted(sizes, needed)]
    # Traffic is scaled so that the fullest link is as full as it may be.
    scale = (capacity / np.maximum(needed, 1e-9)).min()
    demands = twin["demands"]
    twin = twin.replace(_links(lines, capacity), demands.set(np.arange(len(demands)), gbps=demands["gbps"] * scale))
    states = initial_states(twin)
    return twin, Twin({name: table for name, table in states.tables.items() if name.endswith("_states")})


def _after_any_cut(world: World) -> Array:
    """The most that each link carries (Gbit/s) while any one of them is cut."""
    links = world["links"]
    cut = (
        World(world.intended.replace(links.set(np.array([row]), up=False)), world.actual) for row in range(len(links))
    )
    fullest: Array = np.max([planned_gbps(one).max(axis=1) for one in cut], axis=0)
    return fullest


def _lines(random: np.random.Generator, where: Array) -> _Lines:
    """A ring through all sites, so that no single cut parts them, and links between near sites besides."""
    count = len(where)
    middle = where - where.mean(axis=0)
    around = np.argsort(np.arctan2(middle[:, 1], middle[:, 0]))
    area = _areas(random, around)
    ring = {_pair(a, b) for a, b in zip(around.tolist(), np.roll(around, -1).tolist(), strict=True)}
    distance = np.linalg.norm(where[:, None] - where[None], axis=2)
    # What is not in an area of its own stays whole without it, too.
    outside = around[area[around] == 0].tolist()
    ring |= {_pair(a, b) for a, b in zip(outside, [*outside[1:], outside[0]], strict=True)}
    near = [(a, b) for a in range(count) for b in range(a + 1, count) if (a, b) not in ring]
    near = [pair for pair in near if area[pair[0]] == area[pair[1]]]
    near.sort(key=lambda pair: float(distance[pair] * random.uniform(0.7, 1.5)))
    pairs = sorted(ring | set(near[: max(0, round(LINKS_PER_SITE * count) - len(ring))]))
    ends = np.array(pairs)
    length_km = np.maximum(distance[ends[:, 0], ends[:, 1]] * KM_PER_DEGREE * ROUTE_FACTOR, LEAST_KM)
    # A link that leaves an area belongs to it, so that the site at its other end is on the border.
    return _Lines(ends, length_km, area[ends].max(axis=1))


def _pair(a: int, b: int) -> tuple[int, int]:
    return min(a, b), max(a, b)


def _areas(random: np.random.Generator, around: Array) -> Array:
    """The area of each site: 0, or in some networks 1 for a run of sites."""
    area = np.zeros(len(around), np.int64)
    if random.random() < AREAS_SHARE:
        size = min(int(random.integers(*AREA_SITES)), len(around) // 3)
        area[around[: max(size, 2)]] = 1
    return area


def _regions() -> list[Table]:
    return [
        Table.of("provinces", {"id": ["P"]}),
        Table.of("metros", {"id": ["M"], "province": ["P"], "lon": [110.0], "lat": [30.0]}),
        Table.of("domains", {"id": ["carrier"], "entity": ["Carrier"], "verified": ["yes"]}),
    ]


def _name(letter: str, number: int) -> str:
    return f"{letter}{number:03d}"


def _sites(where: Array) -> Table:
    count = len(where)
    return Table.of(
        "sites",
        {
            "id": [_name("c", i) for i in range(count)],
            "kind": ["core"] * count,
            "metro": ["M"] * count,
            "domain": ["carrier"] * count,
            "lon": 110.0 + where[:, 0],
            "lat": 30.0 + where[:, 1],
        },
    )


def _links(lines: _Lines, capacity_gbps: Array) -> Table:
    count = len(lines.pairs)
    return Table.of(
        "links",
        {
            "id": [_name("l", i) for i in range(count)],
            "a": [_name("c", a) for a, _ in lines.pairs],
            "b": [_name("c", b) for _, b in lines.pairs],
            "kind": ["core"] * count,
            "layer": ["ip"] * count,
            "length_km": lines.length_km,
            "capacity_gbps": capacity_gbps,
            "area": lines.area,
        },
    )


def _ducts(random: np.random.Generator, lines: _Lines) -> list[Table]:
    """A duct for each link; some links lie in that of another that ends at the same site."""
    count = len(lines.pairs)
    duct = np.arange(count)
    for link in range(1, count):
        beside = np.flatnonzero((lines.pairs[:link] == lines.pairs[link, 0]).any(axis=1))
        if len(beside) and random.random() < SHARED_DUCT_SHARE:
            duct[link] = duct[random.choice(beside)]
    support = {"id": [_name("u", i) for i in range(count)], "link": [_name("l", i) for i in range(count)]}
    return [
        Table.of("ducts", {"id": [_name("t", i) for i in np.unique(duct).tolist()]}),
        Table.of("link_support", {**support, "duct": [_name("t", i) for i in duct.tolist()]}),
    ]


def _gear(count: int, lines: _Lines, also: tuple[str, ...]) -> list[Table]:
    """A router and an optical node a site, the programs of each router, and what is configured."""
    sites = range(count)
    devices = {
        "id": [*(_name("r", i) for i in sites), *(_name("o", i) for i in sites)],
        "site": [_name("c", i) for i in sites] * 2,
        "kind": ["router"] * count + ["otn"] * count,
    }
    programs = [(i, kind) for i in sites for kind in (*PROGRAMS, *also)]
    daemons = {
        "id": [f"{_name('r', i)}/{kind}" for i, kind in programs],
        "equipment": [_name("r", i) for i, _ in programs],
        "kind": [kind for _, kind in programs],
    }
    return [Table.of("equipment", devices), Table.of("daemons", daemons), _configs(count, lines, also)]


def _configs(count: int, lines: _Lines, also: tuple[str, ...]) -> Table:
    rows = [(f"r{i:03d}/{section}", _name("r", i), "", section, "none") for i in range(count) for section in SECTIONS]
    rows += [(f"r{i:03d}/{section}", _name("r", i), "", section, ANNOUNCED) for i in range(count) for section in also]
    for link, (ends, area) in enumerate(zip(lines.pairs.tolist(), lines.area.tolist(), strict=True)):
        for site in ends:
            router, name = _name("r", site), _name("l", link)
            rows.append((f"{router}/mtu/{name}", router, name, "mtu", MTU))
            rows.append((f"{router}/area/{name}", router, name, "area", str(area)))
    names = ("id", "equipment", "link", "section", "value")
    return Table.of(
        "configs", {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    )


def _demands(random: np.random.Generator, sites: int) -> Table:
    """Traffic between sites, more to a few of them."""
    count = int(sites * random.uniform(*DEMANDS_PER_SITE))
    weight = random.pareto(1.5, sites) + 1.0
    start = random.integers(0, sites, count)
    goal = random.choice(sites, count, p=weight / weight.sum())
    goal = np.where(goal == start, (goal + 1 + random.integers(0, sites - 1, count)) % sites, goal)
    keep = goal != start
    start, goal = start[keep], goal[keep]
    return Table.of(
        "demands",
        {
            "id": [_name("d", i) for i in range(len(start))],
            "a": [_name("c", i) for i in start],
            "b": [_name("c", i) for i in goal],
            "gbps": random.uniform(*GBPS, len(start)),
            "protected": random.random(len(start)) < PROTECTED_SHARE,
        },
    )
