"""Where the microseconds go from one station or site to its best compute."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from karez.errors import InputError
from karez.measure.circles import compute_sites
from karez.measure.stack import Part, Stack, Step, stack
from karez.operations import Answer, LatencyQuestion
from karez.operations.circles import LAYER_WORDS, require_layer
from karez.operations.networks import ACCESS_WORDS, counted, duration, load, now_s, provenance, share
from karez.twin import Table, Twin
from karez.twin.store import Revision
from karez.twin.table import text


class StackPart(Part, frozen=True):
    """A part of the delay, and how much of the budget it takes at typical figures."""

    budget_share: float


class LatencyAnswer(Answer, frozen=True, kw_only=True):
    """The delay from `start` to its best compute `site`, its parts, and the links of the way in their order.

    The way is the best at typical figures; low and high are what the same way takes at the library's ends. Where no
    compute is within reach they are `inf`, and there is no site, no part and no link.
    """

    start: str
    site: str
    layer: str
    budget_us: float
    low_us: float
    typical_us: float
    high_us: float
    budget_share: float
    parts: tuple[StackPart, ...]
    links: tuple[Step, ...]


def run(question: LatencyQuestion) -> LatencyAnswer:
    """The stack of parts on the network's newest revision, as it is today.

    Raises:
        InputError: the network cannot be read, has no such start, no compute, or no links of the layer.
    """
    world, revision = load(question.network)
    twin = world.intended.at(now_s())
    vertex = _vertex(twin, question.start)
    require_compute(twin, question.network)
    require_layer(twin, question.layer, question.network)
    access = None if question.access == "none" else question.access
    found = stack(twin, vertex, layer=question.layer, access=access, service_us=question.service_us)
    low_us, typical_us, high_us = found.totals_us
    return LatencyAnswer(
        headline=_headline(found, question, revision),
        citation=_citation(question, revision),
        start=question.start,
        site=found.site,
        layer=question.layer,
        budget_us=question.budget_us,
        low_us=low_us,
        typical_us=typical_us,
        high_us=high_us,
        budget_share=typical_us / question.budget_us,
        parts=tuple(
            StackPart(**msgspec.structs.asdict(part), budget_share=part.typical_us / question.budget_us)
            for part in found.parts
        ),
        links=found.steps,
    )


def require_compute(twin: Twin, network: str) -> None:
    """Return only if there is compute that a delay can lead to.

    Raises:
        InputError: there is none.
    """
    if not len(compute_sites(twin)):
        raise InputError.of(network, "has no compute", "add servers, or equipment for inference, to a site")


def _vertex(twin: Twin, start: str) -> int:
    """The vertex of a site or station.

    Raises:
        InputError: there is no such site or station.
    """
    sites, stations = twin["sites"], twin["stations"]
    for table, offset in ((sites, 0), (stations, len(sites))):
        if start and table.has(start):
            return offset + int(table.rows([start])[0])
    near = [name for table in (stations, sites) for name in _near(table, start)]
    fix = f"give one that table stations or sites has, such as {' or '.join(near)}" if near else "add sites"
    raise InputError.of("start", f"{start!r} is no id of a station or site", fix)


def _near(table: Table, name: str) -> Sequence[str]:
    """The id that comes first from `name` on, else the last; none of an empty table."""
    if not len(table):
        return ()
    # Wider text would widen every id, and take its time.
    wanted = np.array([name.encode()]).astype(table.ids.dtype)
    return (text(table.ids[min(int(np.searchsorted(table.ids, wanted)[0]), len(table) - 1)]),)


def _headline(found: Stack, question: LatencyQuestion, revision: Revision) -> str:
    layer = LAYER_WORDS[question.layer]
    if not found.site:
        note = " (synthetic)" if revision.synthetic else ""
        return f"No compute is within reach of {question.start} on the {layer}{note}"
    note = "; synthetic" if revision.synthetic else ""
    low_us, typical_us, high_us = found.totals_us
    return (
        f"{question.start} is {duration(typical_us)} one way from compute at {found.site}, by "
        f"{counted(len(found.steps), 'link')} of the {layer}: {share(typical_us / question.budget_us)} of "
        f"{duration(question.budget_us)} ({duration(low_us)} to {duration(high_us)} over the latency library{note})"
    )


def _citation(question: LatencyQuestion, revision: Revision) -> str:
    access = "no access" if question.access == "none" else f"access {ACCESS_WORDS[question.access]}, up"
    return (
        f"One way towards the best compute site, {LAYER_WORDS[question.layer]}; {access}; service "
        f"{question.service_us:g} us; the best way at typical figures of the latency library, and the same way at its "
        f"low and high ones; {provenance(revision)}"
    )
