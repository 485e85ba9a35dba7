"""All that is listened for in one network: telemetry in, changes of the table `signals` out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from karez.detect.board import Board, Places, Signal, Voice
from karez.detect.channels import Channel, Probes, Users
from karez.detect.columns import Frozen
from karez.detect.counters import Counters
from karez.detect.deviations import SOURCE
from karez.detect.devices import Pings, Receivers, Transits
from karez.twin import Table, Twin
from karez.twin.telemetry import Samples, StateRows

OBSERVER = "observer"
CHANNELS: tuple[type[Channel], ...] = (Probes, Counters, Users, Receivers, Pings, Transits)


class Frost(msgspec.Struct, frozen=True):
    """Ears as a value: the state of each channel, and the signals that are open."""

    channels: dict[str, Frozen]
    open: list[tuple[Voice, Signal]]


class Ears:
    """The detectors of one network, in place; the only thing here that keeps anything.

    Each call of `hear` is an event of a fold: the same calls give the same changes and the same `freeze`, whether or
    not the ears were frozen and thawed in between.
    """

    def __init__(self, intended: Twin) -> None:
        """Listen to the network that `intended` describes; what is normal is learned from the first seconds."""
        places = Places(intended)
        # What was not listened to when last something was heard, and why.
        self.aside: tuple[str, ...] = ()
        self.board = Board(places)
        self.channels = {made.source: made(places) for made in CHANNELS}

    def hear(self, samples: Sequence[Samples], at_s: float) -> tuple[StateRows, ...]:
        """The rows of `signals` that opened, closed or changed notably, after all that was told until `at_s`.

        What was measured while who measures did not keep time is not listened to: it says nothing of the network.

        Raises:
            ValueError: a sample from after `at_s`.
        """
        self.aside = ()
        if any(some.at_s > at_s for some in samples):
            raise ValueError("a sample is from the future")
        stalled_ago_s = {some.at_s: _stalled_ago_s(some) for some in samples if some.channel == OBSERVER}
        for some in samples:
            if some.channel not in self.channels or not len(some.ids):
                continue
            channel, ago_s = self.channels[some.channel], stalled_ago_s.get(some.at_s, np.inf)
            if channel.is_spoilt(some, ago_s):
                channel.pass_over(some)
                said = f"{some.channel}: who measured it did not keep time {ago_s:.2f} s before it was told"
                self.aside = (*self.aside, said)
            else:
                channel.take(some, self.board)
        for channel in self.channels.values():
            channel.hush(at_s, self.board)
        return self.board.changes()

    @classmethod
    def resumed(cls, intended: Twin, signals: Table) -> tuple[Ears, tuple[StateRows, ...]]:
        """Ears that go on where others left `signals`, and the changes of it with which they begin.

        What was held against something learned stays open, as new ears would take it for normal. All else they close:
        where it still holds they will notice it again.
        """
        ears, closed = cls(intended), list[str]()
        rows = np.flatnonzero(signals["open"] & (signals["source"] != SOURCE.encode()))
        for record in signals.records(rows):
            voice = Voice.of(str(record["id"]))
            signal = Signal(*(float(record[name]) for name in ("since_s", "size", "strength")))
            channel = ears.channels.get(voice.source)
            if channel is not None and channel.reopen(voice, signal):
                ears.board.open[voice] = signal
            else:
                closed.append(voice.row)
        shut = StateRows("signals", tuple(closed), {"open": (False,) * len(closed)})
        return ears, (shut,) if closed else ()

    def freeze(self) -> bytes:
        """All that is kept, as bytes; equal states give equal bytes."""
        channels = {name: channel.freeze() for name, channel in self.channels.items()}
        return msgspec.msgpack.encode(Frost(channels, sorted(self.board.open.items())), order="deterministic")

    @classmethod
    def thaw(cls, frozen: bytes, intended: Twin) -> Ears:
        """The ears that `freeze` made the bytes of."""
        ears, frost = cls(intended), msgspec.msgpack.decode(frozen, type=Frost)
        for name, state in frost.channels.items():
            ears.channels[name].restore(state)
        ears.board.open = dict(frost.open)
        return ears


def _stalled_ago_s(samples: Samples) -> float:
    """How long before it was told the observer last did not keep time (inf: it always has)."""
    return float(np.min(samples.columns["stalled_ago_s"], initial=np.inf))


def step(
    frozen: bytes, hearings: Sequence[tuple[Sequence[Samples], float]], intended: Twin
) -> tuple[bytes, tuple[tuple[StateRows, ...], ...]]:
    """The state after some hearings, as a fold has it, and the changes of `signals` that each of them gave."""
    ears = Ears.thaw(frozen, intended)
    changes = tuple(ears.hear(samples, at_s) for samples, at_s in hearings)
    return ears.freeze(), changes
