"""Which demands pass what, and what their users feel there.

A demand passes few links, so that a place has the rows of the demands that pass it and the share of each; what users
feel at many places at once is one sum over all these entries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from karez.measure.routes import Crossing, Routed, Routes, case_of, meant_up, routes
from karez.measure.signatures import WAYS, Layout, Place
from karez.twin import World
from karez.twin.table import Array, text, texts

# What users feel, in the order of all that is told by kind here.
FEELINGS = ("loss", "delay")
# Below this share a demand need not feel what is wrong with what it passes.
FEELS_SHARE = 0.3


class Passing(NamedTuple):
    """The demands that pass a place: their rows, int64, in order, and the share of each, float64 (0..1]."""

    rows: Array
    shares: Array


NOBODY = Passing(np.empty(0, np.int64), np.empty(0))
# By link and way ("" and a site), the demands that pass.
Passed = dict[tuple[str, str], Passing]


@dataclass(frozen=True, eq=False)
class Passage:
    """Where demands pass, as things are and as they should be; `kept` has what was asked of it before."""

    passed: tuple[Passed, ...]
    kept: dict[Place, Passing] = field(default_factory=dict)

    def along(self, place: Place, layout: Layout) -> Passing:
        """The demands that pass a place, as things are or as they should be."""
        if place not in self.kept:
            self.kept[place] = self.looked_up(place, layout)
        return self.kept[place]

    def looked_up(self, place: Place, layout: Layout) -> Passing:
        """The same, not kept: for places that are asked about but once."""
        ways = [place.way] if place.way else WAYS
        keys = [(link, way) for link in place.links for way in ways] + [(site, "") for site in place.sites]
        share = np.zeros(len(layout.demand_ends))
        for one in (passed[key] for passed in self.passed for key in keys if key in passed):
            share[one.rows] = np.maximum(share[one.rows], one.shares)
        share[[layout.demand_rows[name] for name in place.demands]] = 1.0
        if place.goal:
            share[layout.goals != place.goal] = 0.0
        rows = np.flatnonzero(share)
        return Passing(rows, share[rows])

    @cached_property
    def much(self) -> tuple[tuple[str, ...], Array, Array]:
        """The sites that demands pass as things are; and the site and row of each demand that does so with much."""
        found = {place: passing for (place, way), passing in self.passed[0].items() if not way}
        rows = [passing.rows[passing.shares >= FEELS_SHARE] for passing in found.values()]
        sites = np.repeat(np.arange(len(found)), [len(some) for some in rows])
        return tuple(found), sites, np.concatenate([NOBODY.rows, *rows])

    def moved_onto(self, link: str) -> bool:
        """Whether demands pass a link as things are that do not as they should be."""
        now, meant = (
            {row for way in WAYS for row in passed.get((link, way), NOBODY).rows.tolist()}
            for passed in (self.passed[0], self.passed[-1])
        )
        return not now <= meant


class Felt(NamedTuple):
    """What users feel, by kind and place, and `everywhere` by kind alone.

    `shares` sums those of demands that pass and feel it, `counts` counts them, `since_s` is the first of them (inf
    where there is none), and `unfelt` sums the shares of demands that pass with much of themselves and do not feel it.
    """

    shares: list[list[float]]
    counts: list[list[float]]
    since_s: list[list[float]]
    unfelt: list[list[float]]
    everywhere: list[int]


@dataclass(frozen=True, eq=False)
class Places:
    """Several places at once, their entries one after the other: the place, the demand's row, and its share."""

    count: int
    place: Array
    rows: Array
    shares: Array

    @classmethod
    def of(cls, passings: Iterable[Passing]) -> Places:
        """Places in this order."""
        each = list(passings)
        place = np.repeat(np.arange(len(each)), [len(one.rows) for one in each])
        rows, shares = (np.concatenate([one[column] for one in (NOBODY, *each)]) for column in (0, 1))
        return cls(len(each), place, rows, shares)

    @cached_property
    def _much(self) -> Array:
        return np.where(self.shares >= FEELS_SHARE, self.shares, 0.0)

    def felt(self, since_s: Array) -> Felt:
        """What users feel who feel it since then: float64[kinds, demands], inf where they do not."""
        feel = np.isfinite(since_s)
        here = feel[:, self.rows]
        first = np.full((len(since_s), self.count), np.inf)
        starts = np.flatnonzero(np.diff(self.place, prepend=-1))
        if len(starts):
            first[:, self.place[starts]] = np.minimum.reduceat(since_s[:, self.rows], starts, axis=1)
        return Felt(
            shares=[self._sums(kind * self.shares) for kind in here],
            counts=[self._sums(kind) for kind in here],
            since_s=first.tolist(),
            unfelt=[self._sums(~kind * self._much) for kind in here],
            everywhere=feel.sum(axis=1).tolist(),
        )

    def touched(self, feel: Array) -> list[list[bool]]:
        """By kind, whether any of these users passes a place: bool[kinds, demands]."""
        return [(np.bincount(self.place, kind[self.rows], self.count) > 0).tolist() for kind in feel]

    def _sums(self, values: Array) -> list[float]:
        found: list[float] = np.bincount(self.place, values, self.count).tolist()
        return found


# Where demands pass, kept with the routing that it follows from; and that of now beside that of what should be.
_PASSED: WeakKeyDictionary[Routed, Passed] = WeakKeyDictionary()
_PASSAGES: WeakKeyDictionary[Routed, WeakKeyDictionary[Routed, Passage]] = WeakKeyDictionary()


def passage_of(world: World, *, without: Collection[str] = ()) -> Passage:
    """Where demands pass now, and where they would if nothing were wrong: what is cut has been left already.

    `without` names links that are taken for cut now.
    """
    now = case_of(world)
    meant = replace(now, up=meant_up(world), drained=world["links"]["drained"], cost=world["links"]["cost"])
    if without:
        now = replace(now, up=now.up & ~np.isin(world["links"].ids, texts(without)))
    is_meant = all((getattr(meant, name) == getattr(now, name)).all() for name in ("up", "drained", "cost"))
    cases = [routes(world, case) for case in ([now] if is_meant else [now, meant])]
    beside = _PASSAGES.setdefault(cases[0].routed, WeakKeyDictionary())
    if (routed := cases[-1].routed) not in beside:
        beside[routed] = Passage(tuple(_passed(world, case) for case in cases))
    return beside[routed]


def _passed(world: World, found: Routes) -> Passed:
    """By link and way, and by site, the demands that pass; kept, as routes seldom change."""
    if found.routed not in _PASSED:
        _PASSED[found.routed] = _sorted_out(world, found.crossing())
    return _PASSED[found.routed]


def _sorted_out(world: World, crossing: Crossing) -> Passed:
    links, sites = world["links"].ids, world["sites"].ids
    passed: Passed = {}
    for place, passing in _each(crossing.link * 2 + crossing.back, crossing.demand, crossing.share):
        passed[text(links[place // 2]), WAYS[place % 2]] = passing
    for place, passing in _each(crossing.site, crossing.site_demand, crossing.site_share):
        passed[text(sites[place]), ""] = passing
    return passed


def _each(place: Array, demand: Array, share: Array) -> Iterable[tuple[int, Passing]]:
    """By place, its demands, each once with the largest of its shares."""
    order = np.lexsort((-share, demand, place))
    place, demand, share = place[order], demand[order], share[order]
    is_first = np.ones(len(place), bool)
    is_first[1:] = (np.diff(place) != 0) | (np.diff(demand) != 0)
    place, demand, share = place[is_first], demand[is_first], share[is_first]
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    for at, start in enumerate(starts.tolist()):
        end = int(starts[at + 1]) if at + 1 < len(starts) else len(place)
        yield int(place[start]), Passing(demand[start:end].astype(np.int64), share[start:end])
