"""A day of jobs on a twin: what may run where and when, the plan, its proof, its prices, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError
from karez.importers.generate import nation
from karez.measure import policy
from karez.measure.chips import constants
from karez.operations import ExplainQuestion, PlaceQuestion, PricesQuestion, run
from karez.operations.explain import ExplainAnswer
from karez.operations.place import PlaceAnswer
from karez.operations.prices import PricesAnswer
from karez.plan.check import check
from karez.plan.day import decide
from karez.plan.day.ask import Ask
from karez.plan.day.certificate import check_day, understood
from karez.plan.day.decide import Day, Run, able, decided, legs_of, plan_of, runs, unserved
from karez.plan.day.explain import why
from karez.plan.day.pose import posed
from karez.plan.place import place
from karez.plan.placing import program as placing
from karez.plan.placing.pricing import cny_of, sums_of
from karez.plan.placing.solve import compile_for
from karez.plan.plan import Plan
from karez.twin import Table, Twin, World, store
from karez.twin.schema import Value
from karez.twin.states import initial_states
from karez.twin.table import Array, strings
from tests import compute

AT_S = 1_790_000_000.0
AT = Ask(AT_S)
H = 3_600.0


def with_jobs(**columns: Sequence[Value]) -> World:
    """The small world with these jobs: batches of the small model on general data, but for what columns say."""
    world = compute.small()
    count = len(next(iter(columns.values())))
    usual: dict[str, Array | Sequence[Value]] = {
        name: [value for value in values for _ in range(count)] for name, values in compute.job("general").items()
    }
    table = Table.of("jobs", usual | {"id": [f"j{number}" for number in range(count)]} | columns)
    return World(world.intended.replace(table), world.actual)


def changed(world: World, table: str, **columns: Array | list[Value]) -> World:
    twin = world.intended
    return World(twin.replace(twin[table].set(np.arange(len(twin[table])), **columns)), world.actual)


def where(day: Day) -> dict[str, tuple[str, int]]:
    """By job the server that it runs on, and its first hour."""
    jobs, servers = strings(day.posed.world["jobs"].ids), strings(day.posed.world["servers"].ids)
    return {jobs[one.job]: (servers[one.servers[0]], one.start) for one in runs(day)}


def of_job(day: Day, name: str) -> Run:
    jobs = strings(day.posed.world["jobs"].ids)
    return next(one for one in runs(day) if jobs[one.job] == name)


def test_alone_a_job_goes_where_it_would_be_assigned() -> None:
    for us in (1e6, 5_000.0, 100.0):
        world = with_jobs(oneway_us=[us])
        (action,) = place(world, "j0", at_s=AT_S).actions
        assert where(decided(world, AT))["j0"][0] == action.blast_radius[0]


def test_jobs_that_do_not_all_fit_the_cheapest_place_are_spread_over_hours_and_places() -> None:
    world = with_jobs(chips=[64] * 6, hours=[12.0] * 6)
    day = decided(world, AT)
    found = where(day)
    assert len(found) == 6
    # Two halves of the day each, at three places.
    assert len(set(found.values())) == 6
    assert {start for _, start in found.values()} == {0, 12}
    assert not unserved(day)[0].size


def test_electricity_by_the_hour_draws_work_to_cheap_hours_even_below_zero() -> None:
    world = with_jobs(chips=[64], hours=[4.0])
    price = [0.5] * 24
    price[3:7] = [-0.2] * 4
    rows = [(f"{p} {hour}", p, hour, price[hour]) for p in compute.PROVINCES for hour in range(24)]
    columns = {
        name: [row[at] for row in rows] for at, name in enumerate(("id", "province", "hour", "price_cny_per_kwh"))
    }
    twin = world.intended.replace(Table.of("tariffs", columns))
    day = decided(World(twin, world.actual), AT)
    server, start = where(day)["j0"]
    assert server == "p-west"
    assert AT.hours_of_day[start] == 3
    assert of_job(day, "j0").cny == pytest.approx(64 * 4 * (3.0 - 0.2 * 0.4 * 1.2), rel=1e-5)


def test_an_hour_without_a_price_is_named() -> None:
    world = with_jobs(chips=[8])
    columns: dict[str, Array | Sequence[Value]] = {
        "id": ["a", "b"], "province": ["P-east"] * 2, "hour": [3, 3], "price_cny_per_kwh": [0.1, 0.2],
    }  # fmt: skip
    with pytest.raises(InputError, match=r"tariffs of P-east: hours 0, 1, 2, 4.* have no price hours 3 have two"):
        posed(World(world.intended.replace(Table.of("tariffs", columns)), world.actual), AT)


def test_carbon_is_a_price_and_moves_work_to_where_there_is_less() -> None:
    world = changed(with_jobs(chips=[8]), "provinces", kg_co2_per_kwh=[0.0, 0.0, 2.0])
    world = changed(world, "servers", price_cny_per_chip_h=[3.2, 9.0, 3.0])
    assert where(decided(world, AT))["j0"][0] == "p-west"
    assert where(decided(world, AT._replace(carbon_cny_per_kg=1.0)))["j0"][0] == "p-east"


def test_a_price_of_delay_moves_work_closer() -> None:
    world = with_jobs(chips=[8])
    assert where(decided(world, AT))["j0"][0] == "p-west"
    assert where(decided(world, AT._replace(delay_cny_per_ms=1e3)))["j0"][0] == "p-east"


def test_what_a_job_may_not_is_what_a_single_one_may_not() -> None:
    world = with_jobs(dataset=["general", "important", "unknown"], oneway_us=[np.inf, np.inf, 100.0])
    asked = posed(world, AT)
    servers = strings(asked.world["servers"].ids)
    law = policy.law(policy.shipped(), AT_S)
    for row in range(3):
        data = asked.world["datasets"].rows(asked.world["jobs"]["dataset"][[row]])
        may = policy.lawful(
            asked.world.intended, policy.Asked(law, AT_S, ("work",)), data, policy.recipients(asked.world.intended)
        )[0]
        assert asked.fails(row)["unlawful"].tolist() == [(mask & policy.copied()) == 0 for mask in may.tolist()]
    assert dict(zip(servers, asked.fails(2)["too far"].tolist(), strict=True)) == {
        "p-east": False,
        "p-middle": True,
        "p-west": True,
    }


def test_jobs_wait_for_those_before_them_and_the_bound_knows() -> None:
    world = with_jobs(chips=[8] * 3, hours=[4.0, 5.0, 6.0], after=["", "j0", "j0 j1"])
    day = decided(world, AT)
    first, second, third = (of_job(day, f"j{number}") for number in range(3))
    assert first.start + first.hours <= second.start
    assert second.start + second.hours <= third.start
    assert day.bound <= day.cny
    assert day.posed.loose is not day.posed.program
    assert not check_day(plan_of(day, world.intended.digest), world)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"after": ["j1", "j2", "j0"]}, r"jobs wait for each other in a circle.*j0"),
        ({"after": ["", "", "nobody"]}, r"waits for a job that is not there.*j2"),
        ({"load": ["", "noon", ""]}, r"is no load by the hour.*j1"),
        ({"load": ["", "", "office"]}, r"is a load by the hour of a job that is not online.*j2"),
        ({"opens_at_s": [9.0, 0.0, 0.0], "closes_at_s": [8.0, 9.0, 9.0]}, r"is not after opens_at_s.*j0"),
    ],
)
def test_what_makes_no_sense_is_a_sentence_with_the_rows(columns: dict[str, list[Value]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        posed(with_jobs(chips=[8] * 3, **columns), AT)


def test_a_weight_is_of_a_domain_that_is_there() -> None:
    with pytest.raises(InputError, match="there is no domain 'nobody'"):
        posed(with_jobs(chips=[8]), AT._replace(weights={"nobody": 2.0}))


def test_nobody_runs_before_a_job_that_does_not_run() -> None:
    world = with_jobs(chips=[500, 8, 8], hours=[4.0] * 3, after=["", "j0", ""])
    day = decided(world, AT)
    assert set(where(day)) == {"j2"}
    plan = plan_of(day, world.intended.digest)
    alone = plan_of(decided(with_jobs(chips=[8, 8, 8], hours=[4.0] * 3, after=["", "j0", ""]), AT), "")
    certificate = {name: column[1:] for name, column in alone.proof.certificate.items() if isinstance(column, tuple)}
    forged = msgspec.structs.replace(plan, proof=msgspec.structs.replace(plan.proof, certificate=certificate))
    assert any("before those that they wait for" in str(problem) for problem in check_day(forged, world))


def test_who_waits_is_not_bound_to_by_a_job_that_need_not_run() -> None:
    opens, closes = [-np.inf] * 2, [np.inf, AT_S + 4 * H]
    world = with_jobs(chips=[8] * 2, hours=[1.0] * 2, after=["", "j0"], opens_at_s=opens, closes_at_s=closes)
    asked = posed(world, AT)
    cls = int(asked.of[0])
    assert asked.loose.jobs.closes[cls] == 24


def test_who_waits_for_a_job_that_runs_on_or_holds_a_place_waits_longer_than_a_day() -> None:
    world = with_jobs(chips=[8] * 2, hours=[100.0, 1.0], after=["", "j0"])
    assert set(where(decided(world, AT))) == {"j0"}
    held = Table.of("assignments", {"id": ["j0"], "server": ["p-east"], "chips": [8]})
    assert not where(decided(World(world.intended.replace(held), world.actual), AT))


def test_time_that_compiling_takes_is_not_that_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a new machine it takes longer than a plan has, and nothing would be left."""
    clock = [0.0]

    def compile_for(program: placing.Program) -> None:
        del program
        clock[0] += 1e3

    monkeypatch.setattr(decide, "compile_for", compile_for)
    day = decided(with_jobs(chips=[8]), AT, limit_s=60.0, seconds=lambda: clock[0])
    assert clock == [1e3]
    assert day.is_least
    assert where(day) == {"j0": ("p-west", 0)}


def test_what_is_compiled_for_a_program_leaves_it_as_it_was() -> None:
    asked = posed(with_jobs(chips=[8, 16], sites=[2, 1], kind=["training", "batch"]), AT)
    before = [column.copy() for column in (*asked.program.jobs, asked.program.menus, asked.program.arms)]
    compile_for(asked.program)
    after = (*asked.program.jobs, asked.program.menus, asked.program.arms)
    assert all((one == other).all() for one, other in zip(before, after, strict=True))


MOVES = AT._replace(moves=True)


def running(world: World, since_s: float = np.nan, **at: str) -> World:
    """The world in which jobs run at servers, each on all its chips, since a moment."""
    chips = [int(world["jobs"].cell(job, "chips")) for job in at]
    given: dict[str, Array | Sequence[Value]] = {
        "id": list(at),
        "server": list(at.values()),
        "chips": chips,
        "since_s": [since_s] * len(at),
    }
    free = {name: 64 - sum(many for many, there in zip(chips, at.values(), strict=True) if there == name)
            for name in set(at.values())}  # fmt: skip
    states = world.actual["server_states"]
    left = [free.get(name, 64) for name in strings(states.ids)]
    actual = world.actual.replace(states.set(np.arange(len(states)), free_chips=left))
    return World(world.intended.replace(Table.of("assignments", given)), actual)


def test_who_runs_stays_unless_it_may_move_and_a_move_pays() -> None:
    """An hour of a chip in the west costs 0.3 CNY less than one in the east, and a restart there 1.5 CNY."""
    world = with_jobs(kind=["training"], chips=[8], hours=[20.0], model=["small"])
    world = changed(world, "servers", price_cny_per_chip_h=[9.0, 9.0, 8.9])
    assert not where(decided(running(world, j0="p-east"), AT))
    assert where(decided(running(world, j0="p-east"), MOVES)) == {"j0": ("p-west", 0)}
    assert where(decided(running(world, AT_S - 19.0 * H, j0="p-east"), MOVES)) == {"j0": ("p-east", 0)}


def test_who_stays_pays_for_its_chips_alone_and_who_moves_for_a_restart_as_well() -> None:
    world = running(with_jobs(kind=["training"], chips=[8], hours=[10.0], model=["small"]), j0="p-middle")
    asked = posed(world, MOVES)
    (cls,) = asked.of
    options = {server: arm for arm, _, _ in able(asked, int(cls)) for server, _ in legs_of(asked, arm, 8)}
    cost = {strings(asked.world["servers"].ids)[server]: asked.program.arms[arm] for server, arm in options.items()}
    assert (cost["p-middle"]["cny"], cost["p-middle"]["cny_per_chip"], cost["p-middle"]["gb_share"]) == (0.0, 0.0, 0.0)
    restart_h = constants()["restart_h"]
    for name in ("p-east", "p-west"):
        price = float(asked.program.pools.cny[list(asked.pools).index(world["servers"].rows([name])[0])].mean())
        assert cost[name]["cny_per_chip"] == pytest.approx(restart_h * price, rel=1e-5)
        assert cost[name]["cny"] > 0.0
    # What it keeps of its model goes over the links: 14 bytes a parameter.
    assert asked.program.jobs.gb[cls] >= 7.0 * 14.0


def test_only_what_is_left_of_a_job_that_runs_is_planned() -> None:
    world = running(with_jobs(chips=[8], hours=[20.0]), since_s=AT_S - 15.5 * H, j0="p-west")
    day = decided(world, MOVES)
    assert (of_job(day, "j0").start, of_job(day, "j0").hours) == (0, 5)
    assert day.cny == pytest.approx(of_job(day, "j0").cny)
    late = running(with_jobs(chips=[8], hours=[20.0]), since_s=AT_S - 99.0 * H, j0="p-west")
    assert of_job(decided(late, MOVES), "j0").hours == 1
    # One that would be late where it is may go on all the same.
    due = running(with_jobs(chips=[8], hours=[20.0], closes_at_s=[AT_S + 3 * H]), j0="p-west")
    assert of_job(decided(due, MOVES), "j0").hours == 20


@pytest.mark.parametrize(("dear", "said"), [(1e6, "1 moves and 1 stops"), (1.0, "1 moves")])
def test_the_answer_says_who_moves_and_who_stops(tmp_path: Path, dear: float, said: str) -> None:
    """The first costs less in the west; the second is not worth its chips, or has no reason to go anywhere."""
    worth = [1e6, 1.0 if dear > 1.0 else 1e6]
    world = running(with_jobs(chips=[8, 8], hours=[20.0, 20.0], unserved_cny=worth), j0="p-east", j1="p-west")
    twin = world.intended.replace(*(world.actual[name] for name in ("link_states", "server_states")))
    store.save(twin, tmp_path / "net", at_s=AT_S, note="", source="tests", synthetic=True)
    asked = PlaceQuestion(network=str(tmp_path / "net"), moves=True, at="2026-09-21T14:13:20Z")
    answer = run("place", asked)
    assert isinstance(answer, PlaceAnswer)
    assert answer.headline.endswith(f"of the jobs that ran {said}")
    assert (answer.moved, answer.stopped) == (1, int(dear > 1.0))
    assert (answer.placed[0].job, answer.placed[0].before) == ("j0", "p-east")


def test_who_runs_makes_room_for_what_is_worth_more_and_is_told() -> None:
    worth = [1e4, 1e6, 1e6, 1e6]
    world = running(with_jobs(chips=[64] * 4, hours=[24.0] * 4, unserved_cny=worth), j0="p-west")
    assert set(where(decided(world, AT))) < {"j1", "j2", "j3"}
    day = decided(world, MOVES)
    assert set(where(day)) == {"j1", "j2", "j3"}
    assert [strings(world["jobs"].ids)[row] for row in unserved(day)[0]] == ["j0"]


def test_a_plan_that_moves_jobs_is_checked_as_one() -> None:
    world = running(with_jobs(chips=[8, 8], hours=[20.0, 4.0]), j0="p-east")
    plan = plan_of(decided(world, MOVES), world.intended.digest)
    assert not check_day(plan, world)
    still = msgspec.structs.replace(plan, question=dict(plan.question) | {"moves": False})
    assert check_day(still, world)


@pytest.mark.parametrize("number", [1, 3])
def test_of_several_jobs_in_a_row_nobody_moves(number: int) -> None:
    world = running(with_jobs(chips=[8], hours=[20.0], number=[number]), j0="p-east")
    assert bool(where(decided(world, MOVES))) == (number == 1)


@pytest.mark.parametrize(
    ("jobs", "table", "columns"),
    [
        ({"after": ["", "j0"]}, "", {}),
        ({"kind": ["online", "batch"]}, "", {}),
        ({"oneway_us": [1.0, 1e6], "metro": ["m-west", "m-east"]}, "", {}),
        ({}, "servers", {"price_cny_per_chip_h": [np.nan, 6.0, 3.0]}),
    ],
    ids=["waited for", "online", "too far", "no price"],
)
def test_who_could_not_be_placed_where_it_is_or_hangs_together_with_others_stays(
    jobs: dict[str, Sequence[Value]], table: str, columns: dict[str, list[Value]]
) -> None:
    world = with_jobs(chips=[8, 8], hours=[20.0, 4.0], **jobs)
    world = running(changed(world, table, **columns) if table else world, j0="p-east")
    asked = posed(world, MOVES)
    assert 0 not in asked.jobs.tolist()
    held = asked.program.pools.chips[[at for at, row in enumerate(asked.pools.tolist()) if row == 0]]
    assert (held <= 64 - 8).all()


def test_a_job_on_fewer_chips_than_it_is_told_to_take_stays() -> None:
    world = running(with_jobs(chips=[8], hours=[20.0]), j0="p-east")
    fewer = changed(world, "assignments", chips=[4])
    assert not len(posed(fewer, MOVES).jobs)
    assert len(posed(world, MOVES).jobs) == 1


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["p-east", "p-middle", "p-west", ""]), min_size=3, max_size=5), st.integers(0, 40))
def test_to_let_jobs_move_never_costs_more_than_to_leave_them_where_they_are(places: list[str], since_h: int) -> None:
    """That is one of the plans; chance draws few jobs, so an integer program says which is best."""
    world = with_jobs(chips=[12] * len(places), hours=[12.0 + 6.0 * at for at in range(len(places))])
    at = {f"j{number}": place for number, place in enumerate(places) if place}
    world = running(world, since_s=AT_S - since_h * H, **at)
    day = decided(world, MOVES)
    assert not check_day(plan_of(day, world.intended.digest), world)
    program, most = day.posed.program, 0.0
    for row in range(len(places)):
        cls, server = int(day.posed.class_of([row])[0]), at.get(f"j{row}", "")
        most += float(program.jobs.unserved_cny[cls])
        if server:
            place = int(world["servers"].rows([server])[0])
            stays = next(arm for arm, _, _ in able(day.posed, cls) if legs_of(day.posed, arm, 12) == [(place, 12)])
            chosen = placing.Chosen(*(np.array([one]) for one in (cls, stays, 0, 1)))
            money = float(cny_of(program, chosen, sums_of(program, placing.nothing(program)))[0])
            most += money - float(program.jobs.unserved_cny[cls])
    assert day.cny <= most * (1.0 + 1e-9)


def test_online_work_is_never_done_so_nobody_waits_for_it() -> None:
    with pytest.raises(InputError, match=r"is of an online job.*j0"):
        posed(with_jobs(chips=[8] * 2, kind=["online", "batch"], after=["", "j0"]), AT)


def test_who_names_what_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"jobs.model: names what is not there.*j1"):
        posed(with_jobs(chips=[8] * 2, model=["small", "nothing"]), AT)
    with pytest.raises(InputError, match=r"jobs.quota: names what is not there.*j0"):
        posed(with_jobs(chips=[8], quota=["nothing"]), AT)


def test_power_of_a_server_that_is_wholly_held_is_not_there_for_others() -> None:
    kw = 0.4 * 1.25
    world = with_jobs(chips=[40], hours=[24.0], oneway_us=[100.0])
    twin = world.intended
    twin = twin.replace(
        twin["servers"].add({
            "id": ["p-more"], "site": ["c-east"], "chip": ["X"], "chips": [64], "domain": ["own"],
            "price_cny_per_chip_h": [5.0],
        }),
        twin["sites"].set(np.arange(3), power_kw=[100 * kw, np.inf, np.inf]),
    )  # fmt: skip
    states = Table.of(
        "server_states", {"id": ["p-east", "p-middle", "p-west", "p-more"], "free_chips": [0, 64, 64, 64]}
    )
    held = World(twin, world.actual.replace(states))
    # 36 of the 100 chips' worth of power are left.
    assert not runs(decided(held, AT))
    free = World(twin, world.actual.replace(states.set(np.arange(4), free_chips=[64] * 4)))
    assert where(decided(free, AT))["j0"][0] == "p-more"


def test_a_job_that_cannot_be_done_in_time_does_not_begin() -> None:
    closed = with_jobs(chips=[8], hours=[100.0], closes_at_s=[AT_S + 30 * H])
    assert not runs(decided(closed, AT))


def test_a_peak_that_is_not_in_its_hours_keeps_nobody_out() -> None:
    ask = AT._replace(at_s=1_790_006_400.0)
    assert ask.hours_of_day[0] == 0
    opens, closes = [ask.at_s], [ask.at_s + 7 * H]
    world = with_jobs(kind=["online"], chips=[100], load=["office"], opens_at_s=opens, closes_at_s=closes)
    day = decided(world, ask)
    assert len(runs(day)) == 1
    said = understood(plan_of(day, world.intended.digest), world)
    assert why(said.posed, said.chosen, said.prices, 0, np.flatnonzero(said.job == 0)).way is not None
    assert not said.posed.fails(0)["too few chips"].any()


def test_a_quota_of_zero_serves_nobody_and_is_the_reason() -> None:
    world = with_jobs(chips=[8], quota=["q"])
    world = World(world.intended.replace(Table.of("quotas", {"id": ["q"], "chip_hours": [0.0]})), world.actual)
    day = decided(world, AT)
    assert not runs(day)
    plan = plan_of(day, world.intended.digest)
    said = understood(plan, world)
    found = why(said.posed, said.chosen, said.prices, 0, np.flatnonzero(said.job == 0))
    assert found.way is None
    assert any("quota q" in change.what for change in found.changes)


def test_quotas_of_more_are_kept() -> None:
    world = with_jobs(chips=[8] * 4, hours=[10.0] * 4, quota=["q"] * 4)
    world = World(world.intended.replace(Table.of("quotas", {"id": ["q"], "chip_hours": [200.0]})), world.actual)
    assert len(runs(decided(world, AT))) == 2


def test_chips_that_are_held_and_sites_that_are_worked_on_are_not_there() -> None:
    world = with_jobs(chips=[64], hours=[2.0])
    held = world.actual.replace(Table.of("server_states", {"id": ["p-west"], "free_chips": [63]}))
    assert where(decided(World(world.intended, held), AT))["j0"][0] == "p-middle"
    works: dict[str, Array | Sequence[Value]] = {
        "id": ["w"],
        "subject": ["c-west"],
        "from_s": [AT_S],
        "to_s": [AT_S + 20 * H],
    }
    worked = World(world.intended.replace(Table.of("works", works)), world.actual)
    assert where(decided(worked, AT))["j0"] == ("p-west", 20)


def test_power_of_a_site_and_its_way_in_are_limits() -> None:
    kw = 0.4 * 1.2
    world = changed(with_jobs(chips=[32] * 2, hours=[24.0] * 2), "sites", power_kw=[np.inf, np.inf, 32 * kw])
    assert sorted(server for server, _ in where(decided(world, AT)).values()) == ["p-middle", "p-west"]
    heavy = changed(with_jobs(chips=[8], hours=[1.0]), "datasets", size_gb=[1e4] * 7)
    slow = changed(heavy, "sites", ingress_gbps=[np.inf, np.inf, 0.1])
    assert where(decided(slow, AT))["j0"][0] == "p-middle"


def test_a_link_that_is_full_keeps_data_away_and_gets_a_price() -> None:
    world = changed(
        with_jobs(chips=[16] * 3, hours=[1.0] * 3, closes_at_s=[AT_S + H] * 3), "datasets", size_gb=[2e3] * 7
    )
    # 0.8 of 10 Gbit/s in an hour are 3,600 GB; a compressed copy has 1,000. At 4 Gbit/s one gets through.
    narrow = changed(world, "links", capacity_gbps=[10.0, 10.0, 10.0])
    assert set(where(decided(narrow, AT)).values()) == {("p-west", 0)}
    narrower = changed(world, "links", capacity_gbps=[4.0, 4.0, 4.0])
    day = decided(narrower, AT)
    assert sorted(server for server, _ in where(day).values()) == ["p-east", "p-east", "p-west"]
    assert day.prices.gb_over.any()


def test_links_that_can_never_be_full_are_no_limits() -> None:
    asked = posed(changed(with_jobs(chips=[8]), "datasets", size_gb=[1.0] * 7), AT)
    assert not len(asked.limited.links)
    assert (asked.program.arms["route"] == placing.NONE).all()


def test_the_nearest_copy_is_what_moves() -> None:
    world = changed(with_jobs(chips=[8]), "datasets", size_gb=[1e5] * 7)
    far, near = decided(world, AT), decided(changed(world, "datasets", copies=["P-west"] * 7), AT)
    assert of_job(near, "j0").cny < of_job(far, "j0").cny
    assert where(near)["j0"][0] == "p-west"


def test_weights_that_lie_there_start_at_once() -> None:
    world = with_jobs(chips=[8])
    bare = World(world.intended.replace(Table.of("endpoints")), world.actual)
    assert of_job(decided(world, AT), "j0").cny < of_job(decided(bare, AT), "j0").cny


def test_a_job_longer_than_the_plan_runs_on_after_it() -> None:
    world = with_jobs(chips=[8], hours=[100.0])
    one = of_job(decided(world, AT), "j0")
    assert (one.start, one.hours) == (0, 24)
    closed = with_jobs(chips=[8], hours=[100.0], closes_at_s=[AT_S + 23 * H])
    assert not runs(decided(closed, AT))


def test_online_work_runs_all_its_hours_with_its_load() -> None:
    world = with_jobs(
        kind=["online"], chips=[10], load=["office"], opens_at_s=[AT_S + 2 * H], closes_at_s=[AT_S + 9 * H]
    )
    one = of_job(decided(world, AT), "j0")
    assert (one.start, one.hours, one.chips) == (2, 7, (10,))


def test_training_over_two_sites_takes_what_no_single_one_has() -> None:
    world = with_jobs(kind=["training"], model=["small"], chips=[96], hours=[4.0], sites=[2])
    twin = world.intended
    twin = twin.replace(twin["links"].set(np.arange(3), length_km=[100.0, 400.0, 450.0], capacity_gbps=[1e5] * 3))
    day = decided(World(twin, world.actual), AT)
    one = of_job(day, "j0")
    assert one.chips == (48, 48)
    assert len(set(one.servers)) == 2
    assert one.hours == 5
    assert not check_day(plan_of(day, twin.digest), World(twin, world.actual))
    alone = World(twin.replace(twin["jobs"].set(np.arange(1), sites=[1])), world.actual)
    assert not runs(decided(alone, AT))


def test_a_group_of_alike_jobs_is_given_out_to_its_rows() -> None:
    world = with_jobs(chips=[30] * 3, number=[2, 1, 3], hours=[24.0] * 3)
    day = decided(world, AT)
    count: dict[int, int] = {}
    for one in runs(day):
        count[one.job] = count.get(one.job, 0) + one.number
    assert sum(count.values()) == 6
    assert all(count[row] == number for row, number in ((0, 2), (1, 1), (2, 3)))
    assert len(day.posed.program.jobs.number) == 1


def test_the_plan_holds_and_every_lie_in_it_is_found() -> None:
    world = with_jobs(chips=[64] * 4, hours=[12.0] * 4)
    plan = plan_of(decided(world, AT), world.intended.digest)
    assert not check(plan, world, at_s=AT_S)
    for name, value in (
        ("start_h", (0.0,) * 4),
        ("start_h", (20.0,) * 4),
        ("start_h", (0.5,) * 4),
        ("server", ("p-nowhere",) * 4),
        ("number", (2.0,) * 4),
        ("job", ("j0",) * 4),
        ("number", (1e300,) * 4),
        ("mode", ("tee",) * 4),
        ("price_cny", (-1.0,) * len(plan.proof.certificate["price_cny"])),  # type: ignore[arg-type]
        ("price_hour", (99.0,) * len(plan.proof.certificate["price_hour"])),  # type: ignore[arg-type]
    ):
        if not value:
            continue
        lie = msgspec.structs.replace(
            plan, proof=msgspec.structs.replace(plan.proof, certificate=plan.proof.certificate | {name: value})
        )
        assert check_day(lie, world), name
    dear = msgspec.structs.replace(plan, proof=msgspec.structs.replace(plan.proof, bound=plan.proof.value))
    cheap = msgspec.structs.replace(
        plan, price_cny=1.0, proof=msgspec.structs.replace(plan.proof, value=1.0, bound=0.5)
    )
    assert check_day(cheap, world)
    assert plan.proof.gap_share < 1e-9 or check_day(dear, world)


def test_a_job_is_told_why_it_is_there_and_what_would_start_it_sooner() -> None:
    world = with_jobs(chips=[64] * 6, hours=[12.0] * 6)
    day = decided(world, AT)
    said = understood(plan_of(day, world.intended.digest), world)
    late = next(one.job for one in runs(day) if one.start == 12)
    found = why(said.posed, said.chosen, said.prices, late, np.flatnonzero(said.job == late))
    assert found.way is not None
    assert found.way.start == 12
    assert found.starts == (12,)
    assert found.changes
    assert all(change.start < 12 for change in found.changes)
    assert any("64 chips more on" in change.what for change in found.changes)


def test_a_job_that_is_too_far_is_told_the_delay_that_would_do() -> None:
    world = with_jobs(chips=[64] * 3, hours=[24.0] * 3, oneway_us=[100.0] * 3)
    day = decided(world, AT)
    assert len(runs(day)) == 1
    said = understood(plan_of(day, world.intended.digest), world)
    idle = int(np.setdiff1d(said.posed.jobs, said.job)[0])
    found = why(said.posed, said.chosen, said.prices, idle, np.flatnonzero(said.job == idle))
    assert found.way is None
    assert any("ms borne" in change.what for change in found.changes)
    assert any(rejected.reason.startswith("too far") for rejected in found.rejected)


@given(st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_any_world_gives_a_plan_that_its_checker_believes(turning_seed: int, seed: int) -> None:
    world = drawn(np.random.default_rng([turning_seed, seed]))
    day = decided(world, AT._replace(hours=int(6 + seed % 12)))
    plan = plan_of(day, world.intended.digest)
    assert not check_day(plan, world)
    assert day.bound <= day.cny * (1 + 1e-9)
    left = unserved(day)[1].sum() + sum(one.number for one in runs(day))
    assert left == day.posed.world["jobs"]["number"][day.posed.jobs].sum()


def drawn(rng: np.random.Generator) -> World:
    """The small world with jobs of every kind and limits of every kind."""
    count = int(rng.integers(1, 14))
    kind = rng.choice(["training", "batch", "online"], count)
    opens = AT_S + H * rng.integers(0, 6, count)
    still = [at for at in range(count) if kind[at] != "online"]
    after = [""] * count
    for turn, at in enumerate(still):
        if turn and rng.random() < 0.3:
            after[at] = f"j{still[rng.integers(0, turn)]}"
    world = with_jobs(
        kind=kind.tolist(),
        chips=rng.integers(1, 40, count).tolist(),
        hours=rng.integers(1, 9, count).astype(float).tolist(),
        number=rng.integers(1, 4, count).tolist(),
        dataset=rng.choice(["general", "personal", "important", "ungraded"], count).tolist(),
        oneway_us=rng.choice([np.inf, 5_000.0, 100.0], count).tolist(),
        opens_at_s=opens.tolist(),
        closes_at_s=np.where(rng.random(count) < 0.3, np.inf, opens + H * rng.integers(2, 9, count)).tolist(),
        load=np.where(kind == "online", rng.choice(["", "office", "evening"], count), "").tolist(),
        gb_per_chip_h=rng.choice([0.0, 30.0], count).tolist(),
        quota=rng.choice(["", "q"], count).tolist(),
        sites=rng.integers(1, 3, count).tolist(),
        after=after,
    )
    twin = world.intended.replace(Table.of("quotas", {"id": ["q"], "chip_hours": [float(rng.integers(0, 800))]}))
    twin = twin.replace(
        twin["links"].set(np.arange(3), length_km=[100.0, 300.0, 450.0], capacity_gbps=rng.uniform(0.5, 2e3, 3)),
        twin["datasets"].set(np.arange(7), size_gb=rng.uniform(0, 4e3, 7)),
        twin["sites"].set(np.arange(3), power_kw=rng.uniform(10, 40, 3), ingress_gbps=rng.uniform(0.5, 1e3, 3)),
    )
    return World(twin, world.actual)


def saved(folder: Path, jobs: int = 200) -> Path:
    twin = initial_states(nation(stations=20_000, sites=12, seed=1, jobs=jobs))
    store.save(twin, folder / "network", at_s=0.0, note="", source="tests", synthetic=True, seed=1)
    return folder / "network"


def test_a_generated_day_is_placed_priced_and_explained(tmp_path: Path) -> None:
    network, file = saved(tmp_path), tmp_path / "day.json"
    answer = run("place", PlaceQuestion(network=str(network), output=str(file)))
    assert isinstance(answer, PlaceAnswer)
    assert answer.running + answer.not_running + answer.outside_hours == 205
    assert answer.begins == "00:00"
    assert answer.gap_share < 0.1
    assert answer.work_chip_h == pytest.approx(sum(one.done_chip_h for one in answer.provinces))
    assert answer.work_chip_h == pytest.approx(sum(one.asked_chip_h for one in answer.provinces))
    assert answer.energy_mwh == pytest.approx(sum(one.energy_mwh for one in answer.provinces))
    assert answer.money_cny == pytest.approx(sum(one.money_cny for one in answer.provinces))
    assert sum(one.number for one in answer.placed) == answer.running
    cost = answer.money_cny + sum(one.cost_cny for one in answer.unserved)
    assert answer.cost_cny == pytest.approx(cost)
    assert answer.fit_machines_share is not None
    assert answer.fit_machines_share > 0.7
    assert answer.effective_training_share is not None
    assert 0.9 < answer.effective_training_share < 1.0
    assert msgspec.json.decode(file.read_bytes(), type=Plan) == answer.plan
    prices = run("prices", PricesQuestion(plan=str(file), network=str(network)))
    assert isinstance(prices, PricesAnswer)
    assert len(prices.by_hour) == 24
    for job in ("", answer.placed[0].job):
        told = run("explain", ExplainQuestion(plan=str(file), network=str(network), job=job))
        assert isinstance(told, ExplainAnswer)
        assert told.job in told.headline


def test_a_plan_of_something_else_is_no_plan_of_a_day(tmp_path: Path) -> None:
    network = compute.saved(tmp_path)
    world = compute.small()
    file = tmp_path / "plan.json"
    file.write_bytes(msgspec.json.encode(place(world, "j1", at_s=AT_S)))
    with pytest.raises(InputError, match="is a plan of place, not of a day"):
        run("prices", PricesQuestion(plan=str(file), network=str(network)))


def test_who_asks_for_a_job_that_is_not_planned_is_told_which_are(tmp_path: Path) -> None:
    network, file = compute.saved(tmp_path), tmp_path / "day.json"
    run("place", PlaceQuestion(network=str(network), output=str(file)))
    with pytest.raises(InputError, match=r"there is no job 'nobody'; name one of j1"):
        run("explain", ExplainQuestion(plan=str(file), network=str(network), job="nobody"))


def test_a_network_without_jobs_says_so(tmp_path: Path) -> None:
    world = compute.small()
    twin = world.intended.replace(Table.of("jobs"))
    store.save(Twin(twin.tables), tmp_path / "network", at_s=0.0, note="", source="tests", synthetic=True, seed=1)
    with pytest.raises(InputError, match="the network has no job to place"):
        run("place", PlaceQuestion(network=str(tmp_path / "network")))
