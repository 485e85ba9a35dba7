"""The evidence log: verdicts and hand-overs, each provable for years to who holds no more than a signed head of it.

The entries are a record like any other. Over them stands a Merkle tree, of which every complete subtree is kept, a file
for each height, so that a proof reads a few hashes whatever the length. What the tree files lack after a crash is made
anew from the record. A *head* is the size, root and moment of the tree, signed. Times never go back: an entry that was
appended after a head is not older than it.

Source: hashes and proofs of RFC 9162, 2.1. `karez.record.prove` checks them and shares no code with this module.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from karez.errors import InputError, Refused
from karez.record.log import Record
from karez.record.store import Event, Store, events
from karez.twin.store import os_problem

HASH_BYTES = 32
LEAF, NODE = b"\0", b"\1"
# How long entries are kept at the least: PIPL art. 56, Regulations on Network Data Security Management art. 12.
KEPT_S = 3 * 366 * 86_400.0
Entry = tuple[str, bytes]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The tree as it was at `at_s`: how many entries, their root, and the log's signature of it (hexadecimal)."""

    size: int
    root: str
    at_s: float
    key: str
    signature: str


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """That an entry is in the tree of a head: the hashes beside its way to the root (hexadecimal), from the leaf up."""

    seq: int
    at_s: float
    kind: str
    body: str
    path: tuple[str, ...]
    head: Head


class Consistency(msgspec.Struct, frozen=True, kw_only=True):
    """That the tree of a later head only adds to that of an earlier one: the hashes that both are made of."""

    before: Head
    after: Head
    path: tuple[str, ...]


class EvidenceLog:
    """An evidence log in a folder, open for appending; use it as a context manager."""

    def __init__(self, folder: Path | str) -> None:
        """Open the log, or make it.

        Raises:
            InputError: the folder holds something else, or it cannot be made or read.
        """
        self._folder = Path(folder)
        path = self._folder / "entries.record"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._record = Record(path, resume=path.exists())
            self._tree = Tree(self._folder, self._record.store)
        except OSError as error:
            raise InputError([os_problem(error, self._folder)]) from error

    def __enter__(self) -> Self:
        """The log itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the log."""
        self._tree.close()
        self._record.store.close()

    def __len__(self) -> int:
        """How many entries it has had."""
        return self._tree.size

    def append(self, entries: Sequence[Entry], at_s: float) -> int:
        """The number of the first of these entries, which are now on the disk.

        Raises:
            Refused: the moment is before that of the last entry.
            InputError: the disk took no more; nothing of them was kept.
        """
        last = self._record.store.last()
        if last is not None and at_s < last.at_s:
            raise Refused(f"{self._folder}: an entry of {at_s} s after one of {last.at_s} s would be back-dated")
        first = self._tree.size
        receipts = self._record.append_all((kind, at_s, body) for kind, body in entries)
        if receipts:
            self._tree.grow(leaf(first + at, at_s, kind, body) for at, (kind, body) in enumerate(entries))
        return first

    def head(self, key: Ed25519PrivateKey, at_s: float) -> Head:
        """The tree as it is, signed."""
        root = self._tree.root(self._tree.size)
        public = key.public_key().public_bytes_raw().hex()
        signature = key.sign(signed(self._tree.size, root, at_s)).hex()
        return Head(size=self._tree.size, root=root.hex(), at_s=at_s, key=public, signature=signature)

    def proof(self, seq: int, head: Head) -> Proof:
        """That an entry is in the tree of a head.

        Raises:
            InputError: the log has no such entry, or had none when the head was made, or is not that of the head.
        """
        self._require(head)
        event = self._entry(seq)
        if event is None or seq >= head.size:
            raise InputError.of(str(self._folder), f"has no entry {seq} below {head.size}", "name one that it has")
        path = self._tree.inclusion(seq, head.size)
        return Proof(
            seq=seq,
            at_s=event.at_s,
            kind=event.kind,
            body=event.body.hex(),
            path=tuple(part.hex() for part in path),
            head=head,
        )

    def consistency(self, before: Head, after: Head) -> Consistency:
        """That the tree of a head only adds to that of an earlier one.

        Raises:
            InputError: the heads are not of this log, or not in this order.
        """
        self._require(before)
        self._require(after)
        if before.size > after.size:
            raise InputError.of(str(self._folder), "the heads are in the wrong order", "give the smaller one first")
        path = self._tree.consistency(before.size, after.size)
        return Consistency(before=before, after=after, path=tuple(part.hex() for part in path))

    def forget(self, before_s: float, now_s: float) -> None:
        """Let go of what entries before a moment hold; their hashes stay, and so do all proofs of later ones.

        Raises:
            Refused: entries must be kept for longer.
        """
        if before_s > now_s - KEPT_S:
            raise Refused(f"{self._folder}: entries are kept for three years")
        first = next((event.seq for event in events(self._record.store) if event.at_s >= before_s), None)
        self._record.store.drop(self._tree.size if first is None else first)

    def _entry(self, seq: int) -> Event | None:
        found = self._record.store.page(seq, 1) if seq >= 0 else ()
        return found[0] if found and found[0].seq == seq else None

    def _require(self, head: Head) -> None:
        if head.size > self._tree.size or self._tree.root(head.size).hex() != head.root:
            raise InputError.of(
                str(self._folder), f"is not the log of the head of size {head.size}", "name its own head"
            )


class Tree:
    """The hashes of all complete subtrees of the entries, a file for each height."""

    def __init__(self, folder: Path, store: Store) -> None:
        """Open the files, and let them catch up with the record."""
        self._folder, self._files = folder, list[_Hashes]()
        while (path := self._path(len(self._files))).exists():
            self._files.append(_Hashes(path))
        size = self._whole()
        for file, count in zip(self._files, self._counts(size), strict=False):
            file.cut(count)
        self.size = size
        self.grow(leaf(event.seq, event.at_s, event.kind, event.body) for event in events(store, size))

    def grow(self, leaves: Iterator[bytes]) -> None:
        """Add leaves at the end."""
        for hashed in leaves:
            self._add(0, hashed)
            self.size += 1
        for file in self._files:
            file.flush()

    def root(self, size: int) -> bytes:
        """The root of the first so many entries."""
        return self._range(0, size) if size else hashlib.sha256(b"").digest()

    def inclusion(self, seq: int, size: int) -> list[bytes]:
        """The hashes beside the way from an entry to the root of the first so many."""
        return self._beside(seq, 0, size)

    def consistency(self, before: int, after: int) -> list[bytes]:
        """The hashes from which both roots follow."""
        return self._shared(before, 0, after, True) if 0 < before < after else []

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def _add(self, height: int, hashed: bytes) -> None:
        if height == len(self._files):
            self._files.append(_Hashes(self._path(height)))
        file = self._files[height]
        before = file.add(hashed)
        if file.count % 2 == 0:
            self._add(height + 1, node(before, hashed))

    def _range(self, start: int, stop: int) -> bytes:
        """The root of the entries from `start` to `stop`, of which the split is that of RFC 9162."""
        size = stop - start
        if size & (size - 1) == 0:
            return self._files[size.bit_length() - 1].at(start // size)
        middle = start + _split(size)
        return node(self._range(start, middle), self._range(middle, stop))

    def _beside(self, seq: int, start: int, stop: int) -> list[bytes]:
        if stop - start == 1:
            return []
        middle = start + _split(stop - start)
        if seq < middle:
            return [*self._beside(seq, start, middle), self._range(middle, stop)]
        return [*self._beside(seq, middle, stop), self._range(start, middle)]

    def _shared(self, before: int, start: int, stop: int, is_known: bool) -> list[bytes]:
        """The proof of RFC 9162, 2.1.4.1, of the entries from `start` to `stop`; `before` is counted from the first."""
        if before == stop:
            return [] if is_known else [self._range(start, stop)]
        middle = start + _split(stop - start)
        if before <= middle:
            return [*self._shared(before, start, middle, is_known), self._range(middle, stop)]
        return [*self._shared(before, middle, stop, False), self._range(start, middle)]

    def _whole(self) -> int:
        """How many leaves all heights agree on."""
        size = self._files[0].count if self._files else 0
        while size and any(file.count < count for file, count in zip(self._files, self._counts(size), strict=False)):
            size -= 1
        return size if len(self._files) >= size.bit_length() else 0

    def _counts(self, size: int) -> list[int]:
        """How many complete subtrees of each height there are."""
        return [size >> height for height in range(max(size.bit_length(), len(self._files)))]

    def _path(self, height: int) -> Path:
        return self._folder / f"tree-{height:02d}.sha256"


class _Hashes:
    """A file of hashes, one after another; those that were added are on the way there until they are flushed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b" if path.exists() else "w+b")
        self.count = self._file.seek(0, 2) // HASH_BYTES
        self.last = self.at(self.count - 1) if self.count else b""
        self._added = bytearray()

    def at(self, number: int) -> bytes:
        self._file.seek(number * HASH_BYTES)
        return self._file.read(HASH_BYTES)

    def add(self, hashed: bytes) -> bytes:
        """The hash that was the last before this one."""
        before, self.last = self.last, hashed
        self._added += hashed
        self.count += 1
        return before

    def cut(self, count: int) -> None:
        self.count = min(self.count, count)
        self._file.truncate(self.count * HASH_BYTES)
        self.last = self.at(self.count - 1) if self.count else b""

    def flush(self) -> None:
        self._file.seek(self.count * HASH_BYTES - len(self._added))
        self._file.write(self._added)
        self._file.flush()
        self._added.clear()

    def close(self) -> None:
        self._file.close()


def leaf(seq: int, at_s: float, kind: str, body: bytes) -> bytes:
    """The hash (32 bytes) of an entry."""
    return hashlib.sha256(LEAF + struct.pack(">Qd", seq, at_s) + kind.encode() + b"\0" + body).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash (32 bytes) of a subtree, of those of its halves."""
    return hashlib.sha256(NODE + left + right).digest()


def signed(size: int, root: bytes, at_s: float) -> bytes:
    """What the signature of a head is of."""
    return b"karez evidence head\0" + struct.pack(">Qd", size, at_s) + root


def _split(size: int) -> int:
    """The largest power of two that is less than the size."""
    half = 1 << (size.bit_length() - 1)
    return half >> 1 if half == size else half
