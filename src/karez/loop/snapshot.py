"""All that a loop knows as bytes: what differs from the network that its run began with, and what is under way.

A loop that takes over, or a record whose beginning was sealed away, goes on from there and need not decide every turn
again. The digest of the state is kept with it, so a snapshot that does not fit is found out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np

from karez.adapters.wire import Packed
from karez.errors import KarezError
from karez.loop.state import Running, State
from karez.plan import Plan
from karez.twin import Table, Twin, World
from karez.twin.table import narrowed, texts
from karez.twin.twin import diff


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The first event of a record: what the run began with, and the stored revision that held it (0: none)."""

    state: str
    revision: int = 0


class Ground(NamedTuple):
    """What a run stands on: how its record began, and the world that it began with."""

    start: Start
    world: World


class Delta(msgspec.Struct, frozen=True):
    """How a table differs from what it was: ids that are gone, and rows that are new or changed, by column."""

    table: str
    gone: Packed
    rows: dict[str, Packed]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an event of kind `snapshot`."""

    start: Start
    state: str
    intended: tuple[Delta, ...]
    actual: tuple[Delta, ...]
    running: tuple[Running, ...]
    waiting: tuple[Plan, ...]
    resting: tuple[tuple[str, float], ...]


class _Started(msgspec.Struct):
    start: Start


def taken(ground: Ground, state: State) -> bytes:
    """The snapshot of a state; the same state gives the same bytes."""
    snapshot = Snapshot(
        start=ground.start,
        state=state.digest,
        intended=tuple(_deltas(ground.world.intended, state.intended)),
        actual=tuple(_deltas(ground.world.actual, state.actual)),
        running=state.running,
        waiting=state.waiting,
        resting=state.resting,
    )
    return msgspec.msgpack.encode(snapshot, order="deterministic")


def restored(world: World, body: bytes) -> State:
    """The state that a snapshot holds; `world` is what its run began with.

    Raises:
        KarezError: it is no snapshot, or one of another network.
    """
    try:
        found = msgspec.msgpack.decode(body, type=Snapshot)
        state = State(
            _with(world.intended, found.intended),
            _with(world.actual, found.actual),
            running=found.running,
            waiting=found.waiting,
            resting=found.resting,
        )
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        raise KarezError(f"the snapshot cannot be read, or is of another network: {error}") from error
    if state.digest != found.state:
        raise KarezError("the snapshot is of another network; name the network and revision that the run was made on")
    return state


def start_of(body: bytes) -> Start:
    """How the run of a snapshot began.

    Raises:
        msgspec.MsgspecError: it is no snapshot.
    """
    return msgspec.msgpack.decode(body, type=_Started).start


def _deltas(before: Twin, after: Twin) -> Iterator[Delta]:
    for one in diff(before, after):
        table = after[one.table]
        rows = np.sort(table.rows(texts(sorted({*one.added, *(row for ids in one.changed.values() for row in ids)}))))
        yield Delta(
            table=one.table,
            gone=Packed.of(texts(one.removed)),
            rows={name: Packed.of(narrowed(column.at(rows))) for name, column in table.columns.items()},
        )


def _with(twin: Twin, deltas: tuple[Delta, ...]) -> Twin:
    """The twin with all that differs."""
    return twin.replace(*(_changed(twin[one.table], one) for one in deltas))


def _changed(table: Table, delta: Delta) -> Table:
    gone, rows = delta.gone.array, {name: packed.array for name, packed in delta.rows.items()}
    if len(gone):
        table = table.take(~np.isin(table.ids, gone))
    new = ~np.isin(rows["id"], table.ids)
    if not new.all():
        known = {name: values[~new] for name, values in rows.items()}
        table = table.set(table.rows(known.pop("id")), **known)
    return table.add({name: values[new] for name, values in rows.items()}) if new.any() else table
