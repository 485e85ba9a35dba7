"""A nation's day of jobs: 31 provinces, sites of mixed chips, and jobs that train, work off batches, or serve online.

All constants stand here. A third each of work is meant to be training, batch and online; what is drawn for each:

* Provinces lie at random in 90..122 E, 22..45 N; places of users are in the east rather, sites in the west rather.
* Twenty kinds of chips, from 0.25 to 3 times a reference chip; a model runs on a kind in 65 % of the cases, at the
  speed of the chip times a log-normal (0, 0.35) of its own.
* Pools: one to five kinds a site, chips log-normal (7.2, 1.0), scaled at the end so that jobs would fill the load.
* Power of a site is 0.75 to 1.1 of what its chips draw; what enters a site, and what links carry, go by mean traffic.
* Jobs: batch takes 1 to 4 hours at the reference speed, training 4 to 16, online the whole day. Gangs of training are
  8 to 512 chips, those of batch Pareto (1.5), up to 1,024 at a hundred thousand jobs; online ones have a size in
  reference chips, Pareto (1.6), and take whole chips. One in ten online users allows 5 ms there and back, others 10 to
  40; 40 % of jobs are bound to a half of the country, to 800 km, or (5 %) to their province.
* Not to be served costs 12 CNY a reference chip and hour.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import minimum_spanning_tree, shortest_path

from karez.plan.placing.program import NONE, Jobs, Limits, Pools, Program, Routes, arms_of
from karez.twin.table import Array

HOURS, PROVINCES, CHIPS, PLACES, MODELS = 24, 31, 20, 100, 24
LON, LAT, SPREAD_DEG, KM_PER_DEG, MIDDLE_LAT = (90.0, 122.0), (22.0, 45.0), 1.2, 111.0, 34.0
EAST_LON, HALF_LON, SITES_WEST_SHARE = 105.0, 105.0, 0.6
# What a link that is lost counts as, so that it is on a way only where there is no other.
FAR_KM = 1e6
RTT_MS, RTT_MS_PER_KM, ROUTE_FACTOR = 0.6, 0.01, 1.4
SPEEDS, RUNS_SHARE, OWN_SPEED, LEAST_SPEED = (0.25, 3.0), 0.65, 0.35, 0.08
MOST_POOLS, POOL_CHIPS, LEAST_CHIPS, LEAST_SCALED = 5, (7.2, 1.0), 16, 4
CNY_PER_KWH, CNY_PER_KG, KG_PER_KWH = (0.32, 0.62), 0.1, (0.35, 0.6)
DEAR_HOURS, CHEAP_HOURS, DEARER, CHEAPER, SOLAR_SHARE = (
    (9, 10, 11, 18, 19, 20, 21),
    (0, 1, 2, 3, 4, 5, 12, 13),
    0.35,
    0.4,
    0.35,
)
# Kinds of jobs: online, batch, training.
KIND_SHARES, RESIDENCY_SHARES, NEAR_KM = (0.5, 0.35, 0.15), (0.6, 0.2, 0.15, 0.05), 800.0
ALLOWED_MS, ALLOWED_SHARES = (5.0, 10.0, 20.0, 40.0), (0.1, 0.25, 0.35, 0.3)
WINDOWS = ((0, 24), (0, 8), (0, 12), (6, 18), (8, 24), (12, 24), (18, 24), (4, 10))
WINDOW_SHARES = (0.3, 0.1, 0.1, 0.15, 0.15, 0.1, 0.05, 0.05)
BATCH_H, TRAINING_H, GB = (1, 2, 3, 4), (4, 8, 12, 16), (2.0, 20.0, 60.0)
LARGEST_GANG, LARGEST_AT, LEAST_LARGEST = 1024, 100_000, 4
INTO_SITES, OVER_LINKS_SHARE, CNY_PER_GB, CNY_PER_GB_KM = 3.0, 0.25, 0.02, 0.00002
UNSERVED_CNY, LOAD = 12.0, 0.9


class Setting(NamedTuple):
    """A size of the instance."""

    name: str
    jobs: int
    sites: int


SETTINGS = {
    "jobs-1k": Setting("jobs-1k", 1_000, 20),
    "jobs-10k": Setting("jobs-10k", 10_000, 100),
    "jobs-100k": Setting("jobs-100k", 100_000, 300),
}


class Nation(NamedTuple):
    """The program; and of each class kind, gang (chips, or reference chips of online) and reference chip-hours.

    `centres` of provinces, and the `province` of each site, say which ways there are.
    """

    program: Program
    kind: Array
    size: Array
    work: Array
    centres: Array
    province: Array


class _Land(NamedTuple):
    province: Array
    xy: Array


def nation(setting: Setting, seed: int) -> Nation:
    """The instance of this size and seed."""
    rng = np.random.default_rng(seed)
    centres = np.c_[rng.uniform(*LON, PROVINCES), rng.uniform(*LAT, PROVINCES)]
    east = (centres[:, 0] - LON[0]) / (LON[1] - LON[0])
    users, west = _shares(0.2 + east**2), _shares(1.3 - east)
    sites = _land(rng, centres, setting.sites, SITES_WEST_SHARE * west + (1 - SITES_WEST_SHARE) * users)
    places = _land(rng, centres, PLACES, users)
    speed, kw, rent = _chips(rng)
    site, chip, count = _pools(rng, setting.sites)
    is_west = centres[sites.province, 0] < EAST_LON
    pue = np.where(is_west, rng.uniform(1.1, 1.2, setting.sites), rng.uniform(1.2, 1.45, setting.sites))
    cny_per_kwh = _energy(rng, is_west)
    power = np.bincount(site, count * kw[chip], setting.sites) * pue * rng.uniform(0.75, 1.1, setting.sites)
    jobs = _jobs(rng, setting.jobs)
    merged, times = np.unique(np.column_stack(list(jobs.values())), axis=0, return_counts=True)
    job = dict(zip(jobs, merged.T, strict=True))
    kind, model = (job[name].astype(int) for name in ("kind", "model"))
    # Chips are scaled so that jobs at the mean speed of their models would fill the load.
    mean = np.array([each[each > 0].mean() for each in speed])[model]
    hours = np.where(kind == 0, HOURS / mean, np.ceil(job["hours"] / mean))
    scale = (times * job["size"] * hours).sum() / (LOAD * count.sum() * HOURS)
    count = np.maximum(LEAST_SCALED, np.round(count * scale))
    km = _km(places.xy, sites.xy)
    menus, menu_of, pool, model_of, place_of = _menus(job, places, sites, centres, km, speed, site, chip)
    at = site[pool]
    gb = job["size"] * np.array(GB)[kind]
    per_gb = CNY_PER_GB + CNY_PER_GB_KM * km
    mean_gb = float((times * gb).sum()) / HOURS
    into = np.bincount(site, count, setting.sites) / count.sum() * mean_gb * INTO_SITES + 1
    ways, edges = _ways(centres)
    over = mean_gb * OVER_LINKS_SHARE * rng.uniform(0.5, 1.5, edges)
    work = job["size"] * np.where(kind == 0, HOURS, job["hours"])
    program = Program(
        Pools(
            site.astype(np.int32),
            kw[chip] * pue[site],
            _hourly(count),
            rent[chip][:, None] + (kw[chip] * pue[site])[:, None] * cny_per_kwh[site],
        ),
        Limits(_hourly(power * scale), _hourly(into), _hourly(over), np.zeros(0)),
        _routes(ways, sites.province),
        Jobs(
            times.astype(np.int32),
            work * UNSERVED_CNY,
            job["opens"].astype(np.int16),
            job["closes"].astype(np.int16),
            menu_of.astype(np.int32),
            kind == 0,
            job["size"],
            np.where(kind == 0, 0.0, job["hours"]),
            gb,
            np.full(len(times), NONE, np.int32),
            np.full(len(times), NONE, np.int32),
        ),
        menus,
        arms_of(
            pool,
            speed=speed[model_of, chip[pool]],
            cny_per_gb=per_gb[place_of, at],
            route=places.province[place_of] * setting.sites + at,
        ),
    )
    return Nation(program, kind, job["size"], work, centres, sites.province)


def routes_without(made: Nation, link: int) -> Routes:
    """The shortest ways that are left where a link (row) is lost."""
    return _routes(_ways(made.centres, lost=link)[0], made.province)


def _hourly(value: Array) -> Array:
    return np.asarray(np.repeat(value[:, None], HOURS, axis=1))


def _shares(weight: Array) -> Array:
    return np.asarray(weight / weight.sum())


def _km(a: Array, b: Array) -> Array:
    x: Array = (a[:, None, 0] - b[None, :, 0]) * np.cos(np.radians(MIDDLE_LAT)) * KM_PER_DEG
    return np.asarray(np.hypot(x, (a[:, None, 1] - b[None, :, 1]) * KM_PER_DEG))


def _land(rng: np.random.Generator, centres: Array, number: int, share: Array) -> _Land:
    province = rng.choice(PROVINCES, number, p=share)
    return _Land(province, centres[province] + rng.normal(0, SPREAD_DEG, (number, 2)))


def _chips(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Speed of each model on each kind of chip (0: it does not run), and kW and CNY an hour of a chip."""
    of_chip = np.exp(rng.uniform(np.log(SPEEDS[0]), np.log(SPEEDS[1]), CHIPS))
    runs_on = rng.random((MODELS, CHIPS)) < RUNS_SHARE
    runs_on[:, 0] = True
    speed = of_chip * np.exp(rng.normal(0, OWN_SPEED, (MODELS, CHIPS))) * runs_on
    return speed, 0.25 + 0.35 * of_chip**0.7, 0.4 * of_chip**0.9 + 0.15


def _pools(rng: np.random.Generator, sites: int) -> tuple[Array, Array, Array]:
    """Site, kind of chip and number of chips of each pool."""
    kinds = rng.integers(1, MOST_POOLS + 1, sites)
    site = np.repeat(np.arange(sites), kinds)
    chip = np.concatenate([rng.choice(CHIPS, number, replace=False) for number in kinds])
    return site, chip, np.maximum(LEAST_CHIPS, rng.lognormal(*POOL_CHIPS, len(site)).astype(int)).astype(float)


def _energy(rng: np.random.Generator, is_west: Array) -> Array:
    """CNY a kWh of each site by the hour, with carbon at its price."""
    hour, sites = np.arange(HOURS), len(is_west)
    solar = np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None)
    base = np.where(is_west, *CNY_PER_KWH) * rng.uniform(0.85, 1.15, sites)
    by_hour = 1 + DEARER * np.isin(hour, DEAR_HOURS) - CHEAPER * np.isin(hour, CHEAP_HOURS)
    kg = np.where(is_west, *KG_PER_KWH) * rng.uniform(0.7, 1.2, sites)
    return np.asarray(base[:, None] * by_hour + CNY_PER_KG * kg[:, None] * (1 - SOLAR_SHARE * solar))


def _jobs(rng: np.random.Generator, number: int) -> dict[str, Array]:
    """What jobs are, a value each."""
    kind = rng.choice(3, number, p=KIND_SHARES)
    place = rng.choice(PLACES, number, p=_shares(rng.pareto(1.2, PLACES) + 0.3))
    model = rng.choice(MODELS, number, p=_shares(1 / np.arange(1, MODELS + 1)))
    residency = rng.choice(4, number, p=RESIDENCY_SHARES)
    allowed_ms = np.where(kind == 0, rng.choice(ALLOWED_MS, number, p=ALLOWED_SHARES), np.inf)
    window = np.array(WINDOWS)[np.where(kind == 0, 0, rng.choice(len(WINDOWS), number, p=WINDOW_SHARES))]
    hours = np.where(kind == 0, HOURS, np.where(kind == 1, rng.choice(BATCH_H, number), rng.choice(TRAINING_H, number)))
    online, batch = np.ceil(rng.pareto(1.6, number) * 3 + 0.5), np.ceil(rng.pareto(1.5, number) * 6 + 1)
    size = np.where(kind == 0, online, np.where(kind == 1, batch, 8 * 2.0 ** rng.integers(0, 7, number)))
    largest = max(LEAST_LARGEST, LARGEST_GANG * min(1.0, number / LARGEST_AT))
    return {
        "kind": kind,
        "place": place,
        "model": model,
        "residency": residency,
        "allowed_ms": allowed_ms,
        "opens": window[:, 0],
        "closes": window[:, 1],
        "hours": hours,
        "size": np.floor(np.minimum(size, largest)),
    }


def _menus(
    job: dict[str, Array],
    places: _Land,
    sites: _Land,
    centres: Array,
    km: Array,
    speed: Array,
    site: Array,
    chip: Array,
) -> tuple[Array, Array, Array, Array, Array]:
    """Menus as runs of arms, the menu of each class, and of each arm pool, model and place of the user.

    On a menu are the pools that are near enough, where data may be, and able.
    """
    half = centres[:, 0] > HALF_LON
    may = np.stack([
        np.ones(km.shape, bool),
        half[places.province][:, None] == half[sites.province],
        km <= NEAR_KM,
        places.province[:, None] == sites.province,
    ])  # fmt: skip
    rtt_ms = RTT_MS + km * ROUTE_FACTOR * RTT_MS_PER_KM
    names = ("place", "model", "residency", "allowed_ms")
    menus, of = np.unique(np.column_stack([job[name] for name in names]), axis=0, return_inverse=True)
    lists = []
    for place, model, residency, allowed_ms in menus:
        here = may[int(residency), int(place)][site] & (rtt_ms[int(place)][site] <= allowed_ms)
        lists.append(np.flatnonzero(here & (speed[int(model), chip] > LEAST_SPEED)).astype(np.int32))
    length = np.array([len(each) for each in lists])
    place_of, model_of = (np.repeat(menus[:, column].astype(int), length) for column in (0, 1))
    return np.concatenate([[0], np.cumsum(length)]), of.ravel(), np.concatenate(lists), model_of, place_of


def _ways(centres: Array, lost: int = NONE) -> tuple[list[list[list[int]]], int]:
    """The links (rows) on the shortest way from each province to each, and how many links there are.

    The one that is lost is on a way only where there is none around it.
    """
    km = _km(centres, centres)
    tree = minimum_spanning_tree(csr_array(km)).tocoo()
    pairs = {(min(a, b), max(a, b)) for a in range(PROVINCES) for b in np.argsort(km[a])[1:4].tolist()}
    pairs |= {(min(a, b), max(a, b)) for a, b in zip(tree.row.tolist(), tree.col.tolist(), strict=True)}
    links = {pair: row for row, pair in enumerate(sorted(pairs))}
    near = np.zeros_like(km)
    for (a, b), row in links.items():
        near[a, b] = near[b, a] = km[a, b] if row != lost else FAR_KM
    before = shortest_path(csr_array(near), return_predecessors=True)[1]
    ways = [[list[int]() for _ in range(PROVINCES)] for _ in range(PROVINCES)]
    for a in range(PROVINCES):
        for b in range(PROVINCES):
            here = b
            while here != a:
                ways[a][b].append(links[min(here, int(before[a, here])), max(here, int(before[a, here]))])
                here = int(before[a, here])
    return ways, len(links)


def _routes(ways: list[list[list[int]]], province: Array) -> Routes:
    """A route from each province to each site."""
    lists = [ways[a][b] for a in range(PROVINCES) for b in province.tolist()]
    return Routes(
        np.tile(np.arange(len(province), dtype=np.int32), PROVINCES),
        np.concatenate([[0], np.cumsum([len(each) for each in lists])]),
        np.array([link for each in lists for link in each], np.int32),
    )
