"""The map of all stations as PNG: delays as pixels, rings of the budget, hot spots, compute sites, legend."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from functools import cache, partial

import msgspec
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from karez.measure.kernels import FAR
from karez.operations.render import raster, sections
from karez.operations.render.map import (
    COAST,
    INK,
    LABEL_SIZE,
    LAND,
    MARGIN,
    MARK_RADIUS,
    PAPER,
    QUIET,
    SEA,
    STEPS,
    UNKNOWN,
    WIDTH,
    Label,
    best_spot,
    boxes,
    coast_rings,
)
from karez.operations.render.projection import Frame, fit
from karez.twin.table import Array
from karez.units import NS_PER_US, US_PER_MS

# Below this many pixels to a unit, texts are larger than in scale, and the map itself bears none.
SMALLEST_SCALE = 0.62
EARTH_KM = 6371.0
# The coast is simplified by some kilometres; where they are many pixels it would lie.
COARSEST_COAST_KM = 0.75
FINE = 4
# A map this wide or less is of a town: it shows no less than this, and is this much wider than high at most.
TOWN_KM, SMALLEST_KM, TOWN_HEIGHT = 80.0, 8.0, 1.25
RING, BUDGET_RING, CASING = 0.7, 1.6, 0.9
SPOT_RADIUS = 9.0
MANY_MARKS, SMALLEST_MARK, LARGEST_MARK = 80, 0.5, 1.5
BADGE, BADGE_WIDTH = "#b3261e", 116.0
TITLE_SIZE, TITLE_LINE, SUBTITLE_SIZE, SUBTITLE_LINE = 21.0, 27.0, 13.5, 19.0
COMPRESSION = 4
# By band: within the budget calm, beyond it bright, as on the map of metropolises.
BAND_COLOURS = (*reversed(STEPS), UNKNOWN)
# Tried in this order where Pillow's own font lacks a letter: accents first, then Chinese, on Linux, Windows, macOS.
MORE_FONTS = (
    "DejaVuSans.ttf",
    "LiberationSans-Regular.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "msyh.ttc",
    "simsun.ttc",
    "PingFang.ttc",
    "Arial Unicode.ttf",
)
LACKING = "\uffff"
Point = tuple[float, float]
Box = tuple[int, int, int, int]


class Spot(msgspec.Struct, frozen=True):
    """A place to name: position (degrees), what is written there, and what instead where no font can write that."""

    lon: float
    lat: float
    text: str
    plain: str = ""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """All that one picture shows: stations and compute sites in columns, positions in degrees, delays in int32 ns."""

    title: str
    lon: Array
    lat: Array
    oneway_ns: Array
    budget_ns: int
    site_lon: Array
    site_lat: Array
    spots: Sequence[Spot] = ()
    subtitle: str = ""
    attribution: str = ""
    synthetic: bool = False
    width: int = 1_600


class Layout(msgspec.Struct, frozen=True):
    """Where things are: the map's frame, its pixels to a unit, those of texts, its top edge and height in pixels."""

    frame: Frame
    scale: float
    text: float
    width: int
    top: int
    height: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the map in pixels."""
        return self.height, self.width

    @property
    def km_a_unit(self) -> float:
        """How long a unit of the map is, in km."""
        return EARTH_KM / self.frame.scale


def png(image: Image.Image) -> bytes:
    """An image as a PNG file; the same image gives the same bytes."""
    done = io.BytesIO()
    image.save(done, "PNG", compress_level=COMPRESSION)
    return done.getvalue()


def drawn(picture: Picture) -> Image.Image:
    """The picture as an image (RGB), `width` wide and as high as it must be; the order of stations does not matter."""
    layout = arranged(picture)
    key_top = layout.top + layout.height
    key = Image.new("RGB", (layout.width, layout.width), PAPER)
    key_height = _key(key, picture, layout)
    page = Image.new("RGB", (layout.width, key_top + key_height), PAPER)
    _head(page, picture, layout)
    page.paste(_map(picture, layout), (0, layout.top))
    page.paste(key.crop((0, 0, layout.width, key_height)), (0, key_top))
    return page


def arranged(picture: Picture) -> Layout:
    """Where the parts of the picture lie."""
    frame = _framed(picture.lon, picture.lat)
    scale = picture.width / WIDTH
    text = max(scale, SMALLEST_SCALE)
    lines = len(_title_lines(picture, text)) * TITLE_LINE + len(_subtitle_lines(picture, text)) * SUBTITLE_LINE
    return Layout(frame, scale, text, picture.width, round((18 + lines) * text), round(frame.height * scale))


def _framed(lon: Array, lat: Array) -> Frame:
    """The frame that holds all stations; a town fills it as well as a nation."""
    frame = fit(lon, lat, width=WIDTH, margin=MARGIN)
    if EARTH_KM / frame.scale * WIDTH > TOWN_KM:
        return frame
    x, y = frame.projection.plane(lon, lat)
    across, down = (max(float(np.ptp(part)), SMALLEST_KM / EARTH_KM) for part in (x, y))
    inner = WIDTH - 2 * MARGIN
    scale = inner / max(across, down * TOWN_HEIGHT)
    height = max(down * scale, inner / TOWN_HEIGHT) + 2 * MARGIN
    middle_x, middle_y = (float(part.min() + part.max()) / 2 for part in (x, y))
    return Frame(frame.projection, scale, middle_x - WIDTH / 2 / scale, middle_y + height / 2 / scale, height)


def has_coast(layout: Layout) -> bool:
    """Whether the map is of a scale at which its coast is not too coarse."""
    return layout.km_a_unit >= COARSEST_COAST_KM


def _map(picture: Picture, layout: Layout) -> Image.Image:
    image = _ground(layout)
    at = raster.pixels(layout.frame, picture.lon, picture.lat, shape=layout.shape, scale=layout.scale)
    least = raster.least_ns(at, picture.oneway_ns, shape=layout.shape)
    core, radius = raster.dot_sizes(len(at), shape=layout.shape, unit=layout.scale)
    dots = raster.dots(least, core, radius)
    _colour(image, raster.bands(dots, picture.budget_ns))
    if layout.scale >= SMALLEST_SCALE:
        cell = raster.ring_cell(dots, len(at), unit=layout.scale)
        _rings(image, raster.rings(dots, picture.budget_ns, cell), layout.scale)
    _marks(image, picture, layout)
    if layout.scale >= SMALLEST_SCALE:
        _scale_bar(image, layout)
        for label in _labels(picture, layout):
            _label(image, label, layout)
    return image


def _ground(layout: Layout) -> Image.Image:
    """Land and sea with the coast between them, or land alone."""
    size = (layout.width, layout.height)
    if not has_coast(layout):
        return Image.new("RGB", size, LAND)
    image = Image.new("RGB", (2 * size[0], 2 * size[1]), SEA)
    pen = ImageDraw.Draw(image)
    shore = max(round(1.6 * layout.scale), 1)
    for ring in coast_rings():
        x, y = (2 * layout.scale * each for each in layout.frame.place(ring[:, 0], ring[:, 1]))
        if x.max() > 0 and y.max() > 0 and x.min() < image.width and y.min() < image.height:
            outline = list(zip(x.tolist(), y.tolist(), strict=True))
            pen.polygon(outline, fill=LAND)
            pen.line(outline, fill=COAST, width=shore)
    return image.reduce(2)


def _colour(image: Image.Image, band: Array) -> None:
    """Paint each pixel that has a band in the band's colour."""
    colours = np.array([_rgb(colour) for colour in BAND_COLOURS], np.uint8)
    painted = np.asarray(image).copy()
    there = band != raster.EMPTY
    painted[there] = colours[band[there]]
    image.paste(Image.fromarray(painted))


def _rings(image: Image.Image, away: Array, scale: float) -> None:
    """Draw each ring as a light line in a dark casing, to show on every colour; that of the budget is wider."""
    half = np.full((raster.BANDS, 1, 1), RING * scale / 2, np.float32)
    half[-1] = BUDGET_RING * scale / 2
    edge = (away - half).min(axis=0)
    for more, colour in ((CASING * scale / 2, INK), (0.0, PAPER)):
        cover = np.clip(np.float32(0.5 + more) - edge, 0, 1) * np.float32(255)
        image.paste(Image.new("RGB", image.size, colour), (0, 0), Image.fromarray(cover.astype(np.uint8)))


def _marks(image: Image.Image, picture: Picture, layout: Layout) -> None:
    """A diamond at each compute site that the map shows."""
    x, y = _sites_shown(picture, layout)
    size = layout.text * _mark_size(len(x))
    for right, down in zip((x * layout.scale).tolist(), (y * layout.scale).tolist(), strict=True):
        _diamond(image, right, down, size)


def _sites_shown(picture: Picture, layout: Layout) -> tuple[Array, Array]:
    """The places of the compute sites that lie on the map, in units."""
    x, y = layout.frame.place(picture.site_lon, picture.site_lat)
    inside = (x >= 0) & (x < WIDTH) & (y >= 0) & (y < layout.frame.height)
    return x[inside], y[inside]


def _mark_size(marks: int) -> float:
    """How large marks are, so that many do not hide the map and one is not overlooked."""
    return min(max(math.sqrt(MANY_MARKS / max(marks, 1)), SMALLEST_MARK), LARGEST_MARK)


def _diamond(image: Image.Image, right: float, down: float, scale: float) -> None:
    for radius, colour in ((MARK_RADIUS + 1.0, PAPER), (MARK_RADIUS - 0.8, INK)):
        stamp = _diamond_mask(radius * scale)
        corner = (round(right - stamp.width / 2), round(down - stamp.height / 2))
        image.paste(colour, (*corner, corner[0] + stamp.width, corner[1] + stamp.height), stamp)


@cache
def _diamond_mask(radius: float) -> Image.Image:
    half = math.ceil(radius)
    mask = Image.new("L", (2 * half * FINE, 2 * half * FINE))
    middle, reach = half * FINE, radius * FINE
    corners = [(middle - reach, middle), (middle, middle - reach), (middle + reach, middle), (middle, middle + reach)]
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    return mask.reduce(FINE)


def _labels(picture: Picture, layout: Layout) -> list[Label]:
    """The names that find a place, in the order of the spots; no two meet."""
    x, y = layout.frame.place(np.array([s.lon for s in picture.spots]), np.array([s.lat for s in picture.spots]))
    sites = _sites_shown(picture, layout)
    obstacles = boxes(*sites, MARK_RADIUS * _mark_size(len(sites[0])))
    rims = boxes(x, y, SPOT_RADIUS)
    placed: list[Label] = []
    for spot, right, down in zip(picture.spots, x.tolist(), y.tolist(), strict=True):
        words = spot.text if _font_for(spot.text, LABEL_SIZE) else spot.plain or spot.text
        taken = np.array([label.box for label in placed]).reshape(-1, 4)
        hidden = np.concatenate([obstacles, rims])
        found = best_spot(words, (right, down, SPOT_RADIUS), taken, hidden, layout.frame.height)
        placed += [found] if found else []
    return placed


def _label(image: Image.Image, label: Label, layout: Layout) -> None:
    """A rim around the spot, the name with a halo, and a line between them where they are apart."""
    x, y, radius = (part * layout.scale for part in label.target)
    around = (x - radius, y - radius, x + radius, y + radius)
    end = (label.x * layout.scale, label.y * layout.scale)
    apart = math.dist((x, y), end)
    box = _box(*around, *end, pad=4 * layout.scale)

    def draw(pen: ImageDraw.ImageDraw, into: Callable[[float, float], Point], scale: float) -> None:
        for width, colour in ((3.2, PAPER), (1.4, INK)):
            stroke = round(width * scale)
            pen.ellipse((*into(*around[:2]), *into(*around[2:])), outline=colour, width=stroke)
            if apart > radius + 14 * layout.scale:
                part = radius / apart
                start = (x + (end[0] - x) * part, y + (end[1] - y) * part)
                pen.line((*into(*start), *into(*end)), fill=colour, width=stroke)

    _fine(image, box, lambda pen, into: draw(pen, into, FINE * layout.scale))
    anchor = {"start": "lm", "middle": "mm", "end": "rm"}[label.anchor]
    _write(image, end, label.text, LABEL_SIZE * layout.scale, anchor=anchor, bold=True, halo=2.2 * layout.scale)


def _scale_bar(image: Image.Image, layout: Layout) -> None:
    """A bar of a round length in the lower left corner."""
    wanted = layout.km_a_unit * WIDTH / 6
    tens = 10.0 ** math.floor(math.log10(wanted))
    km = next(tens * step for step in (5, 2, 1) if tens * step <= wanted)
    u = layout.scale
    left, bottom, length = 20 * u, image.height - 16 * u, km / layout.km_a_unit * u
    pen = ImageDraw.Draw(image)
    stroke = max(round(1.4 * u), 1)
    ends = [(left, bottom - 5 * u), (left, bottom), (left + length, bottom), (left + length, bottom - 5 * u)]
    pen.line(ends, fill=INK, width=stroke)
    _write(image, (left + length / 2, bottom - 4 * u), f"{km:g} km", 11 * u, anchor="ms", halo=1.5 * u)


def _head(page: Image.Image, picture: Picture, layout: Layout) -> None:
    u, y = layout.text, 8.0
    for line in _title_lines(picture, u):
        y += TITLE_LINE
        _write(page, (MARGIN * u, (y - 2) * u), line, TITLE_SIZE * u, bold=True)
    for line in _subtitle_lines(picture, u):
        y += SUBTITLE_LINE
        _write(page, (MARGIN * u, y * u), line, SUBTITLE_SIZE * u, colour=QUIET)
    if picture.synthetic:
        right = page.width - MARGIN * u
        box = (right - BADGE_WIDTH * u, 14 * u, right, 42 * u)
        _fine(
            page,
            _box(*box, pad=2),
            lambda pen, into: pen.rounded_rectangle((*into(*box[:2]), *into(*box[2:])), 4 * u * FINE, fill=BADGE),
        )
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        _write(page, middle, "SYNTHETIC", 15 * u, anchor="mm", colour=PAPER, bold=True)


def _key(image: Image.Image, picture: Picture, layout: Layout) -> int:
    """Draw the legend at the top of an image that has room for it; how high it is with what comes below."""
    u, edge = layout.text, MARGIN * layout.text
    y = _strip(image, picture, edge, 12 * u, u)
    x = edge
    for width, text, swatch in _entries(picture, layout):
        needed = (width + 8) * u + _length(text, 13 * u)
        if x > edge and x + needed > image.width - edge:
            x, y = edge, y + 25 * u
        swatch(image, x, y + 11 * u)
        _write(image, (x + (width + 8) * u, y + 11 * u), text, 13 * u, anchor="lm")
        x += needed + 20 * u
    y += 40 * u
    for line in _wrapped(_credits(picture, layout), 11 * u, image.width - 2 * edge):
        _write(image, (edge, y), line, 11 * u, colour=QUIET)
        y += 15 * u
    return round(y)


def _credits(picture: Picture, layout: Layout) -> str:
    return f"{picture.attribution} {sections.COAST if has_coast(layout) else ''}".strip()


def _strip(image: Image.Image, picture: Picture, x: float, y: float, u: float) -> float:
    """The colours of the bands side by side with the delays between them; where the next row begins."""
    pen = ImageDraw.Draw(image)
    width = min(104 * u, (image.width - 2 * x) / len(STEPS))
    for step, colour in enumerate(BAND_COLOURS[: len(STEPS)]):
        pen.rectangle((round(x + step * width), round(y), round(x + (step + 1) * width) - 1, round(y + 14 * u)), colour)
    words = ["0", *(_ms(picture.budget_ns * step / raster.BANDS) for step in range(1, raster.BANDS + 1))]
    for step, word in enumerate(words):
        _write(image, (x + step * width, y + 28 * u), word, 13 * u, anchor="ms" if step else "ls")
    end = x + len(STEPS) * width
    _write(image, (end, y + 28 * u), "longer", 13 * u, anchor="rs")
    return y + 42 * u


def _entries(picture: Picture, layout: Layout) -> list[tuple[float, str, Callable[[Image.Image, float, float], None]]]:
    """What the legend says below the strip: width of the swatch in units, words, and what draws it at its left end."""
    u = layout.text
    found: list[tuple[float, str, Callable[[Image.Image, float, float], None]]] = []
    if layout.scale >= SMALLEST_SCALE:
        steps = ", ".join(_ms(picture.budget_ns * step / raster.BANDS, unit="") for step in range(1, raster.BANDS))
        found.append((26, f"ring of {steps} ms", partial(_ring_swatch, u=u, width=RING)))
        found.append(
            (26, f"ring of {_ms(picture.budget_ns)}, the budget", partial(_ring_swatch, u=u, width=BUDGET_RING))
        )
    sites = len(_sites_shown(picture, layout)[0])
    if sites:
        words = f"compute site ({sites:,})"
        found.append((12, words, lambda image, x, y: _diamond(image, x + 6 * u, y, u)))
    if (picture.oneway_ns >= FAR).any():
        found.append((14, "no way to compute", partial(_box_swatch, u=u)))
    return found


def _ring_swatch(image: Image.Image, x: float, y: float, *, u: float, width: float) -> None:
    def draw(pen: ImageDraw.ImageDraw, into: Callable[[float, float], Point]) -> None:
        for wide, colour in ((width + CASING, INK), (width, PAPER)):
            half = wide * u / 2
            pen.rectangle((*into(x, y - half), *into(x + 26 * u, y + half)), fill=colour)

    _fine(image, _box(x, y, x + 26 * u, y, pad=4 * u), draw)


def _box_swatch(image: Image.Image, x: float, y: float, *, u: float) -> None:
    ImageDraw.Draw(image).rectangle((round(x), round(y - 7 * u), round(x + 14 * u), round(y + 7 * u)), UNKNOWN)


def _ms(value_ns: float, unit: str = " ms") -> str:
    return f"{value_ns / NS_PER_US / US_PER_MS:.4g}{unit}"


def _title_lines(picture: Picture, u: float) -> list[str]:
    return _wrapped(picture.title, TITLE_SIZE * u, _head_width(picture, u))


def _subtitle_lines(picture: Picture, u: float) -> list[str]:
    return _wrapped(picture.subtitle, SUBTITLE_SIZE * u, _head_width(picture, u))


def _head_width(picture: Picture, u: float) -> float:
    """How wide the words of the head may be: beside the badge, if there is one."""
    return picture.width - (2 * MARGIN + (BADGE_WIDTH + 16 if picture.synthetic else 0)) * u


def _wrapped(words: str, size: float, width: float) -> list[str]:
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        lines = [*lines[:-1], longer] if lines and _length(longer, size) <= width else [*lines, word]
    return lines


def _write(
    image: Image.Image,
    place: Point,
    words: str,
    size: float,
    *,
    anchor: str = "ls",
    colour: str = INK,
    bold: bool = False,
    halo: float = 0.0,
) -> None:
    """Write on an image; the font has one weight, so bold is a thin outline."""
    pen, font = ImageDraw.Draw(image), _font(words, size)
    weight = size / 36 if bold else 0.0
    if halo:
        pen.text(place, words, PAPER, font, anchor, stroke_width=halo + weight, stroke_fill=PAPER)
    pen.text(place, words, colour, font, anchor, stroke_width=weight, stroke_fill=colour)


def _length(words: str, size: float) -> float:
    # Bold letters are as far apart as others, and a little of their outline is beyond the last.
    return _font(words, size).getlength(words) + size / 18


def _font(words: str, size: float) -> ImageFont.FreeTypeFont:
    """A font for these words: the first that has every letter, else Pillow's own."""
    return _font_for(words, size) or _fonts(size)[0]


def _font_for(words: str, size: float) -> ImageFont.FreeTypeFont | None:
    return next((font for font in _fonts(size) if all(_has(font, letter) for letter in words)), None)


@cache
def _fonts(size: float) -> tuple[ImageFont.FreeTypeFont, ...]:
    """Pillow's own font, which has the letters of English, and those of this machine that have more."""
    own = ImageFont.load_default(size)
    assert isinstance(own, ImageFont.FreeTypeFont)
    return (own, *(font for name in MORE_FONTS for font in _of_system(name, size)))


def _of_system(name: str, size: float) -> list[ImageFont.FreeTypeFont]:
    try:
        return [ImageFont.truetype(name, size)]
    except OSError:
        return []


@cache
def _has(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    """Whether the font has a picture of the letter other than that of what it lacks."""
    return letter.isspace() or bytes(font.getmask(letter)) != bytes(font.getmask(LACKING))


def _fine(
    image: Image.Image, box: Box, draw: Callable[[ImageDraw.ImageDraw, Callable[[float, float], Point]], object]
) -> None:
    """Draw within a box of the image at `FINE` times its resolution, so that edges are smooth."""
    part = image.crop(box)
    part = part.resize((part.width * FINE, part.height * FINE), Image.Resampling.NEAREST)
    draw(ImageDraw.Draw(part), lambda x, y: ((x - box[0]) * FINE, (y - box[1]) * FINE))
    image.paste(part.reduce(FINE), box[:2])


def _box(*edges: float, pad: float) -> Box:
    """The box of whole pixels around points x, y, x, y ..., and a margin."""
    x, y = edges[::2], edges[1::2]
    return (
        math.floor(min(x) - pad),
        math.floor(min(y) - pad),
        math.ceil(max(x) + pad),
        math.ceil(max(y) + pad),
    )


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))
