"""Where packets end up by the forwarding tables of all routers, kept up from deltas: loops, black holes, broken rules.

A destination is a prefix with one owner, the router that delivers it. Next hops are links, so that two links side by
side are told apart; one over a link that is down drops what is sent over it. Among next hops of equal cost each router
chooses for each flow, and keeps to it (RFC 2992). So which routers can be come to from which tells all that can happen
to a flow: worked out destination by destination, and again only for those that a delta touches.

The tables are a fold: `step(tables, deltas) -> (tables, findings)`. The last row about a router and destination, or
about a link, is the one that counts, so deltas may be cut anywhere. Findings are all that stand, told from the tables
alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, pairwise
from typing import Literal, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from karez.errors import InputError, Problem
from karez.measure.refusing import columns, outside, refuse, said
from karez.twin.table import Array

Kind = Literal["loop", "blackhole", "partial", "unreached", "waypoint", "isolation"]
KINDS: tuple[Kind, ...] = ("loop", "blackhole", "partial", "unreached", "waypoint", "isolation")
WHERE = "forwarding"
# So many next hops of equal cost there is room for, unless said otherwise.
MOST_PATHS = 8
NONE = -1
_columns = partial(columns, WHERE, ragged="fill them up with -1")
_outside, _said = partial(outside, WHERE), partial(said, WHERE)
# What may become of a flow from a router to a destination: any of these that is set.
ARRIVES, LOOPS, DROPS = 1, 2, 4
ENDS = ARRIVES | LOOPS | DROPS
# A router that drops and from which nothing arrives, one whose flows may come to such a router, and one from which
# flows arrive by some of its next hops only.
HOLE, ASTRAY, FORK = 8, 16, 32


class Rules(NamedTuple):
    """What must hold of traffic from a router (`source`) to a destination, a row each; rows all.

    Where `must_pass`, nothing arrives that has not passed `router`. Elsewhere nothing passes it, whether it arrives or
    not; and where it is -1, nothing arrives.
    """

    source: Array
    destination: Array
    router: Array
    must_pass: Array


_NOTHING = np.zeros(0, np.int32)
NO_RULES = Rules(_NOTHING, _NOTHING, _NOTHING, _NOTHING.astype(np.bool_))


@dataclass(frozen=True, eq=False)
class Wiring:
    """What deltas do not change: the two routers of each link (`ends`, L x 2), the owner of each destination, rules.

    Rules are sorted by destination; `starts` (D + 1) says where those of each begin.
    """

    routers: int
    ends: Array
    owner: Array
    rules: Rules
    starts: Array


@dataclass(frozen=True, eq=False)
class Tables:
    """The forwarding tables of all routers, which links are up, and what follows from both.

    `hops` (D x R x paths) has next hops as rows of links, rising and then -1. `fate` (D x R) has bits; `ring` (D x R)
    the next router of those on a loop that is named, else -1; `broken` is of rules.
    """

    wiring: Wiring
    hops: Array
    up: Array
    fate: Array
    ring: Array
    broken: Array

    @property
    def reached(self) -> Array:
        """Whether all that a router sends to a destination arrives (D x R, bool); an owner reaches itself."""
        everything: Array = (self.fate & ENDS) == ARRIVES
        return everything

    @property
    def partial(self) -> Array:
        """Whether some of what a router sends to a destination arrives and some does not (D x R, bool)."""
        some: Array = ((self.fate & ARRIVES) != 0) & ~self.reached
        return some

    @property
    def unreached(self) -> Array:
        """Whether nothing that a router sends to a destination arrives (D x R, bool)."""
        nothing: Array = (self.fate & ARRIVES) == 0
        return nothing


class Deltas(NamedTuple):
    """What is new: the next hops (K x paths or fewer; rows of links, -1 none) of routers to destinations; links.

    The order of rows is that of time.
    """

    router: ArrayLike = ()
    destination: ArrayLike = ()
    hops: ArrayLike = ()
    link: ArrayLike = ()
    up: ArrayLike = ()


class Finding(NamedTuple):
    """What is wrong on the way to a destination (row): the routers concerned, and the sources it may happen to.

    A `loop` names its routers as packets go round, from the least; of loops that lead into one another, one is named.
    A `blackhole` names the routers that drop (no next hop, or one over a link that is down) and let nothing arrive;
    `partial` those that let some arrive, but not by every next hop. `unreached` names the owner, and has as sources all
    from whom nothing arrives, as `partial` has all from whom some does. A `waypoint` names the router that is not
    passed; an `isolation` the one that is, or the owner.
    """

    kind: Kind
    destination: int
    routers: tuple[int, ...]
    sources: tuple[int, ...]


def wired(routers: int, ends: ArrayLike, owner: ArrayLike, rules: Rules = NO_RULES) -> Wiring:
    """The wiring of so many routers: links as pairs of routers (L x 2), the owner of each destination, and rules.

    Raises:
        InputError: With all rows that name what is not there, or ask for what cannot be.
    """
    links, owners = _columns(ends, "ends", dims=2), _columns(owner, "owner")
    asked = Rules(
        *(_columns(rules[at], f"rules.{rules._fields[at]}", kinds="b" if at == 3 else "iu") for at in range(4))
    )
    refuse([*_wrong_ends(routers, links, owners), *_wrong_rules(routers, owners, asked)])
    order = np.lexsort((asked.source, asked.router, asked.must_pass, asked.destination))
    source, destination, router = (column[order].astype(np.int32) for column in asked[:3])
    return Wiring(
        routers=routers,
        ends=links.astype(np.int32).reshape(-1, 2),
        owner=owners.astype(np.int32),
        rules=Rules(source, destination, router, asked.must_pass[order].astype(bool)),
        starts=np.searchsorted(destination, np.arange(len(owners) + 1)),
    )


def blank(wiring: Wiring, paths: int = MOST_PATHS) -> Tables:
    """Tables without a next hop and with room for so many of equal cost; all links are up.

    Raises:
        InputError: There would be no room for any.
    """
    if paths < 1:
        raise InputError.of(WHERE, f"there is room for {paths} next hops", "leave room for at least one")
    shape = (len(wiring.owner), wiring.routers)
    tables = Tables(
        wiring,
        hops=np.full((*shape, paths), NONE, np.int32),
        up=np.ones(len(wiring.ends), np.bool_),
        fate=np.zeros(shape, np.uint8),
        ring=np.full(shape, NONE, np.int32),
        broken=np.zeros(len(wiring.rules.source), np.bool_),
    )
    _judge_again(tables, np.ones(len(wiring.owner), np.bool_))
    return tables


def step(tables: Tables, deltas: Deltas) -> tuple[Tables, list[Finding]]:
    """The tables after some deltas, and all findings that then stand.

    Raises:
        InputError: With all rows that name what is not there; or else that lead over a link that is not at the router.
    """
    news = _checked(tables, deltas)
    after = replace(tables, **{name: getattr(tables, name).copy() for name in ("hops", "up", "fate", "ring", "broken")})
    touched = np.zeros(len(tables.wiring.owner), np.bool_)
    _write_hops(after.hops, news.destination, news.router, news.hops, touched)
    _write_up(after.up, news.link, news.up)
    _touch(after.hops, tables.wiring.ends, np.flatnonzero(after.up != tables.up), touched)
    _judge_again(after, touched)
    return after, findings(after)


def findings(tables: Tables) -> list[Finding]:
    """All that is wrong, by destination and then by kind."""
    found = [*_loops(tables), *_lost(tables), *_broken(tables)]
    return sorted(found, key=lambda finding: (finding.destination, KINDS.index(finding.kind)))


def _loops(tables: Tables) -> Iterator[Finding]:
    """The loops that are named, each with all from whom packets may come into it."""
    wiring = tables.wiring
    for destination, turning in _by_destination(tables.ring != NONE).items():
        ring, left = tables.ring[destination].tolist(), dict.fromkeys(turning)
        while left:
            routers = [next(iter(left))]
            while (ahead := ring[routers[-1]]) != routers[0]:
                routers.append(ahead)
            for router in routers:
                del left[router]
            senders = _senders(tables.hops[destination], tables.up, wiring.ends, wiring.owner[destination], routers[0])
            yield Finding("loop", destination, tuple(routers), tuple(np.flatnonzero(senders).tolist()))


def _lost(tables: Tables) -> Iterator[Finding]:
    """Where flows are dropped, and from whom they do not arrive, or not all."""
    fate, owner = tables.fate, tables.wiring.owner
    holes, astray = _by_destination((fate & HOLE) != 0), _by_destination((fate & ASTRAY) != 0)
    forks, partial = _by_destination((fate & FORK) != 0), _by_destination(tables.partial)
    for destination, routers in holes.items():
        yield Finding("blackhole", destination, routers, astray[destination])
    for destination, routers in forks.items():
        yield Finding("partial", destination, routers, partial[destination])
    for destination, sources in _by_destination(tables.unreached).items():
        yield Finding("unreached", destination, (int(owner[destination]),), sources)


def _by_destination(marks: Array) -> dict[int, tuple[int, ...]]:
    """The routers that are marked (D x R), by destination, of those for which there are any."""
    destinations, routers = (rows.tolist() for rows in np.nonzero(marks))
    starts = [at for at, row in enumerate(destinations) if at == 0 or row != destinations[at - 1]]
    bounds = pairwise([*starts, len(routers)])
    return {destinations[start]: tuple(routers[start:stop]) for start, stop in bounds}


def _broken(tables: Tables) -> Iterator[Finding]:
    """The rules that are broken, those that differ in nothing but their source as one."""
    rules, rows = tables.wiring.rules, np.flatnonzero(tables.broken)
    columns = [rules.destination, rules.must_pass, rules.router, rules.source]
    for (destination, must_pass, router), same in groupby(
        zip(*(column[rows].tolist() for column in columns), strict=True), key=lambda row: row[:3]
    ):
        at = router if router != NONE else int(tables.wiring.owner[destination])
        sources = tuple(dict.fromkeys(row[3] for row in same))
        yield Finding("waypoint" if must_pass else "isolation", destination, (at,), sources)


class _News(NamedTuple):
    """Deltas as the compiled loops take them, which look at nothing twice."""

    router: Array
    destination: Array
    hops: Array
    link: Array
    up: Array


def _checked(tables: Tables, deltas: Deltas) -> _News:
    wiring, paths = tables.wiring, tables.hops.shape[2]
    router, destination, link = (
        _columns(column, name)
        for name, column in (("router", deltas.router), ("destination", deltas.destination), ("link", deltas.link))
    )
    hops, up = _columns(deltas.hops, "hops", dims=2), _columns(deltas.up, "up", kinds="b")
    problems = [
        *_uneven(router=router, destination=destination, hops=hops),
        *_uneven(link=link, up=up),
        *_outside("router", router, wiring.routers),
        *_outside("destination", destination, len(wiring.owner)),
        *_outside("hops", hops, len(wiring.ends), least=NONE),
        *_outside("link", link, len(wiring.ends)),
    ]
    if hops.shape[1] > paths:
        problems.append(
            Problem(WHERE, f"hops has {hops.shape[1]} columns and the tables {paths}", "make tables with more room")
        )
    refuse(problems or _elsewhere(wiring, router, hops))
    router, destination, hops, link = (
        column.astype(np.int32, order="C") for column in (router, destination, hops, link)
    )
    return _News(router, destination, hops, link, up.astype(np.bool_))


def _wrong_ends(routers: int, ends: Array, owner: Array) -> Iterator[Problem]:
    if routers < 0:
        yield Problem(WHERE, f"there are {routers} routers", "give their number")
    if ends.size and ends.shape[1] != 2:
        yield Problem(WHERE, f"ends has {ends.shape[1]} columns", "give the two routers of each link")
        return
    yield from _outside("ends", ends, routers)
    yield from _outside("owner", owner, routers)
    pairs = ends.reshape(-1, 2)
    yield from _said(pairs[:, 0] == pairs[:, 1], "ends are one and the same router", "leave such links out")


def _wrong_rules(routers: int, owner: Array, rules: Rules) -> Iterator[Problem]:
    problems = [
        *_uneven(**{f"rules.{name}": column for name, column in rules._asdict().items()}),
        *_outside("rules.source", rules.source, routers),
        *_outside("rules.destination", rules.destination, len(owner)),
        *_outside("rules.router", rules.router, routers, least=NONE),
    ]
    yield from problems
    if not problems:
        yield from _idle_rules(owner, rules)


def _idle_rules(owner: Array, rules: Rules) -> Iterator[Problem]:
    """Rules that nothing can keep, or nothing can break."""
    at_home = owner[rules.destination] == rules.source
    nowhere = rules.must_pass & (rules.router == NONE)
    itself = ~rules.must_pass & (rules.router == rules.source)
    yield from _said(at_home, "rules are of an owner's traffic to itself", "leave such rules out")
    yield from _said(nowhere, "rules.router is -1 where it must be passed", "name the router to pass")
    yield from _said(itself, "rules.router is the source, which all of its traffic passes", "name another router")


def _uneven(**columns: Array) -> Iterator[Problem]:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{length} of {name}" for name, length in lengths.items())
        yield Problem(WHERE, f"there are {said}", "give as many rows of each")


def _elsewhere(wiring: Wiring, router: Array, hops: Array) -> list[Problem]:
    """Next hops over links that are not at their router."""
    if not len(wiring.ends):
        return []
    away = (hops != NONE) & (wiring.ends[hops] != router[:, None, None]).all(axis=2)
    return list(_said(away, "hops has links that are not at the router", "give links that end there"))


def _judge_again(tables: Tables, touched: Array) -> None:
    """Work out anew, in place, what follows for the destinations that are touched."""
    wiring = tables.wiring
    _judge(
        np.flatnonzero(touched),
        tables.hops,
        tables.up,
        wiring.ends,
        wiring.owner,
        wiring.rules,
        wiring.starts,
        tables.fate,
        tables.ring,
        tables.broken,
    )


@njit(cache=True)
def _write_hops(hops: Array, destination: Array, router: Array, rows: Array, touched: Array) -> None:
    """Write each row where it belongs, rising and each link once; mark the destinations for which this is news."""
    row = np.empty(hops.shape[2], np.int32)
    for at in range(len(router)):
        _put_in_order(rows[at], row)
        now = hops[destination[at], router[at]]
        for path in range(len(row)):
            if now[path] != row[path]:
                now[path] = row[path]
                touched[destination[at]] = True


@njit(cache=True)
def _put_in_order(links: Array, row: Array) -> None:
    """Write links into a row, rising and each once, and -1 after the last."""
    size = 0
    for link in links:
        place = size
        while place > 0 and row[place - 1] > link:
            place -= 1
        if link == NONE or (place > 0 and row[place - 1] == link):
            continue
        for path in range(size, place, -1):
            row[path] = row[path - 1]
        row[place] = link
        size += 1
    row[size:] = NONE


@njit(cache=True)
def _write_up(up: Array, link: Array, is_up: Array) -> None:
    """Write whether links are up, row after row."""
    for at in range(len(link)):
        up[link[at]] = is_up[at]


@njit(cache=True)
def _touch(hops: Array, ends: Array, links: Array, touched: Array) -> None:
    """Mark the destinations to which either end of any of these links uses it."""
    for link in links:
        for destination in range(len(hops)):
            for end in ends[link]:
                for path in range(hops.shape[2]):
                    touched[destination] |= hops[destination, end, path] == link


@njit(cache=True)
def _judge(
    destinations: Array,
    hops: Array,
    up: Array,
    ends: Array,
    owner: Array,
    rules: Rules,
    starts: Array,
    fate: Array,
    ring: Array,
    broken: Array,
) -> None:
    """Fill in what follows for some destinations from their next hops."""
    routers = hops.shape[1]
    queue = np.empty(routers, np.int32)
    for row in destinations:
        heads, drops = _heads(hops[row], up, ends, owner[row])
        into, tails = _turned(heads)
        arrives = np.zeros(routers, np.bool_)
        arrives[owner[row]] = True
        _spread(into, tails, arrives, NONE, queue)
        looping = _looping(heads, into, tails, queue)
        turns = _name_loops(heads, into, tails, looping, ring[row], queue)
        _mark(heads, into, tails, arrives, drops, looping, turns, fate[row], queue)
        _hold(into, tails, owner[row], arrives, rules, starts[row], starts[row + 1], broken, queue)


@njit(cache=True)
def _heads(hops: Array, up: Array, ends: Array, owner: int) -> tuple[Array, Array]:
    """The routers that each router sends to (R x paths, -1 after the last), and which drop some of what they get."""
    heads = np.full(hops.shape, NONE, np.int32)
    drops = np.zeros(len(hops), np.bool_)
    for router in range(len(hops)):
        if router == owner:
            continue
        drops[router] = hops[router, 0] == NONE
        size = 0
        for link in hops[router]:
            if link == NONE:
                break
            if up[link]:
                heads[router, size] = ends[link, 0] + ends[link, 1] - router
                size += 1
            else:
                drops[router] = True
    return heads, drops


@njit(cache=True)
def _turned(heads: Array) -> tuple[Array, Array]:
    """Who sends to each router: where its senders begin among those in the second array."""
    into = np.zeros(len(heads) + 2, np.int32)
    for head in heads.ravel():
        if head != NONE:
            into[head + 2] += 1
    for router in range(len(heads)):
        into[router + 2] += into[router + 1]
    tails = np.empty(into[-1], np.int32)
    for router in range(len(heads)):
        for head in heads[router]:
            if head == NONE:
                break
            tails[into[head + 1]] = router
            into[head + 1] += 1
    return into[:-1], tails


@njit(cache=True)
def _spread(into: Array, tails: Array, marked: Array, held: int, queue: Array) -> None:
    """Mark all from whom packets may come to a router that is marked, not by way of the router `held`."""
    size = 0
    for router in range(len(marked)):
        if marked[router]:
            queue[size] = router
            size += 1
    at = 0
    while at < size:
        for position in range(into[queue[at]], into[queue[at] + 1]):
            tail = tails[position]
            if not marked[tail] and tail != held:
                marked[tail] = True
                queue[size] = tail
                size += 1
        at += 1


@njit(cache=True)
def _looping(heads: Array, into: Array, tails: Array, queue: Array) -> Array:
    """The routers whose packets may come into a loop: all that are left when those without a next hop are taken out.

    Taking one out takes the next hop from its senders. Source: A. B. Kahn, "Topological sorting of large networks"
    (1962).
    """
    left, ahead = np.ones(len(heads), np.bool_), np.zeros(len(heads), np.int32)
    size, at = 0, 0
    for router in range(len(heads)):
        for head in heads[router]:
            ahead[router] += head != NONE
        if ahead[router] == 0:
            queue[size], left[router] = router, False
            size += 1
    while at < size:
        for position in range(into[queue[at]], into[queue[at] + 1]):
            tail = tails[position]
            ahead[tail] -= 1
            if ahead[tail] == 0:
                queue[size], left[tail] = tail, False
                size += 1
        at += 1
    return left


@njit(cache=True)
def _name_loops(heads: Array, into: Array, tails: Array, looping: Array, ring: Array, queue: Array) -> Array:
    """The routers that packets may come back to; of those that do so together, a shortest loop is written to `ring`.

    It is one through the least of them.
    """
    ring[:] = NONE
    turns = np.zeros(len(heads), np.bool_)
    for first in range(len(heads)):
        if looping[first] and not turns[first]:
            _name_loop(first, heads, into, tails, looping, turns, ring, queue)
    return turns


@njit(cache=True)
def _name_loop(
    first: int, heads: Array, into: Array, tails: Array, looping: Array, turns: Array, ring: Array, queue: Array
) -> None:
    """Write to `ring` a shortest loop through a router, and mark all that lie on any loop with it; if there is one."""
    came_from, size, at, last = np.full(len(heads), NONE, np.int32), 1, 0, NONE
    queue[0], came_from[first] = first, first
    while at < size:
        here = queue[at]
        for head in heads[here]:
            if head == first and last == NONE:
                last = here
            if head != NONE and looping[head] and came_from[head] == NONE:
                came_from[head] = here
                queue[size] = head
                size += 1
        at += 1
    if last == NONE:
        return
    back = np.zeros(len(heads), np.bool_)
    back[first] = True
    _spread(into, tails, back, NONE, queue)
    turns |= back & (came_from != NONE)
    ring[last] = first
    while last != first:
        ring[came_from[last]] = last
        last = came_from[last]


@njit(cache=True)
def _mark(
    heads: Array,
    into: Array,
    tails: Array,
    arrives: Array,
    drops: Array,
    looping: Array,
    turns: Array,
    fate: Array,
    queue: Array,
) -> None:
    """Fill in the bits of each router."""
    dropping, holes = drops.copy(), drops & ~arrives
    astray = holes.copy()
    _spread(into, tails, dropping, NONE, queue)
    _spread(into, tails, astray, NONE, queue)
    for router in range(len(fate)):
        forks = drops[router] or turns[router]
        for head in heads[router]:
            forks |= head != NONE and not arrives[head]
        fate[router] = (
            ARRIVES * arrives[router]
            + LOOPS * looping[router]
            + DROPS * dropping[router]
            + HOLE * holes[router]
            + ASTRAY * astray[router]
            + FORK * (forks and arrives[router])
        )


@njit(cache=True)
def _hold(
    into: Array,
    tails: Array,
    owner: int,
    arrives: Array,
    rules: Rules,
    start: int,
    stop: int,
    broken: Array,
    queue: Array,
) -> None:
    """Fill in which of a destination's rules are broken; rules of one router lie together and are looked at once."""
    breaking = arrives
    for row in range(start, stop):
        router, must_pass = rules.router[row], rules.must_pass[row]
        if row == start or router != rules.router[row - 1] or must_pass != rules.must_pass[row - 1]:
            if router == NONE:
                breaking = arrives
            else:
                breaking = np.zeros(len(arrives), np.bool_)
                goal, held = (owner, router) if must_pass else (router, NONE)
                breaking[goal] = goal != held
                _spread(into, tails, breaking, held, queue)
        broken[row] = breaking[rules.source[row]]


@njit(cache=True)
def _senders(hops: Array, up: Array, ends: Array, owner: int, router: int) -> Array:
    """From whom packets to an owner may come to a router, itself among them."""
    into, tails = _turned(_heads(hops, up, ends, owner)[0])
    marked = np.zeros(len(hops), np.bool_)
    marked[router] = True
    _spread(into, tails, marked, NONE, np.empty(len(hops), np.int32))
    return marked
