"""Packs: rules on data, in Cedar, as versioned data; anybody may add one, without code.

A pack is a folder: `pack.toml` (title, version, sources, files of rules; the province, if it is the pack of one) and
the files. Each file is a set of rules of its own, in which all is denied that no rule permits and a rule that forbids
wins. Data may go only where every set of every pack permits it, so that one country's permit never answers for
another's, nor a rule on the grade for one on persons. Each rule bears `@id`, `@article`, `@from` (the day, UTC, from
which it is in force), and may bear `@until`, `@duty` (what must be done besides), `@confidence`, and
`@scope("outside")` where it says only that the set has nothing to say of such data.

Engineering, not legal advice.
"""

from __future__ import annotations

import datetime as dt
import math
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import cedarpy
import msgspec
from cedarpy import pst

from karez.errors import InputError, Problem
from karez.measure.policy.vocabulary import ALL_MODES, folder, groups, schema

Confidence = Literal["H", "M", "L"]
ANNOTATIONS = frozenset({"id", "article", "from", "until", "duty", "confidence", "scope"})
MANIFEST, TESTS, OUTSIDE = "pack.toml", "tests.csv", "outside"
FIX = "docs/how-to/rules.md says what a pack holds"
FACTS_FIX = "the reference on rules lists all facts and their values"
# What is kept of a rule that applied, a bit each.
MOST_RULES = 64


class Rule(NamedTuple):
    """One rule: what it says, of which modes (bits), on which article, and from when to when it is in force (s)."""

    id: str
    effect: pst.Effect
    modes: int
    article: str
    duty: str
    confidence: Confidence
    outside: bool
    from_s: float
    until_s: float
    template: pst.Template

    def in_force(self, at_s: float) -> bool:
        """Whether it holds at a moment."""
        return self.from_s <= at_s < self.until_s


class RuleSet(NamedTuple):
    """Rules that stand in one file, and deny together what none of them permits: its name is PACK/FILE."""

    name: str
    rules: tuple[Rule, ...]

    def at(self, at_s: float) -> RuleSet:
        """The rules that are in force at a moment."""
        return self._replace(rules=tuple(rule for rule in self.rules if rule.in_force(at_s)))


class Pack(NamedTuple):
    """A pack of rules, read and checked.

    `province` is the id of the province whose rules they are, or empty; `tests` what `tests.csv` holds (`trials.py`).
    """

    name: str
    title: str
    version: str
    sources: tuple[str, ...]
    province: str
    sets: tuple[RuleSet, ...]
    tests: str

    @property
    def from_s(self) -> float:
        """The first second at which each of its sets says something (Unix time)."""
        return max(min(rule.from_s for rule in rules.rules) for rules in self.sets)


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What `pack.toml` holds."""

    title: str
    version: str
    rules: tuple[str, ...]
    sources: tuple[str, ...]
    province: str = ""


@cache
def shipped() -> tuple[Pack, ...]:
    """The packs that come with Karez, in the order of their names."""
    found = sorted((one for one in folder().iterdir() if (one / MANIFEST).is_file()), key=lambda one: one.name)
    return tuple(_read(one) for one in found)


def loaded(folders: Iterable[Path]) -> tuple[Pack, ...]:
    """The packs that come with Karez and those in folders; one of the same name takes the place of ours.

    Raises:
        InputError: a folder holds no pack, or its rules cannot be used; names every rule.
    """
    packs = {pack.name: pack for pack in shipped()}
    for path in folders:
        pack = _read(path)
        packs[pack.name] = pack
    return tuple(packs.values())


def _read(where: Traversable) -> Pack:
    manifest = _manifest(where)
    problems, sets = list[Problem](), list[RuleSet]()
    for file in manifest.rules:
        if Path(file).name != file:
            problems.append(Problem(where.name, f"names rules outside of it, {file}", "put them into the folder"))
            continue
        name = f"{where.name}/{file.removesuffix('.cedar')}"
        rules = list(_rules(where / file, name, problems))
        if len(rules) > MOST_RULES:
            what = f"has {len(rules)} rules, more than {MOST_RULES}"
            problems.append(Problem(name, what, "make two files of it, each of which must permit"))
        if not rules and not problems:
            problems.append(Problem(name, "has no rule, and so denies all", "name it only when it has some"))
        sets.append(RuleSet(name, tuple(rules)))
    if not manifest.rules:
        problems.append(Problem(where.name, f"names no rules in {MANIFEST}", FIX))
    if problems:
        raise InputError(problems)
    return Pack(
        where.name, manifest.title, manifest.version, manifest.sources, manifest.province, tuple(sets), _tests(where)
    )


def _tests(where: Traversable) -> str:
    file = where / TESTS
    try:
        return file.read_text("utf-8") if file.is_file() else ""
    except UnicodeDecodeError as error:
        raise InputError.of(f"{where.name}/{TESTS}", f"cannot be read: {error}", FIX) from error


def _manifest(where: Traversable) -> _Manifest:
    try:
        held = tomllib.loads((where / MANIFEST).read_text("utf-8"))
        return msgspec.convert(held, _Manifest)
    except OSError as error:
        raise InputError.of(str(where), f"holds no pack of rules: no {MANIFEST}", FIX) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InputError.of(f"{where.name}/{MANIFEST}", f"cannot be read: {error}", FIX) from error


def _rules(file: Traversable, name: str, problems: list[Problem]) -> Iterator[Rule]:
    """The rules of a file; what is wrong with it goes to `problems`."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(name, f"cannot be read: {error}", FIX))
        return
    try:
        parsed = cedarpy.policies_to_pst(text)
    except ValueError as error:
        problems.append(Problem(name, f"does not parse: {error}", "mend the rule"))
        return
    if parsed.templates:
        problems.append(Problem(name, "has a template, which says nothing by itself", "write rules without ?slots"))
    ids = {key: rule.annotations.get("id", key) for key, rule in parsed.static_policies.items()}
    for said in cedarpy.validate_policies(text, schema()).errors:
        what = said.error.replace(f"for policy `{said.policy_id}`, ", "")
        problems.append(Problem(name, what, FACTS_FIX, (ids.get(said.policy_id or "", ""),)))
    seen = set[str]()
    for key, template in parsed.static_policies.items():
        if ids[key] in seen:
            problems.append(Problem(name, "has two rules of the same id", "give each its own", (ids[key],)))
        seen.add(ids[key])
        try:
            yield _rule(template)
        except ValueError as error:
            problems.append(Problem(name, str(error), "mend the rule", (ids[key],)))


def _rule(template: pst.Template) -> Rule:
    """The rule of a policy.

    Raises:
        ValueError: something is missing, or cannot be used here.
    """
    said = template.annotations
    if strange := set(said) - ANNOTATIONS:
        raise ValueError(f"has @{', @'.join(sorted(strange))}; annotations are @{', @'.join(sorted(ANNOTATIONS))}")
    for name in ("id", "article", "from"):
        if not said.get(name, "").strip():
            raise ValueError(f"has no @{name}")
    confidence: dict[str, Confidence] = {name: name for name in get_args(Confidence)}
    if said.get("scope", OUTSIDE) != OUTSIDE:
        raise ValueError(f"@scope is {said['scope']!r}, not {OUTSIDE}")
    if said.get("confidence", "M") not in confidence:
        raise ValueError(f"@confidence is {said['confidence']!r}, not H, M or L")
    if not isinstance(template.principal, pst.ScopeAny) or not isinstance(template.resource, pst.ScopeAny):
        raise ValueError("asks who in its head; ask for facts in `when`, which are known of everybody")
    from_s, until_s = _day_s(said["from"]), _day_s(said["until"]) if "until" in said else math.inf
    if until_s <= from_s:
        raise ValueError(f"is in force from {said['from']} until {said['until']}, which is never")
    return Rule(
        id=said["id"],
        effect=template.effect,
        modes=_modes(template.action),
        article=said["article"],
        duty=said.get("duty", ""),
        confidence=confidence[said.get("confidence", "M")],
        outside="scope" in said,
        from_s=from_s,
        until_s=until_s,
        template=template,
    )


def _modes(action: pst.ActionConstraint) -> int:
    """The modes (bits) that a rule is on."""
    if isinstance(action, pst.ScopeAny):
        return ALL_MODES
    entities: Sequence[pst.EntityOrSlot] = (action.entity,) if isinstance(action, pst.ActionEq) else action.entities
    bits = 0
    for entity in entities:
        assert isinstance(entity, pst.EntityUid)
        if entity.id not in groups():
            raise ValueError(f"is on {entity.id!r}; modes are {', '.join(groups())}")
        bits |= groups()[entity.id]
    return bits


def _day_s(text: str) -> float:
    """The first second (Unix time) of a day, UTC."""
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no day as 2026-01-31") from None
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp()
