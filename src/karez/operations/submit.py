"""Jobs added to a network, out of tasks in YAML."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from karez.errors import InputError, Problem
from karez.importers import tasks
from karez.importers.report import document
from karez.operations import Answer, SubmitQuestion
from karez.operations.networks import counted, load, now_s, provenance
from karez.plan.day.pose import senseless
from karez.twin import Twin, store
from karez.twin.check import check_rows
from karez.twin.schema import column


class SubmittedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was added; `chips` of `chip` are what each of `number` asks for."""

    job: str
    kind: str
    number: int
    chips: int
    chip: str
    model: str
    metro: str
    after: str


class SubmitAnswer(Answer, frozen=True, kw_only=True):
    """The jobs that were added, the words of their tasks that say how they run, and the revision (0: none written)."""

    jobs: tuple[SubmittedJob, ...]
    left_alone: tuple[str, ...]
    revision: int


def run(question: SubmitQuestion) -> SubmitAnswer:
    """The network's newest revision with the jobs of a file added, as a new one.

    Raises:
        InputError: the network or the file cannot be read, a task makes no sense on that network, or is there already.
    """
    world, revision = load(question.network)
    twin, path = world.intended, Path(question.tasks)
    try:
        data = document(path).decode()
    except UnicodeDecodeError as error:
        raise InputError.of(path.name, "is no text in UTF-8", "give a file of tasks in YAML") from error
    found = tasks.read(data, twin, path.name)
    grown = _with_jobs(twin, found, path.name)
    if not question.dry_run:
        note, source = f"submit {path.name}", revision.source
        revision = store.save(
            grown, Path(question.network), at_s=now_s(), note=note, source=source, synthetic=revision.synthetic
        )
    jobs = tuple(_said(row) for row in found.rows)
    number = sum(one.number for one in jobs)
    done = "would be submitted" if question.dry_run else "submitted"
    kept = "nothing written (dry run)" if question.dry_run else f"kept as revision {revision.number}"
    of_what = " (synthetic network)" if revision.synthetic else ""
    return SubmitAnswer(
        headline=f"{counted(number, 'job')} in {counted(len(jobs), 'task')} {done}; {kept}{of_what}",
        citation=provenance(revision),
        jobs=jobs,
        left_alone=found.left_alone,
        revision=0 if question.dry_run else revision.number,
    )


def _with_jobs(twin: Twin, found: tasks.Tasks, file: str) -> Twin:
    """The twin with these jobs more.

    Raises:
        InputError: jobs are there already or twice, wait for nobody, or have values that no job may have.
    """
    ids = [str(row["id"]) for row in found.rows]
    there = [one for one in dict.fromkeys(ids) if twin["jobs"].has(one)]
    twice = [one for one, times in Counter(ids).items() if times > 1]
    waits = {one for row in found.rows for one in str(row.get("after", "")).split()}
    nobody = sorted(one for one in waits if one not in ids and not twin["jobs"].has(one))
    cases = (
        (there, "jobs of these names are there already", "give the tasks other names"),
        (twice, "several tasks have the same name", "give each one a name of its own"),
        (nobody, "tasks wait for jobs that are not there", "correct the names under after"),
    )
    problems = [Problem(file, what, fix, tuple(rows)) for rows, what, fix in cases if rows]
    if problems:
        raise InputError(problems)
    names = list(dict.fromkeys(name for row in found.rows for name in row))
    columns = {name: [row.get(name, column("jobs", name).absent) for row in found.rows] for name in names}
    grown = twin.replace(twin["jobs"].add(columns))
    wrong = check_rows(grown, "jobs", grown["jobs"].rows(ids)) or senseless(grown)
    if wrong:
        raise InputError([msgspec.structs.replace(one, where=f"{file}, {one.where}") for one in wrong])
    return grown


def _said(row: tasks.Row) -> SubmittedJob:
    return SubmittedJob(
        job=str(row["id"]),
        kind=str(row["kind"]),
        number=int(row.get("number", 1)),
        chips=int(row["chips"]),
        chip=str(row["chip"]),
        model=str(row.get("model", "")),
        metro=str(row.get("metro", "")),
        after=str(row.get("after", "")),
    )
