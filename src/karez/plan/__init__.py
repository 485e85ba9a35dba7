"""Decisions as values: what to do, what that relies on, what it costs and how good it is proven to be."""

from karez.plan.plan import (
    Action,
    Alternative,
    Cell,
    NewRow,
    Plan,
    Proof,
    applied,
    expected,
    inverse,
    is_reversible,
    taken,
)
from karez.plan.reads import Read, changed

__all__ = [
    "Action",
    "Alternative",
    "Cell",
    "NewRow",
    "Plan",
    "Proof",
    "Read",
    "applied",
    "changed",
    "expected",
    "inverse",
    "is_reversible",
    "taken",
]
