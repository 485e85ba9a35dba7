"""RFC 8345 topologies in JSON, read and written.

A link of RFC 8345 has one direction; two that run between the same termination points, there and back, and say the
same, are one link here. What the standard has no word for (metro, kind, length and so on) is written in members of
our own module, `karez-topology`, which readers that do not know it may ignore.

Source: RFC 8345 (networks, nodes, links), RFC 8346 (layer 3), RFC 9179 (positions), RFC 7951 (decimals are texts).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from karez.errors import InputError
from karez.importers.networks import ROUTE_FACTOR, Draft, Line, Point, finished
from karez.importers.quantities import number
from karez.importers.report import Dropped, Imported, json
from karez.twin import Table, Twin, schema
from karez.twin.check import check
from karez.twin.schema import ColumnSpec, Value
from karez.twin.table import Array

NETWORKS, TOPOLOGY = "ietf-network:networks", "ietf-network-topology:"
L3, POSITION, OURS = "ietf-l3-unicast-topology:", "ietf-geo-location:geo-location", "karez-topology:"
# Tables that the format can carry: nodes and links by the standard, the rest beside them.
REGIONS = ("provinces", "metros", "domains", "ducts")
WRITTEN = (*REGIONS, "sites", "stations", "links", "link_support")
BACK = "/back"
LAYERS = ("optical", "ip")
# How many members deep a position is looked for in a node.
DEEPEST = 4
_Json = dict[str, Any]


def read(source: Path, *, crs: str = "wgs84", route_factor: float = ROUTE_FACTOR) -> Imported:
    """The network of an RFC 8345 file.

    Raises:
        InputError: the file cannot be read, is no such topology, or nothing usable is left.
    """
    return of(json(source), source.name, crs=crs, route_factor=route_factor)


def of(body: Any, file: str, *, crs: str = "wgs84", route_factor: float = ROUTE_FACTOR) -> Imported:
    """The network of what an RFC 8345 file holds.

    Raises:
        InputError: as `read`.
    """
    networks = _list(_member(body, NETWORKS), "network")
    if not networks:
        raise InputError.of(file, f"holds no {NETWORKS}", "give an RFC 8345 topology, or another --format")
    draft = Draft(file, given=_given(body))
    nodes = _nodes(networks)
    own_of_sites = _add_points(draft, nodes)
    links = _links(draft, nodes, networks)
    # A way back stands for the link that it is the way back of, and so one link may stand twice.
    draft.lines = list({id(link): link.line for link in links.values()}.values())
    _say_what_is_left(draft, networks)
    found = finished(draft, crs=crs, route_factor=route_factor)
    own_of_links = {link.line.id: link.own for link in links.values()}
    tables = [_overlaid(found.twin[name], own_of_sites) for name in ("sites", "stations")]
    twin = found.twin.replace(*tables, _overlaid(found.twin["links"], own_of_links))
    support, lost = _support(twin, body, draft, links)
    twin = twin.replace(support)
    if problems := check(twin):
        raise InputError(problems)
    return Imported(twin, (*found.dropped, *lost), found.assumed)


def write(twin: Twin) -> _Json:
    """The sites, stations and links of a twin as RFC 8345 has them, one network a layer, and the regions beside them.

    What else the twin holds is not written; `WRITTEN` names the tables that are.
    """
    body: _Json = {
        "network": [_network(twin, layer) for layer in LAYERS if layer == LAYERS[0] or _rows(twin, layer).any()]
    }
    beside = {name: _records(twin[name]) for name in (*REGIONS, "link_support") if len(twin[name])}
    return {NETWORKS: body} | ({f"{OURS}tables": beside} if beside else {})


def _rows(twin: Twin, layer: str) -> Array:
    rows: Array = twin["links"]["layer"] == layer.encode()
    return rows


def _records(table: Table, rows: Array | slice = slice(None), leave: Sequence[str] = ()) -> list[_Json]:
    """Rows without what is absent anyway; numbers that JSON lacks are texts."""
    specs = schema.tables()[table.name]
    return [
        {
            name: _plain(value)
            for name, value in row.items()
            if name not in leave and (name == "capacity_gbps" or not _absent(specs[name], value))
        }
        for row in table.records(rows)
    ]


def _absent(spec: ColumnSpec, value: Value) -> bool:
    return not spec.required and (value == spec.absent or (value != value and spec.absent != spec.absent))


def _plain(value: Value) -> Value:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _network(twin: Twin, layer: str) -> _Json:
    links, support = twin["links"], _supported(twin)
    rows = np.flatnonzero(_rows(twin, layer))
    taken = {value.decode() for value in links.ids.tolist()}
    written = [
        link
        for own, record in zip(_records(links, rows, _SAID), links.records(rows), strict=True)
        for link in _written_links(record, own, support, taken)
    ]
    ends: dict[str, list[str]] = {}
    for record in links.records(rows):
        for end in "ab":
            ends.setdefault(str(record[end]), []).append(str(record["id"]))
    kind = f"{L3}l3-unicast-topology" if layer == "ip" else f"{OURS}optical-topology"
    found: _Json = {"network-id": layer, "network-types": {kind: {}}}
    if layer == "ip":
        found["supporting-network"] = [{"network-ref": LAYERS[0]}]
    found["node"] = list(_written_nodes(twin, layer, ends))
    return found | ({f"{TOPOLOGY}link": written} if written else {})


# Columns of a link that the standard's own words say.
_SAID = ("id", "a", "b", "layer", "direction")


def _written_nodes(twin: Twin, layer: str, ends: Mapping[str, Sequence[str]]) -> Iterator[_Json]:
    for table in ("sites", "stations"):
        for own, row in zip(_records(twin[table], leave=("id", "lon", "lat")), twin[table].records(), strict=True):
            name = str(row["id"])
            points = [{"tp-id": link} for link in ends.get(name, ())]
            node: _Json = {"node-id": name} | ({f"{TOPOLOGY}termination-point": points} if points else {})
            if layer == LAYERS[0]:
                yield node | {POSITION: _written_position(row), f"{OURS}node": {"table": table, **own}}
            elif name in ends:
                known = {f"{L3}l3-node-attributes": {"name": row["name"]}} if row.get("name") else {}
                yield node | {"supporting-node": [{"network-ref": LAYERS[0], "node-ref": name}]} | known


def _written_position(row: Mapping[str, Value]) -> _Json:
    lat, lon = (np.format_float_positional(float(row[name]), trim="0") for name in ("lat", "lon"))
    frame = {"geodetic-system": {"geodetic-datum": "wgs-84"}}
    return {"reference-frame": frame, "location": {"latitude": lat, "longitude": lon}}


def _written_links(
    row: Mapping[str, Value], own: _Json, support: Mapping[str, list[tuple[str, str]]], taken: set[str]
) -> Iterator[_Json]:
    """The link, and its way back where traffic passes both ways."""
    name, a, b = (str(row[column]) for column in ("id", "a", "b"))
    below = [{"network-ref": layer, "link-ref": link} for layer, link in support.get(name, ())]
    for link, tail, head in [(name, a, b)] + ([(_free(name, taken), b, a)] if row["direction"] == "both" else []):
        yield {
            "link-id": link,
            "source": {"source-node": tail, "source-tp": name},
            "destination": {"dest-node": head, "dest-tp": name},
            f"{OURS}link": own,
        } | ({"supporting-link": below} if below else {})


def _free(name: str, taken: set[str]) -> str:
    while (name := f"{name}{BACK}") in taken:
        pass
    taken.add(name)
    return name


def _supported(twin: Twin) -> dict[str, list[tuple[str, str]]]:
    """For each link the layer and id of those that carry it."""
    links, found = twin["links"], dict[str, list[tuple[str, str]]]()
    for row in twin["link_support"].records():
        below = str(row["supported_by"])
        if below:
            found.setdefault(str(row["link"]), []).append((str(links.cell(below, "layer")), below))
    return found


class _Node(NamedTuple):
    network: str
    name: str
    layer: str
    body: _Json
    below: tuple[str, str] | None


@dataclass
class _Link:
    line: Line
    own: _Json
    below: list[tuple[str, str]]


_Nodes = dict[tuple[str, str], _Node]
_Links = dict[tuple[str, str], _Link]


def _member(body: Any, name: str) -> Any:
    """A member by its name with or without the module; None where there is none."""
    if not isinstance(body, dict):
        return None
    return body.get(name, body.get(name.partition(":")[2]))


def _list(body: Any, name: str) -> list[_Json]:
    found = _member(body, name) if ":" in name else body.get(name) if isinstance(body, dict) else None
    return [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []


def _text(body: Any, name: str) -> str:
    found = body.get(name) if isinstance(body, dict) else None
    return found if isinstance(found, str) else ""


def _layer(network: _Json) -> str:
    """The layer that a network is of, as far as its types or what it rests on say so."""
    kinds = network.get("network-types")
    # A type may stand within another, as WSON does within TE.
    words = str(kinds) if isinstance(kinds, dict) else ""
    if "l3-" in words or "l2-" in words:
        return "ip"
    if "optical" in words or "wson" in words or "otn" in words:
        return "optical"
    return "ip" if network.get("supporting-network") else ""


def _nodes(networks: Sequence[_Json]) -> _Nodes:
    found: _Nodes = {}
    for network in networks:
        name, layer = _text(network, "network-id"), _layer(network)
        for node in _list(network, "node"):
            below = [(_text(each, "network-ref"), _text(each, "node-ref")) for each in _list(node, "supporting-node")]
            key = (name, _text(node, "node-id"))
            found.setdefault(key, _Node(*key, layer, node, below[0] if len(below) == 1 else None))
    return found


def _bottom(nodes: _Nodes, key: tuple[str, str]) -> tuple[str, str]:
    """The node that a node rests on in the end; itself where it rests on none, or on several."""
    met = {key}
    while (below := nodes[key].below) in nodes and below not in met:
        assert below is not None
        met.add(below)
        key = below
    return key


def _site_ids(nodes: _Nodes) -> dict[tuple[str, str], str]:
    """The site of each node; node ids are those of one network only, so what two bear is told apart by the network."""
    bottoms = {key: _bottom(nodes, key) for key in nodes}
    times = Counter(name for _, name in set(bottoms.values()))
    return {key: name if times[name] == 1 else f"{network}/{name}" for key, (network, name) in bottoms.items()}


def _add_points(draft: Draft, nodes: _Nodes) -> dict[str, _Json]:
    """A point for each site; what our own members say of it comes back by its id."""
    own_of: dict[str, _Json] = {}
    points: dict[str, Point] = {}
    ids = _site_ids(nodes)
    for key, node in nodes.items():
        name = ids[key]
        own = _dict(node.body, f"{OURS}node")
        own_of[name] = own_of.get(name, {}) | own
        point = points.setdefault(name, Point(f"node {key[1]}", name))
        lon, lat = _position(node.body)
        if math.isnan(point.lon) or math.isnan(point.lat):
            point.lon, point.lat = lon, lat
        point.table = "stations" if own.get("table") == "stations" else point.table
        point.name = point.name or _text(own, "name") or _text(_dict(node.body, f"{L3}l3-node-attributes"), "name")
        point.kind = point.kind or _text(own, "kind")
        point.metro = point.metro or _text(own, "metro")
    draft.points = list(points.values())
    return own_of


def _dict(body: Any, name: str) -> _Json:
    found = body.get(name) if isinstance(body, dict) else None
    return found if isinstance(found, dict) else {}


def _position(node: _Json) -> tuple[float, float]:
    """Longitude and latitude, from whatever member of the node has both."""
    ahead: list[tuple[int, _Json]] = [(0, node)]
    while ahead:
        depth, body = ahead.pop(0)
        if "latitude" in body and "longitude" in body:
            return number(body["longitude"]), number(body["latitude"])
        if depth < DEEPEST:
            ahead += [(depth + 1, part) for part in body.values() if isinstance(part, dict)]
    return math.nan, math.nan


def _links(draft: Draft, nodes: _Nodes, networks: Sequence[_Json]) -> _Links:
    """The links by network and id; a way back bears the link that it is the way back of."""
    ids = _site_ids(nodes)
    listed = [
        (_text(network, "network-id"), _layer(network), link) for network in networks for link in _linked(network)
    ]
    times = Counter(_text(link, "link-id") for _, _, link in listed)
    waiting: dict[tuple[object, ...], list[_Link]] = defaultdict(list)
    found: _Links = {}
    for network, layer, body in listed:
        name = _text(body, "link-id")
        source, target = _dict(body, "source"), _dict(body, "destination")
        a, b = _text(source, "source-node"), _text(target, "dest-node")
        own = _dict(body, f"{OURS}link")
        below = [(_text(each, "network-ref"), _text(each, "link-ref")) for each in _list(body, "supporting-link")]
        line = Line(
            row=f"link {name}",
            id=name if times[name] == 1 or not name else f"{network}/{name}",
            a=ids.get((network, a), a),
            b=ids.get((network, b), b),
            length_km=number(own.get("length_km")),
            capacity_gbps=number(own.get("capacity_gbps")),
            kind=_text(own, "kind"),
            layer=layer,
            direction="forward",
        )
        ends = (_text(source, "source-tp"), _text(target, "dest-tp"))
        said = repr(sorted(own.items()))
        if there := waiting[network, line.b, ends[1], line.a, ends[0], said]:
            first = there.pop(0)
            first.line.direction = "both"
            first.below += below
            found[network, name] = first
        else:
            link = _Link(line, own, below)
            waiting[network, line.a, ends[0], line.b, ends[1], said].append(link)
            found.setdefault((network, name or f"{len(found)}"), link)
    return found


def _linked(network: _Json) -> list[_Json]:
    return _list(network, f"{TOPOLOGY}link")


def _say_what_is_left(draft: Draft, networks: Sequence[_Json]) -> None:
    for what, known in (("node", _KNOWN_NODE), ("link", _KNOWN_LINK)):
        rows = [row for network in networks for row in (_list(network, what) if what == "node" else _linked(network))]
        left = dict.fromkeys(name for row in rows for name in row if name.rpartition(":")[2] not in known)
        if left:
            draft.assumed.append(f"left out of {what}s: {', '.join(left)}")


_KNOWN_NODE = ("node-id", "supporting-node", "termination-point", "l3-node-attributes", "geo-location", "node")
_KNOWN_LINK = ("link-id", "source", "destination", "supporting-link", "link")


def _given(body: Any) -> dict[str, Table]:
    """The tables that stand beside the networks.

    Raises:
        InputError: what is wrong with them.
    """
    beside = _dict(body, f"{OURS}tables")
    return {name: _table(name, _list(beside, name)) for name in REGIONS if _list(beside, name)}


def _table(name: str, rows: Sequence[_Json]) -> Table:
    specs = schema.tables()[name]
    columns: dict[str, list[Value]] = {}
    for column, spec in specs.items():
        if spec.required or any(column in row for row in rows):
            values = [_value(spec, row.get(column, spec.absent)) for row in rows]
            if any(value is None for value in values):
                raise InputError.of(f"{OURS}tables", f"{spec.where} holds what is not {spec.dtype}", "correct it")
            columns[column] = [value for value in values if value is not None]
    return Table.of(name, columns)


def _value(spec: ColumnSpec, value: object) -> Value | None:
    """The value in the type of the column; None where it is of another."""
    if spec.dtype == "float" and isinstance(value, str):
        return float(value) if value in ("inf", "-inf", "nan") else None
    if spec.dtype == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    kinds: dict[str, type] = {"text": str, "int": int, "bool": bool}
    fits = isinstance(value, kinds.get(spec.dtype, float)) and (spec.dtype == "bool" or not isinstance(value, bool))
    return value if fits and isinstance(value, str | int | float) else None


def _overlaid(table: Table, own_of: Mapping[str, _Json]) -> Table:
    """The table with the columns that our own members say."""
    for name, spec in schema.tables()[table.name].items():
        rows, values = [], []
        for row, row_id in enumerate(value.decode() for value in table.ids.tolist()):
            own = own_of.get(row_id, {})
            if name != "id" and name in own:
                value = _value(spec, own[name])
                if value is None:
                    raise InputError.of(f"{OURS}{table.name}", f"{name} is not {spec.dtype}", "correct it", [row_id])
                rows.append(row)
                values.append(value)
        if rows:
            table = table.set(np.array(rows), **{name: values})
    return table


def _support(twin: Twin, body: Any, draft: Draft, links: _Links) -> tuple[Table, list[Dropped]]:
    """What carries what: the rows beside the networks, and what links say besides; and the rows that are lost."""
    kept = {value.decode() for value in twin["links"].ids.tolist()}
    rows: dict[str, _Json] = {}
    lost: list[Dropped] = []
    for row in _list(_dict(body, f"{OURS}tables"), "link_support"):
        if row.get("link") in kept and row.get("supported_by", "") in {"", *kept}:
            rows[str(row.get("id"))] = row
        else:
            lost.append(
                Dropped(draft.file, f"link_support {row.get('id')}", "a link of it is not there or was dropped")
            )
    told = {(row["link"], row.get("supported_by", "")) for row in rows.values()}
    for link in {id(link): link for link in links.values()}.values():
        for key in link.below:
            below = links[key].line.id if key in links else key[1]
            row_id = f"{link.line.id}>{below}"
            if not {link.line.id, below} <= kept:
                lost.append(
                    Dropped(
                        draft.file, f"supporting-link of {link.line.id}", "what carries it is not there or was dropped"
                    )
                )
            elif (link.line.id, below) not in told:
                rows[row_id] = {"id": row_id, "link": link.line.id, "supported_by": below}
    return _table("link_support", list(rows.values())) if rows else Table.of("link_support"), lost
