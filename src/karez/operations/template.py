"""Empty tables to fill in."""

from __future__ import annotations

from pathlib import Path

import karez
from karez.importers import tables
from karez.operations import Answer, TemplateQuestion


class TemplateAnswer(Answer, frozen=True, kw_only=True):
    """The files written."""

    files: tuple[str, ...]


def run(question: TemplateQuestion) -> TemplateAnswer:
    """The files of the template: a CSV for each table, and what every column means.

    Raises:
        InputError: the folder cannot be written to, or holds such files already.
    """
    written = tables.template(Path(question.output))
    return TemplateAnswer(
        headline=f"{len(written) - 1} empty tables; README.txt says what each column means",
        citation=f"schema of Karez {karez.__version__}",
        files=tuple(path.name for path in written),
    )
