"""Coverage against the budget as SVG, in the colours of the page around it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from karez.units import US_PER_MS

WIDTH, HEIGHT = 760.0, 330.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 16.0, 26.0, 52.0
TICKS = 8
SHARE_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


class CurveData(msgspec.Struct, frozen=True, kw_only=True):
    """Covered shares (0..1) below each of some budgets (microseconds, ascending), at high, typical and low delays.

    `mark_us` is the budget that the page is about, and `target_share` what coverage is held against.
    """

    label: str
    budgets_us: Sequence[float]
    at_high: Sequence[float]
    typical: Sequence[float]
    at_low: Sequence[float]
    mark_us: float
    target_share: float


def svg_curve(data: CurveData, *, label: str) -> str:
    """The curve as an SVG element with its axes; `label` (escaped) is what it is called where it cannot be seen."""
    widest = max(data.budgets_us)
    band = _path(data.budgets_us, data.at_low, widest) + _back(data.budgets_us, data.at_high, widest)
    return (
        f'<div class="scroll"><svg class="curve" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" '
        f'aria-label="{label}">{_share_axis()}{_budget_axis(widest)}'
        f'<path class="band" d="{band}z"/><path class="line" d="{_path(data.budgets_us, data.typical, widest)}"/>'
        f"{_target(data.target_share)}{_mark(data.mark_us, widest)}</svg></div>\n"
        '<ul class="legend"><li><svg width="26" height="14"><path class="line" d="M0 7H26"/></svg>typical delays</li>'
        '<li><svg width="26" height="14"><rect class="band" width="26" height="14"/></svg>'
        "from high (below) to low delays (above) of the latency library</li></ul>\n"
    )


def _path(budgets_us: Sequence[float], shares: Sequence[float], widest: float) -> str:
    """From nothing at no budget through every point."""
    points = [(0.0, 0.0), *zip(budgets_us, shares, strict=True)]
    return "M" + "L".join(f"{_x(budget, widest):.1f} {_y(share):.1f}" for budget, share in points)


def _back(budgets_us: Sequence[float], shares: Sequence[float], widest: float) -> str:
    points = list(zip(budgets_us, shares, strict=True))[::-1]
    return "".join(f"L{_x(budget, widest):.1f} {_y(share):.1f}" for budget, share in points)


def _share_axis() -> str:
    lines = "".join(
        f'<path class="grid" d="M{LEFT:.0f} {_y(share):.1f}H{WIDTH - RIGHT:.0f}"/>'
        f'<text x="{LEFT - 8:.0f}" y="{_y(share) + 4.5:.1f}" text-anchor="end">{100 * share:.0f} %</text>'
        for share in SHARE_TICKS
    )
    return f'{lines}<text class="axis" x="6" y="13">share covered</text>'


def _budget_axis(widest: float) -> str:
    unit, size = ("ms", US_PER_MS) if widest >= US_PER_MS else ("us", 1)
    step = round_step(widest / size)
    ticks = [step * number for number in range(int(widest / size / step + 1e-9) + 1)]
    lines = "".join(
        f'<path class="grid" d="M{_x(tick * size, widest):.1f} {_y(0):.1f}v5"/>'
        f'<text x="{_x(tick * size, widest):.1f}" y="{_y(0) + 20:.1f}" text-anchor="middle">{tick:g}</text>'
        for tick in ticks
    )
    middle = (LEFT + WIDTH - RIGHT) / 2
    return f'{lines}<text class="axis" x="{middle:.0f}" y="{HEIGHT - 8:.0f}" text-anchor="middle">budget, {unit}</text>'


def round_step(widest: float, most: int = TICKS) -> float:
    """1, 2 or 5 times a power of ten, so that there are no more than so many steps."""
    power = 10.0 ** math.floor(math.log10(widest / most))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power * most >= widest * (1 - 1e-9))


def _target(share: float) -> str:
    y = _y(share)
    above = y - 6 if y > TOP + 16 else y + 17
    return (
        f'<path class="target" d="M{LEFT:.0f} {y:.1f}H{WIDTH - RIGHT:.0f}"/>'
        f'<text class="note" x="{LEFT + 6:.0f}" y="{above:.1f}">target {100 * share:.4g} %</text>'
    )


def _mark(mark_us: float, widest: float) -> str:
    x = _x(mark_us, widest)
    name = f"{mark_us / US_PER_MS:.4g} ms" if mark_us >= US_PER_MS else f"{mark_us:.4g} us"
    return (
        f'<path class="mark" d="M{x:.1f} {TOP - 8:.0f}V{_y(0):.1f}"/>'
        f'<text class="note" x="{x + 6:.1f}" y="{_y(0) - 8:.1f}">budget {name}</text>'
    )


def _x(budget_us: float, widest: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(budget_us / widest, 1.0)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def every(data: CurveData, count: int) -> list[tuple[float, float, float, float]]:
    """Every so many of the points: budget, and the shares at high, typical and low delays."""
    columns = (data.budgets_us, data.at_high, data.typical, data.at_low)
    return list(zip(*(column[count - 1 :: count] for column in columns), strict=True))
