"""Schedules: what a row leaves blank is drawn as for a single fault, and what cannot be played is told at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.instances.mesh import mesh
from karez.adapters.embedded import FAULTS, Fault, drawn
from karez.adapters.frr.config import Protocols
from karez.errors import InputError, Problem
from karez.lab.faults import BEGINS, Scene
from karez.lab.plan import plan
from karez.lab.schedule import Scheduled, schedule
from karez.operations.faults import Breaking, drawn_fault
from karez.operations.networks import given_rows

FOR_S = 100.0
WORLD = mesh(5, sites=6, bgp=True)
SCENE = Scene(WORLD, plan(WORLD, name="none", protocols=Protocols()))


def _draws(kind: str, subject: str, number: int) -> Fault:
    return drawn_fault(WORLD, "net", Breaking(kind, subject, 7 + number, 0.0))


def _read(folder: Path, text: str) -> list[Scheduled]:
    path = folder / "faults.csv"
    path.write_text(text)
    return schedule("faults.csv", given_rows(str(path)), SCENE, _draws, for_s=FOR_S)


def _problems(folder: Path, text: str) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as told:
        _read(folder, text)
    return told.value.problems


@pytest.mark.parametrize("kind", BEGINS)
def test_a_row_that_says_only_when_and_what_is_drawn_as_a_single_fault_is(kind: str, tmp_path: Path) -> None:
    (one,) = _read(tmp_path, f"at_s,kind\n8.5,{kind}\n")
    alone = drawn(WORLD, kind, np.random.default_rng(7), 0.0)
    assert alone is not None
    assert (one.fault.kind, one.fault.subject, one.fault.at_s) == (kind, alone.subject, 8.5)
    for size in ("size_us", "size_share", "size_s", "way", "goal"):
        assert getattr(one.fault, size) == getattr(alone, size)
    lasts_s = alone.until_s if FAULTS[kind].lasts_s else FOR_S
    assert one.fault.until_s == min(8.5 + lasts_s, FOR_S)
    assert one.begin.label == f"{kind} {alone.subject}"


def test_what_a_row_says_holds_and_rows_are_in_the_order_of_their_times(tmp_path: Path) -> None:
    head = "at_s,lasts_s,kind,subject,size_us,size_share,size_s,way,goal"
    rows = "30,4.5,link_loss_one_way,l001,,0.2,,ba,\n10,8,link_slow,l000,2500,,,,\n50,,link_flapping,l000,,,2,,\n"
    slow, loss, flapping = _read(tmp_path, f"{head}\n{rows}")
    assert (slow.fault.at_s, slow.fault.until_s, slow.fault.size_us) == (10.0, 18.0, 2_500.0)
    assert (loss.fault.subject, loss.fault.size_share, loss.fault.way, loss.fault.until_s) == ("l001", 0.2, "ba", 34.5)
    assert (flapping.begin.again_s, flapping.fault.until_s) == (2.0, FOR_S)


def test_the_events_of_a_data_set_can_be_played_as_they_were(tmp_path: Path) -> None:
    head = "at_s,lasts_s,kind,subject,size_us,size_share,size_s,way,goal,label,begin_s,end_s"
    rows = "8.0,2.0,link_cut,l000,,,,ab,,link_cut l000,1008.0,1010.0\n10.0,2.0,link_cut,l000,,,,ab,,link_cut l000,1,2\n"
    assert [one.fault.at_s for one in _read(tmp_path, f"{head}\n{rows}")] == [8.0, 10.0]


def test_all_that_is_wrong_is_told_at_once_with_the_lines(tmp_path: Path) -> None:
    head = "at_s,lasts_s,kind,subject,size_us,size_share,way,goal"
    rows = (
        "5,,link_dim,,,,,",
        "-1,,link_slow,nobody,,,,",
        "soon,,link_slow,l000,,,,",
        ",,link_slow,l000,,,,",
        "100,,link_slow,l000,,,,",
        "5,0,link_cut,l003,,,,",
        "5,1,link_cut,l004,100,,,",
        "5,1,link_loss,l005,,1.5,up,",
        "5,1,link_loss,l006,,0.5,,c000",
    )
    text = "\n".join([head, *rows, ""])
    told = {
        row: [p.what for p in _problems(tmp_path, text) if row in p.rows] for row in map("line {}".format, range(2, 11))
    }
    assert told == {
        "line 2": ["this lab cannot show 'link_dim'"],
        "line 3": ["at_s '-1' is no number from 0 on", "subject: 'nobody' is no link of net"],
        "line 4": ["at_s 'soon' is no number from 0 on"],
        "line 5": ["does not say when it begins"],
        "line 6": ["begins when the recording of 100 s is over"],
        "line 7": ["lasts_s '0' is no number from 0.001 on"],
        "line 8": ["link_cut has no size_us"],
        "line 9": ["size_share 1.5 of link_loss is more than all", "way 'up' is none"],
        "line 10": ["link_loss has no goal"],
    }


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (("5,5,link_cut,l000", "9,5,link_cut,l000"), "link_cut l000 begins while it holds still"),
        (("5,,link_slow,l000", "9,5,link_slow_one_way,l000"), "change the same of the lab"),
        (("5,9,router_dead,r000", "9,9,routing_dead,r000/routing"), "change the same of the lab"),
        (("5,9,router_dead,r001", "9,9,probe_slow,r001/probe"), "change the same of the lab"),
        (("5,9,routing_stuck,r000/routing", "9,9,router_drain_left,r000"), "change the same of the lab"),
    ],
)
def test_faults_of_which_one_would_end_the_other_are_refused(rows: tuple[str, str], what: str, tmp_path: Path) -> None:
    (problem,) = _problems(tmp_path, "\n".join(["at_s,lasts_s,kind,subject", *rows, ""]))
    assert what in problem.what
    assert problem.rows == ("line 2", "line 3")
    later = (rows[0].replace("5,,", "5,4,").replace("5,5,", "5,4,").replace("5,9,", "5,4,"), rows[1])
    assert len(_read(tmp_path, "\n".join(["at_s,lasts_s,kind,subject", *later, ""]))) == 2


def test_faults_that_leave_each_other_alone_may_hold_at_once(tmp_path: Path) -> None:
    links = "5,9,link_slow,l000\n6,9,link_loss,l000\n7,9,link_slow,l001\n"
    programs = "8,9,probe_dead,r000/probe\n9,9,telemetry_dead,r000/telemetry\n"
    sections = "8,9,filter_wrong,r000/filter\n9,9,policer_left,r000/policer\n"
    assert len(_read(tmp_path, f"at_s,lasts_s,kind,subject\n{links}{programs}{sections}")) == 7


def test_columns_that_no_schedule_has_or_that_it_lacks_are_told(tmp_path: Path) -> None:
    told = _problems(tmp_path, "when,kind,subject\n5,link_cut,l000\n")
    assert [problem.what for problem in told] == ["has columns that no schedule has: when", "lacks the column at_s"]
    assert [problem.what for problem in _problems(tmp_path, "at_s,kind\n")] == ["holds no fault"]
