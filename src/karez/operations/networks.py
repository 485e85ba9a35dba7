"""What operations share at the border to files and clocks: networks to load, files to write, words of provenance."""

from __future__ import annotations

import errno
import math
import os
import stat
import time
from contextlib import suppress
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from threading import Lock

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

import karez
from karez.errors import InputError
from karez.importers.sheets import sheet
from karez.measure.circles import Circles
from karez.measure.delay import AIR, FIGURES, Access, constants
from karez.plan.plan import Plan
from karez.record.principals import key_in
from karez.twin import Table, Twin, World, schema, states, store
from karez.twin.memo import made_of
from karez.twin.store import LAST_S, Revision, os_problem
from karez.units import NS_PER_US, US_PER_MS

# A field that is for programs: people see the rest of the answer, which says the same in short.
DETAIL = Meta(extra={"detail": True})
# Prices are exact to a hundredth of a CNY; what is below is rounding.
SMALLEST_CNY = 0.005
# And weights to a millionth.
SMALLEST_WEIGHT = 5e-7
# From here on one digit after the point of a percentage says enough.
WHOLE_DIGITS_SHARE = 0.1
LARGEST_GAP_SHARE = 10.0
# A private key is its owner's alone.
OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO
# Shorter delays are told to three digits.
LONG_US = 1_000_000.0
ACCESS_WORDS: dict[Access, str] = {
    "5g": "5G",
    "pon": "PON",
    "pon-cooperative": "PON with cooperative DBA",
    "50g-pon": "50G-PON",
    "wlan": "WLAN",
    "leased-line": "a leased line",
}
# The leg from a terminal, and all of it there and back, as a clause tells of it.
UPLINKS: dict[Access, tuple[str, str]] = {
    "5g": ("the loaded 5G uplink", "the air of loaded 5G, there and back,"),
    **{
        access: (f"the way up {ACCESS_WORDS[access]}", f"the way up and down {ACCESS_WORDS[access]}")
        for access in ("pon", "pon-cooperative", "50g-pon", "leased-line")
    },
    "wlan": ("WLAN", "WLAN, there and back,"),
}
# The twin that was loaded last: whoever asks several things of one network waits for it once.
_KEPT: list[Twin] = []
_LOADING = Lock()


def load(network: str, revision: int = 0) -> tuple[World, Revision]:
    """The world that a network's folder holds, and its revision (0: the newest).

    One twin holds what should be and what is, in tables of their own; the world takes each from where it belongs.

    Raises:
        InputError: there is no such network or revision, or it cannot be read.
    """
    with _LOADING:
        # Nothing here holds on to the twin of before: where another takes its place, it goes first.
        twin, found = store.load(Path(network), revision or None, _KEPT.pop() if _KEPT else None)
        _KEPT.append(twin)
    return World(intended=twin, actual=twin), found


def load_living(network: str, revision: int = 0) -> tuple[World, Revision]:
    """As `load`, for what needs to know what is: where nothing was observed, the states of a first day are assumed.

    Which ones are assumed is in what the revision names as its source, and so in every citation.

    Raises:
        InputError: there is no such network or revision, or it cannot be read.
    """
    world, found = load(network, revision)
    assumed = _assumed(world.actual)
    if not assumed:
        return world, found
    names = ", ".join(table.name for table in assumed)
    source = f"{found.source} (nothing observed: {names} assumed as intended, up and idle)"
    living = World(intended=world.intended, actual=world.actual.replace(*assumed))
    return living, msgspec.structs.replace(found, source=source)


@made_of("links", "servers", "equipment", *filter(schema.is_state, schema.tables()))
def _assumed(twin: Twin) -> tuple[Table, ...]:
    """The states of a first day that `states.completed` adds, made and digested once for the same network."""
    completed, names = states.completed(twin)
    return tuple(completed[name] for name in names)


def now_s() -> float:
    """The time (Unix, seconds), or what the environment variable KAREZ_AT_S says it is, so that a run can be repeated.

    Nothing below operations reads a clock.

    Raises:
        InputError: KAREZ_AT_S is no time from 1970 to the year 9999.
    """
    told = os.environ.get("KAREZ_AT_S")
    if told is None:
        return time.time()
    fix = f"give seconds since 1970, at most {LAST_S:.0f}, or unset it"
    try:
        at_s = float(told)
    except ValueError as error:
        raise InputError.of("KAREZ_AT_S", f"{told!r} is no number", fix) from error
    if not 0 <= at_s <= LAST_S:
        raise InputError.of("KAREZ_AT_S", f"{told!r} is no time", fix)
    return at_s


def refuse_existing(path: str) -> None:
    """Return only if nothing is at `path` yet, so that long work is not done in vain.

    Raises:
        InputError: something is there, or the path names no file.
    """
    if not Path(path).name:
        raise InputError.of(path or "path", "names no file", "give the path of a file or folder that does not exist")
    if os.path.lexists(path):
        raise InputError.of(path, "exists already", "choose another path, or move it away")


def require_new_file(path: str) -> None:
    """Return only if a new file can be made at `path`, as far as can be told without making it.

    Raises:
        InputError: something is there, or its folder is missing, no folder, or closed to us.
    """
    refuse_existing(path)
    folder = Path(path).parent
    try:
        if not folder.is_dir():
            code = errno.ENOTDIR if folder.exists() else errno.ENOENT
            raise OSError(code, os.strerror(code), str(folder))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    except OSError as error:
        raise InputError([os_problem(error, folder)]) from error


def require_readable(path: str) -> None:
    """Return only if there is a file at `path` that can be read.

    Raises:
        InputError: there is none, or it cannot.
    """
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise InputError([os_problem(error, Path(path))]) from error


def key_at(path: str) -> Ed25519PrivateKey:
    """The private key in a file that nobody else may read.

    Raises:
        InputError: it cannot be read, or anybody may read it, or it is no key.
    """
    try:
        mode = Path(path).stat().st_mode
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError([os_problem(error, Path(path))]) from error
    if mode & OTHERS_MAY:
        raise InputError.of(path, "may be read by others", f"chmod 600 {path}; make a new key if others have been here")
    return key_in(data, path)


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


def nothing_counted(network: str, weight: str) -> InputError:
    """The error for a network that has nothing to take a share of."""
    what = f"holds nothing that the weight {weight!r} counts"
    return InputError.of(network, what, "choose another weight, or add what it counts")


def budget_ns(budget_us: float) -> int:
    """The first whole nanosecond that is not within a budget."""
    return math.ceil(budget_us * NS_PER_US)


def read_plan(path: str) -> Plan:
    """The plan that a file holds.

    Raises:
        InputError: the file cannot be read, or holds no plan.
    """
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Plan)
    except OSError as error:
        raise InputError([os_problem(error, Path(path))]) from error
    except msgspec.MsgspecError as error:
        raise InputError.of(path, f"is no plan ({error})", "name a file that plan coverage or place wrote") from error


def given_rows(path: str) -> list[tuple[str, dict[str, str | None]]]:
    """The rows of a CSV file of a person's: the name of each, such as `line 3`, and its cells by column.

    Raises:
        InputError: the file cannot be read as CSV, or rows of it cannot be taken apart.
    """
    if Path(path).suffix.lower() != ".csv":
        raise InputError.of(path, "is not called .csv", "give a CSV file")
    found = sheet(Path(path))
    spoilt = [InputError.of(path, s.what, s.fix, found.labels(s.rows)) for s in found.spoilt if s.rows.any()]
    if spoilt:
        raise InputError([problem for error in spoilt for problem in error.problems])
    labels = found.labels(np.ones(len(found.numbers), bool))
    return list(zip(labels, found.frame.to_dicts(), strict=True))


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


def percent(value: float) -> str:
    """A share of any size as a person reads it: as `share` from 10 % on, and below in two digits that count."""
    if value >= WHOLE_DIGITS_SHARE:
        return share(value)
    return f"{Decimal(f'{100 * value:.2g}'):f} %"


def at_most(value: float) -> str:
    """A share as `percent` tells it, rounded up."""
    digits = 3 if value >= WHOLE_DIGITS_SHARE else -math.floor(math.log10(value)) + 1 if value > 0 else 3
    step = Decimal(1).scaleb(-digits)
    return percent(float(Decimal(str(value)).quantize(step, ROUND_CEILING)))


def duration(value_us: float) -> str:
    """A delay as a person reads it: milliseconds from 1 ms on, three digits."""
    value_us = float(f"{value_us:.3g}") if value_us < LONG_US else value_us
    value, unit = (value_us / 1000, "ms") if value_us >= 1000 else (value_us, "us")
    return f"{value:,.0f} {unit}" if 1000 <= value < math.inf else f"{value:.3g} {unit}"


def air(found: Circles, access: Access = "5g", service_us: float = 0.0) -> str:
    """The clause that says why C3 covers nothing, where access and service alone take its budget; else nothing."""
    ways = AIR if found.round_trip else AIR[:1]
    access_us = [sum(constants(figures, access)[way] for way in ways) for figures in FIGURES]
    low_us, typical_us, high_us = (us + service_us for us in access_us)
    if found.definition != "C3" or typical_us < found.budget_us:
        return ""
    leg = UPLINKS[access][found.round_trip]
    taken = f"{low_us / US_PER_MS:g} to {high_us / US_PER_MS:g} ms"
    return f"because {leg} and the service alone take {taken}" if service_us else f"because {leg} alone takes {taken}"


def counted(number: int, thing: str) -> str:
    """So many things, in the singular where there is one."""
    return f"{number:,} {thing if number == 1 else thing + 's'}"


def is_least(plan: Plan) -> bool:
    """Whether the plan's own bound leaves no room for a better one."""
    return plan.proof.value - plan.proof.bound < (SMALLEST_CNY if plan.proof.unit == "CNY" else SMALLEST_WEIGHT)


def proven(plan: Plan) -> str:
    """What is proven of what a plan is worth, for a person."""
    is_price = plan.proof.unit == "CNY"
    if is_least(plan):
        return "proven: no plan costs less" if is_price else "proven: no plan leaves less uncovered"
    gap_share = plan.proof.value / plan.proof.bound - 1 if plan.proof.bound > 0 else math.inf
    if gap_share > LARGEST_GAP_SHARE:
        return "how far above the least possible is not proven"
    above = "above the least possible" if is_price else "more uncovered than the least possible"
    return f"at most {at_most(gap_share)} {above}"
