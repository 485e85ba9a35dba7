"""Segments (SRv6, RFC 8986): what leads all that goes from one router to another over a third.

Each router has a locator that IS-IS tells the others of, and in it two segments: one that sends on what comes for it,
and one that unwraps what has come to where it goes. Where a packet begins it is wrapped with the segment of the router
that it is led over, and with the one that unwraps it at its goal.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import msgspec

from karez.adapters.frr.fabric import Fabric

# Where locators are numbered from, one network of 64 bits a router: addresses of nobody else's (RFC 4193).
LOCATORS_FROM = IPv6Address("fcbb::")
LOCATOR_BITS = 64
# Within a locator: the router itself, its segment that sends on (End), and the one that unwraps (End.DX4).
ITSELF, SENDS_ON, UNWRAPS = 0x1, 0xE, 0xD


class Led(msgspec.Struct, frozen=True, order=True):
    """All that a router's users send to an address is led over these segments, in this order."""

    goal: str
    segments: tuple[str, ...]


def locator(router: int) -> IPv6Network:
    """The network of a router's segments, by its row."""
    first = int(LOCATORS_FROM) + ((router + 1) << (128 - LOCATOR_BITS))
    return IPv6Network((first, LOCATOR_BITS))


def segment(router: int, what: int) -> str:
    """An address within the locator of a router."""
    return str(locator(router)[what])


def led_over(fabric: Fabric, goal: int, over: int) -> Led:
    """What leads to the users of a router over another (rows)."""
    return Led(fabric.routers[goal].users, (segment(over, SENDS_ON), segment(goal, UNWRAPS)))


def over(led: Led) -> int:
    """The row of the router that is led over."""
    return (int(IPv6Address(led.segments[0])) - int(LOCATORS_FROM) >> (128 - LOCATOR_BITS)) - 1
