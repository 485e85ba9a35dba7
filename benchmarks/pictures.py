"""Five million stations as a picture, and the size of the report about them."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks import Figure, figure
from benchmarks.instances.nation import BUDGET_US, SEEDS
from benchmarks.load import save
from karez.measure import reach
from karez.measure.circles import compute_sites, points
from karez.operations import ReportQuestion, report
from karez.operations.networks import load
from karez.operations.render.picture import Picture, Spot, drawn, png
from karez.twin import Twin
from karez.twin.table import text

NAME = "pictures"
LIMIT_NS = round(BUDGET_US * 1_000)
TRIALS = 5
SPOTS = 6


def run() -> list[Figure]:
    """The worst over the seeds of each."""
    trials = [_trial(seed) for seed in SEEDS]
    return [max(same, key=lambda one: one.value) for same in zip(*trials, strict=True)]


def _trial(seed: int) -> list[Figure]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "nation"
        save(folder, seed)
        twin = load(str(folder))[0].intended
        picture = _picture(twin)
        times, size = [], 0
        for _ in range(TRIALS):
            begun = time.process_time()
            size = len(png(drawn(picture)))
            times.append(time.process_time() - begun)
        begun = time.process_time()
        answer = report.run(ReportQuestion(network=str(folder), output=str(Path(temporary) / "report.html")))
        reported_s = time.process_time() - begun
        html = Path(answer.html).stat().st_size
    return [
        figure("5 M stations to PNG, from arrays to bytes", statistics.median(times), "CPU s", bar=2.0),
        figure("the PNG", size / 1e6, "MB"),
        figure("the report on 5 M stations, one HTML file", html / 1e6, "MB", bar=4.0),
        figure("writing the report, network loaded", reported_s, "CPU s"),
    ]


def _picture(twin: Twin) -> Picture:
    stations, sites, metros = twin["stations"], compute_sites(twin), twin["metros"]
    return Picture(
        title="Typical delay of each station",
        lon=stations["lon"],
        lat=stations["lat"],
        oneway_ns=reach.typical(twin, points(twin, "station")).delays_ns(sites),
        budget_ns=LIMIT_NS,
        site_lon=twin["sites"]["lon"][sites],
        site_lat=twin["sites"]["lat"][sites],
        spots=[
            Spot(float(metros["lon"][row]), float(metros["lat"][row]), text(metros["name"][row]))
            for row in range(SPOTS)
        ],
        synthetic=True,
    )
