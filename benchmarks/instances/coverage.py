"""The reference instances coverage-2k, 5k and 10k: candidates on the nation of five million stations.

Six in ten candidates are core sites, four aggregation sites (where there are not as many core sites, more of the
others), all at random; prices are one, or uniform from 50 to 150. Nothing is open beforehand, but one in ten candidates
in a variant. The target is 75 % of the stations' weight, at 500 us and at 1 ms.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from karez.importers.generate import nation
from karez.plan.coverage import Ask
from karez.twin import Twin, World
from karez.twin.table import Table, text

STATIONS, COMPUTE_SITES = 5_000_000, 500
CORE_SHARE, OPEN_SHARE, TARGET_SHARE = 0.6, 0.1, 0.75
LEAST_SERVED, MOST_SERVED = 5_000, 60_000
CHEAPEST, DEAREST = 50, 150
BUDGETS_US = (500.0, 1_000.0)


@lru_cache(maxsize=1)
def ground(seed: int) -> World:
    """The nation with nothing that computes."""
    twin = nation(stations=STATIONS, sites=COMPUTE_SITES, seed=seed)
    for name in ("servers", "server_states", "endpoints", "equipment", "equipment_states"):
        twin = twin.replace(Table.of(name))
    return World(twin, twin)


def candidates(twin: Twin, number: int, seed: int) -> list[str]:
    """The ids of so many candidates."""
    rng, kind = np.random.default_rng(seed), twin["sites"]["kind"]
    core, others = (np.flatnonzero(kind == name) for name in (b"core", b"aggregation"))
    of_core = min(round(CORE_SHARE * number), len(core))
    rows = np.concatenate(
        [rng.choice(core, of_core, replace=False), rng.choice(others, number - of_core, replace=False)]
    )
    return [text(one) for one in twin["sites"].ids[np.sort(rows)]]


def prices(twin: Twin, number: int, seed: int, *, unit: bool) -> dict[str, float]:
    """The price of each candidate, CNY."""
    ids, rng = candidates(twin, number, seed), np.random.default_rng(seed + 1_000)
    drawn = np.ones(number) if unit else rng.integers(CHEAPEST, DEAREST + 1, number)
    return dict(zip(ids, drawn.astype(float).tolist(), strict=True))


def asked(twin: Twin, number: int, seed: int, budget_us: float, *, unit: bool = False) -> Ask:
    """The question of an instance."""
    return Ask(targets=((budget_us, TARGET_SHARE),), weight="station", prices_cny=prices(twin, number, seed, unit=unit))


def limits(ask: Ask, seed: int) -> dict[str, float]:
    """How much weight each candidate serves at most."""
    assert ask.prices_cny is not None
    drawn = np.random.default_rng(seed + 2_000).integers(LEAST_SERVED, MOST_SERVED + 1, len(ask.prices_cny))
    return dict(zip(ask.prices_cny, drawn.astype(float).tolist(), strict=True))
