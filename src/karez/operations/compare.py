"""How coverage differs between two networks, or two revisions of one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from karez.errors import InputError, Problem
from karez.measure.circles import Circles, Region, circles
from karez.measure.delay import FIGURES, Figures
from karez.operations import Answer, CompareQuestion
from karez.operations.circles import WORDS
from karez.operations.networks import counted, duration, load, now_s, provenance, share
from karez.twin import Table
from karez.twin.store import Revision
from karez.twin.table import text

PAIRS = "pairs of compute centres in one metro"
# A ten-millionth of a point is what adding up in another order may leave.
SAME_POINTS = 1e-7
SAME_WEIGHT = 1e-9


class Change(msgspec.Struct, frozen=True):
    """Shares before and after, pooled and as the mean of the metros, and their difference in points of per cent.

    None where there is nothing to take a share of.
    """

    pooled_before_share: float | None
    pooled_after_share: float | None
    pooled_points: float | None
    mean_before_share: float | None
    mean_after_share: float | None
    mean_points: float | None


class RegionChange(msgspec.Struct, frozen=True):
    """A metro or province of both networks: its weight and covered share in each, at typical figures.

    None where it has no weight.
    """

    id: str
    name: str
    weight_before: float
    weight_after: float
    before_share: float | None
    after_share: float | None
    points: float | None


class OneSided(msgspec.Struct, frozen=True):
    """A metro or province that only one of the networks has, with its weight there and the share that is covered."""

    id: str
    name: str
    weight: float
    covered_share: float | None


class CompareAnswer(Answer, frozen=True, kw_only=True):
    """The difference at low, typical and high delays, then by metro and province at typical ones.

    `metros` and `provinces` are those of both networks whose share or weight differs, by id, the most changed first;
    the others that are in both are only counted.
    """

    definition: str
    budget_us: float
    weight: str
    total_weight_before: float
    total_weight_after: float
    unchanged_metros: int
    unchanged_provinces: int
    low: Change
    typical: Change
    high: Change
    metros: tuple[RegionChange, ...]
    metros_only_before: tuple[OneSided, ...]
    metros_only_after: tuple[OneSided, ...]
    provinces: tuple[RegionChange, ...]
    provinces_only_before: tuple[OneSided, ...]
    provinces_only_after: tuple[OneSided, ...]


class _Side(NamedTuple):
    """One of the two: what was measured of it, and its regions by id."""

    revision: Revision
    found: Circles
    metros: Mapping[str, OneSided]
    provinces: Mapping[str, OneSided]


class _Regions(NamedTuple):
    changed: tuple[RegionChange, ...]
    only_before: tuple[OneSided, ...]
    only_after: tuple[OneSided, ...]
    unchanged: int

    @property
    def differ(self) -> bool:
        return bool(self.changed or self.only_before or self.only_after)


def run(question: CompareQuestion) -> CompareAnswer:
    """The difference between the two networks, both as they are today.

    Raises:
        InputError: a network or revision cannot be read, or has nothing that the weight counts; for both at once.
    """
    before, after = _sides(question)
    metros, provinces = _matched(before.metros, after.metros), _matched(before.provinces, after.provinces)
    changes = {figures: _change(before.found, after.found, figures) for figures in before.found.shares}
    return CompareAnswer(
        headline=_headline(before, after, changes, metros, provinces),
        citation=_citation(before, after),
        definition=before.found.definition,
        budget_us=before.found.budget_us,
        weight=before.found.weight,
        total_weight_before=before.found.total_weight,
        total_weight_after=after.found.total_weight,
        unchanged_metros=metros.unchanged,
        unchanged_provinces=provinces.unchanged,
        low=changes["low"],
        typical=changes["typical"],
        high=changes["high"],
        metros=metros.changed,
        metros_only_before=metros.only_before,
        metros_only_after=metros.only_after,
        provinces=provinces.changed,
        provinces_only_before=provinces.only_before,
        provinces_only_after=provinces.only_after,
    )


def _sides(question: CompareQuestion) -> tuple[_Side, _Side]:
    sides, problems = [], list[Problem]()
    asked = ((question.before, question.before_revision), (question.after, question.after_revision))
    for network, revision in asked:
        try:
            sides.append(_side(question, network, revision))
        except InputError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise InputError(problems)
    return sides[0], sides[1]


def _side(question: CompareQuestion, network: str, number: int) -> _Side:
    """What is asked of one network; nothing else of it is kept, for two may not fit in memory."""
    world, revision = load(network, number)
    twin = world.intended.at(now_s())
    found = circles(twin, definition=question.definition, budget_us=question.budget_us, weight=question.weight)
    if question.definition != "C1" and not found.total_weight:
        what = f"revision {revision.number} holds nothing that the weight {question.weight!r} counts"
        raise InputError.of(network, what, "choose another weight, or add what it counts")
    metros, provinces = _regions(twin["metros"], found.metros), _regions(twin["provinces"], found.provinces)
    return _Side(revision, found, metros, provinces)


def _regions(table: Table, measured: Sequence[Region]) -> dict[str, OneSided]:
    """Every row of the table by its id; those that hold no weight have no share."""
    ids, names = map(text, table.ids), map(text, table["name"])
    every = {row: OneSided(row, name, 0.0, None) for row, name in zip(ids, names, strict=True)}
    return every | {region.id: OneSided(*msgspec.structs.astuple(region)) for region in measured}


def _matched(before: Mapping[str, OneSided], after: Mapping[str, OneSided]) -> _Regions:
    both = [_region_change(before[row], after[row]) for row in before if row in after]
    changed = [region for region in both if _differs(region)]
    return _Regions(
        changed=tuple(sorted(changed, key=_least_changed)),
        only_before=_only(before, after),
        only_after=_only(after, before),
        unchanged=len(both) - len(changed),
    )


def _only(these: Mapping[str, OneSided], others: Mapping[str, OneSided]) -> tuple[OneSided, ...]:
    """The regions of one side that the other has not, the heaviest first."""
    only = [region for row, region in these.items() if row not in others]
    return tuple(sorted(only, key=lambda region: (-region.weight, region.id)))


def _region_change(before: OneSided, after: OneSided) -> RegionChange:
    shares = before.covered_share, after.covered_share
    return RegionChange(after.id, after.name, before.weight, after.weight, *shares, _points(*shares))


def _differs(region: RegionChange) -> bool:
    if (region.before_share is None) != (region.after_share is None) or abs(region.points or 0.0) > SAME_POINTS:
        return True
    return not math.isclose(region.weight_before, region.weight_after, rel_tol=SAME_WEIGHT)


def _least_changed(region: RegionChange) -> tuple[float, float, str]:
    """The key that puts the most changed first: by points, then by weight; a share that came or went leads."""
    points = math.inf if region.points is None else abs(region.points)
    return -points, -abs(region.weight_after - region.weight_before), region.id


def _change(before: Circles, after: Circles, figures: Figures) -> Change:
    old, new = before.shares[figures], after.shares[figures]
    pooled = old.pooled_share, new.pooled_share
    mean = old.mean_of_metros_share, new.mean_of_metros_share
    return Change(*pooled, _points(*pooled), *mean, _points(*mean))


def _points(before: float | None, after: float | None) -> float | None:
    """The difference of two shares in points of per cent."""
    return None if before is None or after is None else 100 * (after - before)


def _headline(
    before: _Side, after: _Side, changes: Mapping[Figures, Change], metros: _Regions, provinces: _Regions
) -> str:
    found, typical = after.found, changes["typical"]
    what = PAIRS if found.definition == "C1" else WORDS[found.weight]
    of_compute = "" if found.definition == "C1" else " of compute"
    covered = (
        f"{_known(typical.pooled_after_share)} of {what} are within {duration(found.budget_us)}{of_compute}, one way"
    )
    origin = _origin(before.revision, after.revision)
    if not (metros.differ or provinces.differ or any(_moved(change) for change in changes.values())):
        same = before.revision.digest == after.revision.digest
        return f"No difference{', for the data are the same' if same else ''}: {covered}, in both{origin}"
    return f"{covered}, {_against(changes)}; {_counts(metros)}{origin}"


def _known(value: float | None) -> str:
    return "an unknown share" if value is None else share(value)


def _moved(change: Change) -> bool:
    known = (change.pooled_before_share is None) == (change.pooled_after_share is None)
    return not known or max(abs(change.pooled_points or 0.0), abs(change.mean_points or 0.0)) > SAME_POINTS


def _against(changes: Mapping[Figures, Change]) -> str:
    """The change of the pooled share, and how far it depends on the latency library."""
    low, typical, high = (changes[figures].pooled_points for figures in FIGURES)
    if low is None or typical is None or high is None:
        return f"instead of {_known(changes['typical'].pooled_before_share)}"
    span = f"({_signed(low)} at low delays, {_signed(high)} at high ones)"
    if abs(typical) <= SAME_POINTS:
        return f"as before {span}"
    return f"instead of {share(changes['typical'].pooled_before_share)}: {_signed(typical)} points {span}"


def _signed(points: float) -> str:
    # Adding zero makes -0.0 a zero without its sign.
    return f"{round(points, 1) + 0.0:+.1f}"


def _counts(metros: _Regions) -> str:
    parts = [f"{counted(len(metros.changed), 'metro')} changed", f"{metros.unchanged:,} did not"]
    parts += [f"{len(metros.only_before):,} only before"] if metros.only_before else []
    parts += [f"{len(metros.only_after):,} only after"] if metros.only_after else []
    return ", ".join(parts)


def _origin(before: Revision, after: Revision) -> str:
    if before.synthetic == after.synthetic:
        return " (both synthetic)" if after.synthetic else ""
    which = "first" if before.synthetic else "second"
    return f" (WARNING: only the {which} is synthetic, so the difference says nothing of a real network)"


def _citation(before: _Side, after: _Side) -> str:
    found = before.found
    unit = "unordered pairs of centres in a metro" if found.definition == "C1" else f"weight {found.weight}"
    return (
        f"{found.definition} < {found.budget_us:g} us, one way, optical layer; {unit}, pooled and mean of metros; low, "
        f"typical and high figures of the latency library; metros and provinces matched by id; "
        f"before: {provenance(before.revision)}; after: {provenance(after.revision)}"
    )
