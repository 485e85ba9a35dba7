"""What hours of finished jobs teach about works on chips, and that a day is planned by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from karez.errors import InputError
from karez.measure import speeds
from karez.operations import LearnQuestion, run
from karez.operations.learn import LearnAnswer
from karez.operations.networks import load
from karez.plan.day.ask import Ask
from karez.plan.day.pose import posed
from karez.twin import Table, Twin, store
from karez.twin.fold import Events
from karez.twin.states import initial_states
from karez.twin.table import Array, texts
from tests import compute
from tests.compute import Columns

FIRST = "2026-11-01T12:00:00+00:00"


def finished(times: list[float], at_s: list[float], chip: str = "X") -> Events:
    names = {"kind": "batch", "model": "small", "told": "", "chip": chip}
    return {
        "at_s": np.array(at_s),
        "times": np.array(times),
        **{name: texts([value] * len(times)) for name, value in names.items()},
    }


def believed(times: list[float]) -> float:
    events = finished(times, [float(at) for at in range(len(times))])
    state, _ = speeds.step(Table.of(speeds.TABLE), events, 1e9)
    return float(speeds.believed(state)[0])


def network(folder: Path, *, jobs: Columns | None = None) -> Path:
    """The small network; its jobs are batches on general data but for what columns say, or j1 alone."""
    twin = compute.small().intended
    columns: Columns = compute.job("general")
    if jobs:
        count = len(next(iter(jobs.values())))
        usual: Columns = {name: [value for value in values for _ in range(count)] for name, values in columns.items()}
        columns = usual | jobs
    twin = initial_states(Twin({**twin.tables, "jobs": Table.of("jobs", columns)}))
    store.save(twin, folder / "network", at_s=0.0, note="", source="tests", synthetic=True, seed=1)
    return folder / "network"


def learn(at: Path, *rows: tuple[str, str, float, str], dry_run: bool = False) -> LearnAnswer:
    file = at.parent / "finished.csv"
    lines = ["job,server,hours,finished_at", *(",".join(map(str, row)) for row in rows)]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    answer = run("learn", LearnQuestion(network=str(at), finished=str(file), dry_run=dry_run))
    assert isinstance(answer, LearnAnswer)
    return answer


def speed(at: Path) -> Array:
    """How fast each job (row) runs on each server of the network, as a plan takes it."""
    world, _ = load(str(at))
    found = posed(world, Ask(1_790_000_000.0))
    return np.asarray(found.rules.speed[found.keys.work[found.key_of[found.of]]])


def test_the_first_job_moves_what_is_believed_half_of_the_way_and_many_all_of_it() -> None:
    assert believed([0.5]) == pytest.approx(0.5**0.5)
    assert believed([0.5, 0.5]) == pytest.approx(0.5 ** (1.98 / 2.98))
    assert believed([0.5] * 400) == pytest.approx(0.5, rel=0.02)


def test_what_is_newer_counts_more_and_one_job_that_went_wrong_is_not_all_that_counts() -> None:
    assert believed([0.5] * 100 + [2.0] * 100) > 1.3
    assert believed([0.001]) == believed([1.0 / speeds.MOST_TIMES])


def test_beneath_noise_it_finds_what_it_was_made_with(turning_seed: int) -> None:
    random = np.random.default_rng(turning_seed)
    noisy = (1.7 * np.exp(random.normal(0.0, 0.2, 300))).tolist()
    # Fifty jobs count, so the mean is off by 0.2 / 7 in one of three draws; six times that is none of a million.
    assert believed(noisy) == pytest.approx(1.7, rel=0.17)


def test_a_day_is_planned_by_what_was_learned(tmp_path: Path) -> None:
    at = network(tmp_path)
    before = speed(at)
    answer = learn(at, ("j1", "p-west", 20.0, FIRST))
    assert (answer.jobs, answer.revision) == (1, 2)
    (told,) = answer.speeds
    assert (told.kind, told.model, told.chip, told.jobs_in_all) == ("batch", "small", "X", 1)
    assert told.times == pytest.approx(0.5**0.5)
    assert answer.off_by_estimate_share == pytest.approx(1.0)
    assert speed(at) == pytest.approx(before * 0.5**0.5)
    assert "0.71 times as fast as estimated" in answer.headline
    assert "(synthetic network)" in answer.headline


def test_what_is_learned_is_of_that_kind_of_work_alone(tmp_path: Path) -> None:
    at = network(tmp_path, jobs={"id": ["j1", "j2", "j3"], "kind": ["batch", "training", "batch"]})
    before = speed(at)
    learn(at, ("j1", "p-west", 20.0, FIRST))
    assert (speed(at) / before).tolist() == pytest.approx(np.repeat([[0.5**0.5], [1.0], [0.5**0.5]], 3, axis=1))


def test_a_file_given_again_teaches_only_what_is_new_and_says_so(tmp_path: Path) -> None:
    at = network(tmp_path)
    first = ("j1", "p-west", 20.0, FIRST)
    learn(at, first)
    again = learn(at, first)
    assert (again.jobs, again.revision, again.left_out) == (0, 0, ("1 job learned before",))
    assert again.headline.startswith("Nothing learned; nothing written")
    more = learn(at, first, ("j1", "p-east", 20.0, "2026-11-02"))
    assert (more.jobs, more.speeds[0].jobs_in_all, more.revision) == (1, 2, 3)


def test_whoever_only_looks_writes_nothing(tmp_path: Path) -> None:
    at = network(tmp_path)
    answer = learn(at, ("j1", "p-west", 20.0, FIRST), dry_run=True)
    assert (answer.jobs, answer.revision) == (1, 0)
    assert load(str(at))[1].number == 1


def test_hours_of_online_work_teach_nothing(tmp_path: Path) -> None:
    answer = learn(network(tmp_path, jobs={"id": ["j1"], "kind": ["online"]}), ("j1", "p-west", 20.0, FIRST))
    assert answer.left_out == ("1 job online",)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("nobody", "p-west", 1.0, FIRST), "line 2: there is no job 'nobody'"),
        (("j1", "nowhere", 1.0, FIRST), "line 2: there is no server 'nowhere'"),
        (("j1", "p-west", 0.0, FIRST), "hours are '0.0'"),
        (("j1", "p-west", "long", FIRST), "hours are 'long'"),
        (("j1", "p-west", 1.0, "yesterday"), "finished_at is 'yesterday', no moment"),
        (("j1", "p-west", 1.0, ""), "finished_at is '', no moment"),
    ],
)
def test_rows_that_make_no_sense_are_named(tmp_path: Path, row: tuple[str, str, float, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        learn(network(tmp_path), row)


def test_a_file_without_the_columns_names_them(tmp_path: Path) -> None:
    at, file = network(tmp_path), tmp_path / "other.csv"
    file.write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(InputError, match="has no column job, server, hours, finished_at"):
        run("learn", LearnQuestion(network=str(at), finished=str(file)))
