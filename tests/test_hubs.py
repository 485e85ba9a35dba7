"""Tiers and calibration against numbers by hand, against networkx, and against themselves."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import karez
from karez.errors import InputError
from karez.importers.generate import nation
from karez.measure import hubs
from karez.measure.circles import circles
from karez.measure.delay import FIGURES, link_oneway_us
from karez.measure.hubs import Tiers, fitted_factor, metro_sites, regenerations, tied, tiers, ways
from karez.operations import TiersQuestion
from karez.operations import tiers as tiers_operation
from karez.twin import Table, Twin, store
from karez.twin.facts import library
from karez.twin.geo import great_circle_km

Link = tuple[str, str, str, str, float]
# Three clusters of the library, exactly where it has them.
HUBS = {"z": ("Zhongwei", 105.19, 37.50), "q": ("Qingyang", 107.64, 35.71), "c": ("Chongqing", 106.55, 29.72)}
LINKS: list[Link] = [
    ("z", "s", "backbone", "both", 150.0),
    ("s", "q", "backbone", "both", 250.0),
    ("q", "c", "backbone", "both", 3_600.0),
    ("q", "c", "backbone", "both", 5_000.0),
    ("z", "c", "backbone", "forward", 3_900.0),
    ("q", "d", "core", "both", 500.0),
]


def golden(links: list[Link] = LINKS) -> Twin:
    """Three hubs and five metros, at typical figures: 4.9 us a km, 50 a link, 100 a regeneration (every 800 km).

    z - q, through the station s: 4.9 x 400 + 2 x 50 = 2060. q - c: 17640 + 50 + 4 x 100 = 18090 (5000 km is slower).
    z > c: 19110 + 50 + 4 x 100 = 19560. c > z, by q: 18090 + 2060 = 20150. q - d: 2450 + 50 = 2500.
    """
    metros = {"Z": 2e6, "Q": 5e5, "C": 3e6, "D": 1e6, "E": 1.5e6}
    place = {name.upper(): position[1:] for name, position in HUBS.items()} | {"D": (110.0, 34.0), "E": (120.0, 45.0)}
    sites = ["z", "q", "c", "d"]
    a, b, kind, direction, km = (list(column) for column in zip(*links, strict=True))
    tables = [
        Table.of("provinces", {"id": ["P"], "name": ["Province"], "side": ["west"]}),
        Table.of(
            "metros",
            {
                "id": list(metros),
                "province": ["P"] * len(metros),
                "population": list(metros.values()),
                "lon": [place[name][0] for name in metros],
                "lat": [place[name][1] for name in metros],
            },
        ),
        Table.of(
            "sites",
            {
                "id": sites,
                "kind": ["core"] * len(sites),
                "metro": [site.upper() for site in sites],
                "lon": [place[site.upper()][0] for site in sites],
                "lat": [place[site.upper()][1] for site in sites],
            },
        ),
        Table.of("stations", {"id": ["s"], "metro": ["Z"], "lon": [106.0], "lat": [36.0]}),
        Table.of(
            "links",
            {
                "id": [f"l{number:02d}" for number in range(len(links))],
                "a": a,
                "b": b,
                "kind": kind,
                "direction": direction,
                "length_km": km,
            },
        ),
    ]
    return Twin({table.name: table for table in tables})


def asked(twin: Twin, *, fit: bool = False) -> Tiers:
    near, found = tied(twin), ways(twin)
    factor = fitted_factor(found, near.sites) if fit else 1.0
    assert factor is not None
    return tiers(twin, near, found, backbone_factor=factor, fitted=fit)


@pytest.fixture(scope="module")
def small() -> Twin:
    return nation(stations=20_000, sites=40, seed=5)


def test_where_nobody_told_residents_there_are_no_cities_to_compare() -> None:
    twin = golden()
    metros = {name: twin["metros"][name] for name in twin["metros"].columns} | {"population": np.zeros(5)}
    found = asked(twin.replace(Table.of("metros", metros)))
    assert (found.city_count, found.cities["typical"].cities_5ms) == (0, None)
    assert found.cities["typical"].population_share is None
    assert [check.element for check in found.checks if "cities" in check.element] == []
    assert found.pairs == asked(twin).pairs


def test_delays_between_hubs_by_hand_in_the_slower_direction() -> None:
    found = asked(golden())
    # Low: 4.89, 20, 15; c > z by q is slower than z > c. High: 5, 100, 150.
    assert [(p.one, p.other, p.low_us, p.typical_us, p.high_us, p.length_km, p.links) for p in found.pairs] == [
        ("Chongqing", "Zhongwei", 19_680, 20_150, 20_900, 4_000, 3),
        ("Chongqing", "Qingyang", 17_684, 18_090, 18_700, 3_600, 1),
        ("Qingyang", "Zhongwei", 1_996, 2_060, 2_200, 400, 2),
    ]
    typical, low = found.between["typical"], found.between["low"]
    assert (typical.mean_us, typical.max_us) == pytest.approx((40_300 / 3, 20_150))
    # Below 20 ms: two of three; there and back 4120, 36180 and 19560 + 20150: one.
    assert (typical.pairs_share, typical.pairs_round_trip_share, low.pairs_share) == (2 / 3, 1 / 3, 1.0)
    # 3600, 3900 and 5000 km are longer than the reach of a wave.
    assert (found.regenerated, found.unjoined_pairs) == (3, 0)
    km = great_circle_km(*(np.array(value) for value in (*HUBS["z"][1:], *HUBS["q"][1:])))
    assert found.pairs[-1].great_circle_km == pytest.approx(float(km))
    assert found.pairs[-1].route_factor == pytest.approx(400 / float(km))


def test_cities_of_each_hub_by_hand() -> None:
    found = asked(golden())
    # Cities are Z, C, D and E, which has no core site. One way, slower: from z: 0, 20150, 4560. From q: 2060, 18090,
    # 2500. From c: 20150, 0, 20590. There and back, from z: 0, 39710, 9120. From q: 4120, 36180, 5000. From c: 0.
    assert [
        (h.cluster, h.cities_5ms, h.cities_20ms, h.cities_5ms_round_trip, h.cities_20ms_round_trip, h.distance_km)
        for h in found.hubs["typical"]
    ] == [("Chongqing", 1, 1, 1, 1, 0), ("Qingyang", 2, 3, 1, 2, 0), ("Zhongwei", 2, 2, 1, 2, 0)]
    assert found.city_count == 4
    one_way, round_trip = found.cities["typical"], found.cities_round_trip["typical"]
    assert (one_way.cities_5ms, one_way.cities_20ms) == pytest.approx((5 / 3, 2))
    assert (round_trip.cities_5ms, round_trip.cities_20ms) == pytest.approx((1, 5 / 3))
    # Within 5 ms of a hub: Z, Q, C, D of five; there and back not D, whose 5000 are not below 5 ms.
    assert (one_way.metros_share, one_way.population_share) == pytest.approx((4 / 5, 6.5 / 8))
    assert (round_trip.metros_share, round_trip.population_share) == pytest.approx((3 / 5, 5.5 / 8))


def test_the_fit_by_hand_scales_fibre_of_the_backbone_and_nothing_else() -> None:
    # z - q: 1960 f + 100. q - c: 17640 f + 450. c > z: 19600 f + 550. The mean is 9700 with f = (29100 - 1100) / 39200.
    assert fitted_factor(ways(golden()), tied(golden()).sites) == pytest.approx(5 / 7, abs=1e-6)
    found = asked(golden(), fit=True)
    assert found.between["typical"].mean_us == pytest.approx(9_700, abs=0.01)
    assert found.between["typical"].max_us == pytest.approx(14_550, abs=0.01)
    assert found.pairs[0].length_km == pytest.approx(4_000 * 5 / 7)
    # From q to d, which is no backbone: 2500 as before.
    assert found.hubs["typical"][1].cities_5ms_round_trip == asked(golden()).hubs["typical"][1].cities_5ms_round_trip


def test_checks_by_hand_and_what_each_is_worth() -> None:
    checks = {check.element: check for check in asked(golden(), fit=True).checks}
    assert [(c.element, c.measured, c.role) for c in checks.values()] == [
        ("optical mean", 9.7, "fitted"),
        ("optical maximum", 17.1, "tested"),
        ("IP private mean", 14.6, "implied"),
        ("IP private maximum", 23.9, "tested"),
        ("public Internet mean", 16.7, "implied"),
        ("public Internet maximum", 28.7, "tested"),
        ("cities within 5 ms", 10, "tested"),
        ("cities within 20 ms", 77, "tested"),
        ("cities within 5 ms, there and back", 10, "tested"),
        ("cities within 20 ms, there and back", 77, "tested"),
    ]
    assert checks["optical maximum"].typical == pytest.approx(14.55, abs=1e-5)
    assert checks["optical maximum"].difference_share == pytest.approx(14.55 / 17.1 - 1, abs=1e-5)
    assert checks["IP private maximum"].typical == pytest.approx(14.55 + 4.9, abs=1e-5)
    # What makes the IP means no test: they come out right because the optical mean does.
    assert checks["IP private mean"].difference_share == pytest.approx(0, abs=1e-6)
    # A straight line with the mean of 9.7 ms has the maximum of the longest great circle over the mean one.
    apart = [
        float(great_circle_km(*(np.array(value) for value in (*one[1:], *other[1:]))))
        for one, other in combinations(HUBS.values(), 2)
    ]
    assert checks["optical mean"].straight_line == 9.7
    assert checks["optical maximum"].straight_line == pytest.approx(9.7 * max(apart) / np.mean(apart))
    assert {check.role for check in asked(golden()).checks} == {"tested", "implied"}


def test_what_is_down_or_on_the_ip_layer_joins_no_hubs() -> None:
    twin = golden([*LINKS, ("z", "c", "backbone", "both", 1.0), ("z", "c", "backbone", "both", 2.0)])
    layer, up = np.repeat([b"optical", b"ip", b"optical"], [6, 1, 1]), np.arange(8) < 7
    links = {name: twin["links"][name] for name in twin["links"].columns} | {"layer": layer, "up": up}
    assert asked(twin.replace(Table.of("links", links))).pairs == asked(golden()).pairs


def test_a_pair_joined_in_one_direction_only_is_not_joined() -> None:
    found = asked(golden([*LINKS[:2], ("z", "c", "backbone", "forward", 3_900.0)]))
    assert [pair.typical_us for pair in found.pairs] == [np.inf, np.inf, 2_060]
    assert (found.unjoined_pairs, found.between["typical"].pairs_share) == (2, 1 / 3)
    assert (found.between["typical"].mean_us, found.between["typical"].max_us) == (2_060, 2_060)


def test_a_link_is_regenerated_once_for_each_reach_begun_after_the_first() -> None:
    assert regenerations(np.array([0.0, 799.0, 800.0, 801.0, 1_600.0, 1_601.0])).tolist() == [0, 0, 0, 1, 1, 2]


def test_a_metro_is_its_core_site_nearest_to_the_centre() -> None:
    twin = golden()
    sites = Table.of(
        "sites",
        {
            "id": ["far", "near", "ring"],
            "kind": ["core", "core", "aggregation"],
            "metro": ["Z", "Z", "Z"],
            "lon": [105.3, 105.2, 105.19],
            "lat": [37.5, 37.5, 37.5],
        },
    )
    found = dict(zip(twin["metros"].ids.tolist(), metro_sites(twin.replace(sites)).tolist(), strict=True))
    assert found == {b"C": -1, b"D": -1, b"E": -1, b"Q": -1, b"Z": sites.rows(["near"])[0]}


@given(
    st.lists(
        st.tuples(
            st.sampled_from([("z", "q"), ("q", "c"), ("c", "z"), ("z", "d"), ("d", "c"), ("q", "s"), ("s", "d")]),
            st.sampled_from(["backbone", "core"]),
            st.sampled_from(["both", "forward"]),
            st.integers(1, 790).map(float),
        ),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.tuples(st.sampled_from([0.0, 6.5]), st.sampled_from([0.0, 3.4])), min_size=12, max_size=12),
)
@settings(max_examples=150, deadline=None)
def test_delays_between_hubs_are_those_of_networkx(
    rows: list[tuple[tuple[str, str], str, str, float]], said: list[tuple[float, float]]
) -> None:
    links = [(*ends, kind, direction, km) for ends, kind, direction, km in rows]
    hop_us, per_km = (list(column) for column in zip(*said[: len(links)], strict=True))
    twin = golden(links)
    twin = twin.replace(twin["links"].set(np.arange(len(links)), hop_us=hop_us, fibre_us_per_km=per_km))
    graph = nx.DiGraph()
    graph.add_nodes_from("zqcds")
    for (a, b, _, direction, _), us in zip(links, link_oneway_us(twin, figures="typical").tolist(), strict=True):
        for one, other in [(a, b), (b, a)][: 2 if direction == "both" else 1]:
            old = graph.get_edge_data(one, other, {"us": np.inf})["us"]
            graph.add_edge(one, other, us=min(us, old))
    delay = {one: nx.single_source_dijkstra_path_length(graph, one, weight="us") for one in HUBS}
    expected = {
        frozenset((HUBS[one][0], HUBS[other][0])): max(delay[one].get(other, np.inf), delay[other].get(one, np.inf))
        for one, other in combinations(HUBS, 2)
    }
    if all(us == np.inf for us in expected.values()):
        assert not hubs.joined(ways(twin), tied(twin).sites)
        return
    found = asked(twin)
    got = {frozenset((pair.one, pair.other)): pair.typical_us for pair in found.pairs}
    assert got == pytest.approx(expected, abs=1e-3)
    for pair in found.pairs:
        if pair.links and not np.any(said):
            assert pair.typical_us == pytest.approx(4.9 * pair.length_km + 50 * pair.links, abs=0.01)


def test_by_hand_fibre_that_says_what_it_takes_is_scaled_like_any_other_and_its_hop_is_not() -> None:
    links, factor = golden()["links"], 2.0
    said = links.set(links.rows(["l00", "l02"]), hop_us=[6.5, 0.0], fibre_us_per_km=[3.0, 3.4])
    found = tiers(golden().replace(said), tied(golden()), ways(golden().replace(said)), backbone_factor=factor)
    got = {frozenset((pair.one, pair.other)): (pair.typical_us, pair.length_km) for pair in found.pairs}
    # z - q: 2 x (3.0 x 150 + 4.9 x 250) + 6.5 + 50; q - c: 2 x 3.4 x 3600 + 50 + 4 x 100.
    assert got[frozenset(("Zhongwei", "Qingyang"))] == pytest.approx((3_406.5, 800.0))
    assert got[frozenset(("Qingyang", "Chongqing"))] == pytest.approx((24_930.0, 7_200.0))


def test_on_a_nation_the_fit_gives_the_measured_mean_and_the_length_of_each_way_its_delay(small: Twin) -> None:
    found = asked(small, fit=True)
    assert len(found.pairs) == 45
    assert found.between["typical"].mean_us / 1_000 == pytest.approx(9.7, abs=1e-4)
    assert found.checks[0].difference_share == pytest.approx(0, abs=1e-5)
    for pair in found.pairs:
        rest_us = pair.typical_us - 4.9 * pair.length_km - 50 * pair.links
        # What is left is regenerations, 100 each.
        assert rest_us == pytest.approx(100 * round(rest_us / 100), abs=0.1)
        assert pair.route_factor >= 1


def test_on_a_nation_slower_constants_give_longer_delays_and_fewer_cities(small: Twin) -> None:
    found = asked(small)
    assert all(pair.low_us <= pair.typical_us <= pair.high_us for pair in found.pairs)
    low, typical, high = (found.between[figures] for figures in FIGURES)
    assert low.mean_us < typical.mean_us < high.mean_us
    for ends in (found.cities, found.cities_round_trip):
        few, some, many = (ends[figures] for figures in reversed(FIGURES))
        assert 0 < (few.cities_5ms or 0) <= (some.cities_5ms or 0) <= (many.cities_5ms or 0)
        assert (few.metros_share or 0) <= (some.metros_share or 0) <= (many.metros_share or 0)
    assert found.cities["typical"].cities_5ms == np.mean([hub.cities_5ms for hub in found.hubs["typical"]])
    assert found.metro == circles(small, budget_us=1_000.0).shares
    for route in found.routes:
        assert route.low <= route.typical <= route.high


def test_a_hub_far_from_every_core_site_is_left_out_and_told() -> None:
    near = tied(golden())
    assert [hub.cluster for hub in near.near] == ["Chongqing", "Qingyang", "Zhongwei"]
    assert len(near.near) + len(near.far) == len(library("hubs"))
    assert min(hub.distance_km for hub in near.far) > 100
    assert tied(Twin()).sites.tolist() == []


def _saved(folder: Path, twin: Twin) -> TiersQuestion:
    store.save(twin, folder, at_s=0.0, note="by hand", source="by hand", synthetic=False)
    return TiersQuestion(network=str(folder), fit=True)


def test_a_network_without_two_joined_hubs_is_refused_with_a_reason(tmp_path: Path) -> None:
    twin = golden()
    few = twin.replace(twin["sites"].take(twin["sites"].rows(["d", "z"])), twin["links"].take(np.zeros(6, bool)))
    for name, case, reason in (
        ("one", few, "1 national hub within 100 km of a core site; the next is Qingyang, "),
        ("apart", twin.replace(twin["links"].set(np.array([0, 2, 3]), up=False)), "no two are joined"),
        ("core", golden([(*link[:2], "core", *link[3:]) for link in LINKS]), "no factor on the length of backbone"),
    ):
        with pytest.raises(InputError, match=reason):
            tiers_operation.run(_saved(tmp_path / name, case))


def test_the_operation_says_what_was_fitted_and_what_is_no_test(tmp_path: Path) -> None:
    folder = str(tmp_path / "net")
    karez.generate(output=folder, stations=20_000)
    told, fitted = karez.tiers(network=folder), karez.tiers(network=folder, fit=True)
    assert (told.fitted, told.backbone_factor) == (False, 1.0)
    assert "synthetic" in told.headline
    assert "nothing fitted" in told.citation
    assert f"backbone fibre x {fitted.backbone_factor:.3f} to fit the mean" in fitted.headline
    assert "the IP means are no test" in fitted.citation
    assert fitted.hub_to_hub_20ms.typical.mean_us == pytest.approx(9_700, abs=0.1)
    assert told.metro_1ms == fitted.metro_1ms is not None
    assert "within 1 ms of compute" in told.headline
    assert len(told.hubs) == 10
    assert told.left_out == ()


def test_hubs_and_measured_figures_have_a_source_and_lie_apart() -> None:
    for name in ("hubs", "calibration"):
        for row in library(name):
            assert row["confidence"] in ("S", "S2", "R", "C", "M", "D"), row
            assert row["source"], row
    # Further apart than twice the longest way to a core site: no site stands for two of them.
    lon, lat = (np.array([float(row[name]) for row in library("hubs")]) for name in ("lon", "lat"))
    apart = great_circle_km(lon[:, None], lat[:, None], lon, lat)
    assert apart[np.triu_indices(len(apart), 1)].min() > 2 * hubs.FARTHEST_KM
