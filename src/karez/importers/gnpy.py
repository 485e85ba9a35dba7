"""A topology of GNPy: ROADMs and transceivers become sites, and the fibres between them links.

Source: GNPy, documentation of its JSON topology (elements, connections; lengths in km unless they say m).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from karez.errors import InputError
from karez.importers.networks import ROUTE_FACTOR, Draft, Line, Point, finished
from karez.importers.quantities import factor, number
from karez.importers.report import Imported, counted, json

FIBRES = ("Fiber", "RamanFiber")
SITES = ("Roadm", "Transceiver")


def read(source: Path, *, crs: str = "wgs84", route_factor: float = ROUTE_FACTOR) -> Imported:
    """The network of a GNPy topology.

    Raises:
        InputError: the file cannot be read, is no such topology, or nothing usable is left.
    """
    return of(json(source), source.name, crs=crs, route_factor=route_factor)


def of(body: Any, file: str, *, crs: str = "wgs84", route_factor: float = ROUTE_FACTOR) -> Imported:
    """The network of what a GNPy topology holds.

    Raises:
        InputError: as `read`.
    """
    parts = [body.get(name) if isinstance(body, dict) else None for name in ("elements", "connections")]
    if not all(isinstance(part, list) for part in parts):
        raise InputError.of(file, "is no GNPy topology", "give one with elements and connections, or another --format")
    draft = Draft(file)
    elements = _elements(draft, parts[0] or [])
    after = _connections(draft, parts[1] or [], elements)
    home = _homes(elements, after)
    _add_points(draft, elements, home)
    spans = [span for name in home for span in _spans(name, elements, after, home)]
    draft.lines = list(_lines(spans))
    inside = sum(element["type"] not in (*SITES, *FIBRES) for element in elements.values())
    if inside:
        draft.assumed.append(f"{counted(inside, 'other element')}: part of the fibre they are in")
    return finished(draft, crs=crs, route_factor=route_factor)


_Elements = dict[str, dict[str, Any]]


class _Span(NamedTuple):
    """What lies between two sites in one direction; the length is nan where a fibre has none."""

    a: str
    b: str
    length_km: float
    fibre: str


def _elements(draft: Draft, found: Sequence[Any]) -> _Elements:
    elements: _Elements = {}
    for position, element in enumerate(found, 1):
        name = element.get("uid") if isinstance(element, dict) else None
        if not isinstance(name, str) or not isinstance(element.get("type"), str):
            draft.drop(f"element {position}", "has no uid or no type")
        elif name in elements:
            draft.drop(f"element {name}", "its uid is there already")
        elif element["type"] in FIBRES and (why := _bad_fibre(element)):
            draft.drop(f"element {name}", why)
        else:
            elements[name] = element
    return elements


def _part(element: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    found: Any = element
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _bad_fibre(element: Mapping[str, Any]) -> str:
    params = _part(element, "params")
    if math.isnan(factor(str(params.get("length_units", "km")), "km")):
        return f"its length is in {params['length_units']}, which is neither km, m nor miles"
    if "length" in params and not number(params["length"]) >= 0:
        return "its length is no number of at least 0"
    return ""


def _length_km(element: Mapping[str, Any]) -> float:
    params = _part(element, "params")
    return number(params.get("length")) * factor(str(params.get("length_units", "km")), "km")


def _connections(draft: Draft, found: Sequence[Any], elements: _Elements) -> dict[str, list[str]]:
    after: dict[str, list[str]] = defaultdict(list)
    for position, connection in enumerate(found, 1):
        ends = [connection.get(end) for end in ("from_node", "to_node")] if isinstance(connection, dict) else []
        known = [end for end in ends if isinstance(end, str) and end in elements]
        if len(known) == 2:
            after[known[0]].append(known[1])
        else:
            draft.drop(f"connection {position}", "an end is not there or was dropped")
    return after


def _homes(elements: _Elements, after: Mapping[str, list[str]]) -> dict[str, str]:
    """The site of each ROADM and transceiver: what is joined without a fibre stands in one place."""
    home = {name: name for name, element in elements.items() if element["type"] in SITES}
    for start in sorted(home, key=lambda name: elements[name]["type"] != "Roadm"):
        for end in list(_reached(start, elements, after)):
            first, second = _root(home, start), _root(home, end)
            roadm_first = sorted((first, second), key=lambda name: elements[name]["type"] != "Roadm")
            home[roadm_first[1]] = roadm_first[0]
    return {name: _root(home, name) for name in home}


def _root(home: Mapping[str, str], name: str) -> str:
    while home[name] != name:
        name = home[name]
    return name


def _reached(start: str, elements: _Elements, after: Mapping[str, list[str]]) -> Iterator[str]:
    """The sites that are reached from one without passing a fibre or another site."""
    for end, length_km, _ in _walks(start, elements, after):
        if length_km is None:
            yield end


def _walks(start: str, elements: _Elements, after: Mapping[str, list[str]]) -> Iterator[tuple[str, float | None, str]]:
    """Each site that is next after `start`: its name, the km of fibre on the way (None: no fibre), the first fibre."""
    seen = {start}
    ahead: list[tuple[str, float | None, str]] = [(name, None, "") for name in reversed(after.get(start, []))]
    while ahead:
        name, length_km, fibre = ahead.pop()
        element = elements[name]
        if name == start or (element["type"] not in SITES and name in seen):
            continue
        seen.add(name)
        if element["type"] in SITES:
            yield name, length_km, fibre
            continue
        if element["type"] in FIBRES:
            length_km, fibre = (length_km or 0.0) + _length_km(element), fibre or name
        ahead += [(following, length_km, fibre) for following in reversed(after.get(name, []))]


def _add_points(draft: Draft, elements: _Elements, home: Mapping[str, str]) -> None:
    nowhere = 0
    for name in dict.fromkeys(home.values()):
        location = _part(elements[name], "metadata", "location")
        lon, lat = number(location.get("longitude", 0)), number(location.get("latitude", 0))
        nowhere += lon == lat == 0
        city = location.get("city")
        draft.points.append(Point(f"element {name}", name, lon, lat, name=city if isinstance(city, str) else name))
    joined = len(home) - len(draft.points)
    if joined:
        draft.assumed.append(f"{counted(joined, 'element')} joined without fibre: one site with what they join")
    if nowhere:
        draft.assumed.append(f"position of {counted(nowhere, 'site')}: 0, 0, which GNPy writes for unknown")


def _spans(start: str, elements: _Elements, after: Mapping[str, list[str]], home: Mapping[str, str]) -> Iterator[_Span]:
    for end, length_km, fibre in _walks(start, elements, after):
        if length_km is not None and home[end] != home[start]:
            yield _Span(home[start], home[end], length_km, fibre)


def _lines(spans: Sequence[_Span]) -> Iterator[Line]:
    """A link for each pair of spans of equal length that go there and back, and one for each span left alone."""
    waiting: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    back: dict[int, int] = {}
    for position, span in enumerate(spans):
        partners = waiting[span.b, span.a, repr(span.length_km)]
        if partners:
            back[partners.pop(0)] = position
        else:
            waiting[span.a, span.b, repr(span.length_km)].append(position)
    times = Counter(span.fibre for span in spans)
    returning = set(back.values())
    for position, span in enumerate(spans):
        if position not in returning:
            yield Line(
                row=f"element {span.fibre}",
                id=span.fibre if times[span.fibre] == 1 else "",
                a=span.a,
                b=span.b,
                length_km=span.length_km,
                direction="both" if position in back else "forward",
            )
