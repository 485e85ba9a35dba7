"""Many incidents drawn, played and scored on a network; or one of them again, turn by turn."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import msgspec

from karez.adapters.embedded import FOREVER_S, Fault
from karez.errors import InputError
from karez.loop.state import Decisions, Policy, State
from karez.operations import Answer, HealScoreQuestion
from karez.operations.heal import Event, timeline
from karez.operations.networks import counted, load_living, provenance, share
from karez.operations.story import sure_of
from karez.scenario.incidents import KINDS, Incident, Outcome, incident, played
from karez.scenario.score import Confusion, Failure, KindScore, Reliability, Score, Times, failures, score
from karez.twin import World
from karez.twin.store import Revision

# What stands at the start of a token: so much of the network's digest.
DIGEST_DIGITS = 8
ALL_KINDS = ""
# How often it is told how far it is.
TOLD = 10
LOG = logging.getLogger(__name__)
# The share of incidents with a true belief that a token need not name.
DEFAULT_SHARE = 0.5


class Befell(msgspec.Struct, frozen=True):
    """The fault of an incident: what, when (s after the start; it ends at inf where nobody mends it), how much."""

    kind: str
    subject: str
    begins_s: float
    ends_s: float
    way: str
    goal: str
    size_us: float
    size_share: float
    size_db: float
    size_s: float


class Known(msgspec.Struct, frozen=True):
    """A finding as it was told: when (s after the start of the incident), how sure, and what else it could be."""

    after_s: float
    finding: str
    confidence_share: float
    sources: int
    others: str


class HealScoreAnswer(Answer, frozen=True, kw_only=True):
    """The score of all incidents with the tokens of those that went wrong; or one incident: outcome and course.

    `f1` is of pairs (kind, subject) over incidents whose fault leaves a trace; `false_findings` are of the others.
    `calibration_error` says how far confidence and the share that was right are apart, on average.
    """

    incidents: int
    with_trace: int | None = None
    f1: float | None = None
    detection_share: float | None = None
    precision_share: float | None = None
    recall_share: float | None = None
    false_findings: int | None = None
    harmed: int | None = None
    broken: int | None = None
    acts: int | None = None
    undone: int | None = None
    unsettled: int | None = None
    broke: int | None = None
    times: tuple[Times, ...] = ()
    kinds: tuple[KindScore, ...] = ()
    confusion: tuple[Confusion, ...] = ()
    reliability: tuple[Reliability, ...] = ()
    calibration_error: float | None = None
    failures: tuple[Failure, ...] = ()
    incident: Outcome | None = None
    fault: Befell | None = None
    known: tuple[Known, ...] = ()
    timeline: tuple[Event, ...] = ()


class Draw(NamedTuple):
    """What an incident is drawn with, besides its number: so a token can say it."""

    digest: str
    seed: int
    matched_share: float = DEFAULT_SHARE
    kinds: str = ALL_KINDS

    @property
    def chosen(self) -> tuple[str, ...]:
        """The kinds of fault that are drawn from."""
        return tuple(self.kinds.split(",")) if self.kinds else KINDS

    def incident(self, world: World, number: int) -> Incident:
        """The incident of a number."""
        name = f"{self.digest}/{self.seed}"
        return incident(world, name, number, kinds=self.chosen, matched_share=self.matched_share)

    def token(self, number: int) -> str:
        """What names the incident of a number."""
        usual = (self.matched_share, self.kinds) == (DEFAULT_SHARE, ALL_KINDS)
        return f"{self.digest}/{self.seed}/{number}" + ("" if usual else f"/{self.matched_share:g}/{self.kinds}")


def run(question: HealScoreQuestion) -> HealScoreAnswer:
    """The score, or the incident that a token names.

    Raises:
        InputError: the network cannot be read, a kind is none, or the token is none or of another network.
    """
    world, revision = load_living(question.network)
    digest = world.intended.digest[:DIGEST_DIGITS]
    if question.token:
        return _again(question, world, revision, *_read(question.token, digest, question.network))
    draw = Draw(digest, question.seed, question.matched_share, _kinds(question.kinds, "kinds"))
    played_ones = []
    for number, one in enumerate(_played(question, world, draw), 1):
        played_ones.append(one)
        if number % -(-question.incidents // TOLD) == 0:
            LOG.info("%s of %s played", f"{number:,}", counted(question.incidents, "incident"))
    outcomes = [one for one in played_ones if isinstance(one, Outcome)]
    wrong = [one for one in played_ones if isinstance(one, Failure)]
    wrong += [failure for one in outcomes for failure in failures(one)]
    found, broke = score(outcomes), len(played_ones) - len(outcomes)
    return HealScoreAnswer(
        headline=_headline(found, broke, revision),
        citation=_citation(question, draw, revision),
        **msgspec.structs.asdict(found),
        broke=broke,
        failures=tuple(wrong),
    )


# ---- many


def _played(question: HealScoreQuestion, world: World, draw: Draw) -> Iterator[Outcome | Failure]:
    numbers = range(question.incidents)
    policy = Policy(level=question.level)
    if question.jobs == 1:
        for number in numbers:
            yield _one(world, draw, number, policy)
        return
    arguments = (question.network, draw, policy)
    with ProcessPoolExecutor(question.jobs, get_context("spawn"), _begin, arguments) as pool:
        yield from pool.map(_one_here, numbers)


# What a process that plays was begun with.
_HERE: dict[str, tuple[World, Draw, Policy]] = {}


def _begin(network: str, draw: Draw, policy: Policy) -> None:
    _HERE["run"] = (load_living(network)[0], draw, policy)


def _one_here(number: int) -> Outcome | Failure:
    world, draw, policy = _HERE["run"]
    return _one(world, draw, number, policy)


def _one(world: World, draw: Draw, number: int, policy: Policy) -> Outcome | Failure:
    """What came of an incident; that it broke is a failure like others, and has a token."""
    one = draw.incident(world, number)
    try:
        outcome = played(world, one, policy)
    except Exception as error:  # noqa: BLE001  Whatever breaks in one incident, the others are played.
        kind, subject = (one.fault.kind, one.fault.subject) if one.fault else ("none", "")
        return Failure(draw.token(number), "broke", kind, subject, f"{type(error).__name__}: {error}")
    return msgspec.structs.replace(outcome, token=draw.token(number))


# ---- one


def _again(question: HealScoreQuestion, world: World, revision: Revision, draw: Draw, number: int) -> HealScoreAnswer:
    one = draw.incident(world, number)
    decided: list[Decisions] = []
    known: list[Known] = []

    def told(state: State, decisions: Decisions) -> None:
        decided.append(decisions)
        known.extend(_known(state, decisions))

    outcome = played(world, one, Policy(level=question.level), told)
    outcome = msgspec.structs.replace(outcome, token=draw.token(number))
    return HealScoreAnswer(
        headline=_told_of(outcome, one, revision),
        citation=_citation(question, draw, revision),
        incidents=1,
        failures=failures(outcome),
        incident=outcome,
        fault=_befell(one.fault) if one.fault else None,
        known=tuple(known),
        timeline=timeline(decided, 0.0),
    )


def _befell(fault: Fault) -> Befell:
    return Befell(
        fault.kind,
        fault.subject,
        fault.at_s,
        math.inf if fault.until_s >= FOREVER_S else fault.until_s,
        fault.way,
        fault.goal,
        fault.size_us,
        fault.size_share,
        fault.size_db,
        fault.size_s,
    )


def _known(state: State, decisions: Decisions) -> Iterator[Known]:
    for found in decisions.found:
        if found.open:
            sure = sure_of(state.actual, found.id)
            others = ", ".join(f"{kind} {subject} {chance:.0%}" for kind, subject, chance in sure.others)
            yield Known(decisions.at_s, found.id, sure.confidence, sure.sources, others)


def _read(token: str, digest: str, network: str) -> tuple[Draw, int]:
    """What a token says.

    Raises:
        InputError: it is none, or of another network.
    """
    parts = token.split("/")
    try:
        if len(parts) not in (3, 5):
            raise ValueError
        seed, number = int(parts[1]), int(parts[2])
        matched_share = float(parts[3]) if parts[3:] else DEFAULT_SHARE
        if seed < 0 or number < 0 or not 0 <= matched_share <= 1:
            raise ValueError
    except ValueError as error:
        fix = "give one that heal score printed, such as 1a2b3c4d/1/17"
        raise InputError.of("token", f"{token!r} is none", fix) from error
    if parts[0] != digest:
        fix = f"name the network that it was printed for; those of {network} begin with {digest}"
        raise InputError.of("token", f"{token!r} is of another network than {network}", fix)
    return Draw(digest, seed, matched_share, _kinds(parts[4], "token") if parts[3:] else ALL_KINDS), number


def kinds_of(given: str, where: str, known: Sequence[str] = KINDS) -> tuple[str, ...]:
    """The kinds that are named, with commas between.

    Raises:
        InputError: one of them is none that is known.
    """
    kinds = [kind.strip() for kind in given.split(",")] if given else []
    strangers = [kind for kind in kinds if kind not in known]
    if strangers:
        raise InputError.of(where, f"{strangers[0]!r} is no kind of fault", f"give some of {', '.join(known)}")
    return tuple(kinds)


def _kinds(given: str, where: str) -> str:
    """The kinds as a token has them."""
    return ",".join(kinds_of(given, where))


# ---- in words


def _headline(found: Score, broke: int, revision: Revision) -> str:
    note = " (synthetic network)" if revision.synthetic else ""
    healed = next(times for times in found.times if times.what == "verified heal")
    parts = [f"F1 {found.f1:.3f}" if found.f1 is not None else "nothing to find"]
    parts += [f"{share(found.detection_share)} found"] if found.detection_share is not None else []
    parts += [f"verified heal after {healed.median_s:.1f} s in the median"] if healed.median_s is not None else []
    parts += [f"{found.harmed} harmed", counted(found.false_findings, "false finding")]
    parts += [f"{broke} broke"] if broke else []
    return f"{counted(found.incidents + broke, 'incident')}: {', '.join(parts)}{note}"


def _told_of(outcome: Outcome, one: Incident, revision: Revision) -> str:
    note = " (synthetic network)" if revision.synthetic else ""
    what = f"{one.fault.kind} {one.fault.subject}".strip() if one.fault else "no fault"
    told = ", ".join(f"{kind} {subject}" for kind, subject in outcome.found) or "nothing"
    belief = "" if one.mismatch == "none" else f" (believed wrongly: {one.mismatch})"
    harm = "; it did harm" if outcome.harmed else ""
    return f"Incident {outcome.token}: {what}{belief}; told: {told}{harm}{note}"


def _citation(question: HealScoreQuestion, draw: Draw, revision: Revision) -> str:
    kinds = f"kinds {draw.kinds}" if draw.kinds else "all kinds"
    return (
        f"embedded network with and without the loop, level {question.level}, turns of 0.2 s, {kinds}, "
        f"{share(draw.matched_share)} with a true belief, seed {draw.seed}; {provenance(revision)}"
    )
