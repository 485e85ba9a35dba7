"""Faults that routing never sees, on real routers: how soon the loop has found, mended and verified them.

A mesh of ten routers with room for the cut of any one link, so that there is a remedy for each; every way of every link
is tested a hundred times a second. Each run is a loop that has just begun, learns what is normal, and then has a fault
on a link that carries traffic. It acts alone, on two independent signals.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import MEMORY, Figure, figure
from benchmarks.instances.mesh import mesh
from karez.adapters.embedded import Fault
from karez.adapters.frr.config import Protocols
from karez.lab.asked import Count, Counted, Lab
from karez.lab.faults import Scene, begin
from karez.lab.network import network_of
from karez.lab.plan import plan
from karez.lab.start import lasting
from karez.loop.runner import Runner
from karez.loop.state import Decisions, Policy
from karez.record.log import Record
from karez.scenario.real import LEARN_S, played
from karez.twin import World

NAME = "gray"
SEEDS = (5,)
ROUTERS, RUNS = 10, 20
SETTLES_S = 4.0


class Case(NamedTuple):
    """A fault, by what it is called; its size, and how soon it shall be healed (s)."""

    what: str
    kind: str
    size_us: float
    size_share: float
    bar_s: float


CASES = (
    Case("5 ms more", "link_slow", 5_000.0, 0.0, 2.0),
    Case("5 ms more, one way", "link_slow_one_way", 5_000.0, 0.0, 2.0),
    Case("large packets eaten", "link_large_loss", 0.0, 0.0, 2.0),
    Case("5 % lost", "link_loss", 0.0, 0.05, 4.0),
    Case("5 % lost, one way", "link_loss_one_way", 0.0, 0.05, 4.0),
    Case("1 % lost", "link_loss", 0.0, 0.01, 60.0),
    Case("1 % lost, one way", "link_loss_one_way", 0.0, 0.01, 60.0),
)


class Healed(NamedTuple):
    """When the true cause was found and a remedy verified (s after the fault; None: not).

    It was `right` where the cause was told and no other link was touched.
    """

    found_s: float | None
    healed_s: float | None
    right: bool


def run() -> list[Figure]:
    """Seconds from fault to verified heal, and the share of runs in which the right link was acted on."""
    return runs(int(os.environ.get("KAREZ_RUNS", RUNS)))


def runs(count: int) -> list[Figure]:
    """As `run`, with so many runs of each kind."""
    world = mesh(SEEDS[0], sites=ROUTERS)
    with lasting(plan(world, name="bench-gray", protocols=Protocols(bfd_ms=100))) as lab:
        links = _carrying(lab)
        told = {case: [_healed(world, lab, case, links[run % len(links)]) for run in range(count)] for case in CASES}
    return [one for case, healed in told.items() for one in _figures(case, healed)]


def _figures(case: Case, healed: list[Healed]) -> list[Figure]:
    took_s = [one.healed_s for one in healed if one.healed_s is not None]
    of = f"{case.what} ({len(took_s)} of {len(healed)} healed)"
    found_s = [one.found_s for one in healed if one.found_s is not None]
    right = sum(one.right for one in healed) / len(healed)
    return [
        *([figure(f"{of}: median to verified heal", statistics.median(took_s), "s", case.bar_s)] if took_s else []),
        *([figure(f"{case.what}: median to the true cause", statistics.median(found_s), "s")] if found_s else []),
        figure(f"{case.what}: the right link", right, "share", 0.95, better="higher"),
    ]


def _healed(world: World, lab: Lab, case: Case, link: str) -> Healed:
    fault = Fault(case.kind, link, 0.0, size_us=case.size_us, size_share=case.size_share)
    asked = begin(Scene(world, lab.plan()), fault)
    acts: list[tuple[str, str]] = []

    def over(said: Decisions, broke_s: float) -> bool:
        acts.extend((action.kind, action.subject) for one in said.commands for action in one.actions)
        return any(one.verdict == "verified" for one in said.verdicts)

    with (
        tempfile.TemporaryDirectory(dir=MEMORY) as folder,
        Record(Path(folder) / "record") as record,
        closing(network_of(lab, world)) as network,
    ):
        runner = Runner.start(world, network, record, Policy(level="act"), at_s=time.time())
        made = played(runner, lab, asked, for_s=LEARN_S + case.bar_s + 10.0, over=over)
    time.sleep(SETTLES_S)
    found_s = made.course.told_s(frozenset({(case.kind, link)}), made.broke_s)
    healed_s = made.course.first_s(made.broke_s, lambda said: any(one.verdict == "verified" for one in said.verdicts))
    return Healed(found_s, healed_s, found_s is not None and all(subject == link for _, subject in acts))


def _carrying(lab: Lab) -> list[str]:
    """The links by what they carry, the most first: those that carry less than a tenth of that are left out."""
    before = lab.ask(Count(ports=True), Counted).ports
    time.sleep(2.0)
    sent = (lab.ask(Count(ports=True), Counted).ports - before)[:, 2].reshape(-1, 2).max(axis=1)
    lines = lab.plan().fabric.lines
    tests = sent.min()
    busy = [row for row in np.argsort(-sent).tolist() if sent[row] - tests > 0.1 * (sent.max() - tests)]
    return [lines[row].link for row in busy]
