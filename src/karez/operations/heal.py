"""What the operations on runs of the loop share: records read, checked and decided again, and what they tell."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from karez.errors import InputError, KarezError
from karez.loop.recorded import started
from karez.loop.snapshot import Start
from karez.loop.state import Decisions, State
from karez.operations import Answer
from karez.operations.networks import load_living, require_readable
from karez.plan import Action
from karez.record.log import read
from karez.record.verify import verify
from karez.twin import World
from karez.twin.schema import Value
from karez.twin.store import Revision

Rows = tuple[dict[str, Value], ...]
# The tables that a run may add to its network, and the kind of event that says so.
CALENDARS = ("works", "freezes")
SETTING = "setting"
ANOTHER = "is the record of a run on another network"


class Event(msgspec.Struct, frozen=True):
    """Something that happened, seconds after the start of the run."""

    after_s: float
    what: str
    subject: str
    why: str


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the record: the folder of the network as seen from the record's, and what was planned besides.

    A network that does not lie beneath the record's folder is not named: who reads a record is not led elsewhere.
    """

    network: str
    works: Rows = ()
    freezes: Rows = ()

    def of(self, world: World) -> World:
        """The world with the planned work and the freezes that the run was told of."""
        tables = {"works": self.works, "freezes": self.freezes}
        added = [
            world[name].add({column: [row[column] for row in rows] for column in rows[0]})
            for name, rows in tables.items()
            if rows
        ]
        return World(world.intended.replace(*added), world.actual) if added else world


class Ground(NamedTuple):
    """What a record is of: the world that its run began with, the network's revision, and the record's own facts."""

    world: World
    revision: Revision
    events: int
    last_hash: str
    start_s: float


def ground(record: str, network: str = "") -> Ground:
    """What a record is of, after nothing in it was found altered; where no network is named, the record names it.

    Raises:
        InputError: there is no such record, it was altered, or the network is not there or is another one.
    """
    start, events, last_hash = whole(record)
    world, revision = began_with(start, network or _named(record), record)
    first = next(read(Path(record)))
    return Ground(world, revision, events, last_hash, first.at_s)


def whole(record: str) -> tuple[Start, int, str]:
    """How the run of a record began, its number of events and its last hash, when nothing in it was altered.

    Raises:
        InputError: there is no such record, or it was altered.
    """
    require_readable(record)
    start = started(Path(record))
    try:
        return (start, *verify(Path(record)))
    except ValueError as error:
        raise InputError.of(record, str(error), "take an unaltered copy; this one proves nothing") from error


def began_with(start: Start, network: str, record: str) -> tuple[World, Revision]:
    """The world that a run began with, and its revision.

    Raises:
        InputError: the network cannot be read, or the run began with another one.
    """
    world, revision = load_living(network, start.revision)
    world = setting(record).of(world)
    if State.of(world).digest != start.state:
        what = f"{ANOTHER} than {network}, or by another version of Karez"
        raise InputError.of(record, what, "name the network that it was made on, or make the run anew")
    return world, revision


def setting(record: str) -> Setting:
    """What a run was told besides its network; nothing where the record has no word of it."""
    for event in read(Path(record)):
        if event.kind == SETTING:
            try:
                return msgspec.json.decode(event.body, type=Setting)
            except msgspec.MsgspecError as error:
                raise KarezError(f"event {event.seq} was altered: {error}") from error
        if event.kind == "turn":
            break
    return Setting(network="")


def setting_of(network: str, record: str, works: Rows, freezes: Rows) -> Setting:
    """What goes into the record of a run on `network`."""
    folder, named = Path(record).resolve().parent, Path(network).resolve()
    beneath = str(named.relative_to(folder)) if named.is_relative_to(folder) else ""
    return Setting(network=beneath, works=works, freezes=freezes)


def timeline(decided: Iterable[Decisions], start_s: float) -> tuple[Event, ...]:
    """All that was found and done in turns that began at `start_s`."""
    acts: dict[str, str] = {}
    return tuple(event for decisions in decided for event in events_of(decisions, start_s, acts))


@dataclass(frozen=True)
class Timeline:
    """What happened in a run; and what broke (`kind` empty: nothing), how many seconds after its start."""

    events: tuple[Event, ...]
    kind: str
    subject: str
    begun_s: float

    def found_s(self) -> float | None:
        """How long after the fault something was found (s); None: it did not come to that."""
        return self._first(event for event in self.events if event.what == "found")

    def right_s(self) -> float | None:
        """How long after the fault its true cause was told (s)."""
        true = ("found", self.subject, self.kind)
        return self._first(event for event in self.events if (event.what, event.subject, event.why) == true)

    def mended_s(self) -> float | None:
        """How long after the fault an act was first seen to be done (s); that an undoing was seen is no mending."""
        undone: set[str] = set()
        kept = []
        for event in self.events:
            undone |= {event.subject} if event.what == "undone" else set()
            kept += [event] if event.what == "verified" and event.subject not in undone else []
        return self._first(kept)

    def _first(self, events: Iterable[Event]) -> float | None:
        if not self.kind:
            return None
        return next((event.after_s - self.begun_s for event in events if event.after_s >= self.begun_s), None)


class CourseAnswer(Answer, frozen=True, kw_only=True):
    """The course of a run of the loop: how soon something was found, the true cause, and mended; and its record.

    Times are seconds after the fault began; None: it did not come to that.
    """

    level: str
    fault: str
    subject: str
    found_after_s: float | None
    right_after_s: float | None
    mended_after_s: float | None
    timeline: tuple[Event, ...]
    turns: int
    record: str
    events: int
    last_hash: str


def acts_of(actions: tuple[Action, ...]) -> str:
    """What a plan does, in a few words."""
    more = f" and {len(actions) - 1} more" if len(actions) > 1 else ""
    return f"{actions[0].kind} {actions[0].subject}{more}" if actions else "nothing"


def events_of(decisions: Decisions, start_s: float, acts: dict[str, str]) -> Iterator[Event]:
    """What one turn found and did; `acts` remembers what a plan is about for the turns after it."""
    after_s = decisions.at_s - start_s
    for found in decisions.found:
        yield Event(after_s, "found" if found.open else "gone", found.subject, found.kind)
    acts |= {plan.id: acts_of(plan.actions) for plan in decisions.plans}
    for verdict in decisions.verdicts:
        yield Event(after_s, verdict.verdict, acts.get(verdict.plan, f"plan {verdict.plan}"), verdict.why)


def _named(record: str) -> str:
    """The folder of the network that a record says it is of.

    Raises:
        InputError: it says none, or there is nothing.
    """
    require_readable(record)
    started(Path(record))
    name, folder = setting(record).network, Path(record).resolve().parent
    found = (folder / name).resolve()
    if name and found.is_relative_to(folder) and found.is_dir():
        return os.path.relpath(found)
    what = f"was made on a network at {folder / name}, where none is" if name else "does not say where its network lies"
    raise InputError.of(record, what, "say where it is: --network FOLDER")
