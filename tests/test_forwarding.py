"""Forwarding tables against following every flow, against graphs of networkx, and against being looked at anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise, product
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError
from karez.measure.forwarding import (
    NO_RULES,
    NONE,
    Deltas,
    Finding,
    Rules,
    Tables,
    Wiring,
    blank,
    findings,
    step,
    wired,
)
from karez.twin.table import Array

ROOM = 4


class Case(NamedTuple):
    """Wiring, and all that is told of it: rows of next hops, perhaps several of a router and destination; links."""

    wiring: Wiring
    deltas: Deltas


def _tables(case: Case) -> Tables:
    return step(blank(case.wiring, ROOM), case.deltas)[0]


def _deltas(entries: list[tuple[int, int, list[int]]], links: list[tuple[int, bool]]) -> Deltas:
    filled = [(hops + [NONE] * ROOM)[:ROOM] for _, _, hops in entries]
    return Deltas(
        np.array([router for router, _, _ in entries], np.int64),
        np.array([destination for _, destination, _ in entries], np.int64),
        np.array(filled, np.int64).reshape(-1, ROOM),
        np.array([link for link, _ in links], np.int64),
        np.array([up for _, up in links], bool),
    )


def _rules(rows: list[tuple[int, int, int, bool]]) -> Rules:
    if not rows:
        return NO_RULES
    columns = list(zip(*rows, strict=True))
    return Rules(*(np.array(column) for column in columns[:3]), np.array(columns[3], bool))  # type: ignore[call-arg]


@st.composite
def cases(draw: st.DrawFn, most: int = 5, everywhere: bool = True) -> Case:
    """A few routers with links, some side by side, and whatever next hops; `everywhere`: each table has a row."""
    routers = draw(st.integers(2, most))
    some = st.integers(0, routers - 1)
    pairs = st.tuples(some, some).filter(lambda pair: pair[0] != pair[1])
    ends = draw(st.lists(pairs, min_size=1, max_size=2 * routers))
    owner = draw(st.lists(some, min_size=1, max_size=3))
    rules = draw(st.lists(st.tuples(some, st.integers(0, len(owner) - 1), st.integers(-1, routers - 1), st.booleans())))
    sound = [
        rule
        for rule in rules
        if rule[0] != owner[rule[1]] and not (rule[3] and rule[2] == NONE) and (rule[3] or rule[2] != rule[0])
    ]
    wiring = wired(routers, ends, owner, _rules(sound))
    cells = list(product(range(routers), range(len(owner))))
    if not everywhere:
        cells = draw(st.lists(st.sampled_from(cells), max_size=20))
    entries = [(router, row, draw(_hops(ends, router))) for router, row in cells]
    links = st.tuples(st.integers(0, len(ends) - 1), st.sampled_from([True, False, False]))
    return Case(wiring, _deltas(entries, draw(st.lists(links, max_size=4))))


def _hops(ends: list[tuple[int, int]], router: int) -> st.SearchStrategy[list[int]]:
    own = [link for link, pair in enumerate(ends) if router in pair]
    return st.lists(st.sampled_from(own), max_size=3) if own else st.just([])


def _by_chance(seed: int) -> Case:
    """Up to forty routers whose tables lead the shortest ways, but for some that lead anywhere and links that are down.

    Rules are of all kinds.
    """
    random = np.random.default_rng(seed)
    routers = int(random.integers(5, 41))
    graph = nx.random_regular_graph(3, routers + routers % 2, seed=seed)
    ends = [(a, b) for a, b in graph.edges if a < routers and b < routers]
    owner = random.integers(0, routers, 8).tolist()
    entries = _shortest(ends, owner, routers)
    strays = random.random(len(entries)) < random.choice([0.0, 0.02, 0.3])
    for at in np.flatnonzero(strays).tolist():
        router, row, _ = entries[at]
        own = [link for link, pair in enumerate(ends) if router in pair]
        entries[at] = (router, row, random.permutation(own)[: random.integers(0, 4)].astype(int).tolist())
    down = [(int(link), False) for link in random.integers(0, len(ends), random.integers(0, 3))]
    rules = [
        (int(source), int(row), int(router), bool(must))
        for source, row, router, must in zip(
            random.integers(0, routers, 60),
            random.integers(0, 8, 60),
            random.integers(0, routers, 60),
            random.random(60) < 0.5,
            strict=True,
        )
        if source not in (owner[row], router)
    ]
    return Case(wired(routers, ends, owner, _rules(rules)), _deltas(entries, down))


def _shortest(ends: list[tuple[int, int]], owner: list[int], routers: int) -> list[tuple[int, int, list[int]]]:
    graph = nx.Graph(ends)
    graph.add_nodes_from(range(routers))
    entries = []
    for row, goal in enumerate(owner):
        far = nx.single_source_shortest_path_length(graph, goal)
        for router in range(routers):
            ahead = [
                link
                for link, pair in enumerate(ends)
                if router in pair and far.get(sum(pair) - router, routers) + 1 == far.get(router)
            ]
            entries.append((router, row, ahead))
    return entries


class Flow(NamedTuple):
    """What became of one flow from a router: how it ended, and the routers it passed, in their order."""

    end: str
    passed: tuple[int, ...]


def _flows(tables: Tables, row: int) -> Iterator[tuple[int, Flow]]:
    """Every flow to a destination: all sources, under all that routers may choose."""
    owner, hops = int(tables.wiring.owner[row]), tables.hops[row].tolist()
    choices = [[link for link in links if link != NONE] or [NONE] for links in hops]
    for chosen in product(*choices):
        for source in range(tables.wiring.routers):
            yield source, _followed(tables, owner, chosen, source)


def _followed(tables: Tables, owner: int, chosen: tuple[int, ...], source: int) -> Flow:
    passed = [source]
    while (here := passed[-1]) != owner:
        link = chosen[here]
        if link == NONE or not tables.up[link]:
            return Flow("drops", tuple(passed))
        a, b = tables.wiring.ends[link].tolist()
        ahead = b if here == a else a
        if ahead in passed:
            return Flow("loops", (*passed, ahead))
        passed.append(ahead)
    return Flow("arrives", tuple(passed))


@given(cases())
@settings(max_examples=300, deadline=None)
def test_a_pair_is_reached_in_part_or_not_at_all_as_following_every_flow_shows(case: Case) -> None:
    tables = _tables(case)
    for row in range(len(case.wiring.owner)):
        ends: dict[int, set[str]] = {}
        for source, flow in _flows(tables, row):
            ends.setdefault(source, set()).add(flow.end)
        for source, seen in ends.items():
            assert tables.reached[row, source] == (seen == {"arrives"})
            assert tables.partial[row, source] == ("arrives" in seen and len(seen) > 1)
            assert tables.unreached[row, source] == ("arrives" not in seen)


@given(cases())
@settings(max_examples=300, deadline=None)
def test_loops_and_black_holes_are_those_that_some_flow_comes_to(case: Case) -> None:
    tables = _tables(case)
    found = findings(tables)
    for row in range(len(case.wiring.owner)):
        looped, dropped, rounds = set(), set(), set()
        for source, flow in _flows(tables, row):
            if flow.end == "loops":
                looped.add(source)
                rounds.add(_from_least(flow.passed[flow.passed.index(flow.passed[-1]) : -1]))
            elif flow.end == "drops":
                dropped.add(flow.passed[-1])
        loops = [finding for finding in found if finding[:2] == ("loop", row)]
        assert {finding.routers for finding in loops} <= rounds
        assert {source for finding in loops for source in finding.sources} == looped
        named = {finding.kind: set(finding.routers) for finding in found if finding.destination == row}
        nothing = {router for router in dropped if tables.unreached[row, router]}
        assert named.get("blackhole", set()) == nothing
        assert named.get("partial", set()) >= dropped - nothing


def _from_least(routers: tuple[int, ...]) -> tuple[int, ...]:
    at = routers.index(min(routers))
    return routers[at:] + routers[:at]


@given(cases())
@settings(max_examples=300, deadline=None)
def test_a_rule_is_broken_where_some_flow_breaks_it(case: Case) -> None:
    tables = _tables(case)
    columns = (column.tolist() for column in case.wiring.rules)
    flows = [list(_flows(tables, row)) for row in range(len(case.wiring.owner))]
    expected = set()
    for source, row, router, must_pass in zip(*columns, strict=True):
        passed = [flow for start, flow in flows[row] if start == source]
        if must_pass and any(flow.end == "arrives" and router not in flow.passed for flow in passed):
            expected.add(("waypoint", row, router, source))
        if not must_pass and router == NONE and any(flow.end == "arrives" for flow in passed):
            expected.add(("isolation", row, int(case.wiring.owner[row]), source))
        if not must_pass and router != NONE and any(router in flow.passed for flow in passed):
            expected.add(("isolation", row, router, source))
    found = [
        (finding.kind, finding.destination, finding.routers[0], source)
        for finding in findings(tables)
        if finding.kind in ("waypoint", "isolation")
        for source in finding.sources
    ]
    assert set(found) == expected


def _graph(tables: Tables, row: int) -> tuple[nx.DiGraph, set[int]]:
    """Who sends to whom on the way to a destination, and who drops something."""
    wiring, graph, drops = tables.wiring, nx.DiGraph(), set()
    graph.add_nodes_from(range(wiring.routers))
    for router in range(wiring.routers):
        links = [link for link in tables.hops[row, router].tolist() if link != NONE]
        if router == wiring.owner[row]:
            continue
        if not links or not tables.up[links].all():
            drops.add(router)
        for link in links:
            if tables.up[link]:
                graph.add_edge(router, sum(wiring.ends[link].tolist()) - router)
    return graph, drops


def _before(graph: nx.DiGraph, routers: set[int]) -> set[int]:
    return routers.union(*(nx.ancestors(graph, router) for router in routers))


def _sorted(routers: set[int]) -> tuple[int, ...]:
    return tuple(sorted(routers))


def _expected(tables: Tables, row: int) -> list[Finding]:
    """All that is wrong with a destination but rules; a loop has all routers that are on one with it."""
    graph, drops = _graph(tables, row)
    everybody, owner = set(graph), int(tables.wiring.owner[row])
    arrives = _before(graph, {owner})
    rounds = sorted((group for group in nx.strongly_connected_components(graph) if len(group) > 1), key=min)
    turning = set[int]().union(*rounds)
    holes = drops - arrives
    some = arrives & _before(graph, drops | turning)
    forks = {
        router
        for router in arrives
        if router in drops | turning or any(ahead not in arrives for ahead in graph.successors(router))
    }
    expected = [Finding("loop", row, _sorted(group), _sorted(_before(graph, group))) for group in rounds]
    if holes:
        expected.append(Finding("blackhole", row, _sorted(holes), _sorted(_before(graph, holes))))
    if some:
        expected.append(Finding("partial", row, _sorted(forks), _sorted(some)))
    if arrives != everybody:
        expected.append(Finding("unreached", row, (owner,), _sorted(everybody - arrives)))
    return expected


def _widened(tables: Tables, finding: Finding) -> Finding:
    """The finding; where it is a loop, with all routers that are on one with it, after a look at that it names."""
    if finding.kind != "loop":
        return finding
    graph, _ = _graph(tables, finding.destination)
    first = finding.routers[0]
    group = {first} | (nx.ancestors(graph, first) & nx.descendants(graph, first))
    assert first == min(group)
    assert all(graph.has_edge(a, b) for a, b in pairwise((*finding.routers, first)))
    back = [nx.shortest_path_length(graph, ahead, first) for ahead in graph.successors(first) if ahead in group]
    assert len(finding.routers) == 1 + min(back)
    return finding._replace(routers=_sorted(group))


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_what_is_found_is_what_graphs_say(seed: int) -> None:
    tables = _tables(_by_chance(seed))
    lost = [_widened(tables, finding) for finding in findings(tables) if finding.kind not in ("waypoint", "isolation")]
    assert lost == [finding for row in range(len(tables.wiring.owner)) for finding in _expected(tables, row)]


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_rules_are_broken_where_graphs_say(seed: int) -> None:
    case = _by_chance(seed)
    tables = _tables(case)
    expected = []
    for source, row, router, must_pass in zip(*(column.tolist() for column in case.wiring.rules), strict=True):
        graph, _ = _graph(tables, row)
        if must_pass:
            graph.remove_node(router)
        goal = int(case.wiring.owner[row]) if must_pass else router
        expected.append(goal in graph and nx.has_path(graph, source, goal))
    assert tables.broken.tolist() == expected


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_each_pair_is_in_one_class_and_what_is_lost_has_a_cause(seed: int) -> None:
    tables = _tables(_by_chance(seed))
    classes = np.stack([tables.reached, tables.partial, tables.unreached])
    assert (classes.sum(axis=0) == 1).all()
    found = findings(tables)
    for kind, of_class in (("partial", tables.partial), ("unreached", tables.unreached)):
        hit = [(finding.destination, source) for finding in found if finding.kind == kind for source in finding.sources]
        assert hit == list(zip(*(rows.tolist() for rows in np.nonzero(of_class)), strict=True))
    caused = _pairs(found, "loop", "blackhole")
    assert _pairs(found, "unreached") <= caused <= _pairs(found, "unreached", "partial")


def _pairs(found: list[Finding], *kinds: str) -> set[tuple[int, int]]:
    return {(finding.destination, source) for finding in found if finding.kind in kinds for source in finding.sources}


def _bytes(tables: Tables) -> list[bytes]:
    return [getattr(tables, name).tobytes() for name in ("hops", "up", "fate", "ring", "broken")]


def _part(deltas: Deltas, entries: slice, links: slice) -> Deltas:
    router, destination, hops, link, up = (np.asarray(column) for column in deltas)
    return Deltas(router[entries], destination[entries], hops[entries], link[links], up[links])


@given(case=cases(everywhere=False), data=st.data())
@settings(max_examples=300, deadline=None)
def test_deltas_cut_anywhere_give_the_same_tables_and_the_same_findings(case: Case, data: st.DataObject) -> None:
    counts = len(np.asarray(case.deltas.router)), len(np.asarray(case.deltas.link))
    whole, found = step(blank(case.wiring, ROOM), case.deltas)
    pieces = data.draw(st.integers(1, 5))
    cuts = [
        [0, *sorted(data.draw(st.lists(st.integers(0, count), min_size=pieces, max_size=pieces))), count]
        for count in counts
    ]
    state, last = blank(case.wiring, ROOM), list[Finding]()
    for entries, links in zip(*(pairwise(places) for places in cuts), strict=True):
        state, last = step(state, _part(case.deltas, slice(*entries), slice(*links)))
    assert _bytes(state) == _bytes(whole)
    assert last == found == findings(whole)


@given(case=cases(everywhere=False))
@settings(max_examples=200, deadline=None)
def test_tables_kept_up_from_deltas_are_those_made_anew_from_what_they_hold(case: Case) -> None:
    kept = blank(case.wiring, ROOM)
    for at in range(len(np.asarray(case.deltas.router))):
        kept, _ = step(kept, _part(case.deltas, slice(at, at + 1), slice(at, at + 1)))
    router, destination = (grid.ravel() for grid in np.indices(kept.hops.shape[1::-1]))
    hops, links = kept.hops[destination, router], np.arange(len(kept.up))
    anew, _ = step(blank(case.wiring, ROOM), Deltas(router, destination, hops, links, kept.up))
    assert _bytes(anew) == _bytes(kept)


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_the_order_of_rows_of_next_hops_and_of_rules_changes_nothing(seed: int) -> None:
    case, random = _by_chance(seed), np.random.default_rng(seed)
    router, destination, hops, link, up = (np.asarray(column) for column in case.deltas)
    entries, links, rules = (random.permutation(len(column)) for column in (router, link, case.wiring.rules.source))
    wiring = case.wiring
    other = wired(wiring.routers, wiring.ends, wiring.owner, Rules(*(column[rules] for column in wiring.rules)))
    mixed = Deltas(
        router[entries], destination[entries], random.permuted(hops, axis=1)[entries], link[links], up[links]
    )
    tables, found = step(blank(other, ROOM), mixed)
    assert _bytes(tables) == _bytes(_tables(case))
    assert found == findings(_tables(case))


@given(st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_who_is_hit_does_not_depend_on_how_links_and_destinations_are_numbered(seed: int) -> None:
    case, random = _by_chance(seed), np.random.default_rng(seed)
    router, destination, hops, link, up = (np.asarray(column) for column in case.deltas)
    wiring, rules = case.wiring, case.wiring.rules
    to_link, to_row = random.permutation(len(wiring.ends)), random.permutation(len(wiring.owner))
    ends, owner = np.empty_like(wiring.ends), np.empty_like(wiring.owner)
    ends[to_link], owner[to_row] = wiring.ends[:, ::-1], wiring.owner
    other = wired(wiring.routers, ends, owner, rules._replace(destination=to_row[rules.destination]))
    renamed = Deltas(router, to_row[destination], np.where(hops == NONE, NONE, to_link[hops]), to_link[link], up)
    tables, found = step(blank(other, ROOM), renamed)
    assert (tables.fate[to_row] == _tables(case).fate).all()
    here = {(one.kind, int(to_row[one.destination]), one.routers[0], one.sources) for one in findings(_tables(case))}
    assert {(one.kind, one.destination, one.routers[0], one.sources) for one in found} == here


@given(st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_shortest_ways_lose_nothing_and_a_cut_that_nobody_heard_of_loses_what_crosses_it(seed: int) -> None:
    graph = nx.connected_watts_strogatz_graph(12, 4, 0.3, seed=seed)
    ends = list(graph.edges)
    wiring = wired(12, ends, range(12))
    tables, found = step(blank(wiring, 12), _deltas_of(_shortest(ends, list(range(12)), 12), 12))
    assert not found
    assert tables.reached.all()
    cut, _ = step(tables, Deltas(link=[0], up=[False]))
    for row in range(12):
        crossing = {router for router in range(12) if 0 in tables.hops[row, router]}
        hit = _before(_graph(tables, row)[0], crossing) if crossing else set()
        assert set(np.flatnonzero(~cut.reached[row]).tolist()) == hit
    again, found = step(cut, Deltas(link=[0], up=[True]))
    assert not found
    assert _bytes(again) == _bytes(tables)


def _deltas_of(entries: list[tuple[int, int, list[int]]], room: int) -> Deltas:
    hops = [links + [NONE] * (room - len(links)) for _, _, links in entries]
    return Deltas([router for router, _, _ in entries], [row for _, row, _ in entries], hops)


# Routers 0 - 1 - 2 in a row, with two links side by side between 0 and 1; router 2 owns the one destination.
ROW = wired(3, [[0, 1], [0, 1], [1, 2]], [2])
LED = Deltas(router=[0, 1], destination=[0, 0], hops=[[0, 1], [2, NONE]])


def test_one_of_two_links_side_by_side_that_is_down_leaves_a_part() -> None:
    tables, found = step(blank(ROW), LED)
    assert not found
    _, found = step(tables, Deltas(link=[1], up=[False]))
    assert found == [Finding("partial", 0, (0,), (0,))]


def test_a_loop_names_its_routers_and_all_that_may_come_into_it() -> None:
    tables, _ = step(blank(ROW), LED)
    _, found = step(tables, Deltas(router=[1], destination=[0], hops=[[1]]))
    assert found == [Finding("loop", 0, (0, 1), (0, 1)), Finding("unreached", 0, (2,), (0, 1))]


@given(order=st.permutations(range(7)))
@settings(max_examples=30, deadline=None)
def test_a_long_loop_is_named_in_the_order_that_packets_go_round(order: list[int]) -> None:
    """Router 7 owns the destination, 8 leads into the loop, and 9 leads to the owner."""
    round_, others = list(pairwise([*order, order[0]])), [(8, order[3]), (9, 7)]
    tables = blank(wired(10, [*round_, *others], [7]))
    leading = [*order, 8, 9]
    _, found = step(tables, Deltas(leading, [0] * 9, [[link] for link in range(9)]))
    assert found[0] == Finding("loop", 0, _from_least(tuple(order)), tuple(sorted([*order, 8])))
    assert found[1:] == [Finding("unreached", 0, (7,), tuple(sorted([*order, 8])))]


def test_tables_without_any_next_hop_are_one_black_hole_a_destination() -> None:
    assert findings(blank(ROW)) == [Finding("blackhole", 0, (0, 1), (0, 1)), Finding("unreached", 0, (2,), (0, 1))]


def test_next_hops_are_kept_rising_and_each_once_and_the_last_row_of_a_router_counts() -> None:
    tables = blank(wired(2, [[0, 1]] * 4, [1]), 5)
    tables, _ = step(tables, Deltas([0, 0], [0, 0], [[3, 2, NONE, NONE, 1], [3, NONE, 0, 2, 0]]))
    assert tables.hops[0].tolist() == [[0, 2, 3, NONE, NONE], [NONE] * 5]


def test_a_step_leaves_the_tables_before_as_they_were() -> None:
    before, _ = step(blank(ROW), LED)
    held = _bytes(before)
    step(before, Deltas([0, 1], [0, 0], [[NONE], [0]], [0, 2], [False, False]))
    assert _bytes(before) == held


def test_destinations_that_no_delta_touches_are_not_looked_at_again() -> None:
    tables = blank(wired(3, [[0, 1], [0, 1], [1, 2]], [2, 2, 2]))
    tables, _ = step(tables, Deltas([0, 1, 0, 1], [0, 0, 1, 1], [[0], [2], [1], [2]]))
    marked = replace(tables, fate=np.full_like(tables.fate, 99))
    for deltas, looked_at in (
        (Deltas(), set[int]()),
        (Deltas([0, 1], [0, 1], [[0], [2]], [2], [True]), set[int]()),
        (Deltas([0], [0], [[1]]), {0}),
        (Deltas(link=[1], up=[False]), {1}),
        (Deltas(link=[2, 2], up=[False, True]), set[int]()),
        (Deltas(link=[2], up=[False]), {0, 1}),
    ):
        after, _ = step(marked, deltas)
        assert set(np.flatnonzero((after.fate != 99).any(axis=1)).tolist()) == looked_at, deltas


def _wrong_rules(source: Any = 0, destination: Any = 0, router: Any = 1, must_pass: Any = True) -> Rules:
    return Rules(*(np.array([value]) for value in (source, destination, router, must_pass)))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (lambda: wired(-1, [], []), "there are -1 routers"),
        (lambda: wired(2, [[0, 2]], [0]), "ends has values that are not from 0 to 1 (rows 0)"),
        (lambda: wired(2, [[0, 1, 1]], [0]), "ends has 3 columns"),
        (lambda: wired(2, [[0, 1], [1, 1]], [0]), "ends are one and the same router (rows 1)"),
        (lambda: wired(2, [[0.0, np.nan]], [0]), "ends is of type float64"),
        (lambda: wired(2, [[0, 1]], [0, -1]), "owner has values that are not from 0 to 1 (rows 1)"),
        (lambda: wired(2, [[0, 1]], [[0]]), "owner has 2 dimensions"),
        (lambda: wired(2, [[0, 1]], [1], _wrong_rules(source=2)), "rules.source has values"),
        (lambda: wired(2, [[0, 1]], [1], _wrong_rules(destination=1)), "rules.destination has values"),
        (lambda: wired(2, [[0, 1]], [1], _wrong_rules(router=-2)), "rules.router has values"),
        (lambda: wired(2, [[0, 1]], [1], _wrong_rules(must_pass=1)), "rules.must_pass is of type int64; give true"),
        (lambda: wired(2, [[0, 1]], [1], _wrong_rules(router=-1)), "rules.router is -1 where it must be passed"),
        (lambda: wired(2, [[0, 1]], [0], _wrong_rules()), "rules are of an owner's traffic to itself"),
        (lambda: wired(2, [[0, 1]], [1], _wrong_rules(router=0, must_pass=False)), "rules.router is the source"),
        (
            lambda: wired(2, [[0, 1]], [1], _wrong_rules()._replace(source=np.zeros(2, int))),
            "there are 2 of rules.source, 1 of rules.destination",
        ),
        (lambda: blank(ROW, 0), "there is room for 0 next hops"),
        (lambda: step(blank(ROW), Deltas([3], [0], [[0]])), "router has values that are not from 0 to 2 (rows 0)"),
        (lambda: step(blank(ROW), Deltas([0], [1], [[0]])), "destination has values that are not from 0 to 0"),
        (lambda: step(blank(ROW), Deltas([0, 0], [0, 0], [[0], [3]])), "hops has values that are not from -1 to 2"),
        (lambda: step(blank(ROW), Deltas([0, 2], [0, 0], [[0], [1]])), "not at the router (rows 1)"),
        (lambda: step(blank(ROW), Deltas([0], [0], [[0], [0]])), "there are 1 of router, 1 of destination, 2 of hops"),
        (lambda: step(blank(ROW), Deltas([0, 0], [0, 0], [[0], [0, 1]])), "hops has rows of unequal length"),
        (lambda: step(blank(ROW, 1), LED), "hops has 2 columns and the tables 1"),
        (lambda: step(blank(ROW), Deltas(link=[3], up=[True])), "link has values that are not from 0 to 2"),
        (lambda: step(blank(ROW), Deltas(link=[0], up=[1])), "up is of type int64; give true or false"),
        (lambda: step(blank(ROW), Deltas(link=[0, 1], up=[True])), "there are 2 of link, 1 of up"),
        (lambda: step(blank(wired(2, [], [0])), Deltas([1], [0], [[0]])), "hops has values that are not from -1 to -1"),
    ],
)
def test_what_is_wrong_is_refused_in_words(asked: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError) as refused:
        asked()
    assert words in str(refused.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InputError) as refused:
        step(blank(ROW), Deltas([7], [7], [[7]], [7], [True]))
    assert len(refused.value.problems) == 4


@pytest.mark.parametrize("deltas", [Deltas(), Deltas(hops=np.zeros((0, 3), np.int32)), Deltas(hops=[])])
def test_no_deltas_change_nothing(deltas: Deltas) -> None:
    tables, _ = step(blank(ROW), LED)
    assert _bytes(step(tables, deltas)[0]) == _bytes(tables)


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int64])
def test_rows_may_be_whole_numbers_of_any_size_and_read_only(kind: type[Any]) -> None:
    columns = [np.asarray(column, kind) for column in ([0, 1], [0, 0], [[0, 1], [2, 2]])]
    for column in columns:
        column.setflags(write=False)
    tables, found = step(blank(ROW), Deltas(*columns))
    assert not found
    assert _bytes(tables) == _bytes(step(blank(ROW), LED)[0])


def test_a_network_of_one_router_or_none_has_nothing_wrong() -> None:
    empty: Array = np.zeros((0, 2), int)
    assert not findings(blank(wired(1, empty, [0])))
    assert not findings(blank(wired(0, empty, [])))
