"""A lab of real routers: it starts, it is broken and mended, and it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.instances.mesh import mesh
from karez.adapters.embedded import FAULTS, Fault, drawn
from karez.adapters.frr import bgp, ospf
from karez.adapters.frr.config import Protocols, users_network
from karez.adapters.frr.interior import BFD_DAEMON
from karez.adapters.frr.network import FrrNetwork
from karez.detect.ears import Ears
from karez.errors import InputError
from karez.lab.asked import Configure, Count, Counted, End, Lab, LabError, SetStream, SetWay, State, Status
from karez.lab.asked import running as all_running
from karez.lab.faults import BEGINS, Scene, begin
from karez.lab.network import network_of
from karez.lab.plan import plan
from karez.lab.start import ended, started
from karez.lab.telemetry import EVERY_S, Telemetry
from karez.loop.runner import Runner
from karez.loop.state import Decisions, Policy
from karez.operations import LabProtectQuestion, lab_protect
from karez.operations.lab import require_alike
from karez.plan import Action, Cell
from karez.record.log import Record
from karez.scenario.real import TURN_S
from karez.twin import World
from karez.twin.table import Array
from karez.twin.telemetry import StateRows
from tests.healing import saved
from tests.labs import NO_LAB, lost, running, until

pytestmark = [pytest.mark.lab, NO_LAB]
SITES = 6
# What is normal is learned for so long before a lab is made to stand still, and that for so long (s).
LEARNS_S, STANDS_STILL_S = 3.0, 0.1


@pytest.fixture(scope="module")
def world() -> World:
    return mesh(5, sites=SITES, bgp=True)


@pytest.fixture(scope="module")
def lab(world: World) -> Iterator[Lab]:
    with running(world) as name, closing(Lab(name)) as lab:
        yield lab


def _processes() -> set[str]:
    """The daemons of labs that run on this machine."""
    told = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return {line for line in told.splitlines() if "/usr/lib/frr/" in line}


def test_every_packet_of_a_lab_that_is_left_alone_arrives(lab: Lab) -> None:
    assert until(lambda: lost(lab, over_s=1.0) == (0, 0))
    before = lab.ask(Count(ports=False), Counted)
    time.sleep(1.0)
    after = lab.ask(Count(ports=False), Counted)
    # Tests go both ways of every link, a hundred times a second each.
    legs = 4 * len(lab.plan().fabric.lines)
    tests = (after.settled + after.settled_large - before.settled - before.settled_large)[:legs]
    assert tests.sum() == pytest.approx(200 * len(lab.plan().fabric.lines), rel=0.25)


def test_tests_take_what_their_link_takes(lab: Lab) -> None:
    before = lab.ask(Count(ports=False), Counted)
    time.sleep(1.0)
    after = lab.ask(Count(ports=False), Counted)
    lines = lab.plan().fabric.lines
    there = slice(0, 4 * len(lines), 2)
    took_us = (after.delay_ns - before.delay_ns)[there] / (after.arrived - before.arrived)[there] / 1e3
    planned_us = np.repeat([line.oneway_us for line in lines], 2)
    assert np.all(took_us >= planned_us)
    assert np.median(took_us - planned_us) < 1_000.0


@pytest.mark.parametrize("kind", [kind for kind in BEGINS if FAULTS[kind].about != "nothing"])
def test_what_a_fault_did_is_gone_when_it_ends(kind: str, world: World, lab: Lab) -> None:
    fault = drawn(world, kind, np.random.default_rng(1), 0.0)
    assert fault is not None
    with closing(network_of(lab, world)) as network:
        before = {rows.table: rows for rows in network.observe(time.time())}
        asked = begin(Scene(world, lab.plan()), msgspec.structs.replace(fault, size_s=1.0))
        lab.ask(asked)
        assert lab.ask(Status(), State).faults == (asked.label,)
        lab.ask(End(label=asked.label))
        assert lab.ask(Status(), State).faults == ()
        for table, rows in before.items():
            # How often something happened is not taken back.
            steady = [name for name in rows.columns if name not in ("load_gbps", "oneway_us", "flaps", "boots")]

            def same(table: str = table, ids: tuple[str, ...] = rows.ids, steady: list[str] = steady) -> bool:
                now = network.look(table, ids)
                return now.ids == ids and all(now.columns[name] == before[table].columns[name] for name in steady)

            assert until(same), (table, network.look(table, rows.ids))
    assert until(lambda: lost(lab, over_s=0.5) == (0, 0))


@pytest.mark.parametrize("kind", ["router_fabric_loss", "router_fib_stale"])
def test_what_a_router_loses_came_into_it_and_did_not_leave_it(kind: str, world: World, lab: Lab) -> None:
    fault = drawn(world, kind, np.random.default_rng(1), 0.0)
    assert fault is not None
    odd = [router.id for router in lab.plan().fabric.routers].index(fault.subject)
    telemetry = Telemetry(world, lab.plan(), lambda whole: lab.ask(Count(ports=whole), Counted))
    asked = begin(Scene(world, lab.plan()), msgspec.structs.replace(fault, size_share=0.2))
    telemetry.heard(time.time())
    before = _lost_share(telemetry)
    lab.ask(asked)
    telemetry.heard(time.time() + EVERY_S["counter"])
    after = _lost_share(telemetry)
    lab.ask(End(label=asked.label))
    assert before.max() < 0.005
    assert after[odd] > 0.01
    assert np.delete(after, odd).max() < 0.005
    assert until(lambda: lost(lab, over_s=0.5) == (0, 0))


def _lost_share(telemetry: Telemetry) -> Array:
    """The share of what comes into each router in a second that does not leave it."""
    time.sleep(EVERY_S["counter"])
    told = {samples.channel: samples for samples in telemetry.heard(time.time() + EVERY_S["counter"])}[
        "transit"
    ].columns
    return np.asarray(1.0 - told["left"] / told["came"])


def test_without_bgp_no_user_is_known_and_with_it_all_are_again(world: World, lab: Lab) -> None:
    fault = drawn(world, "bgp_dead", np.random.default_rng(1), 0.0)
    assert fault is not None
    scene = Scene(world, lab.plan())
    router = scene.router_of("daemons", fault.subject)
    mine = np.array([router in stream.hosts for stream in lab.plan().streams if not stream.test])
    asked = begin(scene, fault)
    lab.ask(asked)
    # What others send over this router is lost, too.
    assert until(lambda: bool(_losing(lab)[mine].all()))
    assert not _losing(lab).all()
    lab.ask(End(label=asked.label))
    assert until(lambda: lost(lab, over_s=0.5) == (0, 0))


def _losing(lab: Lab) -> Array:
    """Which demands have lost most of what they sent within half a second."""
    tests = 4 * len(lab.plan().fabric.lines)
    before = lab.ask(Count(ports=False), Counted)
    time.sleep(0.5)
    after = lab.ask(Count(ports=False), Counted)
    gone, sent = ((getattr(after, name) - getattr(before, name))[tests::2] for name in ("lost", "settled"))
    return np.asarray(gone > sent / 2.0)


def test_a_network_that_a_router_says_nothing_of_or_too_much_of_is_told_and_put_right(world: World, lab: Lab) -> None:
    fault = drawn(world, "bgp_wrong", np.random.default_rng(1), 0.0)
    assert fault is not None
    scene, section = Scene(world, lab.plan()), fault.subject
    router = scene.router_of("configs", section)
    own, strange = users_network(lab.plan().fabric.routers[router]), ("10.9.9.9/32", "10.9.8.0/24")
    said = {
        bgp.lines(unsays=(own,)): {"no users are announced"},
        bgp.lines(says=strange): {own, *strange},
        bgp.lines(says=strange, unsays=(own,)): set(strange),
    }
    with closing(network_of(lab, world)) as network:
        for restores, (lines, told) in enumerate(said.items(), 1):
            assert _says(network, section) == "users are announced"
            lab.ask(Configure(router=router, daemon=bgp.DAEMON, lines=lines))
            assert set(_says(network, section).split(", ")) == told
            act = Action(
                kind="restore_config",
                subject=section,
                sets=(Cell("configs", section, "restores", restores - 1, restores),),
                blast_radius=(section,),
                expires_at_s=time.time() + 60.0,
            )
            assert network.apply(act, time.time()) == ""
            assert network.look("config_states", [section]).columns["restores"] == (restores,)
        assert _says(network, section) == "users are announced"
    assert until(lambda: lost(lab, over_s=0.5) == (0, 0))


def test_a_network_without_bgp_is_another_than_that_of_a_lab_with_it(world: World, lab: Lab) -> None:
    require_alike(lab, world, "net")
    with pytest.raises(InputError, match="BGP is not in both"):
        require_alike(lab, mesh(5, sites=SITES), "net")


def test_ways_are_not_kept_ready_where_bgp_tells_of_users(world: World, lab: Lab, tmp_path: Path) -> None:
    network, record = saved(world, tmp_path, seed=5), tmp_path / "protect.record"
    with pytest.raises(InputError, match="would go in circles"):
        lab_protect.run(LabProtectQuestion(network=str(network), record=str(record), by="Li Wei", name=lab.name))
    assert not record.exists()


@pytest.mark.parametrize(
    ("protocols", "lacks"), [(Protocols(), {"bgp_dead", "bgp_wrong"}), (Protocols(bfd_ms=0), {"bgp_dead", "bfd_dead"})]
)
def test_a_lab_cannot_show_what_its_routers_do_not_run(world: World, protocols: Protocols, lacks: set[str]) -> None:
    scene = Scene(world, plan(mesh(5, sites=SITES), name="none", protocols=protocols))
    for kind in lacks:
        fault = drawn(world, kind, np.random.default_rng(1), 0.0)
        assert fault is not None
        with pytest.raises(InputError, match=f"cannot show '{kind}'"):
            begin(scene, fault)


def _says(network: FrrNetwork, section: str) -> str:
    (said,) = network.look("config_states", [section]).columns["value"]
    return str(said)


def test_a_bfd_program_is_started_anew_without_a_packet_lost(world: World, lab: Lab) -> None:
    fault = drawn(world, "bfd_dead", np.random.default_rng(1), 0.0)
    assert fault is not None
    scene = Scene(world, lab.plan())
    router = scene.router_of("daemons", fault.subject)
    lab.ask(begin(scene, fault))
    assert until(lambda: lost(lab, over_s=2.0) == (0, 0))
    with closing(network_of(lab, world)) as network:
        before = lab.ask(Count(ports=False), Counted)
        network._restart(router, BFD_DAEMON)
        time.sleep(3.0)
        after = lab.ask(Count(ports=False), Counted)
    assert (after.lost + after.lost_large - before.lost - before.lost_large).sum() == 0
    assert lab.ask(Status(), State).faults == ()


def test_a_fault_holds_but_once_and_ends_but_once(world: World, lab: Lab) -> None:
    fault = drawn(world, "link_loss", np.random.default_rng(1), 0.0)
    assert fault is not None
    asked = begin(Scene(world, lab.plan()), fault)
    lab.ask(asked)
    with pytest.raises(LabError, match="holds already"):
        lab.ask(asked)
    lab.ask(End(label=asked.label))
    with pytest.raises(LabError, match="does not hold"):
        lab.ask(End(label=asked.label))


def test_what_a_lab_cannot_do_is_said_and_harms_nobody(lab: Lab) -> None:
    with pytest.raises(LabError, match="refused `cost -3`"):
        lab.ask(Configure(router=0, daemon="ospfd", lines=("interface e1", "cost -3")))
    with pytest.raises(LabError, match="colour"):
        lab.ask(SetWay(ways=(0,), values={"colour": 1.0}))
    with pytest.raises(LabError):
        lab.ask(SetStream(stream=1_000_000, per_s=1.0))
    assert until(lambda: lost(lab, over_s=0.5) == (0, 0))


def test_the_loop_mends_a_slow_link_of_real_routers(world: World, lab: Lab, tmp_path: Path) -> None:
    busy = lab.plan().fabric.lines[_busy_line(lab)]
    fault = Fault("link_slow", busy.link, 0.0, size_us=10_000.0)
    asked = begin(Scene(world, lab.plan()), fault)
    with Record(tmp_path / "record") as record, closing(network_of(lab, world)) as network:
        runner = Runner.start(world, network, record, Policy(level="act"), at_s=time.time())
        began_s = time.time()
        _turns(runner, lambda said: said.at_s > began_s + 8.0)
        before = lab.ask(Count(ports=False), Counted)
        lab.ask(asked)
        try:
            said = _turns(runner, lambda said: any(one.verdict == "verified" for one in said.verdicts))
        finally:
            lab.ask(End(label=asked.label))
        _undo_costs(lab, busy.link)
    after = lab.ask(Count(ports=False), Counted)
    assert ("link_slow", busy.link) in {(found.kind, found.subject) for one in said for found in one.found}
    gone = (after.lost + after.lost_large - before.lost - before.lost_large).sum()
    # Routers that change their minds one after another send some packets in circles until they end.
    assert gone <= 1e-3 * (after.settled - before.settled).sum()


def _undo_costs(lab: Lab, link: str) -> None:
    for router, port in lab.plan().fabric.ports():
        if port.link == link:
            lab.ask(Configure(router=router, daemon=ospf.DAEMON, lines=ospf.cost_lines(port, port.cost)))


def _busy_line(lab: Lab) -> int:
    """The line that carries most."""
    before = lab.ask(Count(ports=True), Counted).ports
    time.sleep(1.0)
    return int(np.argmax((lab.ask(Count(ports=True), Counted).ports - before)[::2, 2]))


def _turns(runner: Runner, over: Callable[[Decisions], bool]) -> list[Decisions]:
    """What was decided until it is over, or for a minute."""
    until_s, said = time.monotonic() + 60.0, []
    while time.monotonic() < until_s:
        said.append(runner.turn(time.time()))
        if over(said[-1]):
            return said
        time.sleep(0.1)
    raise AssertionError([(one.found, one.verdicts) for one in said if one.found or one.verdicts])


def test_a_second_lab_of_the_same_name_is_refused_and_one_of_another_runs_beside_it(world: World, lab: Lab) -> None:
    with pytest.raises(LabError, match="runs already"):
        started(plan(world, name=lab.name, protocols=Protocols()))
    beside = f"{lab.name}-beside"
    started(plan(mesh(6, sites=4), name=beside, protocols=Protocols()))
    try:
        assert {lab.name, beside} <= set(all_running())
        with closing(Lab(beside)) as other:
            assert other.ask(Status(), State).routers == 4
    finally:
        ended(beside)
    assert lab.ask(Status(), State).dead == ()


def test_a_lab_whose_process_is_killed_leaves_nothing_behind() -> None:
    name = f"killed-{os.getpid()}"
    before = _processes()
    interfaces = Path("/proc/net/dev").read_text().count(":")
    ready = started(plan(mesh(6, sites=4), name=name, protocols=Protocols()))
    assert _processes() - before
    os.kill(ready.process, signal.SIGKILL)
    assert until(lambda: not _processes() - before)
    assert until(lambda: name not in set(all_running()))
    assert Path("/proc/net/dev").read_text().count(":") == interfaces
    assert not list(Path("/run").glob("karez*"))


def test_a_lab_whose_daemon_dies_at_its_start_says_so_and_leaves_nothing_behind() -> None:
    name, before = f"dies-{os.getpid()}", _processes()
    wrong = plan(mesh(6, sites=4), name=name, protocols=Protocols(bfd_ms=50))
    routers = (msgspec.structs.replace(wrong.fabric.routers[0], loopback="no address"), *wrong.fabric.routers[1:])
    fabric = msgspec.structs.replace(wrong.fabric, routers=routers)
    with pytest.raises(LabError, match="not started"):
        started(msgspec.structs.replace(wrong, fabric=fabric))
    assert until(lambda: not _processes() - before)
    assert until(lambda: name not in set(all_running()))


def test_a_network_in_two_parts_or_too_large_is_refused(world: World) -> None:
    links = world["links"]
    ends = links["a"][0]
    cut = np.flatnonzero((links["a"] == ends) | (links["b"] == ends))
    parted = World(world.intended.replace(links.set(cut, up=False)), world.actual)
    with pytest.raises(InputError, match="2 parts"):
        plan(parted, name="parted", protocols=Protocols())
    with pytest.raises(InputError, match="more than"):
        plan(mesh(1, sites=200), name="large", protocols=Protocols())


def test_a_lab_that_stood_still_says_so_and_what_was_measured_meanwhile_is_left_out(world: World, lab: Lab) -> None:
    with closing(network_of(lab, world)) as network:
        ears, aside = Ears(world.intended), list[str]()
        _listened(network, ears, aside, LEARNS_S)
        aside.clear()
        process = lab.process()
        os.kill(process, signal.SIGSTOP)
        time.sleep(STANDS_STILL_S)
        os.kill(process, signal.SIGCONT)
        assert lab.ask(Count(ports=False), Counted).stalled_ago_s < 1.0
        told = _listened(network, ears, aside, 2.0)
    assert {said.partition(":")[0] for said in aside} >= {"probe", "user"}
    assert not [change for change in told if "delay" in change.columns.get("kind", ())]


def _listened(network: FrrNetwork, ears: Ears, aside: list[str], for_s: float) -> list[StateRows]:
    """What was noticed in so long, turn by turn; what was left out is added to `aside`."""
    told, until_s = list[StateRows](), time.time() + for_s
    while (at_s := time.time()) < until_s:
        told += ears.hear(network.hear(at_s), at_s)
        aside += ears.aside
        time.sleep(max(0.0, at_s + TURN_S - time.time()))
    return told
