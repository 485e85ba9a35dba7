from __future__ import annotations

import json
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
from karez.record.log import Record
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
        [sys.executable, "-I", program, file, proof.head.key], capture_output=True, text=True, check=False
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


def altered(folder: Path, statement: str) -> str:
    """What the verifier says of the log once somebody wrote into it and made its tree anew."""
    with EvidenceLog(folder) as log:
        heads = [plain(log.head(KEY, NOW_S + 100.0))]
    assert prove.wrong_with_log(folder, heads) == ""
    for path in folder.glob("tree-*"):
        path.unlink()
    with closing(sqlite3.connect(folder / "entries.record")) as base:
        base.executescript(statement)
    return prove.wrong_with_log(folder, heads)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE events SET body = x'00' WHERE seq = 5", "changed"),
        ("DELETE FROM events WHERE seq = 24", "gone"),
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
            "wrong side of the head",
        ),
    ],
)
def test_an_entry_that_was_changed_dropped_moved_added_or_back_dated_is_found(
    tmp_path: Path, statement: str, said: str
) -> None:
    grown(tmp_path / "log", 25)
    assert said in altered(tmp_path / "log", statement)


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
    assert prove.wrong_with_log(tmp_path / "log", [plain(head)]) == ""


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
    assert prove.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("cannot be read") == 2
    assert prove.main([]) == 2


def test_a_head_is_of_its_own_size(tmp_path: Path) -> None:
    grown(tmp_path / "log", 5)
    with EvidenceLog(tmp_path / "log") as log:
        head: Head = log.head(KEY, NOW_S + 50.0)
        assert head.size == len(log) == 5
