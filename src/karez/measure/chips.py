"""What models take on the chips of a twin: memory, the time of a token, tokens a second, joules; and how it is known.

Three tiers. *Measured*: somebody measured that model on that chip, and estimates nearby go by it. *Calibrated*: the
roofline of `compute` with the factors of the library, on a chip that they were fitted to. *Data sheet only*: the same,
on a chip that nobody measured here, with an interval so much wider. Training goes by a share of the peak.

Source: library/serving.csv and library/running.csv, where each row names its own.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from karez.measure import compute
from karez.measure.compute import Labels, Learned, Served
from karez.twin import Twin
from karez.twin.facts import library
from karez.twin.table import Array, strings

Kind = Literal["training", "batch", "online"]
Tier = Literal["measured", "calibrated", "data sheet only", "unknown"]
TIERS: tuple[Tier, ...] = ("measured", "calibrated", "data sheet only", "unknown")
PER_B, GB, KB, TERA, MS = 1e9, 1e9, 1e3, 1e12, 1e3
# Bytes of a parameter and of a value of the cache in 16 bits; of a parameter in training with Adam in mixed precision
# (weights and gradients in 16 bits; weights, mean and variance in 32). Source: Rajbhandari et al., "ZeRO" (2020).
PARAMETER_BYTES, CACHE_BYTES, TRAINED_BYTES = 2.0, 2.0, 16.0
# What is held besides: activations, buffers.
MEMORY_FACTOR = 1.2
FLOP_PER_TRAINED_TOKEN = 6.0
BOTH_WAYS = 2.0
# Source of the measurements of the library.
ENGINE, PRECISION = "any", "bf16"


class Load(NamedTuple):
    """What is asked of a group of chips that run one model together."""

    chips: int = 8
    requests: int = 16
    tokens_in: int = 1024
    tokens_out: int = 256


USUAL = Load()
# What chips are compared by: a few requests a chip where a person waits, many where nobody does.
REQUESTS_A_CHIP: dict[Kind, int] = {"online": 4, "batch": 32, "training": 0}
LARGEST_GROUP = 64


class Estimates(NamedTuple):
    """Of models on chips, a row a pair (arrays of one length).

    Seconds a token of one request (low, typical, high; of training: seconds a token of all chips); tokens a second of
    the whole group at typical; memory that is needed, and what the chips have (GB); joules a token; and the tier (its
    place in TIERS). What a missing figure leaves unknown is nan.
    """

    low_s: Array
    s: Array
    high_s: Array
    tokens_per_s: Array
    needed_gb: Array
    memory_gb: Array
    j_per_token: Array
    tier: Array

    @property
    def fits(self) -> Array:
        """Whether each model fits into the memory of the chips."""
        return np.asarray(self.needed_gb <= self.memory_gb)


@cache
def constants(figure: str = "typical") -> dict[str, float]:
    """Constants of running jobs: the column `figure` of library/running.csv."""
    return {row["id"]: float(row[figure]) for row in library("running")}


@cache
def serving() -> dict[str, dict[str, float]]:
    """What library/serving.csv knows, by kind of row: factors of parts, intervals, chips that were measured."""
    found = dict[str, dict[str, float]]()
    for row in library("serving"):
        found.setdefault(row["kind"], {})[row["id"]] = float(row["value"])
    return found


def needed_gb(twin: Twin, models: Array, kind: Kind, load: Load = USUAL) -> Array:
    """Memory (GB) that each model (row) takes on all its chips together."""
    table = twin["models"]
    parameters = table["parameters_b"][models] * PER_B
    if kind == "training":
        return np.asarray(parameters * TRAINED_BYTES * MEMORY_FACTOR / GB)
    context = load.tokens_in + load.tokens_out
    cache_kb = np.nan_to_num(table["kv_kb_per_token"][models])
    return np.asarray((parameters * PARAMETER_BYTES * MEMORY_FACTOR + cache_kb * KB * load.requests * context) / GB)


def job_gb(twin: Twin, models: Array, kind: Kind, chips: Array) -> Array:
    """Memory (GB) that jobs of one kind take on all their chips: each model (row) on so many."""
    each = needed_gb(twin, models, kind, Load(requests=0))
    of_request = needed_gb(twin, models, kind, Load(requests=1)) - each
    return np.asarray(each + of_request * REQUESTS_A_CHIP[kind] * chips)


def estimates(
    twin: Twin, models: Array, chips: Array, kind: Kind, load: Load = USUAL, known: Learned | None = None
) -> Estimates:
    """What each model (row) takes on each chip (row beside it); `known` is what measurements taught."""
    of_chip = twin["chips"]
    memory = of_chip["memory_gb"][chips] * load.chips
    tier = tiers(of_chip.ids[chips])
    if kind == "training":
        low, s, high = (_trained_s(twin, models, chips, load.chips, figure) for figure in ("high", "typical", "low"))
        tokens_per_s = 1.0 / s
        # No training was measured here.
        tier[tier == TIERS.index("calibrated")] = TIERS.index("data sheet only")
    else:
        low, s, high = _served_s(twin, models, chips, load, tier, known)
        tokens_per_s = load.requests / s
    tier[~np.isfinite(s)] = TIERS.index("unknown")
    watts = of_chip["power_w"][chips] * load.chips
    needed = needed_gb(twin, models, kind, load)
    return Estimates(low, s, high, tokens_per_s, needed, memory, watts / tokens_per_s, tier)


def on_fewest(twin: Twin, model: int, chip: int, kind: Kind, load: Load) -> Load:
    """The load on as few chips (a power of two) as hold the model, or on the largest group; requests as usual if 0."""
    memory, chips = float(twin["chips"]["memory_gb"][chip]), 1
    while True:
        found = load._replace(chips=chips, requests=load.requests or max(REQUESTS_A_CHIP[kind] * chips, 1))
        if float(needed_gb(twin, np.array([model]), kind, found)[0]) <= memory * chips or chips >= LARGEST_GROUP:
            return found
        chips *= 2


class Groups(NamedTuple):
    """Groups of chips as small a power of two as hold a model, each model (row) by each chip of the twin (column).

    Tokens a second of one chip, and the time of a token at the high end (ms), which objectives are held to; nan where a
    figure is missing, or no group holds it.
    """

    tokens_per_s: Array
    high_ms: Array


def in_groups(twin: Twin, models: Array, kind: Kind) -> Groups:
    """What models (rows) do in groups; training is spread over as many chips as it takes, so one counts."""
    count = len(twin["chips"])
    of_model, of_chip = np.repeat(models, count), np.tile(np.arange(count), len(models))
    found, left = np.full((2, len(of_model)), np.nan), np.ones(len(of_model), bool)
    chips = 1
    while chips <= LARGEST_GROUP and left.any():
        load = Load(chips=chips, requests=max(REQUESTS_A_CHIP[kind] * chips, 1))
        rows = np.flatnonzero(left)
        said = estimates(twin, of_model[rows], of_chip[rows], kind, load)
        fits = said.fits if kind != "training" else np.ones(len(rows), bool)
        found[:, rows[fits]] = said.tokens_per_s[fits] / chips, said.high_s[fits] * MS
        left[rows[fits]] = False
        chips *= 2
    return Groups(*found.reshape(2, len(models), count))


def tiers(names: Array) -> Array:
    """The tier (its place in TIERS) of serving on chips of these names, where their figures are known."""
    measured = np.array([name.encode() for name in serving()["chip"]])
    calibrated, sheet = TIERS.index("calibrated"), TIERS.index("data sheet only")
    return np.where(np.isin(names, measured), calibrated, sheet)


def _trained_s(twin: Twin, models: Array, chips: Array, count: int, figure: str) -> Array:
    """Seconds a token of training on so many chips together."""
    flop = FLOP_PER_TRAINED_TOKEN * _active(twin, models)
    peak = twin["chips"]["peak_tflops_fp16"][chips] * TERA
    return np.asarray(flop / (count * peak * constants(figure)["training_flop_share"]))


def _served_s(
    twin: Twin, models: Array, chips: Array, load: Load, tier: Array, known: Learned | None
) -> tuple[Array, Array, Array]:
    """Seconds a token of serving at the low end, typical, and at the high end; what was measured goes first."""
    served = served_on(twin, models, chips, load)
    factors = np.array([serving()["factor"][part] for part in compute.PARTS])
    typical = compute.calibrated(served, factors)
    width = np.array([serving()["interval_log"].get(name, np.nan) for name in TIERS])[tier]
    low, high = typical * np.exp(-width), typical * np.exp(width)
    if known is not None and len(models):
        labels = _labels(twin, models, chips)
        pairs = set(zip(known.labels.model.tolist(), known.labels.chip.tolist(), strict=True))
        near = np.array([pair in pairs for pair in zip(labels.model.tolist(), labels.chip.tolist(), strict=True)])
        said = known.estimate(served, labels)
        tier[near] = TIERS.index("measured")
        low, typical, high = (
            np.where(near, mine, other)
            for mine, other in zip((said.low_s, said.s, said.high_s), (low, typical, high), strict=True)
        )
    return low, typical, high


def _labels(twin: Twin, models: Array, chips: Array) -> Labels:
    model, chip = (np.array(strings(twin[table].ids[rows])) for table, rows in (("models", models), ("chips", chips)))
    return Labels(model, np.full(len(model), ENGINE), chip, np.full(len(model), PRECISION))


def _active(twin: Twin, models: Array) -> Array:
    table = twin["models"]
    active = table["active_parameters_b"][models]
    return np.asarray(np.where(np.isnan(active), table["parameters_b"][models], active) * PER_B)


def served_on(twin: Twin, models: Array, chips: Array, load: Load) -> Served:
    """Each model (row) on each chip (row beside it) under a load, as the roofline takes it."""
    of_model, of_chip = twin["models"], twin["chips"]
    # A model whose layers nobody told has those of one of its size.
    layers = np.where(of_model["layers"][models] > 0, of_model["layers"][models], 40).astype(float)
    width = np.where(of_model["width"][models] > 0, of_model["width"][models], 5120).astype(float)
    cache_bytes = np.nan_to_num(of_model["kv_kb_per_token"][models]) * KB
    link = of_chip["link_gb_per_s"][chips] / BOTH_WAYS
    one = np.ones(len(models))
    return Served(
        parameters=of_model["parameters_b"][models] * PER_B,
        active_parameters=_active(twin, models),
        layers=layers,
        cache_values=cache_bytes / CACHE_BYTES / layers,
        width=width,
        experts=of_model["experts"][models].astype(float),
        experts_per_token=of_model["experts_per_token"][models].astype(float),
        parameter_bytes=PARAMETER_BYTES * one,
        cache_bytes=CACHE_BYTES * one,
        flop_per_s=of_chip["peak_tflops_fp16"][chips] * TERA,
        memory_b_per_s=of_chip["memory_gb_per_s"][chips] * GB,
        link_b_per_s=np.where(np.isnan(link), constants()["link_gb_per_s_none"], link) * GB,
        chips=load.chips * one,
        replicas=one,
        requests=load.requests * one,
        tokens_in=load.tokens_in * one,
        tokens_out=load.tokens_out * one,
    )


def learned_from(twin: Twin, models: Array, chips: Array, loads: list[Load], token_s: Array) -> Learned:
    """What measurements (seconds a token of each model on each chip under each load) teach."""
    rows = [served_on(twin, models[[at]], chips[[at]], load) for at, load in enumerate(loads)]
    served = Served(*(np.concatenate(columns) for columns in zip(*rows, strict=True)))
    factors = np.array([serving()["factor"][part] for part in compute.PARTS])
    return compute.learned(served, _labels(twin, models, chips), token_s, factors)
