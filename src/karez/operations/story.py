"""What a recorded run tells: each finding from first to last, and each plan with all that became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import NamedTuple

import msgspec
import numpy as np

from karez.adapters.guard import Command, Reply
from karez.loop.recorded import Again
from karez.loop.state import Level, Policy, State, Verdict, Word
from karez.plan import Plan, changed, taken
from karez.twin import Twin

# The verdicts that say that the loop would have a person decide.
SHADOW: tuple[Word, ...] = ("would act", "proposed")
# The verdicts with which nothing more comes of a plan.
OVER: tuple[Word, ...] = ("refused", "withdrawn", "undone", "remedy", "ended")


class Signal(msgspec.Struct, frozen=True):
    """An open signal that speaks for a cause, as it was then; `since_s` is Unix time."""

    id: str
    kind: str
    subject: str
    source: str
    host: str
    way: str
    since_s: float
    size: float
    strength: float


class Sure(msgspec.Struct, frozen=True):
    """How sure a finding was, and why: sources that share nothing, signals, and what else it could be."""

    confidence: float
    sources: int
    signals: tuple[Signal, ...]
    others: tuple[tuple[str, str, float], ...]

    @property
    def felt(self) -> bool:
        """Whether users feel it."""
        return any(signal.source == "user" for signal in self.signals)


class Said(NamedTuple):
    """A verdict and when it was given (Unix time)."""

    at_s: float
    verdict: Verdict


@dataclass
class Course:
    """A plan: when it was made, by whom, what was known and allowed then, and what became of it; all in Unix time."""

    plan: Plan
    made_s: float
    is_brought: bool
    policy: Policy
    sure: dict[str, Sure]
    said: list[Said] = field(default_factory=list)
    commands: list[tuple[float, Command]] = field(default_factory=list)
    replies: list[tuple[float, Reply]] = field(default_factory=list)
    approvals: list[tuple[float, str]] = field(default_factory=list)
    seen_s: float | None = None

    @property
    def words(self) -> list[Word]:
        """The verdicts in their order."""
        return [said.verdict.verdict for said in self.said]

    @property
    def level(self) -> Level:
        """What the loop was allowed in general."""
        return self.policy.level

    @property
    def is_release(self) -> bool:
        """Whether it takes back what was held."""
        return self.plan.planner == "release"

    @property
    def verified(self) -> Said | None:
        """When what it did was seen; what was seen after an undoing is that it was undone."""
        done = takewhile(lambda said: said.verdict.verdict != "undone", self.said)
        return next((said for said in done if said.verdict.verdict == "verified"), None)

    def first(self, *words: Word) -> Said | None:
        """The first verdict of these."""
        return next((said for said in self.said if said.verdict.verdict in words), None)


@dataclass
class Episode:
    """A finding from when it opened to when it was gone (None: it was not), with the plans made for it meanwhile."""

    id: str
    kind: str
    subject: str
    opened_s: float
    at_first: Sure
    at_best: Sure
    closed_s: float | None = None
    courses: list[Course] = field(default_factory=list)

    def lasted_s(self, end_s: float) -> float:
        """How long it was open."""
        return (end_s if self.closed_s is None else self.closed_s) - self.opened_s


@dataclass
class Story:
    """All of a run: its findings, its plans by id, those without a finding among them, and when it ended."""

    episodes: list[Episode] = field(default_factory=list)
    courses: dict[str, Course] = field(default_factory=dict)
    start_s: float = 0.0
    end_s: float = 0.0
    turns: int = 0
    levels: list[str] = field(default_factory=list)


def story(turns: Iterable[Again], start_s: float) -> Story:
    """What all turns of a run tell."""
    whole = Story(start_s=start_s, end_s=start_s)
    open_now: dict[str, Episode] = {}
    for told in turns:
        whole.turns, whole.end_s = whole.turns + 1, told.inputs.at_s
        if told.policy.level not in whole.levels:
            whole.levels.append(told.policy.level)
        _by_others(told, open_now)
        _findings(whole, told, open_now)
        _plans(whole, told, open_now)
        _course(whole, told)
    return whole


def sure_of(actual: Twin, finding: str) -> Sure:
    """How sure a finding is now, and what speaks for it."""
    findings = actual["findings"]
    confidence, sources, evidence, others = (
        findings.cell(finding, column) for column in ("confidence", "sources", "evidence", "others")
    )
    ids = msgspec.json.decode(str(evidence) or "[]", type=list[str])
    told = msgspec.json.decode(str(others) or "[]", type=list[tuple[str, str, float]])
    return Sure(float(confidence), int(sources), signals_of(actual, ids), tuple(told))


def signals_of(actual: Twin, ids: Iterable[str]) -> tuple[Signal, ...]:
    """The signals with these ids, as they are now; those that are not there are left out."""
    signals = actual["signals"]
    rows = signals.rows([name for name in ids if signals.has(name)])
    return tuple(
        msgspec.convert({key: record[key] for key in Signal.__struct_fields__}, Signal, strict=False)
        for record in signals.records(rows)
    )


def _findings(whole: Story, told: Again, open_now: dict[str, Episode]) -> None:
    at_s, actual = told.inputs.at_s, told.state.actual
    for found in told.decisions.found:
        if found.open:
            sure = sure_of(actual, found.id)
            open_now[found.id] = Episode(found.id, found.kind, found.subject, at_s, sure, sure)
            whole.episodes.append(open_now[found.id])
        elif found.id in open_now:
            open_now.pop(found.id).closed_s = at_s
    for episode in open_now.values():
        confidence, sources = (actual["findings"].cell(episode.id, name) for name in ("confidence", "sources"))
        if (float(confidence), int(sources)) > (episode.at_best.confidence, episode.at_best.sources):
            episode.at_best = sure_of(actual, episode.id)


def _plans(whole: Story, told: Again, open_now: dict[str, Episode]) -> None:
    brought = [_undated(plan) for plan in told.inputs.plans]
    for plan in told.decisions.plans:
        if plan.id in whole.courses:
            continue
        sure = {name: sure_of(told.state.actual, name) for name in _about(plan) if told.state.findings.has(name)}
        course = Course(plan, told.inputs.at_s, _undated(plan) in brought, told.policy, sure)
        whole.courses[plan.id] = course
        for name in plan.because:
            if name in open_now:
                open_now[name].courses.append(course)


def _undated(plan: Plan) -> Plan:
    """The plan without its expiry, which the loop puts off while a person decides."""
    actions = tuple(msgspec.structs.replace(action, expires_at_s=0.0) for action in plan.actions)
    return msgspec.structs.replace(plan, actions=actions)


def _about(plan: Plan) -> tuple[str, ...]:
    """The findings that a plan is about, be it that it mends or that it takes back."""
    named = str(plan.question.get("finding", ""))
    return tuple(dict.fromkeys((*plan.because, *([named] if named else []))))


def _course(whole: Story, told: Again) -> None:
    """What this turn says of plans that were made by now."""
    at_s = told.inputs.at_s
    for approval in told.inputs.approvals:
        if approval.plan in whole.courses:
            whole.courses[approval.plan].approvals.append((at_s, approval.person))
    for reply in told.inputs.replies:
        name = reply.command.removesuffix("/undo")
        if name in whole.courses:
            whole.courses[name].replies.append((at_s, reply))
    for verdict in told.decisions.verdicts:
        if verdict.plan in whole.courses:
            whole.courses[verdict.plan].said.append(Said(at_s, verdict))
    for command in told.decisions.commands:
        if command.plan in whole.courses:
            whole.courses[command.plan].commands.append((at_s, command))


def _by_others(told: Again, open_now: dict[str, Episode]) -> None:
    """Note for what is open, and was until now, whether somebody else has done what the loop only proposed."""
    for course in (course for episode in open_now.values() for course in episode.courses):
        if course.seen_s is None and not course.commands and _is_done(course.plan, told.state):
            course.seen_s = told.inputs.at_s


def _is_done(plan: Plan, state: State) -> bool:
    """Whether the network shows all that a plan would do, though the loop has not done it."""
    for action in plan.actions:
        reads = action.expects if action.kind.startswith("restore_") else taken(action)
        if not reads or changed(reads, state.world):
            return False
    return bool(plan.actions)


def unix(after_s: float, start_s: float) -> float:
    """Unix time of a moment that is told in seconds after the start, or already in Unix time."""
    return after_s if after_s >= start_s else start_s + after_s


def median(values: Iterable[float]) -> float | None:
    """The median; None of nothing."""
    found = list(values)
    return float(np.median(found)) if found else None
