"""A grid of core sites with chips and demands: small enough to plan on a thousand times, busy on every row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from karez.twin import Table, Twin, World
from karez.twin.schema import Value
from karez.twin.table import Array

SIDE = 24
GOALS = 12
DEMANDS = 600
SERVERS = 200
CHIPS = 512
TAKEN = (0, 64)
JOBS = 400
JOB_CHIPS = (8, 64)
METROS = 12
LENGTH_KM = (10.0, 80.0)
GBPS = (1.0, 20.0)


def grid(seed: int) -> World:
    """24 x 24 sites, 1,104 links, 600 demands, 200 groups of 512 chips with few of them taken, 400 jobs; all up."""
    random = np.random.default_rng(seed)
    intended = Twin().replace(*_regions(), *_transport(random), *_compute(random), _demands(random))
    actual = Twin().replace(
        Table.of("link_states", {"id": intended["links"].ids}),
        Table.of(
            "server_states", {"id": intended["servers"].ids, "free_chips": CHIPS - random.integers(*TAKEN, SERVERS)}
        ),
    )
    return World(intended, actual)


def _site(number: int) -> str:
    return f"c{number:03d}"


def _metro(number: int) -> str:
    return f"m{number:02d}"


def _regions() -> list[Table]:
    metros = {"id": [_metro(i) for i in range(METROS)], "province": ["P"] * METROS}
    return [
        Table.of("provinces", {"id": ["P"], "price_cny_per_kwh": [0.5], "pue": [1.25]}),
        Table.of("metros", metros | {"lon": [110.0] * METROS, "lat": [30.0] * METROS}),
        Table.of("domains", {"id": ["carrier"], "entity": ["Carrier"], "verified": ["yes"]}),
    ]


def _transport(random: np.random.Generator) -> list[Table]:
    count = SIDE * SIDE
    pairs = [(i, i + 1) for i in range(count) if (i + 1) % SIDE] + [(i, i + SIDE) for i in range(count - SIDE)]
    sites = Table.of(
        "sites",
        {
            "id": [_site(i) for i in range(count)],
            "kind": ["core"] * count,
            "metro": [_metro(i * METROS // count) for i in range(count)],
            "domain": ["carrier"] * count,
            "lon": 110.0 + 0.1 * (np.arange(count) % SIDE),
            "lat": 30.0 + 0.1 * (np.arange(count) // SIDE),
        },
    )
    links = Table.of(
        "links",
        {
            "id": [f"l{i:04d}" for i in range(len(pairs))],
            "a": [_site(a) for a, _ in pairs],
            "b": [_site(b) for _, b in pairs],
            "kind": ["core"] * len(pairs),
            "length_km": random.uniform(*LENGTH_KM, len(pairs)),
            "capacity_gbps": [800.0] * len(pairs),
        },
    )
    return [sites, links]


def _compute(random: np.random.Generator) -> list[Table]:
    hosts = random.choice(SIDE * SIDE, SERVERS, replace=False)
    servers: dict[str, Sequence[Value] | Array] = {
        "id": [f"s{i:03d}" for i in range(SERVERS)],
        "site": [_site(i) for i in hosts],
        "chip": ["H20"] * SERVERS,
        "chips": [CHIPS] * SERVERS,
        "domain": ["carrier"] * SERVERS,
        "price_cny_per_chip_h": random.uniform(4.0, 9.0, SERVERS),
    }
    jobs: dict[str, Sequence[Value] | Array] = {
        "id": [f"j{i:03d}" for i in range(JOBS)],
        "kind": ["batch"] * JOBS,
        "model": ["14B"] * JOBS,
        "metro": [_metro(i % METROS) for i in range(JOBS)],
        "dataset": ["d"] * JOBS,
        "chips": random.integers(*JOB_CHIPS, JOBS),
        "hours": random.uniform(1.0, 10.0, JOBS),
    }
    data = {"id": ["d"], "domain": ["carrier"], "province": ["P"], "grade": ["general"], "personal": ["no"]}
    return [
        Table.of("chips", {"id": ["H20"], "memory_gb": [96.0], "power_w": [400.0]}),
        Table.of("models", {"id": ["14B"], "parameters_b": [14.7]}),
        Table.of("servers", servers),
        Table.of("datasets", data),
        Table.of("jobs", jobs),
    ]


def _demands(random: np.random.Generator) -> Table:
    goals = random.choice(SIDE * SIDE, GOALS, replace=False)
    return Table.of(
        "demands",
        {
            "id": [f"q{i:03d}" for i in range(DEMANDS)],
            "a": [_site(i) for i in random.integers(0, SIDE * SIDE, DEMANDS)],
            "b": [_site(i) for i in random.choice(goals, DEMANDS)],
            "gbps": random.uniform(*GBPS, DEMANDS),
        },
    )
