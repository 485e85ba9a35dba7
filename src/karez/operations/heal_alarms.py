"""Findings of a recorded run as TMF642 alarms: to a file, or to the address of another system."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from karez.errors import InputError, KarezError
from karez.loop.recorded import again
from karez.operations import Answer, HealAlarmsQuestion
from karez.operations.heal import Ground, ground
from karez.operations.leaving import require_address_may_know
from karez.operations.networks import counted, now_s, provenance, require_new_file, write_new
from karez.operations.render.alarms import Alarm, alarms, encoded, events_of, facts_of, severity_of
from karez.operations.story import Episode, story
from karez.twin import Twin

# How often an alarm is sent at most, the pause before it is sent again (s), and how long a reply may take (s).
TRIES, PAUSE_S, REPLY_S = 4, 0.5, 10.0
# Answers that may well be others a moment later. Source: RFC 9110, RFC 6585.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
TABLES = ("links", "ducts", "equipment", "sites", "daemons", "configs", "demands")
UNKNOWN_TABLE = "unknown"


class AlarmRow(msgspec.Struct, frozen=True):
    """An alarm in short; the file has all of it."""

    id: str
    specific_problem: str
    alarmed_object: str
    state: str
    severity: str
    alarm_type: str
    probable_cause: str
    raised_at_s: float
    cleared_at_s: float | None
    correlated: int


class HealAlarmsAnswer(Answer, frozen=True, kw_only=True):
    """The alarms, the file that holds them, and to how many of them the address said yes."""

    alarms: tuple[AlarmRow, ...]
    output: str
    to: str
    sent: int


def run(question: HealAlarmsQuestion) -> HealAlarmsAnswer:
    """The alarms, after they were written and sent as was asked.

    Raises:
        InputError: there is no such record, the file cannot be written, or the address is none.
        Refused: the network may not be told of to the address.
        KarezError: the address did not take an alarm, however often it was sent.
    """
    if question.output:
        require_new_file(question.output)
    if question.to:
        require_address(question.to)
    of = ground(question.record, question.network)
    if question.to:
        require_address_may_know(of.world.intended, of.revision, question.to, at_s=now_s())
    whole = story(again(of.world, Path(question.record)), of.start_s)
    episodes = [episode for episode in whole.episodes if not (question.open_only and episode.closed_s is not None)]
    found = alarms(episodes, [_table_of(of.world.intended, episode) for episode in episodes], end_s=whole.end_s)
    if question.output:
        write_new(question.output, encoded(found))
    sent = send(found, question.to) if question.to else 0
    return HealAlarmsAnswer(
        headline=_headline(found, question, of),
        citation=_citation(of),
        alarms=tuple(map(_row, found)),
        output=question.output,
        to=question.to,
        sent=sent,
    )


def require_address(to: str) -> None:
    """Return only if something can be sent to an address.

    Raises:
        InputError: it is no http or https address of a host.
    """
    try:
        parts = urlsplit(to)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_good = False
    if is_good and "@" in parts.netloc:
        raise InputError.of("to", "holds a name or a password, which would be shown and kept", "leave it out")
    if not is_good or not to.isascii() or not to.isprintable() or " " in to:
        raise InputError.of("to", f"{to!r} is no address", "give one such as https://noc.example/listener")


def send(found: Sequence[Alarm], to: str, *, wait: Callable[[float], None] = time.sleep) -> int:
    """How many alarms the address took: a notification that each was raised, and one that it was cleared if it was.

    What fails in passing is sent again a few times, with longer and longer pauses.

    Raises:
        KarezError: an alarm was not taken; those after it were not sent.
    """
    for number, alarm in enumerate(found):
        why = next(filter(None, (_sent(event, to, wait) for event in events_of(alarm))), "")
        if why:
            told = f"{number} of {counted(len(found), 'alarm')} sent"
            raise KarezError(f"{to} did not take alarm {alarm.body['id']}: {why}; {told}, see to it and send again")
    return len(found)


class _Unmoved(urllib.request.HTTPRedirectHandler):
    """An address that has moved is no address: after a redirect the alarm would be asked for and not told."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the answer counts as it is."""
        return


def _sent(event: dict[str, object], to: str, wait: Callable[[float], None]) -> str:
    """Why a notification was not taken; empty if it was."""
    why = ""
    for attempt in range(TRIES):
        if attempt:
            wait(PAUSE_S * 2 ** (attempt - 1))
        why, is_passing = _posted(event, to)
        if not why or not is_passing:
            return why
    return f"{why}, {TRIES} times"


def _posted(event: dict[str, object], to: str) -> tuple[str, bool]:
    """Why a notification was not taken (empty: it was), and whether that may pass."""
    headers = {"Content-Type": "application/json;charset=utf-8", "User-Agent": "karez"}
    request = urllib.request.Request(to, msgspec.json.encode(event), headers, method="POST")
    try:
        with urllib.request.build_opener(_Unmoved).open(request, timeout=REPLY_S) as reply:
            reply.read(0)
            return "", False
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answered {error.code} {error.reason}".strip(), error.code in PASSING
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        return f"it could not be reached ({reason})", True


def _table_of(intended: Twin, episode: Episode) -> str:
    """The table that the subject of a finding is a row of."""
    return next((table for table in TABLES if intended[table].has(episode.subject)), UNKNOWN_TABLE)


def _row(alarm: Alarm) -> AlarmRow:
    episode, body = alarm.episode, alarm.body
    facts, correlated = facts_of(episode.kind), body["correlatedAlarm"]
    assert isinstance(correlated, list)
    return AlarmRow(
        id=str(body["id"]),
        specific_problem=episode.kind,
        alarmed_object=episode.subject,
        state=str(body["state"]),
        severity=severity_of(episode),
        alarm_type=facts.alarm_type,
        probable_cause=facts.probable_cause,
        raised_at_s=episode.opened_s,
        cleared_at_s=episode.closed_s,
        correlated=len(correlated),
    )


def _headline(found: Sequence[Alarm], question: HealAlarmsQuestion, of: Ground) -> str:
    note = " (synthetic network)" if of.revision.synthetic else ""
    raised = sum(alarm.episode.closed_s is None for alarm in found)
    what = f"{counted(len(found), 'alarm')}, {raised:,} of them raised still" if found else "No alarm"
    written = f", written to {question.output}" if question.output else ""
    sent = f", sent to {question.to}" if question.to and found else ""
    return f"{what}{written}{sent}{note}"


def _citation(of: Ground) -> str:
    record = f"record of {counted(of.events, 'event')} ending in {of.last_hash[:12]}, decided again"
    return f"alarms after TMF642 4.0 and ITU-T X.733; {record}; {provenance(of.revision)}"
