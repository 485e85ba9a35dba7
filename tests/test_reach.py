"""The prepared network against scipy and networkx on the network as it is, to the nanosecond."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.importers.generate import nation
from karez.measure import reach
from karez.measure.circles import WEIGHT_SCALE, Points, Weight, circles, compute_sites, fixed, points
from karez.measure.core import LONGEST_NS
from karez.measure.delay import link_oneway_us
from karez.measure.kernels import FAR, _reciprocal, compiled
from karez.twin import Table, Twin
from karez.twin.graph import delay_towards_ns, graph
from karez.twin.schema import Value
from karez.twin.table import Array

Columns = dict[str, Array | Sequence[Value]]
# Nothing at all, next to nothing, what is usual, and more than any budget.
DELAYS_NS = st.one_of(st.sampled_from([0, 1, 999, 1_000, 20_000]), st.integers(0, 100_000), st.just(400_000_000))


@st.composite
def networks(draw: st.DrawFn) -> tuple[Twin, np.ndarray, np.ndarray]:
    """A twin of a few sites and stations in chains, rings and knots; a delay for each link; and targets."""
    sites, stations = draw(st.integers(1, 5)), draw(st.integers(0, 14))
    names = [f"c{i}" for i in range(sites)] + [f"s{i:02d}" for i in range(stations)]
    # Runs of neighbours make chains and rings likely; the rest is anything, loops to the same pair among it.
    walk = draw(st.permutations(range(len(names))))
    pairs = [(a, b) for a, b in pairwise(walk) if draw(st.booleans())]
    more = st.tuples(st.integers(0, len(names) - 1), st.integers(0, len(names) - 1))
    pairs += [pair for pair in draw(st.lists(more, max_size=8)) if pair[0] != pair[1]]
    ways = [draw(st.sampled_from(["both", "both", "both", "forward"])) for _ in pairs]
    up = [draw(st.integers(0, 9)) > 0 for _ in pairs]
    twin = Twin().replace(
        Table.of("metros", {"id": ["m0", "m1"], "province": ["p", "p"], "lon": [1.0, 2.0], "lat": [1.0, 2.0]}),
        Table.of(
            "sites",
            {
                "id": names[:sites],
                "kind": ["core"] * sites,
                "metro": ["m0"] * sites,
                "lon": [1.0] * sites,
                "lat": [1.0] * sites,
            },
        ),
        *_rest(draw, names, sites, pairs, ways, up),
    )
    delays = np.array([draw(DELAYS_NS) for _ in pairs], np.int64)
    targets = draw(st.lists(st.integers(0, sites - 1), max_size=3, unique=True))
    return twin, delays, np.array(targets, np.int64)


def _rest(
    draw: st.DrawFn, names: list[str], sites: int, pairs: list[tuple[int, int]], ways: list[str], up: list[bool]
) -> list[Table]:
    stations, tables = names[sites:], []
    if stations:
        metro = [draw(st.sampled_from(["m0", "m1"])) for _ in stations]
        weight = [draw(st.sampled_from([0.0, 0.5, 1.0, 2.718281])) for _ in stations]
        count = len(stations)
        made: Columns = {"id": stations, "metro": metro, "weight": weight, "lon": [1.0] * count, "lat": [1.0] * count}
        tables.append(Table.of("stations", made))
    if pairs:
        links: Columns = {
            "id": [f"l{i:03d}" for i in range(len(pairs))],
            "a": [names[a] for a, _ in pairs],
            "b": [names[b] for _, b in pairs],
            "kind": ["access"] * len(pairs),
            "direction": ways,
            "length_km": [1.0] * len(pairs),
            "up": np.array(up),
        }
        tables.append(Table.of("links", links))
    return tables


def _by_networkx(twin: Twin, delays: np.ndarray, targets: np.ndarray, limit_ns: int) -> np.ndarray:
    """The delay of each vertex towards the best target, `FAR` from the limit on, on the network as it is."""
    graph = nx.MultiDiGraph()
    vertices = len(twin["sites"]) + len(twin["stations"])
    graph.add_nodes_from(range(vertices))
    a, b = twin.resolve("links", "a"), twin.resolve("links", "b")
    for link in np.flatnonzero(twin["links"]["up"]):
        # Turned round, because the search starts from where the traffic goes.
        graph.add_edge(int(b[link]), int(a[link]), weight=int(delays[link]))
        if twin["links"]["direction"][link] == b"both":
            graph.add_edge(int(a[link]), int(b[link]), weight=int(delays[link]))
    found = nx.multi_source_dijkstra_path_length(graph, set(targets.tolist())) if len(targets) else {}
    return np.array([found[v] if found.get(v, limit_ns) < limit_ns else int(FAR) for v in range(vertices)])


def _all_points(twin: Twin) -> Points:
    """Every vertex: the sites with a weight of their own, the stations with theirs."""
    sites, stations = len(twin["sites"]), points(twin, "station")
    vertex = np.concatenate([np.arange(sites), stations.vertex])
    weight = np.concatenate([np.full(sites, 3.0), stations.weight])
    return Points(vertex, weight, np.concatenate([twin.resolve("sites", "metro"), stations.metro]))


@given(networks(), st.sampled_from([1, 1_000, 50_000, 300_000, LONGEST_NS]))
@settings(max_examples=400, deadline=None)
def test_every_delay_and_every_sum_is_as_networkx_has_it_on_the_whole_network(
    case: tuple[Twin, np.ndarray, np.ndarray], limit_ns: int
) -> None:
    twin, delays, targets = case
    counted = _all_points(twin)
    prepared = reach.prepared(twin, delays, np.ones(len(delays), bool), counted)
    expected = _by_networkx(twin, delays, targets, limit_ns)
    assert prepared.delays_ns(targets, limit_ns).tolist() == expected.tolist()
    weight = np.rint(counted.weight * WEIGHT_SCALE).astype(np.int64)
    for metro, covered in enumerate(prepared.covered(targets, limit_ns)):
        assert covered == weight[(counted.metro == metro) & (expected < limit_ns)].sum()


@given(networks(), st.integers(1, 40_000), st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_the_curve_is_what_each_budget_alone_would_say(
    case: tuple[Twin, np.ndarray, np.ndarray], step_ns: int, steps: int
) -> None:
    twin, delays, targets = case
    prepared = reach.prepared(twin, delays, np.ones(len(delays), bool), _all_points(twin))
    curve = prepared.curve(targets, step_ns, steps)
    for step in range(steps):
        assert curve[:, step].tolist() == prepared.covered(targets, (step + 1) * step_ns).tolist()


@given(st.integers(1, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_multiplying_by_the_reciprocal_is_dividing(step: int, delay: int) -> None:
    factor, shift = _reciprocal.py_func(step)
    assert (delay * factor) >> shift == delay // step
    assert delay * factor < 2**63


@pytest.fixture(scope="module")
def made() -> Twin:
    return nation(stations=20_000, sites=40, seed=5)


def _prepared(twin: Twin) -> reach.Reach:
    ns = np.rint(link_oneway_us(twin, figures="typical") * 1_000).astype(np.int64)
    return reach.prepared(twin, ns, twin["links"]["layer"] == b"optical", points(twin, "station"))


def test_on_a_nation_every_station_is_as_scipy_has_it_without_contraction(made: Twin) -> None:
    counted, targets = points(made, "station"), compute_sites(made)
    optical = np.where(made["links"]["layer"] == b"optical", link_oneway_us(made, figures="typical"), np.inf)
    whole = delay_towards_ns(graph(made, optical), targets)[counted.vertex]
    ours = _prepared(made).delays_ns(targets).astype(float)
    ours[ours == FAR] = np.inf
    assert np.array_equal(ours, whole)


def test_most_of_a_nation_is_no_vertex_of_the_search(made: Twin) -> None:
    assert _prepared(made).topology.vertices == len(made["sites"])


def test_shuffled_rows_give_the_same_bytes(made: Twin) -> None:
    random = np.random.default_rng(0)
    tables = []
    for name in ("stations", "links", "sites"):
        order = random.permutation(len(made[name]))
        tables.append(Table.of(name, {column: made[name][column][order] for column in made[name].columns}))
    shuffled, targets = made.replace(*tables), compute_sites(made)
    first, second = _prepared(made), _prepared(shuffled)
    assert first.covered(targets, 1_000_000).tobytes() == second.covered(targets, 1_000_000).tobytes()
    assert first.curve(targets, 10_000, 100).tobytes() == second.curve(targets, 10_000, 100).tobytes()


def test_the_curve_of_a_network_is_what_circles_says_for_each_budget(made: Twin) -> None:
    weights: tuple[Weight, ...] = ("access_point", "station", "place")
    for weight in weights:
        counted = points(made, weight)
        below = reach.typical(made, counted).curve(compute_sites(made), 250_000, 6).sum(axis=0)
        shares = below / fixed(counted.weight).sum()
        for step, share in enumerate(shares):
            pooled = circles(made, budget_us=250.0 * (step + 1), weight=weight).shares["typical"].pooled_share
            # Weights are kept to a millionth here, and as floats there.
            assert share == pytest.approx(pooled, abs=1e-6)


def test_once_compiled_nobody_is_told_to_wait(made: Twin, caplog: pytest.LogCaptureFixture) -> None:
    _prepared(made)
    assert compiled()
    caplog.clear()
    with caplog.at_level("INFO", logger="karez"):
        _prepared(made)
    assert caplog.records == []
