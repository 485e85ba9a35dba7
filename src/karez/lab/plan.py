"""What a lab of a network is built from: its routers, what they speak, and who sends what to whom."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from karez.adapters.frr.config import Protocols
from karez.adapters.frr.fabric import Fabric, fabric
from karez.adapters.frr.segments import Led, led_over
from karez.errors import InputError
from karez.lab.asked import Plan
from karez.lab.hosts import Stream
from karez.twin import World

# A router takes some 18 MB, and its daemons share two cores.
MOST_ROUTERS = 150
# Packets of all users together, and of a demand at least (a second).
USERS_PER_S, LEAST_PER_S = 2_000.0, 20.0
# The longest name of a lab: with its prefix it must fit into the address of a socket (bytes).
LONGEST_NAME = 80


def plan(
    world: World,
    *,
    name: str,
    network: str = "",
    protocols: Protocols,
    tests_per_s: float = 100.0,
    users_per_s: float = USERS_PER_S,
    seed: int = 1,
) -> Plan:
    """What a lab of this world is built from; each way of a link is tested `tests_per_s` times a second.

    Routers run BGP where the world says so, whatever `protocols` says.

    Raises:
        InputError: the network cannot be one of routers, or is too large.
    """
    made = fabric(world, most_routers=MOST_ROUTERS)
    users = dict(_users(world, made, users_per_s))
    return Plan(
        name=name,
        network=network,
        fabric=made,
        protocols=msgspec.structs.replace(protocols, bgp=made.bgp),
        streams=(*_tests(made, tests_per_s), *users.values()),
        demands=tuple(users),
        seed=seed,
        led=tuple(tuple(ways.values()) for ways in _led(world, made)) if protocols.segments else (),
    )


def _led(world: World, made: Fabric) -> list[dict[int, Led]]:
    """By router and goal (rows), what leads the demands that are led over a site; those without routers are not.

    Raises:
        InputError: of two demands between the same routers one is led where the other is not.
    """
    ways: list[dict[int, Led]] = [{} for _ in made.routers]
    at, seen = made.row_at, dict[tuple[int, int], int | None]()
    for demand, (start, goal) in made.demands(world):
        over = at.get(str(demand["via"]))
        if seen.setdefault((start, goal), over) != over:
            what = "segments cannot tell it from another between the same routers, which is led elsewhere"
            raise InputError.of("demands.via", what, "lead both over the same site, or neither", (str(demand["id"]),))
        if over is not None:
            ways[start][goal] = led_over(made, goal, over)
    return ways


def _tests(made: Fabric, per_s: float) -> Iterator[Stream]:
    """Two a line, one from either end; the replies to one are the tests of the other way."""
    for row, line in enumerate(made.lines):
        for side in (0, 1):
            here, there = line.routers[side], line.routers[1 - side]
            port = next(port for port in made.routers[here].ports if port.row == row)
            yield Stream(
                hosts=(here, there), addresses=(port.address, port.facing_address), per_s=per_s / 2.0, test=True
            )


def _users(world: World, made: Fabric, per_s: float) -> Iterator[tuple[str, Stream]]:
    """One a demand that has routers at its ends, with packets as its traffic; others send nothing."""
    total_gbps = max(float(np.sum(world["demands"]["gbps"])), 1e-9)
    for demand, ends in made.demands(world):
        addresses = made.routers[ends[0]].users, made.routers[ends[1]].users
        rate = max(float(demand["gbps"]) / total_gbps * per_s, LEAST_PER_S)
        yield str(demand["id"]), Stream(hosts=ends, addresses=addresses, per_s=rate, test=False)
