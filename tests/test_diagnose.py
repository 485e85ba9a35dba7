"""What is wrong, told from signals made by hand on a small ring: the cause, how sure, and what else it could be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from benchmarks.instances.mesh import mesh
from benchmarks.instances.ring import SITES, ring
from karez.detect.deviations import deviating
from karez.measure.diagnose import FORESEEN, FORESEEN_US, _hypotheses, _scene, _scored, diagnose, layout_of
from karez.measure.passage import passage_of
from karez.measure.signatures import Place, of_hole
from karez.plan import Action, Cell, applied
from karez.twin import Table, World
from karez.twin.schema import Value
from karez.twin.states import initial_states
from karez.twin.table import strings

LONG_S = 40.0
Signal = tuple[str, str, str, str, float, str]


def _world() -> World:
    """The ring, whose links tell their speed, with programs and sections, a second device at c1, and a duct of two."""
    world = ring()
    routers = [f"r{i}" for i in range(SITES)]
    kinds = ("routing", "bfd", "telemetry", "probe", "bgp")
    sections = ("filter", "policer", "static", "other", "bgp")
    intended = world.intended.replace(
        world["equipment"].add({"id": ["t1"], "site": ["c1"], "kind": ["otn"]}),
        Table.of(
            "daemons",
            {
                "id": [f"{router}/{kind}" for router in routers for kind in kinds],
                "equipment": [router for router in routers for _ in kinds],
                "kind": list(kinds) * SITES,
            },
        ),
        Table.of(
            "configs",
            {
                "id": [f"{router}/{section}" for router in routers for section in sections] + ["r1/mtu/l12"],
                "equipment": [router for router in routers for _ in sections] + ["r1"],
                "link": [""] * SITES * len(sections) + ["l12"],
                "section": list(sections) * SITES + ["mtu"],
            },
        ),
        Table.of("ducts", {"id": ["D"]}),
        Table.of("link_support", {"id": ["s1", "s2"], "link": ["l12", "l23"], "duct": ["D", "D"]}),
    )
    actual = initial_states(intended)
    told = actual["link_states"].set(np.arange(len(intended["links"])), capacity_gbps=400.0)
    return World(intended, actual.replace(told))


def _told(signals: Sequence[Signal], world: World | None = None, since_s: float = 0.0) -> World:
    """The world in which these signals (kind, source, subject, way, size, host) are open."""
    world = world or _world()
    if not signals:
        return world
    rows: dict[str, list[Value]] = {
        "id": [f"{kind}/{source}/{subject}/{way}" for kind, source, subject, way, _, _ in signals],
        "kind": [kind for kind, *_ in signals],
        "source": [source for _, source, *_ in signals],
        "subject": [subject for _, _, subject, *_ in signals],
        "way": [way for _, _, _, way, _, _ in signals],
        "size": [size for *_, size, _ in signals],
        "host": [host for *_, host in signals],
        "since_s": [since_s] * len(signals),
    }
    return World(world.intended, world.actual.replace(world["signals"].add(rows)))


def _probe(kind: str, link: str, way: str, size: float, host: str = "") -> Signal:
    return kind, "probe", link, way, size, host


def _felt(world: World, kind: str, size: float, *demands: str) -> list[Signal]:
    return [(kind, "user", demand, "none", size, "") for demand in demands]


BOTH = ("ab", "ba")
CASES: dict[tuple[str, str], list[Signal]] = {
    ("link_slow", "l12"): [_probe("delay", "l12", way, 3_000.0) for way in BOTH],
    ("link_slow_one_way", "l12"): [_probe("delay", "l12", "ab", 3_000.0)],
    ("link_loss", "l12"): [("loss", "counter", "l12", way, 0.05, "") for way in BOTH],
    ("link_loss_one_way", "l12"): [("loss", "counter", "l12", "ba", 0.05, "")],
    ("link_large_loss", "l12"): [_probe("large_loss", "l12", way, 1.0) for way in BOTH],
    ("link_errors", "l12"): [("errors", "counter", "l12", "ab", 0.02, "")],
    ("link_dim", "l12"): [("power", "optical", "l12", "ab", 8.0, ""), ("errors", "counter", "l12", "ab", 0.02, "")],
    ("link_jitter", "l12"): [_probe("jitter", "l12", way, 900.0) for way in BOTH],
    ("link_silent", "l12"): [
        *(_probe("loss", "l12", way, 1.0) for way in BOTH),
        ("unadjacent", "control", "l12", "none", np.nan, ""),
    ],
    ("link_cut", "l34"): [
        ("down", "control", "l34", "none", np.nan, ""),
        ("unadjacent", "control", "l34", "none", np.nan, ""),
        *(("power", "optical", "l34", way, 30.0, "") for way in BOTH),
    ],
    ("link_cut_one_way", "l34"): [
        ("down", "control", "l34", "none", np.nan, ""),
        ("power", "optical", "l34", "ba", 30.0, ""),
    ],
    ("state_lies", "l34"): [("down", "control", "l34", "none", np.nan, "")],
    ("duct_cut", "D"): [
        signal
        for link in ("l12", "l23")
        for signal in (
            ("down", "control", link, "none", np.nan, ""),
            ("unadjacent", "control", link, "none", np.nan, ""),
            *(("power", "optical", link, way, 30.0, "") for way in BOTH),
        )
    ],
    ("router_hung", "r4"): [
        ("silence", "ping", "r4", "none", 1.0, ""),
        *(("unadjacent", "control", link, "none", np.nan, "") for link in ("l34", "l45")),
    ],
    ("router_hot", "r4"): [("cpu", "ping", "r4", "none", 0.99, "")],
    ("router_clock_wrong", "r4"): [
        ("clock", "counter", "r4", "none", 5_000.0, ""),
        _probe("delay", "l34", "ab", 5_000.0, "c4"),
        _probe("clock", "l34", "ba", -5_000.0, "c3"),
        _probe("clock", "l45", "ab", -5_000.0, "c5"),
        _probe("delay", "l45", "ba", 5_000.0, "c4"),
    ],
    ("site_power_lost", "c1"): [
        *(("silence", "control", device, "none", 1.0, "") for device in ("r1", "t1")),
        *(("down", "control", link, "none", np.nan, "") for link in ("l01", "l12")),
    ],
    ("routing_dead", "r2/routing"): [
        ("dead", "control", "r2/routing", "none", np.nan, ""),
        *(("unadjacent", "control", link, "none", np.nan, "") for link in ("l12", "l23")),
    ],
    ("routing_stuck", "r2/routing"): [("behind", "control", "r2/routing", "none", 40.0, "")],
    ("telemetry_dead", "r2/telemetry"): [("dead", "control", "r2/telemetry", "none", np.nan, "")],
    ("probe_slow", "r4/probe"): [
        _probe("delay", "l34", "ab", 3_000.0, "c4"),
        _probe("delay", "l45", "ba", 3_000.0, "c4"),
    ],
    ("cost_wrong", "l12"): [("cost", "control", "l12", "none", np.nan, "")],
    ("drain_left", "l12"): [("drained", "control", "l12", "none", np.nan, "")],
    ("router_drain_left", "r2"): [("drained_router", "control", "r2", "none", np.nan, "")],
    ("mtu_wrong", "r1/mtu/l12"): [
        ("differs", "control", "r1/mtu/l12", "none", np.nan, ""),
        *(_probe("large_loss", "l12", way, 1.0) for way in BOTH),
    ],
    ("other_wrong", "r3/other"): [("differs", "control", "r3/other", "none", np.nan, "")],
    ("bgp_dead", "r2/bgp"): [
        ("dead", "control", "r2/bgp", "none", np.nan, ""),
        ("imbalance", "counter", "r2", "none", 0.7, ""),
    ],
    ("bgp_wrong", "r2/bgp"): [("differs", "control", "r2/bgp", "none", np.nan, "")],
    ("demand_surge", "d20"): [("surge", "user", "d20", "none", 5.0, "")],
    ("counter_stuck", "l12"): [("stuck", "counter", "l12", "none", 1.0, "")],
    ("counter_stuck", "l23"): [
        ("stuck", "counter", "l23", "none", 1.0, ""),
        ("imbalance", "counter", "l23", "ab", 1.0, ""),
    ],
    ("counter_wild", "l12"): [("imbalance", "counter", "l12", "ab", 0.5, "")],
    ("telemetry_late", "r4"): [("late", "counter", "r4", "none", 30.0, "")],
    ("queue_small", "l12"): [("drops", "counter", "l12", "ab", 0.03, "")],
}


@pytest.mark.parametrize("label", CASES, ids="/".join)
def test_the_trace_of_a_cause_is_told_as_that_cause(label: tuple[str, str]) -> None:
    world = _without_traffic(_told(CASES[label]))
    found = diagnose(world, at_s=LONG_S)
    assert [(cause.kind, cause.subject) for cause in found] == [label]
    assert found[0].confidence >= 0.5
    assert set(found[0].evidence) == set(world["signals"]["id"].astype(str).tolist())


def _without_traffic(world: World) -> World:
    """Nobody there to feel anything: the traces on the devices alone must do."""
    return World(
        world.intended.replace(world["demands"].set(np.arange(len(world["demands"])), b="c5", a="c5")), world.actual
    )


def test_where_nothing_is_open_nothing_is_wrong() -> None:
    assert diagnose(_world(), at_s=LONG_S) == ()


def test_what_users_feel_together_is_put_down_to_the_router_that_they_pass() -> None:
    world = _world()
    passing = [name for name in world["demands"].ids.astype(str).tolist() if "0" in name]
    found = diagnose(_told(_felt(world, "delay", 4_000.0, *passing)), at_s=LONG_S)
    assert [(cause.kind, cause.subject) for cause in found] == [("router_slow", "r0")]


def test_before_light_was_measured_a_link_that_is_down_is_no_sure_thing() -> None:
    down: list[Signal] = [("down", "control", "l34", "none", np.nan, "")]
    early = diagnose(_told(down, since_s=LONG_S), at_s=LONG_S)
    assert all(cause.confidence < 0.5 for cause in early)
    assert {(kind, subject) for cause in early for kind, subject, _ in cause.others} & {
        ("link_cut", "l34"),
        ("state_lies", "l34"),
    }


def test_sources_are_counted_once_each_and_probes_by_their_hosts() -> None:
    both = [_probe("delay", "l12", "ab", 3_000.0, "c2"), _probe("delay", "l12", "ba", 3_000.0, "c1")]
    assert diagnose(_told(both), at_s=LONG_S)[0].sources == 2
    assert diagnose(_told([both[0]]), at_s=LONG_S)[0].sources == 1


def test_planned_work_and_what_we_change_ourselves_say_nothing() -> None:
    world = _told(CASES["link_cut", "l34"])
    work: dict[str, list[Value]] = {"id": ["w"], "subject": ["l34"], "from_s": [LONG_S - 10.0], "to_s": [LONG_S + 10.0]}
    planned = World(world.intended.replace(world["works"].add(work)), world.actual)
    assert diagnose(planned, at_s=LONG_S) == ()
    assert diagnose(world, at_s=LONG_S, busy={"l34"}) == ()
    assert diagnose(planned, at_s=LONG_S + 500.0) != ()


def test_what_nothing_explains_is_told_as_unknown_once_it_lasts() -> None:
    odd: list[Signal] = [("silence", "optical", "l12", "ab", 1.0, "c2")]
    assert diagnose(_told(odd, since_s=LONG_S - 1.0), at_s=LONG_S) == ()
    found = diagnose(_told(odd, since_s=0.0), at_s=LONG_S)
    assert [(cause.kind, cause.subject) for cause in found] == [("unknown", "l12")]


def test_a_link_that_drops_and_does_not_tell_its_speed_may_be_full_and_is_not_said_to_queue_too_little() -> None:
    world = _told([("drops", "counter", "l12", "ab", 0.02, "")])
    assert [cause.kind for cause in diagnose(world, at_s=LONG_S)] == ["queue_small"]
    states = world["link_states"]
    silent = World(world.intended, world.actual.replace(states.set(states.rows(["l12"]), capacity_gbps=np.nan)))
    assert [cause.kind for cause in diagnose(silent, at_s=LONG_S)] == ["link_full"]


def test_a_full_link_is_a_cause_only_where_there_is_no_other() -> None:
    full: list[Signal] = [("load", "counter", "l12", "ab", 0.99, ""), _probe("delay", "l12", "ab", 300.0)]
    assert [cause.kind for cause in diagnose(_told(full), at_s=LONG_S)] == ["link_full"]
    both = diagnose(_told([*full, *CASES["link_cut", "l34"]]), at_s=LONG_S)
    assert [cause.kind for cause in both] == ["link_cut"]


def test_a_link_that_flaps_is_not_cut_as_well_while_it_is_down() -> None:
    flaps: list[Signal] = [("flapping", "control", "l34", "none", 4.0, "")]
    found = diagnose(_told([*CASES["link_cut", "l34"], *flaps]), at_s=LONG_S)
    assert [(cause.kind, cause.subject) for cause in found] == [("link_flapping", "l34")]


def test_a_link_that_is_silent_one_way_is_left_both_ways_and_its_users_do_not_make_it_silent_both_ways() -> None:
    world = mesh(3, sites=200)
    passing = passage_of(world).along(Place(links=("l216",)), layout_of(world.intended))
    names = world["demands"].ids[passing.rows].astype(str).tolist()
    users = [feel for kind in ("loss", "delay") for feel in _felt(world, kind, 9_000.0, *names)]
    signals = [_probe("loss", "l216", "ba", 1.0), ("unadjacent", "control", "l216", "none", np.nan, "")]
    found = diagnose(_told([*signals, *users], world), at_s=LONG_S)
    assert {cause.kind for cause in found if cause.subject == "l216"} == {"link_silent_one_way"}


def _with_load(world: World, link: str, share: float) -> World:
    states = world["link_states"]
    load = share * float(world["links"].cell(link, "capacity_gbps"))
    return World(world.intended, world.actual.replace(states.set(states.rows([link]), load_gbps=load)))


def _moves(world: World, cut: str) -> tuple[set[str], set[str]]:
    """Links onto which traffic moves when one is cut, and those onto which none does."""
    layout = layout_of(world.intended)
    moved = passage_of(world, without=[cut])
    onto = {link for link in layout.ends if moved.moved_onto(link)}
    return onto, set(layout.ends) - onto - {cut}


@pytest.mark.parametrize("up", [True, False])
def test_drops_on_a_link_onto_which_one_that_flaps_moves_traffic_follow_from_it_up_or_down(up: bool) -> None:
    world = _world()
    onto, others = _moves(world, "l34")
    states = world["link_states"]
    world = World(world.intended, world.actual.replace(states.set(states.rows(["l34"]), up=up)))
    flaps: list[Signal] = [("flapping", "control", "l34", "none", 4.0, "")]

    def told(*signals: Signal) -> set[tuple[str, str]]:
        return {(cause.kind, cause.subject) for cause in diagnose(_told(signals, world), at_s=LONG_S)}

    assert onto
    assert others
    for link in sorted(onto | others):
        drops = ("drops", "counter", link, "ab", 0.05, "")
        assert told(drops) == {("queue_small", link)}
        follows = set() if link in onto else {("queue_small", link)}
        assert told(*flaps, drops) == {("link_flapping", "l34")} | follows
        silent = [_probe("loss", link, way, 1.0) for way in BOTH]
        silent.append(("unadjacent", "control", link, "none", np.nan, ""))
        assert ("link_silent", link) in told(*flaps, *silent)


def test_drops_on_a_laden_link_follow_from_what_moves_traffic() -> None:
    drops: list[Signal] = [*CASES["link_cut", "l34"], ("drops", "counter", "l45", "ab", 0.05, "")]
    for share, more in ((0.3, {"queue_small"}), (0.5, set())):
        found = diagnose(_told(drops, _with_load(_world(), "l45", share)), at_s=LONG_S)
        assert {cause.kind for cause in found} == {"link_cut"} | more


@pytest.mark.parametrize(
    ("link", "share", "follows"), [("l024", 0.9, True), ("l024", 0.5, False), ("l026", 0.9, False)]
)
def test_a_slow_router_that_only_users_tell_of_follows_from_traffic_moved_to_a_laden_link_there(
    link: str, share: float, follows: bool
) -> None:
    world = mesh(3)
    states = world["link_states"]
    down = World(world.intended, world.actual.replace(states.set(states.rows(["l005"]), up=False)))
    assert passage_of(down).moved_onto("l024")
    assert not passage_of(down).moved_onto("l026")
    cut = [("down", "control", "l005", "none", np.nan, "")]
    cut += [("power", "optical", "l005", way, 30.0, "") for way in BOTH]
    rows = passage_of(down).along(Place(sites=("c008",)), layout_of(world.intended)).rows
    names = world["demands"].ids[rows].astype(str).tolist()
    loaded = _with_load(down, link, share)
    late = diagnose(_told([*cut, *_felt(world, "delay", 3_000.0, *names)], loaded), at_s=LONG_S)
    assert {cause.id for cause in late} == {"link_cut/l005"} | (set() if follows else {"router_slow/r008"})
    # What the router itself shows does not follow from others.
    odd: list[Signal] = [*cut, ("imbalance", "counter", "r008", "none", 0.05, "")]
    losing = diagnose(_told([*odd, *_felt(world, "loss", 0.05, *names)], loaded), at_s=LONG_S)
    assert {cause.id for cause in losing} == {"link_cut/l005", "router_fabric_loss/r008"}


def test_a_link_that_nothing_is_told_of_is_not_laden() -> None:
    world = _world()
    states = world["link_states"]
    told = states.take(np.flatnonzero(states.ids != b"l45"))
    world = World(world.intended, world.actual.replace(told))
    drops: list[Signal] = [*CASES["link_cut", "l34"], ("drops", "counter", "l45", "ab", 0.05, "")]
    assert {cause.kind for cause in diagnose(_told(drops, world), at_s=LONG_S)} == {"link_cut", "queue_small"}


def test_what_users_of_a_demand_feel_that_nobody_asks_for_any_more_says_nothing() -> None:
    gone = [(kind, "user", "no demand", "none", 0.5, "") for kind in ("loss", "delay")]
    assert diagnose(_told(gone), at_s=LONG_S) == ()
    assert [cause.kind for cause in diagnose(_told([*gone, *CASES["link_cut", "l34"]]), at_s=LONG_S)] == ["link_cut"]


def test_what_is_being_changed_leaves_nothing_behind_in_memory() -> None:
    world = _told(CASES["link_loss", "l12"])
    kept = passage_of(world).kept
    diagnose(world, at_s=LONG_S)
    before = len(kept)
    for link in ("l01", "l23", "l45"):
        diagnose(world, at_s=LONG_S, busy=(link,))
    assert len(kept) == before


@pytest.mark.parametrize(("sources", "kind"), [(("counter",), "link_large_loss"), (("counter", "probe"), "link_loss")])
def test_loss_that_probes_see_of_large_packets_alone_is_of_large_packets(sources: tuple[str, ...], kind: str) -> None:
    lost: list[Signal] = [("loss", source, "l34", way, 0.2, "") for source in sources for way in ("ab", "ba")]
    large = [_probe("large_loss", "l34", way, 1.0) for way in ("ab", "ba")]
    assert [cause.kind for cause in diagnose(_told([*lost, *large]), at_s=LONG_S)] == [kind]


def test_what_a_cause_may_leave_says_nothing_for_it_once_what_it_must_leave_is_missing() -> None:
    dim: list[Signal] = []
    for link in ("l34", "l45"):
        dim += [(kind, "counter", link, way, 0.05, "") for kind in ("errors", "loss") for way in ("ab", "ba")]
    found = diagnose(_told(dim), at_s=LONG_S)
    assert not {cause.kind for cause in found} & {"router_booted", "router_dead", "router_hung"}


def test_states_that_differ_from_what_should_be_become_signals_and_go_again() -> None:
    world = _world()
    states = world["link_states"]
    row = states.rows(["l12"])
    odd = World(world.intended, world.actual.replace(states.set(row, up=False, cost=9, flaps=4, capacity_gbps=100.0)))
    signals = deviating(odd, 5.0)
    open_ids = set(signals.ids[signals["open"]].astype(str).tolist())
    assert open_ids == {f"{kind}/control/l12" for kind in ("down", "cost", "flapping", "narrow")}
    well = deviating(World(world.intended, world.actual.replace(signals)), 9.0)
    assert not well["open"].any()
    again = deviating(World(odd.intended, odd.actual.replace(well)), 12.0)
    assert set(again["since_s"][again["open"]].tolist()) == {12.0}


def test_what_the_loop_intends_is_no_deviation() -> None:
    world = _world()
    drain = Action(
        kind="drain_link", subject="l12", sets=(Cell("links", "l12", "drained", False, True),), expires_at_s=1.0
    )
    states = world["link_states"]
    mirrored = world.actual.replace(states.set(states.rows(["l12"]), drained=True))
    assert not len(deviating(World(applied([drain], world.intended), mirrored), 5.0))


@pytest.mark.parametrize(("late_us", "told"), [(1_900.0, False), (2_100.0, True)])
def test_that_demands_are_late_as_was_foreseen_says_nothing(late_us: float, told: bool) -> None:
    world = _world()
    passed = passage_of(world).passed[0]
    rows = next(one.rows for (_, way), one in passed.items() if not way and len(one.rows) > 3)
    through = world["demands"].ids[rows].astype(str).tolist()
    late = _told(_felt(world, "delay", late_us, *through), world)
    foreseen_us = dict.fromkeys(through, (2_000.0 - FORESEEN_US) / FORESEEN)
    assert bool(diagnose(late, at_s=LONG_S, foreseen_us=foreseen_us)) == told
    assert diagnose(late, at_s=LONG_S)


@pytest.mark.parametrize("is_odd", [False, True])
def test_a_hole_that_is_not_looked_at_could_not_have_been_the_cause(is_odd: bool) -> None:
    world = mesh(3)
    routers = [str(row["id"]) for row in world["equipment"].records() if row["kind"] == "router"]
    odd = [("imbalance", "counter", routers[2], "none", 0.05, "")] if is_odd else []
    losing = world["demands"].ids.astype(str).tolist()[::2]
    scene = _scene(_told([*_felt(world, "loss", 1.0, *losing), *odd], world), LONG_S, (), {})
    assert scene is not None
    looked_at = {(one.subject, one.goal) for one in _hypotheses(scene) if one.kind == "router_fib_stale"}
    assert looked_at
    goals = sorted({goal for _, goal in scene.layout.demand_ends.values()})
    for device, goal in product(routers, goals):
        scores = _scored(tuple(of_hole(device, goal, scene.layout)), scene)[1]
        assert (device, goal) in looked_at or all(score.gain == -math.inf for score in scores)


@pytest.mark.parametrize(("size", "kind"), [(0.03, "router_fabric_loss"), (0.95, "router_fib_stale")])
def test_a_hole_loses_all_that_passes_and_a_fabric_some_of_it(size: float, kind: str) -> None:
    world = mesh(3)
    passed = passage_of(world).passed[0]
    goals = dict(zip(world["demands"].ids.astype(str).tolist(), strings(world["demands"]["b"]), strict=True))
    routers = {str(row["site"]): str(row["id"]) for row in world["equipment"].records() if row["kind"] == "router"}
    names = world["demands"].ids.astype(str)
    # One demand of several that pass, so that by who loses alone it may be either.
    site, one = next(
        (place, name)
        for (place, way), passing in passed.items()
        if not way and 2 <= len(passing.rows) <= 4
        for name in names[passing.rows[passing.shares > 0.9]].tolist()
        if goals[name] != place and sum(goals[other] == goals[name] for other in names[passing.rows].tolist()) == 1
    )
    odd = ("imbalance", "counter", routers[site], "none", 0.05, "")
    first, *_ = diagnose(_told([*_felt(world, "loss", size, one), odd], world), at_s=LONG_S)
    assert (first.kind, first.subject) == (kind, routers[site])
