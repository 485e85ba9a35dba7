"""What coverage costs: sites against the share to be reached, with what is proven of each, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from karez.operations.render.curve import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, round_step

SITE_TICKS = 5
# Labels of upright lines stand in rows of their own, so that no two meet: y of each.
ALL_Y, TARGET_Y, TODAY_Y = TOP - 8, TOP + 14, TOP + 36
# Room that a label left of its line needs, and one below the axis.
LABEL_WIDTH, TICK_WIDTH = 150.0, 44.0
DOT_RADIUS = 3.8
# Shares nearer than that are drawn as if so far apart; what rounding may do to a multiple of a step.
LEAST_WIDTH, ROUNDING = 1e-6, 1e-9


class CostData(msgspec.Struct, frozen=True, kw_only=True):
    """How many sites bring the covered share from `today_share` to each of `shares` (0..1, ascending), as planned.

    No plan needs fewer than `least`; all candidates together reach `most_share`. `target_share` is what the page asks
    for.
    """

    label: str
    today_share: float
    shares: Sequence[float]
    sites: Sequence[int]
    least: Sequence[int]
    most_share: float
    target_share: float


class _Scale(NamedTuple):
    """Where shares and numbers of sites lie in the picture, and the steps of both axes."""

    first: float
    last: float
    share_step: float
    top: int
    site_step: int

    def x(self, share: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (share - self.first) / (self.last - self.first)

    def y(self, sites: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * sites / self.top

    def holds(self, share: float) -> bool:
        return self.first <= share <= self.last


def _scale(data: CostData) -> _Scale:
    step = round_step(max(data.most_share - data.today_share, LEAST_WIDTH))
    highest = max(*data.sites, *data.least, 1)
    each = max(round(round_step(highest, SITE_TICKS)), 1)
    return _Scale(
        first=math.floor(data.today_share / step + ROUNDING) * step,
        last=math.ceil(data.most_share / step - ROUNDING) * step,
        share_step=step,
        top=math.ceil(highest / each) * each,
        site_step=each,
    )


def svg_cost(data: CostData, *, label: str) -> str:
    """The chart as an SVG element with its axes; `label` (escaped) is what it is called where it cannot be seen."""
    scale = _scale(data)
    shares = [data.today_share, *data.shares]
    plan, least = _path(scale, shares, [0, *data.sites]), _path(scale, shares, [0, *data.least])
    back = _path(scale, shares[::-1], [0, *data.least][::-1]).replace("M", "L", 1)
    return (
        f'<div class="scroll"><svg class="curve cost" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" '
        f'aria-label="{label}">{_site_axis(scale)}{_share_axis(scale)}<path class="band" d="{plan}{back}z"/>'
        f'<path class="least" d="{least}"/><path class="line" d="{plan}"/>{_dots(data, scale)}{_marks(data, scale)}'
        "</svg></div>\n"
        '<ul class="legend"><li><svg width="26" height="14"><path class="line" d="M0 7H26"/>'
        f'<circle class="dot" cx="13" cy="7" r="{DOT_RADIUS}"/></svg>sites of the plan for a share</li>'
        '<li><svg width="26" height="14"><path class="least" d="M0 7H26"/></svg>'
        "proven: no plan needs fewer (on the line where the plan is the best there is)</li>"
        '<li><svg width="26" height="14"><rect class="band" width="26" height="14"/></svg>'
        "what is not proven, between the two</li></ul>\n"
    )


def _path(scale: _Scale, shares: Sequence[float], sites: Sequence[float]) -> str:
    points = zip(shares, sites, strict=True)
    return "M" + "L".join(f"{scale.x(share):.1f} {scale.y(number):.1f}" for share, number in points)


def _dots(data: CostData, scale: _Scale) -> str:
    return "".join(
        _dot(scale.x(share), scale.y(sites), f"{sites:,}") for share, sites in zip(data.shares, data.sites, strict=True)
    )


def _dot(x: float, y: float, text: str) -> str:
    return (
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{DOT_RADIUS}"/>'
        f'<text class="note" x="{x - 6:.1f}" y="{y - 8:.1f}" text-anchor="end">{text}</text>'
    )


def _site_axis(scale: _Scale) -> str:
    lines = "".join(
        f'<path class="grid" d="M{LEFT:.0f} {scale.y(sites):.1f}H{WIDTH - RIGHT:.0f}"/>'
        f'<text x="{LEFT - 8:.0f}" y="{scale.y(sites) + 4.5:.1f}" text-anchor="end">{sites:,}</text>'
        for sites in range(0, scale.top + 1, scale.site_step)
    )
    return f'{lines}<text class="axis" x="6" y="13">sites to build</text>'


def _share_axis(scale: _Scale) -> str:
    steps = round((scale.last - scale.first) / scale.share_step)
    shares = [scale.first + scale.share_step * number for number in range(steps + 1)]
    lines = "".join(_share_tick(scale, share) for share in shares)
    middle = (LEFT + WIDTH - RIGHT) / 2
    return f'{lines}<text class="axis" x="{middle:.0f}" y="{HEIGHT - 8:.0f}" text-anchor="middle">share covered</text>'


def _share_tick(scale: _Scale, share: float) -> str:
    x, y = scale.x(share), scale.y(0)
    # The last one would stand out of the picture.
    where = f'x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle"'
    if x > WIDTH - TICK_WIDTH / 2:
        where = f'x="{WIDTH - 1:.0f}" y="{y + 20:.1f}" text-anchor="end"'
    return f'<path class="grid" d="M{x:.1f} {y:.1f}v5"/><text {where}>{100 * share:.6g} %</text>'


def _marks(data: CostData, scale: _Scale) -> str:
    """Upright lines: today, what is asked for where it lies ahead, and all that can be had."""
    marks = [_mark(scale, data.today_share, "today", "mark", TODAY_Y)]
    if data.today_share < data.target_share and scale.holds(data.target_share):
        marks.append(_mark(scale, data.target_share, "target", "target", TARGET_Y))
    marks.append(_mark(scale, data.most_share, "all candidates", "mark", ALL_Y))
    return "".join(marks)


def _mark(scale: _Scale, share: float, name: str, kind: str, y: float) -> str:
    x = scale.x(share)
    is_left = x - LEFT > LABEL_WIDTH
    where = f'x="{x - 6:.1f}" y="{y:.1f}" text-anchor="end"' if is_left else f'x="{x + 6:.1f}" y="{y:.1f}"'
    return (
        f'<path class="{kind}" d="M{x:.1f} {y - 12:.1f}V{scale.y(0):.1f}"/>'
        f'<text class="note" {where}>{name} {100 * share:.1f} %</text>'
    )
