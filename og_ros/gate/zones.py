"""Zones: polygons on the ground, whether a point lies in one, and whether one lies within another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Point: TypeAlias = tuple[float, float]
Polygon: TypeAlias = Sequence[Point]


def contains(polygon: Polygon, point: Point) -> bool:
    """Return whether a point lies in a simple polygon or on its border."""
    x, y = point
    inside = False
    for (ax, ay), (bx, by) in _edges(polygon):
        if _on_edge((ax, ay), (bx, by), point):
            return True
        if (ay > y) != (by > y) and (x - ax) * (by - ay) * (1 if by > ay else -1) < (bx - ax) * (y - ay) * (
            1 if by > ay else -1
        ):
            inside = not inside
    return inside


def strictly_contains(polygon: Polygon, point: Point) -> bool:
    """Return whether a point lies in a polygon and not on its border."""
    return contains(polygon, point) and not any(_on_edge(a, b, point) for a, b in _edges(polygon))


def within(inner: Polygon, outer: Polygon) -> bool:
    """Return whether a simple polygon lies within another; a doubtful case counts as outside."""
    if not all(contains(outer, point) for point in inner):
        return False
    for a, b in _edges(inner):
        if any(_cross(a, b, c, d) for c, d in _edges(outer)):
            return False
        if not contains(outer, ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)):
            return False  # an edge between two corners on the border, over a notch
    return not any(strictly_contains(inner, corner) for corner in outer)


def is_simple(polygon: Polygon) -> bool:
    """Return whether a polygon has an area and no edge that crosses or touches another than its neighbours."""
    edges = list(_edges(polygon))
    count = len(edges)
    if any(a == b for a, b in edges) or _area(polygon) == 0:
        return False
    for i in range(count):
        for j in range(i + 1, count):
            if j == i + 1 or (i == 0 and j == count - 1):
                continue
            (a, b), (c, d) = edges[i], edges[j]
            touches = any((_on_edge(a, b, c), _on_edge(a, b, d), _on_edge(c, d, a), _on_edge(c, d, b)))
            if touches or _cross(a, b, c, d):
                return False
    return True


def _edges(polygon: Polygon) -> list[tuple[Point, Point]]:
    return [(polygon[n - 1], polygon[n]) for n in range(len(polygon))]


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _on_edge(a: Point, b: Point, point: Point) -> bool:
    return (
        _turn(a, b, point) == 0
        and min(a[0], b[0]) <= point[0] <= max(a[0], b[0])
        and min(a[1], b[1]) <= point[1] <= max(a[1], b[1])
    )


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Return whether two edges cross at a point that is an end of neither."""
    return _turn(a, b, c) * _turn(a, b, d) < 0 and _turn(c, d, a) * _turn(c, d, b) < 0


def _area(polygon: Polygon) -> float:
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in _edges(polygon))
