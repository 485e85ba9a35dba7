"""Chance that depends on what it is for and when, and never on what was drawn before."""

from __future__ import annotations

from typing import Final

import numpy as np

# What chance is for: each has a stream of its own.
SWING: Final = 1
PROBE: Final = 2
COUNTER: Final = 3
USER: Final = 4
OPTICAL: Final = 5
PING: Final = 6
POLL: Final = 7
TENANTS: Final = 8
BUILT: Final = 9
TRANSIT: Final = 10


def chance(seed: int, use: int, at: float) -> np.random.Generator:
    """The generator for one use at one time (s, or the number of a block)."""
    when = int(np.float64(at).view(np.uint64))
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, use, when]))
