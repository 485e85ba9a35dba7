"""Distances on the earth, which is a sphere here."""

from __future__ import annotations

import numpy as np

from karez.twin.table import Array
from karez.units import EARTH_RADIUS_KM


def great_circle_km(lon: Array, lat: Array, to_lon: Array, to_lat: Array) -> Array:
    """The distance between positions (degrees), in km; what is no position (nan, inf) is near nothing.

    Source: the haversine formula on a sphere (R. W. Sinnott, Virtues of the Haversine, 1984).
    """
    with np.errstate(invalid="ignore"):
        phi, to_phi = np.radians(lat), np.radians(to_lat)
        half = np.sin((to_phi - phi) / 2) ** 2
        half = half + np.cos(phi) * np.cos(to_phi) * np.sin(np.radians(to_lon - lon) / 2) ** 2
        return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1))))
