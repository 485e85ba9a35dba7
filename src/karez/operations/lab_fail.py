"""Something broken in a lab, or mended again."""

from __future__ import annotations

import time

import msgspec

import karez
from karez.adapters.embedded import Fault
from karez.errors import InputError
from karez.lab.asked import Begin, Done, End, Lab, LabError
from karez.lab.faults import BEGINS, Scene, begin
from karez.operations import Answer, LabFailQuestion, LabHealQuestion
from karez.operations.faults import Breaking, drawn_fault
from karez.operations.lab import opened
from karez.operations.networks import load_living
from karez.twin import World


class LabFailAnswer(Answer, frozen=True, kw_only=True):
    """The fault, when it began, and when it ended (Unix, s; None: it holds)."""

    label: str
    fault: Fault | None
    began_at_s: float | None
    ended_at_s: float | None


def run(question: LabFailQuestion) -> LabFailAnswer:
    """What was broken, or ended; where a time is given, it is over when this returns.

    Raises:
        InputError: no such lab runs, or it has nothing that could break so.
    """
    world, _ = load_living(question.network)
    with opened(question.network, question.name) as lab:
        if question.end:
            return _ended(lab, question)
        fault = chosen(world, question, way=question.way)
        asked = begin(Scene(world, lab.plan()), fault)
        began_at_s = _asked(lab, asked).at_s
        ended_at_s = None
        if question.for_s:
            try:
                time.sleep(question.for_s)
            finally:
                ended_at_s = _asked(lab, End(label=asked.label)).at_s
    until = f" for {question.for_s:g} s" if question.for_s else "; end it with --end"
    return LabFailAnswer(
        headline=f"{asked.label.replace('_', ' ')} in lab {lab.name}{until}",
        citation=f"seed {question.seed}; Karez {karez.__version__}",
        label=asked.label,
        fault=fault,
        began_at_s=began_at_s,
        ended_at_s=ended_at_s,
    )


def chosen(world: World, question: LabFailQuestion | LabHealQuestion, *, way: str = "") -> Fault:
    """The fault that is asked for, with what was not said of it drawn.

    Raises:
        InputError: a lab cannot show it, or has nothing, or nothing of that name, that it could befall.
    """
    if question.fault not in BEGINS:
        raise InputError.of("fault", f"a lab cannot show {question.fault!r}", f"give one of {', '.join(BEGINS)}")
    asked = Breaking(question.fault, question.subject, question.seed, 0.0)
    fault = drawn_fault(world, question.network, asked)
    given = {"size_us": question.size_us, "size_share": question.size_share, "way": way}
    return msgspec.structs.replace(fault, **{name: value for name, value in given.items() if value})


def _ended(lab: Lab, question: LabFailQuestion) -> LabFailAnswer:
    label = f"{question.fault} {question.subject}" if question.subject else ""
    done = _asked(lab, End(label=label))
    return LabFailAnswer(
        headline=f"{label.replace('_', ' ') or 'Whatever was broken'} in lab {lab.name} is over",
        citation=f"Karez {karez.__version__}",
        label=label,
        fault=None,
        began_at_s=None,
        ended_at_s=done.at_s,
    )


def _asked(lab: Lab, question: Begin | End) -> Done:
    try:
        return lab.ask(question)
    except LabError as error:
        raise InputError.of("fault", str(error), "see `karez lab status`") from error
