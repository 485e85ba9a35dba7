"""A plan that has routers keep ways ready: what it says, what it rests on, and that what it says can be read again."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.instances.mesh import mesh
from benchmarks.instances.ring import ring
from karez.adapters.frr.fabric import fabric
from karez.adapters.frr.ready import ready_ways, said_of
from karez.errors import InputError
from karez.plan import applied, inverse
from karez.plan.check import check
from karez.plan.protect import Way, protect, read, written
from karez.twin import World

NAMES = st.text(alphabet='abz019/-_ "[],中', min_size=1, max_size=6)
WAYS = st.lists(st.builds(Way, NAMES, st.just("") | NAMES, st.lists(NAMES, min_size=1, max_size=3).map(tuple)))


@given(WAYS)
def test_what_is_written_is_read_again_whatever_the_names(ways: list[Way]) -> None:
    assert read(written(ways)) == tuple(sorted(ways))


@pytest.mark.parametrize("said", ["[", "[1]", '[["a"]]', '{"a": 1}', "ways"])
def test_what_is_no_list_of_ways_is_refused(said: str) -> None:
    with pytest.raises(InputError, match="no list of ways"):
        read(said)


def test_a_plan_covers_every_cut_of_a_ring_holds_and_can_be_undone() -> None:
    world = ring()
    made = protect(world, at_s=0.0)
    assert {action.subject for action in made.plan.actions} == {f"r{i}" for i in range(6)}
    assert (made.coverage.at_once == made.coverage.pairs).all()
    assert made.coverage.pairs.sum() > 0
    assert made.coverage.healthy
    assert made.plan.proof.value == 0.0
    assert check(made.plan, world, at_s=1.0) == []
    after = applied(made.plan.actions, world.intended)
    assert after.digest != world.intended.digest
    back = [inverse(action, expires_at_s=10.0) for action in made.plan.actions]
    assert applied(back, after).digest == world.intended.digest
    assert protect(World(after, world.actual), at_s=0.0).plan.actions == ()


def test_what_kernels_are_told_says_the_same_as_the_plan() -> None:
    world = mesh(3, sites=12)
    made = fabric(world, most_routers=150)
    rows = {router.id: row for row, router in enumerate(made.routers)}
    for action in protect(world, at_s=0.0).plan.actions:
        said = str(action.sets[0].after)
        ways = ready_ways(made, rows[action.subject], said)
        assert ways
        assert said_of(made, rows[action.subject], ways) == said


def test_a_way_over_a_link_that_is_not_at_the_router_is_refused() -> None:
    made = fabric(ring(), most_routers=150)
    away = next(line.link for line in made.lines if 0 not in line.routers)
    with pytest.raises(InputError, match=f"has no {away}"):
        ready_ways(made, 0, written([Way("r1", "", (away,))]))


def test_a_site_without_a_router_and_a_network_of_areas_are_refused() -> None:
    world = ring()
    devices, links = world["equipment"], world["links"]
    without = World(world.intended.replace(devices.take(devices.ids != b"r2")), world.actual)
    with pytest.raises(InputError, match="no router stands at c2"):
        protect(without, at_s=0.0)
    parted = World(world.intended.replace(links.set(np.array([0]), area=1)), world.actual)
    with pytest.raises(InputError, match="areas"):
        protect(parted, at_s=0.0)


def test_what_routes_otherwise_than_it_should_is_not_planned_on() -> None:
    world = ring()
    states, devices = world["link_states"], world["equipment"]
    for other in (states.set(np.array([2]), cost=60_000), states.set(np.array([2]), drained=True)):
        with pytest.raises(InputError, match="not as they should be"):
            protect(World(world.intended, world.actual.replace(other)), at_s=0.0)
    away = World(world.intended.replace(devices.set(np.array([1]), drained=True)), world.actual)
    with pytest.raises(InputError, match="traffic is kept off r1"):
        protect(away, at_s=0.0)


def test_a_plan_rests_on_what_routing_rests_on() -> None:
    world = ring()
    plan = protect(world, at_s=0.0).plan
    states = world["link_states"]
    dark = World(world.intended, world.actual.replace(states.set(np.array([1]), up=False)))
    assert check(plan, dark, at_s=1.0)
    assert check(msgspec.structs.replace(plan, reads=()), dark, at_s=1.0) == []
