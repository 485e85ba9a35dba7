"""Zones of a small network worked by hand, of random ones against networkx, and what is asked wrongly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError
from karez.faces import cli, text
from karez.measure.core import LONGEST_NS
from karez.measure.delay import constants, link_parts
from karez.measure.kernels import FAR
from karez.measure.zones import (
    STATUSES,
    DataClass,
    Discovery,
    Kind,
    Profile,
    Zone,
    coming,
    discover,
    stations_around,
    stations_of,
)
from karez.operations import DiscoverQuestion, PlanCoverageQuestion, run
from karez.operations.discover import DiscoverAnswer
from karez.plan.plan import Action, Cell, NewRow, Plan, Proof
from karez.plan.reads import Read
from karez.plan.sites import closing
from karez.twin import Table, Twin, World, store
from karez.twin.schema import Value
from karez.twin.table import Array, texts
from tests.test_reach import _by_networkx, networks

NOW_S = 1_767_225_600.0
BY_CONTRACT = "encrypt (cn-national/grade/general-recipient: DSL art. 27; NDR art. 9 and 12)"
LATER_S = NOW_S + 86_400.0
Columns = dict[str, Array | Sequence[Value]]


def small() -> Twin:
    """One metro in the east with compute and a core site without, and a stranger's compute in the west.

    s1 and s2 hang on the access point a-1, s3 hangs on s2, and s4 on the core site c-1 itself. At typical figures
    (4.9 us/km; a hop of access or aggregation 20 us, of core or backbone 50 us) they are at 44.5, 69 and 113.5 us from
    a-1, s4 at 29.8 us from c-1; a-1 is at 69 us from c-1, c-2 at 148 us from it, and c-3 at 540 us.
    """
    provinces: Columns = {"id": ["P-east", "P-west"], "name": ["East", "West"], "iso_3166_2": ["CN-ZJ", "CN-GZ"]}
    metros: Columns = {
        "id": ["m-1", "m-2", "m-none"],
        "name": ["First", "Second", "Empty"],
        "province": ["P-east", "P-west", "P-west"],
        "lon": [100.0, 101.0, 102.0],
        "lat": [30.0, 30.0, 30.0],
    }
    domains: Columns = {
        "id": ["own", "stranger"],
        "entity": ["Owner Ltd", "Stranger Ltd"],
        "verified": ["yes", "no"],
        "role": ["processor", "processor"],
        "sector": ["telecom", "other"],
        "critical": ["no", "no"],
    }
    sites: Columns = {
        "id": ["a-1", "c-1", "c-2", "c-3"],
        "name": ["", "Core one", "", "Core three"],
        "kind": ["aggregation", "core", "core", "core"],
        "metro": ["m-1", "m-1", "m-1", "m-2"],
        "domain": ["own"] * 4,
        "lon": [100.0, 100.0, 100.0, 101.0],
        "lat": [30.0] * 4,
    }
    stations: Columns = {
        "id": ["s1", "s2", "s3", "s4"],
        "metro": ["m-1"] * 4,
        "lon": [100.0, 100.1, 100.2, 100.0],
        "lat": [30.0] * 4,
    }
    links: Columns = {
        "id": ["l1", "l2", "l3", "l4", "l5", "l6", "l7"],
        "a": ["s1", "s2", "s3", "s4", "a-1", "c-1", "c-1"],
        "b": ["a-1", "a-1", "s2", "c-1", "c-1", "c-2", "c-3"],
        "kind": ["access"] * 4 + ["aggregation", "core", "backbone"],
        "length_km": [5.0, 10.0, 5.0, 2.0, 10.0, 20.0, 100.0],
    }
    servers: Columns = {
        "id": ["p-1", "p-3"],
        "site": ["c-1", "c-3"],
        "chip": ["X", "X"],
        "chips": [16, 64],
        "domain": ["", "stranger"],
    }
    made: dict[str, Columns] = {
        "provinces": provinces,
        "metros": metros,
        "domains": domains,
        "sites": sites,
        "stations": stations,
        "links": links,
        "chips": {"id": ["X"]},
        "servers": servers,
        "evidence": {
            "id": ["paper"],
            "kind": ["contract"],
            "owner": ["own"],
            "recipient": ["stranger"],
            "issuer": ["own"],
        },
        "server_states": {"id": ["p-1", "p-3"], "free_chips": [8, 64]},
    }
    return Twin({name: Table.of(name, columns) for name, columns in made.items()})


def with_cell(twin: Twin, table: str, row: str, column: str, value: Value) -> Twin:
    return twin.replace(twin[table].set(twin[table].rows([row]), **{column: value}))


def found(twin: Twin, *, planned: dict[str, float] | None = None, shown: int = 20, **profile: Any) -> Discovery:
    asked = Profile(**{"budget_us": 300.0, "served_share": 0.75, **profile})
    return discover(World(twin, twin), stations_of(twin, "m-1"), asked, planned=planned or {}, at_s=NOW_S, shown=shown)


def zone(twin: Twin, name: str, **asked: Any) -> Zone:
    (one,) = [each for each in found(twin, **asked).zones if each.id == name]
    return one


def test_the_small_network_is_as_worked_by_hand() -> None:
    zones = found(small()).zones
    assert [each.id for each in zones] == ["c-1", "c-2", "c-3"]
    assert zones[0] == Zone(
        id="c-1",
        name="Core one",
        region="East",
        provider="Owner Ltd",
        status="active",
        edge_status="active",
        feasible=True,
        in_service_at_s=None,
        free_chips=8,
        served_share=1.0,
        # s4, s1, s2 and s3 at 29.8, 113.5, 138 and 182.5 us.
        needs_us=138.0,
        median_low_us=(77.35 + 101.8) / 2,
        median_us=(113.5 + 138.0) / 2,
        median_high_us=(175.0 + 200.0) / 2,
        worst_low_us=128.25,
        worst_us=182.5,
        worst_high_us=275.0,
        lawful=True,
        law="plain (cn-national/grade/general-home: DSL art. 27)",
        why_not="",
    )
    second, third = zones[1:]
    assert (second.name, second.status, second.edge_status, second.free_chips) == (
        "First",
        "candidate",
        "inactive",
        None,
    )
    # At 177.8, 261.5, 286 and 330.5 us: just the three quarters that are asked for.
    assert (second.feasible, second.served_share, second.needs_us) == (True, 0.75, 286.0)
    assert (second.median_us, second.worst_us) == ((261.5 + 286.0) / 2, 330.5)
    assert (third.provider, third.region, third.free_chips) == ("Stranger Ltd", "West", 64)
    assert (third.feasible, third.served_share, third.needs_us, third.worst_us) == (False, 0.0, 678.0, 722.5)
    assert third.why_not == "too far: needs more than 678 us"
    assert third.law == BY_CONTRACT


def test_every_zone_counts_with_each_reason_that_rules_it_out() -> None:
    active = Kind(status="active", zones=2, feasible=0, too_far=1, too_few_chips=1, unlawful=1)
    planned = Kind(status="planned", zones=0, feasible=0, too_far=0, too_few_chips=0, unlawful=0)
    candidate = Kind(status="candidate", zones=1, feasible=1, too_far=0, too_few_chips=0, unlawful=0)
    assert found(small(), chips=9, data_class="personal").kinds == (active, planned, candidate)


def test_a_budget_that_is_just_met_is_not_met() -> None:
    assert not zone(small(), "c-2", budget_us=286.0).feasible
    assert zone(small(), "c-2", budget_us=286.001).feasible


def test_a_planned_zone_is_planned_until_there_is_compute() -> None:
    ahead = zone(small(), "c-2", planned={"c-2": LATER_S, "c-1": LATER_S}, chips=1_000)
    assert (ahead.status, ahead.edge_status, ahead.in_service_at_s) == ("planned", "inactive", LATER_S)
    assert ahead.feasible
    assert zone(small(), "c-1", planned={"c-1": LATER_S}).status == "active"


def test_what_the_network_itself_has_on_order_is_coming() -> None:
    devices: Columns = {
        "id": ["d1", "d2", "d3"],
        "site": ["c-2", "c-2", "a-1"],
        "kind": ["edge_inference", "edge_inference", "router"],
        "valid_from_s": [LATER_S + 9, LATER_S, LATER_S],
    }
    twin = with_cell(small(), "servers", "p-3", "valid_from_s", LATER_S).replace(Table.of("equipment", devices))
    assert coming(twin, NOW_S) == {"c-2": LATER_S, "c-3": LATER_S}
    assert coming(twin, LATER_S) == {"c-2": LATER_S + 9}


def test_too_few_free_chips_rule_out_what_stands_and_not_what_is_yet_to_be_built() -> None:
    assert zone(small(), "c-1", chips=8).feasible
    assert zone(small(), "c-1", chips=9).why_not == "too few chips: 8 of 9 are free"
    assert zone(small(), "c-2", chips=9).feasible


def test_chips_that_nobody_saw_or_counts_are_not_free() -> None:
    unseen = small().replace(Table.of("server_states", {"id": ["p-3"], "free_chips": [64]}))
    assert zone(unseen, "c-1").edge_status == "unknown"
    assert zone(unseen, "c-1", chips=1).why_not == "too few chips: 0 of 1 are free"
    device: Columns = {"id": ["d"], "site": ["c-2"], "kind": ["edge_inference"]}
    equipped = small().replace(Table.of("equipment", device))
    assert zone(equipped, "c-2").feasible
    assert zone(equipped, "c-2").free_chips is None
    assert zone(equipped, "c-2", chips=1).why_not == "too few chips: nobody counted them"


@pytest.mark.parametrize(
    ("data_class", "law"),
    [
        ("none", "not asked"),
        ("general", BY_CONTRACT),
        ("personal", "no: cn-national/personal permits none of it; would do: impact_assessment"),
        ("sensitive", "no: cn-national/personal permits none of it; would do: impact_assessment and attestation"),
        ("important", "no: cn-national/grade permits none of it, cn-telecom/telecom permits none of it"),
        (
            "core",
            "no: cn-national/grade permits none of it, cn-telecom/telecom permits none of it; would do: approval",
        ),
    ],
)
def test_the_law_is_that_of_the_policy_for_the_class_of_data(data_class: DataClass, law: str) -> None:
    away = zone(small(), "c-3", data_class=data_class, budget_us=1_000.0)
    assert (away.law, away.lawful) == (law, not law.startswith("no:"))
    assert away.why_not == ("" if away.lawful else f"unlawful: {law}")
    assert zone(small(), "c-2", data_class=data_class).lawful


def test_data_of_an_area_that_several_own_may_go_where_the_data_of_each_may() -> None:
    shared = with_cell(small(), "sites", "c-1", "domain", "stranger")
    # Data of the stranger's own access point would go to the owner, on whom it holds nothing; the owner's to the
    # stranger, of whom it assessed nothing.
    assert zone(shared, "c-2", data_class="general").law.endswith("would do: contract")
    assert zone(shared, "c-1", data_class="general").lawful
    assert not zone(shared, "c-1", data_class="personal").lawful
    own = "plain (cn-national/grade/general-home: DSL art. 27; cn-national/personal/personal-home: PIPL art. 51)"
    assert zone(shared, "c-1", data_class="personal", domain="stranger").law == own


def test_an_owner_who_is_not_known_makes_it_unlawful_unless_the_law_is_left_out() -> None:
    sites = small()["sites"]
    nameless = small().replace(sites.set(np.arange(len(sites)), domain=b""))
    denied = zone(nameless, "c-2")
    assert denied.why_not == (
        "unlawful: no: cn-national/grade permits none of it; not known: "
        "datasets.domain or servers.domain, datasets.province or metros.province"
    )
    assert denied.provider == ""
    assert zone(nameless, "c-2", data_class="none").feasible


def test_of_several_servers_only_those_count_that_the_data_may_go_to() -> None:
    columns: Columns = {
        "id": ["p-0", "p-1", "p-2"],
        "site": ["c-1"] * 3,
        "chip": ["X"] * 3,
        "chips": [16] * 3,
        "domain": ["stranger", "own", "own"],
    }
    states: Columns = {"id": ["p-0", "p-1", "p-2"], "free_chips": [5, 1, 2]}
    twin = small().replace(Table.of("servers", columns), Table.of("server_states", states))
    several = zone(twin, "c-1", data_class="personal")
    assert (several.free_chips, several.lawful, several.provider) == (3, True, "Owner Ltd")
    assert zone(twin, "c-1", data_class="none").free_chips == 8
    only = twin.replace(twin["servers"].take(np.array([0])))
    assert (zone(only, "c-1", data_class="personal").free_chips, zone(only, "c-1").provider) == (5, "Stranger Ltd")


def test_a_station_without_a_way_counts_and_is_served_by_nothing() -> None:
    cut = with_cell(small(), "links", "l3", "up", False)
    lonely = zone(cut, "c-1")
    assert (lonely.worst_us, lonely.served_share, lonely.median_us) == (np.inf, 0.75, (113.5 + 138.0) / 2)
    assert zone(cut, "c-1", served_share=0.76).why_not == "too far: too few stations have a way there"


def test_a_long_one_way_road_to_a_zone_is_found_though_none_leads_to_the_nearest_zone() -> None:
    links = small()["links"]
    rows = links.rows(["l4", "l6"])
    ahead = links.set(rows, b="c-2", direction="forward", length_km=[200.0, 20.0])
    assert zone(small().replace(ahead), "c-2").worst_us == 1_000.0
    assert zone(small().replace(ahead), "c-1").worst_us == np.inf


def test_no_compute_and_no_core_site_is_no_zone() -> None:
    twin = small()
    bare = twin.replace(
        twin["sites"].set(np.arange(4), kind=b"aggregation"), Table.of("servers"), Table.of("server_states")
    )
    assert found(bare).zones == ()
    assert [each.zones for each in found(bare).kinds] == [0] * len(STATUSES)


def test_the_stations_of_an_area_are_those_of_the_metro_or_within_the_radius() -> None:
    twin = small()
    assert stations_of(twin, "m-1").tolist() == [0, 1, 2, 3]
    assert stations_of(twin, "m-2").tolist() == []
    # A tenth of a degree of longitude is 9.63 km at 30 degrees north.
    assert stations_around(twin, 100.0, 30.0, 9.6).tolist() == [0, 3]
    assert stations_around(twin, 100.0, 30.0, 9.7).tolist() == [0, 1, 3]
    assert stations_around(twin, 100.0, 30.1, 11.0).tolist() == []
    assert stations_around(twin, 100.0, 30.1, 11.2).tolist() == [0, 3]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Twin, Array, Profile, int]:
    """A small network of any shape with delays of any size, compute at some sites, an area and a profile."""
    twin, delays, targets = draw(networks().filter(lambda case: len(case[0]["stations"])))
    if len(delays):
        twin = twin.replace(twin["links"].set(np.arange(len(delays)), length_km=np.minimum(delays / 4_900, 20_000.0)))
    if len(targets):
        ids = twin["sites"].ids[targets]
        servers: Columns = {"id": ids, "site": ids, "chip": np.full(len(ids), b"X"), "chips": np.ones(len(ids), int)}
        twin = twin.replace(Table.of("servers", servers))
    twin = twin.replace(Table.of("provinces", {"id": ["p"]}))
    number = len(twin["stations"])
    area = draw(st.lists(st.integers(0, number - 1), min_size=1, unique=True))
    profile = Profile(
        budget_us=draw(st.sampled_from([20.0, 50.0, 120.0, 1_000.0])),
        served_share=draw(st.sampled_from([0.01, 0.5, 2 / 3, 0.95, 1.0])),
        data_class="none",
    )
    return twin, np.sort(np.array(area)), profile, draw(st.integers(1, 3))


@given(cases())
@settings(max_examples=250, deadline=None)
def test_counts_order_and_delays_are_as_networkx_has_them_for_every_site(
    case: tuple[Twin, Array, Profile, int],
) -> None:
    twin, area, profile, shown = case
    ns = link_parts(twin).oneway_ns(constants("typical"), LONGEST_NS)
    sites = len(twin["sites"])
    budget_ns, needed = profile.budget_us * 1_000, int(np.ceil(profile.served_share * len(area) - 1e-9))
    expected = []
    for site in range(sites):
        delays = np.sort(_by_networkx(twin, ns, np.array([site]), LONGEST_NS)[sites + area]).astype(float)
        delays[delays >= FAR] = np.inf
        feasible = np.count_nonzero(delays < budget_ns) >= needed
        middle = float(delays[(len(delays) - 1) // 2] / 1_000 + delays[len(delays) // 2] / 1_000) / 2
        expected.append((not feasible, middle, f"c{site}", float(delays[-1]) / 1_000, delays[needed - 1] / 1_000))
    got = discover(World(twin, twin), area, profile, planned={}, at_s=NOW_S, shown=shown)
    assert sum(kind.feasible for kind in got.kinds) == sum(not each[0] for each in expected)
    assert sum(kind.zones for kind in got.kinds) == sites
    best = [sorted(each for each in expected if each[0] == fails)[:shown] for fails in (False, True)]
    told = [(not each.feasible, each.median_us, each.id, each.worst_us, each.needs_us) for each in got.zones]
    assert told == [*best[0], *best[1]]
    for each in got.zones:
        assert each.median_low_us <= each.median_us <= each.median_high_us
        assert each.worst_low_us <= each.worst_us <= each.worst_high_us


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_stations_changes_nothing(case: tuple[Twin, Array, Profile, int], chance: Any) -> None:
    twin, area, profile, shown = case
    shuffled = area.tolist()
    chance.shuffle(shuffled)
    first, second = (
        discover(World(twin, twin), rows, profile, planned={}, at_s=NOW_S, shown=shown)
        for rows in (area, np.array(shuffled))
    )
    assert first == second


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("KAREZ_AT_S", str(NOW_S))
    store.save(small(), tmp_path / "net", at_s=0.0, note="", source="tests", synthetic=True, seed=1)
    return str(tmp_path / "net")


def answer(network: str, **asked: Any) -> DiscoverAnswer:
    return cast(DiscoverAnswer, run("discover", DiscoverQuestion(network=network, **asked)))


def test_the_answer_says_what_is_feasible_and_which_is_best(network: str) -> None:
    said = answer(network, metro="m-1", budget_us=300.0, served_share=0.75)
    assert said.headline == (
        "1 active, 1 candidate feasible for First, to serve 75.0 % of 4 stations within 300 us one way; best: Core one "
        "(active, median 126 us; synthetic)"
    )
    assert said.meets_target
    assert "rules of karez.measure.policy for general data" in said.citation
    around = answer(network, lon=100.0, lat=30.0, radius_km=9.6, budget_us=300.0)
    assert (around.stations, around.area) == (2, "9.6 km around lon 100, lat 30")


def test_what_is_feasible_is_offered_in_the_words_of_camara(network: str) -> None:
    said = answer(network, metro="m-1", budget_us=300.0, served_share=0.75)
    body = json.loads(text.json("discover", said))["answer"]
    assert body["camara"]["edgeCloudZones"] == [
        {
            "edgeCloudZoneId": "c-1",
            "edgeCloudZoneName": "Core one",
            "edgeCloudZoneStatus": "active",
            "edgeCloudProvider": "Owner Ltd",
            "edgeCloudRegion": "East",
            "x-karez-status": "active",
            "x-karez-inServiceAtS": None,
        },
        {
            "edgeCloudZoneId": "c-2",
            "edgeCloudZoneName": "First",
            "edgeCloudZoneStatus": "inactive",
            "edgeCloudProvider": "Owner Ltd",
            "edgeCloudRegion": "East",
            "x-karez-status": "candidate",
            "x-karez-inServiceAtS": None,
        },
    ]
    assert "camara" not in "\n".join(text.lines(said)).replace(said.citation, "").lower()


def test_where_no_zone_is_feasible_the_exit_code_is_3_and_the_nearest_is_told(
    network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["discover", network, "--metro", "m-1", "--budget-us", "50", "--quiet"]) == cli.TARGET_MISSED
    out = capsys.readouterr().out
    assert out == (
        "No zone is feasible for First, to serve 95.0 % of 4 stations within 50 us one way: the nearest is Core one "
        "(active), too far: needs more than 182.5 us; synthetic\n"
    )
    assert cli.main(["discover", network, "--metro", "m-1", "--csv", "zones", "--quiet"]) == cli.OK
    assert capsys.readouterr().out.startswith("id,name,region,provider,status,edge_status,feasible,")


def ordered(twin: Twin, site: str, *, kind: str = "edge_inference") -> Plan:
    new = NewRow("equipment", f"edge-{site}", {"site": site, "kind": kind, "valid_from_s": LATER_S})
    action = Action(
        kind="order_equipment", subject=site, adds=(new,), blast_radius=(site,), expires_at_s=LATER_S, ends_at_s=LATER_S
    )
    proof = Proof(value=1.0, bound=1.0, unit="CNY", how="by hand")
    return Plan(
        planner="coverage",
        question={},
        revision=twin.digest,
        made_at_s=NOW_S,
        reads=(),
        actions=(action,),
        price_cny=1.0,
        proof=proof,
    )


def with_action(action: Action) -> Plan:
    return msgspec.structs.replace(ordered(small(), "c-2"), actions=(action,))


def written(folder: Path, plan: Plan) -> str:
    path = folder / "plan.json"
    path.write_bytes(msgspec.json.encode(plan))
    return str(path)


def test_the_sites_of_a_plan_are_planned_zones_with_the_date_of_service(network: str, tmp_path: Path) -> None:
    def second(plan: Plan) -> Zone:
        said = answer(network, metro="m-1", plan=written(tmp_path, plan), budget_us=400.0)
        (one,) = [each for each in said.zones if each.id == "c-2"]
        return one

    ahead = second(ordered(small(), "c-2"))
    assert (ahead.status, ahead.in_service_at_s, ahead.feasible) == ("planned", LATER_S, True)
    assert second(ordered(small(), "c-2", kind="oxc")).status == "candidate"


def test_a_plan_that_build_wrote_makes_zones(network: str, tmp_path: Path) -> None:
    path = str(tmp_path / "built.json")
    twin = small().replace(Table.of("servers"), Table.of("server_states"))
    store.save(twin, Path(network), at_s=1.0, note="", source="tests", synthetic=True, seed=1)
    run("plan_coverage", PlanCoverageQuestion(network=network, target_share=1.0, budget_us=100.0, output=path))
    said = answer(network, metro="m-1", plan=path)
    assert said.zones[0].status == "planned"
    assert said.zones[0].id == "c-1"
    assert "plan " in said.citation


def test_what_a_plan_closes_is_a_possible_zone_at_most(network: str, tmp_path: Path) -> None:
    twin = small()
    before = answer(network, metro="m-1", budget_us=400.0)
    there = {zone.id for zone in before.zones if zone.status == "active"}
    assert "c-1" in there
    acts = tuple(closing(twin, texts(["c-1"]), due_s=LATER_S, at_s=NOW_S))
    assert acts
    plan = msgspec.structs.replace(ordered(twin, "c-2"), actions=acts)
    after = answer(network, metro="m-1", budget_us=400.0, plan=written(tmp_path, plan))
    assert {zone.id for zone in after.zones if zone.status == "active"} == there - {"c-1"}
    assert {zone.status for zone in after.zones if zone.id == "c-1"} == {"candidate"}


def test_a_plan_of_another_network_or_that_makes_no_sense_is_refused(network: str, tmp_path: Path) -> None:
    other = ordered(with_cell(small(), "links", "l1", "length_km", 6.0), "c-2")
    with pytest.raises(InputError, match="which is of another network"):
        answer(network, metro="m-1", plan=written(tmp_path, other))
    with pytest.raises(InputError, match=r"site.*c-9"):
        answer(network, metro="m-1", plan=written(tmp_path, ordered(small(), "c-9")))
    late = msgspec.structs.replace(ordered(small(), "c-2").actions[0], expires_at_s=NOW_S - 1)
    with pytest.raises(InputError, match="has expired"):
        answer(network, metro="m-1", plan=written(tmp_path, with_action(late)))
    senseless = msgspec.structs.replace(ordered(small(), "c-2"), reads=(Read("nowhere", "x"),))
    with pytest.raises(InputError, match="reads the table nowhere"):
        answer(network, metro="m-1", plan=written(tmp_path, senseless))
    undated = NewRow("equipment", "e", {"site": "c-2", "kind": "edge_inference", "valid_from_s": "soon"})
    when = msgspec.structs.replace(ordered(small(), "c-2").actions[0], adds=(undated,))
    with pytest.raises(InputError, match="valid_from_s = 'soon'"):
        answer(network, metro="m-1", plan=written(tmp_path, with_action(when)))


def test_a_plan_that_builds_nothing_is_refused(network: str, tmp_path: Path) -> None:
    drains = Action(
        kind="drain_link",
        subject="l5",
        sets=(Cell("links", "l5", "drained", before=False, after=True),),
        blast_radius=("l5",),
        expires_at_s=LATER_S,
    )
    with pytest.raises(InputError, match="orders no equipment"):
        answer(network, metro="m-1", plan=written(tmp_path, with_action(drains)))


def test_a_plan_of_an_older_revision_is_good_until_a_read_of_it_has_changed(network: str, tmp_path: Path) -> None:
    gone = Read("equipment", "edge-c-2", op="gone")
    path = written(tmp_path, msgspec.structs.replace(ordered(small(), "c-2"), reads=(gone,)))
    for row, site in enumerate(("c-3", "c-2")):
        device: Columns = {"id": [f"edge-{site}"], "site": [site], "kind": ["edge_inference"]}
        twin = small().replace(Table.of("equipment", device))
        store.save(twin, Path(network), at_s=1.0 + row, note="", source="tests", synthetic=True, seed=1)
        if site == "c-3":
            assert answer(network, metro="m-1", plan=path).kinds[1].zones == 1
    with pytest.raises(InputError, match=r"relied on equipment\[edge-c-2\] gone, which no longer holds"):
        answer(network, metro="m-1", plan=path)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "area: is not given; give --metro, or both --lon and --lat"),
        ({"lon": 100.0}, "area: is half a position"),
        ({"metro": "m-1", "lon": 100.0, "lat": 30.0}, "there are two areas"),
        ({"metro": "m-1", "radius_km": 20.0}, "there are two areas"),
        ({"metro": "frist"}, r"metro: 'frist' is no id of a metro; give the id of one, such as m-1 \(First\)"),
        ({"metro": "xxx"}, "metro: 'xxx' is no id of a metro; give an id that the table metros has"),
        ({"metro": "m-1", "domain": "stranger ltd"}, r"domain: .* such as stranger \(Stranger Ltd\)"),
        ({"metro": "m-2"}, "area: no station is in Second; choose another area"),
        (
            {"lon": -100.0, "lat": 30.0},
            r"no station is in 10 km around lon -100, lat 30; choose another position or radius: station s3 is",
        ),
    ],
)
def test_an_area_that_is_not_there_is_refused_with_what_to_do(network: str, asked: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        answer(network, **asked)


def test_a_metro_and_a_domain_that_are_not_there_are_told_at_once(network: str) -> None:
    with pytest.raises(InputError) as raised:
        answer(network, metro="frist", domain="nobody")
    assert [each.where for each in raised.value.problems] == ["metro", "domain"]
