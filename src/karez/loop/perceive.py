"""What a turn takes in: observations into the actual twin and the folds, and what follows from them as findings.

Findings are read off what is known, never off what has just changed: a loop that starts in the middle finds the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from karez.adapters.network import StateRows, seen
from karez.detect import drift
from karez.loop.state import Found, Inputs, Said, State
from karez.twin import Table, Twin
from karez.twin.fold import Events
from karez.twin.table import Array, texts


def perceived(state: State, inputs: Inputs, said: Said) -> State:
    """The state with all that was observed, and with findings opened and closed accordingly."""
    # What was read back right after an act is older than what was observed since.
    read_back = (rows for reply in inputs.replies for rows in reply.read_back)
    state = state.known(*seen(seen(state.actual, read_back), inputs.changes).tables.values())
    learned, _ = drift.step(state.actual["drift_series"], samples(inputs.changes, inputs.at_s), inputs.at_s)
    return found(state.known(learned), inputs.at_s, said)


def found(state: State, at_s: float, said: Said) -> State:
    """The state with findings as the actual twin and the folds have them at `at_s`."""
    series = state.actual["drift_series"]
    slow, well = series.ids[series["open"]], series.ids[~series["open"]]
    since_s = dict(zip(series.ids.tolist(), series["since_s"].tolist(), strict=True))
    for link in _new(state, "delay_drift", slow):
        state = _opened(state, "delay_drift", link, since_s[link], _excess_us(state.actual, link), said)
    state = _closed(state, "delay_drift", well, said)
    for kind, (now, gone) in {"device_silent": _silent(state.actual), "order_due": _late(state.actual, at_s)}.items():
        for subject in _new(state, kind, now):
            state = _opened(state, kind, subject, at_s, np.nan, said)
        state = _closed(state, kind, gone, said)
    return state


def samples(changes: Iterable[StateRows], at_s: float) -> Events:
    """The delay samples among what was observed, as events of the drift fold."""
    rows = [change for change in changes if change.table == "link_states" and "oneway_us" in change.columns]
    links = texts(link for change in rows for link in change.ids)
    values = np.array([value for change in rows for value in change.columns["oneway_us"]], np.float64)
    return {"at_s": np.full(len(links), at_s), "link": links, "oneway_us": values}


def _silent(actual: Twin) -> tuple[Array, Array]:
    """The devices that do not answer, and those that do."""
    devices = actual["equipment_states"]
    return devices.ids[~devices["up"]], devices.ids[devices["up"]]


def _late(actual: Twin, at_s: float) -> tuple[Array, Array]:
    """The sites where an order is overdue, and those where none is."""
    orders = actual["order_states"]
    late = np.unique(orders["site"][(orders["due_at_s"] < at_s) & ~orders["delivered"]])
    return late, np.setdiff1d(orders["site"], late)


def _excess_us(actual: Twin, link: bytes) -> float:
    """How far the delay last measured lies above what was learned."""
    states, name = actual["link_states"], link.decode()
    now = float(states.cell(name, "oneway_us")) if states.has(name) else np.nan
    return now - float(actual["drift_series"].cell(name, "baseline_us"))


def _open(findings: Table, kind: str) -> Array:
    return np.asarray((findings["kind"] == kind.encode()) & findings["open"])


def _new(state: State, kind: str, subjects: Array) -> list[bytes]:
    """The subjects for which no finding of the kind is open yet."""
    there = state.findings["subject"][_open(state.findings, kind)]
    return [bytes(subject) for subject in np.setdiff1d(subjects, there).tolist()]


def _opened(state: State, kind: str, subject: bytes, since_s: float, excess_us: float, said: Said) -> State:
    findings, name = state.findings, subject.decode()
    row_id = f"{kind}/{name}"
    values = {"since_s": since_s, "excess_us": excess_us}
    if findings.has(row_id):
        findings = findings.set(findings.rows([row_id]), open=True, **values)
    else:
        row = {"id": [row_id], "kind": [kind], "subject": [name]}
        findings = findings.add(row | {column: [value] for column, value in values.items()})
    said.found.append(Found(row_id, True, kind, name))
    return state.known(findings)


def _closed(state: State, kind: str, subjects: Array, said: Said) -> State:
    findings = state.findings
    rows = np.flatnonzero(_open(findings, kind))
    # Nearly always none is open, and there is no need to look through all that is well.
    rows = rows[np.isin(findings["subject"][rows], subjects)] if len(rows) else rows
    if not len(rows):
        return state
    for row in rows:
        said.found.append(Found(findings.ids[row].decode(), False, kind, findings["subject"][row].decode()))
    return state.known(findings.set(rows, open=False))
