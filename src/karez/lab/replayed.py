"""Data sets read again: all that was told, turn by turn, and as a network that the loop can look at once more."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from karez.adapters.embedded import Fault
from karez.errors import InputError, Problem
from karez.lab.dataset import ABOUT, EVENTS, FORMAT, NETWORK, PLACE, STATES, TELEMETRY, TURNS, About, Event, Heard
from karez.lab.schedule import SIZES, WAYS
from karez.plan import Action
from karez.twin.schema import Value
from karez.twin.store import RESTORE, UNREADABLE, first_line, os_problem
from karez.twin.table import Array, texts
from karez.twin.telemetry import Samples, StateRows

# What is told as one, and when: turn, place within the turn, and that.
Piece = tuple[int, int, Any]


class DataSet:
    """A data set in a folder; what was told is read part by part, and every file must be what was written."""

    def __init__(self, folder: Path) -> None:
        """Open it.

        Raises:
            InputError: there is none, it was written by a later version, or files are missing: all of them.
        """
        self.folder = folder
        self.about, self.digest = _about(folder)
        if lacking := [name for name in self.about.files if not (folder / name).is_file()]:
            raise InputError([Problem(str(folder / name), "is missing", RESTORE) for name in lacking])
        # The same ids are the same array, so that nobody looks them up twice.
        self._ids: dict[bytes, Array] = {}

    @property
    def network(self) -> Path:
        """The folder of its network."""
        return self.folder / NETWORK

    def events(self) -> tuple[Event, ...]:
        """The true faults, in the order in which they began.

        Raises:
            InputError: the file was changed.
        """
        rows = csv.DictReader(io.StringIO(self._bytes(EVENTS).decode()))
        try:
            return tuple(_event(row) for row in rows)
        except (KeyError, ValueError, TypeError) as error:
            what = f"is no table of events ({error})"
            raise InputError.of(str(self.folder / EVENTS), what, RESTORE) from error

    def times_s(self) -> Array:
        """When each turn was (Unix, s).

        Raises:
            InputError: a file was changed.
        """
        parts = [self._frame(name)["at_s"].to_numpy() for name in self._parts(TURNS)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def heard(self) -> Iterator[Heard]:
        """What was told, turn by turn.

        Raises:
            InputError: a file was changed.
        """
        for name in self._parts(TURNS):
            part = name.rpartition("/")[2]
            samples = self._told(TELEMETRY, part, self._samples_of)
            states = self._told(STATES, part, _states_of)
            turns = self._frame(name)
            for turn, at_s in zip(turns["turn"].to_list(), turns["at_s"].to_list(), strict=True):
                yield Heard(at_s, _in_order(states.get(turn, [])), _in_order(samples.get(turn, [])))

    def _parts(self, kind: str) -> list[str]:
        return sorted(name for name in self.about.files if name.startswith(f"{kind}/"))

    def _told(
        self, kind: str, part: str, made: Callable[[str, pl.DataFrame], Iterator[Piece]]
    ) -> dict[int, list[tuple[int, Any]]]:
        """What was told in a part, by turn: places within it, and what is `made` of the rows at each."""
        told: dict[int, list[tuple[int, Any]]] = {}
        for name in self._parts(kind):
            _, what, file = name.split("/")
            if file != part:
                continue
            for turn, piece, one in made(what, self._frame(name)):
                told.setdefault(turn, []).append((piece, one))
        return told

    def _samples_of(self, channel: str, frame: pl.DataFrame) -> Iterator[Piece]:
        names = frame["id"].unique().to_list()
        words, codes = texts(names), frame["id"].cast(pl.String).cast(pl.Enum(names)).to_physical().to_numpy()
        at_s = frame["at_s"].to_list()
        columns = {name: frame[name].to_numpy() for name in frame.columns if name not in PLACE}
        for turn, piece, rows in _pieces(frame):
            ids = words[codes[rows]]
            ids = self._ids.setdefault(ids.tobytes(), ids)
            told = {name: values[rows].copy() for name, values in columns.items()}
            yield turn, piece, Samples(channel, at_s[rows.start], ids, told)

    def _frame(self, name: str) -> pl.DataFrame:
        try:
            return pl.read_parquet(io.BytesIO(self._bytes(name)))
        except UNREADABLE as error:
            what = f"cannot be read as Parquet ({first_line(error)})"
            raise InputError.of(str(self.folder / name), what, RESTORE) from error

    def _bytes(self, name: str) -> bytes:
        path = self.folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError([os_problem(error, path)]) from error
        if hashlib.sha256(data).hexdigest() != self.about.files[name]:
            raise InputError.of(str(path), f"is cut off or was changed ({len(data)} bytes)", RESTORE)
        return data


def _about(folder: Path) -> tuple[About, str]:
    """What a folder says of itself, and the digest that stands for all of it."""
    path = folder / ABOUT
    try:
        data = path.read_bytes()
        about = msgspec.json.decode(data, type=About)
    except OSError as error:
        raise InputError.of(str(folder), "holds no data set", "give a folder that `karez lab record` wrote") from error
    except msgspec.MsgspecError as error:
        raise InputError.of(str(path), f"says nothing of a data set ({error})", RESTORE) from error
    if about.format > FORMAT:
        what = f"is of format {about.format}, and this version reads up to {FORMAT}"
        raise InputError.of(str(path), what, "read it with the version of Karez that wrote it, or a later one")
    return about, hashlib.sha256(data).hexdigest()


def _event(row: dict[str, str]) -> Event:
    sizes = {name: float(row[name] or 0.0) for name in SIZES}
    times_s = float(row["begin_s"]), float(row["end_s"])
    if row["way"] not in WAYS:
        raise ValueError(f"{row['way']!r} is no way")
    fault = Fault(row["kind"], row["subject"], *times_s, size_db=0.0, way=row["way"], goal=row["goal"], **sizes)  # type: ignore[arg-type]
    return Event(label=row["label"], fault=fault)


def _pieces(frame: pl.DataFrame) -> Iterator[tuple[int, int, slice]]:
    """Turn, place within the turn, and rows, of all that was told as one."""
    turn, piece = frame["turn"].to_numpy(), frame["piece"].to_numpy()
    first = np.flatnonzero(np.diff(turn, prepend=-1) | np.diff(piece, prepend=-1))
    for start, stop in zip(first.tolist(), [*first[1:].tolist(), len(turn)], strict=True):
        yield int(turn[start]), int(piece[start]), slice(start, stop)


def _states_of(table: str, frame: pl.DataFrame) -> Iterator[Piece]:
    names = [name for name in frame.columns if name not in PLACE]
    values = {name: frame[name].to_list() for name in ("id", *names)}
    for turn, piece, rows in _pieces(frame):
        ids = tuple(values["id"][rows])
        columns = {name: tuple(values[name][rows]) for name in names}
        yield turn, piece, StateRows(table, ids, {name: told for name, told in columns.items() if told[0] is not None})


def _in_order(told: list[tuple[int, Any]]) -> tuple[Any, ...]:
    """What was told in a turn, in the order in which it was."""
    return tuple(one for _, one in sorted(told, key=lambda placed: placed[0]))


class Replayed:
    """A data set as a network: at every time it tells what was told until then, and it can do nothing."""

    kinds: frozenset[str] = frozenset()

    def __init__(self, dataset: DataSet) -> None:
        """Nothing was told yet."""
        self._coming = dataset.heard()
        self._next = next(self._coming, None)
        self._states: tuple[StateRows, ...] = ()
        self._samples: tuple[Samples, ...] = ()
        self._known: dict[str, dict[str, dict[str, Value]]] = {}

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What was told of states until `at_s`, since it was last asked."""
        self._pass(at_s)
        told, self._states = self._states, ()
        return told

    def hear(self, at_s: float) -> tuple[Samples, ...]:
        """The telemetry until `at_s`, since it was last heard."""
        self._pass(at_s)
        told, self._samples = self._samples, ()
        return told

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """These rows as they were last told; such as were not told of are left out."""
        known = self._known.get(table, {})
        found = {row: known[row] for row in ids if row in known}
        names = set.intersection(*(set(columns) for columns in found.values())) if found else set()
        columns = {name: tuple(row[name] for row in found.values()) for name in sorted(names)}
        return StateRows(table, tuple(found), columns)

    def apply(self, action: Action, at_s: float) -> str:
        """Why it does nothing: what was recorded cannot be changed."""
        del at_s
        return f"this network was recorded; it cannot do {action.kind}"

    def _pass(self, at_s: float) -> None:
        while self._next is not None and self._next.at_s <= at_s:
            self._states = (*self._states, *self._next.states)
            self._samples = (*self._samples, *self._next.samples)
            for rows in self._next.states:
                self._learn(rows)
            self._next = next(self._coming, None)

    def _learn(self, rows: StateRows) -> None:
        known = self._known.setdefault(rows.table, {})
        for place, row in enumerate(rows.ids):
            known.setdefault(row, {}).update({name: values[place] for name, values in rows.columns.items()})
