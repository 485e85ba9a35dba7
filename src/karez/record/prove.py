"""Checks of the evidence log, for who trusts nobody: an entry, a head, two heads, or a whole log, without Karez.

It stands alone: the standard library, and `cryptography` for signatures. Run it as a program on a file that
`karez policy prove` wrote, or on the folder of a log with heads that were kept elsewhere:

    python prove.py PROOF.json [KEY]
    python prove.py LOG HEAD.json ...

Source: RFC 9162, 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
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


def wrong_with_log(folder: Path, heads: Sequence[dict[str, Any]], key: str = "") -> str:
    """What is wrong with a whole log by heads that were kept elsewhere; empty where nothing is.

    Every entry is read and hashed again; entries that were let go of after their years are taken from the tree files.
    """
    leaves, times = list[bytes](), list[float]()
    for seq, at_s, kind, body in _entries(folder):
        while len(leaves) < seq:
            missing = _kept(folder, len(leaves))
            if missing is None:
                return f"entry {len(leaves)} was dropped"
            leaves.append(missing)
            times.append(-float("inf"))
        if times and at_s < times[-1]:
            return f"entry {seq} is older than the one before it: it was back-dated"
        leaves.append(_leaf(seq, at_s, kind, body))
        times.append(at_s)
    for head in sorted(heads, key=lambda head: head["size"]):
        size = head["size"]
        if said := wrong_with_head(head, key):
            return said
        if size > len(leaves):
            return f"{size - len(leaves)} entries of a head of {size} are gone"
        if _root(leaves[:size]).hex() != head["root"]:
            return f"something in the first {size} entries was changed, dropped, added or moved since their head"
        if any(at_s > head["at_s"] for at_s in times[:size]) or any(at_s < head["at_s"] for at_s in times[size:]):
            return f"an entry is dated to the wrong side of the head of {size}"
    return ""


def _entries(folder: Path) -> Iterator[tuple[int, float, str, bytes]]:
    uri = f"{(folder / 'entries.record').resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as base:
        yield from base.execute("SELECT seq, at_s, kind, body FROM events ORDER BY seq")


def _kept(folder: Path, seq: int) -> bytes | None:
    """The hash of an entry that was let go of."""
    with (folder / "tree-00.sha256").open("rb") as file:
        file.seek(seq * 32)
        found = file.read(32)
    return found if len(found) == 32 else None


def _root(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    # Subtrees by their size, the largest first; two of a size become one.
    stack = list[tuple[int, bytes]]()
    for leaf in leaves:
        stack.append((1, leaf))
        while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
            (size, right), (_, left) = stack.pop(), stack.pop()
            stack.append((2 * size, _node(left, right)))
    root = stack.pop()[1]
    while stack:
        root = _node(stack.pop()[1], root)
    return root


def _leaf(seq: int, at_s: float, kind: str, body: bytes) -> bytes:
    return hashlib.sha256(b"\0" + struct.pack(">Qd", seq, at_s) + kind.encode() + b"\0" + body).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def main(words: Sequence[str]) -> int:
    """Check what is named, say what is wrong, and return 0 where nothing is."""
    if not words:
        print(__doc__)
        return 2
    path = Path(words[0])
    try:
        if path.is_dir():
            said = wrong_with_log(path, [json.loads(Path(word).read_text("utf-8")) for word in words[1:]])
        else:
            proof, key = json.loads(path.read_text("utf-8")), words[1] if len(words) > 1 else ""
            said = (wrong_with_consistency if "before" in proof else wrong_with_proof)(proof, key)
    except (OSError, ValueError, KeyError, TypeError, sqlite3.Error) as error:
        said = f"{path}: cannot be read as a proof or log: {error}"
    print(said or f"{path}: nothing is wrong")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
