"""Where one job runs: the cheapest place that is lawful, near enough and free, with the reads it stands on.

Delay and law are filters, never prices. Every place is looked at, so the cheapest is proven by enumeration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
from scipy.sparse.csgraph import dijkstra

from karez.errors import Infeasible, InputError, Refused
from karez.measure import policy
from karez.measure.chips import Kind, job_gb
from karez.measure.delay import Figures, link_oneway_us
from karez.plan.plan import Action, Alternative, NewRow, Plan, Proof
from karez.plan.reads import Read
from karez.twin import World
from karez.twin.graph import Graph, graph
from karez.twin.schema import Value
from karez.twin.table import Array, text
from karez.units import NS_PER_US, S_PER_H

W_PER_KW = 1_000.0
EXPIRES_AFTER_S = 3_600.0
UNREACHED = -9999


@dataclass(frozen=True)
class Transport:
    """The transport network at one moment: delays between sites, and the links that make them (rows, and us each)."""

    graph: Graph
    links: Array
    oneway_us: Array


@dataclass(frozen=True)
class _Places:
    """What is known of every server for one job: one value a server, and which filters it fails."""

    ids: Array
    price_cny: Array
    oneway_us: Array
    free_chips: Array
    memory_gb: Array
    fails: dict[str, Array]

    @property
    def fit(self) -> Array:
        """Whether each server passes every filter."""
        fit: Array = ~np.logical_or.reduce(list(self.fails.values()))
        return fit


@dataclass(frozen=True)
class _Job:
    id: str
    model: str
    metro: str
    dataset: str
    chips: int
    hours: float
    oneway_us: float
    purpose: str
    memory_gb: float


class _Data:
    """What the law says of a job's data at each server."""

    def __init__(self, world: World, job: _Job, at_s: float, packs: Sequence[policy.Pack] | None) -> None:
        self._twin, self._job = world.intended, job
        self._law = policy.law(packs, at_s)
        # The papers must hold until the job has ended, begun as late as the plan may be.
        until_s = at_s + EXPIRES_AFTER_S + job.hours * S_PER_H
        self.asked = policy.Asked(self._law, at_s, (job.purpose,), world["person_budgets"], until_s)
        to = policy.recipients(self._twin)
        self._facts = policy.questions(self._twin, self.asked, world["datasets"].rows([job.dataset]), to)
        self.allowed: Array = (self._law.decide(self._facts) & policy.copied()) != 0

    def verdict(self, server: int) -> policy.Verdict:
        """The verdict on one server (row)."""
        return policy.verdict(self._law, self._facts.rows(np.array([server])), policy.copied())

    def said(self, server: int) -> str:
        """The verdict on one server (row) in a line."""
        ids = {"jobs": self._job.id, "datasets": self._job.dataset, "servers": text(self._twin["servers"].ids[server])}
        return policy.said(self.verdict(server), policy.COPIED, self._twin, **ids)

    def kinds(self) -> list[int]:
        """The first server (row) of each that the law makes no difference between."""
        return [int(alike[0]) for alike in self._facts.alike()]


def usable_links(world: World, *, figures: Figures = "typical") -> tuple[Array, Array]:
    """Links (rows) between sites that are up and not drained, as intended and as observed, and the delay (us) of each.

    Access rings of stations carry no transit.
    """
    intended, links, sites = world.intended, world["links"], len(world["sites"])
    a, b = intended.resolve("links", "a"), intended.resolve("links", "b")
    usable = (a >= 0) & (b >= 0) & (a < sites) & (b < sites) & links["up"] & ~links["drained"] & _seen_up(world)
    rows = np.flatnonzero(usable)
    return rows, link_oneway_us(intended, figures=figures)[rows]


def transport(world: World, *, figures: Figures = "typical") -> Transport:
    """The network between sites over the links that can be used."""
    rows, us = usable_links(world, figures=figures)
    oneway_us = np.full(len(world["links"]), np.inf)
    oneway_us[rows] = us
    whole, sites = graph(world.intended, oneway_us), len(world["sites"])
    return Transport(Graph(whole.forward[:sites, :sites], whole.backward[:sites, :sites], sites), rows, us)


def main_sites(world: World) -> Array:
    """The main core site (row of sites) of each metro: the one with the smallest id; -1 where it has none (int64)."""
    found = np.full(len(world["metros"]), -1)
    metro = world.intended.resolve("sites", "metro")
    core = np.flatnonzero((world["sites"]["kind"] == b"core") & (metro >= 0))
    metros, first = np.unique(metro[core], return_index=True)
    found[metros] = core[first]
    return found


def place(
    world: World,
    job_id: str,
    *,
    at_s: float,
    figures: Figures = "typical",
    packs: Sequence[policy.Pack] | None = None,
) -> Plan:
    """The plan that starts a job at the cheapest lawful place within its delay, proven by looking at every place.

    The law is that of `packs`; of those that come with Karez, where none are given.

    Raises:
        InputError: there is no such job.
        Refused: the data may go to none of the servers.
        Infeasible: no server passes every filter; the message names the nearest miss of each.
    """
    revision = world.intended.digest
    world = World(world.intended.at(at_s), world.actual)
    job = _job(world, job_id)
    start = int(main_sites(world)[world["metros"].rows([job.metro])[0]])
    network = transport(world, figures=figures)
    oneway_us, previous = _from(network, start)
    data = _Data(world, job, at_s, packs)
    places = _places(world, job, oneway_us, data)
    fit = np.flatnonzero(places.fit)
    if not len(fit):
        raise _no_place(job, places, data)
    best = int(fit[np.argmin(places.price_cny[fit])])
    server, price_cny = text(places.ids[best]), float(places.price_cny[best])
    site = int(world.intended.resolve("servers", "site")[best])
    path = _path(world, network, _way(previous, start, site))
    allowed = data.verdict(best)
    return Plan(
        planner="place",
        question={"job": job_id, "figures": figures},
        revision=revision,
        made_at_s=at_s,
        reads=(
            *_job_reads(world, job, float(oneway_us[site])),
            *_server_reads(world, job, server),
            *_law_reads(world, job, best, data.asked),
            *_path_reads(world, path),
        ),
        actions=(_start(job, server, at_s),),
        price_cny=price_cny,
        proof=_proof(places, fit, best, allowed),
        alternatives=_alternatives(job, places, data, best),
        citation=(
            f"one-way delay by shortest path over links that are up from the main core site of {job.metro}, {figures} "
            f"figures of the latency library; rent and electricity with the PUE; gap 0 (all {len(places.ids)} servers "
            f"looked at); law as engineers read it, no legal advice"
        ),
    )


def _seen_up(world: World) -> Array:
    """Whether each link is up and not drained as far as anyone has seen; a link without a state counts as seen so."""
    states = world["link_states"]
    return ~np.isin(world["links"].ids, states.ids[~states["up"] | states["drained"]])


def _from(network: Transport, start: int) -> tuple[Array, Array]:
    """Delay (us, inf where unreachable) from a site to each, and the site before each on the way."""
    if start < 0:
        return np.full(network.graph.sites, np.inf), np.full(network.graph.sites, UNREACHED)
    ns, previous = dijkstra(network.graph.forward, indices=np.array([start]), return_predecessors=True)
    return ns[0] / NS_PER_US, previous[0]


def _way(previous: Array, start: int, site: int) -> list[int]:
    """The sites (rows) from `start` to `site`, both of them included."""
    way = [site]
    while way[-1] != start:
        way.append(int(previous[way[-1]]))
    return way[::-1]


def _path(world: World, network: Transport, way: list[int]) -> list[int]:
    """The fastest link (row) of each hop of a way."""
    links, twin = network.links, world.intended
    a, b = twin.resolve("links", "a")[links], twin.resolve("links", "b")[links]
    both = world["links"]["direction"][links] == b"both"
    path = []
    for here, ahead in pairwise(way):
        rows = np.flatnonzero(((a == here) & (b == ahead)) | (both & (a == ahead) & (b == here)))
        path.append(int(links[rows[np.argmin(network.oneway_us[rows])]]))
    return path


def _job(world: World, job_id: str) -> _Job:
    jobs = world["jobs"]
    if not jobs.has(job_id):
        some = ", ".join(text(value) for value in jobs.ids[:3])
        fix = f"name one of the {len(jobs)} ({some} ...)" if some else "add jobs to the network"
        raise InputError.of("jobs", f"there is no job {job_id!r}", fix)
    if world["assignments"].has(job_id):
        server = world["assignments"].cell(job_id, "server")
        raise Infeasible(f"job {job_id} already has a place: {server}; end it first")
    values: dict[str, Value] = {name: jobs.cell(job_id, name) for name in jobs.columns}
    model, kind = world["models"].rows([str(values["model"])]), cast(Kind, values["kind"])
    return _Job(
        id=job_id,
        model=str(values["model"]),
        metro=str(values["metro"]),
        dataset=str(values["dataset"]),
        chips=int(values["chips"]),
        hours=float(values["hours"]),
        oneway_us=float(values["oneway_us"]),
        purpose=str(values["purpose"]),
        memory_gb=float(job_gb(world.intended, model, kind, np.array([int(values["chips"])]))[0]),
    )


def _places(world: World, job: _Job, oneway_us: Array, data: _Data) -> _Places:
    servers, twin = world["servers"], world.intended
    site = twin.resolve("servers", "site")
    delay_us, free, memory_gb = oneway_us[site], _free_chips(world), job.chips * _chip(world, "memory_gb")
    price_cny: Array = job.chips * job.hours * chip_costs(world)[0]
    fails = {
        "unlawful": ~data.allowed,
        "too far": ~((delay_us <= job.oneway_us) & np.isfinite(delay_us)),
        "too few free chips": ~((free >= job.chips) & (servers["chips"] >= job.chips)),
        "too little memory": ~(memory_gb >= job.memory_gb),
        "unknown price": ~np.isfinite(price_cny),
    }
    return _Places(servers.ids, price_cny, delay_us, free, memory_gb, fails)


def _free_chips(world: World) -> Array:
    """Chips that nobody holds at each server; -1 where none was ever observed."""
    states, free = world["server_states"], np.full(len(world["servers"]), -1)
    known = np.isin(states.ids, world["servers"].ids)
    free[world["servers"].rows(states.ids[known])] = states["free_chips"][known]
    return free


def _chip(world: World, column: str) -> Array:
    """A figure of the chip of each server."""
    return value_at(world["chips"][column], world.intended.resolve("servers", "chip"))


def value_at(values: Array, rows: Array) -> Array:
    """The value of each row; nan where the row is negative."""
    return np.where(rows >= 0, values[rows], np.nan) if len(values) else np.full(len(rows), np.nan)


def chip_costs(world: World) -> tuple[Array, Array]:
    """Of a chip of each server, rent and electricity (CNY an hour) and power with cooling (kW); nan if not known."""
    twin, provinces = world.intended, world["provinces"]
    province = policy.recipients(twin).province
    pue, cny_per_kwh = (value_at(provinces[name], province) for name in ("pue", "price_cny_per_kwh"))
    power_kw = _chip(world, "power_w") / W_PER_KW * pue
    rent_cny_per_h: Array = world["servers"]["price_cny_per_chip_h"]
    return rent_cny_per_h + power_kw * cny_per_kwh, power_kw


def _start(job: _Job, server: str, at_s: float) -> Action:
    return Action(
        kind="start_job",
        subject=job.id,
        adds=(NewRow("assignments", job.id, {"server": server, "chips": job.chips, "since_s": at_s}),),
        blast_radius=(server,),
        expires_at_s=at_s + EXPIRES_AFTER_S,
        ends_at_s=at_s + job.hours * S_PER_H,
    )


def _job_reads(world: World, job: _Job, delay_us: float) -> Iterable[Read]:
    """That the job is still what was placed, bears the delay, and has no place yet."""
    yield Read("assignments", job.id, op="gone")
    yield Read("jobs", job.id, "oneway_us", ">=", delay_us)
    for column in ("kind", "model", "metro", "dataset", "chips", "hours", "purpose"):
        yield _same(world, "jobs", job.id, column)


def _server_reads(world: World, job: _Job, server: str) -> Iterable[Read]:
    """That the place is there, has the chips, and belongs to whom the data may go to."""
    site = str(world["servers"].cell(server, "site"))
    yield Read("server_states", server, "free_chips", ">=", job.chips)
    yield Read("servers", server, "chips", ">=", job.chips)
    yield Read("chips", str(world["servers"].cell(server, "chip")), "memory_gb", ">=", job.memory_gb / job.chips)
    for column in ("site", "chip", "domain"):
        yield _same(world, "servers", server, column)
    yield Read("sites", site)
    for column in ("metro", "domain"):
        yield _same(world, "sites", site, column)


def _law_reads(world: World, job: _Job, server: int, asked: policy.Asked) -> Iterable[Read]:
    """That all is still known of the data, its owner and the recipient that the law was asked about."""
    for table, row, column in policy.stands_on(world.intended, asked, job.dataset, server):
        value = world[table].cell(row, column)
        if column == "valid_from_s":
            yield Read(table, row, column, "<=", asked.at_s)
        elif column == "valid_to_s":
            yield Read(table, row, column, ">", asked.until_s)
        elif value == value:
            yield Read(table, row, column, "==", value)


def _path_reads(world: World, path: Iterable[int]) -> Iterable[Read]:
    """That every link of the way carries traffic and is no longer than it was."""
    links = world["links"]
    for row in path:
        link = text(links.ids[row])
        for table in ("links", "link_states") if world["link_states"].has(link) else ("links",):
            yield Read(table, link, "up", "==", True)
            yield Read(table, link, "drained", "==", False)
        yield Read("links", link, "length_km", "<=", float(links["length_km"][row]))
        yield _same(world, "links", link, "kind")


def _same(world: World, table: str, row: str, column: str) -> Read:
    return Read(table, row, column, "==", world[table].cell(row, column))


def _proof(places: _Places, fit: Array, best: int, verdict: policy.Verdict) -> Proof:
    price_cny = float(places.price_cny[best])
    unpriced = [text(value) for value in places.ids[places.fails["unknown price"]]]
    left_out = f"; {len(unpriced)} left out because a price is not known, {unpriced[0]} first" if unpriced else ""
    return Proof(
        value=price_cny,
        bound=price_cny,
        unit="CNY",
        how=(
            f"exact: all {len(places.ids)} servers looked at, {len(fit)} of them qualify, "
            f"none of these is cheaper{left_out}"
        ),
        certificate={
            "servers": tuple(text(value) for value in places.ids[fit]),
            "price_cny": tuple(places.price_cny[fit].tolist()),
            "oneway_us": float(places.oneway_us[best]),
            "mode": verdict.modes[0],
            "rules": tuple(ground.rule for ground in verdict.permits[verdict.modes[0]]),
            "duties": tuple(dict.fromkeys(one.duty for one in verdict.permits[verdict.modes[0]] if one.duty)),
        },
    )


def _alternatives(job: _Job, places: _Places, data: _Data, best: int) -> tuple[Alternative, ...]:
    """For each filter the cheapest place that fails it alone, and the next dearer place that fails none.

    A place without a price cannot be compared: the proof counts those.
    """
    found = []
    for reason, fails in places.fails.items():
        others = np.logical_or.reduce([f for name, f in places.fails.items() if name != reason])
        alone = np.flatnonzero(fails & ~others & np.isfinite(places.price_cny))
        if len(alone):
            row = int(alone[np.argmin(places.price_cny[alone])])
            why = f"{reason}: {_miss(job, places, data, reason, row)}"
            found.append(Alternative(text(places.ids[row]), float(places.price_cny[row]), why))
    dearer = np.flatnonzero(places.fit & (np.arange(len(places.ids)) != best))
    if len(dearer):
        row = int(dearer[np.argmin(places.price_cny[dearer])])
        more = places.price_cny[row] - places.price_cny[best]
        found.append(Alternative(text(places.ids[row]), float(places.price_cny[row]), f"dearer by {more:,.2f} CNY"))
    return tuple(found)


def _no_place(job: _Job, places: _Places, data: _Data) -> Infeasible | Refused:
    """What stands in the way: the law alone, or the nearest miss of each filter."""
    if len(places.ids) and places.fails["unlawful"].all():
        said = [data.said(row) for row in data.kinds()]
        why = "; or ".join(dict.fromkeys(said))
        return Refused(f"data {job.dataset} of job {job.id} may go to no server: {why}")
    lines = [
        f"{np.count_nonzero(fails)} {reason} (nearest miss: {text(places.ids[row])}, "
        f"{_miss(job, places, data, reason, row)})"
        for reason, fails in places.fails.items()
        if fails.any()
        for row in [_nearest(places, reason, np.flatnonzero(fails))]
    ]
    return Infeasible(f"none of {len(places.ids)} servers can run job {job.id}: {'; '.join(lines) or 'there are none'}")


def _nearest(places: _Places, reason: str, rows: Array) -> int:
    distance = {
        "too far": places.oneway_us,
        "too few free chips": -places.free_chips,
        "too little memory": -np.nan_to_num(places.memory_gb),
    }.get(reason, np.nan_to_num(places.price_cny, nan=np.inf))
    return int(rows[np.argmin(distance[rows])])


def _miss(job: _Job, places: _Places, data: _Data, reason: str, row: int) -> str:
    """By how much, or for what, a place fails a filter."""
    if reason == "unlawful":
        return data.said(row)
    if reason == "too far":
        delay_us = places.oneway_us[row]
        return f"{delay_us:.0f} us of {job.oneway_us:.0f}" if np.isfinite(delay_us) else "no way there"
    if reason == "too few free chips":
        free = places.free_chips[row]
        return f"{free} of {job.chips} free" if free >= 0 else "free chips never observed"
    if reason == "too little memory":
        return f"{places.memory_gb[row]:.0f} of {job.memory_gb:.0f} GB"
    return "rent, electricity, PUE or the chip's power is not known"
