"""The guard: it owns the only way to change a network, believes nobody, and undoes what nobody confirms.

The loop may be wrong, late, or one of two that both think they lead. So the guard asks afresh, each time: is this the
newest leader, is the decision in the record, may it still be started, does everything it relied on still hold? What it
did is undone by itself if the loop does not confirm it in time: a loop that died cannot leave a network half changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby

import msgspec

from karez.adapters.network import Network, StateRows, seen
from karez.plan import Action, Read, changed, inverse
from karez.plan.kinds import KINDS
from karez.twin import World, schema

# How long after the verification's limit the guard waits for the loop before it undoes an act alone.
GRACE_S = 5.0


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """An action to take now, from `plan`, decided by the leader of `epoch`; `approved_by` is empty on autonomy."""

    plan: str
    action: Action
    reads: tuple[Read, ...]
    epoch: int
    approved_by: str = ""

    @property
    def id(self) -> str:
        """What replies refer to: the plan and the action."""
        return f"{self.plan}/{self.action.id}"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a command: done or refused and why, the reads that no longer held, what was read back."""

    command: str
    at_s: float
    done: bool
    why: str = ""
    changed: tuple[Read, ...] = ()
    read_back: tuple[StateRows, ...] = ()
    undone_alone: bool = False


@dataclass
class Guard:
    """The guard of one network; `recorded` says whether a receipt stands for an event in the record."""

    network: Network
    recorded: Callable[[bytes], bool]
    epoch: int = 0
    killed: bool = False
    _armed: dict[str, tuple[float, Action]] = field(default_factory=dict)

    def execute(self, command: Command, receipt: bytes, world: World, *, at_s: float) -> Reply:
        """What became of the command; an act is taken only if nothing at all speaks against it."""
        why = self._against(command, receipt, at_s)
        if why:
            return Reply(command=command.id, at_s=at_s, done=False, why=why)
        stale = changed(command.reads, self._fresh(world, command.reads))
        if stale:
            return Reply(command=command.id, at_s=at_s, done=False, why="a read no longer holds", changed=stale)
        why = self.network.apply(command.action, at_s)
        if why:
            return Reply(command=command.id, at_s=at_s, done=False, why=why)
        self.epoch = command.epoch
        self._arm(command, at_s)
        return Reply(command=command.id, at_s=at_s, done=True, read_back=self._read_back(command.action))

    def confirm(self, command: str) -> None:
        """Let what a command did stand."""
        self._armed.pop(command, None)

    def tick(self, at_s: float) -> tuple[Reply, ...]:
        """What the guard undid alone, because nobody confirmed it in time. Nothing moves once it is killed."""
        if self.killed:
            return ()
        late = [command for command, (limit_s, _) in self._armed.items() if limit_s < at_s]
        return tuple(self._undo(command, at_s) for command in late)

    def _against(self, command: Command, receipt: bytes, at_s: float) -> str:
        kind = KINDS.get(command.action.kind)
        if self.killed:
            return "the kill switch is on"
        if command.epoch < self.epoch:
            return f"a newer leader has acted (epoch {self.epoch}, not {command.epoch})"
        if kind is None or kind.name not in self.network.kinds:
            return f"nobody here can do {command.action.kind}"
        if command.action.expires_at_s < at_s:
            return "it has expired"
        if kind.effect == "irrevocable" and not command.approved_by:
            return "it cannot be undone, and no person approved it"
        if not self.recorded(receipt):
            return "the decision is not in the record"
        return ""

    def _fresh(self, world: World, reads: Iterable[Read]) -> World:
        """The world with the state rows that the reads name asked for again."""
        wanted = sorted({(read.table, read.row) for read in reads if _observed(read.table)})
        rows = [
            self.network.look(table, [row for _, row in group])
            for table, group in groupby(wanted, key=lambda pair: pair[0])
        ]
        return World(world.intended, seen(world.actual, rows))

    def _read_back(self, action: Action) -> tuple[StateRows, ...]:
        tables = {schema.mirror(cell.table): cell.row for cell in action.sets if schema.mirror(cell.table)}
        return tuple(self.network.look(table, [row]) for table, row in sorted(tables.items()))

    def _arm(self, command: Command, at_s: float) -> None:
        kind = KINDS[command.action.kind]
        if kind.effect == "reversible":
            limit_s = at_s + kind.within_s + GRACE_S
            self._armed[command.id] = (limit_s, inverse(command.action, expires_at_s=limit_s + GRACE_S))

    def _undo(self, command: str, at_s: float) -> Reply:
        _, undo = self._armed.pop(command)
        why = self.network.apply(undo, at_s)
        return Reply(command=command, at_s=at_s, done=not why, why=why, undone_alone=True)


def _observed(table: str) -> bool:
    """Whether the network tells of the table; findings are the loop's own."""
    return schema.is_state(table) and table != "findings"
