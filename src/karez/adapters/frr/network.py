"""A network of FRR routers, each asked and told over the sockets of its daemons.

Nothing is remembered of a router but what it cannot say itself: how often it was restarted, and what a drained link
costs once it is not. What changed is found by asking for all of it and comparing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from karez.adapters.frr import ospf
from karez.adapters.frr.fabric import DRAINED_COST, Fabric, Port
from karez.adapters.frr.ospf import Seen, Told
from karez.adapters.frr.vty import Vty, VtyError
from karez.adapters.network import said
from karez.errors import KarezError
from karez.measure.hitless import steps
from karez.plan import Action
from karez.twin import World
from karez.twin.schema import Value
from karez.twin.telemetry import Samples, StateRows

# How long a router may take to answer, and how long one that did not is left alone (s).
PATIENCE_S, RETRY_S = 0.3, 1.0
# The daemon of each kind of program; those of other kinds run on the hosts beside the routers, under their own name.
DAEMONS = {"routing": ospf.DAEMON, "bfd": "bfdd"}
# How long routers have to settle between two costs of a link (s), and how many there may be on the way to one.
SETTLES_S, MOST_STEPS = 0.15, 12
# What flaps is counted over so long (s).
FLAPS_S = 60.0
Row = dict[str, Value]


class Machines(NamedTuple):
    """The processes that run (rows of routers, and names); and of each line what its slower interface says that it is.

    `load_gbps` and `oneway_us` are what each line carries in its busier direction, and takes in its slower one; nan
    where nobody knows.
    """

    running: frozenset[tuple[int, str]]
    speeds_gbps: tuple[float, ...]
    load_gbps: tuple[float, ...]
    oneway_us: tuple[float, ...]


class Platform(Protocol):
    """What runs the daemons of the routers, and the programs on the hosts beside them."""

    def machines(self) -> Machines:
        """What runs, and how fast interfaces say that they are."""
        ...

    def restart(self, router: int, process: str) -> None:
        """Start a process anew, or all of a router's where `process` is empty.

        Raises:
            KarezError: it cannot.
        """
        ...

    def set_mtu(self, router: int, port: str, mtu: int) -> None:
        """Give an interface an MTU (bytes).

        Raises:
            KarezError: it cannot be given.
        """
        ...


class FrrNetwork:
    """An adapter of routers whose sockets lie in the folders `where`; `heard` gives the telemetry since last time."""

    kinds = frozenset(
        {
            "drain_link",
            "undrain_link",
            "set_cost",
            "restore_link",
            "drain_router",
            "undrain_router",
            "restore_router",
            "restart_daemon",
            "restart_device",
            "restore_config",
        }
    )

    def __init__(
        self,
        world: World,
        fabric: Fabric,
        where: Sequence[Path],
        platform: Platform,
        heard: Callable[[float], tuple[Samples, ...]],
    ) -> None:
        """Nobody is asked yet."""
        self._world, self._fabric, self._where = world, fabric, where
        self._platform, self._heard = platform, heard
        self._sessions: dict[tuple[int, str], Vty] = {}
        self._left_until_s: dict[int, float] = {}
        self._seen: list[Told | None] = [None] * len(fabric.routers)
        self._machines = Machines(frozenset(), (), (), ())
        self._last: dict[str, dict[str, Row]] = {}
        self._ports: dict[str, list[tuple[int, Port]]] = {}
        for row, port in fabric.ports():
            self._ports.setdefault(port.link, []).append((row, port))
        self._router_of = {router.id: row for row, router in enumerate(fabric.routers)}
        # What routers cannot say: what a drained link costs, restarts and restorations, when links went down.
        self._cost = {row["id"]: int(row["cost"]) for row in world["links"].records()}
        self._taken: dict[tuple[str, str], int] = {}
        self._downs: dict[str, list[float]] = {}

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What changed since it was last asked, in all tables; every router is asked."""
        self._ask_all(at_s)
        self._machines = self._platform.machines()
        return tuple(told for table in TABLES for told in self._changed(table, at_s))

    def hear(self, at_s: float) -> tuple[Samples, ...]:
        """The telemetry since it was last heard."""
        return self._heard(at_s)

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """The rows as they are now; those that nobody can say anything of are left out."""
        for router in sorted(self._asked_for(table, ids)):
            self._seen[router] = self._ask(router)
        self._machines = self._platform.machines()
        known = self._rows(table)
        wanted = {row: known[row] for row in ids if row in known}
        names = set.intersection(*(set(columns) for columns in wanted.values())) if wanted else set()
        common = {row: {name: columns[name] for name in columns if name in names} for row, columns in wanted.items()}
        return next(_told(table, common), StateRows(table, (), {}))

    def apply(self, action: Action, at_s: float) -> str:
        """What stands in the way; empty when the network took the action."""
        del at_s
        act = ACTS.get(action.kind)
        if act is None:
            return f"this network cannot do {action.kind}"
        try:
            return act(self, action)
        except KarezError as error:
            return str(error)

    def close(self) -> None:
        """Ask nobody any more."""
        for router, daemon in list(self._sessions):
            self._drop(router, daemon)

    # ---- what is asked

    def _ask_all(self, at_s: float) -> None:
        for router in range(len(self._where)):
            if self._left_until_s.get(router, 0.0) > at_s:
                continue
            self._seen[router] = self._ask(router)
            if self._seen[router] is None:
                self._left_until_s[router] = at_s + RETRY_S

    def _ask(self, router: int) -> Told | None:
        """How a router is; None where it does not answer."""
        try:
            told = ospf.told(self._session(router, ospf.DAEMON))
        except VtyError:
            self._drop(router, ospf.DAEMON)
            return None
        # Routing says nothing of an interface without light: it is as it was, and down.
        before = self._seen[router]
        dark = {
            port.name: msgspec.structs.replace(
                before.ports[port.name] if before else _planned(port), up=False, adjacent=False
            )
            for port in self._fabric.routers[router].ports
            if port.name not in told.ports
        }
        return Told({**told.ports, **dark}, told.drained)

    def _session(self, router: int, daemon: str) -> Vty:
        key = router, daemon
        if key not in self._sessions:
            self._sessions[key] = Vty(self._where[router] / f"{daemon}.vty", patience_s=PATIENCE_S)
        return self._sessions[key]

    def _drop(self, router: int, daemon: str) -> None:
        session = self._sessions.pop((router, daemon), None)
        if session is not None:
            session.close()

    def _tell(self, router: int, lines: Sequence[str]) -> None:
        try:
            self._session(router, ospf.DAEMON).configure(lines)
        except VtyError:
            self._drop(router, ospf.DAEMON)
            raise

    def _asked_for(self, table: str, ids: Sequence[str]) -> set[int]:
        """The routers that must be asked for these rows."""
        if table == "link_states":
            return {router for row in ids for router, _ in self._ports.get(row, ())}
        at = {row["id"]: row["equipment"] for name in ("daemons", "configs") for row in self._world[name].records()}
        devices = (at.get(row, row) for row in ids)
        return {self._router_of[str(device)] for device in devices if device in self._router_of}

    # ---- what is told

    def _changed(self, table: str, at_s: float) -> Iterator[StateRows]:
        now, before = self._rows(table), self._last.get(table, {})
        if table == "link_states":
            self._count_flaps(now, before, at_s)
        self._last[table] = now
        return _told(table, {row: columns for row, columns in now.items() if before.get(row) != columns})

    def _count_flaps(self, now: dict[str, Row], before: dict[str, Row], at_s: float) -> None:
        for link, columns in now.items():
            downs = self._downs.setdefault(link, [])
            if before.get(link, columns)["up"] and not columns["up"]:
                downs.append(at_s)
            downs[:] = [down_s for down_s in downs if down_s > at_s - FLAPS_S]
            columns["flaps"] = len(downs)

    def _rows(self, table: str) -> dict[str, Row]:
        return dict(TABLES[table](self))

    def _link_rows(self) -> Iterator[tuple[str, Row]]:
        for link, ends in self._ports.items():
            known = [(port, told.ports[port.name]) for router, port in ends if (told := self._seen[router])]
            if known:
                yield link, self._link_row(link, known)

    def _link_row(self, link: str, known: list[tuple[Port, Seen]]) -> Row:
        drained = all(seen.cost == DRAINED_COST for _, seen in known)
        odd = [seen.cost for port, seen in known if seen.cost not in (port.cost, DRAINED_COST)]
        if not drained:
            # A cost set by hand at one end only, the highest included, is one that should not be there.
            partly = DRAINED_COST if any(seen.cost == DRAINED_COST for _, seen in known) else self._intended_cost(link)
            self._cost[link] = odd[0] if odd else partly
        row, measured = known[0][0].row, self._machines
        carried = {"load_gbps": round(measured.load_gbps[row], 3), "oneway_us": round(measured.oneway_us[row], 1)}
        states: Row = {
            "up": all(seen.up for _, seen in known),
            "drained": drained,
            "cost": self._cost[link],
            "adjacent": all(seen.adjacent for _, seen in known),
            "capacity_gbps": measured.speeds_gbps[row],
            "flaps": len(self._downs.get(link, ())),
        }
        return states | {name: value for name, value in carried.items() if math.isfinite(value)}

    def _intended_cost(self, link: str) -> int:
        return int(self._world["links"].cell(link, "cost"))

    def _device_rows(self) -> Iterator[tuple[str, Row]]:
        for router, told in zip(self._fabric.routers, self._seen, strict=True):
            drained = told.drained if told else bool(self._last_of("equipment_states", router.id, "drained", False))
            yield router.id, {"up": told is not None, "boots": self._taken_of("boots", router.id), "drained": drained}

    def _program_rows(self) -> Iterator[tuple[str, Row]]:
        running = self._machines.running
        for row in self._world["daemons"].records():
            router = self._router_of.get(str(row["equipment"]))
            if router is not None:
                process = process_of(str(row["kind"]))
                yield (
                    str(row["id"]),
                    {
                        "up": (router, process) in running,
                        "restarts": self._taken_of("restarts", str(row["id"])),
                    },
                )

    def _section_rows(self) -> Iterator[tuple[str, Row]]:
        for router, port in self._fabric.ports():
            told = self._seen[router]
            if told is not None:
                seen = told.ports[port.name]
                yield port.config_mtu, {"value": str(seen.mtu), "restores": self._taken_of("restores", port.config_mtu)}
                yield (
                    port.config_area,
                    {"value": str(seen.area), "restores": self._taken_of("restores", port.config_area)},
                )

    def _taken_of(self, what: str, row: str) -> int:
        """How often something was done to a row; where it was never done, as often as is intended."""
        table = {"boots": "equipment", "restarts": "daemons", "restores": "configs"}[what]
        known = self._world[table]
        return self._taken.get((what, row), int(known.cell(row, what)) if known.has(row) else 0)

    def _last_of(self, table: str, row: str, column: str, otherwise: Value) -> Value:
        return self._last.get(table, {}).get(row, {}).get(column, otherwise)

    # ---- what is done

    def _set_link(self, action: Action) -> str:
        ends = self._ports.get(action.subject)
        if ends is None:
            return f"there is no link {action.subject}"
        row = self.look("link_states", [action.subject])
        drained, cost = bool(row.columns["drained"][0]), self._cost[action.subject]
        for column, value in said(action, "links", "link_states"):
            drained = bool(value) if column == "drained" else drained
            cost = int(value) if column == "cost" else cost
        self._cost[action.subject] = cost
        derived = ends[0][1].cost if cost == self._intended_cost(action.subject) else cost
        for place, each in enumerate(self._stepped(ends, DRAINED_COST if drained else derived)):
            time.sleep(SETTLES_S if place else 0.0)
            for router, port in ends:
                self._tell(router, ospf.cost_lines(port, each))
        return ""

    def _stepped(self, ends: Sequence[tuple[int, Port]], goal: int) -> tuple[int, ...]:
        """What a link must cost one after another until it costs `goal`, so that nothing is sent in circles."""
        routers, link = [router for router, _ in ends], ends[0][1].row
        cost = np.zeros(len(self._fabric.lines), np.int64)
        for router, port in self._fabric.ports():
            told = self._seen[router]
            seen = told.ports[port.name] if told else _planned(port)
            cost[port.row] = max(cost[port.row], seen.cost) if seen.up else 0
        if not cost[link] or any(self._seen[router] is None for router in routers):
            return (goal,)
        joined = np.array([line.routers for line in self._fabric.lines])
        stepped = steps(len(self._fabric.routers), joined, cost, link, goal)
        return stepped if len(stepped) <= MOST_STEPS else (goal,)

    def _set_router(self, action: Action) -> str:
        router = self._router_of.get(action.subject)
        if router is None:
            return f"there is no router {action.subject}"
        for column, value in said(action, "equipment", "equipment_states"):
            if column == "drained":
                self._tell(router, ospf.router_lines(bool(value)))
        return ""

    def _restart_program(self, action: Action) -> str:
        program = self._world["daemons"]
        router = (
            self._router_of.get(str(program.cell(action.subject, "equipment"))) if program.has(action.subject) else None
        )
        if router is None:
            return f"there is no program {action.subject}"
        if self._taken_of("restarts", action.subject) != action.sets[0].after:
            self._platform.restart(router, process_of(str(program.cell(action.subject, "kind"))))
            self._taken["restarts", action.subject] = int(action.sets[0].after)
        return ""

    def _restart_device(self, action: Action) -> str:
        router = self._router_of.get(action.subject)
        if router is None:
            return f"there is no router {action.subject}"
        if self._taken_of("boots", action.subject) != action.sets[0].after:
            self._platform.restart(router, "")
            self._taken["boots", action.subject] = int(action.sets[0].after)
        return ""

    def _restore(self, action: Action) -> str:
        for router, port in self._fabric.ports():
            if action.subject == port.config_area:
                self._tell(router, ospf.area_lines(port, port.area))
            elif action.subject == port.config_mtu:
                self._platform.set_mtu(router, port.name, port.mtu)
            else:
                continue
            self._taken["restores", action.subject] = int(action.sets[0].after)
            return ""
        return f"this network has no section {action.subject}"


TABLES: dict[str, Callable[[FrrNetwork], Iterator[tuple[str, Row]]]] = {
    "link_states": FrrNetwork._link_rows,
    "equipment_states": FrrNetwork._device_rows,
    "daemon_states": FrrNetwork._program_rows,
    "config_states": FrrNetwork._section_rows,
}
ACTS: dict[str, Callable[[FrrNetwork, Action], str]] = {
    "drain_link": FrrNetwork._set_link,
    "undrain_link": FrrNetwork._set_link,
    "set_cost": FrrNetwork._set_link,
    "restore_link": FrrNetwork._set_link,
    "drain_router": FrrNetwork._set_router,
    "undrain_router": FrrNetwork._set_router,
    "restore_router": FrrNetwork._set_router,
    "restart_daemon": FrrNetwork._restart_program,
    "restart_device": FrrNetwork._restart_device,
    "restore_config": FrrNetwork._restore,
}


def process_of(kind: str) -> str:
    """The name of the process that a kind of program is."""
    return DAEMONS.get(kind, kind)


def _planned(port: Port) -> Seen:
    """How an interface should be."""
    return Seen(up=True, cost=port.planned_cost, area=port.area, mtu=port.mtu, adjacent=True)


def _told(table: str, rows: dict[str, Row]) -> Iterator[StateRows]:
    """These rows; such as have more columns than others, apart from those."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for row, columns in rows.items():
        if row:
            alike.setdefault(tuple(columns), []).append(row)
    for names, ids in alike.items():
        yield StateRows(table, tuple(ids), {name: tuple(rows[row][name] for row in ids) for name in names})
