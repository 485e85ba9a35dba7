"""Two networks compared: what changed, where, and what is only in one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import karez
from karez.errors import InputError
from karez.faces import text
from karez.operations import CompareQuestion
from karez.operations.compare import CompareAnswer, OneSided, RegionChange, run
from karez.twin import Table, Twin
from karez.twin.store import save
from tests.test_circles import golden


@pytest.fixture(autouse=True)
def _at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAREZ_AT_S", "1767225600")


def grown() -> Twin:
    """The golden network with inference at a3, the only access point of M2 (by hand: 2 of 3 covered, then 3 of 3)."""
    return golden().replace(Table.of("equipment", {"id": ["e"], "site": ["a3"], "kind": ["edge_inference"]}))


def without_m2() -> Twin:
    """The golden network without M2 and all that lies in it; a metro M4 has come instead, as yet without sites."""
    twin = golden()
    stations, sites, links, metros = (twin[name] for name in ("stations", "sites", "links", "metros"))
    gone = [b"a3", *stations.ids[stations["metro"] == b"M2"].tolist()]
    kept = ~np.isin(links["a"], gone) & ~np.isin(links["b"], gone)
    renamed = [row.replace(b"M2", b"M4") for row in metros.ids.tolist()]
    return twin.replace(
        Table.of("metros", {**{name: metros[name] for name in metros.columns}, "id": np.array(renamed)}),
        stations.take(stations["metro"] != b"M2"),
        sites.take(sites.ids != b"a3"),
        links.take(kept),
        twin["places"].take(twin["places"]["site"] != b"a3"),
    )


def saved(twin: Twin, folder: Path, *, synthetic: bool = False) -> str:
    save(twin, folder, at_s=0.0, note="", source="by hand", synthetic=synthetic)
    return str(folder)


def compared(before: Twin, after: Twin, tmp_path: Path, **asked: object) -> CompareAnswer:
    one, other = saved(before, tmp_path / "before"), saved(after, tmp_path / "after")
    return run(CompareQuestion(before=one, after=other, **asked))  # type: ignore[arg-type]


def test_by_hand_the_points_are_those_that_a_new_site_brings(tmp_path: Path) -> None:
    found = compared(golden(), grown(), tmp_path)
    typical = found.typical
    assert typical.pooled_points == pytest.approx(100 / 3)
    assert (typical.mean_before_share, typical.mean_after_share, typical.mean_points) == (0.5, 1.0, 50.0)
    assert [found.low.pooled_points, found.high.pooled_points] == pytest.approx([0, 100 / 3])
    assert found.metros == (RegionChange("M2", "", 1.0, 1.0, 0.0, 1.0, 100.0),)
    assert [region.points for region in found.provinces] == pytest.approx([100 / 3])
    assert (found.unchanged_metros, found.unchanged_provinces) == (2, 0)
    assert found.headline == (
        "100.0 % of access points are within 1 ms of compute, one way, instead of 66.7 %: +33.3 points "
        "(+0.0 at low delays, +33.3 at high ones); 1 metro changed, 2 did not"
    )
    assert found.meets_target is None


def test_the_other_way_round_every_difference_has_the_other_sign(tmp_path: Path) -> None:
    there, back = compared(golden(), grown(), tmp_path / "1"), compared(grown(), golden(), tmp_path / "2")
    for figures in ("low", "typical", "high"):
        assert getattr(back, figures).pooled_points == -getattr(there, figures).pooled_points
    assert [region.points for region in back.metros] == [-100.0]
    assert "-33.3 points" in back.headline


def test_the_same_network_twice_has_no_difference(tmp_path: Path) -> None:
    found = compared(golden(), golden(), tmp_path)
    assert found.headline.startswith("No difference, for the data are the same: 66.7 % of access points")
    assert (found.metros, found.provinces, found.unchanged_metros, found.unchanged_provinces) == ((), (), 3, 1)
    assert found.typical.pooled_points == 0.0


def test_what_moves_no_share_is_no_difference_though_the_data_differ(tmp_path: Path) -> None:
    twin = golden()
    names = Table.of("provinces", {"id": ["P"], "name": ["Another name"], "side": ["east"]})
    found = compared(twin, twin.replace(names), tmp_path)
    assert found.headline.startswith("No difference: 66.7 %")


def test_a_weight_that_grew_is_a_change_though_the_share_is_the_same(tmp_path: Path) -> None:
    twin = golden()
    more = Table.of("places", {"id": ["k1", "k2"], "site": ["a1", "a3"], "weight": [3.0, 2.0]})
    found = compared(twin, twin.replace(more), tmp_path, weight="place")
    assert [(region.id, region.weight_before, region.weight_after, region.points) for region in found.metros] == [
        ("M2", 1.0, 2.0, 0.0)
    ]
    assert found.typical.pooled_points == pytest.approx(60 - 75)


def test_metros_of_one_network_only_are_told_apart_from_those_that_changed(tmp_path: Path) -> None:
    found = compared(golden(), without_m2(), tmp_path)
    assert found.metros_only_before == (OneSided("M2", "", 1.0, 0.0),)
    assert found.metros_only_after == (OneSided("M4", "", 0.0, None),)
    assert (found.metros, found.unchanged_metros) == ((), 2)
    assert found.headline.endswith("; 0 metros changed, 2 did not, 1 only before, 1 only after")
    assert (found.total_weight_before, found.total_weight_after) == (3.0, 2.0)


def test_a_share_that_came_or_went_leads_what_changed(tmp_path: Path) -> None:
    served = Table.of("places", {"id": ["k1", "k2"], "site": ["a1", "a2"], "weight": [3.0, 1.0]})
    found = compared(golden(), golden().replace(served), tmp_path, weight="place")
    assert [(region.id, region.before_share, region.after_share, region.points) for region in found.metros] == [
        ("M2", 0.0, None, None),
        ("M1", 1.0, 1.0, 0.0),
    ]


def test_pairs_of_centres_that_one_network_has_not_are_an_unknown_share(tmp_path: Path) -> None:
    alone = golden().replace(golden()["servers"].take(np.array([0])))
    found = compared(alone, golden(), tmp_path, definition="C1", budget_us=1030.1)
    assert (found.typical.pooled_before_share, found.typical.pooled_points) == (None, None)
    assert "pairs of compute centres in one metro are within 1.03 ms, one way, instead of an unknown share" in (
        found.headline
    )


def test_revisions_of_one_network_are_compared_and_both_are_cited(tmp_path: Path) -> None:
    folder = saved(golden(), tmp_path / "network")
    saved(grown(), tmp_path / "network")
    found = run(CompareQuestion(before=folder, after=folder, before_revision=1))
    assert found.typical.pooled_points == pytest.approx(100 / 3)
    assert [int(number) for number in re.findall(r"revision (\d)", found.citation)] == [1, 2]
    digests = re.findall(r"digest ([0-9a-f]{12})", found.citation)
    assert digests == [golden().digest[:12], grown().digest[:12]]


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ((False, False), ""),
        ((True, True), "(both synthetic)"),
        ((True, False), "WARNING: only the first is synthetic"),
        ((False, True), "WARNING: only the second is synthetic"),
    ],
)
def test_the_headline_warns_where_one_is_synthetic_and_the_other_is_not(
    kinds: tuple[bool, bool], said: str, tmp_path: Path
) -> None:
    before = saved(golden(), tmp_path / "before", synthetic=kinds[0])
    after = saved(grown(), tmp_path / "after", synthetic=kinds[1])
    headline = karez.compare(before, after).headline
    assert said in headline
    assert ("synthetic" in headline) == bool(said)


def test_the_problems_of_both_networks_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(CompareQuestion(before=str(tmp_path / "one"), after=str(tmp_path / "other")))
    assert [Path(problem.where).name for problem in caught.value.problems] == ["one", "other"]
    folder = saved(golden(), tmp_path / "network")
    with pytest.raises(InputError, match="holds no revision 7"):
        run(CompareQuestion(before=folder, after=folder, after_revision=7))


def test_a_network_without_what_is_counted_is_refused(tmp_path: Path) -> None:
    bare = golden().replace(Table.of("places"))
    with pytest.raises(InputError, match=r"before: revision 1 holds nothing that the weight 'place' counts"):
        compared(bare, golden(), tmp_path, weight="place")


def test_its_tables_can_be_had_as_csv(tmp_path: Path) -> None:
    found = compared(golden(), without_m2(), tmp_path)
    assert text.csv(found, "metros_only_after") == b"id,name,weight,covered_share\nM4,,0.0,\n"
