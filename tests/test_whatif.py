"""What-ifs against preparing and searching anew, and against nothing having happened."""

from __future__ import annotations

from itertools import pairwise
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
from karez.measure.delay import link_oneway_us
from karez.measure.kernels import FAR
from karez.measure.repair import LOGGED
from karez.measure.whatif import WhatIf
from karez.twin import Table, Twin, store
from tests.test_reach import Columns, _all_points, networks

LIMIT_NS = 300_000


def _fresh(twin: Twin, ns: np.ndarray, cut: np.ndarray, targets: set[int]) -> list[int]:
    """The table of the network with these delays and without the links that are cut, from the start."""
    ready = reach.prepared(twin, ns, ~cut, _all_points(twin))
    covered: list[int] = ready.covered(np.array(sorted(targets), np.int64), LIMIT_NS).tolist()
    return covered


class _World:
    """A what-if, and beside it what it should be: delays, links that are cut, sites that are open."""

    def __init__(self, twin: Twin, delays: np.ndarray, targets: np.ndarray) -> None:
        everything = np.ones(len(delays), bool)
        self.twin, self.original = twin, delays
        self.whatif = WhatIf(reach.prepared(twin, delays, everything, _all_points(twin)), targets, LIMIT_NS)
        self.ns, self.cut, self.open_ = delays.copy(), ~everything, set(targets.tolist())

    def change(self, data: st.DataObject) -> None:
        """One change of either kind, drawn by chance."""
        site = data.draw(st.integers(0, len(self.twin["sites"]) - 1))
        kinds = ["site", "close", *(["links", "restore"] * 2 if len(self.ns) else [])]
        kind = data.draw(st.sampled_from(kinds))
        if kind == "close":
            self.whatif.close(site)
            ends = np.stack([self.twin.resolve("links", end) for end in ("a", "b")])
            self.cut |= (ends == site).any(axis=0)
            self.open_ -= {site}
        elif kind == "site":
            (self.whatif.remove if site in self.open_ else self.whatif.add)(site)
            self.open_ ^= {site}
        else:
            links = data.draw(st.lists(st.integers(0, len(self.ns) - 1), min_size=1, max_size=4))
            ns = data.draw(st.sampled_from([0, 1, 5_000, 60_000, 250_000, None]))
            self._set(links, ns) if kind == "links" else self._restore(links)

    def _set(self, links: list[int], ns: int | None) -> None:
        self.whatif.set_links(links, ns)
        self.cut[links] = ns is None
        self.ns[links] = 0 if ns is None else ns

    def _restore(self, links: list[int]) -> None:
        self.whatif.restore(links)
        self.cut[links] = False
        self.ns[links] = self.original[links]


@given(networks(), st.data())
@settings(max_examples=400, deadline=None)
def test_any_changes_give_what_a_new_search_gives_and_are_undone_exactly(
    case: tuple[Twin, np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    world = _World(*case)
    tables = [world.whatif.covered.tolist()]
    assert tables[0] == _fresh(world.twin, world.ns, world.cut, world.open_)
    for _ in range(data.draw(st.integers(1, 8))):
        world.change(data)
        tables.append(world.whatif.covered.tolist())
        assert tables[-1] == _fresh(world.twin, world.ns, world.cut, world.open_)
    for table in reversed(tables[:-1]):
        world.whatif.undo()
        assert world.whatif.covered.tolist() == table


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


def _long_chains(members: int) -> Twin:
    """Two chains between two sites, the one in one metro, a ring at the one and a dead end at the other."""
    names = [[f"s{chain}{member:02d}" for member in range(members)] for chain in range(4)]
    walks = [["c0", *names[0], "c1"], ["c0", *names[1], "c1"], ["c0", *names[2], "c0"], ["c1", *names[3]]]
    pairs = [pair for walk in walks for pair in pairwise(walk)]
    stations, links = [name for mine in names for name in mine], len(pairs)
    sites: Columns = {"id": ["c0", "c1"], "kind": ["core"] * 2}
    sites |= {"metro": ["m0", "m0"], "lon": [1.0] * 2, "lat": [1.0] * 2}
    made: Columns = {"id": stations, "weight": [float(at % 5) for at in range(len(stations))]}
    made |= {"metro": [f"m{at // 7 % 2 if at >= members else 1}" for at in range(len(stations))]}
    made |= {"lon": [1.0] * len(stations), "lat": [1.0] * len(stations)}
    joined: Columns = {"id": [f"l{at:03d}" for at in range(links)], "kind": ["access"] * links}
    joined |= {"a": [a for a, _ in pairs], "b": [b for _, b in pairs]}
    joined |= {"direction": ["both"] * links, "length_km": [1.0] * links}
    metros: Columns = {"id": ["m0", "m1"], "province": ["p", "p"], "lon": [1.0, 2.0], "lat": [1.0, 2.0]}
    tables = {"metros": metros, "sites": sites, "stations": made, "links": joined}
    return Twin().replace(*(Table.of(name, columns) for name, columns in tables.items()))


def test_long_chains_are_counted_to_the_member_and_so_is_each_loss() -> None:
    twin, random = _long_chains(30), np.random.default_rng(4)
    delays = random.choice([0, 0, 20_000, 40_000], len(twin["links"]))
    world = _World(twin, delays, np.array([0]))
    links, tables = np.arange(len(delays)), [world.whatif.covered.tolist()]
    for step in range(80):
        chosen = random.choice(links, 3, replace=False).tolist()
        if step % 4 == 0:
            (world.whatif.remove if 1 in world.open_ else world.whatif.add)(1)
            world.open_ ^= {1}
        elif step % 4 == 1:
            world._restore(random.choice(links, 60).tolist())
        else:
            world._set(chosen, [0, 5_000, 250_000, None][int(random.integers(0, 4))])
        tables.append(world.whatif.covered.tolist())
        assert tables[-1] == _fresh(twin, world.ns, world.cut, world.open_)
        if step % 16 < 2:
            for size in (1, 2):
                _check_losses(world, links[: len(links) // size * size].reshape(-1, size))
    assert len({tuple(table) for table in tables}) > 40
    for table in reversed(tables[:-1]):
        world.whatif.undo()
        assert world.whatif.covered.tolist() == table


def _check_losses(world: _World, failures: np.ndarray) -> None:
    """What each failure (a row of links) loses is what a new search without them does not find."""
    bounds = np.arange(len(failures) + 1) * failures.shape[1]
    lost = world.whatif.losses(bounds, failures.ravel(), np.full(len(failures), -1))
    before = int(world.whatif.covered.sum())
    for links, gone in zip(failures, lost.tolist(), strict=True):
        cut = world.cut.copy()
        cut[links] = True
        assert before - gone == sum(_fresh(world.twin, world.ns, cut, world.open_))


def test_many_links_restored_at_once_fit_into_the_room_that_there_is() -> None:
    # Every site a step from the next: restoring all betters each vertex once by a changed arc and again by spreading.
    size = 30
    names = [f"c{number:02d}" for number in range(size)]
    ends = [(a, b) for a in range(size) for b in range(a + 1, size)]
    sites: Columns = {"id": names, "kind": ["core"] * size}
    sites |= {"metro": ["m"] * size, "lon": [1.0] * size, "lat": [1.0] * size}
    links: Columns = {
        "id": [f"l{number:03d}" for number in range(len(ends))],
        "a": [names[b] for _, b in ends],
        "b": [names[a] for a, _ in ends],
        "kind": ["core"] * len(ends),
        "direction": ["forward"] * len(ends),
        "length_km": [1.0] * len(ends),
    }
    metros: Columns = {"id": ["m"], "province": ["p"], "lon": [1.0], "lat": [1.0]}
    twin = Twin().replace(Table.of("metros", metros), Table.of("sites", sites), Table.of("links", links))
    # The longer a link, the slower by more than all the steps between: the last to be seen is the best.
    ns = np.array([(b - a) * (b - a) * 1_000 for a, b in ends], np.int64)
    whatif = WhatIf(reach.prepared(twin, ns, np.ones(len(ns), bool), _all_points(twin)), [0], 10_000_000)
    everything = np.arange(len(ns))
    before = whatif.covered.tolist()
    whatif.set_links(everything, None)
    whatif.restore(everything)
    assert whatif._state.size[LOGGED] <= len(whatif._state.log)
    assert whatif.covered.tolist() == before


def test_a_budget_beyond_a_second_covers_nothing_that_is_cut_off() -> None:
    twin = nation(stations=20_000, sites=40, seed=5)
    everything = np.ones(len(twin["links"]), bool)
    ready = reach.prepared(twin, np.zeros(len(everything), np.int64), ~everything, points(twin, "station"))
    targets = compute_sites(twin)
    for limit_ns in (10**9, 3 * 10**9, 10**15):
        assert ready.covered(targets, limit_ns).sum() == 0
        assert WhatIf(ready, targets, limit_ns).covered.sum() == 0
        assert (ready.delays_ns(targets, limit_ns) == FAR).all()


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
    with pytest.raises(ValueError, match="negative"):
        whatif.set_links([0], -1)
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
    for asked, what in (
        ({"upgrade": "=5"}, "no link with a delay"),
        ({"upgrade": f"{cut[0]}=1,{cut[0]}=2"}, "two delays"),
        ({"upgrade": f"{cut[0]}=1", "cut": cut[0]}, "is to be cut"),
        ({"add": shut[0], "close": shut[0]}, "added or removed"),
        ({"restore": cut[0]}, "up already"),
    ):
        with pytest.raises(InputError, match=what):
            karez.whatif(network=folder, **asked)
    assert "2 links upgraded" in karez.whatif(network=folder, upgrade=f"{cut[0]}=1, {cut[1]} = 5").headline
