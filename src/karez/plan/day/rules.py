"""What decides where a job may run: law, delay, data, chips. Jobs that are alike in it share a menu.

All of it holds for every server of the twin, so that it can be told why one is on no menu.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from karez.measure import policy, speeds
from karez.measure.chips import PER_B, Kind, in_groups, job_gb
from karez.measure.policy import costs
from karez.plan.day.ask import Ask
from karez.plan.day.ways import Ways
from karez.plan.place import value_at
from karez.plan.placing.program import NONE
from karez.twin import Twin, World
from karez.twin.table import Array, strings, text
from karez.units import S_PER_H

KINDS: tuple[Kind, ...] = ("training", "batch", "online")
KIND_NAMES = np.array(sorted(KINDS), "S")


class Keys(NamedTuple):
    """What a menu goes by, a value a menu (arrays of one length).

    Rows of metros, works, laws, sources and models; whether it runs on after the planned hours (0 or 1); sites that it
    may be split over; the server (row) that it runs on and may leave (NONE: none); the delay that is borne (us), memory
    that a chip needs (GB), time of a token (ms), GB between its user and a chip an hour, GB that it takes along when it
    moves, how fast it is where it runs.
    """

    metro: Array
    work: Array
    law: Array
    source: Array
    model: Array
    runs_on: Array
    sites: Array
    runs_at: Array
    oneway_us: Array
    chip_gb: Array
    token_ms: Array
    gb_per_chip_h: Array
    kept_gb: Array
    speed_there: Array


ROWS = 8


class Modes(NamedTuple):
    """By mode (of MODES): GB that move of a GB of data, CNY to make it ready; the share that the work takes more."""

    moved: Array
    cny: Array
    more: Array


@dataclass(frozen=True)
class Rules:
    """What is known of each server (a column) for metros, works, laws and sources (rows).

    `delay_us`: from the main site of each metro of the twin. `mode`: the number of the mode that data are worked on in
    (NONE: unlawful). `source`: the province (row) that data come from (NONE: no way). `speed` against the chip that
    the job names (0: not known) and `token_ms` at the high end.
    """

    delay_us: Array
    mode: Array
    source: Array
    speed: Array
    token_ms: Array
    memory_gb: Array

    def fails(self, keys: Keys) -> dict[str, Array]:
        """By reason, which servers it forbids to each menu (rows)."""
        speed, delay_us = self.speed[keys.work], self.delay_us[keys.metro]
        with np.errstate(invalid="ignore"):
            return {
                "unlawful": self.mode[keys.law] < 0,
                "too far": ~((delay_us <= keys.oneway_us[:, None]) & np.isfinite(delay_us)),
                "no way for its data": self.source[keys.source] < 0,
                "no figures of the chip": ~(speed > 0),
                "too little memory": ~(self.memory_gb >= keys.chip_gb[:, None]),
                "too slow": (keys.token_ms < np.inf)[:, None] & ~(self.token_ms[keys.work] <= keys.token_ms[:, None]),
            }

    def forbids(self, keys: Keys) -> Array:
        """Which servers any reason forbids to each menu, shape (menus, servers)."""
        return np.asarray(np.logical_or.reduce(list(self.fails(keys).values())))


def modes() -> Modes:
    """What each mode takes of a GB."""
    known, one, none = costs.constants(), np.ones(1), np.zeros(1)
    free = costs.Places(np.zeros((1, 1)), np.zeros((1, 1)), np.full((1, 1), np.inf))
    data = costs.costs(costs.Work(one, none, none, none), free, free, known)
    paid = costs.Places(np.ones((1, 1)), np.zeros((1, 1)), np.full((1, 1), np.inf))
    work = costs.costs(costs.Work(none, one, one, none), paid, paid, known)
    base = costs.costs(costs.Work(none, none, none, none), paid, paid, known)
    moved = data.moved_gb[0, 0]
    ready = data.cny[0, 0] - moved * known["transport_cny_per_gb"]
    return Modes(moved, ready, work.cny[0, 0] - base.cny[0, 0] - 1.0)


def rules_of(
    world: World, ask: Ask, jobs: Array, runs_on: Array, network: Ways, starts: tuple[Array, Array],
    packs: Sequence[policy.Pack] | None,
) -> tuple[Rules, Keys]:  # fmt: skip
    """The rules, and of each job (row) what it goes by; `starts` are the main sites of metros and of provinces."""
    twin = world.intended
    of_metros, of_provinces = starts
    chip, site = (twin.resolve("servers", name) for name in ("chip", "site"))
    to = np.searchsorted(network.to, np.maximum(site, 0))
    columns = np.minimum(to, max(len(network.to) - 1, 0))

    def us(start: Array) -> Array:
        near = network.us(start)
        found = near[:, columns] if len(network.to) else np.full((len(start), len(site)), np.inf)
        return np.where((site >= 0)[None, :], found, np.inf)

    works, work = _works(twin, jobs)
    speed, slowest_ms = _believed(world, works)
    mode, law = _laws(world, ask, jobs, runs_on, packs)
    source, sources = _sources(twin, jobs, us(of_provinces))
    table = twin["jobs"]
    kind = table["kind"][jobs]
    memory_gb = value_at(twin["chips"]["memory_gb"], chip)
    keys = Keys(
        metro=twin.resolve("jobs", "metro")[jobs],
        work=work,
        law=law,
        source=sources,
        model=twin.resolve("jobs", "model")[jobs],
        runs_on=runs_on.astype(int),
        sites=np.where(kind == b"training", table["sites"][jobs], 1),
        runs_at=np.full(len(jobs), NONE),
        oneway_us=table["oneway_us"][jobs],
        chip_gb=_next(_chip_gb(twin, jobs), np.unique(memory_gb[np.isfinite(memory_gb)])),
        token_ms=np.where(kind == b"online", table["token_ms"][jobs], np.inf),
        gb_per_chip_h=np.where(kind == b"online", table["gb_per_chip_h"][jobs], 0.0),
        kept_gb=np.zeros(len(jobs)),
        speed_there=np.zeros(len(jobs)),
    )
    speed, slowest_ms = (_of_servers(values, chip) for values in (speed, slowest_ms))
    return Rules(us(of_metros), mode, source, speed, slowest_ms, memory_gb), keys


def _of_servers(of_chips: Array, chip: Array) -> Array:
    """Values by chip (columns) as values by server; nan where its chip is not known."""
    if not of_chips.shape[1]:
        return np.full((len(of_chips), len(chip)), np.nan)
    return np.where(chip >= 0, of_chips[:, chip], np.nan)


def believed_hours(world: World, jobs: Array, usual_h: Array) -> Array:
    """Hours that jobs (rows) take where `speed` of the rules is 1, by what was learned; `usual_h`: by what is told."""
    works, work = _works(world.intended, jobs)
    return np.asarray(usual_h / _learned(world, *works)[1][work])


def parameters_of(twin: Twin, jobs: Array) -> Array:
    """Parameters of the model of each job (row); 0 where it has none."""
    model = twin.resolve("jobs", "model")[jobs]
    return np.asarray(
        np.where(model >= 0, twin["models"]["parameters_b"][model] * PER_B if len(twin["models"]) else 0.0, 0.0)
    )


def believed_speeds(world: World, jobs: Array, chips: Array) -> Array:
    """How fast each job (row) is believed to run on a chip (row beside it), against `speed` 1; 0 where nobody knows."""
    works, work = _works(world.intended, jobs)
    return _at(_believed(world, works)[0], work, chips)


def _believed(world: World, works: Array) -> tuple[Array, Array]:
    """Speed of each work on each chip by estimate and what was learned, and the time of a token (ms) there."""
    speed, slowest_ms = _estimated(world.intended, *works)
    times, reference = _learned(world, *works)
    return speed * times / reference[:, None], slowest_ms


def _at(speed: Array, work: Array, chips: Array) -> Array:
    """The speed of each work on the chip (row) beside it; 0 where nobody knows."""
    return np.where(chips >= 0, speed[work, chips], 0.0) if speed.shape[1] else np.zeros(len(work))


def speeds_of(twin: Twin, jobs: Array, chips: Array) -> Array:
    """How fast each job (row) is estimated to run on a chip (row beside it), against the one that hours are told for.

    0 where it is not known.
    """
    works, work = _works(twin, jobs)
    speed, _ = _estimated(twin, *works)
    return _at(speed, work, chips)


def _works(twin: Twin, jobs: Array) -> tuple[Array, Array]:
    """Works, a column each: the row of a model, a kind of job (in KIND_NAMES), the chip (row) that it is told for.

    And the work of each job.
    """
    model, told = (twin.resolve("jobs", name)[jobs] for name in ("model", "chip"))
    kind = np.searchsorted(KIND_NAMES, twin["jobs"]["kind"][jobs])
    rows, work = np.unique(np.stack([model, kind, told]), axis=1, return_inverse=True)
    return rows, work.ravel()


def _learned(world: World, model: Array, kind: Array, told: Array) -> tuple[Array, Array]:
    """How many times as fast as estimated each work is on each chip, and on that which its hours are told for.

    Where none is, that is the chip of the network on which it is most.
    """
    twin = world.intended
    times = speeds.times(twin, world[speeds.TABLE], KIND_NAMES[kind], model, told)
    there = np.unique(twin.resolve("servers", "chip"))
    there = there[there >= 0]
    if not len(there):
        return times, np.ones(len(times))
    named = times[np.arange(len(told)), np.maximum(told, 0)]
    return times, np.where(told >= 0, named, times[:, there].max(axis=1))


def _estimated(twin: Twin, model: Array, kind: Array, told: Array) -> tuple[Array, Array]:
    """Speed of each work on each chip of the twin, and the time of a token (ms) there."""
    speed, slowest = np.ones((2, len(model), len(twin["chips"])))
    for at, name in enumerate(sorted(KINDS)):
        here = np.flatnonzero(kind == at)
        if len(here) and len(twin["chips"]):
            models, back = np.unique(model[here], return_inverse=True)
            found = in_groups(twin, models, name)
            each = found.tokens_per_s[back]
            reference = each[np.arange(len(here)), np.maximum(told[here], 0)]
            compared = np.nan_to_num(each / reference[:, None])
            # The chip that is named is as fast as itself, figures or not; and where none is named, all are alike.
            compared[np.arange(len(here)), np.maximum(told[here], 0)] = 1.0
            speed[here] = np.where((told[here] >= 0)[:, None], compared, 1.0)
            slowest[here] = found.high_ms[back]
    return speed, slowest


def _laws(
    world: World, ask: Ask, jobs: Array, runs_on: Array, packs: Sequence[policy.Pack] | None
) -> tuple[Array, Array]:
    """The mode (its number; NONE: unlawful) of each law at each server, and the law of each job.

    A law is data and a purpose. Of lawful modes that one is taken which costs least; a trusted environment only where
    nothing else will do, for it slows the work down.
    """
    twin = world.intended
    table = twin["jobs"]
    purposes = strings(table["purpose"][jobs])
    words, word = np.unique(np.array(purposes, dtype=object).astype(str), return_inverse=True)
    # Papers are to hold until all that is planned has ended, and for those that run on for twice as long as they take.
    long_h = np.where(runs_on, np.ceil(2.0 * table["hours"][jobs]), ask.hours).astype(int)
    asked_of = np.stack([twin.resolve("jobs", "dataset")[jobs], word, long_h])
    rows, law = np.unique(asked_of, axis=1, return_inverse=True)
    server = policy.recipients(twin)
    pairs, of = np.unique(np.stack([server.domain, server.province]), axis=1, return_inverse=True)
    rules, ledger = policy.law(packs, ask.at_s), world["person_budgets"]
    lawful = np.zeros((rows.shape[1], pairs.shape[1]), np.uint8)
    for hours in np.unique(rows[2]).tolist():
        here = (rows[0] >= 0) & (rows[2] == hours)
        purposes_here = [str(words[at]) for at in rows[1, here]]
        asked = policy.Asked(rules, ask.at_s, purposes_here, ledger, ask.at_s + hours * S_PER_H)
        if here.any():
            lawful[here] = policy.lawful(twin, asked, rows[0, here], policy.Recipients(pairs[0], pairs[1]))
    mode = _mode(lawful & policy.copied())
    return mode[:, of.ravel()], law.ravel()


def _mode(lawful: Array) -> Array:
    """The number of the mode that costs least of the lawful ones (bits); NONE where there is none."""
    each = modes()
    known = costs.constants()
    price = each.moved * known["transport_cny_per_gb"] + each.cny
    order = sorted(
        (policy.MODES.index(mode) for mode in policy.COPIED), key=lambda at: (each.more[at] > 0, price[at], at)
    )
    found = np.full(lawful.shape, NONE)
    for at in reversed(order):
        found[(lawful >> at & 1).astype(bool)] = at
    return found


def _sources(twin: Twin, jobs: Array, from_province_us: Array) -> tuple[Array, Array]:
    """The province (row) that data come from to each server, by where copies lie, and the source of each job."""
    dataset = twin.resolve("jobs", "dataset")[jobs]
    rows, source = np.unique(dataset, return_inverse=True)
    home, copies = twin.resolve("datasets", "province"), twin["datasets"]["copies"]
    there = policy.recipients(twin).province
    found = np.full((len(rows), len(there)), NONE)
    alike = dict[tuple[int, ...], Array]()
    for at, row in enumerate(rows.tolist()):
        if row < 0:
            continue
        lies = tuple(sorted({int(home[row]), *_named(twin, text(copies[row]))} - {NONE}))
        if lies not in alike:
            alike[lies] = _nearest(np.array(lies, int), from_province_us, there)
        found[at] = alike[lies]
    return found, source.ravel()


def _named(twin: Twin, words: str) -> list[int]:
    """The provinces (rows) of these ids; one that is not there is none."""
    provinces = twin["provinces"]
    return [int(provinces.rows([word])[0]) for word in words.split() if provinces.has(word)]


def _nearest(lies: Array, from_province_us: Array, there: Array) -> Array:
    if not len(lies):
        return np.full(len(there), NONE)
    near = from_province_us[lies]
    found = np.where(np.isfinite(near).any(axis=0), lies[np.argmin(near, axis=0)], NONE)
    return np.where(np.isin(there, lies), there, found)


def _chip_gb(twin: Twin, jobs: Array) -> Array:
    """Memory (GB) that each job takes of each of its chips."""
    table, found = twin["jobs"], np.zeros(len(jobs))
    model = twin.resolve("jobs", "model")[jobs]
    for kind in KINDS:
        here = table["kind"][jobs] == kind.encode()
        chips = table["chips"][jobs[here]]
        found[here] = job_gb(twin, model[here], kind, chips) / chips
    return found


def _next(values: Array, steps: Array) -> Array:
    """Each value raised to the next of the steps, so that what makes no difference is no difference; inf beyond."""
    return np.concatenate([steps, [np.inf]])[np.searchsorted(steps, values)]
