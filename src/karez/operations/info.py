"""What a network holds."""

from __future__ import annotations

from pathlib import Path

import msgspec

from karez.operations import Answer, InfoQuestion
from karez.operations.networks import counted, load, provenance
from karez.twin import store
from karez.twin.check import check


class TableInfo(msgspec.Struct, frozen=True):
    """A table: its rows and the name of its content."""

    table: str
    rows: int
    digest: str


class RevisionInfo(msgspec.Struct, frozen=True):
    """A revision that the folder holds."""

    number: int
    note: str
    source: str
    synthetic: bool
    digest: str


class InfoAnswer(Answer, frozen=True, kw_only=True):
    """Tables, revisions, and every problem in the data."""

    digest: str
    tables: tuple[TableInfo, ...]
    revisions: tuple[RevisionInfo, ...]
    problems: tuple[str, ...]


def run(question: InfoQuestion) -> InfoAnswer:
    """What one revision of a network holds.

    Raises:
        InputError: there is no such network or revision, or its files are damaged.
    """
    world, revision = load(question.network, question.revision)
    twin = world.intended
    problems = tuple(str(problem) for problem in check(twin))
    tables = tuple(TableInfo(t.name, len(t), t.digest.hex()[:12]) for t in twin.tables.values() if len(t))
    held = ", ".join(counted(len(twin[f"{thing}s"]), thing) for thing in ("station", "site", "link"))
    note = " (synthetic)" if revision.synthetic else ""
    return InfoAnswer(
        headline=f"{held}{note}; {counted(len(problems), 'problem') if problems else 'no problems'}",
        citation=provenance(revision),
        digest=twin.digest,
        tables=tables,
        revisions=tuple(
            RevisionInfo(r.number, r.note, r.source, r.synthetic, r.digest[:12])
            for r in store.revisions(Path(question.network))
        ),
        problems=problems,
    )
