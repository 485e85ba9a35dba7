"""Two plans held against each other: what only one does, what moves, what was asked otherwise."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karez.errors import InputError
from karez.faces import cli
from karez.operations import PlanDiffQuestion
from karez.operations import plan_diff as operation
from karez.operations.plan_diff import PlanDiffAnswer
from karez.plan.plan import Action, Cell, NewRow, Plan, Proof
from karez.twin.schema import Value

# The middle of 2026, 2027 and 2028.
MIDDLES_S = {"2026": 1_782_900_000.0, "2027": 1_814_400_000.0, "2028": 1_846_000_000.0}
SITES = ("a", "b", "c", "d", "站")


def built(site: str, year: str = "2027", later_s: float = 0.0, **values: Value) -> Action:
    at_s = MIDDLES_S[year] + later_s
    new: dict[str, Value] = {"site": site, "kind": "edge_inference", "valid_from_s": at_s}
    adds = (NewRow("equipment", f"edge-{site}", new | values),)
    return Action(kind="order_equipment", subject=site, adds=adds, expires_at_s=at_s, ends_at_s=at_s)


def drained(link: str, kind: str = "drain_link", *, is_drained: bool = True) -> Action:
    sets = (Cell("links", link, "drained", not is_drained, is_drained),)
    return Action(kind=kind, subject=link, sets=sets, expires_at_s=0.0)


def plan_of(
    *actions: Action,
    prices_cny: dict[str, float] | None = None,
    kept: Sequence[str] = (),
    planner: str = "coverage",
    revision: str = "r1",
    made_at_s: float = 0.0,
    **question: Value,
) -> Plan:
    """A plan; of coverage, its candidates are those of the price list, 10 CNY each without one."""
    prices = dict.fromkeys(SITES, 10.0) if prices_cny is None else prices_cny
    sites = [*(action.subject for action in actions), *kept]
    cost = sum(prices.get(site, 0.0) for site in sites)
    return Plan(
        planner=planner,
        question=question,
        revision=revision,
        made_at_s=made_at_s,
        reads=(),
        actions=actions,
        price_cny=cost,
        proof=Proof(
            value=cost,
            bound=cost / 2,
            unit="CNY",
            how="",
            certificate={
                "candidates": tuple(prices),
                "prices_fen": tuple(100 * price for price in prices.values()),
                "sites": tuple(sites),
            },
        ),
    )


def compared(folder: Path, before: Plan, after: Plan) -> PlanDiffAnswer:
    paths = folder / "before.json", folder / "after.json"
    for path, plan in zip(paths, (before, after), strict=True):
        path.write_bytes(msgspec.json.encode(plan))
    return operation.run(PlanDiffQuestion(before=str(paths[0]), after=str(paths[1])))


def test_it_tells_what_only_one_builds_and_what_moves_to_another_year(tmp_path: Path) -> None:
    before = plan_of(built("a"), built("b"), built("c", "2026"), revision="r" * 64)
    after = plan_of(built("b"), built("c", "2028"), built("d"), built("站"), revision="r" * 64)
    found = compared(tmp_path, before, after)
    assert [(one.subject, one.year, one.price_cny) for one in found.only_before] == [("a", "2027", 10.0)]
    assert [one.subject for one in found.only_after] == ["d", "站"]
    assert [(one.subject, one.before_year, one.after_year) for one in found.moved] == [("c", "2026", "2028")]
    assert (found.unchanged, found.changed, found.asked) == (1, (), ())
    assert (found.before.price_cny, found.after.price_cny, found.after.bound) == (30.0, 40.0, 20.0)
    assert found.after.gap_share == 0.5
    assert found.headline == (
        "The second plan adds 2 sites, leaves out 1 site, moves 1 to another year, for 10 CNY more (30 CNY before); "
        "the same was asked, of the same revision"
    )


def test_a_plan_does_not_differ_from_itself(tmp_path: Path) -> None:
    plan = plan_of(built("a"), built("b", "2026"), kept=["c"])
    found = compared(tmp_path, plan, plan)
    assert found.headline == f"No difference: both are plan {plan.id}"
    assert (found.unchanged, found.same_revision, found.same_question) == (3, True, True)
    assert (found.only_before, found.only_after, found.moved, found.changed, found.repriced) == ((), (), (), (), ())


def test_one_file_may_be_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(msgspec.json.encode(plan_of(built("a"))))
    assert "No difference" in operation.run(PlanDiffQuestion(before=str(path), after=str(path))).headline


def test_a_plan_made_again_later_in_the_year_does_the_same(tmp_path: Path) -> None:
    before = plan_of(built("a"), service_at_s=1.0)
    after = plan_of(built("a", later_s=86_400.0), made_at_s=9.0, service_at_s=2.0)
    found = compared(tmp_path, before, after)
    assert found.headline.startswith("No difference in what is done (1 act in both), for the same 10 CNY")
    assert (found.unchanged, found.same_question) == (1, True)


def test_what_was_asked_otherwise_is_told_by_name(tmp_path: Path) -> None:
    before = plan_of(targets="1000=0.75", spare=0, money_cny=-1.0, lock="")
    after = plan_of(targets="1000=0.8", spare=0, money_cny=5e6, lock="a,b", revision="r2")
    found = compared(tmp_path, before, after)
    assert [(one.what, one.before, one.after) for one in found.asked] == [
        ("targets", "1000=0.75", "1000=0.8"),
        ("money_cny", "none", "5000000"),
        ("lock", "none", "a,b"),
    ]
    assert not found.same_revision
    assert "asked otherwise (targets, money_cny, lock), of different revisions" in found.headline


def test_other_candidates_and_other_prices_are_something_asked_otherwise(tmp_path: Path) -> None:
    before = plan_of(built("a"), prices_cny={"a": 10.0, "b": 20.0})
    after = plan_of(built("b"), prices_cny={"b": 30.0, "c": 5.0, "d": 5.0})
    found = compared(tmp_path, before, after)
    assert [(one.what, one.before, one.after) for one in found.asked] == [
        ("candidates", "2 sites, 1 of them only here", "3 sites, 2 of them only here"),
        ("prices of 1 site", "20 CNY for all in both", "30 CNY for all in both"),
    ]
    assert [(one.site, one.before_cny, one.after_cny) for one in found.repriced] == [("b", 20.0, 30.0)]
    assert (found.only_before[0].price_cny, found.only_after[0].price_cny) == (10.0, 30.0)


def test_sites_that_a_plan_keeps_are_told_apart_from_those_it_builds(tmp_path: Path) -> None:
    found = compared(tmp_path, plan_of(built("a"), kept=["b", "c"]), plan_of(built("a"), kept=["c", "d"]))
    assert [(one.what, one.subject, one.year) for one in found.only_before] == [("keep", "b", None)]
    assert [(one.what, one.subject) for one in found.only_after] == [("keep", "d")]
    assert "keeps 1 site, no longer keeps 1 site" in found.headline


def test_plans_of_any_planner_are_compared_by_their_actions(tmp_path: Path) -> None:
    job = Action(
        kind="start_job",
        subject="J1",
        adds=(NewRow("assignments", "x1", {"job": "J1", "server": "G1", "from_s": 5.0}),),
        expires_at_s=9.0,
    )
    elsewhere = NewRow("assignments", "x1", {"job": "J1", "server": "G2", "from_s": 6.0})
    moved = msgspec.structs.replace(job, adds=(elsewhere,))
    before = plan_of(job, drained("L1"), drained("L2"), planner="heal", finding="F1")
    after = plan_of(moved, drained("L1"), drained("L2", "undrain_link", is_drained=False), planner="heal", finding="F1")
    found = compared(tmp_path, before, after)
    assert [(one.subject, one.cell, one.before, one.after) for one in found.changed] == [
        ("J1", "assignments[x1].server", "G1", "G2")
    ]
    assert [(one.what, one.year, one.price_cny) for one in found.only_before] == [("drain link", None, None)]
    assert [one.what for one in found.only_after] == ["undrain link"]
    assert "does 1 other act, leaves undone 1 other act, does 1 otherwise" in found.headline


def test_plans_of_two_planners_say_so(tmp_path: Path) -> None:
    found = compared(tmp_path, plan_of(built("a")), plan_of(drained("L1"), planner="heal", finding="F1"))
    assert [(one.what, one.before, one.after) for one in found.asked] == [
        ("planner", "coverage", "heal"),
        ("finding", None, "F1"),
    ]


acts = st.lists(st.tuples(st.sampled_from(SITES), st.sampled_from(sorted(MIDDLES_S)), st.integers(1, 2)), max_size=8)


@given(acts, acts, st.randoms(use_true_random=False))
def test_every_act_is_counted_once_whatever_the_order_and_the_side(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[tuple[str, str, int]],
    after: list[tuple[str, str, int]],
    chance: random.Random,
) -> None:
    folder = tmp_path_factory.mktemp("plans")
    olds, news = ([built(site, year, units=units) for site, year, units in one] for one in (before, after))
    found, back = compared(folder, plan_of(*olds), plan_of(*news)), compared(folder, plan_of(*news), plan_of(*olds))
    moved_or_changed = len(olds) - len(found.only_before) - found.unchanged
    assert moved_or_changed == len(news) - len(found.only_after) - found.unchanged
    assert max(len(found.moved), len(found.changed)) <= moved_or_changed <= len(found.moved) + len(found.changed)
    assert (found.only_before, found.only_after) == (back.only_after, back.only_before)
    assert [(one.before_year, one.after_year) for one in found.moved] == [
        (one.after_year, one.before_year) for one in back.moved
    ]
    # Sites that a plan takes twice in one year are alike in all but what they add.
    if len({(site, year) for site, year, _ in before}) == len(before):
        again = compared(folder, plan_of(*chance.sample(olds, len(olds))), plan_of(*news))
        assert (again.only_before, again.moved, again.changed) == (found.only_before, found.moved, found.changed)


def test_everything_wrong_with_both_files_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "no-plan.json").write_text('{"planner": 5}')
    with pytest.raises(InputError) as raised:
        operation.run(PlanDiffQuestion(before=str(tmp_path / "missing.json"), after=str(tmp_path / "no-plan.json")))
    assert [Path(one.where).name for one in raised.value.problems] == ["missing.json", "no-plan.json"]
    assert "is no plan" in raised.value.problems[1].what


@pytest.mark.parametrize(
    "certificate",
    [
        {"candidates": ("a", "b"), "prices_fen": (1.0,)},
        {"candidates": ("a",), "prices_fen": ("dear",)},
        {"candidates": ("a",)},
    ],
)
def test_a_certificate_without_a_price_for_each_candidate_is_refused(
    tmp_path: Path, certificate: dict[str, tuple[float | str, ...] | float | str]
) -> None:
    plan = plan_of(built("a"))
    spoilt = msgspec.structs.replace(plan, proof=msgspec.structs.replace(plan.proof, certificate=certificate))
    with pytest.raises(InputError, match=r"after\.json: has other than a price"):
        compared(tmp_path, plan, spoilt)


def test_two_plans_of_a_network_differ_by_what_was_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = str(tmp_path / "net")
    assert cli.main(["generate", network, "--stations", "20000", "--quiet"]) == 0
    for name, share in (("less", "0.6"), ("more", "0.7")):
        words = ["--target-share", share, "--output", str(tmp_path / name)]
        assert cli.main(["plan", "coverage", network, *words, "--quiet"]) == 0
    capsys.readouterr()
    assert cli.main(["plan", "diff", str(tmp_path / "less"), str(tmp_path / "more")]) == 0
    told = capsys.readouterr().out
    plans = [msgspec.json.decode((tmp_path / name).read_bytes(), type=Plan) for name in ("less", "more")]
    less, more = ({action.subject for action in plan.actions} for plan in plans)
    found = operation.run(PlanDiffQuestion(before=str(tmp_path / "less"), after=str(tmp_path / "more")))
    assert {one.subject for one in found.only_before} == less - more
    assert {one.subject for one in found.only_after} == more - less
    assert found.unchanged == len(less & more)
    extra_cny = sum(one.price_cny or 0.0 for one in found.only_after)
    assert plans[0].price_cny + extra_cny - sum(one.price_cny or 0.0 for one in found.only_before) == (
        plans[1].price_cny
    )
    assert [one.what for one in found.asked] == ["targets"]
    assert "(synthetic)" in told.splitlines()[0]
