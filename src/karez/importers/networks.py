"""From the points and lines of a foreign file to a twin: what must be dropped is told, what is missing is assumed.

Every reader of a foreign format fills a `Draft` and has it `finished` here, so that all drop and assume alike.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from scipy.spatial import cKDTree

from karez.errors import InputError
from karez.importers import crs as crs_module
from karez.importers.guesses import Guess, of_columns, plain, table_like
from karez.importers.quantities import number, quantity
from karez.importers.report import OR_WITHOUT, Dropped, Imported, counted, grouped
from karez.twin import Table, Twin, schema
from karez.twin.check import DUPLICATE, SAME_ENDS, SWAPPED, check
from karez.twin.geo import great_circle_km
from karez.twin.schema import Value
from karez.twin.table import Array, text

# Where fibre runs beside the straight line. Source: between the best conduit (1.3) and China as measured (1.8).
ROUTE_FACTOR = 1.4
SITE_KIND, LINK_KIND = "core", "backbone"
UNKNOWN = "unknown"
NO_POSITION, NOT_ON_EARTH = "has no position", "its position is not on Earth"
NO_END = "an end is not there or was dropped"
_FIXES = {
    SWAPPED: "exchange the two coordinates",
    DUPLICATE: "keep one of them, or give each its own id",
    SAME_ENDS: "name the other end, or drop the link",
    NO_POSITION: "give it longitude and latitude as numbers",
    NOT_ON_EARTH: "convert it to degrees: metres of a projection?",
    NO_END: "add or correct what it ends at",
}
LAYER = "optical"


@dataclass
class Point:
    """A site or station on its way in; empty and nan where nobody told."""

    row: str
    id: str
    lon: float = math.nan
    lat: float = math.nan
    name: str = ""
    table: str = "sites"
    kind: str = ""
    metro: str = ""
    weight: float = math.nan


@dataclass
class Line:
    """A link on its way in; empty and nan where nobody told."""

    row: str
    a: str
    b: str
    id: str = ""
    length_km: float = math.nan
    capacity_gbps: float = math.nan
    kind: str = ""
    layer: str = ""
    direction: str = "both"


@dataclass
class Demand:
    """Traffic on its way in."""

    row: str
    id: str
    a: str
    b: str
    gbps: float


@dataclass
class Draft:
    """What a file holds, as far as it could be read, and what is known already of the rows it loses."""

    file: str
    points: list[Point] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    demands: list[Demand] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    given: dict[str, Table] = field(default_factory=dict)
    """Provinces, metros and other tables that points may refer to, where the format has them."""

    def drop(self, row: str, why: str) -> None:
        """Note a row that is not going to be in the twin."""
        self.dropped.append(Dropped(self.file, row, why, fix=_FIXES.get(why, OR_WITHOUT)))


def finished(draft: Draft, *, crs: str, route_factor: float) -> Imported:
    """The twin of a draft, which passes every check.

    Raises:
        InputError: nothing usable is left, or most positions have longitude and latitude exchanged.
    """
    lost = len(draft.dropped)
    points = _sound_points(draft, crs)
    lines = _sound_lines(draft, points, route_factor)
    demands = _sound_demands(draft, points)
    if not points:
        told = grouped(draft.dropped[lost:]) + grouped(draft.dropped[:lost])
        empty = InputError.of(draft.file, "holds no usable site", "give it positions in longitude and latitude")
        raise InputError([*empty.problems, *told])
    regions, metros = _regions(draft, points)
    made = (*regions, *_places(draft, points, metros), _links(draft, lines), demands)
    twin = Twin(draft.given | {table.name: table for table in made})
    if problems := check(twin):
        raise InputError(problems)
    return Imported(twin, tuple(draft.dropped), tuple(draft.assumed))


def fields(file: str, names: Iterable[str], table: str) -> Fields:
    """What the properties of a foreign table are; `names` are all that occur in its rows."""
    guesses = of_columns(file, list(names), table)
    known = {guess.target: guess for guess in guesses if guess.target}
    unitless: dict[str, str] = {}
    for guess in guesses:
        for target in ("length_km", "capacity_gbps"):
            if not guess.target and plain(guess.column) == target.partition("_")[0]:
                unitless.setdefault(target, guess.column)
    left = tuple(guess.column for guess in guesses if not guess.target and guess.column not in unitless.values())
    return Fields(known, unitless, left)


@dataclass(frozen=True)
class Fields:
    """The foreign column of each of ours; `unitless` ones are read where a value names its own unit."""

    known: Mapping[str, Guess]
    unitless: Mapping[str, str]
    left: tuple[str, ...]

    def text(self, row: Mapping[str, object], ours: str) -> str:
        """The text of our column in a foreign row; empty where it has none."""
        value = row.get(self.known[ours].column) if ours in self.known else None
        return "" if value is None or isinstance(value, dict | list) else str(value).strip()

    def number(self, row: Mapping[str, object], ours: str) -> float:
        """The number of our column in a foreign row, in our unit; nan where it has none."""
        unit = ours.rpartition("_")[2]
        guess, value = self._told(row, ours)
        found = number(value) * guess.factor if guess else math.nan
        return quantity(value, unit) if math.isnan(found) and unit in ("km", "gbps") else found

    def unread(self, row: Mapping[str, object], ours: str) -> bool:
        """Whether the row says something in our column that could not be read."""
        return self._told(row, ours)[1] not in (None, "") and math.isnan(self.number(row, ours))

    def _told(self, row: Mapping[str, object], ours: str) -> tuple[Guess | None, object]:
        """What the row says in our column, and what is known of it; its unit stands in the value where nothing is."""
        guess = self.known.get(ours)
        value = row.get(guess.column) if guess else None
        return (None, row.get(self.unitless.get(ours, ""))) if value in (None, "") else (guess, value)


def point_table(words: Iterable[str]) -> str:
    """`stations` where one of the words that describe a point says so, else `sites`."""
    return "stations" if any(table_like(word) == "stations" for word in words if word) else "sites"


def _sound_points(draft: Draft, crs: str) -> dict[str, Point]:
    """The points that can be used, by id, in WGS 84."""
    _require_degrees(draft)
    usable = []
    for point in draft.points:
        if why := _unusable(point):
            draft.drop(point.row, why)
        else:
            usable.append(point)
    found = {point.id: point for point in _first_of_each(draft, usable)}
    _convert(draft, list(found.values()), crs)
    return found


_Row = TypeVar("_Row", Point, Line, Demand)


def _first_of_each(draft: Draft, rows: Sequence[_Row]) -> list[_Row]:
    """The rows in the order of their ids; of those that share one the row that tells most, whatever their order was."""
    kept: dict[str, _Row] = {}
    for row in sorted(rows, key=_content):
        if row.id in kept:
            draft.drop(row.row, DUPLICATE)
        else:
            kept[row.id] = row
    return list(kept.values())


def _content(row: Point | Line | Demand) -> tuple[object, ...]:
    """What a row says, fullest first where the id is the same; numbers that nobody told come last."""
    said = [value for name, value in vars(row).items() if name not in ("row", "id")]
    unknown = [value == "" or value != value for value in said]
    return (
        row.id,
        sum(unknown),
        *((gap, 0.0 if value != value else value) for gap, value in zip(unknown, said, strict=True)),
    )


def _require_degrees(draft: Draft) -> None:
    """Refuse a file of which most positions are no degrees: then the few that could be are none either."""
    swapped = [p.row for p in draft.points if 90 < abs(p.lat) <= 180 and abs(p.lon) <= 90]
    nowhere = [p.row for p in draft.points if abs(p.lat) > 90 or abs(p.lon) > 180]
    if len(swapped) * 2 > len(draft.points):
        raise InputError.of(draft.file, SWAPPED, _FIXES[SWAPPED], swapped)
    if len(nowhere) * 2 > len(draft.points):
        fix = "export it with longitude and latitude in WGS 84, GCJ-02 or BD-09"
        raise InputError.of(draft.file, "its positions are not on Earth: metres, or a drawing", fix, nowhere)


def _unusable(point: Point) -> str:
    if not point.id or "\0" in point.id:
        return "has no id" if not point.id else "its id holds a zero byte"
    if math.isnan(point.lon) or math.isnan(point.lat):
        return NO_POSITION
    if abs(point.lat) > 90:
        return SWAPPED if abs(point.lon) <= 90 and abs(point.lat) <= 180 else NOT_ON_EARTH
    if abs(point.lon) > 180:
        return NOT_ON_EARTH
    return "its weight is below 0" if point.weight < 0 else ""


def _convert(draft: Draft, points: Sequence[Point], crs: str) -> None:
    if crs == "wgs84" or not points:
        return
    lon, lat = crs_module.to_wgs84(np.array([p.lon for p in points]), np.array([p.lat for p in points]), crs)
    for point, moved_lon, moved_lat in zip(points, lon.tolist(), lat.tolist(), strict=True):
        point.lon, point.lat = moved_lon, moved_lat
    draft.assumed.append(f"{counted(len(points), 'position')} moved from {crs} to WGS 84")


def _sound_lines(draft: Draft, points: Mapping[str, Point], route_factor: float) -> list[Line]:
    usable = []
    for line in draft.lines:
        why = _no_ends(line.a, line.b, points) or (SAME_ENDS if line.a == line.b else "")
        why = why or _bad_amount(line.length_km, "length_km") or _bad_amount(line.capacity_gbps, "capacity_gbps")
        if why or "\0" in line.id:
            draft.drop(line.row, why or "its id holds a zero byte")
        else:
            usable.append(line)
    named = _first_of_each(draft, [line for line in usable if line.id])
    unnamed = sorted((line for line in usable if not line.id), key=_content)
    _name(unnamed, {line.id for line in named})
    return _with_lengths(draft, [*named, *unnamed], points, route_factor)


def _no_ends(a: str, b: str, points: Mapping[str, Point]) -> str:
    for end in (a, b):
        if end not in points:
            return NO_END if end else "an end is missing"
    return ""


def _bad_amount(value: float, column: str) -> str:
    spec = schema.column("links", column)
    bad = not math.isnan(value) and not spec.low <= value <= spec.high
    return f"its {column} is outside {spec.low:g} to {spec.high:g} {spec.unit}" if bad else ""


def _name(lines: Sequence[Line], taken: set[str]) -> None:
    """Give each of the lines an id: its ends, and a number where that is taken."""
    turns: Counter[str] = Counter()
    for line in lines:
        base = f"{line.a}-{line.b}"
        while not line.id:
            turns[base] += 1
            name = base if turns[base] == 1 else f"{base}#{turns[base]}"
            if name not in taken:
                line.id = name
        taken.add(line.id)


def _with_lengths(draft: Draft, lines: Sequence[Line], points: Mapping[str, Point], route_factor: float) -> list[Line]:
    missing = [line for line in lines if math.isnan(line.length_km)]
    ends = [(points[line.a], points[line.b]) for line in missing]
    columns = [[a.lon for a, _ in ends], [a.lat for a, _ in ends], [b.lon for _, b in ends], [b.lat for _, b in ends]]
    straight_km = great_circle_km(*(np.array(column, dtype=float) for column in columns))
    for line, length_km in zip(missing, (straight_km * route_factor).tolist(), strict=True):
        line.length_km = length_km
        if why := _bad_amount(length_km, "length_km"):
            draft.drop(line.row, f"as computed, {why}")
    if missing:
        draft.assumed.append(assumed_lengths(len(missing), route_factor))
    return [line for line in lines if not _bad_amount(line.length_km, "length_km")]


def assumed_lengths(number: int, route_factor: float) -> str:
    """The sentence that says how missing lengths were made."""
    return f"length of {counted(number, 'link')}: great circle of its ends times {route_factor:g}"


def _sound_demands(draft: Draft, points: Mapping[str, Point]) -> Table:
    sites = {name: point for name, point in points.items() if point.table == "sites"}
    sound = []
    for demand in draft.demands:
        why = _no_ends(demand.a, demand.b, sites)
        if math.isnan(demand.gbps) or not 0 <= demand.gbps < math.inf:
            why = why or "its traffic is no number of at least 0"
        if why:
            draft.drop(demand.row, why)
        else:
            sound.append(demand)
    usable = _first_of_each(draft, sound)
    columns = {name: [getattr(d, name) for d in usable] for name in ("id", "a", "b", "gbps")}
    return Table.of("demands", columns if usable else None)


def _regions(draft: Draft, points: Mapping[str, Point]) -> tuple[list[Table], dict[str, str]]:
    """Provinces and metros, and the metro of each point: told, else the site's own, else that of the nearest site."""
    metros = {point.id: point.metro or point.id for point in points.values() if point.table == "sites"}
    if made := sum(not points[name].metro for name in metros):
        draft.assumed.append(f"metro of {counted(made, 'site')}: one each, at its position")
    stations = [point for point in points.values() if point.table == "stations"]
    metros |= {point.id: point.metro for point in stations if point.metro}
    lost = [point for point in stations if not point.metro]
    if lost:
        metros |= _nearest_metros(draft, lost, [points[name] for name in metros if points[name].table == "sites"])
    return _with_metros(draft, points, metros), metros


def _with_metros(draft: Draft, points: Mapping[str, Point], metros: Mapping[str, str]) -> list[Table]:
    """The provinces and metros that were given, and one of those that points refer to besides."""
    provinces, known = (draft.given.get(name, Table.of(name)) for name in ("provinces", "metros"))
    there = {text(value) for value in known.ids.tolist()}
    members: dict[str, list[Point]] = {}
    for name, metro in metros.items():
        if metro not in there:
            members.setdefault(metro, []).append(points[name])
    if not members:
        return [provinces, known]
    draft.assumed.append(f"province of {counted(len(members), 'metro')}: {UNKNOWN}")
    values: dict[str, Sequence[Value]] = {
        "id": list(members),
        "name": [(points[name].name if name in points else "") or name for name in members],
        "province": [UNKNOWN] * len(members),
        "lon": [_mean_lon([p.lon for p in group]) for group in members.values()],
        "lat": [float(np.mean([p.lat for p in group])) for group in members.values()],
    }
    if not provinces.has(UNKNOWN):
        provinces = provinces.add({"id": [UNKNOWN], "name": [UNKNOWN]})
    return [provinces, known.add(values)]


def _nearest_metros(draft: Draft, stations: Sequence[Point], sites: Sequence[Point]) -> dict[str, str]:
    if not sites:
        draft.assumed.append(f"metro of {counted(len(stations), 'station')}: {UNKNOWN}")
        return {point.id: UNKNOWN for point in stations}
    draft.assumed.append(f"metro of {counted(len(stations), 'station')}: that of the nearest site")
    _, rows = nearest(sites, [p.lon for p in stations], [p.lat for p in stations])
    return {point.id: sites[row].metro or sites[row].id for point, row in zip(stations, rows.tolist(), strict=True)}


def nearest(points: Sequence[Point], lon: Sequence[float], lat: Sequence[float]) -> tuple[Array, Array]:
    """For each position its distance to the nearest of `points` in km, and the number of that point."""
    tree = cKDTree(_on_sphere([p.lon for p in points], [p.lat for p in points]))
    rows = np.asarray(tree.query(_on_sphere(lon, lat))[1])
    found_lon, found_lat = (np.array([getattr(p, name) for p in points])[rows] for name in ("lon", "lat"))
    return great_circle_km(np.array(lon), np.array(lat), found_lon, found_lat), rows


def _on_sphere(lon: Sequence[float], lat: Sequence[float]) -> Array:
    x, y = np.radians(np.array(lon)), np.radians(np.array(lat))
    return np.column_stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)])


def _mean_lon(values: Sequence[float]) -> float:
    """The mean of longitudes, also across the 180th meridian."""
    if max(values) - min(values) <= 180:
        return float(np.mean(values))
    mean = float(np.mean(np.mod(values, 360)))
    return mean - 360 if mean > 180 else mean


def _places(draft: Draft, points: Mapping[str, Point], metros: Mapping[str, str]) -> list[Table]:
    sites = [point for point in points.values() if point.table == "sites"]
    stations = [point for point in points.values() if point.table == "stations"]
    kinds = schema.column("sites", "kind").allowed
    if unknown := sum(point.kind not in kinds for point in sites):
        draft.assumed.append(f"kind of {counted(unknown, 'site')}: {SITE_KIND}")
    named = {"name": [p.name for p in sites], "kind": [p.kind if p.kind in kinds else SITE_KIND for p in sites]}
    weights = [1.0 if math.isnan(p.weight) else p.weight for p in stations]
    return [_placed("sites", sites, metros, named), _placed("stations", stations, metros, {"weight": weights})]


def _placed(
    table: str, points: Sequence[Point], metros: Mapping[str, str], more: Mapping[str, Sequence[Value]]
) -> Table:
    if not points:
        return Table.of(table)
    ids, lon, lat = [p.id for p in points], [p.lon for p in points], [p.lat for p in points]
    return Table.of(table, {"id": ids, "metro": [metros[name] for name in ids], "lon": lon, "lat": lat, **more})


def _links(draft: Draft, lines: Sequence[Line]) -> Table:
    if not lines:
        return Table.of("links")
    absent_gbps = schema.column("links", "capacity_gbps").absent
    assert isinstance(absent_gbps, float)
    kinds = schema.column("links", "kind").allowed
    unkind = sum(line.kind not in kinds for line in lines)
    untold = sum(math.isnan(line.capacity_gbps) for line in lines)
    flat = sum(not line.layer for line in lines)
    if unkind:
        draft.assumed.append(f"kind of {counted(unkind, 'link')}: {LINK_KIND}")
    if untold:
        draft.assumed.append(f"capacity of {counted(untold, 'link')}: {absent_gbps:g} Gbit/s")
    if flat:
        draft.assumed.append(f"layer of {counted(flat, 'link')}: {LAYER}")
    values = {name: [getattr(line, name) for line in lines] for name in ("id", "a", "b", "length_km", "direction")}
    values["kind"] = [line.kind if line.kind in kinds else LINK_KIND for line in lines]
    values["layer"] = [line.layer or LAYER for line in lines]
    values["capacity_gbps"] = [absent_gbps if math.isnan(v.capacity_gbps) else v.capacity_gbps for v in lines]
    return Table.of("links", values)
