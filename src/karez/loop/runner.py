"""Turns in a row: observe, decide, record, act. All that is not pure stands here, and it is little.

A decision is on the disk before the guard hears of it, and its hash is the receipt that the guard asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from karez.adapters.guard import Guard, Reply
from karez.adapters.network import Network
from karez.errors import InputError, KarezError
from karez.loop.turn import Approval, Decisions, Inputs, Policy, State, turn
from karez.plan import Plan
from karez.record.log import GENESIS, Record, chained, read
from karez.twin import World

People = Callable[[float, State], tuple[tuple[Plan, ...], tuple[Approval, ...]]]


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The first event of a record: what the run began with, and the stored revision that held it (0: none)."""

    policy: Policy
    state: str
    revision: int = 0


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the record: all that came into one turn, and all that it decided."""

    inputs: Inputs
    decisions: Decisions


def nobody(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
    """No plans and no approvals: a loop on its own."""
    return (), ()


@dataclass
class Runner:
    """A loop over one network, writing to one record; `replies` are what the guard said since the last turn."""

    network: Network
    guard: Guard
    record: Record
    policy: Policy
    state: State
    replies: tuple[Reply, ...] = ()

    @classmethod
    def start(
        cls, world: World, network: Network, record: Record, policy: Policy, *, at_s: float, revision: int = 0
    ) -> Runner:
        """A runner that has recorded its start and seen nothing yet."""
        state = State.of(world)
        record.append("start", at_s, encode(Start(policy=policy, state=state.digest, revision=revision)))
        return cls(network, Guard(network, record.holds), record, policy, state)

    def turn(self, at_s: float, people: People = nobody) -> Decisions:
        """What was decided at `at_s`; by then the guard has done it, and the record holds it."""
        plans, approvals = people(at_s, self.state)
        inputs = Inputs(
            at_s=at_s,
            changes=self.network.observe(at_s),
            replies=(*self.replies, *self.guard.tick(at_s)),
            plans=plans,
            approvals=approvals,
        )
        self.state, decisions = turn(self.state, inputs, self.policy)
        receipt = self.record.append("turn", at_s, encode(Turned(inputs=inputs, decisions=decisions)))
        for command in decisions.confirmed:
            self.guard.confirm(command)
        self.replies = tuple(
            self.guard.execute(command, receipt, self.state.world, at_s=at_s) for command in decisions.commands
        )
        return decisions


def started(path: Path) -> Start:
    """What the run of a record began with.

    Raises:
        InputError: the file is no record, or one of something else.
    """
    for event in read(path):
        try:
            return msgspec.json.decode(event.body, type=Start)
        except msgspec.MsgspecError as error:
            raise InputError.of(
                str(path), f"is no record of a run ({error})", "name the file that a run wrote"
            ) from error
    raise InputError.of(str(path), "is empty", "name the file that a run wrote")


def recorded(path: Path) -> tuple[float, list[Decisions]]:
    """When a recorded run began (Unix time), and what each of its turns decided, as the record has it.

    Raises:
        InputError: the file is no record, or one of something else.
    """
    started(path)
    events = list(read(path))
    turns = [msgspec.json.decode(event.body, type=Turned).decisions for event in events if event.kind == "turn"]
    return events[0].at_s, turns


def replay(world: World, path: Path) -> Iterator[Decisions]:
    """What each turn of a record decides when it is decided again.

    Raises:
        KarezError: a turn decides otherwise than the record says, or the record does not start from `world`.
        InputError: the file is no record.
    """
    state, policy, head = State.of(world), Policy(), GENESIS
    for event in read(path):
        if event.kind == "start":
            start = msgspec.json.decode(event.body, type=Start)
            policy = start.policy
            if start.state != state.digest:
                raise KarezError("the record starts from another network; name the network and revision it was made on")
            body = encode(start)
        else:
            inputs = msgspec.json.decode(event.body, type=Turned).inputs
            state, decisions = turn(state, inputs, policy)
            body = encode(Turned(inputs=inputs, decisions=decisions))
            yield decisions
        head = chained(head, event.seq, event.at_s, event.kind, body)
        if head != event.hash:
            raise KarezError(f"event {event.seq} (at {event.at_s:.0f} s) comes out otherwise than the record says")


def encode(value: msgspec.Struct) -> bytes:
    """The bytes that stand for a value in the record."""
    return msgspec.json.encode(value, order="deterministic")
