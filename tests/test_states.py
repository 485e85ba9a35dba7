"""The states of a network that nobody has observed yet."""

from __future__ import annotations

import numpy as np

from benchmarks.instances.ring import ring
from karez.twin import Table, Twin
from karez.twin.states import completed, initial_states

STATES = {
    "link_states": "links",
    "server_states": "servers",
    "equipment_states": "equipment",
    "daemon_states": "daemons",
    "config_states": "configs",
    "demand_states": "demands",
}


def unobserved() -> Twin:
    """A ring of which nothing was observed."""
    twin = ring().intended
    return Twin({name: table for name, table in twin.tables.items() if name not in STATES})


def test_what_was_never_observed_starts_as_intended_idle_and_up() -> None:
    twin, assumed = completed(unobserved())
    assert assumed == tuple(name for name, of in STATES.items() if len(twin[of]))
    assert twin.digest == initial_states(unobserved()).digest
    assert np.array_equal(twin["link_states"]["up"], twin["links"]["up"])
    assert not twin["link_states"]["load_gbps"].any()


def test_a_table_with_any_observation_is_left_as_it_is() -> None:
    twin = unobserved()
    seen = Table.of("link_states", {"id": twin["links"].ids[:1], "up": [False]})
    found, assumed = completed(twin.replace(seen))
    assert "link_states" not in assumed
    assert found["link_states"].digest == seen.digest


def test_a_network_that_was_observed_is_the_same_network() -> None:
    twin = initial_states(unobserved())
    assert completed(twin) == (twin, ())
