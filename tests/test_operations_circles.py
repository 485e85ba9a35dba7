"""What the operations circles and curve are asked and say, on the network worked by hand."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

import karez
from karez.errors import InputError
from karez.importers.generate import nation
from karez.measure.circles import circles as measured
from karez.operations import CirclesQuestion, CurveQuestion, circles, curve
from karez.operations.circles import WORDS, CirclesAnswer
from karez.operations.curve import CurveAnswer
from karez.operations.networks import ACCESS_WORDS, UPLINKS
from karez.twin import Table, Twin
from karez.twin.store import save
from tests.test_circles import golden
from tests.test_stack import with_ip


@pytest.fixture(autouse=True)
def _at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAREZ_AT_S", "1767225600")


def saved(twin: Twin, folder: Path) -> str:
    save(twin, folder / "net", at_s=0.0, note="", source="by hand", synthetic=True)
    return str(folder / "net")


def asked(twin: Twin, folder: Path, **question: object) -> CirclesAnswer:
    return circles.run(CirclesQuestion(network=saved(twin, folder), **question))  # type: ignore[arg-type]


def drawn(twin: Twin, folder: Path, **question: object) -> CurveAnswer:
    return curve.run(CurveQuestion(network=saved(twin, folder), **question))  # type: ignore[arg-type]


def test_the_mean_of_the_metros_is_the_headline_and_held_against_the_target_where_asked(tmp_path: Path) -> None:
    # Both access points of M1 are covered, the one of M2 is not: 2 of 3 pooled, a half in the mean.
    pooled = asked(golden(), tmp_path / "a", target_share=0.6)
    assert pooled.meets_target
    assert pooled.headline.startswith("66.7 % of access points are within 1 ms one way of compute (66.7 % to 100.0 %")
    assert ", pooled;" in pooled.citation
    mean = asked(golden(), tmp_path / "b", target_share=0.6, pooling="mean_of_metros")
    assert mean.meets_target is False
    assert mean.headline.startswith("50.0 % of access points, as the mean of the metros, are within 1 ms one way of")
    assert "(50.0 % to 100.0 % over the latency library; synthetic)" in mean.headline
    assert ", mean of metros;" in mean.citation
    assert (mean.typical, mean.pooling) == (pooled.typical, "mean_of_metros")


def test_c1_in_the_mean_of_the_metros_says_so_and_names_the_size_class(tmp_path: Path) -> None:
    found = asked(golden(), tmp_path, definition="C1", budget_us=2_000, pooling="mean_of_metros", least_chips=8)
    assert found.headline.startswith("100.0 % of pairs of compute centres in one metro, as the mean of the metros, are")
    assert "slower direction, sites of at least 8 chips, optical layer" in found.citation


def test_a_size_class_that_leaves_one_centre_leaves_c1_without_pairs(tmp_path: Path) -> None:
    servers = golden()["servers"]
    twin = golden().replace(servers.set(servers.rows(["p-c2"]), chips=[1024]))
    found = asked(twin, tmp_path, definition="C1", least_chips=9, target_share=0.1)
    assert found.headline == (
        "No metro has two compute centres of at least 9 chips, so C1 has nothing to measure (synthetic)"
    )
    assert found.meets_target is False


def test_the_ip_layer_is_named_and_costs_its_routers(tmp_path: Path) -> None:
    # On the IP layer a3 is 1560.6 from c2; see the stack of it.
    found = asked(with_ip(), tmp_path / "a", layer="ip", budget_us=1_560.7)
    assert found.typical.pooled_share == 1.0
    assert "within 1.56 ms one way on the IP layer of compute" in found.headline
    assert "towards the best compute site, IP layer;" in found.citation
    assert "IP hop" in {mover.constant for mover in found.movers}
    under = asked(with_ip(), tmp_path / "b", layer="ip", budget_us=1_560.6)
    assert under.typical.pooled_share == pytest.approx(2 / 3)


def test_c3_by_hand_takes_its_access_and_service_and_names_them(tmp_path: Path) -> None:
    # PON up 1000, a1 69, service 500.
    found = asked(golden(), tmp_path, definition="C3", budget_us=1_569.1, access="pon", service_us=500)
    assert found.typical.pooled_share == pytest.approx(1 / 3)
    assert found.down_typical is not None
    assert "within 1.57 ms one way up to the server over PON; " in found.headline
    assert "terminal to the best server over PON, service 500 us, optical layer" in found.citation
    assert (found.access, found.service_us) == ("pon", 500.0)


@pytest.mark.parametrize(
    ("question", "clause"),
    [
        ({}, "because the loaded 5G uplink alone takes 10 to 25 ms;"),
        ({"round_trip": True}, "because the air of loaded 5G, there and back, alone takes 15 to 35 ms ("),
        ({"access": "pon"}, "because the way up PON alone takes 0.3 to 2 ms;"),
        ({"access": "leased-line", "round_trip": True}, "the way up and down a leased line and the service"),
        ({"access": "pon-cooperative", "service_us": 900}, "and the service alone take 1 to 1.3 ms;"),
        ({"access": "wlan"}, "because WLAN alone takes 1 to 5 ms;"),
    ],
)
def test_c3_that_covers_nothing_says_what_takes_the_budget(
    question: dict[str, object], clause: str, tmp_path: Path
) -> None:
    more = {"service_us": 800} if "leased-line" in question.values() else {}
    found = asked(golden(), tmp_path, definition="C3", budget_us=1_000, **more, **question)
    assert clause in found.headline
    assert found.typical.pooled_share == 0.0
    left = asked(golden(), tmp_path / "more", definition="C3", budget_us=60_000, **more, **question)
    assert "because" not in left.headline


def test_enterprises_and_area_are_weights_with_words(tmp_path: Path) -> None:
    places = golden()["places"]
    twin = golden().replace(places.set(places.rows(["k1"]), kind=["enterprise"]))
    enterprise = asked(twin, tmp_path / "a", weight="enterprise")
    assert enterprise.headline.startswith("100.0 % of enterprises by weight are within")
    assert enterprise.total_weight == 3.0
    area = asked(twin, tmp_path / "b", weight="area")
    assert area.headline.startswith("70.0 % of area that stations stand in are within")
    with pytest.raises(InputError, match="nothing that the weight 'enterprise' counts"):
        asked(golden(), tmp_path / "c", weight="enterprise")


def test_what_would_be_asked_in_vain_is_refused_all_of_it_at_once(tmp_path: Path) -> None:
    network = saved(golden(), tmp_path)
    with pytest.raises(InputError) as raised:
        circles.run(CirclesQuestion(network=network, access="pon", service_us=5))
    assert [(problem.where, problem.what) for problem in raised.value.problems] == [
        ("access", "has no part in C2"),
        ("service-us", "has no part in C2"),
    ]
    with pytest.raises(InputError, match="no links of the IP layer; ask for the optical layer"):
        circles.run(CirclesQuestion(network=network, layer="ip"))
    with pytest.raises(InputError, match="no site has 9 chips in all; give a smaller size class"):
        circles.run(CirclesQuestion(network=network, least_chips=9))
    with pytest.raises(InputError) as raised:
        karez.circles(network, pooling="median", least_chips=0, service_us=-1, layer="air")
    assert {problem.where for problem in raised.value.problems} == {"pooling", "least_chips", "service_us", "layer"}


def test_every_weight_and_access_that_may_be_asked_has_its_words() -> None:
    kinds = {field.name: field.type for field in msgspec.structs.fields(CirclesQuestion)}
    assert set(WORDS) == set(_choices(kinds["weight"]))
    assert set(ACCESS_WORDS) == set(UPLINKS) == set(_choices(kinds["access"]))


def _choices(hint: object) -> tuple[str, ...]:
    return tuple(hint.__origin__.__args__)  # type: ignore[attr-defined]


def test_by_hand_a_curve_tells_for_each_province_where_it_passes_the_marks(tmp_path: Path) -> None:
    # Of ten stations four are at 93.9, three at 289.9, three at 1025.5; M2 is put into a province of its own.
    metros = golden()["metros"]
    twin = golden().replace(
        Table.of("provinces", {"id": ["P", "Q", "R"], "name": ["One", "Other", "Bare"]}),
        metros.set(metros.rows(["M2", "M3"]), province=["Q", "R"]),
    )
    found = drawn(twin, tmp_path / "a", weight="station", upto_us=1_000, steps=10)
    rows = [
        (row.id, row.name, row.weight, row.half_us, row.three_quarters_us, row.nine_tenths_us)
        for row in found.provinces
    ]
    assert rows == [("P", "One", 7.0, 100.0, 300.0, 300.0), ("Q", "Other", 3.0, math.inf, math.inf, math.inf)]
    wider = drawn(twin, tmp_path / "b", weight="station", upto_us=1_100, steps=11)
    assert wider.provinces[1].nine_tenths_us == 1_100.0
    assert [point.covered_share for point in wider.points] == [0.4, 0.4, *[0.7] * 8, 1.0]


def test_the_provinces_of_a_curve_say_what_circles_says_of_each_at_that_budget(tmp_path: Path) -> None:
    twin = nation(stations=20_000, sites=30, seed=2)
    found = drawn(twin, tmp_path, upto_us=2_000, steps=8)
    at = {us: measured(twin, budget_us=us).provinces for us in (250.0 * step for step in range(1, 9))}
    covered = {us: {region.id: region.covered_share for region in regions} for us, regions in at.items()}
    assert [row.id for row in found.provinces] == list(covered[250.0])
    for row in found.provinces:
        for mark, first in ((0.5, row.half_us), (0.75, row.three_quarters_us), (0.9, row.nine_tenths_us)):
            assert first == next((us for us, shares in covered.items() if shares[row.id] >= mark), math.inf)
