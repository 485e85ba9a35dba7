from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import karez
from karez.errors import InputError
from karez.faces import cli, questions
from karez.importers import formats, geojson, gnpy, graphml, report, rfc8345, sndlib, topohub_
from karez.importers.crs import to_wgs84, wgs84_to_bd09, wgs84_to_gcj02
from karez.importers.networks import Demand, Draft, Line, Point, finished
from karez.importers.quantities import factor, number, quantity
from karez.importers.remarks import remarks
from karez.importers.report import Dropped, Imported
from karez.operations import ImportQuestion
from karez.twin import Table, Twin
from karez.twin.check import check
from karez.twin.geo import great_circle_km
from tests.strategies import sound_twin, sound_twins

CASES = Path(__file__).parent / "cases" / "formats"
LINKS = ("id", "a", "b", "length_km", "capacity_gbps", "layer", "direction")


def links(found: Imported) -> list[tuple[object, ...]]:
    rows = found.twin["links"].records()
    return [tuple(round(v, 3) if isinstance(v, float) else v for v in (row[c] for c in LINKS)) for row in rows]


def drops(found: Imported) -> dict[str, str]:
    assert len({each.row for each in found.dropped}) == len(found.dropped)
    return {each.row: each.why for each in found.dropped}


def refusal(source: Path | str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        formats.read_any(str(source), **options)
    return str(caught.value)


def put(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_points_and_lines_of_geojson_become_sites_stations_and_links_and_every_other_row_is_told() -> None:
    found = formats.read_any(str(CASES / "metro.geojson"))
    drawn_km = great_circle_km(
        *(np.array(v) for v in ([103.8001, 103.85], [36.0601, 36.09], [103.85, 103.9001], [36.09, 36.0599]))
    )
    assert links(found) == [
        ("F1", "C1", "A1", round(float(drawn_km.sum()), 3), 10.0, "optical", "both"),
        ("F2", "A1", "7", 4.8, 0.4, "optical", "both"),
    ]
    assert found.twin["sites"].records()[1]["name"] == "Lanzhou core"
    assert (found.twin["sites"]["kind"].tolist(), found.twin["sites"]["metro"].tolist()) == (
        [b"access", b"core"],
        [b"lz"] * 2,
    )
    assert found.twin["stations"].records() == [{"id": "7", "metro": "lz", "lon": 103.95, "lat": 36.06, "weight": 2.5}]
    assert drops(found) == {
        "feature 6": "an end is no property of it, and no site is within 1 km of where it ends",
        "feature 7": "its length_km cannot be read: give a number with its unit",
        "feature 8": "the same id stands in several rows",
        "feature 9": "is a Polygon, neither a Point nor a LineString",
        "feature 10": "has no geometry",
    }
    assert "length of 1 link: that of the line as drawn" in found.assumed
    assert "metro of 1 station: that of the nearest site" in found.assumed


def test_the_nodes_of_a_zoo_graph_become_sites_and_parallel_edges_stay_two_links() -> None:
    found = formats.read_any(str(CASES / "zoo.graphml"), route_factor=2.0)
    straight_km = float(great_circle_km(*(np.array(v) for v in (116.4, 39.9, 103.79, 36.06))))
    assert links(found) == [
        ("0-1", "0", "1", round(2 * straight_km, 3), 2.5, "optical", "both"),
        ("0-1#2", "0", "1", round(2 * straight_km, 3), 10.0, "optical", "both"),
        ("e3", "1", "2", round(1240 * 1.609344, 3), 100.0, "optical", "both"),
    ]
    assert found.twin["sites"]["name"].tolist() == [b"Beijing", b"Lanzhou", b"Shanghai"]
    assert drops(found) == {
        "edge e2": "its length_km cannot be read: give a number with its unit",
        "node 3": "has no position",
        "edge e4": "an end is not there or was dropped",
        "edge e5": "both ends are the same",
        "edge e6": "an end is not there or was dropped",
    }
    assert "length of 2 links: great circle of its ends times 2" in found.assumed
    assert "left out of nodes: Country" in found.assumed


@pytest.mark.parametrize("encoding", ["UTF-8", "ISO-8859-1"])
def test_an_sndlib_network_keeps_what_is_installed_and_its_demands(tmp_path: Path, encoding: str) -> None:
    text = (CASES / "sndlib.xml").read_text("utf-8").replace("UTF-8", encoding)
    found = formats.read_any(str(put(tmp_path / "n.xml", text.encode(encoding))))
    assert [row[:3] + row[4:] for row in links(found)] == [
        ("L1", "Köln", "Ulm", 40.0, "optical", "both"),
        ("L2", "Köln", "Bonn", 100.0, "optical", "both"),
    ]
    assert [(r["id"], r["gbps"]) for r in found.twin["demands"].records()] == [("D1", 1.5)]
    assert drops(found) == {
        "link L2": "the same id stands in several rows",
        "demand D2": "an end is not there or was dropped",
        "demand D3": "its traffic is no number of at least 0",
    }
    assert "capacity of 1 link: 100 Gbit/s" in found.assumed


def test_an_sndlib_network_drawn_in_pixels_is_refused(tmp_path: Path) -> None:
    text = (CASES / "sndlib.xml").read_text("utf-8").replace("geographical", "pixel")
    assert "its positions are pixels of a drawing" in refusal(put(tmp_path / "n.xml", text))


def test_a_unit_that_sndlib_does_not_tell_is_assumed_and_said(tmp_path: Path) -> None:
    text = (CASES / "sndlib.xml").read_text("utf-8").replace("<unit>MBITPERSEC</unit>", "")
    found = formats.read_any(str(put(tmp_path / "n.xml", text)))
    assert found.twin["demands"]["gbps"].tolist() == [1.5]
    assert "unit of capacity and traffic (told: none): Mbit/s" in found.assumed


def test_layers_of_rfc8345_share_sites_and_a_link_there_and_back_is_one() -> None:
    found = formats.read_any(str(CASES / "two-layers.json"))
    assert [(row[0], row[1], row[2], row[5], row[6]) for row in links(found)] == [
        ("ring/W1", "O1", "O2", "optical", "both"),
        ("routers/W1", "O1", "O2", "ip", "both"),
    ]
    assert found.twin["sites"]["name"].tolist() == [b"lz-pe-1", b""]
    assert [(r["link"], r["supported_by"]) for r in found.twin["link_support"].records()] == [("routers/W1", "ring/W1")]
    assert drops(found) == {
        "node O3": "has no position",
        "link W2": "an end is not there or was dropped",
        "supporting-link of routers/W1": "what carries it is not there or was dropped",
    }
    assert "left out of links: ietf-l3-unicast-topology:l3-link-attributes" in found.assumed


@st.composite
def layered(draw: st.DrawFn) -> Twin:
    """A sound twin with links of both layers and directions, ducts, and links that rest on them or on each other."""
    twin = draw(sound_twins())
    table = twin["links"]
    rows = np.arange(len(table))
    layers = draw(st.lists(st.sampled_from(["optical", "ip"]), min_size=len(rows), max_size=len(rows)))
    ways = draw(st.lists(st.sampled_from(["both", "forward"]), min_size=len(rows), max_size=len(rows)))
    until = draw(st.lists(st.sampled_from([math.inf, 5e9]), min_size=len(rows), max_size=len(rows)))
    table = table.set(rows, layer=layers, direction=ways, valid_to_s=until)
    # Two links of one id and its way back, so that what is made up for a way back may be taken already.
    more = {column: table[column][:1] for column in table.columns} | {"id": [f"{table.ids[0].decode()}/back"]}
    table = table.add(more)
    names = [value.decode() for value in table.ids]
    pairs = draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from([*names, ""])), unique=True, max_size=6))
    support = {
        "id": [f"u{number}" for number in range(len(pairs))],
        "link": [link for link, _ in pairs],
        "supported_by": [below for _, below in pairs],
        "duct": [draw(st.sampled_from(["", "d1"])) for _ in pairs],
    }
    ducts = Table.of("ducts", {"id": ["d1"], "name": ["京 duct"]})
    return twin.replace(table, ducts, Table.of("link_support", support if pairs else None))


@given(layered())
@settings(max_examples=60, deadline=None)
def test_a_twin_written_as_rfc8345_is_read_back_the_same(twin: Twin) -> None:
    assert check(twin) == []
    body = json.loads(json.dumps(rfc8345.write(twin), allow_nan=False))
    found = rfc8345.of(body, "x.json")
    assert {n for n in rfc8345.WRITTEN if found.twin[n].digest != twin[n].digest} == set()
    assert found.dropped == ()


def test_what_is_written_as_rfc8345_is_shaped_as_the_standard_says() -> None:
    twin = sound_twin(links=2)
    body = rfc8345.write(twin.replace(twin["links"].set(np.array([0]), layer="ip")))
    optical, ip = body["ietf-network:networks"]["network"]
    assert (optical["network-id"], ip["supporting-network"]) == ("optical", [{"network-ref": "optical"}])
    known = {(n["node-id"], t["tp-id"]) for n in ip["node"] for t in n["ietf-network-topology:termination-point"]}
    ids = [link["link-id"] for link in ip["ietf-network-topology:link"]]
    assert len(ids) == len(set(ids)) == 2
    for link in ip["ietf-network-topology:link"]:
        assert (link["source"]["source-node"], link["source"]["source-tp"]) in known
        assert (link["destination"]["dest-node"], link["destination"]["dest-tp"]) in known
    below = {node["node-id"] for node in optical["node"]}
    assert all(ref["node-ref"] in below for node in ip["node"] for ref in node["supporting-node"])


def test_other_systems_links_read_the_same_without_our_members() -> None:
    twin = sound_twin(links=3)
    body = json.loads(json.dumps(rfc8345.write(twin)))
    del body["karez-topology:tables"]
    for network in body["ietf-network:networks"]["network"]:
        for part in (*network["node"], *network["ietf-network-topology:link"]):
            part.pop("karez-topology:node", None)
            part.pop("karez-topology:link", None)
    found = rfc8345.of(body, "x.json").twin
    assert found["links"].ids.tolist() == twin["links"].ids.tolist()
    assert set(found["sites"].ids.tolist()) == set(twin["sites"].ids.tolist()) | set(twin["stations"].ids.tolist())


@pytest.mark.parametrize(
    "beside", [{"metros": [{"id": 7}]}, {"provinces": [{"id": "x", "pue": "high"}]}, {"metros": [{"id": "m"}]}]
)
def test_our_own_members_of_the_wrong_type_are_refused(beside: Mapping[str, Any]) -> None:
    body = rfc8345.write(sound_twin()) | {"karez-topology:tables": beside}
    with pytest.raises(InputError):
        rfc8345.of(body, "x.json")


def test_what_lies_between_two_sites_of_gnpy_is_one_link_and_lengths_are_added_in_km() -> None:
    found = formats.read_any(str(CASES / "gnpy.json"))
    assert links(found) == [
        ("fiber 1", "roadm A", "roadm B", 80.0, 100.0, "optical", "both"),
        ("fiber 4", "roadm B", "roadm C", round(50 * 1.609344, 3), 100.0, "optical", "forward"),
    ]
    assert drops(found) == {
        "element fiber 5": "its length is in league, which is neither km, m nor miles",
        "element 13": "has no uid or no type",
        "connection 14": "an end is not there or was dropped",
        "connection 15": "an end is not there or was dropped",
    }
    assert "position of 1 site: 0, 0, which GNPy writes for unknown" in found.assumed
    assert remarks(found.twin)["lengths"].endswith("shorter than a straight line (wrong length or position?): fiber 4")


def test_a_splice_that_both_directions_share_makes_no_way_back_to_where_light_came_from() -> None:
    elements: list[dict[str, Any]] = [{"uid": name, "type": "Roadm"} for name in "AB"] + [{"uid": "x", "type": "Fused"}]
    spans = [("A", "f1", "x"), ("x", "f2", "B"), ("B", "f3", "x"), ("x", "f4", "A")]
    elements += [{"uid": f, "type": "Fiber", "params": {"length": 10}} for _, f, _ in spans]
    pairs = [pair for a, f, b in spans for pair in ((a, f), (f, b))]
    body = {"elements": elements, "connections": [{"from_node": a, "to_node": b} for a, b in pairs]}
    assert [row[1:4] + row[6:] for row in links(gnpy.of(body, "x"))] == [("A", "B", 20.0, "both")]


def test_the_default_backbone_comes_from_topohub_and_its_lengths_are_marked() -> None:
    found = formats.read_any("topohub:topozoo/Chinanet")
    assert (len(found.twin["sites"]), len(found.twin["links"]), found.dropped) == (38, 62, ())
    assert "length of 62 links: great circle of its ends times 1.4" in found.assumed
    names = dict(zip(found.twin["sites"].ids, found.twin["sites"]["name"], strict=True))
    assert {b"Beijing", b"Lanzhou", b"Lhasa"} <= set(names.values())


def test_every_topology_zoo_network_of_topohub_is_read_and_passes_all_checks() -> None:
    names = topohub_.names("topozoo")
    assert len(names) > 190
    for name in names:
        found = topohub_.read(name)
        assert len(found.twin["sites"]) > 1
        assert all(each.why.startswith("as computed, its length_km is outside") for each in found.dropped)


def test_sndlib_networks_of_topohub_have_demands_and_drawings_are_refused() -> None:
    assert len(topohub_.read("sndlib/abilene").twin["demands"]) == 132
    for name in ("sndlib/india35", "sndlib/ta1"):
        with pytest.raises(InputError, match="positions are those of a drawing"):
            topohub_.read(name)


def test_networks_of_caida_must_be_asked_for_by_name_and_terms() -> None:
    assert "CAIDA's terms of use; read the terms, then ask for it with --caida" in refusal("topohub:caida/2024-08/4134")
    found = formats.read_any("topohub:caida/2024-08/4134", caida=True)
    assert len(found.twin["sites"]) == 125
    assert "links: IP adjacencies, not fibre (CAIDA's terms)" in found.assumed


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("topozoo/chinanet", "no such network; give one of topozoo/Chinanet"),
        ("topozoo/../topozoo/Chinanet", "no such network"),
        ("../../x", "is in no group of networks on Earth"),
        ("gabriel/10/1", "is in no group of networks on Earth"),
        ("", "is in no group of networks on Earth"),
    ],
)
def test_a_name_that_topohub_does_not_have_is_refused_with_those_it_has(name: str, what: str) -> None:
    assert what in refusal(f"topohub:{name}")


def workbook(path: Path, sheets: Mapping[str, Sequence[Sequence[object]]]) -> Path:
    book = openpyxl.Workbook()
    del book["Sheet"]
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(list(row))
    book.save(path)
    return path


SHEETS: dict[str, Sequence[Sequence[object]]] = {
    "provinces": [["id", "name"], ["GS", "Gansu 甘肃"]],
    "metros": [["id", "province", "lon", "lat"], [1, "GS", 103.8, 36]],
    "sites": [
        ["id", "metro", "kind", "lon", "lat"],
        ["S1", 1, "core", 103.8, 36.1],
        [],
        ["S2", 1.0, "access", 103.9, 36],
    ],
    "links": [
        ["id", "a", "b", "kind", "length_km", "up"],
        ["L1", "S1", "S2", "core", 12.5, True],
        ["L2", "S2", "S1", "core", None, False],
    ],
    "Notes": [["made by hand"]],
}


def test_each_sheet_of_a_workbook_is_a_table_and_a_missing_length_is_computed_and_marked(tmp_path: Path) -> None:
    found = formats.read_any(str(workbook(tmp_path / "n.xlsx", SHEETS)))
    first, second = found.twin["links"].records()
    straight_km = float(great_circle_km(*(np.array(v) for v in (103.8, 36.1, 103.9, 36.0))))
    assert (first["length_km"], first["up"], second["up"]) == (12.5, True, False)
    assert second["length_km"] == pytest.approx(1.4 * straight_km)
    assert found.assumed[0] == "length of 1 link: great circle of its ends times 1.4"
    assert found.twin["sites"]["metro"].tolist() == [b"1", b"1"]


def test_a_workbook_with_foreign_names_is_read_through_guesses(tmp_path: Path) -> None:
    edges: Sequence[Sequence[object]] = [
        ["link id", "from", "to", "Type", "Length (m)"],
        ["L1", "S1", "S2", "core", 9000],
    ]
    sheets = {name: rows for name, rows in SHEETS.items() if name != "links"} | {"Fibres": edges}
    path = workbook(tmp_path / "n.xlsx", sheets)
    assert "n.xlsx Fibres: is named like no table; rename it to links" in refusal(path)
    found = formats.read_any(str(path), mapping=formats.guess(str(path), "xlsx"))
    assert found.twin["links"]["length_km"].tolist() == [9.0]


def test_all_that_is_wrong_in_a_workbook_is_told_by_sheet_and_row(tmp_path: Path) -> None:
    wrong: dict[str, Sequence[Sequence[object]]] = {
        **SHEETS,
        "sites": [
            ["id", "metro", "kind", "lon", "lat"],
            ["S1", 1, "core", "east", 36.1],
            ["S1", 9, "core", 103.8, 36.1],
        ],
        "links": [
            ["id", "a", "b", "kind", "length_km"],
            ["L1", "S1", "#REF!", "core", 1],
            ["L2", "S1", "S2", "core", 1, "x"],
        ],
        "places": [["id", "id", None, "site"], ["P", "S1", "x", "S1"]],
        "shapes": [["id"], [1]],
    }
    told = refusal(workbook(tmp_path / "n.xlsx", wrong))
    for line in (
        "n.xlsx sites lon: is not a number (rows row 2 (S1))",
        "n.xlsx sites id: the same id stands in several rows (rows row 3 (S1))",
        "n.xlsx sites metro: points at a row that does not exist (rows row 3 (S1))",
        "n.xlsx sites: 2 of its 2 rows cannot be used; see to its columns and units first",
        "n.xlsx links: holds an error of the spreadsheet (rows row 2 (L1)); correct its formula",
        "n.xlsx links: has cells right of the last column (rows row 3 (L2))",
        "n.xlsx places: names a column twice: id",
        "n.xlsx places: has a column without a name",
        "n.xlsx shapes: is named like no table",
    ):
        assert line in told


def changed_part(path: Path, part: str, change: Callable[[bytes], bytes]) -> Path:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, change(data) if name == part else data)
    return path


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (1_048_577, "has a row 1,048,577; XLSX ends at 1,048,576"),
        (1_048_576, "what came after it may have been cut off"),
    ],
)
def test_more_rows_than_xlsx_has_are_refused_with_what_to_use_instead(tmp_path: Path, row: int, what: str) -> None:
    path = workbook(tmp_path / "n.xlsx", SHEETS)
    more = f'<row r="{row}"><c t="inlineStr" r="A{row}"><is><t>Z</t></is></c></row></sheetData>'.encode()
    changed_part(path, "xl/worksheets/sheet1.xml", lambda data: data.replace(b"</sheetData>", more))
    told = refusal(path)
    assert what in told
    assert "give a folder of CSV or Parquet files, which have no limit" in told


def test_rows_without_their_numbers_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("karez.importers.xlsx.LAST_ROW", 40_000)
    path = workbook(tmp_path / "n.xlsx", SHEETS)
    more = b"<row><c/></row>" * 100_000
    changed_part(path, "xl/worksheets/sheet1.xml", lambda data: data.replace(b"</sheetData>", more + b"</sheetData>"))
    assert "sheet1 has a row 100,002; XLSX ends at 40,000" in refusal(path)


def test_a_row_of_a_workbook_that_cannot_be_used_is_dropped_and_told_by_sheet_and_row(tmp_path: Path) -> None:
    sheets: dict[str, Sequence[Sequence[object]]] = {
        **SHEETS,
        "links": [
            *SHEETS["links"],
            ["L3", "S1", "#REF!", "core", 1],
            ["L4", "S1", "S2", "core", 1, True, "x"],
            [],
            ["L5", "S1", "S9", "core", 1],
            ["L6", "S1", "S2", "core", 2],
            ["L7", "S1", "S2", "core", 3],
        ],
    }
    found = formats.read_any(str(workbook(tmp_path / "n.xlsx", sheets)))
    assert [(each.where, each.column, each.row, each.why) for each in found.dropped] == [
        ("n.xlsx links", "", "row 5 (L4)", "has cells right of the last column"),
        ("n.xlsx links", "", "row 4 (L3)", "holds an error of the spreadsheet"),
        ("n.xlsx links", "b", "row 7 (L5)", "points at a row that does not exist"),
    ]
    assert found.twin["links"].ids.tolist() == [b"L1", b"L2", b"L6", b"L7"]
    assert check(found.twin) == []


def test_a_workbook_that_is_cut_off_or_none_is_refused(tmp_path: Path) -> None:
    whole = workbook(tmp_path / "n.xlsx", SHEETS).read_bytes()
    for data in (whole[:100], whole[:-30], whole[: len(whole) // 2], b"id,name\n1,2\n", b"\xd0\xcf\x11\xe0" * 99):
        assert "is no XLSX workbook" in refusal(put(tmp_path / "cut.xlsx", data))
    with zipfile.ZipFile(tmp_path / "other.xlsx", "w") as archive:
        archive.writestr("readme", "x")
    assert "is no XLSX workbook" in refusal(tmp_path / "other.xlsx")
    assert "holds no sheet with a row" in refusal(workbook(tmp_path / "empty.xlsx", {"sites": []}))


def test_a_workbook_with_a_document_type_or_too_much_in_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "bbbb">]>'
    path = workbook(tmp_path / "n.xlsx", SHEETS)
    changed_part(path, "xl/worksheets/sheet1.xml", lambda data: bomb + data)
    assert "declares a document type" in refusal(path)
    monkeypatch.setattr("karez.importers.xlsx.LARGEST_PARTS_BYTES", 2 * 2**20)
    with zipfile.ZipFile(tmp_path / "big.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b" " * 2**22)
    assert "unpacks to more than" in refusal(tmp_path / "big.xlsx")


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 30))
BOMBS = {
    "in an element": f'<!DOCTYPE graphml [<!ENTITY l0 "ha">{LAUGHS}]><graphml>&l29;</graphml>',
    "in an attribute": f'<!DOCTYPE graphml [<!ENTITY l0 "ha">{LAUGHS}]><graphml a="&l29;"/>',
    "from a file": '<!DOCTYPE graphml [<!ENTITY x SYSTEM "file:///etc/passwd">]><graphml>&x;</graphml>',
    "by parameter": '<!DOCTYPE graphml [<!ENTITY % x SYSTEM "file:///etc/passwd">%x;]><graphml/>',
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("kind", BOMBS)
def test_an_xml_bomb_is_refused_at_once(tmp_path: Path, kind: str, encoding: str) -> None:
    path = put(tmp_path / "b.graphml", f'<?xml version="1.0" encoding="{encoding}"?>{BOMBS[kind]}'.encode(encoding))
    assert "declares entities" in refusal(path)


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_that_an_encoding_hides_is_refused_too(tmp_path: Path, kind: str) -> None:
    text = f'<?xml version="1.0" encoding="UCS-4"?>{BOMBS[kind]}'
    told = refusal(put(tmp_path / "b.graphml", text.encode("utf-32-be")))
    assert "declares entities" in told or "is no XML (Maximum entity" in told


def test_xml_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    assert "is no XML" in refusal(put(tmp_path / "d.graphml", "<graphml>" * 100_000))


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("n.graphml", "<graphml><graph>", "is no XML"),
        ("n.graphml", "<network/>", "its root element is network, not graphml"),
        ("n.graphml", "<graphml/>", "holds 0 graphs"),
        ("n.graphml", "<graphml><graph/></graphml>", "holds no usable site"),
        ("n.graphml", "", "is empty"),
        ("n.graphml", b"<graphml>\xff\xfe</graphml>", "is no XML"),
        ("n.xml", "<rss/>", "is in no format that its name or content tells"),
        ("n.json", '{"type": "FeatureCollection", "features": [', "is no JSON"),
        ("n.json", '{"elements": [], "connections": [NaN]}', "JSON has no NaN: leave out what nobody knows"),
        ("n.json", '{"elements": [], "connections": [-Infinity]}', "JSON has no Infinity"),
        ("n.json", "[" * 100_000, "is no JSON"),
        ("n.json", b'{"type": "\xff"}', "is not UTF-8"),
        ("n.json", "[1, 2]", "is in no format that its name or content tells"),
        ("n.json", '{"elements": {}, "connections": 3}', "is no GNPy topology"),
        ("n.json", '{"ietf-network:networks": {"network": {}}}', "holds no ietf-network:networks"),
        ("n.json", '{"type": "Feature", "geometry": null}', "holds no usable site"),
        ("n.geojson", '{"type": "Topology"}', "is no GeoJSON FeatureCollection"),
        ("n.geojson", '{"type": "FeatureCollection", "features": 3}', "its features are no list"),
        (
            "n.geojson",
            '{"type": "FeatureCollection", "features": [], "crs": {"properties": {"name": "EPSG:3857"}}}',
            "are in EPSG:3857",
        ),
        ("n.csv", "id\n1\n", "give the folder that it is in"),
        ("n.dat", "x", "say which --format it is"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(tmp_path: Path, name: str, text: str | bytes, what: str) -> None:
    assert what in refusal(put(tmp_path / name, text))


@pytest.mark.parametrize("kind", ["xlsx", "geojson", "graphml", "sndlib", "rfc8345", "gnpy"])
def test_a_folder_or_nothing_where_a_file_is_expected_is_told(tmp_path: Path, kind: str) -> None:
    assert "is a directory; give the path of a file" in refusal(tmp_path, kind=kind)
    assert "no such file" in refusal(tmp_path / "nothing", kind=kind)
    assert "no such file" in refusal(tmp_path / "nothing")


def test_a_file_where_a_folder_is_expected_is_told(tmp_path: Path) -> None:
    assert "not a directory" in refusal(put(tmp_path / "sites.csv", "id\n"), kind="tables")


def sparse(path: Path, head: bytes, size: int) -> Path:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


@pytest.mark.parametrize("name", ["n.json", "n.geojson", "n.graphml", "n.xml", "n.xlsx"])
def test_a_document_of_ten_gigabytes_is_refused_by_its_size(tmp_path: Path, name: str) -> None:
    assert "is too large to be read as a whole (10,240 MiB; at most 256 MiB)" in refusal(
        sparse(tmp_path / name, b"{", 10 * 2**30)
    )


def test_a_table_with_a_line_without_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    sparse(tmp_path / "sites.csv", b"id\n", 1 * 2**30)
    sparse(tmp_path / "links.csv", b"id\n", 10 * 2**30)
    told = refusal(tmp_path)
    assert "sites.csv: holds a line of more than 8 MiB" in told
    assert "links.csv: is too large (10.0 GiB; at most 8 GiB); give it as Parquet" in told


def test_files_of_ten_gigabytes_are_refused_in_seconds_and_in_little_memory(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    sparse(tmp_path / "tables" / "sites.csv", b"id\n", 7 * 2**30)
    with sparse(tmp_path / "tables" / "links.parquet", b"PAR1", 10 * 2**30).open("ab") as file:
        file.write(b"PAR1")
    sparse(tmp_path / "n.xml", b"<graphml>", 10 * 2**30)
    script = """if True:
        import sys
        from pathlib import Path
        from karez.errors import InputError
        from karez.importers import formats
        for source in sys.argv[1:]:
            try:
                formats.read_any(source)
            except InputError as error:
                print(error)
        # Of this process alone: what getrusage tells begins with the size of whoever started it.
        status = Path("/proc/self/status").read_text().splitlines()
        print(next(line for line in status if line.startswith("VmHWM")).split()[1])
    """
    words = [sys.executable, "-c", script, str(tmp_path / "tables"), str(tmp_path / "n.xml")]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    *told, peak_kb = done.stdout.splitlines()
    assert [line.partition(";")[0].partition("(")[0] for line in told] == [
        "links.parquet: cannot be read as Parquet and may be cut off ",
        "sites.csv: holds a line of more than 8 MiB",
        "n.xml: is too large to be read as a whole ",
    ]
    assert int(peak_kb) < 800_000


@pytest.mark.parametrize("name", ["n.json", "n.xml", "n.xlsx"])
def test_a_device_without_end_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    assert "is a device or a pipe, no file" in refusal(tmp_path / name)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "sites.csv").symlink_to("/dev/zero")
    assert "is a device or a pipe, no file" in refusal(tmp_path / "tables")


ODD: tuple[Any, ...] = (None, True, -1, 1e300, 7, "", "x\0", "京", [], [[]], {}, {"a": []}, [1, "b"], 10**400)
DOCUMENTS = {"metro.geojson": geojson.of, "two-layers.json": rfc8345.of, "gnpy.json": gnpy.of}


def places(body: Any) -> list[tuple[Any, Any]]:
    """Every container in a document with every key that it has."""
    keys = list(body) if isinstance(body, dict) else list(range(len(body))) if isinstance(body, list) else []
    return [(body, key) for key in keys] + [place for key in keys for place in places(body[key])]


@pytest.mark.parametrize("name", [*DOCUMENTS, "written"])
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_document_with_anything_anywhere_is_read_or_refused_and_never_breaks(name: str, data: st.DataObject) -> None:
    whole = rfc8345.write(sound_twin()) if name == "written" else json.loads((CASES / name).read_text("utf-8"))
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(whole)))
        container[key] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
        if not places(whole):
            break
    try:
        found = DOCUMENTS.get(name, rfc8345.of)(whole, name)
    except InputError:
        return
    assert check(found.twin) == []


@pytest.mark.parametrize("name", ["zoo.graphml", "sndlib.xml", "metro.geojson", "two-layers.json", "gnpy.json"])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    whole = (CASES / name).read_bytes().rstrip()
    for length in range(0, len(whole), 37):
        refusal(put(tmp_path / name, whole[:length]))
    refusal(put(tmp_path / name, whole[:-1]))


def shuffled(points: Sequence[Point], **options: Any) -> Imported:
    return finished(Draft("f", points=list(points), **options), crs="wgs84", route_factor=1.4)


def test_swapped_coordinates_are_told_and_most_of_them_refuse_the_file() -> None:
    good = [Point(f"p{n}", f"p{n}", 103.0 + n, 36.0) for n in range(3)]
    found = shuffled([*good, Point("x", "x", 36.0, 103.0), Point("y", "y", 400.0, 1.0)])
    assert drops(found) == {"x": "lon and lat look swapped", "y": "its position is not on Earth"}
    with pytest.raises(InputError, match=r"lon and lat look swapped \(rows p0, p1, p2\); exchange"):
        shuffled([Point(p.row, p.id, p.lat, p.lon) for p in good])
    with pytest.raises(InputError, match="not on Earth: metres, or a drawing"):
        shuffled([Point(p.row, p.id, p.lon * 1e4, p.lat * 1e4) for p in good])


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_whatever_a_file_holds_the_twin_passes_all_checks_and_every_row_is_kept_or_told(data: st.DataObject) -> None:
    numbers = st.sampled_from([math.nan, -1.0, 0.0, 36.0, 103.8, 116.4, 1e9, math.inf])
    ids = st.sampled_from(["", "a", "b", "c", "a\0", "京"])
    words = st.sampled_from(["", "core", "access", "odd"])
    points = data.draw(
        st.lists(
            st.builds(
                Point,
                st.just("p"),
                ids,
                numbers,
                numbers,
                words,
                st.sampled_from(["sites", "stations"]),
                words,
                ids,
                numbers,
            ),
            max_size=6,
        )
    )
    lines = data.draw(st.lists(st.builds(Line, st.just("l"), ids, ids, ids, numbers, numbers, words), max_size=6))
    demands = data.draw(st.lists(st.builds(Demand, st.just("d"), ids.filter(bool), ids, ids, numbers), max_size=4))
    draft = Draft("f", points=points, lines=lines, demands=demands)
    try:
        found = finished(draft, crs="gcj02", route_factor=1.4)
    except InputError:
        return
    assert check(found.twin) == []
    kept = sum(len(found.twin[name]) for name in ("sites", "stations", "links", "demands"))
    assert kept + len(found.dropped) == len(points) + len(lines) + len(demands)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_twin_of_a_draft_is_the_same_whatever_the_order_of_its_rows(data: st.DataObject) -> None:
    ids, numbers = st.sampled_from(["", "a", "b", "c"]), st.sampled_from([math.nan, 0.0, 36.0, 50.0, 103.8])
    tables = st.sampled_from(["sites", "stations"])
    positions = st.tuples(numbers, numbers)
    points = data.draw(
        st.lists(
            st.builds(lambda i, p, t, m: Point("p", i, p[0], p[1], table=t, metro=m), ids, positions, tables, ids),
            max_size=6,
        )
    )
    lines = data.draw(st.lists(st.builds(Line, st.just("l"), ids, ids, ids, numbers, numbers), max_size=6))
    demands = data.draw(st.lists(st.builds(Demand, st.just("d"), ids.filter(bool), ids, ids, numbers), max_size=4))
    found = []
    for _ in range(2):
        draft = Draft(
            "f",
            points=copy.deepcopy(data.draw(st.permutations(points))),
            lines=copy.deepcopy(data.draw(st.permutations(lines))),
            demands=copy.deepcopy(data.draw(st.permutations(demands))),
        )
        try:
            found.append(finished(draft, crs="wgs84", route_factor=1.4).twin.digest)
        except InputError:
            found.append("")
    assert found[0] == found[1]


@given(st.lists(st.tuples(st.floats(72.5, 137.5), st.floats(1.2, 55.5)), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_positions_come_back_from_gcj02_and_bd09(positions: list[tuple[float, float]]) -> None:
    lon, lat = (np.array(axis) for axis in zip(*positions, strict=True))
    for name, forward in (("gcj02", wgs84_to_gcj02), ("bd09", wgs84_to_bd09)):
        moved = forward(lon, lat)
        assert max(np.abs(moved[0] - lon).max(), np.abs(moved[1] - lat).max()) > 1e-5
        back = to_wgs84(*moved, name)
        assert max(np.abs(back[0] - lon).max(), np.abs(back[1] - lat).max()) < 1e-6


def test_shifts_are_those_that_others_publish() -> None:
    # Source: the examples of coordtransform (JavaScript and Python), whose sources are the same public algorithms.
    lon, lat = np.array([116.404]), np.array([39.915])
    assert np.concatenate(wgs84_to_gcj02(lon, lat)) == pytest.approx([116.41024449916938, 39.91640428150164], abs=1e-9)
    inverse = to_wgs84(np.array([116.41036949371029]), np.array([39.92133699351021]), "bd09")
    back = to_wgs84(lon, lat, "gcj02")
    assert np.concatenate(inverse) == pytest.approx(np.concatenate(back), abs=2e-5)


def test_outside_china_gcj02_is_wgs84() -> None:
    lon, lat = np.array([2.35, -74.0, 139.7, 103.8]), np.array([48.85, 40.7, 35.7, -36.1])
    assert np.array_equal(wgs84_to_gcj02(lon, lat), [lon, lat])
    assert np.array_equal(to_wgs84(lon, lat, "gcj02"), [lon, lat])
    assert np.array_equal(to_wgs84(lon, lat, "wgs84"), [lon, lat])


def test_a_whole_import_is_moved_from_one_coordinate_system(tmp_path: Path) -> None:
    lon, lat = wgs84_to_gcj02(np.array([103.8, 103.9]), np.array([36.06, 36.06]))
    features = [
        {"type": "Feature", "id": f"S{n}", "geometry": {"type": "Point", "coordinates": [x, y]}}
        for n, (x, y) in enumerate(zip(lon.tolist(), lat.tolist(), strict=True))
    ]
    drawn = {"type": "LineString", "coordinates": [f["geometry"]["coordinates"] for f in features]}  # type: ignore[index]
    body = {"type": "FeatureCollection", "features": [*features, {"type": "Feature", "geometry": drawn}]}
    found = formats.read_any(str(put(tmp_path / "n.geojson", json.dumps(body))), crs="gcj02")
    assert found.twin["sites"]["lon"] == pytest.approx([103.8, 103.9], abs=1e-9)
    straight_km = float(great_circle_km(*(np.array(v) for v in (103.8, 36.06, 103.9, 36.06))))
    assert found.twin["links"]["length_km"] == pytest.approx([straight_km])
    assert "2 positions moved from gcj02 to WGS 84" in found.assumed
    assert "is in WGS 84, not bd09" in refusal("topohub:topozoo/Chinanet", crs="bd09")
    (tmp_path / "t").mkdir()
    rows = "".join(f"S{n},m,core,{x},{y}\n" for n, (x, y) in enumerate(zip(lon, lat, strict=True)))
    put(tmp_path / "t" / "sites.csv", "id,metro,kind,lon,lat\n" + rows)
    put(tmp_path / "t" / "provinces.csv", "id\nGS\n")
    put(tmp_path / "t" / "metros.csv", f"id,province,lon,lat\nm,GS,{lon[0]},{lat[0]}\n")
    put(tmp_path / "t" / "links.csv", "id,a,b,kind\nL1,S0,S1,core\n")
    tables = formats.read_any(str(tmp_path / "t"), crs="gcj02", route_factor=1.0)
    assert tables.twin["metros"]["lon"] == pytest.approx([103.8], abs=1e-9)
    assert tables.twin["links"]["length_km"] == pytest.approx([straight_km])


def test_positions_of_two_coordinate_systems_show_in_links_that_are_too_short() -> None:
    lon, lat = wgs84_to_bd09(np.array([103.82]), np.array([36.06]))
    points = [Point("a", "a", 103.8, 36.06), Point("b", "b", float(lon[0]), float(lat[0]))]
    true_km = float(great_circle_km(*(np.array(v) for v in (103.8, 36.06, 103.82, 36.06))))
    mixed = shuffled(points, lines=[Line("L", "a", "b", "L", length_km=true_km)])
    told = "1 link shorter than a straight line (wrong length or position?): L"
    assert remarks(mixed.twin)["lengths"] == told


@pytest.mark.parametrize(
    ("value", "ours", "expected"),
    [
        ("12.5 km", "km", 12.5),
        ("900m", "km", 0.9),
        ("8 Miles", "km", 12.874752),
        ("10 Gbit/s", "gbps", 10.0),
        ("400 Mbps", "gbps", 0.4),
        ("2.5G", "gbps", 2.5),
        ("1 tbps", "gbps", 1000.0),
        ("9600 bps", "gbps", 9.6e-6),
        ("1,200 km", "km", math.nan),
        ("12", "km", math.nan),
        (12, "km", math.nan),
        ("3 leagues", "km", math.nan),
        ("7 km/s", "km", math.nan),
    ],
)
def test_a_quantity_is_read_with_its_unit_or_not_at_all(value: object, ours: str, expected: float) -> None:
    assert quantity(value, ours) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("value", [True, None, "", "nan", "inf", "x", [1], 10**400, float("inf")])
def test_what_is_no_finite_number_is_none(value: object) -> None:
    assert math.isnan(number(value))
    assert math.isnan(factor(str(value), "km"))


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.main(["import", *words])
    return code, *capsys.readouterr()


def test_an_import_shows_what_it_dropped_and_assumed_and_keeps_the_mark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = asked(capsys, str(CASES / "zoo.graphml"), str(tmp_path / "net"), "--route-factor", "1.3")
    assert code == 0
    assert "5 rows dropped" in out
    assert "great circle of its ends times 1.3" in out
    code, out, _ = asked(capsys, str(CASES / "zoo.graphml"), str(tmp_path / "net"), "--dry-run", "--json")
    answer = json.loads(out)["answer"]
    assert (answer["format"], len(answer["dropped_rows"]), answer["revision"]) == ("graphml", 5, 0)
    assert sum(each["rows"] for each in answer["dropped"]) == 5
    assert "(assumed length of 2 links" in karez.info(str(tmp_path / "net")).citation


def test_a_strict_import_refuses_to_drop_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = asked(capsys, str(CASES / "gnpy.json"), str(tmp_path / "net"), "--strict")
    assert (code, out) == (2, "")
    assert "connection 14, connection 15" in err
    assert list(tmp_path.iterdir()) == []


def test_an_import_with_nothing_usable_fails_with_every_reason_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    geometries = [{"geometry": {"type": kind}} for kind in ("Point", "Polygon")]
    text = json.dumps({"type": "FeatureCollection", "features": geometries})
    code, _, err = asked(capsys, str(put(tmp_path / "n.json", text)), str(tmp_path / "net"))
    assert code == 2
    assert "holds no usable site" in err
    assert "is a Polygon" in err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["n.json"]


def test_a_network_that_was_exported_is_imported_to_the_same_digest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    karez.import_("topohub:topozoo/Chinanet", str(tmp_path / "net"))
    file = str(tmp_path / "net.json")
    karez.export(str(tmp_path / "net"), file)
    code, out, _ = asked(capsys, file, str(tmp_path / "again"), "--json", "--strict")
    assert code == 0
    assert json.loads(out)["answer"]["digest"] == karez.info(str(tmp_path / "net")).digest
    with pytest.raises(InputError, match="exists already"):
        karez.export(str(tmp_path / "net"), file)


TABLES = {
    "provinces": "id\nGS\n",
    "metros": "id,province,lon,lat\nlz,GS,103.8,36.1\n",
    "sites": "id,metro,kind,lon,lat\nS1,lz,core,103.8,36.1\nS2,lz,core,103.9,36.1\nS3,lz,core,0,0\n",
    "stations": "id,metro,lon,lat\nT1,lz,103.8,36.1\nT2,lz,103.8,36.1\nT3,lz,103.8,36.1\n",
    "links": "id,a,b,kind,length_km,up\nL1,S1,T1,access,1,\nL2,S2,T2,access,20,\nL3,S1,S2,core,99,no\n",
    "chips": "id\nH\n",
    "servers": "id,site,chip,chips\nV1,S1,H,8\nV2,S2,H,0\n",
}


def warned(folder: Path, **tables: str) -> dict[str, str]:
    folder.mkdir()
    for name, text in (TABLES | tables).items():
        if text:
            put(folder / f"{name}.csv", text)
    return remarks(formats.read_any(str(folder)).twin)


def test_what_is_odd_about_a_network_as_a_whole_is_told(tmp_path: Path) -> None:
    assert warned(tmp_path / "parts") == {
        "parts": "the network is in 4 parts (2 of them a single site or station); the largest has 2 of 6 sites and "
        "stations; 2 stations reach no compute site",
        "positions": "more than 500 km from their metro (wrong position, metro or coordinates?): sites S3",
    }
    whole = TABLES["links"].replace("no\n", "\nL4,T3,S1,access,1,\nL5,S3,S1,core,12000,\n")
    sites = TABLES["sites"].replace("0,0", "103.9,36.2")
    assert warned(tmp_path / "whole", links=whole, sites=sites) == {}
    short = whole.replace("L3,S1,S2,core,99,", "L3,S1,S2,core,1,")
    assert list(warned(tmp_path / "short", links=short, sites=sites)) == ["lengths"]


def test_a_network_without_compute_or_without_a_site_is_read_and_told(tmp_path: Path) -> None:
    assert warned(tmp_path / "none", servers="")["compute"].startswith("there is no server: nobody is within reach")
    empty = warned(tmp_path / "zero", servers="id,site,chip,chips\nV1,S1,H,0\n")
    assert empty["compute"].startswith("all servers have 0 chips: nobody is within reach")
    assert "compute" not in empty["parts"]
    nothing = warned(tmp_path / "nowhere", sites="", stations="", links="", servers="")
    assert nothing == {"sites": "there is no site: nothing can be reached"}


def test_an_import_of_tables_shows_dropped_rows_by_reason_and_all_of_them_to_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "source").mkdir()
    many = "".join(f"X{n},lz,high,36\n" for n in range(100)) + "".join(f"Y{n},lz,103,36\n" for n in range(100))
    for name, text in (TABLES | {"stations": TABLES["stations"] + many + "Z,lz,high,east\n"}).items():
        put(tmp_path / "source" / f"{name}.csv", text)
    words = (str(tmp_path / "source"), str(tmp_path / "net"))
    code, out, _ = asked(capsys, *words)
    assert code == 0
    assert "101 rows dropped; 2 warnings; kept as revision 1" in out
    assert "line 5 (X0), line 6 (X1), line 7 (X2)" in out
    assert "the network is in 104 parts (102 of them a single site" in out
    assert "X3" not in out
    answer = json.loads(asked(capsys, *words, "--json")[1])["answer"]
    assert (answer["rows_dropped"], len(answer["dropped_rows"])) == (101, 102)
    assert {each["row"] for each in answer["dropped_rows"]} >= {f"line {5 + n} (X{n})" for n in range(100)}
    assert [(each["where"], each["why"], each["rows"]) for each in answer["dropped"]] == [
        ("stations.csv lon", "is not a number", 101),
        ("stations.csv lat", "is not a number", 1),
    ]
    code, out, err = asked(capsys, *words, "--strict")
    assert (code, out) == (2, "")
    assert "stations.csv lon: is not a number (rows line 5 (X0), line 6 (X1)," in err
    assert "stations.csv lat: is not a number (rows line 205 (Z))" in err


def test_a_library_that_is_not_installed_is_named_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("lxml", "lxml.etree", "topohub"):
        monkeypatch.setitem(sys.modules, module, None)
    for source in (str(CASES / "zoo.graphml"), "topohub:topozoo/Chinanet"):
        assert "which is not installed; install karez[io]" in refusal(source)


def test_the_libraries_of_formats_are_imported_only_where_they_are_needed() -> None:
    script = "import sys\nimport karez.operations.import_\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert not {"lxml", "openpyxl", "topohub"} & set(done.stdout.split())


def test_every_format_of_the_question_is_one_that_can_be_read() -> None:
    field = next(field for field in questions.fields(ImportQuestion) if field.name == "format")
    assert field.choices == formats.FORMATS


def test_dropped_rows_are_grouped_by_reason() -> None:
    found = report.grouped([Dropped("f", "1", "x"), Dropped("f", "2", "y"), Dropped("f", "3", "x")])
    assert [(problem.what, problem.rows) for problem in found] == [("x", ("1", "3")), ("y", ("2",))]


def test_each_reader_may_be_used_alone() -> None:
    assert len(geojson.read(CASES / "metro.geojson").twin["links"]) == 2
    assert len(graphml.read(CASES / "zoo.graphml").twin["links"]) == 3
    assert len(sndlib.read(CASES / "sndlib.xml").twin["links"]) == 2
    assert len(rfc8345.read(CASES / "two-layers.json").twin["links"]) == 2
    assert len(gnpy.read(CASES / "gnpy.json").twin["links"]) == 2
