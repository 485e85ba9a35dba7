"""What might be done about each kind of finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from karez.measure.routes import COST_US, DRAINED_COST, Case, plant_of
from karez.plan.heal.against import LEFT_GBPS, After, against, coming_back, detour_reads, reach, untold, while_dark
from karez.plan.heal.suffering import GRAY, SICK, links_in
from karez.plan.heal.trouble import Candidate, Trouble
from karez.plan.plan import Action, Cell
from karez.plan.reads import Read
from karez.twin import schema
from karez.twin.table import Array

# How many of the demands that flood a site are led elsewhere, and how many sites are tried for each.
LED_DEMANDS, WAYPOINTS = 2, 8
# How many times the cost of a link is tried where not all can leave it.
COST_TIMES = (1.5, 3.0, 10.0)
NO_LINKS = np.zeros(0, np.int64)


# ---- what moves traffic


def _drains(trouble: Trouble) -> Iterator[Candidate]:
    yield from _drained(trouble, [trouble.subject])
    yield from _costlier(trouble)


def _duct_drains(trouble: Trouble) -> Iterator[Candidate]:
    links = trouble.world["links"]
    yield from _drained(trouble, [link for link in links_in(trouble.world, trouble.subject) if links.cell(link, "up")])


def _drained(trouble: Trouble, links: Sequence[str]) -> Iterator[Candidate]:
    world = trouble.world
    known = [link for link in links if world["links"].has(link) and world["link_states"].has(link)]
    free = [link for link in known if not world["links"].cell(link, "drained")]
    if not free:
        return
    rows, drained = world["links"].rows(free), trouble.case.drained.copy()
    drained[rows] = True
    case = replace(trouble.case, drained=drained)
    acts = tuple(
        Action(
            kind="drain_link",
            subject=link,
            sets=(Cell("links", link, "drained", False, True),),
            expects=(Read("link_states", link, "load_gbps", "<=", LEFT_GBPS),),
            expires_at_s=trouble.expires_at_s,
        )
        for link in free
    )
    reads = [Read("link_states", link, "up", "==", True) for link in free]
    yield _moving(trouble, "drain_link", case, acts, reads, left=rows)


def _costlier(trouble: Trouble) -> Iterator[Candidate]:
    """Give a link a higher cost, so that those leave it who have another way that is not much longer."""
    world, link = trouble.world, trouble.subject
    if not (world["links"].has(link) and world["link_states"].has(link)) or world["links"].cell(link, "drained"):
        return
    before, cost = int(world["links"].cell(link, "cost")), _cost_of(trouble, link)
    for times in COST_TIMES:
        higher = min(round(times * cost), DRAINED_COST - 1)
        case = replace(trouble.case, cost=trouble.case.cost.copy())
        case.cost[world["links"].rows([link])] = higher
        act = Action(
            kind="set_cost",
            subject=link,
            sets=(Cell("links", link, "cost", before, higher),),
            expires_at_s=trouble.expires_at_s,
        )
        yield _moving(trouble, f"set_cost {higher}", case, (act,), [Read("link_states", link, "up", "==", True)])


def _cost_of(trouble: Trouble, link: str) -> float:
    """The cost that a link has now, by hand or by its delay."""
    plant, row = plant_of(trouble.world), trouble.world["links"].rows([link])[0]
    by_hand = float(trouble.case.cost[row])
    return by_hand if by_hand > 0 else max(1.0, float(np.rint(plant.planned_us[row] / COST_US)))


def _router_drains(trouble: Trouble) -> Iterator[Candidate]:
    world, device = trouble.world, trouble.subject
    if not world["equipment"].has(device) or world["equipment"].cell(device, "drained"):
        return
    drained = trouble.case.site_drained.copy()
    drained[world["sites"].rows([str(world["equipment"].cell(device, "site"))])[0]] = True
    act = Action(
        kind="drain_router",
        subject=device,
        sets=(Cell("equipment", device, "drained", False, True),),
        expires_at_s=trouble.expires_at_s,
    )
    case = replace(trouble.case, site_drained=drained)
    yield _moving(trouble, "drain_router", case, (act,), [Read("equipment_states", device, "up", "==", True)])


def _steers(trouble: Trouble) -> Iterator[Candidate]:
    """Lead the largest of the demands that crowd over another site."""
    world = trouble.world
    for demand in _crowding(trouble):
        row = int(world["demands"].rows([demand])[0])
        if trouble.case.via[row] >= 0:
            continue
        for site in _waypoints(trouble, row):
            via, name = trouble.case.via.copy(), world["sites"].ids[site].decode()
            via[row] = site
            act = Action(
                kind="steer_demand",
                subject=demand,
                sets=(Cell("demands", demand, "via", "", name),),
                expires_at_s=trouble.expires_at_s,
            )
            yield _moving(trouble, f"steer_demand over {name}", replace(trouble.case, via=via), (act,), [])


def _moving(
    trouble: Trouble, name: str, case: Case, acts: Sequence[Action], reads: Sequence[Read], left: Array = NO_LINKS
) -> Candidate:
    """Acts after which the network is as in `case`, which rely on `reads` and on that nobody has set the same before.

    No traffic may stay on the links in `left` (rows). What speaks against the acts is looked at first; only what may be
    done is worked out.
    """
    after = After.of(trouble, case)
    loss, refused = trouble.loss(after.flows), against(trouble, after, left)
    if refused:
        return Candidate(name, (), (), loss, refused)
    radius = reach(trouble, after)
    free = [Read(cell.table, cell.row, cell.column, "==", cell.before) for act in acts for cell in act.sets]
    return Candidate(
        name,
        tuple(msgspec.structs.replace(act, blast_radius=(act.subject, *radius)) for act in acts),
        (*free, *reads, *detour_reads(trouble, after)),
        loss,
        asks=untold(trouble, after),
        foreseen_us=trouble.foreseen_us(after.flows),
    )


def _crowding(trouble: Trouble) -> list[str]:
    """The demands that a finding of congestion is about."""
    if trouble.kind == "demand_surge":
        return [trouble.subject]
    demands = trouble.world["demands"]
    mine = demands.ids[demands["b"] == trouble.subject.encode()]
    order = np.argsort(-demands["gbps"][demands.rows(mine)], kind="stable")
    return [row.decode() for row in mine[order][:LED_DEMANDS].tolist()]


def _waypoints(trouble: Trouble, demand: int) -> list[int]:
    """A few sites that a demand might be led over: the neighbours of its ends that it does not start or end at."""
    intended = trouble.world.intended
    a, b = intended.resolve("links", "a"), intended.resolve("links", "b")
    ends = {int(intended.resolve("demands", end)[demand]) for end in ("a", "b")}
    near = [int(other) for end in ends for other in (*b[a == end], *a[b == end])]
    sites = len(trouble.world["sites"])
    return sorted({site for site in near if site not in ends and site < sites})[:WAYPOINTS]


# ---- what starts anew, and what puts back


def _device_restarts(trouble: Trouble) -> Iterator[Candidate]:
    """A silent device is restarted; what it still forwards, and who depends on it, is lost while it boots."""
    world, device = trouble.world, trouble.subject
    if not (world["equipment"].has(device) and world["equipment_states"].has(device)):
        return
    site = str(world["equipment"].cell(device, "site"))
    yield _restarted(trouble, "restart_device", "equipment", "boots", was_up=False, touches=site, dark=site)


def _daemon_restarts(trouble: Trouble) -> Iterator[Candidate]:
    world, daemon = trouble.world, trouble.subject
    if not (world["daemons"].has(daemon) and world["daemon_states"].has(daemon)):
        return
    device = str(world["daemons"].cell(daemon, "equipment"))
    site = str(world["equipment"].cell(device, "site")) if world["daemons"].cell(daemon, "kind") == "routing" else ""
    up = bool(world["daemon_states"].cell(daemon, "up"))
    yield _restarted(trouble, "restart_daemon", "daemons", "restarts", was_up=up, touches=device, dark=site)


def _restarted(
    trouble: Trouble, kind: str, table: str, column: str, *, was_up: bool, touches: str, dark: str
) -> Candidate:
    """One more start than was asked for or seen; `dark` is the site that forwards nothing while it lasts."""
    world, row, states = trouble.world, trouble.subject, schema.mirror(table)
    asked = int(world[table].cell(row, column))
    # It may have started by itself, more often than anyone asked for.
    seen = int(world[states].cell(row, column))
    act = Action(
        kind=kind,
        subject=row,
        sets=(Cell(table, row, column, asked, max(asked, seen) + 1),),
        expects=(Read(states, row, "up", "==", True),),
        blast_radius=(touches,),
        expires_at_s=trouble.expires_at_s,
    )
    reads = (Read(table, row, column, "==", asked), Read(states, row, "up", "==", was_up))
    asks = (while_dark(trouble, dark) or coming_back(trouble)) if dark else ""
    return Candidate(kind, (act,), reads, 0.0, asks=asks)


def _config_restores(trouble: Trouble) -> Iterator[Candidate]:
    if trouble.world["configs"].has(trouble.subject):
        device = str(trouble.world["configs"].cell(trouble.subject, "equipment"))
        yield _restored(trouble, "restore_config", "configs", ("value",), device)


def _link_restores(trouble: Trouble) -> Iterator[Candidate]:
    yield _restored(trouble, "restore_link", "links", ("cost", "drained"), trouble.subject)


def _router_restores(trouble: Trouble) -> Iterator[Candidate]:
    yield _restored(trouble, "restore_router", "equipment", ("drained",), trouble.subject)


def _restored(trouble: Trouble, kind: str, table: str, columns: Sequence[str], touches: str) -> Candidate:
    """Put back what should be in `columns`, which must be seen then."""
    row, meant = trouble.subject, trouble.world[table]
    asked = int(meant.cell(row, "restores"))
    act = Action(
        kind=kind,
        subject=row,
        sets=(Cell(table, row, "restores", asked, asked + 1),),
        expects=tuple(Read(schema.mirror(table), row, column, "==", meant.cell(row, column)) for column in columns),
        blast_radius=(touches,),
        expires_at_s=trouble.expires_at_s,
    )
    return Candidate(kind, (act,), (Read(table, row, "restores", "==", asked),), 0.0, asks=coming_back(trouble))


PLANNERS: dict[str, Callable[[Trouble], Iterator[Candidate]]] = {
    **dict.fromkeys(GRAY, _drains),
    "duct_dim": _duct_drains,
    **dict.fromkeys(SICK, _router_drains),
    **dict.fromkeys(("router_dead", "router_hung", "device_silent"), _device_restarts),
    **dict.fromkeys(
        ("routing_dead", "routing_stuck", "bfd_dead", "bgp_dead", "telemetry_dead", "probe_dead", "probe_slow"),
        _daemon_restarts,
    ),
    **dict.fromkeys(
        ("mtu_wrong", "area_wrong", "filter_wrong", "policer_left", "static_wrong", "other_wrong", "bgp_wrong"),
        _config_restores,
    ),
    **dict.fromkeys(("cost_wrong", "drain_left"), _link_restores),
    "router_drain_left": _router_restores,
    **dict.fromkeys(("demand_surge", "site_flood"), _steers),
}
