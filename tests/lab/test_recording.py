"""A lab is recorded with the faults of a schedule in it, and a loop hears in that what it heard live."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

import karez
from karez.adapters.embedded import Fault
from karez.errors import InputError
from karez.lab.asked import End, Lab, State, Status
from karez.lab.dataset import Writer
from karez.lab.faults import Scene, begin
from karez.lab.network import network_of
from karez.lab.recording import Overheard, Player, about
from karez.lab.replayed import DataSet, Replayed
from karez.lab.schedule import Scheduled
from karez.loop.runner import Runner
from karez.loop.state import Policy
from karez.operations.networks import load, load_living
from karez.record.log import Record
from karez.scenario.real import TURN_S
from tests.lab.recorded import network
from tests.labs import NO_LAB, running

pytestmark = [pytest.mark.lab, NO_LAB]
SCHEDULE = "at_s,lasts_s,kind,subject,size_us\n9,3,link_slow,l000,9000\n10,,work_link,l002,\n"


@pytest.fixture(scope="module")
def of(tmp_path_factory: pytest.TempPathFactory) -> str:
    return network(tmp_path_factory.mktemp("sets") / "net", sites=4)


@pytest.fixture(scope="module")
def name(of: str) -> Iterator[str]:
    with running(load_living(of)[0]) as name:
        yield name


def test_a_loop_decides_on_the_recording_of_a_lab_all_that_it_decided_live(of: str, name: str, tmp_path: Path) -> None:
    world, revision = load_living(of)
    with closing(Lab(name)) as lab, closing(network_of(lab, world)) as live, Writer(tmp_path / "set") as writer:
        fault = Fault("link_slow", "l000", 8.0, 11.0, size_us=9_000.0)
        player = Player(lab, [Scheduled(fault, begin(Scene(world, lab.plan()), fault))])
        with Record(tmp_path / "live") as record:
            start_s = time.time()
            runner = Runner.start(world, Overheard(live, writer.keep), record, Policy(level="advise"), at_s=start_s)
            decided = []
            while (at_s := time.time()) < start_s + 13.0:
                player.play(at_s - start_s)
                decided.append(runner.turn(time.time()))
                time.sleep(max(0.0, at_s + TURN_S - time.time()))
        player.end()
        known = msgspec.structs.replace(about(lab, turn_s=TURN_S), start_s=start_s, end_s=time.time())
        writer.close(known, player.events, load(of)[0].intended, revision)
    assert ("link_slow", "l000") in {(found.kind, found.subject) for said in decided for found in said.found}
    data = DataSet(tmp_path / "set")
    world, _ = load_living(str(data.network))
    with Record(tmp_path / "again") as record:
        runner = Runner.start(world, Replayed(data), record, Policy(level="advise"), at_s=start_s)
        assert [runner.turn(at_s) for at_s in data.times_s().tolist()] == decided


def test_a_schedule_is_played_and_recorded_and_over_when_it_ends(of: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "faults.csv").write_text(SCHEDULE)
    folder, schedule = str(tmp_path / "set"), str(tmp_path / "faults.csv")
    said = karez.lab_record(network=of, output=folder, schedule=schedule, for_s=14, name=name)
    slow, work = said.faults
    assert (slow.kind, slow.subject, work.kind, work.subject) == ("link_slow", "l000", "work_link", "l002")
    assert 9.0 <= slow.begin_after_s < 11.0
    assert work.begin_after_s >= 10.0
    assert slow.lasted_s == pytest.approx(3.0, abs=2.0)
    with closing(Lab(name)) as lab:
        assert lab.ask(Status(), State).faults == ()
    replayed = karez.lab_replay(folder=folder)
    assert replayed == karez.lab_replay(folder=folder)
    assert replayed.turns == said.turns > 50
    # Work that was announced is nothing to find.
    assert [one.outcome for one in replayed.faults] == ["found", "nothing to find"]
    assert "l002" not in {alarm.subject for alarm in replayed.alarms}


def test_a_lab_that_is_broken_already_is_not_recorded_and_nothing_is_left(of: str, name: str, tmp_path: Path) -> None:
    world, _ = load_living(of)
    with closing(Lab(name)) as lab:
        lab.ask(begin(Scene(world, lab.plan()), Fault("link_loss", "l001", 0.0)))
        try:
            with pytest.raises(InputError, match="broken already: link_loss l001"):
                karez.lab_record(network=of, output=str(tmp_path / "set"), for_s=1, name=name)
        finally:
            lab.ask(End())
    (tmp_path / "wrong.csv").write_text("at_s,kind\n2,link_dim\n")
    with pytest.raises(InputError, match="line 2"):
        karez.lab_record(network=of, output=str(tmp_path / "set"), schedule=str(tmp_path / "wrong.csv"), name=name)
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.csv"]
