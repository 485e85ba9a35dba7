"""The way to the best compute and the parts of its delay, by hand and against networkx."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError
from karez.importers.generate import nation
from karez.measure import reach
from karez.measure.circles import circles, compute_sites, points
from karez.measure.core import LONGEST_NS, topology
from karez.measure.delay import FIGURES, link_oneway_us
from karez.measure.kernels import FAR
from karez.measure.stack import Stack, nearest, stack, ways
from karez.operations import DelaysQuestion, LatencyQuestion, delays, latency
from karez.operations.delays import DelaysAnswer
from karez.operations.latency import LatencyAnswer
from karez.twin import Table, Twin
from karez.twin.store import save
from tests.test_circles import Columns, Link, golden, oracle, shortest, twin_of
from tests.test_circles import networks as linked
from tests.test_reach import networks


@pytest.fixture(autouse=True)
def _at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAREZ_AT_S", "1767225600")


def of(twin: Twin, start: str, **asked: object) -> Stack:
    names = [*twin["sites"].ids.tolist(), *twin["stations"].ids.tolist()]
    return stack(twin, names.index(start.encode()), **{"layer": "optical", **asked})  # type: ignore[arg-type]


def shown(found: Stack) -> dict[str, tuple[float, ...]]:
    return {part.part: (part.amount, part.low_us, part.typical_us, part.high_us) for part in found.parts}


def with_ip() -> Twin:
    """The golden network with an IP link from a3 to c2, over the backbone to c1 and the core from there."""
    ip: Columns = {"id": ["ip1"], "a": ["a3"], "b": ["c2"], "kind": ["backbone"], "layer": ["ip"], "length_km": [1.0]}
    support: Columns = {"id": ["u1", "u2"], "link": ["ip1", "ip1"], "supported_by": ["l005", "l000"]}
    return golden().replace(golden()["links"].add(ip), Table.of("link_support", support))


def test_by_hand_a_station_goes_over_its_access_link_and_the_backbone() -> None:
    found = of(golden(), "s8")
    assert found.site == "c1"
    assert [(step.link, step.start, step.end, step.fibre_km) for step in found.steps] == [
        ("l014", "s8", "a3", 1.0),
        ("l005", "a3", "c1", 194.0),
    ]
    assert [(step.oneway_us, step.upto_us) for step in found.steps] == [(24.9, 24.9), (1000.6, 1025.5)]
    # 195 km at 4.89, 4.9 and 5 us; hops of 2, 20, 50 and of 20, 50, 100 us.
    assert shown(found) == {
        "fibre": (195.0, 953.55, 955.5, 975.0),
        "access hop": (1.0, 2.0, 20.0, 50.0),
        "backbone hop": (1.0, 20.0, 50.0, 100.0),
    }
    assert found.totals_us == (975.55, 1025.5, 1125.0)


def test_by_hand_a_link_that_goes_one_way_only_is_gone_by_in_that_way() -> None:
    found = of(golden(), "a2")
    assert ([step.link for step in found.steps], found.site, found.totals_us[1]) == (["l003"], "c2", 265.0)
    # Without c2: a2 goes on from there by the long way, 1030.
    alone = golden().replace(golden()["servers"].take(np.array([0])))
    assert [step.link for step in of(alone, "a2").steps] == ["l003", "l001"]
    assert of(alone, "a2").totals_us[1] == 1295.0


def test_by_hand_access_comes_before_the_way_and_the_service_after_it() -> None:
    found = of(golden(), "s0", access="pon", service_us=500.0)
    assert [part.part for part in found.parts] == ["access", "fibre", "access hop", "aggregation hop", "service"]
    assert shown(found)["access"] == (1.0, 300.0, 1000.0, 2000.0)
    assert shown(found)["service"] == (1.0, 500.0, 500.0, 500.0)
    # 24.9 to a1 and 69 to c1.
    assert found.totals_us[1] == 1593.9


def test_by_hand_an_ip_link_costs_a_router_and_the_links_that_it_rests_on() -> None:
    # c1 has no IP link: what is left are access and aggregation, which take a3 nowhere but over the router.
    found = of(with_ip(), "s9", layer="ip")
    assert [(step.link, step.layer) for step in found.steps] == [("l015", "optical"), ("ip1", "ip")]
    assert shown(found) == {
        "fibre": (295.0, 1442.55, 1445.5, 1475.0),
        "access hop": (1.0, 2.0, 20.0, 50.0),
        "core hop": (1.0, 20.0, 50.0, 100.0),
        "backbone hop": (1.0, 20.0, 50.0, 100.0),
        "IP hop": (1.0, 2.0, 20.0, 50.0),
    }
    assert found.totals_us[1] == 1585.5


def saying(twin: Twin, seed: int) -> Twin:
    """The twin, some links of which say what their hop or their fibre takes."""
    chance, links = np.random.default_rng(seed), twin["links"]
    hop_us, per_km = (np.round(chance.uniform(0.1, most, len(links)), 2) for most in (60.0, 6.0))
    said = chance.integers(0, 2, (2, len(links)))
    return twin.replace(links.set(np.arange(len(links)), hop_us=hop_us * said[0], fibre_us_per_km=per_km * said[1]))


def test_by_hand_what_links_say_of_themselves_are_parts_of_their_own() -> None:
    links = golden()["links"]
    rows = links.rows(["l005", "l014"])
    twin = golden().replace(links.set(rows, hop_us=np.array([5.0, 0.0]), fibre_us_per_km=np.array([3.5, 0.0])))
    found = of(twin, "s8")
    assert [step.fibre_km for step in found.steps] == [1.0, 194.0]
    assert shown(found) == {
        "fibre": (1.0, 4.89, 4.9, 5.0),
        "own fibre": (194.0, 679.0, 679.0, 679.0),
        "access hop": (1.0, 2.0, 20.0, 50.0),
        "own hop": (1.0, 5.0, 5.0, 5.0),
    }
    assert {part.element for part in found.parts if part.part.startswith("own")} == {"as the link says"}
    both = golden().replace(links.set(rows, fibre_us_per_km=np.array([3.5, 3.5])))
    assert shown(of(both, "s8")) == {
        "own fibre": (195.0, 682.5, 682.5, 682.5),
        "access hop": (1.0, 2.0, 20.0, 50.0),
        "backbone hop": (1.0, 20.0, 50.0, 100.0),
    }


def test_compute_itself_is_there_at_once_and_what_hangs_nowhere_never_is() -> None:
    there = of(golden(), "c1")
    assert (there.site, there.steps, there.totals_us) == ("c1", (), (0.0, 0.0, 0.0))
    links = golden()["links"]
    away = golden().replace(links.set(links.rows(["l006"]), up=np.array([False])))
    assert of(away, "s0") == Stack("", (), ())
    assert of(away, "s0").totals_us == (np.inf, np.inf, np.inf)


def chain(*, walked_from: str, servers: list[str]) -> Twin:
    """A chain c1 - t1 - t2 - t3 - c2 of equal links, which is walked from the end of its first link."""
    pairs = [("c1", "t1"), ("t1", "t2"), ("t2", "t3"), ("t3", "c2")]
    links: list[Link] = [(*pair, "access", "both", 1.0) for pair in pairs]
    sites = {"c1": ("core", "M1"), "c2": ("core", "M1")}
    stations = dict.fromkeys(["t1", "t2", "t3"], "M1")
    return twin_of(sites, stations, links if walked_from == "c1" else links[::-1], servers)


@pytest.mark.parametrize("walked_from", ["c1", "c2"])
def test_a_station_between_two_ends_takes_the_better_and_of_equals_the_first_site(walked_from: str) -> None:
    twin = chain(walked_from=walked_from, servers=["c1", "c2"])
    found = [of(twin, name) for name in ("t1", "t2", "t3")]
    assert [(each.site, [step.end for step in each.steps]) for each in found] == [
        ("c1", ["c1"]),
        ("c1", ["t1", "c1"]),
        ("c2", ["c2"]),
    ]
    assert nearest(twin, "optical").site.tolist() == [0, 1, 0, 0, 1]
    # With one server only, the other site goes through all of the chain.
    assert [step.end for step in of(chain(walked_from=walked_from, servers=["c1"]), "c2").steps] == [
        "t3",
        "t2",
        "t1",
        "c1",
    ]
    assert [step.end for step in of(chain(walked_from=walked_from, servers=["c2"]), "c1").steps] == [
        "t1",
        "t2",
        "t3",
        "c2",
    ]


def test_what_is_a_second_away_is_out_of_reach_in_a_chain_too() -> None:
    made = topology(chain(walked_from="c1", servers=["c1"]), np.ones(4, bool))
    for delay_ns, reached in ((LONGEST_NS // 2 - 1, 2), (LONGEST_NS // 2, 1)):
        found = ways(made, np.array([delay_ns] * 3 + [LONGEST_NS], np.int32), np.array([0]))
        assert [found.links(vertex) is not None for vertex in range(5)] == [
            True,
            False,
            *[at < reached for at in range(3)],
        ]
        assert found.nearest().site.tolist() == [0, -1, *[0 if at < reached else -1 for at in range(3)]]


def _followed(twin: Twin, links: np.ndarray, start: int) -> int:
    """Where the links lead from `start`, each passed as it may be."""
    a, b = twin.resolve("links", "a"), twin.resolve("links", "b")
    for link in links:
        assert twin["links"]["up"][link]
        assert start == a[link] or (start == b[link] and twin["links"]["direction"][link] == b"both")
        start = int(b[link] if start == a[link] else a[link])
    return start


def _towards(twin: Twin, oneway_ns: np.ndarray, target: int) -> np.ndarray:
    """The delay of every vertex towards the target on the network as it is; `FAR` where it is too long."""
    found = nx.MultiDiGraph()
    found.add_nodes_from(range(len(twin["sites"]) + len(twin["stations"])))
    a, b = twin.resolve("links", "a"), twin.resolve("links", "b")
    for link in np.flatnonzero(twin["links"]["up"]):
        found.add_edge(int(b[link]), int(a[link]), weight=int(oneway_ns[link]))
        if twin["links"]["direction"][link] == b"both":
            found.add_edge(int(a[link]), int(b[link]), weight=int(oneway_ns[link]))
    delays = nx.single_source_dijkstra_path_length(found, target)
    near = (delays.get(vertex, LONGEST_NS) for vertex in found)
    return np.array([delay if delay < LONGEST_NS else int(FAR) for delay in near])


@given(networks())
@settings(max_examples=300, deadline=None)
def test_every_way_is_one_that_traffic_can_go_and_no_shorter_one_is_known_to_networkx(
    case: tuple[Twin, np.ndarray, np.ndarray],
) -> None:
    twin, delays_ns, targets = case
    targets = np.sort(targets)
    found = ways(topology(twin, np.ones(len(delays_ns), bool)), delays_ns.astype(np.int32), targets)
    near = found.nearest()
    vertices = len(twin["sites"]) + len(twin["stations"])
    each = np.array([_towards(twin, delays_ns, target) for target in targets.tolist()]).reshape(-1, vertices)
    best = each.min(axis=0, initial=int(FAR))
    assert near.oneway_ns.tolist() == best.tolist()
    for vertex in range(vertices):
        links = found.links(vertex)
        if best[vertex] == FAR:
            assert (links, near.site[vertex]) == (None, -1)
            continue
        assert links is not None
        # The first of the equally near, and the way leads there.
        assert near.site[vertex] == targets[each[:, vertex].argmin()]
        assert _followed(twin, links, vertex) == near.site[vertex]
        assert delays_ns[links].sum() == best[vertex]


@given(linked(), st.none() | st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_the_parts_add_up_to_the_delay_that_circles_and_networkx_report(twin: Twin, seed: int | None) -> None:
    twin = twin if seed is None else saying(twin, seed)
    theirs = oracle(twin, link_oneway_us(twin, figures="typical"))
    servers = twin["servers"]["site"].tolist()
    towards = [shortest(theirs.reverse(), server) for server in servers]
    names = [*twin["sites"].ids.tolist(), *twin["stations"].ids.tolist()]
    found = {name: stack(twin, vertex, layer="optical") for vertex, name in enumerate(names)}
    for name, each in found.items():
        assert each.totals_us[1] * 1000 == pytest.approx(min((t.get(name, np.inf) for t in towards), default=np.inf))
        rows = twin["links"].rows([step.link for step in each.steps])
        for at, figures in enumerate(FIGURES):
            if each.site:
                ns = np.rint(link_oneway_us(twin, figures=figures)[rows] * 1000).sum()
                assert round(each.totals_us[at] * 1000) == ns
    measured = circles(twin, budget_us=1000.0)
    assert [found[name].totals_us[1] for name in measured.access_points.tolist()] == measured.reach_us.tolist()


def test_on_a_nation_every_delay_is_that_of_the_search_and_the_way_takes_it() -> None:
    twin = nation(stations=20_000, sites=40, seed=3)
    near, counted = nearest(twin, "optical"), points(twin, "station")
    assert np.array_equal(near.oneway_ns[counted.vertex], reach.typical(twin, counted).delays_ns(compute_sites(twin)))
    for vertex in np.random.default_rng(1).choice(counted.vertex, 20).tolist():
        found = stack(twin, vertex, layer="optical")
        assert found.site.encode() == twin["sites"].ids[near.site[vertex]]
        assert found.totals_us[1] * 1000 == near.oneway_ns[vertex]


def saved(twin: Twin, folder: Path) -> str:
    save(twin, folder / "net", at_s=0.0, note="", source="by hand", synthetic=True)
    return str(folder / "net")


def asked(twin: Twin, folder: Path, **question: object) -> LatencyAnswer:
    return latency.run(LatencyQuestion(network=saved(twin, folder), **question))  # type: ignore[arg-type]


def test_latency_tells_the_way_its_share_of_the_budget_and_that_it_is_synthetic(tmp_path: Path) -> None:
    answer = asked(golden(), tmp_path, start="s8", budget_us=2_051.0)
    assert answer.headline == (
        "s8 is 1.03 ms one way from compute at c1, by 2 links of the optical layer: 50.0 % of 2.05 ms "
        "(976 us to 1.12 ms over the latency library; synthetic)"
    )
    assert (answer.low_us, answer.typical_us, answer.high_us) == (975.55, 1025.5, 1125.0)
    assert answer.budget_share == sum(part.budget_share for part in answer.parts) == pytest.approx(0.5)
    assert "the best way at typical figures of the latency library, and the same way at its low" in answer.citation


def test_latency_of_what_reaches_no_compute_is_infinite_and_no_error(tmp_path: Path) -> None:
    links = golden()["links"]
    answer = asked(golden().replace(links.set(links.rows(["l006"]), up=np.array([False]))), tmp_path, start="s0")
    assert answer.headline == "No compute is within reach of s0 on the optical layer (synthetic)"
    assert (answer.low_us, answer.typical_us, answer.high_us) == (np.inf,) * 3
    assert (answer.site, answer.budget_share, answer.parts, answer.links) == ("", np.inf, (), ())


@pytest.mark.parametrize("start", ["s77", "", "zz-a-name-longer-than-any", "京"])
def test_an_unknown_start_is_an_error_that_names_one_that_is_there(start: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no id of a station or site; give one .* such as s\d or [ac]\d"):
        asked(golden(), tmp_path, start=start)


def test_latency_without_compute_or_without_ip_links_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no compute"):
        asked(golden().replace(Table.of("servers")), tmp_path / "a", start="s0")
    with pytest.raises(InputError, match="no links of the IP layer"):
        asked(golden(), tmp_path / "b", start="s0", layer="ip")


def written(twin: Twin, folder: Path, name: str, **question: object) -> tuple[Path, DelaysAnswer]:
    output, network = folder / name, folder / "net"
    network = Path(saved(twin, folder)) if not network.exists() else network
    question = {"network": str(network), "output": str(output), **question}
    return output, delays.run(DelaysQuestion(**question))  # type: ignore[arg-type]


def islanded() -> Twin:
    """The golden network with s0 cut off."""
    links = golden()["links"]
    return golden().replace(links.set(links.rows(["l006"]), up=np.array([False])))


def test_delays_by_hand_are_empty_in_csv_and_null_in_parquet_where_nothing_is_in_reach(tmp_path: Path) -> None:
    path, answer = written(islanded(), tmp_path, "delays.csv")
    lines = path.read_text("utf-8").splitlines()
    assert lines[:3] == ["id,metro,oneway_us,site", "s0,M1,,", "s1,M1,93.9,c1"]
    assert lines[-1] == "s9,M2,1025.5,c1"
    assert (answer.rows, answer.unreachable, answer.median_us, answer.largest_us) == (10, 1, 289.9, 1025.5)
    assert answer.headline == (
        "Delay and nearest compute of 10 stations written, 290 us in the median; 1 of them can reach none (synthetic)"
    )
    assert "empty where none" in answer.citation
    path, answer = written(islanded(), tmp_path, "delays.parquet")
    assert pl.read_parquet(path).rows()[:2] == [("s0", "M1", None, None), ("s1", "M1", 93.9, "c1")]
    assert "null where none" in answer.citation


def test_delays_of_sites_have_compute_at_no_delay_from_itself(tmp_path: Path) -> None:
    path, _ = written(golden(), tmp_path, "sites.parquet", of="site")
    assert pl.read_parquet(path).rows() == [
        ("a1", "M1", 69.0, "c1"),
        ("a2", "M1", 265.0, "c2"),
        ("a3", "M2", 1000.6, "c1"),
        ("c1", "M1", 0.0, "c1"),
        ("c2", "M1", 0.0, "c2"),
    ]
    path, _ = written(with_ip(), tmp_path / "ip", "sites.parquet", of="site", layer="ip")
    assert pl.read_parquet(path).rows()[2] == ("a3", "M2", 1560.6, "c2")


def test_delays_refuse_other_formats_files_that_exist_and_networks_without_what_is_asked(tmp_path: Path) -> None:
    written(golden(), tmp_path, "there.csv")
    for name, what in (("there.csv", "exists already"), ("delays.xlsx", "neither .csv nor .parquet")):
        with pytest.raises(InputError, match=what):
            written(golden(), tmp_path, name)
    bare = twin_of({"c1": ("core", "M1")}, {}, [], ["c1"])
    with pytest.raises(InputError, match="has no stations"):
        written(bare, tmp_path / "bare", "delays.csv")
    with pytest.raises(InputError, match="has no compute"):
        written(golden().replace(Table.of("servers")), tmp_path / "idle", "delays.csv")


def test_the_same_revision_gives_the_same_bytes(tmp_path: Path) -> None:
    for suffix in ("csv", "parquet"):
        one, other = (written(islanded(), tmp_path, f"{name}.{suffix}")[0].read_bytes() for name in ("a", "b"))
        assert one == other
