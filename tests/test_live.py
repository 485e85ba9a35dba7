"""The live view: what it shows of a turn, and that it is there on a terminal only."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from karez.faces import cli, live
from karez.loop.state import Decisions, State
from karez.operations import HealRunQuestion
from karez.operations.heal_run import followed
from tests.test_networks import TABLES, imported


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imported(tmp_path_factory.mktemp("small"), TABLES)


def shown(net: Path, record: Path, level: str, turns: int = 60) -> tuple[list[str], list[float]]:
    """Every picture as text, and how long each was held."""
    frames: list[str] = []
    held: list[float] = []

    def draw(frame: RenderableType) -> None:
        console = Console(file=io.StringIO(), width=120)
        console.print(frame)
        assert isinstance(console.file, io.StringIO)
        frames.append(console.file.getvalue())

    question = HealRunQuestion(network=str(net), record=str(record), level=level, turns=turns)  # type: ignore[arg-type]
    followed(question, live.View(question, draw, held.append).told)
    return frames, held


def test_each_turn_is_shown_with_what_is_found_and_under_way(net: Path, tmp_path: Path) -> None:
    frames, held = shown(net, tmp_path / "r", "act")
    assert len(frames) == len(held) == 60
    assert "turn 1 of 60, 1 s, level act, fault link_slow" in frames[0]
    assert frames[0].count("none") == 4
    found = next(frame for frame in frames if "link slow L1" in frame)
    assert "drain_link L1" in found
    assert "sent" in found
    assert any("verifying" in frame or "watching" in frame for frame in frames)
    assert "gone" in frames[-1]


def test_what_waits_for_a_person_is_shown_while_it_waits(net: Path, tmp_path: Path) -> None:
    frames, _ = shown(net, tmp_path / "r", "advise")
    assert any("link_slow/L1" in frame for frame in frames)
    assert "link_slow/L1" not in frames[0] + frames[-1]


def test_nothing_that_a_network_tells_steers_the_terminal_or_is_taken_for_markup(tmp_path: Path) -> None:
    tables = {**TABLES, "links": TABLES["links"].replace("L1,", "[red]L\x1b[2J1,")}
    frames, _ = shown(imported(tmp_path, tables), tmp_path / "r", "act", turns=40)
    assert any("[red]L\\x1b[2J1" in frame for frame in frames)
    assert not any("\x1b[2J" in frame for frame in frames)


def test_without_a_terminal_there_is_the_answer_and_nothing_else(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["heal", "run", str(net), str(tmp_path / "r"), "--turns", "20"]
    assert cli.main([*words, "--live"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("The fault link slow L1 was")
    assert "open findings" not in told.out + told.err


def test_on_a_terminal_the_view_is_on_the_standard_error_and_the_answer_on_the_standard_output(
    net: Path, tmp_path: Path
) -> None:
    leader, follower = pty.openpty()
    words = [sys.executable, "-m", "karez", "heal", "run", str(net), str(tmp_path / "r"), "--turns", "8", "--live"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=follower, env=os.environ | {"TERM": "xterm"}) as run:
        os.close(follower)
        seen = b""
        try:
            while part := os.read(leader, 65_536):
                seen += part
        except OSError:
            # A terminal that nobody holds any more is read like this.
            pass
        out, _ = run.communicate(timeout=60)
    os.close(leader)
    assert run.returncode == 0
    assert b"open findings" in seen
    assert b"turn 8 of 8" in seen
    assert out.startswith(b"The fault link slow L1 was")
    assert b"open findings" not in out


def test_only_what_can_be_watched_takes_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["heal", "replay", "n", "r", "--live"]) == 2
    assert "--live: unknown" in capsys.readouterr().err


def test_a_view_that_fails_leaves_no_record_behind(net: Path, tmp_path: Path) -> None:
    question = HealRunQuestion(network=str(net), record=str(tmp_path / "r"), turns=5)

    def broken(state: State, decisions: Decisions) -> None:
        raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="the terminal is gone"):
        followed(question, broken)
    assert not (tmp_path / "r").exists()
