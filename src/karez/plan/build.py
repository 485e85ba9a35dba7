"""Where to build compute so that a share of the access points is within the budget, at the least price.

Access points that the same candidates reach are one row of the program. Greedy, completion of the rounded linear
program and a drop pass give the plan; Lagrangian duals give the bound. Duals come from HiGHS, but any duals give a
valid bound, and it is computed here from them: the solver's word is not used.

Source: partial set covering; bound = lambda D + sum_j min(0, c_j - sum_k u_k) + sum_k min(0, u_k - lambda w_k).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, eye_array, hstack, vstack

from karez.errors import Infeasible, Problem
from karez.measure.circles import access_points, compute_sites, optical_core
from karez.measure.core import LONGEST_NS, Timed, Topology, searched, topology_of
from karez.measure.delay import Figures, constants, link_parts
from karez.plan.plan import Action, Alternative, NewRow, Plan, Proof
from karez.plan.reads import Read
from karez.twin import Twin, World
from karez.twin.facts import library
from karez.twin.graph import delay_towards_ns, each_delay_ns
from karez.twin.schema import Value
from karez.twin.table import Array, text
from karez.units import NS_PER_US

PLANNER = "build"
# What one site takes. Source: library/equipment.csv.
ITEMS = ("small edge site with power and cooling", "accelerator server rack by 8 chips")
DAY_S = 86_400.0
EXPIRES_AFTER_S = 30 * DAY_S
# Values of y from which the linear program's sites are taken before the rest is completed greedily.
THRESHOLDS = (0.3, 0.5, 0.7, 0.9)
# Beyond so many iterations of the simplex method, weaker duals are good enough. A limit in time would not be pure.
LP_ITERATIONS = 200_000
# Slack for rounding in floating point, as a share of one site or one access point.
SLACK = 1e-6
SHOWN_METROS = 10
# No budget (us) and no share that can be asked for is above it.
LARGEST_ASKED = 1_000_000
# A multiple of eight: points are kept in bytes of eight bits.
POINTS_AT_ONCE = 1 << 12
# What the question of a plan must hold for its certificate to say anything.
ASKED: dict[str, tuple[type, ...]] = {"target_share": (float, int), "budget_us": (float, int), "figures": (str,)}


def build(world: World, *, target_share: float, budget_us: float, figures: Figures, at_s: float) -> Plan:
    """The plan that brings `target_share` of access points within `budget_us` of compute, and its proven bound.

    Candidates are the core sites without compute. What exists, or is ordered already and comes in time, is kept.
    A plan without actions says that the target is met.

    Raises:
        Infeasible: compute at every candidate would not reach the target; says what would be reached.
    """
    question = {"target_share": target_share, "budget_us": budget_us, "figures": figures}
    case = _case(world, target_share, budget_us, figures, at_s)
    if case.missing <= 0:
        return _plan(world, question, case, Solution(np.zeros(0, np.int64), 0.0, 0.0, {}, 0.0), at_s)
    _refuse_impossible(case, target_share)
    return _plan(world, question, case, solve(case.cover, case.missing), at_s)


def price_of_site_cny() -> float:
    """The typical price of a new site: room with power and cooling, and a rack of 8 chips.

    Source: library/equipment.csv.
    """
    return sum(float(row["price_typical_cny"]) for row in _items())


def lead_time_s() -> float:
    """Seconds from order to service: the longest lead time of what a site takes. Source: library/equipment.csv."""
    return max(float(row["lead_time_days"]) for row in _items()) * DAY_S


def check_certificate(plan: Plan, world: World) -> list[Problem]:
    """Every way in which the certificate fails to prove what the plan claims; empty where it does.

    Coverage and bound are computed again from the whole network with its stations, from the access points outwards:
    another way than the planner's, which goes from the candidates over a contracted network.
    """
    if plan.planner != PLANNER:
        return [_problem(f"was made by the planner {plan.planner!r}, not by {PLANNER!r}")]
    unasked = [name for name, kinds in ASKED.items() if not _says(plan.question.get(name), kinds)]
    if unasked:
        return [_problem(f"does not say what was asked: {', '.join(unasked)}")]
    ground = _ground(plan, world)
    return [*_sites_problems(plan, ground.twin), *_coverage_problems(plan, ground), *_bound_problems(plan, ground)]


@dataclass(frozen=True)
class Cover:
    """A covering program: `covers[k, j]` is 1 where candidate j covers row k; weight of rows, price of candidates."""

    covers: csr_array
    weight: Array
    price: Array

    def covered(self, chosen: Array) -> float:
        """The weight that the chosen candidates (positions) cover."""
        count = self.covers[:, np.unique(chosen)].sum(axis=1)
        return float(self.weight[np.asarray(count) > 0].sum())


class Bound(NamedTuple):
    """A bound on the price, and the duals that prove it: one a row, and one for the demand."""

    value: float
    row: Array
    demand: float


class _Case(NamedTuple):
    """The program for a network, and what it leaves out: points reached already, points nothing reaches."""

    cover: Cover
    twin: Twin
    candidates: Array
    points: Array
    access: Array
    reached: int
    missing: int
    hopeless: Array


class Solution(NamedTuple):
    """Candidates chosen (positions), the price that plain greedy has, the bound, and the duals that prove it."""

    chosen: Array
    greedy_price: float
    bound: float
    row_duals: Mapping[int, float]
    demand_dual: float


def greedy(cover: Cover, start: Array, needed: float) -> Array:
    """The candidates (positions) in `start` and those added, best weight for its price first, until `needed` is met.

    Where the whole of `cover` does not suffice, what covers anything is taken.
    """
    chosen = np.zeros(cover.covers.shape[1], bool)
    chosen[start] = True
    order = list(start)
    by_candidate = cover.covers.T.tocsr()
    open_weight = np.where(cover.covers @ chosen.astype(float) > 0, 0.0, cover.weight)
    missing = needed - (cover.weight.sum() - open_weight.sum())
    while missing > 0:
        gain = np.minimum(by_candidate @ open_weight, missing) / cover.price
        best = int(np.argmax(np.where(chosen, 0.0, gain)))
        if chosen[best] or gain[best] <= 0:
            break
        chosen[best] = True
        order.append(best)
        rows = by_candidate.indices[by_candidate.indptr[best] : by_candidate.indptr[best + 1]]
        missing -= open_weight[rows].sum()
        open_weight[rows] = 0.0
    return np.array(order, np.int64)


def dropped(cover: Cover, chosen: Array, needed: float) -> Array:
    """The candidates without those that are not needed, the dearest and latest tried first."""
    by_candidate = cover.covers.T.tocsr()
    count = np.asarray(cover.covers[:, chosen].sum(axis=1)).ravel()
    spare = cover.weight[count > 0].sum() - needed
    keep = np.ones(len(chosen), bool)
    for at in np.lexsort((-np.arange(len(chosen)), -cover.price[chosen])):
        rows = by_candidate.indices[by_candidate.indptr[chosen[at]] : by_candidate.indptr[chosen[at] + 1]]
        loss = cover.weight[rows[count[rows] == 1]].sum()
        if loss <= spare:
            keep[at] = False
            spare -= loss
            count[rows] -= 1
    return chosen[keep]


def bound_of(cover: Cover, row: Array, demand: float, needed: float) -> Bound:
    """The bound that some duals prove; any do, once they are made to lie between 0 and demand times weight."""
    demand = max(demand, 0.0)
    row = np.clip(row, 0.0, demand * cover.weight)
    reduced = np.minimum(cover.price - cover.covers.T @ row, 0.0).sum()
    value = demand * needed + reduced - (demand * cover.weight - row).sum()
    return Bound(max(float(value), 0.0), row, demand)


def density_duals(cover: Cover, needed: float) -> tuple[Array, float]:
    """Duals without a solver: each row pays its share of the candidate that covers its weight most cheaply.

    Source: fractional knapsack over the rows.
    """
    each = cover.price / np.maximum(cover.covers.T @ cover.weight, 1e-300)
    cheapest = np.minimum.reduceat(each[cover.covers.indices], cover.covers.indptr[:-1])
    order = np.argsort(cheapest, kind="stable")
    filled = np.cumsum(cover.weight[order])
    at = min(int(np.searchsorted(filled, needed)), len(order) - 1)
    return cheapest * cover.weight, float(cheapest[order[at]])


def linear_program(cover: Cover, needed: float) -> tuple[Array, tuple[Array, float]] | None:
    """The relaxed choice of each candidate (0..1) and the duals, by HiGHS; None where it came to no end."""
    rows, candidates = cover.covers.shape
    unit = float(cover.price.mean())
    demand = csr_array(np.concatenate([np.zeros(candidates), -cover.weight])[None, :] / needed)
    found = linprog(
        np.concatenate([cover.price / unit, np.zeros(rows)]),
        A_ub=vstack([hstack([-cover.covers, eye_array(rows)]), demand], format="csr"),
        b_ub=np.concatenate([np.zeros(rows), [-1.0]]),
        bounds=(0.0, 1.0),
        method="highs",
        options={"maxiter": LP_ITERATIONS},
    )
    if found.status != 0 or found.x is None:
        return None
    duals = -np.asarray(found.ineqlin.marginals) * unit
    return np.asarray(found.x[:candidates]), (duals[:-1], float(duals[-1]) / needed)


def _says(value: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, kinds) and (not isinstance(value, int | float) or 0 <= value <= LARGEST_ASKED)


def _items() -> list[dict[str, str]]:
    return [row for row in library("equipment") if row["item"] in ITEMS]


def _needed(target_share: float, count: int) -> int:
    return math.ceil(target_share * count - SLACK)


def _case(world: World, target_share: float, budget_us: float, figures: Figures, at_s: float) -> _Case:
    twin = world.intended.at(at_s + lead_time_s())
    delays = optical_core(twin, constants(figures))
    budget_ns = budget_us * NS_PER_US
    access, existing = access_points(twin), compute_sites(twin)
    reached = delay_towards_ns(delays, existing, limit_ns=budget_ns)[access] < budget_ns
    candidates = np.setdiff1d(np.flatnonzero(twin["sites"]["kind"] == b"core"), existing)
    points = access[~reached]
    within = _within(delays.backward, candidates, points, budget_ns).T.tocsr()
    possible = np.diff(within.indptr) > 0
    rows, first, weight = _merged(within[possible])
    price = np.full(len(candidates), price_of_site_cny())
    return _Case(
        cover=Cover(rows, weight, price),
        twin=twin,
        candidates=candidates,
        points=points[possible][first],
        access=access,
        reached=int(reached.sum()),
        missing=_needed(target_share, len(access)) - int(reached.sum()),
        hopeless=points[~possible],
    )


def _within(links: csr_array, sources: Array, targets: Array, budget_ns: float) -> csr_array:
    """1 where a target is less than the budget from a source over `links` (sources x targets)."""
    pairs = [np.zeros((2, 0), np.int64)]
    for some, block in each_delay_ns(links, sources, limit_ns=budget_ns):
        source, target = np.nonzero(block[:, targets] < budget_ns)
        pairs.append(np.stack([source + some.start, target]))
    source, target = np.concatenate(pairs, axis=1)
    return csr_array((np.ones(len(source)), (source, target)), shape=(len(sources), len(targets)))


def _merged(within: csr_array) -> tuple[csr_array, Array, Array]:
    """Rows with the same entries as one: the rows, the first of each, and how many each stands for."""
    if not within.shape[0]:
        return within, np.zeros(0, np.int64), np.zeros(0)
    bits = _packed(within)
    _, first, count = np.unique(bits.view(f"V{bits.shape[1]}").ravel(), return_index=True, return_counts=True)
    order = np.argsort(first)
    return within[first[order]], first[order], count[order].astype(float)


def _packed(within: csr_array) -> Array:
    """The entries of each row as bits, eight a byte."""
    bits = np.zeros((within.shape[0], within.shape[1] // 8 + 1), np.uint8)
    row = np.repeat(np.arange(within.shape[0]), np.diff(within.indptr))
    np.bitwise_or.at(bits, (row, within.indices >> 3), (1 << (within.indices & 7)).astype(np.uint8))
    return bits


def _refuse_impossible(case: _Case, target_share: float) -> None:
    most = case.reached + case.cover.weight.sum()
    if case.reached + case.missing <= most:
        return
    metro = np.unique(case.twin.resolve("sites", "metro")[case.hopeless])
    names = [
        text(name) or text(row)
        for name, row in zip(*(case.twin["metros"][c][metro] for c in ("name", "id")), strict=True)
    ]
    more = f" and {len(names) - SHOWN_METROS} more" if len(names) > SHOWN_METROS else ""
    most_share = most / len(case.access)
    raise Infeasible(
        f"{target_share:.1%} cannot be reached: compute at every core site would bring "
        f"{most_share:.1%} of {len(case.access)} access points within the budget; "
        f"out of reach are places in {', '.join(names[:SHOWN_METROS])}{more}"
    )


def solve(cover: Cover, needed: float) -> Solution:
    """The cheapest of several plans, and the best bound known; `cover` can meet `needed`, which is above zero."""
    plain = greedy(cover, np.zeros(0, np.int64), needed)
    plans = [dropped(cover, plain, needed)]
    bounds = [bound_of(cover, *density_duals(cover, needed), needed)]
    relaxed = linear_program(cover, needed)
    if relaxed is not None:
        choice, duals = relaxed
        starts = [np.flatnonzero(choice >= threshold) for threshold in THRESHOLDS]
        plans += [dropped(cover, greedy(cover, start, needed), needed) for start in starts]
        bounds.append(bound_of(cover, *duals, needed))
    chosen = min(plans, key=lambda plan: (_price(cover, plan), sorted(plan.tolist())))
    best = max(bounds, key=lambda bound: bound.value)
    duals_by_row = {int(row): float(best.row[row]) for row in np.flatnonzero(best.row > 0)}
    bound = _whole_sites(best.value, cover.price)
    return Solution(np.sort(chosen), _price(cover, plain), bound, duals_by_row, best.demand)


def _price(cover: Cover, chosen: Array) -> float:
    return float(cover.price[chosen].sum())


def _whole_sites(bound: float, price: Array) -> float:
    """The bound, raised to a whole number of sites where all have one price."""
    one = float(price[0]) if len(price) else 0.0
    return one * math.ceil(bound / one - SLACK) if one > 0 and (price == one).all() else bound


def _plan(world: World, question: Mapping[str, float | str], case: _Case, solution: Solution, at_s: float) -> Plan:
    ids = [text(site) for site in case.twin["sites"].ids[case.candidates[solution.chosen]]]
    rows = [_new_row(world, site) for site in ids]
    price = _price(case.cover, solution.chosen)
    after = case.reached + case.cover.covered(solution.chosen)
    total, budget = max(len(case.access), 1), f"{question['budget_us']:g} us"
    return Plan(
        planner=PLANNER,
        question=dict(question),
        revision=world.intended.digest,
        made_at_s=at_s,
        reads=tuple(
            read
            for site, row in zip(ids, rows, strict=True)
            for read in (Read("sites", site), Read("equipment", row, op="gone"))
        ),
        actions=tuple(_order(site, row, at_s) for site, row in zip(ids, rows, strict=True)),
        price_cny=price,
        proof=Proof(
            value=price,
            bound=solution.bound,
            unit="CNY",
            how="duals of the linear relaxation; bound computed again from them, and rounded up to whole sites",
            certificate=_certificate(case, solution, ids),
        ),
        summary=(
            f"{case.reached / total:.1%} of {len(case.access)} access points are within {budget} of compute now; "
            f"{len(ids)} more sites bring {after / total:.1%}".replace("%", " %")
        ),
        alternatives=_alternatives(case, solution, price) if ids else (),
        citation=_citation(world, question, solution.bound),
    )


def _certificate(case: _Case, solution: Solution, ids: list[str]) -> dict[str, tuple[float | str, ...] | float | str]:
    """Sites chosen, the dual of the demand, and the duals of rows, each named by the first of its access points."""
    rows = np.array(list(solution.row_duals), np.int64)
    return {
        "sites": tuple(ids),
        "demand_dual_cny": solution.demand_dual,
        "points": tuple(text(point) for point in case.twin["sites"].ids[case.points[rows]]),
        "duals_cny": tuple(solution.row_duals.values()),
    }


def _new_row(world: World, site: str) -> str:
    """An id for the equipment that no row has yet."""
    name, number = f"edge-{site}", 1
    while world["equipment"].has(name):
        number += 1
        name = f"edge-{site}-{number}"
    return name


def _order(site: str, row: str, at_s: float) -> Action:
    due_s = at_s + lead_time_s()
    values: dict[str, Value] = {"site": site, "kind": "edge_inference", "valid_from_s": due_s}
    return Action(
        kind="order_equipment",
        subject=site,
        adds=(NewRow("equipment", row, values),),
        blast_radius=(site,),
        expires_at_s=at_s + EXPIRES_AFTER_S,
        ends_at_s=due_s,
    )


def _alternatives(case: _Case, solution: Solution, price: float) -> tuple[Alternative, ...]:
    share = case.reached / len(case.access)
    short = f"leaves {share:.1%} covered, {case.missing} access points short of the target"
    dearer = solution.greedy_price - price
    why = f"costs {dearer:,.0f} CNY more" if dearer > 0 else "costs as much: it needed no improvement"
    return (
        Alternative("do nothing", 0.0, short),
        Alternative("greedy alone", solution.greedy_price, why),
    )


def _citation(world: World, question: Mapping[str, float | str], bound: float) -> str:
    return (
        f"C2 within {question['budget_us']:g} us one way towards compute, weight access_point, optical layer, "
        f"{question['figures']} figures; data {world.intended.digest[:12]}; bound {bound:,.0f} CNY from duals"
    )


class _Ground(NamedTuple):
    """What a certificate is checked on: the network, its access points, and how many the target takes.

    Its search shares nothing with the one that plans are made with: that is scipy's, this is Karez's own.
    """

    twin: Twin
    topology: Topology
    delays: Timed
    budget_ns: float
    access: Array
    existing: Array
    needed: int

    def within(self, targets: Array) -> Array:
        """Whether each access point is within the budget of the best of the targets."""
        return np.asarray(self.towards(targets, self.access) < self.budget_ns)

    def towards(self, targets: Array, points: Array) -> Array:
        """The delay of each point towards the best of the targets (int32 ns), far above the budget beyond it."""
        number = self.topology.number
        found: Array = searched(self.topology, self.delays, number[targets], self.budget_ns)[number[points]]
        return found


def _ground(plan: Plan, world: World) -> _Ground:
    twin = world.intended.at(plan.made_at_s + lead_time_s())
    access, made = access_points(twin), topology_of(twin, "optical")
    return _Ground(
        twin=twin,
        topology=made,
        delays=made.timed(link_parts(twin).oneway_ns(constants(_figures(plan)), LONGEST_NS)),
        budget_ns=min(float(plan.question["budget_us"]) * NS_PER_US, LONGEST_NS),
        access=access,
        existing=compute_sites(twin),
        needed=_needed(float(plan.question["target_share"]), len(access)),
    )


def _sites_problems(plan: Plan, twin: Twin) -> list[Problem]:
    """Whether certificate and actions name the same sites, all of them there, at the price claimed."""
    ordered, claimed = [action.subject for action in plan.actions], _listed(plan, "sites")
    unknown = [site for site in ordered if not twin["sites"].has(site)]
    problems = []
    if unknown:
        problems.append(_problem("orders for sites that are not there", unknown))
    if ordered != claimed or len(set(ordered)) < len(ordered):
        differ = sorted(set(ordered) ^ set(claimed))
        problems.append(_problem("orders for other sites than the certificate names, or twice for one", differ))
    price = price_of_site_cny() * len(ordered)
    if not math.isclose(price, plan.price_cny) or not math.isclose(price, plan.proof.value):
        problems.append(_problem(f"claims {plan.price_cny:,.0f} CNY where its sites cost {price:,.0f} CNY"))
    return problems


def _coverage_problems(plan: Plan, ground: _Ground) -> list[Problem]:
    sites = ground.twin["sites"]
    ordered = [action.subject for action in plan.actions if sites.has(action.subject)]
    reached = int(ground.within(np.concatenate([ground.existing, sites.rows(ordered)])).sum())
    if reached >= ground.needed:
        return []
    return [_problem(f"brings {reached} access points within the budget where the target takes {ground.needed}")]


def _bound_problems(plan: Plan, ground: _Ground) -> list[Problem]:
    within = ground.within(ground.existing)
    missing = ground.needed - int(within.sum())
    price = price_of_site_cny()
    proven = price * math.ceil(_proven_cny(plan, ground, ground.access[~within], missing) / price - SLACK)
    if plan.proof.bound <= proven:
        return []
    return [_problem(f"claims the bound {plan.proof.bound:,.0f} CNY where its duals prove {proven:,.0f} CNY")]


def _proven_cny(plan: Plan, ground: _Ground, points: Array, missing: int) -> float:
    """The bound that the certificate's duals prove, with the reach of every access point searched anew."""
    if missing <= 0:
        return 0.0
    core = np.flatnonzero(ground.twin["sites"]["kind"] == b"core")
    candidates = core[~np.isin(core, ground.existing)]
    names = [text(point) for point in ground.twin["sites"].ids[points]]
    duals = dict(zip(_listed(plan, "points"), _numbers(plan, "duals_cny"), strict=False))
    demand = (_numbers(plan, "demand_dual_cny") or [0.0])[0]
    value, spent = demand * missing, np.zeros(len(candidates))
    for members, within in _groups(ground, points, candidates):
        weight = demand * len(members)
        dual = min(max(sum(duals.get(names[member], 0.0) for member in members), 0.0), weight)
        value -= weight - dual
        spent += dual * within
    proven = value + float(np.minimum(price_of_site_cny() - spent, 0.0).sum())
    return proven if demand >= 0 and math.isfinite(proven) else 0.0


def _groups(ground: _Ground, points: Array, candidates: Array) -> list[tuple[list[int], Array]]:
    """Positions in `points` by the candidates that they reach, and those candidates; what reaches none is left out."""
    if not len(candidates):
        return []
    # By candidate, a bit for each point; then turned, some points after others.
    reached = np.stack(
        [np.packbits(ground.towards(np.array([site]), points) < ground.budget_ns) for site in candidates]
    )
    groups: dict[bytes, tuple[list[int], Array]] = {}
    for start in range(0, len(points), POINTS_AT_ONCE):
        some = reached[:, start // 8 : (start + POINTS_AT_ONCE) // 8]
        block = np.unpackbits(some, axis=1, count=min(POINTS_AT_ONCE, len(points) - start)).T
        packed = np.packbits(block, axis=1)
        for member in np.flatnonzero(packed.any(axis=1)).tolist():
            groups.setdefault(packed[member].tobytes(), ([], block[member].copy()))[0].append(start + member)
    return list(groups.values())


def _figures(plan: Plan) -> Figures:
    figures = plan.question["figures"]
    return "low" if figures == "low" else "high" if figures == "high" else "typical"


def _listed(plan: Plan, name: str) -> list[str]:
    value = plan.proof.certificate.get(name, ())
    return [str(item) for item in value] if isinstance(value, tuple) else []


def _numbers(plan: Plan, name: str) -> list[float]:
    value = plan.proof.certificate.get(name, ())
    return [float(item) for item in (value if isinstance(value, tuple) else (value,)) if isinstance(item, int | float)]


def _problem(what: str, rows: Sequence[str] = ()) -> Problem:
    return Problem("certificate", what, "make the plan anew", tuple(rows))
