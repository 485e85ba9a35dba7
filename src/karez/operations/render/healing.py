"""Words for what a loop noticed, found and did: the same for explanations, reports, alarms and the live view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from karez.operations.networks import duration, percent

# What the sizes of signals are: shares, delays, or decibels; others are factors or have none.
SHARES = frozenset({"loss", "large_loss", "errors", "drops", "imbalance", "cpu", "load", "narrow"})
DELAYS = frozenset({"delay", "jitter", "clock"})
DECIBELS = frozenset({"power"})
WORDS = {
    "large_loss": "loss of large packets",
    "drops": "drops in a queue",
    "power": "loss of light",
    "stuck": "a counter that stands still",
    "imbalance": "an imbalance of counters",
    "surge": "a surge",
    "clock": "a clock that is off",
    "late": "late telemetry",
    "down": "down",
    "unadjacent": "no adjacency",
    "narrow": "less capacity",
    "flapping": "flapping",
    "cost": "another cost than intended",
    "drained": "a drain that nobody intended",
    "drained_router": "a drain that nobody intended",
    "booted": "a restart that nobody asked for",
    "dead": "a dead program",
    "behind": "a program that takes no update",
    "differs": "another value than intended",
    "cpu": "a busy processor",
    "load": "a full link",
}
WAYS = {"ab": " from a to b", "ba": " from b to a"}
MOST = 6


class Noticed(Protocol):
    """What the words need to know of a signal."""

    @property
    def kind(self) -> str:
        """What was noticed."""
        ...

    @property
    def subject(self) -> str:
        """The row that it is of."""
        ...

    @property
    def source(self) -> str:
        """Where it was noticed."""
        ...

    @property
    def host(self) -> str:
        """Who measured it."""
        ...

    @property
    def way(self) -> str:
        """In which direction."""
        ...

    @property
    def since_s(self) -> float:
        """Since when (Unix time)."""
        ...

    @property
    def size(self) -> float:
        """How much."""
        ...


def noticed(signal: Noticed, from_s: float, *, short: bool = False) -> str:
    """A signal in words; its time is told from `from_s` on (Unix time)."""
    what = f"{WORDS.get(signal.kind, signal.kind.replace('_', ' '))} on {signal.subject}{WAYS.get(signal.way, '')}"
    if short:
        return what
    size = size_of(signal.kind, signal.size)
    by = f"{signal.source}{f' at {signal.host}' if signal.host else ''}"
    since_s = signal.since_s - from_s
    when = f"since {since_s:.1f} s" if since_s >= 0 else f"for {-since_s:.1f} s"
    return f"{what}{f' of {size}' if size else ''} by {by} {when}"


def size_of(kind: str, size: float) -> str:
    """How much, in the unit that the kind of signal has; empty where it has no size."""
    if not math.isfinite(size):
        return ""
    if kind in SHARES:
        return percent(max(size, 0.0))
    if kind in DELAYS:
        return duration(size)
    return f"{size:.3g} dB" if kind in DECIBELS else f"{size:.3g}"


def cause(kind: str, subject: str) -> str:
    """A cause in words: its kind and what it befell."""
    return f"{kind.replace('_', ' ')} {subject}".strip()


def because_of(finding: str) -> str:
    """A finding in words, from its id."""
    kind, _, subject = finding.partition("/")
    return cause(kind, subject)


def listed(parts: Sequence[str], *, most: int = MOST) -> str:
    """The parts in a row, and how many more there are."""
    more = f"; and {len(parts) - most:,} more" if len(parts) > most else ""
    return "; ".join(parts[:most]) + more


def sentence(what: str, why: str) -> str:
    """What happened, and why where that is known."""
    return f"{what} ({why})" if why else what
