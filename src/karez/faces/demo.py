"""The main job on real places, end to end: measure, plan, heal, place, steer, and a report of it all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import msgspec

import karez
from karez.errors import InputError, KarezError
from karez.operations import (
    Answer,
    CirclesQuestion,
    ExplainQuestion,
    GenerateQuestion,
    HealReplayQuestion,
    HealRunQuestion,
    OrderQuestion,
    PlaceQuestion,
    PlanCheckQuestion,
    PlanCoverageQuestion,
    PricesQuestion,
    ReportQuestion,
    SteerQuestion,
    run,
)
from karez.twin.store import os_problem, revisions

MARK = ".karez-demo"
OUTPUT = "out/demo"
# China's base stations, and as many compute sites as bring three of five access points within a millisecond.
STATIONS, SITES = 5_000_000, 120
TURNS = 60
JOBS = 20_000
# So long that the planner ends by itself, and says the same on every machine.
PLACING_S = 1_200.0
WAIT_S = 10.0


def show(folder: Path, question: GenerateQuestion) -> None:
    """Print every step's answer; the network that `question` asks for and all that is made of it lie in `folder`.

    Raises:
        KarezError: what a step refuses or cannot do.
    """
    begun = time.perf_counter()
    _make_ready(folder, question)
    for number, (title, step) in enumerate(_steps(folder, question), start=1):
        print(f"{number}  {title} ...", file=sys.stderr, end="", flush=True)
        started = time.perf_counter()
        said = step()
        print(f" {time.perf_counter() - started:.1f} s", file=sys.stderr)
        print(f"{number}  {said}", flush=True)
    print(f"\nThe report: {folder / 'report.html'}   the map: {folder / 'report.svg'}")
    print("All of it rests on a synthetic network on real places; places by GeoNames, CC BY 4.0.")
    print(f"Done in {time.perf_counter() - begun:.0f} s; everything made lies in {folder}.", file=sys.stderr)


def _steps(folder: Path, question: GenerateQuestion) -> list[tuple[str, Callable[[], str]]]:
    network, plan, order, record, day, table = (
        str(folder / name) for name in ("network", "plan.json", "order.xlsx", "run.record", "day.json", "steer.table")
    )
    report = ReportQuestion(network=network, output=str(folder / "report.html"), record=record, day=day)
    return [
        ("making a network", lambda: _made(folder, question)),
        ("measuring who is within 1 ms of compute", lambda: _answer("circles", CirclesQuestion(network=network))),
        (
            "planning what to build",
            lambda: _answer("plan_coverage", PlanCoverageQuestion(network=network, output=plan)),
        ),
        (
            "checking the plan and its certificate",
            lambda: _answer("plan_check", PlanCheckQuestion(plan=plan, network=network)),
        ),
        ("listing what to order", lambda: _answer("order", OrderQuestion(plan=plan, network=network, output=order))),
        (
            "breaking a link, bringing the plan, and letting the loop act",
            lambda: _answer("heal_run", _healed(network, record, plan)),
        ),
        (
            "deciding the whole run again",
            lambda: _answer("heal_replay", HealReplayQuestion(network=network, record=record)),
        ),
        (
            "placing a day of jobs",
            lambda: _answer("place", PlaceQuestion(network=network, output=day, time_limit_s=PLACING_S)),
        ),
        ("telling what is scarce", lambda: _answer("prices", PricesQuestion(plan=day, network=network))),
        ("telling why a job is where it is", lambda: _answer("explain", ExplainQuestion(plan=day, network=network))),
        ("compiling the steering table", lambda: _answer("steer", SteerQuestion(network=network, output=table))),
        ("asking the gateway's worker", lambda: _asked_worker(table, SteerQuestion(network=network))),
        ("writing the report", lambda: _answer("report", report)),
    ]


def _healed(network: str, record: str, plan: str) -> HealRunQuestion:
    return HealRunQuestion(network=network, record=record, level="act", turns=TURNS, plan=plan, approve="the planner")


def _answer(name: str, question: msgspec.Struct) -> str:
    answer: Answer = run(name, question)
    return answer.headline


def _asked_worker(table: str, question: SteerQuestion) -> str:
    """What a worker on the request path says, in a process of its own that knows the compiled table only."""
    decided = msgspec.to_builtins(run("steer", question))
    body = {key: decided[key] for key in ("metro", "model", "prompt_tokens", "data_class", "objective_ms")}
    command = [sys.executable, "-m", "karez.gateway.worker", table]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as worker:
        try:
            address = _address(worker)
            request = urllib.request.Request(f"{address}/decide", json.dumps(body).encode(), method="POST")
            with urllib.request.urlopen(request, timeout=WAIT_S) as reply:
                endpoint = json.loads(reply.read())["endpoint"]
            resident = _resident_mb(worker.pid)
        finally:
            worker.terminate()
    if endpoint != decided["endpoint"]:
        raise KarezError(f"the worker says {endpoint}, the planner {decided['endpoint']}: report this as a defect")
    return f"The worker, a process of {resident:.0f} MB, sends the request to {endpoint} too"


def _address(worker: subprocess.Popen[str]) -> str:
    line = worker.stdout.readline() if worker.stdout else ""
    found = next((word for word in line.split() if word.startswith("http://")), "")
    if not found:
        raise KarezError(f"the worker did not start: {line.strip()}")
    return found.rstrip("/.,")


def _resident_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


class _Mark(msgspec.Struct):
    """What an earlier demonstration made its network from, by which version, its digest, and what was said of it."""

    version: str
    question: GenerateQuestion
    digest: str
    said: str


def _left(folder: Path, question: GenerateQuestion) -> str:
    """What was said of the network that is asked for, where an earlier demonstration left it; else nothing."""
    try:
        mark = msgspec.json.decode((folder / MARK).read_bytes(), type=_Mark)
    except (FileNotFoundError, msgspec.DecodeError):
        return ""
    same = (mark.version, mark.question) == (karez.__version__, question)
    return mark.said if same and _digests(question) == [mark.digest] else ""


def _digests(question: GenerateQuestion) -> list[str]:
    """The digests of all revisions of the demonstration's network; none where it cannot be read."""
    try:
        return [revision.digest for revision in revisions(Path(question.output))]
    except InputError:
        return []


def _made(folder: Path, question: GenerateQuestion) -> str:
    """What is said of the network that is asked for, which is made unless it was left from an earlier run."""
    said = _left(folder, question)
    if not said:
        said = _answer("generate", question)
        mark = _Mark(karez.__version__, question, _digests(question)[-1], said)
        (folder / MARK).write_bytes(msgspec.json.encode(mark))
    return said


def _make_ready(folder: Path, question: GenerateQuestion) -> None:
    """Make the folder; of what an earlier demonstration left only the network stays, where it is the one asked for."""
    mark = folder / MARK
    try:
        if folder.exists() and not mark.is_file():
            raise InputError.of(str(folder), "was not made by a demonstration", "name another folder with --output")
        folder.mkdir(parents=True, exist_ok=True)
        kept = {mark, Path(question.output)} if _left(folder, question) else set()
        for path in set(folder.iterdir()) - kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not kept:
            mark.touch()
    except OSError as error:
        raise InputError([os_problem(error, folder)]) from error
