"""Two controllers of one network: one is killed, hangs and wakes up, or is cut off, and never do two of them act.

Each run has real processes: a guard with the ring in it, and two controllers that reach the guard through a relay and
the lease through a link, both of which can be cut. What the guard did is told by a list of its own, written before the
guard decides anything. The yardstick is the same guard without fencing, in runs in which the leader stops between its
decision and its act: there the list must show stale acts.

All processes are forked from one, the nursery, which has loaded and rehearsed what they need, so that the starts of
some do not slow the takeovers of others. So no takeover holds what a controller loads at the first turn of its life, as
none does for a controller that has rehearsed before it stands by.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import random
import select
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchmarks import MEMORY, Figure
from benchmarks.instances.ring import ring
from karez.adapters.embedded import EmbeddedNetwork
from karez.adapters.guard import Command, Guard, Reply, decides
from karez.adapters.guarding import Clock, Keeper, Patient, Server
from karez.adapters.remote import Line, RemoteGuard, RemoteNetwork
from karez.adapters.wire import Answer, Question, uptime_s
from karez.errors import KarezError
from karez.loop.leader import Leader
from karez.loop.runner import Runner
from karez.loop.state import Approval, Policy, State
from karez.plan import Action, Cell, Plan, Proof, Read
from karez.record import lineage
from karez.record.lease import Lease
from karez.record.log import Record, read
from karez.record.verify import verify
from karez.scenario.rehearsal import rehearse
from karez.twin import World
from karez.twin.table import Array

NAME = "leaders"
SEEDS = (1,)
RUNS, AT_ONCE, WITHOUT = 300, 12, 24
Fate = Literal["killed", "hung", "stalled", "without its lease", "without its guard"]
FATES: tuple[Fate, ...] = ("killed", "hung", "stalled", "without its lease", "without its guard")
# How long a lease runs, how long a controller waits between turns, and how long one hangs or is cut off (s).
FOR_S, EVERY_S, AWAY_S = 1.0, 0.2, (5.0, 60.0)
# How long a run waits for what must come, leaves all as it is before it strikes, and goes on once all are well (s).
# One that could not lead rests for two lengths of the lease: nobody is to rest any more when a run strikes.
PATIENCE_S, READY_S, AFTER_S = 120.0, 2.5, 3.0
LINKS = ("l01", "l12", "l23", "l34", "l45")
# How many turns each of two leaders takes in the nursery.
WARM_TURNS = 10
# How much of why a term ended is told: a line of 4096 bytes (PIPE_BUF) is written whole, whoever else writes.
WHY_CHARACTERS = 500
# Source: prctl(2), linux/prctl.h.
PR_SET_PDEATHSIG = 1


def run() -> list[Figure]:
    """What happened in all runs, and in those without fencing."""
    fenced = runs(SEEDS[0], RUNS)
    free = runs(SEEDS[0], WITHOUT, fenced=False)
    tookover_s = sorted(one.tookover_s for one in fenced)
    return [
        Figure(what="runs of two controllers", value=len(fenced), unit="runs", better="higher", bar=RUNS),
        Figure(
            what="acts of a leader that was no longer one (yardstick: without fencing, per run)",
            value=sum(one.stale for one in fenced),
            unit="",
            better="lower",
            bar=0,
            yardstick=sum(one.stale for one in free) / len(free),
        ),
        Figure(what="longest takeover", value=tookover_s[-1], unit="s", better="lower", bar=2.0),
        Figure(what="the 99th of a hundred", value=tookover_s[len(fenced) * 99 // 100], unit="s", better="lower"),
        Figure(what="median takeover", value=statistics.median(tookover_s), unit="s", better="lower"),
        Figure(
            what="commands of a stale leader that the guard refused",
            value=sum(one.refused for one in fenced),
            unit="",
            better="higher",
            bar=1,
        ),
        Figure(
            what="acts that the record lacks",
            value=sum(one.unrecorded for one in fenced),
            unit="",
            better="lower",
            bar=0,
        ),
        Figure(what="acts in all", value=sum(one.acts for one in fenced), unit="", better="higher"),
    ]


class Listing(msgspec.Struct, frozen=True):
    """A command that came to the guard and what became of it, or (without one) a leader that began."""

    at_s: float
    epoch: int
    command: str
    done: bool
    why: str


class Listed(Guard):
    """A guard that lists what it is told, in the order in which it comes; it fences off nobody unless `fenced`."""

    listing: Path
    fenced: bool = True
    newest: int = 0

    def execute(self, command: Command, receipt: bytes, world: World, *, at_s: float) -> Reply:
        """What became of it; also on the list."""
        if not self.fenced:
            self.epoch = 0
        reply = super().execute(command, receipt, world, at_s=at_s)
        self._list(Listing(uptime_s(), command.epoch, command.id, reply.done or reply.begun, reply.why))
        return reply

    def lead(self, epoch: int) -> None:
        """Refuse every older leader; a new one is on the list."""
        if epoch > self.newest:
            self.newest = epoch
            self._list(Listing(uptime_s(), epoch, "", False, ""))
        if self.fenced:
            super().lead(epoch)

    def _list(self, told: Listing) -> None:
        with self.listing.open("ab") as file:
            file.write(msgspec.json.encode(told) + b"\n")


def guard(folder: Path, *, fenced: bool) -> None:
    """Be the guard of a run."""
    world, path = ring(), folder / "guard"
    keeper = Keeper(path.with_suffix(".kept"))
    keeper.clock = clock = Clock(keeper.saved.at_s)
    embedded = EmbeddedNetwork(world, seed=1, start_s=clock())
    # What has to be compiled is compiled before anybody waits for it.
    embedded.observe(clock())
    embedded.hear(clock())
    network = Patient(embedded)
    made = Listed(network, partial(recorded, folder), keep=keeper, known=keeper.saved.kept)
    made.listing, made.fenced = folder / "list", fenced
    Server(made, path, clock).run()


def recorded(folder: Path, receipt: bytes, command: Command) -> bool:
    """Whether the record of the command's leader has decided it."""
    return decides(lineage.body(folder / "records", command.epoch, receipt), command)


class Stalling(RemoteGuard):
    """The guard as a controller sees it that stops itself when told, after it has decided and before it acts."""

    stalls = False

    def stall(self, *_: object) -> None:
        """Stop at the next act."""
        self.stalls = True

    def execute(self, command: Command, receipt: bytes, world: World, *, at_s: float) -> Reply:
        """What became of the command, perhaps much later."""
        if self.stalls:
            self.stalls = False
            tell(stalled=True)
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().execute(command, receipt, world, at_s=at_s)


def tell(**words: object) -> None:
    """Tell the run something, who says so, and when it was."""
    # All at once: others write to the same pipe.
    os.write(1, json.dumps({"at_s": uptime_s(), "pid": os.getpid(), **words}).encode() + b"\n")


def contender(folder: Path, name: str, line: Line, guard: RemoteGuard) -> Leader:
    """A controller that reaches the guard by `line`, and the lease by a link of its own."""
    network = RemoteNetwork(line)

    def make(state: State, record: Record, policy: Policy) -> Runner:
        runner = Runner.resume(state, network, record, policy)
        runner.guard = guard
        return runner

    lease = Lease(folder / f"lease-{name}", "ring", name, for_s=FOR_S)
    return Leader(lease, folder / "records", ring(), network, guard, Policy(level="advise", budgets={}), make)


def controller(folder: Path, name: str) -> None:
    """Be one of the two controllers of a run, until killed."""
    line = Line(folder / f"guard-{name}", within_s=5.0)
    guard = Stalling(line)
    signal.signal(signal.SIGUSR1, guard.stall)
    leader, led = contender(folder, name, line, guard), 0
    while True:
        try:
            leader.step(time.time(), switching)
        except KarezError as error:
            tell(ended=str(error)[:WHY_CHARACTERS])
        if leader.leads and leader.epoch != led:
            led = leader.epoch
            tell(led=led)
        elif not leader.leads and leader.why:
            tell(ended=leader.why[:WHY_CHARACTERS])
            leader.why = ""
        time.sleep(EVERY_S)


def switching(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
    """A plan for another link whenever none is under way, and a word for whatever waits."""
    approvals = tuple(Approval(plan.id, "Li Wei") for plan in state.waiting)
    settled = ("watching", "long")
    busy = {row for one in state.running if one.phase not in settled for _, row in one.command.touched}
    link = LINKS[int(at_s / EVERY_S) % len(LINKS)]
    if state.waiting or link in busy:
        return (), approvals
    drained = bool(state.intended["links"].cell(link, "drained"))
    return (switch(state, (link,), not drained, at_s=at_s),), approvals


def switch(state: State, links: Sequence[str], drained: bool, *, at_s: float) -> Plan:
    """The plan that takes traffic off these links, or lets it back."""
    actions = tuple(
        Action(
            kind="drain_link" if drained else "undrain_link",
            subject=link,
            sets=(Cell("links", link, "drained", not drained, drained),),
            blast_radius=(link,),
            expires_at_s=at_s + 120.0,
        )
        for link in links
    )
    return Plan(
        planner="switch",
        question={},
        revision=state.intended.digest,
        made_at_s=at_s,
        reads=tuple(Read("link_states", link, "up", "==", True) for link in links),
        actions=actions,
        price_cny=0.0,
        proof=Proof(value=0.0, bound=0.0, unit="CNY", how="as asked"),
    )


class Near(Line):
    """A line to a guard in the same process: all is said in the same bytes, by no socket."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.path)
        self._server, self._theirs = server, dict[str, Array]()

    def _exchanged(self, question: Question, until_s: float) -> Answer:
        asked = msgspec.msgpack.decode(msgspec.msgpack.encode(question), type=Question)
        return msgspec.msgpack.decode(self._server.answer(asked, self._theirs), type=Answer)


def warm() -> None:
    """Play a run in this process, in which one leads after another: what they need is loaded and compiled by then.

    Nothing of it stays open, and no thread goes on: what is forked from this process has only what it opens itself.
    """
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder, at_s = Path(name), time.time()
        (folder / "records").mkdir()
        network = EmbeddedNetwork(ring(), seed=1, start_s=at_s)
        line = Near(Server(Guard(network, partial(recorded, folder)), folder / "guard", lambda: at_s))
        for leads in "ab":
            (folder / f"lease-{leads}").symlink_to("leases")
            leader = contender(folder, leads, line, RemoteGuard(line))
            for _ in range(WARM_TURNS):
                at_s += EVERY_S
                leader.step(at_s, switching)
            leader.end()
    if not rehearse():
        raise KarezError("nothing was planned in the rehearsal: what plans is not compiled")


def nursing() -> list[str]:
    """The words of each child, in the child; none in the nursery itself, once nobody asks for another.

    Each line of the input asks for a child. It tells its words first, so that whoever asked knows its number.
    """
    warm()
    # What is there by now is never collected: looking it over would copy all of it into every child.
    gc.freeze()
    # Nobody waits for a child that has ended; the kernel takes it away at once.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    parent = os.getpid()
    for line in sys.stdin:
        if os.fork() == 0:
            _end_with(parent)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # Each has its own share of the processors, as services have (sched(7), autogroups), whatever else runs.
            os.setsid()
            words: list[str] = json.loads(line)
            tell(began=words)
            return words
    return []


def _end_with(parent: int) -> None:
    """Be killed when the parent ends, hung or not; it may have ended already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        sys.exit("the nursery has ended")


@dataclass
class Outcome:
    """What happened in one run: acts, those of a stale leader, what the guard refused it, how long nobody led."""

    fate: Fate
    acts: int = 0
    stale: int = 0
    refused: int = 0
    unrecorded: int = 0
    tookover_s: float = 0.0
    epochs: list[int] = field(default_factory=list)


def runs(
    seed: int, count: int, *, fenced: bool = True, at_once: int = AT_ONCE, away_s: tuple[float, float] = AWAY_S
) -> list[Outcome]:
    """The outcomes of so many runs; without fencing all are of the kind that fencing is for."""

    async def all_of_them() -> list[Outcome]:
        gate = asyncio.Semaphore(at_once)

        async def one(number: int) -> Outcome:
            async with gate:
                fate = FATES[number % len(FATES)] if fenced else "stalled"
                return await trial(nursery, random.Random(f"{seed}/{number}"), fate, fenced=fenced, away_s=away_s)

        async with _Nursery() as nursery:
            return list(await asyncio.gather(*(one(number) for number in range(count))))

    return asyncio.run(all_of_them())


async def trial(
    nursery: _Nursery, chance: random.Random, fate: Fate, *, fenced: bool, away_s: tuple[float, float]
) -> Outcome:
    """One run: a leader meets its fate, the other takes over, the first comes back."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        async with _Stage(nursery, folder, fenced=fenced) as stage:
            await asyncio.wait_for(stage.begun(READY_S + chance.random()), PATIENCE_S)
            victim, struck_s = await stage.struck(fate)
            tookover_s = await stage.led("b" if victim == "a" else "a", struck_s) - struck_s
            least_s, most_s = away_s
            away = least_s * (most_s / least_s) ** chance.random()
            await asyncio.sleep(max(0.0, struck_s + away - uptime_s()))
            await stage.healed(victim, fate)
            await asyncio.sleep(AFTER_S)
        return audited(folder, fate, tookover_s)


def audited(folder: Path, fate: Fate, tookover_s: float) -> Outcome:
    """What the list of the guard and the record that is left say."""
    outcome = Outcome(fate, tookover_s=tookover_s)
    newest = lineage.newest(folder / "records")
    assert newest is not None
    verify(newest)
    recorded = b"".join(event.body for event in read(newest))
    latest = 0
    for line in (folder / "list").read_bytes().splitlines():
        told = msgspec.json.decode(line, type=Listing)
        outcome.refused += "newer leader" in told.why
        if told.done:
            outcome.acts += 1
            outcome.stale += told.epoch < latest
            outcome.unrecorded += told.command.removesuffix("/undo").encode() not in recorded
            outcome.epochs.append(told.epoch)
        latest = max(latest, told.epoch)
    return outcome


class _Child:
    """A process of a run, by a handle that never comes to mean another process, as its number may."""

    def __init__(self, number: int) -> None:
        self._handle = os.pidfd_open(number)

    def send(self, number: int) -> None:
        """Send it a signal."""
        signal.pidfd_send_signal(self._handle, number)

    async def gone(self) -> None:
        """Kill it, unless it has ended, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGKILL)
        await _until(lambda: select.select([self._handle], [], [], 0.0)[0])
        os.close(self._handle)


# What one process told, in its order.
Told = list[dict[str, Any]]


class _Nursery:
    """The process from which all others are forked, and which none outlives; what they tell comes by one pipe."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, ...], tuple[asyncio.Future[int], Told]] = {}
        self._told: dict[int, Told] = {}

    async def __aenter__(self) -> _Nursery:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.leaders", "nursery"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Nothing that has threads can be forked and be relied on.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        self._hearing = asyncio.create_task(self._hear())
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = await self._process.wait()
        await self._hearing
        if code:
            raise KarezError(f"the nursery ended with {code}, and all processes with it")

    async def start(self, *words: str, told: Told) -> _Child:
        """A new process that has begun; what it tells comes to be in `told`.

        Raises:
            KarezError: the nursery has ended, or starts nothing.
        """
        born = asyncio.get_running_loop().create_future()
        self._asked[words] = born, told
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        await asyncio.wait((born, self._hearing), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        if not born.done():
            raise KarezError("the nursery starts no processes")
        return _Child(born.result())

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "began" in said:
                born, self._told[said["pid"]] = self._asked.pop(tuple(said["began"]))
                born.set_result(said["pid"])
            self._told[said["pid"]].append(said)


class _Stage:
    """The processes of one run, and what lies between them."""

    def __init__(self, nursery: _Nursery, folder: Path, *, fenced: bool) -> None:
        self.nursery, self.folder, self.fenced = nursery, folder, fenced
        self.processes: dict[str, _Child] = {}
        self.relays: dict[str, _Relay] = {}
        self.told: dict[str, Told] = {"guard": [], "a": [], "b": []}

    async def __aenter__(self) -> _Stage:
        (self.folder / "records").mkdir()
        Lease(self.folder / "leases", "ring", "nobody", for_s=FOR_S)
        await self._start("guard", "guard", *([] if self.fenced else ["--unfenced"]))
        await _until(partial(listens, self.folder / "guard"))
        for name in "ab":
            (self.folder / f"lease-{name}").symlink_to("leases")
            self.relays[name] = _Relay(self.folder / f"guard-{name}", self.folder / "guard")
            await self.relays[name].open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await asyncio.gather(*(process.gone() for process in self.processes.values()))
        for relay in self.relays.values():
            await relay.close()

    async def begun(self, for_s: float) -> None:
        """Wait until one leads and has acted, the other stands by, and it has stayed so `for_s`."""
        for name in "ab":
            await self._start(name, "controller", name)
        await _until(lambda: b'"done":true' in self._list())
        while not await self._stays(self._leader(), for_s):
            pass

    async def _stays(self, leader: str | None, for_s: float) -> bool:
        """Whether there is a leader who still is one after a while."""
        await asyncio.sleep(for_s)
        return leader is not None and self._leader() == leader

    async def struck(self, fate: Fate) -> tuple[str, float]:
        """The leader, and when it met its fate."""
        victim = self._leader()
        if victim is None:
            raise KarezError("nobody leads")
        process = self.processes[victim]
        if fate == "stalled":
            process.send(signal.SIGUSR1)
            await _until(lambda: any("stalled" in line for line in self.told[victim]))
            return victim, float(next(line["at_s"] for line in self.told[victim] if "stalled" in line))
        struck_s = uptime_s()
        if fate == "without its lease":
            (self.folder / f"lease-{victim}").unlink()
        elif fate == "without its guard":
            self.relays[victim].cut = True
        else:
            process.send(signal.SIGKILL if fate == "killed" else signal.SIGSTOP)
        return victim, struck_s

    async def healed(self, victim: str, fate: Fate) -> None:
        """Let the victim be well again, or start it anew."""
        if fate == "killed":
            await self.processes.pop(victim).gone()
            await self._start(victim, "controller", victim)
        elif fate == "without its lease":
            (self.folder / f"lease-{victim}").symlink_to("leases")
        elif fate == "without its guard":
            self.relays[victim].cut = False
        else:
            self.processes[victim].send(signal.SIGCONT)

    async def led(self, name: str, since_s: float) -> float:
        """When a controller first led after `since_s`."""

        def terms_s() -> list[float]:
            return [line["at_s"] for line in self.told[name] if "led" in line and line["at_s"] >= since_s]

        await _until(terms_s)
        return terms_s()[0]

    def _leader(self) -> str | None:
        """Who led in the newest epoch, by its own word, and has not said since that it does no longer."""
        terms = [(line["led"], line["at_s"], name) for name in "ab" for line in self.told[name] if "led" in line]
        if not terms:
            return None
        _, began_s, leader = max(terms)
        ended = any("ended" in line and line["at_s"] >= began_s for line in self.told[leader])
        return None if ended else leader

    def _list(self) -> bytes:
        path = self.folder / "list"
        return path.read_bytes() if path.exists() else b""

    async def _start(self, name: str, *words: str) -> None:
        self.processes[name] = await self.nursery.start(str(self.folder), *words, told=self.told[name])


class _Relay:
    """A socket that passes all on to another, unless it is cut: then nothing comes through, and nobody is told."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self.target, self.cut = path, target, False
        self.tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        self.server = await asyncio.start_unix_server(self._served, self.path)

    async def close(self) -> None:
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(self.target)
        for source, target in ((reader, ours), (theirs, writer)):
            task = asyncio.create_task(self._passed(source, target))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _passed(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(target):
            while data := await source.read(1 << 16):
                while self.cut:
                    await asyncio.sleep(0.02)
                target.write(data)
                await target.drain()


def listens(path: Path) -> bool:
    """Whether somebody listens at a socket: there is a moment in which it is there and nobody does yet."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as asking:
        return asking.connect_ex(str(path)) == 0


async def _until(holds: Any) -> None:
    """Wait until it holds.

    Raises:
        TimeoutError: it has not come to hold.
    """
    begun_s = uptime_s()
    while not holds():
        if uptime_s() - begun_s > PATIENCE_S:
            raise TimeoutError("what should have happened has not")
        await asyncio.sleep(0.02)


def main(words: list[str]) -> None:
    """Be one of the processes of a run, or the nursery: each of its children comes to be one here."""
    if words == ["nursery"]:
        words = nursing()
    if not words:
        return
    folder, role = Path(words[0]), words[1]
    if role == "guard":
        guard(folder, fenced="--unfenced" not in words)
    else:
        controller(folder, words[2])


if __name__ == "__main__":
    main(sys.argv[1:])
