"""Which machines of chips to add, so that a day of jobs and they together cost least: proofs, limits, orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from karez.adapters.embedded import EmbeddedNetwork
from karez.errors import InputError
from karez.loop.people import TWO_PERSONS
from karez.operations import PlanChipsQuestion
from karez.operations import plan_chips as operation
from karez.plan.check import check
from karez.plan.day import menus
from karez.plan.day.ask import Ask
from karez.plan.day.build import Built, Offer, built, growing, offered, ordered, plan_of
from karez.plan.day.certificate import check_chips
from karez.plan.day.decide import decided
from karez.plan.day.pose import posed
from karez.plan.order import order, summed
from karez.plan.placing.program import Program
from karez.plan.plan import Plan, applied
from karez.plan.rates import MORE_CHIPS, Given, machine_of, rates
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
    assert found.prices.kw.sum() > 0


def test_kinds_that_are_named_are_the_only_ones() -> None:
    world = full()
    kind = str(world["chips"].ids[0].decode())
    found, plan = planned(world, OFFER._replace(kinds=(kind,)))
    assert {str(found.candidates.rows[name]["chip"]) for name in found.chips} == {kind}
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
    assert {(line.work.act, line.work.of) for line in made.lines} == {(MORE_CHIPS, "X")}
    assert {line.work.chips for line in made.lines} == set(found.chips.values())


def test_a_machine_costs_its_price_over_its_life_and_its_maintenance() -> None:
    used = rates()
    price = used.prices["accelerator server rack by 8 chips"]
    share = used.upkeep["accelerator server rack by 8 chips"].maintenance_share.typical
    life = used.ageing["accelerator"].life_years
    machine = machine_of(used, 8)
    assert machine.cny_a_day == pytest.approx(price.fen.typical / 100 * (1 / life + share) / 365.2425)
    assert machine.lead_time_days == price.lead_time_days
    assert machine_of(used, 16).cny_a_day == pytest.approx(2 * machine.cny_a_day)
    with pytest.raises(InputError, match="would take a part of what comes whole, of 4 chips"):
        machine_of(used, 4)


@pytest.mark.parametrize("rows", [[("1", "site")], [("0.125", "chip"), ("1", "site")]])
def test_what_chips_take_is_told_per_chip_and_in_no_other_way(rows: list[tuple[str, str]]) -> None:
    items = ("accelerator server rack by 8 chips", "400g port")
    listed = [
        (f"line {at}", {"act": MORE_CHIPS, "item": items[at], "quantity": quantity, "per": per})
        for at, (quantity, per) in enumerate(rows)
    ]
    with pytest.raises(InputError, match="something else than what each chip takes"):
        machine_of(rates(recipes=Given("r.csv", listed)), 8)


def test_where_the_day_alone_costs_less_nothing_is_added() -> None:
    world = full()
    before = decided(world, AT)
    cheaper = before._replace(cny=1.0)
    found = built(world, AT, OFFER, before=cheaper)
    assert (found.chips, found.building_cny, found.cny) == ({}, 0.0, 1.0)
    dear = built(world, AT, OFFER._replace(cny_a_day=1e7), before=before)
    plan = plan_of(dear, OFFER._replace(cny_a_day=1e7), world.intended.digest, AT_S)
    assert dear.cny == before.cny
    assert check(plan, world, at_s=AT_S) == []


def test_what_is_ordered_is_not_ordered_again() -> None:
    world = full()
    first, plan = planned(world)
    twin = applied(plan.actions, world.intended)
    after = ordered(World(twin, world.actual), AT, OFFER)
    again, second = planned(after)
    assert again.cny == pytest.approx(first.day.cny, rel=1e-3)
    assert sum(again.chips.values()) <= 8
    assert check(second, World(twin, world.actual), at_s=AT_S) == []


def test_sites_that_close_before_or_are_worked_on_get_none() -> None:
    world = full()
    sites = [str(name) for name in world["sites"].ids.astype(str)]
    closing = world["sites"].set(world["sites"].rows(["c-west"]), valid_to_s=OFFER.in_service_at_s - 1.0)
    works = world["works"].add({"id": ["w"], "subject": ["c-east"], "from_s": [AT_S + H], "to_s": [AT_S + 2 * H]})
    changed_ = World(world.intended.replace(closing, works), world.actual)
    candidates = offered(changed_, AT, OFFER)
    assert {str(row["site"]) for row in candidates.rows.values()} == {"c-middle"} <= set(sites)
    assert set(candidates.left_out) == {"c-west", "c-east"}


def test_each_domain_of_a_site_may_get_chips_and_no_two_have_one_id() -> None:
    world = full()
    servers = world["servers"].add(
        {"id": ["p-other"], "site": ["c-west"], "chip": ["X"], "chips": [8], "domain": ["friend"]}
    )
    rows = offered(World(world.intended.replace(servers), world.actual), AT, OFFER).rows
    assert len(rows) == 4
    assert {str(row["domain"]) for row in rows.values() if row["site"] == "c-west"} == {"own", "friend"}


def test_a_job_whose_predecessor_does_not_run_needs_no_machine() -> None:
    # The first is too large for any site, so that the second never begins.
    world = with_jobs(chips=[4_096, 64], hours=[4.0, 4.0], after=["", "j0"])
    found, plan = planned(world, OFFER._replace(cny_a_day=1.0))
    assert not found.day.placed.number.sum()
    assert found.chips == {}
    assert check(plan, world, at_s=AT_S) == []


def test_chains_of_jobs_have_a_bound_of_their_own() -> None:
    world = with_jobs(chips=[64] * 8, hours=[8.0] * 8, after=["", "j0", "j1", "", "j3", "j4", "", "j6"])
    found, plan = planned(world)
    assert found.bound <= found.cny
    assert check(plan, world, at_s=AT_S) == []


def test_pairs_of_what_may_be_added_crowd_out_no_pair_that_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(menus, "MOST_PAIRS", 1)
    world = with_jobs(kind=["training"], chips=[96], hours=[4.0], sites=[2])
    near = world["links"].set(np.arange(3), length_km=[100.0, 400.0, 450.0], capacity_gbps=[1e5] * 3)
    world = World(world.intended.replace(near), world.actual)
    before = posed(world, AT).program
    candidates = offered(world, AT, OFFER)
    after, _ = growing(candidates, AT, OFFER)

    def pairs(asked: Program, servers: list[str]) -> set[tuple[str, str]]:
        halves = np.flatnonzero(asked.arms["share"][: asked.menus[-1]] < 1)
        there = asked.arms["pool"]
        return {(servers[there[at]], servers[there[asked.arms["then"][at]]]) for at in halves.tolist()}

    stand = [str(name) for name in world["servers"].ids.astype(str)]
    names = [str(name) for name in after.world["servers"].ids[after.pools].astype(str)]
    assert len(pairs(before, stand)) == 1
    assert pairs(before, stand) < pairs(after.program, names)


def test_two_persons_approve_an_order_of_servers() -> None:
    assert {"order_servers", "order_equipment"} <= TWO_PERSONS


def test_an_embedded_network_takes_an_order_and_delivers_it() -> None:
    world, soon = full(), OFFER._replace(in_service_at_s=AT_S + 5.0)
    _, plan = planned(world, soon)
    network = EmbeddedNetwork(world, seed=1, start_s=AT_S)
    action = plan.actions[0]
    assert network.apply(action, AT_S + 1.0) == ""
    network.live(soon.in_service_at_s + 1.0)
    row = network.look("order_states", [action.id]).columns
    assert (row["amount"], row["delivered"]) == ((action.adds[0].values["chips"],), (True,))


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
    with pytest.raises(InputError, match="less than a machine has, 8"):
        operation.run(PlanChipsQuestion(network=network, most_chips=7))
    with pytest.raises(InputError, match="nobody told what they draw"):
        operation.run(PlanChipsQuestion(network=network, kinds="bare"))
    with pytest.raises(InputError, match="exists"):
        operation.run(PlanChipsQuestion(network=network, output=output))
