"""What tests of real labs share: whether one can run here, and one that runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from karez.adapters.frr.config import Protocols
from karez.lab import daemons, spaces
from karez.lab.asked import Count, Counted, Lab
from karez.lab.plan import plan
from karez.lab.start import lasting
from karez.twin import World

OSPF, ISIS = Protocols(bfd_ms=100), Protocols(igp="isis", bfd_ms=100)
LACKS = (*spaces.missing(), *dict.fromkeys((*daemons.missing(OSPF), *daemons.missing(ISIS))))
NO_LAB = pytest.mark.skipif(bool(LACKS), reason=f"no lab can run here: {'; '.join(LACKS)}")
# Nothing that a fault has left behind is seen any more after so long (s).
MENDS_S = 30.0


@contextmanager
def running(world: World, protocols: Protocols = OSPF) -> Iterator[str]:
    """The name of a lab of a world; it is gone at the end."""
    made = plan(world, name=f"test-{protocols.igp}-{os.getpid()}", protocols=protocols, users_per_s=500.0)
    with lasting(made):
        yield made.name


def until(holds: Callable[[], bool], within_s: float = MENDS_S) -> bool:
    """Whether something comes to hold within so many seconds."""
    until_s = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.2)
    return True


def lost(lab: Lab, *, over_s: float) -> tuple[int, int]:
    """The packets of tests and of users that were lost within so many seconds."""
    legs = 4 * len(lab.plan().fabric.lines)
    before = lab.ask(Count(ports=False), Counted)
    time.sleep(over_s)
    after = lab.ask(Count(ports=False), Counted)
    gone = after.lost - before.lost + after.lost_large - before.lost_large
    return int(gone[:legs].sum()), int(gone[legs:].sum())
