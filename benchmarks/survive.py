"""Every single failure on 5 million stations, and the same on small networks against searching anew without it."""

from __future__ import annotations

import time

import numpy as np

from benchmarks import Figure
from benchmarks.instances.nation import BUDGET_US, SEEDS
from benchmarks.instances.small import HABITS_NS, Small, carried, small
from benchmarks.right import everything
from karez.importers.generate import nation
from karez.measure import reach
from karez.measure.circles import Weight, compute_sites, points
from karez.measure.survival import FailureKind, survival
from karez.twin import Twin

NAME = "survive"
STATIONS, SITES = 5_000_000, 500
LIMIT_NS = round(BUDGET_US * 1_000)
WEIGHTS: tuple[Weight, ...] = ("station", "access_point")
NETWORKS = 150
# Some networks are within this as a whole, some in part.
SMALL_LIMIT_NS = max(HABITS_NS[3])


def run() -> list[Figure]:
    """CPU seconds of the worst seed by weight, and the failures whose loss brute force disagrees with."""
    _small(np.random.default_rng(0))
    spent = [_spent(seed) for seed in SEEDS]
    counts = [_compared(seed) for seed in SEEDS]
    return [
        *(
            Figure(
                what=f"each duct, link and site of 5 M stations lost, weight {weight}",
                value=max(one[weight] for one in spent),
                unit="CPU s",
                better="lower",
                bar=20.0,
            )
            for weight in WEIGHTS
        ),
        Figure(
            what="failures on small networks whose loss brute force disagrees with",
            value=sum(wrong for _, _, wrong in counts),
            unit="",
            better="lower",
            bar=0.0,
        ),
        Figure(
            what="small networks failed one by one",
            value=len(SEEDS) * NETWORKS,
            unit="",
            better="higher",
            bar=300.0,
        ),
        Figure(what="failures on them", value=sum(all_ for all_, _, _ in counts), unit="", better="higher"),
        Figure(what="of these lose something", value=sum(some for _, some, _ in counts), unit="", better="higher"),
    ]


def _spent(seed: int) -> dict[Weight, float]:
    """CPU seconds of all failures by weight, with the network prepared but no what-if begun."""
    twin = nation(stations=STATIONS, sites=SITES, seed=seed)
    targets = compute_sites(twin)
    spent: dict[Weight, float] = {}
    for weight in WEIGHTS:
        ready = reach.typical(twin, points(twin, weight))
        begun = time.process_time()
        survival(twin, ready, targets, LIMIT_NS)
        spent[weight] = time.process_time() - begun
    return spent


def _compared(seed: int) -> tuple[int, int, int]:
    """How many failures there were, how many lose something, and on how many brute force disagrees."""
    random = np.random.default_rng(seed)
    counts = np.array([_small(random) for _ in range(NETWORKS)]).sum(axis=0)
    return int(counts[0]), int(counts[1]), int(counts[2])


def _small(random: np.random.Generator) -> tuple[int, int, int]:
    case = carried(random, small(random))
    ready = reach.prepared(case.twin, case.oneway_ns, np.ones(len(case.oneway_ns), bool), everything(case.twin))
    before = int(ready.covered(case.targets, SMALL_LIMIT_NS).sum())
    lost, expected = [], []
    for kind, found in survival(case.twin, ready, case.targets, SMALL_LIMIT_NS).items():
        lost += found.lost.tolist()
        expected += [before - _left(case, kind, row) for row in found.rows.tolist()]
    return len(lost), int(np.count_nonzero(lost)), int((np.array(lost) != np.array(expected)).sum())


def _left(case: Small, kind: FailureKind, row: int) -> int:
    """What is covered on a network prepared without a duct, link or site."""
    links, targets = case.twin["links"], case.targets
    if kind == "site":
        out = (case.twin.resolve("links", "a") == row) | (case.twin.resolve("links", "b") == row)
        targets = targets[targets != row]
    else:
        out = np.isin(links.ids, sorted(_gone(case.twin, case.twin[f"{kind}s"].ids[row])))
    ready = reach.prepared(case.twin, case.oneway_ns, ~out, everything(case.twin))
    return int(ready.covered(targets, SMALL_LIMIT_NS).sum())


def _gone(twin: Twin, failed: bytes) -> set[bytes]:
    """Ids of what is gone with a duct or link, found by following every row of the support table."""
    support = twin["link_support"]
    columns = (support[name].tolist() for name in ("link", "duct", "supported_by"))
    rows = list(zip(*columns, strict=True))
    gone = {bytes(failed)}
    while more := {link for link, duct, lower in rows if duct in gone or lower in gone} - gone:
        gone |= more
    return gone
