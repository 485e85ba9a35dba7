"""Controllers that take over from each other, in simulated time: one of them dies at every point there is."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks import MEMORY, leaders
from benchmarks.instances.ring import ring
from benchmarks.leaders import Near, switch
from karez.adapters.embedded import EmbeddedNetwork
from karez.adapters.guard import Guard, WritePath, decides
from karez.adapters.guarding import Server
from karez.adapters.network import Network
from karez.adapters.remote import RemoteGuard, RemoteNetwork
from karez.errors import InputError
from karez.loop import leader
from karez.loop.leader import TURN_S, Leader
from karez.loop.recorded import decided, replay
from karez.loop.runner import People, Runner
from karez.loop.state import Approval, Decisions, Policy, State
from karez.plan import Action, Plan
from karez.record import lineage
from karez.record.lease import Lease, now_s
from karez.record.log import Record, read
from karez.record.verify import verify
from karez.twin.schema import Value
from karez.twin.telemetry import Samples

FOR_S = 3.0
LINKS = ("l03", "l45")
# When a person changes their mind about both links, how long `a` may live, how long it takes to settle at most then,
# and for how long all is watched to stay so, which is longer than any timer of the guard runs (s).
CHANGES_S, LIVES_S, SETTLES_S, STAYS_S = (3, 16, 29), 40, 75, 20


class Dies(BaseException):
    """The controller's process ends here; no `except` may catch that."""


class Points:
    """Counts the points at which a controller may die, and lets it die at one of them."""

    def __init__(self, at: int = -1) -> None:
        self.at, self.passed = at, 0

    def __call__(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            raise Dies


class Pointed:
    """Something whose calls are points at which the controller may die: right before each, and right after."""

    def __init__(self, inner: object, points: Points, *names: str) -> None:
        self._inner, self._points, self._names = inner, points, names

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        return self._pointed(value) if name in self._names else value

    def _pointed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*values: Any, **named: Any) -> Any:
            self._points()
            told = call(*values, **named)
            self._points()
            return told

        return called


class Watched(EmbeddedNetwork):
    """A network that notes what was done to it, and measures nothing: what is found plays no part here."""

    done: list[tuple[str, str]]

    def hear(self, at_s: float) -> tuple[Samples, ...]:
        return ()

    def apply(self, action: Action, at_s: float) -> str:
        self.done.append((action.kind, action.subject))
        return super().apply(action, at_s)


class Stage:
    """A network, a guard that may outlive controllers, and two of those: `a` leads first, and may die.

    A person wants two links drained together, then not, then drained again.
    """

    def __init__(self, folder: Path, *, outlives: bool, at: int = -1) -> None:
        self.world, self.folder, self.at_s, self.outlives = ring(), folder, 0.0, outlives
        self.points = Points(at)
        (folder / "records").mkdir()
        self.network = Watched(self.world, seed=1, start_s=0.0)
        self.network.done = []
        self.guard = Guard(self.network, lambda receipt, command: decides(self._body(command.epoch, receipt), command))
        self.server = Server(self.guard, Path(), lambda: self.at_s)
        self.a: Leader | None = self._controller("a", self.points)
        self.b = self._controller("b", Points())
        # By second of a's life: how many points it had passed, and whether anything was under way.
        self.busy: dict[int, bool] = {}

    def run(self, until_s: float) -> None:
        while self.at_s < until_s:
            self.at_s += 1.0
            if self.a is not None:
                self._step_a()
            self.b.step(self.at_s, self.people)
            self.server.tick()

    def people(self, at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
        """A plan for what the person wants now, unless it is so, or something is under way; and a word for it."""
        wanted = sum(at_s >= change_s for change_s in CHANGES_S) % 2 == 1
        as_wanted = all(state.intended["links"].cell(link, "drained") == wanted for link in LINKS)
        busy = any(running.phase != "watching" for running in state.running) or state.waiting
        plans = () if busy or as_wanted else (switch(state, LINKS, wanted, at_s=at_s),)
        return plans, tuple(Approval(plan.id, "Li Wei") for plan in state.waiting)

    @property
    def drained(self) -> tuple[Value, ...]:
        return self.network.look("link_states", LINKS).columns["drained"]

    @property
    def unsettled(self) -> str:
        """What is still to come until the person has what was last asked for; empty where nothing is."""
        runner = self.b.runner
        if runner is None:
            return "nobody leads"
        intended = tuple(runner.state.intended["links"].cell(link, "drained") for link in LINKS)
        are = {
            "running": runner.state.running == (),
            "drained": self.drained == (True, True),
            "intended": intended == (True, True),
            "armed": self.guard.armed == (),
        }
        return ", ".join(what for what, right in are.items() if not right)

    def _step_a(self) -> None:
        assert self.a is not None
        first = self.points.passed
        try:
            decisions = self.a.step(self.at_s, self.people)
        except Dies:
            self.a = None
            return
        busy = self.at_s == 1.0 or (decisions is not None and bool(decisions.verdicts or decisions.confirmed))
        self.busy |= dict.fromkeys(range(first + 1, self.points.passed + 1), busy)

    def _controller(self, name: str, points: Points) -> Leader:
        guard, network, own = self._reached(points)

        def make(state: State, record: Record, policy: Policy) -> Runner:
            if own is not None:
                own.recorded = decided(record)
            runner = Runner.resume(state, network, cast(Record, Pointed(record, points, "append_all")), policy)
            runner.guard = guard
            return runner

        return Leader(
            Lease(self.folder / "leases", "ring", name, for_s=FOR_S),
            self.folder / "records",
            self.world,
            network,
            guard,
            Policy(level="advise", budgets={}),
            make,
            clock=lambda: self.at_s,
        )

    def _reached(self, points: Points) -> tuple[WritePath, Network, Guard | None]:
        """The guard and the network as a controller reaches them; a guard that does not outlive it is its own."""
        own: Guard | None = None
        if self.outlives:
            line = Near(self.server)
            guard: WritePath = RemoteGuard(line)
            network = cast(Network, Pointed(RemoteNetwork(line), points, "observe", "look"))
        else:
            network = cast(Network, Pointed(self.network, points, "observe", "look", "apply"))
            guard = own = Guard(network, lambda receipt, command: False)
        return cast(WritePath, Pointed(guard, points, "lead", "execute", "confirm", "tick")), network, own

    def _body(self, epoch: int, receipt: bytes) -> bytes | None:
        return lineage.body(self.folder / "records", epoch, receipt)


@contextmanager
def _stage(*, outlives: bool, at: int = -1) -> Iterator[Stage]:
    """A stage in a folder without a disk where there is one: this is about what dies, and not about power."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        stage = Stage(Path(folder), outlives=outlives, at=at)
        yield stage
        stage.b.end()
        if stage.a is not None:
            stage.a.end()


@pytest.fixture
def stage() -> Iterator[Stage]:
    with _stage(outlives=True) as stage:
        yield stage


def test_one_leads_and_the_other_stands_by(stage: Stage) -> None:
    stage.run(20.0)
    assert stage.a is not None
    assert (stage.a.leads, stage.b.leads) == (True, False)
    assert stage.drained == (False, False)
    assert len(list((stage.folder / "records").iterdir())) == 3, "one record, with its -wal and -shm"


def test_a_takeover_record_is_decided_again_to_the_same_bytes(stage: Stage) -> None:
    stage.run(20.0)
    stage.a = None
    stage.run(60.0)
    newest = lineage.newest(stage.folder / "records")
    assert newest is not None
    assert len(list(replay(stage.world, newest))) > 40


def test_the_one_that_takes_over_has_a_newer_epoch_and_goes_on_from_the_record(stage: Stage) -> None:
    stage.run(10.0)
    assert stage.a is not None
    stage.a.end("it was told to")
    stage.a = None
    stage.run(11.0)
    assert stage.b.runner is not None
    assert (stage.b.epoch, stage.guard.epoch, stage.b.runner.policy.epoch) == (2, 2, 2)
    old, new = (list(read(lineage.path_of(stage.folder / "records", epoch))) for epoch in (1, 2))
    assert new[: len(old)] == old
    assert len(new) > len(old)
    assert stage.b.runner.state.intended["links"].cell("l03", "drained")


def test_one_that_wakes_up_after_another_took_over_does_nothing_and_stands_by(stage: Stage) -> None:
    stage.run(17.0)
    sleeper, stage.a = stage.a, None
    assert sleeper is not None
    stage.run(22.0)
    assert stage.b.leads
    done = list(stage.network.done)
    # It wakes in the middle of a turn: its lease was looked at long ago.
    assert sleeper.runner is not None
    for _ in range(4):
        sleeper.runner.turn(18.0, stage.people)
    assert stage.network.done == done
    assert sleeper.step(stage.at_s, stage.people) is None
    assert not sleeper.leads
    assert "newer leader" in sleeper.why or "another" in sleeper.why
    stage.run(40.0)
    assert stage.b.leads


def test_one_that_does_not_reach_the_guard_lets_another_lead(stage: Stage) -> None:
    stage.run(5.0)
    assert stage.a is not None

    def silent(epoch: int) -> None:
        raise TimeoutError("the guard does not answer")

    stage.a.guard.lead = silent  # type: ignore[method-assign]
    stage.run(7.0)
    assert (stage.a.leads, stage.b.leads) == (False, True)
    assert "does not answer" in stage.a.why


@pytest.mark.parametrize(("most_s", "kept"), [(TURN_S, True), (0.0, False)])
def test_a_turn_that_takes_longer_than_the_lease_keeps_it_as_long_as_acts_may_take(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, most_s: float, kept: bool
) -> None:
    monkeypatch.setattr(leader, "TURN_S", most_s)
    first, other = stage.a, stage.b.lease
    assert first is not None
    for lease in (first.lease, other):
        lease.for_s = 0.4
    first.clock = now_s
    first.step(1.0)
    assert first.runner is not None
    taken, turn = [], first.runner.turn

    def slow(at_s: float, people: People) -> Decisions:
        until_s = now_s() + 1.5
        while now_s() < until_s:
            taken.append(other.take(now_s()))
            time.sleep(0.05)
        return turn(at_s, people)

    monkeypatch.setattr(first.runner, "turn", slow)
    first.step(2.0)
    assert (set(taken) == {None}) == kept


def test_a_record_that_takes_no_more_ends_the_term_and_says_so(stage: Stage) -> None:
    stage.run(5.0)
    assert stage.a is not None
    assert stage.a.runner is not None
    stage.a.runner.record.store.close()
    with pytest.raises(InputError, match="cannot take another event"):
        stage.a.step(6.0)
    assert not stage.a.leads
    stage.run(7.0)
    assert stage.b.leads


def test_news_that_the_dead_leader_was_told_and_did_not_record_reach_the_one_after_it(stage: Stage) -> None:
    stage.run(5.0)
    assert stage.a is not None
    stage.network.apply(switch(stage.a.runner.state, ("l12",), True, at_s=5.0).actions[0], 5.0)  # type: ignore[union-attr]
    told = stage.network.observe(6.0)
    assert any(rows.table == "link_states" and "l12" in rows.ids for rows in told)
    stage.a = None
    stage.run(12.0)
    assert stage.b.runner is not None
    assert stage.b.runner.state.actual["link_states"].cell("l12", "drained")


@pytest.mark.parametrize("outlives", [True, False])
def test_wherever_a_controller_dies_nothing_is_left_half_done(outlives: bool, proof: bool, turning_seed: int) -> None:
    """Thinned: every fifth point of turns in which anything was decided, and some of the others."""
    with _stage(outlives=outlives) as stage:
        stage.run(LIVES_S)
        assert [kind for kind, _ in stage.network.done] == ["drain_link"] * 2 + ["undrain_link"] * 2 + [
            "drain_link"
        ] * 2
        busy, passed = stage.busy, stage.points.passed
    assert sum(busy.values()) > 50
    for at in range(1, passed + 1):
        if proof or (at + turning_seed) % (5 if busy[at] else 43) == 0:
            _dies_at(at, outlives)


def _dies_at(at: int, outlives: bool) -> None:
    where = f"died at point {at}, guard {'outlives it' if outlives else 'dies with it'}"
    with _stage(outlives=outlives, at=at) as stage:
        while stage.a is not None:
            assert stage.at_s < LIVES_S, where
            stage.run(stage.at_s + 1.0)
        _settles(stage, where)
        newest = lineage.newest(stage.folder / "records")
        assert newest is not None
        # Whatever was done stands in the record that is left, and that record is whole.
        verify(newest)
        acts = (act for turn in replay(stage.world, newest) for command in turn.commands for act in command.actions)
        commanded = {(act.kind, act.subject) for act in acts}
        assert set(stage.network.done) <= commanded, where


def _settles(stage: Stage, where: str) -> None:
    """Go on until the person has what was last asked for, and watch that it stays so."""
    stage.run(max(stage.at_s, CHANGES_S[-1]))
    limit_s = stage.at_s + SETTLES_S
    while stage.unsettled:
        assert stage.at_s < limit_s, (where, stage.unsettled)
        stage.run(stage.at_s + 1.0)
    for _ in range(STAYS_S):
        stage.run(stage.at_s + 1.0)
        assert not stage.unsettled, (where, stage.unsettled)


def test_real_processes_killed_hung_and_cut_off_never_act_two_at_a_time(proof: bool, turning_seed: int) -> None:
    """Thinned: each fate once, all at once, and whoever was away comes back soon."""
    count, away_s = (leaders.RUNS, leaders.AWAY_S) if proof else (len(leaders.FATES), (2.0, 3.0))
    outcomes = leaders.runs(turning_seed, count, at_once=leaders.AT_ONCE if proof else count, away_s=away_s)
    assert {outcome.fate for outcome in outcomes} == set(leaders.FATES)
    for outcome in outcomes:
        assert outcome.stale == 0, (turning_seed, outcome)
        assert outcome.unrecorded == 0, (turning_seed, outcome)
        assert outcome.acts > 0
    assert sum(outcome.refused for outcome in outcomes) > 0


def test_without_fencing_the_same_list_shows_stale_acts(turning_seed: int) -> None:
    """Thinned: one run, as it shows that the list would tell; the benchmark has more."""
    (outcome,) = leaders.runs(turning_seed, 1, fenced=False, away_s=(1.0, 1.5))
    assert outcome.stale > 0, outcome
