"""Small random networks of every odd kind: what a nation never has, a search must get right all the same.

Stations come in runs: chains between two hosts, rings on one, dead ends, and parts that nothing reaches. Links are
then added at random, some beside others; some go one way only or are down, and delays are of one habit a network.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from karez.measure.core import LONGEST_NS
from karez.twin import Table, Twin
from karez.twin.table import Array

SITES, STATIONS, EXTRA, RUN = (1, 6), (0, 15), (0, 7), (1, 6)
TARGETS = 3
ONE_WAY_SHARES, DOWN_SHARE = (0.0, 0.0, 0.15, 0.5), 0.08
WEIGHTS = (0.0, 0.5, 1.0, 2.718281)
# Of each habit: delays drawn from these (ns).
HABITS_NS = (
    (0,),
    (0, 1, 2, 3),
    (0, 1, 999, 1_000, 1_001, 20_000),
    (5_000, 20_000, 20_001, 50_000, 99_999),
    (0, 20_000, 400_000_000, LONGEST_NS // 2, LONGEST_NS - 1, LONGEST_NS, LONGEST_NS + 1),
)
ENDS = ("two hosts", "one host", "nothing", "itself", "no host")
DUCTS, SUPPORTS = 3, (0, 9)
EMPTY = Twin()


class Small(NamedTuple):
    """A network, the delay of each link (int64 ns) and the sites that are open (rows)."""

    twin: Twin
    oneway_ns: Array
    targets: Array


def small(random: np.random.Generator) -> Small:
    """The next network of this stream."""
    sites, stations = int(random.integers(*SITES)), int(random.integers(*STATIONS))
    pairs = _pairs(random, sites, stations)
    delays = random.choice(HABITS_NS[random.integers(len(HABITS_NS))], len(pairs)).astype(np.int64)
    targets = random.permutation(sites)[: random.integers(0, TARGETS + 1)]
    return Small(_twin(random, sites, stations, pairs), delays, np.sort(targets))


def carried(random: np.random.Generator, case: Small) -> Small:
    """The same network with links that lie in ducts or rest on earlier links."""
    links = case.twin["links"]
    count = int(random.integers(*SUPPORTS)) if len(links) else 0
    if not count:
        return case
    upper, lower, duct = (random.integers(0, top, count) for top in (len(links), len(links), DUCTS))
    rests = lower < upper
    ducts = _ids("d", DUCTS)
    support = {
        "id": _ids("u", count),
        "link": links.ids[upper],
        "duct": np.where(rests, b"", ducts[duct]),
        "supported_by": np.where(rests, links.ids[lower], b""),
    }
    twin = case.twin.replace(Table.of("ducts", {"id": ducts}), Table.of("link_support", support))
    return case._replace(twin=twin)


def _pairs(random: np.random.Generator, sites: int, stations: int) -> Array:
    """The two vertices (sites, then stations) of each link, in any order."""
    free = (sites + random.permutation(stations)).tolist()
    hosts, pairs = list(range(sites)), []
    while free:
        size = int(random.integers(*RUN))
        run, free = free[:size], free[size:]
        pairs += _run(random, run, hosts)
        # Now and then a later run hangs on a station of this one.
        hosts += run[: random.integers(0, 2)]
    vertices = sites + stations
    for _ in range(random.integers(*EXTRA)):
        if pairs and random.random() < 0.3:
            pairs.append(pairs[random.integers(len(pairs))])
        elif vertices > 1:
            pairs.append(tuple(random.choice(vertices, 2, replace=False).tolist()))
    found = np.array(pairs, np.int64).reshape(-1, 2)
    turned = random.random(len(found)) < 0.5
    return np.where(turned[:, None], found[:, ::-1], found)[random.permutation(len(found))]


def _run(random: np.random.Generator, run: list[int], hosts: list[int]) -> list[tuple[int, ...]]:
    """The links of stations one after the other, and of the ends of their row with what they hang on."""
    one, other = (hosts[i] for i in random.integers(0, len(hosts), 2))
    links: list[tuple[int, ...]] = list(pairwise(run))
    ends = ENDS[random.integers(len(ENDS))]
    if ends in ("two hosts", "one host", "nothing"):
        links.append((one, run[0]))
    if ends == "two hosts":
        links.append((run[-1], other))
    if ends == "one host":
        links.append((run[-1], one))
    if ends == "itself" and len(run) > 1:
        links.append((run[-1], run[0]))
    return links


def _twin(random: np.random.Generator, sites: int, stations: int, pairs: Array) -> Twin:
    tables = [
        Table.of("metros", {"id": _ids("m", 2), "province": _same("p", 2), **_place(2)}),
        Table.of(
            "sites",
            {"id": _ids("c", sites), "kind": _same("core", sites), "metro": _same("m0", sites), **_place(sites)},
        ),
    ]
    if stations:
        metro = _ids("m", 2)[random.integers(0, 2, stations)]
        weight = random.choice(WEIGHTS, stations)
        made = {"id": _ids("s", stations), "metro": metro, "weight": weight, **_place(stations)}
        tables.append(Table.of("stations", made))
    if len(pairs):
        tables.append(Table.of("links", _links(random, np.concatenate([_ids("c", sites), _ids("s", stations)]), pairs)))
    return EMPTY.replace(*tables)


def _links(random: np.random.Generator, names: Array, pairs: Array) -> dict[str, Array]:
    count = len(pairs)
    one_way = random.random(count) < random.choice(ONE_WAY_SHARES)
    return {
        "id": _ids("l", count),
        "a": names[pairs[:, 0]],
        "b": names[pairs[:, 1]],
        "kind": _same("access", count),
        "direction": np.where(one_way, b"forward", b"both"),
        "length_km": np.ones(count),
        "up": random.random(count) >= DOWN_SHARE,
    }


def _place(count: int) -> dict[str, Array]:
    return {"lon": np.ones(count), "lat": np.ones(count)}


def _same(word: str, count: int) -> Array:
    return np.full(count, word.encode())


def _ids(letter: str, count: int) -> Array:
    width = 1 if letter == "m" else 3
    return np.array([f"{letter}{i:0{width}d}".encode() for i in range(count)], f"S{1 + width}")
