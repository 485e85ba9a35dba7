"""The noise of a network is measured, and a network that has less of it is given it back."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

import karez
from benchmarks.instances.mesh import mesh
from benchmarks.instances.ring import DRAIN
from karez.adapters.embedded import EmbeddedNetwork
from karez.lab.dataset import Heard
from karez.lab.noise import Noise, Noisy, Spread, beyond, heard, measured, turns_s
from karez.plan.kinds import KINDS
from karez.twin.telemetry import Samples
from tests.lab.recorded import listened, network

TURN_S, FOR_S = 0.1, 240.0
WORLD = mesh(1, sites=5)
# As of a lab on a busy machine.
LAB = Noise(
    turn_s=TURN_S,
    late_share=0.05,
    late_s=0.15,
    probe=Spread(jitter_us=40.0, together_us=25.0, spike_share=0.01, spike_us=800.0),
    user=Spread(jitter_us=60.0, together_us=40.0, spike_share=0.02, spike_us=900.0),
    clock=Spread(jitter_us=400.0, together_us=6_000.0),
    clock_us=12_000.0,
    probe_lost_share=2e-3,
    user_lost_share=1e-3,
)


def _embedded() -> EmbeddedNetwork:
    return EmbeddedNetwork(WORLD, seed=1, start_s=0.0)


def _regular_s() -> list[float]:
    return [TURN_S * turn for turn in range(1, int(FOR_S / TURN_S))]


def test_an_embedded_network_with_the_noise_of_a_lab_has_it_back() -> None:
    more = beyond(LAB, measured(heard(_embedded(), _regular_s()), turn_s=TURN_S))
    times_s = list(turns_s(more, start_s=0.0, until_s=FOR_S, seed=1))
    found = measured(heard(Noisy(_embedded(), more, seed=1), times_s), turn_s=TURN_S)
    for name, within in {"probe": 0.15, "user": 0.25, "clock": 0.25}.items():
        spread, wanted = getattr(found, name), getattr(LAB, name)
        for part in ("jitter_us", "together_us", "spike_us", "spike_share"):
            assert getattr(spread, part) == pytest.approx(getattr(wanted, part), rel=within, abs=2e-3), (name, part)
    for part in ("late_share", "late_s", "clock_us", "probe_lost_share", "user_lost_share"):
        assert getattr(found, part) == pytest.approx(getattr(LAB, part), rel=0.25), part


def test_what_is_measured_is_what_was_put_in() -> None:
    random, ids = np.random.default_rng(3), np.array([b"l0>", b"l0<", b"l1>", b"l1<", b"l2>", b"l2<", b"l3>"])
    base_us = random.uniform(100.0, 5_000.0, len(ids))

    def told(at_s: float) -> Samples:
        oneway_us = base_us + 30.0 * random.standard_normal() + 50.0 * random.standard_normal(len(ids))
        sent = np.full(len(ids), 10)
        none = np.zeros(len(ids), np.int64)
        columns = {"sent": sent, "lost": random.binomial(sent, 0.01), "sent_large": none, "lost_large": none}
        return Samples("probe", at_s, ids, columns | {"oneway_us": oneway_us})

    found = measured((Heard(at_s, (), (told(at_s),)) for at_s in _regular_s()), turn_s=TURN_S)
    assert found.probe.jitter_us == pytest.approx(50.0, rel=0.15)
    assert found.probe.together_us == pytest.approx(30.0, rel=0.15)
    assert found.probe.spike_share < 1e-3
    assert found.probe_lost_share == pytest.approx(0.01, rel=0.1)
    assert (found.late_share, found.user, found.clock_us) == (0.0, Spread(), 0.0)


def test_a_network_that_is_noisy_enough_is_left_as_it_is() -> None:
    own = measured(heard(_embedded(), _regular_s()[:600]), turn_s=TURN_S)
    none = beyond(own, own)
    for noisy, alone in zip(
        heard(Noisy(_embedded(), none, seed=1), _regular_s()[:50]), heard(_embedded(), _regular_s()[:50]), strict=True
    ):
        for some, was in zip(noisy.samples, alone.samples, strict=True):
            for name, values in was.columns.items():
                np.testing.assert_array_equal(some.columns[name], values)


def test_noise_depends_on_its_seed_alone() -> None:
    def told(seed: int) -> list[float]:
        return [
            float(some.columns["oneway_us"].sum())
            for turn in heard(Noisy(_embedded(), LAB, seed=seed), _regular_s()[:20])
            for some in turn.samples
            if some.channel == "probe"
        ]

    assert told(1) == told(1) != told(2)


def test_a_noisy_network_is_the_network_otherwise() -> None:
    noisy = Noisy(_embedded(), LAB, seed=1)
    assert noisy.kinds <= set(KINDS)
    assert noisy.look("link_states", ["l000"]) == _embedded().look("link_states", ["l000"])
    paint = msgspec.structs.replace(DRAIN, kind="paint_it_blue")
    assert noisy.apply(paint, 1.0) == _embedded().apply(paint, 1.0) != ""


def test_a_recording_without_faults_tells_its_noise(tmp_path: Path) -> None:
    listened(tmp_path / "set", network(tmp_path / "net"), (), for_s=20.0)
    noise = karez.lab_replay(folder=str(tmp_path / "set")).noise
    assert noise.probe.jitter_us == pytest.approx(6.0, rel=0.5)
    assert msgspec.json.decode(msgspec.json.encode(noise), type=Noise) == noise
