"""What is judged of a drill on real routers, on courses made by hand."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from benchmarks.instances.mesh import mesh
from benchmarks.instances.ring import ring
from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.adapters.frr.config import Protocols
from karez.lab.plan import plan
from karez.loop.runner import Runner
from karez.loop.state import Decisions, Found, Policy, State
from karez.record.log import Record
from karez.scenario.course import Course
from karez.scenario.real import Played, harm, packets_of

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


def test_the_embedded_network_has_as_many_packets_as_a_lab() -> None:
    world = mesh(5, sites=6)
    made = plan(world, name="made", protocols=Protocols(), tests_per_s=40.0, users_per_s=4_000.0)
    packets = packets_of(world, made)
    assert (packets.small_per_s, packets.large_per_s) == (30.0, 10.0)
    assert packets.users_per_s_per_gbps * world["demands"]["gbps"].sum() == pytest.approx(4_000.0, rel=0.1)
    nobody = msgspec.structs.replace(made, demands=(), streams=made.streams[: 2 * len(made.fabric.lines)])
    assert packets_of(world, nobody).users_per_s_per_gbps > 0


def test_what_a_turn_says_is_said_when_it_has_decided_not_when_it_began() -> None:
    course = Course()
    state = State.of(ring())
    for at_s in (1.0, 2.0, 3.0):
        found = (Found("link_cut/x", True, "link_cut", "x"),) if at_s > 1.0 else ()
        course.add(state, Decisions(at_s=at_s, found=found), 0.0, said_s=at_s + 0.3)
    assert course.told_s(frozenset({("link_cut", "x")}), 1.5) == pytest.approx(0.8)
    assert course.told_s(frozenset({("link_cut", "y")}), 1.5) is None


def test_who_asks_a_router_that_hangs_waits_for_it_once() -> None:
    world = ring()
    router = next(str(row["id"]) for row in world["equipment"].records() if row["kind"] == "router")
    network = EmbeddedNetwork(world, seed=1, start_s=0.0)
    network.inject(Fault("router_hung", router, 5.0))
    waited = []
    for at_s in (4.9, 5.0, 5.3, 5.61, 9.0):
        network.live(at_s)
        up = network.look("equipment_states", [router]).columns["up"][0]
        waited.append((network.waited_s > 0, up))
    assert waited == [(False, True), (True, True), (True, True), (False, False), (False, False)]


def test_it_is_told_what_was_decided_before_it_is_done() -> None:
    world = ring()
    network, told = EmbeddedNetwork(world, seed=1, start_s=0.0), list[Decisions]()
    with TemporaryDirectory() as folder, Record(Path(folder) / "record") as record:
        runner = Runner.start(world, network, record, Policy(level="act"), at_s=0.0)
        decided = runner.turn(1.0, told=told.append)
    assert told == [decided]
