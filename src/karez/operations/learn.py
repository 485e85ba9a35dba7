"""How fast jobs turned out to be, learned from a list of those that are finished."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from karez.errors import InputError, Problem
from karez.importers import moments
from karez.measure import speeds
from karez.operations import Answer, LearnQuestion
from karez.operations.networks import counted, given_rows, load, now_s, provenance
from karez.plan.day.pose import usual_hours
from karez.plan.day.rules import speeds_of
from karez.twin import Table, Twin, World, store
from karez.twin.table import Array, resolve, strings, texts

COLUMNS = ("job", "server", "hours", "finished_at")
NOT_THERE, ONLINE = "of jobs or servers that are not in the network", "online"
UNKNOWN, LEARNED = "of no hours or on chips without figures", "ended no later than the last that was learned there"
# Hours that a job may have taken.
LEAST_H, MOST_H = 0.001, 1_000_000.0


class LearnedSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """A work on a chip: jobs that were learned from now and in all, and how many times as fast as estimated it is.

    `told` is the chip that hours are told for.
    """

    kind: str
    model: str
    told: str
    chip: str
    jobs: int
    jobs_in_all: int
    times_before: float
    times: float


class LearnAnswer(Answer, frozen=True, kw_only=True):
    """What was learned; how far off estimates were, and what was believed before each job, at the median.

    How far off is the longer of the hours and of what was expected, over the shorter, less one.
    `left_out` says what nothing was learned from; the revision is 0 where none was written.
    """

    jobs: int
    off_by_estimate_share: float
    off_as_believed_share: float
    speeds: tuple[LearnedSpeed, ...]
    left_out: tuple[str, ...]
    revision: int


class _Finished(NamedTuple):
    """Finished jobs in the order of their end: rows of jobs and of servers, hours that each took, its end (Unix, s).

    A row is -1 where the network has no such job or server.
    """

    job: Array
    server: Array
    hours: Array
    at_s: Array


def run(question: LearnQuestion) -> LearnAnswer:
    """The network's newest revision with what finished jobs teach, as a new one.

    Raises:
        InputError: the network or the file cannot be read, or rows of it say what cannot be.
    """
    world, revision = load(question.network)
    at_s, before, file = now_s(), world[speeds.TABLE], Path(question.finished).name
    events, left_out = _events(world, _finished(question.finished, world.intended, file, at_s), before)
    after, outputs = speeds.FOLD.step(before, events, at_s)
    learned, number = _speeds(before, after, events), 0
    if learned and not question.dry_run:
        number = store.save(
            world.intended.replace(after),
            Path(question.network),
            at_s=at_s,
            note=f"learn {file}",
            source=revision.source,
            synthetic=revision.synthetic,
        ).number
    by_estimate, as_believed = _off(np.log(events["times"])), _off(outputs["off"])
    kept = f"kept as revision {number}" if number else "nothing written"
    return LearnAnswer(
        headline=f"{_headline(learned, by_estimate, as_believed)}; {kept}"
        f"{' (synthetic network)' if revision.synthetic else ''}",
        citation=provenance(revision),
        jobs=len(events["at_s"]),
        off_by_estimate_share=by_estimate,
        off_as_believed_share=as_believed,
        speeds=learned,
        left_out=left_out,
        revision=number,
    )


def _headline(learned: tuple[LearnedSpeed, ...], by_estimate: float, as_believed: float) -> str:
    if not learned:
        return "Nothing learned"
    most = max(learned, key=lambda one: abs(np.log(one.times)))
    number = counted(sum(one.jobs for one in learned), "finished job")
    how = f"{most.times:.2f} times as fast as estimated"
    return (
        f"Learned from {number}: {most.model} ({most.kind}) runs {how} on {most.chip}; hours were off by "
        f"{100 * by_estimate:.0f} % from estimates, by {100 * as_believed:.0f} % from what was believed before each job"
    )


def _off(logs: Array) -> float:
    """How far off the hours of half of the jobs were at most, as a share."""
    return float(np.median(np.expm1(np.abs(logs)))) if len(logs) else 0.0


def _finished(path: str, twin: Twin, file: str, latest_s: float) -> _Finished:
    """The jobs of a file that have ended by `latest_s` (Unix time).

    Raises:
        InputError: it cannot be read, lacks columns, or rows say what cannot be.
    """
    rows, problems = given_rows(path), list[Problem]()
    columns = set(rows[0][1]) if rows else set()
    if rows and (missing := [name for name in COLUMNS if name not in columns]):
        fix = f"name the columns {', '.join(COLUMNS)} in the first line"
        raise InputError.of(file, f"has no column {', '.join(missing)}", fix)
    found = list[tuple[str, str, float, float]]()
    for label, row in rows:
        cells = {name: (row[name] or "").strip() for name in COLUMNS}
        try:
            found.append((cells["job"], cells["server"], *_read(cells, latest_s)))
        except ValueError as error:
            what, fix = error.args
            problems.append(Problem(f"{file}, {label}", what, fix))
    if problems:
        raise InputError(problems)
    found.sort(key=lambda one: one[3])
    job, server, hours, at_s = zip(*found, strict=True) if found else ((),) * 4
    jobs, servers = (
        resolve(texts(names), (twin[table].columns["id"],)) for table, names in (("jobs", job), ("servers", server))
    )
    return _Finished(jobs, servers, np.array(hours, float), np.array(at_s, float))


def _read(cells: dict[str, str], latest_s: float) -> tuple[float, float]:
    """Of a row of the file how many hours the job took, and its end (Unix time, s).

    Raises:
        ValueError: what is wrong, and what to do.
    """
    try:
        hours = float(cells["hours"])
    except ValueError:
        hours = np.nan
    if not LEAST_H <= hours <= MOST_H:
        raise ValueError(f"hours are {cells['hours']!r}", f"write a number from {LEAST_H} to {MOST_H:.0f}")
    try:
        at_s = moments.moment_s(cells["finished_at"])
    except ValueError as error:
        raise ValueError(f"finished_at is {cells['finished_at']!r}, {error}", moments.FIX) from error
    if at_s > latest_s:
        raise ValueError(f"finished_at is {cells['finished_at']!r}, which is still to come", moments.FIX)
    return hours, at_s


def _events(world: World, finished: _Finished, known: Table) -> tuple[dict[str, Array], tuple[str, ...]]:
    """What is learned from, as events of the fold, and what is left out."""
    there = (finished.job >= 0) & (finished.server >= 0)
    left_out = [f"{counted(int((~there).sum()), 'job')} {NOT_THERE}"] * (not there.all())
    finished = _Finished(*(column[there] for column in finished))
    twin, (job, server, hours, at_s) = world.intended, finished
    table, servers = twin["jobs"], twin["servers"]
    speed = speeds_of(twin, job, twin.resolve("servers", "chip")[server])
    expected_h = np.divide(usual_hours(twin, job), speed, out=np.zeros(len(job)), where=speed > 0)
    events = {
        "at_s": at_s,
        "kind": table["kind"][job],
        "model": table["model"][job],
        "told": table["chip"][job],
        "chip": servers["chip"][server],
        "times": expected_h / hours,
    }
    last_s = dict(zip(known.ids.tolist(), known["until_s"].tolist(), strict=True))
    learned_s = np.array([last_s.get(one, -np.inf) for one in speeds.ids_of(events).tolist()])
    reasons = {
        # Hours say nothing of the speed of work that runs from one hour to another, whatever there is to do.
        ONLINE: events["kind"] == b"online",
        UNKNOWN: expected_h <= 0,
        LEARNED: at_s <= learned_s,
    }
    good = np.ones(len(job), bool)
    for reason, rows in reasons.items():
        if number := int((rows & good).sum()):
            left_out.append(f"{counted(number, 'job')} {reason}")
        good &= ~rows
    return {name: column[good] for name, column in events.items()}, tuple(left_out)


def _speeds(before: Table, after: Table, events: dict[str, Array]) -> tuple[LearnedSpeed, ...]:
    """What is believed of the works on chips that were learned about."""
    number = Counter(strings(speeds.ids_of(events)))
    was = dict(zip(strings(before.ids), speeds.believed(before).tolist(), strict=True))
    now = dict(zip(strings(after.ids), speeds.believed(after).tolist(), strict=True))
    rows = after.records(after.rows(list(number)))
    return tuple(
        LearnedSpeed(
            kind=str(row["kind"]),
            model=str(row["model"]),
            told=str(row["told"]),
            chip=str(row["chip"]),
            jobs=number[str(row["id"])],
            jobs_in_all=int(row["jobs"]),
            times_before=was.get(str(row["id"]), 1.0),
            times=now[str(row["id"])],
        )
        for row in rows
    )
