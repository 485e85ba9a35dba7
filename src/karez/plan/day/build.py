"""What machines of chips to add where, so that a day of jobs and the machines together cost least, as a plan.

Every site that has chips may get more, of kinds that are named or of those that stand there, as servers of their own:
they are owned, so whoever runs there pays for electricity and carbon, and what having them costs is paid for all hours,
used or not. Power of sites, ways in, links and law hold for them as for all others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from karez.errors import InputError
from karez.measure import policy
from karez.plan.day.ask import HOURS_A_DAY, Ask, written
from karez.plan.day.decide import ROUNDING_SHARE, Day, chosen_of, prices_of, runnable, runs_of, spread
from karez.plan.day.pose import Posed, posed
from karez.plan.placing.check import checked
from karez.plan.placing.grow import NEAR_SHARE, Grown, grown, needed
from karez.plan.placing.pricing import sorted_by_money, used_by
from karez.plan.placing.program import Growth, Program, Used
from karez.plan.placing.solve import relaxed
from karez.plan.plan import Action, NewRow, Plan, Proof
from karez.plan.sites import EXPIRES_AFTER_S, unused_id
from karez.twin import World
from karez.twin.schema import Value
from karez.twin.table import Array, strings, texts

PLANNER = "chips"
IN_SERVICE = "in_service_at_s"
MOST_CHIPS = 1_000_000


class Offer(NamedTuple):
    """What may be added: machines of so many `chips`, of these `kinds` (of those at a site where empty).

    Having a machine for a day costs `cny_a_day`, whatever its chips; a site gets `most_chips` of a kind and domain at
    most, in service from a second (Unix time) on.
    """

    chips: int
    cny_a_day: float
    most_chips: int
    in_service_at_s: float
    kinds: tuple[str, ...] = ()


class Candidates(NamedTuple):
    """The world with servers that may be added, those by their ids with their columns, and sites that get none."""

    world: World
    rows: Mapping[str, dict[str, Value]]
    left_out: tuple[str, ...]


class Built(NamedTuple):
    """A day with what is added: who runs where (`day`), chips by the id of the server that they are, what all cost.

    `prices` prove the bound, in the shapes of the program of `posed`. Costs are of all planned hours (CNY); `cny` and
    `bound` are of day and machines together.
    """

    day: Day
    posed: Posed
    prices: Used
    candidates: Candidates
    chips: Mapping[str, int]
    building_cny: float
    cny: float
    bound: float

    @property
    def gap_share(self) -> float:
        """How much less any day with any machines could cost at most, as a share of the bound."""
        return (self.cny - self.bound) / abs(self.bound) if self.bound else 0.0


def built(
    world: World,
    ask: Ask,
    offer: Offer,
    packs: Sequence[policy.Pack] | None = None,
    *,
    before: Day | None = None,
    limit_s: float = math.inf,
    seconds: Callable[[], float] = lambda: 0.0,
    seed: int = 1,
) -> Built:
    """The best day with machines by `limit_s` of the clock `seconds`, checked by code that shares nothing with it.

    `world` is as `ordered` has it. Where none is cheaper than the day `before` without machines, that is the best.

    Raises:
        InputError: what the tables say of jobs makes no sense; see `pose.posed`.
        RuntimeError: the plan passes a limit, or costs less than its bound, which is a defect.
    """
    candidates = offered(world, ask, offer)
    asked, growth = growing(candidates, ask, offer, packs)
    found = grown(asked.program, growth, offer.chips, limit_s=limit_s, seconds=seconds, seed=seed)
    bound, prices = _proven(asked, growth, found, lambda: seconds() >= 2.0 * limit_s)
    placed = runnable(asked, spread(asked, found.chosen))
    # Who waits for a job that does not run needs no machine.
    chosen = chosen_of(asked, placed)
    more = needed(used_by(asked.program, chosen).chips, asked.program.pools.chips, offer.chips)
    with_them = replace(asked, program=with_more(asked.program, more))
    seen, building_cny = checked(with_them.program, chosen), float(growth.cny @ more)
    cny = seen.cny + building_cny
    slack = ROUNDING_SHARE * max(abs(cny), 1.0)
    if seen.problems or bound > cny + slack:
        wrong = "; ".join(seen.problems[:3]) or f"it costs {cny}, below what every plan costs, {bound}"
        raise RuntimeError(f"the plan of chips is none: {wrong}")
    if before is not None and before.cny <= cny:
        bound = min(bound, before.cny)
        return Built(before, with_them, prices, candidates, {}, 0.0, before.cny, bound)
    bound = min(bound, cny)
    day = Day(with_them, placed, seen.cny, bound - building_cny, is_least=False, prices=prices, rungs=())
    names = strings(asked.world["servers"].ids[asked.pools])
    chips = {names[at]: int(more[at]) for at in np.flatnonzero(more > 0).tolist()}
    return Built(day, with_them, prices, candidates, chips, building_cny, cny, bound)


def ordered(world: World, ask: Ask, offer: Offer) -> World:
    """The world in which servers that are to come before what is added stand already."""
    servers = world["servers"]
    coming = (servers["valid_from_s"] > ask.at_s) & (servers["valid_from_s"] <= offer.in_service_at_s)
    rows = np.flatnonzero(coming)
    standing = servers.set(rows, valid_from_s=np.full(len(rows), -np.inf)) if len(rows) else servers
    return World(world.intended.replace(standing), world.actual)


def offered(world: World, ask: Ask, offer: Offer) -> Candidates:
    """The world in which all that may be added stands already, with the most chips that it may have.

    Sites that will not be there then get none, nor do those that are worked on in the planned hours: a machine is
    there in all of them.
    """
    twin = world.intended.at(ask.at_s)
    servers, sites, works = twin["servers"], twin["sites"], twin["works"]
    busy = (works["from_s"] < ask.ends_at_s) & (works["to_s"] > ask.at_s)
    rows, left_out = dict[str, dict[str, Value]](), list[str]()
    there: dict[str, set[tuple[str, str]]] = {}
    for site, domain, chip in zip(*(strings(servers[name]) for name in ("site", "domain", "chip")), strict=True):
        there.setdefault(site, set()).add((domain, chip))
    known, worked_on = set(strings(sites.ids)), set(strings(works["subject"][busy]))
    for site in sorted(there.keys() & known):
        if site in worked_on or float(sites.cell(site, "valid_to_s")) <= offer.in_service_at_s:
            left_out.append(site)
            continue
        wanted = {(domain, kind) for domain, chip in there[site] for kind in offer.kinds or (chip,)}
        for domain, kind in sorted(wanted):
            if twin["chips"].has(kind):
                rows[unused_id(world, f"{site}-{kind}".replace(" ", "-"), "servers", rows)] = {
                    "site": site,
                    "chip": kind,
                    "chips": offer.most_chips // offer.chips * offer.chips,
                    "domain": domain,
                    "price_cny_per_chip_h": 0.0,
                }
    columns: dict[str, list[Value]] = {"id": list(rows)}
    for name in ("site", "chip", "chips", "domain", "price_cny_per_chip_h"):
        columns[name] = [values[name] for values in rows.values()]
    wider = world.intended.replace(world["servers"].add(columns)) if rows else world.intended
    return Candidates(World(wider, world.actual), rows, tuple(left_out))


def growing(
    candidates: Candidates, ask: Ask, offer: Offer, packs: Sequence[policy.Pack] | None = None
) -> tuple[Posed, Growth]:
    """The program in which nothing is added yet, and what may be.

    Raises:
        InputError: what the tables say of jobs makes no sense; see `pose.posed`.
    """
    asked = posed(candidates.world, ask, packs, new=candidates.rows)
    new = np.isin(asked.world["servers"].ids[asked.pools], texts(list(candidates.rows)))
    chips = asked.program.pools.chips
    most = np.where(new, chips.min(axis=1, initial=math.inf), 0.0)
    each = offer.cny_a_day / offer.chips * ask.hours / HOURS_A_DAY
    bare = with_more(asked.program, -np.where(new, chips.max(axis=1, initial=0.0), 0.0))
    loose = bare if asked.loose is asked.program else replace(bare, jobs=asked.loose.jobs)
    return replace(asked, program=bare, loose=loose), Growth(np.full(len(most), each), most)


def with_more(program: Program, more: Array) -> Program:
    """The program in which each pool has so many chips more, and never less than none."""
    pools = program.pools
    return replace(program, pools=pools._replace(chips=np.maximum(pools.chips + more[:, None], 0.0)))


def _proven(asked: Posed, growth: Growth, found: Grown, enough: Callable[[], bool]) -> tuple[float, Used]:
    """The bound and the prices that prove it."""
    if asked.loose is asked.program:
        return found.bound, found.prices
    wide = relaxed(sorted_by_money(replace(asked.loose, growth=growth)), enough, near_share=NEAR_SHARE)
    return wide.bound, wide.prices


def plan_of(found: Built, offer: Offer, revision: str, at_s: float) -> Plan:
    """The machines as orders of servers, proven by the day."""
    ask = found.day.posed.ask
    machines = sum(found.chips.values()) // offer.chips
    return Plan(
        planner=PLANNER,
        question=written(ask) | _written(offer, ask),
        revision=revision,
        made_at_s=at_s,
        reads=(),
        actions=tuple(
            order_of(name, number, found.candidates.rows[name], offer, at_s) for name, number in found.chips.items()
        ),
        price_cny=found.cny,
        proof=Proof(
            value=found.cny,
            bound=found.bound,
            unit="CNY",
            how=(
                f"prices of all that is shared prove it, whatever is added; that a machine costs "
                f"{offer.cny_a_day:,.0f} CNY a day is taken as it was told"
            ),
            certificate=runs_of(found.day) | prices_of(found.posed, found.prices),
        ),
        summary=f"{machines:,} machines of {offer.chips} chips at {len(sites_of(found)):,} sites",
        citation=(
            f"{ask.hours} hours from {ask.at_s:.0f} (Unix time), with what is ordered already; a machine of "
            f"{offer.chips} chips of any kind costs {offer.cny_a_day:,.0f} CNY a day, used or not, and its electricity "
            f"while it is used{_left_out(found)}; "
            f"{ask.figures} figures of the latency library; gap {found.gap_share:.2%}"
        ),
    )


def _left_out(found: Built) -> str:
    left_out = len(found.candidates.left_out)
    return f"; sites that close before or are worked on in these hours get none ({left_out:,})" if left_out else ""


def sites_of(found: Built) -> set[str]:
    """The sites that get machines."""
    return {str(found.candidates.rows[name]["site"]) for name in found.chips}


def order_of(name: str, chips: int, values: dict[str, Value], offer: Offer, at_s: float) -> Action:
    """The order of so many chips as a server."""
    due_s = offer.in_service_at_s
    row = values | {"chips": chips, "installed_at_s": due_s, "valid_from_s": due_s}
    return Action(
        kind="order_servers",
        subject=str(values["site"]),
        adds=(NewRow("servers", name, row),),
        blast_radius=(str(values["site"]),),
        expires_at_s=at_s + EXPIRES_AFTER_S,
        ends_at_s=due_s,
    )


def read_offer(question: Mapping[str, Value]) -> tuple[float, Offer]:
    """When the day begins (Unix time) and what may be added, as a plan of chips keeps its question.

    Raises:
        InputError: it is none.
    """
    numbers = [question.get(name) for name in ("at_s", "machine_chips", "machine_cny_a_day", "most_chips", IN_SERVICE)]
    if not all(isinstance(one, int | float) and math.isfinite(one) and one >= 0 for one in numbers):
        raise InputError.of("plan", "its question is none of chips to add", "make the plan anew")
    at_s, chips, cny, most, due_s = (float(str(one)) for one in numbers)
    if not (chips.is_integer() and most.is_integer() and 1 <= chips <= MOST_CHIPS and most <= MOST_CHIPS):
        raise InputError.of("plan", "its machines have no whole number of chips", "make the plan anew")
    kinds = tuple(filter(None, str(question.get("kinds", "")).split(",")))
    return at_s, Offer(int(chips), cny, int(most), due_s, kinds)


def _written(offer: Offer, ask: Ask) -> dict[str, Value]:
    return {
        "at_s": ask.at_s,
        "machine_chips": offer.chips,
        "machine_cny_a_day": offer.cny_a_day,
        "most_chips": offer.most_chips,
        IN_SERVICE: offer.in_service_at_s,
        "kinds": ",".join(offer.kinds),
    }
