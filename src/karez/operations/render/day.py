"""Pictures of a day of jobs: work that goes from province to province, and what a chip is worth by the hour."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from karez.operations.render.map import (
    COAST,
    LABEL_SIZE,
    LAND,
    MARGIN,
    RIM,
    SEA,
    WIDTH,
    coast_path,
    compact,
    escaped,
)
from karez.operations.render.projection import fit

# Flows drawn, the largest first, and provinces named.
MOST_FLOWS, MOST_NAMES = 60, 10
WIDEST, NARROWEST, LARGEST_DISC = 9.0, 0.6, 20.0
# How far an arc leaves the straight line, as a share of its length.
BEND = 0.18
WESTWARD, OTHER = "#5b1fa8", "#8a919c"
DISC = "#f1814d"
CHART_WIDTH, CHART_HEIGHT, LEFT, BOTTOM, TOP = 720.0, 210.0, 56.0, 30.0, 36.0


class FlowsData(msgspec.Struct, frozen=True, kw_only=True):
    """Provinces in columns (position in degrees, name, work done there in chip-hours), and the flows between them.

    A flow is the place of the users and of the chips among provinces, chip-hours, and whether it goes east to west.
    """

    label: str
    lon: Sequence[float]
    lat: Sequence[float]
    name: Sequence[str]
    done: Sequence[float]
    begins: Sequence[int]
    ends: Sequence[int]
    chip_h: Sequence[float]
    westward: Sequence[bool]


class HoursData(msgspec.Struct, frozen=True, kw_only=True):
    """A value an hour, with the words for the hours that are marked below the axis."""

    label: str
    unit: str
    hours: Sequence[str]
    values: Sequence[float]


def svg_flows(data: FlowsData) -> str:
    """The map as an SVG element with its legend."""
    frame = fit(np.asarray(data.lon, float), np.asarray(data.lat, float), width=WIDTH, margin=MARGIN)
    x, y = frame.place(np.asarray(data.lon, float), np.asarray(data.lat, float))
    largest = max(data.chip_h, default=0.0)
    order = np.argsort(-np.asarray(data.chip_h, float), kind="stable")[:MOST_FLOWS]
    arcs = "".join(_arc(data, at, x, y, largest) for at in order[::-1].tolist())
    most = max(data.done, default=0.0)
    discs = "".join(_disc(data, at, x[at], y[at], most) for at in range(len(data.name)) if data.done[at] > 0)
    named = np.argsort(-np.asarray(data.done, float), kind="stable")[:MOST_NAMES].tolist()
    labels = "".join(
        f'<text x="{x[at]:.1f}" y="{y[at] - 6 - _radius(data.done[at], most):.1f}" text-anchor="middle">'
        f"{escaped(data.name[at])}</text>"
        for at in named
        if data.done[at] > 0
    )
    return (
        f'<div class="mapbox"><svg class="flows" viewBox="0 0 {WIDTH:.0f} {frame.height:.0f}" role="img" '
        f'aria-label="{escaped(data.label)}"><rect class="sea" width="{WIDTH:.0f}" height="{frame.height:.0f}" '
        f'fill="{SEA}"/><path class="land" d="{coast_path(frame)}" fill="{LAND}" stroke="{COAST}" stroke-width=".8"/>'
        f'<g fill="none" stroke-linecap="round">{arcs}</g><g fill="{DISC}" {RIM}>{discs}</g>'
        f'<g class="labels" font-size="{LABEL_SIZE:.0f}" font-weight="600">{labels}</g></svg></div>\n'
        f'<ul class="legend"><li><svg width="34" height="14"><path d="M2 12Q17 0 32 12" fill="none" '
        f'stroke="{WESTWARD}" stroke-width="3"/></svg>work of eastern users done in the west</li>'
        f'<li><svg width="34" height="14"><path d="M2 12Q17 0 32 12" fill="none" stroke="{OTHER}" stroke-width="3"/>'
        f"</svg>other work between provinces (the {min(MOST_FLOWS, len(data.chip_h))} largest flows in all)</li>"
        f'<li><svg width="22" height="22"><circle cx="11" cy="11" r="8" fill="{DISC}"/></svg>'
        f"work done there, at most {compact(most)} chip-hours</li></ul>\n"
    )


def svg_hours(data: HoursData) -> str:
    """The chart as an SVG element: a bar an hour."""
    top = max([*data.values, 0.0]) or 1.0
    low = min([*data.values, 0.0])
    span = top - low
    wide = (CHART_WIDTH - LEFT) / max(len(data.values), 1)

    def y(value: float) -> float:
        return TOP + (CHART_HEIGHT - TOP - BOTTOM) * (top - value) / span

    bars = "".join(
        f'<rect class="bar" x="{LEFT + at * wide + 1:.1f}" y="{min(y(value), y(0.0)):.1f}" '
        f'width="{max(wide - 2, 1):.1f}" height="{abs(y(value) - y(0.0)):.1f}"><title>{escaped(data.hours[at])}: '
        f"{value:,.3g} {escaped(data.unit)}</title></rect>"
        for at, value in enumerate(data.values)
    )
    every = max(1, math.ceil(len(data.hours) / 8))
    ticks = "".join(
        f'<text x="{LEFT + (at + 0.5) * wide:.1f}" y="{CHART_HEIGHT - 10:.0f}" text-anchor="middle">'
        f"{escaped(hour)}</text>"
        for at, hour in enumerate(data.hours)
        if at % every == 0
    )
    lines = "".join(
        f'<path class="grid" d="M{LEFT:.0f} {y(value):.1f}H{CHART_WIDTH:.0f}"/>'
        f'<text x="{LEFT - 6:.0f}" y="{y(value) + 4.5:.1f}" text-anchor="end">{value:,.3g}</text>'
        for value in sorted({low, 0.0, top / 2, top})
    )
    return (
        f'<div class="scroll"><svg class="curve hours" viewBox="0 0 {CHART_WIDTH:.0f} {CHART_HEIGHT:.0f}" role="img" '
        f'aria-label="{escaped(data.label)}">{lines}{bars}{ticks}'
        f'<text class="axis" x="6" y="14">{escaped(data.label)} ({escaped(data.unit)})</text></svg></div>\n'
    )


def _radius(done: float, most: float) -> float:
    return max(LARGEST_DISC * math.sqrt(done / most), 2.0) if most > 0 else 2.0


def _disc(data: FlowsData, at: int, x: float, y: float, most: float) -> str:
    says = f"{data.name[at]}: {compact(data.done[at])} chip-hours done"
    radius = _radius(data.done[at], most)
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{escaped(says)}</title></circle>'


def _arc(data: FlowsData, at: int, x: np.ndarray, y: np.ndarray, largest: float) -> str:
    """An arc from the users to the chips, bent to its right, so that what comes back lies beside it."""
    a, b = data.begins[at], data.ends[at]
    middle_x = (x[a] + x[b]) / 2 - BEND * (y[b] - y[a])
    middle_y = (y[a] + y[b]) / 2 + BEND * (x[b] - x[a])
    wide = max(WIDEST * math.sqrt(data.chip_h[at] / largest), NARROWEST)
    colour = WESTWARD if data.westward[at] else OTHER
    says = f"{data.name[a]} to {data.name[b]}: {compact(data.chip_h[at])} chip-hours"
    return (
        f'<path d="M{x[a]:.1f} {y[a]:.1f}Q{middle_x:.1f} {middle_y:.1f} {x[b]:.1f} {y[b]:.1f}" stroke="{colour}" '
        f'stroke-width="{wide:.1f}" stroke-opacity=".62"><title>{escaped(says)}</title></path>'
    )
