"""How fast finished jobs turned out to be, as a fold: what their hours teach about works on chips.

A *work* is a kind of job, a model, and the chip that its hours are told for. The state has for each work on each chip
how many times as fast as estimated its jobs were, as a mean of logarithms in which later jobs count more, so that a new
engine is learned and an old one forgotten. It is drawn towards the estimate, which counts as one job: the first job
moves it half of the way.

Source: S. W. Roberts, "Control chart tests based on geometric moving averages" (1959); the mean of a normal
distribution under a normal prior.
"""

from __future__ import annotations

import numpy as np

from karez.twin import Table, Twin
from karez.twin.fold import Events, Fold
from karez.twin.table import Array, resolve, strings, texts

TABLE = "speed_series"
# What is left of all before when one more job is learned from, and for how many jobs the estimate counts.
KEPT_SHARE, PRIOR_JOBS = 0.98, 1.0
# No job says more than that it was so many times as fast as estimated, or as slow.
MOST_TIMES = 4.0
NAMED = ("kind", "told", "chip", "model")


def step(state: Table, events: Events, at_s: float) -> tuple[Table, Events]:
    """The state after finished jobs, and how far off each was (`off`, a logarithm) from what was believed before it.

    `events` are columns `at_s` (s), `kind`, `model`, `told` (the chip that hours are told for; none: empty), `chip`
    (that it ran on), and `times`, how many times as fast as estimated it was.

    Raises:
        ValueError: a job from after `at_s`.
    """
    if len(events["at_s"]) and events["at_s"].max() > at_s:
        raise ValueError("a job is from the future")
    names = ids_of(events)
    unknown = np.flatnonzero(~np.isin(names, state.ids))
    new, first = np.unique(names[unknown], return_index=True)
    if len(new):
        begins = {"id": new, "until_s": events["at_s"][unknown[first]]}
        state = state.add(begins | {part: events[part][unknown[first]] for part in NAMED})
    rows = state.rows(names)
    jobs, weight, log_sum, until_s = (state[column].copy() for column in ("jobs", "weight", "log_sum", "until_s"))
    log, off = np.log(events["times"]), np.empty(len(rows))
    told = np.clip(log, -np.log(MOST_TIMES), np.log(MOST_TIMES))
    for event, row in enumerate(rows.tolist()):
        off[event] = log[event] - log_sum[row] / (weight[row] + PRIOR_JOBS)
        jobs[row] += 1
        weight[row] = KEPT_SHARE * weight[row] + 1.0
        log_sum[row] = KEPT_SHARE * log_sum[row] + told[event]
        until_s[row] = events["at_s"][event]
    touched = np.unique(rows)
    columns = {"jobs": jobs, "weight": weight, "log_sum": log_sum, "until_s": until_s}
    return state.set(touched, **{name: values[touched] for name, values in columns.items()}), {"off": off}


FOLD = Fold(TABLE, step)


def ids_of(events: Events) -> Array:
    """The row of the state that each event is of."""
    parts = ([_escaped(one) for one in strings(events[part])] for part in NAMED)
    return texts("/".join(names) for names in zip(*parts, strict=True))


def _escaped(name: str) -> str:
    """A name without the sign that stands between names."""
    return name.replace("%", "%25").replace("/", "%2F")


def believed(state: Table) -> Array:
    """How many times as fast as estimated each row of the state is believed to be."""
    return np.asarray(np.exp(state["log_sum"] / (state["weight"] + PRIOR_JOBS)))


def times(twin: Twin, state: Table, kind: Array, model: Array, told: Array) -> Array:
    """How many times as fast as estimated works are on each chip of the twin, shape (works, chips); 1 where unknown.

    Works are a kind (S), the row of a model, and that of the chip that hours are told for (-1: none) each.
    """
    found = np.ones((len(model), len(twin["chips"])))
    of_model, of_told, of_chip = (
        resolve(state[column], (twin[table].columns["id"],))
        for column, table in (("model", "models"), ("told", "chips"), ("chip", "chips"))
    )
    known = (of_model >= 0) & (of_chip >= 0) & ((of_told >= 0) | (state["told"] == b""))
    speeds = believed(state)
    for row in np.flatnonzero(known).tolist():
        same = (kind == state["kind"][row]) & (model == of_model[row]) & (told == of_told[row])
        found[same, of_chip[row]] = speeds[row]
    return found
