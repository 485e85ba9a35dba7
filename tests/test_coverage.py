from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from functools import cache
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import Infeasible, InputError
from karez.importers.generate import nation
from karez.measure.circles import circles, compute_sites, points
from karez.measure.reach import typical
from karez.operations import GenerateQuestion, PlanCoverageQuestion
from karez.operations import generate as generate_operation
from karez.operations import plan_coverage as operation
from karez.plan.certificate import check_certificate, proven
from karez.plan.check import check
from karez.plan.coverage import Ask, Coverage, coverage
from karez.plan.covering.ladder import Effort
from karez.plan.plan import Plan, applied
from karez.plan.sites import lead_time_s, price_of_site_cny
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
    bare = _with_certificate(found.plan, cuts_row=(), cuts_site=(), cuts_dual=())
    assert proven(bare, world()) < found.plan.proof.bound <= proven(found.plan, world()) + 1e-6


def test_a_cut_that_leaves_out_what_does_not_reach_its_row_is_found_out() -> None:
    plan = surviving().plan
    sites = plan.proof.certificate["cuts_site"]
    assert isinstance(sites, tuple)
    # The next of them reaches another row.
    moved = _with_certificate(plan, cuts_site=(*sites[1:], sites[0]))
    assert any("cuts" in problem.what for problem in check_certificate(moved, world()))
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
    found = nations("searched", prices_cny=prices, existing="closable").plan
    chosen = found.proof.certificate["sites"]
    assert isinstance(chosen, tuple)
    dearer = sum(site in existing for site in chosen)
    assert found.price_cny == 10.0 * (len(chosen) - dearer) + 11.0 * dearer
    assert found.price_cny <= nations("searched", prices_cny=prices).plan.price_cny + 11.0 * len(existing)
    assert [action.subject for action in found.actions] == [site for site in chosen if site not in existing]


CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"lock": ("nowhere",)}, "lock: names sites that are no candidates"),
    "both": ({"lock": ("c000100",), "forbid": ("c000100",)}, "names sites that are forbidden too"),
    "existing": ({"lock": ("c000001",)}, "names sites that are no candidates"),
    "phases and spare": ({"phases": ((1999, 0.8),), "spare": 1}, "cannot be had with spare"),
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
