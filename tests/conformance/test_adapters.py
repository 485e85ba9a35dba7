"""What every adapter must do, whatever network is behind it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

from benchmarks.instances.ring import DRAIN, ORDER, RESTART, START, ring
from karez.adapters.embedded import EmbeddedNetwork
from karez.adapters.network import Network, seen
from karez.lab.asked import Lab
from karez.lab.network import network_of
from karez.plan import Action, changed, expected, inverse
from karez.plan.kinds import KINDS
from karez.twin import World
from karez.twin.telemetry import CHANNELS
from tests.labs import ISIS, NO_LAB, running


@dataclass
class Stand:
    """A network with the ring in it; `pass_s` lets so many seconds go by and says what time it is then."""

    network: Network
    pass_s: Callable[[float], float]
    world: World = field(default_factory=ring)

    def apply(self, action: Action) -> str:
        """What stood in the way of an act, now."""
        return self.network.apply(action, self.pass_s(0.0))

    def until(self, holds: Callable[[World], bool], *, within_s: float = 60.0, every_s: float = 0.5) -> bool:
        """Whether something comes to be seen within so many seconds."""
        for _ in range(int(within_s / every_s)):
            at_s = self.pass_s(every_s)
            self.network.hear(at_s)
            told = self.network.observe(at_s)
            self.world = World(self.world.intended, seen(self.world.actual, told))
            if holds(self.world):
                return True
        return False

    def load_gbps(self, link: str) -> float:
        """What a link carries; nan where that was never heard."""
        return float(self.network.look("link_states", [link]).columns.get("load_gbps", (math.nan,))[0])

    def refuses(self, action: Action) -> bool:
        """Whether the network does no such acts; then it says so."""
        if action.kind in self.network.kinds:
            return False
        assert action.kind in self.apply(action)
        return True


@contextmanager
def _embedded() -> Iterator[Stand]:
    at_s = 0.0

    def pass_s(seconds: float) -> float:
        nonlocal at_s
        at_s += seconds
        return at_s

    yield Stand(EmbeddedNetwork(ring(), seed=3, start_s=0.0), pass_s)


@pytest.fixture(scope="module")
def lab() -> Iterator[str]:
    """The name of a lab with the ring in it, for all tests of this process."""
    with running(ring()) as name:
        yield name


@pytest.fixture(scope="module")
def isis_lab() -> Iterator[str]:
    """The same with IS-IS."""
    with running(ring(), ISIS) as name:
        yield name


@contextmanager
def _lab(name: str) -> Iterator[Stand]:
    def pass_s(seconds: float) -> float:
        time.sleep(seconds)
        return time.time()

    with closing(Lab(name)) as lab, closing(network_of(lab, ring())) as network:
        # Who was never heard has no telemetry to tell.
        network.hear(pass_s(0.0))
        yield Stand(network, pass_s)


LABS = [pytest.param(name, marks=[pytest.mark.lab, NO_LAB]) for name in ("lab", "isis_lab")]


@pytest.fixture(params=["embedded", *LABS])
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    with _embedded() if request.param == "embedded" else _lab(request.getfixturevalue(request.param)) as stand:
        yield stand


def _drained(action: Action) -> Callable[[World], bool]:
    return lambda world: changed(expected(action), world) == ()


def test_it_names_kinds_of_action_that_exist_and_refuses_any_other(stand: Stand) -> None:
    assert stand.network.kinds <= set(KINDS)
    assert stand.apply(msgspec.structs.replace(DRAIN, kind="paint_it_blue"))


def test_what_it_did_is_seen_and_its_inverse_puts_everything_back(stand: Stand) -> None:
    stand.until(lambda world: True)
    before = stand.network.look("link_states", ["l03"]).columns["drained"]
    assert stand.apply(DRAIN) == ""
    assert stand.until(_drained(DRAIN))
    assert stand.apply(inverse(DRAIN, expires_at_s=1e12)) == ""
    assert stand.network.look("link_states", ["l03"]).columns["drained"] == before


def test_an_act_taken_twice_is_as_taken_once(stand: Stand) -> None:
    assert [stand.apply(DRAIN), stand.apply(DRAIN)] == ["", ""]
    assert stand.until(_drained(DRAIN))
    assert stand.apply(inverse(DRAIN, expires_at_s=1e12)) == ""
    assert stand.until(lambda world: not world["link_states"].cell("l03", "drained"))


def test_traffic_leaves_a_drained_link_and_comes_back(stand: Stand) -> None:
    assert stand.until(lambda world: stand.load_gbps("l03") > 1.0)
    stand.apply(DRAIN)
    assert stand.until(lambda world: stand.load_gbps("l03") == 0.0)
    stand.apply(inverse(DRAIN, expires_at_s=1e12))
    assert stand.until(lambda world: stand.load_gbps("l03") > 1.0)


def test_a_restarted_device_comes_back_with_one_boot_more(stand: Stand) -> None:
    stand.until(lambda world: True)
    assert stand.apply(RESTART) == ""
    assert stand.network.look("equipment_states", ["r2"]).columns["boots"] == (1,)
    assert stand.until(lambda world: bool(world["equipment_states"].cell("r2", "up")))
    back = stand.network.look("equipment_states", ["r2"]).columns
    assert (back["up"], back["boots"], back["drained"]) == ((True,), (1,), (False,))


def test_a_job_holds_its_chips_until_its_end_and_no_second_job_gets_them(stand: Stand) -> None:
    if stand.refuses(START):
        return
    stand.pass_s(1.0)
    assert stand.apply(START) == ""
    assert stand.network.look("server_states", ["s0"]).columns["free_chips"] == (0,)
    assert "free chips" in stand.apply(msgspec.structs.replace(START, subject="j2"))
    stand.network.observe(stand.pass_s(18.0))
    assert int(stand.network.look("server_states", ["s0"]).columns["free_chips"][0]) == 0
    stand.network.observe(stand.pass_s(2.0))
    assert int(stand.network.look("server_states", ["s0"]).columns["free_chips"][0]) > 400


def test_an_order_is_seen_at_once_and_delivered_when_it_is_due(stand: Stand) -> None:
    if stand.refuses(ORDER):
        return
    stand.pass_s(1.0)
    assert stand.apply(ORDER) == ""
    stand.until(lambda world: True, every_s=1.0)
    assert stand.world["order_states"].cell(ORDER.id, "delivered") is False
    stand.until(lambda world: True, every_s=29.0, within_s=29.0)
    assert stand.world["order_states"].cell(ORDER.id, "delivered") is True


def test_rows_that_do_not_exist_are_left_out_of_a_look(stand: Stand) -> None:
    stand.network.observe(stand.pass_s(0.1))
    assert stand.network.look("link_states", ["none", "l01"]).ids == ("l01",)


def test_what_has_not_changed_is_not_told_again(stand: Stand) -> None:
    stand.network.observe(stand.pass_s(1.0))
    stand.network.observe(stand.pass_s(1.0))
    told = stand.network.observe(stand.pass_s(1.0))
    # Loads and delays are measured all the time.
    measured = {"load_gbps", "oneway_us"}
    assert all(set(rows.columns) <= measured for rows in told if stand.network.kinds >= {"start_job"}), told
    assert not [rows for rows in told if rows.table in ("equipment_states", "daemon_states", "config_states")]


def test_telemetry_is_of_channels_and_columns_that_are_known(stand: Stand) -> None:
    for heard in stand.network.hear(stand.pass_s(5.0)):
        assert tuple(heard.columns) == CHANNELS[heard.channel]
        assert all(len(values) == len(heard.ids) for values in heard.columns.values())


def test_the_same_calls_give_the_same_observations() -> None:
    first, second = (EmbeddedNetwork(ring(), seed=3, start_s=0.0) for _ in range(2))
    for at_s in (1.0, 2.0, 5.0):
        assert msgspec.json.encode(first.observe(at_s)) == msgspec.json.encode(second.observe(at_s))
        for one, other in zip(first.hear(at_s), second.hear(at_s), strict=True):
            assert (one.channel, one.at_s, one.ids.tolist()) == (other.channel, other.at_s, other.ids.tolist())
            for name, values in one.columns.items():
                np.testing.assert_array_equal(values, other.columns[name])
