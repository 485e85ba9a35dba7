"""The embedded network: what its traffic does, what each fault leaves in telemetry, and what time cannot change."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import msgspec
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.instances.mesh import CUT_FULL_SHARE, mesh
from benchmarks.instances.ring import ring
from karez.adapters.embedded import FAULTS, USUAL, EmbeddedNetwork, Fault, Packets, drawn, planned_gbps
from karez.adapters.embedded.acts import ACTS
from karez.adapters.embedded.traffic import Swing
from karez.plan import Action, Cell, NewRow
from karez.plan.kinds import KINDS, ORDERS
from karez.twin import Table, Twin, World
from karez.twin.check import check
from karez.twin.schema import Value
from karez.twin.states import initial_states
from karez.twin.table import Array, strings
from karez.twin.telemetry import CHANNELS, Samples, StateRows

STEP_S = 0.2
BEGINS_S, ENDS_S = 40.0, 80.0
COUNTS = ("tx_packets", "rx_packets")


def act(kind: str, subject: str, after: Value, before: Value = "") -> Action:
    """An act of a kind that sets one cell."""
    table, column = KINDS[kind].may_set[0]
    cell = Cell(table, subject, column, before, after)
    return Action(kind=kind, subject=subject, sets=(cell,), blast_radius=(subject,), expires_at_s=1e9)


def net(sites: str, links: list[tuple[str, str, float]], demands: list[str], **columns: list[Value]) -> World:
    """Sites of one letter, links between them of a length (km) named by their ends, demands of 10 Gbit/s."""
    ends = {"a": [a for a, _, _ in links], "b": [b for _, b, _ in links]}
    twice: dict[str, int] = {}
    names = []
    for a, b, _ in links:
        twice[a + b] = twice.get(a + b, 0) + 1
        names.append(a + b + "'" * (twice[a + b] - 1))
    many = len(sites)
    intended = Twin().replace(
        Table.of("metros", {"id": ["M"], "province": ["P"], "lon": [110.0], "lat": [30.0]}),
        Table.of("provinces", {"id": ["P"]}),
        Table.of(
            "sites",
            {
                "id": list(sites),
                "kind": ["core"] * many,
                "metro": ["M"] * many,
                "lon": [1.0] * many,
                "lat": [1.0] * many,
            },
        ),
        Table.of(
            "links",
            {
                "id": names,
                **ends,
                "kind": ["core"] * len(links),
                "length_km": [km for _, _, km in links],
                "capacity_gbps": [100.0] * len(links),
                **columns,
            },
        ),
        Table.of("equipment", {"id": [f"r{s}" for s in sites], "site": list(sites), "kind": ["router"] * many}),
        Table.of(
            "demands",
            {"id": demands, "a": [d[0] for d in demands], "b": [d[1] for d in demands], "gbps": [10.0] * len(demands)},
        ),
    )
    return World(intended, initial_states(intended))


@cache
def meshed(seed: int = 3) -> World:
    return mesh(seed, bgp=True)


def new(world: World, seed: int = 1) -> EmbeddedNetwork:
    return EmbeddedNetwork(world, seed=seed, start_s=0.0)


def loads(network: EmbeddedNetwork, world: World) -> dict[str, float]:
    """What each link carries (Gbit/s)."""
    told = network.look("link_states", [row.decode() for row in world["link_states"].ids])
    return {row: float(load) for row, load in zip(told.ids, told.columns["load_gbps"], strict=True)}


def steady(world: World) -> dict[str, float]:
    """What each link carries where every demand offers its mean, as the network routes it."""
    ways = planned_gbps(world)
    # Rounded to what chance loses everywhere.
    return {row.decode(): round(float(ways[at].max()), 2) for at, row in enumerate(world["link_states"].ids)}


# Routes


def test_traffic_is_split_evenly_among_equal_ways_at_each_hop() -> None:
    world = net("abcd", [("a", "b", 10), ("b", "d", 10), ("a", "c", 10), ("c", "d", 10)], ["ad"])
    assert steady(world) == {"ab": 5.0, "bd": 5.0, "ac": 5.0, "cd": 5.0}


def test_parallel_links_share_what_goes_between_their_ends() -> None:
    assert steady(net("ab", [("a", "b", 10), ("a", "b", 10)], ["ab"])) == {"ab": 5.0, "ab'": 5.0}


def test_a_cost_that_was_set_counts_and_not_the_delay() -> None:
    links = [("a", "b", 10.0), ("a", "c", 500.0), ("c", "b", 500.0)]
    found = steady(net("abc", links, ["ab"], cost=[100, 1, 1]))
    assert found == {"ab": 0.0, "ac": 10.0, "cb": 10.0}


def test_a_way_within_the_area_is_taken_though_one_over_the_backbone_is_shorter() -> None:
    # a and b are on the border of area 1, t is inside it, d in the backbone.
    links = [("a", "t", 900.0), ("b", "t", 1.0), ("a", "d", 1.0), ("d", "b", 1.0)]
    found = steady(net("abdt", links, ["at", "dt"], area=[1, 1, 0, 0]))
    assert found == {"at": 10.0, "bt": 10.0, "ad": 0.0, "db": 10.0}


def test_between_areas_traffic_goes_over_the_backbone_and_never_through_a_third_area() -> None:
    # s in area 1, t in area 2; area 3 would be a short cut between their borders.
    links = [("s", "a", 1.0), ("a", "b", 900.0), ("a", "m", 1.0), ("m", "b", 1.0), ("b", "t", 1.0)]
    found = steady(net("sabmt", links, ["st"], area=[1, 0, 3, 3, 2]))
    assert found == {"sa": 10.0, "ab": 10.0, "am": 0.0, "mb": 0.0, "bt": 10.0}


def test_an_area_that_falls_apart_is_joined_over_the_backbone() -> None:
    # a and b are on the border of area 1, with s and t inside it, and joined by the backbone over d.
    links = [("a", "s", 1.0), ("s", "t", 1.0), ("t", "b", 1.0), ("a", "d", 1.0), ("d", "b", 1.0)]
    world = net("abdst", links, ["st"], area=[1, 1, 1, 0, 0])
    network = new(world)
    network.inject(Fault("link_cut", "st", 1.0))
    network.live(30.0)
    assert network.delivered("st") > 0.99
    assert loads(network, world)["ad"] > 5.0


def test_a_backbone_that_falls_apart_is_not_joined_over_an_area() -> None:
    links = [("d", "a", 1.0), ("a", "s", 1.0), ("s", "b", 1.0), ("b", "e", 1.0)]
    network = new(net("abdes", links, ["de", "ds", "es"], area=[0, 1, 1, 0]))
    assert network.delivered("de") == 0.0
    assert network.delivered("ds") > 0.99
    assert network.delivered("es") > 0.99


def test_areas_that_no_backbone_joins_do_not_reach_each_other() -> None:
    network = new(net("abc", [("a", "b", 1.0), ("b", "c", 1.0)], ["ac", "ab"], area=[1, 2]))
    assert network.delivered("ac") == 0.0
    assert network.delivered("ab") > 0.99


@pytest.mark.parametrize("seed", range(4))
def test_loads_are_those_of_shortest_paths_split_at_each_hop(seed: int) -> None:
    world = meshed(seed)
    area = world["links"].set(np.arange(len(world["links"])), area=0)
    world = World(world.intended.replace(area), world.actual)
    links, demands = world["links"], world["demands"]
    cost = np.maximum(1, np.rint((4.9 * links["length_km"] + 50.0) / 10.0)).astype(int)
    known = nx.Graph()
    for a, b, weight in zip(links["a"].tolist(), links["b"].tolist(), cost.tolist(), strict=True):
        known.add_edge(a, b, weight=weight)
    expected = dict.fromkeys(map(frozenset, known.edges), 0.0)
    both: dict[tuple[bytes, bytes], float] = {}
    for goal in set(demands["b"].tolist()):
        far = nx.single_source_dijkstra_path_length(known, goal)
        at = dict.fromkeys(known, 0.0)
        for a, b, gbps in zip(demands["a"].tolist(), demands["b"].tolist(), demands["gbps"].tolist(), strict=True):
            at[a] += gbps if b == goal else 0.0
        for site in sorted(known, key=lambda s: -far[s]):
            ahead = [n for n in known[site] if far[n] + known[site][n]["weight"] == far[site]]
            for hop in ahead:
                at[hop] += at[site] / len(ahead)
                both[site, hop] = both.get((site, hop), 0.0) + at[site] / len(ahead)
    expected = {frozenset(pair): max(both.get(pair, 0.0), both.get(pair[::-1], 0.0)) for pair in known.edges}
    found = planned_gbps(world).max(axis=1)
    for row, a, b in zip(found.tolist(), links["a"].tolist(), links["b"].tolist(), strict=True):
        assert row == pytest.approx(expected[frozenset((a, b))], rel=1e-3)


def test_a_drained_router_is_passed_by_no_traffic_but_its_own() -> None:
    world = net("abcd", [("a", "b", 10), ("b", "d", 10), ("a", "c", 90), ("c", "d", 90)], ["ad", "ab"])
    network = new(world)
    assert network.apply(act("drain_router", "rb", True), 1.0) == ""
    network.live(3.0)
    found = loads(network, world)
    assert found["bd"] == 0.0
    assert found["ac"] > 5.0
    assert network.delivered("ab") > 0.999


def test_a_demand_that_is_steered_goes_over_its_site_and_back_again() -> None:
    world = net("abcd", [("a", "b", 10), ("b", "d", 10), ("a", "c", 90), ("c", "d", 90)], ["ad"])
    network = new(world)
    assert network.apply(act("steer_demand", "ad", "c"), 1.0) == ""
    assert loads(network, world)["cd"] > 5.0
    assert network.look("demand_states", ["ad"]).columns["via"] == ("c",)
    assert network.apply(act("steer_demand", "ad", ""), 1.0) == ""
    assert loads(network, world)["cd"] == 0.0
    assert network.apply(act("steer_demand", "ad", "nowhere"), 1.0) != ""


def test_a_demand_goes_its_usual_way_when_the_site_it_is_led_over_is_cut_off() -> None:
    world = net("abcd", [("a", "b", 10), ("b", "d", 10), ("a", "c", 90), ("c", "d", 90)], ["ad"])
    network = new(world)
    network.apply(act("steer_demand", "ad", "c"), 1.0)
    network.inject(Fault("router_dead", "rc", 2.0))
    network.live(30.0)
    assert network.delivered("ad") > 0.99
    assert loads(network, world)["bd"] > 5.0


# How soon routing knows


@pytest.mark.parametrize(
    ("kind", "lost_s"),
    [("link_cut", 0.22), ("link_cut_one_way", 0.22), ("link_silent", 0.5), ("link_silent_one_way", 0.5)],
)
def test_traffic_into_a_broken_link_is_lost_until_the_routers_know(kind: str, lost_s: float) -> None:
    world = net("abc", [("a", "b", 10), ("a", "c", 10), ("c", "b", 10)], ["ab"])
    network = new(world)
    network.inject(Fault(kind, "ab", 10.0))
    network.live(10.1)
    assert network.delivered("ab") == 0.0
    network.live(10.0 + lost_s - 0.01)
    assert network.delivered("ab") == 0.0
    network.live(10.0 + lost_s + 0.01)
    assert network.delivered("ab") > 0.99
    assert network.lost == pytest.approx(network.fork().lost)


def test_without_bfd_a_silent_link_is_missed_after_its_hello_packets_only() -> None:
    world = meshed()
    link, site = _busiest(world), ""
    site = str(world["links"].cell(link, "a"))
    network = new(world)
    network.inject(Fault("bfd_dead", f"r{site[1:]}/bfd", 10.0))
    network.inject(Fault("link_silent", link, 40.0))
    network.live(43.9)
    assert network.look("link_states", [link]).columns["adjacent"] == (True,)
    network.live(44.1)
    assert network.look("link_states", [link]).columns["adjacent"] == (False,)


def test_a_router_whose_routing_is_stuck_sends_on_into_a_link_that_is_cut() -> None:
    world = meshed()
    link = _busiest(world)
    at = int(world["links"].rows([link])[0])
    way = int(np.argmax(planned_gbps(world)[at]))
    site = str(world["links"].cell(link, "ab"[way]))
    well, stuck = new(world), new(world)
    stuck.inject(Fault("routing_stuck", f"r{site[1:]}/routing", 5.0))
    drops = []
    for network in (well, stuck):
        network.inject(Fault("link_cut", link, 10.0))
        network.hear(12.0)
        before, after = (_heard(network, "counter", at_s)["tx_drops"] for at_s in (13.0, 15.0))
        drops.append(float((after - before)[2 * at : 2 * at + 2].sum()))
    assert drops[0] == 0.0
    assert drops[1] > 1e5
    assert stuck.apply(act("restart_daemon", f"r{site[1:]}/routing", 1), 15.0) == ""
    before, after = (_heard(stuck, "counter", at_s)["tx_drops"] for at_s in (20.0, 22.0))
    assert (before == after)[2 * at : 2 * at + 2].all()


# Traffic


@pytest.mark.parametrize(
    "kind", ["link_loss", "link_errors", "link_large_loss", "link_narrow", "queue_small", "router_fabric_loss", "none"]
)
def test_what_is_sent_is_received_or_lost_somewhere(kind: str) -> None:
    world = meshed()
    network = new(world)
    network.inject(msgspec.structs.replace(_fault(world, kind), size_share=0.1, at_s=1.0))
    network.inject(Fault("link_narrow", _busiest(world), 2.0, size_share=0.3))
    network.live(9.5)
    rates = network._living.meter.rates
    lost_on_ways = float((rates.lost + rates.errors + rates.drops).sum())
    lost_in_routers = float((rates.came - rates.left).sum())
    assert float(rates.sent.sum()) == pytest.approx(float(rates.received.sum()) + lost_on_ways + lost_in_routers)
    assert lost_on_ways + lost_in_routers > 1e-3


def test_at_each_site_what_comes_in_is_what_came_and_what_leaves_is_what_left() -> None:
    world = meshed()
    network = new(world)
    network.inject(Fault("link_loss", _busiest(world), 1.0, size_share=0.1))
    network.live(5.5)
    living = network._living
    rates, made = living.meter.rates, living.plant
    count = made.sites.vertices
    arrived = rates.tx - rates.lost - rates.errors
    came = np.bincount(made.head, arrived, count) + np.bincount(made.demands.start, rates.sent, count)
    left = np.bincount(made.tail, rates.tx + rates.drops, count) + np.bincount(made.demands.goal, rates.received, count)
    np.testing.assert_allclose(rates.came, came)
    np.testing.assert_allclose(rates.left, left)


def test_what_a_link_cannot_carry_is_dropped_before_it_and_queues_grow_with_load() -> None:
    world = net("ab", [("a", "b", 10)], ["ab"])
    network = new(world)
    network.inject(Fault("link_narrow", "ab", 5.0, size_share=0.05))
    before = _heard(network, "probe", 5.0)["oneway_us"][0]
    network.live(5.5)
    assert loads(network, world)["ab"] == pytest.approx(5.0)
    assert network.delivered("ab") < 0.7
    heard = _heard(network, "counter", 6.0)
    assert heard["tx_drops"][0] > 1e5
    assert _heard(network, "probe", 6.5)["oneway_us"][0] > before + 300.0


def test_users_who_lose_much_send_less_and_come_back_slowly() -> None:
    world = net("ab", [("a", "b", 10)], ["ab"])
    network = new(world)
    network.inject(Fault("link_loss", "ab", 10.0, 30.0, size_share=0.05))
    seen = [float(_heard(network, "user", at_s)["gbps"][0]) for at_s in np.arange(1.0, 61.0)]
    assert min(seen[13:29]) == pytest.approx(seen[8] / 4.0, rel=0.4)
    assert min(seen) > 0.2 * max(seen)
    assert seen[31] < seen[36] < seen[41]
    assert network.loss_gbps_us == 0.0


def test_a_reaction_to_loss_counts_as_loss_of_the_users() -> None:
    network = new(net("ab", [("a", "b", 10)], ["ab"]))
    network.inject(Fault("link_loss", "ab", 10.0, size_share=0.05))
    network.live(10.5)
    early = network.loss_gbps_us
    network.live(20.5)
    assert network.loss_gbps_us > 5.0 * early


def test_limited_traffic_is_let_in_by_its_share_and_users_do_not_send_less() -> None:
    network = new(net("ab", [("a", "b", 10)], ["ab"]))
    assert network.apply(act("limit_demand", "ab", 0.4), 1.0) == ""
    network.live(20.0)
    assert network.delivered("ab") == pytest.approx(0.4, rel=1e-3)


def test_a_healthy_network_loses_nothing_that_counts_though_packets_are_lost_everywhere() -> None:
    network = new(meshed())
    heard = [_heard(network, "user", at_s) for at_s in np.arange(1.0, 60.0)]
    lost, sent = (sum(int(each[column].sum()) for each in heard) for column in ("lost", "sent"))
    assert 1e-6 < lost / sent < 1e-4
    assert network.lost == 0.0
    assert network.broken() == ()


# Time


@given(st.lists(st.floats(0.01, 7.0), min_size=1, max_size=40), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_what_is_true_does_not_depend_on_how_often_anybody_looks(steps: list[float], seed: int) -> None:
    world = meshed()
    fault = drawn(world, list(FAULTS)[seed * 7 % len(FAULTS)], np.random.default_rng(seed), 5.3)
    once, often = new(world, seed), new(world, seed)
    for network in (once, often):
        network.inject(fault or Fault("none", "", 1.0))
    at_s = 0.0
    for index, step_s in enumerate(steps):
        at_s += step_s
        (often.observe, often.hear, often.live)[index % 3](at_s)
    once.live(at_s)
    assert once.loss_gbps_us == often.loss_gbps_us
    assert once.lost == pytest.approx(often.lost, rel=1e-12)
    assert loads(once, world) == loads(often, world)


def test_a_fork_lives_on_alike_and_nothing_that_is_done_to_it_is_done_to_the_other() -> None:
    world = meshed()
    network = new(world)
    network.inject(_fault(world, "link_flapping"))
    for at_s in np.arange(0.2, 20.0, 0.2):
        network.observe(float(at_s)), network.hear(float(at_s))
    twin, third = network.fork(), network.fork()
    third.apply(act("drain_link", _busiest(world), True), 20.0)
    third.inject(Fault("link_cut", _busiest(world), 21.0))
    third.live(70.0)
    for at_s in np.arange(20.2, 70.0, 0.4):
        assert network.observe(float(at_s)) == twin.observe(float(at_s))
        _same(network.hear(float(at_s)), twin.hear(float(at_s)))
    assert network.lost == twin.lost
    assert third.lost != network.lost


def test_a_time_in_which_all_is_well_passes_at_once_with_the_same_sums() -> None:
    world = meshed()
    stepped, jumped = new(world), new(world)
    until_s = 1_280.5
    lost = {"probe": 0, "user": 0}
    sent = {"probe": 0, "user": 0}
    delays = []
    last: dict[str, Samples] = {}
    for at_s in (*np.arange(1.0, until_s), until_s):
        for heard in stepped.hear(float(at_s)):
            last[heard.channel] = heard
            if heard.channel in lost:
                lost[heard.channel] += int(heard.columns["lost"].sum())
                sent[heard.channel] += int(heard.columns["sent"].sum())
            if heard.channel == "probe":
                delays.append(heard.columns["oneway_us"])
    told = {heard.channel: heard for heard in jumped.hear(until_s)}
    for channel in lost:
        assert sent[channel] == pytest.approx(int(told[channel].columns["sent"].sum()), abs=len(world["demands"]))
        other = int(told[channel].columns["lost"].sum())
        assert abs(other - lost[channel]) < 6.0 * math.sqrt(max(lost[channel], 1))
    rate = 1e5 * world["links"]["capacity_gbps"].max()
    for column in ("tx_packets", "rx_packets"):
        difference = told["counter"].columns[column] - last["counter"].columns[column]
        # What went over in the last half second is in one of them only.
        assert np.abs(difference).max() < rate
    mean = np.mean(delays, axis=0)
    assert np.abs(told["probe"].columns["oneway_us"] - mean).max() < 5.0
    assert stepped.lost == jumped.lost == 0.0


@pytest.mark.parametrize(("first", "end"), [(0, 64), (3, 5), (60, 70), (1, 1_000), (640, 1_792)])
def test_what_is_offered_over_a_time_is_the_mean_of_its_seconds(first: int, end: int) -> None:
    swing = Swing(seed=4, demands=3)
    seconds = [swing.at(second) for second in range(first, end)]
    np.testing.assert_allclose(swing.mean(first, end), np.mean(seconds, axis=0), rtol=1e-12)


def test_a_time_in_which_links_drop_is_lived_second_by_second_though_users_are_used_to_it() -> None:
    world = mesh(3)
    demands = world["demands"]
    full = demands.set(np.arange(len(demands)), gbps=demands["gbps"] * 2.2)
    crowded = World(world.intended.replace(full), world.actual)
    stepped, jumped = new(crowded), new(crowded)
    for second in range(1, 41):
        stepped.live(float(second))
    jumped.live(40.0)
    assert jumped.lost == pytest.approx(stepped.lost, rel=1e-9)
    assert stepped.lost > 0.0
    assert jumped.loss_gbps_us == stepped.loss_gbps_us


def test_a_year_without_a_fault_is_short_and_a_fault_in_it_begins_when_it_should() -> None:
    world = meshed()
    network = new(world)
    network.inject(Fault("link_cut", _busiest(world), 2e7, 2e7 + 60.0))
    assert network.next_event_s == 2e7
    network.live(2e7)
    assert network.look("link_states", [_busiest(world)]).columns["up"] == (False,)
    assert network.next_event_s == pytest.approx(2e7 + 0.02)
    network.live(3.1e7)
    assert network.look("link_states", [_busiest(world)]).columns["up"] == (True,)
    assert network.next_event_s == math.inf
    assert network.loss_gbps_us == 0.0


def test_a_fault_that_is_told_of_too_late_begins_at_once() -> None:
    network = new(ring())
    network.live(10.0)
    network.inject(Fault("link_cut", "l03", 2.0))
    network.observe(10.0)
    assert network.look("link_states", ["l03"]).columns["up"] == (False,)


@pytest.mark.parametrize(
    "fault", [Fault("rust", "l03", 1.0), Fault("link_cut", "r1", 1.0), Fault("duct_cut", "x", 1.0)]
)
def test_what_cannot_go_wrong_is_refused(fault: Fault) -> None:
    with pytest.raises(ValueError, match=r"there is no fault|this network has no"):
        new(ring()).inject(fault)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_goes_wrong_at_once_packets_are_conserved_and_what_is_told_is_possible(seed: int) -> None:
    world, random, at_s = meshed(seed), np.random.default_rng(seed), 1.7e9
    network = EmbeddedNetwork(world, seed=seed, start_s=at_s)
    for kind in random.choice(list(FAULTS), 12, replace=False).tolist():
        fault = drawn(world, kind, random, at_s + float(random.uniform(0.0, 40.0)))
        if fault:
            until_s = min(fault.until_s, fault.at_s + float(random.uniform(0.1, 60.0)))
            network.inject(msgspec.structs.replace(fault, until_s=until_s))
    lost = 0.0
    for _ in range(120):
        at_s += float(random.choice([0.2, 0.37, 1.0, 5.0]))
        network.observe(at_s)
        for heard in network.hear(at_s):
            signed = ("power_dbm", "oneway_us")
            assert all(not (values < 0).any() for name, values in heard.columns.items() if name not in signed)
            for sent, gone in (("sent", "lost"), ("sent_large", "lost_large")):
                if gone in heard.columns:
                    assert (heard.columns[gone] <= heard.columns[sent]).all()
        rates = network._living.meter.rates
        ends = rates.received.sum() + (rates.lost + rates.errors + rates.drops).sum() + (rates.came - rates.left).sum()
        # The rest never came in: filtered, limited, or without a way.
        assert ends <= rates.sent.sum() * (1.0 + 1e-9)
        assert network.lost >= lost
        assert network.next_event_s > at_s
        lost = network.lost


# Telemetry


def test_every_channel_tells_its_columns_at_its_pace_for_the_same_series() -> None:
    network = new(meshed())
    told: dict[str, list[Samples]] = {}
    for step in range(1, 51):
        for heard in network.hear(step * STEP_S):
            assert heard.at_s == step * STEP_S
            told.setdefault(heard.channel, []).append(heard)
    assert {channel: tuple(heard[0].columns) for channel, heard in told.items()} == {
        channel: columns for channel, columns in CHANNELS.items() if channel != "observer"
    }
    assert {channel: len(heard) for channel, heard in told.items()} == {
        "probe": 50, "user": 20, "counter": 10, "optical": 10, "ping": 10, "transit": 10,
    }  # fmt: skip
    for samples in told.values():
        assert all(each.ids is samples[0].ids for each in samples)
        assert all(len(values) == len(samples[0].ids) for values in samples[0].columns.values())
    assert sum(int(heard.columns["sent"][0]) for heard in told["probe"]) == 200
    assert sum(int(heard.columns["sent_large"][0]) for heard in told["probe"]) == 50


def test_probes_of_a_healthy_link_scatter_as_stated() -> None:
    network = new(net("ab", [("a", "b", 100)], ["ab"]))
    told = np.array([_heard(network, "probe", 0.05 * step)["oneway_us"] for step in range(1, 6_001)])
    noise = told[:, 1] - 540.0
    spikes = noise > 80.0
    assert float(np.median(noise)) == pytest.approx(15.0 * 0.6745, rel=0.05)
    assert 1 <= np.count_nonzero(spikes) <= 16
    assert noise.min() >= 0.0


def test_counters_only_grow_and_differ_across_a_link_by_what_a_millisecond_carries() -> None:
    world = meshed()
    network = new(world)
    before: dict[str, Array] = {}
    for at_s in range(1, 60):
        heard = _heard(network, "counter", float(at_s))
        for column in ("tx_packets", "rx_packets", "rx_errors", "tx_drops"):
            assert (heard[column] >= before.get(column, heard[column])).all()
        before = heard
        sent, received = heard["tx_packets"], heard["rx_packets"][np.arange(len(heard["rx_packets"])) ^ 1]
        assert (np.abs(sent - received) <= 1e5 * heard["tx_gbps"] * 1.2e-3 + 1e-4 * sent + 10).all()


def test_hours_told_at_once_have_the_loss_of_hours() -> None:
    world = meshed()
    network = new(world)
    network.inject(Fault("link_errors", _busiest(world), 0.0, size_share=0.02))
    heard = {told.channel: told for told in network.hear(7_200.0)}
    at = 2 * int(world["link_states"].rows([_busiest(world)])[0])
    probe = heard["probe"].columns
    assert probe["lost"][at] / probe["sent"][at] == pytest.approx(0.02, rel=0.05)
    errors, received = (heard["counter"].columns[column][at + 1] for column in ("rx_errors", "rx_packets"))
    assert errors / (errors + received) == pytest.approx(0.02, rel=1e-3)


# What each fault leaves behind


class Trace(NamedTuple):
    """What a kind of fault must be seen by, and what else may be seen of it, as a consequence."""

    must: frozenset[str]
    may: frozenset[str] = frozenset()


def _trace(must: str, may: str = "") -> Trace:
    return Trace(frozenset(must.split()), frozenset(may.split()))


# Traffic that takes another way: users feel it, links may be too full, other ways are longer.
MOVED = "user_loss user_delay drops rise fall delay probe_loss large_loss transit"
HURT = "user_loss user_delay fall"
AWAY = "up adjacent flaps probe_dead optical"
TRACES: dict[str, Trace] = {
    "link_cut": _trace(AWAY, MOVED),
    "link_cut_one_way": _trace(AWAY, MOVED),
    "link_silent": _trace("adjacent probe_dead leak", MOVED),
    "link_silent_one_way": _trace("adjacent probe_dead leak", MOVED),
    "link_slow": _trace("delay user_delay"),
    "link_slow_one_way": _trace("delay user_delay"),
    "link_loss": _trace("probe_loss large_loss leak user_loss", HURT),
    "link_loss_one_way": _trace("probe_loss large_loss leak user_loss", HURT),
    "link_errors": _trace("probe_loss large_loss errors user_loss", HURT),
    "link_dim": _trace("probe_loss large_loss errors optical user_loss", HURT),
    "link_large_loss": _trace("large_loss leak user_loss", HURT),
    "link_jitter": _trace("delay user_delay"),
    "link_flapping": _trace(AWAY.replace("probe_dead", "probe_loss"), f"{MOVED} large_loss"),
    "link_narrow": _trace("capacity", f"{HURT} drops delay probe_loss large_loss"),
    "duct_cut": _trace(AWAY, MOVED),
    "duct_dim": _trace("probe_loss large_loss errors optical user_loss", HURT),
    "router_dead": _trace(f"{AWAY} device ping untold user_loss", MOVED),
    "router_booted": _trace(
        "up adjacent flaps device boots user_loss",
        f"{MOVED} large_loss ping untold optical daemon probe_dead",
    ),
    "router_hung": _trace("adjacent probe_dead device ping untold user_loss", MOVED),
    "router_fabric_loss": _trace("transit user_loss", HURT),
    "router_slow": _trace("user_delay"),
    "router_hot": _trace("user_delay cpu"),
    "router_fib_stale": _trace("transit user_loss", HURT),
    "router_clock_wrong": _trace("delay clock"),
    "telemetry_late": _trace("clock late", "leak wild stuck"),
    "site_power_lost": _trace(f"{AWAY} device ping untold user_loss", MOVED),
    "routing_dead": _trace("daemon adjacent user_loss", MOVED),
    "routing_stuck": _trace("behind"),
    "bfd_dead": _trace("daemon adjacent", MOVED),
    "bgp_dead": _trace("daemon user_loss", f"{HURT} transit"),
    "telemetry_dead": _trace("daemon untold ping"),
    "probe_dead": _trace("daemon probe_dead"),
    "probe_slow": _trace("delay probe_loss", "large_loss"),
    "cost_wrong": _trace("cost", MOVED),
    "drain_left": _trace("drained", MOVED),
    "router_drain_left": _trace("drained", MOVED),
    "filter_wrong": _trace("value user_loss", HURT),
    "mtu_wrong": _trace("value large_loss leak user_loss", HURT),
    "area_wrong": _trace("value adjacent", MOVED),
    "policer_left": _trace("value user_loss", HURT),
    "static_wrong": _trace("value transit user_loss", HURT),
    "other_wrong": _trace("value"),
    "bgp_wrong": _trace("value user_loss", HURT),
    "demand_surge": _trace("rise", f"{HURT} drops delay probe_loss large_loss"),
    "site_flood": _trace("rise", f"{HURT} drops delay probe_loss large_loss"),
    "queue_small": _trace("drops probe_loss large_loss user_loss", HURT),
    "counter_stuck": _trace("stuck", "leak wild"),
    "counter_wild": _trace("wild", "leak"),
    "state_lies": _trace("up adjacent"),
    "work_link": _trace(AWAY, MOVED),
    "work_router": _trace(f"{AWAY} device ping untold user_loss", MOVED),
    "none": _trace(""),
    "noise": _trace("", "probe_loss large_loss"),
}


def test_every_kind_of_fault_has_a_trace_to_be_held_to() -> None:
    assert set(TRACES) == set(FAULTS) - {"deaf"}
    assert len(TRACES) == 53


@pytest.mark.parametrize("kind", TRACES)
def test_a_fault_is_seen_in_what_it_befalls_and_nowhere_else(kind: str) -> None:
    world = next(world for world in map(meshed, range(3, 30)) if drawn(world, kind, np.random.default_rng(1), 1.0))
    well = new(world)
    sick = well.fork()
    sick.inject(_fault(world, kind))
    seen = _seen(world, well, sick)
    assert TRACES[kind].must <= seen
    assert seen <= TRACES[kind].must | TRACES[kind].may


@pytest.mark.parametrize("kind", [kind for kind in TRACES if FAULTS[kind].mended])
def test_what_mends_a_fault_brings_the_network_back_to_what_it_was(kind: str) -> None:
    world = next(world for world in map(meshed, range(3, 30)) if drawn(world, kind, np.random.default_rng(1), 1.0))
    well = new(world)
    sick = well.fork()
    fault = _fault(world, kind)
    sick.inject(fault)
    sick.live(BEGINS_S + 10.0)
    remedy = FAULTS[kind].mended[0]
    assert sick.apply(act(remedy, fault.subject, _after(world, remedy, fault.subject)), BEGINS_S + 10.0) == ""
    for network in (well, sick):
        network.live(BEGINS_S + 120.0)
    assert sick.loss_gbps_us == 0.0
    for table in ("link_states", "equipment_states", "daemon_states", "config_states", "demand_states"):
        ids = [row.decode() for row in world[table].ids]
        columns, intended = sick.look(table, ids).columns, well.look(table, ids).columns
        for column in set(columns) - {"boots", "restarts", "restores"}:
            assert columns[column] == intended[column]
    heard = {told.channel: told.columns for told in sick.hear(BEGINS_S + 121.0)}
    assert not np.isnan(heard["counter"]["tx_packets"]).any()
    assert (heard["ping"]["answers"] > 0.5).all()


def test_a_restart_of_the_device_mends_what_ails_its_programs() -> None:
    network = new(meshed())
    network.inject(Fault("routing_dead", "r003/routing", 5.0))
    network.apply(act("restart_device", "r003", 1), 20.0)
    network.live(60.0)
    assert network.look("daemon_states", ["r003/routing"]).columns["up"] == (True,)
    assert network.loss_gbps_us == 0.0


def test_a_device_that_does_not_answer_takes_no_command_but_a_restart() -> None:
    network = new(meshed())
    network.inject(Fault("router_hung", "r003", 5.0))
    network.live(6.0)
    assert "does not answer" in network.apply(act("restart_daemon", "r003/routing", 1), 6.0)
    assert "does not answer" in network.apply(act("drain_router", "r003", True), 6.0)
    assert "does not answer" in network.apply(act("restore_config", "r003/filter", 1), 6.0)
    assert network.look("daemon_states", ["r003/routing"]).ids == ()
    assert network.apply(act("restart_device", "r003", 1), 6.0) == ""


def test_users_are_known_again_two_seconds_after_bgp_runs_and_not_before() -> None:
    network, other, demands = new(world := meshed()), new(world), meshed()["demands"]
    mine = (demands["a"] == b"c003") | (demands["b"] == b"c003")
    network.inject(Fault("bgp_dead", "r003/bgp", 5.0))
    other.inject(Fault("router_fabric_loss", "r003", 5.0, size_share=1.0))
    for each in (network, other):
        each.live(6.0)
    assert set(strings(demands.ids[mine])) < _cut(network, world) == _cut(other, world)
    assert network.apply(act("restart_daemon", "r003/bgp", 1), 6.0) == ""
    network.live(7.5)
    assert network.look("daemon_states", ["r003/bgp"]).columns["up"] == (True,)
    assert _cut(network, world) == _cut(other, world)
    network.live(9.0)
    assert _cut(network, world) == set()


@pytest.mark.parametrize("fault", [Fault("bgp_dead", "r003/bgp", 5.0, 10.0), Fault("router_booted", "r003", 5.0, 10.0)])
def test_what_ends_by_itself_leaves_bgp_as_much_to_tell_as_a_restart_does(fault: Fault) -> None:
    network, demands = new(world := meshed()), meshed()["demands"]
    mine = set(strings(demands.ids[(demands["a"] == b"c003") | (demands["b"] == b"c003")]))
    network.inject(fault)
    network.live(11.5)
    assert mine <= _cut(network, world)
    network.live(13.5)
    assert _cut(network, world) == set()


def test_a_router_that_does_not_tell_of_its_users_gets_nothing_for_them() -> None:
    network, demands = new(world := meshed()), meshed()["demands"]
    goal = demands["b"][0]
    network.inject(Fault("bgp_wrong", f"r{goal.decode()[1:]}/bgp", 5.0))
    network.live(6.0)
    assert _cut(network, world) == set(strings(demands.ids[demands["b"] == goal]))


def _cut(network: EmbeddedNetwork, world: World) -> set[str]:
    """The demands that nothing arrives of now."""
    return {demand for demand in strings(world["demands"].ids) if network.delivered(demand) == 0.0}


def test_power_that_comes_back_brings_devices_back_with_a_boot_more() -> None:
    network = new(meshed())
    network.inject(Fault("site_power_lost", "c003", 5.0, 50.0))
    network.live(20.0)
    assert network.look("equipment_states", ["o003", "r003"]).columns["up"] == (False, False)
    network.live(60.0)
    assert network.look("equipment_states", ["o003", "r003"]).columns["up"] == (True, True)
    assert network.look("equipment_states", ["o003", "r003"]).columns["boots"] == (1, 1)


def test_a_link_is_told_to_flap_as_often_as_it_fell_within_a_minute() -> None:
    network = new(ring())
    network.inject(Fault("link_flapping", "l03", 10.0, 45.0, size_s=5.0))
    network.live(44.0)
    assert network.look("link_states", ["l03"]).columns["flaps"] == (4,)
    network.live(81.0)
    assert network.look("link_states", ["l03"]).columns["flaps"] == (2,)
    network.live(130.0)
    assert network.look("link_states", ["l03"]).columns["flaps"] == (0,)


# Acts


@pytest.mark.parametrize("kind", sorted(ACTS))
def test_an_act_taken_twice_is_as_taken_once(kind: str) -> None:
    world = ring() if kind in ("start_job", *ORDERS) else meshed()
    action = _action(world, kind)
    once, twice = new(world), new(world)
    assert once.apply(action, 1.0) == twice.apply(action, 1.0) == ""
    assert twice.apply(action, 1.0) == ""
    for at_s in (1.0, 1.4, 2.0, 5.0, 30.0):
        assert once.observe(at_s) == twice.observe(at_s)
        _same(once.hear(at_s), twice.hear(at_s))
    assert once.lost == twice.lost


@pytest.mark.parametrize("kind", ["drain_link", "set_cost", "drain_router", "steer_demand", "limit_demand"])
def test_an_act_and_its_inverse_leave_no_trace(kind: str) -> None:
    world = meshed()
    network, other = new(world), new(world)
    action = _action(world, kind)
    assert network.apply(action, 1.0) == ""
    network.live(5.0)
    cell = action.sets[0]
    undone = act(KINDS[kind].inverse, action.subject, world[cell.table].cell(cell.row, cell.column))
    assert network.apply(undone, 5.0) == ""
    for each in (network, other):
        each.live(60.0)
    assert loads(network, world) == loads(other, world)
    assert network.loss_gbps_us == other.loss_gbps_us == 0.0


def test_what_does_not_exist_takes_no_command() -> None:
    network = new(meshed())
    for kind in sorted(ACTS):
        if KINDS[kind].may_set:
            assert "there is no" in network.apply(act(kind, "nothing", 1), 1.0)


# The network that healing is measured on


@pytest.mark.parametrize("seed", range(12))
def test_a_mesh_is_sound_and_stays_whole_when_any_one_link_is_cut(seed: int) -> None:
    world = meshed(seed)
    assert list(check(world.intended)) == []
    assert 12 <= len(world["sites"]) <= 30
    known = nx.Graph(zip(world["links"]["a"].tolist(), world["links"]["b"].tolist(), strict=True))
    assert len(known) == len(world["sites"])
    assert nx.edge_connectivity(known) >= 2
    full = planned_gbps(world).max(axis=1) / world["links"]["capacity_gbps"]
    assert 0.2 <= full.max() <= 0.7
    with_area = np.flatnonzero(world["links"]["area"] == 0)
    backbone = nx.Graph(
        zip(world["links"]["a"][with_area].tolist(), world["links"]["b"][with_area].tolist(), strict=True)
    )
    assert nx.edge_connectivity(backbone) >= 2


def test_some_meshes_have_the_room_for_the_cut_of_any_one_link_and_some_have_not() -> None:
    have_room = sum(_after_cuts_share(meshed(seed)) <= CUT_FULL_SHARE + 1e-9 for seed in range(24))
    assert 8 <= have_room <= 20


def _after_cuts_share(world: World) -> float:
    """How full the fullest link is while any one is cut."""
    links, fullest = world["links"], 0.0
    for row in range(len(links)):
        cut = World(world.intended.replace(links.set(np.array([row]), up=False)), world.actual)
        fullest = max(fullest, float((planned_gbps(cut).max(axis=1) / links["capacity_gbps"]).max()))
    return fullest


def test_a_mesh_is_as_large_as_it_is_asked_to_be() -> None:
    world = mesh(1, sites=200)
    assert len(world["sites"]) == 200
    assert 280 <= len(world["links"]) <= 320
    assert 350 <= len(world["demands"]) <= 750
    network = new(world)
    network.observe(5.0)
    assert network.loss_gbps_us == 0.0


def test_some_meshes_have_areas_and_some_links_share_a_duct() -> None:
    worlds = [meshed(seed) for seed in range(12)]
    assert 0 < sum(len(np.unique(world["links"]["area"])) > 1 for world in worlds) < 12
    assert all(len(np.unique(world["link_support"]["duct"])) < len(world["links"]) for world in worlds)
    protected = np.concatenate([world["demands"]["protected"] for world in worlds])
    assert 0.15 < protected.mean() < 0.25


def test_every_kind_of_fault_can_be_drawn_on_some_mesh_and_none_on_an_empty_world() -> None:
    for kind in FAULTS:
        faults = [drawn(meshed(seed), kind, np.random.default_rng(seed), 5.0) for seed in range(5)]
        assert any(faults), kind
        for seed, fault in enumerate(faults):
            if fault:
                new(meshed(seed)).inject(fault)
    empty = World(Twin(), Twin())
    assert all(drawn(empty, kind, np.random.default_rng(1), 5.0) is None for kind in FAULTS if kind != "none")


# How the above is found out


def _busiest(world: World) -> str:
    at = int(np.argmax(planned_gbps(world).max(axis=1)))
    return str(world["link_states"].ids[at].decode())


def _fault(world: World, kind: str) -> Fault:
    """A fault of a kind; one of a link befalls the busiest, in its busier direction."""
    fault = drawn(world, kind, np.random.default_rng(1), BEGINS_S)
    assert fault is not None
    if FAULTS[kind].about == "link" and kind != "queue_small":
        link = _busiest(world)
        ways = planned_gbps(world)[int(world["link_states"].rows([link])[0])]
        fault = msgspec.structs.replace(fault, subject=link, way="ab" if ways[0] >= ways[1] else "ba")
    return fault


def _after(world: World, kind: str, subject: str) -> Value:
    """What a remedy sets: one restart more, or what is intended."""
    table, column = KINDS[kind].may_set[0]
    now = world[table].cell(subject, column)
    return int(now) + 1 if KINDS[kind].rises else now


def _action(world: World, kind: str) -> Action:
    link, demand = _busiest(world), str(world["demands"].ids[0].decode())
    made: dict[str, Callable[[], Action]] = {
        "drain_link": lambda: act(kind, link, True),
        "undrain_link": lambda: act(kind, link, False),
        "set_cost": lambda: act(kind, link, 5_000),
        "drain_router": lambda: act(kind, "r003", True),
        "undrain_router": lambda: act(kind, "r003", False),
        "steer_demand": lambda: act(kind, demand, "c003"),
        "limit_demand": lambda: act(kind, demand, 0.5),
        "restore_link": lambda: act(kind, link, 1),
        "restore_router": lambda: act(kind, "r003", 1),
        "restart_daemon": lambda: act(kind, "r003/routing", 1),
        "restore_config": lambda: act(kind, "r003/filter", 1),
        "restart_device": lambda: act(kind, "r003", 1),
        "start_job": lambda: _adding(kind, "j1", NewRow("assignments", "j1", {"server": "s0", "chips": 64})),
        "order_equipment": lambda: _adding(kind, "c1", NewRow("equipment", "e1", {"site": "c1", "kind": "router"})),
        "order_servers": lambda: _adding(kind, "c1", NewRow("servers", "s9", {"site": "c1", "chip": "X", "chips": 8})),
    }
    return made[kind]()


def _adding(kind: str, subject: str, row: NewRow) -> Action:
    return Action(kind=kind, subject=subject, adds=(row,), blast_radius=(subject,), expires_at_s=1e9, ends_at_s=20.0)


def _heard(network: EmbeddedNetwork, channel: str, at_s: float) -> dict[str, Array]:
    return next(heard for heard in network.hear(at_s) if heard.channel == channel).columns


def _same(one: tuple[Samples, ...], other: tuple[Samples, ...]) -> None:
    assert [heard.channel for heard in one] == [heard.channel for heard in other]
    for first, second in zip(one, other, strict=True):
        for column, values in first.columns.items():
            np.testing.assert_array_equal(values, second.columns[column])


def _seen(world: World, well: EmbeddedNetwork, sick: EmbeddedNetwork) -> set[str]:
    """In what a network that is sick differs from its healthy fork by more than a little."""
    seen: set[str] = set()
    told: dict[str, list[tuple[dict[str, Array], dict[str, Array]]]] = {}
    for step in range(1, round(ENDS_S / STEP_S) + 1):
        at_s = step * STEP_S
        well.observe(at_s)
        seen |= _stated(world, sick.observe(at_s))
        for one, other in zip(well.hear(at_s), sick.hear(at_s), strict=True):
            if at_s > BEGINS_S - 1.5:
                told.setdefault(one.channel, []).append((one.columns, other.columns))
    both = {channel: _stacked(samples) for channel, samples in told.items()}
    return seen | {name for name, differs in DIFFERS.items() if differs(both)}


def _stacked(samples: list[tuple[dict[str, Array], dict[str, Array]]]) -> dict[str, Array]:
    """By column: a value by network, time and series."""
    return {
        column: np.array([[pair[network][column] for pair in samples] for network in (0, 1)])
        for column in samples[0][0]
    }


def _stated(world: World, rows: tuple[StateRows, ...]) -> set[str]:
    """What states say that is not as on the first day."""
    return {name for each in rows for name in _odd(world, each)}


def _odd(world: World, rows: StateRows) -> Iterator[str]:
    names = {
        "link_states": {"up": "up", "adjacent": "adjacent", "drained": "drained", "cost": "cost", "flaps": "flaps"}
    }
    names["link_states"]["capacity_gbps"] = "capacity"
    names["equipment_states"] = {"up": "device", "boots": "boots", "drained": "drained"}
    names["daemon_states"] = {"up": "daemon", "behind_s": "behind"}
    names["config_states"] = {"value": "value"}
    for column, name in names.get(rows.table, {}).items():
        for row, value in zip(rows.ids, rows.columns.get(column, ()), strict=False):
            # On the first day no link has told its speed yet.
            table = "links" if column == "capacity_gbps" else rows.table
            if value != world[table].cell(row, column):
                yield name


Both = dict[str, dict[str, Array]]


def _share(both: Both, channel: str, lost: str, sent: str) -> Array:
    columns = both[channel]
    return np.asarray(columns[lost].sum(axis=1) / np.maximum(columns[sent].sum(axis=1), 1))


def _more(values: Array, least: float) -> bool:
    return bool((values[1] - values[0] > least).any())


def _grown(both: Both, column: str) -> Array:
    values = both["counter"][column]
    return np.asarray(values[:, -1] - values[:, 0])


def _mean(values: Array) -> Array:
    """The mean over time of what was measured; 0 where nothing was."""
    count = np.maximum(np.isfinite(values).sum(axis=1), 1)
    return np.asarray(np.nansum(values, axis=1) / count)


def _leak(both: Both) -> bool:
    """Packets that were sent over a link and neither received nor counted as bad."""
    sent, received, bad = (_grown(both, column) for column in ("tx_packets", "rx_packets", "rx_errors"))
    missing = sent - (received + bad)[:, np.arange(sent.shape[1]) ^ 1]
    return bool((missing[1] > 5e-3 * sent[1] + 2e4).any())


def _lost_inside(both: Both) -> Array:
    transit = both["transit"]
    came, left = (np.nansum(transit[column], axis=1) for column in ("came", "left"))
    return np.asarray((came - left) / np.maximum(came, 1.0))


def _dead(both: Both) -> bool:
    """A way over which no probe came for most of the time."""
    lost = _share(both, "probe", "lost", "sent")
    return bool((lost[1] > 0.9).any())


def _partly(both: Both, lost: str, sent: str) -> bool:
    """Ways over which more was lost, but not all."""
    shares = _share(both, "probe", lost, sent)
    return bool(((shares[1] - shares[0] > 4e-3) & (_share(both, "probe", "lost", "sent")[1] < 0.9)).any())


def _shift(values: Array) -> Array:
    """How far what was measured differs on average; 0 where nothing was."""
    apart = values[1] - values[0]
    return np.asarray(np.nansum(apart, axis=0) / np.maximum(np.isfinite(apart).sum(axis=0), 1))


def _rates_moved(both: Both, sign: float) -> bool:
    gbps = both["user"]["gbps"].mean(axis=1)
    return bool((sign * (gbps[1] - gbps[0]) > 0.05 * gbps[0]).any())


def _still(both: Both) -> bool:
    """A port that sent before and counts nothing more, though the other end receives from it."""
    sent, received = (np.diff(both["counter"][name][1], axis=0)[-1] for name in ("tx_packets", "rx_packets"))
    return bool(((sent == 0.0) & (received == 0.0) & (received[np.arange(len(received)) ^ 1] > 0.0)).any())


def _too_many(both: Both) -> bool:
    sent, received = _grown(both, "tx_packets"), _grown(both, "rx_packets")
    other = sent[:, np.arange(sent.shape[1]) ^ 1]
    return bool(((received[1] > 1.1 * other[1] + 1e5) & (other[1] > 1e5)).any())


DIFFERS: dict[str, Callable[[Both], bool]] = {
    "probe_dead": _dead,
    "probe_loss": lambda both: _partly(both, "lost", "sent"),
    "large_loss": lambda both: _partly(both, "lost_large", "sent_large"),
    "delay": lambda both: bool((np.abs(_shift(both["probe"]["oneway_us"])) > 150.0).any()),
    "leak": _leak,
    "errors": lambda both: _more(_grown(both, "rx_errors"), 1e3),
    "drops": lambda both: _more(_grown(both, "tx_drops"), 1e3),
    "optical": lambda both: bool((_shift(both["optical"]["power_dbm"]) < -3.0).any()),
    "ping": lambda both: not (both["ping"]["answers"][1, -1] > 0.5).all(),
    "cpu": lambda both: _more(_mean(both["ping"]["cpu_share"]), 0.4),
    "transit": lambda both: _more(_lost_inside(both), 5e-3),
    "untold": lambda both: bool(np.isnan(both["counter"]["tx_packets"][1, -1]).any()),
    "clock": lambda both: bool((np.abs(_shift(both["counter"]["host_at_s"])) > 1e-3).any()),
    "late": lambda both: bool((_shift(both["counter"]["host_at_s"]) < -25.0).any()),
    "stuck": _still,
    "wild": _too_many,
    "user_loss": lambda both: _more(_share(both, "user", "lost", "sent"), 2e-3),
    "user_delay": lambda both: bool((np.abs(_shift(both["user"]["oneway_us"])) > 50.0).any()),
    "rise": lambda both: _rates_moved(both, 1.0),
    "fall": lambda both: _rates_moved(both, -1.0),
}


@pytest.mark.parametrize(
    ("kind", "sent", "received"),
    [("none", True, 1.0), ("link_cut", False, 0.0), ("link_silent", True, 0.0), ("link_loss", True, 0.5)],
)
def test_counters_count_tests_as_links_treat_them(kind: str, sent: bool, received: float) -> None:
    world = net("AB", [("A", "B", 100.0)], [])
    packets = Packets(small_per_s=300.0, large_per_s=100.0)
    network = EmbeddedNetwork(world, seed=1, start_s=0.0, packets=packets)
    if kind != "none":
        network.inject(Fault(kind, "AB", 5.0, size_share=0.5))
    counted = {}
    for at_s in (6.0, 26.0):
        told = {samples.channel: samples for samples in network.hear(at_s)}["counter"]
        counted[at_s] = dict(zip(strings(told.ids), zip(*(told.columns[n] for n in COUNTS), strict=True), strict=True))
    tx, rx = (counted[26.0]["AB@a"][at] - counted[6.0]["AB@a"][at] for at in (0, 1))
    assert tx == (pytest.approx(8_000) if sent else 0)
    assert rx == pytest.approx(8_000 * received, abs=300)


@pytest.mark.parametrize(("kind", "size"), [("counter_stuck", 0.0), ("counter_wild", 3.0)])
def test_counters_tell_wrongly_from_the_moment_on_and_not_from_the_next_reading(kind: str, size: float) -> None:
    world = net("AB", [("A", "B", 100.0)], ["AB"])
    well, sick = new(world), new(world)
    sick.inject(Fault(kind, "AB", 5.25, way="ab", size_share=size))
    counted = {network: [_heard(network, "counter", at_s) for at_s in (5.0, 6.0, 7.0)] for network in (well, sick)}
    column, port = ("rx_packets", 0) if size else ("tx_packets", 0)
    right, wrong = ([float(told[column][port]) for told in counted[network]] for network in (well, sick))
    assert wrong[0] == right[0]
    grown = np.diff(right)
    first = grown[0] * (0.25 + 0.75 * size)
    assert wrong[1] - wrong[0] == pytest.approx(first, rel=0.02, abs=2.0)
    assert wrong[2] - wrong[1] == pytest.approx(grown[1] * size, rel=0.02, abs=2.0)


def test_what_became_of_packets_is_told_once_it_is_settled() -> None:
    """Who waits 0.2 s for a packet tells of a loss that much later, and of as many packets in the end."""
    world = net("AB", [("A", "B", 100.0)], ["AB"])
    told = {}
    for lag_s in (0.0, 0.2):
        packets = USUAL._replace(settles_s=lag_s)
        network = EmbeddedNetwork(world, seed=1, start_s=0.0, packets=packets)
        network.inject(Fault("link_silent", "AB", 5.0))
        lost_s = [
            at_s
            for at_s in np.arange(4.0, 8.0, 0.1).round(1).tolist()
            for one in network.hear(at_s)
            if one.channel == "probe" and one.columns["lost"].sum() > 0
        ]
        told[lag_s] = lost_s[0]
    assert told[0.2] - told[0.0] == pytest.approx(0.2, abs=0.05)
