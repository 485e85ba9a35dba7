from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError
from karez.importers.generate import nation
from karez.measure.circles import Circles, Shares, Weight, access_points, circles, delays_ns, movers
from karez.measure.core import core_layout, topology
from karez.measure.delay import FIGURES, link_oneway_us
from karez.operations import CirclesQuestion, GenerateQuestion
from karez.operations import circles as circles_operation
from karez.operations import generate as generate_operation
from karez.operations.networks import write_new
from karez.twin import Table, Twin
from karez.twin.graph import delay_from_ns, delay_towards_ns, each_delay_ns, graph
from karez.twin.schema import Value
from karez.twin.states import initial_states

Link = tuple[str, str, str, str, float]
Columns = dict[str, Sequence[Value]]


def twin_of(
    sites: dict[str, tuple[str, str]], stations: dict[str, str], links: Iterable[Link], servers: list[str]
) -> Twin:
    """Sites (kind, metro), stations (metro), links (a, b, kind, direction, km) and sites with servers."""
    rows = list(links)
    metros = sorted({metro for _, metro in sites.values()} | set(stations.values()) | {"M1"})
    tables = [
        Table.of("provinces", {"id": ["P"], "name": ["Province"], "side": ["east"]}),
        Table.of(
            "metros",
            {
                "id": metros,
                "province": ["P"] * len(metros),
                "population": [100.0] * len(metros),
                "lon": [110.0] * len(metros),
                "lat": [30.0] * len(metros),
            },
        ),
        Table.of(
            "sites",
            {
                "id": list(sites),
                "kind": [kind for kind, _ in sites.values()],
                "metro": [metro for _, metro in sites.values()],
                "lon": [110.0] * len(sites),
                "lat": [30.0] * len(sites),
            },
        ),
        Table.of("chips", {"id": ["H20"]}),
    ]
    if stations:
        tables.append(
            Table.of(
                "stations",
                {
                    "id": list(stations),
                    "metro": list(stations.values()),
                    "lon": [110.0] * len(stations),
                    "lat": [30.0] * len(stations),
                },
            )
        )
    if rows:
        a, b, kind, direction, km = (list(column) for column in zip(*rows, strict=True))
        ids = [f"l{number:03d}" for number in range(len(rows))]
        tables.append(
            Table.of("links", {"id": ids, "a": a, "b": b, "kind": kind, "direction": direction, "length_km": km})
        )
    if servers:
        count = len(servers)
        tables.append(
            Table.of(
                "servers",
                {
                    "id": [f"p-{site}" for site in servers],
                    "site": servers,
                    "chip": ["H20"] * count,
                    "chips": [8] * count,
                },
            )
        )
    return Twin({table.name: table for table in tables})


def golden() -> Twin:
    """Ten stations on three aggregation sites; two core sites with servers, joined by links of unequal length.

    Delays at typical figures, in us, by hand: 4.9 a km, 20 for an access or aggregation hop, 50 for core and backbone.
    c1 > c2: 540. c2 > c1: 1030. a1 - c1: 69. a2 > c2: 265. c2 > a2: 902. a3 - c1: 1000.6. station - site: 24.9.
    """
    sites = {
        "c1": ("core", "M1"),
        "c2": ("core", "M1"),
        "a1": ("aggregation", "M1"),
        "a2": ("aggregation", "M1"),
        "a3": ("aggregation", "M2"),
    }
    hosts = ["a1"] * 4 + ["a2"] * 3 + ["a3"] * 3
    stations = {f"s{number}": "M2" if host == "a3" else "M1" for number, host in enumerate(hosts)}
    links: list[Link] = [
        ("c1", "c2", "core", "forward", 100.0),
        ("c2", "c1", "core", "forward", 200.0),
        ("a1", "c1", "aggregation", "both", 10.0),
        ("a2", "c2", "aggregation", "forward", 50.0),
        ("c2", "a2", "aggregation", "forward", 180.0),
        ("a3", "c1", "backbone", "both", 194.0),
        *((f"s{number}", host, "access", "both", 1.0) for number, host in enumerate(hosts)),
    ]
    twin = twin_of(sites, stations, links, ["c1", "c2"])
    metros = Table.of(
        "metros",
        {
            "id": ["M1", "M2", "M3"],
            "province": ["P"] * 3,
            "population": [100.0, 300.0, 100.0],
            "lon": [110.0] * 3,
            "lat": [30.0] * 3,
        },
    )
    return twin.replace(metros, Table.of("places", {"id": ["k1", "k2"], "site": ["a1", "a3"], "weight": [3.0, 1.0]}))


def pooled(found: Circles) -> list[float | None]:
    return [found.shares[figures].pooled_share for figures in FIGURES]


def test_c2_by_hand_covers_two_of_three_access_points_and_all_of_them_at_low_figures() -> None:
    found = circles(golden(), budget_us=1000.0)
    assert pooled(found) == pytest.approx([1.0, 2 / 3, 2 / 3])
    assert found.shares["typical"].mean_of_metros_share == pytest.approx(0.5)
    assert dict(zip(found.access_points.tolist(), found.reach_us, strict=True)) == pytest.approx(
        {b"a1": 69.0, b"a2": 265.0, b"a3": 1000.6}
    )
    assert [(region.id, region.weight, region.covered_share) for region in found.metros] == [("M1", 2, 1), ("M2", 1, 0)]
    assert [(region.name, region.weight) for region in found.provinces] == [("Province", 3)]


def test_each_point_that_counts_is_told_whether_it_is_covered() -> None:
    told: dict[Weight, list[bool]] = {"access_point": [True, True, False], "place": [True, False]}
    for weight, covered in told.items():
        assert circles(golden(), budget_us=1000.0, weight=weight).covered.tolist() == covered
    found = circles(golden(), budget_us=1000.0, weight="station")
    weights = golden()["stations"]["weight"]
    assert float(weights[found.covered].sum() / weights.sum()) == found.shares["typical"].pooled_share


def test_the_delays_of_access_points_are_those_that_every_budget_is_held_against() -> None:
    names = golden()["sites"].ids[access_points(golden())].tolist()
    typical = dict(zip(names, delays_ns(golden(), "typical").tolist(), strict=True))
    assert typical == {b"a1": 69_000, b"a2": 265_000, b"a3": 1_000_600}
    for figures in FIGURES:
        for delay_ns in delays_ns(golden(), figures):
            covered = np.mean(delays_ns(golden(), figures) < delay_ns)
            assert circles(golden(), budget_us=delay_ns / 1_000).shares[figures].pooled_share == covered


def test_c2_by_hand_there_and_back_takes_the_best_site_of_both_ways_together() -> None:
    # a1: 138 by c1; a2: 265 + 902 by c2; a3: 2001.2 by c1.
    assert [
        circles(golden(), budget_us=budget_us, round_trip=True).shares["typical"].pooled_share
        for budget_us in (138.0, 138.1, 1167.0, 1167.1, 2001.2, 2001.3)
    ] == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1])


def test_a_delay_equal_to_the_budget_is_not_within_it() -> None:
    assert circles(golden(), budget_us=69.0).shares["typical"].pooled_share == 0.0
    assert circles(golden(), budget_us=69.001).shares["typical"].pooled_share == pytest.approx(1 / 3)


def test_each_weight_counts_what_its_name_says() -> None:
    shares = {
        "station": circles(golden(), budget_us=1000.0, weight="station"),
        "place": circles(golden(), budget_us=1000.0, weight="place"),
        "population": circles(golden(), budget_us=1000.0, weight="population"),
    }
    # M3 has residents and no access point: they are counted, and not covered.
    assert {name: found.shares["typical"].pooled_share for name, found in shares.items()} == pytest.approx(
        {"station": 0.7, "place": 0.75, "population": 0.2}
    )
    assert shares["population"].total_weight == 500.0


def test_c1_by_hand_needs_the_slower_direction_within_the_budget() -> None:
    found = circles(golden(), definition="C1", budget_us=1000.0)
    assert pooled(found) == [1.0, 0.0, 0.0]
    assert found.total_weight == 1.0
    assert circles(golden(), definition="C1", budget_us=1030.1).shares["typical"] == Shares(1.0, 1.0, 1.0)
    assert circles(golden(), definition="C1", budget_us=1570.0, round_trip=True).shares["typical"].pooled_share == 0.0
    assert circles(golden(), definition="C1", budget_us=1570.1, round_trip=True).shares["typical"].pooled_share == 1.0


def test_c1_without_two_centres_in_a_metro_has_no_share() -> None:
    twin = golden().replace(golden()["servers"].take(np.array([0])))
    assert circles(twin, definition="C1", budget_us=1000.0).shares["typical"] == Shares(None, None, None)


def test_c3_by_hand_adds_the_air_and_shows_both_ways() -> None:
    up = circles(golden(), definition="C3", budget_us=18_300.0)
    assert up.shares["typical"].pooled_share == pytest.approx(2 / 3)
    down = circles(golden(), definition="C3", budget_us=7_950.0)
    assert down.shares["typical"].pooled_share == 0.0
    assert down.down["typical"].pooled_share == pytest.approx(2 / 3)
    both = circles(golden(), definition="C3", budget_us=25_200.0, round_trip=True)
    assert both.shares["typical"].pooled_share == pytest.approx(1 / 3)
    assert not both.down


def test_links_of_the_ip_layer_and_links_that_are_down_carry_no_circle() -> None:
    links = golden()["links"]
    row = links.rows(["l002"])
    for twin in (
        golden().replace(links.set(row, layer=["ip"])),
        golden().replace(links.set(row, up=np.array([False]))),
    ):
        assert circles(twin, budget_us=1000.0).shares["typical"].pooled_share == pytest.approx(1 / 3)


def test_ordered_equipment_for_inference_is_compute_but_no_centre() -> None:
    equipment = Table.of("equipment", {"id": ["e"], "site": ["a3"], "kind": ["edge_inference"]})
    twin = golden().replace(equipment)
    assert circles(twin, budget_us=1000.0).shares["typical"].pooled_share == 1.0
    assert circles(twin, definition="C1", budget_us=1000.0).total_weight == 1.0


def test_on_the_ip_layer_traffic_enters_by_access_and_aggregation_and_goes_on_by_routers() -> None:
    # a1 - c1: 69. An IP link a3 - c1 over the backbone: 194 km and its hop, 1000.6, and a router of 20.
    twin = golden()
    ip: Columns = {
        "id": ["ip1"],
        "a": ["a3"],
        "b": ["c1"],
        "kind": ["backbone"],
        "layer": ["ip"],
        "length_km": [1.0],
    }
    links = twin["links"].add(ip)
    support = Table.of("link_support", {"id": ["u1"], "link": ["ip1"], "supported_by": ["l005"]})
    found = circles(twin.replace(links, support), budget_us=1020.7, layer="ip")
    assert dict(zip(found.access_points.tolist(), found.reach_us, strict=True)) == pytest.approx(
        {b"a1": 69.0, b"a2": 265.0, b"a3": 1020.6}
    )
    assert found.shares["typical"].pooled_share == 1.0
    assert circles(twin, budget_us=1020.7, layer="ip").shares["typical"].pooled_share == pytest.approx(2 / 3)


def test_a_larger_size_class_leaves_smaller_centres_out() -> None:
    servers = golden()["servers"].set(golden()["servers"].rows(["p-c2"]), chips=[1024])
    twin = golden().replace(servers)
    # Without c1: a1 goes by c1 to c2, 69 and 540; a2 as before; a3 is too far.
    found = circles(twin, budget_us=1000.0, least_chips=9)
    assert dict(zip(found.access_points.tolist(), found.reach_us, strict=True)) == pytest.approx(
        {b"a1": 609.0, b"a2": 265.0, b"a3": 1540.6}
    )
    assert circles(twin, definition="C1", budget_us=2000.0, least_chips=9).total_weight == 0.0
    assert circles(twin, definition="C1", budget_us=2000.0, least_chips=8).total_weight == 1.0


def test_c3_takes_the_access_that_is_named_and_the_time_of_the_service() -> None:
    # PON up 1 ms, a1 69, service 500: 1569. Down 0.1 ms and 69.
    for budget_us, up in ((1569.0, 0.0), (1569.1, 1 / 3)):
        found = circles(golden(), definition="C3", budget_us=budget_us, access="pon", service_us=500.0)
        assert found.shares["typical"].pooled_share == pytest.approx(up)
    assert circles(golden(), definition="C3", budget_us=169.1, access="pon").down["typical"].pooled_share == (
        pytest.approx(1 / 3)
    )


def test_enterprises_are_the_places_of_that_kind_and_area_is_shared_by_the_stations_of_a_cell() -> None:
    places = golden()["places"]
    twin = golden().replace(places.set(places.rows(["k2"]), kind=["enterprise"]))
    enterprise = circles(twin, budget_us=1000.0, weight="enterprise")
    assert (enterprise.total_weight, enterprise.shares["typical"].pooled_share) == (1.0, 0.0)
    # All ten stations stand in one cell, of about 0.74 km2: seven of them within the budget cover seven tenths.
    area = circles(twin, budget_us=1000.0, weight="area")
    assert 0.5 < area.total_weight < 1.0
    assert area.shares["typical"].pooled_share == pytest.approx(0.7)


def test_a_constant_moves_the_share_between_what_its_ends_give() -> None:
    found = {mover.constant: mover for mover in movers(golden(), budget_us=1000.0)}
    assert (found["backbone hop"].at_low_share, found["backbone hop"].at_high_share) == pytest.approx((1.0, 2 / 3))
    assert found["access hop"].swing_share == 0.0


def test_shuffled_rows_change_nothing() -> None:
    twin = golden()
    chance = np.random.default_rng(5)
    shuffled = []
    for table in twin.tables.values():
        order = chance.permutation(len(table))
        shuffled.append(
            Table.of(table.name, {name: table[name][order] for name in table.columns}) if len(table) else table
        )
    other = circles(twin.replace(*shuffled), budget_us=1000.0, weight="station")
    one = circles(twin, budget_us=1000.0, weight="station")
    assert (one.shares, one.metros, one.reach_us.tolist()) == (other.shares, other.metros, other.reach_us.tolist())


SITE_NAMES = [f"v{number}" for number in range(5)]
STATION_NAMES = [f"w{number}" for number in range(5)]


@st.composite
def networks(draw: st.DrawFn) -> Twin:
    """Small networks with parallel, one-way and missing links, and parts that nothing reaches."""
    kinds = draw(st.lists(st.sampled_from(["core", "aggregation"]), min_size=5, max_size=5))
    sites = {name: (kind, draw(st.sampled_from(["M1", "M2"]))) for name, kind in zip(SITE_NAMES, kinds, strict=True)}
    ends = list(combinations([*SITE_NAMES, *STATION_NAMES], 2))
    chosen = draw(st.lists(st.sampled_from(ends), max_size=18))
    links: list[Link] = [
        (
            *draw(st.permutations(pair)),
            draw(st.sampled_from(["access", "core"])),
            draw(st.sampled_from(["both", "both", "forward"])),
            draw(st.sampled_from([0.0, 20.0, 60.0, 130.0])),
        )  # type: ignore[misc]
        for pair in chosen
    ]
    servers = draw(st.lists(st.sampled_from(SITE_NAMES), unique=True, max_size=3))
    return twin_of(sites, dict.fromkeys(STATION_NAMES, "M1"), links, servers)


def oracle(twin: Twin, oneway_us: np.ndarray) -> nx.MultiDiGraph:
    """The same links in networkx, which keeps parallel ones and zero delays."""
    found = nx.MultiDiGraph()
    found.add_nodes_from([*twin["sites"].ids.tolist(), *twin["stations"].ids.tolist()])
    for link, delay_us in zip(twin["links"].records(), oneway_us, strict=True):
        if np.isfinite(delay_us):
            a, b = str(link["a"]).encode(), str(link["b"]).encode()
            found.add_edge(a, b, weight=round(delay_us * 1000))
            if link["direction"] == "both":
                found.add_edge(b, a, weight=round(delay_us * 1000))
    return found


def shortest(found: nx.MultiDiGraph, source: bytes) -> dict[bytes, float]:
    return dict(nx.single_source_dijkstra_path_length(found, source))


@given(networks(), st.data())
@settings(max_examples=60, deadline=None)
def test_delays_equal_those_of_networkx_with_zero_and_infinite_delays(twin: Twin, data: st.DataObject) -> None:
    delays = st.lists(
        st.sampled_from([0.0, 0.001, 1.0, 7.5, np.inf]), min_size=len(twin["links"]), max_size=len(twin["links"])
    )
    oneway_us = np.array(data.draw(delays))
    ours, theirs = graph(twin, oneway_us), oracle(twin, oneway_us)
    names = [*twin["sites"].ids.tolist(), *twin["stations"].ids.tolist()]
    assert ours.symmetric == all(_cheapest(theirs, a, b) == _cheapest(theirs, b, a) for a, b, _ in theirs.edges)
    used = np.isfinite(oneway_us)
    contracted = core_layout(topology(twin, used), len(twin["sites"])).graph(np.where(used, oneway_us, 0.0))
    assert contracted.sites == len(SITE_NAMES)
    sources = np.arange(len(SITE_NAMES))
    inner = {some.start: block for some, block in each_delay_ns(contracted.forward, sources)}[0]
    for row, name in enumerate(SITE_NAMES):
        reached = shortest(theirs, name.encode())
        expected = np.array([reached.get(other, np.inf) for other in names])
        assert np.array_equal(delay_from_ns(ours, np.array([row])), expected)
        assert np.array_equal(inner[row, : len(SITE_NAMES)], expected[: len(SITE_NAMES)])
        back = shortest(theirs.reverse(), name.encode())
        expected = np.array([back.get(other, np.inf) for other in names])
        assert np.array_equal(delay_towards_ns(ours, np.array([row])), expected)


def _cheapest(found: nx.MultiDiGraph, a: bytes, b: bytes) -> float:
    return min((data["weight"] for data in (found.get_edge_data(a, b) or {}).values()), default=np.inf)


@given(networks(), st.sampled_from([100.0, 400.0, 800.0]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_coverage_equals_that_of_networkx(twin: Twin, budget_us: float, round_trip: bool) -> None:
    found = circles(twin, budget_us=budget_us, weight="station", round_trip=round_trip)
    theirs = oracle(twin, link_oneway_us(twin, figures="typical"))
    servers = twin["servers"]["site"].tolist()
    up = {site: shortest(theirs.reverse(), site) for site in servers}
    down = {site: shortest(theirs, site) for site in servers}
    covered = 0
    for station in twin["stations"].ids.tolist():
        ways = [up[s].get(station, np.inf) + (down[s].get(station, np.inf) if round_trip else 0) for s in servers]
        covered += min(ways, default=np.inf) < budget_us * 1000
    assert found.shares["typical"].pooled_share == pytest.approx(covered / len(STATION_NAMES))


def test_the_operations_say_synthetic_and_how_the_answer_was_got(tmp_path: Path) -> None:
    folder = str(tmp_path / "network")
    made = generate_operation.run(GenerateQuestion(output=folder, stations=20_000, sites=30, seed=2))
    found = circles_operation.run(CirclesQuestion(network=folder, target_share=0.99))
    whole = circles(nation(stations=20_000, sites=30, seed=2), budget_us=1000.0)
    assert found.typical == whole.shares["typical"]
    assert found.meets_target is False
    assert "synthetic" in found.headline
    assert "one way" in found.headline
    for part in ("C2", "access_point", "optical", "seed 2", made.digest[:12], "low, typical and high"):
        assert part in found.citation
    terminal = circles_operation.run(CirclesQuestion(network=folder, definition="C3", budget_us=10_000.0))
    assert terminal.down_typical is not None
    assert "up to the server" in terminal.headline
    with pytest.raises(InputError, match="exists already"):
        generate_operation.run(GenerateQuestion(output=folder, stations=20_000, sites=30))


def test_a_saved_network_holds_its_first_states(tmp_path: Path) -> None:
    folder = tmp_path / "network"
    made = generate_operation.run(GenerateQuestion(output=str(folder), stations=20_000, sites=3))
    assert made.digest == initial_states(nation(stations=20_000, sites=3, seed=1)).digest


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_new(path, b"first")
    with pytest.raises(InputError, match="exists already"):
        write_new(path, b"second")
    with pytest.raises(InputError, match="missing"):
        write_new(tmp_path / "missing" / "plan.json", b"third")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
