"""A controller of several: it leads while it holds the lease, and stands by otherwise.

Whoever takes the lease first tells the guard, which then refuses every older leader; only then does it read the record
to its end, for nothing can be done any more that is not in it. Then it looks at the whole network anew, as news that
the leader before it was told and did not record are told to nobody else. A lease alone keeps nobody from acting who
hung and wakes up: the guard does, by the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec

from karez.adapters.guard import WritePath
from karez.adapters.network import Network
from karez.errors import InputError, KarezError
from karez.loop.recorded import encode, resumed, started
from karez.loop.runner import SNAPSHOT_TURNS, People, Runner, nobody
from karez.loop.snapshot import Ground, Start
from karez.loop.state import Decisions, Policy, State
from karez.record import lineage
from karez.record.lease import Lease, now_s
from karez.record.log import Reader, Record
from karez.twin import World, schema
from karez.twin.telemetry import StateRows

# The share of the lease that must be left before a turn begins.
LEFT_SHARE = 0.3
# After how many lengths of the lease one that could not lead tries again, so that another may.
REST = 2.0
# For how long at most the lease is renewed while a leader reads the record, or takes a turn: routers may take a while
# to do what they are asked (s).
TAKEOVER_S, TURN_S = 60.0, 10.0
# What the newest so many events confirmed is told to the guard again, which may not have heard it.
CONFIRMED_EVENTS = 1_000


class _Confirming(msgspec.Struct):
    confirmed: tuple[str, ...] = ()


class _Turned(msgspec.Struct):
    decisions: _Confirming


@dataclass
class Leader:
    """A controller; `make` gives the runner that goes on from a state, on this controller's network and guard.

    `where` is the folder or database that holds the record. `clock` is for the lease alone: a monotonic one. `why` says
    what ended the last term, or kept one from beginning.
    """

    lease: Lease
    where: Path | str
    world: World
    network: Network
    guard: WritePath
    policy: Policy
    make: Callable[[State, Record, Policy], Runner]
    revision: int = 0
    resume: Callable[[World, Any], State] = resumed
    clock: Callable[[], float] = now_s
    runner: Runner | None = None
    epoch: int = 0
    why: str = ""
    _rests_until_s: float = field(default=float("-inf"))

    @property
    def leads(self) -> bool:
        """Whether this controller was the leader when it last looked."""
        return self.runner is not None

    def step(self, at_s: float, people: People = nobody) -> Decisions | None:
        """What was decided at `at_s`; None while another leads, or nobody can.

        Raises:
            InputError: the record takes no more; this controller leads no longer.
        """
        if self.runner is None:
            self._stand_by(at_s)
        else:
            self._go_on()
        if self.runner is None:
            return None
        try:
            with self.renewing(TURN_S):
                return self.runner.turn(at_s, people)
        except InputError as error:
            self._fail(str(error))
            raise

    def end(self, why: str = "") -> None:
        """Lead no longer, and let another."""
        self.why = why
        if self.runner is not None:
            record, self.runner = self.runner.record, None
            record.store.close()
        self.lease.give_back()

    def _stand_by(self, at_s: float) -> None:
        now_s = self.clock()
        if now_s < self._rests_until_s:
            return
        epoch = self.lease.take(now_s)
        if epoch is None:
            return
        try:
            with self.renewing():
                self._begin(epoch, at_s)
            self._go_on()
        except (KarezError, OSError) as error:
            self._fail(str(error))

    def _begin(self, epoch: int, at_s: float) -> None:
        """Fence off the leaders before, take in all that they have recorded, and go on from there."""
        self.guard.lead(epoch)
        record = lineage.begun(self.where, epoch, lambda new: self._start(new, at_s))
        try:
            where = lineage.path_of(self.where, epoch) if isinstance(self.where, Path) else self.where
            state = self.resume(self.world, where)
            for command in _confirmed(where):
                self.guard.confirm(command)
            runner = self.make(state, record, msgspec.structs.replace(self.policy, epoch=epoch))
            runner.ground = Ground(started(where), self.world)
            runner.unheard = self._whole(state)
            # With its first turn it records what it has just read, so that whoever takes over next need not.
            runner.since_snapshot = SNAPSHOT_TURNS
        except BaseException:
            record.store.close()
            raise
        self.runner, self.epoch, self.why = runner, epoch, ""

    @contextmanager
    def renewing(self, most_s: float = TAKEOVER_S) -> Iterator[None]:
        """The lease renewed meanwhile, for so long at most: a long record takes longer to read than a lease runs."""
        until_s, done = self.clock() + most_s, Event()

        def renew() -> None:
            while not done.wait(self.lease.for_s / 4) and self.clock() < until_s:
                self.lease.renew(self.clock())

        thread = Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _start(self, record: Record, at_s: float) -> None:
        start = Start(state=State.of(self.world).digest, revision=self.revision)
        record.append("start", at_s, encode(start))

    def _go_on(self) -> None:
        """Renew the lease, and see that the guard is there and has heard of nobody newer; or else lead no longer."""
        held = self.lease.renew(self.clock())
        try:
            self.guard.lead(self.epoch)
        except (KarezError, OSError) as error:
            self._fail(str(error))
            return
        if not held or self.lease.left_s(self.clock()) < LEFT_SHARE * self.lease.for_s:
            self.end(self.lease.why or "the lease is another's, or has run out")

    def _fail(self, why: str) -> None:
        self._rests_until_s = self.clock() + REST * self.lease.for_s
        self.end(why)

    def _whole(self, state: State) -> tuple[StateRows, ...]:
        """All that the network shows of what is known, read afresh; tables that it cannot show are left out."""
        tables = [name for name in schema.tables() if schema.is_observed(name) and len(state.actual[name])]
        told = (self._looked(name, [row.decode() for row in state.actual[name].ids.tolist()]) for name in tables)
        return tuple(rows for rows in told if rows is not None and rows.ids)

    def _looked(self, table: str, ids: list[str]) -> StateRows | None:
        try:
            return self.network.look(table, ids)
        except Exception:  # noqa: BLE001  Whatever an adapter raises: what it cannot show, it may still tell.
            return None


def _confirmed(where: Path | str) -> tuple[str, ...]:
    """What a record has confirmed of late. A leader that died after it recorded a turn may not have told the guard."""
    with Reader(where) as reader:
        last = reader.last()
        since = 0 if last is None else max(0, last.seq - CONFIRMED_EVENTS)
        turns = [event.body for event in reader.events(since) if event.kind == "turn"]
    confirmed = (msgspec.json.decode(body, type=_Turned).decisions.confirmed for body in turns)
    return tuple(command for commands in confirmed for command in commands)
