"""What is to be done: plans of people, proposals that wait, and mending for what was found; and whether it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from karez.adapters.guard import Command
from karez.loop import budget
from karez.loop.follow import REPLY_S, held, is_at_rest
from karez.loop.places import TOWARDS, Places, places, subject_sites
from karez.loop.state import Approval, Inputs, Level, Policy, Running, Said, State
from karez.loop.vetting import vetted
from karez.plan import Action, Plan, applied, changed
from karez.plan.heal import evidence_of, heal, release
from karez.plan.kinds import KINDS
from karez.twin import Table, World
from karez.twin.fold import Events
from karez.twin.table import texts

# How long a finding waits for another source before a person is asked.
PROPOSE_S = 5.0
# How long a proposal waits for a person (s).
WAITS_S = 3_600.0
# What may well come back by itself, and how long it has for that (s): a router that boots takes half a minute, and
# neighbours that lost a router with its BFD program find it again without, unless it is started while they do.
PATIENCE_S = {"router_dead": 45.0, "router_hung": 10.0, "bfd_dead": 10.0}
# From the least to the most that the loop may do.
LEVELS: tuple[Level, ...] = ("observe", "advise", "act")
# The same instant act on the same row: twice at once, then every ten minutes. This is what damps flapping.
ROW_BUDGET = (600.0, 2)
# How long after its finding was gone a mending is kept: longer each time that it came back, up to an hour.
RELEASE_S, LONGEST_RELEASE_S, MOST_DOUBLINGS = 60.0, 3_600.0, 10
# How long the loop lets something rest for which nothing better than waiting was found, or no budget was left.
REST_S = 10.0


def reviewed(state: State, at_s: float, policy: Policy, said: Said) -> State:
    """The state without proposals that have expired, whose reads changed or whose finding is gone.

    Nor does one wait that the loop may carry out alone by now: it is made anew.
    """
    kept = []
    for plan in state.waiting:
        why = _outlived(state, plan, at_s) or _freed(state, plan, policy)
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
        else:
            state = replace(state, waiting=tuple(one for one in state.waiting if one is not plan))
            state = _governed(state, plan, at_s, policy, said, person=approval.person)
    return state


def mended(state: State, at_s: float, policy: Policy, said: Said) -> State:
    """The state after every open finding that nobody is on was planned for, and what is held for none was released."""
    state = replace(state, resting=tuple((name, until_s) for name, until_s in state.resting if until_s > at_s))
    kept = held(state)
    busy = _minded(state, at_s) | {name for name, _ in state.resting}
    on_it = busy | {finding for finding, _ in kept}
    findings = state.findings
    # What nothing speaks for any more is still open for a while, and is not to be mended again.
    spoken_for = findings["open"] & np.isnan(findings["closed_at_s"])
    for finding in (row.decode() for row in findings.ids[spoken_for].tolist()):
        if finding not in on_it and not _early(state, finding, at_s, policy):
            plan = heal(state.world, finding, at_s=at_s)
            state = _tried(state, plan, finding, at_s, policy, said)
    for finding, actions in kept:
        if finding not in busy | _released(state) and _is_over(state, finding, actions, at_s):
            plan = release(state.world, finding, actions, at_s=at_s)
            state = _tried(state, plan, finding, at_s, policy, said)
    return state


def _early(state: State, finding: str, at_s: float, policy: Policy) -> bool:
    """Whether it is too soon for a finding: it may yet be seen by another source, or somewhere near is a change."""
    findings = state.findings
    sure, sources, since_s = (float(findings.cell(finding, name)) for name in ("confidence", "sources", "since_s"))
    if at_s - since_s < PATIENCE_S.get(str(findings.cell(finding, "kind")), 0.0):
        return True
    if (sources < policy.sources or sure < policy.confidence) and at_s - since_s < PROPOSE_S:
        return True
    subject = str(findings.cell(finding, "subject"))
    sites = {site for table in TOWARDS for site in subject_sites(state.world, table, subject)}
    metros = frozenset(str(state.world["sites"].cell(site, "metro")) for site in sites)
    return bool(_changing(state, metros))


def _freed(state: State, plan: Plan, policy: Policy) -> str:
    """That a proposal needs no person any more, since more speaks for its finding than when it was made."""
    if plan.planner != "heal" or not plan.because or policy.level == "observe":
        return ""
    level = _level(plan, places(state.world, plan.actions), policy)
    return "" if _needs_person(state, plan, level, policy) else "more speaks for it now: it is made anew"


def _is_over(state: State, finding: str, actions: Sequence[Action], at_s: float) -> bool:
    """Whether what is kept for a finding can go: it is gone for long enough, and nothing else speaks for keeping it."""
    if state.open(finding):
        return False
    findings = state.findings
    times, closed_s = int(findings.cell(finding, "times")), float(findings.cell(finding, "closed_at_s"))
    # A finding may have come back more often than a power of two can be.
    if at_s - closed_s < min(LONGEST_RELEASE_S, RELEASE_S * 2.0 ** min(times - 1, MOST_DOUBLINGS)):
        return False
    subjects = texts([action.subject for action in actions])
    return not (findings["open"] & np.isin(findings["subject"], subjects)).any()


def _tried(state: State, plan: Plan | None, finding: str, at_s: float, policy: Policy, said: Said) -> State:
    """The state after a plan for a finding was decided on; what came to nothing rests for a while."""
    if plan is not None:
        state = _governed(state, plan, at_s, policy, said, own=True)
    if finding in _minded(state, at_s) | _released(state):
        return state
    return replace(state, resting=(*state.resting, (finding, at_s + REST_S)))


def _minded(state: State, at_s: float) -> set[str]:
    """The findings for which something is under way or waits for a person."""
    acts = {finding for running in state.running if not is_at_rest(running, at_s) for finding in running.because}
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


def _governed(
    state: State, plan: Plan, at_s: float, policy: Policy, said: Said, *, person: str = "", own: bool = False
) -> State:
    """The state after a plan was commanded, proposed or refused; `state.waiting` does not hold it any more.

    `own` says that the loop has made it just now.
    """
    where = places(state.world, plan.actions)
    level = _level(plan, where, policy)
    asks = "" if person else _needs_person(state, plan, level, policy) or _crowded(state, plan, where)
    # What a person brought stays theirs to the letter: they approve it by its name.
    if asks and own and plan.planner == "heal":
        plan = _lasting(plan, at_s)
    if not person:
        said.plans.append(plan)
    problems = [problem.what for problem in vetted(plan, state.world, at_s=at_s)]
    why = "; ".join(problems) or _clash(state, plan, at_s) or _barred(state.world, plan, where, at_s)
    if why:
        said.verdict(plan.id, "refused", why)
        return state
    if person and level == "observe":
        said.verdict(plan.id, "refused", f"{person} approved it, and at observe nothing is done")
        return state
    if asks:
        said.verdict(plan.id, "would act" if level == "observe" else "proposed", asks)
        return replace(state, waiting=(*state.waiting, plan))
    if not person:
        budgets, why = _charged(state.actual["action_budgets"], plan, where, at_s, policy)
        state = state.known(budgets)
        if why:
            said.verdict(plan.id, "refused", why)
            return state
    said.verdict(plan.id, "commanded", f"approved by {person}" if person else "")
    command = Command(
        plan=plan.id,
        actions=plan.actions,
        reads=plan.reads,
        epoch=policy.epoch,
        approved_by=person,
        foreseen_us=plan.foreseen_us,
    )
    said.commands.append(command)
    running = Running(
        command,
        "sent",
        because=plan.because,
        releases=_releases(plan),
        sufferers=_sufferers(state, plan),
        limit_s=at_s + REPLY_S,
    )
    return replace(state, running=(*state.running, running))


def _sufferers(state: State, plan: Plan) -> tuple[str, ...]:
    """The signals of users that speak for what the plan answers, which are to go by it."""
    known = [name for name in plan.because if state.findings.has(name)]
    evidence = [signal for name in known for signal in evidence_of(state.world, name)]
    return tuple(sorted({str(signal["id"]) for signal in evidence if signal["source"] == "user"}))


def _lasting(plan: Plan, at_s: float) -> Plan:
    """The plan, good for as long as a person may need; its reads say whether it still fits."""
    actions = tuple(msgspec.structs.replace(action, expires_at_s=at_s + WAITS_S) for action in plan.actions)
    return msgspec.structs.replace(plan, actions=actions)


def _clash(state: State, plan: Plan, at_s: float) -> str:
    """Why the plan would get in the way of something under way; empty if it would not.

    What was commanded is as good as done: a plan must hold on the twin as it will be, too.
    """
    unsettled = [one for one in state.running if one.phase != "long" and not is_at_rest(one, at_s)]
    under_way = {row for one in unsettled for row in one.command.touched}
    clashes = sorted(row for action in plan.actions for row in action.touched if row in under_way)
    if clashes:
        return f"{clashes[0][0]}[{clashes[0][1]}] is being changed"
    doubtful = [read for read in plan.reads if (read.table, read.row) in under_way]
    ahead = [one.command for one in unsettled if one.phase == "sent" or one.command.undoes]
    acts = [action for command in ahead for action in command.actions]
    stale = changed(doubtful, World(applied(acts, state.intended), state.actual)) if doubtful else ()
    return f"relied on {stale[0]}, which is being changed" if stale else ""


def _level(plan: Plan, where: Places, policy: Policy) -> Level:
    """The lowest level of all that the plan does, wherever it does it."""
    domains = sorted(where.domains) or [""]
    levels = [policy.level_for(domain, action.kind) for action in plan.actions for domain in domains]
    return min(levels, key=LEVELS.index)


def _needs_person(state: State, plan: Plan, level: Level, policy: Policy) -> str:
    """Why the loop may not do this alone; empty where it may."""
    for action in plan.actions:
        if KINDS[action.kind].effect == "irrevocable":
            return f"{action.kind} cannot be undone: a person decides"
    if level != "act":
        return f"the level is {level}"
    if plan.asks:
        return plan.asks
    for finding in plan.because:
        sure, sources = (state.findings.cell(finding, column) for column in ("confidence", "sources"))
        if float(sources) < policy.sources:
            return f"{finding} rests on {sources} independent source, and {policy.sources} are asked for"
        if float(sure) < policy.confidence:
            return f"{finding} is {float(sure):.0%} sure, and {policy.confidence:.0%} is asked for"
    return ""


def _crowded(state: State, plan: Plan, where: Places) -> str:
    """Why the plan has to wait for another change in the same failure domain; empty where it has not."""
    if plan.planner == "release":
        return ""
    shared = _changing(state, where.metros)
    return f"something else is being changed in {shared}" if shared else ""


def _changing(state: State, metros: frozenset[str]) -> str:
    """One of these metropolises in which a change is under way; empty where there is none."""
    for running in state.running:
        if running.phase in ("sent", "verifying", "failed") and not running.command.undoes:
            shared = metros & places(state.world, running.command.actions).metros
            if shared:
                return min(shared)
    return ""


def _barred(world: World, plan: Plan, where: Places, at_s: float) -> str:
    """Why nothing may be changed there now: a freeze, or planned work; empty where there is none."""
    freezes = world["freezes"]
    now = np.flatnonzero((freezes["from_s"] <= at_s) & (at_s < freezes["to_s"]))
    for domain, row in zip(freezes["domain"][now].tolist(), freezes.ids[now].tolist(), strict=True):
        if not domain or domain.decode() in where.domains:
            return f"the freeze {row.decode()} holds"
    works = world["works"]
    now = np.flatnonzero((works["from_s"] <= at_s) & (at_s < works["to_s"]))
    mine = texts(sorted({row for action in plan.actions for _, row in action.touched} | where.sites))
    busy = now[np.isin(works["subject"][now], mine)]
    return f"planned work {works.ids[busy[0]].decode()} is under way" if len(busy) else ""


def _charged(budgets: Table, plan: Plan, where: Places, at_s: float, policy: Policy) -> tuple[Table, str]:
    """The budgets after the plan's actions, and which of them is spent; what is refused costs nothing."""
    before = budgets
    wanted = [
        (f"{kind}:{name}", policy.place_budgets[kind])
        for kind, names in (("site", where.sites), ("metro", where.metros))
        for name in sorted(names)
        if kind in policy.place_budgets and plan.planner != "release"
    ]
    for action in plan.actions:
        wanted += [(action.kind, policy.budgets[action.kind])] if action.kind in policy.budgets else []
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
