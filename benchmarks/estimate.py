"""What serving takes on a chip, against what was measured: a chip that was never seen, and a model that was never seen.

The yardstick is the roofline of data sheets in the same run.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from benchmarks import Figure, figure
from benchmarks.instances.serving import FILE, Sample, sample
from karez.measure.compute import Estimate, Labels, Served, by_data_sheet, learned
from karez.twin.table import Array

NAME = "estimate"
NEEDS = (FILE,)
CHIP_BAR, MODEL_BAR, BELOW_BAR, ORDER_BAR, HELD = 0.18, 0.21, 0.25, 0.80, (0.85, 0.95)
# Pairs that differ by less are those whose order is asked for.
NEAR = 1.3


def run() -> list[Figure]:
    """Errors with each chip and each model left out, order of chips, and how many measurements intervals hold."""
    all_of = sample()
    sheet_off = float(np.median(_off(by_data_sheet(all_of.served), all_of.measured_s)))
    by_chip, by_model = (_left_out(all_of, names) for names in (all_of.labels.chip, all_of.labels.model))
    chip, model = (float(np.median(_off(one.s, all_of.measured_s))) for one in (by_chip, by_model))
    right, pairs = _in_order(all_of, by_chip)
    return [
        figure("measurements", len(all_of.measured_s), ""),
        figure(
            "one chip left out: median error (yardstick: data sheets)", chip, "share", CHIP_BAR,
            yardstick=sheet_off,
        ),
        figure("one chip left out: below data sheets by", 1 - chip / sheet_off, "share", BELOW_BAR, better="higher"),
        figure("one model left out: median error", model, "share", MODEL_BAR, yardstick=sheet_off),
        figure(f"order right in {pairs} pairs within 30 %", right, "share", ORDER_BAR, better="higher"),
        *_held("one chip left out", all_of, by_chip),
        *_held("one model left out", all_of, by_model),
    ]  # fmt: skip


def _left_out(all_of: Sample, names: Array) -> Estimate:
    """Estimates of all, each by what was measured under other names."""
    found = Estimate(*(np.zeros(len(names)) for _ in range(3)))
    for name in np.unique(names):
        here = names == name
        known = learned(*_rows(all_of, ~here))
        served, labels, _ = _rows(all_of, here)
        for column, part in zip(found, known.estimate(served, labels), strict=True):
            column[here] = part
    return found


def _rows(all_of: Sample, which: Array) -> tuple[Served, Labels, Array]:
    served, labels = Served(*(c[which] for c in all_of.served)), Labels(*(c[which] for c in all_of.labels))
    return served, labels, all_of.measured_s[which]


def _off(said_s: Array, measured_s: Array) -> Array:
    return np.asarray(np.abs(said_s / measured_s - 1.0))


def _in_order(all_of: Sample, said: Estimate) -> tuple[float, int]:
    """How often two chips that do the same nearly as fast are told in the right order, and of how many pairs."""
    served, labels = all_of.served, all_of.labels
    # Whatever the precision is: the best that each chip has.
    sizes = (served.chips, served.replicas, served.requests, served.tokens_in, served.tokens_out)
    rows = zip(labels.model, labels.engine, *sizes, strict=True)
    groups = dict[tuple[object, ...], list[int]]()
    for at, key in enumerate(rows):
        groups.setdefault(key, []).append(at)
    right = pairs = 0
    for group in groups.values():
        for one, other in combinations(group, 2):
            ratio = all_of.measured_s[one] / all_of.measured_s[other]
            if labels.chip[one] != labels.chip[other] and 1 / NEAR < ratio < NEAR and ratio != 1:
                pairs += 1
                right += bool((said.s[one] > said.s[other]) == (ratio > 1))
    return right / pairs, pairs


def _held(what: str, all_of: Sample, said: Estimate) -> Iterator[Figure]:
    held = float(np.mean((said.low_s <= all_of.measured_s) & (all_of.measured_s <= said.high_s)))
    yield figure(f"{what}: measurements within their 90 % interval", held, "share", HELD[0], better="higher")
    yield figure(f"{what}: measurements within their 90 % interval, at most", held, "share", HELD[1])
