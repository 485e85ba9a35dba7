"""The forwarding table of a router's kernel, as it says it over netlink: all of it once, and then only what changes.

Source: rtnetlink(7), linux/rtnetlink.h. Routes to hosts of the main table are kept, which are all that leads to
users; where several lead to the same one, that of the lowest priority is what the kernel uses. Of an interface that
loses its light routes say nothing, and the kernel ignores it; one that is taken down loses its routes without a word.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

import numpy as np

from karez.adapters.frr.fabric import Fabric
from karez.lab.asked import Changed
from karez.lab.spaces import entered
from karez.twin.table import Array

# struct nlmsghdr: length, type, flags, number, sender. struct rtmsg: family, lengths of prefixes, type of service,
# table, protocol, scope, type, flags. struct rtattr: length, type. struct rtnexthop: length, flags, hops, interface.
HEADER, ROUTE, ATTRIBUTE, NEXT_HOP = (
    struct.Struct("IHHII"),
    struct.Struct("8BI"),
    struct.Struct("HH"),
    struct.Struct("HBBi"),
)
DONE, ERROR, NEW, GONE, ASK = 3, 2, 24, 25, 26
REQUEST, DUMP = 0x1, 0x300
ROUTES_OF_IPV4 = 0x40
MAIN, HOST_BITS = 254, 32
# Source: asm-generic/socket.h. Root may have more room than the system allows others.
SO_RCVBUFFORCE = 33
# What marks routes of the daemon of static ones. Source: FRR, zebra/rt_netlink.h (RTPROT_ZSTATIC).
STATIC = 196
TO, INTERFACE, PRIORITY, MULTIPATH = 1, 4, 6, 9
ROOM_BYTES, BUFFER_BYTES = 1 << 16, 1 << 22
# Next hops: numbers of interfaces, rising; none where packets are dropped.
Hops = tuple[int, ...]


class Routes:
    """What leads to hosts from the network that this was made in; `by_hand` is what static routes lead to."""

    def __init__(self) -> None:
        """Hear of changes from now on, and ask for all that there is."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self._socket.bind((0, ROUTES_OF_IPV4))
        self._socket.setblocking(False)
        self._known: dict[bytes, dict[int, Hops]] = {}
        self.by_hand: dict[bytes, Hops] = {}
        self._told: dict[bytes, Hops | None] = {}
        # What has changed and was not told yet.
        self._touched: set[bytes] = set()
        self._ask()

    def news(self) -> Iterator[tuple[bytes, Hops | None]]:
        """The addresses to which the way has changed since last time, and their next hops now (None: no way)."""
        self._hear()
        while self._touched:
            goal = self._touched.pop()
            ways = self._known.get(goal)
            now = ways[min(ways)] if ways else None
            if self._told.get(goal) != now:
                self._told[goal] = now
                yield goal, now

    def close(self) -> None:
        """Hear of no more changes."""
        self._socket.close()

    def _hear(self) -> None:
        while True:
            try:
                told = self._socket.recv(ROOM_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # The kernel had more to say than there was room for: ask for all of it again.
                self._touched |= self._known.keys()
                self._known.clear()
                self.by_hand.clear()
                self._ask()
                continue
            for kind, body in _messages(told):
                self._touched.update(self._taken(kind, body))

    def _ask(self) -> None:
        body = ROUTE.pack(socket.AF_INET, 0, 0, 0, MAIN, 0, 0, 0, 0)
        self._socket.send(HEADER.pack(HEADER.size + len(body), ASK, REQUEST | DUMP, 1, 0) + body)

    def _taken(self, kind: int, body: memoryview) -> Iterator[bytes]:
        """Take in a message; the address that it is about, if it is one that counts."""
        if kind not in (NEW, GONE):
            return
        family, bits, _, _, table, protocol, *_ = ROUTE.unpack_from(body)
        if (family, bits, table) != (socket.AF_INET, HOST_BITS, MAIN):
            return
        attributes = dict(_attributes(body[ROUTE.size :]))
        goal = bytes(attributes[TO])
        priority = int.from_bytes(attributes.get(PRIORITY, b""), "little")
        ways = self._known.setdefault(goal, {})
        # Whatever a route takes the place of, the kernel says nothing of it any more.
        if kind == NEW or protocol == STATIC:
            self.by_hand.pop(goal, None)
        if kind == NEW:
            ways[priority] = hops = tuple(sorted(_hops(attributes)))
            if protocol == STATIC:
                self.by_hand[goal] = hops
        else:
            ways.pop(priority, None)
            if not ways:
                del self._known[goal]
        yield goal


class ForwardingTables:
    """The forwarding tables of all routers of a lab, by rows of routers and lines, and when each way last changed."""

    def __init__(self, fabric: Fabric, networks: Sequence[int]) -> None:
        """Hear of changes in all networks, whose interfaces are there."""
        self._goals = {IPv4Address(router.users).packed: row for row, router in enumerate(fabric.routers)}
        self._lines: list[dict[int, int]] = []
        self._routes: list[Routes] = []
        self._changed: dict[tuple[int, int], tuple[int, tuple[int, ...]]] = {}
        self._count = 0
        for network, router in zip(networks, fabric.routers, strict=True):
            with entered(network):
                self._routes.append(Routes())
                self._lines.append({socket.if_nametoindex(port.name): port.row for port in router.ports})

    def by_hand(self) -> Iterator[tuple[int, str]]:
        """The routers (rows) that have static routes to others, and what these say."""
        self._hear()
        for router, routes in enumerate(self._routes):
            if routes.by_hand:
                said = (
                    f"{IPv4Address(goal)}{'' if hops else ' dropped'}" for goal, hops in sorted(routes.by_hand.items())
                )
                yield router, ", ".join(said)

    def since(self, count: int, *, up: Array) -> Changed:
        """What has changed since so many changes; `up` says of every line whether there is light on it."""
        self._hear()
        later = [(*key, hops) for key, (when, hops) in self._changed.items() if when > count]
        width = max((len(hops) for _, _, hops in later), default=0)
        return Changed(
            until=self._count,
            router=np.array([router for router, _, _ in later], np.int32),
            goal=np.array([goal for _, goal, _ in later], np.int32),
            hops=np.array([(*hops, *[-1] * (width - len(hops))) for _, _, hops in later], np.int32),
            up=up,
        )

    def _hear(self) -> None:
        for router, routes in enumerate(self._routes):
            for address, hops in routes.news():
                goal = self._goals.get(address)
                if goal is not None and goal != router:
                    self._count += 1
                    lines = tuple(self._lines[router][hop] for hop in hops or () if hop in self._lines[router])
                    self._changed[router, goal] = self._count, lines


def _messages(told: bytes) -> Iterator[tuple[int, memoryview]]:
    view, at = memoryview(told), 0
    while at + HEADER.size <= len(view):
        length, kind, *_ = HEADER.unpack_from(view, at)
        if kind == ERROR:
            number = -struct.unpack_from("i", view, at + HEADER.size)[0]
            raise OSError(number, os.strerror(number))
        yield kind, view[at + HEADER.size : at + length]
        at += _aligned(length)


def _attributes(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    at = 0
    while at + ATTRIBUTE.size <= len(view):
        length, kind = ATTRIBUTE.unpack_from(view, at)
        yield kind, view[at + ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _hops(attributes: dict[int, memoryview]) -> Iterator[int]:
    if INTERFACE in attributes:
        yield int.from_bytes(attributes[INTERFACE], "little")
    view, at = attributes.get(MULTIPATH, memoryview(b"")), 0
    while at + NEXT_HOP.size <= len(view):
        length, _, _, interface = NEXT_HOP.unpack_from(view, at)
        yield interface
        at += _aligned(length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
