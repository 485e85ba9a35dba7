"""What operations share at the border to files and clocks: networks to load, files to write, words of provenance."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import karez
from karez.errors import InputError
from karez.twin import World, store
from karez.twin.store import Revision, os_problem


def load(network: str, revision: int = 0) -> tuple[World, Revision]:
    """The world that a network's folder holds, and its revision (0: the newest).

    One twin holds what should be and what is, in tables of their own; the world takes each from where it belongs.

    Raises:
        InputError: there is no such network or revision, or it cannot be read.
    """
    twin, found = store.load(Path(network), revision or None)
    return World(intended=twin, actual=twin), found


def now_s() -> float:
    """The time (Unix, seconds), or what the environment variable KAREZ_AT_S says it is, so that a run can be repeated.

    Nothing below operations reads a clock.

    Raises:
        InputError: KAREZ_AT_S is no number.
    """
    told = os.environ.get("KAREZ_AT_S")
    if told is None:
        return time.time()
    try:
        return float(told)
    except ValueError as error:
        raise InputError.of("KAREZ_AT_S", f"{told!r} is no number", "give seconds since 1970, or unset it") from error


def refuse_existing(path: str) -> None:
    """Return only if nothing is at `path` yet, so that long work is not done in vain.

    Raises:
        InputError: something is there, or the path names no file.
    """
    if not Path(path).name:
        raise InputError.of(path or "path", "names no file", "give the path of a file or folder that does not exist")
    if os.path.lexists(path):
        raise InputError.of(path, "exists already", "choose another path, or move it away")


def write_new(path: str | Path, data: bytes) -> None:
    """Put `data` into a new file at `path`, whole or not at all.

    Raises:
        InputError: something is at `path` already, or it cannot be written.
    """
    refuse_existing(str(path))
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # A link, not a rename: it fails where somebody was faster.
        os.link(temporary, target)
    except OSError as error:
        raise InputError([os_problem(error, target)]) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def provenance(revision: Revision) -> str:
    """The part of a citation that says which data and which version of Karez an answer rests on."""
    seed = "" if revision.seed is None else f", seed {revision.seed}"
    synthetic = "synthetic " if revision.synthetic else ""
    day = time.strftime("%Y-%m-%d", time.gmtime(revision.at_s))
    return (
        f"{synthetic}data {revision.source}{seed}, revision {revision.number} of {day}, "
        f"digest {revision.digest[:12]}; Karez {karez.__version__}"
    )


def share(value: float | None) -> str:
    """A share as a person reads it, in percent."""
    return "none" if value is None else f"{value:.1%}".replace("%", " %")


def duration(value_us: float) -> str:
    """A delay as a person reads it: milliseconds from 1 ms on."""
    return f"{value_us / 1000:g} ms" if value_us >= 1000 else f"{value_us:g} us"
