"""An hour of real routers on which nothing is wrong, at load: what the loop cries wolf about, and what routing does.

The loop looks after two labs of ten routers at once, half of the time each, whose routers speak OSPF and IS-IS, and may
act. Each takes most of a core, so that labs are late now and then, as they are beside other work. In a third lab,
alone, BFD is so fast that it misses packets which were only late.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks import Figure, figure
from benchmarks.instances.mesh import mesh
from karez.adapters.frr.config import Igp, Protocols
from karez.lab.network import network_of
from karez.lab.plan import plan
from karez.lab.start import lasting
from karez.loop.runner import Runner
from karez.loop.state import Policy
from karez.record.log import Record
from karez.scenario.real import TURN_S, users_lost

NAME = "hour"
# Seeds of the labs that the loop looks after, with what their routers speak, and of that with fast BFD.
LOOKED_AFTER: tuple[tuple[int, Igp], ...] = ((1, "ospf"), (2, "isis"))
FAST_SEED = 3
ROUTERS = 10
HOUR_S = 3_600.0
LASTS_S = float(os.environ.get("KAREZ_HOUR_S", "3600"))
# The lab of fast BFD lasts so much of it.
FAST_SHARE = 1 / 30
# How often BFD speaks in the labs that the loop looks after, and in the third (ms); how many packets may be missed.
BFD_MS, FAST_BFD_MS, BFD_TIMES = 50, 10, 3
# Sessions have so long to come up before they are watched (s).
COMES_UP_S = 5.0


class Watched(NamedTuple):
    """What came of a lab that was left alone: turns, what was found, acts, and users' packets that were lost.

    In `late` of the turns something measured was left out, since the lab had not kept time.
    """

    turns: int
    late: int
    found: tuple[str, ...]
    acts: int
    lost: float


def run() -> list[Figure]:
    """False alarms and acts within the hour, and how often neighbours were lost whom nothing ailed."""
    with ProcessPoolExecutor(len(LOOKED_AFTER), mp_context=get_context("spawn")) as pool:
        seen = list(pool.map(_watched, *zip(*LOOKED_AFTER, strict=True), [LASTS_S / 2] * len(LOOKED_AFTER)))
    fast_s = LASTS_S * FAST_SHARE
    missed = _missed(FAST_SEED, fast_s)
    for word in (word for lab in seen for word in lab.found):
        print(f"  {word}", flush=True)
    return [
        figure("minutes that the loop looked after real routers at load", LASTS_S / 60.0, "min", 60.0, better="higher"),
        figure("turns taken", sum(lab.turns for lab in seen), "", better="higher"),
        figure(
            "turns in which something was left out, as the lab had not kept time", sum(lab.late for lab in seen), ""
        ),
        figure("false alarms", sum(len(lab.found) for lab in seen), "", 0.0),
        figure("acts", sum(lab.acts for lab in seen), "", 0.0),
        figure("users' packets lost", sum(lab.lost for lab in seen), "packets"),
        figure(
            f"BFD {FAST_BFD_MS}x{BFD_TIMES}: neighbours lost that were there, by hour and network of {ROUTERS} routers",
            missed * HOUR_S / fast_s,
            "/h",
        ),
    ]


def _watched(seed: int, igp: Igp, lasts_s: float) -> Watched:
    """What the loop made of a lab on which nothing was wrong for so long."""
    world, protocols = mesh(seed, sites=ROUTERS, bgp=True), Protocols(igp=igp, bfd_ms=BFD_MS, bfd_times=BFD_TIMES)
    with (
        lasting(plan(world, name=f"bench-hour-{igp}", protocols=protocols)) as lab,
        TemporaryDirectory() as folder,
        Record(Path(folder) / "record") as record,
        closing(network_of(lab, world)) as network,
    ):
        runner = Runner.start(world, network, record, Policy(level="act"), at_s=time.time())
        turns, late, found, acts, lost = 0, 0, list[str](), 0, users_lost(lab)
        before = lost()
        for at_s in _ticks(lasts_s):
            decided = runner.turn(at_s)
            turns, acts = turns + 1, acts + len(decided.commands)
            late += bool(runner.ears.aside)
            found += [f"{igp}, after {turns * TURN_S:.0f} s: {one.id}" for one in decided.found if one.open]
        return Watched(turns, late, tuple(found), acts, lost() - before)


def _missed(seed: int, lasts_s: float) -> int:
    """How often a link lost its neighbour in so long although nothing ailed it."""
    world, lost = mesh(seed, sites=ROUTERS), 0
    protocols = Protocols(bfd_ms=FAST_BFD_MS, bfd_times=BFD_TIMES)
    with (
        lasting(plan(world, name="bench-hour-fast", protocols=protocols)) as lab,
        closing(network_of(lab, world)) as network,
    ):
        time.sleep(COMES_UP_S)
        network.observe(time.time())
        for at_s in _ticks(lasts_s):
            told = [rows for rows in network.observe(at_s) if rows.table == "link_states"]
            lost += sum(not adjacent for rows in told for adjacent in rows.columns["adjacent"])
    return lost


def _ticks(lasts_s: float) -> Iterator[float]:
    """The time (Unix, s), turn by turn, for so long."""
    until_s = time.time() + lasts_s
    while (at_s := time.time()) < until_s:
        yield at_s
        time.sleep(max(0.0, at_s + TURN_S - time.time()))
