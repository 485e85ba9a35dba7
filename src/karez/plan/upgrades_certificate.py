"""Whether a plan of sites and upgrades does what it says, at its price, and whether nothing cheaper can.

Nothing in the plan is believed, and nothing is shared with what made it. Coverage is found by a search on the network
with its upgrades. Any duals give a valid bound, over ways that are found here anew: what nobody pays for is taken to be
free, so that a search of delays and sets of what is paid for stays small.

Source: Lagrangian bound, as `_bound` has it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from heapq import heappop, heappush
from itertools import pairwise
from typing import NamedTuple, get_args

import numpy as np

from karez.errors import InputError, Problem
from karez.measure.circles import WEIGHT_SCALE, Points, Weight, compute_sites, fixed, points
from karez.measure.core import LONGEST_NS, Topology, searched, topology_of
from karez.measure.delay import FIBRE, Figures, constants, link_parts
from karez.measure.kernels import FAR
from karez.plan.certificate import TERMS
from karez.plan.claims import (
    LARGEST,
    Reader,
    hung,
    is_between,
    is_equal,
    pairs,
    points_of,
    problem,
    rows_of,
    shown,
    twice,
)
from karez.plan.plan import Action, Plan
from karez.twin import Twin, World
from karez.twin.table import Array, text
from karez.units import FEN_PER_CNY, NS_PER_US

PLANNER = "upgrades"
ASKED = ("weight", "figures", "targets", "service_at_s")
# Slack for rounding in floating point: fen, and a share of the bound.
SLACK_FEN, SLACK_SHARE = 1e-6, 1e-9
# The device that each kind of upgrade adds, none where the link gets shorter, and the column of its link that it sets.
DEVICES = {"bypass": "oxc", "straighter duct": "", "hollow-core fibre": "otn", "faster access": "otn"}
SETS = {
    "bypass": "hop_us",
    "straighter duct": "length_km",
    "hollow-core fibre": "fibre_us_per_km",
    "faster access": "hop_us",
}
OF_HOP = ("bypass", "faster access")


class _Ask(NamedTuple):
    weight: Weight
    figures: Figures
    budget_ns: int
    share: Fraction
    service_at_s: float


class _Ground(NamedTuple):
    """The network and its points: weight (millionths), and the two hosts of each with its delay towards either (ns)."""

    twin: Twin
    topology: Topology
    oneway_ns: Array
    weight: Array
    host: Array
    offset_ns: Array
    existing: Array


class _Claim(NamedTuple):
    """What the certificate claims, with positions for ids; `paid_part` counts candidates, then upgrades."""

    candidates: Array
    price_fen: Array
    links: Array
    names: list[str]
    kinds: list[str]
    saving_ns: Array
    sites: Array
    upgraded: Array
    row_point: Array
    paid_row: Array
    paid_part: Array
    paid_fen: Array
    weight_dual: float


def check_upgrades(plan: Plan, world: World) -> list[Problem]:
    """Every way in which a plan of sites and upgrades fails to hold, or its certificate to prove it; else nothing.

    Coverage, price, actions and bound are derived anew from the intended twin. That the candidates and upgrades are
    all there are, and their prices and savings right, is for who asked to say.
    """
    try:
        ask, ground, claim = _read(plan, world)
    except InputError as error:
        return list(error.problems)
    return [
        *_acts(plan, ask, ground, claim),
        *_coverage(ask, ground, claim),
        *_prices(plan, claim),
        *_bounds(plan, ask, ground, claim),
    ]


def proven(plan: Plan, world: World) -> float:
    """The bound on the price (CNY) that the duals of a plan prove.

    Raises:
        InputError: the plan or its certificate makes no sense on this network.
    """
    return _proven(*_read(plan, world))


def _read(plan: Plan, world: World) -> tuple[_Ask, _Ground, _Claim]:
    if plan.planner != PLANNER:
        raise InputError([problem(f"was made by the planner {plan.planner!r}, not by {PLANNER!r}")])
    claims = {"price": plan.price_cny, "value": plan.proof.value, "bound": plan.proof.bound}
    senseless = [name for name, value in claims.items() if not is_between(value, 0, LARGEST)]
    if senseless:
        raise InputError([problem(f"claims no sum from 0 to {LARGEST:g} as {', '.join(senseless)}")])
    ask = _asked(plan)
    ground, counted = _ground(ask, world)
    return ask, ground, _claim(plan.proof.certificate, ask, ground, counted)


def _asked(plan: Plan) -> _Ask:
    asked = plan.question
    problems = [
        problem(f"asks for {name} = {shown(asked.get(name))}, where {TERMS[name][1]}")
        for name in ASKED
        if not TERMS[name][0](asked.get(name))
    ]
    unknown = sorted(set(asked) - set(ASKED))
    if unknown:
        problems.append(problem("asks for terms that this check does not know", unknown))
    targets = () if problems else pairs(str(asked["targets"]))
    if not problems and len(targets) != 1:
        problems.append(problem("asks for several budgets"))
    if problems:
        raise InputError(problems)
    return _Ask(
        weight=next(weight for weight in get_args(Weight) if weight == asked["weight"]),
        figures=next(figures for figures in get_args(Figures) if figures == asked["figures"]),
        budget_ns=min(math.ceil(targets[0][0] * NS_PER_US), LONGEST_NS),
        share=targets[0][1],
        service_at_s=float(asked["service_at_s"]),
    )


def _ground(ask: _Ask, world: World) -> tuple[_Ground, Points]:
    twin = world.intended.at(ask.service_at_s)
    made, counted = topology_of(twin, "optical"), points(twin, ask.weight)
    oneway_ns = link_parts(twin).oneway_ns(constants(ask.figures), LONGEST_NS)
    host, offset_ns = hung(made, made.timed(oneway_ns), counted.vertex)
    return _Ground(twin, made, oneway_ns, fixed(counted.weight), host, offset_ns, compute_sites(twin)), counted


def _claim(certificate: Mapping[str, object], ask: _Ask, ground: _Ground, counted: Points) -> _Claim:
    reader = Reader(certificate)
    candidates, ids = _candidates(reader, ground)
    names, kinds = reader.ids("links"), reader.ids("kinds")
    links, saving_ns = _upgrades(reader, ask, ground, names, kinds)
    price_fen = np.concatenate([
        reader.whole("prices_fen", len(ids), int(LARGEST)), reader.whole("upgrade_prices_fen", len(names), int(LARGEST))
    ])  # fmt: skip
    place, sites = {site: at for at, site in enumerate(ids)}, reader.ids("sites")
    reader.refuse("chose sites that are no candidates", [site for site in sites if site not in place])
    reader.refuse("chose sites twice", twice(sites))
    upgraded = _positions(reader, "upgraded", None, len(names))
    reader.refuse("chose upgrades twice", twice([f"{at}" for at in upgraded]))
    row_names = reader.ids("rows_point")
    row_point = points_of(ground.twin, ask.weight, counted, row_names)
    unknown = [name for name, at in zip(row_names, row_point, strict=True) if at < 0]
    reader.refuse(f"names points that do not count by {ask.weight}", unknown)
    paid_row = _positions(reader, "paid_row", None, len(row_names))
    claim = _Claim(
        candidates=candidates,
        price_fen=price_fen,
        links=links,
        names=names,
        kinds=kinds,
        saving_ns=saving_ns,
        sites=np.array([place.get(site, 0) for site in sites], np.int64),
        upgraded=upgraded,
        row_point=row_point,
        paid_row=paid_row,
        paid_part=_positions(reader, "paid_part", len(paid_row), len(price_fen)),
        paid_fen=reader.numbers("paid_fen", len(paid_row)),
        weight_dual=_number(reader, certificate.get("weight_dual")),
    )
    if reader.problems:
        raise InputError(reader.problems)
    return claim


def _positions(reader: Reader, name: str, length: int | None, most: int) -> Array:
    values = reader.certificate.get(name)
    return reader.whole(name, len(values) if length is None and isinstance(values, tuple) else length or 0, most)


def _number(reader: Reader, value: object) -> float:
    if isinstance(value, int | float) and is_between(value, 0, LARGEST):
        return float(value)
    reader.wrong(f"weight_dual is {shown(value)}: a number from 0 on belongs", ())
    return 0.0


def _candidates(reader: Reader, ground: _Ground) -> tuple[Array, list[str]]:
    ids, table = reader.ids("candidates"), ground.twin["sites"]
    rows = rows_of(table, ids)
    reader.refuse("has candidates that are no sites", [site for site, row in zip(ids, rows, strict=True) if row < 0])
    reader.refuse("has candidates that are not ascending, or twice", [b for a, b in pairwise(ids) if a >= b])
    existing = {text(site) for site in table.ids[ground.existing]}
    reader.refuse("has candidates that exist", sorted(existing & set(ids)))
    return rows, ids


def _upgrades(reader: Reader, ask: _Ask, ground: _Ground, names: list[str], kinds: list[str]) -> tuple[Array, Array]:
    """The links (rows) of the upgrades, and what each saves (ns)."""
    if len(kinds) != len(names):
        reader.wrong(f"kinds must be a list of {len(names)}", ())
        return np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    reader.refuse("has upgrades of no known kind", sorted(set(kinds) - set(DEVICES)))
    links, core = rows_of(ground.twin["links"], names), np.zeros(len(ground.oneway_ns) + 1, bool)
    core[ground.topology.links] = True
    reader.refuse(
        "upgrades what is no link of the core", [n for n, at in zip(names, links, strict=True) if not core[at]]
    )
    both = [f"{name} ({'hop' if kind in OF_HOP else 'fibre'})" for name, kind in zip(names, kinds, strict=True)]
    reader.refuse("upgrades the hop or fibre of a link twice", twice(both))
    saving_ns = reader.whole("savings_ns", len(names), int(FAR))
    if not reader.problems:
        done = [name for name, said in zip(names, _said(ground, links, kinds), strict=True) if said]
        reader.refuse("upgrades what its link says already", done)
        over = saving_ns >= _takes_us(ask, ground, links, kinds) * NS_PER_US
        reader.refuse("saves all that a link's fibre or hop takes, or more", [names[at] for at in np.flatnonzero(over)])
    return links, saving_ns


def _said(ground: _Ground, links: Array, kinds: list[str]) -> list[bool]:
    """Whether each link says already what an upgrade of its kind would set; a length may change again."""
    table = ground.twin["links"]
    return [
        SETS[kind] != "length_km" and bool(table[SETS[kind]][link] > 0) for kind, link in zip(kinds, links, strict=True)
    ]


def _takes_us(ask: _Ask, ground: _Ground, links: Array, kinds: list[str]) -> Array:
    """What the hop or the fibre of each link takes, whichever an upgrade of its kind changes."""
    table, values = ground.twin["links"], constants(ask.figures)
    said_us, said_per_km = table["hop_us"][links], table["fibre_us_per_km"][links]
    hop_us = np.array([values[f"{text(kind)} hop"] for kind in table["kind"][links]], np.float64)
    fibre_us = np.where(said_per_km > 0, said_per_km, values[FIBRE]) * table["length_km"][links]
    return np.where([kind in OF_HOP for kind in kinds], np.where(said_us > 0, said_us, hop_us), fibre_us)


def _acts(plan: Plan, ask: _Ask, ground: _Ground, claim: _Claim) -> Iterator[Problem]:
    """Whether the actions are what the certificate chose, in service when it is due, and nothing else."""
    sites = [text(one) for one in ground.twin["sites"].ids[claim.candidates[claim.sites]]]
    chosen = {(claim.kinds[at].replace(" ", "_"), claim.names[at]): int(at) for at in claim.upgraded}
    wanted = Counter([*(("order_equipment", site) for site in sites), *chosen])
    acted = Counter((action.kind, action.subject) for action in plan.actions)
    if acted != wanted:
        differ = sorted({subject for _, subject in (acted - wanted) + (wanted - acted)})
        yield problem("does not do what the certificate chose, each once, or does more", differ)
        return
    wrong = [one.subject for one in plan.actions if not _fits(one, ask, ground, claim, chosen)]
    if wrong:
        yield problem("acts otherwise than its kind of work does, or at another time", wrong)


def _fits(action: Action, ask: _Ask, ground: _Ground, claim: _Claim, chosen: Mapping[tuple[str, str], int]) -> bool:
    due = {"valid_from_s": ask.service_at_s}
    if action.kind == "order_equipment":
        row = {"site": action.subject, "kind": "edge_inference"} | due
        return not action.sets and [(new.table, new.values) for new in action.adds] == [("equipment", row)]
    at = chosen[action.kind, action.subject]
    kind, links = claim.kinds[at], ground.twin["links"]
    ends = (str(links.cell(action.subject, end)) for end in ("a", "b"))
    end = next((end for end in ends if ground.twin["sites"].has(end)), "")
    rows = [("equipment", {"site": end, "kind": DEVICES[kind]} | due)] if DEVICES[kind] else []
    added = [(new.table, new.values) for new in action.adds]
    return added == rows and len(action.sets) == 1 and _saves(action, kind, ask, ground, int(claim.saving_ns[at]))


def _saves(action: Action, kind: str, ask: _Ask, ground: _Ground, saving_ns: int) -> bool:
    """Whether what a link will say of itself saves what is claimed, to the nanosecond that rounding may take."""
    cell, link, links = action.sets[0], action.subject, ground.twin["links"]
    if (cell.table, cell.row, cell.column, cell.before) != ("links", link, SETS[kind], links.cell(link, SETS[kind])):
        return False
    if isinstance(cell.after, str) or not cell.after > 0:
        return False
    takes_us, km = float(_takes_us(ask, ground, links.rows([link]), [kind])[0]), float(links.cell(link, "length_km"))
    of_one = {"hop_us": 1.0, "fibre_us_per_km": km, "length_km": takes_us / km if km else 0.0}
    saved_ns = (takes_us - of_one[SETS[kind]] * cell.after) * NS_PER_US
    return action.ends_at_s == ask.service_at_s and abs(saved_ns - saving_ns) <= 1


def _coverage(ask: _Ask, ground: _Ground, claim: _Claim) -> Iterator[Problem]:
    """Whether the network with its upgrades and sites covers what was asked."""
    made, oneway_ns = ground.topology, ground.oneway_ns.astype(np.int64)
    np.subtract.at(oneway_ns, claim.links[claim.upgraded], claim.saving_ns[claim.upgraded])
    timed = made.timed(oneway_ns.astype(np.int32))
    sources = made.number[np.concatenate([ground.existing, claim.candidates[claim.sites]])]
    found = np.full(made.vertices + 1, int(FAR), np.int64)
    if len(sources):
        found[:-1] = searched(made, timed, sources, ask.budget_ns)
    near = ((found[ground.host] + ground.offset_ns) < ask.budget_ns).any(axis=1)
    brought, takes = int(ground.weight[near].sum()), _demand(ask, ground)
    if brought < takes:
        yield problem(
            f"brings a weight of {brought / WEIGHT_SCALE:.9g} where the target takes {takes / WEIGHT_SCALE:.9g}"
        )


def _demand(ask: _Ask, ground: _Ground) -> int:
    return math.ceil(ask.share * int(ground.weight.sum()))


def _prices(plan: Plan, claim: _Claim) -> Iterator[Problem]:
    parts = np.concatenate([claim.sites, claim.upgraded + len(claim.candidates)])
    price_cny = int(claim.price_fen[parts].sum()) / FEN_PER_CNY
    for what, claimed in (("cost", plan.price_cny), ("be worth", plan.proof.value)):
        if not is_equal(claimed, price_cny):
            yield problem(f"claims to {what} {claimed:,.2f} CNY where its parts cost {price_cny:,.2f}")


def _bounds(plan: Plan, ask: _Ask, ground: _Ground, claim: _Claim) -> Iterator[Problem]:
    bound, sure = plan.proof.bound, _proven(ask, ground, claim)
    if not 0 <= bound <= sure:
        yield problem(f"claims the bound {bound:,.6f} CNY where its duals prove {sure:,.6f}")


def _proven(ask: _Ask, ground: _Ground, claim: _Claim) -> float:
    """The bound in CNY: never below what is sure, and rounded up to what a plan can cost."""
    bound = _bound(ask, ground, claim)
    unit = math.gcd(*claim.price_fen.tolist())
    sure = bound - max(SLACK_FEN, SLACK_SHARE * abs(bound))
    return max(math.ceil(sure / unit) * unit if unit else 0, 0) / FEN_PER_CNY


def _bound(ask: _Ask, ground: _Ground, claim: _Claim) -> float:
    """The least price (fen) of any plan.

    A part e costs p_e and has x_e in 0..1. A group k of points weighs W_k, and has y_k in 0..1 of its weight by ways,
    so that what its ways by part e carry together is no more than x_e. With a_ke >= 0 for that and v >= 0 for the
    demand D:

        v D - sum_k max(0, v W_k - c_k) + sum_e min(0, p_e - sum_k a_ke),

    where c_k is the least over the ways of k of the sum of a_ke over their parts. It holds however points are grouped,
    as long as the ways of k are those of all its points.
    """
    worth, paid = claim.weight_dual, np.bincount(claim.paid_part, claim.paid_fen, len(claim.price_fen))
    groups, of_point = _grouped(ask, ground, claim, paid > 0)
    pays: list[dict[int, float]] = [{} for _ in groups]
    for row, part, fen in zip(claim.paid_row.tolist(), claim.paid_part.tolist(), claim.paid_fen.tolist(), strict=True):
        group = int(of_point[claim.row_point[row]])
        if group >= 0:
            pays[group][part] = pays[group].get(part, 0.0) + fen
    weight = np.zeros(len(groups) + 1, np.int64)
    np.add.at(weight, of_point, ground.weight)
    cost = np.array([_least(ways, prices) for ways, prices in zip(groups, pays, strict=True)], np.float64)
    lost = np.maximum(worth * weight[:-1] - cost, 0.0).sum()
    return float(worth * _demand(ask, ground) - lost + np.minimum(claim.price_fen - paid, 0.0).sum())


def _least(ways: frozenset[int], prices: Mapping[int, float]) -> float:
    """The least that a way costs, where each has a bit for every part."""
    return min((sum(fen for part, fen in prices.items() if way >> part & 1) for way in ways), default=0.0)


def _grouped(ask: _Ask, ground: _Ground, claim: _Claim, counts: Array) -> tuple[list[frozenset[int]], Array]:
    """Sets of ways that reach points, as bits of the parts that `counts`, and which set each point has (-1: none)."""
    delays, ways, first = _found(ask, ground, claim, counts)
    vertices = len(first) - 1
    keys = np.repeat(np.arange(vertices), np.diff(first)) * (int(FAR) + 1) + delays
    host = ground.host.astype(np.int64)
    slack = np.clip(ask.budget_ns - ground.offset_ns.astype(np.int64), 0, int(FAR))
    last = np.searchsorted(keys, host * (int(FAR) + 1) + slack)
    begin = np.append(first, first[-1])[host]
    spans = np.concatenate([begin, np.where(host < vertices, last, begin)], axis=1)
    alike, of_span = np.unique(spans, axis=0, return_inverse=True)
    known: dict[frozenset[int], int] = {}
    group = np.full(len(alike), -1, np.int64)
    for at, (one, two, one_end, two_end) in enumerate(alike.tolist()):
        reached = _fewest({*ways[one:one_end], *ways[two:two_end]})
        if reached:
            group[at] = known.setdefault(reached, len(known))
    return list(known), group[of_span.reshape(-1)]


def _fewest(ways: set[int]) -> frozenset[int]:
    """The ways that have not all parts of another."""
    kept: list[int] = []
    for way in sorted(ways, key=int.bit_count):
        if not any(other & way == other for other in kept):
            kept.append(way)
    return frozenset(kept)


def _found(ask: _Ask, ground: _Ground, claim: _Claim, counts: Array) -> tuple[Array, list[int], Array]:
    """Delay and ways (bits) at each core vertex, by delay, and where those of each vertex begin.

    Sites that nobody pays for begin with no bits, all at once, and what they reach is no better reached with more.
    """
    arcs, number = _arcs(ground, claim, counts), ground.topology.number
    candidates = np.arange(len(claim.candidates))
    unpaid = number[np.concatenate([ground.existing, claim.candidates[~counts[candidates]]])]
    seen: list[list[tuple[int, int]]] = [[] for _ in range(ground.topology.vertices)]
    _spread(arcs, unpaid.tolist(), 0, ask.budget_ns, seen, seen)
    known = [list(each) for each in seen]
    for at in candidates[counts[candidates]].tolist():
        own: dict[int, list[tuple[int, int]]] = {}
        _spread(arcs, [int(number[claim.candidates[at]])], 1 << at, ask.budget_ns, seen, own)
        for vertex, labels in own.items():
            known[vertex] += labels
    first = np.concatenate([[0], np.cumsum([len(labels) for labels in known])])
    every = [label for labels in known for label in sorted(labels)]
    return np.array([delay for delay, _ in every], np.int64), [way for _, way in every], first


def _spread(
    arcs: list[list[tuple[int, int, int]]],
    sources: list[int],
    bits: int,
    limit_ns: int,
    seen: list[list[tuple[int, int]]],
    own: dict[int, list[tuple[int, int]]] | list[list[tuple[int, int]]],
) -> None:
    """Add to `own` the delay and bits of every way from the sources, unless another is no slower with no more bits."""
    queue = [(0, bits.bit_count(), bits, vertex) for vertex in sources]
    queue.sort()
    while queue:
        delay, _, way, vertex = heappop(queue)
        mine = own.setdefault(vertex, []) if isinstance(own, dict) else own[vertex]
        if any(other & way == other for _, other in mine) or any(
            before <= delay and other & way == other for before, other in seen[vertex]
        ):
            continue
        mine.append((delay, way))
        for head, ns, more in arcs[vertex]:
            if delay + ns < limit_ns:
                heappush(queue, (delay + ns, (way | more).bit_count(), way | more, head))


def _arcs(ground: _Ground, claim: _Claim, counts: Array) -> list[list[tuple[int, int, int]]]:
    """From each core vertex, against the traffic: head, delay, and the bits of the upgrades that make it so short."""
    made, oneway_ns, sites = ground.topology, ground.oneway_ns.astype(np.int64), len(claim.candidates)
    unpaid = ~counts[sites:]
    np.subtract.at(oneway_ns, claim.links[unpaid], claim.saving_ns[unpaid])
    way_ns = made.timed(oneway_ns.astype(np.int32)).way_ns.tolist()
    may: dict[int, list[tuple[int, int]]] = {}
    for at in np.flatnonzero(~unpaid).tolist():
        may.setdefault(int(claim.links[at]), []).append((int(claim.saving_ns[at]), 1 << (sites + at)))
    arcs: list[list[tuple[int, int, int]]] = [[] for _ in range(made.vertices)]
    links = [*made.links.tolist(), *[-1] * len(made.joined)]
    for tail, head, both, ns, link in zip(
        made.tails.tolist(), made.heads.tolist(), made.both.tolist(), way_ns, links, strict=True
    ):
        forms = [(ns, 0)]
        for saving_ns, bit in may.get(link, []):
            forms += [(shorter - saving_ns, more | bit) for shorter, more in forms]
        arcs[head] += [(tail, shorter, more) for shorter, more in forms]
        if both:
            arcs[tail] += [(head, shorter, more) for shorter, more in forms]
    return arcs
