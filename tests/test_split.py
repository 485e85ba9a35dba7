"""A model served by chips at two sites: rates, times and shares of work against counting by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError
from karez.measure.chips import Load, estimates
from karez.measure.split import Link, Served, Side, apart
from karez.operations import SplitQuestion, run
from karez.operations.split import SplitAnswer
from karez.twin import store
from karez.twin.catalogue import catalogue
from tests import compute

LOAD = Load(requests=16, tokens_in=2_000, tokens_out=200)
TWIN = catalogue()


def row(table: str, name: str) -> int:
    return int(TWIN[table].rows([name])[0])


MODEL, FAST, SLOW = row("models", "Qwen2.5 14B"), row("chips", "H100 SXM"), row("chips", "H20")


def ways(first: Side, second: Side, link: Link, load: Load = LOAD) -> dict[str, Served]:
    return {one.mode: one for one in apart(TWIN, MODEL, (first, second), link, load)}


def test_whole_at_each_is_what_the_estimate_of_each_says() -> None:
    found = ways(Side(FAST, 2, 3), Side(SLOW, 4, 5), Link(100.0, 5_000.0))["whole at each"]
    each = [
        estimates(TWIN, np.array([MODEL]), np.array([chip]), "online", LOAD._replace(chips=chips)).tokens_per_s[0]
        for chip, chips in ((FAST, 2), (SLOW, 4))
    ]
    assert found.requests_per_s == pytest.approx((3 * each[0] + 5 * each[1]) / LOAD.tokens_out)
    assert found.link_share == 0.0


def test_prompts_apart_go_no_faster_than_the_slowest_of_chips_and_link() -> None:
    sides = Side(FAST, 2, 3), Side(SLOW, 4, 5)
    wide = ways(*sides, Link(1e5, 5_000.0))["prompts apart"]
    cache_bits = LOAD.tokens_in * 196_608.0 * 8
    assert wide.link_share == pytest.approx(wide.requests_per_s * cache_bits / 1e14)
    # Half of what it would take: the link is all that counts, and is never idle.
    gbps = wide.requests_per_s * cache_bits / 1e9 / 2
    narrow = ways(*sides, Link(gbps, 5_000.0))["prompts apart"]
    assert narrow.held_by == "the link"
    assert narrow.requests_per_s == pytest.approx(wide.requests_per_s / 2)
    assert narrow.link_share == pytest.approx(1.0)
    # With twice as many groups for whatever held it back, it is held back by something else, or does twice as much.
    more = Side(FAST, 2, 6) if wide.held_by == "chips for prompts" else sides[0]
    answering = Side(SLOW, 4, 10) if wide.held_by == "chips for answers" else sides[1]
    twice = ways(more, answering, Link(1e5, 5_000.0))["prompts apart"]
    assert twice.held_by != wide.held_by or twice.requests_per_s == pytest.approx(2 * wide.requests_per_s)


def test_batches_on_their_way_hide_the_wide_area() -> None:
    sides = Side(FAST, 1, 4), Side(FAST, 1, 4)
    near, far = (ways(*sides, Link(1e4, us))["layers apart"] for us in (0.0, 10_000.0))
    assert far.batches > near.batches >= 2
    assert far.chips_share > 0.9
    assert far.token_ms > 20.0
    assert near.layers == 24
    # A pipeline does as much as its chips would, each with the whole model.
    whole = ways(*sides, Link(1e4, 0.0))["whole at each"]
    assert near.requests_per_s == pytest.approx(whole.requests_per_s, rel=0.02)


def test_where_memory_holds_few_batches_chips_wait_for_the_wide_area() -> None:
    few = ways(Side(SLOW, 1, 1), Side(SLOW, 1, 1), Link(1e4, 100_000.0), LOAD._replace(tokens_in=50_000))
    found = few["layers apart"]
    assert found.held_by == "memory"
    assert found.chips_share < 0.9
    turn_s = found.token_ms / 1e3
    assert found.requests_per_s == pytest.approx(found.batches * LOAD.requests / turn_s / LOAD.tokens_out)


@settings(deadline=None, max_examples=60)
@given(
    groups=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    gbps=st.floats(0.1, 1e5),
    oneway_us=st.floats(0.0, 50_000.0),
    lengths=st.tuples(st.integers(1, 20_000), st.integers(1, 5_000)),
    requests=st.integers(1, 64),
)
def test_nobody_works_more_than_all_the_time(
    groups: tuple[int, int], gbps: float, oneway_us: float, lengths: tuple[int, int], requests: int
) -> None:
    sides, load = (Side(FAST, 2, groups[0]), Side(SLOW, 4, groups[1])), Load(1, requests, *lengths)
    for one in ways(*sides, Link(gbps, oneway_us), load).values():
        assert -1e-9 <= one.chips_share <= 1 + 1e-9
        assert -1e-9 <= one.link_share <= 1 + 1e-9
        assert one.second_token_ms > one.first_token_ms > 0
        assert all(0 <= used <= there for used, there in zip(one.groups, groups, strict=True))
        assert one.requests_per_s >= 0


def test_a_chip_without_figures_leaves_the_rate_unknown() -> None:
    blank = next(at for at in range(len(TWIN["chips"])) if math.isnan(TWIN["chips"]["memory_gb_per_s"][at]))
    found = ways(Side(FAST, 2, 3), Side(blank, 4, 5), Link(100.0, 1_000.0))
    assert all(math.isnan(one.requests_per_s) or one.requests_per_s == 0 for one in found.values())


def saved(folder: Path) -> Path:
    """The small network with chips and models that are known."""
    world = compute.small()
    servers = world["servers"].set(np.arange(3), chip=np.array([b"H20"] * 3))
    twin = world.intended.replace(TWIN["chips"], TWIN["models"], servers)
    store.save(twin, folder / "network", at_s=0.0, note="", source="tests", synthetic=True, seed=1)
    return folder / "network"


def asked(folder: Path, **values: Any) -> SplitAnswer:
    question: dict[str, Any] = {"network": str(folder), "model": "Qwen2.5 7B", "first": "p-east", "second": "p-west"}
    answer = run("split", SplitQuestion(**(question | values)))
    assert isinstance(answer, SplitAnswer)
    return answer


def test_two_servers_of_a_network_are_asked_over_their_way(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    answer = asked(folder)
    assert {one.mode for one in answer.ways} == {"whole at each", "prompts apart", "layers apart"}
    assert answer.oneway_us > 1_000
    assert answer.ways[0].requests_per_s == max(one.requests_per_s for one in answer.ways)
    assert "P05" in answer.citation
    assert asked(folder, link_gbps=5.0).link_gbps == 5.0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": "none"}, "'none' is not known"),
        ({"first": "none"}, "'none' is not known"),
        ({"second": "p-east"}, "stands at the site of the first"),
        ({"requests": 10_000_000}, "too few to hold"),
    ],
)
def test_what_cannot_be_asked_is_told(values: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        asked(saved(tmp_path), **values)
