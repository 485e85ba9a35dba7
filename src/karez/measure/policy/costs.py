"""What each mode costs: bytes moved, seconds before the work can begin, joules and money, for many options at once.

In the copied modes the data goes to the place of work. To `aggregate` and `federate`, sums or models travel, and the
data is worked on at home, as it is to `stay`; so home must have a place that can do the work.

Source: the constants of `mode_costs.csv`, each with its own; `karez policy calibrate` measures them on a machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from karez.measure.policy.vocabulary import MODES, Mode
from karez.twin.facts import library
from karez.twin.table import Array
from karez.units import S_PER_H

AT_HOME: tuple[Mode, ...] = ("aggregate", "federate", "stay")
BYTES_PER_PARAMETER = 2.0
GB = 1e9
BITS_PER_BYTE = 8.0
US = 1e-6
BOTH_ENDS = 2.0
J_PER_KWH = 3.6e6
Constants = Mapping[str, float]


class Work(NamedTuple):
    """What is to be done (one value a job): data (GB), chips, hours, and the model that a federation sends."""

    size_gb: Array
    chips: Array
    hours: Array
    model_gb: Array


class Places(NamedTuple):
    """Where it could be done: price (CNY) and power (kW, with cooling) of a chip, and bandwidth to there (Gbit/s).

    A row for each job, a column for each place; or one row for all jobs.
    """

    cny_per_chip_h: Array
    kw_per_chip: Array
    gbps: Array


class Costs(NamedTuple):
    """What each option takes: arrays of jobs by places by modes; inf where home cannot do it, nan where not known."""

    moved_gb: Array
    delay_s: Array
    joules: Array
    cny: Array


def constants(given: Constants | None = None) -> dict[str, float]:
    """The constants of the library, with those that were measured or given in their place."""
    return {row["id"]: float(row["value"]) for row in library("mode_costs")} | dict(given or {})


def costs(work: Work, away: Places, home: Places, known: Constants, *, cipher: str = "encrypt_gb_per_s") -> Costs:
    """What every job costs at every place in every mode.

    `home` has one column: the cheapest place where the data lies. `cipher` is the constant of the cipher's speed.
    """
    shape = (len(work.size_gb), away.cny_per_chip_h.shape[1])
    found = Costs(*(np.empty((*shape, len(MODES))) for _ in Costs._fields))
    for at, mode in enumerate(MODES):
        moved_gb, core_s, more = _of_mode(mode, work, known, cipher)
        place = home if mode in AT_HOME else away
        chip_h = work.chips * work.hours * (1.0 + more)
        transport_s = moved_gb[:, None] * BITS_PER_BYTE / place.gbps
        found.moved_gb[..., at] = moved_gb[:, None]
        found.delay_s[..., at] = transport_s + core_s[:, None]
        found.joules[..., at] = (
            chip_h[:, None] * place.kw_per_chip * 1e3 * S_PER_H
            + (moved_gb * known["transport_j_per_gb"] + core_s * known["core_w"])[:, None]
        )
        found.cny[..., at] = (
            chip_h[:, None] * place.cny_per_chip_h
            + (moved_gb * known["transport_cny_per_gb"] + core_s / S_PER_H * known["core_cny_per_h"])[:, None]
        )
    return found


def _of_mode(mode: Mode, work: Work, known: Constants, cipher: str) -> tuple[Array, Array, float]:
    """Data moved (GB), work of a core before (s), and what the computing takes more (share), of each job."""
    whole, none = work.size_gb, np.zeros(len(work.size_gb))
    if mode == "aggregate":
        return whole * known["aggregate_left_share"], whole / known["aggregate_gb_per_s"], 0.0
    if mode == "federate":
        return _sendings(known) * work.model_gb, none, known["federate_more_share"]
    if mode == "stay":
        return whole * known["results_left_share"], none, 0.0
    moved, core_s = (whole * known["compressed_share"], whole / known["compress_gb_per_s"])
    if not _packing_pays(known):
        moved, core_s = whole, none
    if mode == "pseudonymise":
        core_s = core_s + whole / known["pseudonymise_gb_per_s"]
    if mode != "plain":
        core_s = core_s + BOTH_ENDS * moved / known[cipher] + known["hpke_us"] * US
    return moved, core_s, known["tee_more_share"] if mode == "tee" else 0.0


def _sendings(known: Constants) -> float:
    """How often a model is sent in a federation: there and back in each round."""
    return 2.0 * known["federate_rounds"]


def _packing_pays(known: Constants) -> bool:
    """Whether compression saves more transport than it takes of a core, in money."""
    saved_cny_per_gb = (1.0 - known["compressed_share"]) * known["transport_cny_per_gb"]
    return saved_cny_per_gb > known["core_cny_per_h"] / S_PER_H / known["compress_gb_per_s"]


def break_even_flop_per_byte(known: Constants, *, j_per_flop: float, pue: tuple[float, float], marginal: bool) -> float:
    """Operations a byte from which on it takes less energy to move data to where cooling takes less; inf where never.

    `pue` is that of home and of away. The energy of a byte is its transport and both ends of the cipher.

    Source: transport and cipher (J/B) over the difference of PUE times the energy of an operation (J).
    """
    transport = known["transport_marginal_j_per_gb" if marginal else "transport_j_per_gb"]
    j_per_byte = (transport + BOTH_ENDS * known["core_w"] / known["encrypt_gb_per_s"]) / GB
    saved = (pue[0] - pue[1]) * j_per_flop
    return j_per_byte / saved if saved > 0 else float("inf")


def federate_pays(size_gb: float, model_gb: float, known: Constants) -> bool:
    """Whether less is moved when models travel and data stays.

    Source: data of a party > 2 x rounds x model.
    """
    return size_gb > _sendings(known) * model_gb
