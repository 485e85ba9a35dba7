"""What to do about a finding: candidates ranked by what the users would feel, "do nothing" among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from karez.measure.routes import Case, Flows, case_of, flows, routes
from karez.plan.plan import Action, Alternative, Cell, Plan, Proof, inverse
from karez.plan.reads import Read, changed
from karez.twin import World
from karez.twin.table import Array

GOOD_FOR_S = 60.0
# What lost traffic counts as, in the users' loss: a second of delay.
LOST_US = 1e6
# Above this share of its capacity a link queues; a detour must stay below it.
FULL_SHARE = 0.9
# The load below which traffic counts as having left a link: what a counter rounds to.
LEFT_GBPS = 0.01
# An act must spare the users at least this share of what they lose, and so much of all traffic's time (Gbit/s x us).
WORTH_SHARE, WORTH_US_PER_GBPS = 0.05, 20.0
# Large packets' share of traffic, where only they are lost.
LARGE_SHARE = 0.3
# How many links are tried as one more loss, and how far a demand may lose before it counts as without a path.
MORE_LOSSES, PATHLESS_SHARE = 32, 0.01


@dataclass(frozen=True)
class _Candidate:
    name: str
    actions: tuple[Action, ...]
    reads: tuple[Read, ...]
    loss: float
    refused: str = ""
    asks: str = ""
    foreseen_us: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Trouble:
    """A finding, the network as it suffers, what users feel now, and what they would if nothing were wrong."""

    world: World
    finding: str
    kind: str
    subject: str
    at_s: float
    case: Case
    unhurt: Flows
    stay: Flows

    def loss(self, then: Flows) -> float:
        """The users' loss (Gbit/s x us): lost traffic as a second each, and delay above that of an unhurt network."""
        gbps = self.case.offered_gbps
        late = np.where(np.isfinite(then.oneway_us), then.oneway_us, LOST_US)
        more = np.maximum(late - np.where(np.isfinite(self.unhurt.oneway_us), self.unhurt.oneway_us, LOST_US), 0.0)
        return float((gbps * ((1 - then.delivered_share) * LOST_US + then.delivered_share * more)).sum())


def heal(world: World, finding: str, *, at_s: float) -> Plan | None:
    """The plan that lessens the users' loss most, or None where doing nothing is best.

    The loss is traffic times added delay (Gbit/s x us); lost traffic counts as a second, and so does what is above a
    link's capacity. A plan that would leave a protected demand without a path, now or after one more loss, or that
    fills a detour, is none.

    Raises:
        KeyError: there is no such finding.
    """
    revision, world = world.intended.digest, World(world.intended.at(at_s), world.actual)
    kind, subject = (str(world["findings"].cell(finding, column)) for column in ("kind", "subject"))
    if kind not in PLANNERS:
        return None
    case = suffering(world)
    trouble = _Trouble(
        world, finding, kind, subject, at_s, case, flows(world, _unhurt(world, case)), flows(world, case)
    )
    nothing = _Candidate("do nothing", (), (), trouble.loss(trouble.stay))
    others = tuple(_standing(world, candidate) for candidate in PLANNERS[kind](trouble))
    allowed = [candidate for candidate in others if not candidate.refused]
    best = min(allowed, key=lambda candidate: (candidate.loss, candidate.name), default=nothing)
    if best is nothing or not _worth(trouble, nothing, best):
        return None
    return _plan(revision, finding, best, (nothing, *others), at_s)


def _standing(world: World, candidate: _Candidate) -> _Candidate:
    """The candidate, refused where what it would rely on is not so now."""
    stale = changed(candidate.reads, world)
    return replace(candidate, refused=candidate.refused or f"{stale[0]} is not so") if stale else candidate


def release(world: World, finding: str, held: Sequence[Action], *, at_s: float) -> Plan:
    """The plan that takes back what `heal` did, the last act first, once the finding is gone."""
    actions = tuple(inverse(action, expires_at_s=at_s + GOOD_FOR_S) for action in reversed(held))
    reads = (
        Read("findings", finding, "open", "==", False),
        *(Read(c.table, c.row, c.column, "==", c.before) for action in actions for c in action.sets),
    )
    best = _Candidate("release", actions, reads, 0.0)
    return msgspec.structs.replace(_plan(world.intended.digest, finding, best, (), at_s), planner="release", because=())


def suffering(world: World) -> Case:
    """The network as it is now, with what the open findings say is lost and late."""
    case = case_of(world)
    findings = world["findings"]
    for record in findings.records(np.flatnonzero(findings["open"])):
        hurt = HURTS.get(str(record["kind"]))
        if hurt is not None:
            case = hurt(world, case, str(record["subject"]), _evidence(world, str(record["evidence"])))
    return case


def _worth(trouble: _Trouble, nothing: _Candidate, best: _Candidate) -> bool:
    """Whether an act spares the users enough; what mends without moving traffic is always worth it."""
    if all(action.kind in HARMLESS for action in best.actions):
        return True
    spared = nothing.loss - best.loss
    return spared > max(WORTH_SHARE * nothing.loss, WORTH_US_PER_GBPS * float(trouble.case.offered_gbps.sum()))


# ---- what a finding says of links and sites


Evidence = list[dict[str, object]]


def _evidence(world: World, text: str) -> Evidence:
    """The signals that speak for a finding, as they are now."""
    ids = [row for row in msgspec.json.decode(text or "[]", type=list[str]) if world["signals"].has(row)]
    return [dict(record) for record in world["signals"].records(world["signals"].rows(ids))]


def _hurt_link(world: World, case: Case, link: str, evidence: Evidence) -> Case:
    if not world["links"].has(link):
        return case
    row = world["links"].rows([link])[0]
    lost, extra = case.lost_share.copy(), case.extra_us.copy()
    felt = max((_size(one) for one in evidence if one["source"] == "user" and one["kind"] == "loss"), default=0.0)
    for one in evidence:
        ways = {"ab": [0], "ba": [1]}.get(str(one["way"]), [0, 1])
        if one["subject"] != link:
            continue
        if one["kind"] in ("loss", "errors", "drops"):
            lost[row, ways] = np.maximum(lost[row, ways], _size(one))
        elif one["kind"] == "large_loss":
            lost[row, ways] = np.maximum(lost[row, ways], max(felt, LARGE_SHARE * _size(one)))
        elif one["kind"] in ("delay", "jitter"):
            extra[row, ways] = np.maximum(extra[row, ways], _size(one))
        elif one["kind"] in ("power", "flapping"):
            lost[row, ways] = np.maximum(lost[row, ways], felt)
    return replace(case, lost_share=np.minimum(lost, 1.0), extra_us=extra)


def _hurt_duct(world: World, case: Case, duct: str, evidence: Evidence) -> Case:
    for link in _links_in(world, duct):
        case = _hurt_link(
            world, case, link, [one for one in evidence if one["subject"] == link or one["source"] == "user"]
        )
    return case


def _hurt_site(world: World, case: Case, device: str, evidence: Evidence) -> Case:
    if not world["equipment"].has(device):
        return case
    site = world["sites"].rows([str(world["equipment"].cell(device, "site"))])[0]
    lost, extra = case.site_lost_share.copy(), case.site_extra_us.copy()
    losses = [_size(one) for one in evidence if one["kind"] in ("loss", "imbalance")]
    delays = [_size(one) for one in evidence if one["kind"] == "delay"]
    lost[site] = max([lost[site], *losses[:1], *(np.median(losses),)] if losses else [lost[site]])
    extra[site] = max([extra[site], *([float(np.median(delays))] if delays else [])])
    return replace(case, site_lost_share=np.minimum(lost, 1.0), site_extra_us=extra)


def _size(signal: dict[str, object]) -> float:
    size = float(signal["size"])  # type: ignore[arg-type]
    return size if math.isfinite(size) and size > 0 else 0.0


def _unhurt(world: World, case: Case) -> Case:
    """The network with nothing drained, lost or late."""
    nothing = {
        name: np.zeros_like(getattr(case, name))
        for name in ("lost_share", "extra_us", "site_lost_share", "site_extra_us")
    }
    links = world["links"]
    return replace(
        case, up=links["up"], drained=np.zeros(len(links), bool), cost=links["cost"],
        site_drained=np.zeros(len(case.site_drained), bool), hole=(-1, -1), **nothing,
    )  # fmt: skip


# ---- candidates


def _drains(trouble: _Trouble) -> Iterator[_Candidate]:
    yield from _drained(trouble, [trouble.subject])


def _duct_drains(trouble: _Trouble) -> Iterator[_Candidate]:
    rows = trouble.world["links"]
    links = [link for link in _links_in(trouble.world, trouble.subject) if bool(rows.cell(link, "up"))]
    yield from _drained(trouble, links)


def _drained(trouble: _Trouble, links: list[str]) -> Iterator[_Candidate]:
    world = trouble.world
    links = [link for link in links if world["links"].has(link) and world["link_states"].has(link)]
    free = [link for link in links if not bool(world["links"].cell(link, "drained"))]
    if not free:
        return
    drained = trouble.case.drained.copy()
    rows = world["links"].rows(free)
    drained[rows] = True
    leave = flows(world, replace(trouble.case, drained=drained))
    left = {link: leave.load_gbps[row] <= LEFT_GBPS for link, row in zip(free, rows, strict=True)}
    actions = tuple(
        Action(
            kind="drain_link",
            subject=link,
            sets=(Cell("links", link, "drained", False, True),),
            expects=(Read("link_states", link, "load_gbps", "<=", LEFT_GBPS),),
            blast_radius=(link, *_moved(trouble, leave)),
            expires_at_s=trouble.at_s + GOOD_FOR_S,
        )
        for link in free
    )
    reads = [Read("links", link, "drained", "==", False) for link in free]
    reads += [Read("link_states", link, "up", "==", True) for link in free]
    refused = "" if all(left.values()) else "there is no way around it"
    refused = refused or _against(trouble, leave, replace(trouble.case, drained=drained))
    reads += _detour_reads(trouble, leave)
    foreseen = _foreseen_us(trouble, leave)
    yield _Candidate("drain_link", actions, tuple(reads), trouble.loss(leave), refused, foreseen_us=foreseen)


def _router_drains(trouble: _Trouble) -> Iterator[_Candidate]:
    world, device = trouble.world, trouble.subject
    if not world["equipment"].has(device) or bool(world["equipment"].cell(device, "drained")):
        return
    site = world["sites"].rows([str(world["equipment"].cell(device, "site"))])[0]
    drained = trouble.case.site_drained.copy()
    drained[site] = True
    case = replace(trouble.case, site_drained=drained)
    leave = flows(world, case)
    act = Action(
        kind="drain_router",
        subject=device,
        sets=(Cell("equipment", device, "drained", False, True),),
        blast_radius=(device, *_moved(trouble, leave)),
        expires_at_s=trouble.at_s + GOOD_FOR_S,
    )
    reads = (
        Read("equipment", device, "drained", "==", False),
        Read("equipment_states", device, "up", "==", True),
        *_detour_reads(trouble, leave),
    )
    against, foreseen = _against(trouble, leave, case), _foreseen_us(trouble, leave)
    yield _Candidate("drain_router", (act,), reads, trouble.loss(leave), against, foreseen_us=foreseen)


def _device_restarts(trouble: _Trouble) -> Iterator[_Candidate]:
    """A silent device is restarted; what it still forwards, and who depends on it, is lost while it boots."""
    world, device = trouble.world, trouble.subject
    if not (world["equipment"].has(device) and world["equipment_states"].has(device)):
        return
    boots = int(world["equipment"].cell(device, "boots"))
    # A device may have booted by itself, more often than anyone asked for.
    booted = int(world["equipment_states"].cell(device, "boots"))
    site = str(world["equipment"].cell(device, "site"))
    act = Action(
        kind="restart_device",
        subject=device,
        sets=(Cell("equipment", device, "boots", boots, max(boots, booted) + 1),),
        expects=(Read("equipment_states", device, "up", "==", True),),
        blast_radius=(site,),
        expires_at_s=trouble.at_s + GOOD_FOR_S,
    )
    reads = (
        Read("equipment", device, "boots", "==", boots),
        Read("equipment_states", device, "up", "==", False),
    )
    yield _Candidate("restart_device", (act,), reads, 0.0, asks=_forwards(trouble, site))


def _forwards(trouble: _Trouble, site: str) -> str:
    """Why a person is asked before a site forwards nothing for a while; empty where nobody would feel it."""
    dark = flows(trouble.world, _without(trouble, site))
    feel = dark.delivered_share < trouble.stay.delivered_share - PATHLESS_SHARE
    slower = trouble.loss(dark) > 1.001 * trouble.loss(trouble.stay) + 1.0
    return "users go over it, who would lose it while it starts" if feel.any() or slower else ""


def _without(trouble: _Trouble, site: str) -> Case:
    """The network while a site forwards nothing."""
    rows = [trouble.world.intended.resolve("links", end) for end in ("a", "b")]
    at = trouble.world["sites"].rows([site])[0]
    return replace(trouble.case, up=trouble.case.up & (rows[0] != at) & (rows[1] != at))


def _daemon_restarts(trouble: _Trouble) -> Iterator[_Candidate]:
    world, daemon = trouble.world, trouble.subject
    if not (world["daemons"].has(daemon) and world["daemon_states"].has(daemon)):
        return
    restarts = int(world["daemons"].cell(daemon, "restarts"))
    done = int(world["daemon_states"].cell(daemon, "restarts"))
    act = Action(
        kind="restart_daemon",
        subject=daemon,
        sets=(Cell("daemons", daemon, "restarts", restarts, max(restarts, done) + 1),),
        expects=(Read("daemon_states", daemon, "up", "==", True),),
        blast_radius=(str(world["daemons"].cell(daemon, "equipment")),),
        expires_at_s=trouble.at_s + GOOD_FOR_S,
    )
    reads = (
        Read("daemons", daemon, "restarts", "==", restarts),
        Read("daemon_states", daemon, "up", "==", bool(world["daemon_states"].cell(daemon, "up"))),
    )
    site = str(world["equipment"].cell(str(world["daemons"].cell(daemon, "equipment")), "site"))
    asks = _forwards(trouble, site) if str(world["daemons"].cell(daemon, "kind")) == "routing" else ""
    yield _Candidate("restart_daemon", (act,), reads, 0.0, asks=asks)


def _config_restores(trouble: _Trouble) -> Iterator[_Candidate]:
    world, config = trouble.world, trouble.subject
    if not world["configs"].has(config):
        return
    meant = str(world["configs"].cell(config, "value"))
    back = Read("config_states", config, "value", "==", meant)
    yield _restored(trouble, "restore_config", "configs", (back,), (str(world["configs"].cell(config, "equipment")),))


def _link_restores(trouble: _Trouble) -> Iterator[_Candidate]:
    world, link = trouble.world, trouble.subject
    back = tuple(
        Read("link_states", link, column, "==", world["links"].cell(link, column)) for column in ("cost", "drained")
    )
    yield _restored(trouble, "restore_link", "links", back, (link,))


def _router_restores(trouble: _Trouble) -> Iterator[_Candidate]:
    world, device = trouble.world, trouble.subject
    back = Read("equipment_states", device, "drained", "==", bool(world["equipment"].cell(device, "drained")))
    yield _restored(trouble, "restore_router", "equipment", (back,), (device,))


def _restored(trouble: _Trouble, kind: str, table: str, back: tuple[Read, ...], radius: tuple[str, ...]) -> _Candidate:
    """Put back what should be: `back` says what must be seen then."""
    asked = int(trouble.world[table].cell(trouble.subject, "restores"))
    act = Action(
        kind=kind,
        subject=trouble.subject,
        sets=(Cell(table, trouble.subject, "restores", asked, asked + 1),),
        expects=back,
        blast_radius=radius,
        expires_at_s=trouble.at_s + GOOD_FOR_S,
    )
    return _Candidate(kind, (act,), (Read(table, trouble.subject, "restores", "==", asked),), 0.0)


def _steers(trouble: _Trouble) -> Iterator[_Candidate]:
    """Lead the largest of the demands that crowd over another site."""
    world, case = trouble.world, trouble.case
    for demand in _crowding(trouble):
        row = world["demands"].rows([demand])[0]
        if case.via[row] >= 0:
            continue
        for site in _waypoints(trouble, int(row)):
            via = case.via.copy()
            via[row] = site
            led = replace(case, via=via)
            leave = flows(world, led)
            name = str(world["sites"].ids[site].decode())
            act = Action(
                kind="steer_demand",
                subject=demand,
                sets=(Cell("demands", demand, "via", "", name),),
                blast_radius=(demand, *_moved(trouble, leave)),
                expires_at_s=trouble.at_s + GOOD_FOR_S,
            )
            reads = (Read("demands", demand, "via", "==", ""), *_detour_reads(trouble, leave))
            yield _Candidate(
                f"steer_demand over {name}", (act,), reads, trouble.loss(leave), _against(trouble, leave, led)
            )


def _crowding(trouble: _Trouble) -> list[str]:
    """The demands that a finding of congestion is about."""
    if trouble.kind == "demand_surge":
        return [trouble.subject]
    demands = trouble.world["demands"]
    mine = demands.ids[demands["b"] == trouble.subject.encode()]
    rows = demands.rows(mine)
    order = np.argsort(-demands["gbps"][rows], kind="stable")
    return [row.decode() for row in mine[order][:2].tolist()]


def _waypoints(trouble: _Trouble, demand: int) -> list[int]:
    """A few sites that a demand might be led over: the neighbours of its ends that it does not start or end at."""
    intended = trouble.world.intended
    a, b = intended.resolve("links", "a"), intended.resolve("links", "b")
    ends = {int(intended.resolve("demands", end)[demand]) for end in ("a", "b")}
    near = [int(other) for end in ends for other in (*b[a == end], *a[b == end])]
    sites = len(trouble.world["sites"])
    return sorted({site for site in near if site not in ends and site < sites})[:8]


def _nothing(trouble: _Trouble) -> Iterator[_Candidate]:
    """Nobody but a person can do anything about it."""
    return iter(())


# ---- what speaks against a candidate


def _against(trouble: _Trouble, leave: Flows, case: Case) -> str:
    """Why an act that moves traffic may not be: a full detour, or a protected demand without a path."""
    more = leave.load_gbps - trouble.stay.load_gbps
    full = (more > LEFT_GBPS) & (leave.used_share > FULL_SHARE)
    if full.any():
        return f"{trouble.world['links'].ids[int(np.argmax(full))].decode()} would be full"
    protected = trouble.world["demands"]["protected"]
    if (protected & _pathless(leave) & ~_pathless(trouble.stay)).any():
        return "a protected demand would have no path"
    if _unsafe(trouble, leave, case):
        return "a protected demand would have no path after one more loss"
    return ""


def _unsafe(trouble: _Trouble, leave: Flows, case: Case) -> bool:
    """Whether one more loss of a link would leave a protected demand without a path, and would not have before.

    Only those that are moved can lose by the act, and only by the loss of a link that they then pass.
    """
    world = trouble.world
    moved = world["demands"]["protected"] & (np.abs(_late_us(leave) - _late_us(trouble.stay)) > 1.0)
    if not moved.any():
        return False
    crossing = routes(world, case).crossing()
    for row in np.unique(crossing.link[moved[crossing.demand]])[:MORE_LOSSES]:
        up = case.up.copy()
        up[row] = False
        then = moved & _pathless(flows(world, replace(case, up=up)))
        if then.any() and (then & ~_pathless(flows(world, replace(trouble.case, up=up)))).any():
            return True
    return False


def _late_us(then: Flows) -> Array:
    """The delay of each demand, a second where nothing arrives."""
    return np.where(np.isfinite(then.oneway_us), then.oneway_us, LOST_US)


def _pathless(then: Flows) -> Array:
    found: Array = then.delivered_share < PATHLESS_SHARE
    return found


def _moved(trouble: _Trouble, leave: Flows) -> tuple[str, ...]:
    """Every demand that would feel another delay."""
    moved = trouble.world["demands"].ids[np.abs(_late_us(trouble.stay) - _late_us(leave)) > 1.0]
    return tuple(demand.decode() for demand in moved)


def _foreseen_us(trouble: _Trouble, leave: Flows) -> dict[str, float]:
    """By demand that will be later than in an unhurt network, by how much."""
    more = np.nan_to_num(leave.oneway_us - trouble.unhurt.oneway_us, nan=0.0, posinf=0.0, neginf=0.0)
    names = trouble.world["demands"].ids
    return {names[row].decode(): round(float(more[row]), 1) for row in np.flatnonzero(more > 1.0)}


def _detour_reads(trouble: _Trouble, leave: Flows) -> tuple[Read, ...]:
    """That the links which take over the traffic are up and have the room for it."""
    world = trouble.world
    links, states = world["links"], world["link_states"]
    more = leave.load_gbps - trouble.stay.load_gbps
    reads = []
    for row in np.flatnonzero(more > LEFT_GBPS):
        link = links.ids[row].decode()
        reads.append(Read("links", link, "up", "==", True))
        reads.append(Read("links", link, "drained", "==", bool(links["drained"][row])))
        if not states.has(link):
            continue
        room = FULL_SHARE * float(trouble.case.capacity_gbps[row]) - float(more[row])
        now = float(states.cell(link, "load_gbps"))
        reads.append(Read("link_states", link, "up", "==", True))
        # A detour that is full already stays the better way; then only its state is relied on.
        if now <= room:
            reads.append(Read("link_states", link, "load_gbps", "<=", room))
    return tuple(reads)


def _links_in(world: World, duct: str) -> list[str]:
    support = world["link_support"]
    return [link.decode() for link in np.unique(support["link"][support["duct"] == duct.encode()]).tolist()]


def _plan(revision: str, finding: str, best: _Candidate, candidates: tuple[_Candidate, ...], at_s: float) -> Plan:
    others = (candidate for candidate in candidates if candidate is not best)
    return Plan(
        planner="heal",
        question={"finding": finding},
        revision=revision,
        made_at_s=at_s,
        reads=best.reads,
        actions=best.actions,
        price_cny=0.0,
        proof=Proof(
            value=best.loss,
            bound=best.loss,
            unit="Gbit/s x us",
            how="the best of these candidates, each evaluated on the twin",
        ),
        because=(finding,),
        foreseen_us=best.foreseen_us,
        asks=best.asks,
        alternatives=tuple(
            Alternative(other.name, other.loss, other.refused or "the users would lose more") for other in others
        ),
    )


HARMLESS = frozenset({"restart_daemon", "restart_device", "restore_config", "restore_link", "restore_router"})
GRAY = (
    "link_slow", "link_slow_one_way", "link_loss", "link_loss_one_way", "link_errors", "link_dim", "link_large_loss",
    "link_jitter", "link_flapping", "link_narrow", "queue_small",
)  # fmt: skip
SICK = ("router_fabric_loss", "router_slow", "router_hot", "router_fib_stale")
HURTS: dict[str, Callable[[World, Case, str, Evidence], Case]] = {
    **dict.fromkeys(GRAY, _hurt_link),
    "duct_dim": _hurt_duct,
    **dict.fromkeys(SICK, _hurt_site),
}
PLANNERS: dict[str, Callable[[_Trouble], Iterator[_Candidate]]] = {
    **dict.fromkeys(GRAY, _drains),
    "duct_dim": _duct_drains,
    **dict.fromkeys(SICK, _router_drains),
    **dict.fromkeys(("router_dead", "router_hung", "device_silent"), _device_restarts),
    **dict.fromkeys(
        ("routing_dead", "routing_stuck", "bfd_dead", "telemetry_dead", "probe_dead", "probe_slow"), _daemon_restarts
    ),
    **dict.fromkeys(
        ("mtu_wrong", "area_wrong", "filter_wrong", "policer_left", "static_wrong", "other_wrong"), _config_restores
    ),
    **dict.fromkeys(("cost_wrong", "drain_left"), _link_restores),
    "router_drain_left": _router_restores,
    **dict.fromkeys(("demand_surge", "site_flood"), _steers),
}
