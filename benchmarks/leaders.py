"""Two controllers of one network: one is killed, hangs and wakes up, or is cut off, and never do two of them act.

Each run has real processes: a guard with the ring in it, and two controllers that reach the guard through a relay and
the lease through a link, both of which can be cut. What the guard did is told by a list of its own, written before the
guard decides anything. The yardstick is the same guard without fencing, in runs in which the leader stops between its
decision and its act: there the list must show stale acts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
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
from karez.adapters.wire import uptime_s
from karez.errors import KarezError
from karez.loop.leader import Leader
from karez.loop.runner import Runner
from karez.loop.state import Approval, Policy, State
from karez.plan import Action, Cell, Plan, Proof, Read
from karez.record import lineage
from karez.record.lease import Lease
from karez.record.log import Record, read
from karez.record.verify import verify
from karez.twin import World

NAME = "leaders"
SEEDS = (1,)
RUNS, AT_ONCE, WITHOUT = 300, 12, 24
Fate = Literal["killed", "hung", "stalled", "without its lease", "without its guard"]
FATES: tuple[Fate, ...] = ("killed", "hung", "stalled", "without its lease", "without its guard")
# How long a lease runs, how long a controller waits between turns, and how long one hangs or is cut off (s).
FOR_S, EVERY_S, AWAY_S = 1.0, 0.2, (5.0, 60.0)
# How long a run waits for what must come, leaves all as it is before it strikes, and goes on once all are well (s).
PATIENCE_S, READY_S, AFTER_S = 120.0, 1.0, 3.0
LINKS = ("l01", "l12", "l23", "l34", "l45")


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
    world, socket = ring(), folder / "guard"
    keeper = Keeper(socket.with_suffix(".kept"))
    keeper.clock = clock = Clock(keeper.saved.at_s)
    embedded = EmbeddedNetwork(world, seed=1, start_s=clock())
    # What has to be compiled is compiled before anybody waits for it.
    embedded.observe(clock())
    embedded.hear(clock())
    network = Patient(embedded)
    made = Listed(network, partial(recorded, folder), keep=keeper, known=keeper.saved.kept)
    made.listing, made.fenced = folder / "list", fenced
    Server(made, socket, clock).run()


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
    """Tell the run something, and when it was."""
    print(json.dumps({"at_s": uptime_s(), **words}), flush=True)


def controller(folder: Path, name: str) -> None:
    """Be one of the two controllers of a run, until killed."""
    line = Line(folder / f"guard-{name}", within_s=5.0)
    guard, network = Stalling(line), RemoteNetwork(line)
    signal.signal(signal.SIGUSR1, guard.stall)

    def make(state: State, record: Record, policy: Policy) -> Runner:
        runner = Runner.resume(state, network, record, policy)
        runner.guard = guard
        return runner

    lease = Lease(folder / f"lease-{name}", "ring", name, for_s=FOR_S)
    leader = Leader(lease, folder / "records", ring(), network, guard, Policy(level="advise", budgets={}), make)
    led = 0
    while True:
        try:
            leader.step(time.time(), switching)
        except KarezError as error:
            tell(ended=str(error))
        if leader.leads and leader.epoch != led:
            led = leader.epoch
            tell(led=led)
        elif not leader.leads and leader.why:
            tell(ended=leader.why)
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
                return await trial(random.Random(f"{seed}/{number}"), fate, fenced=fenced, away_s=away_s)

        return list(await asyncio.gather(*(one(number) for number in range(count))))

    return asyncio.run(all_of_them())


async def trial(chance: random.Random, fate: Fate, *, fenced: bool, away_s: tuple[float, float]) -> Outcome:
    """One run: a leader meets its fate, the other takes over, the first comes back."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        async with _Stage(folder, fenced=fenced) as stage:
            await asyncio.wait_for(stage.begun(), PATIENCE_S)
            await asyncio.sleep(chance.uniform(0.0, 1.0))
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


class _Stage:
    """The processes of one run, and what lies between them."""

    def __init__(self, folder: Path, *, fenced: bool) -> None:
        self.folder, self.fenced = folder, fenced
        self.processes: dict[str, asyncio.subprocess.Process] = {}
        self.relays: dict[str, _Relay] = {}
        self.told: dict[str, list[dict[str, Any]]] = {"a": [], "b": []}
        self.hearing: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> _Stage:
        (self.folder / "records").mkdir()
        Lease(self.folder / "leases", "ring", "nobody", for_s=FOR_S)
        await self._start("guard", "guard", *([] if self.fenced else ["--unfenced"]))
        await _until(lambda: (self.folder / "guard").exists())
        for name in "ab":
            (self.folder / f"lease-{name}").symlink_to("leases")
            self.relays[name] = _Relay(self.folder / f"guard-{name}", self.folder / "guard")
            await self.relays[name].open()
        return self

    async def __aexit__(self, *error: object) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for process in self.processes.values():
            await process.wait()
        for task in self.hearing:
            await task
        for relay in self.relays.values():
            await relay.close()

    async def begun(self) -> None:
        """Wait until one leads and has acted, and the other stands by."""
        for name in "ab":
            await self._start(name, "controller", name)
        await _until(lambda: b'"done":true' in self._list())
        while not await self._stays(self._leader()):
            pass

    async def _stays(self, leader: str | None) -> bool:
        """Whether there is a leader who still is one after a while."""
        await asyncio.sleep(READY_S)
        return leader is not None and self._leader() == leader

    async def struck(self, fate: Fate) -> tuple[str, float]:
        """The leader, and when it met its fate."""
        victim = self._leader()
        if victim is None:
            raise KarezError("nobody leads")
        process = self.processes[victim]
        if fate == "stalled":
            process.send_signal(signal.SIGUSR1)
            await _until(lambda: any("stalled" in line for line in self.told[victim]))
            return victim, float(next(line["at_s"] for line in self.told[victim] if "stalled" in line))
        struck_s = uptime_s()
        if fate == "without its lease":
            (self.folder / f"lease-{victim}").unlink()
        elif fate == "without its guard":
            self.relays[victim].cut = True
        else:
            process.send_signal(signal.SIGKILL if fate == "killed" else signal.SIGSTOP)
        return victim, struck_s

    async def healed(self, victim: str, fate: Fate) -> None:
        """Let the victim be well again, or start it anew."""
        if fate == "killed":
            await self._start(victim, "controller", victim)
        elif fate == "without its lease":
            (self.folder / f"lease-{victim}").symlink_to("leases")
        elif fate == "without its guard":
            self.relays[victim].cut = False
        else:
            self.processes[victim].send_signal(signal.SIGCONT)

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
        self.processes[name] = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks.leaders",
            str(self.folder),
            *words,
            stdout=asyncio.subprocess.PIPE if name in self.told else None,
        )
        if name in self.told:
            self.hearing.append(asyncio.create_task(self._hear(name, process)))

    async def _hear(self, name: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.told[name].append(json.loads(line))


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
    """Be one of the processes of a run."""
    folder, role = Path(words[0]), words[1]
    if role == "guard":
        guard(folder, fenced="--unfenced" not in words)
    else:
        controller(folder, words[2])


if __name__ == "__main__":
    main(sys.argv[1:])
