"""Processes that stand until they are told to end: the guard of a living network, and the controllers that lead it.

They share a folder and nothing else. The guard has the network, and does only what the record of the newest leader has
decided; controllers reach it by its socket. Any number of controllers may run: one leads, and another takes over when
that one dies, hangs or is cut off.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Signal

from karez.adapters.embedded import EmbeddedNetwork
from karez.adapters.guard import Command, decides
from karez.adapters.guarding import Clock, serve
from karez.adapters.remote import Line, RemoteGuard, RemoteNetwork
from karez.errors import InputError, KarezError
from karez.lab.network import network_of
from karez.loop.leader import Leader
from karez.loop.people import ThroughBox
from karez.loop.recorded import Turned
from karez.loop.runner import Runner
from karez.loop.state import Approval, Decisions, Level, Policy, State
from karez.operations.faults import Breaking, fault_of, require_kind
from karez.operations.heal import events_of
from karez.operations.lab import opened, require_alike
from karez.operations.networks import load_living
from karez.plan import Plan
from karez.record import lineage
from karez.record.approvals import Box
from karez.record.lease import Lease
from karez.record.log import Record
from karez.record.principals import judged
from karez.record.seal import forget
from karez.scenario.rehearsal import rehearse
from karez.twin.store import os_problem

# After how many turns what was recorded is sealed into a closed file, so that whoever takes over reads little.
SEALS_TURNS = 3_600
# The longest path of a socket. Source: unix(7).
LONGEST_PATH = 107
# How long routers may take to do what they are asked: a drain is stepped through, so that nothing goes in circles (s).
LAB_S = 8.0
Told = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """The folder that a guard and its controllers share."""

    folder: Path

    @classmethod
    def made(cls, folder: str) -> Place:
        """The folder, which only its owner may enter, made where it is not there yet.

        Raises:
            InputError: it cannot be made, or its name is too long for a socket.
        """
        place = cls(Path(folder))
        if len(os.fsencode(place.socket)) > LONGEST_PATH:
            raise InputError.of(folder, "has a name too long for a socket", "give one nearer to where you are")
        try:
            place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.records.mkdir(exist_ok=True)
        except OSError as error:
            raise InputError([os_problem(error, place.folder)]) from error
        return place

    @property
    def socket(self) -> Path:
        """Where the guard answers."""
        return self.folder / "guard"

    @property
    def records(self) -> Path:
        """A record for each term of a leader; the newest holds all before it."""
        return self.folder / "records"

    @property
    def closed(self) -> Path:
        """What was recorded long ago, in files that nobody writes to any more."""
        return self.folder / "closed"

    @property
    def leases(self) -> Path:
        """Who leads."""
        return self.folder / "leases"

    @property
    def box(self) -> Path:
        """What waits for people."""
        return self.folder / "approvals.box"

    def recorded(self, receipt: bytes, command: Command) -> bool:
        """Whether the record of a command's leader has decided it."""
        return decides(lineage.body(self.records, command.epoch, receipt), command, Turned)


def guard(folder: str, network: str, breaking: Breaking, told: Told) -> None:
    """Guard the embedded network until the process is told to end; what is to break counts from when it stands (s).

    Raises:
        InputError: the network cannot be read or has nothing to break, or another guard has the folder.
    """
    require_kind(breaking.kind)
    world, _ = load_living(network)
    place = Place.made(folder)
    embedded = EmbeddedNetwork(world, seed=breaking.seed, start_s=time.time())
    # What has to be compiled is compiled before anybody waits for it.
    embedded.observe(time.time())
    embedded.hear(time.time())
    fault = fault_of(world, network, breaking._replace(at_s=time.time() + breaking.at_s))
    told(f"guards {network}, embedded, in {folder}")
    if fault is not None:
        embedded.inject(fault)
        told(f"{fault.kind} {fault.subject} comes in {breaking.at_s:.0f} s")
    serve(embedded, place.recorded, place.socket)


def guard_lab(folder: str, network: str, name: str, told: Told) -> None:
    """Guard a lab that runs, until the process is told to end.

    Raises:
        InputError: the network cannot be read, no such lab runs, it is of another network, or another guard has the
            folder.
    """
    world, _ = load_living(network)
    place = Place.made(folder)
    with opened(network, name) as lab:
        require_alike(lab, world, network)
        told(f"guards {network}, the routers of lab {lab.name}, in {folder}")
        with closing(network_of(lab, world)) as routers:
            serve(routers, place.recorded, place.socket, within_s=LAB_S)


@dataclass
class Controller:
    """A controller of the network that a guard in `place` has; `told` is told what it finds and does."""

    place: Place
    network: str
    name: str
    level: Level
    lease_s: float
    told: Told
    _said: str = ""
    _people: ThroughBox | None = None
    _acts: dict[str, str] = field(default_factory=dict)
    _began_s: float = field(default_factory=time.time)

    def run(self, every_s: float, ended: Signal) -> None:
        """Take a turn every so many seconds, or stand by, until it has ended.

        Raises:
            InputError: the network cannot be read, or there are no leases to be had.
        """
        world, revision = load_living(self.network)
        self._say("makes ready")
        rehearse()
        opened = Box(str(self.place.box), judged(world.intended), make=True)
        with opened as box, closing(Line(self.place.socket)) as line:
            lease = Lease(self.place.leases, "network", self.name, for_s=self.lease_s)
            remote, guard = RemoteNetwork(line), RemoteGuard(line)

            def make(state: State, record: Record, policy: Policy) -> Runner:
                runner = Runner.resume(state, remote, record, policy)
                runner.guard = guard
                return runner

            leader = Leader(
                lease, self.place.records, world, remote, guard, Policy(level=self.level), make, revision.number
            )
            clock = Clock()
            try:
                while not ended.is_set():
                    self._step(leader, clock(), box)
                    ended.wait(every_s)
            finally:
                leader.end("it was told to end")

    def _step(self, leader: Leader, at_s: float, box: Box) -> None:
        def people(now_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
            if self._people is None or self._people.epoch != leader.epoch:
                self._people = ThroughBox(box, leader.epoch)
            return self._people(now_s, state)

        try:
            decisions = leader.step(at_s, people)
        except KarezError as error:
            self._say(f"does not lead: {error}")
            return
        if leader.leads:
            self._say(f"leads, epoch {leader.epoch}, level {self.level}")
        else:
            self._say(f"stands by: {leader.why}" if leader.why else "stands by")
        if decisions is not None:
            self._tell(decisions)
        if leader.runner is not None and leader.runner.turns >= SEALS_TURNS:
            with leader.renewing():
                self._seal(leader.runner, at_s)

    def _seal(self, runner: Runner, at_s: float) -> None:
        """Put what was recorded into a closed file, and let go of what the law does not ask to be kept any more."""
        try:
            runner.seal(self.place.closed, at_s)
            forget(runner.record, self.place.closed, at_s)
        except InputError as error:
            self._say(f"could not seal its record: {error}")

    def _tell(self, decisions: Decisions) -> None:
        for event in events_of(decisions, self._began_s, self._acts):
            self.told(f"{event.what} {event.subject}{f': {event.why}' if event.why else ''}")

    def _say(self, said: str) -> None:
        """Tell how it stands, where that is new."""
        if said != self._said:
            self._said = said
            self.told(f"{self.name} {said}")
