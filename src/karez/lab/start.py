"""Starting a lab in a process of its own, and ending it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import msgspec

from karez.errors import InputError, Problem
from karez.lab import daemons, segments, spaces
from karez.lab.asked import Lab, LabError, Plan, Quit, Ready, running
from karez.lab.plan import LONGEST_NAME

# How long a lab may take to start (s), and to be gone.
STARTS_S, GOES_S = 300.0, 10.0


def started(plan: Plan) -> Ready:
    """A lab that runs, in a process that outlives this one.

    Raises:
        InputError: this machine or user lacks what a lab needs, or the name will not do.
        LabError: it could not be started; nothing of it is left.
    """
    lacks = (*spaces.missing(), *daemons.missing(plan.protocols))
    if plan.protocols.segments:
        lacks += segments.missing()
    if lacks:
        raise InputError([Problem("lab", what, fix) for what, _, fix in (lack.partition(": ") for lack in lacks)])
    if not plan.name or len(plan.name.encode()) > LONGEST_NAME:
        raise InputError.of("lab", f"a name has 1 to {LONGEST_NAME} bytes", "give it another name")
    child = subprocess.Popen(
        [sys.executable, "-m", "karez.lab.keeper"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        said, complained = child.communicate(msgspec.msgpack.encode(plan), timeout=STARTS_S)
    except BaseException:
        child.kill()
        raise
    if not said:
        raise LabError(f"the lab died at its start: {complained.decode(errors='replace').strip()[-400:]}")
    ready = msgspec.msgpack.decode(said, type=Ready)
    if ready.failed:
        raise LabError(f"the lab was not started: {ready.failed}")
    return ready


@contextmanager
def lasting(plan: Plan) -> Iterator[Lab]:
    """A lab of this plan, which is gone at the end of a `with`.

    Raises:
        InputError: as `started`.
        LabError: as `started` and `ended`.
    """
    started(plan)
    try:
        with closing(Lab(plan.name)) as lab:
            yield lab
    finally:
        ended(plan.name)


def ended(name: str) -> None:
    """End a lab, and wait until it is gone.

    Raises:
        LabError: no such lab runs, or it does not end.
    """
    lab = Lab(name)
    lab.ask(Quit())
    lab.close()
    until_s = time.monotonic() + GOES_S
    while name in running():
        if time.monotonic() > until_s:
            raise LabError(f"the lab {name} is still there after {GOES_S:g} s")
        time.sleep(0.01)
