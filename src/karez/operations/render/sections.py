"""Answers as parts of a report: plain tables and words, made from what questions and planners return."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from karez.measure.circles import Circles, Mover, Shares, compute_sites
from karez.measure.delay import FIGURES, Figures
from karez.operations.networks import air, counted, duration, proven
from karez.operations.render.cost import CostData
from karez.operations.render.curve import CurveData, every
from karez.operations.render.html import Cell, ColumnData, Form, Note, RangeData, Section, TableData, formatted
from karez.operations.render.map import MapData, Marks, Metros, frame_of
from karez.operations.render.stations import outermost, station_layer
from karez.plan.coverage import Coverage
from karez.plan.plan import Plan
from karez.plan.sites import price_of_site_cny
from karez.twin import Twin
from karez.twin.table import Array, text
from karez.units import FEN_PER_CNY

SHOWN_ROWS, SHOWN_MOVERS, SHOWN_EVERY = 300, 3, 10
# What rounding may do to a number of sites.
ROUNDING = 1e-6
UNITS = {
    "_cny_per_mtoken": ", CNY per million tokens",
    "_cny": ", CNY",
    "_us": ", us",
    "_ms": ", ms",
    "_s": ", s",
    "_share": " share",
}
RUNGS = {
    "greedy": "again and again the site that brings most for its price",
    "relaxed": "a linear relaxation and its rounding; its duals prove the bound",
    "searched": "sites taken out, and better ones put in",
    "exact": "an integer program on what the bound leaves open",
}
ASSUMED = "an assumption of the library (equipment.csv); your own: karez plan coverage --prices"
ONE_PRICE = "All sites are taken at the library's price, so the cheapest plan is the one with the fewest."
PLACES = "Places: GeoNames, CC BY 4.0."
COAST = "Coast: Natural Earth, public domain. No boundaries are drawn."
WEIGHTS = {
    "access_point": "access points",
    "station": "stations",
    "place": "key places",
    "population": "residents",
}
DEFINITIONS = (
    Note(
        "C1",
        "Compute centre to compute centre in a metropolis, optical layer: the share of unordered pairs of centres "
        "whose one-way delay is below the budget, and the share of metropolises where every pair holds.",
    ),
    Note(
        "C2",
        "Key place to compute resource: the weight of places (integrated access points, where access rings end, "
        "unless another weight is named) whose one-way delay towards the best site is below the budget.",
    ),
    Note("C3", "Application terminal to server: as C2, from the terminal over the air; up and down are shown."),
    Note(
        "one way", "Every delay is one way unless it says round trip: then the least, over the sites, of up and down."
    ),
    Note("pooled", "The share of all weight. In the mean of metros, every metropolis counts the same."),
    Note("low to high", "At the low, typical and high delays of the latency library; low delays give high shares."),
    Note("denominator", "Published nowhere: how the shares are computed is Karez's own definition."),
)
# The sections that name no site, metropolis, job or fault.
SUMS = ("Coverage", "Coverage by budget", "What coverage costs")


def coverage(measured: Sequence[Circles], *, target_share: float, movers: Sequence[Mover], citation: str) -> Section:
    """Coverage by each definition, as ranges and as a table; the first of `measured` is held against the target."""
    ranges = [
        RangeData(
            label=_name(found),
            low=low,
            typical=typical,
            high=high,
            target=target_share if found is measured[0] else None,
        )
        for found in measured
        for low, typical, high in [_pooled(found.shares)]
        if not math.isnan(typical)
    ]
    return Section(
        title="Coverage",
        lead="The three official numbers, each under its own name. The bar runs from high to low delays, the mark is "
        f"the typical delay, and the dotted line is the target.{_air(measured)}",
        ranges=tuple(ranges),
        tables=(_coverage_table(measured), *([_movers_table(movers)] if movers else [])),
        notes=DEFINITIONS,
        citation=citation,
    )


def by_budget(curve: CurveData, *, citation: str) -> Section:
    """The curve of coverage against the budget, and every tenth of its values as a table."""
    columns = columns_of(
        ("budget, us", "number"), ("at high delays", "share"), ("typical", "share"), ("at low delays", "share")
    )
    return Section(
        title="Coverage by budget",
        lead=_reached(curve),
        curves=(curve,),
        tables=(TableData(caption="Share covered below each budget", columns=columns, rows=every(curve, SHOWN_EVERY)),),
        citation=citation,
    )


def provinces(twin: Twin, now: Circles, after: Circles | None, plan: Plan | None, *, citation: str) -> Section:
    """Typical coverage by province, today and after the plan, and the sites there and to come."""
    home = twin.resolve("metros", "province")[twin.resolve("sites", "metro")]
    there = Counter(home[compute_sites(twin)].tolist())
    coming = Counter(home[planned_sites(twin, plan)].tolist())
    later = {region.id: region.covered_share for region in after.provinces} if after else {}
    metros = np.bincount(twin.resolve("metros", "province"), minlength=len(twin["provinces"]))
    rows = []
    for region in sorted(now.provinces, key=lambda region: region.name):
        row = int(twin["provinces"].rows([region.id])[0])
        counts = (int(metros[row]), round(region.weight), there[row], coming[row])
        rows.append((region.name or region.id, *counts, region.covered_share, later.get(region.id, math.nan)))
    columns = columns_of(
        ("province", "text"),
        ("metros", "count"),
        (WEIGHTS[now.weight], "count"),
        ("sites", "count"),
        ("to build", "count"),
        ("covered", "share"),
        ("after the plan", "share"),
    )
    table = TableData(
        caption="Every province at typical delays; press a heading to sort",
        columns=columns,
        rows=rows,
        sortable=True,
    )
    return Section(title="By province", lead=_weakest(now), tables=(table,), citation=citation)


def planned(twin: Twin, found: Coverage | None, why_not: str) -> Section:
    """What to build: the sites and what each alone brings, the bound and what proves it; or why there is no plan."""
    if found is None:
        return Section(title="What to build", lead=why_not)
    plan = found.plan
    tables = (_sites_table(twin, found), _rungs_table(found) if plan.actions else None, _weighed_table(plan))
    return Section(
        title="What to build",
        lead=f"{plan.summary}.",
        tables=tuple(table for table in tables if table and table.rows),
        notes=tuple(Note(*fact) for fact in _plan_facts(found)),
        citation=plan.citation,
    )


def cost(chart: CostData, candidates: int, *, citation: str) -> Section:
    """The chart of sites against the share to be reached, and its values as a table."""
    return Section(
        title="What coverage costs",
        lead=_price_of_more(chart, candidates),
        costs=(chart,),
        tables=(_cost_table(chart),),
        notes=(
            Note("sites", "Each share is planned anew, as if nothing but today's sites were there."),
            Note("between the points", "Nothing is computed there: the lines lead the eye."),
            Note("price", f"{price_of_site_cny():,.0f} CNY a site: {ASSUMED}."),
        ),
        citation=citation,
    )


def fewest(bound_cny: float) -> int:
    """How many sites a bound on the price asks for, at the library's price."""
    return math.ceil(bound_cny / price_of_site_cny() - ROUNDING)


def of_answer(title: str, answer: Mapping[str, object]) -> Section:
    """Any operation's answer, as plain data, as a section: its headline, its fields, its lists as tables.

    A plan is named by what it does only: it is a file of its own, for `karez check` to read.
    """
    fields = {
        name: value for name, value in answer.items() if name not in ("headline", "citation", "meets_target", "plan")
    }
    shown = {name: value for name, value in fields.items() if value not in ("", None)}
    return Section(
        title=title,
        lead=str(answer.get("headline", "")),
        tables=tuple(_table_of(_words(name), value) for name, value in shown.items() if _is_table(value)),
        notes=tuple(Note(_words(name), _said(name, value)) for name, value in shown.items() if not _is_table(value)),
        citation=str(answer.get("citation", "")),
    )


def nation_map(
    twin: Twin, now: Circles, plan: Plan | None, covered: Array, *, title: str, subtitle: str, synthetic: bool
) -> MapData:
    """Every metropolis of the twin by its weight and typical coverage, the sites there and those to build.

    Under them lie the stations; `covered` says of each whether it is.
    """
    drawn = _metros_and_sites(twin, now, plan, title=title, subtitle=subtitle, synthetic=synthetic)
    stations = twin["stations"]
    layer = station_layer(frame_of(drawn), stations["lon"], stations["lat"], weight=stations["weight"], covered=covered)
    return msgspec.structs.replace(drawn, stations=layer)


def _metros_and_sites(
    twin: Twin, now: Circles, plan: Plan | None, *, title: str, subtitle: str, synthetic: bool
) -> MapData:
    metros, stations = twin["metros"], twin["stations"]
    edge = outermost(stations["lon"], stations["lat"])
    found = {region.id: region for region in now.metros}
    regions = [found.get(text(row)) for row in metros.ids]
    return MapData(
        title=title,
        subtitle=subtitle,
        metros=Metros(
            lon=metros["lon"].tolist(),
            lat=metros["lat"].tolist(),
            name=[text(name) or text(row) for name, row in zip(metros["name"], metros.ids, strict=True)],
            weight=[region.weight if region else 0.0 for region in regions],
            covered_share=[region.covered_share if region else math.nan for region in regions],
        ),
        existing=_marks(twin, compute_sites(twin)),
        planned=_marks(twin, planned_sites(twin, plan)),
        extent=Marks(lon=stations["lon"][edge].tolist(), lat=stations["lat"][edge].tolist()),
        weight_name=WEIGHTS[now.weight],
        synthetic=synthetic,
        attribution=attribution(synthetic),
    )


def attribution(synthetic: bool) -> str:
    """Whose places and coast a map shows; synthetic networks stand on places of GeoNames."""
    return f"{PLACES} {COAST}" if synthetic else COAST


def planned_sites(twin: Twin, plan: Plan | None) -> Array:
    """Rows of the sites that the plan orders equipment for, ascending."""
    return np.sort(twin["sites"].rows([action.subject for action in plan.actions] if plan else []))


def _plan_facts(found: Coverage) -> list[tuple[str, str]]:
    plan = found.plan
    before, after = found.before_share[0], found.after_share[0]
    proof = plan.proof
    shown = [
        ("sites to build", f"{len(plan.actions):,}"),
        ("covered", f"{formatted(before, 'share')} before, {formatted(after, 'share')} after"),
    ]
    if plan.actions:
        shown += [
            ("no plan needs fewer than", counted(fewest(proof.bound), "site")),
            ("so this one is", proven(plan)),
            ("price", f"{plan.price_cny:,.0f} CNY, {price_of_site_cny():,.0f} CNY a site: {ASSUMED}"),
        ]
    return [
        *shown,
        ("what proves it", proof.how),
        ("plan", f"{plan.id}, of {len(plan.reads):,} reads; it may be applied while every read holds"),
    ]


def _sites_table(twin: Twin, found: Coverage) -> TableData:
    """The sites that the plan takes, those first that bring most alone."""
    certificate = found.plan.proof.certificate
    prices = dict(zip(certificate["candidates"], certificate["prices_fen"], strict=True))  # type: ignore[arg-type]
    sites = planned_sites(twin, found.plan)
    metro, names = twin.resolve("sites", "metro")[sites], twin["metros"]
    alone = np.array([found.marginal_share[text(site)] for site in twin["sites"].ids[sites]])
    order = np.argsort(-alone, kind="stable")
    rows = [
        (
            text(site),
            text(names["name"][home]) or text(names.ids[home]),
            round(float(names["population"][home])),
            found.marginal_share[text(site)],
            float(prices[text(site)]) / FEN_PER_CNY,
        )
        for site, home in zip(twin["sites"].ids[sites[order]], metro[order], strict=True)
    ]
    columns: tuple[tuple[str, Form], ...] = (
        ("site", "text"),
        ("metropolis", "text"),
        ("residents", "count"),
        ("it alone brings", "share"),
        ("price assumed, CNY", "count"),
    )
    caption = "Sites to build, and the share of all weight that would be lost without each alone"
    return _limited(caption, columns, rows)


def _rungs_table(found: Coverage) -> TableData:
    """What each rung of the ladder left; without its seconds, which no two runs share."""
    site_fen = price_of_site_cny() * FEN_PER_CNY
    rows = []
    for rung in found.rungs:
        sites, least = round(rung.value / site_fen), fewest(max(rung.bound, 0.0) / FEN_PER_CNY)
        rows.append(
            (rung.name, RUNGS[rung.name], sites, min(least, sites), (sites - min(least, sites)) / max(sites, 1))
        )
    columns = columns_of(
        ("rung", "text"),
        ("how", "text"),
        ("sites", "count"),
        ("no plan needs fewer than", "count"),
        ("gap", "share"),
    )
    return TableData(caption="The ladder: the best plan and bound by each rung", columns=columns, rows=rows)


def _weighed_table(plan: Plan) -> TableData:
    return _limited(
        "What else was weighed",
        (("choice", "text"), ("price assumed, CNY", "count"), ("why not", "text")),
        [(other.name, other.score, other.why_not) for other in plan.alternatives],
    )


def _price_of_more(chart: CostData, candidates: int) -> str:
    """What the target takes, what the last step drawn takes, how far all candidates go, and at what price."""
    said = [f"{formatted(chart.today_share, 'share')} are covered today."]
    planned = dict(zip(chart.shares, chart.sites, strict=True))
    if chart.target_share in planned:
        aim = formatted(chart.target_share, "share")
        said.append(f"Reaching {aim} takes {counted(planned[chart.target_share], 'site')}.")
    last = chart.shares[-1]
    if last != chart.target_share:
        said.append(f"Reaching {formatted(last, 'share')} takes {counted(chart.sites[-1], 'site')}.")
    said.append(f"All {counted(candidates, 'candidate')} together reach {formatted(chart.most_share, 'share')}.")
    proven_all = list(chart.sites) == list(chart.least)
    said.append(
        "Every plan is proven: none needs fewer sites." if proven_all else "How far each is proven, the band shows."
    )
    said.append(ONE_PRICE)
    return " ".join(said)


def _cost_table(chart: CostData) -> TableData:
    shares, counts = [chart.today_share, *chart.shares], [0, *chart.sites]
    rows = []
    for at, (share, sites, least) in enumerate(zip(chart.shares, chart.sites, chart.least, strict=True)):
        further = round((sites - counts[at]) / (100 * (share - shares[at])), 2)
        price = sites * price_of_site_cny()
        rows.append((share, sites, least, (sites - least) / max(sites, 1), further, price))
    columns = columns_of(
        ("share to be covered", "share"),
        ("sites to build", "count"),
        ("no plan needs fewer than", "count"),
        ("gap", "share"),
        ("sites for each further %", "number"),
        ("price assumed, CNY", "count"),
    )
    return TableData(caption="Sites for each share, from today's sites on", columns=columns, rows=rows)


def _reached(curve: CurveData) -> str:
    """One sentence: the budget from which typical coverage meets the target."""
    target = formatted(curve.target_share, "share")
    shares = zip(curve.budgets_us, curve.typical, strict=True)
    first = next((budget for budget, covered in shares if covered >= curve.target_share), None)
    if first is None:
        last = f"{duration(curve.budgets_us[-1])}, where it is {formatted(curve.typical[-1], 'share')}"
        return f"At typical delays the target of {target} is not met within {last}."
    return f"At typical delays the target of {target} is met with a budget of {duration(first)}."


def _name(found: Circles) -> str:
    way = "round trip" if found.round_trip else "one way"
    what = "pairs of centres" if found.definition == "C1" else WEIGHTS[found.weight]
    return f"{found.definition} {what}, {way}, below {found.budget_us / 1000:g} ms"


def _air(measured: Sequence[Circles]) -> str:
    """A sentence that says why C3 upward covers nothing, where the air alone takes its budget."""
    return next((f" C3 is 0 % upward {air(found)}." for found in measured if air(found)), "")


def _pooled(shares: Mapping[Figures, Shares]) -> list[float]:
    """Pooled shares, lowest delay last (nan where there is nothing to take a share of)."""
    return sorted(_known(shares[figures].pooled_share) for figures in FIGURES if figures in shares)


def _known(share: float | None) -> float:
    return math.nan if share is None else share


def _coverage_table(measured: Sequence[Circles]) -> TableData:
    rows: list[Sequence[Cell]] = []
    for found in measured:
        rows.append((_name(found), *_row(found.shares)))
        if found.down:
            rows.append((f"{_name(found)}, down", *_row(found.down)))
    columns = columns_of(
        ("share", "text"),
        ("at high delays", "share"),
        ("typical", "share"),
        ("at low delays", "share"),
        ("mean of metros", "share"),
        ("whole metros", "share"),
    )
    return TableData(
        caption="Pooled over the range of the latency library; mean of metros and whole metros at typical delays",
        columns=columns,
        rows=rows,
    )


def _row(shares: Mapping[Figures, Shares]) -> list[Cell]:
    typical = shares["typical"]
    pooled = [_known(shares[figures].pooled_share) for figures in reversed(FIGURES)]
    whole = "" if typical.whole_metros_share is None else typical.whole_metros_share
    return [*pooled, _known(typical.mean_of_metros_share), whole]


def _movers_table(movers: Sequence[Mover]) -> TableData:
    rows = [(m.constant, m.at_high_share, m.at_low_share, m.swing_share) for m in movers[:SHOWN_MOVERS]]
    columns = columns_of(("constant", "text"), ("at its high", "share"), ("at its low", "share"), ("swing", "share"))
    return TableData(caption="The constants that move the first share most, each alone", columns=columns, rows=rows)


def _weakest(now: Circles) -> str:
    """One sentence: the provinces with the most uncovered weight."""
    ordered = sorted(now.provinces, key=lambda region: -region.weight * (1 - region.covered_share))
    named = [
        f"{r.name or r.id} ({formatted(r.covered_share, 'share')} covered)" for r in ordered[:3] if r.covered_share < 1
    ]
    return f"Most of what is not covered lies in {', '.join(named)}." if named else "Every province is wholly covered."


def _marks(twin: Twin, rows: Array) -> Marks:
    sites = twin["sites"]
    names = [text(name) or text(row) for name, row in zip(sites["name"][rows], sites.ids[rows], strict=True)]
    return Marks(lon=sites["lon"][rows].tolist(), lat=sites["lat"][rows].tolist(), name=names)


def columns_of(*named: tuple[str, Form]) -> tuple[ColumnData, ...]:
    """Columns by name and form."""
    return tuple(ColumnData(name, form) for name, form in named)


def _limited(caption: str, named: Sequence[tuple[str, Form]], rows: Sequence[Sequence[Cell]]) -> TableData:
    more = f"; the first {SHOWN_ROWS} of {len(rows):,}" if len(rows) > SHOWN_ROWS else ""
    return TableData(caption=caption + more, columns=columns_of(*named), rows=rows[:SHOWN_ROWS], sortable=True)


def _is_table(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _table_of(caption: str, rows: object) -> TableData:
    assert isinstance(rows, list | tuple)
    names = list(dict.fromkeys(name for row in rows for name in row))
    forms = [_form(name, [row.get(name) for row in rows]) for name in names]
    cells = [[_as_cell(row.get(name)) for name in names] for row in rows]
    return _limited(caption, [(_words(name), form) for name, form in zip(names, forms, strict=True)], cells)


def _form(name: str, values: Sequence[object]) -> Form:
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return "text"
    return "share" if name.endswith("_share") else "number"


def _as_cell(value: object) -> Cell:
    return value if isinstance(value, str | int | float) else _said("", value)


def _said(name: str, value: object) -> str:
    """The value of a field in words; what is nested is listed."""
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(str(part))} {_said(str(part), inner)}" for part, inner in value.items())
    if isinstance(value, list | tuple):
        more = f" and {len(value) - SHOWN_ROWS:,} more" if len(value) > SHOWN_ROWS else ""
        return (", ".join(_said(name, part) for part in value[:SHOWN_ROWS]) or "none") + more
    if isinstance(value, str | int | float):
        return formatted(value, "share" if name.endswith("_share") and not isinstance(value, str) else "number")
    return "" if value is None else str(value)


def _words(name: str) -> str:
    """The name of a field as a heading, with its unit as people write it."""
    for suffix, unit in UNITS.items():
        if name.endswith(suffix):
            name = name.removesuffix(suffix) + unit
    return name.replace("oneway", "one way").replace("_", " ")
