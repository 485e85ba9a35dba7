"""What links would carry if nothing were wrong."""

from __future__ import annotations

import numpy as np

from karez.adapters.embedded.living import Living
from karez.adapters.embedded.traffic import flowed
from karez.twin import World
from karez.twin.table import Array


def planned_gbps(world: World) -> Array:
    """The traffic that is offered to each link (Gbit/s; links with a state x ways there and back)."""
    living = Living(world, seed=0, at_s=0.0)
    links, demands = living.plant.links, living.plant.demands
    ways = living.effects.ways(links.base_us, np.full(len(links.ids), np.inf))
    rates, limited = living.meter.rates, demands.limited_share
    flowed(
        ways, living.effects.spots(), living.sessions.paths, demands.gbps, limited, demands.start, demands.goal, rates
    )
    return np.asarray(rates.tx.reshape(-1, 2))
