"""Steering tables, compiled: what the request path indexes, and its decision for many requests at once.

An endpoint is a candidate of a metro where the network reaches it both ways. Where data may go is decided here, by
the policy, so that the request path only looks at a bit: the data is taken to come from the metro's province and from
the domain of its main core site, which is the operator's that steers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse.csgraph import dijkstra

from karez.measure import policy
from karez.measure.delay import Figures
from karez.plan.place import main_sites, transport
from karez.steer import DATA_CLASSES, LAYOUT, MARGIN_SHARE, MS_PER_S, NO_TOKENS_LIMIT, Table
from karez.twin import World
from karez.twin.graph import Graph
from karez.twin.table import Array
from karez.units import NS_PER_US, US_PER_MS

NS_PER_MS = NS_PER_US * US_PER_MS

# What the policy is asked for each class of data: grade, personal. Important data may well be personal too.
CLASS_FACTS = {
    "general": ("general", "no"),
    "personal": ("general", "personal"),
    "important": ("important", "personal"),
}
# What the request path can do for a request; it cannot pseudonymise a prompt.
GATEWAY_MODES: tuple[policy.Mode, ...] = ("plain", "encrypt")
NOWHERE = -1
# How long a table may be in use until it is compiled anew: evidence must hold for as long (s).
LASTS_S = 86_400.0


def compile(
    world: World, *, at_s: float, figures: Figures = "typical", packs: Sequence[policy.Pack] | None = None
) -> Table:
    """The steering table of a world at `at_s`, of `karez.steer.LAYOUT`: same world, same bytes.

    Endpoints that read no prompts (speed 0 or unknown) are left out of the candidates, as are those that are not
    reachable there and back. The law is that of `packs`; of those that come with Karez, where none are given.
    """
    law = policy.law(packs, at_s)
    digest = world.intended.digest
    world = World(world.intended.at(at_s), world.actual)
    endpoints = world["endpoints"]
    site = policy.follow(world.intended, "servers", "site", world.intended.resolve("endpoints", "server"))
    metro, endpoint, rtt_ms = _reachable(world, site, figures)
    model, price = world.intended.resolve("endpoints", "model")[endpoint], endpoints["price_cny_per_mtoken"][endpoint]
    models = len(world["models"])
    pair = metro * models + model
    order = np.lexsort((endpoint, price, pair))
    counts = np.bincount(pair, minlength=len(world["metros"]) * models)
    columns = {
        "digest": np.array([digest.encode()]),
        "metro_ids": world["metros"].ids,
        "model_ids": world["models"].ids,
        "context_tokens": world["models"]["context_tokens"],
        "endpoint_ids": endpoints.ids,
        "site_ids": world["sites"].ids[site] if len(site) else np.zeros(0, "S1"),
        "prefill_tokens_per_s": endpoints["prefill_tokens_per_s"],
        "decode_tokens_per_s": endpoints["decode_tokens_per_s"],
        "price_cny_per_mtoken": endpoints["price_cny_per_mtoken"],
        "offsets": np.concatenate([[0], np.cumsum(counts)]),
        "endpoint": endpoint[order],
        "rtt_ms": rtt_ms[order],
        "lawful": _lawful(world, metro, endpoint, law, at_s)[order],
    }
    return Table({name: _laid_out(columns[name], dtype) for name, dtype in LAYOUT.items()})


def decide_many(
    table: Table,
    *,
    metros: Array,
    models: Array,
    prompt_tokens: Array,
    data_classes: Array,
    objectives_ms: Array,
    backlog_tokens: Array | None = None,
) -> tuple[Array, Array]:
    """The endpoint (row, -1 for nowhere; int64) of each request and its predicted time to first token (ms, inf).

    `metros` and `models` are rows of the table, `data_classes` the bits of `karez.steer.DATA_CLASSES`;
    `backlog_tokens` has a value for each endpoint. It is `karez.steer.decide`, to the last bit.
    """
    columns = table.columns
    at = metros * len(table.models) + models
    first, last = columns["offsets"][at], columns["offsets"][at + 1]
    counts = np.where(_fits(columns["context_tokens"][models], prompt_tokens), last - first, 0)
    request = np.repeat(np.arange(len(at)), counts)
    starts = np.cumsum(counts) - counts
    candidate = np.arange(len(request)) - np.repeat(starts - first, counts)
    endpoint = columns["endpoint"][candidate]
    speed = columns["prefill_tokens_per_s"][endpoint]
    waiting = np.zeros(len(endpoint)) if backlog_tokens is None else backlog_tokens[endpoint].astype(np.float64)
    ttft_ms = columns["rtt_ms"][candidate] + waiting * MS_PER_S / speed + prompt_tokens[request] * MS_PER_S / speed
    ttft_ms[(columns["lawful"][candidate] & data_classes[request]) == 0] = np.inf
    meets = np.isfinite(ttft_ms) & (ttft_ms <= (objectives_ms * (1.0 - MARGIN_SHARE))[request])
    chosen, predicted_ms = np.full(len(at), NOWHERE), np.full(len(at), np.inf)
    some = np.flatnonzero(counts)
    if len(some):
        pick = _pick(ttft_ms, meets, starts[some], request)
        predicted_ms[some] = ttft_ms[pick]
        chosen[some] = np.where(np.isfinite(ttft_ms[pick]), endpoint[pick], NOWHERE)
    return chosen, predicted_ms


def _fits(limit: Array, prompt_tokens: Array) -> Array:
    fits: Array = (limit == NO_TOKENS_LIMIT) | (prompt_tokens <= limit)
    return fits


def _pick(ttft_ms: Array, meets: Array, starts: Array, request: Array) -> Array:
    """Of each run of candidates the first that meets the objective, else the first of the fastest."""
    position, beyond = np.arange(len(ttft_ms)), len(ttft_ms)
    cheapest = np.minimum.reduceat(np.where(meets, position, beyond), starts)
    least = np.minimum.reduceat(ttft_ms, starts)
    runs = np.diff(starts, append=beyond)
    fastest = np.minimum.reduceat(np.where(ttft_ms == np.repeat(least, runs), position, beyond), starts)
    return np.where(cheapest < beyond, cheapest, fastest)


def _reachable(world: World, site: Array, figures: Figures) -> tuple[Array, Array, Array]:
    """Every metro (row) and endpoint (row) that reach each other, and the round trip between them (ms)."""
    home, endpoints = main_sites(world), world["endpoints"]
    speed = endpoints["prefill_tokens_per_s"]
    usable = (site >= 0) & np.isfinite(speed) & (speed > 0) & np.isfinite(endpoints["price_cny_per_mtoken"])
    usable &= world.intended.resolve("endpoints", "model") >= 0
    goals, column = np.unique(site[usable], return_inverse=True)
    metros = np.flatnonzero(home >= 0)
    if not len(goals) or not len(metros):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    rtt_ms = _rtt_ns(transport(world, figures=figures).graph, goals)[:, home[metros]][column].T / NS_PER_MS
    metro, endpoint = np.nonzero(np.isfinite(rtt_ms))
    return metros[metro], np.flatnonzero(usable)[endpoint], rtt_ms[metro, endpoint]


def _rtt_ns(network: Graph, goals: Array) -> Array:
    """Round trip between each goal and every site (ns, inf where there is no way)."""
    away = dijkstra(network.forward, indices=goals)
    rtt_ns: Array = away + (away if network.symmetric else dijkstra(network.backward, indices=goals))
    return rtt_ns


def _lawful(world: World, metro: Array, endpoint: Array, law: policy.Law, at_s: float) -> Array:
    """The classes of data (bits) that may go from each metro to each endpoint with what a gateway can do (uint8)."""
    twin = world.intended
    domain = policy.follow(twin, "sites", "domain", main_sites(world)[metro])
    province = twin.resolve("metros", "province")[metro]
    homes, home = np.unique(np.stack([domain, province]), axis=1, return_inverse=True)
    servers, server = np.unique(twin.resolve("endpoints", "server")[endpoint], return_inverse=True)
    data = policy.as_classes(twin, tuple(CLASS_FACTS.values()), list(zip(*homes.tolist(), strict=True)))
    asked = policy.Asked(law, at_s, (policy.OWN,), None, at_s + LASTS_S)
    modes = policy.lawful(data, asked, np.arange(len(data["datasets"])), policy.recipients(data, servers))
    may = (modes & policy.bits(*GATEWAY_MODES)) != 0
    found = np.zeros(len(metro), np.uint8)
    for at, name in enumerate(CLASS_FACTS):
        found |= may[home * len(CLASS_FACTS) + at, server].astype(np.uint8) * np.uint8(DATA_CLASSES[name])
    return found


def _laid_out(values: Array, dtype: str) -> Array:
    return np.ascontiguousarray(values) if dtype == "S" else np.ascontiguousarray(values, dtype=dtype)
