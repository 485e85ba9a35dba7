"""Turns in a row: observe, decide, record, act. All that is not pure stands here, and it is little.

A decision is on the disk before the guard hears of it, and its hash is the receipt that the guard asks for. A turn that
could not be recorded is as if it had not been: what it was told is told to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from karez.adapters.guard import Guard, Reply, WritePath
from karez.adapters.network import Network, sound
from karez.detect.ears import Ears
from karez.errors import InputError
from karez.loop.recorded import Turned, decided, encode
from karez.loop.snapshot import Ground, Start, taken
from karez.loop.state import Approval, Decisions, Inputs, Policy, State
from karez.loop.turn import turn
from karez.plan import Plan
from karez.record.log import Entry, Record
from karez.record.seal import seal
from karez.twin import World
from karez.twin.telemetry import StateRows

# After how many turns all that is known is recorded, so that nobody need decide them all again: who takes over does,
# at a millisecond a turn or more, and nobody leads meanwhile.
SNAPSHOT_TURNS = 600
People = Callable[[float, State], tuple[tuple[Plan, ...], tuple[Approval, ...]]]


def nobody(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
    """No plans and no approvals: a loop on its own."""
    return (), ()


@dataclass
class Runner:
    """A loop over one network, writing to one record.

    `ears` listen to its telemetry. Where it is known what the run stands on (`ground`), a snapshot is recorded every
    `SNAPSHOT_TURNS`. `replies` are what the guard said, `unheard` what the network told, `raised` what the ears
    noticed, and `plans` and `approvals` what people brought, since the last turn that was recorded.
    """

    network: Network
    guard: WritePath
    record: Record
    policy: Policy
    state: State
    ears: Ears
    ground: Ground | None = None
    replies: tuple[Reply, ...] = ()
    raised: tuple[StateRows, ...] = ()
    unheard: tuple[StateRows, ...] = ()
    plans: tuple[Plan, ...] = ()
    approvals: tuple[Approval, ...] = ()
    turns: int = 0
    since_snapshot: int = 0

    @classmethod
    def start(
        cls, world: World, network: Network, record: Record, policy: Policy, *, at_s: float, revision: int = 0
    ) -> Runner:
        """A runner that has recorded its start and seen nothing yet."""
        state = State.of(world)
        start = Start(state=state.digest, revision=revision)
        record.append("start", at_s, encode(start))
        runner = cls._of(state, network, record, policy)
        runner.ground = Ground(start, world)
        return runner

    @classmethod
    def resume(cls, state: State, network: Network, record: Record, policy: Policy) -> Runner:
        """A runner that goes on where another ended, in the state that its record leads to (`resumed`).

        What was sent and never answered counts as lost after a while, and is undone like any act that is not seen.
        `policy` must have a higher epoch than that of the loop before, which may not be dead but slow.
        """
        return cls._of(state, network, record, policy)

    @classmethod
    def _of(cls, state: State, network: Network, record: Record, policy: Policy) -> Runner:
        ears, raised = Ears.resumed(state.intended, state.actual["signals"])
        return cls(network, Guard(network, decided(record)), record, policy, state, ears, raised=raised)

    def turn(
        self, at_s: float, people: People = nobody, told: Callable[[Decisions], None] = lambda decided: None
    ) -> Decisions:
        """What was decided at `at_s`; by then the guard has done it, and the record holds it.

        It is `told` before it is done.

        Raises:
            InputError: the record takes no more; nothing was decided or done, but what the guard takes back alone.
        """
        inputs = self._told(at_s, people)
        state, decisions = turn(self.state, inputs, self.policy)
        event = Turned(inputs=inputs, policy=self.policy, decisions=decisions)
        snapshot = tuple(self._snapshot(at_s))
        try:
            receipt = self.record.append_all([*snapshot, ("turn", at_s, encode(event))])[-1]
        except InputError:
            self.replies = (*self.replies, *self.guard.tick(at_s))
            raise
        self.state, self.replies, self.turns = state, (), self.turns + 1
        self.since_snapshot = 1 if snapshot else self.since_snapshot + 1
        self.unheard, self.raised, self.plans, self.approvals = (), (), (), ()
        told(decisions)
        for command in decisions.confirmed:
            self.guard.confirm(command)
        done = (self.guard.execute(command, receipt, state.world, at_s=at_s) for command in decisions.commands)
        self.replies = (*done, *self.guard.tick(at_s))
        return decisions

    def end(self, at_s: float) -> None:
        """Record that the run has come to its end, so that a record that was cut off can be told from a whole one."""
        self.record.append("end", at_s, b"{}")

    def seal(self, folder: Path, at_s: float) -> Path | None:
        """The closed file, in `folder`, of all that was recorded before; the run goes on from a snapshot.

        Raises:
            InputError: the disk took no more, or an event was altered; every event is still in one place at least.
            ValueError: it is not known what the run stands on.
        """
        if self.ground is None:
            raise ValueError("a run that nobody knows the start of has no snapshot to go on from")
        closed = seal(self.record, folder, at_s, state=taken(self.ground, self.state))
        self.turns = self.since_snapshot = 0
        return closed

    def _snapshot(self, at_s: float) -> Iterator[Entry]:
        """What is known before this turn, where it is time for that."""
        if self.ground is not None and self.since_snapshot >= SNAPSHOT_TURNS:
            yield "snapshot", at_s, taken(self.ground, self.state)

    def _told(self, at_s: float, people: People) -> Inputs:
        """All that this turn is told; what cannot be believed or recorded is set aside, and said."""
        changes, failed = self._observed(at_s)
        believed, aside = sound(changes, self.state.world)
        if not failed:
            aside = (*aside, *self.ears.aside)
        plans, approvals = people(at_s, self.state)
        self.plans = (*self.plans, *(plan for plan in plans if plan not in self.plans))
        self.approvals = (*self.approvals, *(word for word in approvals if word not in self.approvals))
        good = tuple(plan for plan in self.plans if _recordable(plan))
        words = tuple(word for word in self.approvals if _recordable(word))
        if lost := len(self.plans) + len(self.approvals) - len(good) - len(words):
            aside = (*aside, f"{lost} plans or approvals hold what no record can")
        return Inputs(
            at_s=at_s,
            changes=(*believed, *self.raised),
            replies=tuple(self._believed(reply) for reply in self.replies),
            plans=good,
            approvals=words,
            aside=aside,
            failed=failed,
        )

    def _believed(self, reply: Reply) -> Reply:
        """The reply, with what was read back only where it can be believed."""
        return msgspec.structs.replace(reply, read_back=sound(reply.read_back, self.state.world)[0])

    def _observed(self, at_s: float) -> tuple[tuple[StateRows, ...], str]:
        """What the network told, and why it told nothing; its telemetry goes to the ears."""
        try:
            self.unheard = (*self.unheard, *self.network.observe(at_s))
            self.raised = (*self.raised, *self.ears.hear(self.network.hear(at_s), at_s))
        except Exception as error:  # noqa: BLE001  Whatever an adapter or a detector raises, the turn failed.
            return self.unheard, f"{type(error).__name__}: {error}"
        return self.unheard, ""


def _recordable(said: Plan | Approval) -> bool:
    """Whether it comes out of the record as it went in: JSON knows neither infinity nor NaN, nor half a character."""
    try:
        return bool(msgspec.json.decode(encode(said), type=type(said)) == said)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return False
