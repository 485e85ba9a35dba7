"""How often a class of action may be taken: the generic cell rate algorithm, as a fold.

Source: ITU-T I.371 (virtual scheduling). The state of a class is one number, the theoretical time from which it would
be wholly unused, so nothing accrues between events and any cut of the events gives the same bytes.
"""

from __future__ import annotations

import numpy as np

from karez.twin import Table
from karez.twin.fold import Events, Fold, empty


def step(state: Table, events: Events, at_s: float) -> tuple[Table, Events]:
    """The state after requests for actions, and which of them are granted.

    `events` are columns `at_s` (s), `name` (class), `every_s` (s between actions in the long run) and `burst`
    (how many may come at once); the output is `granted`, a row for each request.

    Raises:
        ValueError: a request from after `at_s`.
    """
    if len(events["at_s"]) and events["at_s"].max() > at_s:
        raise ValueError("a request is from the future")
    new = np.setdiff1d(events["name"], state.ids)
    if len(new):
        state = state.add({name: column.array for name, column in empty(state.name, new).columns.items()})
    rows = state.rows(events["name"])
    free = state["free_at_s"].copy()
    granted = np.zeros(len(rows), bool)
    for index, row in enumerate(rows):
        now, every = events["at_s"][index], events["every_s"][index]
        granted[index] = free[row] <= now + (events["burst"][index] - 1) * every
        if granted[index]:
            free[row] = max(free[row], now) + every
    touched = np.unique(rows)
    return state.set(touched, free_at_s=free[touched]), {"granted": granted}


FOLD = Fold("action_budgets", step)
