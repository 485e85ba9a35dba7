"""A turn of the loop on a nation of five million stations: a thousand rows change, and a link has grown slow.

The yardstick is the same turn on a network of six sites: what a turn costs whatever the network.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from benchmarks import Figure, figure
from benchmarks.instances.nation import SEEDS
from benchmarks.instances.ring import ring
from karez.importers.generate import nation
from karez.loop.state import Inputs, Policy, State
from karez.loop.turn import turn
from karez.twin import World
from karez.twin.states import initial_states
from karez.twin.table import Array
from karez.twin.telemetry import StateRows

NAME = "turn"
STATIONS, SITES = 5_000_000, 500
CHANGES, TURNS, BAR_MS = 1_000, 41, 50.0


def run() -> list[Figure]:
    """CPU time of a turn, the median over turns and the worst over seeds; with nothing wrong, and with a finding."""
    small = _timed(ring(), np.random.default_rng(1), wrong=True)
    worlds = (_nation(seed) for seed in SEEDS)
    trials = [
        (_timed(world, np.random.default_rng(1), wrong=False), _timed(world, np.random.default_rng(1), wrong=True))
        for world in worlds
    ]
    well, wrong = (max(times_ms) for times_ms in zip(*trials, strict=True))
    return [
        figure("a turn that sees 1,000 changes of 5 M, nothing wrong", well, "CPU ms", BAR_MS, yardstick=small),
        figure("a turn that sees 1,000 changes of 5 M, a link slow", wrong, "CPU ms", BAR_MS, yardstick=small),
    ]


def _nation(seed: int) -> World:
    intended = nation(stations=STATIONS, sites=SITES, seed=seed)
    return World(intended, initial_states(intended))


def _timed(world: World, random: np.random.Generator, *, wrong: bool) -> float:
    """The median CPU milliseconds of a turn, after the first, which prepares what is kept."""
    state, policy = State.of(world), Policy(level="observe")
    state.digest  # noqa: B018  The first digest covers all rows; what is measured is what a turn costs.
    links, taken = world["link_states"].ids, []
    for number in range(TURNS):
        inputs = Inputs(at_s=float(number), changes=_changes(links, random, wrong=wrong, at_s=float(number)))
        begun = time.process_time()
        state, _ = turn(state, inputs, policy)
        taken.append((time.process_time() - begun) * 1e3)
    return statistics.median(taken[1:])


def _changes(links: Array, random: np.random.Generator, *, wrong: bool, at_s: float) -> tuple[StateRows, ...]:
    picked = random.choice(links, min(CHANGES, len(links)), replace=False)
    loads = tuple(np.round(random.uniform(0.0, 50.0, len(picked)), 3).tolist())
    rows = StateRows("link_states", tuple(link.decode() for link in picked.tolist()), {"load_gbps": loads})
    return (rows, _slow(links[0].decode(), at_s)) if wrong else (rows,)


def _slow(link: str, at_s: float) -> StateRows:
    """Two probes that tell, ever anew, that a link has grown slower."""
    return StateRows(
        "signals",
        (f"delay/probe/{link}>", f"delay/probe/{link}<"),
        {
            "kind": ("delay", "delay"),
            "source": ("probe", "probe"),
            "subject": (link, link),
            "way": ("ab", "ba"),
            "since_s": (0.0, 0.0),
            "size": (3_000.0 + at_s, 3_000.0 + at_s),
        },
    )
