"""Planned work and freezes out of calendars: CSV, and iCalendar for work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from karez.errors import InputError
from karez.importers import icalendar_
from karez.importers.icalendar_ import Span, zone_named
from karez.importers.report import Dropped, causes, counted, grouped
from karez.importers.sheets import sheet
from karez.twin import schema
from karez.twin.check import DUPLICATE, EMPTY, NOWHERE
from karez.twin.store import LAST_S
from karez.twin.table import Array, Table
from karez.twin.twin import Twin

CALENDARS = (".ics", ".ical", ".ifb", ".icalendar")
MOST_ROWS = 100_000
# A year before the last day there is, so that times may still be moved by a little.
LATEST_S = LAST_S - 365 * 86_400
Row = Mapping[str, str | None]


@dataclass(frozen=True)
class Planned:
    """Rows of the table `works` or `freezes`, those that could not be used, and what was assumed or left out."""

    table: Table
    dropped: tuple[Dropped, ...] = ()
    assumed: tuple[str, ...] = ()

    def whole(self) -> Table:
        """The table, of a source of which nothing was dropped.

        Raises:
            InputError: every row that was.
        """
        if self.dropped:
            raise InputError(grouped(causes(self.dropped)))
        return self.table


def works(path: Path, *, from_s: float, to_s: float, zone: str = "", known: Twin | None = None) -> Planned:
    """Planned work that a CSV or iCalendar file tells of between two times (Unix time).

    CSV has the columns id, subject, from, to and note. An event of iCalendar is of what its RESOURCES name, or else its
    LOCATION. Times that name no zone are of `zone` (IANA). Subjects are looked up in `known`, if it is given.

    Raises:
        InputError: the file cannot be read, or lacks columns; there is no such zone or window.
    """
    if not 0 <= from_s < to_s <= LATEST_S:
        raise InputError.of("window", f"{from_s} to {to_s} s is none", f"give Unix times from 0 to {LATEST_S}")
    if path.suffix.lower() == ".csv":
        rows, labels, dropped = _csv(path, ("id", "subject"))
        read = [_spans_of(row, label, zone) for row, label in zip(rows, labels, strict=True)]
        spans, faults = _sorted_out(path, read)
        within = [span for span in spans if span.to_s > from_s and span.from_s < to_s]
        outside = len(spans) - len(within)
        told = [f"rows: {counted(outside, 'one')} outside of the window left out"] if outside else []
        return _planned("works", path, within, [*dropped, *faults], told, known)
    if path.suffix.lower() not in CALENDARS:
        raise InputError.of(path.name, "is neither CSV nor iCalendar", "give a .csv or .ics file")
    found = icalendar_.read(path, from_s=from_s, to_s=to_s, zone=zone)
    return _planned("works", path, found.spans, found.dropped, found.assumed, known)


def freezes(path: Path, *, zone: str = "", known: Twin | None = None) -> Planned:
    """The times in which nothing may be changed: CSV with the columns id, domain (empty: all), from and to.

    Raises:
        InputError: the file cannot be read, or lacks columns; there is no such zone.
    """
    if path.suffix.lower() != ".csv":
        raise InputError.of(path.name, "is not called .csv", "give a CSV file")
    rows, labels, dropped = _csv(path, ("id",))
    read = [_spans_of(row, label, zone, subject="domain") for row, label in zip(rows, labels, strict=True)]
    spans, faults = _sorted_out(path, read)
    return _planned("freezes", path, spans, [*dropped, *faults], [], known)


def _csv(path: Path, needed: Sequence[str]) -> tuple[list[Row], Sequence[str], list[Dropped]]:
    """The rows of a file, what names each, and those that cannot be taken apart.

    Raises:
        InputError: it cannot be read as CSV, or columns are missing.
    """
    found = sheet(path)
    columns = set(found.frame.columns)
    missing = [name for name in needed if name not in columns]
    missing += [name for name in ("from", "to") if not {name, f"{name}_s"} & columns]
    if missing:
        fix = "name it in the first line (from and to as 2026-03-01T22:00+08:00, or from_s and to_s in Unix time)"
        raise InputError.of(path.name, f"has no column {', '.join(missing)}", fix)
    spoilt = found.numbers != found.numbers
    dropped = []
    for each in found.spoilt:
        dropped += [Dropped(path.name, label, each.what, "", each.fix) for label in found.labels(each.rows)]
        spoilt |= each.rows
    rows: list[Row] = [row for row, bad in zip(found.frame.to_dicts(), spoilt.tolist(), strict=True) if not bad]
    return rows, found.labels(~spoilt), dropped


def _spans_of(row: Row, label: str, zone: str, *, subject: str = "subject") -> Span | tuple[str, str, str, str]:
    """What a row says; or what names it, the column that is wrong, why, and what to do."""
    name = (row.get("id") or "").strip()
    named = f"{label} ({name})" if name else label
    if not name:
        return named, "id", EMPTY, "give it an id"
    times: dict[str, float] = {}
    for end in ("from", "to"):
        column = end if row.get(end) else f"{end}_s"
        try:
            times[end] = _moment(row.get(end), row.get(f"{end}_s"), zone)
        except ValueError as error:
            return named, column, str(error), "write it as in 2026-03-01T22:00+08:00, or say which zone times are of"
    of = (row.get(subject) or "").strip()
    return Span(named, name, (of,) if of else (), times["from"], times["to"], (row.get("note") or "").strip())


def _moment(words: str | None, seconds: str | None, zone: str) -> float:
    """The Unix time that a cell tells, as a date and time or in seconds.

    Raises:
        ValueError: it tells none; the message says why.
    """
    if not (words or seconds):
        raise ValueError(EMPTY)
    if not words:
        return _number(seconds or "")
    try:
        told = datetime.fromisoformat(words.strip())
    except ValueError as error:
        raise ValueError("is no date and time") from error
    if told.tzinfo is not None:
        return told.timestamp()
    if not zone:
        raise ValueError("has no time zone")
    return told.replace(tzinfo=zone_named(zone)).timestamp()


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise ValueError("is no number of seconds") from error


def _sorted_out(path: Path, read: Sequence[Span | tuple[str, str, str, str]]) -> tuple[list[Span], list[Dropped]]:
    spans = [each for each in read if isinstance(each, Span)]
    wrong = [each for each in read if not isinstance(each, Span)]
    return spans, [Dropped(path.name, named, why, column, fix) for named, column, why, fix in wrong]


def _planned(
    table: str,
    path: Path,
    spans: Sequence[Span],
    dropped: Sequence[Dropped],
    assumed: Sequence[str],
    known: Twin | None,
) -> Planned:
    """The spans that can be used as rows of a table, and all that cannot."""
    faults = list(dropped)
    rows: dict[str, tuple[str, Span]] = {}
    for span in spans:
        why = _wrong(table, span, known)
        if not why and not rows.keys().isdisjoint(dict(_named(table, span))):
            why = DUPLICATE, "keep one of them, or give each its own id"
        if why:
            faults.append(Dropped(path.name, span.label, *_placed(*why)))
        else:
            rows |= {name: (subject, span) for name, subject in _named(table, span)}
    if len(rows) > MOST_ROWS:
        what = f"tells of {len(rows):,} times of work (at most {MOST_ROWS:,})"
        raise InputError.of(path.name, what, "ask for a shorter window, or split it")
    in_order = sorted(dict.fromkeys(faults), key=lambda fault: int(fault.row.split()[1]))
    return Planned(_table(table, rows), tuple(in_order), tuple(assumed))


def _placed(why: str, fix: str) -> tuple[str, str, str]:
    return why, "", fix


def _named(table: str, span: Span) -> Iterator[tuple[str, str]]:
    """The id and subject of each row that a span becomes: one for each subject."""
    if len(span.subjects) <= 1:
        yield span.id, span.subjects[0] if span.subjects else ""
    else:
        yield from ((f"{span.id}/{subject}", subject) for subject in span.subjects)


def _wrong(table: str, span: Span, known: Twin | None) -> tuple[str, str] | None:
    """Why a span cannot be a row, and what to do."""
    if table == "works" and not span.subjects:
        return "names nothing that is worked on", "name ids in the column subject, or in RESOURCES or LOCATION"
    if not (math.isfinite(span.from_s) and math.isfinite(span.to_s)) or not 0 <= span.from_s <= span.to_s <= LAST_S:
        return "begins or ends at no time that counts, or ends before it begins", "correct from and to"
    if span.from_s == span.to_s:
        return "ends when it begins", "correct from and to"
    targets = schema.column(table, "subject" if table == "works" else "domain").refers_to
    lost = [each for each in span.subjects if known is not None and not any(known[name].has(each) for name in targets)]
    if lost:
        return f"{NOWHERE}: {', '.join(lost)}", f"name ids of {', '.join(targets)}"
    return None


def _table(name: str, rows: Mapping[str, tuple[str, Span]]) -> Table:
    if not rows:
        return Table.of(name)
    columns: dict[str, Array | list[str | float | int | bool]] = {
        "id": list(rows),
        "subject" if name == "works" else "domain": [subject for subject, _ in rows.values()],
        "from_s": [span.from_s for _, span in rows.values()],
        "to_s": [span.to_s for _, span in rows.values()],
    }
    if name == "works":
        columns["note"] = [span.note for _, span in rows.values()]
    return Table.of(name, columns)


__all__ = ["Planned", "freezes", "works"]
