"""OSPF as FRR speaks it: what a router says of its interfaces and neighbours, and the lines that change them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from karez.adapters.frr.config import OSPF_BFD, STUB
from karez.adapters.frr.fabric import DRAINED_COST, Port
from karez.adapters.frr.told import Seen, Told
from karez.adapters.frr.vty import Vty

DAEMON = "ospfd"
MOST_COST = DRAINED_COST
SETTLES_S, MOST_STEPS = 0.15, 12


def told(vty: Vty) -> Told:
    """How a router is.

    Raises:
        VtyError: it does not answer.
    """
    interfaces = vty.show("show ip ospf interface json").get("interfaces", {})
    neighbours = vty.show("show ip ospf neighbor json").get("neighbors", {})
    adjacent = {
        str(one["ifaceName"]).partition(":")[0]
        for each in neighbours.values()
        for one in each
        if str(one["nbrState"]).startswith("Full")
    }
    drained = STUB in vty.ask("show running-config")
    ports = {name: _seen(said, name in adjacent) for name, said in interfaces.items() if name != "lo"}
    return Told(ports, drained)


def planned(port: Port) -> Seen:
    """How an interface should be."""
    return Seen(up=True, cost=port.planned_cost(MOST_COST), area=port.area, mtu=port.mtu, adjacent=True)


def cost_lines(port: Port, cost: int) -> tuple[str, ...]:
    """What gives an interface a cost."""
    return (f"interface {port.name}", f"ip ospf cost {cost}", "exit")


def bfd_lines(port: Port, watched: bool) -> tuple[str, ...]:
    """What has BFD watch the neighbour at an interface, or no longer."""
    return (f"interface {port.name}", *(OSPF_BFD if watched else [f"no {OSPF_BFD[0]}"]), "exit")


def router_lines(drained: bool) -> tuple[str, ...]:
    """What keeps traffic that passes off a router, or lets it back."""
    return ("router ospf", STUB if drained else f"no {STUB}", "exit")


def area_lines(port: Port, area: int) -> tuple[str, ...]:
    """What puts an interface into an area, whichever it is in."""
    return (f"interface {port.name}", "no ip ospf area", f"ip ospf area {area}", "exit")


def _seen(said: Mapping[str, Any], adjacent: bool) -> Seen:
    area = 0
    for byte in str(said.get("area", "0.0.0.0")).split("."):
        area = area * 256 + int(byte)
    return Seen(
        up=bool(said.get("ifUp")),
        cost=int(said.get("cost", 0)),
        area=area,
        mtu=int(said.get("mtuBytes", 0)),
        adjacent=adjacent,
    )
