"""Seeded synthetic networks on real Chinese places: the reference instance "nation", at any size.

Nowhere is a real metro's transport network published, so this one is drawn: access rings of stations hang on
aggregation sites, rings of those on core sites, a core ring joins the core sites of a place, and a backbone the places.

Source: reference instance nation-5m, for every constant that does not name another; places and their population are
those of GeoNames (library/places_cn.csv). Constants marked "assumption" shape the example data around the network,
and no bar rests on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial import Delaunay, cKDTree

from karez.errors import InputError, Problem
from karez.importers.day import with_day
from karez.twin import Table, Twin
from karez.twin.catalogue import catalogue
from karez.twin.facts import library
from karez.twin.geo import great_circle_km
from karez.twin.schema import Value
from karez.twin.table import Array, texts

MIN_STATIONS_A_PLACE = 8
STATIONS_AN_ACCESS_RING = 8
ACCESS_RINGS_AN_AGGREGATION_SITE = 6
AGGREGATION_SITES_A_RING = 8
AGGREGATION_RINGS_A_CORE_SITE = 10
TWO_HOSTED_SHARE = 0.7
CLOSED_SHARE_OF_REST = 0.5
STATION_WEIGHT_SIGMA = 0.8
BACKBONE_LONGEST_KM = 600.0
ROUTE_FACTOR = 1.4
RADIUS_KM, RADIUS_KM_PER_SQRT_STATION = 3.0, 0.035

# Where things stand inside a place. Source: the sketch that the reference instance was first measured on.
CORE_SPREAD = RING_SPREAD = 0.6
RING_RADIUS_KM, RING_RADIUS_SHARE = 2.0, 0.15
LOOP_RADIUS_KM = (0.5, 3.0)
LOOP_CURVE = 0.7
KM_PER_DEGREE_LON, KM_PER_DEGREE_LAT = 111.32, 110.57
PLANE_LAT = 33.0

# Assumption: orders of magnitude of what carriers light today, a link of each kind.
CAPACITY_GBPS = {"access": 50.0, "aggregation": 400.0, "core": 3_200.0, "backbone": 9_600.0}
# Assumption: one router of a core site.
ROUTER_KW = 4.0

# Compute sites. Assumption, except that sites are taken by size of place (reference instance, demo).
WEST_SITES_SHARE = 0.2
SITES_A_PLACE_FIRST = 2
CHIPS_OFFERED = ("Ascend 910B2", "Ascend 910C", "H20", "A100 80G SXM", "L40S")
CHIPS_A_SERVER = (64, 128, 256, 512, 1024, 2048)
PRICE_CNY_PER_CHIP_H = (4.0, 12.0)
# Source: western over eastern price of the reference instance pool-18 (0.4 and 0.6 of 1.0).
WEST_PRICE_SHARE = 0.6

# Example traffic, places, data and work. Assumption.
DEMAND_PLACES = 1_000
GBPS_PER_MILLION_PEOPLE = 10.0
GBPS_SIGMA = 0.5
PROTECTED_SHARE = 0.05
KEY_PLACES_A_METRO = 3
KEY_PLACE_KINDS = ("hospital", "university", "industrial park")
CARRIER, TENANT = "carrier-1", "tenant-1"
SMALL_MODEL, LARGE_MODEL = "Qwen2.5 7B", "Qwen2.5 72B"
ENDPOINTS_EAST, ENDPOINTS_WEST = 8, 4
PRICE_CNY_PER_MTOKEN = {SMALL_MODEL: 1.0, LARGE_MODEL: 6.0}

# Speed of an endpoint. Source: roofline; reading a prompt takes 2 operations a parameter and a token, writing one
# token reads every parameter once, in 16 bits; effective shares as in the reference instance pool-18.
CHIPS_AN_ENDPOINT = 8
PREFILL_EFFECTIVE_SHARE, DECODE_EFFECTIVE_SHARE = 0.45, 0.65

SITE_DIGITS, ROW_DIGITS = 6, 7


def nation(*, stations: int, sites: int, seed: int, jobs: int = 0) -> Twin:
    """The intended twin of a synthetic nation with `stations` base stations and `sites` compute sites.

    With `jobs`, there are so many of a day besides the examples.

    A place too small for two aggregation sites has only rings that end on one; in it, those drawn to end on two
    are closed.

    Raises:
        InputError: fewer stations than places need, or more compute sites than there are core sites.
    """
    places = _places()
    shape = _shape(places, stations, sites)
    map_ = _drawn(places, shape, seed)
    compute = _compute_sites(places, map_, sites)
    tables = [
        *_regions(places),
        Table.of("domains", _domains()),
        Table.of("evidence", _evidence()),
        *_sites_and_stations(places, map_, seed),
        *_links(places, map_),
        *_library_tables(),
        _servers(places, map_, compute, seed),
        _key_places(places, map_, seed),
        _demands(places, map_, compute, seed),
        *_work(places),
    ]
    twin = Twin({table.name: table for table in tables})
    twin = twin.replace(_endpoints(twin))
    return with_day(twin, jobs=jobs, seed=seed, owner=TENANT) if jobs else twin


@dataclass(frozen=True)
class _Places:
    """The places of the library, the most populous first."""

    ids: Array
    names: list[str]
    province: Array
    population: Array
    lon: Array
    lat: Array
    west: Array

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class _Shape:
    """How many of everything each place has."""

    stations: Array
    access_rings: Array
    aggregation: Array
    aggregation_rings: Array
    core: Array

    @property
    def radius_km(self) -> Array:
        radius: Array = RADIUS_KM + RADIUS_KM_PER_SQRT_STATION * np.sqrt(self.stations)
        return radius


class _Points(NamedTuple):
    """Points by the place that owns them: place, running number in it, and offset from its centre in km."""

    place: Array
    rank: Array
    x_km: Array
    y_km: Array


@dataclass(frozen=True)
class _Map:
    """Where everything stands and what it hangs on (row numbers within each kind)."""

    core: _Points
    aggregation: _Points
    stations: _Points
    links: dict[str, tuple[Array, Array]]


def _places() -> _Places:
    rows = library("places_cn")
    sides = {row["id"]: row["side"] for row in library("provinces_cn")}
    return _Places(
        ids=texts(row["id"] for row in rows),
        names=[row["name"] for row in rows],
        province=texts(row["province"] for row in rows),
        population=np.array([float(row["population"]) for row in rows]),
        lon=np.array([float(row["lon"]) for row in rows]),
        lat=np.array([float(row["lat"]) for row in rows]),
        west=np.array([sides[row["province"]] == "west" for row in rows]),
    )


def _shape(places: _Places, stations: int, sites: int) -> _Shape:
    least = MIN_STATIONS_A_PLACE * len(places)
    if stations < least:
        raise InputError.of("stations", f"{stations} are too few", f"give at least {least}: 8 for each place")
    shared = _shared(places.population, stations)
    rings = _ceil(shared, STATIONS_AN_ACCESS_RING)
    aggregation = _ceil(rings, ACCESS_RINGS_AN_AGGREGATION_SITE)
    aggregation_rings = _ceil(aggregation, AGGREGATION_SITES_A_RING)
    core = _ceil(aggregation_rings, AGGREGATION_RINGS_A_CORE_SITE)
    if not 0 < sites <= core.sum():
        fix = f"give 1 to {core.sum()}: so many core sites the network has"
        raise InputError([Problem("sites", f"{sites} compute sites cannot be placed", fix)])
    return _Shape(shared, rings, aggregation, aggregation_rings, core)


def _shared(population: Array, total: int) -> Array:
    """`total` stations shared out by population, at least 8 a place, by the largest remainder."""
    floored = np.zeros(len(population), bool)
    while True:
        free = total - MIN_STATIONS_A_PLACE * floored.sum()
        quota = np.where(floored, MIN_STATIONS_A_PLACE, free * population / population[~floored].sum())
        below = quota < MIN_STATIONS_A_PLACE
        if not below.any():
            break
        floored |= below
    whole = np.floor(quota).astype(np.int64)
    whole[np.argsort(whole - quota, kind="stable")[: total - whole.sum()]] += 1
    return whole


def _ceil(amount: Array, size: int) -> Array:
    return -(-amount // size)


def _owned(counts: Array) -> tuple[Array, Array, Array]:
    """For `counts[i]` things of owner i: each thing's owner, its number there, and each owner's first thing."""
    starts = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - starts[owner], starts


def _chance(seed: int, part: int) -> np.random.Generator:
    """A stream for each part, so that one part's draws do not shift another's."""
    return np.random.default_rng([seed, part])


def _drawn(places: _Places, shape: _Shape, seed: int) -> _Map:
    core = _drawn_core(shape, seed)
    aggregation, ring, ring_core = _drawn_aggregation(shape, core, seed)
    stations, ends, access = _drawn_stations(shape, aggregation, ring, seed)
    return _Map(
        core=core,
        aggregation=aggregation,
        stations=stations,
        links={
            "access_ends": ends,
            "access": access,
            "aggregation_ends": _ring_ends(ring, ring_core),
            "aggregation": _consecutive(ring),
            "core": _core_rings(shape.core),
            "backbone": _backbone(places, shape.core),
        },
    )


def _drawn_core(shape: _Shape, seed: int) -> _Points:
    chance = _chance(seed, 1)
    place, rank, _ = _owned(shape.core)
    spread = CORE_SPREAD * shape.radius_km[place]
    return _Points(
        place, rank, spread * chance.standard_normal(len(place)), spread * chance.standard_normal(len(place))
    )


def _drawn_aggregation(shape: _Shape, core: _Points, seed: int) -> tuple[_Points, Array, Array]:
    """Aggregation sites, the ring of each, and the core site of each ring."""
    chance = _chance(seed, 2)
    ring_place, ring_rank, ring_starts = _owned(shape.aggregation_rings)
    _, _, core_starts = _owned(shape.core)
    ring_core = core_starts[ring_place] + ring_rank // AGGREGATION_RINGS_A_CORE_SITE
    spread = RING_SPREAD * shape.radius_km[ring_place]
    x_km = core.x_km[ring_core] + spread * chance.standard_normal(len(ring_core))
    y_km = core.y_km[ring_core] + spread * chance.standard_normal(len(ring_core))
    place, rank, _ = _owned(shape.aggregation)
    ring = ring_starts[place] + rank // AGGREGATION_SITES_A_RING
    angle = 2 * np.pi * (rank % AGGREGATION_SITES_A_RING) / AGGREGATION_SITES_A_RING
    radius = RING_RADIUS_KM + RING_RADIUS_SHARE * shape.radius_km[place]
    points = _Points(place, rank, x_km[ring] + radius * np.cos(angle), y_km[ring] + radius * np.sin(angle))
    return points, ring, ring_core


def _drawn_stations(
    shape: _Shape, hosts: _Points, host_ring: Array, seed: int
) -> tuple[_Points, tuple[Array, Array], tuple[Array, Array]]:
    """Stations, the links between a station and an aggregation site, and those between stations."""
    chance = _chance(seed, 3)
    ring_place, ring_rank, ring_starts = _owned(shape.access_rings)
    _, _, host_starts = _owned(shape.aggregation)
    first = host_starts[ring_place] + ring_rank // ACCESS_RINGS_AN_AGGREGATION_SITE
    two_hosted = chance.random(len(first)) < TWO_HOSTED_SHARE
    closed = chance.random(len(first)) < CLOSED_SHARE_OF_REST
    second = np.where(two_hosted, _neighbour(host_ring, hosts.place)[first], first)
    place, rank, _ = _owned(shape.stations)
    ring = ring_starts[place] + rank // STATIONS_AN_ACCESS_RING
    points = _Points(place, rank, *_strung(hosts, first, second, ring, rank, chance))
    head, tail = _heads_and_tails(ring)
    returns = (second != first) | ((two_hosted | closed) & (np.bincount(ring) > 1))
    tail = tail[returns[ring[tail]]]
    ends = (np.concatenate([head, tail]), np.concatenate([first[ring[head]], second[ring[tail]]]))
    return points, ends, _consecutive(ring)


def _neighbour(ring: Array, place: Array) -> Array:
    """The next site of the same ring; alone in its ring, the one before it in its place, or else itself."""
    head, tail = _heads_and_tails(ring)
    following = np.arange(1, len(ring) + 1)
    following[tail] = head
    alone = np.flatnonzero(following == np.arange(len(ring)))
    alone = alone[(alone > 0) & (place[alone - 1] == place[alone])]
    following[alone] -= 1
    return following


def _strung(
    hosts: _Points, first: Array, second: Array, ring: Array, rank: Array, chance: np.random.Generator
) -> tuple[Array, Array]:
    """The stations of each ring along a loop through its host, or along an arc between its two hosts."""
    turn = 2 * np.pi * chance.random(len(first))
    radius = chance.uniform(*LOOP_RADIUS_KM, len(first))
    step = (rank % STATIONS_AN_ACCESS_RING + 1) / (np.bincount(ring)[ring] + 1)
    loop = turn[ring] + np.pi + 2 * np.pi * step
    span_x, span_y = hosts.x_km[second] - hosts.x_km[first], hosts.y_km[second] - hosts.y_km[first]
    bulge = radius * np.where(turn > np.pi, 1.0, -1.0) / np.maximum(np.hypot(span_x, span_y), 1e-9)
    arc = np.sin(np.pi * step) * bulge[ring]
    on_arc = (first != second)[ring]
    x_km = np.where(
        on_arc,
        step * span_x[ring] - arc * span_y[ring],
        radius[ring] * (np.cos(turn)[ring] + LOOP_CURVE * np.cos(loop)),
    )
    y_km = np.where(
        on_arc,
        step * span_y[ring] + arc * span_x[ring],
        radius[ring] * (np.sin(turn)[ring] + LOOP_CURVE * np.sin(loop)),
    )
    return hosts.x_km[first][ring] + x_km, hosts.y_km[first][ring] + y_km


def _heads_and_tails(group: Array) -> tuple[Array, Array]:
    """The first and the last member of each group (groups are consecutive)."""
    changes = np.flatnonzero(np.diff(group))
    return np.concatenate([[0], changes + 1]), np.concatenate([changes, [len(group) - 1]])


def _consecutive(group: Array) -> tuple[Array, Array]:
    """The pairs of neighbours within each group."""
    left = np.flatnonzero(group[1:] == group[:-1])
    return left, left + 1


def _ring_ends(ring: Array, ring_core: Array) -> tuple[Array, Array]:
    """First and last aggregation site of each ring to its core site, once where the ring has one site only."""
    head, tail = _heads_and_tails(ring)
    tail = tail[tail != head]
    ends = np.concatenate([head, tail])
    return ends, ring_core[ring[ends]]


def _core_rings(counts: Array) -> tuple[Array, Array]:
    """The core sites of each place in a ring; two are joined once, one not at all."""
    place, _, starts = _owned(counts)
    left, right = _consecutive(place)
    closing = np.flatnonzero(counts > 2)
    return np.concatenate([left, starts[closing] + counts[closing] - 1]), np.concatenate([right, starts[closing]])


def _backbone(places: _Places, core: Array) -> tuple[Array, Array]:
    """The first core sites of neighbouring places (Delaunay), where they are not too far apart."""
    corners = Delaunay(_plane(places.lon, places.lat)).simplices
    pairs = np.unique(np.sort(np.vstack([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [0, 2]]]), axis=1), axis=0)
    a, b = pairs.T
    near = great_circle_km(places.lon[a], places.lat[a], places.lon[b], places.lat[b]) < BACKBONE_LONGEST_KM
    _, _, starts = _owned(core)
    return starts[a[near]], starts[b[near]]


def _plane(lon: Array, lat: Array) -> Array:
    """Positions on a plane in km, good enough to tell who is whose neighbour."""
    return np.stack([lon * KM_PER_DEGREE_LON * np.cos(np.radians(PLANE_LAT)), lat * KM_PER_DEGREE_LAT], axis=1)


def _position(places: _Places, points: _Points) -> tuple[Array, Array]:
    """Longitude and latitude in degrees."""
    centre = places.lat[points.place]
    lat = centre + points.y_km / KM_PER_DEGREE_LAT
    return places.lon[points.place] + points.x_km / (KM_PER_DEGREE_LON * np.cos(np.radians(centre))), lat


def _ids(prefix: str, count: int, digits: int) -> Array:
    """Ids `prefix` and a running number from 1, ascending."""
    numbers = np.arange(1, count + 1)
    letters = np.empty((count, len(prefix) + digits), np.uint8)
    letters[:, : len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
    for place in range(digits):
        letters[:, -1 - place] = ord("0") + numbers // 10**place % 10
    return letters.view(f"S{letters.shape[1]}").ravel()


def _core_ids(map_: _Map) -> Array:
    return _ids("c", len(map_.core.place), SITE_DIGITS)


def _aggregation_ids(map_: _Map) -> Array:
    return _ids("a", len(map_.aggregation.place), SITE_DIGITS)


def _regions(places: _Places) -> list[Table]:
    provinces = library("provinces_cn")
    return [
        Table.of(
            "provinces",
            {
                "id": [row["id"] for row in provinces],
                "name": [row["name"] for row in provinces],
                "side": [row["side"] for row in provinces],
                "country": [row["country"] for row in provinces],
                "price_cny_per_kwh": [float(row["price_cny_per_kwh"]) for row in provinces],
                "pue": [float(row["pue"]) for row in provinces],
            },
        ),
        Table.of(
            "metros",
            {
                "id": places.ids,
                "name": places.names,
                "province": places.province,
                "population": places.population,
                "lon": places.lon,
                "lat": places.lat,
            },
        ),
    ]


def _sites_and_stations(places: _Places, map_: _Map, seed: int) -> list[Table]:
    core_lon, core_lat = _position(places, map_.core)
    lon, lat = _position(places, map_.aggregation)
    place = np.concatenate([map_.aggregation.place, map_.core.place])
    kinds = np.repeat([b"aggregation", b"core"], [len(lon), len(core_lon)])
    sites = {
        "id": np.concatenate([_aggregation_ids(map_), _core_ids(map_)]),
        "name": _names(places, map_.aggregation, "aggregation") + _names(places, map_.core, "core"),
        "kind": kinds,
        "metro": places.ids[place],
        "domain": np.full(len(place), CARRIER.encode()),
        "lon": np.concatenate([lon, core_lon]),
        "lat": np.concatenate([lat, core_lat]),
    }
    lon, lat = _position(places, map_.stations)
    stations = {
        "id": _ids("s", len(lon), ROW_DIGITS),
        "metro": places.ids[map_.stations.place],
        "lon": lon,
        "lat": lat,
        "weight": _chance(seed, 4).lognormal(0.0, STATION_WEIGHT_SIGMA, len(lon)),
    }
    return [Table.of("sites", sites), Table.of("stations", stations)]


def _names(places: _Places, points: _Points, kind: str) -> list[str]:
    pairs = zip(points.place.tolist(), points.rank.tolist(), strict=True)
    return [f"{places.names[place]} {kind} {rank + 1}" for place, rank in pairs]


def _links(places: _Places, map_: _Map) -> list[Table]:
    """The links with their lengths, the ducts of the backbone, what rests on them, and the routers."""
    core, hosts = _core_ids(map_), _aggregation_ids(map_)
    stations = _ids("s", len(map_.stations.place), ROW_DIGITS)
    named = {
        "c": (core, *_position(places, map_.core)),
        "a": (hosts, *_position(places, map_.aggregation)),
        "s": (stations, *_position(places, map_.stations)),
    }
    drawn = [
        ("access", "sa", map_.links["access_ends"]),
        ("access", "ss", map_.links["access"]),
        ("aggregation", "ac", map_.links["aggregation_ends"]),
        ("aggregation", "aa", map_.links["aggregation"]),
        ("core", "cc", map_.links["core"]),
        ("backbone", "cc", map_.links["backbone"]),
    ]
    ends = [
        [column[rows] for column in named[kinds[side]]] for _, kinds, pair in drawn for side, rows in enumerate(pair)
    ]
    a, lon_a, lat_a = (np.concatenate(parts) for parts in zip(*ends[0::2], strict=True))
    b, lon_b, lat_b = (np.concatenate(parts) for parts in zip(*ends[1::2], strict=True))
    counts = [len(pair[0]) for _, _, pair in drawn]
    length_km = ROUTE_FACTOR * great_circle_km(lon_a, lat_a, lon_b, lat_b)
    links = Table.of(
        "links",
        {
            "id": _ids("l", len(a), ROW_DIGITS),
            "a": a,
            "b": b,
            "kind": np.repeat(texts(kind for kind, _, _ in drawn), counts),
            "length_km": length_km,
            "capacity_gbps": np.repeat([CAPACITY_GBPS[kind] for kind, _, _ in drawn], counts),
        },
    )
    routers = {
        "id": np.strings.add(b"r-", core),
        "site": core,
        "kind": np.full(len(core), b"router"),
        "power_kw": np.full(len(core), ROUTER_KW),
    }
    return [links, *_ducts(links, counts[-1]), Table.of("equipment", routers)]


def _ducts(links: Table, count: int) -> list[Table]:
    """One duct for each of the last `count` links, which are those of the backbone."""
    rest = slice(len(links) - count, None)
    ducts = _ids("d", count, ROW_DIGITS)
    support = {"id": _ids("u", count, ROW_DIGITS), "link": links.ids[rest], "duct": ducts}
    return [
        Table.of("ducts", {"id": ducts, "length_km": links["length_km"][rest]}),
        Table.of("link_support", support),
    ]


def _library_tables() -> list[Table]:
    """Chips and models of the library."""
    return [catalogue()[name] for name in ("chips", "models")]


def _compute_sites(places: _Places, map_: _Map, count: int) -> Array:
    """The core sites (row numbers, ascending) that get servers: a share in the west, the rest by size of place.

    In the west, the largest place of each province comes first. A place gives two core sites, and more only when
    every place has given two.
    """
    place, rank = map_.core.place, map_.core.rank
    by_size = np.lexsort((rank, place, rank // SITES_A_PLACE_FIRST))
    _, in_province = np.unique(places.province, return_inverse=True)
    order = np.argsort(in_province, kind="stable")
    _, number, _ = _owned(np.bincount(in_province))
    rank_in_province = np.empty(len(places), np.int64)
    rank_in_province[order] = number
    western = np.flatnonzero(places.west[place] & (rank == 0))
    western = western[np.lexsort((place[western], rank_in_province[place[western]]))]
    chosen = western[: round(WEST_SITES_SHARE * count)]
    rest = by_size[~np.isin(by_size, chosen)][: count - len(chosen)]
    return np.sort(np.concatenate([chosen, rest]))


def _servers(places: _Places, map_: _Map, compute: Array, seed: int) -> Table:
    chance = _chance(seed, 5)
    west = places.west[map_.core.place[compute]]
    price = np.round(chance.uniform(*PRICE_CNY_PER_CHIP_H, len(compute)), 2)
    return Table.of(
        "servers",
        {
            "id": _ids("p", len(compute), SITE_DIGITS),
            "site": _core_ids(map_)[compute],
            "chip": texts(CHIPS_OFFERED)[chance.integers(len(CHIPS_OFFERED), size=len(compute))],
            "chips": chance.choice(CHIPS_A_SERVER, len(compute)),
            "domain": np.full(len(compute), CARRIER.encode()),
            "price_cny_per_chip_h": np.where(west, np.round(price * WEST_PRICE_SHARE, 2), price),
        },
    )


def _key_places(places: _Places, map_: _Map, seed: int) -> Table:
    """A few key places in each metro, each behind one of its aggregation sites."""
    chance = _chance(seed, 6)
    metro = np.repeat(np.arange(len(places)), KEY_PLACES_A_METRO)
    hosts = np.bincount(map_.aggregation.place)
    site = (np.cumsum(hosts) - hosts)[metro] + chance.integers(hosts[metro])
    kinds = KEY_PLACE_KINDS * len(places)
    return Table.of(
        "places",
        {
            "id": _ids("k", len(metro), SITE_DIGITS),
            "name": [f"{places.names[row]} {kind}" for row, kind in zip(metro.tolist(), kinds, strict=True)],
            "kind": texts(kinds),
            "site": _aggregation_ids(map_)[site],
            "weight": chance.lognormal(0.0, STATION_WEIGHT_SIGMA, len(metro)),
        },
    )


def _demands(places: _Places, map_: _Map, compute: Array, seed: int) -> Table:
    """Traffic from the largest places to the nearest compute site of another place, and to one in the west."""
    chance = _chance(seed, 7)
    core_place = map_.core.place
    west = compute[places.west[core_place[compute]]]
    pairs = [_to_nearest(places, core_place, targets) for targets in (compute, west) if len(targets)]
    a, b = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    people = places.population[core_place[a]] / 1e6
    ids = _core_ids(map_)
    return Table.of(
        "demands",
        {
            "id": _ids("t", len(a), SITE_DIGITS),
            "a": ids[a],
            "b": ids[b],
            "gbps": GBPS_PER_MILLION_PEOPLE * people * chance.lognormal(0.0, GBPS_SIGMA, len(a)),
            "protected": chance.random(len(a)) < PROTECTED_SHARE,
        },
    )


def _to_nearest(places: _Places, core_place: Array, targets: Array) -> tuple[Array, Array]:
    """The first core site of each of the largest places, and the nearest target that lies in another place."""
    _, own = np.unique(core_place[targets], return_index=True)
    targets = targets[own]
    plane = _plane(places.lon, places.lat)
    largest = np.arange(min(DEMAND_PLACES, len(places)))
    _, near = cKDTree(plane[core_place[targets]]).query(plane[largest], k=[1, 2])
    found = np.concatenate([targets, [-1]])[near]
    elsewhere = np.where(core_place[found[:, 0]] == largest, found[:, 1], found[:, 0])
    first = np.searchsorted(core_place, largest)
    return first[elsewhere >= 0], elsewhere[elsewhere >= 0]


def _domains() -> dict[str, Sequence[Value]]:
    """The carrier, and a tenant whose data it works on by order."""
    return {
        "id": [CARRIER, TENANT],
        "entity": [CARRIER, TENANT],
        "verified": ["yes", "yes"],
        "role": ["processor", "controller"],
        "sector": ["telecom", "other"],
        "critical": ["yes", "no"],
    }


def _evidence() -> dict[str, Sequence[Value]]:
    """What the tenant holds on the carrier."""
    kinds = ["contract", "impact_assessment", "risk_assessment"]
    return {
        "id": [f"tenant-{kind}" for kind in kinds],
        "kind": kinds,
        "owner": [TENANT] * 3,
        "recipient": [CARRIER] * 3,
        "issuer": [TENANT] * 3,
    }


def _work(places: _Places) -> list[Table]:
    """Four data sets and five jobs, one for each thing that decides where a job may run."""
    home, metro = places.province[0], places.ids[0]
    datasets: dict[str, Array | Sequence[Value]] = {
        "id": ["general", "personal", "important", "unknown"],
        "domain": [TENANT] * 4,
        "province": np.full(4, home),
        "grade": ["general", "general", "important", "unknown"],
        "personal": ["no", "personal", "no", "unknown"],
        "size_gb": [20_000.0, 500.0, 2_000.0, 1_000.0],
        "subjects": [0.0, 80_000.0, 0.0, np.nan],
        "us_bulk": ["no", "no", "no", "unknown"],
        "origin": ["CN", "CN", "CN", ""],
        "mixed": ["no", "no", "no", "unknown"],
        "purposes": ["training", "service", "training", ""],
    }
    jobs: dict[str, Array | Sequence[Value]] = {
        "id": ["train-west-ok", "batch", "online", "train-important", "batch-unknown"],
        "kind": ["training", "batch", "online", "training", "batch"],
        "model": [LARGE_MODEL, SMALL_MODEL, SMALL_MODEL, LARGE_MODEL, SMALL_MODEL],
        "metro": np.full(5, metro),
        "dataset": ["general", "personal", "personal", "important", "unknown"],
        "chips": [256, 32, 16, 64, 32],
        "hours": [72.0, 8.0, 720.0, 48.0, 8.0],
        "oneway_us": [np.inf, np.inf, 5_000.0, np.inf, np.inf],
        "purpose": ["training", "service", "service", "training", "service"],
    }
    return [Table.of("datasets", datasets), Table.of("jobs", jobs)]


def _endpoints(twin: Twin) -> Table:
    """Running instances of a small and a large model in turn, on the first servers of the east and of the west."""
    west = _in_the_west(twin)
    chosen = np.concatenate([np.flatnonzero(~west)[:ENDPOINTS_EAST], np.flatnonzero(west)[:ENDPOINTS_WEST]])
    models = [(SMALL_MODEL, LARGE_MODEL)[number % 2] for number in range(len(chosen))]
    chip = twin.resolve("servers", "chip")[chosen]
    billions = twin["models"]["parameters_b"][twin["models"].rows(models)]
    operations = twin["chips"]["peak_tflops_fp16"][chip] * 1e12 * CHIPS_AN_ENDPOINT
    bytes_per_s = twin["chips"]["memory_gb_per_s"][chip] * 1e9 * CHIPS_AN_ENDPOINT
    price = np.array([PRICE_CNY_PER_MTOKEN[model] for model in models])
    return Table.of(
        "endpoints",
        {
            "id": _ids("e", len(chosen), SITE_DIGITS),
            "server": twin["servers"].ids[chosen],
            "model": models,
            "prefill_tokens_per_s": PREFILL_EFFECTIVE_SHARE * operations / (2e9 * billions),
            "decode_tokens_per_s": DECODE_EFFECTIVE_SHARE * bytes_per_s / (2e9 * billions),
            "price_cny_per_mtoken": np.where(west[chosen], WEST_PRICE_SHARE, 1.0) * price,
        },
    )


def _in_the_west(twin: Twin) -> Array:
    """Whether each server stands in a western province."""
    site = twin.resolve("servers", "site")
    metro = twin.resolve("sites", "metro")[site]
    province = twin.resolve("metros", "province")[metro]
    west: Array = twin["provinces"]["side"][province] == b"west"
    return west
