"""The loop on the embedded network: what it does at each level, and what it never does."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.instances.mesh import mesh
from benchmarks.instances.ring import ORDER, ring
from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.adapters.guard import Command, Guard, Reply
from karez.adapters.network import seen
from karez.detect.ears import Ears
from karez.errors import KarezError
from karez.loop.recorded import decided, replay, resumed
from karez.loop.runner import People, Runner, nobody
from karez.loop.state import Approval, Decisions, Inputs, Level, Policy, State
from karez.loop.turn import turn
from karez.plan import Plan, Proof
from karez.record.log import Record, read
from karez.record.verify import verify
from karez.twin import Twin, World
from karez.twin.telemetry import StateRows

DELAY = Fault("link_slow", "l03", 20.0, 80.0)
SHORT = Fault("link_slow", "l03", 20.0, 60.0)
STATES = ("link_states", "server_states", "equipment_states", "signals")
SILENT = Fault("router_dead", "r2", 40.0)


class Run:
    """A run of the loop on the ring, and all that it decided."""

    def __init__(
        self,
        path: Path,
        *faults: Fault,
        level: Level = "act",
        turns: int = 180,
        people: People = nobody,
    ) -> None:
        world = ring()
        network = EmbeddedNetwork(world, seed=1, start_s=0.0)
        for fault in faults:
            network.inject(fault)
        self.decisions: list[Decisions] = []
        with Record(path) as record:
            runner = Runner.start(world, network, record, Policy(level=level), at_s=0.0)
            for at_s in range(1, turns + 1):
                self.decisions.append(runner.turn(float(at_s), people))
        self.network, self.state = network, runner.state

    @property
    def words(self) -> list[str]:
        return [verdict.verdict for decisions in self.decisions for verdict in decisions.verdicts]

    @property
    def drains(self) -> list[float]:
        """When a link was drained."""
        commands = [(turn.at_s, command) for turn in self.decisions for command in turn.commands]
        return [at_s for at_s, command in commands if command.actions[0].kind == "drain_link"]

    @property
    def plans(self) -> list[Plan]:
        return [plan for decisions in self.decisions for plan in decisions.plans]


class Hand:
    """Turns driven by hand: a network, its ears and a guard that believes every receipt."""

    def __init__(self, *faults: Fault, seed: int = 1) -> None:
        self.world = ring()
        self.network = EmbeddedNetwork(self.world, seed=seed, start_s=0.0)
        for fault in faults:
            self.network.inject(fault)
        self.ears, self.replies = Ears(self.world.intended), tuple[Reply, ...]()
        self.guard = Guard(self.network, lambda receipt, command: True)

    def told(self, at_s: float) -> Inputs:
        changes = (*self.network.observe(at_s), *self.ears.hear(self.network.hear(at_s), at_s))
        return Inputs(at_s=at_s, changes=changes, replies=(*self.replies, *self.guard.tick(at_s)))

    def do(self, decisions: Decisions, world: World) -> None:
        for command in decisions.confirmed:
            self.guard.confirm(command)
        done = (self.guard.execute(c, b"", world, at_s=decisions.at_s) for c in decisions.commands)
        self.replies = tuple(done)


def _drained(network: EmbeddedNetwork) -> bool:
    return bool(network.look("link_states", ["l03"]).columns["drained"][0])


def test_a_slow_link_is_found_drained_verified_and_given_back_when_it_is_well(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", DELAY)
    assert [plan.planner for plan in run.plans] == ["heal", "release"]
    assert run.words == ["commanded", "applied", "verified"] * 2
    assert not _drained(run.network)
    assert run.state.intended.digest == ring().intended.digest
    assert run.state.running == ()


def test_do_nothing_was_weighed_and_would_have_cost_the_users_more(tmp_path: Path) -> None:
    plan = Run(tmp_path / "r", DELAY, turns=40).plans[0]
    assert plan.alternatives[0].name == "do nothing"
    assert plan.alternatives[0].score > plan.proof.value


def test_a_silent_device_is_restarted_once_and_verified(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", SILENT)
    assert run.words == ["commanded", "applied", "verified"]
    assert run.network.look("equipment_states", ["r2"]).columns == {"up": (True,), "boots": (1,), "drained": (False,)}
    assert run.state.intended["equipment"].cell("r2", "boots") == 1


@pytest.mark.parametrize(("level", "word"), [("observe", "would act"), ("advise", "proposed")])
def test_below_act_nothing_is_commanded_and_what_would_be_done_is_said_once(
    tmp_path: Path, level: Level, word: str
) -> None:
    run = Run(tmp_path / "r", SHORT, level=level)
    assert run.words == [word, "withdrawn"]
    assert all(not decisions.commands for decisions in run.decisions)
    assert run.state.intended.digest == ring().intended.digest


def _approve_all(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
    return (), tuple(Approval(plan.id, "Li Wei") for plan in state.waiting)


def test_a_person_approves_what_was_proposed_and_it_acts_once(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", DELAY, level="advise", people=_approve_all)
    assert run.words == ["proposed", "commanded", "applied", "verified"] * 2
    assert all(command.approved_by == "Li Wei" for decisions in run.decisions for command in decisions.commands)


def _order(world: World) -> Plan:
    return Plan(
        planner="restock",
        question={},
        revision=world.intended.digest,
        made_at_s=1.0,
        reads=(),
        actions=(ORDER,),
        price_cny=1.0,
        proof=Proof(value=1.0, bound=1.0, unit="CNY", how="test"),
    )


def test_an_order_waits_for_a_person_even_at_act_then_runs_to_its_end(tmp_path: Path) -> None:
    plan = _order(ring())

    def people(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
        return (plan,) if at_s == 2.0 else (), (Approval(plan.id, "Li Wei"),) if at_s == 10.0 else ()

    run = Run(tmp_path / "r", turns=60, people=people)
    assert run.words == ["proposed", "commanded", "applied", "ended"]
    assert run.decisions[9].commands[0].approved_by == "Li Wei"
    assert run.decisions[28].verdicts == ()
    assert run.decisions[29].verdicts[0].verdict == "ended"
    assert run.state.intended["equipment"].has("e1")


def test_a_link_that_is_slow_again_and_again_is_drained_once_and_kept_so(tmp_path: Path) -> None:
    flaps = [Fault("link_slow", "l03", 20.0 + 60.0 * index, 40.0 + 60.0 * index) for index in range(8)]
    run = Run(tmp_path / "r", *flaps, turns=500)
    assert run.drains == [21.0]
    assert _drained(run.network)


def test_a_link_that_is_slow_whenever_it_was_given_back_is_not_drained_again_and_again(tmp_path: Path) -> None:
    # Each comes some seconds after the mending of the one before was taken back.
    flaps = [Fault("link_slow", "l03", at_s, at_s + 20.0) for at_s in (20.0, 120.0, 285.0, 330.0, 400.0, 450.0)]
    run = Run(tmp_path / "r", *flaps, turns=500)
    assert len(run.drains) == 2
    assert any("budget" in verdict.why for decisions in run.decisions for verdict in decisions.verdicts)


@pytest.mark.parametrize("budget", [(float("inf"), 1), (float("nan"), 1), (-1.0, 1), (1.0, -1)])
def test_a_budget_that_says_nothing_is_refused(budget: tuple[float, int]) -> None:
    with pytest.raises(ValueError, match="drain_link is none"):
        Policy(budgets={"drain_link": budget})


@pytest.mark.parametrize(("kind", "subject"), [("bgp_dead", "r003/bgp"), ("static_wrong", "r003/static")])
def test_what_a_router_drops_until_it_is_itself_again_is_no_fault_of_its_own(
    kind: str, subject: str, tmp_path: Path
) -> None:
    world = mesh(3, bgp=True)
    demands = world["demands"]
    goal = demands["b"][demands["a"] == b"c003"][0].decode()
    network = EmbeddedNetwork(world, seed=1, start_s=0.0)
    network.inject(Fault(kind, subject, 8.1, goal=goal))
    with Record(tmp_path / "record") as record:
        runner = Runner.start(world, network, record, Policy(level="act"), at_s=0.0)
        decided = [runner.turn(0.2 * turn) for turn in range(1, 150)]
    assert {found.id for made in decided for found in made.found} == {f"{kind}/{subject}"}
    assert [action.subject for made in decided for act in made.commands for action in act.actions] == [subject]
    assert not runner.state.findings["open"].any()


def test_a_router_that_is_back_and_knows_no_user_yet_is_not_drained(tmp_path: Path) -> None:
    network = EmbeddedNetwork(world := mesh(3, bgp=True), seed=1, start_s=0.0)
    network.inject(Fault("router_booted", "r003", 8.1, 30.1))
    with Record(tmp_path / "record") as record:
        runner = Runner.start(world, network, record, Policy(level="act"), at_s=0.0)
        decided = [runner.turn(0.2 * turn) for turn in range(1, 220)]
    assert {found.kind for made in decided for found in made.found} <= {"router_dead", "router_booted"}
    assert not [act for made in decided for act in made.commands]


def test_what_cannot_be_verified_is_undone(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", DELAY, Fault("deaf", "l03", 0.0), turns=75)
    assert run.words[:5] == ["commanded", "applied", "undone", "applied", "verified"]
    assert not run.state.intended["links"].cell("l03", "drained")


def test_what_was_asked_for_and_does_not_come_is_no_fault_that_somebody_left(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", DELAY, Fault("deaf", "l03", 0.0), turns=75)
    assert {found.id for decisions in run.decisions for found in decisions.found} == {"link_slow/l03"}


class Dies(Exception):
    """The loop's process ends here."""


@pytest.mark.parametrize("when", ["before the act", "after the act"])
def test_a_loop_that_dies_is_resumed_from_its_record_and_leaves_nothing_behind(tmp_path: Path, when: str) -> None:
    world, path = ring(), tmp_path / "r"
    network = EmbeddedNetwork(world, seed=1, start_s=0.0)
    network.inject(DELAY)
    at_s, policy = 0.0, Policy(level="act")

    class Mortal(Guard):
        def execute(self, command: Command, receipt: bytes, world: World, *, at_s: float) -> Reply:
            if when == "after the act":
                super().execute(command, receipt, world, at_s=at_s)
            raise Dies

    with Record(path) as record:
        runner = Runner.start(world, network, record, policy, at_s=at_s)
        runner.guard = Mortal(network, decided(record))
        with suppress(Dies):
            while True:
                at_s += 1.0
                runner.turn(at_s)
    assert _drained(network) == (when == "after the act")
    with Record(path, resume=True) as record:
        state = resumed(world, path)
        runner = Runner.resume(state, network, record, Policy(level="act", epoch=2))
        for later_s in range(1, 200):
            runner.turn(at_s + later_s)
    assert not _drained(network)
    assert not runner.state.actual["signals"]["open"].any()
    assert runner.state.running == ()
    assert runner.state.intended.digest == world.intended.digest
    assert verify(path)[0] == len(list(replay(world, path))) + 1


def test_what_is_decided_follows_from_whole_twins_and_not_from_changes() -> None:
    """At each turn the loop is given the whole network, read anew, in place of what it put together from changes."""
    hand = Hand(DELAY, SILENT)
    policy, state = Policy(level="act"), State.of(hand.world)
    decided_at_all = 0
    for at_s in map(float, range(1, 180)):
        inputs = hand.told(at_s)
        delays = [change for change in inputs.changes if "oneway_us" in change.columns]
        whole = [_whole(hand.network, seen(state.actual, inputs.changes), table) for table in STATES]
        after, decisions = turn(state, inputs, policy)
        _, from_whole = turn(state, msgspec.structs.replace(inputs, changes=(*whole, *delays)), policy)
        assert from_whole == decisions
        state, decided_at_all = after, decided_at_all + len(decisions.commands)
        hand.do(decisions, state.world)
    assert decided_at_all == 3


def _whole(network: EmbeddedNetwork, actual: Twin, table: str) -> StateRows:
    """All rows of a table: as the network shows them, or as the ears have told them."""
    rows = actual[table]
    ids = tuple(row.decode() for row in rows.ids.tolist())
    if table != "signals":
        return network.look(table, ids)
    columns = {name: tuple(rows.cell(row, name) for row in ids) for name in rows.columns if name != "id"}
    return StateRows(table, ids, columns)


def test_a_turn_taken_twice_decides_nothing_twice(tmp_path: Path) -> None:
    Run(tmp_path / "r", DELAY, SILENT)
    policy, state = Policy(level="act"), State.of(ring())
    for event in list(read(tmp_path / "r"))[1:]:
        inputs = msgspec.convert(msgspec.json.decode(event.body)["inputs"], Inputs)
        state, _ = turn(state, inputs, policy)
        again, decisions = turn(state, Inputs(at_s=inputs.at_s), policy)
        assert decisions.commands == ()
        assert again.digest == state.digest


def test_a_recorded_run_decides_the_same_again(tmp_path: Path) -> None:
    run = Run(tmp_path / "r", DELAY, SILENT)
    assert list(replay(ring(), tmp_path / "r")) == run.decisions
    assert verify(tmp_path / "r")[0] == 181


def test_a_record_from_another_network_is_refused(tmp_path: Path) -> None:
    Run(tmp_path / "r", turns=5)
    with pytest.raises(KarezError, match="another network"):
        list(replay(ring(chips=8), tmp_path / "r"))


def test_a_record_with_another_decision_is_refused_though_its_chain_is_whole(tmp_path: Path) -> None:
    Run(tmp_path / "r", DELAY, turns=30)
    with Record(tmp_path / "forged") as record:
        for event in read(tmp_path / "r"):
            record.append(event.kind, event.at_s, event.body.replace(b'"commanded"', b'"would act"'))
    verify(tmp_path / "forged")
    with pytest.raises(KarezError, match="comes out otherwise"):
        list(replay(ring(), tmp_path / "forged"))


def test_the_same_run_in_another_process_gives_the_same_last_hash(tmp_path: Path) -> None:
    Run(tmp_path / "a", DELAY, turns=60)
    code = (
        "import sys; from pathlib import Path; from tests.test_loop import DELAY, Run\n"
        "Run(Path(sys.argv[1]), DELAY, turns=60)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "b"], check=True, env={"PYTHONHASHSEED": "7"})
    assert verify(tmp_path / "a") == verify(tmp_path / "b")


@given(
    st.lists(
        st.tuples(st.sampled_from(["l01", "l12", "l03", "l45"]), st.integers(8, 60), st.integers(5, 60)),
        max_size=4,
    ),
    st.integers(0, 5),
)
@settings(max_examples=15, deadline=None)
def test_whatever_breaks_the_network_ends_as_it_began_once_all_is_well(
    faults: list[tuple[str, int, int]], device: int
) -> None:
    slow = [Fault("link_slow", link, float(start), float(start + length)) for link, start, length in faults]
    hand = Hand(*slow, Fault("router_dead", f"r{device}", 30.0), seed=2)
    state, policy = State.of(hand.world), Policy(level="act", budgets={})
    for at_s in map(float, range(1, 700)):
        state, decisions = turn(state, hand.told(at_s), policy)
        hand.do(decisions, state.world)
    assert not state.intended["links"]["drained"].any()
    assert not state.actual["link_states"]["drained"].any()
    assert not state.actual["findings"]["open"].any()
    assert not state.actual["signals"]["open"].any()
    assert state.running == ()
