"""What models take on chips, and how much of its time a gang gets on with its work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from karez.errors import InputError
from karez.importers.generate import nation
from karez.measure import chips, compute
from karez.measure.chips import Load, estimates, in_groups, learned_from, needed_gb
from karez.measure.health import checkpoint_h, health
from karez.operations import EstimateQuestion, run
from karez.operations.estimate import EstimateAnswer
from karez.plan.day.pose import LEAST_LOAD
from karez.twin import Twin
from karez.twin.catalogue import catalogue
from karez.twin.facts import library


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
    groups = in_groups(twin, twin["models"].rows(["Qwen2.5 7B"]), "online")
    assert np.isnan(groups.tokens_per_s[0, twin["chips"].rows(["Kunlun P800"])[0]])


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
        speed = in_groups(twin, twin["models"].rows(["Llama 3 70B"]), kind).tokens_per_s[0]
        assert speed[h100] > speed[l40s] > 0


def test_the_network_that_is_generated_has_figures_of_every_chip_it_offers() -> None:
    twin = nation(stations=20_000, sites=20, seed=1)
    offered = np.unique(twin.resolve("servers", "chip"))
    assert np.isfinite(in_groups(twin, twin["models"].rows(["Qwen2.5 7B"]), "batch").tokens_per_s[0, offered]).all()


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


def test_loads_of_the_library_are_never_lower_than_the_bound_of_traffic_takes_them_to_be() -> None:
    shares = [float(row["share"]) for row in library("loads")]
    assert min(share for share in shares if share > 0) >= LEAST_LOAD


def test_an_estimate_goes_by_a_file_of_measurements_and_names_what_is_wrong_in_it(tmp_path: Path) -> None:
    head, file = "model,chip,chips,requests,tokens_in,tokens_out,token_ms", tmp_path / "measured.csv"
    file.write_text(f"{head}\nQwen2.5 7B,H20,1,4,1024,256,40\n", "utf-8")
    question = EstimateQuestion(model="Qwen2.5 7B", chip="H20", chips=1, measured=str(file))
    answer = run("estimate", question)
    assert isinstance(answer, EstimateAnswer)
    (one,) = answer.estimates
    assert one.known_by == "measured"
    assert 25 < one.token_ms < 41
    file.write_text(f"{head}\nQwen2.5 7B,H99,1,4,1024,256,40\nQwen2.5 7B,H20,1,4,1024,256,-1\n", "utf-8")
    with pytest.raises(InputError, match="'H99' is not known") as wrong:
        run("estimate", question)
    assert len(wrong.value.problems) == 2
