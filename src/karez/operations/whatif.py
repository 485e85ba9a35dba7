"""What coverage would be with sites more or less, and links cut, restored or upgraded."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from karez.errors import InputError, Problem
from karez.measure import reach
from karez.measure.circles import WEIGHT_SCALE, compute_sites, points
from karez.measure.delay import used_links
from karez.measure.support import below
from karez.measure.whatif import WhatIf
from karez.operations import Answer, WhatIfQuestion
from karez.operations.circles import WORDS
from karez.operations.networks import budget_ns, duration, load, nothing_counted, now_s, provenance, share
from karez.operations.networks import counted as number
from karez.twin import Table, Twin
from karez.twin.table import Array, text
from karez.units import NS_PER_US

LONGEST_US = 1_000_000.0


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
    changes = _changes(question, twin)
    # What is to be restored is down: it is prepared as if it were up, and cut before anything is measured.
    links = twin["links"].set(changes.restored, up=True) if len(changes.restored) else twin["links"]
    ready = reach.typical(twin.replace(links), points(twin, question.weight))
    weight = ready.total
    if not weight.sum():
        raise nothing_counted(question.network, question.weight)
    whatif = WhatIf(ready, compute_sites(twin), budget_ns(question.budget_us))
    if len(changes.restored):
        whatif.set_links(changes.restored, None)
    before = whatif.covered
    changes.make(whatif)
    after = whatif.covered
    was, will = (float(covered.sum() / weight.sum()) for covered in (before, after))
    note = " (synthetic)" if revision.synthetic else ""
    return WhatIfAnswer(
        headline=(
            f"{share(will)} of {WORDS[question.weight]} would be within {duration(question.budget_us)} of compute, "
            f"{share(was)} are now; {changes.said}{note}"
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


class _Changes(NamedTuple):
    """Rows of the sites to open, to shut and to close, of the links to cut and to restore, and new delays of links."""

    added: Array
    removed: Array
    closed: Array
    cut: Array
    restored: Array
    upgraded: dict[int, int]

    def make(self, whatif: WhatIf) -> None:
        """Do all of them."""
        for site in self.added.tolist():
            whatif.add(site)
        for site in self.removed.tolist():
            whatif.remove(site)
        if len(self.restored):
            whatif.restore(self.restored)
        for link, ns in self.upgraded.items():
            whatif.set_links([link], ns)
        if len(self.cut):
            whatif.set_links(self.cut, None)
        for site in self.closed.tolist():
            whatif.close(site)

    @property
    def said(self) -> str:
        """The changes in words."""
        done = (
            (self.added, "site", "added"),
            (self.removed, "site", "removed"),
            (self.closed, "site", "closed"),
            (self.cut, "link", "cut"),
            (self.restored, "link", "restored"),
            (self.upgraded, "link", "upgraded"),
        )
        return ", ".join(f"{number(len(rows), what)} {word}" for rows, what, word in done if len(rows))


def _changes(question: WhatIfQuestion, twin: Twin) -> _Changes:
    """What is asked for.

    Raises:
        InputError: every id that is not there, and every site or link that is already as asked.
    """
    problems: list[Problem] = []
    added, removed, closed = (
        _rows(twin["sites"], getattr(question, way), way, problems) for way in ("add", "remove", "close")
    )
    cut, restored = (_rows(twin["links"], getattr(question, way), way, problems) for way in ("cut", "restore"))
    upgraded = _upgraded(question, twin["links"], problems)
    changed = np.array(sorted(upgraded), np.int64)
    of_links, optical = {"cut": cut, "restore": restored, "upgrade": changed}, used_links(twin, "optical")
    there, up = np.isin(np.arange(len(twin["sites"])), compute_sites(twin)), twin["links"]["up"]
    for where, table, rows, what in (
        ("add", "sites", added[there[added]], "has compute already"),
        ("remove", "sites", removed[~there[removed]], "has no compute"),
        ("cut", "links", cut[~up[cut]], "is down already"),
        ("restore", "links", restored[up[restored]], "is up already"),
        ("upgrade", "links", changed[~up[changed] & ~np.isin(changed, restored)], "is down: restore it, too"),
        ("upgrade", "links", np.intersect1d(changed, cut), "is to be cut"),
        ("close", "sites", np.intersect1d(closed, np.union1d(added, removed)), "is to be added or removed"),
        *((way, "links", rows[~optical[rows]], "is not of the optical layer") for way, rows in of_links.items()),
    ):
        if len(rows):
            names = tuple(text(row) for row in twin[table].ids[rows])
            problems.append(Problem(where, what, "leave it out", names))
    asked = (added, removed, closed, cut, restored, upgraded)
    if not problems and not any(len(rows) for rows in asked):
        flags = "--add, --remove, --close, --cut, --restore or --upgrade"
        problems.append(Problem("whatif", "is asked of no change", f"give {flags}"))
    if problems:
        raise InputError(problems)
    # What rests on a link is cut with it.
    upper, lower = below(twin)
    return _Changes(added, removed, closed, np.union1d(cut, upper[np.isin(lower, cut)]), restored, upgraded)


def _upgraded(question: WhatIfQuestion, links: Table, problems: list[Problem]) -> dict[int, int]:
    """The new delay (ns) of each link (row) that is to be upgraded."""
    parts = [part.partition("=") for part in (word.strip() for word in question.upgrade.split(",")) if part]
    parts = [(name.strip(), sign, us) for name, sign, us in parts]
    wrong = tuple(f"{name}{sign}{us}" for name, sign, us in parts if not name or not _is_delay(us))
    names = [name for name, _, _ in parts]
    twice = tuple(sorted({name for name in names if names.count(name) > 1}))
    if twice:
        problems.append(Problem("upgrade", "gives a link two delays", "give it one", twice))
    if wrong:
        fix = "give LINK=DELAY with the one-way delay in microseconds, such as l0000001=120"
        problems.append(Problem("upgrade", "is no link with a delay", fix, wrong))
    rows = _rows(links, ",".join(names), "upgrade", problems)
    delays = {name.encode(): round(float(us) * NS_PER_US) for name, _, us in parts if _is_delay(us)}
    return {
        row: delays[name] for row, name in zip(rows.tolist(), links.ids[rows].tolist(), strict=True) if name in delays
    }


def _is_delay(word: str) -> bool:
    try:
        return 0 <= float(word) <= LONGEST_US
    except ValueError:
        return False


def _rows(table: Table, ids: str, where: str, problems: list[Problem]) -> Array:
    names = [name for name in (part.strip() for part in ids.split(",")) if name]
    unknown = tuple(name for name in names if not table.has(name))
    if unknown:
        problems.append(Problem(where, f"{table.name} has no such row", "give ids of the network", unknown))
    return np.unique(table.rows([name for name in names if name not in unknown]))


def _metros(twin: Twin, weight: Array, before: Array, after: Array) -> tuple[MetroChange, ...]:
    changed = np.flatnonzero(before != after)
    changed = changed[np.argsort(-np.abs(after - before)[changed], kind="stable")]
    metros = twin["metros"]
    return tuple(
        MetroChange(
            text(metros.ids[row]),
            text(metros["name"][row]),
            float(weight[row] / WEIGHT_SCALE),
            float(before[row] / weight[row]),
            float(after[row] / weight[row]),
        )
        for row in changed
    )
