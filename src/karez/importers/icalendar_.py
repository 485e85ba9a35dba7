"""Events of an iCalendar file within a window of time, recurring ones each time that they recur.

Wall-clock times are read in the zone that they name: an IANA zone, one that the file defines, or a Windows name. A time
that the clock skips is read by the offset before, one that it shows twice is the first.
Source: RFC 5545, sections 3.3.5 (times), 3.3.10 (rules), 3.6.1 (events), 3.8.4.4 (RECURRENCE-ID), 3.8.5 (recurrence).
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from karez.errors import InputError
from karez.importers.report import REFETCH, Dropped, counted, document, extra

LARGEST_BYTES = 32 * 2**20
# More than any zone is from UTC, and any change of clocks.
NEAR = timedelta(days=2)
# How often all events of a file may recur from their beginning to the end of the window.
MOST_STEPS = 1_000_000
FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
FIRST = datetime(1970, 1, 1)
# What is read of an event; if another part of it cannot be read, that does no harm.
USED = frozenset(
    {"UID", "DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID"}
    | {"RESOURCES", "LOCATION", "SUMMARY", "STATUS", "SEQUENCE"}
)
_DURATION = re.compile(r"\+?P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
_COMMA = re.compile(r"(?<!\\),")
# What icalendar and dateutil raise on what they cannot read.
_UNREADABLE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, NotImplementedError)


class Span(NamedTuple):
    """One time that an event takes place: what names it, when (Unix time), what it is of, and its title."""

    label: str
    id: str
    subjects: tuple[str, ...]
    from_s: float
    to_s: float
    note: str


@dataclass(frozen=True)
class Events:
    """The spans found, the events that could not be used, and what was assumed or left out."""

    spans: tuple[Span, ...]
    dropped: tuple[Dropped, ...]
    assumed: tuple[str, ...]


class _Unusable(Exception):
    """Why an event cannot be used, and what to do."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.what, self.fix = what, fix


@dataclass(frozen=True)
class _Event:
    """An event as its file has it, or what one recurrence of it was changed to (`replaces`: its start before)."""

    label: str
    uid: str
    wall: datetime
    zone: tzinfo
    lasts: Callable[[datetime], float]
    subjects: tuple[str, ...]
    note: str
    cancelled: bool
    version: tuple[int, str]
    rule: Mapping[str, Any] = field(default_factory=dict)
    more: tuple[tuple[datetime, tzinfo, float], ...] = ()
    never_s: frozenset[float] = frozenset()
    never_on: frozenset[date] = frozenset()
    replaces: datetime | None = None
    replaces_s: float = math.nan
    onwards: bool = False

    @property
    def recurs(self) -> bool:
        return bool(self.rule or self.more)

    @property
    def start_s(self) -> float:
        return _seconds(self.wall, self.zone)


@dataclass
class _Steps:
    """How often events may still recur in this file."""

    left: int = MOST_STEPS

    def __call__(self, times: Iterator[datetime]) -> Iterator[datetime]:
        for each in times:
            self.left -= 1
            if self.left < 0:
                raise _Unusable("recurs too often with all before it", "shorten its rule, or split the file")
            yield each


def read(path: Path, *, from_s: float, to_s: float, zone: str = "") -> Events:
    """What takes place between two times, by the events of a file; `zone` is that of times which name none.

    Raises:
        InputError: the file cannot be read, is cut off or is no calendar, or there is no such zone.
    """
    lines = _lines(path)
    blocks = list(_blocks(path, lines))
    zones = _Zones([text for kind, _, text in blocks if kind == "VTIMEZONE"], zone, _its_zone(lines))
    found: list[_Event] = []
    dropped: list[Dropped] = []
    for number, text in ((number, text) for kind, number, text in blocks if kind == "VEVENT"):
        label = f"line {number}"
        try:
            found.append(_event(label, text, zones))
        except _Unusable as error:
            named = f"{label} ({uid})" if (uid := _raw(text, "UID")) else label
            dropped.append(Dropped(path.name, named, error.what, "", error.fix))
    spans, unusable = _spans(found, from_s, to_s)
    dropped += [Dropped(path.name, label, error.what, "", error.fix) for label, error in unusable]
    within = [span for span in spans if span.to_s > from_s and span.from_s < to_s]
    others = sum(kind not in ("VEVENT", "VTIMEZONE") for kind, _, _ in blocks)
    there = {span.label for span in within} | {label for label, _ in unusable}
    outside = sum(not event.cancelled and event.label not in there for event in found)
    told = [*zones.assumed, *_left_out(found, outside, others)]
    return Events(tuple(within), tuple(dropped), tuple(told))


def zone_named(name: str) -> tzinfo:
    """The time zone of an IANA name.

    Raises:
        InputError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError.of("zone", f"{name!r} is no time zone", "write it as in Asia/Shanghai") from error


def _lines(path: Path) -> list[tuple[int, str]]:
    """The unfolded lines of a file, each with the number of its first."""
    data = document(path, largest_bytes=LARGEST_BYTES)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data.count(b"\n", 0, error.start)
        rows = [f"line {before + 1}"]
        raise InputError.of(path.name, "is not UTF-8", "save it in UTF-8", rows) from error
    if "\0" in text:
        raise InputError.of(path.name, "holds zero bytes", REFETCH)
    lines: list[tuple[int, list[str]]] = []
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        if line[:1] in (" ", "\t") and lines:
            lines[-1][1].append(line[1:])
        else:
            lines.append((number, [line]))
    return [(number, "".join(parts)) for number, parts in lines]


def _blocks(path: Path, lines: Sequence[tuple[int, str]]) -> Iterator[tuple[str, int, str]]:
    """Each component of the calendars: its kind, the line where it begins, and its text.

    Raises:
        InputError: it is no calendar, or ends within one.
    """
    open_: list[tuple[str, int, int]] = []
    calendars = 0
    number = 1
    for position, (number, line) in enumerate(lines):
        word, _, kind = line.strip().upper().partition(":")
        if word == "BEGIN":
            calendars += kind == "VCALENDAR"
            open_.append((kind, number, position))
        elif word == "END":
            if not open_ or open_[-1][0] != kind:
                what = f"ends a {kind} that did not begin"
                raise InputError.of(path.name, what, REFETCH, [f"line {number}"])
            kind, began, first = open_.pop()
            if [each for each, _, _ in open_] == ["VCALENDAR"]:
                texts = [text for _, text in lines[first : position + 1]]
                yield kind, began, "\r\n".join([*texts, ""])
    if open_:
        raise InputError.of(path.name, f"ends within a {open_[-1][0]}: it was cut off", REFETCH, [f"line {number}"])
    if not calendars:
        raise InputError.of(path.name, "is no iCalendar file", "give one that begins with BEGIN:VCALENDAR")


def _its_zone(lines: Sequence[tuple[int, str]]) -> str:
    """The zone that the calendar names for itself; empty where it names none."""
    return next((line.partition(":")[2].strip() for _, line in lines if line.upper().startswith("X-WR-TIMEZONE:")), "")


class _Zones:
    """The time zones of a file, and those that were assumed."""

    def __init__(self, defined: Sequence[str], asked: str, its: str) -> None:
        """The zones that a file defines; times that name none are of the zone asked for, or else of its own."""
        self.assumed: list[str] = []
        self._known = {name: zone for name, zone in map(_defined, defined) if zone is not None}
        self._default, self._floating = asked or its, zone_named(asked) if asked else None
        if its and not asked:
            with suppress(_Unusable):
                self._floating = self._named(its)

    def of(self, value: datetime, name: str) -> tzinfo:
        """The zone of a time that names one, or is in UTC, or names none."""
        if name:
            return self._named(name)
        if value.tzinfo is not None:
            return UTC
        if self._floating is None:
            raise _Unusable("has a time without a time zone", "say which zone such times are of")
        self._assume(f"time zone: {self._default} for times that name none")
        return self._floating

    def of_days(self) -> tzinfo:
        """The zone of whole days."""
        if self._floating is None:
            raise _Unusable("is of whole days, and no time zone is named", "say which zone such days are of")
        self._assume(f"time zone: {self._default} for whole days")
        return self._floating

    def _named(self, name: str) -> tzinfo:
        if name not in self._known:
            self._known[name] = self._guessed(name)
        return self._known[name]

    def _guessed(self, name: str) -> tzinfo:
        """A zone of the world by an IANA name, a Windows name, or an IANA name with something before it."""
        windows = extra("icalendar.timezone.windows_to_olson").WINDOWS_TO_OLSON
        parts = name.strip("/").split("/")
        for told in [name, windows.get(name, ""), *("/".join(parts[start:]) for start in range(1, len(parts)))]:
            try:
                found = ZoneInfo(told) if told else None
            except (ZoneInfoNotFoundError, ValueError, OSError):
                continue
            if found is not None:
                if told != name:
                    self._assume(f"time zone: {told} for {name}")
                return found
        raise _Unusable(f"names the time zone {name}, which nobody knows", "use an IANA name such as Asia/Shanghai")

    def _assume(self, said: str) -> None:
        if said not in self.assumed:
            self.assumed.append(said)


def _defined(text: str) -> tuple[str, tzinfo | None]:
    """The name of a zone that a file defines, and the zone; none where the world knows it, or it cannot be read."""
    name = _raw(text, "TZID")
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # A rule that recurs by the minute would be walked through for every time.
        if any(rule and "FREQ=YEARLY" not in rule.upper() for rule in _raws(text, "RRULE")):
            return name, None
        try:
            zone: tzinfo = extra("icalendar").Timezone.from_ical(text).to_tz(lookup_tzid=False)
            datetime(2026, 1, 1, tzinfo=zone).utcoffset()
        except _UNREADABLE:
            return name, None
        return name, zone
    return name, None


def _event(label: str, text: str, zones: _Zones) -> _Event:
    """An event of its text.

    Raises:
        _Unusable: it does not say what, from when or to when, or says it in a way that cannot be read.
    """
    parsed = _parsed(text)
    uid = _raw(text, "UID")
    if not uid:
        raise _Unusable("has no UID", "give it one")
    if "DTSTART" not in parsed:
        raise _Unusable("has no DTSTART", "say when it begins")
    try:
        wall, zone, whole_days = _time(parsed["DTSTART"], zones)
        found = _Event(
            label=f"{label} ({uid})",
            uid=uid,
            wall=wall,
            zone=zone,
            lasts=_lasts(parsed, text, wall, zone, whole_days=whole_days, zones=zones),
            subjects=_subjects(text),
            note=" ".join(str(parsed.get("SUMMARY", "")).split()),
            cancelled=str(parsed.get("STATUS", "")).upper() == "CANCELLED",
            version=(int(parsed.get("SEQUENCE", 0)), _raw(text, "DTSTAMP")),
            rule=_rule(parsed),
        )
        return _replacing(_recurring(found, parsed, zones), parsed, zones)
    except _UNREADABLE as error:
        raise _Unusable(f"cannot be read ({error})", "correct it") from error


def _parsed(text: str) -> Any:
    """What icalendar makes of an event."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parsed = extra("icalendar").Event.from_ical(text)
        except _UNREADABLE as error:
            raise _Unusable(f"cannot be read ({error})", "correct it") from error
    wrong = [f"{name}: {what}" if name else what for name, what in parsed.errors if not name or name in USED]
    if wrong:
        raise _Unusable(f"cannot be read ({wrong[0]})", "correct it")
    single = ("DTSTART", "DTEND", "DURATION", "RRULE", "RECURRENCE-ID", "STATUS", "SEQUENCE", "SUMMARY")
    twice = [name for name in single if isinstance(parsed.get(name), list)]
    if twice:
        raise _Unusable(f"has more than one {twice[0]}", "keep one of them")
    return parsed


def _raws(text: str, name: str) -> list[str]:
    """The values of a property as they stand in the text, escapes and all."""
    line = extra("icalendar.parser").Contentline
    heads = (f"{name};", f"{name}:")
    return [
        each[line(each).value_separator_index() + 1 :] for each in text.split("\r\n") if each.upper().startswith(heads)
    ]


def _raw(text: str, name: str) -> str:
    return next(iter(_raws(text, name)), "").strip()


def _subjects(text: str) -> tuple[str, ...]:
    """The ids that an event is of: its resources, or else its location."""
    listed = [_unescaped(part) for value in _raws(text, "RESOURCES") for part in _COMMA.split(value)]
    ids = [each for each in listed if each] or [_unescaped(_raw(text, "LOCATION"))]
    return tuple(dict.fromkeys(each for each in ids if each))


def _unescaped(text: str) -> str:
    return re.sub(r"\\([\\;,])", r"\1", text).strip()


def _time(value: Any, zones: _Zones) -> tuple[datetime, tzinfo, bool]:
    """The wall-clock time of a property, its zone, and whether it is a whole day."""
    told = value.dt
    if isinstance(told, datetime):
        return told.replace(tzinfo=None), zones.of(told, str(value.params.get("TZID", ""))), False
    if isinstance(told, date):
        return datetime(told.year, told.month, told.day), zones.of_days(), True
    raise _Unusable("has a time of day without a day", "give both")


def _seconds(wall: datetime, zone: tzinfo) -> float:
    return wall.replace(tzinfo=zone).timestamp()


def _lasts(
    parsed: Any, text: str, wall: datetime, zone: tzinfo, *, whole_days: bool, zones: _Zones
) -> Callable[[datetime], float]:
    """How long an event that begins at a wall-clock time lasts (s): exactly so long by DTEND, nominally by days."""
    if "DTEND" in parsed:
        end, end_zone, _ = _time(parsed["DTEND"], zones)
        if whole_days:
            return _nominal(end - wall, 0.0, zone)
        return _exact(_seconds(end, end_zone) - _seconds(wall, zone))
    if "DURATION" in parsed:
        match = _DURATION.fullmatch(_raw(text, "DURATION").upper())
        if match is None:
            raise _Unusable("has a duration that cannot be read", "write it as in PT2H30M")
        weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return _nominal(timedelta(days=7 * weeks + days), hours * 3600.0 + minutes * 60.0 + seconds, zone)
    if whole_days:
        return _nominal(timedelta(days=1), 0.0, zone)
    raise _Unusable("has no end", "give DTEND or DURATION")


def _exact(lasts_s: float) -> Callable[[datetime], float]:
    if lasts_s <= 0:
        raise _Unusable("ends before it begins, or at once", "correct DTSTART or DTEND")
    return lambda wall: lasts_s


def _nominal(days: timedelta, more_s: float, zone: tzinfo) -> Callable[[datetime], float]:
    """So many days by the calendar, and so many seconds by the clock."""
    if days.total_seconds() + more_s <= 0:
        raise _Unusable("ends before it begins, or at once", "correct its end")
    return lambda wall: _seconds(wall + days, zone) + more_s - _seconds(wall, zone)


def _rule(parsed: Any) -> Mapping[str, Any]:
    """The rule that an event recurs by; empty where there is none.

    Raises:
        _Unusable: it is one that nobody plans work by, or says nothing.
    """
    if "RRULE" not in parsed:
        return {}
    rule = {str(name).upper(): values for name, values in parsed["RRULE"].items()}
    if str((rule.get("FREQ") or [""])[0]).upper() not in FREQUENCIES:
        raise _Unusable("recurs more often than daily, or not at all", f"use one of {', '.join(FREQUENCIES)}")
    if any(int(value) < 1 for name in ("INTERVAL", "COUNT") for value in rule.get(name, ())):
        raise _Unusable("recurs every 0 times, or never", "give an INTERVAL and COUNT of at least 1")
    if {"RSCALE", "SKIP"} & rule.keys():
        raise _Unusable("recurs by another calendar (RSCALE)", "write the days as RDATE")
    return rule


def _recurring(event: _Event, parsed: Any, zones: _Zones) -> _Event:
    """The event with the times that it takes place at besides its rule, and those that it does not."""
    more = [_more(event, each, zones) for each in _listed(parsed, "RDATE")]
    never = [_time(each, zones) for each in _listed(parsed, "EXDATE")]
    return replace(
        event,
        more=tuple(more),
        never_s=frozenset(_seconds(wall, zone) for wall, zone, _ in never),
        # Calendars that name the day alone mean whatever begins on it.
        never_on=frozenset(wall.date() for wall, _, whole_day in never if whole_day),
    )


class _Dated(NamedTuple):
    """One time of a list, as single times are."""

    dt: Any
    params: Mapping[str, str]


def _listed(parsed: Any, name: str) -> list[_Dated]:
    """The times of a property that may stand several times, with several times in each."""
    found = parsed.get(name, [])
    lists = found if isinstance(found, list) else [found]
    return [_Dated(each.dt, some.params) for some in lists for each in some.dts]


def _more(event: _Event, told: _Dated, zones: _Zones) -> tuple[datetime, tzinfo, float]:
    """A further time that an event takes place at: when by the clock of which zone, and how long (s)."""
    if not isinstance(told.dt, tuple):
        wall, zone, _ = _time(told, zones)
        return wall, zone, event.lasts(wall)
    start, end = told.dt
    wall, zone, _ = _time(_Dated(start, told.params), zones)
    if isinstance(end, timedelta):
        return wall, zone, end.total_seconds()
    end_wall, end_zone, _ = _time(_Dated(end, told.params), zones)
    return wall, zone, _seconds(end_wall, end_zone) - _seconds(wall, zone)


def _replacing(event: _Event, parsed: Any, zones: _Zones) -> _Event:
    """The event with the recurrence that it takes the place of, if it does."""
    if "RECURRENCE-ID" not in parsed:
        return event
    told = parsed["RECURRENCE-ID"]
    wall, zone, _ = _time(told, zones)
    onwards = str(told.params.get("RANGE", "")).upper() == "THISANDFUTURE"
    return replace(event, replaces=wall, replaces_s=_seconds(wall, zone), onwards=onwards)


def _spans(found: Sequence[_Event], from_s: float, to_s: float) -> tuple[list[Span], list[tuple[str, _Unusable]]]:
    """All times that the events take place at before the window ends, and events that cannot be used."""
    spans: list[Span] = []
    unusable: list[tuple[str, _Unusable]] = []
    steps = _Steps()
    newest: dict[tuple[str, float], _Event] = {}
    for event in found:
        # Of two versions of the same, the newer one holds.
        key = (event.uid, event.replaces_s if event.replaces else -1.0)
        if key not in newest or newest[key].version <= event.version:
            newest[key] = event
    by_uid: dict[str, list[_Event]] = {}
    for event in newest.values():
        by_uid.setdefault(event.uid, []).append(event)
    for events in by_uid.values():
        first = next((event for event in events if event.replaces is None), None)
        changes = sorted((event for event in events if event.replaces), key=lambda event: event.replaces_s)
        try:
            spans += _series(first, changes, from_s, to_s, steps)
        except _Unusable as error:
            unusable.append(((first or changes[0]).label, error))
        except _UNREADABLE as error:
            why = _Unusable(f"recurs in a way that cannot be read ({error})", "correct its rule")
            unusable.append(((first or changes[0]).label, why))
    return spans, unusable


def _series(
    first: _Event | None, changes: Sequence[_Event], from_s: float, to_s: float, steps: _Steps
) -> Iterator[Span]:
    """The times that one event takes place at, and those that were changed."""
    changed = {change.replaces_s for change in changes}
    recurs = bool(changes) or (first is not None and first.recurs)
    for change in changes:
        if not change.cancelled:
            yield _span(change, change.start_s, change.lasts(change.wall), change.replaces_s, recurs=True)
    if first is None or first.cancelled:
        return
    onwards = [change for change in changes if change.onwards]
    margin = max([NEAR, *(abs(_shift(change)) + NEAR for change in onwards)])
    for wall, zone, lasts_s in _times(first, from_s, to_s, margin, steps):
        start_s = _seconds(wall, zone)
        if start_s in changed or start_s in first.never_s or wall.date() in first.never_on:
            continue
        latest = next((change for change in reversed(onwards) if change.replaces_s <= start_s), None)
        if latest is None:
            yield _span(first, start_s, lasts_s, start_s, recurs=recurs)
        elif not latest.cancelled:
            moved = wall - _shift(latest)
            yield _span(latest, _seconds(moved, latest.zone), latest.lasts(moved), start_s, recurs=True)


def _shift(change: _Event) -> timedelta:
    """How much earlier a change lets an event begin, by the clock on the wall."""
    return (change.replaces or change.wall) - change.wall


def _times(
    event: _Event, from_s: float, to_s: float, margin: timedelta, steps: _Steps
) -> Iterator[tuple[datetime, tzinfo, float]]:
    """When an event begins and how long it lasts: all that may be in the window, when moved by the margin at most.

    Its own start is always the first of them.
    """
    lasts = timedelta(seconds=event.lasts(event.wall))
    begin = datetime.fromtimestamp(from_s, UTC).replace(tzinfo=None) - margin - lasts
    end = datetime.fromtimestamp(to_s, UTC).replace(tzinfo=None) + margin
    seen = set()
    for wall in steps(chain([event.wall], _ruled(event, end))):
        if wall >= begin:
            seen.add(_seconds(wall, event.zone))
            yield wall, event.zone, event.lasts(wall)
    for wall, zone, lasts_s in event.more:
        if _seconds(wall, zone) not in seen:
            yield wall, zone, lasts_s


def _ruled(event: _Event, end: datetime) -> Iterator[datetime]:
    """The wall-clock times after the first at which an event begins by its rule, until `end`."""
    if not event.rule:
        return iter(())
    if event.wall < FIRST:
        raise _Unusable("has recurred since before 1970", "let its rule begin later")
    parts = {name: values for name, values in event.rule.items() if name not in ("UNTIL", "COUNT")}
    limits = [_until(value, event.zone) for value in event.rule.get("UNTIL", ())]
    rule = extra("dateutil.rrule").rrulestr(
        ";".join(f"{name}={','.join(map(_word, values))}" for name, values in parts.items()), dtstart=event.wall
    )
    later = (wall for wall in rule.replace(until=min([end, *limits])) if wall > event.wall)
    counts = event.rule.get("COUNT")
    return islice(later, int(counts[0]) - 1) if counts else later


def _until(value: Any, zone: tzinfo) -> datetime:
    """The last wall-clock time that a rule allows; a day counts to its end."""
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day) + timedelta(days=1, microseconds=-1)
    return value if value.tzinfo is None else value.astimezone(zone).replace(tzinfo=None)


def _word(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _span(event: _Event, from_s: float, lasts_s: float, was_s: float, *, recurs: bool) -> Span:
    """One time that an event takes place; of one that recurs, it is named by when it would have been."""
    day = f"/{datetime.fromtimestamp(was_s, UTC):%Y%m%dT%H%M%SZ}" if recurs else ""
    return Span(event.label, f"{event.uid}{day}", event.subjects, from_s, from_s + lasts_s, event.note)


def _left_out(found: Sequence[_Event], outside: int, others: int) -> Iterator[str]:
    cancelled = sum(event.cancelled for event in found)
    if cancelled:
        yield f"events: {counted(cancelled, 'cancelled one')} left out"
    if outside:
        yield f"events: {counted(outside, 'one')} outside of the window left out"
    if others:
        yield f"components: {counted(others, 'one')} left out that {'is' if others == 1 else 'are'} no event"
