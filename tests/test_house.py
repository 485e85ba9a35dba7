"""What holds the house together: import directions that are checked, a lock without addresses, true documents."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import table
from karez.operations import OPERATIONS

ROOT = Path(__file__).parent.parent
# A module of each layer that imports what it may not, and the contract that must say so.
PLANTED = {
    "operations/planted.py": "karez.faces",
    "gateway/planted.py": "karez.operations",
    "lab/planted.py": "karez.scenario",
    "loop/planted.py": "karez.gateway",
    "adapters/planted.py": "karez.loop",
    "detect/planted.py": "karez.adapters",
    "record/planted.py": "karez.detect",
    "plan/planted.py": "karez.record",
    "measure/planted.py": "karez.plan",
    "importers/planted.py": "karez.measure",
    "twin/planted.py": "karez.importers",
    "errors.py": "karez.twin",
    "units.py": "karez.twin",
}
NARROW = {
    "steer.py": ("polars", "The request path runs on the standard library and numpy"),
    "gateway/worker.py": ("karez.errors", "The steering worker runs on"),
    "loop/other.py": ("karez.importers.generate", "Only operations call importers"),
    "adapters/embedded/network.py": ("karez.measure.routes", "The embedded network shares nothing"),
    "record/verify.py": ("karez.record.log", "The offline verifiers stand alone"),
}


def _linted(folder: Path, planted: dict[str, str]) -> str:
    """What import-linter says of the tree with these imports added."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "library"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, target in planted.items():
        with (folder / "src" / "karez" / name).open("a") as file:
            file.write(f"\nimport {target} as _planted\n")
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-cache", "--no-logo"],
        cwd=folder,
        env={"PYTHONPATH": str(folder / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (not planted), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def of_layers(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _linted(tmp_path_factory.mktemp("layers"), PLANTED)


@pytest.fixture(scope="module")
def of_the_rest(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _linted(tmp_path_factory.mktemp("rest"), {name: target for name, (target, _) in NARROW.items()})


@pytest.mark.parametrize("name", PLANTED)
def test_an_import_that_goes_the_wrong_way_is_caught_in_every_layer(name: str, of_layers: str) -> None:
    module = "karez." + name.removesuffix(".py").replace("/", ".")
    assert re.search(rf"{re.escape(module)} -> {re.escape(PLANTED[name])}\b", of_layers), of_layers


@pytest.mark.parametrize("name", NARROW)
def test_each_narrower_contract_is_broken_by_what_it_forbids(name: str, of_the_rest: str) -> None:
    assert re.search(rf"{re.escape(NARROW[name][1])}.* BROKEN", of_the_rest), of_the_rest


def test_the_tree_itself_keeps_every_contract(tmp_path: Path) -> None:
    assert "0 broken" in _linted(tmp_path, {})


def test_no_lock_says_where_files_come_from() -> None:
    locks = [*ROOT.glob("*.lock"), *ROOT.glob("requirements*.txt"), *ROOT.glob("**/package-lock.json")]
    assert locks
    for lock in locks:
        assert "://" not in lock.read_text("utf-8"), lock


def test_every_table_of_the_library_has_a_source_and_a_confidence_in_each_row() -> None:
    from karez.twin.facts import library

    names = ("chips", "equipment", "latency", "models", "provinces_cn", "targets")
    for name in (*names, "autonomy_levels", "autonomy_tasks", "alarm_causes"):
        for row in library(name):
            assert row["confidence"] in ("S", "S2", "R", "C", "M", "D"), (name, row)
            assert row["source"], (name, row)


def test_the_figures_in_the_readme_are_those_of_the_results() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert table() in readme, "run: make bench (or python -m benchmarks --table)"


def test_every_operation_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    missing = [name for name in OPERATIONS if f"karez {name.replace('_', ' ')}" not in readme]
    assert missing == []
