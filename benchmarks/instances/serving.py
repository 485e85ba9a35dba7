"""Measured token times of models on chips: the public sample that estimates are measured on, and what its names mean.

Of the sample those rows count that were served together (prompts and tokens on the same chips) at a known precision.
Shapes of models and peaks of chips are dense ones as published, from memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks import PUBLIC
from karez.measure.compute import Labels, Served
from karez.twin.table import Array

FILE = PUBLIC / "placing" / "serving_measurements.csv"
# Parameters and those active (10^9), layers, cache values a layer and token, width, experts a token and in all.
SHAPES = {
    "Llama-3.1-70B": (70.6, 70.6, 80, 2048.0, 8192, 1, 1),
    "Llama-3.1-8B-Instruct": (8.03, 8.03, 32, 2048.0, 4096, 1, 1),
    "Qwen3-32B": (32.8, 32.8, 64, 2048.0, 5120, 1, 1),
    "DeepSeek-R1": (671.0, 37.0, 61, 576.0, 7168, 8, 256),
    "gpt-oss-120b": (117.0, 5.1, 36, 563.0, 2880, 4, 128),
    "MiniMax-M2.5": (230.0, 10.0, 62, 2048.0, 3072, 8, 256),
    "Qwen3.5-397B-A17B": (397.0, 17.0, 60, 256.0, 4096, 10, 512),
    "Kimi-K2.5": (1026.0, 32.0, 61, 576.0, 7168, 8, 384),
    "Qwen3-235B-A22B": (235.0, 22.0, 94, 1024.0, 4096, 8, 128),
    "GLM-5": (744.0, 40.0, 78, 576.0, 6144, 8, 256),
}
# Names of the same shape.
SAME = {"DeepSeek-V3": "DeepSeek-R1", "DeepSeek-V3.1": "DeepSeek-R1"}
# TFLOP/s in 16 and 8 bits and in 4, TB/s of memory, GB/s of the link one way.
CHIPS = {
    "h100_sxm": (989.0, 1979.0, 989.0, 3.35, 450.0),
    "h200_sxm": (989.0, 1979.0, 989.0, 4.8, 450.0),
    "b200_sxm": (2250.0, 4500.0, 9000.0, 8.0, 900.0),
}
# Bytes of a parameter with its scales, and which peak counts.
PRECISIONS = {"bf16": (2.0, 0), "fp8": (1.0, 1), "fp4": (0.5625, 2), "int4": (0.53, 0)}


class Sample(NamedTuple):
    """Rows that count: what was served, its labels, and the seconds a token that were measured."""

    served: Served
    labels: Labels
    measured_s: Array


def sample(file: Path = FILE) -> Sample:
    """The sample; FileNotFoundError where it is not there."""
    rows = pl.read_csv(file, infer_schema_length=None).filter(
        (pl.col("mode") == "agg") & pl.col("precision").is_not_null()
    )
    model = np.array([_shape_of(name) for name in rows["model_path"]])
    shape = np.array([SHAPES[name] for name in model])
    chip = np.array([CHIPS[name] for name in rows["system"]])
    size = np.array([PRECISIONS[name][0] for name in rows["precision"]])
    peak = np.array([PRECISIONS[name][1] for name in rows["precision"]])
    tensor, replicas = (
        rows[name].fill_null(1).clip(lower_bound=1).to_numpy().astype(float)
        for name in ("tp_size", "attention_dp_size")
    )
    served = Served(
        parameters=shape[:, 0] * 1e9,
        active_parameters=shape[:, 1] * 1e9,
        layers=shape[:, 2],
        cache_values=shape[:, 3],
        width=shape[:, 4],
        experts=shape[:, 6],
        experts_per_token=shape[:, 5],
        parameter_bytes=size,
        cache_bytes=np.ones(len(size)),
        flop_per_s=chip[np.arange(len(chip)), peak] * 1e12,
        memory_b_per_s=chip[:, 3] * 1e12,
        link_b_per_s=chip[:, 4] * 1e9,
        chips=tensor * replicas,
        replicas=replicas,
        requests=rows["batch_size"].to_numpy() * replicas,
        tokens_in=rows["isl"].to_numpy(),
        tokens_out=rows["osl"].to_numpy(),
    )
    labels = Labels(model, *(rows[name].to_numpy().astype(str) for name in ("backend", "system", "precision")))
    return Sample(served, labels, rows["silicon_tpot_ms"].to_numpy() / 1e3)


def _shape_of(path: str) -> str:
    name = path.split("/")[-1].removesuffix("-FP8").removesuffix("-NVFP4")
    return SAME.get(name, name)
