"""One turn of the loop: a pure function from what is known and what came in to what is known and what is decided.

It is level-triggered: what is decided follows from the two whole twins, the folds and what is under way, so that a
turn missed or run twice does no harm. Nothing here reads a clock, a file or the network; the runner does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np

from karez.adapters.guard import Command, Reply
from karez.adapters.network import StateRows, seen
from karez.detect import drift
from karez.loop import budget
from karez.plan import Action, Plan, applied, changed, expected, inverse
from karez.plan.check import check
from karez.plan.heal import heal, release
from karez.plan.kinds import KINDS
from karez.twin import Table, Twin, World
from karez.twin.fold import Events
from karez.twin.table import Array, texts

Level = Literal["observe", "advise", "act"]
# The same instant act on the same subject: twice at once, then every ten minutes. This is what damps flapping.
SUBJECT_BUDGET = (600.0, 2)
# How long the loop lets something rest for which nothing better than waiting was found, or no budget was left.
REST_S = 10.0
Word = Literal[
    "commanded", "would act", "proposed", "refused", "withdrawn", "applied", "verified", "undone", "remedy", "ended"
]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the loop may do alone, as leader of `epoch`.

    `observe` only says what it would do, `advise` waits for a person each time, `act` takes what can be undone or
    made good. `budgets` has, by kind of action, the seconds between two in the long run and how many at once.
    """

    level: Level = "observe"
    epoch: int = 1
    budgets: dict[str, tuple[float, int]] = msgspec.field(
        default_factory=lambda: {"drain_link": (60.0, 3), "restart_device": (300.0, 1)}
    )


class Approval(msgspec.Struct, frozen=True):
    """A person's word for one plan; it acts once."""

    plan: str
    person: str


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """All that a turn is told: the time, what was observed, replies of the guard, plans and approvals of people."""

    at_s: float
    changes: tuple[StateRows, ...] = ()
    replies: tuple[Reply, ...] = ()
    plans: tuple[Plan, ...] = ()
    approvals: tuple[Approval, ...] = ()


class Found(msgspec.Struct, frozen=True):
    """A finding that opened or closed."""

    id: str
    open: bool


class Verdict(msgspec.Struct, frozen=True):
    """What became of a plan in this turn, and why."""

    plan: str
    verdict: Word
    why: str = ""


class Running(msgspec.Struct, frozen=True):
    """An act under way: sent to the guard, being verified, taking its time, held until the finding goes, or undone."""

    command: Command
    because: tuple[str, ...]
    phase: Literal["sent", "verifying", "long", "held", "undoing"]
    limit_s: float = 0.0


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
    """All that the loop knows between two turns."""

    intended: Twin
    actual: Twin
    drift: Table
    budgets: Table
    running: tuple[Running, ...] = ()
    waiting: tuple[Plan, ...] = ()
    resting: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, world: World) -> State:
        """Where a loop starts that has seen nothing yet."""
        return cls(world.intended, world.actual, Table.of("drift_series"), Table.of("action_budgets"))

    @property
    def world(self) -> World:
        """The two twins."""
        return World(self.intended, self.actual)

    @property
    def digest(self) -> str:
        """64 hexadecimal digits that name all that is known."""
        parts = (self.intended.digest, self.actual.digest, self.drift.digest.hex(), self.budgets.digest.hex())
        under_way = msgspec.json.encode((parts, self.running, self.waiting, self.resting), order="deterministic")
        return hashlib.sha256(under_way).hexdigest()


@dataclass
class _Said:
    """What a turn has decided so far; lives within one call of `turn`."""

    found: list[Found]
    plans: list[Plan]
    verdicts: list[Verdict]
    commands: list[Command]
    confirmed: list[str]

    def verdict(self, plan: str, verdict: Word, why: str = "") -> None:
        self.verdicts.append(Verdict(plan, verdict, why))


def turn(state: State, inputs: Inputs, policy: Policy) -> tuple[State, Decisions]:
    """What is known after the turn, and what is to be done."""
    said = _Said([], [], [], [], [])
    state = _perceived(state, inputs, said)
    state = _answered(state, inputs, said)
    state = _followed(state, inputs.at_s, policy, said)
    state = _reviewed(state, said)
    for plan, person in _brought(state, inputs):
        state = _governed(state, plan, person, inputs.at_s, policy, said)
    state = _mended(state, inputs.at_s, policy, said)
    decisions = Decisions(
        at_s=inputs.at_s,
        found=tuple(said.found),
        plans=tuple(said.plans),
        verdicts=tuple(said.verdicts),
        commands=tuple(said.commands),
        confirmed=tuple(said.confirmed),
        state=state.digest,
    )
    return state, decisions


def samples(changes: Iterable[StateRows], at_s: float) -> Events:
    """The delay samples among what was observed, as events of the drift fold."""
    rows = [change for change in changes if change.table == "link_states" and "oneway_us" in change.columns]
    links = texts(link for change in rows for link in change.ids)
    values = np.array([value for change in rows for value in change.columns["oneway_us"]], np.float64)
    return {"at_s": np.full(len(links), at_s), "link": links, "oneway_us": values}


def _perceived(state: State, inputs: Inputs, said: _Said) -> State:
    # What was read back right after an act is older than what was observed since.
    read_back = (rows for reply in inputs.replies for rows in reply.read_back)
    actual = seen(seen(state.actual, read_back), inputs.changes)
    drifts, flips = drift.step(state.drift, samples(inputs.changes, inputs.at_s), inputs.at_s)
    findings = actual["findings"]
    for row in range(len(flips["link"])):
        since_s, excess_us = float(flips["since_s"][row]), float(flips["excess_us"][row])
        findings = _noted(
            findings, "delay_drift", flips["link"][row], bool(flips["open"][row]), since_s, excess_us, said
        )
    for kind, subjects in (("device_silent", _silent(actual)), ("order_due", _late(actual, inputs.at_s))):
        now = findings["subject"][(findings["kind"] == kind.encode()) & findings["open"]]
        for subject in np.setdiff1d(subjects, now):
            findings = _noted(findings, kind, subject, True, inputs.at_s, np.nan, said)
        for subject in np.setdiff1d(now, subjects):
            findings = _noted(findings, kind, subject, False, inputs.at_s, np.nan, said)
    return replace(state, actual=actual.replace(findings), drift=drifts)


def _silent(actual: Twin) -> Array:
    devices = actual["equipment_states"]
    return np.asarray(devices.ids[~devices["up"]])


def _late(actual: Twin, at_s: float) -> Array:
    orders = actual["order_states"]
    return np.unique(orders["site"][(orders["due_at_s"] < at_s) & ~orders["delivered"]])


def _noted(
    findings: Table, kind: str, subject: bytes, opened: bool, since_s: float, excess_us: float, said: _Said
) -> Table:
    """The findings with one opened or closed; opening what is open, or closing what is not, changes nothing."""
    same = (findings["kind"] == kind.encode()) & (findings["subject"] == subject) & findings["open"]
    rows = np.flatnonzero(same)
    if opened and not len(rows):
        row_id = f"{kind}/{subject.decode()}/{since_s:.0f}"
        if findings.has(row_id):
            findings = findings.set(findings.rows([row_id]), open=True)
        else:
            row = {"id": [row_id], "kind": [kind], "subject": [subject.decode()]}
            findings = findings.add(row | {"since_s": [since_s], "excess_us": [excess_us]})
        said.found.append(Found(row_id, True))
    if not opened and len(rows):
        findings = findings.set(rows, open=False)
        said.found += [Found(findings.ids[row].decode(), False) for row in rows]
    return findings


def _answered(state: State, inputs: Inputs, said: _Said) -> State:
    """Take in what the guard says became of commands."""
    for reply in inputs.replies:
        running = next((one for one in state.running if one.command.id == reply.command), None)
        if running is None:
            continue
        others = tuple(one for one in state.running if one is not running)
        plan, action = running.command.plan, running.command.action
        if reply.undone_alone:
            said.verdict(plan, "undone", "the guard undid it alone: nobody confirmed it in time")
            back = [inverse(action, expires_at_s=inputs.at_s)] if running.phase in ("verifying", "held") else []
            state = replace(state, running=others, intended=applied(back, state.intended))
        elif not reply.done:
            reads = "; ".join(str(read) for read in reply.changed)
            said.verdict(plan, "refused", f"{reply.why}: {reads}" if reads else reply.why)
            state = replace(state, running=others)
        else:
            said.verdict(plan, "applied")
            state = replace(
                state,
                running=(*others, *_after(running, inputs.at_s)),
                intended=applied([action], state.intended),
            )
    return state


def _after(running: Running, at_s: float) -> Iterator[Running]:
    """The act once the guard has taken it; an undoing that was done is over."""
    kind = KINDS[running.command.action.kind]
    if running.phase == "undoing":
        return
    phase: Literal["long", "verifying"] = "long" if kind.duration == "long" else "verifying"
    yield msgspec.structs.replace(running, phase=phase, limit_s=at_s + kind.within_s)


def _followed(state: State, at_s: float, policy: Policy, said: _Said) -> State:
    """Verify what was applied, undo what cannot be verified, end what has run its time."""
    for running in state.running:
        others = tuple(one for one in state.running if one is not running)
        action, plan = running.command.action, running.command.plan
        if running.phase == "long" and _ended(state, action, at_s):
            said.verdict(plan, "ended")
            state = replace(state, running=others, intended=_without(state.intended, action))
        elif running.phase == "verifying" and not changed(expected(action), state.world):
            said.verdict(plan, "verified")
            said.confirmed.append(running.command.id)
            state = replace(state, running=_settled(running, others))
        elif running.phase == "held" and _overtaken(state, action, others):
            said.verdict(plan, "withdrawn", "somebody else has changed what it set")
            state = replace(state, running=others)
        elif running.phase == "verifying" and at_s > running.limit_s:
            state = _given_up(state, running, others, at_s, policy, said)
    return state


def _settled(running: Running, others: tuple[Running, ...]) -> tuple[Running, ...]:
    """What is under way once an act was verified: mending is held until its finding goes, and release ends that."""
    action = running.command.action
    if running.because and KINDS[action.kind].effect == "reversible":
        return (*others, msgspec.structs.replace(running, phase="held"))
    return tuple(one for one in others if not (one.phase == "held" and one.command.action.subject == action.subject))


def _overtaken(state: State, action: Action, others: tuple[Running, ...]) -> bool:
    """Whether what the act set is no longer so, and not because the loop itself is releasing it."""
    if any(one.command.action.subject == action.subject for one in others):
        return False
    return any(state.intended[cell.table].cell(cell.row, cell.column) != cell.after for cell in action.sets)


def _given_up(
    state: State, running: Running, others: tuple[Running, ...], at_s: float, policy: Policy, said: _Said
) -> State:
    action, plan = running.command.action, running.command.plan
    unseen = "; ".join(str(read) for read in changed(expected(action), state.world))
    said.confirmed.append(running.command.id)
    kind = KINDS[action.kind]
    if kind.effect != "reversible":
        said.verdict(plan, "remedy", f"not seen in time: {unseen}; {kind.remedy} ({kind.remedy_price_cny:.0f} CNY)")
        return replace(state, running=others)
    said.verdict(plan, "undone", f"not seen in time: {unseen}")
    undo = Command(plan=plan, action=inverse(action, expires_at_s=at_s + kind.within_s), reads=(), epoch=policy.epoch)
    said.commands.append(undo)
    return replace(state, running=(*others, Running(undo, running.because, "undoing")))


def _ended(state: State, action: Action, at_s: float) -> bool:
    orders = state.actual["order_states"]
    if action.kind == "order_equipment":
        return orders.has(action.id) and bool(orders.cell(action.id, "delivered"))
    return at_s >= action.ends_at_s


def _without(intended: Twin, action: Action) -> Twin:
    """The intended twin after a long act has ended: a job gives back its chips, what was ordered stays."""
    if action.kind != "start_job":
        return intended
    table = intended["assignments"]
    return intended.replace(table.take(table.ids != action.subject.encode()))


def _reviewed(state: State, said: _Said) -> State:
    """Withdraw proposals whose reads changed or whose finding is gone."""
    kept = []
    for plan in state.waiting:
        stale = changed(plan.reads, state.world)
        gone = plan.because and not any(_open(state, finding) for finding in plan.because)
        if stale or gone:
            said.verdict(plan.id, "withdrawn", str(stale[0]) if stale else "the finding is gone")
        else:
            kept.append(plan)
    return replace(state, waiting=tuple(kept))


def _brought(state: State, inputs: Inputs) -> Iterator[tuple[Plan, str]]:
    """The plans that people brought or approved, and who stands for each (empty: nobody)."""
    persons = {approval.plan: approval.person for approval in inputs.approvals}
    for plan in state.waiting:
        if plan.id in persons:
            yield plan, persons[plan.id]
    for plan in inputs.plans:
        yield plan, ""


def _mended(state: State, at_s: float, policy: Policy, said: _Said) -> State:
    """Plan for every open finding that nobody is on, and take back what was held for findings that are gone."""
    state = replace(state, resting=tuple((finding, until_s) for finding, until_s in state.resting if until_s > at_s))
    on_it = _minded(state) | {finding for finding, _ in state.resting}
    findings = state.actual["findings"]
    for finding in (row.decode() for row in findings.ids[findings["open"]].tolist()):
        if finding not in on_it:
            state = _mend(state, finding, at_s, policy, said)
    for held in [one for one in state.running if one.phase == "held"]:
        if held.command.id not in dict(state.resting) and _may_release(state, held):
            plan = release(state.world, held.because[0], held.command.action, at_s=at_s)
            state = _governed(state, plan, "", at_s, policy, said)
            if _may_release(state, held):
                state = replace(state, resting=(*state.resting, (held.command.id, at_s + REST_S)))
    return state


def _mend(state: State, finding: str, at_s: float, policy: Policy, said: _Said) -> State:
    plan = heal(state.world, finding, at_s=at_s)
    if plan is not None:
        state = _governed(state, plan, "", at_s, policy, said)
    if finding in _minded(state):
        return state
    return replace(state, resting=(*state.resting, (finding, at_s + REST_S)))


def _minded(state: State) -> set[str]:
    """The findings for which something is under way or waits for a person."""
    acts = {finding for running in state.running for finding in running.because}
    return acts | {finding for plan in state.waiting for finding in plan.because}


def _may_release(state: State, held: Running) -> bool:
    """Whether nothing is wrong with the subject any more, and nobody is releasing it yet."""
    subject, findings = held.command.action.subject, state.actual["findings"]
    if (findings["open"] & (findings["subject"] == subject.encode())).any():
        return False
    acts = [one.command.action for one in state.running if one is not held]
    acts += [action for plan in state.waiting for action in plan.actions]
    return all(action.subject != subject for action in acts)


def _open(state: State, finding: str) -> bool:
    findings = state.actual["findings"]
    return findings.has(finding) and bool(findings.cell(finding, "open"))


def _governed(state: State, plan: Plan, person: str, at_s: float, policy: Policy, said: _Said) -> State:
    """Command the plan, propose it, or refuse it."""
    if plan not in state.waiting:
        said.plans.append(plan)
    problems = check(plan, state.world, at_s=at_s)
    clash = _clash(state, plan)
    if problems or clash:
        said.verdict(plan.id, "refused", "; ".join(problem.what for problem in problems) or clash)
        return replace(state, waiting=tuple(one for one in state.waiting if one.id != plan.id))
    if not person and (why := _needs_person(plan, policy)):
        said.verdict(plan.id, "would act" if policy.level == "observe" else "proposed", why)
        return replace(state, waiting=(*state.waiting, plan))
    budgets, spent = (state.budgets, "") if person else _charged(state.budgets, plan, at_s, policy)
    state = replace(state, budgets=budgets)
    if spent:
        said.verdict(plan.id, "refused", spent)
        return state
    said.verdict(plan.id, "commanded", f"approved by {person}" if person else "")
    commands = tuple(
        Command(plan=plan.id, action=action, reads=plan.reads, epoch=policy.epoch, approved_by=person)
        for action in plan.actions
    )
    said.commands += commands
    return replace(
        state,
        running=(*state.running, *(Running(command, plan.because, "sent") for command in commands)),
        waiting=tuple(one for one in state.waiting if one.id != plan.id),
    )


def _clash(state: State, plan: Plan) -> str:
    """Why the plan would get in the way of something under way; empty if it would not.

    What was commanded is as good as done: a plan must hold on the twin as it will be, too.
    """
    unsettled = [one.command.action for one in state.running if one.phase in ("sent", "verifying", "undoing")]
    under_way = {row for action in unsettled for row in action.touched}
    clashes = sorted(row for action in plan.actions for row in action.touched if row in under_way)
    if clashes:
        return f"{clashes[0][0]}[{clashes[0][1]}] is being changed"
    doubtful = [read for read in plan.reads if (read.table, read.row) in under_way]
    sent = [one.command.action for one in state.running if one.phase == "sent"]
    stale = changed(doubtful, World(applied(sent, state.intended), state.actual))
    return f"relied on {stale[0]}, which is being changed" if stale else ""


def _needs_person(plan: Plan, policy: Policy) -> str:
    for action in plan.actions:
        if KINDS[action.kind].effect == "irrevocable":
            return f"{action.kind} cannot be undone: a person decides"
    return "" if policy.level == "act" else f"the level is {policy.level}"


def _charged(budgets: Table, plan: Plan, at_s: float, policy: Policy) -> tuple[Table, str]:
    """The budgets after the plan's actions, and which of them is spent."""
    for action in plan.actions:
        wanted = []
        if KINDS[action.kind].duration == "instant":
            wanted.append((f"{action.kind}:{action.subject}", SUBJECT_BUDGET))
        if action.kind in policy.budgets:
            wanted.append((action.kind, policy.budgets[action.kind]))
        for name, (every_s, burst) in wanted:
            events: Events = {
                "at_s": np.array([at_s]),
                "name": texts([name]),
                "every_s": np.array([every_s]),
                "burst": np.array([burst]),
            }
            after, output = budget.step(budgets, events, at_s)
            if not output["granted"][0]:
                return budgets, f"the budget of {name} is spent"
            budgets = after
    return budgets, ""
