"""Controllers and guards of real routers that are killed in the middle of a change: is a change ever half applied?

A controller drains links of a lab and lets traffic back, one after another, through a guard in a process of its own,
whose routers take a tenth of a second for every line they are told. Again and again the guard, the controller or both
are killed while routers are being told, and started anew. Once all is quiet, every link costs the same at both of its
ends. The yardstick is a process that tells the routers itself and is killed as often.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import MEMORY, Figure, figure
from benchmarks.instances.mesh import mesh
from benchmarks.leaders import recorded, switch
from karez.adapters.frr.config import Protocols
from karez.adapters.frr.interior import interior
from karez.adapters.frr.network import FrrNetwork
from karez.adapters.frr.vty import Vty
from karez.adapters.guarding import serve
from karez.adapters.remote import Line, RemoteGuard, RemoteNetwork
from karez.adapters.wire import uptime_s
from karez.errors import KarezError
from karez.lab.asked import AsPlanned, Lab
from karez.lab.daemons import folder
from karez.lab.network import network_of
from karez.lab.plan import plan
from karez.lab.start import ended, started
from karez.loop.leader import Leader
from karez.loop.runner import Runner
from karez.loop.state import Approval, Policy, State
from karez.plan import Plan
from karez.record.lease import Lease
from karez.record.log import Record
from karez.scenario.rehearsal import rehearse
from karez.twin import World

NAME = "halves"
SEEDS = (1,)
ROUTERS = 6
KILLS = int(os.environ.get("KAREZ_KILLS", "30"))
# Who is killed, in turn.
WHO = (("guard",), ("controller",), ("guard", "controller"))
# What a router takes for each line it is told, for how long at most until somebody is killed after one, and until they
# are started again (s).
SLOW_S, AGAIN_S = 0.1, 1.5
# How long a lease runs, how often a controller turns, how long the guard waits for routers (s).
FOR_S, EVERY_S, ROUTERS_S = 2.0, 0.2, 8.0
# What nobody confirmed is taken back within so long; what must come, within so long (s).
QUIET_S, PATIENCE_S = 20.0, 60.0


def run() -> list[Figure]:
    """How often a change was half applied at the end, by guards and by a process that has none."""
    return runs(KILLS)


def runs(kills: int) -> list[Figure]:
    """As `run`, with so many kills."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        guarded, struck = _campaign(Path(name), kills, guarded=True)
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        bare, _ = _campaign(Path(name), kills, guarded=False)
    return [
        figure("kills within a fifth of a second of a line that a router was told", struck, "", better="higher"),
        figure(
            "kills after which a link was left half changed (yardstick: no guard)",
            guarded,
            "",
            0.0,
            yardstick=float(bare),
        ),
    ]


def _world() -> World:
    return mesh(SEEDS[0], sites=ROUTERS)


def _slowly(folder: Path) -> None:
    """Let this process wait after each time that it tells a router something, and leave word of it."""
    configure = Vty.configure

    def slowly(vty: Vty, lines: Iterable[str]) -> None:
        configure(vty, lines)
        (folder / "telling").write_text(str(uptime_s()))
        time.sleep(SLOW_S)

    setattr(Vty, "configure", slowly)  # noqa: B010  It is assigned to on purpose.


@contextmanager
def _routers(lab: str) -> Iterator[FrrNetwork]:
    with closing(Lab(lab)) as opened, closing(network_of(opened, _world())) as network:
        yield network


def guard(folder: Path, lab: str) -> None:
    """Be the guard."""
    _slowly(folder)
    with _routers(lab) as network:
        serve(network, partial(recorded, folder), folder / "guard", within_s=ROUTERS_S)


def controller(folder: Path, lab: str) -> None:
    """Be the controller: drain a link, or let traffic back, whenever nothing is under way, unless it is to be quiet."""
    del lab
    rehearse()
    line = Line(folder / "guard", within_s=ROUTERS_S)
    network, remote = RemoteNetwork(line), RemoteGuard(line)

    def make(state: State, record: Record, policy: Policy) -> Runner:
        runner = Runner.resume(state, network, record, policy)
        runner.guard = remote
        return runner

    lease = Lease(folder / "leases", "lab", "controller", for_s=FOR_S)
    (folder / "records").mkdir(exist_ok=True)
    leader = Leader(lease, folder / "records", _world(), network, remote, Policy(level="advise", budgets={}), make)
    while True:
        # What it could not do it tries again: that is what is tested.
        try:
            leader.step(time.time(), partial(_switching, folder))
        except KarezError as error:
            print(error, file=sys.stderr, flush=True)
        time.sleep(EVERY_S)


def _switching(folder: Path, at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
    approvals = tuple(Approval(plan.id, "Li Wei") for plan in state.waiting)
    links = [row.decode() for row in state.intended["links"].ids.tolist()]
    link = links[int(at_s / EVERY_S) % len(links)]
    busy = any(one.phase not in ("watching", "long") for one in state.running)
    if (folder / "quiet").exists() or state.waiting or busy:
        return (), approvals
    drained = bool(state.intended["links"].cell(link, "drained"))
    return (switch(state, (link,), not drained, at_s=at_s),), approvals


def bare(folder: Path, lab: str) -> None:
    """Tell routers without a guard, until killed."""
    world, chance = _world(), random.Random(time.time_ns())
    _slowly(folder)
    with _routers(lab) as network:
        network.observe(time.time())
        while True:
            state = State.of(world)
            link = chance.choice(state.intended["links"].ids.tolist()).decode()
            for drained in (True, False):
                made = switch(state, (link,), drained, at_s=time.time())
                network.apply(made.actions[0], time.time())


def _campaign(folder: Path, kills: int, *, guarded: bool) -> tuple[int, int]:
    """How many kills left a link half changed, and how many struck while routers were being told."""
    lab, chance = f"bench-halves-{os.getpid()}", random.Random(SEEDS[0])
    started(plan(_world(), name=lab, protocols=Protocols(bfd_ms=100), users_per_s=200.0))
    running: dict[str, subprocess.Popen[bytes]] = {}
    halves = struck = 0
    try:
        for number in range(kills):
            who = WHO[number % len(WHO)] if guarded else ("bare",)
            for role in ("guard", "controller") if guarded else who:
                _start(running, role, folder, lab)
            struck += _strike(folder, [running[role] for role in who], chance)
            if guarded:
                time.sleep(chance.uniform(0.0, AGAIN_S))
                for role in who:
                    _start(running, role, folder, lab)
                (folder / "quiet").touch()
                time.sleep(QUIET_S)
            with closing(Lab(lab)) as opened:
                halves += bool(half(opened))
            (folder / "quiet").unlink(missing_ok=True)
            if not guarded:
                with closing(Lab(lab)) as opened:
                    opened.ask(AsPlanned())
    finally:
        for process in running.values():
            process.kill()
            process.wait()
        ended(lab)
    return halves, struck


def _start(running: dict[str, subprocess.Popen[bytes]], role: str, folder: Path, lab: str) -> None:
    """Start what does not run."""
    if role not in running or running[role].poll() is not None:
        words = [sys.executable, "-m", "benchmarks.halves", role, str(folder), lab]
        with (folder / f"{role}.log").open("ab") as log:
            running[role] = subprocess.Popen(words, stdout=log, stderr=log)


def _strike(folder: Path, processes: Sequence[subprocess.Popen[bytes]], chance: random.Random) -> bool:
    """Kill these soon after a router was told a line; whether that was while routers were being told."""
    told = folder / "telling"
    told.unlink(missing_ok=True)
    _until(told.exists, folder)
    time.sleep(chance.uniform(0.0, 2.0 * SLOW_S))
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return uptime_s() - float(told.read_text() or 0.0) < 2.0 * SLOW_S


def half(lab: Lab) -> tuple[str, ...]:
    """The links that are neither drained at both ends nor cost what they should at both, asked of every router anew."""
    plan, inside = lab.plan(), Path(f"/proc/{lab.process()}/root")
    igp, uneven = interior(plan.protocols), set[str]()
    for row, router in enumerate(plan.fabric.routers):
        with Vty(inside / str(folder(row)).lstrip("/") / f"{igp.DAEMON}.vty") as vty:
            told = igp.told(vty).ports
        for port in router.ports:
            facing = told[port.name].cost
            uneven |= {port.link} if facing not in (port.cost, igp.MOST_COST) else set()
            uneven ^= {f"{port.link} drained"} if facing == igp.MOST_COST else set()
    return tuple(sorted(uneven))


def _until(holds: Callable[[], bool], folder: Path) -> None:
    until_s = uptime_s() + PATIENCE_S
    while not holds():
        if uptime_s() > until_s:
            said = {path.name: path.read_text()[-300:] for path in folder.glob("*.log")}
            raise TimeoutError(f"no router is told anything: {said}")
        time.sleep(0.002)


ROLES: dict[str, Callable[[Path, str], None]] = {"guard": guard, "controller": controller, "bare": bare}

if __name__ == "__main__":
    ROLES[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
