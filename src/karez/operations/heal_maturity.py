"""How autonomous the network of a recorded run is, by scenario and task."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from karez.loop.recorded import again
from karez.measure.maturity import ALL, By, Done, Maturity, Task, dimension_of, maturity
from karez.operations import Answer, HealMaturityQuestion
from karez.operations.heal import Ground, ground
from karez.operations.networks import counted, provenance
from karez.operations.story import SHADOW, Course, Episode, Story, story
from karez.twin.facts import library

UNKNOWN = "unknown"
# What a person brings without a finding that the loop told of.
UNNOTICED = "not found by the loop"
# What nobody but people does, whatever the run: they say what is intended and judge it, and nothing is foreseen.
PEOPLE_ONLY: tuple[Task, ...] = ("A", "B", "F")


class Level(msgspec.Struct, frozen=True):
    """A scenario (a kind of finding): its level, the dimension that bounds it, and the level of each dimension."""

    scenario: str
    findings: int
    level: float
    bounded_by: str
    execution: float | None
    awareness: float | None
    analysis: float | None
    decision: float | None
    intent_experience: float | None


class TaskRow(msgspec.Struct, frozen=True):
    """A task in a scenario: how often the loop did it alone, with a person, and a person alone."""

    scenario: str
    task: str
    name: str
    dimension: str
    alone: int
    with_a_person: int
    person_alone: int
    system_share: float


class HealMaturityAnswer(Answer, frozen=True, kw_only=True):
    """The level of all scenarios together (None: nothing was found), of each, and who did which task."""

    level: float | None
    levels: tuple[Level, ...]
    tasks: tuple[TaskRow, ...]


def run(question: HealMaturityQuestion) -> HealMaturityAnswer:
    """The levels that a recorded run shows.

    Raises:
        InputError: there is no such record, or the network that it was made on is not there.
        KarezError: a turn comes out otherwise than the record says.
    """
    of = ground(question.record, question.network)
    whole = story(again(of.world, Path(question.record)), of.start_s)
    found = maturity(done(whole))
    return HealMaturityAnswer(
        headline=_headline(found, whole, of),
        citation=_citation(of),
        level=found[0].level if found else None,
        levels=tuple(_level(each, whole) for each in found),
        tasks=tuple(row for each in found for row in _tasks(each)),
    )


def done(whole: Story) -> Iterator[Done]:
    """Who did which task of fault management, for each finding and for each plan that a person brought unasked."""
    for episode in whole.episodes:
        for task, by in _of_episode(episode).items():
            yield Done(episode.kind, task, by)
    answered = {course.plan.id for episode in whole.episodes for course in episode.courses}
    for course in whole.courses.values():
        if course.is_brought and course.commands and course.plan.id not in answered:
            for task in (*PEOPLE_ONLY, "C", "D", "E", "G", "H", "I", "J"):
                yield Done(UNNOTICED, task, "person")
            yield Done(UNNOTICED, "K", _executed([course]))


def _of_episode(episode: Episode) -> dict[Task, By]:
    """Who did each task for one finding; what was never called for is left out."""
    is_known = episode.kind != UNKNOWN
    tasks: dict[Task, By] = dict.fromkeys(PEOPLE_ONLY, "person")
    tasks |= {"C": "system", "D": "system", "E": "system"}
    tasks |= {"G": "system" if is_known else "person", "H": _root_cause(episode) if is_known else "person"}
    own = [course for course in episode.courses if not course.is_brought]
    if episode.courses:
        tasks |= {"I": "system" if own else "person", "J": _chosen(episode.courses), "K": _executed(episode.courses)}
    return tasks


def _root_cause(episode: Episode) -> By:
    """Where the loop was sure enough to act on it, it alone found the cause; else a person has to look, too."""
    for course in episode.courses:
        sure = course.sure.get(episode.id, episode.at_best)
        if sure.confidence >= course.policy.confidence and sure.sources >= course.policy.sources:
            return "system"
    return "both"


def _chosen(courses: list[Course]) -> By:
    """Who chose what was done, or, where nothing was, who would have to."""
    acted = [course for course in courses if course.commands] or courses
    if any(course.is_brought for course in acted):
        return "person"
    alone = any(command.approved_by == "" for course in acted for _, command in course.commands)
    asked = any(word in SHADOW for course in acted for word in course.words)
    return "system" if alone and not asked else "both"


def _executed(courses: list[Course]) -> By:
    """Who did it: the loop, to the end that was seen; with a person where it was taken back; nobody but people else."""
    words = [word for course in courses if course.commands for word in course.words]
    if not words:
        return "person"
    return "system" if "verified" in words and not {"undone", "remedy"} & set(words) else "both"


def _level(each: Maturity, whole: Story) -> Level:
    findings = len([episode for episode in whole.episodes if each.scenario in (ALL, episode.kind)])
    return Level(
        scenario=each.scenario,
        findings=findings,
        level=each.level,
        bounded_by=each.least,
        **{name: each.dimensions.get(name) for name in Level.__struct_fields__[4:]},
    )


def _tasks(each: Maturity) -> Iterator[TaskRow]:
    names = {row["task"]: row["name"] for row in library("autonomy_tasks")}
    for task, count in each.tasks.items():
        row = (each.scenario, task, names[task], dimension_of()[task])
        yield TaskRow(*row, count.system, count.both, count.person, count.share)


def _headline(found: tuple[Maturity, ...], whole: Story, of: Ground) -> str:
    note = " (synthetic network)" if of.revision.synthetic else ""
    if not found:
        return f"Nothing was found in {counted(whole.turns, 'turn')}: they show no level{note}"
    least = found[0].least.replace("_", " and ")
    findings = counted(len(whole.episodes), "finding")
    return f"Level {found[0].level:.1f} of L0 to L5 over {findings}, bounded by {least}{note}"


def _citation(of: Ground) -> str:
    record = f"record of {counted(of.events, 'event')} ending in {of.last_hash[:12]}, decided again"
    how = (
        "levels after TM Forum (confidence M), tasks after 3GPP TS 28.100 7.3, fractions linear between levels; "
        "faults that nobody found are in no record"
    )
    return f"{how}; {record}; {provenance(of.revision)}"
