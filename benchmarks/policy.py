"""Rules on data as columns: verdicts a second of all packs, beside Cedar itself, which is asked one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from benchmarks import Figure, figure
from benchmarks.instances.nation_data import nation
from karez.measure import policy
from karez.measure.policy import MODES, Asked, Facts, Law, law, shipped
from karez.measure.policy.costs import Places, Work, constants, costs
from karez.measure.policy.reference import Reference, drawn

NAME = "policy"
SEEDS = (1, 2, 3)
AT_S = 1_790_000_000.0
NAMES = ("unknown", "CN", "CN-GZ", "CN-SH", "DE", "US")
# Questions that are asked at once, and those that Cedar is asked; each in every mode.
ROWS, CEDAR_ROWS = 1_000_000, 200
BULK_BAR, REASONS_BAR, TIMES_BAR = 50.0, 5.0, 1_000.0
PER_M = 1e6
JOBS, SITES, PAPERS, NATION_BAR_S = 10_000, 60, 5_000, 5.0


def run() -> list[Figure]:
    """Verdicts on options (question and mode) a second and core, without and with reasons, and how many differ."""
    rules = law(shipped(), AT_S)
    bulk, with_reasons, cedar, wrong = list[float](), list[float](), list[float](), 0
    for seed in SEEDS:
        asked, few = drawn(ROWS, seed, NAMES), drawn(CEDAR_ROWS, seed, NAMES)
        bulk.append(_per_s(partial(rules.decide, asked), ROWS))
        with_reasons.append(_per_s(partial(_reasoned, rules, asked), ROWS))
        reference = Reference(rules)
        before_s = time.process_time()
        said = reference.said(few)
        cedar.append(CEDAR_ROWS * len(MODES) / (time.process_time() - before_s))
        lawful = rules.decide(few)
        for row in range(CEDAR_ROWS):
            for mode in range(len(MODES)):
                wrong += all(of_set[row][mode].allowed for of_set in said) != bool(lawful[row] >> mode & 1)
    slowest, one_by_one = min(bulk), max(cedar)
    count = sum(len(rules_of.rules) for rules_of in rules.sets)
    return [
        figure("rules in force, all packs", count, "", better="higher"),
        figure(
            "verdicts without reasons (yardstick: Cedar, one by one)",
            slowest / PER_M,
            "M options/s/core",
            BULK_BAR,
            better="higher",
            yardstick=one_by_one / PER_M,
        ),
        figure("times the rate of Cedar", slowest / one_by_one, "", TIMES_BAR, better="higher"),
        figure("verdicts with reasons", min(with_reasons) / PER_M, "M options/s/core", REASONS_BAR, better="higher"),
        *_nation(),
        figure(f"of {3 * CEDAR_ROWS * len(MODES):,} verdicts those that differ from Cedar's", wrong, "", 0.0),
    ]


def _nation() -> Iterator[Figure]:
    """How long it takes to filter and price every option of a nation's jobs, from the tables on."""
    twin, took_s, lawful = nation(JOBS, SITES, PAPERS), list[float](), 0
    jobs = np.arange(JOBS)
    for _ in range(len(SEEDS)):
        before_s = time.perf_counter()
        asked = Asked(law(shipped(), AT_S), AT_S, ("work",))
        masks = policy.lawful(twin, asked, jobs, policy.recipients(twin))
        work = Work(twin["datasets"]["size_gb"], np.full(JOBS, 8.0), np.full(JOBS, 24.0), np.full(JOBS, 16.0))
        cny = twin["servers"]["price_cny_per_chip_h"][None, :]
        away = Places(cny, np.full((1, SITES), 0.5), np.full((1, SITES), 10.0))
        home = Places(np.full((1, 1), 9.0), np.full((1, 1), 0.5), np.full((1, 1), 10.0))
        priced = costs(work, away, home, constants())
        may = (masks[..., None] >> np.arange(len(MODES), dtype=np.uint8) & 1).astype(bool)
        best = np.where(may, priced.cny, np.inf).reshape(JOBS, -1).argmin(axis=1)
        took_s.append(time.perf_counter() - before_s)
        lawful = int(np.count_nonzero(may))
        assert len(best) == JOBS
    of = f"{JOBS:,} jobs at {SITES} sites in {len(MODES)} modes, {PAPERS:,} papers"
    yield figure(f"{of}: filtered and priced", max(took_s), "s", NATION_BAR_S)
    yield figure(f"{of}: lawful options", lawful, "", better="higher")


def _reasoned(rules: Law, asked: Facts) -> object:
    return rules.reasons(rules.explain(asked).matched)


def _per_s(work: Callable[[], object], rows: int) -> float:
    """Options a second of processor time, the best of three."""
    took_s = []
    for _ in range(3):
        before_s = time.process_time()
        work()
        took_s.append(time.process_time() - before_s)
    return rows * len(MODES) / float(np.min(took_s))
