"""The best of the candidates as a plan; and the plan that takes it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from karez.plan.heal.candidates import PLANNERS
from karez.plan.heal.trouble import GOOD_FOR_S, Candidate, Trouble
from karez.plan.plan import Action, Alternative, Plan, Proof, inverse
from karez.plan.reads import Read, changed
from karez.twin import World

# An act must spare the users at least this share of what they lose, and so much of all traffic's time (Gbit/s x us):
# what is believed of a network is never quite so.
WORTH_SHARE, WORTH_US_PER_GBPS = 0.25, 20.0
# What mends without moving traffic.
HARMLESS = frozenset({"restart_daemon", "restart_device", "restore_config", "restore_link", "restore_router"})


def heal(world: World, finding: str, *, at_s: float) -> Plan | None:
    """The plan that lessens the users' loss most, or None where doing nothing is best.

    The loss is traffic times added delay (Gbit/s x us); lost traffic counts as a second, and so does what is above a
    link's capacity. A plan that would leave a protected demand without a path, now or after one more loss, or that
    fills a detour, is none.

    Raises:
        KeyError: there is no such finding.
    """
    revision, world = world.intended.digest, World(world.intended.at(at_s), world.actual)
    planner = PLANNERS.get(str(world["findings"].cell(finding, "kind")))
    if planner is None:
        return None
    trouble = Trouble.of(world, finding, at_s)
    nothing = Candidate("do nothing", (), (), trouble.loss(trouble.stay))
    others = tuple(_standing(world, candidate) for candidate in planner(trouble))
    allowed = [candidate for candidate in others if not candidate.refused]
    best = min(allowed, key=lambda candidate: (candidate.loss, candidate.name), default=nothing)
    if best is nothing or not _worth(trouble, nothing, best):
        return None
    return _plan(revision, finding, best, (nothing, *others), at_s)


def release(world: World, finding: str, held: Sequence[Action], *, at_s: float) -> Plan:
    """The plan that takes back what `heal` did, the last act first, once the finding is gone."""
    actions = tuple(inverse(action, expires_at_s=at_s + GOOD_FOR_S) for action in reversed(held))
    reads = (
        Read("findings", finding, "open", "==", False),
        *(Read(c.table, c.row, c.column, "==", c.before) for action in actions for c in action.sets),
    )
    best = Candidate("release", actions, reads, 0.0)
    return msgspec.structs.replace(_plan(world.intended.digest, finding, best, (), at_s), planner="release", because=())


def _standing(world: World, candidate: Candidate) -> Candidate:
    """The candidate, refused where what it would rely on is not so now."""
    stale = changed(candidate.reads, world)
    return replace(candidate, refused=candidate.refused or f"{stale[0]} is not so") if stale else candidate


def _worth(trouble: Trouble, nothing: Candidate, best: Candidate) -> bool:
    """Whether an act spares the users enough; what mends without moving traffic is always worth it."""
    if all(action.kind in HARMLESS for action in best.actions):
        return True
    spared = nothing.loss - best.loss
    return spared > max(WORTH_SHARE * nothing.loss, WORTH_US_PER_GBPS * float(trouble.case.offered_gbps.sum()))


def _plan(revision: str, finding: str, best: Candidate, candidates: tuple[Candidate, ...], at_s: float) -> Plan:
    others = (candidate for candidate in candidates if candidate is not best)
    return Plan(
        planner="heal",
        question={"finding": finding},
        revision=revision,
        made_at_s=at_s,
        reads=best.reads,
        actions=best.actions,
        price_cny=0.0,
        proof=Proof(
            value=best.loss,
            bound=best.loss,
            unit="Gbit/s x us",
            how="the best of these candidates, each evaluated on the twin",
        ),
        because=(finding,),
        foreseen_us=best.foreseen_us,
        asks=best.asks,
        alternatives=tuple(
            Alternative(other.name, other.loss, other.refused or "the users would lose more") for other in others
        ),
    )
