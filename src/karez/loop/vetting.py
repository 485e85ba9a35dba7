"""Plans checked as `karez.plan.check` does, and each certificate once for the network that it is of.

What a certificate proves rests on the plan and the intended twin alone, and the same plan is checked when it is
brought, when it is approved and when the run is decided again.
"""

from __future__ import annotations

import hashlib

import msgspec

from karez.errors import Problem
from karez.plan import Plan
from karez.plan.check import CERTIFICATES, check
from karez.twin import World

# The plans (SHA-256 of all that they hold) whose certificates have held, each on the intended twin of a digest; the
# oldest go first.
_PROVEN: dict[tuple[bytes, str], None] = {}
MOST_PROVEN = 16


def vetted(plan: Plan, world: World, *, at_s: float) -> list[Problem]:
    """Every reason not to apply `plan` to `world` at `at_s`, as `check` tells them; none if it may be applied."""
    if plan.planner not in CERTIFICATES:
        return check(plan, world, at_s=at_s)
    content = msgspec.json.encode(plan, order="deterministic")
    which = (hashlib.sha256(content).digest(), world.intended.digest)
    if which in _PROVEN and not check(_uncertified(plan), world, at_s=at_s):
        return []
    problems = check(plan, world, at_s=at_s)
    if not problems:
        _remember(which)
    return problems


def _uncertified(plan: Plan) -> Plan:
    """The plan as one of a planner whose plans carry no certificate."""
    return msgspec.structs.replace(plan, planner="")


def _remember(which: tuple[bytes, str]) -> None:
    _PROVEN[which] = None
    for oldest in list(_PROVEN)[:-MOST_PROVEN]:
        _PROVEN.pop(oldest, None)
