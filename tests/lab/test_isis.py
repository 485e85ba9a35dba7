"""IS-IS: what FRR 8.4.4 answers as it is read, and a lab whose routers speak it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv6Address
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from benchmarks.instances.mesh import mesh
from karez.adapters.embedded import Fault
from karez.adapters.frr import isis, segments
from karez.adapters.frr.config import ISIS_DRAINED_COST, OVERLOAD, Protocols, configuration
from karez.adapters.frr.fabric import DRAINED_COST, Fabric, Port, fabric
from karez.adapters.frr.network import FrrNetwork
from karez.adapters.frr.told import Seen
from karez.adapters.frr.vty import Vty
from karez.errors import InputError
from karez.lab.asked import AsPlanned, Configure, Count, Counted, End, Lab, SetCarrier
from karez.lab.faults import Scene, begin
from karez.lab.network import network_of
from karez.lab.plan import plan
from karez.lab.start import ended, started
from karez.measure.hitless import steps
from karez.operations import LabUpQuestion, lab_up
from karez.plan import Action, Cell, inverse
from karez.twin import World
from karez.twin.table import strings
from tests.labs import ISIS, NO_LAB, lost, until
from tests.test_vty import Daemon, says

RECORDED = Path(__file__).parent / "frr"
SITES = 6
# Routers know all others after so long (s): 1.2 s where the machine has nothing else to do.
CONVERGES_S = 15.0
FOREVER_S = 1e12


def _recorded(name: str) -> bytes:
    """What the first of four routers said: e1 has no light, e2 is not heard, e3 is drained and takes 1,300 bytes."""
    return (RECORDED / name).read_bytes()


def _daemon(folder: Path, running: bytes) -> Daemon:
    daemon = Daemon(folder / "isisd.vty")
    daemon.acts = {
        "show isis interface detail json": says(_recorded("isis_circuits.json")),
        isis.INTERFACES: says(_recorded("isis_interfaces.json")),
        "show running-config": says(running),
    }
    return daemon


def test_what_a_router_said_is_read_as_it_was(tmp_path: Path) -> None:
    with closing(_daemon(tmp_path, _recorded("isis_running.txt"))), Vty(tmp_path / "isisd.vty") as vty:
        told = isis.told(vty)
    assert told.drained
    assert told.ports == {
        "e1": Seen(up=False, cost=155, area=None, mtu=9_000, adjacent=False),
        "e2": Seen(up=True, cost=233, area=None, mtu=9_000, adjacent=False),
        "e3": Seen(up=True, cost=ISIS_DRAINED_COST, area=None, mtu=1_300, adjacent=True),
    }


def test_a_router_that_lets_traffic_pass_is_not_drained(tmp_path: Path) -> None:
    running = _recorded("isis_running.txt").replace(b" set-overload-bit\n", b"")
    with closing(_daemon(tmp_path, running)), Vty(tmp_path / "isisd.vty") as vty:
        assert not isis.told(vty).drained


@pytest.mark.parametrize(("circuits", "known"), [({}, {}), ({"areas": [{"area": "karez"}]}, {}), ({"areas": []}, {})])
def test_a_router_that_has_just_begun_has_no_interfaces(circuits: dict[str, object], known: dict[str, object]) -> None:
    assert list(isis.ports(circuits, known)) == []


def test_an_interface_that_nothing_more_is_known_of_has_no_neighbour() -> None:
    circuits = msgspec.json.decode(_recorded("isis_circuits.json"))
    assert {(seen.mtu, seen.adjacent) for _, seen in isis.ports(circuits, {})} == {(0, False)}


def test_what_is_drained_by_plan_is_drained_from_the_start() -> None:
    world = mesh(5, sites=SITES)
    links, devices = world["links"], world["equipment"]
    intended = world.intended.replace(
        links.set(np.array([0]), drained=True), devices.set(devices.rows(["r000"]), drained=True)
    )
    made = fabric(World(intended, world.actual), most_routers=SITES)
    lines = [configuration(router, row, ISIS)["isisd"] for row, router in enumerate(made.routers)]
    assert [f" {OVERLOAD}" in each for each in lines] == [True] + [False] * (SITES - 1)
    drained = [each.count(f" isis metric {ISIS_DRAINED_COST}") for each in lines]
    assert (sum(drained), max(drained)) == (2, 1)
    assert {isis.planned(port).cost for _, port in made.ports() if port.row == 0} == {ISIS_DRAINED_COST}


@pytest.mark.parametrize("bfd", ["off", "300x3"])
def test_a_lab_speaks_what_it_is_told_to_and_ospf_where_nobody_says(bfd: str) -> None:
    asked = LabUpQuestion(network="network", bfd=bfd)
    told = [lab_up.protocols_of(question).igp for question in (asked, msgspec.structs.replace(asked, igp="isis"))]
    assert told == ["ospf", "isis"]


@pytest.fixture(scope="module")
def world() -> World:
    return mesh(5, sites=SITES)


@pytest.fixture(scope="module")
def lab(world: World) -> Iterator[Lab]:
    """A lab that speaks IS-IS, and how soon it does."""
    protocols = msgspec.structs.replace(ISIS, bfd_ms=300, segments=True)
    made = plan(world, name=f"isis-{time.time_ns()}", protocols=protocols, users_per_s=500.0)
    ready = started(made)
    try:
        # Routers that tell of themselves too early tell the rest half a minute later.
        assert ready.took_s["converged"] < CONVERGES_S
        with closing(Lab(made.name)) as lab:
            yield lab
    finally:
        ended(made.name)


@pytest.fixture
def network(world: World, lab: Lab) -> Iterator[FrrNetwork]:
    with closing(network_of(lab, world)) as network:
        network.observe(time.time())
        yield network


def _value(network: FrrNetwork, table: str, row: str, column: str) -> object:
    """How something is now; None where nobody can say."""
    return next(iter(network.look(table, [row]).columns.get(column, ())), None)


@pytest.mark.lab
@NO_LAB
def test_links_are_drained_and_let_back_without_the_loss_of_a_packet(lab: Lab, network: FrrNetwork) -> None:
    assert until(lambda: lost(lab, over_s=0.5) == (0, 0))
    drain = _act("drain_link", "links", _stepped(lab.plan().fabric))
    before = lab.ask(Count(ports=False), Counted)
    for act, drained in ((drain, True), (inverse(drain, expires_at_s=FOREVER_S), False)):
        assert network.apply(act, time.time()) == ""
        time.sleep(isis.SETTLES_S)
        assert _value(network, "link_states", drain.subject, "drained") is drained
    after = lab.ask(Count(ports=False), Counted)
    assert (after.lost + after.lost_large).sum() == (before.lost + before.lost_large).sum()
    assert (after.settled - before.settled).sum() > 0


# Faults and the cell that tells of each, with what it says while the fault holds.
FAULTS = [
    (Fault("cost_wrong", "l000", 0.0, size_share=1e6), ("link_states", "l000", "cost"), DRAINED_COST - 1),
    (Fault("drain_left", "l000", 0.0), ("link_states", "l000", "drained"), True),
    (Fault("router_drain_left", "r001", 0.0), ("equipment_states", "r001", "drained"), True),
    (Fault("routing_dead", "r001/routing", 0.0), ("daemon_states", "r001/routing", "up"), False),
    (Fault("mtu_wrong", "r000/mtu/l000", 0.0), ("config_states", "r000/mtu/l000", "value"), "1300"),
]


@pytest.mark.lab
@NO_LAB
@pytest.mark.parametrize(("fault", "cell", "value"), FAULTS, ids=[fault.kind for fault, _, _ in FAULTS])
def test_a_fault_is_seen_while_it_holds_and_gone_when_it_ends(
    fault: Fault, cell: tuple[str, str, str], value: object, world: World, lab: Lab, network: FrrNetwork
) -> None:
    before = _value(network, *cell)
    asked = begin(Scene(world, lab.plan()), fault)
    lab.ask(asked)
    assert until(lambda: _value(network, *cell) == value)
    lab.ask(End(label=asked.label))
    assert until(lambda: _value(network, *cell) == before)
    assert until(lambda: all(network.look("link_states", strings(world["links"].ids)).columns["adjacent"]))


@pytest.mark.lab
@NO_LAB
def test_a_router_is_drained_by_its_overload_bit_and_let_back(lab: Lab, network: FrrNetwork) -> None:
    drain = _act("drain_router", "equipment", "r002")
    for act, drained in ((drain, True), (inverse(drain, expires_at_s=FOREVER_S), False)):
        assert network.apply(act, time.time()) == ""
        assert _value(network, "equipment_states", "r002", "drained") is drained


@pytest.mark.lab
@NO_LAB
def test_links_have_no_area_that_could_be_told_wrong_or_put_back(world: World, lab: Lab, network: FrrNetwork) -> None:
    section = "r000/area/l000"
    assert world["configs"].has(section)
    assert network.look("config_states", [section, "r000/mtu/l000"]).ids == ("r000/mtu/l000",)
    with pytest.raises(InputError, match="cannot show 'area_wrong'"):
        begin(Scene(world, lab.plan()), Fault("area_wrong", section, 0.0))
    restore = _act("restore_config", "configs", section, Cell("configs", section, "restores", 0, 1))
    assert section in network.apply(restore, time.time())


@pytest.mark.lab
@NO_LAB
def test_costs_and_drains_go_back_to_what_was_planned(lab: Lab, network: FrrNetwork) -> None:
    (router, port), _ = _ends(lab, "l000")
    lines = (*isis.cost_lines(port, 77), *isis.router_lines(True))
    lab.ask(Configure(router=router, daemon=isis.DAEMON, lines=lines))
    device = lab.plan().fabric.routers[router].id
    assert _value(network, "link_states", "l000", "cost") == 77
    assert _value(network, "equipment_states", device, "drained") is True
    lab.ask(AsPlanned())
    assert _value(network, "link_states", "l000", "cost") == 0
    assert _value(network, "equipment_states", device, "drained") is False


@pytest.mark.lab
@NO_LAB
def test_a_demand_is_led_over_a_router_and_let_back_without_the_loss_of_a_packet(
    world: World, lab: Lab, network: FrrNetwork
) -> None:
    assert until(lambda: lost(lab, over_s=0.5) == (0, 0))
    demand, over = _elsewhere(world, lab)
    site = lab.plan().fabric.routers[over].site
    before, usual_s = lab.ask(Count(ports=False), Counted), _oneway_s(lab, demand)
    lead = _led(demand, "", site)
    assert network.apply(lead, time.time()) == ""
    assert _value(network, "demand_states", demand, "via") == site
    assert until(lambda: _oneway_s(lab, demand) > usual_s + 1e-3)
    assert network.apply(inverse(lead, expires_at_s=FOREVER_S), time.time()) == ""
    assert _value(network, "demand_states", demand, "via") == ""
    assert until(lambda: _oneway_s(lab, demand) < usual_s + 1e-3)
    after = lab.ask(Count(ports=False), Counted)
    assert (after.lost + after.lost_large).sum() == (before.lost + before.lost_large).sum()


@pytest.mark.lab
@NO_LAB
def test_what_is_led_follows_routing_round_a_link_that_goes_dark(world: World, lab: Lab, network: FrrNetwork) -> None:
    demand, over = _elsewhere(world, lab)
    fabric = lab.plan().fabric
    assert network.apply(_led(demand, "", fabric.routers[over].site), time.time()) == ""
    start = fabric.routers[lab.plan().streams[_stream(lab, demand)].hosts[0]]
    line = next((port.row for port in start.ports if port.facing == over), start.ports[0].row)
    try:
        assert until(lambda: lost(lab, over_s=0.5) == (0, 0))
        lab.ask(SetCarrier(lines=(line,), on=False))
        assert until(lambda: lost(lab, over_s=0.5)[1] == 0)
    finally:
        lab.ask(SetCarrier(lines=(line,), on=True))
        lab.ask(AsPlanned())
    assert _value(network, "demand_states", demand, "via") == ""


@pytest.mark.lab
@NO_LAB
def test_a_demand_is_led_only_where_it_can_be(world: World, lab: Lab, network: FrrNetwork) -> None:
    demand, _ = _elsewhere(world, lab)
    own = str(world["demands"].cell(demand, "b"))
    assert own in network.apply(_led(demand, "", own), time.time())
    assert "nowhere" in network.apply(_led(demand, "", "nowhere"), time.time())
    assert "nobody" in network.apply(_led("nobody", "", own), time.time())


@pytest.mark.lab
@NO_LAB
def test_where_there_are_no_segments_no_demand_is_led(world: World, lab: Lab) -> None:
    with closing(FrrNetwork(world, lab.plan().fabric, isis, [], None, lambda at_s: ())) as without:  # type: ignore[arg-type]
        assert "cannot do steer_demand" in without.apply(_led("d000", "", "s000"), 0.0)
        assert "steer_demand" not in without.kinds


def test_segments_are_of_the_router_that_they_are_numbered_by() -> None:
    made = fabric(mesh(5, sites=SITES), most_routers=SITES)
    for row in range(SITES):
        goal = (row + 1) % SITES
        led = segments.led_over(made, goal, row)
        assert segments.over(led) == row
        assert all(
            IPv6Address(each) in segments.locator(at) for at, each in zip((row, goal), led.segments, strict=True)
        )


def test_segments_need_a_protocol_that_tells_of_them() -> None:
    asked = LabUpQuestion(network="network", segments=True)
    with pytest.raises(InputError, match="isis"):
        lab_up.protocols_of(asked)
    assert lab_up.protocols_of(msgspec.structs.replace(asked, igp="isis")).segments


def test_what_is_led_by_plan_is_led_from_the_start() -> None:
    world = mesh(5, sites=SITES)
    demands = world["demands"]
    a, b, name = (strings(demands[column])[0] for column in ("a", "b", "id"))
    over = next(site for site in strings(world["sites"].ids) if site not in (a, b))
    led = World(world.intended.replace(demands.set(demands.rows([name]), via=over)), world.actual)
    made = plan(led, name="led", protocols=msgspec.structs.replace(ISIS, segments=True))
    sites = [router.site for router in made.fabric.routers]
    assert [segments.over(way) for way in made.led[sites.index(a)]] == [sites.index(over)]
    assert not plan(led, name="led", protocols=ISIS).led


def _led(demand: str, before: str, after: str) -> Action:
    return _act("steer_demand", "demands", demand, Cell("demands", demand, "via", before, after))


def _stream(lab: Lab, demand: str) -> int:
    return 2 * len(lab.plan().fabric.lines) + lab.plan().demands.index(demand)


def _oneway_s(lab: Lab, demand: str) -> float:
    """The mean delay of a demand's small packets over half a second."""
    leg = 2 * _stream(lab, demand)
    before = lab.ask(Count(ports=False), Counted)
    time.sleep(0.5)
    after = lab.ask(Count(ports=False), Counted)
    return float((after.delay_ns - before.delay_ns)[leg] / (after.arrived - before.arrived)[leg] / 1e9)


def _elsewhere(world: World, lab: Lab) -> tuple[str, int]:
    """A demand that no other goes the way of, and the router (row) over which it takes longest."""
    made, streams = lab.plan().fabric, lab.plan().streams[2 * len(lab.plan().fabric.lines) :]
    ends = [stream.hosts for stream in streams]
    lines = np.array([line.routers for line in made.lines])
    took = np.array([line.oneway_us for line in made.lines])
    joined = coo_array((took, (lines[:, 0], lines[:, 1])), shape=(SITES, SITES))
    far = dijkstra(joined, directed=False)
    detours = {
        (row, over): far[a, over] + far[over, b] - far[a, b]
        for row, (a, b) in enumerate(ends)
        for over in range(SITES)
        if ends.count((a, b)) == 1 and over not in (a, b)
    }
    row, over = max(detours, key=lambda key: detours[key])
    return lab.plan().demands[row], over


def _act(kind: str, table: str, subject: str, *cells: Cell) -> Action:
    sets = cells or (Cell(table, subject, "drained", False, True),)
    return Action(kind=kind, subject=subject, sets=sets, blast_radius=(subject,), expires_at_s=FOREVER_S)


def _ends(lab: Lab, link: str) -> list[tuple[int, Port]]:
    """Both interfaces of a link, with the rows of their routers."""
    return [(router, port) for router, port in lab.plan().fabric.ports() if port.link == link]


def _stepped(made: Fabric) -> str:
    """A link that must be given a cost in between before it is drained."""
    joined = np.array([line.routers for line in made.lines])
    cost = np.zeros(len(made.lines), np.int64)
    for _, port in made.ports():
        cost[port.row] = port.cost
    stepped = (len(steps(len(made.routers), joined, cost, row, isis.MOST_COST)) for row in range(len(cost)))
    return next(line.link for line, many in zip(made.lines, stepped, strict=True) if 1 < many <= isis.MOST_STEPS)


def test_two_demands_between_the_same_routers_are_led_alike_or_not_at_all() -> None:
    world = mesh(5, sites=SITES)
    demands = world["demands"]
    a, b = (strings(demands[column])[0] for column in ("a", "b"))
    over = next(site for site in strings(world["sites"].ids) if site not in (a, b))
    both = demands.set(np.array([0, 1]), a=[a, a], b=[b, b], via=[over, ""])
    with pytest.raises(InputError, match=r"segments cannot tell it from another.*d001"):
        plan(
            World(world.intended.replace(both), world.actual), name="x", protocols=Protocols(igp="isis", segments=True)
        )
