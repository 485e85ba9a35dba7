"""What a lab counted, as the channels of telemetry that every network tells."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from karez.lab.asked import COUNTED, PORT_COUNTS, Counted, Plan
from karez.lab.hosts import LARGE_BYTES, LARGE_EVERY, SMALL_BYTES
from karez.twin import World
from karez.twin.table import Array, texts
from karez.twin.telemetry import Samples

# How often counters and routers are asked, it is looked at what links carry (that one is empty is what a drain waits
# for), and users tell what came: over less, few packets would be none (s).
EVERY_S = {"counter": 1.0, "load": 0.5, "user": 0.5}
# So much before a time is that time (s).
EARLY_S = 1e-3
# What a packet has besides its payload on a link: Ethernet, IP and UDP headers (bytes).
HEADER_BYTES = 42
US_PER_NS = 1e-3
# What routers say to each other over a link: packets of BFD, up to a quarter sooner than their interval (RFC 5880,
# 6.8.7), and of the routing protocol, with updates now and then (bytes, bytes a second).
BFD_BYTES, ROUTING_BYTES_PER_S = 66, 300.0
SOONEST_SHARE = 0.75


class Telemetry:
    """The channels of one lab; each call tells what came since the last one."""

    def __init__(self, world: World, plan: Plan, count: Callable[[bool], Counted]) -> None:
        """`count` asks the lab, and whether for its interfaces too; what was counted so far is told to nobody."""
        self._count = count
        lines, links = plan.fabric.lines, [line.link for line in plan.fabric.lines]
        tests = 2 * len(lines)
        # Legs by way: those that went there from its end, and the replies of the tests from the other end.
        own = np.arange(tests)
        self._legs = np.stack([2 * own, 2 * (own ^ 1) + 1])
        self._users = 2 * np.arange(tests, len(plan.streams))
        self._probe_ids = texts(f"{link}{way}" for link in links for way in "><")
        self._counter_ids = texts(f"{link}@{end}" for link in links for end in "ab")
        self._user_ids = texts(plan.demands)
        self._observer_ids = texts([plan.name])
        self._device_ids = texts(router.id for router in plan.fabric.routers)
        self._router = np.array([line.routers[end] for line in lines for end in (0, 1)], np.int64)
        demands = world["demands"]
        self._gbps = demands["gbps"][demands.rows(self._user_ids)] if len(self._user_ids) else np.zeros(0)
        self._per_s = np.array([stream.per_s for stream in plan.streams[tests:]])
        bfd_s = plan.protocols.bfd_ms / 1e3
        self._routing_bytes_per_s = ROUTING_BYTES_PER_S + (BFD_BYTES / (SOONEST_SHARE * bfd_s) if bfd_s else 0.0)
        self._gbps_per_byte_per_s = _scale(float(self._gbps.sum()), float(self._per_s.sum()))
        self._before = count(True)
        self._ports_before = self._before
        # What links carried and took when that was last looked at (by line; nan: nobody knows).
        self.load_gbps, self.oneway_us = np.full((2, len(lines)), np.nan)
        self._loads_before, self._users_before = self._before, self._before
        self._heard_s, self._told_s = 0.0, dict[str, float]()

    def heard(self, at_s: float) -> tuple[Samples, ...]:
        """What was counted since last time; interfaces, their light and routers once a second, when one is full.

        What links carry is looked at twice a second.
        """
        due, loads_due, users_due = (self._is_due(channel, at_s) for channel in EVERY_S)
        self._heard_s = at_s
        now, before = self._count(due or loads_due), self._before
        self._before = now
        came = _grown(now, before)
        stalled = {"stalled_ago_s": np.array([now.stalled_ago_s])}
        told = [Samples("observer", at_s, self._observer_ids, stalled)]
        probes = self._probes(came)
        told.append(Samples("probe", at_s, self._probe_ids, probes))
        if len(self._user_ids) and users_due:
            told.append(Samples("user", at_s, self._user_ids, self._demands(now)))
            self._users_before = now
        if due:
            counters = self._counters(now, at_s)
            told.append(Samples("counter", at_s, self._counter_ids, counters))
            self.oneway_us = probes["oneway_us"].reshape(-1, 2).max(axis=1)
            told.append(Samples("optical", at_s, self._counter_ids, {"power_dbm": now.power_dbm.copy()}))
            told.append(Samples("ping", at_s, self._device_ids, self._pings(now)))
            told.append(Samples("transit", at_s, self._device_ids, self._transits(now)))
            self._ports_before = now
        if loads_due:
            self.load_gbps = self._tx_gbps(now, self._loads_before).reshape(-1, 2).max(axis=1)
            self._loads_before = now
        return tuple(told)

    def _is_due(self, channel: str, at_s: float) -> bool:
        """Whether a span of a channel has just become full, and half of one passed since it told; users begin later."""
        every_s, told_s = EVERY_S[channel], self._told_s.get(channel)
        if told_s is None:
            due = channel != "user"
        else:
            due = _full(at_s, every_s) > _full(self._heard_s, every_s) and at_s - told_s >= every_s / 2.0
        if due or told_s is None:
            self._told_s[channel] = at_s
        return due

    def _probes(self, came: dict[str, Array]) -> dict[str, Array]:
        sums = {name: values[self._legs].sum(axis=0) for name, values in came.items()}
        return {
            "sent": sums["settled"],
            "lost": sums["lost"],
            "sent_large": sums["settled_large"],
            "lost_large": sums["lost_large"],
            "oneway_us": _mean_us(sums["delay_ns"], sums["arrived"]),
        }

    def _demands(self, now: Counted) -> dict[str, Array]:
        before = self._users_before
        span_s = now.at_s - before.at_s
        mine = {name: values[self._users] for name, values in _grown(now, before).items()}
        sent = mine["settled"] + mine["settled_large"]
        return {
            "sent": sent,
            "lost": mine["lost"] + mine["lost_large"],
            "oneway_us": _mean_us(mine["delay_ns"], mine["arrived"]),
            "gbps": sent / span_s / self._per_s * self._gbps,
        }

    def _counters(self, now: Counted, at_s: float) -> dict[str, Array]:
        """What interfaces counted; nothing of routers that do not tell. Clocks are told as if all were read at once."""
        ports, untold = now.ports.astype(float), now.quiet[self._router]
        rx_packets, rx_errors, tx_packets, _ = ports.T
        told = {
            "tx_packets": tx_packets,
            "rx_packets": rx_packets,
            "rx_errors": rx_errors,
            "tx_drops": now.drops.astype(float),
            "tx_gbps": self._tx_gbps(now, self._ports_before),
            "host_at_s": at_s + (now.read_at_s - now.taken_at_s)[self._router],
        }
        for values in told.values():
            values[untold] = np.nan
        return told

    def _tx_gbps(self, now: Counted, before: Counted) -> Array:
        """What users sent through each interface between two readings; nan where a router does not tell."""
        sent_bytes = _users_bytes(now, self._legs) - _users_bytes(before, self._legs)
        span_s = (now.read_at_s - before.read_at_s)[self._router]
        gbps = np.maximum(sent_bytes / span_s - self._routing_bytes_per_s, 0.0) * self._gbps_per_byte_per_s
        return np.asarray(np.where(now.quiet[self._router], np.nan, gbps))

    def _transits(self, now: Counted) -> dict[str, Array]:
        """What came into routers and left them, but for the tests of their links, which would hide what users lose."""
        before = self._ports_before
        sums = {name: values[self._legs].sum(axis=0) for name, values in _grown(now, before).items()}
        sent, lost = (sums[name] + sums[f"{name}_large"] for name in ("settled", "lost"))
        tests = np.bincount(self._router, sent + (sent - lost)[np.arange(len(sent)) ^ 1], len(self._device_ids))
        passed = np.maximum(now.passed - before.passed - tests[:, None], 0.0)
        passed[now.quiet] = np.nan
        return dict(zip(("came", "left"), passed.T, strict=True))

    def _pings(self, now: Counted) -> dict[str, Array]:
        answers = now.answers.astype(float)
        answers[now.quiet] = np.nan
        return {"answers": answers, "cpu_share": np.full(len(answers), np.nan)}


def _full(at_s: float, every_s: float) -> int:
    """How often a span was full until then; who wakes for a time may wake a little before it."""
    return math.floor((at_s + EARLY_S) / every_s)


def _mean_us(delay_ns: Array, arrived: Array) -> Array:
    mean = np.divide(delay_ns * US_PER_NS, arrived, out=np.full(len(arrived), np.nan), where=arrived > 0)
    return np.asarray(mean)


def _grown(now: Counted, before: Counted) -> dict[str, Array]:
    """By how much each counter of legs has grown."""
    return {name: getattr(now, name) - getattr(before, name) for name in COUNTED}


def _users_bytes(counted: Counted, legs: Array) -> Array:
    """What each interface sent of the users' traffic: all but the tests of its link (bytes)."""
    small, large = (getattr(counted, name)[legs].sum(axis=0) for name in ("settled", "settled_large"))
    tests = small * (SMALL_BYTES + HEADER_BYTES) + large * (LARGE_BYTES + HEADER_BYTES)
    return np.asarray(counted.ports[:, PORT_COUNTS.index("tx_bytes")] - tests)


def _scale(gbps: float, per_s: float) -> float:
    """What a byte a second of the users' packets stands for (Gbit/s)."""
    mean_bytes = SMALL_BYTES + (LARGE_BYTES - SMALL_BYTES) / LARGE_EVERY + HEADER_BYTES
    return gbps / (per_s * mean_bytes) if per_s else 0.0
