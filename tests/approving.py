"""Plans of people, keys and principals, for the tests of approvals."""

from __future__ import annotations

from typing import Any

from karez.plan import Action, Cell, NewRow, Plan, Proof
from karez.record.principals import key_of, public_key
from karez.twin import Table

NOW_S = 1_000.0
DRAIN = Action(
    kind="drain_link",
    subject="l03",
    sets=(Cell("links", "l03", "drained", False, True),),
    blast_radius=("l03",),
    expires_at_s=1e6,
)
RESTART = Action(
    kind="restart_device",
    subject="r2",
    sets=(Cell("equipment", "r2", "boots", 0, 1),),
    blast_radius=("c2",),
    expires_at_s=1e6,
)
START = Action(
    kind="start_job",
    subject="j1",
    adds=(NewRow("assignments", "j1", {"server": "s0", "chips": 512}),),
    blast_radius=("s0",),
    expires_at_s=1e6,
)
ORDER = Action(
    kind="order_equipment",
    subject="c1",
    adds=(NewRow("equipment", "e1", {"site": "c1", "kind": "edge_inference"}),),
    blast_radius=("c1",),
    expires_at_s=1e6,
)
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
