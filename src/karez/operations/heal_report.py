"""The shadow report: what the loop did or would have done, when, how sure it was, and who turned out right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from karez.errors import InputError
from karez.loop.recorded import again
from karez.operations import Answer, HealReportQuestion
from karez.operations.heal import Ground, acts_of, ground
from karez.operations.networks import counted, provenance
from karez.operations.story import SHADOW, Course, Episode, Story, median, story

# What became of a finding, and so who was right: see `RIGHT`.
Outcome = Literal["mended", "undone", "same by others", "otherwise", "stayed", "went by itself", "acted, and stayed"]
RIGHT: dict[Outcome, str] = {
    "mended": "the loop: its act was seen to help",
    "undone": "not the loop: its act was taken back",
    "same by others": "the loop: somebody did the same",
    "otherwise": "open: a person did something else",
    "stayed": "whoever would have acted: it stayed",
    "went by itself": "whoever waited: it went without an act",
    "acted, and stayed": "open: the act was not seen to help",
}
NO_ACT = "nothing"


class Row(msgspec.Struct, frozen=True):
    """A finding: when it opened (s after the start), how sure, what the loop did or would have done, and the outcome.

    `decided_s` is when it first said so, and `asked` how often; `lasted_s` is how long the finding was open.
    """

    kind: str
    subject: str
    found_s: float
    confidence_share: float
    sources: int
    felt: bool
    act: str
    word: str
    decided_s: float | None
    asked: int
    why: str
    lasted_s: float
    outcome: Outcome


class ByKind(msgspec.Struct, frozen=True):
    """Findings of a kind, what the loop did or would have done, how they ended, and their median length (s)."""

    kind: str
    found: int
    did: int
    would: int
    no_act: int
    mended: int
    undone: int
    same_by_others: int
    otherwise: int
    stayed: int
    went: int
    lasted_median_s: float | None


class Meaning(msgspec.Struct, frozen=True):
    """An outcome, how often it came to that, and who was right then."""

    outcome: Outcome
    findings: int
    who_was_right: str


class HealReportAnswer(Answer, frozen=True, kw_only=True):
    """Every finding of the run with its outcome, and counts by outcome and by kind."""

    levels: tuple[str, ...]
    turns: int
    lasted_s: float
    outcomes: tuple[Meaning, ...]
    kinds: tuple[ByKind, ...]
    findings: tuple[Row, ...]


def run(question: HealReportQuestion) -> HealReportAnswer:
    """What the loop did or would have done in a recorded run, and how it turned out.

    Raises:
        InputError: there is no such record or kind, or the network that it was made on is not there.
        KarezError: a turn comes out otherwise than the record says.
    """
    of = ground(question.record, question.network)
    whole = story(again(of.world, Path(question.record)), of.start_s)
    rows = tuple(row_of(episode, whole) for episode in whole.episodes)
    if question.kind and question.kind not in {row.kind for row in rows}:
        kinds = ", ".join(sorted({row.kind for row in rows}))
        fix = f"give one of {kinds}" if kinds else "nothing was found in this run"
        raise InputError.of("kind", f"no finding is of kind {question.kind!r}", fix)
    shown = tuple(row for row in rows if question.kind in ("", row.kind))
    return HealReportAnswer(
        headline=_headline(shown, whole, of),
        citation=_citation(of),
        levels=tuple(whole.levels),
        turns=whole.turns,
        lasted_s=whole.end_s - whole.start_s,
        outcomes=tuple(_meanings(shown)),
        kinds=tuple(_by_kind(kind, shown) for kind in sorted({row.kind for row in shown})),
        findings=shown,
    )


def row_of(episode: Episode, whole: Story) -> Row:
    """What the loop made of one finding, and how it turned out."""
    own = [course for course in episode.courses if not course.is_brought]
    first = next((course for course in own if _serious(course)), own[0] if own else None)
    sure = first.sure.get(episode.id, episode.at_first) if first else episode.at_best
    said = first.said[0] if first and first.said else None
    return Row(
        kind=episode.kind,
        subject=episode.subject,
        found_s=episode.opened_s - whole.start_s,
        confidence_share=sure.confidence,
        sources=sure.sources,
        felt=sure.felt,
        act=acts_of(first.plan.actions) if first else NO_ACT,
        word=said.verdict.verdict if said else "",
        decided_s=first.made_s - whole.start_s if first else None,
        asked=len(own),
        why=said.verdict.why if said else "",
        lasted_s=episode.lasted_s(whole.end_s),
        outcome=outcome_of(episode, whole),
    )


def outcome_of(episode: Episode, whole: Story) -> Outcome:
    """How a finding turned out; the order is that of what says most."""
    own = [course for course in episode.courses if not course.is_brought]
    done = [course for course in own if course.commands]
    if any(word in ("undone", "remedy") for course in done for word in course.words):
        return "undone"
    if any(course.verified for course in done):
        return "mended"
    if done:
        return "acted, and stayed"
    until_s = whole.end_s if episode.closed_s is None else episode.closed_s
    if any(course.seen_s is not None and course.seen_s <= until_s for course in own):
        return "same by others"
    if _otherwise(episode, whole, until_s):
        return "otherwise"
    return "stayed" if episode.closed_s is None else "went by itself"


def _otherwise(episode: Episode, whole: Story, until_s: float) -> bool:
    """Whether a person brought a plan about the same thing while it was open, and it was carried out."""
    for course in whole.courses.values():
        if not course.is_brought or not course.commands or not episode.opened_s <= course.made_s <= until_s:
            continue
        touched = {row for action in course.plan.actions for _, row in action.touched}
        if episode.id in course.plan.because or episode.subject in touched:
            return True
    return False


def _serious(course: Course) -> bool:
    return bool(course.commands) or any(word in SHADOW for word in course.words)


def _meanings(rows: Sequence[Row]) -> list[Meaning]:
    counts = {outcome: sum(row.outcome == outcome for row in rows) for outcome in RIGHT}
    return [Meaning(outcome, count, RIGHT[outcome]) for outcome, count in counts.items() if count]


def _by_kind(kind: str, rows: Sequence[Row]) -> ByKind:
    mine = [row for row in rows if row.kind == kind]

    def count(holds: Callable[[Row], bool]) -> int:
        return sum(map(holds, mine))

    return ByKind(
        kind=kind,
        found=len(mine),
        did=count(lambda row: row.word == "commanded"),
        would=count(lambda row: row.word in SHADOW),
        no_act=count(lambda row: row.act == NO_ACT),
        mended=count(lambda row: row.outcome == "mended"),
        undone=count(lambda row: row.outcome == "undone"),
        same_by_others=count(lambda row: row.outcome == "same by others"),
        otherwise=count(lambda row: row.outcome == "otherwise"),
        stayed=count(lambda row: row.outcome in ("stayed", "acted, and stayed")),
        went=count(lambda row: row.outcome == "went by itself"),
        lasted_median_s=median(row.lasted_s for row in mine),
    )


def _headline(rows: Sequence[Row], whole: Story, of: Ground) -> str:
    note = " (synthetic network)" if of.revision.synthetic else ""
    time = f"in {whole.end_s - whole.start_s:,.0f} s at level {' and '.join(whole.levels) or 'none'}"
    if not rows:
        return f"Nothing was found {time}{note}"
    did = sum(row.word == "commanded" for row in rows)
    would = sum(row.word in SHADOW for row in rows)
    outcomes = ", ".join(f"{each.findings} {each.outcome}" for each in _meanings(rows))
    acted = f"the loop acted on {did} and would have acted on {would}"
    return f"{counted(len(rows), 'finding')} {time}: {acted}; {outcomes}{note}"


def _citation(of: Ground) -> str:
    record = f"record of {counted(of.events, 'event')} ending in {of.last_hash[:12]}, decided again"
    return f"{record}; {provenance(of.revision)}"
