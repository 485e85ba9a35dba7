"""All that a loop knows as bytes, and records that are gone on with from there."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.instances.mesh import mesh
from benchmarks.instances.ring import ring
from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.errors import InputError, KarezError
from karez.loop import runner as running
from karez.loop.recorded import again, replay, resumed, started
from karez.loop.runner import Runner
from karez.loop.snapshot import Ground, Snapshot, Start, restored, taken
from karez.loop.state import Policy, State
from karez.record.log import Record, last_snapshot, read
from karez.record.verify import verify
from karez.twin import World

ACT = Policy(level="act")


def ground(world: World) -> Ground:
    return Ground(Start(state=State.of(world).digest), world)


def ran(world: World, record: Record, turns: int, *, seed: int = 1) -> Runner:
    """A loop after so many turns of half a second, in which a link was slow for a while."""
    network = EmbeddedNetwork(world, seed=seed, start_s=0.0)
    network.inject(Fault("link_slow", world["links"].ids[3].decode(), 8.0, 14.0, size_us=5_000.0))
    runner = Runner.start(world, network, record, ACT, at_s=0.0)
    for turn in range(1, turns + 1):
        runner.turn(0.5 * turn)
    return runner


@pytest.fixture
def every_seven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SNAPSHOT_TURNS", 7)
    return


@pytest.mark.parametrize("turns", [0, 3, 17, 22, 40, 200])
def test_what_is_known_at_any_time_comes_out_of_its_snapshot_as_it_went_in(tmp_path: Path, turns: int) -> None:
    world = mesh(5)
    with Record(tmp_path / "r") as record:
        state = ran(world, record, turns).state
    body = taken(ground(world), state)
    found = restored(world, body)
    assert found.digest == state.digest
    assert taken(ground(world), found) == body


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_rows_that_came_went_or_changed_come_out_as_they_are(data: st.DataObject) -> None:
    world = ring()
    links, works = world["links"], world["works"]
    rows = np.array(data.draw(st.lists(st.integers(0, len(links) - 1), unique=True, min_size=1)))
    changed = links.set(rows, cost=data.draw(st.lists(st.integers(0, 99), min_size=len(rows), max_size=len(rows))))
    gone = np.array(data.draw(st.lists(st.booleans(), min_size=len(links), max_size=len(links))))
    names = data.draw(st.lists(st.text("ab\u00e9\u4e2d", min_size=1, max_size=9), unique=True))
    if names:
        works = works.add(
            {"id": names, "subject": ["l01"] * len(names), "from_s": [0.0] * len(names), "to_s": [9.0] * len(names)}
        )
    state = State(world.intended.replace(changed.take(~gone), works), world.actual, resting=(("x", 1e300),))
    found = restored(world, taken(ground(world), state))
    assert found.digest == state.digest


@pytest.mark.usefixtures("every_seven")
def test_a_run_is_gone_on_with_from_its_last_snapshot_as_if_all_had_been_decided_again(tmp_path: Path) -> None:
    world, path = ring(), tmp_path / "r"
    with Record(path) as record:
        state = ran(world, record, 45).state
    snapshot = last_snapshot(path)
    assert snapshot is not None
    assert sum(event.kind == "snapshot" for event in read(path)) == 6
    assert resumed(world, path).digest == state.digest
    assert len(list(again(world, path, since=snapshot))) == 3
    assert len(list(replay(world, path))) == 45


@pytest.mark.usefixtures("every_seven")
def test_a_snapshot_that_was_altered_is_found_out_by_replay_and_by_whoever_goes_on_from_it(tmp_path: Path) -> None:
    world, path = ring(), tmp_path / "r"
    with Record(path) as record:
        runner = ran(world, record, 20)
        first = msgspec.msgpack.decode(taken(ground(world), runner.state), type=Snapshot)
        false = msgspec.structs.replace(first, resting=(("link_slow/l01", 1e9),))
        record.snapshot(11.0, msgspec.msgpack.encode(false, order="deterministic"))
    with pytest.raises(KarezError, match=r"event .* comes out otherwise"):
        list(replay(world, path))
    with pytest.raises(KarezError, match="snapshot is of another network"):
        resumed(world, path)


def test_a_sealed_run_goes_on_and_is_verified_and_decided_again_from_where_it_was_sealed(tmp_path: Path) -> None:
    world, path, closed = ring(), tmp_path / "r", tmp_path / "closed"
    with Record(path) as record:
        runner = ran(world, record, 30)
        assert runner.seal(closed, 15.0) is not None
        for turn in range(31, 61):
            runner.turn(0.5 * turn)
    assert started(path) == started(next(closed.glob("*.record")))
    assert verify(closed, path)[0] == 1 + 30 + 2 + 30
    assert len(list(replay(world, path))) == 30
    assert resumed(world, path).digest == runner.state.digest


def test_a_snapshot_of_another_network_is_refused(tmp_path: Path) -> None:
    body = taken(ground(ring()), State.of(ring()))
    with pytest.raises(KarezError, match="another network"):
        restored(mesh(1), body)
    with pytest.raises(KarezError, match="cannot be read"):
        restored(ring(), b"nonsense")


def test_a_run_of_which_nobody_knows_the_start_is_not_sealed(tmp_path: Path) -> None:
    with Record(tmp_path / "r") as record:
        runner = ran(ring(), record, 3)
        runner.ground = None
        with pytest.raises(ValueError, match="no snapshot"):
            runner.seal(tmp_path / "closed", 2.0)


@pytest.mark.usefixtures("every_seven")
def test_where_the_disk_takes_no_snapshot_the_turn_has_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Record(tmp_path / "r") as record:
        runner = ran(ring(), record, 7)
        state, add = runner.state, record.store.add

        def full(events: object) -> None:
            raise InputError.of("r", "the disk is full", "make room")

        monkeypatch.setattr(record.store, "add", full)
        with pytest.raises(InputError, match="full"):
            runner.turn(4.0)
        assert runner.state is state
        monkeypatch.setattr(record.store, "add", add)
        runner.turn(4.5)
    assert [event.kind for event in read(tmp_path / "r")][-2:] == ["snapshot", "turn"]
