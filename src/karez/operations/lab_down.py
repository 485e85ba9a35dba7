"""The end of a lab."""

from __future__ import annotations

import karez
from karez.errors import InputError
from karez.lab.asked import LabError
from karez.lab.start import ended
from karez.operations import Answer, LabDownQuestion
from karez.operations.lab import name_of


class LabDownAnswer(Answer, frozen=True, kw_only=True):
    """The lab that is gone."""

    name: str


def run(question: LabDownQuestion) -> LabDownAnswer:
    """What was ended.

    Raises:
        InputError: no such lab runs.
    """
    name = name_of(question.network, question.name)
    try:
        ended(name)
    except LabError as error:
        raise InputError.of(question.network, str(error), "see `karez lab status`") from error
    return LabDownAnswer(
        headline=f"Lab {name} is gone; nothing of it is left", citation=f"Karez {karez.__version__}", name=name
    )
