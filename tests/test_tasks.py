"""Jobs out of tasks in YAML: what each word becomes, what is refused with which words, and that they are placed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from karez.errors import InputError
from karez.importers.generate import nation
from karez.importers.tasks import read
from karez.operations import PlaceQuestion, SubmitQuestion, run
from karez.twin import Twin, store
from karez.units import S_PER_H

SHANGHAI = "gn1796236"
WHOLE = """
name: translate
resources:
  accelerators: {H20: 8}
  use_spot: true
num_nodes: 2
setup: pip install something
run: |
  python translate.py
karez:
  kind: training
  model: Qwen2.5 72B
  metro: Shanghai
  dataset: general
  purpose: training
  hours: 3
  opens_at: 2026-01-01T00:00+08:00
  closes_at: 2026-01-01T08:00+08:00
  oneway_ms: 20
  unserved_cny: 5000
  sites: 2
  after: [batch, train-important]
"""
SERVICE = """
name: chat
resources: {accelerators: H200:4}
service:
  replicas: 6
  readiness_probe: /health
karez: {model: Qwen2.5 7B, metro: gn1796236, dataset: personal, token_ms: 50, load: office, gb_per_chip_h: 2.5}
"""
SHORT = """name: {name}
resources: {{accelerators: H20}}
karez: {{model: Qwen2.5 7B, metro: {metro}, dataset: general, hours: 1}}
"""


@cache
def network() -> Twin:
    return nation(stations=20_000, sites=60, seed=1)


def short(name: str) -> str:
    return SHORT.format(name=name, metro=SHANGHAI)


def test_a_task_says_all_that_a_job_may_be() -> None:
    found = read(WHOLE, network(), "t.yaml")
    begins_s = 1_767_196_800.0
    assert found.rows == (
        {
            "kind": "training",
            "id": "translate",
            "chip": "H20",
            "chips": 16,
            "model": "Qwen2.5 72B",
            "metro": SHANGHAI,
            "dataset": "general",
            "purpose": "training",
            "hours": 3.0,
            "opens_at_s": begins_s,
            "closes_at_s": begins_s + 8 * S_PER_H,
            "oneway_us": 20_000.0,
            "unserved_cny": 5_000.0,
            "sites": 2,
            "after": "batch train-important",
        },
    )
    assert found.left_alone == ("resources.use_spot", "run", "setup")


def test_a_service_is_online_all_day_and_each_replica_a_job() -> None:
    (row,) = read(SERVICE, network(), "t.yaml").rows
    assert (row["kind"], row["number"], row["chips"], row["hours"]) == ("online", 6, 4, 24.0)
    assert (row["chip"], row["token_ms"], row["load"], row["gb_per_chip_h"]) == ("H200 SXM", 50.0, "office", 2.5)
    window = SERVICE.replace("load: office", "opens_at: 2026-01-01, closes_at: 2026-01-01T06:00")
    assert read(window, network(), "t.yaml").rows[0]["hours"] == 6.0


def test_tasks_wait_for_the_one_before_unless_they_are_said_to_run_apart() -> None:
    several = "\n---\n".join(map(short, ("one", "two", "three")))
    for head in ("", "name: chain\n---\n", "name: chain\nexecution: serial\n---\n"):
        found = read(head + several, network(), "t.yaml").rows
        assert [(row["id"], row.get("after", "")) for row in found] == [("one", ""), ("two", "one"), ("three", "two")]
    apart = read(f"name: group\nexecution: parallel\n---\n{several}", network(), "t.yaml").rows
    assert [row.get("after", "") for row in apart] == ["", "", ""]
    with pytest.raises(InputError, match="write serial or parallel"):
        read(f"name: group\nexecution: odd\n---\n{several}", network(), "t.yaml")


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("name: one", "", "name: is missing"),
        ("name: one", "name: one two", "with a space"),
        ("name: one", "name: 7.5", "is no word"),
        ("accelerators: H20", "accelerators: H21", "write H20"),
        ("accelerators: H20", "accelerators: A100", "of which there are several; write A100 40G SXM or A100 80G SXM"),
        ("accelerators: H20", "accelerators: [H20, H100]", "names several chips"),
        ("accelerators: H20", "accelerators: H20:none", "no whole number from 1 on"),
        ("accelerators: H20", "accelerators: 8", "write NAME:COUNT"),
        ("accelerators: H20", "", "write NAME:COUNT"),
        ("accelerators: H20", "accelerators: H20, region: cn-north", "resources.region: is not known"),
        ("resources", "resource", "write resources"),
        ("name: one", "name: one\nnum_nodes: 0", "num_nodes: is no whole number from 1 on"),
        ("name: one", "name: one\nnum_nodes: true", "num_nodes: is no whole number from 1 on"),
        ("hours: 1", "hours: -1", "karez.hours: is no number from 0 on"),
        ("hours: 1", "hours: .inf", "karez.hours: is no number from 0 on"),
        ("hours: 1", "kind: batch", "karez.hours: is missing"),
        ("hours: 1", "hours: 1, kind: serving", "write training, batch or online"),
        ("hours: 1", "hours: 1, closes_at: tomorrow", "no moment"),
        ("hours: 1", "hours: 1, closes_at: 12", "no moment"),
        ("hours: 1", "hours: 1, deadline: 3", "karez.deadline: is not known"),
        (f"metro: {SHANGHAI}", "metro: Shanghia", "no metropolis of the network; write its id, or "),
        ("dataset: general, ", "", "karez.dataset: is missing"),
        ("name: one", "name: one\nservice: {}\n", "kind"),
        ("name: one", "name:", "name: is missing"),
        ("name: one", "name: one\nname: two", "name is told twice"),
        ("name: one", 'name: "\\ud800"', "has half a character"),
        ("hours: 1", "hours: 1:30", "karez.hours: is no number from 0 on"),
        ("hours: 1", f"hours: {'9' * 400}", "karez.hours: is no number from 0 on"),
        ("name: one", "name: one\nnum_nodes: 010", "num_nodes: is no whole number from 1 on"),
        ("name: one", "name: one\nservice: {replicas: 2}", "karez.number: is told beside"),
        ("accelerators: H20", "accelerators: L40:8", "which the network does not know"),
        ("accelerators: H20", f"accelerators: H20:{'9' * 5_000}", "no whole number from 1 on"),
        ("accelerators: H20", "accelerators: &a [*a]", "write NAME:COUNT"),
        ("name: one", "[" * 5_000, "nested too deeply"),
        ("name: one", "- one", "is no YAML"),
        ("name: one", "name: [", "is no YAML"),
    ],
)
def test_what_is_wrong_with_a_task_is_said_with_what_belongs_there(was: str, becomes: str, said: str) -> None:
    data = short("one").replace(was, becomes, 1)
    if "number" in said and "beside" in said:
        data = data.replace("hours: 1", "hours: 1, number: 2")
    if said == "kind":
        data = data.replace("hours: 1", "kind: batch, hours: 1")
    with pytest.raises(InputError, match=r"t\.yaml") as told:
        read(data, network(), "t.yaml")
    assert said in str(told.value)


@pytest.mark.parametrize("data", ["", "---\n", "one", "[1, 2]", "1: {}"])
def test_a_file_without_a_task_is_refused(data: str) -> None:
    with pytest.raises(InputError, match=r"t\.yaml"):
        read(data, network(), "t.yaml")


@pytest.fixture
def kept(tmp_path: Path) -> str:
    folder = tmp_path / "network"
    store.save(network(), folder, at_s=0.0, note="", source="test", synthetic=True)
    return str(folder)


def _submitted(kept: str, data: str, tmp_path: Path, **more: bool) -> object:
    file = tmp_path / "tasks.yaml"
    file.write_text(data, "utf-8")
    return run("submit", SubmitQuestion(network=kept, tasks=str(file), **more))


def test_submitted_jobs_are_in_a_new_revision_and_placed(kept: str, tmp_path: Path) -> None:
    several = f"{short('one')}\n---\n{short('two')}"
    dry = _submitted(kept, several, tmp_path, dry_run=True)
    assert "nothing written" in dry.headline  # type: ignore[attr-defined]
    assert len(store.revisions(Path(kept))) == 1
    answer = _submitted(kept, several, tmp_path)
    assert answer.headline == "2 jobs in 2 tasks submitted; kept as revision 2 (synthetic network)"  # type: ignore[attr-defined]
    placed = run("place", PlaceQuestion(network=kept)).placed  # type: ignore[attr-defined]
    hours = {one.job: (one.start, one.hours) for one in placed}
    assert {"one", "two"} <= hours.keys()
    assert hours["one"] < hours["two"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (short("batch"), "are there already"),
        (f"{short('one')}\n---\n{short('one')}", "the same name"),
        (short("one").replace("hours: 1", "hours: 1, after: nobody"), "are not there"),
        (short("one").replace("hours: 1", "hours: 1, after: online"), "is of an online job"),
        (short("one").replace("hours: 1", "hours: 1, after: one"), "in a circle"),
        (short("one").replace("hours: 1", "hours: 1, opens_at: 2026-01-02, closes_at: 2026-01-02"), "is not after"),
        (short("one").replace("hours: 1", "hours: 1, load: office"), "that is not online"),
        (short("one").replace("Qwen2.5 7B", "Qwen9"), "jobs.model"),
        (short("one").replace("hours: 1", "hours: 1, sites: 3"), "jobs.sites"),
    ],
)
def test_tasks_that_make_no_sense_there_leave_the_network_as_it_was(
    kept: str, tmp_path: Path, data: str, said: str
) -> None:
    with pytest.raises(InputError, match=r"tasks\.yaml") as told:
        _submitted(kept, data, tmp_path)
    assert said in str(told.value)
    assert len(store.revisions(Path(kept))) == 1


def test_a_file_that_cannot_be_read_is_named(kept: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        run("submit", SubmitQuestion(network=kept, tasks=str(tmp_path / "nowhere.yaml")))
    (tmp_path / "odd.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        run("submit", SubmitQuestion(network=kept, tasks=str(tmp_path / "odd.yaml")))
