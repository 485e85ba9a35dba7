"""What the faults that are active, and the devices that are down, do to links, routers, programs and telemetry.

It is worked out anew from all of them whenever one begins or ends, so nothing is left behind by one that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from karez.adapters.embedded.faults import SPIKE_US, Fault
from karez.adapters.embedded.forks import Forks
from karez.adapters.embedded.gear import Gear
from karez.adapters.embedded.plant import Plant, row
from karez.adapters.embedded.traffic import BASE_LOSS_SHARE, Rates, Spots, Ways
from karez.twin.table import Array

# How long BGP needs, once its program runs, until others know of its router's users and it of theirs (s).
BGP_FORMS_S = 2.0
# How soon routing knows (s): light gone, packets gone where BFD runs, hello packets missed.
CARRIER_S = 0.02
BFD_S = 0.3
DEAD_S = 4.0
# How long a dead BFD program keeps sessions down before they come back without it (s). Source: measured on labs.
BFD_HOLD_S = 2.5
DARK_DBM = -40.0
# How a device that is too hot computes.
HOT_SHARE = 0.97
# A prober that is slow is the more uneven (share of its delay).
UNEVEN_SHARE = 0.5
# How long one that is there but does not answer is waited for (s).
PATIENCE_S = 0.6


class Effects(Forks):
    """Arrays by link, way, site, device and program; `work_out` fills them in."""

    def __init__(self, plant: Plant) -> None:
        """Nothing is wrong yet."""
        self.plant = plant
        links, ways, sites = len(plant.links.ids), 2 * len(plant.links.ids), len(plant.sites.ids) + 1
        vertices, devices, programs = plant.sites.vertices + 1, len(plant.devices.ids), len(plant.programs.ids)
        # What stands nowhere has the row -1, and so the last place of the arrays by site and vertex to itself.
        # Links: light, when routing misses the other end (inf: not at all), what the management says wrongly.
        self.carrier, self.apart_s = np.ones(links, bool), np.full(links, np.inf)
        self.lies, self.narrow = np.zeros(links, bool), np.ones(links)
        # Ways and interfaces.
        self.passing, self.loss, self.errors = np.ones(ways, bool), np.zeros(ways), np.zeros(ways)
        self.large, self.extra_us, self.jitter_us = np.zeros(ways), np.zeros(ways), np.zeros(ways)
        self.small_queue, self.dim_db = np.zeros(ways), np.zeros(ways)
        self.probe_us, self.probe_loss = np.zeros(ways), np.zeros(ways)
        # Since when an interface counts nothing (s; inf: it counts); how often it counts each packet, and since when.
        self.stuck_s, self.wild_s, self.wild = np.full(ways, np.inf), np.full(ways, np.inf), np.ones(ways)
        # Sites: their hosts.
        self.clock_us, self.slow_us, self.slow_loss = np.zeros(sites), np.zeros(sites), np.zeros(sites)
        self.mute, self.quiet, self.late = np.zeros(sites, bool), np.zeros(sites, bool), np.zeros(sites, bool)
        self.unlit = np.zeros(sites, bool)
        # Routers by vertex.
        self.alive, self.fabric, self.transit_us = np.ones(vertices, bool), np.zeros(vertices), np.zeros(vertices)
        self.hole, self.entry = np.full(vertices, -1, np.int32), np.ones(vertices)
        self.exit, self.police, self.stale = np.ones(vertices), np.ones(vertices), np.zeros(vertices, bool)
        self.known = np.ones(vertices)
        # Devices, programs, demands.
        self.dead, self.hung, self.hot = np.zeros(devices, bool), np.zeros(devices, bool), np.zeros(devices, bool)
        self.dark, self.waited_for = np.zeros(devices, bool), np.zeros(devices, bool)
        self.program_up, self.behind_since_s = np.ones(programs, bool), np.full(programs, np.nan)
        self.surge = np.ones(len(plant.demands.ids))
        self.deaf: frozenset[str] = frozenset()
        self.next_s = np.inf
        self._fresh = {name: value.copy() for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        # Which programs run, and since when (s; -inf: for long): what they do begins some time after that.
        self._runs, self._since_s = np.ones(programs, bool), np.full(programs, -np.inf)

    def work_out(self, gear: Gear, faults: Iterable[Fault], at_s: float) -> None:
        """Fill in everything for these faults, which are active at `at_s`; `next_s` is when something changes."""
        for name, value in self._fresh.items():
            getattr(self, name)[...] = value
        self.deaf, self.next_s = frozenset(), np.inf
        for fault in faults:
            EFFECTS[fault.kind](self, fault, at_s)
        self.dark |= gear.boot_until_s > at_s
        self.program_up &= gear.restart_until_s <= at_s
        self._devices()
        self._programs()
        self._begin(at_s)
        self._users(at_s)
        self._sessions()

    def ways(self, derived_us: Array, capacity_gbps: Array) -> Ways:
        """How each way treats packets, of these delays and capacities without any fault (a link each)."""
        return Ways(
            tx=np.repeat(self.carrier, 2),
            carries=self.passing & np.repeat(self.carrier, 2),
            capacity_gbps=np.repeat(capacity_gbps * self.narrow, 2),
            loss=1.0 - (1.0 - self.loss) * (1.0 - BASE_LOSS_SHARE),
            errors=self.errors,
            large=self.large,
            delay_us=np.repeat(derived_us, 2) + self.extra_us + self.jitter_us / 2.0,
            small_queue=self.small_queue,
        )

    def spots(self) -> Spots:
        """How the router at each vertex treats packets."""
        return Spots(
            self.alive, self.fabric, self.transit_us, self.hole, self.entry, self.exit, self.police, self.known
        )

    @property
    def noisy(self) -> bool:
        """Whether something befalls probes alone."""
        return bool(self.probe_loss.any() or self.probe_us.any())

    def disturb(self, rates: Rates) -> None:
        """Do to probes what befalls them alone."""
        rates.probe_us[:] = (rates.probe_us + self.probe_us * (1.0 - rates.probe_lost)) * (1.0 - self.probe_loss)
        for lost in (rates.probe_lost, rates.probe_lost_large):
            lost[:] = 1.0 - (1.0 - lost) * (1.0 - self.probe_loss)

    @property
    def silent(self) -> Array:
        """Which devices do not answer."""
        return np.asarray(self.dead | self.hung | self.dark)

    @property
    def given_up(self) -> Array:
        """Of which devices it is known that they do not answer."""
        return np.asarray(self.silent & ~self.waited_for)

    def link(self, fault: Fault) -> int:
        """The row of the link that a fault is about."""
        return row(self.plant.links.ids, fault.subject)

    def way(self, fault: Fault) -> int:
        """The way that a fault which goes one way is about."""
        return 2 * self.link(fault) + (fault.way == "ba")

    def both(self, fault: Fault) -> slice:
        """Both ways of the link that a fault is about."""
        first = 2 * self.link(fault)
        return slice(first, first + 2)

    def device(self, fault: Fault) -> int:
        """The row of the device that a fault is about."""
        return row(self.plant.devices.ids, fault.subject)

    def host(self, fault: Fault) -> int:
        """The row of the site of the device or program that a fault is about."""
        program = row(self.plant.programs.ids, fault.subject)
        device = int(self.plant.programs.device[program]) if program >= 0 else self.device(fault)
        return self.plant.site_of(device)

    def spot(self, fault: Fault) -> int:
        """The vertex of the device that a fault is about."""
        return int(self.plant.sites.vertex[self.plant.site_of(self.device(fault))])

    def _devices(self) -> None:
        """What is dark takes its links with it, and a router what it runs."""
        plant = self.plant
        self.dark |= self.dead
        for device in np.flatnonzero(self.dark & plant.devices.carries).tolist():
            self.carrier[plant.links_at(plant.site_of(device))] = False
            self.unlit[plant.site_of(device)] = True
        for device in np.flatnonzero((self.dark | self.hung) & plant.devices.routes).tolist():
            site = plant.site_of(device)
            vertex = plant.sites.vertex[site]
            self.mute[site] = self.quiet[site] = True
            self.stale[vertex] = True
            self.alive[vertex] &= not self.dark[device]
        self.carrier &= plant.links.meant_up

    def _programs(self) -> None:
        plant = self.plant
        for program in np.flatnonzero(~self.program_up & (plant.programs.device >= 0)).tolist():
            site, kind = plant.site_of(plant.programs.device[program]), plant.programs.kind[program]
            self.quiet[site] |= kind == b"telemetry"
            self.mute[site] |= kind == b"probe"
            if kind == b"routing":
                self._lose(plant.links_at(site), DEAD_S)
                self.stale[plant.sites.vertex[site]] = True

    def _begin(self, at_s: float) -> None:
        """Note which programs run now that did not."""
        runs = self.program_up & ~np.append(self.dark, False)[self.plant.programs.device]
        self._since_s[runs & ~self._runs] = at_s
        self._runs = runs

    def _users(self, at_s: float) -> None:
        """Whose users nobody knows: those of routers whose BGP does not run, or just began to.

        They know nobody's either, and so lead nowhere what others send over them. Reflectors are not told from others:
        each router tells every other.
        """
        plant = self.plant
        for program in np.flatnonzero((plant.programs.kind == b"bgp") & (plant.programs.device >= 0)).tolist():
            known_s = self._since_s[program] + BGP_FORMS_S
            if self._runs[program] and at_s < known_s:
                self.next_s = min(self.next_s, known_s)
            if at_s < known_s or not self._runs[program]:
                vertex = plant.sites.vertex[plant.site_of(plant.programs.device[program])]
                self.entry[vertex] = self.known[vertex] = 0.0
                self.fabric[vertex] = 1.0

    def _sessions(self) -> None:
        """When routing misses the other end of each link."""
        plant = self.plant
        self._lose(~self.carrier, CARRIER_S)
        passing = self.passing.reshape(-1, 2).all(axis=1)
        if not passing.all():
            self._lose(~passing, np.where(self._with_bfd(), BFD_S, DEAD_S)[~passing])
        for device in np.flatnonzero(self.hung & plant.devices.routes).tolist():
            self._lose(plant.links_at(plant.site_of(device)), DEAD_S)

    def _with_bfd(self) -> Array:
        """The links whose both ends run BFD."""
        plant = self.plant
        down = ~self.program_up & (plant.programs.kind == b"bfd") & (plant.programs.device >= 0)
        without = plant.devices.site[plant.programs.device[down]]
        return np.asarray(~np.isin(plant.links.ends, without).any(axis=1))

    def _lose(self, links: Any, after_s: Array | float) -> None:
        self.apart_s[links] = np.minimum(self.apart_s[links], after_s)

    def program(self, fault: Fault) -> int:
        """The row of the program that a fault is about."""
        return row(self.plant.programs.ids, fault.subject)

    def section_spot(self, fault: Fault) -> int:
        """The vertex of the device that a section is of."""
        device = int(self.plant.sections.device[row(self.plant.sections.ids, fault.subject)])
        return int(self.plant.sites.vertex[self.plant.site_of(device)])

    def section_link(self, fault: Fault) -> int:
        """The link that a section is about."""
        return int(self.plant.sections.link[row(self.plant.sections.ids, fault.subject)])

    def goal(self, fault: Fault) -> int:
        """The vertex of the site that traffic is lost to."""
        return int(self.plant.sites.vertex[row(self.plant.sites.ids, fault.goal)])


def _link_cut(effects: Effects, fault: Fault, at_s: float) -> None:
    _dark(effects, effects.link(fault))


def _link_cut_one_way(effects: Effects, fault: Fault, at_s: float) -> None:
    # The end that still has light is told of the fault by the other, and takes the link down, too.
    effects.carrier[effects.link(fault)] = False
    effects.dim_db[effects.way(fault) ^ 1] = np.inf


def _link_silent(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.passing[effects.both(fault)] = False


def _link_silent_one_way(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.passing[effects.way(fault)] = False


def _link_slow(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.extra_us[effects.both(fault)] += fault.size_us


def _link_slow_one_way(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.extra_us[effects.way(fault)] += fault.size_us


def _link_loss(effects: Effects, fault: Fault, at_s: float) -> None:
    both = effects.both(fault)
    effects.loss[both] = _also(effects.loss[both], fault.size_share)


def _link_loss_one_way(effects: Effects, fault: Fault, at_s: float) -> None:
    way = effects.way(fault)
    effects.loss[way] = _also(effects.loss[way], fault.size_share)


def _link_errors(effects: Effects, fault: Fault, at_s: float) -> None:
    way = effects.way(fault)
    effects.errors[way] = _also(effects.errors[way], fault.size_share)


def _link_dim(effects: Effects, fault: Fault, at_s: float) -> None:
    _dim(effects, effects.way(fault), fault)


def _link_large_loss(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.large[effects.both(fault)] = 1.0


def _link_jitter(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.jitter_us[effects.both(fault)] += fault.size_us


def _link_flapping(effects: Effects, fault: Fault, at_s: float) -> None:
    # Unix times have steps of a tenth of a microsecond: this much short of a turn is the turn.
    turn = int((at_s - fault.at_s) / fault.size_s + 1e-6)
    if turn % 2 == 0:
        _dark(effects, effects.link(fault))
    effects.next_s = min(effects.next_s, fault.at_s + (turn + 1) * fault.size_s)


def _link_narrow(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.narrow[effects.link(fault)] *= fault.size_share


def _duct_cut(effects: Effects, fault: Fault, at_s: float) -> None:
    for link in effects.plant.duct_links.get(fault.subject, ()):
        _dark(effects, link)


def _duct_dim(effects: Effects, fault: Fault, at_s: float) -> None:
    for link in effects.plant.duct_links.get(fault.subject, ()):
        for way in (2 * link, 2 * link + 1):
            _dim(effects, way, fault)


def _router_dead(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.dead[effects.device(fault)] = True


def _router_hung(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.hung[effects.device(fault)] = True
    if at_s < fault.at_s + PATIENCE_S:
        effects.waited_for[effects.device(fault)] = True
        effects.next_s = min(effects.next_s, fault.at_s + PATIENCE_S)


def _router_fabric_loss(effects: Effects, fault: Fault, at_s: float) -> None:
    spot = effects.spot(fault)
    effects.fabric[spot] = _also(effects.fabric[spot], fault.size_share)


def _router_slow(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.transit_us[effects.spot(fault)] += fault.size_us


def _router_hot(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.transit_us[effects.spot(fault)] += fault.size_us
    effects.hot[effects.device(fault)] = True


def _router_fib_stale(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.hole[effects.spot(fault)] = effects.goal(fault)


def _router_clock_wrong(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.clock_us[effects.host(fault)] += fault.size_us if fault.way == "ab" else -fault.size_us


def _telemetry_late(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.late[effects.host(fault)] = True


def _site_power_lost(effects: Effects, fault: Fault, at_s: float) -> None:
    site = row(effects.plant.sites.ids, fault.subject)
    effects.dead[effects.plant.devices.site == site] = True


def _program_dead(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.program_up[effects.program(fault)] = False


def _bfd_dead(effects: Effects, fault: Fault, at_s: float) -> None:
    _program_dead(effects, fault, at_s)
    if at_s < fault.at_s + BFD_HOLD_S:
        effects._lose(effects.plant.links_at(effects.host(fault)), BFD_S)
        effects.next_s = min(effects.next_s, fault.at_s + BFD_HOLD_S)


def _routing_stuck(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.behind_since_s[effects.program(fault)] = fault.at_s
    effects.stale[effects.plant.sites.vertex[effects.host(fault)]] = True


def _probe_slow(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.slow_us[effects.host(fault)] += fault.size_us
    effects.slow_loss[effects.host(fault)] = fault.size_share


def _filter_wrong(effects: Effects, fault: Fault, at_s: float) -> None:
    spot = effects.section_spot(fault)
    effects.entry[spot] *= 1.0 - fault.size_share
    effects.exit[spot] *= 1.0 - fault.size_share


def _mtu_wrong(effects: Effects, fault: Fault, at_s: float) -> None:
    link = effects.section_link(fault)
    effects.large[2 * link : 2 * link + 2] = 1.0


def _area_wrong(effects: Effects, fault: Fault, at_s: float) -> None:
    # What is changed at an end resets the adjacency there.
    effects._lose(np.array([effects.section_link(fault)]), 0.0)


def _policer_left(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.police[effects.section_spot(fault)] *= fault.size_share


def _static_wrong(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.hole[effects.section_spot(fault)] = effects.goal(fault)


def _bgp_wrong(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.known[effects.section_spot(fault)] = 0.0


def _demand_surge(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.surge[row(effects.plant.demands.ids, fault.subject)] *= fault.size_share


def _site_flood(effects: Effects, fault: Fault, at_s: float) -> None:
    vertex = effects.plant.sites.vertex[row(effects.plant.sites.ids, fault.subject)]
    effects.surge[effects.plant.demands.goal == vertex] *= fault.size_share


def _queue_small(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.small_queue[effects.way(fault)] = fault.size_share


def _counter_stuck(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.stuck_s[effects.way(fault)] = fault.at_s


def _counter_wild(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.wild[effects.way(fault)], effects.wild_s[effects.way(fault)] = fault.size_share, fault.at_s


def _state_lies(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.lies[effects.link(fault)] = True


def _noise(effects: Effects, fault: Fault, at_s: float) -> None:
    if fault.size_us >= SPIKE_US:
        effects.probe_us[effects.way(fault)] += fault.size_us
    else:
        effects.probe_loss[effects.way(fault)] = 1.0


def _deaf(effects: Effects, fault: Fault, at_s: float) -> None:
    effects.deaf |= {fault.subject}


def _spoils(effects: Effects, fault: Fault, at_s: float) -> None:
    """What it has set stays as it is: there is nothing to do to packets."""


def _dark(effects: Effects, link: int) -> None:
    effects.carrier[link] = False
    effects.dim_db[2 * link : 2 * link + 2] = np.inf


def _dim(effects: Effects, way: int, fault: Fault) -> None:
    """Less light at the receiver of a way, and errors of what arrives."""
    effects.dim_db[way ^ 1] += fault.size_db
    effects.errors[way] = _also(effects.errors[way], fault.size_share)


def _also(share: Array | float, more: float) -> Array | float:
    """The share that is lost where one part is lost and then another of what is left."""
    return 1.0 - (1.0 - share) * (1.0 - more)


EFFECTS: dict[str, Callable[[Effects, Fault, float], None]] = {
    "link_cut": _link_cut,
    "link_cut_one_way": _link_cut_one_way,
    "link_silent": _link_silent,
    "link_silent_one_way": _link_silent_one_way,
    "link_slow": _link_slow,
    "link_slow_one_way": _link_slow_one_way,
    "link_loss": _link_loss,
    "link_loss_one_way": _link_loss_one_way,
    "link_errors": _link_errors,
    "link_dim": _link_dim,
    "link_large_loss": _link_large_loss,
    "link_jitter": _link_jitter,
    "link_flapping": _link_flapping,
    "link_narrow": _link_narrow,
    "duct_cut": _duct_cut,
    "duct_dim": _duct_dim,
    "router_dead": _router_dead,
    "router_booted": _router_dead,
    "router_hung": _router_hung,
    "router_fabric_loss": _router_fabric_loss,
    "router_slow": _router_slow,
    "router_hot": _router_hot,
    "router_fib_stale": _router_fib_stale,
    "router_clock_wrong": _router_clock_wrong,
    "telemetry_late": _telemetry_late,
    "site_power_lost": _site_power_lost,
    "routing_dead": _program_dead,
    "routing_stuck": _routing_stuck,
    "bfd_dead": _bfd_dead,
    "bgp_dead": _program_dead,
    "telemetry_dead": _program_dead,
    "probe_dead": _program_dead,
    "probe_slow": _probe_slow,
    "cost_wrong": _spoils,
    "drain_left": _spoils,
    "router_drain_left": _spoils,
    "filter_wrong": _filter_wrong,
    "mtu_wrong": _mtu_wrong,
    "area_wrong": _area_wrong,
    "policer_left": _policer_left,
    "static_wrong": _static_wrong,
    "other_wrong": _spoils,
    "bgp_wrong": _bgp_wrong,
    "demand_surge": _demand_surge,
    "site_flood": _site_flood,
    "queue_small": _queue_small,
    "counter_stuck": _counter_stuck,
    "counter_wild": _counter_wild,
    "state_lies": _state_lies,
    "work_link": _link_cut,
    "work_router": _router_dead,
    "none": _spoils,
    "noise": _noise,
    "deaf": _deaf,
}
