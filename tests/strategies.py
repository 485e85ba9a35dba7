"""Random twins for property tests: sound ones, and wild ones whose every column may hold every fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import strategies as st

from karez.twin import Table, Twin, schema
from karez.twin.schema import ColumnSpec, Value

Columns = Mapping[str, np.ndarray | Sequence[Value]]

IDS = ("", "m1", "m2", "s1", "s2", "s3", "x", "京", "a much longer id than the others")
LON_LAT = (116.4, 39.9, 103.8, 36.1, 91.1, -120.0, 200.0, 0.0)


def values(spec: ColumnSpec) -> st.SearchStrategy[Value]:
    """Any value of the column's dtype, right or wrong."""
    if spec.dtype == "text":
        return st.sampled_from([*spec.allowed, *IDS])
    if spec.dtype == "bool":
        return st.booleans()
    if spec.dtype == "int":
        return st.integers(-3, 3)
    edges = [spec.low, spec.high, np.nan, np.inf, -np.inf, -0.0, -1.0, 1.0, *LON_LAT]
    return st.sampled_from(edges) | st.floats(-1e6, 1e6)


@st.composite
def wild_tables(draw: st.DrawFn, name: str, max_rows: int = 6) -> Table:
    """A table of up to `max_rows` rows that obeys dtypes and nothing else; ids repeat."""
    rows = draw(st.integers(0, max_rows))
    columns = {
        spec.name: draw(st.lists(values(spec), min_size=rows, max_size=rows)) for spec in schema.tables()[name].values()
    }
    return Table.of(name, columns) if rows else Table.of(name)


@st.composite
def wild_twins(draw: st.DrawFn, names: Sequence[str] = ("metros", "sites", "stations", "links", "jobs")) -> Twin:
    """A twin of wild tables."""
    return Twin({name: draw(wild_tables(name)) for name in names})


@st.composite
def sound_twins(draw: st.DrawFn, max_rows: int = 8) -> Twin:
    """A small twin without any fault: two provinces, a few metros, sites, stations and links."""
    seed = draw(st.integers(0, 2**32 - 1))
    counts = [draw(st.integers(1, max_rows)) for _ in range(4)]
    return sound_twin(*counts, seed=seed)


def sound_twin(metros: int = 2, sites: int = 3, stations: int = 5, links: int = 4, *, seed: int = 0) -> Twin:
    """A twin without any fault, of these numbers of rows."""
    rng = np.random.default_rng(seed)
    centre_lon, centre_lat = rng.uniform(80, 130, metros), rng.uniform(20, 50, metros)

    def around(count: int, prefix: str) -> dict[str, np.ndarray]:
        metro = rng.integers(0, metros, count)
        return {
            "id": _ids(prefix, count),
            "metro": _ids("m", metros)[metro],
            "lon": centre_lon[metro] + rng.uniform(-0.3, 0.3, count),
            "lat": centre_lat[metro] + rng.uniform(-0.3, 0.3, count),
        }

    site_rows, station_rows = around(sites, "s"), around(stations, "t")
    tables: dict[str, Columns] = {
        "provinces": {"id": _ids("p", 2), "price_cny_per_kwh": np.array([0.4, np.nan])},
        "metros": {
            "id": _ids("m", metros),
            "name": [f"Metro {number} 京" for number in range(metros)],
            "province": _ids("p", 2)[rng.integers(0, 2, metros)],
            "lon": centre_lon,
            "lat": centre_lat,
        },
        "sites": site_rows | {"kind": np.array([b"core", b"access"])[rng.integers(0, 2, sites)]},
        "stations": station_rows,
        "links": {
            "id": _ids("l", links),
            "a": site_rows["id"][rng.integers(0, sites, links)],
            "b": station_rows["id"][rng.integers(0, stations, links)],
            "kind": np.full(links, b"access"),
            "length_km": rng.uniform(0, 50, links),
            "up": rng.random(links) < 0.9,
        },
    }
    return Twin({name: Table.of(name, columns) for name, columns in tables.items()})


def _ids(prefix: str, count: int) -> np.ndarray:
    return np.array([f"{prefix}{number}".encode() for number in range(count)])
