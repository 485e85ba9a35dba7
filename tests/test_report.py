"""The picture and the page: what they hold, and that they neither load nor run anything from outside."""

from __future__ import annotations

import json
import math
import re
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.instances.ring import ring
from karez import operations
from karez.errors import InputError
from karez.measure import reach
from karez.measure.circles import circles, compute_sites, fixed, points
from karez.measure.delay import FIGURES
from karez.operations import GenerateQuestion, ReportQuestion, networks
from karez.operations.render import map as picture
from karez.operations.render import stations
from karez.operations.render.cost import CostData, svg_cost
from karez.operations.render.curve import CurveData, every, svg_curve
from karez.operations.render.html import (
    ColumnData,
    Figure,
    Form,
    Note,
    RangeData,
    ReportData,
    Section,
    TableData,
    formatted,
    html_report,
)
from karez.operations.render.map import (
    STEPS,
    UNKNOWN,
    MapData,
    Marks,
    Metros,
    colour,
    frame_of,
    hot_labels,
    station_legend,
    svg_map,
    svg_plot,
)
from karez.operations.render.projection import Frame, fit
from karez.operations.render.sections import of_answer
from karez.plan.coverage import Ask, coverage
from karez.plan.sites import price_of_site_cny
from karez.twin.facts import library
from karez.twin.schema import is_state
from karez.twin.store import save

CHROMIUM = Path("/usr/bin/chromium")
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</script><script>document.documentElement.dataset.hacked='yes'</script><img src=http://evil.test/>\"'&\x00"
VOID = {"meta", "link", "img", "br", "hr", "input"}

share = st.one_of(st.floats(0, 1), st.just(math.nan))
metro = st.tuples(st.floats(-180, 180), st.floats(-85, 85), st.text(max_size=12), st.floats(0, 1e9), share)


def nation() -> MapData:
    """Every place of the library; the 60 largest have a site, the next 40 are to get one."""
    places = library("places_cn")
    lon, lat = [float(p["lon"]) for p in places], [float(p["lat"]) for p in places]
    names = [p["name"] for p in places]

    def marks(rows: range) -> Marks:
        return Marks(lon=[lon[i] for i in rows], lat=[lat[i] for i in rows], name=[names[i] for i in rows])

    covered = np.random.default_rng(1).random(len(places)).tolist()
    weight = [float(p["population"]) for p in places]
    return MapData(
        title="Nation",
        subtitle="C2, one way",
        metros=Metros(lon=lon, lat=lat, name=names, weight=weight, covered_share=covered),
        existing=marks(range(60)),
        planned=marks(range(60, 100)),
        synthetic=True,
        attribution="Places: GeoNames, CC BY 4.0. Coast: Natural Earth.",
    )


def page(text: str = "plain", *, synthetic: bool = True, chart: MapData | None = None) -> ReportData:
    """A report in which every text is `text`."""
    table = TableData(
        caption=text,
        columns=(ColumnData(text), ColumnData(text, "share"), ColumnData(text, "count")),
        rows=((text, 0.25, 3), (text, math.nan, 12), (text, 1.0, -math.inf)),
        sortable=True,
    )
    section = Section(
        title=text,
        lead=text,
        ranges=(RangeData(label=text, low=0.1, typical=0.5, high=0.9, target=0.75),),
        curves=(curve(text),),
        costs=(costs(text),),
        tables=(table,),
        notes=(Note(text, text),),
        citation=text,
    )
    return ReportData(
        title=text,
        headline=text,
        figures=(Figure(value=text, label=text, detail=text),),
        map=chart or one_metro(text),
        sections=(section,),
        provenance=(Note(text, text),),
        synthetic=synthetic,
    )


def curve(text: str = "curve", *, upto_us: float = 2_000.0, mark_us: float = 1_000.0) -> CurveData:
    """A straight line to all at the largest budget, with a tenth more or less at low and high delays."""
    budgets = [upto_us * step / 20 for step in range(1, 21)]
    shares = [step / 20 for step in range(1, 21)]
    return CurveData(
        label=text,
        budgets_us=budgets,
        at_high=[0.9 * share for share in shares],
        typical=shares,
        at_low=[min(1.1 * share, 1.0) for share in shares],
        mark_us=mark_us,
        target_share=0.75,
    )


def costs(text: str = "costs") -> CostData:
    """From 60 % today: a site at 70 %, at least 3 of 4 at 80 %, and 16 at 90 %; all candidates reach 98 %."""
    return CostData(
        label=text,
        today_share=0.6,
        shares=(0.7, 0.8, 0.9),
        sites=(1, 4, 16),
        least=(1, 3, 16),
        most_share=0.98,
        target_share=0.8,
    )


def one_metro(text: str) -> MapData:
    metros = Metros(lon=[116.4], lat=[39.9], name=[text], weight=[1.0], covered_share=[0.5])
    site = Marks(lon=[116.4], lat=[39.9], name=[text])
    return MapData(title=text, subtitle=text, metros=metros, existing=site, planned=site, attribution=text)


class Outline(HTMLParser):
    """Every element of a page with its attributes, and that all are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def drawn(svg: str, group: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(svg)
    return next(element for element in root.iter(f"{SVG}g") if element.get("class") == group).findall("*")


def test_every_metropolis_is_drawn_once_and_the_picture_stays_small() -> None:
    data = nation()
    svg = svg_map(data)
    titles = [circle.findtext(f"{SVG}title", "").partition(":")[0] for circle in drawn(svg, "metros")]
    assert sorted(titles) == sorted(data.metros.name)
    assert len(drawn(svg, "existing")) == 60
    assert len(drawn(svg, "planned")) == 40
    assert len(svg.encode()) < 600_000


def test_a_circle_is_in_the_colour_of_its_covered_share_and_its_area_goes_with_its_weight() -> None:
    metros = Metros(lon=[100, 110], lat=[30, 35], name=["a", "b"], weight=[1.0, 4.0], covered_share=[0.1, 0.95])
    large, small = drawn(svg_map(MapData(title="t", metros=metros)), "metros")
    assert (large.get("fill"), small.get("fill")) == (colour(0.95), colour(0.1))
    assert float(large.get("r", 0)) == pytest.approx(2 * float(small.get("r", 0)))


def test_the_scale_grows_darker_with_coverage_so_that_it_reads_in_grey() -> None:
    def luminance(code: str) -> float:
        red, green, blue = (int(code[i : i + 2], 16) for i in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    steps = [luminance(colour(s)) for s in (0.0, 0.2, 0.4, 0.6, 0.8)]
    assert all(light - dark > 10 for light, dark in pairwise(steps))
    assert colour(1.0) == colour(0.81)
    assert colour(math.nan) not in {colour(s / 10) for s in range(11)}


def test_the_picture_says_synthetic_only_where_the_data_is() -> None:
    data = nation()
    assert "SYNTHETIC" in svg_map(data)
    assert "SYNTHETIC" not in svg_map(msgspec.structs.replace(data, synthetic=False))


def test_the_ten_metropolises_with_most_uncovered_weight_are_labelled_and_no_labels_meet() -> None:
    data = nation()
    uncovered = np.array(data.metros.weight) * (1 - np.array(data.metros.covered_share))
    hottest = [data.metros.name[i] for i in np.argsort(-uncovered)[:10]]
    labels = hot_labels(data)
    assert [label.text.rpartition(" %")[0].rpartition(" ")[0] for label in labels] == hottest
    for i, one in enumerate(labels):
        assert 0 <= one.box[0] < one.box[2] <= picture.WIDTH
        for other in labels[:i]:
            apart = one.box[2] <= other.box[0] or other.box[2] <= one.box[0]
            assert apart or one.box[3] <= other.box[1] or other.box[3] <= one.box[1]


def test_a_covered_nation_has_no_hot_spots() -> None:
    metros = Metros(lon=[100, 110], lat=[30, 35], name=["a", "b"], weight=[1.0, 4.0], covered_share=[1.0, 1.0])
    assert hot_labels(MapData(title="t", metros=metros)) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(metro, max_size=12), st.text(max_size=20))
def test_any_places_and_names_make_well_formed_pictures_with_all_of_them_inside(
    rows: list[tuple[float, float, str, float, float]], title: str
) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 5
    names = ("lon", "lat", "name", "weight", "covered_share")
    metros = msgspec.convert(dict(zip(names, columns, strict=True)), Metros)
    circles = drawn(svg_map(MapData(title=title, metros=metros, synthetic=True)), "metros")
    assert len(circles) == len(rows)
    for circle in circles:
        assert -0.1 <= float(circle.get("cx", "nan")) <= picture.WIDTH + 0.1
        assert float(circle.get("cy", "nan")) >= -0.1


def scattered(count: int, seed: int = 1) -> tuple[Frame, dict[str, np.ndarray]]:
    """Stations all over the picture of the nation, and that picture."""
    rng = np.random.default_rng(seed)
    columns = {
        "lon": rng.uniform(75, 130, count),
        "lat": rng.uniform(20, 50, count),
        "weight": rng.integers(0, 4, count).astype(float),
        "covered": rng.random(count) < 0.6,
    }
    edge = stations.outermost(columns["lon"], columns["lat"])
    extent = Marks(lon=columns["lon"][edge].tolist(), lat=columns["lat"][edge].tolist())
    return frame_of(msgspec.structs.replace(nation(), extent=extent)), columns


def walked(path: str) -> list[tuple[int, int, int]]:
    """Where each of a path's parts begins, and how wide it is (0: a point)."""
    x = y = 0
    found = []
    for right, down, wide in re.findall(r"m(-?\d+) (-?\d+)(?:h(\d+)v1h-\d+)?z", path):
        x, y = x + int(right), y + int(down)
        found.append((x, y, int(wide or 0)))
    return found


def coloured(svg: str, name: str) -> dict[str, list[tuple[int, int, int]]]:
    paths = ElementTree.fromstring(svg).findall("path")
    assert all(re.fullmatch(r"(m-?\d+ -?\d+(h\d+v1h-\d+)?z)+", path.get("d", "")) for path in paths)
    return {path.get(name, ""): walked(path.get("d", "")) for path in paths}


def test_few_stations_are_points_where_they_lie_in_the_colour_of_covered_or_not() -> None:
    frame, columns = scattered(3_000)
    layer = stations.station_layer(frame, **columns)
    found = coloured(layer.svg, "stroke")
    x, y = frame.place(columns["lon"], columns["lat"])
    for held, fill in ((True, STEPS[-1]), (False, STEPS[0])):
        mine = columns["covered"] == held
        expected = {(round(a / 0.05), round(b / 0.05), 0) for a, b in zip(x[mine], y[mine], strict=True)}
        assert set(found[fill]) == expected
        assert len(found[fill]) == len(expected)
    assert (layer.stations, layer.cell_km) == (3_000, 0.0)
    assert [item.text for item in station_legend(layer)] == [
        f"station covered ({columns['covered'].sum():,})",
        f"station not covered ({(~columns['covered']).sum():,})",
    ]


def test_many_stations_are_cells_in_the_colour_of_their_weight_that_is_covered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stations, "MOST_POINTS", 1_000)
    frame, columns = scattered(8_000)
    layer = stations.station_layer(frame, **columns)
    side = float(re.search(r"scale\(([\d.]+)\)", layer.svg)[1])  # type: ignore[index]
    found = {
        (x + i, y): fill
        for fill, runs in coloured(layer.svg, "fill").items()
        for x, y, wide in runs
        for i in range(wide)
    }
    total: dict[tuple[int, int], list[float]] = {}
    x, y = frame.place(columns["lon"], columns["lat"])
    for a, b, weight, held in zip(x, y, columns["weight"], columns["covered"], strict=True):
        cell = total.setdefault((int(a // side), int(b // side)), [0.0, 0.0])
        cell[0] += weight
        cell[1] += weight * held
    assert found == {cell: colour(held / weight) if weight else UNKNOWN for cell, (weight, held) in total.items()}
    assert layer.cell_km == pytest.approx(side / frame.scale * 6371, rel=1e-3)


@pytest.mark.parametrize(("count", "most_bytes"), [(60_000, 800_000), (60_001, 500_000), (400_000, 500_000)])
def test_stations_take_little_however_many_and_wherever_they_are(count: int, most_bytes: int) -> None:
    frame, columns = scattered(count)
    layer = stations.station_layer(frame, **columns)
    assert len(layer.svg) < most_bytes
    assert bool(layer.cell_km) == (count > stations.MOST_POINTS)
    cells = coloured(layer.svg, "fill") if layer.cell_km else {}
    assert sum(wide for runs in cells.values() for _, _, wide in runs) <= stations.MOST_CELLS


def test_every_station_lies_within_the_picture() -> None:
    frame, columns = scattered(5_000)
    x, y = frame.place(columns["lon"], columns["lat"])
    assert (x >= 0).all()
    assert (x <= picture.WIDTH).all()
    assert (y >= 0).all()
    assert (y <= frame.height).all()


def test_no_station_is_no_layer_of_the_picture_and_no_button() -> None:
    nothing = np.zeros(0)
    layer = stations.station_layer(frame_of(nation()), nothing, nothing, weight=nothing, covered=nothing.astype(bool))
    text = html_report(page(chart=msgspec.structs.replace(nation(), stations=layer)))
    assert "<path stroke" not in layer.svg
    assert '<button type="button" data-layer' not in text
    assert station_legend(layer) == []


def test_the_stations_lie_under_the_metropolises_of_the_page_and_not_in_the_picture_beside_it() -> None:
    chart = with_stations(2_000)
    plot = svg_plot(chart)
    assert plot.index('class="land"') < plot.index('class="stations points"') < plot.index('class="metros"')
    assert 'class="stations' not in svg_map(chart)


def with_stations(count: int) -> MapData:
    _, columns = scattered(count)
    return msgspec.structs.replace(nation(), stations=stations.station_layer(frame_of(nation()), **columns))


def test_the_curve_goes_from_nothing_to_its_last_value_between_its_axes() -> None:
    root = ElementTree.fromstring(svg_curve(curve(), label="curve").partition("<ul")[0])
    paths = {path.get("class"): path.get("d", "") for path in root.iter("path") if path.get("class") != "grid"}
    points = [tuple(map(float, pair.split())) for pair in paths["line"].strip("M").split("L")]
    assert len(points) == 21
    assert points[0] == (62.0, 278.0)
    assert points[-1] == (744.0, 26.0)
    assert [round(y) for x, y in points if round(x) == 403] == [152]
    assert paths["mark"].startswith("M403.0 ")
    assert paths["target"].startswith("M62 89.0H")
    assert paths["band"].count("L") == 2 * 20
    words = ["".join(text.itertext()) for text in root.iter("text")]
    assert words == [
        *("0 %", "25 %", "50 %", "75 %", "100 %", "share covered"),
        *("0", "0.5", "1", "1.5", "2", "budget, ms", "target 75 %", "budget 1 ms"),
    ]


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-3, 1e9), st.floats(0, 1))
def test_any_budget_gets_axes_with_few_round_steps_and_lies_in_the_picture(mark_us: float, target: float) -> None:
    data = msgspec.structs.replace(curve(upto_us=2 * mark_us, mark_us=mark_us), target_share=target)
    root = ElementTree.fromstring(svg_curve(data, label="curve").partition("<ul")[0])
    middle = [text for text in root.iter("text") if text.get("text-anchor") == "middle"]
    assert 4 <= len(middle) - 1 <= 9
    for text in root.iter("text"):
        assert 0 <= float(text.get("x", "nan")) <= 760
        assert 0 <= float(text.get("y", "nan")) <= 330


def test_the_table_of_a_curve_has_every_so_many_of_its_points() -> None:
    assert every(curve(), 10) == [(1_000.0, 0.45, 0.5, 0.55), (2_000.0, 0.9, 1.0, 1.0)]


def test_the_chart_of_costs_goes_through_every_plan_and_its_band_down_to_what_is_proven() -> None:
    root = ElementTree.fromstring(svg_cost(costs(), label="costs").partition("<ul")[0])
    paths = {path.get("class"): path.get("d", "") for path in root.iter("path") if path.get("class") != "grid"}
    plan, least = walked_to(paths["line"]), walked_to(paths["least"])
    dots = [(float(dot.get("cx", "nan")), float(dot.get("cy", "nan"))) for dot in root.iter("circle")]
    assert plan[1:] == dots
    # The axes are from 60 to 100 % and from 0 to 20 sites.
    across, down = (744 - 62) / 0.4, (278 - 26) / 20
    wanted = [(0.6, 0), (0.7, 1), (0.8, 4), (0.9, 16)]
    assert np.allclose(plan, [(62 + across * (share - 0.6), 278 - down * sites) for share, sites in wanted], atol=0.06)
    assert [least[0], least[1], least[3]] == [plan[0], plan[1], plan[3]]
    assert np.allclose(least[2], (62 + across * 0.2, 278 - down * 3), atol=0.06)
    assert walked_to(paths["band"].removesuffix("z")) == [*plan, *least[::-1]]
    words = ["".join(text.itertext()) for text in root.iter("text")]
    for word in (
        "sites to build",
        "share covered",
        "1",
        "4",
        "16",
        "today 60.0 %",
        "target 80.0 %",
        "all candidates 98.0 %",
    ):
        assert word in words


def walked_to(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split() for pair in path.strip("M").split("L"))]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=3, max_size=6, unique=True), st.integers(0, 10**6), st.data())
def test_any_costs_lie_in_the_picture(millionths: list[int], target: int, data: st.DataObject) -> None:
    today, *shares, most = (share / 1e6 for share in sorted(millionths))
    sites = sorted(data.draw(st.lists(st.integers(0, 10**5), min_size=len(shares), max_size=len(shares))))
    chart = CostData(
        label="any",
        today_share=today,
        shares=shares,
        sites=sites,
        least=[number // 2 for number in sites],
        most_share=most,
        target_share=target / 1e6,
    )
    root = ElementTree.fromstring(svg_cost(chart, label="any").partition("<ul")[0])
    for text in root.iter("text"):
        assert 0 <= float(text.get("x", "nan")) <= 760
        assert 0 <= float(text.get("y", "nan")) <= 330
    ticks = [text for text in root.iter("text") if text.get("text-anchor") == "middle"]
    assert len(ticks) <= 11
    assert ("target" in "".join(root.itertext())) == any(path.get("class") == "target" for path in root.iter("path"))


def test_areas_keep_their_proportion_on_the_map() -> None:
    lon, lat = np.array([75.0, 134.0]), np.array([18.0, 53.0])
    frame = fit(lon, lat, width=1000, margin=0)

    def square(west: float, south: float, side: float) -> float:
        t = np.linspace(0, side, 200)
        ring_lon = np.r_[west + t, np.full(200, west + side), west + side - t, np.full(200, west)]
        ring_lat = np.r_[np.full(200, south), south + t, np.full(200, south + side), south + side - t]
        x, y = frame.place(ring_lon, ring_lat)
        return float(abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2)

    def on_sphere(south: float, side: float) -> float:
        return math.radians(side) * (math.sin(math.radians(south + side)) - math.sin(math.radians(south)))

    ratios = [square(west, south, 3) / on_sphere(south, 3) for west, south in ((75, 20), (105, 35), (128, 48))]
    assert max(ratios) / min(ratios) == pytest.approx(1, abs=1e-3)


def test_the_page_refers_to_nothing_outside_itself() -> None:
    text = html_report(page(chart=nation()))
    for tag, attributes in Outline(text).elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        assert not {"src", "srcset", "action", "data", "xlink:href"} & attributes.keys(), (tag, attributes)
        assert attributes.get("href", "#").startswith("#"), (tag, attributes)
    assert not re.search(r"@import|url\(", text)
    assert set(re.findall(r"https?://[^\s\"'<>]+", text)) == {"http://www.w3.org/2000/svg"}


def test_text_of_strangers_stays_text() -> None:
    plain, hostile = Outline(html_report(page("plain"))), Outline(html_report(page(HOSTILE)))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    for (_, attributes), (_, expected) in zip(hostile.elements, plain.elements, strict=True):
        assert attributes.keys() == expected.keys()
    assert "hacked" in "".join(hostile.words)
    ElementTree.fromstring(svg_map(one_metro(HOSTILE)))


def test_the_page_carries_its_figures_for_programs() -> None:
    text = html_report(page(HOSTILE))
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', text, re.DOTALL)
    assert found
    body = json.loads(found[1])
    assert body["headline"] == HOSTILE
    assert body["sections"][0]["tables"][0]["rows"][0] == [HOSTILE, 0.25, 3]


def test_the_page_says_synthetic_only_where_the_data_is() -> None:
    assert "SYNTHETIC" in html_report(page(synthetic=True))
    assert "SYNTHETIC" not in html_report(page(synthetic=False))


def test_the_same_report_is_the_same_bytes() -> None:
    assert html_report(page(chart=nation())) == html_report(page(chart=nation()))


@pytest.mark.parametrize(
    ("cell", "form", "text"),
    [
        (0.6123, "share", "61.2 %"),
        (1234567, "count", "1,234,567"),
        (math.nan, "share", "unknown"),
        (math.inf, "number", "∞"),
        (0.00012345, "number", "0.0001234"),
        (True, "text", "yes"),
        ("x", "share", "x"),
    ],
)
def test_cells_are_written_as_people_read_them(cell: float | str, form: str, text: str) -> None:
    assert formatted(cell, msgspec.convert(form, Form)) == text


def test_any_answer_becomes_a_section_with_its_lists_as_tables() -> None:
    rows = [{"id": "a", "covered_share": 0.5}, {"id": "b", "covered_share": 0.25, "why": "far"}]
    answer = {"headline": "h", "citation": "c", "meets_target": None, "price_cny": 12.5, "rules": [], "metros": rows}
    section = of_answer("t", answer)
    assert (section.lead, section.citation) == ("h", "c")
    assert [(note.term, note.meaning) for note in section.notes] == [("price, CNY", "12.5"), ("rules", "none")]
    assert section.tables[0].columns == (ColumnData("id"), ColumnData("covered share", "share"), ColumnData("why"))
    assert list(map(list, section.tables[0].rows)) == [["a", 0.5, ""], ["b", 0.25, "far"]]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("networks") / "small"
    operations.run("generate", GenerateQuestion(output=str(folder), stations=20_000, sites=30, seed=3))
    return str(folder)


def test_a_report_of_a_network_shows_every_metropolis_and_the_figures_that_circles_gives(
    network: str, tmp_path: Path
) -> None:
    output = tmp_path / "report.html"
    answer = operations.run("report", ReportQuestion(network=network, output=str(output)))
    world, revision = networks.load(network)
    share = circles(world.intended, budget_us=1_000.0).shares["typical"].pooled_share
    assert share is not None
    assert answer.headline.startswith(f"Synthetic: {100 * share:.1f} % of access points")
    assert revision.digest[:12] in answer.citation
    svg = output.with_suffix(".svg").read_text("utf-8")
    assert len(drawn(svg, "metros")) == len(world["metros"])
    assert len(drawn(svg, "existing")) == 30
    text = output.read_text("utf-8")
    why = "C3 is 0 % upward because the loaded 5G uplink alone takes"
    for words in (f"{100 * share:.1f} %", revision.digest, "SYNTHETIC", "What to build", "A job placed", why):
        assert words in text
    layer = re.search(r"station covered \(([\d,]+)\).*station not covered \(([\d,]+)\)", text)
    assert layer
    assert sum(int(number.replace(",", "")) for number in layer.groups()) == 20_000


def test_the_curve_of_a_report_is_that_of_circles_and_of_the_curve(network: str, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    operations.run("report", ReportQuestion(network=network, output=str(output), budget_us=800.0))
    found = re.search(r'id="report-data">(.*?)</script>', output.read_text("utf-8"), re.DOTALL)
    assert found
    section = next(s for s in json.loads(found[1])["sections"] if s["title"] == "Coverage by budget")
    drawn_curve = msgspec.convert(section["curves"][0], CurveData)
    world, _ = networks.load(network)
    shares = circles(world.intended, budget_us=800.0).shares
    at = drawn_curve.budgets_us.index(800.0)
    assert [drawn_curve.at_low[at], drawn_curve.typical[at], drawn_curve.at_high[at]] == pytest.approx(
        [shares[figures].pooled_share for figures in FIGURES]
    )
    counted = points(world.intended, "access_point")
    below = reach.typical(world.intended, counted).curve(compute_sites(world.intended), 8_000, 200).sum(axis=0)
    assert drawn_curve.typical == pytest.approx((below / fixed(counted.weight).sum()).tolist())
    assert len(section["tables"][0]["rows"]) == 20
    assert "C2 below each budget one way" in section["citation"]


def told(text: str) -> dict[str, dict[str, object]]:
    """The sections of a page by title, as it carries them for programs."""
    found = re.search(r'id="report-data">(.*?)</script>', text, re.DOTALL)
    assert found
    return {section["title"]: section for section in json.loads(found[1])["sections"]}


def test_the_report_says_what_each_site_alone_brings_and_how_the_plan_was_proven(network: str, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    operations.run("report", ReportQuestion(network=network, output=str(output), target_share=0.95))
    section = msgspec.convert(told(output.read_text("utf-8"))["What to build"], Section)
    world, revision = networks.load(network)
    found = coverage(world, Ask(targets=((1_000.0, 0.95),)), at_s=revision.at_s, effort="searched")
    sites, rungs = section.tables[0], section.tables[1]
    alone = {row[0]: row[3] for row in sites.rows}
    assert alone == {action.subject: found.marginal_share[action.subject] for action in found.plan.actions}
    assert list(alone.values()) == sorted(alone.values(), reverse=True)
    assert sum(float(row[4]) for row in sites.rows) == found.plan.price_cny
    assert [row[0] for row in rungs.rows] == [rung.name for rung in found.rungs]
    assert [row[2] for row in rungs.rows][-1] == len(found.plan.actions)
    for _, _, number, least, gap in rungs.rows:
        assert gap == pytest.approx((int(number) - int(least)) / int(number))
    assert "assumption" in {note.term: note.meaning for note in section.notes}["price"]


def test_the_chart_of_costs_has_what_planning_for_each_share_alone_gives(network: str, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    operations.run("report", ReportQuestion(network=network, output=str(output), target_share=0.95))
    section = msgspec.convert(told(output.read_text("utf-8"))["What coverage costs"], Section)
    (chart,), (table,) = section.costs, section.tables
    world, revision = networks.load(network)
    assert 0.95 in chart.shares
    assert section.lead.endswith(
        "All sites are taken at the library's price, so the cheapest plan is the one with the fewest."
    )
    assert len(chart.shares) >= 4
    for share, number, least in zip(chart.shares, chart.sites, chart.least, strict=True):
        found = coverage(world, Ask(targets=((1_000.0, share),)), at_s=revision.at_s, effort="searched")
        assert found.before_share[0] == pytest.approx(chart.today_share)
        assert len(found.plan.actions) == number
        assert least == round(found.plan.proof.bound / price_of_site_cny())
        assert least <= number
    assert [tuple(row[:3]) for row in table.rows] == list(zip(chart.shares, chart.sites, chart.least, strict=True))


def test_costs_are_shown_where_the_target_cannot_be_reached_or_is_there_already(network: str, tmp_path: Path) -> None:
    for budget_us, target_share, says in ((50.0, 1.0, "cannot be reached"), (1_000.0, 0.05, "0 sites")):
        output = tmp_path / f"{target_share}.html"
        asked = ReportQuestion(network=network, output=str(output), target_share=target_share, budget_us=budget_us)
        operations.run("report", asked)
        sections = told(output.read_text("utf-8"))
        assert says in str(sections["What to build"]["lead"])
        assert sections["What coverage costs"]["costs"]


def test_a_network_without_a_site_to_build_still_gets_a_report(network: str, tmp_path: Path) -> None:
    world, _ = networks.load(network)
    sites = world.intended["sites"]
    core = np.flatnonzero(sites["kind"] == b"core")
    twin = world.intended.replace(sites.set(core, kind="aggregation"))
    save(twin, tmp_path / "full", at_s=0.0, note="", source="a user", synthetic=False)
    output = tmp_path / "report.html"
    operations.run("report", ReportQuestion(network=str(tmp_path / "full"), output=str(output)))
    sections = told(output.read_text("utf-8"))
    assert "no site that may be built" in str(sections["What to build"]["lead"])
    assert "What coverage costs" not in sections


@pytest.mark.parametrize("budget_us", [0.001, 3e6])
def test_a_report_of_an_odd_budget_has_a_curve_all_the_same(network: str, tmp_path: Path, budget_us: float) -> None:
    output = tmp_path / "report.html"
    operations.run("report", ReportQuestion(network=network, output=str(output), budget_us=budget_us))
    assert 'class="curve"' in output.read_text("utf-8")


def test_the_same_revision_gives_the_same_report(network: str, tmp_path: Path) -> None:
    one, other = tmp_path / "one.html", tmp_path / "other.html"
    for output in (one, other):
        operations.run("report", ReportQuestion(network=network, output=str(output)))
    assert one.read_bytes() == other.read_bytes()


def test_a_target_out_of_reach_is_said_in_the_report(network: str, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    operations.run("report", ReportQuestion(network=network, output=str(output), budget_us=1.0))
    assert "cannot be reached" in output.read_text("utf-8")


def test_a_network_of_a_user_without_access_points_still_gets_a_report(tmp_path: Path) -> None:
    world = ring()
    twin = world.intended.replace(*(table for table in world.actual.tables.values() if is_state(table.name)))
    save(twin, tmp_path / "ring", at_s=0.0, note="", source="a user", synthetic=False)
    output = tmp_path / "report.html"
    answer = operations.run("report", ReportQuestion(network=str(tmp_path / "ring"), output=str(output)))
    assert answer.headline == "No access points in the network: what is within reach of compute is unknown"
    text = output.read_text("utf-8")
    assert "SYNTHETIC" not in text
    assert "GeoNames" not in text
    assert "Coverage by budget" not in text


def test_a_report_overwrites_nothing_and_leaves_nothing_half_done(network: str, tmp_path: Path) -> None:
    for name, taken in (("a.html", "a.html"), ("b.html", "b.svg")):
        (tmp_path / taken).write_text("mine")
        with pytest.raises(InputError, match="exists already"):
            operations.run("report", ReportQuestion(network=network, output=str(tmp_path / name)))
        assert (tmp_path / taken).read_text() == "mine"
    for name in ("c.pdf", "no/such/folder/d.html", ""):
        with pytest.raises(InputError):
            operations.run("report", ReportQuestion(network=network, output=str(tmp_path / name) if name else ""))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.svg"]


@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium at /usr/bin/chromium (make system)")
def test_a_browser_runs_the_page_without_an_error_and_runs_nothing_of_strangers(tmp_path: Path) -> None:
    root, dom = browsed(html_report(page(HOSTILE, chart=nation())), tmp_path)
    assert "data-hacked" not in root
    # The script has taken the titles of all circles and sites for its own tooltips, so it has seen every one.
    assert dom.count("title") == 1


@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium at /usr/bin/chromium (make system)")
@pytest.mark.parametrize("count", [2_000, 61_000])
def test_in_a_browser_metropolises_and_stations_can_be_hidden_and_shown_again(count: int, tmp_path: Path) -> None:
    text = html_report(page(chart=with_stations(count)))
    browsed(text, tmp_path / "as it is")
    # The page's own policy would not let these presses run.
    presses = """<script>
        const says = [], seen = (name) => getComputedStyle(document.querySelector(name)).display !== "none";
        const look = () => says.push([seen(".map .metros"), seen(".map .stations")].map(Number).join(""));
        look();
        for (const layer of ["metros", "stations", "metros", "stations"]) {
          const button = document.querySelector(`[data-layer=${layer}]`);
          button.click();
          look();
          says.push(button.getAttribute("aria-pressed") === "true" ? "+" : "-");
        }
        document.querySelector("[data-zoom='1.6']").click();
        document.documentElement.dataset.says = says.join(" ");
        </script></body>"""
    open_text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text).replace("</body>", presses)
    root, _ = browsed(open_text, tmp_path / "pressed")
    assert root["data-says"] == "11 01 - 00 - 10 + 11 +"


def browsed(text: str, folder: Path) -> tuple[dict[str, str], Outline]:
    """What the root element says after the page has run in a browser without an error, and the whole of it."""
    folder.mkdir(exist_ok=True)
    file = folder / "report.html"
    file.write_text(text, "utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [*command, "--enable-logging=stderr", "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    dom = Outline(done.stdout)
    root = next(attributes for tag, attributes in dom.elements if tag == "html")
    assert root.get("data-ready") == "yes", done.stderr
    assert "data-error" not in root, root
    assert "CONSOLE" not in done.stderr, done.stderr
    return root, dom
