"""A report as one HTML file: no script, font, style or picture from outside, readable on paper and in the dark."""

from __future__ import annotations

import hashlib
import math
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Literal

import msgspec

from karez.operations.render.cost import CostData, svg_cost
from karez.operations.render.curve import CurveData, svg_curve
from karez.operations.render.day import FlowsData, HoursData, svg_flows, svg_hours
from karez.operations.render.map import MapData, escaped, legend, station_legend, svg_plot

Cell = str | float | int | bool
Form = Literal["text", "share", "count", "number"]


class ColumnData(msgspec.Struct, frozen=True):
    """The heading of a column and how its cells are written; shares get a bar."""

    name: str
    form: Form = "text"


class TableData(msgspec.Struct, frozen=True, kw_only=True):
    """A table of plain values; `sortable` lets the reader order it by any column."""

    caption: str
    columns: tuple[ColumnData, ...]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = False


class RangeData(msgspec.Struct, frozen=True, kw_only=True):
    """A share (0..1) known as a range, and the target it is held against."""

    label: str
    low: float
    typical: float
    high: float
    target: float | None = None


class Note(msgspec.Struct, frozen=True):
    """A term and what is meant by it."""

    term: str
    meaning: str


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One answer as a part of the page: what it says, the figures behind it, and how it was got."""

    title: str
    lead: str = ""
    ranges: tuple[RangeData, ...] = ()
    curves: tuple[CurveData, ...] = ()
    costs: tuple[CostData, ...] = ()
    flows: tuple[FlowsData, ...] = ()
    hours: tuple[HoursData, ...] = ()
    tables: tuple[TableData, ...] = ()
    notes: tuple[Note, ...] = ()
    citation: str = ""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One large number at the head of the page."""

    value: str
    label: str
    detail: str = ""


class ReportData(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report shows; where it rests on synthetic data, the page says so at its head."""

    title: str
    headline: str
    figures: tuple[Figure, ...] = ()
    map: MapData | None = None
    sections: tuple[Section, ...] = ()
    provenance: tuple[Note, ...] = ()
    synthetic: bool = False


def html_report(data: ReportData) -> str:
    """A whole HTML document; the page's policy forbids it to load anything or to run any script but its own."""
    style, script = _asset("report.css"), _asset("report.js")
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{escaped(data.title)}</title>\n<style>{style}</style>\n</head>\n<body>\n",
            _head(data),
            _contents(data.sections),
            _map(data.map) if data.map else "",
            "".join(_section(section, number) for number, section in enumerate(data.sections, 1)),
            _provenance(data.provenance),
            f'<script type="application/json" id="report-data">{_embedded(data)}</script>\n',
            f"<script>{script}</script>\n</body>\n</html>\n",
        )
    )


def formatted(cell: Cell, form: Form) -> str:
    """A cell as people read it; nan is `unknown`."""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, str):
        return cell
    if not math.isfinite(cell):
        return "unknown" if math.isnan(cell) else ("∞" if cell > 0 else "-∞")
    if form == "share":
        return f"{100 * cell:.1f} %"
    if form == "count" or isinstance(cell, int):
        return f"{cell:,.0f}"
    return f"{cell:,.4g}" if abs(cell) < 1e4 else f"{cell:,.0f}"


@cache
def _asset(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Source: W3C, Content Security Policy Level 3, section 6.7.2.5 (hashes of inline elements)."""
    hashes = [b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; base-uri 'none'"


def _embedded(data: ReportData) -> str:
    """The figures of the report for programs, written so that no text in them can end the script element."""
    plain = msgspec.structs.replace(data, map=None)
    text = msgspec.json.encode(plain).decode()
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _head(data: ReportData) -> str:
    banner = (
        '<p class="synthetic" role="note"><strong>SYNTHETIC</strong> This report rests on synthetic data: '
        "a made-up network on real places.</p>\n"
    )
    figures = "".join(
        f'<div class="figure"><dt>{escaped(figure.label)}</dt><dd><b>{escaped(figure.value)}</b>'
        f"<span>{escaped(figure.detail)}</span></dd></div>"
        for figure in data.figures
    )
    return (
        f'<header>{banner if data.synthetic else ""}<p class="kicker">{escaped(data.title)}</p>'
        f"<h1>{escaped(data.headline)}</h1>\n"
        + (f'<dl class="figures">{figures}</dl>\n' if figures else "")
        + "</header>\n"
    )


def _contents(sections: Sequence[Section]) -> str:
    links = "".join(f'<li><a href="#s{i}">{escaped(section.title)}</a></li>' for i, section in enumerate(sections, 1))
    return f'<nav aria-label="Contents"><ul>{links}<li><a href="#provenance">Provenance</a></li></ul></nav>\n'


def _map(data: MapData) -> str:
    items = "".join(
        f'<li><svg width="{item.width:.0f}" height="22" viewBox="0 0 {item.width:.0f} 22" aria-hidden="true">'
        f"{item.swatch}</svg>{escaped(item.text)}</li>"
        for item in [*legend(data), *station_legend(data.stations)]
    )
    buttons = "".join(
        f'<button type="button" data-zoom="{factor}" aria-label="{name}" title="{name}">{sign}</button>'
        for factor, name, sign in (("1.6", "Zoom in", "+"), ("0.625", "Zoom out", "\u2212"), ("0", "Whole map", "⤢"))
    )
    return (
        f'<figure id="map"><div class="mapbox">{svg_plot(data)}<div class="zoom">{buttons}</div>{_layers(data)}'
        f'<div class="tip" role="status" hidden></div></div>\n<ul class="legend">{items}</ul>\n'
        f"<figcaption>{escaped(data.subtitle or data.title)} "
        f'<span class="attribution">{escaped(data.attribution)}</span></figcaption></figure>\n'
    )


def _layers(data: MapData) -> str:
    """Buttons that show and hide what lies over one another, where there is more than one layer."""
    if not data.stations.stations:
        return ""
    buttons = "".join(
        f'<button type="button" data-layer="{name}" aria-pressed="true" title="Show or hide {name}">{name}</button>'
        for name in ("metros", "stations")
    )
    return f'<div class="layers">{buttons}</div>'


def _section(section: Section, number: int) -> str:
    return "".join(
        (
            f'<section id="s{number}"><h2>{escaped(section.title)}</h2>\n',
            f'<p class="lead">{escaped(section.lead)}</p>\n' if section.lead else "",
            f'<div class="ranges">{"".join(_range(item) for item in section.ranges)}</div>\n' if section.ranges else "",
            "".join(svg_curve(curve, label=escaped(curve.label)) for curve in section.curves),
            "".join(svg_cost(cost, label=escaped(cost.label)) for cost in section.costs),
            "".join(svg_flows(flows) for flows in section.flows),
            "".join(svg_hours(hours) for hours in section.hours),
            "".join(_table(table) for table in section.tables),
            _notes(section.notes),
            f'<p class="citation">{escaped(section.citation)}</p>\n' if section.citation else "",
            "</section>\n",
        )
    )


def _range(item: RangeData) -> str:
    low, typical, high = sorted(100 * share for share in (item.low, item.typical, item.high))
    target = ""
    if item.target is not None:
        at = 100 * item.target
        target = f'<path class="target" d="M{at:.2f} 0V14"/>'
    words = f"{100 * item.typical:.1f} % ({low:.1f} to {high:.1f} %)"
    return (
        f'<div class="range"><span>{escaped(item.label)}</span><svg viewBox="0 0 100 14" preserveAspectRatio="none" '
        f'aria-hidden="true"><rect class="track" y="4" width="100" height="6"/>'
        f'<rect class="span" x="{low:.2f}" y="4" width="{max(high - low, 0.3):.2f}" height="6"/>'
        f'<path class="typical" d="M{typical:.2f} 1V13"/>{target}</svg><b>{words}</b></div>'
    )


def _table(table: TableData) -> str:
    heads = "".join(_heading(column, table.sortable) for column in table.columns)
    rows = "".join(
        f"<tr>{''.join(_cell(cell, column) for cell, column in zip(row, table.columns, strict=True))}</tr>"
        for row in table.rows
    )
    kind = ' class="sortable"' if table.sortable else ""
    return (
        f'<div class="scroll"><table{kind}><caption>{escaped(table.caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>\n"
    )


def _heading(column: ColumnData, sortable: bool) -> str:
    name = escaped(column.name)
    kind = "" if column.form == "text" else ' class="n"'
    return f'<th scope="col"{kind}>{f"""<button type="button">{name}</button>""" if sortable else name}</th>'


def _cell(cell: Cell, column: ColumnData) -> str:
    text = escaped(formatted(cell, column.form))
    if column.form == "text" or isinstance(cell, str | bool):
        return f"<td>{text}</td>"
    bar = ""
    if column.form == "share" and math.isfinite(cell):
        width = f"{100 * min(max(cell, 0.0), 1.0):.1f}"
        bar = (
            '<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect class="track" width="100" height="4"/><rect class="span" width="{width}" height="4"/></svg>'
        )
    return f'<td class="n" data-v="{float(cell)!r}">{text}{bar}</td>'


def _notes(notes: Sequence[Note]) -> str:
    terms = "".join(f"<dt>{escaped(note.term)}</dt><dd>{escaped(note.meaning)}</dd>" for note in notes)
    return f'<dl class="notes">{terms}</dl>\n' if notes else ""


def _provenance(notes: Sequence[Note]) -> str:
    return f'<section id="provenance"><h2>Provenance</h2>\n{_notes(notes)}</section>\n'
