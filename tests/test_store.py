from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from karez.errors import InputError
from karez.twin import Column, Table, Twin, store
from karez.twin.check import check
from karez.twin.store import FEW, Revision, os_problem
from tests.strategies import sound_twin, sound_twins, wild_twins

NOBODY = 65534


def save(twin: Twin, folder: Path, note: str = "") -> Revision:
    return store.save(twin, folder, at_s=12.5, note=note, source="test", synthetic=True, seed=7)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The operating system refuses to let a file grow beyond `size` bytes, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def without_permission(path: Path) -> Iterator[None]:
    """Nobody may use `path`: root, whom permissions do not bind, becomes another user meanwhile."""
    mode, user = path.stat().st_mode, os.geteuid()
    path.chmod(0)
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        path.chmod(mode)


@given(sound_twins() | wild_twins())
@settings(max_examples=40, deadline=None)
def test_what_was_saved_is_loaded_bit_for_bit(twin: Twin) -> None:
    with tempfile.TemporaryDirectory() as name:
        revision = save(twin, Path(name), "first")
        loaded, again = store.load(Path(name))
    assert loaded.digest == twin.digest == revision.digest
    assert again == revision
    for name, table in twin.tables.items():
        assert str(loaded[name].records()) == str(table.records())


def test_a_revision_says_where_it_comes_from_and_names_its_parent(tmp_path: Path) -> None:
    first = save(sound_twin(), tmp_path, "as generated")
    second = save(sound_twin(seed=1), tmp_path, "other seed")
    assert (first.number, first.parent, first.note) == (1, "", "as generated")
    assert (second.number, second.parent) == (2, first.digest)
    assert (second.at_s, second.source, second.synthetic, second.seed) == (12.5, "test", True, 7)
    assert store.revisions(tmp_path) == [first, second]
    assert store.load(tmp_path, 1)[0].digest == first.digest
    assert store.load(tmp_path)[1] == second


def test_revisions_share_the_files_of_tables_that_did_not_change(tmp_path: Path) -> None:
    twin = sound_twin()
    save(twin, tmp_path)
    before = content(tmp_path / "tables")
    save(twin.replace(twin["links"].set(np.array([0]), up=False)), tmp_path)
    after = content(tmp_path / "tables")
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()


def test_a_folder_without_revisions_has_none_and_cannot_be_loaded(tmp_path: Path) -> None:
    assert store.revisions(tmp_path) == []
    with pytest.raises(InputError, match="holds no revision; give the folder of a network"):
        store.load(tmp_path)


def test_a_revision_that_does_not_exist_is_named_with_those_that_do(tmp_path: Path) -> None:
    save(sound_twin(), tmp_path)
    with pytest.raises(InputError, match="holds no revision 9; choose one of: 1"):
        store.load(tmp_path, 9)


def test_every_damaged_file_is_named_at_once(tmp_path: Path) -> None:
    revision = save(sound_twin(links=2000), tmp_path)
    cut, flipped, gone = (tmp_path / revision.files[name].file for name in ("links", "sites", "metros"))
    cut.write_bytes(cut.read_bytes()[:1000])
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)
    gone.unlink()
    with pytest.raises(InputError) as caught:
        store.load(tmp_path)
    told = {problem.where: problem.what for problem in caught.value.problems}
    assert told.keys() == {str(cut), str(flipped), str(gone)}
    assert told[str(cut)] == "is cut off or was changed (1000 bytes)"
    assert told[str(gone)] == "no such file or directory"


def test_every_damaged_revision_is_named_at_once(tmp_path: Path) -> None:
    for seed in range(3):
        save(sound_twin(seed=seed), tmp_path)
    (tmp_path / "revisions" / "000001.json").write_text('{"number": 1')
    (tmp_path / "revisions" / "000003.json").write_text('{"number": "three"}')
    with pytest.raises(InputError) as caught:
        store.revisions(tmp_path)
    assert [Path(problem.where).name for problem in caught.value.problems] == ["000001.json", "000003.json"]


def test_a_revision_that_names_another_digest_than_its_files_have_is_refused(tmp_path: Path) -> None:
    save(sound_twin(), tmp_path)
    path = tmp_path / "revisions" / "000001.json"
    revision = msgspec.json.decode(path.read_bytes(), type=Revision)
    files = {name: entry for name, entry in revision.files.items() if name != "links"}
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(revision, files=files)))
    with pytest.raises(InputError, match="another content than its files hold"):
        store.load(tmp_path)


def test_a_table_saved_before_a_column_was_added_takes_the_value_that_the_schema_states(tmp_path: Path) -> None:
    twin = sound_twin()
    columns = {name: column for name, column in twin["stations"].columns.items() if name != "weight"}
    older = Twin()
    older.tables = {"stations": Table("stations", columns)}
    older._digest = "0" * 64
    save(older, tmp_path)
    path = tmp_path / "revisions" / "000001.json"
    revision = msgspec.json.decode(path.read_bytes(), type=Revision)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(revision, schema="of then")))
    assert store.load(tmp_path)[0]["stations"].digest == twin["stations"].digest


def test_columns_of_few_words_are_loaded_bit_for_bit_and_checked_as_they_were(tmp_path: Path) -> None:
    twin = sound_twin(stations=FEW + 1)
    stations = twin["stations"]
    rows = np.array([3, FEW // 2])
    metro = stations["metro"].copy()
    metro[rows[0]], metro[rows[1]] = b"", b"gone"
    twin = twin.replace(Table.of("stations", {name: stations[name] for name in stations.columns} | {"metro": metro}))
    save(twin, tmp_path)
    loaded = store.load(tmp_path)[0]
    problems = check(loaded)
    for name, column in twin["stations"].columns.items():
        assert loaded["stations"][name].tolist() == column.array.tolist()
        assert Column.of(loaded["stations"][name]).digest == column.digest
    assert problems == check(twin)
    assert {problem.where for problem in problems} == {"stations.metro"}


def test_a_file_whose_few_words_are_told_row_by_row_is_loaded_as_any_other(tmp_path: Path) -> None:
    twin = sound_twin(stations=FEW + 1)
    file = tmp_path / save(twin, tmp_path).files["stations"].file
    plain = pl.read_parquet(file).with_columns(pl.col("metro").cast(pl.String))
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    plain.write_parquet(file)
    after = hashlib.sha256(file.read_bytes()).hexdigest()
    path = tmp_path / "revisions" / "000001.json"
    path.write_text(path.read_text().replace(before, after))
    loaded = store.load(tmp_path)[0]
    assert before != after
    assert loaded["stations"]["metro"].tolist() == twin["stations"]["metro"].tolist()


def test_writers_at_the_same_time_make_one_sequence(tmp_path: Path) -> None:
    writers = [threading.Thread(target=save, args=(sound_twin(seed=seed), tmp_path)) for seed in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = store.revisions(tmp_path)
    assert [revision.number for revision in found] == list(range(1, 9))
    assert [revision.parent for revision in found[1:]] == [revision.digest for revision in found[:-1]]
    assert len({revision.digest for revision in found}) == 8


@pytest.mark.parametrize("size", [0, 100, 3000, 20_000])
def test_a_file_that_may_not_grow_leaves_the_folder_as_it_was(tmp_path: Path, size: int) -> None:
    save(sound_twin(), tmp_path)
    before = content(tmp_path)
    big = sound_twin(stations=5000, links=5000)
    with files_of_at_most(size), pytest.raises(InputError, match="choose a folder on another disk"):
        save(big, tmp_path)
    assert content(tmp_path) == before
    assert save(big, tmp_path).number == 2


def test_a_folder_that_could_not_be_filled_is_not_left_behind(tmp_path: Path) -> None:
    with files_of_at_most(0), pytest.raises(InputError):
        save(sound_twin(), tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []


FULL = """
from pathlib import Path
from karez.errors import InputError
from tests.test_store import content, save
from tests.strategies import sound_twin
folder = Path({folder!r})
save(sound_twin(), folder)
before = content(folder)
try:
    save(sound_twin(stations=20000, links=20000), folder)
except InputError as error:
    print(error)
assert content(folder) == before, "something was left behind"
"""


def test_a_full_disk_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=256k tmpfs {tmp_path}"
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode
    ):
        pytest.skip("a small disk can be mounted by root only")
    script = FULL.format(folder=str(tmp_path / "twin"))
    command = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$0" -c "$1"', sys.executable, script]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert ran.returncode == 0, ran.stderr
    assert "no space left on device; free some space" in ran.stdout


def test_a_folder_without_permission_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "twin"
    save(sound_twin(), folder)
    before = content(folder)
    with without_permission(folder):
        for attempt in (lambda: save(sound_twin(seed=1), folder), lambda: store.load(folder)):
            with pytest.raises(InputError, match="permission denied; ask for permission, or choose another folder"):
                attempt()
    assert content(folder) == before


def test_what_is_not_a_folder_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="give the path of a folder"):
        save(sound_twin(), file)
    with pytest.raises(InputError, match="give the path of a folder"):
        store.load(file)
    with pytest.raises(InputError, match="no such file or directory; check the path"):
        store.load(tmp_path / "nowhere")


@pytest.mark.parametrize("leftover", ["tables/.links-0123456789abcdef.parquet.tmp", "revisions/.000002.json.tmp"])
def test_what_a_killed_writer_left_does_not_disturb(tmp_path: Path, leftover: str) -> None:
    save(sound_twin(), tmp_path)
    (tmp_path / leftover).write_text("half")
    assert save(sound_twin(seed=1), tmp_path).number == 2
    assert len(store.revisions(tmp_path)) == 2


def test_a_file_on_its_way_is_not_named_but_where_it_should_go() -> None:
    lost = OSError(28, "No space left on device", "net/tables/.links-0123.parquet.tmp")
    assert os_problem(lost, Path("net")).where == "net"
    assert os_problem(OSError(2, "No such file or directory", "net/x"), Path("net")).where == "net/x"


@pytest.mark.parametrize("told", ["1e300", "-1", '"soon"'])
def test_a_revision_saved_at_no_time_is_no_revision(told: str, tmp_path: Path) -> None:
    save(Twin({}), tmp_path)
    path = tmp_path / "revisions" / "000001.json"
    path.write_text(path.read_text().replace("12.5", told))
    with pytest.raises(InputError, match="is not a revision"):
        store.revisions(tmp_path)
