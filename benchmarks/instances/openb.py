"""Alibaba's openb trace: machines with 6,212 GPUs and 8,152 tasks; read where it is, never shipped."""

from __future__ import annotations

import numpy as np
import polars as pl

from benchmarks import PUBLIC
from karez.plan.placing.packing import WHOLE_CHIP, Machines, Tasks
from karez.twin.table import Array

NODES, PODS = (PUBLIC / "placing" / name for name in ("openb_nodes.csv", "openb_pods_default.csv"))


def machines() -> Machines:
    """The machines with GPUs."""
    rows = pl.read_csv(NODES)
    kinds = sorted(rows["model"].unique())
    kind = np.array([kinds.index(name) for name in rows["model"]])
    cpu, memory_mib, chips = (rows[name].to_numpy() for name in ("cpu_milli", "memory_mib", "gpu"))
    return Machines(cpu, memory_mib, chips, kind)


def tasks() -> Tasks:
    """The tasks of the default trace, which run on any kind of GPU."""
    rows = pl.read_csv(PODS, schema_overrides={"gpu_spec": pl.String})
    assert rows["gpu_spec"].is_null().all()
    names = ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli")
    cpu, memory_mib, chips, milli = (rows[name].to_numpy() for name in names)
    return Tasks(cpu, memory_mib, chips, np.where(chips > 0, milli, 0), np.full(len(rows), 2**62 - 1))


def arrivals(of: Tasks, chips: int, ratio: float, random: np.random.Generator) -> Array:
    """Rows of tasks as they come: all, and more of them until they ask for so many times the chips."""
    milli = of.chips * of.milli
    whole, rows = int(milli.sum()), np.arange(len(milli)).tolist()
    while True:
        row = int(random.integers(len(milli)))
        if whole + of.milli[row] > chips * WHOLE_CHIP * ratio:
            break
        whole += int(milli[row])
        rows.append(row)
    return random.permutation(rows)
