"""Whose word counts: keys, signatures and scopes, and every way in which an approval is none."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.instances.ring import DRAIN, ORDER, RESTART, START, ring
from karez.errors import InputError
from karez.plan import Action, Cell, NewRow, Plan
from karez.plan.kinds import KINDS
from karez.record.principals import (
    LONGEST_S,
    ORDER_8_Y,
    PRIME,
    Approval,
    Scope,
    approval_of,
    content_of,
    domains_of,
    is_signed,
    judged,
    key_in,
    key_of,
    pem,
    problems,
    public_key,
    scopes,
    signed,
    why_not,
)
from karez.twin import Table, Twin
from tests.approving import NOW_S, plan_of

with_ = msgspec.structs.replace
KEY, OTHER_KEY = key_of(bytes([7]) * 32), key_of(bytes([8]) * 32)
PLAN = plan_of(DRAIN)
NONCE = "0" * 31 + "1"


def person(**more: Any) -> Table:
    row = {"id": "li", "kind": "person", "public_key": public_key(KEY), "scopes": "approve:*/*"} | more
    return Table.of("principals", {name: [value] for name, value in row.items()})


def word(of: Plan = PLAN, /, **more: Any) -> Approval:
    """An approval by Li, signed after `more` was changed in it."""
    made = approval_of(of, "li", at_s=NOW_S, lasts_s=60.0, nonce=NONCE)
    return signed(with_(made, **more), KEY)


def refusal(approval: Approval, principals: Table, plan: Plan = PLAN, at_s: float = NOW_S + 1.0) -> str:
    return judged(ring().intended.replace(principals))(approval, plan, at_s)


def test_an_approval_that_its_person_signed_counts_until_before_it_expires() -> None:
    assert refusal(word(), person()) == ""
    assert refusal(word(), person(), at_s=NOW_S + 59.999) == ""


@pytest.mark.parametrize("late_s", [0.0, 0.001, 1e6])
def test_an_approval_that_has_expired_by_however_little_does_not_count(late_s: float) -> None:
    assert "expired" in refusal(word(), person(), at_s=NOW_S + 60.0 + late_s)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"plan": "0" * 16}, "another plan"),
        ({"content": "0" * 64}, "another plan"),
        ({"principal": "wang"}, "no principal 'wang'"),
        ({"principal": ""}, "no principal ''"),
        ({"principal": "li\0"}, "no principal"),
        ({"principal": "li\ud800"}, "no principal"),
        ({"expires_at_s": float("inf")}, "at no time"),
        ({"at_s": float("nan")}, "at no time"),
        ({"at_s": NOW_S + 3_600.0, "expires_at_s": NOW_S + 7_200.0}, "a clock is wrong"),
        ({"expires_at_s": NOW_S + LONGEST_S + 60.0}, "longer than 7 days"),
        ({"nonce": "once"}, "nonce"),
        ({"nonce": NONCE.replace("1", "\u0661")}, "nonce"),
    ],
)
def test_an_approval_that_says_what_it_may_not_does_not_count_though_it_is_signed(
    changed: dict[str, Any], why: str
) -> None:
    try:
        approval = word(**changed)
    except UnicodeEncodeError:
        approval = with_(word(), **changed)
    assert why in refusal(approval, person())


@pytest.mark.parametrize(
    "changed",
    [
        {"expires_at_s": NOW_S + 61.0},
        {"at_s": NOW_S - 1.0},
        {"nonce": "0" * 32},
        {"signature": ""},
        {"signature": "zz"},
        {"signature": "00" * 64},
    ],
)
def test_whoever_changes_anything_in_it_spoils_the_signature(changed: dict[str, Any]) -> None:
    assert refusal(with_(word(), **changed), person()) == "its signature is not that of li"


@given(st.integers(0, 511), st.binary(min_size=32, max_size=32))
def test_no_bit_of_a_signature_may_differ(bit: int, seed: bytes) -> None:
    key = key_of(seed)
    approval = signed(word(), key)
    assert is_signed(approval, public_key(key))
    spoilt = bytearray.fromhex(approval.signature)
    spoilt[bit // 8] ^= 1 << bit % 8
    assert not is_signed(with_(approval, signature=spoilt.hex()), public_key(key))


def test_the_key_of_another_does_not_do() -> None:
    made = approval_of(PLAN, "li", at_s=NOW_S, lasts_s=60.0, nonce=NONCE)
    assert refusal(signed(made, OTHER_KEY), person()) == "its signature is not that of li"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"valid_to_s": NOW_S + 1.0}, "no longer a principal"),
        ({"kind": "agent"}, "a person is asked, and li is of kind agent"),
        ({"kind": "service"}, "a person is asked"),
        ({"scopes": ""}, "no scope of li lets it approve drain_link in domain carrier"),
        ({"scopes": "approve:other/* bring:*/* approve:*/restart_device"}, "no scope of li"),
        ({"scopes": "approve:*/* approve"}, "cannot be read"),
        ({"public_key": "li"}, "is not 64 hexadecimal digits"),
        ({"public_key": "0" * 64}, "a key for which anybody can sign"),
    ],
)
def test_a_principal_who_may_not_does_not_count(row: dict[str, Any], why: str) -> None:
    assert why in refusal(word(), person(**row))


def test_a_service_may_approve_where_no_person_is_asked_but_never_what_cannot_be_undone() -> None:
    service = person(kind="service")
    for action, why in ((DRAIN, ""), (RESTART, ""), (ORDER, "a person is asked, and li is of kind service")):
        plan = plan_of(action)
        judge = judged(ring().intended.replace(service), by_person=False)
        assert judge(word(plan), plan, NOW_S) == why


@pytest.mark.parametrize(
    "scope", ["approve:*/*", "approve:carrier/*", "approve:*/drain_link", "bring:*/* approve:carrier/drain_link"]
)
def test_a_scope_covers_a_domain_and_a_kind_by_name_or_any(scope: str) -> None:
    assert refusal(word(), person(scopes=scope)) == ""


def test_every_action_of_a_plan_has_to_be_covered() -> None:
    plan = plan_of(DRAIN, RESTART)
    assert "restart_device" in refusal(word(plan), person(scopes="approve:*/drain_link"), plan)
    assert refusal(word(plan), person(scopes="approve:*/drain_link approve:carrier/restart_device"), plan) == ""


def test_two_principals_with_one_key_are_nobody() -> None:
    two = person().add(
        {"id": ["wang"], "kind": ["person"], "public_key": [public_key(KEY).upper()], "valid_to_s": [NOW_S]}
    )
    assert refusal(word(), two) == ""
    still = two.set(two.rows(["wang"]), valid_to_s=float("inf"))
    assert refusal(word(), still) == "li has the same key as wang"


def test_an_id_that_two_plans_share_does_not_let_one_stand_for_the_other() -> None:
    class Twisted(Plan, frozen=True, kw_only=True):
        @property
        def id(self) -> str:
            return PLAN.id

    other = Twisted(**{field: getattr(plan_of(RESTART), field) for field in Plan.__struct_fields__})
    intended = ring().intended.replace(person())
    assert other.id == PLAN.id
    assert why_not(word(), intended["principals"], other, domains_of(other, intended), NOW_S) == (
        "it is an approval of another plan"
    )


def test_what_a_plan_holds_is_named_alike_before_and_after_it_was_written() -> None:
    plan = plan_of(DRAIN, price_cny=5)
    again = msgspec.json.decode(msgspec.json.encode(plan), type=Plan)
    assert content_of(plan) == content_of(again)
    assert content_of(plan_of(DRAIN, price_cny=float("inf"))) != content_of(plan_of(DRAIN, price_cny=float("nan")))


def test_whoever_signs_with_whole_numbers_signs_the_same() -> None:
    whole = signed(with_(word(), at_s=1_000, expires_at_s=1_060), KEY)
    assert whole.signature == word().signature
    assert is_signed(msgspec.json.decode(msgspec.json.encode(whole), type=Approval), public_key(KEY))


def test_anybody_can_sign_for_a_key_of_low_order_and_so_no_such_key_counts() -> None:
    weak = (1).to_bytes(32, "little").hex()
    # The private scalar of a key as RFC 8032 derives it, and its public key as the first half of the signature.
    scalar = bytearray(hashlib.sha512(bytes([7]) * 32).digest()[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    order = 2**252 + 27742317777372353535851937790883648493
    forged = public_key(KEY) + (int.from_bytes(scalar, "little") % order).to_bytes(32, "little").hex()
    assert is_signed(with_(word(), signature=forged), weak)
    assert "anybody can sign" in refusal(with_(word(), signature=forged), person(public_key=weak))


@pytest.mark.parametrize("y", [0, 1, PRIME - 1, PRIME, PRIME + 1, ORDER_8_Y, PRIME - ORDER_8_Y])
@pytest.mark.parametrize("sign", [0, 1])
def test_every_way_to_write_a_key_of_low_order_is_told(y: int, sign: int) -> None:
    key = (y | sign << 255).to_bytes(32, "little").hex()
    assert [problem.where for problem in problems(person(public_key=key))] == ["principals.public_key"]


def test_all_that_is_wrong_with_scopes_is_told_at_once() -> None:
    with pytest.raises(InputError) as raised:
        scopes("approve:*/drain_link aprove:*/* approve approve:we*t/* bring:west/drain_lnik act:/*")
    told = [problem.what for problem in raised.value.problems]
    assert told == [
        "'aprove:*/*' begins with no known verb",
        "'approve' names no domain",
        "'approve' names no kind of action",
        "'approve:we*t/*' has a * within the name of a domain",
        "'bring:west/drain_lnik' names no kind of action",
        "'act:/*' names no domain",
    ]


@given(
    st.sampled_from(["approve", "bring", "act"]),
    st.text(min_size=1).filter(lambda text: "*" not in text and text.isprintable()),
    st.sampled_from(["*", *KINDS]),
)
def test_a_scope_of_a_domain_of_any_name_comes_back_from_its_cell(verb: Any, domain: str, kind: str) -> None:
    scope = Scope(verb, domain, kind)
    assert scopes(f"{scope} {scope}") == (scope, scope)
    assert scope.covers(verb, domain, "drain_link") == (kind in ("*", "drain_link"))
    assert not scope.covers(verb, f"{domain}'", "drain_link")
    assert not scope.covers(verb, "", "drain_link")


def test_every_row_with_a_wrong_key_or_scope_is_told() -> None:
    table = Table.of(
        "principals",
        {
            "id": ["a", "b", "c", "d"],
            "kind": ["person"] * 4,
            "public_key": [public_key(KEY), public_key(KEY), "x", "0" * 64],
            "scopes": ["approve:*/*", "all", "", ""],
        },
    )
    assert {(problem.what, problem.rows) for problem in problems(table)} == {
        ("'all' begins with no known verb", ("b",)),
        ("'all' names no domain", ("b",)),
        ("'all' names no kind of action", ("b",)),
        ("is not 64 hexadecimal digits", ("c",)),
        ("is a key for which anybody can sign", ("d",)),
        ("the same key stands in several rows", ("a", "b")),
    }
    assert problems(person()) == []


def _mixed() -> Twin:
    """The ring with c3 in another domain, and c1 in none that is known."""
    intended = ring().intended
    sites = intended["sites"]
    sites = sites.set(sites.rows(["c3", "c1"]), domain=["west", ""])
    jobs = {"id": ["d"], "equipment": ["r3"], "link": ["l03"], "section": ["mtu"]}
    daemons = {"id": ["r3/bfd"], "equipment": ["r3"], "kind": ["bfd"]}
    return intended.replace(sites, Table.of("configs", jobs), Table.of("daemons", daemons))


def _sets(table: str, row: str, column: str, after: Any, before: Any = 0) -> Action:
    return Action(kind="drain_link", subject=row, sets=(Cell(table, row, column, before, after),), expires_at_s=0.0)


@pytest.mark.parametrize(
    ("action", "domains"),
    [
        (DRAIN, {"carrier", "west"}),
        (_sets("links", "l12", "drained", True), {"carrier", ""}),
        (_sets("links", "none", "drained", True), {""}),
        (RESTART, {"carrier"}),
        (_sets("equipment", "r3", "boots", 1), {"west"}),
        (_sets("daemons", "r3/bfd", "restarts", 1), {"west"}),
        (_sets("configs", "d", "restores", 1), {"west", "carrier"}),
        (_sets("demands", "d20", "limited_share", 0.5), {"carrier"}),
        (_sets("demands", "d20", "via", "c3", ""), {"carrier", "west"}),
        (_sets("domains", "carrier", "verified", "no", "yes"), {""}),
        (START, {"carrier"}),
        (ORDER, {""}),
        (with_(ORDER, adds=(NewRow("equipment", "e", {"site": "c3", "kind": "router"}),)), {"west"}),
        (with_(ORDER, adds=(NewRow("equipment", "e", {"site": "c9", "kind": "router"}),)), {""}),
        (with_(ORDER, adds=()), {""}),
    ],
)
def test_an_action_is_of_the_domains_of_all_rows_that_it_touches_or_leads_to(action: Action, domains: set[str]) -> None:
    assert domains_of(plan_of(action), _mixed()) == {action.id: domains}


def test_what_is_in_no_known_domain_needs_a_scope_of_any() -> None:
    plan = plan_of(_sets("links", "l12", "drained", True, False))
    intended = _mixed()
    for cell, why in (("approve:*/*", ""), ("approve:carrier/*", "a domain that nobody knows")):
        judge = judged(intended.replace(person(scopes=cell)))
        assert judge(word(plan), plan, NOW_S).endswith(why)
        assert bool(judge(word(plan), plan, NOW_S)) == bool(why)


def test_a_key_comes_back_from_its_file_and_other_files_are_refused() -> None:
    assert public_key(key_in(pem(KEY), "k")) == public_key(KEY)
    curve = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for data, what in ((curve, "not Ed25519"), (b"", "no private key"), (pem(KEY)[:60], "no private key")):
        with pytest.raises(InputError, match=what):
            key_in(data, "k")
