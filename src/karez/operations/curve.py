"""Coverage for every budget at once."""

from __future__ import annotations

import msgspec

from karez.errors import InputError
from karez.measure import reach
from karez.operations import Answer, CurveQuestion
from karez.operations.circles import WORDS
from karez.operations.networks import duration, load, nothing_counted, now_s, provenance, share
from karez.units import NS_PER_US

MARKS = (0.5, 0.75, 0.9)


class CurvePoint(msgspec.Struct, frozen=True):
    """A budget, and the share of all weight within it."""

    budget_us: float
    covered_share: float


class CurveAnswer(Answer, frozen=True, kw_only=True):
    """The curve at typical delays, pooled."""

    weight: str
    points: tuple[CurvePoint, ...]


def run(question: CurveQuestion) -> CurveAnswer:
    """The curve for the network's newest revision, as it is today.

    Raises:
        InputError: the network cannot be read, has nothing that the weight counts, or a step is below a nanosecond.
    """
    step_us = round(question.upto_us / question.steps * NS_PER_US) / NS_PER_US
    if not step_us:
        raise InputError.of("upto-us", "is less than a nanosecond a step", "give a larger budget, or fewer steps")
    world, revision = load(question.network)
    shares = reach.curve(world.intended.at(now_s()), weight=question.weight, step_us=step_us, steps=question.steps)
    if shares[-1] != shares[-1]:
        raise nothing_counted(question.network, question.weight)
    points = tuple(CurvePoint(step_us * (step + 1), float(value)) for step, value in enumerate(shares))
    return CurveAnswer(
        headline=_headline(points, question, synthetic=revision.synthetic),
        citation=(
            f"C2 below each budget, one way, towards the best compute site, optical layer; weight {question.weight}, "
            f"pooled; typical figures of the latency library; {provenance(revision)}"
        ),
        weight=question.weight,
        points=points,
    )


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
