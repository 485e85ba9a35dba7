from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain, combinations
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from karez.errors import Infeasible, InputError
from karez.importers.generate import nation
from karez.measure.circles import circles
from karez.operations import BuildQuestion, GenerateQuestion
from karez.operations import build as build_operation
from karez.operations import generate as generate_operation
from karez.plan.build import (
    Cover,
    bound_of,
    build,
    check_certificate,
    density_duals,
    greedy,
    lead_time_s,
    linear_program,
    price_of_site_cny,
    solve,
)
from karez.plan.check import check
from karez.plan.plan import Plan, applied
from karez.twin import Twin, World
from karez.twin.schema import Value
from tests.test_circles import networks

AT_S = 1_000_000.0


@st.composite
def covers(draw: st.DrawFn) -> tuple[Cover, float]:
    """A small covering program that can be met, with every row covered by something."""
    rows, candidates = draw(st.integers(1, 7)), draw(st.integers(1, 6))
    cells = draw(st.lists(st.booleans(), min_size=rows * candidates, max_size=rows * candidates))
    matrix = np.array(cells, float).reshape(rows, candidates)
    assume(matrix.any(axis=1).all())
    weight = np.array(draw(st.lists(st.integers(1, 9), min_size=rows, max_size=rows)), float)
    price = np.array(draw(st.lists(st.integers(1, 9), min_size=candidates, max_size=candidates)), float)
    return Cover(csr_array(matrix), weight, price), float(draw(st.integers(1, int(weight.sum()))))


def cheapest(cover: Cover, needed: float) -> float:
    """The least price, by trying every set of candidates."""
    everything = range(cover.covers.shape[1])
    sets = chain.from_iterable(combinations(everything, size) for size in range(len(everything) + 1))
    matrix = cover.covers.toarray() > 0
    return min(
        float(cover.price[list(chosen)].sum())
        for chosen in sets
        if cover.weight[matrix[:, list(chosen)].any(axis=1)].sum() >= needed
    )


@given(covers())
@settings(max_examples=150, deadline=None)
def test_the_bound_is_never_above_the_best_and_the_plan_never_below(case: tuple[Cover, float]) -> None:
    cover, needed = case
    found, best = solve(cover, needed), cheapest(cover, needed)
    assert found.bound <= best + 1e-6
    assert best <= cover.price[found.chosen].sum() <= found.greedy_price
    assert cover.covered(found.chosen) >= needed


@given(covers(), st.data())
@settings(max_examples=100, deadline=None)
def test_any_duals_give_a_valid_bound(case: tuple[Cover, float], data: st.DataObject) -> None:
    cover, needed = case
    dual = st.floats(-10, 10)
    rows = np.array(data.draw(st.lists(dual, min_size=len(cover.weight), max_size=len(cover.weight))))
    best = cheapest(cover, needed)
    assert bound_of(cover, rows, data.draw(dual), needed).value <= best + 1e-6
    assert 0 < bound_of(cover, *density_duals(cover, needed), needed).value <= best + 1e-6


@given(covers())
@settings(max_examples=60, deadline=None)
def test_the_bound_from_the_duals_is_the_value_of_the_linear_program(case: tuple[Cover, float]) -> None:
    cover, needed = case
    relaxed = linear_program(cover, needed)
    assert relaxed is not None
    choice, duals = relaxed
    assert bound_of(cover, *duals, needed).value == pytest.approx(float(cover.price @ choice), abs=1e-5)


def test_greedy_prefers_weight_for_its_price_and_keeps_what_it_was_given() -> None:
    cover = Cover(csr_array(np.eye(3)), np.array([4.0, 3.0, 2.0]), np.array([4.0, 1.0, 1.0]))
    assert greedy(cover, np.zeros(0, np.int64), 5.0).tolist() == [1, 2]
    assert greedy(cover, np.array([0]), 5.0).tolist() == [0, 1]


def with_servers(twin: Twin, sites: tuple[str, ...]) -> Twin:
    if not sites:
        return twin
    count = len(sites)
    more: dict[str, Sequence[Value]] = {
        "id": [f"new-{site}" for site in sites],
        "site": list(sites),
        "chip": ["H20"] * count,
        "chips": [8] * count,
    }
    return twin.replace(twin["servers"].add(more))


@given(networks(), st.sampled_from([0.5, 0.8, 1.0]), st.sampled_from([150.0, 400.0, 800.0]))
@settings(max_examples=60, deadline=None)
def test_on_small_networks_the_bound_holds_and_the_certificate_proves_it(
    twin: Twin, target_share: float, budget_us: float
) -> None:
    world = World(twin, twin)
    core = [site.decode() for site in twin["sites"].ids[twin["sites"]["kind"] == b"core"]]
    counts = [
        len(chosen)
        for size in range(len(core) + 1)
        for chosen in combinations(core, size)
        if _reached(with_servers(twin, chosen), budget_us, target_share)
    ]
    if not counts:
        with pytest.raises(Infeasible, match="cannot be reached"):
            build(world, target_share=target_share, budget_us=budget_us, figures="typical", at_s=AT_S)
        return
    plan = build(world, target_share=target_share, budget_us=budget_us, figures="typical", at_s=AT_S)
    assert plan.proof.bound <= min(counts) * price_of_site_cny() <= plan.price_cny
    assert check_certificate(plan, world) == []
    assert check(plan, world, at_s=AT_S) == []
    assert bool(plan.actions) == (min(counts) > 0)


def _reached(twin: Twin, budget_us: float, target_share: float) -> bool:
    pooled = circles(twin, budget_us=budget_us).shares["typical"].pooled_share
    # Without access points there is nothing to reach, and so the target is met.
    return pooled is None or pooled >= target_share - 1e-9


@cache
def world() -> World:
    twin = nation(stations=20_000, sites=60, seed=1)
    return World(twin, twin)


@cache
def plan() -> Plan:
    return build(world(), target_share=0.8, budget_us=500.0, figures="typical", at_s=AT_S)


def test_a_plan_on_the_nation_is_within_five_percent_of_its_bound_and_its_certificate_holds() -> None:
    assert 0 <= plan().proof.gap_share <= 0.05
    assert check_certificate(plan(), world()) == []
    assert check(plan(), world(), at_s=AT_S) == []


def test_a_plan_survives_json() -> None:
    again = msgspec.json.decode(msgspec.json.encode(plan()), type=Plan)
    assert again == plan()
    assert check_certificate(again, world()) == []


def test_once_the_orders_are_in_service_the_target_is_met_and_nothing_more_is_built() -> None:
    intended = applied(plan().actions, world().intended)
    then = intended.at(AT_S + lead_time_s())
    share = circles(then, budget_us=500.0).shares["typical"].pooled_share
    assert share is not None
    assert share >= 0.8
    again = build(World(intended, intended), target_share=0.8, budget_us=500.0, figures="typical", at_s=AT_S)
    assert again.actions == ()
    assert again.price_cny == again.proof.bound == 0.0


def test_before_the_orders_are_in_service_they_do_not_count() -> None:
    intended = applied(plan().actions, world().intended)
    before = circles(world().intended, budget_us=500.0).shares["typical"]
    assert circles(intended.at(AT_S), budget_us=500.0).shares["typical"] == before


def _with_proof(**changes: object) -> Plan:
    return msgspec.structs.replace(plan(), proof=msgspec.structs.replace(plan().proof, **changes))


def _with_certificate(**changes: object) -> Plan:
    return _with_proof(certificate=plan().proof.certificate | changes)


def _raised() -> Plan:
    duals = plan().proof.certificate["duals_cny"]
    assert isinstance(duals, tuple)
    return _with_certificate(duals_cny=tuple(2 * float(dual) for dual in duals))


def _cheaper() -> Plan:
    kept = plan().actions[1:]
    price = len(kept) * price_of_site_cny()
    smaller = msgspec.structs.replace(
        plan().proof,
        value=price,
        bound=price,
        certificate=plan().proof.certificate | {"sites": tuple(action.subject for action in kept)},
    )
    return msgspec.structs.replace(plan(), actions=kept, price_cny=price, proof=smaller)


@pytest.mark.parametrize(
    ("tampered", "found"),
    [
        (lambda: _with_proof(bound=plan().proof.bound + price_of_site_cny()), "its duals prove"),
        (_raised, "its duals prove"),
        (lambda: _with_certificate(duals_cny=()), "its duals prove"),
        (lambda: _with_certificate(demand_dual_cny=float("nan")), "its duals prove"),
        (lambda: _with_certificate(demand_dual_cny=-1.0), "its duals prove"),
        (lambda: _with_certificate(demand_dual_cny=(float("inf"), 1.0)), "its duals prove"),
        (lambda: _with_certificate(duals_cny=("much",)), "its duals prove"),
        (lambda: _with_proof(bound=float("nan")), "its duals prove"),
        (lambda: _with_certificate(points=("nowhere",)), "its duals prove"),
        (lambda: _with_certificate(sites=()), "other sites"),
        (lambda: msgspec.structs.replace(plan(), actions=plan().actions[1:]), "brings"),
        (lambda: msgspec.structs.replace(plan(), price_cny=1.0), "its sites cost"),
        (_cheaper, "brings"),
        (lambda: msgspec.structs.replace(plan(), planner="place"), "was made by"),
        (lambda: msgspec.structs.replace(plan(), question={}), "does not say what was asked"),
        (lambda: msgspec.structs.replace(plan(), question=dict(plan().question) | {"budget_us": "1 ms"}), "budget_us"),
    ],
)
def test_a_tampered_certificate_is_found_out(tampered: object, found: str) -> None:
    assert callable(tampered)
    assert any(found in problem.what for problem in check_certificate(tampered(), world()))


def test_a_certificate_does_not_hold_on_another_network() -> None:
    shorter = world().intended["links"]
    stretched = world().intended.replace(shorter.set(np.arange(len(shorter)), length_km=2 * shorter["length_km"]))
    assert check_certificate(plan(), World(stretched, stretched))


def test_a_plan_reads_its_sites_orders_one_thing_a_site_and_says_what_it_weighed() -> None:
    for action in plan().actions:
        assert (action.kind, action.blast_radius) == ("order_equipment", (action.subject,))
        assert action.adds[0].values["valid_from_s"] == action.ends_at_s == AT_S + lead_time_s()
    assert {(read.table, read.op) for read in plan().reads} == {("sites", "exists"), ("equipment", "gone")}
    assert plan().price_cny == len(plan().actions) * price_of_site_cny()
    assert [alternative.name for alternative in plan().alternatives] == ["do nothing", "greedy alone"]
    assert plan().revision == world().intended.digest


def test_what_cannot_be_reached_is_said_with_the_share_that_can_and_the_places_that_cannot() -> None:
    with pytest.raises(Infeasible, match=r"would bring \d+\.\d% of \d+ access points .* out of reach are places in \w"):
        build(world(), target_share=1.0, budget_us=60.0, figures="typical", at_s=AT_S)


def test_the_operation_writes_the_plan_once_and_names_its_sites(tmp_path: Path) -> None:
    folder, output = str(tmp_path / "network"), tmp_path / "plan.json"
    generate_operation.run(GenerateQuestion(output=folder, stations=20_000, sites=60))
    question = BuildQuestion(network=folder, target_share=0.8, budget_us=500.0, output=str(output))
    answer = build_operation.run(question)
    assert msgspec.json.decode(output.read_bytes(), type=Plan) == answer.plan
    assert [site.id for site in answer.sites] == [action.subject for action in answer.plan.actions]
    assert all(site.name and site.metro for site in answer.sites)
    assert "synthetic" in answer.headline
    with pytest.raises(InputError, match="exists already"):
        build_operation.run(question)
    met = build_operation.run(BuildQuestion(network=folder, target_share=0.01))
    assert (met.meets_target, met.sites) == (True, ())
