"""How soon Karez is there: the help, the package, and the memory of the worker on the request path.

The yardstick of each is Python itself, doing nothing.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import Figure

NAME = "start"
SEEDS = ()
TRIALS = 15
RESIDENT = "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')][0])"


def run() -> list[Figure]:
    """Wall time of the median start (ms), and resident memory (MB)."""
    karez = str(Path(sys.executable).with_name("karez"))
    nothing = _started_ms([sys.executable, "-c", "pass"])
    return [
        Figure(
            what="karez --help",
            value=_started_ms([karez, "--help"]),
            unit="ms",
            better="lower",
            bar=250.0,
            yardstick=nothing,
        ),
        Figure(
            what="import karez",
            value=_started_ms([sys.executable, "-c", "import karez"]),
            unit="ms",
            better="lower",
            bar=200.0,
            yardstick=nothing,
        ),
        Figure(
            what="memory of the steering worker after its imports",
            value=_resident_mb(f"import karez.gateway.worker; {RESIDENT}"),
            unit="MB",
            better="lower",
            bar=40.0,
            yardstick=_resident_mb(RESIDENT),
        ),
    ]


def _started_ms(command: Sequence[str]) -> float:
    times = []
    for _ in range(TRIALS):
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e3


def _resident_mb(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024
