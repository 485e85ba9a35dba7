"""What a user asks to break, in the embedded network or in a lab: kinds, and the fault that comes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import msgspec
import numpy as np

from karez.adapters.embedded import FAULTS, FOREVER_S, Fault, drawn
from karez.errors import InputError
from karez.measure.routes import case_of, flows
from karez.plan.heal.against import LEFT_GBPS
from karez.scenario.incidents import KINDS
from karez.twin import World

TABLES = {"link": "links", "duct": "ducts", "router": "equipment", "site": "sites", "daemon": "daemons"} | {
    "config": "configs",
    "demand": "demands",
}
# What is drawn even where no subject is named: it takes a link that is nearly full.
ON_FULL_LINKS = frozenset({"queue_small"})
# How many links are tried for one that traffic can be led around.
TRIED = 200


class Breaking(NamedTuple):
    """The kind of fault, what it befalls (drawn by `seed`, where empty), when it comes, and when it goes at the latest.

    What somebody has to mend does not go, and what passes by itself goes when it does.
    """

    kind: str
    subject: str
    seed: int
    at_s: float
    until_s: float = FOREVER_S


def require_kind(kind: str) -> None:
    """Return only if there is such a fault.

    Raises:
        InputError: there is none.
    """
    if kind not in KINDS:
        raise InputError.of("fault", f"{kind!r} is none", f"give one of {', '.join(KINDS)}")


def fault_of(world: World, network: str, asked: Breaking) -> Fault | None:
    """What goes wrong, when, where and how much; None where nothing is to.

    Raises:
        InputError: the network has nothing that it could befall, or not what is named.
    """
    kind = FAULTS[asked.kind]
    if kind.about == "nothing":
        return None
    fault = drawn_fault(world, network, asked)
    if kind.lasts_s is None:
        fault = msgspec.structs.replace(fault, until_s=FOREVER_S if kind.mended else asked.until_s)
    if asked.subject or kind.about != "link" or asked.kind in ON_FULL_LINKS:
        return fault
    subject = _busiest_link(world)
    if not subject:
        raise _nothing_to_break(network, asked)
    return msgspec.structs.replace(fault, subject=subject)


def drawn_fault(world: World, network: str, asked: Breaking) -> Fault:
    """What goes wrong, when, where and how much; where no subject is named, it is drawn like all else.

    Raises:
        InputError: the network has nothing that it could befall, or not what is named.
    """
    if asked.subject:
        _require_subject(world, network, asked)
    fault = drawn(world, asked.kind, np.random.default_rng(asked.seed), asked.at_s)
    if fault is None:
        raise _nothing_to_break(network, asked)
    return _moved(world, fault, asked.subject) if asked.subject else fault


def _nothing_to_break(network: str, asked: Breaking) -> InputError:
    about = FAULTS[asked.kind].about
    if about == "link":
        what, fix = "has no link whose traffic could take another way", "add links and demands"
    else:
        what, fix = f"has no {about} that {asked.kind} could befall", f"add one to the table {TABLES[about]}"
    return InputError.of(network, what, f"{fix}, or ask for --fault none")


def _require_subject(world: World, network: str, asked: Breaking) -> None:
    kind = FAULTS[asked.kind]
    table = world[TABLES[kind.about]]
    column = "kind" if kind.program else "section" if kind.section else ""
    wanted = kind.program or kind.section
    good = table.ids if not column else table.ids[table[column] == wanted.encode()]
    if kind.about == "router":
        good = table.ids[table["kind"] == b"router"]
    if asked.subject.encode() in good:
        return
    some = ", ".join(row.decode() for row in good[:5].tolist())
    what = f"{asked.subject!r} is no {f'{wanted} ' if wanted else ''}{kind.about} of {network}"
    raise InputError.of(
        "subject", what, f"give an id of the table {table.name}, such as {some}" if some else "there is none"
    )


def _moved(world: World, fault: Fault, subject: str) -> Fault:
    """The same fault at another subject; traffic is lost to a site that traffic from there goes to."""
    moved = msgspec.structs.replace(fault, subject=subject)
    if not fault.goal:
        return moved
    device = str(world["configs"].cell(subject, "equipment")) if world["configs"].has(subject) else subject
    site, demands = str(world["equipment"].cell(device, "site")), world["demands"]
    goals = demands["b"][(demands["a"] == site.encode()) & (demands["b"] != site.encode())]
    return msgspec.structs.replace(moved, goal=goals[0].decode()) if len(goals) else moved


def _busiest_link(world: World) -> str:
    """The link that carries most, of those that traffic can be led around; none where there is none."""
    case = case_of(world)
    load = flows(world, case).load_gbps
    rows, _ = world.observed("links")
    load = np.where(np.isin(np.arange(len(load)), rows), load, 0.0)
    order = np.argsort(-load, kind="stable")[: min(TRIED, int(np.count_nonzero(load)))]
    return next((world["links"].ids[row].decode() for row in order.tolist() if _is_spared(world, row)), "")


def _is_spared(world: World, row: int) -> bool:
    """Whether no traffic is left on a link once it is drained."""
    case = case_of(world)
    drained = case.drained.copy()
    drained[row] = True
    return bool(flows(world, replace(case, drained=drained)).load_gbps[row] <= LEFT_GBPS)
