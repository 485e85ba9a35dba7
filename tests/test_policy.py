from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karez.measure import policy
from karez.measure.policy import CROSSINGS, MODES, RULES, Crossing, verdict
from karez.twin import Table, Twin
from tests import compute

GRADES = ("general", "important", "core", "unknown")
KINDS = ("no", "personal", "sensitive", "unknown")


def test_every_grade_has_exactly_one_rule_in_every_crossing() -> None:
    for column, values in {"grade": GRADES, "personal": KINDS[1:]}.items():
        for value, crossing in product(values, CROSSINGS):
            found = [r.id for r in RULES if r.column == column and r.value == value and crossing in r.crossings]
            assert len(found) == 1, (column, value, crossing, found)


def test_rules_have_their_own_ids_and_a_source() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.source for rule in RULES)


@pytest.mark.parametrize(
    ("grade", "personal", "crossing", "mode"),
    [
        ("general", "no", "stays", "plain"),
        ("general", "no", "province", "encrypt"),
        ("general", "no", "unproven", "encrypt"),
        ("general", "no", "abroad", "encrypt"),
        ("general", "personal", "province", "encrypt"),
        ("general", "personal", "verified", "pseudonymise"),
        ("general", "personal", "unverified", "deny"),
        ("general", "personal", "abroad", "deny"),
        ("general", "sensitive", "province", "deny"),
        ("important", "no", "stays", "plain"),
        ("important", "no", "neighbour", "encrypt"),
        ("important", "personal", "neighbour", "pseudonymise"),
        ("important", "no", "province", "deny"),
        ("core", "no", "stays", "plain"),
        ("core", "no", "neighbour", "deny"),
    ],
)
def test_the_rules_say_what_the_table_of_data_and_crossings_says(
    grade: str, personal: str, crossing: Crossing, mode: str
) -> None:
    assert verdict(grade=grade, personal=personal, crossing=crossing).mode == mode


@pytest.mark.parametrize("crossing", CROSSINGS)
def test_an_unknown_fact_is_no_and_is_named(crossing: Crossing) -> None:
    said = verdict(grade="unknown", personal="unknown", crossing=crossing)
    assert (said.allowed, said.missing) == (False, ("datasets.grade", "datasets.personal"))
    said = verdict(grade="general", personal="unknown", crossing=crossing)
    assert not said.allowed
    assert "datasets.personal" in said.missing
    if crossing == "unproven":
        assert "domains.verified" in verdict(grade="general", personal="personal", crossing=crossing).missing
    if crossing == "unnamed":
        assert "servers.domain" in verdict(grade="general", personal="no", crossing=crossing).missing


@given(st.sampled_from(GRADES), st.sampled_from(KINDS), st.sampled_from(CROSSINGS))
def test_the_strictest_rule_wins(grade: str, personal: str, crossing: Crossing) -> None:
    both = verdict(grade=grade, personal=personal, crossing=crossing).mode
    alone = verdict(grade=grade, personal="no", crossing=crossing).mode
    assert MODES.index(both) >= MODES.index(alone)


def test_a_grade_that_no_rule_knows_is_denied() -> None:
    assert not verdict(grade="secret", personal="no", crossing="stays").allowed


def test_each_server_gets_the_crossing_that_its_owner_and_place_make() -> None:
    world = compute.small()
    owners = ["own", "friend", "stranger", "hidden", "foreign", ""]
    servers: compute.Columns = {
        "id": [f"{place}-{owner}" for place in ("east", "west") for owner in owners],
        "site": [f"c-{place}" for place in ("east", "west") for _ in owners],
        "chip": ["X"] * 12,
        "chips": [1] * 12,
        "domain": owners * 2,
    }
    twin = world.intended.replace(Table.of("servers", servers))
    codes, _ = policy.modes(twin, "general")
    said = {name.decode(): CROSSINGS[code] for name, code in zip(twin["servers"].ids.tolist(), codes, strict=True)}
    # A server without a domain is its site's, here `own`.
    assert said == {
        "east-own": "stays",
        "east-": "stays",
        "east-friend": "neighbour",
        "east-stranger": "unverified",
        "east-hidden": "unproven",
        "east-foreign": "abroad",
        "west-own": "province",
        "west-": "province",
        "west-friend": "verified",
        "west-stranger": "unverified",
        "west-hidden": "unproven",
        "west-foreign": "abroad",
    }


def test_a_server_of_nobody_is_unnamed() -> None:
    twin = compute.small().intended
    sites, servers = twin["sites"], twin["servers"]
    nobody = twin.replace(sites.set(np.arange(len(sites)), domain=""), servers.set(np.arange(len(servers)), domain=""))
    codes, verdicts = policy.modes(nobody, "general")
    assert {CROSSINGS[code] for code in codes} == {"unnamed"}
    assert not any(verdicts[code].allowed for code in codes)


def test_a_network_without_servers_or_domains_gets_no_verdict() -> None:
    twin = Twin({"datasets": Table.of("datasets", compute.datasets())})
    codes, _ = policy.modes(twin, "general")
    assert len(codes) == 0


def test_missing_facts_are_named_with_their_rows() -> None:
    said = verdict(grade="unknown", personal="no", crossing="stays")
    assert policy.facts(said, datasets="D1") == ("datasets[D1].grade",)
