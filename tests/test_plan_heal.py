"""What would mend a finding, and whether it may: small networks whose figures can be reckoned by hand."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.instances.ring import ring
from karez.measure.routes import QUEUE_US
from karez.plan import Plan, Read, applied, changed
from karez.plan.check import check
from karez.plan.heal import (
    FULL_SHARE,
    GRAY,
    GROWS,
    LARGE_SHARE,
    LOST_US,
    SICK,
    WORTH_US_PER_GBPS,
    heal,
    release,
    suffering,
)
from karez.twin import Table, Twin, World
from karez.twin.schema import Value
from karez.twin.states import initial_states

AT_S = 100.0
FIBRE_US_PER_KM, HOP_US = 5.0, 20.0
BOTH = ("ab", "ba")
# Two ways from A to B: a short one, and one over C.
TRIANGLE = {"AB": 10.0, "AC": 20.0, "CB": 30.0}
Signals = Sequence[Mapping[str, Value]]


class Demand(NamedTuple):
    a: str
    b: str
    gbps: float = 10.0
    protected: bool = False


def _planned_us(length_km: float) -> float:
    return FIBRE_US_PER_KM * length_km + HOP_US


def _queue_us(used_share: float) -> float:
    return QUEUE_US * used_share / (1.0 - used_share)


def _world(
    links: Mapping[str, float],
    demands: Mapping[str, Demand],
    *,
    capacity_gbps: Mapping[str, float] | None = None,
    ducts: Mapping[str, Sequence[str]] | None = None,
) -> World:
    """A network of sites named by one letter, a router (rX) each; links are named for their ends, and have their km."""
    sites = sorted({end for link in links for end in link[:2]})
    base, capacity = ring().intended, dict.fromkeys(links, 400.0) | dict(capacity_gbps or {})
    programs = [(f"r{site}/{kind}", f"r{site}", kind) for site in sites for kind in ("routing", "telemetry")]
    support = [(link, duct) for duct, inside in (ducts or {}).items() for link in inside]
    intended = Twin().replace(
        *(base[name] for name in ("provinces", "metros", "domains")),
        Table.of(
            "sites",
            {
                "id": sites,
                "kind": ["core"] * len(sites),
                "metro": ["M"] * len(sites),
                "lon": [110.0] * len(sites),
                "lat": [30.0] * len(sites),
            },
        ),
        Table.of(
            "links",
            {
                "id": list(links),
                "a": [link[0] for link in links],
                "b": [link[1] for link in links],
                "kind": ["core"] * len(links),
                "length_km": list(links.values()),
                "fibre_us_per_km": [FIBRE_US_PER_KM] * len(links),
                "hop_us": [HOP_US] * len(links),
                "capacity_gbps": [capacity[link] for link in links],
            },
        ),
        Table.of("equipment", {"id": [f"r{site}" for site in sites], "site": sites, "kind": ["router"] * len(sites)}),
        Table.of(
            "daemons",
            {
                "id": [row for row, _, _ in programs],
                "equipment": [device for _, device, _ in programs],
                "kind": [kind for _, _, kind in programs],
            },
        ),
        Table.of("configs", {"id": ["rA/filter"], "equipment": ["rA"], "section": ["filter"], "value": ["none"]}),
        Table.of("ducts", {"id": sorted(ducts or {})}) if ducts else Table.of("ducts"),
        Table.of(
            "link_support",
            {
                "id": [f"{link}-{duct}" for link, duct in support],
                "link": [link for link, _ in support],
                "duct": [duct for _, duct in support],
            },
        )
        if support
        else Table.of("link_support"),
        Table.of(
            "demands",
            {
                "id": list(demands),
                "a": [demand.a for demand in demands.values()],
                "b": [demand.b for demand in demands.values()],
                "gbps": [demand.gbps for demand in demands.values()],
                "protected": [demand.protected for demand in demands.values()],
            },
        ),
    )
    return World(intended, initial_states(intended))


def _signal(kind: str, source: str, subject: str, way: str, size: float) -> dict[str, Value]:
    name = f"{kind}/{source}/{subject}/{way}"
    return {"id": name, "kind": kind, "source": source, "subject": subject, "way": way, "size": size, "since_s": 90.0}


def _both(kind: str, source: str, link: str, size: float) -> list[dict[str, Value]]:
    return [_signal(kind, source, link, way, size) for way in BOTH]


def _found(world: World, kind: str, subject: str, signals: Signals = ()) -> tuple[World, str]:
    """The world with one more finding and what speaks for it, and the finding's id."""
    finding = f"{kind}/{subject}"
    evidence = msgspec.json.encode([one["id"] for one in signals]).decode()
    row: dict[str, Sequence[Value]] = {
        "id": [finding],
        "kind": [kind],
        "subject": [subject],
        "since_s": [90.0],
        "evidence": [evidence],
    }
    actual = world.actual.replace(world["findings"].add(row))
    if signals:
        told = {name: [one[name] for one in signals] for name in signals[0]}
        actual = actual.replace(world["signals"].add(told))
    return World(world.intended, actual), finding


def _healed(world: World, kind: str, subject: str, signals: Signals = ()) -> Plan | None:
    found, finding = _found(world, kind, subject, signals)
    plan = heal(found, finding, at_s=AT_S)
    if plan is not None:
        # Whatever is planned may be applied to what it was planned on.
        assert check(plan, found, at_s=AT_S) == []
        assert changed(plan.reads, found) == ()
        assert plan.because == (finding,)
    return plan


def _acts(plan: Plan | None) -> list[tuple[str, str]]:
    return [(action.kind, action.subject) for action in plan.actions] if plan else []


def _nothing(plan: Plan) -> float:
    """What doing nothing would cost."""
    (score,) = (other.score for other in plan.alternatives if other.name == "do nothing")
    return score


# What it costs


def test_lost_traffic_counts_as_a_second_each_and_a_detour_by_how_much_longer_it_is() -> None:
    plan = _healed(_world(TRIANGLE, {"d": Demand("A", "B")}), "link_loss", "AB", _both("loss", "counter", "AB", 0.1))
    assert plan is not None
    assert _acts(plan) == [("drain_link", "AB")]
    assert _nothing(plan) == pytest.approx(10.0 * 0.1 * LOST_US)
    used = 10.0 / 400.0
    longer_us = _planned_us(20.0) + _planned_us(30.0) + 2 * _queue_us(used) - _planned_us(10.0) - _queue_us(used)
    assert plan.proof.value == pytest.approx(10.0 * longer_us)
    assert plan.foreseen_us == {"d": pytest.approx(longer_us, abs=0.1)}


@pytest.mark.parametrize(("way", "hurt"), [("ab", 4.0), ("ba", 6.0)])
def test_what_is_slow_one_way_is_felt_only_by_who_goes_that_way(way: str, hurt: float) -> None:
    world = _world(TRIANGLE, {"d": Demand("A", "B", 4.0), "e": Demand("B", "A", 6.0)})
    plan = _healed(world, "link_slow_one_way", "AB", [_signal("delay", "probe", "AB", way, 50_000.0)])
    assert plan is not None
    assert _nothing(plan) == pytest.approx(hurt * 50_000.0)


def test_over_two_equal_ways_half_is_hurt() -> None:
    links = {"AC": 20.0, "CB": 30.0, "AD": 20.0, "DB": 30.0}
    plan = _healed(_world(links, {"d": Demand("A", "B")}), "link_loss", "CB", _both("loss", "counter", "CB", 0.1))
    assert plan is not None
    assert _nothing(plan) == pytest.approx(10.0 * 0.05 * LOST_US)
    assert plan.proof.value == pytest.approx(10.0 * 2 * (_queue_us(10.0 / 400.0) - _queue_us(5.0 / 400.0)))


def test_what_is_wrong_on_two_links_of_a_way_is_lost_twice() -> None:
    world = _world(TRIANGLE, {"d": Demand("C", "B")})
    world, _ = _found(world, "link_loss", "CB", _both("loss", "counter", "CB", 0.2))
    wrong = [_signal("loss", "counter", "AB", way, 0.1) for way in BOTH]
    found, finding = _found(world, "link_loss", "AB", wrong)
    assert heal(found, finding, at_s=AT_S) is None
    case = suffering(found)
    rows = found["links"].rows(["AB", "AC", "CB"])
    assert case.lost_share[rows].tolist() == [[0.1, 0.1], [0.0, 0.0], [0.2, 0.2]]


def test_where_only_large_packets_are_lost_their_share_of_the_traffic_is() -> None:
    plan = _healed(
        _world(TRIANGLE, {"d": Demand("A", "B")}), "link_large_loss", "AB", _both("large_loss", "probe", "AB", 1.0)
    )
    assert plan is not None
    assert _nothing(plan) == pytest.approx(10.0 * LARGE_SHARE * LOST_US)


def test_what_users_feel_of_large_packets_that_are_lost_counts_where_it_is_more() -> None:
    signals = [*_both("large_loss", "probe", "AB", 1.0), _signal("loss", "user", "d", "none", 0.45)]
    plan = _healed(_world(TRIANGLE, {"d": Demand("A", "B")}), "link_large_loss", "AB", signals)
    assert plan is not None
    assert _nothing(plan) == pytest.approx(10.0 * 0.45 * LOST_US)


def test_more_than_a_link_can_carry_is_lost() -> None:
    world = _world(TRIANGLE, {"d": Demand("A", "B", 100.0)}, capacity_gbps={"AB": 80.0})
    plan = _healed(world, "link_narrow", "AB", [_signal("narrow", "control", "AB", "none", 0.8)])
    assert plan is not None
    assert _acts(plan) == [("drain_link", "AB")]
    assert _nothing(plan) == pytest.approx(100.0 * 0.2 * LOST_US)


def _paths(links: Mapping[str, float], a: str, b: str, without: str = "") -> list[tuple[str, ...]]:
    """All ways from a to b that visit no site twice, by trying every order of the other sites."""
    others = sorted({end for link in links for end in link[:2]} - {a, b})
    found = []
    for count in range(len(others) + 1):
        for middle in itertools.permutations(others, count):
            stops = (a, *middle, b)
            steps = [next((x for x in links if set(x) == {p, q}), "") for p, q in itertools.pairwise(stops)]
            if all(steps) and without not in steps:
                found.append(tuple(steps))
    return found


def _best(links: Mapping[str, float], a: str, b: str, without: str = "") -> tuple[str, ...] | None:
    """The way of least cost, which is what is planned for its links in steps of 10 us; none where two are equal."""
    ways = sorted(
        (sum(round(_planned_us(links[link]) / 10.0) for link in way), way) for way in _paths(links, a, b, without)
    )
    return ways[0][1] if ways and (len(ways) == 1 or ways[0][0] < ways[1][0]) else None


@given(
    st.lists(st.sampled_from(["AB", "AC", "AD", "BC", "BD", "CD", "BE", "CE"]), min_size=4, max_size=8, unique=True),
    st.lists(st.integers(2, 60), min_size=8, max_size=8),
    st.sampled_from([0.02, 0.3, 1.0]),
)
@settings(max_examples=25, deadline=None)
def test_figures_are_those_of_every_way_tried(names: list[str], km: list[int], share: float) -> None:
    links = {name: float(10 * length) for name, length in zip(names, km, strict=False)}
    assume({"A", "B"} <= {end for link in links for end in link})
    way, hurt = _best(links, "A", "B"), names[0]
    around = _best(links, "A", "B", without=hurt)
    assume(way is not None and around is not None)
    assert way is not None
    assert around is not None
    plan = _healed(_world(links, {"d": Demand("A", "B")}), "link_loss", hurt, _both("loss", "counter", hurt, share))
    assert (plan is not None) == (hurt in way)
    if plan is not None:
        queue_us = _queue_us(10.0 / 400.0)
        was, now = (sum(_planned_us(links[link]) + queue_us for link in taken) for taken in (way, around))
        assert _nothing(plan) == pytest.approx(10.0 * share * LOST_US)
        assert plan.proof.value == pytest.approx(10.0 * max(now - was, 0.0))


# What may not be


def test_where_there_is_no_way_around_nothing_is_best() -> None:
    world = _world({"AB": 10.0, "BC": 10.0}, {"d": Demand("A", "B")})
    assert _healed(world, "link_loss", "AB", _both("loss", "counter", "AB", 0.5)) is None


@pytest.mark.parametrize(("late_us", "best"), [(19_000.0, []), (25_000.0, []), (28_000.0, [("drain_link", "AB")])])
def test_where_the_users_would_lose_more_or_hardly_less_nothing_is_best(
    late_us: float, best: list[tuple[str, str]]
) -> None:
    world = _world({"AB": 10.0, "AC": 2_000.0, "CB": 2_000.0}, {"d": Demand("A", "B")})
    assert _acts(_healed(world, "link_slow", "AB", _both("delay", "probe", "AB", late_us))) == best


def test_what_spares_next_to_nobody_anything_is_not_worth_an_act() -> None:
    links = {"AB": 10.0, "AC": 20.0, "CB": 30.0, "DE": 10.0, "CD": 10.0}
    demands = {"few": Demand("A", "B", 1.0), "many": Demand("D", "E", 299.0)}
    per_gbps = WORTH_US_PER_GBPS * 300.0
    # The detour of 200 us more costs what it costs.
    for late_us, worth in ((per_gbps, False), (per_gbps + 400.0, True)):
        plan = _healed(_world(links, demands), "link_slow", "AB", _both("delay", "probe", "AB", late_us))
        assert (plan is not None) == worth


@pytest.mark.parametrize(("gbps", "fits"), [(10.0 / FULL_SHARE - 0.1, False), (10.0 / FULL_SHARE + 0.1, True)])
def test_a_detour_that_would_be_full_is_none(gbps: float, fits: bool) -> None:
    world = _world(TRIANGLE, {f"d{at}": Demand("A", "B", 0.5) for at in range(20)}, capacity_gbps={"AC": gbps})
    plan = _healed(world, "link_loss", "AB", _both("loss", "counter", "AB", 0.5))
    assert (plan is not None) == fits


@pytest.mark.parametrize(("gbps", "fits"), [(5.0 + 4.0 * GROWS - 0.1, False), (5.0 + 4.0 * GROWS + 0.1, True)])
def test_a_detour_that_would_be_full_if_its_largest_demand_grew_is_none(gbps: float, fits: bool) -> None:
    demands = {"large": Demand("A", "B", 4.0), "small": Demand("A", "B", 2.0), "there": Demand("A", "C", 3.0)}
    world = _world(TRIANGLE, demands, capacity_gbps={"AC": gbps})
    plan = _healed(world, "link_loss", "AB", _both("loss", "counter", "AB", 0.5))
    assert (plan is not None) == fits
    if plan is not None:
        room = Read("link_states", "AC", "load_gbps", "<=", FULL_SHARE * gbps - 10.0)
        assert any((read.row, read.column, read.op) == (room.row, room.column, room.op) for read in plan.reads)


@pytest.mark.parametrize("protected", [False, True])
def test_an_act_that_would_leave_a_protected_demand_without_a_path_is_none(protected: bool) -> None:
    # Over B to C; without AB the small demand would go over D, and nothing passes DC.
    links = {"AB": 10.0, "BC": 10.0, "AD": 20.0, "DC": 20.0, "AE": 20.0, "EB": 20.0}
    demands = {"small": Demand("A", "C", 0.1, protected), "large": Demand("A", "B", 50.0)}
    world, _ = _found(_world(links, demands), "link_loss", "DC", _both("loss", "counter", "DC", 1.0))
    found, finding = _found(world, "link_loss", "AB", _both("loss", "counter", "AB", 0.2))
    plan = heal(found, finding, at_s=AT_S)
    assert (plan is None) == protected


@pytest.mark.parametrize("protected", [False, True])
def test_an_act_after_which_one_more_loss_would_cut_a_protected_demand_off_is_none(protected: bool) -> None:
    # Over E once AB is drained; if that is lost, too, over D, where nothing passes, in place of AB, where most would.
    links = {"AB": 10.0, "AE": 20.0, "EB": 20.0, "AD": 40.0, "DB": 40.0}
    demands = {"d": Demand("A", "B", 10.0, protected)}
    world, _ = _found(_world(links, demands), "link_loss", "DB", _both("loss", "counter", "DB", 1.0))
    found, finding = _found(world, "link_loss", "AB", _both("loss", "counter", "AB", 0.1))
    assert (heal(found, finding, at_s=AT_S) is None) == protected


def test_what_has_been_drained_or_is_down_is_not_drained() -> None:
    world, lost = _world(TRIANGLE, {"d": Demand("A", "B")}), _both("loss", "counter", "AB", 0.1)
    links, states = world["links"], world["link_states"]
    drained = World(world.intended.replace(links.set(links.rows(["AB"]), drained=True)), world.actual)
    assert _healed(drained, "link_loss", "AB", lost) is None
    dark = World(world.intended, world.actual.replace(states.set(states.rows(["AB"]), up=False)))
    assert _healed(dark, "link_loss", "AB", lost) is None


def test_what_cannot_be_mended_from_here_is_left_to_people() -> None:
    world = _world(TRIANGLE, {"d": Demand("A", "B")}, ducts={"D": ["AB"]})
    for kind, subject in (("link_cut", "AB"), ("duct_cut", "D"), ("site_power_lost", "A"), ("unknown", "AB")):
        assert _healed(world, kind, subject) is None


# Candidates


@pytest.mark.parametrize("kind", GRAY)
def test_a_link_that_is_sick_in_any_way_is_drained(kind: str) -> None:
    signals = [*_both("loss", "counter", "AB", 0.1), _signal("loss", "user", "d", "none", 0.1)]
    plan = _healed(_world(TRIANGLE, {"d": Demand("A", "B")}), kind, "AB", signals)
    assert _acts(plan) == [("drain_link", "AB")]
    assert plan is not None
    assert plan.actions[0].blast_radius == ("AB", "AC", "CB", "d")
    assert plan.actions[0].expects[0].row == "AB"


def test_of_a_dim_duct_all_links_are_drained_and_no_other() -> None:
    links = {"AB": 10.0, "AC": 20.0, "CB": 30.0, "BD": 10.0, "CD": 40.0, "AD": 60.0}
    world = _world(links, {"d": Demand("A", "B"), "e": Demand("B", "D")}, ducts={"D": ["AB", "BD"], "E": ["AC"]})
    dim = [one for link in ("AB", "BD") for one in _both("errors", "counter", link, 0.05)]
    plan = _healed(world, "duct_dim", "D", dim)
    assert plan is not None
    assert _acts(plan) == [("drain_link", "AB"), ("drain_link", "BD")]
    assert _nothing(plan) == pytest.approx(2 * 10.0 * 0.05 * LOST_US)


def test_where_one_link_of_a_dim_duct_cannot_be_left_none_is() -> None:
    links = {"AB": 10.0, "AC": 20.0, "CB": 30.0, "BD": 10.0}
    world = _world(links, {"d": Demand("A", "B"), "e": Demand("B", "D")}, ducts={"D": ["AB", "BD"]})
    dim = [one for link in ("AB", "BD") for one in _both("errors", "counter", link, 0.05)]
    assert _healed(world, "duct_dim", "D", dim) is None


def test_where_not_all_can_leave_a_link_its_cost_is_raised_so_that_some_do() -> None:
    links = {"AB": 10.0, "BF": 10.0, "AG": 11.0, "GF": 11.0, "AC": 20.0, "CB": 30.0}
    demands = {"stays": Demand("A", "B"), "leaves": Demand("A", "F")}
    world = _world(links, demands, capacity_gbps={"AC": 5.0, "AG": 30.0})
    plan = _healed(world, "link_loss", "AB", _both("loss", "counter", "AB", 0.1))
    assert plan is not None
    assert _acts(plan) == [("set_cost", "AB")]
    assert _nothing(plan) == pytest.approx(20.0 * 0.1 * LOST_US)
    longer_us = 2 * (_planned_us(11.0) - _planned_us(10.0))
    assert plan.proof.value == pytest.approx(10.0 * 0.1 * LOST_US + 10.0 * longer_us, rel=1e-3)
    assert set(plan.actions[0].blast_radius) == {"AB", "AG", "GF", "leaves"}


@pytest.mark.parametrize(("times", "led"), [(1.2, False), (2.0, True)])
def test_a_demand_that_surges_beyond_a_link_is_led_over_another_site(times: float, led: bool) -> None:
    world = _world(TRIANGLE, {"d": Demand("A", "B", 6.0)}, capacity_gbps={"AB": 8.0})
    surge = [_signal("surge", "user", "d", "none", float(np.log2(times)))]
    assert _acts(_healed(world, "demand_surge", "d", surge)) == ([("steer_demand", "d")] if led else [])


def test_whoever_shares_a_link_with_those_that_are_led_over_it_is_within_reach() -> None:
    demands = {"d": Demand("A", "B"), "there already": Demand("A", "C"), "elsewhere": Demand("B", "D")}
    world = _world(TRIANGLE | {"BD": 10.0}, demands)
    plan = _healed(world, "link_loss", "AB", _both("loss", "counter", "AB", 0.1))
    assert plan is not None
    assert plan.actions[0].blast_radius == ("AB", "AC", "CB", "d", "there already")


AROUND_C = {"AC": 10.0, "CB": 10.0, "AD": 20.0, "DB": 20.0}


def test_traffic_to_a_site_is_led_around_a_router_that_lets_none_through_to_it() -> None:
    world = _world(AROUND_C, {"d": Demand("A", "B"), "to another": Demand("A", "C")})
    plan = _healed(world, "router_fib_stale", "rC", [_signal("loss", "user", "d", "none", 1.0)])
    assert plan is not None
    assert _acts(plan) == [("drain_router", "rC")]
    assert _nothing(plan) == pytest.approx(10.0 * LOST_US)


def test_a_router_that_lets_nothing_through_to_the_only_site_behind_it_is_not_drained() -> None:
    links = AROUND_C | {"CE": 10.0}
    world = _world(links, {"d": Demand("A", "E"), "well": Demand("A", "B"), "well too": Demand("B", "A")})
    signals = [_signal("loss", "user", "d", "none", 1.0), _signal("imbalance", "counter", "rC", "none", 0.3)]
    assert _healed(world, "router_fib_stale", "rC", signals) is None


@pytest.mark.parametrize("kind", [kind for kind in SICK if kind != "router_fib_stale"])
def test_traffic_is_led_around_a_router_that_hurts_it(kind: str) -> None:
    world = _world(AROUND_C, {"d": Demand("A", "B")})
    signals = [_signal("imbalance", "counter", "rC", "none", 0.1), _signal("delay", "user", "d", "none", 4_000.0)]
    plan = _healed(world, kind, "rC", signals)
    assert plan is not None
    assert _acts(plan) == [("drain_router", "rC")]
    longer_us = 2 * (_planned_us(20.0) - _planned_us(10.0))
    assert _nothing(plan) == pytest.approx(10.0 * (0.1 * LOST_US + 0.9 * 4_000.0))
    assert plan.proof.value == pytest.approx(10.0 * longer_us)


def test_what_starts_at_a_router_cannot_be_led_around_it() -> None:
    world = _world(TRIANGLE, {"d": Demand("C", "B"), "e": Demand("A", "C")})
    assert _healed(world, "router_fabric_loss", "rC", [_signal("imbalance", "counter", "rC", "none", 0.1)]) is None


def _silent(world: World, device: str, *links: str) -> World:
    """The world in which a device does not answer, and these links are down."""
    devices, states = world["equipment_states"], world["link_states"]
    return World(
        world.intended,
        world.actual.replace(
            devices.set(devices.rows([device]), up=False, boots=2), states.set(states.rows(links), up=False)
        ),
    )


def test_a_dead_router_is_started_anew_and_nobody_is_asked_as_nobody_goes_over_it() -> None:
    world = _silent(_world(TRIANGLE, {"d": Demand("A", "B")}), "rC", "AC", "CB")
    plan = _healed(world, "router_dead", "rC")
    assert plan is not None
    assert _acts(plan) == [("restart_device", "rC")]
    assert plan.asks == ""
    # It has started by itself before, so that one more is the third.
    assert [(cell.column, cell.after) for cell in plan.actions[0].sets] == [("boots", 3)]
    assert plan.actions[0].expects == (Read("equipment_states", "rC", "up", "==", True),)


def test_a_person_is_asked_before_a_router_that_still_forwards_is_started_anew() -> None:
    plan = _healed(_silent(_world(TRIANGLE, {"d": Demand("A", "B")}), "rA"), "router_hung", "rA")
    assert plan is not None
    assert "users go over it" in plan.asks
    idle = _healed(_silent(_world(TRIANGLE, {"d": Demand("A", "B")}), "rC"), "router_hung", "rC")
    assert idle is not None
    assert idle.asks == ""


def test_what_answers_is_not_started_anew() -> None:
    assert _healed(_world(TRIANGLE, {"d": Demand("A", "B")}), "router_dead", "rC") is None


@pytest.mark.parametrize(("site", "asks"), [("A", True), ("C", False)])
def test_a_person_is_asked_before_routing_is_started_anew_where_users_go(site: str, asks: bool) -> None:
    world = _world(TRIANGLE, {"d": Demand("A", "B")})
    plan = _healed(world, "routing_stuck", f"r{site}/routing")
    assert plan is not None
    assert _acts(plan) == [("restart_daemon", f"r{site}/routing")]
    assert bool(plan.asks) == asks
    other = _healed(world, "telemetry_dead", f"r{site}/telemetry")
    assert other is not None
    assert other.asks == ""


RESTORES: dict[str, tuple[str, str, tuple[Read, ...]]] = {
    "cost_wrong": (
        "restore_link",
        "AB",
        (Read("link_states", "AB", "cost", "==", 0), Read("link_states", "AB", "drained", "==", False)),
    ),
    "drain_left": (
        "restore_link",
        "AB",
        (Read("link_states", "AB", "cost", "==", 0), Read("link_states", "AB", "drained", "==", False)),
    ),
    "router_drain_left": ("restore_router", "rC", (Read("equipment_states", "rC", "drained", "==", False),)),
    "filter_wrong": ("restore_config", "rA/filter", (Read("config_states", "rA/filter", "value", "==", "none"),)),
    "other_wrong": ("restore_config", "rA/filter", (Read("config_states", "rA/filter", "value", "==", "none"),)),
}


@pytest.mark.parametrize("cause", RESTORES)
def test_what_was_changed_is_put_back_to_what_should_be_which_must_then_be_seen(cause: str) -> None:
    kind, subject, expects = RESTORES[cause]
    plan = _healed(_world(TRIANGLE, {"d": Demand("A", "B")}), cause, subject)
    assert plan is not None
    assert _acts(plan) == [(kind, subject)]
    assert plan.actions[0].expects == expects
    (cell,) = plan.actions[0].sets
    assert (cell.column, cell.before, cell.after) == ("restores", 0, 1)


def test_a_demand_that_has_grown_is_led_over_another_site() -> None:
    world = _world(TRIANGLE, {"d": Demand("A", "B", 100.0), "e": Demand("A", "B", 350.0)})
    plan = _healed(world, "demand_surge", "d", [_signal("surge", "user", "d", "none", 1.0)])
    assert plan is not None
    assert _acts(plan) == [("steer_demand", "d")]
    assert [(cell.column, cell.after) for cell in plan.actions[0].sets] == [("via", "C")]
    assert _nothing(plan) > plan.proof.value


def test_a_release_takes_the_last_act_back_first_and_ends_as_it_was() -> None:
    links = {"AB": 10.0, "AC": 20.0, "CB": 30.0, "BD": 10.0, "CD": 40.0, "AD": 60.0}
    world = _world(links, {"d": Demand("A", "B"), "e": Demand("B", "D")}, ducts={"D": ["AB", "BD"]})
    dim = [one for link in ("AB", "BD") for one in _both("errors", "counter", link, 0.05)]
    plan = _healed(world, "duct_dim", "D", dim)
    assert plan is not None
    mended = applied(plan.actions, world.intended)
    findings = _found(world, "duct_dim", "D", dim)[0]["findings"]
    gone = findings.set(findings.rows(["duct_dim/D"]), open=False)
    back = release(World(mended, world.actual.replace(gone)), "duct_dim/D", plan.actions, at_s=AT_S)
    assert _acts(back) == [("undrain_link", "BD"), ("undrain_link", "AB")]
    assert back.because == ()
    assert changed(back.reads, World(mended, world.actual.replace(gone))) == ()
    assert changed(back.reads, World(mended, world.actual.replace(findings))) != ()
    assert applied(back.actions, mended).digest == world.intended.digest
    assert np.array_equal(applied(back.actions, mended)["links"]["drained"], world["links"]["drained"])
