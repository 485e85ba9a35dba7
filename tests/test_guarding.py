"""The guard in a process of its own: killed, started again, hung by its adapter, told nonsense; it still guards."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.instances.ring import DRAIN, ORDER, ring
from benchmarks.leaders import Near, listens, switch
from karez.adapters import wire
from karez.adapters.embedded import EmbeddedNetwork
from karez.adapters.guard import GRACE_S, Command, Guard, Kept, Reply, decides
from karez.adapters.guarding import Clock, Keeper, Patient, Saved, Server
from karez.adapters.remote import Line, RemoteGuard, RemoteNetwork
from karez.adapters.wire import LENGTH
from karez.errors import InputError, Refused
from karez.loop.recorded import Turned, encode
from karez.loop.runner import Runner
from karez.loop.state import Approval, Decisions, Inputs, Policy, State
from karez.plan import Action, Plan, Read, changed
from karez.plan.kinds import KINDS
from karez.record import lineage
from karez.record.log import Record, read
from karez.twin.table import Array
from karez.twin.telemetry import Samples, StateRows

COMMAND = Command(plan="p", actions=(DRAIN,), reads=(Read("link_states", "l03", "up", "==", True),), epoch=1)
LIMIT_S = KINDS["drain_link"].within_s + GRACE_S


def _anything(receipt: bytes, command: Command) -> bool:
    return True


def _people(at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
    """A link is drained and let back, again and again."""
    approvals = tuple(Approval(plan.id, "Li Wei") for plan in state.waiting)
    if at_s % 10 or state.waiting:
        return (), approvals
    return (switch(state, ("l12", "l03"), not state.intended["links"].cell("l03", "drained"), at_s=at_s),), approvals


def _run(path: Path, *, remote: bool) -> None:
    at_s = 0.0
    network, policy = EmbeddedNetwork(ring(), seed=1, start_s=0.0), Policy(level="advise", budgets={})
    with Record(path) as record:
        runner = Runner.start(ring(), network, record, policy, at_s=0.0)
        if remote:
            body: Callable[[bytes], bytes | None] = record.body
            guard = Guard(network, lambda receipt, command: decides(body(receipt), command))
            server = Server(guard, Path(), lambda: at_s)
            line = Near(server)
            runner.network, runner.guard = RemoteNetwork(line), RemoteGuard(line)
            runner.guard.lead(1)
        for second in range(1, 80):
            at_s = float(second)
            runner.turn(at_s, _people)


def test_a_loop_decides_the_same_bytes_through_a_guard_in_another_process(tmp_path: Path) -> None:
    for remote in (False, True):
        _run(tmp_path / str(remote), remote=remote)
    own, other = (list(read(tmp_path / name)) for name in ("False", "True"))
    assert own == other
    assert sum(b'"commands":[{' in event.body for event in own) >= 3


@pytest.mark.parametrize("op", ["==", "!=", "<", "<=", ">", ">=", "exists", "gone"])
def test_the_rows_that_travel_are_enough_to_tell_whether_reads_hold(op: str) -> None:
    world = ring()
    reads = [
        Read(table, row, column, op, value)  # type: ignore[arg-type]
        for table, row, column, value in (
            ("links", "l03", "length_km", 50.0),
            ("links", "none", "length_km", 50.0),
            ("link_states", "l03", "up", True),
            ("server_states", "s0", "free_chips", 512),
            ("servers", "s3", "site", "c3"),
            ("equipment", "none", "kind", "router"),
            ("findings", "none", "open", True),
        )
    ]
    there = wire.world(wire.rows(world, reads))
    assert changed(reads, there) == changed(reads, world)
    assert not len(there["demands"])


def test_samples_come_out_as_they_went_in_and_ids_travel_once() -> None:
    ids = np.array([b"l03>", b"l03<"])
    samples = [
        Samples("probe", at_s, ids, {"sent": np.array([20, 20]), "oneway_us": np.array([1.5, np.nan])})
        for at_s in (1.0, 2.0)
    ]
    ours, theirs = dict[str, Array](), dict[str, Array]()
    told = [wire.packed(one, ours) for one in samples]
    assert told[1].ids is None
    back = [wire.unpacked(one, theirs) for one in told]
    assert back[0].ids is back[1].ids
    for one, other in zip(samples, back, strict=True):
        assert (one.channel, one.at_s, one.ids.tolist()) == (other.channel, other.at_s, other.ids.tolist())
        for name, values in one.columns.items():
            assert values.dtype == other.columns[name].dtype
            assert np.array_equal(values, other.columns[name], equal_nan=values.dtype.kind == "f")


def test_only_an_event_that_decided_the_command_is_its_receipt() -> None:
    event = Turned(inputs=Inputs(at_s=1.0), policy=Policy(), decisions=Decisions(at_s=1.0, commands=(COMMAND,)))
    assert decides(encode(event), COMMAND)
    assert not decides(encode(event), msgspec.structs.replace(COMMAND, approved_by="Li Wei"))
    for body in (None, b"", b"{}", b"nonsense", encode(COMMAND)):
        assert not decides(body, COMMAND)


def test_a_stale_leader_is_told_no_news_confirms_nothing_and_does_nothing() -> None:
    network = EmbeddedNetwork(ring(), seed=1, start_s=0.0)
    server = Server(Guard(network, _anything), Path(), lambda: 1.0)
    old, new = (RemoteGuard(Near(server)) for _ in range(2))
    old.lead(1)
    assert old.execute(COMMAND, b"", ring(), at_s=1.0).done
    new.lead(2)
    eyes = RemoteNetwork(old._line)
    for ask in (lambda: eyes.observe(2.0), lambda: eyes.hear(2.0), lambda: old.lead(1)):
        with pytest.raises(Refused, match="newer leader"):
            ask()
    old.confirm(COMMAND.id)
    assert server.guard.armed == (COMMAND.id,)
    assert "newer leader" in old.execute(COMMAND, b"", ring(), at_s=2.0).why


class Dies(BaseException):
    """The guard's process ends here."""


class Mortal:
    """Dies at one of the points at which it keeps something or acts."""

    def __init__(self, network: EmbeddedNetwork, keeper: Keeper, at: int) -> None:
        self.kinds, self._network, self._keeper, self.at, self.passed = network.kinds, network, keeper, at, 0
        self.observe, self.hear, self.look = network.observe, network.hear, network.look

    def apply(self, action: Action, at_s: float) -> str:
        self._point()
        why = self._network.apply(action, at_s)
        self._point()
        return why

    def keep(self, kept: Kept) -> None:
        self._point()
        self._keeper(kept)
        self._point()

    def _point(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            raise Dies


def _two_drains() -> Command:
    other = msgspec.structs.replace(
        DRAIN, subject="l12", sets=(msgspec.structs.replace(DRAIN.sets[0], row="l12"),), blast_radius=("l12",)
    )
    return Command(plan="p", actions=(DRAIN, other), reads=(), epoch=1)


def _drained(network: EmbeddedNetwork) -> tuple[object, ...]:
    return network.look("link_states", ["l03", "l12"]).columns["drained"]


def _lives(folder: Path, at: int, *, confirmed: bool) -> tuple[int, bool]:
    """Points that were passed, and whether a guard that dies at one of them has left the network as is right."""
    network = EmbeddedNetwork(ring(), seed=1, start_s=0.0)
    keeper = Keeper(folder / f"{at}.kept")
    mortal = Mortal(network, keeper, at)
    guard = Guard(mortal, _anything, keep=mortal.keep)
    told = False
    with suppress(Dies):
        assert guard.execute(_two_drains(), b"", ring(), at_s=1.0).done
        if confirmed:
            guard.confirm("p")
            told = True
        guard.tick(2.0 + LIMIT_S)
    keeper.close()
    again = Keeper(folder / f"{at}.kept")
    guard = Guard(network, _anything, known=again.saved.kept, keep=again)
    guard.tick(2.0 + LIMIT_S)
    again.close()
    assert guard.armed == ()
    # What was confirmed stays; whoever was not told that it is, tells it again.
    return mortal.passed, _drained(network) == ((True, True) if told else (False, False))


@pytest.mark.parametrize("confirmed", [False, True])
def test_wherever_a_guard_dies_the_one_after_it_undoes_what_nobody_confirmed(tmp_path: Path, confirmed: bool) -> None:
    passed, right = _lives(tmp_path, 0, confirmed=confirmed)
    assert right
    assert passed >= 10
    for at in range(1, passed + 1):
        reached, right = _lives(tmp_path, at, confirmed=confirmed)
        # It may have died after the confirmation was on its disk, and before it could say so.
        assert right or (confirmed and at == passed), at
        assert reached == at


def test_a_disk_that_is_full_stops_acts_and_never_the_undoing(tmp_path: Path) -> None:
    network = EmbeddedNetwork(ring(), seed=1, start_s=0.0)
    full = False

    def keep(kept: Kept) -> None:
        if full:
            raise OSError(28, "No space left on device")

    guard = Guard(network, _anything, keep=keep)
    assert guard.execute(COMMAND, b"", ring(), at_s=1.0).done
    full = True
    other = msgspec.structs.replace(_two_drains(), plan="q")
    reply = guard.execute(other, b"", ring(), at_s=2.0)
    assert not reply.done
    assert not reply.begun
    assert "No space left" in reply.why
    assert [reply.done for reply in guard.tick(2.0 + LIMIT_S)] == [True]
    assert _drained(network) == (False, False)


def test_only_one_guard_may_have_a_place_and_what_it_kept_is_read_or_refused(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "g.kept")
    keeper(Kept(epoch=7, killed=True))
    with pytest.raises(InputError, match="cannot be taken"):
        Keeper(tmp_path / "g.kept")
    keeper.close()
    again = Keeper(tmp_path / "g.kept")
    assert again.saved.kept == Kept(epoch=7, killed=True)
    again.close()
    (tmp_path / "g.kept").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="see by hand"):
        Keeper(tmp_path / "g.kept")


def test_a_clock_begins_no_earlier_than_what_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    later_s = time.time() + 1_000.0
    clock = Clock(later_s)
    assert later_s <= clock() < later_s + 10.0
    assert abs(Clock()() - time.time()) < 10.0


class Hanging:
    """A network whose calls hang until they are let go, and then do what they should have done."""

    def __init__(self) -> None:
        self.inner = EmbeddedNetwork(ring(), seed=1, start_s=0.0)
        self.kinds = self.inner.kinds
        self.go = threading.Event()
        self.go.set()

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        self.go.wait()
        return self.inner.observe(at_s)

    def hear(self, at_s: float) -> tuple[Samples, ...]:
        self.go.wait()
        return self.inner.hear(at_s)

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        return self.inner.look(table, ids)

    def apply(self, action: Action, at_s: float) -> str:
        self.go.wait()
        return self.inner.apply(action, at_s)


def test_an_adapter_that_hangs_leaves_its_act_in_doubt_and_the_undoing_comes_after_it() -> None:
    network = Hanging()
    guard = Guard(Patient(network, 0.05), _anything)
    network.go.clear()
    command = Command(plan="p", actions=(DRAIN, ORDER), reads=(), epoch=1, approved_by="Li Wei")
    begun_s = time.monotonic()
    reply = guard.execute(command, b"", ring(), at_s=1.0)
    assert time.monotonic() - begun_s < 2.0
    assert (reply.done, reply.begun) == (False, True)
    assert "has not answered apply" in reply.why
    # It hangs still: nothing else is tried behind its back, and the guard goes on trying.
    assert [reply.done for reply in guard.tick(2.0)] == [False]
    assert "hangs in apply" in guard.execute(msgspec.structs.replace(command, plan="q"), b"", ring(), at_s=3.0).why
    network.go.set()
    while not _drained(network.inner)[0]:
        time.sleep(0.01)
    at_s = 100.0
    while guard.armed:
        guard.tick(at_s)
        at_s += 10.0
    assert _drained(network.inner)[0] is False


def test_what_was_observed_too_late_is_told_next_time() -> None:
    network, plain = Hanging(), EmbeddedNetwork(ring(), seed=1, start_s=0.0)
    patient = Patient(network, 1.0)
    network.go.clear()
    with pytest.raises(TimeoutError, match="has not answered observe"):
        patient.observe(5.0)
    with pytest.raises(TimeoutError, match="hangs in observe"):
        patient.hear(5.0)
    network.go.set()
    assert patient._late is not None
    patient._late.result.result(10.0)
    assert patient.observe(6.0) == (*plain.observe(5.0), *plain.observe(6.0))


def test_an_adapter_that_raises_a_timeout_of_its_own_does_not_hang() -> None:
    class Slow(Hanging):
        def look(self, table: str, ids: Sequence[str]) -> StateRows:
            raise TimeoutError("the device is slow")

    patient = Patient(Slow(), 1.0)
    with pytest.raises(TimeoutError, match="the device is slow"):
        patient.look("link_states", ["l03"])
    patient.observe(1.0)


class Process:
    """A guard process, and what its record holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "records").mkdir()
        self.record = lineage.begun(folder / "records", 1, lambda new: new.append("start", 0.0, b"{}"))
        self.start()

    def start(self) -> None:
        (self.folder / "guard").unlink(missing_ok=True)
        self.process = subprocess.Popen([sys.executable, "-m", "benchmarks.leaders", str(self.folder), "guard"])
        while not listens(self.folder / "guard"):
            assert self.process.poll() is None
            time.sleep(0.02)
        self.line = Line(self.folder / "guard", within_s=5.0)
        self.guard, self.network = RemoteGuard(self.line), RemoteNetwork(self.line)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.line.close()
        self.process.send_signal(number)
        return self.process.wait(10.0)

    def decided(self, command: Command) -> bytes:
        decisions = Decisions(at_s=1.0, commands=(command,))
        return self.record.append(
            "turn", 1.0, encode(Turned(inputs=Inputs(at_s=1.0), policy=Policy(), decisions=decisions))
        )

    @property
    def drained(self) -> object:
        return self.network.look("link_states", ["l03"]).columns["drained"][0]


@contextmanager
def _process(folder: Path) -> Iterator[Process]:
    made = Process(folder)
    yield made
    made.record.store.close()
    if made.process.poll() is None:
        made.end(signal.SIGKILL)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    with _process(tmp_path) as process:
        yield process


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A guard process for tests after which it is as before."""
    with _process(tmp_path_factory.mktemp("untouched")) as process:
        yield process


def _command(**changes: object) -> Command:
    drain = msgspec.structs.replace(DRAIN, expires_at_s=time.time() + 60.0)
    return msgspec.structs.replace(COMMAND, actions=(drain,), **changes)


def test_a_guard_process_does_what_was_decided_and_nothing_else(process: Process) -> None:
    command = _command()
    process.guard.lead(1)
    refused = process.guard.execute(command, bytes(40), ring(), at_s=0.0)
    assert (refused.done, refused.begun) == (False, False)
    assert "holds no such decision" in refused.why
    receipt = process.decided(command)
    altered = msgspec.structs.replace(command, approved_by="Mallory")
    assert "holds no such decision" in process.guard.execute(altered, receipt, ring(), at_s=0.0).why
    assert not process.drained
    assert process.network.apply(command.actions[0], 0.0) == "only the guard acts"
    done = process.guard.execute(command, receipt, ring(), at_s=0.0)
    assert (done.done, done.read_back[0].columns["drained"]) == (True, (True,))
    assert process.drained
    assert process.end() == 0


def test_a_guard_that_is_told_to_end_ends_quietly_though_it_is_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = Process(tmp_path)
    made.guard.lead(1)
    made.process.send_signal(signal.SIGTERM)
    assert made.process.wait(10.0) == 0
    made.line.close()
    made.record.store.close()
    assert capfd.readouterr().err == ""


def _limit_comes(path: Path, in_s: float) -> float:
    """When a guard that was killed was to undo its one open command; from now on, its file says in so many seconds."""
    saved = msgspec.msgpack.decode(path.read_bytes(), type=Saved)
    (armed,) = saved.kept.armed.values()
    was_s, armed.limit_s = armed.limit_s, time.time() + in_s
    path.write_bytes(msgspec.msgpack.encode(saved))
    return was_s


def test_a_guard_that_is_killed_and_started_again_knows_its_epoch_its_kill_switch_and_what_to_undo(
    process: Process,
) -> None:
    """The network dies with this guard's process, so that the undoing shows in its word alone."""
    confirmed, open_ = _command(), _command(plan="q")
    process.guard.lead(1)
    for command in (confirmed, open_):
        assert process.guard.execute(command, process.decided(command), ring(), at_s=0.0).done
        if command is confirmed:
            process.guard.confirm(command.id)
    acted_s = time.time()
    process.guard.killed = True
    process.end(signal.SIGKILL)
    limit_s = _limit_comes(process.folder / "guard.kept", 3.0)
    assert abs(limit_s - acted_s - LIMIT_S) < 2.0
    due_s = time.monotonic() + 3.0
    process.start()
    assert process.guard.killed
    with pytest.raises(Refused, match="newer leader"):
        process.guard.lead(0)
    process.guard.lead(1)
    time.sleep(max(0.0, due_s + 1.0 - time.monotonic()))
    assert process.guard.tick(0.0) == (), "the kill switch stops timers"
    process.guard.killed = False
    told: list[Reply] = []
    while not told and time.monotonic() < due_s + 10.0:
        time.sleep(0.1)
        told += process.guard.tick(0.0)
    assert [(reply.command, reply.done, reply.undone_alone) for reply in told] == [("q", True, True)]


def test_what_a_hung_guard_did_not_answer_is_in_doubt_and_it_does_not_do_it_late(process: Process) -> None:
    command = _command()
    receipt = process.decided(command)
    process.guard.lead(1)
    process.process.send_signal(signal.SIGSTOP)
    process.line.within_s = 0.5
    reply = process.guard.execute(command, receipt, ring(), at_s=0.0)
    assert (reply.done, reply.begun) == (False, True)
    with pytest.raises(OSError, match="timed out"):
        process.guard.lead(1)
    assert process.guard.tick(0.0) == ()
    process.process.send_signal(signal.SIGCONT)
    process.line.within_s = 5.0
    assert not process.drained
    assert process.guard.execute(command, receipt, ring(), at_s=0.0).done


def test_a_guard_that_is_not_there_has_done_nothing(process: Process) -> None:
    command = _command()
    receipt = process.decided(command)
    process.end(signal.SIGKILL)
    reply = process.guard.execute(command, receipt, ring(), at_s=0.0)
    assert (reply.done, reply.begun) == (False, False)
    assert "is not reached" in reply.why
    process.guard.confirm("p")
    process.start()
    process.guard.lead(1)
    assert process.guard.execute(command, receipt, ring(), at_s=0.0).done


def test_nonsense_ends_its_connection_and_harms_nobody_else(untouched: Process) -> None:
    untouched.guard.lead(1)
    for nonsense in (b"\x00\x00\x00\x03abc", b"\xff" * 64, b"\x00\x00\x01\x00half", LENGTH.pack(0)):
        with socket.socket(socket.AF_UNIX) as other:
            other.settimeout(2.0)
            other.connect(str(untouched.folder / "guard"))
            other.sendall(nonsense)
            other.shutdown(socket.SHUT_WR)
            while other.recv(1 << 16):
                pass
    assert untouched.network.look("link_states", ["l03"]).ids == ("l03",)


def test_only_its_own_user_may_ask_a_guard(untouched: Process) -> None:
    assert (untouched.folder / "guard").stat().st_mode & 0o077 == 0


def test_a_second_guard_at_the_same_place_is_refused(untouched: Process) -> None:
    command = [sys.executable, "-m", "benchmarks.leaders", str(untouched.folder), "guard"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "end the guard that has it" in done.stderr
    untouched.guard.lead(1)


def test_a_guard_whose_timers_break_ends_loudly(tmp_path: Path) -> None:
    class Broken(Guard):
        def tick(self, at_s: float) -> tuple[Reply, ...]:
            raise ZeroDivisionError

    guard = Broken(EmbeddedNetwork(ring(), seed=1, start_s=0.0), _anything)
    with pytest.raises(ZeroDivisionError):
        Server(guard, tmp_path / "guard", lambda: 0.0).run()


def test_a_kill_between_two_acts_stops_the_second_and_the_first_is_undone_once_it_is_off() -> None:
    class Killing(EmbeddedNetwork):
        def apply(self, action: Action, at_s: float) -> str:
            guard.killed = True
            return super().apply(action, at_s)

    network = Killing(ring(), seed=1, start_s=0.0)
    guard = Guard(network, _anything)
    reply = guard.execute(_two_drains(), b"", ring(), at_s=1.0)
    assert (reply.done, reply.begun, reply.why) == (False, True, "the kill switch is on")
    assert _drained(network) == (True, False)
    assert guard.tick(2.0 + LIMIT_S) == ()
    guard.killed = False
    assert [told.done for told in guard.tick(2.0 + LIMIT_S)] == [True]
    assert _drained(network) == (False, False)


def test_a_guard_knows_nothing_of_the_loop() -> None:
    code = "import sys, karez.adapters.guarding; print([name for name in sys.modules if name.startswith('karez.loop')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
