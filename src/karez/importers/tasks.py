"""Jobs out of tasks in YAML, close to those of SkyPilot: what a task asks for is read, how it runs is left alone.

    name: translate
    resources:
      accelerators: H20:8
    num_nodes: 2
    karez:
      model: Qwen2.5 72B
      metro: shanghai
      dataset: general
      hours: 3
      closes_at: 2026-01-01T08:00+08:00

Chips are those of all nodes together. A task with a `service` is online, and each replica a job. What schedulers have
no words for stands under `karez`. Of several tasks in one file each waits for the one before, unless the first document
is a name with `execution: parallel`.

Source: layout of tasks and pipelines after the documentation of SkyPilot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Any, NamedTuple

from karez.errors import InputError, Problem
from karez.importers import moments
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
MOST_DIGITS, LARGEST = 10, 1e15
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
    has_head, is_chain = _headed(documents, file)
    problems, rows, left_alone, before = list[Problem](), list[Row](), set[str](), ""
    for number, document in enumerate(documents[has_head:], 1):
        task = _Task(document, twin, f"{file}, task {number}")
        row = task.row()
        problems += task.problems
        left_alone |= task.left_alone
        if is_chain and before:
            row["after"] = " ".join(filter(None, (before, str(row.get("after", "")))))
        before = str(row.get("id", ""))
        rows.append(row)
    if problems:
        raise InputError(problems)
    return Tasks(tuple(rows), tuple(sorted(left_alone)))


def _headed(documents: list[Any], file: str) -> tuple[bool, bool]:
    """Whether the first document is the head of those after it, and whether each of these waits for the one before."""
    head = documents[0]
    if len(documents) == 1 or not isinstance(head, Mapping) or not {"name"} <= set(head) <= {"name", "execution"}:
        return False, True
    how = head.get("execution", "serial")
    if how not in ("serial", "parallel"):
        raise InputError.of(f"{file}, execution", f"is {how!s:.40}", "write serial or parallel")
    return True, how == "serial"


def _documents(data: str, file: str) -> list[Any]:
    yaml = extra("yaml")
    try:
        found = [one for one in yaml.load_all(data, _loader(yaml)) if one is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise InputError.of(file, f"is no YAML: {' '.join(str(error).split())}", "correct it there") from error
    except RecursionError as error:
        raise InputError.of(file, "is nested too deeply", SHAPE) from error
    if not found:
        raise InputError.of(file, "has no task", SHAPE)
    return found


def _loader(yaml: Any) -> Any:
    """A loader of plain data that refuses what YAML loses or misreads: words told twice, 1:30 and 010 as numbers."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            told = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if twice := [key for key in told if told.count(key) > 1]:
                raise yaml.constructor.ConstructorError(None, None, f"{twice[0]} is told twice", node.start_mark)
            return super().construct_mapping(node, deep)

    whole = "tag:yaml.org,2002:int"
    Loader.yaml_implicit_resolvers = {
        first: [(tag, words) for tag, words in those if tag != whole]
        for first, those in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver(whole, re.compile("[-+]?(?:0|[1-9][0-9]{0,17})$"), list("-+0123456789"))
    return Loader


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
        is_service = "service" in self.task
        row: dict[str, Value] = {"kind": "online" if is_service else "batch"}
        self._take(row, self.task, "name", "id", _name)
        if self.task.get("name") is None:
            self._wrong("name", "is missing", "give each task a name of its own")
        chip, chips = self._accelerators(resources.get("accelerators"))
        row |= {"chip": chip, "chips": chips}
        nodes = dict[str, Value](nodes=1)
        self._take(nodes, self.task, "num_nodes", "nodes", _whole)
        row["chips"] = chips * int(nodes["nodes"])
        if is_service:
            part = self._part("service", self.task["service"] or {}, (*OF_SERVICE, *HOW_OF_SERVICE), HOW_OF_SERVICE)
            self._take(row, part, "replicas", "number", _whole, "service.")
        is_counted = "number" in row
        asked = self._part("karez", self.task.get("karez") or {}, tuple(ASKED), ())
        for name, (column, reads) in ASKED.items():
            self._take(row, asked, name, column, reads, "karez.")
        self._take(row, row, "metro", "metro", self._metro, "karez.")
        if is_counted and "number" in asked:
            self._wrong("karez.number", "is told beside service.replicas", "leave out one of them")
        if is_service and row["kind"] != "online":
            self._wrong("karez.kind", f"is {row['kind']}, though the task is a service", "leave out one of them")
        if row["kind"] == "online":
            row.setdefault("hours", _window_h(row) or DAY_H)
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
        same = [word] if word in by_word else [one for one, chip in by_word.items() if word in _beginnings(chip)]
        if len(same) == 1:
            return by_word[same[0]]
        near = [by_word[one] for one in same or get_close_matches(word, by_word, 3)]
        what = f"names {name}, of which there are several" if same else f"names {name}, which the network does not know"
        raise _Refused(what, f"write {' or '.join(near)}" if near else "karez chips NETWORK lists those it knows")

    def _metro(self, told: object) -> str:
        """The id of the metropolis with this id or name."""
        name, table = str(told), self.twin["metros"]
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


def _window_h(row: Row) -> float:
    """The hours from when a job may begin to when it is to be done; 0 where not both are told."""
    if not {"opens_at_s", "closes_at_s"} <= row.keys():
        return 0.0
    return (float(row["closes_at_s"]) - float(row["opens_at_s"])) / S_PER_H


def _word(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower().replace("gb", "g")


def _beginnings(chip: str) -> list[str]:
    """What the id of a chip may be cut down to: its first words."""
    words = chip.split()
    return [_word("".join(words[:number])) for number in range(1, len(words))]


def _accelerator(found: object) -> tuple[str, int]:
    if isinstance(found, Mapping) and len(found) == 1:
        ((name, count),) = found.items()
        if count is not None:
            return _text(name), _whole(count)
        found = name
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, str) or not found.strip():
        raise _Refused("is missing", "write NAME:COUNT, as in H20:8")
    name, _, count = found.rpartition(":") if ":" in found else (found, "", "1")
    return name, _whole(int(count) if count.isdecimal() and len(count) < MOST_DIGITS else count)


def _name(found: object) -> str:
    name = _text(found)
    if any(map(str.isspace, name)):
        raise _Refused(f"is {name!r}, with a space", "leave out spaces, so that other tasks can wait for it")
    return name


def _text(found: object) -> str:
    if isinstance(found, bool | float | Mapping | list) or not str(found).strip():
        raise _Refused("is no word", "write a word, in quotes where it looks like something else")
    try:
        str(found).encode()
    except UnicodeEncodeError as error:
        raise _Refused("has half a character", "write it in UTF-8") from error
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
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < LARGEST:
            raise _Refused("is no number from 0 on", "write one, without its unit")
        return float(found) * times

    return read_number


def _moment(found: object) -> float:
    """A moment (Unix time); one without an offset is in UTC, as everywhere."""
    try:
        # YAML itself makes moments of some.
        return moments.moment_s(
            found.isoformat() if isinstance(found, date) else found if isinstance(found, str) else ""
        )
    except ValueError as error:
        raise _Refused("is no moment of the years 1970 to 9999", moments.FIX) from error


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
