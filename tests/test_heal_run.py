"""A fault asked for by kind and subject, calendars of the run, and what is refused before anything is done."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from karez.adapters.embedded import FAULTS
from karez.faces import cli, questions
from karez.operations.heal import setting
from tests.healing import meshed
from tests.test_networks import TABLES, asked, imported, refused

LOOKED_AT = ("link_cut", "router_hung", "routing_dead", "filter_wrong", "demand_surge", "duct_dim")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return meshed(tmp_path_factory.mktemp("mesh"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imported(tmp_path_factory.mktemp("small"), TABLES)


def healed(net: Path, record: Path, **more: Any) -> Any:
    return asked("heal_run", network=net, record=record, **{"turns": 40, "level": "act"} | more)


@pytest.mark.parametrize("kind", LOOKED_AT)
def test_each_kind_of_fault_befalls_something_of_the_network_and_its_true_cause_is_told(
    net: Path, tmp_path: Path, kind: str
) -> None:
    answer = healed(net, tmp_path / "r", fault=kind, seed=4)
    assert answer.subject
    assert answer.right_after_s is not None, answer.headline
    assert f"The fault {kind.replace('_', ' ')} {answer.subject} was found after" in answer.headline


def test_the_subject_that_is_named_is_what_the_fault_befalls(small: Path, tmp_path: Path) -> None:
    answer = healed(small, tmp_path / "r", fault="link_slow", subject="L3")
    assert answer.subject == "L3"
    assert ("found", "L3", "link_slow") in {(event.what, event.subject, event.why) for event in answer.timeline}


def test_a_fault_that_loses_traffic_to_a_site_befalls_any_router_that_is_named(net: Path, tmp_path: Path) -> None:
    drawn = healed(net, tmp_path / "r1", fault="router_fib_stale", turns=4).subject
    told = refused("heal_run", network=net, record=tmp_path / "x", fault="router_dead", subject="?")
    other = next(row for row in told.partition("such as ")[2].split(", ") if row != drawn)
    assert healed(net, tmp_path / "r2", fault="router_fib_stale", subject=other).subject == other


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"fault": "link_fast"}, f"fault: 'link_fast' is none; give one of {', '.join(list(FAULTS)[:3])}"),
        ({"fault": "deaf"}, "fault: 'deaf' is none"),
        ({"subject": "L99"}, "subject: 'L99' is no link of"),
        ({"fault": "router_dead", "subject": "L1"}, "give an id of the table equipment, such as R1"),
        ({"fault": "daemon_dead"}, "is none"),
        ({"fault": "probe_dead"}, "has no daemon that probe_dead could befall; add one to the table daemons"),
        ({"works": "nowhere.csv"}, "nowhere.csv"),
        ({"freezes": "freezes.ics"}, "freezes.ics: is not called .csv; give a CSV file"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_and_leaves_no_record(
    small: Path, tmp_path: Path, values: dict[str, str], told: str
) -> None:
    assert told in refused("heal_run", network=small, record=tmp_path / "r", **values)
    assert not (tmp_path / "r").exists()


def test_nothing_is_done_while_planned_work_or_a_freeze_holds_and_the_record_needs_no_file(
    small: Path, tmp_path: Path
) -> None:
    (tmp_path / "works.csv").write_text("id,subject,from,to,note\nW1,L1,2000-01-01,2100-01-01,splice\n")
    (tmp_path / "freezes.csv").write_text("id,domain,from,to\nF1,,2000-01-01,2100-01-01\n")
    worked = healed(small, tmp_path / "r1", subject="L1", works=tmp_path / "works.csv", zone="UTC")
    assert worked.found_after_s is None
    frozen = healed(small, tmp_path / "r2", subject="L1", freezes=tmp_path / "freezes.csv", zone="UTC")
    assert {event.why for event in frozen.timeline if event.what == "refused"} == {"the freeze F1 holds"}
    assert not [event for event in frozen.timeline if event.what == "commanded"]
    for name in ("works.csv", "freezes.csv"):
        (tmp_path / name).unlink()
    for record in (tmp_path / "r1", tmp_path / "r2"):
        assert asked("heal_replay", network=small, record=record).turns == 40
    assert [row["note"] for row in setting(str(tmp_path / "r1")).works] == ["splice"]


def test_work_that_is_asked_for_as_a_fault_is_announced_and_nothing_is_found(net: Path, tmp_path: Path) -> None:
    answer = healed(net, tmp_path / "r", fault="work_router")
    assert f"Planned work on {answer.subject} in 40 turns: nothing was found" in answer.headline
    assert answer.mended_after_s is None


def test_a_run_that_breaks_off_leaves_nothing_that_looks_like_a_record(small: Path, tmp_path: Path) -> None:
    from karez.operations import HealRunQuestion, heal_run

    turns = iter(range(5))

    def interrupted(*told: object) -> None:
        if next(turns) == 4:
            raise KeyboardInterrupt

    question = HealRunQuestion(network=str(small), record=str(tmp_path / "r"))
    with pytest.raises(KeyboardInterrupt):
        heal_run.followed(question, interrupted)
    assert list(tmp_path.iterdir()) == []


def test_every_command_of_the_guide_can_be_asked(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "how-to" / "heal.md").read_text("utf-8")
    commands = [shlex.split(line)[1:] for line in re.findall(r"^    (karez .+)$", page, re.MULTILINE)]
    assert len(commands) > 10
    for family, name, *words in commands:
        parsed = vars(cli.parser(f"{family}_{name}").parse_args(words))
        asked_for = {key: value for key, value in parsed.items() if key not in ("json", "csv", "quiet", "live")}
        assert questions.read(f"{family}_{name}", asked_for, strict=False)
