"""What a job takes against how well its data is protected, as an SVG of its own."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from karez.operations.render.curve import round_step

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 46, 64
TICKS = 5
STYLE = (
    "text{font:13px sans-serif;fill:#333}.grid{stroke:#ddd}.edge{fill:none;stroke:#0a6b5c;stroke-width:2}"
    ".may{fill:#0a6b5c}.not{fill:#fff;stroke:#b5442e;stroke-width:2}.name{font-weight:bold}"
)


class Dot(NamedTuple):
    """A mode: its name, the energy at the best server (kWh; of the lawful ones if it is lawful), and what it is."""

    name: str
    energy_kwh: float
    lawful: bool
    on_frontier: bool


def svg_frontier(dots: Sequence[Dot], *, title: str, note: str) -> bytes:
    """The picture; dots go from the least to the most protective mode."""
    step = round_step(max((dot.energy_kwh for dot in dots), default=1.0) or 1.0, TICKS)
    top = step * (int(max((dot.energy_kwh for dot in dots), default=1.0) / step) + 1)
    placed = [(dot, _x(at, len(dots)), _y(dot.energy_kwh, top)) for at, dot in enumerate(dots)]
    edge = [(x, y) for dot, x, y in placed if dot.on_frontier]
    line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in edge) if edge else ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text class="name" x="{LEFT}" y="20">{html.escape(title)}</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 8}">{html.escape(note)}</text>',
        *(_grid(number * step, top) for number in range(round(top / step) + 1)),
        f'<path class="edge" d="{line}"/>' if line else "",
        *(_dot(*one) for one in placed),
        "</svg>\n",
    ]
    return "\n".join(part for part in parts if part).encode()


def _x(at: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (at + 0.5) / max(count, 1)


def _y(energy_kwh: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * energy_kwh / top


def _grid(energy_kwh: float, top: float) -> str:
    y = _y(energy_kwh, top)
    return (
        f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT - 8}" y="{y + 4.5:.1f}" text-anchor="end">{energy_kwh:,.6g}</text>'
    )


def _dot(dot: Dot, x: float, y: float) -> str:
    kind = "may" if dot.lawful else "not"
    return (
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
        f'<text x="{x:.1f}" y="{y - 12:.1f}" text-anchor="middle">{dot.energy_kwh:,.4g}</text>'
        f'<text class="name" x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{dot.name}</text>'
    )
