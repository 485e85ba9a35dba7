"""Checks of the evidence log, for who trusts nobody: an entry, a head, two heads, or a whole log, without Karez.

It stands alone: the standard library, and `cryptography` for signatures. Run it as a program on a file that
`karez policy prove` wrote, or on the folder of a log with heads that were kept elsewhere:

    python prove.py PROOF.json --key KEY
    python prove.py LOG HEAD.json ... --key KEY

Source: RFC 9162, 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sqlite3
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any


def is_included(seq: int, leaf: bytes, path: Sequence[bytes], size: int, root: bytes) -> bool:
    """Whether a leaf (hash) is number `seq` of the `size` leaves under a root."""
    if not 0 <= seq < size:
        return False
    at, last, hashed = seq, size - 1, leaf
    for beside in path:
        if last == 0:
            return False
        if at % 2 or at == last:
            hashed = _node(beside, hashed)
            while at % 2 == 0 and at:
                at, last = at // 2, last // 2
        else:
            hashed = _node(hashed, beside)
        at, last = at // 2, last // 2
    return last == 0 and hashed == root


def is_consistent(before: int, after: int, old: bytes, new: bytes, path: Sequence[bytes]) -> bool:
    """Whether the first `before` of the `after` leaves under the root `new` are those under the root `old`."""
    if before == after:
        return old == new and not path
    if before == 0:
        return not path and old == hashlib.sha256(b"").digest()
    if before > after or not path:
        return False
    parts = list(path)
    if before & (before - 1) == 0:
        parts.insert(0, old)
    at, last = before - 1, after - 1
    while at % 2:
        at, last = at // 2, last // 2
    first = second = parts[0]
    for part in parts[1:]:
        if last == 0:
            return False
        if at % 2 or at == last:
            first, second = _node(part, first), _node(part, second)
            while at % 2 == 0 and at:
                at, last = at // 2, last // 2
        else:
            second = _node(second, part)
        at, last = at // 2, last // 2
    return first == old and second == new and last == 0


def wrong_with_proof(proof: dict[str, Any], key: str = "") -> str:
    """What is wrong with the proof of an entry; empty where nothing is. `key`: the log's, as it is known elsewhere."""
    head = proof["head"]
    leaf = _leaf(proof["seq"], proof["at_s"], proof["kind"], bytes.fromhex(proof["body"]))
    path = [bytes.fromhex(part) for part in proof["path"]]
    if not is_included(proof["seq"], leaf, path, head["size"], bytes.fromhex(head["root"])):
        return f"entry {proof['seq']} is not in the log of this head as it stands here"
    if proof["at_s"] > head["at_s"]:
        return f"entry {proof['seq']} is of a moment after the head that it is in"
    return wrong_with_head(head, key)


def wrong_with_consistency(proof: dict[str, Any], key: str = "") -> str:
    """What is wrong with the proof that a later head only adds to an earlier one; empty where nothing is."""
    before, after = proof["before"], proof["after"]
    old, new = (bytes.fromhex(head["root"]) for head in (before, after))
    if not is_consistent(before["size"], after["size"], old, new, [bytes.fromhex(part) for part in proof["path"]]):
        return "the later head is not that of the same log, grown"
    if before["at_s"] > after["at_s"]:
        return "the later head is of an earlier moment"
    return wrong_with_head(before, key) or wrong_with_head(after, key)


def wrong_with_head(head: dict[str, Any], key: str = "") -> str:
    """What is wrong with a signed head; empty where nothing is."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if key and head["key"] != key:
        return "the head is signed with another key"
    what = b"karez evidence head\0" + struct.pack(">Qd", head["size"], head["at_s"]) + bytes.fromhex(head["root"])
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(head["key"])).verify(bytes.fromhex(head["signature"]), what)
    except (InvalidSignature, ValueError):
        return "the signature of the head is not of it"
    return ""


def wrong_with_log(folder: Path, heads: Sequence[dict[str, Any]], key: str = "", gone: int = 0) -> str:
    """What is wrong with a whole log by heads that were kept elsewhere; empty where nothing is.

    Every entry is read and hashed again. Of the first `gone` entries, which were let go of after their years, as many
    as are missing from the start are taken from the tree files; that any other is missing is wrong.
    """
    if not heads:
        return "no head was given: against itself a log proves nothing"
    ahead = sorted(heads, key=lambda head: head["size"], reverse=True)
    stack, size, newest_s = list[tuple[int, bytes]](), 0, -float("inf")
    for seq, at_s, leaf in _leaves(folder, gone):
        if seq != size:
            return f"entry {size} was dropped"
        while ahead and ahead[-1]["size"] == size:
            if said := _wrong_with_root(ahead[-1], stack, newest_s, key):
                return said
            newest_s = max(newest_s, ahead.pop()["at_s"])
        if at_s is not None:
            if at_s < newest_s:
                return f"entry {seq} is older than the entry or head before it: it was back-dated"
            newest_s = at_s
        _push(stack, leaf)
        size += 1
    while ahead and ahead[-1]["size"] == size:
        if said := _wrong_with_root(ahead.pop(), stack, newest_s, key):
            return said
    return f"{ahead[-1]['size'] - size} entries of a head of {ahead[-1]['size']} are gone" if ahead else ""


def _wrong_with_root(head: dict[str, Any], stack: Sequence[tuple[int, bytes]], newest_s: float, key: str) -> str:
    """What is wrong with a head, given the subtrees of the entries that it is of and the moment of the newest."""
    if said := wrong_with_head(head, key):
        return said
    if _root(stack).hex() != head["root"]:
        return f"something in the first {head['size']} entries was changed, dropped, added or moved since their head"
    if newest_s > head["at_s"]:
        return f"an entry is dated to the wrong side of the head of {head['size']}"
    return ""


def _leaves(folder: Path, gone: int) -> Iterator[tuple[int, float | None, bytes]]:
    """The number, moment and hash of each entry; of those at the start that were let go of, only the hash is known."""
    entries = _entries(folder)
    first = next(entries, None)
    missing = gone if first is None else min(first[0], gone)
    if missing:
        with (folder / "tree-00.sha256").open("rb") as file:
            for seq in range(missing):
                found = file.read(32)
                if len(found) != 32:
                    return
                yield seq, None, found
    for seq, at_s, kind, body in chain([] if first is None else [first], entries):
        yield seq, at_s, _leaf(seq, at_s, kind, body)


def _entries(folder: Path) -> Iterator[tuple[int, float, str, bytes]]:
    uri = f"{(folder / 'entries.record').resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as base:
        yield from base.execute("SELECT seq, at_s, kind, body FROM events ORDER BY seq")


def _push(stack: list[tuple[int, bytes]], leaf: bytes) -> None:
    """Add a leaf to subtrees, the largest first; two of a size become one."""
    stack.append((1, leaf))
    while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
        (size, right), (_, left) = stack.pop(), stack.pop()
        stack.append((2 * size, _node(left, right)))


def _root(stack: Sequence[tuple[int, bytes]]) -> bytes:
    if not stack:
        return hashlib.sha256(b"").digest()
    root = stack[-1][1]
    for _, left in stack[-2::-1]:
        root = _node(left, root)
    return root


def _leaf(seq: int, at_s: float, kind: str, body: bytes) -> bytes:
    if "\0" in kind:
        raise ValueError("a kind holds a zero byte, which ends it")
    return hashlib.sha256(b"\0" + struct.pack(">Qd", seq, at_s) + kind.encode() + b"\0" + body).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


# What is raised by what is no proof, head or log.
UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, struct.error, sqlite3.Error,
)  # fmt: skip


def main(words: Sequence[str]) -> int:
    """Check what is named, say what is wrong, and return 0 where nothing is."""
    parser = argparse.ArgumentParser(prog="prove.py", description="Check a proof, or a log by heads kept elsewhere.")
    parser.add_argument("path", type=Path, help="file of a proof, or folder of a log")
    parser.add_argument("heads", type=Path, nargs="*", help="files of heads, for a log")
    parser.add_argument("--key", default="", help="the log's public key as you know it")
    parser.add_argument("--gone", type=int, default=0, help="so many of the first entries may have been let go of")
    given = parser.parse_args(words)
    try:
        if given.path.is_dir():
            heads = [json.loads(head.read_text("utf-8")) for head in given.heads]
            said = wrong_with_log(given.path, heads, given.key, given.gone)
        else:
            proof = json.loads(given.path.read_text("utf-8"))
            said = (wrong_with_consistency if "before" in proof else wrong_with_proof)(proof, given.key)
    except UNREADABLE as error:
        said = f"cannot be read as a proof or log: {error!r}"
    print(f"{given.path}: {said or 'nothing is wrong'}")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
