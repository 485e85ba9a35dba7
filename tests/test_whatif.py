"""What-ifs against preparing and searching anew, and against nothing having happened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import karez
from karez.errors import InputError
from karez.importers.generate import nation
from karez.measure import reach
from karez.measure.circles import circles, compute_sites, points
from karez.measure.core import LONGEST_NS
from karez.measure.delay import link_oneway_us
from karez.measure.whatif import WhatIf
from karez.twin import Twin, store
from tests.test_reach import _all_points, networks

LIMIT_NS = 300_000


def _fresh(ready: reach.Reach, arcs: np.ndarray, targets: set[int], limit_ns: int) -> list[int]:
    """The table of the network with other delays, from the start."""
    changed = replace(ready, arcs=arcs, width=reach.NARROWEST_NS)
    covered: list[int] = changed.covered(np.array(sorted(targets), np.int64), limit_ns).tolist()
    return covered


@given(networks(), st.data())
@settings(max_examples=300, deadline=None)
def test_any_changes_give_what_a_new_search_gives_and_are_undone_exactly(
    case: tuple[Twin, np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    twin, delays, targets = case
    ready = reach.prepared(twin, delays, np.ones(len(delays), bool), _all_points(twin))
    whatif, open_, arcs = WhatIf(ready, targets, LIMIT_NS), set(targets.tolist()), ready.arcs.copy()
    tails = np.repeat(np.arange(len(ready.starts) - 1), np.diff(ready.starts)).tolist()
    site_of = {int(ready.vertex[site]): site for site in range(len(twin["sites"]))}
    pairs: list[tuple[int, int]] = list(zip(tails, arcs[:, 0].tolist(), strict=True))
    ways = [(tail, head) for tail, head in pairs if head in site_of and tail in site_of]
    tables = [whatif.covered.tolist()]
    assert tables[0] == _fresh(ready, arcs, open_, LIMIT_NS)
    for _ in range(data.draw(st.integers(1, 8))):
        site = data.draw(st.integers(0, len(twin["sites"]) - 1))
        if ways and data.draw(st.sampled_from(["way", "site"])) == "way":
            one, other = data.draw(st.sampled_from(ways))
            ns = data.draw(st.sampled_from([0, 1, 5_000, 60_000, 250_000, None]))
            whatif.set_delay(site_of[one], site_of[other], ns)
            both = {(one, other), (other, one)}
            mine = [at for at, pair in enumerate(pairs) if pair in both]
            arcs[mine, 1] = LONGEST_NS if ns is None else ns
        elif site in open_:
            whatif.remove(site)
            open_.remove(site)
        else:
            whatif.add(site)
            open_.add(site)
        assert whatif.covered.tolist() == _fresh(ready, arcs, open_, LIMIT_NS)
        tables.append(whatif.covered.tolist())
    for table in reversed(tables[:-1]):
        whatif.undo()
        assert whatif.covered.tolist() == table


def test_on_a_nation_a_thousand_what_ifs_end_where_they_began() -> None:
    twin = nation(stations=20_000, sites=40, seed=5)
    ns = np.rint(link_oneway_us(twin, figures="typical") * 1_000).astype(np.int64)
    ready = reach.prepared(twin, ns, twin["links"]["layer"] == b"optical", points(twin, "station"))
    open_, random = set(compute_sites(twin).tolist()), np.random.default_rng(0)
    whatif = WhatIf(ready, sorted(open_), 1_000_000)
    before = whatif.covered
    for step in range(1_000):
        site = int(random.integers(0, len(twin["sites"])))
        (whatif.remove if site in open_ else whatif.add)(site)
        open_ ^= {site}
        if step % 100 == 0:
            assert whatif.covered.tolist() == ready.covered(np.array(sorted(open_)), 1_000_000).tolist()
    for _ in range(1_000):
        whatif.undo()
    assert whatif.covered.tolist() == before.tolist()


def test_what_cannot_be_is_said() -> None:
    twin = nation(stations=20_000, sites=40, seed=5)
    ns = np.rint(link_oneway_us(twin, figures="typical") * 1_000).astype(np.int64)
    ready = reach.prepared(twin, ns, np.ones(len(ns), bool), points(twin, "station"))
    site = int(compute_sites(twin)[0])
    whatif = WhatIf(ready, [site], 1_000_000)
    with pytest.raises(ValueError, match="open already"):
        whatif.add(site)
    with pytest.raises(ValueError, match="not open"):
        whatif.remove(site + 1)
    with pytest.raises(ValueError, match="not joined"):
        whatif.set_delay(site, site, 1)
    with pytest.raises(IndexError):
        whatif.undo()


def test_the_operation_says_what_circles_would_say_of_the_changed_network(tmp_path: Path) -> None:
    folder = str(tmp_path / "net")
    karez.generate(output=folder, stations=20_000)
    twin, _ = store.load(tmp_path / "net")
    backbone = twin["links"].ids[twin["links"]["kind"] == b"backbone"]
    cut = [link.decode() for link in backbone[:200].tolist()]
    shut = [site.decode() for site in twin["sites"].ids[compute_sites(twin)[20:]].tolist()]
    answer = karez.whatif(network=folder, remove=",".join(shut), cut=", ".join(cut), weight="station")
    now = circles(twin, budget_us=1_000.0, weight="station").shares["typical"].pooled_share
    servers = twin["servers"].take(~np.isin(twin["servers"]["site"], np.array([site.encode() for site in shut])))
    changed = twin.replace(servers, twin["links"].set(twin["links"].rows(cut), up=False))
    then = circles(changed, budget_us=1_000.0, weight="station").shares["typical"].pooled_share
    assert answer.before_share == pytest.approx(now, abs=1e-6)
    assert answer.after_share == pytest.approx(then, abs=1e-6)
    assert answer.after_share < answer.before_share
    assert 0 < sum(metro.after_share < metro.before_share for metro in answer.metros) == len(answer.metros)
    with pytest.raises(InputError) as caught:
        karez.whatif(network=folder, add=f"{shut[0]},nowhere", remove="c000999", cut="x,y")
    assert [problem.where for problem in caught.value.problems] == ["add", "cut", "add", "remove"]
    with pytest.raises(InputError, match="no change"):
        karez.whatif(network=folder)
