"""Ten thousand incidents: what the loop finds, how soon, what it mends, and whether it ever makes things worse.

Each is one fault in one of many random networks; in half of them what the loop believes differs from the world. The
network lives a second time without the loop, and that is the yardstick of harm.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks import Figure, figure
from benchmarks.instances.mesh import mesh
from karez.loop.state import Policy
from karez.scenario.incidents import Outcome, incident, played
from karez.scenario.score import calibration_error, f1, reliability, times_of

NAME = "incidents"
INCIDENTS = int(os.environ.get("KAREZ_INCIDENTS", "10000"))
PER_NETWORK = 25
# Simulated seconds to an act that is verified, by what is wrong.
SOON = {
    "delay": (("link_slow", "link_slow_one_way"), 2.0),
    "large packets": (("link_large_loss", "mtu_wrong"), 2.0),
    "loss": (("link_loss", "link_loss_one_way"), 4.0),
}
F1_BAR = 0.9


def run() -> list[Figure]:
    """Harm, localisation and times, over all incidents."""
    networks = range(1, INCIDENTS // PER_NETWORK + 1)
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for made in pool.map(_of_network, networks):
            _tell_failures(made)
            outcomes += made
    return figures(outcomes)


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """What the outcomes add up to."""
    matched = [outcome for outcome in outcomes if outcome.mismatch == "none"]
    return [
        figure("incidents", len(outcomes), "", better="higher"),
        figure("incidents in which belief and world differ", len(outcomes) - len(matched), "", better="higher"),
        figure("incidents in which the loop acted", sum(bool(one.acts) for one in outcomes), "", better="higher"),
        figure("incidents with harm", sum(one.harmed for one in outcomes), "", 0.0),
        figure("incidents in which an act was undone", sum(one.undone > 0 for one in outcomes), ""),
        figure("acts neither verified nor undone at the end", sum(one.unsettled for one in outcomes), "", 0.0),
        figure(
            "localisation, F1 of (cause, subject), belief and world the same", _f1(matched), "", F1_BAR, better="higher"
        ),
        figure("localisation, F1 of (cause, subject), all incidents", _f1(outcomes), "", better="higher"),
        figure("confidence and the share that was right apart, on average", _miscalibrated(outcomes), ""),
        *(made for name, (kinds, bar) in SOON.items() for made in _times(name, kinds, bar, matched)),
    ]


def _tell_failures(outcomes: Iterable[Outcome]) -> None:
    """Print a token for each incident that did not go well, as soon as it was played."""
    for outcome in outcomes:
        if outcome.harmed or outcome.unsettled:
            acts = ", ".join(outcome.acts)
            print(f"  {outcome.token} {outcome.kind} ({outcome.mismatch}): {acts}", flush=True)


def _miscalibrated(outcomes: Sequence[Outcome]) -> float:
    return calibration_error(reliability(outcomes)) or 0.0


def _f1(outcomes: Sequence[Outcome]) -> float:
    """F1 over incidents with and without a trace: what is told where nothing is to be found counts against it."""
    return f1(outcomes) or 0.0


def _of_network(seed: int) -> list[Outcome]:
    world = mesh(seed)
    numbers = range(seed * PER_NETWORK, (seed + 1) * PER_NETWORK)
    return [played(world, incident(world, str(seed), number), Policy(level="act")) for number in numbers]


def _times(name: str, kinds: tuple[str, ...], bar: float, outcomes: Sequence[Outcome]) -> list[Figure]:
    mine = [one for one in outcomes if one.kind in kinds and one.healed_s is not None]
    healed = times_of(
        f"{name}: median to verified heal, two sources ({len(mine)} healed)", (one.healed_s for one in mine)
    )
    single = times_of(f"{name}: median to the first signal, one source", (one.single_s for one in mine))
    return [
        figure(times.what, times.median_s, "s", most)
        for times, most in ((healed, bar), (single, None))
        if times.median_s is not None
    ]
