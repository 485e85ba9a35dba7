"""A lab as a network behind an adapter: its routers are asked over their sockets, its telemetry is what it counted."""

from __future__ import annotations

from pathlib import Path

from karez.adapters.frr.network import FrrNetwork, Machines
from karez.lab.asked import Count, Counted, Lab, Running, SetDaemon, SetMtu, Which
from karez.lab.daemons import folder
from karez.lab.telemetry import Telemetry
from karez.twin import World


class LabPlatform:
    """The processes of a lab, which runs elsewhere."""

    def __init__(self, lab: Lab, telemetry: Telemetry) -> None:
        """Ask this lab, and what was heard of it last."""
        self._lab, self._telemetry = lab, telemetry

    def machines(self) -> Machines:
        """What runs, and how fast interfaces say that they are."""
        which = self._lab.ask(Running(), Which)
        return Machines(
            frozenset(which.running),
            which.speeds_gbps,
            tuple(self._telemetry.load_gbps.tolist()),
            tuple(self._telemetry.oneway_us.tolist()),
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


def network_of(lab: Lab, world: World) -> FrrNetwork:
    """The routers of a running lab, behind the adapter that real ones have.

    Raises:
        LabError: it does not answer.
    """
    plan = lab.plan()
    inside = Path(f"/proc/{lab.process()}/root")
    where = [inside / str(folder(row)).lstrip("/") for row in range(len(plan.fabric.routers))]
    telemetry = Telemetry(world, plan, lambda whole: lab.ask(Count(ports=whole), Counted))
    return FrrNetwork(world, plan.fabric, where, LabPlatform(lab, telemetry), telemetry.heard)
