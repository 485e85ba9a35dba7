"""What the loop may do alone, where and when; told signals by hand, on a network that does what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.instances.ring import ring
from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.adapters.guard import Guard, Reply
from karez.loop.follow import HELPS_S, RESPECT_S, WATCH_S
from karez.loop.govern import LONGEST_RELEASE_S, PATIENCE_S, PROPOSE_S, RELEASE_S, REST_S, WAITS_S
from karez.loop.perceive import FADES_S
from karez.loop.runner import Runner
from karez.loop.state import Approval, Decisions, Inputs, Level, Policy, State
from karez.loop.turn import turn
from karez.plan import Action, Cell, Plan, Proof
from karez.record.log import Record
from karez.twin import Table, World
from karez.twin.schema import Value
from karez.twin.telemetry import StateRows

ACT = Policy(level="act")
SLOW = "link_slow/l03"
FELT = ("d03", "d30", "d40")


def signal(
    kind: str, source: str, subject: str, way: str = "none", *, size: float, host: str = "", since_s: float
) -> StateRows:
    """A signal that opens."""
    mark = {"ab": ">", "ba": "<", "none": ""}[way]
    columns: dict[str, tuple[Value, ...]] = {
        "kind": (kind,),
        "source": (source,),
        "subject": (subject,),
        "way": (way,),
        "host": (host,),
        "size": (size,),
        "since_s": (since_s,),
        "open": (True,),
    }
    return StateRows("signals", (f"{kind}/{source}/{subject}{mark}",), columns)


def slow(link: str = "l03", *, at_s: float, hosts: tuple[str, str] = ("c3", "c0")) -> list[StateRows]:
    """Probes are late on a link, both ways; `hosts` received them."""
    ways = zip(("ab", "ba"), hosts, strict=True)
    return [signal("delay", "probe", link, way, size=5_000.0, host=host, since_s=at_s) for way, host in ways]


def felt(*demands: str, kind: str = "delay", size: float = 5_000.0, at_s: float) -> list[StateRows]:
    return [signal(kind, "user", demand, size=size, since_s=at_s) for demand in demands]


def over(told: Sequence[StateRows]) -> list[StateRows]:
    """The same signals, closed."""
    return [StateRows("signals", one.ids, {"open": (False,) * len(one.ids)}) for one in told]


class Hand:
    """Turns by hand: the network is well whatever the signals say, and does what the loop commands."""

    def __init__(self, policy: Policy = ACT, world: World | None = None) -> None:
        self.world = world or ring()
        self.network = EmbeddedNetwork(self.world, seed=1, start_s=0.0)
        self.guard = Guard(self.network, lambda receipt, command: True)
        self.policy, self.state = policy, State.of(self.world)
        self.replies: tuple[Reply, ...] = ()

    def turn(
        self, at_s: float, *signals: StateRows, plans: Sequence[Plan] = (), approvals: Sequence[Approval] = ()
    ) -> Decisions:
        inputs = Inputs(
            at_s=at_s,
            changes=(*self.network.observe(at_s), *signals),
            replies=(*self.replies, *self.guard.tick(at_s)),
            plans=tuple(plans),
            approvals=tuple(approvals),
        )
        self.state, decisions = turn(self.state, inputs, self.policy)
        for command in decisions.confirmed:
            self.guard.confirm(command)
        done = (self.guard.execute(c, b"", self.state.world, at_s=at_s) for c in decisions.commands)
        self.replies = tuple(done)
        return decisions

    def until(self, at_s: float, *signals: StateRows) -> list[Decisions]:
        """The turns that decided anything, a second each from the last one on."""
        start = int(self.at_s) + 1
        turns = [self.turn(float(now_s), *(signals if now_s == start else ())) for now_s in range(start, int(at_s) + 1)]
        return [decisions for decisions in turns if decisions.commands or decisions.verdicts or decisions.found]

    @property
    def at_s(self) -> float:
        return self.network._at_s

    def drained(self, link: str = "l03") -> bool:
        return bool(self.state.intended["links"].cell(link, "drained"))


def words(*turns: Decisions) -> list[str]:
    return [verdict.verdict for decisions in turns for verdict in decisions.verdicts]


def whys(decisions: Decisions) -> str:
    return "; ".join(verdict.why for verdict in decisions.verdicts)


def drain(*links: str, expires_at_s: float = 1e4) -> Plan:
    """A person's plan to drain links."""
    acts = tuple(
        Action(
            kind="drain_link",
            subject=link,
            sets=(Cell("links", link, "drained", False, True),),
            blast_radius=(link,),
            expires_at_s=expires_at_s,
        )
        for link in links
    )
    return Plan(
        planner="person",
        question={},
        revision="",
        made_at_s=0.0,
        reads=(),
        actions=acts,
        price_cny=0.0,
        proof=Proof(value=0.0, bound=0.0, unit="CNY", how="test"),
    )


def two_parts(world: World | None = None) -> World:
    """The ring, of which c3, c4 and c5 are of another metropolis and another domain."""
    world = world or ring()
    sites = world["sites"]
    rows = sites.rows(["c3", "c4", "c5"])
    return World(
        world.intended.replace(
            sites.set(rows, metro=np.array([b"N"] * 3), domain=np.array([b"other"] * 3)),
            world["metros"].add({"id": ["N"], "province": ["P"], "lon": [111.0], "lat": [30.0]}),
            world["domains"].add({"id": ["other"], "entity": ["Other"], "verified": ["yes"]}),
        ),
        world.actual,
    )


def planned(world: World, table: str, row: dict[str, Sequence[Value]]) -> World:
    return World(world.intended.replace(world[table].add(row)), world.actual)


# Levels


@pytest.mark.parametrize(
    ("domain", "kind", "level"),
    [
        ("a", "drain_link", "observe"),
        ("a", "restart_device", "act"),
        ("b", "drain_link", "advise"),
        ("b", "restart_device", "act"),
        ("c", "restart_device", "observe"),
        ("c", "drain_link", "advise"),
    ],
)
def test_the_level_that_is_named_most_closely_counts(domain: str, kind: str, level: Level) -> None:
    levels: dict[str, Level] = {"a/drain_link": "observe", "*/drain_link": "advise", "c/*": "observe"}
    assert Policy(level="act", levels=levels).level_for(domain, kind) == level


@pytest.mark.parametrize(("level", "word"), [("advise", "proposed"), ("observe", "would act")])
def test_of_an_act_in_two_domains_the_lower_level_counts(level: Level, word: str) -> None:
    levels: dict[str, Level] = {"other/drain_link": level}
    hand = Hand(Policy(level="act", levels=levels), two_parts())
    decisions = hand.turn(10.0, *slow(at_s=10.0))
    assert (words(decisions), decisions.commands) == ([word], ())
    assert whys(decisions) == f"the level is {level}"
    inside = hand.turn(11.0, plans=[drain("l01")])
    assert words(inside) == ["commanded"]


def test_a_level_above_that_of_all_lets_the_loop_do_one_kind_of_act_in_one_domain() -> None:
    levels: dict[str, Level] = {"carrier/drain_link": "act"}
    hand = Hand(Policy(level="observe", levels=levels))
    assert words(hand.turn(10.0, *slow(at_s=10.0))) == ["commanded"]


# How sure, by how many


def test_what_one_source_alone_tells_is_proposed_after_a_while_and_done_once_another_tells_it() -> None:
    hand = Hand()
    told = slow(at_s=10.0, hosts=("", ""))
    hand.turn(10.0, *told)
    assert hand.state.open(SLOW)
    waited = hand.until(10.0 + PROPOSE_S)
    assert [(turn.at_s, words(turn)) for turn in waited] == [(10.0 + PROPOSE_S, ["proposed"])]
    assert "1 independent source" in whys(waited[0])
    assert hand.state.waiting == waited[0].plans
    second = hand.turn(16.0, *felt(*FELT, at_s=16.0))
    assert words(second) == ["withdrawn", "commanded"]
    assert hand.state.waiting == ()
    hand.turn(17.0)
    assert hand.drained()


def test_what_two_sources_tell_is_done_at_once() -> None:
    assert words(Hand().turn(10.0, *slow(at_s=10.0))) == ["commanded"]


def test_what_one_source_tells_is_done_at_once_where_one_is_asked_for() -> None:
    policy = Policy(level="act", sources=1)
    assert words(Hand(policy).turn(10.0, *slow(at_s=10.0, hosts=("", "")))) == ["commanded"]


def test_a_cause_that_is_not_sure_enough_is_proposed_and_a_person_may_have_it_done() -> None:
    hand = Hand(Policy(level="act", confidence=1.0))
    hand.turn(10.0, *slow(at_s=10.0))
    (proposed,) = hand.until(10.0 + PROPOSE_S)
    assert words(proposed) == ["proposed"]
    assert "sure, and 100% is asked for" in whys(proposed)
    done = hand.turn(20.0, approvals=[Approval(proposed.plans[0].id, "Li Wei")])
    assert words(done) == ["commanded"]
    assert done.commands[0].approved_by == "Li Wei"


def test_a_proposal_is_withdrawn_when_its_finding_is_gone() -> None:
    hand = Hand(Policy(level="advise"))
    told = slow(at_s=10.0)
    assert words(hand.turn(10.0, *told)) == ["proposed"]
    gone = hand.until(20.0, *over(told))
    assert [words(turn) for turn in gone] == [["withdrawn"]]
    assert whys(gone[0]) == "the finding is gone"


def test_a_proposal_that_nobody_has_answered_for_an_hour_is_made_anew() -> None:
    hand = Hand(Policy(level="advise"))
    first = hand.turn(10.0, *slow(at_s=10.0), *felt(*FELT, at_s=10.0))
    assert hand.turn(10.0 + WAITS_S).verdicts == ()
    again = hand.turn(11.0 + WAITS_S)
    assert words(again) == ["withdrawn", "proposed"]
    assert again.plans[0].id != first.plans[0].id
    assert hand.state.waiting == again.plans


def test_a_plan_of_a_person_that_waits_is_not_withdrawn_as_though_the_loop_had_made_it() -> None:
    hand = Hand()
    theirs = msgspec.structs.replace(drain("l12"), planner="heal")
    both = hand.turn(10.0, plans=[drain("l03"), theirs])
    assert words(both) == ["commanded", "proposed"]
    assert words(*hand.until(20.0)) == ["applied", "verified"]
    assert hand.state.waiting == (theirs,)


# When nothing may be changed


@pytest.mark.parametrize(
    ("domain", "from_s", "to_s", "holds"),
    [
        ("", 0.0, 100.0, True),
        ("carrier", 0.0, 100.0, True),
        ("carrier", 10.0, 100.0, True),
        ("carrier", 0.0, 10.0, False),
        ("carrier", 11.0, 100.0, False),
        ("other", 0.0, 100.0, False),
    ],
)
def test_in_a_freeze_nothing_is_changed_in_its_domain(domain: str, from_s: float, to_s: float, holds: bool) -> None:
    row: dict[str, Sequence[Value]] = {"id": ["f"], "domain": [domain], "from_s": [from_s], "to_s": [to_s]}
    world = planned(two_parts(), "freezes", row)
    by_itself = Hand(world=world).turn(10.0, *slow("l01", at_s=10.0, hosts=("c1", "c0")), *felt("d10", at_s=10.0))
    by_a_person = Hand(world=world).turn(10.0, plans=[drain("l01")])
    for decisions in (by_itself, by_a_person):
        if decisions.plans:
            assert words(decisions) == (["refused"] if holds else ["commanded"])
    assert by_a_person.plans
    assert ("the freeze f holds" in whys(by_a_person)) == holds


def test_the_loop_does_nothing_alone_in_a_freeze_and_acts_once_it_is_over() -> None:
    row: dict[str, Sequence[Value]] = {"id": ["f"], "domain": ["carrier"], "from_s": [0.0], "to_s": [40.0]}
    hand = Hand(world=planned(ring(), "freezes", row))
    during = [hand.turn(10.0, *slow(at_s=10.0), *felt(*FELT, at_s=10.0)), *hand.until(39.0)]
    assert set(words(*during)) == {"refused"}
    assert len(words(*during)) <= 1 + 29 / REST_S
    assert words(*hand.until(40.0 + REST_S))[0] == "commanded"


@pytest.mark.parametrize("subject", ["l03", "c0", "c3"])
def test_while_others_work_there_nothing_is_found_or_changed(subject: str) -> None:
    row: dict[str, Sequence[Value]] = {"id": ["w"], "subject": [subject], "from_s": [5.0], "to_s": [60.0]}
    hand = Hand(world=planned(ring(), "works", row))
    decisions = hand.turn(10.0, *slow(at_s=10.0), plans=[drain("l03")])
    assert decisions.found == ()
    assert words(decisions) == ["refused"]
    assert whys(decisions) == "planned work w is under way"
    assert words(Hand(world=hand.world).turn(60.0, plans=[drain("l03")])) == ["commanded"]


def test_work_elsewhere_keeps_nobody_from_anything() -> None:
    row: dict[str, Sequence[Value]] = {"id": ["w"], "subject": ["l45"], "from_s": [5.0], "to_s": [60.0]}
    hand = Hand(world=planned(ring(), "works", row))
    assert words(hand.turn(10.0, *slow(at_s=10.0))) == ["commanded"]


# How much at once


def test_what_is_done_at_one_site_is_limited_whatever_it_is() -> None:
    hand = Hand(Policy(level="act", budgets={}, place_budgets={"site": (60.0, 1)}))
    assert words(hand.turn(10.0, plans=[drain("l03")])) == ["commanded"]
    hand.until(15.0)
    refused = hand.turn(16.0, plans=[drain("l01")])
    assert (words(refused), whys(refused)) == (["refused"], "the budget of site:c0 is spent")
    # What was refused cost nothing at the other end.
    assert words(hand.turn(17.0, plans=[drain("l12")])) == ["commanded"]
    hand.until(70.0)
    assert words(hand.turn(71.0, plans=[drain("l50")])) == ["commanded"]


def test_what_is_done_in_one_metropolis_is_limited() -> None:
    hand = Hand(Policy(level="act", budgets={}, place_budgets={"metro": (60.0, 1)}), two_parts())
    assert words(hand.turn(10.0, plans=[drain("l01")])) == ["commanded"]
    hand.until(15.0)
    refused = hand.turn(16.0, plans=[drain("l12")])
    assert (words(refused), whys(refused)) == (["refused"], "the budget of metro:M is spent")
    assert words(hand.turn(17.0, plans=[drain("l45")])) == ["commanded"]


def test_what_takes_a_mending_back_is_not_kept_back_by_the_budget_of_a_place() -> None:
    hand = Hand(Policy(level="act", place_budgets={"site": (1e6, 1), "metro": (1e6, 1)}))
    told = slow(at_s=10.0)
    hand.turn(10.0, *told)
    hand.until(20.0, *over(told))
    hand.until(30.0 + RELEASE_S)
    assert not hand.drained()


def test_in_one_metropolis_one_change_at_a_time() -> None:
    one = Hand().turn(10.0, plans=[drain("l01"), drain("l45")])
    assert words(one) == ["commanded", "proposed"]
    assert "something else is being changed in M" in whys(one)
    two = Hand(world=two_parts()).turn(10.0, plans=[drain("l01"), drain("l45")])
    assert words(two) == ["commanded", "commanded"]


def test_of_two_findings_in_one_metropolis_the_second_is_mended_when_the_first_is_verified() -> None:
    hand = Hand()
    begun = hand.turn(10.0, *slow(at_s=10.0), *slow("l50", at_s=10.0, hosts=("c0", "c5")))
    assert {found.id for found in begun.found} == {SLOW, "link_slow/l50"}
    turns = [begun, *hand.until(40.0)]
    sent = [(turn.at_s, command.actions[0].subject) for turn in turns for command in turn.commands]
    verified = [turn.at_s for turn in turns if "verified" in words(turn)]
    assert "proposed" not in words(*turns)
    assert len(sent) == len(verified) == 2
    assert sent[0][0] < verified[0] <= sent[1][0]


# Waiting


class Lived:
    """A run of the whole loop, with ears, on the ring."""

    def __init__(self, path: Path, *faults: Fault, turns: int) -> None:
        network = EmbeddedNetwork(ring(), seed=1, start_s=0.0)
        for fault in faults:
            network.inject(fault)
        with Record(path) as record:
            runner = Runner.start(ring(), network, record, ACT, at_s=0.0)
            self.turns = [runner.turn(float(at_s)) for at_s in range(1, turns + 1)]
        self.findings = runner.state.findings

    @property
    def commands(self) -> list[tuple[float, str]]:
        return [(turn.at_s, command.actions[0].kind) for turn in self.turns for command in turn.commands]


def test_a_router_that_is_dead_has_time_to_come_back_by_itself(tmp_path: Path) -> None:
    dead = Lived(tmp_path / "dead", Fault("router_dead", "r2", 40.0), turns=120)
    since_s = float(dead.findings.cell("router_dead/r2", "since_s"))
    assert [kind for _, kind in dead.commands] == ["restart_device"]
    assert 0.0 <= dead.commands[0][0] - since_s - PATIENCE_S["router_dead"] <= 1.0


def test_a_router_that_boots_by_itself_is_left_alone(tmp_path: Path) -> None:
    booted = Lived(tmp_path / "booted", Fault("router_booted", "r2", 40.0, 70.0), turns=120)
    assert booted.commands == []


def _release(hand: Hand, until_s: float) -> float:
    """When the mending was taken back."""
    turns = hand.until(until_s)
    return next(turn.at_s for turn in turns for c in turn.commands if c.actions[0].kind == "undrain_link")


def test_a_mending_is_kept_for_longer_each_time_that_its_finding_comes_back() -> None:
    hand = Hand()
    told = slow(at_s=10.0)
    hand.turn(10.0, *told)
    hand.until(19.0)
    hand.turn(20.0, *over(told))
    assert _release(hand, 200.0) == 20.0 + FADES_S + RELEASE_S
    again = slow(at_s=201.0)
    hand.turn(201.0, *again)
    hand.until(209.0)
    assert hand.drained()
    hand.turn(210.0, *over(again))
    assert _release(hand, 400.0) == 210.0 + FADES_S + 2 * RELEASE_S


def test_a_finding_that_comes_back_before_its_mending_was_taken_back_keeps_it() -> None:
    hand = Hand()
    told = slow(at_s=10.0)
    hand.turn(10.0, *told)
    hand.until(19.0)
    hand.turn(20.0, *over(told))
    hand.until(60.0)
    again = slow(at_s=61.0)
    assert hand.turn(61.0, *again).commands == ()
    assert hand.until(150.0) == []
    hand.turn(151.0, *over(again))
    assert _release(hand, 400.0) == 151.0 + FADES_S + 2 * RELEASE_S


@pytest.mark.parametrize("times", [7, 30, 2_000])
def test_no_mending_is_kept_for_more_than_an_hour(times: int) -> None:
    world = ring()
    act = msgspec.structs.replace(drain("l03").actions[0], expects=())
    finding: dict[str, Sequence[Value]] = {
        "id": [SLOW],
        "kind": ["link_slow"],
        "subject": ["l03"],
        "since_s": [0.0],
        "open": [False],
        "closed_at_s": [10.0],
        "times": [times],
        "held": [msgspec.json.encode((act,)).decode()],
    }
    links, states = world["links"], world["link_states"]
    world = World(
        world.intended.replace(links.set(links.rows(["l03"]), drained=True)),
        world.actual.replace(Table.of("findings", finding), states.set(states.rows(["l03"]), drained=True)),
    )
    policy, state = ACT, State.of(world)
    state, early = turn(state, Inputs(at_s=9.0 + LONGEST_RELEASE_S), policy)
    _, late = turn(state, Inputs(at_s=10.0 + LONGEST_RELEASE_S), policy)
    assert (len(early.commands), len(late.commands)) == (0, 1)


def test_a_mending_is_kept_while_something_else_is_wrong_with_the_same_link() -> None:
    hand = Hand()
    told = slow(at_s=10.0)
    hand.turn(10.0, *told)
    hand.until(19.0)
    lost = [signal("loss", "counter", "l03", way, size=0.05, since_s=20.0) for way in ("ab", "ba")]
    hand.turn(20.0, *over(told), *lost)
    assert not any(turn.commands for turn in hand.until(200.0))
    assert hand.drained()
    hand.turn(201.0, *over(lost))
    hand.until(400.0)
    assert not hand.drained()


@pytest.mark.parametrize(("gone_s", "closes"), [(FADES_S - 1.0, False), (FADES_S, True)])
def test_a_finding_is_closed_only_when_nothing_speaks_for_it_for_a_while(gone_s: float, closes: bool) -> None:
    hand = Hand(Policy(level="observe"))
    told = slow(at_s=10.0)
    hand.turn(10.0, *told)
    hand.turn(20.0, *over(told))
    turns = hand.until(20.0 + gone_s)
    assert any(not found.open for turn in turns for found in turn.found) == closes
    hand.turn(21.0 + gone_s, *slow(at_s=21.0 + gone_s))
    assert hand.state.open(SLOW)
    assert int(hand.state.findings.cell(SLOW, "times")) == (2 if closes else 1)
    # What was about to fade and came back has all its time again.
    assert not any(not found.open for turn in hand.until(40.0 + gone_s) for found in turn.found)


# Watching


def _mended(hand: Hand) -> tuple[str, ...]:
    """Drain l03 as it is slow; the demands within reach of that."""
    sent = hand.turn(10.0, *slow(at_s=10.0))
    assert words(*hand.until(12.0)) == ["applied", "verified"]
    assert hand.drained()
    return tuple(row for row in sent.commands[0].actions[0].blast_radius if row.startswith("d"))


def test_an_act_after_which_a_demand_within_reach_suffers_is_taken_back_at_once_and_its_finding_rests() -> None:
    hand = Hand()
    reach = _mended(hand)
    hurt = hand.turn(15.0, *felt(reach[0], kind="loss", size=0.2, at_s=14.5))
    assert words(hurt) == ["undone"]
    assert reach[0] in whys(hurt)
    assert [act.kind for act in hurt.commands[0].actions] == ["undrain_link"]
    hand.turn(16.0)
    assert (hand.drained(), hand.state.findings.cell(SLOW, "held")) == (False, "")
    assert hand.state.open(SLOW)
    assert not any(turn.commands for turn in hand.until(14.0 + RESPECT_S))
    assert any(turn.commands for turn in hand.until(15.0 + RESPECT_S))


def test_a_delay_that_the_plan_foresaw_is_no_reason_to_take_it_back() -> None:
    hand = Hand()
    reach = _mended(hand)
    foreseen_us = hand.state.running[0].command.foreseen_us
    late = next(demand for demand in reach if demand in foreseen_us)
    assert hand.turn(15.0, *felt(late, size=foreseen_us[late], at_s=14.5)).verdicts == ()
    assert words(hand.turn(16.0, *felt(late, size=10.0 * foreseen_us[late] + 5_000.0, at_s=14.5))) == ["undone"]


@pytest.mark.parametrize(("at_s", "since_s"), [(15.0, 9.0), (13.0 + WATCH_S, 12.0 + WATCH_S)], ids=["before", "late"])
def test_what_was_so_before_an_act_or_comes_long_after_it_is_none_of_its_doing(at_s: float, since_s: float) -> None:
    hand = Hand()
    reach = _mended(hand)
    hand.until(at_s - 1.0)
    hand.turn(at_s, *felt(reach[0], kind="loss", size=0.2, at_s=since_s))
    assert "undone" not in words(*hand.until(30.0))
    assert hand.drained()


def test_a_demand_that_an_act_cannot_reach_is_no_reason_to_take_it_back() -> None:
    hand = Hand()
    reach = _mended(hand)
    other = next(name.decode() for name in hand.world["demands"].ids.tolist() if name.decode() not in reach)
    hand.turn(15.0, *felt(other, kind="loss", size=0.2, at_s=14.5))
    assert "undone" not in words(*hand.until(30.0))
    assert hand.drained()


def test_long_after_an_act_it_is_taken_back_where_a_link_that_took_over_traffic_fails_its_users() -> None:
    hand = Hand()
    reach = _mended(hand)
    detour = next(
        row for row in hand.state.running[0].command.actions[0].blast_radius if row[0] == "l" and row != "l03"
    )
    hand.until(200.0)
    hand.turn(201.0, *felt(reach[0], kind="loss", size=0.2, at_s=200.5))
    assert hand.drained()
    trouble = [signal("loss", "counter", detour, way, size=0.05, since_s=201.5) for way in ("ab", "ba")]
    assert words(hand.turn(202.0, *trouble))[0] == "undone"
    hand.turn(203.0)
    assert (hand.drained(), hand.state.findings.cell(SLOW, "held")) == (False, "")


@pytest.mark.parametrize("helps", [True, False], ids=["helps one", "helps nobody"])
def test_an_act_that_helps_nobody_for_whose_sake_it_was_is_taken_back(helps: bool) -> None:
    hand = Hand()
    told = felt(*FELT, at_s=9.5)
    hand.turn(10.0, *slow(at_s=10.0), *told)
    hand.until(12.0)
    assert hand.drained()
    if helps:
        hand.turn(13.0, *over(told[:1]))
    turns = hand.until(12.0 + HELPS_S)
    assert ("undone" in words(*turns)) != helps
    assert hand.drained() == helps
