"""Which edge zones would serve an application in an area, before anything is deployed.

After CAMARA's Optimal Edge Discovery, which knows only zones that are there: here also those that are on order or could
be built. What the answer calls id, name, edge_status, provider and region are CAMARA's edgeCloudZoneId and so on; its
`camara` has the feasible zones in that shape, with Karez's own words under `x-karez-`. CAMARA's ids are UUIDs; ours
are those of the sites, as the network has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from karez.errors import InputError, Problem
from karez.measure.circles import INFERENCE
from karez.measure.zones import (
    Discovery,
    EdgeStatus,
    Kind,
    Profile,
    Status,
    Zone,
    coming,
    discover,
    stations_around,
    stations_of,
)
from karez.operations import Answer, DiscoverQuestion
from karez.operations.networks import DETAIL, counted, duration, load_living, now_s, provenance, read_plan, share
from karez.operations.policy import packs_of
from karez.plan.check import check
from karez.plan.kinds import RETIRABLE, TAKES_OUT
from karez.plan.plan import Plan
from karez.plan.sites import orders
from karez.twin import Table, Twin, World, store
from karez.twin.geo import great_circle_km
from karez.twin.store import Revision
from karez.twin.table import Array, text, texts

SHOWN_NAMES = 3
# How like the word (0..1) a name must be to be told instead.
LIKENESS = 0.4
COMPUTES = text(INFERENCE)
# The fields of a zone as CAMARA writes them.
CAMARA = {
    "id": "edgeCloudZoneId",
    "name": "edgeCloudZoneName",
    "edge_status": "edgeCloudZoneStatus",
    "provider": "edgeCloudProvider",
    "region": "edgeCloudRegion",
    "status": "x-karez-status",
    "in_service_at_s": "x-karez-inServiceAtS",
}


class EdgeCloudZone(msgspec.Struct, frozen=True, kw_only=True, rename=CAMARA):
    """A feasible zone in CAMARA's shape."""

    id: str
    name: str
    edge_status: EdgeStatus
    provider: str
    region: str
    status: Status
    in_service_at_s: float | None


class Camara(msgspec.Struct, frozen=True, rename="camel"):
    """The feasible zones that are shown, the best first."""

    edge_cloud_zones: tuple[EdgeCloudZone, ...]


class DiscoverAnswer(Answer, frozen=True, kw_only=True):
    """The zones that are shown, feasible ones first and then by median delay; and the number of all by status.

    Delays are one way from the area's stations towards the zone, at low, typical and high figures.
    """

    area: str
    stations: int
    budget_us: float
    served_share: float
    chips: int
    data_class: str
    kinds: tuple[Kind, ...]
    zones: tuple[Zone, ...]
    camara: Annotated[Camara, DETAIL]


def run(question: DiscoverQuestion) -> DiscoverAnswer:
    """The zones of the network's newest revision, as it is today and as it and the plan say it will be.

    Raises:
        InputError: the network or plan cannot be read, the plan is of another network or holds no more, the metro or
            domain is not there, or no station is in the area.
    """
    _require_one_area(question)
    plan = read_plan(question.plan) if question.plan else None
    whole, revision = load_living(question.network)
    at_s = now_s()
    world = World(whole.intended.at(at_s), whole.actual)
    stations = _stations(world.intended, question)
    on_order = {} if plan is None else _on_order(plan, whole, question, at_s)
    world = World(_without_retired(world.intended, plan), world.actual) if plan else world
    profile = Profile(
        budget_us=question.budget_us,
        served_share=question.served_share,
        chips=question.chips,
        data_class=question.data_class,
        domain=question.domain,
    )
    planned = _earliest(coming(whole.intended, at_s), on_order)
    found = discover(
        world, stations, profile, planned=planned, at_s=at_s, shown=question.shown, packs=packs_of(question.packs)
    )
    area = _area(world.intended, question)
    return DiscoverAnswer(
        headline=_headline(found, area, len(stations), question, revision),
        citation=_citation(question, plan, revision),
        meets_target=any(kind.feasible for kind in found.kinds),
        area=area,
        stations=len(stations),
        budget_us=question.budget_us,
        served_share=question.served_share,
        chips=question.chips,
        data_class=question.data_class,
        kinds=found.kinds,
        zones=found.zones,
        camara=Camara(tuple(_in_camara(zone) for zone in found.zones if zone.feasible)),
    )


def _require_one_area(question: DiscoverQuestion) -> None:
    """Return only if there is one area, and all of it was given."""
    fix = "give --metro, or both --lon and --lat"
    told = [value is not None for value in (question.lon, question.lat)]
    if question.metro and (any(told) or question.radius_km != DiscoverQuestion(network="").radius_km):
        raise InputError.of("metro", "is given beside lon, lat or radius-km, and so there are two areas", fix)
    if not question.metro and not all(told):
        lacks = "is half a position" if any(told) else "is not given"
        raise InputError.of("area", lacks, fix)


def _stations(twin: Twin, question: DiscoverQuestion) -> Array:
    """The rows of the stations of the area.

    Raises:
        InputError: the metro or the domain is not there, or no station is in the area.
    """
    problems = [
        Problem(where, f"{given!r} is no id of a {where}", _fix(twin[f"{where}s"], given))
        for where, given in (("metro", question.metro), ("domain", question.domain))
        if given and not twin[f"{where}s"].has(given)
    ]
    if problems:
        raise InputError(problems)
    if question.metro:
        found = stations_of(twin, question.metro)
    else:
        found = stations_around(twin, _told(question.lon), _told(question.lat), question.radius_km)
    if not len(found):
        raise InputError.of("area", f"no station is in {_area(twin, question)}", _nearest(twin, question))
    return found


def _told(value: float | None) -> float:
    assert value is not None
    return value


def _fix(table: Table, given: str) -> str:
    """What to give instead: the ids whose id or name (where they have one) is most alike."""
    kind, column = table.name.removesuffix("s"), "name" if "name" in table.columns else "entity"
    words = ((word, text(row)) for each in ("id", column) for word, row in zip(table[each], table.ids, strict=True))
    by_word = {text(word).lower(): row for word, row in words if word}
    near = list(
        dict.fromkeys(by_word[word] for word in get_close_matches(given.lower(), by_word, SHOWN_NAMES, LIKENESS))
    )
    told = [f"{row} ({name})" if (name := str(table.cell(row, column))) else row for row in near]
    return f"give the id of one, such as {', '.join(told)}" if told else f"give an id that the table {kind}s has"


def _nearest(twin: Twin, question: DiscoverQuestion) -> str:
    """What to do where no station is in the area."""
    stations = twin["stations"]
    if question.metro or not len(stations):
        return "choose another area, or add stations to the table stations"
    lon, lat = np.array(question.lon), np.array(question.lat)
    far_km = great_circle_km(stations["lon"], stations["lat"], lon, lat)
    best = int(np.argmin(far_km))
    return f"choose another position or radius: station {text(stations.ids[best])} is {far_km[best]:,.0f} km away"


def _area(twin: Twin, question: DiscoverQuestion) -> str:
    """The area in words."""
    if question.metro:
        return str(twin["metros"].cell(question.metro, "name")) or question.metro
    return f"{question.radius_km:g} km around lon {question.lon:g}, lat {question.lat:g}"


def _on_order(plan: Plan, whole: World, question: DiscoverQuestion, at_s: float) -> dict[str, float]:
    """The sites that a plan brings compute to, and the first second at which it is there.

    Raises:
        InputError: the plan was made from none of the network's revisions, holds no more, or builds nothing.
    """
    where, anew = question.plan, "make the plan anew with karez plan coverage, or leave it out"
    if plan.revision not in {each.digest for each in store.revisions(Path(question.network))}:
        raise InputError.of(where, f"was made from digest {plan.revision[:12]}, which is of another network", anew)
    # What its price rests on does not matter here.
    problems = check(msgspec.structs.replace(plan, planner=""), whole, at_s=at_s)
    if problems:
        raise InputError(problems)
    ordered = orders(plan)
    if plan.actions and not ordered and not all(action.kind in TAKES_OUT for action in plan.actions):
        raise InputError.of(where, "orders no equipment", "give a plan that karez plan coverage wrote, or leave it out")
    return {
        action.subject: float(new.values.get("valid_from_s", action.ends_at_s))
        for action in ordered
        for new in action.adds
        if new.values.get("kind") == COMPUTES
    }


def _without_retired(twin: Twin, plan: Plan) -> Twin:
    """The twin without what a plan takes out of service: a zone that it closes is a possible one at most."""
    for table in RETIRABLE:
        gone = [action.subject for action in plan.actions if action.kind == f"retire_{table}"]
        if gone:
            twin = twin.replace(twin[table].take(~np.isin(twin[table].ids, texts(gone))))
    return twin


def _earliest(*each: Mapping[str, float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for planned in each:
        for site, at_s in planned.items():
            found[site] = min(at_s, found.get(site, at_s))
    return found


def _in_camara(zone: Zone) -> EdgeCloudZone:
    return EdgeCloudZone(**{name: getattr(zone, name) for name in CAMARA})


def _headline(found: Discovery, area: str, stations: int, question: DiscoverQuestion, revision: Revision) -> str:
    note = "; synthetic" if revision.synthetic else ""
    within = f"{share(question.served_share)} of {counted(stations, 'station')} within {duration(question.budget_us)}"
    if not any(kind.feasible for kind in found.kinds):
        return f"No zone is feasible for {area}, to serve {within} one way: {_blame(found)}{note}"
    numbers = ", ".join(f"{kind.feasible:,} {kind.status}" for kind in found.kinds if kind.feasible)
    best = found.zones[0]
    return (
        f"{numbers} feasible for {area}, to serve {within} one way; best: {best.name} ({best.status}, median "
        f"{duration(best.median_us)}{note})"
    )


def _blame(found: Discovery) -> str:
    """Why no zone is feasible, by the one that is nearest."""
    if not found.zones:
        return "there is no compute, and no core site to build it at"
    nearest = found.zones[0]
    return f"the nearest is {nearest.name} ({nearest.status}), {nearest.why_not}"


def _citation(question: DiscoverQuestion, plan: Plan | None, revision: Revision) -> str:
    rules = f"rules of karez.measure.policy for {question.data_class} data"
    law = "law left out" if question.data_class == "none" else rules
    of_plan = f"; plan {plan.id} by {plan.planner}" if plan else ""
    return (
        f"delay < {question.budget_us:g} us, one way, from station to zone, optical layer, without the access before "
        f"the station; each station counts one; low, typical and high figures of the latency library, feasible by "
        f"typical; {law}; candidates are core sites without compute; after CAMARA Optimal Edge Discovery"
        f"{of_plan}; {provenance(revision)}"
    )
