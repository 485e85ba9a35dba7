"""A thousand rows of five million: changed, checked, digested. The yardstick does the same to whole columns."""

from __future__ import annotations

import hashlib
import statistics
import time

import numpy as np

from benchmarks import Figure
from karez.twin import Table, Twin
from karez.twin.check import check_rows

NAME = "update"
SEEDS = (1, 2, 3)
ROWS = 5_000_000
CHANGED = 1_000
TRIALS = 7
WEIGHT_SPREAD = 0.8


def run() -> list[Figure]:
    """CPU time of one update, the median over trials, the worst over seeds."""
    stations = _stations()
    twin = Twin().replace(_metros(), stations)
    twin.digest  # noqa: B018  The first digest covers all rows; what is measured is what a change costs.
    values, whole = [], []
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        values.append(statistics.median(_updated_ms(twin, random) for _ in range(TRIALS)))
        whole.append(_whole_ms(stations, random))
    return [
        Figure(
            what="1,000 random rows of 5 M changed, checked and digested",
            value=max(values),
            unit="CPU ms",
            better="lower",
            bar=20.0,
            yardstick=min(whole),
        )
    ]


def _metros() -> Table:
    return Table.of("metros", {"id": ["m"], "province": ["p"], "lon": [110.0], "lat": [30.0]})


def _stations() -> Table:
    ids = np.char.mod("s%07d", np.arange(ROWS)).astype("S")
    metro, zeros = np.full(ROWS, b"m"), np.zeros(ROWS)
    return Table.of("stations", {"id": ids, "metro": metro, "lon": zeros + 110.0, "lat": zeros + 30.0})


def _updated_ms(twin: Twin, random: np.random.Generator) -> float:
    rows = np.sort(random.choice(ROWS, CHANGED, replace=False))
    weights = random.lognormal(0.0, WEIGHT_SPREAD, CHANGED)
    begun = time.process_time()
    changed = twin.replace(twin["stations"].set(rows, weight=weights))
    problems = check_rows(changed, "stations", rows)
    digest = changed.digest
    spent = time.process_time() - begun
    if problems or digest == twin.digest:
        raise RuntimeError("the change was not taken, or is wrong")
    return spent * 1e3


def _whole_ms(stations: Table, random: np.random.Generator) -> float:
    """What it costs to copy, check and hash the whole column."""
    rows, weights = random.choice(ROWS, CHANGED, replace=False), random.lognormal(0.0, WEIGHT_SPREAD, CHANGED)
    begun = time.process_time()
    column = stations["weight"].copy()
    column[rows] = weights
    sound = bool(((column >= 0) & np.isfinite(column)).all())
    hashlib.sha256(column.data).digest()
    spent = time.process_time() - begun
    if not sound:
        raise RuntimeError("the column is wrong")
    return spent * 1e3
