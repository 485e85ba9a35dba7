"""Plans of people, keys and principals, for the tests of approvals."""

from __future__ import annotations

from typing import Any

from karez.plan import Action, Plan, Proof
from karez.record.principals import key_of, public_key
from karez.twin import Table

NOW_S = 1_000.0
# Who may approve anything: the names, whose keys are those of their first letters.
PERSONS = ("li", "wang", "zhao")


def plan_of(*actions: Action, made_at_s: float = 0.0, price_cny: float = 0.0, summary: str = "") -> Plan:
    return Plan(
        planner="person",
        question={},
        revision="",
        made_at_s=made_at_s,
        reads=(),
        actions=actions,
        price_cny=price_cny,
        proof=Proof(value=0.0, bound=0.0, unit="CNY", how="test"),
        summary=summary,
    )


def key(name: str) -> Any:
    return key_of(name[:1].encode() * 32)


def persons(*names: str) -> Table:
    given = names or PERSONS
    return Table.of(
        "principals",
        {
            "id": list(given),
            "kind": ["person"] * len(given),
            "public_key": [public_key(key(name)) for name in given],
            "scopes": ["approve:*/*"] * len(given),
        },
    )
