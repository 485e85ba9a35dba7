"""A lab recorded: what it tells each turn is kept, while a schedule of faults is played on it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence

import msgspec

import karez
from karez.adapters.network import Network
from karez.errors import InputError
from karez.lab.asked import End, Lab, State, Status
from karez.lab.daemons import BINARIES
from karez.lab.dataset import About, Event, Heard
from karez.lab.schedule import Scheduled
from karez.plan import Action
from karez.twin.telemetry import Samples, StateRows


class Overheard:
    """A network as it is; whatever it tells is kept besides, as one turn each time that it is heard."""

    def __init__(self, network: Network, keep: Callable[[Heard], None]) -> None:
        """Offer what the network offers."""
        self.kinds = network.kinds
        self._network, self._keep = network, keep
        self._told: tuple[StateRows, ...] = ()

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What it tells."""
        told = self._network.observe(at_s)
        self._told = (*self._told, *told)
        return told

    def hear(self, at_s: float) -> tuple[Samples, ...]:
        """Its telemetry."""
        samples = self._network.hear(at_s)
        self._keep(Heard(at_s, self._told, samples))
        self._told = ()
        return samples

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """Its rows as they are."""
        return self._network.look(table, ids)

    def apply(self, action: Action, at_s: float) -> str:
        """What stands in the way."""
        return self._network.apply(action, at_s)


class Player:
    """A schedule on its way: what holds, what is to come, and what was."""

    def __init__(self, lab: Lab, scheduled: Sequence[Scheduled]) -> None:
        """Nothing has begun; `scheduled` are in the order in which they begin."""
        self._lab, self._coming = lab, list(scheduled)
        self._holding: dict[str, tuple[Scheduled, float]] = {}
        self.events: list[Event] = []

    def play(self, after_s: float) -> None:
        """End and begin what is due so long after the start.

        Raises:
            LabError: the lab does not answer, or cannot.
        """
        for label, (one, _) in list(self._holding.items()):
            if one.fault.until_s <= after_s:
                self._end(label)
        while self._coming and self._coming[0].fault.at_s <= after_s:
            one = self._coming.pop(0)
            self._holding[one.begin.label] = one, self._lab.ask(one.begin).at_s

    def end(self) -> None:
        """End whatever holds still.

        Raises:
            LabError: the lab does not answer, or cannot.
        """
        for label in list(self._holding):
            self._end(label)

    def _end(self, label: str) -> None:
        one, begin_s = self._holding.pop(label)
        end_s: float = self._lab.ask(End(label=label)).at_s
        fault = msgspec.structs.replace(one.fault, at_s=begin_s, until_s=end_s)
        self.events.append(Event(label=label, fault=fault))


def recorded(
    lab: Lab, network: Network, scheduled: Sequence[Scheduled], *, for_s: float, turn_s: float
) -> tuple[float, float, tuple[Event, ...]]:
    """When it began and ended (Unix, s), and what was truly wrong, after `network` was heard in turns for so long.

    Raises:
        LabError: the lab does not answer; whatever was broken has ended, as far as it can be.
    """
    player, start_s = Player(lab, scheduled), time.time()
    try:
        while (at_s := time.time()) < start_s + for_s:
            player.play(at_s - start_s)
            now_s = time.time()
            network.observe(now_s)
            network.hear(now_s)
            time.sleep(max(0.0, at_s + turn_s - time.time()))
    finally:
        player.end()
    return start_s, at_s, tuple(player.events)


def require_whole(lab: Lab) -> None:
    """Return only if nothing is broken in a lab: what begins before a recording is not in its events.

    Raises:
        InputError: something is.
        LabError: the lab does not answer.
    """
    state = lab.ask(Status(), State)
    wrong = (*state.faults, *(f"{name} has died" for name in state.dead))
    if wrong:
        what = f"something is broken already: {', '.join(wrong)}"
        raise InputError.of(f"lab {lab.name}", what, "end it (`karez lab fail NETWORK KIND --end`), or start it anew")


def about(lab: Lab, *, turn_s: float) -> About:
    """What a data set of a lab says of itself, as far as it is known before.

    Raises:
        LabError: the lab does not answer.
    """
    plan = lab.plan()
    protocols = {name: getattr(plan.protocols, name) for name in plan.protocols.__struct_fields__}
    return About(
        karez=karez.__version__,
        frr=_frr_version(),
        lab=lab.name,
        network="",
        seed=plan.seed,
        routers=len(plan.fabric.routers),
        links=len(plan.fabric.lines),
        demands=len(plan.demands),
        protocols=protocols,
        turn_s=turn_s,
        start_s=0.0,
    )


def _frr_version() -> str:
    """What the routers say that they are, such as `zebra version 8.4.4`; empty where they say nothing."""
    said = subprocess.run([BINARIES / "zebra", "--version"], capture_output=True, text=True, check=False)
    return said.stdout.partition("\n")[0].strip()
