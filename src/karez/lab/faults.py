"""What can go wrong in a lab: for each kind of fault what is done to begin it and to end it.

Kinds, sizes and labels are those of the embedded network, so that the same fault can be had in both and compared. What
no kernel shows (light, fabrics that only some packets feel) is left out; `BEGINS` has what there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from karez.adapters.embedded import FAULTS, Fault
from karez.adapters.embedded.faults import SPIKE_US
from karez.adapters.frr import bgp
from karez.adapters.frr.config import users_network
from karez.adapters.frr.fabric import DRAINED_COST, Port
from karez.adapters.frr.interior import Interior, interior, process_of
from karez.errors import InputError
from karez.lab.asked import (
    Begin,
    Configure,
    Filter,
    Plan,
    SetCarrier,
    SetCounter,
    SetDaemon,
    SetHost,
    SetMtu,
    SetSpeed,
    SetStream,
    SetWay,
    Step,
)
from karez.lab.hosts import USER_PORT
from karez.lab.stamp import PORT
from karez.twin import World

US_PER_S, US_PER_NS = 1e6, 1e-3
# What is eaten are packets above so many bytes, and what an interface that is set wrongly takes (bytes).
MOST_BYTES = 1_300
# Random numbers of nftables are whole: shares are counted in so many parts.
PARTS = 10_000
# What users send, but no answer to a test, whichever port that goes to.
USERS = f"udp sport != {PORT} udp dport {USER_PORT}-65535"


class Effect(NamedTuple):
    """What begins a fault and what ends it; where `again_s` is given, both take turns so often.

    `mended` names a router and a process (empty: all) whose start ends it too.
    """

    start: tuple[Step, ...]
    stop: tuple[Step, ...]
    again_s: float = 0.0
    mended: tuple[int, str] | None = None


@dataclass(frozen=True)
class Scene:
    """The lab that a fault befalls, by the rows of its parts."""

    world: World
    plan: Plan

    @property
    def igp(self) -> Interior:
        """The interior protocol that its routers speak."""
        return interior(self.plan.protocols)

    def line(self, link: str) -> int:
        """The row of a link."""
        return next(row for row, line in enumerate(self.plan.fabric.lines) if line.link == link)

    def router(self, device: str) -> int:
        """The row of a router."""
        return next(row for row, router in enumerate(self.plan.fabric.routers) if router.id == device)

    def router_of(self, table: str, row: str) -> int:
        """The row of the router that a program or a section is of."""
        return self.router(str(self.world[table].cell(row, "equipment")))

    def router_at(self, site: str) -> int:
        """The row of the router at a site."""
        return next(row for row, router in enumerate(self.plan.fabric.routers) if router.site == site)

    def lines_at(self, router: int) -> tuple[int, ...]:
        """The rows of the lines that end at a router."""
        return tuple(port.row for port in self.plan.fabric.routers[router].ports)

    def ends(self, link: str) -> tuple[tuple[int, Port], ...]:
        """Both interfaces of a link, with the rows of their routers."""
        return tuple((router, port) for router, port in self.plan.fabric.ports() if port.link == link)

    def port_of(self, section: str) -> tuple[int, Port]:
        """The interface that a section is about."""
        ports = self.plan.fabric.ports()
        return next((router, port) for router, port in ports if section in (port.config_mtu, port.config_area))

    def ways(self, fault: Fault) -> tuple[int, ...]:
        """Both ways of the link that a fault is about, or that which it is about alone."""
        row = self.line(fault.subject)
        if fault.kind.endswith("one_way") or fault.kind in ONE_WAY:
            return (2 * row + (fault.way == "ba"),)
        return 2 * row, 2 * row + 1


ONE_WAY = frozenset({"link_errors", "noise"})


def begin(scene: Scene, fault: Fault) -> Begin:
    """What begins a fault in a lab, and what ends it.

    Raises:
        InputError: a lab cannot show this kind, or has nothing of that name.
    """
    known = shown(scene.plan)
    if fault.kind not in known:
        raise InputError.of("fault", f"this lab cannot show {fault.kind!r}", f"give one of {', '.join(known)}")
    try:
        effect = BEGINS[fault.kind](scene, fault)
    except (StopIteration, KeyError, ValueError) as error:
        about = FAULTS[fault.kind].about
        raise InputError.of("subject", f"the lab has no {about} {fault.subject!r}", "see `karez lab status`") from error
    label = f"{fault.kind} {fault.subject}"
    return Begin(label=label, start=effect.start, stop=effect.stop, again_s=effect.again_s, mended=effect.mended)


def _way(scene: Scene, fault: Fault, **values: float) -> Effect:
    """Something else on the ways of a link, and what was planned."""
    ways, planned_s = scene.ways(fault), scene.plan.fabric.lines[scene.line(fault.subject)].oneway_us / US_PER_S
    planned = {name: planned_s if name == "delay_s" else 0.0 for name in values}
    return Effect((SetWay(ways=ways, values=values),), (SetWay(ways=ways, values=planned),))


def _dark(scene: Scene, rows: tuple[int, ...], ways: tuple[int, ...] = (0, 1)) -> Effect:
    meant = tuple(row for row in rows if scene.plan.fabric.lines[row].up)
    off, on = (SetCarrier(lines=meant, on=light, ways=ways) for light in (False, True))
    return Effect((off,), (on,))


def _link_cut(scene: Scene, fault: Fault) -> Effect:
    return _dark(scene, (scene.line(fault.subject),))


def _link_cut_one_way(scene: Scene, fault: Fault) -> Effect:
    # The end that still has light is told of the fault by the other, and takes the link down, too.
    return _dark(scene, (scene.line(fault.subject),), (int(fault.way == "ba"),))


def _noise(scene: Scene, fault: Fault) -> Effect:
    if fault.size_us >= SPIKE_US:
        return _link_slow(scene, fault)
    return _way(scene, fault, loss_share=1.0)


def _counter_stuck(scene: Scene, fault: Fault) -> Effect:
    return _counter(scene, fault, stuck=True)


def _counter_wild(scene: Scene, fault: Fault) -> Effect:
    return _counter(scene, fault, wild=fault.size_share)


def _counter(scene: Scene, fault: Fault, *, stuck: bool = False, wild: float = 1.0) -> Effect:
    port = 2 * scene.line(fault.subject) + (fault.way == "ba")
    return Effect((SetCounter(port=port, stuck=stuck, wild=wild),), (SetCounter(port=port),))


def _link_silent(scene: Scene, fault: Fault) -> Effect:
    return _way(scene, fault, cut=1.0)


def _link_slow(scene: Scene, fault: Fault) -> Effect:
    planned_us = scene.plan.fabric.lines[scene.line(fault.subject)].oneway_us
    return _way(scene, fault, delay_s=(planned_us + fault.size_us) / US_PER_S)


def _link_loss(scene: Scene, fault: Fault) -> Effect:
    return _way(scene, fault, loss_share=fault.size_share)


def _link_errors(scene: Scene, fault: Fault) -> Effect:
    return _way(scene, fault, error_share=fault.size_share)


def _link_large_loss(scene: Scene, fault: Fault) -> Effect:
    return _way(scene, fault, most_bytes=MOST_BYTES)


def _link_jitter(scene: Scene, fault: Fault) -> Effect:
    return _way(scene, fault, jitter_s=fault.size_us / US_PER_S)


def _link_flapping(scene: Scene, fault: Fault) -> Effect:
    return _link_cut(scene, fault)._replace(again_s=fault.size_s)


def _link_narrow(scene: Scene, fault: Fault) -> Effect:
    row = scene.line(fault.subject)
    whole = scene.plan.fabric.lines[row].capacity_gbps
    return Effect((SetSpeed(line=row, gbps=whole * fault.size_share),), (SetSpeed(line=row, gbps=whole),))


def _duct_cut(scene: Scene, fault: Fault) -> Effect:
    support = scene.world["link_support"]
    links = support["link"][support["duct"] == fault.subject.encode()].tolist()
    rows = tuple(row for row, line in enumerate(scene.plan.fabric.lines) if line.link.encode() in links)
    if not rows:
        raise KeyError(fault.subject)
    return _dark(scene, rows)


def _router_dead(scene: Scene, fault: Fault) -> Effect:
    return _dead(scene, scene.router(fault.subject))


def _dead(scene: Scene, router: int) -> Effect:
    dark = _dark(scene, scene.lines_at(router))
    return Effect(
        (*dark.start, SetDaemon(router=router, daemon="", to="kill")),
        (*dark.stop, SetDaemon(router=router, daemon="", to="start")),
        mended=(router, ""),
    )


def _site_power_lost(scene: Scene, fault: Fault) -> Effect:
    return _dead(scene, scene.router_at(fault.subject))


def _router_hung(scene: Scene, fault: Fault) -> Effect:
    return _process(scene.router(fault.subject), "", "stop")


def _router_fib_stale(scene: Scene, fault: Fault) -> Effect:
    router, goal = scene.router(fault.subject), scene.plan.fabric.routers[scene.router_at(fault.goal)]
    lost = _filter(router, "hole", ("forward", "output"), f"{USERS} ip daddr {goal.users} counter drop")
    return lost._replace(mended=(router, ""))


def _router_fabric_loss(scene: Scene, fault: Fault) -> Effect:
    rule = f"{USERS} {_drops(fault.size_share)}"
    return _filter(scene.router(fault.subject), "fabric", ("input", "forward", "output"), rule)


def _router_clock_wrong(scene: Scene, fault: Fault) -> Effect:
    router, wrong_ns = scene.router(fault.subject), fault.size_us / US_PER_NS
    sign = 1.0 if fault.way == "ab" else -1.0
    return Effect(
        (SetHost(router=router, values={"clock_ns": sign * wrong_ns}),),
        (SetHost(router=router, values={"clock_ns": 0.0}),),
        mended=(router, ""),
    )


def _program_dead(scene: Scene, fault: Fault) -> Effect:
    return _process(scene.router_of("daemons", fault.subject), _program(scene, fault), "kill")


def _program_stuck(scene: Scene, fault: Fault) -> Effect:
    return _process(scene.router_of("daemons", fault.subject), _program(scene, fault), "stop")


def _program(scene: Scene, fault: Fault) -> str:
    return process_of(str(scene.world["daemons"].cell(fault.subject, "kind")), scene.igp)


def _process(router: int, daemon: str, to: str) -> Effect:
    back = "start" if to == "kill" else "continue"
    return Effect(
        (SetDaemon(router=router, daemon=daemon, to=to),),  # type: ignore[arg-type]
        (SetDaemon(router=router, daemon=daemon, to=back),),  # type: ignore[arg-type]
        mended=(router, daemon),
    )


def _probe_slow(scene: Scene, fault: Fault) -> Effect:
    router = scene.router_of("daemons", fault.subject)
    slow = {"slow_ns": fault.size_us / US_PER_NS, "slow_loss": fault.size_share}
    return Effect(
        (SetHost(router=router, values=slow),),
        (SetHost(router=router, values=dict.fromkeys(slow, 0.0)),),
        mended=(router, "probe"),
    )


def _cost_wrong(scene: Scene, fault: Fault) -> Effect:
    return _costs(scene, fault, lambda port: min(max(round(port.cost * fault.size_share), 1), DRAINED_COST - 1))


def _drain_left(scene: Scene, fault: Fault) -> Effect:
    return _costs(scene, fault, lambda port: scene.igp.MOST_COST)


def _costs(scene: Scene, fault: Fault, cost: Callable[[Port], int]) -> Effect:
    ends = scene.ends(fault.subject)
    wrong = tuple(_told(scene, router, scene.igp.cost_lines(port, cost(port))) for router, port in ends)
    right = tuple(
        _told(scene, router, scene.igp.cost_lines(port, scene.igp.planned(port).cost)) for router, port in ends
    )
    if not ends:
        raise KeyError(fault.subject)
    return Effect(wrong, right)


def _router_drain_left(scene: Scene, fault: Fault) -> Effect:
    router = scene.router(fault.subject)
    planned = scene.plan.fabric.routers[router].drained
    wrong, right = (_told(scene, router, scene.igp.router_lines(drained)) for drained in (True, planned))
    return Effect((wrong,), (right,))


def _told(scene: Scene, router: int, lines: tuple[str, ...]) -> Configure:
    return Configure(router=router, daemon=scene.igp.DAEMON, lines=lines)


def _mtu_wrong(scene: Scene, fault: Fault) -> Effect:
    router, port = scene.port_of(fault.subject)
    return Effect(
        (SetMtu(router=router, port=port.name, mtu=MOST_BYTES),), (SetMtu(router=router, port=port.name, mtu=port.mtu),)
    )


def _area_wrong(scene: Scene, fault: Fault) -> Effect:
    router, port = scene.port_of(fault.subject)
    wrong, right = (scene.igp.area_lines(port, area) for area in (port.area + 7, port.area))
    return Effect((_told(scene, router, wrong),), (_told(scene, router, right),))


def _static_wrong(scene: Scene, fault: Fault) -> Effect:
    router, goal = scene.router_of("configs", fault.subject), scene.router_at(fault.goal)
    route = f"ip route {users_network(scene.plan.fabric.routers[goal])} blackhole"
    wrong, right = (Configure(router=router, daemon="staticd", lines=(line,)) for line in (route, f"no {route}"))
    return Effect((wrong,), (right,))


def _bgp_wrong(scene: Scene, fault: Fault) -> Effect:
    router = scene.router_of("configs", fault.subject)
    own = users_network(scene.plan.fabric.routers[router])
    wrong, right = (
        Configure(router=router, daemon=bgp.DAEMON, lines=lines)
        for lines in (bgp.lines(unsays=(own,)), bgp.lines(says=(own,)))
    )
    return Effect((wrong,), (right,))


def _filter_wrong(scene: Scene, fault: Fault) -> Effect:
    router = scene.router_of("configs", fault.subject)
    return _filter(router, "filter", ("input", "output"), f"{USERS} {_drops(fault.size_share)}")


def _policer_left(scene: Scene, fault: Fault) -> Effect:
    router = scene.router_of("configs", fault.subject)
    return _filter(router, "policer", ("forward", "output"), f"{USERS} {_drops(1.0 - fault.size_share)}")


def _other_wrong(scene: Scene, fault: Fault) -> Effect:
    return _filter(scene.router_of("configs", fault.subject), "other", ("input",), "counter accept")


def _drops(share: float) -> str:
    return f"numgen random mod {PARTS} < {round(share * PARTS)} counter drop"


def _filter(router: int, table: str, hooks: tuple[str, ...], rule: str) -> Effect:
    wrong, right = (Filter(router=router, table=table, hooks=hooks, rule=one) for one in (rule, ""))
    return Effect((wrong,), (right,))


def _demand_surge(scene: Scene, fault: Fault) -> Effect:
    return _surge(scene, fault, (scene.plan.demands.index(fault.subject),))


def _site_flood(scene: Scene, fault: Fault) -> Effect:
    demands = scene.world["demands"]
    goals = {str(row["id"]) for row in demands.records() if row["b"] == fault.subject}
    return _surge(scene, fault, tuple(row for row, name in enumerate(scene.plan.demands) if name in goals))


def _surge(scene: Scene, fault: Fault, demands: tuple[int, ...]) -> Effect:
    if not demands:
        raise KeyError(fault.subject)
    first = 2 * len(scene.plan.fabric.lines)
    rates = {first + row: scene.plan.streams[first + row].per_s for row in demands}
    return Effect(
        tuple(SetStream(stream=stream, per_s=per_s * fault.size_share) for stream, per_s in rates.items()),
        tuple(SetStream(stream=stream, per_s=per_s) for stream, per_s in rates.items()),
    )


def _nothing(scene: Scene, fault: Fault) -> Effect:
    return Effect((), ())


BEGINS: dict[str, Callable[[Scene, Fault], Effect]] = {
    "link_cut": _link_cut,
    "link_cut_one_way": _link_cut_one_way,
    "link_silent": _link_silent,
    "link_silent_one_way": _link_silent,
    "link_slow": _link_slow,
    "link_slow_one_way": _link_slow,
    "link_loss": _link_loss,
    "link_loss_one_way": _link_loss,
    "link_errors": _link_errors,
    "link_large_loss": _link_large_loss,
    "link_jitter": _link_jitter,
    "link_flapping": _link_flapping,
    "link_narrow": _link_narrow,
    "duct_cut": _duct_cut,
    "router_dead": _router_dead,
    "router_booted": _router_dead,
    "router_hung": _router_hung,
    "router_fabric_loss": _router_fabric_loss,
    "router_fib_stale": _router_fib_stale,
    "router_clock_wrong": _router_clock_wrong,
    "site_power_lost": _site_power_lost,
    "routing_dead": _program_dead,
    "routing_stuck": _program_stuck,
    "bfd_dead": _program_dead,
    "bgp_dead": _program_dead,
    "telemetry_dead": _program_dead,
    "probe_dead": _program_dead,
    "probe_slow": _probe_slow,
    "cost_wrong": _cost_wrong,
    "drain_left": _drain_left,
    "router_drain_left": _router_drain_left,
    "filter_wrong": _filter_wrong,
    "mtu_wrong": _mtu_wrong,
    "area_wrong": _area_wrong,
    "policer_left": _policer_left,
    "static_wrong": _static_wrong,
    "bgp_wrong": _bgp_wrong,
    "other_wrong": _other_wrong,
    "demand_surge": _demand_surge,
    "site_flood": _site_flood,
    "work_link": _link_cut,
    "work_router": _router_dead,
    "counter_stuck": _counter_stuck,
    "counter_wild": _counter_wild,
    "noise": _noise,
    "none": _nothing,
}


def shown(plan: Plan) -> tuple[str, ...]:
    """The kinds of fault that a lab built from this plan can show."""
    areas = interior(plan.protocols).area_lines(plan.fabric.routers[0].ports[0], 0)
    has = {
        "area_wrong": bool(areas),
        "bfd_dead": plan.protocols.bfd,
        "bgp_dead": plan.protocols.bgp,
        "bgp_wrong": plan.protocols.bgp,
    }
    return tuple(kind for kind in BEGINS if has.get(kind, True))
