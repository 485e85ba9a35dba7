"""Levels of autonomy: what is asked of each, the fraction between two, and the least of the dimensions."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karez.measure.maturity import ALL, ASKED, DIMENSIONS, By, Done, Task, dimension_of, level_of, maturity
from karez.twin.facts import library

TASKS: tuple[Task, ...] = ("A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K")
BY = st.sampled_from(["system", "both", "person"])
DONE = st.lists(st.builds(Done, st.sampled_from(["link_slow", "router_dead"]), st.sampled_from(TASKS), BY), min_size=1)


def all_by(by: By, *, but: dict[Task, By] | None = None) -> list[Done]:
    return [Done("link_slow", task, (but or {}).get(task, by)) for task in TASKS]


@pytest.mark.parametrize("level", range(6))
def test_what_a_level_asks_for_is_that_level_or_one_that_asks_for_no_more(level: int) -> None:
    row = library("autonomy_levels")[level]
    for dimension in DIMENSIONS:
        assert level_of(dimension, ASKED[row[dimension]]) >= level
    assert min(level_of(dimension, ASKED[row[dimension]]) for dimension in DIMENSIONS) == level


@given(st.sampled_from(DIMENSIONS), st.floats(0, 1), st.floats(0, 1))
def test_who_does_more_is_never_at_a_lower_level(dimension: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0.0 <= level_of(dimension, low) <= level_of(dimension, high) <= 5.0


def test_between_two_levels_the_fraction_is_linear() -> None:
    assert level_of("execution", 0.25) == 0.5
    assert level_of("execution", 0.75) == 1.5
    assert level_of("analysis", 0.75) == 3.5
    assert level_of("intent_experience", 0.0) == 3.0


def test_all_by_the_system_is_level_five_and_all_by_people_level_none() -> None:
    assert maturity(all_by("system"))[0].level == 5.0
    assert maturity(all_by("person"))[0].level == 0.0


def test_the_dimension_that_reaches_least_bounds_the_whole() -> None:
    found = maturity(all_by("system", but={"A": "person", "B": "person"}))[0]
    assert (found.level, found.least) == (3.0, "intent_experience")
    found = maturity(all_by("system", but={"K": "both"}))[0]
    assert (found.level, found.least) == (1.0, "execution")


def test_nothing_done_shows_no_level() -> None:
    assert maturity([]) == ()


@given(DONE, st.randoms(use_true_random=False))
def test_the_order_in_which_things_were_done_changes_nothing_and_counts_add_up(
    done: list[Done], chance: random.Random
) -> None:
    shuffled = chance.sample(done, len(done))
    assert maturity(done) == maturity(shuffled)
    whole, *scenarios = maturity(done)
    assert whole.scenario == ALL
    for task, counted in whole.tasks.items():
        assert counted.times == sum(each.tasks[task].times for each in scenarios if task in each.tasks)
    assert sum(counted.times for counted in whole.tasks.values()) == len(done)


def test_every_task_belongs_to_a_dimension_of_the_levels() -> None:
    assert set(dimension_of()) == set(TASKS)
    assert set(dimension_of().values()) == set(DIMENSIONS)
