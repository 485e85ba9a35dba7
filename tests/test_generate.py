from functools import cache

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from karez.errors import InputError
from karez.importers.generate import TWO_HOSTED_SHARE, nation
from karez.twin import Twin, World
from karez.twin.check import check
from karez.twin.states import initial_states

STATIONS, SITES = 50_000, 60


@cache
def network() -> Twin:
    return nation(stations=STATIONS, sites=SITES, seed=1)


def ends(twin: Twin) -> tuple[np.ndarray, np.ndarray]:
    return twin.resolve("links", "a"), twin.resolve("links", "b")


def rings_and_hosts(twin: Twin) -> tuple[np.ndarray, np.ndarray]:
    """The number of the ring of each station, and how many sites each ring ends on."""
    sites, stations = len(twin["sites"]), len(twin["stations"])
    a, b = ends(twin)
    inner = (a >= sites) & (b >= sites)
    joined = coo_array((np.ones(inner.sum()), (a[inner] - sites, b[inner] - sites)), shape=(stations, stations))
    _, ring = connected_components(joined, directed=False)
    outer = (a >= sites) & (b < sites)
    touched = np.unique(np.stack([ring[a[outer] - sites], b[outer]]), axis=1)
    return ring, np.bincount(touched[0])


def test_a_generated_network_and_its_first_states_have_no_problem() -> None:
    actual = initial_states(network())
    assert check(network()) == []
    assert check(actual) == []
    assert check(World(network(), actual)) == []


def test_stations_are_as_many_as_asked_and_at_least_eight_a_place() -> None:
    stations = network()["stations"]
    _, counts = np.unique(stations["metro"], return_counts=True)
    assert len(stations) == STATIONS
    assert len(counts) == len(network()["metros"])
    assert counts.min() == 8


def test_larger_places_have_more_stations() -> None:
    metro = network().resolve("stations", "metro")
    counts = np.bincount(metro, minlength=len(network()["metros"]))
    by_size = np.argsort(-network()["metros"]["population"], kind="stable")
    # The largest remainder may favour one of two neighbours by a single station.
    assert (np.diff(counts[by_size]) <= 1).all()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_network() -> None:
    assert nation(stations=20_000, sites=5, seed=7).digest == nation(stations=20_000, sites=5, seed=7).digest
    assert nation(stations=20_000, sites=5, seed=7).digest != nation(stations=20_000, sites=5, seed=8).digest


def test_a_ring_has_at_most_eight_stations_and_ends_on_one_or_two_sites() -> None:
    ring, hosts = rings_and_hosts(network())
    assert np.bincount(ring).max() == 8
    assert set(hosts.tolist()) == {1, 2}


def test_seventy_percent_of_rings_end_on_two_sites_where_a_place_has_two() -> None:
    twin = network()
    ring, hosts = rings_and_hosts(twin)
    metro = twin.resolve("sites", "metro")[twin["sites"]["kind"] == b"aggregation"]
    able = np.bincount(metro, minlength=len(twin["metros"])) > 1
    first_station = np.unique(ring, return_index=True)[1]
    rings = able[twin.resolve("stations", "metro")[first_station]]
    assert abs(np.mean(hosts[rings] == 2) - TWO_HOSTED_SHARE) < 0.03
    assert (hosts[~rings] == 1).all()


def test_every_site_and_station_can_be_reached() -> None:
    a, b = ends(network())
    size = len(network()["sites"]) + len(network()["stations"])
    assert connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(size, size)))[0] == 1


def test_no_two_links_join_the_same_ends() -> None:
    a, b = ends(network())
    pairs = np.stack([np.minimum(a, b), np.maximum(a, b)])
    assert np.unique(pairs, axis=1).shape[1] == len(a)


@pytest.mark.parametrize("sites", [1, 2, 60, 400])
def test_as_many_sites_as_asked_hold_servers_and_from_five_on_some_are_in_the_west(sites: int) -> None:
    twin = nation(stations=20_000, sites=sites, seed=3)
    site = twin.resolve("servers", "site")
    metro = twin.resolve("sites", "metro")[site]
    west = twin["provinces"]["side"][twin.resolve("metros", "province")[metro]] == b"west"
    assert len(np.unique(site)) == sites
    assert west.any() == (sites >= 5)
    assert b"Shanghai" in twin["metros"]["name"][metro]
    assert check(twin) == []


def test_demands_lead_to_compute_in_another_place() -> None:
    twin = network()
    a, b = twin.resolve("demands", "a"), twin.resolve("demands", "b")
    metro = twin.resolve("sites", "metro")
    assert len(a) == 2_000
    assert np.isin(b, twin.resolve("servers", "site")).all()
    assert (metro[a] != metro[b]).all()


def test_links_that_end_on_stations_have_no_state_and_all_others_start_idle() -> None:
    actual = initial_states(network())
    states, links = actual["link_states"], actual["links"]
    assert set(states.ids.tolist()) == set(links.ids[links["kind"] != b"access"].tolist())
    assert states["up"].all()
    assert not states["load_gbps"].any()
    assert np.array_equal(actual["server_states"]["free_chips"], actual["servers"]["chips"])


def test_too_few_stations_and_too_many_sites_are_refused() -> None:
    with pytest.raises(InputError, match="too few"):
        nation(stations=1_000, sites=1, seed=1)
    with pytest.raises(InputError, match="cannot be placed"):
        nation(stations=20_000, sites=5_000, seed=1)
