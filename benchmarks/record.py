"""The record: durable events a second, and what losses of power and kills cost it.

The yardstick of speed is to write and sync the same bytes, in the same groups, to a plain file in the same folder, in
turn with the record. That of losses is the record with synchronous=NORMAL, which SQLite's own advice is for WAL.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks import MEMORY, Figure
from benchmarks.instances.power import Lived, Toll
from karez.record.log import Reader, Record
from karez.record.shared import Shared
from karez.record.verify import verify

NAME = "record"
SEEDS = (1, 2, 3)
# How many events share a commit; the bars are for GROUP, the smallest that may be expected to reach both at once.
GROUP, GROUPS = 16, (1, 16, 128, 512)
BODY_BYTES = 300
RUN_S = 4.0
THREADS = 64
BLACKOUTS, KILLS = 10_000, 300
# A record is opened again so often before the next one begins.
LIVES = 25
CHILD = """
import random, sys
from pathlib import Path
from karez.record.log import Record
chance, path = random.Random(int(sys.argv[2])), Path(sys.argv[1])
with Record(path, resume=path.exists()) as record:
    while True:
        entries = [("turn", 0.0, chance.randbytes(int(4_000 ** chance.random()))) for _ in range(chance.randint(1, 12))]
        print(*(receipt.hex() for receipt in record.append_all(entries)), flush=True)
"""


def run() -> list[Figure]:
    """Speed with its yardstick, then losses."""
    speeds = {group: [speed(group, seed) for seed in SEEDS] for group in GROUPS}
    return [*_speeds(speeds), _threads(), *_losses(), *_kills()]


def speed(group: int, seed: int, for_s: float = RUN_S) -> tuple[float, float]:
    """Events a second that the record takes, so many to a commit, and that a plain file takes."""
    chance = random.Random(seed)
    bodies = [chance.randbytes(BODY_BYTES) for _ in range(4_096)]
    with tempfile.TemporaryDirectory() as folder, Record(Path(folder) / "record") as record:
        plain = os.open(Path(folder) / "plain", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        record_s = plain_s = 0.0
        count = 0
        while record_s + plain_s < for_s:
            entries = [("turn", float(count + i), bodies[(count + i) % len(bodies)]) for i in range(group)]
            begun = time.perf_counter()
            receipts = record.append_all(entries)
            between = time.perf_counter()
            data = b"".join(_bytes(entry, receipt) for entry, receipt in zip(entries, receipts, strict=True))
            written = time.perf_counter()
            os.write(plain, data)
            os.fsync(plain)
            record_s += between - begun
            plain_s += time.perf_counter() - written
            count += group
        os.close(plain)
    return count / record_s, count / plain_s


def shared_speed(threads: int, each: int) -> float:
    """Events a second of so many threads that each wait for their own receipts."""
    with tempfile.TemporaryDirectory() as folder, Record(Path(folder) / "record") as record:
        shared = Shared(record)

        def work() -> None:
            for _ in range(each):
                shared.append("turn", 0.0, bytes(BODY_BYTES))

        workers = [threading.Thread(target=work) for _ in range(threads)]
        begun = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return threads * each / (time.perf_counter() - begun)


def power(seed: int, blackouts: int, *, synchronous: str = "FULL") -> Toll:
    """What so many losses of power cost, each record living through some of them."""
    total = Toll()
    for number in range(0, blackouts, LIVES):
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            toll = Lived(seed + number, Path(folder), synchronous).run(min(LIVES, blackouts - number))
        total.add(toll)
    return total


def kills(seed: int, count: int, folder: Path) -> tuple[int, int]:
    """Acknowledged events, and how many of them are lost, after a writer was killed so many times.

    Each time a reader, open since before the kill, is asked for all that was acknowledged.
    """
    path, chance = folder / "record", random.Random(seed)
    acknowledged = list[bytes]()
    lost = 0
    for number in range(count):
        told = _killed(path, seed * count + number, chance.uniform(0.0, 0.1))
        with Reader(path) as reader:
            lost += sum(reader.body(receipt) is None for receipt in told)
        acknowledged += told
        verify(path)
    with Reader(path) as reader:
        lost += sum(reader.body(receipt) is None for receipt in acknowledged)
    return len(acknowledged), lost


def _killed(path: Path, seed: int, after_s: float) -> list[bytes]:
    """The receipts that a writer told before it was killed, so long after its first."""
    command = [sys.executable, "-c", CHILD, str(path), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        with Reader(path) as reader:
            if reader.body(bytes.fromhex(first.split()[0])) is None:
                raise RuntimeError("what was acknowledged is not seen while the writer is open")
            time.sleep(after_s)
            child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
    whole, _, _ = (first + rest).rpartition("\n")
    return [bytes.fromhex(word) for word in whole.split()]


def _bytes(entry: tuple[str, float, bytes], receipt: bytes) -> bytes:
    """What of an event is kept."""
    kind, at_s, body = entry
    return struct.pack(">Qd", 0, at_s) + kind.encode() + b"\0" + body + receipt[:32]


def _speeds(speeds: dict[int, list[tuple[float, float]]]) -> list[Figure]:
    figures = []
    for group, found in speeds.items():
        of_record, of_plain = (sum(values) / len(values) for values in zip(*found, strict=True))
        bar = group == GROUP
        figures += [
            Figure(
                what=f"durable chained events, {group} to a commit",
                value=of_record,
                unit="events/s",
                better="higher",
                bar=15_000 if bar else None,
                yardstick=of_plain,
            ),
            Figure(
                what=f"share of bare write and fsync of the same bytes, {group} to a commit",
                value=of_record / of_plain,
                unit="",
                better="higher",
                bar=0.6 if bar else None,
            ),
        ]
    return figures


def _threads() -> Figure:
    what = f"durable chained events of {THREADS} threads that each wait for their receipt"
    return Figure(what=what, value=shared_speed(THREADS, 200), unit="events/s", better="higher")


def _losses() -> list[Figure]:
    full, normal = power(SEEDS[0], BLACKOUTS), power(SEEDS[0], BLACKOUTS, synchronous="NORMAL")
    return [
        Figure(
            what=f"acknowledged events lost in {full.blackouts:,} losses of power",
            value=full.lost,
            unit="events",
            better="lower",
            bar=0,
            yardstick=normal.lost,
        ),
        Figure(
            what="losses of power after which the record was not whole, or a commit was kept in part",
            value=full.unsound,
            unit="",
            better="lower",
            bar=0,
            yardstick=normal.unsound,
        ),
        Figure(
            what="events acknowledged before these losses of power",
            value=full.acknowledged,
            unit="events",
            better="higher",
        ),
    ]


def _kills() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        acknowledged, lost = kills(SEEDS[0], KILLS, Path(folder))
    return [
        Figure(
            what=f"acknowledged events lost in {KILLS} kills of the writer",
            value=lost,
            unit="events",
            better="lower",
            bar=0,
        ),
        Figure(what="events acknowledged before these kills", value=acknowledged, unit="events", better="higher"),
    ]
