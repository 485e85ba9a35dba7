"""What is asked of a day of jobs besides the twin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from karez.errors import InputError
from karez.measure.delay import FIGURES, Figures
from karez.twin.schema import Value
from karez.twin.table import Array
from karez.units import S_PER_H

HOURS_A_DAY, S_PER_MIN = 24, 60
# Hours of the day are China's.
ZONE_H = 8
MOST_HOURS = 168


class Ask(NamedTuple):
    """The hours that are planned from `at_s` (Unix time) on, what carbon and delay cost, and whose work weighs more.

    `delay_cny_per_ms` is paid for each millisecond (one way) and chip of a job; `weights` multiply what it costs not
    to run the jobs of domains (by id) that own the data. `moves` lets jobs that run go on elsewhere, or stop.
    """

    at_s: float
    hours: int = HOURS_A_DAY
    carbon_cny_per_kg: float = 0.0
    delay_cny_per_ms: float = 0.0
    weights: Mapping[str, float] = {}
    figures: Figures = "typical"
    moves: bool = False

    @property
    def ends_at_s(self) -> float:
        """The second (Unix time) after the last hour that is planned."""
        return self.at_s + self.hours * S_PER_H

    @property
    def hours_of_day(self) -> Array:
        """The hour of the day (0 to 23) that each planned hour begins in."""
        first = math.floor(self.at_s / S_PER_H) + ZONE_H
        return np.asarray((first + np.arange(self.hours)) % HOURS_A_DAY)

    def clock(self, hour: int) -> str:
        """When a planned hour begins as the clock shows it in China, with the day where it is not the first."""
        first, minute = math.floor(self.at_s / S_PER_H) + ZONE_H, math.floor(self.at_s % S_PER_H / S_PER_MIN)
        days = (first + hour) // HOURS_A_DAY - first // HOURS_A_DAY
        return f"{(first + hour) % HOURS_A_DAY:02d}:{minute:02d}{f' +{days} d' if days else ''}"


def written(ask: Ask) -> dict[str, Value]:
    """The question as a plan keeps it."""
    weights = ",".join(f"{name}={value!r}" for name, value in sorted(ask.weights.items()))
    return {
        "hours": ask.hours,
        "carbon_cny_per_kg": ask.carbon_cny_per_kg,
        "delay_cny_per_ms": ask.delay_cny_per_ms,
        "weights": weights,
        "figures": ask.figures,
        "moves": ask.moves,
    }


def read(question: Mapping[str, Value], at_s: float) -> Ask:
    """The question that a plan keeps.

    Raises:
        InputError: it is none.
    """
    figures = next((name for name in FIGURES if name == question.get("figures")), None)
    hours, carbon, delay = (question.get(name) for name in ("hours", "carbon_cny_per_kg", "delay_cny_per_ms"))
    numbers = all(isinstance(one, float | int) and math.isfinite(one) for one in (hours, carbon, delay))
    if figures is None or not numbers or not isinstance(hours, int) or not 1 <= hours <= MOST_HOURS:
        raise InputError.of("plan", "its question is none of a day of jobs", "make the plan anew")
    weights = weights_of(str(question.get("weights", "")))
    return Ask(at_s, hours, float(carbon or 0.0), float(delay or 0.0), weights, figures, question.get("moves") is True)


def weights_of(words: str) -> dict[str, float]:
    """Weights by domain from `DOMAIN=WEIGHT` with commas between.

    Raises:
        InputError: a word is none.
    """
    found = dict[str, float]()
    for word in filter(None, words.split(",")):
        name, _, number = word.partition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not name or not math.isfinite(weight) or weight < 0:
            raise InputError.of("weights", f"{word!r} is no weight", "write DOMAIN=NUMBER, with commas between")
        found[name] = weight
    return found
