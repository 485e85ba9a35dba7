"""Incidents drawn and played on a lab, scored as those of the embedded network are, and those beside them."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import msgspec

from karez.lab.faults import shown
from karez.lab.recording import require_whole
from karez.loop.state import Policy
from karez.operations import Answer, LabScoreQuestion
from karez.operations.heal_score import DIGEST_DIGITS, Draw, kinds_of
from karez.operations.lab import opened, require_alike
from karez.operations.networks import counted, load_living, provenance, share
from karez.scenario.incidents import JUDGED_S as EMBEDDED_JUDGED_S
from karez.scenario.incidents import Outcome
from karez.scenario.real import JUDGED_S, LAB_KINDS, TURN_S, as_drilled, drawn, drilled
from karez.scenario.score import Confusion, Failure, KindScore, Score, failures, score

LOG = logging.getLogger(__name__)


class Beside(msgspec.Struct, frozen=True):
    """A kind of fault on real routers and in the embedded network: how many, what was found right, how soon.

    Times are medians in seconds after the fault began; `found_ratio` and `healed_ratio` are those of the embedded
    network to those of the lab, where what is sooner than one turn of the loop counts as one turn.
    """

    kind: str
    incidents: int
    right_share: float
    embedded_right_share: float
    found_s: float | None
    embedded_found_s: float | None
    found_ratio: float | None
    healed_s: float | None
    embedded_healed_s: float | None
    healed_ratio: float | None


class LabScoreAnswer(Answer, frozen=True, kw_only=True):
    """The score of incidents on real routers, kind by kind beside the same incidents in the embedded network.

    `f1` is of pairs (kind, subject) over incidents whose fault leaves a trace; `false_findings` are of the others.
    """

    incidents: int
    with_trace: int
    f1: float | None
    embedded_f1: float | None
    false_findings: int
    harmed: int
    acts: int
    undone: int
    unsettled: int
    kinds: tuple[Beside, ...]
    confusion: tuple[Confusion, ...]
    failures: tuple[Failure, ...]


def run(question: LabScoreQuestion) -> LabScoreAnswer:
    """The score; the lab is as planned afterwards.

    Raises:
        InputError: the network cannot be read, no such lab runs, or a kind is none that a lab can show.
        LabError: it does not answer.
    """
    world, revision = load_living(question.network)
    digest, policy = world.intended.digest[:DIGEST_DIGITS], Policy(level=question.level)
    real = []
    with opened(question.network, question.name) as lab:
        require_alike(lab, world, question.network)
        require_whole(lab)
        made = lab.plan()
        known = tuple(kind for kind in shown(made) if kind in LAB_KINDS)
        kinds = kinds_of(question.kinds, "kinds", known) or known
        ones = [drawn(world, f"{digest}/{question.seed}", number, kinds) for number in range(question.incidents)]
        for one in ones:
            real.append(drilled(world, lab, one, policy))
            LOG.info("%s %s: %s", one.token, real[-1].kind, ", ".join(map(" ".join, real[-1].found)) or "nothing found")
    draw = Draw(digest, question.seed, 1.0, ",".join(kinds))
    real = [msgspec.structs.replace(one, token=draw.token(number)) for number, one in enumerate(real)]
    embedded = [as_drilled(world, made, one, policy) for one in ones]
    found, theirs = score(real), score(embedded)
    return LabScoreAnswer(
        headline=_headline(found),
        citation=f"real FRR routers in a lab, judged {JUDGED_S:g} s after the fault, beside the embedded network, "
        f"which is judged after {EMBEDDED_JUDGED_S:g} s, level {question.level}, seed {question.seed}; "
        f"{provenance(revision)}",
        incidents=found.incidents,
        with_trace=found.with_trace,
        f1=found.f1,
        embedded_f1=theirs.f1,
        false_findings=found.false_findings,
        harmed=found.harmed,
        acts=found.acts,
        undone=found.undone,
        unsettled=found.unsettled,
        kinds=beside(real, embedded),
        confusion=found.confusion,
        failures=tuple(failure for one in real for failure in failures(one)),
    )


def beside(real: Sequence[Outcome], embedded: Sequence[Outcome]) -> tuple[Beside, ...]:
    """Kinds of fault with what both networks showed of them."""
    theirs = {one.kind: one for one in score(embedded).kinds}
    return tuple(_beside(one, theirs[one.kind]) for one in score(real).kinds)


def _beside(real: KindScore, embedded: KindScore) -> Beside:
    return Beside(
        kind=real.kind,
        incidents=real.incidents,
        right_share=real.right_share,
        embedded_right_share=embedded.right_share,
        found_s=real.found_median_s,
        embedded_found_s=embedded.found_median_s,
        found_ratio=_ratio(embedded.found_median_s, real.found_median_s),
        healed_s=real.healed_median_s,
        embedded_healed_s=embedded.healed_median_s,
        healed_ratio=_ratio(embedded.healed_median_s, real.healed_median_s),
    )


def _ratio(one: float | None, other: float | None) -> float | None:
    """How far two times are apart, as a loop that looks once a turn can tell."""
    return max(one, TURN_S) / max(other, TURN_S) if one is not None and other is not None else None


def _headline(found: Score) -> str:
    healed = next(times for times in found.times if times.what == "verified heal")
    parts = [f"F1 {found.f1:.3f}" if found.f1 is not None else "nothing to find"]
    parts += [f"{share(found.detection_share)} found"] if found.detection_share is not None else []
    if healed.median_s is not None and math.isfinite(healed.median_s):
        parts.append(f"verified heal after {healed.median_s:.1f} s in the median")
    parts += [f"{found.harmed} harmed", counted(found.false_findings, "false finding")]
    return f"{counted(found.incidents, 'incident')} on real routers: {', '.join(parts)}"
