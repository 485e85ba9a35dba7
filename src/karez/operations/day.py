"""What operations on a day of jobs share: a plan read and understood, and words for places."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from karez.errors import InputError
from karez.operations.networks import load_living, now_s, read_plan
from karez.operations.policy import moment_s, packs_of
from karez.plan.day.certificate import Read, understood
from karez.plan.day.decide import PLANNER, Day, Placed
from karez.plan.plan import Plan
from karez.twin import World
from karez.twin.store import Revision
from karez.twin.table import text


class Planned(NamedTuple):
    """A plan of a day, what it says on its network, and the revision of that."""

    plan: Plan
    said: Read
    revision: Revision

    @property
    def day(self) -> Day:
        """The day as it was decided, as far as the plan tells."""
        said, proof = self.said, self.plan.proof
        placed = Placed(said.job, said.chosen.arm, said.chosen.start, said.chosen.number)
        return Day(said.posed, placed, proof.value, proof.bound, is_least=False, prices=said.prices, rungs=())

    @property
    def aside(self) -> str:
        """What every headline says in brackets of a synthetic network."""
        return " (synthetic)" if self.revision.synthetic else ""


def planned(plan: str, network: str, packs: str) -> Planned:
    """A plan of a day on its network.

    Raises:
        InputError: the plan or network cannot be read, or the plan is of another planner or another network.
    """
    found = read_plan(plan)
    if found.planner != PLANNER:
        raise InputError.of(plan, f"is a plan of {found.planner}, not of a day", "name a file that karez place wrote")
    world, revision = load_living(network)
    try:
        said = understood(found, world, packs_of(packs))
    except ValueError as error:
        raise InputError.of(plan, f"does not fit the network: {error}", "place its jobs anew") from error
    return Planned(found, said, revision)


def metro_of(world: World, server: int) -> str:
    """The name of the metropolis that a server (row) stands in."""
    twin = world.intended
    return site_metro(world, int(twin.resolve("servers", "site")[server]))


def site_metro(world: World, site: int) -> str:
    """The name of the metropolis of a site (row)."""
    metro = int(world.intended.resolve("sites", "metro")[site]) if site >= 0 else -1
    if metro < 0:
        return ""
    return text(world["metros"]["name"][metro]) or text(world["metros"].ids[metro])


def require_jobs(world: World) -> None:
    """Return only if there is a job.

    Raises:
        InputError: there is none.
    """
    if not len(world["jobs"]):
        raise InputError.of("jobs", "the network has no job to place", "add some to the table jobs")


def begins_s(world: World, at: str) -> float:
    """The moment given, or that at which the first job may begin, or now where jobs may begin at any time."""
    if at:
        return moment_s(at)
    jobs = world["jobs"]
    opens = jobs["opens_at_s"]
    told = opens[np.isfinite(opens) & ~np.isin(jobs.ids, world["assignments"].ids)]
    return float(told.min()) if len(told) else now_s()


def cpu_clock() -> Callable[[], float]:
    """CPU seconds from now on."""
    begun_s = time.process_time()
    return lambda: time.process_time() - begun_s
