"""How a lab is: what runs, what is broken on purpose, and what was lost."""

from __future__ import annotations

import numpy as np

import karez
from karez.lab.asked import Count, Counted, State, Status
from karez.operations import Answer, LabStatusQuestion
from karez.operations.lab import opened
from karez.operations.networks import counted


class LabStatusAnswer(Answer, frozen=True, kw_only=True):
    """The lab: what holds on purpose, what has died, its memory, and the packets of tests and of users so far."""

    name: str
    state: State
    tests: int
    tests_lost: int
    users: int
    users_lost: int


def run(question: LabStatusQuestion) -> LabStatusAnswer:
    """How the lab of a network is.

    Raises:
        InputError: none runs.
    """
    with opened(question.network, question.name) as lab:
        state, count, made = lab.ask(Status(), State), lab.ask(Count(ports=False), Counted), lab.plan()
    legs = 4 * len(made.fabric.lines)
    sent, lost = count.settled + count.settled_large, count.lost + count.lost_large
    wrong = ", ".join((*state.faults, *(f"{name} has died" for name in state.dead)))
    return LabStatusAnswer(
        headline=f"Lab {lab.name}: {counted(state.routers, 'router')}, {counted(state.links, 'link')}, "
        f"{state.memory_mb:,.0f} MB, up for {state.up_s:,.0f} s; {wrong or 'nothing is broken'}",
        citation=f"asked of the lab of {state.network}, process {state.process}; Karez {karez.__version__}",
        name=lab.name,
        state=state,
        tests=int(np.sum(sent[:legs])),
        tests_lost=int(np.sum(lost[:legs])),
        users=int(np.sum(sent[legs:])),
        users_lost=int(np.sum(lost[legs:])),
    )
