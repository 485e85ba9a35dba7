"""The network that lives: time passes from event to event, and between them nothing changes.

Traffic swings at whole seconds; faults begin and end, sessions go and come, devices boot when it is time. So what is
true at a time does not depend on how often anybody looked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np

from karez.adapters.embedded.acts import ACTS, acted
from karez.adapters.embedded.chance import POLL, chance
from karez.adapters.embedded.effects import PATIENCE_S
from karez.adapters.embedded.faults import FAULTS, FOREVER_S, Fault
from karez.adapters.embedded.forks import Forks
from karez.adapters.embedded.living import Living
from karez.adapters.embedded.plant import row
from karez.adapters.embedded.spoils import begun
from karez.adapters.embedded.telemetry import NOISE_US, USUAL, Packets, Telemetry
from karez.adapters.embedded.told import differing, load_gbps, looked, shown, values
from karez.adapters.embedded.traffic import (
    FELT_LOSS_SHARE,
    LEAST_RATE_SHARE,
    MOST_SWING_SHARE,
    RECOVERED_SHARE,
    Swing,
    Ways,
    flowed,
)
from karez.plan import Action
from karez.twin import World
from karez.twin.table import Array, strings
from karez.twin.telemetry import Samples, StateRows

# What a lost share counts as in the users' loss (us).
LOST_US = 1e6
# What may come of adding up in another order.
ROUNDING_US, ROUNDING_SHARE = 1e-6, 1e-12
# A demand that gets through less than this is broken.
BROKEN_SHARE = 0.01


class EmbeddedNetwork(Forks):
    """The network that `world` intends, alive from `start_s` on.

    Each second `polls_per_s` links, those with traffic before the others in turn, tell their load and delay; of a
    large network so many have telemetry, too. State that a control plane would report at once is told as it changes.
    """

    kinds = frozenset(ACTS)

    def __init__(
        self, world: World, *, seed: int, start_s: float, polls_per_s: int = 1_000, packets: Packets = USUAL
    ) -> None:
        """Start with everything up, every demand at its mean, every chip as the actual twin has it."""
        self._living = Living(world, seed=seed, at_s=start_s)
        for table, ids in differing(self._living, world):
            self._living.tell(table, ids)
        self._seed, self._polls, self._turn = seed, polls_per_s, 0
        self._piece_s = self._polled_s = start_s
        count = len(self._living.plant.demands.ids)
        self._swing, self._react = Swing(seed, count), np.ones(count)
        self._piece_sent, self._piece_lost = np.zeros(count), np.zeros(count)
        self._lost = self._rate = 0.0
        self._calm: bool | None = None
        self._due_s = np.inf
        self._bind()
        # What users bear on a day on which nothing is wrong, at the hour when all offer the most they ever do.
        self._unhurt_us, self._unhurt_lost = np.full(count, np.inf), np.ones(count)
        self._swung = np.full(count, 1.0 + MOST_SWING_SHARE)
        self._evaluate()
        self._unhurt_us, self._unhurt_lost = self._felt_us() + ROUNDING_US, self._lost_shares() + ROUNDING_SHARE
        self._swung = self._swing.at(math.floor(start_s))
        self._evaluate()
        told = self._watched()
        self._telemetry = Telemetry(self._living.plant, told, seed=seed, start_s=start_s, packets=packets)

    def inject(self, fault: Fault) -> None:
        """Let something go wrong.

        Raises:
            ValueError: there is no such kind of fault, or the network has no such subject.
        """
        if fault.kind not in FAULTS:
            raise ValueError(f"there is no fault {fault.kind}; there are {', '.join(FAULTS)}")
        if not self._living.has(fault):
            raise ValueError(f"this network has no {FAULTS[fault.kind].about} {fault.subject} for {fault.kind}")
        self._living.coming = sorted((*self._living.coming, fault), key=lambda other: other.at_s)
        self._due_s = min(self._due_s, max(fault.at_s, self._at_s))

    @property
    def next_event_s(self) -> float:
        """The next second at which something begins, ends or changes by itself; inf where nothing will."""
        return self._due_s

    @property
    def loss_gbps_us(self) -> float:
        """The users' loss now: lost Gbit/s as a second of delay each, and delay above the first day's worst."""
        return self._rate

    @property
    def lost(self) -> float:
        """The users' loss so far (Gbit/s x us x s)."""
        return self._lost + self._rate * (self._at_s - self._piece_s)

    def broken(self) -> tuple[str, ...]:
        """The protected demands of which next to nothing arrives."""
        demands = self._living.plant.demands
        return strings(demands.ids[demands.protected & (1.0 - self._lost_shares() < BROKEN_SHARE)])

    def delivered(self, demand: str) -> float:
        """The share of what a demand would offer that arrives.

        Raises:
            KeyError: there is no such demand.
        """
        at = row(self._living.plant.demands.ids, demand)
        if at < 0:
            raise KeyError(f"there is no demand {demand}")
        return float(1.0 - self._lost_shares()[at])

    def fork(self) -> Self:
        """A copy that lives on by itself, and alike as long as the same is asked of it."""
        twin = super().fork()
        twin._bind()
        return twin

    def live(self, until_s: float) -> None:
        """Move on to `until_s`, whether anybody looks or not."""
        while self._at_s < until_s or self._at_s >= self._due_s:
            if self._at_s >= self._due_s:
                self._happen()
                continue
            next_s = self._passed_over(until_s)
            if next_s <= self._at_s:
                next_s = min(math.floor(self._at_s) + 1.0, self._due_s, until_s)
            self._living.meter.pass_time(next_s - self._at_s)
            self._living.at_s = next_s
            if next_s >= self._due_s or next_s == math.floor(next_s):
                self._happen()

    @property
    def waited_s(self) -> float:
        """How long whoever asked all devices last had to wait for them (s)."""
        return PATIENCE_S if self._living.effects.waited_for.any() else 0.0

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What was measured, and what changed, since last time; the network moves on to `at_s`."""
        self.live(at_s)
        changed = tuple(told for table, ids in self._living.news() if (told := self.look(table, ids)).ids)
        if math.floor(at_s) == math.floor(self._polled_s):
            return changed
        self._polled_s = at_s
        return (*changed, self._measured(self._poll()))

    def hear(self, at_s: float) -> tuple[Samples, ...]:
        """The telemetry since it was last heard; the network moves on to `at_s`."""
        self.live(at_s)
        return self._telemetry.heard(at_s, self._living.meter, self._living.effects)

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """The rows as they are now."""
        return looked(self._living, table, tuple(ids))

    def apply(self, action: Action, at_s: float) -> str:
        """What stands in the way; empty when the network took the action."""
        self.live(at_s)
        self._close_piece()
        why = acted(self._living, action)
        self._change()
        self._evaluate()
        self._due_s = self._next_s()
        return why

    @property
    def _at_s(self) -> float:
        return self._living.at_s

    def _passed_over(self, until_s: float) -> float:
        """Up to when all is surely well, in whole seconds; traffic is at its mean for that time."""
        at_s, end_s = self._at_s, math.floor(min(until_s, self._due_s))
        if at_s != math.floor(at_s) or end_s <= at_s + 1.0 or not self._is_calm():
            return at_s
        self._swung = self._swing.mean(int(at_s), end_s)
        self._evaluate()
        return float(end_s)

    def _is_calm(self) -> bool:
        """Whether nothing is wrong or on its way, so that no traffic which may come is hurt."""
        if self._calm is None:
            still = not self._living.active and self._living.stock.still and math.isinf(self._living.sessions.next_s)
            self._calm = still and bool((self._react == 1.0).all()) and not self._may_hurt()
        return self._calm

    def _may_hurt(self) -> bool:
        """Whether users lose more than on the first day, or links drop, if all offer the most they ever do."""
        swung, self._swung = self._swung, np.full(len(self._swung), 1.0 + MOST_SWING_SHARE)
        self._evaluate()
        hurts, self._swung = self._rate > 0.0 or bool(self._living.meter.rates.drops.any()), swung
        self._evaluate()
        return hurts

    def _happen(self) -> None:
        """All that happens at this very time."""
        self._close_piece()
        if self._at_s >= self._due_s:
            self._change()
        if self._at_s == math.floor(self._at_s):
            self._whole_second(int(self._at_s))
        self._deliver()
        self._evaluate()
        self._due_s = self._next_s()

    def _close_piece(self) -> None:
        """Take what was lost since something last happened into the sums."""
        duration_s, rates = self._at_s - self._piece_s, self._living.meter.rates
        self._lost += self._rate * duration_s
        self._piece_sent += rates.sent * duration_s
        # To be let in by less than all is no loss that users would react to.
        lost = rates.sent * self._living.gear.limited - rates.received
        self._piece_lost += np.maximum(lost, 0.0) * duration_s
        self._piece_s = self._at_s

    def _whole_second(self, second: int) -> None:
        """Users react to what they lost in the last second, and offer something else."""
        hurt = self._piece_lost > FELT_LOSS_SHARE * self._piece_sent
        if hurt.any() or (self._react < 1.0).any():
            less, more = self._react / 2.0, self._react + RECOVERED_SHARE
            self._react = np.where(hurt, np.maximum(less, LEAST_RATE_SHARE), np.minimum(more, 1.0))
            self._calm = None
        self._piece_sent[:] = 0.0
        self._piece_lost[:] = 0.0
        self._swung = self._swing.at(second)
        self._living.tell("server_states", self._living.stock.trade(second))
        behind = ~np.isnan(self._living.effects.behind_since_s)
        if behind.any():
            self._living.tell("daemon_states", self._living.plant.programs.ids[behind])

    def _deliver(self) -> None:
        servers, orders = self._living.stock.deliver(self._at_s)
        self._living.tell("server_states", servers)
        self._living.tell("order_states", orders)

    def _change(self) -> None:
        """Faults that begin and end, devices that are back; what that does to links and sessions."""
        living, effects, programs = self._living, self._living.effects, self._living.plant.programs
        before, silent, running = shown(living), effects.given_up, effects.program_up.copy()
        begun(living)
        effects.work_out(living.gear, living.active, living.at_s)
        living.fall(np.flatnonzero(before[0] & ~effects.carrier))
        living.sessions.follow(effects, living.at_s)
        living.sessions.converged(living.gear, living.at_s)
        self._bind()
        self._calm = None
        changed = [was != now for was, now in zip(before, shown(living), strict=True)]
        living.tell("link_states", living.plant.links.ids[np.any(changed, axis=0)])
        woke = silent != effects.given_up
        living.tell("equipment_states", living.plant.devices.ids[woke])
        asked = np.append(woke, False)[programs.device] | (running != effects.program_up)
        living.tell("daemon_states", programs.ids[asked])

    def _next_s(self) -> float:
        """When something happens next, by what is known now."""
        living, gear, at_s = self._living, self._living.gear, self._at_s
        times = [living.sessions.next_s, living.effects.next_s, living.forgets_s, living.stock.next_s(at_s)]
        times += [fault.at_s for fault in living.coming[:1]]
        times += [fault.until_s for fault in living.active if fault.until_s < FOREVER_S]
        for until_s in (gear.boot_until_s, gear.restart_until_s):
            times.append(float(until_s.min(initial=np.inf, where=until_s > at_s)))
        return min(times)

    def _bind(self) -> None:
        links = self._living.plant.links
        self._ways: Ways = self._living.effects.ways(links.base_us, links.capacity_gbps)
        self._spots = self._living.effects.spots()

    @property
    def _needed(self) -> Array:
        """What users would send (Gbit/s a demand)."""
        return np.asarray(self._living.plant.demands.gbps * self._living.effects.surge * self._swung)

    def _evaluate(self) -> None:
        """Let traffic flow as things are now."""
        living, demands, needed = self._living, self._living.plant.demands, self._needed
        sent = needed * self._react
        rates, paths = living.meter.rates, living.sessions.paths
        flowed(self._ways, self._spots, paths, sent, living.gear.limited, demands.start, demands.goal, rates)
        if living.effects.noisy:
            living.effects.disturb(rates)
        more_us = np.maximum(self._felt_us() - self._unhurt_us, 0.0)
        lost = np.maximum(self._lost_shares() - self._unhurt_lost, 0.0)
        self._rate = float((needed * (lost * LOST_US + more_us)).sum())

    def _felt_us(self) -> Array:
        """The mean delay of what arrives (us a demand); 0 where nothing does."""
        rates = self._living.meter.rates
        felt = np.divide(rates.felt_us, rates.received, out=np.zeros(len(self._react)), where=rates.received > 0.0)
        return np.asarray(felt)

    def _lost_shares(self) -> Array:
        """The share of what users would send that does not arrive."""
        needed = self._needed
        arrived = np.divide(self._living.meter.rates.received, needed, out=np.ones(len(needed)), where=needed > 0.0)
        return np.asarray(np.clip(1.0 - arrived, 0.0, 1.0))

    def _watched(self) -> Array:
        """The links that have telemetry: all, or of a large network those with traffic first."""
        count = len(self._living.plant.links.ids)
        if count <= self._polls:
            return np.arange(count)
        order = np.argsort(load_gbps(self._living) == 0.0, kind="stable")
        return np.sort(order[: self._polls])

    def _poll(self) -> Array:
        """The links whose turn it is to tell their load and delay."""
        count = len(self._living.plant.links.ids)
        if count <= self._polls:
            return np.arange(count)
        self._turn += 1
        carrying = load_gbps(self._living) > 0.0
        order = np.r_[np.flatnonzero(carrying), np.flatnonzero(~carrying)]
        width = int(carrying.sum()) or len(order)
        # Nine tenths of the polls go round the links with traffic, the rest round the others.
        busy = min(width, self._polls - self._polls // 10)
        idle = min(len(order) - width, self._polls - busy)
        first, second = self._turn * busy, self._turn * idle
        picked = order[(first + np.arange(busy)) % width]
        spare = order[width + (second + np.arange(idle)) % max(1, len(order) - width)] if idle > 0 else picked[:0]
        return np.unique(np.r_[picked, spare])

    def _measured(self, at: Array) -> StateRows:
        """The load of links and their delay in the slower direction; of dark ones the delay that they had."""
        links, rates = self._living.plant.links, self._living.meter.rates
        lost, oneway_us = rates.probe_lost.reshape(-1, 2)[at], rates.probe_us.reshape(-1, 2)[at]
        passed = 1.0 - lost
        slower_us = np.divide(oneway_us, passed, out=np.zeros_like(passed), where=passed > 0.0).max(axis=1, initial=0.0)
        noise_us = np.abs(chance(self._seed, POLL, self._at_s).normal(0.0, NOISE_US, len(at)))
        told_us = np.where(passed.any(axis=1), slower_us, links.base_us[at]) + noise_us
        load = np.round(load_gbps(self._living)[at], 3)
        columns = {"load_gbps": values(load), "oneway_us": values(np.round(told_us, 1))}
        told = self._living.link_names if len(at) == len(links.ids) else strings(links.ids[at])
        return StateRows("link_states", told, columns)
