"""What the drift fold finds, and what it leaves alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from karez.detect import drift
from karez.twin import Table
from karez.twin.fold import Events
from karez.twin.table import texts


def _series(*delays_us: float) -> Events:
    times = np.arange(len(delays_us), dtype=np.float64)
    return {"at_s": times, "link": texts(["l"] * len(delays_us)), "oneway_us": np.array(delays_us, np.float64)}


def _flips(*delays_us: float) -> list[tuple[float, bool]]:
    _, outputs = drift.step(Table.of("drift_series"), _series(*delays_us), 1e9)
    return list(zip(outputs["at_s"].tolist(), outputs["open"].tolist(), strict=True))


def test_a_link_two_milliseconds_slower_is_found_at_the_second_sample_and_cleared_once_it_is_mended() -> None:
    flips = _flips(*[300.0] * 6, *[2_300.0] * 4, *[300.0] * 30)
    assert flips[0] == (7.0, True)
    assert len(flips) == 2
    assert flips[1][1] is False
    assert 10.0 < flips[1][0] < 30.0


@given(st.lists(st.floats(0.0, 140.0), min_size=6, max_size=80))
def test_noise_below_the_slack_is_never_a_finding(noise_us: list[float]) -> None:
    assert _flips(*[300.0] * drift.LEARNED_SAMPLES, *(300.0 + extra for extra in noise_us)) == []


def test_one_wild_sample_is_not_a_finding() -> None:
    assert _flips(*[300.0] * 6, 1e6, *[300.0] * 6) == []


def test_since_is_the_first_sample_of_the_rise_that_was_found() -> None:
    _, outputs = drift.step(Table.of("drift_series"), _series(*[300.0] * 8, *[650.0] * 9), 1e9)
    assert outputs["since_s"].tolist() == [8.0]


def test_rows_for_links_never_seen_before_are_added() -> None:
    state, _ = drift.step(Table.of("drift_series"), _series(300.0), 1e9)
    assert state.ids.tolist() == [b"l"]
    assert state.cell("l", "samples") == 1
