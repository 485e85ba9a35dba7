"""Commands that stand until they are told to end, and tell what happens a line each."""

from __future__ import annotations

import signal
import socket
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from threading import Event
from typing import Any, NamedTuple, get_args

from karez.errors import InputError
from karez.faces import text
from karez.loop.state import Level
from karez.operations import standing
from karez.operations.faults import Breaking

MOST_S = 1e9
LEVELS = get_args(Level)
FOLDER = "folder that the guard and its controllers share; only its owner may enter it"


class Stand(NamedTuple):
    """A command that stands: what it takes, what it does, and what ends it."""

    add_words: Callable[[ArgumentParser], None]
    run: Callable[[dict[str, Any]], None]
    ends: str


def guard_words(made: ArgumentParser) -> None:
    """What `karez guard` takes."""
    made.add_argument("folder", help=f"{FOLDER}; made where there is none")
    made.add_argument("network", help="folder of the network, which lives embedded in the guard, or in a lab")
    made.add_argument("--lab", default=None, help="name of a lab of it that runs, whose routers are guarded")
    made.add_argument("--fault", default="none", help="kind of fault that comes, such as link_slow (default none)")
    made.add_argument("--subject", default="", help="id of what it befalls; drawn when empty")
    made.add_argument("--after-s", type=_seconds, default=30.0, help="seconds until it comes (default %(default)g)")
    made.add_argument("--seed", type=_seed, default=1, help="seed of chance in the network (default %(default)s)")


def lead_words(made: ArgumentParser) -> None:
    """What `karez lead` takes."""
    made.add_argument("folder", help=FOLDER)
    made.add_argument("network", help="folder of the same network and revision")
    made.add_argument("--name", default=socket.gethostname(), help="name of this controller (default %(default)s)")
    made.add_argument(
        "--level",
        choices=LEVELS,
        default="observe",
        help="what it may do alone (default %(default)s)",
    )
    made.add_argument("--every-s", type=_seconds, default=1.0, help="seconds between turns (default %(default)g)")
    made.add_argument("--lease-s", type=_seconds, default=3.0, help="seconds that a lease runs (default %(default)g)")


def guard(given: dict[str, Any]) -> None:
    """Be the guard until SIGINT or SIGTERM."""
    breaking = Breaking(given["fault"], given["subject"], given["seed"], given["after_s"])
    if given["lab"] is not None:
        if not given["lab"]:
            raise InputError.of("--lab", "is empty", "name a lab that runs, or leave it out")
        if breaking.kind != "none":
            raise InputError.of("--fault", "is for embedded networks", "break a lab by `karez lab fail`")
        standing.guard_lab(given["folder"], given["network"], given["lab"], _told)
        return
    standing.guard(given["folder"], given["network"], breaking, _told)


def lead(given: dict[str, Any]) -> None:
    """Be a controller until SIGINT or SIGTERM."""
    ended = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    place = standing.Place.made(given["folder"])
    controller = standing.Controller(place, given["network"], given["name"], given["level"], given["lease_s"], _told)
    controller.run(given["every_s"], ended)


def _told(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text.clean(line)}", flush=True)


def _seconds(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = 0.0
    if not 0.0 < value < MOST_S:
        raise ArgumentTypeError(f"{word!r} is wrong; give seconds above 0 and below {MOST_S:g}")
    return value


def _seed(word: str) -> int:
    if not word.isdecimal():
        raise ArgumentTypeError(f"{word!r} is wrong; give a whole number that is not below 0")
    return int(word)


STANDS = {
    "guard": Stand(
        guard_words,
        guard,
        "Ctrl-C ends it, and with it the network; what it had yet to undo it keeps for the next one.",
    ),
    "lead": Stand(lead_words, lead, "Ctrl-C ends it and lets another lead at once."),
}
