"""Networks that come with the library topohub: `topohub:topozoo/Chinanet`, `topohub:sndlib/abilene` and so on.

Source: TopoHub (P. Jurkiewicz, SoftwareX 24, 2023): Topology Zoo, SNDlib, a world of sea and land cables (backbone),
and, for whoever accepts its terms, CAIDA's ITDK by autonomous system.
"""

from __future__ import annotations

from importlib import resources
from pathlib import PurePosixPath
from typing import Any

import msgspec

from karez.errors import InputError
from karez.importers.networks import ROUTE_FACTOR, Demand, Draft, Line, Point, finished
from karez.importers.quantities import number
from karez.importers.report import Imported, extra

PREFIX = "topohub:"
GROUPS = ("topozoo", "sndlib", "backbone")
CAIDA = "caida"
# Its drawing is so small that every position could be one on Earth.
DRAWN = ("sndlib/india35",)
GBPS_PER_UNIT = 1e-3
SHOWN_NAMES = 8


def read(name: str, *, caida: bool = False, route_factor: float = ROUTE_FACTOR) -> Imported:
    """The network of a name such as `topozoo/Chinanet`; those of CAIDA only with `caida`, since its terms apply.

    Raises:
        InputError: there is no such network, it is none of this world, or it is CAIDA's and was not asked for.
    """
    group = name.partition("/")[0]
    if group == CAIDA and not caida:
        what = "comes from CAIDA: IP adjacencies, not fibre, under CAIDA's terms of use"
        raise InputError.of(f"{PREFIX}{name}", what, "read the terms, then ask for it with --caida")
    if group not in (*GROUPS, CAIDA):
        fix = f"give GROUP/NAME, the group one of {', '.join(GROUPS)}"
        raise InputError.of(f"{PREFIX}{name}", "is in no group of networks on Earth", fix)
    draft = _draft(name, _body(name))
    drawn = [point.row for point in draft.points if abs(point.lon) > 180 or abs(point.lat) > 90]
    if drawn or name in DRAWN:
        raise InputError.of(draft.file, "its positions are those of a drawing", "choose another network", drawn)
    if group == CAIDA:
        draft.assumed.append("links: IP adjacencies, not fibre (CAIDA's terms)")
    return finished(draft, crs="wgs84", route_factor=route_factor)


def names(group: str) -> list[str]:
    """The names of the networks of a group, such as `topozoo/Chinanet`.

    Raises:
        InputError: the library topohub is not installed.
    """
    extra("topohub")
    found: list[str] = []
    ahead = [(group, resources.files("topohub") / "data" / group)]
    while ahead:
        path, folder = ahead.pop()
        for entry in folder.iterdir():
            if entry.is_dir():
                ahead.append((f"{path}/{entry.name}", entry))
            elif entry.name.endswith(".json"):
                found.append(f"{path}/{entry.name.removesuffix('.json')}")
    return sorted(found)


def _body(name: str) -> dict[str, Any]:
    known = names(name.partition("/")[0])
    if name not in known:
        word = PurePosixPath(name).name.lower()
        like = [each for each in known if word and word in each.lower()] or known
        more = f" and {len(like) - SHOWN_NAMES} more" if len(like) > SHOWN_NAMES else ""
        raise InputError.of(f"{PREFIX}{name}", "no such network", f"give one of {', '.join(like[:SHOWN_NAMES])}{more}")
    data = (resources.files("topohub") / "data" / f"{name}.json").read_bytes()
    body: dict[str, Any] = msgspec.json.decode(data)
    return body


def _draft(name: str, body: dict[str, Any]) -> Draft:
    draft = Draft(f"{PREFIX}{name}")
    for node in body["nodes"]:
        lon, lat = (number(value) for value in node["pos"])
        own = str(node["id"])
        draft.points.append(Point(f"node {own}", own, lon, lat, name=str(node.get("name", ""))))
    for edge in body["edges"]:
        a, b = str(edge["source"]), str(edge["target"])
        # Its lengths are great circles, so they are computed here like any other that nobody told.
        draft.lines.append(Line(f"edge {a}-{b}", a, b))
    for a, targets in body["graph"]["demands"].items():
        for b, amount in targets.items():
            draft.demands.append(Demand(f"demand {a}-{b}", f"{a}-{b}", a, b, number(amount) * GBPS_PER_UNIT))
    if draft.demands:
        draft.assumed.append("unit of traffic (told: none): Mbit/s")
    return draft
