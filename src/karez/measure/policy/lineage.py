"""What data is, given what it was made from: of the highest grade in it, and mixed if of many countries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from karez.measure.policy.vocabulary import facts
from karez.twin import Table
from karez.twin.table import Array, strings

# Columns of which the highest counts, in the order in which `facts.csv` has their values.
HIGHEST = ("grade", "personal", "us_bulk", "mixed")


class Lineage(NamedTuple):
    """Of each data set (row) the facts that it has from what it was made from.

    `highest` holds a code (uint8, position in the fact's values) for each of `HIGHEST`; `origin` is a country as
    bytes, empty where nobody told.
    """

    highest: dict[str, Array]
    origin: Array


def lineage(datasets: Table) -> Lineage:
    """The facts of data with those of all that it was made from; of a source that is not there nothing is known."""
    known = {name: facts()[f"resource.{name}"].values for name in HIGHEST}
    highest = {name: coded(datasets[name], known[name]) for name in HIGHEST}
    origin = datasets["origin"].copy()
    made, source = _edges(datasets)
    nowhere = made[source < 0]
    for name, codes in highest.items():
        codes[nowhere] = known[name].index("unknown")
    made, source = made[source >= 0], source[source >= 0]
    while _spread(highest, origin, made, source):
        pass
    return Lineage(highest, origin)


def sources(datasets: Table, dataset: str) -> tuple[str, ...]:
    """A data set and all that it was made from, as far as they are there, in the order of their ids."""
    found, ahead = {dataset}, [dataset]
    while ahead:
        named = str(datasets.cell(ahead.pop(), "made_from")).split()
        new = {name for name in named if datasets.has(name)} - found
        found |= new
        ahead += sorted(new)
    return tuple(sorted(found))


def coded(values: Array, known: tuple[str, ...]) -> Array:
    """The position of each value (bytes) among the known ones (uint8); what is none of them is the last."""
    codes = np.full(len(values), len(known) - 1, np.uint8)
    for code, value in enumerate(known):
        codes[values == value.encode()] = code
    return codes


def _edges(datasets: Table) -> tuple[Array, Array]:
    """Each data set (row) that was made from another, and that one (row; -1 where it is not there)."""
    rows = np.flatnonzero(datasets["made_from"] != b"")
    named = [
        (row, name)
        for row, text in zip(rows.tolist(), strings(datasets["made_from"][rows]), strict=True)
        for name in text.split()
    ]
    there = [datasets.has(name) for _, name in named]
    source = np.full(len(named), -1)
    source[np.array(there, bool)] = datasets.rows(
        [name for (_, name), is_there in zip(named, there, strict=True) if is_there]
    )
    return np.array([row for row, _ in named], np.int64), source


def _spread(highest: dict[str, Array], origin: Array, made: Array, source: Array) -> bool:
    """Let each data set have what the sources next to it have; whether that changed anything."""
    before = [codes.copy() for codes in highest.values()]
    origins = origin.copy()
    for codes in highest.values():
        np.maximum.at(codes, made, codes[source])
    untold = origin[made] == b""
    origin[made[untold]] = origin[source[untold]]
    yes = facts()["resource.mixed"].values.index("yes")
    differs = (origin[made] != b"") & (origin[source] != b"") & (origin[made] != origin[source])
    np.maximum.at(highest["mixed"], made[differs], np.uint8(yes))
    same = all(np.array_equal(*pair) for pair in zip(before, highest.values(), strict=True))
    return not (same and np.array_equal(origins, origin))
