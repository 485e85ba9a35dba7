"""The map of a nation as SVG: coast, metropolises by weight and covered share, compute sites, sites to build.

No boundary between countries or provinces is drawn: boundaries are a layer that the user brings.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib import resources
from unicodedata import east_asian_width

import msgspec
import numpy as np

from karez.operations.render.projection import Frame, fit

Array = np.ndarray
Box = tuple[float, float, float, float]

WIDTH, MARGIN = 1000.0, 30.0
LARGEST_RADIUS, SMALLEST_RADIUS, SMALLEST_OF_FEW, FEW = 24.0, 1.4, 4.0, 200
HOT_SPOTS, LABEL_SIZE = 10, 13.0
LEGEND_ROW, LEGEND_GAP, BADGE_WIDTH = 26.0, 18.0, 116.0
FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif"

# Five steps of the colour map "plasma" of matplotlib (CC0), turned round: it keeps its order in every kind of colour
# blindness and in grey, and what is not covered is bright while what is covered is calm.
STEPS = ("#fcc43a", "#f1814d", "#ce4b75", "#9410a2", "#31059a")
UNKNOWN = "#9aa0a6"
LAND, COAST, SEA = "#eeece6", "#b9b7b0", "#f3f7fa"
INK, QUIET, PAPER = "#1d2127", "#5d6470", "#ffffff"
RIM = f'stroke="{INK}" stroke-opacity=".45" stroke-width=".5"'
EXISTING, PLANNED = "M0-4.6 4.6 0 0 4.6-4.6 0Z", "M-1.7-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5V-1.7H-1.7Z"
MARK_RADIUS = 5.0
PLANNED_FILL = "#00d5a0"

# Where a label may go, best first: direction from the circle, and how the text is anchored there.
DIRECTIONS = (
    (1.0, 0.0, "start"),
    (-1.0, 0.0, "end"),
    (0.0, -1.0, "middle"),
    (0.0, 1.0, "middle"),
    (0.7, -0.7, "start"),
    (0.7, 0.7, "start"),
    (-0.7, -0.7, "end"),
    (-0.7, 0.7, "end"),
)
DISTANCES = (5.0, 16.0, 32.0)


class Metros(msgspec.Struct, frozen=True, kw_only=True):
    """Metropolises in columns: position (degrees), name, weight, and covered share (0..1, nan where unknown)."""

    lon: Sequence[float] = ()
    lat: Sequence[float] = ()
    name: Sequence[str] = ()
    weight: Sequence[float] = ()
    covered_share: Sequence[float] = ()


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """Sites in columns: position (degrees) and name."""

    lon: Sequence[float] = ()
    lat: Sequence[float] = ()
    name: Sequence[str] = ()


class StationLayer(msgspec.Struct, frozen=True, kw_only=True):
    """Stations as SVG in the units of one picture (see `stations.station_layer`), and what they are.

    How many, how many of them are covered, and the km that a cell of them is wide; 0 where each is a point.
    """

    svg: str = ""
    stations: int = 0
    covered: int = 0
    cell_km: float = 0.0


class MapData(msgspec.Struct, frozen=True, kw_only=True):
    """All that one map shows; `weight_name` says what the area of a circle stands for.

    The picture has room for `extent`, too, which is not drawn. `stations` are for pages only.
    """

    title: str
    metros: Metros
    subtitle: str = ""
    existing: Marks = Marks()
    planned: Marks = Marks()
    extent: Marks = Marks()
    stations: StationLayer = StationLayer()
    weight_name: str = "weight"
    synthetic: bool = False
    attribution: str = ""


class LegendItem(msgspec.Struct, frozen=True):
    """One entry of the legend: SVG in a box `width` wide and 22 high, and what it stands for."""

    swatch: str
    width: float
    text: str


class Label(msgspec.Struct, frozen=True):
    """A text beside a circle: where it is anchored, the box it fills, and the circle it belongs to."""

    text: str
    x: float
    y: float
    anchor: str
    box: Box
    target: tuple[float, float, float]


def svg_map(data: MapData) -> str:
    """A whole SVG document, 1000 units wide, with title, legend, labels and attribution, for use in documents."""
    frame = frame_of(data)
    titles = _wrapped(data.title, 21, WIDTH - 2 * MARGIN - (BADGE_WIDTH + 16 if data.synthetic else 0))
    top = 22 + 27.0 * len(titles) + (22 if data.subtitle else 0)
    key, key_height = _legend_block(legend(data))
    height = top + frame.height + key_height + 32
    return "".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {_size(height)} font-family="{FONT}" fill="{INK}" role="img">',
            f"<title>{escaped(data.title)}</title>",
            f'<rect width="{WIDTH:.0f}" height="{height:.0f}" fill="{PAPER}"/>',
            *(_text(line, MARGIN, 35 + 27 * i, 21, 'font-weight="600"') for i, line in enumerate(titles)),
            _text(data.subtitle, MARGIN, 31 + 27 * len(titles), 14, f'fill="{QUIET}"'),
            _badge() if data.synthetic else "",
            f'<svg y="{top:.0f}" {_size(frame.height)}>{_plot(data, frame)}</svg>',
            f'<g transform="translate(0 {top + frame.height:.0f})">{key}</g>',
            _text(data.attribution, MARGIN, height - 12, 11, f'fill="{QUIET}"'),
            "</svg>\n",
        )
    )


def svg_plot(data: MapData) -> str:
    """The map alone as an SVG element: no title, legend or attribution, which the page around it sets as text."""
    frame = frame_of(data)
    plot = _plot(data, frame, under=data.stations.svg)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="map" viewBox="0 0 {WIDTH:.0f} {frame.height:.0f}" '
        f'fill="{INK}" role="img" aria-label="{escaped(data.title)}">{plot}</svg>'
    )


def frame_of(data: MapData) -> Frame:
    """What lies where in the picture of `data`."""
    groups = (data.metros, data.existing, data.planned, data.extent)
    lon = np.concatenate([np.asarray(group.lon, float) for group in groups])
    lat = np.concatenate([np.asarray(group.lat, float) for group in groups])
    return fit(lon, lat, width=WIDTH, margin=MARGIN)


def legend(data: MapData) -> list[LegendItem]:
    """What the colours, sizes and marks of the map mean; only what the map shows."""
    items = [LegendItem(_disc(colour), 22, _step_text(step)) for step, colour in enumerate(STEPS)]
    if any(math.isnan(share) for share in data.metros.covered_share):
        items.append(LegendItem(_disc(UNKNOWN), 22, "unknown"))
    if max(data.metros.weight, default=0.0) > 0:
        items.append(_size_item(data.metros.weight, data.weight_name))
    if len(data.existing.lon):
        items.append(
            LegendItem(_site_swatch("existing", EXISTING, INK, PAPER), 22, f"compute site ({len(data.existing.lon):,})")
        )
    if len(data.planned.lon):
        items.append(
            LegendItem(
                _site_swatch("planned", PLANNED, PLANNED_FILL, INK), 22, f"site to build ({len(data.planned.lon):,})"
            )
        )
    return items


def station_legend(layer: StationLayer) -> list[LegendItem]:
    """What the points or cells of a page's stations mean."""
    if not layer.stations:
        return []
    if layer.cell_km:
        swatch = "".join(f'<rect x="{4 + 5 * i}" y="4" width="5" height="14" fill="{STEPS[2 * i]}"/>' for i in range(3))
        wide = f"{layer.cell_km:.2g} km wide, in the colour of its covered share"
        return [LegendItem(swatch, 22, f"cell of the {layer.stations:,} stations, {wide}")]
    dots = [f'<circle cx="11" cy="11" r="3" fill="{fill}"/>' for fill in (STEPS[-1], STEPS[0])]
    return [
        LegendItem(dots[0], 22, f"station covered ({layer.covered:,})"),
        LegendItem(dots[1], 22, f"station not covered ({layer.stations - layer.covered:,})"),
    ]


def colour(covered_share: float) -> str:
    """The colour of a covered share (0..1) as `#rrggbb`; grey where it is nan."""
    if math.isnan(covered_share):
        return UNKNOWN
    return STEPS[min(max(int(covered_share * len(STEPS)), 0), len(STEPS) - 1)]


def hot_labels(data: MapData) -> list[Label]:
    """Labels of the metropolises with the most uncovered weight, heaviest first; no two boxes meet."""
    frame = frame_of(data)
    x, y = frame.place(np.asarray(data.metros.lon, float), np.asarray(data.metros.lat, float))
    return _hot_labels(data, frame, x, y, _radii(data.metros.weight))


def compact(amount: float) -> str:
    """A quantity as people read it: 950, 12.3 k, 4.56 M."""
    for size, mark in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(amount) >= size:
            return f"{amount / size:.3g}{mark}"
    return f"{amount:.3g}"


def escaped(text: str) -> str:
    """Text as XML and HTML can hold it: markup escaped, characters that XML forbids shown as U+FFFD."""
    return escape("".join(letter if _legal(letter) else "\ufffd" for letter in text))


def _plot(data: MapData, frame: Frame, *, under: str = "") -> str:
    metros = data.metros
    x, y = frame.place(np.asarray(metros.lon, float), np.asarray(metros.lat, float))
    radius = _radii(metros.weight)
    largest_first = np.argsort(-radius, kind="stable").tolist()
    circles = "".join(_circle(metros, i, x[i], y[i], radius[i]) for i in largest_first)
    labels = "".join(_label_svg(label) for label in _hot_labels(data, frame, x, y, radius))
    return (
        f'<rect class="sea" width="{WIDTH:.0f}" height="{frame.height:.0f}" fill="{SEA}"/>'
        f'<g class="pan"><path class="land" d="{coast_path(frame)}" fill="{LAND}" stroke="{COAST}" stroke-width=".8" '
        f'stroke-linejoin="round"/>{under}<g class="metros" fill-opacity=".88" {RIM}>{circles}</g>'
        f"{_marks(data.existing, frame, 'existing', EXISTING, INK, PAPER)}"
        f"{_marks(data.planned, frame, 'planned', PLANNED, PLANNED_FILL, INK)}"
        f'<g class="labels" font-size="{LABEL_SIZE:.0f}" font-weight="600" stroke-linejoin="round">{labels}</g></g>'
    )


def _radii(weight: Sequence[float]) -> Array:
    weights = np.asarray(weight, float)
    heaviest = weights.max(initial=0.0)
    shares = weights / heaviest if heaviest > 0 else np.zeros(len(weights))
    smallest = SMALLEST_OF_FEW if len(weights) <= FEW else SMALLEST_RADIUS
    return np.maximum(LARGEST_RADIUS * np.sqrt(shares), smallest)


def _circle(metros: Metros, i: int, x: float, y: float, radius: float) -> str:
    share = metros.covered_share[i]
    says = f"{metros.name[i]}: {_percent(share)} of {compact(metros.weight[i])} covered"
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour(share)}">'
        f"<title>{escaped(says)}</title></circle>"
    )


def _marks(marks: Marks, frame: Frame, kind: str, shape: str, fill: str, edge: str) -> str:
    x, y = frame.place(np.asarray(marks.lon, float), np.asarray(marks.lat, float))
    word = "compute site" if kind == "existing" else "to build"
    names = marks.name or [""] * len(x)
    drawn = "".join(
        f'<g class="site" transform="translate({x[i]:.1f} {y[i]:.1f})"><path d="{shape}"/>'
        f"<title>{escaped(f'{names[i]} ({word})'.strip())}</title></g>"
        for i in range(len(x))
    )
    return f'<g class="{kind}" fill="{fill}" stroke="{edge}" stroke-width="1">{drawn}</g>'


def _hot_labels(data: MapData, frame: Frame, x: Array, y: Array, radius: Array) -> list[Label]:
    metros = data.metros
    share = np.nan_to_num(np.asarray(metros.covered_share, float), nan=1.0)
    uncovered = np.asarray(metros.weight, float) * (1 - share)
    hottest = [i for i in np.argsort(-uncovered, kind="stable")[:HOT_SPOTS].tolist() if uncovered[i] > 0]
    bulky = radius > LARGEST_RADIUS / 4
    obstacles = np.concatenate(
        [boxes(x, y, radius)[bulky], *(_mark_boxes(m, frame) for m in (data.existing, data.planned))]
    )
    placed: list[Label] = []
    for i in hottest:
        text = f"{metros.name[i]} {_percent(share[i])}"
        taken = np.array([label.box for label in placed]).reshape(-1, 4)
        found = best_spot(text, (float(x[i]), float(y[i]), float(radius[i])), taken, obstacles, frame.height)
        placed += [found] if found else []
    return placed


def boxes(x: Array, y: Array, radius: Array | float) -> Array:
    """The boxes around circles, as left, top, right and bottom (float64, one row each)."""
    return np.stack([x - radius, y - radius, x + radius, y + radius], axis=1)


def _mark_boxes(marks: Marks, frame: Frame) -> Array:
    x, y = frame.place(np.asarray(marks.lon, float), np.asarray(marks.lat, float))
    return boxes(x, y, MARK_RADIUS)


def best_spot(
    text: str, target: tuple[float, float, float], taken: Array, obstacles: Array, height: float
) -> Label | None:
    """The label where it hides the least of the large circles; None where every spot meets a label or the edge."""
    best, least = None, math.inf
    for distance in DISTANCES:
        for direction in DIRECTIONS:
            label = _label(text, target, distance, direction)
            left, top, right, bottom = label.box
            inside = left >= 2 and top >= 2 and right <= WIDTH - 2 and bottom <= height - 2
            if inside and not _overlap(label.box, taken).any():
                hidden = float(_overlap(label.box, obstacles).sum()) + distance
                best, least = (label, hidden) if hidden < least else (best, least)
    return best


def _label(
    text: str, target: tuple[float, float, float], distance: float, direction: tuple[float, float, str]
) -> Label:
    right, down, anchor = direction
    x = target[0] + right * (target[2] + distance)
    y = target[1] + down * (target[2] + distance + LABEL_SIZE / 2)
    width = _text_width(text, LABEL_SIZE)
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    box = (left - 2, y - LABEL_SIZE * 0.62, left + width + 2, y + LABEL_SIZE * 0.62)
    return Label(text, x, y, anchor, box, target)


def _overlap(box: Box, others: Array) -> Array:
    """The area that `box` shares with each of `others` (float64, one each)."""
    across = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    down = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    area: Array = np.maximum(across, 0.0) * np.maximum(down, 0.0)
    return area


def _label_svg(label: Label) -> str:
    """The label in a group whose origin is the circle's centre, so that a page can keep it readable while it zooms."""
    x, y, radius = label.target
    return (
        f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="{radius + 1.6:.1f}" fill="none" stroke="{INK}" '
        f'stroke-width="1.4"/><g class="label" transform="translate({x:.1f} {y:.1f})">{_leader(label)}'
        f'<text x="{label.x - x:.1f}" y="{label.y - y + LABEL_SIZE * 0.36:.1f}" text-anchor="{label.anchor}" '
        f'stroke="{PAPER}" stroke-width="3.4" paint-order="stroke">{escaped(label.text)}</text></g>'
    )


def _leader(label: Label) -> str:
    x, y, radius = label.target
    right, down = label.x - x, label.y - y
    length = math.hypot(right, down)
    if length - radius < DISTANCES[1]:
        return ""
    start = (radius + 1.6) / length
    stop = 1 - (LABEL_SIZE * 0.7 if label.anchor == "middle" else 3) / length
    ends = f"M{right * start:.1f} {down * start:.1f}L{right * stop:.1f} {down * stop:.1f}"
    return f'<path class="leader" d="{ends}" stroke="{INK}" stroke-width="1"/>'


@cache
def coast_rings() -> tuple[Array, ...]:
    """The coast of East, South and South-East Asia as closed rings of longitude and latitude (degrees).

    Source: Natural Earth 1:50m land, as `twin/library/land.json` says.
    """
    file = resources.files("karez.twin") / "library" / "land.json"
    return tuple(np.array(ring, float) for ring in json.loads(file.read_text("utf-8"))["rings"])


def coast_path(frame: Frame) -> str:
    """The coast as the path of an SVG."""
    return "".join(_ring(frame, ring) for ring in coast_rings())


def _ring(frame: Frame, ring: Array) -> str:
    """One ring as a path in tenths of a unit, relative from point to point; empty where it lies outside the picture."""
    x, y = frame.place(ring[:, 0], ring[:, 1])
    if x.max() < 0 or x.min() > WIDTH or y.max() < 0 or y.min() > frame.height:
        return ""
    points = np.round(np.stack([x, y], axis=1), 1)
    points = points[np.append(True, (np.diff(points, axis=0) != 0).any(axis=1))]
    steps = np.round(np.diff(points, axis=0), 1).tolist()
    return f"M{points[0, 0]:.1f} {points[0, 1]:.1f}l" + " ".join(f"{dx:.5g} {dy:.5g}" for dx, dy in steps) + "z"


def _legend_block(items: Sequence[LegendItem]) -> tuple[str, float]:
    """The legend in rows as wide as the picture, and its height."""
    parts, x, y = [], MARGIN, 8.0
    for item in items:
        width = item.width + 6 + _text_width(item.text, 13)
        if x + width > WIDTH - MARGIN:
            x, y = MARGIN, y + LEGEND_ROW
        parts.append(f'<g transform="translate({x:.0f} {y:.0f})">{item.swatch}')
        parts.append(f"{_text(item.text, item.width + 6, 15.5, 13)}</g>")
        x += width + LEGEND_GAP
    return "".join(parts), y + LEGEND_ROW


def _disc(fill: str) -> str:
    return f'<circle class="disc" cx="11" cy="11" r="8" fill="{fill}" {RIM}/>'


def _size_item(weight: Sequence[float], weight_name: str) -> LegendItem:
    """Three circles as large as the map draws them for round weights."""
    sizes = list(dict.fromkeys(float(f"{max(weight) * share:.1g}") for share in (0.01, 0.05, 0.2)))
    x, discs = 0.0, []
    for radius in _radii([*weight, *sizes])[len(weight) :].tolist():
        discs.append(f'<circle cx="{x + radius:.1f}" cy="11" r="{radius:.1f}" fill="none" stroke="{INK}"/>')
        x += 2 * radius + 4
    named = f"{', '.join(compact(size) for size in sizes)} {weight_name}"
    return LegendItem(f'<g class="sizes">{"".join(discs)}</g>', x - 4, named)


def _site_swatch(kind: str, shape: str, fill: str, edge: str) -> str:
    return f'<g class="{kind}" fill="{fill}" stroke="{edge}"><path transform="translate(11 11)" d="{shape}"/></g>'


def _step_text(step: int) -> str:
    size = 100 // len(STEPS)
    return f"{step * size} to {(step + 1) * size} %" + (" covered" if step == 0 else "")


def _badge() -> str:
    x = WIDTH - MARGIN - BADGE_WIDTH
    middle = f'x="{x + BADGE_WIDTH / 2:.0f}" y="33" text-anchor="middle"'
    return (
        f'<g class="synthetic"><rect x="{x:.0f}" y="14" width="{BADGE_WIDTH:.0f}" height="28" rx="4" fill="#b3261e"/>'
        f'<text {middle} font-size="15" font-weight="700" letter-spacing="1" fill="#fff">SYNTHETIC</text></g>'
    )


def _size(height: float) -> str:
    return f'viewBox="0 0 {WIDTH:.0f} {height:.0f}" width="{WIDTH:.0f}" height="{height:.0f}"'


def _text(text: str, x: float, y: float, size: float, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.1f}" font-size="{size:.0f}" {more}>{escaped(text)}</text>' if text else ""


def _text_width(text: str, size: float) -> float:
    return sum(size * (1.0 if east_asian_width(letter) in "WF" else 0.6) for letter in text)


def _wrapped(text: str, size: float, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if _text_width(longer, size) <= width else [*lines, word]
    return lines


def _percent(share: float) -> str:
    return "unknown share" if math.isnan(share) else f"{100 * share:.0f} %"


def _legal(letter: str) -> bool:
    """Source: XML 1.0, production 2 (Char)."""
    code = ord(letter)
    return letter in "\t\n\r" or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000
