"""What an event is, how the chain goes, and what a back end of the record must do."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

GENESIS = bytes(32)
HASH_BYTES = 32
PAGE_EVENTS = 256


class Event(NamedTuple):
    """One entry: its place in the chain, when, of what kind, what, and the hash that binds it."""

    seq: int
    at_s: float
    kind: str
    body: bytes
    hash: bytes

    @property
    def receipt(self) -> bytes:
        """What stands for it elsewhere (40 bytes): its hash, and its seq, by which it is found at once."""
        return self.hash + struct.pack(">Q", self.seq)


def chained(before: bytes, seq: int, at_s: float, kind: str, body: bytes) -> bytes:
    """The hash (32 bytes) of an event whose predecessor has the hash `before`."""
    return hashlib.sha256(before + struct.pack(">Qd", seq, at_s) + kind.encode() + b"\0" + body).digest()


class Store(Protocol):
    """Where events lie; all that fails is an InputError that says what to do."""

    where: str

    def add(self, events: Sequence[Event]) -> None:
        """Put events on the disk: all of them, or none."""

    def page(self, since: int, most: int) -> Sequence[Event]:
        """At most so many events from a seq on, in their order."""

    def last(self, kind: str = "") -> Event | None:
        """The newest event, or the newest of a kind; None where there is none."""

    def drop(self, before: int) -> None:
        """Let go of the events before a seq."""

    def close(self) -> None:
        """Let go of the store."""


def events(store: Store, since: int = 0) -> Iterator[Event]:
    """All events from a seq on, in their order, unchecked; nothing stays locked between two of them."""
    while page := store.page(since, PAGE_EVENTS):
        yield from page
        since = page[-1].seq + 1


def body(store: Store, receipt: bytes) -> bytes | None:
    """What the event that a receipt stands for holds; None where the store has no such event."""
    if len(receipt) != HASH_BYTES + 8:
        return None
    (seq,) = struct.unpack(">Q", receipt[HASH_BYTES:])
    found = store.page(seq, 1) if seq < 1 << 63 else ()
    return found[0].body if found and found[0].receipt == receipt else None
