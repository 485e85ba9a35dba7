"""The typical delay of every station or site and its nearest compute, as a table in a file."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl

from karez.errors import InputError
from karez.measure.kernels import FAR
from karez.measure.stack import Nearest, nearest
from karez.operations import Answer, DelaysQuestion
from karez.operations.circles import LAYER_WORDS, require_layer
from karez.operations.latency import require_compute
from karez.operations.networks import counted, duration, load, now_s, provenance, require_new_file, write_new
from karez.twin import Twin
from karez.twin.table import Array
from karez.units import NS_PER_US

FORMATS = {".csv": "CSV", ".parquet": "Parquet"}
# How each format writes that nothing is within reach.
ABSENT = {"CSV": "empty", "Parquet": "null"}


class DelaysAnswer(Answer, frozen=True, kw_only=True):
    """The file, how many rows it has, and how many of them no compute is within reach of.

    Of the others `median_us` and `largest_us` (None where there are none).
    """

    file: str
    format: str
    of: str
    layer: str
    rows: int
    unreachable: int
    median_us: float | None
    largest_us: float | None


def run(question: DelaysQuestion) -> DelaysAnswer:
    """What was written of the network's newest revision, as it is today; the same revision gives the same bytes.

    Raises:
        InputError: the network cannot be read, has no compute, no such rows or no links of the layer; or the file is
            of no known format, exists already, or cannot be written.
    """
    kind = _format(question.output)
    require_new_file(question.output)
    world, revision = load(question.network)
    twin = world.intended.at(now_s())
    if not len(twin[f"{question.of}s"]):
        raise InputError.of(question.network, f"has no {question.of}s", f"add {question.of}s, or ask --of for others")
    require_compute(twin, question.network)
    require_layer(twin, question.layer, question.network)
    found = _of(twin, question.of, nearest(twin, question.layer))
    write_new(question.output, _written(_frame(twin, question.of, found), kind))
    reached = found.oneway_ns[found.site >= 0]
    rows, without = len(found.site), len(found.site) - len(reached)
    note = " (synthetic)" if revision.synthetic else ""
    nowhere = f"; {without:,} of them can reach none" if without else ""
    middle = f", {duration(float(np.median(reached)) / NS_PER_US)} in the median" if len(reached) else ""
    return DelaysAnswer(
        headline=f"Delay and nearest compute of {counted(rows, question.of)} written{middle}{nowhere}{note}",
        citation=(
            f"One way towards the best compute site, {LAYER_WORDS[question.layer]}; typical figures of the latency "
            f"library; of sites that are equally near the first by id; {ABSENT[kind]} where none is within reach; "
            f"{provenance(revision)}"
        ),
        file=question.output,
        format=kind,
        of=question.of,
        layer=question.layer,
        rows=rows,
        unreachable=without,
        median_us=float(np.median(reached)) / NS_PER_US if len(reached) else None,
        largest_us=int(reached.max()) / NS_PER_US if len(reached) else None,
    )


def _format(path: str) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError.of(path or "output", "is neither .csv nor .parquet", "end the file's name in one of them")
    return FORMATS[suffix]


def _of(twin: Twin, of: str, every: Nearest) -> Nearest:
    """What was found of the stations only, or of the sites."""
    sites = len(twin["sites"])
    rows = slice(sites) if of == "site" else slice(sites, None)
    return Nearest(every.oneway_ns[rows], every.site[rows])


def _frame(twin: Twin, of: str, found: Nearest) -> pl.DataFrame:
    """Columns id, metro, oneway_us and site; the last two are null where nothing is within reach."""
    table = twin[f"{of}s"]
    there = pl.Series(found.oneway_ns < FAR)
    columns = {
        "id": _texts(table.ids),
        "metro": _texts(twin["metros"].ids).gather(twin.resolve(f"{of}s", "metro")),
        "oneway_us": pl.Series(found.oneway_ns / NS_PER_US),
        "site": _texts(twin["sites"].ids).gather(np.maximum(found.site, 0)),
    }
    absent = {name: pl.when(there).then(pl.col(name)).alias(name) for name in ("oneway_us", "site")}
    return pl.DataFrame(columns).with_columns(**absent)


def _texts(ids: Array) -> pl.Series:
    return pl.Series(np.ascontiguousarray(ids)).cast(pl.String)


def _written(frame: pl.DataFrame, kind: str) -> bytes:
    data = BytesIO()
    if kind == "CSV":
        frame.write_csv(data)
    else:
        frame.write_parquet(data)
    return data.getvalue()
