"""What happened turn by turn in an incident, in whatever network, and what that says of the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from karez.loop.runner import Runner
from karez.loop.state import Decisions, State
from karez.plan import Plan
from karez.twin import Table
from karez.twin.table import Array, strings, texts

# A signal raised so long before the fault began counts as one of it (s).
EARLY_S = 1.0
# Pairs of cause and subject.
Label = frozenset[tuple[str, str]]


@dataclass
class Course:
    """Turns: when, what was known and decided, the users' loss until then, and who was cut off.

    What a turn of `at_s` said was known at `said_s`. `plans` has all that were made, by their ids.
    """

    at_s: list[float] = field(default_factory=list)
    said_s: list[float] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    decisions: list[Decisions] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    broken: list[frozenset[str]] = field(default_factory=list)
    plans: dict[str, Plan] = field(default_factory=dict)

    def add(
        self,
        state: State,
        decided: Decisions,
        lost: float,
        broken: Iterable[str] = (),
        said_s: float | None = None,
    ) -> None:
        """Go on by a turn, after which users have lost so much; where it took no time, it said all when it began."""
        self.at_s.append(decided.at_s)
        self.said_s.append(decided.at_s if said_s is None else said_s)
        self.states.append(state)
        self.decisions.append(decided)
        self.lost.append(lost)
        self.broken.append(frozenset(broken))
        self.plans |= {plan.id: plan for plan in decided.plans}

    def first_s(self, since_s: float, what: Callable[[Decisions], bool]) -> float | None:
        """How long after `since_s` a turn first decided so (s); None where none did."""
        turns = zip(self.said_s, self.decisions, strict=True)
        return next((said_s - since_s for said_s, one in turns if one.at_s >= since_s and what(one)), None)

    def signalled_s(self, begun_s: float) -> float | None:
        """How long after a fault began the first signal was there that was raised since then, or a little earlier."""
        for at_s, said_s, state in zip(self.at_s, self.said_s, self.states, strict=True):
            if at_s >= begun_s and (state.actual["signals"]["since_s"] >= begun_s - EARLY_S).any():
                return said_s - begun_s
        return None

    def told_s(self, label: Label, begun_s: float) -> float | None:
        """How long after a fault began its true cause was told."""
        return self.first_s(
            begun_s, lambda made: any(found.open and (found.kind, found.subject) in label for found in made.found)
        )

    def healed_s(self, label: Label, begun_s: float) -> float | None:
        """How long after a fault began an act for its true cause was seen to have taken effect."""
        names = {f"{kind}/{subject}" for kind, subject in label}
        mine = {plan for plan in self._stood() if plan in self.plans and names & set(self.plans[plan].because)}
        return self.first_s(
            begun_s, lambda made: any(word.verdict == "verified" and word.plan in mine for word in made.verdicts)
        )

    def acts(self) -> Iterator[tuple[float, str]]:
        """When which acts were taken, undoing and releasing among them."""
        for made in self.decisions:
            for command in made.commands:
                name = "+".join(f"{action.kind} {action.subject}" for action in command.actions)
                released = self.plans[command.plan].planner == "release"
                yield made.at_s, f"{'undo ' if command.undoes else 'release ' if released else ''}{name}"

    def undone(self) -> int:
        """How many acts were undone."""
        return sum(word.verdict == "undone" for made in self.decisions for word in made.verdicts)

    def found(self, judged_s: float, besides: Label) -> dict[tuple[str, str], float]:
        """The pairs of cause and subject that were told when it is judged, in order, and how sure each was."""
        judged = self._findings(judged_s)
        told = judged.take(judged["open"] | self._mended(judged))
        pairs = zip(strings(told["kind"]), strings(told["subject"]), strict=True)
        sure = dict(zip(pairs, told["confidence"].tolist(), strict=True))
        return {pair: sure[pair] for pair in sorted(sure.keys() - besides)}

    def _findings(self, judged_s: float) -> Table:
        """The findings in the turn in which they are judged, or in the last."""
        turns = zip(self.at_s, self.states, strict=True)
        # Times are sums of turns, which may fall short by a little.
        return next((state for at_s, state in turns if at_s >= judged_s - 1e-9), self.states[-1]).findings

    def _mended(self, judged: Table) -> Array:
        """Which findings are gone because an act for them was verified, and nothing else is told of their subjects."""
        plans = (self.plans[plan] for plan in self._stood() if plan in self.plans)
        names = {finding for plan in plans for finding in plan.because}
        told = np.isin(judged["subject"], judged["subject"][judged["open"]])
        return np.asarray(np.isin(judged.ids, texts(sorted(names))) & ~told)

    def _stood(self) -> set[str]:
        """The plans that were verified and not undone."""
        words = [word for made in self.decisions for word in made.verdicts]
        undone = {word.plan for word in words if word.verdict == "undone"}
        return {word.plan for word in words if word.verdict == "verified"} - undone


def unsettled(runner: Runner) -> int:
    """How many commands are neither done, undone nor given up."""
    return sum(running.phase not in ("long", "watching") for running in runner.state.running)
