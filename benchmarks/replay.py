"""Ten thousand turns, recorded and decided again: every byte must come out the same.

The yardstick is the time that the run itself took, deciding, acting and recording.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks import Figure
from benchmarks.instances.ring import ring
from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.loop.recorded import replay
from karez.loop.runner import Runner
from karez.loop.state import Policy
from karez.record.log import Record
from karez.record.verify import verify

NAME = "replay"
SEEDS = (1, 2, 3)
TURNS = 10_000
FAULT_EVERY_S = 200


def run() -> list[Figure]:
    """Turns that came out the same, and how long deciding again took."""
    trials = [trial(seed, TURNS) for seed in SEEDS]
    return [
        Figure(
            what="turns recorded and decided again, same bytes",
            value=min(same for same, _, _, _ in trials),
            unit="turns",
            better="higher",
            bar=TURNS,
        ),
        Figure(what="commands among them", value=min(c for _, c, _, _ in trials), unit="commands", better="higher"),
        Figure(
            what="replay of all turns",
            value=sum(again for _, _, _, again in trials) / len(trials),
            unit="CPU s",
            better="lower",
            yardstick=sum(first for _, _, first, _ in trials) / len(trials),
        ),
    ]


def trial(seed: int, turns: int) -> tuple[int, int, float, float]:
    """Turns that came out the same, commands among them, CPU seconds of the run and of its replay."""
    world = ring()
    network = EmbeddedNetwork(world, seed=seed, start_s=0.0)
    links = world["links"].ids
    for start in range(50, turns, FAULT_EVERY_S):
        link = links[(start * seed) % len(links)].decode()
        network.inject(Fault("link_slow", link, float(start), float(start + FAULT_EVERY_S // 3)))
        network.inject(Fault("router_dead", f"r{start * seed % 6}", float(start + FAULT_EVERY_S // 2)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record"
        begun = time.process_time()
        with Record(path) as record:
            runner = Runner.start(world, network, record, Policy(level="act"), at_s=0.0)
            for turn in range(1, turns + 1):
                runner.turn(float(turn))
        first = time.process_time() - begun
        begun = time.process_time()
        decided = list(replay(world, path))
        again = time.process_time() - begun
        events, _ = verify(path)
    if events != turns + 1:
        raise RuntimeError(f"{events} events for {turns} turns")
    return len(decided), sum(len(decisions.commands) for decisions in decided), first, again
