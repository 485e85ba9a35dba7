"""What Karez is measured by: each module here is a benchmark, and its results are kept in results/."""

from __future__ import annotations

import importlib
import json
import math
import os
import pkgutil
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

HERE = Path(__file__).parent
RESULTS = HERE / "results"
# Public data for some benchmarks, beside a clone where someone put it: never in one.
PUBLIC = HERE.parents[1] / "shared" / "data"
# Where the files of a run lie that is about anything but the disk: in memory, on a machine that has a folder for that.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
MARKS = ("<!-- figures: written by make bench -->", "<!-- figures: end -->")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured value, the bar it should reach, and what the yardstick got in the same run."""

    what: str
    value: float
    unit: str
    better: Literal["lower", "higher"]
    bar: float | None = None
    yardstick: float | None = None

    def __post_init__(self) -> None:
        """Refuse what a result file cannot hold."""
        for number in (self.value, self.bar, self.yardstick):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{self.what}: {number} is no measurement; leave out what was not measured")

    @property
    def ratio(self) -> float | None:
        """The value as a multiple of the yardstick's; None without a yardstick, or where it is zero."""
        return self.value / self.yardstick if self.yardstick else None

    @property
    def misses_bar(self) -> bool:
        """Whether there is a bar and the value is on its wrong side."""
        if self.bar is None:
            return False
        return self.value > self.bar if self.better == "lower" else self.value < self.bar

    def __str__(self) -> str:
        """One line for a person."""
        parts = [f"{self.what}: {self.value:.4g} {self.unit}".rstrip(), f"{self.better} is better"]
        if self.ratio is not None:
            parts.append(f"{self.ratio:.3g} times the yardstick's {self.yardstick:.4g}")
        if self.bar is not None:
            parts.append(f"{'misses' if self.misses_bar else 'meets'} the bar of {self.bar:.4g}")
        return "; ".join(parts)


def figure(
    what: str,
    value: float,
    unit: str,
    bar: float | None = None,
    *,
    better: Literal["lower", "higher"] = "lower",
    yardstick: float | None = None,
) -> Figure:
    """The figure, in the fewest words that say it."""
    return Figure(what=what, value=value, unit=unit, better=better, bar=bar, yardstick=yardstick)


class Benchmark(Protocol):
    """What a benchmark module offers; it may also list the SEEDS it uses, and the NEEDS it has of public data."""

    NAME: str

    def run(self) -> list[Figure]:
        """The figures measured, each with its yardstick's from the same run."""
        ...


def find(path: Path = HERE, package: str = __name__) -> dict[str, Benchmark]:
    """All benchmarks by name: the modules of the package that do not start with an underscore."""
    found: dict[str, Benchmark] = {}
    for module in pkgutil.iter_modules([str(path)]):
        if module.ispkg or module.name.startswith("_"):
            continue
        benchmark = cast(Benchmark, importlib.import_module(f"{package}.{module.name}"))
        if benchmark.NAME in found:
            raise ValueError(f"two benchmarks are named {benchmark.NAME!r}; rename that of {module.name}.py")
        found[benchmark.NAME] = benchmark
    return dict(sorted(found.items()))


def lacks(benchmark: Benchmark) -> str:
    """The file of public data that a benchmark needs and that is not there; nothing where it has all."""
    return next((str(path) for path in getattr(benchmark, "NEEDS", ()) if not path.exists()), "")


def provenance() -> dict[str, object]:
    """The commit measured, whether anything but results differs from it, and the machine."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": _git("status", "--porcelain", "--", ".", ":!benchmarks/results") != "",
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "python": platform.python_version(),
        },
    }


def write(
    benchmark: Benchmark, figures: Iterable[Figure], *, origin: Mapping[str, object], folder: Path = RESULTS
) -> Path:
    """The file that now holds the result of one benchmark, replacing the one before."""
    result = {
        "benchmark": benchmark.NAME,
        **origin,
        "seeds": list(getattr(benchmark, "SEEDS", ())),
        "figures": [asdict(figure) | {"ratio": figure.ratio} for figure in figures],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{benchmark.NAME}.json"
    path.write_text(json.dumps(result, indent=2, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")
    return path


def table(folder: Path = RESULTS) -> str:
    """The figures of all results that have a bar, as the Markdown table that the README shows."""
    lines = ["| what | measured | bar | yardstick in the same run | result |", "|---|---|---|---|---|"]
    for path in sorted(folder.glob("*.json")):
        for figure in json.loads(path.read_text("utf-8"))["figures"]:
            if figure["bar"] is not None:
                lines.append(_row(figure, path.name))
    return "\n".join(lines) + "\n"


def put_table(readme: Path, folder: Path = RESULTS) -> None:
    """Put the table between its marks in the README."""
    before, _, rest = readme.read_text("utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    readme.write_text(f"{before}{MARKS[0]}\n{table(folder)}{MARKS[1]}{after}", "utf-8")


def _row(figure: Mapping[str, Any], name: str) -> str:
    sign = "at most" if figure["better"] == "lower" else "at least"
    unit = f" {figure['unit']}" if figure["unit"] else ""
    yardstick = "" if figure["yardstick"] is None else f"{number(figure['yardstick'])}{unit}"
    bar = f"{sign} {number(figure['bar'])}"
    return f"| {figure['what']} | {number(figure['value'])}{unit} | {bar} | {yardstick} | `{name}` |"


def number(value: float) -> str:
    """A measured value as a table shows it."""
    return f"{value:,.0f}" if value == round(value) or value >= 1_000 else f"{value:.3g}"


def _git(*words: str) -> str | None:
    """What git says, stripped; None where it fails, as it does outside a repository."""
    try:
        done = subprocess.run(["git", *words], cwd=HERE.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _cpu() -> str:
    """The processor's name as the kernel tells it, or else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
