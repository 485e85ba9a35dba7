"""Why the loop did what it did: told from the record alone, and true to it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from karez.adapters.embedded import FOREVER_S, Fault
from karez.faces import text
from karez.loop.state import Approval, State
from karez.operations import networks
from karez.operations.heal import SETTING, Setting, setting
from karez.plan import Plan
from karez.plan.heal import heal
from karez.record.log import Record
from tests.healing import FAULT_S, START_S, meshed, ran
from tests.test_networks import TABLES, altered, asked, imported, refused

SLOW = Fault("link_slow", "L1", START_S + FAULT_S, START_S + 30, size_us=5_000.0)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imported(tmp_path_factory.mktemp("small"), TABLES)


@pytest.fixture(scope="module")
def acted(net: Path) -> Path:
    asked("heal_run", network=net, record=net.parent / "acted", level="act", subject="L1", turns=140)
    return net.parent / "acted"


def plan_of(record: Path, number: int = 0) -> str:
    return str(asked("heal_explain", record=record).plans[number].plan)


def explained(record: Path, **more: Any) -> Any:
    return asked("heal_explain", record=record, **more)


def test_a_record_lists_its_plans_with_what_came_of_them(acted: Path) -> None:
    answer = explained(acted)
    assert [(row.does, row.because, row.came_of_it) for row in answer.plans] == [
        ("drain_link L1", "link_slow/L1", "verified"),
        ("undrain_link L1", "took back for link_slow/L1", "verified"),
    ]


def test_a_plan_that_was_taken_is_told_from_its_signals_to_its_end(acted: Path) -> None:
    answer = explained(acted, plan=plan_of(acted)[:6])
    why = answer.why
    assert answer.headline.startswith("The loop decided to drain link L1 at 3")
    assert "link slow L1" in why.found
    assert "independent sources" in why.found
    assert "delay on L1 from a to b of" in why.evidence
    assert "by probe at S2" in why.evidence
    assert "do nothing (" in why.weighed
    assert "links[L1].drained == False" in why.relied_on
    assert why.gate == "level act, within its budgets; it acts alone from 80% and 2 sources on"
    assert why.approved == "by nobody; none was asked for"
    assert "drain link L1 at 3" in why.commanded
    assert why.replied.startswith("done, told at 3")
    assert why.verified.startswith("seen to be so at 3")
    assert why.taken_back == "no"
    assert [row.name for row in answer.candidates if row.taken] == ["drain link L1"]
    assert next(row for row in answer.candidates if row.name == "do nothing").score > answer.candidates[0].score
    assert sum(row.confidence_share for row in answer.causes) <= 1.0
    assert {row.source for row in answer.evidence} >= {"probe at S1", "probe at S2"}


def test_what_was_held_and_given_back_says_so(acted: Path) -> None:
    answer = explained(acted, plan=plan_of(acted, 1))
    assert "because link slow L1 was gone and its mending could be taken back" in answer.headline
    assert answer.why.weighed == "nothing besides"


def test_a_turn_tells_what_came_in_what_was_known_and_what_was_decided(acted: Path) -> None:
    at_s = explained(acted).plans[0].after_s
    after, unix = (
        explained(acted, turn=turn) for turn in (at_s, networks.load(str(acted.parent / "net"))[1].at_s // 1 + at_s)
    )
    assert after == unix
    assert "signals" in after.turn.told
    assert "delay on L1" in after.turn.noticed
    assert after.turn.known.startswith("link slow L1 (")
    assert "drain link L1 (plan " in after.turn.decided
    assert after.turn.under_way == "drain link L1 (sent)"
    assert explained(acted, turn=5).headline == "The turn at 5 s decided nothing new"


def test_an_act_that_was_seen_by_nobody_tells_that_it_was_undone_and_why(net: Path, tmp_path: Path) -> None:
    deaf = Fault("deaf", "L1", START_S + FAULT_S, FOREVER_S)
    record = ran(net, tmp_path / "r", SLOW, deaf, level="act", turns=40)
    why = explained(record, network=net, plan=plan_of_named(record, net)).why
    assert "undone at" in why.taken_back
    assert "link_states[L1].drained == True" in why.taken_back
    assert why.verified == "nothing was seen of it"
    assert "take back drain link L1" in why.commanded
    assert asked("heal_report", record=record, network=net).findings[0].outcome == "undone"


def plan_of_named(record: Path, net: Path) -> str:
    return str(asked("heal_explain", record=record, network=net).plans[0].plan)


def test_a_proposal_says_what_is_asked_of_a_person_and_who_said_yes(net: Path, tmp_path: Path) -> None:
    def people(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
        waits = [plan for plan in state.waiting if plan.planner == "heal"] if at_s >= START_S + FAULT_S + 5 else []
        return (), tuple(Approval(plan.id, "Li Wei") for plan in waits)

    record = ran(net, tmp_path / "r", SLOW, level="advise", turns=30, people=people)
    answer = explained(record, network=net, plan=plan_of_named(record, net))
    assert answer.headline.startswith("The loop proposed to drain link L1")
    assert "a person is asked: the level is advise" in answer.why.gate
    assert answer.why.approved.startswith("Li Wei at 1")
    assert "approved by Li Wei" in answer.why.commanded


def test_a_plan_of_a_person_is_told_as_one(net: Path, tmp_path: Path) -> None:
    def people(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
        if at_s != START_S + FAULT_S + 6:
            return (), ()
        plan = heal(state.world, "link_slow/L1", at_s=at_s)
        assert plan is not None
        return (plan,), ()

    record = ran(net, tmp_path / "r", SLOW, level="observe", turns=20, people=people)
    row = next(row for row in explained(record, network=net).plans if row.after_s == FAULT_S + 6)
    assert "because a person brought the plan" in explained(record, network=net, plan=row.plan).headline


def test_a_network_that_has_moved_is_asked_for_and_found_where_it_is_said_to_be(tmp_path: Path) -> None:
    mine, record = imported(tmp_path, TABLES), tmp_path / "r"
    asked("heal_run", network=mine, record=record, turns=5, fault="none")
    assert explained(record).plans == ()
    mine.rename(tmp_path / "moved")
    assert "where none is; say where it is: --network FOLDER" in refused("heal_explain", record=record)
    assert explained(record, network=tmp_path / "moved").plans == ()


def test_a_record_leads_nobody_out_of_the_folder_that_it_lies_in(net: Path, tmp_path: Path) -> None:
    asked("heal_run", network=net, record=tmp_path / "r", turns=3, fault="none")
    assert setting(str(tmp_path / "r")).network == ""
    for named in (str(net), f"../{net.parent.name}/net", "linked"):
        record = tmp_path / f"r{len(named)}"
        (tmp_path / "linked").unlink(missing_ok=True)
        (tmp_path / "linked").symlink_to(net)
        ran(net, record, turns=2)
        with sqlite3.connect(record) as base:
            base.execute("DELETE FROM events WHERE seq > 0")
        with Record(record, resume=True) as open_record:
            open_record.append(SETTING, START_S, msgspec.json.encode(Setting(network=named)))
        assert "say where it is: --network FOLDER" in refused("heal_explain", record=record)


@pytest.mark.parametrize("name", ["heal_explain", "heal_report", "heal_maturity", "heal_alarms"])
def test_a_record_that_does_not_say_its_network_or_is_of_another_is_refused(
    name: str, net: Path, acted: Path, tmp_path: Path
) -> None:
    bare = ran(net, tmp_path / "r", turns=2)
    assert "does not say where its network lies" in refused(name, record=bare)
    assert "is the record of a run on another network" in refused(name, record=acted, network=meshed(tmp_path))
    assert "no such file" in refused(name, record=tmp_path / "none")
    assert "is no record" in refused(name, record=net / "revisions" / "000001.json")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"plan": "zz"}, "plan: 'zz' is no plan of this run; give one of "),
        ({"plan": "", "turn": 1e6}, "turn: 1e+06 is after the end of the run; give seconds after its start"),
        ({"plan": "a", "turn": 3}, "turn: cannot stand beside plan"),
    ],
)
def test_what_is_not_in_the_record_is_refused_in_a_sentence(acted: Path, values: dict[str, Any], told: str) -> None:
    assert told in refused("heal_explain", record=acted, **values)


def test_an_altered_record_explains_nothing(net: Path, tmp_path: Path) -> None:
    asked("heal_run", network=net, record=tmp_path / "r", turns=20)
    altered(tmp_path / "r")
    assert "event 7 was altered" in refused("heal_explain", record=tmp_path / "r", network=net)
    assert "event 7 was altered" in refused("heal_verify", record=tmp_path / "r")


def test_what_is_verified_holds_the_receipts_that_are_known(acted: Path) -> None:
    whole = asked("heal_verify", record=acted)
    assert whole.ended
    assert {kind.kind: kind.events for kind in whole.kinds} == {"start": 1, "setting": 1, "turn": 140, "end": 1}
    with sqlite3.connect(acted) as base:
        known = base.execute("SELECT hash FROM events WHERE seq = 9").fetchone()[0].hex()
    assert "the receipt is in it" in asked("heal_verify", record=acted, holds=known).headline
    assert "newer events were cut off, or it is of another record" in refused(
        "heal_verify", record=acted, holds="ab" * 32
    )


def test_a_run_that_was_cut_off_is_whole_and_has_no_end(acted: Path, tmp_path: Path) -> None:
    copy = tmp_path / "r"
    copy.write_bytes(acted.read_bytes())
    with sqlite3.connect(copy) as base:
        base.execute("DELETE FROM events WHERE seq > 50")
    assert "it has no end, so the run was cut off or still goes on" in asked("heal_verify", record=copy).headline
    assert len(explained(copy, network=acted.parent / "net").plans) == 1


def test_a_person_reads_it_in_whole_sentences(acted: Path) -> None:
    lines = "\n".join(text.lines(explained(acted, plan=plan_of(acted))))
    for word in ("found", "evidence", "otherwise", "weighed", "gate", "commanded", "replied", "verified", "taken_back"):
        assert f"  {word} " in lines
