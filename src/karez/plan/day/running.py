"""Jobs that run already, where they may go on elsewhere: how long they last, and what they take along.

Training and batches may: one that is a row of its own, waits for no other and is waited for by none, on all the chips
that it is told to take. It goes on where it is, or elsewhere so that it ends no later than there, or is stopped for the
day. Training that moves first writes what it has done, takes that along over the links, and reads it back.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from karez.measure.chips import constants
from karez.measure.health import kept_gb
from karez.plan.day.ask import Ask
from karez.plan.day.hours import ROUNDING_H, Windows, chained
from karez.plan.day.rules import believed_speeds, parameters_of
from karez.plan.placing.program import NONE
from karez.twin import World
from karez.twin.table import Array
from karez.units import S_PER_H

# What should have been done already has so much left, and nothing more than it takes (h).
LEAST_H = 1.0


class Running(NamedTuple):
    """Of each job (row): the server (row) that it runs on and may leave (NONE: none), and hours since it began.

    `speed` is that of the chips there against those that its hours are told for, `kept_gb` what training takes along
    when it moves.
    """

    server: Array
    since_h: Array
    speed: Array
    kept_gb: Array

    @property
    def rows(self) -> Array:
        """The jobs that run and may be moved."""
        return np.flatnonzero(self.server >= 0)

    def left(self, takes_h: Array) -> Array:
        """Hours that are left of each job, on the chips that `takes_h` are told for."""
        left = np.maximum(takes_h - self.since_h * self.speed, np.minimum(takes_h, LEAST_H))
        return np.asarray(np.where(self.server >= 0, left, takes_h))


def running(world: World, ask: Ask, held: Array) -> Running:
    """The jobs that run and may move, where the question lets any; those `held` (rows) may not."""
    twin, jobs = world.intended, world["jobs"]
    found = Running(np.full(len(jobs), NONE), np.zeros(len(jobs)), np.ones(len(jobs)), np.zeros(len(jobs)))
    if not ask.moves:
        return found
    given = twin["assignments"]
    job, server = given.columns["id"].resolve((jobs.columns["id"],)), twin.resolve("assignments", "server")
    may = (job >= 0) & (server >= 0) & ~np.isin(job, held)
    of = job[may]
    alone = (jobs["number"][of] == 1) & (jobs["kind"][of] != b"online") & ~chained(twin)[of]
    may[may] = alone & (given["chips"][may] >= jobs["chips"][of])
    rows, at = job[may], server[may]
    found.server[rows] = at
    since_h = (ask.at_s - given["since_s"][may]) / S_PER_H
    found.since_h[rows] = np.maximum(np.where(np.isfinite(since_h), since_h, 0.0), 0.0)
    speed = believed_speeds(world, rows, twin.resolve("servers", "chip")[at])
    found.speed[rows] = np.where(speed > 0, speed, 1.0)
    # A batch goes on from its data and the weights.
    training = jobs["kind"][rows] == b"training"
    found.kept_gb[rows] = np.where(training, kept_gb(parameters_of(twin, rows)), 0.0)
    return found


def goes_on(own: Windows, found: Running, lasts_h: Array, hours: int) -> Windows:
    """The windows of jobs: those that run begin in the first hour, and end when they would where they are."""
    mine = found.server >= 0
    until = np.minimum(np.ceil(lasts_h - ROUNDING_H), hours).astype(int)
    return Windows(np.where(mine, 0, own.opens), np.where(mine, np.maximum(until, 1), own.closes))


def moving_cny(along_gb: Array, cny_per_chip_h: Array) -> tuple[Array, Array]:
    """What a move costs besides what goes over links: for the job, and for each of its chips (CNY).

    Chips write what is kept, read it back as fast, and are lost for as long as a restart takes.
    """
    known = constants()
    copying_h = 2.0 * along_gb / known["checkpoint_gb_per_s_chip"] / S_PER_H
    return copying_h * cny_per_chip_h, np.where(along_gb > 0, known["restart_h"], 0.0) * cny_per_chip_h
