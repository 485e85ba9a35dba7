from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karez import operations
from karez.errors import Infeasible, InputError, KarezError, Problem, Refused, TargetMissed
from karez.faces import cli, questions, service
from karez.operations import OPERATIONS, Answer
from tests.serving import Client, served

ANSWER = Answer(headline="71 %", citation="C2, one way")
OUTSIDE = [
    "..",
    "../other",
    "net/../..",
    "/",
    "/etc",
    "out",
    "out/net",
    "nested/out",
    "loop/../..",
    "net\0",
    "n/" * 500_000,
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A served folder with a folder in it and links that lead out of it."""
    root = tmp_path_factory.mktemp("served")
    (root / "net").mkdir()
    (root / "nested").mkdir()
    (root / "out").symlink_to(root.parent)
    (root / "nested" / "out").symlink_to("../..")
    (root / "within").symlink_to("net")
    return root


@pytest.fixture(scope="module")
def reader(root: Path) -> Iterator[Client]:
    with served(root) as client:
        yield client


@pytest.fixture(scope="module")
def writer(root: Path) -> Iterator[Client]:
    with served(root, allow_writes=True) as client:
        yield client


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every operation answers the same; what they were asked is in the list."""
    asked: list[Any] = []

    def run(_name: str, question: msgspec.Struct) -> Answer:
        asked.append(question)
        return ANSWER

    monkeypatch.setattr(operations, "run", run)
    return asked


def problem(reply: Any) -> dict[str, Any]:
    assert reply.kind == "application/problem+json"
    body: dict[str, Any] = json.loads(reply.body)
    assert body["status"] == reply.status
    return body


def test_the_service_says_that_it_is_well(reader: Client) -> None:
    reply = reader.get("/healthz")
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "ok"})


def test_every_operation_is_listed_with_the_schema_of_its_question(reader: Client, writer: Client) -> None:
    listed = {each["name"]: each for each in json.loads(reader.get("/v1/operations").body)["operations"]}
    assert list(listed) == list(OPERATIONS)
    for name, operation in OPERATIONS.items():
        schema = listed[name]["question"]["$defs"][operation.question.__name__]
        assert list(schema["properties"]) == [field.name for field in questions.fields(operation.question)]
        assert listed[name]["offered"] is not operation.writes
    assert all(each["offered"] for each in json.loads(writer.get("/v1/operations").body)["operations"])


def test_paths_are_put_under_the_served_folder(reader: Client, root: Path, asked: list[Any]) -> None:
    assert reader.ask("info", {"network": "net"}).status == 200
    assert reader.ask("info", {"network": "within"}).status == 200
    assert [question.network for question in asked] == [str(root / "net")] * 2


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: path[:12])
def test_no_path_leaves_the_served_folder(path: str, reader: Client, asked: list[Any]) -> None:
    reply = reader.ask("info", {"network": path})
    assert [each["where"] for each in problem(reply)["problems"]] == ["network"]
    assert (reply.status, asked) == (400, [])


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_path_of_any_operation_leaves_the_served_folder(name: str, writer: Client, asked: list[Any]) -> None:
    fields = questions.fields(OPERATIONS[name].question)
    named: tuple[str, ...] = ("network", "output", "record", "plan", "source", "before", "after")
    named += ("prices", "recipes", "upkeep", "ageing", "upgrades", "works", "freezes", "segments", "box", "key")
    named += (
        "schedule",
        "folder",
        "packs",
        "costs",
        "ledger",
        "log",
        "proof",
        "heads",
        "head",
        "measured",
        "day",
        "tasks",
        "finished",
    )
    # What some are told of a plan is its id.
    ids = ("plan",) if name in ("approve", "heal_explain") else ()
    paths = {field.name for field in fields if field.name in named and field.name not in ids and field.base is str}
    assert paths == {field.name for field in fields if field.is_path}
    others = {field.name: "x" if field.base is str else 1 for field in fields if field.required and not field.is_path}
    reply = writer.ask(name, dict.fromkeys(paths, "../elsewhere") | others)
    assert {each["where"] for each in problem(reply)["problems"]} == paths
    assert (reply.status, asked) == (400, [])


@given(st.lists(st.sampled_from(["..", ".", "net", "out", "nested", "within", "", "/", "new"]), max_size=6))
def test_a_path_is_within_the_folder_or_refused(root: Path, parts: list[str]) -> None:
    try:
        path = service.within(root, "/".join(parts))
    except ValueError:
        return
    assert not path or Path(path).resolve().is_relative_to(root)


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.writes])
def test_what_writes_is_refused_unless_allowed(name: str, reader: Client, asked: list[Any]) -> None:
    assert "--allow-writes" in problem(reader.ask(name, {}))["detail"]
    assert (reader.ask(name, {}).status, asked) == (403, [])


def test_every_problem_of_a_question_is_told_at_once(reader: Client) -> None:
    reply = reader.ask("circles", {"network": "../x", "budget_us": "500", "definition": "C9", "foo": 1})
    assert reply.status == 400
    assert {each["where"] for each in problem(reply)["problems"]} == {"network", "budget_us", "definition", "foo"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"null", b'"net"', b'{"network": "\\udcff"}', b'{"a":' + b"[" * 10_000]
)
def test_a_body_that_is_no_question_is_wrong_input(body: bytes, reader: Client) -> None:
    reply = reader.post("info", body)
    assert (reply.status, len(problem(reply)["problems"])) == (400, 1)


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (KarezError("no"), 500),
        (OSError(28, "No space left on device"), 500),
        (InputError.of("links", "cut short", "send it again", ["L1"]), 400),
        (Refused("no"), 409),
        (Infeasible("no"), 422),
        (TargetMissed("no"), 422),
    ],
)
def test_each_kind_of_failure_has_its_status(
    raised: Exception, status: int, reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_name: str, _question: object) -> Answer:
        raise raised

    monkeypatch.setattr(operations, "run", run)
    reply = reader.ask("info", {"network": "net"})
    told = problem(reply)
    assert (reply.status, told["detail"]) == (status, str(raised))
    found = [Problem("links", "cut short", "send it again", ("L1",))] if status == 400 else []
    assert msgspec.convert(told["problems"], list[Problem]) == found


def test_paths_are_told_as_they_were_asked_and_not_where_they_lie(reader: Client, root: Path) -> None:
    reply = reader.ask("info", {"network": "deep/nowhere"})
    assert problem(reply)["detail"] == "deep/nowhere: no such file or directory; check the path"
    assert str(root.resolve()) not in reply.body.decode()


def test_a_service_outlives_a_defect(
    reader: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def run(_name: str, _question: object) -> Answer:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(operations, "run", run)
    assert reader.ask("info", {"network": "net"}).status == 500
    assert reader.get("/healthz").status == 200


def test_what_there_is_not_is_not_found(reader: Client) -> None:
    assert problem(reader.ask("circle", {}))["status"] == 404
    assert problem(reader.get("/v2"))["status"] == 404
    assert problem(reader.get("/v1/operations/info"))["status"] == 405


def test_a_long_question_is_refused(reader: Client, asked: list[Any]) -> None:
    longest = b'{"network": "net"}'.ljust(service.LARGEST_BODY)
    assert reader.post("info", longest).status == 200
    assert problem(reader.post("info", longest + b" "))["status"] == 413
    assert len(asked) == 1


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_page_in_a_browser_cannot_ask_without_leave(kind: str, writer: Client, asked: list[Any]) -> None:
    assert problem(writer.post("info", b'{"network": "net"}', kind=kind))["status"] == 415
    assert writer.get("/v1/operations", host="rebound.example").status == 400
    assert not asked


def test_operations_run_one_at_a_time(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = threading.Semaphore(1), []

    def run(_name: str, _question: object) -> Answer:
        most.append(running.acquire(blocking=False))
        time.sleep(0.02)
        running.release()
        return ANSWER

    monkeypatch.setattr(operations, "run", run)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: reader.ask("info", {"network": "net"}), range(8)))
    assert most == [True] * 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_service_with_0(number: signal.Signals, root: Path) -> None:
    argv = [sys.executable, "-m", "karez", "serve", "--root", str(root), "--port", "0"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+", line) for line in process.stderr)))
        assert Client(found[0]).get("/healthz").status == 200
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, "Traceback" in err) == (0, "", False)


def test_a_port_in_use_is_wrong_input(reader: Client, root: Path) -> None:
    port = reader.url.rpartition(":")[2]
    argv = [sys.executable, "-m", "karez", "serve", "--root", str(root), "--port", port]
    done = subprocess.run(argv, capture_output=True, check=False, text=True, timeout=30)
    assert re.fullmatch(rf"karez: 127.0.0.1:{port}: Address already in use.*; give another .*\n", done.stderr)
    assert done.returncode == 2


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_extra_serve_says_what_to_install(
    missing: str, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name == "karez.faces.service" or name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert cli.main(["serve", "--root", str(root)]) == 1
    assert "install karez[web]" in capsys.readouterr().err
