"""Positions of Chinese maps in WGS 84: GCJ-02, which all maps there must use, and BD-09, which Baidu makes of it.

Source: the algorithm as it has been public since 2010 (wgtochina_lb, known as eviltransform), on the Krasovsky 1940
ellipsoid; BD-09 as Baidu's users publish it (bd_encrypt, bd_decrypt). Outside a box around China GCJ-02 is WGS 84.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from karez.twin.table import Array

# Source: Krasovsky 1940, semi-major axis and squared eccentricity.
AXIS_M, ECCENTRICITY_2 = 6_378_245.0, 0.00669342162296594323
# Source: eviltransform (outOfChina), degrees.
BOX_LON, BOX_LAT = (72.004, 137.8347), (0.8293, 55.8271)
# Source: bd_encrypt.
BD_LON, BD_LAT, BD_TURN = 0.0065, 0.006, np.pi * 3000.0 / 180.0
# The shift changes by less than a thousandth over its own length, so each step gains three digits.
STEPS = 12

Positions = tuple[Array, Array]


def to_wgs84(lon: Array, lat: Array, crs: str) -> Positions:
    """Longitudes and latitudes (degrees) of `crs` in WGS 84, to better than 1e-9 degrees of its own inverse."""
    if crs == "wgs84":
        return lon, lat
    inverse = {"gcj02": wgs84_to_gcj02, "bd09": wgs84_to_bd09}[crs]
    return _solved(inverse, lon, lat)


def wgs84_to_gcj02(lon: Array, lat: Array) -> Positions:
    """Longitudes and latitudes (degrees) of WGS 84 in GCJ-02."""
    inside = (lon >= BOX_LON[0]) & (lon <= BOX_LON[1]) & (lat >= BOX_LAT[0]) & (lat <= BOX_LAT[1])
    x, y = lon - 105.0, lat - 35.0
    root = np.sqrt(np.abs(x))
    ripple = 20.0 * np.sin(6.0 * np.pi * x) + 20.0 * np.sin(2.0 * np.pi * x)
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
    north += (ripple + 20.0 * np.sin(np.pi * y) + 40.0 * np.sin(np.pi * y / 3.0)) * 2.0 / 3.0
    north += (160.0 * np.sin(np.pi * y / 12.0) + 320.0 * np.sin(np.pi * y / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
    east += (ripple + 20.0 * np.sin(np.pi * x) + 40.0 * np.sin(np.pi * x / 3.0)) * 2.0 / 3.0
    east += (150.0 * np.sin(np.pi * x / 12.0) + 300.0 * np.sin(np.pi * x / 30.0)) * 2.0 / 3.0
    angle = np.radians(lat)
    magic = 1.0 - ECCENTRICITY_2 * np.sin(angle) ** 2
    north_radius_m = AXIS_M * (1.0 - ECCENTRICITY_2) / magic**1.5
    east_radius_m = AXIS_M / np.sqrt(magic) * np.cos(angle)
    # Outside the box, near a pole, the shift is not used and may be anything.
    with np.errstate(all="ignore"):
        moved_lon = lon + np.degrees(east / east_radius_m)
    return np.where(inside, moved_lon, lon), np.where(inside, lat + np.degrees(north / north_radius_m), lat)


def wgs84_to_bd09(lon: Array, lat: Array) -> Positions:
    """Longitudes and latitudes (degrees) of WGS 84 in BD-09; Baidu's own shift is made everywhere on Earth."""
    lon, lat = wgs84_to_gcj02(lon, lat)
    radius = np.hypot(lon, lat) + 0.00002 * np.sin(lat * BD_TURN)
    angle = np.arctan2(lat, lon) + 0.000003 * np.cos(lon * BD_TURN)
    return radius * np.cos(angle) + BD_LON, radius * np.sin(angle) + BD_LAT


def _solved(forward: Callable[[Array, Array], Positions], lon: Array, lat: Array) -> Positions:
    """The positions that `forward` takes to `lon` and `lat`: whatever is missing is added until nothing is."""
    found_lon, found_lat = np.array(lon, dtype=float), np.array(lat, dtype=float)
    for _ in range(STEPS):
        there_lon, there_lat = forward(found_lon, found_lat)
        found_lon, found_lat = found_lon + (lon - there_lon), found_lat + (lat - there_lat)
    return found_lon, found_lat
