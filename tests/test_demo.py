"""What the README promises of `make demo`, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from karez.faces import cli, demo

# How much memory the worker takes differs between machines.
MEMORY = re.compile(r"a process of \d+ MB")
README = Path(__file__).parent.parent / "README.md"


def test_the_demonstration_says_what_the_readme_says_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo"]) == 0
    said = capsys.readouterr()
    found = re.search(r"<!-- demo: begin -->\n(.*?)<!-- demo: end -->", README.read_text("utf-8"), re.DOTALL)
    assert found is not None
    told = "".join(line.removeprefix("    ") for line in found[1].splitlines(keepends=True))
    assert MEMORY.sub("", told.strip()) == MEMORY.sub("", said.out.strip())
    assert said.out.count("ynthetic") >= 8
    assert "<svg" in (tmp_path / demo.OUTPUT / "report.html").read_text("utf-8")


def test_the_second_time_the_network_is_there_and_all_else_is_made_anew_and_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "demo"
    words = ["demo", "--output", str(folder), "--stations", "200000", "--sites", "40", "--jobs", "300"]
    assert cli.main(words) == 0
    said = MEMORY.sub("", capsys.readouterr().out)
    network = {path: path.stat().st_mtime_ns for path in (folder / "network").rglob("*")}
    assert cli.main(words) == 0
    assert MEMORY.sub("", capsys.readouterr().out) == said
    assert network == {path: path.stat().st_mtime_ns for path in network}


def test_a_folder_that_no_demonstration_made_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert cli.main(["demo", "--output", str(tmp_path / "mine")]) == 2
    assert "was not made by a demonstration" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
