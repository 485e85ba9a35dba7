"""The guard and its controllers as a user starts them: processes that stand, and are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Timer

import pytest

from karez.faces import cli
from karez.operations import standing as stands
from karez.record import lineage
from karez.record.verify import verify
from tests.healing import meshed
from tests.test_networks import asked

PATIENCE_S = 90.0
SOON = ("--every-s", "0.2", "--lease-s", "1")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return meshed(tmp_path_factory.mktemp("mesh"))


class Standing:
    """A command that stands, and what it has told so far."""

    def __init__(self, folder: Path, name: str, words: Sequence[object]) -> None:
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "karez", *map(str, words)], stdout=log, stderr=log)

    def told(self, words: str) -> str:
        """All that it told, once that has these words."""
        until_s = time.monotonic() + PATIENCE_S
        while words not in (text := self.log.read_text()):
            assert time.monotonic() < until_s, f"never told {words!r}: {text}"
            assert self.process.poll() is None, f"ended before it told {words!r}: {text}"
            time.sleep(0.05)
        return text

    def ended(self, number: signal.Signals) -> int:
        """The exit code once it was signalled so."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def standing(folder: Path, name: str, *words: object) -> Iterator[Standing]:
    one = Standing(folder, name, words)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()


def test_another_controller_takes_over_from_one_that_is_killed_and_all_that_was_done_is_in_its_record(
    net: Path, tmp_path: Path
) -> None:
    place = tmp_path / "ctl"
    broken = ("--fault", "link_slow", "--after-s", "6", "--seed", "2")
    with standing(tmp_path, "guard", "guard", place, net, *broken) as guard:
        guard.told("guards")
        with standing(tmp_path, "a", "lead", place, net, "--name", "a", "--level", "act", *SOON) as first:
            first.told("a leads, epoch 1")
            with standing(tmp_path, "b", "lead", place, net, "--name", "b", "--level", "act", *SOON) as second:
                second.told("b stands by")
                assert "link_slow" in first.told("found")
                first.ended(signal.SIGKILL)
                second.told("b leads, epoch 2")
                assert second.ended(signal.SIGTERM) == 0
        assert guard.ended(signal.SIGINT) == 0
    record = lineage.newest(place / "records")
    assert record is not None
    assert verify(record)[0] > 2
    findings = asked("heal_report", record=record, network=net)
    assert findings.turns > 2
    assert {"link_slow"} <= {one.kind for one in findings.findings}


def test_what_was_recorded_is_sealed_and_whoever_takes_over_goes_on_from_there(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stands, "SEALS_TURNS", 4)
    place = stands.Place.made(str(tmp_path / "ctl"))
    with standing(tmp_path, "guard", "guard", place.folder, net) as guard:
        guard.told("guards")
        for name in ("a", "b"):
            told, ended = list[str](), Event()
            timer = Timer(4.0, ended.set)
            timer.start()
            stands.Controller(place, str(net), name, "observe", 1.0, told.append).run(0.05, ended)
            assert any("leads" in line for line in told), told
            assert not any("could not" in line for line in told), told
    record = lineage.newest(place.records)
    assert record is not None
    assert len(list(place.closed.glob("*.record"))) >= 2
    events, _ = verify(place.closed, record)
    assert events > verify(record)[0]
    assert asked("heal_replay", network=net, record=record).turns < events


def test_a_second_guard_does_not_get_the_folder_of_the_first(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with standing(tmp_path, "guard", "guard", tmp_path / "ctl", net) as guard:
        guard.told("guards")
        until_s = time.monotonic() + PATIENCE_S
        while not (tmp_path / "ctl" / "guard").exists() and time.monotonic() < until_s:
            time.sleep(0.05)
        assert cli.main(["guard", str(tmp_path / "ctl"), str(net)]) == 2
        assert "end the guard that has it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["guard", "{ctl}", "{net}", "--fault", "link_fast"], "fault: 'link_fast' is none"),
        (["guard", "{ctl}", "{net}", "--fault", "link_slow", "--subject", "nowhere"], "'nowhere' is no link"),
        (["guard", "{ctl}", "{net}/no"], "no such file or directory"),
        (["guard", "{ctl}" + "x" * 120, "{net}"], "too long for a socket"),
        (["guard", "{ctl}", "{net}", "--after-s", "-1"], "--after-s"),
        (["guard", "{ctl}", "{net}", "--seed", "-1"], "'-1' is wrong; give a whole number"),
        (["guard", "{ctl}", "{net}", "--seed", "x"], "'x' is wrong; give a whole number"),
        (["lead", "{ctl}", "{net}/no"], "no such file or directory"),
        (["lead", "{ctl}", "{net}", "--level", "all"], "--level"),
        (["lead", "{ctl}", "{net}", "--every-s", "0"], "'0' is wrong; give seconds above 0"),
        (["lead", "{ctl}", "{net}", "--lease-s", "nan"], "'nan' is wrong; give seconds above 0"),
        (["lead", "{ctl}"], "network"),
    ],
)
def test_what_cannot_stand_is_refused_with_a_sentence(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert cli.main([word.format(ctl=tmp_path / "ctl", net=net) for word in words]) == 2
    assert told in capsys.readouterr().err


def test_the_folder_is_only_its_owners(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["guard", str(tmp_path / "ctl"), str(net), "--fault", "link_slow", "--subject", "nowhere"]) == 2
    assert os.stat(tmp_path / "ctl").st_mode & 0o077 == 0
