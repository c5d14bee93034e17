"""Draws latency histograms as one SVG file: a row a series, logarithmic, with median and 99th percentile."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
