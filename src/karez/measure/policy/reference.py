"""What Cedar itself says, one question at a time: the oracle of the columns, and the answer in a dispute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cedarpy
import msgspec
import numpy as np
from cedarpy import pst

from karez.measure.policy.law import ABSENT, Facts, Law
from karez.measure.policy.vocabulary import ENTITIES, MODES, Holder, Mode, facts, schema


class Said(msgspec.Struct, frozen=True):
    """What a set of rules says of one question in one mode, and the ids of the rules that decide."""

    allowed: bool
    rules: frozenset[str]


class Reference:
    """Cedar, with the rules of a law."""

    def __init__(self, law: Law) -> None:
        """Give Cedar the rules, set by set."""
        self._schema = cedarpy.Schema.from_str(schema())
        self._sets = []
        for rules in law.sets:
            policies = {rule.id: replace(rule.template, id=rule.id) for rule in rules.rules}
            self._sets.append(cedarpy.PolicySet.from_pst(pst.PolicySet({}, policies, ())))

    def said(self, asked: Facts, modes: Sequence[Mode] = MODES) -> list[list[list[Said]]]:
        """By set, question and mode, what Cedar says."""
        rows = [values(asked, row) for row in range(len(asked))]
        entities = self._entities(rows)
        requests = [_request(row, held["context"], mode) for row, held in enumerate(rows) for mode in modes]
        return [self._of_set(policies, requests, entities, len(modes)) for policies in self._sets]

    def _of_set(
        self, policies: cedarpy.PolicySet, requests: list[dict[str, Any]], entities: cedarpy.Entities, modes: int
    ) -> list[list[Said]]:
        found = []
        for one in cedarpy.is_authorized_batch(requests, policies, entities):
            if one.diagnostics.errors:
                raise ValueError(f"Cedar could not decide: {'; '.join(map(str, one.diagnostics.errors))}")
            found.append(Said(one.decision == cedarpy.Decision.Allow, frozenset(one.diagnostics.reasons)))
        return [found[start : start + modes] for start in range(0, len(found), modes)]

    def _entities(self, rows: Sequence[dict[Holder, dict[str, Any]]]) -> cedarpy.Entities:
        held = [
            {"uid": {"type": kind, "id": str(row)}, "attrs": one[holder], "parents": []}
            for row, one in enumerate(rows)
            for holder, kind in ENTITIES.items()
        ]
        return cedarpy.Entities.from_json_str(msgspec.json.encode(held).decode(), self._schema)


def values(asked: Facts, row: int) -> dict[Holder, dict[str, Any]]:
    """The facts of one question by their holder, as Cedar takes them; a number that is not known is left out."""
    found: dict[Holder, dict[str, Any]] = {"resource": {}, "principal": {}, "context": {}}
    for name in asked.columns:
        fact, value = facts()[name], asked.value(name, row)
        if value is not None:
            found[fact.holder][fact.name] = value
    return found


def drawn(rows: int, seed: int, names: Sequence[str]) -> Facts:
    """Facts by chance, each value as likely as any other; numbers lie about the lines that rules draw."""
    chance, columns = np.random.default_rng(seed), {}
    for fact in facts().values():
        if fact.kind == "choice":
            columns[fact.id] = chance.integers(0, len(fact.values), rows, np.uint8)
        elif fact.kind == "name":
            columns[fact.id] = chance.integers(0, len(names), rows, np.int32)
        elif fact.kind == "flag":
            columns[fact.id] = chance.integers(0, 2, rows, np.uint8).astype(bool)
        else:
            lines = chance.choice([0, 10_000, 100_000, 1_000_000], rows) + chance.integers(-1, 2, rows)
            columns[fact.id] = np.maximum(lines, ABSENT)
    return Facts(columns, tuple(names))


def _request(row: int, context: dict[str, Any], mode: Mode) -> dict[str, Any]:
    return {
        "principal": f'{ENTITIES["principal"]}::"{row}"',
        "action": f'Action::"{mode}"',
        "resource": f'{ENTITIES["resource"]}::"{row}"',
        "context": context,
    }
