"""What tests of data sets share: a network in memory whose loop listens while it is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.instances.mesh import mesh
from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.lab.dataset import About, Event, Writer
from karez.lab.recording import Overheard
from karez.loop.runner import Runner
from karez.loop.state import Decisions, Policy
from karez.operations.networks import load, load_living
from karez.record.log import Record
from karez.twin import store

TURN_S, START_S = 0.1, 1_000.0


def network(folder: Path, *, sites: int = 5) -> str:
    """The folder of a network of so many sites, with its first day."""
    world = mesh(1, sites=sites)
    states = [table for name, table in world.actual.tables.items() if name.endswith("_states") and len(table)]
    store.save(world.intended.replace(*states), folder, at_s=0.0, note="", source="mesh", synthetic=True)
    return str(folder)


def times_s(for_s: float) -> list[float]:
    """The times of turns."""
    return [START_S + TURN_S * turn for turn in range(1, int(for_s / TURN_S))]


def listened(folder: Path, of: str, faults: Sequence[Fault], *, for_s: float) -> list[Decisions]:
    """What a loop decided that listened to the network `of` while the data set in `folder` was made."""
    world, revision = load_living(of)
    live = EmbeddedNetwork(world, seed=1, start_s=START_S)
    for fault in faults:
        live.inject(fault)
    with Writer(folder) as writer, Record(folder.with_name(f"{folder.name}.live")) as record:
        runner = Runner.start(world, Overheard(live, writer.keep), record, Policy(level="advise"), at_s=START_S)
        decided = [runner.turn(at_s) for at_s in times_s(for_s)]
        writer.close(about(for_s), events(faults), load(of)[0].intended, revision)
    return decided


def about(for_s: float) -> About:
    """What such a data set says of itself."""
    return About(
        karez="test",
        network="",
        seed=1,
        routers=5,
        links=7,
        demands=11,
        turn_s=TURN_S,
        start_s=START_S,
        end_s=START_S + for_s,
    )


def events(faults: Iterable[Fault]) -> tuple[Event, ...]:
    """The true faults."""
    return tuple(Event(label=f"{fault.kind} {fault.subject}", fault=fault) for fault in faults)
