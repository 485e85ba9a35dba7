"""Costs to step through when a link's cost is changed, so that no packet is ever sent in a circle.

Routers change their minds one after another. A router that has left a link may hand a packet to one that still means
to send it over that link, and so back. That cannot happen if the second has left before the first does; and as the cost
rises it does leave before, so it is enough to stop in between and let all have settled. On the way down it is the same
in reverse.

Source: after P. Francois, M. Shand, O. Bonaventure, "Disruption free topology reconfiguration in OSPF networks" (IEEE
INFOCOM 2007); the fewest stops are the fewest points that pierce all intervals.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import dijkstra

from karez.twin.table import Array

# A cost above that of any way.
FAR = float(1 << 40)


def steps(routers: int, ends: Array, cost: Array, link: int, goal: int) -> tuple[int, ...]:
    """The costs that a link must be given one after another, the last of which is `goal`.

    `ends` (L x 2) are the routers that each link joins, `cost` (L) what it costs in both directions; links that carry
    nothing are left out by a cost of 0.
    """
    before = int(cost[link])
    low, high = min(before, goal), max(before, goal)
    between = _pierced(_intervals(routers, ends, cost, link, low, high))
    return (*(between if goal >= before else between[::-1]), goal)


def _intervals(routers: int, ends: Array, cost: Array, link: int, low: int, high: int) -> Array:
    """Pairs of costs (K x 2): strictly between the two, all must have settled once."""
    without = _distances(routers, np.delete(ends, link, axis=0), np.delete(cost, link))
    found = [np.zeros((0, 2))]
    for near, far in (ends[link], ends[link][::-1]):
        # From here to everywhere: up to which cost a router (row) sends to a destination (column) over the link.
        until = without - without[:, near][:, None] - without[far][None, :]
        # Those that come to a router on their way to the link, and go through it.
        passes = _close(without[:, near][:, None], without + without[:, near][None, :])
        for destination in range(routers):
            to = without[:, destination]
            # Whether the first, once it has left, sends through the second, which would send back through the first.
            sends = _close(to[:, None], without + to[None, :]) & passes.T
            np.fill_diagonal(sends, False)
            first, second = np.nonzero(sends)
            pairs = np.stack([until[second, destination], until[first, destination]], axis=1)
            moved = (pairs[:, 0] >= low) & (pairs[:, 1] <= high)
            found.append(pairs[moved])
    return np.unique(np.concatenate(found), axis=0)


def _pierced(intervals: Array) -> tuple[int, ...]:
    """The fewest whole numbers, rising, of which every interval has one strictly within."""
    points: list[int] = []
    for after, until in sorted(intervals.tolist(), key=lambda pair: pair[1]):
        if not points or not after < points[-1] < until:
            points.append(int(until) - 1)
    return tuple(points)


def _distances(routers: int, ends: Array, cost: Array) -> Array:
    """The least cost from every router to every other; `FAR` where no way leads."""
    near = np.full((routers, routers), np.inf)
    used = cost > 0
    for column in (slice(None), slice(None, None, -1)):
        np.minimum.at(near, tuple(ends[used][:, column].T), cost[used])
    least = dijkstra(np.where(np.isfinite(near), near, 0.0))
    return np.where(np.isfinite(least), least, FAR)


def _close(one: Array, other: Array) -> Array:
    """Whether two sums of whole costs are the same, and finite."""
    return np.asarray((one < FAR) & (one == other))
