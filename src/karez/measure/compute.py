"""What it takes to serve a model on chips: the time of one token, from data sheets, from measurements, and how sure.

Three tiers. A *data sheet* says how long memory, arithmetic, and links would take at their peaks. *Calibrated*, each of
these parts takes a factor of its own, fitted to what was measured anywhere; that is a roofline of which no part hides
another. *Learned*, what the calibrated one was off by in measurements that are alike (the same model, engine, chip,
precision; near in batch, lengths and parallelism) is taken off: a Gaussian process, which also says how sure it is.

Source: S. Williams, A. Waterman, D. Patterson, "Roofline" (2009); C. E. Rasmussen, C. K. I. Williams, "Gaussian
Processes for Machine Learning" (2006), algorithm 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import least_squares

from karez.twin.table import Array

# What a token is made of, in the order of the columns of `parts`.
PARTS = ("weights", "cache", "arithmetic", "prompts", "attention", "steps", "volume", "layers", "token")
# Factors that a fit begins with, and from which distance on (in logarithms) a measurement counts less.
FIRST_FACTORS, FAR = (1.3, 1.5, 2.0, 2.0, 2.0, 3.0, 1.0, 20.0, 0.3), 0.3
# Nothing is faster than its data sheet; what is no figure of one may take any time.
LEAST_FACTORS = (1.0, 1.0, 1.0, 1.0, 1e-9, 1e-9, 1e-9, 1e-9, 1e-9)
# What a collective takes a step, a layer to launch, and a token to schedule, before factors.
STEP_S, LAYER_S, TOKEN_S = 1e-6, 1e-6, 1e-3
# Collectives a layer, and bytes of a value that they move.
COLLECTIVES, VALUE_BYTES = 2, 2
FLOP_PER_PARAMETER = 2
# Doublings at which measurements are as good as strangers: of batch, input, output, chips, replicas.
LENGTHS = (2.0, 2.5, 2.5, 1.5, 1.5)
# What is off in common (variance of logarithms), by what must be the same: near in size besides, or anywhere.
NEAR = (
    ((), 0.02),
    (("engine",), 0.02),
    (("model",), 0.02),
    (("model", "engine"), 0.03),
    (("model", "precision"), 0.01),
    (("model", "engine", "precision"), 0.02),
)
ANYWHERE = ((("model",), 0.02), (("engine",), 0.01), (("chip",), 0.01), (("chip", "engine"), 0.01))
# What is off by chance (standard deviation of logarithms), and how many of these hold nine in ten.
NOISE, NINE_IN_TEN = 0.1, 1.645


class Served(NamedTuple):
    """Models on chips, a row each, arrays of the same length.

    Parameters in all and active a token, layers, values of the key-value cache a layer and token, width of the hidden
    state, experts in all and a token (1 where there are none); bytes of a parameter, and of a value of the cache; of a
    chip FLOP/s at that precision, and B/s of memory and of its link; chips together, of which replicas of attention;
    requests at once, and tokens in and out of each.
    """

    parameters: Array
    active_parameters: Array
    layers: Array
    cache_values: Array
    width: Array
    experts: Array
    experts_per_token: Array
    parameter_bytes: Array
    cache_bytes: Array
    flop_per_s: Array
    memory_b_per_s: Array
    link_b_per_s: Array
    chips: Array
    replicas: Array
    requests: Array
    tokens_in: Array
    tokens_out: Array


class Labels(NamedTuple):
    """What is the same or is not: names of models, engines, chips and precisions, arrays of strings."""

    model: Array
    engine: Array
    chip: Array
    precision: Array


class Estimate(NamedTuple):
    """Seconds a token (time per output token), and the ends of an interval that should hold nine in ten."""

    s: Array
    low_s: Array
    high_s: Array


def parts(served: Served) -> Array:
    """Seconds a token of each part at the peaks of data sheets, shape (rows, parts).

    Weights are read once a token for all requests, of experts those that some request asks for; prompts of those that
    come while others are answered take their share of each token.
    """
    s = Served(*(np.asarray(column, float) for column in served))
    several = s.experts > 1
    of_experts = np.where(
        several,
        (s.parameters - s.active_parameters) * s.experts / np.maximum(s.experts - s.experts_per_token, 1.0),
        0.0,
    )
    asked = np.where(several, 1.0 - (1.0 - s.experts_per_token / s.experts) ** s.requests, 1.0)
    read_b = (s.parameters - of_experts + of_experts * asked) * s.parameter_bytes / s.chips
    context = s.tokens_in + s.tokens_out / 2
    cache_b = s.requests * context * s.cache_values * s.layers * s.cache_bytes / s.chips
    # Prompts a token: one comes with each request that ends.
    prompts = s.requests / np.maximum(s.tokens_out, 1.0) / s.chips / s.flop_per_s
    together = s.chips > 1
    return np.stack(
        [
            read_b / s.memory_b_per_s,
            cache_b / s.memory_b_per_s,
            FLOP_PER_PARAMETER * s.active_parameters * s.requests / s.chips / s.flop_per_s,
            FLOP_PER_PARAMETER * s.active_parameters * s.tokens_in * prompts,
            FLOP_PER_PARAMETER * s.layers * s.width * s.tokens_in**2 * prompts,
            COLLECTIVES * s.layers * together * STEP_S * np.log2(np.maximum(s.chips, 2.0)),
            COLLECTIVES * s.layers * together * s.requests * s.width * VALUE_BYTES / s.link_b_per_s,
            s.layers * LAYER_S,
            np.full(len(s.layers), TOKEN_S),
        ],
        axis=1,
    )


def by_data_sheet(served: Served) -> Array:
    """Seconds a token where memory and arithmetic hide each other and all else takes no time, shape (rows,)."""
    weights, cache, arithmetic, prompts = parts(served)[:, :4].T
    return np.asarray(np.maximum(weights + cache, arithmetic) + prompts)


def factors(served: Served, measured_s: Array) -> Array:
    """Of each part the factor with which the sum comes nearest to what was measured, shape (parts,)."""
    each, seen = parts(served), np.log(measured_s)

    def off(logs: Array) -> Array:
        return np.asarray(np.log(each @ np.exp(logs)) - seen)

    bounds = (np.log(LEAST_FACTORS), np.inf)
    found = least_squares(off, np.log(FIRST_FACTORS), bounds=bounds, loss="soft_l1", f_scale=FAR)
    return np.asarray(np.exp(found.x))


def calibrated(served: Served, of_parts: Array) -> Array:
    """Seconds a token by these factors of parts, shape (rows,)."""
    return np.asarray(parts(served) @ of_parts)


@dataclass(frozen=True)
class Learned:
    """What was measured, and what of it the calibrated roofline does not say (`weights` of each measurement)."""

    served: Served
    labels: Labels
    of_parts: Array
    factor: tuple[Array, bool]
    weights: Array

    def estimate(self, served: Served, labels: Labels) -> Estimate:
        """Seconds a token with their interval."""
        near = _alike(served, labels, self.served, self.labels)
        log_s = np.log(calibrated(served, self.of_parts)) + near @ self.weights
        known = np.einsum("ij,ji->i", near, cho_solve(self.factor, near.T))
        sure = np.sqrt(np.maximum(_whole() + NOISE**2 - known, NOISE**2))
        return Estimate(*(np.exp(log_s + width * NINE_IN_TEN * sure) for width in (0.0, -1.0, 1.0)))


def learned(served: Served, labels: Labels, measured_s: Array, of_parts: Array | None = None) -> Learned:
    """What measurements (seconds a token) teach; factors of parts, where they are given, stay as they are."""
    of_parts = factors(served, measured_s) if of_parts is None else of_parts
    off = np.log(measured_s) - np.log(calibrated(served, of_parts))
    alike = _alike(served, labels, served, labels)
    factor = cho_factor(alike + NOISE**2 * np.eye(len(off)))
    return Learned(served, labels, of_parts, factor, cho_solve(factor, off))


def _alike(served: Served, labels: Labels, others: Served, other_labels: Labels) -> Array:
    """What rows are off in common with others, as a covariance, shape (rows, others)."""
    apart = np.zeros((len(served.layers), len(others.layers)))
    names = ("requests", "tokens_in", "tokens_out", "chips", "replicas")
    for name, length in zip(names, LENGTHS, strict=True):
        here, there = (np.log2(np.asarray(getattr(one, name), float)) for one in (served, others))
        apart += ((here[:, None] - there[None, :]) / length) ** 2
    near = np.exp(-0.5 * apart)
    found = np.zeros_like(near)
    for terms, size in ((NEAR, near), (ANYWHERE, 1.0)):
        for what, variance in terms:
            same = np.ones(near.shape, bool)
            for name in what:
                same &= getattr(labels, name)[:, None] == getattr(other_labels, name)[None, :]
            found += variance * same * size
    return found


def _whole() -> float:
    """What a row is off by, as a variance."""
    return sum(variance for terms in (NEAR, ANYWHERE) for _, variance in terms)
