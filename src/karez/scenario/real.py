"""The loop on real routers: turns in real time, a fault that begins once what is normal is learned, what came of it.

A lab cannot be had twice at once, so what users would have lost without the loop is not known beside what they lost.
Where packets were lost after the loop acted, the same incident is played once more and left alone, and both are
compared from that moment on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec

from karez.adapters.embedded import FOREVER_S, USUAL, Fault, Packets
from karez.lab.asked import AsPlanned, Begin, Count, Counted, End, Lab, LabError, Plan
from karez.lab.faults import BEGINS, Scene, begin
from karez.lab.forwarding import Watched
from karez.lab.hosts import LARGE_EVERY, PATIENCE_NS
from karez.lab.kernel import NS_PER_S
from karez.lab.network import network_of
from karez.loop.runner import Runner
from karez.loop.state import Decisions, Policy
from karez.record.log import Record
from karez.scenario.course import Course, Label, unsettled
from karez.scenario.incidents import (
    HARM_SHARE,
    HARMLESS,
    KINDS,
    LATE,
    Incident,
    Outcome,
    in_calendar,
    incident,
    outcome,
)
from karez.scenario.incidents import played as played_embedded
from karez.twin import World

# What is normal is learned for so long before a fault is begun; turns come so often (s).
LEARN_S, TURN_S = 8.0, 0.1
# What was found is judged so long after the fault began, or where a fault takes longer to show what it is (s).
JUDGED_S, LATE_JUDGED_S = 10.0, 40.0
# What is under way then has so long to be settled, routing to be as before once all is as planned, and to stay so (s).
SETTLES_S, CONVERGES_S, RESTS_S = 20.0, 60.0, 2.0
# Kinds that take longer, and how long a router boots (s).
LATER, BOOTS_S = LATE | {"routing_stuck", "bfd_dead"}, 10.0
# So many packets more are chance.
CHANCE_PACKETS = 5.0
# What a lab cannot tell apart from something else: all that it has of a site is its router.
ALIKE = frozenset({"site_power_lost"})
# Kinds of fault that a lab can show, of those that are drawn.
LAB_KINDS = tuple(kind for kind in KINDS if kind in BEGINS and kind not in ALIKE)


class Played(NamedTuple):
    """What was played: when it began, when the fault did or would have (Unix, s), and every turn; packets were lost."""

    start_s: float
    broke_s: float
    course: Course

    def lost(self, from_s: float, until_s: float) -> float:
        """How many of the users' packets were lost from a turn on, what it did included, to a later one."""
        turns = list(zip(self.course.at_s, self.course.lost, strict=True))
        before = [lost for at_s, lost in turns if at_s < from_s]
        within = [lost for at_s, lost in turns if from_s <= at_s <= until_s]
        return within[-1] - before[-1] if within and before else 0.0


def drawn(world: World, name: str, number: int, kinds: Sequence[str] = LAB_KINDS) -> Incident:
    """The incident of a number that a lab of this world can show; what is believed of it is true."""
    one = incident(world, name, number, kinds=kinds, matched_share=1.0)
    if one.fault is None or one.fault.kind != "router_booted":
        return one
    # Nobody waits for a router of a lab to boot for as long as for a real one.
    fault = msgspec.structs.replace(one.fault, until_s=one.fault.at_s + BOOTS_S)
    return msgspec.structs.replace(one, fault=fault)


def drilled(world: World, lab: Lab, one: Incident, policy: Policy) -> Outcome:
    """What the loop makes of an incident on a lab that runs and is as planned, as it is again then.

    Raises:
        LabError: the lab does not answer.
    """
    made, mine = _drilled(world, lab, one, policy)
    acted_s = next((at_s for at_s, _ in mine.course.acts()), math.inf)
    if mine.lost(acted_s, math.inf) <= CHANCE_PACKETS:
        return made
    observe = msgspec.structs.replace(policy, level="observe")
    _, alone = _drilled(world, lab, one, observe, least_s=mine.course.at_s[-1] - mine.broke_s)
    share, harmed = harm(mine, alone, acted_s)
    return msgspec.structs.replace(made, harm_share=share, harmed=harmed)


def as_drilled(world: World, lab: Plan, one: Incident, policy: Policy) -> Outcome:
    """What the loop makes of an incident in the embedded network, which has as many packets as the lab of that plan."""
    return played_embedded(world, one, policy, turn_s=TURN_S, packets=packets_of(world, lab))


def packets_of(world: World, lab: Plan) -> Packets:
    """How many packets a lab has."""
    tests, users = lab.streams[: 2 * len(lab.fabric.lines)], lab.streams[2 * len(lab.fabric.lines) :]
    # A way is tested by the packets from its end, and by the answers to those from the other.
    per_s = sum(stream.per_s for stream in tests[:2])
    gbps = float(world["demands"]["gbps"][world["demands"].rows(lab.demands)].sum())
    of_users = sum(stream.per_s for stream in users) / gbps if gbps else USUAL.users_per_s_per_gbps
    return Packets(per_s * (1.0 - 1.0 / LARGE_EVERY), per_s / LARGE_EVERY, of_users, PATIENCE_NS / NS_PER_S)


def harm(mine: Played, alone: Played, acted_s: float) -> tuple[float, bool]:
    """How many packets more were lost from the first act on than where nobody acts, as a share; and if it is harm."""
    ends_s, later_s = mine.course.at_s[-1], alone.broke_s - mine.broke_s
    usual = alone.lost(acted_s + later_s, ends_s + later_s)
    more = mine.lost(acted_s, ends_s) - usual
    share = more / usual if usual else math.inf if more > CHANCE_PACKETS else 0.0
    return share, more > CHANCE_PACKETS and share > HARM_SHARE


def _drilled(world: World, lab: Lab, one: Incident, policy: Policy, *, least_s: float = 0.0) -> tuple[Outcome, Played]:
    """What came of an incident that is followed for so long at least after it began, and its course; nobody harmed."""
    fault = one.fault
    asked = begin(Scene(world, lab.plan()), fault) if fault else None
    judged_s = LATE_JUDGED_S if fault and fault.kind in LATER else JUDGED_S
    watched_s = max(judged_s, least_s)
    lasts_s = fault.until_s - fault.at_s if fault and fault.until_s < FOREVER_S else math.inf
    with (
        TemporaryDirectory() as folder,
        Record(Path(folder) / "record") as record,
        closing(network_of(lab, world)) as network,
    ):
        runner = Runner.start(_announced(world, fault), network, record, policy, at_s=time.time())

        def over(said: Decisions, broke_s: float) -> bool:
            return said.at_s >= broke_s + watched_s and not unsettled(runner)

        for_s = one.begun_s + watched_s + SETTLES_S
        mine = played(runner, lab, asked, begins_s=one.begun_s, for_s=for_s, lasts_s=lasts_s, over=over)
    _await_rest(lab)
    found = mine.course.found(mine.broke_s + judged_s, frozenset())
    nobody = 0.0, False, ()
    return outcome(one, _label(fault), mine.course, found, unsettled(runner), nobody, begun_s=mine.broke_s), mine


def _await_rest(lab: Lab) -> None:
    """Wait until all that routers send arrives, and has for a while.

    Raises:
        LabError: it does not come to that, or the lab does not answer.
    """
    watched, until_s = Watched(lab, lab.plan().fabric), time.monotonic() + CONVERGES_S
    rests_s = time.monotonic() + RESTS_S
    while time.monotonic() < rests_s:
        time.sleep(TURN_S)
        if watched.findings():
            rests_s = time.monotonic() + RESTS_S
        if time.monotonic() > until_s:
            raise LabError(f"the lab {lab.name} is not as planned {CONVERGES_S:g} s after it was told to be")


def _label(fault: Fault | None) -> Label:
    if fault is None or fault.kind in HARMLESS:
        return frozenset()
    return frozenset({(fault.kind, fault.subject)})


def _announced(world: World, fault: Fault | None) -> World:
    """The world in which planned work is in the calendar, by the clock of this machine."""
    now_s = time.time()
    return in_calendar(
        world, fault and msgspec.structs.replace(fault, at_s=now_s, until_s=now_s + LEARN_S + fault.until_s)
    )


def played(
    runner: Runner,
    lab: Lab,
    fault: Begin | None,
    *,
    for_s: float,
    begins_s: float = LEARN_S,
    lasts_s: float = math.inf,
    over: Callable[[Decisions, float], bool] = lambda said, broke_s: False,
) -> Played:
    """What the loop did on a lab for so long, or until it is over; then the lab is as planned again.

    It starts at a whole second, at which channels tell, and the fault begins `begins_s` later, whether that is a turn
    or not: so what is played again is told at the same moments, in the embedded network too. `over` is told what was
    decided and when the fault began (inf: it has not yet).

    Raises:
        LabError: the lab does not answer.
    """
    course, users, said_s = Course(), users_lost(lab), list[float]()
    broke_s = ends_s = math.inf

    def told(_: Decisions) -> None:
        said_s.append(time.time())

    try:
        # The first turn loads what is compiled.
        runner.turn(time.time())
        at_s = start_s = float(math.ceil(time.time()))
        while at_s < start_s + for_s:
            if math.isinf(broke_s) and at_s >= start_s + begins_s:
                _sleep_until(start_s + begins_s)
                broke_s = lab.ask(fault).at_s if fault else time.time()
                ends_s = broke_s + lasts_s
            if at_s >= ends_s:
                _sleep_until(ends_s)
                lab.ask(End())
                ends_s = math.inf
            _sleep_until(at_s)
            decided = runner.turn(time.time(), told=told)
            course.add(runner.state, decided, users(), said_s=said_s[-1])
            if over(decided, broke_s):
                break
            turns = math.floor((time.time() - start_s) / TURN_S)
            at_s = start_s + (turns + 1) * TURN_S
    finally:
        lab.ask(AsPlanned())
    return Played(start_s, broke_s, course)


def _sleep_until(at_s: float) -> None:
    time.sleep(max(0.0, at_s - time.time()))


def users_lost(lab: Lab) -> Callable[[], float]:
    """What tells how many of the users' packets were lost so far."""
    legs = slice(4 * len(lab.plan().fabric.lines), None, 2)

    def lost() -> float:
        counted = lab.ask(Count(ports=False), Counted)
        return float(counted.lost[legs].sum() + counted.lost_large[legs].sum())

    return lost
