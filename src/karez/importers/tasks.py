"""Jobs out of tasks in YAML, close to those of SkyPilot: what a task asks for is read, how it runs is left alone.

    name: translate
    resources:
      accelerators: H20:8
    num_nodes: 2
    karez:
      model: Qwen2.5 72B
      metro: shanghai
      hours: 3
      closes_at: 2026-01-01T08:00+08:00

Chips are those of all nodes together. A task with a `service` is online, and each replica a job. What schedulers have
no words for stands under `karez`. Several tasks in one file are apart from each other, unless the first document has a
name alone: then it is a pipeline, and each task waits for the one before.

Source: layout of tasks and pipelines after the documentation of SkyPilot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any, NamedTuple

from karez.errors import InputError, Problem
from karez.importers.report import extra
from karez.twin import Twin, schema
from karez.twin.schema import Value
from karez.twin.table import strings
from karez.units import S_PER_H, US_PER_MS

# What says how a task runs, which is no matter of where.
HOW = ("workdir", "setup", "run", "envs", "secrets", "file_mounts", "volumes", "config", "event_callback", "execution")
WHAT = ("name", "num_nodes", "resources", "service", "karez")
# What of resources and of services says how they run on a machine or are watched.
OF_RESOURCES = ("accelerators",)
HOW_OF_RESOURCES = (
    "cpus",
    "memory",
    "disk_size",
    "disk_tier",
    "ports",
    "image_id",
    "labels",
    "autostop",
    "job_recovery",
    "use_spot",
    "network_tier",
)
OF_SERVICE = ("replicas",)
HOW_OF_SERVICE = ("readiness_probe", "load_balancing_policy", "tls", "ports")
SHAPE = "write it as in the how-to on placing jobs"
LAST_S = 253_402_300_799.0
# An online job for which no hours are told runs all day.
DAY_H = 24.0


Row = Mapping[str, Value]


class Tasks(NamedTuple):
    """Rows of the table jobs, and the words of tasks that were left alone."""

    rows: tuple[Row, ...]
    left_alone: tuple[str, ...]


class _Refused(Exception):
    """What is wrong with a value, and what belongs there."""


def read(data: str, twin: Twin, file: str) -> Tasks:
    """The jobs that a file's tasks ask for; chips are those of the twin.

    Raises:
        InputError: everything that is wrong with them.
    """
    documents = _documents(data, file)
    pipeline = len(documents) > 1 and isinstance(documents[0], Mapping) and set(documents[0]) <= {"name", "execution"}
    problems, rows, left_alone, before = list[Problem](), list[Row](), set[str](), ""
    for number, document in enumerate(documents[pipeline:], 1):
        task = _Task(document, twin, f"{file}, task {number}")
        row = task.row()
        problems += task.problems
        left_alone |= task.left_alone
        if pipeline and before:
            row["after"] = " ".join(filter(None, (before, str(row.get("after", "")))))
        before = str(row.get("id", ""))
        rows.append(row)
    if problems:
        raise InputError(problems)
    return Tasks(tuple(rows), tuple(sorted(left_alone)))


def _documents(data: str, file: str) -> list[Any]:
    yaml = extra("yaml")
    try:
        found = [one for one in yaml.safe_load_all(data) if one is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise InputError.of(file, f"is no YAML: {' '.join(str(error).split())}", "correct it there") from error
    if not found:
        raise InputError.of(file, "has no task", SHAPE)
    return found


class _Task:
    """A task on its way to a row: what is wrong with it, and what of it is left alone."""

    def __init__(self, document: object, twin: Twin, where: str) -> None:
        """Nothing is read yet."""
        self.twin, self.where = twin, where
        self.problems: list[Problem] = []
        self.left_alone: set[str] = set()
        self.task = self._part("", document, (*WHAT, *HOW), HOW)

    def row(self) -> dict[str, Value]:
        """The row, as far as it can be read."""
        resources = self._part(
            "resources", self.task.get("resources", {}), (*OF_RESOURCES, *HOW_OF_RESOURCES), HOW_OF_RESOURCES
        )
        service = self.task.get("service")
        row: dict[str, Value] = {"kind": "batch" if service is None else "online"}
        self._take(row, self.task, "name", "id", _name)
        if "name" not in self.task:
            self._wrong("name", "is missing", "give each task a name of its own")
        chip, chips = self._accelerators(resources.get("accelerators"))
        row |= {"chip": chip, "chips": chips}
        nodes = dict[str, Value](nodes=1)
        self._take(nodes, self.task, "num_nodes", "nodes", _whole)
        row["chips"] = chips * int(nodes["nodes"])
        if service is not None:
            part = self._part("service", service, (*OF_SERVICE, *HOW_OF_SERVICE), HOW_OF_SERVICE)
            self._take(row, part, "replicas", "number", _whole, "service.")
        asked = self._part("karez", self.task.get("karez", {}), tuple(ASKED), ())
        for name, (column, reads) in ASKED.items():
            self._take(row, asked, name, column, self._metro if name == "metro" else reads, "karez.")
        if service is not None and row["kind"] != "online":
            self._wrong("karez.kind", f"is {row['kind']}, though the task is a service", "leave out one of them")
        if row["kind"] == "online":
            row.setdefault("hours", (_s(row, "closes_at_s") - _s(row, "opens_at_s")) / S_PER_H or DAY_H)
        for name, (column, _) in ASKED.items():
            spec = schema.column("jobs", column)
            if spec.required and column not in row and asked.get(name) is None:
                self._wrong(f"karez.{name}", "is missing", f"tell it: {spec.description}")
        return row

    def _part(self, name: str, found: object, known: tuple[str, ...], alone: tuple[str, ...]) -> Mapping[str, Any]:
        """A part of the task with words that are known; those that are left `alone` are noted."""
        if not isinstance(found, Mapping) or not all(isinstance(key, str) for key in found):
            self._wrong(name or "it", "is no list of words with values", SHAPE)
            return {}
        dotted = f"{name}." if name else ""
        for key in found:
            if key not in known:
                near = get_close_matches(key, known, 1)
                fix = f"write {near[0]}" if near else "leave it out: Karez would not do what it says"
                self._wrong(f"{dotted}{key}", "is not known", fix)
            elif key in alone:
                self.left_alone.add(f"{dotted}{key}")
        return found

    def _take(
        self,
        row: dict[str, Value],
        part: Mapping[str, Any],
        name: str,
        column: str,
        reads: Callable[[object], Value],
        dotted: str = "",
    ) -> None:
        if part.get(name) is None:
            return
        try:
            row[column] = reads(part[name])
        except _Refused as refused:
            self._wrong(f"{dotted}{name}", *refused.args)

    def _accelerators(self, found: object) -> tuple[str, int]:
        """The chip (its id) and how many a node has."""
        where = "resources.accelerators"
        if isinstance(found, list | Mapping) and len(found) > 1:
            fix = "name the one that hours are told for: others count as they are faster or slower anyway"
            self._wrong(where, "names several chips", fix)
            return "", 1
        try:
            name, count = _accelerator(found)
            return self._chip(name), count
        except _Refused as refused:
            self._wrong(where, *refused.args)
            return "", 1

    def _chip(self, name: str) -> str:
        """The chip of the network with this id, however it is written, or the only one whose id begins so."""
        by_word = {_word(one): one for one in strings(self.twin["chips"].ids)}
        word = _word(name)
        same = [word] if word in by_word else [one for one in by_word if word and one.startswith(word)]
        if len(same) == 1:
            return by_word[same[0]]
        near = [by_word[one] for one in same or get_close_matches(word, by_word, 3)]
        what = f"names {name}, of which there are several" if same else f"names {name}, which the network does not know"
        raise _Refused(what, f"write {' or '.join(near)}" if near else "karez chips NETWORK lists those it knows")

    def _metro(self, found: object) -> str:
        """The id of the metropolis with this id or name."""
        name, table = _text(found), self.twin["metros"]
        if table.has(name):
            return name
        names = [one.lower() for one in strings(table["name"])]
        rows = [row for row, one in enumerate(names) if one == name.lower()]
        if len(rows) == 1:
            return strings(table.ids)[rows[0]]
        near = ", ".join(one.title() for one in get_close_matches(name.lower(), names, 3))
        what = f"is {name}, of which there are several" if rows else f"is {name}, no metropolis of the network"
        fix = "give its id" if rows or not near else f"write its id, or {near}"
        raise _Refused(what, fix)

    def _wrong(self, name: str, what: str, fix: str) -> None:
        self.problems.append(Problem(f"{self.where}, {name}", what, fix))


def _s(row: Row, name: str) -> float:
    return float(row.get(name, 0.0)) if "opens_at_s" in row and "closes_at_s" in row else 0.0


def _word(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower().replace("gb", "g")


def _accelerator(found: object) -> tuple[str, int]:
    if isinstance(found, Mapping) and len(found) == 1:
        ((name, count),) = found.items()
        return _text(name), _whole(count)
    if isinstance(found, list) and len(found) == 1:
        return _accelerator(found[0])
    if not isinstance(found, str) or not found.strip():
        raise _Refused("is missing", "write NAME:COUNT, as in H20:8")
    name, _, count = found.rpartition(":") if ":" in found else (found, "", "1")
    return name, _whole(int(count) if count.strip().isdecimal() else count)


def _name(found: object) -> str:
    name = _text(found)
    if any(map(str.isspace, name)):
        raise _Refused(f"is {name!r}, with a space", "leave out spaces, so that other tasks can wait for it")
    return name


def _text(found: object) -> str:
    if isinstance(found, bool | float | Mapping | list) or not str(found).strip():
        raise _Refused("is no word", "write a word, in quotes where it looks like something else")
    return str(found)


def _kind(found: object) -> str:
    kinds = ("training", "batch", "online")
    if found not in kinds:
        raise _Refused(f"is {found!s:.40}", f"write {', '.join(kinds[:-1])} or {kinds[-1]}")
    return str(found)


def _whole(found: object) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise _Refused("is no whole number from 1 on", "write one")
    return found


def _number(times: float) -> Callable[[object], float]:
    def read_number(found: object) -> float:
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found) or found < 0:
            raise _Refused("is no number from 0 on", "write one, without its unit")
        return found * times

    return read_number


def _moment(found: object) -> float:
    """A moment (Unix time); one without an offset is in UTC, as everywhere."""
    try:
        told = datetime.fromisoformat(found) if isinstance(found, str) else found
    except ValueError:
        told = None
    if isinstance(told, date) and not isinstance(told, datetime):
        told = datetime(told.year, told.month, told.day)
    if isinstance(told, datetime):
        at_s = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
        if 0.0 <= at_s <= LAST_S:
            return at_s
    raise _Refused("is no moment of the years 1970 to 9999", "write it as 2026-01-31T12:00:00+08:00")


def _names(found: object) -> str:
    several = found if isinstance(found, list) else [found]
    return " ".join(map(_name, several))


# What may stand under `karez`: the column that it fills, and how it is read.
ASKED: Mapping[str, tuple[str, Callable[[object], Value]]] = {
    "kind": ("kind", _kind),
    "model": ("model", _text),
    "metro": ("metro", _text),
    "dataset": ("dataset", _text),
    "purpose": ("purpose", _text),
    "hours": ("hours", _number(1.0)),
    "number": ("number", _whole),
    "opens_at": ("opens_at_s", _moment),
    "closes_at": ("closes_at_s", _moment),
    "oneway_ms": ("oneway_us", _number(US_PER_MS)),
    "token_ms": ("token_ms", _number(1.0)),
    "load": ("load", _text),
    "gb_per_chip_h": ("gb_per_chip_h", _number(1.0)),
    "quota": ("quota", _text),
    "after": ("after", _names),
    "sites": ("sites", _whole),
    "unserved_cny": ("unserved_cny", _number(1.0)),
}
