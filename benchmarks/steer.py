"""One request steered: the decision alone, many at once, and through the worker, against a plain handler."""

from __future__ import annotations

import json
import math
import multiprocessing
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from benchmarks import Figure
from karez.plan.steer import decide_many
from karez.steer import DATA_CLASSES, Table, decide, dump, load

NAME = "steer"
SEEDS = (1,)

METROS, CANDIDATES = 2_106, 16
MOST_RSS_MB = 40.0
DECISIONS, BATCH, REQUESTS, UNDER_WAY, ROUNDS = 20_000, 100_000, 8_000, 8, 3
HEAD = b"POST /decide HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
MODEL, OBJECTIVE_MS, LONGEST_PROMPT = "model", 400.0, 4_000


def run() -> list[Figure]:
    """CPU of a decision, throughput of many, memory of the worker and requests through it."""
    chance = np.random.default_rng(SEEDS[0])
    table = _table(chance)
    asked = [
        (f"m{metro:04}", int(tokens))
        for metro, tokens in zip(
            chance.integers(METROS, size=DECISIONS), chance.integers(1, LONGEST_PROMPT, DECISIONS), strict=True
        )
    ]
    one_us = min(_scalar_us(table, asked) for _ in range(ROUNDS))
    many_us = min(_vector_us(table, chance) for _ in range(ROUNDS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.steer"
        path.write_bytes(dump(table))
        rss_mb, ours_per_s, plain_per_s = _through(path, asked[:REQUESTS])
    return [
        Figure(what=f"CPU of one decision, {CANDIDATES} candidates", value=one_us, unit="us", better="lower"),
        Figure(
            what=f"CPU of one decision of {BATCH} at once (yardstick: one by one)",
            value=many_us,
            unit="us",
            better="lower",
            yardstick=one_us,
        ),
        Figure(
            what=f"resident memory of the worker, {METROS} metros",
            value=rss_mb,
            unit="MB",
            better="lower",
            bar=MOST_RSS_MB,
        ),
        Figure(
            what=f"requests through the worker, {UNDER_WAY} under way (yardstick: http.server with the same decision)",
            value=ours_per_s,
            unit="1/s",
            better="higher",
            yardstick=plain_per_s,
        ),
    ]


def _table(chance: np.random.Generator) -> Table:
    """A table with 16 endpoints of one model, all of them candidates of every metro of the nation."""
    price = np.sort(chance.uniform(0.4, 2.0, CANDIDATES))
    return Table(
        {
            "digest": np.array([b"benchmark"]),
            "metro_ids": np.array([f"m{n:04}" for n in range(METROS)], "S"),
            "model_ids": np.array([MODEL], "S"),
            "context_tokens": np.array([131_072]),
            "endpoint_ids": np.array([f"e{n:02}" for n in range(CANDIDATES)], "S"),
            "site_ids": np.array([f"c{n:02}" for n in range(CANDIDATES)], "S"),
            "prefill_tokens_per_s": chance.uniform(5_000, 30_000, CANDIDATES),
            "decode_tokens_per_s": chance.uniform(20, 80, CANDIDATES),
            "price_cny_per_mtoken": price,
            "offsets": np.arange(0, METROS * CANDIDATES + 1, CANDIDATES),
            "endpoint": np.tile(np.arange(CANDIDATES, dtype="<i4"), METROS),
            "rtt_ms": chance.uniform(1, 60, METROS * CANDIDATES),
            "lawful": chance.integers(0, 8, METROS * CANDIDATES).astype("|u1"),
        }
    )


def _scalar_us(table: Table, asked: list[tuple[str, int]]) -> float:
    start_s = time.process_time()
    for metro, tokens in asked:
        decide(
            table,
            metro=metro,
            model=MODEL,
            prompt_tokens=tokens,
            data_class="general",
            objective_ms=OBJECTIVE_MS,
        )
    return (time.process_time() - start_s) / len(asked) * 1e6


def _vector_us(table: Table, chance: np.random.Generator) -> float:
    metros, tokens = chance.integers(METROS, size=BATCH), chance.integers(1, LONGEST_PROMPT, BATCH)
    bits, objectives_ms = np.full(BATCH, DATA_CLASSES["general"], np.uint8), np.full(BATCH, OBJECTIVE_MS)
    start_s = time.process_time()
    decide_many(
        table,
        metros=metros,
        models=np.zeros(BATCH, np.int64),
        prompt_tokens=tokens,
        data_classes=bits,
        objectives_ms=objectives_ms,
    )
    return (time.process_time() - start_s) / BATCH * 1e6


def _through(path: Path, asked: list[tuple[str, int]]) -> tuple[float, float, float]:
    """Memory of the worker (MB), and requests per second through it and through the plain handler, in turn."""
    bodies = [_body(metro, tokens) for metro, tokens in asked]
    with _worker(path) as (pid, ours), _plain(path) as plain:
        rates = [(_per_s(ours, bodies), _per_s(plain, bodies)) for _ in range(ROUNDS)]
        rss_mb = _rss_mb(pid)
    return rss_mb, max(rate for rate, _ in rates), max(rate for _, rate in rates)


def _body(metro: str, tokens: int) -> bytes:
    question = {"metro": metro, "model": MODEL, "prompt_tokens": tokens, "data_class": "general"}
    return json.dumps(question | {"objective_ms": OBJECTIVE_MS}).encode()


@contextmanager
def _worker(path: Path) -> Iterator[tuple[int, int]]:
    command = [sys.executable, "-m", "karez.gateway.worker", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.terminate()


@contextmanager
def _plain(path: Path) -> Iterator[int]:
    """The port of the plain handler, which runs in a process of its own, as the worker does."""
    context = multiprocessing.get_context("spawn")
    ports = context.SimpleQueue()
    process = context.Process(target=_serve_plain, args=(path, ports.put), daemon=True)
    process.start()
    try:
        yield ports.get()
    finally:
        process.terminate()
        process.join()


def _serve_plain(path: Path, tell: Callable[[int], None]) -> None:
    table = load(path)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Without this, a small answer waits for the acknowledgement of its own head.
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = decide(table, **question)._asdict()
            finite = {k: None if isinstance(v, float) and math.isinf(v) else v for k, v in answer.items()}
            data = json.dumps(finite).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tell(server.server_address[1])
    server.serve_forever()


def _per_s(port: int, bodies: list[bytes]) -> float:
    """Requests per second over one connection that keeps some of them under way.

    The client does as little as it can: it shares the machine with what it measures.
    """
    batches = [bodies[start : start + UNDER_WAY] for start in range(0, len(bodies), UNDER_WAY)]
    ready = [(len(batch), b"".join(b"%b%d\r\n\r\n%b" % (HEAD, len(body), body) for body in batch)) for batch in batches]
    with socket.create_connection(("127.0.0.1", port)) as client:
        start_s = time.perf_counter()
        for count, data in ready:
            client.sendall(data)
            answers = b""
            while not _whole(answers, count):
                answers += client.recv(65_536)
        return len(bodies) / (time.perf_counter() - start_s)


def _whole(answers: bytes, count: int) -> bool:
    """Whether `count` answers have come; braces stand in their bodies only, and in pairs."""
    assert answers.count(b"HTTP/1.1 ") == answers.count(b"HTTP/1.1 200 ")
    return (
        answers.count(b"HTTP/1.1 ") == count and answers.endswith(b"}") and answers.count(b"{") == answers.count(b"}")
    )


def _rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) * 1_024 / 1e6
