"""Planned work and freezes from CSV and iCalendar: when, on what, and what cannot be used."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.instances.ring import ring
from karez.errors import InputError
from karez.importers.calendar import Planned, freezes, works
from karez.twin.check import check_rows
from karez.twin.table import Table

CASES = Path(__file__).parent / "cases" / "calendar"
RING = ring().intended


def at_s(*moment: int, zone: str = "UTC") -> float:
    return datetime(*moment, tzinfo=ZoneInfo(zone)).timestamp()  # type: ignore[arg-type, misc]


SPRING = (at_s(2026, 3, 1), at_s(2026, 5, 1))


def read(path: Path, zone: str = "", window: tuple[float, float] = SPRING) -> Planned:
    return works(path, from_s=window[0], to_s=window[1], zone=zone, known=RING)


def event(tmp_path: Path, *lines: str, zone: str = "", window: tuple[float, float] = SPRING) -> Planned:
    """What is read of one event of link l01, or of several that are told apart by `--`."""
    text = "\r\n".join(lines).replace("--", "LOCATION:l01\r\nEND:VEVENT\r\nBEGIN:VEVENT")
    body = f"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n{text}\r\nLOCATION:l01\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    (tmp_path / "w.ics").write_bytes(body.encode())
    return read(tmp_path / "w.ics", zone, window)


def starts(planned: Planned) -> list[str]:
    """When each work begins (UTC), in the order of time."""
    assert planned.dropped == ()
    return [f"{datetime.fromtimestamp(each, UTC):%m-%d %H:%M}" for each in sorted(planned.table["from_s"].tolist())]


def hours(planned: Planned) -> list[float]:
    return ((planned.table["to_s"] - planned.table["from_s"]) / 3_600.0).tolist()  # type: ignore[no-any-return]


def test_a_calendar_of_many_kinds_of_events_is_read_whole() -> None:
    found = read(CASES / "works.ics")
    told = {
        str(row["id"]): (row["subject"], row["from_s"], row["to_s"], row["note"]) for row in found.whole().records()
    }
    assert told == {
        "once@carrier/l01": ("l01", at_s(2026, 3, 1, 14), at_s(2026, 3, 1, 16), "Renew the fibre, both ways"),
        "once@carrier/l12": ("l12", at_s(2026, 3, 1, 14), at_s(2026, 3, 1, 16), "Renew the fibre, both ways"),
        # 23:00 in Berlin is 22:00 UTC in winter and 21:00 in summer.
        "weekly@carrier/20260315T220000Z": ("r3", at_s(2026, 3, 15, 22), at_s(2026, 3, 16, 0), "Patch"),
        "weekly@carrier/20260329T210000Z": ("r3", at_s(2026, 3, 29, 23), at_s(2026, 3, 30, 0), "Patch later"),
        "weekly@carrier/20260405T210000Z": ("r3", at_s(2026, 4, 5, 21), at_s(2026, 4, 5, 23), "Patch"),
        "day@carrier": ("c2", at_s(2026, 3, 9, 16), at_s(2026, 3, 10, 16), "Power of the site is off"),
        "own-zone@carrier": ("l23", at_s(2026, 3, 12, 6, 30), at_s(2026, 3, 12, 7, 30), ""),
        "windows@carrier": ("l23", at_s(2026, 3, 13, 4), at_s(2026, 3, 13, 5), ""),
        "floating@carrier": ("l34", at_s(2026, 3, 15, 0), at_s(2026, 3, 15, 1), ""),
    }
    assert set(found.assumed) == {
        "time zone: Asia/Shanghai for whole days",
        "time zone: Asia/Shanghai for China Standard Time",
        "time zone: Asia/Shanghai for times that name none",
        "events: 1 cancelled one left out",
        "components: 1 one left out that is no event",
    }
    twin = RING.replace(found.table)
    assert check_rows(twin, "works", found.table.rows(told)) == []


def test_the_zone_that_is_asked_for_holds_before_the_one_of_the_calendar() -> None:
    found = read(CASES / "works.ics", zone="Europe/Berlin")
    assert found.table.cell("floating@carrier", "from_s") == at_s(2026, 3, 15, 7)


def test_every_event_that_cannot_be_used_is_told_by_its_line_and_the_others_are_read() -> None:
    found = read(CASES / "wrong.ics")
    assert found.table.ids.tolist() == [b"good@carrier"]
    assert [(each.row, each.why.split(" (")[0]) for each in found.dropped] == [
        ("line 9", "has no UID"),
        ("line 13 (no-start)", "has no DTSTART"),
        ("line 17 (no-end)", "has no end"),
        ("line 22 (backwards)", "ends before it begins, or at once"),
        ("line 28 (no-zone)", "has a time without a time zone"),
        ("line 34 (odd-zone)", "names the time zone Nowhere/Land, which nobody knows"),
        ("line 40 (no-day)", "cannot be read"),
        ("line 46 (by-the-second)", "recurs more often than daily, or not at all"),
        ("line 53 (every-0-days)", "recurs every 0 times, or never"),
        ("line 60 (no-subject)", "names nothing that is worked on"),
        ("line 65 (unknown-subject)", "points at a row that does not exist: l99"),
        ("line 71 (broken-line)", "cannot be read"),
        ("line 78 (two-ends)", "has more than one DTEND"),
    ]
    with pytest.raises(InputError, match="has no UID"):
        found.whole()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["DTSTART:20260302T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3"], ["03-02", "03-03", "03-04"]),
        (["DTSTART:20260302T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20260303T100000Z"], ["03-02", "03-03"]),
        (["DTSTART:20260302T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20260303"], ["03-02", "03-03"]),
        (
            ["DTSTART:20260302T100000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;BYDAY=MO,WE;COUNT=4"],
            ["03-02", "03-04", "03-09", "03-11"],
        ),
        (["DTSTART:20200331T100000Z", "DURATION:PT1H", "RRULE:FREQ=MONTHLY;BYMONTHDAY=-1"], ["03-31", "04-30"]),
        (["DTSTART:20250331T100000Z", "DURATION:PT1H", "RRULE:FREQ=MONTHLY"], ["03-31"]),
        (["DTSTART:20240229T100000Z", "DURATION:PT1H", "RRULE:FREQ=YEARLY"], []),
        (["DTSTART:20260303T100000Z", "DURATION:PT1H", "RRULE:FREQ=MONTHLY;BYDAY=2TU"], ["03-03", "03-10", "04-14"]),
        (
            ["DTSTART:20260302T100000Z", "DURATION:PT1H", "RDATE:20260304T100000Z,20260306T100000Z"],
            ["03-02", "03-04", "03-06"],
        ),
        (
            ["DTSTART:20260302T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3", "RDATE:20260303T100000Z"],
            ["03-02", "03-03", "03-04"],
        ),
        (
            ["DTSTART:20260302T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=4", "EXDATE;VALUE=DATE:20260303"],
            ["03-02", "03-04", "03-05"],
        ),
        (
            ["DTSTART:20260302T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3", "EXDATE:20260302T100000Z"],
            ["03-03", "03-04"],
        ),
    ],
)
def test_a_rule_gives_the_days_that_it_says(lines: list[str], expected: list[str], tmp_path: Path) -> None:
    assert starts(event(tmp_path, "UID:u", *lines, zone="UTC")) == [f"{day} 10:00" for day in expected]


def test_work_that_goes_on_when_the_window_begins_is_in_it_and_what_only_touches_it_is_not(tmp_path: Path) -> None:
    rule = ["UID:u", "DTSTART:20260301T220000Z", "DURATION:PT4H", "RRULE:FREQ=DAILY"]
    window = (at_s(2026, 3, 3, 1), at_s(2026, 3, 4, 22))
    assert starts(event(tmp_path, *rule, window=window)) == ["03-02 22:00", "03-03 22:00"]
    window = (at_s(2026, 3, 3, 2), at_s(2026, 3, 3, 22))
    assert starts(event(tmp_path, *rule, window=window)) == []


def test_wall_clock_time_stays_when_summer_begins_and_so_does_a_length_in_days(tmp_path: Path) -> None:
    berlin = ["UID:u", "DTSTART;TZID=Europe/Berlin:20260327T120000", "RRULE:FREQ=DAILY;COUNT=3"]
    assert starts(event(tmp_path, *berlin, "DURATION:PT1H")) == ["03-27 11:00", "03-28 11:00", "03-29 10:00"]
    assert hours(event(tmp_path, *berlin, "DURATION:P1D")) == [24.0, 23.0, 24.0]
    assert hours(event(tmp_path, *berlin, "DURATION:PT24H")) == [24.0] * 3
    assert hours(event(tmp_path, *berlin, "DTEND;TZID=Europe/Berlin:20260328T120000")) == [24.0] * 3
    assert hours(event(tmp_path, *berlin, "DURATION:P1DT2H")) == [26.0, 25.0, 26.0]


def test_a_time_that_the_clock_skips_or_shows_twice_is_that_of_the_offset_before(tmp_path: Path) -> None:
    skipped = event(tmp_path, "UID:u", "DTSTART;TZID=Europe/Berlin:20260329T023000", "DURATION:PT1H")
    assert starts(skipped) == ["03-29 01:30"]
    twice = event(
        tmp_path,
        "UID:u",
        "DTSTART;TZID=Europe/Berlin:20261025T023000",
        "DURATION:PT1H",
        window=(at_s(2026, 10, 1), at_s(2026, 11, 1)),
    )
    assert starts(twice) == ["10-25 00:30"]


def test_a_period_has_a_length_of_its_own(tmp_path: Path) -> None:
    told = "RDATE;VALUE=PERIOD:20260304T100000Z/PT3H,20260305T100000Z/20260305T140000Z"
    found = event(tmp_path, "UID:u", "DTSTART:20260302T100000Z", "DURATION:PT1H", told)
    assert hours(found) == [1.0, 3.0, 4.0]


def test_a_change_from_some_recurrence_on_changes_all_after_it(tmp_path: Path) -> None:
    found = event(
        tmp_path,
        *("UID:u", "DTSTART:20260302T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=5", "--"),
        *("UID:u", "RECURRENCE-ID;RANGE=THISANDFUTURE:20260304T100000Z", "DTSTART:20260304T083000Z", "DURATION:PT2H"),
    )
    assert starts(found) == ["03-02 10:00", "03-03 10:00", "03-04 08:30", "03-05 08:30", "03-06 08:30"]
    assert hours(found) == [1.0, 1.0, 2.0, 2.0, 2.0]


def test_a_recurrence_that_is_cancelled_does_not_take_place(tmp_path: Path) -> None:
    found = event(
        tmp_path,
        *("UID:u", "DTSTART:20260302T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3", "--"),
        *("UID:u", "RECURRENCE-ID:20260303T100000Z", "DTSTART:20260303T100000Z", "DURATION:PT1H", "STATUS:CANCELLED"),
    )
    assert starts(found) == ["03-02 10:00", "03-04 10:00"]


def test_of_two_versions_of_an_event_the_newer_one_holds_wherever_it_stands(tmp_path: Path) -> None:
    old = ["UID:u", "DTSTART:20260302T100000Z", "DURATION:PT1H", "SEQUENCE:1"]
    new = ["UID:u", "DTSTART:20260305T100000Z", "DURATION:PT1H", "SEQUENCE:2"]
    assert starts(event(tmp_path, *old, "--", *new)) == starts(event(tmp_path, *new, "--", *old)) == ["03-05 10:00"]


def test_the_order_of_events_in_a_file_does_not_matter(tmp_path: Path) -> None:
    head, *events = (CASES / "works.ics").read_text().split("BEGIN:VEVENT")
    tail = events[-1][events[-1].index("BEGIN:VTODO") :]
    events[-1] = events[-1].removesuffix(tail)
    random.Random(3).shuffle(events)
    path = tmp_path / "shuffled.ics"
    path.write_text("BEGIN:VEVENT".join([head, *events]) + tail)
    assert read(path).table.digest == read(CASES / "works.ics").table.digest


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;BYHOUR=" + ",".join(map(str, range(24))) + ";BYMINUTE=" + ",".join(map(str, range(60))),
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;INTERVAL=1000000000000000000000",
        "FREQ=MONTHLY;BYSETPOS=400;BYDAY=MO",
        "FREQ=WEEKLY;BYWEEKNO=60",
        "FREQ=HOURLY",
    ],
)
def test_a_rule_that_never_or_always_holds_ends(rule: str, tmp_path: Path) -> None:
    found = event(tmp_path, "UID:u", "DTSTART:19700101T000000Z", "DURATION:PT1M", f"RRULE:{rule}")
    assert len(found.table) + len(found.dropped) <= 1


SPOILS = st.sampled_from(["", "0", "-", ";", ":", ",", "\\", '"', "99999", "TZID=X:", "é", "\0", "  "])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_calendar_it_is_read_or_told(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = (CASES / data.draw(st.sampled_from(["works.ics", "wrong.ics"]))).read_text().splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        number = data.draw(st.integers(0, len(lines) - 1))
        line = lines[number]
        cut = data.draw(st.integers(0, len(line)))
        lines[number] = line[:cut] + data.draw(SPOILS) + data.draw(st.sampled_from(["", line[cut:]]))
    path = tmp_path_factory.mktemp("fuzz") / "w.ics"
    path.write_text("\n".join(lines), "utf-8")
    try:
        found = read(path)
    except InputError as error:
        told = [problem.fix for problem in error.problems]
    else:
        told = [each.fix for each in found.dropped if each.row.startswith("line ")]
        assert len(told) == len(found.dropped)
        assert (found.table["to_s"] > found.table["from_s"]).all()
    assert all(told)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (b"hello", "is no iCalendar file"),
        (b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:u\n", "ends within a VEVENT: it was cut off"),
        (b"BEGIN:VCALENDAR\nEND:VEVENT\n", "ends a VEVENT that did not begin"),
        (b"BEGIN:VCALENDAR\n\xff\nEND:VCALENDAR\n", "is not UTF-8"),
        (b"BEGIN:VCALENDAR\n\0\nEND:VCALENDAR\n", "zero bytes"),
    ],
)
def test_a_file_that_is_no_whole_calendar_is_refused(data: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "w.ics").write_bytes(data)
    with pytest.raises(InputError, match=what):
        read(tmp_path / "w.ics")


def test_files_of_other_kinds_and_zones_and_windows_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither CSV nor iCalendar"):
        read(tmp_path / "w.txt")
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "w.ics")
    with pytest.raises(InputError, match="'Mars' is no time zone"):
        read(CASES / "works.ics", zone="Mars")
    with pytest.raises(InputError, match="window"):
        read(CASES / "works.ics", window=(5.0, 5.0))
    with pytest.raises(InputError, match="is not called"):
        freezes(CASES / "works.ics")


def csv(tmp_path: Path, text: str) -> Path:
    (tmp_path / "w.csv").write_text(text, "utf-8")
    return tmp_path / "w.csv"


def test_work_is_read_from_csv_with_times_of_any_zone(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "id,subject,from,to,note\n"
        "w1,l01,2026-03-01T22:00+08:00,2026-03-02T02:00+08:00,splice\n"
        "w2,r3,2026-03-05T00:00Z,2026-03-05 02:00Z,\n"
        "w3,c2,2026-03-06 08:00,2026-03-06 09:00,local\n"
        "w4,c2,2027-03-06 08:00,2027-03-06 09:00,next year\n",
    )
    found = read(path, zone="Asia/Shanghai")
    assert starts(found) == ["03-01 14:00", "03-05 00:00", "03-06 00:00"]
    assert found.table.cell("w1", "note") == "splice"
    assert found.assumed == ("rows: 1 one outside of the window left out",)


def test_every_row_of_csv_that_cannot_be_used_is_told_by_its_line(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "id,subject,from,to\n"
        "w1,l01,2026-03-01T22:00Z,2026-03-02T02:00Z\n"
        ",l01,2026-03-01T22:00Z,2026-03-02T02:00Z\n"
        "w3,,2026-03-01T22:00Z,2026-03-02T02:00Z\n"
        "w4,l99,2026-03-01T22:00Z,2026-03-02T02:00Z\n"
        "w5,l01,tomorrow,2026-03-02T02:00Z\n"
        "w6,l01,2026-03-01T22:00,2026-03-02T02:00Z\n"
        "w7,l01,2026-03-02T22:00Z,2026-03-02T02:00Z\n"
        "w1,l12,2026-03-01T22:00Z,2026-03-02T02:00Z\n"
        "w9,l01,2026-03-01T22:00Z,\n"
        "w10,l01,2026-03-02T02:00Z,2026-03-02T02:00Z\n",
    )
    found = read(path)
    assert found.table.ids.tolist() == [b"w1"]
    assert [(each.row, each.column, each.why) for each in found.dropped] == [
        ("line 3", "id", "is empty"),
        ("line 4 (w3)", "", "names nothing that is worked on"),
        ("line 5 (w4)", "", "points at a row that does not exist: l99"),
        ("line 6 (w5)", "from", "is no date and time"),
        ("line 7 (w6)", "from", "has no time zone"),
        ("line 8 (w7)", "", "begins or ends at no time that counts, or ends before it begins"),
        ("line 9 (w1)", "", "the same id stands in several rows"),
        ("line 10 (w9)", "to_s", "is empty"),
        ("line 11 (w10)", "", "ends when it begins"),
    ]


def test_a_table_that_was_written_in_unix_time_is_read_as_well(tmp_path: Path) -> None:
    path = csv(tmp_path, f"id,subject,from_s,to_s\nw1,l01,{SPRING[0]},{SPRING[0] + 60}\nw2,l01,soon,nan\n")
    found = read(path)
    assert found.table.ids.tolist() == [b"w1"]
    assert [each.why for each in found.dropped] == ["is no number of seconds"]


def test_columns_that_are_missing_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no column subject, to"):
        read(csv(tmp_path, "id,from\nw1,2026-03-01\n"))


def test_freezes_are_of_a_domain_or_of_all(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "id,domain,from,to\nf1,,2026-10-01,2026-10-08\nf2,carrier,2026-10-01,2026-10-02\nf3,mars,2026-10-01,2026-10-02\n",
    )
    found = freezes(path, zone="Asia/Shanghai", known=RING)
    assert {row["id"]: (row["domain"], row["from_s"]) for row in found.table.records()} == {
        "f1": ("", at_s(2026, 10, 1, zone="Asia/Shanghai")),
        "f2": ("carrier", at_s(2026, 10, 1, zone="Asia/Shanghai")),
    }
    assert [each.why for each in found.dropped] == ["points at a row that does not exist: mars"]


def test_a_year_of_nights_follows_one_another_by_a_day_of_the_wall_clock(tmp_path: Path) -> None:
    window = (at_s(2026, 1, 1), at_s(2027, 1, 1))
    rule = ["UID:u", "DTSTART;TZID=America/New_York:20260101T220000", "DURATION:PT1H", "RRULE:FREQ=DAILY"]
    found = sorted(event(tmp_path, *rule, window=window).table["from_s"].tolist())
    local = [datetime.fromtimestamp(each, ZoneInfo("America/New_York")).replace(tzinfo=None) for each in found]
    assert len(found) == 364
    assert {later - earlier for earlier, later in pairwise(local)} == {timedelta(days=1)}
    assert len({later - earlier for earlier, later in pairwise(found)}) == 3


def test_nothing_is_read_of_a_table_without_rows(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "id,subject,from,to\n"))
    assert found.table.digest == Table.of("works").digest
