"""Numbers of foreign files, with or without their unit beside them: `12.5`, `12.5 km`, `8 mi`, `10 Gbit/s`, `400M`."""

from __future__ import annotations

import math
import re

from karez.units import CONVERSIONS

_KM_PER = {"m": CONVERSIONS["m"][1], "km": 1.0, "mi": CONVERSIONS["mi"][1]}
_GBPS_PER = {"": 1e-9, "k": 1e-6, "m": CONVERSIONS["mbps"][1], "g": 1.0, "t": CONVERSIONS["tbps"][1]}
_LENGTH_WORDS = {
    word: _KM_PER[unit]
    for unit, words in {
        "m": "m meter meters metre metres",
        "km": "km kilometer kilometers kilometre kilometres",
        "mi": "mi mile miles",
    }.items()
    for word in words.split()
}
_RATE = re.compile(r"([kmgt]?)(bps|bit/s|bits/s|b/s|bitpersec|bit)")
_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z/]*)\s*")


def number(value: object) -> float:
    """A finite number, or nan where `value` is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def factor(unit: str, ours: str) -> float:
    """What a number in a foreign unit is multiplied by to be in `ours` (km or gbps); nan for a unknown unit."""
    word = unit.strip().lower()
    if ours == "km":
        return _LENGTH_WORDS.get(word, math.nan)
    if word and word in _GBPS_PER:
        return _GBPS_PER[word]
    match = _RATE.fullmatch(word)
    return _GBPS_PER[match[1]] if match else math.nan


def quantity(value: object, ours: str) -> float:
    """The number in `ours` (km or gbps) of a text that names its unit; nan where it is no number or names none."""
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    return number(match[1]) * factor(match[2], ours) if match else math.nan
