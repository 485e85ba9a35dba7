"""The tests of packs: facts, and what must be lawful; and whether packs contradict each other.

A pack's `tests.csv` has `name`, `at` (a day), `facts` (`name=value` with semicolons between, on top of `BASE`),
`lawful` (modes with spaces between, `all` or `none`) and `by`, the rule that must be among those that decide.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from karez.errors import InputError, Problem
from karez.measure.policy.law import Facts, Law, law
from karez.measure.policy.packs import Pack
from karez.measure.policy.vocabulary import ALL_MODES, MODES, UNKNOWN, Fact, facts, groups
from karez.twin.table import Array

ALL, NONE = "all", "none"
# What the facts of a test are where it says nothing else: general data at home in China, for another province.
BASE = {
    "resource.grade": "general",
    "resource.personal": "no",
    "resource.us_bulk": "no",
    "resource.mixed": "no",
    "resource.origin": "CN",
    "resource.origin_eea": "no",
    "resource.country": "CN",
    "resource.province": "CN-ZJ",
    "resource.sector": "other",
    "resource.critical": "no",
    "principal.role": "processor",
    "principal.verified": "yes",
    "principal.country": "CN",
    "principal.province": "CN-GZ",
    "principal.eea": "no",
    "principal.adequate": "no",
    "principal.concern": "yes",
    "context.entity": "same",
    "context.place": "province",
    "context.purpose": "declared",
    "context.personal_abroad": "0",
    "context.sensitive_abroad": "0",
}
TRUE, FALSE = "yes", "no"
MOST_DIGITS = 18


class Trial(NamedTuple):
    """A test of a pack: facts at a moment, the modes (bits) that must be lawful, and a rule that must decide."""

    name: str
    at_s: float
    facts: Mapping[str, str]
    lawful: int
    by: str


class Contradiction(NamedTuple):
    """A rule that never has a say, and the sets that take it away from it."""

    rule: str
    by: tuple[str, ...]


def trials(pack: Pack) -> tuple[Trial, ...]:
    """The tests of a pack.

    Raises:
        InputError: some cannot be read; names every one.
    """
    problems, found = list[Problem](), list[Trial]()
    for row in csv.DictReader(pack.tests.splitlines()):
        try:
            found.append(_trial(row))
        except ValueError as error:
            problems.append(Problem(f"{pack.name}/tests.csv", str(error), "mend the test", (row.get("name") or "",)))
    if problems:
        raise InputError(problems)
    return tuple(found)


def failures(pack: Pack) -> Iterator[str]:
    """What is wrong with a pack by its own tests: those that fail, and rules that none of them is about."""
    named = set[str]()
    for trial in trials(pack):
        rules = law([pack], trial.at_s)
        decided = rules.explain(told(trial.facts))
        lawful = int(decided.lawful[0])
        if lawful != trial.lawful:
            yield f"{trial.name}: lawful is {_modes(lawful)}, not {_modes(trial.lawful)}"
        deciding = {name for mode in range(len(MODES)) for name in _deciding(rules, decided.matched, mode)}
        if trial.by and trial.by not in deciding:
            decide = ", ".join(sorted(deciding)) or NONE
            yield f"{trial.name}: {trial.by} is not among the rules that decide: {decide}"
        named.add(trial.by)
    for rules_of in pack.sets:
        for rule in rules_of.rules:
            if rule.id not in named:
                yield f"{rules_of.name}/{rule.id}: no test is about it"


def told(given: Mapping[str, str]) -> Facts:
    """The facts of one question as texts: what is not given is of `BASE`; evidence that is not given is not there.

    Raises:
        ValueError: there is no such fact, or it has no such value.
    """
    whole = BASE | {_named(name): value for name, value in given.items()}
    names = tuple(sorted({UNKNOWN, *(whole[fact.id] for fact in facts().values() if fact.kind == "name")}))
    return Facts({fact.id: _column(fact, whole.get(fact.id, FALSE), names) for fact in facts().values()}, names)


def contradictions(packs: Sequence[Pack], at_s: float, asked: Facts) -> Iterator[Contradiction]:
    """The rules that permit something for some of these questions, but never anything that is lawful in the end.

    What the rules of their own pack take away is no contradiction: that is how a pack is written.
    """
    together = law(packs, at_s)
    decided = together.explain(asked)
    alone = {pack.name: law([pack], at_s).decide(asked) for pack in packs}
    for at, rules in enumerate(together.sets):
        mine = alone[rules.name.partition("/")[0]]
        for bit, rule in enumerate(rules.rules):
            applies = (decided.matched[at] >> np.uint64(bit) & np.uint64(1)).astype(bool)
            given = mine & np.uint8(rule.modes) if rule.effect == "permit" else np.zeros(len(mine), np.uint8)
            permits = applies & (given != 0)
            if permits.any() and not (permits & ((decided.lawful & given) != 0)).any():
                yield Contradiction(
                    f"{rules.name}/{rule.id}", tuple(_denying(packs, alone, rules.name, given, permits))
                )


def _denying(packs: Sequence[Pack], alone: Mapping[str, Array], own: str, given: Array, where: Array) -> Iterator[str]:
    """The packs that deny what a rule gives, wherever it gives it."""
    for pack in packs:
        if pack.name != own.partition("/")[0] and not (alone[pack.name][where] & given[where]).any():
            yield pack.name


def _deciding(rules: Law, matched: Array, mode: int) -> Iterator[str]:
    for held, bits in zip(rules.sets, rules.reasons(matched)[:, mode, 0].tolist(), strict=True):
        yield from (rule.id for at, rule in enumerate(held.rules) if bits >> at & 1)


def _trial(row: Mapping[str, str]) -> Trial:
    if missing := [name for name in ("name", "at", "facts", "lawful", "by") if row.get(name) is None]:
        raise ValueError(f"has no {', '.join(missing)}")
    given = dict(_pairs(row["facts"]))
    told(given)
    day = dt.datetime.combine(dt.date.fromisoformat(row["at"]), dt.time(), dt.UTC)
    return Trial(row["name"], day.timestamp(), given, _bits(row["lawful"].split()), row["by"])


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for pair in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"{pair!r} is no fact as grade=general")
        yield name.strip(), value.strip()


def _bits(words: Iterable[str]) -> int:
    known = groups() | {ALL: ALL_MODES, NONE: 0}
    bits = 0
    for word in words:
        if word not in known:
            raise ValueError(f"{word!r} is none of {', '.join(known)}")
        bits |= known[word]
    return bits


def _modes(bits: int) -> str:
    return " ".join(mode for at, mode in enumerate(MODES) if bits >> at & 1) or NONE


def _named(name: str) -> str:
    """The id of a fact; the holder may be left out where only one holds a fact of the name."""
    found = [name] if name in facts() else [fact.id for fact in facts().values() if fact.name == name]
    if len(found) != 1:
        raise ValueError(f"there is no fact {name!r}" if not found else f"{name!r} is one of {', '.join(found)}")
    return found[0]


def _column(fact: Fact, value: str, names: tuple[str, ...]) -> Array:
    if fact.kind == "choice":
        if value not in fact.values:
            raise ValueError(f"{fact.id} is {value!r}, none of {', '.join(fact.values)}")
        return np.array([fact.values.index(value)], np.uint8)
    if fact.kind == "name":
        return np.array([names.index(value)], np.int32)
    if fact.kind == "flag":
        if value not in (TRUE, FALSE):
            raise ValueError(f"{fact.id} is {value!r}, neither {TRUE} nor {FALSE}")
        return np.array([value == TRUE])
    if value != UNKNOWN and not (value.isdecimal() and len(value) <= MOST_DIGITS):
        raise ValueError(f"{fact.id} is {value!r}, neither a whole number nor {UNKNOWN}")
    return np.array([-1 if value == UNKNOWN else int(value)], np.int64)
