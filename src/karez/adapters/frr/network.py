"""A network of FRR routers, each asked and told over the sockets of its daemons.

Nothing is remembered of a router but what it cannot say itself: how often it was restarted, and what a drained link
costs once it is not. What changed is found by asking for all of it and comparing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import numpy as np

from karez.adapters.frr import bgp
from karez.adapters.frr.config import users_network
from karez.adapters.frr.fabric import DRAINED_COST, Fabric, Port
from karez.adapters.frr.interior import BFD_DAEMON, Interior, process_of
from karez.adapters.frr.ready import ReadyWay, ready_ways, said_of
from karez.adapters.frr.segments import Led, led_over, over
from karez.adapters.frr.told import Seen, Told
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
# The process without which a router is none, and the sections of its configuration that should say nothing.
ALWAYS, SECTIONS = "zebra", frozenset({"filter", "policer", "static", "other"})
# What a daemon is asked only to see that it answers.
HARMLESS = "show version"
# Acts that only lead traffic elsewhere, so that nothing may be lost by them.
REROUTES = frozenset(
    ("drain_link", "undrain_link", "set_cost", "restore_link", "drain_router", "undrain_router", "restore_router")
)
# What only segments can do.
STEERS = "steer_demand"
# How long forwarding may be worse after an act while routing settles, and how often that is looked at (s).
WRONG_S, LOOKED_S = 2.0, 0.01
# What flaps is counted over so long (s).
FLAPS_S = 60.0
Row = dict[str, Value]


class WorseError(KarezError):
    """An act has made forwarding worse."""


class Machines(NamedTuple):
    """The processes that run (rows of routers, and names); and of each line what its slower interface says that it is.

    `load_gbps` and `oneway_us` are what each line carries in its busier direction, and takes in its slower one; nan
    where nobody knows. `sections` has, by row of router and name, what sections of its configuration say that should
    say nothing; those of `SECTIONS` that are not there say what they should. `starts` says how often each router has
    come up, `programs` the names of all processes that routers have, whether they run or not.
    """

    running: frozenset[tuple[int, str]]
    speeds_gbps: tuple[float, ...]
    load_gbps: tuple[float, ...]
    oneway_us: tuple[float, ...]
    sections: Mapping[tuple[int, str], str]
    starts: tuple[int, ...]
    programs: frozenset[str]


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

    def wrong(self) -> frozenset[str]:
        """What is wrong with forwarding now, a sentence each: what goes in circles, and what is dropped where.

        Raises:
            KarezError: nobody can tell.
        """
        ...

    def clear(self, router: int, section: str) -> None:
        """Have a section of `SECTIONS` of a router say what it should.

        Raises:
            KarezError: it cannot.
        """
        ...

    def keep_ready(self, router: int, ways: Sequence[ReadyWay]) -> None:
        """Have a router's kernel keep these ways ready, and no others.

        Raises:
            KarezError: it cannot; some may be kept.
        """
        ...

    def ready(self, router: int) -> tuple[ReadyWay, ...]:
        """The ways that a router's kernel keeps ready.

        Raises:
            KarezError: it cannot be asked.
        """
        ...

    def lead(self, router: int, ways: Sequence[Led]) -> None:
        """Have what a router's users send be led these ways over segments, and no others.

        Raises:
            KarezError: it cannot; some may be led.
        """
        ...

    def led(self, router: int) -> tuple[Led, ...]:
        """The ways over segments that is led what a router's users send.

        Raises:
            KarezError: it cannot be asked.
        """
        ...


class FrrNetwork:
    """An adapter of routers that speak `igp`, whose sockets lie in the folders `where`.

    `heard` gives the telemetry since last time. Demands can be led over others where routers have `segments`.
    """

    def __init__(
        self,
        world: World,
        fabric: Fabric,
        igp: Interior,
        where: Sequence[Path],
        platform: Platform,
        heard: Callable[[float], tuple[Samples, ...]],
        *,
        segments: bool = False,
    ) -> None:
        """Nobody is asked yet."""
        self.kinds = frozenset(kind for kind in ACTS if segments or kind != STEERS)
        self._world, self._fabric, self._igp, self._where = world, fabric, igp, where
        self._platform, self._heard = platform, heard
        self._sessions: dict[tuple[int, str], Vty] = {}
        self._left_until_s: dict[int, float] = {}
        self._bgp_left_until_s: dict[int, float] = {}
        self._seen: list[Told | None] = [None] * len(fabric.routers)
        # Whether each router answers at all, when its routing was last asked, and when that last answered (s).
        self._answers = [True] * len(fabric.routers)
        self._asked_s, self._answered_s = [0.0] * len(fabric.routers), [0.0] * len(fabric.routers)
        self._machines = Machines(frozenset(), (), (), (), {}, (), frozenset())
        self._last: dict[str, dict[str, Row]] = {}
        self._ports: dict[str, list[tuple[int, Port]]] = {}
        for row, port in fabric.ports():
            self._ports.setdefault(port.link, []).append((row, port))
        self._router_of = {router.id: row for row, router in enumerate(fabric.routers)}
        # The sections that should say nothing: the row of the router and their name, and what is intended.
        self._sections = {
            str(row["id"]): ((self._router_of[str(row["equipment"])], str(row["section"])), str(row["value"]))
            for row in world["configs"].records()
            if row["section"] in SECTIONS and row["equipment"] in self._router_of
        }
        # What routers cannot say: what a drained link costs, restarts and restorations, when links went down.
        self._cost = {row["id"]: int(row["cost"]) for row in world["links"].records()}
        self._taken: dict[tuple[str, str], int] = {}
        self._downs: dict[str, list[float]] = {}
        # How often each router had come up when it was first looked at.
        self._starts: tuple[int, ...] = ()
        # What each router keeps ready, as it said when it was last asked.
        self._backups: dict[int, str] = {}
        # The sections about BGP: the row of the router, and what is intended. Which networks each says are its own.
        self._bgp = {
            str(row["id"]): (self._router_of[str(row["equipment"])], str(row["value"]))
            for row in world["configs"].records()
            if fabric.bgp and row["section"] == "bgp" and row["equipment"] in self._router_of
        }
        self._speaks = frozenset(router for router, _ in self._bgp.values())
        self._announced: dict[int, frozenset[str]] = {}
        # The routers at both ends of each demand that may be led elsewhere, and what each router leads, as it said.
        self._ends = {str(demand["id"]): ends for demand, ends in fabric.demands(world)} if segments else {}
        self._led: dict[int, tuple[Led, ...]] = {}

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What changed since it was last asked, in all tables; every router is asked."""
        # First: of what falls silent in between, it must not seem that its programs alone are dead.
        self._machines = self._platform.machines()
        self._ask_all(at_s)
        return tuple(told for table in TABLES for told in self._changed(table, at_s))

    def hear(self, at_s: float) -> tuple[Samples, ...]:
        """The telemetry since it was last heard."""
        return self._heard(at_s)

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """The rows as they are now; those that nobody can say anything of are left out."""
        self._machines = self._platform.machines()
        for router in sorted(self._asked_for(table, ids)):
            self._seen[router] = self._ask(router)
            if table == "config_states":
                self._ask_bgp(router)
            if table == "equipment_states":
                self._backups[router] = said_of(self._fabric, router, self._platform.ready(router))
            if table == "demand_states":
                self._led[router] = self._platform.led(router)
        known = self._rows(table)
        wanted = {row: known[row] for row in ids if row in known}
        names = set.intersection(*(set(columns) for columns in wanted.values())) if wanted else set()
        common = {row: {name: columns[name] for name in columns if name in names} for row, columns in wanted.items()}
        return next(_told(table, common), StateRows(table, (), {}))

    def apply(self, action: Action, at_s: float) -> str:
        """What stands in the way; empty when the network took the action.

        Raises:
            KarezError: it may have been taken in part.
        """
        del at_s
        if action.kind not in self.kinds:
            return f"this network cannot do {action.kind}"
        act = ACTS[action.kind]
        if action.kind not in REROUTES:
            return act(self, action)
        before = self._platform.wrong()
        why = act(self, action)
        if not why:
            self._require_as_well(before)
        return why

    def _require_as_well(self, before: frozenset[str]) -> None:
        """Return once nothing is wrong with forwarding that was not before.

        Raises:
            WorseError: it has not come to that.
        """
        until_s = time.monotonic() + WRONG_S
        while worse := self._platform.wrong() - before:
            if time.monotonic() > until_s:
                raise WorseError(f"{WRONG_S:g} s after the act packets are lost that were not before: {min(worse)}")
            time.sleep(LOOKED_S)

    def close(self) -> None:
        """Ask nobody any more."""
        for router, daemon in list(self._sessions):
            self._drop(router, daemon)

    # ---- what is asked

    def _ask_all(self, at_s: float) -> None:
        for router in set(range(len(self._where))) - self._backups.keys():
            self._backups[router] = said_of(self._fabric, router, self._platform.ready(router))
        for router in {start for start, _ in self._ends.values()} - self._led.keys():
            self._led[router] = self._platform.led(router)
        for router in range(len(self._where)):
            if self._left_until_s.get(router, 0.0) > at_s:
                continue
            self._seen[router] = self._ask(router)
            if self._bgp_left_until_s.get(router, 0.0) <= at_s and not self._ask_bgp(router):
                self._bgp_left_until_s[router] = at_s + RETRY_S
            self._asked_s[router] = at_s
            if self._seen[router] is None:
                self._left_until_s[router] = at_s + RETRY_S
            else:
                self._answered_s[router] = at_s

    def _ask(self, router: int) -> Told | None:
        """How a router is; None where it does not answer: one that did not at all is first asked whether it does."""
        if not self._answers[router] and not self._is_there(router):
            return None
        try:
            told = self._igp.told(self._session(router, self._igp.DAEMON))
        except VtyError:
            self._drop(router, self._igp.DAEMON)
            self._answers[router] = self._is_there(router)
            return None
        self._answers[router] = True
        # Routing says nothing of an interface without light: it is as it was, and down.
        before = self._seen[router]
        dark = {
            port.name: msgspec.structs.replace(
                before.ports[port.name] if before else self._igp.planned(port), up=False, adjacent=False
            )
            for port in self._fabric.routers[router].ports
            if port.name not in told.ports
        }
        return Told({**told.ports, **dark}, told.drained)

    def _ask_bgp(self, router: int) -> bool:
        """Whether a router says where users are, if it should."""
        if router in self._speaks and self._answers[router]:
            try:
                self._announced[router] = bgp.announced(self._session(router, bgp.DAEMON))
            except VtyError:
                self._drop(router, bgp.DAEMON)
                self._announced.pop(router, None)
                return False
        return True

    def _is_there(self, router: int) -> bool:
        """Whether a router answers whose routing does not."""
        try:
            # Anew: what was open has ended, if the router has come up again.
            with Vty(self._where[router] / f"{ALWAYS}.vty", patience_s=PATIENCE_S) as vty:
                vty.ask(HARMLESS)
        except VtyError:
            return False
        return True

    def _session(self, router: int, daemon: str) -> Vty:
        key = router, daemon
        if key not in self._sessions:
            self._sessions[key] = Vty(self._where[router] / f"{daemon}.vty", patience_s=PATIENCE_S)
        return self._sessions[key]

    def _drop(self, router: int, daemon: str) -> None:
        session = self._sessions.pop((router, daemon), None)
        if session is not None:
            session.close()

    def _tell(self, router: int, lines: Sequence[str], daemon: str = "") -> None:
        """Change the configuration of a daemon, that of the interior protocol where none is named."""
        daemon = daemon or self._igp.DAEMON
        try:
            self._session(router, daemon).configure(lines)
        except VtyError:
            self._drop(router, daemon)
            raise

    def _asked_for(self, table: str, ids: Sequence[str]) -> set[int]:
        """The routers that must be asked for these rows."""
        if table == "link_states":
            return {router for row in ids for router, _ in self._ports.get(row, ())}
        if table == "demand_states":
            return {self._ends[row][0] for row in ids if row in self._ends}
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
        most = self._igp.MOST_COST
        drained = all(seen.cost == most for _, seen in known)
        odd = [seen.cost for port, seen in known if seen.cost not in (port.cost, most)]
        if not drained:
            # A cost set by hand at one end only, the highest included, is one that should not be there. A twin knows
            # none above that which keeps traffic off in OSPF.
            partly = most if any(seen.cost == most for _, seen in known) else self._intended_cost(link)
            self._cost[link] = min(odd[0] if odd else partly, DRAINED_COST)
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
            yield (
                router.id,
                {
                    "up": self._answers[self._router_of[router.id]],
                    "boots": self._boots(router.id),
                    "drained": drained,
                    "backups": self._backups.get(self._router_of[router.id], ""),
                },
            )

    def _program_rows(self) -> Iterator[tuple[str, Row]]:
        running = self._machines.running
        for row in self._world["daemons"].records():
            router = self._router_of.get(str(row["equipment"]))
            # Of the programs of a router on which nothing runs, or that does not answer, nobody tells anything.
            process = process_of(str(row["kind"]), self._igp)
            if router is None or (router, ALWAYS) not in running or not self._answers[router]:
                continue
            if process in self._machines.programs:
                yield (
                    str(row["id"]),
                    {
                        "up": (router, process) in running,
                        "restarts": self._taken_of("restarts", str(row["id"])),
                        "behind_s": self._behind_s(router) if process == self._igp.DAEMON else 0.0,
                    },
                )

    def _behind_s(self, router: int) -> float:
        """For how long the routing of a router that answers has not."""
        gone = self._seen[router] is not None or not self._answers[router]
        return 0.0 if gone else round(self._asked_s[router] - self._answered_s[router], 1)

    def _section_rows(self) -> Iterator[tuple[str, Row]]:
        for router, port in self._fabric.ports():
            told = self._seen[router]
            if told is not None:
                seen = told.ports[port.name]
                yield port.config_mtu, {"value": str(seen.mtu), "restores": self._taken_of("restores", port.config_mtu)}
                if seen.area is not None:
                    yield (
                        port.config_area,
                        {"value": str(seen.area), "restores": self._taken_of("restores", port.config_area)},
                    )

        for row, (place, intended) in self._sections.items():
            if self._seen[place[0]] is not None:
                value = self._machines.sections.get(place, intended)
                yield row, {"value": value, "restores": self._taken_of("restores", row)}

        for row, (router, intended) in self._bgp.items():
            if self._seen[router] is not None and router in self._announced:
                yield row, {"value": self._bgp_said(router, intended), "restores": self._taken_of("restores", row)}

    def _demand_rows(self) -> Iterator[tuple[str, Row]]:
        for demand, (start, goal) in self._ends.items():
            users = self._fabric.routers[goal].users
            led = [self._fabric.routers[over(way)].site for way in self._led.get(start, ()) if way.goal == users]
            yield demand, {"via": led[0] if led else ""}

    def _bgp_said(self, router: int, intended: str) -> str:
        """What the section about BGP says: what is intended, where the router tells of its users alone."""
        own, said = users_network(self._fabric.routers[router]), self._announced[router]
        return intended if said == {own} else ", ".join(sorted(said)) or "no users are announced"

    def _boots(self, device: str) -> int:
        """How often a router was restarted: as often as is intended when it was first looked at, and since then."""
        router, starts = self._router_of[device], self._machines.starts
        self._starts = self._starts or starts
        known = self._world["equipment"]
        intended = int(known.cell(device, "boots")) if known.has(device) else 0
        return intended + (starts[router] - self._starts[router] if starts else 0)

    def _taken_of(self, what: str, row: str) -> int:
        """How often something was done to a row; where it was never done, as often as is intended."""
        table = {"restarts": "daemons", "restores": "configs"}[what]
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
        silent = [self._fabric.routers[router].id for router, _ in ends if self._seen[router] is None]
        if silent:
            return f"{' and '.join(silent)} does not answer"
        drained, cost = bool(row.columns["drained"][0]), self._cost[action.subject]
        for column, value in said(action, "links", "link_states"):
            drained = bool(value) if column == "drained" else drained
            cost = int(value) if column == "cost" else cost
        self._cost[action.subject] = cost
        derived = ends[0][1].cost if cost == self._intended_cost(action.subject) else cost
        for place, each in enumerate(self._stepped(ends, self._igp.MOST_COST if drained else derived)):
            time.sleep(self._igp.SETTLES_S if place else 0.0)
            for router, port in ends:
                self._tell(router, self._igp.cost_lines(port, each))
        return ""

    def _stepped(self, ends: Sequence[tuple[int, Port]], goal: int) -> tuple[int, ...]:
        """What a link must cost one after another until it costs `goal`, so that nothing is sent in circles."""
        link = ends[0][1].row
        cost = np.zeros(len(self._fabric.lines), np.int64)
        for router, port in self._fabric.ports():
            told = self._seen[router]
            seen = told.ports[port.name] if told else self._igp.planned(port)
            cost[port.row] = max(cost[port.row], seen.cost) if seen.up else 0
        if not cost[link]:
            return (goal,)
        joined = np.array([line.routers for line in self._fabric.lines])
        stepped = steps(len(self._fabric.routers), joined, cost, link, goal)
        return stepped if len(stepped) <= self._igp.MOST_STEPS else (goal,)

    def _set_router(self, action: Action) -> str:
        router = self._router_of.get(action.subject)
        if router is None:
            return f"there is no router {action.subject}"
        for column, value in said(action, "equipment", "equipment_states"):
            if column == "drained":
                self._tell(router, self._igp.router_lines(bool(value)))
        return ""

    def _restart_program(self, action: Action) -> str:
        program = self._world["daemons"]
        router = (
            self._router_of.get(str(program.cell(action.subject, "equipment"))) if program.has(action.subject) else None
        )
        if router is None:
            return f"there is no program {action.subject}"
        if self._taken_of("restarts", action.subject) != action.sets[0].after:
            self._restart(router, process_of(str(program.cell(action.subject, "kind")), self._igp))
            self._taken["restarts", action.subject] = int(action.sets[0].after)
        return ""

    def _restart(self, router: int, process: str) -> None:
        """Start a process anew.

        Routing believes what BFD said last: a session that begins anew is down at first, and for that routing would
        give up every neighbour and with it all that passes. So it does not ask BFD meanwhile.
        """
        if process != BFD_DAEMON:
            self._platform.restart(router, process)
            self._drop(router, process)
            return
        ports = self._fabric.routers[router].ports
        alone, watched = ([line for port in ports for line in self._igp.bfd_lines(port, on)] for on in (False, True))
        self._tell(router, alone)
        try:
            self._platform.restart(router, process)
        finally:
            self._tell(router, watched)

    def _restart_device(self, action: Action) -> str:
        router = self._router_of.get(action.subject)
        if router is None:
            return f"there is no router {action.subject}"
        self._machines = self._platform.machines()
        if self._boots(action.subject) != action.sets[0].after:
            self._platform.restart(router, "")
        return ""

    def _restore(self, action: Action) -> str:
        why = self._put_back(action)
        if not why:
            self._taken["restores", action.subject] = int(action.sets[0].after)
        return why

    def _put_back(self, action: Action) -> str:
        for router, port in self._fabric.ports():
            area = self._igp.area_lines(port, port.area)
            if area and action.subject == port.config_area:
                self._tell(router, area)
            elif action.subject == port.config_mtu:
                self._platform.set_mtu(router, port.name, port.mtu)
            else:
                continue
            return ""
        if action.subject in self._bgp:
            self._restore_bgp(self._bgp[action.subject][0])
            return ""
        return self._clear(action)

    def _restore_bgp(self, router: int) -> None:
        own = users_network(self._fabric.routers[router])
        said = bgp.announced(self._session(router, bgp.DAEMON))
        self._tell(router, bgp.lines(says=(own,), unsays=tuple(sorted(said - {own}))), bgp.DAEMON)

    def _clear(self, action: Action) -> str:
        if action.subject not in self._sections:
            return f"this network has no section {action.subject}"
        self._platform.clear(*self._sections[action.subject][0])
        return ""

    def _set_backups(self, action: Action) -> str:
        router = self._router_of.get(action.subject)
        if router is None:
            return f"there is no router {action.subject}"
        ways = ready_ways(self._fabric, router, str(action.sets[0].after))
        self._platform.keep_ready(router, ways)
        self._backups[router] = said_of(self._fabric, router, self._platform.ready(router))
        return ""

    def _steer(self, action: Action) -> str:
        demand, site = action.subject, str(action.sets[0].after)
        if demand not in self._ends:
            return f"there are no two routers that {demand} goes between"
        alike = sorted(other for other, ends in self._ends.items() if ends == self._ends[demand])
        if site and len(alike) > 1:
            return f"segments cannot tell {' and '.join(alike)} apart: they go between the same routers"
        start, goal = self._ends[demand]
        led = self._fabric.row_at.get(site, -1)
        if site and led in (-1, start, goal):
            return f"{demand} cannot be led over {site}"
        if not self._answers[start]:
            return f"{self._fabric.routers[start].id} does not answer"
        users = self._fabric.routers[goal].users
        ways = [way for way in self._platform.led(start) if way.goal != users]
        self._platform.lead(start, [*ways, *([led_over(self._fabric, goal, led)] if site else [])])
        self._led[start] = self._platform.led(start)
        return ""


TABLES: dict[str, Callable[[FrrNetwork], Iterator[tuple[str, Row]]]] = {
    "link_states": FrrNetwork._link_rows,
    "equipment_states": FrrNetwork._device_rows,
    "daemon_states": FrrNetwork._program_rows,
    "config_states": FrrNetwork._section_rows,
    "demand_states": FrrNetwork._demand_rows,
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
    "set_backups": FrrNetwork._set_backups,
    STEERS: FrrNetwork._steer,
}


def _told(table: str, rows: dict[str, Row]) -> Iterator[StateRows]:
    """These rows; such as have more columns than others, apart from those."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for row, columns in rows.items():
        if row:
            alike.setdefault(tuple(columns), []).append(row)
    for names, ids in alike.items():
        yield StateRows(table, tuple(ids), {name: tuple(rows[row][name] for row in ids) for name in names})
