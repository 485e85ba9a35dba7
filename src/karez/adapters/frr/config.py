"""What FRR daemons are configured with, as the lines of their files.

Timers are those under which a network of a hundred routers converges in seconds and misses a neighbour in four.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Literal

import msgspec

from karez.adapters.frr.fabric import DRAINED_COST, LOOPBACKS_FROM, Port, Router

Igp = Literal["ospf", "isis"]
# What lists what a router lets through, and what polices, are called.
PROFILE = "karez"
ISIS = "karez"
# What keeps traffic that passes off a router, in OSPF and in IS-IS.
STUB = "max-metric router-lsa administrative"
OVERLOAD = "set-overload-bit"
# What has BFD watch the neighbour at an interface, in OSPF and in IS-IS.
OSPF_BFD = ("ip ospf bfd", f"ip ospf bfd profile {PROFILE}")
ISIS_BFD = ("isis bfd", f"isis bfd profile {PROFILE}")
# Hello and dead interval of the routing protocols (s); ways of equal cost that traffic is split over at most.
HELLO_S, DEAD_S, RETRANSMIT_S = 1, 4, 1
MOST_PATHS = 4
# How often routers of IS-IS list what they heard (s): by it one that starts anew learns what it told before.
LISTS_S = 2
# When paths are worked out after a change: at once, after a second within so long, at most so seldom (ms).
SPF_MS = (0, 50, 5_000)
ORIGINATE_MS, ARRIVE_MS = 0, 100
# IS-IS keeps traffic off a link by the highest wide metric that still counts.
ISIS_DRAINED_COST = 16_777_214
# The private AS that all are in, and how many routers reflect what they hear, the first by number.
AUTONOMOUS_SYSTEM, REFLECTORS = 65_000, 2
# Keepalives of BGP, and after how long without one a session ends; how soon it is tried anew (s).
KEEPALIVE_S, HOLD_S, RETRY_S = 3, 9, 1
# How many sessions a reflector takes: FRR's own limit is 100. Source: FRR, bgpd/bgpd.h (BGP_DYNAMIC_NEIGHBORS_LIMIT).
LISTENS = 1_000
# What those whose sessions a reflector takes are called, and where they are.
CLIENTS, CLIENTS_AT = "clients", IPv4Network((LOOPBACKS_FROM, 16), strict=False)


class Protocols(msgspec.Struct, frozen=True, kw_only=True):
    """What routers speak: the interior protocol, BFD as an interval (ms) and how many may be missed, BGP besides.

    By BGP they tell each other where their users are, which the interior protocol does not know; with `segments` they
    lead demands over others by SRv6, of whose locators IS-IS tells.
    """

    igp: Igp = "ospf"
    bfd_ms: int = 50
    bfd_times: int = 3
    bgp: bool = False
    segments: bool = False

    @property
    def bfd(self) -> bool:
        """Whether neighbours watch each other by BFD."""
        return self.bfd_ms > 0

    @property
    def daemons(self) -> tuple[str, ...]:
        """The daemons that a router runs, in the order they are started."""
        routing = {"ospf": "ospfd", "isis": "isisd"}[self.igp]
        return ("zebra", "staticd", routing, *(["bfdd"] if self.bfd else []), *(["bgpd"] if self.bgp else []))


def configuration(router: Router, number: int, protocols: Protocols) -> dict[str, tuple[str, ...]]:
    """The lines of each daemon's file, by daemon; `number` (from 0) tells routers apart."""
    written = {
        "zebra": zebra_lines,
        "staticd": _nothing,
        "ospfd": ospf_lines,
        "isisd": isis_lines,
        "bfdd": bfd_lines,
        "bgpd": bgp_lines,
    }
    return {daemon: tuple(written[daemon](router, number, protocols)) for daemon in protocols.daemons}


def zebra_lines(router: Router, number: int, protocols: Protocols) -> Iterator[str]:
    """Forwarding; addresses are given to interfaces by netlink."""
    del router, number
    yield "ip forwarding"
    if protocols.segments:
        yield "ipv6 forwarding"


def ospf_lines(router: Router, number: int, protocols: Protocols) -> Iterator[str]:
    """OSPF (RFC 2328) over links between two routers each."""
    del number
    for port in router.ports:
        yield f"interface {port.name}"
        yield from ospf_port(port, protocols)
        yield "exit"
    # A loopback in an area without a neighbour would be known to nobody.
    yield from ("interface lo", f" ip ospf area {min(port.area for port in router.ports)}", "exit")
    yield "router ospf"
    yield f" ospf router-id {router.loopback}"
    yield f" timers throttle spf {SPF_MS[0]} {SPF_MS[1]} {SPF_MS[2]}"
    yield f" timers throttle lsa all {ORIGINATE_MS}"
    yield f" timers lsa min-arrival {ARRIVE_MS}"
    yield f" maximum-paths {MOST_PATHS}"
    if router.drained:
        yield f" {STUB}"
    yield "exit"


def ospf_port(port: Port, protocols: Protocols) -> Iterator[str]:
    """What OSPF is told of an interface."""
    yield " ip ospf network point-to-point"
    yield f" ip ospf cost {port.planned_cost(DRAINED_COST)}"
    yield f" ip ospf hello-interval {HELLO_S}"
    yield f" ip ospf dead-interval {DEAD_S}"
    yield f" ip ospf retransmit-interval {RETRANSMIT_S}"
    yield f" ip ospf area {port.area}"
    if protocols.bfd:
        yield from (f" {line}" for line in OSPF_BFD)


def isis_lines(router: Router, number: int, protocols: Protocols) -> Iterator[str]:
    """IS-IS (ISO 10589) of level 2 over links between two routers each."""
    yield f"router isis {ISIS}"
    # Before the name, with which the router tells of itself at once: the next time would be after the 30 s of old.
    yield " lsp-gen-interval 1"
    yield f" net 49.0001.0000.0000.{number + 1:04x}.00"
    yield " is-type level-2-only"
    yield " metric-style wide"
    yield " spf-delay-ietf init-delay 0 short-delay 20 long-delay 50 holddown 1000 time-to-learn 100"
    if router.drained:
        yield f" {OVERLOAD}"
    yield "exit"
    for port in router.ports:
        yield f"interface {port.name}"
        yield from _isis_on(protocols)
        yield " isis circuit-type level-2-only"
        yield " isis network point-to-point"
        yield f" isis metric {port.planned_cost(ISIS_DRAINED_COST)}"
        yield f" isis hello-interval {HELLO_S}"
        # As long as the MTU, they would be most of what a lab's links carry.
        yield " no isis hello padding"
        yield f" isis csnp-interval {LISTS_S}"
        yield f" isis hello-multiplier {DEAD_S // HELLO_S}"
        if protocols.bfd:
            yield from (f" {line}" for line in ISIS_BFD)
        yield "exit"
    yield from ("interface lo", *_isis_on(protocols), " isis passive", "exit")


def _isis_on(protocols: Protocols) -> Iterator[str]:
    """What IS-IS tells of an interface: its addresses, and where there are segments those of IPv6."""
    yield f" ip router isis {ISIS}"
    if protocols.segments:
        yield f" ipv6 router isis {ISIS}"


def bfd_lines(router: Router, number: int, protocols: Protocols) -> Iterator[str]:
    """How soon BFD (RFC 5880) misses a neighbour."""
    del router, number
    yield "bfd"
    yield f" profile {PROFILE}"
    yield f"  detect-multiplier {protocols.bfd_times}"
    yield f"  receive-interval {protocols.bfd_ms}"
    yield f"  transmit-interval {protocols.bfd_ms}"
    yield " exit"
    yield "exit"


def bgp_lines(router: Router, number: int, protocols: Protocols) -> Iterator[str]:
    """BGP within one AS (RFC 4271): every router says where its users are, and reflectors (RFC 4456) tell the others.

    Reflectors listen for all other routers; each of these, and each reflector but the first, opens its session.
    """
    del protocols
    reflectors = [str(LOOPBACKS_FROM + row) for row in range(min(number, REFLECTORS))]
    yield f"router bgp {AUTONOMOUS_SYSTEM}"
    yield f" bgp router-id {router.loopback}"
    # Users' addresses are of the kernel's table of its own ones, which routing does not read.
    yield " no bgp network import-check"
    yield from (f" {line}" for peer in reflectors for line in bgp_session(peer, router.loopback))
    if number < REFLECTORS:
        yield f" neighbor {CLIENTS} peer-group"
        yield from (f" {line}" for line in bgp_session(CLIENTS, router.loopback))
        yield f" bgp listen limit {LISTENS}"
        yield f" bgp listen range {CLIENTS_AT} peer-group {CLIENTS}"
    yield " address-family ipv4 unicast"
    if number < REFLECTORS:
        yield from (f"  neighbor {peer} route-reflector-client" for peer in (*reflectors, CLIENTS))
    yield f"  network {users_network(router)}"
    yield " exit-address-family"
    yield "exit"


def users_network(router: Router) -> str:
    """The network that a router says its users are in."""
    return f"{router.users}/32"


def bgp_session(peer: str, loopback: str) -> Iterator[str]:
    """What BGP is told of who is at the other end."""
    yield f"neighbor {peer} remote-as {AUTONOMOUS_SYSTEM}"
    yield f"neighbor {peer} update-source {loopback}"
    yield f"neighbor {peer} timers {KEEPALIVE_S} {HOLD_S}"
    yield f"neighbor {peer} timers connect {RETRY_S}"


def _nothing(router: Router, number: int, protocols: Protocols) -> Iterator[str]:
    del router, number, protocols
    yield from ()
