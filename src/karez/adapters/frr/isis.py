"""IS-IS as FRR speaks it: what a router says of its interfaces and neighbours, and the lines that change them.

All routers are in level 2, which is one area of links: what a link's area should be says nothing here, so no section
of an area is told of, and none can be put back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from karez.adapters.frr.config import ISIS, ISIS_BFD, ISIS_DRAINED_COST, OVERLOAD
from karez.adapters.frr.fabric import Port
from karez.adapters.frr.told import Seen, Told
from karez.adapters.frr.vty import Vty

DAEMON = "isisd"
MOST_COST = ISIS_DRAINED_COST
# A router tells of a change after 0.1 s, but not within a second of what it told last, which FRR cannot be told to
# shorten; the rest is for flooding and paths. More steps would take longer than a guard waits for an adapter (3 s).
SETTLES_S, MOST_STEPS = 1.2, 3
LEVEL = "L2"
# What isisd knows of interfaces as a YANG model has it: the MTU is nowhere else, and of neighbours on links between two
# routers the JSON of interfaces counts none.
INTERFACES = "show yang operational-data /frr-interface:lib format json"


def told(vty: Vty) -> Told:
    """How a router is.

    Raises:
        VtyError: it does not answer.
    """
    circuits = vty.show("show isis interface detail json")
    known = vty.show(INTERFACES)
    drained = f"\n {OVERLOAD}\n" in vty.ask("show running-config")
    return Told(dict(ports(circuits, known)), drained)


def planned(port: Port) -> Seen:
    """How an interface should be."""
    return Seen(up=True, cost=port.planned_cost(MOST_COST), area=None, mtu=port.mtu, adjacent=True)


def cost_lines(port: Port, cost: int) -> tuple[str, ...]:
    """What gives an interface a cost."""
    return (f"interface {port.name}", f"isis metric {cost}", "exit")


def bfd_lines(port: Port, watched: bool) -> tuple[str, ...]:
    """What has BFD watch the neighbour at an interface, or no longer."""
    return (f"interface {port.name}", *(ISIS_BFD if watched else [f"no {ISIS_BFD[0]}"]), "exit")


def router_lines(drained: bool) -> tuple[str, ...]:
    """What keeps traffic that passes off a router, or lets it back; unlike in OSPF, where it is the only way, too."""
    return (f"router isis {ISIS}", OVERLOAD if drained else f"no {OVERLOAD}", "exit")


def area_lines(port: Port, area: int) -> tuple[str, ...]:
    """Nothing: links have no area."""
    del port, area
    return ()


def ports(circuits: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[tuple[str, Seen]]:
    """Each interface that routing is spoken on, by name: from what is told of circuits and known of interfaces."""
    states = {one["name"]: one.get("state", {}) for one in known.get("frr-interface:lib", {}).get("interface", [])}
    for area in circuits.get("areas", []):
        for circuit in area.get("circuits", []):
            said = circuit.get("interface", {})
            if said.get("is-passive") == "active":
                yield said["name"], _seen(said, states.get(said["name"], {}))


def _seen(said: Mapping[str, Any], state: Mapping[str, Any]) -> Seen:
    costs = [int(level["metric"]) for level in said.get("levels", []) if level["level"] == LEVEL]
    sessions = state.get("frr-isisd:isis", {}).get("adjacencies", {}).get("adjacency", [])
    return Seen(
        up=said["state"] == "Up",
        cost=costs[0] if costs else 0,
        area=None,
        mtu=int(state.get("mtu", 0)),
        adjacent=any(session.get("state") == "up" for session in sessions),
    )
