"""The loop on real routers: turns in real time, and a fault that begins once what is normal is learned."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from karez.lab.asked import AsPlanned, Begin, End, Lab
from karez.loop.runner import Runner
from karez.loop.state import Decisions

# What is normal is learned for so long before a fault is begun; turns come so often (s).
LEARN_S, TURN_S = 8.0, 0.1


class Course(NamedTuple):
    """What was played: when it began and the fault did (Unix, s; nan: none did), and what every turn decided."""

    start_s: float
    broke_s: float
    decided: tuple[Decisions, ...]

    def first_s(self, what: Callable[[Decisions], bool]) -> float | None:
        """How long after the fault a turn first decided so (s); None where none did."""
        later = (one.at_s for one in self.decided if one.at_s >= self.broke_s and what(one))
        return next((at_s - self.broke_s for at_s in later), None)


def played(
    runner: Runner,
    lab: Lab,
    fault: Begin | None,
    *,
    for_s: float,
    lasts_s: float = math.inf,
    over: Callable[[Decisions], bool] = lambda said: False,
) -> Course:
    """What the loop did on a lab for so long, or until it is over; then the lab is as planned again.

    Raises:
        LabError: the lab does not answer.
    """
    decided: list[Decisions] = []
    broke_s = ends_s = math.nan
    try:
        # The first turn loads what is compiled.
        runner.turn(time.time())
        start_s = time.time()
        while (at_s := time.time()) < start_s + for_s:
            if fault is not None and at_s >= start_s + LEARN_S:
                broke_s, fault = lab.ask(fault).at_s, None
                ends_s = broke_s + lasts_s
            if at_s >= ends_s:
                lab.ask(End())
                ends_s = math.nan
            decided.append(runner.turn(time.time()))
            if over(decided[-1]):
                break
            time.sleep(max(0.0, at_s + TURN_S - time.time()))
    finally:
        lab.ask(AsPlanned())
    return Course(start_s, broke_s, tuple(decided))
