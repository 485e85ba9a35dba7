"""What the network does when it is told to: each kind of action, and what may stand in its way."""

from __future__ import annotations

from collections.abc import Callable

from karez.adapters.embedded.gear import BOOT_S, RESTART_S
from karez.adapters.embedded.living import Living
from karez.adapters.embedded.plant import Programs, Sections, row
from karez.adapters.network import said
from karez.plan import Action

# How long it takes to change the cost of a link in steps, so that nothing goes in circles meanwhile (s).
STEPS_S = 0.45


def acted(living: Living, action: Action) -> str:
    """What stands in the way of an act; empty when the network took it. Taken twice it is as taken once."""
    if action.kind not in ACTS:
        return f"this network cannot do {action.kind}"
    return ACTS[action.kind](living, action)


def _set_link(living: Living, action: Action) -> str:
    at = row(living.plant.links.ids, action.subject)
    if at < 0:
        return f"there is no link {action.subject}"
    living.tell("link_states", [action.subject])
    if action.subject in living.effects.deaf:
        return ""
    for column, value in said(action, "links", "link_states"):
        if column == "drained":
            living.gear.drained[at] = bool(value)
        if column == "cost":
            living.gear.cost[at] = int(value)
    living.mend(action.kind, action.subject)
    living.sessions.tell(living.at_s + STEPS_S)
    return ""


def _set_router(living: Living, action: Action) -> str:
    at = row(living.plant.devices.ids, action.subject)
    if at < 0:
        return f"there is no device {action.subject}"
    if living.silent(at):
        return f"{action.subject} does not answer"
    living.tell("equipment_states", [action.subject])
    if action.subject in living.effects.deaf:
        return ""
    for column, value in said(action, "equipment", "equipment_states"):
        if column == "drained":
            living.gear.router_drained[at] = bool(value)
    living.mend(action.kind, action.subject)
    living.sessions.tell(living.at_s)
    return ""


def _steer(living: Living, action: Action) -> str:
    at, site = row(living.plant.demands.ids, action.subject), str(action.sets[0].after)
    if at < 0:
        return f"there is no demand {action.subject}"
    found = row(living.plant.sites.ids, site)
    over = int(living.plant.sites.vertex[found]) if found >= 0 else -1
    if site and over < 0:
        return f"nothing can be led over {site}"
    living.gear.via[at] = over
    living.tell("demand_states", [action.subject])
    living.sessions.steer(living.gear)
    return ""


def _limit(living: Living, action: Action) -> str:
    at = row(living.plant.demands.ids, action.subject)
    if at < 0:
        return f"there is no demand {action.subject}"
    living.gear.limited[at] = float(action.sets[0].after)
    living.tell("demand_states", [action.subject])
    return ""


def _on_device(living: Living, subject: str, known: Programs | Sections, what: str, states: str) -> tuple[int, str]:
    """The row of a program or section, and what stands in its way; where nothing does, its state is to be told."""
    at = row(known.ids, subject)
    if at < 0:
        return at, f"there is no {what} {subject}"
    if living.silent(int(known.device[at])):
        return at, f"the device of {subject} does not answer"
    living.tell(states, [subject])
    return at, ""


def _restart_program(living: Living, action: Action) -> str:
    gear = living.gear
    at, why = _on_device(living, action.subject, living.plant.programs, "program", "daemon_states")
    if why or gear.restarts[at] == action.sets[0].after or action.subject in living.effects.deaf:
        return why
    gear.restarts[at] = int(action.sets[0].after)
    gear.restart_until_s[at] = living.at_s + RESTART_S
    living.mend(action.kind, action.subject)
    return ""


def _restore(living: Living, action: Action) -> str:
    sections = living.plant.sections
    at, why = _on_device(living, action.subject, sections, "section", "config_states")
    if why or action.subject in living.effects.deaf:
        return why
    living.gear.restores[at] = int(action.sets[0].after)
    living.gear.values[at] = sections.value[at]
    living.mend(action.kind, action.subject)
    return ""


def _restart(living: Living, action: Action) -> str:
    at, gear = row(living.plant.devices.ids, action.subject), living.gear
    if at < 0:
        return f"there is no device {action.subject}"
    living.tell("equipment_states", [action.subject])
    if gear.boots[at] == action.sets[0].after or action.subject in living.effects.deaf:
        return ""
    gear.boots[at] = int(action.sets[0].after)
    gear.boot_until_s[at] = living.at_s + BOOT_S
    living.mend(action.kind, action.subject)
    return ""


def _start(living: Living, action: Action) -> str:
    why = living.stock.start(action)
    living.tell("server_states", [str(action.adds[0].values["server"])])
    return why


def _order(living: Living, action: Action) -> str:
    living.stock.order(action, living.at_s)
    living.tell("order_states", [action.id])
    return ""


ACTS: dict[str, Callable[[Living, Action], str]] = {
    "drain_link": _set_link,
    "undrain_link": _set_link,
    "set_cost": _set_link,
    "drain_router": _set_router,
    "undrain_router": _set_router,
    "restore_link": _set_link,
    "restore_router": _set_router,
    "steer_demand": _steer,
    "limit_demand": _limit,
    "restart_daemon": _restart_program,
    "restore_config": _restore,
    "restart_device": _restart,
    "start_job": _start,
    "order_equipment": _order,
    "order_servers": _order,
}
