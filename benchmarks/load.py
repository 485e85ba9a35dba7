"""From a folder on disk to a network that is checked and ready for questions: time and memory, in a process of its own.

The network is the nation of 5 million stations as `karez generate` saves it. Each trial is a fresh process, so that its
peak is its own; the first one compiles where nothing was compiled yet, and the median leaves it out.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import Figure, figure
from benchmarks.instances.nation import SEEDS

NAME = "load"
STATIONS, SITES = 5_000_000, 500
TRIALS = 3
PARTS = ("load", "check", "prepare")
# The peak is that of the memory map: what getrusage says begins with the peak of the process that started this one.
CHILD = """
import json, sys, time
from pathlib import Path
from karez.measure import reach
from karez.measure.circles import points
from karez.twin import store
from karez.twin.check import check
times = [time.process_time()]
twin, _ = store.load(Path(sys.argv[1]))
times.append(time.process_time())
problems = check(twin)
times.append(time.process_time())
reach.typical(twin, points(twin, "station"))
times.append(time.process_time())
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
print(json.dumps({"times": times, "problems": len(problems), "peak_mb": peak * 1024 / 1e6}))
"""


def run() -> list[Figure]:
    """The worst over the seeds of each: CPU seconds in all and by part, peak memory, and problems found."""
    trials = [_trial(seed) for seed in SEEDS]
    worst = {name: max(trial[name] for trial in trials) for name in trials[0]}
    return [
        figure("5 M stations loaded, checked and prepared", worst["all"], "CPU s", bar=4.0),
        figure("peak memory of the whole process", worst["peak_mb"], "MB", bar=1_500.0),
        figure("loading alone, from Parquet with digests verified", worst["load"], "CPU s"),
        figure("all checks alone, references resolved", worst["check"], "CPU s"),
        figure("preparation alone", worst["prepare"], "CPU s"),
        figure("start and imports, not counted above", worst["start"], "CPU s"),
        figure("problems found in a sound network", worst["problems"], "", bar=0.0),
    ]


def save(folder: Path, seed: int) -> None:
    """Put the nation with this seed into `folder`, as `karez generate` does."""
    karez = str(Path(sys.executable).with_name("karez"))
    sizes = ["--stations", str(STATIONS), "--sites", str(SITES), "--seed", str(seed)]
    subprocess.run([karez, "generate", str(folder), *sizes], check=True, capture_output=True)


def _trial(seed: int) -> dict[str, float]:
    """The medians of some processes on one network."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "nation"
        save(folder, seed)
        found = [_measured(folder) for _ in range(TRIALS)]
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def _measured(folder: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", CHILD, str(folder)], check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    times = told["times"]
    parts = {name: after - before for name, before, after in zip(PARTS, times, times[1:], strict=False)}
    return parts | {
        "all": times[-1] - times[0],
        "start": times[0],
        "problems": told["problems"],
        "peak_mb": told["peak_mb"],
    }
