"""How much of its time a gang of chips gets on with training: failures, restarts, and how often to keep what it has.

Source: J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", Future Generation
Computer Systems 22 (2006), with failures that come by chance (Poisson); J. W. Young (1974) for the interval.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from karez.twin.table import Array
from karez.units import S_PER_H

# Bytes kept of a parameter: the weights in 16 bits and what Adam needs in 32. Source: as `chips.TRAINED_BYTES`, without
# gradients.
KEPT_BYTES = 14.0
GB = 1e9
# No gang gets less on; where failures come faster than restarts, nothing would ever end.
LEAST_SHARE = 0.01


class Health(NamedTuple):
    """Of gangs, a value each: hours between checkpoints, hours between failures, share of time in which it gets on."""

    interval_h: Array
    between_failures_h: Array
    effective_share: Array


def kept_gb(parameters: Array) -> Array:
    """What is kept of so many parameters (GB)."""
    return np.asarray(parameters * KEPT_BYTES / GB)


def checkpoint_h(parameters: Array, chips: Array, gb_per_s_chip: float) -> Array:
    """Hours that writing what is kept of so many parameters takes on so many chips."""
    return np.asarray(kept_gb(parameters) / (chips * gb_per_s_chip) / S_PER_H)


def health(chips: Array, write_h: Array, *, failures_per_chip_h: float, restart_h: float) -> Health:
    """The interval that loses least, and the share of time in which a gang of so many chips gets on."""
    rate = np.maximum(chips * failures_per_chip_h, 1e-12)
    interval = np.sqrt(2.0 * np.maximum(write_h, 1e-9) / rate)
    # Time on the wall for each interval, failures and all (Daly, equation 13).
    wall_h = np.exp(np.minimum(restart_h * rate, 50.0)) * np.expm1(np.minimum((interval + write_h) * rate, 50.0)) / rate
    share = np.clip(interval / wall_h, LEAST_SHARE, 1.0)
    return Health(interval, 1.0 / rate, share)
