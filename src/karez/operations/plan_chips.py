"""Which machines of chips to add where, so that a day of jobs and the machines together cost least."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
import numpy as np

from karez.errors import InputError
from karez.operations import Answer, PlanChipsQuestion
from karez.operations.day import begins_s, cpu_clock, require_jobs, site_metro
from karez.operations.networks import (
    DETAIL,
    at_most,
    counted,
    load_living,
    now_s,
    provenance,
    require_new_file,
    share,
    write_new,
)
from karez.operations.order import rates_of
from karez.operations.policy import packs_of
from karez.plan.day.ask import HOURS_A_DAY, Ask
from karez.plan.day.build import Built, Offer, built, ordered, plan_of, sites_of
from karez.plan.day.decide import Day, chosen_of, decided
from karez.plan.placing.pricing import used_by
from karez.plan.plan import Plan
from karez.plan.rates import machine_of
from karez.plan.sites import DAY_S
from karez.twin import World
from karez.twin.table import text

LEAST_CNY = 0.01
# What is ordered comes no sooner (days).
LEAST_DAYS = 1.0


class BuiltChips(msgspec.Struct, frozen=True, kw_only=True):
    """Chips that a site gets: of which kind, what having them costs a day, and in which share of its hours they run."""

    site: str
    place: str
    chip: str
    machines: int
    chips: int
    cny_a_day: float
    used_share: float


class ShortOfPower(msgspec.Struct, frozen=True, kw_only=True):
    """A site whose power is all taken in some hour with what is added: what is left for jobs, what a kW more saves."""

    site: str
    place: str
    power_kw: float
    saves_cny_a_day: float


class PlanChipsAnswer(Answer, frozen=True, kw_only=True):
    """What to add, and the day with it (`cost_cny`, machines and what does not run included) and without it.

    `bound_cny` is what any day with any machines costs at least.
    """

    machines: int
    sites: int
    building_cny: float
    cost_before_cny: float
    cost_cny: float
    bound_cny: float
    gap_share: float
    gap_before_share: float
    jobs: int
    running_before: int
    running: int
    machine_cny_a_day: float
    build: tuple[BuiltChips, ...]
    short_of_power: tuple[ShortOfPower, ...]
    output: str
    plan: Annotated[Plan, DETAIL]


def run(question: PlanChipsQuestion) -> PlanChipsAnswer:
    """The plan of the network's newest revision; it is written to `question.output` where that is given.

    Raises:
        InputError: the network or a list cannot be read, a kind of chip is not known, jobs make no sense together, or
            the file exists or cannot be written.
    """
    if question.output:
        require_new_file(question.output)
    world, revision = load_living(question.network)
    digest = world.intended.digest
    require_jobs(world)
    machine, at_s = machine_of(rates_of(question), question.machine_chips), now_s()
    if question.most_chips < machine.chips:
        what = f"is less than a machine has, {machine.chips}"
        raise InputError.of("most_chips", what, "allow for one machine at least")
    ask = Ask(
        at_s=begins_s(world, question.at),
        hours=question.hours,
        carbon_cny_per_kg=question.carbon_cny_per_kg,
        figures=question.figures,
    )
    offer = Offer(
        chips=machine.chips,
        cny_a_day=machine.cny_a_day,
        most_chips=question.most_chips,
        in_service_at_s=float(round(at_s + max(machine.lead_time_days, LEAST_DAYS) * DAY_S)),
        kinds=_kinds(world, question.kinds),
    )
    packs, limit_s, seed = packs_of(question.packs), question.time_limit_s, question.seed
    world = ordered(world, ask, offer)
    before = decided(world, ask, packs, limit_s=limit_s, seconds=cpu_clock(), seed=seed)
    found = built(world, ask, offer, packs, before=before, limit_s=limit_s, seconds=cpu_clock(), seed=seed)
    plan = plan_of(found, offer, digest, at_s)
    plan = msgspec.structs.replace(plan, citation=f"{plan.citation}; {provenance(revision)}")
    if question.output:
        write_new(question.output, msgspec.json.encode(plan))
    return _answer(question, found, before, offer, plan, synthetic=revision.synthetic)


def _kinds(world: World, words: str) -> tuple[str, ...]:
    """The kinds of chips that are named.

    Raises:
        InputError: the network does not know one, or not what it draws.
    """
    kinds, chips = tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip())), world["chips"]
    if lost := tuple(kind for kind in kinds if not chips.has(kind)):
        raise InputError.of("kinds", "names chips that the network does not know", "see `karez chips`", lost)
    if bare := tuple(kind for kind in kinds if not math.isfinite(float(chips.cell(kind, "power_w")))):
        raise InputError.of("kinds", "names chips of which nobody told what they draw", "tell it, or name others", bare)
    return kinds


def _answer(
    question: PlanChipsQuestion, found: Built, before: Day, offer: Offer, plan: Plan, *, synthetic: bool
) -> PlanChipsAnswer:
    days = question.hours / HOURS_A_DAY
    build = _built(found, offer)
    jobs = int(found.day.posed.world["jobs"]["number"][found.day.posed.jobs].sum())
    ran, runs = (int(day.placed.number.sum()) for day in (before, found.day))
    return PlanChipsAnswer(
        headline=_headline(found, before, offer, runs - ran, synthetic=synthetic),
        citation=plan.citation,
        machines=sum(one.machines for one in build),
        sites=len({one.site for one in build}),
        building_cny=found.building_cny,
        cost_before_cny=before.cny,
        cost_cny=found.cny,
        bound_cny=found.bound,
        gap_share=found.gap_share,
        gap_before_share=before.gap_share,
        jobs=jobs,
        running_before=ran,
        running=runs,
        machine_cny_a_day=offer.cny_a_day,
        build=build,
        short_of_power=_short_of_power(found, days),
        output=question.output,
        plan=plan,
    )


def _headline(found: Built, before: Day, offer: Offer, more: int, *, synthetic: bool) -> str:
    note = ", synthetic" if synthetic else ""
    gap = f"at most {at_most(found.gap_share)} above the least that any machines and plan cost (proven{note})"
    machines = sum(found.chips.values()) // offer.chips
    if not machines:
        return (
            f"Nothing to add: nothing was found that saves more than the {offer.cny_a_day:,.0f} CNY that a machine of "
            f"{counted(offer.chips, 'chip')} costs a day; the jobs without any cost {gap}"
        )
    sites = len(sites_of(found))
    less = 1.0 - found.cny / before.cny if before.cny > 0 else 0.0
    hours = found.posed.ask.hours
    day = "a day" if hours == HOURS_A_DAY else counted(hours, "hour")
    cost = f"make {day} of jobs {share(less)} cheaper, all that they cost included"
    ran = f", and {counted(more, 'job')} run that did not" if more > 0 else ""
    return (
        f"{counted(machines, 'machine')} of {counted(offer.chips, 'chip')} at {counted(sites, 'site')} {cost}{ran}; "
        f"{gap}"
    )


def _built(found: Built, offer: Offer) -> tuple[BuiltChips, ...]:
    """What is added, the most first."""
    day = found.day
    posed, world = day.posed, day.posed.world
    used = used_by(posed.program, chosen_of(posed, day.placed)).chips
    place = {text(name): at for at, name in enumerate(world["servers"].ids[posed.pools])}
    rows = []
    for name, chips in found.chips.items():
        values, at = found.candidates.rows[name], place[name]
        site = str(values["site"])
        rows.append(
            BuiltChips(
                site=site,
                place=site_metro(world, int(world["sites"].rows([site])[0])),
                chip=str(values["chip"]),
                machines=chips // offer.chips,
                chips=chips,
                cny_a_day=chips / offer.chips * offer.cny_a_day,
                used_share=float(used[at].mean() / chips),
            )
        )
    return tuple(sorted(rows, key=lambda one: (-one.chips, one.site, one.chip)))


def _short_of_power(found: Built, days: float) -> tuple[ShortOfPower, ...]:
    """Sites where a kW more would save money, the dearest first."""
    posed = found.posed
    worth = found.prices.kw.sum(axis=1) / days
    rows = [
        ShortOfPower(
            site=text(posed.world["sites"].ids[posed.limited.sites[at]]),
            place=site_metro(posed.world, int(posed.limited.sites[at])),
            power_kw=float(posed.program.limits.kw[at].max()),
            saves_cny_a_day=float(worth[at]),
        )
        for at in np.flatnonzero(worth > LEAST_CNY).tolist()
    ]
    return tuple(sorted(rows, key=lambda one: (-one.saves_cny_a_day, one.site)))
