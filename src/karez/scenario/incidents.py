"""Incidents: one fault each, in an embedded network that the loop looks after; what it found, did, and what it cost.

An incident is named by a token, network seed and number, and comes out the same whenever it is played. The network
lives twice: with the loop, and left alone. The difference of what users lost is what the loop did to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from karez.adapters.embedded import FAULTS, EmbeddedNetwork, Fault, drawn, planned_gbps
from karez.loop.runner import Runner
from karez.loop.state import Decisions, Policy, State
from karez.measure.signatures import WAYS
from karez.plan import Plan
from karez.record.log import Record
from karez.scenario.mismatch import MISMATCHES, Mismatch, Setting, mismatched
from karez.twin import Table, World
from karez.twin.schema import Value
from karez.twin.table import Array, strings, texts

# The loop learns what is normal for so long before the fault (s), and turns so often while something is going on.
LEARN_S, TURN_S, QUIET_TURN_S = 8.0, 0.2, 1.0
# What was found is judged so long after the fault began (s), or later where a fault takes longer to show what it is.
JUDGED_S, LATE_JUDGED_S = 30.0, 60.0
LATE = frozenset({"router_booted", "link_flapping"})
# A signal raised so long before the fault began counts as one of it (s).
EARLY_S = 1.0
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
    for _ in range(20):
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


def played(world: World, one: Incident, policy: Policy, told: Told = lambda state, decisions: None) -> Outcome:
    """What the loop makes of an incident; `policy` says what it may do. Each turn is told as it was decided."""
    random = np.random.default_rng([one.number, 7, *one.network.encode()])
    setting = mismatched(_announced(world, one.fault), one.mismatch, one.fault, random)
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(dir=_quick_folder()))
        record = stack.enter_context(Record(Path(folder) / "record"))
        live = _network(setting, one)
        runner = Runner.start(setting.belief, setting.seen(live), record, policy, at_s=0.0)
        course = _course(runner, live, one, told)
        return _outcome(one, setting, course, runner, _left_alone(_network(setting, one), course))


def announced(fault: Fault | None, **more: Value) -> tuple[dict[str, Value], ...]:
    """The row of `works`, with `more` in it, that announces a fault which is planned work; none for other faults."""
    if fault is None or not fault.kind.startswith("work_"):
        return ()
    row: dict[str, Value] = {"subject": fault.subject, "from_s": fault.at_s, "to_s": fault.until_s}
    return (row | more,)


def _announced(world: World, fault: Fault | None) -> World:
    """The world in which planned work is in the calendar."""
    for row in announced(fault, id="work"):
        works = world["works"].add({column: [value] for column, value in row.items()})
        world = World(world.intended.replace(works), world.actual)
    return world


@dataclass
class _Course:
    """What happened turn by turn: when, what was known and decided, the users' loss until then, and who was cut off.

    `plans` has all that were made, by their ids.
    """

    at_s: list[float] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    decisions: list[Decisions] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    broken: list[frozenset[str]] = field(default_factory=list)
    plans: dict[str, Plan] = field(default_factory=dict)

    def add(self, at_s: float, state: State, decided: Decisions, network: EmbeddedNetwork) -> None:
        """Go on by a turn, after which the network is as it is."""
        self.at_s.append(at_s)
        self.states.append(state)
        self.decisions.append(decided)
        self.lost.append(network.lost)
        self.broken.append(frozenset(network.broken()))
        self.plans |= {plan.id: plan for plan in decided.plans}

    def judged(self, one: Incident) -> Table:
        """The findings in the turn in which they are judged, or in the last."""
        turns = zip(self.at_s, self.states, strict=True)
        # Times are sums of turns, which may fall short by a little.
        return next((state for at_s, state in turns if at_s >= one.judged_s - 1e-9), self.states[-1]).findings

    def signalled_s(self, one: Incident) -> float | None:
        """When the first signal was there that was raised since the fault began, or a little earlier."""
        for at_s, state in zip(self.at_s, self.states, strict=True):
            if at_s >= one.begun_s and (state.actual["signals"]["since_s"] >= one.begun_s - EARLY_S).any():
                return at_s
        return None


def _network(setting: Setting, one: Incident) -> EmbeddedNetwork:
    network = EmbeddedNetwork(setting.truth, seed=one.number, start_s=0.0)
    for fault in (*((one.fault,) if one.fault else ()), *setting.moves):
        network.inject(fault)
    return network


def _course(runner: Runner, network: EmbeddedNetwork, one: Incident, told: Told) -> _Course:
    """Play: turns until what is judged is judged, and users have been watched for long enough after the last act."""
    course = _Course()
    at_s, until_s = 0.0, one.judged_s
    while at_s < until_s or (_unsettled(runner) and at_s < until_s + SETTLES_S):
        at_s += TURN_S if at_s < one.judged_s or _unsettled(runner) else QUIET_TURN_S
        decided = runner.turn(at_s)
        told(runner.state, decided)
        course.add(at_s, runner.state, decided, network)
        if any(word.verdict == "applied" for word in decided.verdicts):
            until_s = min(max(until_s, at_s + AFTER_S), one.begun_s + LONGEST_S)
    return course


def _unsettled(runner: Runner) -> int:
    """How many commands are neither done, undone nor given up."""
    return sum(running.phase not in ("long", "watching") for running in runner.state.running)


def _left_alone(network: EmbeddedNetwork, course: _Course) -> tuple[list[float], list[frozenset[str]]]:
    """The users' loss, and who is cut off, at the same times in the same network when nobody does anything."""
    lost, broken = [], []
    for at_s in course.at_s:
        network.live(at_s)
        lost.append(network.lost)
        broken.append(frozenset(network.broken()))
    return lost, broken


Alone = tuple[list[float], list[frozenset[str]]]
Label = frozenset[tuple[str, str]]
Harm = tuple[float, bool, tuple[str, ...]]


def _label(one: Incident, setting: Setting) -> Label:
    """The pairs of cause and subject that are true."""
    if one.fault is None or one.fault.kind in HARMLESS:
        return frozenset()
    return setting.label(one.fault)


def _outcome(one: Incident, setting: Setting, course: _Course, runner: Runner, alone: Alone) -> Outcome:
    begun_s, judged, signalled_s = one.begun_s, course.judged(one), course.signalled_s(one)
    acts, label = list(_acts(course)), _label(one, setting)
    found = _found(judged, course, setting.besides)
    harm_share, harmed, broken = _harm(setting, course, alone, acts)
    return Outcome(
        token=one.token,
        kind=one.fault.kind if one.fault else "none",
        mismatch=one.mismatch,
        label=tuple(sorted(label)),
        found=tuple(found),
        sure=tuple(found.values()),
        single_s=None if signalled_s is None else signalled_s - begun_s,
        first_s=_first_told(label, course, begun_s),
        act_s=acts[0][0] - begun_s if acts else None,
        healed_s=_healed(label, course, begun_s),
        acts=tuple(name for _, name in acts),
        undone=sum(word.verdict == "undone" for made in course.decisions for word in made.verdicts),
        harm_share=harm_share,
        harmed=harmed,
        broken=broken,
        unsettled=_unsettled(runner),
        turns=len(course.at_s),
    )


def _found(judged: Table, course: _Course, besides: Label) -> dict[tuple[str, str], float]:
    """The pairs of cause and subject that were told when it was judged, in order, and how sure each was."""
    told = judged.take(judged["open"] | _mended(judged, course))
    pairs = zip(strings(told["kind"]), strings(told["subject"]), strict=True)
    sure = dict(zip(pairs, told["confidence"].tolist(), strict=True))
    return {pair: sure[pair] for pair in sorted(sure.keys() - besides)}


def _mended(judged: Table, course: _Course) -> Array:
    """Which findings are gone because an act for them was verified, and nothing else is told of their subjects."""
    plans = (course.plans[plan] for plan in _stood(course) if plan in course.plans)
    names = {finding for plan in plans for finding in plan.because}
    told = np.isin(judged["subject"], judged["subject"][judged["open"]])
    return np.asarray(np.isin(judged.ids, texts(sorted(names))) & ~told)


def _stood(course: _Course) -> set[str]:
    """The plans that were verified and not undone."""
    words = [word for made in course.decisions for word in made.verdicts]
    undone = {word.plan for word in words if word.verdict == "undone"}
    return {word.plan for word in words if word.verdict == "verified"} - undone


def _acts(course: _Course) -> Iterator[tuple[float, str]]:
    """When which acts were taken, undoing and releasing among them."""
    for at_s, made in zip(course.at_s, course.decisions, strict=True):
        for command in made.commands:
            name = "+".join(f"{action.kind} {action.subject}" for action in command.actions)
            why = "undo " if command.undoes else "release " if course.plans[command.plan].planner == "release" else ""
            yield at_s, f"{why}{name}"


def _first_told(label: Label, course: _Course, begun_s: float) -> float | None:
    for made in course.decisions:
        if any(found.open and (found.kind, found.subject) in label for found in made.found):
            return made.at_s - begun_s
    return None


def _healed(label: Label, course: _Course, begun_s: float) -> float | None:
    """When an act for the true cause was seen to have taken effect."""
    names = {f"{kind}/{subject}" for kind, subject in label}
    mine = {plan for plan in _stood(course) if plan in course.plans and names & set(course.plans[plan].because)}
    for made in course.decisions:
        if any(word.verdict == "verified" and word.plan in mine for word in made.verdicts):
            return made.at_s - begun_s
    return None


def _harm(setting: Setting, course: _Course, alone: Alone, acts: list[tuple[float, str]]) -> Harm:
    """The users' loss above that of doing nothing from the first act on, if it is harm, and whom only the loop cut."""
    if not acts:
        return 0.0, False, ()
    first = course.at_s.index(acts[0][0])
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
