"""What tests of real labs share: whether one can run here, and one that runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from karez.adapters.frr.config import Protocols
from karez.lab import daemons, spaces
from karez.lab.plan import plan
from karez.lab.start import ended, started
from karez.twin import World

LACKS = (*spaces.missing(), *daemons.missing(Protocols()))
NO_LAB = pytest.mark.skipif(bool(LACKS), reason=f"no lab can run here: {'; '.join(LACKS)}")


@contextmanager
def running(world: World) -> Iterator[str]:
    """The name of a lab of a world; it is gone at the end."""
    name = f"test-{os.getpid()}"
    started(plan(world, name=name, protocols=Protocols(bfd_ms=100), users_per_s=500.0))
    try:
        yield name
    finally:
        ended(name)
