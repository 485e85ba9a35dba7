"""The map of all stations: pixel by pixel, cell by cell, and what is refused."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from karez.errors import InputError, KarezError
from karez.importers.generate import nation
from karez.measure import reach
from karez.measure.circles import WEIGHT_SCALE, circles, compute_sites, points
from karez.measure.kernels import FAR
from karez.operations import MapQuestion
from karez.operations import map as map_operation
from karez.operations.render import cells, picture, raster
from karez.operations.render.map import LAND, STEPS, UNKNOWN
from karez.operations.render.picture import Picture, Spot
from karez.twin import Table, Twin, store
from karez.twin.states import initial_states
from karez.twin.table import Array

# Not a plain import: the library says nothing of its types.
h3 = import_module("h3")
NOTHING = raster.NOTHING
BUDGET_NS = 1_000_000


def far_apart(**changes: Any) -> Picture:
    """Six stations hundreds of km apart, one for each colour, and a site far from all of them."""
    values: dict[str, Any] = {
        "title": "A title",
        "lon": np.array([90.0, 96.0, 102.0, 108.0, 114.0, 114.0]),
        "lat": np.array([30.0, 40.0, 30.0, 40.0, 30.0, 36.0]),
        "oneway_ns": np.array([249_999, 250_000, 749_999, 999_999, 1_000_000, FAR], np.int32),
        "budget_ns": BUDGET_NS,
        "site_lon": np.array([100.0]),
        "site_lat": np.array([45.0]),
        "width": 800,
    }
    return Picture(**(values | changes))


def colours_at_stations(shown: Picture, image: Image.Image) -> list[str]:
    layout = picture.arranged(shown)
    x, y = layout.frame.place(shown.lon, shown.lat)
    places = zip((x * layout.scale).astype(int), (y * layout.scale).astype(int) + layout.top, strict=True)
    found = [image.getpixel((int(right), int(down))) for right, down in places]
    return ["#" + bytes(each).hex() for each in found if isinstance(each, tuple)]


def test_the_pixel_of_a_station_has_the_colour_of_its_band() -> None:
    shown = far_apart()
    calm = [STEPS[4], STEPS[3], STEPS[2], STEPS[1], STEPS[0], UNKNOWN]
    assert colours_at_stations(shown, picture.drawn(shown)) == calm
    twice = far_apart(budget_ns=2 * BUDGET_NS)
    within = [STEPS[4], STEPS[4], STEPS[3], STEPS[3], STEPS[2], UNKNOWN]
    assert colours_at_stations(twice, picture.drawn(twice)) == within


def test_in_a_shared_pixel_the_least_delay_wins() -> None:
    found = raster.least_ns(np.array([3, 3, -1, 0]), np.array([700, 200, 1, 900], np.int32), shape=(2, 2))
    assert found.tolist() == [[900, NOTHING], [NOTHING, 200]]
    one = far_apart(lon=np.full(6, 104.0), lat=np.full(6, 34.0))
    assert set(colours_at_stations(one, picture.drawn(one))) == {STEPS[4]}


def test_a_dot_never_hides_the_pixel_of_a_neighbour_unless_cores_meet() -> None:
    row = np.array([[NOTHING, 500, NOTHING, NOTHING, NOTHING, 100, NOTHING]], np.int32)
    assert raster.dots(row, 0, 1).tolist() == [[500, 500, 500, NOTHING, 100, 100, 100]]
    assert raster.dots(row, 0, 2).tolist() == [[500, 500, 500, 100, 100, 100, 100]]
    close = np.array([[500, 100, NOTHING]], np.int32)
    assert raster.dots(close, 0, 1).tolist() == [[500, 100, 100]]
    assert raster.dots(close, 1, 1).tolist() == [[100, 100, 100]]


@given(st.integers(1, 9), st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_dots_are_as_the_nearest_station(stations: int, seed: int, radius: int) -> None:
    rng = np.random.default_rng(seed)
    field = np.full((12, 15), NOTHING, np.int32)
    field.ravel()[rng.choice(field.size, stations, replace=False)] = rng.integers(1, 50, stations)
    found = raster.dots(field, 0, radius)
    down, right = np.nonzero(field != NOTHING)
    for place in np.ndindex(*field.shape):
        square = (down - place[0]) ** 2 + (right - place[1]) ** 2
        nearest = square.min()
        near = field[down[square == nearest], right[square == nearest]].min()
        assert found[place] == (near if nearest <= radius * radius + radius / 2 else NOTHING)


def test_a_band_ends_just_below_its_share_of_the_budget() -> None:
    delays = np.array([[0, 249, 250, 499, 500, 750, 998, 999, int(FAR), NOTHING]], np.int32)
    assert raster.bands(delays, 999).tolist() == [[0, 0, 1, 1, 2, 3, 3, 4, 5, 6]]


def test_rings_lie_where_the_least_delay_passes_a_quarter_of_the_budget() -> None:
    slope = np.broadcast_to(np.arange(600, dtype=np.int32) * 2_500, (200, 600)).copy()
    away = raster.rings(slope, BUDGET_NS, 4)
    assert away.shape == (4, 200, 600)
    # Cells know the least of their pixels, so rings lie within a cell of where they belong.
    assert np.abs(away[:, 100].argmin(axis=1) - [100, 200, 300, 400]).max() <= 4
    slope[:, 250:] = NOTHING
    away = raster.rings(slope, BUDGET_NS, 4)
    assert np.isfinite(away[:2, 100, :240]).all()
    assert np.isinf(away[:, 100, 270:]).all()


def test_rings_show_on_the_picture_around_a_site() -> None:
    lon, lat = (part.ravel() for part in np.meshgrid(np.linspace(116, 117, 200), np.linspace(39.5, 40.5, 200)))
    away = np.hypot((lon - 116.5) * 0.77, lat - 40.0)
    shown = far_apart(lon=lon, lat=lat, oneway_ns=(away * 3_000_000).astype(np.int32), width=700)
    image, layout = picture.drawn(shown), picture.arranged(shown)
    middle = np.asarray(image)[layout.top + layout.height // 2]
    known = [bytes.fromhex(colour[1:]) for colour in (*STEPS, LAND)]
    lines = np.flatnonzero([bytes(pixel) not in known for pixel in middle])
    # Four rings, each crossed twice.
    assert 1 + int((np.diff(lines) > 3).sum()) == 8


def test_the_order_of_stations_does_not_change_a_byte() -> None:
    rng = np.random.default_rng(5)
    lon, lat, oneway_ns = rng.uniform(100, 120, 3_000), rng.uniform(25, 40, 3_000), rng.integers(0, 2**21, 3_000)
    order = rng.permutation(3_000)
    both = [
        picture.png(picture.drawn(far_apart(lon=lon[o], lat=lat[o], oneway_ns=oneway_ns[o].astype(np.int32))))
        for o in (np.arange(3_000), order)
    ]
    assert both[0] == both[1]


def test_a_picture_is_a_sound_png_of_any_width() -> None:
    spots = [Spot(114.0, 30.0, "Wuhan 0 %"), Spot(90.0, 30.0, "拉萨 50 %", "m1 50 %")]
    for width in (200, 333, 1_600):
        image = Image.open(io.BytesIO(picture.png(picture.drawn(far_apart(width=width, spots=spots, synthetic=True)))))
        image.load()
        assert (image.format, image.mode, image.width) == ("PNG", "RGB", width)
    badge = tuple(bytes.fromhex("b3261e"))
    assert badge in {colour for _, colour in image.getcolors(1 << 20) or []}
    plain = picture.drawn(far_apart(width=333))
    assert badge not in {colour for _, colour in plain.getcolors(1 << 20) or []}


def test_names_and_marks_change_the_picture_where_they_are() -> None:
    bare, named = far_apart(), far_apart(spots=[Spot(108.0, 40.0, "Ordos 12 %")])
    changed = np.argwhere((np.asarray(picture.drawn(bare)) != np.asarray(picture.drawn(named))).any(axis=2))
    layout = picture.arranged(bare)
    x, y = layout.frame.place(np.array([108.0]), np.array([40.0]))
    place = np.array([float(y[0]) * layout.scale + layout.top, float(x[0]) * layout.scale])
    assert len(changed)
    assert np.abs(changed - place).max() < 150


def test_a_town_fills_its_map() -> None:
    town = far_apart(lon=np.linspace(116.3, 116.5, 6), lat=np.linspace(39.8, 40.0, 6))
    layout = picture.arranged(town)
    x, _ = layout.frame.place(town.lon, town.lat)
    y = layout.frame.place(town.lon, town.lat)[1]
    assert np.ptp(y) > 0.8 * layout.frame.height
    assert x.min() >= 0
    assert not picture.has_coast(layout)
    assert picture.has_coast(picture.arranged(far_apart()))


def gathered(lon: Array, lat: Array, oneway_ns: Array, weight: Array, resolution: int) -> dict[str, Any]:
    found = cells.gathered(lon, lat, oneway_ns, weight, budget_ns=BUDGET_NS, resolution=resolution)
    whole: dict[str, Any] = json.loads(cells.geojson(found, synthetic=True, citation="how"), parse_constant=pytest.fail)
    return whole


@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_cells_account_for_every_station(stations: int, seed: int, resolution: int) -> None:
    rng = np.random.default_rng(seed)
    lon, lat = rng.uniform(100, 104, stations), rng.uniform(30, 33, stations)
    delay = np.where(rng.random(stations) < 0.2, FAR, rng.integers(0, 2 * BUDGET_NS, stations)).astype(np.int32)
    weight = rng.integers(0, 3, stations) * WEIGHT_SCALE
    whole = gathered(lon, lat, delay, weight, resolution)
    rows = [feature["properties"] for feature in whole["features"]]
    assert sum(row["stations"] for row in rows) == stations
    assert sum(row["weight"] for row in rows) == weight.sum() / WEIGHT_SCALE
    home = np.array([h3.latlng_to_cell(*place, resolution) for place in zip(lat, lon, strict=True)])
    for row in rows:
        mine = home == row["cell"]
        within = weight[mine & (delay < BUDGET_NS)].sum()
        reached = delay[mine & (delay < FAR)] / 1_000
        assert row["covered_share"] == (pytest.approx(within / weight[mine].sum()) if weight[mine].any() else None)
        assert row["least_oneway_us"] == (pytest.approx(reached.min()) if len(reached) else None)
        assert row["median_oneway_us"] == (pytest.approx(np.median(reached)) if len(reached) else None)
    order = rng.permutation(stations)
    assert gathered(lon[order], lat[order], delay[order], weight[order], resolution) == whole


def rings_of(geometry: dict[str, Any]) -> list[list[list[float]]]:
    parts = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    return [part[0] for part in parts]


def area(ring: Sequence[Sequence[float]]) -> float:
    """Twice the area of a ring, positive where it is counter-clockwise."""
    x, y = np.array(ring).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())


@given(st.floats(-180, 180), st.floats(-90, 90), st.integers(0, 6))
@settings(max_examples=300, deadline=None)
def test_outlines_are_closed_counter_clockwise_and_within_the_world(lon: float, lat: float, resolution: int) -> None:
    cell = h3.latlng_to_cell(lat, lon, resolution)
    rings = rings_of(cells.geometry(h3.str_to_int(cell)))
    for ring in rings:
        assert ring[0] == ring[-1]
        assert area(ring) > 0
        assert all(-180 <= x <= 180 and -90 <= y <= 90 for x, y in ring)


@pytest.mark.parametrize(("lon", "lat"), [(179.999, 65.0), (-179.999, -17.0), (180.0, 0.0), (0.0, 90.0), (0.0, -90.0)])
def test_a_cell_on_the_antimeridian_or_a_pole_is_split_and_keeps_its_size(lon: float, lat: float) -> None:
    cell = h3.latlng_to_cell(lat, lon, 3)
    rings = rings_of(cells.geometry(h3.str_to_int(cell)))
    assert len(rings) == 2
    edges = {x for ring in rings for x, _ in ring if abs(x) == 180}
    assert edges == {-180.0, 180.0}
    if abs(lat) < 90:
        corners = [(x % 360, y) for y, x in h3.cell_to_boundary(cell)]
        assert sum(map(area, rings)) == pytest.approx(area([*corners, corners[0]]), rel=1e-4)
    else:
        assert all(any(y == lat for _, y in ring) for ring in rings)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("map") / "net"
    _saved(folder, nation(stations=20_000, sites=30, seed=3))
    return folder


def _saved(folder: Path, twin: Twin) -> Path:
    store.save(
        initial_states(twin), folder, at_s=1.0, note="made by hand", source="made by hand", synthetic=True, seed=3
    )
    return folder


def ask(network: Path, output: Path, **more: Any) -> map_operation.MapAnswer:
    return map_operation.run(MapQuestion(network=str(network), output=str(output), **more))


def test_the_cells_of_a_network_sum_to_its_stations_and_to_circles(network: Path, tmp_path: Path) -> None:
    answer = ask(network, tmp_path / "map.geojson", budget_us=800.0, resolution=5)
    whole = json.loads((tmp_path / "map.geojson").read_bytes())
    rows = [feature["properties"] for feature in whole["features"]]
    twin = nation(stations=20_000, sites=30, seed=3)
    theirs = circles(twin, budget_us=800.0, weight="station")
    assert sum(row["stations"] for row in rows) == answer.stations == 20_000
    assert sum(row["weight"] for row in rows) == pytest.approx(twin["stations"]["weight"].sum(), abs=0.02)
    covered = sum(row["weight"] * row["covered_share"] for row in rows) / answer.weight
    assert covered == pytest.approx(theirs.shares["typical"].pooled_share, abs=1e-6)
    assert answer.covered_share == pytest.approx(covered, abs=1e-9)
    assert len(rows) == answer.cells == len({row["cell"] for row in rows})
    assert answer.format == "GeoJSON"
    assert whole["synthetic"] is True
    assert whole["citation"] == answer.citation
    assert "synthetic" in answer.headline
    assert "20,000 stations" in answer.headline


def test_a_metro_alone_can_be_shown(network: Path, tmp_path: Path) -> None:
    twin = nation(stations=20_000, sites=30, seed=3)
    metro = twin["metros"].ids[0].decode()
    mine = points(twin, "station").metro == 0
    answer = ask(network, tmp_path / "metro.geojson", metro=metro)
    rows = [f["properties"] for f in json.loads((tmp_path / "metro.geojson").read_bytes())["features"]]
    assert sum(row["stations"] for row in rows) == answer.stations == int(mine.sum())
    delays = reach.typical(twin, points(twin, "station")).delays_ns(compute_sites(twin))[mine]
    assert min(row["least_oneway_us"] for row in rows) == delays.min() / 1_000
    image = ask(network, tmp_path / "metro.png", metro=metro, width=400)
    with Image.open(tmp_path / "metro.png") as file:
        assert file.size == (image.width, image.height)
    assert twin["metros"]["name"][0].decode() in image.headline


def test_the_same_revision_gives_the_same_bytes(network: Path, tmp_path: Path) -> None:
    for suffix in (".png", ".geojson"):
        first, second = tmp_path / f"1{suffix}", tmp_path / f"2{suffix}"
        assert ask(network, first, width=300).headline == ask(network, second, width=300).headline
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("name", ["map.jpg", "map", "map.json", ""])
def test_another_format_is_refused_with_both_names(network: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"\.png nor \.geojson"):
        ask(network, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_file_that_exists_is_refused_before_the_network_is_read(tmp_path: Path) -> None:
    (tmp_path / "map.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="exists already"):
        ask(tmp_path / "no network", tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes() == b"mine"


def test_an_unknown_metro_is_told_with_close_names(network: Path, tmp_path: Path) -> None:
    for wrong in ("Bejing", "beijing"):
        with pytest.raises(InputError, match=r"did you mean gn1816670 \(Beijing\)"):
            ask(network, tmp_path / "map.png", metro=wrong)
    with pytest.raises(InputError, match="give an id of table metros"):
        ask(network, tmp_path / "map.png", metro="######")


def test_a_network_with_nothing_to_show_is_refused_with_what_to_do(tmp_path: Path) -> None:
    twin = nation(stations=20_000, sites=30, seed=3)
    empty = [Table.of(name) for name in ("servers", "equipment", "server_states", "equipment_states", "endpoints")]
    bare = _saved(tmp_path / "bare", Twin({name: twin[name] for name in ("provinces", "metros", "sites")}))
    shut = _saved(tmp_path / "shut", twin.replace(*empty))
    weightless = twin["stations"].set(np.arange(20_000), weight=np.zeros(20_000))
    light = _saved(tmp_path / "light", twin.replace(weightless))
    for folder, what in ((bare, "has no stations"), (shut, "has no compute; add servers"), (light, "without weight")):
        with pytest.raises(InputError, match=what):
            ask(folder, tmp_path / "map.png")
    with pytest.raises(InputError, match="has no stations in the metro"):
        ask(bare, tmp_path / "map.png", metro=twin["metros"].ids[0].decode())


@pytest.mark.parametrize(("suffix", "library", "module"), [("png", "PIL", "picture"), ("geojson", "h3", "cells")])
def test_a_missing_library_is_told_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, library: str, module: str
) -> None:
    for name in [name for name in sys.modules if name == library or name.startswith(f"{library}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, f"karez.operations.render.{module}")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(KarezError, match=r"needs? (pillow|h3); install karez\[draw\]"):
        ask(tmp_path, tmp_path / f"map.{suffix}")
