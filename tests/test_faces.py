"""One walk: every operation through every face, and the answers compared."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import karez
from karez import operations
from karez.errors import InputError
from karez.faces import cli, questions, text
from karez.operations import OPERATIONS, Answer
from karez.record.approvals import Box
from tests.serving import Client, served

STATIONS = 20_000
# What all operations take for the present, so that answers differ in nothing but the face.
NOW_S = "1767225600"
FACES = ("cli", "http", "python")

TASK = """
name: night
resources: {accelerators: H20:8}
karez: {model: Qwen2.5 7B, metro: Shanghai, dataset: general, hours: 2}
"""

# What each operation is asked; FACE tells apart what the faces write.
EXAMPLES: dict[str, dict[str, Any]] = {
    "template": {"output": "template-FACE"},
    "import": {"source": "tables-1", "output": "imported-FACE"},
    "export": {"network": "net", "output": "exported-FACE.json"},
    "generate": {"output": "generated-FACE", "stations": STATIONS, "seed": 7},
    "info": {"network": "net"},
    "diff": {"network": "grown", "before": 1, "after": 2},
    "circles": {"network": "net", "budget_us": 800, "weight": "station", "target_share": 0.5},
    "survive": {"network": "net", "worst": 3},
    "whatif": {"network": "net", "remove": "c000001", "budget_us": 800},
    "curve": {"network": "net", "upto_us": 1500, "steps": 6, "weight": "station"},
    "latency": {"network": "net", "start": "s0000001", "access": "pon", "service_us": 100},
    "delays": {"network": "net", "output": "delays-FACE.parquet"},
    "map": {"network": "net", "output": "map-FACE.png", "width": 400},
    "tiers": {"network": "net"},
    "compare": {"before": "net", "after": "net", "budget_us": 800, "weight": "station"},
    "plan_coverage": {"network": "net", "target_share": 0.6, "output": "plan-FACE.json"},
    "discover": {"network": "net", "lon": 116.4, "lat": 39.9, "radius_km": 50, "budget_us": 800, "shown": 3},
    "plan_upgrades": {
        "network": "net",
        "upgrades": "upgrades.csv",
        "target_share": 0.6,
        "effort": "greedy",
        "output": "upgraded-FACE.json",
    },
    "plan_chips": {"network": "net", "most_chips": 64, "output": "chips-FACE.json"},
    "plan_check": {"plan": "plan.json", "network": "net"},
    "plan_diff": {"before": "plan.json", "after": "plan-0.65.json"},
    "order": {"plan": "plan.json", "network": "net", "output": "order-FACE.xlsx"},
    "learn": {"network": "net", "finished": "finished.csv", "dry_run": True},
    "submit": {"network": "net", "tasks": "tasks.yaml", "dry_run": True},
    "place": {"network": "net", "output": "placed-FACE.json"},
    "prices": {"plan": "day.json", "network": "net"},
    "explain": {"plan": "day.json", "network": "net", "job": "batch"},
    "chips": {"network": "net", "least_confidence": "S"},
    "estimate": {"model": "Qwen2.5 7B", "chip": "H20"},
    "split": {"network": "net", "model": "Qwen2.5 7B", "first": "p000003", "second": "p000001"},
    "assign": {"network": "net", "output": "assign-FACE.json"},
    "policy_ask": {"network": "net", "job": "batch", "gbps": 40},
    "policy_explain": {"network": "net", "job": "batch", "server": "p000003"},
    "policy_test": {"seed": 2},
    "policy_audit": {"network": "net"},
    "policy_ledger": {"ledger": "ledger-FACE", "what": "reserve", "hold": "h", "entity": "tenant-1", "amount": 5_000},
    "policy_record": {
        "network": "net",
        "log": "evidence-FACE",
        "job": "batch",
        "server": "p000003",
        "mode": "pseudonymise",
        "key": "signer",
    },
    "policy_prove": {"log": "evidence", "entry": 0, "key": "signer", "output": "proof-FACE.json"},
    "policy_verify": {"proof": "proof.json"},
    "policy_frontier": {"network": "net", "cipher": "sm4", "output": "frontier-FACE.svg"},
    "steer": {"network": "net", "prompt_tokens": 2_000, "output": "table-FACE"},
    "heal_run": {"network": "net", "record": "record-FACE", "level": "act", "turns": 30},
    "heal_replay": {"network": "net", "record": "record"},
    "heal_verify": {"record": "record"},
    "heal_explain": {"record": "record", "turn": 10},
    "heal_report": {"record": "record"},
    "heal_score": {"network": "net", "incidents": 1, "kinds": "link_slow", "matched_share": 1},
    "heal_maturity": {"record": "record"},
    "heal_alarms": {"record": "record", "output": "alarms-FACE.json"},
    "key": {"output": "key-FACE"},
    "approve": {"network": "net", "box": "box"},
    "report": {"network": "net", "output": "report-FACE.html"},
}


@dataclass(frozen=True)
class Ground:
    """A folder with what the examples need, made when it is first needed, and a service of it."""

    root: Path
    client: Client

    def ready(self, operation: str) -> None:
        """Make what the example of `operation` reads."""
        question = EXAMPLES[operation]
        if operation == "plan_diff" or "net" in (question.get("network"), question.get("before")):
            self._made("net", "generate", str(self.root / "net"), "--stations", str(STATIONS))
        if operation in ("import", "diff"):
            self._tables("tables-1", "id,name\nP1,North\nP2,South\n")
        if operation == "diff":
            self._tables("tables-2", "id,name\nP1,North\nP3,East\n")
            self._made("grown", "import", str(self.root / "tables-1"), str(self.root / "grown"))
            assert cli.main(["import", str(self.root / "tables-2"), str(self.root / "grown"), "--quiet"]) == 0
        if operation in ("prices", "explain"):
            network, day = str(self.root / "net"), str(self.root / "day.json")
            self._made("day.json", "place", network, "--output", day)
        if operation in ("plan_check", "plan_diff", "order"):
            self._plan("plan.json", "0.6")
        if operation == "plan_diff":
            self._plan("plan-0.65.json", "0.65")
        if operation == "plan_upgrades":
            (self.root / "upgrades.csv").write_text("link,kind,price_cny\nl0024337,bypass,1000\n", "utf-8")
        if operation == "submit":
            (self.root / "tasks.yaml").write_text(TASK, "utf-8")
        if operation == "learn":
            finished = "job,server,hours,finished_at\nbatch,p000003,2.5,2025-01-31T12:00+08:00\n"
            (self.root / "finished.csv").write_text(finished, "utf-8")
        if operation == "approve":
            Box(str(self.root / question["box"]), lambda *_: "", make=True).close()
        if operation in ("policy_record", "policy_prove", "policy_verify"):
            self._evidence()
        if question.get("record") == "record":
            self._made("net", "generate", str(self.root / "net"), "--stations", str(STATIONS))
            record = self.root / question["record"]
            self._made(record.name, "heal", "run", str(self.root / "net"), str(record), "--turns", "30")

    def _made(self, name: str, *argv: str) -> None:
        if not (self.root / name).exists():
            assert cli.main([*argv, "--quiet"]) == 0
            assert (self.root / name).exists()

    def _evidence(self) -> None:
        """A log with an entry, the key that signs its heads, and a proof of the entry."""
        network, log, key = (str(self.root / name) for name in ("net", "evidence", "signer"))
        self._made("net", "generate", network, "--stations", str(STATIONS))
        self._made("signer", "key", key)
        self._made("evidence", "policy", "record", network, log, "batch", "p000003", key, "--mode", "stay")
        self._made("proof.json", "policy", "prove", log, "0", key, str(self.root / "proof.json"))

    def _plan(self, name: str, target_share: str) -> None:
        network, plan = str(self.root / "net"), str(self.root / name)
        self._made(name, "plan", "coverage", network, "--target-share", target_share, "--output", plan)

    def _tables(self, name: str, provinces: str) -> None:
        (self.root / name).mkdir(exist_ok=True)
        (self.root / name / "provinces.csv").write_text(provinces, "utf-8")


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    root = tmp_path_factory.mktemp("ground")
    with pytest.MonkeyPatch.context() as patch, served(root, allow_writes=True) as client:
        patch.setenv("KAREZ_AT_S", NOW_S)
        yield Ground(root, client)


def example(operation: str, face: str, root: Path | None = None) -> dict[str, Any]:
    """The example's question for one face, its paths under `root`, or relative where there is none."""
    values = {}
    for field in questions.fields(OPERATIONS[operation].question):
        if field.name in EXAMPLES[operation]:
            value = EXAMPLES[operation][field.name]
            value = value.replace("FACE", face) if isinstance(value, str) else value
            values[field.name] = str(root / value) if root and field.is_path else value
    return values


def by_command_line(operation: str, ground: Ground, capsys: pytest.CaptureFixture[str]) -> bytes:
    words = []
    for field in questions.fields(OPERATIONS[operation].question):
        if (value := example(operation, "cli", ground.root).get(field.name)) is not None:
            words += [str(value)] if field.required else [cli.flag(field), *([] if value is True else [str(value)])]
    capsys.readouterr()
    code = cli.main([*cli.spoken(operation).split(), *words, "--json"])
    out, err = capsys.readouterr()
    assert code == (cli.TARGET_MISSED if json.loads(out)["answer"]["meets_target"] is False else cli.OK), err
    assert out.endswith("}\n")
    return out[:-1].encode()


def by_http(operation: str, ground: Ground) -> bytes:
    reply = ground.client.ask(operation, example(operation, "http"))
    assert reply.status == 200, reply.body
    assert reply.kind == "application/json"
    return reply.body


def by_python(operation: str, ground: Ground) -> bytes:
    answer = verb(operation)(**example(operation, "python", ground.root))
    assert isinstance(answer, Answer)
    return text.json(operation, answer)


def verb(operation: str) -> Any:
    taken = operation in ("import", "steer")
    return getattr(karez, f"{operation}_" if taken else operation)


def without_paths(body: bytes) -> bytes:
    """What was answered, whichever face wrote it, and however long its rungs took."""
    for face in FACES:
        body = body.replace(f"-{face}".encode(), b"")
    return re.sub(rb'"seconds":[0-9.e-]+', b'"seconds":0', body)


# What labs answer is of their moment, and needs root: `tests/lab` asks them; what is measured is of its moment, too.
WALKED = [name for name in OPERATIONS if not name.startswith("lab_") and name != "policy_calibrate"]


@pytest.mark.parametrize("operation", WALKED)
def test_every_face_gives_the_same_answer(operation: str, ground: Ground, capsys: pytest.CaptureFixture[str]) -> None:
    assert operation in EXAMPLES, "give an example question, so that the walk can take it along"
    ground.ready(operation)
    told = by_command_line(operation, ground, capsys)
    assert without_paths(told) == without_paths(by_http(operation, ground))
    assert without_paths(told) == without_paths(by_python(operation, ground))
    answer = json.loads(told, parse_constant=pytest.fail)["answer"]
    assert answer["headline"]
    assert answer["citation"]
    if operation == "generate" or EXAMPLES[operation].get("network") == "net":
        assert "synthetic" in answer["headline"].lower()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_a_function_that_tells_its_question(operation: str) -> None:
    function = verb(operation)
    fields = questions.fields(OPERATIONS[operation].question)
    assert function.__name__ in dir(karez)
    assert list(inspect.signature(function).parameters) == [field.name for field in fields]
    assert all(f"{field.name}: {field.help}" in function.__doc__ for field in fields)
    assert function is verb(operation)


def test_a_verb_never_hides_a_module() -> None:
    from karez import steer

    assert inspect.ismodule(steer)
    assert inspect.ismodule(karez.steer)
    assert not hasattr(karez, "import")
    with pytest.raises(AttributeError, match="has no attribute 'circel'"):
        karez.circel  # noqa: B018


def test_python_is_told_every_problem_at_once() -> None:
    with pytest.raises(InputError) as raised:
        karez.circles("", budget_us=float("nan"), definition="C9", target_share="half")
    assert [each.where for each in raised.value.problems] == ["network", "definition", "budget_us", "target_share"]


@pytest.mark.parametrize("call", ["karez.circles()", "karez.circles('n', bugdet_us=5)", "karez.circles('n', 'C1')"])
def test_a_call_that_does_not_fit_the_question_is_a_type_error(call: str) -> None:
    with pytest.raises(TypeError):
        eval(call, {"karez": karez})


def test_python_takes_path_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(operations, "run", lambda _name, question: asked.append(question))
    karez.circles(tmp_path, budget_us=500)
    assert (asked[0].network, asked[0].budget_us) == (str(tmp_path), 500.0)
