"""The documents do what they say: every command in them runs, in their order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from karez.faces import cli

ROOT = Path(__file__).parent.parent
PAGES = ("docs/tutorials/first-hour.md", "docs/tutorials/planner.md", "docs/how-to/plan-coverage.md")
# The first second of 2026: before the years that pages plan for.
NOW_S = "1767225600"
# The tutorial's network is thinned; where a page asks for a target, missing it is an answer too.
THINNED = {"50000": "20000"}
ANSWERS = {0, 3}


def _commands(page: Path) -> list[list[str]]:
    lines = re.findall(r"^    (karez .+)$", page.read_text("utf-8"), re.MULTILINE)
    return [[THINNED.get(word, word) for word in shlex.split(line)[1:]] for line in lines]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs_in_its_order(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAREZ_AT_S", NOW_S)
    commands = _commands(ROOT / page)
    assert len(commands) > 5
    for command in commands:
        code = cli.main(command)
        said = capsys.readouterr()
        assert code in (ANSWERS if "--target-share" in command else {0}), (command, said.err)
        assert said.out, command
