"""Turns in a row: observe, decide, record, act. All that is not pure stands here, and it is little.

A decision is on the disk before the guard hears of it, and its hash is the receipt that the guard asks for. A turn that
could not be recorded is as if it had not been: what it was told is told to the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from karez.adapters.guard import Command, Guard, Reply, WritePath, decides
from karez.adapters.network import Network, sound
from karez.detect.ears import Ears
from karez.errors import InputError, KarezError
from karez.loop.state import Approval, Decisions, Inputs, Policy, State
from karez.loop.turn import turn
from karez.plan import Plan
from karez.record.log import GENESIS, Record, chained, read
from karez.twin import World
from karez.twin.telemetry import StateRows

People = Callable[[float, State], tuple[tuple[Plan, ...], tuple[Approval, ...]]]


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The first event of a record: what the run began with, and the stored revision that held it (0: none)."""

    state: str
    revision: int = 0


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the record: all that came into one turn, the policy of that turn, and all that it decided."""

    inputs: Inputs
    policy: Policy
    decisions: Decisions


def nobody(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
    """No plans and no approvals: a loop on its own."""
    return (), ()


@dataclass
class Runner:
    """A loop over one network, writing to one record.

    `ears` listen to its telemetry. `replies` are what the guard said, `unheard` what the network told, `raised` what
    the ears noticed, and `plans` and `approvals` what people brought, since the last turn that was recorded.
    """

    network: Network
    guard: WritePath
    record: Record
    policy: Policy
    state: State
    ears: Ears
    replies: tuple[Reply, ...] = ()
    raised: tuple[StateRows, ...] = ()
    unheard: tuple[StateRows, ...] = ()
    plans: tuple[Plan, ...] = ()
    approvals: tuple[Approval, ...] = ()

    @classmethod
    def start(
        cls, world: World, network: Network, record: Record, policy: Policy, *, at_s: float, revision: int = 0
    ) -> Runner:
        """A runner that has recorded its start and seen nothing yet."""
        state = State.of(world)
        record.append("start", at_s, encode(Start(state=state.digest, revision=revision)))
        return cls._of(state, network, record, policy)

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

    def turn(self, at_s: float, people: People = nobody) -> Decisions:
        """What was decided at `at_s`; by then the guard has done it, and the record holds it.

        Raises:
            InputError: the record takes no more; nothing was decided or done, but what the guard takes back alone.
        """
        inputs = self._told(at_s, people)
        state, decisions = turn(self.state, inputs, self.policy)
        event = Turned(inputs=inputs, policy=self.policy, decisions=decisions)
        try:
            receipt = self.record.append("turn", at_s, encode(event))
        except InputError:
            self.replies = (*self.replies, *self.guard.tick(at_s))
            raise
        self.state, self.replies = state, ()
        self.unheard, self.raised, self.plans, self.approvals = (), (), (), ()
        for command in decisions.confirmed:
            self.guard.confirm(command)
        done = (self.guard.execute(command, receipt, state.world, at_s=at_s) for command in decisions.commands)
        self.replies = (*done, *self.guard.tick(at_s))
        return decisions

    def end(self, at_s: float) -> None:
        """Record that the run has come to its end, so that a record that was cut off can be told from a whole one."""
        self.record.append("end", at_s, b"{}")

    def _told(self, at_s: float, people: People) -> Inputs:
        """All that this turn is told; what cannot be believed or recorded is set aside, and said."""
        changes, failed = self._observed(at_s)
        believed, aside = sound(changes, self.state.world)
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


def decided(record: Record) -> Callable[[bytes, Command], bool]:
    """Whether the event that a receipt stands for decided a command, and is whole: what a guard asks."""
    return lambda receipt, command: decides(record.body(receipt), command, Turned)


def started(path: Path) -> Start:
    """What the run of a record began with.

    Raises:
        InputError: the file is no record, or one of something else.
    """
    for event in read(path):
        try:
            return msgspec.json.decode(event.body, type=Start)
        except msgspec.MsgspecError as error:
            what = f"is no record of a run ({error})"
            raise InputError.of(str(path), what, "name the file that a run wrote") from error
    raise InputError.of(str(path), "is empty", "name the file that a run wrote")


def recorded(path: Path) -> tuple[float, list[Decisions]]:
    """When a recorded run began (Unix time), and what each of its turns decided, as the record has it.

    Raises:
        InputError: the file is no record, or one of something else.
    """
    started(path)
    events = list(read(path))
    turns = [_turned(event.body, event.seq).decisions for event in events if event.kind == "turn"]
    return events[0].at_s, turns


def replay(world: World, path: Path) -> Iterator[Decisions]:
    """What each turn of a record decides when it is decided again.

    Raises:
        KarezError: a turn decides otherwise than the record says, or the record does not start from `world`.
        InputError: the file is no record.
    """
    return (decisions for _, decisions in _replayed(world, path))


def resumed(world: World, path: Path) -> State:
    """The state that a record leads to, from the world that it started from.

    Raises:
        KarezError: the record does not come out again, or does not start from `world`.
        InputError: the file is no record.
    """
    states = deque((state for state, _ in _replayed(world, path)), maxlen=1)
    return states[0] if states else State.of(world)


def encode(value: msgspec.Struct) -> bytes:
    """The bytes that stand for a value in the record."""
    return msgspec.json.encode(value, order="deterministic")


def _replayed(world: World, path: Path) -> Iterator[tuple[State, Decisions]]:
    state, head = State.of(world), GENESIS
    if started(path).state != state.digest:
        raise KarezError("the record starts from another network; name the network and revision it was made on")
    for event in read(path):
        body = event.body
        if event.kind == "turn":
            was = _turned(event.body, event.seq)
            state, decisions = turn(state, was.inputs, was.policy)
            body = encode(Turned(inputs=was.inputs, policy=was.policy, decisions=decisions))
        head = chained(head, event.seq, event.at_s, event.kind, body)
        if head != event.hash:
            raise KarezError(f"event {event.seq} (at {event.at_s:.0f} s) comes out otherwise than the record says")
        if event.kind == "turn":
            yield state, decisions


def _turned(body: bytes, seq: int) -> Turned:
    try:
        return msgspec.json.decode(body, type=Turned)
    except msgspec.MsgspecError as error:
        raise KarezError(f"event {seq} was altered: {error}") from error


def _recordable(said: Plan | Approval) -> bool:
    """Whether it comes out of the record as it went in: JSON knows neither infinity nor NaN, nor half a character."""
    try:
        return bool(msgspec.json.decode(encode(said), type=type(said)) == said)
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return False
