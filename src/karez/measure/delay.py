"""Delays of links and of access, from the latency library: a stack of named parts.

Source: library/latency.csv, where each row names its own; a link costs the light's way through its fibre, and a hop.
A link may say of either what it takes, and then that holds at every figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from karez.measure import kernels
from karez.measure.support import below
from karez.twin import Twin
from karez.twin.facts import library
from karez.twin.memo import made_of
from karez.twin.table import Array, Table
from karez.units import NS_PER_US, US_PER_MS

Figures = Literal["low", "typical", "high"]
FIGURES: tuple[Figures, ...] = ("low", "typical", "high")
Layer = Literal["optical", "ip"]
Access = Literal["5g", "pon", "pon-cooperative", "50g-pon", "wlan", "leased-line"]

LINK_KINDS = ("access", "aggregation", "core", "backbone")
# The place after them is that of hops whose link says what they take.
OWN_HOP = len(LINK_KINDS)
FIBRE, IP_HOP = "fibre", "IP hop"
AIR = ("access up", "access down")
# Traffic enters the IP layer at routers, over the optical links of these kinds.
TOWARDS_ROUTERS = (b"access", b"aggregation")
# Which row of the library (kind, element) each constant is, and how many microseconds its unit has.
ROWS = {
    FIBRE: ("fibre", "propagation", 1),
    **{f"{kind} hop": ("hop", f"{kind} link", 1) for kind in LINK_KINDS},
    IP_HOP: ("hop", "IP router or switch, uncongested", 1),
}
# The elements of the library (kind "access") that lead up and down; 50G-PON has no row of its own for down.
ACCESS: dict[Access, tuple[str, str]] = {
    "5g": ("5G public network, uplink loaded", "5G public network, low rate"),
    "pon": ("XG(S)-PON upstream, status-report DBA", "XG(S)-PON downstream"),
    "pon-cooperative": ("PON upstream, cooperative DBA", "XG(S)-PON downstream"),
    "50g-pon": ("50G-PON upstream", "XG(S)-PON downstream"),
    "wlan": ("WLAN, home or business", "WLAN, home or business"),
    "leased-line": ("optical leased line (OTN CPE)", "optical leased line (OTN CPE)"),
}


def constants(figures: Figures, access: Access = "5g") -> dict[str, float]:
    """The constants of every delay, by name: `fibre` in us/km, all others in us.

    Source: library/latency.csv, column `figures`.
    """
    rows = {(row["kind"], row["element"]): row for row in library("latency")}
    ways = {name: ("access", element, US_PER_MS) for name, element in zip(AIR, ACCESS[access], strict=True)}
    named = (ROWS | ways).items()
    return {name: float(rows[kind, element][figures]) * factor for name, (kind, element, factor) in named}


def used_links(twin: Twin, layer: Layer) -> Array:
    """Which links (a bool each) carry traffic of a layer.

    On the IP layer these are its own links, and the optical links of access and aggregation that lead to routers.
    """
    links = twin["links"]
    used: Array = links.columns["layer"].tested(lambda layers: layers == layer.encode())
    if layer == "ip":
        routers = np.array(TOWARDS_ROUTERS)
        used = np.logical_or(used, links.columns["kind"].tested(lambda kinds: np.isin(kinds, routers)))
    return used


class Own(NamedTuple):
    """What the links `rows` (ascending) say of themselves: km of such fibre, and what it and their hops take (us)."""

    rows: Array
    fibre_km: Array
    fibre_us: Array
    hop_us: Array


@dataclass(frozen=True)
class LinkParts:
    """What the delay of each link is made of: km of fibre, and one hop of a kind (a position in LINK_KINDS).

    `own` has what some links say of themselves: their fibre is not in `fibre_km` then, and their hop is `OWN_HOP`. The
    links `routed` (rows) are of the IP layer: each costs a router, and the fibre and the hops (`hops`, by kind) of the
    optical links it rests on.
    """

    fibre_km: Array
    kind: Array
    routed: Array
    hops: Array
    own: Own

    @property
    def length_km(self) -> Array:
        """All fibre of each link."""
        length_km: Array = self.fibre_km.copy()
        length_km[self.own.rows] += self.own.fibre_km
        return length_km

    def oneway_us(self, values: Mapping[str, float]) -> Array:
        """The delay of each link in one direction, in microseconds, with these constants."""
        hop_us = _hop_us(values)
        delay_us: Array = values[FIBRE] * self.fibre_km + hop_us[self.kind]
        if len(self.routed):
            fibre_us = values[FIBRE] * self.fibre_km[self.routed]
            delay_us[self.routed] = fibre_us + self.hops @ hop_us + values[IP_HOP]
        delay_us[self.own.rows] += self.own.fibre_us + self.own.hop_us
        return delay_us

    def oneway_ns(self, values: Mapping[str, float], longest_ns: int) -> Array:
        """As `oneway_us`, in whole ns and at most `longest_ns` (int32)."""
        if len(self.routed):
            return _whole_ns(self.oneway_us(values), longest_ns)
        hop_us, found = _hop_us(values), np.empty(len(self.kind), np.int32)
        kernels.delays_ns(self.fibre_km, self.kind, hop_us, values[FIBRE], NS_PER_US, longest_ns, found)
        own = self.own
        by_library_us = values[FIBRE] * self.fibre_km[own.rows] + hop_us[self.kind[own.rows]]
        found[own.rows] = _whole_ns(by_library_us + (own.fibre_us + own.hop_us), longest_ns)
        return found


@made_of("links", "link_support")
def link_parts(twin: Twin) -> LinkParts:
    """What the delay of each link of `twin` is made of.

    A link of the IP layer that rests on nothing costs its own length, the hop of its kind, and a router.
    """
    links = twin["links"]
    kind = links.columns["kind"].each(_positions)
    fibre_km, kind, own = _own(links, kind)
    routed = np.flatnonzero(links.columns["layer"].tested(lambda layers: layers == b"ip"))
    hops = np.zeros((len(routed), OWN_HOP + 1))
    if len(routed):
        fibre_km, hops, own = _routed(twin, routed, fibre_km.copy(), kind, own)
    return LinkParts(fibre_km, kind, routed, hops, own)


def _own(links: Table, kind: Array) -> tuple[Array, Array, Own]:
    """Fibre and kind of hop of each link by the library, and what links say of themselves."""
    fibre_km = links["length_km"]
    fibre, hop = (links.columns[name].tested(lambda values: values > 0) for name in ("fibre_us_per_km", "hop_us"))
    rows = np.flatnonzero(np.logical_or(fibre, hop))
    if not len(rows):
        return fibre_km, kind, Own(rows, *(np.zeros(0),) * 3)
    own_km = np.where(fibre, fibre_km, 0.0)[rows]
    own = Own(rows, own_km, own_km * links["fibre_us_per_km"][rows], links["hop_us"][rows])
    return np.where(fibre, 0.0, fibre_km), np.where(hop, OWN_HOP, kind).astype(np.uint8), own


def _hop_us(values: Mapping[str, float]) -> Array:
    """What a hop of each kind takes; none of those whose link says it."""
    return np.array([*(values[f"{kind} hop"] for kind in LINK_KINDS), 0.0])


def _whole_ns(delay_us: Array, longest_ns: int) -> Array:
    ns = np.rint(delay_us * NS_PER_US)
    # What is no delay is none that leads anywhere.
    return np.asarray(np.where((ns >= 0) & (ns < longest_ns), ns, longest_ns).astype(np.int32))


def _positions(kinds: Array) -> Array:
    """Where each kind stands in LINK_KINDS (uint8); what is none of them counts as the first."""
    found = np.zeros(len(kinds), np.uint8)
    for position, name in enumerate(LINK_KINDS):
        found[kinds == name.encode()] = position
    return found


def _routed(twin: Twin, routed: Array, fibre_km: Array, kind: Array, own: Own) -> tuple[Array, Array, Own]:
    """Fibre, hops and what links say of themselves, of IP links summed over the optical links that each rests on."""
    upper, lower = below(twin)
    optical = twin["links"]["layer"][lower] == b"optical"
    upper, lower = upper[optical], lower[optical]
    position = np.full(len(fibre_km), -1)
    position[routed] = np.arange(len(routed))
    mine = position[upper]
    upper, lower, mine = upper[mine >= 0], lower[mine >= 0], mine[mine >= 0]
    hops = np.zeros((len(routed), OWN_HOP + 1))
    np.add.at(hops, (mine, kind[lower]), 1.0)
    alone = hops.sum(axis=1) == 0
    hops[alone, kind[routed[alone]]] = 1.0
    return _carried(fibre_km, upper, lower), hops, _own_carried(own, len(fibre_km), upper, lower)


def _own_carried(own: Own, links: int, upper: Array, lower: Array) -> Own:
    if not len(own.rows):
        return own
    amounts = np.zeros((links, 3))
    amounts[own.rows] = np.stack(own[1:], axis=1)
    amounts = _carried(amounts, upper, lower)
    rows = np.flatnonzero(amounts.any(axis=1))
    return Own(rows, *amounts[rows].T)


def _carried(amount: Array, upper: Array, lower: Array) -> Array:
    """Amounts of links, those of `upper` summed over the links (`lower`) that each rests on."""
    below_it = amount[lower]
    amount[np.unique(upper)] = 0.0
    np.add.at(amount, upper, below_it)
    return amount


def link_oneway_us(twin: Twin, *, figures: Figures) -> Array:
    """The delay of each link in one direction, in microseconds: fibre, and the hop of its kind.

    Source: delay = length x delay of fibre + delay of the device that is passed.
    """
    return link_parts(twin).oneway_us(constants(figures))
