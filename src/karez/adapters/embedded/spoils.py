"""Faults that set something once and leave it: costs, drains, sections of configuration, counts of restarts."""

from __future__ import annotations

from karez.adapters.embedded.faults import FAULTS, Fault
from karez.adapters.embedded.gear import wrong_value
from karez.adapters.embedded.living import Living
from karez.adapters.embedded.plant import MOST_COST, row

ROUTED = ("cost_wrong", "drain_left", "router_drain_left")


def begun(living: Living) -> None:
    """Begin the faults whose time has come, and end those whose time is over."""
    while living.coming and living.coming[0].at_s <= living.at_s:
        fault = living.coming.pop(0)
        if fault.until_s > living.at_s:
            living.active.append(fault)
            _set(living, fault, back=False)
    for fault in [fault for fault in living.active if fault.until_s <= living.at_s]:
        living.active.remove(fault)
        _set(living, fault, back=True)
        _count(living, fault)


def _set(living: Living, fault: Fault, *, back: bool) -> None:
    """Set what a fault sets, or put it back to what is intended."""
    gear, made = living.gear, living.plant
    if fault.kind in ("cost_wrong", "drain_left"):
        link = row(made.links.ids, fault.subject)
        if fault.kind == "cost_wrong":
            gear.cost[link] = made.links.cost[link] if back else _wrong_cost(living, link, fault)
        else:
            gear.drained[link] = made.links.drained[link] if back else True
        living.tell("link_states", [fault.subject])
    elif fault.kind == "router_drain_left":
        device = row(made.devices.ids, fault.subject)
        gear.router_drained[device] = made.devices.drained[device] if back else True
        living.tell("equipment_states", [fault.subject])
    elif FAULTS[fault.kind].about == "config":
        section = row(made.sections.ids, fault.subject)
        value = made.sections.value[section]
        gear.values[section] = value if back else wrong_value(fault, value)
        living.tell("config_states", [fault.subject])
    if fault.kind in ROUTED:
        living.sessions.tell(living.at_s)


def _wrong_cost(living: Living, link: int, fault: Fault) -> int:
    usual = int(living.gear.cost[link] or living.plant.links.derived_cost[link])
    return min(max(usual + 1, round(usual * fault.size_share)), MOST_COST - 1)


def _count(living: Living, fault: Fault) -> None:
    """Count the restarts of devices that come back by themselves."""
    devices, boots = living.plant.devices, living.gear.boots
    if fault.kind == "router_booted":
        boots[row(devices.ids, fault.subject)] += 1
    if fault.kind == "site_power_lost":
        boots[devices.site == row(living.plant.sites.ids, fault.subject)] += 1
