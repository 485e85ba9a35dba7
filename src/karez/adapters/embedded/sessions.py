"""Routing sessions between neighbours, and the tables that routers make from them, each with its delay."""

from __future__ import annotations

import numpy as np

from karez.adapters.embedded.effects import Effects
from karez.adapters.embedded.forks import Forks
from karez.adapters.embedded.gear import Gear
from karez.adapters.embedded.plant import Plant
from karez.adapters.embedded.routing import MAX_PATHS, Paths, graph, routed, traced
from karez.twin.table import Array

# How long a session takes to form, and routers to have new tables once something changed (s).
FORM_S = 1.0
CONVERGE_S = 0.2


class Sessions(Forks):
    """Which links routing uses (`adjacent`), and where the tables of all routers lead (`paths`)."""

    def __init__(self, plant: Plant, gear: Gear, effects: Effects) -> None:
        """All has long converged."""
        self._plant, self._graph = plant, graph(plant)
        self.adjacent = np.isinf(effects.apart_s) & plant.links.meant_up
        self._due_s, self._converge_s, self._least_s = np.full(len(self.adjacent), np.inf), np.inf, np.inf
        self._stale = np.zeros(self._graph.vertices, bool)
        self._goals = np.zeros(0, np.int64)
        self._number = np.full(self._graph.vertices, -1)
        self._fib = np.full((0, self._graph.vertices, MAX_PATHS), -1, np.int32)
        self.paths: Paths
        self._aim(gear)
        self.converge(gear)

    @property
    def next_s(self) -> float:
        """When a session changes or tables are made."""
        return min(self._converge_s, self._least_s)

    def follow(self, effects: Effects, at_s: float) -> Array:
        """The links whose sessions have gone or come by now; others are on their way (rows)."""
        well = np.isinf(effects.apart_s) & self._plant.links.meant_up
        changing = well != self.adjacent
        if changing.any():
            after_s = at_s + np.where(well, FORM_S, effects.apart_s)
            self._due_s = np.where(changing, np.minimum(self._due_s, after_s), np.inf)
        else:
            self._due_s[:] = np.inf
        flipped = np.flatnonzero(self._due_s <= at_s)
        self.adjacent[flipped] = well[flipped]
        self._due_s[flipped] = np.inf
        self._least_s = float(self._due_s.min(initial=np.inf))
        stale = effects.stale[:-1]
        if len(flipped) or (self._stale & ~stale).any():
            self.tell(at_s)
        self._stale = stale.copy()
        return flipped

    def tell(self, at_s: float) -> None:
        """Something changed: routers will have new tables soon."""
        self._converge_s = min(self._converge_s, at_s + CONVERGE_S)

    def converged(self, gear: Gear, at_s: float) -> bool:
        """Whether new tables were made at this time."""
        if self._converge_s > at_s:
            return False
        self.converge(gear)
        return True

    def converge(self, gear: Gear) -> None:
        """Have every router that is well make its table."""
        self._converge_s = np.inf
        self._fill(gear)
        self.steer(gear)

    def steer(self, gear: Gear) -> None:
        """Find the paths of all demands, by the tables as they are."""
        if self._aim(gear):
            self.converge(gear)
            return
        demands = self._plant.demands
        self.paths = traced(self._graph, demands.start, demands.goal, gear.via, self._number, self._fib)

    def _fill(self, gear: Gear) -> None:
        usable = np.repeat(self.adjacent, 2) & (self._plant.tail >= 0)
        cost = gear.way_cost(self._plant)
        routed(self._graph, usable, cost, self._goals, ~self._stale, self._fib)

    def _aim(self, gear: Gear) -> bool:
        """Make room in the tables for all goals; whether there are new ones."""
        wanted = np.unique(np.concatenate([self._plant.demands.goal, gear.via]))
        new = np.setdiff1d(wanted[wanted >= 0], self._goals)
        if not len(new):
            return False
        room = np.full((len(new), *self._fib.shape[1:]), -1, np.int32)
        self._goals = np.concatenate([self._goals, new]).astype(np.int64)
        self._fib = np.concatenate([self._fib, room])
        self._number[self._goals] = np.arange(len(self._goals))
        return True
