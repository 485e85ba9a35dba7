"""What every adapter must do, whatever network is behind it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from benchmarks.instances.ring import DRAIN, ORDER, RESTART, START, ring
from karez.adapters.embedded import EmbeddedNetwork
from karez.adapters.network import Network, seen
from karez.plan import changed, expected, inverse
from karez.plan.kinds import KINDS
from karez.twin import World
from karez.twin.telemetry import CHANNELS


def _embedded(world: World) -> Network:
    return EmbeddedNetwork(world, seed=3, start_s=0.0)


ADAPTERS: dict[str, Callable[[World], Network]] = {"embedded": _embedded}


@pytest.fixture(params=ADAPTERS)
def make(request: pytest.FixtureRequest) -> Callable[[World], Network]:
    return ADAPTERS[request.param]


def _after(network: Network, world: World, at_s: float) -> World:
    return World(world.intended, seen(world.actual, network.observe(at_s)))


def test_it_names_kinds_of_action_that_exist_and_refuses_any_other(make: Callable[[World], Network]) -> None:
    network = make(ring())
    assert network.kinds <= set(KINDS)
    assert network.apply(msgspec.structs.replace(DRAIN, kind="paint_it_blue"), 1.0)


def test_what_it_did_is_seen_and_its_inverse_puts_everything_back(make: Callable[[World], Network]) -> None:
    world = ring()
    network = make(world)
    before = network.look("link_states", ["l03"]).columns["drained"]
    assert network.apply(DRAIN, 1.0) == ""
    assert changed(expected(DRAIN), _after(network, world, 2.0)) == ()
    undo = inverse(DRAIN, expires_at_s=100.0)
    assert network.apply(undo, 3.0) == ""
    assert network.look("link_states", ["l03"]).columns["drained"] == before


def test_traffic_leaves_a_drained_link_and_comes_back(make: Callable[[World], Network]) -> None:
    network = make(ring())
    network.observe(1.0)
    assert float(network.look("link_states", ["l03"]).columns["load_gbps"][0]) > 1.0
    network.apply(DRAIN, 1.0)
    network.observe(2.0)
    assert float(network.look("link_states", ["l03"]).columns["load_gbps"][0]) == 0.0
    network.apply(inverse(DRAIN, expires_at_s=100.0), 2.0)
    network.observe(3.0)
    assert float(network.look("link_states", ["l03"]).columns["load_gbps"][0]) > 1.0


def test_a_restarted_device_is_away_and_comes_back_with_one_boot_more(make: Callable[[World], Network]) -> None:
    network = make(ring())
    assert network.apply(RESTART, 1.0) == ""
    assert network.look("equipment_states", ["r2"]).columns == {"up": (False,), "boots": (1,), "drained": (False,)}
    network.observe(60.0)
    assert network.look("equipment_states", ["r2"]).columns == {"up": (True,), "boots": (1,), "drained": (False,)}


def test_a_job_holds_its_chips_until_its_end_and_no_second_job_gets_them(make: Callable[[World], Network]) -> None:
    network = make(ring())
    assert network.apply(START, 1.0) == ""
    assert network.look("server_states", ["s0"]).columns["free_chips"] == (0,)
    assert "free chips" in network.apply(msgspec.structs.replace(START, subject="j2"), 1.0)
    network.observe(19.0)
    assert int(network.look("server_states", ["s0"]).columns["free_chips"][0]) == 0
    network.observe(21.0)
    assert int(network.look("server_states", ["s0"]).columns["free_chips"][0]) > 400


def test_an_order_is_seen_at_once_and_delivered_when_it_is_due(make: Callable[[World], Network]) -> None:
    world = ring()
    network = make(world)
    assert network.apply(ORDER, 1.0) == ""
    world = _after(network, world, 2.0)
    assert world["order_states"].cell(ORDER.id, "delivered") is False
    world = _after(network, world, 31.0)
    assert world["order_states"].cell(ORDER.id, "delivered") is True


def test_rows_that_do_not_exist_are_left_out_of_a_look(make: Callable[[World], Network]) -> None:
    assert make(ring()).look("link_states", ["none", "l01"]).ids == ("l01",)


def test_the_same_calls_give_the_same_observations(make: Callable[[World], Network]) -> None:
    first, second = make(ring()), make(ring())
    for at_s in (1.0, 2.0, 5.0):
        assert msgspec.json.encode(first.observe(at_s)) == msgspec.json.encode(second.observe(at_s))
        for one, other in zip(first.hear(at_s), second.hear(at_s), strict=True):
            assert (one.channel, one.at_s, one.ids.tolist()) == (other.channel, other.at_s, other.ids.tolist())
            for name, values in one.columns.items():
                np.testing.assert_array_equal(values, other.columns[name])


def test_telemetry_is_of_channels_and_columns_that_are_known(make: Callable[[World], Network]) -> None:
    for heard in make(ring()).hear(5.0):
        assert tuple(heard.columns) == CHANNELS[heard.channel]
        assert all(len(values) == len(heard.ids) for values in heard.columns.values())
