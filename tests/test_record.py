"""The record: chained, durable, refused when altered."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from karez.errors import InputError
from karez.record import verify
from karez.record.log import Record, read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run.record"
    with Record(path) as record:
        for index in range(20):
            record.append("turn", float(index), b"body %d" % index)
    return path


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
        assert record.body(receipt) == b"x"
        assert record.body(bytes(32)) is None


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
    assert verify.verify(tmp_path / "r") == (1, done.stdout.strip())
