"""One door for every format: what a source is told by its prefix, its suffix or what it holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from karez.errors import InputError
from karez.importers import geojson, gnpy, graphml, guesses, rfc8345, sndlib, tables, topohub_, xlsx, xml
from karez.importers.guesses import Guess
from karez.importers.networks import ROUTE_FACTOR
from karez.importers.report import Imported, json
from karez.twin.store import os_problem

FORMATS = ("auto", "tables", "xlsx", "geojson", "graphml", "sndlib", "rfc8345", "gnpy", "topohub")
_READERS: dict[str, Callable[..., Imported]] = {
    "geojson": geojson.read,
    "graphml": graphml.read,
    "sndlib": sndlib.read,
    "rfc8345": rfc8345.read,
    "gnpy": gnpy.read,
}
_SUFFIXES = {".xlsx": "xlsx", ".xlsm": "xlsx", ".geojson": "geojson", ".graphml": "graphml"}
_ROOTS = {"graphml": "graphml", "network": "sndlib"}
_TABLES = (".csv", ".parquet")
_INSTEAD = {
    ".xls": "save it as XLSX",
    ".zip": "unpack it first",
    ".gz": "unpack it first",
    ".gml": "export it as GraphML",
}
_TOPOHUB = re.compile(rf"(?:.*/)?{topohub_.PREFIX}(.*)", re.DOTALL)


def topohub_name(source: str) -> str | None:
    """The name of a network of topohub; None where `source` is a path. A face may have put a folder before it."""
    match = _TOPOHUB.fullmatch(source)
    return match[1] if match else None


def format_of(source: str) -> str:
    """The format of a source: by its prefix, else as a folder, else by its suffix, else by what it holds.

    Raises:
        InputError: there is no such file, or nothing says what it is.
    """
    if topohub_name(source) is not None:
        return "topohub"
    path = Path(source)
    try:
        path.stat()
    except OSError as error:
        raise InputError([os_problem(error, path)]) from error
    suffix = path.suffix.lower()
    if path.is_dir():
        return "tables"
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    found = _of_json(json(path)) if suffix == ".json" else _ROOTS.get(_root(path), "") if suffix == ".xml" else ""
    if suffix in _TABLES:
        raise InputError.of(path.name, "is one table, and a network has several", "give the folder that it is in")
    if not found:
        fix = _INSTEAD.get(suffix, f"say which --format it is: {', '.join(FORMATS[1:])}")
        raise InputError.of(path.name, "is in no format that its name or content tells", fix)
    return found


def guess(source: str, kind: str) -> list[Guess]:
    """A guess for each column of a source of tables; none for other formats, whose words are known.

    Raises:
        InputError: the source cannot be read.
    """
    if kind == "xlsx":
        return xlsx.guess(Path(source))
    return guesses.guess(Path(source)) if kind == "tables" else []


def read_any(
    source: str,
    *,
    kind: str = "auto",
    mapping: Sequence[Guess] = (),
    crs: str = "wgs84",
    route_factor: float = ROUTE_FACTOR,
    caida: bool = False,
) -> Imported:
    """The network of a source of any format (`kind`), with what was dropped and what was assumed.

    `mapping` says what foreign columns of tables are; positions are in `crs`; links without a length get the great
    circle between their ends times `route_factor`.

    Raises:
        InputError: everything that is wrong with the source.
    """
    kind = format_of(source) if kind == "auto" else kind
    if kind == "topohub":
        name = topohub_name(source) or source
        _require_wgs84(name, crs)
        return topohub_.read(name, caida=caida, route_factor=route_factor)
    path = Path(source)
    if kind == "xlsx":
        return xlsx.read(path, mapping, crs=crs, route_factor=route_factor)
    if kind == "tables":
        found, problems = tables.sources_in(path)
        return tables.joined(source, found, mapping, problems=problems, crs=crs, route_factor=route_factor)
    return _READERS[kind](path, crs=crs, route_factor=route_factor)


def _require_wgs84(name: str, crs: str) -> None:
    if crs != "wgs84":
        raise InputError.of(f"{topohub_.PREFIX}{name}", f"is in WGS 84, not {crs}", "leave --crs out")


def _of_json(body: Any) -> str:
    names = body.keys() if isinstance(body, dict) else ()
    if rfc8345.NETWORKS in names or "networks" in names:
        return "rfc8345"
    if {"elements", "connections"} <= set(names):
        return "gnpy"
    return "geojson" if "type" in names and {"features", "geometry"} & set(names) else ""


def _root(path: Path) -> str:
    return xml.name(xml.root(path))


__all__ = ["FORMATS", "format_of", "guess", "read_any", "topohub_name"]
