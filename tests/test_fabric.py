"""Networks of routers made of twins, and what their daemons are told."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.instances.mesh import mesh
from benchmarks.instances.ring import ring
from karez.adapters.frr.config import (
    DEAD_S,
    HELLO_S,
    REFLECTORS,
    Protocols,
    configuration,
)
from karez.adapters.frr.fabric import DRAINED_COST, LEAST_MTU, MOST_MTU, MTU, Fabric, Port, Router, fabric
from karez.errors import InputError
from karez.lab.plan import MOST_ROUTERS
from karez.measure.routes import case_of, plant_of, way_cost
from karez.twin import Table, Twin, World
from karez.twin.states import initial_states
from karez.twin.table import strings

MANY = 1_000
WORLDS: dict[str, Callable[[], World]] = {
    "ring": ring,
    "mesh": lambda: mesh(1, sites=12),
    "mesh with bgp": lambda: mesh(1, sites=12, bgp=True),
    "large mesh": lambda: mesh(2, sites=60),
    "mesh with areas": lambda: mesh(11),
}
FRR = Path("/usr/lib/frr")


def _fabric(world: World) -> Fabric:
    return fabric(world, most_routers=MANY)


@pytest.fixture(params=WORLDS, scope="module")
def world(request: pytest.FixtureRequest) -> World:
    return WORLDS[request.param]()


@pytest.fixture(scope="module")
def made(world: World) -> Fabric:
    return _fabric(world)


def _with_links(world: World, **values: object) -> World:
    """The network with these values for all of its links."""
    links = world["links"]
    intended = world.intended.replace(links.set(np.arange(len(links)), **values))  # type: ignore[arg-type]
    return World(intended, world.actual)


def test_the_worlds_of_these_tests_have_what_they_are_for() -> None:
    assert {port.area for _, port in _fabric(WORLDS["mesh with areas"]()).ports()} > {0}
    assert any(port.config_mtu for _, port in _fabric(WORLDS["mesh"]()).ports())


def test_every_site_with_links_has_one_router_and_every_link_one_line(world: World, made: Fabric) -> None:
    links = world["links"]
    used = set(strings(links["a"])) | set(strings(links["b"]))
    assert sorted(router.site for router in made.routers) == sorted(used)
    assert [line.link for line in made.lines] == list(strings(links.ids))
    assert len({router.id for router in made.routers}) == len(made.routers)


def test_no_address_is_given_twice(made: Fabric) -> None:
    given_ = [port.address for _, port in made.ports()] + [router.loopback for router in made.routers]
    given_ += [router.users for router in made.routers if made.bgp]
    assert len(set(given_)) == len(given_) == 2 * len(made.lines) + len(made.routers) * (1 + made.bgp)


def test_both_ends_of_a_link_are_all_of_one_network_of_two(made: Fabric) -> None:
    for _, port in made.ports():
        network = IPv4Network(f"{port.address}/31", strict=False)
        assert {str(host) for host in network.hosts()} == {port.address, port.facing_address}


def test_no_loopback_is_in_the_network_of_a_link(made: Fabric) -> None:
    links = [IPv4Network(f"{port.address}/31", strict=False) for _, port in made.ports()]
    own = [IPv4Address(address) for router in made.routers for address in (router.loopback, router.users)]
    assert not any(address in network for address in own for network in links)


def test_the_interface_that_one_faces_faces_back(made: Fabric) -> None:
    for row, port in made.ports():
        assert port.facing != row
        (back,) = [other for other in made.routers[port.facing].ports if other.link == port.link]
        assert (back.facing, back.facing_address, back.address) == (row, port.address, port.facing_address)
        assert (back.row, back.cost, back.area) == (port.row, port.cost, port.area)
        assert {back.end, port.end} == {"a", "b"}


def test_ends_stand_where_the_table_of_links_says(world: World, made: Fabric) -> None:
    links = world["links"]
    for row, port in made.ports():
        assert made.routers[row].site == strings(links[port.end])[port.row]


def test_a_line_joins_the_interfaces_that_its_routers_have_for_it(made: Fabric) -> None:
    for row, line in enumerate(made.lines):
        ends = [
            port
            for router, name in zip(line.routers, line.ports, strict=True)
            for port in made.routers[router].ports
            if port.name == name
        ]
        assert [(port.link, port.row, port.end) for port in ends] == [(line.link, row, "a"), (line.link, row, "b")]


def test_interfaces_of_a_router_have_names_of_their_own_that_the_kernel_takes(made: Fabric) -> None:
    for router in made.routers:
        names = [port.name for port in router.ports]
        assert len(set(names)) == len(names) > 0
        # Linux, IFNAMSIZ.
        assert all(0 < len(name) < 16 and name != "lo" for name in names)


def test_costs_are_those_that_routes_are_worked_out_with(world: World, made: Fabric) -> None:
    plant = plant_of(world)
    cost = way_cost(plant, case_of(world))
    of_link = {int(link): int(cost[way]) for way, link in enumerate(plant.link)}
    # A site that no demand needs is none of the plant's.
    compared = [(port.cost, of_link[port.row]) for _, port in made.ports() if port.row in of_link]
    assert len(compared) > len(made.lines)
    assert all(ours == theirs for ours, theirs in compared)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 65_535), min_size=7, max_size=7))
def test_costs_set_by_hand_are_told_as_they_are(costs: list[int]) -> None:
    made = _fabric(_with_links(ring(), cost=costs))
    assert all(port.cost == costs[port.row] for _, port in made.ports())


@settings(deadline=None, max_examples=25)
@given(st.floats(0.0, 20_000.0), st.floats(0.0, 1e6))
def test_a_cost_that_nobody_set_is_one_that_ospf_has_and_never_keeps_traffic_off(
    length_km: float, hop_us: float
) -> None:
    made = _fabric(_with_links(ring(), length_km=length_km, hop_us=hop_us))
    assert all(1 <= port.cost < DRAINED_COST for _, port in made.ports())


def test_a_router_is_named_by_its_first_device_that_routes_or_by_its_site() -> None:
    world = ring()
    devices = Table.of(
        "equipment",
        {"id": ["o", "r2", "r1"], "site": ["c0", "c1", "c1"], "kind": ["otn", "router", "router"]},
    )
    routers = _fabric(World(world.intended.replace(devices), world.actual)).routers
    first = devices.ids[np.flatnonzero(devices["site"] == b"c1")[0]].decode()
    assert {router.site: router.id for router in routers} == {f"c{row}": f"c{row}" for row in range(6)} | {"c1": first}


@pytest.mark.parametrize(
    ("told", "mtu"),
    [
        ("1400", 1_400),
        ("9000", MOST_MTU),
        ("9216", MOST_MTU),
        ("0", LEAST_MTU),
        ("none", MTU),
        ("jumbo", MTU),
        ("²", MTU),
    ],
)
def test_an_interface_carries_what_its_section_says_as_far_as_it_can(told: str, mtu: int) -> None:
    world = ring()
    section = Table.of(
        "configs", {"id": ["s"], "equipment": ["r0"], "link": ["l01"], "section": ["mtu"], "value": [told]}
    )
    made = _fabric(World(world.intended.replace(section), world.actual))
    ports = {(made.routers[row].id, port.link): port for row, port in made.ports()}
    assert (ports["r0", "l01"].mtu, ports["r0", "l01"].config_mtu) == (mtu, "s")
    others = [port for key, port in ports.items() if key != ("r0", "l01")]
    assert {(port.mtu, port.config_mtu) for port in others} == {(MTU, "")}


def _refused(world: World, *, most_routers: int = MANY) -> list[tuple[str, str]]:
    with pytest.raises(InputError) as caught:
        fabric(world, most_routers=most_routers)
    assert all(problem.fix for problem in caught.value.problems)
    return [(problem.where, problem.what) for problem in caught.value.problems]


def test_a_network_without_links_is_refused() -> None:
    world = ring()
    intended = world.intended.replace(Table.of("links"))
    assert _refused(World(intended, initial_states(intended))) == [("links", "there is none that is observed")]


def test_links_that_nobody_observes_are_none() -> None:
    world = ring()
    assert _refused(World(world.intended, Twin())) == [("links", "there is none that is observed")]


def test_more_routers_than_fit_are_refused_with_how_many_there_are() -> None:
    fabric(ring(), most_routers=6)
    assert _refused(ring(), most_routers=5) == [("sites", "6 routers are more than the 5 that fit")]


def test_links_that_lead_one_way_only_are_named() -> None:
    world = _with_links(ring(), direction=["both", "forward", "both", "both", "forward", "both", "both"])
    with pytest.raises(InputError) as caught:
        fabric(world, most_routers=MANY)
    (problem,) = caught.value.problems
    one_way = world["links"]["direction"] == b"forward"
    assert problem.rows == tuple(strings(world["links"].ids[one_way]))


def test_parts_that_no_link_joins_are_counted_and_a_site_of_each_is_named() -> None:
    links = ring()["links"]
    # What is left is c0 to c3 on one side, c4 and c5 on the other.
    up = [name not in ("l34", "l50") for name in strings(links.ids)]
    ((where, what),) = _refused(_with_links(ring(), up=up))
    assert where == "links"
    assert "c0, c4" in what
    assert "2 parts" in what


def test_a_link_that_is_meant_to_be_down_has_a_line_without_light() -> None:
    links = ring()["links"]
    up = [name != "l03" for name in strings(links.ids)]
    assert {line.link: line.up for line in _fabric(_with_links(ring(), up=up)).lines} == dict(
        zip(strings(links.ids), up, strict=True)
    )


def test_all_that_is_wrong_with_a_network_is_said_at_once() -> None:
    wrong = _with_links(ring(), up=[False] * 7, direction=["forward"] * 7)
    told = _refused(wrong, most_routers=5)
    assert [where for where, _ in told] == ["sites", "links", "links"]
    assert ["fit" in what for _, what in told] == [True, False, False]
    assert ["directions" in what for _, what in told] == [False, True, False]
    assert ["6 parts" in what for _, what in told] == [False, False, True]


def blocks(lines: Iterable[str]) -> list[tuple[str, list[str]]]:
    """The blocks of a configuration: what each begins with, and its lines; a line on its own is a block, too."""
    found: list[tuple[str, list[str]]] = []
    inside = False
    for line in lines:
        if inside and line != "exit":
            assert line.startswith(" "), f"{line!r} is in no block"
            found[-1][1].append(line.strip())
            continue
        if not inside:
            assert not line.startswith(" "), f"{line!r} is in no block"
            found.append((line, []))
        inside = not inside and line.startswith(("interface ", "router ", "bfd"))
    assert not inside
    return found


def _told(router: Router, protocols: Protocols, number: int = 0) -> dict[str, list[tuple[str, list[str]]]]:
    return {daemon: blocks(lines) for daemon, lines in configuration(router, number, protocols).items()}


PROTOCOLS = {
    "ospf": Protocols(),
    "ospf without bfd": Protocols(bfd_ms=0),
    "isis": Protocols(igp="isis"),
    "isis without bfd": Protocols(igp="isis", bfd_ms=0),
    "ospf and bgp": Protocols(bgp=True, bfd_ms=300, bfd_times=5),
}
OF_PORT = {
    "ospf": lambda port: {
        "ip ospf network point-to-point",
        f"ip ospf cost {port.cost}",
        f"ip ospf area {port.area}",
        f"ip ospf hello-interval {HELLO_S}",
        f"ip ospf dead-interval {DEAD_S}",
    },
    "isis": lambda port: {
        "ip router isis karez",
        "isis network point-to-point",
        f"isis metric {port.cost}",
        f"isis hello-interval {HELLO_S}",
    },
}


@pytest.mark.parametrize("protocols", PROTOCOLS.values(), ids=PROTOCOLS)
def test_each_interface_is_told_of_once_and_as_the_network_has_it(made: Fabric, protocols: Protocols) -> None:
    for router in made.routers:
        told = _told(router, protocols)[protocols.daemons[2]]
        heads = [head for head, _ in told if head.startswith("interface ")]
        assert sorted(heads) == sorted(f"interface {name}" for name in ["lo", *(port.name for port in router.ports)])
        of_interface = dict(told)
        for port in router.ports:
            lines = of_interface[f"interface {port.name}"]
            assert OF_PORT[protocols.igp](port) <= set(lines)
            assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("protocols", PROTOCOLS.values(), ids=PROTOCOLS)
def test_without_bfd_nobody_is_told_of_it_and_with_it_every_interface_is(made: Fabric, protocols: Protocols) -> None:
    for router in made.routers:
        told = _told(router, protocols)
        assert ("bfdd" in told) == protocols.bfd
        watched = [head for head, lines in told[protocols.daemons[2]] if any("bfd" in line for line in lines)]
        assert watched == [f"interface {port.name}" for port in router.ports] * protocols.bfd
        if protocols.bfd:
            ((_, lines),) = told["bfdd"]
            assert f"detect-multiplier {protocols.bfd_times}" in lines
            assert {f"receive-interval {protocols.bfd_ms}", f"transmit-interval {protocols.bfd_ms}"} <= set(lines)
            # A profile that is used is one that there is.
            (profile,) = [line.split()[1] for line in lines if line.startswith("profile ")]
            assert all(
                line.split()[-1] == profile
                for lines in dict(told[protocols.daemons[2]]).values()
                for line in lines
                if "bfd profile" in line
            )


def test_the_loopback_is_in_an_area_where_a_neighbour_is(made: Fabric) -> None:
    for router in made.routers:
        (line,) = dict(_told(router, Protocols())["ospfd"])["interface lo"]
        area = int(line.removeprefix("ip ospf area "))
        assert area in {port.area for port in router.ports}
        # What every other area learns of is in the backbone, where a router is in it.
        assert area == 0 or all(port.area for port in router.ports)


@pytest.mark.parametrize("igp", ["ospf", "isis"])
def test_no_two_routers_have_the_same_name_in_routing(igp: str) -> None:
    made = _fabric(WORLDS["large mesh"]())
    protocols = Protocols(igp="isis" if igp == "isis" else "ospf")
    begins = {"ospf": "ospf router-id ", "isis": "net "}[igp]
    names = [
        line
        for number, router in enumerate(made.routers)
        for head, lines in _told(router, protocols, number)[protocols.daemons[2]]
        if head.startswith("router ")
        for line in lines
        if line.startswith(begins)
    ]
    assert len(set(names)) == len(names) == len(made.routers)


def test_users_are_at_the_loopback_of_a_router_unless_it_runs_bgp() -> None:
    assert all(router.users == router.loopback for router in _fabric(WORLDS["mesh"]()).routers)
    assert not any(router.users == router.loopback for router in _fabric(WORLDS["mesh with bgp"]()).routers)


def test_that_some_routers_run_bgp_and_others_do_not_is_refused() -> None:
    world = WORLDS["mesh with bgp"]()
    programs = world["daemons"]
    partly = programs.take(programs.ids != b"r003/bgp")
    told = _refused(World(world.intended.replace(partly), world.actual))
    ((where, what),) = told
    assert (where, "1 of 12 routers run no BGP" in what) == ("daemons", True)


@pytest.mark.parametrize("number", [0, 1, 2, 7])
def test_every_router_but_the_first_opens_a_session_to_each_reflector_before_it(number: int) -> None:
    made = _fabric(WORLDS["mesh with bgp"]())
    ((_, lines),) = _told(made.routers[number], Protocols(bgp=True), number)["bgpd"]
    asked = [line.split()[1] for line in lines if " remote-as " in line and "clients" not in line]
    assert asked == [router.loopback for router in made.routers[: min(number, REFLECTORS)]]
    # A reflector takes the sessions of all others, and tells each what the others said.
    listens = [line.split()[3] for line in lines if line.startswith("bgp listen range ")]
    (most,) = [int(line.split()[3]) for line in lines if line.startswith("bgp listen limit ")] or [0]
    assert bool(listens) == (number < REFLECTORS) == (most >= MOST_ROUTERS)
    assert all(IPv4Address(router.loopback) in IPv4Network(at) for at in listens for router in made.routers)
    told = {line.split()[1] for line in lines if line.endswith("route-reflector-client")}
    assert told == ({*asked, "clients"} if listens else set())
    assert [line for line in lines if line.startswith("network ")] == [f"network {made.routers[number].users}/32"]


def test_just_the_daemons_that_are_needed_run_and_zebra_is_the_first() -> None:
    assert Protocols().daemons == ("zebra", "staticd", "ospfd", "bfdd")
    assert Protocols(igp="isis", bfd_ms=0).daemons == ("zebra", "staticd", "isisd")
    assert Protocols(bgp=True).daemons == ("zebra", "staticd", "ospfd", "bfdd", "bgpd")


def _only(**values: int) -> Router:
    """A router with one interface."""
    port = Port(
        link="l",
        row=0,
        end="a",
        name="e1",
        address="10.0.0.0",
        facing=1,
        facing_address="10.0.0.1",
        cost=values.get("cost", 1),
        drained=bool(values.get("drained", 0)),
        area=values.get("area", 0),
        mtu=MTU,
    )
    return Router(id="r", site="s", loopback="10.255.0.1", users="10.255.0.1", ports=(port,), drained=port.drained)


ROUTERS = {
    "a router of a mesh": lambda: _fabric(WORLDS["mesh with areas"]()).routers[0],
    "the highest numbers": lambda: _only(cost=65_535, area=2**32 - 1),
    "the lowest numbers": lambda: _only(cost=1, area=0),
    "all drained": lambda: _only(drained=1),
}


@pytest.mark.lab
@pytest.mark.skipif(os.geteuid() != 0 or not FRR.exists(), reason="needs root and FRR")
@pytest.mark.parametrize("protocols", PROTOCOLS.values(), ids=PROTOCOLS)
@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
def test_the_daemons_know_every_line_that_they_are_told(router: Callable[[], Router], protocols: Protocols) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # Daemons read as a user of their own.
        os.chmod(folder, 0o755)
        for daemon, lines in configuration(router(), 0, protocols).items():
            assert _complaints(Path(folder), daemon, lines) == 0
            assert _complaints(Path(folder), daemon, [*lines, "nonsense"]) == 1


def _complaints(folder: Path, daemon: str, lines: Sequence[str]) -> int:
    """Of how many lines a daemon says that it does not know them; it ends before it does anything."""
    (folder / "conf").write_text("\n".join([*lines, ""]))
    done = subprocess.run(
        [
            *(FRR / daemon, "--dryrun", "--config_file", folder / "conf", "--vty_port", "0"),
            *("--vty_socket", folder, "--pid_file", folder / "pid", "--socket", folder / "zserv.api"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return (done.stdout + done.stderr).count("on config line")
