"""The typical delay of every station as a picture, or as cells for other systems."""

from __future__ import annotations

import math
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from karez.errors import InputError, KarezError
from karez.measure import reach
from karez.measure.circles import WEIGHT_SCALE, compute_sites, fixed, points
from karez.measure.kernels import FAR
from karez.operations import Answer, MapQuestion
from karez.operations.networks import counted, duration, load, now_s, provenance, require_new_file, share, write_new
from karez.operations.render import sections
from karez.operations.render.map import HOT_SPOTS
from karez.twin import Twin
from karez.twin.store import Revision
from karez.twin.table import Array, text
from karez.units import NS_PER_US

FORMATS = {".png": "PNG", ".geojson": "GeoJSON"}
SHOWN_METROS = 3


class MapAnswer(Answer, frozen=True, kw_only=True):
    """The file and what it shows: stations, their weight, the share of it that is covered; pixels, or cells.

    `width` and `height` are those of the picture; `resolution` is that of the cells.
    """

    file: str
    format: str
    metro: str
    budget_us: float
    stations: int
    weight: float
    covered_share: float
    width: int | None = None
    height: int | None = None
    cells: int | None = None
    resolution: int | None = None


class Shown(NamedTuple):
    """The stations that a map shows, in columns: place (degrees), metro's row, weight in millionths, delay in ns."""

    lon: Array
    lat: Array
    metro: Array
    weight: Array
    oneway_ns: Array

    def covered(self, budget_ns: int) -> Array:
        """The weight of each station that is within the budget, else 0."""
        return np.asarray(np.where(self.oneway_ns < min(budget_ns, int(FAR)), self.weight, 0))


def run(question: MapQuestion) -> MapAnswer:
    """What was written of the network's newest revision, as it is today; the same revision gives the same bytes.

    Raises:
        InputError: the network cannot be read, has no stations or no compute, or no such metro; or the file is of no
            known format, exists already, or cannot be written.
        KarezError: the library that draws is not installed.
    """
    kind = _format(question.output)
    require_new_file(question.output)
    drawer = _drawer(kind)
    world, revision = load(question.network)
    twin = world.intended.at(now_s())
    asked = _Asked(question, revision, twin, _shown(question, twin))
    data, parts = (_picture if kind == "PNG" else _cells)(drawer, asked)
    write_new(question.output, data)
    what = counted(parts["cells"], "cell") if "cells" in parts else "map"
    note = " (synthetic)" if revision.synthetic else ""
    return MapAnswer(
        headline=f"{_title(asked)}; {what} of {counted(len(asked.shown.lon), 'station')} written{note}",
        citation=_citation(asked),
        file=question.output,
        format=kind,
        metro=question.metro,
        budget_us=question.budget_us,
        stations=len(asked.shown.lon),
        weight=float(asked.shown.weight.sum() / WEIGHT_SCALE),
        covered_share=asked.covered_share,
        width=parts.get("width"),
        height=parts.get("height"),
        cells=parts.get("cells"),
        resolution=parts.get("resolution"),
    )


class _Asked(NamedTuple):
    question: MapQuestion
    revision: Revision
    twin: Twin
    shown: Shown

    @property
    def budget_ns(self) -> int:
        """Whole ns: a delay of whole ns is below this where it is below the budget."""
        return math.ceil(self.question.budget_us * NS_PER_US)

    @property
    def covered_share(self) -> float:
        return float(self.shown.covered(self.budget_ns).sum() / self.shown.weight.sum())


def _format(path: str) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError.of(path or "output", "is neither .png nor .geojson", "end the file's name in one of them")
    return FORMATS[suffix]


def _drawer(kind: str) -> ModuleType:
    """The module that draws; it needs libraries that not everybody has."""
    name, what = ("picture", "the picture needs pillow") if kind == "PNG" else ("cells", "the cells need h3")
    try:
        return import_module(f"karez.operations.render.{name}")
    except ModuleNotFoundError as error:
        raise KarezError(f"{what}; install karez[draw]") from error


def _shown(question: MapQuestion, twin: Twin) -> Shown:
    """The stations of the map with their delays.

    Raises:
        InputError: there is no such metro, no station with a weight, or no compute.
    """
    row = _metro_row(question, twin)
    stations, counting, sites = twin["stations"], points(twin, "station"), compute_sites(twin)
    weight = fixed(counting.weight)
    mine = np.arange(len(stations)) if row is None else np.flatnonzero(counting.metro == row)
    if not weight[mine].sum():
        what = "has no stations" if row is None else f"has no stations in the metro {question.metro!r}"
        what = "has stations without weight only" if len(mine) else what
        raise InputError.of(question.network, what, "import stations, with a weight above 0 each")
    if not len(sites):
        raise InputError.of(question.network, "has no compute", "add servers, or equipment for inference, to a site")
    oneway_ns = reach.typical(twin, counting).delays_ns(sites)
    return Shown(stations["lon"][mine], stations["lat"][mine], counting.metro[mine], weight[mine], oneway_ns[mine])


def _metro_row(question: MapQuestion, twin: Twin) -> int | None:
    """The row of the metropolis asked for; None for all of them."""
    metros = twin["metros"]
    if not question.metro:
        return None
    if metros.has(question.metro):
        return int(metros.rows([question.metro])[0])
    ids = [text(row) for row in metros.ids]
    named = {text(name).casefold(): row for name, row in zip(metros["name"], ids, strict=True) if name}
    known = {row.casefold(): row for row in ids} | named
    close = get_close_matches(question.metro.casefold(), list(known), n=SHOWN_METROS)
    fix = f"did you mean {' or '.join(_both(twin, known[word]) for word in close)}?" if close else ""
    raise InputError.of("metro", f"{question.metro!r} is no id of a metropolis", fix or "give an id of table metros")


def _both(twin: Twin, row: str) -> str:
    """The id of a metropolis, and its name where it has one."""
    metros = twin["metros"]
    name = text(metros["name"][metros.rows([row])[0]])
    return f"{row} ({name})" if name else row


def _picture(drawer: ModuleType, asked: _Asked) -> tuple[bytes, dict[str, int]]:
    shown, sites = asked.shown, compute_sites(asked.twin)
    picture = drawer.Picture(
        title=_title(asked),
        subtitle="Dots: typical delay of each station, one way, towards the best compute site; the least on top. "
        f"{'Names: most weight not covered, and the share that is.' if not asked.question.metro else ''}",
        lon=shown.lon,
        lat=shown.lat,
        oneway_ns=shown.oneway_ns,
        budget_ns=asked.budget_ns,
        site_lon=asked.twin["sites"]["lon"][sites],
        site_lat=asked.twin["sites"]["lat"][sites],
        spots=() if asked.question.metro else _spots(drawer, asked),
        attribution=f"{_citation(asked)}. {sections.PLACES if asked.revision.synthetic else ''}".strip(),
        synthetic=asked.revision.synthetic,
        width=asked.question.width,
    )
    image = drawer.drawn(picture)
    return drawer.png(image), {"width": image.width, "height": image.height}


def _spots(drawer: ModuleType, asked: _Asked) -> list[object]:
    """The metropolises with the most uncovered weight, the worst first."""
    metros, shown = asked.twin["metros"], asked.shown
    weight, covered = np.zeros((2, len(metros)), np.int64)
    np.add.at(weight, shown.metro, shown.weight)
    np.add.at(covered, shown.metro, shown.covered(asked.budget_ns))
    hottest = np.argsort(covered - weight, kind="stable")[:HOT_SPOTS]
    return [
        drawer.Spot(
            float(metros["lon"][row]),
            float(metros["lat"][row]),
            f"{text(metros['name'][row]) or text(metros.ids[row])} {100 * covered[row] / weight[row]:.0f} %",
            f"{text(metros.ids[row])} {100 * covered[row] / weight[row]:.0f} %",
        )
        for row in hottest
        if covered[row] < weight[row]
    ]


def _cells(drawer: ModuleType, asked: _Asked) -> tuple[bytes, dict[str, int]]:
    shown, resolution = asked.shown, asked.question.resolution
    found = drawer.gathered(
        shown.lon, shown.lat, shown.oneway_ns, shown.weight, budget_ns=asked.budget_ns, resolution=resolution
    )
    data = drawer.geojson(found, synthetic=asked.revision.synthetic, citation=_citation(asked))
    return data, {"cells": len(found.index), "resolution": resolution}


def _title(asked: _Asked) -> str:
    where = f" in {_named(asked)}" if asked.question.metro else ""
    within = f"within {duration(asked.question.budget_us)} of compute, one way"
    return f"{share(asked.covered_share)} of stations by weight{where} are {within}"


def _named(asked: _Asked) -> str:
    metros = asked.twin["metros"]
    return text(metros["name"][metros.rows([asked.question.metro])[0]]) or asked.question.metro


def _citation(asked: _Asked) -> str:
    metro = f" of metro {asked.question.metro}" if asked.question.metro else ""
    return (
        f"C2 < {asked.question.budget_us:g} us, one way, towards the best compute site, optical layer; weight station"
        f"{metro}, pooled; typical figures of the latency library; {provenance(asked.revision)}"
    )
