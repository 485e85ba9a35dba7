"""What each cause leaves as its trace: hypotheses, each with the signals that are to be seen if it is true.

A trait is a kind of signal on a row, in one direction of a link where it has any. What a cause must leave weighs most
where it is missing; what it is likely to leave weighs less; what it may leave only explains. What users feel follows
from the routes: a demand that passes the subject should feel it, in the share that passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from karez.twin.table import Array

Weight = Literal["must", "likely", "may"]
MUST: Weight = "must"
LIKELY: Weight = "likely"
MAY: Weight = "may"
WAYS = ("ab", "ba")
# The signals that tell of a link whose packets do not pass.
CUT = ("loss", "blackout", "large_loss", "silence")


class Trait(NamedTuple):
    """One thing to be seen: the kind of signal, the row it is on, and the direction ("" where it has none)."""

    kind: str
    subject: str
    way: str = ""


class Place(NamedTuple):
    """Links (one direction where `way` is set), sites and demands; where `goal` is set, of what leaves there alone."""

    links: tuple[str, ...] = ()
    way: str = ""
    sites: tuple[str, ...] = ()
    demands: tuple[str, ...] = ()
    goal: str = ""


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A cause and its subject, with what should be seen; `felt` names what demands that pass it should feel.

    `links`, `sites` and `goal` say which demands these are: those over the links (one direction where `way` is set) or
    through the sites, and of them, where `goal` is set, those that leave there.
    """

    kind: str
    subject: str
    traits: dict[Trait, Weight] = field(default_factory=dict)
    felt: tuple[str, ...] = ()
    may_feel: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    way: str = ""
    sites: tuple[str, ...] = ()
    goal: str = ""
    demands: tuple[str, ...] = ()

    @cached_property
    def asked(self) -> tuple[Trait, ...]:
        """The traits whose absence speaks against it."""
        return tuple(trait for trait, weight in self.traits.items() if weight != MAY)

    @cached_property
    def place(self) -> Place:
        """What says which demands pass what it is about."""
        return Place(self.links, self.way, self.sites, self.demands, self.goal)

    @cached_property
    def musts(self) -> tuple[Trait, ...]:
        """The traits that the cause must leave."""
        return tuple(trait for trait, weight in self.traits.items() if weight == MUST)


@dataclass(frozen=True, eq=False)
class Layout:
    """How the intended network hangs together, by ids; `made` keeps the hypotheses that were made of it."""

    ends: dict[str, tuple[str, str]]
    links_at: dict[str, tuple[str, ...]]
    links_in: dict[str, tuple[str, ...]]
    ducts_of: dict[str, tuple[str, ...]]
    devices_at: dict[str, tuple[str, ...]]
    router_at: dict[str, str]
    site_of: dict[str, str]
    device_of: dict[str, str]
    daemons_on: dict[str, tuple[str, ...]]
    daemon_kind: dict[str, str]
    section: dict[str, tuple[str, str, str]]
    demand_ends: dict[str, tuple[str, str]]
    made: dict[tuple[str, ...], tuple[Hypothesis, ...]] = field(default_factory=dict)

    @cached_property
    def demand_rows(self) -> dict[str, int]:
        """By demand, its row."""
        return {name: row for row, name in enumerate(self.demand_ends)}

    @cached_property
    def goals(self) -> Array:
        """By demand's row, the site where it leaves."""
        return np.array([end for _, end in self.demand_ends.values()], "U")


def of_link(link: str, layout: Layout) -> Iterator[Hypothesis]:
    """What may be wrong with one link."""
    for kind, make in BOTH.items():
        yield Hypothesis(kind, link, make(link), links=(link,), felt=_felt(kind), may_feel=_may_feel(kind))
    for kind, one in ONE.items():
        for way in WAYS:
            traits, passed = one(link, way), "" if kind in LEFT else way
            yield Hypothesis(kind, link, traits, links=(link,), way=passed, felt=_felt(kind), may_feel=_may_feel(kind))


def of_duct(duct: str, layout: Layout) -> Iterator[Hypothesis]:
    """What may be wrong with one duct: the same with all its links; of one link alone nobody could tell."""
    links = layout.links_in[duct]
    if len(links) < 2:
        return
    cut: dict[Trait, Weight] = {}
    dim: dict[Trait, Weight] = {}
    for link in links:
        cut |= _cut(link)
        dim |= _dim(link, "ab") | _dim(link, "ba")
    yield Hypothesis("duct_cut", duct, cut, may_feel=("loss", "delay"), links=links)
    yield Hypothesis("duct_dim", duct, dim, felt=("loss",), links=links)


def of_device(device: str, layout: Layout) -> Iterator[Hypothesis]:
    """What may be wrong with one router."""
    site = layout.site_of[device]
    links = layout.links_at.get(site, ())
    here = (site,)
    away = {Trait("silence", device): MUST} | _all(links, "down", LIKELY) | _all(links, "unadjacent", MAY)
    dark = away | _dead_ends(links)
    anything = ("loss", "delay")
    yield Hypothesis("router_dead", device, dark, may_feel=anything, sites=here)
    yield Hypothesis(
        "router_booted", device, {Trait("booted", device): MUST} | _mays(dark), may_feel=anything, sites=here
    )
    hung = {Trait("silence", device): MUST} | _all(links, "unadjacent", LIKELY) | _dead_ends(links, light=False)
    yield Hypothesis("router_hung", device, hung, may_feel=anything, sites=here)
    odd: dict[Trait, Weight] = {Trait("imbalance", device): MUST}
    yield Hypothesis("router_fabric_loss", device, odd, felt=("loss",), sites=here)
    yield Hypothesis("router_slow", device, felt=("delay",), sites=here)
    yield Hypothesis("router_hot", device, {Trait("cpu", device): MUST}, felt=("delay",), sites=here)
    for fast in (True, False):
        yield Hypothesis("router_clock_wrong", device, _clock(device, links, layout, fast=fast))
    unheard = dict.fromkeys((Trait("silence", name, way) for name in (device, *links) for way in (*WAYS, "")), MAY)
    yield Hypothesis("telemetry_late", device, unheard | {Trait("late", device): MUST})
    yield Hypothesis(
        "router_drain_left", device, {Trait("drained_router", device): MUST}, may_feel=anything, sites=here
    )


def of_hole(device: str, goal: str, layout: Layout) -> Iterator[Hypothesis]:
    """What may be wrong with one router and all that leaves at one site."""
    site = layout.site_of[device]
    odd: dict[Trait, Weight] = {Trait("imbalance", device): MUST}
    if site != goal:
        yield Hypothesis("router_fib_stale", device, odd, felt=("loss",), goal=goal, sites=(site,))


def of_site(site: str, layout: Layout) -> Iterator[Hypothesis]:
    """What may be wrong with one site."""
    devices, links = layout.devices_at.get(site, ()), layout.links_at.get(site, ())
    if len(devices) > 1:
        traits: dict[Trait, Weight] = {Trait("silence", device): MUST for device in devices}
        traits |= _all(links, "down", LIKELY) | _all(links, "unadjacent", MAY) | _dead_ends(links)
        yield Hypothesis("site_power_lost", site, traits, may_feel=("loss", "delay"), sites=(site,))
    demands = tuple(name for name, (_, end) in layout.demand_ends.items() if end == site)
    if len(demands) > 1:
        surge: dict[Trait, Weight] = {Trait("surge", demand): LIKELY for demand in demands}
        yield Hypothesis("site_flood", site, surge, may_feel=("loss", "delay"), sites=(site,))


def of_daemon(daemon: str, layout: Layout) -> Iterator[Hypothesis]:
    """What may be wrong with one program."""
    device, kind = layout.device_of[daemon], layout.daemon_kind[daemon]
    site = layout.site_of[device]
    links = layout.links_at.get(site, ())
    dead: dict[Trait, Weight] = {Trait("dead", daemon): MUST}
    here, feel = (site,), ("loss", "delay")
    # What a router knows no way for came in and did not leave, too.
    dropped: dict[Trait, Weight] = {Trait("imbalance", device): MAY}
    if kind == "routing":
        alone = dead | dropped | _all(links, "unadjacent", LIKELY)
        yield Hypothesis("routing_dead", daemon, alone, sites=here, may_feel=feel)
        yield Hypothesis("routing_stuck", daemon, {Trait("behind", daemon): MUST}, sites=here, may_feel=feel)
    elif kind == "bfd":
        yield Hypothesis("bfd_dead", daemon, dead | _all(links, "unadjacent", MAY), sites=here, may_feel=feel)
    elif kind == "bgp":
        yield Hypothesis("bgp_dead", daemon, dead | dropped, sites=here, may_feel=("loss",))
    elif kind == "telemetry":
        silent = dict.fromkeys((Trait("silence", name, way) for name in (device, *links) for way in (*WAYS, "")), MAY)
        yield Hypothesis("telemetry_dead", daemon, silent | dead)
    else:
        unheard: dict[Trait, Weight] = {Trait(cut, link, way): MAY for cut in CUT for link in links for way in WAYS}
        yield Hypothesis("probe_dead", daemon, dead | unheard)
        heard: dict[Trait, Weight] = {}
        for link in links:
            way = _into(site, link, layout)
            heard |= {Trait("delay", link, way): LIKELY, Trait("jitter", link, way): MAY}
            heard |= {Trait("loss", link, way): MAY, Trait("large_loss", link, way): MAY}
        yield Hypothesis("probe_slow", daemon, heard)


def of_config(config: str, layout: Layout) -> Iterator[Hypothesis]:
    """What may be wrong with one section of a configuration."""
    device, link, section = layout.section[config]
    site = layout.site_of[device]
    differs: dict[Trait, Weight] = {Trait("differs", config): MUST}
    # What a router drops because it was told to came in and did not leave, too.
    dropped: dict[Trait, Weight] = {Trait("imbalance", device): MAY}
    ends = tuple(name for name, both in layout.demand_ends.items() if site in both)
    if section == "mtu" and link:
        eaten = dict.fromkeys(_large(link), LIKELY) | _mays(_lost(link))
        yield Hypothesis("mtu_wrong", config, differs | eaten | dropped, felt=("loss",), links=(link,))
    elif section == "area" and link:
        cut = {Trait("unadjacent", link): LIKELY}
        yield Hypothesis("area_wrong", config, differs | cut, may_feel=("loss", "delay"), links=(link,))
    elif section == "filter":
        yield Hypothesis("filter_wrong", config, differs | dropped, demands=ends, may_feel=("loss", "delay"))
    elif section == "policer":
        yield Hypothesis("policer_left", config, differs | dropped, may_feel=("loss", "delay"), sites=(site,))
    elif section == "static":
        lost: dict[Trait, Weight] = {Trait("imbalance", device): LIKELY}
        yield Hypothesis("static_wrong", config, differs | lost, may_feel=("loss",), sites=(site,))
    elif section == "bgp":
        to = tuple(name for name, (_, end) in layout.demand_ends.items() if end == site)
        yield Hypothesis("bgp_wrong", config, differs, demands=to, may_feel=("loss",))
    else:
        yield Hypothesis("other_wrong", config, differs)


def of_demand(demand: str, layout: Layout) -> Iterator[Hypothesis]:
    """What may be wrong with one demand."""
    yield Hypothesis(
        "demand_surge", demand, {Trait("surge", demand): MUST}, demands=(demand,), may_feel=("loss", "delay")
    )


def _felt(kind: str) -> tuple[str, ...]:
    return FELT.get(kind, ())


def _may_feel(kind: str) -> tuple[str, ...]:
    return () if kind in FELT else ("loss", "delay")


def _cut(link: str) -> dict[Trait, Weight]:
    traits: dict[Trait, Weight] = {Trait("down", link): MUST, Trait("unadjacent", link): MAY}
    traits |= {Trait("power", link, way): MUST for way in WAYS}
    return traits | _mays(_gone(link))


def _gone(link: str) -> dict[Trait, Weight]:
    return {Trait(cut, link, way): MAY for cut in (*CUT, "stuck", "errors", "drops") for way in (*WAYS, "")}


def _lost(link: str) -> dict[Trait, Weight]:
    return {Trait("loss", link, way): MUST for way in WAYS}


def _large(link: str) -> dict[Trait, Weight]:
    return {Trait("large_loss", link, way): MUST for way in WAYS}


def _dim(link: str, way: str) -> dict[Trait, Weight]:
    return {
        Trait("power", link, way): MUST,
        Trait("errors", link, way): LIKELY,
        Trait("loss", link, way): MAY,
        Trait("large_loss", link, way): MAY,
    }


def _mays(traits: dict[Trait, Weight]) -> dict[Trait, Weight]:
    return dict.fromkeys(traits, MAY)


def _all(links: tuple[str, ...], kind: str, weight: Weight) -> dict[Trait, Weight]:
    return {Trait(kind, link): weight for link in links}


def _dead_ends(links: tuple[str, ...], *, light: bool = True) -> dict[Trait, Weight]:
    """What a router that is away leaves on its links."""
    traits: dict[Trait, Weight] = {}
    for link in links:
        traits |= _mays(_gone(link))
        if light:
            traits |= {Trait("power", link, way): MAY for way in WAYS}
    return traits


def _clock(device: str, links: tuple[str, ...], layout: Layout, *, fast: bool) -> dict[Trait, Weight]:
    """Probes that a host with a fast clock receives look slower, those that it sent faster; a slow one the reverse."""
    site = layout.site_of[device]
    traits: dict[Trait, Weight] = {Trait("clock", device): LIKELY}
    for link in links:
        slower, faster = _into(site, link, layout), _out(site, link, layout)
        if not fast:
            slower, faster = faster, slower
        traits |= {Trait("clock", link, faster): LIKELY, Trait("delay", link, slower): LIKELY}
    return traits


def _into(site: str, link: str, layout: Layout) -> str:
    return "ba" if layout.ends[link][0] == site else "ab"


def _out(site: str, link: str, layout: Layout) -> str:
    return "ab" if layout.ends[link][0] == site else "ba"


# Of causes that are the same in both directions, and of those in one: what they leave on the link.
BOTH: dict[str, Callable[[str], dict[Trait, Weight]]] = {
    "link_cut": _cut,
    "link_silent": lambda link: (
        _mays(_gone(link)) | {Trait("unadjacent", link): LIKELY} | {Trait("blackout", link, way): MUST for way in WAYS}
    ),
    "link_slow": lambda link: {Trait("delay", link, way): MUST for way in WAYS},
    "link_loss": lambda link: _mays(_large(link)) | _lost(link),
    "link_large_loss": lambda link: _mays(_lost(link)) | _large(link),
    "link_jitter": lambda link: (
        {Trait("jitter", link, way): MUST for way in WAYS} | {Trait("delay", link, way): MAY for way in WAYS}
    ),
    "link_flapping": lambda link: {
        **_mays(_cut(link)),
        Trait("flapping", link): MUST,
        Trait("delay", link, "ab"): MAY,
        Trait("delay", link, "ba"): MAY,
    },
    "link_narrow": lambda link: {Trait("narrow", link): MUST} | {Trait("drops", link, way): MAY for way in WAYS},
    "cost_wrong": lambda link: {Trait("cost", link): MUST},
    "drain_left": lambda link: {Trait("drained", link): MUST},
    "state_lies": lambda link: {Trait("down", link): MUST, Trait("unadjacent", link): MAY},
    # What one end does not count is missing at that end, and too much at the other.
    "counter_stuck": lambda link: (
        {Trait("stuck", link): MUST} | _mays(_lost(link)) | {Trait("imbalance", link, way): MAY for way in WAYS}
    ),
}
ONE: dict[str, Callable[[str, str], dict[Trait, Weight]]] = {
    "link_cut_one_way": lambda link, way: {
        **_mays(_gone(link)),
        Trait("down", link): MUST,
        Trait("unadjacent", link): MAY,
        Trait("power", link, way): MUST,
    },
    "link_silent_one_way": lambda link, way: {
        **_mays(_gone(link)),
        Trait("unadjacent", link): LIKELY,
        Trait("blackout", link, way): MUST,
    },
    "link_slow_one_way": lambda link, way: {Trait("delay", link, way): MUST},
    "link_loss_one_way": lambda link, way: {Trait("loss", link, way): MUST, Trait("large_loss", link, way): MAY},
    "link_errors": lambda link, way: {
        Trait("errors", link, way): MUST,
        Trait("loss", link, way): MAY,
        Trait("large_loss", link, way): MAY,
    },
    "link_dim": _dim,
    "link_full": lambda link, way: {
        Trait("load", link, way): MUST,
        Trait("delay", link, way): MAY,
        Trait("jitter", link, way): MAY,
        Trait("drops", link, way): MAY,
        Trait("loss", link, way): MAY,
        Trait("large_loss", link, way): MAY,
    },
    "queue_small": lambda link, way: {Trait("drops", link, way): MUST, Trait("loss", link, way): MAY},
    "counter_wild": lambda link, way: {Trait("imbalance", link, way): MUST},
}
# What is wrong one way and makes routing leave the link both ways: those who went the other way feel the detour too.
LEFT = frozenset({"link_cut_one_way", "link_silent_one_way"})
FELT: dict[str, tuple[str, ...]] = {
    "link_slow": ("delay",),
    "link_slow_one_way": ("delay",),
    "link_loss": ("loss",),
    "link_loss_one_way": ("loss",),
    "link_errors": ("loss",),
    "link_dim": ("loss",),
    "link_large_loss": ("loss",),
}
