"""The checker of coverage plans against plans made by hand, dense and naive, on small random networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache, partial
from itertools import pairwise, product
from random import Random
from typing import Any, cast, get_args

import msgspec
import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from karez.importers.generate import nation
from karez.measure import reach
from karez.measure.circles import Weight, access_points, compute_sites, fixed, points
from karez.measure.delay import Figures, link_oneway_us
from karez.plan.certificate import check_certificate, exact_bound, proven
from karez.plan.coverage import Ask, coverage
from karez.plan.plan import Action, Cell, NewRow, Plan, Proof
from karez.twin import Table, Twin, World
from karez.twin.schema import Value
from karez.twin.table import Array, text
from tests.test_circles import twin_of

AT_S = 1_000_000.0
KINDS = ("all", "each", "some", "budgets", "budgets each", "phases", "phases each", "money")
ROOM = {"station": "stations", "area": "stations", "place": "places", "enterprise": "places"}
Columns = dict[str, Sequence[Value] | Array]
Certificate = dict[str, tuple[float | str, ...] | float | str]
# What the certificate of a plan has where no site has a limit.
UNLIMITED: Certificate = dict.fromkeys(
    ("limited_sites", "limited_weight", "serves_point", "serves_group", "serves_site", "serves_weight"), ()
)


def network(seed: int) -> Twin:
    """Two metros, some core and aggregation sites, stations in chains, rings and knots, places; some ways one way."""
    rng = np.random.default_rng(seed)
    core, hubs, stations = int(rng.integers(3, 7)), int(rng.integers(2, 5)), int(rng.integers(3, 16))
    sites, masts = (
        [f"c{i}" for i in range(core)] + [f"h{i}" for i in range(hubs)],
        [f"s{i:02d}" for i in range(stations)],
    )
    walk = [str(name) for name in rng.permutation(sites + masts)]
    pairs = [pair for pair in pairwise(walk) if rng.random() < 0.95]
    pairs += [(str(a), str(b)) for a, b in rng.choice(sites + masts, (int(rng.integers(4, 10)), 2)) if a != b]
    count = len(pairs)
    kinds = rng.choice(["access", "aggregation", "core"], count, p=[0.7, 0.2, 0.1])
    metros = [f"m{i}" for i in range(3)]
    tables: dict[str, Columns] = {
        "metros": {"id": metros, "province": ["p"] * 3, "population": [7.0, 1.5, 0.0], **_here(3)},
        "sites": {**_placed(rng, sites), "kind": ["core"] * core + ["aggregation"] * hubs},
        "stations": {**_placed(rng, masts), "weight": rng.choice([0.0, 0.5, 1.0, 2.718281], stations)},
        "places": {
            "id": [f"p{i}" for i in range(5)],
            "site": rng.choice(sites, 5).tolist(),
            "kind": rng.choice(["key place", "enterprise"], 5).tolist(),
            "weight": rng.integers(0, 4, 5).astype(float).tolist(),
        },
        "links": {
            "id": [f"l{i:03d}" for i in range(count)],
            "a": [a for a, _ in pairs],
            "b": [b for _, b in pairs],
            "kind": kinds.tolist(),
            "direction": rng.choice([*["both"] * 7, "forward"], count).tolist(),
            "length_km": rng.choice([0.0, 1.0, 5.0, 20.0, 40.0], count).tolist(),
            "up": (rng.random(count) < 0.95),
        },
    }  # fmt: skip
    there = [site for site in sites if rng.random() < 0.12]
    if there:
        tables["equipment"] = {
            "id": [f"e-{site}" for site in there],
            "site": there,
            "kind": ["edge_inference"] * len(there),
        }
    return Twin({name: Table.of(name, columns) for name, columns in tables.items()})


def _here(count: int) -> Columns:
    return {"lon": [1.0] * count, "lat": [1.0] * count}


def _placed(rng: np.random.Generator, names: list[str]) -> Columns:
    metro = [f"m{number}" for number in rng.integers(0, 2, len(names))]
    return {"id": names, "metro": metro, **_here(len(names))}


def delays_towards(twin: Twin, figures: Figures, vertex: Array) -> Array:
    """The delay (ns) of each point towards each site (sites x points), by networkx on the network as it is."""
    graph, links = nx.MultiDiGraph(), twin["links"]
    vertices = len(twin["sites"]) + len(twin["stations"])
    graph.add_nodes_from(range(vertices))
    a, b = twin.resolve("links", "a"), twin.resolve("links", "b")
    delay = np.rint(link_oneway_us(twin, figures=figures) * 1_000).astype(int)
    for link in np.flatnonzero(links["up"] & (links["layer"] == b"optical")):
        graph.add_edge(int(b[link]), int(a[link]), weight=int(delay[link]))
        if links["direction"][link] == b"both":
            graph.add_edge(int(a[link]), int(b[link]), weight=int(delay[link]))
    found = np.full((len(twin["sites"]), len(vertex)), 10**12)
    for site in range(len(twin["sites"])):
        lengths = nx.single_source_dijkstra_path_length(graph, site)
        found[site] = [lengths.get(int(v), 10**12) for v in vertex]
    return found


@dataclass
class Row:
    """Points alike: their group, the sites they lack, the candidates within reach, and their weight."""

    group: int
    need: int
    reach: frozenset[int]
    point: int
    weight: int = 0
    dual: float = 0.0


class Case:
    """A question about a twin, counted out point by point and candidate by candidate, as the formulas have it."""

    def __init__(self, twin: Twin, question: dict[str, Value], prices: dict[str, int]) -> None:
        self.twin, self.question, self.prices = twin, question, prices
        weight = cast(Weight, question["weight"])
        self.points = points(twin, weight)
        self.weight = fixed(self.points.weight)
        self.delay = delays_towards(twin, cast(Figures, question["figures"]), self.points.vertex)
        self.names = [text(i) for i in twin["sites"].ids]
        self.existing = [self.names[row] for row in compute_sites(twin)]
        self.kept = self.existing if question["existing"] == "kept" else []
        self.candidates = sorted(prices)
        self.lock = [s for s in str(question["lock"]).split(",") if s]
        self.targets = [
            (float(b), Fraction(str(float(s))))
            for b, s in (part.split("=") for part in str(question["targets"]).split(","))
        ]
        phases = [part.split("=") for part in str(question["phases"]).split(",") if part]
        self.years = [int(year) for year, _ in phases]
        self.layers = [(self.targets[0][0], t, Fraction(s)) for t, (_, s) in enumerate(phases)] or [
            (budget, 0, share) for budget, share in self.targets
        ]
        total = np.bincount(self.points.metro, self.weight, len(twin["metros"]))
        self.metros = [None] if question["of"] == "all" else [int(m) for m in np.flatnonzero(total > 0)]
        self.money = float(question["money_cny"]) >= 0
        self.needed = 1 + int(question["spare"])
        self.rows: list[Row] = []
        self.total: list[int] = []
        self.demand: list[int] = []
        self.done: list[int] = []
        for budget, year, share in self.layers:
            for metro in self.metros:
                self._group(budget, year, share, metro)
        groups = len(self.metros)
        share = Fraction(str(float(question["metros_share"])))
        self.wanted = math.ceil(share * groups) if question["of"] == "some" else groups * len(self.layers)
        self.locked_fen = sum(prices[s] for s in self.lock)
        self.left_fen = math.floor(float(question["money_cny"]) * 100) - self.locked_fen

    def reaches(self, site: str, point: int, budget_us: float) -> bool:
        return bool(self.delay[self.names.index(site), point] < math.ceil(budget_us * 1_000))

    def members(self, metro: int | None) -> list[int]:
        return [p for p in range(len(self.weight)) if metro is None or self.points.metro[p] == metro]

    def _group(self, budget: float, year: int, share: Fraction, metro: int | None) -> None:
        group, found, done = len(self.total), dict[tuple[int, frozenset[int]], Row](), 0
        total = sum(int(self.weight[p]) for p in self.members(metro))
        for p in self.members(metro):
            need = self.needed - sum(self.reaches(s, p, budget) for s in [*self.kept, *self.lock])
            reach = frozenset(
                j for j, s in enumerate(self.candidates) if s not in self.lock and self.reaches(s, p, budget)
            )
            if need <= 0:
                done += int(self.weight[p])
            elif len(reach) >= need:
                found.setdefault((need, reach), Row(group, need, reach, p)).weight += int(self.weight[p])
        self.rows += found.values()
        self.total.append(total)
        self.done.append(done)
        self.demand.append(total if self.money else math.ceil(share * total))

    def price_fen(self, site: str, year: int) -> int:
        ahead = self.years[year] - self.years[0] if self.years else 0
        return round(self.prices[site] / (1 + float(self.question["discount_share"])) ** ahead)

    def covered(self, chosen: dict[str, int]) -> list[int]:
        """The weight of each group that is covered, where sites are chosen from these years on."""
        found = []
        for budget, year, _ in self.layers:
            there = [*self.kept, *(s for s, since in chosen.items() if since <= year)]
            for metro in self.metros:
                near = [p for p in self.members(metro) if sum(self.reaches(s, p, budget) for s in there) >= self.needed]
                found.append(sum(int(self.weight[p]) for p in near))
        return found

    def value(self, chosen: dict[str, int]) -> float | None:
        """The price in fen, or the weight uncovered, of a choice; None where it does not do."""
        covered = self.covered(chosen)
        if self.money:
            price = sum(self.prices[s] for s in chosen)
            return None if price > self.left_fen + self.locked_fen else sum(self.total) - sum(covered)
        if sum(c >= d for c, d in zip(covered, self.demand, strict=True)) < self.wanted:
            return None
        return sum(self.price_fen(s, t) for s, t in chosen.items())

    def best(self) -> tuple[float, dict[str, int]] | None:
        """The best choice of all."""
        years = range(max(len(self.years), 1))
        options = [[0] if s in self.lock else [None, *years] for s in self.candidates]
        found = None
        for pick in product(*options):
            chosen = {s: t for s, t in zip(self.candidates, pick, strict=True) if t is not None}
            value = self.value(chosen)
            if value is not None and (found is None or value < found[0]):
                found = (value, chosen)
        return found

    def paid(self, row: Row, group_dual: list[float]) -> float:
        """The dual of a row, less what it would pay more than the row is worth."""
        return min(max(row.dual, 0.0), group_dual[row.group] * row.weight / row.need)

    def bound(self, group_dual: list[float], money_dual: float) -> float:
        """The bound as the formula has it, with the duals of the rows, before it is rounded; less what is locked."""
        dual = [self.paid(r, group_dual) for r in self.rows]
        rate = money_dual if self.money else 1.0
        reduced = 0.0
        for j, s in enumerate(self.candidates):
            if s in self.lock:
                continue
            each = [
                rate * self.price_fen(s, t)
                - sum(u for u, r in zip(dual, self.rows, strict=True) if j in r.reach and self.year(r) >= t)
                for t in range(max(len(self.years), 1))
            ]
            reduced += min(0.0, *each)
        terms = []
        for g, v in enumerate(group_dual):
            mine = [(u, r) for u, r in zip(dual, self.rows, strict=True) if r.group == g]
            lost = sum(max(0.0, v * r.weight - r.need * u) for u, r in mine)
            terms.append(max(0.0, v * max(self.demand[g] - self.done[g], 0) - lost))
        fixed_part = -money_dual * self.left_fen if self.money else 0.0
        return fixed_part + reduced + sum(sorted(terms)[: self.wanted])

    def year(self, row: Row) -> int:
        return self.layers[row.group // max(len(self.metros), 1)][1]

    def rounded(self, bound: float) -> float:
        if self.money:
            unit = max(math.gcd(*(int(weight) for weight in self.weight)), 1)
            return max(0, math.ceil(bound / unit - 1e-6) * unit) / 1e6
        unit = math.gcd(*(self.price_fen(s, t) for s in self.candidates for t in range(max(len(self.years), 1))))
        bound = self.locked_fen + max(bound, 0.0)
        return (math.ceil(bound / unit - 1e-6) * unit if unit else bound) / 100

    def point_id(self, point: int) -> str:
        weight = str(self.question["weight"])
        if weight == "enterprise":
            return text(self.twin["places"].ids[np.flatnonzero(self.twin["places"]["kind"] == b"enterprise")[point]])
        if weight in ROOM:
            return text(self.twin[ROOM[weight]].ids[point])
        return text(self.twin["sites"].ids[access_points(self.twin)[point]])

    def plan(self, chosen: dict[str, int], group_dual: list[float], money_dual: float = 0.0) -> Plan:
        """The plan that chooses these sites, with the bound of these duals and those of the rows."""
        value = self.value(chosen)
        assert value is not None
        rows = [r for r in self.rows if self.paid(r, group_dual) > 0]
        orders = [self.order(s, t) for s, t in chosen.items() if s not in self.existing]
        orders += self.closings(chosen)
        return Plan(
            planner="coverage",
            question=self.question,
            revision=self.twin.digest,
            made_at_s=AT_S,
            reads=(),
            actions=tuple(orders),
            price_cny=sum(self.prices[s] for s in chosen) / 100,
            proof=Proof(
                value=value / 1e6 if self.money else value / 100,
                bound=self.rounded(self.bound(group_dual, money_dual)),
                unit="",
                how="",
                certificate={
                    "candidates": tuple(self.candidates),
                    "prices_fen": tuple(float(self.prices[s]) for s in self.candidates),
                    "sites": tuple(chosen),
                    "years": tuple(float(self.years[t]) for t in chosen.values()) if self.years else (),
                    "rows_point": tuple(self.point_id(r.point) for r in rows),
                    "rows_group": tuple(float(r.group) for r in rows),
                    "rows_dual": tuple(self.paid(r, group_dual) for r in rows),
                    "groups_dual": tuple(group_dual),
                    "money_dual": money_dual,
                    "cuts_row": (),
                    "cuts_site": (),
                    "cuts_other": (),
                    "cuts_dual": (),
                    "bound_exact": self.bound(group_dual, money_dual),
                    **UNLIMITED,
                },
            ),
        )

    def order(self, site: str, year: int) -> Action:
        due_s = datetime(self.years[year], 12, 31, tzinfo=UTC).timestamp() if self.years else AT_S
        row: dict[str, Value] = {"site": site, "kind": "edge_inference", "valid_from_s": due_s}
        new = NewRow("equipment", f"edge-{site}", row)
        return Action(kind="order_equipment", subject=site, adds=(new,), blast_radius=(site,), expires_at_s=AT_S)

    def closings(self, chosen: dict[str, int]) -> list[Action]:
        """What ends all that computes where nothing is chosen, where sites may be closed."""
        if self.question["existing"] != "closable":
            return []
        due_s = max(AT_S, datetime(self.years[0], 12, 31, tzinfo=UTC).timestamp()) if self.years else AT_S
        stays = {*chosen, *(set(self.existing) - {*self.candidates, *str(self.question["forbid"]).split(",")})}
        found = []
        for table in ("equipment", "servers"):
            ends_s = self.twin[table]["valid_to_s"]
            for row in self.twin[table].records(np.flatnonzero(ends_s > due_s)):
                site, name = str(row["site"]), str(row["id"])
                computes = table == "servers" or row["kind"] == "edge_inference"
                if computes and site in self.existing and site not in stays:
                    until_s = float(str(row["valid_to_s"]))
                    cell = Cell(table, name, "valid_to_s", "inf" if math.isinf(until_s) else until_s, due_s)
                    found.append(
                        Action(
                            kind=f"retire_{table}",
                            subject=name,
                            sets=(cell,),
                            blast_radius=(site,),
                            expires_at_s=AT_S,
                            ends_at_s=due_s,
                        )
                    )
        return found

    def linear_program(self) -> tuple[float, list[float], float]:
        """The least of the linear relaxation, the duals of groups, and that of money; the rows get theirs."""
        free = [
            (j, t) for j, s in enumerate(self.candidates) if s not in self.lock for t in range(max(len(self.years), 1))
        ]
        x, y = len(free), len(self.rows)
        lack = np.zeros((y, x + y))
        for k, r in enumerate(self.rows):
            lack[k, x + k] = r.need
            for at, (j, t) in enumerate(free):
                lack[k, at] = -(j in r.reach and self.year(r) >= t)
        price = np.array([self.price_fen(self.candidates[j], t) for j, t in free], float)
        weight = np.array([float(r.weight) for r in self.rows])
        if self.money:
            cost, more, most = (
                np.concatenate([np.zeros(x), -weight]),
                np.append(price, np.zeros(y))[None],
                [self.left_fen],
            )
        else:
            cost = np.concatenate([price, np.zeros(y)])
            more = np.array([
                [*np.zeros(x), *(-float(r.weight) * (r.group == g) for r in self.rows)] for g in range(len(self.total))
            ])  # fmt: skip
            most = [-max(d - b, 0) for d, b in zip(self.demand, self.done, strict=True)]
        solved = linprog(cost, np.vstack([lack, more]), [*np.zeros(y), *most], bounds=(0, 1))
        assert solved.status == 0, solved.message
        least, duals = float(solved.fun or 0.0), -solved.ineqlin.marginals
        for r, dual in zip(self.rows, duals, strict=False):
            r.dual = max(float(dual), 0.0)
        last = [max(float(dual), 0.0) for dual in duals[y:]]
        if self.money:
            return least + sum(self.total) - sum(self.done), [1.0], last[0]
        return least + self.locked_fen, last, 0.0


QUESTION: dict[str, Value] = {
    "weight": "station",
    "figures": "typical",
    "targets": "150=0.7",
    "phases": "",
    "of": "all",
    "metros_share": 1.0,
    "money_cny": -1.0,
    "spare": 0,
    "limited": 0,
    "existing": "kept",
    "lock": "",
    "forbid": "",
    "discount_share": 0.0,
    "service_at_s": AT_S,
}


@st.composite
def cases(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS) -> Case:
    """A random question of one of these kinds on a random network."""
    twin = network(draw(st.integers(0, 2**32 - 1)))
    names, existing = [text(i) for i in twin["sites"].ids], [text(twin["sites"].ids[r]) for r in compute_sites(twin)]
    kind = draw(st.sampled_from(kinds))
    budget, share = (
        draw(st.sampled_from(["80", "150.5", "250", "400"])),
        draw(st.sampled_from(["0.3", "0.6", "0.75", "0.9"])),
    )
    said = QUESTION | {
        "weight": draw(st.sampled_from(["station", "station", "access_point", "place", "enterprise", "population"])),
        "figures": draw(st.sampled_from(["low", "typical", "high"])),
        "targets": f"{budget}={share}",
        "spare": draw(st.sampled_from([0, 0, 1])),
        "existing": draw(st.sampled_from(["kept", "closable"])),
    }
    closable = said["existing"] == "closable"
    may = [s for s in names if closable or s not in existing]
    forbid = [s for s in may if draw(st.integers(0, 11)) == 0]
    may = [s for s in may if s not in forbid]
    new = [s for s in may if s not in existing][: 4 if "phases" in kind else 6]
    candidates = [s for s in may if s in existing or s in new]
    assume(len(candidates) <= (5 if "phases" in kind else 7))
    lock = [s for s in candidates if draw(st.integers(0, 11)) == 0]
    said |= {"lock": ",".join(lock), "forbid": ",".join(forbid)}
    if kind in ("each", "some"):
        said |= {"of": kind, "metros_share": 0.5 if kind == "some" else 1.0}
    if "budgets" in kind:
        said |= {"targets": f"{budget}={share},600=0.9,90=0.2", "of": "each" if "each" in kind else "all"}
    if "phases" in kind:
        said |= {"phases": f"2026=0.25,2028={share}", "discount_share": 0.05, "of": "each" if "each" in kind else "all"}
    if kind == "money":
        said |= {"money_cny": draw(st.sampled_from([0.0, 2.5, 9.0, 20.0]))}
    unit = draw(st.sampled_from([1, 100]))
    prices = {s: unit * draw(st.integers(0, 9)) for s in candidates}
    return Case(twin, said, prices)


def worlds(case: Case) -> World:
    return World(case.twin, case.twin)


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_whatever_the_duals_the_bound_is_that_of_the_formula_and_no_plan_is_below_it(
    case: Case, random: Random
) -> None:
    best = case.best()
    assume(best is not None)
    assert best is not None
    draw = random.random
    scale = 1e-6 * max(case.prices.values(), default=1) or 1e-6
    group_dual = [1.0 if case.money else scale * draw() for _ in case.total]
    for row in case.rows:
        row.dual = max(0.0, draw() - 0.3) * 1.3 * group_dual[row.group] * row.weight / row.need
    money_dual = draw() * 1e4 if case.money else 0.0
    plan, world = case.plan(best[1], group_dual, money_dual), worlds(case)
    assert check_certificate(plan, world) == []
    assert proven(plan, world) == pytest.approx(plan.proof.bound, rel=1e-12)
    assert proven(plan, world) <= plan.proof.value
    unit = 1e-6 if case.money else 0.01
    raised = msgspec.structs.replace(plan.proof, bound=plan.proof.bound + unit)
    found = check_certificate(msgspec.structs.replace(plan, proof=raised), world)
    assert any("its duals prove" in problem.what for problem in found)


@given(cases(tuple(kind for kind in KINDS if kind != "some")))
@settings(max_examples=100, deadline=None)
def test_with_the_duals_of_the_linear_program_the_bound_is_at_least_its_least(case: Case) -> None:
    best = case.best()
    assume(best is not None and case.left_fen >= 0 - (not case.money) * 10**9 and case.rows)
    assert best is not None
    least, group_dual, money_dual = case.linear_program()
    plan, world = case.plan(best[1], group_dual, money_dual), worlds(case)
    assert check_certificate(plan, world) == []
    scale = 1e6 if case.money else 100
    assert least - 1e-5 * max(least, 1) <= proven(plan, world) * scale <= best[0] + 1e-9


@given(cases(), st.data())
@settings(max_examples=120, deadline=None)
def test_a_choice_is_accepted_where_it_does_what_was_asked_and_refused_where_it_does_not(
    case: Case, data: st.DataObject
) -> None:
    chosen = dict.fromkeys(case.lock, 0)
    for site in case.candidates:
        if site not in chosen and data.draw(st.booleans()):
            chosen[site] = data.draw(st.integers(0, max(len(case.years), 1) - 1))
    value = case.value(chosen)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(case, "value", lambda _: _claimed(case, chosen))
        found = check_certificate(case.plan(chosen, [float(case.money)] * len(case.total)), worlds(case))
    assert (found == []) == (value is not None)
    assert all("brings" in problem.what or "costs more" in problem.what for problem in found)


def _claimed(case: Case, chosen: dict[str, int]) -> float:
    if case.money:
        return sum(case.total) - sum(case.covered(chosen))
    return sum(case.price_fen(s, t) for s, t in chosen.items())


# Tampering.


@cache
def sound(kind: str = "all") -> tuple[Case, Plan]:
    """A plan that holds, of two sites that are not there yet, with duals of the linear program."""
    twin = network(12)
    existing = [text(twin["sites"].ids[r]) for r in compute_sites(twin)]
    said = QUESTION | {"targets": "150=0.8"}
    said |= {"phases": "2026=0.4,2028=0.8", "discount_share": 0.04} if kind == "phases" else {}
    said |= {"money_cny": 25.0} if kind == "money" else {}
    candidates = [s for s in map(text, twin["sites"].ids) if s not in existing][:6]
    case = Case(twin, said, {s: 1_000 + 50 * (at % 4) for at, s in enumerate(candidates)})
    best = case.best()
    assert best is not None
    _, group_dual, money_dual = case.linear_program()
    return case, case.plan(best[1], group_dual, money_dual)


def with_question(kind: str = "all", **changes: Value) -> Plan:
    plan = sound(kind)[1]
    return msgspec.structs.replace(plan, question={**plan.question, **changes})


def with_proof(kind: str = "all", **changes: object) -> Plan:
    plan = sound(kind)[1]
    return msgspec.structs.replace(plan, proof=msgspec.structs.replace(plan.proof, **changes))


def with_certificate(kind: str = "all", **changes: object) -> Plan:
    return with_proof(kind, certificate={**sound(kind)[1].proof.certificate, **changes})


def listed(name: str, kind: str = "all") -> tuple[float | str, ...]:
    values = sound(kind)[1].proof.certificate[name]
    assert isinstance(values, tuple)
    return values


def exact(kind: str = "all") -> float:
    value = sound(kind)[1].proof.certificate["bound_exact"]
    assert isinstance(value, float)
    return value


def changed(name: str, value: object, kind: str = "all", at: int = 0) -> Plan:
    """The sound plan with another value in a list of its certificate."""
    values: list[object] = [*listed(name, kind)]
    values[at] = value
    return with_certificate(kind, **{name: tuple(values)})


def with_actions(*actions: Action) -> Plan:
    return msgspec.structs.replace(sound()[1], actions=actions)


def first_order(**changes: object) -> Plan:
    first, *others = sound()[1].actions
    return with_actions(msgspec.structs.replace(first, **changes), *others)


def with_row(**values: Value) -> Plan:
    new = sound()[1].actions[0].adds[0]
    return first_order(adds=(NewRow(new.table, new.row, {**new.values, **values}),))


def without_term(name: str) -> Plan:
    plan = sound()[1]
    return msgspec.structs.replace(plan, question={n: value for n, value in plan.question.items() if n != name})


def without_list(name: str) -> Plan:
    plan = sound()[1]
    return with_proof(certificate={n: value for n, value in plan.proof.certificate.items() if n != name})


def out_of_reach() -> str:
    """A station that is in no row."""
    case, reached = sound()[0], {r.point for r in sound()[0].rows}
    alike = [p for p in range(len(case.weight)) if all(not case.reaches(s, p, 150) for s in case.candidates)]
    return case.point_id(next(p for p in alike if p not in reached))


@pytest.mark.parametrize("kind", ["all", "phases", "money"])
def test_a_sound_plan_holds_and_holds_when_it_was_written_and_read(kind: str) -> None:
    case, plan = sound(kind)
    assert len(plan.actions) == 2
    assert 0 < plan.proof.bound <= plan.proof.value
    assert check_certificate(plan, worlds(case)) == []
    again = msgspec.json.decode(msgspec.json.encode(plan), type=Plan)
    assert check_certificate(again, worlds(case)) == []


def test_a_row_may_be_named_by_any_of_its_points() -> None:
    twin = network(12)
    weight = np.where(np.arange(len(twin["stations"])) % 2 == 0, 1.0, 0.5)
    case = Case(twin.replace(twin["stations"].set(np.arange(len(weight)), weight=weight)), *_asked())
    alike = [p for p in range(len(case.weight)) for r in case.rows if p != r.point and _in(case, r, p)]
    assert alike
    best = case.best()
    assert best is not None
    _, duals, _ = case.linear_program()
    expected = case.plan(best[1], duals).proof.bound
    for row in case.rows:
        row.point = next((p for p in alike if _in(case, row, p)), row.point)
    plan = case.plan(best[1], duals)
    assert check_certificate(plan, worlds(case)) == []
    assert plan.proof.bound == expected


def test_points_with_the_same_sites_in_reach_that_lack_fewer_are_a_row_of_their_own() -> None:
    hosts = [("h1", "c1"), ("h1", "c2"), ("h1", "e"), ("h2", "c1"), ("h2", "c2"), ("s1", "h1"), ("s2", "h2")]
    twin = twin_of(
        {"c1": ("core", "M1"), "c2": ("core", "M1"), "e": ("core", "M1")}
        | {"h1": ("aggregation", "M1"), "h2": ("aggregation", "M1")},
        {"s1": "M1", "s2": "M1"},
        [(a, b, "access", "both", 1.0) for a, b in hosts],
        ["e"],
    )
    case = Case(twin, QUESTION | {"targets": "60=1", "spare": 1}, {"c1": 1_000, "c2": 1_000})
    assert [(row.need, row.reach) for row in case.rows] == [(1, frozenset({0, 1})), (2, frozenset({0, 1}))]
    for row in case.rows:
        row.dual = 500.0
    plan = case.plan({"c1": 0, "c2": 0}, [1e-3])
    # 15 CNY before it is rounded up to what sites can cost.
    assert plan.proof.bound == proven(plan, worlds(case)) == 20.0
    assert check_certificate(plan, worlds(case)) == []


def test_money_that_is_locked_is_spent() -> None:
    case = Case(network(12), QUESTION | {"targets": "150=0.8", "money_cny": 25.0, "lock": "c1"}, _asked()[1])
    best = case.best()
    assert best is not None
    _, duals, money_dual = case.linear_program()
    plan = case.plan(best[1], duals, money_dual)
    assert plan.proof.bound > 0
    assert check_certificate(plan, worlds(case)) == []
    raised = msgspec.structs.replace(plan.proof, bound=plan.proof.bound + 1e-6)
    assert check_certificate(msgspec.structs.replace(plan, proof=raised), worlds(case))


def _asked() -> tuple[dict[str, Value], dict[str, int]]:
    case, _ = sound()
    return case.question, case.prices


def _in(case: Case, row: Row, point: int) -> bool:
    reach = {j for j, s in enumerate(case.candidates) if case.reaches(s, point, 150)}
    return reach == row.reach and not any(case.reaches(s, point, 150) for s in case.kept)


TAMPERED: list[tuple[Callable[[], Plan], str]] = [
    (lambda: msgspec.structs.replace(sound()[1], planner="build"), "was made by the planner 'build'"),
    # What was asked.
    *((partial(without_term, name), f"asks for {name} = None") for name in QUESTION),
    (lambda: with_question(weight="tower"), "it must be one of access_point, station"),
    (lambda: with_question(figures="best"), "asks for figures = 'best'"),
    (lambda: with_question(targets=""), "asks for targets"),
    (lambda: with_question(targets="150=0.8,"), "asks for targets"),
    (lambda: with_question(targets="150=1.8"), "asks for targets"),
    (lambda: with_question(targets="0=0.8"), "asks for targets"),
    (lambda: with_question(targets=",".join(["150=0.8"] * 100)), "asks for targets"),
    (lambda: with_question(targets="1e999=0.8"), "asks for targets"),
    (lambda: with_question(targets="nan=0.8"), "asks for targets"),
    (lambda: with_question(targets="150=0.8,150=0.9,"), "asks for targets"),
    (lambda: with_question(targets="150=0.95"), "brings a weight of"),
    (lambda: with_question(targets="100=0.8"), "brings a weight of"),
    (lambda: with_question(targets="150=0.1"), "its duals prove"),
    (lambda: with_question(phases="2028=0.4,2026=0.8"), "asks for phases"),
    (lambda: with_question(phases="0000=0.4,2026=0.8"), "asks for phases"),
    (lambda: with_question(phases="2026=0.4"), "another share in the last year"),
    (lambda: with_question("phases", phases="2026=0.75,2028=0.8"), "within 150 us by 2026 where the target takes"),
    (lambda: with_question("phases", phases="2027=0.4,2028=0.8"), "a year that was not asked for"),
    (lambda: with_question("phases", of="some"), "a share of metros by year"),
    (lambda: with_question("phases", targets="150=0.8,300=0.8"), "several budgets"),
    (lambda: with_question("phases", discount_share=0.3), "claims the value"),
    (lambda: with_question(discount_share=0.04), "a discount without years"),
    (lambda: with_question(of="most"), "asks for of"),
    (lambda: with_question(of="each"), "groups_dual must be a list of 2"),
    (lambda: with_question(metros_share=0.5), "a share of metros, and for something else"),
    (lambda: with_question(metros_share=math.nan), "asks for metros_share = nan"),
    (lambda: with_question(money_cny=-2.0), "asks for money_cny"),
    (lambda: with_question(money_cny=math.inf), "asks for money_cny"),
    (lambda: with_question("money", money_cny=10.0), "costs more than the 10.00 CNY"),
    (lambda: with_question("money", money_cny=30.0), "its duals prove"),
    (lambda: with_question("money", of="each"), "money with metros"),
    (lambda: with_question(spare=-1), "asks for spare"),
    (lambda: with_question(spare=0.5), "asks for spare"),
    (lambda: with_question(spare=True), "asks for spare"),
    (lambda: with_question(spare=1), "brings a weight of"),
    (lambda: with_question(existing="shut"), "asks for existing"),
    (lambda: with_question(lock="nowhere"), "asks to lock what is no site (rows nowhere)"),
    (lambda: with_question(forbid="nowhere"), "asks to forbid what is no site (rows nowhere)"),
    (lambda: with_question(lock="c1"), "did not choose what is locked, from the first year on (rows c1)"),
    (lambda: with_question("phases", lock="c3"), "did not choose what is locked, from the first year on (rows c3)"),
    (lambda: with_question(forbid="c0"), "has candidates that are forbidden (rows c0)"),
    (lambda: with_question(lock="c1", forbid="c1"), "both locked and forbidden"),
    (lambda: with_question(service_at_s="soon"), "asks for service_at_s"),
    (lambda: with_question(service_at_s=AT_S + 1), "acts otherwise"),
    (lambda: with_question(colour="red"), "terms that this check does not know (rows colour)"),
    # The certificate.
    *((partial(without_list, name), name) for name in sound()[1].proof.certificate),
    (lambda: with_certificate(candidates="c0"), "candidates must be a list of ids"),
    (lambda: changed("candidates", 1.0), "candidates must be a list of ids"),
    (lambda: changed("candidates", "nowhere", at=5), "has candidates that are no sites (rows nowhere)"),
    (lambda: changed("candidates", "c1\0"), "has candidates that are no sites"),
    (lambda: changed("candidates", "c" * 10_000), "has candidates that are no sites"),
    (lambda: changed("candidates", "\ud800"), "has candidates that are no sites"),
    (lambda: changed("candidates", "c1"), "not ascending, or twice (rows c1)"),
    (lambda: with_certificate(candidates=listed("candidates")[::-1]), "not ascending, or twice"),
    (lambda: changed("candidates", "h1", at=5), "has candidates that exist and are kept (rows h1)"),
    (lambda: changed("prices_fen", -1.0), "prices_fen must be numbers from 0 to 1e+15 (rows -1.0)"),
    (lambda: changed("prices_fen", math.nan), "prices_fen must be numbers"),
    (lambda: changed("prices_fen", math.inf), "prices_fen must be numbers"),
    (lambda: changed("prices_fen", 10**400), "prices_fen must be numbers"),
    (lambda: changed("prices_fen", True), "prices_fen must be numbers"),
    (lambda: changed("prices_fen", "much"), "prices_fen must be numbers"),
    (lambda: changed("prices_fen", 1_000.5), "prices_fen must be whole numbers below"),
    (lambda: changed("prices_fen", 900.0), "claims to cost 21.50 CNY where its sites cost 20.50"),
    (lambda: changed("prices_fen", 100.0, at=2), "its duals prove"),
    (lambda: with_certificate(prices_fen=listed("prices_fen")[1:]), "prices_fen must be a list of 6"),
    (lambda: with_certificate(sites=("c0",)), "orders for other sites than the certificate chose"),
    (lambda: with_certificate(sites=("c0", "c0")), "chose sites twice (rows c0)"),
    (lambda: with_certificate(sites=("c0", "h1")), "chose sites that are no candidates (rows h1)"),
    (lambda: with_certificate(years=(2026.0,)), "years must be a list of 0"),
    (lambda: with_certificate("phases", years=(2026.0,)), "years must be a list of 2"),
    (lambda: with_certificate("phases", years=(2026.0, 2027.0)), "in a year that was not asked for (rows c3)"),
    (lambda: with_certificate("phases", years=(2028.0, 2026.0)), "claims the value"),
    (lambda: with_certificate("phases", years=(2028.0, 2028.0)), "by 2026 where the target takes"),
    (lambda: changed("rows_point", "nowhere"), "names points that do not count by station (rows nowhere)"),
    (lambda: changed("rows_point", "c0"), "names points that do not count by station (rows c0)"),
    (lambda: changed("rows_point", 3.0), "rows_point must be a list of ids"),
    (lambda: changed("rows_point", out_of_reach()), "has 1 rows of points that are done, out of reach"),
    (lambda: changed("rows_point", listed("rows_point")[1]), "has two duals for one row"),
    (lambda: with_certificate(rows_point=listed("rows_point")[1:]), "rows_dual must be a list of"),
    (lambda: changed("rows_group", 1.0), "rows_group must be whole numbers below 1 (rows 1)"),
    (lambda: changed("rows_group", 0.5), "rows_group must be whole numbers"),
    (lambda: changed("rows_group", -1.0), "rows_group must be numbers from 0"),
    (lambda: changed("rows_group", 3.0, "phases"), "rows_group must be whole numbers below 2"),
    (lambda: changed("rows_dual", -1.0), "rows_dual must be numbers from 0 to 1e+15 (rows -1.0)"),
    (lambda: changed("rows_dual", math.nan), "rows_dual must be numbers"),
    (lambda: changed("rows_dual", math.inf), "rows_dual must be numbers"),
    (lambda: changed("rows_dual", 0.0, at=listed("rows_dual").index(max(listed("rows_dual")))), "its duals prove"),
    (lambda: with_certificate(rows_dual=tuple(float(u) / 2 for u in listed("rows_dual"))), "its duals prove"),
    (lambda: with_certificate(rows_point=(), rows_group=(), rows_dual=()), "its duals prove"),
    (lambda: with_certificate(groups_dual=()), "groups_dual must be a list of 1"),
    (lambda: with_certificate(groups_dual=(0.0,)), "rows that pay more than they are worth"),
    (lambda: with_certificate(groups_dual=(1e15,)), "its duals prove"),
    (lambda: with_certificate(groups_dual=(math.nan,)), "groups_dual must be numbers"),
    (lambda: with_certificate("money", groups_dual=(2.0,)), "groups_dual must be 1 with money"),
    (lambda: with_certificate("money", money_dual=0.0), "its duals prove"),
    (lambda: with_certificate("money", money_dual=1e15), "its duals prove"),
    (lambda: with_certificate("money", money_dual=-1.0), "money_dual is -1.0"),
    (lambda: with_certificate("money", money_dual=(1.0,)), "money_dual is (1.0,)"),
    (lambda: with_certificate(money_dual=1.0), "and 0 without money"),
    (lambda: with_certificate(bound_exact=exact() + 0.1), "claims the exact bound"),
    (lambda: with_certificate(bound_exact=exact() - 0.1), "claims the exact bound"),
    (lambda: with_certificate("money", bound_exact=exact("money") + 1.0), "millionths of weight where its duals give"),
    (lambda: with_certificate(bound_exact=math.nan), "bound_exact is nan: a number from"),
    (lambda: with_certificate(bound_exact=True), "bound_exact is True"),
    (lambda: with_certificate(bound_exact=10**400), "bound_exact is a number too large"),
    # Claims.
    (lambda: with_proof(value=20.0), "claims the value 20.00 CNY where its sites come to 21.50 CNY"),
    (lambda: with_proof(value=math.nan), "claims no sum from 0 to 1e+15 as value"),
    (lambda: with_proof("money", value=1.0), "claims to leave 1.000000 uncovered where its sites leave 2.000000"),
    (lambda: with_proof(bound=sound()[1].proof.bound + 0.5), "its duals prove"),
    (lambda: with_proof("money", bound=sound("money")[1].proof.bound + 1e-6), "of weight uncovered where its duals"),
    (lambda: with_proof(bound=-1.0), "claims no sum from 0 to 1e+15 as bound"),
    (lambda: with_proof(bound=math.inf), "claims no sum from 0 to 1e+15 as bound"),
    (
        lambda: msgspec.structs.replace(sound()[1], price_cny=20.0),
        "claims to cost 20.00 CNY where its sites cost 21.50",
    ),
    (lambda: msgspec.structs.replace(sound()[1], price_cny=math.nan), "claims no sum from 0 to 1e+15 as price"),
    # Orders.
    (lambda: with_actions(sound()[1].actions[0]), "orders for other sites than the certificate chose"),
    (lambda: with_actions(*sound()[1].actions, sound()[1].actions[0]), "or twice for one (rows c0)"),
    (lambda: with_actions(*sound()[1].actions, sound()[0].order("c1", 0)), "orders for other sites"),
    (lambda: first_order(kind="drain_link"), "acts otherwise"),
    (lambda: first_order(subject="c1"), "orders for other sites"),
    (lambda: first_order(adds=()), "acts otherwise than to order inference for a chosen site"),
    (lambda: first_order(sets=(Cell("links", "l000", "up", True, False),)), "acts otherwise"),
    (lambda: with_row(site="c1"), "acts otherwise"),
    (lambda: with_row(kind="router"), "acts otherwise"),
    (lambda: with_row(valid_from_s=AT_S + 1), "acts otherwise"),
    (lambda: with_row(valid_to_s=AT_S), "acts otherwise"),
]


@pytest.mark.parametrize("number", range(len(TAMPERED)))
def test_a_tampered_plan_is_found_out(number: int) -> None:
    tampered, what = TAMPERED[number]
    assert what in "\n".join(map(str, check_certificate(tampered(), worlds(sound()[0]))))


def test_everything_wrong_with_a_certificate_is_said_at_once() -> None:
    plan = with_certificate(prices_fen=(), rows_dual=("x",), money_dual="none", groups_dual=())
    assert len(check_certificate(plan, worlds(sound()[0]))) == 4


def test_a_plan_does_not_hold_where_weights_or_delays_differ() -> None:
    case, plan = sound()
    twin = case.twin
    links, stations = twin["links"], twin["stations"]
    longer = twin.replace(links.set(np.arange(len(links)), length_km=links["length_km"] + 10))
    shorter = twin.replace(links.set(np.arange(len(links)), length_km=links["length_km"] / 2))
    lighter = twin.replace(stations.set(np.arange(4), weight=np.zeros(4)))
    cut = twin.replace(links.set(np.arange(len(links)), up=np.zeros(len(links), bool)))
    for other in (longer, shorter, lighter, cut):
        assert check_certificate(plan, World(other, other))


def test_what_may_be_closed_is_retired_only_where_nothing_is_chosen() -> None:
    case = Case(
        network(12), QUESTION | {"targets": "150=0.8", "existing": "closable"}, {"c0": 100, "c3": 100, "h1": 500}
    )
    best = case.best()
    assert best is not None
    assert "h1" in best[1]
    plan = case.plan(best[1], [0.0])
    cell = Cell("equipment", "e-h1", "valid_to_s", "inf", AT_S)
    retire = Action(kind="retire_equipment", subject="e-h1", sets=(cell,), blast_radius=("h1",), expires_at_s=AT_S)
    assert check_certificate(plan, worlds(case)) == []
    found = check_certificate(msgspec.structs.replace(plan, actions=(*plan.actions, retire)), worlds(case))
    assert {problem.rows for problem in found} == {("e-h1",)}
    assert "retires other than" in str(found[0])


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ({"valid_to_s": AT_S + 9.0}, ""),
        ({"valid_to_s": AT_S}, ""),
        ({"valid_from_s": AT_S + 9.0}, "closes sites that compute is still to come to (rows e-more)"),
    ],
)
def test_what_ends_by_itself_is_not_retired_and_nothing_may_be_still_to_come(
    times: dict[str, float], told: str
) -> None:
    twin = network(12)
    more = twin["equipment"].add(
        {"id": ["e-more"], "site": ["h1"], "kind": ["edge_inference"]} | {name: [at] for name, at in times.items()}
    )
    case = Case(
        twin.replace(more),
        QUESTION | {"targets": "150=0.3", "existing": "closable"},
        {"c0": 100, "c3": 100, "h1": 500_000},
    )
    best = case.best()
    assert best is not None
    assert "h1" not in best[1]
    plan = case.plan(best[1], [0.0])
    assert "\n".join(map(str, check_certificate(plan, worlds(case)))).startswith(f"certificate: {told}" if told else "")
    assert bool(check_certificate(plan, worlds(case))) == bool(told)
    retired = {action.subject for action in plan.actions if action.kind == "retire_equipment"}
    assert ("e-more" in retired) == (times.get("valid_to_s", 0.0) > AT_S or bool(told))
    forged = [
        msgspec.structs.replace(one, blast_radius=("c0",)) if one.subject == "e-h1" else one for one in plan.actions
    ]
    if not told:
        assert check_certificate(msgspec.structs.replace(plan, actions=tuple(forged)), worlds(case))


ODD: list[object] = [
    *(0.0, -1.0, 1.0, 0.5, 1e-9, 7e14, 1e300, math.nan, math.inf, 10**400, 10**9999, True, None, "", "c1", "150=0.5"),
    *("2026=0.8", "\0", (), (1.0,), ("c1",), (1.0, "c1"), ("c1", "c1"), [1.0], {"a": 1}, b"c1"),
]


@given(
    st.sampled_from(["all", "phases", "money"]),
    st.lists(st.tuples(st.sampled_from([*QUESTION, *sound()[1].proof.certificate]), st.sampled_from(ODD)), max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_the_check_never_raises_whatever_a_plan_says(kind: str, changes: list[tuple[str, object]]) -> None:
    case, plan = sound(kind)
    question: dict[str, object] = {**plan.question}
    certificate: dict[str, object] = {**plan.proof.certificate}
    for name, value in changes:
        (question if name in QUESTION else certificate)[name] = value
    proof = msgspec.structs.replace(plan.proof, certificate=certificate)
    strange = msgspec.structs.replace(plan, question=question, proof=proof)
    assert isinstance(check_certificate(strange, worlds(case)), list)


# Duals.


@given(cases(), st.randoms(use_true_random=False), st.sampled_from([0.0, 0.5, 1.001, 1.5, 20.0]))
@settings(max_examples=200, deadline=None)
def test_a_dual_that_was_changed_is_refused_unless_it_proves_just_the_same(
    case: Case, random: Random, times: float
) -> None:
    best = case.best()
    assume(best is not None and case.rows)
    assert best is not None
    draw = random.random
    group_dual = [1.0 if case.money else 1e-4 * draw() for _ in case.total]
    for row in case.rows:
        row.dual = draw() * group_dual[row.group] * row.weight / row.need
    money_dual = draw() * 1e4 if case.money else 0.0
    plan, before = case.plan(best[1], group_dual, money_dual), case.bound(group_dual, money_dual)
    names = {"rows_dual": len(plan.proof.certificate["rows_dual"])} | (  # type: ignore[arg-type]
        {"money_dual": 1} if case.money else {"groups_dual": len(group_dual)}
    )
    name, at = random.choice([(name, at) for name, count in names.items() for at in range(count)] or [("", 0)])
    assume(name)
    paying = [row for row in case.rows if case.paid(row, group_dual) > 0]
    if name == "rows_dual":
        paying[at].dual *= times
    elif name == "groups_dual":
        group_dual[at] *= times
    else:
        money_dual *= times
    over = any(r.dual * r.need > group_dual[r.group] * r.weight * (1 + 1e-9) for r in paying)
    differs = abs(case.bound(group_dual, money_dual) - before) > 1e-9 * max(1, abs(before)) + 1e-3
    found = [p.what for p in check_certificate(_with_dual(plan, name, at, times), worlds(case))]
    assert any("pay more than they are worth" in what for what in found) == over
    assert over or any("claims the exact bound" in what for what in found) == differs


def _with_dual(plan: Plan, name: str, at: int, times: float) -> Plan:
    """The plan with one of its duals that many times as much."""
    certificate = plan.proof.certificate
    values = certificate[name]
    if isinstance(values, tuple):
        value: object = (*values[:at], float(values[at]) * times, *values[at + 1 :])
    else:
        value = float(values) * times
    proof = msgspec.structs.replace(plan.proof, certificate={**certificate, name: value})
    return msgspec.structs.replace(plan, proof=proof)


ASKED: dict[str, dict[str, Any]] = {
    "all": {"targets": ((500.0, 0.8),)},
    "each": {"targets": ((500.0, 0.5),), "of": "each"},
    "some": {"targets": ((500.0, 0.5),), "of": "some", "metros_share": 0.3},
    "money": {"targets": ((500.0, 0.0),), "money_cny": 60e6},
    "spare": {"targets": ((800.0, 0.6),), "spare": 1},
    "phases": {"targets": ((500.0, 0.8),), "phases": ((1980, 0.5), (1982, 0.8)), "discount_share": 0.05},
}


@cache
def nationwide() -> World:
    twin = nation(stations=20_000, sites=60, seed=1)
    return World(twin, twin)


def planned(kind: str) -> Plan:
    """The plan that the planner makes of this kind."""
    return coverage(nationwide(), Ask(**ASKED[kind]), at_s=AT_S, effort="searched").plan


@pytest.mark.parametrize("kind", ASKED)
def test_every_dual_of_the_planner_that_was_changed_is_refused(kind: str) -> None:
    plan, world = planned(kind), nationwide()
    assert check_certificate(plan, world) == []
    certificate, rng = plan.proof.certificate, np.random.default_rng(1)
    tried: list[str] = []
    for name in ("rows_dual", "cuts_dual", "groups_dual", "money_dual"):
        values = np.atleast_1d(np.array(certificate[name], float))
        # Fen of billions are rounding.
        large = np.flatnonzero(values > 1e-6 * values.max(initial=0.0))
        for at, times in product(rng.permutation(large)[:8].tolist(), (0.0, 0.5, 1.5)):
            changed = _with_dual(plan, name, at, times)
            # The dual of a metro that nobody counts on, as others come cheaper, does not matter; nor does what a row
            # pays to choices alone that pay anyway. What proves the same is no lie.
            may_prove_the_same = (kind == "some" and name == "groups_dual" and times == 1.5) or (
                kind in ("money", "spare") and name == "rows_dual" and times < 1.0
            )
            if may_prove_the_same and exact_bound(changed, world) == pytest.approx(exact_bound(plan, world), rel=1e-12):
                continue
            tried.append(name)
            said = "\n".join(map(str, check_certificate(changed, world)))
            assert "exact bound" in said or "pay more" in said or "must be 1 with money" in said, (name, at, times)
    assert set(tried) >= {"rows_dual", "groups_dual"}
    assert ("cuts_dual" in tried, "money_dual" in tried) == (kind == "spare", kind == "money")


# A nation.


@pytest.fixture(scope="module")
def made() -> Twin:
    return nation(stations=20_000, sites=40, seed=5)


@pytest.mark.parametrize("weight", get_args(Weight))
def test_on_a_nation_the_weight_left_uncovered_is_that_of_the_prepared_network(made: Twin, weight: Weight) -> None:
    counted, existing = points(made, weight), compute_sites(made)
    network, budget_ns = reach.typical(made, counted), 300_000
    free = np.setdiff1d(np.flatnonzero(made["sites"]["kind"] == b"core"), existing)[:700]
    chosen = free[::40]
    plan = _of_money(made, weight, free, chosen)
    covered = network.covered(np.concatenate([existing, chosen]), budget_ns).sum()
    value = int(network.total.sum() - covered) / 1e6
    most = network.covered(np.concatenate([existing, free]), budget_ns).sum()
    # Duals of nothing prove what no candidate can reach.
    certificate = {**plan.proof.certificate, "bound_exact": float(network.total.sum() - most)}
    proof = msgspec.structs.replace(plan.proof, value=value, certificate=certificate)
    assert check_certificate(msgspec.structs.replace(plan, proof=proof), World(made, made)) == []
    assert proven(plan, World(made, made)) == int(network.total.sum() - most) / 1e6


def _of_money(twin: Twin, weight: Weight, free: Array, chosen: Array) -> Plan:
    ids = [text(i) for i in twin["sites"].ids]
    said = QUESTION | {"weight": weight, "targets": "300=0", "money_cny": 1e9}
    orders = [
        Action(
            kind="order_equipment",
            subject=ids[row],
            adds=(NewRow("equipment", f"x{row}", {"site": ids[row], "kind": "edge_inference", "valid_from_s": AT_S}),),
            expires_at_s=AT_S,
        )
        for row in chosen
    ]
    certificate: Certificate = {
        "candidates": tuple(ids[row] for row in free),
        "prices_fen": (100.0,) * len(free),
        "sites": tuple(ids[row] for row in chosen),
        **dict.fromkeys(("years", "rows_point", "rows_group", "rows_dual"), ()),
        "groups_dual": (1.0,),
        "money_dual": 0.0,
        "cuts_row": (),
        "cuts_site": (),
        "cuts_other": (),
        "cuts_dual": (),
        **UNLIMITED,
    }
    return Plan(
        planner="coverage",
        question=said,
        revision=twin.digest,
        made_at_s=AT_S,
        reads=(),
        actions=tuple(orders),
        price_cny=float(len(chosen)),
        proof=Proof(value=0.0, bound=0.0, unit="", how="", certificate=certificate),
    )
