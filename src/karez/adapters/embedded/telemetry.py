"""What hosts tell of links, routers and traffic: probes, counters, users, light, pings; with noise of its own.

Noise depends on seed, channel and time. What was not measured is nan or a count of 0. A step of any length tells the
sums of that time, drawn as the sums of its packets are distributed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from karez.adapters.embedded.chance import BUILT, COUNTER, OPTICAL, PING, PROBE, TRANSIT, USER, chance
from karez.adapters.embedded.effects import DARK_DBM, HOT_SHARE, UNEVEN_SHARE, Effects
from karez.adapters.embedded.forks import Forks
from karez.adapters.embedded.meter import Meter
from karez.adapters.embedded.plant import Plant, named
from karez.adapters.embedded.traffic import PACKETS_PER_S_PER_GBPS
from karez.twin.table import Array
from karez.twin.telemetry import Samples

# How often each channel tells (a second).
USERS_PER_S, TOLD_PER_S = 2.0, 1.0
# Noise of a probe: that of clocks and queues of the hosts (us), and rare spikes.
NOISE_US = 15.0
SPIKE_SHARE, SPIKE_US = 1e-3, 300.0
# So many probes are drawn one by one; of more the mean is drawn as it is distributed.
FEW_PROBES = 64
# Users measure the mean of many packets (us).
USER_NOISE_US = 5.0
# Counters are read up to this much too early; those of one router's transit nearly at once (s).
SKEW_S, TRANSIT_SKEW_S = 1e-3, 2e-5
CLOCK_NOISE_S = 1e-4
# Light at a receiver (dBm): from which to which, and its noise (dB).
POWER_DBM = (-10.0, -6.0)
POWER_NOISE_DB = 0.1
# Pings: how many a time, the share lost, and what a processor does when idle and when its links are full.
PINGS, PING_LOSS_SHARE = 5, 1e-4
IDLE_SHARE, BUSY_SHARE, CPU_NOISE_SHARE = 0.15, 0.3, 0.02
# What is told late is so old (s).
LATE_S = 30.0
# So small a share that arrives is none.
NOTHING_SHARE = 1e-12
# Times are multiples of something that no float is; this much is no time (s).
TINY_S = 1e-6


class Packets(NamedTuple):
    """How many packets there are a second: small and large tests over each way of a link, users' for each Gbit/s.

    What became of a packet from end to end is known so long after it was sent (`settles_s`): until then it may come.
    """

    small_per_s: float = 20.0
    large_per_s: float = 5.0
    users_per_s_per_gbps: float = PACKETS_PER_S_PER_GBPS
    settles_s: float = 0.0


USUAL = Packets()


class Settling(Forks):
    """Sums as they were some time ago, by what they were whenever somebody looked; nothing had flowed at the start."""

    def __init__(self, start_s: float, lag_s: float, size: int) -> None:
        """Nobody has looked yet."""
        self._lag_s, self._seen = lag_s, [(start_s, np.zeros(size))]

    def settled(self, at_s: float, now: Array) -> Array:
        """What was the sum `lag_s` before `at_s`, at which it is `now`."""
        if not self._lag_s:
            return now
        wanted_s = at_s - self._lag_s
        self._seen.append((at_s, now))
        while len(self._seen) > 2 and self._seen[1][0] <= wanted_s:
            self._seen.pop(0)
        (before_s, before), (after_s, after) = self._seen[:2]
        share = min(max(wanted_s - before_s, 0.0) / (after_s - before_s), 1.0) if after_s > before_s else 1.0
        return np.asarray(before + share * (after - before))


class Telemetry(Forks):
    """The channels of a network, of the links `told` (rows); what each has told so far."""

    def __init__(self, plant: Plant, told: Array, *, seed: int, start_s: float, packets: Packets) -> None:
        """Nothing was told yet."""
        self._plant, self._seed, self._packets = plant, seed, packets
        ends = plant.links.ends[told]
        self._ports = np.stack([2 * told, 2 * told + 1], axis=1).ravel()
        # The way that each port receives; the hosts at a port and at the other end.
        self._inward = self._ports ^ 1
        self._here, self._there = ends.ravel(), ends[:, ::-1].ravel()
        self._used = (
            np.repeat(plant.links.meant_up[told], 2) & (plant.links.both[told][:, None] | [True, False]).ravel()
        )
        self._routers = np.unique(plant.sites.router[plant.sites.router >= 0])
        self._router_site = plant.devices.site[self._routers]
        self._router_vertex = plant.sites.vertex[self._router_site]
        self._ids = {
            "probe": named(plant.links.ids[told], ">", "<"),
            "counter": named(plant.links.ids[told], "@a", "@b"),
            "optical": named(plant.links.ids[told], "@a", "@b"),
            "user": plant.demands.ids,
            "ping": plant.devices.ids,
            "transit": plant.devices.ids[self._routers],
        }
        self._power_dbm = chance(seed, BUILT, 0.0).uniform(*POWER_DBM, len(plant.links.ids) * 2)[self._ports]
        self._told_s = dict.fromkeys(self._ids, start_s)
        ports, demands, routers = len(self._ports), len(plant.demands.ids), len(self._routers)
        self._probes = np.zeros((4, ports))
        self._counts, self._tested = np.zeros((4, ports)), np.zeros((2, ports))
        self._tally = np.zeros((4, ports))
        self._said = np.zeros((4, ports))
        self._frozen = np.full((4, ports), np.nan)
        self._since = np.full((4, ports), np.nan)
        self._users = np.zeros((4, demands))
        sums = 2 * (ports + demands)
        self._settling, self._settled = Settling(start_s, packets.settles_s, sums), np.zeros(sums)
        self._transit = np.zeros((2, routers))
        self._past: list[tuple[float, dict[str, Array], dict[str, Array]]] = []

    def heard(self, at_s: float, meter: Meter, effects: Effects) -> tuple[Samples, ...]:
        """What each channel whose time has come tells at `at_s`."""
        told: list[Samples] = []
        sums, ways = meter.sums, self._ports
        now = np.concatenate([sums.probe_lost[ways], sums.probe_lost_large[ways], sums.sent, sums.received])
        self._settled = self._settling.settled(at_s, now)
        if self._due("probe", at_s, self._packets.small_per_s):
            told.append(self._tell("probe", at_s, self._probe(at_s, meter, effects)))
        if self._due("user", at_s, USERS_PER_S):
            told.append(self._tell("user", at_s, self._user(at_s, meter)))
        if self._due("counter", at_s, TOLD_PER_S):
            counter, transit = self._counter(at_s, meter, effects), self._through(at_s, meter, effects)
            self._past.append((at_s, counter, transit))
            self._past = [entry for entry in self._past if entry[0] > at_s - LATE_S - 2.0 / TOLD_PER_S]
            counter, transit = self._aged(at_s, counter, transit, effects)
            told.append(self._tell("counter", at_s, counter))
            told.append(self._tell("optical", at_s, self._optical(at_s, effects)))
            told.append(self._tell("ping", at_s, self._ping(at_s, meter, effects)))
            told.append(self._tell("transit", at_s, transit))
        return tuple(told)

    def _due(self, channel: str, at_s: float, per_s: float) -> bool:
        return _ticks(at_s, per_s) > _ticks(self._told_s[channel], per_s) and len(self._ids[channel]) > 0

    def _tell(self, channel: str, at_s: float, columns: dict[str, Array]) -> Samples:
        self._told_s[channel] = at_s
        return Samples(channel, at_s, self._ids[channel], columns)

    def _probe(self, at_s: float, meter: Meter, effects: Effects) -> dict[str, Array]:
        last_s, random, lag_s = self._told_s["probe"], chance(self._seed, PROBE, at_s), self._packets.settles_s
        count, large = (_ticks(at_s - lag_s, each) - _ticks(last_s - lag_s, each) for each in self._packets[:2])
        ways, sums = self._ports, meter.sums
        settled = self._settled[: 2 * len(ways)].reshape(2, -1)
        now = np.stack([*settled, sums.probe_us[ways], sums.probe_lost[ways]])
        lost, lost_large, oneway_us, gone = (now - self._probes) / (at_s - last_s)
        self._probes = now
        # A way is received at the other end; who does not answer there leaves all of it lost.
        hears, sends = ~effects.mute[self._there], self._used & ~effects.mute[self._here]
        received = np.maximum(1.0 - gone, NOTHING_SHARE)
        oneway_us = oneway_us / received + self._noise_us(random, count, effects)
        slow_us, clock_us = effects.slow_us[self._there], effects.clock_us
        oneway_us += slow_us + clock_us[self._there] - clock_us[self._here]
        passes = np.where(hears, 1.0 - effects.slow_loss[self._there], 0.0)
        sent = np.where(sends, count, 0)
        sent_large = np.where(sends, large, 0)
        lost_count = random.binomial(sent, _share(1.0 - (1.0 - lost) * passes))
        return {
            "sent": sent,
            "lost": lost_count,
            "sent_large": sent_large,
            "lost_large": random.binomial(sent_large, _share(1.0 - (1.0 - lost_large) * passes)),
            "oneway_us": np.where((lost_count < sent) & (received > NOTHING_SHARE), oneway_us, np.nan),
        }

    def _noise_us(self, random: np.random.Generator, count: int, effects: Effects) -> Array:
        """The mean noise of so many probes on each way."""
        ways = len(self._ports)
        uneven_us = effects.jitter_us[self._ports] + UNEVEN_SHARE * effects.slow_us[self._there]
        if count <= FEW_PROBES:
            noise = np.abs(random.standard_normal((count, ways))).mean(axis=0) * NOISE_US
            uneven = (random.random((count, ways)) - 0.5).mean(axis=0) if uneven_us.any() else 0.0
        else:
            mean, deviation = math.sqrt(2.0 / math.pi), math.sqrt((1.0 - 2.0 / math.pi) / count)
            noise = NOISE_US * (mean + deviation * random.standard_normal(ways))
            uneven = random.standard_normal(ways) / math.sqrt(12.0 * count)
        spikes = random.binomial(count, SPIKE_SHARE, ways)
        if spikes.any():
            noise += random.standard_gamma(spikes) * SPIKE_US / count
        return np.asarray(noise + uneven_us * uneven)

    def _user(self, at_s: float, meter: Meter) -> dict[str, Array]:
        duration_s, random, sums = at_s - self._told_s["user"], chance(self._seed, USER, at_s), meter.sums
        settled = self._settled[2 * len(self._ports) :].reshape(2, -1)
        now = np.stack([*settled, sums.felt_us, sums.received])
        offered, received, felt_us, came = now - self._users
        before, self._users = self._whole(self._users[0]), now
        sent = self._whole(now[0]) - before
        arrived = np.divide(received, offered, out=np.ones(len(sent)), where=offered > 0.0)
        oneway_us = np.divide(felt_us, came, out=np.full(len(sent), np.nan), where=came > 0.0)
        oneway_us += USER_NOISE_US * random.standard_normal(len(sent))
        lost = random.binomial(sent, _share(1.0 - arrived))
        return {
            "sent": sent,
            "lost": lost,
            "oneway_us": np.where(lost < sent, np.maximum(oneway_us, 0.0), np.nan),
            "gbps": offered / duration_s,
        }

    def _counter(self, at_s: float, meter: Meter, effects: Effects) -> dict[str, Array]:
        last_s, random = self._told_s["counter"], chance(self._seed, COUNTER, at_s)
        # What does not depend on the truth is drawn first, so that forks share it.
        early_s = SKEW_S * random.random(len(self._ports))
        clock_noise_s = CLOCK_NOISE_S * random.standard_normal(len(self._ports))
        cumulated, tests = self._counted(random, meter, effects, at_s)
        rates = meter.rates
        rate = np.stack(
            [
                rates.tx[self._ports],
                rates.tx[self._inward] - rates.lost[self._inward] - rates.errors[self._inward],
                rates.errors[self._inward],
                rates.drops[self._ports],
            ]
        )
        shown = np.maximum(np.floor(cumulated - rate * self._packets.users_per_s_per_gbps * early_s), 0.0)
        shown = self._lied(np.maximum(shown, np.minimum(self._said, cumulated)), effects, last_s, at_s)
        sent = shown[0] - self._said[0]
        self._said = shown
        clock_s = effects.clock_us[self._here] / 1e6 + clock_noise_s
        columns = {
            "tx_packets": shown[0],
            "rx_packets": shown[1],
            "rx_errors": shown[2],
            "tx_drops": shown[3],
            "tx_gbps": np.maximum(sent - tests, 0.0) / (self._packets.users_per_s_per_gbps * (at_s - last_s)),
            "host_at_s": at_s + clock_s,
        }
        return _without(columns, effects.quiet[self._here])

    def _tests(self, random: np.random.Generator, at_s: float, meter: Meter, effects: Effects) -> Array:
        """Test packets of each way since last time: sent, lost, and arrived with errors (3 x ports)."""
        last_s, ways, sums = self._told_s["counter"], self._ports, meter.sums
        now = np.stack([sums.probe_lost[ways], sums.probe_lost_large[ways]])
        lost = (now - self._tested) / (at_s - last_s)
        self._tested = now
        sends = self._used & ~effects.mute[self._here] & effects.carrier[ways >> 1]
        errors, found = _share(effects.errors[ways]), np.zeros((3, len(ways)), np.int64)
        for each, share in zip((self._packets.small_per_s, self._packets.large_per_s), lost, strict=True):
            sent = np.where(sends, _ticks(at_s, each) - _ticks(last_s, each), 0)
            # What does not arrive well is lost, or arrives with errors.
            gone = random.binomial(sent, _share(1.0 - (1.0 - share) / np.maximum(1.0 - errors, 1e-12)))
            found += np.stack([sent, gone, random.binomial(sent - gone, errors)])
        return found

    def _counted(self, random: np.random.Generator, meter: Meter, effects: Effects, at_s: float) -> tuple[Array, Array]:
        """What each port has counted so far (sent, received, with errors, dropped; 4 x ports), and the tests sent."""
        sums, ways = meter.sums, self._ports
        now = np.stack([sums.tx[ways], sums.lost[ways], sums.errors[ways], sums.drops[ways]])
        before, after = (np.floor(each * self._packets.users_per_s_per_gbps) for each in (self._counts, now))
        carried, lost, errors, _ = now - self._counts
        self._counts = now
        sent = (after[0] - before[0]).astype(np.int64)
        passed = np.maximum(carried - lost, 0.0)
        gone = random.binomial(sent, _share(np.divide(lost, carried, out=np.zeros(len(ways)), where=carried > 0.0)))
        share = np.divide(errors, passed, out=np.zeros(len(ways)), where=passed > 0.0)
        bad = random.binomial(sent - gone, _share(share))
        tests = self._tests(random, at_s, meter, effects)
        sent, gone, bad = np.stack([sent, gone, bad]) + tests
        arrived = np.stack([sent - gone - bad, bad])[:, np.arange(len(ways)) ^ 1]
        self._tally += np.stack([sent, *arrived, after[3] - before[3]])
        return self._tally.copy(), tests[0]

    def _lied(self, shown: Array, effects: Effects, last_s: float, at_s: float) -> Array:
        """What is shown where counters stand still or count too much, since some moment after `last_s` or before it."""
        stuck_s, wild_s, wild = (each[self._ports] for each in (effects.stuck_s, effects.wild_s, effects.wild))
        span_s = last_s, at_s
        odd, stuck = self._from_then(self._since, wild_s, shown, span_s), np.isfinite(stuck_s)
        shown[1, odd] += np.floor((wild[odd] - 1.0) * np.maximum(shown[1, odd] - self._since[1, odd], 0.0))
        self._from_then(self._frozen, stuck_s, shown, span_s)
        shown[:, stuck] = self._frozen[:, stuck]
        return shown

    def _from_then(self, counted: Array, since_s: Array, shown: Array, span_s: tuple[float, float]) -> Array:
        """Which ports lie; `counted` has what each of them showed when it began to."""
        lies, (last_s, at_s) = np.isfinite(since_s), span_s
        counted[:, ~lies] = np.nan
        new = lies & np.isnan(counted[0])
        share = np.clip((since_s[new] - last_s) / (at_s - last_s), 0.0, 1.0)
        counted[:, new] = np.floor(self._said[:, new] + share * (shown[:, new] - self._said[:, new]))
        return np.asarray(lies)

    def _through(self, at_s: float, meter: Meter, effects: Effects) -> dict[str, Array]:
        """What came into each router and what left it since last time."""
        random = chance(self._seed, TRANSIT, at_s)
        spot = self._router_vertex
        now = np.stack([meter.sums.came[spot], meter.sums.left[spot]])
        since = (now - self._transit) * self._packets.users_per_s_per_gbps
        self._transit = now
        rate = np.stack([meter.rates.came[spot], meter.rates.left[spot]]) * self._packets.users_per_s_per_gbps
        since += rate * TRANSIT_SKEW_S * (random.random((2, len(spot))) - 0.5)
        came, left = np.where(spot >= 0, np.rint(np.maximum(since, 0.0)), np.nan)
        return _without({"came": came, "left": left}, effects.quiet[self._router_site])

    def _aged(
        self, at_s: float, counter: dict[str, Array], transit: dict[str, Array], effects: Effects
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """What is told where all is told late."""
        if not effects.late.any():
            return counter, transit
        past = [entry for entry in self._past if entry[0] <= at_s - LATE_S + TINY_S]
        nothing = {name: np.full(len(values), np.nan) for name, values in (counter | transit).items()}
        old_counter, old_transit = past[-1][1:] if past else (nothing, nothing)
        ports, routers = effects.late[self._here], effects.late[self._router_site]
        return (
            {name: np.where(ports, old_counter[name], values) for name, values in counter.items()},
            {name: np.where(routers, old_transit[name], values) for name, values in transit.items()},
        )

    def _optical(self, at_s: float, effects: Effects) -> dict[str, Array]:
        noise = POWER_NOISE_DB * chance(self._seed, OPTICAL, at_s).standard_normal(len(self._ports))
        power = np.maximum(self._power_dbm + noise - effects.dim_db[self._ports], DARK_DBM)
        power[effects.unlit[self._there] | ~self._plant.links.meant_up[self._ports >> 1]] = DARK_DBM
        power[effects.unlit[self._here]] = np.nan
        return {"power_dbm": power}

    def _ping(self, at_s: float, meter: Meter, effects: Effects) -> dict[str, Array]:
        random, devices = chance(self._seed, PING, at_s), self._plant.devices
        count = len(devices.ids)
        answers = random.binomial(PINGS, 1.0 - PING_LOSS_SHARE, count) / PINGS
        load = meter.rates.came[self._plant.sites.vertex[devices.site]]
        busy = BUSY_SHARE * load / (load.max(initial=0.0) + 1.0)
        cpu = IDLE_SHARE + busy + CPU_NOISE_SHARE * random.standard_normal(count)
        cpu = np.where(effects.hot, HOT_SHARE + CPU_NOISE_SHARE / 2.0 * random.random(count), cpu)
        silent, untold = effects.given_up, effects.quiet[devices.site] & devices.routes
        return {
            "answers": np.where(silent, 0.0, np.where(untold, np.nan, answers)),
            "cpu_share": np.where(silent | untold, np.nan, np.clip(cpu, 0.0, 1.0)),
        }

    def _whole(self, gbit: Array) -> Array:
        """Whole packets of so much of the users' traffic."""
        return np.floor(gbit * self._packets.users_per_s_per_gbps).astype(np.int64)


def _ticks(at_s: float, per_s: float) -> int:
    """How often something that is done so often a second was done until then."""
    return math.floor((at_s + TINY_S) * per_s)


def _share(values: Array) -> Array:
    return np.asarray(np.clip(values, 0.0, 1.0))


def _without(columns: dict[str, Array], untold: Array) -> dict[str, Array]:
    """The columns with nothing where nobody tells."""
    if untold.any():
        for values in columns.values():
            values[untold] = np.nan
    return columns
