"""Stations gathered into cells of the grid H3, as GeoJSON for other systems."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from karez.measure.cells import cells_of, grid
from karez.measure.circles import WEIGHT_SCALE
from karez.measure.kernels import FAR
from karez.twin.table import Array
from karez.units import NS_PER_US

h3 = grid()
Ring = list[tuple[float, float]]
# A ten-millionth of a degree is a centimetre.
DIGITS = 7
TURN, HALF, POLE = 360.0, 180.0, 90.0


class Cells(msgspec.Struct, frozen=True, kw_only=True):
    """Cells in columns, by their number: index (uint64), stations, weight and covered weight (int64, in millionths).

    `least_us` and `median_us` are of the stations of a cell that anything reaches, NaN where there are none.
    """

    index: Array
    stations: Array
    weight: Array
    covered: Array
    least_us: Array
    median_us: Array


def gathered(lon: Array, lat: Array, oneway_ns: Array, weight: Array, *, budget_ns: int, resolution: int) -> Cells:
    """The cells of `resolution` that hold stations: positions in degrees, delays in int32 ns, weights in millionths."""
    index, cell = np.unique(cells_of(lon, lat, resolution), return_inverse=True)
    covered = np.where(oneway_ns < min(budget_ns, int(FAR)), weight, 0)
    stations = np.bincount(cell, minlength=len(index))
    least, median = _middle_us(cell, oneway_ns, stations)
    return Cells(
        index=index,
        stations=stations,
        weight=_summed(cell, weight, len(index)),
        covered=_summed(cell, covered, len(index)),
        least_us=least,
        median_us=median,
    )


def geojson(cells: Cells, *, synthetic: bool, citation: str) -> bytes:
    """A FeatureCollection of the cells in WGS 84, in the order of their index; null stands for what nothing reaches.

    Source: RFC 7946, sections 3.1.6 (rings), 3.1.9 (antimeridian) and 6.1 (foreign members).
    """
    whole = {
        "type": "FeatureCollection",
        "synthetic": synthetic,
        "citation": citation,
        "features": list(_features(cells)),
    }
    return msgspec.json.encode(whole) + b"\n"


def _summed(cell: Array, values: Array, cells: int) -> Array:
    sums = np.zeros(cells, np.int64)
    np.add.at(sums, cell, values)
    return sums


def _middle_us(cell: Array, oneway_ns: Array, stations: Array) -> tuple[Array, Array]:
    """The least and the median delay of each cell, of the stations that anything reaches."""
    # Both in one number, so that one sort brings each cell's delays together, and in order.
    keys = np.sort(cell.astype(np.int64) << 32 | oneway_ns.astype(np.int64))
    delays = keys & 0xFFFFFFFF
    starts = np.cumsum(stations) - stations
    reached = np.bincount(cell[oneway_ns < FAR], minlength=len(stations))
    some = reached > 0
    low, high = (delays[starts + np.maximum(place, 0)] for place in ((reached - 1) // 2, reached // 2 * some))
    least = np.where(some, delays[starts] / NS_PER_US, np.nan)
    return least, np.where(some, (low + high) / 2 / NS_PER_US, np.nan)


def _features(cells: Cells) -> Iterator[dict[str, object]]:
    share = np.divide(cells.covered, cells.weight, out=np.full(len(cells.index), np.nan), where=cells.weight > 0)
    columns = (cells.index, cells.stations, cells.weight / WEIGHT_SCALE, share, cells.least_us, cells.median_us)
    for index, stations, weight, covered, least, median in zip(*(c.tolist() for c in columns), strict=True):
        yield {
            "type": "Feature",
            "geometry": geometry(index),
            # JSON has no NaN: the encoder writes null.
            "properties": {
                "cell": h3.int_to_str(index),
                "stations": stations,
                "weight": weight,
                "covered_share": covered,
                "least_oneway_us": least,
                "median_oneway_us": median,
            },
        }


def geometry(index: int) -> dict[str, object]:
    """The outline of a cell: a Polygon, or a MultiPolygon where the antimeridian cuts it."""
    outline = _outline(index)
    worlds = ((_cut(_cut(outline, east - TURN, 1), east, -1), east - HALF) for east in (-HALF, HALF, TURN + HALF))
    polygons = [[_closed(part, middle)] for part, middle in worlds if part]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _outline(index: int) -> Ring:
    """The corners of a cell, counter-clockwise, with longitudes that never jump; around a pole with the pole's edge."""
    corners = h3.cell_to_boundary(index)
    lat = [corner[0] for corner in corners]
    lon = np.unwrap([corner[1] for corner in (*corners, corners[0])], period=TURN).tolist()
    ring = list(zip(lon[:-1], lat, strict=True))
    if abs(lon[-1] - lon[0]) < HALF:
        return ring
    pole = POLE if lon[-1] > lon[0] else -POLE
    return [*ring, (lon[-1], lat[0]), (lon[-1], pole), (lon[0], pole)]


def _cut(ring: Ring, lon: float, side: int) -> Ring:
    """What of a ring lies east (`side` 1) or west (-1) of a meridian.

    Source: I. E. Sutherland and G. W. Hodgman, "Reentrant polygon clipping" (1974), for one edge.
    """
    kept: Ring = []
    for (x, y), (next_x, next_y) in zip(ring, ring[1:] + ring[:1], strict=True):
        inside, then = (x - lon) * side > 0, (next_x - lon) * side > 0
        if inside:
            kept.append((x, y))
        if inside != then:
            kept.append((lon, y + (next_y - y) * (lon - x) / (next_x - x)))
    return kept


def _closed(ring: Ring, middle: float) -> Ring:
    """The ring within -180 to 180 degrees, its first position again at its end."""
    found = [(round(lon - middle, DIGITS), round(lat, DIGITS)) for lon, lat in ring]
    return [*found, found[0]]
