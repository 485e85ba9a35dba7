"""A rehearsal on a network of three sites: what is compiled at its first call is compiled before anybody waits for it.

A controller that compiled once it leads would lose its lease meanwhile.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.loop.runner import Runner
from karez.loop.state import Policy
from karez.record.log import Record
from karez.twin import Table, Twin, World

# Sides of the triangle (km): the longest carries nothing until another fails.
SIDES_KM = {"ab": 10.0, "bc": 10.0, "ac": 50.0}
FAULT = Fault("link_slow", "ab", at_s=10.0, size_us=20_000.0)
# What is normal is learned first; a plan against the fault is made soon after it began.
TURNS, TURN_S = 150, 0.1


def rehearse() -> bool:
    """Whether a plan was made against a fault; it takes some tenths of a second, and what must be compiled besides."""
    world = _triangle()
    network = EmbeddedNetwork(world, seed=1, start_s=0.0)
    network.inject(FAULT)
    with tempfile.TemporaryDirectory() as folder, Record(Path(folder) / "record") as record:
        runner = Runner.start(world, network, record, Policy(level="advise"), at_s=0.0)
        turns = (runner.turn(turn * TURN_S) for turn in range(1, TURNS))
        return any(plan.planner == "heal" for said in turns for plan in said.plans)


def _triangle() -> World:
    ends = [(name[0], name[1]) for name in SIDES_KM]
    intended = Twin().replace(
        Table.of(
            "sites",
            {
                "id": ["a", "b", "c"],
                "kind": ["core"] * 3,
                "metro": ["m"] * 3,
                "lon": [110.0, 110.1, 110.2],
                "lat": [30.0] * 3,
            },
        ),
        Table.of(
            "links",
            {
                "id": list(SIDES_KM),
                "a": [a for a, _ in ends],
                "b": [b for _, b in ends],
                "kind": ["core"] * 3,
                "length_km": list(SIDES_KM.values()),
                "capacity_gbps": [100.0] * 3,
            },
        ),
        Table.of(
            "demands",
            {
                "id": [f"{a}-{b}" for a, b in ends],
                "a": [a for a, _ in ends],
                "b": [b for _, b in ends],
                "gbps": [1.0] * 3,
            },
        ),
    )
    return World(intended, Twin().replace(Table.of("link_states", {"id": list(SIDES_KM)})))
