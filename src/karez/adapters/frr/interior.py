"""The interior protocols that routers may speak, as one small interface that each of their modules has."""

from __future__ import annotations

from typing import Protocol

from karez.adapters.frr import bgp, isis, ospf
from karez.adapters.frr.config import Protocols
from karez.adapters.frr.fabric import Port
from karez.adapters.frr.told import Seen, Told
from karez.adapters.frr.vty import Vty

# The daemon of BFD.
BFD_DAEMON = "bfdd"


class Interior(Protocol):
    """What an interior protocol is to a network: a module with these names.

    `DAEMON` speaks it. `MOST_COST` keeps traffic off a link. Within `SETTLES_S` (s) of a change of a cost every router
    has heard of it and sends by it; so many are one after another at most, `MOST_STEPS`.
    """

    DAEMON: str
    MOST_COST: int
    SETTLES_S: float
    MOST_STEPS: int

    def told(self, vty: Vty) -> Told:
        """How a router is.

        Raises:
            VtyError: it does not answer.
        """
        ...

    def planned(self, port: Port) -> Seen:
        """How an interface should be."""
        ...

    def cost_lines(self, port: Port, cost: int) -> tuple[str, ...]:
        """What gives an interface a cost."""
        ...

    def bfd_lines(self, port: Port, watched: bool) -> tuple[str, ...]:
        """What has BFD watch the neighbour at an interface, or no longer."""
        ...

    def router_lines(self, drained: bool) -> tuple[str, ...]:
        """What keeps traffic that passes off a router, or lets it back."""
        ...

    def area_lines(self, port: Port, area: int) -> tuple[str, ...]:
        """What puts an interface into an area, whichever it is in; nothing where the protocol gives links none."""
        ...


def interior(protocols: Protocols) -> Interior:
    """The interior protocol among those that routers speak."""
    known: dict[str, Interior] = {"ospf": ospf, "isis": isis}
    return known[protocols.igp]


def process_of(kind: str, igp: Interior) -> str:
    """The name of the process that a kind of program is; others run beside the routers, under their own name."""
    return {"routing": igp.DAEMON, "bfd": BFD_DAEMON, "bgp": bgp.DAEMON}.get(kind, kind)
