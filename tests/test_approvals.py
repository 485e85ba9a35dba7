"""The box of approvals: who is counted, who takes, and that nothing acts twice; and the command that people use."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import karez
from benchmarks import approvals as races
from benchmarks.instances.ring import DRAIN, ORDER, RESTART, ring
from karez.errors import InputError, Refused
from karez.faces import cli
from karez.plan import Plan
from karez.record.approvals import COUNTED, Box, Waiting
from karez.record.log import Record
from karez.record.principals import Approval, approval_of, judged, pem, public_key, signed
from karez.twin import Twin, store
from tests.approving import NOW_S, PERSONS, key, persons, plan_of
from tests.test_lease import postgres  # noqa: F401

with_ = msgspec.structs.replace
INTENDED = ring().intended.replace(persons())
NONCES = itertools.count()


def word(plan: Plan, who: str = "li", *, at_s: float = NOW_S, lasts_s: float = 60.0) -> Approval:
    return signed(approval_of(plan, who, at_s=at_s, lasts_s=lasts_s, nonce=f"{next(NONCES):032x}"), key(who))


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A file, or a database that is new."""
    if request.param == "sqlite":
        return str(tmp_path / "box")
    url: str = request.getfixturevalue("postgres")
    psycopg = pytest.importorskip("psycopg")
    name = f"box{next(NONCES)}"
    with psycopg.connect(url, autocommit=True) as base:
        base.execute(f"CREATE DATABASE {name}")
    return url.replace("/postgres?", f"/{name}?")


@pytest.fixture
def box(where: str) -> Iterator[Box]:
    with Box(where, judged(INTENDED), make=True) as box:
        yield box


@pytest.fixture
def file_box(tmp_path: Path) -> Iterator[Box]:
    with Box(str(tmp_path / "box"), judged(INTENDED), make=True) as box:
        yield box


def test_what_was_approved_is_taken_once_and_never_again(box: Box) -> None:
    plan, approval = plan_of(DRAIN), None
    assert box.propose(plan, 1, at_s=NOW_S)
    assert box.take(plan.id, 1, at_s=NOW_S) is None
    approval = word(plan)
    assert box.approve(approval, at_s=NOW_S) == COUNTED
    assert box.take(plan.id, 1, at_s=NOW_S) == (approval,)
    assert box.take(plan.id, 1, at_s=NOW_S) is None
    assert "does not wait any more: the leader of epoch 1 took it" in box.approve(word(plan, "wang"), at_s=NOW_S)


def test_an_approval_that_acted_does_not_count_when_the_same_plan_is_proposed_again(box: Box) -> None:
    plan = plan_of(DRAIN)
    approval = word(plan)
    box.propose(plan, 1, at_s=NOW_S)
    box.approve(approval, at_s=NOW_S)
    box.take(plan.id, 1, at_s=NOW_S)
    assert box.propose(plan, 1, at_s=NOW_S)
    assert box.take(plan.id, 1, at_s=NOW_S) is None
    assert box.approve(approval, at_s=NOW_S) == "it was handed in before: an approval acts once"
    assert box.take(plan.id, 1, at_s=NOW_S) is None
    assert box.approve(word(plan), at_s=NOW_S) == COUNTED
    assert box.take(plan.id, 1, at_s=NOW_S) is not None


def test_two_persons_are_two_persons_and_neither_brought_the_plan(box: Box) -> None:
    plan = plan_of(ORDER)
    box.propose(plan, 2, at_s=NOW_S, brought_by="zhao")
    assert box.approve(word(plan, "li"), at_s=NOW_S) == COUNTED
    assert box.approve(word(plan, "li"), at_s=NOW_S) == "li has approved it already"
    assert box.approve(word(plan, "zhao"), at_s=NOW_S) == "zhao brought it, and 2 others are asked"
    assert box.take(plan.id, 1, at_s=NOW_S) is None
    assert box.approve(word(plan, "wang"), at_s=NOW_S) == COUNTED
    taken = box.take(plan.id, 1, at_s=NOW_S)
    assert taken is not None
    assert [approval.principal for approval in taken] == ["li", "wang"]


def test_where_one_is_asked_whoever_brought_it_may_approve_it(box: Box) -> None:
    plan = plan_of(DRAIN)
    box.propose(plan, 1, at_s=NOW_S, brought_by="li")
    assert box.approve(word(plan, "li"), at_s=NOW_S) == COUNTED
    assert box.take(plan.id, 1, at_s=NOW_S) is not None


def test_an_approval_that_expires_before_it_is_taken_does_not_act_and_may_be_given_anew(box: Box) -> None:
    plan = plan_of(DRAIN)
    box.propose(plan, 1, at_s=NOW_S)
    assert box.approve(word(plan, lasts_s=10.0), at_s=NOW_S) == COUNTED
    assert box.take(plan.id, 1, at_s=NOW_S + 10.001) is None
    later = word(plan, at_s=NOW_S + 20.0)
    assert box.approve(later, at_s=NOW_S + 20.0) == COUNTED
    assert box.take(plan.id, 1, at_s=NOW_S + 20.0) == (later,)


def test_of_two_persons_the_one_whose_approval_has_expired_is_missing(box: Box) -> None:
    plan = plan_of(DRAIN)
    box.propose(plan, 2, at_s=NOW_S)
    box.approve(word(plan, "li", lasts_s=10.0), at_s=NOW_S)
    box.approve(word(plan, "wang"), at_s=NOW_S)
    assert box.take(plan.id, 1, at_s=NOW_S + 10.0) is None
    assert len(box.take(plan.id, 1, at_s=NOW_S + 9.999) or ()) == 2


def test_who_is_no_principal_any_more_when_it_is_taken_does_not_count(where: str) -> None:
    principals = [persons()]
    with Box(where, lambda *told: judged(INTENDED.replace(principals[0]))(*told), make=True) as box:
        plan = plan_of(DRAIN)
        box.propose(plan, 1, at_s=NOW_S)
        assert box.approve(word(plan), at_s=NOW_S) == COUNTED
        principals[0] = persons("wang")
        assert box.take(plan.id, 1, at_s=NOW_S) is None


def test_a_leader_who_was_overtaken_takes_nothing(box: Box) -> None:
    first, second = plan_of(DRAIN), plan_of(RESTART)
    for plan in (first, second):
        box.propose(plan, 1, at_s=NOW_S)
        box.approve(word(plan), at_s=NOW_S)
    assert box.take(first.id, 7, at_s=NOW_S) is not None
    assert box.take(second.id, 6, at_s=NOW_S) is None
    assert box.take(second.id, 7, at_s=NOW_S) is not None


def test_what_was_withdrawn_is_not_taken_and_says_why(box: Box) -> None:
    plan = plan_of(DRAIN)
    box.propose(plan, 1, at_s=NOW_S)
    box.approve(word(plan), at_s=NOW_S)
    assert box.withdraw(plan.id, "the finding is gone\0")
    assert not box.withdraw(plan.id, "again")
    assert box.take(plan.id, 1, at_s=NOW_S) is None
    assert box.waiting(at_s=NOW_S) == ()
    assert box.approve(word(plan), at_s=NOW_S).startswith("it does not wait any more: the finding is gone")


def test_a_plan_that_waits_is_not_proposed_twice_and_its_approvals_stay(box: Box) -> None:
    plan = plan_of(DRAIN, price_cny=float("inf"))
    approval = word(plan)
    assert box.propose(plan, 2, at_s=NOW_S)
    assert box.approve(approval, at_s=NOW_S) == COUNTED
    assert not box.propose(plan, 1, at_s=NOW_S + 1.0)
    assert box.waiting(at_s=NOW_S) == (
        Waiting(plan=plan, needs=2, brought_by="", since_s=NOW_S, approvals=(approval,)),
    )


def test_what_was_never_proposed_cannot_be_approved_taken_or_withdrawn(box: Box) -> None:
    plan = plan_of(DRAIN)
    assert box.approve(word(plan), at_s=NOW_S) == "no such plan was ever proposed here"
    assert box.take(plan.id, 1, at_s=NOW_S) is None
    assert box.take("a\0b", 1, at_s=NOW_S) is None
    assert not box.withdraw(plan.id, "why")


@pytest.mark.parametrize("needs", [0, -1])
def test_a_plan_that_needs_nobody_waits_for_nobody(needs: int, file_box: Box) -> None:
    with pytest.raises(ValueError, match="waits for nobody"):
        file_box.propose(plan_of(DRAIN), needs, at_s=NOW_S)


def test_a_box_opened_anew_holds_what_it_held(where: str) -> None:
    plan = plan_of(DRAIN)
    with Box(where, judged(INTENDED), make=True) as box:
        box.propose(plan, 1, at_s=NOW_S)
        box.approve(word(plan), at_s=NOW_S)
    with Box(where, judged(INTENDED), make=True) as box:
        assert len(box.waiting(at_s=NOW_S)[0].approvals) == 1
        assert box.take(plan.id, 1, at_s=NOW_S) is not None
    with Box(where, judged(INTENDED)) as box:
        assert box.take(plan.id, 1, at_s=NOW_S) is None


def test_a_taker_and_a_person_who_withdraws_cannot_both_have_their_way(where: str) -> None:
    plan = plan_of(DRAIN)
    with Box(where, judged(INTENDED), make=True) as one, Box(where, judged(INTENDED)) as other:
        one.propose(plan, 1, at_s=NOW_S)
        one.approve(word(plan), at_s=NOW_S)
        found = one._found(plan.id)
        assert found is not None
        # The other was faster, after this one had read that the plan waits.
        assert other.withdraw(plan.id, "no")
        assert one._marked(found, 1) == (True, False)
        assert other.propose(plan, 1, at_s=NOW_S)
        assert one._marked(found, 1) == (True, False)
        assert one._handed_in(found, word(plan)) == (False, False)


def test_approvals_that_came_while_a_taker_thought_are_taken_along_or_not_counted(where: str) -> None:
    plan = plan_of(DRAIN)
    with Box(where, judged(INTENDED), make=True) as one, Box(where, judged(INTENDED)) as other:
        one.propose(plan, 1, at_s=NOW_S)
        one.approve(word(plan, "li"), at_s=NOW_S)
        found = one._found(plan.id)
        assert found is not None
        assert other.approve(word(plan, "wang"), at_s=NOW_S) == COUNTED
        assert one._marked(found, 1) == (True, False)
        assert len(one.take(plan.id, 1, at_s=NOW_S) or ()) == 2


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE karez_proposals SET body = x'00'", "was altered"),
        ("UPDATE karez_proposals SET body = (SELECT body FROM karez_proposals WHERE needs = 2)", "was altered"),
        ("UPDATE karez_approvals SET body = x'93'", "was altered"),
    ],
)
def test_a_box_that_somebody_altered_acts_on_nothing(statement: str, what: str, tmp_path: Path) -> None:
    plan, other = plan_of(DRAIN), plan_of(RESTART)
    with Box(str(tmp_path / "box"), judged(INTENDED), make=True) as box:
        box.propose(plan, 1, at_s=NOW_S)
        box.propose(other, 2, at_s=NOW_S)
        box.approve(word(plan), at_s=NOW_S)
        with closing(sqlite3.connect(tmp_path / "box", isolation_level=None)) as base:
            base.execute(statement)
        with pytest.raises(InputError, match=what):
            box.take(plan.id, 1, at_s=NOW_S)


def test_an_approval_that_somebody_put_into_the_box_by_hand_does_not_count(tmp_path: Path) -> None:
    plan = plan_of(DRAIN)
    with Box(str(tmp_path / "box"), judged(INTENDED), make=True) as box:
        box.propose(plan, 1, at_s=NOW_S)
        forged = msgspec.msgpack.encode(with_(word(plan), signature="00" * 64))
        with closing(sqlite3.connect(tmp_path / "box", isolation_level=None)) as base:
            base.execute("INSERT INTO karez_approvals VALUES ('li', 'n', ?, 1, ?)", (plan.id, forged))
        assert box.take(plan.id, 1, at_s=NOW_S) is None


def test_another_plan_of_the_same_id_is_refused(tmp_path: Path) -> None:
    plan = plan_of(DRAIN)
    with Box(str(tmp_path / "box"), judged(INTENDED), make=True) as box:
        box.propose(plan, 1, at_s=NOW_S)
        with closing(sqlite3.connect(tmp_path / "box", isolation_level=None)) as base:
            base.execute("UPDATE karez_proposals SET content = ?", ("0" * 64,))
        with pytest.raises(InputError, match="has the id of another plan"):
            box.propose(plan, 1, at_s=NOW_S)


def test_what_is_no_box_is_told_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello " * 1_000)
    (tmp_path / "empty").touch()
    with closing(sqlite3.connect(tmp_path / "other")) as base:
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("CREATE TABLE events (seq INTEGER)")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    told = {
        "none": "there is no such box",
        "text": "not a database",
        "empty": "no box",
        "other": "no box",
        ".": "no such",
    }
    for name, what in told.items():
        with pytest.raises(InputError, match=what):
            Box(str(tmp_path / name), judged(INTENDED))
    for name in ("text", "other", ".", "no/box"):
        with pytest.raises(InputError):
            Box(str(tmp_path / name), judged(INTENDED), make=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".x"} == before


def test_a_box_on_a_server_that_is_not_there_says_so_without_the_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(InputError) as raised:
        Box("postgresql://li:geheim@127.0.0.1:1/box", judged(INTENDED))
    assert "cannot be used as a box" in str(raised.value)
    assert "geheim" not in str(raised.value)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["propose", "approve", "again", "take", "withdraw"]),
        st.integers(0, 1),
        st.sampled_from(PERSONS),
        st.integers(0, 30),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_is_done_in_whatever_order_an_approval_acts_once_while_it_is_good(
    steps: list[tuple[str, int, str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    plans, given_, used, now_s = (plan_of(DRAIN), plan_of(RESTART)), list[Approval](), set[str](), NOW_S
    path = tmp_path_factory.mktemp("box") / "box"
    with Box(str(path), judged(INTENDED), make=True) as box:
        for what, which, who, later_s in steps:
            now_s += later_s
            plan = plans[which]
            if what == "propose":
                box.propose(plan, 1 + which, at_s=now_s, brought_by="zhao")
            elif what == "approve":
                given_.append(word(plan, who, at_s=now_s))
                box.approve(given_[-1], at_s=now_s)
            elif what == "again" and given_:
                box.approve(given_[0], at_s=now_s)
            elif what == "withdraw":
                box.withdraw(plan.id, "no")
            elif what == "take":
                taken = box.take(plan.id, 1, at_s=now_s)
                for approval in taken or ():
                    assert approval.nonce not in used
                    assert approval.plan == plan.id
                    assert approval.at_s <= now_s < approval.expires_at_s
                    used.add(approval.nonce)
                if taken is not None:
                    persons_ = {approval.principal for approval in taken}
                    assert len(persons_) == len(taken) > which
                    assert not (which and "zhao" in persons_)


def test_however_many_race_no_approval_acts_twice_and_a_box_that_looks_before_it_writes_lets_some(
    proof: bool, turning_seed: int
) -> None:
    runs = 10_000 if proof else 150
    ours = races.trial(turning_seed, runs)
    assert (ours.acts, ours.acted_twice, ours.short, ours.lost) == (runs, 0, 0, 0), turning_seed
    assert races.trial(turning_seed, 150, naive=True).acted_twice > 0, "the race was too slow to show anything"


def test_no_approval_acts_twice_on_a_server_either(request: pytest.FixtureRequest, turning_seed: int) -> None:
    url: str = request.getfixturevalue("postgres")
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(url, autocommit=True) as base:
        base.execute("CREATE DATABASE races")
    ours = races.Race(turning_seed, 60, url.replace("/postgres?", "/races?")).trial()
    assert (ours.acts, ours.acted_twice, ours.short, ours.lost) == (60, 0, 0, 0), turning_seed


# The command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network with principals, a box in which two plans wait, and the keys of Li and Wang."""
    monkeypatch.setenv("KAREZ_AT_S", str(NOW_S))
    monkeypatch.chdir(tmp_path)
    save(INTENDED)
    for name in ("li", "wang"):
        Path(name).write_bytes(pem(key(name)))
        Path(name).chmod(0o600)
    with Box("box", judged(INTENDED), make=True) as box:
        box.propose(plan_of(DRAIN, summary="drain l03"), 1, at_s=NOW_S - 30.0)
        box.propose(plan_of(ORDER, RESTART), 2, at_s=NOW_S, brought_by="zhao")
    return tmp_path


def save(twin: Twin) -> None:
    store.save(twin, Path("net"), at_s=0.0, note="test", source="ring", synthetic=True)


SMALL, LARGE = plan_of(DRAIN, summary="drain l03"), plan_of(ORDER, RESTART)
Ask = Callable[..., Any]


@pytest.fixture
def ask(folder: Path) -> Ask:
    def asked(**more: Any) -> Any:
        return karez.approve("net", "box", **more)

    return asked


def test_all_that_waits_is_listed_the_oldest_first(ask: Ask) -> None:
    answer = ask()
    assert answer.headline == "2 plans wait for people (synthetic network)"
    assert [(each.plan, each.needs, each.does, each.brought_by) for each in answer.waiting] == [
        (SMALL.id, 1, "drain l03", ""),
        (LARGE.id, 2, "order equipment c1 and 1 more", "zhao"),
    ]


def test_a_plan_is_shown_in_words_by_the_beginning_of_its_id(ask: Ask) -> None:
    answer = ask(plan=SMALL.id[:8])
    assert answer.plan == SMALL.id
    assert answer.headline.startswith(f"Plan {SMALL.id} waits (drain l03); 0 of 1 approval, 1 more is needed")
    (act,) = answer.acts
    assert (act.what, act.subject, act.domains) == (
        "keep traffic off a link by a high cost, at both ends",
        "l03",
        ("carrier",),
    )
    assert act.sets == ("links[l03].drained: False to True",)
    assert act.taken_back == "exactly"


def test_a_person_approves_and_the_loop_takes_it(ask: Ask) -> None:
    answer = ask(plan=SMALL.id, say="approve", key="li")
    assert answer.missing == 0
    assert [given.principal for given in answer.approvals] == ["li"]
    with Box("box", judged(INTENDED)) as box:
        taken = box.take(SMALL.id, 1, at_s=NOW_S)
    assert taken is not None
    assert taken[0].expires_at_s == NOW_S + 3_600.0


def test_the_second_of_two_persons_makes_it_whole(ask: Ask) -> None:
    first = ask(plan=LARGE.id, say="approve", key="li", lasts_s=60)
    assert (first.missing, first.headline.split("; ")[1]) == (
        1,
        "1 of 2 approvals, 1 more is needed (synthetic network)",
    )
    with pytest.raises(Refused, match="li has approved it already"):
        ask(plan=LARGE.id, say="approve", key="li")
    assert ask(plan=LARGE.id, say="approve", key="wang").missing == 0


def test_a_person_refuses_and_whoever_comes_later_is_told_why(ask: Ask) -> None:
    ask(plan=SMALL.id, say="refuse", key="li", why="l03 carries the games tonight")
    with pytest.raises(InputError, match="does not wait in box"):
        ask(plan=SMALL.id, say="approve", key="wang")
    with Box("box", judged(INTENDED)) as box:
        assert box.approve(word(SMALL, "wang"), at_s=NOW_S) == (
            "it does not wait any more: li refused it: l03 carries the games tonight"
        )


def test_who_may_not_approve_may_not_refuse(ask: Ask) -> None:
    table = INTENDED["principals"]
    save(INTENDED.replace(table.set(table.rows(["li"]), scopes="bring:*/*")))
    for say in ("approve", "refuse"):
        with pytest.raises(Refused, match="no scope of li lets it approve"):
            ask(plan=SMALL.id, say=say, key="li")


def _open(name: str) -> None:
    Path(name).chmod(0o644)


def _strange(name: str) -> None:
    Path(name).write_bytes(pem(key("x")))


@pytest.mark.parametrize(
    ("given_", "before", "told"),
    [
        ({"say": "approve", "key": "li"}, None, "plan: is missing: approve what?"),
        ({"say": "refuse", "plan": SMALL.id}, None, "key: is missing"),
        ({"plan": "ffff"}, None, "'ffff' does not wait in box"),
        ({"plan": SMALL.id, "say": "approve", "key": "none"}, None, "no such file"),
        ({"plan": SMALL.id, "say": "approve", "key": "box"}, None, "box: may be read by others"),
        ({"plan": SMALL.id, "say": "approve", "key": "li"}, _open, "chmod 600 li"),
        ({"plan": SMALL.id, "say": "approve", "key": "li"}, _strange, "is the key of nobody"),
        ({"plan": SMALL.id, "say": "approve", "key": "li", "why": "so"}, None, "why: is for what you refuse"),
    ],
)
def test_what_does_not_fit_is_told_with_what_to_do(
    given_: dict[str, Any], before: Callable[[str], None] | None, told: str, ask: Ask
) -> None:
    if before:
        before("li")
    with pytest.raises(InputError, match=told.replace("?", r"\?")):
        ask(**given_)


def test_the_exit_codes_tell_wrong_input_from_a_word_that_does_not_count(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["--plan", LARGE.id, "--say", "approve", "--key"]
    assert cli.main(["approve", "net", "box", "--quiet"]) == 0
    assert cli.main(["approve", "net", "no-box"]) == 2
    assert "karez: no-box: there is no such box of approvals; name the one" in capsys.readouterr().err
    assert cli.main(["approve", "net", "box", *said, "li", "--lasts-s", "700000"]) == 2
    assert cli.main(["approve", "net", "box", *said, "li", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"]["missing"] == 1
    assert cli.main(["approve", "net", "box", *said, "li"]) == 5
    assert "li has approved it already" in capsys.readouterr().err


def test_a_new_key_is_its_owners_alone_and_works(ask: Ask) -> None:
    karez.key("new")
    assert Path("new").stat().st_mode & 0o777 == 0o600
    public = Path("new.pub").read_text().strip()
    table = INTENDED["principals"]
    save(INTENDED.replace(table.set(table.rows(["li"]), public_key=public)))
    assert ask(plan=SMALL.id, say="approve", key="new").missing == 0


def test_two_keys_are_never_the_same_and_none_is_written_over(folder: Path) -> None:
    karez.key("a")
    karez.key("b")
    assert Path("a.pub").read_text() != Path("b.pub").read_text()
    before = Path("a").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        karez.key("a")
    os.remove("a")
    with pytest.raises(InputError, match=r"a\.pub: exists already"):
        karez.key("a")
    assert not Path("a").exists()
    assert before


def test_a_record_is_not_taken_for_a_box(folder: Path) -> None:
    with Record(Path("record")) as record:
        record.append("turn", 0.0, b"x")
    with pytest.raises(InputError, match="is no box of approvals"):
        karez.approve("net", "record")


def test_a_key_that_two_share_is_of_nobody(ask: Ask) -> None:
    table = INTENDED["principals"]
    save(INTENDED.replace(table.set(table.rows(["wang"]), public_key=public_key(key("li")))))
    with pytest.raises(InputError, match="is the key of 2 principals"):
        ask(plan=SMALL.id, say="approve", key="li")


def test_every_command_of_the_page_on_approvals_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parent.parent / "docs/how-to/approve.md").read_text("utf-8")
    Path("net").rename("mynet")
    Path("box").rename("approvals.box")
    words = {"PLAN": SMALL.id, "OTHER": LARGE.id}
    commands = [shlex.split(line)[1:] for line in re.findall(r"^    (karez .+)$", page, re.MULTILINE)]
    assert len(commands) == 5
    for command in commands:
        code = cli.main([words.get(word, word) for word in command])
        assert code == 0, (command, capsys.readouterr().err)
        if command[0] == "key":
            Path("li.key").write_bytes(pem(key("li")))
