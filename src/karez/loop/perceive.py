"""What a turn takes in: observations and signals into the actual twin, and what follows from them as findings.

Findings are read off what is known, never off what has just changed: a loop that starts in the middle finds the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from karez.adapters.network import seen
from karez.detect.deviations import deviating
from karez.loop.places import subject_sites
from karez.loop.state import Found, Inputs, Running, Said, State
from karez.measure.diagnose import Cause, diagnose
from karez.plan.heal import GRAY
from karez.twin import Table, Twin
from karez.twin.schema import Value
from karez.twin.table import Array, strings

# How sure a cause must be to be told, and by how much more or less sure to be told anew.
TOLD_SHARE, TOLD_AGAIN_SHARE = 0.5, 0.1
# How long nothing has to speak for a finding before it is closed, and for one on what runs on a router, which is the
# longer busy with it: counters are read each second, and BGP tells nobody anything for two (s).
FADES_S, SETTLES_S = 3.0, 6.0
ON_ROUTERS = ("daemons", "configs")
# What a router seems to have that knows no way.
DROPPING = frozenset({"router_fabric_loss", "router_fib_stale"})
# The kinds of finding that are not diagnosed, but read off one table.
ORDER_DUE = "order_due"
# What an act of the loop shows as until the network has it, and the column that it set.
ECHOES = {"cost_wrong": "cost", "drain_left": "drained", "router_drain_left": "drained"}


def observed(state: State, inputs: Inputs) -> State:
    """The state with all that was observed and noticed."""
    # What was read back right after an act is older than what was observed since.
    read_back = (rows for reply in inputs.replies for rows in reply.read_back)
    return state.known(*seen(seen(state.actual, read_back), inputs.changes).tables.values())


def perceived(state: State, at_s: float, said: Said) -> State:
    """The state with what deviates from what should be as signals, and findings opened and closed accordingly.

    Replies must have been taken in before: what the loop itself has changed is no deviation.
    """
    return found(state.known(deviating(state.world, at_s)), at_s, said)


def found(state: State, at_s: float, said: Said) -> State:
    """The state with findings as the actual twin has them at `at_s`.

    A finding stays as it is while an act for it, or on its row, is on the way.
    """
    busy, because, asked = _busy(state), _because(state), _asked(state)
    causes = _causes(state, at_s, busy)
    if settling := _settling(state, causes):
        busy |= settling
        causes = _causes(state, at_s, busy)
    young = _young(state, at_s)
    causes = {name: cause for name, cause in causes.items() if not (cause.kind in DROPPING and cause.subject in young)}
    # What was asked for and is not to be seen yet is nothing that somebody left so.
    causes = {name: cause for name, cause in causes.items() if (cause.subject, ECHOES.get(cause.kind, "")) not in asked}
    there, subjects = _open(state.findings), {cause.subject for cause in causes.values()}
    for name, cause in causes.items():
        is_told = name in there or cause.confidence >= TOLD_SHARE
        if is_told and name not in because and cause.subject not in busy:
            state = _told(state, cause, at_s, said)
    for name, subject in there.items():
        if name not in causes and name not in because and subject not in busy:
            state = _fading(state, name, at_s, subjects, said)
    return state


def _causes(state: State, at_s: float, busy: frozenset[str]) -> dict[str, Cause]:
    """What is wrong now, under the names by which it is known."""
    diagnosed = diagnose(state.world, at_s=at_s, busy=busy, foreseen_us=_foreseen_us(state))
    causes = (*(_same(state.findings, cause) for cause in diagnosed), *_late(state.actual, at_s))
    return {cause.id: cause for cause in causes}


def _settling(state: State, causes: Mapping[str, Cause]) -> frozenset[str]:
    """The routers, and their sites, of programs and sections that are no longer told of but were just now.

    What a router shows of itself then is of what was, and of a program that has only begun.
    """
    intended = state.intended
    gone = [subject for name, subject in _open(state.findings).items() if name not in causes]
    places = [(table, subject) for table in ON_ROUTERS for subject in gone if intended[table].has(subject)]
    devices = {str(intended[table].cell(subject, "equipment")) for table, subject in places}
    sites = (site for table, subject in places for site in subject_sites(state.world, table, subject))
    return frozenset((*devices, *sites))


def _young(state: State, at_s: float) -> frozenset[str]:
    """The routers that have only just come back, and may forward before they know the way to all users."""
    signals = state.actual["signals"]
    young = signals["open"] & (signals["kind"] == b"booted") & (signals["since_s"] > at_s - SETTLES_S)
    return frozenset(strings(signals["subject"][young]))


def _open(findings: Table) -> dict[str, str]:
    """The findings that are open, and the subject of each."""
    rows = np.flatnonzero(findings["open"])
    names, subjects = (findings[column][rows].tolist() for column in ("id", "subject"))
    return {name.decode(): subject.decode() for name, subject in sorted(zip(names, subjects, strict=True))}


def _same(findings: Table, cause: Cause) -> Cause:
    """The cause, under the name by which it is known: what was mended shows less of itself than before."""
    kept = np.flatnonzero((findings["subject"] == cause.subject.encode()) & (findings["held"] != b""))
    if not len(kept) or cause.kind not in GRAY:
        return cause
    return cause._replace(kind=findings["kind"][kept[0]].decode())


def _fading(state: State, finding: str, at_s: float, subjects: set[str], said: Said) -> State:
    """The state in which a finding that nothing speaks for any more is closed, or will be if it stays so."""
    findings = state.findings
    since_s = float(findings.cell(finding, "closed_at_s"))
    subject = str(findings.cell(finding, "subject"))
    at_once = str(findings.cell(finding, "kind")) == ORDER_DUE or subject in subjects
    settles = any(state.intended[table].has(subject) for table in ON_ROUTERS)
    if at_once or at_s - since_s >= (SETTLES_S if settles else FADES_S):
        return _closed(state, finding, at_s, said)
    if np.isfinite(since_s):
        return state
    return state.known(findings.set(findings.rows([finding]), closed_at_s=at_s))


def _busy(state: State) -> frozenset[str]:
    """The rows that the loop is changing now: what they show is its own doing."""
    return frozenset(row for running in _on_the_way(state) for _, row in running.command.touched)


def _foreseen_us(state: State) -> dict[str, float]:
    """By demand, how late it was to be after what is done and not taken back."""
    found: dict[str, float] = {}
    for running in (running for running in state.running if running.done_at_s):
        for demand, late_us in running.command.foreseen_us.items():
            found[demand] = max(late_us, found.get(demand, 0.0))
    return found


def _because(state: State) -> frozenset[str]:
    """The findings for which something is on the way."""
    return frozenset(name for running in _on_the_way(state) for name in running.because)


def _on_the_way(state: State) -> tuple[Running, ...]:
    return tuple(running for running in state.running if running.phase in ("sent", "failed"))


def _asked(state: State) -> frozenset[tuple[str, str]]:
    """The rows and columns that the loop has set and waits to see."""
    waited = (running.command for running in state.running if running.phase == "verifying")
    return frozenset((cell.row, cell.column) for command in waited for act in command.actions for cell in act.sets)


def _late(actual: Twin, at_s: float) -> tuple[Cause, ...]:
    """The sites where an order is overdue."""
    orders = actual["order_states"]
    late: Array = np.unique(orders["site"][(orders["due_at_s"] < at_s) & ~orders["delivered"]])
    return tuple(Cause(ORDER_DUE, site.decode(), at_s, 1.0, (), 1, np.nan, ()) for site in late.tolist())


def _told(state: State, cause: Cause, at_s: float, said: Said) -> State:
    """The state in which the finding is open and says what is known of it now."""
    findings, values = state.findings, _values(cause)
    if not findings.has(cause.id):
        said.found.append(Found(cause.id, True, cause.kind, cause.subject))
        row: dict[str, Value] = {"id": cause.id, "kind": cause.kind, "subject": cause.subject, "since_s": cause.since_s}
        row |= values
        return state.known(findings.add({name: [value] for name, value in row.items()}))
    rows = findings.rows([cause.id])
    if not findings.cell(cause.id, "open"):
        said.found.append(Found(cause.id, True, cause.kind, cause.subject))
        times = int(findings.cell(cause.id, "times")) + 1
        return state.known(
            findings.set(rows, open=True, since_s=cause.since_s, times=times, closed_at_s=np.nan, **values)
        )
    if _differs(findings, cause) or np.isfinite(float(findings.cell(cause.id, "closed_at_s"))):
        return state.known(findings.set(rows, closed_at_s=np.nan, **values))
    return state


def _differs(findings: Table, cause: Cause) -> bool:
    """Whether a finding that is open has something new to tell."""
    known = float(findings.cell(cause.id, "confidence"))
    evidence = str(findings.cell(cause.id, "evidence"))
    return abs(known - cause.confidence) >= TOLD_AGAIN_SHARE or evidence != _json(cause.evidence)


def _values(cause: Cause) -> dict[str, Value]:
    return {
        "confidence": cause.confidence,
        "evidence": _json(cause.evidence),
        "sources": cause.sources,
        "others": _json(cause.others),
        "size": cause.size,
    }


def _json(value: tuple[object, ...]) -> str:
    return msgspec.json.encode(value).decode()


def _closed(state: State, finding: str, at_s: float, said: Said) -> State:
    findings = state.findings
    kind, subject = (str(findings.cell(finding, column)) for column in ("kind", "subject"))
    said.found.append(Found(finding, False, kind, subject))
    return state.known(findings.set(findings.rows([finding]), open=False, closed_at_s=at_s))
