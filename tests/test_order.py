"""From a plan to an order: parts that sum to totals, refusals that say everything, files that a buyer can use."""

from __future__ import annotations

import csv
import io
import math
import random
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import networkx as nx
import numpy as np
import openpyxl  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError
from karez.faces import cli, text
from karez.importers.generate import nation
from karez.measure.circles import compute_sites
from karez.measure.delay import constants, link_parts
from karez.operations import OrderQuestion
from karez.operations import order as operation
from karez.operations.render.order import FORMULA, Sheet, as_csv, as_xlsx
from karez.plan import rates as lists
from karez.plan.order import (
    YEAR_S,
    Line,
    end_of_year_s,
    order,
    replacements,
    summed,
    works_of,
)
from karez.plan.plan import Action, Cell, NewRow, Plan, Proof
from karez.plan.rates import Given, Rates, rates
from karez.plan.sites import DAY_S
from karez.twin import Table, Twin, store
from karez.twin.facts import library
from karez.twin.schema import Value
from karez.units import FEN_PER_CNY
from tests.test_circles import golden, networks, oracle

# The middle of 2026, 2027 and 2028.
MIDDLES_S = (1_782_900_000.0, 1_814_400_000.0, 1_846_000_000.0)
LINK = golden()["links"].ids[0].decode()
ROOM, SERVER = "small edge site with power and cooling", "accelerator server rack by 8 chips"


def at_site(site: str, at_s: float = MIDDLES_S[0], /, **values: Value) -> Action:
    new: dict[str, Value] = {"site": site, "kind": "edge_inference", "valid_from_s": at_s}
    return Action(
        kind="order_equipment",
        subject=site,
        adds=(NewRow("equipment", f"edge-{site}", new | values),),
        blast_radius=(site,),
        expires_at_s=at_s,
        ends_at_s=at_s,
    )


def on_link(kind: str, link: str, *cells: Cell, at_s: float = MIDDLES_S[0]) -> Action:
    return Action(kind=kind, subject=link, sets=cells, blast_radius=(link,), expires_at_s=at_s, ends_at_s=at_s)


def new_link(link: str, a: str, b: str, length_km: float, **values: Value) -> Action:
    told: dict[str, Value] = {"a": a, "b": b, "kind": "core", "length_km": length_km, "valid_from_s": MIDDLES_S[1]}
    adds = (NewRow("links", link, told | values),)
    return Action(kind="build_link", subject=link, adds=adds, blast_radius=(a, b), expires_at_s=0.0)


def plan_of(*actions: Action, planner: str = "coverage", **question: Value) -> Plan:
    told: dict[str, Value] = {"targets": "1000=0.5"}
    return Plan(
        planner=planner,
        question=told | question,
        revision="",
        made_at_s=MIDDLES_S[0] - 200 * DAY_S,
        reads=(),
        actions=actions,
        price_cny=0.0,
        proof=Proof(value=0.0, bound=0.0, unit="CNY", how="none"),
    )


@cache
def usual() -> Rates:
    return rates()


def listed(*rows: dict[str, str], file: str = "mine.csv") -> Given:
    return Given(file, [(f"line {number}", row) for number, row in enumerate(rows, 2)])


def told(action: Callable[[], object]) -> str:
    with pytest.raises(InputError) as raised:
        action()
    return "\n".join(str(problem) for problem in raised.value.problems)


@st.composite
def orders(draw: st.DrawFn) -> tuple[Twin, Plan]:
    """A small network and a plan in phases on it: devices at some sites, work on some links."""
    provinces: dict[str, list[Value]] = {"id": ["P"], "name": ["P"], "price_cny_per_kwh": [0.61], "pue": [1.3]}
    twin = draw(networks()).replace(Table.of("provinces", provinces))
    sites = draw(st.lists(st.sampled_from([s.decode() for s in twin["sites"].ids]), unique=True, min_size=1))
    links = [link.decode() for link in twin["links"].ids]
    acts = st.sampled_from(["bypass", "straighter_duct", "hollow-core_fibre", "faster_access"])
    changed = draw(st.lists(st.tuples(acts, st.sampled_from(links)), unique=True, max_size=6)) if links else []
    when = st.sampled_from(MIDDLES_S)
    actions = [at_site(site, draw(when)) for site in sites]
    actions += [on_link(act, link, at_s=draw(when)) for act, link in changed]
    budget_us = draw(st.sampled_from([100.0, 400.0, 1_000.0]))
    return twin, plan_of(*draw(st.permutations(actions)), targets=f"{budget_us}=0.5")


def parts(lines: tuple[Line, ...], key: Callable[[Line], object]) -> list[tuple[Line, ...]]:
    return [tuple(line for line in lines if key(line) == part) for part in {key(line) for line in lines}]


@given(orders(), st.sampled_from([{}, {"item": SERVER, "price_cny": "0.07", "lead_time_days": "3.5"}]))
@settings(max_examples=60, deadline=None)
def test_parts_sum_to_totals_exactly_whichever_way_an_order_is_cut(
    case: tuple[Twin, Plan], price: dict[str, str]
) -> None:
    twin, plan = case
    made = order(plan, twin, rates(prices=listed(price) if price else Given()))
    total = summed(made.lines)
    for key in (
        lambda line: line.work.year,
        lambda line: line.work.subject,
        lambda line: line.item,
        lambda line: line.work.act,
    ):
        sums = [summed(lines) for lines in parts(made.lines, key)]
        for item, quantity in total.quantities.items():
            assert sum(each.quantities.get(item, 0) for each in sums) == quantity
        for end in range(3):
            assert sum(each.capex_fen[end] for each in sums) == total.capex_fen[end]
            assert sum(each.yearly_fen[end] for each in sums) == total.yearly_fen[end]
        assert min(each.order_at_s or math.inf for each in sums) == total.order_at_s
    assert set(made.years) == {line.work.year for line in made.lines} <= {2026, 2027, 2028}
    assert all(isinstance(line.quantity, int) and line.quantity > 0 for line in made.lines)
    assert total.yearly_fen.typical > 0
    for line in made.lines:
        assert line.price is not None
        assert line.capex_fen == tuple(line.quantity * fen for fen in line.price.fen)
        assert line.capex_fen.low <= line.capex_fen.typical <= line.capex_fen.high


@given(orders())
@settings(max_examples=60, deadline=None)
def test_quantities_are_the_least_whole_numbers_that_the_recipes_allow(case: tuple[Twin, Plan]) -> None:
    twin, plan = case
    made = order(plan, twin, usual())
    found = {(line.work, line.item): line.quantity for line in made.lines}
    assert len(found) == len(made.lines)
    for work in works_of(plan, twin, usual()):
        km = Fraction(float(twin["links"].cell(work.subject, "length_km"))) if work.is_link else Fraction(0)
        counts: dict[str, Fraction | int] = {
            "site": int(not work.is_link),
            "link": int(work.is_link),
            "link km": km,
            "station served": made.served.get(work.subject, 0),
        }
        for item in {recipe.item for recipe in usual().recipes[work.act]}:
            recipes = [recipe for recipe in usual().recipes[work.act] if recipe.item == item]
            exact = sum((recipe.quantity * counts[recipe.per] for recipe in recipes), Fraction(0))
            assert found.get((work, item), 0) - 1 < exact <= found.get((work, item), 0)


@given(orders(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_actions_changes_nothing(case: tuple[Twin, Plan], chance: random.Random) -> None:
    twin, plan = case
    actions = list(plan.actions)
    chance.shuffle(actions)
    assert order(msgspec.structs.replace(plan, actions=tuple(actions)), twin, usual()) == order(plan, twin, usual())


@given(orders())
@settings(max_examples=40, deadline=None)
def test_stations_served_are_those_that_networkx_finds_nearest_within_the_budget(case: tuple[Twin, Plan]) -> None:
    twin, plan = case
    sites = [action for action in plan.actions if action.kind == "order_equipment"]
    new = {"id": [f"e-{each.subject}" for each in sites], "site": [each.subject for each in sites]}
    after = twin.replace(twin["equipment"].add(new | {"kind": ["edge_inference"] * len(sites)}))
    network = oracle(after, link_parts(after).oneway_us(constants("typical"))).reverse()
    away = {
        site: nx.single_source_dijkstra_path_length(network, site)
        for site in after["sites"].ids[compute_sites(after)].tolist()
    }
    expected = dict.fromkeys((each.subject for each in sites), 0)
    for station in after["stations"].ids.tolist():
        delay, site = min((ways.get(station, math.inf), site) for site, ways in away.items())
        if delay < float(str(plan.question["targets"]).partition("=")[0]) * 1_000 and site.decode() in expected:
            expected[site.decode()] += 1
    assert order(plan_of(*sites, targets=plan.question["targets"]), twin, usual()).served == expected


def test_an_order_by_hand_counts_stations_rounds_up_and_takes_the_longest_lead_time() -> None:
    made = order(plan_of(at_site("a1")), golden(), usual())
    assert made.served == {"a1": 4}
    assert summed(made.lines).quantities == {
        "400g port": 3,
        SERVER: 1,
        "edge inference card": 1,
        "otn card": 2,
        ROOM: 1,
    }
    assert summed(made.lines).order_at_s == MIDDLES_S[0] - 180 * DAY_S
    assert made.late(MIDDLES_S[0] - 180 * DAY_S) == ()
    assert {line.item for line in made.late(MIDDLES_S[0] - 178 * DAY_S)} == {ROOM}


def test_what_a_year_costs_is_power_by_hours_by_pue_by_price_and_maintenance() -> None:
    provinces: dict[str, list[Value]] = {"id": ["P"], "name": ["P"], "price_cny_per_kwh": [0.5], "pue": [1.2]}
    twin = golden().replace(Table.of("provinces", provinces))
    mine = listed({"item": SERVER, "power_kw": "10", "maintenance_share": "0.1"})
    price = listed({"item": SERVER, "price_cny": "1000000", "lead_time_days": "10"})
    made = order(plan_of(at_site("a1")), twin, rates(upkeep=mine, prices=price))
    (line,) = (line for line in made.lines if line.item == SERVER)
    assert line.yearly_fen is not None
    assert [fen / FEN_PER_CNY for fen in line.yearly_fen] == [10 * 8_760 * 1.2 * 0.5 + 100_000] * 3
    unknown = order(plan_of(at_site("a1")), golden().replace(Table.of("provinces")), rates())
    assert {line.yearly_fen for line in unknown.lines} == {None}
    assert summed(unknown.lines).capex_fen.typical > 0


def test_links_take_whole_kilometres_and_what_their_kind_of_work_takes() -> None:
    twin = golden()
    link = twin["links"].ids[0].decode()
    longer = Cell("links", link, "length_km", float(twin["links"]["length_km"][0]), 12.1)
    plan = plan_of(on_link("straighter_duct", link, longer), new_link("n1", "a1", "c2", 7.0), on_link("bypass", link))
    quantities = {(line.work.subject, line.item): line.quantity for line in order(plan, twin, usual()).lines}
    assert quantities == {
        (link, "fibre km"): 13,
        (link, "oxc chassis"): 1,
        (link, "800g port"): 2,
        ("n1", "fibre km"): 7,
        ("n1", "otn card"): 2,
        ("n1", "400g port"): 2,
    }
    own = listed({"act": "dig", "item": "spade", "quantity": "0.3", "per": "link km"})
    (line,) = order(plan_of(on_link("dig", link, longer)), twin, rates(recipes=own)).lines
    assert (line.item, line.quantity, line.price, line.capex_fen, line.order_at_s) == ("spade", 4, None, None, None)


START = Action(kind="start_job", subject="j1", adds=(NewRow("assignments", "j1", {"server": "x"}),), expires_at_s=0)


def retired(device: str) -> Action:
    cell = Cell("equipment", device, "valid_to_s", "inf", MIDDLES_S[0])
    return Action(kind="retire_equipment", subject=device, sets=(cell,), blast_radius=("a1",), expires_at_s=0)


def test_what_is_retired_is_not_ordered() -> None:
    twin = golden()
    twin = twin.replace(twin["equipment"].add({"id": ["old"], "site": ["a2"], "kind": ["edge_inference"]}))
    both, one = (order(plan_of(*acts), twin, usual()) for acts in ((at_site("a1"), retired("old")), (at_site("a1"),)))
    assert both.lines[0].quantity >= one.lines[0].quantity
    assert {line.item for line in both.lines} == {line.item for line in one.lines}
    assert "nothing is to be ordered" in told(lambda: order(plan_of(retired("old")), twin, usual()))


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (plan_of(), "has no action that builds: nothing is to be ordered"),
        (plan_of(retired("e-1")), "takes out of service what is not there (rows e-1)"),
        (plan_of(START, planner="place"), "by place: does what no recipe is for: start job (rows j1)"),
        (plan_of(at_site("nowhere")), "orders for sites that are not there (rows nowhere)"),
        (plan_of(at_site("a1"), at_site("a1", MIDDLES_S[1])), "takes a site or link twice for the same (rows a1)"),
        (plan_of(at_site("a1", valid_to_s=MIDDLES_S[2])), "un-builds"),
        (plan_of(at_site("a1", math.nan)), "does not say when"),
        (plan_of(at_site("a1", valid_from_s="soon")), "does not say when"),
        (plan_of(at_site("a1", valid_from_s=10**400)), "does not say when"),
        (
            plan_of(at_site("a1", site="a2")),
            "orders something else than one device, or chips",
        ),
        (plan_of(at_site("a1", kind="router")), "no recipe is for: router"),
        (plan_of(on_link("bypass", "nothing")), "is about links or sites that are not there (rows nothing)"),
        (plan_of(on_link("bypass", LINK, Cell("links", LINK, "up", True, False))), "un-builds"),
        (plan_of(on_link("bypass", LINK, Cell("links", LINK, "valid_to_s", math.inf, 9.0))), "un-builds"),
        (plan_of(on_link("bypass", LINK, Cell("sites", "a1", "name", "", "x"))), "changes what is no link"),
        (plan_of(on_link("bypass", LINK, Cell("links", LINK, "colour", "", "x"))), "changes what is no link"),
        (plan_of(on_link("bypass", LINK, Cell("links", LINK, "length_km", 1.0, "far"))), "how long its link is"),
        (plan_of(new_link("n1", "a1", "moon", 7.0)), "builds links whose ends are not there"),
        (plan_of(new_link("n1", "a1", "c2", -7.0)), "does not say how long its link is"),
    ],
)
def test_a_plan_that_is_for_something_else_or_unbuilds_is_refused(plan: Plan, said: str) -> None:
    assert said in told(lambda: order(plan, golden(), usual()))


def test_all_that_is_wrong_with_a_plan_is_told_at_once_and_each_thing_once() -> None:
    plan = plan_of(at_site("x"), at_site("y"), at_site("a1", valid_to_s=1.0), at_site("a2"), at_site("a2"))
    lines = told(lambda: order(plan, golden(), usual())).splitlines()
    assert len(lines) == 4
    assert "(rows x, y)" in lines[0]


def test_what_was_ordered_already_is_not_ordered_again() -> None:
    standing = Table.of("equipment", {"id": ["edge-a1"], "site": ["a1"], "kind": ["edge_inference"]})
    assert "ordered, already" in told(lambda: order(plan_of(at_site("a1")), golden().replace(standing), usual()))
    closing = golden()["sites"]
    closed = closing.set(closing.rows(["a1"]), valid_to_s=MIDDLES_S[0] - 1)
    twin = golden().replace(closed)
    assert "will not be there then (rows a1)" in told(lambda: order(plan_of(at_site("a1")), twin, usual()))


def test_every_fault_of_a_price_list_is_told_with_its_rows() -> None:
    bad = listed(
        {"item": "otn card", "price_cny": "-1", "lead_time_days": "5"},
        {"item": "otn card", "price_cny": "1", "lead_time_days": "5"},
        {"item": "unobtainium", "price_cny": "", "lead_time_days": "5"},
        {"item": "", "price_cny": "1", "lead_time_days": "soon"},
        {"item": "800g port", "price_cny": "1,000", "lead_time_days": "nan"},
        {"item": "400g port", "price_cny": "1e999999999", "lead_time_days": "99999"},
    )
    said = told(lambda: rates(prices=bad))
    for line in (
        "mine.csv: price_cny is negative (rows line 2 (otn card))",
        "mine.csv: has the item of an earlier row (rows line 3 (otn card))",
        "mine.csv: names an item that no recipe and no price list knows (rows line 4 (unobtainium))",
        "mine.csv: price_cny is missing (rows line 4 (unobtainium))",
        "mine.csv: item is missing (rows line 5 ())",
        "mine.csv: lead_time_days is no number (rows line 5 (), line 6 (800g port))",
        "mine.csv: price_cny is no number (rows line 6 (800g port), line 7 (400g port))",
        "mine.csv: lead_time_days is above 36500 (rows line 7 (400g port))",
    ):
        assert line in said, said
    assert "has no column price_cny, lead_time_days" in told(lambda: rates(prices=listed({"item": "otn card"})))
    assert "has no row" in told(lambda: rates(prices=Given("empty.csv", [])))


def test_every_fault_of_recipes_upkeep_and_ageing_is_told_together() -> None:
    recipes = listed(
        {"act": "dig", "item": "spade", "quantity": "1", "per": "hole"},
        {"act": "", "item": "spade", "quantity": "-1", "per": "site"},
        file="r.csv",
    )
    upkeep = listed({"item": "spade", "power_kw": "x", "maintenance_share": "2"}, file="u.csv")
    ageing = listed({"kind": "router", "life_years": "", "new_w_per_gbps": "-1", "new_w_per_tflops": ""}, file="a.csv")
    said = told(lambda: rates(recipes=recipes, upkeep=upkeep, ageing=ageing))
    assert [line.partition(":")[0] for line in said.splitlines()] == ["r.csv"] * 3 + ["u.csv"] * 2 + ["a.csv"] * 2
    assert "per is none that is known (rows line 2 (dig, spade)); use one of: site, station served, chip, link" in said


def test_the_library_has_a_price_and_the_upkeep_of_every_item_of_a_recipe_and_all_are_assumptions() -> None:
    for rows in usual().recipes.values():
        for recipe in rows:
            assert recipe.item in usual().prices
            assert recipe.item in usual().upkeep
    for name in ("recipes", "upkeep", "ageing"):
        for row in library(name):
            assert (row["confidence"], row["source"].partition(":")[0]) == ("M", "assumption")


def test_no_price_of_the_library_is_used_that_is_not_marked_as_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = [row | {"source": "an offer"} if row["item"] == ROOM else row for row in library("equipment")]
    monkeypatch.setattr(lists, "library", lambda name: offered if name == "equipment" else library(name))
    made = order(plan_of(at_site("a1")), golden(), rates())
    assert made.unpriced == (ROOM,)
    (line,) = (line for line in made.lines if line.item == ROOM)
    assert (line.quantity, line.capex_fen, line.yearly_fen, line.order_at_s) == (1, None, None, None)


def test_a_users_price_takes_the_place_of_the_librarys_and_nothing_else_changes() -> None:
    mine = rates(prices=listed({"item": ROOM, "price_cny": "12.345", "lead_time_days": "1"}))
    ours, yours = (order(plan_of(at_site("a1")), golden(), used).lines for used in (usual(), mine))
    assert [line[:3] for line in ours] == [line[:3] for line in yours]
    assert {line.item for line, other in zip(ours, yours, strict=True) if line != other} == {ROOM}
    assert next(line.capex_fen for line in yours if line.item == ROOM) == (1_234, 1_234, 1_234)


def test_what_is_due_is_told_with_its_age_its_support_and_its_energy_against_new() -> None:
    at_s = MIDDLES_S[0]
    nan = math.nan
    equipment: dict[str, list[Value]] = {
        "id": ["old", "ending", "young", "unknown", "later"],
        "site": ["a1"] * 5,
        "kind": ["router"] * 5,
        "power_kw": [1.0, 1.0, nan, 1.0, 1.0],
        "capacity_gbps": [1_000.0, nan, 1_000.0, 1_000.0, 1_000.0],
        "installed_at_s": [at_s - 9 * YEAR_S, at_s - YEAR_S, at_s, nan, nan],
        "supported_until_s": [nan, at_s + DAY_S, nan, math.inf, at_s + 5 * YEAR_S],
    }
    servers = golden()["servers"]
    rows = np.arange(len(servers))
    chips = golden()["chips"]
    twin = golden().replace(Table.of("equipment", equipment), servers.set(rows[:1], supported_until_s=at_s + 1))
    twin = twin.replace(chips.set(np.arange(len(chips)), power_w=400.0, peak_tflops_fp16=200.0))
    found = replacements(twin, usual().ageing, at_s=at_s, until_s=end_of_year_s(2026))
    assert [aged.id for aged in found.due] == ["old", servers.ids[0].decode(), "ending"]
    old, server, ending = found.due
    assert old.age_years == pytest.approx(9)
    assert old.supported_until_s is None
    assert (old.energy, old.new_energy, old.unit) == (1.0, 0.1, "W a Gbit/s")
    assert old.due_at_s == pytest.approx(at_s - YEAR_S)
    assert old.why == "as old as its kind lasts, 8 years"
    assert (ending.why, ending.energy, ending.due_at_s) == ("end of support", None, at_s + DAY_S)
    assert (server.table, server.energy, server.unit, server.age_years) == ("servers", 2.0, "W a TFLOP/s", None)
    assert (found.later, found.unknown) == (2, 1 + len(servers) - 1)


@given(st.lists(st.text(max_size=6), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_no_text_becomes_a_formula_in_either_format(words: list[str]) -> None:
    evil = [f"{start}{word}" for start in FORMULA for word in words]
    sheet = Sheet("s", ("a", "b"), tuple((word, -0.5) for word in evil))
    rows = list(csv.reader(io.StringIO(as_csv(sheet).decode("utf-8-sig"), newline="")))
    assert not any(row[0].startswith(FORMULA) for row in rows)
    assert {row[1] for row in rows[1:]} == {"-0.50"}
    book = openpyxl.load_workbook(io.BytesIO(as_xlsx([sheet], title="=1+1", made_at=operation._moment(0.0))))
    cells = [row[0] for row in book["s"].iter_rows(min_row=2)]
    assert {cell.data_type for cell in cells} <= {"s", "n"}
    assert all(cell.quotePrefix for cell in cells)
    assert book["s"]["B2"].value == -0.5


def test_a_formula_is_the_same_for_files_and_for_faces() -> None:
    assert FORMULA == text.FORMULA


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose first core site has an evil name, and a plan in two phases on it."""
    folder = tmp_path_factory.mktemp("order")
    twin = nation(stations=20_000, sites=60, seed=1)
    core = np.flatnonzero(twin["sites"]["kind"] == b"core")
    bare = np.setdiff1d(core, compute_sites(twin))[:3]
    names = [site.decode() for site in twin["sites"].ids[bare]]
    twin = twin.replace(
        twin["sites"].set(bare[:1], name="=HYPERLINK(1)"),
        twin["equipment"].set(np.arange(2), installed_at_s=MIDDLES_S[0] - 20 * YEAR_S),
    )
    store.save(twin, folder / "net", at_s=1.0, note="", source="test", synthetic=True)
    actions = (at_site(names[0]), at_site(names[1]), at_site(names[2], MIDDLES_S[1]))
    plan = msgspec.structs.replace(plan_of(*actions), revision=twin.digest)
    (folder / "plan.json").write_bytes(msgspec.json.encode(plan))
    return folder


def asked(ground: Path, **more: str) -> operation.OrderAnswer:
    return operation.run(OrderQuestion(plan=str(ground / "plan.json"), network=str(ground / "net"), **more))


def sheets(path: Path) -> dict[str, list[dict[str, Any]]]:
    book = openpyxl.load_workbook(path)
    tables = {}
    for page in book.worksheets:
        names, *rows = page.iter_rows(values_only=True)
        tables[page.title] = [dict(zip(names, row, strict=True)) for row in rows]
    return tables


def test_a_workbook_read_back_has_the_order_its_sums_and_its_sources(
    ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAREZ_AT_S", str(MIDDLES_S[0]))
    path = tmp_path / "order.xlsx"
    answer = asked(ground, output=str(path))
    found = sheets(path)
    assert list(found) == ["phases", "order by phase", "order by site", "replacements", "assumptions and sources"]
    assert [row["year"] for row in found["phases"]] == [2026, 2027, "all"]
    for name in ("capex low CNY", "capex typical CNY", "yearly high CNY"):
        lines = round(sum(row[name] for row in found["order by site"]), 2)
        *years, total = (row[name] for row in found["phases"])
        assert lines == round(sum(years), 2) == total
    for item in {row["item"] for row in found["order by phase"]}:
        by_phase, by_site = (
            sum(row["quantity"] for row in found[name] if row["item"] == item)
            for name in ("order by phase", "order by site")
        )
        assert by_phase == by_site
        assert isinstance(by_phase, int)
    assert {row["name"] for row in found["order by site"]} > {"=HYPERLINK(1)"}
    assert found["order by site"][0]["order by"].isoformat() < found["order by site"][0]["in service"].isoformat()
    assert [row["kind"] for row in found["replacements"]] == ["router", "router"]
    said = [row["source"] for row in found["assumptions and sources"]]
    assert said[:2] == [answer.headline, answer.citation]
    assert all(said)
    again = tmp_path / "again.xlsx"
    asked(ground, output=str(again))
    assert again.read_bytes() == path.read_bytes()


def test_a_csv_read_back_has_every_line_and_says_that_it_is_synthetic(ground: Path, tmp_path: Path) -> None:
    path = tmp_path / "order.csv"
    answer = asked(ground, output=str(path))
    rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))
    assert [(row["id"], row["item"], int(row["quantity"])) for row in rows] == [
        (line.id, line.item, line.quantity) for line in answer.lines
    ]
    assert {row["name"] for row in rows} > {"'=HYPERLINK(1)"}
    assert {row["data"] for row in rows} == {"synthetic"}


def test_the_headline_shows_quantities_and_never_money(ground: Path, tmp_path: Path) -> None:
    prices = tmp_path / "prices.csv"
    prices.write_text(f"\ufeffitem,price_cny,lead_time_days\n{ROOM},100,30\n", "utf-8")
    answer = asked(ground, prices=str(prices))
    assert "To order for 3 sites in 2026 to 2027: 3 x small edge site" in answer.headline
    assert "synthetic" in answer.headline
    assert not any(word in answer.headline for word in ("CNY", "yuan", "price", "cost"))
    assert "prices of 1 item from your list, of 4 assumed by the library" in answer.citation
    assert {item.price_from for item in answer.items} == {"your list", "assumption"}
    assert [item.unit_typical_cny for item in answer.items if item.item == ROOM] == [100.0, 100.0]


def test_items_without_a_price_are_counted_and_named(ground: Path, tmp_path: Path) -> None:
    recipes = tmp_path / "recipes.csv"
    recipes.write_text("act,item,quantity,per\nedge_inference,cabinet,2,site\n", "utf-8")
    answer = asked(ground, recipes=str(recipes))
    assert answer.unpriced == ("cabinet",)
    assert [(item.quantity, item.capex_typical_cny, item.price_from) for item in answer.items] == [
        (4, None, "no price"),
        (2, None, "no price"),
    ]
    assert {phase.capex_typical_cny for phase in answer.phases} == {None}


def test_bad_files_are_refused_before_anything_is_written(
    ground: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there.csv"
    there.write_text("mine", "utf-8")
    torn = tmp_path / "torn.csv"
    torn.write_text("item,price_cny,lead_time_days\notn card,1\n800g port,1,1\n", "utf-8")
    assert "exists already" in told(lambda: asked(ground, output=str(there)))
    assert there.read_text("utf-8") == "mine"
    assert "is neither .xlsx nor .csv" in told(lambda: asked(ground, output=str(tmp_path / "order.pdf")))
    assert "is not called .csv" in told(lambda: asked(ground, prices=str(tmp_path / "p.xlsx")))
    assert "no such file" in told(lambda: asked(ground, prices=str(tmp_path / "p.csv")))
    assert "has fewer than the 3 fields" in told(lambda: asked(ground, prices=str(torn)))
    wrong = ["order", str(ground / "plan.json"), str(ground / "nothing"), "--output", str(tmp_path / "o.csv")]
    assert cli.main(wrong) == cli.WRONG_INPUT
    assert "nothing" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.csv", "torn.csv"]


def test_a_plan_of_another_network_is_refused_even_where_its_sites_have_the_same_ids(
    ground: Path, tmp_path: Path
) -> None:
    plan = msgspec.json.decode((ground / "plan.json").read_bytes(), type=Plan)
    twin = store.load(ground / "net")[0]
    moved = twin.replace(twin["sites"].set(np.arange(1), name="elsewhere"))
    store.save(moved, tmp_path / "other", at_s=1.0, note="", source="test", synthetic=True)
    foreign = OrderQuestion(plan=str(ground / "plan.json"), network=str(tmp_path / "other"))
    assert "was made from no revision of" in told(lambda: operation.run(foreign))
    store.save(twin, tmp_path / "grown", at_s=1.0, note="", source="test", synthetic=True)
    store.save(moved, tmp_path / "grown", at_s=2.0, note="", source="test", synthetic=True)
    older = operation.run(OrderQuestion(plan=str(ground / "plan.json"), network=str(tmp_path / "grown")))
    assert f"made from an older revision, {plan.revision[:12]}" in older.citation
