"""The signals that are open, and what of the table `signals` has changed since it was last told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from karez.twin import Twin
from karez.twin.schema import Value
from karez.twin.table import resolve, texts
from karez.twin.telemetry import StateRows

# An open signal is told again when its size or strength has changed by this factor, at most once in so many seconds.
NOTABLE = 1.5
RETOLD_S = 1.0


class Voice(NamedTuple):
    """Who says it: a kind of signal, its source, and the series that it is of."""

    kind: str
    source: str
    series: bytes

    @property
    def row(self) -> str:
        """The id of the signal's row."""
        return f"{self.kind}/{self.source}/{self.series.decode()}"

    @classmethod
    def of(cls, row: str) -> Voice:
        """The voice whose row has this id."""
        kind, source, series = row.split("/", 2)
        return cls(kind, source, series.encode())


class Signal(NamedTuple):
    """What is said: when it began, how much, how surely, and when it was last told."""

    since_s: float
    size: float
    strength: float
    told_at_s: float = 0.0


class Places:
    """Where series are, as the intended twin has it."""

    def __init__(self, intended: Twin) -> None:
        """Look up in `intended`; a link or device it does not have has no host."""
        self._links, self._demands, self._equipment = (intended[t] for t in ("links", "demands", "equipment"))
        self._sites = intended["sites"]
        routers = self._equipment["kind"] == b"router"
        ids, sites = self._equipment.ids[routers].tolist(), self._equipment["site"][routers].tolist()
        self._router: dict[bytes, bytes] = dict(zip(sites, ids, strict=True))

    def router(self, site: bytes) -> bytes | None:
        """The router that stands at a site."""
        return self._router.get(site)

    def demand_gbps(self, demand: bytes) -> float:
        """The traffic a demand is meant to offer; 0 where the twin does not have it."""
        rows = resolve(texts([demand.decode()]), (self._demands.columns["id"],))
        return float(self._demands["gbps"][rows[0]]) if rows[0] >= 0 else 0.0

    def capacity_gbps(self, interface: bytes) -> float:
        """The speed that an interface is meant to have; inf where the twin does not have it."""
        row = self._row(interface[:-2])
        return float(self._links["capacity_gbps"][row]) if row >= 0 else float("inf")

    def site(self, series: bytes) -> bytes:
        """The site of an interface (`link@a`), of who receives on a way (`link>`), or of a device; empty if nowhere."""
        link, end = _end(series)
        if end:
            row = self._row(link)
            return bytes(self._links[end][row]) if row >= 0 else b""
        row = int(resolve(texts([series.decode()]), (self._equipment.columns["id"],))[0])
        return bytes(self._equipment["site"][row]) if row >= 0 else b""

    def host(self, series: bytes) -> str:
        """The site as a host; empty where it is a station or unknown."""
        site = self.site(series).decode()
        return site if site and self._sites.has(site) else ""

    def _row(self, link: bytes) -> int:
        return int(resolve(texts([link.decode()]), (self._links.columns["id"],))[0])


def subject(series: bytes) -> str:
    """The row that a series is of."""
    return _end(series)[0].decode()


def way(series: bytes) -> str:
    """The direction of a series: on the way, or, of an interface, towards it."""
    return {"b": "ab", "a": "ba", "": "none"}[_end(series)[1]]


def _end(series: bytes) -> tuple[bytes, str]:
    """The link, and the end at which what travels on it is received; the end is empty where it is no link's series."""
    if series[-1:] in (b">", b"<"):
        return series[:-1], "b" if series[-1:] == b">" else "a"
    if series[-2:] in (b"@a", b"@b"):
        return series[:-2], series[-1:].decode()
    return series, ""


class Board:
    """All signals that are open, and which rows have changed since they were last told."""

    def __init__(self, places: Places) -> None:
        """Start with none."""
        self.places = places
        self.open: dict[Voice, Signal] = {}
        self._changed: dict[Voice, Signal | None] = {}
        # Of each that changed, whether it was open when it was last told of.
        self._was_open: dict[Voice, bool] = {}

    def put(self, voice: Voice, signal: Signal | None, at_s: float) -> None:
        """Take what a voice says now; None: nothing is wrong any more."""
        told = self.open.get(voice)
        if signal is None:
            if told is None:
                return
            del self.open[voice]
        elif told is None or (at_s - told.told_at_s >= RETOLD_S and _notable(told, signal)):
            signal = self.open[voice] = signal._replace(told_at_s=at_s)
        else:
            return
        self._was_open.setdefault(voice, told is not None)
        self._changed[voice] = signal

    def changes(self) -> tuple[StateRows, ...]:
        """The rows of `signals` that have opened, closed or changed notably since last time."""
        if not self._changed:
            return ()
        changed, was_open = self._changed, self._was_open
        self._changed, self._was_open = {}, {}
        opened = [(voice, signal) for voice, signal in changed.items() if signal is not None]
        closed = [voice for voice, signal in changed.items() if signal is None and was_open[voice]]
        return (*self._opened(opened), *_closed(closed))

    def _opened(self, rows: Sequence[tuple[Voice, Signal]]) -> tuple[StateRows, ...]:
        if not rows:
            return ()
        columns: dict[str, tuple[Value, ...]] = {
            "kind": tuple(voice.kind for voice, _ in rows),
            "source": tuple(voice.source for voice, _ in rows),
            "host": tuple(self._host(voice) for voice, _ in rows),
            "subject": tuple(subject(voice.series) for voice, _ in rows),
            "way": tuple(_way(voice) for voice, _ in rows),
            "since_s": tuple(signal.since_s for _, signal in rows),
            "size": tuple(signal.size for _, signal in rows),
            "strength": tuple(signal.strength for _, signal in rows),
            "open": (True,) * len(rows),
        }
        return (StateRows("signals", tuple(voice.row for voice, _ in rows), columns),)

    def _host(self, voice: Voice) -> str:
        """The site whose host measured it; what two ends, or the management, have measured is of no single one."""
        on_link = _end(voice.series)[1] != ""
        several = voice.source in ("user", "ping") or (on_link and (voice.kind, voice.source) in BETWEEN)
        return "" if several else self.places.host(voice.series)


# What is seen on a link only by comparing both ends.
BETWEEN = {("loss", "counter"), ("imbalance", "counter")}


def _way(voice: Voice) -> str:
    return "none" if voice.kind == "stuck" else way(voice.series)


def _notable(told: Signal, now: Signal) -> bool:
    pairs = ((told.size, now.size), (told.strength, now.strength))
    return any(abs(a) > NOTABLE * abs(b) or abs(b) > NOTABLE * abs(a) for a, b in pairs)


def _closed(voices: Sequence[Voice]) -> tuple[StateRows, ...]:
    if not voices:
        return ()
    return (StateRows("signals", tuple(voice.row for voice in voices), {"open": (False,) * len(voices)}),)
