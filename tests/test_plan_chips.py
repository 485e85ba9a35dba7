"""Which machines of chips to add, so that a day of jobs and they together cost least: proofs, limits, orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from karez.errors import InputError
from karez.operations import PlanChipsQuestion
from karez.operations import plan_chips as operation
from karez.plan.check import check
from karez.plan.day.ask import Ask
from karez.plan.day.build import Built, Offer, built, plan_of
from karez.plan.day.certificate import check_chips
from karez.plan.day.decide import decided
from karez.plan.order import order, summed
from karez.plan.plan import Plan, applied
from karez.plan.rates import ACCELERATORS, machine_of, rates
from karez.twin import World, store
from tests.test_day import AT, AT_S, H, changed, with_jobs

OFFER = Offer(chips=8, cny_a_day=100.0, most_chips=256, in_service_at_s=AT_S + 90 * 24 * H)


def full() -> World:
    """The small world with more jobs of a whole day than it has chips for."""
    return with_jobs(chips=[64] * 8, hours=[24.0] * 8)


def planned(world: World, offer: Offer = OFFER, ask: Ask = AT) -> tuple[Built, Plan]:
    found = built(world, ask, offer)
    return found, plan_of(found, offer, world.intended.digest, AT_S)


def test_jobs_without_room_get_machines_and_the_plan_holds() -> None:
    world = full()
    before, (found, plan) = decided(world, AT), planned(world)
    assert before.placed.number.sum() < 8
    assert found.day.placed.number.sum() == 8
    assert found.cny < before.cny
    assert found.cny == pytest.approx(found.day.cny + found.building_cny)
    assert found.building_cny == pytest.approx(sum(found.chips.values()) / 8 * 100.0)
    assert found.bound <= found.cny
    assert found.gap_share < 0.02
    assert check(plan, world, at_s=AT_S) == []


def test_what_is_added_is_enough_for_the_day_once_it_stands() -> None:
    world = full()
    found, plan = planned(world)
    twin = applied(plan.actions, world.intended)
    assert twin["servers"]["chips"].sum() == world["servers"]["chips"].sum() + sum(found.chips.values())
    later = changed(World(twin, world.actual), "servers", valid_from_s=[-np.inf] * len(twin["servers"]))
    assert decided(later, AT).cny <= found.day.cny + 1e-6 * abs(found.day.cny)


def test_nothing_is_added_where_a_machine_costs_more_than_it_saves() -> None:
    world = full()
    found, plan = planned(world, OFFER._replace(cny_a_day=1e7))
    assert found.chips == {}
    assert plan.actions == ()
    assert found.cny == pytest.approx(decided(world, AT).cny)
    assert check(plan, world, at_s=AT_S) == []


def test_no_site_gets_more_than_it_may_or_has_power_for() -> None:
    many = with_jobs(chips=[8] * 40, hours=[24.0] * 40)
    found, plan = planned(many, OFFER._replace(most_chips=12))
    assert set(found.chips.values()) == {8}
    assert check(plan, many, at_s=AT_S) == []
    world = full()
    chips, kw = world["servers"]["chips"].astype(float), 0.4 * 1.3
    sites = world.intended.resolve("servers", "site")
    power = np.zeros(len(world["sites"]))
    np.add.at(power, sites, chips * kw)
    found, _ = planned(changed(world, "sites", power_kw=power))
    assert sum(found.chips.values()) * kw <= power.sum()
    assert found.day.prices.kw.sum() > 0


def test_kinds_that_are_named_are_the_only_ones() -> None:
    world = full()
    kind = str(world["chips"].ids[0].decode())
    found, plan = planned(world, OFFER._replace(kinds=(kind,)))
    assert {str(found.rows[name]["chip"]) for name in found.chips} == {kind}
    assert check(plan, world, at_s=AT_S) == []


def tampered(plan: Plan, **values: Any) -> Plan:
    return msgspec.structs.replace(plan, **values)


def test_a_plan_of_chips_that_was_tampered_with_is_refused() -> None:
    world = full()
    _, plan = planned(world)
    first, *rest = plan.actions
    row = first.adds[0]

    def ordering(chips: object, name: str = row.row) -> Plan:
        new = msgspec.structs.replace(row, row=name, values=row.values | {"chips": chips})
        return tampered(plan, actions=(msgspec.structs.replace(first, adds=(new,)), *rest))

    proof = msgspec.structs.replace(plan.proof, bound=plan.proof.value * 0.9999 + 1.0)
    wrong = {
        "used of": ordering(8),
        "costs": ordering(int(str(row.values["chips"])) + 8),
        "orders what may not be added": ordering(row.values["chips"], "other"),
        "passes|used of|orders": tampered(plan, actions=tuple(rest)),
        "claims": tampered(plan, proof=proof),
        "none of chips": tampered(plan, question=plan.question | {"machine_chips": float("nan")}),
        "no whole number": tampered(plan, question=plan.question | {"machine_chips": 0.5}),
    }
    for said, other in wrong.items():
        problems = check_chips(other, world)
        assert problems, said
        assert any(any(part in str(problem) for part in said.split("|")) for problem in problems), (said, problems)


def test_an_order_has_a_server_for_each_eight_chips() -> None:
    world = full()
    found, plan = planned(world)
    made = order(plan, world.intended, rates())
    racks = summed(made.lines).quantities
    assert racks == {"accelerator server rack by 8 chips": sum(found.chips.values()) // 8}
    assert {line.work.act for line in made.lines} == {ACCELERATORS}
    assert {line.work.chips for line in made.lines} == set(found.chips.values())


def test_a_machine_costs_its_price_over_its_life_and_its_maintenance() -> None:
    used = rates()
    price = used.prices["accelerator server rack by 8 chips"]
    share = used.upkeep["accelerator server rack by 8 chips"].maintenance_share.typical
    life = used.ageing["accelerator"].life_years
    machine = machine_of(used, 8)
    assert machine.cny_a_day == pytest.approx(price.fen.typical / 100 * (1 / life + share) / 365.2425)
    assert machine.lead_time_days == price.lead_time_days
    # A part of a server is a whole one.
    assert machine_of(used, 4).cny_a_day == machine.cny_a_day
    assert machine_of(used, 12).cny_a_day == pytest.approx(2 * machine.cny_a_day)


def test_the_operation_tells_what_to_add_and_refuses_chips_that_nobody_knows(tmp_path: Path) -> None:
    network, output = str(tmp_path / "network"), str(tmp_path / "plan.json")
    store.save(full().intended, tmp_path / "network", at_s=0.0, note="", source="tests", synthetic=True, seed=1)
    answer = operation.run(PlanChipsQuestion(network=network, at="2026-09-21T21:33:20+08:00", output=output))
    assert answer.machines > 0
    assert answer.running > answer.running_before
    assert answer.cost_cny < answer.cost_before_cny
    assert 0 < answer.build[0].used_share <= 1
    assert sum(one.machines for one in answer.build) == answer.machines
    assert "cheaper, all that they cost included" in answer.headline
    with pytest.raises(InputError, match="names chips that the network does not know"):
        operation.run(PlanChipsQuestion(network=network, kinds="H20,nothing"))
    with pytest.raises(InputError, match="exists"):
        operation.run(PlanChipsQuestion(network=network, output=output))
