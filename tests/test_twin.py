from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.twin import Conflict, Table, Twin, World, diff, merge, schema
from karez.twin.schema import Value
from karez.twin.table import MISSING, NONE
from tests.strategies import Columns, sound_twin, sound_twins


def stations(**columns: Sequence[Value]) -> Table:
    rows = len(columns["id"])
    defaults: Columns = {"metro": ["m0"] * rows, "lon": [100.0] * rows, "lat": [30.0] * rows}
    return Table.of("stations", {**defaults, **columns})


@given(sound_twins(), st.integers(0, 2**32 - 1))
def test_the_digest_of_a_twin_depends_neither_on_row_order_nor_on_history(twin: Twin, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shuffled = Twin({t.name: t.take(rng.permutation(len(t))) for t in twin.tables.values() if len(t)})
    rows = rng.integers(0, len(twin["links"]), 3)
    there = twin.replace(twin["links"].set(rows, length_km=twin["links"]["length_km"][rows] + 1))
    back = there.replace(there["links"].set(rows, length_km=twin["links"]["length_km"][rows]))
    assert shuffled.digest == twin.digest == back.digest
    assert there.digest != twin.digest


@given(sound_twins())
def test_replace_shares_every_other_table(twin: Twin) -> None:
    other = twin.replace(twin["links"].set(np.array([0]), up=False))
    assert all(other[name] is twin[name] for name in schema.tables() if name != "links")
    assert not other["links"]["up"][0]


@given(sound_twins(), st.data())
@settings(max_examples=50)
def test_diff_tells_what_was_added_removed_and_changed_and_nothing_else(twin: Twin, data: st.DataObject) -> None:
    table = twin["stations"]
    row = data.draw(st.integers(0, len(table) - 1))
    changed = table.set(np.array([row]), weight=7.5)
    gone = data.draw(st.integers(0, len(table) - 1))
    after = changed.take(np.arange(len(table)) != gone)
    extra = {name: after[name] for name in after.columns}
    extra = {name: np.append(column, table[name][:1]) for name, column in extra.items()}
    extra["id"] = np.append(after.ids, b"zz")
    found = diff(twin, twin.replace(Table.of("stations", extra)))
    assert [entry.table for entry in found] == ["stations"]
    assert found[0].added == ("zz",)
    assert found[0].removed == (table.ids[gone].decode(),)
    assert found[0].changed == ({} if row == gone else {"weight": (table.ids[row].decode(),)})
    assert diff(twin, twin) == []


@given(sound_twins())
def test_a_twin_merged_with_itself_is_itself_without_conflict(twin: Twin) -> None:
    merged, conflicts = merge(twin, twin, twin)
    assert merged.digest == twin.digest
    assert conflicts == []


@given(sound_twins(), st.integers(0, 2**32 - 1))
def test_parts_of_a_twin_merge_to_the_whole_in_any_order(twin: Twin, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts: list[dict[str, Table]] = [{}, {}, {}]
    for table in twin.tables.values():
        owner = rng.integers(0, 3, len(table))
        for number, part in enumerate(parts):
            part[table.name] = table.take(owner == number) if (owner == number).any() else Table.of(table.name)
    order = rng.permutation(3).tolist()
    merged, conflicts = merge(*(Twin(part) for part in parts), precedence=order)
    assert merged.digest == twin.digest
    assert conflicts == []


def test_the_twin_with_precedence_has_the_last_word_and_the_other_is_told() -> None:
    one = Twin({"stations": stations(id=["t1"], weight=[2.0])})
    two = Twin({"stations": stations(id=["t1"], weight=[3.0])})
    for order, taken, refused in (((0, 1), 2.0, 3.0), ((1, 0), 3.0, 2.0)):
        merged, conflicts = merge(one, two, precedence=order)
        assert merged["stations"].cell("t1", "weight") == taken
        assert conflicts == [Conflict("stations", "t1", "weight", taken, refused)]


def test_what_one_source_does_not_know_is_filled_from_another_without_conflict() -> None:
    one = Twin({"provinces": Table.of("provinces", {"id": ["p"], "name": [""], "price_cny_per_kwh": [0.4]})})
    two = Twin({"provinces": Table.of("provinces", {"id": ["p"], "name": ["Gansu"], "pue": [1.2]})})
    merged, conflicts = merge(one, two)
    assert conflicts == []
    row = merged["provinces"].records()[0]
    assert (row["name"], row["price_cny_per_kwh"], row["pue"]) == ("Gansu", 0.4, 1.2)


def test_rows_that_aliases_name_the_same_become_one_and_references_follow() -> None:
    twin = sound_twin(sites=2, stations=2, links=1)
    foreign = stations(id=["BTS-9"], weight=[1.0])
    link: Columns = {"id": ["foreign"], "a": ["s0"], "b": ["BTS-9"], "kind": ["access"], "length_km": [1.0]}
    alias = Table.of("aliases", {"id": ["BTS-9"], "system": ["oss"], "table": ["stations"], "row": ["t1"]})
    other = Twin({"stations": foreign, "links": Table.of("links", link), "aliases": alias})
    merged, conflicts = merge(twin, other)
    assert not merged["stations"].has("BTS-9")
    assert len(merged["stations"]) == 2
    assert merged["links"].cell("foreign", "b") == "t1"
    assert {conflict.id for conflict in conflicts} == {"t1"}
    assert {conflict.column for conflict in conflicts} <= {"metro", "lon", "lat"}


def test_a_precedence_that_does_not_name_every_twin_once_is_refused() -> None:
    with pytest.raises(ValueError, match="each of the 2 twins once"):
        merge(Twin(), Twin(), precedence=[0, 0])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1), st.integers(0, 9))
def test_at_keeps_the_rows_that_hold_then(spans: list[tuple[int, int]], at_s: int) -> None:
    rows = len(spans)
    table = Table.of(
        "links",
        {
            "id": [f"l{number:03d}" for number in range(rows)],
            "a": ["s0"] * rows,
            "b": ["t0"] * rows,
            "kind": ["access"] * rows,
            "length_km": [1.0] * rows,
            "valid_from_s": [float(start) for start, _ in spans],
            "valid_to_s": [float(end) for _, end in spans],
        },
    )
    kept = Twin({"links": table}).at(at_s)["links"].ids.tolist()
    assert kept == [f"l{n:03d}".encode() for n, (start, end) in enumerate(spans) if start <= at_s < end]


def test_at_leaves_out_what_stands_on_a_site_that_does_not_hold_then() -> None:
    twin = sound_twin(sites=2, stations=1, links=0)
    server: Columns = {"id": ["p0", "p1"], "site": ["s0", "s1"], "chip": ["X"] * 2, "chips": [8] * 2}
    endpoint: Columns = {
        "id": ["e0", "e1"],
        "server": ["p0", "p1"],
        "model": ["M"] * 2,
        "prefill_tokens_per_s": [1.0] * 2,
        "decode_tokens_per_s": [1.0] * 2,
        "price_cny_per_mtoken": [1.0] * 2,
    }
    place: Columns = {"id": ["k0", "k1"], "site": ["s0", "s1"]}
    later = twin["sites"].set(np.array([1]), valid_from_s=100.0)
    rows = [Table.of(n, c) for n, c in (("servers", server), ("endpoints", endpoint), ("places", place))]
    twin = twin.replace(later, *rows)
    for at_s, there in ((0.0, 1), (100.0, 2)):
        assert {name: len(twin.at(at_s)[name]) for name in ("servers", "endpoints", "places")} == {
            "servers": there,
            "endpoints": there,
            "places": there,
        }


def test_at_shares_tables_that_hold_for_ever() -> None:
    twin = sound_twin()
    assert all(twin.at(0.0)[name] is twin[name] for name in schema.tables())


def test_references_resolve_through_sites_then_stations() -> None:
    twin = sound_twin(sites=3, stations=5)
    link: Columns = {
        "id": ["1", "2"],
        "a": ["s2", ""],
        "b": ["t4", "nowhere"],
        "kind": ["access"] * 2,
        "length_km": [1.0] * 2,
    }
    twin = twin.replace(Table.of("links", link))
    assert twin.resolve("links", "a").tolist() == [2, NONE]
    assert twin.resolve("links", "b").tolist() == [3 + 4, MISSING]


def test_a_world_takes_states_from_the_actual_twin_and_the_rest_from_the_intended_one() -> None:
    intended = sound_twin()
    actual = Twin({"link_states": Table.of("link_states", {"id": ["l0"]})})
    world = World(intended, actual)
    assert world["link_states"] is actual["link_states"]
    assert world["links"] is intended["links"]


@pytest.mark.parametrize(("told", "rows"), [(["b", "c"], [1, 2]), (["a", "bb", "c"], [0, 2]), (["x"], [])])
def test_observed_pairs_states_with_the_rows_they_are_of_and_leaves_out_strangers(
    told: list[str], rows: list[int]
) -> None:
    intended = Twin().replace(Table.of("equipment", {"id": ["a", "b", "c"], "site": ["s"] * 3, "kind": ["router"] * 3}))
    actual = Twin().replace(Table.of("equipment_states", {"id": told}))
    found, states = World(intended, actual).observed("equipment")
    assert found.tolist() == rows
    assert states.ids.tolist() == intended["equipment"].ids[rows].tolist()


def test_a_twin_that_holds_a_row_under_two_names_gives_one_row_and_tells_where_they_differ() -> None:
    stations: Columns = {"id": ["BTS-9", "t1"], "metro": ["m", "m"], "lon": [101.0, 100.0], "lat": [30.0, 30.0]}
    alias = Table.of("aliases", {"id": ["BTS-9"], "system": ["oss"], "table": ["stations"], "row": ["t1"]})
    merged, conflicts = merge(Twin({"stations": Table.of("stations", stations), "aliases": alias}))
    assert merged["stations"].ids.tolist() == [b"t1"]
    assert [(c.id, c.column, c.taken, c.refused) for c in conflicts] == [("t1", "lon", 100.0, 101.0)]
