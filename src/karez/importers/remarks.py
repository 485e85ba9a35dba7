"""What a person should know of a network before relying on answers from it: no row is wrong, yet the whole is odd."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from karez.importers.report import counted
from karez.twin.geo import great_circle_km
from karez.twin.table import Array
from karez.twin.twin import Twin

# No metropolis reaches as far; what lies further away is in another one, or in another coordinate system.
FAR_KM = 500.0
# A length below the straight line by more than rounding and both shifts of a Chinese map can explain.
SHORT_SHARE, SHORT_KM = 0.98, 0.2
SHOWN_IDS = 5


def remarks(twin: Twin) -> dict[str, str]:
    """What is odd about a sound twin, in a sentence each, by what it is about."""
    found = {
        "sites": _sites(twin),
        "compute": _compute(twin),
        "parts": _parts(twin),
        "positions": _far(twin),
        "lengths": _short(twin),
    }
    return {name: sentence for name, sentence in found.items() if sentence}


def _sites(twin: Twin) -> str:
    return "" if len(twin["sites"]) else "there is no site: nothing can be reached"


def _compute(twin: Twin) -> str:
    if twin["servers"]["chips"].any() or not len(twin["sites"]):
        return ""
    empty = "all servers have 0 chips" if len(twin["servers"]) else "there is no server"
    return f"{empty}: nobody is within reach of compute; servers says which site has which chips"


def _parts(twin: Twin) -> str:
    """How many parts the network falls into, whatever the direction of its links, and who is without compute."""
    sites, links = len(twin["sites"]), twin["links"]
    vertices = sites + len(twin["stations"])
    if not sites:
        return ""
    a, b = (twin.resolve("links", end)[links["up"]] for end in ("a", "b"))
    joined = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(vertices, vertices))
    parts, part = connected_components(joined, directed=False)
    if parts == 1:
        return ""
    sizes = np.bincount(part)
    alone = int(np.count_nonzero(sizes == 1))
    single = f" ({alone:,} of them a single site or station)" if alone else ""
    said = (
        f"the network is in {parts:,} parts{single}; the largest has {sizes.max():,} of {vertices:,} sites and stations"
    )
    lost = int(np.count_nonzero(~_with_compute(twin, part)[part[sites:]]))
    reach = f"{counted(lost, 'station')} {'reaches' if lost == 1 else 'reach'} no compute site"
    return f"{said}; {reach}" if lost and twin["servers"]["chips"].any() else said


def _with_compute(twin: Twin, part: Array) -> Array:
    """Which parts have a site with chips."""
    served = twin.resolve("servers", "site")[twin["servers"]["chips"] > 0]
    found = np.zeros(int(part.max(initial=-1)) + 1, bool)
    found[part[served]] = True
    return found


def _far(twin: Twin) -> str:
    metros, said = twin["metros"], []
    for name in ("sites", "stations"):
        table, of = twin[name], twin.resolve(name, "metro")
        away_km = great_circle_km(table["lon"], table["lat"], metros["lon"][of], metros["lat"][of])
        if (away_km > FAR_KM).any():
            said.append(f"{name} {_listed(table.ids[away_km > FAR_KM])}")
    if not said:
        return ""
    return f"more than {FAR_KM:g} km from their metro (wrong position, metro or coordinates?): {'; '.join(said)}"


def _short(twin: Twin) -> str:
    """Links shorter than the straight line: lengths are wrong, or coordinates are mixed."""
    links = twin["links"]
    lon, lat = (np.concatenate([twin["sites"][name], twin["stations"][name]]) for name in ("lon", "lat"))
    a, b = (twin.resolve("links", end) for end in ("a", "b"))
    straight_km = great_circle_km(lon[a], lat[a], lon[b], lat[b])
    short = links["length_km"] < SHORT_SHARE * straight_km - SHORT_KM
    if not short.any():
        return ""
    number = counted(int(short.sum()), "link")
    return f"{number} shorter than a straight line (wrong length or position?): {_listed(links.ids[short])}"


def _listed(ids: Array) -> str:
    first = ", ".join(value.decode() for value in ids[:SHOWN_IDS].tolist())
    return f"{first} and {len(ids) - SHOWN_IDS:,} more" if len(ids) > SHOWN_IDS else first
