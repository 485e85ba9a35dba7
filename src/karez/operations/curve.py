"""Coverage for every budget at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from karez.errors import InputError
from karez.measure import reach
from karez.measure.circles import WEIGHT_SCALE, compute_sites, points
from karez.operations import Answer, CurveQuestion
from karez.operations.circles import WORDS
from karez.operations.networks import duration, load, nothing_counted, now_s, provenance, share
from karez.twin import Twin
from karez.twin.table import Array, text
from karez.units import NS_PER_US

MARKS = (0.5, 0.75, 0.9)


class CurvePoint(msgspec.Struct, frozen=True):
    """A budget, and the share of all weight within it."""

    budget_us: float
    covered_share: float


class CurveProvince(msgspec.Struct, frozen=True):
    """A province, its weight, and the first budgets (us) with a half, three quarters and nine tenths of it within.

    `inf` where none of the curve's budgets is enough.
    """

    id: str
    name: str
    weight: float
    half_us: float
    three_quarters_us: float
    nine_tenths_us: float


class CurveAnswer(Answer, frozen=True, kw_only=True):
    """The curve at typical delays, pooled, and what it is in each province that has weight."""

    weight: str
    points: tuple[CurvePoint, ...]
    provinces: tuple[CurveProvince, ...]


def run(question: CurveQuestion) -> CurveAnswer:
    """The curve for the network's newest revision, as it is today.

    Raises:
        InputError: the network cannot be read, has nothing that the weight counts, or a step is below a nanosecond.
    """
    step_us = round(question.upto_us / question.steps * NS_PER_US) / NS_PER_US
    if not step_us:
        raise InputError.of("upto-us", "is less than a nanosecond a step", "give a larger budget, or fewer steps")
    world, revision = load(question.network)
    twin = world.intended.at(now_s())
    found = _measured(twin, question, step_us)
    if not found.total.sum():
        raise nothing_counted(question.network, question.weight)
    shares = (found.below.sum(axis=0) / found.total.sum()).tolist()
    curve = tuple(CurvePoint(step_us * (step + 1), value) for step, value in enumerate(shares))
    return CurveAnswer(
        headline=_headline(curve, question, synthetic=revision.synthetic),
        citation=(
            f"C2 below each budget, one way, towards the best compute site, optical layer; weight {question.weight}, "
            f"pooled; typical figures of the latency library; {provenance(revision)}"
        ),
        weight=question.weight,
        points=curve,
        provinces=_provinces(twin, found, [point.budget_us for point in curve]),
    )


class _Measured(NamedTuple):
    """Of each metro its weight, and that below each step (metros x steps), in millionths."""

    total: Array
    below: Array


def _measured(twin: Twin, question: CurveQuestion, step_us: float) -> _Measured:
    ready = reach.typical(twin, points(twin, question.weight))
    return _Measured(ready.total, ready.curve(compute_sites(twin), round(step_us * NS_PER_US), question.steps))


def _provinces(twin: Twin, found: _Measured, budgets_us: Sequence[float]) -> tuple[CurveProvince, ...]:
    """The provinces that have weight, in the order of their ids, and where each passes the marks."""
    table, province = twin["provinces"], twin.resolve("metros", "province")
    total = np.zeros(len(table), np.int64)
    below = np.zeros((len(table), found.below.shape[1]), np.int64)
    np.add.at(total, province, found.total)
    np.add.at(below, province, found.below)
    return tuple(
        CurveProvince(
            text(table.ids[row]),
            text(table["name"][row]),
            float(total[row] / WEIGHT_SCALE),
            *(_passed(below[row] / total[row], budgets_us, mark) for mark in MARKS),
        )
        for row in np.flatnonzero(total).tolist()
    )


def _passed(shares: Array, budgets_us: Sequence[float], mark: float) -> float:
    """The first budget within which a share is; `inf` where there is none."""
    return next((us for us, value in zip(budgets_us, shares.tolist(), strict=True) if value >= mark), math.inf)


def _headline(points: tuple[CurvePoint, ...], question: CurveQuestion, *, synthetic: bool) -> str:
    """The first budgets at which a half, three quarters and nine tenths are covered."""
    note = " (synthetic)" if synthetic else ""
    reached = [
        f"{share(mark)} within {duration(first)}"
        for mark in MARKS
        for first in [next((point.budget_us for point in points if point.covered_share >= mark), 0.0)]
        if first
    ]
    last = points[-1]
    if not reached:
        return f"{share(last.covered_share)} of {WORDS[question.weight]} are within {duration(last.budget_us)}{note}"
    return f"Of {WORDS[question.weight]}, {', '.join(reached)} of compute, one way{note}"
