"""Plots as inline SVG, drawn with nothing but text.

Decides axes, ticks and colors. Invariants: every point lies inside the frame; every text is
escaped; a plot says in words what it shows, for readers who do not see it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 760.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 16.0, 16.0, 44.0
COLORS = (
    "#0b6e99",
    "#d9730d",
    "#448361",
    "#9065b0",
    "#c14c8a",
    "#787774",
    "#cb912f",
    "#337ea9",
    "#9f6b53",
    "#d44c47",
    "#2f5d50",
)
Point = tuple[float, float]
Ticks = Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction of a plot, from `low` to `high`."""

    title: str
    low: float
    high: float
    ticks: Ticks

    def share(self, value: float) -> float:
        """Where a value lies, 0 at the low end."""
        if self.high <= self.low:
            return 0.0
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def linear(title: str, high: float, unit: str = "", *, low: float = 0.0) -> Axis:
    """Round ticks from `low` to at least `high`."""
    span = max(high - low, 1e-9)
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next((m for m in (1, 2, 5) if span / (step * m) <= 5), 10)
    count = math.ceil(span / step - 1e-9)
    ticks = [(low + i * step, f"{low + i * step:g}{unit}") for i in range(count + 1)]
    return Axis(title, low, low + count * step, ticks)


def percent(title: str, high: float = 1.0) -> Axis:
    """Shares from 0 to 1, written in percent."""
    axis = linear(title, 100 * high, "%")
    return Axis(title, 0.0, axis.high / 100, [(at / 100, text) for at, text in axis.ticks])


DURATIONS: Ticks = (
    (0, "0"),
    (10, "10 s"),
    (60, "1 min"),
    (600, "10 min"),
    (3600, "1 h"),
    (6 * 3600, "6 h"),
    (86_400, "1 d"),
    (7 * 86_400, "1 wk"),
    (30 * 86_400, "30 d"),
)


def squeezed(seconds: float) -> float:
    """Durations on a scale where the first seconds and whole days are both seen."""
    return math.log1p(max(0.0, seconds) / 10)


def durations(title: str, longest: float) -> Axis:
    """Squeezed durations from 0 to at least `longest` seconds."""
    ticks = [(squeezed(at), text) for at, text in DURATIONS]
    high = next((at for at, _ in ticks if at >= squeezed(longest) and at), squeezed(longest))
    return Axis(title, 0.0, high, [tick for tick in ticks if tick[0] <= high])


COUNTS: Ticks = tuple((10**power, f"{10**power:,}") for power in range(8))


def counted(amount: float) -> float:
    """Counts on a scale where few and very many are both seen."""
    return math.log10(1 + max(0.0, amount))


def counts(title: str, most: float) -> Axis:
    """Squeezed counts from 0 to at least `most`."""
    ticks = [(0.0, "0"), *((counted(at), text) for at, text in COUNTS)]
    high = next((at for at, _ in ticks if at >= counted(most) and at), counted(most))
    return Axis(title, 0.0, high, [tick for tick in ticks if tick[0] <= high])


def lines(label: str, series: Mapping[str, Sequence[Point]], x: Axis, y: Axis) -> str:
    """A line for each series."""
    parts = [_frame(x, y)]
    for color, points in zip(_colors(series), series.values(), strict=True):
        path = " ".join(f"{_x(x, a):.1f},{_y(y, b):.1f}" for a, b in points)
        parts.append(
            f'<polyline fill="none" stroke="{color}" stroke-width="1.6" '
            f'stroke-linejoin="round" points="{path}"/>'
        )
    return _svg(label, parts) + _legend(list(series))


def bars(label: str, groups: Mapping[str, Mapping[str, float]], y: Axis) -> str:
    """A group of bars for each name, one bar a series; values as the axis has them."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    x = Axis("", 0.0, float(max(1, len(groups))), [(i + 0.5, g) for i, g in enumerate(groups)])
    parts = [_frame(x, y)]
    wide = (_WIDTH - _LEFT - _RIGHT) / max(1, len(groups))
    each = 0.8 * wide / max(1, len(names))
    for at, group in enumerate(groups.values()):
        for index, (name, color) in enumerate(zip(names, _colors(names), strict=True)):
            if name not in group:
                continue
            top = _y(y, group[name])
            left = _LEFT + at * wide + 0.1 * wide + index * each
            parts.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(1.0, each - 1):.1f}" '
                f'height="{_HEIGHT - _BOTTOM - top:.1f}" fill="{color}"/>'
            )
    return _svg(label, parts) + _legend(names)


def _colors(series: Mapping[str, object] | Sequence[str]) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(len(series))]


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.share(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return _HEIGHT - _BOTTOM - axis.share(value) * (_HEIGHT - _TOP - _BOTTOM)


def _frame(x: Axis, y: Axis) -> str:
    parts = []
    bottom = _HEIGHT - _BOTTOM
    for at, text in y.ticks:
        level = _y(y, at)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" '
            f'y1="{level:.1f}" y2="{level:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{level + 4:.1f}" text-anchor="end">{escape(text)}</text>'
        )
    for at, text in x.ticks:
        parts.append(
            f'<text x="{_x(x, at):.1f}" y="{bottom + 16}" text-anchor="middle">'
            f"{escape(text)}</text>"
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    height = (_TOP + bottom) / 2
    parts.append(
        f'<text x="{middle:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x.title)}</text>'
        f'<text transform="rotate(-90 14 {height:.1f})" x="14" y="{height:.1f}" '
        f'text-anchor="middle">{escape(y.title)}</text>'
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>'
    )
    return "".join(parts)


def _svg(label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg" font-size="12" font-family="sans-serif">'
        f"<title>{escape(label)}</title>{''.join(parts)}</svg>"
    )


def _legend(names: Sequence[str]) -> str:
    items = "".join(
        f'<li><i style="background:{color}"></i>{escape(name)}</li>'
        for name, color in zip(names, _colors(names), strict=True)
    )
    return f'<ul class="legend">{items}</ul>'
