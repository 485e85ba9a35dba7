from __future__ import annotations

import math
import re
import signal
import threading
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import chain, combinations, cycle
from pathlib import Path
from typing import Any

import msgspec
import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from karez.errors import Infeasible, InputError
from karez.faces import text
from karez.importers.generate import nation
from karez.measure.circles import WEIGHT_SCALE, circles, compute_sites, points
from karez.measure.reach import typical
from karez.operations import GenerateQuestion, PlanCoverageQuestion
from karez.operations import generate as generate_operation
from karez.operations import plan_coverage as operation
from karez.operations.lists import Rack, price_list
from karez.operations.networks import at_most, percent
from karez.operations.networks import proven as said_of
from karez.plan.certificate import check_certificate, proven
from karez.plan.check import check
from karez.plan.coverage import Ask, Coverage, coverage
from karez.plan.covering.ladder import Effort, Rung
from karez.plan.plan import Plan, Proof, applied
from karez.plan.sites import lead_time_s, orders, price_of_site_cny
from karez.twin import Twin, World
from karez.twin.schema import Value
from tests.test_circles import networks

AT_S = 1_000_000.0


def with_servers(twin: Twin, sites: Sequence[str]) -> Twin:
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


def answered(twin: Twin, effort: Effort = "exact", **asked: Any) -> Coverage:
    """The plan for what is asked, whose certificate holds."""
    world = World(twin, twin)
    found = coverage(world, Ask(**asked), at_s=AT_S, effort=effort)
    assert check_certificate(found.plan, world) == []
    assert check(found.plan, world, at_s=AT_S) == []
    return found


def subsets(sites: Sequence[str]) -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(sites, size) for size in range(len(sites) + 1)))


def covered(twin: Twin, sites: Sequence[str], budget_us: float, spare: int = 0) -> np.ndarray:
    """The weight of access points by metro that 1 + spare of all sites with compute reach, site by site."""
    with_them = with_servers(twin, sites)
    counted = points(with_them, "access_point")
    reach, limit_ns = typical(with_them, counted), round(budget_us * 1_000)
    targets = compute_sites(with_them)
    times = np.zeros(len(counted.vertex), int)
    for target in targets:
        times += reach.delays_ns(np.array([target]), limit_ns) < limit_ns
    held = times > spare
    return np.bincount(counted.metro[held], counted.weight[held], minlength=len(twin["metros"]))


def core_without_compute(twin: Twin) -> list[str]:
    rows = np.setdiff1d(np.flatnonzero(twin["sites"]["kind"] == b"core"), compute_sites(twin))
    return [site.decode() for site in twin["sites"].ids[rows]]


def total(twin: Twin) -> np.ndarray:
    counted = points(twin, "access_point")
    return np.bincount(counted.metro, counted.weight, minlength=len(twin["metros"]))


budgets = st.sampled_from([150.0, 400.0, 800.0])
shares = st.sampled_from([0.5, 0.8, 1.0])


@given(networks(), shares, budgets, st.integers(0, 1), st.data())
@settings(max_examples=60, deadline=None)
def test_the_cheapest_plan_is_found_and_its_certificate_proves_a_bound_below_it(
    twin: Twin, target_share: float, budget_us: float, spare: int, data: st.DataObject
) -> None:
    core = core_without_compute(twin)
    prices = {site: float(data.draw(st.integers(1, 9))) for site in core}
    needed = target_share * total(twin).sum() - 1e-9
    costs = [
        sum(prices[site] for site in chosen)
        for chosen in subsets(core)
        if covered(twin, chosen, budget_us, spare).sum() >= needed
    ]
    asked: dict[str, Any] = {"targets": ((budget_us, target_share),), "spare": spare, "prices_cny": prices}
    if not core:
        with pytest.raises(InputError, match="no site that may be built"):
            answered(twin, **asked)
    elif not costs:
        with pytest.raises(Infeasible, match="cannot be reached"):
            answered(twin, **asked)
    else:
        found = answered(twin, **asked)
        assert found.plan.price_cny == min(costs) >= found.plan.proof.bound
        assert found.is_closed
        assert bool(found.plan.actions) == (min(costs) > 0)


@given(networks(), st.sampled_from([0.3, 0.6, 1.0]), budgets, st.sampled_from([0.5, 1.0]))
@settings(max_examples=40, deadline=None)
def test_targets_of_metros_are_met_in_as_many_as_are_wanted_at_the_least_price(
    twin: Twin, target_share: float, budget_us: float, metros_share: float
) -> None:
    core, every = core_without_compute(twin), total(twin)
    metros = every > 0
    wanted = int(np.ceil(metros_share * metros.sum()))
    fits = [
        len(chosen)
        for chosen in subsets(core)
        if (covered(twin, chosen, budget_us)[metros] >= target_share * every[metros] - 1e-9).sum() >= wanted
    ]
    asked: dict[str, Any] = {"targets": ((budget_us, target_share),), "of": "some", "metros_share": metros_share}
    if not core or not metros.any():
        return
    if not fits:
        with pytest.raises(Infeasible, match="metropolises"):
            answered(twin, **asked)
        return
    found = answered(twin, **asked)
    assert len(found.plan.actions) == min(fits)


@given(networks(), budgets, st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_for_a_sum_of_money_the_most_weight_is_covered(twin: Twin, budget_us: float, sites: int) -> None:
    core = core_without_compute(twin)
    money = sites * price_of_site_cny()
    if not core or not total(twin).sum():
        return
    asked: dict[str, Any] = {"targets": ((budget_us, 0.0),), "money_cny": money}
    if not sites:
        with pytest.raises(Infeasible, match="buy nothing"):
            answered(twin, **asked)
        return
    best = max(covered(twin, chosen, budget_us).sum() for chosen in subsets(core) if len(chosen) <= sites)
    found = answered(twin, **asked)
    assert found.plan.price_cny <= money
    assert total(twin).sum() - found.plan.proof.value == pytest.approx(best)
    assert found.after_share[0] == pytest.approx(best / total(twin).sum())


@cache
def world() -> World:
    twin = nation(stations=20_000, sites=60, seed=1)
    return World(twin, twin)


def nations(effort: Effort = "exact", **asked: Any) -> Coverage:
    return answered(world().intended, effort=effort, **({"targets": ((500.0, 0.8),)} | asked))


@cache
def plan() -> Plan:
    return nations().plan


def test_a_plan_survives_json() -> None:
    again = msgspec.json.decode(msgspec.json.encode(plan()), type=Plan)
    assert again == plan()
    assert check_certificate(again, world()) == []


def test_the_same_question_gives_the_same_bytes_and_rows_in_any_order_the_same_price() -> None:
    assert msgspec.json.encode(nations().plan) == msgspec.json.encode(plan())
    twin = world().intended
    links = twin["links"].take(np.random.default_rng(1).permutation(len(twin["links"])))
    assert answered(twin.replace(links), targets=((500.0, 0.8),)).plan.price_cny == plan().price_cny


def test_once_the_orders_are_in_service_the_target_is_met_and_nothing_more_is_built() -> None:
    intended = applied(plan().actions, world().intended)
    share = circles(intended.at(AT_S + lead_time_s()), budget_us=500.0).shares["typical"].pooled_share
    assert share is not None
    assert share >= 0.8
    again = answered(intended, targets=((500.0, 0.8),)).plan
    assert again.actions == ()
    assert again.price_cny == again.proof.bound == 0.0


def test_a_plan_reads_its_sites_orders_one_thing_a_site_and_says_what_it_weighed() -> None:
    for action in plan().actions:
        assert (action.kind, action.blast_radius) == ("order_equipment", (action.subject,))
        assert action.adds[0].values["valid_from_s"] == action.ends_at_s == AT_S + lead_time_s()
    assert {(read.table, read.op) for read in plan().reads} == {("sites", "exists"), ("equipment", "gone")}
    assert plan().price_cny == len(plan().actions) * price_of_site_cny()
    assert [alternative.name for alternative in plan().alternatives] == ["do nothing", "greedy alone"]
    assert plan().revision == world().intended.digest


def test_phases_build_on_one_another_and_each_reaches_its_share() -> None:
    phases = ((1980, 0.5), (1981, 0.7), (1982, 0.8))
    # The last rung takes minutes here.
    found = nations("searched", phases=phases, discount_share=0.05)
    assert all(after >= share for after, share in zip(found.after_share, (0.5, 0.7, 0.8), strict=True))
    years = found.plan.proof.certificate["years"]
    assert isinstance(years, tuple)
    assert set(years) == {1980.0, 1981.0, 1982.0}
    twin = world().intended
    for year, share in ((1981, 0.5), (1982, 0.7)):
        then = applied(found.plan.actions, twin).at(float(np.datetime64(f"{year}-06-01", "s").astype(int)))
        assert (circles(then, budget_us=500.0).shares["typical"].pooled_share or 0) >= share
    # Money later counts less, so nothing is built before it is needed: the last target costs no more than at once.
    assert found.plan.price_cny >= plan().price_cny


@cache
def surviving() -> Coverage:
    return nations("searched", targets=((800.0, 0.6),), spare=1)


def _with_certificate(plan: Plan, **changes: object) -> Plan:
    proof = msgspec.structs.replace(plan.proof, certificate=plan.proof.certificate | changes)
    return msgspec.structs.replace(plan, proof=proof)


def test_cover_that_survives_the_loss_of_a_site_is_covered_twice_and_its_cuts_prove_more() -> None:
    found = surviving()
    twin = world().intended
    chosen = [action.subject for action in found.plan.actions]
    assert covered(twin, chosen, 800.0, 1).sum() >= 0.6 * total(twin).sum() - 1e-9
    bare = _with_certificate(found.plan, cuts_row=(), cuts_site=(), cuts_other=(), cuts_dual=())
    assert proven(bare, world()) < found.plan.proof.bound <= proven(found.plan, world()) + 1e-6


def test_a_cut_that_leaves_out_what_does_not_reach_its_row_is_found_out() -> None:
    plan = surviving().plan
    sites = plan.proof.certificate["cuts_site"]
    assert isinstance(sites, tuple)
    # The next of them reaches another row.
    moved = _with_certificate(plan, cuts_site=(*sites[1:], sites[0]))
    assert any("cuts" in problem.what for problem in check_certificate(moved, world()))
    others = plan.proof.certificate["cuts_other"]
    assert isinstance(others, tuple)
    assert len(set(others)) > 1
    exchanged = _with_certificate(plan, cuts_other=(*others[1:], others[0]))
    said = [problem.what for problem in check_certificate(exchanged, world())]
    assert any("exact bound" in what or "pay more" in what for what in said)
    outside = _with_certificate(plan, cuts_other=(1e6, *others[1:]))
    assert any("cuts_other" in problem.what for problem in check_certificate(outside, world()))
    nobody = _with_certificate(plan, cuts_site=("",) * len(sites))
    said = [problem.what for problem in check_certificate(nobody, world())]
    assert any("exact bound" in what or "pay more" in what for what in said)
    unknown = _with_certificate(plan, cuts_site=("nowhere", *sites[1:]))
    assert any("no candidates" in problem.what for problem in check_certificate(unknown, world()))


def test_several_budgets_are_met_at_once() -> None:
    found = nations("searched", targets=((500.0, 0.6), (1_000.0, 0.95)))
    assert found.after_share[0] >= 0.6
    assert found.after_share[1] >= 0.95
    assert found.plan.price_cny >= nations("searched", targets=((500.0, 0.6),)).plan.proof.bound


def test_what_is_locked_is_built_what_is_forbidden_is_not_and_neither_costs_less() -> None:
    sites = [action.subject for action in plan().actions]
    others = [site for site in core_without_compute(world().intended) if site not in sites]
    found = nations("searched", lock=(others[0],), forbid=(sites[0],)).plan
    chosen = [action.subject for action in found.actions]
    assert others[0] in chosen
    assert sites[0] not in chosen
    assert found.price_cny >= plan().proof.bound


def test_sites_that_may_be_closed_are_kept_only_where_they_pay() -> None:
    twin = world().intended
    existing = [site.decode() for site in twin["sites"].ids[compute_sites(twin)]]
    prices = dict.fromkeys(core_without_compute(twin), 10.0) | dict.fromkeys(existing, 11.0)
    made, kept = (nations("searched", prices_cny=prices, existing=word) for word in ("closable", "kept"))
    assert made.before_share == kept.before_share
    assert made.before_share[0] > 0
    found = made.plan
    chosen = found.proof.certificate["sites"]
    assert isinstance(chosen, tuple)
    dearer = sum(site in existing for site in chosen)
    assert found.price_cny == 10.0 * (len(chosen) - dearer) + 11.0 * dearer
    assert found.price_cny <= kept.plan.price_cny + 11.0 * len(existing)
    # What is forbidden is closed, whether it is in the list or not: the checker sees it so, too.
    new = {site: 10.0 for site in prices if site not in existing}
    assert existing[0] not in str(
        nations("relaxed", prices_cny=new, existing="closable", forbid=(existing[0],)).plan.reads
    )
    assert [action.subject for action in orders(found)] == [site for site in chosen if site not in existing]
    # Once what is applied is in service, there is compute where it was chosen and nowhere else.
    service_at_s = float(found.question["service_at_s"])
    then = applied(msgspec.json.decode(msgspec.json.encode(found), type=Plan).actions, twin)
    for at_s, sites in ((service_at_s, chosen), (service_at_s - 1.0, existing)):
        now = then.at(at_s)
        assert {site.decode() for site in now["sites"].ids[compute_sites(now)]} == set(sites)
    assert check(found, World(twin, twin), at_s=found.made_at_s) == []
    # What comes to a site later would be there after it was closed.
    more = {"id": ["more"], "site": [existing[0]], "kind": ["edge_inference"], "valid_from_s": [service_at_s]}
    later = twin.replace(twin["equipment"].add(more))
    with pytest.raises(InputError, match="compute is still to come there"):
        answered(later, effort="greedy", targets=((500.0, 0.8),), prices_cny=prices, existing="closable")


@pytest.mark.parametrize(
    "more",
    [{}, {"targets": ((500.0, 0.3), (1_000.0, 0.5))}, {"phases": ((1_975, 0.2), (1_976, 0.3))}, {"spare": 1}],
    ids=["one target", "two budgets", "years", "a spare site"],
)
@pytest.mark.parametrize("is_listed", [True, False])
def test_what_is_to_be_closed_counts_in_what_is_covered_now(more: dict[str, Any], is_listed: bool) -> None:
    twin = world().intended
    existing = [site.decode() for site in twin["sites"].ids[compute_sites(twin)]]
    prices = dict.fromkeys([*core_without_compute(twin), *(existing if is_listed else [])], 10.0)
    asked = {"targets": ((1_000.0, 0.3),), "prices_cny": prices, "existing": "closable", **more}
    found = nations("greedy", forbid=tuple(existing[:20]), **asked)
    now = [
        covered(twin, (), budget_us, asked.get("spare", 0)).sum() / total(twin).sum()
        for budget_us, _ in asked["targets"]
    ]
    assert found.before_share == pytest.approx(now * len(asked.get("phases", (0,))), rel=1e-9)
    assert f"{now[0]:.1%}".replace("%", " %") + " are covered now" in found.plan.summary
    assert not set(existing[:20]) & {read.row for read in found.plan.reads}


def test_what_is_to_be_closed_serves_now_what_its_limit_allows() -> None:
    twin = world().intended
    existing = [site.decode() for site in twin["sites"].ids[compute_sites(twin)]]
    asked: dict[str, Any] = {
        "targets": ((1_000.0, 0.3),),
        "prices_cny": dict.fromkeys(core_without_compute(twin), 10.0),
        "existing": "closable",
        "serves": dict.fromkeys(existing, 20.0),
    }
    before, after = (nations("greedy", forbid=forbid, **asked).before_share for forbid in ((), tuple(existing[:20])))
    served = most_served(twin, existing, dict.fromkeys(existing, 20.0), 1_000.0) / WEIGHT_SCALE
    assert before == after == pytest.approx((served / total(twin).sum(),), rel=1e-9)


CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"lock": ("nowhere",)}, "lock: names sites that are no candidates"),
    "both": ({"lock": ("c000100",), "forbid": ("c000100",)}, "names sites that are forbidden too"),
    "existing": ({"lock": ("c000001",)}, "names sites that are no candidates"),
    "phases and spare": ({"phases": ((1999, 0.8),), "spare": 1}, "cannot be had with spare"),
    "capacity and spare": ({"serves": {"c000100": 1.0}, "spare": 1}, "limits sites for one budget"),
    "capacity and money": ({"serves": {"c000100": 1.0}, "money_cny": 5.0}, "limits sites for one budget"),
    "falling": ({"phases": ((1999, 0.8), (2000, 0.7))}, "ask for less later"),
    "past": ({"phases": ((1969, 0.8),)}, "begin in the past"),
    "order": ({"phases": ((2001, 0.8), (2000, 0.8))}, "not in the order of their years"),
    "money and metros": ({"money_cny": 1e9, "of": "each"}, "is spent on all weight"),
    "closable": ({"existing": "closable"}, "give a price list"),
    "no candidate": ({"prices_cny": {"c000001": 1.0}}, "no site that may be built"),
}


@pytest.mark.parametrize(("asked", "told"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictions_are_refused_with_what_to_do(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        nations(**asked)


def test_what_cannot_be_reached_is_said_with_the_share_that_can_and_the_places_that_cannot() -> None:
    with pytest.raises(Infeasible, match=r"would bring \d+\.\d%; out of reach are places in \w"):
        nations(targets=((60.0, 1.0),))
    with pytest.raises(Infeasible, match=r"can be reached in \d+ of \d+ metropolises where \d+ are wanted"):
        nations(targets=((60.0, 1.0),), of="each")
    with pytest.raises(Infeasible, match="the cheapest site costs 3,000,000 CNY"):
        nations(money_cny=1.0)


def test_a_certificate_does_not_hold_on_another_network() -> None:
    links = world().intended["links"]
    stretched = world().intended.replace(links.set(np.arange(len(links)), length_km=2 * links["length_km"]))
    assert check_certificate(plan(), World(stretched, stretched))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("coverage") / "network")
    generate_operation.run(GenerateQuestion(output=folder, stations=20_000, sites=60))
    return folder


def asked(network: str, **values: Any) -> operation.PlanCoverageAnswer:
    return operation.run(PlanCoverageQuestion(network=network, **({"target_share": 0.8, "budget_us": 500.0} | values)))


def test_the_operation_writes_the_plan_once_and_names_its_sites(network: str, tmp_path: Path) -> None:
    output = str(tmp_path / "plan.json")
    answer = asked(network, output=output)
    assert msgspec.json.decode(Path(output).read_bytes(), type=Plan) == answer.plan
    assert [site.id for site in answer.sites] == [action.subject for action in answer.plan.actions]
    assert all(site.name and site.metro and site.price_cny == price_of_site_cny() for site in answer.sites)
    assert [rung.rung for rung in answer.rungs][:2] == ["greedy", "relaxed"]
    assert "synthetic" in answer.headline
    with pytest.raises(InputError, match="exists already"):
        asked(network, output=output)
    met = asked(network, target_share=0.01)
    assert (met.meets_target, met.sites) == (True, ())


def test_each_site_alone_brings_what_is_lost_without_it(network: str) -> None:
    answer = asked(network)
    site = max(answer.sites, key=lambda one: one.alone_share)
    twin = world().intended
    others = [one.id for one in answer.sites if one.id != site.id]
    lost = covered(twin, [*others, site.id], 500.0).sum() - covered(twin, others, 500.0).sum()
    assert lost / total(twin).sum() == pytest.approx(site.alone_share)


@given(networks(), st.sampled_from([0.3, 0.6, 0.9]), st.sampled_from([400.0, 800.0]), st.data())
@settings(max_examples=60, deadline=None)
def test_sites_that_serve_only_so_much_are_as_cheap_as_any_and_hold_before_the_checker(
    twin: Twin, target_share: float, budget_us: float, data: st.DataObject
) -> None:
    core = core_without_compute(twin)
    assume(core)
    prices = {site: float(data.draw(st.integers(1, 9))) for site in core}
    existing = [site.decode() for site in twin["sites"].ids[compute_sites(twin)]]
    serves = {site: float(data.draw(st.integers(0, 6))) for site in [*core, *existing]}
    needed = math.ceil(Fraction(str(target_share)) * round(total(twin).sum() * WEIGHT_SCALE))
    costs = [
        sum(prices[site] for site in chosen)
        for chosen in subsets(core)
        if most_served(twin, [*existing, *chosen], serves, budget_us) >= needed
    ]
    asked: dict[str, Any] = {"targets": ((budget_us, target_share),), "prices_cny": prices, "serves": serves}
    if not costs:
        with pytest.raises(Infeasible, match="as far as what it serves goes"):
            answered(twin, **asked)
    else:
        found = answered(twin, **asked)
        assert found.plan.price_cny == min(costs) >= found.plan.proof.bound
        assert found.is_closed


def most_served(twin: Twin, sites: Sequence[str], serves: Mapping[str, float], budget_us: float) -> int:
    """The most weight (millionths) that sites serve, by networkx and a search from each of them."""
    counted, graph = points(twin, "access_point"), nx.DiGraph()
    graph.add_nodes_from(["from", "to"])
    for point, weight in enumerate(np.rint(counted.weight * WEIGHT_SCALE).astype(int).tolist()):
        graph.add_edge("from", ("point", point), capacity=weight)
    limit_ns = round(budget_us * 1_000)
    for site in sites:
        graph.add_edge(("site", site), "to", capacity=round(serves[site] * WEIGHT_SCALE))
        delay_ns = typical(twin, counted).delays_ns(twin["sites"].rows([site]), limit_ns)
        graph.add_edges_from((("point", int(at)), ("site", site)) for at in np.flatnonzero(delay_ns < limit_ns))
    return int(nx.maximum_flow_value(graph, "from", "to"))


def test_racks_and_power_of_the_price_list_say_what_a_site_serves(network: str, tmp_path: Path) -> None:
    core = core_without_compute(world().intended)
    path = tmp_path / "prices.csv"
    rows = [f"{site},1000,{racks},{power}" for site, racks, power in zip(core, cycle((4, "")), cycle(("", 25, 9)))]
    path.write_text("\n".join(["site,price_cny,racks,power_kw", *rows]), "utf-8")
    free = asked(network, prices=str(path), target_share=0.6, effort="greedy")
    bound = asked(network, prices=str(path), target_share=0.6, rack_serves=5.0, effort="greedy")
    assert bound.price_cny > free.price_cny
    assert "with racks and power" in bound.headline
    limits = dict(
        zip(*(bound.plan.proof.certificate[name] for name in ("limited_sites", "limited_weight")), strict=True)
    )
    # A rack takes 6 kW, by the library.
    assert [limits.get(site) for site in core[:4]] == [20.0, 20.0, 5.0, None]
    assert check_certificate(bound.plan, world()) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("site,price_cny\nc000100,5\n", "neither racks nor power_kw"),
        ("site,price_cny,racks\nc000100,5,many\n", "line 2: has 'many' for racks"),
        ("site,price_cny,racks,power_kw\nc000100,5,2,-1\n", "line 2: has '-1' for power_kw"),
    ],
)
def test_racks_and_power_that_are_none_are_refused(text: str, told: str, network: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=told):
        asked(network, prices=str(path), rack_serves=100.0)


def test_room_is_counted_in_whole_racks_without_rounding(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text("site,price_cny,racks,power_kw\na,1,,9.6\nb,1,2,40.3\nc,1,7.9,\nd,1,,\n", "utf-8")
    rack = Rack(serves=10.0, power_kw=3.2)
    assert price_list(str(path), rack).serves == {"a": 30.0, "b": 20.0, "c": 70.0}
    path.write_text("site,price_cny,racks\na,1,\n", "utf-8")
    with pytest.raises(InputError, match="says of no site how many racks"):
        price_list(str(path), rack)


WRONG_LISTS = {
    "rows": (
        "site,price_cny,racks,power_kw\na,dear,many,\n,1,2,3\na,1,1,-1\n",
        [
            "line 2: has the price dear for a",
            "line 3: names no site",
            "line 4: names a again",
            "line 2: has 'many' for racks",
            "line 4: has '-1' for power_kw",
        ],
    ),
    "a column of racks and a price": (
        "site,price_cny\na,-5\n",
        ["line 2: has the price -5 for a", "has neither racks nor power_kw"],
    ),
    "a column of prices and racks": (
        "site,racks\na,many\n",
        ["has no columns site and price_cny", "line 2: has 'many' for racks"],
    ),
    "all rows": ("site,price_cny,racks\n", ["lists no site"]),
}


@pytest.mark.parametrize(("text", "told"), WRONG_LISTS.values(), ids=WRONG_LISTS)
def test_wrong_prices_and_wrong_racks_of_a_list_are_told_at_once(text: str, told: list[str], tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError) as caught:
        price_list(str(path), Rack(serves=10.0, power_kw=3.2))
    whole = [f"{problem.where}: {problem.what}" for problem in caught.value.problems]
    assert [one.removeprefix(f"{path}").removeprefix(", ").removeprefix(": ") for one in whole] == told


def test_limits_of_sites_that_are_forbidden_limit_nothing() -> None:
    core = core_without_compute(world().intended)
    asked: dict[str, Any] = {"targets": ((500.0, 0.5),), "prices_cny": dict.fromkeys(core, 1.0), "effort": "relaxed"}
    free = answered(world().intended, forbid=(core[0],), **asked)
    bound = answered(world().intended, forbid=(core[0],), serves={core[0]: 1e13}, **asked)
    assert (bound.plan.price_cny, bound.plan.question["limited"]) == (free.plan.price_cny, 0)


def test_a_rack_that_serves_wants_a_list_that_says_where_racks_are(network: str) -> None:
    with pytest.raises(InputError, match="rack_serves: limits sites, of which nothing is known"):
        asked(network, rack_serves=100.0)
    with pytest.raises(InputError, match="rack_kw: says what racks take"):
        asked(network, rack_kw=3.0)


PRICES = {
    "empty": ("site,price_cny\n", "lists no site"),
    "columns": ("id,price\nc000100,5\n", "has no columns site and price_cny"),
    "negative": ("site,price_cny\nc000100,-5\n", "line 2: has the price -5"),
    "missing": ("site,price_cny\nc000100,\n", "line 2: has the price none"),
    "text": ("site,price_cny\nc000100,dear\n", "line 2: has the price dear"),
    "endless": ("site,price_cny\nc000100,inf\n", "line 2: has the price inf"),
    "twice": ("site,price_cny\nc000100,5\nc000100,6\n", "line 3: names c000100 again"),
    "unnamed": ("site,price_cny\n,5\n", "line 2: names no site"),
    "unknown": ("site,price_cny\nnowhere,5\n", "names sites that are not there"),
}


@pytest.mark.parametrize(("text", "told"), PRICES.values(), ids=PRICES)
def test_a_wrong_price_list_is_refused_row_by_row(text: str, told: str, network: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=told):
        asked(network, prices=str(path))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"also": "5000"}, "also: holds '5000'"),
        ({"also": "5000=2"}, "also: asks for 5000=2"),
        ({"also": "0=0.5"}, "also: has a budget out of range"),
        ({"phases": "soon=0.8"}, "phases: holds 'soon=0.8'"),
        ({"phases": "2027.5=0.8"}, "phases: has a year out of range"),
    ],
)
def test_lists_that_cannot_be_taken_apart_are_refused(words: dict[str, str], told: str, network: str) -> None:
    with pytest.raises(InputError, match=told):
        asked(network, **words)


def test_a_limit_in_time_gives_the_best_by_then_with_a_proof(network: str) -> None:
    answer = asked(network, time_limit_s=1e-6)
    assert [rung.rung for rung in answer.rungs] == ["greedy"]
    assert check_certificate(answer.plan, world()) == []


def test_ctrl_c_ends_the_climb_with_the_best_by_then(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **kwargs: Any) -> Coverage:
        signal.raise_signal(signal.SIGINT)
        assert kwargs["enough"]()
        return coverage(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(operation, "coverage", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert [rung.rung for rung in asked(network).rungs] == ["greedy"]
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_of_the_main_thread_the_limit_alone_ends_the_climb(network: str) -> None:
    answers: list[operation.PlanCoverageAnswer] = []
    thread = threading.Thread(target=lambda: answers.append(asked(network)))
    thread.start()
    thread.join()
    assert len(answers) == 1


BEGINNINGS: dict[str, tuple[dict[str, Any], str]] = {
    "one site lost": (
        {"spare": 1, "target_share": 0.5, "budget_us": 1_000.0},
        r"\d+ new sites bring 50\.0 % of access points within 1 ms of compute with any site lost \(at most",
    ),
    "two sites lost": (
        {"spare": 2, "target_share": 0.3, "budget_us": 1_000.0},
        r"\d+ new sites bring 30\.0 % of access points within 1 ms of compute with any 2 sites lost \(at most",
    ),
    "spare sites there already": (
        {"spare": 1, "target_share": 0.01},
        r"Nothing to build: 1\.0 % of access points within 500 us of compute with any site lost is reached already \(",
    ),
    "residents": ({"weight": "population"}, r"\d+ new sites bring 80\.0 % of residents within 500 us of compute \("),
    "area": ({"weight": "area"}, r"\d+ new sites bring 80\.0 % of the area within 500 us of compute \("),
}


@pytest.mark.parametrize(("words", "told"), BEGINNINGS.values(), ids=BEGINNINGS)
def test_the_headline_says_in_plain_words_what_is_built_and_reached(
    words: dict[str, Any], told: str, network: str
) -> None:
    assert re.match(told, asked(network, effort="greedy", **words).headline)


def test_with_money_the_headline_says_how_many_sites_for_how_much_and_how_many_points_more_there_can_be(
    network: str,
) -> None:
    best = asked(network, money_cny=6_000_000.0)
    assert re.fullmatch(
        r"2 new sites for at most 6,000,000 CNY bring \d+\.\d % of access points within 500 us of compute "
        r"\(proven: no plan for the money covers more; synthetic\)",
        best.headline,
    )
    assert best.targets[0].target_share is None
    greedy = asked(network, money_cny=30_000_000.5, effort="greedy")
    assert " for at most 30,000,000.50 CNY bring " in greedy.headline
    assert "(how much more the money might cover is not proven; synthetic)" in greedy.headline
    relaxed = asked(network, money_cny=120_000_000.0, effort="relaxed")
    uncovered_share = 1.0 - relaxed.targets[0].after_share
    points = 100 * uncovered_share * (1 - relaxed.bound / relaxed.value)
    told = re.search(r"at most (\d+\.\d) points more could be covered", relaxed.headline)
    assert told
    assert points <= float(told[1]) < points + 0.1


def test_money_that_brings_nothing_is_told_without_a_target_that_was_met(network: str) -> None:
    everywhere = asked(network, money_cny=6_000_000.0, budget_us=1_000_000.0)
    assert everywhere.headline.startswith(
        "Nothing to build for at most 6,000,000 CNY: 100.0 % of access points within "
    )
    assert everywhere.meets_target is None


def test_years_are_shown_as_years_and_only_where_something_is_asked_by_year(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAREZ_AT_S", "1767225600")
    by_year = asked(network, phases="2027=0.6,2028=0.8", effort="relaxed")
    assert by_year.headline.count("20") == by_year.headline.count("2028") == 1
    lines = "\n".join(text.lines(by_year))
    assert "2,02" not in lines
    assert [line.split()[1] for line in lines.split("targets\n")[1].splitlines()[:3]] == ["year", "2027", "2028"]
    assert {site.year for site in by_year.sites} == {2027, 2028}
    plain = asked(network, effort="greedy")
    assert {site.year for site in plain.sites} == {target.year for target in plain.targets} == {None}
    assert not any("year" in line for line in text.lines(plain))


def test_sites_that_are_kept_are_not_told_as_new(network: str, tmp_path: Path) -> None:
    twin, path = world().intended, tmp_path / "prices.csv"
    there = [site.decode() for site in twin["sites"].ids[compute_sites(twin)]]
    dear = [f"{site},9000000" for site in core_without_compute(twin)]
    path.write_text("\n".join(["site,price_cny", *(f"{site},1000" for site in there), *dear]), "utf-8")
    words = {"existing": "closable", "prices": str(path), "effort": "searched"}
    some, kept = asked(network, **words), asked(network, target_share=0.1, **words)
    new, old = len(orders(some.plan)), sum(bool(site.kept) for site in some.sites)
    assert new + old == len(some.sites)
    assert some.headline.startswith(
        f"{new} new sites, {old} kept and {len(some.closes)} closed bring 80.0 % of access points within 500 us of"
    )
    assert set(some.closes) == set(there) - {site.id for site in some.sites}
    assert kept.headline.startswith(
        f"{len(kept.sites)} kept sites and {len(kept.closes)} closed bring 10.0 % of access points within 500 us of"
    )
    assert {site.id for site in kept.sites if site.kept} <= set(there)
    assert {site.kept for site in asked(network, effort="greedy").sites} == {None}


def test_a_rung_is_listed_again_only_where_it_brought_a_better_plan_or_bound(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fen = 100
    rungs = [
        ("greedy", 90, 10.0),
        ("relaxed", 80, 50.0),
        ("searched", 80, 50.0),
        ("exact", 80, 50.0),
        ("exact", 80, 60.0),
        ("exact", 80, 60.000001),
        ("exact", 70, 60.0),
        ("exact", 70, 65.0),
        ("exact", 70, 65.0),
    ]
    noted = tuple(Rung(name, value * fen, bound * fen, float(at)) for at, (name, value, bound) in enumerate(rungs))

    def told(*args: Any, **kwargs: Any) -> Coverage:
        found = coverage(*args, **kwargs)
        proof = msgspec.structs.replace(found.plan.proof, value=70.0, bound=66.0)
        return found._replace(rungs=noted, plan=msgspec.structs.replace(found.plan, proof=proof))

    monkeypatch.setattr(operation, "coverage", told)
    assert [(step.rung, step.value, step.bound, step.seconds) for step in asked(network, effort="greedy").rungs] == [
        ("greedy", 90.0, 10.0, 0.0),
        ("relaxed", 80.0, 50.0, 1.0),
        ("searched", 80.0, 50.0, 2.0),
        ("exact", 80.0, pytest.approx(60.0), 5.0),
        ("exact", 70.0, 60.0, 6.0),
        ("exact", 70.0, 66.0, 8.0),
    ]


def test_the_last_rung_has_the_value_of_the_plan_and_no_lower_bound_whatever_is_locked(network: str) -> None:
    first = asked(network, effort="relaxed")
    outside = next(site for site in core_without_compute(world().intended) if site not in {s.id for s in first.sites})
    for words in ({}, {"lock": outside}, {"lock": outside, "money_cny": 30_000_000.0}):
        answer = asked(network, effort="relaxed", **words)
        last = answer.rungs[-1]
        assert last.value == pytest.approx(answer.value)
        assert last.gap_share == pytest.approx(answer.gap_share, abs=1e-8)
        assert last.bound >= answer.bound


@given(st.floats(1e-9, 1e15), st.floats(1e-9, 1.0))
@settings(deadline=None)
def test_percentages_are_never_told_with_exponents(value: float, bound_share: float) -> None:
    proof = Proof(value=value, bound=bound_share * value, unit="CNY", how="", certificate={})
    bare = Plan(planner="", question={}, revision="", made_at_s=0.0, reads=(), actions=(), price_cny=value, proof=proof)
    said = said_of(bare)
    assert not re.search(r"\de[+-]?\d", f"{said} {percent(bound_share)}")


def test_what_is_at_most_so_much_is_never_told_as_less() -> None:
    told = [at_most(share) for share in (0.01249, 0.0204, 0.13951, 0.5, 0.0, 1e-9, 2.0)]
    assert told == ["1.3 %", "2.1 %", "14.0 %", "50.0 %", "0 %", "0.0000001 %", "200.0 %"]


def test_percentages_are_told_in_two_digits_below_ten_and_as_shares_from_there() -> None:
    assert [percent(share) for share in (1.015, 0.1, 0.037, 0.00012, 3e-8)] == [
        "101.5 %",
        "10.0 %",
        "3.7 %",
        "0.012 %",
        "0.000003 %",
    ]
