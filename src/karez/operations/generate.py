"""Make a synthetic network on real places and save it as the first revision of a new folder."""

from __future__ import annotations

from pathlib import Path

from karez.importers.generate import nation
from karez.measure.circles import access_points
from karez.operations import Answer, GenerateQuestion
from karez.operations.networks import counted, now_s, provenance, refuse_existing
from karez.twin import store
from karez.twin.states import initial_states

SOURCE = "reference instance nation on places of GeoNames (CC BY 4.0)"


class GenerateAnswer(Answer, frozen=True, kw_only=True):
    """The new network and what it holds."""

    network: str
    revision: int
    digest: str
    stations: int
    sites: int
    access_points: int
    compute_sites: int
    links: int


def run(question: GenerateQuestion) -> GenerateAnswer:
    """The network that was made; its intended tables and first states are saved in `question.output`.

    Raises:
        InputError: the folder exists, cannot be written, or the numbers asked for cannot be.
    """
    refuse_existing(question.output)
    intended = nation(stations=question.stations, sites=question.sites, seed=question.seed, jobs=question.jobs)
    twin = initial_states(intended)
    note = f"generated: {question.stations} stations, {question.sites} compute sites"
    revision = store.save(
        twin,
        Path(question.output),
        at_s=now_s(),
        note=note,
        source=SOURCE,
        synthetic=True,
        seed=question.seed,
    )
    compute = counted(question.sites, "compute site")
    return GenerateAnswer(
        headline=f"A synthetic network of {question.stations:,} stations and {compute} is saved",
        citation=f"{note}; {provenance(revision)}",
        network=question.output,
        revision=revision.number,
        digest=revision.digest,
        stations=len(twin["stations"]),
        sites=len(twin["sites"]),
        access_points=len(access_points(twin)),
        compute_sites=len(twin["servers"]),
        links=len(twin["links"]),
    )
