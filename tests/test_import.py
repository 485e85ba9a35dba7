from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError, Problem
from karez.importers.report import Imported
from karez.importers.tables import Guess, guess, joined, read, sources_in, template
from karez.twin import Table, Twin, schema
from karez.twin.check import check
from tests.strategies import sound_twin, sound_twins
from tests.test_store import content, files_of_at_most, without_permission

FILES: dict[str, str | bytes] = {
    "provinces.csv": "id,name\nGS,Gansu\n",
    "metros.csv": "id,province,lon,lat\nlz,GS,103.8,36.1\n",
    "sites.csv": "id,metro,kind,lon,lat\nS1,lz,core,103.8,36.1\nS2,lz,access,103.9,36.0\n",
    "links.csv": "id,a,b,kind,length_km\nL1,S1,S2,core,12.5\n",
}


def written(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, text in files.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def problems(folder: Path, files: Mapping[str, str | bytes], guesses: list[Guess] | None = None) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        read(written(folder, FILES | dict(files)), guesses or [])
    return list(caught.value.problems)


def told(found: list[Problem]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(problem.where, problem.what, problem.rows) for problem in found]


def frame(table: Table) -> pl.DataFrame:
    series = [pl.Series(name, np.array(table[name])) for name in table.columns]
    texts = [s.cast(pl.String) if s.dtype == pl.Binary else s for s in series]
    return pl.DataFrame([s.fill_nan(None) if s.dtype == pl.Float64 else s for s in texts])


@given(sound_twins())
@settings(max_examples=30, deadline=None)
def test_a_twin_written_as_csv_or_parquet_is_read_back_to_the_same_digest(twin: Twin) -> None:
    for suffix in ("csv", "parquet"):
        with tempfile.TemporaryDirectory() as name:
            for table in twin.tables.values():
                if len(table):
                    path = Path(name) / f"{table.name}.{suffix}"
                    frame(table).write_csv(path) if suffix == "csv" else frame(table).write_parquet(path)
            assert read(Path(name)).digest == twin.digest


def test_columns_that_a_file_leaves_out_take_the_value_that_the_schema_states(tmp_path: Path) -> None:
    twin = read(written(tmp_path, FILES))
    assert twin["links"].cell("L1", "capacity_gbps") == 100.0
    assert twin["links"].cell("L1", "up") is True
    assert twin["provinces"].cell("GS", "side") == "unknown"
    assert np.isnan(twin["provinces"].cell("GS", "pue"))


def test_empty_cells_are_absent_and_blank_lines_are_nothing(tmp_path: Path) -> None:
    text = "id,name,pue,country\nGS,,,\n\nNX,Ningxia,1.2,XX\n,,,\n"
    table = read(written(tmp_path, FILES | {"provinces.csv": text}))["provinces"]
    assert [(r["name"], str(r["pue"]), r["country"]) for r in table.records()] == [
        ("", "nan", "CN"),
        ("Ningxia", "1.2", "XX"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffid,name\r\nGS,Gansu\r\n",
        "id;name\nGS;Gansu\n",
        "id\tname\nGS\tGansu",
        ' id , name\nGS,"Gansu"\n',
        '"name","id"\n"Gansu",GS\n',
    ],
)
def test_csv_files_of_other_habits_are_read_the_same(tmp_path: Path, text: str) -> None:
    table = read(written(tmp_path, FILES | {"provinces.csv": text}))["provinces"]
    assert (table.ids.tolist(), table["name"].tolist()) == ([b"GS"], [b"Gansu"])


@pytest.mark.parametrize(("word", "value"), [("true", True), ("TRUE", True), ("1", True), ("no", False), ("0", False)])
def test_words_for_true_and_false_are_understood(tmp_path: Path, word: str, value: bool) -> None:
    text = f"id,a,b,kind,length_km,up\nL1,S1,S2,core,12.5,{word}\n"
    assert read(written(tmp_path, FILES | {"links.csv": text}))["links"].cell("L1", "up") is value


def test_parquet_files_may_hold_whole_numbers_for_ids_and_floats_for_whole_numbers(tmp_path: Path) -> None:
    written(tmp_path, FILES)
    equipment = {
        "id": [7, 8],
        "site": ["S1", "S2"],
        "kind": ["router"] * 2,
        "boots": [3.0, None],
        "power_kw": [1, None],
    }
    pl.DataFrame(equipment).write_parquet(tmp_path / "equipment.parquet")
    table = read(tmp_path)["equipment"]
    assert table.ids.tolist() == [b"7", b"8"]
    assert table["boots"].tolist() == [3, 0]
    assert str(table["power_kw"].tolist()) == "[1.0, nan]"


def test_every_problem_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    found = problems(
        tmp_path,
        {
            "sites.csv": "id,metro,kind,lon\nS1,lz,core,103.8\nS2,xx,hub,east\nS2,lz,core,nan\n",
            "links.csv": "id,a,b,kind,length_km,color\nL1,S1,S2,core,-3,1\nL2,S1,Atlantis,core,,2\nL3,S1,S1,core,1,3\n",
            "unicorns.csv": "id\n1\n",
            "cells.parquet": b"PAR1",
            "notes.xlsx": b"",
            "README.txt": "not a table",
        },
    )
    assert told(found) == [
        (
            "cells.parquet",
            "cannot be read as Parquet and may be cut off (parquet: File out of specification: A Parquet file must "
            "contain a header and footer with at least 12 bytes)",
            (),
        ),
        ("links.csv", "3 of its 3 rows cannot be used", ()),
        ("links.csv color", "unknown column", ()),
        ("notes.xlsx", "is neither CSV nor Parquet", ()),
        ("old", "is a folder", ()),
        ("sites.csv", "2 of its 3 rows cannot be used", ()),
        ("sites.csv lat", "required column is missing", ()),
        ("unicorns.csv", "is named like no table", ()),
        ("links.csv b", "both ends are the same", ("line 4 (L3)",)),
        ("links.csv b", "points at a row that does not exist", ("line 3 (L2)",)),
        ("links.csv length_km", "is empty", ("line 3 (L2)",)),
        ("links.csv length_km", "is outside 0 to 20000 km", ("line 2 (L1)",)),
        ("sites.csv id", "the same id stands in several rows", ("line 3 (S2)",)),
        ("sites.csv kind", "is none of core, aggregation, access", ("line 3 (S2)",)),
        ("sites.csv lon", "is not a number", ("line 3 (S2)",)),
        ("sites.csv lon", "is nan", ("line 4 (S2)",)),
        ("sites.csv metro", "points at a row that does not exist", ("line 3 (S2)",)),
    ]
    assert all(problem.fix for problem in found)


def test_nan_is_refused_even_where_a_value_may_be_unknown(tmp_path: Path) -> None:
    text = "id,price_cny_per_kwh,pue\nNX,nan,NaN\nGS,,\n"
    assert told(problems(tmp_path, {"provinces.csv": text})) == [
        ("provinces.csv price_cny_per_kwh", "is nan", ("line 2 (NX)",)),
        ("provinces.csv pue", "is nan", ("line 2 (NX)",)),
    ]


def test_exchanged_coordinates_are_told_by_file_and_row(tmp_path: Path) -> None:
    text = "id,metro,kind,lon,lat\nS1,lz,core,36.1,103.8\nS2,lz,access,103.9,36.0\n"
    swapped = ("sites.csv lon", "lon and lat look swapped", ("line 2 (S1)",))
    # A link of one is lost with its site, and that is all there is of links.
    orphaned = ("links.csv", "1 of its 1 rows cannot be used or refer to rows that cannot", ())
    assert told(problems(tmp_path, {"sites.csv": text})) == [swapped, orphaned]


def test_rows_without_an_id_are_named_by_their_line(tmp_path: Path) -> None:
    text = "id,a,b,kind,length_km\n,S1,S2,core,-1\n,S1,S2,core,1\nL1,S1,S2,core,1\nL2,S1,S2,core,1\n"
    assert told(problems(tmp_path, {"links.csv": text})) == [
        ("links.csv id", "is empty", ("line 2", "line 3")),
        ("links.csv length_km", "is outside 0 to 20000 km", ("line 2",)),
    ]


def test_lines_are_counted_through_blank_lines_and_quoted_line_breaks(tmp_path: Path) -> None:
    text = 'id,name,pue\n\nGS,"Gan\nsu",1.2\nNX,,high\n'
    assert told(problems(tmp_path, {"provinces.csv": text})) == [
        ("provinces.csv pue", "is not a number", ("line 5 (NX)",))
    ]


@pytest.mark.parametrize(
    ("cell", "what"),
    [("1.5", "is not a whole number"), ("1e300", "is not a whole number"), ("-1", "is outside 0 to inf")],
)
def test_whole_numbers_are_not_rounded(tmp_path: Path, cell: str, what: str) -> None:
    text = f"id,site,kind,boots\nE1,S1,router,{cell}\nE2,S1,router,1\n"
    found = problems(tmp_path, {"equipment.csv": text})
    assert [(problem.where, problem.what) for problem in found] == [("equipment.csv boots", what)]


def test_a_parquet_column_of_another_type_is_told_by_row(tmp_path: Path) -> None:
    pl.DataFrame({"id": [1.5], "pue": [True]}).write_parquet(tmp_path / "provinces.parquet")
    files = {name: text for name, text in FILES.items() if name != "provinces.csv"}
    with pytest.raises(InputError) as caught:
        read(written(tmp_path, files))
    assert ("provinces.parquet pue", "is not a number", ("row 1",)) in told(list(caught.value.problems))
    assert ("provinces.parquet id", "is not text", ("row 1",)) in told(list(caught.value.problems))


@pytest.mark.parametrize("keep", [4, 40, 300, -1])
def test_a_truncated_parquet_file_is_told_and_its_absence_is_not_told_again(tmp_path: Path, keep: int) -> None:
    pl.DataFrame({"id": ["GS"], "name": ["Gansu"]}).write_parquet(tmp_path / "provinces.parquet")
    data = (tmp_path / "provinces.parquet").read_bytes()[:keep]
    (tmp_path / "provinces.csv").unlink(missing_ok=True)
    files = {name: text for name, text in FILES.items() if name != "provinces.csv"} | {"provinces.parquet": data}
    with pytest.raises(InputError) as caught:
        read(written(tmp_path, files))
    assert [problem.where for problem in caught.value.problems] == ["provinces.parquet"]
    assert "may be cut off" in caught.value.problems[0].what


@pytest.mark.parametrize(
    ("cut", "what", "rows"),
    [
        ("id,metro,kind,lon,lat\nS1,lz,core,103.8,36.1\nS2,lz,acc", "ends within a line (3 of 5 fields)", ("line 3",)),
        ('id,metro,kind,lon,lat\nS1,lz,"co', "a quote is opened and never closed", ()),
        ("", "is empty", ()),
        ("\n1,2\n", "has no header", ("line 1",)),
    ],
)
def test_a_truncated_csv_file_is_told_with_the_line(tmp_path: Path, cut: str, what: str, rows: tuple[str, ...]) -> None:
    found = problems(tmp_path, {"sites.csv": cut})
    assert [(problem.where, problem.rows) for problem in found] == [("sites.csv", rows)]
    assert found[0].what.startswith(what)


def test_a_csv_file_cut_anywhere_before_its_last_field_is_never_taken_for_whole(tmp_path: Path) -> None:
    whole = str(FILES["sites.csv"]).rstrip("\n")
    second = whole.rindex("\n") + 1
    for length in range(second + 1, whole.rindex(",")):
        assert any(
            problem.where.startswith("sites.csv") for problem in problems(tmp_path, {"sites.csv": whole[:length]})
        )


@pytest.mark.parametrize(
    ("data", "what", "rows"),
    [
        ("id,name\nNX,宁夏回族自治区\nGS,甘肃".encode() + b"\xff\n", "is not UTF-8", ("line 3",)),
        (b"id,name\nGS,\xff\xff\n", "is neither UTF-8 nor GB18030", ("line 2",)),
        ("id,name\nGS,甘肃\n".encode("utf-16")[:-1], "is not UTF-16", ("line 2",)),
        (b"id,name\nGS,Gan\0su\n", "holds zero bytes", ("line 2",)),
        (b"id,name,name\nGS,a,b\n", "names a column twice: name", ()),
    ],
)
def test_a_csv_file_that_is_no_plain_text_is_told(
    tmp_path: Path, data: bytes, what: str, rows: tuple[str, ...]
) -> None:
    assert told(problems(tmp_path, {"provinces.csv": data})) == [("provinces.csv", what, rows)]


def test_two_files_for_one_table_are_refused(tmp_path: Path) -> None:
    pl.DataFrame({"id": ["NX"]}).write_parquet(tmp_path / "provinces.parquet")
    found = problems(tmp_path, {})
    assert told(found) == [("provinces.parquet", "provinces.csv holds the table provinces already", ())]


def test_a_folder_that_is_missing_or_empty_or_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, what in (("nowhere", "no such file"), ("empty", "holds no CSV or Parquet"), ("file", "not a directory")):
        with pytest.raises(InputError, match=what) as caught:
            read(tmp_path / name)
        assert caught.value.problems[0].where == str(tmp_path / name)


def test_a_folder_or_file_without_permission_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    written(folder, FILES)
    with without_permission(folder), pytest.raises(InputError, match="permission denied; ask for permission"):
        read(folder)
    for path in (tmp_path, *tmp_path.parents):
        # Pytest makes its folders for their owner alone; here only the file itself shall refuse.
        if path.stat().st_mode & 0o005 != 0o005:
            path.chmod(0o755)
    with without_permission(folder / "links.csv"), pytest.raises(InputError) as caught:
        read(folder)
    assert told(list(caught.value.problems)) == [(str(folder / "links.csv"), "permission denied", ())]


def test_a_template_has_a_header_for_each_table_and_says_what_each_column_is(tmp_path: Path) -> None:
    paths = template(tmp_path / "new")
    assert {path.name for path in paths} == {f"{name}.csv" for name in schema.tables()} | {"README.txt"}
    for name, specs in schema.tables().items():
        assert (tmp_path / "new" / f"{name}.csv").read_text() == ",".join(specs) + "\n"
    readme = (tmp_path / "new" / "README.txt").read_text()
    assert "length_km (float, km; required; 0 to 20000): Length of the fibre" in readme
    assert "pue (float, ratio; if absent: unknown; 1 to 5)" in readme
    with pytest.raises(InputError, match="no table has a row; fill in the files"):
        read(tmp_path / "new")


def test_a_filled_in_template_is_read(tmp_path: Path) -> None:
    template(tmp_path)
    assert read(written(tmp_path, FILES)).digest == read(written(tmp_path, FILES)).digest
    assert len(read(tmp_path)["links"]) == 1


def test_a_template_overwrites_nothing(tmp_path: Path) -> None:
    written(tmp_path, FILES)
    before = content(tmp_path)
    with pytest.raises(InputError, match=r"there already \(rows links.csv, metros.csv, provinces.csv, sites.csv\)"):
        template(tmp_path)
    assert content(tmp_path) == before


def test_a_template_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    with files_of_at_most(50), pytest.raises(InputError, match="choose a folder on another disk"):
        template(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


FOREIGN: dict[str, str | bytes] = {
    "Provinces.csv": "id,name\nGS,Gansu\n",
    "cities.csv": "City ID,Region,Longitude,LAT\nlz,GS,103.8,36.1\n",
    "sites.csv": "SiteID,metro_id,Role,lng,latitude\nS1,lz,core,103.8,36.1\n",
    "BTS.csv": "code,city,x,y,vendor\nT1,lz,103.9,36.0,V\n",
    "edges.csv": "link_id,Source,target,kind,Length (m),bandwidthMbps,speed,Distance km\nL1,S1,T1,access,9,400,9,12\n",
    "weather.csv": "id,rain\n1,2\n",
}


def test_guesses_see_through_other_names_and_units_and_say_what_is_left_out(tmp_path: Path) -> None:
    found = guess(written(tmp_path, FOREIGN))
    edges = {g.column: (g.target, g.factor, g.how) for g in found if g.file == "edges.csv"}
    assert {g.table for g in found if g.file == "edges.csv"} == {"links"}
    assert edges == {
        "link_id": ("id", 1.0, "id of a row of links"),
        "Source": ("a", 1.0, "refers to sites or stations"),
        "target": ("b", 1.0, "refers to sites or stations"),
        "kind": ("kind", 1.0, "same name"),
        "Length (m)": ("", 1.0, "left out: Distance km is length_km already"),
        "bandwidthMbps": ("capacity_gbps", 0.001, "mbps to gbps, times 0.001"),
        "speed": ("", 1.0, "left out: its unit is not known; rename it to capacity_gbps"),
        "Distance km": ("length_km", 1.0, "synonym"),
    }
    assert [(g.table, g.target) for g in found if g.file == "weather.csv"] == [("", ""), ("", "")]
    assert [g.target for g in found if g.file == "BTS.csv"] == ["id", "metro", "lon", "lat", ""]


def test_a_folder_is_read_through_its_guesses_and_units_are_converted(tmp_path: Path) -> None:
    edges = "link_id,Source,target,kind,Length (m),bandwidthMbps\nL1,S1,T1,access,12500,400\n"
    folder = written(tmp_path, FOREIGN | {"edges.csv": edges})
    twin = read(folder, guess(folder))
    link = twin["links"].records()[0]
    assert (link["a"], link["b"], link["length_km"], link["capacity_gbps"]) == ("S1", "T1", 12.5, 0.4)
    assert twin["sites"].cell("S1", "metro") == "lz"


def test_problems_of_a_guessed_column_bear_the_name_it_has_in_its_file(tmp_path: Path) -> None:
    edges = "link_id,Source,target,kind,Length (m)\nL1,S1,T1,access,-5\nL2,S1,T9,access,x\n"
    folder = written(tmp_path, FOREIGN | {"edges.csv": edges})
    with pytest.raises(InputError) as caught:
        read(folder, guess(folder))
    assert told(list(caught.value.problems)) == [
        ("edges.csv", "2 of its 2 rows cannot be used", ()),
        ("edges.csv Length (m)", "is not a number", ("line 3 (L2)",)),
        ("edges.csv Length (m)", "is outside 0 to 20000 km", ("line 2 (L1)",)),
        ("edges.csv target", "points at a row that does not exist", ("line 3 (L2)",)),
    ]


def test_every_column_of_the_schema_is_its_own_guess(tmp_path: Path) -> None:
    template(tmp_path)
    found = guess(tmp_path)
    assert len(found) == sum(len(specs) for specs in schema.tables().values())
    assert all((g.column, g.factor, g.how) == (g.target, 1.0, "same name") for g in found)
    assert all(g.file == f"{g.table}.csv" for g in found)


def test_guesses_that_send_two_columns_to_one_are_refused(tmp_path: Path) -> None:
    written(tmp_path, FILES | {"provinces.csv": "id,name,title\nGS,Gansu,G\n"})
    twice = [Guess("provinces.csv", "title", "provinces", "name", 1.0, "by hand")]
    assert told(problems(tmp_path, {"provinces.csv": "id,name,title\nGS,Gansu,G\n"}, twice)) == [
        ("provinces.csv title", "name is name already", ())
    ]


def test_every_unreadable_file_stops_a_guess_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        guess(written(tmp_path, {"a.csv": "", "b.parquet": b"x", "c.csv": "id\n1\n"}))
    assert [problem.where for problem in caught.value.problems] == ["a.csv", "b.parquet"]


def test_a_large_folder_is_read_whole(tmp_path: Path) -> None:
    twin = sound_twin(metros=50, sites=500, stations=30_000, links=40_000)
    for table in twin.tables.values():
        if len(table):
            frame(table).write_csv(tmp_path / f"{table.name}.csv")
    assert read(tmp_path).digest == twin.digest


def taken(folder: Path, files: Mapping[str, str | bytes], **options: Any) -> Imported:
    """What is read of the files, without the rows that cannot be used."""
    sources, odd = sources_in(written(folder, FILES | dict(files)))
    found = joined(str(folder), sources, problems=odd, **options)
    assert check(found.twin) == []
    return found


def lost(found: Imported) -> list[tuple[str, str, str]]:
    return [(f"{each.where} {each.column}".rstrip(), each.row, each.why) for each in found.dropped]


GOOD = "".join(f"G{n},lz,core,103.8,36.1\n" for n in range(9))
SITES = f"id,metro,kind,lon,lat\nS1,lz,core,103.8,36.1\nS2,lz,access,103.9,36.0\n{GOOD}"


@pytest.mark.parametrize(
    ("row", "column", "why"),
    [
        ("X,lz,core,east,36", "lon", "is not a number"),
        ("X,lz,core,nan,36", "lon", "is nan"),
        ("X,lz,core,,36", "lon", "is empty"),
        ('X,lz,core,"103,8",36', "lon", "has a comma in its number"),
        ("X,lz,core,36,103", "lon", "lon and lat look swapped"),
        ("X,lz,core,432000.5,4012345", "lon", "is no degree: metres of a projection?"),
        ("X,lz,core,103,361", "lat", "is outside -90 to 90 degree"),
        ("X,lz,hub,103,36", "kind", "is none of core, aggregation, access"),
        ("X,lz,,103,36", "kind", "is empty"),
        ("X,Atlantis,core,103,36", "metro", "points at a row that does not exist"),
        ("X,lz,core,103,36,7", "", "has more than the 5 fields of the header"),
        ("X,lz,core,103", "", "has fewer than the 5 fields of the header"),
    ],
)
def test_a_row_that_cannot_be_used_is_dropped_and_told_and_so_is_what_refers_to_it(
    tmp_path: Path, row: str, column: str, why: str
) -> None:
    links = "id,a,b,kind,length_km\nL1,S1,S2,core,1\nL2,S1,X,core,1\n"
    support = "id,link\nR1,L1\nR2,L2\n"
    lines = SITES.splitlines()
    text = "\n".join([*lines[:3], row, *lines[3:]])
    found = taken(tmp_path, {"sites.csv": text, "links.csv": links, "link_support.csv": support})
    assert lost(found) == [
        (f"sites.csv {column}".rstrip(), "line 4 (X)", why),
        ("links.csv b", "line 3 (L2)", "refers to a row that was dropped"),
        ("link_support.csv link", "line 3 (R2)", "refers to a row that was dropped"),
    ]
    assert all(each.fix for each in found.dropped)
    assert found.twin["links"].ids.tolist() == [b"L1"]
    assert len(found.twin["sites"]) == 11


def test_every_fault_of_a_row_is_told_and_the_row_counts_once(tmp_path: Path) -> None:
    found = taken(tmp_path, {"sites.csv": f"{SITES}X,Atlantis,hub,east,361\n"})
    assert {each.column for each in found.dropped} == {"metro", "kind", "lon", "lat"}
    assert found.rows_dropped == 1


def test_half_of_a_table_may_be_wrong_and_more_of_it_is_the_fault_of_the_table(tmp_path: Path) -> None:
    text = "id,name,pue\nGS,Gansu,1.2\nNX,,high\n"
    assert lost(taken(tmp_path, {"provinces.csv": text})) == [
        ("provinces.csv pue", "line 3 (NX)", "is not a number"),
    ]
    assert told(problems(tmp_path, {"provinces.csv": f"{text}SN,,high\n"})) == [
        ("provinces.csv", "2 of its 3 rows cannot be used", ()),
        ("provinces.csv pue", "is not a number", ("line 3 (NX)", "line 4 (SN)")),
    ]


def test_most_of_a_table_is_not_lost_for_the_fault_of_a_row_elsewhere(tmp_path: Path) -> None:
    metros = "id,province,lon,lat\nlz,GS,103.8,361\nyc,GS,106.2,38.5\n"
    assert told(problems(tmp_path, {"metros.csv": metros})) == [
        ("metros.csv lat", "is outside -90 to 90 degree", ("line 2 (lz)",)),
        ("sites.csv", "2 of its 2 rows cannot be used or refer to rows that cannot", ()),
        ("links.csv", "1 of its 1 rows cannot be used or refer to rows that cannot", ()),
    ]


@pytest.mark.parametrize("rows", list(itertools.permutations(["X,lz,core,1,1", "X,lz,core,2,2", "X,lz,core,east,0"])))
def test_of_rows_with_the_same_id_one_is_kept_whatever_their_order(tmp_path: Path, rows: tuple[str, ...]) -> None:
    found = taken(tmp_path, {"sites.csv": SITES + "\n".join(rows)})
    assert found.twin["sites"].cell("X", "lon") == 1.0
    assert found.rows_dropped == 2
    named = f"id,metro,kind,lon,lat,name\nS1,lz,core,1,1,\nS1,lz,core,9,9,full\n{GOOD.replace('36.1', '36.1,')}"
    links = "id,a,b,kind,length_km\nL1,S1,G1,core,12.5\n"
    assert taken(tmp_path, {"sites.csv": named, "links.csv": links}).twin["sites"].cell("S1", "name") == "full"


CELLS = st.sampled_from(
    ["", "a", "b", "lz", "S1", "S2", "core", "1", "103.8", "36.1", "361", "4e6", "nan", "-1", "1,5"]
)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_twin_is_sound_and_the_same_whatever_the_order_of_rows_and_every_row_is_kept_or_told(
    data: st.DataObject,
) -> None:
    heads = {name: str(text).splitlines()[0] for name, text in FILES.items()}
    bodies = {name: str(text).splitlines()[1:] for name, text in FILES.items()}
    for name in ("metros.csv", "sites.csv", "links.csv"):
        width = heads[name].count(",") + 1
        odd = st.lists(CELLS, min_size=width, max_size=width).map(lambda row: ",".join(f'"{cell}"' for cell in row))
        bodies[name] = [*bodies[name], *data.draw(st.lists(st.one_of(odd, st.sampled_from(bodies[name])), max_size=3))]
    found: list[Imported | None] = []
    for turn in range(2):
        mixed = {n: data.draw(st.permutations(rows)) if turn else rows for n, rows in bodies.items()}
        with tempfile.TemporaryDirectory() as name:
            texts = {n: "\n".join([heads[n], *rows, ""]) for n, rows in mixed.items()}
            try:
                found.append(taken(Path(name), texts, route_factor=1.4))
            except InputError:
                found.append(None)
    if found[0] is None or found[1] is None:
        assert found == [None, None]
        return
    assert found[0].twin.digest == found[1].twin.digest
    kept = sum(len(table) for table in found[0].twin.tables.values())
    assert kept + found[0].rows_dropped == sum(map(len, bodies.values()))


def test_every_table_refers_only_to_tables_before_it() -> None:
    names = list(schema.tables())
    for place, name in enumerate(names):
        for spec in schema.tables()[name].values():
            assert set(spec.refers_to) <= set(names[:place])


@pytest.mark.parametrize(
    ("encoding", "noted"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("gb18030", "GB18030"),
        ("gbk", "GB18030"),
    ],
)
def test_text_of_other_encodings_is_read_and_said(tmp_path: Path, encoding: str, noted: str) -> None:
    found = taken(tmp_path, {"provinces.csv": "id;name\r\nGS;甘肃省\r\n".encode(encoding)})
    assert found.twin["provinces"].cell("GS", "name") == "甘肃省"
    assert found.assumed == ((f"encoding of provinces.csv: {noted}",) if noted else ())


def test_decimal_commas_are_refused_with_what_to_write(tmp_path: Path) -> None:
    found = problems(tmp_path, {"sites.csv": "id;metro;kind;lon;lat\nS1;lz;core;103,8;36,1\nS2;lz;core;103,8;36\n"})
    assert told(found)[1:3] == [
        ("sites.csv lat", "has a comma in its number", ("line 2 (S1)",)),
        ("sites.csv lon", "has a comma in its number", ("line 2 (S1)", "line 3 (S2)")),
    ]
    assert "decimal point" in found[1].fix
    split = problems(tmp_path, {"sites.csv": "id,metro,kind,lon,lat\nS1,lz,core,103,8,36,1\n"})
    assert "has more than the 5 fields of the header" in [problem.what for problem in split]
    assert any("decimal points" in problem.fix for problem in split)


def test_a_metro_that_is_wrong_itself_does_not_make_its_stations_look_swapped(tmp_path: Path) -> None:
    metros = "id,province,lon,lat\nlz,GS,103.8,36.1\nkx,GS,39.5,76.0\nur,GS,43.8,870\n"
    stations = "id,metro,lon,lat\nT1,lz,103.8,36.1\nT2,ur,87.6,43.8\nT3,lz,103.8,36.1\n"
    found = taken(tmp_path, {"metros.csv": metros, "stations.csv": stations})
    assert lost(found) == [
        ("metros.csv lat", "line 4 (ur)", "is outside -90 to 90 degree"),
        ("stations.csv metro", "line 3 (T2)", "refers to a row that was dropped"),
    ]


def test_lengths_are_assumed_only_of_links_that_are_kept(tmp_path: Path) -> None:
    links = "id,a,b,kind,length_km\nL1,S1,S2,core,\nL2,S1,X,core,\nL3,S1,S2,core,7\n"
    found = taken(tmp_path, {"links.csv": links}, route_factor=1.4)
    assert found.assumed == ("length of 1 link: great circle of its ends times 1.4",)
    assert found.twin["links"].ids.tolist() == [b"L1", b"L3"]


def test_a_folder_with_the_name_of_a_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "sites.csv").mkdir()
    with pytest.raises(InputError, match=r"sites.csv: is a folder; put its files beside the others"):
        read(tmp_path / "old")


def test_a_table_of_parquet_that_repeats_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("karez.importers.sheets.LARGEST_ROWS", 3)
    pl.DataFrame({"id": ["x"] * 4}).write_parquet(tmp_path / "ducts.parquet")
    assert told(problems(tmp_path, {})) == [("ducts.parquet", "says that it has 4 rows (at most 3)", ())]
