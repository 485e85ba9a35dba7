"""Ways round a fault that lie in the routers before it happens, so that nobody waits for routing.

A router notices only that its own links are dark. What is for a goal, another router, it sends by the first of these
that has light: links that it keeps for this goal and for the link that the packet came in by (an exception); the next
hops of its routing table, any of those of least cost, flow by flow; links that it keeps for this goal, whatever the
packet came in by (a backup).

Backups that lead to a neighbour whose way does not lead back come first. Where there is none, a packet is sent back,
and comes in where it never does while all is well. That betrays a fault, and an exception leads on, round all that may
have sent it there.

Nothing is kept that helps in no failure or harms in any: at once, no packet goes in a circle and what arrived arrives;
and so it is when routing has settled on the network without these links. A packet to a goal that is cut off goes in no
circle either, so whoever wants the most against some failures leaves out those that cut routers off.

Source: A. Atlas, A. Zinin (eds.), "Basic specification for IP fast reroute: loop-free alternates" (RFC 5286, 2008);
S. Lee, Y. Yu, S. Nelakuditi, Z.-L. Zhang, C.-N. Chuah, "Proactive vs reactive approaches to failure resilient routing"
(IEEE INFOCOM 2004).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from karez.errors import InputError, Problem
from karez.measure.refusing import columns, outside, refuse, said
from karez.twin.table import Array

WHERE = "backups"
NONE = -1
_columns = partial(columns, WHERE, ragged="give the two routers of each link")
_outside, _said = partial(outside, WHERE), partial(said, WHERE)
# The most that a link may cost, and more than any way costs.
MOST_COST, FAR = (1 << 32) - 1, 1 << 60
# What may become of a packet, any of these that is set; and that it is still being followed.
ARRIVES, DROPS, LOOPS, OPEN = 1, 2, 4, 8
# A failure is looked at twice: while all routing tables are the old ones, and when routing has settled.
AT_ONCE, SETTLED = 0, 1


class Backups(NamedTuple):
    """What lies in the routers, a row each and sorted: the `link` by which a `router` sends what is for a `goal`.

    `over` is the link that the packet came in by; -1 stands for any, and for when no next hop has light. Of several
    links the first that has light is taken, by their `rank` (0, 1, ...).
    """

    router: Array
    goal: Array
    over: Array
    rank: Array
    link: Array


class Coverage(NamedTuple):
    """What becomes of traffic in each failure (a row each), counted in ordered pairs of a source and a goal.

    `pairs` are those that are still joined and some of whose traffic meets the failure; all traffic of `at_once` of
    them arrives before any router has changed its table. `loops` are all pairs, joined or not, whose packets may then
    go in a circle. `settled`: whether all joined pairs arrive and no packet goes in a circle when routing has settled.
    `healthy`: whether without a failure all traffic goes the ways of the routing tables.
    """

    pairs: Array
    at_once: Array
    loops: Array
    settled: Array
    healthy: bool


class _Net(NamedTuple):
    """Links as arcs: arc 2 x link + side leads to `head`, the router at that end, at a `cost`.

    Those that leave a router lie together in `leaving`, from where `starts` says, and are at `most` so many. What
    carries nothing leaves no router.
    """

    head: Array
    cost: Array
    starts: Array
    leaving: Array
    most: int


class _Kept(NamedTuple):
    """What lies in the routers for a goal, links and then -1: by router, and by the arc that a packet came in by."""

    backup: Array
    exception: Array


class _Seen(NamedTuple):
    """What becomes of packets to a goal, at once and settled (first axis), in each failure (second).

    `fate` (bits) is by source; `used` tells the arcs that packets may go over, `fell` the routers none of whose next
    hops has light.
    """

    fate: Array
    used: Array
    fell: Array


class _Case(NamedTuple):
    """A goal, and the failures that traffic to it meets (`dark`, K x L).

    With all links, routers are so `near` to each other (R x R) and send to the goal by these `hops` (2L). In each
    failure, when routing has settled, `after` is how far they are from it (K x R) and `turns` their next hops (K x 2L).
    """

    net: _Net
    goal: int
    dark: Array
    near: Array
    hops: Array
    after: Array
    turns: Array


def backups(routers: int, ends: ArrayLike, cost: ArrayLike, failures: Sequence[ArrayLike]) -> Backups:
    """Backups and exceptions against failures, each of which is the rows of the links that go dark together.

    `ends` (L x 2) are the routers that each link joins, `cost` (L) what it costs in both directions; links that carry
    nothing have a cost of 0.

    Raises:
        InputError: With all that is wrong.
    """
    net, dark = _checked(routers, ends, cost, failures)
    found = []
    for case in _cases(net, dark):
        kept, seen = _with_alternates(case)
        # What was in the way of an exception may have gone when lists were pruned.
        while _add_exceptions(case, kept, seen):
            _prune(case, kept, seen)
        found.append(kept)
    return _as_rows(net, found)


def alternates(routers: int, ends: ArrayLike, cost: ArrayLike, failures: Sequence[ArrayLike]) -> Backups:
    """Only those backups that lead to a neighbour whose way does not lead back; asked as `backups` is.

    Raises:
        InputError: With all that is wrong.
    """
    net, dark = _checked(routers, ends, cost, failures)
    return _as_rows(net, [_with_alternates(case)[0] for case in _cases(net, dark)])


def coverage(routers: int, ends: ArrayLike, cost: ArrayLike, failures: Sequence[ArrayLike], kept: Backups) -> Coverage:
    """What becomes of traffic with what lies in the routers, by following it; the network is told as to `backups`.

    Raises:
        InputError: With all that is wrong.
    """
    net, dark = _checked(routers, ends, cost, failures)
    different, same_as = _different(dark)
    count = np.zeros((len(different), 3), np.int64)
    settled = np.ones(len(different), np.bool_)
    healthy = True
    for goal, lists in enumerate(_as_lists(net, _checked_rows(net, kept))):
        far = _distances(net, goal, np.zeros(dark.shape[1], np.bool_))
        usual = _changes_nothing(net, goal, _next_hops(net, far), lists)
        _count(net, goal, different, far, lists, usual, count, settled)
        healthy &= usual
    pairs, at_once, loops = count[same_as].T
    return Coverage(pairs, at_once, loops, settled[same_as], healthy)


def _different(dark: Array) -> tuple[Array, Array]:
    """The failures that differ, those of few links first, and which of them each failure is."""
    different, same_as = np.unique(dark, axis=0, return_inverse=True)
    order = np.argsort(different.sum(axis=1), kind="stable")
    return different[order], np.argsort(order)[same_as.ravel()]


def _cases(net: _Net, dark: Array) -> Iterator[_Case]:
    """Each goal in its turn."""
    routers, none = len(net.starts) - 1, np.zeros(dark.shape[1], np.bool_)
    near = np.array([_distances(net, goal, none) for goal in range(routers)])
    different = _different(dark)[0]
    for goal in range(routers):
        hops = _next_hops(net, near[goal])
        met = different[(different & hops.reshape(-1, 2).any(axis=1)).any(axis=1)]
        yield _Case(net, goal, met, near, hops, *_settled(net, goal, met))


def _with_alternates(case: _Case) -> tuple[_Kept, _Seen]:
    """Lists with loop-free alternates, and what is then seen."""
    kept, seen = _empty(len(case.near), case.net, case.net.most + 1), _unseen(case)
    _look(case, kept, seen)
    _add_alternates(case, kept, seen)
    _prune(case, kept, seen)
    return kept, seen


def _empty(routers: int, net: _Net, room: int) -> _Kept:
    """Lists in which nothing is."""
    return _Kept(np.full((routers, room), NONE, np.int32), np.full((len(net.head), room), NONE, np.int32))


def _as_rows(net: _Net, found: list[_Kept]) -> Backups:
    """What lies in the routers for each goal, as rows."""
    parts = [np.zeros((5, 0), np.int64)]
    for goal, kept in enumerate(found):
        router, rank = np.nonzero(kept.backup != NONE)
        parts.append(_stacked(router, goal, NONE, rank, kept.backup[router, rank]))
        arc, rank = np.nonzero(kept.exception != NONE)
        parts.append(_stacked(net.head[arc], goal, arc >> 1, rank, kept.exception[arc, rank]))
    columns = np.concatenate(parts, axis=1)
    return Backups(*columns[:, np.lexsort(columns[::-1])])


def _stacked(router: Array, goal: int, over: Array | int, rank: Array, link: Array) -> Array:
    return np.stack(np.broadcast_arrays(router, goal, over, rank, link)).astype(np.int64)


def _as_lists(net: _Net, rows: Backups) -> Iterator[_Kept]:
    """What lies in the routers for each goal, from rows."""
    order = np.lexsort((rows.rank, rows.over, rows.router, rows.goal))
    router, goal, over, _, link = (column[order] for column in rows)
    # Positions within lists, which begin wherever any of these changes.
    begins = np.any(np.diff(np.stack([router, goal, over]), axis=1, prepend=-2) != 0, axis=0)
    place = np.arange(len(order)) - np.flatnonzero(begins)[np.cumsum(begins) - 1]
    arc = 2 * over + (net.head[2 * over] != router)
    routers = len(net.starts) - 1
    for each in range(routers):
        kept = _empty(routers, net, int(place.max(initial=0)) + 1)
        plain, odd = (np.flatnonzero((goal == each) & (mark == (over == NONE))) for mark in (True, False))
        kept.backup[router[plain], place[plain]] = link[plain]
        kept.exception[arc[odd], place[odd]] = link[odd]
        yield kept


def _checked(routers: int, ends: ArrayLike, cost: ArrayLike, failures: Sequence[ArrayLike]) -> tuple[_Net, Array]:
    """The network, and which links are dark in each failure (K x L)."""
    links, each = _columns(ends, "ends", dims=2), _columns(cost, "cost")
    rows = [_columns(failure, f"failures[{at}]") for at, failure in enumerate(failures)]
    refuse([*_wrong_network(routers, links, each), *_wrong_failures(len(links), rows)])
    dark = np.zeros((len(rows), len(links)), np.bool_)
    for row, failure in enumerate(rows):
        dark[row, failure] = True
    return _net(routers, links.reshape(-1, 2), each), dark


def _net(routers: int, ends: Array, cost: Array) -> _Net:
    tail, twice = ends[:, ::-1].ravel(), np.repeat(cost, 2).astype(np.int64)
    used = np.flatnonzero(twice > 0)
    leaving = used[np.argsort(tail[used], kind="stable")]
    starts = np.searchsorted(tail[leaving], np.arange(routers + 1))
    most = int(np.diff(starts).max(initial=0))
    return _Net(ends.ravel().astype(np.int32), twice, starts.astype(np.int32), leaving.astype(np.int32), most)


def _wrong_network(routers: int, ends: Array, cost: Array) -> Iterator[Problem]:
    if routers < 0:
        yield Problem(WHERE, f"there are {routers} routers", "give their number")
    if ends.size and ends.shape[1] != 2:
        yield Problem(WHERE, f"ends has {ends.shape[1]} columns", "give the two routers of each link")
        return
    if len(cost) != len(ends):
        yield Problem(WHERE, f"there are {len(ends)} links and {len(cost)} costs", "give the cost of each link")
    pairs = ends.reshape(-1, 2)
    yield from _outside("ends", ends, routers)
    yield from _said(pairs[:, 0] == pairs[:, 1], "ends are one and the same router", "leave such links out")
    yield from _outside("cost", cost, MOST_COST + 1)


def _wrong_failures(links: int, failures: list[Array]) -> Iterator[Problem]:
    wrong = np.array([bool(((failure < 0) | (failure >= links)).any()) for failure in failures], np.bool_)
    yield from _said(wrong, f"failures has links that are not from 0 to {links - 1}", "name links that are there")


def _checked_rows(net: _Net, kept: Backups) -> Backups:
    rows = Backups(*(_columns(column, f"kept.{name}") for name, column in kept._asdict().items()))
    lengths = {name: len(column) for name, column in rows._asdict().items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{length} of kept.{name}" for name, length in lengths.items())
        raise InputError.of(WHERE, f"there are {said}", "give as many rows of each")
    routers, links = len(net.starts) - 1, len(net.head) // 2
    refuse(
        [
            *_outside("kept.router", rows.router, routers),
            *_outside("kept.goal", rows.goal, routers),
            *_outside("kept.over", rows.over, links, least=NONE),
            *_outside("kept.rank", rows.rank, 1 << 31),
            *_outside("kept.link", rows.link, links),
        ]
    )
    sound = Backups(*(column.astype(np.int64) for column in rows))
    refuse(list(_useless_rows(net, sound)))
    return sound


def _useless_rows(net: _Net, rows: Backups) -> Iterator[Problem]:
    """Rows that name what is there, and could never be followed."""
    ends = net.head.reshape(-1, 2)
    away = (ends[rows.link] != rows.router[:, None]).all(axis=1)
    strange = (rows.over != NONE) & (ends[rows.over] != rows.router[:, None]).all(axis=1)
    keys = np.stack([rows.router, rows.goal, rows.over, rows.rank])
    _, same_as, times = np.unique(keys, axis=1, return_inverse=True, return_counts=True)
    yield from _said(rows.router == rows.goal, "kept is for the router itself", "leave such rows out")
    yield from _said(away, "kept.link is not at the router", "give links that end there")
    yield from _said(strange, "kept.over is not at the router", "give links that end there, or -1")
    yield from _said(net.cost[2 * rows.link] == 0, "kept.link carries nothing", "give links that have a cost")
    yield from _said(times[same_as.ravel()] > 1, "kept has links of one list with the same rank", "number them")


@njit(cache=True)
def _distances(net: _Net, goal: int, dark: Array) -> Array:
    """The least cost from every router to a goal (R) over links with light.

    Source: E. W. Dijkstra, "A note on two problems in connexion with graphs" (1959).
    """
    head, cost, starts, leaving = net.head, net.cost, net.starts, net.leaving
    far, left = np.full(len(starts) - 1, FAR, np.int64), np.ones(len(starts) - 1, np.bool_)
    far[goal] = 0
    while True:
        here = NONE
        for router in range(len(far)):
            if left[router] and far[router] < FAR and (here == NONE or far[router] < far[here]):
                here = router
        if here == NONE:
            return far
        left[here] = False
        for at in range(starts[here], starts[here + 1]):
            arc = leaving[at]
            if not dark[arc >> 1]:
                far[head[arc]] = min(far[head[arc]], far[here] + cost[arc])


@njit(cache=True)
def _settled(net: _Net, goal: int, dark: Array) -> tuple[Array, Array]:
    """Distances (K x R) and next hops (K x 2L) to a goal when routing has settled, in each failure."""
    after = np.empty((len(dark), len(net.starts) - 1), np.int64)
    turns = np.empty((len(dark), len(net.head)), np.bool_)
    for row in range(len(dark)):
        after[row] = _distances(net, goal, dark[row])
        turns[row] = _next_hops(net, after[row])
    return after, turns


@njit(cache=True)
def _next_hops(net: _Net, far: Array) -> Array:
    """Whether each arc is a next hop to a goal at these distances (2L)."""
    head, cost = net.head, net.cost
    hops = np.zeros(len(head), np.bool_)
    for arc in range(len(head)):
        tail = head[arc ^ 1]
        hops[arc] = cost[arc] > 0 and far[tail] < FAR and far[tail] == cost[arc] + far[head[arc]]
    return hops


@njit(cache=True)
def _follow(net: _Net, goal: int, hops: Array, dark: Array, kept: _Kept, fate: Array, used: Array, fell: Array) -> None:
    """Send packets from every router to a goal, by every choice there is, and fill in what becomes of them.

    Where a packet is, is a state: a router, or behind these an arc, where what came in over it goes by an exception.
    """
    states = len(fate) + len(net.head)
    ahead, size = np.empty((states, net.most + 1), np.int32), np.zeros(states, np.int32)
    _send_from_routers(net, hops, dark, kept.backup, ahead, size, fell)
    into = _send_by_exceptions(net, dark, kept.exception, ahead, size)
    _search(goal, ahead, size, into, fate, used)


@njit(cache=True)
def _send_from_routers(
    net: _Net, hops: Array, dark: Array, backup: Array, ahead: Array, size: Array, fell: Array
) -> None:
    """Fill in the arcs ahead of each router and how many they are, and who has no next hop with light."""
    head, starts, leaving = net.head, net.starts, net.leaving
    for router in range(len(fell)):
        for at in range(starts[router], starts[router + 1]):
            if hops[leaving[at]] and not dark[leaving[at] >> 1]:
                ahead[router, size[router]] = leaving[at]
                size[router] += 1
        fell[router] = size[router] == 0
        link = _lit(backup, router, dark) if fell[router] else NONE
        if link != NONE:
            ahead[router, 0], size[router] = _arc(head, router, link), 1


@njit(cache=True)
def _send_by_exceptions(net: _Net, dark: Array, exception: Array, ahead: Array, size: Array) -> Array:
    """The state that each arc leads into (2L); the one arc ahead of those with an exception is filled in."""
    head, routers = net.head, len(net.starts) - 1
    into = head.copy()
    for arc in range(len(head)):
        link = _lit(exception, arc, dark)
        if link != NONE:
            into[arc] = routers + arc
            ahead[routers + arc, 0], size[routers + arc] = _arc(head, head[arc], link), 1
    return into


@njit(cache=True)
def _search(goal: int, ahead: Array, left: Array, into: Array, fate: Array, used: Array) -> None:
    """Fill in what becomes of packets from each router, and which arcs they go over; `left` is used up.

    The search goes deep first. What a state comes to is known when all ahead of it is; one that is come to while it is
    still open closes a circle.
    """
    end, stack = np.zeros(len(left), np.uint8), np.empty(len(left), np.int32)
    used[:], end[goal] = False, ARRIVES
    for source in range(len(fate)):
        size = 0
        if end[source] == 0:
            stack[0], size, end[source] = source, 1, OPEN
        while size > 0:
            state = stack[size - 1]
            if left[state] > 0:
                left[state] -= 1
                arc = ahead[state, left[state]]
                to, used[arc] = into[arc], True
                if end[to] == 0:
                    stack[size], size, end[to] = to, size + 1, OPEN
                else:
                    end[state] |= LOOPS if end[to] & OPEN else end[to]
            else:
                # A state from which nothing was sent is no more than open.
                end[state] = DROPS if end[state] == OPEN else end[state] ^ OPEN
                size -= 1
                if size > 0:
                    end[stack[size - 1]] |= end[state]
    for source in range(len(fate)):
        fate[source] = end[source]


@njit(cache=True)
def _lit(lists: Array, row: int, dark: Array) -> int:
    """The first link of a list that has light, or -1."""
    for rank in range(lists.shape[1]):
        link = lists[row, rank]
        if link == NONE or not dark[link]:
            return int(link)
    return NONE


@njit(cache=True)
def _arc(head: Array, router: int, link: int) -> int:
    """The arc by which a router sends over one of its links."""
    return int(2 * link + (head[2 * link] == router))


@njit(cache=True)
def _changes_nothing(net: _Net, goal: int, hops: Array, kept: _Kept) -> bool:
    """Whether all traffic to a goal goes by these next hops alone while all links have light."""
    routers, links = len(net.starts) - 1, len(hops) // 2
    fate, fell, used = np.empty(routers, np.uint8), np.empty(routers, np.bool_), np.empty(2 * links, np.bool_)
    _follow(net, goal, hops, np.zeros(links, np.bool_), kept, fate, used, fell)
    changed = (used != hops) | (used & (kept.exception[:, 0] != NONE))
    return not changed.any()


@njit(cache=True)
def _count(
    net: _Net, goal: int, dark: Array, far: Array, kept: _Kept, usual: bool, count: Array, settled: Array
) -> None:
    """Add what becomes of traffic to a goal in each failure; `usual`: without any it goes by the tables alone."""
    fate, fell, used = np.empty(len(far), np.uint8), np.empty(len(far), np.bool_), np.empty(len(net.head), np.bool_)
    hops, order = _next_hops(net, far), np.argsort(far)
    for row in range(len(dark)):
        meets = _meeting(net, hops, order, dark[row])
        if usual and not meets.any():
            continue
        after = _distances(net, goal, dark[row])
        _follow(net, goal, hops, dark[row], kept, fate, used, fell)
        for source in range(len(far)):
            count[row, 0] += meets[source] and after[source] < FAR
            count[row, 1] += meets[source] and after[source] < FAR and fate[source] == ARRIVES
            count[row, 2] += fate[source] & LOOPS != 0
        _follow(net, goal, _next_hops(net, after), dark[row], kept, fate, used, fell)
        settled[row] &= _sound(fate, after)


@njit(cache=True)
def _meeting(net: _Net, hops: Array, order: Array, dark: Array) -> Array:
    """Whose traffic to a goal may go over a link that is dark (R), by the next hops; `order`: the nearest first."""
    head, starts, leaving = net.head, net.starts, net.leaving
    meets = np.zeros(len(order), np.bool_)
    for router in order:
        for at in range(starts[router], starts[router + 1]):
            arc = leaving[at]
            meets[router] |= hops[arc] and (dark[arc >> 1] or meets[head[arc]])
    return meets


@njit(cache=True)
def _sound(fate: Array, far: Array) -> bool:
    """Whether all arrives from where the goal is at a distance, and nothing goes in a circle."""
    for source in range(len(far)):
        if fate[source] & LOOPS or (far[source] < FAR and fate[source] != ARRIVES):
            return False
    return True


@njit(cache=True)
def _unseen(case: _Case) -> _Seen:
    """Room for what is seen."""
    rows, routers, arcs = len(case.dark), len(case.near), len(case.net.head)
    return _Seen(
        np.zeros((2, rows, routers), np.uint8),
        np.zeros((2, rows, arcs), np.bool_),
        np.zeros((2, rows, routers), np.bool_),
    )


@njit(cache=True)
def _look(case: _Case, kept: _Kept, seen: _Seen) -> None:
    """See what becomes of packets in all failures."""
    for row in range(len(case.dark)):
        for when in (AT_ONCE, SETTLED):
            _see(case, kept, row, when, seen)


@njit(cache=True)
def _see(case: _Case, kept: _Kept, row: int, when: int, seen: _Seen) -> None:
    hops = case.hops if when == AT_ONCE else case.turns[row]
    fate, used, fell = seen.fate[when, row], seen.used[when, row], seen.fell[when, row]
    _follow(case.net, case.goal, hops, case.dark[row], kept, fate, used, fell)


@njit(cache=True)
def _tried(case: _Case, kept: _Kept, seen: _Seen, touched: Array, fresh: _Seen) -> int:
    """How many more pairs arrive at once with lists that touch some failures; -1 where they do harm in any.

    What is then seen in these is written to `fresh`.
    """
    gain = 0
    for row in range(len(touched)):
        if not touched[row]:
            continue
        _see(case, kept, row, AT_ONCE, fresh)
        for source in range(len(case.near)):
            was, now = seen.fate[AT_ONCE, row, source], fresh.fate[AT_ONCE, row, source]
            if now & LOOPS or (was == ARRIVES and now != ARRIVES):
                return -1
            gain += was != now and now == ARRIVES
        _see(case, kept, row, SETTLED, fresh)
        if not _sound(fresh.fate[SETTLED, row], case.after[row]):
            return -1
    return gain


@njit(cache=True)
def _take(seen: _Seen, touched: Array, fresh: _Seen) -> None:
    """What was seen when lists were tried is what is seen now."""
    for row in np.flatnonzero(touched):
        seen.fate[:, row] = fresh.fate[:, row]
        seen.used[:, row] = fresh.used[:, row]
        seen.fell[:, row] = fresh.fell[:, row]


@njit(cache=True)
def _either(marks: Array, at: int) -> Array:
    """In which failures something is marked, at once or settled (K)."""
    either: Array = marks[AT_ONCE, :, at] | marks[SETTLED, :, at]
    return either


@njit(cache=True)
def _append(links: Array, link: int) -> None:
    """Put a link behind all others of a list."""
    at = 0
    while links[at] != NONE:
        at += 1
    links[at] = link


@njit(cache=True)
def _drop(links: Array, rank: int) -> None:
    """Take a link out of a list; what is behind it moves up."""
    for at in range(rank, len(links) - 1):
        links[at] = links[at + 1]
    links[len(links) - 1] = NONE


@njit(cache=True)
def _add_alternates(case: _Case, kept: _Kept, seen: _Seen) -> None:
    """Append loop-free alternates to the backups, always the one that helps most, while any does."""
    offers, fresh = _offers(case, seen), _unseen(case)
    gain, stale = np.zeros(len(offers), np.int64), np.ones(len(offers), np.bool_)
    while len(offers) > 0:
        for at in range(len(offers)):
            if stale[at]:
                gain[at] = _gain(case, kept, seen, offers[at], fresh)
        best = np.argmax(gain)
        if gain[best] <= 0:
            return
        router = case.net.head[offers[best] ^ 1]
        touched = _either(seen.fell, router)
        _append(kept.backup[router], offers[best] >> 1)
        _tried(case, kept, seen, touched, fresh)
        _take(seen, touched, fresh)
        for at in range(len(offers)):
            stale[at] = (_either(seen.fell, case.net.head[offers[at] ^ 1]) & touched).any()


@njit(cache=True)
def _offers(case: _Case, seen: _Seen) -> Array:
    """Arcs to neighbours that do not send back, the nearest first, from routers that may be left without a next hop.

    Source: RFC 5286, inequality 1.
    """
    net, near, far = case.net, case.near, case.near[case.goal]
    offers, length = np.empty(len(net.leaving), np.int64), np.empty(len(net.leaving), np.int64)
    size = 0
    for arc in net.leaving:
        router, head = net.head[arc ^ 1], net.head[arc]
        loop_free = far[router] < FAR and far[head] < near[head, router] + far[router]
        if loop_free and not case.hops[arc] and router != case.goal and seen.fell[AT_ONCE, :, router].any():
            offers[size], length[size] = arc, net.cost[arc] + far[head]
            size += 1
    return offers[:size][np.argsort(length[:size], kind="mergesort")]


@njit(cache=True)
def _gain(case: _Case, kept: _Kept, seen: _Seen, arc: int, fresh: _Seen) -> int:
    """How many more pairs arrive at once with one more backup; -1 where it does harm."""
    links = kept.backup[case.net.head[arc ^ 1]]
    before = links.copy()
    _append(links, arc >> 1)
    gain = _tried(case, kept, seen, _either(seen.fell, case.net.head[arc ^ 1]), fresh)
    links[:] = before
    return int(gain)


@njit(cache=True)
def _add_exceptions(case: _Case, kept: _Kept, seen: _Seen) -> bool:
    """Whether anyone was helped by leading on what is still lost, failure by failure and router by router."""
    fresh, helped = _unseen(case), False
    for row in range(len(case.dark)):
        for router in range(len(case.near)):
            if seen.fell[AT_ONCE, row, router] and _mendable(case, seen, row, router):
                helped |= _led(case, kept, seen, row, router, fresh)
    return helped


@njit(cache=True)
def _mendable(case: _Case, seen: _Seen, row: int, router: int) -> bool:
    """Whether something that a router sends at once is lost in a failure, and need not be."""
    return bool(seen.fate[AT_ONCE, row, router] & DROPS and case.after[row, router] < FAR)


@njit(cache=True)
def _led(case: _Case, kept: _Kept, seen: _Seen, row: int, router: int, fresh: _Seen) -> bool:
    """Whether what is lost at a router in a failure is led to the goal, and the lists are for that.

    It is led the way that seems best, and where that does harm, first over each link of the router in turn.
    """
    starts, leaving = case.net.starts, case.net.leaving
    for alone in (False, True):
        if _led_by(case, kept, seen, row, router, NONE, alone, fresh):
            return True
    for at in range(starts[router], starts[router + 1]):
        for alone in (False, True):
            link = leaving[at] >> 1
            if not case.dark[row, link] and _led_by(case, kept, seen, row, router, link, alone, fresh):
                return True
    return False


@njit(cache=True)
def _led_by(
    case: _Case, kept: _Kept, seen: _Seen, row: int, router: int, first: int, alone: bool, fresh: _Seen
) -> bool:
    """Whether that can be done over a `first` link (-1: any)."""
    backup, exception, touched = kept.backup.copy(), kept.exception.copy(), np.zeros(len(case.dark), np.bool_)
    _lead(case, kept, seen, row, router, first, alone, touched)
    if touched.any() and _tried(case, kept, seen, touched, fresh) > 0:
        _take(seen, touched, fresh)
        return True
    kept.backup[:], kept.exception[:] = backup, exception
    return False


@njit(cache=True)
def _lead(
    case: _Case, kept: _Kept, seen: _Seen, row: int, router: int, first: int, alone: bool, touched: Array
) -> None:
    """Go with a packet from a router that has lost it in a failure, and append to lists what it lacks on its way.

    Marks the failures that this touches. A packet that comes where all arrives is left alone.
    """
    net, dark, over = case.net, case.dark[row], NONE
    for _ in range(len(net.head)):
        link = NONE if over == NONE else _lit(kept.exception, over, dark)
        if link == NONE and seen.fate[AT_ONCE, row, router] == ARRIVES:
            return
        if link == NONE and over != NONE and not case.hops[over]:
            link = _onward(case, row, router, _either(seen.used, over), alone)
            _append(kept.exception[over], link)
            touched |= _either(seen.used, over)
        if link == NONE:
            link = _astray(case, seen, row, router)
        if link == NONE:
            link = _lit(kept.backup, router, dark)
        if link == NONE:
            link = first
            if link == NONE or over != NONE:
                link = _onward(case, row, router, _either(seen.fell, router), alone)
            _append(kept.backup[router], link)
            touched |= _either(seen.fell, router)
        over = _arc(net.head, router, link)
        router = net.head[over]


@njit(cache=True)
def _astray(case: _Case, seen: _Seen, row: int, router: int) -> int:
    """A next hop with light from which not all arrives in a failure, as a link; -1 where there is none."""
    net = case.net
    for arc in net.leaving[net.starts[router] : net.starts[router + 1]]:
        if case.hops[arc] and not case.dark[row, arc >> 1] and seen.fate[AT_ONCE, row, net.head[arc]] != ARRIVES:
            return int(arc >> 1)
    return NONE


@njit(cache=True)
def _onward(case: _Case, row: int, router: int, sent: Array, alone: bool) -> int:
    """The link by which the shortest way leads on without all that is dark in any of the failures `sent`.

    Where none leads on, or `alone` is set, it is without what is dark in one failure only.
    """
    net = case.net
    dark, far = case.dark[row].copy(), case.after[row]
    if not alone:
        for other in np.flatnonzero(sent):
            dark |= case.dark[other]
        far = _distances(net, case.goal, dark)
        if far[router] == FAR:
            dark, far = case.dark[row].copy(), case.after[row]
    for arc in net.leaving[net.starts[router] : net.starts[router + 1]]:
        if not dark[arc >> 1] and far[router] == net.cost[arc] + far[net.head[arc]]:
            return int(arc >> 1)
    return NONE


@njit(cache=True)
def _prune(case: _Case, kept: _Kept, seen: _Seen) -> None:
    """Take out, one by one, all without which as many arrive and no harm is done: exceptions before backups."""
    fresh, shorter = _unseen(case), True
    while shorter:
        shorter = False
        for arc in range(len(kept.exception)):
            shorter |= _shorten(case, kept, kept.exception[arc], _either(seen.used, arc), seen, fresh)
        for router in range(len(kept.backup)):
            shorter |= _shorten(case, kept, kept.backup[router], _either(seen.fell, router), seen, fresh)


@njit(cache=True)
def _shorten(case: _Case, kept: _Kept, links: Array, touched: Array, seen: _Seen, fresh: _Seen) -> bool:
    """Whether anything was taken out of a list, the last first."""
    shorter = False
    for rank in range(len(links) - 1, -1, -1):
        if links[rank] == NONE:
            continue
        before = links.copy()
        _drop(links, rank)
        if _tried(case, kept, seen, touched, fresh) >= 0:
            _take(seen, touched, fresh)
            shorter = True
        else:
            links[:] = before
    return shorter
