"""Findings as TMF642 alarms: what they say, and that an address gets each of them once it can."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from karez.adapters.embedded import FAULTS, FOREVER_S, Fault
from karez.errors import InputError, KarezError
from karez.faces import cli
from karez.measure import signatures
from karez.operations.heal_alarms import TRIES, require_address, send
from karez.operations.render.alarms import SEVERITIES, Alarm, alarms, facts_of, moment
from karez.operations.story import Episode, Sure
from karez.plan.heal import PLANNERS
from karez.scenario.incidents import HARMLESS
from karez.twin.facts import library
from tests.healing import FAULT_S, START_S, ran
from tests.test_networks import TABLES, asked, imported, refused

SLOW = Fault("link_slow", "L1", START_S + FAULT_S, START_S + 30, size_us=5_000.0)
LASTING = Fault("link_slow", "L3", START_S + 40, FOREVER_S, size_us=5_000.0)
# Source: ITU-T X.733 (1992), 8.1.1, and X.736, 8.1.1, as TMF642 spells them.
TYPES = {
    "communicationsAlarm",
    "processingErrorAlarm",
    "environmentalAlarm",
    "qualityOfServiceAlarm",
    "equipmentAlarm",
    "operationalViolation",
    "timeDomainViolation",
}
# What TMF642 requires of an alarm.
REQUIRED = ("id", "alarmRaisedTime", "alarmType", "perceivedSeverity", "probableCause", "sourceSystemId", "state")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imported(tmp_path_factory.mktemp("small"), TABLES)


@pytest.fixture(scope="module")
def record(net: Path) -> Path:
    return ran(net, net.parent / "r", SLOW, LASTING, turns=60)


def written(net: Path, record: Path, output: Path, **more: Any) -> list[dict[str, Any]]:
    asked("heal_alarms", record=record, network=net, output=output, **more)
    found: list[dict[str, Any]] = json.loads(output.read_text("utf-8"))
    return found


def test_every_finding_is_an_alarm_with_all_that_the_standard_requires(net: Path, record: Path, tmp_path: Path) -> None:
    found = written(net, record, tmp_path / "a.json")
    rows = asked("heal_report", record=record, network=net).findings
    assert [(each["specificProblem"], each["alarmedObject"]["id"]) for each in found] == [
        (row.kind, row.subject) for row in rows
    ]
    for each in found:
        assert all(each[name] for name in REQUIRED)
        assert each["alarmedObject"]["@referredType"] == "links"
        assert datetime.fromisoformat(each["alarmRaisedTime"]).timestamp() >= START_S + FAULT_S
        assert "independent sources" in each["alarmDetails"]
    assert [bool(each["proposedRepairedActions"]) for each in found] == [row.act != "nothing" for row in rows]
    assert any("drain_link L" in each["proposedRepairedActions"] for each in found)
    assert len({each["id"] for each in found}) == len(found)


def test_what_is_gone_is_cleared_and_what_stays_is_raised(net: Path, record: Path, tmp_path: Path) -> None:
    found = {each["alarmedObject"]["id"]: each for each in written(net, record, tmp_path / "a.json")}
    assert (found["L1"]["state"], found["L1"]["perceivedSeverity"]) == ("cleared", "cleared")
    assert found["L1"]["alarmClearedTime"] == found["L1"]["alarmChangedTime"] > found["L1"]["alarmRaisedTime"]
    assert (found["L3"]["state"], found["L3"]["perceivedSeverity"] in SEVERITIES) == ("raised", True)
    assert "alarmClearedTime" not in found["L3"]
    assert [each["state"] for each in written(net, record, tmp_path / "b.json", open_only=True)] == ["raised"]


def test_every_kind_of_finding_is_known_as_an_alarm_with_values_of_the_standard() -> None:
    kinds = {row["kind"] for row in library("alarm_causes")}
    assert len(kinds) == len(library("alarm_causes"))
    told = set(PLANNERS) | set(signatures.BOTH) | set(signatures.ONE) | {"unknown", "order_due"}
    assert told | set(FAULTS) - HARMLESS - {"deaf"} <= kinds
    for kind in kinds:
        facts = facts_of(kind)
        assert facts.alarm_type in TYPES
        assert facts.severity in SEVERITIES
        assert facts.probable_cause.isalpha()
    assert facts_of("never heard of") == facts_of("unknown")


def episode(kind: str, subject: str, opened_s: float, closed_s: float | None = None) -> Episode:
    sure = Sure(0.9, 2, (), ())
    return Episode(f"{kind}/{subject}", kind, subject, opened_s, sure, sure, closed_s)


def test_alarms_of_one_subject_at_one_time_are_correlated_and_no_others() -> None:
    found = alarms(
        [episode("a", "L1", 0.0, 10.0), episode("b", "L1", 5.0), episode("a", "L1", 20.0), episode("c", "L2", 0.0)],
        ["links"] * 4,
        end_s=30.0,
    )
    related = [[each["id"] for each in alarm.body["correlatedAlarm"]] for alarm in found]  # type: ignore[attr-defined]
    ids = [alarm.body["id"] for alarm in found]
    assert related == [[ids[1]], [ids[0], ids[2]], [ids[1]], []]


@pytest.mark.parametrize(
    ("at_s", "told"), [(0.0, "1970-01-01T00:00:00.000Z"), (1_767_225_612.25, "2026-01-01T00:00:12.250Z")]
)
def test_times_are_told_in_utc_to_the_millisecond(at_s: float, told: str) -> None:
    assert moment(at_s) == told


# ---- to an address


class Listener(ThreadingHTTPServer):
    """A system that takes alarms: it answers with `codes` in turn, the last of them for good."""

    def __init__(self, *codes: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.codes = list(codes)
        self.told: list[dict[str, Any]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/listener"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        listener = self.server
        assert isinstance(listener, Listener)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"].startswith("application/json")
        code = listener.codes.pop(0) if len(listener.codes) > 1 else listener.codes[0]
        if code < 300:
            listener.told.append(json.loads(body))
        self.send_response(code)
        if 300 <= code < 400:
            self.send_header("Location", listener.address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def listening(*codes: int) -> Iterator[Listener]:
    listener = Listener(*codes)
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield listener
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def two() -> tuple[Alarm, ...]:
    return alarms([episode("a", "L1", 0.0, 9.0), episode("b", "L2", 5.0)], ["links"] * 2, end_s=9.0)


def test_an_address_is_told_that_alarms_were_raised_and_that_they_were_cleared(net: Path, record: Path) -> None:
    with listening(201) as listener:
        answer = asked("heal_alarms", record=record, network=net, to=listener.address)
    assert answer.sent == len(answer.alarms)
    told = [(each["eventType"], each["event"]["alarm"]["state"]) for each in listener.told]
    assert told.count(("AlarmCreateEvent", "raised")) == answer.sent
    assert told.count(("AlarmStateChangeEvent", "cleared")) == sum(row.state == "cleared" for row in answer.alarms)
    assert len({each["eventId"] for each in listener.told}) == len(told)
    raised = listener.told[0]["event"]["alarm"]
    assert raised["perceivedSeverity"] in SEVERITIES
    assert "alarmClearedTime" not in raised


def test_what_fails_in_passing_is_sent_again_with_longer_and_longer_pauses() -> None:
    pauses: list[float] = []
    with listening(503, 429, 201) as listener:
        assert send(two(), listener.address, wait=pauses.append) == 2
    assert pauses == [0.5, 1.0]
    assert [each["eventType"] for each in listener.told] == [
        "AlarmCreateEvent",
        "AlarmStateChangeEvent",
        "AlarmCreateEvent",
    ]


@pytest.mark.parametrize(("code", "times"), [(500, TRIES), (400, 1), (404, 1), (302, 1), (307, 1)])
def test_what_is_not_taken_is_told_and_ends_the_sending(code: int, times: int) -> None:
    pauses: list[float] = []
    with listening(code) as listener, pytest.raises(KarezError, match=f"it answered {code}.*0 of 2 alarms sent"):
        send(two(), listener.address, wait=pauses.append)
    assert len(pauses) == times - 1
    assert listener.told == []


def test_where_nobody_listens_it_is_tried_a_few_times_and_then_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        to = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        pauses: list[float] = []
        with pytest.raises(KarezError, match="could not be reached"):
            send(two(), to, wait=pauses.append)
    assert len(pauses) == TRIES - 1


@pytest.mark.parametrize(
    "to", ["noc", "ftp://noc/x", "http://", "http://a b/", "file:///etc/passwd", "http://x:99999/", "http://名/"]
)
def test_what_is_no_address_is_refused(to: str) -> None:
    with pytest.raises(InputError, match="is no address; give one such as"):
        require_address(to)


def test_an_address_with_a_password_in_it_is_refused_and_not_repeated() -> None:
    with pytest.raises(InputError) as raised:
        require_address("https://me:secret@noc.example/")
    assert "secret" not in str(raised.value)


def test_nothing_is_read_or_sent_where_the_file_cannot_be_written(net: Path, record: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("mine")
    with listening(201) as listener:
        told = refused("heal_alarms", record=record, network=net, output=tmp_path / "a.json", to=listener.address)
    assert "exists already" in told
    assert listener.told == []
    assert (tmp_path / "a.json").read_text() == "mine"


def test_the_command_ends_with_an_error_when_the_address_took_nothing(
    net: Path, record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with listening(400) as listener:
        words = ["heal", "alarms", str(record), "--network", str(net), "--to", listener.address]
        assert cli.main(words) == 1
    assert "did not take alarm" in capsys.readouterr().err
