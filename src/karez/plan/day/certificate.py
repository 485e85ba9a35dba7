"""Whether a plan of a day is one, and what it proves: by the network and what the plan says, and nothing else.

The program is posed anew. Every job is counted again hour by hour (`placing.check`), and the bound is computed from
the prices for each job over all of its options.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from karez.errors import InputError, KarezError, Problem
from karez.measure import policy
from karez.plan.day.ask import read
from karez.plan.day.build import Candidates, Offer, growing, offered, order_of, ordered, read_offer, with_more
from karez.plan.day.decide import PLANNER, legs_of
from karez.plan.day.pose import MOST_JOBS, Posed, posed
from karez.plan.day.scarce import used
from karez.plan.placing.check import bound, checked, grown_bound
from karez.plan.placing.program import Chosen, Used
from karez.plan.plan import Plan
from karez.twin import World
from karez.twin.table import Array, strings

ANEW = "make the plan anew"
# What summing up in another order may do, as a share.
ROUNDING_SHARE = 1e-7
COLUMNS = ("job", "number", "server", "start_h", "mode")
PRICES = ("price_of", "price_row", "price_hour", "price_cny")
Columns = dict[str, tuple[float | str, ...]]


class Read(NamedTuple):
    """What a plan says, as the program has it."""

    posed: Posed
    chosen: Chosen
    job: Array
    prices: Used


def check_day(plan: Plan, world: World, packs: Sequence[policy.Pack] | None = None) -> list[Problem]:
    """Every reason not to believe a plan of a day; none where it keeps all limits and proves what it claims."""
    where = f"plan {plan.id}"
    try:
        said = understood(plan, world, packs)
        least = bound(said.posed.loose, said.prices)
    except KarezError as error:
        return [Problem(where, str(error), ANEW)]
    except (ValueError, OverflowError) as error:
        return [Problem(where, f"says what makes no sense: {error}", ANEW)]
    return _wrong(plan, said, 0.0, least)


def _wrong(plan: Plan, said: Read, besides_cny: float, least: float) -> list[Problem]:
    """What is wrong with a day that costs so much besides, and of which prices prove so much."""
    where, seen = f"plan {plan.id}", checked(said.posed.program, said.chosen)
    problems = [Problem(where, problem, ANEW) for problem in seen.problems]
    problems += [*_too_many(said, where), *_out_of_order(said, where)]
    cny = seen.cny + besides_cny
    slack = ROUNDING_SHARE * max(abs(cny), abs(plan.proof.value), 1.0)
    if abs(cny - plan.proof.value) > slack or abs(plan.price_cny - plan.proof.value) > slack:
        problems.append(Problem(where, f"costs {cny:,.2f} CNY, not {plan.proof.value:,.2f}", ANEW))
    if plan.proof.bound > least + slack:
        problems.append(Problem(where, f"proves a bound of {least:,.2f} CNY, and claims {plan.proof.bound:,.2f}", ANEW))
    return problems


def understood(plan: Plan, world: World, packs: Sequence[policy.Pack] | None = None) -> Read:
    """What a plan of a day says on a network.

    Raises:
        InputError: it is of another planner, or the network poses no program.
        ValueError: it names what is not there.
    """
    if plan.planner != PLANNER:
        raise InputError.of("plan", f"was made by the planner {plan.planner!r}, not by {PLANNER!r}", "give its plan")
    return _said(plan, posed(world, read(plan.question, plan.made_at_s), packs))


def check_chips(plan: Plan, world: World, packs: Sequence[policy.Pack] | None = None) -> list[Problem]:
    """Every reason not to believe a plan of chips; none where its day keeps all limits with just what it orders."""
    where = f"plan {plan.id}"
    try:
        at_s, offer = read_offer(plan.question)
        ask = read(plan.question, at_s)
        candidates = offered(ordered(world, ask, offer), ask, offer)
        asked, growth = growing(candidates, ask, offer, packs)
        more, problems = _ordered(plan, candidates, offer, asked)
        said = _said(plan, replace(asked, program=with_more(asked.program, more)))
        least = grown_bound(asked.loose, growth, said.prices)
    except KarezError as error:
        return [Problem(where, str(error), ANEW)]
    except (ValueError, OverflowError) as error:
        return [Problem(where, f"says what makes no sense: {error}", ANEW)]
    problems += [Problem(where, "orders more than may be added", ANEW)] if (more > growth.most).any() else []
    return [*problems, *_wrong(plan, said, float(growth.cny @ more), least)]


def _ordered(plan: Plan, candidates: Candidates, offer: Offer, asked: Posed) -> tuple[Array, list[Problem]]:
    """The chips that the plan orders, by pool, and what is wrong with its orders."""
    names = strings(asked.world["servers"].ids[asked.pools])
    place, more, problems = {name: at for at, name in enumerate(names)}, np.zeros(len(names)), list[Problem]()
    for action in plan.actions:
        name = action.adds[0].row if action.adds else ""
        chips = action.adds[0].values.get("chips") if action.adds else None
        whole = isinstance(chips, int) and chips > 0 and chips % offer.chips == 0
        if whole and name in place and name in candidates.rows:
            wanted = order_of(name, int(str(chips)), candidates.rows[name], offer, plan.made_at_s)
            if action == wanted:
                more[place[name]] += int(str(chips))
                continue
        problems.append(Problem(f"plan {plan.id}", "orders what may not be added", ANEW, (action.subject,)))
    return more, problems


def _said(plan: Plan, asked: Posed) -> Read:
    """What a plan says of a posed day.

    Raises:
        ValueError: it names what is not there.
    """
    columns = _columns(plan)
    jobs = {name: row for row, name in enumerate(strings(asked.world["jobs"].ids))}
    planned = {int(row): int(cls) for row, cls in zip(asked.jobs, asked.of, strict=True)}
    arms = _arms(asked)
    found = list[tuple[int, int, int, int]]()
    rows = list[int]()
    for job, number, server, start, mode in zip(*(columns[name] for name in COLUMNS), strict=True):
        row = jobs.get(str(job), -1)
        if row not in planned:
            raise ValueError(f"job {job} is not to be planned")
        cls = planned[row]
        arm = arms.get((int(asked.program.jobs.menu[cls]), str(server), str(mode)))
        if arm is None:
            raise ValueError(f"job {job} may not run on {server} in the mode {mode}")
        whole = float(start).is_integer() and float(number).is_integer()
        if not whole or not 0 <= float(start) < asked.ask.hours or not 1 <= float(number) <= MOST_JOBS:
            raise ValueError(f"job {job} begins at {start}, {number} times")
        found.append((cls, arm, int(start), int(number)))
        rows.append(row)
    chosen = Chosen(*np.array(found, np.int64).reshape(-1, 4).T)
    return Read(asked, chosen, np.array(rows, int), used(asked, columns))


def _columns(plan: Plan) -> Columns:
    found: Columns = {}
    for names in (COLUMNS, PRICES):
        lengths = set()
        for name in names:
            column = plan.proof.certificate.get(name)
            if not isinstance(column, tuple):
                raise ValueError(f"its certificate has no column {name}")
            found[name] = column
            lengths.add(len(column))
        if len(lengths) > 1:
            raise ValueError(f"columns {', '.join(names)} differ in length")
    return found


def _arms(asked: Posed) -> dict[tuple[int, str, str], int]:
    """The arm of each menu, servers and mode."""
    program, names = asked.program, strings(asked.world["servers"].ids)
    menu = np.repeat(np.arange(len(program.menus) - 1), np.diff(program.menus)).tolist()
    whole = program.arms[: int(program.menus[-1])]
    pool = asked.pools[whole["pool"]].tolist()
    split = whole["share"] < 1
    found = dict[tuple[int, str, str], int]()
    for arm, (where, at, mode, halves) in enumerate(zip(menu, pool, asked.mode.tolist(), split.tolist(), strict=True)):
        servers = names[at]
        if halves:
            servers = " ".join(names[server] for server, _ in legs_of(asked, arm, 2))
        found[where, servers, policy.MODES[mode]] = arm
    return found


def _too_many(said: Read, where: str) -> list[Problem]:
    """Jobs that run more often than there are."""
    count = np.zeros(len(said.posed.world["jobs"]))
    np.add.at(count, said.job, said.chosen.number)
    wrong = np.flatnonzero(count > said.posed.world["jobs"]["number"])
    names = strings(said.posed.world["jobs"].ids[wrong])
    return [Problem(where, "runs jobs more often than there are", ANEW, names)] if names else []


def _out_of_order(said: Read, where: str) -> list[Problem]:
    """Jobs that run although one that they wait for does not, or not all of it."""
    count = np.zeros(len(said.posed.world["jobs"]))
    np.add.at(count, said.job, said.chosen.number)
    all_of = count >= said.posed.world["jobs"]["number"]
    jobs = said.posed.jobs
    wrong = [
        row
        for row, before in zip(jobs.tolist(), said.posed.before, strict=True)
        if count[row] and not all(all_of[jobs[one]] for one in before)
    ]
    names = strings(said.posed.world["jobs"].ids[np.array(wrong, int)])
    return [Problem(where, "runs jobs before those that they wait for", ANEW, names)] if names else []
