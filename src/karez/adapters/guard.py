"""The guard: it owns the only way to change a network, and undoes what nobody confirms.

The loop may be wrong, late, or one of two that both think they lead. So the guard asks afresh, each time: is this the
newest leader, does the record hold this very decision, may it still be started, does the network still show everything
it relied on? A command is done whole or not at all. The inverse of what can be undone is ready before the act begins,
and is carried out unless the loop confirms the act in time.

The guard takes the loop's word for what is intended, and a person's name for an approval: signatures come with
principals. `Guard` is what guards, wherever it runs: in the loop's process, where the loop that resumes from the record
does the rest once that process dies, or in a process of its own (`karez.adapters.guarding`), which owns the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import InitVar, dataclass, field
from itertools import groupby
from threading import Lock
from typing import Any, Protocol

import msgspec
import numpy as np

from karez.adapters.network import Network, seen
from karez.errors import KarezError, Refused
from karez.plan import Action, Read, changed, inverse, is_reversible
from karez.plan.kinds import KINDS
from karez.twin import Twin, World, schema
from karez.twin.table import texts
from karez.twin.telemetry import StateRows

# How long after the verification's limit the guard waits for the loop before it undoes an act alone.
GRACE_S = 5.0
# How long it waits before it tries again what failed.
AGAIN_S = 5.0
KILLED = "the kill switch is on"


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """The actions of a plan, to take now, as the leader of `epoch` decided; `approved_by` is empty on autonomy.

    `undoes` names the command whose acts these take back; `foreseen_us` is what the plan foresees of delays.
    """

    plan: str
    actions: tuple[Action, ...]
    reads: tuple[Read, ...]
    epoch: int
    approved_by: str = ""
    undoes: str = ""
    foreseen_us: dict[str, float] = {}

    @property
    def id(self) -> str:
        """What replies refer to."""
        return f"{self.undoes}/undo" if self.undoes else self.plan

    @property
    def touched(self) -> frozenset[tuple[str, str]]:
        """The table and id of every row of the intended twin that the actions set or add."""
        return frozenset(row for action in self.actions for row in action.touched)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command: done, or not and why; the reads that no longer held; what was read back.

    `begun` says that some of its acts were taken, or may have been, before one failed; `stands` has the ids of those
    of them that cannot be undone. `undone_alone` says that this is about the guard's own undoing of a command that
    nobody confirmed.
    """

    command: str
    at_s: float
    done: bool
    why: str = ""
    changed: tuple[Read, ...] = ()
    read_back: tuple[StateRows, ...] = ()
    begun: bool = False
    stands: tuple[str, ...] = ()
    undone_alone: bool = False


class Decided(msgspec.Struct, frozen=True):
    """What a guard reads of a decision: the commands."""

    commands: tuple[Command, ...] = ()


class Decisive(msgspec.Struct, frozen=True):
    """What a guard reads of an event of the record, which holds more than it knows of."""

    decisions: Decided


def decides(body: bytes | None, command: Command, shape: type[Any] = Decisive) -> bool:
    """Whether an event of the record with this body decided the command; what is no such event decided nothing.

    `shape` is what the body must hold to be such an event: `Decisive`, or all of what whoever asks writes there.
    """
    try:
        return body is not None and command in msgspec.json.decode(body, type=shape).decisions.commands
    except msgspec.MsgspecError:
        return False


class Armed(msgspec.Struct):
    """The inverses of a command's acts, last first, and when they are carried out if nobody confirms."""

    limit_s: float
    undo: tuple[Action, ...]


class Kept(msgspec.Struct, frozen=True):
    """All that a guard must know again when it is started anew."""

    epoch: int = 0
    killed: bool = False
    armed: dict[str, Armed] = {}


NOTHING = Kept()


class WritePath(Protocol):
    """What the loop knows of a guard, in its own process or in another."""

    killed: bool

    def lead(self, epoch: int) -> None:
        """Refuse every older leader from now on.

        Raises:
            Refused: a newer one leads.
            OSError: the guard is not reached.
        """
        ...

    def execute(self, command: Command, receipt: bytes, world: World, *, at_s: float) -> Reply:
        """What became of the command."""
        ...

    def confirm(self, command: str) -> None:
        """Let what a command did stand."""
        ...

    def tick(self, at_s: float) -> tuple[Reply, ...]:
        """What became of acts that nobody confirmed in time."""
        ...


def nowhere(kept: Kept) -> None:
    """Keep nothing: a guard that ends with the loop."""


@dataclass
class Guard:
    """The guard of one network; `recorded` says whether a receipt stands for an event that decided the command.

    `keep` puts what must outlive the guard on the disk, before any act that rests on it; it raises OSError where it
    cannot, and then there is no act. `known` is what was kept before.
    """

    network: Network
    recorded: Callable[[bytes, Command], bool]
    epoch: int = 0
    killed: bool = False
    keep: Callable[[Kept], None] = nowhere
    known: InitVar[Kept] = NOTHING
    _armed: dict[str, Armed] = field(default_factory=dict)
    _unkept: bool = False
    _putting: Lock = field(default_factory=Lock)

    def __post_init__(self, known: Kept) -> None:
        """Take up what was kept."""
        self.epoch, self.killed = max(self.epoch, known.epoch), self.killed or known.killed
        self._armed |= known.armed

    @property
    def armed(self) -> tuple[str, ...]:
        """The commands that are undone unless they are confirmed."""
        return tuple(self._armed)

    def lead(self, epoch: int) -> None:
        """Refuse every older leader from now on.

        Raises:
            Refused: a newer one leads.
            OSError: this cannot be kept on the disk.
        """
        if epoch < self.epoch:
            raise Refused(self._superseded(epoch))
        if epoch > self.epoch:
            self.epoch = epoch
            if why := self._put():
                raise OSError(why)

    def kill(self, *, on: bool) -> None:
        """Stop all commands and timers, or let them go on."""
        self.killed = on
        self._put()

    def execute(self, command: Command, receipt: bytes, world: World, *, at_s: float) -> Reply:
        """What became of the command; it is carried out only if nothing at all speaks against it."""
        why = self._against(command, receipt, at_s)
        if why:
            return Reply(command=command.id, at_s=at_s, done=False, why=why)
        if command.epoch > self.epoch:
            self.epoch = command.epoch
            if why := self._put():
                return Reply(command=command.id, at_s=at_s, done=False, why=why)
        try:
            stale = changed(command.reads, self._fresh(world, command.reads))
        except Exception as error:  # noqa: BLE001  Whatever an adapter raises, the act is off.
            return Reply(command=command.id, at_s=at_s, done=False, why=_said(error))
        if stale:
            return Reply(command=command.id, at_s=at_s, done=False, why="a read no longer holds", changed=stale)
        return self._done(command, at_s)

    def confirm(self, command: str) -> None:
        """Let what a command did stand."""
        if self._armed.pop(command, None):
            self._put()

    def tick(self, at_s: float) -> tuple[Reply, ...]:
        """What became of acts that nobody confirmed in time. Nothing moves while it is killed."""
        if self._unkept:
            self._put()
        if self.killed:
            return ()
        late = [command for command, armed in self._armed.items() if armed.limit_s < at_s]
        return tuple(self._undo(command, at_s) for command in late)

    def _against(self, command: Command, receipt: bytes, at_s: float) -> str:
        kinds = [KINDS.get(action.kind) for action in command.actions]
        if self.killed:
            return KILLED
        if command.epoch < self.epoch:
            return self._superseded(command.epoch)
        for action, kind in zip(command.actions, kinds, strict=True):
            if kind is None or kind.name not in self.network.kinds:
                return f"nobody here can do {action.kind}"
            if action.expires_at_s < at_s:
                return "it has expired"
            if kind.effect == "irrevocable" and not command.approved_by:
                return "it cannot be undone, and no person approved it"
        return self._unrecorded(command, receipt)

    def _unrecorded(self, command: Command, receipt: bytes) -> str:
        try:
            return "" if self.recorded(receipt, command) else "the record holds no such decision"
        except (KarezError, OSError) as error:
            return f"the record cannot be asked: {error}"

    def _superseded(self, epoch: int) -> str:
        return f"a newer leader has acted (epoch {self.epoch}, not {epoch})"

    def _put(self) -> str:
        """Why what must outlive the guard is not on the disk; empty when it is. Each tick tries again."""
        try:
            # The kill switch comes from another thread than commands, and the later word must stay.
            with self._putting:
                self.keep(Kept(self.epoch, self.killed, self._armed))
        except OSError as error:
            self._unkept = True
            return f"the guard cannot keep what it would undo: {_said(error)}"
        self._unkept = False
        return ""

    def _fresh(self, world: World, reads: Iterable[Read]) -> World:
        """The world with the state rows that the reads name asked for again; what is not answered is not there."""
        wanted = sorted({(read.table, read.row) for read in reads if schema.is_observed(read.table)})
        actual = world.actual
        for table, group in groupby(wanted, key=lambda pair: pair[0]):
            names = [row for _, row in group]
            told = self.network.look(table, names)
            actual = seen(_lacking(actual, table, set(names) - set(told.ids)), [told])
        return World(world.intended, actual)

    def _done(self, command: Command, at_s: float) -> Reply:
        """Take the actions in their order; where one fails, what was taken goes back, and what cannot is told."""
        taken: list[Action] = []
        for action in command.actions:
            taken.append(action)
            # The kill switch may come between two acts.
            why, doubtful = KILLED if self.killed else self._arm(command, taken, at_s), False
            if not why:
                why, doubtful = self._applied(action, at_s)
            if why:
                return self._failed(command, taken if doubtful else taken[:-1], why, at_s)
        self._supersede(command)
        return Reply(command=command.id, at_s=at_s, done=True, read_back=self._read_back(command))

    def _applied(self, action: Action, at_s: float) -> tuple[str, bool]:
        """What stood in the way, and whether the act may have been taken all the same."""
        try:
            return self.network.apply(action, at_s), False
        except Exception as error:  # noqa: BLE001  An adapter that breaks leaves the act in doubt.
            return _said(error), True

    def _failed(self, command: Command, taken: list[Action], why: str, at_s: float) -> Reply:
        undo = [action for action in taken if is_reversible(action)]
        self._armed.pop(command.id, None)
        if undo and not command.undoes:
            self._arm(command, undo, at_s)
            # Its time is up at once: the next tick takes it back.
            self._armed[command.id].limit_s = -np.inf
        self._put()
        stands = tuple(action.id for action in taken if action not in undo)
        return Reply(command=command.id, at_s=at_s, done=False, why=why, begun=bool(taken), stands=stands)

    def _arm(self, command: Command, taken: list[Action], at_s: float) -> str:
        """Why the inverses of what is taken are not ready; empty when they are."""
        undo = [action for action in taken if is_reversible(action)]
        if not undo or command.undoes:
            return ""
        limit_s = at_s + max(KINDS[action.kind].within_s for action in undo) + GRACE_S
        back = tuple(inverse(action, expires_at_s=np.inf) for action in reversed(undo))
        self._armed[command.id] = Armed(limit_s, back)
        return self._put()

    def _supersede(self, command: Command) -> None:
        """What was to be undone on rows that a newer command has set is no longer to be."""
        others = [(name, armed) for name, armed in self._armed.items() if name not in (command.id, command.undoes)]
        for other, armed in others:
            kept = tuple(action for action in armed.undo if not command.touched.intersection(action.touched))
            if kept != armed.undo:
                self._armed[other] = Armed(armed.limit_s, kept)
                if not kept:
                    del self._armed[other]
                self._put()

    def _undo(self, command: str, at_s: float) -> Reply:
        armed = self._armed[command]
        failed = [why for why, _ in (self._applied(action, at_s) for action in armed.undo) if why]
        if failed:
            armed.limit_s = at_s + AGAIN_S
        else:
            del self._armed[command]
        self._put()
        return Reply(command=command, at_s=at_s, done=not failed, why="; ".join(failed), undone_alone=True)

    def _read_back(self, command: Command) -> tuple[StateRows, ...]:
        mirrored = sorted({(m, row) for table, row in command.touched if (m := schema.mirror(table))})
        try:
            return tuple(
                self.network.look(table, [row for _, row in group])
                for table, group in groupby(mirrored, key=lambda pair: pair[0])
            )
        except Exception:  # noqa: BLE001  The act is done; what it did will be observed, or it is undone.
            return ()


def _lacking(actual: Twin, table: str, gone: set[str]) -> Twin:
    if not gone:
        return actual
    states = actual[table]
    return actual.replace(states.take(~np.isin(states.ids, texts(sorted(gone)))))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
