"""Findings as alarms of TMF642, the interface of TM Forum for alarm management.

Source: TMF642 Alarm Management API 4.0 (resource Alarm, notifications AlarmCreateEvent and AlarmStateChangeEvent); its
information model is that of ITU-T X.733. Types, causes and severities by kind: library/alarm_causes.csv.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from karez.operations.render.healing import cause, listed, noticed
from karez.operations.story import Course, Episode, Sure
from karez.twin.facts import library

Json = dict[str, object]
SYSTEM = "karez"
# From the least severe to the most; what users feel is one step more severe. Source: ITU-T X.733, 8.1.2.3.
SEVERITIES = ("warning", "minor", "major", "critical")
UNKNOWN = "unknown"
ID_DIGITS = 16


class Facts(NamedTuple):
    """What a kind of finding is as an alarm."""

    alarm_type: str
    probable_cause: str
    severity: str


class Alarm(NamedTuple):
    """An alarm: the finding it is of, and what TMF642 would have of it."""

    episode: Episode
    body: Json


def alarms(episodes: Sequence[Episode], tables: Sequence[str], *, end_s: float) -> tuple[Alarm, ...]:
    """The alarm of each finding; `tables` names the table that each subject is a row of."""
    return tuple(
        Alarm(episode, _body(episode, table, _related(episode, episodes, end_s), end_s))
        for episode, table in zip(episodes, tables, strict=True)
    )


def events_of(alarm: Alarm) -> tuple[Json, ...]:
    """The notifications that tell another system of an alarm: that it was raised, and, if so, that it was cleared."""
    raised = _notification("AlarmCreateEvent", _raised(alarm))
    if alarm.episode.closed_s is None:
        return (raised,)
    return raised, _notification("AlarmStateChangeEvent", alarm.body)


def _notification(kind: str, body: Json) -> Json:
    return {
        "@type": kind,
        "eventId": _digits(f"{body['id']}/{kind}"),
        "eventType": kind,
        "eventTime": body["alarmReportingTime"],
        "event": {"alarm": body},
    }


def _raised(alarm: Alarm) -> Json:
    """The alarm as it was when it was raised."""
    raised_at = moment(alarm.episode.opened_s)
    body = {key: value for key, value in alarm.body.items() if key not in ("alarmClearedTime", "clearSystemId")}
    told = {"state": "raised", "perceivedSeverity": severity_of(alarm.episode)}
    return body | told | {"alarmChangedTime": raised_at, "alarmReportingTime": raised_at}


def facts_of(kind: str) -> Facts:
    """What a kind of finding is as an alarm; of a kind that the library does not know, what an unknown cause is."""
    rows = {row["kind"]: row for row in library("alarm_causes")}
    row = rows.get(kind, rows[UNKNOWN])
    return Facts(row["alarm_type"], row["probable_cause"], row["severity"])


def severity_of(episode: Episode) -> str:
    """How severe a finding is: as its kind, and one step more where users feel it."""
    severity = facts_of(episode.kind).severity
    felt = episode.at_first.felt or episode.at_best.felt
    return SEVERITIES[min(SEVERITIES.index(severity) + felt, len(SEVERITIES) - 1)]


def alarm_id(episode: Episode) -> str:
    """What names an alarm: the finding, and when it opened."""
    return _digits(f"{episode.id}@{episode.opened_s!r}")


def moment(at_s: float) -> str:
    """A second of Unix time as RFC 3339 has it, in UTC and to the millisecond."""
    whole = int(at_s // 1)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((at_s - whole) * 1000):03d}Z"


def _body(episode: Episode, table: str, related: Sequence[Episode], end_s: float) -> Json:
    facts, sure = facts_of(episode.kind), episode.at_best
    is_gone = episode.closed_s is not None
    changed_s = episode.opened_s if episode.closed_s is None else episode.closed_s
    body: Json = {
        "@type": "Alarm",
        "id": alarm_id(episode),
        "href": f"/tmf-api/alarmManagement/v4/alarm/{alarm_id(episode)}",
        "externalAlarmId": episode.id,
        "alarmType": facts.alarm_type,
        "perceivedSeverity": "cleared" if is_gone else severity_of(episode),
        "probableCause": facts.probable_cause,
        "specificProblem": episode.kind,
        "state": "cleared" if is_gone else "raised",
        "ackState": "unacknowledged",
        "alarmRaisedTime": moment(episode.opened_s),
        "alarmChangedTime": moment(changed_s),
        "alarmReportingTime": moment(changed_s),
        "alarmDetails": _details(episode, sure),
        "alarmedObject": {"@type": "AlarmedObject", "id": episode.subject, "@referredType": table},
        "alarmedObjectType": table,
        "isRootCause": episode.kind != UNKNOWN,
        "serviceAffecting": episode.at_first.felt or sure.felt,
        "affectedService": [{"@type": "AffectedService", "id": name} for name in _felt(episode)],
        "correlatedAlarm": [{"@type": "AlarmRef", "id": alarm_id(other)} for other in related],
        "proposedRepairedActions": _proposed(episode.courses),
        "sourceSystemId": SYSTEM,
        "reportingSystemId": SYSTEM,
        "comment": [_comment(course) for course in episode.courses],
    }
    if episode.closed_s is not None:
        body |= {"alarmClearedTime": moment(episode.closed_s), "clearSystemId": SYSTEM}
    return body


def _details(episode: Episode, sure: Sure) -> str:
    others = [f"{cause(kind, subject)} {share:.0%}" for kind, subject, share in sure.others]
    signals = [noticed(signal, episode.opened_s) for signal in sure.signals]
    told = f"{cause(episode.kind, episode.subject)}, {sure.confidence:.0%} sure, {sure.sources} independent sources"
    more = [f"else {listed(others)}"] if others else []
    more += [f"noticed {listed(signals)}"] if signals else []
    return ". ".join([told, *more])


def _felt(episode: Episode) -> list[str]:
    """The demands whose users feel it."""
    signals = (*episode.at_first.signals, *episode.at_best.signals)
    return sorted({signal.subject for signal in signals if signal.source == "user"})


def _related(episode: Episode, episodes: Sequence[Episode], end_s: float) -> list[Episode]:
    """The findings that were open at the same time and share a signal or the subject."""
    signals = {signal.id for signal in (*episode.at_first.signals, *episode.at_best.signals)}
    found = []
    for other in episodes:
        if other is episode or not _overlap(episode, other, end_s):
            continue
        theirs = {signal.id for signal in (*other.at_first.signals, *other.at_best.signals)}
        if other.subject == episode.subject or signals & theirs:
            found.append(other)
    return found


def _overlap(one: Episode, other: Episode, end_s: float) -> bool:
    ends = [end_s if each.closed_s is None else each.closed_s for each in (one, other)]
    return max(one.opened_s, other.opened_s) <= min(ends)


def _proposed(courses: Sequence[Course]) -> str:
    acts = [f"{action.kind} {action.subject}" for course in courses for action in course.plan.actions]
    return listed(list(dict.fromkeys(acts)))


def _comment(course: Course) -> Json:
    last = course.said[-1].verdict if course.said else None
    acts = listed([f"{action.kind} {action.subject}" for action in course.plan.actions])
    word = f"{last.verdict}{f' ({last.why})' if last.why else ''}" if last else "made"
    return {
        "@type": "Comment",
        "comment": f"plan {course.plan.id}, {acts}: {word}",
        "systemId": SYSTEM,
        "time": moment(course.said[-1].at_s if course.said else course.made_s),
    }


def _digits(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:ID_DIGITS]


def encoded(found: Sequence[Alarm]) -> bytes:
    """All alarms as a JSON list, which a listing of TMF642 is."""
    return msgspec.json.format(msgspec.json.encode([alarm.body for alarm in found]), indent=2) + b"\n"
