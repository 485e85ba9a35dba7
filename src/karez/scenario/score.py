"""How well the loop did over many incidents: what it found, how soon, what it mended, and what harm it did.

Localisation is the F1 of pairs (kind, subject), over incidents whose fault leaves a trace; what is told where nothing
is to be found counts apart, as false findings. Times are seconds after the fault began, of those incidents in which it
came to that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

from karez.scenario.incidents import Outcome

NOTHING = "nothing"
Time = Callable[[Outcome], float | None]


class Times(msgspec.Struct, frozen=True):
    """How long something took in so many incidents: median and 90th percentile (s); None where it never came to it."""

    what: str
    incidents: int
    median_s: float | None
    p90_s: float | None


class KindScore(msgspec.Struct, frozen=True):
    """All incidents of one kind of fault: the share found, and found right, what else was told, and how soon."""

    kind: str
    incidents: int
    found_share: float
    right_share: float
    others_told: int
    found_median_s: float | None
    act_median_s: float | None
    healed: int
    healed_median_s: float | None
    undone: int
    harmed: int


class Confusion(msgspec.Struct, frozen=True):
    """What a fault of one kind was taken for, and how often; what was right is left out."""

    true: str
    told: str
    times: int


class Reliability(msgspec.Struct, frozen=True):
    """Findings whose confidence is in the same tenth: how sure they were on average, and the share that was right."""

    least_confidence: float
    findings: int
    confidence_share: float
    right_share: float


class Failure(msgspec.Struct, frozen=True):
    """An incident that did not go as it should: its token plays it again."""

    token: str
    what: str
    kind: str
    subject: str
    told: str


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """All that is counted; shares are None where there was nothing to take a share of."""

    incidents: int
    with_trace: int
    detection_share: float | None
    precision_share: float | None
    recall_share: float | None
    f1: float | None
    times: tuple[Times, ...]
    false_findings: int
    harmed: int
    broken: int
    acts: int
    undone: int
    unsettled: int
    kinds: tuple[KindScore, ...]
    confusion: tuple[Confusion, ...]
    reliability: tuple[Reliability, ...]
    calibration_error: float | None


# In so many classes findings are put by how sure they were.
CLASSES = 10
# What is timed: the first signal of all alone, the true cause told, the first act, the true cause's act verified.
TIMED: dict[str, Time] = {
    "first signal": lambda one: one.single_s,
    "found": lambda one: one.first_s,
    "acted": lambda one: one.act_s,
    "verified heal": lambda one: one.healed_s,
}


def score(outcomes: Sequence[Outcome]) -> Score:
    """The score of all outcomes."""
    traced = [one for one in outcomes if one.label]
    right = sum(len(set(one.label) & set(one.found)) for one in traced)
    told, true = sum(len(set(one.found)) for one in traced), sum(len(set(one.label)) for one in traced)
    return Score(
        incidents=len(outcomes),
        with_trace=len(traced),
        detection_share=_share(sum(bool(one.found) for one in traced), len(traced)),
        precision_share=_share(right, told),
        recall_share=_share(right, true),
        f1=f1(traced),
        times=tuple(times_of(what, map(time, traced)) for what, time in TIMED.items()),
        false_findings=sum(len(set(one.found)) for one in outcomes if not one.label),
        harmed=sum(one.harmed for one in outcomes),
        broken=sum(bool(one.broken) for one in outcomes),
        acts=sum(len(one.acts) for one in outcomes),
        undone=sum(one.undone for one in outcomes),
        unsettled=sum(one.unsettled > 0 for one in outcomes),
        kinds=tuple(_kind(kind, outcomes) for kind in sorted({one.kind for one in outcomes})),
        confusion=confusion(outcomes),
        reliability=(found := reliability(outcomes)),
        calibration_error=calibration_error(found),
    )


def f1(outcomes: Iterable[Outcome]) -> float | None:
    """F1 of the pairs of cause and subject (0..1), false findings where nothing is to be found among them.

    None where nothing was to be found and nothing was told.
    """
    pairs = [(set(one.label), set(one.found)) for one in outcomes]
    right = sum(len(label & found) for label, found in pairs)
    return _share(2 * right, sum(len(label) + len(found) for label, found in pairs))


def failures(one: Outcome) -> tuple[Failure, ...]:
    """What went wrong in an incident; none where all was as it should be."""
    label, found = set(one.label), set(one.found)
    kind, subject = one.label[0] if one.label else (one.kind, "")
    told = ", ".join(f"{each} {of}" for each, of in one.found) or NOTHING
    wrong = {
        "harmed": one.harmed,
        "protected traffic cut": bool(one.broken),
        "left unsettled": one.unsettled > 0,
        "missed": bool(label) and not found,
        "taken for another": bool(label - found) and bool(found),
        "more told than true": bool(label) and label < found,
        "false finding": not label and bool(found),
    }
    return tuple(Failure(one.token, what, kind, subject, told) for what, holds in wrong.items() if holds)


def times_of(what: str, values: Iterable[float | None]) -> Times:
    """Median and 90th percentile of those that are."""
    known = [value for value in values if value is not None]
    if not known:
        return Times(what, 0, None, None)
    median_s, p90_s = np.quantile(known, [0.5, 0.9]).tolist()
    return Times(what, len(known), median_s, p90_s)


def confusion(outcomes: Iterable[Outcome]) -> tuple[Confusion, ...]:
    """What the kinds of fault were taken for, most often first; what was told besides the truth counts, too."""
    counts: Counter[tuple[str, str]] = Counter()
    for one in outcomes:
        wrong = sorted({kind for kind, _ in set(one.found) - set(one.label)})
        if set(one.label) - set(one.found) and not wrong:
            wrong = [NOTHING]
        counts.update((one.kind, told) for told in wrong)
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Confusion(true, told, times) for (true, told), times in order)


def reliability(outcomes: Iterable[Outcome]) -> tuple[Reliability, ...]:
    """By tenth of confidence, how many findings were right; a confidence is calibrated where both shares are the same.

    Source: Niculescu-Mizil and Caruana, "Predicting good probabilities with supervised learning", ICML 2005.
    """
    told = [(sure, pair in one.label) for one in outcomes for pair, sure in zip(one.found, one.sure, strict=True)]
    classes: dict[int, list[tuple[float, bool]]] = {}
    for sure, right in told:
        classes.setdefault(min(int(sure * CLASSES), CLASSES - 1), []).append((sure, right))
    return tuple(
        Reliability(
            least_confidence=number / CLASSES,
            findings=len(those),
            confidence_share=sum(sure for sure, _ in those) / len(those),
            right_share=sum(right for _, right in those) / len(those),
        )
        for number, those in sorted(classes.items())
    )


def calibration_error(classes: Sequence[Reliability]) -> float | None:
    """How far confidence and the share of right findings are apart, on average over all findings (0..1)."""
    apart = sum(one.findings * abs(one.confidence_share - one.right_share) for one in classes)
    return _share(apart, sum(one.findings for one in classes))


def _kind(kind: str, outcomes: Sequence[Outcome]) -> KindScore:
    mine = [one for one in outcomes if one.kind == kind]
    return KindScore(
        kind=kind,
        incidents=len(mine),
        found_share=sum(bool(one.found) for one in mine) / len(mine),
        right_share=sum(set(one.found) == set(one.label) for one in mine) / len(mine),
        others_told=sum(len(set(one.found) - set(one.label)) for one in mine),
        found_median_s=times_of("", (one.first_s for one in mine)).median_s,
        act_median_s=times_of("", (one.act_s for one in mine)).median_s,
        healed=sum(one.healed_s is not None for one in mine),
        healed_median_s=times_of("", (one.healed_s for one in mine)).median_s,
        undone=sum(one.undone for one in mine),
        harmed=sum(one.harmed for one in mine),
    )


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None
