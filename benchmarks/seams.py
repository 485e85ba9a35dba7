"""A thousand plans of three planners against a network that changes a thousand rows a second.

Each planner looks at the twin, thinks for one to three turns, and only then brings its plan; between the loop's
decision and the act the network moves on once more. An auditor that shares no code with `karez.plan.reads` looks at
the network itself at the moment of each act, and at each refusal. The yardstick is what most controllers do: refuse a
plan when the revision of the intended twin that it was made from is no longer the newest.
"""

from __future__ import annotations

import operator
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np

from benchmarks import Figure
from benchmarks.instances.grid import grid
from karez.adapters.embedded import EmbeddedNetwork
from karez.adapters.guard import Command, Guard, Reply
from karez.adapters.network import seen
from karez.errors import KarezError
from karez.loop.recorded import Turned, decided
from karez.loop.runner import Runner
from karez.loop.state import Approval, Decisions, Policy, State
from karez.plan import Action, NewRow, Plan, Proof, Read
from karez.plan.heal import heal
from karez.plan.place import place
from karez.record.log import Entry, Record
from karez.twin import World
from karez.twin.schema import Value
from karez.twin.telemetry import Samples, StateRows

NAME = "seams"
SEEDS = (1, 2, 3)
PLANS = 1_000
# When it begins: the rules on data, by which jobs are placed, are in force then (Unix time).
START_S = 1_790_000_000.0
# New intents a turn, by planner; thinking time in turns; how long a person takes to approve an order.
STARTED = {"heal": 3, "place": 3, "restock": 2}
THINKS = (1, 4)
PERSON_TURNS = 2
# So slow that it is worth a detour even for little traffic.
SLOW_US = 50_000.0
FEW_CHIPS = 480
TELLS = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def run() -> list[Figure]:
    """What became of the plans, summed over the seeds; the worst seed where a worst is asked for."""
    trials = [trial(seed, PLANS) for seed in SEEDS]
    applied, wrongly = sum(t.audit.applied for t in trials), sum(t.audit.wrongly_refused for t in trials)
    outcomes = sum((t.outcomes for t in trials), Counter[str]())
    by_revision = sum(t.same_revision for t in trials)
    return [
        Figure(what="plans brought", value=outcomes.total(), unit="plans", better="higher", bar=PLANS * len(SEEDS)),
        Figure(
            what="rows changed per second",
            value=min(t.rows_per_s for t in trials),
            unit="1/s",
            better="higher",
            bar=1e3,
        ),
        Figure(
            what="actions taken on a changed read",
            value=sum(t.audit.on_changed for t in trials),
            unit="",
            better="lower",
            bar=0,
        ),
        Figure(
            what="applied, of the plans whose reads held",
            value=applied / max(1, applied + wrongly),
            unit="share",
            better="higher",
            bar=0.99,
            yardstick=by_revision / max(1, outcomes.total()),
        ),
        *(
            Figure(
                what=f"applied, of all plans of planner {name}",
                value=min(t.applied_by[name] / max(1, t.brought_by[name]) for t in trials),
                unit="share",
                better="higher",
            )
            for name in STARTED
        ),
        Figure(
            what="most attempts that any intent needed",
            value=max(t.most_attempts for t in trials),
            unit="attempts",
            better="lower",
            bar=20,
        ),
        Figure(what="plans refused for a changed read", value=outcomes["refused"], unit="plans", better="lower"),
    ]


@dataclass
class Auditor:
    """The network as the guard sees it, watched: it moves on before every fresh look, and each act is judged."""

    inner: EmbeddedNetwork
    intended: World
    kinds: frozenset[str] = EmbeddedNetwork.kinds
    reads: dict[str, tuple[Read, ...]] = field(default_factory=dict)
    cells: dict[tuple[str, str, str], Value] = field(default_factory=dict)
    rows: set[tuple[str, str]] = field(default_factory=set)
    applied: int = 0
    on_changed: int = 0
    wrongly_refused: int = 0
    told: int = 0
    at_s: float = 0.0

    def observe(self, at_s: float) -> tuple[StateRows, ...]:
        """What the network tells; the rows are counted."""
        self.at_s = at_s
        changes = self.inner.observe(at_s)
        self.told += sum(len(change.ids) for change in changes)
        return changes

    def hear(self, at_s: float) -> tuple[Samples, ...]:
        """Its telemetry."""
        return self.inner.hear(at_s)

    def look(self, table: str, ids: Sequence[str]) -> StateRows:
        """The rows after the network has moved on by another half second at most."""
        self.inner.live(self.at_s + 0.5)
        return self.inner.look(table, ids)

    def apply(self, action: Action, at_s: float) -> str:
        """What the network says; judged by the truth of this moment."""
        held = all(self.tells(read) for read in self.reads.get(action.id, ()))
        why = self.inner.apply(action, at_s)
        if not why:
            self.applied += action.id in self.reads
            self.on_changed += not held
            self.cells |= {(cell.table, cell.row, cell.column): cell.after for cell in action.sets}
            self.rows |= {(new.table, new.row) for new in action.adds}
        return why

    def tells(self, read: Read, coming: Mapping[tuple[str, str, str], Value] = MappingProxyType({})) -> bool:
        """Whether a read is true of the network itself, and of what was intended, since done, and is `coming`."""
        if read.table.endswith("_states"):
            shown = self.inner.look(read.table, [read.row])
            values = {name: column[0] for name, column in shown.columns.items() if column}
            there = bool(shown.ids)
        else:
            table = self.intended[read.table]
            there = table.has(read.row) or (read.table, read.row) in self.rows
            values = {read.column: table.cell(read.row, read.column)} if there and read.column else {}
            set_since = {**self.cells, **coming}
            values |= {c: v for (t, r, c), v in set_since.items() if (t, r) == (read.table, read.row)}
        if read.op in TELLS:
            return there and bool(TELLS[read.op](values[read.column], read.value))
        return there == (read.op == "exists")


@dataclass
class AuditedGuard(Guard):
    """A guard whose refusals are judged in the moment they are made."""

    trial: Trial | None = None

    def execute(self, command: Command, receipt: bytes, world: World, *, at_s: float) -> Reply:
        """What the guard says; a refusal is judged by the truth of this moment."""
        reply = super().execute(command, receipt, world, at_s=at_s)
        if not reply.done and self.trial is not None:
            self.trial.judge(command.plan)
        return reply


class AuditedRecord(Record):
    """A record that has the loop's refusals judged as it takes them: nothing has moved yet since they were made."""

    trial: Trial

    def append_all(self, entries: Iterable[Entry]) -> list[bytes]:
        """The receipts."""
        entries = list(entries)
        for turned in (msgspec.json.decode(body, type=Turned) for kind, _, body in entries if kind == "turn"):
            by_the_guard = {reply.command for reply in turned.inputs.replies if not reply.done}
            for verdict in turned.decisions.verdicts:
                if verdict.verdict in ("refused", "withdrawn") and verdict.plan not in by_the_guard:
                    self.trial.judge(verdict.plan, turned.decisions.commands)
        return super().append_all(entries)


@dataclass
class Intent:
    """What a planner wants, and how often it has tried."""

    planner: str
    subject: str
    attempts: int = 0


class Trial:
    """One run until enough plans were brought."""

    def __init__(self, seed: int, plans: int) -> None:
        self.plans = plans
        self.world = grid(seed)
        self.random = np.random.default_rng(seed)
        self.audit = Auditor(EmbeddedNetwork(self.world, seed=seed, start_s=START_S), self.world)
        self.subjects = {name: self._shuffled(table) for name, table in SUBJECTS.items()}
        self.thinking: list[tuple[float, Intent, Plan]] = []
        self.brought: dict[str, tuple[Intent, Plan]] = {}
        self.outcomes: Counter[str] = Counter()
        self.brought_by: Counter[str] = Counter()
        self.applied_by: Counter[str] = Counter()
        self.waits_since: dict[str, float] = {}
        self.same_revision = self.most_attempts = 0
        self.rows_per_s = 0.0

    def _shuffled(self, table: str) -> Iterator[str]:
        return cycle([row.decode() for row in self.random.permutation(self.world[table].ids)])

    def people(self, at_s: float, state: State) -> tuple[tuple[Plan, ...], tuple[Approval, ...]]:
        """The plans that are thought through, and a person's word for orders that have waited."""
        if sum(self.brought_by.values()) < self.plans:
            for planner, count in STARTED.items():
                for _ in range(count):
                    self.think(Intent(planner, next(self.subjects[planner])), state, at_s)
        due = [(intent, plan) for until_s, intent, plan in self.thinking if until_s <= at_s]
        self.thinking = [entry for entry in self.thinking if entry[0] > at_s]
        for intent, plan in due:
            self.brought[plan.id] = (intent, plan)
            self.brought_by[intent.planner] += 1
            self.same_revision += plan.revision == state.intended.digest
            self.audit.reads |= {action.id: plan.reads for action in plan.actions}
        approvals = []
        for waiting in state.waiting:
            since_s = self.waits_since.setdefault(waiting.id, at_s)
            if at_s - since_s >= PERSON_TURNS:
                approvals.append(Approval(waiting.id, "Li Wei"))
        return tuple(plan for _, plan in due), tuple(approvals)

    def think(self, intent: Intent, state: State, at_s: float) -> None:
        intent.attempts += 1
        self.most_attempts = max(self.most_attempts, intent.attempts)
        plan = PLANNERS[intent.planner](state.world, intent.subject, at_s)
        if plan is not None:
            self.thinking.append((at_s + float(self.random.integers(*THINKS)), intent, plan))

    def judge(self, plan: str, coming: Sequence[Command] = ()) -> None:
        """Count a plan that was refused although all that it relied on is so, and stays so under what is commanded."""
        if plan in self.brought:
            cells = {(c.table, c.row, c.column): c.after for o in coming for a in o.actions for c in a.sets}
            reads = self.brought[plan][1].reads
            self.audit.wrongly_refused += all(self.audit.tells(read, cells) for read in reads)

    def learn(self, decisions: Decisions, state: State) -> None:
        """Count what became of plans; an intent that was refused is planned anew from what is so now."""
        for verdict in decisions.verdicts:
            if verdict.plan not in self.brought or verdict.verdict not in ("applied", "refused", "withdrawn"):
                continue
            intent, _ = self.brought.pop(verdict.plan)
            if verdict.verdict == "applied":
                self.outcomes["applied"] += 1
                self.applied_by[intent.planner] += 1
                continue
            self.outcomes["refused"] += 1
            self.think(intent, state, decisions.at_s)


def heal_one(world: World, link: str, at_s: float) -> Plan | None:
    """A plan for a link that this planner was told is slow."""
    finding, ways = f"told/{link}", {f"delay/probe/{link}>": "ab", f"delay/probe/{link}<": "ba"}
    slow = StateRows(
        "signals",
        tuple(ways),
        {
            "kind": ("delay",) * 2,
            "source": ("probe",) * 2,
            "subject": (link,) * 2,
            "way": tuple(ways.values()),
            "since_s": (at_s,) * 2,
            "size": (SLOW_US,) * 2,
            "open": (True,) * 2,
        },
    )
    evidence = msgspec.json.encode(tuple(ways)).decode()
    found = StateRows(
        "findings",
        (finding,),
        {"kind": ("link_slow",), "subject": (link,), "since_s": (at_s,), "open": (True,), "evidence": (evidence,)},
    )
    plan = heal(World(world.intended, seen(world.actual, (slow, found))), finding, at_s=at_s)
    # The loop has no such finding of its own, so it must not take the drain back when "its" finding is gone.
    return msgspec.structs.replace(plan, because=()) if plan else None


def place_one(world: World, job: str, at_s: float) -> Plan | None:
    """A plan for a job; none where no place has the chips just now."""
    try:
        return place(world, job, at_s=at_s)
    except KarezError:
        return None


def restock(world: World, server: str, at_s: float) -> Plan | None:
    """An order for a site whose chips run short."""
    free = int(world["server_states"].cell(server, "free_chips"))
    if free >= FEW_CHIPS:
        return None
    site, new = str(world["servers"].cell(server, "site")), f"e-{server}-{at_s:.0f}"
    order = Action(
        kind="order_equipment",
        subject=site,
        adds=(NewRow("equipment", new, {"site": site, "kind": "edge_inference"}),),
        blast_radius=(site,),
        expires_at_s=at_s + 600.0,
        ends_at_s=at_s + 86_400.0,
    )
    reads = (
        Read("equipment", new, op="gone"),
        Read("server_states", server, "free_chips", "<", FEW_CHIPS),
        Read("servers", server, "site", "==", site),
    )
    return Plan(
        planner="restock",
        question={"server": server},
        revision=world.intended.digest,
        made_at_s=at_s,
        reads=reads,
        actions=(order,),
        price_cny=80_000.0,
        proof=Proof(value=80_000.0, bound=80_000.0, unit="CNY", how="one item, one price"),
    )


PLANNERS: dict[str, Callable[[World, str, float], Plan | None]] = {
    "heal": heal_one,
    "place": place_one,
    "restock": restock,
}
SUBJECTS = {"heal": "links", "place": "jobs", "restock": "servers"}


def trial(seed: int, plans: int) -> Trial:
    """One run of the loop, until as many plans were brought as asked for and none is under way."""
    made = Trial(seed, plans)
    with tempfile.TemporaryDirectory() as folder, AuditedRecord(Path(folder) / "record") as record:
        record.trial = made
        # What is measured is what reads do: no budget may refuse a plan.
        policy = Policy(level="act", budgets={}, place_budgets={})
        runner = Runner.start(made.world, made.audit, record, policy, at_s=START_S)
        runner.guard = AuditedGuard(made.audit, decided(record), trial=made)
        at_s = START_S
        while at_s < START_S + 10 or made.thinking or made.brought or sum(made.brought_by.values()) < plans:
            at_s += 1.0
            decisions = runner.turn(at_s, made.people)
            made.learn(decisions, runner.state)
            if at_s > START_S + 2_000:
                raise RuntimeError(f"{len(made.brought)} plans are starving")
        made.rows_per_s = made.audit.told / (at_s - START_S)
    return made
