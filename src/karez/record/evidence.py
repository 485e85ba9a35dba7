"""The evidence log: verdicts and hand-overs, each provable for years to who holds no more than a signed head of it.

The entries are a record like any other. Over them stands a Merkle tree, of which every complete subtree is kept, a file
for each height, so that a proof reads a few hashes whatever the length. What these files lack after a crash, or all of
them where they do not give the root that was kept, is made anew of the entries. A *head* is the size, root and moment
of the tree, signed. Times never go back: an entry that was appended after a head is not older than it.

Source: hashes and proofs of RFC 9162, 2.1. `karez.record.prove` checks them and shares no code with this module.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from karez.errors import InputError, Refused
from karez.record.locked import locked
from karez.record.log import Record
from karez.record.store import Event, Store, events
from karez.twin.store import os_problem, write_whole

HASH_BYTES = 32
ENTRIES, KEPT = "entries.record", "tree.json"
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
    """An evidence log in a folder, open for one process at a time; use it as a context manager."""

    def __init__(self, folder: Path | str) -> None:
        """Open the log, or make it; whoever else wants it waits.

        Raises:
            InputError: the folder holds something else or cannot be made or read, its hashes are spoilt beyond what
                its entries tell, or another process holds it for too long.
        """
        self._folder = Path(folder)
        with ExitStack() as opened:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                opened.enter_context(locked(self._folder / ENTRIES))
                path = self._folder / ENTRIES
                self._record = opened.enter_context(Record(path, resume=path.exists()))
                self._tree = opened.enter_context(closing(Tree(self._folder, self._record.store)))
            except OSError as error:
                raise InputError([os_problem(error, self._folder)]) from error
            self._open = opened.pop_all()

    def __enter__(self) -> Self:
        """The log itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the log."""
        self._open.close()

    def __len__(self) -> int:
        """How many entries it has had."""
        return self._tree.size

    def append(self, entries: Sequence[Entry], at_s: float) -> int:
        """The number of the first of these entries, which are now on the disk.

        Raises:
            Refused: the moment is before that of the last entry or of the newest head.
            InputError: the disk took no more; of the entries all are kept, or none.
        """
        if at_s < self.newest_s:
            raise Refused(f"{self._folder}: an entry of {at_s} s after {self.newest_s} s would be back-dated")
        first = self._tree.size
        self._record.append_all((kind, at_s, body) for kind, body in entries)
        with self._told():
            self._tree.grow(leaf(first + at, at_s, kind, body) for at, (kind, body) in enumerate(entries))
        return first

    @property
    def newest_s(self) -> float:
        """The moment of the last entry or of the newest head, whichever is later; -inf where there is neither."""
        last = self._record.store.last()
        return max(self._tree.head_s, -math.inf if last is None else last.at_s)

    def head(self, key: Ed25519PrivateKey, at_s: float) -> Head:
        """The tree as it is, signed.

        Raises:
            Refused: the moment is before that of an entry or of an earlier head.
        """
        if at_s < self.newest_s:
            raise Refused(f"{self._folder}: a head of {at_s} s after {self.newest_s} s would be back-dated")
        with self._told():
            root = self._tree.keep(at_s)
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
        with self._told():
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
        with self._told():
            path = self._tree.consistency(before.size, after.size)
        return Consistency(before=before, after=after, path=tuple(part.hex() for part in path))

    def forget(self, before_s: float, now_s: float) -> int:
        """How many entries there are before a moment, of which all but the last of the log are let go of.

        Their hashes stay, and so do all proofs of later ones. Who checks the log says how many may be gone.

        Raises:
            Refused: entries must be kept for longer.
        """
        if before_s > now_s - KEPT_S:
            raise Refused(f"{self._folder}: entries are kept for three years")
        first = next((event.seq for event in events(self._record.store) if event.at_s >= before_s), self._tree.size - 1)
        self._record.store.drop(first)
        return max(first, 0)

    def _entry(self, seq: int) -> Event | None:
        found = self._record.store.page(seq, 1) if seq >= 0 else ()
        return found[0] if found and found[0].seq == seq else None

    def _require(self, head: Head) -> None:
        with self._told():
            is_ours = head.size <= self._tree.size and self._tree.root(head.size).hex() == head.root
        if not is_ours:
            raise InputError.of(
                str(self._folder), f"is not the log of the head of size {head.size}", "name its own head"
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what the disk does as what to do about it: what was recorded is kept, and its hashes are made anew."""
        try:
            yield
        except OSError as error:
            raise InputError([os_problem(error, self._folder)]) from error


class _Kept(msgspec.Struct, frozen=True):
    """What the tree files came to when they were last whole, and the moment of the newest head."""

    size: int = 0
    root: str = ""
    head_s: float | None = None


class Tree:
    """The hashes of all complete subtrees of the entries, a file for each height, and what they came to at last.

    The files are believed only as far as they give the root that was kept; else they are made anew of the entries.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        """Open the files, and let them catch up with the record.

        Raises:
            InputError: they are spoilt, and entries that they are made of were let go of, or entries are missing.
        """
        self._folder, self._files, self.size = folder, list[_Hashes](), 0
        kept = self._kept()
        self.head_s = -math.inf if kept.head_s is None else kept.head_s
        if not self._opened(kept):
            self._start_anew(store)
        wanted = self.size
        for event in events(store, wanted):
            if event.seq != self.size:
                self.close()
                raise InputError.of(str(folder), f"has no entry {self.size}", "restore the log from a copy")
            self._grown(leaf(event.seq, event.at_s, event.kind, event.body))
        if self.size != wanted or self.size != kept.size:
            self.keep(self.head_s)

    def grow(self, leaves: Iterator[bytes]) -> None:
        """Add leaves at the end."""
        for hashed in leaves:
            self._grown(hashed)
        self.keep(self.head_s)

    def keep(self, head_s: float) -> bytes:
        """The root, once all is on the disk with it and the moment of the newest head."""
        for file in self._files:
            file.flush()
        self.head_s = head_s
        root = self.root(self.size)
        kept = _Kept(self.size, root.hex(), None if math.isinf(head_s) else head_s)
        write_whole(self._folder / KEPT, msgspec.json.encode(kept), [])
        return root

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

    def _kept(self) -> _Kept:
        try:
            return msgspec.json.decode((self._folder / KEPT).read_bytes(), type=_Kept)
        except (FileNotFoundError, msgspec.DecodeError):
            return _Kept()

    def _opened(self, kept: _Kept) -> bool:
        """Whether the files give the root that was kept; they are then open, and no longer than that."""
        heights = range(kept.size.bit_length())
        if not kept.size or not all(self._path(height).exists() for height in heights):
            return False
        self._files = [_Hashes(self._path(height)) for height in heights]
        if any(file.count < kept.size >> height for height, file in enumerate(self._files)):
            return False
        for height, file in enumerate(self._files):
            file.cut(kept.size >> height)
        self.size = kept.size
        return self.root(self.size).hex() == kept.root

    def _start_anew(self, store: Store) -> None:
        self.close()
        first = next(iter(store.page(0, 1)), None)
        if first is not None and first.seq:
            what = "has spoilt hashes, and no longer the entries that they were made of"
            raise InputError.of(str(self._folder), what, "restore the tree files from a copy")
        for path in self._folder.glob("tree-*.sha256"):
            path.unlink()
        self._files, self.size = [], 0

    def _grown(self, hashed: bytes) -> None:
        self._add(0, hashed)
        self.size += 1

    def _add(self, height: int, hashed: bytes) -> None:
        if height == len(self._files):
            # What is left of a higher tree is not of this one.
            self._path(height).unlink(missing_ok=True)
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

    def _path(self, height: int) -> Path:
        return self._folder / f"tree-{height:02d}.sha256"


class _Hashes:
    """A file of hashes, one after another; those that were added are on the way there until they are flushed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b" if path.exists() else "w+b")
        self.count = self._file.seek(0, 2) // HASH_BYTES
        self._added = bytearray()
        self.last = self.at(self.count - 1) if self.count else b""

    def at(self, number: int) -> bytes:
        """One of the hashes.

        Raises:
            OSError: the file is shorter than it was.
        """
        self._file.seek(number * HASH_BYTES)
        found = self._file.read(HASH_BYTES)
        if len(found) != HASH_BYTES:
            raise OSError(errno.EIO, "is shorter than it was", self._file.name)
        return found

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
        if self._added:
            self._file.seek(self.count * HASH_BYTES - len(self._added))
            self._file.write(self._added)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._added.clear()

    def close(self) -> None:
        with suppress(OSError):
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
