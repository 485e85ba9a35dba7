"""The network and the guard as the loop sees them from another process: it can observe and ask, and change nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from karez.adapters import wire
from karez.adapters.guard import Command, Reply
from karez.adapters.wire import LENGTH, uptime_s
from karez.errors import KarezError, Refused
from karez.plan import Action, is_reversible
from karez.twin import World
from karez.twin.table import Array
from karez.twin.telemetry import Samples, StateRows

T = TypeVar("T")


class Unsent(ConnectionError):
    """The guard has not heard the question, so nothing came of it."""


# How long a controller waits for one answer of the guard (s).
ANSWER_S = 10.0
# The same, when a leader says that it leads: one that does not reach the guard lets another lead.
LEAD_S = 0.5


class Line:
    """A connection to a guard, made anew whenever it breaks; every question has its answer within `within_s`."""

    def __init__(self, path: Path, within_s: float = ANSWER_S) -> None:
        """Name the socket; nothing is asked yet."""
        self.path, self.within_s, self.epoch = path, within_s, 0
        self._socket: socket.socket | None = None
        self.ids: dict[str, Array] = {}

    def ask(self, question: wire.Question, kind: type[T], within_s: float | None = None) -> T:
        """The answer, of the type that the question has.

        Raises:
            OSError: the guard is not reached, does not answer in time, or its adapter failed.
            Refused: a newer leader leads.
        """
        until_s = uptime_s() + (self.within_s if within_s is None else within_s)
        with self._closed_on_error():
            told = self._exchanged(msgspec.structs.replace(question, until_s=until_s), until_s)
        if told.refused:
            raise Refused(told.refused)
        if told.failed:
            raise OSError(told.failed)
        return msgspec.msgpack.decode(told.body, type=kind)

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self.ids = {}

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            # A late answer must not be taken for that of the next question.
            self.close()
            raise

    def _exchanged(self, question: wire.Question, until_s: float) -> wire.Answer:
        body = msgspec.msgpack.encode(question)
        try:
            self._connected(until_s).sendall(LENGTH.pack(len(body)) + body)
        except OSError as error:
            raise Unsent(f"the guard at {self.path} is not reached: {error}") from error
        (length,) = LENGTH.unpack(self._read(LENGTH.size, until_s))
        return msgspec.msgpack.decode(self._read(length, until_s), type=wire.Answer)

    def _connected(self, until_s: float) -> socket.socket:
        """The connection, which waits until `until_s` and no longer."""
        left_s = max(0.001, until_s - uptime_s())
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(left_s)
            self._socket.connect(str(self.path))
        self._socket.settimeout(left_s)
        return self._socket

    def _read(self, length: int, until_s: float) -> bytes:
        read = bytearray(length)
        left = memoryview(read)
        while left:
            got = self._connected(until_s).recv_into(left)
            if not got:
                raise ConnectionResetError("the guard has ended the connection")
            left = left[got:]
        return bytes(read)


class RemoteNetwork:
    """The network as the loop sees it through the guard: it can be observed, heard and asked, and not changed."""

    kinds: frozenset[str] = frozenset()

    def __init__(self, line: Line) -> None:
        """Ask nothing yet."""
        self._line = line

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What changed or was measured since it was last asked.

        Raises:
            OSError: the guard is not reached, or its adapter failed.
            Refused: a newer leader leads.
        """
        return self._line.ask(wire.Observe(epoch=self._line.epoch, at_s=at_s), tuple[StateRows, ...])

    def hear(self, at_s: float) -> tuple[Samples, ...]:
        """The telemetry since it was last heard.

        Raises:
            OSError: the guard is not reached, or its adapter failed.
            Refused: a newer leader leads.
        """
        told = self._line.ask(wire.Hear(epoch=self._line.epoch, at_s=at_s), tuple[wire.Told, ...])
        return tuple(wire.unpacked(one, self._line.ids) for one in told)

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """How these rows are now.

        Raises:
            OSError: the guard is not reached, or its adapter failed.
        """
        return self._line.ask(wire.Look(table=table, ids=tuple(ids)), StateRows)

    def apply(self, action: Action, at_s: float) -> str:
        """Why nothing was done: only the guard acts."""
        return "only the guard acts"


class RemoteGuard:
    """A guard in another process. What it does not answer is in doubt; confirmations are told until it has them."""

    def __init__(self, line: Line) -> None:
        """Ask nothing yet."""
        self._line = line
        self._unconfirmed: list[str] = []

    @property
    def killed(self) -> bool:
        """Whether the kill switch is on.

        Raises:
            OSError: the guard is not reached.
        """
        return self._line.ask(wire.Killed(), bool)

    @killed.setter
    def killed(self, on: bool) -> None:
        self._line.ask(wire.Kill(on=on), type(None))

    def lead(self, epoch: int) -> None:
        """Refuse every older leader from now on, and ask in this epoch.

        Raises:
            Refused: a newer one leads.
            OSError: the guard is not reached.
        """
        self._line.ask(wire.Lead(epoch=epoch), type(None), LEAD_S)
        self._line.epoch = epoch

    def execute(self, command: Command, receipt: bytes, world: World, *, at_s: float) -> Reply:
        """What became of the command; what was sent and not answered may have been done."""
        rows = tuple(wire.rows(world, command.reads))
        question = wire.Execute(epoch=command.epoch, command=command, receipt=receipt, rows=rows)
        try:
            return self._line.ask(question, Reply)
        except (KarezError, Unsent) as error:
            return Reply(command=command.id, at_s=at_s, done=False, why=str(error))
        except (OSError, msgspec.MsgspecError) as error:
            return _in_doubt(command, at_s, f"the guard did not answer: {error}")

    def confirm(self, command: str) -> None:
        """Let what a command did stand."""
        self._unconfirmed.append(command)
        with suppress(OSError, Refused):
            self._confirm()

    def tick(self, at_s: float) -> tuple[Reply, ...]:
        """What the guard has undone alone, by its own clock, since it was last asked; nothing where it is silent."""
        try:
            self._confirm()
            return self._line.ask(wire.Undone(epoch=self._line.epoch), tuple[Reply, ...])
        except (OSError, Refused):
            return ()

    def _confirm(self) -> None:
        if self._unconfirmed:
            self._line.ask(wire.Confirm(epoch=self._line.epoch, commands=tuple(self._unconfirmed)), type(None))
            self._unconfirmed = []


def _in_doubt(command: Command, at_s: float, why: str) -> Reply:
    stands = tuple(action.id for action in command.actions if not is_reversible(action))
    return Reply(command=command.id, at_s=at_s, done=False, why=why, begun=True, stands=stands)
