"""Plans are checked whenever they come, and a certificate once for the network that it is of."""

from __future__ import annotations

from functools import cache

import msgspec
import numpy as np
import pytest

from karez.errors import Problem
from karez.importers.generate import nation
from karez.loop import vetting
from karez.loop.vetting import MOST_PROVEN, vetted
from karez.plan.check import CERTIFICATES, check
from karez.plan.coverage import Ask, coverage
from karez.plan.plan import Plan
from karez.twin import Twin, World

AT_S = 1_000_000.0


@cache
def world() -> World:
    twin = nation(stations=20_000, sites=30, seed=5)
    return World(twin, twin)


@cache
def plan() -> Plan:
    found = coverage(world(), Ask(targets=((500.0, 0.5),)), at_s=AT_S).plan
    assert found.actions
    return found


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans whose certificates were checked, as they are."""
    checked: list[Plan] = []
    verify = CERTIFICATES["coverage"]

    def counting(plan: Plan, world: World) -> list[Problem]:
        checked.append(plan)
        return verify(plan, world)

    monkeypatch.setitem(CERTIFICATES, "coverage", counting)
    monkeypatch.setattr(vetting, "_PROVEN", {})
    return checked


def longer() -> World:
    """The same network with every link twice as long."""
    links = world().intended["links"]
    twin = world().intended.replace(links.set(np.arange(len(links)), length_km=2 * links["length_km"]))
    return World(twin, twin)


def forged() -> Plan:
    """The plan with a certificate that proves nothing."""
    proof = msgspec.structs.replace(plan().proof, certificate=dict(plan().proof.certificate) | {"sites": ()})
    return msgspec.structs.replace(plan(), proof=proof)


def test_a_certificate_that_held_is_not_checked_again_on_the_same_network(proofs: list[Plan]) -> None:
    read_again = msgspec.json.decode(msgspec.json.encode(plan(), order="deterministic"), type=Plan)
    for come in (plan(), plan(), read_again):
        assert vetted(come, world(), at_s=AT_S) == []
    assert len(proofs) == 1


def test_a_certificate_that_held_on_one_network_is_checked_on_another(proofs: list[Plan]) -> None:
    assert vetted(plan(), world(), at_s=AT_S) == []
    assert vetted(plan(), longer(), at_s=AT_S) == check(plan(), longer(), at_s=AT_S) != []
    assert vetted(plan(), longer(), at_s=AT_S) != []


def test_a_certificate_that_proves_nothing_is_refused_each_time(proofs: list[Plan]) -> None:
    assert vetted(plan(), world(), at_s=AT_S) == []
    told = check(forged(), world(), at_s=AT_S)
    assert told
    assert vetted(forged(), world(), at_s=AT_S) == told
    assert vetted(forged(), world(), at_s=AT_S) == told


def test_what_changes_with_time_is_told_of_a_plan_whose_certificate_held_before(proofs: list[Plan]) -> None:
    assert vetted(plan(), world(), at_s=AT_S) == []
    late_s = max(action.expires_at_s for action in plan().actions) + 1.0
    told = vetted(plan(), world(), at_s=late_s)
    assert any("has expired" in problem.what for problem in told)
    assert told == check(plan(), world(), at_s=late_s)


def test_a_certificate_rests_on_what_is_intended_alone() -> None:
    # What `vetted` remembers would be wrong otherwise.
    for actual in (Twin(), longer().actual):
        for come in (plan(), forged()):
            verify = CERTIFICATES["coverage"]
            assert verify(come, World(world().intended, actual)) == verify(come, world())


def test_no_more_than_so_many_proofs_are_kept(proofs: list[Plan]) -> None:
    plans = [msgspec.structs.replace(plan(), summary=f"{number}") for number in range(MOST_PROVEN + 1)]
    for come in (*plans, plans[-1]):
        assert vetted(come, world(), at_s=AT_S) == []
    assert len(proofs) == MOST_PROVEN + 1
    assert vetted(plans[0], world(), at_s=AT_S) == []
    assert len(proofs) == MOST_PROVEN + 2
