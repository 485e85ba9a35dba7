"""The daemons of FRR in a lab: their files, how they are started, stopped and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from karez.adapters.frr import bgp
from karez.adapters.frr.config import Protocols, configuration, users_network
from karez.adapters.frr.fabric import Router
from karez.adapters.frr.interior import interior
from karez.adapters.frr.vty import PATIENCE_S, Vty, VtyError
from karez.lab.spaces import PRIVATE, SpaceError, entered

BINARIES = Path("/usr/lib/frr")
USER = "frr"
# Where each router has its files, as only the lab sees them.
FOLDER = PRIVATE / "karez"
# How long a daemon may take until it can be asked (s), and how often that is tried.
STARTS_S, TRIED_S = 30.0, 0.01
# How long a router may take to answer before it counts as one that does not (s); who asked the lab waits for that.
ANSWERS_S = 0.5
SAID_LINES = 3


def missing(protocols: Protocols) -> tuple[str, ...]:
    """What of FRR this machine lacks."""
    lacks = [daemon for daemon in protocols.daemons if not (BINARIES / daemon).exists()]
    return (f"there is no {', '.join(lacks)} in {BINARIES}: install FRR (`make system`)",) if lacks else ()


def folder(router: int) -> Path:
    """Where the files of a router are."""
    return FOLDER / str(router)


class Daemons:
    """All daemons of all routers, children of this process."""

    def __init__(self, routers: Sequence[Router], networks: Sequence[int], protocols: Protocols) -> None:
        """Write the files; nothing is started yet."""
        self._routers, self._networks, self._protocols = routers, networks, protocols
        self._running: dict[tuple[int, str], subprocess.Popen[bytes]] = {}
        # How often each router has come up: its first daemon was started.
        self.starts = [0] * len(routers)
        for row, router in enumerate(routers):
            where = folder(row)
            where.mkdir(parents=True)
            for daemon, lines in configuration(router, row, protocols).items():
                (where / f"{daemon}.conf").write_text("\n".join([f"hostname {router.id}", *lines, ""]))
            for path in (where, *where.iterdir()):
                shutil.chown(path, USER, USER)

    def start_all(self) -> None:
        """Start every daemon of every router, and wait until all can be asked.

        Raises:
            SpaceError: one died, or cannot be asked.
        """
        rows = range(len(self._networks))
        first, *others = self._protocols.daemons
        for row in rows:
            self.start(row, first)
        for row in rows:
            self._await_socket(row, first, "zserv.api")
            for daemon in others:
                self.start(row, daemon)
        for row in rows:
            for daemon in self._protocols.daemons:
                self._await_socket(row, daemon, f"{daemon}.vty")

    def start(self, router: int, daemon: str) -> None:
        """Start a daemon, unless it runs."""
        if self.runs(router, daemon):
            return
        first, where = daemon == self._protocols.daemons[0], folder(router)
        self.starts[router] += first
        for left in (f"{daemon}.vty", f"{daemon}.pid", *(["zserv.api"] if first else [])):
            (where / left).unlink(missing_ok=True)
        with self._log(router, daemon) as said, entered(self._networks[router]):
            self._running[router, daemon] = subprocess.Popen(
                [
                    str(BINARIES / daemon),
                    *("--vty_socket", str(where)),
                    *("--pid_file", str(where / f"{daemon}.pid")),
                    *("--socket", str(where / "zserv.api")),
                    *("--config_file", str(where / f"{daemon}.conf")),
                    *("--vty_port", "0"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def runs(self, router: int, daemon: str) -> bool:
        """Whether a daemon runs, or at least is there."""
        process = self._running.get((router, daemon))
        return process is not None and process.poll() is None

    def set(self, router: int, daemon: str, to: str) -> None:
        """Kill, stop or continue a daemon, or start it and wait until it can be asked."""
        if to == "start":
            self.start(router, daemon)
            self._await_socket(router, daemon, "zserv.api" if daemon == self._protocols.daemons[0] else f"{daemon}.vty")
            return
        if self.runs(router, daemon):
            process = self._running[router, daemon]
            process.send_signal({"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "continue": signal.SIGCONT}[to])
            if to == "kill":
                process.wait()

    def planned(self, router: int) -> Iterator[tuple[str, tuple[str, ...]]]:
        """By daemon, the lines that give a router the costs and drains of its plan, and have it tell of its users."""
        igp, its = interior(self._protocols), self._routers[router]
        costs = (line for port in its.ports for line in igp.cost_lines(port, igp.planned(port).cost))
        yield igp.DAEMON, (*costs, *igp.router_lines(its.drained))
        if self._protocols.bgp:
            yield bgp.DAEMON, bgp.lines(says=(users_network(its),))

    def answers(self, router: int) -> bool:
        """Whether a router answers."""
        return self._answers(folder(router) / "zebra.vty", patience_s=ANSWERS_S)

    def dead(self) -> tuple[str, ...]:
        """The daemons that have died, as `router/daemon`."""
        return tuple(f"{row}/{daemon}" for row, daemon in self._running if not self.runs(row, daemon))

    def _await_socket(self, router: int, daemon: str, name: str) -> None:
        path, until_s = folder(router) / name, time.monotonic() + STARTS_S
        while not self._answers(path):
            if not self.runs(router, daemon):
                raise SpaceError(f"{daemon} of router {router} died at its start: {self._said(router, daemon)}")
            if time.monotonic() > until_s:
                raise SpaceError(f"{daemon} of router {router} cannot be asked after {STARTS_S:g} s")
            time.sleep(TRIED_S)

    def _answers(self, path: Path, *, patience_s: float = PATIENCE_S) -> bool:
        if path.suffix != ".vty":
            return path.exists()
        try:
            Vty(path, patience_s=patience_s).close()
        except VtyError:
            return False
        return True

    def _log(self, router: int, daemon: str) -> IO[bytes]:
        return (folder(router) / f"{daemon}.log").open("ab")

    def _said(self, router: int, daemon: str) -> str:
        said = (folder(router) / f"{daemon}.log").read_text(errors="replace").strip().splitlines()
        return " / ".join(said[-SAID_LINES:]) or f"exit status {self._running[router, daemon].returncode}"


def usage_mb() -> float:
    """The memory of this process and all its children (MB, shared pages once)."""
    total_kb = 0
    for path in Path("/proc").glob("[0-9]*/smaps_rollup"):
        try:
            if os.readlink(path.parent / "ns" / "pid_for_children") == os.readlink("/proc/self/ns/pid"):
                total_kb += _pss_kb(path.read_text())
        except OSError:
            # It ended while it was looked at.
            continue
    return total_kb / 1024.0


def _pss_kb(told: str) -> int:
    return next((int(line.split()[1]) for line in told.splitlines() if line.startswith("Pss:")), 0)
