"""Conversions, for importers and faces only: everywhere else a name states its unit.

Source: SI; the mean radius of the earth is that of IUGG (6371.0088 km).
"""

from __future__ import annotations

EARTH_RADIUS_KM = 6371.0088
NS_PER_US = 1_000
US_PER_MS = 1_000
S_PER_H = 3_600
FEN_PER_CNY = 100

# suffix of a foreign column's name -> (our suffix, factor)
CONVERSIONS: dict[str, tuple[str, float]] = {
    "m": ("km", 1e-3),
    "mi": ("km", 1.609344),
    "ns": ("us", 1e-3),
    "ms": ("us", 1e3),
    "mbps": ("gbps", 1e-3),
    "tbps": ("gbps", 1e3),
    "w": ("kw", 1e-3),
    "mw": ("kw", 1e3),
}
