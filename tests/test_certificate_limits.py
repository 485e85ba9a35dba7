"""The checker of coverage plans where what a site serves is limited, against plans made by hand and brute force."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from itertools import combinations, islice

import msgspec
import networkx as nx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from karez.measure.circles import compute_sites
from karez.plan.certificate import check_certificate, exact_bound, proven
from karez.plan.plan import Plan
from karez.twin.schema import Value
from karez.twin.table import text
from tests.test_certificate import ODD, QUESTION, UNLIMITED, Case, network, worlds
from tests.test_circles import twin_of

# What each site serves of each row (positions): millionths of weight.
Served = dict[tuple[int, str], int]


@dataclass
class Row:
    """Points of one group with the same sites of all within reach, and their weight (millionths)."""

    group: int
    reach: frozenset[str]
    points: list[int]
    weight: int
    dual: float = 0.0


class Limited:
    """A question where sites have limits (in units of weight), counted out site by site."""

    def __init__(self, case: Case, limits: dict[str, float]) -> None:
        self.case, self.limits = case, dict(sorted(limits.items()))
        self.cap = {s: math.floor(Fraction(str(x)) * 10**6) for s, x in limits.items()}
        self.sites = [*case.candidates, *case.kept]
        self.free = [s for s in case.candidates if s not in case.lock]
        found: dict[tuple[int, frozenset[str]], Row] = {}
        for group, metro in enumerate(case.metros):
            for p in case.members(metro):
                reach = frozenset(s for s in self.sites if case.reaches(s, p, case.targets[0][0]))
                if reach:
                    row = found.setdefault((group, reach), Row(group, reach, [], 0))
                    row.points.append(p)
                    row.weight += int(case.weight[p])
        self.rows = list(found.values())

    def limit(self, site: str) -> float:
        return self.cap.get(site, math.inf)

    def served(self, chosen: set[str]) -> Served | None:
        """Who serves whom where these candidates run, each group up to its demand; None where that cannot be."""
        graph, demand = nx.DiGraph(), self.case.demand
        graph.add_node("from")
        for g, wanted in enumerate(demand):
            graph.add_edge(("group", g), "to", capacity=wanted)
        for site in {*chosen, *self.case.kept}:
            graph.add_edge("from", ("site", site), **({"capacity": self.cap[site]} if site in self.cap else {}))
            for k, row in enumerate(self.rows):
                if site in row.reach:
                    graph.add_edge(("site", site), ("row", k))
                    graph.add_edge(("row", k), ("group", row.group), capacity=row.weight)
        graph.add_node("to")
        # What has no limit is more than all weight.
        most = sum(self.case.total) + 1
        for *_, edge in graph.edges(data=True):
            edge.setdefault("capacity", most)
        value, flow = nx.maximum_flow(graph, "from", "to")
        if value < sum(demand):
            return None
        return {
            (k, site): amount
            for kind, found in flow.items()
            if kind[0] == "site"
            for site in [kind[1]]
            for (_, k), amount in found.items()
            if amount > 0
        }

    def best(self) -> tuple[int, set[str], Served] | None:
        """The cheapest choice of all that does, and who serves whom then."""
        some = [set(s) for n in range(len(self.free) + 1) for s in combinations(self.free, n)]
        if self.served({*self.case.lock, *self.free}) is None:
            return None
        for chosen in sorted(some, key=self.price_fen):
            chosen |= set(self.case.lock)
            served = self.served(chosen)
            if served is not None:
                return self.price_fen(chosen), chosen, served
        raise AssertionError

    def price_fen(self, chosen: set[str]) -> int:
        return sum(self.case.prices[s] for s in chosen)

    def paid(self, site: str) -> float:
        """The most that rows within reach pay a site: a fractional knapsack."""
        left, paid = self.limit(site), 0.0
        rows = [row for row in self.rows if site in row.reach and row.dual > 0]
        for row in sorted(rows, key=lambda row: -row.dual / row.weight):
            part = min(1.0, left / row.weight)
            paid, left = paid + part * row.dual, left - part * row.weight
        return paid

    def bound(self, group_dual: list[float]) -> float:
        """The bound as the formula has it, in fen above what is locked."""
        held = [sum(row.weight for row in self.rows if row.group == g) for g in range(len(group_dual))]
        owed = sum(v * (d - h) for v, d, h in zip(group_dual, self.case.demand, held, strict=True))
        owed += sum(row.dual for row in self.rows)
        owed -= sum(max(0.0, self.paid(s) - self.case.prices[s]) for s in self.free)
        return owed - sum(self.paid(s) for s in {*self.case.kept, *self.case.lock})

    def linear_program(self) -> tuple[float, list[float]]:
        """The least of the linear relaxation (fen above what is locked), the duals of groups; the rows get theirs."""
        pairs = [(k, s) for k, row in enumerate(self.rows) for s in sorted(row.reach)]
        y, s, x = len(self.free), len(self.rows), len(pairs)
        upper: list[np.ndarray] = []
        most: list[float] = []

        def below(most_: float, *terms: tuple[int, float]) -> None:
            line = np.zeros(y + s + x)
            for at, factor in terms:
                line[at] += factor
            upper.append(line)
            most.append(most_)

        for k in range(s):
            below(0.0, (y + k, 1.0), *((y + s + n, -1.0) for n, (row, _) in enumerate(pairs) if row == k))
        for g, demand in enumerate(self.case.demand):
            below(-demand / 1e6, *((y + k, -1.0) for k, row in enumerate(self.rows) if row.group == g))
        for site in self.sites:
            mine = [(n, k) for n, (k, by) in enumerate(pairs) if by == site]
            runs = self.free.index(site) if site in self.free else None
            for n, k in mine:
                weight = self.rows[k].weight / 1e6
                below(weight if runs is None else 0.0, (y + s + n, 1.0), *([] if runs is None else [(runs, -weight)]))
            if site in self.cap:
                cap = min(self.cap[site], sum(self.case.total)) / 1e6
                below(
                    cap if runs is None else 0.0,
                    *((y + s + n, 1.0) for n, _ in mine),
                    *([] if runs is None else [(runs, -cap)]),
                )
        cost = np.array([self.case.prices[site] for site in self.free] + [0] * (s + x), float)
        bounds = [(0.0, 1.0)] * y + [(0.0, row.weight / 1e6) for row in self.rows] + [(0.0, None)] * x
        solved = linprog(cost, np.array(upper), most, bounds=bounds)
        assert solved.status == 0, solved.message
        duals = np.maximum(-solved.ineqlin.marginals, 0.0) / 1e6
        group_dual = duals[s : s + len(self.case.demand)].tolist()
        for row, dual in zip(self.rows, duals, strict=False):
            row.dual = min(float(dual), group_dual[row.group]) * row.weight
        return float(solved.fun or 0.0), group_dual

    def plan(self, chosen: set[str], served: Served, group_dual: list[float]) -> Plan:
        """The plan that chooses these candidates, with the bound of these duals and those of the rows."""
        case, rows = self.case, [row for row in self.rows if row.dual > 0]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(case, "value", lambda chosen: self.price_fen(set(chosen)))
            plan = case.plan(dict.fromkeys(sorted(chosen), 0), group_dual)
        bound = self.bound(group_dual)
        certificate = {
            **plan.proof.certificate,
            "rows_point": tuple(case.point_id(row.points[-1]) for row in rows),
            "rows_group": tuple(float(row.group) for row in rows),
            "rows_dual": tuple(row.dual for row in rows),
            "bound_exact": bound,
            "limited_sites": tuple(self.limits),
            "limited_weight": tuple(self.limits.values()),
            "serves_point": tuple(case.point_id(self.rows[k].points[0]) for k, _ in served),
            "serves_group": tuple(float(self.rows[k].group) for k, _ in served),
            "serves_site": tuple(site for _, site in served),
            "serves_weight": tuple(float(weight) for weight in served.values()),
        }
        proof = msgspec.structs.replace(plan.proof, bound=case.rounded(bound), certificate=certificate)
        return msgspec.structs.replace(plan, proof=proof)


def drawn(seed: int) -> Limited | None:
    """A random question on a random network, about half of whose sites have a limit; None where there is none."""
    twin, rng = network(seed), np.random.default_rng(seed)
    existing = [text(twin["sites"].ids[row]) for row in compute_sites(twin)]
    closable = bool(rng.random() < 0.4)
    may = [s for s in map(text, twin["sites"].ids) if closable or s not in existing]
    forbid = [s for s in may if rng.random() < 0.1]
    may = [s for s in may if s not in forbid]
    candidates = [s for s in may if s in existing or rng.random() < 0.7][:7]
    lock = [s for s in candidates if rng.random() < 0.1]
    unit = int(rng.choice([1, 100]))
    prices = {s: unit * int(rng.integers(1, 10)) for s in candidates}
    if closable and not set(existing) <= {*candidates, *forbid}:
        return None
    limits = {
        s: float(rng.choice([0.0, 0.5, 0.7, 1.0, 1.234567, 2.718281, 1e9]))
        for s in [*candidates, *([] if closable else existing)]
        if rng.random() < 0.8
    }
    said = QUESTION | {
        "weight": str(rng.choice(["station", "station", "place", "access_point"])),
        "targets": f"{rng.choice(['80', '150.5', '250', '400'])}={rng.choice(['0.3', '0.5', '0.75'])}",
        "of": str(rng.choice(["all", "each"])),
        "limited": len(limits),
        "existing": "closable" if closable else "kept",
        "lock": ",".join(lock),
        "forbid": ",".join(forbid),
    }
    return Limited(Case(twin, said, prices), limits) if limits and candidates else None


def solved(first: int) -> Iterator[tuple[int, Limited, tuple[int, set[str], Served]]]:
    """Random questions that something does, from a seed on, and what does at the least price."""
    seed = first
    while True:
        seed += 1
        ask = drawn(seed)
        best = ask and ask.best()
        if ask and best:
            yield seed, ask, best


def test_whatever_the_duals_the_bound_is_that_of_the_formula_and_never_above_the_cheapest_plan() -> None:
    binding = above_nothing = 0
    for seed, ask, (price_fen, chosen, served) in islice(solved(0), 250):
        rng = np.random.default_rng(seed)
        if seed % 3:
            # About the best, and so not below nothing.
            group_dual = [v * (1 + 0.1 * rng.random()) for v in ask.linear_program()[1]]
            for row in ask.rows:
                row.dual *= 1 - 0.2 * rng.random()
        else:
            group_dual = (3e-6 * max(ask.case.prices.values()) * rng.random(len(ask.case.total))).tolist()
            for row in ask.rows:
                row.dual = max(0.0, rng.random() - 0.2) * 1.25 * group_dual[row.group] * row.weight
        plan, world = ask.plan(chosen, served, group_dual), worlds(ask.case)
        assert check_certificate(plan, world) == []
        assert exact_bound(plan, world) == pytest.approx(ask.bound(group_dual), rel=1e-9, abs=1e-6)
        assert proven(plan, world) * 100 <= price_fen + 1e-9
        above_nothing += ask.bound(group_dual) > 0
        unlimited = Limited(ask.case, {}).best()
        assert unlimited is not None
        binding += unlimited[0] < price_fen
    assert binding >= 30
    assert above_nothing >= 30


def test_with_the_duals_of_the_linear_program_the_bound_is_its_least_and_not_above_the_cheapest_plan() -> None:
    tight = 0
    for _, ask, (price_fen, chosen, served) in islice(solved(10_000), 100):
        least, group_dual = ask.linear_program()
        plan, world = ask.plan(chosen, served, group_dual), worlds(ask.case)
        assert check_certificate(plan, world) == []
        assert exact_bound(plan, world) >= least - 1e-5 * max(least, 1.0)
        assert proven(plan, world) * 100 <= price_fen + 1e-9
        tight += proven(plan, world) * 100 >= price_fen - 1e-9 > ask.case.locked_fen
    assert tight >= 10


def test_limits_above_all_weight_prove_what_no_limits_prove() -> None:
    compared = 0
    for seed, ask, (_, chosen, served) in islice(solved(20_000), 80):
        if ask.case.kept or ask.case.lock:
            continue
        rng = np.random.default_rng(seed)
        group_dual = (3e-4 * rng.random(len(ask.case.total))).tolist()
        for row in ask.rows:
            row.dual = (0.7 + 0.3 * rng.random()) * group_dual[row.group] * row.weight
        roomy = Limited(ask.case, dict.fromkeys(ask.case.candidates, 1e9))
        for row, other in zip(roomy.rows, ask.rows, strict=True):
            row.dual = other.dual
        ask.case.question["limited"] = len(roomy.limits)
        plan, world = roomy.plan(chosen, served, group_dual), worlds(ask.case)
        assert check_certificate(plan, world) == []
        free = _question(_certificate(plan, **UNLIMITED), limited=0)
        held = [sum(row.weight - row.dual / v for row in ask.rows if row.group == g) for g, v in enumerate(group_dual)]
        if all(h <= d for h, d in zip(held, ask.case.demand, strict=True)):
            compared += 1
            assert exact_bound(free, world) == pytest.approx(exact_bound(plan, world), rel=1e-9, abs=1e-6)
    assert compared >= 10


# Tampering. Of two stations at h1 (c1, c2 and what is there, e, in reach), two at h2 (c2, c3), and one out of reach.

LIMITS = {"c1": 0.8, "c2": 1.5, "e": 0.5}


@cache
def sound(of: str = "all") -> tuple[Limited, Plan]:
    """A plan that holds: of all, c1 and e serve h1, as much as they can, c3 serves h2."""
    hosts = [("h1", "c1"), ("h1", "c2"), ("h1", "e"), ("h2", "c2"), ("h2", "c3")]
    stations = [("s1", "h1"), ("s2", "h1"), ("s3", "h2"), ("s4", "h3"), ("s5", "h2")]
    twin = twin_of(
        dict.fromkeys(("c1", "c2", "c3", "e"), ("core", "M1"))
        | dict.fromkeys(("h1", "h2", "h3"), ("aggregation", "M1")),
        {name: "M2" if of == "each" and site == "h2" else "M1" for name, site in stations},
        [(a, b, "access", "both", 1.0) for a, b in [*hosts, *stations]],
        ["e"],
    )
    said = QUESTION | {"targets": f"60={0.66 if of == 'all' else 0.6}", "of": of, "limited": 3}
    ask = Limited(Case(twin, said, {"c1": 1_000, "c2": 1_200, "c3": 900}), LIMITS)
    best = ask.best()
    assert best is not None
    # None is the best there is, so that each counts.
    for row in ask.rows:
        row.dual = row.weight * (0.9e-3 if "c1" in row.reach else 0.95e-3)
    return ask, ask.plan(best[1], best[2], [1e-3] * len(ask.case.total))


def _question(plan: Plan, **changes: Value) -> Plan:
    return msgspec.structs.replace(plan, question={**plan.question, **changes})


def _certificate(plan: Plan, **changes: object) -> Plan:
    proof = msgspec.structs.replace(plan.proof, certificate={**plan.proof.certificate, **changes})
    return msgspec.structs.replace(plan, proof=proof)


def asked(**changes: Value) -> Plan:
    return _question(sound()[1], **changes)


def certified(**changes: object) -> Plan:
    return _certificate(sound()[1], **changes)


def listed(name: str, of: str = "all") -> tuple[float | str, ...]:
    values = sound(of)[1].proof.certificate[name]
    assert isinstance(values, tuple)
    return values


def changed(name: str, value: object, at: int = 0) -> Plan:
    values = list[object](listed(name))
    values[at] = value
    return certified(**{name: tuple(values)})


def entry(**values: object) -> Plan:
    """The sound plan, where one more site serves a row."""
    row = {"point": "s3", "group": 0.0, "site": "c3", "weight": 1.0} | values
    return certified(**{f"serves_{name}": (*listed(f"serves_{name}"), value) for name, value in row.items()})


def limited(site: str, weight: float) -> Plan:
    return certified(limited_weight=tuple((LIMITS | {site: weight}).values()))


def without_term() -> Plan:
    plan = sound()[1]
    return msgspec.structs.replace(plan, question={n: v for n, v in plan.question.items() if n != "limited"})


def without_list(name: str) -> Plan:
    plan = sound()[1]
    certificate = {n: value for n, value in plan.proof.certificate.items() if n != name}
    return msgspec.structs.replace(plan, proof=msgspec.structs.replace(plan.proof, certificate=certificate))


def at_site(site: str) -> int:
    return listed("serves_site").index(site)


TAMPERED: list[tuple[Callable[[], Plan], str]] = [
    # What was asked.
    (without_term, "asks for limited = None"),
    (lambda: asked(limited=-1), "asks for limited = -1"),
    (lambda: asked(limited=0.5), "asks for limited = 0.5"),
    (lambda: asked(limited=True), "asks for limited = True"),
    (lambda: asked(limited=2), "limits 3 sites where the question has 2"),
    (lambda: asked(limited=0), "limits 3 sites where the question has 0"),
    (lambda: asked(limited=0), "says who serves whom, which is for sites with limits alone"),
    (lambda: asked(spare=1), "asks for limits of sites with spare sites"),
    (lambda: asked(money_cny=100.0), "asks for limits of sites with money"),
    (lambda: asked(phases="2026=0.66"), "asks for limits of sites with years"),
    (lambda: asked(targets="60=0.66,80=0.8"), "asks for limits of sites with several budgets"),
    (lambda: asked(of="some"), "asks for limits of sites with a share of metros"),
    (lambda: asked(targets="60=0.76"), "brings a weight of 3.3 within 60 us where the target takes 3.8"),
    (lambda: asked(targets="60=0.5"), "claims the exact bound"),
    (lambda: asked(targets="1=0.66"), "serves 3 points that are out of reach"),
    # Limits.
    *((partial(without_list, name), f"{name} must be a list of") for name in UNLIMITED),
    (lambda: changed("limited_sites", "nowhere", at=2), "limits what is neither candidate nor kept (rows nowhere)"),
    (lambda: changed("limited_sites", "h1", at=2), "limits what is neither candidate nor kept (rows h1)"),
    (lambda: changed("limited_sites", "c1", at=1), "limits sites that are not ascending, or twice (rows c1)"),
    (lambda: certified(limited_sites=("c2", "c1", "e")), "limits sites that are not ascending, or twice (rows c1)"),
    (lambda: certified(limited_sites=("c1", "c2")), "limited_weight must be a list of 2"),
    (lambda: certified(limited_sites=("c1", "c2"), limited_weight=(0.8, 1.5)), "limits 2 sites where the question"),
    (lambda: limited("c2", -1.0), "limited_weight must be numbers from 0"),
    (lambda: limited("c1", math.nan), "limited_weight must be numbers from 0"),
    (lambda: limited("c1", 0.7), "serves more from a site than its limit (rows c1)"),
    (lambda: limited("c1", 0.7999999), "serves more from a site than its limit (rows c1)"),
    (lambda: limited("e", 0.0), "serves more from a site than its limit (rows e)"),
    (lambda: limited("c2", 1.51), "claims the exact bound"),
    (lambda: limited("c2", 1.49), "claims the exact bound"),
    (lambda: limited("e", 0.51), "claims the exact bound"),
    (lambda: limited("c2", 1e15), "its duals prove"),
    # Who serves whom.
    (lambda: changed("serves_point", "nowhere"), "serves points that do not count by station (rows nowhere)"),
    (lambda: changed("serves_point", "s4"), "serves 1 points that are out of reach, or of another group"),
    (lambda: changed("serves_point", 1.0), "serves_point must be a list of ids"),
    (lambda: certified(serves_point=listed("serves_point")[1:]), "serves_weight must be a list of 2"),
    (lambda: changed("serves_group", 1.0), "serves_group must be whole numbers below 1 (rows 1)"),
    (lambda: changed("serves_group", 0.5), "serves_group must be whole numbers"),
    (lambda: changed("serves_site", "nowhere"), "from sites that are neither candidates nor kept (rows nowhere)"),
    (lambda: changed("serves_site", "c2", at=at_site("e")), "neither chosen nor kept (rows c2)"),
    (lambda: certified(serves_site=listed("serves_site")[1:]), "serves_site must be a list of 3"),
    (lambda: entry(point="s1", site="c3"), "serves points from sites that do not reach them (rows c3)"),
    (lambda: entry(site="e"), "serves points from sites that do not reach them (rows e)"),
    (lambda: entry(), "serves more of 1 rows than they weigh"),
    (lambda: entry(point="s1", site="c1"), "serves more from a site than its limit (rows c1)"),
    (lambda: entry(point="s2", site="e", weight=700_001.0), "serves more of 1 rows than they weigh"),
    (lambda: entry(weight=0.0), "serves points with nothing (rows s3)"),
    (lambda: entry(weight=-1.0), "serves_weight must be numbers from 0"),
    (lambda: entry(weight=0.5), "serves_weight must be whole numbers"),
    (lambda: entry(weight=1e14), "serves more of 1 rows than they weigh"),
    (lambda: changed("serves_weight", 1_999_999.0, at=at_site("c3")), "brings a weight of 3.299999 within 60 us"),
    (lambda: certified(**{name: () for name in UNLIMITED if name.startswith("serves")}), "brings a weight of 0 within"),
    (
        lambda: certified(**{name: listed(name) * 2 for name in UNLIMITED if name.startswith("serves")}),
        "serves more of 2 rows than they weigh",
    ),
    (
        # Added up, it is one more than what fits 64 bits, and so nothing.
        lambda: certified(
            serves_point=("s3",) * 40_000,
            serves_group=(0.0,) * 40_000,
            serves_site=("c3",) * 40_000,
            serves_weight=(461168601842739.0,) * 40_000,
        ),
        "serves more of 1 rows than they weigh",
    ),
    # Duals.
    (lambda: certified(rows_point=("s1", "s2"), rows_group=(0.0, 0.0)), "has two duals for one row"),
    (lambda: certified(rows_dual=tuple(2 * float(d) for d in listed("rows_dual"))), "pay more than they are worth"),
    (lambda: certified(rows_dual=tuple(0.9 * float(d) for d in listed("rows_dual"))), "claims the exact bound"),
    (lambda: certified(groups_dual=(float(listed("groups_dual")[0]) * 1.01,)), "claims the exact bound"),
    (lambda: certified(groups_dual=(0.0,)), "pay more than they are worth"),
    (lambda: certified(cuts_row=(0.0,), cuts_site=("c1",), cuts_dual=(1.0,)), "has cuts, which hold for spare sites"),
    (lambda: certified(money_dual=1.0), "and 0 without money"),
    (lambda: certified(bound_exact=float(str(sound()[1].proof.certificate["bound_exact"])) + 1), "the exact bound"),
]  # fmt: skip


@pytest.mark.parametrize("of", ["all", "each"])
def test_a_sound_plan_with_limits_holds_and_holds_when_it_was_written_and_read(of: str) -> None:
    ask, plan = sound(of)
    assert 0 < plan.proof.bound <= plan.proof.value
    assert check_certificate(plan, worlds(ask.case)) == []
    assert check_certificate(msgspec.json.decode(msgspec.json.encode(plan), type=Plan), worlds(ask.case)) == []


def test_in_the_sound_plan_a_row_is_split_and_its_sites_are_full() -> None:
    ask, plan = sound()
    assert plan.proof.certificate["sites"] == ("c1", "c3")
    assert dict(zip(listed("serves_site"), listed("serves_weight"), strict=True)) == {"e": 5e5, "c1": 8e5, "c3": 2e6}
    unlimited = Limited(ask.case, {}).best()
    assert unlimited is not None
    assert unlimited[0] < plan.price_cny * 100


@pytest.mark.parametrize("number", range(len(TAMPERED)))
def test_a_tampered_plan_with_limits_is_found_out(number: int) -> None:
    tampered, what = TAMPERED[number]
    assert what in "\n".join(map(str, check_certificate(tampered(), worlds(sound()[0].case))))


def test_who_is_served_must_be_of_the_group_that_is_named() -> None:
    ask, plan = sound("each")
    wrong = _certificate(plan, serves_group=tuple(1.0 - float(group) for group in listed("serves_group", "each")))
    assert "of another group" in "\n".join(map(str, check_certificate(wrong, worlds(ask.case))))


def test_each_dual_of_a_plan_with_limits_that_was_changed_is_refused() -> None:
    ask = sound()[0]
    for name in ("rows_dual", "groups_dual"):
        for at, value in enumerate(map(float, listed(name))):
            for times in (0.0, 0.5, 1.5):
                assert value > 0
                found = "\n".join(map(str, check_certificate(changed(name, value * times, at), worlds(ask.case))))
                assert "exact bound" in found or "pay more than they are worth" in found


def test_a_row_may_be_served_under_the_names_of_several_of_its_points_and_in_parts() -> None:
    ask = sound()[0]
    again = certified(
        serves_point=("s1", "s2", "s2", "s1", "s3"),
        serves_group=(0.0,) * 5,
        serves_site=("e", "c1", "c1", "c1", "c3"),
        serves_weight=(500_000.0, 1.0, 299_999.0, 500_000.0, 2_000_000.0),
    )
    assert check_certificate(again, worlds(ask.case)) == []


@given(
    st.lists(st.tuples(st.sampled_from([*QUESTION, *sound()[1].proof.certificate]), st.sampled_from(ODD)), max_size=3)
)
@example([("candidates", ("c1", "c1"))])
@settings(max_examples=300, deadline=None)
def test_the_check_never_raises_whatever_a_plan_with_limits_says(changes: list[tuple[str, object]]) -> None:
    ask, plan = sound()
    question: dict[str, object] = {**plan.question}
    certificate: dict[str, object] = {**plan.proof.certificate}
    for name, value in changes:
        (question if name in QUESTION else certificate)[name] = value
    proof = msgspec.structs.replace(plan.proof, certificate=certificate)
    strange = msgspec.structs.replace(plan, question=question, proof=proof)
    assert isinstance(check_certificate(strange, worlds(ask.case)), list)


def test_what_is_locked_serves_up_to_its_limit_and_no_further() -> None:
    case = sound()[0].case
    ask = Limited(Case(case.twin, case.question | {"lock": "c2"}, case.prices), LIMITS)
    best = ask.best()
    assert best is not None
    assert best[1] == {"c2", "c3"}
    _, group_dual = ask.linear_program()
    plan = ask.plan(best[1], best[2], group_dual)
    assert check_certificate(plan, worlds(ask.case)) == []
    assert plan.proof.bound == 18.0
    more = _certificate(plan, limited_weight=tuple((LIMITS | {"c2": 1.6}).values()))
    assert any("exact bound" in found.what for found in check_certificate(more, worlds(ask.case)))


def test_a_limit_that_is_no_whole_number_of_millionths_is_rounded_down() -> None:
    ask = sound()[0]
    assert check_certificate(limited("e", 0.5000009), worlds(ask.case)) == []
    assert any("than its limit" in found.what for found in check_certificate(limited("e", 0.4999999), worlds(ask.case)))
    assert check_certificate(limited("c1", 0.8000009), worlds(ask.case)) == []
