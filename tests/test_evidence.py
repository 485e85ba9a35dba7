from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karez.errors import InputError, Refused
from karez.record import prove
from karez.record.evidence import KEPT_S, EvidenceLog, Head, Tree, leaf, node
from karez.record.log import Record, read
from karez.record.principals import key_of

KEY = key_of(b"k" * 32)
NOW_S = 1_780_272_000.0
LONG, THINNED = 1_000_000, 30_000


def grown(folder: Path, count: int, at_s: float = NOW_S) -> None:
    """Entries one second after another, ten at a time."""
    with EvidenceLog(folder) as log:
        for start in range(0, count, 10):
            log.append(
                [("verdict", f"{number}".encode()) for number in range(start, min(start + 10, count))], at_s + start
            )


def plain(value: msgspec.Struct) -> dict[str, object]:
    held = msgspec.json.decode(msgspec.json.encode(value))
    assert isinstance(held, dict)
    return held


def by_definition(leaves: list[bytes]) -> bytes:
    """The root as RFC 9162, 2.1.1 defines it."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while 2 * half < len(leaves):
        half *= 2
    return node(by_definition(leaves[:half]), by_definition(leaves[half:]))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.data())
def test_every_proof_of_every_size_holds_and_no_other_does(
    tmp_path_factory: pytest.TempPathFactory, size: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    leaves = [leaf(at, NOW_S, "verdict", bytes([at])) for at in range(size)]
    with Record(folder / "entries.record") as record:
        tree = Tree(folder, record.store)
        tree.grow(iter(leaves))
        root = tree.root(size)
        assert root == by_definition(leaves)
        seq = data.draw(st.integers(0, size - 1))
        path = tree.inclusion(seq, size)
        assert prove.is_included(seq, leaves[seq], path, size, root)
        other = data.draw(st.integers(0, size - 1))
        assert prove.is_included(other, leaves[seq], path, size, root) == (other == seq)
        assert not prove.is_included(seq, leaf(seq, NOW_S, "verdict", b"no"), path, size, root)
        before = data.draw(st.integers(0, size))
        shared = tree.consistency(before, size)
        assert prove.is_consistent(before, size, tree.root(before), root, shared)
        if 0 < before < size:
            assert not prove.is_consistent(before, size, node(root, root), root, shared)
            assert not prove.is_consistent(before, size, tree.root(before), node(root, root), shared)
        tree.close()


def test_a_proof_is_checked_without_karez_and_fails_when_anything_in_it_is_changed(tmp_path: Path) -> None:
    grown(tmp_path / "log", 25)
    with EvidenceLog(tmp_path / "log") as log:
        proof = log.proof(7, log.head(KEY, NOW_S + 100.0))
    file = tmp_path / "proof.json"
    file.write_bytes(msgspec.json.encode(proof))
    program = Path(prove.__file__)
    checked = subprocess.run(
        [sys.executable, "-I", program, file, "--key", proof.head.key], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout) == (0, f"{file}: nothing is wrong\n")
    held = json.loads(file.read_text())
    for change in (
        {"seq": 8}, {"at_s": NOW_S - 1.0}, {"kind": "handover"}, {"body": "00"}, {"path": held["path"][:-1]},
        {"head": held["head"] | {"size": 24}}, {"head": held["head"] | {"at_s": NOW_S}},
        {"head": held["head"] | {"root": "00" * 32}}, {"head": held["head"] | {"signature": "00" * 64}},
    ):  # fmt: skip
        file.write_text(json.dumps(held | change))
        assert (
            subprocess.run([sys.executable, "-I", program, file], capture_output=True, check=False).returncode == 1
        ), change
    assert "another key" in prove.wrong_with_proof(held, "00" * 32)


def test_a_later_head_is_proven_to_add_to_an_earlier_one(tmp_path: Path) -> None:
    grown(tmp_path / "log", 20)
    with EvidenceLog(tmp_path / "log") as log:
        before = log.head(KEY, NOW_S + 50.0)
        log.append([("handover", b"x")], NOW_S + 60.0)
        after = log.head(KEY, NOW_S + 70.0)
        assert prove.wrong_with_consistency(plain(log.consistency(before, after))) == ""
        with pytest.raises(InputError, match="wrong order"):
            log.consistency(after, before)
    grown(tmp_path / "other", 30)
    with EvidenceLog(tmp_path / "other") as other:
        with pytest.raises(InputError, match="not the log of the head"):
            other.consistency(before, after)
        forged = {"before": plain(before), "after": plain(other.head(KEY, NOW_S + 80.0)), "path": []}
        assert "grown" in prove.wrong_with_consistency(forged)


def altered(folder: Path, statement: str, *, tree: bool) -> str:
    """What the verifier says of the log once somebody wrote into it, and left its tree as it was or took it away."""
    with EvidenceLog(folder) as log:
        heads = [plain(log.head(KEY, NOW_S + 100.0))]
    assert prove.wrong_with_log(folder, heads) == ""
    for path in () if tree else folder.glob("tree*"):
        path.unlink()
    with closing(sqlite3.connect(folder / "entries.record")) as base:
        base.executescript(statement)
    return prove.wrong_with_log(folder, heads)


@pytest.mark.parametrize("tree", [True, False])
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE events SET body = x'00' WHERE seq = 5", "changed"),
        ("DELETE FROM events WHERE seq = 24", "gone"),
        ("DELETE FROM events WHERE seq IN (3, 5, 17)", "entry 3 was dropped"),
        ("DELETE FROM events WHERE seq < 24", "entry 0 was dropped"),
        ("DELETE FROM events", "25 entries of a head of 25 are gone"),
        ("DELETE FROM events WHERE seq = 5; UPDATE events SET seq = seq - 1 WHERE seq > 5", "gone"),
        (
            "UPDATE events SET seq = -1 WHERE seq = 5;"
            "UPDATE events SET seq = 5 WHERE seq = 6;"
            "UPDATE events SET seq = 6 WHERE seq = -1",
            "changed, dropped, added or moved",
        ),
        ("UPDATE events SET at_s = at_s - 30 WHERE seq = 24", "back-dated"),
        ("UPDATE events SET at_s = at_s - 5 WHERE seq >= 10", "changed"),
        (
            "INSERT INTO events SELECT seq + 1, at_s, kind, body, hash FROM events WHERE seq = 24",
            "back-dated",
        ),
    ],
)
def test_an_entry_that_was_changed_dropped_moved_added_or_back_dated_is_found(
    tmp_path: Path, statement: str, said: str, tree: bool
) -> None:
    grown(tmp_path / "log", 25)
    assert said in altered(tmp_path / "log", statement, tree=tree)


def test_an_entry_cannot_be_dated_before_the_last(tmp_path: Path) -> None:
    with EvidenceLog(tmp_path / "log") as log:
        log.append([("verdict", b"a")], NOW_S)
        with pytest.raises(Refused, match="back-dated"):
            log.append([("verdict", b"b")], NOW_S - 1.0)
        assert len(log) == 1


@pytest.mark.parametrize("lost", ["tree-00.sha256", "tree-02.sha256", "tree-04.sha256"])
def test_what_the_tree_lacks_after_a_crash_is_made_anew(tmp_path: Path, lost: str) -> None:
    grown(tmp_path / "log", 25)
    with EvidenceLog(tmp_path / "log") as log:
        head = log.head(KEY, NOW_S + 100.0)
    file = tmp_path / "log" / lost
    for data in (b"", file.read_bytes()[:-33]):
        file.write_bytes(data)
        with EvidenceLog(tmp_path / "log") as log:
            assert log.head(KEY, NOW_S + 100.0) == head
            assert prove.wrong_with_proof(plain(log.proof(3, head))) == ""
    file.unlink()
    with EvidenceLog(tmp_path / "log") as log:
        assert log.head(KEY, NOW_S + 100.0) == head


def test_entries_are_kept_for_three_years_and_proofs_outlast_those_that_go(tmp_path: Path) -> None:
    grown(tmp_path / "log", 25)
    with EvidenceLog(tmp_path / "log") as log:
        head = log.head(KEY, NOW_S + 100.0)
        with pytest.raises(Refused, match="three years"):
            log.forget(NOW_S + 10.0, NOW_S + 20.0)
        log.forget(NOW_S + 10.0, NOW_S + 10.0 + KEPT_S)
        with pytest.raises(InputError, match="has no entry 3"):
            log.proof(3, head)
        assert prove.wrong_with_proof(plain(log.proof(12, head))) == ""
        assert len(log) == 25
    assert prove.wrong_with_log(tmp_path / "log", [plain(head)], gone=10) == ""
    assert prove.wrong_with_log(tmp_path / "log", [plain(head)], gone=9) == "entry 9 was dropped"
    assert prove.wrong_with_log(tmp_path / "log", [plain(head)]) == "entry 0 was dropped"


def test_a_log_of_which_all_is_old_keeps_its_last_entry_and_goes_on(tmp_path: Path) -> None:
    grown(tmp_path / "log", 25)
    with EvidenceLog(tmp_path / "log") as log:
        assert log.forget(NOW_S + 100.0, NOW_S + 100.0 + KEPT_S) == 24
    with EvidenceLog(tmp_path / "log") as log:
        assert log.append([("verdict", b"x")], NOW_S + 200.0) == 25
        head = log.head(KEY, NOW_S + 300.0)
        assert prove.wrong_with_proof(plain(log.proof(25, head))) == ""
    assert prove.wrong_with_log(tmp_path / "log", [plain(head)], gone=24) == ""


def test_hashes_that_are_spoilt_are_made_anew_or_told_of(tmp_path: Path) -> None:
    grown(tmp_path / "log", 25)
    with EvidenceLog(tmp_path / "log") as log:
        head = log.head(KEY, NOW_S + 100.0)
    for name in ("tree-00.sha256", "tree-03.sha256", "tree-04.sha256"):
        file = tmp_path / "log" / name
        file.write_bytes(bytes(len(file.read_bytes())))
        with EvidenceLog(tmp_path / "log") as log:
            assert log.head(KEY, NOW_S + 100.0) == head
    (tmp_path / "log" / "tree-02.sha256").unlink()
    grown_on = [("verdict", b"y")] * 15
    with EvidenceLog(tmp_path / "log") as log:
        log.append(grown_on, NOW_S + 200.0)
        after = log.head(KEY, NOW_S + 300.0)
    assert prove.wrong_with_log(tmp_path / "log", [plain(head), plain(after)]) == ""
    with EvidenceLog(tmp_path / "log") as log:
        log.forget(NOW_S + 10.0, NOW_S + 10.0 + KEPT_S)
    (tmp_path / "log" / "tree-01.sha256").unlink()
    with pytest.raises(InputError, match="spoilt hashes"):
        EvidenceLog(tmp_path / "log")


def test_heads_and_entries_go_forward_in_time_together(tmp_path: Path) -> None:
    with EvidenceLog(tmp_path / "log") as log:
        log.append([("verdict", b"a")], NOW_S)
        with pytest.raises(Refused, match=r"head.*back-dated"):
            log.head(KEY, NOW_S - 1.0)
        log.head(KEY, NOW_S + 10.0)
    with EvidenceLog(tmp_path / "log") as log, pytest.raises(Refused, match=r"entry.*back-dated"):
        log.append([("verdict", b"b")], NOW_S + 5.0)


def _appends(folder: Path, count: int) -> None:
    for _ in range(count):
        with EvidenceLog(folder) as log:
            log.append([("verdict", str(os.getpid()).encode())], max(time.time(), log.newest_s))


def test_of_processes_that_append_at_once_and_are_killed_nothing_is_lost_or_spoilt(
    tmp_path: Path, turning_seed: int
) -> None:
    context, chance = multiprocessing.get_context("fork"), np.random.default_rng(turning_seed)
    writers = [context.Process(target=_appends, args=(tmp_path / "log", 25)) for _ in range(3)]
    killed = [context.Process(target=_appends, args=(tmp_path / "log", 10_000)) for _ in range(6)]
    for writer in writers:
        writer.start()
    for writer in killed:
        writer.start()
        time.sleep(float(chance.uniform(0.02, 0.2)))
        writer.kill()
        writer.join()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    with EvidenceLog(tmp_path / "log") as log:
        assert len(log) >= 75
        head = log.head(KEY, time.time())
    assert prove.wrong_with_log(tmp_path / "log", [plain(head)]) == ""
    bodies = [event.body.decode() for event in read(tmp_path / "log" / "entries.record")]
    assert all(bodies.count(str(writer.pid)) == 25 for writer in writers)


@pytest.mark.parametrize(
    "change", [{"seq": -1}, {"seq": 2.0}, {"seq": 1e30}, {"at_s": "x"}, {"at_s": None}, {"kind": 5}, {"kind": "k\0a"}]
)
def test_a_proof_that_is_none_is_said_to_be_none(tmp_path: Path, change: dict[str, object]) -> None:
    grown(tmp_path / "log", 5)
    with EvidenceLog(tmp_path / "log") as log:
        held = plain(log.proof(2, log.head(KEY, NOW_S + 100.0)))
    (tmp_path / "p.json").write_text(json.dumps(held | change))
    assert prove.main([str(tmp_path / "p.json")]) == 1


def test_in_a_long_log_proofs_take_milliseconds(tmp_path: Path, proof: bool) -> None:
    count = LONG if proof else THINNED
    with EvidenceLog(tmp_path / "log") as log:
        for start in range(0, count, 10_000):
            log.append([("verdict", b"x%d" % number) for number in range(start, start + 10_000)], NOW_S)
        before = log.head(KEY, NOW_S)
        log.append([("verdict", b"last")], NOW_S)
        head = log.head(KEY, NOW_S)
        took_s = []
        for seq in np.random.default_rng(1).integers(0, count, 50).tolist():
            before_s = time.perf_counter()
            shown = log.proof(seq, head)
            took_s.append(time.perf_counter() - before_s)
            assert prove.wrong_with_proof(plain(shown)) == ""
        assert prove.wrong_with_consistency(plain(log.consistency(before, head))) == ""
    assert float(np.median(took_s)) < 0.005


def test_a_log_cannot_be_made_where_something_else_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError):
        EvidenceLog(tmp_path / "file")


def test_the_verifier_says_what_it_cannot_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.json").write_text("{}")
    assert prove.main([str(tmp_path / "no.json")]) == 1
    (tmp_path / "head.json").write_text('{"size": 1}')
    assert prove.main([str(tmp_path), str(tmp_path / "head.json")]) == 1
    assert capsys.readouterr().out.count("cannot be read") == 2
    assert prove.main([str(tmp_path)]) == 1
    assert "proves nothing" in capsys.readouterr().out


def test_a_head_is_of_its_own_size(tmp_path: Path) -> None:
    grown(tmp_path / "log", 5)
    with EvidenceLog(tmp_path / "log") as log:
        head: Head = log.head(KEY, NOW_S + 50.0)
        assert head.size == len(log) == 5
