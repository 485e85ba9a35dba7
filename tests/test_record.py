"""The record: chained, durable, refused when altered; in a file or in a database, whole or in segments."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError
from karez.record import verify
from karez.record.log import Entry, Reader, Record, copy, last_snapshot, read
from karez.record.seal import RETENTION_S, expired, forget, seal
from karez.record.shared import Shared

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
# A server refuses to run as root.
NOBODY = "nobody" if os.geteuid() == 0 else None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run.record"
    with Record(path) as record:
        for index in range(20):
            record.append("turn", float(index), b"body %d" % index)
    return path


class Server:
    """A database server that is this test run's own, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        initdb = [str(SERVERS[-1]), "-D", str(folder / "data"), "-A", "trust", "-U", "karez", "--no-sync"]
        subprocess.run(initdb, user=NOBODY, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    def address(self, schema: str) -> str:
        # A schema is a record's own like a database, and costs less to make.
        return f"postgresql://karez:secret@/postgres?host={self.folder}&options=-csearch_path%3D{schema}"

    def start(self) -> None:
        postgres = [str(SERVERS[-1].with_name("postgres")), "-D", str(self.folder / "data"), "-k", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*postgres, "-h", ""], user=NOBODY, cwd=self.folder, stderr=log)
        for _ in range(600):
            try:
                psycopg.connect(self.address("public")).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError((self.folder / "log").read_text())

    def die(self) -> None:
        """Stop at once, with no word to anyone; what is in memory alone is gone."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if not SERVERS:
        pytest.skip("PostgreSQL is not installed; make system does it")
    folder = Path(tempfile.mkdtemp())
    try:
        if NOBODY is not None:
            shutil.chown(folder, NOBODY)
        server = Server(folder)
        server.start()
        yield server
        server.die()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def database(server: Server, request: pytest.FixtureRequest) -> str:
    """The address of an empty part of a database."""
    name = f"t{abs(hash(request.node.nodeid))}"
    with psycopg.connect(server.address("public"), autocommit=True) as base:
        base.execute(f"CREATE SCHEMA {name}".encode())
    return server.address(name)


@pytest.fixture(params=["file", "database"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a record may lie: a file, and a database."""
    return str(tmp_path / "r") if request.param == "file" else str(request.getfixturevalue("database"))


def _alter(path: Path, statement: str) -> None:
    base = sqlite3.connect(path)
    base.execute(statement)
    base.commit()
    base.close()


def test_what_was_appended_is_read_again_in_order(path: Path) -> None:
    events = list(read(path))
    assert [event.seq for event in events] == list(range(20))
    assert events[7].body == b"body 7"


def test_the_verifier_that_shares_no_code_agrees_on_the_last_hash(path: Path) -> None:
    assert verify.verify(path) == (20, list(read(path))[-1].hash.hex())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET body = x'6162' WHERE seq = 5",
        "UPDATE events SET at_s = 99 WHERE seq = 5",
        "UPDATE events SET kind = 'start' WHERE seq = 5",
        "DELETE FROM events WHERE seq = 5",
    ],
)
def test_a_record_that_was_altered_is_found_out_at_the_event(path: Path, statement: str) -> None:
    _alter(path, statement)
    with pytest.raises(ValueError, match="event 5"):
        verify.verify(path)


def test_the_verifier_runs_alone_as_a_script(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "verify.py"
    script.write_bytes(Path(verify.__file__).read_bytes())
    done = subprocess.run([sys.executable, "-I", script, path], capture_output=True, text=True, check=False)
    assert done.stdout.split()[0] == "20"
    _alter(path, "DELETE FROM events WHERE seq = 0")
    done = subprocess.run([sys.executable, "-I", script, path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "event 0 is missing" in done.stderr


def test_a_receipt_stands_for_an_event_in_the_record_and_for_nothing_else(tmp_path: Path) -> None:
    with Record(tmp_path / "r") as record:
        receipt = record.append("turn", 0.0, b"x")
        other = record.append("turn", 0.0, b"y")
        assert record.body(receipt) == b"x"
        for wrong in (bytes(32), bytes(40), b"", receipt[:32] + other[32:], receipt[:32] + b"\xff" * 8):
            assert record.body(wrong) is None


def test_a_record_is_never_written_over(path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        Record(path)


def test_a_record_in_a_folder_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        Record(tmp_path / "none" / "r")


def test_a_file_that_is_no_record_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("hello " * 100)
    with pytest.raises(InputError, match="is no record"):
        list(read(tmp_path / "r"))
    with pytest.raises(InputError, match="there is no such record"):
        list(read(tmp_path / "none"))


def test_an_event_survives_a_kill_right_after_its_receipt(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from karez.record.log import Record\n"
        "record = Record(Path(sys.argv[1]))\n"
        "print(record.append('turn', 1.0, b'kept').hex(), flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "r"], capture_output=True, text=True, check=False)
    assert done.returncode == -9
    assert verify.verify(tmp_path / "r", holds=done.stdout.strip()) == (1, done.stdout.strip()[:64])


# One interface, two back ends


def test_events_that_share_a_commit_are_chained_as_if_each_had_its_own(where: str, tmp_path: Path) -> None:
    entries = [("turn", float(index), b"body %d" % index) for index in range(50)]
    with Record(tmp_path / "one by one") as record:
        alone = [record.append(*entry) for entry in entries]
    with Record.open(where) as record:
        assert [*record.append_all(entries[:20]), *record.append_all([]), *record.append_all(entries[20:])] == alone
        assert [record.body(receipt) for receipt in alone] == [body for _, _, body in entries]
    assert list(read(where)) == list(read(tmp_path / "one by one"))


def test_a_record_is_gone_on_with_where_it_ended(where: str) -> None:
    with Record.open(where) as record:
        record.append("turn", 0.0, b"a")
    with pytest.raises(InputError, match="exists already"):
        Record.open(where)
    with Record.open(where, resume=True) as record:
        receipt = record.append("turn", 1.0, b"b")
        assert record.body(receipt) == b"b"
    assert [event.seq for event in read(where)] == [0, 1]
    assert [event.seq for event in read(where, 1)] == [1]


def test_a_record_that_is_not_there_is_not_gone_on_with(where: str) -> None:
    for act in (lambda: Record.open(where, resume=True), lambda: Reader(where)):
        with pytest.raises(InputError, match="there is no such record"):
            act()
    assert not Path(where).exists()


def test_a_second_writer_is_refused_once_the_other_has_gone_on_and_nothing_is_lost(where: str) -> None:
    with Record.open(where) as first:
        first.append("turn", 0.0, b"first")
        with Record.open(where, resume=True) as second:
            second.append("turn", 1.0, b"second")
            for _ in range(2):
                with pytest.raises(InputError, match="another writer has gone on with this record"):
                    first.append_all([("turn", 2.0, b"stale"), ("turn", 2.0, b"stale")])
            second.append("turn", 3.0, b"third")
    assert [event.body for event in read(where)] == [b"first", b"second", b"third"]


def test_readers_see_what_was_acknowledged_while_the_writer_is_open_and_cannot_write(where: str) -> None:
    with Record.open(where) as record:
        record.append("turn", 0.0, b"a")
        with Reader(where) as reader:
            for index in range(30):
                receipt = record.append("turn", 1.0, b"%d" % index)
                assert reader.body(receipt) == b"%d" % index
            assert reader.body(bytes(40)) is None
            with pytest.raises(InputError):
                reader.store.drop(10)
            half = reader.events()
            assert next(half).body == b"a"
            record.append("turn", 2.0, b"last")
            assert len(list(half)) == 31


def test_the_newest_snapshot_is_found_and_what_came_after_it_is_read_alone(where: str) -> None:
    with Record.open(where) as record:
        record.append("turn", 0.0, b"a")
        assert last_snapshot(where) is None
        record.snapshot(1.0, b"old")
        record.append("turn", 2.0, b"b")
        receipt = record.snapshot(3.0, b"state")
        record.append("turn", 4.0, b"c")
    event = last_snapshot(where)
    assert event is not None
    assert (event.body, event.receipt) == (b"state", receipt)
    assert [later.body for later in read(where, event.seq + 1)] == [b"c"]


def test_a_clock_that_jumps_back_neither_stops_the_record_nor_changes_its_order(where: str, tmp_path: Path) -> None:
    times_s = [1e9, 1e9 + 1, 5.0, -3.0, 1e9 + 2]
    with Record.open(where) as record:
        for at_s in times_s:
            record.append("turn", at_s, b"")
        copy(record.store, tmp_path / "copy")
    with Record.open(where, resume=True) as record:
        record.append("turn", 0.0, b"")
    assert [event.at_s for event in read(where)] == [*times_s, 0.0]
    assert verify.verify(tmp_path / "copy")[0] == 5


@pytest.mark.parametrize(("kind", "at_s"), [("turn", math.nan), ("turn", math.inf), ("tu\0rn", 0.0)])
def test_what_the_chain_cannot_bind_is_refused_whole(where: str, kind: str, at_s: float) -> None:
    with Record.open(where) as record:
        with pytest.raises(InputError, match="cannot hold"):
            record.append_all([("turn", 0.0, b"good"), (kind, at_s, b"bad")])
        record.append("turn", 0.0, b"after")
    assert [event.body for event in read(where)] == [b"after"]


def test_threads_that_wait_at_the_same_time_each_get_the_receipt_of_their_own_event(where: str) -> None:
    got: dict[bytes, bytes] = {}
    failed: list[str] = []

    def work(shared: Shared, name: int) -> None:
        for index in range(20):
            body = b"%d/%d" % (name, index)
            got[shared.append("turn", 0.0, body)] = body
        try:
            shared.append("turn", math.nan, b"")
        except InputError as error:
            failed.append(str(error))

    with Record.open(where) as record:
        shared = Shared(record)
        threads = [threading.Thread(target=work, args=(shared, name)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    events = list(read(where))
    assert {event.receipt: event.body for event in events} == got
    assert len(got) == 160
    assert len(failed) == 8
    for name in range(8):
        own = [event.body for event in events if event.body.startswith(b"%d/" % name)]
        assert own == [b"%d/%d" % (name, index) for index in range(20)]


def test_who_waits_for_a_thread_that_is_stopped_is_told_and_takes_nothing_for_done(tmp_path: Path) -> None:
    entered, told = threading.Event(), list[str]()

    class Stopped(Record):
        def append_all(self, entries: Iterable[Entry]) -> list[bytes]:
            entered.set()
            while len(shared._waiting) < 3 and not told:
                time.sleep(0.001)
            raise KeyboardInterrupt

    def work() -> None:
        try:
            shared.append("turn", 0.0, b"")
        except (InputError, KeyboardInterrupt) as error:
            told.append(type(error).__name__)

    with Stopped(tmp_path / "r") as record:
        shared = Shared(record)
        threads = [threading.Thread(target=work) for _ in range(4)]
        threads[0].start()
        entered.wait()
        for thread in threads[1:]:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(told) == ["InputError", "InputError", "KeyboardInterrupt", "KeyboardInterrupt"]


# PostgreSQL


def test_a_copy_of_a_database_is_verified_by_the_code_that_stands_alone(database: str, tmp_path: Path) -> None:
    with Record.open(database) as record:
        record.append_all(("turn", float(index), b"%d" % index) for index in range(600))
        head = record.head
    with Reader(database) as reader:
        copy(reader.store, tmp_path / "copy")
    assert verify.verify(tmp_path / "copy") == (600, head.hex())


def test_a_database_that_was_altered_cannot_be_copied(database: str, tmp_path: Path) -> None:
    with Record.open(database) as record:
        record.append_all(("turn", float(index), b"%d" % index) for index in range(6))
    with psycopg.connect(database) as base:
        base.execute("UPDATE events SET body = 'x' WHERE seq = 4")
    with Reader(database) as reader, pytest.raises(InputError, match="event 4 was altered"):
        copy(reader.store, tmp_path / "copy")


def test_a_server_that_dies_keeps_what_it_acknowledged_and_is_gone_on_with(server: Server, database: str) -> None:
    with Record.open(database) as record:
        receipts = [record.append("turn", 0.0, b"%d" % index) for index in range(20)]
        server.die()
        with pytest.raises(InputError, match="open the record again, which shows whether the last one was kept"):
            record.append("turn", 0.0, b"never")
        with pytest.raises(InputError, match="cannot be reached") as caught:
            Record.open(database, resume=True)
        assert "secret" not in str(caught.value)
    server.start()
    with Record.open(database, resume=True) as record:
        assert [record.body(receipt) for receipt in receipts] == [b"%d" % index for index in range(20)]
        record.append("turn", 0.0, b"after")


def test_a_database_with_another_table_of_that_name_is_no_record(database: str) -> None:
    with psycopg.connect(database) as base:
        base.execute("CREATE TABLE events (what TEXT)")
    with pytest.raises(InputError, match="is no record"):
        Record.open(database, resume=True)


def test_a_server_that_does_not_sync_is_refused(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as base:
        for value, refused in ((b"off", True), (b"on", False)):
            base.execute(b"ALTER SYSTEM SET fsync = " + value)
            base.execute("SELECT pg_reload_conf()")
            while base.execute("SHOW fsync").fetchone() != (value.decode(),):
                time.sleep(0.01)
            if refused:
                with pytest.raises(InputError, match="fsync is off"):
                    Record.open(database)
    Record.open(database).store.close()


# Damage


def test_a_reader_that_was_open_sees_all_after_the_writer_was_killed_and_another_goes_on(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from karez.record.log import Record\n"
        "record = Record(Path(sys.argv[1]))\n"
        "print(record.append('turn', 1.0, b'kept').hex(), flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path / "r"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        receipt = bytes.fromhex(child.stdout.readline())
        with Reader(tmp_path / "r") as reader:
            assert reader.body(receipt) == b"kept"
            child.send_signal(signal.SIGKILL)
            child.wait()
            assert reader.body(receipt) == b"kept"
            assert (tmp_path / "r-wal").stat().st_size > 0
            with Record(tmp_path / "r", resume=True) as record:
                assert reader.body(record.append("turn", 2.0, b"next")) == b"next"
    assert [event.body for event in read(tmp_path / "r")] == [b"kept", b"next"]


def test_a_loop_that_died_before_its_first_event_left_a_record_that_can_be_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "r").touch()
    with Record(tmp_path / "r", resume=True) as record:
        record.append("turn", 0.0, b"a")
    assert verify.verify(tmp_path / "r")[0] == 1


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a record of 200 events."""
    path = tmp_path_factory.mktemp("long") / "r"
    with Record(path) as record:
        record.append_all(("turn", 0.0, bytes(700)) for _ in range(200))
    return path.read_bytes()


@settings(deadline=None)
@given(share=st.floats(0.05, 0.95))
def test_a_record_that_was_cut_off_says_so(long: bytes, share: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r"
        path.write_bytes(long[: int(len(long) * share)])
        with pytest.raises(ValueError, match="damaged"):
            verify.verify(path)
        with pytest.raises(InputError, match=r"verify\.py on it"):
            list(read(path))


@settings(deadline=None)
@given(place=st.floats(0.0, 0.999), value=st.integers(0, 255))
def test_a_byte_that_was_changed_is_found_out_or_changes_nothing(long: bytes, place: float, value: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, changed = Path(folder) / "r", bytearray(long)
        changed[int(len(long) * place)] = value
        path.write_bytes(long)
        whole, events = verify.verify(path), list(read(path))
        path.write_bytes(changed)
        try:
            same = verify.verify(path) == whole
        except ValueError:
            return
        assert same
        assert list(read(path)) == events


def test_a_record_whose_end_was_altered_is_not_gone_on_with(path: Path) -> None:
    _alter(path, "UPDATE events SET body = x'6162' WHERE seq = 19")
    with pytest.raises(InputError, match="event 19 was altered"):
        Record(path, resume=True)


def test_newest_events_that_were_cut_off_are_missed_by_who_holds_a_receipt(path: Path) -> None:
    last = list(read(path))[-1]
    assert verify.verify(path, holds=last.receipt.hex()) == verify.verify(path)
    _alter(path, "DELETE FROM events WHERE seq = 19")
    assert verify.verify(path)[0] == 19
    with pytest.raises(ValueError, match="newer events were cut off"):
        verify.verify(path, holds=last.receipt.hex())


def test_a_kind_that_was_made_to_swallow_the_body_is_found_out(tmp_path: Path) -> None:
    with Record(tmp_path / "r") as record:
        record.append("turn", 0.0, b"a\0b")
    _alter(tmp_path / "r", "UPDATE events SET kind = 'turn' || char(0) || 'a', body = x'62'")
    with pytest.raises(ValueError, match="event 0 was altered"):
        verify.verify(tmp_path / "r")


# Segments


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """The folder of two closed files; the record that goes on after them is beside it."""
    folder = tmp_path / "sealed"
    with Record(tmp_path / "r") as record:
        for part in range(3):
            record.append_all(("turn", 1_000.0 * part + index, b"%d" % index) for index in range(10))
            if part < 2:
                seal(record, folder, 1_000.0 * part + 10.0, state=b"state %d" % part)
    return folder


def test_segments_are_one_chain_together_and_each_alone_from_where_it_says_it_begins(sealed: Path) -> None:
    live, closed = sealed.parent / "r", sorted(sealed.iterdir())
    assert [path.name for path in closed] == ["000000000000.record", "000000000010.record"]
    assert verify.verify(sealed, live)[0] == 34
    parts = [verify.examine(path) for path in [*closed, live]]
    assert [(part.first, part.events) for part in parts] == [(0, 10), (10, 12), (22, 12)]
    assert [part.before for part in parts[1:]] == [part.last for part in parts[:2]]
    snapshot = last_snapshot(live)
    assert snapshot is not None
    assert (snapshot.seq, snapshot.body) == (23, b"state 1")


def test_a_record_in_segments_is_gone_on_with(sealed: Path) -> None:
    with Record(sealed.parent / "r", resume=True) as record:
        record.append("turn", 0.0, b"after")
    assert verify.verify(sealed, sealed.parent / "r")[0] == 35


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE events SET body = x'6162' WHERE seq = 15", "event 15 was altered"),
        ("DELETE FROM events WHERE seq = 21", "event 21 is missing"),
        ("DELETE FROM events WHERE seq = 10", "event 10 is missing"),
        ("UPDATE events SET body = x'7b7d' WHERE seq = 10", "event 10 was altered"),
    ],
)
def test_a_segment_that_was_altered_is_found_out(sealed: Path, statement: str, message: str) -> None:
    _alter(sealed / "000000000010.record", statement)
    with pytest.raises(ValueError, match=message):
        verify.verify(sealed, sealed.parent / "r")


def test_a_segment_in_the_middle_that_is_gone_is_missed(sealed: Path) -> None:
    (sealed / "000000000010.record").unlink()
    with pytest.raises(ValueError, match="event 10 is missing"):
        verify.verify(sealed, sealed.parent / "r")


def test_the_script_says_where_a_segment_begins(sealed: Path) -> None:
    words = [sys.executable, "-I", verify.__file__, str(sealed / "000000000010.record")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("12 ")
    assert f"from event 10 on, after {verify.verify(sealed / '000000000000.record')[1]}" in done.stdout


def test_a_seal_that_was_cut_off_is_told_and_the_next_one_finishes_it(tmp_path: Path) -> None:
    folder = tmp_path / "sealed"
    with Record(tmp_path / "r") as record:
        record.append_all(("turn", 0.0, b"%d" % index) for index in range(10))
        record.append("segment", 0.0, b'{"before": "%s"}' % record.head.hex().encode())
        folder.mkdir()
        copy(record.store, folder / "000000000000.record", before=7)
    with pytest.raises(ValueError, match="event 0 is there twice"):
        verify.verify(folder, tmp_path / "r")
    with Record(tmp_path / "r", resume=True) as record:
        seal(record, folder, 1.0)
    assert verify.verify(folder, tmp_path / "r")[0] == 12
    assert [event.seq for event in read(tmp_path / "r")] == [11]


def test_an_empty_record_is_not_sealed(tmp_path: Path) -> None:
    with Record(tmp_path / "r") as record:
        assert seal(record, tmp_path / "sealed", 0.0) is None


def test_what_has_expired_is_deleted_and_the_rest_still_verifies(sealed: Path) -> None:
    live, before = sealed.parent / "r", verify.verify(sealed, sealed.parent / "r")[0]
    assert expired(sealed, 9.0 + RETENTION_S) == []
    with Record(live, resume=True) as record:
        gone = forget(record, sealed, 10.0 + RETENTION_S)
        assert [path.name for path in gone] == ["000000000000.record"]
        assert forget(record, sealed, 10.0 + RETENTION_S) == []
    assert verify.verify(sealed, live)[0] == before - 10 + 1
    told = list(read(live))[-1]
    assert told.kind == "forgotten"
    assert verify.examine(sealed, live).before.encode() in told.body


def test_a_clock_that_jumped_back_makes_no_event_expire_early(tmp_path: Path) -> None:
    with Record(tmp_path / "r") as record:
        record.append("turn", 5_000.0, b"")
        record.append("turn", 10.0, b"")
        seal(record, tmp_path / "sealed", 11.0)
    assert expired(tmp_path / "sealed", 4_000.0, retention_s=100.0) == []
    assert len(expired(tmp_path / "sealed", 5_101.0, retention_s=100.0)) == 1
