"""What serving takes on a chip: parts of a roofline, factors found again, and what measurements teach."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import estimate, lacks
from karez.measure.compute import (
    LEAST_FACTORS,
    PARTS,
    Labels,
    Served,
    by_data_sheet,
    calibrated,
    factors,
    learned,
    parts,
)
from karez.twin.table import Array


def _served(number: int = 1, **other: float | Array) -> Served:
    """A dense model of 8 billion parameters in 8 bits on one chip, but for what is said."""
    plain: dict[str, float | Array] = {
        "parameters": 8e9,
        "active_parameters": 8e9,
        "layers": 32,
        "cache_values": 2048,
        "width": 4096,
        "experts": 1,
        "experts_per_token": 1,
        "parameter_bytes": 1.0,
        "cache_bytes": 1.0,
        "flop_per_s": 1e15,
        "memory_b_per_s": 4e12,
        "link_b_per_s": 4e11,
        "chips": 1,
        "replicas": 1,
        "requests": 16,
        "tokens_in": 1024,
        "tokens_out": 512,
    }
    columns = plain | other
    return Served(*(np.broadcast_to(np.asarray(columns[name], float), number).copy() for name in Served._fields))


def _labels(number: int, chip: str = "a", model: str = "m") -> Labels:
    return Labels(*(np.full(number, name) for name in (model, "engine", chip, "fp8")))


def _drawn(random: np.random.Generator, number: int) -> Served:
    return _served(
        number,
        parameters=random.uniform(5e9, 100e9, number),
        active_parameters=random.uniform(5e9, 60e9, number),
        layers=random.integers(20, 100, number),
        chips=random.choice([1, 2, 4, 8], number),
        requests=random.choice([1, 4, 16, 64, 256], number),
        tokens_in=random.choice([128, 1024, 8192], number),
        tokens_out=random.choice([128, 1024], number),
        memory_b_per_s=random.uniform(1e12, 8e12, number),
        flop_per_s=random.uniform(2e14, 4e15, number),
    )


def test_weights_are_read_once_a_token_and_arithmetic_grows_with_requests() -> None:
    one, many = parts(_served(requests=1))[0], parts(_served(requests=8))[0]
    at = PARTS.index
    assert one[at("weights")] == many[at("weights")] == pytest.approx(8e9 / 4e12)
    assert many[at("arithmetic")] == pytest.approx(8 * one[at("arithmetic")]) == pytest.approx(8 * 2 * 8e9 / 1e15)


def test_one_chip_waits_for_no_link_and_experts_are_read_where_they_are_asked_for() -> None:
    assert parts(_served())[0, PARTS.index("volume")] == 0.0
    few, many = (
        parts(_served(parameters=100e9, experts=64, experts_per_token=2, requests=n))[0, 0] for n in (1, 10_000)
    )
    assert 8e9 / 4e12 <= few < many == pytest.approx(100e9 / 4e12)


def test_factors_of_parts_are_found_again_in_what_was_made_with_them(turning_seed: int) -> None:
    random = np.random.default_rng(turning_seed)
    # No part is faster than its data sheet.
    served, of_parts = _drawn(random, 400), np.maximum(random.uniform(0.7, 3.0, len(PARTS)), LEAST_FACTORS)
    made_s = calibrated(served, of_parts)
    assert calibrated(served, factors(served, made_s)) == pytest.approx(made_s, rel=1e-3)


def test_what_was_measured_is_known_and_what_is_far_from_it_is_not_sure(turning_seed: int) -> None:
    random = np.random.default_rng(turning_seed)
    served = _drawn(random, 200)
    measured_s = by_data_sheet(served) * 1.7 * np.exp(random.normal(0.0, 0.05, 200))
    known = learned(served, _labels(200), measured_s)
    again, strange = known.estimate(served, _labels(200)), known.estimate(served, _labels(200, "b", "other"))
    assert np.median(np.abs(again.s / measured_s - 1)) < 0.08
    assert (strange.high_s / strange.low_s > again.high_s / again.low_s).all()
    assert ((again.low_s < again.s) & (again.s < again.high_s)).all()


def test_rows_are_estimated_each_on_its_own(turning_seed: int) -> None:
    random = np.random.default_rng(turning_seed)
    served = _drawn(random, 60)
    known = learned(served, _labels(60), by_data_sheet(served) * 2.0)
    whole = known.estimate(served, _labels(60))
    some = Served(*(column[10:20] for column in served))
    assert known.estimate(some, _labels(10)).s == pytest.approx(whole.s[10:20])


@pytest.mark.skipif(bool(lacks(estimate)), reason="the public sample is not beside this clone")
def test_a_chip_that_was_never_measured_is_estimated_within_the_bar() -> None:
    said = {figure.what: figure for figure in estimate.run()}
    assert not [what for what, figure in said.items() if figure.misses_bar]
