"""BGP as FRR speaks it: where a router says that its users are, and the lines that change it."""

from __future__ import annotations

from karez.adapters.frr.config import AUTONOMOUS_SYSTEM
from karez.adapters.frr.vty import Vty

DAEMON = "bgpd"
SAYS = "  network "


def announced(vty: Vty) -> frozenset[str]:
    """The networks that a router says are its own, as its configuration has them.

    Raises:
        VtyError: it does not answer.
    """
    said = vty.ask("show running-config").splitlines()
    return frozenset(line.removeprefix(SAYS).strip() for line in said if line.startswith(SAYS))


def lines(*, says: tuple[str, ...] = (), unsays: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What has a router say that these networks are its own, and then that others no longer are."""
    said = (f"network {network}" for network in says)
    unsaid = (f"no network {network}" for network in unsays)
    return (f"router bgp {AUTONOMOUS_SYSTEM}", "address-family ipv4 unicast", *said, *unsaid)
