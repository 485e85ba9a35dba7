"""The shadow report: each way that a finding can turn out, brought about in a network and told as such."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from karez.adapters.embedded import FOREVER_S, EmbeddedNetwork, Fault
from karez.loop.state import Approval, State
from karez.measure.maturity import ALL
from karez.operations.heal_report import RIGHT
from karez.plan import Action, Cell, Plan, Proof
from tests.healing import FAULT_S, START_S, ran
from tests.test_networks import TABLES, asked, imported, refused

SLOW = Fault("link_slow", "L1", START_S + FAULT_S, START_S + 30, size_us=5_000.0)
FOR_GOOD = msgspec.structs.replace(SLOW, until_s=FOREVER_S)
DEAF = Fault("deaf", "L1", START_S + FAULT_S, FOREVER_S)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imported(tmp_path_factory.mktemp("small"), TABLES)


def drain(at_s: float, link: str = "L1") -> Action:
    return Action(
        kind="drain_link",
        subject=link,
        sets=(Cell("links", link, "drained", False, True),),
        blast_radius=(link,),
        expires_at_s=at_s + 60.0,
    )


def drained_by_hand(after_s: float, state: State, network: EmbeddedNetwork) -> None:
    """A person drains the link themselves, five seconds after the fault began."""
    if after_s == FAULT_S + 5:
        assert network.apply(drain(START_S + after_s), START_S + after_s) == ""


def dearer(at_s: float) -> Action:
    return Action(
        kind="set_cost",
        subject="L1",
        sets=(Cell("links", "L1", "cost", 0, 50_000),),
        blast_radius=("L1",),
        expires_at_s=at_s + 60.0,
    )


def brought(
    at_s: float, state: State, act: Callable[[float], Action] = dearer
) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
    """A person brings a plan of their own, and says yes to it; the loop's proposal is not approved."""
    if at_s == START_S + FAULT_S + 5:
        plan = Plan(
            planner="by hand",
            question={},
            revision=state.intended.digest,
            made_at_s=at_s,
            reads=(),
            actions=(act(at_s),),
            price_cny=0.0,
            proof=Proof(value=0.0, bound=0.0, unit="Gbit/s x us", how="a person knows best"),
        )
        return (plan,), ()
    return (), tuple(Approval(plan.id, "Li Wei") for plan in state.waiting if plan.planner == "by hand")


CASES: dict[str, Callable[[Path, Path], Path]] = {
    "mended": lambda net, record: ran(net, record, SLOW, level="act"),
    "undone": lambda net, record: ran(net, record, SLOW, DEAF, level="act"),
    "same by others": lambda net, record: ran(net, record, SLOW, besides=drained_by_hand),
    "otherwise": lambda net, record: ran(net, record, SLOW, level="advise", people=brought),
    "stayed": lambda net, record: ran(net, record, FOR_GOOD),
    "went by itself": lambda net, record: ran(net, record, SLOW),
}


@pytest.mark.parametrize("outcome", CASES)
def test_a_finding_that_turned_out_so_is_told_so(outcome: str, net: Path, tmp_path: Path) -> None:
    answer = asked("heal_report", record=CASES[outcome](net, tmp_path / "r"), network=net)
    row = answer.findings[0]
    assert (row.kind, row.subject, row.outcome) == ("link_slow", "L1", outcome)
    assert row.act == "drain_link L1"
    assert row.found_s == row.decided_s
    assert 0.8 <= row.confidence_share <= 1.0
    assert row.sources >= 2
    assert (row.word == "commanded") == (outcome in ("mended", "undone"))
    assert next(each for each in answer.outcomes if each.outcome == outcome).who_was_right


def test_a_person_who_has_the_loop_carry_out_what_it_proposed_agrees_with_it(net: Path, tmp_path: Path) -> None:
    record = ran(net, tmp_path / "r", SLOW, level="advise", people=partial(brought, act=drain))
    assert asked("heal_report", record=record, network=net).findings[0].outcome == "same by others"


def test_the_counts_by_kind_and_by_outcome_are_those_of_the_rows(net: Path, tmp_path: Path) -> None:
    other = Fault("link_slow", "L3", START_S + 35, FOREVER_S, size_us=5_000.0)
    record = ran(net, tmp_path / "r", SLOW, other, turns=80)
    answer = asked("heal_report", record=record, network=net)
    assert sum(each.findings for each in answer.outcomes) == len(answer.findings) >= 2
    assert sum(each.found for each in answer.kinds) == len(answer.findings)
    for each in answer.kinds:
        assert each.found == each.mended + each.undone + each.same_by_others + each.otherwise + each.stayed + each.went
        alone = asked("heal_report", record=record, network=net, kind=each.kind)
        assert {row.kind for row in alone.findings} == {each.kind}
        assert len(alone.findings) == each.found
    assert "no finding is of kind 'fire'; give one of" in refused(
        "heal_report", record=record, network=net, kind="fire"
    )


def test_a_quiet_run_has_nothing_to_report_and_shows_no_level(net: Path, tmp_path: Path) -> None:
    record = ran(net, tmp_path / "r", turns=20)
    assert asked("heal_report", record=record, network=net).headline == "Nothing was found in 20 s at level observe"
    quiet = asked("heal_maturity", record=record, network=net)
    assert (quiet.level, quiet.levels, quiet.tasks) == (None, (), ())
    assert "nothing was found in this run" in refused("heal_report", record=record, network=net, kind="link_slow")


def test_every_outcome_has_a_word_on_who_was_right() -> None:
    assert set(CASES) <= set(RIGHT)


LEVELS: dict[str, tuple[float, str]] = {
    "mended": (3.0, "intent_experience"),
    "stayed": (0.0, "execution"),
    "undone": (1.0, "execution"),
}


@pytest.mark.parametrize("outcome", LEVELS)
def test_a_run_shows_the_level_that_who_did_what_in_it_deserves(outcome: str, net: Path, tmp_path: Path) -> None:
    answer = asked("heal_maturity", record=CASES[outcome](net, tmp_path / "r"), network=net)
    assert (answer.level, answer.levels[0].bounded_by) == LEVELS[outcome]
    assert answer.levels[0].scenario == ALL
    for row in answer.tasks:
        assert row.alone + row.with_a_person + row.person_alone >= 1
    assert answer.levels[0].findings == sum(each.findings for each in answer.levels[1:])


def test_what_a_person_chose_counts_as_the_persons(net: Path, tmp_path: Path) -> None:
    answer = asked("heal_maturity", record=CASES["otherwise"](net, tmp_path / "r"), network=net)
    chosen: list[Any] = [row for row in answer.tasks if row.task == "J" and row.scenario == ALL]
    assert chosen[0].person_alone >= 1
