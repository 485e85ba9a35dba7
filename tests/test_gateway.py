from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from karez.gateway.worker import MOST_BODY_BYTES, MOST_HEAD_BYTES
from karez.plan.steer import compile as compile_table
from karez.steer import decide, dump, load
from karez.twin import World
from tests import compute

MOST_RSS_MB = 40.0
HEAVY = {"numba", "polars", "scipy", "msgspec", "starlette", "uvicorn"}
QUESTION: dict[str, Any] = {
    "metro": "m-east",
    "model": "small",
    "prompt_tokens": 1_000,
    "data_class": "general",
    "objective_ms": 300.0,
}


class Worker(NamedTuple):
    process: subprocess.Popen[str]
    port: int
    file: Path

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def decide(self, **changes: object) -> tuple[int, Any]:
        return self.ask("POST", "/decide", json.dumps(QUESTION | changes).encode())

    def raw(self, data: bytes) -> bytes:
        """Everything the worker says to `data` until it hangs up, or until we have hung up our side."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: client.recv(65_536), b""))


def table_bytes(*, price: float = 1.0) -> bytes:
    world = compute.small()
    rows = world["endpoints"].rows(["e3"])
    dearer = world["endpoints"].set(rows, price_cny_per_mtoken=price)
    return dump(compile_table(World(world.intended.replace(dearer), world.actual), at_s=1_790_000_000.0))


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with started(tmp_path_factory.mktemp("worker") / "table.steer") as worker:
        yield worker


@contextmanager
def started(file: Path) -> Iterator[Worker]:
    """A worker on a free port, with a table of its own in `file`; it must end well when it is asked to."""
    file.write_bytes(table_bytes())
    command = [sys.executable, "-m", "karez.gateway.worker", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Worker(process, int(process.stdout.readline().rpartition(":")[2]), file)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


def eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_the_worker_decides_as_the_function_does(worker: Worker) -> None:
    status, said = worker.decide()
    wanted = decide(load(worker.file), **QUESTION)
    assert status == 200
    assert (said["endpoint"], said["site"], said["why"]) == (wanted.endpoint, wanted.site, wanted.why)
    assert said["predicted_ttft_ms"] == wanted.predicted_ttft_ms
    assert said["price_cny_per_mtoken"] == wanted.price_cny_per_mtoken
    status, said = worker.decide(objective_ms=120, data_class="important")
    assert [other["endpoint"] for other in said["excluded"]] == ["e3", "e2"]
    assert said["excluded"][0]["predicted_ttft_ms"] is None


def test_nowhere_is_null_and_not_an_error(worker: Worker) -> None:
    status, said = worker.decide(prompt_tokens=8_193)
    assert (status, said["endpoint"], said["predicted_ttft_ms"]) == (200, None, None)
    assert "context" in said["why"]


def test_health_names_the_twin(worker: Worker) -> None:
    assert worker.ask("GET", "/healthz") == (
        200,
        {"status": "ok", "digest": load(worker.file).digest, "problem": ""},
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metro": "m-nowhere"}, "metro 'm-nowhere' is not known"),
        ({"metro": ["m-east"]}, "metro"),
        ({"model": None}, "model"),
        ({"data_class": "secret"}, "data_class 'secret' is not known"),
        ({"prompt_tokens": -5}, "prompt_tokens"),
        ({"prompt_tokens": True}, "prompt_tokens"),
        ({"prompt_tokens": 1.5}, "prompt_tokens"),
        ({"prompt_tokens": 10**400}, "prompt_tokens"),
        ({"objective_ms": 0}, "objective_ms"),
        ({"objective_ms": "1"}, "objective_ms"),
        ({"objective_ms": 10**400}, "objective_ms"),
        ({"objective_ms": float("nan")}, "NaN is no number"),
        ({"tenant": "me"}, "'tenant' is no field"),
        ({"metro": "\ud800"}, "is not known"),
    ],
)
def test_wrong_questions_are_told_what_is_wrong(worker: Worker, changes: dict[str, object], message: str) -> None:
    status, said = worker.decide(**changes)
    assert status == 400
    assert message in said["error"]["message"]


def test_all_problems_are_told_at_once(worker: Worker) -> None:
    status, said = worker.ask("POST", "/decide", b'{"metro": 1, "prompt_tokens": 0}')
    assert status == 400
    assert len(said["error"]["problems"]) == 5


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe\x00", b"[1]", b"null", b"[" * 60_000, b'{"prompt_tokens": ' + b"9" * 5_000 + b"}"]
)
def test_a_body_that_is_no_json_object_is_a_400(worker: Worker, body: bytes) -> None:
    status, said = worker.ask("POST", "/decide", body)
    assert status == 400
    assert said["error"]["message"]
    assert worker.decide()[0] == 200


def test_a_huge_body_is_refused_before_it_is_read(worker: Worker) -> None:
    head = b"POST /decide HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MOST_BODY_BYTES + 1)
    assert worker.raw(head).startswith(b"HTTP/1.1 413 ")


def test_unknown_paths_and_methods_are_told_apart(worker: Worker) -> None:
    assert worker.ask("GET", "/")[0] == 404
    assert worker.ask("GET", "/decide")[0] == 405
    assert b"\r\nAllow: GET\r\n" in worker.raw(b"DELETE /healthz HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/3\r\n\r\n", b"505"),
        (b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\n folded: yes\r\n\r\n", b"400"),
        (b"POST /decide HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST /decide HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"POST /decide HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"GET /" + b"x" * 2 * MOST_HEAD_BYTES, b"431"),
    ],
)
def test_what_is_not_http_is_refused_and_hung_up_on(worker: Worker, data: bytes, status: bytes) -> None:
    said = worker.raw(data)
    assert said.startswith(b"HTTP/1.1 " + status)
    assert said.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in said
    assert worker.decide()[0] == 200


def test_pipelined_requests_are_answered_in_order_however_they_are_cut(worker: Worker) -> None:
    def request(tokens: int) -> bytes:
        body = json.dumps(QUESTION | {"prompt_tokens": tokens}).encode()
        return b"POST /decide HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    data = b"".join(request(tokens) for tokens in (10, 9_000, -1, 20))
    with socket.create_connection(("127.0.0.1", worker.port), timeout=10) as client:
        for start in range(0, len(data), 97):
            client.sendall(data[start : start + 97])
        reader = client.makefile("rb")
        answers = [_answer(reader) for _ in range(4)]
    assert [status for status, _ in answers] == [200, 200, 400, 200]
    assert [said.get("why", "")[:10] for _, said in answers] == ["the cheape", "the prompt", "", "the cheape"]
    assert worker.raw(data).count(b"HTTP/1.1 200") == 3


def _answer(reader: Any) -> tuple[int, Any]:
    status, length = int(reader.readline().split()[1]), 0
    while (line := reader.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        length = int(value) if name == b"Content-Length" else length
    return status, json.loads(reader.read(length))


def test_a_connection_stays_open_until_one_side_wants_it_closed(worker: Worker) -> None:
    two = b"GET /healthz HTTP/1.1\r\n\r\n" * 2
    assert worker.raw(two).count(b"200 OK") == 2
    assert worker.raw(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n" + two).count(b"200 OK") == 1
    assert worker.raw(b"GET /healthz HTTP/1.0\r\n\r\n" + two).count(b"200 OK") == 1


def test_a_changed_file_is_taken_up(tmp_path: Path) -> None:
    with started(tmp_path / "table.steer") as worker:
        assert worker.decide()[1]["endpoint"] == "e3"
        new = worker.file.with_suffix(".new")
        new.write_bytes(table_bytes(price=1.7))
        new.replace(worker.file)
        assert eventually(lambda: worker.decide()[1]["endpoint"] == "e2")


def test_a_bad_file_keeps_the_old_table_and_says_so(tmp_path: Path) -> None:
    with started(tmp_path / "table.steer") as worker:
        good, digest = worker.file.read_bytes(), load(worker.file).digest
        worker.file.write_bytes(good[:-1])
        worker.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: "cut short" in worker.ask("GET", "/healthz")[1]["problem"])
        assert worker.decide()[1]["endpoint"] == "e3"
        worker.file.unlink()
        assert eventually(lambda: "No such file" in worker.ask("GET", "/healthz")[1]["problem"])
        worker.file.write_bytes(good)
        assert eventually(lambda: worker.ask("GET", "/healthz")[1] == {"status": "ok", "digest": digest, "problem": ""})


def test_the_worker_stays_small(worker: Worker) -> None:
    for _ in range(200):
        assert worker.decide()[0] == 200
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    rss_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert rss_kb * 1_024 / 1e6 <= MOST_RSS_MB


def test_the_worker_imports_nothing_heavy() -> None:
    code = "import sys, karez.gateway.worker; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    assert not HEAVY & {name.partition(".")[0] for name in modules}
    assert sorted(name for name in modules if name.startswith("karez")) == [
        "karez",
        "karez.gateway",
        "karez.gateway.worker",
        "karez.steer",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage"),
        (["missing.steer"], "No such file"),
        ([__file__], "no steering table"),
        ([__file__, "--port", "99999"], "port"),
    ],
)
def test_wrong_arguments_are_exit_code_2(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "karez.gateway.worker", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
