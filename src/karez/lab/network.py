"""A lab as a network behind an adapter: its routers are asked over their sockets, its telemetry is what it counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from karez.adapters.frr.interior import interior
from karez.adapters.frr.network import FrrNetwork, Machines
from karez.adapters.frr.ready import ReadyWay
from karez.adapters.frr.segments import Led
from karez.lab.asked import (
    Clear,
    Count,
    Counted,
    IsLed,
    IsReady,
    KeepReady,
    Lab,
    Lead,
    Running,
    SetDaemon,
    SetMtu,
    Which,
)
from karez.lab.daemons import folder
from karez.lab.forwarding import Watched
from karez.lab.telemetry import Telemetry
from karez.twin import World


class LabPlatform:
    """The processes of a lab, which runs elsewhere."""

    def __init__(self, lab: Lab, telemetry: Telemetry) -> None:
        """Ask this lab, and what was heard of it last."""
        self._lab, self._telemetry = lab, telemetry
        fabric = lab.plan().fabric
        self._watched, self._names = Watched(lab, fabric), [router.id for router in fabric.routers]

    def machines(self) -> Machines:
        """What runs, and how fast interfaces say that they are."""
        which = self._lab.ask(Running(), Which)
        return Machines(
            frozenset(which.running),
            which.speeds_gbps,
            tuple(self._telemetry.load_gbps.tolist()),
            tuple(self._telemetry.oneway_us.tolist()),
            {(router, name): said for router, name, said in which.sections},
            which.starts,
            frozenset(which.programs),
        )

    def restart(self, router: int, process: str) -> None:
        """Start a process anew, or all of a router's where `process` is empty.

        Raises:
            LabError: it cannot.
        """
        self._lab.ask(SetDaemon(router=router, daemon=process, to="kill"))
        self._lab.ask(SetDaemon(router=router, daemon=process, to="start"))

    def set_mtu(self, router: int, port: str, mtu: int) -> None:
        """Give an interface an MTU (bytes).

        Raises:
            LabError: it cannot be given.
        """
        self._lab.ask(SetMtu(router=router, port=port, mtu=mtu))

    def wrong(self) -> frozenset[str]:
        """What is wrong with forwarding now.

        Raises:
            LabError: the lab does not answer.
        """
        return frozenset(
            f"{found.kind} on the way to {self._names[found.destination]} at {self._names[router]}"
            for found in self._watched.findings()
            for router in found.routers
        )

    def clear(self, router: int, section: str) -> None:
        """Have a section of a router say nothing.

        Raises:
            LabError: it does not.
        """
        self._lab.ask(Clear(router=router, section=section))

    def keep_ready(self, router: int, ways: Sequence[ReadyWay]) -> None:
        """Have a router's kernel keep these ways ready, and no others.

        Raises:
            LabError: it refused one.
        """
        self._lab.ask(KeepReady(router=router, ways=tuple(ways)))

    def ready(self, router: int) -> tuple[ReadyWay, ...]:
        """The ways that a router's kernel keeps ready.

        Raises:
            LabError: it does not answer.
        """
        return self._lab.ask(IsReady(router=router), tuple[ReadyWay, ...])

    def lead(self, router: int, ways: Sequence[Led]) -> None:
        """Have what a router's users send be led these ways over segments, and no others.

        Raises:
            LabError: its kernel refused one.
        """
        self._lab.ask(Lead(router=router, ways=tuple(ways)))

    def led(self, router: int) -> tuple[Led, ...]:
        """The ways over segments that is led what a router's users send.

        Raises:
            LabError: it does not answer.
        """
        return self._lab.ask(IsLed(router=router), tuple[Led, ...])


def network_of(lab: Lab, world: World) -> FrrNetwork:
    """The routers of a running lab, behind the adapter that real ones have.

    Raises:
        LabError: it does not answer.
    """
    plan = lab.plan()
    inside = Path(f"/proc/{lab.process()}/root")
    where = [inside / str(folder(row)).lstrip("/") for row in range(len(plan.fabric.routers))]
    telemetry = Telemetry(world, plan, lambda whole: lab.ask(Count(ports=whole), Counted))
    igp = interior(plan.protocols)
    platform, segments = LabPlatform(lab, telemetry), plan.protocols.segments
    return FrrNetwork(world, plan.fabric, igp, where, platform, telemetry.heard, segments=segments)
