"""State as arrays that are written to in place, a row a series, and that can be frozen and thawed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numba import njit

Frozen = dict[str, bytes]
# An alarm that opens again so soon after it was closed takes twice as long to close, and so on, up to so many times.
FLAP_S = 15.0
MOST_FLAPS = 3.0


class Columns:
    """Arrays of equal length, one attribute each; `layout` has their dtype and what a new series begins with."""

    layout: ClassVar[Mapping[str, tuple[np.dtype, float]]]

    def __init__(self) -> None:
        """Start without series."""
        for name, (dtype, _) in self.layout.items():
            setattr(self, name, np.zeros(0, dtype))

    def grow(self, count: int) -> None:
        """Make room for `count` series."""
        for name, (dtype, start) in self.layout.items():
            array = getattr(self, name)
            more = np.zeros(count - len(array), dtype)
            if dtype.names is None:
                more[:] = start
            setattr(self, name, np.concatenate([array, more]))

    def freeze(self) -> Frozen:
        """The state as bytes; equal states give equal bytes."""
        return {name: getattr(self, name).tobytes() for name in self.layout}

    def restore(self, frozen: Frozen) -> None:
        """Take over what was frozen."""
        for name, (dtype, _) in self.layout.items():
            setattr(self, name, np.frombuffer(frozen[name], dtype).copy())


def sums(*names: str) -> np.dtype:
    """The dtype of records of float64, for what is rarely looked at."""
    return np.dtype([(name, "f8") for name in names])


@njit(cache=True)
def again(at_s: float, closed_at_s: float, flaps: float) -> float:
    """How often in a row an alarm that opens now has been closed too soon."""
    soon = closed_at_s > 0.0 and at_s - closed_at_s < FLAP_S
    return min(flaps + 1.0, MOST_FLAPS) if soon else 0.0
