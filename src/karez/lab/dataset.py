"""Data sets: all that a network told while it was recorded, and what was truly wrong with it, in a folder.

    FOLDER/about.json            what was recorded, when, with what; the SHA-256 of every other file
    FOLDER/network/              the network, as any other is kept
    FOLDER/events.csv            the true faults, when each began and ended; a schedule, too
    FOLDER/turns/000001.parquet  when each turn was
    FOLDER/telemetry/CHANNEL/000001.parquet  samples: a row for each series and turn (`twin.telemetry.CHANNELS`)
    FOLDER/states/TABLE/000001.parquet       rows of state as they were told; null is what was not told of a row

What was told in one turn has the same `turn`, and what was told as one the same `piece`, so that it can be told again
as it was (`replayed`). Files are numbered: each holds what was told in a while. Nothing is at FOLDER until all is.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
import numpy as np
import polars as pl

from karez.adapters.embedded import Fault
from karez.errors import InputError
from karez.lab.schedule import BESIDES, COLUMNS
from karez.twin import Twin, schema, store
from karez.twin.store import Revision, os_problem
from karez.twin.telemetry import Samples, StateRows

FORMAT = 1
ABOUT, EVENTS, NETWORK, TURNS, TELEMETRY, STATES = "about.json", "events.csv", "network", "turns", "telemetry", "states"
# So many turns make a part; what was told in them is held in memory until it is written.
PART_TURNS = 1_200
# Digits of seconds in `events.csv` that count.
DIGITS = 6
# What every row has before its own columns.
PLACE = ("turn", "piece", "at_s", "id")
POLARS: dict[schema.Dtype, type[pl.DataType]] = {
    "text": pl.String,
    "bool": pl.Boolean,
    "int": pl.Int64,
    "float": pl.Float64,
}


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded: times are Unix time (s), `network` is the digest of its revision, `files` have a SHA-256 each.

    `turn_s` is how often turns were meant to come. `frr` is the version of the routers, `karez` that of what recorded.
    """

    format: int = FORMAT
    karez: str
    frr: str = ""
    lab: str = ""
    network: str
    seed: int
    routers: int
    links: int
    demands: int
    protocols: dict[str, str | int | bool] = {}
    turn_s: float
    turns: int = 0
    start_s: float
    end_s: float = 0.0
    files: dict[str, str] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A true fault: what the lab called it, and itself, with its times as the lab said that they were (Unix, s)."""

    label: str
    fault: Fault


class Heard(NamedTuple):
    """What was told in the turn at `at_s`."""

    at_s: float
    states: tuple[StateRows, ...]
    samples: tuple[Samples, ...]


class Writer:
    """A data set on its way: what is told is written part by part beside `folder`, which is there once all of it is.

    Use it as a context manager; where `close` was not reached, nothing is left. Who is killed meanwhile leaves a folder
    whose name begins with a dot, and which is no data set.
    """

    def __init__(self, folder: Path) -> None:
        """Make the place.

        Raises:
            InputError: something is at `folder`, or nothing can be made there.
        """
        self.folder, self._turn, self._part = folder, 0, 0
        self._beside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        self._turns: list[float] = []
        self._samples: dict[str, list[tuple[int, int, Samples]]] = {}
        self._states: dict[str, list[tuple[int, int, float, StateRows]]] = {}
        self._digests: dict[str, str] = {}
        if os.path.lexists(folder):
            raise InputError.of(str(folder), "exists already", "name another folder, or move it away")
        try:
            self._beside.mkdir()
        except OSError as error:
            raise InputError([os_problem(error, folder)]) from error

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave nothing behind of what did not become whole."""
        shutil.rmtree(self._beside, ignore_errors=True)

    def keep(self, heard: Heard) -> None:
        """Take what was told in a turn, which is later than the one before.

        Raises:
            InputError: the disk takes no more.
        """
        self._turns.append(heard.at_s)
        for piece, some in enumerate(heard.samples):
            self._samples.setdefault(some.channel, []).append((self._turn, piece, some))
        for piece, rows in enumerate(heard.states):
            self._states.setdefault(rows.table, []).append((self._turn, piece, heard.at_s, rows))
        self._turn += 1
        if len(self._turns) >= PART_TURNS:
            self._flush()

    def close(self, about: About, events: Sequence[Event], twin: Twin, revision: Revision) -> About:
        """What the folder says of itself, which is whole now: with its network, and what was truly wrong.

        Raises:
            InputError: the disk takes no more, or somebody else has made the folder meanwhile.
        """
        self._flush()
        store.save(
            twin,
            self._beside / NETWORK,
            at_s=revision.at_s,
            note="as it was recorded",
            source=revision.source,
            synthetic=revision.synthetic,
            seed=revision.seed,
        )
        self._put(EVENTS, _event_table(events, about.start_s))
        about = msgspec.structs.replace(about, network=twin.digest, turns=self._turn, files=self._digests)
        self._put(ABOUT, msgspec.json.format(msgspec.json.encode(about), indent=1))
        try:
            os.rename(self._beside, self.folder)
            store.sync_folder(self.folder.parent)
        except OSError as error:
            raise InputError([os_problem(error, self.folder)]) from error
        return about

    def _flush(self) -> None:
        """Write what is held in memory."""
        if not self._turns:
            return
        self._part += 1
        first = self._turn - len(self._turns)
        turns = np.arange(first, self._turn, dtype=np.int32)
        self._write(TURNS, pl.DataFrame({"turn": turns, "at_s": np.array(self._turns)}))
        for channel, told in self._samples.items():
            self._write(f"{TELEMETRY}/{channel}", _sample_rows(told))
        for table, told_rows in self._states.items():
            self._write(f"{STATES}/{table}", _state_rows(told_rows))
        self._turns, self._samples, self._states = [], {}, {}

    def _write(self, kind: str, frame: pl.DataFrame) -> None:
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        self._put(f"{kind}/{self._part:06d}.parquet", buffer.getvalue())

    def _put(self, name: str, data: bytes) -> None:
        path = self._beside / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            store.write_whole(path, data, [])
        except OSError as error:
            raise InputError([os_problem(error, self.folder / name)]) from error
        self._digests[name] = hashlib.sha256(data).hexdigest()


def _sample_rows(told: Sequence[tuple[int, int, Samples]]) -> pl.DataFrame:
    """What a channel told, one row for each series and turn."""
    sizes = [len(some.ids) for _, _, some in told]
    names = dict.fromkeys(name for _, _, some in told for name in some.columns)
    place = {
        "turn": np.repeat(np.array([turn for turn, _, _ in told], np.int32), sizes),
        "piece": np.repeat(np.array([piece for _, piece, _ in told], np.int16), sizes),
        "at_s": np.repeat([some.at_s for _, _, some in told], sizes),
    }
    ids = pl.Series("id", np.concatenate([some.ids for _, _, some in told])).cast(pl.String)
    columns = {name: np.concatenate([some.columns[name] for _, _, some in told]) for name in names}
    return pl.DataFrame({**place, "id": _worded(ids), **columns})


def _state_rows(told: Sequence[tuple[int, int, float, StateRows]]) -> pl.DataFrame:
    """Rows of a state table as they were told; null where a column was not."""
    frames = [
        pl.DataFrame(
            {"id": rows.ids, **rows.columns},
            schema={"id": pl.String} | {name: _dtype(rows.table, name) for name in rows.columns},
        ).select(
            pl.lit(turn, pl.Int32).alias("turn"),
            pl.lit(piece, pl.Int16).alias("piece"),
            pl.lit(at_s, pl.Float64).alias("at_s"),
            pl.all(),
        )
        for turn, piece, at_s, rows in told
    ]
    whole = pl.concat(frames, how="diagonal")
    return whole.with_columns(_worded(whole["id"]))


def _dtype(table: str, name: str) -> type[pl.DataType]:
    return POLARS[schema.column(table, name).dtype]


def _worded(ids: pl.Series) -> pl.Series:
    """Few words, told once."""
    return ids.cast(pl.Enum(ids.unique().sort()))


def _event_table(events: Sequence[Event], start_s: float) -> bytes:
    """The true faults as CSV; its first columns are those of a schedule, and sizes that a fault does not have blank."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow((*COLUMNS, *BESIDES))
    for label, fault in sorted(((one.label, one.fault) for one in events), key=lambda event: event[1].at_s):
        at_s, lasts_s = round(fault.at_s - start_s, DIGITS), round(fault.until_s - fault.at_s, DIGITS)
        sizes = (size or "" for size in (fault.size_us, fault.size_share, fault.size_s))
        said = (at_s, lasts_s, fault.kind, fault.subject, *sizes, fault.way, fault.goal)
        table.writerow((*said, label, fault.at_s, fault.until_s))
    return written.getvalue().encode()
