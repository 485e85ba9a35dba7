"""Real routers on this machine: how soon they run, what the wire carries, and how long users are cut off by a cut.

Meshes of 10, 50 and 100 routers start from nothing until every router knows the way to every other. In the smaller ones
each link and duct is cut in turn: a stream from one end of each link to the other, every 2 ms, tells for how long
nothing came. A cut with the loss of light is told to routing by the interface; of a silent one BFD must know.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, dijkstra

from benchmarks import Figure, figure
from benchmarks.instances.mesh import mesh
from karez.adapters.frr.config import Protocols
from karez.adapters.frr.fabric import Fabric
from karez.adapters.frr.ready import ready_ways
from karez.lab.asked import Count, Counted, KeepReady, Lab, Plan, ResetGaps, SetCarrier, SetStream, SetWay
from karez.lab.forwarding import Watched
from karez.lab.hosts import Stream
from karez.lab.plan import plan
from karez.lab.start import lasting
from karez.plan.protect import protect
from karez.twin import World
from karez.twin.table import Array, strings

NAME = "lab"
SEEDS = (1,)
# Routers, and how soon they shall run (s).
STARTS = ((10, 6.0), (50, 15.0), (100, 60.0))
# Packets a second over so many hops, for so long (s).
CARRIED_PER_S, HOPS, CARRIED_S = 30_000.0, 4, 20.0
# A stream over each link (packets a second), how long a cut lasts, and how long routing has to settle after it (s).
STREAM_PER_S, CUT_S, SETTLES_S = 500.0, 1.5, 3.0
# How long a stream runs before the cut (s).
STARTS_S = 0.3
# Labs in which every link and duct loses its light, and the outage that users may have then (ms).
CUT_ROUTERS, OUTAGE_BAR_MS = (10, 50), 50.0
# Cuts while all forwarding tables are checked again and again, and how long a check may take (s).
CHECKED_CUTS, CHECK_BAR_S = 8, 0.2
Cut = Callable[["Lab", Sequence[int], bool], None]
# BFD: every so often (ms), and how many may be missed; and so often that a busy machine misses some.
BFD_MS, BFD_TIMES, BFD_BAR_MS = 50, 3, 160.0
FAST_BFD_MS = 10


def run() -> list[Figure]:
    """Seconds until labs run, packets lost on the wire, and milliseconds without packets after cuts."""
    # What is compiled and not kept yet is compiled here.
    _started_s(4)
    starts = [(routers, _started_s(routers), bar_s) for routers, bar_s in STARTS]
    sent, lost = _carried()
    return [
        *(figure(f"{routers} routers up and converged", took_s, "s", bar_s) for routers, took_s, bar_s in starts),
        figure(f"packets sent over {HOPS} hops of the wire", sent / CARRIED_S, "/s", CARRIED_PER_S, better="higher"),
        figure("of them lost", lost, "packets", 0.0),
        *(made for routers in CUT_ROUTERS for made in _light(routers)),
        *_silence(),
        *_checks(),
    ]


def _light(routers: int) -> Iterator[Figure]:
    """Outages when links and ducts lose their light, with backups and without."""
    without = _outages_ms(routers, _dark, ducts=True)
    kept = _outages_ms(routers, _dark, ducts=True, protected=True)
    of = f"loss of light, {routers} routers, {len(kept)} links and ducts, backups installed"
    for what, share, bar_ms in (
        ("median", 0.5, None),
        ("99th of a hundred", 0.99, OUTAGE_BAR_MS),
        ("longest", 1.0, None),
    ):
        beside = float(np.quantile(without, share))
        yield figure(
            f"{of}: {what} outage (yardstick: without)", float(np.quantile(kept, share)), "ms", bar_ms, yardstick=beside
        )


def _silence() -> Iterator[Figure]:
    """Outages when links fall silent, which only BFD notices."""
    for bfd_ms, bar_ms in ((BFD_MS, BFD_BAR_MS), (FAST_BFD_MS, None)):
        silent_ms = _outages_ms(10, _silent, bfd_ms=bfd_ms)
        of = f"silent cut, BFD {bfd_ms}x{BFD_TIMES}, 10 routers"
        yield figure(f"{of}: median outage", float(np.median(silent_ms)), "ms", bar_ms)
        yield figure(f"{of}: longest outage", float(silent_ms.max()), "ms")


def _checks() -> Iterator[Figure]:
    """How long it takes to tell what is wrong in all forwarding tables after what changed, while routing settles."""
    routers, took_s, kinds = STARTS[-1][0], list[float](), set[str]()
    with lasting(_planned(mesh(SEEDS[0], sites=routers), routers)) as lab:
        watched = Watched(lab, lab.plan().fabric)
        watched.findings()
        for row in range(CHECKED_CUTS):
            _dark(lab, (row,), True)
            until_s = time.monotonic() + SETTLES_S
            while time.monotonic() < until_s:
                before_s = time.perf_counter()
                kinds.update(finding.kind for finding in watched.findings())
                took_s.append(time.perf_counter() - before_s)
            _dark(lab, (row,), False)
            time.sleep(SETTLES_S)
        left = len(watched.findings())
    of = f"forwarding of {routers} routers, all pairs, asked and checked after what changed"
    yield figure(f"{of}: longest", max(took_s), "s", CHECK_BAR_S)
    yield figure(f"{of}: median", statistics.median(took_s), "s")
    yield figure(f"{of}: kinds of fault seen while routing settled ({', '.join(sorted(kinds))})", len(kinds), "")
    yield figure(f"{of}: findings once all had settled", left, "", 0.0)


def _planned(world: World, routers: int, bfd_ms: int = 100) -> Plan:
    # Many neighbours are watched less closely: two cores watch them all.
    protocols = Protocols(bfd_ms=bfd_ms, bfd_times=BFD_TIMES)
    return plan(world, name=f"bench-{routers}", protocols=protocols, users_per_s=500.0)


def _started_s(routers: int) -> float:
    made, before_s = _planned(mesh(SEEDS[0], sites=routers), routers), time.monotonic()
    with lasting(made):
        return time.monotonic() - before_s


def _carried() -> tuple[int, int]:
    """The packets that were sent over so many hops, and those that were lost."""
    made = _planned(mesh(SEEDS[0], sites=12), 12)
    start, goal = _apart(made.fabric, HOPS)
    stream = _stream(made.fabric, start, goal, 1.02 * CARRIED_PER_S)
    with lasting(msgspec.structs.replace(made, streams=(stream,), demands=("carried",))) as lab:
        time.sleep(SETTLES_S)
        before = lab.ask(Count(ports=False), Counted)
        time.sleep(CARRIED_S)
        after = lab.ask(Count(ports=False), Counted)
    return _sum(after, before, "settled"), _sum(after, before, "lost")


def _sum(after: Counted, before: Counted, what: str, leg: int = 0) -> int:
    names = (what, f"{what}_large")
    return int(sum(getattr(after, name)[leg] - getattr(before, name)[leg] for name in names))


def _outages_ms(routers: int, cut: Cut, *, bfd_ms: int = 100, ducts: bool = False, protected: bool = False) -> Array:
    """For how long nothing came over each link that traffic between its ends takes, when it was cut (ms).

    With `ducts`, each of them that several such links lie in is cut, too; then it is the link that was cut off longest.
    A duct whose cut parts the network is not: nothing could lead round it.
    """
    world = mesh(SEEDS[0], sites=routers)
    made = _planned(world, routers, bfd_ms)
    hops = _hops(made.fabric)
    taken = [row for row, line in enumerate(made.fabric.lines) if hops[line.routers] == 1]
    streams = tuple(_stream(made.fabric, *made.fabric.lines[row].routers, STREAM_PER_S) for row in taken)
    names = tuple(made.fabric.lines[row].link for row in taken)
    failures = [(row,) for row in taken] + (_ducts(world, made.fabric, taken) if ducts else [])
    failures = [rows for rows in failures if _stays_whole(made.fabric, rows)]
    with lasting(msgspec.structs.replace(made, streams=streams, demands=names)) as lab:
        if protected:
            _protect(lab, world)
        for stream in range(len(streams)):
            lab.ask(SetStream(stream=stream, per_s=0.0))
        time.sleep(SETTLES_S)
        return np.array(
            [_outage_ms(lab, rows, [taken.index(row) for row in rows if row in taken], cut) for rows in failures]
        )


def _ducts(world: World, fabric: Fabric, taken: Sequence[int]) -> list[tuple[int, ...]]:
    """The links (rows of lines) of each duct that several lie in, if traffic takes any of them."""
    place = {line.link: row for row, line in enumerate(fabric.lines)}
    support = world["link_support"]
    inside = {duct: support["link"][support["duct"] == duct] for duct in np.unique(support["duct"])}
    found = [tuple(place[link] for link in strings(links)) for duct, links in inside.items() if duct]
    return [rows for rows in found if len(rows) > 1 and set(rows) & set(taken)]


def _stays_whole(fabric: Fabric, rows: Sequence[int]) -> bool:
    """Whether every router reaches every other without some of the lines."""
    ends = np.array([line.routers for row, line in enumerate(fabric.lines) if row not in rows])
    size = len(fabric.routers)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
    return connected_components(graph, directed=False)[0] == 1


def _protect(lab: Lab, world: World) -> None:
    """Have all routers keep ways ready, as a plan has it."""
    fabric = lab.plan().fabric
    place = {router.id: row for row, router in enumerate(fabric.routers)}
    for action in protect(world, at_s=0.0).plan.actions:
        row = place[action.subject]
        lab.ask(KeepReady(router=row, ways=ready_ways(fabric, row, str(action.sets[0].after))))


def _outage_ms(lab: Lab, rows: Sequence[int], streams: Sequence[int], cut: Cut) -> float:
    """For how long nothing came of any of these streams when all these lines were cut (ms)."""
    for stream in streams:
        lab.ask(SetStream(stream=stream, per_s=STREAM_PER_S))
    time.sleep(STARTS_S)
    lab.ask(ResetGaps())
    before = lab.ask(Count(ports=False), Counted)
    cut(lab, rows, True)
    time.sleep(CUT_S)
    after = lab.ask(Count(ports=False), Counted)
    cut(lab, rows, False)
    for stream in streams:
        lab.ask(SetStream(stream=stream, per_s=0.0))
    time.sleep(SETTLES_S)
    # Where nothing came any more, the gap has no end; what was lost tells of it.
    lost_ms = [float(_sum(after, before, "lost", 2 * stream)) / STREAM_PER_S * 1e3 for stream in streams]
    gaps_ms = [float(after.gap_ns[2 * stream]) / 1e6 for stream in streams]
    return max((*lost_ms, *gaps_ms), default=0.0)


def _dark(lab: Lab, rows: Sequence[int], on: bool) -> None:
    lab.ask(SetCarrier(lines=tuple(rows), on=not on))


def _silent(lab: Lab, rows: Sequence[int], on: bool) -> None:
    ways = tuple(way for row in rows for way in (2 * row, 2 * row + 1))
    lab.ask(SetWay(ways=ways, values={"cut": float(on)}))


def _stream(fabric: Fabric, start: int, goal: int, per_s: float) -> Stream:
    ends = fabric.routers[start].users, fabric.routers[goal].users
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
