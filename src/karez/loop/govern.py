"""What is to be done: plans of people, proposals that wait, and mending for what was found; and whether it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from karez.adapters.guard import Command
from karez.loop import budget
from karez.loop.follow import REPLY_S, held
from karez.loop.state import Approval, Inputs, Policy, Running, Said, State
from karez.loop.vetting import vetted
from karez.plan import Plan, applied, changed
from karez.plan.heal import heal, release
from karez.plan.kinds import KINDS
from karez.twin import Table, World
from karez.twin.fold import Events
from karez.twin.table import texts

# The same instant act on the same row: twice at once, then every ten minutes. This is what damps flapping.
ROW_BUDGET = (600.0, 2)
# How long the loop lets something rest for which nothing better than waiting was found, or no budget was left.
REST_S = 10.0


def reviewed(state: State, at_s: float, said: Said) -> State:
    """The state without proposals that have expired, whose reads changed or whose finding is gone."""
    kept = []
    for plan in state.waiting:
        why = _outlived(state, plan, at_s)
        if why:
            said.verdict(plan.id, "withdrawn", why)
        else:
            kept.append(plan)
    return replace(state, waiting=tuple(kept))


def unheard(inputs: Inputs, said: Said) -> None:
    """Tell people that nothing came of what they brought or approved, since the network could not be observed."""
    for plan in (*(plan.id for plan in inputs.plans), *(approval.plan for approval in inputs.approvals)):
        said.verdict(plan, "refused", f"the network could not be observed: {inputs.failed}")


def brought(state: State, plans: Sequence[Plan], at_s: float, policy: Policy, said: Said) -> State:
    """The state after the plans that people brought were decided on."""
    for plan in plans:
        if plan.id in {waiting.id for waiting in state.waiting} | {one.command.plan for one in state.running}:
            said.verdict(plan.id, "refused", "it is here already")
        elif not plan.actions:
            said.verdict(plan.id, "refused", "there is nothing to do in it")
        else:
            state = _governed(state, plan, at_s, policy, said)
    return state


def approved(state: State, approvals: Sequence[Approval], at_s: float, policy: Policy, said: Said) -> State:
    """The state after people have approved what waits; a word of nobody counts for nothing."""
    for approval in (approval for approval in approvals if approval.person):
        plan = next((plan for plan in state.waiting if plan.id == approval.plan), None)
        if plan is None:
            said.verdict(approval.plan, "refused", f"{approval.person} approved it, and it does not wait")
        elif policy.level == "observe":
            said.verdict(plan.id, "refused", f"{approval.person} approved it, and at observe nothing is done")
        else:
            state = replace(state, waiting=tuple(one for one in state.waiting if one is not plan))
            state = _governed(state, plan, at_s, policy, said, person=approval.person)
    return state


def mended(state: State, at_s: float, policy: Policy, said: Said) -> State:
    """The state after every open finding that nobody is on was planned for, and what is held for none was released."""
    state = replace(state, resting=tuple((name, until_s) for name, until_s in state.resting if until_s > at_s))
    kept = held(state)
    busy = _minded(state) | {name for name, _ in state.resting}
    on_it = busy | {finding for finding, _ in kept}
    findings = state.findings
    for finding in (row.decode() for row in findings.ids[findings["open"]].tolist()):
        if finding not in on_it:
            plan = heal(state.world, finding, at_s=at_s)
            state = _tried(state, plan, finding, at_s, policy, said)
    for finding, actions in kept:
        if finding not in busy | _released(state) and not state.open(finding):
            plan = release(state.world, finding, actions, at_s=at_s)
            state = _tried(state, plan, finding, at_s, policy, said)
    return state


def _tried(state: State, plan: Plan | None, finding: str, at_s: float, policy: Policy, said: Said) -> State:
    """The state after a plan for a finding was decided on; what came to nothing rests for a while."""
    if plan is not None:
        state = _governed(state, plan, at_s, policy, said)
    if finding in _minded(state) | _released(state):
        return state
    return replace(state, resting=(*state.resting, (finding, at_s + REST_S)))


def _minded(state: State) -> set[str]:
    """The findings for which something is under way or waits for a person."""
    acts = {finding for running in state.running for finding in running.because}
    return acts | {finding for plan in state.waiting for finding in plan.because}


def _released(state: State) -> set[str]:
    """The findings whose mending is being taken back, or would be if a person said so."""
    return {one.releases for one in state.running} | {_releases(plan) for plan in state.waiting}


def _releases(plan: Plan) -> str:
    return str(plan.question.get("finding", "")) if plan.planner == "release" else ""


def _outlived(state: State, plan: Plan, at_s: float) -> str:
    """Why a proposal is no longer one."""
    stale = changed(plan.reads, state.world)
    if stale:
        return str(stale[0])
    if any(action.expires_at_s < at_s for action in plan.actions):
        return "it has expired"
    return "the finding is gone" if plan.because and not any(map(state.open, plan.because)) else ""


def _governed(state: State, plan: Plan, at_s: float, policy: Policy, said: Said, *, person: str = "") -> State:
    """The state after a plan was commanded, proposed or refused; `state.waiting` does not hold it any more."""
    if not person:
        said.plans.append(plan)
    problems = [problem.what for problem in vetted(plan, state.world, at_s=at_s)]
    why = "; ".join(problems) or _clash(state, plan)
    if why:
        said.verdict(plan.id, "refused", why)
        return state
    if not person and (why := _needs_person(plan, policy)):
        said.verdict(plan.id, "would act" if policy.level == "observe" else "proposed", why)
        return replace(state, waiting=(*state.waiting, plan))
    if not person:
        budgets, why = _charged(state.actual["action_budgets"], plan, at_s, policy)
        state = state.known(budgets)
        if why:
            said.verdict(plan.id, "refused", why)
            return state
    said.verdict(plan.id, "commanded", f"approved by {person}" if person else "")
    command = Command(plan=plan.id, actions=plan.actions, reads=plan.reads, epoch=policy.epoch, approved_by=person)
    said.commands.append(command)
    running = Running(command, "sent", because=plan.because, releases=_releases(plan), limit_s=at_s + REPLY_S)
    return replace(state, running=(*state.running, running))


def _clash(state: State, plan: Plan) -> str:
    """Why the plan would get in the way of something under way; empty if it would not.

    What was commanded is as good as done: a plan must hold on the twin as it will be, too.
    """
    unsettled = [one for one in state.running if one.phase != "long"]
    under_way = {row for one in unsettled for row in one.command.touched}
    clashes = sorted(row for action in plan.actions for row in action.touched if row in under_way)
    if clashes:
        return f"{clashes[0][0]}[{clashes[0][1]}] is being changed"
    doubtful = [read for read in plan.reads if (read.table, read.row) in under_way]
    ahead = [one.command for one in unsettled if one.phase == "sent" or one.command.undoes]
    acts = [action for command in ahead for action in command.actions]
    stale = changed(doubtful, World(applied(acts, state.intended), state.actual)) if doubtful else ()
    return f"relied on {stale[0]}, which is being changed" if stale else ""


def _needs_person(plan: Plan, policy: Policy) -> str:
    for action in plan.actions:
        if KINDS[action.kind].effect == "irrevocable":
            return f"{action.kind} cannot be undone: a person decides"
    return "" if policy.level == "act" else f"the level is {policy.level}"


def _charged(budgets: Table, plan: Plan, at_s: float, policy: Policy) -> tuple[Table, str]:
    """The budgets after the plan's actions, and which of them is spent; what is refused costs nothing."""
    before = budgets
    for action in plan.actions:
        wanted = [(action.kind, policy.budgets[action.kind])] if action.kind in policy.budgets else []
        if KINDS[action.kind].duration == "instant":
            wanted += [(f"{action.kind}:{table}/{row}", ROW_BUDGET) for table, row in action.touched]
        for name, (every_s, burst) in wanted:
            events: Events = {
                "at_s": np.array([at_s]),
                "name": texts([name]),
                "every_s": np.array([every_s]),
                "burst": np.array([burst]),
            }
            budgets, output = budget.step(budgets, events, at_s)
            if not output["granted"][0]:
                return before, f"the budget of {name} is spent"
    return budgets, ""
