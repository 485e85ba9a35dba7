from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from karez.errors import InputError
from karez.importers.generate import nation
from karez.operations import GenerateQuestion, PlanUpgradesQuestion
from karez.operations import generate as generate_operation
from karez.operations import plan_upgrades as operation
from karez.plan.check import CERTIFICATES, check
from karez.plan.plan import Plan, applied
from karez.twin import World, store
from karez.twin.table import text


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("upgrades") / "network")
    generate_operation.run(GenerateQuestion(output=folder, stations=20_000, sites=60))
    return folder


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Cheap upgrades of a hundred backbone links."""
    links = nation(stations=20_000, sites=60, seed=1)["links"]
    ids = [text(link) for link in links.ids[links["kind"] == b"backbone"][:100]]
    path = tmp_path_factory.mktemp("listed") / "upgrades.csv"
    kinds = ("bypass", "straighter duct")
    rows = [f"{link},{kinds[at % 2]},{1_000 + at}" for at, link in enumerate(ids)]
    path.write_text("\n".join(["link,kind,price_cny", *rows, ""]), "utf-8")
    return str(path)


def asked(network: str, listed: str, **values: Any) -> operation.PlanUpgradesAnswer:
    question: dict[str, Any] = {"target_share": 0.6, "budget_us": 500.0, "effort": "searched"} | values
    return operation.run(PlanUpgradesQuestion(network=network, upgrades=listed, **question))


def test_cheap_upgrades_make_a_plan_cheaper_than_sites_alone_and_its_certificate_holds(
    network: str, listed: str, tmp_path: Path
) -> None:
    output = tmp_path / "plan.json"
    answer = asked(network, listed, output=str(output))
    plan = msgspec.json.decode(output.read_bytes(), type=Plan)
    twin = nation(stations=20_000, sites=60, seed=1)
    assert check(plan, World(twin, twin), at_s=plan.made_at_s) == []
    assert answer.upgrades
    assert answer.price_cny < answer.alone_cny
    assert 0 < answer.bound <= answer.price_cny
    assert answer.after_share >= 0.6
    assert "synthetic" in answer.headline


def test_a_list_is_planned_again_once_some_of_it_is_done_and_the_answer_says_how_much(
    network: str, listed: str, tmp_path: Path
) -> None:
    first = asked(network, listed)
    assert (first.done, "done already" in first.headline) == (0, False)
    once = sum(one.kind == "bypass" for one in first.upgrades)
    assert once > 1
    twin = applied(first.plan.actions, nation(stations=20_000, sites=60, seed=1))
    folder = tmp_path / "network"
    store.save(twin, folder, at_s=0.0, note="applied", source="test", synthetic=True)
    again = asked(str(folder), listed, target_share=0.65)
    assert again.done == once
    assert f"; {once} upgrades of the list are done already" in again.headline
    done = {(one.link, one.kind) for one in first.upgrades if one.kind == "bypass"}
    assert not done & {(one.link, one.kind) for one in again.upgrades}


def test_a_bound_or_a_price_that_was_tampered_with_is_found_out(network: str, listed: str) -> None:
    plan = asked(network, listed).plan
    twin = nation(stations=20_000, sites=60, seed=1)
    verify, world = CERTIFICATES["upgrades"], World(twin, twin)
    assert verify(plan, world) == []
    raised = msgspec.structs.replace(plan.proof, bound=plan.proof.bound * 1.05, value=plan.proof.value * 1.05)
    assert verify(msgspec.structs.replace(plan, proof=raised), world)
    # The bound alone, above what its duals prove and not above the value.
    assert plan.proof.bound < plan.proof.value
    alone = msgspec.structs.replace(plan.proof, bound=plan.proof.value)
    assert any("bound" in problem.what for problem in verify(msgspec.structs.replace(plan, proof=alone), world))
    assert verify(msgspec.structs.replace(plan, price_cny=plan.price_cny - 1_000.0), world)
    assert verify(msgspec.structs.replace(plan, actions=plan.actions[1:]), world)


WRONG = {
    "unknown": ("nowhere,bypass,5", "nowhere"),
    "kind": ("l0024337,magic,5", "has the kind magic"),
    "negative": ("l0024337,bypass,-5", "has the price -5"),
    "missing": ("l0024337,bypass,", "price"),
    "twice": ("l0024337,bypass,5\nl0024337,bypass,6", "l0024337"),
}


@pytest.mark.parametrize(("rows", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_list_of_upgrades_is_refused(rows: str, told: str, network: str, tmp_path: Path) -> None:
    path = tmp_path / "upgrades.csv"
    path.write_text(f"link,kind,price_cny\n{rows}\n", "utf-8")
    with pytest.raises(InputError, match=told):
        asked(network, str(path))
