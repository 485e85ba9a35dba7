"""The reference instance "plain": a random geometric network, on which there is nothing to contract.

Points are uniform on a square and each is joined to its three nearest, which makes about 9.3 million links of five
million points and one part that holds nearly all of them. Points are numbered along a Z-order curve, so that what is
near is near in memory, for whoever searches it.
Source: G. M. Morton, "A computer oriented geodetic data base" (1966).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from karez.twin import Table, Twin
from karez.twin.schema import NUMPY_DTYPES, Value, tables
from karez.twin.table import Array, Column
from karez.units import NS_PER_US

VERTICES, SITES = 5_000_000, 500
NEIGHBOURS = 3
SIDE_KM = 3_000.0
FIBRE_US_PER_KM, HOP_US = 4.9, 2.0
# Fineness of the curve: cells a side.
CELL_BITS = 16


def geometric(seed: int, vertices: int = VERTICES) -> Twin:
    """The twin: SITES of the points at random are sites, all of them with compute; the others are stations."""
    random = np.random.default_rng(seed)
    at_km = random.random((vertices, 2)) * SIDE_KM
    at_km = at_km[np.argsort(_along_curve(at_km), kind="stable")]
    is_site = np.zeros(vertices, bool)
    is_site[random.choice(vertices, SITES, replace=False)] = True
    # The twin numbers sites before stations; ids of fixed width keep the order of the curve.
    names = _names(is_site)
    a, b, length_km = _joined(at_km)
    return Twin(
        {
            "metros": Table.of("metros", {"id": ["m"], "province": ["p"], "lon": [0.0], "lat": [0.0]}),
            "sites": _table("sites", names[is_site], kind="core", metro="m", lon=0.0, lat=0.0),
            "stations": _table("stations", names[~is_site], metro="m", lon=0.0, lat=0.0),
            "links": _table("links", _ids("l", len(a)), a=names[a], b=names[b], kind="access", length_km=length_km),
        }
    )


def oneway_ns(twin: Twin) -> Array:
    """The delay of each link (int32 ns): its fibre and one hop."""
    us = FIBRE_US_PER_KM * twin["links"]["length_km"] + HOP_US
    return np.asarray(np.rint(us * NS_PER_US).astype(np.int32))


def _along_curve(at_km: Array) -> Array:
    """The place of each point's cell on the curve: the bits of its row and column in turn (uint64)."""
    cell = (at_km / SIDE_KM * (1 << CELL_BITS)).astype(np.uint64)
    place = np.zeros(len(cell), np.uint64)
    for bit in range(CELL_BITS):
        for axis in (0, 1):
            place |= (cell[:, axis] >> np.uint64(bit) & np.uint64(1)) << np.uint64(2 * bit + axis)
    return place


def _joined(at_km: Array) -> tuple[Array, Array, Array]:
    """The two ends and the length (km) of each link; two points that are each other's nearest are joined once."""
    length_km, near = map(np.asarray, cKDTree(at_km).query(at_km, NEIGHBOURS + 1))
    one, other = np.repeat(np.arange(len(at_km)), NEIGHBOURS), near[:, 1:].ravel()
    low, high = np.minimum(one, other), np.maximum(one, other)
    _, first = np.unique(low * len(at_km) + high, return_index=True)
    return low[first], high[first], length_km[:, 1:].ravel()[first]


def _names(is_site: Array) -> Array:
    names = np.empty(len(is_site), "S9")
    names[is_site] = _ids("c", int(is_site.sum()))
    names[~is_site] = _ids("s", int((~is_site).sum()))
    return names


def _ids(letter: str, count: int) -> Array:
    """A letter and eight digits, ascending."""
    digits = np.empty((count, 9), np.uint8)
    digits[:, 0] = ord(letter)
    number = np.arange(count)
    for place in range(8, 0, -1):
        digits[:, place] = ord("0") + number % 10
        number //= 10
    return digits.view("S9").ravel()


def _table(name: str, ids: Array, **values: Array | Value) -> Table:
    """A table in which a value that is no array is that of every row, and takes the memory of one."""
    columns = {}
    for spec in tables()[name].values():
        value = ids if spec.name == "id" else values.get(spec.name, spec.absent)
        if isinstance(value, np.ndarray):
            columns[spec.name] = Column.of(value)
        else:
            columns[spec.name] = Column.constant(value, NUMPY_DTYPES[spec.dtype], len(ids))
    return Table(name, columns)
