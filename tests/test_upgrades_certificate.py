"""Plans of sites and upgrades of links: against trying everything, and certificates that were tampered with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import Infeasible, InputError
from karez.importers.generate import nation
from karez.measure.circles import compute_sites, fixed, points
from karez.measure.delay import FIGURES, Figures, constants, link_oneway_us, link_parts
from karez.measure.reach import at_figures, timed, typical
from karez.operations import PlanUpgradesQuestion
from karez.operations import plan_upgrades as operation
from karez.plan.check import CERTIFICATES, check
from karez.plan.covering.ladder import Effort
from karez.plan.order import order
from karez.plan.plan import Cell, Plan, applied
from karez.plan.rates import rates
from karez.plan.sites import price_of_site_cny
from karez.plan.upgrades import Ask, Upgrade, Upgraded, upgrades
from karez.plan.upgrades_certificate import DEVICES, check_upgrades, proven
from karez.twin import Twin, World, store
from tests.test_circles import networks, shortest
from tests.test_circles import oracle as graph_of
from tests.test_coverage import core_without_compute, subsets, with_servers

AT_S, TARGET_SHARE = 1_000_000.0, 0.5
Change = Callable[[dict[str, Any]], object]


def answered(twin: Twin, effort: Effort = "exact", **asked: Any) -> Upgraded:
    """The plan for what is asked, whose certificate holds."""
    world = World(twin, twin)
    found = upgrades(world, Ask(**asked), at_s=AT_S, effort=effort)
    assert check_upgrades(found.plan, world) == []
    assert check(found.plan, world, at_s=AT_S) == []
    assert proven(found.plan, world) == pytest.approx(found.plan.proof.bound, abs=0.02)
    return found


def reached(twin: Twin, sites: Sequence[str], bought: Sequence[Upgrade], budget_us: float) -> int:
    """The weight of access points within the budget, by networkx on the network with its upgrades."""
    oneway_us, built = link_oneway_us(twin, figures="typical"), with_servers(twin, sites)
    for one in bought:
        oneway_us[twin["links"].rows([one.link])] -= one.saving_us or 0.0
    oneway_us[~np.isin(twin["links"]["layer"], [b"optical"]) | ~twin["links"]["up"]] = np.inf
    graph = graph_of(twin, oneway_us).reverse()
    counted, near = points(twin, "access_point"), set[bytes]()
    for row in compute_sites(built):
        near |= {one for one, ns in shortest(graph, twin["sites"].ids[row]).items() if ns < budget_us * 1_000}
    names = np.concatenate([twin["sites"].ids.astype("S64"), twin["stations"].ids.astype("S64")])
    held = [bool(at >= 0) and names[at] in near for at in counted.vertex]
    return int(fixed(counted.weight)[held].sum())


def joins_sites(twin: Twin) -> list[str]:
    """The links whose two ends are sites."""
    sites = set(twin["sites"].ids.tolist())
    links = twin["links"]
    return [str(row["id"]) for row in links.records() if {str(row["a"]).encode(), str(row["b"]).encode()} <= sites]


def hop_us(twin: Twin, link: str) -> float:
    """What the hop of a link takes by the library."""
    return constants("typical")[f"{twin['links'].cell(link, 'kind')} hop"]


@given(networks(), st.sampled_from([150.0, 200.0, 400.0]), st.sampled_from([0.5, 0.8, 1.0]), st.data())
@settings(max_examples=60, deadline=None)
def test_the_cheapest_sites_and_upgrades_are_found_and_no_bound_is_above_them(
    twin: Twin, budget_us: float, target_share: float, data: st.DataObject
) -> None:
    links = joins_sites(twin)[:4]
    may = tuple(
        Upgrade(
            link=link,
            kind="faster access",
            price_cny=float(data.draw(st.integers(1, 4))),
            saving_us=round(hop_us(twin, link) * data.draw(st.sampled_from([0.3, 0.9])), 3),
        )
        for link in links
    )
    if not may:
        return
    core = core_without_compute(twin)
    prices = {site: float(data.draw(st.integers(1, 9))) for site in core}
    needed = target_share * int(fixed(points(twin, "access_point").weight).sum())
    costs = [
        sum(prices[site] for site in sites) + sum(may[int(at)].price_cny for at in some)
        for sites in subsets(core)
        for some in subsets([str(at) for at in range(len(may))])
        if reached(twin, sites, [may[int(at)] for at in some], budget_us) >= needed
    ]
    asked: dict[str, Any] = {
        "upgrades": may,
        "prices_cny": prices,
        "budget_us": budget_us,
        "target_share": target_share,
    }
    if not costs:
        with pytest.raises(Infeasible, match="cannot be reached"):
            answered(twin, **asked)
        return
    found = answered(twin, **asked)
    assert found.plan.proof.bound <= min(costs) == found.plan.price_cny
    assert found.plan.price_cny <= found.alone_cny
    assert found.is_closed


@cache
def ground() -> Twin:
    return nation(stations=20_000, sites=60, seed=1)


def backbone(twin: Twin) -> list[str]:
    """Some links of the backbone."""
    links = twin["links"]
    return [link.decode() for link in links.ids[links["kind"] == b"backbone"][:120].tolist()]


def offered(twin: Twin) -> tuple[Upgrade, ...]:
    """Every kind of upgrade, on links of the backbone."""
    kinds = ("bypass", "straighter duct", "hollow-core fibre", "faster access")
    return tuple(
        Upgrade(
            link=link,
            kind=kinds[at % 4],  # type: ignore[arg-type]
            price_cny=100_000.0 + 1_000 * (at % 7),
            saving_us=9.0 if at % 4 == 3 else None,
        )
        for at, link in enumerate(backbone(twin))
    )


@cache
def usual() -> Upgraded:
    return answered(
        ground(), "searched", upgrades=offered(ground()), budget_us=500.0, target_share=TARGET_SHARE, weight="station"
    )


def test_upgrades_and_sites_together_cost_less_than_sites_alone() -> None:
    found = usual()
    assert found.bought
    assert found.plan.price_cny < found.alone_bound_cny <= found.alone_cny
    assert found.before_share < TARGET_SHARE <= found.after_share
    assert found.plan.proof.gap_share < 0.05
    sites_cny = len(found.sites) * price_of_site_cny()
    assert found.plan.price_cny == pytest.approx(sites_cny + sum(one.upgrade.price_cny for one in found.bought))


@cache
def in_halves() -> Twin:
    """The ground with lengths that leave half a ns of most delays to be rounded."""
    links = ground()["links"]
    halves_km = 0.005 * (2 * np.rint(links["length_km"] * 100) + 1)
    return ground().replace(links.set(np.arange(len(links)), length_km=halves_km))


def by_pairs(twin: Twin) -> tuple[Upgrade, ...]:
    """An upgrade of the hop and one of the fibre of each of some links; some say what they save."""
    hops, fibres = ("bypass", "faster access"), ("hollow-core fibre", "straighter duct")
    hop_saves_us, fibre_saves_us = (None, 17.001, 9.0), (None, 3.335, 1.0)
    return tuple(
        Upgrade(link=link, kind=kinds[at % 2], price_cny=1_000.0 * (1 + at % 7), saving_us=saves_us)  # type: ignore[arg-type]
        for at, link in enumerate(backbone(twin))
        for kinds, saves_us in ((hops, 17.001 if at % 2 else hop_saves_us[at % 3]), (fibres, fibre_saves_us[at % 3]))
    )


@cache
def pairs_bought(figures: Figures) -> Upgraded:
    asked: dict[str, Any] = {"budget_us": 500.0, "target_share": 0.53, "weight": "station", "figures": figures}
    return answered(in_halves(), "searched", upgrades=by_pairs(in_halves()), **asked)


@pytest.mark.parametrize("figures", FIGURES)
def test_delays_are_those_that_the_plan_promised_once_it_is_applied(figures: Figures) -> None:
    found, twin = pairs_bought(figures), in_halves()
    of_a_link = Counter(one.upgrade.link for one in found.bought)
    assert {one.upgrade.kind for one in found.bought} == set(DEVICES)
    assert figures == "low" or 2 in of_a_link.values()
    promised = link_parts(twin).oneway_ns(constants(figures), 2**29)
    for one in found.bought:
        promised[twin["links"].rows([one.upgrade.link])] -= one.saving_ns
    after = applied(found.plan.actions, twin).at(float(found.plan.question["service_at_s"]))
    assert link_parts(after).oneway_ns(constants(figures), 2**29).tolist() == promised.tolist()
    counted = points(after, "station")
    reach = at_figures(after, counted, figures)
    covered = reach.covered(compute_sites(after), 500_000).sum() / reach.total.sum()
    assert covered == pytest.approx(found.after_share, rel=1e-12)
    added = len(after["equipment"]) - len(twin["equipment"])
    assert added == len(found.sites) + sum(bool(DEVICES[one.upgrade.kind]) for one in found.bought)


def test_what_was_applied_is_not_offered_again() -> None:
    found, twin = pairs_bought("typical"), in_halves()
    said_once = [one.upgrade for one in found.bought if one.upgrade.kind != "straighter duct"]
    asked: dict[str, Any] = {"upgrades": by_pairs(twin), "budget_us": 500.0, "weight": "station"}
    after = applied(found.plan.actions, twin)
    again = answered(after, "searched", target_share=0.53, **asked)
    assert (again.plan.actions, again.plan.price_cny) == ((), 0.0)
    assert again.before_share == pytest.approx(found.after_share, rel=1e-12)
    more = answered(after, "searched", target_share=0.56, **asked)
    assert more.plan.actions
    for one in (again, more):
        assert sorted(map(str, one.done)) == sorted(map(str, said_once))
        offered = one.plan.proof.certificate
        links, kinds = offered["links"], offered["kinds"]
        assert isinstance(links, tuple)
        assert isinstance(kinds, tuple)
        assert not {(up.link, up.kind) for up in said_once} & set(zip(links, kinds, strict=True))
        assert len(links) == len(asked["upgrades"]) - len(said_once)


def test_a_list_of_which_all_is_done_is_refused() -> None:
    twin = ground()
    links = twin["links"]
    done = twin.replace(links.set(links.rows(backbone(twin)), hop_us=9.0, fibre_us_per_km=3.4))
    some = tuple(one for one in offered(twin) if one.kind != "straighter duct")
    with pytest.raises(InputError, match="upgrades: are all done"):
        answered(done, upgrades=some)


def test_a_duct_of_fibre_that_says_what_it_takes_saves_by_that() -> None:
    twin, links = ground(), ground()["links"]
    said = twin.replace(links.set(links.rows(backbone(twin)), fibre_us_per_km=3.4))
    ducts = tuple(Upgrade(link=one, kind="straighter duct", price_cny=1_000.0) for one in backbone(twin))
    found = answered(said, "searched", upgrades=ducts, budget_us=500.0, target_share=0.53, weight="station")
    assert found.bought
    for one in found.bought:
        km = float(links.cell(one.upgrade.link, "length_km"))
        assert one.saving_ns / 1_000 == pytest.approx(3.4 * km * (1 - 1.2 / 1.4), abs=1e-3)


def test_an_order_lists_what_upgrades_take() -> None:
    found = usual()
    made = order(found.plan, ground(), rates())
    works = {(line.work.act, line.work.subject) for line in made.lines}
    assert {(one.upgrade.kind, one.upgrade.link) for one in found.bought} <= works
    assert {("edge_inference", site) for site in found.sites} <= works


def test_coverage_of_the_plan_is_that_of_a_search_on_the_upgraded_network() -> None:
    found, twin = usual(), ground()
    oneway_ns = link_parts(twin).oneway_ns(constants("typical"), 2**29)
    for one in found.bought:
        oneway_ns[twin["links"].rows([one.upgrade.link])] -= one.saving_ns
    before = typical(twin, points(twin, "station"))
    after = timed(before.topology, oneway_ns, before.points, metros=before.metros)
    sites = compute_sites(with_servers(twin, found.sites))
    assert after.covered(sites, 500_000).sum() / after.total.sum() == pytest.approx(found.after_share, rel=1e-12)


def test_nothing_is_built_where_the_target_is_reached_already() -> None:
    found = answered(ground(), upgrades=offered(ground()), budget_us=500.0, target_share=0.0)
    assert (found.plan.actions, found.plan.price_cny, found.plan.proof.bound) == ((), 0.0, 0.0)


def changed(change: Change) -> Plan:
    """The usual plan with another certificate."""
    plan = usual().plan
    certificate: dict[str, Any] = dict(plan.proof.certificate)
    change(certificate)
    return msgspec.structs.replace(plan, proof=msgspec.structs.replace(plan.proof, certificate=certificate))


def scaled(name: str, factor: float) -> Change:
    return lambda c: c.update({name: tuple(factor * value for value in c[name])})


def put(name: str, value: object) -> Change:
    return lambda c: c.update({name: value})


def shortened(name: str) -> Change:
    return lambda c: c.update({name: c[name][:-1]})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (scaled("paid_fen", 1.5), "claims the bound"),
        (scaled("paid_fen", 0.5), "claims the bound"),
        (lambda c: c.update(weight_dual=c["weight_dual"] * 2), "claims the bound"),
        (lambda c: c.update(rows_point=(*c["rows_point"][1:], c["rows_point"][0])), "claims the bound"),
        (scaled("upgrade_prices_fen", 0.5), "where its parts cost"),
        (lambda c: c.update(savings_ns=tuple(value // 4 for value in c["savings_ns"])), "brings a weight of"),
        (scaled("savings_ns", 100.0), "saves all that a link's fibre or hop takes, or more"),
        (shortened("upgraded"), "does not do what the certificate chose"),
        (shortened("sites"), "does not do what the certificate chose"),
        (put("weight_dual", -1.0), "weight_dual is -1.0"),
        (put("weight_dual", float("nan")), "weight_dual is nan"),
        (put("rows_point", ("nowhere",)), "names points that do not count"),
        (put("links", ()), "must be a list of 0"),
        (lambda c: c.update(links=("nowhere", *c["links"][1:])), "no link of the core"),
        (lambda c: c.update(kinds=("magic", *c["kinds"][1:])), "no known kind"),
        (lambda c: c.pop("paid_part"), "paid_part must be a list"),
        (lambda c: c.update(upgraded=c["upgraded"] + c["upgraded"][:1]), "chose upgrades twice"),
    ],
)
def test_a_tampered_certificate_is_refused(change: Change, told: str) -> None:
    twin = ground()
    problems = "\n".join(map(str, check_upgrades(changed(change), World(twin, twin))))
    assert re.search(told, problems), problems


def test_a_tampered_plan_is_refused() -> None:
    twin, plan = ground(), usual().plan
    world, changes = World(twin, twin), {one.sets[0].column: one for one in plan.actions if one.sets}
    claims = msgspec.structs.replace(plan, proof=msgspec.structs.replace(plan.proof, bound=plan.proof.value))
    fewer = msgspec.structs.replace(plan, actions=plan.actions[1:])
    farther = msgspec.structs.replace(plan, question={**plan.question, "targets": "500=0.95"})
    assert "claims the bound" in str(check_upgrades(claims, world))
    assert "does not do what the certificate chose" in str(check_upgrades(fewer, world))
    assert "where the target takes" in str(check_upgrades(farther, world))
    assert "not by 'upgrades'" in str(check_upgrades(msgspec.structs.replace(plan, planner="coverage"), world))
    assert len(changes) > 1
    more: list[dict[str, Any]]
    for one in changes.values():
        cell, when = one.sets[0], one.ends_at_s + 1.0
        assert isinstance(cell.after, float)
        wrong = [Cell(cell.table, cell.row, cell.column, cell.before, after) for after in (0.0, 0.999 * cell.after)]
        wrong.append(Cell(cell.table, cell.row, "capacity_gbps", cell.before, cell.after))
        more = [{"sets": (other,)} for other in wrong] + [{"sets": ()}, {"ends_at_s": when}]
        for change in more:
            acted = tuple(msgspec.structs.replace(act, **change) if act is one else act for act in plan.actions)
            assert "acts otherwise" in str(check_upgrades(msgspec.structs.replace(plan, actions=acted), world))


def test_a_plan_may_set_several_cells_of_a_row_and_none_of_them_twice() -> None:
    twin, plan = ground(), usual().plan
    one = next(act for act in plan.actions if act.sets)
    cell = one.sets[0]
    again = msgspec.structs.replace(one, sets=(Cell(cell.table, cell.row, cell.column, cell.before, 1.0),), adds=())
    twice = check(msgspec.structs.replace(plan, actions=(*plan.actions, again)), World(twin, twin), at_s=AT_S)
    assert ("changes the same twice", (f"links[{cell.row}].{cell.column}",)) in {
        (each.what, each.rows) for each in twice
    }


def test_a_plan_that_upgrades_what_its_link_says_already_is_refused() -> None:
    twin, plan = ground(), usual().plan
    for column in ("hop_us", "fibre_us_per_km"):
        for one in [act for act in plan.actions if act.sets and act.sets[0].column == column][:1]:
            said: dict[str, Any] = {column: 2.0}
            other = twin.replace(twin["links"].set(twin["links"].rows([one.subject]), **said))
            told = str(check_upgrades(plan, World(other, other)))
            assert "upgrades what its link says already" in told
            assert one.subject in told


def test_a_plan_for_another_network_is_refused() -> None:
    other = nation(stations=20_000, sites=60, seed=4)
    assert check_upgrades(usual().plan, World(other, other))


def test_plans_of_upgrades_are_checked_with_their_certificate() -> None:
    assert CERTIFICATES["upgrades"] is check_upgrades


def in_chain(twin: Twin) -> str:
    """A link within a chain of stations."""
    made = typical(twin, points(twin, "station")).topology
    return str(twin["links"].ids[made.chains.via[0]].decode())


def test_every_upgrade_that_makes_no_sense_is_told_with_its_row() -> None:
    twin = ground()
    one, two, three, four = backbone(twin)[:4]
    rows = (
        Upgrade(link="nowhere", kind="bypass", price_cny=1.0),
        Upgrade(link=in_chain(twin), kind="bypass", price_cny=1.0),
        Upgrade(link=one, kind="straighter duct", price_cny=-1.0),
        Upgrade(link=two, kind="faster access", price_cny=1.0),
        Upgrade(link=three, kind="straighter duct", price_cny=float("nan")),
        Upgrade(link=three, kind="hollow-core fibre", price_cny=1.0),
        Upgrade(link=four, kind="faster access", price_cny=1.0, saving_us=0.0),
    )
    with pytest.raises(InputError) as raised:
        answered(twin, upgrades=rows, prices_cny={"nobody": 1.0})
    told = {(problem.where, problem.what) for problem in raised.value.problems}
    assert told == {
        ("upgrades, row 1", "names a link that is not there"),
        ("upgrades, row 2", "names a link within a chain or ring of stations, which is known by its ends alone"),
        ("upgrades, row 3", "has no price"),
        ("upgrades, row 4", "does not say what faster access saves"),
        ("upgrades, row 5", "has no price"),
        ("upgrades, row 6", "changes the fibre of a link a second time: such savings do not add up"),
        ("upgrades, row 7", "has a saving that is none"),
        ("prices", "names sites that are not there"),
    }


def test_no_upgrade_saves_all_that_the_hop_of_its_link_takes() -> None:
    link = backbone(ground())[0]
    with pytest.raises(InputError, match="row 1: saves 90000 us of a hop that takes 50 us"):
        answered(ground(), upgrades=(Upgrade(link=link, kind="bypass", price_cny=1.0, saving_us=90_000.0),))


def listed(folder: Path, rows: str) -> str:
    path = folder / "upgrades.csv"
    path.write_text(f"link,kind,price_cny,saving_us\n{rows}", "utf-8")
    return str(path)


def test_the_headline_has_quantities_and_compares_with_sites_alone(tmp_path: Path) -> None:
    store.save(ground(), tmp_path / "net", source="generated", at_s=AT_S, note="", synthetic=True)
    rows = "".join(
        f"{one.link},{one.kind.replace(' ', '_')},{one.price_cny:g},{one.saving_us or ''}\n"
        for one in offered(ground())
    )
    question = PlanUpgradesQuestion(
        network=str(tmp_path / "net"),
        upgrades=listed(tmp_path, rows),
        budget_us=500.0,
        target_share=TARGET_SHARE,
        weight="station",
        effort="searched",
        output=str(tmp_path / "plan.json"),
    )
    answer = operation.run(question)
    assert answer.price_cny == usual().plan.price_cny
    assert f"{len(answer.upgrades)} upgrade" in answer.headline
    assert "cheaper than sites alone" in answer.headline
    assert "synthetic" in answer.headline
    assert msgspec.json.decode((tmp_path / "plan.json").read_bytes(), type=Plan) == answer.plan


def test_every_wrong_row_of_the_list_is_told(tmp_path: Path) -> None:
    path = listed(tmp_path, ",bypass,1,\nl1,magic,1,\nl2,bypass,,\nl3,bypass,1,-4\n")
    with pytest.raises(InputError) as raised:
        operation.upgrade_list(path)
    assert [problem.what for problem in raised.value.problems] == [
        "names no link",
        "has the kind magic",
        "has the price none for l2",
        "saves '-4'",
    ]
    with pytest.raises(InputError, match="lists no upgrade"):
        operation.upgrade_list(listed(tmp_path, ""))
