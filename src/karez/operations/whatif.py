"""What coverage would be with sites more or less and links cut."""

from __future__ import annotations

import msgspec
import numpy as np

from karez.errors import InputError, Problem
from karez.measure import reach
from karez.measure.circles import compute_sites, points
from karez.measure.whatif import WhatIf
from karez.operations import Answer, WhatIfQuestion
from karez.operations.circles import WORDS
from karez.operations.networks import counted as number
from karez.operations.networks import duration, load, now_s, provenance, share
from karez.twin import Table, Twin
from karez.twin.table import Array, text
from karez.units import NS_PER_US


class MetroChange(msgspec.Struct, frozen=True):
    """A metro whose covered share would change."""

    id: str
    name: str
    weight: float
    before_share: float
    after_share: float


class WhatIfAnswer(Answer, frozen=True, kw_only=True):
    """Coverage before and after at typical delays, pooled, and the metros that would change, the most weight first."""

    weight: str
    budget_us: float
    before_share: float
    after_share: float
    metros: tuple[MetroChange, ...]


def run(question: WhatIfQuestion) -> WhatIfAnswer:
    """What the changes would do to the network's newest revision, as it is today; nothing is written.

    Raises:
        InputError: the network cannot be read, an id is not there or cannot be changed so, or nothing is counted.
    """
    world, revision = load(question.network)
    twin = world.intended.at(now_s())
    added, removed, cut = _changes(question, twin)
    counted = points(twin, question.weight)
    weight = np.zeros(len(twin["metros"]), np.int64)
    np.add.at(weight, counted.metro, reach.fixed(counted.weight))
    if not weight.sum():
        what = f"holds nothing that the weight {question.weight!r} counts"
        raise InputError.of(question.network, what, "choose another weight, or add what it counts")
    budget_ns = int(np.ceil(question.budget_us * NS_PER_US))
    ready = reach.typical(twin, counted)
    before = ready.covered(compute_sites(twin), budget_ns)
    if len(cut):
        ready = reach.typical(twin.replace(twin["links"].set(cut, up=False)), counted)
    whatif = WhatIf(ready, compute_sites(twin), budget_ns)
    for site in added:
        whatif.add(int(site))
    for site in removed:
        whatif.remove(int(site))
    after = whatif.covered
    was, will = (float(covered.sum() / weight.sum()) for covered in (before, after))
    note = " (synthetic)" if revision.synthetic else ""
    return WhatIfAnswer(
        headline=(
            f"{share(will)} of {WORDS[question.weight]} would be within {duration(question.budget_us)} of compute, "
            f"{share(was)} are now; {_said(added, removed, cut)}{note}"
        ),
        citation=(
            f"C2 < {question.budget_us:g} us, one way, towards the best compute site, optical layer; weight "
            f"{question.weight}, pooled; typical figures of the latency library; {provenance(revision)}"
        ),
        weight=question.weight,
        budget_us=question.budget_us,
        before_share=was,
        after_share=will,
        metros=_metros(twin, weight, before, after),
    )


def _changes(question: WhatIfQuestion, twin: Twin) -> tuple[Array, Array, Array]:
    """The rows of the sites to open and to shut and of the links to cut.

    Raises:
        InputError: every id that is not there, and every site that is open or shut already.
    """
    problems: list[Problem] = []
    added = _rows(twin["sites"], question.add, "add", problems)
    removed = _rows(twin["sites"], question.remove, "remove", problems)
    cut = _rows(twin["links"], question.cut, "cut", problems)
    there = np.isin(added, compute_sites(twin))
    missing = ~np.isin(removed, compute_sites(twin))
    for where, rows, what in (
        ("add", added[there], "has compute already"),
        ("remove", removed[missing], "has no compute"),
    ):
        if len(rows):
            names = tuple(text(row) for row in twin["sites"].ids[rows])
            problems.append(Problem(where, what, "leave it out", names))
    if not problems and not (len(added) or len(removed) or len(cut)):
        problems.append(Problem("whatif", "is asked of no change", "give --add, --remove or --cut"))
    if problems:
        raise InputError(problems)
    return added, removed, cut


def _rows(table: Table, ids: str, where: str, problems: list[Problem]) -> Array:
    names = [name for name in (part.strip() for part in ids.split(",")) if name]
    unknown = tuple(name for name in names if not table.has(name))
    if unknown:
        problems.append(Problem(where, f"{table.name} has no such row", "give ids of the network", unknown))
    return np.unique(table.rows([name for name in names if name not in unknown]))


def _said(added: Array, removed: Array, cut: Array) -> str:
    """The changes in words."""
    parts = [
        f"{number(len(rows), what)} {done}"
        for rows, what, done in ((added, "site", "added"), (removed, "site", "removed"), (cut, "link", "cut"))
        if len(rows)
    ]
    return ", ".join(parts)


def _metros(twin: Twin, weight: Array, before: Array, after: Array) -> tuple[MetroChange, ...]:
    changed = np.flatnonzero(before != after)
    changed = changed[np.argsort(-np.abs(after - before)[changed], kind="stable")]
    metros = twin["metros"]
    return tuple(
        MetroChange(
            text(metros.ids[row]),
            text(metros["name"][row]),
            float(weight[row] / reach.WEIGHT_SCALE),
            float(before[row] / weight[row]),
            float(after[row] / weight[row]),
        )
        for row in changed
    )
