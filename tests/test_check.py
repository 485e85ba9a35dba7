from __future__ import annotations

import math
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import Problem
from karez.twin import Table, Twin, World, schema
from karez.twin.check import DUPLICATE, EMPTY, NAN, NEVER_VALID, NO_ID, NOWHERE, SAME_ENDS, SWAPPED, check, check_rows
from karez.twin.facts import library
from karez.twin.schema import ColumnSpec, Value
from tests.strategies import Columns, sound_twin, sound_twins, wild_twins

Told = set[tuple[str, str, str]]


def told(problems: list[Problem]) -> Told:
    return {(problem.where, problem.what, row) for problem in problems for row in problem.rows}


def distance_km(lon: float, lat: float, to_lon: float, to_lat: float) -> float:
    """The angle between two positions as unit vectors, which is another formula than the one under test."""
    one, other = ([math.radians(angle) for angle in pair] for pair in ((lon, lat), (to_lon, to_lat)))
    vectors = [(math.cos(la) * math.cos(lo), math.cos(la) * math.sin(lo), math.sin(la)) for lo, la in (one, other)]
    return 6371.0088 * math.acos(max(-1.0, min(1.0, sum(a * b for a, b in zip(*vectors, strict=True)))))


def naive_cell(spec: ColumnSpec, value: Value, known: set[str]) -> list[str]:
    faults = []
    if isinstance(value, str):
        if value == "" and spec.required:
            faults.append(EMPTY)
        elif spec.allowed and value not in spec.allowed:
            faults.append(f"is none of {', '.join(spec.allowed)}")
        if spec.refers_to and value and value not in known:
            faults.append(NOWHERE)
    elif value != value:
        if not (isinstance(spec.absent, float) and math.isnan(spec.absent)):
            faults.append(NAN)
    elif not isinstance(value, bool) and not spec.low <= value <= spec.high:
        faults.append("outside")
    return faults


def naive_rows(twin: Twin, name: str, row: dict[str, Value]) -> list[tuple[str, str]]:
    faults = []
    if name == "links" and row["a"] and row["a"] == row["b"]:
        faults.append(("links.b", SAME_ENDS))
    if "valid_from_s" in row and row["valid_from_s"] >= row["valid_to_s"]:  # type: ignore[operator]
        faults.append((f"{name}.valid_to_s", NEVER_VALID))
    if "lon" in row:
        lon, lat = float(row["lon"]), float(row["lat"])
        centres = [m for m in twin["metros"].records() if m["id"] == row.get("metro") and row.get("metro")][:1]
        swapped = abs(lat) > 90 and abs(lon) <= 90
        if centres and name != "metros" and all(map(math.isfinite, (lon, lat))):
            to = float(centres[0]["lon"]), float(centres[0]["lat"])
            if all(map(math.isfinite, to)):
                swapped = swapped or (distance_km(lon, lat, *to) > 500 and distance_km(lat, lon, *to) <= 500)
        if swapped:
            faults.append((f"{name}.lon", SWAPPED))
    return faults


def naive_check(twin: Twin) -> Told:
    """The checks as a plain loop over rows."""
    found: Told = set()
    for name, specs in schema.tables().items():
        records = twin[name].records()
        ids = [record["id"] for record in records]
        for record in records:
            row = str(record["id"]) or NO_ID
            for spec in specs.values():
                known = {str(r["id"]) for target in spec.refers_to for r in twin[target].records()}
                found |= {(spec.where, fault, row) for fault in naive_cell(spec, record[spec.name], known)}
            if ids.count(record["id"]) > 1:
                found.add((f"{name}.id", DUPLICATE, row))
            found |= {(where, what, row) for where, what in naive_rows(twin, name, record)}
    return found


def without_bounds(found: Told) -> Told:
    return {(where, "outside" if what.startswith("is outside") else what, row) for where, what, row in found}


@given(wild_twins())
@settings(max_examples=60, deadline=None)
def test_check_finds_what_a_plain_loop_over_the_rows_finds(twin: Twin) -> None:
    assert without_bounds(told(check(twin))) == naive_check(twin)


@given(wild_twins(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_check_rows_over_all_rows_in_any_order_finds_exactly_what_check_finds(twin: Twin, random: object) -> None:
    problems = []
    for name in schema.tables():
        rows = np.arange(len(twin[name]))
        random.shuffle(rows)  # type: ignore[attr-defined]
        problems += check_rows(twin, name, rows)
    assert problems == check(twin)


@given(wild_twins(), st.data())
@settings(max_examples=60, deadline=None)
def test_the_problems_of_parts_of_the_rows_and_columns_are_those_of_the_whole(twin: Twin, data: st.DataObject) -> None:
    parts: Told = set()
    for name, specs in schema.tables().items():
        owner = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(twin[name]), max_size=len(twin[name]))))
        for part in (0, 1):
            for column in specs:
                parts |= told(check_rows(twin, name, np.flatnonzero(owner == part), [column]))
    assert parts == told(check(twin))


@given(sound_twins())
def test_a_sound_twin_has_no_problem(twin: Twin) -> None:
    assert check(twin) == []


def changed(table: str, row: str, **values: Value) -> Twin:
    twin = sound_twin()
    return twin.replace(twin[table].set(twin[table].rows([row]), **values))


@pytest.mark.parametrize(
    ("table", "row", "values", "where", "what"),
    [
        ("links", "l2", {"length_km": -1.0}, "links.length_km", "is outside 0 to 20000 km"),
        ("links", "l2", {"length_km": np.inf}, "links.length_km", "is outside 0 to 20000 km"),
        ("links", "l2", {"length_km": np.nan}, "links.length_km", NAN),
        ("links", "l2", {"layer": "radio"}, "links.layer", "is none of optical, ip"),
        ("links", "l2", {"a": ""}, "links.a", EMPTY),
        ("links", "l2", {"a": "Atlantis"}, "links.a", NOWHERE),
        ("links", "l2", {"a": "t1", "b": "t1"}, "links.b", SAME_ENDS),
        ("links", "l2", {"valid_from_s": 5.0, "valid_to_s": 5.0}, "links.valid_to_s", NEVER_VALID),
        ("sites", "s1", {"domain": "nobody"}, "sites.domain", NOWHERE),
    ],
)
def test_a_fault_is_told_with_its_column_and_row(
    table: str, row: str, values: dict[str, Value], where: str, what: str
) -> None:
    problems = check(changed(table, row, **values))
    assert [(problem.where, problem.what, problem.rows) for problem in problems] == [(where, what, (row,))]


@pytest.mark.parametrize(
    ("table", "row", "values"),
    [
        ("links", "l2", {"capacity_gbps": np.inf}),
        ("links", "l2", {"length_km": 0.0}),
        ("links", "l2", {"length_km": 20000.0}),
        ("provinces", "p0", {"price_cny_per_kwh": np.nan}),
        ("sites", "s1", {"domain": ""}),
        ("sites", "s1", {"valid_from_s": -np.inf, "valid_to_s": np.inf}),
    ],
)
def test_what_the_schema_allows_is_no_fault(table: str, row: str, values: dict[str, Value]) -> None:
    assert check(changed(table, row, **values)) == []


def test_coordinates_that_were_exchanged_are_told_even_where_both_are_within_bounds() -> None:
    rows: Columns = {"id": ["t1", "t2"], "metro": ["m"] * 2, "lon": [28.6, 77.2], "lat": [77.2, 28.6]}
    twin = Twin(
        {
            "provinces": Table.of("provinces", {"id": ["p"]}),
            "metros": Table.of("metros", {"id": ["m"], "province": ["p"], "lon": [77.1], "lat": [28.5]}),
            "stations": Table.of("stations", rows),
        }
    )
    assert told(check(twin)) == {("stations.lon", SWAPPED, "t1")}


def test_a_metro_with_a_latitude_beyond_the_pole_looks_swapped() -> None:
    metro = Table.of("metros", {"id": ["m"], "province": ["p"], "lon": [39.9], "lat": [116.4]})
    twin = Twin({"provinces": Table.of("provinces", {"id": ["p"]}), "metros": metro})
    assert told(check(twin)) == {
        ("metros.lon", SWAPPED, "m"),
        ("metros.lat", "is outside -90 to 90 degree", "m"),
    }


def test_one_problem_lists_all_rows_of_a_kind_of_fault() -> None:
    twin = sound_twin(links=4)
    problems = check(twin.replace(twin["links"].set(np.arange(4), length_km=-1.0)))
    assert [problem.rows for problem in problems] == [("l0", "l1", "l2", "l3")]


@pytest.mark.parametrize("row", [0, 1])
def test_a_repeated_id_is_told_whichever_of_its_rows_is_looked_at(row: int) -> None:
    twin = Twin({"provinces": Table.of("provinces", {"id": ["p", "p"]})})
    assert told(check_rows(twin, "provinces", np.array([row]))) == {("provinces.id", DUPLICATE, "p")}


def test_states_of_an_actual_twin_are_checked_against_what_is_intended() -> None:
    states = Table.of("link_states", {"id": ["l0", "gone"]})
    world = World(sound_twin(), Twin({"link_states": states}))
    assert told(check(world)) == {("link_states.id", NOWHERE, "gone")}


def test_checking_a_thousand_rows_of_a_million_touches_only_them() -> None:
    twin = sound_twin(metros=300, sites=1000, stations=100_000, links=1_000_000)
    rng = np.random.default_rng(0)
    rows = rng.choice(1_000_000, 1000, replace=False)
    twin.digest  # noqa: B018 - the digest of what did not change is known before
    check(twin)
    tracemalloc.start()
    began = time.process_time()
    links = twin["links"].set(rows, length_km=np.where(rows == rows[0], -1.0, 5.0), a="s7")
    after = twin.replace(links)
    problems = check_rows(after, "links", rows, ["length_km", "a"])
    after.digest  # noqa: B018 - the cost of it is measured
    spent_s = time.process_time() - began
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told(problems) == {("links.length_km", "is outside 0 to 20000 km", links.ids[rows[0]].decode())}
    assert peak_bytes < 20e6
    assert spent_s < 0.5


def test_the_library_s_tables_are_read_as_written_and_unknown_ones_are_named() -> None:
    rows = library("latency")
    assert {"kind", "element", "low", "typical", "high", "source"} <= rows[0].keys()
    assert all(row["source"] for row in rows)
    assert library("latency") is rows
    with pytest.raises(KeyError, match="no table 'unicorns'"):
        library("unicorns")
