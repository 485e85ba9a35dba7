"""Segments of a router's kernel (SRv6): its own, and what its users' packets are wrapped with.

What users send is looked up in a table of its own before all others; where nothing there leads to its goal, routing
has it. The first segment is the address that a wrapped packet goes to, so that it need not carry it besides
(H.Encaps.Red, RFC 8986, 5.2): a packet of 1,428 bytes still fits an MTU of 1,500. Source: ip-route(8).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from karez.adapters.frr.fabric import Router
from karez.adapters.frr.segments import ITSELF, LOCATOR_BITS, SENDS_ON, UNWRAPS, Led, segment
from karez.lab.iproute import tell, told
from karez.lab.spaces import write_setting

# What marks our routes, the table that users' packets are looked up in, and by which rule.
PROTOCOL, TABLE, RULE = 202, 300, 30_000
WRAPPED = "seg6"
SETTINGS = {"net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.all.forwarding": "1"}
# A link has two ends, whose addresses nobody else can have.
SURE = "net.ipv6.conf.{port}.accept_dad"
KNOWS = Path("/proc/sys/net/ipv6/conf/all/seg6_enabled")


def missing() -> tuple[str, ...]:
    """What this machine lacks for segments."""
    return () if KNOWS.exists() else ("this kernel knows no segments (SRv6): start the lab without them",)


def lay(row: int, router: Router) -> None:
    """Give a router its segments, in the kernel of this thread's network; its interfaces are up.

    Raises:
        SpaceError: it refused one.
    """
    for port in router.ports:
        write_setting(SURE.format(port=port.name), "0")
    for name, value in SETTINGS.items():
        write_setting(name, value)
    # Of what leads to a loopback the kernel makes a refusal; any other interface will do.
    by = f"dev {router.ports[0].name} proto {PROTOCOL}"
    acts = {SENDS_ON: "End", UNWRAPS: "End.DX4 nh4 0.0.0.0"}
    own = [f"route add {segment(row, each)}/128 encap seg6local action {act} {by}" for each, act in acts.items()]
    locator = f"address add {segment(row, ITSELF)}/{LOCATOR_BITS} dev lo"
    tell([locator, *own, f"rule add priority {RULE} from {router.users} table {TABLE}"], "a segment")


def lead(ways: Iterable[Led]) -> None:
    """Let users' packets at this thread's network be led these ways, and no others.

    Raises:
        SpaceError: the kernel refused one; those before it are led.
    """
    wanted, known = {way.goal: way for way in ways}, {way.goal: way for way in led()}
    lines = [f"route replace {_route(way)}" for goal, way in wanted.items() if known.get(goal) != way]
    lines += [f"route del {goal}/32 table {TABLE}" for goal in known if goal not in wanted]
    tell(lines, "to lead traffic over segments")


def led() -> list[Led]:
    """The ways that users' packets at this thread's network are led, as the kernel says itself."""
    ways = told("route", "show", "table", "all", "proto", str(PROTOCOL), what="to say what is led over segments")
    return sorted(Led(way["dst"], tuple(way["segs"])) for way in ways if way.get("encap") == WRAPPED)


def _route(way: Led) -> str:
    wrapped = f"encap {WRAPPED} mode encap.red segs {','.join(way.segments)}"
    return f"{way.goal}/32 {wrapped} dev lo table {TABLE} proto {PROTOCOL}"
