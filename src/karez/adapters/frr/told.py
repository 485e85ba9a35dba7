"""What a router tells of itself, whichever interior protocol it speaks."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Seen(msgspec.Struct, frozen=True):
    """How routing sees an interface: whether it is up, its cost, area and MTU, whether the neighbour is adjacent.

    `area` is None where the protocol gives links none.
    """

    up: bool
    cost: int
    area: int | None
    mtu: int
    adjacent: bool


class Told(msgspec.Struct, frozen=True):
    """What a router told of itself: its interfaces by name, and whether it keeps traffic that passes off itself."""

    ports: Mapping[str, Seen]
    drained: bool
