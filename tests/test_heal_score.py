"""The score of many incidents: what is counted, that it adds up, and that a token plays the same incident again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karez.scenario.incidents import Outcome
from karez.scenario.score import calibration_error, confusion, f1, failures, reliability, score, times_of
from tests.healing import meshed
from tests.test_networks import TABLES, asked, imported, refused

Pairs = tuple[tuple[str, str], ...]
SLOW: Pairs = (("link_slow", "l1"),)
DEAD: Pairs = (("router_dead", "r1"),)


def outcome(label: Pairs, found: Pairs, *, kind: str = "", **more: object) -> Outcome:
    name = kind or (label[0][0] if label else "none")
    more = {"sure": (1.0,) * len(found)} | more
    return Outcome(token="t", kind=name, mismatch="none", label=label, found=found, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return meshed(tmp_path_factory.mktemp("mesh"))


def test_what_was_found_right_wrong_or_not_at_all_is_counted_by_pairs() -> None:
    found = score(
        [
            outcome(SLOW, SLOW),
            outcome(SLOW, (("link_slow", "l2"),)),
            outcome(DEAD, ()),
            outcome(DEAD, (*DEAD, *SLOW)),
            outcome((), SLOW),
            outcome((), (), kind="noise"),
        ]
    )
    assert (found.incidents, found.with_trace) == (6, 4)
    assert found.detection_share == 3 / 4
    assert found.recall_share == 2 / 4
    assert found.precision_share == 2 / 4
    assert found.f1 == pytest.approx(0.5)
    assert found.false_findings == 1
    assert {(each.true, each.told): each.times for each in found.confusion} == {
        ("link_slow", "link_slow"): 1,
        ("router_dead", "nothing"): 1,
        ("router_dead", "link_slow"): 1,
        ("none", "link_slow"): 1,
    }


def test_what_is_told_where_nothing_is_to_be_found_lowers_f1_of_all_and_not_of_those_with_a_trace() -> None:
    outcomes = [outcome(SLOW, SLOW), outcome((), DEAD)]
    assert score(outcomes).f1 == 1.0
    assert f1(outcomes) == pytest.approx(2 / 3)
    assert (f1([outcome((), DEAD)]), f1([outcome((), ())])) == (0.0, None)


def test_times_are_of_those_that_came_to_it() -> None:
    times = times_of("found", [1.0, None, 2.0, 3.0, None])
    assert (times.incidents, times.median_s) == (3, 2.0)
    assert times.p90_s == pytest.approx(2.8)
    assert times_of("found", [None]).median_s is None


def test_nothing_to_find_has_no_share() -> None:
    found = score([outcome((), ())])
    assert (found.f1, found.detection_share, found.recall_share) == (None, None, None)
    assert score([]).incidents == 0


PAIR = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]))
OUTCOMES = st.lists(
    st.builds(
        outcome,
        st.lists(PAIR, max_size=1).map(tuple),
        st.lists(PAIR, max_size=3, unique=True).map(tuple),
        harmed=st.booleans(),
        undone=st.integers(0, 2),
        acts=st.lists(st.just("drain_link l1"), max_size=2).map(tuple),
        first_s=st.none() | st.floats(0, 30),
    )
)


@given(OUTCOMES, st.randoms(use_true_random=False))
def test_the_order_changes_nothing_and_what_is_told_by_kind_adds_up(
    outcomes: list[Outcome], chance: random.Random
) -> None:
    found = score(outcomes)
    assert score(chance.sample(outcomes, len(outcomes))) == found
    assert sum(kind.incidents for kind in found.kinds) == found.incidents
    assert sum(kind.harmed for kind in found.kinds) == found.harmed
    assert sum(kind.undone for kind in found.kinds) == found.undone
    if found.f1 is not None and found.precision_share and found.recall_share:
        product, total = found.precision_share * found.recall_share, found.precision_share + found.recall_share
        assert found.f1 == pytest.approx(2 * product / total)


@given(OUTCOMES)
def test_what_went_as_it_should_is_no_failure_and_everything_else_is_one(outcomes: list[Outcome]) -> None:
    for one in outcomes:
        is_well = set(one.label) == set(one.found) and not one.harmed
        assert (failures(one) == ()) == is_well
        assert all(failure.token == one.token for failure in failures(one))
        assert bool(confusion([one])) == (set(one.label) != set(one.found))


def test_incidents_are_played_and_a_token_plays_one_again(net: Path) -> None:
    kinds = "link_slow,router_dead"
    many = asked("heal_score", network=net, incidents=3, seed=7, kinds=kinds, matched_share=1.0)
    assert many.incidents == many.with_trace == 3
    assert {kind.kind for kind in many.kinds} <= set(kinds.split(","))
    digest = many.citation.partition("digest ")[2][:8]
    one = asked("heal_score", network=net, token=f"{digest}/7/1/1/{kinds}")
    assert one.fault.kind in kinds
    assert one.incident.label == ((one.fault.kind, one.fault.subject),)
    assert one.incident.token == f"{digest}/7/1/1/{kinds}"
    assert {(event.why, event.subject) for event in one.timeline if event.what == "found"} >= set(one.incident.found)
    assert all(known.confidence_share >= 0.5 for known in one.known)
    again = asked("heal_score", network=net, token=f"{digest}/7/1/1/{kinds}")
    assert again == one


def test_processes_side_by_side_give_the_same_as_one_after_another(net: Path) -> None:
    question = {"network": net, "incidents": 2, "kinds": "link_cut", "matched_share": 1.0}
    assert asked("heal_score", **question, jobs=2) == asked("heal_score", **question)


def test_a_network_without_anything_to_break_is_played_without_fault(tmp_path: Path) -> None:
    bare = imported(tmp_path, {name: TABLES[name] for name in ("provinces", "metros")})
    answer = asked("heal_score", network=bare, incidents=1, kinds="link_slow", matched_share=1.0)
    assert (answer.incidents, answer.with_trace, answer.false_findings) == (1, 0, 0)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"token": "17"}, "token: '17' is none; give one that heal score printed"),
        ({"token": "00000000/1/2"}, "is of another network than"),
        ({"token": "00000000/1/-2"}, "is none"),
        ({"token": "00000000/1/2/1"}, "is none"),
        ({"token": "00000000/1/2/nan/"}, "is none"),
        ({"kinds": "link_slow,fire"}, "kinds: 'fire' is no kind of fault; give some of link_cut"),
    ],
)
def test_what_is_no_token_or_kind_is_refused_in_a_sentence(net: Path, values: dict[str, str], told: str) -> None:
    assert told in refused("heal_score", network=net, **values)


def test_confidence_is_held_against_the_share_that_was_right() -> None:
    outcomes = [
        *(outcome(SLOW, SLOW, sure=(sure,)) for sure in (0.95, 0.91)),
        *(outcome(SLOW, DEAD, sure=(sure,)) for sure in (0.93, 0.55)),
    ]
    low, high = reliability(outcomes)
    assert (low.least_confidence, low.findings, low.right_share) == (0.5, 1, 0.0)
    assert (high.least_confidence, high.findings) == (0.9, 3)
    assert high.confidence_share == pytest.approx(0.93)
    assert high.right_share == pytest.approx(2 / 3)
    assert calibration_error([low, high]) == pytest.approx((0.55 + 3 * (0.93 - 2 / 3)) / 4)
    assert calibration_error([]) is None
