"""GeoJSON: points are sites and stations, lines are links between them, as long as they are drawn.

Source: RFC 7946, which knows longitude and latitude in WGS 84 only; other systems must be said by whoever imports.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from karez.errors import InputError
from karez.importers.crs import to_wgs84
from karez.importers.networks import (
    ROUTE_FACTOR,
    Draft,
    Fields,
    Line,
    Point,
    fields,
    finished,
    nearest,
    point_table,
)
from karez.importers.quantities import number
from karez.importers.report import Imported, counted, json
from karez.twin.geo import great_circle_km

# A drawn line ends at a site where it comes as near as this.
NEAR_KM = 1.0
_WORDS = ("table", "layer", "type", "kind", "class", "category")
# EPSG 4490 is China's CGCS2000, which is WGS 84 to within centimetres.
_DEGREES = ("CRS84", "4326", "4490")


def read(source: Path, *, crs: str = "wgs84", route_factor: float = ROUTE_FACTOR) -> Imported:
    """The network of a GeoJSON file.

    Raises:
        InputError: the file cannot be read, is no GeoJSON of longitudes and latitudes, or nothing usable is left.
    """
    return of(json(source), source.name, crs=crs, route_factor=route_factor)


def of(body: Any, file: str, *, crs: str = "wgs84", route_factor: float = ROUTE_FACTOR) -> Imported:
    """The network of what a GeoJSON file holds.

    Raises:
        InputError: as `read`.
    """
    features = _features(body, file)
    draft = Draft(file)
    points, lines = _by_geometry(draft, features)
    _add_points(draft, points)
    _add_lines(draft, lines, crs)
    return finished(draft, crs=crs, route_factor=route_factor)


_Feature = tuple[str, dict[str, object], list[Any]]


def _features(body: Any, file: str) -> list[Any]:
    if not isinstance(body, dict) or body.get("type") not in ("FeatureCollection", "Feature"):
        raise InputError.of(file, "is no GeoJSON FeatureCollection", "give a FeatureCollection, or another --format")
    _refuse_other_crs(body, file)
    found = body.get("features", []) if body["type"] == "FeatureCollection" else [body]
    if not isinstance(found, list):
        raise InputError.of(file, "its features are no list", "give a FeatureCollection, or another --format")
    return found


def _refuse_other_crs(body: dict[str, Any], file: str) -> None:
    """RFC 7946 took the member out; older files may still say there that their numbers are no degrees."""
    if body.get("crs") is None:
        return
    told = body["crs"].get("properties") if isinstance(body["crs"], dict) else None
    name = str(told.get("name")) if isinstance(told, dict) else str(told)
    if not name.endswith(_DEGREES):
        raise InputError.of(file, f"its coordinates are in {name}", "export it in WGS 84 (EPSG:4326)")


def _by_geometry(draft: Draft, features: Sequence[Any]) -> tuple[list[_Feature], list[_Feature]]:
    """Points and lines with their properties; everything else is dropped."""
    points: list[_Feature] = []
    lines: list[_Feature] = []
    for position, feature in enumerate(features, 1):
        row = f"feature {position}"
        geometry = feature.get("geometry") if isinstance(feature, dict) else None
        if not isinstance(geometry, dict):
            draft.drop(row, "has no geometry")
            continue
        properties = feature.get("properties")
        given: dict[str, object] = dict(properties) if isinstance(properties, dict) else {}
        if feature.get("id") is not None:
            given["id"] = feature["id"]
        kind, found = _single(geometry)
        if kind == "Point" and isinstance(found, list):
            points.append((row, given, found))
        elif kind == "LineString" and isinstance(found, list):
            lines.append((row, given, found))
        else:
            draft.drop(row, f"is a {kind}, neither a Point nor a LineString")
    return points, lines


def _single(geometry: dict[str, Any]) -> tuple[str, Any]:
    """Kind and coordinates of a geometry; a multiple one of one part is that part."""
    kind, found = str(geometry.get("type")), geometry.get("coordinates")
    if kind.startswith("Multi") and isinstance(found, list) and len(found) == 1:
        return kind.removeprefix("Multi"), found[0]
    return kind, found


def _columns(draft: Draft, found: Sequence[_Feature], table: str) -> Fields:
    columns = fields(draft.file, dict.fromkeys(name for _, row, _ in found for name in row), table)
    left = [name for name in columns.left if name not in (*_WORDS, "weight")]
    if left:
        draft.assumed.append(f"left out of {table}: {', '.join(left)}")
    return columns


def _position(value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) < 2:
        return math.nan, math.nan
    return number(value[0]), number(value[1])


def _add_points(draft: Draft, found: Sequence[_Feature]) -> None:
    columns = _columns(draft, found, "sites")
    for row, properties, coordinates in found:
        lon, lat = _position(coordinates)
        name = columns.text(properties, "name")
        draft.points.append(
            Point(
                row=row,
                id=columns.text(properties, "id") or name or row,
                lon=lon,
                lat=lat,
                name=name,
                table=point_table(str(properties.get(word) or "") for word in _WORDS),
                kind=columns.text(properties, "kind"),
                metro=columns.text(properties, "metro"),
                weight=number(properties.get("weight")),
            )
        )


def _add_lines(draft: Draft, found: Sequence[_Feature], crs: str) -> None:
    columns = _columns(draft, found, "links")
    drawn = [_drawn(coordinates) for _, _, coordinates in found]
    ends = _nearest_ends(draft, drawn)
    by_name = _by_name(draft)
    measured = 0
    for (row, properties, _), path, near in zip(found, drawn, ends, strict=True):
        told = [by_name.get(text, text) for text in (columns.text(properties, end) for end in "ab")]
        a, b = (text or end for text, end in zip(told, near, strict=True))
        length_km = columns.number(properties, "length_km")
        why = _why_not(path, a, b, columns, properties)
        if why:
            draft.drop(row, why)
            continue
        measured += math.isnan(length_km)
        draft.lines.append(
            Line(
                row=row,
                id=columns.text(properties, "id"),
                a=a,
                b=b,
                length_km=_length_km(path, crs) if math.isnan(length_km) else length_km,
                capacity_gbps=columns.number(properties, "capacity_gbps"),
                kind=columns.text(properties, "kind"),
                layer=_one_of(columns.text(properties, "layer"), ("optical", "ip")),
                direction=_one_of(columns.text(properties, "direction"), ("both", "forward")) or "both",
            )
        )
    if measured:
        draft.assumed.append(f"length of {counted(measured, 'link')}: that of the line as drawn")


def _one_of(word: str, allowed: tuple[str, ...]) -> str:
    return word if word in allowed else ""


def _why_not(path: np.ndarray, a: str, b: str, columns: Fields, properties: Mapping[str, object]) -> str:
    if len(path) < 2 or not np.isfinite(path).all():
        return "is a line without two positions"
    if not a or not b:
        return f"an end is no property of it, and no site is within {NEAR_KM:g} km of where it ends"
    unread = [ours for ours in ("length_km", "capacity_gbps") if columns.unread(properties, ours)]
    return f"its {unread[0]} cannot be read: give a number with its unit" if unread else ""


def _drawn(coordinates: list[Any]) -> np.ndarray:
    """The positions of a line as the file has them, one a row."""
    return np.array([_position(value) for value in coordinates], dtype=float).reshape(-1, 2)


def _length_km(path: np.ndarray, crs: str) -> float:
    lon, lat = to_wgs84(path[:, 0], path[:, 1], crs)
    return float(great_circle_km(lon[:-1], lat[:-1], lon[1:], lat[1:]).sum())


def _by_name(draft: Draft) -> dict[str, str]:
    """Ids by the names that stand for one point only; an id stands for itself."""
    times = Counter(point.name for point in draft.points)
    single = {point.name: point.id for point in draft.points if point.name and times[point.name] == 1}
    return single | {point.id: point.id for point in draft.points}


def _nearest_ends(draft: Draft, drawn: Sequence[np.ndarray]) -> list[tuple[str, str]]:
    """For each line the ids of the points that it begins and ends at; empty where none is near enough."""
    usable = [p for p in draft.points if abs(p.lon) <= 180 and abs(p.lat) <= 90]
    places = [number for number, path in enumerate(drawn) if len(path) > 1 and np.isfinite(path[[0, -1]]).all()]
    found = [("", "")] * len(drawn)
    if not usable or not places:
        return found
    ends = [_at(usable, np.array([drawn[place][end] for place in places])) for end in (0, -1)]
    for place, a, b in zip(places, *ends, strict=True):
        found[place] = (a, b)
    return found


def _at(points: Sequence[Point], positions: np.ndarray) -> list[str]:
    distance_km, rows = nearest(points, positions[:, 0].tolist(), positions[:, 1].tolist())
    close = zip(distance_km.tolist(), rows.tolist(), strict=True)
    return [points[row].id if km <= NEAR_KM else "" for km, row in close]
