"""What hours of finished jobs teach about works on chips, and that a day is planned by it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from karez.errors import InputError
from karez.measure import speeds
from karez.operations import LearnQuestion, PlaceQuestion, run
from karez.operations.learn import LearnAnswer
from karez.operations.networks import load
from karez.operations.place import PlaceAnswer
from karez.plan.day.ask import Ask
from karez.plan.day.pose import posed
from karez.twin import Table, Twin, store
from karez.twin.fold import Events
from karez.twin.states import initial_states
from karez.twin.table import Array, texts
from tests import compute
from tests.compute import Columns

# Moments that have been.
FIRST, SECOND = "2025-11-01T12:00:00+00:00", "2025-11-02"
AT_S = 1_790_000_000.0


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


def network(folder: Path, *, jobs: Columns | None = None, chips: Sequence[str] = ("X", "X", "X")) -> Path:
    """The small network; its jobs are batches on general data but for what columns say, or j1 alone."""
    twin = compute.small().intended
    columns: Columns = compute.job("general")
    if jobs:
        count = len(next(iter(jobs.values())))
        usual: Columns = {name: [value for value in values for _ in range(count)] for name, values in columns.items()}
        columns = usual | jobs
    servers = twin["servers"].set(np.arange(3), chip=texts(chips))
    twin = initial_states(Twin({**twin.tables, "jobs": Table.of("jobs", columns), "servers": servers}))
    store.save(twin, folder / "network", at_s=0.0, note="", source="tests", synthetic=True, seed=1)
    return folder / "network"


def learn(at: Path, *rows: tuple[str, str, float, str], dry_run: bool = False) -> LearnAnswer:
    file = at.parent / "finished.csv"
    lines = ["job,server,hours,finished_at", *(",".join(map(str, row)) for row in rows)]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    answer = run("learn", LearnQuestion(network=str(at), finished=str(file), dry_run=dry_run))
    assert isinstance(answer, LearnAnswer)
    return answer


def hours(at: Path) -> Array:
    """Hours that each job takes at speed 1, as a plan takes them, where all run at that everywhere."""
    world, _ = load(str(at))
    found = posed(world, Ask(AT_S))
    assert (found.rules.speed == 1.0).all()
    return np.asarray(found.program.jobs.hours[found.of])


def ran(at: Path) -> int:
    """How many jobs a day of the network runs."""
    answer = run("place", PlaceQuestion(network=str(at)))
    assert isinstance(answer, PlaceAnswer)
    return answer.running


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


def test_how_far_off_what_was_believed_was_is_told_whole() -> None:
    events = finished([0.01, 0.01], [1.0, 2.0])
    _, told = speeds.step(Table.of(speeds.TABLE), events, 1e9)
    assert told["off"].tolist() == pytest.approx([np.log(0.01), np.log(0.01) - np.log(1.0 / speeds.MOST_TIMES) / 2])


def test_names_with_the_sign_between_them_are_not_taken_for_others() -> None:
    events = finished([0.5, 2.0], [1.0, 2.0])
    events = {**events, "told": texts(["A", "A/B"]), "chip": texts(["B/C", "C"])}
    state, _ = speeds.step(Table.of(speeds.TABLE), events, 1e9)
    assert state["jobs"].tolist() == [1, 1]


def test_a_day_is_planned_by_what_was_learned(tmp_path: Path) -> None:
    """Hours that no chip is named for are those on the chip that does the work fastest: here there is one."""
    at = network(tmp_path)
    before = hours(at)
    answer = learn(at, ("j1", "p-west", 20.0, FIRST))
    assert (answer.jobs, answer.revision) == (1, 2)
    (told,) = answer.speeds
    assert (told.kind, told.model, told.chip, told.jobs_in_all) == ("batch", "small", "X", 1)
    assert told.times == pytest.approx(0.5**0.5)
    assert answer.off_by_estimate_share == answer.off_as_believed_share == pytest.approx(1.0)
    assert hours(at) == pytest.approx(before / 0.5**0.5)
    plan = run("place", PlaceQuestion(network=str(at)))
    assert "by what finished jobs taught" in plan.citation
    assert "0.71 times as fast as estimated" in answer.headline
    assert "(synthetic network)" in answer.headline


def test_a_job_that_is_learned_to_be_longer_than_the_day_runs_on_after_it(tmp_path: Path) -> None:
    at = network(tmp_path, jobs={"id": ["j1"], "hours": [20.0]})
    assert ran(at) == 1
    learn(at, ("j1", "p-west", 40.0, FIRST))
    assert ran(at) == 1


def test_hours_of_a_chain_are_cut_by_what_was_learned(tmp_path: Path) -> None:
    jobs: Columns = {"id": ["a", "b"], "hours": [10.0, 10.0], "after": ["", "a"], "kind": ["batch", "training"]}
    at = network(tmp_path, jobs=jobs)
    assert ran(at) == 2
    quick = (("b", "p-west", 2.5, f"2025-10-{day:02d}") for day in range(1, 31))
    learn(at, ("a", "p-west", 16.0, FIRST), *quick)
    assert ran(at) == 2


def test_what_is_learned_is_of_that_kind_of_work_alone(tmp_path: Path) -> None:
    at = network(tmp_path, jobs={"id": ["j1", "j2", "j3"], "kind": ["batch", "training", "batch"]})
    before = hours(at)
    learn(at, ("j1", "p-west", 20.0, FIRST))
    assert (before / hours(at)) == pytest.approx(np.array([0.5**0.5, 1.0, 0.5**0.5]))


def test_chips_are_learned_to_differ(tmp_path: Path) -> None:
    at = network(tmp_path, chips=["X", "X", "bare"])
    learn(at, ("j1", "p-west", 20.0, FIRST))
    world, _ = load(str(at))
    found = posed(world, Ask(AT_S))
    (speed,) = found.rules.speed
    assert speed == pytest.approx([1.0, 1.0, 0.5**0.5])


def test_a_file_given_again_teaches_only_what_is_new_and_says_so(tmp_path: Path) -> None:
    at = network(tmp_path)
    first = ("j1", "p-west", 20.0, FIRST)
    learn(at, first)
    again = learn(at, first)
    reason = "1 job ended no later than the last that was learned there"
    assert (again.jobs, again.revision, again.left_out) == (0, 0, (reason,))
    assert again.headline.startswith("Nothing learned; nothing written")
    more = learn(at, first, ("j1", "p-east", 20.0, SECOND))
    assert (more.jobs, more.speeds[0].jobs_in_all, more.revision) == (1, 2, 3)


def test_files_of_several_clusters_are_learned_each(tmp_path: Path) -> None:
    at = network(tmp_path, chips=["X", "X", "bare"])
    learn(at, ("j1", "p-west", 20.0, SECOND))
    assert learn(at, ("j1", "p-east", 20.0, FIRST)).jobs == 1


def test_jobs_that_left_the_network_are_left_out_and_counted(tmp_path: Path) -> None:
    at = network(tmp_path)
    answer = learn(at, ("gone", "p-west", 20.0, FIRST), ("j1", "gone", 20.0, FIRST), ("j1", "p-west", 20.0, FIRST))
    assert (answer.jobs, answer.left_out) == (1, ("2 jobs of jobs or servers that are not in the network",))


def test_a_chip_without_figures_says_nothing_of_hours_that_are_told_for_another(tmp_path: Path) -> None:
    at = network(tmp_path, jobs={"id": ["j1"], "chip": ["X"]}, chips=["X", "X", "bare"])
    answer = learn(at, ("j1", "p-west", 20.0, FIRST))
    assert (answer.jobs, answer.left_out) == (0, ("1 job of no hours or on chips without figures",))


def test_a_list_of_no_jobs_teaches_nothing(tmp_path: Path) -> None:
    assert learn(network(tmp_path)).headline.startswith("Nothing learned; nothing written")


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
        (("j1", "p-west", 0.0, FIRST), "line 2: hours are '0.0'"),
        (("j1", "p-west", 1e308, FIRST), "hours are '1e[+]308'; write a number from 0.001 to 1000000"),
        (("j1", "p-west", 1.0, "2999-01-01"), "finished_at is '2999-01-01', which is still to come"),
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
