"""The verdict on one question: what is lawful now, on which articles, what is missing, and what would help.

What would help is searched, not written down: the same rules are asked again with facts told that are unknown, and with
evidence that is not there. So a pack that somebody adds brings its own remedies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import NamedTuple

import msgspec
import numpy as np

from karez.measure.policy.law import Facts, Law
from karez.measure.policy.packs import Rule
from karez.measure.policy.vocabulary import ALL_MODES, MODES, UNKNOWN, Fact, Mode, evidence_kinds, facts
from karez.twin import Table, Twin
from karez.twin.table import Array

# Facts that a set of rules may lack at most, for these to be searched.
MOST_TOLD = 4
# The share of facts about many persons that is not known, tried as none.
NONE = 0


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that decides, in words."""

    rule: str
    effect: str
    article: str
    duty: str
    confidence: str


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """What would make modes lawful: evidence to be had."""

    evidence: tuple[str, ...]
    modes: tuple[Mode, ...]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Modes that are lawful now, the rules that say so, the sets of rules that deny, missing facts and remedies.

    `permits` has the rules of each lawful mode, but for those that only leave the data to other rules. `denies` has,
    for each other mode, the sets that deny it with the rules that forbid, or none where no rule permits; `not_yet` the
    day from which on a set has rules at all. `missing` are facts (ids) without which it is no and might else be yes.
    """

    modes: tuple[Mode, ...]
    permits: Mapping[Mode, tuple[Ground, ...]]
    denies: Mapping[Mode, Mapping[str, tuple[Ground, ...]]]
    missing: tuple[str, ...]
    remedies: tuple[Remedy, ...]
    not_yet: Mapping[str, str]

    @property
    def allowed(self) -> bool:
        """Whether anything is lawful."""
        return bool(self.modes)


def named(bits: int) -> tuple[Mode, ...]:
    """The modes of a mask, from the least protective."""
    return tuple(mode for at, mode in enumerate(MODES) if bits >> at & 1)


def verdict(law: Law, question: Facts, wanted: int = ALL_MODES) -> Verdict:
    """The verdict on a question (one row of facts); remedies are for the wanted modes (bits) that are not lawful."""
    decided = law.explain(question)
    lawful, reasons = int(decided.lawful[0]), law.reasons(decided.matched)[:, :, 0]
    return Verdict(
        modes=named(lawful),
        permits={mode: tuple(_permits(law, reasons[:, MODES.index(mode)])) for mode in named(lawful)},
        denies={mode: _denies(law, reasons[:, MODES.index(mode)]) for mode in named(ALL_MODES & ~lawful)},
        missing=_missing(law, question, wanted & ~lawful),
        remedies=_remedies(law, question, wanted & ~lawful),
        not_yet=law.not_yet,
    )


def _permits(law: Law, reasons: Array) -> Iterator[Ground]:
    """The rules that permit a mode, by those (bits) that decide on it in each set."""
    for rules, bits in zip(law.sets, reasons.tolist(), strict=True):
        grounds = [rule for at, rule in enumerate(rules.rules) if bits >> at & 1]
        yield from (_ground(rules.name, rule) for rule in grounds if not rule.outside)


def _denies(law: Law, reasons: Array) -> dict[str, tuple[Ground, ...]]:
    """The sets that deny a mode, by the rules (bits) that decide on it in each."""
    found = {}
    for rules, bits in zip(law.sets, reasons.tolist(), strict=True):
        grounds = [rule for at, rule in enumerate(rules.rules) if bits >> at & 1]
        if not grounds or grounds[0].effect == "forbid":
            found[rules.name] = tuple(_ground(rules.name, rule) for rule in grounds)
    return found


def _ground(within: str, rule: Rule) -> Ground:
    name = f"{within}/{rule.id}"
    return Ground(rule=name, effect=rule.effect, article=rule.article, duty=rule.duty, confidence=rule.confidence)


def _missing(law: Law, question: Facts, wanted: int) -> tuple[str, ...]:
    """The fewest unknown facts that, once told, might make a wanted mode lawful, with the evidence that can be had.

    Each set of rules is asked by itself, for a set asks for few facts; the mode that lacks the fewest in all is told
    of. Where nothing is found so, all that is unknown and asked for by those that deny is named.
    """
    unknown = _unknown(question)
    if not unknown or not wanted:
        return ()
    for evidence in (False, True):
        now = _with_all_evidence(question) if evidence else question
        passed = law.each(now)[:, 0]
        if evidence and np.bitwise_and.reduce(passed) & wanted:
            # Evidence alone would do.
            return ()
        ways = [
            _ways(law, now, at, [name for name in unknown if name in law.asks[at]], wanted & ~int(bits))
            for at, bits in enumerate(passed)
        ]
        lacks = [_lacked([of_set[mode] for of_set in ways if mode in of_set]) for mode in range(len(MODES))]
        helps = [
            some
            for mode, some in enumerate(lacks)
            if wanted >> mode & 1 and some and (law.decide(_told(now, _tried(now, sorted(some)))) >> mode & 1).any()
        ]
        if helps:
            return tuple(name for name in unknown if name in min(helps, key=len))
    denying = [asks for asks, bits in zip(law.asks, law.each(question)[:, 0], strict=True) if not bits & wanted]
    return tuple(name for name in unknown if any(name in asks for asks in denying))


def _ways(law: Law, question: Facts, at: int, unknown: Sequence[str], denied: int) -> dict[int, list[frozenset[str]]]:
    """By mode that a set of rules denies, the sets of the fewest facts that might let it pass; none where none do."""
    found: dict[int, list[frozenset[str]]] = {mode: [] for mode in range(len(MODES)) if denied >> mode & 1}
    for size in range(1, min(len(unknown), MOST_TOLD) + 1):
        ahead = [mode for mode, ways in found.items() if not ways]
        if not ahead:
            break
        for some in combinations(unknown, size):
            passed = np.bitwise_or.reduce(law.each(_told(question, _tried(question, some)))[at])
            for mode in ahead:
                found[mode] += [frozenset(some)] * bool(passed >> mode & 1)
    return found


def _lacked(ways: Sequence[list[frozenset[str]]]) -> frozenset[str]:
    """One way for each set of rules, so that few facts are named in all; nothing where a set has none."""
    lacked = frozenset[str]()
    for alternatives in sorted(ways, key=len):
        if not alternatives:
            return frozenset()
        lacked |= min(alternatives, key=lambda some: len(some - lacked))
    return lacked


def _unknown(question: Facts) -> tuple[str, ...]:
    """The facts that nobody told."""
    return tuple(name for name, column in question.columns.items() if column[0] == _blank(facts()[name], question))


def _blank(fact: Fact, question: Facts) -> int | None:
    """How a fact looks that nobody told."""
    if fact.kind == "choice":
        return fact.values.index(UNKNOWN)
    if fact.kind == "name":
        return question.names.index(UNKNOWN)
    return -1 if fact.kind == "number" else None


def _tried(question: Facts, names: Sequence[str]) -> dict[str, Array]:
    """Every way to tell facts, or to leave some of them unknown."""
    values = [_values(facts()[name], question) for name in names]
    rows = np.array(list(product(*values)), np.int64).reshape(-1, len(values))
    return {name: rows[:, at] for at, name in enumerate(names)}


def _values(fact: Fact, question: Facts) -> list[int]:
    blank = _blank(fact, question)
    assert blank is not None
    known = range(len(fact.values)) if fact.kind == "choice" else range(len(question.names))
    return [blank, *(value for value in ((NONE,) if fact.kind == "number" else known) if value != blank)]


def _told(question: Facts, tried: Mapping[str, Array]) -> Facts:
    rows = len(next(iter(tried.values()))) if tried else 1
    columns = {
        name: tried[name].astype(column.dtype) if name in tried else np.repeat(column, rows)
        for name, column in question.columns.items()
    }
    return Facts(columns, question.names)


def _with_all_evidence(question: Facts) -> Facts:
    every = {f"context.{kind}": np.ones(len(question), bool) for kind in evidence_kinds()}
    return Facts({**question.columns, **every}, question.names)


def _remedies(law: Law, question: Facts, wanted: int) -> tuple[Remedy, ...]:
    """The sets of evidence that make wanted modes lawful, of which nothing can be left out; fewest pieces first."""
    lacking = [kind for kind in evidence_kinds() if not question.columns[f"context.{kind}"][0]]
    if not lacking or not wanted:
        return ()
    # Row r has the evidence whose bits r has.
    rows = np.arange(1 << len(lacking))
    every = {f"context.{kind}": (rows >> at & 1).astype(bool) for at, kind in enumerate(lacking)}
    columns = {
        name: every[name] if name in every else np.repeat(column, len(rows))
        for name, column in question.columns.items()
    }
    gained = law.decide(Facts(columns, question.names)) & np.uint8(wanted)
    # Modes that any piece less would not have made lawful.
    own = gained.copy()
    for at in range(len(lacking)):
        has = rows[rows >> at & 1 == 1]
        own[has] &= ~gained[has & ~(1 << at)]
    found = [
        Remedy(evidence=tuple(kind for at, kind in enumerate(lacking) if row >> at & 1), modes=named(int(gained[row])))
        for row in np.flatnonzero(own).tolist()
        if row
    ]
    return tuple(sorted(found, key=lambda remedy: (len(remedy.evidence), remedy.evidence)))


def said(found: Verdict, modes: Sequence[Mode], twin: Twin | None = None, **ids: str) -> str:
    """The verdict in a line for a person, as far as it is about these modes.

    `ids` names rows of the twin, table by table.
    """
    lawful = [mode for mode in modes if mode in found.modes]
    if lawful:
        grounds = found.permits[lawful[0]]
        parts = [f"{lawful[0]} ({'; '.join(f'{one.rule}: {one.article}' for one in grounds)})"]
        duties = dict.fromkeys(one.duty for one in grounds if one.duty)
        parts += [f"duties: {', '.join(duties)}"] * bool(duties)
        return "; ".join(parts)
    parts = [f"no: {against(found, modes)}"]
    helps = [remedy for remedy in found.remedies if set(remedy.modes) & set(modes)]
    parts += [f"would do: {' and '.join(remedy.evidence)}" for remedy in helps[:1]]
    parts += [f"not known: {', '.join(located(found.missing, twin, **ids))}"] * bool(found.missing)
    return "; ".join(parts)


def located(missing: Sequence[str], twin: Twin | None = None, **ids: str) -> tuple[str, ...]:
    """Missing facts by the columns that may lack them, with their rows where `ids` names these: `datasets[D1].grade`.

    Where a fact comes from several columns, those that the twin holds something in are left out.
    """
    found = dict[str, None]()
    for name in missing:
        places = [_Cell(*where.split(".")) for where in facts()[name].held_in]
        blank = [place for place in places if not place.is_told(twin, ids)] or places
        found[" or ".join(place.shown(ids) for place in blank)] = None
    return tuple(found)


class _Cell(NamedTuple):
    """A column that a fact comes from."""

    table: str
    column: str

    def is_told(self, twin: Twin | None, ids: Mapping[str, str]) -> bool:
        if twin is None or self.table not in ids:
            return False
        return twin[self.table].cell(ids[self.table], self.column) not in ("", UNKNOWN)

    def shown(self, ids: Mapping[str, str]) -> str:
        row = f"[{ids[self.table]}]" if self.table in ids else ""
        return f"{self.table}{row}.{self.column}"


def against(found: Verdict, modes: Sequence[Mode]) -> str:
    """The sets of rules that deny the mode that the fewest deny, each with what it forbids by."""
    denies = min((found.denies[mode] for mode in modes), key=len)
    return ", ".join(
        ", ".join(f"{one.rule} ({one.article})" for one in grounds)
        or (
            f"{name} is in force from {found.not_yet[name]} on"
            if name in found.not_yet
            else f"{name} permits none of it"
        )
        for name, grounds in denies.items()
    )


def told_facts(question: Facts, row: int) -> tuple[tuple[str, str, str], ...]:
    """Every fact of one question in words: its id, its value, and the column of the twin that holds it."""
    return tuple(
        (name, _word(question.value(name, row)), " or ".join(facts()[name].held_in)) for name in question.columns
    )


def _word(value: str | bool | int | None) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:,}"


def untold(datasets: Table, dataset: str) -> tuple[str, ...]:
    """The columns of data that rules may ask for and that nobody filled in."""
    held = (where.split(".") for fact in facts().values() if fact.holder == "resource" for where in fact.held_in)
    columns = dict.fromkeys(column for table, column in held if table == "datasets")
    return tuple(column for column in columns if datasets.cell(dataset, column) in ("", UNKNOWN))
