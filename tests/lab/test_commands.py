"""The commands of labs, as a person types them and as Python calls them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import karez
from benchmarks.instances.mesh import mesh
from karez.errors import InputError
from karez.faces.cli import main
from karez.lab.asked import running
from karez.twin import store
from tests.labs import NO_LAB

pytestmark = [pytest.mark.lab, NO_LAB]


@pytest.fixture
def network(tmp_path: Path) -> str:
    world = mesh(6, sites=4)
    states = [table for name, table in world.actual.tables.items() if name.endswith("_states") and len(table)]
    folder = tmp_path / f"net{time.time_ns()}"
    store.save(world.intended.replace(*states), folder, at_s=0.0, note="", source="mesh", synthetic=True)
    return str(folder)


def _said(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    """The answer of a command that did what it was told."""
    assert main(["lab", *words, "--json", "--quiet"]) == 0
    answer: dict[str, object] = json.loads(capsys.readouterr().out)["answer"]
    assert answer["headline"]
    assert answer["citation"]
    return answer


def test_a_lab_is_started_broken_healed_asked_and_ended(
    network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    up = _said(capsys, "up", network, "--users-per-s", "400")
    assert (up["routers"], up["name"] in set(running())) == (4, True)
    try:
        _said(capsys, "fail", network, "link_loss", "--subject", "l000")
        assert karez.lab_status(network=network).state.faults == ("link_loss l000",)
        _said(capsys, "fail", network, "link_loss", "--subject", "l000", "--end")
        nobody = {"fault": "link_loss", "subject": "none"}
        for wrong in (nobody, nobody | {"end": True}, {"fault": "link_dim"}):
            with pytest.raises(InputError):
                karez.lab_fail(network=network, **wrong)
        healed = _said(capsys, "heal", network, str(tmp_path / "record"), "--fault", "none", "--for-s", "2")
        assert healed["found_after_s"] is None
        assert karez.heal_verify(record=str(tmp_path / "record")).events == healed["events"]
    finally:
        down = _said(capsys, "down", network)
    assert down["name"] == up["name"]
    assert main(["lab", "status", network]) == 2
    assert "no lab" in capsys.readouterr().err
