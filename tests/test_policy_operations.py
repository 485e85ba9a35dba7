from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from karez.errors import InputError, Refused
from karez.faces import cli
from karez.measure.policy import MODES
from karez.measure.policy.costs import (
    AT_HOME,
    Costs,
    Places,
    Work,
    break_even_flop_per_byte,
    constants,
    costs,
    federate_pays,
)
from karez.operations import (
    AssignQuestion,
    KeyQuestion,
    PolicyAskQuestion,
    PolicyAuditQuestion,
    PolicyCalibrateQuestion,
    PolicyExplainQuestion,
    PolicyFrontierQuestion,
    PolicyLedgerQuestion,
    PolicyProveQuestion,
    PolicyRecordQuestion,
    PolicyTestQuestion,
    PolicyVerifyQuestion,
    SteerQuestion,
    run,
)
from karez.operations.assign import AssignAnswer
from karez.operations.policy_ask import PolicyAskAnswer
from karez.operations.policy_audit import PolicyAuditAnswer
from karez.operations.policy_explain import PolicyExplainAnswer
from karez.operations.policy_frontier import PolicyFrontierAnswer
from karez.operations.policy_ledger import PolicyLedgerAnswer
from karez.operations.policy_prove import PolicyProveAnswer
from karez.operations.policy_record import PolicyRecordAnswer
from karez.operations.policy_test import PolicyTestAnswer
from karez.operations.policy_verify import PolicyVerifyAnswer
from karez.operations.steer import SteerAnswer
from karez.twin import Table, Twin, store
from tests import compute
from tests.test_policy import PACK, RULE, written

AT = "2026-06-01"
AT_S = 1_780_272_000.0


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAREZ_AT_S", str(AT_S))


@pytest.fixture
def network(tmp_path: Path) -> str:
    return saved(tmp_path, compute.small().intended)


def saved(folder: Path, twin: Twin, name: str = "net") -> str:
    sizes = twin["datasets"].set(np.arange(len(twin["datasets"])), size_gb=100.0)
    store.save(twin.replace(sizes), folder / name, at_s=0.0, note="", source="tests", synthetic=True, seed=1)
    return str(folder / name)


def ask(network: str, **asked: Any) -> PolicyAskAnswer:
    return cast(PolicyAskAnswer, run("policy_ask", PolicyAskQuestion(network=network, **asked)))


# Ask and explain.


def test_the_cheapest_lawful_option_is_told_with_its_articles(network: str) -> None:
    said = ask(network)
    # The west is the cheapest, and the owner's own: general data needs a cipher to go there.
    assert (said.best_mode, said.best_server, said.lawful, said.servers) == ("encrypt", "p-west", 3, 3)
    assert said.articles == ("DSL art. 27; NDR art. 9",)
    assert said.meets_target
    by_mode = {row.mode: row for row in said.modes}
    assert (by_mode["plain"].servers, by_mode["plain"].server) == (1, "p-east")
    assert by_mode["stay"].servers == 3
    assert "no legal advice" in said.headline
    assert "synthetic" in said.headline


def test_what_stands_against_a_server_is_told_with_what_would_do_and_its_price(tmp_path: Path) -> None:
    world = compute.small().intended
    bare = saved(tmp_path, world.replace(Table.of("evidence"), Table.of("jobs", compute.job("personal"))))
    said = ask(bare)
    (middle,) = said.denied
    assert (middle.servers, middle.such_as, middle.missing) == (1, "p-middle", ())
    assert middle.would_do == ("contract", "impact_assessment")
    assert (middle.would_do_cny, middle.would_do_days) == (80_000.0, 30.0)


def test_explain_has_a_line_for_every_rule_that_decides_and_every_fact(network: str) -> None:
    question = PolicyExplainQuestion(network=network, job="j1", server="p-west")
    said = cast(PolicyExplainAnswer, run("policy_explain", question))
    assert said.modes == MODES[1:]
    (plain,) = [row for row in said.verdicts if row.mode == "plain"]
    assert (plain.verdict, plain.rule, plain.article) == ("denied", "cn-national/grade", "no rule permits it")
    assert {fact.fact: fact.value for fact in said.facts}["context.place"] == "province"
    assert said.missing == ()


def test_a_past_day_is_asked_with_its_rules_and_papers(network: str) -> None:
    assert ask(network, at="2021-08-01").lawful == 0
    assert "in force from" in ask(network, at="2021-08-01").denied[0].why
    assert ask(network, at="2025-06-01").lawful == 3


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"job": "j9"}, "no row 'j9'"),
        ({"at": "soon"}, "no moment"),
        ({"packs": "nowhere"}, "is no folder"),
        ({"costs": "nowhere.csv"}, "nowhere.csv"),
    ],
)
def test_wrong_input_is_named(network: str, asked: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ask(network, **asked)


def test_constants_that_are_none_are_told_with_their_lines(network: str, tmp_path: Path) -> None:
    file = tmp_path / "costs.csv"
    file.write_text("id,value\nsm5_gb_per_s,1\ncore_w,-1\ncore_cny_per_h,dear\n")
    with pytest.raises(InputError) as refused:
        ask(network, costs=str(file))
    assert [problem.rows for problem in refused.value.problems] == [("line 2",), ("line 3",), ("line 4",)]


def test_a_job_without_a_network_of_servers_is_told_that_nothing_can_be_priced(tmp_path: Path) -> None:
    empty = compute.small().intended.replace(Table.of("servers"), Table.of("endpoints"))
    said = ask(saved(tmp_path, empty))
    assert (said.lawful, said.servers, said.best_server) == (0, 0, "")
    assert said.meets_target is False


# Packs of one's own.


def test_a_pack_of_ones_own_counts_and_is_tested(network: str, tmp_path: Path) -> None:
    rules = RULE.format(id="not-west", effect="forbid", when=' when { principal.province == "CN-GZ" }')
    path = written(tmp_path, rules + RULE.format(id="else", effect="permit", when=""))
    said = ask(network, packs=str(path))
    assert (said.lawful, said.best_server) == (2, "p-middle")
    assert any("mine/a/not-west" in row.why for row in said.denied)
    (path / "tests.csv").write_text("name,at,facts,lawful,by\nwest,2026-01-01,principal.province=CN-GZ,none,not-west\n")
    tested = cast(PolicyTestAnswer, run("policy_test", PolicyTestQuestion(packs=str(tmp_path))))
    assert tested.failures == ("mine: mine/a/else: no test is about it",)
    assert tested.meets_target is False


def test_a_pack_that_contradicts_the_others_is_reported_by_the_rule_that_loses(tmp_path: Path) -> None:
    path = written(tmp_path, RULE.format(id="none", effect="forbid", when=""), PACK)
    (path / "tests.csv").write_text("name,at,facts,lawful,by\nnothing,2026-01-01,,none,none\n")
    tested = cast(PolicyTestAnswer, run("policy_test", PolicyTestQuestion(packs=str(path))))
    assert "cn-national/grade/general-home is never of use: mine" in tested.contradictions


# Audit.


def test_the_audit_finds_work_that_runs_unlawfully_and_papers_that_run_out(tmp_path: Path) -> None:
    world = compute.small().intended
    papers = world["evidence"].set(np.arange(3), valid_to_s=AT_S + 10 * 86_400.0)
    running: compute.Columns = {"id": ["j1"], "server": ["p-west"], "chips": [8]}
    twin = world.replace(papers, Table.of("jobs", compute.job("important")), Table.of("assignments", running))
    said = cast(PolicyAuditAnswer, run("policy_audit", PolicyAuditQuestion(network=saved(tmp_path, twin))))
    assert [(one.job, one.server) for one in said.unlawful] == [("j1", "p-west")]
    assert "cn-national/grade" in said.unlawful[0].why
    assert [(one.kind, one.days) for one in said.expiring] == [
        (kind, 10.0) for kind in ("contract", "impact_assessment", "risk_assessment")
    ]
    assert {one.dataset: one.unknown for one in said.data}["unknown"] == ("grade", "personal")
    assert said.meets_target is False
    later = cast(
        PolicyAuditAnswer,
        run("policy_audit", PolicyAuditQuestion(network=str(tmp_path / "net"), at="2026-07-01", days=5)),
    )
    # What has run out is told, too.
    assert [one.days for one in later.expiring] == [-20.0] * 3


# Frontier and costs.


def test_the_frontier_is_of_lawful_modes_and_has_a_picture(network: str, tmp_path: Path) -> None:
    output = tmp_path / "frontier.svg"
    question = PolicyFrontierQuestion(network=network, output=str(output))
    said = cast(PolicyFrontierAnswer, run("policy_frontier", question))
    front = [one for one in said.points if one.on_frontier]
    assert all(one.lawful for one in front)
    assert [one.energy_kwh for one in front] == sorted(one.energy_kwh for one in front)
    assert front[-1].mode == "stay"
    picture = output.read_text()
    assert picture.startswith("<svg")
    assert all(f">{mode}<" in picture for mode in MODES)
    with pytest.raises(InputError, match="exists already"):
        run("policy_frontier", question)


def options(known: dict[str, float], **given: float) -> Costs:
    held = {"size_gb": 1_000.0, "chips": 8.0, "hours": 10.0, "model_gb": 2.0} | given
    work = Work(*(np.array([held[name]]) for name in Work._fields))
    away, home = (Places(*(np.array([[value]]) for value in row)) for row in ((2.0, 0.5, 10.0), (9.0, 0.6, 10.0)))
    return costs(work, away, home, known)


def test_the_costs_of_a_mode_are_as_worked_by_hand() -> None:
    known = constants({"compressed_share": 1.0})
    found = options(known)
    plain, encrypt, tee, federate, stay = (
        MODES.index(name) for name in ("plain", "encrypt", "tee", "federate", "stay")
    )
    assert found.moved_gb[0, 0, plain] == 1_000.0
    assert found.delay_s[0, 0, plain] == pytest.approx(1_000.0 * 8.0 / 10.0)
    assert found.cny[0, 0, plain] == pytest.approx(80.0 * 2.0 + 1_000.0 * known["transport_cny_per_gb"])
    core_s = 2.0 * 1_000.0 / known["encrypt_gb_per_s"] + known["hpke_us"] * 1e-6
    assert found.delay_s[0, 0, encrypt] == pytest.approx(800.0 + core_s)
    assert found.cny[0, 0, encrypt] - found.cny[0, 0, plain] == pytest.approx(core_s / 3_600 * known["core_cny_per_h"])
    assert found.joules[0, 0, encrypt] - found.joules[0, 0, plain] == pytest.approx(core_s * known["core_w"])
    assert found.joules[0, 0, tee] / found.joules[0, 0, encrypt] == pytest.approx(1.07, abs=0.05)
    # What is worked on at home costs what home does, wherever else it could be.
    assert found.cny[0, 0, stay] == pytest.approx(80.0 * 9.0, rel=1e-3)
    assert found.moved_gb[0, 0, federate] == 2.0 * known["federate_rounds"] * 2.0


def test_data_is_packed_only_where_that_saves_money() -> None:
    dear = constants({"transport_cny_per_gb": 1.0, "compressed_share": 0.25})
    assert options(dear).moved_gb[0, 0, 0] == 250.0
    assert options(constants({"transport_cny_per_gb": 1e-9})).moved_gb[0, 0, 0] == 1_000.0


def test_a_slower_cipher_costs_more_in_the_modes_that_use_one_and_no_other() -> None:
    fast, slow = options(constants()), options(constants({"encrypt_gb_per_s": 0.1}))
    more = slow.cny[0, 0] > fast.cny[0, 0]
    assert [mode for mode, is_more in zip(MODES, more, strict=True) if is_more] == ["encrypt", "pseudonymise", "tee"]
    assert set(AT_HOME).isdisjoint({"encrypt", "pseudonymise", "tee"})


def test_break_even_is_transport_over_what_cooling_saves() -> None:
    known = constants({"transport_j_per_gb": 2_900.0, "core_w": 1e-12})
    at = break_even_flop_per_byte(known, j_per_flop=1e-12, pue=(1.5, 1.25), marginal=False)
    assert at == pytest.approx(2.9e-6 / 0.25e-12)
    assert break_even_flop_per_byte(known, j_per_flop=1e-12, pue=(1.2, 1.3), marginal=False) == np.inf
    assert federate_pays(size_gb=401.0, model_gb=2.0, known=constants())
    assert not federate_pays(size_gb=400.0, model_gb=2.0, known=constants())


def test_calibration_writes_what_costs_take(network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "costs.csv"
    run("policy_calibrate", PolicyCalibrateQuestion(output=str(output), seconds=0.02))
    assert ask(network, costs=str(output)).best_mode == "encrypt"
    with pytest.raises(InputError, match="exists already"):
        run("policy_calibrate", PolicyCalibrateQuestion(output=str(output)))


def test_the_command_line_says_by_its_code_that_nothing_is_lawful(tmp_path: Path) -> None:
    network = saved(tmp_path, compute.small().intended.replace(Table.of("jobs", compute.job("unknown"))))
    assert cli.main(["policy", "ask", network, "--quiet"]) == cli.TARGET_MISSED


# The evidence log and the ledger.


def test_a_hand_over_is_written_with_its_facts_and_what_is_unlawful_is_written_and_refused(
    network: str, tmp_path: Path
) -> None:
    key, log = str(tmp_path / "key"), str(tmp_path / "log")
    run("key", KeyQuestion(output=key))

    def record(server: str, mode: Any, head: str = "") -> PolicyRecordAnswer:
        question = PolicyRecordQuestion(
            network=network, log=log, job="j1", server=server, mode=mode, key=key, head=head
        )
        return cast(PolicyRecordAnswer, run("policy_record", question))

    assert record("p-west", "encrypt", str(tmp_path / "head.json")).entry == 0
    with pytest.raises(Refused, match="the verdict is entry 1"):
        record("p-west", "plain")
    proof = str(tmp_path / "proof.json")
    said = cast(PolicyProveAnswer, run("policy_prove", PolicyProveQuestion(log=log, entry=1, key=key, output=proof)))
    body = json.loads(said.body)
    assert (said.kind, said.of, body["lawful"], body["mode"]) == ("verdict", 2, False, "plain")
    assert body["facts"]["context.place"] == "province"

    def verified(path: str, **more: Any) -> PolicyVerifyAnswer:
        return cast(PolicyVerifyAnswer, run("policy_verify", PolicyVerifyQuestion(proof=path, **more)))

    assert verified(proof, public_key=said.public_key).holds
    assert verified(proof, public_key="00" * 32).wrong == "the head is signed with another key"
    assert verified(log, heads=str(tmp_path / "head.json")).holds
    with pytest.raises(InputError, match="proves nothing"):
        verified(log)
    with pytest.raises(InputError, match="neither a proof nor a log"):
        verified(key)
    with pytest.raises(InputError, match="has no entry 7"):
        run("policy_prove", PolicyProveQuestion(log=log, entry=7, key=key, output=str(tmp_path / "no.json")))
    with pytest.raises(InputError, match="no evidence log"):
        run("policy_prove", PolicyProveQuestion(log=network, entry=0, key=key, output=str(tmp_path / "no.json")))
    Path(key).chmod(0o644)
    with pytest.raises(InputError, match="may be read by others"):
        record("p-west", "encrypt")


def test_the_ledger_counts_in_what_is_asked_and_refuses_what_would_cross_the_line(network: str, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger")

    def say(what: Any, **more: Any) -> PolicyLedgerAnswer:
        return cast(PolicyLedgerAnswer, run("policy_ledger", PolicyLedgerQuestion(ledger=ledger, what=what, **more)))

    with pytest.raises(InputError, match="is not there"):
        say("show")
    with pytest.raises(InputError) as missing:
        say("reserve")
    assert [problem.where for problem in missing.value.problems] == ["hold", "entity", "amount"]
    say("reserve", hold="h", entity="own", amount=90_000)
    with pytest.raises(Refused, match="90,000 are reserved or settled"):
        say("reserve", hold="i", entity="own", amount=10_000)
    with pytest.raises(Refused, match="no hold z that could be settled"):
        say("settle", hold="z")
    (account,) = say("settle", hold="h").accounts
    assert (account.entity, account.year, account.kind, account.settled) == ("own", 2026, "personal", 90_000.0)
    explain = PolicyExplainQuestion(network=network, job="j1", server="p-west", ledger=ledger)
    facts = {one.fact: one.value for one in cast(PolicyExplainAnswer, run("policy_explain", explain)).facts}
    assert facts["context.personal_abroad"] == "91,000"
    with pytest.raises(InputError, match="is not there"):
        ask(network, ledger=str(tmp_path / "nowhere"))


def test_a_hand_over_settles_what_was_reserved_for_it_and_does_not_count_it_twice(tmp_path: Path) -> None:
    twin = compute.small().intended
    twin = twin.replace(
        twin["servers"].set(twin["servers"].rows(["p-west"]), domain="foreign"),
        twin["datasets"].set(np.arange(len(twin["datasets"])), subjects=60_000.0),
        Table.of("jobs", compute.job("personal")),
    )
    network, ledger, key = saved(tmp_path, twin), str(tmp_path / "ledger"), str(tmp_path / "key")
    run("key", KeyQuestion(output=key))

    def reserve(hold: str) -> None:
        question = PolicyLedgerQuestion(ledger=ledger, what="reserve", hold=hold, entity="own", amount=60_000)
        run("policy_ledger", question)

    def hand_over(hold: str) -> PolicyRecordAnswer:
        question = PolicyRecordQuestion(
            network=network, log=str(tmp_path / "log"), job="j1", server="p-west", key=key, ledger=ledger, hold=hold
        )
        return cast(PolicyRecordAnswer, run("policy_record", question))

    reserve("first")
    assert hand_over("first").entry == 0
    show = cast(PolicyLedgerAnswer, run("policy_ledger", PolicyLedgerQuestion(ledger=ledger)))
    assert [(one.reserved, one.settled) for one in show.accounts] == [(0.0, 60_000.0)]
    with pytest.raises(Refused, match="would cross the line"):
        reserve("second")
    with pytest.raises(Refused, match="may not go to p-west"):
        hand_over("second")
    with pytest.raises(InputError, match="of no ledger"):
        run(
            "policy_record",
            PolicyRecordQuestion(
                network=network, log=str(tmp_path / "l"), job="j1", server="p-west", key=key, hold="x"
            ),
        )


def test_a_pack_counts_though_others_lie_in_its_folder(network: str, tmp_path: Path) -> None:
    house = written(tmp_path, RULE.format(id="no", effect="forbid", when=""))
    written(house, RULE.format(id="yes", effect="permit", when=""))
    assert ask(network, packs=str(house)).lawful == 0


@pytest.mark.parametrize("at", ["9999-12-31T20:00:00", "0001-01-01T00:00:00+08:00", "1969-12-31"])
def test_a_moment_that_no_calendar_here_has_is_refused(network: str, at: str) -> None:
    with pytest.raises(InputError, match="1970 to 9999"):
        ask(network, at=at)


def test_a_pack_of_ones_own_counts_wherever_work_is_placed(network: str, tmp_path: Path) -> None:
    rules = RULE.format(id="not-west", effect="forbid", when=' when { principal.province == "CN-GZ" }')
    path = str(written(tmp_path, rules + RULE.format(id="else", effect="permit", when="")))
    free, bound = (
        cast(AssignAnswer, run("assign", AssignQuestion(network=network, packs=packs))) for packs in ("", path)
    )
    assert (free.server, bound.server) == ("p-west", "p-middle")
    to = [
        cast(SteerAnswer, run("steer", SteerQuestion(network=network, model="small", metro="m-east", packs=packs)))
        for packs in ("", path)
    ]
    assert (to[0].endpoint, to[1].endpoint) == ("e3", "e2")
