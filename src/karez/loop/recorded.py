"""What a run records, and how that is decided again: from its start, or from a snapshot on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from karez.adapters.guard import Command, decides
from karez.errors import InputError, KarezError
from karez.loop.snapshot import Ground, Start, restored, start_of, taken
from karez.loop.state import Decisions, Inputs, Policy, State
from karez.loop.turn import turn
from karez.record.log import GENESIS, Event, Record, chained, last_snapshot, read
from karez.twin import World


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the record: all that came into one turn, the policy of that turn, and all that it decided."""

    inputs: Inputs
    policy: Policy
    decisions: Decisions


class Again(NamedTuple):
    """A turn decided again: what it was told and allowed, what was known after it, and what it decided."""

    inputs: Inputs
    policy: Policy
    state: State
    decisions: Decisions


def encode(value: msgspec.Struct) -> bytes:
    """The bytes that stand for a value in the record."""
    return msgspec.json.encode(value, order="deterministic")


def decided(record: Record) -> Callable[[bytes, Command], bool]:
    """Whether the event that a receipt stands for decided a command, and is whole: what a guard asks."""
    return lambda receipt, command: decides(record.body(receipt), command, Turned)


def started(path: Path | str) -> Start:
    """What the run of a record began with; where its beginning was sealed away, its first snapshot says so.

    Raises:
        InputError: the file is no record, or one of something else.
    """
    for event in read(path):
        if event.kind == "segment":
            continue
        try:
            return start_of(event.body) if event.kind == "snapshot" else msgspec.json.decode(event.body, type=Start)
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


def again(world: World, path: Path | str, *, since: Event | None = None) -> Iterator[Again]:
    """Each turn of a record, decided again from `world`, or from the snapshot `since` on.

    Raises:
        KarezError: a turn decides otherwise than the record says, or the record does not start from `world`.
        InputError: the file is no record.
    """
    ground, head = Ground(started(path), world), _head(path, since)
    if ground.start.state != State.of(world).digest:
        raise KarezError("the record starts from another network; name the network and revision it was made on")
    state: State | None = None
    for event in read(path, 0 if since is None else since.seq):
        body = event.body
        if event.kind == "start":
            state = State.of(world)
        elif event.kind == "segment":
            head = _before(event)
        elif event.kind == "snapshot":
            # One that comes first is where to begin; every other one must come out again.
            state = restored(world, body) if state is None else state
            body = taken(ground, state)
        elif event.kind == "turn":
            if state is None:
                raise KarezError(f"event {event.seq} has nothing to go on from: no start and no snapshot before it")
            was = _turned(body, event.seq)
            state, decisions = turn(state, was.inputs, was.policy)
            body = encode(Turned(inputs=was.inputs, policy=was.policy, decisions=decisions))
        head = chained(head, event.seq, event.at_s, event.kind, body)
        if head != event.hash:
            raise KarezError(f"event {event.seq} (at {event.at_s:.0f} s) comes out otherwise than the record says")
        if event.kind == "turn" and state is not None:
            yield Again(was.inputs, was.policy, state, decisions)


def replay(world: World, path: Path) -> Iterator[Decisions]:
    """What each turn of a record decides when it is decided again.

    Raises:
        KarezError: a turn decides otherwise than the record says, or the record does not start from `world`.
        InputError: the file is no record.
    """
    return (one.decisions for one in again(world, path))


def resumed(world: World, path: Path | str) -> State:
    """The state that a record leads to, from the world that it started from; from its last snapshot on, if it has one.

    Raises:
        KarezError: the record does not come out again, or does not start from `world`.
        InputError: the file is no record.
    """
    since = last_snapshot(path)
    states = deque((one.state for one in again(world, path, since=since)), maxlen=1)
    if states:
        return states[0]
    return State.of(world) if since is None else restored(world, since.body)


def _head(path: Path | str, since: Event | None) -> bytes:
    """The hash before the event from which on a record is decided again."""
    if since is None or since.seq == 0:
        return GENESIS
    return next(read(path, since.seq - 1)).hash


def _before(event: Event) -> bytes:
    """The hash before the event that begins a segment, as it says."""
    try:
        return bytes.fromhex(msgspec.json.decode(event.body, type=dict[str, str])["before"])
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        raise KarezError(f"event {event.seq} was altered: {error}") from error


def _turned(body: bytes, seq: int) -> Turned:
    try:
        return msgspec.json.decode(body, type=Turned)
    except msgspec.MsgspecError as error:
        raise KarezError(f"event {seq} was altered: {error}") from error
