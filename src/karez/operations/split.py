"""A model served by the chips of two sites: what comes of each way to do so, and how much chips and link work."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from karez.errors import InputError
from karez.measure.chips import REQUESTS_A_CHIP, TIERS, Load, needed_gb, on_fewest, tiers
from karez.measure.policy import costs
from karez.measure.split import Link, Served, Side, apart
from karez.operations import Answer, SplitQuestion
from karez.operations.day import metro_of
from karez.operations.estimate import row_of
from karez.operations.networks import counted, duration, load_living, provenance, share
from karez.plan.day.pools import free_chips, gb_over
from karez.plan.day.ways import ways
from karez.twin import World
from karez.twin.table import text
from karez.units import S_PER_H

# What the ministry asks of distributed inference over the wide area (its target P05).
TARGET_SHARE = 0.9
DEFINITION = (
    "work shares are of the time that chips or the link work at full load, of those that have work at all; P05 (90 % "
    "by 2028) does not say what its utilisation is of"
)


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A way to serve: requests a second, times of tokens, chips at either site, and the shares of time that all work.

    `a_chip_per_s` are requests a second for each chip that has work; `layers` of the model are at the first site, and
    `batches` on their way at once in each pipeline. `held_by` says what stands against more.
    """

    mode: str
    requests_per_s: float
    a_chip_per_s: float
    first_token_ms: float
    second_token_ms: float
    token_ms: float
    first_chips: int
    second_chips: int
    chips_work_share: float
    link_work_share: float
    layers: int
    batches: int
    held_by: str


class SplitAnswer(Answer, frozen=True, kw_only=True):
    """The ways to serve the model, the one with most requests a second first; what lies between the sites."""

    model: str
    first: str
    first_chip: str
    first_place: str
    second: str
    second_chip: str
    second_place: str
    oneway_us: float
    link_gbps: float
    ways: tuple[Way, ...]


def run(question: SplitQuestion) -> SplitAnswer:
    """What comes of each way.

    Raises:
        InputError: the network cannot be read, has no such model or server, or nothing is known of the chips; there is
            no way between the sites, or no chip is free.
    """
    world, revision = load_living(question.network)
    twin = world.intended
    model = row_of(twin, "models", question.model)
    servers = [row_of(twin, "servers", name) for name in (question.first, question.second)]
    link = _link(world, servers, question)
    load = Load(requests=question.requests, tokens_in=question.tokens_in, tokens_out=question.tokens_out)
    sides = tuple(
        _side(world, model, server, name, load) for server, name in zip(servers, ("first", "second"), strict=True)
    )
    requests = question.requests or REQUESTS_A_CHIP["online"] * min(side.chips for side in sides)
    found = apart(twin, model, (sides[0], sides[1]), link, load._replace(requests=requests))
    rows = sorted((_way(one, sides) for one in found), key=lambda one: (-_or_zero(one.requests_per_s), one.mode))
    if not math.isfinite(rows[0].requests_per_s):
        raise InputError.of("chips", "have figures that nobody published", "see `karez chips`", _chips(world, sides))
    known = [TIERS[int(tiers(world["chips"].ids[[side.chip]])[0])] for side in sides]
    places = [metro_of(world, server) for server in servers]
    chips = _chips(world, sides)
    return SplitAnswer(
        headline=_headline(question, rows, link, places, synthetic=revision.synthetic),
        citation=(
            f"at full load with {counted(requests, 'request')} at once a group; {DEFINITION}; times of tokens "
            f"{' and '.join(dict.fromkeys(known))} (library serving.csv), 16 bits; fastest way over links that are up, "
            f"{question.figures} figures; {provenance(revision)}"
        ),
        model=question.model,
        first=question.first,
        first_chip=chips[0],
        first_place=places[0],
        second=question.second,
        second_chip=chips[1],
        second_place=places[1],
        oneway_us=link.oneway_us,
        link_gbps=link.gbps,
        ways=tuple(rows),
    )


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _chips(world: World, sides: tuple[Side, ...]) -> tuple[str, ...]:
    return tuple(text(world["chips"].ids[side.chip]) for side in sides)


def _side(world: World, model: int, server: int, name: str, load: Load) -> Side:
    """The free chips of a server in groups as small a power of two as hold the model with its requests.

    Raises:
        InputError: its chip is not known, or no group that it has chips for holds the model.
    """
    chip = int(world.intended.resolve("servers", "chip")[server])
    if chip < 0:
        raise InputError.of(name, "has chips that the network does not know", "add them to the table chips")
    twin, free = world.intended, int(free_chips(world)[server])
    group = on_fewest(twin, model, chip, "online", load)
    needed = float(needed_gb(twin, np.array([model]), "online", group)[0])
    if group.chips <= free and needed <= float(world["chips"]["memory_gb"][chip]) * group.chips:
        return Side(chip, group.chips, free // group.chips)
    what = f"has {counted(free, 'free chip')}, too few to hold {text(world['models'].ids[model])} with its requests"
    raise InputError.of(name, what, "name a server with more, or ask for fewer requests at once")


def _link(world: World, servers: list[int], question: SplitQuestion) -> Link:
    """What lies between the sites of two servers.

    Raises:
        InputError: they are at one site, or there is no way.
    """
    start, goal = (int(world.intended.resolve("servers", "site")[server]) for server in servers)
    if start == goal:
        raise InputError.of("second", "stands at the site of the first", "name a server at another site")
    between = ways(world, np.array([start]), np.array([goal]), figures=question.figures)
    oneway_us = float(between.us(np.array([start]))[0, 0])
    if not math.isfinite(oneway_us):
        raise InputError.of("second", "cannot be reached from the first", "bring up links between them")
    path = np.array(between.path(start, 0), int)
    free = float(gb_over(world, path, 1).min()) * costs.BITS_PER_BYTE / S_PER_H
    return Link(question.link_gbps or free, oneway_us)


def _way(one: Served, sides: tuple[Side, ...]) -> Way:
    first, second = (side.chips * groups for side, groups in zip(sides, one.groups, strict=True))
    return Way(
        mode=one.mode,
        requests_per_s=one.requests_per_s,
        a_chip_per_s=one.requests_per_s / (first + second) if first + second else 0.0,
        first_token_ms=one.first_token_ms,
        second_token_ms=one.second_token_ms,
        token_ms=one.token_ms,
        first_chips=first,
        second_chips=second,
        chips_work_share=one.chips_share,
        link_work_share=one.link_share,
        layers=one.layers,
        batches=one.batches,
        held_by=one.held_by,
    )


def _headline(question: SplitQuestion, rows: list[Way], link: Link, places: list[str], *, synthetic: bool) -> str:
    best = next((one for one in rows if one.mode != "whole at each"), rows[0])
    whole = next(one for one in rows if one.mode == "whole at each")
    times = best.a_chip_per_s / whole.a_chip_per_s if whole.a_chip_per_s else math.inf
    note = " (synthetic)" if synthetic else ""
    return (
        f"{question.model} over {' and '.join(place or 'two sites' for place in dict.fromkeys(places))}, "
        f"{duration(link.oneway_us)} apart: with {best.mode} {best.requests_per_s:,.3g} requests/s, {times:.2f} times "
        f"as many a chip as whole at each; chips work {share(best.chips_work_share)} of the time (of "
        f"{share(TARGET_SHARE)} asked for by 2028), the link {share(best.link_work_share)}{note}"
    )
