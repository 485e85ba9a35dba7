"""The law of folds, for every fold: cut the events anywhere, freeze the state anywhere, and nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.detect import ears
from karez.detect.ears import Ears
from karez.loop import budget
from karez.measure import speeds
from karez.record import ledger
from karez.twin import Table, Twin
from karez.twin.fold import Events, Fold, freeze, occurrence, thaw
from karez.twin.table import Array, texts
from karez.twin.telemetry import CHANNELS, Samples, StateRows

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


def _requests(draw: st.DrawFn, count: int) -> Events:
    every = draw(st.lists(st.sampled_from([0.0, 0.1, 3.0, 60.0]), min_size=count, max_size=count))
    burst = draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    return {
        "at_s": _times(draw, count),
        "name": _names(draw, count),
        "every_s": np.array(every, np.float64),
        "burst": np.array(burst, np.int64),
    }


def _ledger(draw: st.DrawFn, count: int) -> Events:
    ones = st.builds(
        ledger.Request,
        what=st.sampled_from(ledger.WHATS),
        hold=st.sampled_from(NAMES),
        at_s=st.just(0.0),
        entity=st.sampled_from(("own", "other")),
        kind=st.sampled_from(("personal", "sensitive")),
        amount=st.sampled_from([0.1, 0.7, 1.0, 4.0]),
        line=st.just(5.0),
        expires_at_s=st.sampled_from([5.0, 1e6]),
    )
    asked = ledger.as_events(draw(st.lists(ones, min_size=count, max_size=count)))
    return {**asked, "at_s": _times(draw, count)}


def _finished(draw: st.DrawFn, count: int) -> Events:
    times = draw(st.lists(st.sampled_from([0.01, 0.7, 1.0, 1.3, 50.0]), min_size=count, max_size=count))
    named = {name: _names(draw, count) for name in ("model", "told", "chip")}
    return {
        "at_s": _times(draw, count),
        "kind": texts(["batch"] * count),
        **named,
        "times": np.array(times, np.float64),
    }


CASES = {
    "budget": Case(budget.FOLD, _requests),
    "ledger": Case(ledger.FOLD, _ledger),
    "speeds": Case(speeds.FOLD, _finished),
}


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


SERIES = {
    "probe": ("l>", "l<", "m>"),
    "counter": ("l@a", "l@b", "m@a", "m@b"),
    "user": ("d", "e"),
    "optical": ("l@a", "l@b"),
    "ping": ("r",),
    "transit": ("r",),
    "observer": ("lab",),
}
CUMULATED = ("tx_packets", "rx_packets", "rx_errors", "tx_drops")
Hearing = tuple[tuple[Samples, ...], float]


def _network() -> Twin:
    ends: dict[str, list[str]] = {"id": ["l", "m"], "a": ["s", "s"], "b": ["t", "t"], "kind": ["core"] * 2}
    routers = Table.of("equipment", {"id": ["r", "q"], "site": ["s", "t"], "kind": ["router"] * 2})
    return Twin().replace(Table.of("links", {**ends, "length_km": [80.0, 90.0]}), routers)


def _values(random: np.random.Generator, column: str, count: int, at_s: float) -> Array:
    """Values of all kinds, of which many are wrong and some are none."""
    if column in CUMULATED:
        values = np.floor(1e4 * at_s * random.choice([1.0, 1.0, 1.0, 0.9], count))
    elif column == "host_at_s":
        values = at_s + random.choice([0.0, 0.0, 0.003, -30.0], count)
    elif column == "stalled_ago_s":
        values = random.choice([np.inf, np.inf, 0.05, 0.4, 3.0], count)
    elif column in ("sent", "sent_large", "came"):
        values = random.choice([0.0, 4.0, 40.0, 1e4], count)
    elif column in ("lost", "lost_large", "left"):
        values = random.choice([0.0, 0.0, 1.0, 4.0], count)
    elif column == "oneway_us":
        values = random.choice([400.0, 410.0, 5_400.0, -200.0, 1e6], count)
    else:
        values = random.choice([-40.0, -8.0, 0.0, 0.5, 1.0, 8.0], count)
    return np.where(random.random(count) < 0.05, np.nan, values)


def _told(random: np.random.Generator, channel: str, at_s: float) -> Samples:
    names = SERIES[channel]
    some = [name for name in names if random.random() < 0.9]
    columns = {column: _values(random, column, len(some), at_s) for column in CHANNELS[channel]}
    return Samples(channel, at_s, texts(some), columns)


@st.composite
def _hearings(draw: st.DrawFn) -> list[Hearing]:
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    steps_s = draw(st.lists(st.sampled_from([0.1, 0.1, 0.1, 1.0, 60.0]), max_size=80))
    hearings, at_s = [], 0.0
    for step_s in steps_s:
        at_s = round(at_s + step_s, 6)
        told = tuple(_told(random, channel, at_s) for channel in SERIES if random.random() < 0.7)
        hearings.append((told, at_s))
    return hearings


@given(hearings=_hearings(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_hearings_cut_anywhere_and_ears_frozen_anywhere_give_the_same_bytes(
    hearings: list[Hearing], data: st.DataObject
) -> None:
    network, count = _network(), len(hearings)
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=5)))
    whole, changes = ears.step(Ears(network).freeze(), hearings, network)
    state, pieces = Ears(network).freeze(), list[tuple[StateRows, ...]]()
    for start, stop in zip([0, *cuts], [*cuts, count], strict=True):
        state, piece = ears.step(state, hearings[start:stop], network)
        pieces += piece
    assert state == whole
    assert tuple(pieces) == changes


@given(hearings=_hearings())
@settings(max_examples=50, deadline=None)
def test_what_is_heard_late_and_together_leaves_the_same_behind_as_what_is_heard_at_once(
    hearings: list[Hearing],
) -> None:
    at_once, late = Ears(_network()), Ears(_network())
    for told, at_s in hearings:
        at_once.hear(told, at_s)
    end_s = hearings[-1][1] if hearings else 0.0
    late.hear([some for told, _ in hearings for some in told], end_s)
    for name, channel in late.channels.items():
        assert channel.freeze() == at_once.channels[name].freeze(), name
    # When it was said differs, and so does how sure a silence is: that a series is silent, and for how long, is only
    # seen when somebody listens. What a device leaves unanswered is told anew then, so how much that is differs too.
    said = [
        {
            voice: signal[:-1] if voice.kind != "silence" else signal[: 1 if voice.source == "ping" else 2]
            for voice, signal in some.board.open.items()
        }
        for some in (late, at_once)
    ]
    assert said[0] == said[1]


def test_a_sample_from_the_future_is_refused() -> None:
    told = _told(np.random.default_rng(1), "probe", 5.0)
    with pytest.raises(ValueError, match="future"):
        Ears(_network()).hear([told], 4.9)
