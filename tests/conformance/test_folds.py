"""The law of folds, for every fold: cut the events anywhere, freeze the state anywhere, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.detect import drift
from karez.loop import budget
from karez.twin import Table
from karez.twin.fold import Events, Fold, freeze, occurrence, thaw
from karez.twin.table import texts

NAMES = ("a", "b", "link-c", "d")


class Case(NamedTuple):
    """A fold and how to draw events for it."""

    fold: Fold
    draw: Callable[[st.DrawFn, int], Events]


def _times(draw: st.DrawFn, count: int) -> np.ndarray:
    steps = draw(st.lists(st.sampled_from([0.0, 0.1, 1.0, 7.3]), min_size=count, max_size=count))
    return np.cumsum(np.array(steps, np.float64))


def _names(draw: st.DrawFn, count: int) -> np.ndarray:
    return texts(draw(st.lists(st.sampled_from(NAMES), min_size=count, max_size=count)))


def _samples(draw: st.DrawFn, count: int) -> Events:
    delays = st.one_of(st.floats(100.0, 400.0), st.sampled_from([100.0, 2_500.0, 1e6, np.nan, np.inf]))
    values = draw(st.lists(delays, min_size=count, max_size=count))
    return {"at_s": _times(draw, count), "link": _names(draw, count), "oneway_us": np.array(values, np.float64)}


def _requests(draw: st.DrawFn, count: int) -> Events:
    every = draw(st.lists(st.sampled_from([0.0, 0.1, 3.0, 60.0]), min_size=count, max_size=count))
    burst = draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    return {
        "at_s": _times(draw, count),
        "name": _names(draw, count),
        "every_s": np.array(every, np.float64),
        "burst": np.array(burst, np.int64),
    }


CASES = {"drift": Case(drift.FOLD, _samples), "budget": Case(budget.FOLD, _requests)}


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_events_cut_anywhere_and_state_frozen_anywhere_give_the_same_bytes(name: str, data: st.DataObject) -> None:
    fold, draw = CASES[name]
    count = data.draw(st.integers(0, 60))
    events = data.draw(st.composite(lambda draw_: draw(draw_, count))())
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=5)))
    whole, outputs = fold.step(Table.of(fold.table), events, 1e9)

    state, pieces = Table.of(fold.table), []
    for start, stop in zip([0, *cuts], [*cuts, count], strict=True):
        piece = {column: values[start:stop] for column, values in events.items()}
        at_s = float(piece["at_s"].max(initial=0.0))
        state, output = fold.step(thaw(freeze(state)), piece, at_s)
        pieces.append(output)

    assert freeze(state) == freeze(whole)
    assert state.digest == whole.digest
    for column, values in outputs.items():
        assert np.concatenate([piece[column] for piece in pieces]).tobytes() == values.tobytes(), column


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_an_event_from_the_future_is_refused(name: str, data: st.DataObject) -> None:
    fold, draw = CASES[name]
    events = dict(data.draw(st.composite(lambda draw_: draw(draw_, 3))()))
    events["at_s"] = events["at_s"] + 5.0
    with pytest.raises(ValueError, match="future"):
        fold.step(Table.of(fold.table), events, float(events["at_s"].max()) - 1.0)


@given(st.lists(st.sampled_from(NAMES), max_size=50))
def test_occurrence_counts_how_often_a_key_came_before(keys: list[str]) -> None:
    assert occurrence(texts(keys)).tolist() == [keys[:index].count(key) for index, key in enumerate(keys)]
