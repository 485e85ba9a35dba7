"""A finding with the network as it suffers, and what might be done about it, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from karez.measure.routes import Case, Flows, flows
from karez.plan.heal.suffering import suffering, unhurt
from karez.plan.plan import Action
from karez.plan.reads import Read
from karez.twin import World
from karez.twin.table import Array

# How long an act that was planned may be started (s).
GOOD_FOR_S = 60.0
# What lost traffic counts as, in the users' loss: a second of delay.
LOST_US = 1e6


@dataclass(frozen=True)
class Candidate:
    """What might be done, what it relies on, and the users' loss then (Gbit/s x us).

    `refused` says why it may not be, `asks` why a person is asked first. `foreseen_us` has, by demand that will be
    later than in an unhurt network, by how much.
    """

    name: str
    actions: tuple[Action, ...]
    reads: tuple[Read, ...]
    loss: float
    refused: str = ""
    asks: str = ""
    foreseen_us: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trouble:
    """A finding, the network as it suffers, what users feel now, and what they would if nothing were wrong."""

    world: World
    finding: str
    kind: str
    subject: str
    at_s: float
    case: Case
    unhurt: Flows
    stay: Flows

    @classmethod
    def of(cls, world: World, finding: str, at_s: float) -> Trouble:
        """The trouble that a finding is.

        Raises:
            KeyError: there is no such finding.
        """
        kind, subject = (str(world["findings"].cell(finding, column)) for column in ("kind", "subject"))
        case = suffering(world)
        return cls(world, finding, kind, subject, at_s, case, flows(world, unhurt(world, case)), flows(world, case))

    @property
    def expires_at_s(self) -> float:
        """After when an act for it may not be started any more."""
        return self.at_s + GOOD_FOR_S

    def loss(self, then: Flows) -> float:
        """The users' loss (Gbit/s x us): lost traffic as a second each, and delay above that of an unhurt network."""
        more = np.maximum(late_us(then) - late_us(self.unhurt), 0.0)
        arrives = then.delivered_share
        return float((self.case.offered_gbps * ((1 - arrives) * LOST_US + arrives * more)).sum())

    def foreseen_us(self, leave: Flows) -> dict[str, float]:
        """By demand that will be later than in an unhurt network, by how much."""
        names, arrives = self.world["demands"].ids, np.isfinite(leave.oneway_us)
        more = np.where(arrives, late_us(leave) - late_us(self.unhurt), 0.0)
        return {names[row].decode(): round(float(more[row]), 1) for row in np.flatnonzero(more > 1.0)}


def late_us(then: Flows) -> Array:
    """The delay of each demand (us), a second where nothing arrives."""
    return np.where(np.isfinite(then.oneway_us), then.oneway_us, LOST_US)
