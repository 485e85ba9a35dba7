"""Delays of stations as pixels: the least in each, spread to dots, and the rings where the least nearby passes a step.

Least values do not depend on the order of stations, and all else is made of them.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from karez.measure.kernels import FAR
from karez.operations.render.projection import Frame
from karez.twin.table import Array

BANDS = 4
# Over the budget, unreachable, and without a station.
OVER, UNREACHABLE, EMPTY = BANDS, BANDS + 1, BANDS + 2
NOTHING = np.iinfo(np.int32).max
BLOCK = 1 << 15
DOTS = (1.5, 3.5)
# Rings: what is beyond the budget counts as this much of it; cells this many stations across; how smooth; how full.
LONGEST_SHARE, STATIONS_ACROSS, RING_CELLS, SIGMA_CELLS, FEWEST_FILLED = 1.5, 4.0, (2.0, 8.0), 1.5, 0.5


def pixels(frame: Frame, lon: Array, lat: Array, *, shape: tuple[int, int], scale: float) -> Array:
    """The pixel of each position (int32, row after row) in a picture `scale` pixels to a unit; -1 outside."""
    height, width = shape
    found = np.empty(len(lon), np.int32)
    for start in range(0, len(lon), BLOCK):
        some = slice(start, start + BLOCK)
        right, down = frame.place(lon[some], lat[some])
        x, y = np.floor(right * scale).astype(np.int32), np.floor(down * scale).astype(np.int32)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        found[some] = np.where(inside, y * np.int32(width) + x, -1)
    return found


def least_ns(at: Array, oneway_ns: Array, *, shape: tuple[int, int]) -> Array:
    """The least delay of the stations of each pixel (int32 ns, of `shape`); `NOTHING` where there is no station."""
    raster = np.full(shape[0] * shape[1] + 1, NOTHING, np.int32)
    # What lies outside goes to the last place, which is cut off.
    np.minimum.at(raster, at, oneway_ns)
    return raster[:-1].reshape(shape)


def dots(raster: Array, core: int, radius: int) -> Array:
    """The raster with each station as a dot of `radius`: where the cores of dots meet the least is on top.

    What is in no core is as the nearest core within the radius, the least of those equally near.
    """
    filled = raster.copy()
    for ring in _circles(radius):
        nearest = np.full_like(raster, NOTHING)
        for down, right in ring:
            to, origin = _shifted(raster.shape, down, right)
            np.minimum(nearest[to], raster[origin], out=nearest[to])
        if core * core + core / 2 >= ring[0][0] ** 2 + ring[0][1] ** 2:
            np.minimum(filled, nearest, out=filled)
        else:
            np.copyto(filled, nearest, where=filled == NOTHING)
    return filled


def bands(raster: Array, budget_ns: int) -> Array:
    """The quarter of the budget that each delay lies in (uint8, 0 to 3), else `OVER`, `UNREACHABLE` or `EMPTY`."""
    limits = [-(-budget_ns * step // BANDS) for step in range(1, BANDS + 1)]
    found = np.searchsorted(np.array(limits), raster, side="right").astype(np.uint8)
    found[raster >= FAR] = UNREACHABLE
    found[raster == NOTHING] = EMPTY
    return found


def dot_sizes(stations: int, *, shape: tuple[int, int], unit: float) -> tuple[int, int]:
    """The radius in pixels of a dot's core and of the dot: large where stations are few, never too small to be seen.

    Where there are more stations than pixels a dot has no core but its own pixel, so that none hides its neighbours.
    """
    apart = math.sqrt(shape[0] * shape[1] / max(stations, 1))
    smallest, largest = (edge * unit for edge in DOTS)
    radius = max(round(min(max(apart * 0.7, smallest), largest)), 1)
    return (radius // 2 if apart > 1 else 0), radius


def ring_cell(raster: Array, stations: int, *, unit: float) -> int:
    """How wide the cells are of which rings are made, in pixels: wide enough for some stations each."""
    apart = math.sqrt((raster != NOTHING).sum() / max(stations, 1))
    smallest, largest = (edge * unit for edge in RING_CELLS)
    return max(round(min(max(STATIONS_ACROSS * apart, smallest), largest)), 1)


def rings(raster: Array, budget_ns: int, cell: int) -> Array:
    """How far each pixel is from each ring, in pixels (float32, `BANDS` x shape); infinite where too few are filled.

    A ring is where the least delay nearby passes a quarter of the budget, two, three or all of it: the least of each
    cell of `cell` x `cell` pixels, made smooth.
    """
    share, filled = _smooth(raster, budget_ns, cell)
    slope = np.maximum(np.hypot(*np.gradient(share)), np.float32(1e-9))
    away = np.stack([np.abs(share - np.float32(step / BANDS)) / slope for step in range(1, BANDS + 1)])
    away[:, filled < FEWEST_FILLED] = np.inf
    return away


def _smooth(raster: Array, budget_ns: int, cell: int) -> tuple[Array, Array]:
    """The least delay nearby as a share of the budget, and the share of cells that are filled (float32)."""
    coarse = _least_of_cells(raster, cell)
    there = (coarse != NOTHING).astype(np.float32)
    share = np.minimum(coarse / np.float32(budget_ns), np.float32(LONGEST_SHARE)) * there
    filled, total = (_enlarged(gaussian_filter(part, SIGMA_CELLS, mode="constant"), cell) for part in (there, share))
    height, width = raster.shape
    filled, total = filled[:height, :width], total[:height, :width]
    return np.divide(total, filled, out=np.zeros_like(total), where=filled > 0), filled


def _least_of_cells(raster: Array, cell: int) -> Array:
    height, width = (-(-size // cell) for size in raster.shape)
    padded = np.full((height * cell, width * cell), NOTHING, np.int32)
    padded[: raster.shape[0], : raster.shape[1]] = raster
    return np.asarray(padded.reshape(height, cell, width, cell).min(axis=(1, 3)))


def _enlarged(coarse: Array, cell: int) -> Array:
    """Each cell as `cell` x `cell` pixels, linear between the middles of cells (float32)."""
    return _stretched(_stretched(coarse, cell).T, cell).T


def _stretched(rows: Array, cell: int) -> Array:
    place = np.clip((np.arange(len(rows) * cell, dtype=np.float32) + 0.5) / cell - 0.5, 0, len(rows) - 1)
    below = np.minimum(place.astype(np.int32), max(len(rows) - 2, 0))
    part = (place - below).astype(np.float32)[:, None]
    found: Array = rows[below] * (1 - part) + rows[np.minimum(below + 1, len(rows) - 1)] * part
    return found


def _circles(radius: int) -> list[list[tuple[int, int]]]:
    """The steps (down, right) to the pixels within `radius`, in groups equally far, the nearest first."""
    steps = range(-radius, radius + 1)
    far: dict[int, list[tuple[int, int]]] = {}
    for down in steps:
        for right in steps:
            far.setdefault(down * down + right * right, []).append((down, right))
    # A little more than the circle, which on so few pixels is rounder.
    return [far[square] for square in sorted(far) if 0 < square <= radius * radius + radius / 2]


def _shifted(shape: tuple[int, int], down: int, right: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """What to fill, and from where, when all moves by a step."""
    to = tuple(slice(max(step, 0), size + min(step, 0)) for step, size in zip((down, right), shape, strict=True))
    origin = tuple(slice(max(-step, 0), size + min(-step, 0)) for step, size in zip((down, right), shape, strict=True))
    return (to[0], to[1]), (origin[0], origin[1])
