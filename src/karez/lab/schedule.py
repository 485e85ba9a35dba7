"""Which faults begin when after the start of a recording, and for how long: a table that a person writes.

What a row leaves blank is drawn, as for a single fault. Faults that would undo each other are refused: while two change
the same thing of a lab, the end of one ends both, and what is told of them later would not be true.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from karez.adapters.embedded import FAULTS, FOREVER_S, Fault
from karez.errors import InputError, Problem
from karez.lab.asked import (
    Begin,
    Configure,
    Filter,
    Plan,
    SetCarrier,
    SetCounter,
    SetDaemon,
    SetHost,
    SetSpeed,
    SetStream,
    SetWay,
    Step,
)
from karez.lab.faults import Scene, begin, shown

COLUMNS = ("at_s", "lasts_s", "kind", "subject", "size_us", "size_share", "size_s", "way", "goal")
# What else the events of a data set have, which are a schedule, too.
BESIDES = ("label", "begin_s", "end_s")
# The sizes of a fault, and the range of each kind that says whether it has them.
SIZES = {"size_us": "us", "size_share": "share", "size_s": "s"}
WAYS = ("ab", "ba")
# Times that are so close are the same (s).
CLOSE_S = 1e-3
# What a host beside a router runs.
PROGRAMS = ("probe", "telemetry")
Cells = Mapping[str, str | None]
# What draws a fault: kind, subject (empty: any), and the number of its row.
Draws = Callable[[str, str, int], Fault]


class Scheduled(NamedTuple):
    """A fault, whose times are seconds after the start of the recording, and what begins and ends it in the lab."""

    fault: Fault
    begin: Begin


@dataclass
class _Row:
    """A row of a schedule, and what is wrong with it so far."""

    where: str
    name: str
    cells: Cells
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, what: str, fix: str) -> None:
        """Say what is wrong, and what to do."""
        self.problems.append(Problem(self.where, what, fix, (self.name,)))

    def text(self, column: str) -> str:
        """What a cell says; nothing where it is blank."""
        return (self.cells.get(column) or "").strip()

    def number(self, column: str, *, least: float = 0.0) -> float | None:
        """The number in a cell; None where it is blank or none that can be."""
        said = self.text(column)
        try:
            value = float(said) if said else None
        except ValueError:
            value = math.nan
        if value is None or least <= value < math.inf:
            return value
        self.wrong(f"{column} {said!r} is no number from {least:g} on", "give one, or leave the cell blank")
        return None


def schedule(
    where: str, rows: Sequence[tuple[str, Cells]], scene: Scene, draws: Draws, *, for_s: float
) -> list[Scheduled]:
    """The faults of a schedule for a recording of `for_s`, in their order; `rows` are named, as `line 3`.

    Raises:
        InputError: every problem of every row.
    """
    problems, found = list(_headed(where, rows)), []
    for number, (name, cells) in enumerate(rows if not problems else ()):
        row = _Row(where, name, cells)
        one = _scheduled(row, scene, draws, number, for_s)
        problems += row.problems
        found += [(name, one)] if one is not None and not row.problems else []
    found.sort(key=lambda named: named[1].fault.at_s)
    problems += _clashes(where, found, scene)
    if problems:
        raise InputError(_grouped(problems))
    return [one for _, one in found]


def _headed(where: str, rows: Sequence[tuple[str, Cells]]) -> Iterator[Problem]:
    """What is wrong with the columns."""
    if not rows:
        yield Problem(where, "holds no fault", f"give it rows of the columns {', '.join(COLUMNS)}")
        return
    columns = rows[0][1].keys()
    if unknown := [name for name in columns if name not in (*COLUMNS, *BESIDES)]:
        what = f"has columns that no schedule has: {', '.join(unknown)}"
        yield Problem(where, what, f"there are {', '.join(COLUMNS)}")
    if lacking := [name for name in ("at_s", "kind") if name not in columns]:
        what = f"lacks the column {' and '.join(lacking)}"
        yield Problem(where, what, "say of each fault when it begins, and its kind")


def _scheduled(row: _Row, scene: Scene, draws: Draws, number: int, for_s: float) -> Scheduled | None:
    """The fault of a row, as far as it has one; what is wrong with it is said to the row."""
    at_s, lasts_s, kind = row.number("at_s"), row.number("lasts_s", least=CLOSE_S), row.text("kind")
    if not row.text("at_s"):
        row.wrong("does not say when it begins", "give at_s, seconds after the start of the recording")
    elif at_s is not None and at_s >= for_s:
        row.wrong(f"begins when the recording of {for_s:g} s is over", "let it begin sooner, or record for longer")
    if kind not in (known := shown(scene.plan)):
        row.wrong(f"this lab cannot show {kind!r}", f"give one of {', '.join(known)}")
        return None
    given = _given(row, kind)
    try:
        fault = _placed(row, scene, draws(kind, row.text("subject"), number))
        fault = msgspec.structs.replace(fault, **given, at_s=at_s or 0.0)
        fault = msgspec.structs.replace(fault, until_s=_until_s(fault, lasts_s, for_s))
        return Scheduled(fault, begin(scene, fault))
    except InputError as error:
        for problem in error.problems:
            row.wrong(f"{problem.where}: {problem.what}", problem.fix)
    return None


def _until_s(fault: Fault, lasts_s: float | None, for_s: float) -> float:
    """When a fault ends: as is said, when it passes by itself, or with the recording."""
    if lasts_s is not None:
        return fault.at_s + lasts_s
    return min(for_s, fault.at_s + (fault.until_s if fault.until_s < FOREVER_S else for_s))


def _given(row: _Row, kind: str) -> dict[str, Any]:
    """The sizes and the way that a row says."""
    given: dict[str, Any] = {name: row.number(name, least=1e-9) for name in SIZES if row.text(name)}
    for name in given:
        usual = getattr(FAULTS[kind], SIZES[name])
        if usual is None:
            row.wrong(f"{kind} has no {name}", "leave the cell blank")
        elif name == "size_share" and usual[1] <= 1.0 < (given[name] or 0.0):
            row.wrong(f"size_share {row.text(name)} of {kind} is more than all", "give a share from 0 to 1")
    way = row.text("way")
    if way and way not in WAYS:
        row.wrong(f"way {way!r} is none", f"give {' or '.join(WAYS)}, or leave the cell blank")
    return {name: value for name, value in given.items() if value} | ({"way": way} if way in WAYS else {})


def _placed(row: _Row, scene: Scene, fault: Fault) -> Fault:
    """The fault, with the site that traffic is lost to where the row says one."""
    goal = row.text("goal")
    if goal and not fault.goal:
        row.wrong(f"{fault.kind} has no goal", "leave the cell blank")
    elif goal and all(router.site != goal for router in scene.plan.fabric.routers):
        row.wrong(f"goal {goal!r} is no site with a router", "give the id of one, or leave the cell blank")
    return msgspec.structs.replace(fault, goal=goal or fault.goal)


# ---- what would undo each other


class Touched(NamedTuple):
    """What a fault changes of a lab: parts of it, processes that it kills or stops, and such as it tells something."""

    parts: frozenset[tuple[object, ...]]
    halted: frozenset[tuple[int, str]]
    told: frozenset[tuple[int, str]]

    def clashes(self, other: Touched) -> bool:
        """Whether the end of one would change what the other holds: a process that is started anew forgets."""
        return bool(self.parts & other.parts or self.halted & other.told or self.told & other.halted)


def touched(plan: Plan, asked: Begin) -> Touched:
    """What a fault changes of a lab."""
    daemons = (*plan.protocols.daemons, *PROGRAMS)
    steps = (*asked.start, *asked.stop)
    halted = {
        (step.router, name)
        for step in steps
        if isinstance(step, SetDaemon)
        for name in ((step.daemon,) if step.daemon else daemons)
    }
    parts = {part for step in steps for part in _parts(step)} | {("process", *each) for each in halted}
    # Whatever is started anew ends this, too.
    parts |= {("process", *asked.mended)} if asked.mended else set()
    told = frozenset((step.router, step.daemon) for step in steps if isinstance(step, Configure))
    return Touched(frozenset(parts), frozenset(halted), told)


def _parts(step: Step) -> Iterator[tuple[object, ...]]:
    if isinstance(step, SetWay):
        yield from (("way", way, name) for way in step.ways for name in step.values)
    elif isinstance(step, SetCarrier):
        yield from (("way", way, "cut") for line in step.lines for way in (2 * line, 2 * line + 1))
    elif isinstance(step, SetHost):
        yield from (("host", step.router, name) for name in step.values)
    elif isinstance(step, SetStream):
        yield "stream", step.stream
    elif isinstance(step, SetCounter):
        yield "counter", step.port
    elif isinstance(step, SetSpeed):
        yield "speed", step.line
    elif isinstance(step, Filter):
        yield "filter", step.router, step.table
    elif isinstance(step, SetDaemon):
        yield "process", step.router, step.daemon
    elif isinstance(step, Configure):
        yield "lines", step.router, step.daemon, step.lines[0]
    else:
        yield "mtu", step.router, step.port


def _clashes(where: str, found: Sequence[tuple[str, Scheduled]], scene: Scene) -> Iterator[Problem]:
    """What holds at the same time as something that it would undo; `found` is in the order of beginnings."""
    holding: list[tuple[str, Scheduled, Touched]] = []
    for name, one in found:
        holding = [held for held in holding if held[1].fault.until_s > one.fault.at_s + CLOSE_S]
        mine = touched(scene.plan, one.begin)
        for other, held, theirs in holding:
            if held.begin.label == one.begin.label:
                what = f"{one.begin.label} begins while it holds still"
                yield Problem(where, what, "let it begin when it is over, or name other subjects", (other, name))
            elif mine.clashes(theirs):
                what = f"{held.begin.label} and {one.begin.label} hold at once and change the same of the lab"
                yield Problem(where, what, "let one begin when the other is over", (other, name))
        holding.append((name, one, mine))


def _grouped(problems: Iterable[Problem]) -> list[Problem]:
    """Each problem once, with all its rows."""
    rows: dict[tuple[str, str, str], dict[str, None]] = {}
    for one in problems:
        rows.setdefault((one.where, one.what, one.fix), {}).update(dict.fromkeys(one.rows))
    return [Problem(*said, tuple(names)) for said, names in rows.items()]
