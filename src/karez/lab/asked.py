"""What is said between a lab and those who ask it: the plan it is built from, questions, answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np

from karez.adapters.frr.config import Protocols
from karez.adapters.frr.fabric import Fabric
from karez.adapters.frr.ready import ReadyWay
from karez.adapters.frr.segments import Led
from karez.adapters.wire import LENGTH
from karez.errors import KarezError
from karez.lab.hosts import Stream

# A lab listens at an address without a file, which is gone when it is; so many seconds are waited for an answer.
PREFIX = "\0karez-lab/"
PATIENCE_S = 30.0
T = TypeVar("T")


class LabError(KarezError):
    """A lab could not be started, or does not answer."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that a lab is built from.

    Of `streams` the first two of each line are its tests, from its ends; the others are of the demands `demands`.
    `led` is what each router's users send led over segments, where routers have any.
    """

    name: str
    network: str
    fabric: Fabric
    protocols: Protocols
    streams: tuple[Stream, ...]
    demands: tuple[str, ...]
    seed: int
    led: tuple[tuple[Led, ...], ...] = ()


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a lab says once it runs, or why it does not: what took how long (s)."""

    process: int = 0
    took_s: dict[str, float] = {}
    failed: str = ""


class Status(msgspec.Struct, frozen=True, tag=True):
    """How is it?"""


class Planned(msgspec.Struct, frozen=True, tag=True):
    """What was it built from?"""


class Count(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What was counted so far, of interfaces and routers too?"""

    ports: bool


class Running(msgspec.Struct, frozen=True, tag=True):
    """Which processes run, and how fast do interfaces say that they are?"""


class Routed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What has changed in the forwarding tables of all routers since they had come to `since` (0: everything)?"""

    since: int


class SetWay(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Let the wire do something else to ways: columns of `wire.Ways`, with a value each."""

    ways: tuple[int, ...]
    values: dict[str, float]


class SetCarrier(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Give or take the light of lines: of both ways, or of one; without either both interfaces are down."""

    lines: tuple[int, ...]
    on: bool
    ways: tuple[int, ...] = (0, 1)


class SetHost(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Let the host at a router be otherwise: columns of `hosts.Hosts`, with a value each."""

    router: int
    values: dict[str, float]


class SetStream(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Send so many packets a second from now on."""

    stream: int
    per_s: float


class SetSpeed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Let both interfaces of a line say that they are so fast; what the wire carries is set elsewhere."""

    line: int
    gbps: float


class SetMtu(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Give an interface an MTU (bytes)."""

    router: int
    port: str
    mtu: int


class SetCounter(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Let what an interface (2 l: that of line l at its end a) has counted be told wrongly from now on.

    `stuck`: it counts no more. `wild`: it counts each packet that it receives so often.
    """

    port: int
    stuck: bool = False
    wild: float = 1.0


class SetDaemon(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Do something to a process of a router, or to all where `daemon` is empty."""

    router: int
    daemon: str
    to: Literal["kill", "stop", "continue", "start"]


class Configure(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Change the running configuration of a daemon."""

    router: int
    daemon: str
    lines: tuple[str, ...]


class Filter(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Have a router hold what passes these hooks of netfilter against a rule; none where it is empty.

    It is what the section `table` of its configuration says; where there is none of that name, nobody is told.
    """

    router: int
    table: str
    hooks: tuple[str, ...]
    rule: str


class Clear(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Have a section of a router's configuration say nothing: a table of netfilter, or its static routes to others."""

    router: int
    section: str


class KeepReady(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Have a router keep these ways ready for when its links go dark, and no others."""

    router: int
    ways: tuple[ReadyWay, ...]


class IsReady(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Which ways does a router keep ready, as its kernel says?"""

    router: int


class Lead(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Have what a router's users send be led these ways over segments, and no others."""

    router: int
    ways: tuple[Led, ...]


class IsLed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Which ways is led what a router's users send, as its kernel says?"""

    router: int


Step = SetWay | SetCarrier | SetHost | SetStream | SetSpeed | SetMtu | SetCounter | SetDaemon | Configure | Filter


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Begin a fault: `start` is done now, `stop` when it ends; where `again_s` is given, both take turns so often.

    It ends when somebody says so, or starts the process `mended` (a router and its name, empty: all of them).
    """

    label: str
    start: tuple[Step, ...]
    stop: tuple[Step, ...]
    again_s: float = 0.0
    mended: tuple[int, str] | None = None


class End(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """End the fault of a label, or all where it is empty."""

    label: str = ""


class AsPlanned(msgspec.Struct, frozen=True, tag=True):
    """End all faults, and give every router the costs and drains that were planned."""


class ResetGaps(msgspec.Struct, frozen=True, tag=True):
    """Forget for how long receivers were left without packets."""


class Quit(msgspec.Struct, frozen=True, tag=True):
    """End, and everything with it."""


Question = (
    Status
    | Planned
    | Count
    | Running
    | Routed
    | Clear
    | KeepReady
    | IsReady
    | Lead
    | IsLed
    | Step
    | Begin
    | End
    | AsPlanned
    | ResetGaps
    | Quit
)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How a lab is: its size, its process, what has died, which faults hold, how late frames were.

    `memory_mb` is of all its processes; frames and tests were at most so late.
    """

    network: str
    routers: int
    links: int
    streams: int
    process: int
    memory_mb: float
    dead: tuple[str, ...]
    faults: tuple[str, ...]
    frame_late_ms: float
    sent_late_ms: float
    up_s: float


class Which(msgspec.Struct, frozen=True):
    """The processes that run (rows of routers, and names), and the speed of the slower interface of each line.

    `starts` says how often each router has come up, `programs` has the names of all processes that routers have.
    `sections` are those of which the configuration of a router says anything: its row, their name, what they say.
    """

    running: tuple[tuple[int, str], ...]
    speeds_gbps: tuple[float, ...]
    sections: tuple[tuple[int, str, str], ...]
    starts: tuple[int, ...]
    programs: tuple[str, ...]


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What changed in forwarding tables: router, goal (rows of routers), next hops (rows of lines, -1 after the last).

    A router without a next hop drops. `up` says of every line whether there is light on it; `until` is what to ask for
    what changes from now on.
    """

    until: int
    router: np.ndarray
    goal: np.ndarray
    hops: np.ndarray
    up: np.ndarray


# The columns of `ports` in `Counted`.
PORT_COUNTS = ("rx_packets", "rx_errors", "tx_packets", "tx_bytes")
COUNTED = ("settled", "lost", "settled_large", "lost_large", "arrived", "delay_ns")


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What a lab has counted since it began: columns of `hosts.Legs` by leg; and if asked, of interfaces and routers.

    `at_s` is when (Unix), `stalled_ago_s` how long before that the lab last did not keep time (inf: it always has).
    `ports` has the interfaces (2 l: that of line l at its end a), with `PORT_COUNTS` as columns;
    `drops` has what the queue of each dropped, and `power_dbm` the light that each receives.
    `answers`, `quiet`, `read_at_s`, `taken_at_s` and `passed` are of routers: whether each answers, whether it tells
    nothing, when its counters were read, by the clock of its host and by that of this machine (Unix, s), and how many
    packets came into it, and left it or had no way on, as columns.
    """

    at_s: float
    stalled_ago_s: float
    settled: np.ndarray
    lost: np.ndarray
    settled_large: np.ndarray
    lost_large: np.ndarray
    arrived: np.ndarray
    delay_ns: np.ndarray
    gap_ns: np.ndarray
    ports: np.ndarray
    drops: np.ndarray
    power_dbm: np.ndarray
    answers: np.ndarray
    quiet: np.ndarray
    read_at_s: np.ndarray
    taken_at_s: np.ndarray
    passed: np.ndarray


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """It was done: when (Unix, s)."""

    at_s: float


def address(name: str) -> str:
    """Where the lab of a name listens."""
    return PREFIX + name


def running() -> Iterator[str]:
    """The names of all labs on this machine."""
    with open("/proc/net/unix") as known:
        for line in known:
            at = line.split()[-1]
            if at.startswith("@" + PREFIX[1:]):
                yield at[len(PREFIX) :]


class Lab:
    """A running lab, asked over its socket."""

    def __init__(self, name: str, *, patience_s: float = PATIENCE_S) -> None:
        """Open it.

        Raises:
            LabError: no lab of that name runs.
        """
        self.name, self._patience_s = name, patience_s
        self._socket = self._opened()

    def ask(self, question: Question, answer: type[T] = Done) -> T:  # type: ignore[assignment]
        """The answer to a question, of the type that it has.

        Raises:
            LabError: it did not answer, or could not do it.
        """
        if self._socket.fileno() < 0:
            self._socket = self._opened()
        try:
            put(self._socket, encode(question))
            why, told = msgspec.msgpack.decode(taken(self._socket), type=tuple[str, msgspec.Raw])
        except (OSError, EOFError) as error:
            # A late answer must not be taken for that to the next question.
            self.close()
            raise LabError(f"the lab {self.name} does not answer: {error or type(error).__name__}") from error
        if why:
            raise LabError(f"the lab {self.name} could not: {why}")
        return msgspec.msgpack.decode(told, type=answer, dec_hook=_array)

    def _opened(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(self._patience_s)
        try:
            made.connect(address(self.name))
        except OSError as error:
            made.close()
            others = sorted(set(running()))
            what = f"; these run: {', '.join(others)}" if others else ""
            raise LabError(f"no lab {self.name} runs here{what}") from error
        return made

    def plan(self) -> Plan:
        """What it was built from."""
        return self.ask(Planned(), Plan)

    def process(self) -> int:
        """The process that it lives in."""
        return self.ask(Status(), State).process

    def close(self) -> None:
        """Ask no more."""
        self._socket.close()


def encode(said: object) -> bytes:
    """What is said, as bytes."""
    return msgspec.msgpack.encode(said, enc_hook=_packed)


def _packed(array: Any) -> Any:
    """An array as its type, its shape and its bytes."""
    if not isinstance(array, np.ndarray):
        raise NotImplementedError
    return array.dtype.str, array.shape, array.tobytes()


def _array(kind: type, packed: Any) -> Any:
    if kind is not np.ndarray:
        raise NotImplementedError
    dtype, shape, values = packed
    return np.frombuffer(values, dtype).reshape(shape)


def put(to: socket.socket, message: bytes) -> None:
    """Send a message, after its length."""
    to.sendall(LENGTH.pack(len(message)) + message)


def taken(at: socket.socket) -> bytes:
    """The next message.

    Raises:
        EOFError: the other end is gone.
    """
    (length,) = LENGTH.unpack(_whole(at, LENGTH.size))
    return _whole(at, length)


def _whole(at: socket.socket, length: int) -> bytes:
    heard = bytearray()
    while len(heard) < length:
        more = at.recv(length - len(heard))
        if not more:
            raise EOFError("the other end is gone")
        heard += more
    return bytes(heard)
