"""Backups and exceptions against following every packet by every choice that a router has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from karez.errors import InputError
from karez.measure.backups import NONE, Backups, Coverage, alternates, backups, coverage
from karez.twin.table import Array

# A next hop is a link; what lies in the routers is lists of links, by router, goal and the link that a packet came by.
Hops = dict[int, list[int]]
Lists = dict[tuple[int, int, int], list[int]]
SEEDS = st.integers(0, 2**32 - 1)
NOTHING = Backups(*np.zeros((5, 0), np.int64))


class Network(NamedTuple):
    """Routers, links as pairs of them, what each costs, and the links that each failure takes."""

    routers: int
    ends: list[tuple[int, int]]
    cost: list[int]
    failures: list[list[int]]


def _rows(*rows: tuple[int, int, int, int, int]) -> Backups:
    return Backups(*np.array(sorted(rows), np.int64).reshape(-1, 5).T)


def _told(kept: Backups) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in kept), strict=True))


def _lists(kept: Backups) -> Lists:
    lists: Lists = {}
    for router, goal, over, _, link in sorted(_told(kept)):
        lists.setdefault((router, goal, over), []).append(link)
    return lists


def _graph(network: Network, dark: set[int]) -> nx.MultiGraph:
    graph = nx.MultiGraph()
    graph.add_nodes_from(range(network.routers))
    for link, ((a, b), cost) in enumerate(zip(network.ends, network.cost, strict=True)):
        if cost and link not in dark:
            graph.add_edge(a, b, key=link, weight=cost)
    return graph


def _tables(network: Network, goal: int, dark: set[int]) -> Hops:
    """The next hops of each router to a goal without some links; routers that it is cut off from have none."""
    graph = _graph(network, dark)
    far = nx.single_source_dijkstra_path_length(graph, goal)
    hops: Hops = {router: [] for router in range(network.routers)}
    for a, b, link, cost in graph.edges(keys=True, data="weight"):
        for at, to in ((a, b), (b, a)):
            if at in far and far[at] == far[to] + cost:
                hops[at].append(link)
    return hops


class Packets(NamedTuple):
    """How packets to a goal are sent on: by the tables and by what lies in the routers, while some links are dark."""

    network: Network
    goal: int
    tables: Hops
    lists: Lists
    dark: set[int]

    def choices(self, router: int, over: int) -> list[int]:
        """The links that a packet may be sent by: one of a list, or any of equal cost."""
        for links, all_of_them in (
            (self.lists.get((router, self.goal, over), []) if over != NONE else [], False),
            (self.tables[router], True),
            (self.lists.get((router, self.goal, NONE), []), False),
        ):
            lit = [link for link in links if link not in self.dark]
            if lit:
                return lit if all_of_them else lit[:1]
        return []

    def ends(self, router: int, over: int = NONE, passed: frozenset[tuple[int, int]] = frozenset()) -> set[str]:
        """All that may become of a packet."""
        if router == self.goal:
            return {"arrives"}
        if (router, over) in passed:
            return {"loops"}
        ways = [
            self.ends(sum(self.network.ends[link]) - router, link, passed | {(router, over)})
            for link in self.choices(router, over)
        ]
        return set[str]().union(*ways) if ways else {"drops"}

    def ways(self, router: int, over: int = NONE) -> Iterator[tuple[int, ...]]:
        """All ways to the goal, as the links that a packet passes one after another; of tables that lead there."""
        if router == self.goal:
            yield ()
            return
        for link in self.choices(router, over):
            for way in self.ways(sum(self.network.ends[link]) - router, link):
                yield (link, *way)


def _expected(network: Network, kept: Backups) -> Coverage:
    """What `coverage` must say, packet by packet."""
    lists, count, settled = _lists(kept), [], []
    for failure in network.failures:
        dark, sums, sound = set(failure), np.zeros(3, int), True
        for goal in range(network.routers):
            old, new = _tables(network, goal, set()), _tables(network, goal, dark)
            healthy = Packets(network, goal, old, {}, set())
            for source in set(range(network.routers)) - {goal}:
                now, later = (Packets(network, goal, tables, lists, dark).ends(source) for tables in (old, new))
                joined = bool(new[source])
                meets = joined and any(dark & set(way) for way in healthy.ways(source))
                sums += [meets, meets and now == {"arrives"}, "loops" in now]
                sound &= "loops" not in later and (not joined or later == {"arrives"})
        count.append(sums)
        settled.append(sound)
    pairs, at_once, loops = np.array(count, int).reshape(-1, 3).T
    return Coverage(pairs, at_once, loops, np.array(settled, bool), _is_healthy(network, lists))


def _is_healthy(network: Network, lists: Lists) -> bool:
    """Whether without a failure every packet has the choices that it has by tables alone."""
    for goal in range(network.routers):
        tables = _tables(network, goal, set())
        with_, without = (Packets(network, goal, tables, each, set()) for each in (lists, {}))
        for source in set(range(network.routers)) - {goal}:
            if not tables[source]:
                if with_.choices(source, NONE):
                    return False
                continue
            for way in without.ways(source):
                here, over = source, NONE
                for link in way:
                    if (here, goal, over) in lists and over != NONE:
                        return False
                    here, over = sum(network.ends[link]) - here, link
    return True


def _same(one: Coverage, other: Coverage) -> None:
    for name, left, right in zip(Coverage._fields, one, other, strict=True):
        np.testing.assert_array_equal(left, right, err_msg=name)


def _asked(network: Network, kept: Backups) -> Coverage:
    return coverage(*network, kept)


@st.composite
def networks(draw: st.DrawFn, most: int = 7, *, whole: bool = False, costs: int = 9) -> Network:
    """Routers in a ring with chords, perhaps side by side; `whole`: else some links are left out or carry nothing."""
    routers = draw(st.integers(3 if whole else 2, most))
    ring = [(a, (a + 1) % routers) for a in range(routers)]
    some = st.integers(0, routers - 1)
    pairs = st.tuples(some, some).filter(lambda pair: pair[0] != pair[1])
    ends = [*ring, *draw(st.lists(pairs, max_size=routers))]
    highest = draw(st.sampled_from([1, 2, costs]))
    cost = draw(st.lists(st.integers(1 if whole else 0, highest), min_size=len(ends), max_size=len(ends)))
    single = [[link] for link in range(len(ends))]
    if whole:
        return Network(routers, ends, cost, single)
    ducts = draw(st.lists(st.lists(st.integers(0, len(ends) - 1), min_size=0, max_size=4), max_size=6))
    return Network(routers, ends, cost, [*single, *ducts])


def _single(routers: int, chords: list[tuple[int, int]], cost: list[int]) -> Network:
    """A ring with chords, and the failure of each of its links."""
    ends = [*((at, (at + 1) % routers) for at in range(routers)), *chords]
    return Network(routers, ends, cost, [[link] for link in range(len(ends))])


def _by_chance(seed: int) -> Network:
    """A ring with many chords, and besides failures of one link some of two or three, for which the same rows serve.

    Costs are all alike, or such that many ways are of equal cost, or not.
    """
    random = np.random.default_rng(seed)
    routers = int(random.integers(4, 10))
    ring = [(at, (at + 1) % routers) for at in range(routers)]
    chords = [random.choice(routers, 2, replace=False).tolist() for _ in range(random.integers(routers // 2, routers))]
    ends = [*ring, *((a, b) for a, b in chords)]
    cost = random.integers(1, random.choice([2, 4, 10]), len(ends)).tolist()
    ducts = [random.choice(len(ends), random.integers(2, 4), replace=False).tolist() for _ in range(routers)]
    return Network(routers, ends, cost, [*([link] for link in range(len(ends))), *ducts])


@st.composite
def networks_with_rows(draw: st.DrawFn) -> tuple[Network, Backups]:
    """A small network and whatever may lie in its routers."""
    network = draw(networks(5))
    own = {router: [at for at, pair in enumerate(network.ends) if router in pair] for router in range(network.routers)}
    rows = []
    for router, goal in product(range(network.routers), repeat=2):
        carrying = [link for link in own[router] if network.cost[link]]
        if router == goal or not carrying:
            continue
        for over in draw(st.lists(st.sampled_from([NONE, *own[router]]), unique=True, max_size=2)):
            links = draw(st.lists(st.sampled_from(carrying), unique=True, max_size=2))
            rows += [(router, goal, over, rank, link) for rank, link in enumerate(links)]
    return network, _rows(*rows)


@given(networks_with_rows())
@settings(max_examples=150, deadline=None)
def test_coverage_is_what_following_every_packet_shows_whatever_lies_in_the_routers(
    case: tuple[Network, Backups],
) -> None:
    network, kept = case
    _same(_asked(network, kept), _expected(network, kept))


@given(networks())
@settings(max_examples=60, deadline=None)
def test_coverage_of_what_was_chosen_is_what_following_every_packet_shows(network: Network) -> None:
    for kept in (NOTHING, alternates(*network), backups(*network)):
        _same(_asked(network, kept), _expected(network, kept))


@given(networks(12) | SEEDS.map(_by_chance))
@settings(max_examples=300, deadline=None)
def test_nothing_goes_in_a_circle_at_once_or_settled_and_the_healthy_network_stays_as_it_was(network: Network) -> None:
    before = _asked(network, NOTHING)
    for kept in (alternates(*network), backups(*network)):
        after = _asked(network, kept)
        assert after.healthy
        assert after.settled.all()
        assert not after.loops.any()
        assert (after.at_once >= before.at_once).all()
        before = after


@given(networks(5) | SEEDS.map(_by_chance))
@settings(max_examples=60, deadline=None)
def test_whatever_arrives_without_them_arrives_with_them(network: Network) -> None:
    lists = _lists(backups(*network))
    for failure, goal in product(network.failures, range(network.routers)):
        tables = _tables(network, goal, set())
        bare, kept = (Packets(network, goal, tables, each, set(failure)) for each in ({}, lists))
        for source in range(network.routers):
            assert kept.ends(source) == {"arrives"} or bare.ends(source) != {"arrives"}


# A packet that comes in where it never does may have been sent there by several failures, and must get round them all.
@example(_single(7, [(0, 3), (6, 1)], [4, 4, 5, 5, 5, 2, 3, 1, 1]))
# Of two ways of equal cost round link 2, which 3 has for 1, one leads to an exception that leads back for others' sake.
@example(_single(9, [(0, 1), (0, 2), (0, 3), (0, 6), (2, 8)], [6, 1, 1, 1, 1, 1, 1, 2, 4, 6, 5, 2, 1, 1]))
@given(networks(12, whole=True, costs=1000))
@settings(max_examples=200, deadline=None)
def test_where_no_single_link_cuts_anyone_off_all_traffic_arrives_at_once_whichever_is_lost(network: Network) -> None:
    found = _asked(network, backups(*network))
    assert found.pairs.sum() > 0
    np.testing.assert_array_equal(found.at_once, found.pairs)


# In the first two, taking out a row leaves another without need.
@example(_by_chance(637))
@example(_by_chance(1416))
@given(networks(6) | SEEDS.map(_by_chance))
@settings(max_examples=100, deadline=None)
def test_each_row_is_needed_by_some_pair_in_some_failure(network: Network) -> None:
    for kept in (alternates(*network), backups(*network)):
        whole = _asked(network, kept)
        for row in range(len(kept.link)):
            less = _asked(network, Backups(*(np.delete(column, row) for column in kept)))
            lost = (less.at_once < whole.at_once).any()
            assert lost or less.loops.any() or not less.settled.all(), _told(kept)[row]


@given(networks(10) | SEEDS.map(_by_chance))
@settings(max_examples=100, deadline=None)
def test_alternates_lead_to_neighbours_whose_way_does_not_lead_back(network: Network) -> None:
    kept = alternates(*network)
    far = dict(nx.all_pairs_dijkstra_path_length(_graph(network, set())))
    tables = [_tables(network, goal, set()) for goal in range(network.routers)]
    assert (kept.over == NONE).all()
    for router, goal, _, _, link in _told(kept):
        beside = sum(network.ends[link]) - router
        assert far[beside][goal] < far[beside][router] + far[router][goal]
        assert link not in tables[goal][router]


@given(networks(10) | SEEDS.map(_by_chance))
@settings(max_examples=200, deadline=None)
def test_exceptions_are_for_links_by_which_nothing_comes_in_while_all_is_well(network: Network) -> None:
    tables = [_tables(network, goal, set()) for goal in range(network.routers)]
    for router, goal, over, _, _ in _told(backups(*network)):
        if over != NONE:
            assert over not in tables[goal][sum(network.ends[over]) - router]


@given(networks(8), st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_order_of_failures_and_of_their_links_and_what_is_told_twice_changes_nothing(
    network: Network, random: Any
) -> None:
    kept = backups(*network)
    turned = [random.sample(failure, len(failure)) * 2 for failure in network.failures] * 2
    random.shuffle(turned)
    for left, right in zip(kept, backups(*network[:3], turned), strict=True):
        np.testing.assert_array_equal(left, right)


@given(networks(8), st.randoms())
@settings(max_examples=60, deadline=None)
def test_rows_come_sorted_with_ranks_from_zero_and_are_followed_in_any_order(network: Network, random: Any) -> None:
    kept = backups(*network)
    told = _told(kept)
    assert told == sorted(told)
    for key, links in _lists(kept).items():
        assert [row[3] for row in told if row[:3] == key] == list(range(len(links)))
        assert len(set(links)) == len(links)
    random.shuffle(told)
    shuffled = Backups(*np.array(told, np.int64).reshape(-1, 5).T)
    _same(_asked(network, shuffled), _asked(network, kept))


SQUARE = Network(4, [(0, 1), (1, 2), (2, 3), (3, 0)], [1, 1, 1, 1], [[0]])


def test_in_a_square_a_packet_is_sent_back_and_the_next_router_leads_it_on() -> None:
    # What 0 has for 1 goes to 3, half of which would come back, as 0 is one of the two next hops of 3.
    assert not len(alternates(*SQUARE).link)
    assert _told(backups(*SQUARE)) == [
        (0, 1, NONE, 0, 3),
        (1, 0, NONE, 0, 1),
        (2, 0, 1, 0, 2),
        (3, 1, 3, 0, 2),
    ]
    found = _asked(SQUARE, backups(*SQUARE))
    # 0 to 1 and back, and the two pairs across the square of which half goes by way of the link.
    assert found.pairs.tolist() == found.at_once.tolist() == [6]


def test_a_backup_that_leads_to_who_sends_back_goes_in_a_circle_and_coverage_says_so() -> None:
    found = _asked(SQUARE, _rows((0, 1, NONE, 0, 3)))
    assert found.loops.tolist() == [2]
    assert found.at_once.tolist() == [2]
    assert found.settled.all()
    assert found.healthy


def test_an_exception_that_holds_when_routing_has_settled_may_go_in_a_circle_then_and_coverage_says_so() -> None:
    # By the new tables what 0 has for 1 comes to 3 by link 3, which this sends back.
    found = _asked(SQUARE, _rows((3, 1, 3, 0, 3)))
    assert not found.settled.any()
    assert not found.loops.any()
    assert found.healthy


def test_an_exception_where_traffic_comes_in_while_all_is_well_is_told() -> None:
    # What 3 has for 1 comes to 2 by link 2.
    assert not _asked(SQUARE, _rows((2, 1, 2, 0, 1))).healthy


def _ring(routers: int) -> Network:
    return _single(routers, [], [1] * routers)


@pytest.mark.parametrize("routers", [4, 6, 8])
def test_in_a_ring_of_an_even_number_there_is_no_alternate_and_exceptions_save_all(routers: int) -> None:
    ring = _ring(routers)
    assert not len(alternates(*ring).link)
    kept = backups(*ring)
    found = _asked(ring, kept)
    assert (kept.over != NONE).any()
    assert found.pairs.sum() > 0
    np.testing.assert_array_equal(found.at_once, found.pairs)


def test_a_backup_that_no_duct_shares_with_the_next_hop_is_enough_though_another_is_nearer() -> None:
    # From 0 to 1 directly, by way of 2 and, longer, by way of 3; the duct has the first two.
    ends, cost = [(0, 1), (0, 2), (0, 3), (2, 1), (3, 1)], [1, 2, 4, 2, 4]
    network = Network(4, ends, cost, [[0], [0, 1]])
    kept = alternates(*network)
    mine = [row for row in _told(kept) if row[:2] == (0, 1)]
    assert mine == [(0, 1, NONE, 0, 2)]
    found = _asked(network, backups(*network))
    np.testing.assert_array_equal(found.at_once, found.pairs)


def test_who_may_send_back_by_one_of_two_ways_of_equal_cost_is_no_alternate() -> None:
    # What 0 has for 1 and sends to 2 goes on directly, or by way of 3, which sends it to 0, or else to 4.
    ends = [(0, 1), (0, 2), (2, 1), (2, 3), (3, 0), (3, 4), (4, 1)]
    network = Network(5, ends, [4, 9, 6, 1, 1, 5, 5], [[0, 4]])
    assert not [row for row in _told(alternates(*network)) if row[:2] == (0, 1)]
    # Nor would it be though the link by which that comes back is lost, too, and it helps.
    third = (3, 1, NONE, 0, 5)
    assert _asked(network, _rows((0, 1, NONE, 0, 1), third)).at_once > _asked(network, _rows(third)).at_once
    found = _asked(network, backups(*network))
    assert found.at_once.tolist() == found.pairs.tolist()


def test_where_no_backup_is_outside_all_ducts_there_are_several_in_their_order() -> None:
    # From 0 to 1 directly and by way of 2 and 3; each of two ducts has the next hop and one of the others.
    ends, cost = [(0, 1), (0, 2), (2, 1), (0, 3), (3, 1)], [1, 2, 2, 2, 2]
    network = Network(4, ends, cost, [[0, 1], [0, 3]])
    mine = [row for row in _told(alternates(*network)) if row[:2] == (0, 1)]
    assert [row[3] for row in mine] == [0, 1]
    assert {row[4] for row in mine} == {1, 3}
    found = _asked(network, backups(*network))
    np.testing.assert_array_equal(found.at_once, found.pairs)


def test_of_two_next_hops_of_equal_cost_the_other_needs_no_backup_and_the_loss_of_both_does() -> None:
    # From 0 to 3 by way of 1 or 2, and directly at a higher cost.
    ends, cost = [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3)], [1, 1, 1, 1, 3]
    one = Network(4, ends, cost, [[0], [1]])
    assert not [row for row in _told(backups(*one)) if row[:2] == (0, 3)]
    both = Network(4, ends, cost, [[0, 1]])
    assert [row for row in _told(backups(*both)) if row[:2] == (0, 3)] == [(0, 3, NONE, 0, 4)]
    for network in (one, both):
        found = _asked(network, backups(*network))
        np.testing.assert_array_equal(found.at_once, found.pairs)


def test_a_link_is_the_backup_of_a_cheaper_one_beside_it_and_of_one_as_cheap_there_is_no_need() -> None:
    dear = Network(2, [(0, 1), (1, 0)], [1, 5], [[0], [1]])
    assert _told(alternates(*dear)) == _told(backups(*dear)) == [(0, 1, NONE, 0, 1), (1, 0, NONE, 0, 1)]
    same = dear._replace(cost=[5, 5])
    assert not len(backups(*same).link)
    for network in (dear, same):
        found = _asked(network, backups(*network))
        np.testing.assert_array_equal(found.at_once, found.pairs)


def test_what_carries_nothing_is_nobodys_backup() -> None:
    assert not len(backups(2, [(0, 1), (0, 1)], [1, 0], [[0]]).link)


def test_traffic_to_who_is_cut_off_goes_in_no_circle_though_that_leaves_less_for_others() -> None:
    # Two routers (0, 1) between two others (2, 3); a duct has both links that lead to them.
    ends, cost = [(0, 1), (0, 2), (1, 3), (2, 3)], [1, 1, 1, 1]
    single = Network(4, ends, cost, [[link] for link in range(4)])
    cut = single._replace(failures=[*single.failures, [1, 2]])
    found = _asked(single, backups(*single))
    np.testing.assert_array_equal(found.at_once, found.pairs)
    assert _asked(cut, backups(*single)).loops[-1] > 0
    careful = _asked(cut, backups(*cut))
    assert not careful.loops.any()
    assert careful.settled.all()
    assert careful.at_once.sum() < found.at_once.sum()


def test_failures_that_nothing_meets_and_networks_of_nothing_have_no_rows() -> None:
    for network in (
        Network(0, [], [], []),
        Network(1, [], [], [[]]),
        Network(3, [], [], [[], []]),
        Network(3, [(0, 1)], [0], [[0]]),
        Network(3, [(0, 1), (1, 2)], [1, 1], []),
        Network(3, [(0, 1), (1, 2)], [1, 1], [[], [0], [1], [0, 1]]),
    ):
        kept = backups(*network)
        assert not len(kept.link)
        _same(_asked(network, kept), _expected(network, kept))


def _on_a_line(failures: Any, *rows: tuple[int, int, int, int, int]) -> Coverage:
    return coverage(3, [(0, 1), (1, 2)], [1, 1], failures, _rows(*rows))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (lambda: backups(-1, [], [], []), "there are -1 routers; give their number"),
        (lambda: backups(2, [(0, 2)], [1], []), "ends has values that are not from 0 to 1 (rows 0)"),
        (lambda: backups(2, [(0, 1, 1)], [1], []), "ends has 3 columns; give the two routers of each link"),
        (lambda: backups(2, [(0, 1), (0,)], [1, 1], []), "ends has rows of unequal length"),
        (lambda: backups(2, [0, 1], [1, 1], []), "ends has 1 dimensions; give it 2"),
        (lambda: backups(2, [(0, 1), (1, 1)], [1, 1], []), "ends are one and the same router (rows 1)"),
        (lambda: backups(2, [(0.0, np.nan)], [1], []), "ends is of type float64; give whole numbers"),
        (lambda: backups(2, [(0, 1)], [1, 1], []), "there are 1 links and 2 costs; give the cost of each link"),
        (lambda: backups(2, [(0, 1)], [1.5], []), "cost is of type float64; give whole numbers"),
        (lambda: backups(2, [(0, 1)], [-1], []), "cost has values that are not from 0 to 4294967295 (rows 0)"),
        (lambda: backups(2, [(0, 1)], [1 << 32], []), "cost has values that are not from 0 to 4294967295 (rows 0)"),
        (lambda: _on_a_line([[0], [2], [-1]]), "failures has links that are not from 0 to 1 (rows 1, 2)"),
        (lambda: _on_a_line([[True, False]]), "failures[0] is of type bool; give whole numbers"),
        (lambda: _on_a_line([[0], 1]), "failures[1] has 0 dimensions; give it 1"),
        (lambda: _on_a_line([[2]]), "failures has links that are not from 0 to 1 (rows 0)"),
        (lambda: _on_a_line([], (3, 0, NONE, 0, 0)), "kept.router has values that are not from 0 to 2"),
        (lambda: _on_a_line([], (0, -1, NONE, 0, 0)), "kept.goal has values that are not from 0 to 2"),
        (lambda: _on_a_line([], (0, 1, -2, 0, 0)), "kept.over has values that are not from -1 to 1"),
        (lambda: _on_a_line([], (0, 1, NONE, -1, 0)), "kept.rank has values that are not from 0"),
        (lambda: _on_a_line([], (0, 1, NONE, 0, NONE)), "kept.link has values that are not from 0 to 1"),
        (lambda: _on_a_line([], (0, 0, NONE, 0, 0)), "kept is for the router itself (rows 0)"),
        (lambda: _on_a_line([], (0, 1, NONE, 0, 1)), "kept.link is not at the router (rows 0)"),
        (lambda: _on_a_line([], (0, 1, 1, 0, 0)), "kept.over is not at the router (rows 0)"),
        (
            lambda: _on_a_line([], (1, 2, NONE, 0, 0), (1, 2, NONE, 0, 1)),
            "kept has links of one list with the same rank (rows 0, 1); number them",
        ),
        (
            lambda: coverage(2, [(0, 1)], [0], [], _rows((0, 1, NONE, 0, 0))),
            "kept.link carries nothing (rows 0); give links that have a cost",
        ),
        (
            lambda: coverage(2, [], [], [], NOTHING._replace(link=np.array([0]))),
            "there are 0 of kept.router, 0 of kept.goal, 0 of kept.over, 0 of kept.rank, 1 of kept.link",
        ),
    ],
)
def test_what_is_wrong_is_refused_in_words(asked: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError) as refused:
        asked()
    assert words in str(refused.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InputError) as refused:
        backups(2, [(0, 2), (1, 1)], [1, -1], [[5]])
    assert len(refused.value.problems) == 4


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int64])
def test_rows_may_be_whole_numbers_of_any_size_and_read_only(kind: type[Any]) -> None:
    def fixed(values: Any) -> Array:
        array = np.asarray(values, kind)
        array.setflags(write=False)
        return array

    told = (SQUARE.routers, fixed(SQUARE.ends), fixed(SQUARE.cost), [fixed([0])])
    kept = backups(*told)
    assert _told(kept) == _told(backups(*SQUARE))
    _same(coverage(*told, kept), _asked(SQUARE, kept))


def test_rows_of_small_whole_numbers_name_links_as_well_as_large_ones_do() -> None:
    ring = _ring(120)
    kept = _rows((119, 0, NONE, 0, 118), (118, 0, 118, 0, 117))
    small = Backups(*(column.astype(np.int8) for column in kept))
    _same(_asked(ring, small), _asked(ring, kept))
    # Where they lead, all is sent back; so something went by them.
    assert _asked(ring, kept).loops.any()


def test_costs_may_be_as_high_as_a_protocol_has_them() -> None:
    ring = _ring(6)
    dear = ring._replace(cost=[(1 << 32) - 1] * 6)
    assert _told(backups(*dear)) == _told(backups(*ring))
