"""Tasks onto machines: the allocation that two rules reach on Alibaba's openb trace, against what was published.

Tasks arrive until they ask for 1.3 times the GPUs; machines are in random order: of equal ones the first is taken.
"""

from __future__ import annotations

import time
from typing import get_args

import numpy as np

from benchmarks import Figure, figure
from benchmarks.instances.openb import NODES, PODS, arrivals, machines, tasks
from karez.plan.placing.packing import Machines, Rule, Tasks, packed, typical

NAME = "packing"
NEEDS = (NODES, PODS)
SEEDS = tuple(range(1, 11))
RATIO, OFF_BAR = 1.3, 0.2
# Per cent of GPUs that are allocated in the end, as published with FGD (ATC 2023).
PUBLISHED = {"fgd": 95.39, "best fit": 93.08}


def run() -> list[Figure]:
    """Per cent allocated by each rule, the mean over seeds, and how far that is from what was published."""
    of, on = tasks(), machines()
    expected, figures = typical(of), list[Figure]()
    for rule in get_args(Rule):
        taken, took_s = list[float](), list[float]()
        for seed in (0, *SEEDS):
            random = np.random.default_rng(seed)
            rows = arrivals(of, int(on.chips.sum()), RATIO, random)
            order = random.permutation(len(on.chips))
            begun = time.process_time()
            done = packed(Tasks(*(c[rows] for c in of)), Machines(*(c[order] for c in on)), expected, rule)
            took_s.append(time.process_time() - begun)
            taken.append(100.0 * done.taken_share)
        # The first one compiled what is compiled.
        mean, published = float(np.mean(taken[1:])), PUBLISHED[rule]
        figures += [
            figure(f"{rule}: GPUs allocated (as published)", mean, "%", better="higher", yardstick=published),
            figure(f"{rule}: points from what was published", abs(mean - published), "points", OFF_BAR),
            figure(f"{rule}: CPU a run of {len(rows):,} tasks", float(np.median(took_s[1:])), "s"),
        ]  # fmt: skip
    return figures
