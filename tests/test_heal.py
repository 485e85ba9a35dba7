"""A plan of a planner, brought to the loop by a person, on a synthetic nation: refused, proposed or carried out."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import karez
from karez.loop.recorded import recorded
from karez.operations.heal_run import HealRunAnswer
from karez.plan import Plan


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network and a plan of what to build."""
    folder = tmp_path_factory.mktemp("made")
    karez.generate(output=str(folder / "network"), stations=20_000)
    karez.plan_coverage(network=str(folder / "network"), target_share=0.6, output=str(folder / "plan.json"))
    return folder


def _healed(made: Path, record: Path, *, plan: str = "plan.json", approve: str = "") -> HealRunAnswer:
    answer = karez.heal_run(
        network=str(made / "network"), record=str(record), level="act", turns=40, plan=str(made / plan), approve=approve
    )
    assert isinstance(answer, HealRunAnswer)
    return answer


def test_an_order_that_nobody_approves_waits_and_is_not_placed(made: Path, tmp_path: Path) -> None:
    assert "the plan brought was proposed (order_equipment cannot be undone" in _healed(made, tmp_path / "r").headline
    _, decided = recorded(tmp_path / "r")
    assert not any(c.actions[0].kind == "order_equipment" for turn in decided for c in turn.commands)


def test_an_order_that_a_person_approves_is_placed_whole_and_recorded_with_the_name(made: Path, tmp_path: Path) -> None:
    assert "the plan brought was applied" in _healed(made, tmp_path / "r", approve="Li Wei").headline
    plan = msgspec.json.decode((made / "plan.json").read_bytes(), type=Plan)
    _, decided = recorded(tmp_path / "r")
    orders = [c for turn in decided for c in turn.commands if c.actions[0].kind == "order_equipment"]
    assert [(order.actions, order.approved_by) for order in orders] == [(plan.actions, "Li Wei")]
    assert karez.heal_replay(network=str(made / "network"), record=str(tmp_path / "r")).ended


def test_a_plan_that_was_tampered_with_is_refused_by_the_loop(made: Path, tmp_path: Path) -> None:
    plan = msgspec.json.decode((made / "plan.json").read_bytes(), type=Plan)
    cheaper = msgspec.structs.replace(plan, price_cny=1.0)
    (made / "cheaper.json").write_bytes(msgspec.json.encode(cheaper))
    answer = _healed(made, tmp_path / "r", plan="cheaper.json", approve="Li Wei")
    assert "the plan brought was refused" in answer.headline
    assert answer.found_after_s is not None
