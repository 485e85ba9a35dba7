from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError
from karez.twin import Column, Table
from karez.twin.table import CHUNK_ROWS, CHUNK_SHIFT, MANY, MISSING, NONE, Array, resolve, texts
from tests.strategies import sound_twin, wild_tables

KINDS = ("float", "int", "bool", "text")


def random_column(kind: str, rows: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    if kind == "float":
        return rng.choice(np.array([0.0, -0.0, 1.5, np.nan, -np.nan, np.inf]), rows)
    if kind == "int":
        return rng.integers(-5, 5, rows)
    if kind == "bool":
        return rng.random(rows) < 0.5
    return rng.choice(np.array([b"", b"a", b"bcd", "京".encode()]), rows)


columns = st.builds(random_column, st.sampled_from(KINDS), st.integers(1, 3 * CHUNK_ROWS), st.integers(0, 2**32 - 1))


@given(old=columns, seed=st.integers(0, 2**32 - 1), changes=st.integers(0, 40))
def test_a_column_that_was_set_equals_one_made_whole(old: Array, seed: int, changes: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(old), changes)
    new = rng.permutation(np.resize(old, changes))
    whole = old.copy()
    for row, value in zip(rows, new, strict=True):
        whole[row] = value
    column = Column.of(old).set(rows, new)
    assert column.digest == Column.of(whole).digest
    np.testing.assert_array_equal(column.array, whole)


@given(old=columns, seed=st.integers(0, 2**32 - 1), changes=st.integers(0, 40))
def test_set_shares_every_chunk_that_holds_no_changed_row(old: Array, seed: int, changes: int) -> None:
    rows = np.random.default_rng(seed).integers(0, len(old), changes)
    before = Column.of(old)
    after = before.set(rows, old[rows])
    touched = set((rows >> CHUNK_SHIFT).tolist())
    for index, (left, right) in enumerate(zip(before.chunks, after.chunks, strict=True)):
        assert (left is right) == (index not in touched)


@given(old=columns, seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40))
def test_values_at_rows_are_those_of_the_whole_column(old: Array, seed: int, count: int) -> None:
    rows = np.random.default_rng(seed).integers(0, len(old), count)
    column = Column.of(old)
    changed = column.set(np.array([0]), old[:1])
    np.testing.assert_array_equal(column.at(rows), old[rows])
    np.testing.assert_array_equal(changed.at(rows), old[rows])


def test_values_at_a_few_rows_of_a_changed_column_do_not_join_its_chunks() -> None:
    column = Column.of(np.zeros(1_000_000)).set(np.array([3]), np.array([1.0]))
    tracemalloc.start()
    values = column.at(np.array([3, 999_999]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values.tolist() == [1.0, 0.0]
    assert peak < 100_000


@given(st.data())
@settings(max_examples=50)
def test_the_digest_of_a_table_does_not_depend_on_the_order_of_its_rows(data: st.DataObject) -> None:
    table = sound_twin(links=data.draw(st.integers(1, 1500)), seed=data.draw(st.integers(0, 99)))["links"]
    order = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(len(table))
    shuffled = Table.of("links", {name: table[name][order] for name in table.columns})
    assert shuffled.digest == table.digest
    assert shuffled.records() == table.records()


def test_the_width_in_which_text_is_held_does_not_change_its_digest() -> None:
    narrow, wide = np.array([b"ab", b"c"], "S2"), np.array([b"ab", b"c"], "S40")
    assert Column.of(narrow).digest == Column.of(wide).digest
    long = Column.of(narrow).set(np.array([1]), np.array([b"a long text"]))
    assert long.set(np.array([1]), np.array([b"c"])).digest == Column.of(narrow).digest


@given(wild_tables("stations"), wild_tables("stations"))
def test_tables_of_equal_digest_hold_equal_values_and_no_others_do(one: Table, other: Table) -> None:
    rows = [tuple(map(str, row.values())) for row in one.records()]
    others = [tuple(map(str, row.values())) for row in other.records()]
    same = [[v.replace("-0.0", "0.0") for v in row] for row in rows] == [
        [v.replace("-0.0", "0.0") for v in row] for row in others
    ]
    assert (one.digest == other.digest) == same


@pytest.mark.parametrize(("one", "other"), [(0.0, -0.0), (np.nan, -np.nan)])
def test_floats_that_mean_the_same_have_the_same_digest(one: float, other: float) -> None:
    assert np.array(one).tobytes() != np.array(other).tobytes()
    changed = Column.of(np.array([1.0, 2.0])).set(np.array([1]), np.array([other]))
    assert Column.of(np.array([1.0, one])).digest == Column.of(np.array([1.0, other])).digest == changed.digest


def test_a_constant_column_has_the_digest_of_one_that_repeats_its_value() -> None:
    rows = 2 * CHUNK_ROWS + 7
    constant = Column.constant("京", np.dtype("S1"), rows)
    assert constant.digest == Column.of(np.full(rows, "京".encode())).digest
    changed = constant.set(np.array([5]), np.array([b"x"]))
    assert changed.array[5] == b"x"
    assert constant.array[5] == "京".encode()


@given(st.lists(st.sampled_from(["", "a", "b", "long word", "é"]), min_size=1, max_size=40), st.data())
def test_a_column_of_few_words_is_the_column_of_its_values(values: list[str], data: st.DataObject) -> None:
    words, which = np.unique(texts(values), return_inverse=True)
    rows = np.array(data.draw(st.lists(st.integers(0, len(values) - 1))), np.int64)
    targets = (Column.of(texts(["a", "long word"])), Column.of(texts(["b"])))

    def worded() -> Column:
        return Column.worded(words.copy(), which.astype(np.uint8))

    plain = Column.of(texts(values))
    assert worded().digest == plain.digest
    assert worded().array.tolist() == plain.array.tolist()
    assert worded().at(rows).tolist() == plain.at(rows).tolist()
    assert worded().resolve(targets).tolist() == plain.resolve(targets).tolist()
    for word in (b"a", b"nowhere"):
        test = word.__eq__
        assert worded().tested(np.vectorize(test, [bool])).tolist() == list(map(test, texts(values).tolist()))
    some = np.unique(rows)
    assert worded().set(some, texts(["b"] * len(some))).digest == plain.set(some, texts(["b"] * len(some))).digest


def test_a_column_of_few_words_takes_the_memory_of_which_it_has_until_all_is_asked_for() -> None:
    words, which = texts(["aggregation", "core"]), np.zeros(1_000_000, np.uint8)
    which[::2] = 1
    tracemalloc.start()
    try:
        column = Column.worded(words, which)
        core = column.tested(lambda some: some == b"core")
        column.at(np.arange(1_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert core.sum() == 500_000
    assert peak < 3_000_000


def test_chunks_cannot_be_written_to() -> None:
    column = Column.of(np.zeros(3)).set(np.array([1]), np.array([2.0]))
    with pytest.raises(ValueError, match="read-only"):
        column.chunks[0][0] = 1.0


def test_values_resolve_to_rows_through_several_tables_empty_to_none_and_others_to_missing() -> None:
    first, second = Column.of(texts(["a", "b"])), Column.of(texts(["a2", "long"]))
    found = resolve(texts(["b", "", "long", "a", "a2", "longer than any id", "B"]), (first, second))
    assert found.tolist() == [1, NONE, 3, 0, 2, MISSING, MISSING]


@pytest.mark.parametrize("order", ["ascending", "backwards", "shuffled"])
@pytest.mark.parametrize("width", [3, 8])
def test_a_million_values_resolve_together_as_they_do_in_parts(order: str, width: int) -> None:
    random = np.random.default_rng(width)
    values = random.integers(0, 30, (MANY + 5, width)).astype(np.uint8)
    # A third of the letters are none: values are of every length, many come again, some are empty.
    values = np.where(values < 20, values % 9 + ord("a"), 0).astype(np.uint8).view(f"S{width}").ravel()
    if order != "shuffled":
        values = np.sort(values)[:: 1 if order == "ascending" else -1]
    ids = [np.sort(random.choice(values, size)) for size in (1, 12 * width, 4 ** (width + 1))]
    targets = (*(Column.of(some) for some in ids), Column.of(texts([])))
    parts = [resolve(values[start : start + MANY // 2], targets) for start in range(0, len(values), MANY // 2)]
    found = resolve(values, targets)
    assert found.tolist() == np.concatenate(parts).tolist()
    assert {NONE, MISSING} < set(np.unique(found).tolist())


def test_resolving_a_long_value_does_not_widen_all_ids() -> None:
    ids = Column.of(np.sort(np.arange(100_000, 900_000).astype("S6")))
    tracemalloc.start()
    found = resolve(texts(["a value that is longer than any id", "100007"]), (ids,))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.tolist() == [MISSING, 7]
    assert peak < 1_000_000


def test_references_into_an_empty_table_are_missing() -> None:
    assert resolve(texts(["a", ""]), (Table.of("sites").columns["id"],)).tolist() == [MISSING, NONE]


def test_every_fault_of_the_columns_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        Table.of("stations", {"id": ["a", "b"], "lon": ["east", "west"], "lat": [1.0], "height_m": [3.0, 4.0]})
    told = {(problem.where, problem.what) for problem in caught.value.problems}
    assert told == {
        ("stations.height_m", "unknown column"),
        ("stations.metro", "required column is missing"),
        ("stations.lon", "holds values that are not float"),
        ("stations", "columns of unequal length (id 2, lat 1)"),
    }


def test_rows_are_found_by_id_and_unknown_ids_are_named() -> None:
    table = sound_twin(stations=12)["stations"]
    assert table.ids[table.rows(["t7", "t11"])].tolist() == [b"t7", b"t11"]
    assert table.has("t3")
    assert not table.has("t12")
    assert table.cell("t7", "weight") == 1.0
    with pytest.raises(KeyError, match="stations has no row 't12'"):
        table.rows(["t1", "t12"])


def test_added_rows_take_their_place_and_taken_rows_keep_their_values() -> None:
    table = sound_twin(stations=5)["stations"]
    half = table.take(np.array([0, 3]))
    rest = table.take(np.array([False, True, True, False, True]))
    again = half.add({name: rest[name] for name in rest.columns})
    assert again.digest == table.digest


def test_set_refuses_unknown_columns_and_other_dtypes() -> None:
    table = sound_twin()["links"]
    with pytest.raises(InputError) as caught:
        table.set(np.array([0]), length_km="far", colour=["red"])
    assert {problem.where for problem in caught.value.problems} == {"links.length_km", "links.colour"}
