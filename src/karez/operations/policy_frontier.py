"""What each degree of protection takes in energy and money for a job, at the best server, as table and picture."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from karez.measure import policy
from karez.measure.policy.costs import break_even_flop_per_byte, federate_pays
from karez.operations import Answer, PolicyFrontierQuestion
from karez.operations.networks import require_new_file, write_new
from karez.operations.policy import JobData, Situation, constants
from karez.operations.render.frontier import Dot, svg_frontier
from karez.plan.place import value_at
from karez.units import S_PER_H

FLOP_PER_TFLOP = 1e12


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A mode at the server where it takes the least energy (of the lawful ones, where it is lawful at any).

    `on_frontier`: lawful, and no lawful mode that protects as much takes less.
    """

    mode: policy.Mode
    lawful: bool
    on_frontier: bool
    server: str
    energy_kwh: float
    price_cny: float
    moved_gb: float
    delay_s: float


class PolicyFrontierAnswer(Answer, frozen=True, kw_only=True):
    """The modes that something can be told of, and from when on it pays to move data or to federate.

    Break-even is in operations a byte: below it, the energy of transport and ciphers is more than better cooling
    saves between the place where the data lies and the best one; absent where home takes no more.
    """

    job: str
    dataset: str
    points: tuple[Point, ...]
    flop_per_byte: float | None
    break_even_marginal: float | None
    break_even_attributed: float | None
    federating_moves_less: bool | None
    output: str


def run(question: PolicyFrontierQuestion) -> PolicyFrontierAnswer:
    """The frontier of a job of the network's newest revision; its picture goes to `question.output`, if given.

    Raises:
        InputError: the network, job, packs or constants cannot be read, or the file exists or cannot be written.
    """
    if question.output:
        require_new_file(question.output)
    situation = Situation(question.network, packs=question.packs, at=question.at, ledger=question.ledger)
    job, known = situation.job(question.job), constants(question.costs)
    points = _points(job, job.costs(known, question.gbps, cipher=question.cipher))
    lawful = [point for point in points if point.on_frontier]
    headline = f"No lawful mode of job {job.id} can be told the energy of ({situation.aside})"
    if lawful:
        least, most = lawful[0], lawful[-1]
        headline = (
            f"Job {job.id}: the least energy that is lawful is {least.energy_kwh:,.0f} kWh ({least.mode}); the most "
            f"protective, {most.mode}, takes {most.energy_kwh:,.0f} kWh ({situation.aside})"
        )
    citation = situation.citation("energy: chips with cooling, transport as attributed, ciphers on one core")
    if question.output:
        dots = [Dot(one.mode, one.energy_kwh, one.lawful, one.on_frontier) for one in points]
        synthetic = ", synthetic" if situation.revision.synthetic else ""
        title = f"Job {job.id}: energy (kWh) by mode, from the least to the most protective"
        legend = f"filled: lawful; hollow: not; line: the least energy for as much protection{synthetic}"
        write_new(question.output, svg_frontier(dots, title=title, note=legend))
    per_byte, marginal, attributed = _break_even(situation, job, known)
    sizes = job.sizes_gb()
    return PolicyFrontierAnswer(
        headline=headline,
        citation=citation,
        meets_target=bool(lawful),
        job=job.id,
        dataset=job.dataset,
        points=points,
        flop_per_byte=per_byte,
        break_even_marginal=marginal,
        break_even_attributed=attributed,
        federating_moves_less=None if not all(map(math.isfinite, sizes)) else federate_pays(*sizes, known),
        output=question.output,
    )


def _points(job: JobData, cost: policy.Costs) -> tuple[Point, ...]:
    points = list[Point]()
    for at, mode in enumerate(policy.MODES):
        lawful = (job.lawful >> at & 1).astype(bool)
        joules = cost.joules[0, :, at]
        some = lawful & np.isfinite(joules) if (lawful & np.isfinite(joules)).any() else np.isfinite(joules)
        if not some.any():
            continue
        best = int(np.argmin(np.where(some, joules, np.inf)))
        points.append(
            Point(
                mode=mode,
                lawful=bool(lawful[best]),
                on_frontier=False,
                server=job.works_at(best, mode),
                energy_kwh=float(joules[best]) / policy.J_PER_KWH,
                price_cny=float(cost.cny[0, best, at]),
                moved_gb=float(cost.moved_gb[0, best, at]),
                delay_s=float(cost.delay_s[0, best, at]),
            )
        )
    return tuple(
        msgspec.structs.replace(one, on_frontier=_is_best(one, points[at + 1 :])) for at, one in enumerate(points)
    )


def _is_best(point: Point, more_protective: list[Point]) -> bool:
    return point.lawful and all(not one.lawful or one.energy_kwh > point.energy_kwh for one in more_protective)


def _break_even(
    situation: Situation, job: JobData, known: dict[str, float]
) -> tuple[float | None, float | None, float | None]:
    """Operations a byte of the job, and those from which on moving takes less energy, by the job's best chip."""
    world = situation.world
    chip, rows = world["chips"], world.intended.resolve("servers", "chip")
    peak = value_at(chip["peak_tflops_fp16"], rows) * FLOP_PER_TFLOP
    power_w = value_at(chip["power_w"], rows)
    pue = world["provinces"]["pue"]
    rows_home = world.intended.resolve("datasets", "province")[world["datasets"].rows([job.dataset])]
    there, (home,) = value_at(pue, job.to.province), value_at(pue, rows_home).tolist()
    j_per_flop = power_w / peak
    with np.errstate(invalid="ignore"):
        useful = np.isfinite(j_per_flop) & np.isfinite(there) & (job.to.province >= 0) & (peak > 0)
    size_gb, _ = job.sizes_gb()
    if not useful.any() or not math.isfinite(home) or not size_gb > 0:
        return None, None, None
    best = int(np.flatnonzero(useful)[np.argmin((j_per_flop * there)[useful])])
    per_byte = float(peak[best]) * job.chips * job.hours * S_PER_H / (size_gb * 1e9)
    each = [
        break_even_flop_per_byte(
            known, j_per_flop=float(j_per_flop[best]), pue=(home, float(there[best])), marginal=marginal
        )
        for marginal in (True, False)
    ]
    marginal, attributed = (value if math.isfinite(value) else None for value in each)
    return per_byte, marginal, attributed
