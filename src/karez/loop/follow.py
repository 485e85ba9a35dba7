"""What becomes of commands: replies taken in, acts verified, given up, undone, kept or ended.

An undoing is a command like any other: sent, verified, and sent again until it is seen. Only then may the guard forget
what it would have undone alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import msgspec
import numpy as np

from karez.adapters.guard import AGAIN_S, Command, Reply
from karez.loop.state import Inputs, Policy, Running, Said, State
from karez.measure.diagnose import is_foreseen
from karez.plan import Action, applied, changed, expected, inverse, is_reversible, taken
from karez.plan.kinds import KINDS, ORDERS
from karez.twin import Twin
from karez.twin.schema import Value
from karez.twin.table import text, texts

# How long a command may go without any reply before it counts as lost, done or not.
REPLY_S = 30.0
# How long after it was verified an act is taken back if users who were well are worse off, whatever else is seen; and
# after how long at the latest those for whose sake it was must be better off.
WATCH_S, HELPS_S = 8.0, 10.0
# How long a finding rests after a person has changed what was held for it.
RESPECT_S = 600.0


def answered(state: State, inputs: Inputs, said: Said) -> State:
    """The state with all that the guard says became of commands; what nobody asked for is ignored."""
    for reply in inputs.replies:
        for running in state.running:
            if running.command.id == reply.command and (reply.undone_alone or running.phase == "sent"):
                state = _answered(state, running, reply, inputs.at_s, said)
    return state


def followed(state: State, at_s: float, policy: Policy, said: Said) -> State:
    """The state after acts were verified, given up or ended."""
    for running in state.running:
        if running.phase == "long" and _ended(state, running.command, at_s):
            said.verdict(running.command.plan, "ended")
            state = _without_rows(_gone(state, running), running.command)
        elif running.phase in ("verifying", "watching") and (why := _regret(state, running, at_s)):
            state = _given_up(state, running, at_s, policy, said, why=why)
        elif running.phase == "verifying" and not _unseen(state, running.command):
            state = _verified(state, running, at_s, said)
        elif running.phase == "failed" or (running.phase in ("sent", "verifying") and at_s > running.limit_s):
            state = _given_up(state, running, at_s, policy, said)
    return _without_let_go(state, at_s)


def overtaken(state: State, at_s: float, said: Said) -> State:
    """The state without what was held and is no longer as it was set: somebody else has changed it."""
    busy = {row for running in state.running if not is_at_rest(running, at_s) for row in running.command.touched}
    for finding, acts in held(state):
        cells = [cell for action in acts for cell in action.sets]
        if any((cell.table, cell.row) in busy for cell in cells) or not _changed(state.intended, acts):
            continue
        said.verdict(finding, "withdrawn", "somebody else has changed what was held for it")
        state = replace(_keeping(state, finding, ()), resting=(*state.resting, (finding, at_s + RESPECT_S)))
    return state


def held(state: State) -> list[tuple[str, tuple[Action, ...]]]:
    """The findings for which something is kept until they are gone, and what."""
    findings = state.findings
    rows = findings.ids[findings["held"] != b""]
    return [
        (row.decode(), msgspec.json.decode(str(findings.cell(row.decode(), "held")), type=tuple[Action, ...]))
        for row in rows.tolist()
    ]


def _answered(state: State, running: Running, reply: Reply, at_s: float, said: Said) -> State:
    command = running.command
    if reply.undone_alone:
        return _replaced(state, running, msgspec.structs.replace(running, phase="failed"))
    if reply.done:
        said.verdict(command.plan, "applied")
        state = replace(state, intended=applied(command.actions, state.intended))
        return _replaced(state, running, _after(running, at_s))
    reads = "; ".join(str(read) for read in reply.changed)
    said.verdict(command.plan, "refused", f"{reply.why}: {reads}" if reads else reply.why)
    if command.undoes:
        return _replaced(state, running, _again(running, at_s))
    if not reply.begun:
        return _gone(state, running)
    begun = [action for action in command.actions if is_reversible(action) or action.id in reply.stands]
    command = msgspec.structs.replace(command, actions=tuple(begun))
    return _replaced(state, running, msgspec.structs.replace(running, command=command, phase="failed"))


def _after(running: Running, at_s: float) -> Running:
    """The command once the guard has carried it out."""
    instant = [KINDS[action.kind].within_s for action in running.command.actions if not _is_long(action)]
    if not instant:
        return msgspec.structs.replace(running, phase="long")
    return msgspec.structs.replace(running, phase="verifying", limit_s=at_s + max(instant), done_at_s=at_s)


def _again(running: Running, at_s: float) -> Running:
    """An undoing that was refused: it is sent again after a while."""
    return msgspec.structs.replace(running, phase="verifying", limit_s=at_s + AGAIN_S)


def _unseen(state: State, command: Command) -> tuple[str, ...]:
    """What must be seen in the actual twin and is not."""
    reads = (read for action in command.actions for read in expected(action))
    return tuple(str(read) for read in changed(reads, state.world))


def _verified(state: State, running: Running, at_s: float, said: Said) -> State:
    """What follows from an act that is seen to be done: mending is kept until its finding goes, release ends that."""
    command = running.command
    said.verdict(command.plan, "verified")
    said.confirmed += [command.undoes or command.id]
    if any(_is_long(action) for action in command.actions):
        return _replaced(state, running, msgspec.structs.replace(running, phase="long"))
    watched = not command.undoes and not running.releases and all(map(is_reversible, command.actions))
    if watched:
        state = _replaced(state, running, msgspec.structs.replace(running, phase="watching", limit_s=at_s + WATCH_S))
    else:
        state = _gone(state, running)
    if command.undoes:
        # Where the guard was first, the undoing was refused, and the intended twin still has what was undone.
        return replace(state, intended=applied(command.actions, state.intended))
    kept = dict(held(state))
    if running.releases:
        left = (act for act in kept.get(running.releases, ()) if not _changed(state.intended, [act]))
        return _keeping(state, running.releases, tuple(left))
    if not all(map(is_reversible, command.actions)):
        return state
    for finding in running.because[:1]:
        state = _keeping(state, finding, (*kept.get(finding, ()), *command.actions))
    return state


def is_at_rest(running: Running, at_s: float) -> bool:
    """Whether it is kept, and watched only for what it may do to others in the long run: it is in nobody's way."""
    return running.phase == "watching" and at_s > running.limit_s


def _without_let_go(state: State, at_s: float) -> State:
    """The state without acts that need not be watched any more, as they are not kept."""
    at_rest = [running for running in state.running if is_at_rest(running, at_s)]
    kept = dict(held(state)) if at_rest else {}
    for running in at_rest:
        rows = {row for name in running.because for act in kept.get(name, ()) for row in act.touched}
        if not rows.intersection(running.command.touched):
            state = _gone(state, running)
    return state


def _regret(state: State, running: Running, at_s: float) -> str:
    """Why an act that was done is better taken back; empty where it is not, or somebody is about to change the same."""
    others = {row for other in state.running if other is not running for row in other.command.touched}
    is_done = bool(running.done_at_s) and not running.command.undoes and not running.releases
    if not is_done or others.intersection(running.command.touched):
        return ""
    hurt = _hurt(state, running)
    if hurt and (not is_at_rest(running, at_s) or _crowds(state, running)):
        return f"{hurt} is worse off since"
    return "nobody is better off since" if _helps_nobody(state, running, at_s) else ""


def _hurt(state: State, running: Running) -> str:
    """A demand within reach of an act that began to suffer after it; empty where all are as well as before."""
    signals = state.actual["signals"]
    rows = np.flatnonzero(signals["open"] & (signals["source"] == b"user") & (signals["since_s"] > running.done_at_s))
    reach = _reach(running) if len(rows) else frozenset()
    for signal in signals.records(rows):
        if signal["subject"] in reach and (signal["kind"] == "loss" or _unforeseen(running.command, signal)):
            return str(signal["subject"])
    return ""


def _crowds(state: State, running: Running) -> bool:
    """Whether one of the links that took over traffic is in trouble since: then it is the act that users suffer by."""
    signals = state.actual["signals"]
    rows = np.flatnonzero(signals["open"] & (signals["since_s"] > running.done_at_s) & (signals["source"] != b"user"))
    detour = _reach(running) - {action.subject for action in running.command.actions}
    links = state.intended["links"]
    return any(text(row) in detour and links.has(text(row)) for row in signals["subject"][rows].tolist())


def _reach(running: Running) -> frozenset[str]:
    return frozenset(row for action in running.command.actions for row in action.blast_radius)


def _helps_nobody(state: State, running: Running, at_s: float) -> bool:
    """Whether all users for whose sake an act was done still suffer as before, though it had the time to help."""
    if running.phase != "watching" or not running.sufferers or at_s < running.done_at_s + HELPS_S:
        return False
    signals = state.actual["signals"]
    known = [name for name in running.sufferers if signals.has(name)]
    still = [
        one
        for one in signals.records(signals.rows(known))
        if one["open"] and float(one["since_s"]) <= running.done_at_s
        if one["kind"] == "loss" or _unforeseen(running.command, one)
    ]
    return len(still) == len(running.sufferers)


def _unforeseen(command: Command, signal: Mapping[str, Value]) -> bool:
    """Whether a demand is later than the plan said that it would be."""
    foreseen_us = command.foreseen_us.get(str(signal["subject"]), 0.0)
    return signal["kind"] == "delay" and not is_foreseen(float(signal["size"]), foreseen_us)


def _given_up(state: State, running: Running, at_s: float, policy: Policy, said: Said, *, why: str = "") -> State:
    """What follows from an act that was not seen in time: undo what can be undone, name the remedy of the rest."""
    command = running.command
    regretted, why = why, why or _why_given_up(state, running)
    if command.undoes:
        said.verdict(command.plan, "undone", f"sent again, {why}")
        return _sent(_gone(state, running), _renewed(command, at_s, policy), at_s, said)
    undo = [action for action in command.actions if is_reversible(action)]
    stands = [action for action in command.actions if action not in undo and _stands(state, running, action)]
    for action in command.actions:
        if action in stands and running.phase == "sent":
            said.verdict(command.plan, "applied", "the network shows it, though the guard's reply was lost")
        elif action not in undo:
            said.verdict(command.plan, "remedy", f"{why}; {_remedy(action)}")
    state = _staying(state, running, stands)
    state = _regretted(state, running, at_s, rests=bool(regretted))
    if not undo:
        said.confirmed.append(command.id)
        return state
    said.verdict(command.plan, "undone", why)
    back = Command(plan=command.plan, actions=_inverses(undo, at_s), reads=(), epoch=policy.epoch, undoes=command.id)
    return _sent(state, back, at_s, said)


def _regretted(state: State, running: Running, at_s: float, *, rests: bool) -> State:
    """The state in which what a command did is not kept, and where users were hurt its findings rest."""
    kept = dict(held(state))
    for finding in running.because:
        left = (act for act in kept.get(finding, ()) if not running.command.touched.intersection(act.touched))
        state = _keeping(state, finding, tuple(left))
        if rests:
            state = replace(state, resting=(*state.resting, (finding, at_s + RESPECT_S)))
    return state


def _why_given_up(state: State, running: Running) -> str:
    if running.phase == "failed":
        return "it was not done whole, or not confirmed in time"
    unseen = _unseen(state, running.command) if running.phase == "verifying" else ("the guard's reply",)
    return f"not seen in time: {'; '.join(unseen)}"


def _stands(state: State, running: Running, action: Action) -> bool:
    """Whether an act of a command that was given up, and cannot be undone, was taken: by sight, where it shows."""
    reads = taken(action)
    if running.phase == "verifying" or not reads:
        return running.phase != "sent"
    return not changed(reads, state.world)


def _remedy(action: Action) -> str:
    kind = KINDS[action.kind]
    if not kind.remedy:
        return f"find out what became of {action.kind} {action.subject}, which cannot be undone"
    return f"{kind.remedy} ({kind.remedy_price_cny:,.0f} CNY)" if kind.remedy_price_cny else kind.remedy


def _inverses(actions: Iterable[Action], at_s: float) -> tuple[Action, ...]:
    return tuple(inverse(action, expires_at_s=at_s + REPLY_S) for action in reversed(list(actions)))


def _renewed(command: Command, at_s: float, policy: Policy) -> Command:
    """The same command, which may be started for a while from now, by the leader of now."""
    actions = (msgspec.structs.replace(action, expires_at_s=at_s + REPLY_S) for action in command.actions)
    return msgspec.structs.replace(command, actions=tuple(actions), epoch=policy.epoch)


def _sent(state: State, command: Command, at_s: float, said: Said) -> State:
    said.commands.append(command)
    return replace(state, running=(*state.running, Running(command, "sent", limit_s=at_s + REPLY_S)))


def _ended(state: State, command: Command, at_s: float) -> bool:
    """Whether all that takes its time has come to its end: orders when they are there, the rest at its hour."""
    orders = state.actual["order_states"]
    return all(
        orders.has(action.id) and bool(orders.cell(action.id, "delivered"))
        if action.kind in ORDERS
        else at_s >= action.ends_at_s
        for action in command.actions
        if _is_long(action)
    )


def _is_long(action: Action) -> bool:
    return KINDS[action.kind].duration == "long"


def _without_rows(state: State, command: Command) -> State:
    """The intended twin after long acts have ended: jobs give back their chips, what was ordered stays."""
    ended = [new.row for action in command.actions if action.kind == "start_job" for new in action.adds]
    if not ended:
        return state
    table = state.intended["assignments"]
    kept = table.take(~np.isin(table.ids, texts(ended)))
    return replace(state, intended=state.intended.replace(kept))


def _changed(intended: Twin, actions: Iterable[Action]) -> bool:
    cells = [cell for action in actions for cell in action.sets]
    return any(
        not intended[cell.table].has(cell.row) or intended[cell.table].cell(cell.row, cell.column) != cell.after
        for cell in cells
    )


def _keeping(state: State, finding: str, actions: tuple[Action, ...]) -> State:
    """The state in which these acts are kept for the finding, or none is any more."""
    findings = state.findings
    if not findings.has(finding):
        return state
    kept = tuple(msgspec.structs.replace(action, blast_radius=(action.subject,), expects=()) for action in actions)
    text = msgspec.json.encode(kept).decode() if kept else ""
    return state.known(findings.set(findings.rows([finding]), held=text))


def _staying(state: State, running: Running, actions: Iterable[Action]) -> State:
    """The state with these of the command's acts taken, of which only those stay under way that take their time."""
    actions = tuple(actions)
    new = [act for act in actions if not any(state.intended[row.table].has(row.row) for row in act.adds)]
    state = replace(state, intended=applied(new, state.intended))
    left = tuple(action for action in actions if _is_long(action))
    if not left:
        return _gone(state, running)
    command = msgspec.structs.replace(running.command, actions=left)
    return _replaced(state, running, msgspec.structs.replace(running, command=command, phase="long"))


def _gone(state: State, running: Running) -> State:
    return replace(state, running=tuple(one for one in state.running if one is not running))


def _replaced(state: State, running: Running, other: Running) -> State:
    return replace(state, running=tuple(other if one is running else one for one in state.running))
