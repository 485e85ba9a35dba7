"""What waits for people in a box of approvals, and a person's word for or against it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from karez.errors import InputError, Refused
from karez.operations import Answer, ApproveQuestion
from karez.operations.leaving import require_address_may_know
from karez.operations.networks import counted, key_at, load, now_s, provenance
from karez.plan import Action
from karez.plan.kinds import KINDS
from karez.record.approvals import COUNTED, Box, Waiting
from karez.record.principals import Approval, approval_of, domains_of, judged, public_key, signed
from karez.twin import Table, Twin
from karez.twin.store import LAST_S, Revision

NONCE_BYTES = 16


class Proposal(msgspec.Struct, frozen=True):
    """A plan that waits: since and until when, for how many persons, who has approved it, and what it does."""

    plan: str
    since: str
    until: str
    needs: int
    approved_by: tuple[str, ...]
    brought_by: str
    does: str


class Act(msgspec.Struct, frozen=True):
    """One action of a plan in words."""

    what: str
    subject: str
    domains: tuple[str, ...]
    sets: tuple[str, ...]
    taken_back: str
    touches: tuple[str, ...]
    until: str


class Given(msgspec.Struct, frozen=True):
    """An approval that counts now."""

    principal: str
    name: str
    at: str
    until: str


class ApproveAnswer(Answer, frozen=True, kw_only=True):
    """All that waits, or one plan of it with its acts and approvals; `missing` says how many more persons it needs."""

    waiting: tuple[Proposal, ...]
    plan: str | None = None
    because: tuple[str, ...] | None = None
    price_cny: float | None = None
    acts: tuple[Act, ...] = ()
    approvals: tuple[Given, ...] = ()
    missing: int | None = None


class _Signer(NamedTuple):
    """A principal of the network, and its private key."""

    principal: str
    key: Ed25519PrivateKey


def run(question: ApproveQuestion) -> ApproveAnswer:
    """What waits, after what was said.

    Raises:
        InputError: there is no such network, box, plan or key, or the key is of nobody.
        Refused: the approval does not count, or the plan does not wait any more.
    """
    _require_sense(question)
    world, revision = load(question.network)
    at_s = now_s()
    signer = _signer(question.key, question.network, world["principals"]) if question.say != "show" else None
    require_address_may_know(world.intended, revision, question.box, at_s=at_s)
    with Box(question.box, judged(world.intended)) as box:
        waiting = box.waiting(at_s=at_s)
        if not question.plan:
            return _listed(waiting, revision)
        chosen = _chosen(question.plan, waiting, question.box)
        if signer is None:
            return _shown(chosen, world.intended, revision, "waits", _missing_words(chosen))
        if question.say == "refuse":
            _refuse(box, chosen, signer, question.why, world.intended, at_s)
            return _shown(chosen, world.intended, revision, "is refused", "it waits no longer", missing=None)
        _approve(box, chosen, signer, question.lasts_s, at_s)
        after = next((each for each in box.waiting(at_s=at_s) if each.plan.id == chosen.plan.id), None)
    if after is None:
        return _shown(chosen, world.intended, revision, "is approved", "it was taken up at once", missing=0)
    return _shown(after, world.intended, revision, "is approved", _missing_words(after))


def _require_sense(question: ApproveQuestion) -> None:
    """Return only if what is asked fits together.

    Raises:
        InputError: a word is to be said and it is not told about what or with which key, or a reason for no refusal.
    """
    if question.say != "show" and not question.plan:
        raise InputError.of("plan", f"is missing: {question.say} what?", "give the id of a plan that waits")
    if question.say != "show" and not question.key:
        raise InputError.of("key", "is missing", "give the file of your private key; karez key makes one")
    if question.why and question.say != "refuse":
        raise InputError.of("why", "is for what you refuse", "leave it out, or say refuse")


def _signer(path: str, network: str, principals: Table) -> _Signer:
    """Whose key a file holds.

    Raises:
        InputError: it cannot be read, or anybody may read it; it is no key, or that of nobody or of several.
    """
    key = key_at(path)
    public = public_key(key)
    rows = principals.ids[np.strings.lower(principals["public_key"]) == public.encode()]
    if len(rows) != 1:
        whose = "nobody" if not len(rows) else f"{len(rows)} principals"
        fix = f"put its public key {public} into one row of the table principals of {network}"
        raise InputError.of(path, f"is the key of {whose}", fix)
    return _Signer(rows[0].decode(), key)


def _chosen(named: str, waiting: Sequence[Waiting], box: str) -> Waiting:
    """The plan that an id, or its beginning, names."""
    found = [each for each in waiting if each.plan.id.startswith(named)]
    if len(found) == 1:
        return found[0]
    ids = ", ".join(each.plan.id for each in found or waiting)
    if found:
        raise InputError.of("plan", f"{named!r} names {len(found)} plans that wait", f"give more of one of {ids}")
    what = f"{named!r} does not wait in {box}: it was taken, withdrawn, or never there"
    raise InputError.of("plan", what, f"give one of {ids}" if ids else "nothing waits there")


def _approve(box: Box, waiting: Waiting, signer: _Signer, lasts_s: float, at_s: float) -> None:
    approval = _signed(waiting, signer, lasts_s, at_s)
    why = box.approve(approval, at_s=at_s)
    if why != COUNTED:
        raise Refused(f"plan {waiting.plan.id} was not approved: {why}")


def _refuse(box: Box, waiting: Waiting, signer: _Signer, reason: str, intended: Twin, at_s: float) -> None:
    """Take the plan away; whoever may approve it may refuse it."""
    plan = waiting.plan
    why = judged(intended)(_signed(waiting, signer, 1.0, at_s), plan, at_s)
    if why:
        raise Refused(f"plan {plan.id} was not refused: {why}")
    told = f"{signer.principal} refused it{f': {reason}' if reason else ''}"
    if not box.withdraw(plan.id, told):
        raise Refused(f"plan {plan.id} was not refused: it does not wait any more")


def _signed(waiting: Waiting, signer: _Signer, lasts_s: float, at_s: float) -> Approval:
    nonce = secrets.token_hex(NONCE_BYTES)
    return signed(approval_of(waiting.plan, signer.principal, at_s=at_s, lasts_s=lasts_s, nonce=nonce), signer.key)


def _listed(waiting: Sequence[Waiting], revision: Revision) -> ApproveAnswer:
    note = " (synthetic network)" if revision.synthetic else ""
    what = f"{counted(len(waiting), 'plan')} {'waits' if len(waiting) == 1 else 'wait'}" if waiting else "Nothing waits"
    return ApproveAnswer(
        headline=f"{what} for people{note}", citation=provenance(revision), waiting=tuple(map(_proposal, waiting))
    )


def _shown(
    waiting: Waiting, intended: Twin, revision: Revision, state: str, more: str, *, missing: int | None = -1
) -> ApproveAnswer:
    """One plan in words."""
    plan, note = waiting.plan, " (synthetic network)" if revision.synthetic else ""
    domains = domains_of(plan, intended)
    return ApproveAnswer(
        headline=f"Plan {plan.id} {state} ({_does(waiting)}); {more}{note}",
        citation=f"plan {plan.id} by {plan.planner}; {provenance(revision)}",
        waiting=(_proposal(waiting),) if state == "waits" else (),
        plan=plan.id,
        because=plan.because,
        price_cny=plan.price_cny,
        acts=tuple(_act(action, sorted(domains[action.id])) for action in plan.actions),
        approvals=tuple(_given(each, intended["principals"]) for each in waiting.approvals),
        missing=max(0, waiting.needs - len(waiting.approvals)) if missing == -1 else missing,
    )


def _missing_words(waiting: Waiting) -> str:
    has, missing = len(waiting.approvals), waiting.needs - len(waiting.approvals)
    if missing <= 0:
        return f"{counted(has, 'approval')} of {waiting.needs}: the loop may take it"
    return f"{has} of {counted(waiting.needs, 'approval')}, {missing} more {'is' if missing == 1 else 'are'} needed"


def _proposal(waiting: Waiting) -> Proposal:
    until_s = min((action.expires_at_s for action in waiting.plan.actions), default=0.0)
    return Proposal(
        plan=waiting.plan.id,
        since=_moment(waiting.since_s),
        until=_moment(until_s),
        needs=waiting.needs,
        approved_by=tuple(each.principal for each in waiting.approvals),
        brought_by=waiting.brought_by,
        does=_does(waiting),
    )


def _does(waiting: Waiting) -> str:
    plan = waiting.plan
    if plan.summary:
        return plan.summary
    acts = [f"{action.kind.replace('_', ' ')} {action.subject}" for action in plan.actions]
    more = f" and {len(acts) - 1} more" if len(acts) > 1 else ""
    return f"{acts[0]}{more}" if acts else "nothing"


def _act(action: Action, domains: Sequence[str]) -> Act:
    kind = KINDS.get(action.kind)
    sets = [f"{cell.table}[{cell.row}].{cell.column}: {cell.before} to {cell.after}" for cell in action.sets]
    adds = [f"{new.table}[{new.row}] is added" for new in action.adds]
    back = {"reversible": "exactly", "compensable": "not itself: " + (kind.remedy if kind else "")}
    return Act(
        what=kind.meaning if kind else f"{action.kind}, which is no known kind",
        subject=action.subject,
        domains=tuple(domain or "unknown" for domain in domains),
        sets=(*sets, *adds),
        taken_back=back.get(kind.effect, "never") if kind else "unknown",
        touches=action.blast_radius,
        until=_moment(action.expires_at_s),
    )


def _given(approval: Approval, principals: Table) -> Given:
    name = str(principals.cell(approval.principal, "name"))
    return Given(approval.principal, name, _moment(approval.at_s), _moment(approval.expires_at_s))


def _moment(at_s: float) -> str:
    """A second as a person reads it, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at_s)) if 0 <= at_s <= LAST_S else f"{at_s:g} s"
