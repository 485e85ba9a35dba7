"""A link that grows slower: a cumulated sum of the delay above what was learned as normal (CUSUM).

Source: Page, "Continuous inspection schemes", Biometrika 41 (1954), one-sided, with the increments clipped so that one
wild sample cannot raise an alarm and the sum bounded so that a mended link is cleared within a few samples.
"""

from __future__ import annotations

import numpy as np

from karez.twin import Table
from karez.twin.fold import Events, Fold, empty, occurrence
from karez.twin.table import Array

LEARNED_SAMPLES = 5
SLACK_US = 150.0
CLIP_US = 500.0
ALARM_US = 1_000.0
CEILING_US = 2_000.0


def step(state: Table, events: Events, at_s: float) -> tuple[Table, Events]:
    """The state after delay samples, and each change of "found" or "gone".

    `events` are columns `at_s` (s), `link` (id) and `oneway_us`; the outputs are `at_s`, `link`, `open`, `since_s` and
    `excess_us`, a row for each change, in the order of the samples that caused it.

    Raises:
        ValueError: a sample from after `at_s`.
    """
    if len(events["at_s"]) and events["at_s"].max() > at_s:
        raise ValueError("a sample is from the future")
    # What is no number says nothing, and would spoil all that comes after it.
    finite = np.isfinite(events["oneway_us"])
    events = {name: values[finite] for name, values in events.items()}
    state = _with_links(state, events["link"])
    columns = {name: state[name].copy() for name in ("samples", "baseline_us", "excess_us", "since_s", "open")}
    rows, turn = state.rows(events["link"]), occurrence(events["link"])
    outputs: list[tuple[Array, Array]] = []
    for index in range(int(turn.max(initial=-1)) + 1):
        picked = np.flatnonzero(turn == index)
        outputs.append(_round(columns, rows[picked], picked, events))
    touched = np.unique(rows)
    return state.set(touched, **{name: column[touched] for name, column in columns.items()}), _merged(outputs, events)


def _with_links(state: Table, links: Array) -> Table:
    new = np.setdiff1d(links, state.ids)
    if not len(new):
        return state
    more = empty(state.name, new)
    return state.add({name: more[name] for name in more.columns})


def _round(columns: dict[str, Array], rows: Array, picked: Array, events: Events) -> tuple[Array, Array]:
    """Take one sample a link into `columns`; the events that changed "open", and the four values of each."""
    sample, now = events["oneway_us"][picked], events["at_s"][picked]
    seen, base, was = columns["samples"][rows], columns["baseline_us"][rows], columns["open"][rows]
    learning = seen < LEARNED_SAMPLES
    columns["samples"][rows] = seen + 1
    columns["baseline_us"][rows] = np.where(learning, base + (sample - base) / (seen + 1), base)
    rise = np.clip(sample - base - SLACK_US, -CLIP_US, CLIP_US)
    before = columns["excess_us"][rows]
    excess = np.where(learning, 0.0, np.clip(before + rise, 0.0, CEILING_US))
    rising = (before == 0) & (excess > 0)
    since = np.where(excess == 0, np.nan, np.where(rising, now, columns["since_s"][rows]))
    found = np.where(was, excess > 0, excess >= ALARM_US)
    columns["excess_us"][rows], columns["since_s"][rows], columns["open"][rows] = excess, since, found
    flipped = found != was
    values = np.stack([found[flipped], since[flipped], (sample - base)[flipped]])
    return picked[flipped], values


def _merged(outputs: list[tuple[Array, Array]], events: Events) -> Events:
    picked = np.concatenate([np.zeros(0, np.int64), *(index for index, _ in outputs)])
    values = np.concatenate([np.zeros((3, 0)), *(value for _, value in outputs)], axis=1)
    order = np.argsort(picked, kind="stable")
    picked, values = picked[order], values[:, order]
    return {
        "at_s": events["at_s"][picked],
        "link": events["link"][picked],
        "open": values[0].astype(bool),
        "since_s": values[1],
        "excess_us": values[2],
    }


FOLD = Fold("drift_series", step)
