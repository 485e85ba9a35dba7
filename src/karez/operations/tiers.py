"""The tiers of 1, 5 and 20 ms, and how the backbone compares with what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Generic, TypeVar

import msgspec

from karez.errors import InputError
from karez.measure.circles import Shares
from karez.measure.delay import Figures
from karez.measure.hubs import (
    CITY_PEOPLE,
    CITY_US,
    FARTHEST_KM,
    HUB_US,
    METRO_US,
    Between,
    Check,
    Cities,
    Hub,
    HubCities,
    Pair,
    Route,
    Tied,
    Tiers,
    fitted_factor,
    joined,
    measured,
    tied,
    tiers,
    ways,
)
from karez.operations import Answer, TiersQuestion
from karez.operations.networks import DETAIL, duration, load, now_s, provenance, share
from karez.operations.networks import counted as number
from karez.twin.store import Revision
from karez.units import US_PER_MS

FEWEST_HUBS = 2

T = TypeVar("T")


class Ends(msgspec.Struct, Generic[T], frozen=True):
    """The same at the low, typical and high figures of the latency library."""

    low: T
    typical: T
    high: T


class TiersAnswer(Answer, frozen=True, kw_only=True):
    """The three tiers, their hubs and pairs, and the calibration; `backbone_factor` is on the length of its fibre.

    `cities` is how many large cities there are in all, `km_a_link` the mean fibre between devices on the ways between
    hubs, `regenerated_links` how many links are longer than a wave reaches, `left_out` the hubs that are too far from
    any core site. `metro_1ms` is None where the network has no access points.
    """

    fitted: bool
    backbone_factor: float
    km_a_link: float
    regenerated_links: int
    cities: int
    unjoined_pairs: int
    metro_1ms: Ends[Shares] | None = None
    hub_to_city_5ms: Ends[Cities]
    hub_to_city_5ms_round_trip: Ends[Cities]
    hub_to_hub_20ms: Ends[Between]
    calibration: tuple[Check, ...]
    routes: tuple[Route, ...]
    hubs: tuple[HubCities, ...]
    hubs_low: Annotated[tuple[HubCities, ...], DETAIL]
    hubs_high: Annotated[tuple[HubCities, ...], DETAIL]
    left_out: tuple[Hub, ...]
    pairs: tuple[Pair, ...]


def run(question: TiersQuestion) -> TiersAnswer:
    """The tiers of the network's newest revision, as it is today.

    Raises:
        InputError: the network cannot be read, has fewer than two hubs that are joined, or cannot be fitted.
    """
    world, revision = load(question.network)
    twin = world.intended.at(now_s())
    nearest = tied(twin)
    if len(nearest.near) < FEWEST_HUBS:
        raise _too_few(question.network, nearest)
    found = ways(twin)
    if not joined(found, nearest.sites):
        what = f"has {len(nearest.near)} hubs, of which no two are joined both ways by optical links"
        raise InputError.of(question.network, what, "check its links: karez info lists every problem")
    factor = fitted_factor(found, nearest.sites) if question.fit else 1.0
    if factor is None:
        what = "no factor on the length of backbone links gives the mean between hubs that was measured"
        raise InputError.of(question.network, what, "ask without --fit, or check kinds and lengths of its links")
    answer = tiers(twin, nearest, found, backbone_factor=factor, fitted=question.fit)
    some = [pair for pair in answer.pairs if pair.links]
    return TiersAnswer(
        headline=_headline(answer, revision, fitted=question.fit),
        citation=_citation(answer, nearest, revision, fitted=question.fit),
        fitted=question.fit,
        backbone_factor=factor,
        km_a_link=sum(pair.length_km for pair in some) / sum(pair.links for pair in some),
        regenerated_links=answer.regenerated,
        cities=answer.city_count,
        unjoined_pairs=answer.unjoined_pairs,
        metro_1ms=None if answer.metro["typical"].pooled_share is None else _ends(answer.metro),
        hub_to_city_5ms=_ends(answer.cities),
        hub_to_city_5ms_round_trip=_ends(answer.cities_round_trip),
        hub_to_hub_20ms=_ends(answer.between),
        calibration=answer.checks,
        routes=answer.routes,
        hubs=answer.hubs["typical"],
        hubs_low=answer.hubs["low"],
        hubs_high=answer.hubs["high"],
        left_out=nearest.far,
        pairs=answer.pairs,
    )


def _ends(found: Mapping[Figures, T]) -> Ends[T]:
    return Ends(found["low"], found["typical"], found["high"])


def _too_few(network: str, nearest: Tied) -> InputError:
    away = [hub for hub in nearest.far if hub.distance_km < math.inf]
    following = min(away, key=lambda hub: hub.distance_km, default=None)
    near = f"; the next is {following.cluster}, {following.distance_km:,.0f} km away" if following else ""
    what = f"has {number(len(nearest.near), 'national hub')} within {FARTHEST_KM:g} km of a core site{near}"
    fix = "the tiers need two: ask circles for the metro alone, or give its sites of kind core their true positions"
    return InputError.of(network, what, fix)


def _headline(found: Tiers, revision: Revision, *, fitted: bool) -> str:
    between, goals = found.between["typical"], measured()
    synthetic = ["synthetic"] if revision.synthetic else []
    factor = [f"backbone fibre x {found.backbone_factor:.3f} to fit the mean"] if fitted else []
    note = f" ({'; '.join([*factor, *synthetic])})" if factor or synthetic else ""
    unjoined = f"; {number(found.unjoined_pairs, 'pair')} not joined" if found.unjoined_pairs else ""
    cities, metro = found.cities["typical"], found.metro["typical"]
    circle = (
        "" if metro.pooled_share is None else f", {share(metro.pooled_share)} of access points within 1 ms of compute"
    )
    return (
        f"{share(between.pairs_share)} of {number(len(found.pairs), 'pair')} of hubs are within 20 ms one way, mean "
        f"{duration(between.mean_us)}, at most {duration(between.max_us)} (measured: {goals['optical mean']:g} and "
        f"{goals['optical maximum']:g} ms){unjoined}; {share(cities.metros_share)} of metros are within 5 ms of a hub"
        f"{circle}{note}"
    )


def _citation(found: Tiers, nearest: Tied, revision: Revision, *, fitted: bool) -> str:
    farthest_km = max(hub.distance_km for hub in nearest.near)
    fit = (
        f"length of backbone fibre x {found.backbone_factor:.6g} so that the typical optical mean is as measured, "
        "nothing else fitted"
        if fitted
        else "nothing fitted"
    )
    all_hubs = len(nearest.near) + len(nearest.far)
    fewer = " (measured were all)" if nearest.far else ""
    return (
        f"{len(nearest.near)} of {all_hubs} hub clusters{fewer} at their nearest core sites "
        f"(up to {farthest_km:.0f} km away, not counted); "
        f"delay < {METRO_US / US_PER_MS:g} / {CITY_US / US_PER_MS:g} / {HUB_US / US_PER_MS:g} ms, one way in the "
        "slower direction (1 ms: C2, towards the best compute site, weight access_point, pooled), optical layer; "
        f"cities: metros of {CITY_PEOPLE:,.0f} residents or more; {fit}; the IP means are no test, since the "
        "library's IP rows are differences of these very figures, and what a straight line passes too proves little; "
        f"measured: CAICT 2024Q1; low, typical and high figures of the latency library; {provenance(revision)}"
    )
