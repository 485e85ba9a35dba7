"""Drills on real routers: incidents are scored as those of the embedded network, and the lab is whole again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import karez
from benchmarks import halves
from benchmarks.instances.mesh import mesh
from karez.adapters.embedded import Fault
from karez.adapters.frr import ospf
from karez.adapters.frr.ready import ReadyWay, said_of
from karez.errors import InputError
from karez.lab.asked import Configure, Count, Counted, IsReady, Lab, SetCarrier, SetStream
from karez.lab.forwarding import Watched
from karez.lab.network import network_of
from karez.loop.state import Policy
from karez.plan import inverse
from karez.plan.protect import protect
from karez.scenario.incidents import Incident
from karez.scenario.real import drilled
from karez.twin import World, store
from tests.labs import NO_LAB, lost, running, until
from tests.test_standing import SOON, standing

pytestmark = [pytest.mark.lab, NO_LAB]
SITES = 6
# What each demand sends while a line is cut (packets a second): enough to be lost.
USERS_PER_S = 400.0


@pytest.fixture(scope="module")
def world() -> World:
    return mesh(1, sites=SITES)


@pytest.fixture(scope="module")
def lab(world: World) -> Iterator[Lab]:
    with running(world) as name, closing(Lab(name)) as lab:
        yield lab


@pytest.fixture(scope="module")
def network(world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    states = [table for name, table in world.actual.tables.items() if name.endswith("_states") and len(table)]
    folder = tmp_path_factory.mktemp("net") / "mesh"
    store.save(world.intended.replace(*states), folder, at_s=0.0, note="", source="mesh", synthetic=True)
    return str(folder)


def test_a_fault_is_told_and_mended_and_the_lab_is_whole_again(world: World, lab: Lab) -> None:
    config = next(row["id"] for row in world["configs"].records() if row["section"] == "filter")
    fault = Fault("filter_wrong", str(config), 8.0, size_share=0.5)
    made = drilled(world, lab, Incident("lab", 1, fault), Policy(level="act"))
    assert made.found == (("filter_wrong", config),)
    assert made.acts == (f"restore_config {config}",)
    assert made.healed_s is not None
    assert not made.harmed
    assert made.unsettled == 0
    assert Watched(lab, lab.plan().fabric).findings() == []


def test_forwarding_is_followed_from_what_changes(lab: Lab) -> None:
    watched = Watched(lab, lab.plan().fabric)
    assert watched.findings() == []
    lab.ask(SetCarrier(lines=(0,), on=False))
    try:
        # Nobody has heard of it yet: what went over the link is dropped at its ends.
        assert {found.kind for found in watched.findings()} & {"blackhole", "loop"}
        assert until(lambda: watched.findings() == [])
    finally:
        lab.ask(SetCarrier(lines=(0,), on=True))
    assert until(lambda: Watched(lab, lab.plan().fabric).findings() == watched.findings() == [])


def test_routers_keep_ways_ready_as_a_person_approved(world: World, lab: Lab, network: str, tmp_path: Path) -> None:
    said = karez.lab_protect(network=network, record=str(tmp_path / "record"), by="Li Wei", name=lab.name)
    assert said.at_once == said.pairs > 0
    fabric = lab.plan().fabric
    rows = {router.id: row for row, router in enumerate(fabric.routers)}
    for action in protect(world, at_s=0.0).plan.actions:
        row = rows[action.subject]
        kept = lab.ask(IsReady(router=row), tuple[ReadyWay, ...])
        assert said_of(fabric, row, kept) == action.sets[0].after
    assert karez.heal_verify(record=str(tmp_path / "record")).events == said.events
    with_them = _cut_once(lab)
    with closing(network_of(lab, world)) as routers:
        for action in protect(world, at_s=0.0).plan.actions:
            assert routers.apply(inverse(action, expires_at_s=1e12), time.time()) == ""
    assert not any(lab.ask(IsReady(router=row), tuple[ReadyWay, ...]) for row in rows.values())
    assert with_them < _cut_once(lab)


def _cut_once(lab: Lab) -> int:
    """The users' packets that were lost when the line that carries most went dark, until routing had settled."""
    lines, streams = len(lab.plan().fabric.lines), lab.plan().streams
    for stream in range(2 * lines, len(streams)):
        lab.ask(SetStream(stream=stream, per_s=USERS_PER_S))
    time.sleep(0.5)
    before = lab.ask(Count(ports=True), Counted)
    time.sleep(1.0)
    after = lab.ask(Count(ports=True), Counted)
    line = int(np.argmax((after.ports - before.ports)[::2, 2]))
    users = slice(4 * lines, None, 2)
    lab.ask(SetCarrier(lines=(line,), on=False))
    time.sleep(1.0)
    lab.ask(SetCarrier(lines=(line,), on=True))
    assert until(lambda: Watched(lab, lab.plan().fabric).findings() == [] and lost(lab, over_s=0.5)[1] == 0)
    told = lab.ask(Count(ports=False), Counted)
    for stream in range(2 * lines, len(streams)):
        lab.ask(SetStream(stream=stream, per_s=streams[stream].per_s))
    return int((told.lost + told.lost_large - after.lost - after.lost_large)[users].sum())


def test_incidents_are_scored_beside_the_embedded_network(lab: Lab, network: str) -> None:
    said = karez.lab_score(network=network, incidents=1, kinds="drain_left", name=lab.name)
    assert said.f1 == said.embedded_f1 == 1.0
    assert [(one.kind, one.right_share, one.embedded_right_share) for one in said.kinds] == [("drain_left", 1.0, 1.0)]
    with pytest.raises(InputError, match="no kind of fault"):
        karez.lab_score(network=network, kinds="link_dim", name=lab.name)


def test_a_guard_of_a_lab_lets_a_controller_mend_it(
    lab: Lab, network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "ctl"
    with standing(tmp_path, "guard", "guard", place, network, "--lab", lab.name) as guard:
        guard.told("guards")
        with standing(tmp_path, "a", "lead", place, network, "--name", "a", "--level", "act", *SOON) as leader:
            leader.told("leads, epoch 1")
            time.sleep(9.0)
            karez.lab_fail(network=network, fault="cost_wrong", name=lab.name)
            leader.told(": cost_wrong")
            leader.told("verified restore_link")
            leader.ended(signal.SIGTERM)
        assert guard.ended(signal.SIGINT) == 0
    karez.lab_fail(network=network, fault="cost_wrong", name=lab.name, end=True)
    capsys.readouterr()


def test_a_link_that_is_told_at_one_end_is_seen_to_be_half_changed(lab: Lab) -> None:
    assert halves.half(lab) == ()
    router, port = next(lab.plan().fabric.ports())
    for cost, seen in ((65_535, (f"{port.link} drained",)), (port.cost + 7, (port.link,)), (port.cost, ())):
        lab.ask(Configure(router=router, daemon=ospf.DAEMON, lines=ospf.cost_lines(port, cost)))
        assert halves.half(lab) == seen


def test_no_link_is_left_half_changed_by_who_is_killed() -> None:
    struck, halved = halves.runs(1)
    assert struck.value == 1.0
    assert halved.value == 0.0
