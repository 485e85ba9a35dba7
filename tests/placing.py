"""Small placing programs with everything in them, and what is best in them by the whole integer program."""

from __future__ import annotations

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from karez.plan.placing import check
from karez.plan.placing.program import NONE, Chosen, Growth, Jobs, Limits, Pools, Program, Routes, arms_of
from karez.twin.table import Array


def drawn(random: np.random.Generator) -> Program:
    """A program of a few jobs: gangs, elastic ones with loads, several legs, quotas, routes, and prices below zero."""
    hours, sites, pools, links, quotas = int(random.integers(3, 9)), 2, int(random.integers(2, 5)), 2, 2
    site = random.integers(0, sites, pools).astype(np.int32)
    chips = np.repeat(random.integers(0, 9, pools)[:, None], hours, axis=1)
    chips = np.maximum(chips - random.integers(0, 3, chips.shape) * (random.random(chips.shape) < 0.2), 0)
    money = random.uniform(0.2, 3.0, (pools, hours)) - 1.5 * (random.random((pools, hours)) < 0.1)
    ways = [random.permutation(links)[: random.integers(0, links + 1)].tolist() for _ in range(2 * sites)]
    routes = Routes(
        np.where(random.random(2 * sites) < 0.8, np.tile(np.arange(sites), 2), NONE).astype(np.int32),
        np.concatenate([[0], np.cumsum([len(way) for way in ways])]),
        np.array([link for way in ways for link in way], np.int32),
    )
    limits = Limits(
        random.uniform(0.0, 6.0, (sites, hours)),
        random.uniform(0.5, 8.0, (sites, hours)),
        random.uniform(0.5, 8.0, (links, hours)),
        random.integers(0, 25, quotas).astype(float),
    )
    size = random.integers(0, 4, int(random.integers(1, 4)))
    menus = np.concatenate([[0], np.cumsum(size)])
    first = int(menus[-1])
    further = int(random.integers(0, 3)) if first else 0
    arms = arms_of(
        random.integers(0, pools, first + further),
        speed=random.choice([0.5, 1.0, 1.7, 3.0], first + further),
        share=np.where(random.random(first + further) < 0.7, 1.0, 0.5),
        route=np.where(random.random(first + further) < 0.8, random.integers(0, 2 * sites, first + further), NONE),
        gb_share=random.choice([0.0, 0.5, 1.0], first + further),
        gb_per_chip_h=random.choice([0.0, 0.1], first + further),
        cny=random.choice([0.0, 2.0], first + further),
        cny_per_gb=random.uniform(0, 0.2, first + further),
        cny_per_chip=random.choice([0.0, 0.3], first + further),
    )
    # A further leg belongs to one arm.
    for leg in range(first, first + further):
        arm = int(random.integers(0, first))
        arms["then"][leg], arms["then"][arm] = arms["then"][arm], leg
    number = int(random.integers(1, 7))
    elastic = random.random(number) < 0.4
    opens = random.integers(0, hours - 1, number)
    closes = np.minimum(opens + random.integers(1, hours + 1, number), hours)
    jobs = Jobs(
        number=random.integers(1, 4, number).astype(np.int32),
        unserved_cny=random.uniform(1.0, 60.0, number),
        opens=opens.astype(np.int16),
        closes=closes.astype(np.int16),
        menu=random.integers(0, len(size), number).astype(np.int32),
        elastic=elastic,
        chips=np.where(elastic, random.uniform(0.3, 5.0, number), random.integers(1, 6, number)).astype(float),
        hours=np.where(elastic, 0.0, random.uniform(0.5, 4.0, number)),
        gb=random.uniform(0.0, 8.0, number),
        load=np.where(elastic & (random.random(number) < 0.6), random.integers(0, 2, number), NONE).astype(np.int32),
        quota=np.where(random.random(number) < 0.4, random.integers(0, quotas, number), NONE).astype(np.int32),
    )
    loads = random.choice([0.2, 0.5, 1.0], (2, hours))
    return Program(Pools(site, random.uniform(0.2, 1.0, pools), chips, money), limits, routes, jobs, menus, arms, loads)


def options_of(program: Program) -> list[tuple[int, int, int]]:
    """Every option: job, arm, first hour; those that are too large for a pool are among them."""
    jobs, found = program.jobs, []
    for job in range(len(jobs.number)):
        for arm in range(int(program.menus[jobs.menu[job]]), int(program.menus[jobs.menu[job] + 1])):
            hours, _ = check.hours_and_chips(program, job, arm)
            found += [(job, arm, start) for start in range(int(jobs.opens[job]), int(jobs.closes[job]) - hours + 1)]
    return found


def best_by_highs(program: Program, growth: Growth | None = None, machine: int = 1, *, whole: bool = True) -> float:
    """The least that a plan can cost, by the integer program of all options (CNY); parts of all where not `whole`.

    Pools may grow by machines of so many chips.
    """
    jobs, columns, cost, taken = program.jobs, list[Array](), list[float](), list[int]()
    most_chips = program.pools.chips.max(axis=1) + (0.0 if growth is None else growth.most)
    for job, arm, start in options_of(program):
        used = check.Using(program)
        cny = used.add(job, arm, start, 1.0)
        # What is too large for a pool is no option, in parts neither.
        if (used.of.chips.max(axis=1) <= most_chips).all():
            cost.append(cny - float(jobs.unserved_cny[job]))
            columns.append(np.concatenate([each.ravel() for each in used.of]))
            taken.append(job)
    if not columns:
        return program.unserved_cny
    of = np.array(taken)
    limits = (program.pools.chips, *program.limits)
    upper = np.concatenate([limit.ravel() for limit in limits] + [jobs.number]).astype(float)
    matrix = np.concatenate([np.stack(columns, axis=1), of == np.arange(len(jobs.number))[:, None]])
    most = jobs.number[of].astype(float)
    if growth is not None:
        pools, hours = program.pools.chips.shape
        room = np.zeros((len(upper), pools))
        room[np.arange(pools * hours), np.repeat(np.arange(pools), hours)] = -machine
        matrix = np.concatenate([matrix, room], axis=1)
        cost += (machine * growth.cny).tolist()
        most = np.concatenate([most, np.floor(growth.most / machine)])
    found = milp(
        np.array(cost),
        constraints=LinearConstraint(matrix, -np.inf, upper),
        bounds=Bounds(0, most),
        integrality=np.full(len(cost), int(whole)),
        options={"mip_rel_gap": 0.0},
    )
    assert found.success, found.message
    return program.unserved_cny + float(found.fun)


def nobody() -> Chosen:
    """No option taken."""
    return Chosen(*(np.zeros(0, np.int64) for _ in range(4)))
