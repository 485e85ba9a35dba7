"""How autonomous a network is: a level with its fraction, L0 to L5, from who did what in it.

A task is done by the system alone (1), by system and person together (1/2) or by a person alone (0). The levels of TM
Forum ask of each dimension for the same three; how far the shares of a dimension reach into them is its level, and the
least of the dimensions is that of the scenario.

Source: TM Forum's levels by dimension (library/autonomy_levels.csv); the tasks of fault management and their dimensions
after 3GPP TS 28.100 (library/autonomy_tasks.csv). The fraction between two levels is our own: it is linear.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal, NamedTuple

from karez.twin.facts import library

By = Literal["system", "both", "person"]
Task = Literal["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K"]
SHARE: dict[By, float] = {"system": 1.0, "both": 0.5, "person": 0.0}
ASKED = {"P": 0.0, "P/S": 0.5, "S": 1.0}
DIMENSIONS = ("execution", "awareness", "analysis", "decision", "intent_experience")
ALL = "all"


class Done(NamedTuple):
    """That one task was done once, in a scenario, and by whom."""

    scenario: str
    task: Task
    by: By


class Counted(NamedTuple):
    """How often the tasks were done alone by the system, with a person, and by a person alone."""

    system: int
    both: int
    person: int

    @property
    def times(self) -> int:
        """How often in all."""
        return self.system + self.both + self.person

    @property
    def share(self) -> float:
        """The system's part: half where both did it."""
        return (self.system + self.both * SHARE["both"]) / self.times if self.times else 0.0


class Maturity(NamedTuple):
    """The level of a scenario, of each dimension, and who did each task; `least` names the dimension that bounds it."""

    scenario: str
    level: float
    least: str
    dimensions: Mapping[str, float]
    tasks: Mapping[str, Counted]


def maturity(done: Iterable[Done]) -> tuple[Maturity, ...]:
    """The maturity of all scenarios together, and then of each; none where nothing was done.

    A dimension of which no task was ever asked for says nothing, and bounds nothing.
    """
    counts: dict[str, dict[str, list[By]]] = defaultdict(lambda: defaultdict(list))
    for each in done:
        counts[each.scenario][each.task].append(each.by)
        counts[ALL][each.task].append(each.by)
    scenarios = sorted(counts, key=lambda name: (name != ALL, name))
    return tuple(_of(name, {task: _counted(by) for task, by in sorted(counts[name].items())}) for name in scenarios)


def level_of(dimension: str, share: float) -> float:
    """The level (0 to 5) that a share of the system's part in a dimension reaches.

    It is the highest level that asks for no more, and a fraction of the way to the next.
    """
    asked = [ASKED[row[dimension]] for row in library("autonomy_levels")]
    reached = max(level for level, least in enumerate(asked) if least <= share)
    if reached == len(asked) - 1:
        return float(reached)
    return reached + (share - asked[reached]) / (asked[reached + 1] - asked[reached])


@cache
def dimension_of() -> dict[str, str]:
    """The dimension of each task. Source: library/autonomy_tasks.csv."""
    return {row["task"]: row["dimension"] for row in library("autonomy_tasks")}


def _counted(by: list[By]) -> Counted:
    return Counted(by.count("system"), by.count("both"), by.count("person"))


def _of(scenario: str, tasks: dict[str, Counted]) -> Maturity:
    shares: dict[str, list[float]] = defaultdict(list)
    for task, counted in tasks.items():
        shares[dimension_of()[task]].append(counted.share)
    levels = {name: level_of(name, sum(shares[name]) / len(shares[name])) for name in DIMENSIONS if name in shares}
    least = min(levels, key=lambda name: levels[name])
    return Maturity(scenario, levels[least], least, levels, tasks)
