"""The report: one HTML file about a network and an SVG of its map, neither of which needs anything to open."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np

import karez
from karez.errors import Infeasible, InputError, KarezError
from karez.loop.recorded import recorded
from karez.measure import reach
from karez.measure.circles import Circles, circles, compute_sites, delays_ns, movers, points
from karez.measure.core import LONGEST_NS
from karez.measure.delay import FIGURES, Figures
from karez.operations import Answer, AssignQuestion, ReportQuestion, SteerQuestion, networks
from karez.operations import run as run_operation
from karez.operations.day import planned
from karez.operations.heal import began_with, timeline, whole
from karez.operations.leaving import require_reader_may_know
from karez.operations.networks import at_most, counted
from karez.operations.render import sections
from karez.operations.render.cost import CostData
from karez.operations.render.curve import CurveData, round_step
from karez.operations.render.day_section import day_section
from karez.operations.render.html import Figure, Note, ReportData, Section, html_report
from karez.operations.render.map import compact, svg_map
from karez.plan.coverage import Ask, Coverage, coverage, program_of
from karez.plan.covering.ladder import Effort, climb
from karez.plan.covering.program import Program
from karez.plan.plan import Plan, applied
from karez.plan.sites import lead_time_s
from karez.twin import Twin, World
from karez.twin.store import Revision
from karez.units import FEN_PER_CNY, NS_PER_US

# Source: metro millisecond action (MIIT, 2025-10-16): application terminal to server within 10 ms.
TERMINAL_BUDGET_US = 10_000.0
# Which of what is measured is C2 by stations, which the map shows.
STATIONS = 2
# Budgets of the curve, up to twice the one asked about.
STEPS = 200
# Shares of the chart of costs, at most, beside the target; none nearer to the target than this part of their step.
SHARES, CLEAR_OF_TARGET = 10, 0.4
# What rounding may do to a multiple of a step.
ROUNDING = 1e-9
# No clock: the same revision gives the same bytes. The last rung could take long.
EFFORT: Effort = "searched"


class ReportAnswer(Answer, frozen=True, kw_only=True):
    """Where the report and its map lie, and what the report holds."""

    html: str
    svg: str
    sections: tuple[str, ...]


class _Outcome(msgspec.Struct, frozen=True):
    """What building leads to: the plan and coverage after it, or why there is none."""

    found: Coverage | None = None
    after: Circles | None = None
    why_not: str = ""

    @property
    def plan(self) -> Plan | None:
        return self.found.plan if self.found else None


def run(question: ReportQuestion) -> ReportAnswer:
    """The paths of the HTML file and of the SVG beside it (none where it is redacted), after they were written.

    The report is of the network as it was saved, so the same revision gives the same bytes.

    Raises:
        InputError: the network or the record cannot be read, the record was altered or is of another network, or a
            file exists already or cannot be written, or there is no such reader.
        Refused: the reader may not know the network.
    """
    html, svg = _paths(question.output)
    world, revision = networks.load(question.network)
    intended, at_s = world.intended, networks.now_s()
    require_reader_may_know(intended, revision, question.reader, redacted=question.redact, at_s=at_s)
    data = _redacted(_report(question, world, revision)) if question.redact else _report(question, world, revision)
    _write(html, svg, data)
    return ReportAnswer(
        headline=data.headline,
        citation=data.sections[0].citation,
        html=str(html),
        svg=str(svg) if data.map else "",
        sections=tuple(section.title for section in data.sections),
    )


def _report(question: ReportQuestion, world: World, revision: Revision) -> ReportData:
    twin = world.intended.at(revision.at_s)
    measured = _measured(twin, question.budget_us)
    outcome = _outcome(question, world, revision)
    cited = _cited(f"{measured[0].budget_us:g} us", revision)
    counts = measured[0].total_weight > 0
    shown = [measured[0], *(found for found in measured[1:] if found.total_weight > 0)]
    moved = movers(twin, budget_us=question.budget_us) if counts else []
    headline = _headline(measured[0], outcome, synthetic=revision.synthetic)
    return ReportData(
        title=f"Karez report on {Path(question.network).name or question.network}",
        headline=headline,
        figures=_figures(measured[0], outcome, question.target_share),
        map=sections.nation_map(
            twin,
            measured[0],
            outcome.plan,
            measured[STATIONS].covered,
            title=headline,
            subtitle=f"C2, access points, one way, typical delays; metropolises: {len(twin['metros']):,}",
            synthetic=revision.synthetic,
        ),
        sections=(
            sections.coverage(shown, target_share=question.target_share, movers=moved, citation=cited),
            *([_by_budget(twin, question, citation=_cited("each budget", revision))] if counts else []),
            sections.provinces(twin, measured[0], outcome.after, outcome.plan, citation=cited),
            sections.planned(twin, outcome.found, outcome.why_not),
            *(_costs(question, world, revision) if counts else []),
            *([day_section(planned(question.day, question.network, ""))] if question.day else []),
            *([_run(question)] if question.record else []),
            *_operations(question.network, twin),
        ),
        provenance=_provenance(question, revision),
        synthetic=revision.synthetic,
    )


def _redacted(data: ReportData) -> ReportData:
    """The report with sums only."""
    return msgspec.structs.replace(
        data,
        map=None,
        sections=tuple(section for section in data.sections if section.title in sections.SUMS),
        provenance=(*data.provenance, Note("redacted", "sums only; no map, no site, metropolis, job or run by name")),
    )


def _measured(twin: Twin, budget_us: float) -> list[Circles]:
    """C2 first, which the target is held against; then the other definitions, weights and the round trip."""
    return [
        circles(twin, budget_us=budget_us),
        circles(twin, budget_us=budget_us, round_trip=True),
        circles(twin, budget_us=budget_us, weight="station"),
        circles(twin, budget_us=budget_us, weight="population"),
        circles(twin, definition="C1", budget_us=budget_us),
        circles(twin, definition="C3", budget_us=TERMINAL_BUDGET_US, weight="station"),
    ]


def _outcome(question: ReportQuestion, world: World, revision: Revision) -> _Outcome:
    """The plan, and coverage measured again with what it builds in service."""
    target_share, budget_us = question.target_share, question.budget_us
    ask = Ask(targets=((budget_us, target_share),))
    try:
        found = coverage(world, ask, at_s=revision.at_s, effort=EFFORT)
    except (Infeasible, InputError) as error:
        return _Outcome(why_not=str(error))
    plan = msgspec.structs.replace(found.plan, citation=f"{found.plan.citation}; {networks.provenance(revision)}")
    twin = applied(plan.actions, world.intended).at(revision.at_s + lead_time_s())
    return _Outcome(found=found._replace(plan=plan), after=circles(twin, budget_us=budget_us))


def _costs(question: ReportQuestion, world: World, revision: Revision) -> list[Section]:
    """How many sites each of some shares takes, at the library's price, where candidates bring more than today's."""
    budget_us = question.budget_us
    try:
        program = program_of(world, Ask(targets=((budget_us, 0.0),)), at_s=revision.at_s)
    except InputError:
        return []
    twin = world.intended.at(revision.at_s + lead_time_s())
    ready = reach.typical(twin, points(twin, "access_point"))
    total = int(ready.total.sum())
    today = int(ready.covered(compute_sites(twin), math.ceil(budget_us * NS_PER_US)).sum())
    most = today + int(program.weight.sum())
    shares = [
        share for share in _shares(today / total, most / total, question.target_share) if _weight(share, total) <= most
    ]
    if not shares:
        return []
    chart = _cost_chart(program, shares, question.target_share, today, most, total)
    cited = f"{_cited(f'{budget_us:g} us', revision)}; effort {EFFORT}, bounds from duals"
    return [sections.cost(chart, len(program.price), citation=cited)]


def _cost_chart(
    program: Program, shares: list[float], target_share: float, today: int, most: int, total: int
) -> CostData:
    """A plan and a bound for each share; `today`, `most` and `total` are weights in the program's unit."""
    sites, least = [], []
    for share in shares:
        asked = replace(program, demand=np.array([_weight(share, total) - today]))
        made = climb(asked, effort=EFFORT)
        sites.append(len(made.chosen))
        least.append(min(sections.fewest(max(made.bound, 0.0) / FEN_PER_CNY), sites[-1]))
    return CostData(
        label=f"Sites to build for each share covered, from {networks.share(today / total)} today",
        today_share=today / total,
        shares=shares,
        sites=sites,
        least=least,
        most_share=most / total,
        target_share=target_share,
    )


def _weight(share: float, total: int) -> int:
    """The least weight that is such a share of the total, exact for shares as they are written."""
    return math.ceil(Fraction(str(share)) * total)


def _shares(today: float, most: float, target: float) -> list[float]:
    """Round shares between today's and the most that there can be, and the target where it lies there."""
    if most - today < ROUNDING:
        return []
    step = round_step(most - today, SHARES)
    first, last = math.floor(today / step + ROUNDING) + 1, math.ceil(most / step - ROUNDING) - 1
    rounded = (round(step * number, 12) for number in range(first, last + 1))
    if not today < target <= most:
        return list(rounded)
    return sorted([target, *(share for share in rounded if abs(share - target) >= CLEAR_OF_TARGET * step)])


def _by_budget(twin: Twin, question: ReportQuestion, *, citation: str) -> Section:
    """Coverage of access points below every budget to twice the one asked about."""
    step_ns = round(2 * question.budget_us * NS_PER_US / STEPS)
    step_ns = min(max(step_ns, 1), LONGEST_NS // STEPS)
    shares = {figures: _curve(twin, figures, step_ns) for figures in FIGURES}
    curve = CurveData(
        label=f"Share of access points covered below each budget, to {networks.duration(step_ns * STEPS / NS_PER_US)}",
        budgets_us=[step_ns * (step + 1) / NS_PER_US for step in range(STEPS)],
        at_high=shares["high"],
        typical=shares["typical"],
        at_low=shares["low"],
        mark_us=question.budget_us,
        target_share=question.target_share,
    )
    return sections.by_budget(curve, citation=citation)


def _curve(twin: Twin, figures: Figures, step_ns: int) -> list[float]:
    """The share of access points below each multiple of the step."""
    delay_ns = np.sort(delays_ns(twin, figures))
    below = np.searchsorted(delay_ns, step_ns * np.arange(1, STEPS + 1))
    shares: list[float] = (below / len(delay_ns)).tolist()
    return shares


def _headline(now: Circles, outcome: _Outcome, *, synthetic: bool) -> str:
    mark = "Synthetic: " if synthetic else ""
    if now.shares["typical"].pooled_share is None:
        return f"{mark}No access points in the network: what is within reach of compute is unknown"
    reach = f"within {networks.duration(now.budget_us)} of compute, one way"
    said = f"{mark}{_percent(now, 'typical')} of access points are {reach}"
    if outcome.plan and outcome.after and outcome.plan.actions:
        sites = len(outcome.plan.actions)
        said += f"; {counted(sites, 'more site')} would bring {_percent(outcome.after, 'typical')}"
    return said


def _figures(now: Circles, outcome: _Outcome, target_share: float) -> tuple[Figure, ...]:
    span = f"{_percent(now, 'high')} at high delays, {_percent(now, 'low')} at low ones"
    figures = [Figure(value=_percent(now, "typical"), label="access points covered (C2)", detail=span)]
    if outcome.plan is None or outcome.after is None:
        return (*figures, Figure(value="none", label="plan to the target", detail="cannot be reached; see below"))
    plan, later = outcome.plan, _percent(outcome.after, "typical")
    return (
        *figures,
        Figure(value=later, label="covered after the plan", detail=f"target {networks.share(target_share)}"),
        Figure(
            value=f"{len(plan.actions):,}",
            label="sites to build",
            detail=f"{compact(plan.price_cny)} CNY, at the library's price of a site",
        ),
        *([_bound(plan)] if plan.actions else []),
    )


def _bound(plan: Plan) -> Figure:
    proof = plan.proof
    detail = f"no plan needs fewer than {counted(sections.fewest(proof.bound), 'site')}"
    if networks.is_least(plan):
        return Figure(value="proven", label="the fewest sites possible", detail=detail)
    value = at_most(proof.value / proof.bound - 1) if proof.bound > 0 else "unknown"
    return Figure(value=value, label="above the fewest possible, at most", detail=detail)


def _percent(found: Circles, figures: Figures) -> str:
    share = found.shares[figures].pooled_share
    return "unknown" if share is None else networks.share(share)


def _operations(network: str, twin: Twin) -> list[Section]:
    """Where a first job would run and a first request would go, where the network has any."""
    asked: list[tuple[str, str, msgspec.Struct]] = []
    if len(twin["jobs"]):
        asked.append(("A job placed", "assign", AssignQuestion(network=network)))
    if len(twin["endpoints"]):
        asked.append(("A request steered", "steer", SteerQuestion(network=network)))
    return [_operation(title, name, question) for title, name, question in asked]


def _run(question: ReportQuestion) -> Section:
    """What a recorded run of the loop on the same network found and did."""
    start, events, last_hash = whole(question.record)
    began_with(start, question.network, question.record)
    start_s, decided = recorded(Path(question.record))
    answer = {
        "headline": f"What the loop found and did in {counted(len(decided), 'turn')}, in seconds after the start",
        "timeline": msgspec.to_builtins(timeline(decided, start_s)),
        "citation": f"record of {counted(events, 'event')}, ending in {last_hash[:12]}",
    }
    return sections.of_answer("A fault found and mended", answer)


def _operation(title: str, name: str, question: msgspec.Struct) -> Section:
    try:
        answer: Mapping[str, object] = msgspec.to_builtins(run_operation(name, question))
    except KarezError as error:
        return Section(title=title, lead=str(error))
    return sections.of_answer(title, answer)


def _cited(budget: str, revision: Revision) -> str:
    return (
        f"C2 below {budget} one way towards compute, weight access_point, optical layer, pooled, "
        f"low/typical/high of the latency library; {networks.provenance(revision)}"
    )


def _provenance(question: ReportQuestion, revision: Revision) -> tuple[Note, ...]:
    return (
        Note("network", f"revision {revision.number} of {Path(question.network).name or question.network}"),
        Note("source", revision.source),
        Note("note", revision.note or "none"),
        Note("saved at", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(revision.at_s))),
        Note("digest of the data", revision.digest),
        Note("digest of the schema", revision.schema),
        Note("seed", "none" if revision.seed is None else str(revision.seed)),
        Note("synthetic", "yes" if revision.synthetic else "no"),
        Note("version", f"Karez {karez.__version__}"),
        Note("places and coast", sections.attribution(revision.synthetic)),
    )


def _paths(output: str) -> tuple[Path, Path]:
    """The HTML file and the SVG beside it, neither of which exists."""
    html = Path(output)
    if html.suffix.lower() not in (".html", ".htm"):
        raise InputError.of(output, "is not the name of an HTML file", "give a name that ends in .html")
    svg = html.with_suffix(".svg")
    for path in (html, svg):
        networks.refuse_existing(str(path))
    return html, svg


def _write(html: Path, svg: Path, data: ReportData) -> None:
    """Both files or neither."""
    if data.map is None:
        networks.write_new(html, html_report(data).encode())
        return
    networks.write_new(svg, svg_map(data.map).encode())
    try:
        networks.write_new(html, html_report(data).encode())
    except InputError:
        with suppress(OSError):
            svg.unlink()
        raise
