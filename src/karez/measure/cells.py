"""Cells of the grid H3 that stations stand in."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import numpy as np

from karez.errors import KarezError
from karez.twin.table import Array

# Cells of this resolution have about 0.74 km2, which is what a station of a town serves.
AREA_RESOLUTION = 8


def grid() -> ModuleType:
    """The library h3, whose cells are whole numbers here.

    Raises:
        KarezError: it is not installed.
    """
    try:
        return import_module("h3.api.numpy_int")
    except ModuleNotFoundError as error:
        raise KarezError("cells need h3; install karez[draw]") from error


def cells_of(lon: Array, lat: Array, resolution: int) -> Array:
    """The cell (uint64) of each position in degrees.

    Raises:
        KarezError: h3 is not installed.
    """
    places, cell = zip(lat.tolist(), lon.tolist(), strict=True), grid().latlng_to_cell
    return np.fromiter((cell(*place, resolution) for place in places), np.uint64, len(lat))


def areas_km2(lon: Array, lat: Array) -> Array:
    """The area that each station (position in degrees) stands for: that of its cell, shared by all stations in it.

    Raises:
        KarezError: h3 is not installed.
    """
    cells, mine, number = np.unique(cells_of(lon, lat, AREA_RESOLUTION), return_inverse=True, return_counts=True)
    area_km2 = np.array([grid().cell_area(cell, "km^2") for cell in cells.tolist()])
    shared: Array = (area_km2 / number)[mine]
    return shared
