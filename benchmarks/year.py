"""A year of a network of 200 routers with faults, in simulated time: each fault begins, is found, mended or passes.

Time runs fast where nothing happens and slowly where something does. Whatever went wrong is printed as a token: the
seed and the number of the fault, which play the same year again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import Figure, figure
from benchmarks.instances.mesh import mesh
from karez.adapters.embedded import FAULTS, EmbeddedNetwork, Fault, drawn, has
from karez.loop.runner import Runner
from karez.loop.state import Policy
from karez.record.log import Record
from karez.twin import World

NAME = "year"
SITES = 200
YEAR_S = 365.0 * 86_400.0
SEEDS = (1, 2, 3)
BAR_S = 600.0
# One fault in so many seconds, on the whole; it passes after one of these times unless it is mended before.
EVERY_S = 4.0 * 86_400.0
LASTS_S = (600.0, 3_600.0)
# Up to so long after something has happened (s), turns are so far apart (s).
PACE = ((6.0, 0.25), (30.0, 1.0), (120.0, 5.0), (1_200.0, 60.0), (float("inf"), 1_800.0))
KINDS = tuple(kind for kind in FAULTS if kind not in ("deaf", "none", "noise", "work_link", "work_router"))


class Year(NamedTuple):
    """What a year came to: wall and CPU seconds, faults, turns, those found, acts, undone acts, and false findings."""

    wall_s: float
    cpu_s: float
    faults: int
    turns: int
    found: int
    acts: int
    undone: int
    strays: int


def run() -> list[Figure]:
    """The slowest of the seeds, and what happened in all of them."""
    years = [lived(seed, YEAR_S) for seed in SEEDS]
    return [
        figure("a year of 200 routers with faults", max(year.wall_s for year in years), "s", BAR_S),
        figure("CPU of it", max(year.cpu_s for year in years), "CPU s"),
        figure("faults", sum(year.faults for year in years), "", better="higher"),
        figure("turns", sum(year.turns for year in years), "", better="higher"),
        figure("faults whose cause was told", sum(year.found for year in years), "", better="higher"),
        figure("acts", sum(year.acts for year in years), "", better="higher"),
        figure("acts undone", sum(year.undone for year in years), ""),
        figure("findings while nothing was wrong", sum(year.strays for year in years), ""),
    ]


def lived(seed: int, length_s: float) -> Year:
    """A year, or a part of one."""
    world = mesh(seed, sites=SITES)
    faults = list(_faults(world, seed, length_s))
    network = EmbeddedNetwork(world, seed=seed, start_s=0.0)
    for fault in faults:
        network.inject(fault)
    begun, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder, Record(Path(folder) / "record") as record:
        runner = Runner.start(world, network, record, Policy(level="act"), at_s=0.0)
        turns, told, strays, acts, undone = 0, set[int](), 0, 0, 0
        at_s, happened_s = 0.0, 0.0
        while at_s < length_s:
            at_s = min(at_s + _step_s(at_s - happened_s), max(network.next_event_s, at_s + 0.25))
            decided = runner.turn(at_s)
            turns += 1
            if decided.found or decided.verdicts or _begins(faults, at_s, happened_s):
                happened_s = at_s
            for found in (one for one in decided.found if one.open):
                near = [at for at, fault in enumerate(faults) if fault.at_s <= at_s <= fault.until_s + 120.0]
                told |= {at for at in near if (faults[at].kind, faults[at].subject) == (found.kind, found.subject)}
                if not near:
                    strays += 1
                    print(f"  {seed}/{at_s:.0f}: {found.id} while nothing was wrong")
            acts += len(decided.commands)
            undone += sum(word.verdict == "undone" for word in decided.verdicts)
    return Year(
        time.perf_counter() - begun, time.process_time() - cpu, len(faults), turns, len(told), acts, undone, strays
    )


def _faults(world: World, seed: int, length_s: float) -> Iterator[Fault]:
    random = np.random.default_rng([seed, 365])
    at_s, kinds = 600.0, [kind for kind in KINDS if has(world, kind)]
    while (at_s := at_s + float(random.exponential(EVERY_S))) < length_s:
        fault = drawn(world, kinds[int(random.integers(len(kinds)))], random, at_s)
        if fault is not None:
            until_s = min(fault.until_s, at_s + float(random.uniform(*LASTS_S)))
            yield Fault(**({name: getattr(fault, name) for name in fault.__struct_fields__} | {"until_s": until_s}))


def _begins(faults: list[Fault], at_s: float, since_s: float) -> bool:
    """Whether a fault has begun or ended since then."""
    return any(since_s < when <= at_s for fault in faults for when in (fault.at_s, fault.until_s))


def _step_s(quiet_s: float) -> float:
    return next(step_s for until_s, step_s in PACE if quiet_s <= until_s)
