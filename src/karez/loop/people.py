"""People who are not here: what the loop proposes goes into a box, and what they approved comes out of it, once.

Signatures, scopes and expiry are judged by the box when an approval is handed in and again when it is taken
(`karez.record.approvals`). What asks for two persons waits for two.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from karez.loop.state import Approval, State
from karez.plan import Plan
from karez.plan.kinds import ORDERS, TAKES_OUT
from karez.record.approvals import Box

# Kinds of action that ask for two persons.
TWO_PERSONS = frozenset({"restart_device"}) | ORDERS | TAKES_OUT


@dataclass
class ThroughBox:
    """The people behind a box, for the leader of an epoch; call it as `people` of a runner.

    `proposed` has the plans that it put into the box and that have not left it yet.
    """

    box: Box
    epoch: int
    two_persons: Collection[str] = TWO_PERSONS
    proposed: set[str] = field(default_factory=set)

    def __call__(self, at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
        """No plans, and an approval for each waiting plan that enough people have approved by now."""
        waiting = {plan.id: plan for plan in state.waiting}
        for name in sorted(self.proposed - waiting.keys()):
            self.box.withdraw(name, "it does not wait any more")
        for name, plan in waiting.items():
            if name not in self.proposed:
                self.box.propose(plan, self._needs(plan), at_s=at_s)
        self.proposed = set(waiting)
        taken = ((name, self.box.take(name, self.epoch, at_s=at_s)) for name in waiting)
        return (), tuple(Approval(name, ", ".join(word.principal for word in words)) for name, words in taken if words)

    def _needs(self, plan: Plan) -> int:
        return 2 if any(action.kind in self.two_persons for action in plan.actions) else 1
