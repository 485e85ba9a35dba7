"""Real routers on this machine: how soon they run, what the wire carries, and how long users are cut off by a cut.

Meshes of 10, 50 and 100 routers start from nothing until every router knows the way to every other. In the smallest,
each link is cut in turn: a stream from one of its ends to the other, every 2 ms, tells for how long nothing came. A cut
with the loss of light is told to routing by the interface; of a silent one BFD must know.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import msgspec
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from benchmarks import Figure, figure
from benchmarks.instances.mesh import mesh
from karez.adapters.frr.config import Protocols
from karez.adapters.frr.fabric import Fabric
from karez.lab.asked import Count, Counted, Lab, Plan, ResetGaps, SetCarrier, SetWay
from karez.lab.hosts import Stream
from karez.lab.plan import plan
from karez.lab.start import ended, started

NAME = "lab"
SEEDS = (1,)
# Routers, and how soon they shall run (s).
STARTS = ((10, 6.0), (50, 15.0), (100, 60.0))
# Packets a second over so many hops, for so long (s).
CARRIED_PER_S, HOPS, CARRIED_S = 30_000.0, 4, 20.0
# A stream over each link (packets a second), how long a cut lasts, and how long routing has to settle after it (s).
STREAM_PER_S, CUT_S, SETTLES_S = 500.0, 1.5, 3.0
# BFD: every so often (ms), and how many may be missed.
BFD_MS, BFD_TIMES, BFD_BAR_MS = 50, 3, 160.0


def run() -> list[Figure]:
    """Seconds until labs run, packets lost on the wire, and milliseconds without packets after cuts."""
    # What is compiled and not kept yet is compiled here.
    _started_s(4)
    starts = [(routers, _started_s(routers), bar_s) for routers, bar_s in STARTS]
    sent, lost = _carried()
    light_ms, silent_ms = _cut(_dark), _cut(_silent)
    return [
        *(figure(f"{routers} routers up and converged", took_s, "s", bar_s) for routers, took_s, bar_s in starts),
        figure(f"packets sent over {HOPS} hops of the wire", sent / CARRIED_S, "/s", CARRIED_PER_S, better="higher"),
        figure("of them lost", lost, "packets", 0.0),
        figure("cut with loss of light, no backups, 10 routers: median outage", statistics.median(light_ms), "ms"),
        figure("the longest", max(light_ms), "ms"),
        figure(
            f"silent cut, BFD {BFD_MS}x{BFD_TIMES}, 10 routers: median outage",
            statistics.median(silent_ms),
            "ms",
            BFD_BAR_MS,
        ),
        figure("the longest silent one", max(silent_ms), "ms"),
    ]


@contextmanager
def _running(made: Plan) -> Iterator[Lab]:
    started(made)
    try:
        with closing(Lab(made.name)) as lab:
            yield lab
    finally:
        ended(made.name)


def _planned(routers: int, bfd_ms: int = 100) -> Plan:
    # Many neighbours are watched less closely: two cores watch them all.
    protocols = Protocols(bfd_ms=bfd_ms, bfd_times=BFD_TIMES)
    return plan(mesh(SEEDS[0], sites=routers), name=f"bench-{routers}", protocols=protocols, users_per_s=500.0)


def _started_s(routers: int) -> float:
    made, before_s = _planned(routers), time.monotonic()
    with _running(made):
        return time.monotonic() - before_s


def _carried() -> tuple[int, int]:
    """The packets that were sent over so many hops, and those that were lost."""
    made = _planned(12)
    start, goal = _apart(made.fabric, HOPS)
    stream = _stream(made.fabric, start, goal, 1.02 * CARRIED_PER_S)
    with _running(msgspec.structs.replace(made, streams=(stream,), demands=("carried",))) as lab:
        time.sleep(SETTLES_S)
        before = lab.ask(Count(ports=False), Counted)
        time.sleep(CARRIED_S)
        after = lab.ask(Count(ports=False), Counted)
    return _sum(after, before, "settled"), _sum(after, before, "lost")


def _sum(after: Counted, before: Counted, what: str, leg: int = 0) -> int:
    names = (what, f"{what}_large")
    return int(sum(getattr(after, name)[leg] - getattr(before, name)[leg] for name in names))


def _cut(cut: Callable[[Lab, int, bool], None]) -> list[float]:
    """For how long nothing came over each link that traffic prefers, when it was cut (ms)."""
    made = _planned(10, BFD_MS)
    preferred = [row for row, line in enumerate(made.fabric.lines) if _hops(made.fabric)[line.routers] == 1]
    streams = tuple(_stream(made.fabric, *made.fabric.lines[row].routers, STREAM_PER_S) for row in preferred)
    names = tuple(made.fabric.lines[row].link for row in preferred)
    gaps_ms = []
    with _running(msgspec.structs.replace(made, streams=streams, demands=names)) as lab:
        time.sleep(SETTLES_S)
        for place, row in enumerate(preferred):
            lab.ask(ResetGaps())
            before = lab.ask(Count(ports=False), Counted)
            cut(lab, row, True)
            time.sleep(CUT_S)
            after, leg = lab.ask(Count(ports=False), Counted), 2 * place
            # Where nothing came any more, the gap has no end; what was lost tells of it.
            lost_ms = float(_sum(after, before, "lost", leg)) / STREAM_PER_S * 1e3
            gaps_ms.append(max(float(after.gap_ns[leg]) / 1e6, lost_ms))
            cut(lab, row, False)
            time.sleep(SETTLES_S)
    return gaps_ms


def _dark(lab: Lab, row: int, on: bool) -> None:
    lab.ask(SetCarrier(lines=(row,), on=not on))


def _silent(lab: Lab, row: int, on: bool) -> None:
    lab.ask(SetWay(ways=(2 * row, 2 * row + 1), values={"cut": float(on)}))


def _stream(fabric: Fabric, start: int, goal: int, per_s: float) -> Stream:
    ends = fabric.routers[start].loopback, fabric.routers[goal].loopback
    return Stream(hosts=(start, goal), addresses=ends, per_s=per_s, test=False)


def _apart(fabric: Fabric, hops: int) -> tuple[int, int]:
    """Two routers that the shortest path leads over so many links between."""
    start, goal = np.argwhere(_hops(fabric) == hops)[0].tolist()
    return start, goal


def _hops(fabric: Fabric) -> np.ndarray:
    """How many links the shortest path from each router to each other has."""
    size = len(fabric.routers)
    ends = np.array([line.routers for line in fabric.lines])
    cost = np.array([next(p.cost for r, p in fabric.ports() if p.row == row) for row in range(len(ends))], float)
    both = np.concatenate([ends, ends[:, ::-1]])
    graph = coo_array((np.r_[cost, cost], (both[:, 0], both[:, 1])), shape=(size, size)).tocsr()
    _, before = dijkstra(graph, return_predecessors=True)
    hops = np.zeros((size, size), int)
    for start in range(size):
        for goal in range(size):
            at = goal
            while at != start:
                at = int(before[start, at])
                hops[start, goal] += 1
    return hops
