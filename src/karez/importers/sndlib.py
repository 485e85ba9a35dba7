"""SNDlib networks in their native XML: nodes, links with what is installed, and demands.

Source: SNDlib 1.0 (Orlowski, Wessaely, Pioro, Tomaszewski, Networks 55 (3), 2010) and the schema of its XML format.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from karez.errors import InputError
from karez.importers import xml
from karez.importers.networks import ROUTE_FACTOR, Demand, Draft, Line, Point, finished
from karez.importers.quantities import factor, number
from karez.importers.report import Imported

UNIT = "MBITPERSEC"


def read(source: Path, *, crs: str = "wgs84", route_factor: float = ROUTE_FACTOR) -> Imported:
    """The network of an SNDlib file.

    Raises:
        InputError: the file cannot be read, is no SNDlib network, has positions in pixels, or nothing usable is left.
    """
    root = xml.root(source)
    xml.require_root(source, root, "network")
    for nodes in xml.within(root, "networkStructure", "nodes"):
        if nodes.get("coordinatesType", "geographical") != "geographical":
            what = f"its positions are {nodes.get('coordinatesType')}s of a drawing"
            raise InputError.of(source.name, what, "give a file with geographical coordinates")
    draft = Draft(source.name)
    per_unit = _gbps_per_unit(draft, xml.text(root, "meta", "unit"))
    draft.points = [_point(node) for node in xml.within(root, "networkStructure", "nodes", "node")]
    draft.lines = [_line(link, per_unit) for link in xml.within(root, "networkStructure", "links", "link")]
    draft.demands = [_demand(demand, per_unit) for demand in xml.within(root, "demands", "demand")]
    return finished(draft, crs=crs, route_factor=route_factor)


def _gbps_per_unit(draft: Draft, unit: str) -> float:
    """Gbit/s in one of the file's units of traffic."""
    found = factor(unit, "gbps")
    if not math.isnan(found):
        return found
    draft.assumed.append(f"unit of capacity and traffic (told: {unit or 'none'}): Mbit/s")
    return factor(UNIT, "gbps")


def _point(node: Any) -> Point:
    name = node.get("id") or ""
    lon, lat = (number(xml.text(node, "coordinates", axis)) for axis in "xy")
    return Point(row=f"node {name or node.sourceline}", id=name, lon=lon, lat=lat, name=name)


def _line(link: Any, per_unit: float) -> Line:
    name = link.get("id") or ""
    capacity = number(xml.text(link, "preInstalledModule", "capacity")) * per_unit
    # Nothing installed yet is not a link without capacity: what could be installed says nothing of what is.
    return Line(
        row=f"link {name or link.sourceline}",
        id=name,
        a=xml.text(link, "source"),
        b=xml.text(link, "target"),
        capacity_gbps=capacity if capacity > 0 else math.nan,
    )


def _demand(demand: Any, per_unit: float) -> Demand:
    name = demand.get("id") or ""
    gbps = number(xml.text(demand, "demandValue")) * per_unit
    ends = (xml.text(demand, "source"), xml.text(demand, "target"))
    return Demand(f"demand {name or demand.sourceline}", name or "-".join(ends), *ends, gbps)
