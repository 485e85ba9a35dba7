"""Delays of links and of radio access, from the latency library.

Source: library/latency.csv, where each row names its own; a link costs the light's way through its fibre, and a hop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from karez.twin import Twin
from karez.twin.facts import library
from karez.twin.table import Array
from karez.units import US_PER_MS

Figures = Literal["low", "typical", "high"]
FIGURES: tuple[Figures, ...] = ("low", "typical", "high")
Direction = Literal["up", "down"]

LINK_KINDS = ("access", "aggregation", "core", "backbone")
FIBRE = "fibre"
# Which row of the library (kind, element) each constant is, and how many microseconds its unit has.
# The air of C3 is a public 5G network, loaded.
ROWS = {
    FIBRE: ("fibre", "propagation", 1),
    **{f"{kind} hop": ("hop", f"{kind} link", 1) for kind in LINK_KINDS},
    "air up": ("access", "5G public network, uplink loaded", US_PER_MS),
    "air down": ("access", "5G public network, low rate", US_PER_MS),
}


def constants(figures: Figures) -> dict[str, float]:
    """The constants of every delay, by name: `fibre` in us/km, all others in us.

    Source: library/latency.csv, column `figures`.
    """
    rows = {(row["kind"], row["element"]): row for row in library("latency")}
    return {name: float(rows[kind, element][figures]) * factor for name, (kind, element, factor) in ROWS.items()}


def link_oneway_us(twin: Twin, *, figures: Figures) -> Array:
    """The delay of each link in one direction, in microseconds: fibre, and the hop of its kind."""
    return link_oneway_us_by(twin, constants(figures))


def link_oneway_us_by(twin: Twin, values: Mapping[str, float]) -> Array:
    """The delay of each link in one direction, in microseconds, with these constants.

    Source: delay = length x delay of fibre + delay of the device that is passed.
    """
    links = twin["links"]
    delay_us: Array = values[FIBRE] * links["length_km"]
    for kind in LINK_KINDS:
        delay_us = delay_us + np.where(links["kind"] == kind.encode(), values[f"{kind} hop"], 0.0)
    return delay_us


def access_oneway_us(*, figures: Figures, direction: Direction) -> float:
    """The delay between a terminal and its base station through a public 5G network, in microseconds.

    Source: rows "5G public network" of library/latency.csv.
    """
    return constants(figures)[f"air {direction}"]
