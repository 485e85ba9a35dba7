"""A network in memory that lives: traffic that changes, links that queue, devices that fall silent, orders that arrive.

It stands in for the world, so it shares no code with what predicts an action's effect (`karez.measure`,
`karez.plan.heal`). Its constants are its own. The same seed and the same calls give the same observations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from karez.adapters.network import StateRows
from karez.plan import Action
from karez.twin import World
from karez.twin.graph import bystanders
from karez.twin.schema import Value
from karez.twin.table import Array, texts

# Delay of light in fibre, and of a hop by the kind of its link (us).
FIBRE_US_PER_KM = 4.9
HOP_US = {b"access": 20.0, b"aggregation": 20.0, b"core": 50.0, b"backbone": 50.0}
# Service time that one unit of queue adds (us), and the utilisation at which queues stop growing in this model.
QUEUE_US = 5.0
FULLEST_SHARE = 0.98
NOISE_US = 15.0
DRAINED_COST_US = 1e7
# Traffic: how far a demand strays in a second (log-normal), and how strongly it is drawn back to its mean.
SWING = 0.02
RETURN_SHARE = 0.05
# Share of the groups of chips at which other tenants come or go in a second.
TENANT_SHARE = 0.05
TENANT_CHIPS = 8
BOOT_S = 20.0


class Fault(msgspec.Struct, frozen=True):
    """Something that goes wrong at `at_s` and, unless somebody mends it, stays until `until_s`.

    `delay`: the link `subject` grows slower by `size_us`. `cut`: it carries nothing. `deaf`: a command to it is
    acknowledged and not done. `device`: the device `subject` falls silent until it is restarted.
    """

    kind: Literal["delay", "cut", "deaf", "device"]
    subject: str
    at_s: float
    until_s: float = 1e18
    size_us: float = 2_000.0


class EmbeddedNetwork:
    """The network that `world` intends, alive from `start_s` on.

    Each second `polls_per_s` links, those with traffic before the others in turn, tell their load and delay. State
    that a control plane would report at once (up, drained, devices, chips, orders) is told as it changes.
    """

    kinds = frozenset({"drain_link", "undrain_link", "restart_device", "start_job", "order_equipment"})

    def __init__(self, world: World, *, seed: int, start_s: float, polls_per_s: int = 1_000) -> None:
        """Start with everything up, every demand at its mean, every chip as the actual twin has it."""
        self._random = np.random.default_rng(seed)
        self._at_s, self._polls, self._turn = start_s, polls_per_s, 0
        self._faults: tuple[Fault, ...] = ()
        self._take_links(world)
        self._take_demands(world)
        self._take_rest(world)
        self._news: dict[str, dict[str, None]] = {}
        self._route()

    def inject(self, fault: Fault) -> None:
        """Let something go wrong."""
        self._faults = (*self._faults, fault)

    def live(self, until_s: float) -> None:
        """Move on to `until_s`, whether anybody looks or not."""
        while self._at_s < until_s:
            self._second(min(self._at_s + 1.0, until_s))

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What was measured, and what changed, since last time; the network moves on to `at_s`."""
        self.live(at_s)
        news, self._news = self._news, {}
        changed = tuple(self.look(table, tuple(ids)) for table, ids in sorted(news.items()))
        return (*changed, self._measured(self._poll()))

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """The rows as they are now."""
        return {
            "link_states": self._look_links,
            "server_states": self._look_servers,
            "equipment_states": self._look_devices,
            "order_states": self._look_orders,
        }[table](tuple(ids))

    def apply(self, action: Action, at_s: float) -> str:
        """What stands in the way; empty when the network took the action."""
        if action.kind not in self.kinds:
            return f"this network cannot do {action.kind}"
        act: dict[str, Callable[[Action, float], str]] = {
            "drain_link": self._drain,
            "undrain_link": self._drain,
            "restart_device": self._restart,
            "start_job": self._start,
            "order_equipment": self._order,
        }
        return act[action.kind](action, at_s)

    def _take_links(self, world: World) -> None:
        states, links = world["link_states"], world["links"]
        rows = links.rows(states.ids)
        self._links = states.ids
        self._a, self._b = (world.intended.resolve("links", end)[rows] for end in ("a", "b"))
        self._both = links["direction"][rows] == b"both"
        hop = np.array([HOP_US[kind] for kind in links["kind"][rows].tolist()])
        self._base_us = FIBRE_US_PER_KM * links["length_km"][rows] + hop
        self._capacity_gbps = links["capacity_gbps"][rows]
        self._drained = links["drained"][rows].copy()
        self._meant_up: Array = links["up"][rows]
        self._extra_us = np.zeros(len(rows))
        self._sites = world["sites"].ids

    def _take_demands(self, world: World) -> None:
        self._start_site = world.intended.resolve("demands", "a")
        self._goal_site = world.intended.resolve("demands", "b")
        self._mean_gbps = world["demands"]["gbps"]
        self._swing = np.zeros(len(self._mean_gbps))

    def _take_rest(self, world: World) -> None:
        servers, devices = world["server_states"], world["equipment_states"]
        self._servers, self._free = servers.ids, servers["free_chips"].copy()
        self._owned = world["servers"]["chips"][world["servers"].rows(servers.ids)]
        self._held = np.zeros(len(self._free), np.int64)
        self._jobs: list[tuple[float, int, int, str]] = []
        self._devices, self._boots = devices.ids, devices["boots"].copy()
        self._device_up = devices["up"].copy()
        self._boot_until = np.full(len(devices), -np.inf)
        equipment = world["equipment"]
        sites = equipment["site"][equipment.rows(devices.ids)]
        self._device_site = np.searchsorted(self._sites, sites)
        self._orders: dict[str, dict[str, Value]] = {}

    def _second(self, at_s: float) -> None:
        before = self._up()
        self._at_s = at_s
        self._turn += 1
        self._swing = self._swing * (1 - RETURN_SHARE) + self._random.normal(0.0, SWING, len(self._swing))
        self._tenants()
        self._suffer()
        self._boot()
        self._deliver()
        self._tell("link_states", self._links[before != self._up()])
        if (before != self._up()).any():
            self._route()

    def _tell(self, table: str, ids: Array | Sequence[str]) -> None:
        for row in ids:
            self._news.setdefault(table, {})[row.decode() if isinstance(row, bytes) else row] = None

    def _tenants(self) -> None:
        moved = self._random.random(len(self._free)) < TENANT_SHARE
        change = self._random.integers(-TENANT_CHIPS, TENANT_CHIPS + 1, len(self._free))
        free = np.clip(self._free + np.where(moved, change, 0), 0, self._owned - self._held)
        self._tell("server_states", self._servers[free != self._free])
        self._free = free

    def _suffer(self) -> None:
        self._extra_us[:] = 0.0
        for fault in self._faults:
            if fault.kind == "delay" and self._active(fault):
                self._extra_us[_row(self._links, fault.subject)] += fault.size_us
            if fault.kind == "device" and fault.at_s <= self._at_s:
                self._silence(fault)

    def _active(self, fault: Fault) -> bool:
        return fault.at_s <= self._at_s < fault.until_s

    def _silence(self, fault: Fault) -> None:
        """A device falls silent once; only a restart brings it back."""
        self._device_up[_row(self._devices, fault.subject)] = False
        self._tell("equipment_states", [fault.subject])
        self._faults = tuple(other for other in self._faults if other is not fault)

    def _boot(self) -> None:
        ready = (self._boot_until > -np.inf) & (self._boot_until <= self._at_s)
        self._device_up[ready] = True
        self._boot_until[ready] = -np.inf
        self._tell("equipment_states", self._devices[ready])

    def _deliver(self) -> None:
        for order, row in self._orders.items():
            if not row["delivered"] and float(row["due_at_s"]) <= self._at_s:
                row["delivered"] = True
                self._tell("order_states", [order])
        for job in [job for job in self._jobs if job[0] <= self._at_s]:
            _, server, chips, _ = job
            self._held[server] -= chips
            self._free[server] += chips
            self._jobs.remove(job)
            self._tell("server_states", self._servers[[server]])

    def _up(self) -> Array:
        up: Array = self._meant_up.copy()
        for fault in self._faults:
            if fault.kind == "cut" and self._active(fault):
                up[_row(self._links, fault.subject)] = False
        silent = self._device_site[~self._device_up]
        up[np.isin(self._a, silent) | np.isin(self._b, silent)] = False
        return up

    def _route(self) -> None:
        """Find the path of every demand anew: `_hops` lists ways, `_hop_demand` whose they are."""
        rows = np.flatnonzero(self._up())
        back = rows[self._both[rows]]
        tail, head = np.r_[self._a[rows], self._b[back]], np.r_[self._b[rows], self._a[back]]
        self._way_link = np.r_[rows, back]
        cost = self._base_us[self._way_link] + DRAINED_COST_US * self._drained[self._way_link]
        order = np.lexsort((self._way_link, cost, tail, head))
        best = order[np.r_[True, np.diff(head[order] * len(self._sites) + tail[order]) != 0]] if len(order) else order
        way_of = dict(zip(zip(tail[best].tolist(), head[best].tolist(), strict=True), best.tolist(), strict=True))
        sites = np.flatnonzero(~bystanders(tail, head, np.r_[self._start_site, self._goal_site], len(self._sites)))
        number = np.full(len(self._sites), -1)
        number[sites] = np.arange(len(sites))
        best = best[(number[tail[best]] >= 0) & (number[head[best]] >= 0)]
        goals = np.unique(self._goal_site)
        cells = (number[head[best]], number[tail[best]])
        reverse = csr_array((cost[best], cells), shape=(len(sites), len(sites)))
        _, after = dijkstra(reverse, indices=number[goals], return_predecessors=True)
        hops: list[int] = []
        owner: list[int] = []
        trees = dict(zip(goals.tolist(), after, strict=True))
        for demand, (here, goal) in enumerate(zip(self._start_site.tolist(), self._goal_site.tolist(), strict=True)):
            tree = trees[goal]
            while here != goal and (ahead := int(tree[number[here]])) >= 0:
                hops.append(way_of[here, int(sites[ahead])])
                owner.append(demand)
                here = int(sites[ahead])
        self._hops, self._hop_demand = np.array(hops, np.int64), np.array(owner, np.int64)

    def _load_gbps(self) -> Array:
        offered = self._mean_gbps * np.exp(self._swing)
        carried = np.bincount(self._hops, offered[self._hop_demand], minlength=len(self._way_link))
        load = np.zeros(len(self._links))
        np.maximum.at(load, self._way_link, carried)
        return load

    def _poll(self) -> Array:
        """The links whose turn it is to tell their load and delay."""
        carrying = np.zeros(len(self._links), bool)
        carrying[self._way_link[self._hops]] = True
        order = np.r_[np.flatnonzero(carrying), np.flatnonzero(~carrying)]
        width = int(carrying.sum()) or len(order)
        # Nine tenths of the polls go round the links with traffic, the rest round the others.
        busy = min(width, self._polls - self._polls // 10)
        idle = min(len(order) - width, self._polls - busy)
        first, second = self._turn * busy, self._turn * idle
        picked = order[(first + np.arange(busy)) % width]
        spare = order[width + (second + np.arange(idle)) % max(1, len(order) - width)] if idle > 0 else picked[:0]
        return np.unique(np.r_[picked, spare])

    def _measured(self, rows: Array) -> StateRows:
        load = self._load_gbps()[rows]
        share = np.minimum(load / np.maximum(self._capacity_gbps[rows], 1e-9), FULLEST_SHARE)
        delay = self._base_us[rows] + self._extra_us[rows] + QUEUE_US * share / (1 - share)
        noise = np.abs(self._random.normal(0.0, NOISE_US, len(rows)))
        return StateRows(
            "link_states",
            _names(self._links[rows]),
            {
                "load_gbps": tuple(np.round(load, 3).tolist()),
                "oneway_us": tuple(np.round(delay + noise, 1).tolist()),
            },
        )

    def _look_links(self, ids: tuple[str, ...]) -> StateRows:
        rows = self._known(self._links, ids)
        return StateRows(
            "link_states",
            _names(self._links[rows]),
            {
                "up": tuple(self._up()[rows].tolist()),
                "drained": tuple(self._drained[rows].tolist()),
                "load_gbps": tuple(np.round(self._load_gbps()[rows], 3).tolist()),
            },
        )

    def _look_servers(self, ids: tuple[str, ...]) -> StateRows:
        rows = self._known(self._servers, ids)
        free = tuple(self._free[rows].tolist())
        return StateRows("server_states", _names(self._servers[rows]), {"free_chips": free})

    def _look_devices(self, ids: tuple[str, ...]) -> StateRows:
        rows = self._known(self._devices, ids)
        columns: dict[str, tuple[Value, ...]] = {
            "up": tuple(self._device_up[rows].tolist()),
            "boots": tuple(self._boots[rows].tolist()),
        }
        return StateRows("equipment_states", _names(self._devices[rows]), columns)

    def _look_orders(self, ids: tuple[str, ...]) -> StateRows:
        known = tuple(order for order in ids if order in self._orders)
        names = ("site", "item", "amount", "ordered_at_s", "due_at_s", "delivered")
        return StateRows("order_states", known, {n: tuple(self._orders[order][n] for order in known) for n in names})

    @staticmethod
    def _known(own: Array, ids: tuple[str, ...]) -> Array:
        return np.flatnonzero(np.isin(own, texts(ids)))

    def _drain(self, action: Action, at_s: float) -> str:
        row = _row(self._links, action.subject)
        if row < 0:
            return f"there is no link {action.subject}"
        deaf = any(
            fault.kind == "deaf" and fault.subject == action.subject for fault in filter(self._active, self._faults)
        )
        if not deaf:
            self._drained[row] = action.kind == "drain_link"
        self._route()
        self._tell("link_states", [action.subject])
        return ""

    def _restart(self, action: Action, at_s: float) -> str:
        row = _row(self._devices, action.subject)
        if row < 0:
            return f"there is no device {action.subject}"
        if self._boots[row] == action.sets[0].after:
            return ""
        self._boots[row] = action.sets[0].after
        self._device_up[row] = False
        self._boot_until[row] = at_s + BOOT_S
        self._tell("equipment_states", [action.subject])
        return ""

    def _start(self, action: Action, at_s: float) -> str:
        row = action.adds[0].values
        server, chips = _row(self._servers, str(row["server"])), int(row["chips"])
        if server < 0:
            return f"there are no chips {row['server']}"
        if any(job == action.subject for _, _, _, job in self._jobs):
            return ""
        if self._free[server] < chips:
            return f"{row['server']} has {self._free[server]} free chips, not {chips}"
        self._free[server] -= chips
        self._held[server] += chips
        self._jobs.append((action.ends_at_s, server, chips, action.subject))
        self._tell("server_states", self._servers[[server]])
        return ""

    def _order(self, action: Action, at_s: float) -> str:
        row = action.adds[0].values
        if action.id in self._orders:
            return ""
        self._orders[action.id] = {
            "site": str(row["site"]),
            "item": str(row["kind"]),
            "amount": 1,
            "ordered_at_s": at_s,
            "due_at_s": action.ends_at_s,
            "delivered": False,
        }
        self._tell("order_states", [action.id])
        return ""


def _row(ids: Array, name: str) -> int:
    """The position of a name among sorted ids; -1 where it is not."""
    row = int(np.searchsorted(ids, name.encode()))
    return row if row < len(ids) and ids[row] == name.encode() else -1


def _names(ids: Array) -> tuple[str, ...]:
    return tuple(row.decode() for row in ids.tolist())
