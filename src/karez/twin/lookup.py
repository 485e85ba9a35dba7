"""Where values stand among sorted ids, by the million: a compiled search that begins where the last one ended.

References mostly follow the order of the ids they name, so a few steps find each. Texts are of eight bytes at most and
come as whole numbers (uint64) that hold their bytes as they lie in memory.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(inline="always")
def _ordered(raw: int) -> np.uint64:
    """The number with its bytes turned round, so that numbers have the order of the texts."""
    word = np.uint64(raw)
    word = (word & np.uint64(0x00FF00FF00FF00FF)) << np.uint64(8) | (word >> np.uint64(8)) & np.uint64(
        0x00FF00FF00FF00FF
    )
    word = (word & np.uint64(0x0000FFFF0000FFFF)) << np.uint64(16) | (word >> np.uint64(16)) & np.uint64(
        0x0000FFFF0000FFFF
    )
    return word << np.uint64(32) | word >> np.uint64(32)


@njit(cache=True)
def find(values: np.ndarray, ids: np.ndarray, first: int, missing: int, start: int, found: np.ndarray) -> int:
    """Write into `found`, where it holds `missing`, the row of each value in `ids`, counted from `first`.

    The search begins at row `start`; returned is the row at which it ended.
    """
    size, here = ids.size, min(start, ids.size - 1)
    for at in range(values.size):
        if found[at] != missing:
            continue
        word = _ordered(values[at])
        # All rows up to `low` are before the value, all from `high` on are not; steps double until both are known.
        step = 1
        if _ordered(ids[here]) < word:
            low, high = here, here + 1
            while high < size and _ordered(ids[high]) < word:
                low, step = high, step * 2
                high = min(low + step, size)
        else:
            low, high = here - 1, here
            while low >= 0 and _ordered(ids[low]) >= word:
                high, step = low, step * 2
                low = max(high - step, -1)
        while high - low > 1:
            middle = (low + high) >> 1
            if _ordered(ids[middle]) < word:
                low = middle
            else:
                high = middle
        if high < size and ids[high] == values[at]:
            found[at] = first + high
        here = min(high, size - 1)
    return here
