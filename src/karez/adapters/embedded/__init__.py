"""A network in memory that lives: traffic that changes, links that queue, devices that fail, orders that arrive.

It stands in for the world, so it shares no code with what predicts an action's effect (`karez.measure`,
`karez.plan.heal`). Its constants are its own. The same seed and the same calls give the same observations.
"""

from __future__ import annotations

from karez.adapters.embedded.draw import drawn, has
from karez.adapters.embedded.faults import FAULTS, FOREVER_S, Fault
from karez.adapters.embedded.network import EmbeddedNetwork
from karez.adapters.embedded.planned import planned_gbps
from karez.adapters.embedded.telemetry import USUAL, Packets

__all__ = ["FAULTS", "FOREVER_S", "USUAL", "EmbeddedNetwork", "Fault", "Packets", "drawn", "has", "planned_gbps"]
