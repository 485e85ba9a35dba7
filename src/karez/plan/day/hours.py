"""Within which of the planned hours each job may run, and in which order jobs come that wait for each other."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from karez.errors import Problem
from karez.plan.day.ask import Ask
from karez.twin import Twin
from karez.twin.table import Array, strings, text, texts
from karez.units import S_PER_H

# What rounding may do to an hour.
ROUNDING_H = 1e-6
SHOWN_ROWS = 5


class Windows(NamedTuple):
    """The hours from `opens` to `closes` (the first that is too late) of each job, as positions among planned hours."""

    opens: Array
    closes: Array


def windows(twin: Twin, ask: Ask, jobs: Array) -> Windows:
    """The planned hours within the times of jobs (rows): none where it closes no later than it opens."""
    table = twin["jobs"]
    opens = np.ceil((table["opens_at_s"][jobs] - ask.at_s) / S_PER_H - ROUNDING_H)
    closes = np.floor((table["closes_at_s"][jobs] - ask.at_s) / S_PER_H + ROUNDING_H)
    return Windows(*(np.clip(hours, 0, ask.hours).astype(int) for hours in (opens, closes)))


def contradictions(twin: Twin) -> list[Problem]:
    """Jobs that are to be done before they may begin."""
    table = twin["jobs"]
    wrong = strings(table.ids[table["closes_at_s"] <= table["opens_at_s"]])
    if not wrong:
        return []
    return [Problem("jobs.closes_at_s", "is not after opens_at_s", "correct the times", wrong)]


def chained(twin: Twin) -> Array:
    """Whether each job waits for another, or is waited for."""
    table = twin["jobs"]
    waited = {name for words in strings(np.unique(table["after"])) for name in words.split()}
    return np.asarray((table["after"] != b"") | np.isin(table.ids, texts(sorted(waited))))


def online_waits(twin: Twin) -> list[Problem]:
    """Online jobs that wait, or are waited for: they run in all of their hours, and are never done."""
    table = twin["jobs"]
    wrong = (table["kind"] == b"online") & chained(twin)
    if not wrong.any():
        return []
    what = "is of an online job, which runs in all of its hours and is never done"
    return [Problem("jobs.after", what, "give it times instead", strings(table.ids[wrong]))]


def waits(twin: Twin) -> tuple[list[list[int]], list[Problem]]:
    """The jobs (rows) that each job waits for, and what is wrong with that: one that is not there, or a circle."""
    table = twin["jobs"]
    for_ = [list[int]() for _ in range(len(table))]
    missing = list[str]()
    for row in np.flatnonzero(table["after"] != b"").tolist():
        for name in text(table["after"][row]).split():
            if table.has(name):
                for_[row].append(int(table.rows([name])[0]))
            else:
                missing.append(text(table.ids[row]))
    problems = []
    if missing:
        problems.append(Problem("jobs.after", "waits for a job that is not there", "name jobs", tuple(missing)))
    circle = _left(for_)
    if circle:
        names = strings(table.ids[np.array(circle[:SHOWN_ROWS])])
        problems.append(Problem("jobs.after", "jobs wait for each other in a circle", "take one of them out", names))
    return for_, problems


def in_order(for_: Sequence[Sequence[int]]) -> list[int]:
    """The rows, each after all that it waits for; rows in a circle, and what waits for them, are left out."""
    left = [len(set(before)) for before in for_]
    then = [list[int]() for _ in for_]
    for row, before in enumerate(for_):
        for one in set(before):
            then[one].append(row)
    ready, found = deque(row for row, count in enumerate(left) if not count), list[int]()
    while ready:
        row = ready.popleft()
        found.append(row)
        for next_ in then[row]:
            left[next_] -= 1
            if not left[next_]:
                ready.append(next_)
    return found


def _left(for_: Sequence[Sequence[int]]) -> list[int]:
    """Rows of one circle; none where there is none."""
    rest = set(range(len(for_))) - set(in_order(for_))
    if not rest:
        return []
    row, way = min(rest), list[int]()
    while row not in way:
        way.append(row)
        row = next(one for one in for_[row] if one in rest)
    return way[way.index(row) :]


def apart(for_: Sequence[Sequence[int]], usual_h: Array, own: Windows) -> Windows:
    """Hours of its own for each job that waits or is waited for, so that whatever comes of them, the order holds.

    The hours of jobs that hang together are cut by how long the longest chain through each takes. `usual_h` are hours
    that jobs take.
    """
    order, count = in_order(for_), len(for_)
    before, group = np.zeros(count), np.arange(count)
    for row in order:
        for one in for_[row]:
            before[row] = max(before[row], before[one] + usual_h[one])
    for row in order:
        for one in for_[row]:
            group = _joined(group, row, one)
    opens, closes = own.opens.copy(), own.closes.copy()
    chained = np.array([bool(each) for each in for_], bool)
    chained[[one for each in for_ for one in each]] = True
    for members in _groups(np.where(chained, group, -1)):
        first, last = int(own.opens[members].min()), int(own.closes[members].max())
        whole = float((before[members] + usual_h[members]).max())
        begins = first + np.floor(before[members] / whole * (last - first) + ROUNDING_H)
        ends = first + np.floor((before[members] + usual_h[members]) / whole * (last - first) + ROUNDING_H)
        opens[members] = np.maximum(own.opens[members], begins)
        closes[members] = np.minimum(own.closes[members], ends)
    return Windows(opens, np.maximum(closes, opens))


def at_best(for_: Sequence[Sequence[int]], fastest_h: Array, own: Windows) -> Windows:
    """The hours within which each job has to lie whatever is planned: after those before it, were they fastest.

    Those before it may run as late as they like, for nobody has to run.
    """
    opens = own.opens.astype(float)
    for row in in_order(for_):
        for one in for_[row]:
            opens[row] = max(opens[row], opens[one] + fastest_h[one])
    return Windows(opens.astype(int), np.maximum(own.closes, opens).astype(int))


def _joined(group: Array, one: int, other: int) -> Array:
    return np.where(group == group[other], group[one], group)


def _groups(group: Array) -> list[Array]:
    return [np.flatnonzero(group == name) for name in np.unique(group[group >= 0])]


def hours_h(value: float) -> int:
    """Whole hours that so many take."""
    return max(1, math.ceil(value - ROUNDING_H))
