"""What data is, given what it was made from: of the highest grade in it, and mixed if of many countries."""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import NamedTuple

import numpy as np

from karez.measure.policy.vocabulary import UNKNOWN, facts
from karez.twin import Table
from karez.twin.facts import library
from karez.twin.table import Array, strings, texts

# Columns of which the highest counts, in the order in which `facts.csv` has their values.
HIGHEST = ("grade", "personal", "us_bulk", "mixed")


class Lineage(NamedTuple):
    """Of each data set (row) the facts that it has from what it was made from.

    `highest` holds a code (uint8, position in the fact's values) for each of `HIGHEST`; `origin` is a country as
    bytes, empty where it is none that is known or several; `origin_eea` a code: yes if any of them is in the area.
    """

    highest: dict[str, Array]
    origin: Array
    origin_eea: Array


class _Origins(NamedTuple):
    """The countries that data was collected in, and whether there may be others."""

    known: frozenset[str]
    others: bool

    def with_those_of(self, source: _Origins) -> _Origins:
        return _Origins(self.known | source.known, self.others or source.others)


def lineage(datasets: Table) -> Lineage:
    """The facts of data with those of all that it was made from; of a source that is not there nothing is known."""
    known = {name: facts()[f"resource.{name}"].values for name in HIGHEST}
    highest = {name: coded(datasets[name], known[name]) for name in HIGHEST}
    edges = _edges(datasets)
    origins = _own_origins(datasets, {made for made, _ in edges})
    for made, source in edges:
        if source < 0:
            origins[made] = origins[made]._replace(others=True)
            for name, codes in highest.items():
                codes[made] = known[name].index(UNKNOWN)
    _spread(highest, origins, [edge for edge in edges if edge[1] >= 0])
    _mix(highest["mixed"], known["mixed"], origins)
    single = [next(iter(one.known)) if len(one.known) == 1 and not one.others else "" for one in origins]
    return Lineage(highest, texts(single), _of_area(origins))


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


@cache
def countries(column: str) -> dict[str, str]:
    """What is known of each country in a column of the library: yes, no or unknown."""
    return {row["id"]: row[column] for row in library("countries")}


def _edges(datasets: Table) -> list[tuple[int, int]]:
    """Each data set (row) that was made from another, and that one (row; -1 where it is not there)."""
    rows = np.flatnonzero(datasets["made_from"] != b"")
    named = [
        (row, name)
        for row, text in zip(rows.tolist(), strings(datasets["made_from"][rows]), strict=True)
        for name in text.split()
    ]
    return [(row, int(datasets.rows([name])[0]) if datasets.has(name) else -1) for row, name in named]


def _own_origins(datasets: Table, made: set[int]) -> list[_Origins]:
    """Where each data set itself was collected; one that was made from others need not say so."""
    listed = countries("eea")
    return [
        _Origins(frozenset({told}), False) if told in listed else _Origins(frozenset(), bool(told) or row not in made)
        for row, told in enumerate(strings(datasets["origin"]))
    ]


def _spread(highest: dict[str, Array], origins: list[_Origins], edges: list[tuple[int, int]]) -> None:
    """Let each data set have what its sources have, until nothing changes; a circle ends, for nothing ever falls."""
    makes = dict[int, list[int]]()
    for made, source in edges:
        makes.setdefault(source, []).append(made)
    ahead = deque(makes)
    while ahead:
        source = ahead.popleft()
        for made in makes.get(source, ()):
            before = (origins[made], *(int(codes[made]) for codes in highest.values()))
            origins[made] = origins[made].with_those_of(origins[source])
            for codes in highest.values():
                codes[made] = max(codes[made], codes[source])
            if before != (origins[made], *(int(codes[made]) for codes in highest.values())):
                ahead.append(made)


def _mix(mixed: Array, values: tuple[str, ...], origins: list[_Origins]) -> None:
    """Say that data of several countries is mixed."""
    several = np.array([len(one.known) > 1 for one in origins], bool)
    mixed[several] = np.maximum(mixed[several], values.index("yes"))


def _of_area(origins: list[_Origins]) -> Array:
    """Whether any of the countries is in the European Economic Area (uint8, position in the fact's values)."""
    listed, values = countries("eea"), facts()["resource.origin_eea"].values
    said = [
        "yes"
        if any(listed[country] == "yes" for country in one.known)
        else UNKNOWN
        if one.others or not one.known
        else "no"
        for one in origins
    ]
    return np.array([values.index(word) for word in said], np.uint8)
