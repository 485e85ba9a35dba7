"""Where packets of a lab end up by the tables of its kernels, kept up from what changes: loops, black holes."""

from __future__ import annotations

import numpy as np

from karez.adapters.frr.fabric import Fabric
from karez.lab.asked import Changed, Lab, Routed
from karez.measure.forwarding import NO_RULES, Deltas, Finding, Rules, blank, step, wired


class Watched:
    """The forwarding tables of a lab that runs, as they were when it was last asked."""

    def __init__(self, lab: Lab, fabric: Fabric, rules: Rules = NO_RULES) -> None:
        """Ask nothing yet; destinations of rules are rows of routers."""
        self._lab, self._since = lab, 0
        ends = np.array([line.routers for line in fabric.lines])
        count = len(fabric.routers)
        self._tables = blank(wired(count, ends, np.arange(count), rules))

    def findings(self) -> list[Finding]:
        """All that is wrong now; only what changed since last time is asked for, and looked at.

        Raises:
            LabError: the lab does not answer.
        """
        told = self._lab.ask(Routed(since=self._since), Changed)
        lines = np.flatnonzero(told.up != self._tables.up)
        deltas = Deltas(told.router, told.goal, told.hops, lines, told.up[lines])
        self._tables, found = step(self._tables, deltas)
        self._since = told.until
        return found
