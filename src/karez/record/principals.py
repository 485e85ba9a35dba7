"""Who may do what: principals, the keys they sign with, and whether an approval of theirs counts.

Pure: keys, nonces and the time come in as arguments. What is not known for certain counts as no.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Literal, NamedTuple, get_args
from urllib.parse import quote, unquote

import msgspec
import numpy as np
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from karez.errors import InputError, Problem
from karez.plan import Action, Plan
from karez.plan.kinds import KINDS
from karez.twin import Table, Twin, schema
from karez.twin.schema import Value

Verb = Literal["approve", "bring", "act"]
VERBS: tuple[Verb, ...] = get_args(Verb)
ANY = "*"
# The domain of what nobody says it of: only a scope of any domain covers it.
UNKNOWN = ""
# How long an approval may last at most: what a person knew when they gave it grows old.
LONGEST_S = 7 * 86_400.0
# How far the clock of who approves may run before that of who acts.
SKEW_S = 60.0
KEY = re.compile(r"[0-9a-fA-F]{64}")
NONCE = re.compile(r"[0-9a-f]{32}")
# Which rows lead from a row to the sites, and so to the domain, that it belongs to.
LEADS = frozenset({"sites", "equipment", "servers", "links"})
# What a signature is of begins with this, so that it can never be one of anything else.
PURPOSE = b"karez approval 1\n"
# Signatures of such keys can be made by anybody, and a key of zeros is what stands in a form that nobody filled in.
# These are the y of all points whose order divides 8, modulo the prime of the curve.
# Source: RFC 8032, section 5.1; Chalkias, Garillot, Nikolaenko, Taming the many EdDSAs (2020), table 1.
PRIME = 2**255 - 19
ORDER_8_Y = 0x5FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
WEAK_Y = frozenset({0, 1, PRIME - 1, ORDER_8_Y, PRIME - ORDER_8_Y})


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A principal's word for one plan, given at `at_s` and good until before `expires_at_s`; it acts once.

    `content` names all that the plan holds (64 hexadecimal digits), since an id is short enough for two plans to be
    made that share it. `nonce` tells this approval from any other of the same principal.
    """

    plan: str
    content: str
    principal: str
    at_s: float
    expires_at_s: float
    nonce: str
    signature: str = ""


# Why an approval of a plan does not count at a time; empty where it does.
Judge = Callable[[Approval, Plan, float], str]


class Scope(NamedTuple):
    """One thing that a principal may do: `verb` to actions of `kind` in `domain`, either of which may be any."""

    verb: Verb
    domain: str
    kind: str

    def covers(self, verb: Verb, domain: str, kind: str) -> bool:
        """Whether it allows this."""
        return self.verb == verb and self.domain in (ANY, domain or ANY) and self.kind in (ANY, kind)

    def __str__(self) -> str:
        """As a cell of the table has it."""
        return f"{self.verb}:{self.domain if self.domain == ANY else quote(self.domain, safe='/:')}/{self.kind}"


def key_of(seed: bytes) -> Ed25519PrivateKey:
    """The private key that 32 random bytes stand for."""
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_key(key: Ed25519PrivateKey) -> str:
    """The public key of a private one, as the table of principals has it (64 hexadecimal digits)."""
    return key.public_key().public_bytes_raw().hex()


def pem(key: Ed25519PrivateKey) -> bytes:
    """A private key as a file holds it (PKCS #8 in PEM, not encrypted)."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_in(data: bytes, where: str) -> Ed25519PrivateKey:
    """The private key that a file holds.

    Raises:
        InputError: it holds none, or one of another kind.
    """
    fix = "give a file that karez key wrote"
    try:
        found = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError.of(where, "holds no private key that can be read", fix) from error
    if not isinstance(found, Ed25519PrivateKey):
        raise InputError.of(where, "holds a key that is not Ed25519", fix)
    return found


def content_of(plan: Plan) -> str:
    """64 hexadecimal digits that name all that a plan holds, whether it was ever written to a file or not."""
    once = msgspec.msgpack.decode(msgspec.msgpack.encode(plan), type=Plan)
    return hashlib.sha256(msgspec.msgpack.encode(once, order="deterministic")).hexdigest()


def approval_of(plan: Plan, principal: str, *, at_s: float, lasts_s: float, nonce: str) -> Approval:
    """An approval of all that a plan holds, not signed yet; `nonce` is 32 random hexadecimal digits."""
    return Approval(
        plan=plan.id,
        content=content_of(plan),
        principal=principal,
        at_s=at_s,
        expires_at_s=at_s + lasts_s,
        nonce=nonce,
    )


def signed(approval: Approval, key: Ed25519PrivateKey) -> Approval:
    """The approval with the signature of `key` under all of it."""
    return msgspec.structs.replace(approval, signature=key.sign(_message(approval)).hex())


def is_signed(approval: Approval, public: str) -> bool:
    """Whether the approval bears the signature of the private key that belongs to `public`."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(
            bytes.fromhex(approval.signature), _message(approval)
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def scopes(text: str, where: str = "scopes") -> tuple[Scope, ...]:
    """The scopes that a cell holds: `VERB:DOMAIN/KIND`, with blanks between; signs in ids may be written as `%20`.

    Raises:
        InputError: parts that are none: all of them.
    """
    found: list[Scope] = []
    problems: list[Problem] = []
    for word in text.split():
        verb, _, rest = word.partition(":")
        domain, _, kind = rest.rpartition("/")
        wrong = _wrong_scope(verb, domain, kind)
        problems += [Problem(where, f"{word!r} {what}", fix) for what, fix in wrong]
        if not wrong:
            # The check above says that it is one of them.
            found.append(Scope(verb, domain if domain == ANY else unquote(domain), kind))  # type: ignore[arg-type]
    if problems:
        raise InputError(problems)
    return tuple(found)


def problems(principals: Table) -> list[Problem]:
    """What is wrong with keys and scopes of principals, by what it is, with the rows that have it."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row, each in enumerate(principals.ids.tolist()):
        public, cell = (principals[name][row].decode() for name in ("public_key", "scopes"))
        told = [Problem("principals.public_key", what, fix) for what, fix in _wrong_key(public)]
        try:
            scopes(cell, "principals.scopes")
        except InputError as error:
            told += error.problems
        for problem in told:
            found.setdefault((problem.where, problem.what, problem.fix), []).append(each.decode())
    shared = _shared_keys(principals)
    if shared:
        what = "the same key stands in several rows"
        found["principals.public_key", what, "give each principal a key of its own"] = shared
    return [Problem(where, what, fix, tuple(rows)) for (where, what, fix), rows in found.items()]


def why_not(
    approval: Approval,
    principals: Table,
    plan: Plan,
    domains: Mapping[str, Collection[str]],
    at_s: float,
    *,
    by_person: bool = True,
) -> str:
    """Why an approval of `plan` does not count at `at_s`; empty where it does.

    `domains` has those of each action by its id (`domains_of`). `by_person` says whether only a person's counts; for
    what cannot be undone only a person's ever does.
    """
    who = approval.principal
    if approval.plan != plan.id or approval.content != content_of(plan):
        return "it is an approval of another plan"
    why = _why_no_time(approval, at_s) or _why_nobody(principals, who, at_s)
    if why:
        return why
    if by_person or any(_is_irrevocable(action) for action in plan.actions):
        kind = principals.cell(who, "kind")
        if kind != "person":
            return f"a person is asked, and {who} is of kind {kind}"
    if not is_signed(approval, str(principals.cell(who, "public_key"))):
        return f"its signature is not that of {who}"
    return why_no_right(principals, who, "approve", plan, domains)


def why_no_right(
    principals: Table, principal: str, verb: Verb, plan: Plan, domains: Mapping[str, Collection[str]]
) -> str:
    """Why the scopes of a principal (a row there is) do not let it do this to a plan; empty where they do."""
    try:
        allowed = scopes(str(principals.cell(principal, "scopes")))
    except InputError as error:
        return f"the scopes of {principal} cannot be read: {error.problems[0].what}"
    for action in plan.actions:
        for domain in sorted(domains.get(action.id) or {UNKNOWN}):
            if not any(scope.covers(verb, domain, action.kind) for scope in allowed):
                place = f"domain {domain}" if domain else "a domain that nobody knows"
                return f"no scope of {principal} lets it {verb} {action.kind} in {place}"
    return ""


def judged(intended: Twin, *, by_person: bool = True) -> Judge:
    """Judges approvals by the principals and domains of a twin."""

    def judge(approval: Approval, plan: Plan, at_s: float) -> str:
        domains = domains_of(plan, intended)
        return why_not(approval, intended["principals"], plan, domains, at_s, by_person=by_person)

    return judge


def domains_of(plan: Plan, intended: Twin) -> dict[str, frozenset[str]]:
    """The domains whose rows each action touches, by the action's id; empty text among them where nobody knows."""
    return {action.id: frozenset(_domains(action, intended)) for action in plan.actions}


def _message(approval: Approval) -> bytes:
    """What a signature is of: numbers as floats, so that it does not matter how they were written."""
    times = float(approval.at_s), float(approval.expires_at_s)
    parts = (approval.plan, approval.content, approval.principal, *times, approval.nonce)
    return PURPOSE + msgspec.json.encode(parts)


def _wrong_scope(verb: str, domain: str, kind: str) -> list[tuple[str, str]]:
    """What is wrong with the parts of a scope, and what to do."""
    found = []
    if verb not in VERBS:
        found.append(("begins with no known verb", f"write VERB:DOMAIN/KIND with one of {', '.join(VERBS)}"))
    if not domain:
        found.append(("names no domain", "write VERB:DOMAIN/KIND, with * for any domain"))
    elif ANY in unquote(domain) and domain != ANY:
        found.append(("has a * within the name of a domain", "name each domain, or write * alone"))
    if kind != ANY and kind not in KINDS:
        found.append(("names no kind of action", f"write * or one of {', '.join(KINDS)}"))
    return found


def _wrong_key(public: str) -> list[tuple[str, str]]:
    """What is wrong with a public key, and what to do."""
    fix = "make a pair with karez key, and put in what the .pub file holds"
    if not KEY.fullmatch(public):
        return [("is not 64 hexadecimal digits", fix)]
    return [("is a key for which anybody can sign", fix)] if _is_weak(public) else []


def _is_weak(public: str) -> bool:
    return (int.from_bytes(bytes.fromhex(public), "little") & (2**255 - 1)) % PRIME in WEAK_Y


def _shared_keys(principals: Table) -> list[str]:
    """The principals whose key another one has, too."""
    keys = np.strings.lower(principals["public_key"])
    _, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return [each.decode() for each in principals.ids[counts[which] > 1].tolist()]


def _why_no_time(approval: Approval, at_s: float) -> str:
    """Why an approval is none at this time, or at any."""
    if not (math.isfinite(approval.at_s) and math.isfinite(approval.expires_at_s)):
        return "it was given or expires at no time"
    if not NONCE.fullmatch(approval.nonce):
        return "its nonce is not 32 hexadecimal digits"
    # A second more, for sums of times are rounded.
    if approval.expires_at_s - approval.at_s > LONGEST_S + 1.0:
        return f"it would last longer than {LONGEST_S / 86_400:.0f} days"
    if approval.at_s > at_s + SKEW_S:
        return f"it was given {approval.at_s - at_s:,.0f} s from now: a clock is wrong"
    return f"it expired {at_s - approval.expires_at_s:,.3f} s ago" if approval.expires_at_s <= at_s else ""


def _why_nobody(principals: Table, who: str, at_s: float) -> str:
    """Why a name is that of no principal who may do anything at this time."""
    # A table drops zero bytes at the end of a text: whatever cannot be printed is no name.
    if not (who and who.isprintable() and principals.has(who)):
        return f"there is no principal {who!r}"
    if not float(principals.cell(who, "valid_to_s")) > at_s:
        return f"{who} is no longer a principal"
    wrong = _wrong_key(str(principals.cell(who, "public_key")))
    if wrong:
        return f"the key of {who} {wrong[0][0]}"
    same = np.strings.lower(principals["public_key"]) == str(principals.cell(who, "public_key")).lower().encode()
    sharing = principals.ids[same & (principals["valid_to_s"] > at_s)].tolist()
    others = [name for each in sharing if (name := each.decode()) != who]
    return f"{who} has the same key as {others[0]}" if others else ""


def _is_irrevocable(action: Action) -> bool:
    kind = KINDS.get(action.kind)
    return kind is None or kind.effect == "irrevocable"


def _domains(action: Action, intended: Twin) -> Iterator[str]:
    """The domains of all rows that an action sets or adds, and of those that it leads to; unknown for none."""
    if not action.touched:
        yield UNKNOWN
    for cell in action.sets:
        yield from _of(cell.table, cell.row, intended)
        if cell.after != UNKNOWN and LEADS & set(schema.column(cell.table, cell.column).refers_to):
            yield from _of_cells(cell.table, {cell.column: cell.after}, intended)
    for new in action.adds:
        yield from _of_cells(new.table, new.values, intended)


def _of(table: str, row: str, intended: Twin) -> Iterator[str]:
    """The domains of a row there is; unknown of one that there is not."""
    if not intended[table].has(row):
        yield UNKNOWN
        return
    yield from _of_cells(table, intended[table].records(intended[table].rows([row]))[0], intended)


def _of_cells(table: str, cells: Mapping[str, Value], intended: Twin) -> Iterator[str]:
    """The domain that a row names, or else those of all rows that it leads to."""
    if own := cells.get("domain"):
        yield str(own)
        return
    led = False
    for name, spec in schema.tables()[table].items():
        value = str(cells.get(name) or "")
        if value and LEADS & set(spec.refers_to):
            led = True
            target = next((each for each in spec.refers_to if intended[each].has(value)), "")
            yield from _of(target, value, intended) if target in LEADS else (UNKNOWN,)
    if not led:
        yield UNKNOWN


__all__ = [
    "Approval",
    "Judge",
    "Scope",
    "Verb",
    "approval_of",
    "content_of",
    "domains_of",
    "is_signed",
    "judged",
    "key_in",
    "key_of",
    "pem",
    "problems",
    "public_key",
    "scopes",
    "signed",
    "why_no_right",
    "why_not",
]
