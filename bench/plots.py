"""Draws SVG files: latency histograms, a row a series, with median and 99th percentile; and lines, logarithmic too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, ROW, LEFT, BINS = 900, 70, 220, 120


def histograms(series: Mapping[str, Sequence[float]], path: Path) -> None:
    """Write histograms of latencies in seconds."""
    shown = {name: sorted(values) for name, values in series.items() if values}
    if not shown:
        return
    low = math.log10(min(values[0] for values in shown.values()))
    high = math.log10(max(values[-1] for values in shown.values())) + 1e-9

    def x(seconds: float) -> float:
        return LEFT + (math.log10(seconds) - low) / (high - low) * (WIDTH - LEFT - 20)

    height = ROW * len(shown) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    ]
    for row, (name, values) in enumerate(shown.items()):
        base = ROW * (row + 1)
        counts = [0] * BINS
        for value in values:
            counts[min(BINS - 1, int((math.log10(value) - low) / (high - low) * BINS))] += 1
        step = (WIDTH - LEFT - 20) / BINS
        top = max(counts)
        parts += [
            f'<rect x="{LEFT + i * step:.1f}" y="{base - count / top * (ROW - 20):.1f}" width="{step:.1f}" '
            f'height="{count / top * (ROW - 20):.1f}" fill="#4a7ab5"/>'
            for i, count in enumerate(counts)
            if count
        ]
        middle, late = values[len(values) // 2], values[min(len(values) - 1, int(len(values) * 0.99))]
        parts.append(f'<line x1="{LEFT}" y1="{base}" x2="{WIDTH - 20}" y2="{base}" stroke="#999"/>')
        for mark, color in ((middle, "#000"), (late, "#b33")):
            at = f"{x(mark):.1f}"
            parts.append(f'<line x1="{at}" y1="{base - ROW + 20}" x2="{at}" y2="{base}" stroke="{color}"/>')
        parts.append(f'<text x="10" y="{base - 22}">{escape(name)}</text>')
        parts.append(f'<text x="10" y="{base - 6}" fill="#555">p50 {middle * 1e3:.3f}, p99 {late * 1e3:.3f} ms</text>')
    for tick in range(math.ceil(low), math.floor(high) + 1):
        parts.append(f'<text x="{x(10**tick):.1f}" y="{height - 16}" fill="#555">{10**tick * 1e3:g} ms</text>')
    path.write_text("".join([*parts, "</svg>\n"]))


@dataclass(frozen=True)
class Line:
    """A named series of points, x and y above 0."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Lines over one y axis."""

    title: str
    lines: Sequence[Line]


def lines(panels: Sequence[Panel], x_title: str, measured: float) -> str:
    """Return logarithmic panels one above the other as SVG; what is right of `measured` has a grey ground."""
    high, left, right, colors = 190, 90, 190, ("#4a7ab5", "#b33", "#3a7")
    xs = [x for panel in panels for line in panel.lines for x, _ in line.points]
    low_x, high_x = math.log10(min(xs)), math.log10(max(xs))

    def x(value: float) -> float:
        return left + (math.log10(value) - low_x) / (high_x - low_x) * (WIDTH - left - right)

    height = high * len(panels) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    ]
    for row, panel in enumerate(panels):
        top, base = high * row + 30, high * row + high - 10
        ys = [y for line in panel.lines for _, y in line.points]
        low_y, high_y = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))

        def y(value: float, low: int = low_y, span: int = max(high_y - low_y, 1), base: int = base) -> float:
            return base - (math.log10(value) - low) / span * (high - 40)

        parts.append(
            f'<rect x="{x(measured):.1f}" y="{top}" width="{WIDTH - right - x(measured):.1f}" '
            f'height="{base - top}" fill="#eee"/><text x="{left}" y="{top - 8}">{escape(panel.title)}</text>'
        )
        for tick in range(low_y, high_y + 1, max(1, (high_y - low_y) // 4)):
            at = f"{y(10.0**tick):.1f}"
            parts.append(f'<line x1="{left}" y1="{at}" x2="{WIDTH - right}" y2="{at}" stroke="#ddd"/>')
            parts.append(f'<text x="{left - 8}" y="{at}" text-anchor="end" fill="#555">{_power(tick)}</text>')
        for line, color in zip(panel.lines, colors, strict=False):
            points = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line.points)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        ends = sorted((y(line.points[-1][1]), number) for number, line in enumerate(panel.lines))
        at_least = 0.0
        for end, number in ends:  # names do not lie on each other
            place = max(end, at_least)
            at_least = place + 15
            name, color = escape(panel.lines[number].name), colors[number]
            parts.append(f'<text x="{WIDTH - right + 8}" y="{place + 4:.1f}" fill="{color}">{name}</text>')
    for tick in range(math.ceil(low_x), math.floor(high_x) + 1):
        at = f'x="{x(10**tick):.1f}" y="{height - 26}" text-anchor="middle"'
        parts.append(f'<text {at} fill="#555">{10**tick:,}</text>')
    parts.append(f'<text x="{left}" y="{height - 8}" fill="#555">{escape(x_title)}</text>')
    return "".join([*parts, "</svg>\n"])


def _power(exponent: int) -> str:
    return f"{10**exponent:,}" if exponent >= 0 else f"{10.0**exponent:g}"
