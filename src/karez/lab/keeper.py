"""The process that a lab lives in: when it ends, however that happens, the whole lab is gone."""

from __future__ import annotations

import math
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address
from typing import Any

import msgspec
import numpy as np
from pyroute2 import IPRoute, NetlinkError

from karez.adapters.frr.config import users_network
from karez.adapters.frr.fabric import Router
from karez.adapters.frr.ready import ReadyWay
from karez.adapters.frr.segments import Led
from karez.adapters.frr.vty import Vty
from karez.errors import KarezError
from karez.lab.asked import (
    PORT_COUNTS,
    AsPlanned,
    Begin,
    Changed,
    Clear,
    Configure,
    Count,
    Counted,
    Done,
    End,
    Filter,
    IsLed,
    IsReady,
    KeepReady,
    Lead,
    Plan,
    Planned,
    Question,
    Quit,
    Ready,
    ResetGaps,
    Routed,
    Running,
    SetCarrier,
    SetCounter,
    SetDaemon,
    SetHost,
    SetMtu,
    SetSpeed,
    SetStream,
    SetWay,
    State,
    Status,
    Step,
    Which,
    address,
    encode,
    put,
    taken,
)
from karez.lab.daemons import Daemons, folder, usage_mb
from karez.lab.hosts import Sending, most_per_s
from karez.lab.kernel import NS_PER_S
from karez.lab.ready import keep_ready, ready
from karez.lab.routes import ForwardingTables
from karez.lab.rules import Rules, set_rule, tables
from karez.lab.schedule import touched
from karez.lab.segments import lay, lead, led
from karez.lab.spaces import (
    PRIVATE,
    SpaceError,
    alone,
    carrier,
    entered,
    has_light,
    new_network,
    number_outside,
    set_speed,
    speed_mbps,
    tap,
    write_setting,
)
from karez.lab.wire import Wire

# What the kernel of every router is told.
SETTINGS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv4.fib_multipath_hash_policy": "1",
    "net.ipv4.conf.default.ignore_routes_with_linkdown": "1",
}
# For how long a kernel knows whom it faces (ms). After half a minute, as others do, it would ask over a way that may be
# silent: then nothing went the other way either, and routers dropped what waited for the answer.
KNOWN = "net.ipv4.neigh.{port}.base_reachable_time_ms", "1000000000"
# How long routing may take until every router knows the way to every other (s), and how often that is looked at.
CONVERGES_S, LOOKED_S = 120.0, 0.05
# What runs beside the daemons of a router.
BESIDE = ("probe", "telemetry")
# Where /proc/net/dev has PORT_COUNTS.
DEV_COLUMNS = (1, 2, 9, 8)
# The kernel's table of its own addresses, and how far what is in it reaches. Source: linux/rtnetlink.h.
LOCAL, HOST_SCOPE = 255, 254
RX_PACKETS, RX_ERRORS, TX_PACKETS = (PORT_COUNTS.index(name) for name in ("rx_packets", "rx_errors", "tx_packets"))
# Where interfaces and routers are not asked.
NOT_READ = np.zeros((0, len(PORT_COUNTS)), np.int64), np.zeros((0, 2), np.int64), np.zeros(0)
# The light that an interface receives over a line that is well, and over one that is cut (dBm).
POWER_DBM, DARK_DBM = -8.0, -40.0
MBPS_PER_GBPS, MOST_MBPS = 1e3, (1 << 32) - 2
PAGE_BYTES = 1 << 16


class Keeper:
    """A running lab."""

    def __init__(self, plan: Plan) -> None:
        """Build it: networks, wire, daemons, hosts.

        Raises:
            SpaceError: the kernel or a daemon would not.
        """
        self.took_s: dict[str, float] = {}
        self._plan, self._fabric = plan, plan.fabric
        self._quiet: set[int] = set()
        # By way: whether no light goes it.
        self._dark = np.zeros(2 * len(self._fabric.lines), bool)
        # What interfaces tell wrongly: what stuck ones had counted, how often wild ones count, and since when.
        self._stuck: dict[int, Any] = {}
        self._wild = np.ones(len(self._dark))
        self._wild_since = np.zeros((len(self._dark), len(PORT_COUNTS)), np.int64)
        self._faults: dict[str, Begin] = {}
        # Of faults that come and go: when they turn next, and whether they hold then.
        self._turns: dict[str, tuple[float, bool]] = {}
        ends = [(row, line, end) for row, line in enumerate(self._fabric.lines) for end in (0, 1)]
        self._end_of = {(line.routers[end], line.ports[end]): 2 * row + end for row, line, end in ends}
        # The routers that were ever told to keep ways ready, so that the others need not be asked, and those that were
        # to lead traffic over segments.
        self._kept, self._led = set[int](), set[int]()
        self._began_s = time.monotonic()
        with self._timed("networks"):
            self.networks = [new_network() for _ in self._fabric.routers]
            self._taps = self._made_taps()
            self.wire = Wire(self._taps, seed=plan.seed)
            self._lay()
            self.wire.start()
        with self._timed("addresses"):
            for network, router in zip(self.networks, self._fabric.routers, strict=True):
                with entered(network):
                    _addressed(router)
            if plan.protocols.segments:
                self._lay_segments()
            self._tables = ForwardingTables(self._fabric, self.networks)
            self._rules = [self._heard(network) for network in self.networks]
            self._tables_of: list[dict[str, str]] = [{} for _ in self.networks]
            self._unread: set[int] = set()
            self._devices, self._packets, self._wayless = (
                [self._opened(network, f"/proc/thread-self/net/{name}") for network in self.networks]
                for name in ("dev", "snmp", "netstat")
            )
            # Of what is led over segments the kernel counts as of IPv6.
            self._wrapped = [
                self._opened(network, "/proc/thread-self/net/snmp6")
                for network in self.networks
                if plan.protocols.segments
            ]
            self._routes = [self._opened(network, "/proc/thread-self/net/route") for network in self.networks]
        with self._timed("daemons"):
            self.daemons = Daemons(self._fabric.routers, self.networks, plan.protocols)
            self.daemons.start_all()
        with self._timed("converged"):
            self._await_routes()
        with self._timed("hosts"):
            self.sending = Sending(plan.streams, self.networks)
            self.sending.start()

    def answer(self, question: Question) -> object:
        """Do what was asked.

        Raises:
            KarezError: it cannot be done.
        """
        said = HANDLERS[type(question)](self, question)
        return Done(at_s=time.time()) if said is None else said

    def status(self, question: Status) -> State:
        """How it is."""
        del question
        return State(
            network=self._plan.network,
            routers=len(self._fabric.routers),
            links=len(self._fabric.lines),
            streams=len(self._plan.streams),
            process=number_outside(),
            memory_mb=round(usage_mb(), 1),
            dead=self.daemons.dead(),
            faults=tuple(self._faults),
            frame_late_ms=round(self.wire.late_ns / 1e6, 3),
            sent_late_ms=round(int(self.sending.state[1]) / 1e6, 3),
            up_s=round(time.monotonic() - self._began_s, 1),
        )

    def planned(self, question: Planned) -> Plan:
        """What it was built from."""
        del question
        return self._plan

    def count(self, question: Count) -> Counted:
        """What was counted so far."""
        rows = range(len(self.networks)) if question.ports else range(0)
        ports, passed, taken_at_s = self._read_counts() if question.ports else NOT_READ
        quiet = np.array([row in self._quiet for row in rows], bool)
        return Counted(
            at_s=time.time(),
            stalled_ago_s=self._stalled_ago_s(),
            **self.sending.legs._asdict(),
            ports=ports,
            drops=self.wire.counts.queued_out,
            power_dbm=np.where(self._dark, DARK_DBM, POWER_DBM)[np.arange(len(self._dark)) ^ 1],
            answers=np.array([self.daemons.answers(row) for row in rows], bool),
            quiet=quiet,
            read_at_s=taken_at_s + self.sending.hosts.clock_ns[: len(taken_at_s)] / NS_PER_S,
            taken_at_s=taken_at_s,
            passed=passed,
        )

    def _stalled_ago_s(self) -> float:
        """How long ago frames or packets were last late because this machine was busy (inf: never)."""
        last_ns = max(self.wire.late_at_ns, int(self.sending.state[2]))
        return (time.monotonic_ns() - last_ns) / NS_PER_S if last_ns else math.inf

    def running(self, question: Running) -> Which:
        """Which processes run."""
        del question
        known = [(row, name) for row in range(len(self.networks)) for name in self._plan.protocols.daemons]
        beside = [(row, "telemetry") for row in range(len(self.networks)) if row not in self._quiet]
        probing = [(int(row), "probe") for row in np.flatnonzero(self.sending.hosts.mute == 0.0)]
        running = (*(each for each in known if self.daemons.runs(*each)), *beside, *probing)
        speeds_gbps = tuple(self._speed_gbps(row) for row in range(len(self._fabric.lines)))
        sections = (*self._held_against(), *self._by_hand())
        programs = (*self._plan.protocols.daemons, *BESIDE)
        return Which(running, speeds_gbps, sections, tuple(self.daemons.starts), programs)

    def _held_against(self) -> Iterator[tuple[int, str, str]]:
        """The tables of netfilter, by router; they are read again where they have changed."""
        for router, rules in enumerate(self._rules):
            if rules.changed():
                self._unread.add(router)
            if router in self._unread:
                with entered(self.networks[router]):
                    self._tables_of[router] = tables()
                self._unread.discard(router)
            yield from ((router, name, said) for name, said in self._tables_of[router].items())

    def _by_hand(self) -> Iterator[tuple[int, str, str]]:
        return ((router, "static", said) for router, said in self._tables.by_hand())

    def routed(self, question: Routed) -> Changed:
        """What changed in the forwarding tables."""
        dark = self._dark.reshape(-1, 2).any(axis=1)
        return self._tables.since(question.since, up=np.logical_not(dark))

    def clear(self, question: Clear) -> None:
        """Have a section of a router say nothing, and end what said so."""
        if question.section == "static":
            with Vty(folder(question.router) / "staticd.vty") as vty:
                said = vty.ask("show running-config").splitlines()
                vty.configure([f"no {line}" for line in said if line.startswith("ip route ")])
        else:
            self.filter(Filter(router=question.router, table=question.section, hooks=(), rule=""))

    def keep_ready(self, question: KeepReady) -> None:
        """Have a router keep ways ready.

        Raises:
            SpaceError: its kernel refused one.
        """
        self._kept.add(question.router)
        with entered(self.networks[question.router]):
            keep_ready(question.ways, self._numbered(question.router))

    def is_ready(self, question: IsReady) -> tuple[ReadyWay, ...]:
        """Which ways a router keeps ready."""
        if question.router not in self._kept:
            return ()
        with entered(self.networks[question.router]):
            return tuple(ready(self._numbered(question.router)))

    def lead(self, question: Lead) -> None:
        """Have what a router's users send be led over segments.

        Raises:
            SpaceError: its kernel refused one.
        """
        self._led.add(question.router)
        with entered(self.networks[question.router]):
            lead(question.ways)

    def is_led(self, question: IsLed) -> tuple[Led, ...]:
        """Which ways is led what a router's users send."""
        with entered(self.networks[question.router]):
            return tuple(led())

    def _numbered(self, router: int) -> dict[str, int]:
        """The interfaces of a router, numbered from 1."""
        return {port.name: number for number, port in enumerate(self._fabric.routers[router].ports, 1)}

    def set_way(self, question: SetWay) -> None:
        """Let the wire do something else."""
        for name, value in question.values.items():
            getattr(self.wire.ways, name)[list(question.ways)] = value

    def set_carrier(self, question: SetCarrier) -> None:
        """Give or take light, and what is in flight with it."""
        for line in question.lines:
            self.wire.ways.cut[2 * line : 2 * line + 2] = not question.on
            self._dark[[2 * line + way for way in question.ways]] = not question.on
            for at in (2 * line, 2 * line + 1):
                carrier(int(self._taps[at]), question.on)
        # Each router has a kernel of its own, which an interface tells at once; here one serves them all.
        for line in question.lines:
            for router, port in zip(self._fabric.lines[line].routers, self._fabric.lines[line].ports, strict=True):
                with entered(self.networks[router]):
                    has_light(port)

    def set_host(self, question: SetHost) -> None:
        """Let a host be otherwise."""
        for name, value in question.values.items():
            getattr(self.sending.hosts, name)[question.router] = value

    def set_stream(self, question: SetStream) -> None:
        """Send more, or less.

        Raises:
            SpaceError: that would be more than is kept account of.
        """
        most = most_per_s(self.sending.ring)
        if not 0.0 <= question.per_s <= most:
            raise SpaceError(f"a stream of this lab sends 0 to {most:,.0f} packets a second")
        self.sending.every_ns[question.stream] = round(NS_PER_S / question.per_s) if question.per_s else 0

    def set_speed(self, question: SetSpeed) -> None:
        """Let both interfaces of a line say that they are so fast."""
        line = self._fabric.lines[question.line]
        for router, port in zip(line.routers, line.ports, strict=True):
            with entered(self.networks[router]):
                set_speed(port, min(round(question.gbps * MBPS_PER_GBPS), MOST_MBPS))

    def _speed_gbps(self, row: int) -> float:
        line, told = self._fabric.lines[row], []
        for router, port in zip(line.routers, line.ports, strict=True):
            with entered(self.networks[router]):
                told.append(speed_mbps(port))
        return min(told) / MBPS_PER_GBPS

    def set_mtu(self, question: SetMtu) -> None:
        """Give an interface an MTU."""
        with entered(self.networks[question.router]), IPRoute() as kernel:
            kernel.link("set", index=kernel.link_lookup(ifname=question.port)[0], mtu=question.mtu)

    def set_counter(self, question: SetCounter) -> None:
        """Let what an interface has counted be told wrongly, or rightly again."""
        shown = self._read_counts()[0]
        self._wild[question.port], self._wild_since[question.port] = question.wild, shown[question.port]
        self._stuck.pop(question.port, None)
        if question.stuck:
            self._stuck[question.port] = shown[question.port]

    def configure(self, question: Configure) -> None:
        """Change the running configuration of a daemon."""
        with Vty(folder(question.router) / f"{question.daemon}.vty") as vty:
            vty.configure(question.lines)

    def filter(self, question: Filter) -> None:
        """Have a router hold what passes against a rule."""
        with entered(self.networks[question.router]):
            set_rule(question.table, question.hooks, question.rule)

    def begin(self, question: Begin) -> None:
        """Begin a fault.

        Raises:
            SpaceError: one of that label holds already.
        """
        if question.label in self._faults:
            raise SpaceError(f"{question.label} holds already")
        mine = touched(self._plan, question)
        for label, fault in self._faults.items():
            if mine.clashes(touched(self._plan, fault)):
                raise SpaceError(f"{question.label} would change what {label} has changed; end that first")
        try:
            self._do(question.start)
        except Exception:
            # What had not begun cannot always be ended; what kept it from beginning is what is told.
            with suppress(Exception):
                self._do(question.stop)
            raise
        self._faults[question.label] = question
        if question.again_s:
            self._turns[question.label] = time.monotonic() + question.again_s, False

    def end(self, question: End) -> None:
        """End a fault, or all.

        Raises:
            SpaceError: none of that label holds.
        """
        if question.label and question.label not in self._faults:
            raise SpaceError(f"{question.label} does not hold")
        errors = []
        for label in [question.label] if question.label else list(self._faults):
            # What one ends may end another with it.
            fault = self._faults.pop(label, None)
            if fault is None:
                continue
            self._turns.pop(label, None)
            try:
                self._do(fault.stop)
            except Exception as error:  # noqa: BLE001  The others are ended all the same.
                self._faults[label] = fault
                errors.append(f"{label}: {error}")
        if errors:
            raise SpaceError(f"could not end {'; '.join(errors)}")

    def turn(self) -> float:
        """Let faults that come and go do so; how long until the next turn (s)."""
        for label, (due_s, holds) in list(self._turns.items()):
            if due_s <= time.monotonic():
                fault = self._faults[label]
                self._turns[label] = due_s + fault.again_s, not holds
                try:
                    self._do(fault.start if holds else fault.stop)
                except Exception as error:  # noqa: BLE001  It is in the log of the lab, which goes on.
                    print(f"{label}: {error}", file=sys.stderr, flush=True)
        return max(0.0, min((due_s for due_s, _ in self._turns.values()), default=math.inf) - time.monotonic())

    def _do(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            HANDLERS[type(step)](self, step)

    def _mended(self, router: int, daemon: str) -> None:
        """End what ends when a process of a router is started anew."""
        for label, fault in list(self._faults.items()):
            if fault.mended and fault.mended[0] == router and (not daemon or daemon == fault.mended[1]):
                self.end(End(label=label))

    def set_daemon(self, question: SetDaemon) -> None:
        """Kill, stop, continue or start what runs at a router."""
        names = (question.daemon,) if question.daemon else (*self._plan.protocols.daemons, *BESIDE)
        for name in names:
            if name == "probe":
                self.sending.hosts.mute[question.router] = question.to in ("kill", "stop")
            elif name == "telemetry":
                (self._quiet.add if question.to in ("kill", "stop") else self._quiet.discard)(question.router)
            else:
                self.daemons.set(question.router, name, question.to)
        if question.to == "start":
            self._mended(question.router, question.daemon)

    def as_planned(self, question: AsPlanned) -> None:
        """End all faults, and give every router what was planned: costs, drains, what is led, and telling of users."""
        del question
        self.end(End())
        for row in range(len(self.networks)):
            for daemon, lines in self.daemons.planned(row):
                self.configure(Configure(router=row, daemon=daemon, lines=lines))
        for row in self._led:
            self.lead(Lead(router=row, ways=self._plan.led[row]))

    def reset_gaps(self, question: ResetGaps) -> None:
        """Forget for how long receivers were left without packets."""
        del question
        self.sending.legs.gap_ns[:] = 0

    def _read_counts(self) -> tuple[Any, Any, Any]:
        """What every interface has counted, by line and end; what passed each router; when each was read."""
        taken_at_s = np.zeros(len(self.networks))
        counted = np.zeros((2 * len(self._fabric.lines), len(PORT_COUNTS)), np.int64)
        passed = np.zeros((len(self.networks), 2), np.int64)
        for router, devices in enumerate(self._devices):
            taken_at_s[router] = time.time()
            # All at once, for what passes in between would be what was lost.
            ports, packets, wayless = _read(devices), _read(self._packets[router]), _read(self._wayless[router])
            passed[router] = _passed(packets, wayless)
            if self._wrapped:
                passed[router] += _passed_wrapped(_read(self._wrapped[router]))
            for line in ports.decode().splitlines()[2:]:
                name, _, told = line.partition(":")
                end = self._end_of.get((router, name.strip()))
                if end is not None:
                    counted[end] = [int(told.split()[at]) for at in DEV_COLUMNS]
                    passed[router, 1] += counted[end, TX_PACKETS]
        return self._as_told(counted), passed, taken_at_s

    def _as_told(self, counted: Any) -> Any:
        """What interfaces say of what they counted; damaged frames never came to the kernel."""
        counted[:, RX_ERRORS] += self.wire.counts.damaged[np.arange(len(counted)) ^ 1]
        since = np.maximum(counted[:, RX_PACKETS] - self._wild_since[:, RX_PACKETS], 0)
        counted[:, RX_PACKETS] += ((self._wild - 1.0) * since).astype(np.int64)
        for port, told in self._stuck.items():
            counted[port] = told
        return counted

    def _made_taps(self) -> Any:
        """Two TAP interfaces a line."""
        made = np.zeros(2 * len(self._fabric.lines), np.int64)
        for row, line in enumerate(self._fabric.lines):
            for side in (0, 1):
                with entered(self.networks[line.routers[side]]):
                    made[2 * row + side] = tap(line.ports[side])
        return made

    def _lay_segments(self) -> None:
        """Give every router its segments, and lead what is planned to be led."""
        for row, (network, router) in enumerate(zip(self.networks, self._fabric.routers, strict=True)):
            with entered(network):
                lay(row, router)
            if self._plan.led[row]:
                self.lead(Lead(router=row, ways=self._plan.led[row]))

    def _lay(self) -> None:
        for row, line in enumerate(self._fabric.lines):
            self.set_speed(SetSpeed(line=row, gbps=line.capacity_gbps))
            if not line.up:
                self.set_carrier(SetCarrier(lines=(row,), on=False))
            self.wire.ways.delay_s[2 * row : 2 * row + 2] = line.oneway_us / 1e6

    def _opened(self, network: int, path: str) -> int:
        with entered(network):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _heard(self, network: int) -> Rules:
        with entered(network):
            return Rules()

    def _await_routes(self) -> None:
        """Wait until every router has a way to the users of every other."""
        left, until_s = dict(enumerate(self._routes)), time.monotonic() + CONVERGES_S
        goals = {IPv4Address(router.users).packed[::-1].hex().upper().encode() for router in self._fabric.routers}
        while left:
            left = {row: fd for row, fd in left.items() if len(_known(fd) & goals) < len(goals) - 1}
            dead = self.daemons.dead()
            if dead:
                raise SpaceError(f"these daemons died: {', '.join(dead)}")
            if left and time.monotonic() > until_s:
                names = ", ".join(self._fabric.routers[row].id for row in list(left)[:3])
                raise SpaceError(f"after {CONVERGES_S:g} s {len(left)} routers do not know all others ({names})")
            time.sleep(LOOKED_S if left else 0.0)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        before_s = time.monotonic()
        yield
        self.took_s[what] = round(time.monotonic() - before_s, 3)


HANDLERS: dict[type, Callable[[Keeper, Any], object]] = {
    Status: Keeper.status,
    Planned: Keeper.planned,
    Count: Keeper.count,
    Running: Keeper.running,
    Routed: Keeper.routed,
    Clear: Keeper.clear,
    KeepReady: Keeper.keep_ready,
    IsReady: Keeper.is_ready,
    Lead: Keeper.lead,
    IsLed: Keeper.is_led,
    SetWay: Keeper.set_way,
    SetCarrier: Keeper.set_carrier,
    SetCounter: Keeper.set_counter,
    SetHost: Keeper.set_host,
    SetStream: Keeper.set_stream,
    SetSpeed: Keeper.set_speed,
    SetMtu: Keeper.set_mtu,
    SetDaemon: Keeper.set_daemon,
    Configure: Keeper.configure,
    Filter: Keeper.filter,
    Begin: Keeper.begin,
    End: Keeper.end,
    AsPlanned: Keeper.as_planned,
    ResetGaps: Keeper.reset_gaps,
}


def _addressed(router: Router) -> None:
    """Tell the kernel of this thread's network about a router."""
    for name, value in SETTINGS.items():
        write_setting(name, value)
    with IPRoute() as kernel:
        loopback = kernel.link_lookup(ifname="lo")[0]
        kernel.link("set", index=loopback, state="up")
        kernel.addr("add", index=loopback, address=router.loopback, prefixlen=32)
        if router.users != router.loopback:
            # What comes for users is this router's; no interface has the address, so that the interior protocol
            # does not tell of it.
            kernel.route("add", dst=users_network(router), oif=loopback, table=LOCAL, type="local", scope=HOST_SCOPE)
        for port in router.ports:
            index = kernel.link_lookup(ifname=port.name)[0]
            write_setting(KNOWN[0].format(port=port.name), KNOWN[1])
            kernel.addr("add", index=index, address=port.address, prefixlen=31)
            kernel.link("set", index=index, mtu=port.mtu, state="up")


def _known(routes: int) -> set[bytes]:
    """What a routing table knows a way to, as the kernel writes addresses."""
    return {line.split(b"\t", 2)[1] for line in _read(routes).splitlines()[1:]}


def _passed(packets: bytes, wayless: bytes) -> tuple[int, int]:
    """What came into a router by any interface or from its own hosts; and what its hosts got, or had no way on.

    What hosts would send without a way never came. Source: RFC 4293 for the counters; until Linux 6.7 those of packets
    that are sent include what is forwarded.
    """
    ip, extended = _counters(packets, b"Ip:"), _counters(wayless, b"IpExt:")
    own = ip[b"OutRequests"] - (0 if b"OutTransmits" in ip else ip[b"ForwDatagrams"])
    return ip[b"InReceives"] + own, ip[b"InDelivers"] + extended[b"InNoRoutes"]


def _passed_wrapped(told: bytes) -> tuple[int, int]:
    """What came into a router of what is led over segments, or was said by IPv6, and what it got or had no way on."""
    six = {name: int(value) for name, value in (line.split() for line in told.splitlines())}
    came = six[b"Ip6InReceives"] + six[b"Ip6OutRequests"]
    return came, six[b"Ip6InDelivers"] + six[b"Ip6InNoRoutes"]


def _counters(told: bytes, group: bytes) -> dict[bytes, int]:
    """The counters of a group, of which the kernel says the names on one line and the values on the next."""
    names, values = (line.split()[1:] for line in told.splitlines() if line.startswith(group))
    return {name: int(value) for name, value in zip(names, values, strict=True)}


def _read(told: int) -> bytes:
    """All that a file of the kernel says now; it gives a page at a time."""
    os.lseek(told, 0, os.SEEK_SET)
    return b"".join(iter(lambda: os.read(told, PAGE_BYTES), b""))


def main() -> None:
    """Build a lab by the plan on standard input, say so on standard output, and answer questions until it shall end."""
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan)
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(address(plan.name))
    except OSError:
        _say(Ready(failed=f"a lab {plan.name} runs already; end it, or give this one another name"))
        return
    alone()
    try:
        keeper = Keeper(plan)
    except (KarezError, OSError, NetlinkError) as error:
        _say(Ready(failed=str(error)))
        # At once: the threads that carry and send wait for nobody.
        os._exit(1)
    listening.listen()
    _say(Ready(process=number_outside(), took_s=keeper.took_s))
    _serve(keeper, listening)


def _say(ready: Ready) -> None:
    sys.stdout.buffer.write(msgspec.msgpack.encode(ready))
    sys.stdout.buffer.flush()
    # Who waits for the end of what this process says shall wait no longer; what it complains of later is kept.
    kept = os.open(PRIVATE / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(kept, sys.stdout.fileno())
    os.dup2(kept, sys.stderr.fileno())


def _serve(keeper: Keeper, listening: socket.socket) -> None:
    """Answer whoever asks, one question after the other, until one is to quit."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(listening, selectors.EVENT_READ)
        while True:
            next_s = keeper.turn()
            for key, _ in waiting.select(None if math.isinf(next_s) else next_s):
                if key.fileobj is listening:
                    asker, _ = listening.accept()
                    waiting.register(asker, selectors.EVENT_READ)
                elif not _served(keeper, key.fileobj):  # type: ignore[arg-type]
                    waiting.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]


def _served(keeper: Keeper, asker: socket.socket) -> bool:
    """Whether who asked may ask again."""
    try:
        question = msgspec.msgpack.decode(taken(asker), type=Question)
    except (OSError, EOFError, msgspec.MsgspecError):
        return False
    if isinstance(question, Quit):
        put(asker, encode(("", Done(at_s=time.time()))))
        os._exit(0)
    try:
        said = "", keeper.answer(question)
    except Exception as error:  # noqa: BLE001  Whatever could not be done is told; the lab goes on.
        said = f"{type(error).__name__}: {error}", None
    try:
        put(asker, encode(said))
    except OSError:
        # Who asked is gone.
        return False
    return True


if __name__ == "__main__":
    main()
