"""What models take on chips, and how much of its time a gang gets on with its work."""

from __future__ import annotations

import numpy as np
import pytest

from karez.importers.generate import nation
from karez.measure import chips, compute
from karez.measure.chips import Load, estimates, learned_from, needed_gb, speeds
from karez.measure.health import checkpoint_h, health
from karez.twin import Twin
from karez.twin.catalogue import catalogue


def _pair(twin: Twin, model: str, chip: str) -> tuple[np.ndarray, np.ndarray]:
    return twin["models"].rows([model]), twin["chips"].rows([chip])


def test_factors_of_the_library_are_those_of_every_part() -> None:
    assert set(chips.serving()["factor"]) == set(compute.PARTS)


def test_a_chip_that_was_measured_is_surer_than_one_of_which_only_a_data_sheet_is_known() -> None:
    twin = catalogue()
    known = estimates(twin, *_pair(twin, "Llama 3 8B", "H100 SXM"), "online", Load(chips=1))
    sheet = estimates(twin, *_pair(twin, "Llama 3 8B", "Ascend 910B2"), "online", Load(chips=1))
    assert [chips.TIERS[at] for at in (known.tier[0], sheet.tier[0])] == ["calibrated", "data sheet only"]
    assert known.high_s[0] / known.low_s[0] < sheet.high_s[0] / sheet.low_s[0]
    assert known.low_s[0] < known.s[0] < known.high_s[0]


def test_what_was_measured_moves_estimates_and_narrows_them() -> None:
    twin = catalogue()
    models, of = _pair(twin, "Qwen2.5 7B", "Ascend 910B2")
    load = Load(chips=1)
    before = estimates(twin, models, of, "online", load)
    known = learned_from(twin, np.repeat(models, 3), np.repeat(of, 3), [load] * 3, np.repeat(before.s * 1.5, 3))
    after = estimates(twin, models, of, "online", load, known)
    assert chips.TIERS[after.tier[0]] == "measured"
    assert before.s[0] * 1.3 < after.s[0] < before.s[0] * 1.6
    assert after.high_s[0] / after.low_s[0] < before.high_s[0] / before.low_s[0]


def test_a_chip_without_figures_is_unknown_and_never_guessed() -> None:
    twin = catalogue()
    said = estimates(twin, *_pair(twin, "Qwen2.5 7B", "Kunlun P800"), "online", Load(chips=1))
    assert chips.TIERS[said.tier[0]] == "unknown"
    assert np.isnan(said.s[0])
    assert np.isnan(
        speeds(twin, twin["models"].rows(["Qwen2.5 7B"]), "online")[0, twin["chips"].rows(["Kunlun P800"])[0]]
    )


def test_training_takes_the_memory_of_adam_and_six_operations_a_parameter() -> None:
    twin = catalogue()
    models, of = _pair(twin, "Llama 3 8B", "A100 80G SXM")
    assert needed_gb(twin, models, "training")[0] == pytest.approx(8.03 * 16 * 1.2)
    said = estimates(twin, models, of, "training", Load(chips=8))
    assert said.tokens_per_s[0] == pytest.approx(8 * 312e12 * 0.4 / (6 * 8.03e9))
    assert said.j_per_token[0] == pytest.approx(8 * 400 / said.tokens_per_s[0])


def test_speeds_put_a_larger_chip_first_and_a_group_holds_the_model() -> None:
    twin = catalogue()
    h100, l40s = (twin["chips"].rows([name])[0] for name in ("H100 SXM", "L40S"))
    for kind in ("training", "batch", "online"):
        speed = speeds(twin, twin["models"].rows(["Llama 3 70B"]), kind)[0]
        assert speed[h100] > speed[l40s] > 0


def test_the_network_that_is_generated_has_figures_of_every_chip_it_offers() -> None:
    twin = nation(stations=20_000, sites=20, seed=1)
    offered = np.unique(twin.resolve("servers", "chip"))
    assert np.isfinite(speeds(twin, twin["models"].rows(["Qwen2.5 7B"]), "batch")[0, offered]).all()


def test_checkpoints_come_as_often_as_loses_least() -> None:
    gang, write = np.array([1024.0]), np.array([0.05])
    best = health(gang, write, failures_per_chip_h=2e-5, restart_h=0.17)
    rate = 1024 * 2e-5

    def share(interval: float) -> float:
        return float(interval * rate / (np.exp(0.17 * rate) * np.expm1((interval + 0.05) * rate)))

    assert best.effective_share[0] == pytest.approx(share(best.interval_h[0]))
    others = [share(best.interval_h[0] * times) for times in (0.5, 0.8, 1.25, 2.0)]
    assert max(others) < best.effective_share[0] * 1.001


def test_a_larger_gang_loses_more_to_failures() -> None:
    gangs = np.array([8.0, 1024.0, 16384.0])
    write = checkpoint_h(np.full(3, 70e9), gangs, 1.0)
    share = health(gangs, write, failures_per_chip_h=2e-5, restart_h=0.17).effective_share
    assert (np.diff(share) < 0).all()
    assert 0.8 < share[2] < share[0] <= 1.0
