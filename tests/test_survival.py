"""Survival against taking each duct, link and site away and searching anew."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.measure import reach
from karez.measure.survival import FAILURE_KINDS, FailureKind, survival
from karez.twin import Table, Twin
from karez.twin.table import Array
from tests.test_reach import _all_points, networks

LIMIT_NS = 300_000


@st.composite
def carried(draw: st.DrawFn) -> tuple[Twin, Array, Array]:
    """A small network whose links lie in ducts and rest on one another, without going round."""
    twin, delays, targets = draw(networks())
    links = len(twin["links"])
    if not links:
        return twin, delays, targets
    rows = draw(
        st.lists(st.tuples(st.integers(0, links - 1), st.integers(0, 2), st.integers(0, links - 1)), max_size=8)
    )
    ids = [name.decode() for name in twin["links"].ids]
    support = {
        "id": [f"u{i}" for i in range(len(rows))],
        "link": [ids[link] for link, _, _ in rows],
        "duct": [f"d{duct}" if lower >= link else "" for link, duct, lower in rows],
        "supported_by": [ids[lower] if lower < link else "" for link, _, lower in rows],
    }
    ducts = Table.of("ducts", {"id": ["d0", "d1", "d2"]})
    return twin.replace(ducts, Table.of("link_support", support) if rows else twin["link_support"]), delays, targets


def _lost_with(twin: Twin, failed: str) -> set[str]:
    """The links that are gone with a duct or link, found by following every row of the support table."""
    rows = [
        [value.decode() for value in row]
        for row in zip(*(twin["link_support"][name] for name in ("link", "duct", "supported_by")), strict=True)
    ]
    gone = {failed}
    while True:
        more = {link for link, duct, lower in rows if duct in gone or lower in gone} - gone
        if not more:
            return gone
        gone |= more


def _by_hand(twin: Twin, delays: Array, targets: Array, kind: FailureKind, row: int) -> int:
    """What is covered without a duct, link or site, on a network prepared without it."""
    links, left = twin["links"], set(targets.tolist())
    if kind == "site":
        out = (twin.resolve("links", "a") == row) | (twin.resolve("links", "b") == row)
        left -= {row}
    else:
        name = twin["ducts" if kind == "duct" else "links"].ids[row].decode()
        out = np.isin(links.ids, np.array(sorted(_lost_with(twin, name)), "S"))
    ready = reach.prepared(twin, delays, ~out, _all_points(twin))
    return int(ready.covered(np.array(sorted(left), np.int64), LIMIT_NS).sum())


@given(carried())
@settings(max_examples=300, deadline=None)
def test_every_single_failure_loses_what_a_search_without_it_does_not_find(case: tuple[Twin, Array, Array]) -> None:
    twin, delays, targets = case
    ready = reach.prepared(twin, delays, np.ones(len(delays), bool), _all_points(twin))
    before = int(ready.covered(targets, LIMIT_NS).sum())
    found = survival(twin, ready, targets, LIMIT_NS)
    for kind in FAILURE_KINDS:
        for row, lost in zip(found[kind].rows.tolist(), found[kind].lost.tolist(), strict=True):
            assert before - lost == _by_hand(twin, delays, targets, kind, row), (kind, row)
