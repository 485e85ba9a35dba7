"""A lab of a network: real routers in namespaces of this machine, joined by a wire that can fail."""

from __future__ import annotations

import re

from karez.adapters.frr.config import Protocols
from karez.errors import InputError
from karez.lab.plan import plan
from karez.lab.start import started
from karez.operations import Answer, LabUpQuestion
from karez.operations.lab import name_of
from karez.operations.networks import counted, load_living, provenance

NAMES = {"ospf": "OSPF", "isis": "IS-IS"}
BFD = re.compile(r"(\d{1,5})x(\d{1,3})")


class LabUpAnswer(Answer, frozen=True, kw_only=True):
    """The lab that runs: its name, its size, what each step of the start took (s), the process that it lives in."""

    name: str
    routers: int
    links: int
    took_s: dict[str, float]
    total_s: float
    process: int


def run(question: LabUpQuestion) -> LabUpAnswer:
    """What was started; it runs until `lab down`, or until its process ends.

    Raises:
        InputError: the network or the machine cannot be used for a lab.
        LabError: it could not be started; nothing of it is left.
    """
    world, revision = load_living(question.network)
    made = plan(
        world,
        name=name_of(question.network, question.name),
        network=question.network,
        protocols=protocols_of(question),
        tests_per_s=question.tests_per_s,
        users_per_s=question.users_per_s,
        seed=question.seed,
    )
    ready = started(made)
    total_s = sum(ready.took_s.values())
    routers, links = len(made.fabric.routers), len(made.fabric.lines)
    besides = f"{' and BGP' if made.fabric.bgp else ''}{', segments (SRv6)' if question.segments else ''}"
    return LabUpAnswer(
        headline=f"{counted(routers, 'router')} and {counted(links, 'link')} run as lab {made.name}, "
        f"converged after {total_s:.1f} s",
        citation=f"FRR in network namespaces, {NAMES[question.igp]}{besides}, BFD {question.bfd}, "
        f"{question.tests_per_s:g} tests a second and way, {question.users_per_s:g} packets of users a second; "
        f"seed {question.seed}; {provenance(revision)}",
        name=made.name,
        routers=routers,
        links=links,
        took_s=ready.took_s,
        total_s=total_s,
        process=ready.process,
    )


def protocols_of(question: LabUpQuestion) -> Protocols:
    """What routers speak.

    Raises:
        InputError: `bfd` is nothing that routers know, or `segments` are nothing to the protocol they speak.
    """
    if question.segments and question.igp != "isis":
        raise InputError.of("segments", f"{NAMES[question.igp]} tells nobody of segments", "have routers speak isis")
    if question.bfd == "off":
        return Protocols(igp=question.igp, bfd_ms=0, segments=question.segments)
    parts = BFD.fullmatch(question.bfd)
    interval_ms, times = (int(part) for part in parts.groups()) if parts else (0, 0)
    # Source: FRR's bfd configuration: intervals of 10 to 60,000 ms, multipliers of 2 to 255.
    if not (10 <= interval_ms <= 60_000 and 2 <= times <= 255):
        what = f"{question.bfd!r} is no interval of 10 to 60000 ms and multiplier of 2 to 255"
        raise InputError.of("bfd", what, "write it as 50x3, or off")
    return Protocols(igp=question.igp, bfd_ms=interval_ms, bfd_times=times, segments=question.segments)
