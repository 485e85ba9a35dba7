"""From degrees to the plane of a picture: Albers' equal-area conic, so that areas on the map can be compared."""

from __future__ import annotations

import msgspec
import numpy as np

Array = np.ndarray

CHINA_BOX = (70.0, 15.0, 140.0, 56.0)
CHINA_PARALLELS, CHINA_LON = (25.0, 47.0), 105.0
NEARLY_CYLINDRICAL = 0.02
SMALLEST_SPAN_RAD = 0.01  # about 64 km: a single place still gets a picture
HEIGHT_SHARES = (0.42, 1.1)  # of the width


class Projection(msgspec.Struct, frozen=True):
    """Albers' projection with the cone constant `n`, the constant `c` and the central meridian (degrees)."""

    n: float
    c: float
    lon: float

    def plane(self, lon: Array, lat: Array) -> tuple[Array, Array]:
        """East and north on a sphere of radius 1, of positions in degrees (float64).

        Source: Snyder, Map Projections: A Working Manual, USGS Professional Paper 1395 (1987), equations 14-1 to
        14-6; near the equator its limit, the cylindrical equal-area projection, equations 10-1 and 10-2.
        """
        turn, sine = np.radians(lon - self.lon), np.sin(np.radians(lat))
        if abs(self.n) < NEARLY_CYLINDRICAL:
            return turn, sine
        radius = np.sqrt(np.maximum(self.c - 2 * self.n * sine, 0.0)) / self.n
        return radius * np.sin(self.n * turn), -radius * np.cos(self.n * turn)


class Frame(msgspec.Struct, frozen=True):
    """A projection fitted to a picture `height` high: what lies where, in units of the picture."""

    projection: Projection
    scale: float
    left: float
    top: float
    height: float

    def place(self, lon: Array, lat: Array) -> tuple[Array, Array]:
        """Units to the right and down of positions in degrees (float64)."""
        x, y = self.projection.plane(np.asarray(lon, float), np.asarray(lat, float))
        return (x - self.left) * self.scale, (self.top - y) * self.scale


def fit(lon: Array, lat: Array, *, width: float, margin: float) -> Frame:
    """The frame `width` wide that holds all positions (degrees) and a margin; China in the shape people know."""
    if not len(lon):
        lon, lat = np.array(CHINA_BOX[::2]), np.array(CHINA_BOX[1::2])
    projection = _projection(lon, lat)
    x, y = projection.plane(lon, lat)
    across, down = _span(x, SMALLEST_SPAN_RAD), _span(y, SMALLEST_SPAN_RAD * HEIGHT_SHARES[0])
    inner = width - 2 * margin
    low, high = (share * width - 2 * margin for share in HEIGHT_SHARES)
    scale = min(inner / across, high / down)
    height = min(max(down * scale, low), high) + 2 * margin
    middle_x, middle_y = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
    return Frame(projection, scale, middle_x - width / 2 / scale, middle_y + height / 2 / scale, height)


def _projection(lon: Array, lat: Array) -> Projection:
    west, south, east, north = CHINA_BOX
    if lon.min() >= west and lon.max() <= east and lat.min() >= south and lat.max() <= north:
        return _albers(*CHINA_PARALLELS, CHINA_LON)
    inset = (lat.max() - lat.min()) / 6
    return _albers(float(lat.min() + inset), float(lat.max() - inset), float(lon.min() + lon.max()) / 2)


def _albers(first: float, second: float, lon: float) -> Projection:
    south, north = np.sin(np.radians([first, second]))
    return Projection(float((south + north) / 2), float(1 + south * north), lon)


def _span(values: Array, least: float) -> float:
    return max(float(values.max() - values.min()), least)
