"""What is judged of a drill on real routers, on courses made by hand."""

from __future__ import annotations

import math

import pytest

from karez.loop.state import Decisions
from karez.scenario.course import Course
from karez.scenario.real import Played, harm

STEP_S = 0.5


def _played(lost_per_turn: list[float], broke_turn: int, start_s: float = 0.0) -> Played:
    """A course in which so many packets were lost in each turn."""
    lost, total = [], 0.0
    for more in lost_per_turn:
        total += more
        lost.append(total)
    times = [start_s + STEP_S * turn for turn in range(len(lost))]
    course = Course(at_s=times, decisions=[Decisions(at_s=at_s) for at_s in times], lost=lost)
    return Played(start_s, times[broke_turn], course)


def test_what_an_act_lost_in_its_own_turn_counts_as_lost_by_it() -> None:
    mine = _played([0, 0, 0, 600, 0, 0, 0], broke_turn=2)
    alone = _played([0] * 7, broke_turn=2, start_s=100.0)
    assert harm(mine, alone, acted_s=1.5) == (math.inf, True)


def test_an_outage_before_the_act_buys_nothing_after_it() -> None:
    mine = _played([0, 0, 500, 0, 0, 300, 0], broke_turn=2)
    alone = _played([0, 0, 500, 0, 0, 0, 0], broke_turn=2, start_s=50.0)
    assert harm(mine, alone, acted_s=2.5) == (math.inf, True)


def test_a_mend_that_loses_a_few_while_the_fault_would_lose_many_is_no_harm() -> None:
    mine = _played([0, 0, 20, 20, 40, 0, 0], broke_turn=2)
    alone = _played([0, 0, 20, 20, 20, 20, 20], broke_turn=2, start_s=9.0)
    share, harmed = harm(mine, alone, acted_s=2.0)
    assert share == pytest.approx((40 - 60) / 60)
    assert not harmed


def test_a_mend_that_loses_more_than_the_fault_is_harm() -> None:
    mine = _played([0, 0, 20, 20, 90, 0, 0], broke_turn=2)
    alone = _played([0, 0, 20, 20, 20, 20, 20], broke_turn=2, start_s=9.0)
    share, harmed = harm(mine, alone, acted_s=2.0)
    assert share == pytest.approx((90 - 60) / 60)
    assert harmed


def test_a_handful_is_chance() -> None:
    mine = _played([0, 0, 0, 3, 2], broke_turn=1)
    assert not harm(mine, _played([0] * 5, broke_turn=1), acted_s=1.5)[1]
