from __future__ import annotations

from pathlib import Path
from typing import cast

import msgspec
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import Infeasible, InputError, Refused
from karez.measure import policy
from karez.measure.delay import link_oneway_us
from karez.operations import AssignQuestion, run
from karez.operations.assign import AssignAnswer
from karez.plan import Plan, applied, changed
from karez.plan.check import check
from karez.plan.place import place
from karez.twin import Table, Twin, World
from karez.twin.schema import Value
from karez.twin.table import text
from tests import compute
from tests.compute import DOMAINS

AT_S = 1_790_000_000.0


def asked(dataset: str = "general", *, oneway_us: float = np.inf, chips: int = 8, model: str = "small") -> World:
    world = compute.small()
    job = compute.job(dataset, oneway_us=oneway_us, chips=chips, model=model)
    return World(world.intended.replace(Table.of("jobs", job)), world.actual)


def with_cell(world: World, table: str, row: str, column: str, value: Value) -> World:
    new = world[table].set(world[table].rows([row]), **{column: value})
    if table.endswith("_states"):
        return World(world.intended, world.actual.replace(new))
    return World(world.intended.replace(new), world.actual)


def chosen(plan: Plan) -> str:
    (action,) = plan.actions
    (row,) = action.adds
    return str(row.values["server"])


def test_the_cheapest_place_wins_where_delay_does_not_matter() -> None:
    plan = place(asked(), "j1", at_s=AT_S)
    assert chosen(plan) == "p-west"
    assert plan.price_cny == pytest.approx(8 * 10 * (3.0 + 0.4 * 1.2 * 0.38))
    assert plan.proof.bound == plan.proof.value == plan.price_cny


def test_a_tighter_delay_moves_the_job_closer() -> None:
    delays_us = [1e6, 5_000.0, 100.0]
    assert [chosen(place(asked(oneway_us=us), "j1", at_s=AT_S)) for us in delays_us] == ["p-west", "p-middle", "p-east"]


def test_the_law_keeps_data_where_it_must_stay() -> None:
    assert chosen(place(asked("personal"), "j1", at_s=AT_S)) == "p-west"
    # The neighbour in the province is verified, and cheaper than home.
    assert chosen(place(asked("important"), "j1", at_s=AT_S)) == "p-middle"
    assert chosen(place(asked("core"), "j1", at_s=AT_S)) == "p-east"
    assert chosen(place(asked("sensitive"), "j1", at_s=AT_S)) == "p-east"


def test_data_of_unknown_grade_go_nowhere_and_the_missing_fact_is_named() -> None:
    with pytest.raises(Refused, match=r"not known: datasets\[unknown\]\.grade, datasets\[unknown\]\.personal"):
        place(asked("unknown"), "j1", at_s=AT_S)


def test_without_a_place_the_nearest_miss_of_each_filter_is_named() -> None:
    with pytest.raises(Infeasible, match=r"3 too few free chips \(nearest miss: p-east, 64 of 100 free\)"):
        place(asked(chips=100), "j1", at_s=AT_S)
    with pytest.raises(Infeasible, match=r"3 too little memory \(nearest miss: p-east, 512 of 1440 GB\)"):
        place(asked(model="large"), "j1", at_s=AT_S)
    cut = with_cell(asked(oneway_us=60.0), "servers", "p-east", "price_cny_per_chip_h", np.nan)
    with pytest.raises(Infeasible, match=r"2 too far \(nearest miss: p-middle, \d+ us of 60\); 1 unknown price"):
        place(cut, "j1", at_s=AT_S)


def test_a_network_without_servers_has_no_place() -> None:
    world = asked()
    none = World(world.intended.replace(Table.of("servers"), Table.of("endpoints")), Twin())
    with pytest.raises(Infeasible, match="there are none"):
        place(none, "j1", at_s=AT_S)


def test_a_job_that_is_not_there_is_wrong_input() -> None:
    with pytest.raises(InputError, match="no job 'j9'"):
        place(asked(), "j9", at_s=AT_S)


def test_a_place_that_nobody_can_reach_is_not_near_even_without_a_limit() -> None:
    world = asked()
    for link in ("l2", "l3"):
        world = with_cell(world, "links", link, "up", False)
    assert chosen(place(world, "j1", at_s=AT_S)) == "p-middle"


def test_a_link_of_no_delay_is_a_way() -> None:
    world = asked()
    world = World(world.intended.replace(world["links"].set(np.arange(3), length_km=0.0)), world.actual)
    assert chosen(place(world, "j1", at_s=AT_S)) == "p-west"


def test_free_chips_that_were_never_observed_are_not_free() -> None:
    world = asked()
    world = World(world.intended, world.actual.replace(world["server_states"].take(np.array([True, True, False]))))
    plan = place(world, "j1", at_s=AT_S)
    assert chosen(plan) == "p-middle"
    assert any(a.name == "p-west" and "never observed" in a.why_not for a in plan.alternatives)


def test_a_place_that_only_the_law_forbids_is_named_with_the_rule() -> None:
    plan = place(asked("important"), "j1", at_s=AT_S)
    assert ("p-west", "unlawful: no: cn-national/grade permits none of it") in [
        (a.name, a.why_not) for a in plan.alternatives
    ]


def test_places_without_a_price_are_counted_and_never_taken() -> None:
    plan = place(with_cell(asked(), "servers", "p-west", "price_cny_per_chip_h", np.nan), "j1", at_s=AT_S)
    assert chosen(plan) == "p-middle"
    assert "1 left out because a price is not known, p-west first" in plan.proof.how


def test_rows_that_do_not_hold_yet_are_no_places() -> None:
    assert chosen(place(with_cell(asked(), "servers", "p-west", "valid_from_s", AT_S + 1), "j1", at_s=AT_S)) != "p-west"


def test_the_plan_starts_the_job_and_says_what_it_weighed() -> None:
    world = asked(oneway_us=5_000.0)
    plan = place(world, "j1", at_s=AT_S)
    (action,) = plan.actions
    assert (action.kind, action.subject, action.blast_radius) == ("start_job", "j1", ("p-middle",))
    assert (action.expires_at_s, action.ends_at_s) == (AT_S + 3_600, AT_S + 10 * 3_600)
    assert plan.revision == world.intended.digest
    assert not check(plan, world, at_s=AT_S)
    assert {a.name: a.why_not.partition(":")[0] for a in plan.alternatives} == {
        "p-west": "too far",
        "p-east": "dearer by 240.00 CNY",
    }
    after = applied(plan.actions, world.intended)
    assert after["assignments"].records() == [{"id": "j1", "server": "p-middle", "chips": 8, "since_s": AT_S}]
    with pytest.raises(Infeasible, match="already has a place"):
        place(World(after, world.actual), "j1", at_s=AT_S)


def test_the_operation_writes_the_plan_that_it_answers_with(tmp_path: Path) -> None:
    network, output = str(compute.saved(tmp_path)), tmp_path / "plan.json"
    said = cast(AssignAnswer, run("assign", AssignQuestion(network=network, output=str(output))))
    plan = msgspec.json.decode(output.read_bytes(), type=Plan)
    assert plan == said.plan
    assert (said.job, said.server, said.data_mode) == ("j1", chosen(plan), "encrypt")
    assert "synthetic" in said.headline
    assert plan.revision[:12] in said.citation
    with pytest.raises(InputError, match="exists already"):
        run("assign", AssignQuestion(network=network, output=str(output)))


STALE: list[tuple[str, str, str, Value]] = [
    ("server_states", "p-middle", "free_chips", 7),
    ("datasets", "general", "grade", "unknown"),
    ("datasets", "general", "personal", "personal"),
    ("links", "l1", "up", False),
    ("links", "l1", "length_km", 500.0),
    ("link_states", "l1", "up", False),
    ("link_states", "l1", "drained", True),
    ("domains", "friend", "verified", "no"),
    ("jobs", "j1", "chips", 9),
    ("jobs", "j1", "oneway_us", 100.0),
    ("servers", "p-middle", "domain", "stranger"),
]
FRESH: list[tuple[str, str, str, Value]] = [
    ("server_states", "p-middle", "free_chips", 8),
    ("server_states", "p-west", "free_chips", 0),
    ("datasets", "personal", "grade", "unknown"),
    ("links", "l3", "up", False),
    ("links", "l1", "length_km", 99.0),
    ("link_states", "l1", "oneway_us", 900.0),
    ("link_states", "l2", "up", False),
    ("domains", "stranger", "verified", "yes"),
    ("jobs", "j1", "oneway_us", 9_000.0),
]


@pytest.mark.parametrize("change", STALE, ids=lambda c: ".".join(map(str, c)))
def test_a_change_that_the_place_rests_on_makes_the_plan_stale(change: tuple[str, str, str, Value]) -> None:
    world = asked(oneway_us=5_000.0)
    stale = changed(place(world, "j1", at_s=AT_S).reads, with_cell(world, *change))
    assert [(read.table, read.row, read.column) for read in stale] == [change[:3]]


@pytest.mark.parametrize("change", FRESH, ids=lambda c: ".".join(map(str, c)))
def test_a_change_that_it_does_not_rest_on_leaves_the_plan_good(change: tuple[str, str, str, Value]) -> None:
    world = asked(oneway_us=5_000.0)
    assert not changed(place(world, "j1", at_s=AT_S).reads, with_cell(world, *change))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A random job in a random small network of cores, with servers of all owners, chips and prices."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = [f"{side}{number}" for number in range(draw(st.integers(1, 4))) for side in ("east", "west")]
    pairs = [(a, b) for a in names for b in names if a < b and chance.random() < 0.5]
    rows = [(f"l{n}", a, b, float(chance.integers(0, 400))) for n, (a, b) in enumerate([*pairs, *pairs[:2]])]
    count = int(chance.integers(1, 7))
    sites = compute.sites(["east", *names])
    rows.append(("l-home", "east", "east0", 10.0))
    links = compute.lines(rows) | {
        "up": chance.random(len(rows)) < 0.9,
        "drained": chance.random(len(rows)) < 0.1,
        "direction": chance.choice(np.array([b"both", b"forward"]), len(rows), p=[0.8, 0.2]),
    }
    servers: compute.Columns = {
        "id": [f"p{number}" for number in range(count)],
        "site": chance.choice(np.array(sites["id"], "S"), count),
        "chip": chance.choice(np.array([b"X", b"bare"]), count, p=[0.9, 0.1]),
        "chips": np.full(count, 64),
        "domain": chance.choice(np.array([*DOMAINS, ""], "S"), count),
        "price_cny_per_chip_h": chance.choice(np.array([1.0, 2.0, 3.0, np.nan]), count),
    }
    kinds = [str(name) for name in compute.datasets()["id"]]
    job = compute.job(
        str(chance.choice(kinds)),
        chips=int(chance.choice([1, 8, 64])),
        model=str(chance.choice(["small", "small", "large"])),
        oneway_us=float(chance.choice([500.0, 3_000.0, np.inf])),
    )
    tables = [
        *compute.regions(),
        *compute.library(),
        Table.of("metros", compute.metros("m-east", *(f"m-{name}" for name in names))),
        Table.of("sites", sites),
        Table.of("links", links),
        Table.of("servers", servers),
        Table.of("datasets", compute.datasets()),
        Table.of("jobs", job),
    ]
    intended = Twin({table.name: table for table in tables})
    actual = compute.states(intended)
    free = actual["server_states"].set(np.arange(count), free_chips=chance.choice([0, 8, 64], count))
    up = actual["link_states"].set(np.arange(len(rows) - 1), up=chance.random(len(rows) - 1) < 0.9)
    return World(intended, actual.replace(free, up))


def _need_gb(model: dict[str, Value], job: dict[str, Value]) -> float:
    """Adam in training; else parameters in 16 bits, and the cache of some requests a chip of 1,280 tokens each."""
    if job["kind"] == "training":
        return float(model["parameters_b"]) * 16 * 1.2
    kv_kb = float(model["kv_kb_per_token"])
    requests = {"batch": 32, "online": 4}[str(job["kind"])] * int(job["chips"])
    return float(model["parameters_b"]) * 2 * 1.2 + (0.0 if kv_kb != kv_kb else kv_kb * requests * 1280 / 1e6)


def best_by_hand(world: World) -> tuple[str, float] | None:
    """The cheapest place found by going through the tables row by row, with networkx for the delay."""
    job = world["jobs"].records()[0]
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    seen_up = {row["id"]: row["up"] for row in world["link_states"].records()}
    for link, delay_us in zip(world["links"].records(), link_oneway_us(world.intended, figures="typical"), strict=True):
        if link["up"] and not link["drained"] and seen_up.get(link["id"], True):
            graph.add_edge(link["a"], link["b"], weight=float(delay_us))
            if link["direction"] == "both":
                graph.add_edge(link["b"], link["a"], weight=float(delay_us))
    graph.add_node("c-east")
    away = nx.single_source_dijkstra_path_length(graph, "c-east")
    twin = world.intended
    asked_ = policy.Asked(policy.law(policy.shipped(), AT_S), AT_S, (str(job["purpose"]),))
    lawful = policy.lawful(twin, asked_, twin["datasets"].rows([str(job["dataset"])]), policy.recipients(twin))[0]
    need_gb = _need_gb(world["models"].records(world["models"].rows([str(job["model"])]))[0], job)
    found = []
    for row, server in enumerate(world["servers"].records()):
        chip = str(server["chip"])
        west = "west" in str(server["site"])
        pue, kwh = (1.2, 0.38) if west else (1.25, 0.65)
        power_kw = float(world["chips"].cell(chip, "power_w")) / 1_000
        price = float(server["price_cny_per_chip_h"]) + power_kw * pue * kwh
        price_cny = int(job["chips"]) * float(job["hours"]) * price
        fits = (
            bool(lawful[row] & policy.bits(*policy.COPIED))
            and away.get(server["site"], np.inf) <= min(float(job["oneway_us"]), 1e12)
            and int(world["server_states"].cell(str(server["id"]), "free_chips")) >= int(job["chips"])
            and int(job["chips"]) * float(world["chips"].cell(chip, "memory_gb")) >= need_gb
        )
        if fits and not np.isnan(price_cny):
            found.append((price_cny, str(server["id"])))
    return min(((name, price) for price, name in found), key=lambda pair: (round(pair[1], 6), pair[0]), default=None)


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_the_place_is_the_one_that_brute_force_finds(world: World) -> None:
    wanted = best_by_hand(world)
    if wanted is None:
        with pytest.raises((Infeasible, Refused)):
            place(world, "j1", at_s=AT_S)
        return
    plan = place(world, "j1", at_s=AT_S)
    assert chosen(plan) == wanted[0]
    assert plan.price_cny == pytest.approx(wanted[1])
    assert not changed(plan.reads, world)


@settings(max_examples=150, deadline=None)
@given(worlds(), st.integers(0, 2**32 - 1))
def test_while_its_reads_hold_the_place_still_qualifies(world: World, seed: int) -> None:
    if best_by_hand(world) is None:
        return
    plan = place(world, "j1", at_s=AT_S)
    chance = np.random.default_rng(seed)
    for _ in range(3):
        table = str(chance.choice(["links", "link_states", "server_states", "datasets", "domains", "servers"]))
        world = _shaken(world, table, chance)
    if changed(plan.reads, world):
        return
    others = world["servers"].ids != chosen(plan).encode()
    only = World(world.intended.replace(world["servers"].take(~others)), world.actual)
    assert chosen(place(only, "j1", at_s=AT_S)) == chosen(plan)


def _shaken(world: World, table: str, chance: np.random.Generator) -> World:
    """The world with one cell of a table changed."""
    values: dict[str, dict[str, list[Value]]] = {
        "links": {"up": [False], "length_km": [0.0, 9_000.0], "drained": [True]},
        "link_states": {"up": [False, True], "drained": [True]},
        "server_states": {"free_chips": [0, 8, 64]},
        "datasets": {"grade": ["general", "core", "unknown"], "personal": ["no", "personal", "unknown"]},
        "domains": {"verified": ["yes", "no"], "entity": ["own", "other"], "country": ["CN", "SG"]},
        "servers": {"domain": ["own", "hidden"]},
    }
    if not len(world[table]):
        return world
    column = str(chance.choice(list(values[table])))
    choices = values[table][column]
    row = text(world[table].ids[chance.integers(len(world[table]))])
    return with_cell(world, table, row, column, choices[int(chance.integers(len(choices)))])


def test_papers_must_hold_until_the_job_has_ended() -> None:
    world = asked("personal", oneway_us=5_000.0)
    only = world["servers"].take(world["servers"].ids == b"p-middle")
    world = World(world.intended.replace(only), world.actual)
    papers = world["evidence"]

    def lasting(until_s: float) -> World:
        return World(world.intended.replace(papers.set(np.arange(len(papers)), valid_to_s=until_s)), world.actual)

    # Ten hours of work, and an hour in which the plan may begin.
    plan = place(lasting(AT_S + 11 * 3_600.0 + 1.0), "j1", at_s=AT_S)
    assert not changed(plan.reads, world)
    assert changed(plan.reads, lasting(AT_S + 11 * 3_600.0))
    with pytest.raises(Refused, match="would do: contract and impact_assessment"):
        place(lasting(AT_S + 11 * 3_600.0), "j1", at_s=AT_S)


def test_a_place_that_moves_abroad_makes_the_plan_stale() -> None:
    world = asked("personal")
    plan = place(world, "j1", at_s=AT_S)
    for table, row, column, value in (
        ("metros", "m-west", "province", "P-abroad"), ("provinces", "P-west", "country", "SG"),
    ):  # fmt: skip
        assert [read.column for read in changed(plan.reads, with_cell(world, table, row, column, value))] == [column]


def test_persons_that_were_counted_abroad_this_year_count_in_the_place() -> None:
    world = asked("personal")
    twin = world.intended.replace(
        world["domains"].set(world["domains"].rows(["foreign"]), role="processor"),
        world["servers"].set(np.arange(3), domain="foreign"),
    )
    counted = Table.of(
        "person_budgets",
        {"id": ["h"], "entity": ["own"], "year": [2026], "kind": ["personal"], "settled": [99_900.0]},
    )
    assert place(World(twin, world.actual), "j1", at_s=AT_S)
    with pytest.raises(Refused):
        place(World(twin, world.actual.replace(counted)), "j1", at_s=AT_S)
