"""Routes against a slow reading of the same rules: shortest by cost, even over equal ways, areas first."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.instances.ring import ring
from karez.measure import spread
from karez.measure.routes import DRAINED_COST, Case, case_of, flows, meant_up, plant_of, routes, way_cost
from karez.twin import Table, Twin, World
from karez.twin.states import initial_states

SITES = 7


def _world(links: list[tuple[int, int, int, int]], demands: list[tuple[int, int, float]]) -> World:
    """A network of sites 0 to 6; links are (a, b, cost, area), demands (from, to, Gbit/s)."""
    sites = [f"c{number}" for number in range(SITES)]
    base = ring().intended
    intended = Twin().replace(
        base["provinces"],
        base["metros"],
        base["domains"],
        Table.of(
            "sites",
            {
                "id": sites,
                "kind": ["core"] * SITES,
                "metro": ["M"] * SITES,
                "lon": [110.0] * SITES,
                "lat": [30.0] * SITES,
            },
        ),
        Table.of(
            "links",
            {
                "id": [f"l{at:02d}" for at in range(len(links))],
                "a": [sites[a] for a, _, _, _ in links],
                "b": [sites[b] for _, b, _, _ in links],
                "kind": ["core"] * len(links),
                "length_km": [10.0] * len(links),
                "cost": [cost for _, _, cost, _ in links],
                "area": [area for _, _, _, area in links],
            },
        ),
        Table.of(
            "demands",
            {
                "id": [f"d{at}" for at in range(len(demands))],
                "a": [sites[a] for a, _, _ in demands],
                "b": [sites[b] for _, b, _ in demands],
                "gbps": [gbps for _, _, gbps in demands],
            },
        ),
    )
    return World(intended, initial_states(intended))


def _carried(links: list[tuple[int, int, int, int]], demands: list[tuple[int, int, float]]) -> dict[int, float]:
    """The load of each link in its busier way: distances by networkx, then shares hop by hop."""
    graph = nx.Graph()
    graph.add_nodes_from(range(SITES))
    for a, b, cost, _ in links:
        graph.add_edge(a, b, weight=min(cost, graph.edges[a, b]["weight"] if graph.has_edge(a, b) else cost))
    load: dict[tuple[int, int], float] = defaultdict(float)
    for start, goal, gbps in demands:
        far = nx.single_source_dijkstra_path_length(graph, goal)
        if start not in far:
            continue
        volume = defaultdict(float, {start: gbps})
        for here in sorted(far, key=lambda site: -far[site]):
            ways = [
                (at, b if a == here else a)
                for at, (a, b, cost, _) in enumerate(links)
                if here in (a, b) and far[b if a == here else a] + cost == far[here] and a != b
            ]
            for at, there in ways if here != goal else []:
                load[at, here] += volume[here] / len(ways)
                volume[there] += volume[here] / len(ways)
    return {at: max(load[at, a], load[at, b]) for at, (a, b, _, _) in enumerate(links)}


pairs = st.tuples(st.integers(0, SITES - 1), st.integers(0, SITES - 1)).filter(lambda pair: pair[0] != pair[1])
some_links = st.lists(st.tuples(pairs, st.integers(1, 4)), min_size=1, max_size=16)
some_demands = st.lists(st.tuples(pairs, st.floats(0.5, 20.0)), min_size=1, max_size=8)


@given(some_links, some_demands)
@settings(max_examples=200, deadline=None)
def test_loads_are_those_of_equal_shares_over_shortest_ways(links: list, demands: list) -> None:  # type: ignore[type-arg]
    made = [(a, b, cost, 0) for (a, b), cost in links]
    wanted = [(a, b, gbps) for (a, b), gbps in demands]
    found = flows(_world(made, wanted))
    expected = _carried(made, wanted)
    assert found.load_gbps == pytest.approx([expected[at] for at in range(len(made))], abs=1e-9)


@given(some_links, some_demands)
@settings(max_examples=100, deadline=None)
def test_shares_of_what_crosses_links_add_up_to_their_loads(links: list, demands: list) -> None:  # type: ignore[type-arg]
    world = _world([(a, b, cost, 0) for (a, b), cost in links], [(a, b, gbps) for (a, b), gbps in demands])
    made = routes(world, case_of(world))
    crossing = made.crossing()
    both = np.zeros((len(links), 2))
    np.add.at(both, (crossing.link, crossing.back), crossing.share * world["demands"]["gbps"][crossing.demand])
    assert both.max(axis=1) == pytest.approx(made.load_gbps(), abs=1e-9)


def test_ways_are_told_apart_by_costs_that_32_bits_do_not_hold() -> None:
    world = _world([(0, 1, 0, 0), (1, 2, 0, 0), (0, 2, 0, 0)], [(0, 2, 1.0)])
    plant, shape = plant_of(world), (1, 3)
    cost = np.array([2**40, 2**40, 2**42])[plant.link]
    label, by_area, order = np.full(shape, spread.FAR), np.full(shape, -1), np.zeros(shape, np.int64)
    ways = (plant.into, plant.tail, cost, plant.area, plant.member, plant.backbone)
    spread.trees(plant.number[2:3], *ways, label, by_area, order, np.zeros(1, np.int64))
    assert label[0, plant.number[:3]].tolist() == [2**41, 2**40, 0]
    assert order[0].tolist() == plant.number[[2, 1, 0]].tolist()


def test_within_an_area_traffic_stays_though_the_backbone_would_be_cheaper() -> None:
    links = [(0, 1, 10, 1), (1, 2, 10, 1), (0, 3, 1, 0), (3, 2, 1, 1)]
    found = flows(_world(links, [(0, 2, 8.0)]))
    assert found.load_gbps.tolist() == [8.0, 8.0, 0.0, 0.0]


def test_between_areas_traffic_goes_over_the_backbone_and_not_through_a_third_area() -> None:
    links = [(0, 1, 1, 1), (1, 2, 50, 0), (2, 3, 1, 2), (1, 4, 1, 3), (4, 2, 1, 3)]
    found = flows(_world(links, [(0, 3, 8.0)]))
    assert found.load_gbps.tolist() == [8.0, 8.0, 8.0, 0.0, 0.0]


def _square() -> World:
    """Two ways from 0 to 3, over 1 (cheap) and over 2."""
    return _world([(0, 1, 1, 0), (1, 3, 1, 0), (0, 2, 5, 0), (2, 3, 5, 0)], [(0, 3, 10.0)])


def _with(case: Case, **arrays: dict[int, float]) -> Case:
    changed = {}
    for name, cells in arrays.items():
        changed[name] = getattr(case, name).copy()
        for at, value in cells.items():
            changed[name][at] = value
    return replace(case, **changed)


@pytest.mark.parametrize("arrays", [{"drained": {0: True}}, {"up": {1: False}}, {"site_drained": {1: True}}])
def test_traffic_goes_around_what_is_drained_or_down(arrays: dict[str, dict[int, float]]) -> None:
    world = _square()
    found = flows(world, _with(case_of(world), **arrays))
    assert found.load_gbps.tolist() == [0.0, 0.0, 10.0, 10.0]


def test_a_drained_link_still_carries_what_has_no_other_way() -> None:
    world = _world([(0, 1, 1, 0)], [(0, 1, 10.0)])
    found = flows(world, _with(case_of(world), drained={0: True}))
    assert found.load_gbps.tolist() == [10.0]
    assert way_cost(plant_of(world), _with(case_of(world), drained={0: True})).tolist() == [DRAINED_COST] * 2


def test_a_demand_that_is_led_over_a_site_goes_there_and_feels_both_legs() -> None:
    world = _square()
    straight, led = flows(world), flows(world, _with(case_of(world), via={0: 2}))
    assert led.load_gbps.tolist() == [0.0, 0.0, 10.0, 10.0]
    assert led.oneway_us[0] == pytest.approx(straight.oneway_us[0], rel=1e-6)


def test_what_is_lost_and_late_on_the_way_is_felt_by_what_passes() -> None:
    world = _square()
    case = case_of(world)
    lost, extra = case.lost_share.copy(), case.extra_us.copy()
    lost[0, 0], extra[1, 0] = 0.1, 700.0
    hurt = flows(world, replace(case, lost_share=lost, extra_us=extra))
    assert hurt.delivered_share[0] == pytest.approx(0.9)
    assert hurt.oneway_us[0] == pytest.approx(flows(world).oneway_us[0] + 700.0)
    back = case.lost_share.copy()
    back[0, 1] = 1.0
    assert flows(world, replace(case, lost_share=back)).delivered_share[0] == 1.0


def test_what_a_site_loses_and_a_hole_swallows_does_not_arrive() -> None:
    world = _square()
    sick = flows(world, _with(case_of(world), site_lost_share={1: 0.25}))
    assert sick.delivered_share[0] == pytest.approx(0.75)
    assert flows(world, replace(case_of(world), hole=(1, 3))).delivered_share[0] == 0.0
    assert flows(world, replace(case_of(world), hole=(1, 2))).delivered_share[0] == 1.0


def test_above_its_capacity_a_link_loses_the_excess() -> None:
    world = _square()
    found = flows(world, _with(case_of(world), capacity_gbps={0: 8.0}))
    assert found.delivered_share[0] == pytest.approx(0.8)
    assert found.used_share[0] == pytest.approx(1.25)


def test_a_demand_without_a_way_is_lost_whole_and_what_is_limited_in_part() -> None:
    world = _square()
    cut = flows(world, _with(case_of(world), up={0: False, 2: False}))
    assert np.isinf(cut.oneway_us[0])
    assert cut.delivered_share[0] == 0.0
    limited = flows(world, _with(case_of(world), limited_share={0: 0.4}))
    assert limited.load_gbps[0] == pytest.approx(4.0)
    assert limited.delivered_share[0] == pytest.approx(0.4)


def test_the_plant_is_made_once_for_the_same_tables() -> None:
    world = _square()
    assert plant_of(world) is plant_of(World(world.intended, world.actual))


@pytest.mark.parametrize("told", [(), (0, 2), (0, 1, 2)], ids=["none tells", "one is silent", "all tell"])
def test_a_link_that_tells_nothing_while_others_tell_their_speed_is_believed_not_to_be_there(
    told: tuple[int, ...],
) -> None:
    world = _world([(0, 1, 1, 0), (1, 2, 1, 0), (0, 2, 5, 0)], [(0, 2, 1.0)])
    states = world["link_states"]
    if told:
        states = states.set(np.array(told), capacity_gbps=100.0)
    world = World(world.intended, world.actual.replace(states))
    assert case_of(world).up.tolist() == [True, told != (0, 2), True]
    assert meant_up(world).tolist() == case_of(world).up.tolist()
