"""GraphML as the Internet Topology Zoo writes it: nodes with Latitude and Longitude, edges with a link speed.

Source: The Internet Topology Zoo (Knight and others, IEEE JSAC 29 (9), 2011), for the names of its attributes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from karez.errors import InputError
from karez.importers import xml
from karez.importers.networks import ROUTE_FACTOR, Draft, Fields, Line, Point, fields, finished, point_table
from karez.importers.quantities import factor, number
from karez.importers.report import Imported

_SPEED = ("LinkSpeedRaw", "LinkSpeed", "LinkSpeedUnits")
_BIT_PER_S_IN_GBPS = 1e-9


def read(source: Path, *, crs: str = "wgs84", route_factor: float = ROUTE_FACTOR) -> Imported:
    """The network of a GraphML file; nodes without a position are dropped, with their edges.

    Raises:
        InputError: the file cannot be read, is no GraphML, or nothing usable is left.
    """
    root = xml.root(source)
    xml.require_root(source, root, "graphml")
    graphs = xml.within(root, "graph")
    if len(graphs) != 1:
        raise InputError.of(source.name, f"holds {len(graphs)} graphs", "give a file of one graph")
    draft = Draft(source.name)
    keys = {key.get("id"): key.get("attr.name") or key.get("id") for key in xml.within(root, "key")}
    _add_points(draft, graphs[0], keys)
    _add_lines(draft, graphs[0], keys)
    return finished(draft, crs=crs, route_factor=route_factor)


def _properties(element: Any, keys: Mapping[str | None, str]) -> dict[str, object]:
    """What an element says of itself, by the names of the attributes; its own id is not among them."""
    found = {keys.get(data.get("key"), ""): (data.text or "").strip() for data in xml.within(element, "data")}
    return {name: value for name, value in found.items() if name and value and name != "id"}


def _names(rows: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _left(draft: Draft, what: str, columns: Fields) -> None:
    left = [name for name in columns.left if name not in _SPEED]
    if left:
        draft.assumed.append(f"left out of {what}: {', '.join(left)}")


def _add_points(draft: Draft, graph: Any, keys: Mapping[str | None, str]) -> None:
    nodes = xml.within(graph, "node")
    rows = [_properties(node, keys) for node in nodes]
    columns = fields(draft.file, _names(rows), "sites")
    for node, row in zip(nodes, rows, strict=True):
        name, kind = node.get("id") or "", columns.text(row, "kind")
        draft.points.append(
            Point(
                row=f"node {name or node.sourceline}",
                id=name,
                lon=columns.number(row, "lon"),
                lat=columns.number(row, "lat"),
                name=columns.text(row, "name"),
                table=point_table([kind]),
                kind=kind,
                metro=columns.text(row, "metro"),
            )
        )
    _left(draft, "nodes", columns)


def _add_lines(draft: Draft, graph: Any, keys: Mapping[str | None, str]) -> None:
    edges = xml.within(graph, "edge")
    rows = [_properties(edge, keys) for edge in edges]
    columns = fields(draft.file, _names(rows), "links")
    # Old writers number the edges between two nodes there, so that an id may stand for many.
    times = Counter(edge.get("id") for edge in edges)
    usual = "forward" if graph.get("edgedefault") == "directed" else "both"
    for edge, row in zip(edges, rows, strict=True):
        a, b = edge.get("source") or "", edge.get("target") or ""
        label = f"edge {edge.get('id') or f'{a}-{b}'}"
        unread = [ours for ours in ("length_km", "capacity_gbps") if columns.unread(row, ours)]
        if unread:
            draft.drop(label, f"its {unread[0]} cannot be read: give a number with its unit")
            continue
        directed = {"true": "forward", "false": "both"}.get(edge.get("directed") or "", usual)
        draft.lines.append(
            Line(
                row=label,
                a=a,
                b=b,
                id=(edge.get("id") or "") if times[edge.get("id")] == 1 else "",
                length_km=columns.number(row, "length_km"),
                capacity_gbps=_capacity_gbps(row, columns),
                kind=columns.text(row, "kind"),
                direction=directed,
            )
        )
    _left(draft, "edges", columns)


def _capacity_gbps(row: Mapping[str, object], columns: Fields) -> float:
    raw = number(row.get("LinkSpeedRaw")) * _BIT_PER_S_IN_GBPS
    if math.isnan(raw):
        raw = number(row.get("LinkSpeed")) * factor(str(row.get("LinkSpeedUnits", "")), "gbps")
    return columns.number(row, "capacity_gbps") if math.isnan(raw) else raw
