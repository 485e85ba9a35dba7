"""Jobs that come one by one: each goes at once where it costs least under the prices of a plan, if there is room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from karez.plan.placing.pricing import Sorted, Sums, sums_of
from karez.plan.placing.program import NONE, Used
from karez.plan.placing.whole import Placed, Wanted, Whole, fill, floor_of, room_of
from karez.twin.table import Array


class Seats(NamedTuple):
    """Where jobs were put: arm (NONE: there is no room, or it is not worth its price) and first hour."""

    arm: Array
    start: Array


@dataclass
class Live:
    """What is left of everything, and what it is worth; `room` shrinks with each job that is placed."""

    menus: Sorted
    sums: Sums
    wanted: Wanted
    work: Array
    room: Used
    floor: Array

    @classmethod
    def of(cls, whole: Whole) -> Live:
        """Nobody placed yet, and the prices of a plan."""
        room = room_of(whole.menus.program, None)
        sums = sums_of(whole.menus.program, whole.prices)
        return cls(whole.menus, sums, whole.wanted, whole.work, room, floor_of(room))

    def place(self, jobs: Array) -> Seats:
        """Where jobs of these classes (rows) go, one after the other."""
        placed = Placed(jobs, np.full(len(jobs), NONE, np.int32), np.zeros(len(jobs), np.int16))
        fill(self.menus, self.sums, self.wanted, self.work, np.arange(len(jobs)), placed, self.room, self.floor)
        return Seats(placed.arm, placed.start)
