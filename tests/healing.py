"""What the tests of healing operations share: small networks on disk, and runs in which somebody else acts, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.instances.mesh import mesh
from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.loop.runner import People, Runner, nobody
from karez.loop.state import Level, Policy, State
from karez.operations.networks import load_living
from karez.record.log import Record
from karez.twin import World, schema, store

START_S = 1_767_225_600.0
FAULT_S = 12.0
Besides = Callable[[float, State, EmbeddedNetwork], None]


def meshed(folder: Path, seed: int = 3) -> Path:
    """A meshed network of 12 to 30 sites, with programs and configurations, saved as it was seen on its first day."""
    return saved(mesh(seed), folder, seed=seed)


def saved(world: World, folder: Path, *, seed: int) -> Path:
    """A network, saved as it was seen on its first day."""
    states = [world.actual[name] for name in schema.tables() if schema.is_state(name) and len(world.actual[name])]
    twin = world.intended.replace(*states)
    store.save(twin, folder / "net", at_s=START_S, note="", source=f"mesh {seed}", synthetic=True, seed=seed)
    return folder / "net"


def nothing_else(after_s: float, state: State, network: EmbeddedNetwork) -> None:
    """Nobody does anything besides."""


def ran(
    net: Path,
    record: Path,
    *faults: Fault,
    level: Level = "observe",
    turns: int = 60,
    besides: Besides = nothing_else,
    people: People = nobody,
) -> Path:
    """The record of a run in which, after each turn, somebody else may touch the network."""
    world, revision = load_living(str(net))
    network = EmbeddedNetwork(world, seed=1, start_s=START_S)
    for fault in faults:
        network.inject(fault)
    with Record(record) as open_record:
        runner = Runner.start(world, network, open_record, Policy(level=level), at_s=START_S, revision=revision.number)
        for turn in range(1, turns + 1):
            runner.turn(START_S + turn, people)
            besides(float(turn), runner.state, network)
        runner.end(START_S + turns)
    return record
