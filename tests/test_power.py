"""The record when the power goes, its writer is killed, or its disk is full: thinned here, whole in proof."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import record as bench
from benchmarks.instances.power import Disk, Layer, connecting
from karez.errors import InputError
from karez.record.log import Record, read
from karez.record.verify import verify


def test_no_acknowledged_event_is_lost_when_the_power_goes(proof: bool, turning_seed: int) -> None:
    toll = bench.power(turning_seed, 10_000 if proof else 100)
    assert toll.acknowledged > 10 * toll.blackouts, "too little was recorded to show anything"
    assert (toll.lost, toll.unsound) == (0, 0), (turning_seed, toll)


def test_with_the_sync_that_sqlite_advises_for_wal_acknowledged_events_are_lost(turning_seed: int) -> None:
    toll = bench.power(turning_seed, 200, synchronous="NORMAL")
    assert toll.lossy > 0.1 * toll.blackouts, toll


def test_no_acknowledged_event_is_lost_when_the_writer_is_killed(
    proof: bool, turning_seed: int, tmp_path: Path
) -> None:
    acknowledged, lost = bench.kills(turning_seed % 1_000, 300 if proof else 6, tmp_path)
    assert acknowledged > 0
    assert lost == 0


def _fill(record: Record, receipts: list[bytes]) -> None:
    while True:
        receipts += record.append_all(("turn", 0.0, bytes(900)) for _ in range(5))


@pytest.mark.parametrize("seed", range(5))
def test_a_full_disk_takes_no_event_loses_none_and_goes_on_when_there_is_room(seed: int, tmp_path: Path) -> None:
    disk = Disk(random.Random(seed), room_bytes=100_000 + 777 * seed)
    layer = Layer(f"full-{seed}", disk)
    receipts = list[bytes]()
    try:
        with Record(tmp_path / "r", connect=connecting(f"full-{seed}")) as record:
            with pytest.raises(InputError, match=r"full.*; make room; nothing was done"):
                _fill(record, receipts)
            assert len(receipts) >= 20
            with pytest.raises(InputError, match="make room"):
                record.append_all(("turn", 0.0, bytes(9_000)) for _ in range(50))
            disk.room_bytes *= 2
            receipts.append(record.append("turn", 0.0, b"after"))
        for name, content in disk.files.items():
            (tmp_path / Path(name).name).write_bytes(content.now)
    finally:
        layer.unregister()
    assert [event.receipt for event in read(tmp_path / "r")] == receipts
    assert verify(tmp_path / "r")[0] == len(receipts)


def test_a_limit_on_the_size_of_files_is_told_and_loses_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from karez.errors import InputError; from karez.record.log import Record\n"
        "with Record(Path(sys.argv[1])) as record:\n"
        "    try:\n"
        "        while True: print(record.append('turn', 1.0, bytes(500)).hex())\n"
        "    except InputError as error: print(error, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "r"],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (900_000, 900_000)),
    )
    assert "see that its disk is sound, has room and may be written; nothing was done" in done.stderr
    assert [event.receipt.hex() for event in read(tmp_path / "r")] == done.stdout.split()
    assert verify(tmp_path / "r")[0] > 100
