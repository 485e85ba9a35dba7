"""The seams between loop, guard, network and record: what must hold when one side fails, lies, repeats or dies."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.instances.ring import DRAIN, ORDER, RESTART, START, ring
from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.adapters.guard import Command, Guard, Reply
from karez.adapters.network import seen
from karez.errors import InputError, KarezError
from karez.loop.recorded import decided, replay, resumed
from karez.loop.runner import People, Runner, nobody
from karez.loop.state import Approval, Decisions, Found, Inputs, Level, Policy, State
from karez.loop.turn import turn
from karez.operations.heal import timeline
from karez.plan import Action, Cell, NewRow, Plan, Proof, Read
from karez.plan.check import check
from karez.plan.heal import heal
from karez.record.log import Entry, Record
from karez.record.verify import verify
from karez.twin import Table, Twin, World
from karez.twin.schema import Value
from karez.twin.telemetry import StateRows
from karez.twin.twin import merge

with_ = msgspec.structs.replace
# A drain that is done, and of which something is expected that never comes.
HOPELESS = with_(DRAIN, expects=(Read("link_states", "l03", "load_gbps", "<=", -1.0),))
SLOW = Fault("link_slow", "l03", 20.0, 60.0)


def plan_of(
    *actions: Action, reads: tuple[Read, ...] = (), because: tuple[str, ...] = (), price_cny: float = 0.0
) -> Plan:
    return Plan(
        planner="person",
        question={},
        revision="",
        made_at_s=0.0,
        reads=reads,
        actions=actions,
        price_cny=price_cny,
        proof=Proof(value=0.0, bound=0.0, unit="CNY", how="test"),
        because=because,
    )


class Run:
    """Turns of a loop, a second each, on the ring or on what stands for it."""

    def __init__(
        self,
        path: Path,
        *faults: Fault,
        world: World | None = None,
        network: EmbeddedNetwork | None = None,
        level: Level = "act",
        turns: int = 60,
        people: People = nobody,
        before: Callable[[Runner, float], None] = lambda runner, at_s: None,
    ) -> None:
        self.world = world or ring()
        self.network = network or EmbeddedNetwork(self.world, seed=1, start_s=0.0)
        for fault in faults:
            self.network.inject(fault)
        self.path, self.decisions = path, list[Decisions]()
        with Record(path) as record:
            self.runner = Runner.start(self.world, self.network, record, Policy(level=level), at_s=0.0)
            for at_s in map(float, range(1, turns + 1)):
                before(self.runner, at_s)
                self.decisions.append(self.runner.turn(at_s, people))

    @property
    def state(self) -> State:
        return self.runner.state

    @property
    def words(self) -> list[str]:
        return [verdict.verdict for decisions in self.decisions for verdict in decisions.verdicts]

    def drained(self, link: str = "l03") -> tuple[bool, bool]:
        """Whether the link is drained: in the network, and in the intended twin."""
        real = self.network.look("link_states", [link]).columns["drained"][0]
        return bool(real), bool(self.state.intended["links"].cell(link, "drained"))


def bring(at_s: float, *plans: Plan) -> People:
    return lambda now_s, state: (plans if now_s == at_s else (), ())


def approve_all(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
    return (), tuple(Approval(plan.id, "Li Wei") for plan in state.waiting)


def guard_of(network: EmbeddedNetwork) -> Guard:
    return Guard(network, lambda receipt, command: True)


class Failing(EmbeddedNetwork):
    """A network that does the first `fails` acts of one kind in a way of its own."""

    kind, fails, does, why = "", 1, False, "busy"

    def apply(self, action: Action, at_s: float) -> str:
        if action.kind != self.kind or not self.fails:
            return super().apply(action, at_s)
        self.fails -= 1
        if self.does:
            super().apply(action, at_s)
            raise ConnectionError("the answer was lost")
        return self.why


def failing(kind: str, *, does: bool = False, why: str = "busy") -> Failing:
    network = Failing(ring(), seed=1, start_s=0.0)
    network.kind, network.does, network.why = kind, does, why
    return network


class Teller(EmbeddedNetwork):
    """A network that tells one thing more."""

    more: StateRows
    from_s = 0.0
    until_s = math.inf

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        told = super().observe(at_s)
        return (*told, self.more) if self.from_s <= at_s < self.until_s else told


class Late(EmbeddedNetwork):
    """A network whose supplier keeps no date."""

    def _deliver(self) -> None:
        if self._at_s >= 50.0:
            super()._deliver()


class Full(Record):
    """A record on a disk that is full at times."""

    full = False

    def append_all(self, entries: Iterable[Entry]) -> list[bytes]:
        if self.full:
            raise InputError.of("record", "cannot take another event", "make room")
        return super().append_all(entries)


def telling(more: StateRows, *, from_s: float = 0.0, until_s: float = math.inf) -> Teller:
    network = Teller(ring(), seed=1, start_s=0.0)
    network.more, network.from_s, network.until_s = more, from_s, until_s
    return network


# Undoing


def test_what_the_loop_undid_stays_undone(tmp_path: Path) -> None:
    assert Run(tmp_path / "r", people=bring(2.0, plan_of(HOPELESS))).drained() == (False, False)


def test_an_undo_that_was_refused_is_still_owed(tmp_path: Path) -> None:
    def kill(runner: Runner, at_s: float) -> None:
        runner.guard.killed = 10 <= at_s < 20

    run = Run(tmp_path / "r", people=bring(2.0, plan_of(HOPELESS)), before=kill, turns=100)
    assert run.drained() == (False, False)


def test_an_undo_is_verified_like_any_other_act(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", Fault("deaf", "l03", 6.0, 20.0), people=bring(2.0, plan_of(HOPELESS)), turns=100)
    assert run.drained() == (False, False)


def test_the_guard_tries_again_when_its_own_undo_failed() -> None:
    guard = guard_of(failing("undrain_link"))
    guard.execute(Command(plan="p", actions=(DRAIN,), reads=(), epoch=1), b"", ring(), at_s=1.0)
    guard.tick(20.0)
    guard.tick(40.0)
    assert guard.network.look("link_states", ["l03"]).columns["drained"] == (False,)


def test_an_undo_of_the_guard_that_failed_is_not_taken_for_done() -> None:
    state, policy = State.of(ring()), Policy(level="act")
    state, decisions = turn(state, Inputs(at_s=1.0, plans=(plan_of(HOPELESS),)), policy)
    command = decisions.commands[0].id
    replies = (
        Reply(command=command, at_s=1.0, done=True),
        Reply(command=command, at_s=20.0, done=False, why="busy", undone_alone=True),
    )
    state, _ = turn(state, Inputs(at_s=2.0, replies=replies), policy)
    assert state.intended["links"].cell("l03", "drained") is True


def test_an_act_whose_answer_was_lost_ends_neither_the_loop_nor_in_a_link_that_stays_drained(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", SLOW, network=failing("drain_link", does=True), turns=150)
    assert run.drained() == (False, False)
    assert run.state.running == ()


class Blind(EmbeddedNetwork):
    """A network that cannot be observed for a while."""

    from_s, until_s = 4.0, 40.0

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        if self.from_s <= at_s < self.until_s:
            self.live(at_s)
            raise ConnectionError("nobody answers")
        return super().observe(at_s)


def test_what_the_guard_undid_alone_is_verified_like_any_other_undoing(tmp_path: Path) -> None:
    network = Blind(ring(), seed=1, start_s=0.0)
    run = Run(
        tmp_path / "r", Fault("deaf", "l03", 5.0, 30.0), network=network, people=bring(2.0, plan_of(HOPELESS)), turns=80
    )
    assert run.drained() == (False, False)
    assert run.state.running == ()


def test_an_act_whose_answer_was_lost_is_undone_though_the_device_is_deaf_to_that_for_a_while(tmp_path: Path) -> None:
    network = failing("drain_link", does=True)
    run = Run(
        tmp_path / "r", Fault("deaf", "l03", 2.5, 30.0), network=network, people=bring(2.0, plan_of(DRAIN)), turns=80
    )
    assert run.drained() == (False, False)


def test_an_undoing_that_outlives_its_leader_is_sent_again_by_the_next() -> None:
    state, plan = State.of(ring()), plan_of(HOPELESS)
    state, decisions = turn(state, Inputs(at_s=1.0, plans=(plan,)), Policy(level="act"))
    state, _ = turn(
        state, Inputs(at_s=2.0, replies=(Reply(command=plan.id, at_s=1.0, done=True),)), Policy(level="act")
    )
    epochs = []
    for at_s in (20.0, 60.0, 100.0):
        state, decisions = turn(state, Inputs(at_s=at_s), Policy(level="act", epoch=1 if at_s < 30 else 2))
        epochs += [(command.id, command.epoch) for command in decisions.commands]
    assert epochs == [(f"{plan.id}/undo", 1), (f"{plan.id}/undo", 2), (f"{plan.id}/undo", 2)]


def test_what_takes_its_time_goes_on_when_the_rest_of_its_plan_was_undone(tmp_path: Path) -> None:
    plan = plan_of(ORDER, HOPELESS)
    run = Run(tmp_path / "r", people=lambda at_s, state: ((plan,) if at_s == 2 else (), approve_all(at_s, state)[1]))
    assert run.words == ["proposed", "commanded", "applied", "remedy", "undone", "applied", "verified", "ended"]
    assert run.drained() == (False, False)
    assert run.state.intended["equipment"].has("e1")


@pytest.mark.parametrize("does", [True, False])
def test_an_order_whose_answer_was_lost_is_known_by_sight(tmp_path: Path, does: bool) -> None:
    class Lost(Failing):
        def apply(self, action: Action, at_s: float) -> str:
            if does:
                super().apply(action, at_s)
            raise ConnectionError("the answer was lost")

    network = Lost(ring(), seed=1, start_s=0.0)
    run = Run(tmp_path / "r", network=network, people=lambda at_s, state: _order_at_2(at_s), turns=40)
    assert run.state.intended["equipment"].has("e1") == does
    assert run.words == ["proposed", "commanded", "refused", "remedy", *(["ended"] if does else [])]


def test_an_order_whose_loop_died_before_the_answer_is_known_by_sight(tmp_path: Path) -> None:
    class Mortal(Guard):
        def execute(self, command: Command, receipt: bytes, world: World, *, at_s: float) -> Reply:
            super().execute(command, receipt, world, at_s=at_s)
            raise KeyboardInterrupt

    def mortal(runner: Runner, at_s: float) -> None:
        runner.guard = Mortal(runner.network, decided(runner.record))

    network = EmbeddedNetwork(ring(), seed=1, start_s=0.0)
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path / "r", network=network, people=lambda at_s, state: _order_at_2(at_s), before=mortal)
    with Record(tmp_path / "r", resume=True) as record:
        runner = Runner.resume(resumed(ring(), tmp_path / "r"), network, record, Policy(level="act", epoch=2))
        decisions = [runner.turn(at_s) for at_s in map(float, range(4, 60))]
    assert [verdict.verdict for one in decisions for verdict in one.verdicts] == ["applied", "ended"]
    assert runner.state.intended["equipment"].has("e1")


def test_a_newer_act_on_one_row_leaves_the_guard_what_it_owes_on_another() -> None:
    second = with_(DRAIN, subject="l45", sets=(Cell("links", "l45", "drained", False, True),), blast_radius=("l45",))
    guard = guard_of(EmbeddedNetwork(ring(), seed=1, start_s=0.0))
    guard.execute(Command(plan="p", actions=(DRAIN, second), reads=(), epoch=1), b"", ring(), at_s=1.0)
    guard.execute(Command(plan="q", actions=(second,), reads=(), epoch=1), b"", ring(), at_s=2.0)
    guard.confirm("q")
    guard.tick(100.0)
    assert guard.network.look("link_states", ["l03", "l45"]).columns["drained"] == (False, True)


# The guard


def test_a_receipt_of_another_event_is_no_receipt_for_this_command(tmp_path: Path) -> None:
    with Record(tmp_path / "r") as record:
        receipt = record.append("start", 0.0, b"{}")
        guard = Guard(EmbeddedNetwork(ring(), seed=1, start_s=0.0), decided(record))
        command = Command(plan="never decided", actions=(DRAIN,), reads=(), epoch=1)
        assert not guard.execute(command, receipt, ring(), at_s=1.0).done


def test_a_row_that_the_network_no_longer_knows_does_not_hold_a_read() -> None:
    world = ring()
    states = world["link_states"]
    smaller = World(world.intended, world.actual.replace(states.take(states.ids != b"l50")))
    guard = guard_of(EmbeddedNetwork(smaller, seed=1, start_s=0.0))
    read = Read("link_states", "l50", "up", "==", True)
    assert guard.execute(Command(plan="p", actions=(DRAIN,), reads=(read,), epoch=1), b"", world, at_s=1.0).changed == (
        read,
    )


def test_every_row_that_an_act_set_is_read_back() -> None:
    both = with_(DRAIN, sets=(*DRAIN.sets, Cell("links", "l01", "drained", False, True)))
    guard = guard_of(EmbeddedNetwork(ring(), seed=1, start_s=0.0))
    reply = guard.execute(Command(plan="p", actions=(both,), reads=(), epoch=1), b"", ring(), at_s=1.0)
    assert {link for rows in reply.read_back for link in rows.ids} == {"l01", "l03"}


def test_a_plan_of_two_acts_is_applied_whole_or_not_at_all(tmp_path: Path) -> None:
    second = with_(DRAIN, subject="l45", sets=(Cell("links", "l45", "drained", False, True),), blast_radius=("l45",))
    reads = tuple(Read("link_states", link, "drained", "==", False) for link in ("l03", "l45"))
    run = Run(tmp_path / "r", people=bring(2.0, plan_of(DRAIN, second, reads=reads)), turns=40)
    assert run.drained("l03") == run.drained("l45")


@pytest.mark.parametrize(
    "action",
    [
        with_(RESTART, subject="r"),
        with_(RESTART, subject="zz"),
        with_(START, adds=(NewRow("assignments", "j1", {"server": "s1", "chips": 5}),)),
        with_(DRAIN, subject="zz"),
    ],
    ids=lambda action: f"{action.kind} {action.subject}",
)
def test_an_act_on_what_the_network_does_not_have_is_refused(action: Action) -> None:
    network = EmbeddedNetwork(ring(), seed=1, start_s=0.0)
    before = network.look("equipment_states", ["r0"]), network.look("server_states", ["s0", "s3"])
    assert network.apply(action, 1.0)
    assert (network.look("equipment_states", ["r0"]), network.look("server_states", ["s0", "s3"])) == before


# What is held


def _drains_more(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
    more = with_(DRAIN, subject="l12", sets=(Cell("links", "l12", "drained", False, True),), blast_radius=("l12",))
    return ((plan_of(more, because=("link_slow/l03",)),) if at_s == 35.0 else ()), ()


def test_all_that_was_done_for_one_finding_is_taken_back_when_it_is_gone(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", SLOW, people=_drains_more, turns=180)
    assert run.words.count("verified") == 3
    assert (run.drained("l03"), run.drained("l12")) == ((False, False), (False, False))


def test_a_plan_that_calls_itself_a_release_and_is_none_takes_nothing_off_the_list(tmp_path: Path) -> None:
    other = with_(DRAIN, subject="l12", sets=(Cell("links", "l12", "drained", False, True),), blast_radius=("l12",))
    plan = with_(plan_of(other), planner="release", question={"finding": "link_slow/l03"})
    run = Run(tmp_path / "r", SLOW, people=bring(35.0, plan), turns=180)
    assert run.drained("l03") == (False, False)
    assert run.drained("l12") == (True, True)


def test_a_plan_that_calls_itself_a_release_of_nothing_does_not_end_the_loop(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", people=bring(2.0, with_(plan_of(DRAIN), planner="release")), turns=10)
    assert run.words == ["commanded", "applied", "verified"]


def test_a_release_that_is_refused_rests_before_it_is_planned_again() -> None:
    act = with_(DRAIN, expects=())
    text = msgspec.json.encode((act,)).decode()
    world = ring()
    findings: dict[str, Sequence[Value]] = {
        "id": ["f"],
        "kind": ["link_slow"],
        "subject": ["l03"],
        "since_s": [-200.0],
        "open": [False],
        "closed_at_s": [-100.0],
        "held": [text],
    }
    world = World(
        world.intended.replace(world["links"].set(world["links"].rows(["l03"]), drained=True)),
        world.actual.replace(
            world["link_states"].set(world["link_states"].rows(["l03"]), drained=True),
            Table.of("findings", findings),
            Table.of("action_budgets", {"id": ["undrain_link:links/l03"], "free_at_s": [1e9]}),
        ),
    )
    state, planned = State.of(world), list[float]()
    for at_s in map(float, range(1, 31)):
        state, decisions = turn(state, Inputs(at_s=at_s), Policy(level="act"))
        planned += [at_s] * len(decisions.plans)
    assert planned == [1.0, 11.0, 21.0]


# The linter of plans

RETIRE = Action(
    kind="retire_equipment",
    subject="r2",
    sets=(Cell("equipment", "r2", "valid_to_s", "inf", 1e9),),
    blast_radius=("c2",),
    expires_at_s=1e8,
    ends_at_s=1e9,
)

ILL = {
    "a value of another dtype": plan_of(with_(DRAIN, sets=(Cell("links", "l03", "capacity_gbps", 400.0, "x"),))),
    "another id": plan_of(with_(DRAIN, sets=(Cell("links", "l03", "id", "l03", "zz"),))),
    "a number for a truth": plan_of(with_(DRAIN, sets=(Cell("links", "l03", "drained", False, 1),))),
    "a new row with an unknown column": plan_of(with_(ORDER, adds=(NewRow("equipment", "e1", {"nope": 1}),))),
    "a new row without what is required": plan_of(with_(ORDER, adds=(NewRow("equipment", "e1", {"site": "c1"}),))),
    "a read of no table": plan_of(DRAIN, reads=(Read("nope", "x", "up", "==", True),)),
    "a read of no column": plan_of(DRAIN, reads=(Read("links", "l03", "nope", "==", True),)),
    "a read that compares number and text": plan_of(DRAIN, reads=(Read("links", "l03", "capacity_gbps", "<", "x"),)),
    "an expectation of no column": plan_of(with_(DRAIN, expects=(Read("link_states", "l03", "nope", "==", True),))),
    "an order of nothing": plan_of(with_(ORDER, adds=())),
    "an instant act of which nothing can be seen": plan_of(with_(DRAIN, sets=())),
    "a drain that sets a capacity": plan_of(with_(DRAIN, sets=(Cell("links", "l03", "capacity_gbps", 400.0, 1e9),))),
    "a drain of one link that marks another": plan_of(with_(DRAIN, subject="l01")),
    "a reversible act that adds a row": plan_of(with_(DRAIN, adds=ORDER.adds)),
    "the state of a fold": plan_of(with_(ORDER, adds=(NewRow("action_budgets", "drain_link", {"free_at_s": 0.0}),))),
    "an expiry that is no number": plan_of(with_(DRAIN, expires_at_s=math.nan)),
    "a number that no column holds": plan_of(with_(RESTART, sets=(Cell("equipment", "r2", "boots", 0, 2**70),))),
    "a question about no number": with_(
        plan_of(ORDER), planner="coverage", question={"target_share": math.nan, "budget_us": 1.0, "figures": "low"}
    ),
    "a drain that drains nothing": plan_of(with_(DRAIN, sets=(Cell("links", "l03", "drained", False, False),))),
    "a drain that undrains": plan_of(with_(DRAIN, sets=(Cell("links", "l03", "drained", True, False),))),
    "a read that compares a number with no end": plan_of(DRAIN, reads=(Read("links", "l03", "length_km", "<", "inf"),)),
    "an end that is none": plan_of(with_(RETIRE, sets=(Cell("equipment", "r2", "valid_to_s", 9.0, "inf"),))),
    "a new row that begins at no time": plan_of(
        with_(ORDER, adds=(NewRow("equipment", "e1", {"site": "c1", "kind": "otn", "valid_from_s": "inf"}),))
    ),
    "two acts on one cell": plan_of(DRAIN, with_(DRAIN, blast_radius=("l03", "l01"))),
}


def test_a_device_that_was_to_stay_for_ever_may_be_retired() -> None:
    assert check(plan_of(RETIRE), ring(), at_s=1.0) == []


@pytest.mark.parametrize("name", ILL)
def test_the_linter_says_what_is_wrong_with_any_plan_and_never_raises(name: str) -> None:
    assert check(ILL[name], ring(), at_s=1.0)


def test_a_plan_of_nothing_is_refused_by_the_loop() -> None:
    state, decisions = turn(State.of(ring()), Inputs(at_s=1.0, plans=(plan_of(),)), Policy(level="act"))
    assert [verdict.verdict for verdict in decisions.verdicts] == ["refused"]
    assert not state.running
    assert not state.waiting


def test_a_persons_plan_that_expects_what_cannot_be_seen_does_not_end_the_loop(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", people=bring(2.0, ILL["an expectation of no column"]), turns=30)
    assert run.drained() == (False, False)


# People


def test_a_persons_plan_that_has_expired_is_withdrawn(tmp_path: Path) -> None:
    plan = plan_of(with_(DRAIN, expires_at_s=30.0))
    run = Run(tmp_path / "r", people=bring(2.0, plan), level="advise", turns=40)
    told = [(turn.at_s, verdict.verdict) for turn in run.decisions for verdict in turn.verdicts]
    assert told == [(2.0, "proposed"), (31.0, "withdrawn")]
    assert run.state.waiting == ()


def test_at_observe_nothing_is_done_whoever_approves(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", SLOW, level="observe", people=approve_all)
    assert all(not decisions.commands for decisions in run.decisions)


def test_a_plan_brought_twice_waits_once(tmp_path: Path) -> None:
    plan = plan_of(DRAIN)
    run = Run(tmp_path / "r", level="advise", people=lambda at_s, state: ((plan,) if at_s < 4 else (), ()), turns=5)
    assert run.state.waiting == (plan,)


def test_a_word_of_nobody_changes_nothing(tmp_path: Path) -> None:
    plan = plan_of(DRAIN)

    def people(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
        return (plan,) if at_s == 1 else (), (Approval(plan.id, ""),) if at_s > 1 else ()

    assert Run(tmp_path / "r", level="advise", people=people, turns=5).words == ["proposed"]


def test_a_name_that_no_record_can_hold_approves_nothing_and_ends_nothing(tmp_path: Path) -> None:
    plan = plan_of(DRAIN)

    def people(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
        return (plan,) if at_s == 1 else (), (Approval(plan.id, "\udcff"),)

    assert Run(tmp_path / "r", level="advise", people=people, turns=5).words == ["proposed"]


def test_who_approves_a_plan_that_does_not_wait_is_told_so() -> None:
    _, decisions = turn(State.of(ring()), Inputs(at_s=1.0, approvals=(Approval("0" * 16, "Li Wei"),)), Policy())
    assert [verdict.plan for verdict in decisions.verdicts] == ["0" * 16]


def test_a_proposed_release_is_withdrawn_when_the_link_is_slow_again(tmp_path: Path) -> None:
    def people(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
        return (), tuple(Approval(plan.id, "Li Wei") for plan in state.waiting if plan.planner == "heal")

    run = Run(tmp_path / "r", SLOW, Fault("link_slow", "l03", 140.0), level="advise", people=people, turns=160)
    assert any(plan.planner == "release" for decisions in run.decisions for plan in decisions.plans)
    assert run.drained() == (True, True)
    assert run.state.waiting == ()


# What the loop knows


def test_the_same_reply_twice_is_taken_once() -> None:
    state, policy, plan = State.of(ring()), Policy(level="act"), plan_of(ORDER)
    state, _ = turn(state, Inputs(at_s=1.0, plans=(plan,)), policy)
    state, decisions = turn(state, Inputs(at_s=2.0, approvals=(Approval(plan.id, "Li Wei"),)), policy)
    reply = Reply(command=decisions.commands[0].id, at_s=2.0, done=True)
    state, _ = turn(state, Inputs(at_s=3.0, replies=(reply,)), policy)
    state, decisions = turn(state, Inputs(at_s=4.0, replies=(reply,)), policy)
    assert decisions.verdicts == ()
    assert state.intended["equipment"].ids.tolist().count(b"e1") == 1


def test_a_reply_to_a_command_that_nobody_gave_changes_nothing() -> None:
    state = State.of(ring())
    after, decisions = turn(
        state, Inputs(at_s=1.0, replies=(Reply(command="x/y", at_s=1.0, done=True),)), Policy(level="act")
    )
    assert after.digest == state.digest
    assert decisions.verdicts == ()


def test_a_loop_that_starts_where_another_ended_gives_back_what_that_one_drained(tmp_path: Path) -> None:
    first = Run(tmp_path / "a", SLOW, turns=40)
    assert first.drained() == (True, True)
    with Record(tmp_path / "b") as record:
        runner = Runner.start(first.state.world, first.network, record, Policy(level="act"), at_s=40.0)
        for at_s in map(float, range(41, 200)):
            runner.turn(at_s)
    assert not runner.state.actual["findings"]["open"].any()
    assert first.network.look("link_states", ["l03"]).columns["drained"] == (False,)


WRONG = ("link_slow", "link_slow_one_way", "link_dim", "link_loss", "link_errors")


def _taken_over(folder: Path, fault: Fault) -> tuple[EmbeddedNetwork, State]:
    """The network and what is known 160 s after a loop has taken over from another, while a link was drained."""
    first = Run(folder / "a", fault, turns=60)
    assert first.drained() == (True, True)
    with Record(folder / "b") as record:
        runner = Runner.start(first.state.world, first.network, record, Policy(level="act"), at_s=60.0)
        for at_s in map(float, range(61, 221)):
            runner.turn(at_s)
    return first.network, runner.state


@pytest.mark.parametrize("kind", WRONG)
def test_a_loop_that_starts_where_another_ended_does_not_take_what_is_wrong_for_normal(
    tmp_path: Path, kind: str
) -> None:
    network, state = _taken_over(tmp_path, Fault(kind, "l03", 20.0))
    assert network.look("link_states", ["l03"]).columns["drained"] == (True,)
    findings = state.findings
    assert b"l03" in findings["subject"][findings["open"]]


@pytest.mark.parametrize("kind", WRONG)
def test_a_loop_that_starts_where_another_ended_sees_that_all_is_well_again(tmp_path: Path, kind: str) -> None:
    network, state = _taken_over(tmp_path, Fault(kind, "l03", 20.0, 80.0))
    assert not state.actual["signals"]["open"].any()
    assert not state.findings["open"].any()
    assert network.look("link_states", ["l03"]).columns["drained"] == (False,)


@pytest.mark.parametrize("booted", [1, 5])
def test_a_device_that_has_booted_by_itself_before_is_restarted_when_it_falls_silent(
    tmp_path: Path, booted: int
) -> None:
    world = ring()
    states = world["equipment_states"]
    world = World(world.intended, world.actual.replace(states.set(states.rows(["r2"]), boots=booted)))
    run = Run(tmp_path / "r", Fault("router_dead", "r2", 20.0), world=world, turns=110)
    assert run.words == ["commanded", "applied", "verified"]
    told = run.network.look("equipment_states", ["r2"]).columns
    assert told == {"up": (True,), "boots": (booted + 1,), "drained": (False,)}


def test_a_restart_that_failed_does_not_spoil_the_next(tmp_path: Path) -> None:
    network = failing("restart_device", why="")
    run = Run(tmp_path / "r", Fault("router_dead", "r2", 20.0), network=network, turns=760)
    assert [word for word in run.words if word != "refused"] == [
        "commanded", "applied", "remedy", "commanded", "applied", "verified",
    ]  # fmt: skip


def test_a_device_with_the_id_of_a_link_is_another_thing(tmp_path: Path) -> None:
    world = ring()
    world = World(
        world.intended.replace(world["equipment"].add({"id": ["l03"], "site": ["c4"], "kind": ["router"]})),
        world.actual.replace(world["equipment_states"].add({"id": ["l03"]})),
    )
    run = Run(
        tmp_path / "r",
        Fault("link_slow", "l03", 20.0, 120.0),
        Fault("router_dead", "l03", 50.0),
        world=world,
        turns=200,
    )
    assert run.drained() == (False, False)


@pytest.mark.parametrize(
    "more",
    [
        StateRows("link_states", ("zz",), {"oneway_us": (9_000.0,)}),
        StateRows("link_states", ("zz",), {"up": (False,)}),
        StateRows("equipment_states", ("zz",), {"up": (False,)}),
    ],
    ids=["measured link", "broken link", "silent device"],
)
def test_what_the_network_has_and_the_plan_has_not_does_not_end_the_loop(tmp_path: Path, more: StateRows) -> None:
    run = Run(tmp_path / "r", SLOW, network=telling(more, from_s=10.0), turns=150)
    assert run.drained() == (False, False)
    assert "verified" in run.words


@pytest.mark.parametrize(
    "more",
    [
        StateRows("nothing", ("x",), {"up": (True,)}),
        StateRows("links", ("l03",), {"up": (False,)}),
        StateRows("findings", ("link_slow/l03",), {"open": (False,)}),
        StateRows("signals", ("delay/probe/l03>",), {"open": (False,)}),
        StateRows("order_states", ("x",), {"delivered": (True,)}),
        StateRows("link_states", ("l03", "l01"), {"up": (False,)}),
    ],
    ids=["no table", "what is intended", "what the loop found", "what the ears noticed", "half a row", "half a column"],
)
def test_what_no_network_can_tell_is_set_aside(tmp_path: Path, more: StateRows) -> None:
    run = Run(tmp_path / "r", SLOW, network=telling(more, from_s=10.0), turns=150)
    assert run.words == ["commanded", "applied", "verified"] * 2
    assert list(replay(ring(), run.path)) == run.decisions


def test_what_was_read_back_is_believed_no_more_than_what_was_observed(tmp_path: Path) -> None:
    class Odd(EmbeddedNetwork):
        def look(self, table: str, ids: Sequence[str]) -> StateRows:
            told = super().look(table, ids)
            return StateRows(told.table, told.ids, {**told.columns, "oneway_us": (math.nan,) * len(told.ids)})

    run = Run(tmp_path / "r", network=Odd(ring(), seed=1, start_s=0.0), people=bring(2.0, plan_of(DRAIN)), turns=5)
    assert list(replay(ring(), run.path)) == run.decisions


def test_a_sample_without_a_value_blinds_nobody(tmp_path: Path) -> None:
    nothing = StateRows("link_states", ("l03",), {"oneway_us": (math.nan,)})
    run = Run(tmp_path / "r", SLOW, network=telling(nothing, from_s=8.0, until_s=9.0), turns=40)
    assert run.drained() == (True, True)
    assert list(replay(ring(), run.path)) == run.decisions


def _slow_world(links: Table, states: Table) -> World:
    """The ring where l03 was found slow, both ways."""
    world = ring()
    ids = ["delay/probe/l03>", "delay/probe/l03<"]
    signals: dict[str, Sequence[Value]] = {
        "id": ids,
        "kind": ["delay"] * 2,
        "source": ["probe"] * 2,
        "subject": ["l03"] * 2,
        "way": ["ab", "ba"],
        "since_s": [1.0] * 2,
        "size": [9_000.0] * 2,
    }
    finding: dict[str, Sequence[Value]] = {
        "id": ["f"],
        "kind": ["link_slow"],
        "subject": ["l03"],
        "since_s": [1.0],
        "evidence": [msgspec.json.encode(ids).decode()],
    }
    found = Table.of("findings", finding), Table.of("signals", signals)
    return World(world.intended.replace(links), world.actual.replace(*found, states))


def test_a_link_that_is_only_planned_is_no_way_around() -> None:
    world = ring()
    links, states = world["links"], world["link_states"]
    # Without l12 and l45 the link l03 is the only way between the two halves of the ring.
    rows = links.rows(["l12", "l45"])
    known = states.take(~np.isin(states.ids, [b"l12", b"l45"]))
    assert heal(_slow_world(links.set(rows, valid_from_s=1e12), known), "f", at_s=10.0) is None
    assert heal(_slow_world(links.set(rows, valid_from_s=1.0), known), "f", at_s=10.0) is not None


def test_a_mending_names_the_whole_revision_that_it_was_made_from() -> None:
    world = ring()
    links = world["links"]
    planned = links.set(links.rows(["l45"]), valid_from_s=1e12)
    slow = _slow_world(planned, world["link_states"])
    plan = heal(slow, "f", at_s=10.0)
    assert plan is not None
    assert plan.revision == slow.intended.digest


def test_a_detour_is_read_though_nobody_has_observed_it_yet() -> None:
    world = ring()
    states = world["link_states"]
    plan = heal(_slow_world(world["links"], states.take(states.ids == b"l03")), "f", at_s=10.0)
    assert plan is not None
    assert {read.row for read in plan.reads if read.table == "links"} > {"l03"}


def test_an_order_that_comes_late_is_a_finding_until_it_comes_and_ends_then(tmp_path: Path) -> None:
    network = Late(ring(), seed=1, start_s=0.0)
    run = Run(tmp_path / "r", network=network, people=lambda at_s, state: _order_at_2(at_s), turns=60)
    found = [(decisions.at_s, found.open) for decisions in run.decisions for found in decisions.found]
    assert found == [(31.0, True), (50.0, False)]
    ended = [
        decisions.at_s for decisions in run.decisions for verdict in decisions.verdicts if verdict.verdict == "ended"
    ]
    assert ended == [50.0]


def _order_at_2(at_s: float) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
    plan = plan_of(ORDER)
    return (plan,) if at_s == 2.0 else (), (Approval(plan.id, "Li Wei"),) if at_s == 3.0 else ()


# The record


def test_a_turn_that_could_not_be_recorded_is_as_if_it_had_not_been(tmp_path: Path) -> None:
    network = EmbeddedNetwork(ring(), seed=1, start_s=0.0)
    network.inject(SLOW)
    record = Full(tmp_path / "r")
    with record:
        runner = Runner.start(ring(), network, record, Policy(level="act"), at_s=0.0)
        for at_s in map(float, range(1, 150)):
            record.full = 20 <= at_s < 23
            before = runner.state.digest
            if record.full:
                with pytest.raises(InputError):
                    runner.turn(at_s)
                assert runner.state.digest == before
            else:
                runner.turn(at_s)
    assert len(list(replay(ring(), tmp_path / "r"))) == 146


def _with_a_full_disk(path: Path, plan: Plan, *, from_s: float, until_s: float) -> tuple[EmbeddedNetwork, list[str]]:
    """The network after a run in which a person brings a plan at 2 s, and the disk is full for a while."""
    network, words, record = EmbeddedNetwork(ring(), seed=1, start_s=0.0), list[str](), Full(path)
    with record:
        runner = Runner.start(ring(), network, record, Policy(level="act"), at_s=0.0)
        for at_s in map(float, range(1, 60)):
            record.full = from_s <= at_s < until_s
            with suppress(InputError):
                words += [verdict.verdict for verdict in runner.turn(at_s, bring(2.0, plan)).verdicts]
    return network, words


def test_what_a_person_brought_in_a_turn_that_could_not_be_recorded_is_told_to_the_next(tmp_path: Path) -> None:
    _, words = _with_a_full_disk(tmp_path / "r", plan_of(DRAIN), from_s=2.0, until_s=5.0)
    assert words == ["commanded", "applied", "verified"]


def test_the_guard_takes_back_what_nobody_confirms_though_the_disk_is_full(tmp_path: Path) -> None:
    network, _ = _with_a_full_disk(tmp_path / "r", plan_of(HOPELESS), from_s=4.0, until_s=100.0)
    assert network.look("link_states", ["l03"]).columns["drained"] == (False,)


def test_who_brings_a_plan_while_the_network_cannot_be_observed_is_told_so(tmp_path: Path) -> None:
    network = Blind(ring(), seed=1, start_s=0.0)
    run = Run(tmp_path / "r", network=network, people=bring(4.0, plan_of(DRAIN)), turns=10)
    assert run.words == ["refused"]


@pytest.mark.parametrize(
    "plan",
    [plan_of(with_(DRAIN, expires_at_s=math.inf)), plan_of(DRAIN, price_cny=math.inf)],
    ids=["no expiry", "no price"],
)
def test_a_plan_that_holds_an_infinity_is_replayed_like_any_other(tmp_path: Path, plan: Plan) -> None:
    run = Run(tmp_path / "r", people=bring(2.0, plan), turns=5)
    assert list(replay(ring(), run.path)) == run.decisions


def test_a_policy_that_changes_during_a_run_is_in_the_record(tmp_path: Path) -> None:
    def promote(runner: Runner, at_s: float) -> None:
        runner.policy = Policy(level="observe" if at_s < 15 else "act")

    run = Run(tmp_path / "r", SLOW, level="observe", before=promote, turns=40)
    assert list(replay(ring(), run.path)) == run.decisions


def test_a_record_that_was_altered_is_refused_and_not_a_traceback(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", turns=5)
    with sqlite3.connect(run.path) as base:
        base.execute("UPDATE events SET body = ? WHERE seq = 3", (b"{",))
    base.close()
    with pytest.raises(KarezError):
        list(replay(ring(), run.path))


def test_to_verify_what_does_not_exist_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a record"):
        verify(tmp_path / "none")


@pytest.mark.parametrize("step_s", [0.37, 1.0, 20.0])
def test_a_loop_of_any_pace_mends_and_gives_back_and_is_replayed(tmp_path: Path, step_s: float) -> None:
    network = EmbeddedNetwork(ring(), seed=1, start_s=0.0)
    network.inject(Fault("link_slow", "l03", 20.0 * step_s, 80.0 * step_s))
    decided = []
    with Record(tmp_path / "r") as record:
        runner = Runner.start(ring(), network, record, Policy(level="act"), at_s=0.0)
        for number in range(1, 121 + int(90.0 / step_s)):
            decided.append(runner.turn(number * step_s))
    words = [verdict.verdict for decisions in decided for verdict in decisions.verdicts]
    assert words == ["commanded", "applied", "verified"] * 2
    assert list(replay(ring(), tmp_path / "r")) == decided


def test_ids_may_hold_anything(tmp_path: Path) -> None:
    def renamed(table: Table, columns: Sequence[str]) -> Table:
        given: dict[str, np.ndarray] = {name: table[name] for name in table.columns}
        for name in columns:
            given[name] = np.array([value.replace(b"l03", "链路/三".encode()) for value in given[name].tolist()])
        return Table.of(table.name, given)

    world = ring()
    world = World(
        world.intended.replace(renamed(world["links"], ["id"])),
        world.actual.replace(renamed(world["link_states"], ["id"])),
    )
    run = Run(tmp_path / "r", Fault("link_slow", "链路/三", 20.0, 60.0), world=world, turns=150)
    assert run.words == ["commanded", "applied", "verified"] * 2
    assert list(replay(world, run.path)) == run.decisions
    assert {event.subject for event in timeline(run.decisions, 0.0) if event.what == "found"} == {"链路/三"}


def test_the_course_of_a_run_names_a_subject_whole_and_bears_a_plan_of_nothing() -> None:
    found = Decisions(at_s=1.0, found=(Found("link_slow/a/b", True, "link_slow", "a/b"),), plans=(plan_of(),))
    assert timeline([found], 0.0)[0].subject == "a/b"


@pytest.mark.parametrize(
    "without",
    [("demands",), ("links", "link_states"), ("equipment", "equipment_states"), ("link_states",), ()],
    ids="+".join,
)
def test_a_network_may_lack_anything(tmp_path: Path, without: tuple[str, ...]) -> None:
    world = ring()
    gone = [Table.of(name) for name in without or world.intended.tables]
    states = [table for table in gone if table.name.endswith("_states")] if without else list(Twin().tables.values())
    world = World(world.intended.replace(*gone), world.actual.replace(*states))
    run = Run(tmp_path / "r", world=world, turns=8)
    assert list(replay(world, run.path)) == run.decisions


# Identity


@pytest.mark.parametrize("order", [(0,), (0, 1), (1, 0)])
def test_a_thing_that_one_twin_holds_under_both_of_its_names_is_one_row(order: tuple[int, ...]) -> None:
    alias = Table.of("aliases", {"id": ["Q"], "system": ["s"], "table": ["provinces"], "row": ["P"]})
    twins = (
        Twin().replace(Table.of("provinces", {"id": ["P", "Q"], "name": ["one", "two"]}), alias),
        Twin().replace(Table.of("provinces", {"id": ["P"], "name": ["three"]})),
    )
    merged, conflicts = merge(*(twins[position] for position in order))
    assert merged["provinces"].ids.tolist() == [b"P"]
    assert conflicts


def test_a_name_for_a_name_leads_to_the_thing_itself() -> None:
    names = Table.of("aliases", {"id": ["A", "B"], "system": ["s", "t"], "table": ["provinces"] * 2, "row": ["B", "C"]})
    merged, _ = merge(Twin().replace(Table.of("provinces", {"id": ["A"]}), names))
    assert merged["provinces"].ids.tolist() == [b"C"]


def test_a_row_told_twice_in_one_breath_is_one_row() -> None:
    once: dict[str, Value] = {"site": "c1", "item": "x", "amount": 1, "ordered_at_s": 1.0, "due_at_s": 2.0}
    order: dict[str, tuple[Value, ...]] = {name: (value, value) for name, value in once.items()}
    rows = StateRows("order_states", ("o", "o"), order)
    assert seen(Twin(), [rows])["order_states"].ids.tolist() == [b"o"]
