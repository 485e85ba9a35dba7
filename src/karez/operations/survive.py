"""What is left of coverage after the worst single loss."""

from __future__ import annotations

import msgspec
import numpy as np

from karez.errors import InputError
from karez.measure import reach
from karez.measure.circles import WEIGHT_SCALE, compute_sites, fixed, points
from karez.measure.survival import FAILURE_KINDS, FailureKind, Failures, survival
from karez.operations import Answer, SurviveQuestion
from karez.operations.circles import WORDS
from karez.operations.networks import budget_ns, duration, load, nothing_counted, now_s, provenance, share
from karez.twin import Twin
from karez.twin.table import text


class Loss(msgspec.Struct, frozen=True):
    """A duct, link or site, what its loss would take out of reach, and the share that would be left.

    `what` is the name of a site or duct, and the two ends of a link.
    """

    id: str
    what: str
    lost_weight: float
    left_share: float


class SurviveAnswer(Answer, frozen=True, kw_only=True):
    """Coverage at typical delays, pooled: as it is, and after each of the worst failures of each kind.

    `*_that_hurt` count the failures of each kind that would lose anything at all.
    """

    weight: str
    budget_us: float
    covered_share: float
    ducts_that_hurt: int
    links_that_hurt: int
    sites_that_hurt: int
    ducts: tuple[Loss, ...]
    links: tuple[Loss, ...]
    sites: tuple[Loss, ...]


def run(question: SurviveQuestion) -> SurviveAnswer:
    """The worst failures of the network's newest revision, as it is today.

    Raises:
        InputError: the network cannot be read, or has nothing that the weight counts or no compute.
    """
    world, revision = load(question.network)
    twin = world.intended.at(now_s())
    counted, targets = points(twin, question.weight), compute_sites(twin)
    total = int(fixed(counted.weight).sum())
    if not total:
        raise nothing_counted(question.network, question.weight)
    if not len(targets):
        what = "holds no compute, so there is no coverage to lose"
        raise InputError.of(question.network, what, "add servers to its sites")
    ready, limit_ns = reach.typical(twin, counted), budget_ns(question.budget_us)
    covered = int(ready.covered(targets, limit_ns).sum())
    found = survival(twin, ready, targets, limit_ns)
    losses = {kind: _worst(twin, kind, found[kind], question.worst, covered, total) for kind in FAILURE_KINDS}
    hurting = {kind: int((found[kind].lost > 0).sum()) for kind in FAILURE_KINDS}
    note = " (synthetic)" if revision.synthetic else ""
    return SurviveAnswer(
        headline=(
            f"{share(covered / total)} of {WORDS[question.weight]} are within {duration(question.budget_us)} of "
            f"compute; {_left(losses)}{note}"
        ),
        citation=(
            f"C2 < {question.budget_us:g} us, one way, towards the best compute site, optical layer; weight "
            f"{question.weight}, pooled; typical figures of the latency library; one failure at a time, exact: "
            f"{', '.join(f'{len(found[kind].rows):,} {kind}s' for kind in FAILURE_KINDS)}; {provenance(revision)}"
        ),
        weight=question.weight,
        budget_us=question.budget_us,
        covered_share=covered / total,
        ducts_that_hurt=hurting["duct"],
        links_that_hurt=hurting["link"],
        sites_that_hurt=hurting["site"],
        ducts=losses["duct"],
        links=losses["link"],
        sites=losses["site"],
    )


def _worst(twin: Twin, kind: FailureKind, found: Failures, number: int, covered: int, total: int) -> tuple[Loss, ...]:
    """The failures that lose most, the worst first."""
    order = np.argsort(-found.lost, kind="stable")[:number]
    order = order[found.lost[order] > 0]
    return tuple(
        Loss(
            id=text(twin[f"{kind}s"].ids[row]),
            what=_named(twin, kind, int(row)),
            lost_weight=lost / WEIGHT_SCALE,
            left_share=(covered - lost) / total,
        )
        for row, lost in zip(found.rows[order].tolist(), found.lost[order].tolist(), strict=True)
    )


def _named(twin: Twin, kind: FailureKind, row: int) -> str:
    table = twin[f"{kind}s"]
    if kind == "link":
        return f"{text(table['kind'][row])} {text(table['a'][row])} - {text(table['b'][row])}"
    return text(table["name"][row])


def _left(losses: dict[FailureKind, tuple[Loss, ...]]) -> str:
    """What the worst failure of each kind would leave, in words."""
    left = {kind: share(rows[0].left_share) for kind, rows in losses.items() if rows}
    said = ", ".join(f"{value} of a {kind}" for kind, value in left.items())
    return said.replace(" of a ", " after the worst loss of a ", 1) if said else "no single loss takes anything away"
