"""The guard as a process of its own: it owns the network, observes it for the loop, and is the only way to change it.

The loop reaches it by a UNIX socket, which only its own user may open, and has no adapter (`karez.adapters.remote`).
One thread does what is asked, in turn, and asks the network; an adapter that hangs is given up after a while, and what
it was doing counts as in doubt. The guard's timers run by its own clock, and what they are to undo is on the disk
before an act begins: a guard that is killed and started again still undoes what nobody confirmed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from karez.adapters import wire
from karez.adapters.guard import NOTHING, Command, Guard, Kept, Reply
from karez.adapters.network import Network
from karez.adapters.wire import LARGEST, LENGTH, uptime_s
from karez.errors import InputError, Refused
from karez.plan import Action
from karez.twin.table import Array
from karez.twin.telemetry import Samples, StateRows

T = TypeVar("T")

# How long the guard waits for one answer of an adapter (s).
ADAPTER_S = 3.0
# How often the guard looks whether something is to be undone (s).
TICK_S = 0.25
# How long a controller may take to read an answer before it is dropped (s).
READ_S = 5.0
# What was undone alone and nobody has asked about.
MOST_UNDONE = 1_000


class Clock:
    """Unix time (s) that never goes back nor leaps: asked of the wall clock once, and counted on from there.

    It begins no earlier than `since_s`, the last time that an earlier guard is known to have lived.
    """

    def __init__(self, since_s: float = 0.0) -> None:
        """Look at the wall clock once."""
        self._zero_s = max(time.time(), since_s) - uptime_s()

    def __call__(self) -> float:
        """The time now."""
        return self._zero_s + uptime_s()


class Saved(msgspec.Struct, frozen=True):
    """What a guard keeps on its disk, and when it did."""

    at_s: float
    kept: Kept


class Keeper:
    """The small file in which a guard keeps what must outlive it; written whole, and only one guard may have it."""

    def __init__(self, path: Path) -> None:
        """Take the file, and read what it holds.

        Raises:
            InputError: another guard has it, or it cannot be read.
        """
        self.path, self.saved, self._saving = path, Saved(0.0, NOTHING), threading.Lock()
        self.clock: Callable[[], float] = time.time
        try:
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError.of(str(path), f"cannot be taken ({error})", "end the guard that has it") from error
        if path.exists():
            self.saved = self._read()

    def __call__(self, kept: Kept) -> None:
        """Put it on the disk.

        Raises:
            OSError: the disk did not take it.
        """
        with self._saving:
            beside = self.path.with_suffix(".new")
            with beside.open("wb") as file:
                file.write(msgspec.msgpack.encode(Saved(self.clock(), kept)))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
            _synced(self.path.parent)

    def close(self) -> None:
        """Let another guard have the file."""
        os.close(self._lock)

    def _read(self) -> Saved:
        try:
            return msgspec.msgpack.decode(self.path.read_bytes(), type=Saved)
        except (OSError, msgspec.MsgspecError) as error:
            fix = "see by hand what is to be undone, then move the file away"
            raise InputError.of(str(self.path), f"cannot be read ({error})", fix) from error


def _synced(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(eq=False)
class _Job:
    """A question to an adapter, and what became of it."""

    name: str
    ask: Callable[[], Any]
    began_s: float
    result: Future[Any] = field(default_factory=Future)


class Patient:
    """A network that is asked by one thread of its own, and given up after `within_s`.

    While a question is still under way, no other is asked: what is done late is never overtaken by what undoes it.
    What was observed too late is told next time.
    """

    def __init__(self, network: Network, within_s: float = ADAPTER_S) -> None:
        """Start the thread; it does not keep a process from ending."""
        self.kinds, self._network, self._within_s = network.kinds, network, within_s
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._late: _Job | None = None
        self._missed: dict[str, tuple[Any, ...]] = {"observe": (), "hear": ()}
        threading.Thread(target=self._work, daemon=True).start()

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What changed or was measured since it was last asked."""
        return self._all("observe", lambda: self._network.observe(at_s))

    def hear(self, at_s: float) -> tuple[Samples, ...]:
        """The telemetry since it was last heard."""
        return self._all("hear", lambda: self._network.hear(at_s))

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """How these rows are now."""
        return self._asked("look", lambda: self._network.look(table, ids))

    def apply(self, action: Action, at_s: float) -> str:
        """What stands in the way."""
        return self._asked("apply", lambda: self._network.apply(action, at_s))

    def _all(self, name: str, ask: Callable[[], tuple[T, ...]]) -> tuple[T, ...]:
        told = self._asked(name, ask)
        missed, self._missed[name] = self._missed[name], ()
        return (*missed, *told)

    def _asked(self, name: str, ask: Callable[[], T]) -> T:
        self._settle()
        job = _Job(name, ask, uptime_s())
        self._jobs.put(job)
        try:
            return cast("T", job.result.result(self._within_s))
        except TimeoutError:
            # An adapter may raise one of its own.
            if not job.result.done():
                self._late = job
                raise TimeoutError(f"the adapter has not answered {name} within {self._within_s:g} s") from None
            raise

    def _settle(self) -> None:
        """Take in what came late; refuse to go on while it has not come."""
        late = self._late
        if late is None:
            return
        if not late.result.done():
            raise TimeoutError(f"the adapter hangs in {late.name} for {uptime_s() - late.began_s:.0f} s")
        self._late = None
        if late.name in self._missed and late.result.exception() is None:
            self._missed[late.name] += late.result.result()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job.result.set_result(job.ask())
            except BaseException as error:  # noqa: BLE001  It is told to whoever asked.
                job.result.set_exception(error)


@dataclass(eq=False)
class Server:
    """A guard that answers at `path` until it is told to end.

    `clock` is its own: nobody else's time starts or stops anything here. Only what is observed is in the loop's time.
    """

    guard: Guard
    path: Path
    clock: Callable[[], float]
    _undone: deque[Reply] = field(default_factory=lambda: deque(maxlen=MOST_UNDONE))
    _lines: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)
    _one: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="guard"))

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        asyncio.run(self.serve())

    async def serve(self) -> None:
        """Serve until the process is told to end, or the timers break: a guard without timers is none."""
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, ended.set)
        self.path.unlink(missing_ok=True)
        before = os.umask(0o077)
        try:
            server = await asyncio.start_unix_server(self._served, self.path)
        finally:
            os.umask(before)
        with self._one:
            ticking = asyncio.create_task(self._ticking())
            ticking.add_done_callback(lambda _: ended.set())
            async with server:
                await ended.wait()
            await self._hung_up()
            if ticking.done():
                ticking.result()
            ticking.cancel()

    async def _ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await asyncio.get_running_loop().run_in_executor(self._one, self.tick)

    async def _hung_up(self) -> None:
        """End all connections."""
        for writer in self._lines.values():
            writer.close()
        if self._lines:
            await asyncio.wait(self._lines, timeout=READ_S)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines[task] = writer
        task.add_done_callback(self._lines.pop)
        ids: dict[str, Array] = {}
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
            while True:
                (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
                if length > LARGEST:
                    break
                answer = await self._answered(await reader.readexactly(length), ids)
                writer.write(LENGTH.pack(len(answer)) + answer)
                await asyncio.wait_for(writer.drain(), READ_S)
        writer.close()

    async def _answered(self, body: bytes, ids: dict[str, Array]) -> bytes:
        try:
            question = msgspec.msgpack.decode(body, type=wire.Question)
        except msgspec.MsgspecError as error:
            return msgspec.msgpack.encode(wire.Answer(failed=f"the guard does not understand: {error}"))
        if self._at_once(question):
            return self.answer(question, ids)
        return await asyncio.get_running_loop().run_in_executor(self._one, self.answer, question, ids)

    def answer(self, question: wire.Question, ids: dict[str, Array]) -> bytes:
        """The answer to one question, as bytes; `ids` has what each channel has told this connection of."""
        try:
            return msgspec.msgpack.encode(wire.Answer(msgspec.Raw(msgspec.msgpack.encode(self._done(question, ids)))))
        except Refused as error:
            return msgspec.msgpack.encode(wire.Answer(refused=str(error)))
        except Exception as error:  # noqa: BLE001  Whatever an adapter raises is told to the leader.
            return msgspec.msgpack.encode(wire.Answer(failed=f"{type(error).__name__}: {error}"))

    def tick(self) -> None:
        """Undo what nobody confirmed in time."""
        self._undone.extend(self.guard.tick(self.clock()))

    def _at_once(self, question: wire.Question) -> bool:
        """Whether it waits for nobody: neither for an adapter that hangs, nor for an act that takes long."""
        if isinstance(question, wire.Lead):
            return question.epoch == self.guard.epoch
        return isinstance(question, wire.Kill | wire.Killed)

    def _done(self, question: wire.Question, ids: dict[str, Array]) -> object:
        if question.until_s and uptime_s() > question.until_s:
            raise Refused("it was asked too long ago, and nobody waits for the answer any more")
        match question:
            case wire.Killed():
                return self.guard.killed
            case wire.Kill():
                self.guard.kill(on=question.on)
                return None
            case wire.Look():
                return self.guard.network.look(question.table, question.ids)
            case wire.Execute():
                world = wire.world(question.rows)
                return self.guard.execute(question.command, question.receipt, world, at_s=self.clock())
        self.guard.lead(question.epoch)
        return self._told(question, ids)

    def _told(self, question: wire.Question, ids: dict[str, Array]) -> object:
        """What only the newest leader is told: news come once."""
        match question:
            case wire.Confirm():
                for command in question.commands:
                    self.guard.confirm(command)
            case wire.Undone():
                return [self._undone.popleft() for _ in range(len(self._undone))]
            case wire.Observe():
                return self.guard.network.observe(question.at_s)
            case wire.Hear():
                return [wire.packed(samples, ids) for samples in self.guard.network.hear(question.at_s)]
        return None


def serve(
    network: Network,
    recorded: Callable[[bytes, Command], bool],
    path: Path,
    *,
    within_s: float = ADAPTER_S,
) -> None:
    """Guard a network at the socket `path`, until the process is told to end; what is kept lies beside it.

    `recorded` says whether a receipt stands for an event that decided a command (`karez.adapters.guard.decides`).

    Raises:
        InputError: another guard has this place, or what it kept cannot be read.
    """
    keeper = Keeper(path.with_suffix(".kept"))
    keeper.clock = clock = Clock(keeper.saved.at_s)
    guard = Guard(Patient(network, within_s), recorded, keep=keeper, known=keeper.saved.kept)
    try:
        Server(guard, path, clock).run()
    finally:
        keeper.close()
