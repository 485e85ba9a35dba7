"""What flows now, and what has flowed since the start: one array each, so that time passes in one sum."""

from __future__ import annotations

from typing import Self

import numpy as np

from karez.adapters.embedded.forks import Forks
from karez.adapters.embedded.traffic import Rates
from karez.twin.table import Array

# Fields of `Rates` by what they have a value for.
BY_WAY = 7
BY_DEMAND = 3


class Meter(Forks):
    """Rates (a second) and sums (since the start); both have the fields of `Rates`."""

    def __init__(self, ways: int, demands: int, vertices: int) -> None:
        """Nothing flows."""
        sizes = [ways] * BY_WAY + [demands] * BY_DEMAND
        sizes += [vertices] * (len(Rates._fields) - len(sizes))
        self._cuts = np.cumsum(sizes)[:-1].tolist()
        self._rate, self._sum = np.zeros(sum(sizes)), np.zeros(sum(sizes))
        self._bind()

    def pass_time(self, duration_s: float) -> None:
        """Let it flow as it does for so long."""
        self._sum += self._rate * duration_s

    def fork(self) -> Self:
        """A copy whose fields are of its own arrays."""
        twin = super().fork()
        twin._bind()
        return twin

    def _bind(self) -> None:
        self.rates, self.sums = (self._fields(array) for array in (self._rate, self._sum))

    def _fields(self, array: Array) -> Rates:
        return Rates(*np.split(array, self._cuts))
