"""A binary heap of keys with a value each, in two arrays, for compiled loops that search or wait for what is due.

Loops of other modules have it compiled into them, and what numba keeps of those is not made anew when it changes: `make
clean` then.
"""

from __future__ import annotations

from numba import njit

from karez.twin.table import Array


@njit(cache=True)
def pushed(keys: Array, values: Array, size: int, key: int, value: int) -> int:
    """The size of a heap after one more was put in."""
    at = size
    while at > 0 and keys[(at - 1) >> 1] > key:
        keys[at], values[at] = keys[(at - 1) >> 1], values[(at - 1) >> 1]
        at = (at - 1) >> 1
    keys[at], values[at] = key, value
    return size + 1


@njit(cache=True)
def popped(keys: Array, values: Array, size: int) -> int:
    """The size of a heap after its least, which stands first, was taken out."""
    size -= 1
    key, value, at = keys[size], values[size], 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if keys[child] >= key:
            break
        keys[at], values[at] = keys[child], values[child]
        at = child
    keys[at], values[at] = key, value
    return size
