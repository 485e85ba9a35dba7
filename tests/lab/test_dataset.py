"""Data sets: they hold what was told, a loop hears in them what it heard live, and damage is found."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

import karez
from benchmarks.instances.ring import DRAIN
from karez.adapters.embedded import EmbeddedNetwork, Fault
from karez.errors import InputError
from karez.lab import dataset
from karez.lab.dataset import Heard, Writer
from karez.lab.replayed import DataSet, Replayed
from karez.loop.runner import Runner
from karez.loop.state import Decisions, Policy
from karez.operations.networks import load, load_living
from karez.plan.kinds import KINDS
from karez.record.log import Record
from karez.twin.telemetry import Samples, StateRows
from tests.lab.recorded import START_S, about, events, listened, network, times_s

SLOW = Fault(
    "link_slow", "l000", START_S + 9.0, START_S + 16.0, size_us=4_000.0, size_share=0.0, size_db=0.0, size_s=0.0
)
CUT = Fault("link_cut", "l002", START_S + 20.0, START_S + 24.0, size_us=0.0, size_share=0.0, size_db=0.0, size_s=0.0)
FOR_S = 26.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sets")


@pytest.fixture(scope="module")
def live(folder: Path) -> list[Decisions]:
    return listened(folder / "set", network(folder / "net"), (SLOW, CUT), for_s=FOR_S)


def _replayed(folder: Path, to: Path) -> list[Decisions]:
    data = DataSet(folder)
    world, _ = load_living(str(data.network))
    with Record(to) as record:
        runner = Runner.start(world, Replayed(data), record, Policy(level="advise"), at_s=START_S)
        return [runner.turn(at_s) for at_s in data.times_s().tolist()]


def test_a_loop_decides_on_a_data_set_all_that_one_decided_that_listened_live(
    folder: Path, live: list[Decisions], tmp_path: Path
) -> None:
    again = _replayed(folder / "set", tmp_path / "again")
    assert {(one.kind, one.subject) for said in live for one in said.found} >= {("link_slow", "l000")}
    # `state` is the digest of all that is known after a turn.
    assert again == live


def test_everything_comes_out_as_it_was_told(tmp_path: Path) -> None:
    of = network(tmp_path / "net")
    world, revision = load_living(of)
    live, told = EmbeddedNetwork(world, seed=2, start_s=START_S), []
    live.inject(SLOW)
    with Writer(tmp_path / "set") as writer:
        for at_s in times_s(12.0):
            told.append(Heard(at_s, live.observe(at_s), live.hear(at_s)))
            writer.keep(told[-1])
        writer.close(about(12.0), events([SLOW]), load(of)[0].intended, revision)
    data = DataSet(tmp_path / "set")
    assert data.events() == events([SLOW])
    assert load(str(data.network))[0].intended.digest == load(of)[0].intended.digest
    assert data.times_s().tolist() == times_s(12.0)
    for heard, was in zip(data.heard(), told, strict=True):
        assert (heard.at_s, heard.states) == (was.at_s, was.states)
        _require_same(heard.samples, was.samples)


def _require_same(found: tuple[Samples, ...], told: tuple[Samples, ...]) -> None:
    assert [(some.channel, some.at_s) for some in found] == [(some.channel, some.at_s) for some in told]
    for some, was in zip(found, told, strict=True):
        assert some.ids.tolist() == was.ids.tolist()
        assert some.columns.keys() == was.columns.keys()
        for name, values in some.columns.items():
            assert values.dtype == was.columns[name].dtype
            np.testing.assert_array_equal(values, was.columns[name])


def test_what_is_written_in_parts_is_read_as_one(
    folder: Path, live: list[Decisions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "PART_TURNS", 70)
    listened(tmp_path / "parts", str(folder / "net"), (SLOW, CUT), for_s=FOR_S)
    assert len(list((tmp_path / "parts" / "telemetry" / "probe").iterdir())) > 3
    assert _replayed(tmp_path / "parts", tmp_path / "again") == live


def test_a_replay_finds_the_same_every_time_and_says_what_was_true(
    folder: Path, live: list[Decisions], tmp_path: Path
) -> None:
    first = karez.lab_replay(folder=str(folder / "set"))
    assert first == karez.lab_replay(folder=str(folder / "set"), record=str(tmp_path / "record"))
    assert karez.heal_verify(record=str(tmp_path / "record")).last_hash == first.last_hash
    slow, cut = first.faults
    assert (slow.kind, slow.subject, slow.outcome, cut.kind, cut.outcome) == (
        *("link_slow", "l000", "found", "link_cut", "found"),
    )
    assert slow.begin_after_s == pytest.approx(9.0)
    when_s = next(one.at_s for one in live if any(found.kind == "link_slow" for found in one.found))
    assert slow.found_after_s == when_s - SLOW.at_s
    told = [found for one in live for found in one.found if found.open]
    assert first.found + len(first.alarms) == len(told)


def test_a_record_of_a_replay_can_be_asked_why(folder: Path, live: list[Decisions]) -> None:
    karez.lab_replay(folder=str(folder / "set"), record=str(folder / "kept.record"))
    assert karez.heal_explain(record=str(folder / "kept.record")).headline
    network = str(folder / "set" / "network")
    assert karez.heal_replay(record=str(folder / "kept.record"), network=network).turns == len(live)


def test_a_data_set_is_a_network_that_can_do_nothing(folder: Path, live: list[Decisions]) -> None:
    recorded = Replayed(DataSet(folder / "set"))
    assert recorded.kinds <= set(KINDS)
    assert DRAIN.kind in recorded.apply(DRAIN, START_S)
    assert recorded.look("link_states", ["l000"]) == StateRows("link_states", (), {})
    recorded.hear(START_S + 21.5)
    row = recorded.look("link_states", ["l002", "nobody"])
    assert (row.ids, row.columns["up"]) == (("l002",), (False,))
    assert len(recorded.observe(START_S + 21.5)) > 1
    assert recorded.observe(START_S + 21.5) == ()


def test_events_are_a_schedule(folder: Path, live: list[Decisions]) -> None:
    lines = (folder / "set" / "events.csv").read_text().splitlines()
    assert lines[0].startswith("at_s,lasts_s,kind,subject,")
    assert lines[1].startswith("9.0,7.0,link_slow,l000,4000.0,,,ab,,")


@pytest.mark.parametrize("name", ["events.csv", "telemetry/probe/000001.parquet", "states/link_states/000001.parquet"])
def test_a_file_that_was_changed_or_is_gone_is_refused(name: str, tmp_path: Path) -> None:
    listened(tmp_path / "set", network(tmp_path / "net"), (), for_s=3.0)
    path = tmp_path / "set" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(InputError, match="cut off or was changed"):
        karez.lab_replay(folder=str(tmp_path / "set"))
    path.unlink()
    with pytest.raises(InputError, match="is missing"):
        karez.lab_replay(folder=str(tmp_path / "set"))


def test_what_is_no_data_set_or_is_of_a_later_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no data set"):
        karez.lab_replay(folder=str(tmp_path))
    later = msgspec.structs.replace(about(1.0), format=dataset.FORMAT + 1)
    (tmp_path / "about.json").write_bytes(msgspec.json.encode(later))
    with pytest.raises(InputError, match="later"):
        karez.lab_replay(folder=str(tmp_path))


def test_a_recording_that_breaks_off_leaves_nothing_and_one_that_is_there_stays(tmp_path: Path) -> None:
    with Writer(tmp_path / "set") as writer:
        writer.keep(Heard(1.0, (), ()))
        (beside,) = tmp_path.iterdir()
        with pytest.raises(InputError, match="holds no data set"):
            DataSet(beside)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "set").mkdir()
    with pytest.raises(InputError, match="exists already"):
        Writer(tmp_path / "set")
