"""Which edge zones would serve an application in an area: those that compute now, are planned, or could be built.

A zone is a site: `active` where compute stands now, `planned` where it is on order, `candidate` where a core site has
none. It is feasible where enough of the area's stations are near enough, its free chips suffice (what is yet to be
built is built as large as it must be) and the data may go there. Delays are one way, from the station to the zone, over
the optical layer of the network as it is; access before the station is not in them.

Feasibility is exact for every zone of the network, and few are searched. One search from the area gives each zone a
delay that no station of the area is below. From a site near the area, the way to a zone and the delays towards that
site bound each zone's delays from above (triangle inequality). Only zones between the two bounds are searched, and
those that are shown.

Source: CAMARA, Edge Cloud (edge discovery; its packetDelayBudget is one way), asked before deployment.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, get_args

import msgspec
import numpy as np

from karez.measure import policy, reach
from karez.measure.circles import INFERENCE, WEIGHT_SCALE, Points, compute_sites
from karez.measure.core import LONGEST_NS, Timed, Topology, searched
from karez.measure.delay import Figures
from karez.measure.kernels import FAR
from karez.measure.reach import Reach
from karez.twin import Table, Twin, World
from karez.twin.geo import great_circle_km
from karez.twin.table import Array, resolve, text
from karez.units import EARTH_RADIUS_KM, NS_PER_US

Status = Literal["active", "planned", "candidate"]
STATUSES: tuple[Status, ...] = get_args(Status)
ACTIVE, PLANNED, CANDIDATE = range(len(STATUSES))
EdgeStatus = Literal["active", "inactive", "unknown"]
Reason = Literal["too_far", "too_few_chips", "unlawful"]
REASONS: tuple[Reason, ...] = get_args(Reason)
DataClass = Literal["none", "general", "personal", "sensitive", "important", "core"]
# Grade of each class of data, and whether it is personal, as the policy has it; "none" leaves the law out.
FACTS: dict[DataClass, tuple[str, str]] = {
    "general": ("general", "no"),
    "personal": ("general", "personal"),
    "sensitive": ("general", "sensitive"),
    "important": ("important", "no"),
    "core": ("core", "no"),
}
ENDS: tuple[Figures, Figures] = ("low", "high")
NOT_ASKED = "not asked"
# One more than the last mode in which data may be copied to a zone.
UNLAWFUL = len(policy.COPIED)
# The first whole number of stations that is a share of them, whatever floating point makes of it.
SLACK = 1e-9
UNCOUNTED = -1


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What an application needs: stations within a budget, chips, and a class of data that may go there.

    `domain` is the id of the entity's domain that answers for the data; empty: those of the sites that the area's
    stations hang on.
    """

    budget_us: float
    served_share: float = 0.95
    chips: int = 0
    data_class: DataClass = "general"
    domain: str = ""


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A zone, whether it is feasible, and why not.

    `edge_status` is the status that CAMARA has for it. `free_chips` counts those of servers that the data may go to
    (of all, where it may go to none); absent where nothing stands yet, or nobody counted. `needs_us` is the delay that
    a budget must be above at typical figures, for enough stations to be served. Delays are one way over the area's
    stations, at the low, typical and high figures of the latency library; `inf` where there is no way.
    """

    id: str
    name: str
    region: str
    provider: str
    status: Status
    edge_status: EdgeStatus
    feasible: bool
    in_service_at_s: float | None
    free_chips: int | None
    served_share: float
    needs_us: float
    median_low_us: float
    median_us: float
    median_high_us: float
    worst_low_us: float
    worst_us: float
    worst_high_us: float
    lawful: bool
    law: str
    why_not: str


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """All zones of a status: how many there are and are feasible, and how many each reason rules out."""

    status: Status
    zones: int
    feasible: int
    too_far: int
    too_few_chips: int
    unlawful: int


class Discovery(NamedTuple):
    """The zones that are shown, feasible ones first and then by median delay; and all of the network by status."""

    zones: tuple[Zone, ...]
    kinds: tuple[Kind, ...]


def stations_of(twin: Twin, metro: str) -> Array:
    """The rows of the stations that serve a metropolis, ascending."""
    return np.flatnonzero(twin.resolve("stations", "metro") == twin["metros"].rows([metro])[0])


def stations_around(twin: Twin, lon: float, lat: float, radius_km: float) -> Array:
    """The rows of the stations that are at most so far (km) from a position in WGS 84, ascending."""
    stations = twin["stations"]
    # What is too far north or south need not be measured.
    belt_degrees = math.degrees(radius_km / EARTH_RADIUS_KM) + SLACK
    rows = np.flatnonzero(np.abs(stations["lat"] - lat) <= belt_degrees)
    to_lon, to_lat = np.array(lon), np.array(lat)
    return np.asarray(rows[great_circle_km(stations["lon"][rows], stations["lat"][rows], to_lon, to_lat) <= radius_km])


def coming(twin: Twin, at_s: float) -> dict[str, float]:
    """The sites that compute comes to after `at_s`, and the first second at which it is there, by what the twin says.

    The twin must hold all rows, and not only those of a moment.
    """
    found: dict[str, float] = {}
    devices, servers = twin["equipment"], twin["servers"]
    for table, counts in ((devices, devices["kind"] == INFERENCE), (servers, servers["chips"] > 0)):
        start_s = table["valid_from_s"]
        for row in np.flatnonzero(counts & (start_s > at_s) & (start_s < table["valid_to_s"])):
            site = text(table["site"][row])
            found[site] = min(found.get(site, math.inf), float(start_s[row]))
    return found


def discover(
    world: World,
    stations: Array,
    profile: Profile,
    *,
    planned: Mapping[str, float],
    at_s: float,
    shown: int = 20,
    packs: Sequence[policy.Pack] | None = None,
) -> Discovery:
    """The zones for an area: as many feasible and as many other ones as are to be shown, and how many there are.

    `world` is that of `at_s` (Unix time), `stations` are rows (at least one), `planned` has sites (ids) and
    from when on (s) compute is there. Where several domains or provinces share the area, the data of each must be
    allowed to go, by `packs` or else by those that come with Karez.
    """
    twin, sites = world.intended, _sites(world.intended, planned)
    law = policy.law(packs, at_s)
    if not len(sites.rows):
        return Discovery((), _kinds(sites.status, dict.fromkeys(REASONS, np.zeros(0, bool))))
    area = _area(reach.typical(twin, _points(twin, stations)), sites.rows)
    recipients = _recipients(world, sites, profile, _origins(twin, area.ready, stations, profile.domain), at_s, law)
    limits = _Limits(_budget_ns(profile), max(math.ceil(profile.served_share * len(stations) - SLACK), 1))
    fails: dict[Reason, Array] = {
        "too_far": ~_near_enough(area, sites.rows, limits),
        # Nobody counts what equipment has; where no chips are asked for, that is no matter.
        "too_few_chips": (sites.status == ACTIVE) & (recipients.free_chips < profile.chips) & (profile.chips > 0),
        "unlawful": ~recipients.lawful,
    }
    case = _Case(twin, profile, sites, recipients, planned, fails)
    typical = cache(lambda at: _delays(area.delays_ns(int(sites.rows[at])), limits))
    floor_us = area.near[sites.rows] / NS_PER_US
    chosen = _chosen(floor_us, typical, ~np.logical_or.reduce(list(fails.values())), shown)
    low, high = (_measured(area, twin, end, sites.rows[chosen], limits) for end in ENDS)
    each = zip(chosen, low, map(typical, chosen), high, strict=True)
    return Discovery(tuple(_zone(case, at, delays) for at, *delays in each), _kinds(sites.status, fails))


class _Sites(NamedTuple):
    """The sites that are zones (rows, ascending), and the status of each (a position in `STATUSES`)."""

    rows: Array
    status: Array


class _Recipients(NamedTuple):
    """Who would have the data in each zone: free chips, domain (row), whether it may go there, and why (`law(zone)`).

    `observed` is false where servers stand and nobody saw what is free.
    """

    free_chips: Array
    domain: Array
    lawful: Array
    law: Callable[[int], str]
    observed: Array


class _Case(NamedTuple):
    """What is known of all zones of a question, and which reasons rule each out."""

    twin: Twin
    profile: Profile
    sites: _Sites
    recipients: _Recipients
    planned: Mapping[str, float]
    fails: Mapping[Reason, Array]


class _Limits(NamedTuple):
    """The first whole nanosecond that is not within the budget, and how many stations must be below it."""

    budget_ns: int
    needed: int


@dataclass(frozen=True)
class _Area:
    """An area at some figures, and what bounds the delays of its stations towards any zone (ns, a core vertex each).

    `near` is a delay that none of them is below. `anchor` are the delays of all stations towards a site near by, and
    `beyond` is the way on from there.
    """

    ready: Reach
    near: Array
    anchor: Array
    beyond: Array

    def limit_ns(self, site: int) -> int:
        """A limit above the delay of every station that has a way to the site at all."""
        further = int(self.beyond[site])
        # What has no way to the anchor may have one to the site, where not every way leads both ways.
        if further >= FAR or not self.ready.topology.is_symmetric:
            return LONGEST_NS
        return min(further + int(self.anchor[self.anchor < FAR].max(initial=0)) + 1, LONGEST_NS)

    def delays_ns(self, site: int) -> Array:
        """The delay of each station towards the site (int32 ns), `FAR` where there is no way."""
        if self.near[site] >= FAR:
            return np.full(len(self.anchor), FAR, np.int32)
        return self.ready.delays_ns(np.array([site]), self.limit_ns(site))


class _Delays(NamedTuple):
    """Median, worst, and what a budget must be above (us); and the share of stations within the budget."""

    median_us: float
    worst_us: float
    needs_us: float
    served_share: float


def _points(twin: Twin, stations: Array) -> Points:
    ones, zeros = np.ones(len(stations)), np.zeros(len(stations), np.int64)
    return Points(len(twin["sites"]) + stations, ones, zeros)


def _budget_ns(profile: Profile) -> int:
    return min(math.ceil(profile.budget_us * NS_PER_US), LONGEST_NS)


def _sites(twin: Twin, planned: Mapping[str, float]) -> _Sites:
    sites = twin["sites"]
    status = np.where(sites["kind"] == b"core", CANDIDATE, len(STATUSES))
    status[sites.rows([site for site in planned if sites.has(site)])] = PLANNED
    status[compute_sites(twin)] = ACTIVE
    rows = np.flatnonzero(status < len(STATUSES))
    return _Sites(rows, status[rows])


def _area(ready: Reach, sites: Array) -> _Area:
    """The area of what a network is ready for, bounded by the zone that is nearest to any of its stations."""
    turned = ready.topology.turned()
    timed = ready.timed if ready.topology.is_symmetric else turned.timed(ready.oneway_ns)
    near = _from(turned, timed, _hosts(ready))
    anchor = sites[[int(np.argmin(near[sites]))]]
    return _Area(ready, near, ready.delays_ns(anchor), _from(turned, timed, anchor))


def _from(turned: Topology, timed: Timed, sources: Array) -> Array:
    return searched(turned, timed, sources, LONGEST_NS)


def _hosts(ready: Reach) -> Array:
    """The core vertices that the area's stations are, or hang on."""
    return np.unique(np.concatenate([ready.single.host, ready.double.ends.ravel()]))


def _near_enough(area: _Area, sites: Array, limits: _Limits) -> Array:
    """Whether enough stations are within the budget of each site."""
    budget_ns, needed = limits
    upto = area.beyond[sites].astype(np.int64) + int(np.partition(area.anchor, needed - 1)[needed - 1])
    held: Array = upto < budget_ns
    for at in np.flatnonzero(~held & (area.near[sites] < budget_ns)):
        held[at] = area.ready.covered(sites[at : at + 1], budget_ns).sum() >= needed * WEIGHT_SCALE
    return held


def _chosen(floor_us: Array, delays: Callable[[int], _Delays], feasible: Array, shown: int) -> list[int]:
    """Positions of the sites to show: so many that are feasible and so many that are not, each by median and id."""
    order = np.argsort(floor_us, kind="stable")
    groups = (order[feasible[order]], order[~feasible[order]])
    return [at for group in groups for at in _least(group, floor_us, lambda at: delays(at).median_us, shown)]


def _least(order: Array, floor: Array, value: Callable[[int], float], count: int) -> list[int]:
    """The positions of the least values; no value is below its floor, and `order` goes by that."""
    found: list[tuple[float, int]] = []
    for at in order.tolist():
        if len(found) >= count and found[count - 1][0] < floor[at]:
            break
        insort(found, (value(at), at))
    return [at for _, at in found[:count]]


def _measured(typical: _Area, twin: Twin, figures: Figures, sites: Array, limits: _Limits) -> list[_Delays]:
    """The delays of the area's stations towards each site at other figures."""
    if not len(sites):
        return []
    area = _area(reach.at_figures(twin, typical.ready.points, figures), sites)
    return [_delays(area.delays_ns(int(site)), limits) for site in sites]


def _delays(delays_ns: Array, limits: _Limits) -> _Delays:
    budget_ns, needed = limits
    middles = (len(delays_ns) - 1) // 2, len(delays_ns) // 2
    parted = np.partition(delays_ns, sorted({*middles, needed - 1, len(delays_ns) - 1}))
    low_us, high_us, needs_us, worst_us = (_us(int(parted[at])) for at in (*middles, needed - 1, -1))
    return _Delays((low_us + high_us) / 2, worst_us, needs_us, float(np.mean(delays_ns < budget_ns)))


def _us(ns: int) -> float:
    return ns / NS_PER_US if ns < FAR else math.inf


def _origins(twin: Twin, ready: Reach, stations: Array, domain: str) -> list[tuple[int, int]]:
    """Every domain and province (rows) that data of the area may come from; -1 where nobody told."""
    hosts = _hosts(ready)
    owners = twin.resolve("sites", "domain")[hosts[hosts < len(twin["sites"])]]
    domains = twin["domains"].rows([domain]) if domain else np.unique(owners[owners >= 0])
    metro = np.unique(twin.resolve("stations", "metro")[stations])
    provinces = np.unique(twin.resolve("metros", "province")[metro])
    return [(own, province) for own in domains.tolist() or [-1] for province in provinces.tolist()]


def _recipients(
    world: World, sites: _Sites, profile: Profile, origins: list[tuple[int, int]], at_s: float, law: policy.Law
) -> _Recipients:
    """The recipients in each zone: the servers there that the law is mildest on, else whoever owns the site."""
    twin = world.intended
    owners = _Law(_as_if(twin, sites.rows), profile.data_class, origins, at_s, law)
    servers = _Law(twin, profile.data_class, origins, at_s, law)
    at, owner = _servers(twin, sites.rows)
    rows = np.flatnonzero(at >= 0)
    at = at[rows]
    # Of the servers of a zone the last in this order, which has the mildest rule, has the last word.
    order = np.lexsort((-rows, -servers.strict[rows], at))
    domain, strict, decides = (
        twin.resolve("sites", "domain")[sites.rows],
        owners.strict.copy(),
        np.full(len(sites.rows), -1),
    )
    decides[at[order]] = rows[order]
    strict[at[order]], domain[at[order]] = servers.strict[rows[order]], owner[rows[order]]
    seen, free = _free_chips(world, rows)
    # A server that the data may not go to is of no use, where it may go to another one.
    counts = (servers.strict[rows] < UNLAWFUL) == (strict[at] < UNLAWFUL)
    size = len(sites.rows)
    total = np.bincount(at, free * counts, size).astype(np.int64)
    there = np.bincount(at, minlength=size) > 0
    return _Recipients(
        free_chips=np.where(there, total, UNCOUNTED),
        domain=domain,
        lawful=strict < UNLAWFUL,
        law=cache(lambda zone: servers.said(int(decides[zone])) if decides[zone] >= 0 else owners.said(zone)),
        observed=~there | (np.bincount(at, seen, size) > 0),
    )


class _Law:
    """What the law says of a class of data at each server, from the origin that it is strictest on.

    `strict` is the position among `policy.COPIED` of the least protective mode that is lawful, or `UNLAWFUL`.
    """

    def __init__(
        self, twin: Twin, data_class: DataClass, origins: list[tuple[int, int]], at_s: float, law: policy.Law
    ) -> None:
        self.strict = np.zeros(len(twin["servers"]), np.int64)
        self._facts: policy.Facts | None = None
        if data_class == "none" or not len(self.strict):
            return
        self._law = law
        data = policy.as_classes(twin, (FACTS[data_class],), origins)
        asked = policy.Asked(self._law, at_s, (policy.OWN,))
        self._facts = policy.questions(data, asked, np.arange(len(origins)), policy.recipients(data))
        lawful = self._law.decide(self._facts).reshape(len(origins), -1)
        each = np.full(lawful.shape, UNLAWFUL)
        for at in reversed(range(UNLAWFUL)):
            each[lawful >> at & 1 == 1] = at
        self._strictest, self.strict = np.argmax(each, axis=0), np.max(each, axis=0)

    def said(self, server: int) -> str:
        """The verdict on a server (row) in a line."""
        if self._facts is None:
            return NOT_ASKED
        question = self._facts.rows(np.array([self._strictest[server] * len(self.strict) + server]))
        return policy.said(policy.verdict(self._law, question, policy.copied()), policy.COPIED)


def _as_if(twin: Twin, sites: Array) -> Twin:
    """The twin as if a server of the site's owner, and nothing else, stood at each of these sites."""
    ids, one = twin["sites"].ids[sites], np.ones(len(sites), np.int64)
    columns = {"id": ids, "site": ids, "chip": np.full(len(sites), b""), "chips": one}
    return twin.replace(Table.of("servers", columns))


def _servers(twin: Twin, sites: Array) -> tuple[Array, Array]:
    """Of each server with chips its position among these sites (-1 elsewhere), and the domain that runs it (row)."""
    site = twin.resolve("servers", "site")
    if not len(site):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    position = np.full(len(twin["sites"]) + 1, -1)
    position[sites] = np.arange(len(sites))
    there = (site >= 0) & (twin["servers"]["chips"] > 0)
    return np.where(there, position[np.maximum(site, 0)], -1), policy.recipients(twin).domain


def _free_chips(world: World, servers: Array) -> tuple[Array, Array]:
    """Of each of the servers (rows) whether anybody saw it, and the chips that nobody holds (none where not seen)."""
    states, table = world["server_states"], world["servers"]
    row = resolve(states.ids, (table.columns["id"],))
    free, seen = np.zeros(len(table), np.int64), np.zeros(len(table), bool)
    free[row[row >= 0]], seen[row[row >= 0]] = states["free_chips"][row >= 0], True
    return seen[servers], free[servers]


def _kinds(status: Array, fails: Mapping[Reason, Array]) -> tuple[Kind, ...]:
    failed = np.logical_or.reduce(list(fails.values()))

    def number(chosen: Array) -> int:
        return int(np.count_nonzero(chosen))

    return tuple(
        Kind(
            status=name,
            zones=number(status == code),
            feasible=number((status == code) & ~failed),
            too_far=number((status == code) & fails["too_far"]),
            too_few_chips=number((status == code) & fails["too_few_chips"]),
            unlawful=number((status == code) & fails["unlawful"]),
        )
        for code, name in enumerate(STATUSES)
    )


def _zone(case: _Case, at: int, delays: Sequence[_Delays]) -> Zone:
    """A zone in words, with its delays at low, typical and high figures."""
    sites, site, free = case.twin["sites"], int(case.sites.rows[at]), int(case.recipients.free_chips[at])
    status, name = STATUSES[case.sites.status[at]], text(sites.ids[site])
    low, typical, high = delays
    why_not = _why_not(case, at, typical)
    seen: EdgeStatus = "active" if case.recipients.observed[at] else "unknown"
    return Zone(
        id=name,
        name=text(sites["name"][site]) or _named(case.twin, "metros", _metro(case.twin, site)) or name,
        region=_named(case.twin, "provinces", _province(case.twin, site)),
        provider=_entity(case.twin, int(case.recipients.domain[at])),
        status=status,
        edge_status=seen if status == "active" else "inactive",
        feasible=not why_not,
        in_service_at_s=case.planned[name] if status == "planned" else None,
        free_chips=free if status == "active" and free != UNCOUNTED else None,
        served_share=typical.served_share,
        needs_us=typical.needs_us,
        median_low_us=low.median_us,
        median_us=typical.median_us,
        median_high_us=high.median_us,
        worst_low_us=low.worst_us,
        worst_us=typical.worst_us,
        worst_high_us=high.worst_us,
        lawful=bool(case.recipients.lawful[at]),
        law=case.recipients.law(at),
        why_not=why_not,
    )


def _why_not(case: _Case, at: int, typical: _Delays) -> str:
    """Every reason why a zone is not feasible; nothing where it is."""
    free, us = int(case.recipients.free_chips[at]), typical.needs_us
    reasons: dict[Reason, str] = {
        "too_far": f"needs more than {us:,.6g} us" if math.isfinite(us) else "too few stations have a way there",
        "too_few_chips": f"{free:,} of {case.profile.chips:,} are free" if free != UNCOUNTED else "nobody counted them",
        "unlawful": case.recipients.law(at),
    }
    return "; ".join(f"{why.replace('_', ' ')}: {words}" for why, words in reasons.items() if case.fails[why][at])


def _metro(twin: Twin, site: int) -> int:
    return int(twin.resolve("sites", "metro")[site])


def _province(twin: Twin, site: int) -> int:
    metro = _metro(twin, site)
    return int(twin.resolve("metros", "province")[metro]) if metro >= 0 else -1


def _named(twin: Twin, table: str, row: int) -> str:
    """The name of a row, or else its id; nothing where there is no row."""
    return text(twin[table]["name"][row]) or text(twin[table].ids[row]) if row >= 0 else ""


def _entity(twin: Twin, domain: int) -> str:
    return text(twin["domains"]["entity"][domain]) if domain >= 0 else ""
