"""The values of the loop: what it is told, what it may do, what it knows between two turns, what it decides."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from karez.adapters.guard import Command, Reply
from karez.plan import Plan
from karez.twin import Table, Twin, World
from karez.twin.telemetry import StateRows

Level = Literal["observe", "advise", "act"]
Word = Literal[
    "commanded", "would act", "proposed", "refused", "withdrawn", "applied", "verified", "undone", "remedy", "ended"
]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the loop may do alone, as leader of `epoch`.

    `observe` only says what it would do, whoever approves; `advise` waits for a person each time; `act` takes what can
    be undone or made good. `levels` overrules the level for a domain and a kind of action ("carrier/drain_link"; * is
    any; what is named more closely counts). It acts alone only on findings that are so sure (`confidence`) and rest on
    so many sources that share nothing (`sources`). `budgets` has, by kind of action, the seconds between two in the
    long run and how many at once; `place_budgets` the same for whatever is done at one "site" or in one "metro".
    """

    level: Level = "observe"
    levels: dict[str, Level] = {}
    epoch: int = 1
    confidence: float = 0.8
    sources: int = 2
    budgets: dict[str, tuple[float, int]] = msgspec.field(
        default_factory=lambda: {"drain_link": (60.0, 3), "restart_device": (300.0, 1)}
    )
    place_budgets: dict[str, tuple[float, int]] = msgspec.field(
        default_factory=lambda: {"site": (60.0, 4), "metro": (60.0, 8)}
    )

    def __post_init__(self) -> None:
        """Refuse budgets that say nothing, and that no record could hold."""
        for kind, (every_s, burst) in (self.budgets | self.place_budgets).items():
            if not (math.isfinite(every_s) and every_s >= 0 and burst >= 0):
                raise ValueError(f"a budget of {every_s} s and {burst} at once for {kind} is none")

    def level_for(self, domain: str, kind: str) -> Level:
        """The level for one kind of action in one domain."""
        for name in (f"{domain}/{kind}", f"*/{kind}", f"{domain}/*"):
            if name in self.levels:
                return self.levels[name]
        return self.level


class Approval(msgspec.Struct, frozen=True):
    """A person's word for one plan; it acts once."""

    plan: str
    person: str


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """All that a turn is told: the time, what was observed, replies of the guard, plans and approvals of people.

    `aside` says what was told and could not be believed. `failed` says why the network could not be observed at all:
    in such a turn nothing is decided.
    """

    at_s: float
    changes: tuple[StateRows, ...] = ()
    replies: tuple[Reply, ...] = ()
    plans: tuple[Plan, ...] = ()
    approvals: tuple[Approval, ...] = ()
    aside: tuple[str, ...] = ()
    failed: str = ""


class Found(msgspec.Struct, frozen=True):
    """A finding that opened or closed."""

    id: str
    open: bool
    kind: str
    subject: str


class Verdict(msgspec.Struct, frozen=True):
    """What became of a plan in this turn, and why."""

    plan: str
    verdict: Word
    why: str = ""


class Running(msgspec.Struct, frozen=True):
    """A command under way: sent to the guard, verified, watched, taking its time, or failed and to be taken back.

    `because` has the findings that it answers, `releases` the one whose mending it takes back, `sufferers` the signals
    of users that spoke for it. After `limit_s` it is given up, or watched less closely. `done_at_s` is when the guard
    had done it.
    """

    command: Command
    phase: Literal["sent", "verifying", "watching", "long", "failed"]
    because: tuple[str, ...] = ()
    releases: str = ""
    sufferers: tuple[str, ...] = ()
    limit_s: float = 0.0
    done_at_s: float = 0.0


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """All that a turn decided; `state` is the digest of all that is known after it."""

    at_s: float
    found: tuple[Found, ...] = ()
    plans: tuple[Plan, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    commands: tuple[Command, ...] = ()
    confirmed: tuple[str, ...] = ()
    state: str = ""


@dataclass(frozen=True)
class State:
    """All that the loop knows between two turns.

    What was found, what is held for it and what the folds learned are tables of the actual twin, so a loop that starts
    on the twins of another knows them too.
    """

    intended: Twin
    actual: Twin
    running: tuple[Running, ...] = ()
    waiting: tuple[Plan, ...] = ()
    resting: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, world: World) -> State:
        """Where a loop starts that has nothing under way."""
        return cls(world.intended, world.actual)

    @property
    def world(self) -> World:
        """The two twins."""
        return World(self.intended, self.actual)

    @property
    def findings(self) -> Table:
        """What was found."""
        return self.actual["findings"]

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name all that is known."""
        parts = (self.intended.digest, self.actual.digest, self.running, self.waiting, self.resting)
        return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()

    def known(self, *tables: Table) -> State:
        """The state with these tables in the actual twin."""
        return replace(self, actual=self.actual.replace(*tables))

    def open(self, finding: str) -> bool:
        """Whether there is such a finding and it still holds."""
        return self.findings.has(finding) and bool(self.findings.cell(finding, "open"))


@dataclass
class Said:
    """What a turn has decided so far; lives within one call of `turn`."""

    found: list[Found] = field(default_factory=list)
    plans: list[Plan] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)

    def verdict(self, plan: str, verdict: Word, why: str = "") -> None:
        """Say what became of a plan."""
        self.verdicts.append(Verdict(plan, verdict, why))

    def decisions(self, at_s: float, state: State) -> Decisions:
        """All of it, as a value."""
        return Decisions(
            at_s=at_s,
            found=tuple(self.found),
            plans=tuple(self.plans),
            verdicts=tuple(self.verdicts),
            commands=tuple(self.commands),
            confirmed=tuple(self.confirmed),
            state=state.digest,
        )
