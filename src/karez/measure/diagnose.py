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
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from karez.measure.routes import Crossing, Routed, Routes, case_of, meant_up, routes
from karez.measure.signatures import (
    WAYS,
    Hypothesis,
    Layout,
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
from karez.twin.table import strings, text

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
# Below this share a demand need not feel what is wrong with what it passes.
FEELS_SHARE = 0.3
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
# A delay is as foreseen up to this factor, and so much more (us).
FORESEEN, FORESEEN_US = 1.5, 500.0
NOTHING: Mapping[str, float] = {}
# What loses packets, and whether it is large ones only.
OF_SIZE = {"link_loss": False, "link_loss_one_way": False, "link_large_loss": True}
# What a link that flaps is now and then.
BETWEEN_FLAPS = frozenset({"link_cut", "link_cut_one_way", "link_silent", "link_silent_one_way", "state_lies"})
FEELINGS = ("loss", "delay")


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


# By link and way ("" and a site), the demands that pass, and the share of each.
Passed = dict[tuple[str, str], dict[str, float]]
# Links, way, sites, demands and goal of a hypothesis: what says which demands pass what it is about.
Place = tuple[tuple[str, ...], str, tuple[str, ...], tuple[str, ...], str]


class Passing(NamedTuple):
    """The demands that pass what a hypothesis is about, the share of each that does, and those of which much does."""

    shares: dict[str, float]
    much: tuple[tuple[str, float], ...]


NOBODY = Passing({}, ())


@dataclass(frozen=True, eq=False)
class Passage:
    """Where demands pass, as things are and as they should be; `kept` has what was asked of it before."""

    passed: tuple[Passed, ...]
    kept: dict[Place, Passing] = field(default_factory=dict)

    def along(self, one: Hypothesis, layout: Layout) -> Passing:
        """The demands that pass what a hypothesis is about."""
        place = one.links, one.way, one.sites, one.demands, one.goal
        if place not in self.kept:
            shares = self.shares_along(one, layout)
            much = tuple((demand, share) for demand, share in shares.items() if share >= FEELS_SHARE)
            self.kept[place] = Passing(shares, much)
        return self.kept[place]

    def shares_along(self, one: Hypothesis, layout: Layout) -> dict[str, float]:
        """The same, looked up anew and not kept: the share of each demand that passes."""
        places = [(link, way) for link in one.links for way in ([one.way] if one.way else WAYS)]
        places += [(site, "") for site in one.sites]
        found = [passed[place] for passed in self.passed for place in places if place in passed]
        shares = dict(found[0]) if found else {}
        for more in found[1:]:
            shares |= {demand: max(share, shares.get(demand, 0.0)) for demand, share in more.items()}
        shares |= dict.fromkeys(one.demands, 1.0)
        if one.goal:
            shares = {name: share for name, share in shares.items() if layout.demand_ends[name][1] == one.goal}
        return shares


# Where demands pass, kept with the routing that it follows from; and that of now beside that of what should be.
_PASSED: WeakKeyDictionary[Routed, Passed] = WeakKeyDictionary()
_PASSAGES: WeakKeyDictionary[Routed, WeakKeyDictionary[Routed, Passage]] = WeakKeyDictionary()


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
    def feelings(self) -> dict[str, tuple[str, ...]]:
        """What users feel, by demand."""
        found: dict[str, tuple[str, ...]] = {}
        for demand, kind in self.users:
            found[demand] = (*found.get(demand, ()), kind)
        return found

    @cached_property
    def feel(self) -> Counter[str]:
        """How many users feel what."""
        return Counter(kind for _, kind in self.users)

    def passing(self, one: Hypothesis) -> Passing:
        """The demands that pass what a hypothesis is about."""
        return self.passage.along(one, self.layout)


class Score(NamedTuple):
    """What a hypothesis gains, and what it explains."""

    hypothesis: Hypothesis
    gain: float
    traits: tuple[Trait, ...]
    felt: tuple[tuple[str, str], ...]


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
    scores = [_score(one, scene) for one in _hypotheses(scene)]
    causes: list[Cause] = []
    while scene.signs or scene.users:
        scores.sort(key=_rank)
        if not scores or scores[0].gain < LEAST_GAIN:
            break
        best, cause = scores[0], _cause(scores, scene)
        # What goes both ways may be found once for each.
        if cause.id not in {known.id for known in causes}:
            causes.append(cause)
        scene = _without(scene, best)
        scores = [_score(one.hypothesis, scene) if _depends(one.hypothesis, best) else one for one in scores]
    first = tuple(cause for cause in causes if not _follows(cause, causes, world))
    # What nobody can explain while something else is wrong may well follow from it; so may what follows from works.
    rest = () if scene.is_worked_on else tuple(causes)
    return first or rest or tuple(_unknown(scene))


def _follows(cause: Cause, causes: Iterable[Cause], world: World) -> bool:
    """Whether a cause may be but a consequence: of flapping, or a link in trouble once traffic was moved onto it."""
    if cause.kind in CONSEQUENCES:
        return True
    if cause.kind in BETWEEN_FLAPS and ("link_flapping", cause.subject) in {other[:2] for other in causes}:
        return True
    states = world["link_states"]
    if cause.kind not in CROWDING or not states.has(cause.subject):
        return False
    load, room = (
        float(states.cell(cause.subject, "load_gbps")),
        float(world["links"].cell(cause.subject, "capacity_gbps")),
    )
    moved = any(other.kind in SHIFTING and other.since_s <= cause.since_s for other in causes)
    return moved and load >= LADEN_SHARE * room


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
        if subject in still:
            continue
        was_to_be = (source, kind) == ("user", "delay") and subject in foreseen_us
        if was_to_be and is_foreseen(float(record["size"]), foreseen_us[subject]):
            continue
        sign = Sign(str(record["id"]), source, str(record["host"]), float(record["since_s"]), float(record["size"]))
        if source == "user" and kind in FEELINGS:
            users[subject, kind] = sign
        else:
            kind = "blackout" if kind == "loss" and sign.size >= BLACKOUT_SHARE else kind
            signs[Trait(kind, subject, "" if record["way"] == "none" else str(record["way"]))].append(sign)
    signs |= _crowded(world, signs, at_s)
    if not signs and not users:
        return None
    scene = Scene(world, layout, at_s, dict(signs), users, _passage(world), bool(worked_on), frozenset(still))
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


def _passage(world: World) -> Passage:
    """Where demands pass now, and where they would if nothing were wrong: what is cut has been left already."""
    now = case_of(world)
    meant = replace(now, up=meant_up(world), drained=world["links"]["drained"], cost=world["links"]["cost"])
    is_meant = all((getattr(meant, name) == getattr(now, name)).all() for name in ("up", "drained", "cost"))
    cases = [routes(world, case) for case in ([now] if is_meant else [now, meant])]
    beside = _PASSAGES.setdefault(cases[0].routed, WeakKeyDictionary())
    if (routed := cases[-1].routed) not in beside:
        beside[routed] = Passage(tuple(_passed(world, case) for case in cases))
    return beside[routed]


def _passed(world: World, found: Routes) -> Passed:
    """By link and way, and by site, the share of each demand that passes; kept, as routes seldom change."""
    if found.routed not in _PASSED:
        _PASSED[found.routed] = _sorted_out(world, found.crossing())
    return _PASSED[found.routed]


def _sorted_out(world: World, crossing: Crossing) -> Passed:
    links, sites, demands = (world[name].ids for name in ("links", "sites", "demands"))
    passed: Passed = defaultdict(dict)
    rows = zip(
        crossing.demand.tolist(), crossing.link.tolist(), crossing.back.tolist(), crossing.share.tolist(), strict=True
    )
    for demand, link, back, share in rows:
        here = passed[text(links[link]), WAYS[back]]
        name = text(demands[demand])
        here[name] = max(share, here.get(name, 0.0))
    for demand, site, share in zip(
        crossing.site_demand.tolist(), crossing.site.tolist(), crossing.site_share.tolist(), strict=True
    ):
        here = passed[text(sites[site]), ""]
        name = text(demands[demand])
        here[name] = max(share, here.get(name, 0.0))
    return dict(passed)


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
    one = Hypothesis("", "", links=tuple(sorted(still & set(links))), sites=tuple(sorted(still & set(sites))))
    passed = scene.passage.shares_along(one, scene.layout)
    users = {key: sign for key, sign in scene.users.items() if key[0] not in passed}
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
    lost = {demand: layout.demand_ends[demand][1] for demand, kind in scene.users if kind == "loss"}
    for device in sorted(devices):
        # Too few who lose what passes here and leaves there speak for no hole, unless the device itself is odd.
        passing = scene.passing(Hypothesis("", "", sites=(layout.site_of[device],))).shares if lost else {}
        least = 0.0 if Trait("imbalance", device) in scene.signs else (PRIOR + LEAST_GAIN) / FELT_HIT
        goals = Counter(lost.values() if not least else (goal for demand, goal in lost.items() if demand in passing))
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
    felt = {demand for demand, _ in scene.users}
    counts = Counter(
        {
            place: sum(share >= FEELS_SHARE for demand, share in shares.items() if demand in felt)
            for (place, way), shares in scene.passage.passed[0].items()
            if not way
        }
    )
    return {site for site, count in counts.most_common(MOST_SITES) if count}


def _score(one: Hypothesis, scene: Scene) -> Score:
    seen = [trait for trait in scene.signs if trait in one.traits]
    hits = gain = sum(HIT[one.traits[trait]] + SURE.get(trait.kind, 0.0) for trait in seen)
    felt: list[tuple[str, str]] = []
    users_gain, passing = 0.0, scene.passing(one) if scene.users or one.felt else NOBODY
    feels = (*one.felt, *one.may_feel)
    for demand in filter(passing.shares.__contains__, scene.feelings if feels else ()):
        share = passing.shares[demand]
        for kind in scene.feelings[demand]:
            if share and kind in feels:
                felt.append((demand, kind))
                users_gain += (FELT_HIT if kind in one.felt else FELT_MAY) * share
    if one.felt:
        felt_else = sum(scene.feel[kind] for kind in one.felt) - sum(kind in one.felt for _, kind in felt)
        users_gain -= FELT_ELSE * felt_else
    gain += min(users_gain, FELT_MOST) + FELT_MORE * max(0.0, users_gain - FELT_MOST)
    if gain < PRIOR + LEAST_GAIN or not (seen or felt):
        return Score(one, -math.inf, (), ())
    age_s = scene.at_s - _since(scene, seen, felt)
    missing = [trait for trait in one.asked if trait not in scene.signs and trait.subject not in scene.still]
    gain -= sum(MISS[one.traits[trait]] * _ripe(trait, age_s, scene) for trait in missing)
    if one.musts and not any(trait in scene.signs or trait.subject in scene.still for trait in one.musts):
        # Signs that a cause may leave say nothing for it where none is that it must leave.
        gain -= hits * min(_ripe(trait, age_s, scene) for trait in one.musts)
    if one.kind in OF_SIZE:
        gain -= sum(MISS["likely"] for trait in seen if _only_large(trait, scene) is (not OF_SIZE[one.kind]))
    unfelt = sum(
        FELT_MISS * share for demand, share in passing.much for kind in one.felt if (demand, kind) not in scene.users
    )
    gain -= min(unfelt, FELT_WORST) * min(1.0, age_s / USERS_S)
    return Score(one, gain - PRIOR, tuple(seen), tuple(felt))


def _only_large(trait: Trait, scene: Scene) -> bool | None:
    """Whether probes say that of the packets that a link loses all are large; None where they do not say."""
    if trait.kind != "loss" or trait._replace(kind="large_loss") not in scene.signs:
        return None
    return all(sign.source != "probe" for sign in scene.signs[trait])


def _since(scene: Scene, traits: Iterable[Trait], felt: Iterable[tuple[str, str]]) -> float:
    signs = [sign for trait in traits for sign in scene.signs[trait]] + [scene.users[key] for key in felt]
    return min(sign.since_s for sign in signs)


def _ripe(trait: Trait, age_s: float, scene: Scene) -> float:
    """How far a signal would have come by now, if it was to come (0..1)."""
    patience_s = PATIENCE_S.get(trait.kind, 1.0)
    if trait.kind == "loss" and trait.way and not _busy(trait, scene):
        patience_s = THIN_S
    return min(1.0, age_s / patience_s)


def _busy(trait: Trait, scene: Scene) -> bool:
    """Whether traffic passes a link in this direction, whose loss counters would tell."""
    return bool(scene.passing(Hypothesis("", "", links=(trait.subject,), way=trait.way)).shares)


def _cause(scores: list[Score], scene: Scene) -> Cause:
    """The best of the scores as a cause, as sure as it is ahead of those that would explain the same."""
    best = scores[0]
    rivals = [score for score in scores[1:] if _overlap(score, best)]
    weights = [math.exp(min(0.0, (score.gain - best.gain) / TEMPERATURE)) for score in rivals]
    whole = 1.0 + sum(weights) + math.exp(-best.gain / TEMPERATURE)
    signs = [(trait, sign) for trait in best.traits for sign in scene.signs[trait]]
    signs += [(Trait(kind, demand), scene.users[demand, kind]) for demand, kind in best.felt]
    sizes = [sign.size for trait, sign in signs if math.isfinite(sign.size)]
    others = tuple(
        (score.hypothesis.kind, score.hypothesis.subject, round(weight / whole, 4))
        for score, weight in zip(rivals, weights, strict=True)
        if weight / whole >= TOLD_SHARE
    )
    return Cause(
        kind=best.hypothesis.kind,
        subject=best.hypothesis.subject,
        since_s=min(sign.since_s for _, sign in signs),
        confidence=round(1.0 / whole, 4),
        evidence=tuple(sorted(sign.id for _, sign in signs)),
        sources=_sources(sign for _, sign in signs),
        size=max(sizes, default=math.nan),
        others=others[:TOLD_OTHERS],
    )


def _depends(one: Hypothesis, best: Score) -> bool:
    """Whether what a hypothesis gains may change once what `best` explains is set aside."""
    return bool(best.felt and (one.felt or one.may_feel)) or not one.traits.keys().isdisjoint(best.traits)


def _overlap(score: Score, best: Score) -> bool:
    """Whether two hypotheses would explain the same signal, so that one is true rather than the other."""
    if set(score.traits) & set(best.traits):
        return True
    return not best.traits and bool(set(score.felt) & set(best.felt))


def _sources(signs: Iterable[Sign]) -> int:
    """How many sources there are that share nothing: kinds of telemetry, and hosts of probes."""
    return len({(sign.source, sign.host if sign.source == "probe" else "") for sign in signs})


def _without(scene: Scene, score: Score) -> Scene:
    signs = {trait: signs for trait, signs in scene.signs.items() if trait not in score.traits}
    users = {key: sign for key, sign in scene.users.items() if key not in score.felt}
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
