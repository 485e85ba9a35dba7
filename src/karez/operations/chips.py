"""Chips that are known, of the library or of a network, each row with its source."""

from __future__ import annotations

import math

import msgspec

from karez.errors import InputError
from karez.measure.chips import TIERS, serving, tiers
from karez.operations import Answer, ChipsQuestion
from karez.operations.networks import counted, load, provenance
from karez.twin.catalogue import catalogue
from karez.twin.table import strings

# From the surest to the most doubtful, as LICENCES.md of the library has them.
CONFIDENCE = ("S", "S2", "R", "C", "M", "D")


class Chip(msgspec.Struct, frozen=True, kw_only=True):
    """A chip: dense peaks, memory, link both ways together, rated power; what estimates of serving rest on."""

    chip: str
    vendor: str
    peak_tflops_fp16: float
    peak_tflops_fp8: float
    memory_gb: float
    memory_gb_per_s: float
    link_gb_per_s: float
    power_w: float
    serving: str
    confidence: str
    source: str


class ChipsAnswer(Answer, frozen=True, kw_only=True):
    """The chips, by name."""

    chips: tuple[Chip, ...]


def run(question: ChipsQuestion) -> ChipsAnswer:
    """The chips of the network, or of the library.

    Raises:
        InputError: the network cannot be read.
    """
    twin, where, aside = catalogue(), "library chips.csv", ""
    if question.network:
        world, revision = load(question.network)
        twin, where, aside = world.intended, provenance(revision), " (synthetic network)" if revision.synthetic else ""
    table = twin["chips"]
    least = CONFIDENCE.index(question.least_confidence)
    known = strings(table["confidence"])
    rows = [at for at, one in enumerate(known) if one not in CONFIDENCE or CONFIDENCE.index(one) <= least]
    if not len(table):
        raise InputError.of("chips", "the network has no chip", "leave the network out to see the library's")
    tier = tiers(table.ids)
    chips = tuple(
        Chip(
            chip=str(record["id"]),
            serving=TIERS[tier[row]] if math.isfinite(float(record["memory_gb_per_s"])) else "unknown",
            **{name: record[name] for name in Chip.__struct_fields__ if name in record},  # type: ignore[arg-type]
        )
        for row, record in enumerate(table.records())
        if row in rows
    )
    measured = sum(one.serving == "calibrated" for one in chips)
    return ChipsAnswer(
        headline=(
            f"{counted(len(chips), 'chip')}: serving is calibrated on {measured}, known by data sheet only for "
            f"{sum(one.serving == 'data sheet only' for one in chips)}, unknown for the rest{aside}"
        ),
        citation=f"{where}; dense peaks; factors of serving fitted on {', '.join(serving()['chip'])}",
        chips=chips,
    )
