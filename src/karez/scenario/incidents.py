"""Incidents: one fault each, in an embedded network that the loop looks after; what it found, did, and what it cost.

An incident is named by a token, network seed and number, and comes out the same whenever it is played. The network
lives twice: with the loop, and left alone. The difference of what users lost is what the loop did to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from karez.adapters.embedded import FAULTS, USUAL, EmbeddedNetwork, Fault, Packets, drawn, has, planned_gbps
from karez.loop.runner import Runner
from karez.loop.state import Decisions, Policy, State
from karez.measure.signatures import WAYS
from karez.record.log import Record
from karez.scenario.course import Course, Label, unsettled
from karez.scenario.mismatch import MISMATCHES, Mismatch, Setting, mismatched
from karez.twin import World
from karez.twin.schema import Value

# The loop learns what is normal for so long before the fault (s), and turns so often while something is going on.
LEARN_S, TURN_S, QUIET_TURN_S = 8.0, 0.2, 1.0
# What was found is judged so long after the fault began (s), or later where a fault takes longer to show what it is.
JUDGED_S, LATE_JUDGED_S = 30.0, 60.0
LATE = frozenset({"router_booted", "link_flapping"})
# Users' loss is counted from the first act to so long after its end (s); no incident is followed for longer than this.
AFTER_S, LONGEST_S = 60.0, 150.0
# What is under way at the end has so long to be settled (s).
SETTLES_S = 120.0
# Harm: loss above that of doing nothing by this share, and by more than so much delay for all traffic (us).
HARM_SHARE, HARM_US = 0.01, 10.0
# Kinds of fault after which nothing is to be found.
HARMLESS = frozenset({"none", "noise", "work_link", "work_router"})
# Kinds of fault that show only where a link carries at least so much (Gbit/s).
ON_TRAFFIC = frozenset({"counter_stuck", "counter_wild", "queue_small", "link_errors", "link_narrow"})
SHOWS_GBPS = 0.2
# Of these, those that are on one way of a link only.
ONE_WAY = frozenset({"counter_wild", "queue_small", "link_errors"})
# And a queue that is too small from this share of the capacity on.
QUEUES_SHARE = 0.35
NO_FAULT = frozenset({"deaf"})
KINDS = tuple(kind for kind in FAULTS if kind not in NO_FAULT)
Told = Callable[[State, Decisions], None]


class Incident(msgspec.Struct, frozen=True):
    """What is played: `number` of the incidents on a network, the fault, and how belief and world differ."""

    network: str
    number: int
    fault: Fault | None
    mismatch: Mismatch = "none"

    @property
    def token(self) -> str:
        """What names the incident, so that it can be played again."""
        return f"{self.network}/{self.number}"

    @property
    def begun_s(self) -> float:
        """When the fault begins, or would."""
        return self.fault.at_s if self.fault else LEARN_S

    @property
    def judged_s(self) -> float:
        """When what was found is judged."""
        return self.begun_s + (LATE_JUDGED_S if self.fault and self.fault.kind in LATE else JUDGED_S)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an incident; times are seconds after the fault began, None where it did not come to that.

    `found` has what was told when it is judged, `sure` how sure that was (0..1 each), `first_s` when the true cause was
    first told, `act_s` the first act, `healed_s` when an act for the true cause was verified. `single_s` is when the
    first signal of it was raised. `harm_share` is the users' loss above that of doing nothing; `broken` the protected
    demands that only the loop cut.
    """

    token: str
    kind: str
    mismatch: str
    label: tuple[tuple[str, str], ...]
    found: tuple[tuple[str, str], ...]
    sure: tuple[float, ...]
    single_s: float | None = None
    first_s: float | None = None
    act_s: float | None = None
    healed_s: float | None = None
    acts: tuple[str, ...] = ()
    undone: int = 0
    harm_share: float = 0.0
    harmed: bool = False
    broken: tuple[str, ...] = ()
    unsettled: int = 0
    turns: int = 0


def incident(
    world: World, name: str, number: int, *, kinds: Sequence[str] = KINDS, matched_share: float = 0.5
) -> Incident:
    """The incident of a number on a network: its fault, and whether what the loop believes differs from the world."""
    random = np.random.default_rng([number, *name.encode()])
    mismatch = _mismatch(random, matched_share)
    kinds = [kind for kind in kinds if has(world, kind)]
    for _ in range(20 if kinds else 0):
        kind = kinds[int(random.integers(len(kinds)))]
        fault = drawn(world, kind, random, LEARN_S + float(random.uniform(0.0, 1.0)))
        if kind == "none" or (fault is not None and _shows(world, fault)):
            return Incident(name, number, fault, mismatch)
    return Incident(name, number, None, mismatch)


def _mismatch(random: np.random.Generator, matched_share: float) -> Mismatch:
    return "none" if random.random() < matched_share else MISMATCHES[int(random.integers(len(MISMATCHES)))]


def _shows(world: World, fault: Fault) -> bool:
    """Whether a fault can leave a trace: what befalls traffic or its counters needs traffic to befall, on its way."""
    if fault.kind not in ON_TRAFFIC:
        return True
    states = world["link_states"]
    load = planned_gbps(world)[states.rows([fault.subject])[0]]
    capacity_gbps = float(world["links"].cell(fault.subject, "capacity_gbps"))
    least = max(QUEUES_SHARE * capacity_gbps if fault.kind == "queue_small" else 0.0, SHOWS_GBPS)
    return bool((load[WAYS.index(fault.way)] if fault.kind in ONE_WAY else load.max()) >= least)


def played(
    world: World,
    one: Incident,
    policy: Policy,
    told: Told = lambda state, decisions: None,
    *,
    turn_s: float = TURN_S,
    packets: Packets = USUAL,
) -> Outcome:
    """What the loop makes of an incident; `policy` says what it may do. Each turn is told as it was decided.

    Turns are `turn_s` apart while something is going on; there are as many packets as `packets` says.
    """
    random = np.random.default_rng([one.number, 7, *one.network.encode()])
    setting = mismatched(in_calendar(world, one.fault), one.mismatch, one.fault, random)
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(dir=_quick_folder()))
        record = stack.enter_context(Record(Path(folder) / "record"))
        live = _network(setting, one, packets)
        runner = Runner.start(setting.belief, setting.seen(live), record, policy, at_s=0.0)
        course = _course(runner, live, one, told, turn_s)
        harm = _harm(setting, course, _left_alone(_network(setting, one, packets), course))
        found = course.found(one.judged_s, setting.besides)
        return outcome(one, label_of(one, setting), course, found, unsettled(runner), harm, begun_s=one.begun_s)


def announced(fault: Fault | None, **more: Value) -> tuple[dict[str, Value], ...]:
    """The row of `works`, with `more` in it, that announces a fault which is planned work; none for other faults."""
    if fault is None or not fault.kind.startswith("work_"):
        return ()
    row: dict[str, Value] = {"subject": fault.subject, "from_s": fault.at_s, "to_s": fault.until_s}
    return (row | more,)


def in_calendar(world: World, fault: Fault | None) -> World:
    """The world in which planned work is in the calendar."""
    for row in announced(fault, id="work"):
        works = world["works"].add({column: [value] for column, value in row.items()})
        world = World(world.intended.replace(works), world.actual)
    return world


def _network(setting: Setting, one: Incident, packets: Packets) -> EmbeddedNetwork:
    network = EmbeddedNetwork(setting.truth, seed=one.number, start_s=0.0, packets=packets)
    for fault in (*((one.fault,) if one.fault else ()), *setting.moves):
        network.inject(fault)
    return network


def _course(runner: Runner, network: EmbeddedNetwork, one: Incident, told: Told, turn_s: float) -> Course:
    """Play: turns until what is judged is judged, and users have been watched for long enough after the last act."""
    course = Course()
    at_s, until_s = 0.0, one.judged_s
    while at_s < until_s or (unsettled(runner) and at_s < until_s + SETTLES_S):
        at_s += turn_s if at_s < one.judged_s or unsettled(runner) else QUIET_TURN_S
        # Who asks all devices waits for those that do not answer.
        network.live(at_s)
        at_s += network.waited_s
        decided = runner.turn(at_s)
        told(runner.state, decided)
        course.add(runner.state, decided, network.lost, network.broken())
        if any(word.verdict == "applied" for word in decided.verdicts):
            until_s = min(max(until_s, at_s + AFTER_S), one.begun_s + LONGEST_S)
    return course


def _left_alone(network: EmbeddedNetwork, course: Course) -> tuple[list[float], list[frozenset[str]]]:
    """The users' loss, and who is cut off, at the same times in the same network when nobody does anything."""
    lost, broken = [], []
    for at_s in course.at_s:
        network.live(at_s)
        lost.append(network.lost)
        broken.append(frozenset(network.broken()))
    return lost, broken


Alone = tuple[list[float], list[frozenset[str]]]
Harm = tuple[float, bool, tuple[str, ...]]


def label_of(one: Incident, setting: Setting) -> Label:
    """The pairs of cause and subject that are true."""
    if one.fault is None or one.fault.kind in HARMLESS:
        return frozenset()
    return setting.label(one.fault)


def outcome(
    one: Incident,
    label: Label,
    course: Course,
    found: dict[tuple[str, str], float],
    unsettled: int,
    harm: Harm,
    *,
    begun_s: float,
) -> Outcome:
    """What came of an incident whose fault began at `begun_s` of the course; harm, as a share, whether, and to whom."""
    acts, (harm_share, harmed, broken) = list(course.acts()), harm
    return Outcome(
        token=one.token,
        kind=one.fault.kind if one.fault else "none",
        mismatch=one.mismatch,
        label=tuple(sorted(label)),
        found=tuple(found),
        sure=tuple(found.values()),
        single_s=course.signalled_s(begun_s),
        first_s=course.told_s(label, begun_s),
        act_s=course.said_s[course.at_s.index(acts[0][0])] - begun_s if acts else None,
        healed_s=course.healed_s(label, begun_s),
        acts=tuple(name for _, name in acts),
        undone=course.undone(),
        harm_share=harm_share,
        harmed=harmed,
        broken=broken,
        unsettled=unsettled,
        turns=len(course.at_s),
    )


def _harm(setting: Setting, course: Course, alone: Alone) -> Harm:
    """The users' loss above that of doing nothing from the first act on, if it is harm, and whom only the loop cut."""
    first_s = next((at_s for at_s, _ in course.acts()), None)
    if first_s is None:
        return 0.0, False, ()
    first = course.at_s.index(first_s)
    mine, theirs = course.lost[-1] - course.lost[first], alone[0][-1] - alone[0][first]
    free = HARM_US * float(setting.truth["demands"]["gbps"].sum()) * (course.at_s[-1] - course.at_s[first])
    more = mine - theirs
    pairs = zip(course.broken[first:], alone[1][first:], strict=True)
    broken = tuple(sorted({name for with_us, without in pairs for name in with_us - without}))
    share = more / theirs if theirs > 0 else math.inf if more > free else 0.0
    return share, bool(broken) or (more > free and share > HARM_SHARE), broken


def _quick_folder() -> str | None:
    """A folder in memory, where there is one: what is played is not kept."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
