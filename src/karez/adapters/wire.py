"""What is said between a controller and a guard in another process: questions, answers, and how rows and arrays travel.

A message is its length (4 bytes, the largest first) and MessagePack.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from karez.adapters.guard import Command
from karez.plan import Read
from karez.twin import Table, Twin, World, schema
from karez.twin.table import Array
from karez.twin.telemetry import Samples, StateRows

# The largest message (bytes), and what comes before each.
LARGEST = 1 << 30
LENGTH = struct.Struct(">I")


class Asked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What every question says: the leader's epoch, and until when (`uptime_s`) it waits for the answer."""

    epoch: int = 0
    until_s: float = 0.0


class Lead(Asked, frozen=True, kw_only=True, tag=True):
    """Refuse every leader of an older epoch."""


class Execute(Asked, frozen=True, kw_only=True, tag=True):
    """Carry out a command; `rows` are those of the twins that its reads are about."""

    command: Command
    receipt: bytes
    rows: tuple[StateRows, ...]


class Confirm(Asked, frozen=True, kw_only=True, tag=True):
    """Let what these commands did stand."""

    commands: tuple[str, ...]


class Undone(Asked, frozen=True, kw_only=True, tag=True):
    """What did the guard undo alone since it was last asked?"""


class Observe(Asked, frozen=True, kw_only=True, tag=True):
    """What changed since the network was last observed? The answer is in the asker's time."""

    at_s: float


class Hear(Asked, frozen=True, kw_only=True, tag=True):
    """What did it measure since it was last heard? The answer is in the asker's time."""

    at_s: float


class Look(Asked, frozen=True, kw_only=True, tag=True):
    """How are these rows now?"""

    table: str
    ids: tuple[str, ...]


class Kill(Asked, frozen=True, kw_only=True, tag=True):
    """Stop all commands and timers, or let them go on; anyone may ask."""

    on: bool


class Killed(Asked, frozen=True, kw_only=True, tag=True):
    """Is the kill switch on?"""


Question = Lead | Execute | Confirm | Undone | Observe | Hear | Look | Kill | Killed


class Answer(msgspec.Struct, frozen=True):
    """What came of a question; `refused` or `failed` say why nothing did."""

    body: msgspec.Raw = msgspec.Raw(b"\xc0")
    refused: str = ""
    failed: str = ""


class Packed(msgspec.Struct, frozen=True):
    """An array as bytes."""

    dtype: str
    data: bytes

    @classmethod
    def of(cls, array: Array) -> Packed:
        """The array, packed."""
        return cls(array.dtype.str, array.tobytes())

    @property
    def array(self) -> Array:
        """The array, as it was."""
        return np.frombuffer(self.data, np.dtype(self.dtype))


class Told(msgspec.Struct, frozen=True):
    """Samples on their way; no `ids` where they are those that this channel told before."""

    channel: str
    at_s: float
    ids: Packed | None
    columns: dict[str, Packed]


def uptime_s() -> float:
    """Seconds since this machine started, its sleep included; all its processes agree on it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def rows(world: World, reads: Iterable[Read]) -> Iterator[StateRows]:
    """The rows that the reads are about, with the columns that they name and those that no row may lack."""
    named: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for read in reads:
        rows, columns = named.setdefault(read.table, ({}, _required(read.table)))
        rows[read.row] = None
        if read.column:
            columns[read.column] = None
    for name, (rows, columns) in named.items():
        table = world[name]
        ids = tuple(row for row in rows if table.has(row))
        yield StateRows(name, ids, {column: tuple(table.cell(row, column) for row in ids) for column in columns})


def _required(table: str) -> dict[str, None]:
    return {name: None for name, spec in schema.tables()[table].items() if spec.required and name != "id"}


def world(rows: Iterable[StateRows]) -> World:
    """The world that holds these rows and nothing else."""
    tables = [Table.of(told.table, {"id": told.ids, **told.columns}) for told in rows if told.ids]
    return World(
        Twin().replace(*(table for table in tables if not schema.is_state(table.name))),
        Twin().replace(*(table for table in tables if schema.is_state(table.name))),
    )


def packed(samples: Samples, ids: dict[str, Array]) -> Told:
    """Samples for the way; `ids` has what each channel told of before on this connection."""
    known = ids.get(samples.channel) is samples.ids
    ids[samples.channel] = samples.ids
    columns = {name: Packed.of(values) for name, values in samples.columns.items()}
    return Told(samples.channel, samples.at_s, None if known else Packed.of(samples.ids), columns)


def unpacked(told: Told, ids: dict[str, Array]) -> Samples:
    """Samples from the way; `ids` has what each channel told of before on this connection."""
    if told.ids is not None:
        ids[told.channel] = told.ids.array
    columns = {name: packed.array for name, packed in told.columns.items()}
    return Samples(told.channel, told.at_s, ids[told.channel], columns)
