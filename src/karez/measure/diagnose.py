"""What is wrong: causes that explain the open signals best, each with how sure it is and what else it could be.

Every cause whose trace touches an open signal is a hypothesis (`signatures`). It gains by each signal that it explains
and loses by each that should be there and is not, once that signal has had the time to come. The best is taken, what it
explains is set aside, and again, until nothing gains enough. How sure it is follows from how far it is ahead of the
others that would explain the same. Nothing wrong, and a cause that nobody knows, are among the answers.

Source: greedy explanation after Kompella et al., "IP fault localization via risk modeling", NSDI 2005; weights as
log-likelihood ratios, fitted on drawn incidents.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from karez.measure.passage import FEELINGS, NOBODY, Felt, Passage, Passing, Places, passage_of
from karez.measure.signatures import (
    WAYS,
    Hypothesis,
    Layout,
    Place,
    Trait,
    Weight,
    of_config,
    of_daemon,
    of_demand,
    of_device,
    of_duct,
    of_hole,
    of_link,
    of_site,
)
from karez.twin import Table, Twin, World
from karez.twin.memo import made_of
from karez.twin.table import Array, strings, text

# What a signal that is there adds, and what one that is missing takes, by how much the cause must leave it.
HIT: dict[Weight, float] = {"must": 4.0, "likely": 3.5, "may": 2.5}
# What one that no other cause leaves adds besides: what a device itself says that it is told.
SURE = {"differs": 4.0}
MISS: dict[Weight, float] = {"must": 8.0, "likely": 2.0, "may": 0.0}
# What users that should feel it add or take, all together at most.
FELT_HIT, FELT_MAY, FELT_MISS, FELT_MOST, FELT_WORST = 1.0, 0.5, 0.7, 6.0, 5.0
# What each beyond the most adds, and what each takes that feels the same and does not pass.
FELT_MORE, FELT_ELSE = 0.25, 0.25
# What a cause must gain to be one, and how many nats count as one in how sure it is.
LEAST_GAIN, TEMPERATURE = 1.0, 1.0
PRIOR = 2.0
# How long a signal may take to come after the first (s), by its kind; and where too little traffic passes to tell.
PATIENCE_S = {
    "delay": 1.0, "loss": 2.5, "large_loss": 3.0, "power": 2.5, "errors": 2.5, "drops": 2.5, "jitter": 3.0, "down": 1.0,
    "unadjacent": 5.0, "silence": 4.0, "cpu": 3.0, "imbalance": 3.5, "surge": 3.0, "late": 6.0, "clock": 2.0,
}  # fmt: skip
USERS_S, THIN_S = 2.5, 30.0
# How long a sign must have gone unexplained before it is told as a cause that nobody knows.
UNKNOWN_S = 10.0
UNKNOWN = "unknown"
# Of other causes, those at least so likely are told, and so many; of sites that users share, so many are looked at.
TOLD_SHARE, TOLD_OTHERS, MOST_SITES = 0.02, 3, 8
# Loss from this share on is taken for a blackout, and load from that share of a link's capacity on crowds it.
BLACKOUT_SHARE, CROWDED_SHARE = 0.85, 0.9
# How long a link that was full counts as crowded (s).
RECENT_S = 120.0
# How long before and after planned work its traces are put down to it (s).
EARLY_S, AFTER_S = 5.0, 60.0
# What follows from other causes, and is one itself only where there is no other.
CONSEQUENCES = frozenset({"link_full"})
# What moves traffic, what a link may show that too much was moved onto, and from what share of its capacity on.
SHIFTING = frozenset(
    {
        "link_cut", "link_cut_one_way", "link_silent", "link_silent_one_way", "link_flapping", "link_narrow",
        "duct_cut", "router_dead", "router_booted", "router_hung", "router_drain_left", "site_power_lost",
        "routing_dead", "routing_stuck", "bfd_dead", "cost_wrong", "drain_left", "area_wrong", "demand_surge",
        "site_flood",
    }
)  # fmt: skip
CROWDING = frozenset(
    {"link_loss", "link_loss_one_way", "link_slow", "link_slow_one_way", "link_jitter", "link_silent", "queue_small"}
)
LADEN_SHARE = 0.4
# Of what a link may show, what it shows only while there is too much on it.
SWINGING = CROWDING - {"link_silent"}
# A hole loses all that passes: who loses less than this part of what it passes with is no sign of one. Who is not seen
# to pass may have passed with this share.
SWALLOWED_SHARE, LEAST_PASSING = 0.5, 0.25
# What only users tell of, and from what share on (loads swing) a link at the router may be so full that this is felt.
FELT_ALONE = frozenset({"router_slow", "router_fabric_loss"})
CROWDED_NEAR_SHARE = 0.6
# A delay is as foreseen up to this factor, and so much more (us).
FORESEEN, FORESEEN_US = 1.5, 500.0
NOTHING: Mapping[str, float] = {}
# What loses packets, and whether it is large ones only.
OF_SIZE = {"link_loss": False, "link_loss_one_way": False, "link_large_loss": True}
# What a link that flaps is now and then.
BETWEEN_FLAPS = frozenset({"link_cut", "link_cut_one_way", "link_silent", "link_silent_one_way", "state_lies"})


class Cause(NamedTuple):
    """What is wrong: its kind and subject, since when, how sure (0..1), and the signals that speak for it.

    `sources` counts sources that share nothing; `size` is the largest of the signals; `others` has the next best.
    """

    kind: str
    subject: str
    since_s: float
    confidence: float
    evidence: tuple[str, ...]
    sources: int
    size: float
    others: tuple[tuple[str, str, float], ...]

    @property
    def id(self) -> str:
        """The id of the finding that it is."""
        return f"{self.kind}/{self.subject}"


class Sign(NamedTuple):
    """One open signal."""

    id: str
    source: str
    host: str
    since_s: float
    size: float


@dataclass(frozen=True)
class Scene:
    """All that is open: signs by trait, what users feel by demand and kind, and where demands pass."""

    world: World
    layout: Layout
    at_s: float
    signs: dict[Trait, list[Sign]]
    users: dict[tuple[str, str], Sign]
    passage: Passage
    is_worked_on: bool = False
    # The rows of which nothing is heard now: a cause that must show there cannot.
    still: frozenset[str] = frozenset()

    @cached_property
    def felt_since_s(self) -> Array:
        """Since when users feel what: float64[feelings, demands], inf where they do not."""
        found = np.full((len(FEELINGS), len(self.layout.demand_ends)), np.inf)
        for (demand, kind), sign in self.users.items():
            found[FEELINGS.index(kind), self.layout.demand_rows[demand]] = sign.since_s
        return found

    def passing(self, place: Place) -> Passing:
        """The demands that pass a place."""
        return self.passage.along(place, self.layout)


class Score(NamedTuple):
    """What a hypothesis gains, and the signs that it explains; `place` is its number among all places looked at."""

    hypothesis: Hypothesis
    place: int
    gain: float
    traits: frozenset[Trait]


def diagnose(
    world: World, *, at_s: float, busy: Collection[str] = (), foreseen_us: Mapping[str, float] = NOTHING
) -> tuple[Cause, ...]:
    """The causes of what is open, the surest first.

    Signals on rows in `busy` (being changed by ourselves) and on what is worked on as planned say nothing; nor does it
    that a demand is late which was to be, by so much (`foreseen_us`), after what we did.
    """
    scene = _scene(world, at_s, busy, foreseen_us)
    if scene is None:
        return ()
    whole, causes = scene, list[Cause]()
    places, scores = _scored(tuple(_hypotheses(scene)), scene)
    while scores and (scene.signs or scene.users):
        most = max(score.gain for score in scores)
        if most < LEAST_GAIN:
            break
        best = min((score for score in scores if score.gain == most), key=_rank)
        felt = _felt_by(best.hypothesis, scene)
        touched = places.touched(_feel(felt, scene.layout))
        cause = _cause(best, felt, [score for score in scores if _overlap(score, best, touched)], scene)
        # What goes both ways may be found once for each.
        if cause.id not in {known.id for known in causes}:
            causes.append(cause)
        scene = _without(scene, best.traits, felt)
        feels = places.felt(scene.felt_since_s)
        scores = [
            _score(score.hypothesis, score.place, feels, scene) if _depends(score, best, felt, touched) else score
            for score in scores
        ]
    first = tuple(cause for cause in causes if not _follows(cause, causes, whole))
    # What nobody can explain while something else is wrong may well follow from it; so may what follows from works.
    rest = () if scene.is_worked_on else tuple(causes)
    return first or rest or tuple(_unknown(scene))


def _follows(cause: Cause, causes: Iterable[Cause], scene: Scene) -> bool:
    """Whether a cause may be but a consequence: of flapping, or of traffic that another has moved to where it is."""
    if cause.kind in CONSEQUENCES:
        return True
    if cause.kind in BETWEEN_FLAPS and ("link_flapping", cause.subject) in {other[:2] for other in causes}:
        return True
    movers = [
        other for other in causes if other.kind in SHIFTING and other.since_s <= cause.since_s and other.id != cause.id
    ]
    if not movers:
        return False
    flapping = tuple(other.subject for other in movers if other.kind == "link_flapping")
    # Where traffic is now, and where it would be while links that flap are down.
    passages = [scene.passage, *([passage_of(scene.world, without=flapping)] if flapping else [])]
    if cause.kind in CROWDING and cause.subject in scene.layout.ends:
        # What flaps moves traffic to and fro, so that the load of this moment says nothing.
        may_swing = bool(flapping) and cause.kind in SWINGING
        if may_swing and any(passage.moved_onto(cause.subject) for passage in passages):
            return True
        return _is_laden(cause.subject, LADEN_SHARE, scene)
    if cause.kind in FELT_ALONE and {sign.id for sign in scene.users.values()}.issuperset(cause.evidence):
        links = scene.layout.links_at.get(scene.layout.site_of[cause.subject], ())
        laden = [link for link in links if _is_laden(link, CROWDED_NEAR_SHARE, scene)]
        return any(passage.moved_onto(link) for link in laden for passage in passages)
    return False


def _is_laden(link: str, share: float, scene: Scene) -> bool:
    """Whether a link, of which something is told, carries so much of its capacity now."""
    states = scene.world["link_states"]
    if not states.has(link):
        return False
    return float(states.cell(link, "load_gbps")) >= share * float(scene.world["links"].cell(link, "capacity_gbps"))


def _rank(score: Score) -> tuple[float, str, str, str]:
    one = score.hypothesis
    return (-score.gain, one.kind, one.subject, one.way + one.goal)


@made_of(
    "links", "sites", "equipment", "daemons", "configs", "demands", "link_support", "ducts",
)  # fmt: skip
def layout_of(intended: Twin) -> Layout:
    """How the intended network hangs together."""
    links, devices, daemons, configs, demands, support = (
        intended[name] for name in ("links", "equipment", "daemons", "configs", "demands", "link_support")
    )
    sites = {text(site) for site in intended["sites"].ids.tolist()}
    core = links.take(links["kind"] != b"access")
    ends = {link: (a, b) for link, a, b in _columns(core, "id", "a", "b") if a in sites and b in sites}
    at: dict[str, list[str]] = defaultdict(list)
    for link, (a, b) in ends.items():
        at[a].append(link)
        at[b].append(link)
    inside: dict[str, list[str]] = defaultdict(list)
    ducts: dict[str, list[str]] = defaultdict(list)
    for link, duct in _columns(support, "link", "duct"):
        if duct and link in ends:
            inside[duct].append(link)
            ducts[link].append(duct)
    stand: dict[str, list[str]] = defaultdict(list)
    router: dict[str, str] = {}
    site_of: dict[str, str] = {}
    for device, site, kind in _columns(devices, "id", "site", "kind"):
        stand[site].append(device)
        site_of[device] = site
        if kind == "router":
            router.setdefault(site, device)
    running: dict[str, list[str]] = defaultdict(list)
    for daemon, device in _columns(daemons, "id", "equipment"):
        running[device].append(daemon)
    return Layout(
        ends=ends,
        links_at=_frozen(at),
        links_in=_frozen(inside),
        ducts_of=_frozen(ducts),
        devices_at=_frozen(stand),
        router_at=router,
        site_of=site_of,
        device_of=dict(_columns(daemons, "id", "equipment")),
        daemons_on=_frozen(running),
        daemon_kind=dict(_columns(daemons, "id", "kind")),
        section={
            row: (device, link, section)
            for row, device, link, section in _columns(configs, "id", "equipment", "link", "section")
        },
        demand_ends={demand: (a, b) for demand, a, b in _columns(demands, "id", "a", "b")},
    )


def _columns(table: Table, *names: str) -> Iterator[tuple[Any, ...]]:
    return zip(*(strings(table[name]) for name in names), strict=True)


def _frozen(lists: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(values) for key, values in lists.items()}


def is_foreseen(size_us: float, foreseen_us: float) -> bool:
    """Whether a demand is late by about as much as was foreseen."""
    return size_us <= FORESEEN * foreseen_us + FORESEEN_US


def _scene(world: World, at_s: float, busy: Collection[str], foreseen_us: Mapping[str, float]) -> Scene | None:
    """What is open and counts; None where nothing is."""
    signals = world["signals"]
    rows = np.flatnonzero(signals["open"])
    if not len(rows):
        return None
    layout = layout_of(world.intended)
    worked_on = _worked_on(world, layout, at_s)
    still = worked_on | set(busy)
    signs: dict[Trait, list[Sign]] = defaultdict(list)
    users: dict[tuple[str, str], Sign] = {}
    for record in signals.records(rows):
        subject, kind, source = str(record["subject"]), str(record["kind"]), str(record["source"])
        is_felt = source == "user" and kind in FEELINGS
        # Of a demand that is no longer asked for nobody can say what it passes.
        if subject in still or (is_felt and subject not in layout.demand_rows):
            continue
        was_to_be = (source, kind) == ("user", "delay") and subject in foreseen_us
        if was_to_be and is_foreseen(float(record["size"]), foreseen_us[subject]):
            continue
        sign = Sign(str(record["id"]), source, str(record["host"]), float(record["since_s"]), float(record["size"]))
        if is_felt:
            users[subject, kind] = sign
        else:
            kind = "blackout" if kind == "loss" and sign.size >= BLACKOUT_SHARE else kind
            signs[Trait(kind, subject, "" if record["way"] == "none" else str(record["way"]))].append(sign)
    signs |= _crowded(world, signs, at_s)
    if not signs and not users:
        return None
    scene = Scene(world, layout, at_s, dict(signs), users, passage_of(world), bool(worked_on), frozenset(still))
    return _spared(scene, still) if still else scene


def _crowded(world: World, signs: dict[Trait, list[Sign]], at_s: float) -> dict[Trait, list[Sign]]:
    """That a link of which something is told is nearly full, or was just now: traffic that is lost comes and goes.

    One that drops and does not tell how fast it is may well be full.
    """
    states, signals = world["link_states"], world["signals"]
    links = sorted({trait.subject for trait in signs if states.has(trait.subject)})
    recent = (signals["kind"] == b"load") & (signals["open"] | (signals["since_s"] > at_s - RECENT_S))
    full = set(strings(signals["subject"][recent]))
    drops = {trait.subject for trait in signs if trait.kind == "drops"}
    found = {}
    for link in links:
        may_be_full = link in full or (link in drops and np.isnan(float(states.cell(link, "capacity_gbps"))))
        room, load = float(world["links"].cell(link, "capacity_gbps")), float(states.cell(link, "load_gbps"))
        if not may_be_full and load < CROWDED_SHARE * room:
            continue
        for trait in (Trait("load", link, way) for way in WAYS):
            if trait not in signs:
                found[trait] = [Sign(f"load/control/{link}", "control", "", at_s, load / room)]
    return found


def _worked_on(world: World, layout: Layout, at_s: float) -> set[str]:
    """All that planned work is on now, and what hangs on it."""
    works = world["works"]
    now = np.flatnonzero((works["from_s"] - EARLY_S <= at_s) & (at_s < works["to_s"] + AFTER_S))
    found: set[str] = set()
    for subject in strings(works["subject"][now]):
        found |= {subject, *layout.links_in.get(subject, ())}
        sites = {layout.site_of.get(subject, ""), subject} & set(layout.links_at)
        for site in sites:
            found |= {*layout.links_at[site], *layout.devices_at.get(site, ())}
    devices = found & set(layout.site_of)
    return found | {name for name, device in layout.device_of.items() if device in devices}


def _spared(scene: Scene, still: set[str]) -> Scene | None:
    """The scene without what users feel for what is being changed or worked on."""
    links, sites = scene.layout.ends, scene.layout.links_at
    place = Place(links=tuple(sorted(still & set(links))), sites=tuple(sorted(still & set(sites))))
    passed = set(scene.passage.looked_up(place, scene.layout).rows.tolist())
    users = {key: sign for key, sign in scene.users.items() if scene.layout.demand_rows[key[0]] not in passed}
    return replace(scene, users=users) if scene.signs or users else None


def _hypotheses(scene: Scene) -> Iterator[Hypothesis]:
    """All causes whose trace touches what is open."""
    layout, subjects = scene.layout, {trait.subject for trait in scene.signs}
    links = subjects & layout.ends.keys()
    ducts = {duct for link in links for duct in layout.ducts_of.get(link, ())}
    near = {end for link in links for end in layout.ends[link]}
    sites = near | {layout.site_of[device] for device in subjects & layout.site_of.keys()} | _felt_at(scene)
    ends = {layout.demand_ends[demand][1] for demand in subjects & layout.demand_ends.keys()}
    devices = {layout.router_at[site] for site in sites if site in layout.router_at}
    close = {layout.router_at[site] for site in near if site in layout.router_at}
    daemons = {
        name for device in close for name in layout.daemons_on.get(device, ())
    } | subjects & layout.device_of.keys()
    for make, names in (
        (of_link, links),
        (of_duct, ducts),
        (of_device, devices),
        (of_site, sites | ends),
        (of_daemon, daemons),
        (of_config, subjects & layout.section.keys()),
        (of_demand, subjects & layout.demand_ends.keys()),
    ):
        for name in sorted(names):
            yield from _made(layout, make, name)
    lost = {demand: sign.size for (demand, kind), sign in scene.users.items() if kind == "loss"}
    for device in sorted(devices):
        passing = scene.passing(Place(sites=(layout.site_of[device],))) if lost else NOBODY
        # Who does not pass the router is a sign only where the router itself is odd: it may have passed before.
        odd = Trait("imbalance", device) in scene.signs
        shares = np.full(len(layout.demand_ends), LEAST_PASSING if odd else np.inf)
        shares[passing.rows] = passing.shares
        least = 0.0 if odd else (PRIOR + LEAST_GAIN) / FELT_HIT
        goals = Counter(
            layout.demand_ends[demand][1]
            for demand, size in lost.items()
            if np.nan_to_num(size, nan=1.0) >= SWALLOWED_SHARE * shares[layout.demand_rows[demand]]
        )
        for goal in sorted(goal for goal, count in goals.items() if count >= least):
            yield from _made(layout, of_hole, device, goal)


def _made(layout: Layout, make: Callable[..., Iterator[Hypothesis]], *names: str) -> tuple[Hypothesis, ...]:
    """The hypotheses about something, which are the same each time."""
    key = (make.__name__, *names)
    if key not in layout.made:
        layout.made[key] = tuple(make(*names, layout))
    return layout.made[key]


def _felt_at(scene: Scene) -> set[str]:
    """The sites that most of the demands pass whose users feel something."""
    if not scene.users:
        return set()
    sites, at, rows = scene.passage.much
    counts = np.bincount(at, np.isfinite(scene.felt_since_s).any(axis=0)[rows], len(sites))
    return {sites[site] for site in np.argsort(-counts, kind="stable")[:MOST_SITES].tolist() if counts[site]}


def _scored(ones: tuple[Hypothesis, ...], scene: Scene) -> tuple[Places, list[Score]]:
    """All places that hypotheses are about, and the hypotheses with what they gain."""
    known: dict[Place, int] = {}
    at = [known.setdefault(one.place, len(known)) for one in ones]
    places = Places.of(scene.passing(place) for place in known)
    feels = places.felt(scene.felt_since_s)
    return places, [_score(one, place, feels, scene) for one, place in zip(ones, at, strict=True)]


def _score(one: Hypothesis, place: int, feels: Felt, scene: Scene) -> Score:
    seen = frozenset(scene.signs.keys() & one.traits.keys())
    hits = gain = sum(HIT[one.traits[trait]] + SURE.get(trait.kind, 0.0) for trait in seen)
    users_gain, since_s, unfelt = 0.0, math.inf, 0.0
    for kind, feeling in enumerate(FEELINGS):
        if feeling in one.felt:
            users_gain += FELT_HIT * feels.shares[kind][place]
            users_gain -= FELT_ELSE * (feels.everywhere[kind] - feels.counts[kind][place])
            unfelt += FELT_MISS * feels.unfelt[kind][place]
        elif feeling in one.may_feel:
            users_gain += FELT_MAY * feels.shares[kind][place]
        else:
            continue
        since_s = min(since_s, feels.since_s[kind][place])
    gain += min(users_gain, FELT_MOST) + FELT_MORE * max(0.0, users_gain - FELT_MOST)
    if gain < PRIOR + LEAST_GAIN or not (seen or since_s < math.inf):
        return Score(one, place, -math.inf, frozenset())
    age_s = scene.at_s - min(since_s, *(sign.since_s for trait in seen for sign in scene.signs[trait]), math.inf)
    missing = [trait for trait in one.asked if trait not in scene.signs and trait.subject not in scene.still]
    gain -= sum(MISS[one.traits[trait]] * _ripe(trait, age_s, scene) for trait in missing)
    if one.musts and not any(trait in scene.signs or trait.subject in scene.still for trait in one.musts):
        # Signs that a cause may leave say nothing for it where none is that it must leave.
        gain -= hits * min(_ripe(trait, age_s, scene) for trait in one.musts)
    if one.kind in OF_SIZE:
        gain -= sum(MISS["likely"] for trait in seen if _only_large(trait, scene) is (not OF_SIZE[one.kind]))
    gain -= min(unfelt, FELT_WORST) * min(1.0, age_s / USERS_S)
    return Score(one, place, gain - PRIOR, seen)


def _felt_by(one: Hypothesis, scene: Scene) -> tuple[tuple[str, str], ...]:
    """What users feel that a hypothesis explains, by demand and kind."""
    passing, feels = set(scene.passing(one.place).rows.tolist()), {*one.felt, *one.may_feel}
    rows = scene.layout.demand_rows
    return tuple((demand, kind) for demand, kind in scene.users if rows[demand] in passing and kind in feels)


def _feel(felt: Iterable[tuple[str, str]], layout: Layout) -> Array:
    """Which users that is: bool[feelings, demands]."""
    found = np.zeros((len(FEELINGS), len(layout.demand_ends)), bool)
    for demand, kind in felt:
        found[FEELINGS.index(kind), layout.demand_rows[demand]] = True
    return found


def _only_large(trait: Trait, scene: Scene) -> bool | None:
    """Whether probes say that of the packets that a link loses all are large; None where they do not say."""
    if trait.kind != "loss" or trait._replace(kind="large_loss") not in scene.signs:
        return None
    return all(sign.source != "probe" for sign in scene.signs[trait])


def _ripe(trait: Trait, age_s: float, scene: Scene) -> float:
    """How far a signal would have come by now, if it was to come (0..1)."""
    patience_s = PATIENCE_S.get(trait.kind, 1.0)
    if trait.kind == "loss" and trait.way and not _busy(trait, scene):
        patience_s = THIN_S
    return min(1.0, age_s / patience_s)


def _busy(trait: Trait, scene: Scene) -> bool:
    """Whether traffic passes a link in this direction, whose loss counters would tell."""
    return len(scene.passing(Place(links=(trait.subject,), way=trait.way)).rows) > 0


def _cause(best: Score, felt: Iterable[tuple[str, str]], overlapping: Iterable[Score], scene: Scene) -> Cause:
    """The best of the scores as a cause, as sure as it is ahead of those that would explain the same."""
    rivals = sorted((score for score in overlapping if score is not best), key=_rank)
    weights = [math.exp(min(0.0, (score.gain - best.gain) / TEMPERATURE)) for score in rivals]
    whole = 1.0 + sum(weights) + math.exp(-best.gain / TEMPERATURE)
    signs = [sign for trait in best.traits for sign in scene.signs[trait]] + [scene.users[key] for key in felt]
    sizes = [sign.size for sign in signs if math.isfinite(sign.size)]
    others = tuple(
        (score.hypothesis.kind, score.hypothesis.subject, round(weight / whole, 4))
        for score, weight in zip(rivals, weights, strict=True)
        if weight / whole >= TOLD_SHARE
    )
    return Cause(
        kind=best.hypothesis.kind,
        subject=best.hypothesis.subject,
        since_s=min(sign.since_s for sign in signs),
        confidence=round(1.0 / whole, 4),
        evidence=tuple(sorted(sign.id for sign in signs)),
        sources=_sources(signs),
        size=max(sizes, default=math.nan),
        others=others[:TOLD_OTHERS],
    )


def _depends(score: Score, best: Score, felt: tuple[tuple[str, str], ...], touched: list[list[bool]]) -> bool:
    """Whether what a hypothesis gains may change once what `best` explains, `felt` among it, is set aside."""
    one = score.hypothesis
    if felt and (one.felt or _shares_users(score, touched)):
        return True
    return not one.traits.keys().isdisjoint(best.traits)


def _overlap(score: Score, best: Score, touched: list[list[bool]]) -> bool:
    """Whether two hypotheses would explain the same signal, so that one is true rather than the other."""
    if score.gain == -math.inf:
        return False
    if not best.traits.isdisjoint(score.traits):
        return True
    return not best.traits and _shares_users(score, touched)


def _shares_users(score: Score, touched: list[list[bool]]) -> bool:
    """Whether a hypothesis would explain something of what these users feel."""
    one = score.hypothesis
    return any(
        touched[kind][score.place]
        for kind, feeling in enumerate(FEELINGS)
        if feeling in one.felt or feeling in one.may_feel
    )


def _sources(signs: Iterable[Sign]) -> int:
    """How many sources there are that share nothing: kinds of telemetry, and hosts of probes."""
    return len({(sign.source, sign.host if sign.source == "probe" else "") for sign in signs})


def _without(scene: Scene, traits: Collection[Trait], felt: Collection[tuple[str, str]]) -> Scene:
    signs = {trait: signs for trait, signs in scene.signs.items() if trait not in traits}
    users = {key: sign for key, sign in scene.users.items() if key not in felt}
    return replace(scene, signs=signs, users=users)


def _unknown(scene: Scene) -> Iterator[Cause]:
    """What has gone unexplained for long, one cause a row."""
    left: dict[str, list[Sign]] = defaultdict(list)
    for trait, signs in scene.signs.items():
        left[trait.subject] += signs
    for subject, signs in sorted(left.items()):
        since_s = min(sign.since_s for sign in signs)
        if scene.at_s - since_s >= UNKNOWN_S:
            evidence = tuple(sorted(sign.id for sign in signs))
            yield Cause(UNKNOWN, subject, since_s, 0.5, evidence, _sources(signs), math.nan, ())
