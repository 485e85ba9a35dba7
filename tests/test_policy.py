from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karez.errors import InputError
from karez.measure import policy
from karez.measure.policy import MODES, law, shipped, verdict
from karez.measure.policy.law import BLOCK, Facts
from karez.measure.policy.lineage import lineage
from karez.measure.policy.packs import loaded
from karez.measure.policy.reference import Reference, drawn
from karez.measure.policy.trials import contradictions, failures, told, trials
from karez.measure.policy.vocabulary import evidence_kinds, facts
from karez.twin import Table, Twin, schema
from karez.twin.table import strings
from tests import compute

AT_S = 1_790_000_000.0
NAMES = ("unknown", "CN", "CN-GZ", "CN-SH", "DE", "US")
# Questions by chance that Cedar is asked, too: in seven modes, of every set of rules.
CASES, THINNED = 150_000, 120
PACK = 'title = "T"\nversion = "1"\nrules = ["a.cedar"]\nsources = []\n'
RULE = '@id("{id}")\n@article("A")\n@from("2020-01-01")\n{effect} (principal, action, resource){when};\n'


def everything() -> policy.Law:
    return law(shipped(), AT_S)


# Packs.


@pytest.mark.parametrize("pack", shipped(), ids=lambda pack: pack.name)
def test_a_pack_passes_its_own_tests_and_has_one_for_each_rule(pack: policy.Pack) -> None:
    assert trials(pack)
    assert list(failures(pack)) == []


def test_a_test_of_a_pack_that_fails_is_told_with_its_name() -> None:
    pack = next(pack for pack in shipped() if pack.name == "us-dsp")
    wrong = pack._replace(tests=pack.tests.replace(",all,not-covered-data", ",none,covered"))
    assert list(failures(wrong)) == [
        f"not covered data: lawful is {' '.join(MODES)}, not none",
        "not covered data: covered is not among the rules that decide: not-covered-data, not-personal",
        "us-dsp/dsp/not-covered-data: no test is about it",
    ]


def test_rules_bear_an_article_that_their_pack_has_the_source_of() -> None:
    for pack in shipped():
        known = {source.partition(":")[0] for source in pack.sources} | {"engineering"}
        for rules in pack.sets:
            for rule in rules.rules:
                short = [word for word in known if word in rule.article or "28 CFR" in rule.article]
                assert short, (rules.name, rule.id, rule.article)


def written(folder: Path, rules: str, manifest: str = PACK) -> Path:
    path = folder / "mine"
    path.mkdir(exist_ok=True)
    (path / "pack.toml").write_text(manifest)
    (path / "a.cedar").write_text(rules)
    return path


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("permit (principal", "mine/a: does not parse"),
        ("permit (principal, action, resource);", "has no @id"),
        (RULE.format(id="a", effect="permit", when=""), None),
        (RULE.format(id="a", effect="permit", when="") * 2, "two rules of the same id"),
        (RULE.format(id="a", effect="permit", when=' when { resource.grad == "general" }'), "`grad`"),
        (RULE.format(id="a", effect="permit", when=" when { context.personal_abroad < 5 }"), "personal_abroad"),
        (RULE.format(id="a", effect="permit", when="").replace("2020-01-01", "soon"), "'soon' is no day"),
        (
            RULE.format(id="a", effect="permit", when="").replace("principal,", 'principal == Recipient::"x",'),
            "in its head",
        ),
        (RULE.format(id="a", effect="permit", when="").replace("action", 'action == Action::"mail"'), "mail"),
        (RULE.format(id="a", effect="permit", when="").replace("@from", '@untill("2021-01-01")\n@from'), "has @untill"),
        (
            RULE.format(id="a", effect="permit", when="").replace("@from", '@until("2019-01-01")\n@from'),
            "which is never",
        ),
        ("", "has no rule"),
    ],
)
def test_a_pack_that_cannot_be_used_is_refused_with_the_rule(tmp_path: Path, rules: str, said: str | None) -> None:
    path = written(tmp_path, rules)
    if said is None:
        assert loaded([path])[-1].name == "mine"
        return
    with pytest.raises(InputError) as refused:
        loaded([path])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (' when { resource.grade == "secrit" }', "'secrit', which is none of general, important"),
        (' when { resource.origin like "C*" }', "only Cedar can answer"),
        (" when { context has personal_abroad && context.personal_abroad + 1 < 5 }", "only Cedar can answer"),
    ],
)
def test_a_rule_that_cannot_be_made_columns_of_is_refused_by_name(tmp_path: Path, when: str, said: str) -> None:
    packs = loaded([written(tmp_path, RULE.format(id="a", effect="permit", when=when))])
    with pytest.raises(InputError) as refused:
        law(packs, AT_S)
    assert said in str(refused.value)
    assert "rows a" in str(refused.value)


def test_a_folder_without_a_pack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no pack"):
        loaded([tmp_path])


def test_packs_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    asked = drawn(50_000, 1, NAMES)
    assert list(contradictions(shipped(), AT_S, asked)) == []
    never = written(tmp_path, RULE.format(id="never", effect="forbid", when=' when { resource.grade == "core" }')
                    + RULE.format(id="else", effect="permit", when=""))  # fmt: skip
    found = {one.rule: one.by for one in contradictions(loaded([never]), AT_S, asked)}
    assert found["cn-national/grade/core-home"] == ("mine",)
    assert "cn-national/grade/general-home" not in found


# Columns and Cedar.


def test_the_columns_say_what_cedar_says_and_for_its_reasons(proof: bool, turning_seed: int) -> None:
    rules, asked = everything(), drawn(CASES if proof else THINNED, turning_seed, NAMES)
    assert disagreements(rules, asked) == 0


@given(st.integers(2018, 2026), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_they_agree_at_every_date(year: int, month: int, seed: int) -> None:
    at_s = dt.datetime(year, month, 22, tzinfo=dt.UTC).timestamp()
    assert disagreements(law(shipped(), at_s), drawn(2, seed, NAMES)) == 0


def disagreements(rules: policy.Law, asked: Facts) -> int:
    """How many verdicts and sets of reasons differ from Cedar's."""
    decided, wrong = rules.explain(asked), 0
    reasons = rules.reasons(decided.matched)
    for start in range(0, len(asked), 500):
        block = np.arange(start, min(start + 500, len(asked)))
        said = Reference(rules).said(asked.rows(block))
        for row in range(len(block)):
            for mode in range(len(MODES)):
                sets = [of_set[row][mode] for of_set in said]
                wrong += all(one.allowed for one in sets) != bool(decided.lawful[start + row] >> mode & 1)
                for at, (held, one) in enumerate(zip(rules.sets, sets, strict=True)):
                    bits = int(reasons[at, mode, start + row])
                    wrong += one.rules != {rule.id for bit, rule in enumerate(held.rules) if bits >> bit & 1}
    return wrong


def test_what_is_lawful_does_not_hang_on_how_many_are_asked_at_once() -> None:
    asked, rules = drawn(2 * BLOCK + 7, 3, NAMES), everything()
    whole = rules.decide(asked)
    assert (whole == rules.explain(asked).lawful).all()
    some = np.array([0, BLOCK - 1, BLOCK, 2 * BLOCK + 6])
    assert (rules.decide(asked.rows(some)) == whole[some]).all()
    assert 0.0 < np.unpackbits(whole).mean() < 1.0


def test_a_rule_of_every_shape_says_what_cedar_says(tmp_path: Path) -> None:
    shapes = (
        ' when { resource.grade != "core" } unless { context.contract }',
        ' when { if context.contract then resource.origin == resource.country else "CN" == resource.origin }',
        ' when { ["CN", "DE"].contains(principal.country) }',
        " when { context has personal_abroad && 100000 > context.personal_abroad }",
        " when { !(context.consent == context.contract) && context.approval == false }",
        ' when { resource has grade && (principal.eea == principal.adequate || principal.verified == "yes") }',
    )
    rules = "".join(RULE.format(id=f"r{at}", effect="permit", when=when) for at, when in enumerate(shapes))
    mine = [pack for pack in loaded([written(tmp_path, rules)]) if pack.name == "mine"]
    assert disagreements(law(mine, AT_S), drawn(300, 5, NAMES)) == 0


# Time.


def test_the_verdict_of_a_past_day_is_that_of_the_rules_and_papers_of_that_day() -> None:
    given = {"personal": "personal", "entity": "other", "place": "abroad", "personal_abroad": "99999"}
    before, after = (1_710_979_200.0, 1_711_065_600.0)
    # Until 2024-03-21 a contract had to be filed for few persons, too; DSP and others came later still.
    packs = [pack for pack in shipped() if pack.name == "cn-national"]
    assert verdict(law(packs, before), told(given)).modes == ("aggregate", "stay")
    assert "encrypt" in verdict(law(packs, after), told(given)).modes


def test_before_the_day_of_a_pack_all_is_denied_and_the_day_is_named() -> None:
    found = verdict(law(shipped(), 1_600_000_000.0), told({"place": "home"}))
    assert found.modes == ()
    line = policy.said(found, policy.COPIED)
    assert "cn-national/grade is in force from 2021-09-01 on" in line
    assert "us-dsp/dsp is in force from 2025-04-08 on" in line


def test_evidence_that_expired_a_second_ago_is_none() -> None:
    world = compute.small().intended
    papers = world["evidence"]
    expired = world.replace(papers.set(np.arange(len(papers)), valid_to_s=AT_S))
    rules, data = everything(), world["datasets"].rows(["personal"])
    to = policy.recipients(world, world["servers"].rows(["p-middle"]))
    still = policy.lawful(expired, policy.Asked(rules, AT_S - 1.0, ("work",)), data, to)
    gone = policy.lawful(expired, policy.Asked(rules, AT_S, ("work",)), data, to)
    assert policy.named(int(still[0, 0])) == ("pseudonymise", "aggregate", "federate", "stay")
    assert policy.named(int(gone[0, 0])) == ("stay",)


# Verdicts.


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"grade": "unknown", "place": "home"}, ("resource.grade",)),
        ({"grade": "unknown", "personal": "unknown"}, ("resource.grade", "resource.personal")),
        ({"personal": "personal", "place": "home", "us_bulk": "unknown"}, ("resource.us_bulk",)),
        ({"personal": "personal", "place": "home", "purpose": "unknown"}, ("context.purpose",)),
        ({"entity": "other", "role": "unknown", "personal": "personal", "contract": "yes", "impact_assessment": "yes"},
         ("principal.role",)),
        ({"entity": "unknown"}, ("context.entity",)),
        ({"personal": "personal", "place": "abroad", "personal_abroad": "unknown", "entity": "other"},
         ("context.personal_abroad",)),
        ({}, ()),
    ],
)  # fmt: skip
def test_the_missing_fact_is_named_and_no_other(given: dict[str, str], missing: tuple[str, ...]) -> None:
    found = verdict(everything(), told(given), policy.copied())
    assert found.missing == missing
    assert bool(set(found.modes) & set(policy.COPIED)) == (not missing)


def test_the_least_evidence_that_would_do_is_told_by_mode() -> None:
    found = verdict(everything(), told({"personal": "personal", "entity": "other"}))
    by_modes = {remedy.evidence: remedy.modes for remedy in found.remedies}
    # The code may come to the data as it is.
    assert by_modes["contract", "impact_assessment"] == ("pseudonymise", "aggregate", "federate")
    assert by_modes["contract", "impact_assessment", "attestation"][:2] == ("pseudonymise", "tee")
    for evidence in by_modes:
        had = told({"personal": "personal", "entity": "other", **dict.fromkeys(evidence, "yes")})
        assert set(by_modes[evidence]) <= set(verdict(everything(), had).modes)


def test_a_verdict_says_its_articles_and_duties() -> None:
    given = {"personal": "personal", "entity": "other", "contract": "yes", "impact_assessment": "yes"}
    assert policy.said(verdict(everything(), told(given)), policy.COPIED) == (
        "pseudonymise (cn-national/grade/general-recipient: DSL art. 27; NDR art. 9 and 12; "
        "cn-national/personal/personal-processor: PIPL art. 21, 55 and 56; NDR art. 12); duties: record kept 3 years"
    )


def test_missing_facts_are_told_by_the_row_that_lacks_them() -> None:
    found = verdict(everything(), told({"grade": "unknown", "place": "home"}))
    assert policy.located(found.missing, datasets="D1") == ("datasets[D1].grade",)


@pytest.mark.parametrize(
    ("table", "row", "column", "missing"),
    [
        ("datasets", "general", "domain", "datasets[general].domain or servers[p-west].domain"),
        ("datasets", "general", "province", "datasets[general].province or metros.province"),
        ("datasets", "personal", "purposes", "datasets[personal].purposes"),
        ("jobs", "j1", "purpose", "jobs[j1].purpose"),
        ("datasets", "personal", "grade", "datasets[personal].grade"),
    ],
)
def test_the_row_is_named_that_lacks_what_is_missing(table: str, row: str, column: str, missing: str) -> None:
    """Of an owner, a server's own domain may lack, too: it may be that of its site."""
    twin = compute.small().intended
    servers = twin["servers"].set(twin["servers"].rows(["p-west"]), domain="")
    twin = twin.replace(servers).replace(twin[table].set(twin[table].rows([row]), **{column: ""}))
    data = row if table == "datasets" else "personal"
    asked = policy.Asked(everything(), AT_S, (str(twin["jobs"].cell("j1", "purpose")),))
    to = policy.recipients(twin, twin["servers"].rows(["p-west"]))
    found = verdict(everything(), policy.questions(twin, asked, twin["datasets"].rows([data]), to), policy.copied())
    assert not set(found.modes) & set(policy.COPIED)
    told = policy.located(found.missing, twin, jobs="j1", datasets=data, servers="p-west")
    assert missing in told


# Questions.


def test_the_schema_of_the_twin_has_a_paper_for_each_fact_that_is_evidence() -> None:
    assert schema.column("evidence", "kind").allowed == evidence_kinds()
    for fact in facts().values():
        for where in fact.held_in:
            table, _, column = where.partition(".")
            if column:
                schema.column(table, column)
            else:
                assert table in ("packs", "evidence")


def test_each_server_is_the_recipient_that_its_owner_and_place_make() -> None:
    world = compute.small()
    owners = ["own", "friend", "hidden", "foreign", ""]
    servers: compute.Columns = {
        "id": [f"{place}-{owner}" for place in ("east", "west") for owner in owners],
        "site": [f"c-{place}" for place in ("east", "west") for _ in owners],
        "chip": ["X"] * 10,
        "chips": [1] * 10,
        "domain": owners * 2,
    }
    twin = world.intended.replace(Table.of("servers", servers))
    asked = policy.Asked(everything(), AT_S, ("work",))
    found = policy.questions(twin, asked, twin["datasets"].rows(["general"]), policy.recipients(twin))

    def said(fact: str) -> dict[str, str]:
        values = facts()[fact].values
        return {
            name.decode(): values[code] for name, code in zip(twin["servers"].ids, found.columns[fact], strict=True)
        }

    # A server without a domain is its site's, here `own`.
    entity, place = said("context.entity"), said("context.place")
    assert {name for name, value in entity.items() if value == "same"} == {"east-own", "east-", "west-own", "west-"}
    assert {name for name, value in place.items() if value == "abroad"} == {"east-foreign", "west-foreign"}
    assert {name for name, value in place.items() if value == "home"} == {
        "east-own",
        "east-",
        "east-friend",
        "east-hidden",
    }
    assert said("principal.verified")["east-hidden"] == "unknown"
    assert set(said("principal.concern").values()) == {"yes"}
    assert set(said("context.purpose").values()) == {"declared"}


def test_a_server_of_nobody_and_data_of_nobody_are_unknown() -> None:
    twin = compute.small().intended
    sites, servers = twin["sites"], twin["servers"]
    nobody = twin.replace(sites.set(np.arange(len(sites)), domain=""), servers.set(np.arange(len(servers)), domain=""))
    asked = policy.Asked(everything(), AT_S, ("work",))
    lawful = policy.lawful(nobody, asked, np.arange(len(twin["datasets"])), policy.recipients(nobody))
    assert not (lawful & policy.copied()).any()


def test_evidence_is_of_its_owner_recipient_and_data_alone() -> None:
    twin = compute.small().intended
    rows = [("p1", "contract", "own", "friend", "general"), ("p2", "consent", "own", "", "personal"),
            ("p3", "approval", "friend", "", ""), ("p4", "scc", "own", "friend", "")]  # fmt: skip
    names = ("id", "kind", "owner", "recipient", "dataset")
    columns: compute.Columns = {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    columns["issuer"] = ["x"] * 4
    twin = twin.replace(Table.of("evidence", columns))
    asked = policy.Asked(everything(), AT_S, ("work",))
    data, to = twin["datasets"].rows(["general", "personal"]), policy.recipients(twin)
    held = policy.questions(twin, asked, data, to).columns
    # Servers: east of own, middle of friend, west of own.
    assert held["context.contract"].tolist() == [False, True, False, False, False, False]
    assert held["context.consent"].tolist() == [False] * 3 + [True] * 3
    assert not held["context.approval"].any()
    assert held["context.scc"].tolist() == [False, True, False] * 2


def test_a_network_without_servers_or_domains_gets_no_verdict() -> None:
    twin = Twin({"datasets": Table.of("datasets", compute.datasets())})
    lawful = policy.lawful(twin, policy.Asked(everything(), AT_S), np.arange(2), policy.recipients(twin))
    assert lawful.shape == (2, 0)


# Lineage.


def made(**columns: list[str]) -> Table:
    rows = len(columns["id"])
    return Table.of("datasets", {"domain": ["d"] * rows, "province": ["p"] * rows, **columns})


def test_data_has_the_highest_of_what_it_was_made_from_however_far_back() -> None:
    table = made(
        id=["a", "b", "c", "d"],
        made_from=["b", "c", "", "nowhere"],
        grade=["general", "general", "core", "general"],
        personal=["no", "sensitive", "personal", "no"],
        mixed=["no"] * 4,
        origin=["", "CN", "CN", "CN"],
    )
    line = lineage(table)

    def said(fact: str) -> dict[str, str]:
        values = facts()[f"resource.{fact}"].values
        return {name.decode(): values[code] for name, code in zip(table.ids.tolist(), line.highest[fact], strict=True)}

    assert said("grade") == {"a": "core", "b": "core", "c": "core", "d": "unknown"}
    assert said("personal") == {"a": "sensitive", "b": "sensitive", "c": "personal", "d": "unknown"}
    assert said("mixed") == {"a": "no", "b": "no", "c": "no", "d": "unknown"}
    assert line.origin.tolist() == [b"CN", b"CN", b"CN", b""]


def test_data_of_two_countries_is_mixed_and_a_circle_ends() -> None:
    table = made(id=["a", "b", "c"], made_from=["b", "c", "a"], origin=["CN", "DE", "CN"], mixed=["no"] * 3)
    yes = facts()["resource.mixed"].values.index("yes")
    assert lineage(table).highest["mixed"].tolist() == [yes] * 3


# What must never be permitted by mistake.


def modes_of(twin: Twin, dataset: str, server: str, **more: object) -> tuple[str, ...]:
    asked = policy.Asked(everything(), AT_S, ("work",), **more)  # type: ignore[arg-type]
    to = policy.recipients(twin, twin["servers"].rows([server]))
    return policy.named(int(policy.lawful(twin, asked, twin["datasets"].rows([dataset]), to)[0, 0]))


def changed(twin: Twin, table: str, row: str, **cells: object) -> Twin:
    return twin.replace(twin[table].set(twin[table].rows([row]), **cells))  # type: ignore[arg-type]


def abroad(**cells: object) -> Twin:
    """The personal data of five million persons, and a server of a German entity in Germany."""
    twin = changed(compute.small().intended, "provinces", "P-abroad", country="DE", iso_3166_2="DE-BE")
    twin = changed(changed(twin, "domains", "foreign", country="DE"), "servers", "p-west", domain="foreign")
    twin = changed(twin, "metros", "m-west", province="P-abroad")
    return changed(twin, "datasets", "personal", subjects=5e6, **cells)


@pytest.mark.parametrize("subjects", [5e6, 9.3e18, 1e19, 1e300, np.inf])
def test_however_many_persons_are_never_few(subjects: float) -> None:
    assert modes_of(changed(abroad(), "datasets", "personal", subjects=subjects), "personal", "p-west") == (
        "aggregate",
        "stay",
    )


def test_a_part_of_a_person_is_a_person() -> None:
    ledger = Table.of(
        "person_budgets",
        {"id": ["h"], "entity": ["own"], "year": [2026], "kind": ["personal"], "settled": [98_999.9]},
    )
    few = changed(abroad(), "datasets", "personal", subjects=1_000.0)
    assert "encrypt" in modes_of(few, "personal", "p-west")
    assert "encrypt" not in modes_of(few, "personal", "p-west", ledger=ledger)


@pytest.mark.parametrize("origin", ["CN", "cn", "CHN", "China", "", "XX"])
def test_only_a_country_that_is_known_is_a_foreign_origin(origin: str) -> None:
    assert modes_of(abroad(origin=origin), "personal", "p-west") in (("aggregate", "stay"), ())
    assert "encrypt" in modes_of(abroad(origin="DE"), "personal", "p-west")


def test_countries_that_nobody_knows_are_not_the_same() -> None:
    twin = compute.small().intended
    for table in ("provinces", "domains"):
        twin = twin.replace(twin[table].set(np.arange(len(twin[table])), country=""))
    assert modes_of(twin, "general", "p-east") == ("stay",)


def test_a_server_of_a_domain_that_is_not_there_is_not_its_sites() -> None:
    twin = changed(compute.small().intended, "servers", "p-east", domain="ghost")
    assert modes_of(twin, "core", "p-east") == ()


def test_data_made_from_european_data_is_european_and_of_several_countries_of_no_one_origin() -> None:
    table = made(
        id=["a", "b", "c", "d", "e"],
        made_from=["b", "b c", "", "", "d"],
        origin=["CN", "", "DE", "", "DE"],
        mixed=["no"] * 5,
    )
    line = lineage(table)
    eea = facts()["resource.origin_eea"].values
    assert [eea[code] for code in line.origin_eea] == ["yes", "yes", "yes", "unknown", "yes"]
    # What was made from data of unknown origin may be of any; what nobody collected itself is of its sources' origin.
    assert line.origin.tolist() == [b"", b"DE", b"DE", b"", b""]
    assert line.highest["mixed"].tolist() == [facts()["resource.mixed"].values.index("yes"), 0, 0, 0, 0]


def test_papers_on_real_data_are_not_on_a_class_of_data() -> None:
    twin = compute.small().intended
    papers = twin["evidence"].set(np.arange(3), dataset="000000000")
    classes = policy.as_classes(twin.replace(papers), (("general", "no"),), ((0, 0),))
    assert not len(classes["evidence"])


def test_classes_of_data_stand_home_by_home_however_many() -> None:
    twin = compute.small().intended
    homes = [(row % len(twin["domains"]), row % 3) for row in range(40)]
    kinds = (("general", "no"), ("important", "personal"), ("core", "sensitive"))
    data = policy.as_classes(twin, kinds, homes)
    told = zip(*(strings(data["datasets"][name]) for name in ("domain", "province", "grade", "personal")), strict=True)
    domains, provinces = strings(twin["domains"].ids), strings(twin["provinces"].ids)
    assert list(told) == [(domains[own], provinces[home], *kind) for own, home in homes for kind in kinds]


@pytest.mark.parametrize("server", ["p-east", "p-middle", "p-west"])
def test_of_data_that_nothing_is_known_of_the_fewest_facts_are_named(server: str) -> None:
    twin = compute.small().intended.replace(
        Table.of("datasets", {"id": ["D"], "domain": ["own"], "province": ["P-east"]}),
        Table.of("domains", {"id": list(compute.DOMAINS), "entity": list(compute.DOMAINS)}),
        Table.of("evidence"),
    )
    to = policy.recipients(twin, twin["servers"].rows([server]))
    asked = policy.Asked(everything(), AT_S)
    found = verdict(everything(), policy.questions(twin, asked, twin["datasets"].rows(["D"]), to), policy.copied())
    assert found.missing == ("resource.grade", "resource.personal")
