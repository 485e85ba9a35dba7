"""What rests on what: links of one layer on links of the layer below."""

from __future__ import annotations

import numpy as np

from karez.twin import Twin
from karez.twin.table import Array


def below(twin: Twin) -> Array:
    """Pairs (2 x n, rows) of a link and a link that it rests on, directly or by others in between."""
    rests = np.stack([twin.resolve("link_support", end) for end in ("link", "supported_by")])
    rests = np.unique(rests[:, (rests >= 0).all(axis=0)], axis=1)
    found, more = rests, rests
    # Each round goes one layer further down; what is known already adds nothing.
    while more.size:
        longer = np.unique(np.concatenate([found, joined(more, *rests)], axis=1), axis=1)
        more = longer if longer.shape[1] > found.shape[1] else longer[:, :0]
        found = longer
    return found


def joined(pairs: Array, upper: Array, lower: Array) -> Array:
    """(x, z) for each pair (x, y) and each (y, z) of `upper` and `lower`."""
    order = np.argsort(upper, kind="stable")
    starts, stops = (np.searchsorted(upper[order], pairs[1], side) for side in ("left", "right"))
    count = stops - starts
    which = np.repeat(np.arange(len(count)), count)
    at = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count) + starts[which]
    return np.stack([pairs[0][which], lower[order][at]])
