"""What is configured and what runs, as it is: costs, drains, devices, programs, sections, demands' rules."""

from __future__ import annotations

import numpy as np

from karez.adapters.embedded.faults import Fault
from karez.adapters.embedded.forks import Forks
from karez.adapters.embedded.plant import MOST_COST, Plant

# How long a device and a program take to come back (s); a program's sessions form after that. Source, of programs: on a
# lab of ten routers a killed daemon of FRR answers 0.1 s after its start; the rest is for whoever asks for it.
BOOT_S = 20.0
RESTART_S = 0.3


class Gear(Forks):
    """The state that acts change and faults spoil; it begins as intended."""

    def __init__(self, plant: Plant) -> None:
        """Everything as the world intends, every device up."""
        links, devices, demands = plant.links, plant.devices, plant.demands
        self.drained, self.cost = links.drained.copy(), links.cost.copy()
        self.router_drained = devices.drained.copy()
        self.boots = devices.boots.astype(np.int64)
        self.boot_until_s = np.full(len(devices.ids), -np.inf)
        self.restarts = plant.programs.restarts.astype(np.int64)
        self.restart_until_s = np.full(len(plant.programs.ids), -np.inf)
        self.restores = plant.sections.restores.astype(np.int64)
        self.values = list(plant.sections.value)
        self.limited, self.via = demands.limited_share.copy(), demands.via.copy()

    def way_cost(self, plant: Plant) -> np.ndarray:
        """What each way costs in routing (int64)."""
        cost = np.where(self.cost > 0, self.cost, plant.links.derived_cost)
        cost[self.drained] = MOST_COST
        for device in np.flatnonzero(self.router_drained & plant.devices.routes).tolist():
            cost[plant.links_at(plant.site_of(device))] = MOST_COST
        return np.repeat(cost, 2)


def wrong_value(fault: Fault, was: str) -> str:
    """What a section says once a fault has spoilt it."""
    said = {
        "filter_wrong": f"drop {fault.size_share:.2f}",
        "mtu_wrong": "1400",
        "area_wrong": "99",
        "policer_left": f"police {fault.size_share:.2f}",
        "static_wrong": f"{fault.goal} discard",
        "bgp_wrong": "no users are announced",
    }.get(fault.kind, "changed by hand")
    return said if said != was else f"{said} again"
