"""The tests of the rules on data."""

from __future__ import annotations

import msgspec

from karez.measure import policy
from karez.measure.policy import reference, trials
from karez.operations import Answer, PolicyTestQuestion
from karez.operations.policy import day, moment_s, packs_of

# Questions by chance in which packs are searched for contradictions.
DRAWN = 200_000
# Names that may stand for any, beside those that rules ask for.
NAMES = ("unknown", "CN", "CN-GZ", "DE", "US")


class PackRow(msgspec.Struct, frozen=True, kw_only=True):
    """A pack, its rules and tests, those that failed, and its rules that are not in force at the moment."""

    pack: str
    version: str
    title: str
    rules: int
    tests: int
    failed: int
    not_in_force: int


class PolicyTestAnswer(Answer, frozen=True, kw_only=True):
    """What is wrong with packs: tests that fail, rules without one, and rules that other packs leave nothing of."""

    packs: tuple[PackRow, ...]
    failures: tuple[str, ...]
    contradictions: tuple[str, ...]


def run(question: PolicyTestQuestion) -> PolicyTestAnswer:
    """The tests of all packs, and a search for contradictions.

    Raises:
        InputError: a pack cannot be read or used, or a test of it cannot be read.
    """
    at_s, packs = moment_s(question.at), packs_of(question.packs)
    failed = {pack.name: tuple(trials.failures(pack)) for pack in packs}
    against = tuple(trials.contradictions(packs, at_s, reference.drawn(DRAWN, question.seed, _names(packs))))
    rows = tuple(_row(pack, len(failed[pack.name]), at_s) for pack in packs)
    wrong = tuple(f"{name}: {what}" for name, some in failed.items() for what in some)
    contradictions = tuple(f"{one.rule} is never of use: {', '.join(one.by) or 'several packs'}" for one in against)
    tests = sum(row.tests for row in rows)
    return PolicyTestAnswer(
        headline=(
            f"{len(rows)} packs, {sum(row.rules for row in rows)} rules, {tests} tests: "
            f"{len(wrong) or 'none'} failed, {len(contradictions) or 'no'} contradictions ({policy.NO_ADVICE})"
        ),
        citation=(
            f"each pack by its tests.csv; contradictions as of {day(at_s)} over {DRAWN:,} questions by chance, "
            f"seed {question.seed}"
        ),
        meets_target=not wrong and not contradictions,
        packs=rows,
        failures=wrong,
        contradictions=contradictions,
    )


def _names(packs: tuple[policy.Pack, ...]) -> tuple[str, ...]:
    """Names of countries and provinces that rules may tell apart."""
    asked = {name for pack in packs for one in pack.sets for rule in one.rules for name in policy.named_in(rule)}
    return tuple(sorted({*NAMES, *asked}))


def _row(pack: policy.Pack, failed: int, at_s: float) -> PackRow:
    rules = [rule for one in pack.sets for rule in one.rules]
    return PackRow(
        pack=pack.name,
        version=pack.version,
        title=pack.title,
        rules=len(rules),
        tests=len(trials.trials(pack)),
        failed=failed,
        not_in_force=sum(not rule.in_force(at_s) for rule in rules),
    )
