"""Ways that routers keep ready, between what the twin says of them and what a kernel is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from karez.adapters.frr.fabric import Fabric
from karez.errors import InputError
from karez.plan.protect import Way, read, written


class ReadyWay(msgspec.Struct, frozen=True, order=True):
    """A way that is kept ready: to an address by an interface, the first by `rank` that has light.

    `over` is the interface that packets came in by; empty: any, where routing has no next hop with light.
    """

    goal: str
    over: str
    rank: int
    gateway: str
    interface: str


def ready_ways(fabric: Fabric, router: int, said: str) -> tuple[ReadyWay, ...]:
    """What the cell of a router says, for its kernel.

    Raises:
        InputError: it names what the router does not have.
    """
    ports = {port.link: port for port in fabric.routers[router].ports}
    users = {one.id: one.users for one in fabric.routers}

    def made() -> Iterator[ReadyWay]:
        for way in read(said):
            over = ports[way.over].name if way.over else ""
            for rank, link in enumerate(way.links):
                yield ReadyWay(users[way.goal], over, rank, ports[link].facing_address, ports[link].name)

    try:
        return tuple(made())
    except KeyError as error:
        name = fabric.routers[router].id
        raise InputError.of("backups", f"{name} has no {error.args[0]}", "make the plan anew") from error


def said_of(fabric: Fabric, router: int, ways: Iterable[ReadyWay]) -> str:
    """What a kernel keeps ready, as the cell of its router says it; what leads to no router is left out."""
    links = {"": ""} | {port.name: port.link for port in fabric.routers[router].ports}
    goals = {one.users: one.id for one in fabric.routers}
    kept: dict[tuple[str, str], list[str]] = {}
    for way in sorted(ways):
        if way.goal in goals:
            kept.setdefault((goals[way.goal], links[way.over]), []).append(links[way.interface])
    return written(Way(goal, over, tuple(by)) for (goal, over), by in kept.items())
