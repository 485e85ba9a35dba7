from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError
from karez.operations import SteerQuestion, run
from karez.operations.steer import SteerAnswer
from karez.plan.steer import compile as compile_table
from karez.plan.steer import decide_many
from karez.steer import (
    DATA_CLASSES,
    FASTEST,
    LAYOUT,
    MARGIN_SHARE,
    NO_CANDIDATE,
    NO_CONTEXT,
    NO_LAWFUL,
    TOO_SLOW,
    UNLAWFUL,
    BadTable,
    Table,
    decide,
    dump,
    load,
    parse,
)
from karez.twin import Table as TwinTable
from karez.twin import Twin, World
from karez.units import US_PER_MS
from tests import compute
from tests.compute import metros

AT_S = 1_790_000_000.0


@pytest.fixture(scope="module")
def table() -> Table:
    return compile_table(compute.small(), at_s=AT_S)


def test_the_table_holds_the_round_trip_there_and_back() -> None:
    world = compute.small()
    links = world["links"].set(np.array([1]), direction="forward")
    table = compile_table(World(world.intended.replace(links), world.actual), at_s=AT_S)
    # East to west over the middle, back the long way round; typical figures of fibre and of a backbone hop.
    oneway_us = [100 * 4.9 + 50 + 1_000 * 4.9 + 50, 2_000 * 4.9 + 50]
    decision = decide(table, metro="m-east", model="small", prompt_tokens=1, data_class="general")
    assert decision.endpoint == "e3"
    assert decision.predicted_ttft_ms == pytest.approx(sum(oneway_us) / US_PER_MS + 1 / 5.0)


def test_the_table_names_the_twin_it_was_compiled_from(table: Table) -> None:
    assert table.digest == compute.small().intended.digest


def test_the_cheapest_that_meets_the_objective_wins(table: Table) -> None:
    def to(objective_ms: float) -> str:
        asked = {"metro": "m-east", "model": "small", "prompt_tokens": 1_000, "data_class": "general"}
        return decide(table, **asked, objective_ms=objective_ms).endpoint  # type: ignore[arg-type]

    # e3 needs about 211 ms, e2 126 ms and e1 100 ms; a tenth of the objective stays free.
    assert [to(objective) for objective in (300.0, 230.0, 150.0, 120.0)] == ["e3", "e2", "e2", "e1"]


def test_what_misses_the_objective_everywhere_goes_to_the_fastest(table: Table) -> None:
    asked = {"metro": "m-east", "model": "small", "prompt_tokens": 1_000, "data_class": "general"}
    decision = decide(table, **asked, objective_ms=1.0)  # type: ignore[arg-type]
    assert (decision.endpoint, decision.why) == ("e1", FASTEST)
    assert [(e.endpoint, e.why) for e in decision.excluded] == [("e3", TOO_SLOW), ("e2", TOO_SLOW)]


def test_prompts_that_wait_before_it_send_a_request_elsewhere(table: Table) -> None:
    asked = {"metro": "m-east", "model": "small", "prompt_tokens": 1_000, "data_class": "general"}
    backlog = [0.0, 0.0, 10_000.0, 0.0]
    assert decide(table, **asked, objective_ms=300.0, backlog_tokens=backlog).endpoint == "e2"  # type: ignore[arg-type]


def test_data_go_only_where_the_policy_lets_a_gateway_send_them(table: Table) -> None:
    def to(data_class: str, metro: str = "m-east") -> tuple[str, list[tuple[str, str]]]:
        decision = decide(table, metro=metro, model="small", prompt_tokens=10, data_class=data_class)
        return decision.endpoint, [(e.endpoint, e.why) for e in decision.excluded]

    assert to("general") == ("e3", [])
    assert to("personal") == ("e3", [])
    # The middle is another entity, for which personal data must be made pseudonymous: a gateway cannot.
    assert to("important") == ("e1", [("e3", UNLAWFUL), ("e2", UNLAWFUL)])
    assert to("important", "m-west") == ("e3", [])


def test_where_nothing_is_allowed_the_decision_says_why() -> None:
    world = compute.small()
    servers = world["servers"].set(np.arange(3), domain="hidden")
    links = world["links"].set(np.arange(3), up=False)
    hidden = compile_table(World(world.intended.replace(servers), world.actual), at_s=AT_S)
    cut = compile_table(World(world.intended.replace(links), world.actual), at_s=AT_S)

    def asked(table: Table, *, tokens: int = 10, model: str = "small", data: str = "personal") -> tuple[str, str]:
        decision = decide(table, metro="m-west", model=model, prompt_tokens=tokens, data_class=data)
        assert math.isinf(decision.predicted_ttft_ms) == (decision.endpoint == "")
        return decision.endpoint, decision.why

    assert asked(hidden) == ("", NO_LAWFUL)
    assert asked(cut, model="large") == ("", NO_CANDIDATE)
    assert asked(cut, tokens=8_193) == ("", NO_CONTEXT)
    assert asked(cut, tokens=8_192)[0] == "e3"


def test_a_context_that_nobody_published_limits_nothing(table: Table) -> None:
    decision = decide(table, metro="m-east", model="large", prompt_tokens=10**9, data_class="general")
    assert decision.endpoint == "e4"


def test_a_metro_without_a_core_site_reaches_nothing() -> None:
    world = compute.small()
    bare = world.intended.replace(TwinTable.of("metros", metros("m-bare", "m-east", "m-middle", "m-west")))
    table = compile_table(World(bare, world.actual), at_s=AT_S)
    assert decide(table, metro="m-bare", model="small", prompt_tokens=1, data_class="general").why == NO_CANDIDATE


def test_an_endpoint_that_reads_nothing_is_no_candidate() -> None:
    world = compute.small()
    slow = world["endpoints"].set(np.array([0, 2]), prefill_tokens_per_s=np.array([0.0, np.inf]))
    table = compile_table(World(world.intended.replace(slow), world.actual), at_s=AT_S)
    assert decide(table, metro="m-east", model="small", prompt_tokens=1, data_class="general").endpoint == "e2"


def test_a_twin_without_anything_compiles_to_an_empty_table() -> None:
    table = compile_table(World(Twin(), Twin()), at_s=AT_S)
    assert parse(dump(table)).endpoints == []


def test_the_same_world_gives_the_same_bytes(table: Table) -> None:
    world = compute.small()
    shuffled = [world[name].take(np.arange(len(world[name]))[::-1]) for name in ("endpoints", "links", "sites")]
    again = compile_table(World(world.intended.replace(*shuffled), world.actual), at_s=AT_S)
    assert dump(again) == dump(table)


def test_a_table_survives_the_way_through_a_file(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "table.steer"
    path.write_bytes(dump(table))
    back = load(path)
    assert all(np.array_equal(back.columns[name], table.columns[name]) for name in LAYOUT)
    assert back.digest == table.digest


@given(st.data())
def test_a_damaged_file_is_refused(data: st.DataObject) -> None:
    whole = dump(compile_table(compute.small(), at_s=AT_S))
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    for bad in (damaged, whole[:at], whole[at + 1 :], b""):
        with pytest.raises(BadTable):
            parse(bad)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("offsets", np.zeros(7, "<i8"), "outside"),
        ("endpoint", np.full(12, 99, "<i4"), "outside"),
        ("rtt_ms", np.full(12, np.nan), "positive"),
        ("rtt_ms", np.zeros(3), "12"),
        ("rtt_ms", np.zeros(12, "<f4"), "<f4"),
        ("prefill_tokens_per_s", np.zeros(4), "positive"),
        ("price_cny_per_mtoken", np.array([1.0, 1.5, 2.0, 8.0]), "order"),
    ],
)
def test_columns_that_do_not_fit_are_refused(table: Table, name: str, values: np.ndarray, message: str) -> None:
    with pytest.raises(BadTable, match=message):
        Table(table.columns | {name: values})


def test_a_missing_column_is_refused() -> None:
    with pytest.raises(BadTable, match="column digest is missing; column metro_ids is missing"):
        Table({})


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """A table with candidates drawn by chance; prices and delays often tie."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    metros, models, endpoints = (draw(st.integers(1, most)) for most in (4, 3, 12))
    price = chance.integers(0, 3, endpoints) / 2
    runs = [
        run[np.lexsort((run, price[run]))]
        for _ in range(metros * models)
        for run in [np.flatnonzero(chance.random(endpoints) < 0.6)]
    ]
    endpoint = np.concatenate(runs).astype("<i4")
    ids = [np.array([f"{kind}{n}" for n in range(count)], "S") for kind, count in zip("mke", (4, 3, 12), strict=True)]
    columns = {
        "digest": np.array([b"d"]),
        "metro_ids": ids[0][:metros],
        "model_ids": ids[1][:models],
        "context_tokens": chance.choice(np.array([0, 1_000, 100_000]), models),
        "endpoint_ids": ids[2][:endpoints],
        "site_ids": ids[2][:endpoints],
        "prefill_tokens_per_s": chance.choice(np.array([1_000.0, 3_333.3, 7_000.1]), endpoints),
        "decode_tokens_per_s": np.ones(endpoints),
        "price_cny_per_mtoken": price,
        "offsets": np.concatenate([[0], np.cumsum([len(run) for run in runs])]),
        "endpoint": endpoint,
        "rtt_ms": chance.choice(np.array([0.0, 0.1, 1.7, 40.3]), len(endpoint)),
        "lawful": chance.integers(0, 8, len(endpoint)).astype("|u1"),
    }
    return Table(columns)


@settings(max_examples=200, deadline=None)
@given(tables(), st.integers(0, 2**32 - 1), st.booleans())
def test_one_by_one_and_all_at_once_decide_the_same_to_the_last_bit(table: Table, seed: int, queues: bool) -> None:
    chance = np.random.default_rng(seed)
    count = 40
    metro, model = chance.integers(len(table.metros), size=count), chance.integers(len(table.models), size=count)
    tokens = chance.choice(np.array([1, 17, 999, 1_001, 123_457]), count)
    names = chance.choice(np.array(list(DATA_CLASSES)), count)
    objective_ms = chance.choice(np.array([0.5, 20.0, 300.0, 5_000.0, np.inf]), count)
    backlog = chance.integers(0, 5_000, len(table.endpoints)) if queues else None
    rows, ttft_ms = decide_many(
        table,
        metros=metro,
        models=model,
        prompt_tokens=tokens,
        data_classes=np.array([DATA_CLASSES[name] for name in names], np.uint8),
        objectives_ms=objective_ms,
        backlog_tokens=backlog,
    )
    for n in range(count):
        one = decide(
            table,
            metro=list(table.metros)[metro[n]],
            model=list(table.models)[model[n]],
            prompt_tokens=int(tokens[n]),
            data_class=str(names[n]),
            objective_ms=float(objective_ms[n]),
            backlog_tokens=backlog,
        )
        assert one.endpoint == (table.endpoints[rows[n]] if rows[n] >= 0 else "")
        assert one.predicted_ttft_ms == ttft_ms[n]
        if one.endpoint:
            assert one.endpoint not in [other.endpoint for other in one.excluded]
            met = one.predicted_ttft_ms <= objective_ms[n] * (1.0 - MARGIN_SHARE)
            assert (one.why == FASTEST) == (not met)


def test_the_operation_answers_as_the_table_that_it_writes(tmp_path: Path) -> None:
    network, output = str(compute.saved(tmp_path)), str(tmp_path / "table.steer")
    said = cast(SteerAnswer, run("steer", SteerQuestion(network=network, output=output)))
    wanted = decide(load(output), metro="m-east", model="large", prompt_tokens=1_000, data_class="general")
    assert (said.metro, said.model, said.endpoint) == ("m-east", "large", wanted.endpoint)
    assert said.predicted_ttft_ms == wanted.predicted_ttft_ms
    assert "synthetic" in said.headline
    assert load(output).digest[:12] in said.citation
    with pytest.raises(InputError, match="exists already"):
        run("steer", SteerQuestion(network=network, output=output))


def test_the_operation_names_every_unknown_word_at_once(tmp_path: Path) -> None:
    question = SteerQuestion(network=str(compute.saved(tmp_path)), metro="m-nowhere", model="huge")
    with pytest.raises(InputError) as caught:
        run("steer", question)
    assert [problem.where for problem in caught.value.problems] == ["metro", "model"]


def test_no_request_gets_no_decision(table: Table) -> None:
    none = np.zeros(0, np.int64)
    rows, ttft_ms = decide_many(
        table,
        metros=none,
        models=none,
        prompt_tokens=none,
        data_classes=none.astype(np.uint8),
        objectives_ms=np.zeros(0),
    )
    assert (len(rows), len(ttft_ms)) == (0, 0)


def test_the_decision_imports_nothing_but_numpy_and_the_standard_library() -> None:
    code = (
        "import sys, karez.steer; "
        "roots = {name.partition('.')[0] for name in sys.modules}; "
        "print(*sorted(roots - set(sys.stdlib_module_names) - {'__main__', 'numpy', 'karez'})); "
        "print(*sorted(name for name in sys.modules if name.startswith('karez')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    others, ours = done.stdout.splitlines()
    # What site-packages starts with every process, such as the hook of an editable install, is not ours.
    bare = subprocess.run([sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True)
    assert set(others.split()) <= {name.partition(".")[0] for name in bare.stdout.split()}
    assert ours.split() == ["karez", "karez.steer"]
