"""The stations of a map: points where a page can hold all of them, else cells of a grid over the picture.

Either is one path for each colour, in whole units of a grid and relative from one to the next, so that millions of
stations take some hundred kilobytes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from karez.operations.render.map import STEPS, UNKNOWN, WIDTH, StationLayer
from karez.operations.render.projection import Frame
from karez.units import EARTH_RADIUS_KM

Array = np.ndarray

MOST_POINTS, MOST_CELLS = 60_000, 20_000
# Points lie on a grid of this side; enlarged as far as the page lets one, that is two pixels.
POINT_SIDE = 0.05
# Sides of a cell in units of the picture, the finest first; of the last, no picture has too many.
CELL_SIDES = (1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.4, 8.0)
DIRECTIONS = 16
# Width of a strip in sides of a point.
STRIP = 64
# So many stations at once, so that what is computed on the way stays near the processor.
BLOCK = 1 << 14


def station_layer(frame: Frame, lon: Array, lat: Array, *, weight: Array, covered: Array) -> StationLayer:
    """Stations at positions in degrees with their weight, and whether each is covered (bool), for the picture."""
    x, y = _placed(frame, lon, lat)
    known = {"stations": len(lon), "covered": int(np.count_nonzero(covered))}
    if len(lon) <= MOST_POINTS:
        return StationLayer(svg=_points(x, y, covered), **known)
    side, svg = _cells(frame, x, y, weight, covered)
    return StationLayer(svg=svg, cell_km=side / frame.scale * EARTH_RADIUS_KM, **known)


def outermost(lon: Array, lat: Array) -> Array:
    """Rows of the positions that reach furthest in any of some directions: a picture with room for them fits all."""
    if not len(lon):
        return np.zeros(0, np.int64)
    turns = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)
    furthest = [
        some.start + int(np.argmax(np.cos(turn) * lon[some] + np.sin(turn) * lat[some]))
        for some in _blocks(len(lon))
        for turn in turns
    ]
    rows = np.unique(furthest)
    return np.unique([rows[np.argmax(np.cos(turn) * lon[rows] + np.sin(turn) * lat[rows])] for turn in turns])


def _blocks(length: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, length, BLOCK)]


def _placed(frame: Frame, lon: Array, lat: Array) -> tuple[Array, Array]:
    x, y = np.empty(len(lon)), np.empty(len(lon))
    for some in _blocks(len(lon)):
        x[some], y[some] = frame.place(lon[some], lat[some])
    return x, y


def _points(x: Array, y: Array, covered: Array) -> str:
    paths = "".join(
        f'<path stroke="{colour}" d="{_dots(x[which], y[which])}"/>'
        for colour, which in ((STEPS[-1], covered), (STEPS[0], ~covered))
        if which.any()
    )
    return f'<g class="stations points" transform="scale({POINT_SIDE})" fill="none" stroke-linecap="round">{paths}</g>'


def _dots(x: Array, y: Array) -> str:
    """Lines without length, strip by strip, so that the way from one to the next is short."""
    places = np.unique(np.rint(np.stack([y, x], axis=1) / POINT_SIDE).astype(int), axis=0)
    places = places[np.argsort(places[:, 1] // STRIP, kind="stable")]
    return "".join(f"m{right} {down}z" for right, down in _steps(places))


def _cells(frame: Frame, x: Array, y: Array, weight: Array, covered: Array) -> tuple[float, str]:
    """The side of a cell in units of the picture, and the cells, each in the colour of its covered share."""
    for side in CELL_SIDES:
        across, cell, cells = _grid(frame, x, y, side)
        count = np.bincount(cell, minlength=cells)
        if np.count_nonzero(count) <= MOST_CELLS:
            break
    total = np.bincount(cell, weights=weight, minlength=cells)
    held = np.bincount(cell, weights=weight * covered, minlength=cells)
    there = np.flatnonzero(count)
    share = np.divide(held[there], total[there], out=np.full(len(there), np.nan), where=total[there] > 0)
    step = np.where(np.isnan(share), len(STEPS), np.minimum(np.nan_to_num(share) * len(STEPS), len(STEPS) - 1))
    paths = "".join(
        f'<path fill="{colour}" d="{_runs(there[step.astype(int) == number], across)}"/>'
        for number, colour in enumerate((*STEPS, UNKNOWN))
        if (step.astype(int) == number).any()
    )
    return side, f'<g class="stations cells" transform="scale({side})" shape-rendering="crispEdges">{paths}</g>'


def _grid(frame: Frame, x: Array, y: Array, side: float) -> tuple[int, Array, int]:
    """Cells in a row, the cell of each position, and cells in all; what lies outside counts at the edge."""
    across, down = int(np.ceil(WIDTH / side)), int(np.ceil(frame.height / side))
    cell = np.empty(len(x), np.int64)
    for some in _blocks(len(x)):
        column, row = (np.clip(np.floor(v[some] / side), 0, most - 1) for v, most in ((x, across), (y, down)))
        cell[some] = row * across + column
    return across, cell, across * down


def _runs(cells: Array, across: int) -> str:
    """Cells (ascending) as rectangles one high, each as wide as cells of a row follow on one another."""
    row, column = np.divmod(cells, across)
    first = np.flatnonzero((np.diff(cells, prepend=-2) != 1) | (column == 0))
    wide = np.diff(np.append(first, len(cells)))
    corners = _steps(np.stack([row[first], column[first]], axis=1))
    return "".join(f"m{right} {down}h{w}v1h-{w}z" for (right, down), w in zip(corners, wide.tolist(), strict=True))


def _steps(places: Array) -> Iterator[tuple[int, int]]:
    """The way right and down from each place (row, column) to the next, the first from the corner."""
    down, right = np.diff(places, axis=0, prepend=np.zeros((1, 2), int)).T.tolist()
    return zip(right, down, strict=True)
