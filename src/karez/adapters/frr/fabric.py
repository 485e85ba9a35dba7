"""The routers of a network, their interfaces and addresses: what an IP network needs beside its twin.

Every site that a link with a state ends at has one router. A link is a pair of interfaces with a network of two
addresses (RFC 3021), numbered in the order of the links table; a router has a loopback, numbered in that of the sites.
Where routers run BGP, users have an address of their own at each, which the interior protocol knows nothing of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from typing import Literal

import msgspec
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from karez.errors import InputError, Problem
from karez.measure.delay import link_oneway_us
from karez.twin import Twin, World
from karez.twin.schema import Value
from karez.twin.stands import routers_at
from karez.twin.table import Array, strings, text

# Costs as OSPF counts them: what a unit of a derived cost stands for (us), and the most, which keeps traffic off.
COST_US, DRAINED_COST = 10.0, 65_535
# Where links, loopbacks and users are numbered from.
LINKS_FROM, LOOPBACKS_FROM, USERS_FROM = IPv4Address("10.0.0.0"), IPv4Address("10.255.0.1"), IPv4Address("10.254.0.1")
# What an interface carries where its section does not say, the least that the kernel takes, and the most (bytes).
MTU, LEAST_MTU, MOST_MTU = 1_500, 68, 9_000
SHOWN = 3

End = Literal["a", "b"]
ENDS: tuple[End, End] = ("a", "b")


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """An interface of a router: the end of a link.

    `facing` is the row of the router at the other end, `row` that of the link; `config_mtu` and `config_area` are the
    ids of the sections that say what `mtu` and `area` should be, empty where there are none.
    `cost` is what it costs while no traffic is kept off it.
    """

    link: str
    row: int
    end: End
    name: str
    address: str
    facing: int
    facing_address: str
    cost: int
    drained: bool
    area: int
    mtu: int
    config_mtu: str = ""
    config_area: str = ""

    def planned_cost(self, most: int) -> int:
        """What it should cost now: the most that its protocol knows, where traffic is kept off it."""
        return most if self.drained else self.cost


class Router(msgspec.Struct, frozen=True, kw_only=True):
    """A router: `id` is its device, or its site where no device stands there; `loopback` is its id in routing, too.

    `users` is where what its users send and get comes from and goes to: its loopback, where it runs no BGP.
    """

    id: str
    site: str
    loopback: str
    users: str
    ports: tuple[Port, ...]
    drained: bool


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What joins two interfaces: the rows of the routers, the names of the interfaces, and what light takes (us)."""

    link: str
    routers: tuple[int, int]
    ports: tuple[str, str]
    oneway_us: float
    capacity_gbps: float
    up: bool


class Fabric(msgspec.Struct, frozen=True, kw_only=True):
    """All routers and what joins them; rows are positions in these."""

    routers: tuple[Router, ...]
    lines: tuple[Line, ...]

    @property
    def row_at(self) -> dict[str, int]:
        """The router at each site (its row)."""
        return {router.site: row for row, router in enumerate(self.routers)}

    def demands(self, world: World) -> Iterator[tuple[dict[str, Value], tuple[int, int]]]:
        """Each demand of a world that has two routers at its ends, as a record, and their rows."""
        at = self.row_at
        for demand in world["demands"].records():
            start, goal = at.get(str(demand["a"])), at.get(str(demand["b"]))
            if start is not None and goal is not None and start != goal:
                yield demand, (start, goal)

    @property
    def bgp(self) -> bool:
        """Whether its routers run BGP."""
        return any(router.users != router.loopback for router in self.routers)

    def ports(self) -> Iterator[tuple[int, Port]]:
        """Each interface with the row of its router."""
        for row, router in enumerate(self.routers):
            for port in router.ports:
                yield row, port


def fabric(world: World, *, most_routers: int) -> Fabric:
    """The routers of a world.

    Raises:
        InputError: the network has no links, more routers than `most_routers`, falls into parts, or has links that
            lead one way only; or some of its routers run BGP and others do not.
    """
    twin = world.intended
    links = twin["links"]
    rows = np.sort(links.rows(world["link_states"].ids))
    ends = np.stack([twin["sites"].rows(links[end][rows]) for end in ("a", "b")], axis=1)
    used, place = np.unique(ends, return_inverse=True)
    number: Array = place.reshape(ends.shape)
    names, sites = _names(twin, used), strings(twin["sites"].ids[used])
    silent = without_bgp(twin, names)
    _require_usable(twin, rows, used, number, most_routers, silent)
    sections = _sections(twin)
    oneway_us = link_oneway_us(twin, figures="typical")[rows]
    drained = set(twin["equipment"].ids[twin["equipment"]["drained"]].tolist())
    users_from = LOOPBACKS_FROM if silent else USERS_FROM
    ports: list[list[Port]] = [[] for _ in names]
    lines = []
    for row, (link, ab) in enumerate(zip(links.records(rows), number.tolist(), strict=True)):
        own = [f"e{len(ports[router]) + 1}" for router in ab]
        cost = int(link["cost"]) or min(max(1, round(float(oneway_us[row]) / COST_US)), DRAINED_COST - 1)
        for side, end in enumerate(ENDS):
            device = names[ab[side]]
            mtu = sections.get((device, str(link["id"]), "mtu"), ("", ""))
            ports[ab[side]].append(
                Port(
                    link=str(link["id"]),
                    row=row,
                    end=end,
                    name=own[side],
                    address=str(LINKS_FROM + 2 * row + side),
                    facing=ab[1 - side],
                    facing_address=str(LINKS_FROM + 2 * row + 1 - side),
                    cost=cost,
                    drained=bool(link["drained"]),
                    area=int(link["area"]),
                    mtu=min(max(int(mtu[1]), LEAST_MTU), MOST_MTU) if mtu[1].isdecimal() else MTU,
                    config_mtu=mtu[0],
                    config_area=sections.get((device, str(link["id"]), "area"), ("", ""))[0],
                )
            )
        lines.append(
            Line(
                link=str(link["id"]),
                routers=(ab[0], ab[1]),
                ports=(own[0], own[1]),
                oneway_us=float(oneway_us[row]),
                capacity_gbps=float(link["capacity_gbps"]),
                up=bool(link["up"]),
            )
        )
    routers = tuple(
        Router(
            id=name,
            site=site,
            loopback=str(LOOPBACKS_FROM + row),
            users=str(users_from + row),
            ports=tuple(ports[row]),
            drained=name.encode() in drained,
        )
        for row, (name, site) in enumerate(zip(names, sites, strict=True))
    )
    return Fabric(routers=routers, lines=tuple(lines))


def _require_usable(twin: Twin, rows: Array, used: Array, number: Array, most_routers: int, silent: list[str]) -> None:
    """Raise with all that keeps these links from being a network of routers, of which the silent run no BGP."""
    problems = []
    if not len(rows):
        problems.append(Problem("links", "there is none that is observed", "give the network links between sites"))
    if len(used) > most_routers:
        what = f"{len(used):,} routers are more than the {most_routers:,} that fit"
        problems.append(Problem("sites", what, "take a part of the network"))
    if 0 < len(silent) < len(used):
        what = f"{len(silent):,} of {len(used):,} routers run no BGP, and would never hear of the others' users"
        fix = 'have a router (equipment) with a program (daemons) of the kind "bgp" at each of these sites, or at none'
        problems.append(Problem("daemons", what, fix, tuple(silent)))
    one_way = np.flatnonzero(twin["links"]["direction"][rows] == b"forward")
    if len(one_way):
        ids = strings(twin["links"].ids[rows[one_way]])
        problems.append(Problem("links", "routing needs both directions of a link", 'set direction to "both"', ids))
    up = number[twin["links"]["up"][rows]]
    joined = coo_array((np.ones(len(up)), (up[:, 0], up[:, 1])), shape=(len(used), len(used)))
    parts, part = connected_components(joined, directed=False)
    if parts > 1:
        first = [text(twin["sites"].ids[used[np.argmax(part == one)]]) for one in range(min(parts, SHOWN))]
        what = f"no link that is meant to be up joins {', '.join(first)}: the network is in {parts:,} parts"
        problems.append(Problem("links", what, "join them, or take one part"))
    if problems:
        raise InputError(problems)


def _names(twin: Twin, used: Array) -> list[str]:
    """The router at each of these sites, or the site itself."""
    found = zip(routers_at(twin, used), strings(twin["sites"].ids[used]), strict=True)
    return [router or site for router, site in found]


def without_bgp(twin: Twin, names: Iterable[str]) -> list[str]:
    """Of these routers, by their ids, those that run no BGP."""
    programs = twin["daemons"]
    running = set(strings(programs["equipment"][programs["kind"] == b"bgp"]))
    return [name for name in names if name not in running]


def _sections(twin: Twin) -> dict[tuple[str, str, str], tuple[str, str]]:
    """The id and the value of each section, by device, link and what it says."""
    columns = [strings(twin["configs"][name]) for name in ("equipment", "link", "section", "id", "value")]
    return {row[:3]: row[3:] for row in zip(*columns, strict=True)}
