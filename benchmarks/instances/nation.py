"""The reference instance "nation" at the size of the walking skeleton.

All constants of its shape stand in `karez.importers.generate`, which this calls; here are those of the questions.
"""

from __future__ import annotations

import numpy as np

from benchmarks import Figure
from karez.importers.generate import nation
from karez.measure.circles import access_points, circles
from karez.twin import Twin

STATIONS = 200_000
SITES = 60
SEEDS = (1, 2, 3)
BUDGET_US = 1_000.0
CHECK_BUDGETS_US = (300.0, 500.0, 1_000.0)
TARGET_SHARE = 0.75


def instance(seed: int) -> Twin:
    """The intended twin of the instance with this seed."""
    return nation(stations=STATIONS, sites=SITES, seed=seed)


def checksums(twin: Twin, seed: int) -> list[Figure]:
    """What the instance is recognised by: sizes, weight, and coverage to four digits. None has a bar."""
    sizes = {
        "vertices": len(twin["sites"]) + len(twin["stations"]),
        "links": len(twin["links"]),
        "access points": len(access_points(twin)),
        "weight of stations": round(float(np.sum(twin["stations"]["weight"])), 1),
    }
    shares = {
        f"C2 coverage at {budget_us:g} us": circles(twin, budget_us=budget_us).shares["typical"].pooled_share or 0.0
        for budget_us in CHECK_BUDGETS_US
    }
    return [
        *(_checksum(name, value, "", seed) for name, value in sizes.items()),
        *(_checksum(name, round(value, 4), "share", seed) for name, value in shares.items()),
    ]


def _checksum(what: str, value: float, unit: str, seed: int) -> Figure:
    return Figure(what=f"seed {seed}: {what}", value=value, unit=unit, better="higher")
